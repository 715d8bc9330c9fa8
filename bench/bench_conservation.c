/* Conservation laws: figures on data and on problems with known answers, and the time of a training step.

       bench_conservation [--quick] [--threads N] [--steps] [--cells] [--check DIM FILE]

   Prints lines of JSON. Sections: the pinwheel (entropy known), earthquakes (both protocols, chain and mixture), cells of an embryoid body, a crowd among obstacles, the cost of an optimal map,
   steps. Where the data are absent (../shared/data) the keys are null. --quick: a tenth of the training, for a look. --steps, --cells: the steps, the cells alone. --check: one of them, kept for bench/torch_conservation.py --check. Times are wall-clock times of the whole section, starting included.
   The entropy of the pinwheel is 2.177 in standardised units; no density without history can do better but by luck of the test set. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "../examples/wf_cells.h"
#include "../examples/wf_crowd.h"
#include "../examples/wf_events.h"
#include "../tests/wf_pinwheel.h"
#include <time.h>

static int quick, threads;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double cpu_seconds(void) /* of all threads of this process: what a busy machine does not change */
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int less(int n) { return quick ? (n + 9) / 10 : n; }

static void must(const wf_arena *A, int ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "bench_conservation: %s: %s\n", what, wf_arena_report(A)->text);
    exit(1);
}

static const char *shared(void)
{
    const char *p = getenv("WF_SHARED");
    return p && *p ? p : "../shared";
}

static double score(wf_arena *A, wf_law *law, const double *x, size_t n, const unsigned char *seen)
{
    double *f = wf_alloc(A, n, sizeof *f);
    must(A, f && wf_law_log_density(law, x, NULL, n, f) >= 0, "likelihood");
    return events_score(f, seen, n);
}

/* The recipe for chains: many Fourier features, few layers, a high rate, an average of the parameters. */
static wf_law *chain(wf_arena *A, const double *x, size_t n, const double *jitter, const double *check, size_t checks, double high, double wave, int epochs)
{
    wf_law_desc d = { .dim = 2, .kind = WF_LAW_CHAIN, .modes = 64, .width = 128, .waves = 16, .wave_low = 0.1, .wave_high = wave, .high = high, .steady = 1, .background = 3e-3, .threads = threads, .seed = 1 };
    wf_law_fit_desc fit = { .x = x, .n = n, .jitter = jitter, .epochs = less(epochs), .batch = 512, .rate = 4e-3, .clip = 1, .ema = 0.998, .beta2 = 0.99, .warmup = 100, .check_x = check, .checks = checks, .check_every = 3, .seed = 1 };
    wf_law *law = wf_law_new(A, &d);
    must(A, law && wf_law_start(law, x, NULL, n) >= 0 && wf_law_fit(law, &fit, NULL) >= 0, "training a chain");
    return law;
}

static double pinwheel(void)
{
    enum { N = 60000, TEST = 20000, ALL = N + 2 * TEST };
    wf_arena *A = wf_arena_new(NULL);
    double *x = wf_alloc(A, 2 * ALL, sizeof *x), mean[2] = { 0 }, sd[2] = { 0 };
    must(A, x != NULL, "memory");
    for (int i = 0; i < ALL; i++) pinwheel_draw(wf_normal_at(1, (uint64_t)i, 0, 0, 1), wf_normal_at(1, (uint64_t)i, 0, 1, 1), (int)(10 * wf_uniform_at(1, (uint64_t)i, 0, 0, 2)), x + 2 * i);
    for (int i = 0; i < 2 * N; i++) mean[i % 2] += x[i] / N;
    for (int i = 0; i < 2 * N; i++) sd[i % 2] += (x[i] - mean[i % 2]) * (x[i] - mean[i % 2]) / (N - 1);
    for (int i = 0; i < 2 * ALL; i++) x[i] = (x[i] - mean[i % 2]) / sqrt(sd[i % 2]);
    double nll = score(A, chain(A, x, N, NULL, x + 2 * N, TEST, 5, 4, 25), x + 2 * (N + TEST), TEST, NULL);
    wf_arena_free(A);
    return nll;
}

typedef struct quakes { int there; double rows, rows_unseen, distinct, distinct_unseen, mixture, mixture_unseen, mixture_rows, mixture_rows_unseen, chain_seconds, mixture_seconds, chain_cpu, mixture_cpu; } quakes;

