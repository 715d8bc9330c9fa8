/* Filters, and samplers on targets with known constants: what ../shared/methods/feynman_kac.md gives as exact answers, and the reference files `kalman`, `logistic_regression`, `resampling`.

   Seeds are fixed, so a statistical test passes always or never. Bounds are four standard errors, the error as the run itself reports it (that is part of what is tested) or as computed beside the check.
   WF_TEST_LONG=1 takes the larger targets and longer runs. */
#define WF_KEEP_PARTICLES
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"
#include "../bench/targets.h"

static int long_test(void) { return getenv("WF_TEST_LONG") != NULL; }

/* ---- reference files ---- */

static const double *numbers(wf_arena *A, const wf_tensors *t, const char *name, size_t *count)
{
    const wf_array *a = wf_tensors_find(t, name);
    if (count) *count = a ? a->count : 0;
    return a ? wf_array_f64(A, a) : NULL;
}

static wf_tensors *reference(wf_arena *A, const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%s/reference/oracle/%s.safetensors", wf_test_shared(), name);
    return wf_tensors_read(A, path);
}

static int about(const wf_tensors *t, const char *key)
{
    const char *text = wf_tensors_about(t, key);
    return text ? atoi(text) : 0;
}

static void all_close(const double *a, const double *b, size_t n, double tolerance, const char *what)
{
    double most = 1, worst = 0;
    for (size_t i = 0; i < n; i++) if (fabs(b[i]) > most) most = fabs(b[i]);
    for (size_t i = 0; i < n; i++) if (!(fabs(a[i] - b[i]) <= worst)) worst = fabs(a[i] - b[i]);
    if (!(worst <= tolerance * most)) printf("  %s\n", what);
    CHECK_CLOSE(worst, 0, tolerance * most);
}

/* A linear system moved by particles: an exact transition, an exact likelihood. */
typedef struct linear { const wf_kalman_desc *d; const double *y; double root_q[16], root_r[16], log_det; } linear;

static void linear_move(void *user, const wf_tile *tile, float *x, const float *normals, double *log_weight)
{
    const linear *s = (const linear *)user;
    int n = s->d->dim;
    (void)log_weight;
    for (int l = 0; l < WF_LANES && tile->step > 0; l++) { /* the first observation is of the start itself */
        double now[8], next[8];
        for (int i = 0; i < n; i++) now[i] = (double)x[i * WF_LANES + l];
        for (int i = 0; i < n; i++) {
            next[i] = 0;
            for (int j = 0; j < n; j++) next[i] += s->d->A[i * n + j] * now[j] + (j <= i ? s->root_q[i * n + j] * (double)normals[j * WF_LANES + l] : 0);
        }
        for (int i = 0; i < n; i++) x[i * WF_LANES + l] = (float)next[i];
    }
}

static void linear_likelihood(void *user, const wf_tile *tile, double *out)
{
    const linear *s = (const linear *)user;
    int n = s->d->dim, c = s->d->channels;
    for (int l = 0; l < WF_LANES; l++) {
        double e[8], sum = s->log_det + c * TARGET_LOG_2PI;
        for (int i = 0; i < c; i++) {
            e[i] = s->y[(size_t)tile->step * (size_t)c + (size_t)i];
            for (int j = 0; j < n; j++) e[i] -= s->d->C[i * n + j] * (double)tile->x[j * WF_LANES + l];
        }
        for (int i = 0; i < c; i++) {
            for (int j = 0; j < i; j++) e[i] -= s->root_r[i * c + j] * e[j];
            e[i] /= s->root_r[i * c + i];
            sum += e[i] * e[i];
        }
        out[l] = -0.5 * sum;
    }
}

WF_TEST(kalman_agrees_with_the_reference_and_particles_with_kalman)
{
    if (!wf_test_shared()) SKIP("no shared data");
    for (int file = 0; file < 3; file++) {
        char name[64];
        snprintf(name, sizeof name, "kalman_%d", file);
        wf_arena *A = wf_arena_new(NULL);
        wf_tensors *t = reference(A, name);
        CHECK(t != NULL);
        if (!t) { wf_arena_free(A); continue; }
        size_t T = (size_t)about(t, "steps"), n = (size_t)about(t, "state"), c = (size_t)about(t, "observed");
        wf_kalman_desc d = { (int)n, (int)c, numbers(A, t, "param.A", NULL), numbers(A, t, "in.Q", NULL), numbers(A, t, "param.C", NULL), numbers(A, t, "in.R", NULL), numbers(A, t, "param.m0", NULL),
                             numbers(A, t, "in.P0", NULL) };
        const double *y = numbers(A, t, "in.y", NULL), *total = numbers(A, t, "out.loglik", NULL);
        wf_kalman_out out;
        out.predicted_mean = (double *)wf_alloc(A, T * n, sizeof(double));
        out.filtered_mean = (double *)wf_alloc(A, T * n, sizeof(double));
        out.predicted_cov = (double *)wf_alloc(A, T * n * n, sizeof(double));
        out.filtered_cov = (double *)wf_alloc(A, T * n * n, sizeof(double));
        out.log_likelihood = (double *)wf_alloc(A, T, sizeof(double));
        CHECK_INT(wf_kalman(A, &d, y, T, &out), WF_OK);
        all_close(out.predicted_mean, numbers(A, t, "out.predicted_mean", NULL), T * n, 1e-10, name); /* the files are good to 1e-12 of their largest entry; a hundred products of condition below 100 */
        all_close(out.predicted_cov, numbers(A, t, "out.predicted_cov", NULL), T * n * n, 1e-10, name);
        all_close(out.filtered_mean, numbers(A, t, "out.filtered_mean", NULL), T * n, 1e-10, name);
        all_close(out.filtered_cov, numbers(A, t, "out.filtered_cov", NULL), T * n * n, 1e-10, name);
        all_close(out.log_likelihood, numbers(A, t, "out.increment", NULL), T, 1e-10, name);

        linear s;
        double log_det, *times = (double *)wf_alloc(A, T + 1, sizeof(double)), root[16], square[8] = { 0 };
        memset(&s, 0, sizeof s);
        s.d = &d;
        s.y = y;
        memcpy(s.root_q, d.Q, n * n * sizeof(double));
        memcpy(s.root_r, d.R, c * c * sizeof(double));
        memcpy(root, d.P0, n * n * sizeof(double));
        CHECK(wf__small_root(s.root_q, (int)n, &log_det) && wf__small_root(root, (int)n, &log_det) && wf__small_root(s.root_r, (int)c, &s.log_det));
        enum { N = 16384 };
        float *start = (float *)wf_alloc(A, N * n, sizeof(float));
        for (size_t k = 0; k < N; k++)
            for (size_t i = 0; i < n; i++) {
                double x = d.m0[i];
                for (size_t j = 0; j <= i; j++) x += root[i * n + j] * wf_normal_at(9, k, 0, (uint32_t)j, 1);
                start[k * n + i] = (float)x;
            }
        for (size_t k = 0; k <= T; k++) times[k] = (double)k;
        wf_filter_desc f;
        wf_filtered got;
        memset(&f, 0, sizeof f);
        memset(&got, 0, sizeof got);
        f.n = N;
        f.dim = (int)n;
        f.seed = 3;
        f.start = start;
        f.steps = T;
        f.times = times;
        f.transition = linear_move;
        f.likelihood = linear_likelihood;
        f.user = &s;
        got.log_likelihood = (double *)wf_alloc(A, T, sizeof(double));
        got.mean = (double *)wf_alloc(A, T * n, sizeof(double));
        got.sd = (double *)wf_alloc(A, T * n, sizeof(double));
        got.ess = (double *)wf_alloc(A, T, sizeof(double));
        CHECK_INT(wf_filter(A, &f, &got), WF_OK);
        CHECK(got.error > 0 && got.error < 0.5);
        CHECK_CLOSE(got.log_likelihood[T - 1], total[0], 4 * got.error);
        for (size_t k = 0; k < T; k++)
            for (size_t i = 0; i < n; i++) {
                double sd = sqrt(out.filtered_cov[k * n * n + i * n + i]);
                square[i] += pow((got.mean[k * n + i] - out.filtered_mean[k * n + i]) / sd, 2) * got.ess[k] / (double)T;
                CHECK_CLOSE(got.sd[k * n + i] / sd, 1, 12 / sqrt(got.ess[k]));  /* 4 / sqrt(2 ESS) if particles were independent; families of resampled ones are not: four times the error */
            }
        for (size_t i = 0; i < n; i++) CHECK(square[i] < 16); /* the mean is off by less than four times sd / sqrt(ESS), as a root mean square over time */
        wf_arena_free(A);
    }
}

