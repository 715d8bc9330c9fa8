/* Bridges: each step against a closed form or a slower way, then whole bridges on systems whose law between the snapshots is known. */
#define WF_KEEP_BRIDGES
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

static wf_bridge_desc counts_desc(void)
{
    wf_bridge_desc d;
    memset(&d, 0, sizeof d);
    d.counts = 1;
    d.between = 4;
    d.samples = 2000;
    d.seed = 3;
    return d;
}

/* Rows of `count` snapshots at times, from trajectories x[n][times][dim] (whole numbers). */
static wf_snapshots snapshots_of(wf_arena *A, const int32_t *x, size_t n, int all, int every, int dim, double step)
{
    int count = (all - 1) / every + 1;
    double *times = (double *)wf_alloc(A, (size_t)count, sizeof *times);
    size_t *rows = (size_t *)wf_alloc(A, (size_t)count, sizeof *rows);
    const double **data = (const double **)wf_alloc(A, (size_t)count, sizeof *data);
    wf_snapshots s;
    for (int k = 0; k < count; k++) {
        double *to = (double *)wf_alloc(A, n * (size_t)dim, sizeof *to);
        for (size_t i = 0; i < n; i++) for (int j = 0; j < dim; j++) to[i * (size_t)dim + (size_t)j] = x[(i * (size_t)all + (size_t)(k * every)) * (size_t)dim + (size_t)j];
        times[k] = step * k * every;
        rows[k] = n;
        data[k] = to;
    }
    s.count = count; s.dim = dim; s.times = times; s.n = rows; s.x = data; s.weight = NULL;
    return s;
}

static void moments(const double *x, size_t n, int dim, int j, double *mean, double *variance)
{
    *mean = *variance = 0;
    for (size_t i = 0; i < n; i++) *mean += x[i * (size_t)dim + (size_t)j] / (double)n;
    for (size_t i = 0; i < n; i++) *variance += pow(x[i * (size_t)dim + (size_t)j] - *mean, 2) / (double)n;
}

/* ---- least squares with signs ---- */

/* The smallest misfit over all sets of free unknowns, by elimination on the normal equations. */
static double best_of_all_sets(const double *a, const double *b, int rows, int n)
{
    double best = HUGE_VAL;
    for (int set = 0; set < 1 << n; set++) {
        double m[8][9], x[8] = { 0 }, misfit = 0;
        int list[8], k = 0, fits = 1;
        for (int j = 0; j < n; j++) if (set >> j & 1) list[k++] = j;
        for (int i = 0; i < k; i++) {
            for (int j = 0; j < k; j++) { m[i][j] = 0; for (int r = 0; r < rows; r++) m[i][j] += a[r * n + list[i]] * a[r * n + list[j]]; }
            m[i][k] = 0;
            for (int r = 0; r < rows; r++) m[i][k] += a[r * n + list[i]] * b[r];
        }
        for (int i = 0; i < k; i++) {
            for (int r = 0; r < k; r++) {
                double f = r == i ? 0 : m[r][i] / m[i][i];
                for (int j = 0; j <= k; j++) m[r][j] -= f * m[i][j];
            }
        }
        for (int i = 0; i < k; i++) { x[list[i]] = m[i][k] / m[i][i]; if (x[list[i]] < 0) fits = 0; }
        for (int r = 0; r < rows; r++) { double e = b[r]; for (int j = 0; j < n; j++) e -= a[r * n + j] * x[j]; misfit += e * e; }
        if (fits && misfit < best) best = misfit;
    }
    return best;
}

WF_TEST(nnls_is_the_best_of_all_sets)
{
    enum { ROWS = 12, N = 7 };
    wf_arena *A = wf_arena_new(NULL);
    int zeros = 0;
    for (int turn = 0; turn < 40; turn++) {
        double a[ROWS * N], b[ROWS], x[N], misfit = 0, told;
        wf_rng rng;
        wf_rng_init(&rng, 5, (uint32_t)turn);
        for (int i = 0; i < ROWS * N; i++) a[i] = wf_rng_normal(&rng);
        for (int i = 0; i < ROWS; i++) b[i] = wf_rng_normal(&rng);
        CHECK(wf_nnls(A, a, b, ROWS, N, x, &told) == WF_OK);
        for (int r = 0; r < ROWS; r++) { double e = b[r]; for (int j = 0; j < N; j++) e -= a[r * N + j] * x[j]; misfit += e * e; }
        for (int j = 0; j < N; j++) { CHECK(x[j] >= 0); zeros += x[j] == 0; }
        CHECK_CLOSE(told, misfit, 1e-12);
        CHECK_CLOSE(misfit, best_of_all_sets(a, b, ROWS, N), 1e-9); /* normal equations of well-conditioned matrices */
    }
    CHECK(zeros > 40 && zeros < 240); /* the signs matter, and not for all */
    double a[4] = { 1, 1, 1, 1 }, b[2] = { 2, 2 }, x[2], told; /* two equal columns: any split is a solution */
    CHECK(wf_nnls(A, a, b, 2, 2, x, &told) == WF_OK);
    CHECK_CLOSE(x[0] + x[1], 2, 1e-9);
    b[1] = HUGE_VAL;
    CHECK(wf_nnls(A, a, b, 2, 2, x, &told) == WF_ERROR_NUMERIC);
    CHECK_STR_HAS(wf_arena_report(A)->text, "b[1]");
    wf_arena_free(A);
}