static quakes earthquakes(void)
{
    static const char *const part[3] = { "train", "val", "test" };
    quakes q = { 0 };
    for (int turn = 0; turn < 2; turn++) { /* chains see the plane turned by 45 degrees */
        wf_arena *A = wf_arena_new(NULL);
        events_t e[3], once;
        char path[600], why[900];
        for (int k = 0; k < 3; k++) {
            snprintf(path, sizeof path, "%s/data/earthquakes/Earthquake_%s.csv", shared(), part[k]);
            if (!events_read(A, path, &e[k], why, sizeof why)) { wf_arena_free(A); return q; }
        }
        q.there = 1;
        size_t *which = wf_alloc(A, e[0].n, sizeof *which);
        unsigned char *seen = wf_alloc(A, e[2].n, 1);
        must(A, which && seen, "memory");
        units_t u = events_units(&e[0]);
        once = events_distinct(A, &e[0], which);
        events_seen(A, &e[0], &e[2], seen);
        for (int k = 0; k < 3; k++) events_map(&e[k], u, turn);
        events_map(&once, u, turn);
        double begin = seconds(), cpu = cpu_seconds();
        if (turn) {
            double *near = wf_alloc(A, once.n, sizeof *near), *jitter = wf_alloc(A, e[0].n, sizeof *jitter);
            must(A, near && jitter && wf_nearest_distance(A, once.x, once.n, 2, 8, threads, near) >= 0, "distances");
            for (size_t i = 0; i < once.n; i++) near[i] *= 0.4;
            for (size_t i = 0; i < e[0].n; i++) jitter[i] = near[which[i]];
            wf_law *law = chain(A, once.x, once.n, near, e[1].x, e[1].n, 6, 16, 60);
            q.distinct = score(A, law, e[2].x, e[2].n, NULL);
            q.distinct_unseen = score(A, law, e[2].x, e[2].n, seen);
            q.chain_seconds = seconds() - begin;
            q.chain_cpu = cpu_seconds() - cpu;
            law = chain(A, e[0].x, e[0].n, jitter, e[1].x, e[1].n, 6, 16, 15);
            q.rows = score(A, law, e[2].x, e[2].n, NULL);
            q.rows_unseen = score(A, law, e[2].x, e[2].n, seen);
        } else {
            for (int rows = 0; rows < 2; rows++) {
                wf_law_desc d = { .dim = 2, .modes = 2048, .high = 6, .steady = 1, .background = 3e-3, .threads = threads, .seed = 1 };
                wf_law *law = wf_law_new(A, &d);
                must(A, law && wf_law_start(law, once.x, rows ? once.many : NULL, once.n) >= 0, "starting a mixture");
                *(rows ? &q.mixture_rows : &q.mixture) = score(A, law, e[2].x, e[2].n, NULL);
                *(rows ? &q.mixture_rows_unseen : &q.mixture_unseen) = score(A, law, e[2].x, e[2].n, seen);
                if (!rows) { q.mixture_seconds = seconds() - begin; q.mixture_cpu = cpu_seconds() - cpu; }
            }
        }
        wf_arena_free(A);
    }
    return q;
}

/* Five snapshots of 350 cells, and 200 others at each time: from the ones a density is learned, by the others it is judged, either way round. All distances are between finite sets, and depend on their sizes, so sizes are
   printed: learned_from and judged_by (cells a time), draws (points drawn from the density).

   emd (W1, Euclidean) to the cells kept back: of independent draws (mean of 8 sets); of draws by strata (components taken in turns, in proportion to their shares); of cells carried from the snapshot before, and of independent
   draws of their number; of cells learned from, drawn again with replacement, which is what a perfect memory of them would give.
   floor: of the real cells learned from. Where their number is not that of the draws, floor_even is the floor for the number of draws: floor times E d(draws, judged_by) / E d(learned_from, judged_by), where both sets are drawn from the density.
   w2 from the cells kept back to those of the next snapshot (w2_real, two independent sets), to as many draws at the next time (w2_drawn), to draws carried there from their own time (w2_carried), all with noise on both sides;
   map_cost: root of the mean square way of the cells when they are carried, one set without noise between; image_w2: of the cells and their own images (equal to map_cost where the map is optimal); halves_w2: of two halves of one snapshot. */