WF_TEST(logistic_energies_agree_with_the_reference)
{
    if (!wf_test_shared()) SKIP("no shared data");
    for (int file = 0; file < 3; file++) {
        char name[64];
        snprintf(name, sizeof name, "logistic_regression_%d", file);
        wf_arena *A = wf_arena_new(NULL);
        wf_tensors *t = reference(A, name);
        CHECK(t != NULL);
        if (!t) { wf_arena_free(A); continue; }
        int n = about(t, "n"), d = about(t, "dim"), K = about(t, "particles");
        double prior = strtod(wf_tensors_about(t, "prior_std"), NULL);
        const double *x = numbers(A, t, "in.x", NULL), *y = numbers(A, t, "in.y", NULL), *w = numbers(A, t, "param.w", NULL), *like = numbers(A, t, "out.log_likelihood", NULL), *grad = numbers(A, t, "grad.w", NULL);
        target g = target_new(name, d, 0, logistic_energy);
        float *rows = (float *)wf_alloc(A, (size_t)n * (size_t)d, sizeof(float)), *label = (float *)wf_alloc(A, (size_t)n, sizeof(float));
        float *at = (float *)wf_alloc(A, (size_t)d * WF_LANES, sizeof(float)), *slope = (float *)wf_alloc(A, (size_t)d * WF_LANES, sizeof(float));
        double energy[WF_LANES], noise = strtod(wf_tensors_about(t, "binary32_noise"), NULL);
        for (int i = 0; i < n * d; i++) rows[i] = (float)x[i];
        for (int i = 0; i < n; i++) label[i] = (float)y[i];
        for (int k = 0; k < K && k < WF_LANES; k++) for (int i = 0; i < d; i++) at[i * WF_LANES + k] = (float)w[k * d + i];
        g.rows = n;
        g.matrix = rows;
        g.vector = label;
        wf_tile tile;
        memset(&tile, 0, sizeof tile);
        tile.x = at;
        tile.dim = d;
        tile.lanes = K;
        logistic_energy(&g, &tile, energy, slope);
        double most = 1;
        for (int k = 0; k < K * d; k++) if (fabs(grad[k]) > most) most = fabs(grad[k]);
        for (int k = 0; k < K; k++) {
            double square = 0;
            for (int i = 0; i < d; i++) {
                double v = w[k * d + i];
                square += v * v;
                CHECK_CLOSE((double)slope[i * WF_LANES + k] - v + v / (prior * prior), grad[k * d + i], (4 * noise + 1e-6) * most); /* our prior has sd 1; noise: half a unit of binary32 in each weight */
            }
            CHECK_CLOSE(0.5 * square - energy[k], like[k], (4 * noise + 1e-6) * (fabs(like[k]) + square));
        }
        wf_arena_free(A);
    }
}

WF_TEST(weights_and_resampling_agree_with_the_reference)
{
    static const char *const names[] = { "resampling_random_0", "resampling_random_1", "resampling_random_2", "resampling_uniform", "resampling_single", "resampling_degenerate" };
    if (!wf_test_shared()) SKIP("no shared data");
    wf_arena *A = wf_arena_new(NULL);
    wf_tensors *t = reference(A, "resampling_log_weights");
    size_t rows, all;
    CHECK(t != NULL);
    if (!t) { wf_arena_free(A); return; }
    const double *lw = numbers(A, t, "in.log_weights", &all), *ess = numbers(A, t, "out.ess", &rows), *mean = numbers(A, t, "out.log_mean_exp", NULL);
    for (size_t r = 0; r < rows; r++) {
        size_t n = all / rows;
        CHECK_CLOSE(wf_ess(lw + r * n, n), ess[r], 1e-10 * (double)n);
        if (mean[r] > -HUGE_VAL) CHECK_CLOSE(wf_log_mean_exp(lw + r * n, n), mean[r], 1e-11 * (1 + fabs(mean[r])));
        else CHECK(wf_log_mean_exp(lw + r * n, n) == -HUGE_VAL);
    }
    for (int k = 0; k < 6; k++) {
        size_t n;
        t = reference(A, names[k]);
        const double *w = numbers(A, t, "in.weights", &n), *wanted = numbers(A, t, "out.ess", NULL);
        double *log_w = (double *)wf_alloc(A, n, sizeof(double));
        uint32_t *a = (uint32_t *)wf_alloc(A, n, sizeof(uint32_t));
        for (size_t i = 0; i < n; i++) log_w[i] = w[i] > 0 ? log(w[i]) + 300 : -HUGE_VAL;
        CHECK_CLOSE(wf_ess(log_w, n), wanted[0], 1e-10 * (double)n);
        /* the definition, "a point p picks the smallest j with p < w_0 + ... + w_j", with the points that belong to the seed */
        for (uint64_t seed = 1; seed <= 50; seed++) {
            CHECK_INT(wf_resample(A, WF_RESAMPLE_STRATIFIED, log_w, n, seed, 7, NULL, 0, a, n), WF_OK);
            for (size_t i = 0; i < n; i++) {
                double p = ((double)i + wf_uniform_at(seed, i, 7, 0, WF__PT_RESAMPLE)) / (double)n, sum = 0, near = 1;
                size_t j = 0;
                while (j + 1 < n && p >= sum + w[j]) sum += w[j++];
                if (fabs(p - sum) < 1e-9 || fabs(p - sum - w[j]) < 1e-9) near = 0; /* exp of log rounds */
                if (near > 0) CHECK_INT(a[i], j);
            }
        }
    }
    wf_arena_free(A);
}