/* ---- lines ---- */

WF_TEST(the_bend_of_cubic_means_is_exact)
{
    /* means on a cubic at uneven times: not-a-knot splines reproduce it */
    static const double times[6] = { 0, 1, 1.5, 3, 4.2, 5 };
    wf_arena *A = wf_arena_new(NULL);
    double x[6][2];
    const double *rows[6];
    size_t n[6];
    for (int i = 0; i < 6; i++) {
        double t = times[i], m = 1 + t - 0.7 * t * t + 0.2 * t * t * t;
        x[i][0] = m - 1; x[i][1] = m + 1;
        rows[i] = x[i]; n[i] = 2;
    }
    wf_snapshots s = { 6, 1, times, n, rows, NULL };
    for (int count = 3; count <= 6; count++) {
        s.count = count;
        wf_bridge *b = wf_bridge_new(A, &s, NULL);
        for (int i = 0; i + 1 < count; i++)
            for (int k = 1; k < 4; k++) {
                double u = 0.25 * k, v = 1 - u, h = times[i + 1] - times[i], t = times[i] + u * h, from = x[i][0] + 1, to = x[i + 1][0] + 1;
                double m = v * from + u * to + h * h / 6 * ((v * v * v - v) * b->bend[i] + (u * u * u - u) * b->bend[i + 1]);
                if (count > 3) CHECK_CLOSE(m, 1 + t - 0.7 * t * t + 0.2 * t * t * t, 1e-12);
                else CHECK_CLOSE(b->bend[0], b->bend[2], 1e-12); /* a parabola */
            }
    }
    wf_arena_free(A);
}

WF_TEST(lines_between_normal_clouds_have_the_variance_of_the_schroedinger_bridge)
{
    /* N(0,1) to N(3,1) with noise of variance s over the interval: covariance of the coupling c = sqrt(1 + s^2/4) - s/2, variance at half time (1 + c)/2 + s/4 */
    enum { N = 1500 };
    static double x[2][N];
    const double *rows[2] = { x[0], x[1] }, times[2] = { 0, 2 };
    size_t n[2] = { N, N };
    wf_arena *A = wf_arena_new(NULL);
    for (int i = 0; i < N; i++) { /* quantiles of the normal law, so that the clouds themselves are exact */
        double p = (i + 0.5) / N, low = -8, high = 8;
        for (int k = 0; k < 60; k++) { double m = (low + high) / 2; if (0.5 * erfc(-m / sqrt(2.0)) < p) low = m; else high = m; }
        x[0][i] = low;
        x[1][(i * 7) % N] = low + 3; /* in another order */
    }
    wf_snapshots s = { 2, 1, times, n, rows, NULL };
    wf_bridge_desc d;
    memset(&d, 0, sizeof d);
    d.method = WF_BRIDGE_DIFFUSION;
    d.between = 1;
    d.samples = 30000;
    wf_bridge *b = wf_bridge_new(A, &s, &d);
    CHECK(wf_bridge_fit(b) == WF_OK);
    double noise = 2 * b->noise[0] * b->noise[0], c = sqrt(1 + noise * noise / 4) - noise / 2, mean, variance;
    moments(wf_bridge_data(b)->x[1], 30000, 1, 0, &mean, &variance);
    CHECK(noise > 0.05 && noise < 0.2);
    CHECK_CLOSE(mean, 1.5, 5 * sqrt(1.0 / 30000));
    CHECK_CLOSE(variance, (1 + c) / 2 + noise / 4, 5 * sqrt(2.0 / 30000) + 0.005); /* five standard errors; quantiles have 0.3 % less variance */
    CHECK(fabs((1 + c) / 2 + noise / 4 - 0.5 - noise / 4) > 0.3); /* far from what independent pairs would give */
    wf_arena_free(A);
}

WF_TEST(rows_at_their_own_pace_keep_the_mean_and_spread_along_the_way)
{
    /* N(0,1) to the same cloud 10 further on: half way x + 5 + 4 v with v uniform in (-1, 1), so the variance is 1 + 16/3; a quarter of the way x + 2.5 + 2 v */
    enum { N = 600, SAMPLES = 30000 };
    static double x[2][N];
    const double *rows[2] = { x[0], x[1] }, times[2] = { 0, 1 };
    size_t n[2] = { N, N };
    wf_arena *A = wf_arena_new(NULL);
    for (int i = 0; i < N; i++) {
        wf_rng rng;
        wf_rng_init(&rng, 41, (uint32_t)i);
        x[0][i] = wf_rng_normal(&rng);
        x[1][(i * 7) % N] = x[0][i] + 10;
    }
    double mean, own, m, v;
    moments(x[0], N, 1, 0, &mean, &own);
    wf_snapshots s = { 2, 1, times, n, rows, NULL };
    wf_bridge_desc d;
    memset(&d, 0, sizeof d);
    d.between = 3;
    d.samples = SAMPLES;
    wf_bridge *b = wf_bridge_new(A, &s, &d);
    CHECK(wf_bridge_fit(b) == WF_OK);
    CHECK_STR_HAS(wf_bridge_about(b)->text, "own pace");
    for (int k = 1; k < 4; k++) {
        double u = 0.25 * k, wide = k == 2 ? 16.0 / 3 : 4.0 / 3;
        moments(wf_bridge_data(b)->x[k], SAMPLES, 1, 0, &m, &v);
        CHECK_CLOSE(m, mean + 10 * u, 5 * sqrt((own + wide) / SAMPLES) + 0.02); /* five standard errors, and what the coupling's last sweep leaves */
        CHECK_CLOSE(v, own + wide, 0.05 * (own + wide) + 0.03); /* pairs are near, not nearest: up to 0.03 less; and a hundredth of the noise more */
        for (size_t i = 0; i < SAMPLES; i += 5) CHECK(wf_bridge_data(b)->x[k][i] > -5 && wf_bridge_data(b)->x[k][i] < 15); /* nobody is before the start or beyond the end */
    }
    wf_arena_free(A);
}

