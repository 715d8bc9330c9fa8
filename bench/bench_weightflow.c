/* How well a moving distribution is known between snapshots: every method beside its baselines and floors, on laws that can be simulated afresh.

   Prints one line of JSON for each system, training set and method:
     w, jsd              the published measures: 1000 samples of the method against the trajectories of the training set, at all times (the times between snapshots were not shown)
     w_law, jsd_law      10 000 samples of it in place of 1000, as interpolated marginals are a law and have no noise of drawing either
     w_unseen, jsd_unseen  the same 10 000 samples against 1000 other runs: what was fitted to, or interpolated from, the training set has no share in their noise
     w_fresh, jsd_fresh  10 000 samples against 40 000 (10 000) runs that nobody trained on
     correlation_error   mean absolute difference of the correlations between species, against the fresh runs
     energy_distance     joint, squared, unbiased, each species divided by its deviation, 4000 against 4000
     nll                 nats for a whole state, 2000 fresh runs at times that were not observed (methods that are a network)
     early_...           the same means over the times before the second snapshot
     seconds             wall time of the method, all its stages

   Rows "floor" are other true runs, "interpolated marginals" the histograms of the two snapshots mixed in proportion to time (no samples, no joint law); published_w and published_jsd are
   the paper's figures (Table 1, WeightFlow_C). The walk is ours: nothing published compares. The cells of an embryoid body, in 5 and in 20 components, and a cloud that drifts, which is ours
   and known, have w1 (exact transport from the law, by so many samples, to the rows of the time that was left out) and energy_distance (unbiased), both in the units of the columns, means over
   `drawings` of the samples.

       bench_weightflow [--system name] [--data trajectories.npy] [--sets n] [--first n] [--only method] [--updates n] [--path] [--quick]

   Names: epidemic, toggle, cascade1, cascade2, walk, embryoid5, embryoid20, drift; each takes a minute or two. --path: the weight paths of the embryoid body in 20 components, too. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include <time.h>

enum { TIMES = 101, MOST = 15, EVERY = 10, SHOWN = 11, DRAWN = 10000, HELD = 2000 };
static size_t SPECIES = 3;


typedef struct law_t { int32_t *x; size_t n; } law_t; /* [n][TIMES][SPECIES] */
typedef struct system_t { const char *name; double w, jsd; size_t fresh; int samples, updates; } system_t;
static const system_t systems[5] = { { "epidemic", 0.110, 0.034, 40000, 0, 5000 }, { "toggle", 0.082, 0.033, 10000, 2500, 3000 }, { "cascade1", 0.048, 0.004, 10000, 0, 1500 }, { "cascade2", 0.049, 0.006, 10000, 0, 1500 }, { "walk", 0, 0, 10000, 2500, 1500 } };
typedef struct score_t { double w, jsd, w_law, jsd_law, w_unseen, jsd_unseen, w_fresh, jsd_fresh, correlation, energy, nll, seconds, early[6]; int has_nll, marginals; } score_t;
typedef struct bench_t {
    law_t fresh, held, train, unseen;
    int states, quick, threads;
    const system_t *system;
    const wf_reactions *reactions;
    double *p, *q;
} bench_t;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void fail(const wf_arena *A, const char *what)
{
    fprintf(stderr, "bench_weightflow: %s: %s\n", what, wf_arena_report(A)->text);
    exit(1);
}

static law_t simulate(wf_arena *A, const bench_t *b, size_t n, uint64_t seed)
{
    law_t l = { (int32_t *)wf_alloc(A, n * TIMES * SPECIES, sizeof(int32_t)), n };
    wf_simulate_desc d;
    memset(&d, 0, sizeof d);
    d.seed = seed;
    d.frozen = 1; /* as the published data were made; no other system depends on time */
    if (!l.x || wf_reactions_simulate(A, b->reactions, NULL, 0, n, &d, l.x) < 0) fail(A, "simulation");
    return l;
}