/* ---- filters ---- */

static void ou_signal(void *user, const wf_tile *tile, float *drift, float *noise, float *slope, double *rate)
{
    (void)user;
    (void)noise; /* ones */
    (void)slope;
    (void)rate;
    for (int l = 0; l < WF_LANES; l++) drift[l] = -0.5f * tile->x[l];
}

static void see_itself(void *user, const wf_tile *tile, float *h)
{
    (void)user;
    memcpy(h, tile->x, WF_LANES * sizeof *h);
}

/* A path of dX = f dt + dB with what is seen of h(X) = X, from X_0 = x0, made with ten small steps in each. */
static void make_path(double (*f)(double), double x0, double r, size_t steps, double dt, uint64_t seed, double *times, double *seen, double *hidden)
{
    double x = x0;
    for (size_t k = 0; k < steps; k++) {
        seen[k] = r * sqrt(dt) * wf_normal_at(seed, 0, (uint32_t)k, 10, 2);
        for (uint32_t j = 0; j < 10; j++) {
            seen[k] += 0.05 * x * dt;
            x += 0.1 * f(x) * dt + sqrt(0.1 * dt) * wf_normal_at(seed, 0, (uint32_t)k, j, 2);
            seen[k] += 0.05 * x * dt;
        }
        times[k] = (double)k * dt;
        hidden[k] = x;
    }
    times[steps] = (double)steps * dt;
}

static double half_down(double x) { return -0.5 * x; }

enum { STEPS = 400, FILTER_N = 8192 };
static double times[STEPS + 1], seen[STEPS], hidden[STEPS];

// region: filter a signal that is seen in noise
static void filter_an_ornstein_uhlenbeck_process(wf_arena *A, const double sd[1], const double noise[1], double *mean, double *deviation, double *log_likelihood, double *error)
{
    wf_filter_desc d = { 0 };
    wf_filtered out = { 0 };
    d.n = FILTER_N;
    d.dim = d.channels = 1;
    d.sd = sd;                  /* of X at the start */
    d.steps = STEPS;
    d.times = times;
    d.signal = ou_signal;       /* drift[l] = -x[l] / 2, noise 1 */
    d.observe = see_itself;     /* h[l] = x[l] */
    d.seen = seen;              /* Y(times[k + 1]) - Y(times[k]) */
    d.noise = noise;
    out.mean = mean;
    out.sd = deviation;
    out.log_likelihood = log_likelihood;
    CHECK_INT(wf_filter(A, &d, &out), WF_OK);
    *error = out.error;
}
// end region

/* What the filter should say exactly, where the signal is x' = phi x + N(0, q) on each step and of it (x + x') dt / 2 + N(0, r^2 dt) is seen: Kalman's filter for the pair (x', x). */
static double exact_filter(wf_arena *A, double phi, double q, double r, double dt, double P0, double *mean, double *variance)
{
    double M[4], Q[4] = { 0, 0, 0, 0 }, C[2], R, m0[2] = { 0, 0 }, P[4], total = 0;
    wf_kalman_desc d = { 2, 1, M, Q, C, &R, m0, P };
    wf_kalman_out out = { NULL, NULL, NULL, NULL, NULL };
    M[0] = phi; M[1] = 0; M[2] = 1; M[3] = 0;
    Q[0] = q;
    C[0] = C[1] = 0.5 * dt;
    R = r * r * dt;
    P[0] = phi * phi * P0 + q; P[1] = P[2] = phi * P0; P[3] = P0;
    out.filtered_mean = (double *)wf_alloc(A, 2 * STEPS, sizeof(double));
    out.filtered_cov = (double *)wf_alloc(A, 4 * STEPS, sizeof(double));
    out.log_likelihood = (double *)wf_alloc(A, STEPS, sizeof(double));
    CHECK_INT(wf_kalman(A, &d, seen, STEPS, &out), WF_OK);
    for (int k = 0; k < STEPS; k++) {
        total += out.log_likelihood[k] + 0.5 * (TARGET_LOG_2PI + log(R) + seen[k] * seen[k] / R); /* relative to noise */
        mean[k] = out.filtered_mean[2 * k];
        variance[k] = out.filtered_cov[4 * k];
    }
    return total;
}

WF_TEST(particles_follow_kalman_and_bucy)
{
    const double r = 0.5, dt = 0.01, sd = 1, settled = 0.390388203202; /* r^2 (a + sqrt(a^2 + 1 / r^2)), a = -1/2 */
    static double mean[STEPS], deviation[STEPS], likelihood[STEPS], m[STEPS], P[STEPS];
    double error, worst = 0, square = 0;
    wf_arena *A = wf_arena_new(NULL);
    make_path(half_down, 0.7, r, STEPS, dt, 5, times, seen, hidden);
    filter_an_ornstein_uhlenbeck_process(A, &sd, &r, mean, deviation, likelihood, &error);
    double total = exact_filter(A, 1 - 0.5 * dt, dt, r, dt, 1, m, P);
    for (int k = 0; k < STEPS; k++) {
        square += pow((mean[k] - m[k]) / sqrt(P[k]), 2) / STEPS;
        if (fabs(deviation[k] - sqrt(P[k])) > worst) worst = fabs(deviation[k] - sqrt(P[k]));
    }
    CHECK_CLOSE(P[STEPS - 1], settled, 0.4 * dt); /* Euler's rule and seeing in pieces change the settled variance by a part of a step's noise */
    CHECK(error > 0 && error < 0.1);
    CHECK(sqrt(square) < 0.05);  /* 8192 particles, half of them effective: 0.016, and as much again from families */
    CHECK(worst < 0.06);
    CHECK_CLOSE(likelihood[STEPS - 1], total, 4 * error);
    wf_arena_free(A);
}

static double tanh_of(double x) { return tanh(x); }

static void benes_signal(void *user, const wf_tile *tile, float *drift, float *noise, float *slope, double *rate)
{
    (void)user;
    (void)noise;
    (void)slope;
    (void)rate;
    for (int l = 0; l < WF_LANES; l++) drift[l] = tanhf(tile->x[l]);
}