/* What lies between is chosen by snapshots that are left out: rows that jump are mixed, rows that turn are bent. */
WF_TEST(snapshots_that_are_left_out_choose)
{
    enum { N = 300, T = 6 };
    static double x[2][T][N][2];
    const double *rows[T], times[T] = { 0, 1, 2, 3, 4, 5 };
    size_t n[T];
    wf_arena *A = wf_arena_new(NULL);
    for (int turns = 0; turns < 2; turns++) {
        for (int k = 0; k < T; k++) {
            for (int i = 0; i < N; i++) {
                wf_rng rng;
                wf_rng_init(&rng, 500 + (uint64_t)k, (uint32_t)i);
                double a = 0.5 * k, jumped = wf_rng_uniform(&rng) < 0.15 * k, p = wf_rng_normal(&rng), q = wf_rng_normal(&rng);
                x[turns][k][i][0] = turns ? 10 * cos(a) + 0.3 * p : 20 * jumped + 0.3 * p;
                x[turns][k][i][1] = turns ? 10 * sin(a) + 0.3 * q : 0.3 * q;
            }
            rows[k] = &x[turns][k][0][0];
            n[k] = N;
        }
        wf_snapshots s = { T, 2, times, n, rows, NULL };
        wf_bridge_desc d;
        memset(&d, 0, sizeof d);
        d.samples = 500;
        d.limit = 1e-9; /* no generator */
        wf_bridge *b = wf_bridge_new(A, &s, &d);
        CHECK(wf_bridge_fit(b) == WF_OK);
        if (getenv("WF_VERBOSE")) printf("    %s\n", wf_bridge_about(b)->text);
        CHECK_INT(wf_bridge_about(b)->method, turns ? WF_BRIDGE_DIFFUSION : WF_BRIDGE_MIXTURE);
        CHECK_STR_HAS(wf_bridge_about(b)->text, turns ? "bent with the means" : "mixtures of neighbouring snapshots");
        CHECK_STR_HAS(wf_bridge_about(b)->text, "came closest to snapshots that were left out");
        CHECK_STR_HAS(wf_bridge_about(b)->text, "guard refused generators");
    }
    wf_arena_free(A);
}

WF_TEST(thinning_out_of_a_point_is_binomial)
{
    enum { N = 4000 };
    static double x[2][N][2];
    const double *rows[2] = { &x[0][0][0], &x[1][0][0] }, times[2] = { 0, 1 };
    size_t n[2] = { N, N };
    wf_arena *A = wf_arena_new(NULL);
    for (int i = 0; i < N; i++) { x[0][i][0] = 20; x[0][i][1] = 3; x[1][i][0] = 12 + i % 2 * 0; x[1][i][1] = 9; } /* always 6 conversions and 2 deaths */
    x[1][0][0] = 13; /* a little spread */
    wf_snapshots s = { 2, 2, times, n, rows, NULL };
    wf_bridge_desc d = counts_desc();
    d.method = WF_BRIDGE_DIFFUSION;
    d.samples = N;
    d.between = 3;
    wf_bridge *b = wf_bridge_new(A, &s, &d);
    CHECK(wf_bridge_fit(b) == WF_OK);
    for (int k = 0; k < 3; k++) {
        double u = 0.25 * (k + 1), m, v;
        const double *y = wf_bridge_data(b)->x[1 + k];
        moments(y, N, 2, 0, &m, &v);
        CHECK_CLOSE(m, 20 - 8 * u, 5 * sqrt(8 * u * (1 - u) / N) + 1e-3);
        CHECK_CLOSE(v, 8 * u * (1 - u), 0.15);
        moments(y, N, 2, 1, &m, &v);
        CHECK_CLOSE(m, 3 + 6 * u, 5 * sqrt(6 * u * (1 - u) / N) + 1e-3);
        for (size_t i = 0; i < N; i++) CHECK(y[2 * i] == floor(y[2 * i]) && y[2 * i] + y[2 * i + 1] <= 23 && y[2 * i] + y[2 * i + 1] >= 20); /* deaths are 0, 1 or 2, but for the one row */
    }
    wf_arena_free(A);
}

/* ---- the generator ---- */