static law_t read_law(wf_arena *A, const char *path)
{
    law_t l = { NULL, 0 };
    wf_array *a = wf_npy_read(A, path);
    double *x = a ? wf_array_f64(A, a) : NULL;
    if (!x || a->nd != 3 || a->shape[1] != TIMES || a->shape[2] != SPECIES) fail(A, "reading");
    l.n = a->shape[0];
    l.x = (int32_t *)wf_alloc(A, a->count, sizeof *l.x);
    if (!l.x) fail(A, "memory");
    for (size_t i = 0; i < a->count; i++) l.x[i] = (int32_t)x[i];
    return l;
}

static int largest(law_t l)
{
    int most = 0;
    for (size_t i = 0; i < l.n * TIMES * SPECIES; i++) if (l.x[i] > most) most = l.x[i];
    return most;
}

/* ---- measuring ---- */

static double correlation_error(const int32_t *x, size_t n, size_t nx, const int32_t *y, size_t ny, size_t sy)
{
    double m[2][MOST], v[2][MOST][MOST], sum = 0;
    memset(m, 0, sizeof m);
    memset(v, 0, sizeof v);
    for (int w = 0; w < 2; w++) {
        const int32_t *z = w ? y : x;
        size_t count = w ? ny : n, stride = w ? sy : nx;
        for (size_t i = 0; i < count; i++) for (size_t j = 0; j < SPECIES; j++) m[w][j] += (double)z[i * stride + j] / (double)count;
        for (size_t i = 0; i < count; i++)
            for (size_t j = 0; j < SPECIES; j++) for (size_t k = j; k < SPECIES; k++) v[w][j][k] += ((double)z[i * stride + j] - m[w][j]) * ((double)z[i * stride + k] - m[w][k]);
    }
    for (size_t j = 0; j < SPECIES; j++)
        for (size_t k = j + 1; k < SPECIES; k++) {
            double c[2];
            for (int w = 0; w < 2; w++) c[w] = v[w][j][j] > 0 && v[w][k][k] > 0 ? v[w][j][k] / sqrt(v[w][j][j] * v[w][k][k]) : 0;
            sum += fabs(c[0] - c[1]);
        }
    return sum / ((double)SPECIES * (double)(SPECIES - 1) / 2);
}

static double energy(wf_arena *A, bench_t *b, const int32_t *x, size_t n, int k)
{
    size_t use = b->quick ? 1000 : 4000, stride = (size_t)TIMES * SPECIES;
    double sd[MOST], *y = (double *)wf_alloc(A, use * SPECIES, sizeof *y), *z = (double *)wf_alloc(A, use * SPECIES, sizeof *z), e = 0;
    const int32_t *f = b->fresh.x + (size_t)k * SPECIES;
    if (!y || !z) fail(A, "memory");
    if (n < use) use = n;
    for (size_t j = 0; j < SPECIES; j++) {
        double m = 0, v = 0;
        for (size_t i = 0; i < b->fresh.n; i++) m += f[i * stride + j] / (double)b->fresh.n;
        for (size_t i = 0; i < b->fresh.n; i++) v += (f[i * stride + j] - m) * (f[i * stride + j] - m) / (double)b->fresh.n;
        sd[j] = v > 0 ? sqrt(v) : 1;
    }
    for (size_t i = 0; i < use; i++) for (size_t j = 0; j < SPECIES; j++) { y[i * SPECIES + j] = x[i * SPECIES + j] / sd[j]; z[i * SPECIES + j] = f[i * stride + j] / sd[j]; }
    wf_points p, q;
    memset(&p, 0, sizeof p);
    memset(&q, 0, sizeof q);
    p.x = y; q.x = z; p.n = q.n = use; p.dim = q.dim = SPECIES;
    if (wf_energy_distance(A, &p, &q, NULL, &e) < 0) fail(A, "energy distance");
    return e;
}

/* Histograms p of a method against those of the runs l at time k. */
static void compare(wf_arena *A, bench_t *b, law_t l, int k, double *w, double *jsd)
{
    size_t L = (size_t)b->states;
    if (wf_marginals(A, l.x + (size_t)k * SPECIES, l.n, (size_t)TIMES * SPECIES, SPECIES, L, b->q) < 0 || wf_assignment_distance(A, b->p, b->q, SPECIES, L, w, NULL) < 0 ||
        wf_jsd(A, b->p, b->q, SPECIES, L, 1e-10, NULL, jsd) < 0) fail(A, "comparison");
}