enum { CELLS_DIM = 5, CELLS_MOST = 350, CELLS_ROUNDS = 8, CELLS_FIGURES = 14 };
enum { CELLS_FLOOR, CELLS_EVEN, CELLS_EMD, CELLS_STRATA, CELLS_AGAIN, CELLS_ALIKE, CELLS_CARRIED, CELLS_REAL_W2, CELLS_DRAWN_W2, CELLS_CARRIED_W2, CELLS_COST, CELLS_IMAGE_W2, CELLS_HALVES_W2, CELLS_OWN };
static const char *const cells_name[CELLS_FIGURES] = { "floor", "floor_even", "embryoid_emd", "emd_strata", "emd_learned_again", "emd_judged_count", "emd_transported", "w2_real", "w2_drawn", "w2_carried", "map_cost", "image_w2", "halves_w2", "own_emd" };
typedef struct cells_report { int there; size_t learned, judged; double at[CELLS_FIGURES][5], nll, seconds; } cells_report;
typedef struct cells_strata { wf_plan *plan; wf_ws *ws; wf_t t, component, out; double share[512]; int components; } cells_strata;

static wf_law *cells_learn(wf_arena *A, const cells_t *train)
{
    wf_law_desc d = { .dim = CELLS_DIM, .modes = 320, .knots = 5, .t1 = 4, .high = 4, .background = -1, .threads = threads, .seed = 1 };
    wf_law_fit_desc fit = { .x = train->x, .t = train->t, .n = train->n, .likelihood = 5, .kinetic = 0.2, .steps = 60, .batch = 256, .rate = 1e-2, .clip = 10, .beta2 = 0.99, .seed = 1 };
    wf_law *law = wf_law_new(A, &d);
    must(A, law && cells_start(A, law, train, 40, 8, 0.8, NULL) >= 0 && wf_law_fit(law, &fit, NULL) >= 0, "training on cells");
    return law;
}

static double cells_emd(wf_arena *A, const double *x, size_t n, const wf_points *data)
{
    double w = 0;
    wf_points cloud = { x, NULL, n, CELLS_DIM };
    must(A, wf_wasserstein(A, &cloud, data, &w, NULL) >= 0, "distance");
    return w;
}

static double cells_w2(wf_arena *A, const wf_points *a, const double *x)
{
    double w = 0;
    wf_points cloud = { x, NULL, a->n, CELLS_DIM };
    must(A, wf_wasserstein(A, a, &cloud, NULL, &w) >= 0, "distance");
    return w;
}

/* A plan that draws from given components, with their shares. */
static void cells_strata_new(wf_arena *A, wf_law *law, cells_strata *s)
{
    wf_plan_desc p;
    double total = 0;
    wf_graph *g = wf_graph_new(A, wf_law_params(law));
    memset(&p, 0, sizeof p);
    s->components = wf_law_components(wf_law_about(law));
    must(A, g && s->components <= 512 && wf_params_get(wf_law_params(law), "law.share", s->share, (size_t)s->components) >= 0, "shares");
    for (int k = 0; k < s->components; k++) total += s->share[k] = exp(s->share[k]);
    for (int k = 0; k < s->components; k++) s->share[k] /= total;
    s->t = wf_input(g, "t", 1);
    s->component = wf_input(g, "component", 1);
    p.out[0] = s->out = wf_law_draw(g, s->t, s->component, "law", wf_law_about(law), 1, NULL);
    s->plan = wf_compile(A, &p);
    s->ws = s->plan ? wf_ws_new(A, s->plan, 1, NULL) : NULL;
    must(A, s->ws != NULL, "a plan for strata");
}

/* n draws at time t: one offset for all, then the component of draw i is where the running sum of the shares passes (i + offset) / n. Each draw alone has the law's distribution. */
static void cells_strata_draw(wf_arena *A, cells_strata *s, double t, size_t n, uint64_t seed, double *x)
{
    static float time[CELLS_MOST], component[CELLS_MOST], y[CELLS_MOST * CELLS_DIM];
    double offset = wf_uniform_at(6, seed, 0, 0, 1), sum = s->share[0];
    int k = 0;
    for (size_t i = 0; i < n; i++) {
        while (k + 1 < s->components && sum * (double)n < (double)i + offset) sum += s->share[++k];
        time[i] = (float)t;
        component[i] = (float)k;
    }
    wf_feed f[3] = { wf_in(s->t, time, 0), wf_in(s->component, component, 0), wf_out(s->out, y, 0) };
    wf_ws_noise(s->ws, seed, 0);
    must(A, wf_run(s->plan, s->ws, f, 3, n) >= 0, wf_ws_report(s->ws)->text);
    for (size_t i = 0; i < n * CELLS_DIM; i++) x[i] = (double)y[i];
}