/* Immigration at rate 12 and death at rate 1 a head, from nobody: Poisson with mean 12 (1 - exp(-t)). */
static wf_snapshots immigrants(wf_arena *A, size_t n, uint64_t seed)
{
    static const int change[2] = { 1, -1 }, reactants[2] = { 0, 1 };
    static const double rate[2] = { 12, 1 };
    wf_reaction_system system;
    double times[9];
    int32_t start = 0, *x = (int32_t *)wf_alloc(A, n * 9, sizeof *x);
    wf_simulate_desc d;
    memset(&d, 0, sizeof d);
    memset(&system, 0, sizeof system);
    d.seed = seed;
    system.species = 1; system.reactions = 2; system.change = change; system.reactants = reactants; system.rate = rate;
    for (int k = 0; k < 9; k++) times[k] = 0.5 * k;
    CHECK(wf_simulate(A, &system, &start, times, 9, n, &d, x) == WF_OK);
    return snapshots_of(A, x, n, 9, 1, 1, 0.5);
}

WF_TEST(rates_and_law_of_immigration_and_death)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_snapshots s = immigrants(A, 3000, 1);
    wf_bridge_desc d = counts_desc();
    d.library = WF_LIBRARY_LINEAR;
    d.window = -1;
    d.samples = 6000;
    wf_bridge *b = wf_bridge_new(A, &s, &d);
    CHECK(wf_bridge_fit(b) == WF_OK);
    const wf_bridge_report *r = wf_bridge_about(b);
    CHECK_INT(r->method, WF_BRIDGE_GENERATOR);
    CHECK_INT(r->terms, 3); /* death, birth, birth in proportion to a head */
    CHECK(r->misfit > 0.05 && r->misfit < 2);
    CHECK_STR_HAS(r->text, "linear library");
    for (int i = 0; i < r->terms; i++) {
        double rate;
        int change;
        char text[64];
        CHECK(wf_bridge_term(b, i, 0, &rate, &change, text, sizeof text) == WF_OK);
        if (!strcmp(text, "x0 -> -x0")) { CHECK_INT(change, -1); CHECK_CLOSE(rate, 1, 0.12); }
        else if (!strcmp(text, "1 -> +x0")) { CHECK_INT(change, 1); CHECK_CLOSE(rate, 12, 0.8); } /* 3000 runs know a mean of 12 to 0.06; the two rates lean on each other */
        else { CHECK(!strcmp(text, "x0 -> +x0")); CHECK_CLOSE(rate, 0, 0.1); }
    }
    const wf_snapshots *all = wf_bridge_data(b);
    CHECK_INT(all->count, 41);
    for (int k = 1; k < 41; k++) {
        double m, v, wanted = 12 * (1 - exp(-0.1 * k)), error = 6 * sqrt(wanted / 3000) + 0.06; /* six standard errors of the data, and the trapezoid's error */
        CHECK_CLOSE(all->times[k], 0.1 * k, 1e-12);
        moments(all->x[k], all->n[k], 1, 0, &m, &v);
        CHECK_CLOSE(m, wanted, error);
        CHECK_CLOSE(v, wanted, 0.12 * wanted + 0.1); /* five times sqrt(2/3000) = 0.13 */
    }
    CHECK(wf_bridge_term(b, 3, 0, NULL, NULL, NULL, 0) == WF_ERROR_ARGUMENT);
    wf_arena_free(A);
}

/* Four species that know nothing of each other: of a hundred pairwise terms eight are true. */
WF_TEST(a_large_library_keeps_few_terms)
{
    enum { D = 4, N = 800, T = 9 };
    int change[2 * D * D] = { 0 }, reactants[2 * D * D] = { 0 };
    double rate[2 * D], times[T];
    int32_t start[D] = { 0 };
    wf_reaction_system system;
    wf_arena *A = wf_arena_new(NULL);
    int32_t *x = (int32_t *)wf_alloc(A, N * T * D, sizeof *x);
    for (int j = 0; j < D; j++) {
        change[2 * j * D + j] = 1;
        change[(2 * j + 1) * D + j] = -1;
        reactants[(2 * j + 1) * D + j] = 1;
        rate[2 * j] = 6 + 2 * j;
        rate[2 * j + 1] = 1;
    }
    memset(&system, 0, sizeof system);
    system.species = D; system.reactions = 2 * D; system.change = change; system.reactants = reactants; system.rate = rate;
    for (int k = 0; k < T; k++) times[k] = 0.5 * k;
    CHECK(wf_simulate(A, &system, start, times, T, N, NULL, x) == WF_OK);
    wf_snapshots s = snapshots_of(A, x, N, T, 1, D, 0.5);
    wf_bridge_desc d = counts_desc();
    d.library = WF_LIBRARY_PAIRS;
    d.samples = 1500;
    wf_bridge *b = wf_bridge_new(A, &s, &d);
    CHECK(wf_bridge_fit(b) == WF_OK);
    const wf_bridge_report *r = wf_bridge_about(b);
    CHECK_INT(r->method, WF_BRIDGE_GENERATOR);
    CHECK_INT(r->terms, 100);
    if (getenv("WF_VERBOSE")) printf("    %d of %d terms, misfit %g\n", r->used, r->terms, r->misfit);
    CHECK(r->used >= 4 && r->used <= 20); /* the eight; a term in forty passes two standard errors by chance, and one of each kind may stand for another */
    wf_arena_free(A);
}