static void add_law(wf_arena *A, bench_t *b, score_t *s, int k, double *w, double *jsd)
{
    double v[4];
    compare(A, b, b->train, k, &v[0], &v[1]);
    compare(A, b, b->unseen, k, &v[2], &v[3]);
    compare(A, b, b->fresh, k, w, jsd);
    s->w_law += v[0] / 100; s->jsd_law += v[1] / 100; s->w_unseen += v[2] / 100; s->jsd_unseen += v[3] / 100; s->w_fresh += *w / 100; s->jsd_fresh += *jsd / 100;
}

/* Add time k of a method: DRAWN samples x, of which 1000 (spread) are compared with the training trajectories as published. */
static void score_time(wf_arena *A, bench_t *b, score_t *s, const int32_t *x, size_t n, int k)
{
    static const int at[15] = { 1, 2, 3, 5, 7, 9, 15, 25, 35, 45, 55, 65, 75, 85, 95 };
    size_t L = (size_t)b->states, some = n < 1000 ? n : 1000, step = n / some;
    double v[5] = { 0, 0, 0, 0, 0 };
    wf_mark mark = wf_arena_mark(A);
    if (wf_marginals(A, x, some, step * SPECIES, SPECIES, L, b->p) < 0) fail(A, "marginals");
    compare(A, b, b->train, k, &v[0], &v[1]);
    if (wf_marginals(A, x, n, SPECIES, SPECIES, L, b->p) < 0) fail(A, "marginals");
    add_law(A, b, s, k, &v[2], &v[3]);
    v[4] = correlation_error(x, n, SPECIES, b->fresh.x + (size_t)k * SPECIES, b->fresh.n, (size_t)TIMES * SPECIES);
    s->w += v[0] / 100; s->jsd += v[1] / 100; s->correlation += v[4] / 100;
    if (k < EVERY) for (int j = 0; j < 5; j++) s->early[j] += v[j] / 9;
    for (int j = 0; j < 15; j++) if (at[j] == k) { double e = energy(A, b, x, n, k); s->energy += e / 15; if (j < 6) s->early[5] += e / 6; }
    wf_arena_reset(A, mark);
}

static void number(const char *key, double x, int known)
{
    if (known) printf(",\"%s\":%.5f", key, x);
    else printf(",\"%s\":null", key);
}

static void print(const bench_t *b, int set, const char *method, const score_t *s)
{
    static const char *const early[6] = { "early_w", "early_jsd", "early_w_fresh", "early_jsd_fresh", "early_correlation_error", "early_energy_distance" };
    printf("{\"bench\":\"weightflow\",\"system\":\"%s\",\"set\":%d,\"method\":\"%s\"", b->system->name, set, method);
    number("w", s->w, 1);
    number("jsd", s->jsd, 1);
    number("published_w", b->system->w, b->system->w > 0);
    number("published_jsd", b->system->jsd, b->system->w > 0);
    number("w_law", s->w_law, 1);
    number("jsd_law", s->jsd_law, 1);
    number("w_unseen", s->w_unseen, 1);
    number("jsd_unseen", s->jsd_unseen, 1);
    number("w_fresh", s->w_fresh, 1);
    number("jsd_fresh", s->jsd_fresh, 1);
    number("correlation_error", s->correlation, !s->marginals);
    number("energy_distance", s->energy, !s->marginals);
    number("nll", s->nll, s->has_nll);
    for (int j = 0; j < 6; j++) number(early[j], s->early[j], !s->marginals || j < 4);
    printf(",\"seconds\":%.2f}\n", s->seconds);
    fflush(stdout);
}

/* ---- methods ---- */

static void to_counts(const double *x, size_t n, size_t rows, int32_t *out) /* n of `rows` rows, evenly */
{
    for (size_t i = 0; i < n; i++) for (size_t j = 0; j < SPECIES; j++) out[i * SPECIES + j] = (int32_t)x[i * rows / n * SPECIES + j];
}

static score_t score_rows(wf_arena *A, bench_t *b, const wf_snapshots *p, int32_t *x)
{
    score_t s;
    memset(&s, 0, sizeof s);
    for (int k = 1; k < TIMES; k++) {
        size_t n = p->n[k] < DRAWN ? p->n[k] : DRAWN;
        to_counts(p->x[k], n, p->n[k], x);
        score_time(A, b, &s, x, n, k);
    }
    return s;
}