WF_TEST(particles_follow_benes)
{
    static double mean[STEPS], deviation[STEPS], likelihood[STEPS], free_mean[STEPS], free_variance[STEPS];
    const double dt = 0.01;
    double worst = 0, sd = 1e-6;
    wf_arena *A = wf_arena_new(NULL);
    make_path(tanh_of, 0, 1, STEPS, dt, 8, times, seen, hidden);
    wf_filter_desc d;
    wf_filtered out;
    memset(&d, 0, sizeof d);
    memset(&out, 0, sizeof out);
    d.n = FILTER_N;
    d.dim = d.channels = 1;
    d.seed = 4;
    d.sd = &sd;
    d.steps = STEPS;
    d.times = times;
    d.signal = benes_signal;
    d.observe = see_itself;
    d.seen = seen;
    out.mean = mean;
    out.sd = deviation;
    out.log_likelihood = likelihood;
    CHECK_INT(wf_filter(A, &d, &out), WF_OK);
    /* Without drift the filter is N(m, v), v = tanh t; the drift tanh x tilts it by cosh x, and the likelihood by e^(-t/2) E cosh x. */
    double total = exact_filter(A, 1, dt, 1, dt, 0, free_mean, free_variance);
    for (int k = 50; k < STEPS; k++) {
        double m = free_mean[k], v = free_variance[k], exact = m + v * tanh(m), variance = v + v * v / (cosh(m) * cosh(m));
        CHECK_CLOSE(v, tanh(times[k + 1]), dt);
        if (fabs(mean[k] - exact) / sqrt(variance) > worst) worst = fabs(mean[k] - exact) / sqrt(variance);
        CHECK_CLOSE(deviation[k] / sqrt(variance), 1, 0.15);
    }
    double t = times[STEPS], v = free_variance[STEPS - 1], exact = total - 0.5 * t + 0.5 * v + log(cosh(free_mean[STEPS - 1]));
    CHECK(worst < 0.15); /* four times the error of 8192 particles whose families are a tenth as many */
    CHECK_CLOSE(likelihood[STEPS - 1], exact, 4 * out.error + dt * t); /* Euler's rule: first order */
    wf_arena_free(A);
}

/* A signal that jumps between three states, as particles: x is the number of the state. */
static const double jump_rates[9] = { 0, 1.0, 0.2, 0.5, 0, 0.5, 0.3, 1.5, 0 }, jump_level[3] = { -1, 0.5, 2 };

static void jump(void *user, const wf_tile *tile, float *x, const float *normals, double *log_weight)
{
    (void)user;
    (void)normals;
    (void)log_weight;
    for (int l = 0; l < WF_LANES; l++) {
        double p[3] = { 0, 0, 0 }, room[6], u = wf_uniform_at(tile->seed, tile->first + (uint64_t)l, tile->step, 0, 5);
        int from = (int)x[l], to = 0;
        p[from] = 1;
        wf__chain_move(3, jump_rates, 2.0, tile->dt, p, room);
        while (to < 2 && u >= p[to]) u -= p[to++];
        x[l] = (float)to;
    }
}

static void see_level(void *user, const wf_tile *tile, float *h)
{
    (void)user;
    for (int l = 0; l < WF_LANES; l++) h[l] = (float)jump_level[(int)tile->x[l]];
}

WF_TEST(particles_that_jump_follow_wonham)
{
    static double p[STEPS * 3], mean[STEPS], likelihood[STEPS];
    static float start[FILTER_N];
    const double r = 0.7, dt = 0.01, p0[3] = { 0.5, 0.25, 0.25 };
    double total, worst = 0;
    int state = 0;
    wf_arena *A = wf_arena_new(NULL);
    for (int k = 0; k < STEPS; k++) {
        double q[3] = { 0, 0, 0 }, room[6], u = wf_uniform_at(31, 0, (uint32_t)k, 0, 0), before = jump_level[state];
        q[state] = 1;
        wf__chain_move(3, jump_rates, 2.0, dt, q, room);
        for (state = 0; state < 2 && u >= q[state]; state++) u -= q[state];
        times[k] = k * dt;
        seen[k] = 0.5 * (before + jump_level[state]) * dt + r * sqrt(dt) * wf_normal_at(31, 0, (uint32_t)k, 0, 1);
    }
    times[STEPS] = STEPS * dt;
    CHECK_INT(wf_wonham(A, 3, jump_rates, jump_level, r, p0, STEPS, times, seen, p, &total), WF_OK);
    for (int i = 0; i < FILTER_N; i++) start[i] = (float)(i % 4 < 2 ? 0 : i % 4 - 1);
    wf_filter_desc d;
    wf_filtered out;
    memset(&d, 0, sizeof d);
    memset(&out, 0, sizeof out);
    d.n = FILTER_N;
    d.dim = d.channels = 1;
    d.seed = 6;
    d.start = start;
    d.steps = STEPS;
    d.times = times;
    d.transition = jump;
    d.observe = see_level;
    d.seen = seen;
    d.noise = &r;
    out.mean = mean;
    out.log_likelihood = likelihood;
    CHECK_INT(wf_filter(A, &d, &out), WF_OK);
    for (int k = 0; k < STEPS; k++) {
        double exact = p[3 * k + 1] + 2 * p[3 * k + 2], sum = p[3 * k] + p[3 * k + 1] + p[3 * k + 2];
        CHECK_CLOSE(sum, 1, 1e-12);
        if (fabs(mean[k] - exact) > worst) worst = fabs(mean[k] - exact);
    }
    CHECK(worst < 0.08); /* states have sd below 0.9; 8192 particles, families a tenth as many: 0.03 a standard error */
    CHECK_CLOSE(likelihood[STEPS - 1], total, 4 * out.error + 0.01);
    wf_arena_free(A);
}

/* Stochastic volatility: x' = mu + rho (x - mu) + sigma xi, y ~ N(0, e^x) */
static double sv_data[100];

static void sv_move(void *user, const wf_tile *tile, float *x, const float *normals, double *log_weight)
{
    (void)user;
    (void)tile;
    (void)log_weight;
    for (int l = 0; l < WF_LANES; l++) { float back = 0.95f * (x[l] + 1); x[l] = -1 + back + 0.3f * normals[l]; }
}

static void sv_likelihood(void *user, const wf_tile *tile, double *out)
{
    (void)user;
    for (int l = 0; l < WF_LANES; l++) {
        double x = (double)tile->x[l], y = sv_data[tile->step];
        out[l] = -0.5 * (TARGET_LOG_2PI + x + y * y * exp(-x));
    }
}

WF_TEST(the_error_bar_of_one_run_is_the_spread_of_many)
{
    enum { RUNS = 30, LENGTH = 100 };
    double t[LENGTH + 1], x = -1, log_z[RUNS], mean = 0, square = 0, bar = 0, sd = 0.3 / sqrt(1 - 0.95 * 0.95), start = -1;
    static double likelihood[LENGTH];
    for (int k = 0; k <= LENGTH; k++) t[k] = k;
    for (int k = 0; k < LENGTH; k++) {
        x = -1 + 0.95 * (x + 1) + 0.3 * wf_normal_at(12, 0, (uint32_t)k, 0, 0);
        sv_data[k] = exp(0.5 * x) * wf_normal_at(12, 0, (uint32_t)k, 0, 1);
    }
    wf_arena *A = wf_arena_new(NULL);
    wf_filter_desc d;
    wf_filtered out;
    memset(&d, 0, sizeof d);
    memset(&out, 0, sizeof out);
    d.n = 1024;
    d.dim = 1;
    d.mean = &start;
    d.sd = &sd;
    d.steps = LENGTH;
    d.times = t;
    d.transition = sv_move;
    d.likelihood = sv_likelihood;
    out.log_likelihood = likelihood;
    for (int r = 0; r < RUNS; r++) {
        d.seed = (uint64_t)r + 1;
        CHECK_INT(wf_filter(A, &d, &out), WF_OK);
        log_z[r] = likelihood[LENGTH - 1];
        mean += log_z[r] / RUNS;
        bar += out.error * out.error / RUNS;
    }
    for (int r = 0; r < RUNS; r++) square += (log_z[r] - mean) * (log_z[r] - mean) / (RUNS - 1);
    CHECK_CLOSE(0.5 * log(bar / square), 0, 4 * sqrt(0.5 / (RUNS - 1) + 0.02)); /* log of a standard deviation from 30 runs: 1 / sqrt(2 29); the mean of 30 noisy bars: 0.14 */
    wf_arena_free(A);
}