WF_TEST(any_number_of_threads_gives_the_same_samples)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_snapshots s = immigrants(A, 200, 2);
    uint64_t hash[2][3];
    for (int method = 0; method < 2; method++)
        for (int t = 0; t < 3; t++) {
            static const int threads[3] = { 1, 2, 5 };
            wf_bridge_desc d = counts_desc();
            d.threads = threads[t];
            d.samples = 500;
            d.method = method ? WF_BRIDGE_DIFFUSION : WF_BRIDGE_GENERATOR;
            wf_bridge *b = wf_bridge_new(A, &s, &d);
            CHECK(wf_bridge_fit(b) == WF_OK);
            hash[method][t] = 14695981039346656037u;
            for (int k = 0; k < wf_bridge_data(b)->count; k++) {
                const unsigned char *bytes = (const unsigned char *)wf_bridge_data(b)->x[k];
                for (size_t i = 0; i < wf_bridge_data(b)->n[k] * sizeof(double); i++) hash[method][t] = (hash[method][t] ^ bytes[i]) * 1099511628211u;
            }
        }
    for (int t = 1; t < 3; t++) { CHECK(hash[0][t] == hash[0][0]); CHECK(hash[1][t] == hash[1][0]); }
    CHECK(hash[0][0] != hash[1][0]);
    wf_arena_free(A);
}

// region: samples between snapshots of an epidemic
static const wf_bridge *bridge_epidemic(wf_arena *A, const wf_snapshots *snapshots)
{
    wf_bridge_desc d;
    memset(&d, 0, sizeof d);
    d.counts = 1;
    wf_bridge *b = wf_bridge_new(A, snapshots, &d);
    if (!b || wf_bridge_fit(b) < 0) return NULL;
    printf("  %s\n", wf_bridge_about(b)->text); /* how it was done, and what cannot be known */
    const wf_snapshots *all = wf_bridge_data(b); /* ten times as many times as snapshots */
    printf("  %zu samples at time %g\n", all->n[1], all->times[1]);
    return b;
}
// end region

WF_TEST(an_epidemic_between_its_snapshots)
{
    enum { N = 1000, FRESH = 4000 };
    wf_arena *A = wf_arena_new(NULL);
    int32_t *x = (int32_t *)wf_alloc(A, N * 303, sizeof *x), *fresh = (int32_t *)wf_alloc(A, FRESH * 303, sizeof *fresh);
    wf_simulate_desc d;
    memset(&d, 0, sizeof d);
    d.frozen = 1;
    d.seed = 77;
    CHECK(wf_epidemic(A, N, &d, x) == WF_OK);
    d.seed = 78;
    CHECK(wf_epidemic(A, FRESH, &d, fresh) == WF_OK);
    wf_snapshots s = snapshots_of(A, x, N, 101, 10, 3, 0.5);
    const wf_bridge *b = bridge_epidemic(A, &s);
    if (!b) { CHECK(!"a bridge"); return; }
    CHECK_INT(wf_bridge_about(b)->method, WF_BRIDGE_GENERATOR);
    CHECK(wf_bridge_about(b)->misfit < 1);
    const wf_snapshots *all = wf_bridge_data(b);
    for (int k = 1; k < 101; k += 7)
        for (int j = 0; j < 3; j++) {
            double m, v, wanted = 0, square = 0;
            for (size_t i = 0; i < FRESH; i++) { double y = fresh[(i * 101 + (size_t)k) * 3 + (size_t)j]; wanted += y / FRESH; square += y * y / FRESH; }
            moments(all->x[k], all->n[k], 3, j, &m, &v);
            square -= wanted * wanted;
            CHECK_CLOSE(m, wanted, 6 * sqrt(square / N) + 0.3); /* errors of the generator itself are up to 0.3 counts */
            CHECK_CLOSE(sqrt(v), sqrt(square), 0.15 * sqrt(square) + 0.1);
        }
    wf_arena_free(A);
}

/* ---- the guard ---- */

static void toggle(void *user, double time, const int32_t *n, double *a)
{
    (void)user; (void)time;
    a[0] = 50.0 * n[0];
    a[1] = 50.0 * n[1];
    a[2] = n[2];
    a[3] = n[3];
    a[4] = n[2] < 2 ? 0 : 1e-4 * (double)n[2] * n[2] * n[1];
    a[5] = n[3] < 2 ? 0 : 1e-4 * (double)n[3] * n[3] * n[0];
    a[6] = 0.1 * (1 - n[1]);
    a[7] = 0.1 * (1 - n[0]);
}

/* Mean energy distance to other runs at the times of the truth that lie half way between two snapshots. */
static double far_between(wf_arena *A, const wf_bridge *b, const wf_snapshots *truth)
{
    const wf_snapshots *all = wf_bridge_data(b);
    double sum = 0, e;
    int times = 0;
    for (int k = 1; k < truth->count; k += 2, times++) {
        wf_points p, q;
        memset(&p, 0, sizeof p);
        memset(&q, 0, sizeof q);
        p.x = all->x[5 * k]; p.n = all->n[5 * k]; p.dim = (size_t)all->dim;
        q.x = truth->x[k]; q.n = truth->n[k]; q.dim = (size_t)all->dim;
        CHECK_CLOSE(all->times[5 * k], truth->times[k], 1e-9);
        CHECK(wf_energy_distance(A, &p, &q, NULL, &e) == WF_OK);
        sum += e;
    }
    return sum / times;
}