static score_t score_fresh(wf_arena *A, bench_t *b, law_t other, int32_t *x)
{
    score_t s;
    memset(&s, 0, sizeof s);
    for (int k = 1; k < TIMES; k++) {
        for (size_t i = 0; i < other.n; i++) memcpy(x + i * SPECIES, other.x + (i * TIMES + (size_t)k) * SPECIES, SPECIES * sizeof *x);
        score_time(A, b, &s, x, other.n, k);
    }
    return s;
}

/* Histograms of the two snapshots in proportion to time. */
static score_t score_marginals(wf_arena *A, bench_t *b)
{
    score_t s;
    size_t L = (size_t)b->states, stride = (size_t)TIMES * SPECIES;
    memset(&s, 0, sizeof s);
    s.marginals = 1;
    for (int k = 1; k < TIMES; k++) {
        int from = k / EVERY * EVERY, to = from + EVERY < TIMES ? from + EVERY : from;
        double u = (double)(k - from) / EVERY, v[4];
        if (wf_marginals(A, b->train.x + (size_t)from * SPECIES, b->train.n, stride, SPECIES, L, b->p) < 0 || wf_marginals(A, b->train.x + (size_t)to * SPECIES, b->train.n, stride, SPECIES, L, b->q) < 0) fail(A, "marginals");
        for (size_t i = 0; i < SPECIES * L; i++) b->p[i] = (1 - u) * b->p[i] + u * b->q[i];
        compare(A, b, b->train, k, &v[0], &v[1]);
        add_law(A, b, &s, k, &v[2], &v[3]);
        s.w += v[0] / 100; s.jsd += v[1] / 100;
        if (k < EVERY) for (int j = 0; j < 4; j++) s.early[j] += v[j] / 9;
    }
    return s;
}

static score_t score_path(wf_arena *A, bench_t *b, wf_weight_path *m, int32_t *x)
{
    score_t s;
    double *y = (double *)wf_alloc(A, DRAWN * SPECIES, sizeof *y), *lp = (double *)wf_alloc(A, HELD, sizeof *lp);
    if (!y || !lp) fail(A, "memory");
    memset(&s, 0, sizeof s);
    s.has_nll = 1;
    for (int k = 1; k < TIMES; k++) {
        if (wf_weight_path_sample(m, b->reactions->to * k / 100, DRAWN, 1000 + (uint64_t)k, y) < 0) fail(A, "sampling");
        to_counts(y, DRAWN, DRAWN, x);
        score_time(A, b, &s, x, DRAWN, k);
        if (k % EVERY == 0) continue;
        for (size_t i = 0; i < HELD; i++) for (size_t j = 0; j < SPECIES; j++) { int32_t v = b->held.x[(i * TIMES + (size_t)k) * SPECIES + j]; y[i * SPECIES + j] = v < b->states ? v : b->states - 1; }
        if (wf_weight_path_log_prob(m, b->reactions->to * k / 100, y, HELD, lp, NULL) < 0) fail(A, "scoring");
        for (size_t i = 0; i < HELD; i++) s.nll -= lp[i] / (HELD * 90.0);
    }
    return s;
}

static void one_method(wf_arena *A, bench_t *b, int set, const wf_snapshots *snaps, const char *name, int method, int updates, int states, int32_t *x)
{
    wf_mark mark = wf_arena_mark(A);
    wf_bridge_desc d;
    wf_weight_path_desc w;
    char text[64];
    memset(&d, 0, sizeof d);
    memset(&w, 0, sizeof w);
    d.counts = 1;
    d.method = method;
    d.states = states;
    d.samples = b->system->samples;
    d.seed = 1;
    double start = seconds(), loss;
    wf_bridge *bridge = wf_bridge_new(A, snaps, &d);
    if (!bridge || wf_bridge_fit(bridge) != WF_OK) fail(A, "bridge");
    double took = seconds() - start;
    score_t s = score_rows(A, b, wf_bridge_data(bridge), x);
    s.seconds = took;
    snprintf(text, sizeof text, "%s, samples", name);
    print(b, set, text, &s);
    fprintf(stderr, "%s\n", wf_bridge_about(bridge)->text);
    if (updates >= 0) {
        w.dim = (int)SPECIES; w.states = states; w.seed = 1; w.updates = updates;
        start = seconds();
        wf_weight_path *path = wf_weight_path_new(A, &w, 0, b->reactions->to);
        if (!path || wf_weight_path_fit(path, wf_bridge_data(bridge), &loss) != WF_OK) fail(A, "path");
        took += seconds() - start;
        s = score_path(A, b, path, x);
        s.seconds = took;
        snprintf(text, sizeof text, "%s, weight path", name);
        print(b, set, text, &s);
    }
    wf_arena_reset(A, mark);
}