static void cells_draw(wf_arena *A, wf_law *law, double t, size_t n, uint64_t seed, double *x)
{
    static double time[CELLS_MOST];
    for (size_t i = 0; i < n; i++) time[i] = t;
    must(A, wf_law_sample(law, time, n, seed, x) >= 0, "drawing");
}

static void cells_move(wf_arena *A, wf_law *law, int k, const double *from, size_t n, double *to) /* from time k - 1 to k */
{
    static double path[2 * CELLS_MOST * CELLS_DIM];
    double both[2] = { k - 1, k };
    must(A, wf_law_transport(law, from, n, both, 2, 40, 0, 0, path) >= 0, "transport");
    for (size_t i = 0; i < n; i++) memcpy(to + i * CELLS_DIM, path + (2 * i + 1) * CELLS_DIM, CELLS_DIM * sizeof *to);
}

/* The figures of time k that need no draws. */
static void cells_fixed(wf_arena *A, wf_law *law, int k, const wf_points *from, const wf_points *data, const wf_points *real, cells_report *r)
{
    static double x[CELLS_MOST * CELLS_DIM];
    wf_points half[2] = { *real, *real };
    half[0].n = half[1].n = real->n / 2;
    half[1].x += real->n / 2 * CELLS_DIM;
    r->at[CELLS_FLOOR][k] = cells_emd(A, real->x, real->n, data);
    r->at[CELLS_HALVES_W2][k] = cells_w2(A, &half[0], half[1].x);
    r->at[CELLS_REAL_W2][k] = cells_w2(A, from, data->x);
    cells_move(A, law, k, from->x, from->n, x);
    r->at[CELLS_CARRIED][k] = cells_emd(A, x, from->n, data);
    r->at[CELLS_IMAGE_W2][k] = cells_w2(A, from, x);
    for (size_t i = 0; i < from->n * CELLS_DIM; i++) r->at[CELLS_COST][k] += (x[i] - from->x[i]) * (x[i] - from->x[i]) / (double)from->n;
    r->at[CELLS_COST][k] = sqrt(r->at[CELLS_COST][k]);
}

/* One round of draws at time k, added to the figures. */
static void cells_round(wf_arena *A, wf_law *law, cells_strata *strata, int k, int round, size_t draws, const wf_points *from, const wf_points *data, const wf_points *real, cells_report *r)
{
    static double x[CELLS_MOST * CELLS_DIM], y[CELLS_MOST * CELLS_DIM];
    uint64_t seed = 70 + (uint64_t)(k + 100 * round);
    wf_points other = { y, NULL, data->n, CELLS_DIM };
    double mean[CELLS_FIGURES] = { 0 };
    cells_draw(A, law, k, draws, seed, x);
    cells_draw(A, law, k, data->n, seed + 50, y);
    mean[CELLS_EMD] = cells_emd(A, x, draws, data);
    mean[CELLS_ALIKE] = cells_emd(A, x, data->n, data);
    mean[CELLS_DRAWN_W2] = cells_w2(A, from, y);
    mean[CELLS_OWN] = cells_emd(A, x, real->n, &other);
    mean[CELLS_EVEN] = draws == real->n ? mean[CELLS_OWN] : cells_emd(A, x, draws, &other);
    cells_strata_draw(A, strata, k, draws, seed, x);
    mean[CELLS_STRATA] = cells_emd(A, x, draws, data);
    for (size_t i = 0; i < draws; i++) memcpy(x + i * CELLS_DIM, real->x + (size_t)((double)real->n * wf_uniform_at(5, i, (uint32_t)round, (uint32_t)k, 1)) * CELLS_DIM, CELLS_DIM * sizeof *x);
    mean[CELLS_AGAIN] = cells_emd(A, x, draws, data);
    cells_draw(A, law, k - 1, from->n, seed + 50, y);
    cells_move(A, law, k, y, from->n, x);
    mean[CELLS_CARRIED_W2] = cells_w2(A, from, x);
    for (int f = 0; f < CELLS_FIGURES; f++) r->at[f][k] += mean[f] / CELLS_ROUNDS;
}