WF_TEST(a_filter_says_what_is_wrong)
{
    double t[3] = { 0, 1, 1 }, y[2] = { 0, 0 }, zero = 0;
    wf_filter_desc d;
    wf_filtered out;
    wf_arena *A = wf_arena_new(NULL);
    memset(&d, 0, sizeof d);
    memset(&out, 0, sizeof out);
    d.n = 64;
    d.dim = d.channels = 1;
    d.steps = 2;
    d.times = t;
    d.signal = ou_signal;
    d.observe = see_itself;
    d.seen = y;
    CHECK_INT(wf_filter(A, &d, &out), WF_ERROR_DATA);
    CHECK_STR_HAS(wf_arena_report(A)->text, "times must rise");
    wf_arena_clear(A);
    t[2] = 2;
    d.noise = &zero;
    CHECK_INT(wf_filter(A, &d, &out), WF_ERROR_ARGUMENT);
    CHECK_STR_HAS(wf_arena_report(A)->text, "not positive");
    wf_arena_clear(A);
    d.noise = NULL;
    d.dim = 0;
    CHECK_INT(wf_filter(A, &d, &out), WF_ERROR_ARGUMENT);
    CHECK_STR_HAS(wf_arena_report(A)->text, "dimension 0");
    wf_arena_clear(A);
    d.dim = 1;
    d.transition = jump;
    CHECK_INT(wf_filter(A, &d, &out), WF_ERROR_ARGUMENT);
    CHECK_STR_HAS(wf_arena_report(A)->text, "either a signal or a transition");
    wf_arena_clear(A);
    d.transition = NULL;
    y[1] = HUGE_VAL;
    CHECK_INT(wf_filter(A, &d, &out), WF_ERROR_NUMERIC);
    CHECK_STR_HAS(wf_arena_report(A)->text, "all 64 weights are 0");
    wf_arena_clear(A);
    y[1] = NAN; /* nothing seen */
    CHECK_INT(wf_filter(A, &d, &out), WF_OK);
    double bad = -1;
    CHECK_INT(wf_wonham(A, 1, &bad, y, -1, y, 1, t, y, NULL, NULL), WF_ERROR_ARGUMENT);
    wf_arena_clear(A);
    CHECK_INT(wf_filter(A, &d, NULL), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_filter(A, NULL, &out), WF_ERROR_ARGUMENT);
    wf_arena_free(A);
}

WF_TEST(chains_that_jump_often_or_make_no_sense)
{
    wf_arena *A = wf_arena_new(NULL);
    const double h[2] = { 0, 1 }, fast[4] = { 0, 2000, 3000, 0 }, good[4] = { -9, 2, 3, -9 }, start[2] = { 1, 1 }, none[2] = { 0, 0 }, times[3] = { 0, 1, 2 }, falls[3] = { 0, 1, 0.5 };
    const double seen[2] = { 0.3, 0.2 }, blind[2] = { NAN, NAN }, wild[2] = { 0.3, INFINITY }, far[2] = { 0, 1e200 };
    double p[4], q[4], ll = 7, infinite[4] = { 0, INFINITY, 3, 0 };
    /* so fast that after every step the chain has forgotten everything: the stationary law is 3 : 2 */
    CHECK_INT(wf_wonham(A, 2, fast, h, 1, start, 2, times, seen, p, &ll), WF_OK);
    for (int k = 0; k < 2; k++) { CHECK_CLOSE(p[2 * k], 0.6, 1e-12); CHECK_CLOSE(p[2 * k + 1], 0.4, 1e-12); }
    CHECK_CLOSE(ll, log(0.6 + 0.4 * exp(0.3 - 0.5)) + log(0.6 + 0.4 * exp(0.2 - 0.5)), 1e-12);
    /* where nothing is seen there is only the motion: p = pi + (p0 - pi) exp(-5 t), from (1/2, 1/2) */
    CHECK_INT(wf_wonham(A, 2, good, h, 1, start, 2, times, blind, p, &ll), WF_OK);
    for (int k = 0; k < 2; k++) CHECK_CLOSE(p[2 * k], 0.6 - 0.1 * exp(-5.0 * (k + 1)), 1e-14);
    CHECK_CLOSE(ll, 0, 1e-14);
    ll = 7;
    CHECK_INT(wf_wonham(A, 2, good, h, 1, none, 2, times, seen, p, &ll), WF_ERROR_DATA);
    CHECK_STR_HAS(wf_arena_report(A)->text, "sum to 0");
    wf_arena_clear(A);
    CHECK_INT(wf_wonham(A, 2, infinite, h, 1, start, 2, times, seen, p, &ll), WF_ERROR_DATA);
    CHECK_STR_HAS(wf_arena_report(A)->text, "from 0 to 1 is inf");
    wf_arena_clear(A);
    CHECK_INT(wf_wonham(A, 2, good, h, 1, start, 2, falls, seen, p, &ll), WF_ERROR_DATA);
    CHECK_STR_HAS(wf_arena_report(A)->text, "step 1 lasts -0.5");
    wf_arena_clear(A);
    CHECK_INT(wf_wonham(A, 2, good, h, 1, start, 2, times, wild, q, &ll), WF_ERROR_DATA);
    wf_arena_clear(A);
    infinite[1] = 1e7;
    CHECK_INT(wf_wonham(A, 2, infinite, h, 1, start, 2, times, seen, q, &ll), WF_ERROR_LIMIT);
    wf_arena_clear(A);
    CHECK_INT(wf_wonham(A, 2, good, h, 1, NULL, 2, times, seen, q, &ll), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_wonham(A, 2, good, h, 1, start, 2, NULL, seen, q, &ll), WF_ERROR_ARGUMENT);
    CHECK(wf_wonham(A, 1, good, far + 1, 1, start, 1, times, seen, q, &ll) < 0); /* the square of what would be seen is infinite */
    CHECK(ll == 7);
    wf_arena_free(A);
}