WF_TEST(the_guard_refuses_a_mechanism_that_is_not_in_the_library)
{
    enum { N = 500, T = 21 };
    static const int change[8][4] = { { 0, 0, 1, 0 }, { 0, 0, 0, 1 }, { 0, 0, -1, 0 }, { 0, 0, 0, -1 }, { 0, -1, -2, 0 }, { -1, 0, 0, -2 }, { 0, 1, 2, 0 }, { 1, 0, 0, 2 } };
    wf_reaction_system system;
    const int32_t start[4] = { 1, 1, 0, 0 };
    double times[T];
    wf_arena *A = wf_arena_new(NULL);
    int32_t *x = (int32_t *)wf_alloc(A, N * T * 4, sizeof *x);
    memset(&system, 0, sizeof system);
    system.species = 4; system.reactions = 8; system.change = &change[0][0]; system.propensity = toggle;
    for (int k = 0; k < T; k++) times[k] = 2.0 * k;
    CHECK(wf_simulate(A, &system, start, times, T, N, NULL, x) == WF_OK);
    wf_snapshots s = snapshots_of(A, x, N, T, 2, 4, 2);
    wf_bridge_desc d = counts_desc();
    d.between = 9;
    d.samples = 1000;
    d.library = WF_LIBRARY_LINEAR; /* one gene cannot silence another */
    wf_bridge *b = wf_bridge_new(A, &s, &d);
    CHECK(wf_bridge_fit(b) == WF_OK);
    const wf_bridge_report *r = wf_bridge_about(b);
    CHECK(r->method != WF_BRIDGE_GENERATOR);
    CHECK(r->misfit > 2);
    CHECK_STR_HAS(r->text, "The guard refused generators (the last of the linear library): 140 means and products of pairs"); /* ten intervals, 4 + 10 each */
    CHECK_STR_HAS(r->text, "nothing was observed"); /* between the start and the first spread snapshot */
    CHECK_INT(r->method, WF_BRIDGE_MIXTURE);      /* individuals switch: lines pass through states where nobody is */
    for (int k = 10; k < 101; k++) /* genes are on or off, never between */
        for (size_t i = 0; i < wf_bridge_data(b)->n[k]; i++) CHECK(wf_bridge_data(b)->x[k][4 * i] == 0 || wf_bridge_data(b)->x[k][4 * i] == 1);
    CHECK(wf_bridge_term(b, 0, 0, NULL, NULL, NULL, 0) == WF_ERROR_ARGUMENT);
    d.method = WF_BRIDGE_GENERATOR; /* whoever insists gets it */
    wf_bridge *forced = wf_bridge_new(A, &s, &d);
    CHECK(wf_bridge_fit(forced) == WF_OK);
    CHECK_INT(wf_bridge_about(forced)->method, WF_BRIDGE_GENERATOR);
    CHECK(wf_bridge_about(forced)->misfit > 2);
    d.method = WF_BRIDGE_AUTO; /* pairs come near enough to the cubic rate, and what is accepted must beat the mixture where nothing was shown */
    d.library = WF_LIBRARY_AUTO;
    d.samples = 500; /* each lives through thousands of events */
    wf_bridge *pairs = wf_bridge_new(A, &s, &d);
    CHECK(wf_bridge_fit(pairs) == WF_OK);
    r = wf_bridge_about(pairs);
    CHECK_INT(r->method, WF_BRIDGE_GENERATOR);
    CHECK_STR_HAS(r->text, "nothing was observed");
    CHECK_STR_HAS(r->text, "The guard compared 140 means and products of pairs");
    int32_t *fresh = (int32_t *)wf_alloc(A, N * T * 4, sizeof *fresh);
    wf_simulate_desc other;
    memset(&other, 0, sizeof other);
    other.seed = 12;
    CHECK(wf_simulate(A, &system, start, times, T, N, &other, fresh) == WF_OK);
    wf_snapshots truth = snapshots_of(A, fresh, N, T, 1, 4, 2);
    d.method = WF_BRIDGE_MIXTURE;
    wf_bridge *mixture = wf_bridge_new(A, &s, &d);
    CHECK(wf_bridge_fit(mixture) == WF_OK);
    double mixed = far_between(A, mixture, &truth), refused = far_between(A, b, &truth), accepted = far_between(A, pairs, &truth);
    if (getenv("WF_VERBOSE")) printf("    energy distance at times that were not shown: mixture %g, guard fired %g, generator accepted %g\n", mixed, refused, accepted);
    CHECK(refused <= 1.05 * mixed + 0.2); /* the mixture, but for what happens out of the first state: lines there; 500 runs of energy distance are known to a few hundredths of a protein, scaled by up to 40 */
    CHECK(accepted < mixed);
    wf_arena_free(A);
}

/* ---- continuous data ---- */

