/* How well a moving distribution is known between snapshots: every method beside its baselines and floors, on laws that can be simulated afresh.

   Prints one line of JSON for each system, training set and method:
     w, jsd              the published measures: 1000 samples of the method against the trajectories of the training set, at all times (the times between snapshots were not shown)
     w_fresh, jsd_fresh  the same functionals, 10 000 samples against 40 000 runs that nobody trained on
     correlation_error   mean absolute difference of the correlations between species, against the fresh runs
     energy_distance     joint, squared, unbiased, each species divided by its deviation, 4000 against 4000
     nll                 nats for a whole state, 2000 fresh runs at times that were not observed (methods that are a network)
     early_...           the same means over the times before the second snapshot
     seconds             wall time of the method, all its stages

       bench_weightflow [--data trajectories.npy] [--sets n] [--only method] [--updates n] [--quick] */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include <time.h>

enum { TIMES = 101, SPECIES = 3, EVERY = 10, SHOWN = 11, FRESH = 40000, DRAWN = 10000, HELD = 2000 };

typedef struct law_t { int32_t *x; size_t n; } law_t; /* [n][TIMES][SPECIES] */
typedef struct score_t { double w, jsd, w_fresh, jsd_fresh, correlation, energy, nll, seconds, early[6]; int has_nll; } score_t;
typedef struct bench_t {
    law_t fresh, held, train;
    int states, quick, threads;
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

static law_t simulate(wf_arena *A, size_t n, uint64_t seed)
{
    law_t l = { (int32_t *)wf_alloc(A, n * TIMES * SPECIES, sizeof(int32_t)), n };
    wf_simulate_desc d;
    memset(&d, 0, sizeof d);
    d.seed = seed;
    d.frozen = 1; /* as the published data were made */
    if (!l.x || wf_epidemic(A, n, &d, l.x) < 0) fail(A, "simulation");
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

static void correlations(const int32_t *x, size_t n, size_t stride, double c[3])
{
    double m[3] = { 0, 0, 0 }, v[3][3];
    memset(v, 0, sizeof v);
    for (size_t i = 0; i < n; i++) for (int j = 0; j < 3; j++) m[j] += (double)x[i * stride + (size_t)j] / (double)n;
    for (size_t i = 0; i < n; i++)
        for (int j = 0; j < 3; j++) for (int k = 0; k < 3; k++) v[j][k] += ((double)x[i * stride + (size_t)j] - m[j]) * ((double)x[i * stride + (size_t)k] - m[k]);
    for (int j = 0, at = 0; j < 3; j++) for (int k = j + 1; k < 3; k++) c[at++] = v[j][j] > 0 && v[k][k] > 0 ? v[j][k] / sqrt(v[j][j] * v[k][k]) : 0;
}

static double energy(wf_arena *A, bench_t *b, const int32_t *x, size_t n, int k)
{
    size_t use = b->quick ? 1000 : 4000, stride = (size_t)TIMES * SPECIES;
    double sd[3], *y = (double *)wf_alloc(A, use * 3, sizeof *y), *z = (double *)wf_alloc(A, use * 3, sizeof *z), e = 0;
    const int32_t *f = b->fresh.x + k * SPECIES;
    if (!y || !z) fail(A, "memory");
    if (n < use) use = n;
    for (int j = 0; j < 3; j++) {
        double m = 0, v = 0;
        for (size_t i = 0; i < b->fresh.n; i++) m += f[i * stride + (size_t)j] / (double)b->fresh.n;
        for (size_t i = 0; i < b->fresh.n; i++) v += (f[i * stride + (size_t)j] - m) * (f[i * stride + (size_t)j] - m) / (double)b->fresh.n;
        sd[j] = sqrt(v);
    }
    for (size_t i = 0; i < use; i++) for (size_t j = 0; j < 3; j++) { y[i * 3 + j] = x[i * SPECIES + j] / sd[j]; z[i * 3 + j] = f[i * stride + j] / sd[j]; }
    wf_points p, q;
    memset(&p, 0, sizeof p);
    memset(&q, 0, sizeof q);
    p.x = y; q.x = z; p.n = q.n = use; p.dim = q.dim = 3;
    if (wf_energy_distance(A, &p, &q, NULL, &e) < 0) fail(A, "energy distance");
    return e;
}

/* Add time k of a method: DRAWN samples x, of which the first 1000 (spread) are compared with the training trajectories. */
static void score_time(wf_arena *A, bench_t *b, score_t *s, const int32_t *x, size_t n, int k)
{
    static const int at[15] = { 1, 2, 3, 5, 7, 9, 15, 25, 35, 45, 55, 65, 75, 85, 95 };
    size_t stride = (size_t)TIMES * SPECIES, L = (size_t)b->states, some = n < 1000 ? n : 1000, step = n / some;
    double w, jsd, c[3], d[3], v[5] = { 0, 0, 0, 0, 0 };
    wf_mark mark = wf_arena_mark(A);
    if (wf_marginals(A, x, some, step * SPECIES, SPECIES, L, b->p) < 0 || wf_marginals(A, b->train.x + k * SPECIES, b->train.n, stride, SPECIES, L, b->q) < 0 ||
        wf_assignment_distance(A, b->p, b->q, SPECIES, L, &v[0], NULL) < 0 || wf_jsd(A, b->p, b->q, SPECIES, L, 1e-10, NULL, &v[1]) < 0) fail(A, "comparison");
    if (wf_marginals(A, x, n, SPECIES, SPECIES, L, b->p) < 0 || wf_marginals(A, b->fresh.x + k * SPECIES, b->fresh.n, stride, SPECIES, L, b->q) < 0 ||
        wf_assignment_distance(A, b->p, b->q, SPECIES, L, &w, NULL) < 0 || wf_jsd(A, b->p, b->q, SPECIES, L, 1e-10, NULL, &jsd) < 0) fail(A, "comparison");
    v[2] = w; v[3] = jsd;
    correlations(x, n, SPECIES, c);
    correlations(b->fresh.x + k * SPECIES, b->fresh.n, stride, d);
    for (int j = 0; j < 3; j++) v[4] += fabs(c[j] - d[j]) / 3;
    s->w += v[0] / 100; s->jsd += v[1] / 100; s->w_fresh += v[2] / 100; s->jsd_fresh += v[3] / 100; s->correlation += v[4] / 100;
    if (k < EVERY) for (int j = 0; j < 5; j++) s->early[j] += v[j] / 9;
    for (int j = 0; j < 15; j++) if (at[j] == k) { double e = energy(A, b, x, n, k); s->energy += e / 15; if (j < 6) s->early[5] += e / 6; }
    wf_arena_reset(A, mark);
}

static void print(const char *system, int set, const char *method, const score_t *s)
{
    char nll[64] = "null";
    if (s->has_nll) snprintf(nll, sizeof nll, "%.5f", s->nll);
    printf("{\"bench\":\"weightflow\",\"system\":\"%s\",\"set\":%d,\"method\":\"%s\",\"w\":%.5f,\"jsd\":%.5f,\"w_fresh\":%.5f,\"jsd_fresh\":%.5f,\"correlation_error\":%.5f,\"energy_distance\":%.5f,\"nll\":%s,"
           "\"early_w\":%.5f,\"early_jsd\":%.5f,\"early_w_fresh\":%.5f,\"early_jsd_fresh\":%.5f,\"early_correlation_error\":%.5f,\"early_energy_distance\":%.5f,\"seconds\":%.2f}\n",
           system, set, method, s->w, s->jsd, s->w_fresh, s->jsd_fresh, s->correlation, s->energy, nll, s->early[0], s->early[1], s->early[2], s->early[3], s->early[4], s->early[5], s->seconds);
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

static score_t score_path(wf_arena *A, bench_t *b, wf_weight_path *m, int32_t *x)
{
    score_t s;
    double *y = (double *)wf_alloc(A, DRAWN * SPECIES, sizeof *y), *lp = (double *)wf_alloc(A, HELD, sizeof *lp);
    if (!y || !lp) fail(A, "memory");
    memset(&s, 0, sizeof s);
    s.has_nll = 1;
    for (int k = 1; k < TIMES; k++) {
        if (wf_weight_path_sample(m, 0.5 * k, DRAWN, 1000 + (uint64_t)k, y) < 0) fail(A, "sampling");
        to_counts(y, DRAWN, DRAWN, x);
        score_time(A, b, &s, x, DRAWN, k);
        if (k % EVERY == 0) continue;
        for (size_t i = 0; i < HELD; i++) for (size_t j = 0; j < SPECIES; j++) { int32_t v = b->held.x[(i * TIMES + (size_t)k) * SPECIES + j]; y[i * SPECIES + j] = v < b->states ? v : b->states - 1; }
        if (wf_weight_path_log_prob(m, 0.5 * k, y, HELD, lp, NULL) < 0) fail(A, "scoring");
        for (size_t i = 0; i < HELD; i++) s.nll -= lp[i] / (HELD * 90.0);
    }
    return s;
}

int main(int argc, char **argv)
{
    const char *data = NULL, *only = NULL;
    int sets = 1, updates = 0, first = 0;
    bench_t b;
    memset(&b, 0, sizeof b);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick")) b.quick = 1;
        else if (!strcmp(argv[i], "--data") && i + 1 < argc) data = argv[++i];
        else if (!strcmp(argv[i], "--sets") && i + 1 < argc) sets = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--first") && i + 1 < argc) first = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--updates") && i + 1 < argc) updates = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--only") && i + 1 < argc) only = argv[++i];
        else { fprintf(stderr, "bench_weightflow [--data trajectories.npy] [--sets n] [--first n] [--only method] [--updates n] [--quick]\n"); return 2; }
    }
    wf_arena *A = wf_arena_new(NULL);
    b.fresh = simulate(A, b.quick ? 10000 : FRESH, 987654321);
    b.held = simulate(A, HELD, 192837465);
    int32_t *x = (int32_t *)wf_alloc(A, DRAWN * SPECIES, sizeof *x);
    for (int set = first; set < first + sets; set++) {
        wf_mark mark = wf_arena_mark(A);
        b.train = data && !set ? read_law(A, data) : simulate(A, 1000, 5000 + (uint64_t)set);
        law_t other = simulate(A, b.quick ? 1000 : DRAWN, 4242 + (uint64_t)set);
        b.states = 64;
        int states = largest(b.train) + 1;
        b.p = (double *)wf_alloc(A, (size_t)b.states * SPECIES, sizeof *b.p);
        b.q = (double *)wf_alloc(A, (size_t)b.states * SPECIES, sizeof *b.q);
        double times[SHOWN], *rows[SHOWN];
        const double *shown[SHOWN];
        size_t n[SHOWN];
        wf_snapshots snaps;
        memset(&snaps, 0, sizeof snaps);
        for (int i = 0; i < SHOWN; i++) {
            times[i] = 5.0 * i;
            n[i] = b.train.n;
            shown[i] = rows[i] = (double *)wf_alloc(A, n[i] * SPECIES, sizeof(double));
            for (size_t r = 0; r < n[i]; r++) for (size_t j = 0; j < SPECIES; j++) rows[i][r * SPECIES + j] = b.train.x[(r * TIMES + (size_t)(EVERY * i)) * SPECIES + j];
        }
        snaps.count = SHOWN; snaps.dim = SPECIES; snaps.times = times; snaps.n = n; snaps.x = shown;
        if (!only || strstr("floor", only)) { score_t s = score_fresh(A, &b, other, x); print("epidemic", set, "floor: other true runs", &s); }
        static const char *const name[3] = { "mixture of snapshots", "noisy lines", "generator" };
        static const int method[3] = { WF_BRIDGE_MIXTURE, WF_BRIDGE_DIFFUSION, WF_BRIDGE_AUTO };
        for (int k = 0; k < 3; k++) {
            if (only && !strstr(name[k], only)) continue;
            wf_mark inner = wf_arena_mark(A);
            wf_bridge_desc d;
            memset(&d, 0, sizeof d);
            d.counts = 1;
            d.method = method[k];
            d.states = states;
            d.seed = 1;
            double start = seconds();
            wf_bridge *bridge = wf_bridge_new(A, &snaps, &d);
            if (!bridge || wf_bridge_fit(bridge) != WF_OK) fail(A, "bridge");
            double took = seconds() - start;
            score_t s = score_rows(A, &b, wf_bridge_data(bridge), x);
            s.seconds = took;
            char text[64];
            snprintf(text, sizeof text, "%s, samples", name[k]);
            print("epidemic", set, text, &s);
            fprintf(stderr, "%s\n", wf_bridge_about(bridge)->text);
            wf_weight_path_desc w;
            memset(&w, 0, sizeof w);
            w.dim = SPECIES; w.states = states; w.seed = 1; w.updates = updates;
            start = seconds();
            wf_weight_path *path = wf_weight_path_new(A, &w, 0, 50);
            double loss;
            if (!path || wf_weight_path_fit(path, wf_bridge_data(bridge), &loss) != WF_OK) fail(A, "path");
            took += seconds() - start;
            s = score_path(A, &b, path, x);
            s.seconds = took;
            snprintf(text, sizeof text, "%s, weight path", name[k]);
            print("epidemic", set, text, &s);
            wf_arena_reset(A, inner);
        }
        wf_arena_reset(A, mark);
    }
    wf_arena_free(A);
    return 0;
}