WF_TEST(kalman_says_whose_fault_it_is)
{
    wf_arena *A = wf_arena_new(NULL);
    const double unit[4] = { 1, 0, 0, 1 }, indefinite[4] = { -9, 0, 0, 1 }, zero[2] = { 0, 0 };
    double y[6] = { 1, 2, NAN, 5, 1, NAN }, mean[6] = { 7, 7, 7, 7, 7, 7 };
    wf_kalman_desc d = { 2, 2, unit, unit, unit, unit, zero, unit };
    wf_kalman_out out = { .filtered_mean = mean };
    CHECK_INT(wf_kalman(A, &d, y, 2, &out), WF_OK); /* the second row was not seen */
    CHECK_CLOSE(mean[0], 0.5, 1e-15);
    CHECK(mean[2] == mean[0]);
    CHECK_INT(wf_kalman(A, &d, y, 3, &out), WF_ERROR_DATA);
    CHECK_STR_HAS(wf_arena_report(A)->text, "channel 1 of step 2 is not finite");
    CHECK(mean[4] == 7);
    wf_arena_clear(A);
    d.R = indefinite;
    CHECK_INT(wf_kalman(A, &d, y, 2, &out), WF_ERROR_NUMERIC);
    CHECK_STR_HAS(wf_arena_report(A)->text, "not positive definite");
    CHECK_INT(wf_kalman(A, &d, y, 2, NULL), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_kalman(A, NULL, y, 2, &out), WF_ERROR_ARGUMENT);
    wf_arena_free(A);
}

/* ---- targets ---- */

static wf_particles_report sample(wf_arena *A, const target *t, wf_particles_desc d)
{
    wf_particles_report none;
    d.dim = t->dim;
    d.energy = t->energy;
    d.user = (void *)(uintptr_t)t;
    wf_particles *p = wf_particles_new(A, &d);
    memset(&none, 0, sizeof none);
    CHECK(p != NULL);
    if (!p) return none;
    CHECK_INT(wf_particles_run(p), WF_OK);
    return wf_particles_look(p);
}

static void constant_is_right(target t, wf_particles_desc d, double most)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_particles_report r = sample(A, &t, d);
    CHECK(r.log_z_error > 0 && r.log_z_error < most);
    CHECK_CLOSE(r.log_z, t.truth, 4 * (r.log_z_error + t.truth_error));
    if (getenv("WF_VERBOSE")) printf("  %s: %.5f +- %.5f, truth %.5f, ESS %.0f of %d, k %.2f\n", t.name, r.log_z, r.log_z_error, t.truth, r.ess, (int)r.n, r.pareto_k);
    target_free(&t);
    wf_arena_free(A);
}

WF_TEST(many_wells)
{
    wf_particles_desc d;
    memset(&d, 0, sizeof d);
    d.n = 4096;
    d.seed = 2;
    d.move = WF_MOVE_HMC;
    d.leaps = 4;
    d.levels = 200;
    d.adaptive = 0.9;
    d.step = 0.1;
    d.adapt = 1;
    d.sd_all = 1.5;
    constant_is_right(target_symmetric_well(), d, 0.06);
    double sd[32];
    for (int i = 0; i < 32; i++) sd[i] = i % 2 ? 1 : 1.7;
    d.sd_all = 0;
    d.sd = sd;
    d.move = WF_MOVE_LANGEVIN; /* the default: exact weights */
    d.levels = 1000;
    d.adaptive = 0;
    d.step = 0.01;
    d.adapt = 0;
    constant_is_right(target_many_well(), d, 0.5);
}

WF_TEST(forty_modes)
{
    wf_particles_desc d;
    memset(&d, 0, sizeof d);
    d.n = 16384;
    d.seed = 1;
    d.move = WF_MOVE_MALA;
    d.levels = 100;
    d.adaptive = 0.9;
    d.moves = 2;
    d.step = 0.5;
    d.adapt = 1;
    d.sd_all = 40;
    constant_is_right(target_gmm(), d, 0.03);
}

WF_TEST(a_posterior_of_forty_years_ago)
{
    if (!wf_test_shared()) SKIP("no shared data");
    wf_particles_desc d;
    target t = target_ionosphere(wf_test_shared());
    if (!t.dim) SKIP("no ionosphere.txt");
    memset(&d, 0, sizeof d);
    d.n = 512;
    d.seed = 1;
    d.move = WF_MOVE_HMC;
    d.levels = 200;
    d.adaptive = 0.9;
    d.leaps = 5;
    d.step = 0.05;
    d.adapt = 2;
    constant_is_right(t, d, 0.4);
}

WF_TEST(the_same_constant_in_other_coordinates)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_particles_desc d;
    double mean[5] = { 0.1, -0.2, 0.3, 0, 0.5 }, covariance[25];
    for (int i = 0; i < 5; i++) for (int j = 0; j < 5; j++) covariance[i * 5 + j] = i == j ? 3 : 0.5;
    target t = target_symmetric_well(), w = target_whiten(&t, mean, covariance, 1.2);
    CHECK_INT(w.dim, 5);
    memset(&d, 0, sizeof d);
    d.n = 4096;
    d.seed = 3;
    d.move = WF_MOVE_HMC;
    d.leaps = 4;
    d.levels = 200;
    d.adaptive = 0.9;
    d.step = 0.05;
    d.adapt = 1;
    wf_particles_report r = sample(A, &w, d);
    CHECK_CLOSE(r.log_z, t.truth, 4 * r.log_z_error);
    CHECK(r.log_z_error < 0.08);
    target_free(&w);
    wf_arena_free(A);
}

/* Waste-free: the constant is right on average, the run's own error is the spread of many, and for the same number of moves it is better than moving as many particles as it has chains. */
static void wells_many_times(int waste_free, int runs, double *mean, double *spread, double *claimed, double *moves)
{
    target t = target_symmetric_well();
    wf_arena *A = wf_arena_new(NULL);
    wf_particles_desc d;
    double sum = 0, square = 0, bars = 0;
    memset(&d, 0, sizeof d);
    d.n = waste_free ? 4096 : 128;
    d.dim = t.dim;
    d.energy = t.energy;
    d.user = &t;
    d.sd_all = 1.5;
    d.move = WF_MOVE_MALA;
    d.step = 0.02;
    d.adapt = 1;
    d.levels = 40;
    d.moves = waste_free ? 1 : 31;
    d.waste_free = waste_free;
    d.threshold = 1;
    d.threads = 1;
    wf_particles *p = wf_particles_new(A, &d);
    CHECK(p != NULL);
    for (int s = 0; p && s < runs; s++) {
        CHECK_INT(wf_particles_restart(p, 300 + (uint64_t)s), WF_OK);
        CHECK_INT(wf_particles_run(p), WF_OK);
        wf_particles_report r = wf_particles_look(p);
        double z = exp(r.log_z - t.truth);
        sum += z;
        square += (z - 1) * (z - 1);
        bars += r.log_z_error_lag * r.log_z_error_lag;
        *moves = (double)r.energies;
    }
    *mean = sum / runs;
    *spread = sqrt(square / runs);
    *claimed = sqrt(bars / runs);
    wf_arena_free(A);
}