static int cells_load(wf_arena *A, int reverse, cells_t *train, cells_t *test)
{
    char path[600], why[900];
    double mean[CELLS_DIM], sd[CELLS_DIM];
    snprintf(path, sizeof path, "%s/data/embryoid/EB_%s_pc20.csv", shared(), reverse ? "test" : "val");
    if (!cells_read(A, path, CELLS_DIM, train, why, sizeof why)) return 0;
    snprintf(path, sizeof path, "%s/data/embryoid/EB_%s_pc20.csv", shared(), reverse ? "val" : "test");
    if (!cells_read(A, path, CELLS_DIM, test, why, sizeof why) || train->times != 5 || test->times != 5) return 0;
    cells_units(train, test, mean, sd);
    cells_scale(train, mean, sd);
    cells_scale(test, mean, sd);
    return 1;
}

static cells_report cells(int reverse)
{
    cells_report r;
    cells_strata strata;
    cells_t train, test;
    wf_arena *A = wf_arena_new(NULL);
    memset(&r, 0, sizeof r);
    if (!cells_load(A, reverse, &train, &test)) { wf_arena_free(A); return r; }
    double begin = seconds(), *f = wf_alloc(A, test.n, sizeof *f);
    wf_law *law = cells_learn(A, &train);
    r.seconds = seconds() - begin;
    r.there = 1;
    r.learned = cells_at(&train, 1).n;
    r.judged = cells_at(&test, 1).n;
    must(A, f && r.learned <= CELLS_MOST && r.judged <= CELLS_MOST && wf_law_log_density(law, test.x, test.t, test.n, f) >= 0, "likelihood");
    for (size_t i = 0; i < test.n; i++) r.nll -= f[i] / (double)test.n;
    cells_strata_new(A, law, &strata);
    for (int k = 1; k < 5; k++) {
        wf_points data = cells_at(&test, k), from = cells_at(&test, k - 1), real = cells_at(&train, k);
        cells_fixed(A, law, k, &from, &data, &real, &r);
        for (int round = 0; round < CELLS_ROUNDS; round++) cells_round(A, law, &strata, k, round, CELLS_MOST, &from, &data, &real, &r);
        r.at[CELLS_EVEN][k] *= r.at[CELLS_FLOOR][k] / r.at[CELLS_OWN][k];
    }
    wf_arena_free(A);
    return r;
}

static void list(const char *name, const double *v)
{
    printf(",\"%s\":[%.4f,%.4f,%.4f,%.4f]", name, v[1], v[2], v[3], v[4]);
}

static void cells_print(void) /* first as specified: 350 draws are compared with 350 cells, and the density is learned from the 200 others */
{
    for (int reverse = 0; reverse < 2; reverse++) {
        cells_report c = cells(reverse);
        double over[5];
        printf("{\"bench\":\"conservation_embryoid\"");
        if (!c.there) { printf(",\"embryoid_emd\":null,\"skipped\":\"no data\"}\n"); return; }
        printf(",\"learned_from\":%d,\"judged_by\":%d,\"draws\":%d,\"nll\":%.4f", (int)c.learned, (int)c.judged, CELLS_MOST, c.nll);
        for (int f = 0; f < CELLS_FIGURES; f++) list(cells_name[f], c.at[f]);
        for (int k = 1; k < 5; k++) over[k] = c.at[CELLS_EMD][k] / c.at[CELLS_FLOOR][k];
        list("emd_over_floor", over);
        for (int k = 1; k < 5; k++) over[k] = c.at[CELLS_EMD][k] / c.at[CELLS_EVEN][k];
        list("emd_over_floor_even", over);
        for (int k = 1; k < 5; k++) over[k] = c.at[CELLS_STRATA][k] / c.at[CELLS_EVEN][k];
        list("strata_over_floor_even", over);
        printf(",\"seconds\":%.2f}\n", c.seconds);
        fflush(stdout);
    }
}