static void one_set(wf_arena *A, bench_t *b, int set, const char *data, const char *only, int updates)
{
    static const char *const name[3] = { "mixture of snapshots", "noisy lines", "default" };
    static const int method[3] = { WF_BRIDGE_MIXTURE, WF_BRIDGE_DIFFUSION, WF_BRIDGE_AUTO };
    int epidemic = !strcmp(b->system->name, "epidemic");
    b->train = data && !set && epidemic ? read_law(A, data) : simulate(A, b, 1000, 5000 + (uint64_t)set);
    b->unseen = simulate(A, b, 1000, 31337 + (uint64_t)set);
    law_t other = simulate(A, b, b->quick ? 1000 : DRAWN, 4242 + (uint64_t)set);
    int states = largest(b->train) + 1, most = largest(b->fresh);
    b->states = (most > largest(other) ? most : largest(other)) + 1;
    if (b->states < states) b->states = states;
    if (b->states <= largest(b->unseen)) b->states = largest(b->unseen) + 1;
    b->p = (double *)wf_alloc(A, (size_t)b->states * SPECIES, sizeof *b->p);
    b->q = (double *)wf_alloc(A, (size_t)b->states * SPECIES, sizeof *b->q);
    int32_t *x = (int32_t *)wf_alloc(A, DRAWN * SPECIES, sizeof *x);
    double times[SHOWN], *rows[SHOWN];
    const double *shown[SHOWN];
    size_t n[SHOWN];
    wf_snapshots snaps;
    memset(&snaps, 0, sizeof snaps);
    for (int i = 0; i < SHOWN; i++) {
        times[i] = b->reactions->to * i / (SHOWN - 1);
        n[i] = b->train.n;
        shown[i] = rows[i] = (double *)wf_alloc(A, n[i] * SPECIES, sizeof(double));
        if (!rows[i] || !x || !b->p || !b->q) fail(A, "memory");
        for (size_t r = 0; r < n[i]; r++) for (size_t j = 0; j < SPECIES; j++) rows[i][r * SPECIES + j] = b->train.x[(r * TIMES + (size_t)(EVERY * i)) * SPECIES + j];
    }
    snaps.count = SHOWN; snaps.dim = (int)SPECIES; snaps.times = times; snaps.n = n; snaps.x = shown;
    if (!only || strstr("floor", only)) { score_t s = score_fresh(A, b, other, x); print(b, set, "floor: other true runs", &s); }
    if (!only || strstr("interpolated marginals", only)) { score_t s = score_marginals(A, b); print(b, set, "interpolated marginals", &s); }
    for (int k = 0; k < 3; k++)
        if (only ? strstr(name[k], only) != NULL : k != 1 || epidemic) one_method(A, b, set, &snaps, name[k], method[k], updates ? updates : k || epidemic ? b->system->updates : -1, states, x);
}

/* ---- continuous: a time between snapshots is left out ---- */

enum { DRAWINGS = 3, CLOUD = 2100 };

/* From the law that x[n] stands for to the rows of the truth. */
static double cloud_w1(wf_arena *A, const double *x, size_t n, const wf_points *truth, double *energy_distance)
{
    double w;
    wf_points p;
    memset(&p, 0, sizeof p);
    p.x = x; p.n = n; p.dim = truth->dim;
    if (wf_energy_distance(A, &p, truth, NULL, energy_distance) < 0) fail(A, "energy distance");
    if (wf_wasserstein(A, &p, truth, &w, NULL) < 0) fail(A, "transport");
    return w;
}