WF_TEST(waste_free)
{
    enum { SEEDS = 100 };
    double mean[2], spread[2], claimed[2], moves[2];
    for (int k = 0; k < 2; k++) {
        wells_many_times(k ? 32 : 0, SEEDS, &mean[k], &spread[k], &claimed[k], &moves[k]);
        if (getenv("WF_VERBOSE")) printf("  %s: %.0f energies, Z %.4f of the truth, spread %.4f, claimed %.4f\n", k ? "waste-free" : "plain", moves[k], mean[k], spread[k], claimed[k]);
        CHECK_CLOSE(mean[k], 1, 4 * spread[k] / sqrt((double)SEEDS));
    }
    CHECK_CLOSE(moves[1] / moves[0], 1, 0.05);
    CHECK(spread[1] < 0.85 * spread[0]);         /* both are known to 7 % */
    CHECK_CLOSE(claimed[1] / spread[1], 1, 0.35); /* likewise, and the bar is that of chains which remember their start */
}

WF_TEST(waste_free_is_told_what_it_needs)
{
    static const int bad[][2] = { { 1000, 4 }, { 4096, 3 }, { 64, 2 }, { 4096, -1 } };
    for (size_t k = 0; k < 6; k++) {
        wf_arena *A = wf_arena_new(NULL);
        target t = target_symmetric_well();
        wf_particles_desc d;
        memset(&d, 0, sizeof d);
        d.n = k < 4 ? (size_t)bad[k][0] : 4096;
        d.waste_free = k < 4 ? bad[k][1] : 4;
        d.dim = t.dim;
        d.energy = t.energy;
        d.levels = 10;
        d.move = k == 4 ? WF_MOVE_LANGEVIN : WF_MOVE_MALA;
        d.resample = k == 5 ? WF_RESAMPLE_KILLING : WF_RESAMPLE_SYSTEMATIC;
        CHECK(!wf_particles_new(A, &d));
        CHECK_STR_HAS(wf_arena_report(A)->text, "waste_free");
        wf_arena_free(A);
    }
}

/* The same bits for any number of threads, in pieces, and after a resampling of the user's. */
static double waste_clock(void *user) { return *(double *)user += 1; }

WF_TEST(waste_free_has_the_same_bits)
{
    static double x[3][5 * 1024 + 1024];
    for (int k = 0; k < 3; k++) {
        wf_arena *A = wf_arena_new(NULL);
        target t = target_symmetric_well();
        wf_particles_desc d;
        double clock = 0;
        memset(&d, 0, sizeof d);
        d.n = 1024;
        d.dim = t.dim;
        d.energy = t.energy;
        d.levels = 30;
        d.move = WF_MOVE_GHMC;
        d.adapt = 1;
        d.adaptive = 0.7;
        d.waste_free = 4;
        d.threads = k == 1 ? 3 : 1;
        d.seed = 5;
        wf_particles *p = wf_particles_new(A, &d);
        while (p && !wf_particles_done(p) && (k == 2 ? wf_particles_advance(p, 1, waste_clock, &clock) : wf_particles_run(p)) == WF_OK) continue;
        CHECK(p && wf_particles_done(p));
        CHECK_INT(wf_particles_resample(p), WF_OK);
        wf_particles_get(p, x[k], x[k] + 5 * 1024, NULL);
        wf_arena_free(A);
    }
    CHECK(!memcmp(x[0], x[1], sizeof x[0]));
    CHECK(!memcmp(x[0], x[2], sizeof x[0]));
}

WF_TEST(targets_that_take_long)
{
    if (!long_test()) SKIP("run as make test-long");
    wf_particles_desc d;
    double sd[32];
    memset(&d, 0, sizeof d);
    d.n = 4096;
    d.seed = 1;
    for (int i = 0; i < 32; i++) sd[i] = i < 2 ? 2 : 1;
    d.sd = sd;
    d.move = WF_MOVE_GHMC;
    d.leaps = 1;
    d.adapt = 1;
    d.step = 0.1;
    d.levels = 4000;
    constant_is_right(target_brownian(), d, 0.2);
    if (!wf_test_shared()) return;
    double laplace = 0;
    target t = target_lgcp(wf_test_shared(), &laplace);
    CHECK_INT(t.dim, 1600);
    CHECK_CLOSE(laplace, 511.205437, 2e-6); /* the number given with the data, to its digits */
    d.sd = NULL;
    d.n = 256;
    d.move = WF_MOVE_PCN;
    d.levels = 200;
    d.adaptive = 0.8;
    d.moves = 4;
    d.step = 0.3;
    constant_is_right(t, d, 0.5);
}

/* ---- two limits ---- */

static void trap(void *user, const wf_tile *tile, double *energy, float *gradient) /* k x^2 / 2, k from 1 to 4 */
{
    double k = 1 + 3 * tile->t;
    (void)user;
    for (int l = 0; l < WF_LANES; l++) {
        double x = (double)tile->x[l];
        energy[l] = 0.5 * k * x * x;
        if (gradient) gradient[l] = (float)(k * x);
    }
}

static void trap_escort(void *user, const wf_tile *tile, float *b, double *divergence)
{
    double rate = -1.5 / (1 + 3 * tile->t);
    (void)user;
    for (int l = 0; l < WF_LANES; l++) b[l] = (float)(rate * (double)tile->x[l]);
    for (int l = 0; divergence && l < WF_LANES; l++) divergence[l] = rate;
}

/* With the perfect escort the work of every particle is the difference of free energies, up to the steps' length. */
WF_TEST(a_perfect_escort_to_five_digits)
{
    double worst[2] = { 0, 0 };
    for (int i = 0; i < 2; i++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_particles_desc d;
        double a[64];
        memset(&d, 0, sizeof d);
        d.n = 64;
        d.dim = 1;
        d.energy = trap;
        d.path = 1;
        d.levels = 131072 << i;
        d.step = 1.0 / d.levels;
        d.threshold = -1;
        d.weight = WF_WEIGHT_CONTINUOUS;
        d.drift = trap_escort;
        wf_particles *p = wf_particles_new(A, &d);
        CHECK(p && wf_particles_run(p) == WF_OK);
        wf_particles_get(p, NULL, NULL, a);
        for (int l = 0; l < 64; l++) { /* the start is the normal law with its constant, the target without */
            double off = fabs(a[l] - 0.9189385332046727 + 0.6931471805599453);
            if (!(off <= worst[i])) worst[i] = off;
        }
        wf_arena_free(A);
    }
    if (getenv("WF_VERBOSE")) printf("  worst of 64: %.3g with 2^17 steps, %.3g with 2^18\n", worst[0], worst[1]);
    CHECK(worst[0] < 1e-5);
    CHECK_CLOSE(worst[0] / worst[1], 2, 0.1); /* first order; rounding of positions adds a few per cent at most */
}