/* Two logistic clouds: the cost of the learned map over the exact transport cost. */
static double transport(void)
{
    enum { N = 2000, DRAWS = 20000 };
    static double x[2 * N], t[N], start[2 * DRAWS], end[4 * DRAWS], zero[DRAWS];
    double cost = 0, exact = 0, both[2] = { 0, 1 };
    wf_arena *A = wf_arena_new(NULL);
    for (int i = 0; i < N; i++) {
        t[i] = i % 2;
        for (int k = 0; k < 2; k++) {
            double u = ((i / 2 * (k ? 389 : 1)) % 1000 + 0.5) / 1000;
            x[2 * i + k] = (i % 2 ? (k ? 0.5 : 1) : (k ? 0 : -1)) + (i % 2 ? 0.4 : 0.2) * log(u / (1 - u));
        }
    }
    wf_law_desc d = { .dim = 2, .modes = 1, .knots = 2, .background = -1, .threads = threads };
    wf_law_fit_desc fit = { .x = x, .t = t, .n = N, .likelihood = 1000, .kinetic = 1, .steps = 1000, .batch = 1000, .rate = 2e-2 };
    wf_law *law = wf_law_new(A, &d);
    must(A, law && wf_law_start(law, x, NULL, N) >= 0 && wf_law_fit(law, &fit, NULL) >= 0 && wf_law_sample(law, zero, DRAWS, 3, start) >= 0 && wf_law_transport(law, start, DRAWS, both, 2, 50, 0, 0, end) >= 0, "two clouds");
    for (int i = 0; i < DRAWS; i++) for (int k = 0; k < 2; k++) cost += pow(end[4 * i + 2 + k] - start[2 * i + k], 2) / DRAWS;
    for (int k = 0; k < 2; k++) exact += pow(k ? 0.5 : 2, 2) + 0.2 * 0.2 * 9.869604401089358 / 3;
    wf_arena_free(A);
    return cost / exact;
}

/* Microseconds of one thread for a step of training (value, gradient; no optimiser): likelihood alone, and likelihood with the energy of the drift. The least of several blocks. bench/torch_conservation.py does
   the same; given a file, the parameters, the points and the loss go there, for it to check that it computes the same. */
enum { STEP_BATCH = 512, STEP_DIM = 5 };
static float step_points[STEP_BATCH * STEP_DIM], step_times[STEP_BATCH];

static void step_keep(wf_arena *A, wf_params *params, int dim, size_t batch, float loss, const char *file)
{
    wf_tensors *t = wf_tensors_new(A);
    size_t x[2] = { batch, (size_t)dim }, one = 1;
    wf_array points = wf_array_of(step_points, WF_DTYPE_F32, 2, x), times = wf_array_of(step_times, WF_DTYPE_F32, 1, x), value = wf_array_of(&loss, WF_DTYPE_F32, 1, &one);
    must(A, t && wf_params_store(params, t) >= 0 && wf_tensors_add(t, "x", &points) >= 0 && wf_tensors_add(t, "t", &times) >= 0 && wf_tensors_add(t, "loss", &value) >= 0 && wf_tensors_save(t, file) >= 0, file);
}

static double step(int dim, size_t batch, int drift, const char *file)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *params = wf_params_new(A, 1, WF_F32);
    wf_graph *g = wf_graph_new(A, params);
    wf_law_desc d = { .dim = dim, .kind = WF_LAW_CHAIN, .modes = 16, .width = 256, .layers = 3 };
    wf_t x = wf_input(g, "x", dim), t = wf_input(g, "t", 1);
    wf_law_values v = wf_law_at(x, t, "law", &d);
    wf_t loss = wf_neg(wf_mean(v.log_density));
    if (drift) loss = wf_add(loss, wf_mean(wf_sumsq(v.drift)));
    wf_plan_desc p;
    memset(&p, 0, sizeof p);
    p.out[0] = p.grad_of = loss;
    wf_plan *plan = wf_compile(A, &p);
    wf_ws *ws = plan ? wf_ws_new(A, plan, 1, NULL) : NULL;
    float value = 0;
    must(A, ws != NULL, "a step");
    for (size_t i = 0; i < batch * (size_t)dim; i++) step_points[i] = (float)wf_normal_at(1, i, 0, 0, 1);
    for (size_t i = 0; i < batch; i++) step_times[i] = (float)i / (float)batch;
    wf_feed f[3] = { wf_in(x, step_points, 0), wf_in(t, step_times, 0), wf_out(loss, &value, 0) };
    double best = HUGE_VAL;
    for (int block = 0; block < (file ? 1 : quick ? 3 : 6); block++) {
        double begin = cpu_seconds();
        for (int i = 0; i < 10; i++) must(A, wf_run(plan, ws, f, 3, batch) >= 0, wf_ws_report(ws)->text);
        double time = 1e5 * (cpu_seconds() - begin);
        if (time < best) best = time;
    }
    if (file) step_keep(A, params, dim, batch, value, file);
    wf_arena_free(A);
    return best;
}