typedef struct cloud_t { const char *name; int day; size_t shown, samples; const wf_points *truth; int drawings; double w1, energy, seconds; } cloud_t;

static void cloud_print(const cloud_t *c, const char *method)
{
    printf("{\"bench\":\"weightflow\",\"system\":\"%s\",\"left_out\":%d,\"columns\":%d,\"method\":\"%s\",\"w1\":%.4f,\"energy_distance\":%.4f,\"rows_shown\":%d,\"samples\":%d,\"truth\":%d,\"drawings\":%d,\"seconds\":%.2f}\n", c->name, c->day, (int)c->truth->dim, method,
           c->w1 / c->drawings, c->energy / c->drawings, (int)c->shown, (int)c->samples, (int)c->truth->n, c->drawings, c->seconds);
    fflush(stdout);
}

static void cloud_row(wf_arena *A, cloud_t *c, const char *method, const double *x, size_t n)
{
    wf_mark mark = wf_arena_mark(A);
    c->drawings = 1; c->seconds = 0; c->samples = n;
    c->w1 = cloud_w1(A, x, n, c->truth, &c->energy);
    wf_arena_reset(A, mark);
    cloud_print(c, method);
}

/* Straight lines between pairs of optimal transport, or between any two, and both snapshots in equal shares: laws without a drawing. */
static void cloud_baselines(wf_arena *A, cloud_t *c, const wf_snapshots *s, const char *only)
{
    const double *a = s->x[c->day - 1], *b = s->x[c->day];
    size_t d = (size_t)s->dim, m = s->n[c->day - 1] < s->n[c->day] ? s->n[c->day - 1] : s->n[c->day];
    double *cost = (double *)wf_alloc(A, m * m, sizeof *cost), *z = (double *)wf_alloc(A, 2 * m * d, sizeof *z);
    int *to = (int *)wf_alloc(A, m, sizeof *to);
    if (!cost || !z || !to) fail(A, "memory");
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < m; j++) for (size_t k = 0; k < d; k++) { double f = a[i * d + k] - b[j * d + k]; cost[i * m + j] += f * f; }
    for (int random = 0; random < 2; random++) {
        if (only && !strstr("straight lines", only)) break;
        if (!random && wf_assignment(A, cost, m, to) < 0) fail(A, "assignment");
        for (size_t i = 0; i < m; i++) for (size_t k = 0; k < d; k++) z[i * d + k] = 0.5 * (a[i * d + k] + b[(random ? (i * 131 + 17) % m : (size_t)to[i]) * d + k]);
        cloud_row(A, c, random ? "straight lines between any two" : "straight lines, optimal pairs", z, m);
    }
    memcpy(z, a, m * d * sizeof *z);
    memcpy(z + m * d, b, m * d * sizeof *z);
    if (!only || strstr("mixture of neighbours", only)) cloud_row(A, c, "mixture of neighbours", z, 2 * m);
}

static void cloud_default(wf_arena *A, cloud_t *c, const wf_snapshots *s, int updates)
{
    int middle = 10 * (c->day - 1) + 5;
    cloud_t path = *c;
    double e, loss;
    c->w1 = c->energy = c->seconds = path.w1 = path.energy = path.seconds = 0;
    c->drawings = path.drawings = DRAWINGS;
    c->samples = path.samples = CLOUD;
    for (int drawing = 0; drawing < DRAWINGS; drawing++) {
        wf_mark mark = wf_arena_mark(A);
        wf_bridge_desc b;
        wf_weight_path_desc p;
        memset(&b, 0, sizeof b);
        memset(&p, 0, sizeof p);
        b.samples = CLOUD;
        b.seed = (uint64_t)drawing + 1;
        double start = seconds();
        wf_bridge *bridge = wf_bridge_new(A, s, &b);
        if (!bridge || wf_bridge_fit(bridge) != WF_OK) fail(A, "bridge");
        c->seconds += (seconds() - start) / DRAWINGS;
        const wf_snapshots *o = wf_bridge_data(bridge);
        c->w1 += cloud_w1(A, o->x[middle], o->n[middle], c->truth, &e);
        c->energy += e;
        if (!drawing) fprintf(stderr, "%s\n", wf_bridge_about(bridge)->text);
        if (updates && !drawing) { /* one path, drawn from three times */
            double *y = (double *)wf_alloc(A, CLOUD * (size_t)s->dim, sizeof *y);
            p.dim = s->dim; p.output = WF_OUTPUT_LOGISTICS; p.updates = updates; p.seed = 1;
            start = seconds();
            wf_weight_path *w = wf_weight_path_new(A, &p, s->times[0], s->times[s->count - 1]);
            if (!y || !w || wf_weight_path_fit(w, o, &loss) != WF_OK) fail(A, "path");
            path.seconds = seconds() - start;
            for (uint64_t seed = 1; seed <= DRAWINGS; seed++) {
                if (wf_weight_path_sample(w, c->day, CLOUD, seed, y) < 0) fail(A, "sampling");
                path.w1 += cloud_w1(A, y, CLOUD, c->truth, &e);
                path.energy += e;
            }
        }
        wf_arena_reset(A, mark);
    }
    cloud_print(c, "default, samples");
    if (updates) cloud_print(&path, "default, weight path");
}