WF_TEST(a_process_that_returns_to_its_mean)
{
    /* dx = -(x - 2) dt + 0.8 dW, dy = -0.5 (y - x) dt + 0.4 dW from a broad start; unpaired snapshots */
    enum { N = 2500, SHOWN = 6 };
    double times[SHOWN], fine = 0.01;
    static double x[SHOWN][N][2], between[N][2];
    const double *rows[SHOWN];
    size_t n[SHOWN];
    wf_arena *A = wf_arena_new(NULL);
    for (int k = 0; k <= SHOWN; k++) {
        double t = k < SHOWN ? 0.5 * k : 1.25;
        for (int i = 0; i < N; i++) {
            wf_rng rng;
            wf_rng_init(&rng, 11 + (uint64_t)k, (uint32_t)i);
            double p = 3 * wf_rng_normal(&rng) * 0.3 - 1, q = 0.5 * wf_rng_normal(&rng);
            for (int step = 0; step < (int)(t / fine + 0.5); step++) {
                double dp = -(p - 2) * fine + 0.8 * sqrt(fine) * wf_rng_normal(&rng), dq = -0.5 * (q - p) * fine + 0.4 * sqrt(fine) * wf_rng_normal(&rng);
                p += dp; q += dq;
            }
            if (k < SHOWN) { x[k][i][0] = p; x[k][i][1] = q; }
            else { between[i][0] = p; between[i][1] = q; }
        }
        if (k < SHOWN) { times[k] = t; rows[k] = &x[k][0][0]; n[k] = N; }
    }
    wf_snapshots s = { SHOWN, 2, times, n, rows, NULL };
    wf_bridge_desc d;
    memset(&d, 0, sizeof d);
    d.samples = 4000;
    d.window = -1;
    wf_bridge *b = wf_bridge_new(A, &s, &d);
    CHECK(wf_bridge_fit(b) == WF_OK);
    const wf_bridge_report *r = wf_bridge_about(b);
    CHECK_INT(r->method, WF_BRIDGE_GENERATOR);
    CHECK_INT(r->library, WF_LIBRARY_LINEAR);
    CHECK_INT(r->terms, 8);
    static const struct { const char *name; double rate, error; } known[8] = { /* errors: three times the deviation over ten seeds */
        { "1 -> drift of x0", 2, 0.25 }, { "x0 -> drift of x0", -1, 0.15 }, { "x1 -> drift of x0", 0, 0.2 }, { "1 -> drift of x1", 0, 0.2 }, { "x0 -> drift of x1", 0.5, 0.12 },
        { "x1 -> drift of x1", -0.5, 0.2 }, { "1 -> noise of x0", 0.64, 0.12 }, { "1 -> noise of x1", 0.16, 0.06 } };
    for (int i = 0; i < 8; i++) {
        double rate = 0;
        char text[64];
        CHECK(wf_bridge_term(b, i, 2, &rate, NULL, text, sizeof text) == WF_OK);
        CHECK_STR_HAS(text, known[i].name);
        CHECK_CLOSE(rate, known[i].rate, known[i].error);
    }
    const wf_snapshots *all = wf_bridge_data(b);
    CHECK_CLOSE(all->times[25], 1.25, 1e-12);
    for (int j = 0; j < 2; j++) {
        double m, v, m2, v2;
        moments(all->x[25], all->n[25], 2, j, &m, &v);
        moments(&between[0][0], N, 2, j, &m2, &v2);
        CHECK_CLOSE(m, m2, 5 * sqrt(2 * v2 / N));
        CHECK_CLOSE(v, v2, 0.15 * v2);
    }
    wf_arena_free(A);
}

/* ---- mistakes ---- */

static int stop(void *user, const char *what, double done, double total) { (void)what; (void)done; (void)total; return ++*(int *)user > 1; }

WF_TEST(mistakes_are_named)
{
    double good[3] = { 1, 2, 3 }, other[3] = { 2, 2, 5 }, bad[3] = { 1, 2.5, 3 }, weight[3] = { 1, -1, 1 }, times[3] = { 0, 1, 1 };
    const double *rows[3] = { good, other, other }, *weights[2] = { weight, NULL };
    size_t n[3] = { 3, 3, 3 };
    wf_snapshots s = { 2, 1, times, n, rows, NULL };
    wf_bridge_desc d = counts_desc();
    struct { const char *part; } wanted[6] = { { "at least 2" }, { "snapshot 2 (1) is not after" }, { "2.5 is not a count" }, { "the weight is -1" }, { "no samples" }, { "is not finite" } };
    for (int i = 0; i < 6; i++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_snapshots t = s;
        double infinite[3] = { 1, HUGE_VAL, 1 };
        rows[0] = good; n[1] = 3;
        if (i == 0) t.count = 1;
        if (i == 1) t.count = 3;
        if (i == 2) rows[0] = bad;
        if (i == 3) t.weight = weights;
        if (i == 4) n[1] = 0;
        if (i == 5) rows[0] = infinite;
        CHECK(!wf_bridge_new(A, &t, &d));
        CHECK_INT(wf_arena_report(A)->code, WF_ERROR_DATA);
        CHECK_STR_HAS(wf_arena_report(A)->text, wanted[i].part);
        wf_arena_free(A);
    }
    rows[0] = good; n[1] = 3;
    wf_arena *A = wf_arena_new(NULL);
    d.method = 9;
    CHECK(!wf_bridge_new(A, &s, &d));
    CHECK_STR_HAS(wf_arena_report(A)->text, "method 9");
    wf_arena_clear(A);
    d = counts_desc();
    int calls = 0;
    d.progress = stop;
    d.progress_user = &calls;
    wf_bridge *b = wf_bridge_new(A, &s, &d);
    CHECK(wf_bridge_fit(b) == WF_CANCELLED);
    CHECK(!wf_bridge_data(b));
    d.progress = NULL;
    b = wf_bridge_new(A, &s, &d); /* three rows, one of them twice: it must only not fall over */
    CHECK(wf_bridge_fit(b) == WF_OK);
    rows[0] = rows[1] = good;
    s.count = 2;
    b = wf_bridge_new(A, &s, &d); /* nothing happens */
    CHECK(wf_bridge_fit(b) == WF_OK);
    d.window = 0x7FFFFFFF; /* every interval is inside */
    d.method = WF_BRIDGE_GENERATOR;
    b = wf_bridge_new(A, &s, &d);
    CHECK(b && wf_bridge_fit(b) == WF_OK);
    d.rounds = 0x7FFFFFFF;
    CHECK(!wf_bridge_new(A, &s, &d));
    CHECK_STR_HAS(wf_arena_report(A)->text, "out of range");
    wf_arena_clear(A);
    double huge = 1e200, x;
    CHECK_INT(wf_nnls(A, &huge, &huge, 1, 1, &x, NULL), WF_ERROR_NUMERIC);
    wf_rng rng;
    double mean = 0;
    wf_rng_init(&rng, 1, 1);
    for (int i = 0; i < 1000; i++) mean += wf__bridge_binomial(&rng, 2000000000, 0.25) / 1000.0; /* no two billion throws */
    CHECK_CLOSE(mean, 5e8, 5 * sqrt(2e9 * 0.25 * 0.75 / 1000));
    wf_arena_free(A);
}