/* The drift step is printed twice, for two ways to write it in PyTorch: the fastest that we know, and the plain one, autograd.grad of each coordinate's density and mass. */
static void steps(void)
{
    static const char *const name[3] = { "likelihood", "drift", "drift_autograd" };
    for (int dim = 2; dim <= STEP_DIM; dim += 3)
        for (size_t batch = STEP_BATCH / 2; batch <= STEP_BATCH; batch += STEP_BATCH / 2)
            for (int drift = 0; drift < 2; drift++) {
                double time = step(dim, batch, drift, NULL);
                for (int k = drift; k < 1 + 2 * drift; k++) printf("{\"bench\":\"conservation_step\",\"step\":\"%s\",\"dim\":%d,\"batch\":%d,\"microseconds\":%.0f}\n", name[k], dim, (int)batch, time);
                fflush(stdout);
            }
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick")) quick = 1;
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc) threads = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--steps")) { steps(); return 0; }
        else if (!strcmp(argv[i], "--cells")) { cells_print(); return 0; }
        else if (!strcmp(argv[i], "--check") && i + 2 < argc) { step(atoi(argv[i + 1]) > 2 ? STEP_DIM : 2, STEP_BATCH, 1, argv[i + 2]); return 0; }
        else { fprintf(stderr, "bench_conservation: unknown option %s\n", argv[i]); return 2; }
    }
    double begin = seconds(), start = begin;
    printf("{\"bench\":\"conservation_pinwheel\",\"pinwheel_nll\":%.4f,\"entropy\":2.1768,\"paper\":1.936", pinwheel());
    printf(",\"seconds\":%.1f}\n", seconds() - start);
    fflush(stdout);
    start = seconds();
    quakes q = earthquakes();
    if (q.there) printf("{\"bench\":\"conservation_earthquakes\",\"earthquakes_nll\":%.4f,\"earthquakes_nll_unseen\":%.4f,\"earthquakes_nll_distinct\":%.4f,\"earthquakes_nll_distinct_unseen\":%.4f,\"earthquakes_nll_factorised\":%.4f,\"earthquakes_nll_factorised_unseen\":%.4f,\"earthquakes_nll_factorised_distinct\":%.4f,\"earthquakes_nll_factorised_distinct_unseen\":%.4f,\"paper\":1.184,\"paper_factorised\":1.217,\"chain_distinct_seconds\":%.1f,\"factorised_seconds\":%.1f,\"chain_distinct_cpu_seconds\":%.1f,\"factorised_cpu_seconds\":%.1f,\"seconds\":%.1f}\n",
                        q.rows, q.rows_unseen, q.distinct, q.distinct_unseen, q.mixture_rows, q.mixture_rows_unseen, q.mixture, q.mixture_unseen, q.chain_seconds, q.mixture_seconds, q.chain_cpu, q.mixture_cpu, seconds() - start);
    else printf("{\"bench\":\"conservation_earthquakes\",\"earthquakes_nll\":null,\"earthquakes_nll_distinct\":null,\"earthquakes_nll_factorised\":null,\"skipped\":\"no data\"}\n");
    fflush(stdout);
    cells_print();
    for (int scene = 1; scene <= (quick ? 1 : 3); scene++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_obstacle o[OBSTACLES];
        crowd_t crowd = { 24, 13, less(1500), threads, 2000, 0.1, 0.02, 1 };
        wf_law_report r;
        start = seconds();
        crowd_scene((uint64_t)scene, o);
        wf_law *law = crowd_law(A, &crowd);
        must(A, law && crowd_train(A, law, &crowd, o, &r, NULL, NULL) >= 0, "crowd");
        double time = seconds() - start;
        walk_t calm = crowd_walk(A, law, o, 1000, 0, 101), noisy = crowd_walk(A, law, o, 1000, 0.5, 201);
        must(A, calm.path && noisy.path, "walking");
        printf("{\"bench\":\"conservation_crowd\",\"scene\":%d,\"collision_rate\":%.4f,\"collision_rate_noisy\":%.4f,\"g\":0.5,\"energy\":%.2f,\"energy_straight\":40.5,\"seconds\":%.2f}\n", scene, calm.collisions, noisy.collisions, calm.energy, time);
        fflush(stdout);
        wf_arena_free(A);
    }
    printf("{\"bench\":\"conservation_transport\",\"cost_over_exact\":%.4f}\n", transport());
    steps();
    printf("{\"bench\":\"conservation\",\"seconds\":%.1f}\n", seconds() - begin);
    return 0;
}