/* Days of rows[day][n[day]][wide]: all but one are shown, in their first d columns; the truth: that day's, and those of more[] beside. */
static void clouds(wf_arena *A, const char *name, double *const *rows, const size_t *n, size_t wide, size_t d, double *const *more, const size_t *m, const char *only, int updates)
{
    for (int day = 1; day < 4; day++) {
        wf_mark mark = wf_arena_mark(A);
        double *x[5], times[4], *all = (double *)wf_alloc(A, (n[day] + m[day]) * d, sizeof *all);
        const double *shown[4];
        size_t count[4];
        int at = 0;
        wf_snapshots s;
        wf_points truth, rest;
        memset(&s, 0, sizeof s);
        memset(&truth, 0, sizeof truth);
        if (!all) fail(A, "memory");
        for (size_t i = 0; i < n[day] + m[day]; i++) memcpy(all + i * d, i < n[day] ? rows[day] + i * wide : more[day] + (i - n[day]) * wide, d * sizeof *all);
        for (int k = 0; k < 5; k++) {
            if (k == day) continue;
            shown[at] = x[at] = (double *)wf_alloc(A, n[k] * d, sizeof *x[at]);
            if (!x[at]) fail(A, "memory");
            for (size_t i = 0; i < n[k]; i++) memcpy(x[at] + i * d, rows[k] + i * wide, d * sizeof(double));
            times[at] = k;
            count[at++] = n[k];
        }
        s.count = 4; s.dim = (int)d; s.times = times; s.n = count; s.x = shown;
        truth.x = all; truth.n = n[day] + m[day]; truth.dim = d;
        rest = truth;
        rest.x = all + n[day] * d; rest.n = m[day];
        cloud_t c = { name, day, n[day], 0, &rest, 1, 0, 0, 0 };
        if (!only || strstr("floor", only)) cloud_row(A, &c, "floor: rows of the time against its others", all, n[day]);
        c.truth = &truth;
        cloud_baselines(A, &c, &s, only);
        if (!only || strstr("default", only)) cloud_default(A, &c, &s, updates);
        wf_arena_reset(A, mark);
    }
}

static void cells(wf_arena *A, size_t components, const char *only, int updates)
{
    static const char *const files[2] = { "EB_test_pc20.csv", "EB_val_pc20.csv" };
    const char *root = getenv("WF_SHARED");
    double *rows[2][5];
    size_t n[2][5];
    memset(n, 0, sizeof n);
    for (int f = 0; f < 2; f++) {
        char path[512], line[4096];
        snprintf(path, sizeof path, "%s/data/embryoid/%s", root ? root : "../shared", files[f]);
        FILE *in = fopen(path, "r");
        if (!in || !fgets(line, sizeof line, in)) { printf("SKIPPED embryoid: there is no %s\n", path); if (in) fclose(in); return; }
        for (int k = 0; k < 5; k++) { rows[f][k] = (double *)wf_alloc(A, 1000 * 20, sizeof(double)); if (!rows[f][k]) fail(A, "memory"); }
        while (fgets(line, sizeof line, in)) {
            char *p = line;
            long day = strtol(p, &p, 10);
            if (day < 0 || day > 4 || n[f][day] >= 1000 || *p++ != ',') continue;
            strtol(p, &p, 10);
            for (int j = 0; j < 20 && *p == ','; j++) rows[f][day][n[f][day] * 20 + (size_t)j] = strtod(p + 1, &p);
            n[f][day]++;
        }
        fclose(in);
    }
    clouds(A, components == 5 ? "embryoid5" : "embryoid20", rows[0], n[0], 20, components, rows[1], n[1], only, updates);
}