static void narrow_normal(void *user, const wf_tile *tile, double *energy, float *gradient) /* N(2, 0.3) */
{
    (void)user;
    for (int l = 0; l < WF_LANES; l++) {
        double x = (double)tile->x[l] - 2;
        energy[l] = x * x / 0.6;
        if (gradient) gradient[l] = (float)(x / 0.3);
    }
}

static void first_and_square(void *user, const double *x, double *values)
{
    (void)user;
    values[0] = x[0];
    values[1] = (x[0] - 1.500469136687) * (x[0] - 1.500469136687);
}

/* Reaction without transport: the flow of Fisher and Rao from one normal law to another is a change of temperature, here made by weights alone. */
WF_TEST(reaction_without_transport)
{
    static const double start[1] = { -1.2 }, width[1] = { 1.5811388300841898 };
    double times[2] = { 0, -expm1(-0.5) }, mean[2], error[2];
    wf_arena *A = wf_arena_new(NULL);
    wf_particles_desc d;
    memset(&d, 0, sizeof d);
    d.n = 65536;
    d.dim = 1;
    d.energy = narrow_normal;
    d.mean = start;
    d.sd = width;
    d.levels = 1;
    d.times = times;
    d.move = WF_MOVE_PCN;
    d.step = 1e-12; /* nobody moves */
    d.threshold = -1;
    wf_particles *p = wf_particles_new(A, &d);
    CHECK(p && wf_particles_run(p) == WF_OK);
    CHECK_INT(wf_particles_mean(p, first_and_square, NULL, 2, mean, error), WF_OK);
    CHECK_CLOSE(mean[0], 1.500469136687, 4 * error[0]);
    CHECK_CLOSE(mean[1], 0.643427468528, 4 * error[1]);
    CHECK(error[0] < 0.01 && error[1] < 0.01);
    if (getenv("WF_VERBOSE")) printf("  mean %.5f +- %.5f (1.50047), variance %.5f +- %.5f (0.64343)\n", mean[0], error[0], mean[1], error[1]);
    wf_arena_free(A);
}

/* ---- the ground state: particles that move freely and die at rate V; log Z falls like -E0 T ---- */

typedef struct potential { double (*value)(double x); double energy; } potential;
static double harmonic(double x) { return 0.5 * x * x; }
static double anharmonic(double x) { return 0.5 * x * x + x * x * x * x; }
static double two_wells(double x) { return 4 * (x * x - 1) * (x * x - 1); }

static void die(void *user, const wf_tile *tile, float *drift, float *noise, float *slope, double *rate)
{
    const potential *v = (const potential *)user;
    (void)drift;
    (void)noise;
    (void)slope;
    for (int l = 0; l < WF_LANES; l++) rate[l] = -v->value((double)tile->x[l]);
}

static double ground_state(const potential *v, size_t n, int levels, double dt, uint64_t seed, double *error)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_particles_desc d;
    double *t = (double *)wf_alloc(A, (size_t)levels + 1, sizeof *t), early = 0, late, first = 0;
    for (int k = 0; k <= levels; k++) t[k] = k * dt;
    memset(&d, 0, sizeof d);
    d.n = n;
    d.dim = 1;
    d.seed = seed;
    d.sd_all = 0.7;
    d.move = WF_MOVE_SDE_HEUN; /* weights from both ends of a step: error of second order */
    d.sde = die;
    d.user = (void *)(uintptr_t)v;
    d.levels = levels;
    d.times = t;
    d.every = 10;
    wf_particles *p = wf_particles_new(A, &d);
    CHECK(p != NULL);
    if (!p) return 0;
    CHECK_INT(wf_particles_run(p), WF_OK);
    size_t rows;
    const wf_particles_row *row = wf_particles_history(p, &rows);
    for (size_t i = 0; i < rows && first <= 0; i++) if (row[i].t > 3) { first = row[i].t; early = row[i].log_z; } /* the start is forgotten */
    wf_particles_report r = wf_particles_look(p);
    late = r.log_z;
    *error = r.log_z_error_lag / (r.t - first);
    double e0 = (early - late) / (r.t - first);
    wf_arena_free(A);
    return e0;
}

WF_TEST(ground_states)
{
    static const potential list[3] = { { harmonic, 0.5 }, { anharmonic, 0.8037706512 }, { two_wells, 2.2896495499 } };
    for (int k = 0; k < 3; k++) {
        double error, bars = 0, bars_small = 0, e0 = 0, small = 0, dt = long_test() && k == 2 ? 0.005 : 0.02;
        int runs = long_test() ? 128 : 2, levels = long_test() ? (int)(40 / dt) : 1000;
        for (int r = 0; r < runs; r++) {
            e0 += ground_state(&list[k], 4096, levels, dt, (uint64_t)r + 1, &error) / runs;
            bars += error * error / ((double)runs * runs);
            if (!long_test()) continue;
            small += ground_state(&list[k], 1024, levels, dt, (uint64_t)r + 1000, &error) / runs;
            bars_small += error * error / ((double)runs * runs);
        }
        /* the bias of a finite population goes like 1/n: with four times fewer particles it is four times as large */
        if (long_test()) { e0 += (e0 - small) / 3; bars = (16 * bars + bars_small) / 9; }
        double scheme = k == 2 ? 6e-3 : 1e-3; /* trapezoidal rule: dt^2 / 24 <V'^2> about: 1.7e-5 <V'^2> at dt = 0.02, of the double well 200 */
        if (getenv("WF_VERBOSE")) printf("  ground state %.5f, exact %.5f, bar %.5f\n", e0, list[k].energy, sqrt(bars));
        if (long_test()) CHECK_CLOSE(e0, list[k].energy, 1e-3); /* at least two standard errors as the bars claim them, three as they are found: the bars are 1.4 times too wide */
        else CHECK_CLOSE(e0, list[k].energy, 4 * sqrt(bars) + scheme);
    }
}

WF_MAIN_CASES(WF_CASE(kalman_agrees_with_the_reference_and_particles_with_kalman), WF_CASE(logistic_energies_agree_with_the_reference), WF_CASE(weights_and_resampling_agree_with_the_reference),
              WF_CASE(particles_follow_kalman_and_bucy), WF_CASE(particles_follow_benes), WF_CASE(particles_that_jump_follow_wonham), WF_CASE(chains_that_jump_often_or_make_no_sense), WF_CASE(kalman_says_whose_fault_it_is), WF_CASE(the_error_bar_of_one_run_is_the_spread_of_many),
              WF_CASE(a_filter_says_what_is_wrong), WF_CASE(many_wells), WF_CASE(forty_modes), WF_CASE(a_posterior_of_forty_years_ago), WF_CASE(the_same_constant_in_other_coordinates),
              WF_CASE(waste_free), WF_CASE(waste_free_is_told_what_it_needs), WF_CASE(waste_free_has_the_same_bits), WF_CASE(targets_that_take_long), WF_CASE(ground_states),
              WF_CASE(a_perfect_escort_to_five_digits), WF_CASE(reaction_without_transport))