WF_TEST(constants_weights_and_single_rows)
{
    /* a column of constants, weights that choose one half, a snapshot of one row */
    double x[3][40][2], weight[40], one[2] = { 4, 7 };
    const double *rows[3] = { one, &x[1][0][0], &x[2][0][0] }, *weights[3] = { NULL, weight, NULL }, times[3] = { 0, 1, 2 };
    size_t n[3] = { 1, 40, 40 };
    for (int i = 0; i < 40; i++) {
        for (int k = 1; k < 3; k++) { x[k][i][0] = 4; x[k][i][1] = i < 20 ? 5 : 11; }
        weight[i] = i < 20 ? 2 : 0;
    }
    wf_snapshots s = { 3, 2, times, n, rows, weights };
    wf_arena *A = wf_arena_new(NULL);
    for (int counts = 0; counts < 2; counts++) {
        wf_bridge_desc d = counts_desc();
        d.counts = counts;
        d.method = WF_BRIDGE_MIXTURE;
        d.between = 1;
        wf_bridge *b = wf_bridge_new(A, &s, &d);
        CHECK(b && wf_bridge_fit(b) == WF_OK);
        int late = 0;
        for (size_t i = 0; i < 2000; i++) {
            const double *early = wf_bridge_data(b)->x[1] + 2 * i, *later = wf_bridge_data(b)->x[3] + 2 * i;
            CHECK(early[0] == 4 && (early[1] == 7 || early[1] == 5)); /* rows without weight never appear */
            late += later[1] == 11;
        }
        CHECK_CLOSE(late / 2000.0, 0.25, 0.05); /* half of the mixture, half of those: five standard errors */
        d.method = WF_BRIDGE_AUTO;
        b = wf_bridge_new(A, &s, &d);
        CHECK(b && wf_bridge_fit(b) == WF_OK);
        for (size_t i = 0; i < 2000; i++) CHECK_CLOSE(wf_bridge_data(b)->x[1][2 * i], 4, counts ? 0 : 0.01);
    }
    wf_arena_free(A);
}

WF_TEST(memory_that_runs_out_is_an_error)
{
    wf_arena *B = wf_arena_new(NULL);
    wf_snapshots s = immigrants(B, 40, 3);
    int ended = 0;
    for (long k = 1; k < 400 && !ended; k++) {
        wf_test_memory memory;
        wf_allocator a;
        memset(&memory, 0, sizeof memory);
        memory.fail_at = k;
        a.alloc = wf_test_alloc; a.free = wf_test_free; a.user = &memory;
        wf_arena *A = wf_arena_new(&a);
        wf_bridge_desc d = counts_desc();
        d.samples = 50;
        wf_bridge *b = A ? wf_bridge_new(A, &s, &d) : NULL;
        ended = b && wf_bridge_fit(b) == WF_OK;
        if (A && !ended) CHECK(wf_arena_report(A)->code == WF_ERROR_MEMORY);
        wf_arena_free(A);
        CHECK(memory.live == 0);
    }
    CHECK(ended);
    wf_arena_free(B);
}

WF_MAIN_CASES(WF_CASE(nnls_is_the_best_of_all_sets), WF_CASE(the_bend_of_cubic_means_is_exact), WF_CASE(lines_between_normal_clouds_have_the_variance_of_the_schroedinger_bridge),
              WF_CASE(rows_at_their_own_pace_keep_the_mean_and_spread_along_the_way), WF_CASE(snapshots_that_are_left_out_choose), WF_CASE(thinning_out_of_a_point_is_binomial), WF_CASE(rates_and_law_of_immigration_and_death), WF_CASE(a_large_library_keeps_few_terms), WF_CASE(any_number_of_threads_gives_the_same_samples),
              WF_CASE(an_epidemic_between_its_snapshots), WF_CASE(the_guard_refuses_a_mechanism_that_is_not_in_the_library), WF_CASE(a_process_that_returns_to_its_mean),
              WF_CASE(mistakes_are_named), WF_CASE(constants_weights_and_single_rows), WF_CASE(memory_that_runs_out_is_an_error))