/* Six columns: two that turn, one that grows, one that splits in two, one that returns, one that only trembles. Unpaired snapshots of 500 rows, 200 more beside them as truth. */
static void drift(wf_arena *A, const char *only, int updates)
{
    enum { D = 6, N = 500, M = 200 };
    double *rows[5], *more[5];
    size_t n[5], m[5];
    for (int k = 0; k < 5; k++) {
        n[k] = N; m[k] = M;
        rows[k] = (double *)wf_alloc(A, N * D, sizeof(double));
        more[k] = (double *)wf_alloc(A, M * D, sizeof(double));
        if (!rows[k] || !more[k]) fail(A, "memory");
        for (int i = 0; i < N + M; i++) {
            double *x = i < N ? rows[k] + i * D : more[k] + (i - N) * D, t = 0.5 * k, z[D];
            wf_rng rng;
            wf_rng_init(&rng, 2718 + (uint64_t)k, (uint32_t)i);
            for (int j = 0; j < D; j++) z[j] = wf_rng_normal(&rng);
            x[0] = 4 * cos(t) + 0.7 * z[0];
            x[1] = 4 * sin(t) + 0.7 * z[1];
            x[2] = exp(0.5 * t + 0.4 * z[2]);
            x[3] = (z[3] > 0 ? 1 : -1) * t * t + 0.5 * z[3];
            x[4] = 3 * exp(-t) + z[4] * (1 + 0.2 * t);
            x[5] = z[5];
        }
    }
    clouds(A, "drift", rows, n, D, D, more, m, only, updates);
}

int main(int argc, char **argv)
{
    const char *data = NULL, *only = NULL, *which = NULL;
    int sets = 1, updates = 0, first = 0, path = 0;
    bench_t b;
    memset(&b, 0, sizeof b);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick")) b.quick = 1;
        else if (!strcmp(argv[i], "--path")) path = 1;
        else if (!strcmp(argv[i], "--data") && i + 1 < argc) data = argv[++i];
        else if (!strcmp(argv[i], "--sets") && i + 1 < argc) sets = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--first") && i + 1 < argc) first = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--updates") && i + 1 < argc) updates = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--only") && i + 1 < argc) only = argv[++i];
        else if (!strcmp(argv[i], "--system") && i + 1 < argc) which = argv[++i];
        else { fprintf(stderr, "bench_weightflow [--system name] [--data trajectories.npy] [--sets n] [--first n] [--only method] [--updates n] [--path] [--quick]\n"); return 2; }
    }
    if (b.quick && !updates) updates = 200;
    wf_arena *A = wf_arena_new(NULL);
    for (int k = 0; k < 5; k++) {
        wf_mark mark = wf_arena_mark(A);
        b.system = &systems[k];
        if (which && strcmp(which, b.system->name)) continue;
        b.reactions = wf_reactions_named(A, b.system->name);
        if (!b.reactions) fail(A, "system");
        SPECIES = (size_t)b.reactions->system.species;
        b.fresh = simulate(A, &b, b.quick ? 4000 : b.system->fresh, 987654321);
        b.held = simulate(A, &b, HELD, 192837465);
        for (int set = first; set < first + sets; set++) {
            wf_mark inner = wf_arena_mark(A);
            one_set(A, &b, set, data, only, updates);
            wf_arena_reset(A, inner);
        }
        wf_arena_reset(A, mark);
    }
    if (!which || !strcmp(which, "embryoid5")) cells(A, 5, only, updates ? updates : 1500);
    if (!which || !strcmp(which, "embryoid20")) cells(A, 20, only, path ? updates ? updates : 1500 : 0);
    if (!which || !strcmp(which, "drift")) drift(A, only, updates ? updates : 1500);
    wf_arena_free(A);
    return 0;
}
