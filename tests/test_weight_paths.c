/* Weight paths: the curve, its gradient, the law it learns between the times it was shown; the field that has it as a solution; files and interruptions. */
#define WF_KEEP_WEIGHTFLOW
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"
#include "wf_party.h"

enum { TIMES = 7, PEOPLE = 500 };

/* Snapshots of a party. With two columns: left, and gone. */
static wf_snapshots party(wf_arena *A, int columns)
{
    double *times = (double *)wf_alloc(A, TIMES, sizeof *times);
    size_t *n = (size_t *)wf_alloc(A, TIMES, sizeof *n);
    const double **x = (const double **)wf_alloc(A, TIMES, sizeof *x);
    wf_snapshots s;
    for (int k = 0; k < TIMES; k++) {
        double *to = (double *)wf_alloc(A, PEOPLE * (size_t)columns, sizeof *to);
        times[k] = 0.25 * k;
        n[k] = PEOPLE;
        for (uint64_t i = 0; i < PEOPLE; i++) {
            int left = party_left(50 + (uint64_t)k, i, times[k]);
            for (size_t c = 0; c < (size_t)columns; c++) to[i * (size_t)columns + c] = c % 2 ? MOST - left : left;
        }
        x[k] = to;
    }
    s.count = TIMES; s.dim = columns; s.times = times; s.n = n; s.x = x; s.weight = NULL;
    return s;
}

static wf_weight_path_desc small_path(void)
{
    wf_weight_path_desc d;
    memset(&d, 0, sizeof d);
    d.dim = 1;
    d.states = MOST + 1;
    d.hidden = 4;
    d.width = 16;
    d.knots = 6;
    d.updates = 500;
    d.times = 5;
    d.rows = 64;
    d.field_width = 16;
    d.field_heads = 2;
    d.field_layers = 1;
    d.feed_forward = 32;
    d.matching = 300;
    d.tuning = 20;
    d.steps = 10;
    d.seed = 5;
    return d;
}

static uint64_t hash_of(const void *data, size_t size, uint64_t h)
{
    for (size_t i = 0; i < size; i++) h = (h ^ ((const unsigned char *)data)[i]) * 1099511628211u;
    return h;
}

static uint64_t hash_path(wf_weight_path *m)
{
    uint64_t h = hash_of(wf_params_data(m->curve), wf_params_size(m->curve) * sizeof(float), 14695981039346656037u);
    return m->field ? hash_of(wf_params_data(m->field), wf_params_size(m->field) * sizeof(float), h) : h;
}

static double distance(wf_weight_path *m, double t)
{
    double x[MOST + 1], lp[MOST + 1], sum = 0, d = 0;
    for (int i = 0; i <= MOST; i++) x[i] = i;
    CHECK(wf_weight_path_log_prob(m, t, x, MOST + 1, lp, NULL) == WF_OK);
    for (int i = 0; i <= MOST; i++) { sum += exp(lp[i]); d += fabs(exp(lp[i]) - binomial(MOST, i, exp(-t))) / 2; }
    CHECK_CLOSE(sum, 1, 1e-5); /* nine exponentials of f32 logarithms */
    return d;
}

// region: learn a moving law
static wf_weight_path *learn_party(wf_arena *A, const wf_weight_path_desc *desc, double *loss)
{
    wf_snapshots snapshots = party(A, 1);
    wf_weight_path *path = wf_weight_path_new(A, desc, 0, 1.5); /* one number with 9 states; sizes; seed */
    if (!path || wf_weight_path_fit(path, &snapshots, loss) != WF_OK) return NULL;
    return path;
}
// end region

WF_TEST(both_curves_learn_a_known_law)
{
    for (int curve = 0; curve < 2; curve++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_weight_path_desc d = small_path();
        double loss, drawn[3000], entropy = 0;
        d.curve = curve;
        wf_weight_path *m = learn_party(A, &d, &loss);
        if (!m) { CHECK(!"a path"); wf_arena_free(A); return; }
        for (int k = 1; k < TIMES; k++) for (int i = 0; i <= MOST; i++) { double p = binomial(MOST, i, exp(-0.25 * k)); entropy -= p * log(p) / TIMES; } /* at time 0 there is none */
        CHECK_CLOSE(loss, entropy, 0.06); /* the mean over minibatches of 320; deviation 0.02 */
        for (int k = 0; k < 4; k++) CHECK(distance(m, 0.375 + 0.25 * k) < 0.08); /* between the times it was shown; 500 samples of one time alone give 0.05 */
        CHECK(wf_weight_path_sample(m, 0.6, 3000, 9, drawn) == WF_OK);
        for (int i = 0; i <= MOST; i++) {
            double x = i, lp, q = 0;
            CHECK(wf_weight_path_log_prob(m, 0.6, &x, 1, &lp, NULL) == WF_OK);
            for (int r = 0; r < 3000; r++) q += drawn[r] == i ? 1.0 / 3000 : 0;
            CHECK_CLOSE(q, exp(lp), 5 * sqrt(exp(lp) / 3000) + 1e-3); /* five standard errors */
        }
        wf_arena_free(A);
    }
}

WF_TEST(splines_are_a_partition_of_one_and_reproduce_cubics)
{
    /* a cubic is a sum of cubic B-splines; its coefficients follow from its values at ten places, and must then give it everywhere */
    enum { N = 7 };
    float f[N];
    double m[N][N + 1];
    for (int i = 0; i < N; i++) {
        double q = i / (N - 1.0);
        wf__wpath_splines(N, q, f);
        for (int j = 0; j < N; j++) m[i][j] = (double)f[j];
        m[i][N] = 2 - q + 3 * q * q - 5 * q * q * q;
    }
    for (int i = 0; i < N; i++)
        for (int r = 0; r < N; r++) {
            double g = r == i ? 0 : m[r][i] / m[i][i];
            for (int j = N; j >= i; j--) m[r][j] -= g * m[i][j];
        }
    for (int k = 0; k <= 50; k++) {
        double q = k / 50.0, sum = 0, value = 0;
        wf__wpath_splines(N, q, f);
        for (int j = 0; j < N; j++) { CHECK(f[j] >= 0); sum += (double)f[j]; value += (double)f[j] * m[j][N] / m[j][j]; }
        CHECK_CLOSE(sum, 1, 1e-6);
        CHECK_CLOSE(value, 2 - q + 3 * q * q - 5 * q * q * q, 2e-5); /* f32 values, a system of condition about 10 */
    }
    CHECK(f[N - 1] == 1 && f[N - 2] == 0);
}

/* ---- gradients ---- */

static double like_of(wf_weight_path *m, int field)
{
    double loss = 0;
    if (m->graph) m->graph->solved = 0;
    CHECK(wf__wpath_likelihood(m, 3, 0, field ? wf__wpath_field_weights : wf__wpath_curve_weights, &loss) == WF_OK);
    return loss;
}

WF_TEST(gradients_of_curve_and_field_are_those_of_finite_differences)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_weight_path_desc d = small_path();
    d.updates = 40;
    d.matching = 20;
    d.tuning = -1;
    d.field = WF_FIELD_ODE;
    d.rows = 256;
    wf_snapshots s = party(A, 1);
    wf_weight_path *m = learn_party(A, &d, NULL);
    CHECK(m && wf_weight_path_fit_field(m, &s, NULL) == WF_OK);
    if (wf_arena_report(A)->code) { printf("  %s\n", wf_arena_report(A)->text); wf_arena_free(A); return; }
    CHECK(wf__wpath_accept(m, &s) == WF_OK);
    for (int field = 0; field < 2; field++) {
        static const char *const curve_names[3] = { "curve.2.weight", "curve.0.bias", "curve.2.bias" }, *const field_names[3] = { "start", "field.out.output_layer.weight", "field.time.0.weight" };
        wf_params *P = field ? m->field : m->curve;
        float *p = (float *)wf_params_data(P), *g;
        double scratch;
        like_of(m, field);
        if (field) { /* what wf__wpath_tune does, without the step */
            d.tuning = 1;
            float keep[64];
            memcpy(keep, p, sizeof keep);
            m->opt[2]->d.rate = 0;
            int64_t step = m->done[2];
            m->done[2] = 0;
            CHECK(wf__wpath_tune(m, &scratch) == WF_OK);
            m->done[2] = step;
            CHECK(!memcmp(keep, p, sizeof keep));
            g = (float *)wf_ws_grad(m->graph->tune->ws);
        } else {
            m->opt[0]->d.rate = 0;
            CHECK(wf__wpath_update(m, 3, &scratch) == WF_OK);
            g = (float *)wf_ws_grad(m->pull->ws);
        }
        for (int k = 0; k < 3; k++) {
            const wf_param_info *e = wf_params_entry(P, wf_params_find(P, field ? field_names[k] : curve_names[k]));
            size_t at = e->offset, largest = at;
            for (; at < e->offset + e->count; at++) if (fabsf(g[at]) > fabsf(g[largest])) largest = at;
            float old = p[largest], eps = 0.02f;
            double up, down;
            if (field) {
                m->graph->solved = 0; p[largest] = old + eps; CHECK(wf__wpath_likelihood(m, 0, 1, wf__wpath_field_weights, &up) == WF_OK);
                m->graph->solved = 0; p[largest] = old - eps; CHECK(wf__wpath_likelihood(m, 0, 1, wf__wpath_field_weights, &down) == WF_OK);
            } else {
                p[largest] = old + eps; up = like_of(m, 0);
                p[largest] = old - eps; down = like_of(m, 0);
            }
            p[largest] = old;
            CHECK(fabsf(g[largest]) > 1e-4f);
            CHECK_CLOSE((double)g[largest], (up - down) / (2 * (double)eps), 0.03 * fabs((double)g[largest]) + 2e-4); /* losses in f32, third derivatives at eps 0.02 */
        }
    }
    wf_arena_free(A);
}

/* ---- the field ---- */

WF_TEST(a_field_has_the_curve_as_its_solution)
{
    for (int kind = WF_FIELD_ODE; kind <= WF_FIELD_CDE; kind++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_weight_path_desc d = small_path();
        double loss, size = 0, off = 0;
        d.field = kind;
        d.matching = 600;
        wf_snapshots s = party(A, 1);
        wf_weight_path *m = learn_party(A, &d, NULL);
        if (!m) { CHECK(!"a path"); return; }
        CHECK(wf_weight_path_use(m, 2) == WF_ERROR_ARGUMENT); /* none is fitted yet */
        wf_arena_clear(A);
        CHECK(wf_weight_path_fit_field(m, &s, &loss) == WF_OK);
        CHECK(loss > 0.5 && loss < 2);
        size_t n = wf_weight_path_size(m);
        float *w = (float *)wf_alloc(A, 2 * n, sizeof *w);
        for (int k = 0; k <= 10; k++) {
            double t = 0.15 * k;
            CHECK_CLOSE(wf__wpath_field_time(m, wf__wpath_field_clock(m, t)), t, 0.004); /* the clock is linear between 256 places */
            CHECK(wf_weight_path_use(m, 1) == WF_OK && wf_weight_path_weights(m, &t, 1, w) == WF_OK);
            CHECK(wf_weight_path_use(m, 0) == WF_OK && wf_weight_path_weights(m, &t, 1, w + n) == WF_OK);
            for (size_t i = 0; i < n; i++) {
                size += pow((double)((w[i] - m->graph->mean[i]) / m->graph->scale[i]), 2);
                off += pow((double)((w[i] - w[n + i]) / m->graph->scale[i]), 2);
            }
        }
        CHECK(off < 0.35 * size); /* squared, in units of each weight's deviation over time; weights that stand still would give 1. Measured 0.25 and 0.04 with this small field */
        for (int k = 0; k < 4; k++) CHECK(distance(m, 0.375 + 0.25 * k) < 0.16); /* the wrong time by a quarter gives 0.25 */
        wf_arena_free(A);
    }
}

/* ---- bits ---- */

typedef struct brake_t { int calls, at; } brake_t;

static int brake(void *user, const char *what, double done, double total)
{
    brake_t *b = (brake_t *)user;
    (void)what; (void)done; (void)total;
    return ++b->calls == b->at;
}

WF_TEST(interrupted_saved_and_on_more_threads_the_bits_are_the_same)
{
    const char *file = "out/test_weight_path.safetensors";
    uint64_t wanted = 0;
    for (int way = 0; way < 5; way++) { /* straight through on 1, 2, 7 threads; stopped and saved in the curve; and in the field */
        static const int threads[5] = { 1, 2, 7, 1, 2 }, stop_at[5] = { 0, 0, 0, 23, 56 };
        wf_arena *A = wf_arena_new(NULL);
        wf_weight_path_desc d = small_path();
        brake_t b = { 0, 0 };
        b.at = stop_at[way];
        d.updates = 40; d.matching = 25; d.tuning = 4; d.field = WF_FIELD_ODE;
        d.threads = threads[way];
        d.progress = brake;
        d.progress_user = &b;
        wf_snapshots s = party(A, 1);
        wf_weight_path *m = wf_weight_path_new(A, &d, 0, 1.5);
        wf_result r = wf_weight_path_fit(m, &s, NULL);
        if (r == WF_OK) r = wf_weight_path_fit_field(m, &s, NULL);
        CHECK(r == (stop_at[way] ? (wf_result)WF_CANCELLED : (wf_result)WF_OK));
        if (stop_at[way]) {
            wf_weight_path_desc some;
            int64_t done[3];
            double span[2];
            memset(&some, 0, sizeof some);
            some.threads = 3 - threads[way];
            CHECK(wf_weight_path_save(m, file) == WF_OK);
            wf_arena *B = wf_arena_new(NULL);
            m = wf_weight_path_load(B, file, &some);
            if (!m) { printf("  %s\n", wf_arena_report(B)->text); CHECK(!"a loaded path"); return; }
            wf_weight_path_progress(m, done, span);
            CHECK(done[0] == (way == 3 ? 22 : 40) && done[1] == (way == 3 ? 0 : 14) && span[1] == 1.5);
            CHECK_INT(wf_weight_path_about(m)->hidden, 4);
            CHECK(wf_weight_path_fit(m, &s, NULL) == WF_OK && wf_weight_path_fit_field(m, &s, NULL) == WF_OK);
            CHECK(hash_path(m) == wanted);
            wf_arena_free(B);
        } else if (!way) wanted = hash_path(m);
        else CHECK(hash_path(m) == wanted);
        wf_arena_free(A);
    }
    remove(file);
}

/* ---- many numbers, weights, mistakes ---- */

WF_TEST(twelve_numbers_in_a_loop)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_weight_path_desc d = small_path();
    double lp[50], each[50 * 12], drawn[50 * 12];
    d.dim = 12;
    d.hidden = 8;
    d.updates = 300;
    wf_snapshots s = party(A, 12);
    wf_weight_path *m = wf_weight_path_new(A, &d, 0, 1.5);
    CHECK(m && wf_weight_path_fit(m, &s, NULL) == WF_OK);
    CHECK(wf_weight_path_sample(m, 1, 50, 4, drawn) == WF_OK && wf_weight_path_log_prob(m, 1, drawn, 50, lp, each) == WF_OK);
    int agree = 0;
    for (int i = 0; i < 50; i++) {
        double sum = 0;
        for (int j = 0; j < 12; j++) sum += each[i * 12 + j];
        CHECK_CLOSE(sum, lp[i], 1e-9);
        for (int j = 1; j < 12; j++) agree += drawn[i * 12 + j] == (j % 2 ? MOST - drawn[i * 12] : drawn[i * 12]);
    }
    CHECK(agree > 0.5 * 50 * 11); /* the others are functions of the first; by chance one in four would agree */
    wf_arena_free(A);
}

WF_TEST(samples_have_weights)
{
    double zero[2] = { 0, 3 }, weight[2] = { 1, 0 }, times[2] = { 0, 1 }, lp;
    const double *rows[2] = { zero, zero }, *weights[2] = { weight, weight };
    size_t n[2] = { 2, 2 };
    wf_snapshots s = { 2, 1, times, n, rows, weights };
    wf_arena *A = wf_arena_new(NULL);
    wf_weight_path_desc d = small_path();
    d.updates = 150;
    wf_weight_path *m = wf_weight_path_new(A, &d, 0, 1);
    CHECK(wf_weight_path_fit(m, &s, NULL) == WF_OK);
    CHECK(wf_weight_path_log_prob(m, 0.5, zero, 1, &lp, NULL) == WF_OK);
    CHECK(lp > -0.05); /* only the row with weight was ever shown */
    wf_arena_free(A);
}

WF_TEST(mistakes_are_named)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_weight_path_desc d = small_path();
    wf_snapshots s = party(A, 1), wide = party(A, 2);
    double late = 2, lp, big = 9, times[2] = { 0, 4 };
    float tokens[4096];
    d.states = 5000;
    CHECK(!wf_weight_path_new(A, &d, 0, 1) && strstr(wf_arena_report(A)->text, "5000 states"));
    wf_arena_clear(A);
    CHECK(!wf_weight_path_new(A, NULL, 0, 1) && strstr(wf_arena_report(A)->text, "a description is needed"));
    double edge[1] = { 1 }, sum[2] = { 0, 0 }, cell[5] = { 0, 0, 0, 0, 7 }, now = 0;
    size_t single = 1;
    const double *at = edge;
    wf_snapshots one = { 1, 1, &now, &single, &at, NULL };
    wf__wpath_column(&one, 0, sum, 0, 1, cell, 4); /* a number at the upper end of the grid is in its last cell */
    CHECK(cell[3] == 1 && cell[4] == 7);
    wf_arena_clear(A);
    d = small_path();
    CHECK(!wf_weight_path_new(A, &d, 1, 1) && strstr(wf_arena_report(A)->text, "from time 1 to 1"));
    wf_arena_clear(A);
    d.updates = 1;
    wf_weight_path *m = wf_weight_path_new(A, &d, 0, 1.5);
    CHECK(wf_weight_path_fit(m, &wide, NULL) == WF_ERROR_SHAPE);
    CHECK_STR_HAS(wf_arena_report(A)->text, "have 2");
    wf_arena_clear(A);
    wf_snapshots far = s;
    far.count = 2;
    far.times = times;
    CHECK(wf_weight_path_fit(m, &far, NULL) == WF_ERROR_DATA);
    CHECK_STR_HAS(wf_arena_report(A)->text, "time 4");
    wf_arena_clear(A);
    CHECK(wf_weight_path_fit(m, &s, NULL) == WF_OK);
    CHECK(wf_weight_path_weights(m, &late, 1, tokens) == WF_ERROR_DATA);
    wf_arena_clear(A);
    CHECK(wf_weight_path_log_prob(m, 1, &big, 1, &lp, NULL) == WF_ERROR_DATA);
    CHECK_STR_HAS(wf_arena_report(A)->text, "9 is not a count in 0..8");
    wf_arena_clear(A);
    CHECK(wf_weight_path_fit_field(m, &s, NULL) == WF_ERROR_ARGUMENT);
    wf_arena_clear(A);
    CHECK(!wf_weight_path_load(A, "no such file", NULL) && wf_arena_report(A)->code == WF_ERROR_IO);
    wf_arena_free(A);
}

/* ---- every backbone with every output ---- */

enum { CROWD = 6, GRID = 480 };

static double crowd_mean(double t) { return 1 + t; }

/* Two groups that part: +-(1 + t), deviation 0.5, in units and with an offset of their own; the second number follows the sign of the first. Unequal times, unequal numbers of rows. */
static wf_snapshots crowd(wf_arena *A, int columns)
{
    static const double at[CROWD] = { 0, 0.1, 0.3, 0.7, 1.5, 2 };
    double *times = (double *)wf_alloc(A, CROWD, sizeof *times);
    size_t *n = (size_t *)wf_alloc(A, CROWD, sizeof *n);
    const double **x = (const double **)wf_alloc(A, CROWD, sizeof *x);
    wf_snapshots s;
    for (int k = 0; k < CROWD; k++) {
        n[k] = 1500 + 500 * (size_t)(k % 3);
        double *to = (double *)wf_alloc(A, n[k] * (size_t)columns, sizeof *to);
        times[k] = at[k];
        for (size_t i = 0; i < n[k]; i++) {
            double sign = wf_uniform_at(70 + (uint64_t)k, i, 1000, 0, 1) < 0.5 ? -1 : 1;
            for (size_t c = 0; c < (size_t)columns; c++) to[i * (size_t)columns + c] = 100 + 20 * (sign * crowd_mean(at[k]) + 0.5 * wf_normal_at(80 + (uint64_t)k, i, 0, (uint32_t)c, 2));
        }
        x[k] = to;
    }
    s.count = CROWD; s.dim = columns; s.times = times; s.n = n; s.x = x; s.weight = NULL;
    return s;
}

static double crowd_density(double t, double x)
{
    double u = (x - 100) / 20, a = (u - crowd_mean(t)) / 0.5, b = (u + crowd_mean(t)) / 0.5;
    return (exp(-0.5 * a * a) + exp(-0.5 * b * b)) / (2 * 0.5 * 20 * 2.5066282746310002);
}

static wf_weight_path_desc small_law(int backbone, int output, int columns)
{
    wf_weight_path_desc d;
    memset(&d, 0, sizeof d);
    d.dim = columns;
    d.backbone = backbone;
    d.output = output;
    d.hidden = 8;
    d.states = output == WF_OUTPUT_CATEGORICAL ? MOST + 1 : output == WF_OUTPUT_BINS || output == WF_OUTPUT_LINEAR_BINS ? 24 : 0;
    d.components = 4;
    d.width = 16;
    d.updates = 60;
    d.rate = 0.01;
    d.seed = 5;
    return d;
}

static wf_weight_path *small_fit(wf_arena *A, const wf_weight_path_desc *d)
{
    wf_snapshots s = d->output == WF_OUTPUT_CATEGORICAL ? party(A, d->dim) : crowd(A, d->dim);
    wf_weight_path *m = wf_weight_path_new(A, d, 0, 2);
    double loss = 0;
    if (!m || wf_weight_path_fit(m, &s, &loss) != WF_OK) { printf("  backbone %d, output %d: %s\n", d->backbone, d->output, wf_arena_report(A)->text); return NULL; }
    return m;
}

/* The law of number j at time 1 given the first j numbers of `state`: places v[], their probabilities p[] (midpoints of GRID cells, or states). Returns their number. */
static int conditional(wf_weight_path *m, const double *state, int j, double *v, double *p)
{
    static double x[GRID * 2], lp[GRID], each[GRID * 2];
    int d = wf_weight_path_about(m)->dim, counts = wf_weight_path_about(m)->output == WF_OUTPUT_CATEGORICAL, n = counts ? MOST + 1 : GRID, bins = wf_weight_path_about(m)->states;
    const double *u = wf_weight_path_units(m, j);
    for (int i = 0; i < n; i++) {
        double low = -300, high = 500;
        int cell = i * bins / GRID, first = cell * (GRID / (bins ? bins : 1));
        if (bins && !counts) { low = u[cell]; high = u[cell + 1]; } /* GRID is a multiple of the bins: cells that do not cross an edge */
        double wide = counts ? 1 : (high - low) * (bins ? bins : 1) / GRID;
        v[i] = counts ? i : low + (i - (bins ? first : 0) + 0.5) * wide;
        p[i] = wide;
        for (int c = 0; c < d; c++) x[i * d + c] = c == j ? v[i] : state[c];
    }
    CHECK(wf_weight_path_log_prob(m, 1, x, (size_t)n, lp, each) == WF_OK);
    for (int i = 0; i < n; i++) p[i] *= exp(each[i * d + j]);
    return n;
}

WF_TEST(every_backbone_with_every_output_is_a_law_and_draws_from_it)
{
    enum { DRAWN = 100 };
    static double v[GRID], p[GRID], x[DRAWN * 2], rank[DRAWN];
    for (int which = 0; which < 15; which++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_weight_path_desc d = small_law(which / 5, which % 5, 2);
        wf_weight_path *m = small_fit(A, &d);
        if (!m) { CHECK(!"a path"); wf_arena_free(A); continue; }
        CHECK(wf_weight_path_sample(m, 1, DRAWN, 6, x) == WF_OK);
        for (int j = 0; j < 2; j++) {
            for (int r = 0; r < DRAWN; r++) { /* the share of the law below each sample is uniform (of a count: with a uniform part of its own share) */
                double sum = 0, below = 0, u = wf_uniform_at(3, (uint64_t)r, (uint32_t)j, 0, 1);
                int n = conditional(m, x + 2 * r, j, v, p), counts = n <= MOST + 1;
                for (int i = 0; i < n; i++) {
                    double half = counts || i + 1 == n ? 0.5 : 0.5 * (v[i + 1] - v[i]), part = (x[2 * r + j] - (v[i] - half)) / (2 * half);
                    below += p[i] * (counts ? v[i] < x[2 * r + j] ? 1 : v[i] > x[2 * r + j] ? 0 : u : part < 0 ? 0 : part > 1 ? 1 : part);
                    sum += p[i];
                }
                CHECK_CLOSE(sum, 1, 2e-4); /* f32 logarithms; 480 cells over 40 deviations, of which the narrowest component has 0.01 at least and here many times that */
                rank[r] = below;
            }
            double far = 0;
            for (int r = 0; r < DRAWN; r++) {
                int lower = 0;
                for (int q = 0; q < DRAWN; q++) lower += rank[q] <= rank[r];
                if (fabs(lower / (double)DRAWN - rank[r]) > far) far = fabs(lower / (double)DRAWN - rank[r]);
            }
            CHECK(far < 1.95 / sqrt((double)DRAWN) + 1.0 / DRAWN); /* Kolmogorov and Smirnov: exceeded once in a thousand; 30 tests */
            if (!(far < 1.95 / sqrt((double)DRAWN) + 1.0 / DRAWN)) printf("  backbone %d, output %d, number %d: %.4f\n", which / 5, which % 5, j, far);
        }
        wf_arena_free(A);
    }
}

WF_TEST(a_number_depends_on_those_before_it_alone)
{
    for (int which = 0; which < 15; which++) {
        int columns = which % 2 ? 4 : 11; /* copies of the unit, and a loop */
        wf_arena *A = wf_arena_new(NULL);
        wf_weight_path_desc d = small_law(which / 5, which % 5, columns);
        double x[2][11], lp[2], each[2][11];
        d.updates = 5;
        d.hidden = 12; /* a perceptron needs a unit for each number but the last */
        wf_weight_path *m = small_fit(A, &d);
        if (!m) { CHECK(!"a path"); wf_arena_free(A); continue; }
        for (int j = 0; j < columns; j++) {
            for (int c = 0; c < columns; c++) x[0][c] = x[1][c] = which % 5 ? 90 + 3 * c : c % 3;
            x[1][j] += which % 5 ? 7 : 1;
            for (int r = 0; r < 2; r++) CHECK(wf_weight_path_log_prob(m, 1, x[r], 1, lp + r, each[r]) == WF_OK);
            for (int c = 0; c < columns; c++) {
                if (c < j) CHECK(each[0][c] == each[1][c]);
                if (c == j + 1) CHECK(each[0][c] != each[1][c]); /* and it does depend on those */
            }
            double sum = 0;
            for (int c = 0; c < columns; c++) sum += each[0][c];
            CHECK_CLOSE(sum, lp[0], 1e-9);
        }
        wf_arena_free(A);
    }
}

WF_TEST(gradients_of_every_likelihood_are_those_of_finite_differences)
{
    for (int which = 0; which < 15; which++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_weight_path_desc d = small_law(which / 5, which % 5, 3);
        double scratch, norm = 0, up, down;
        d.layers = 2;
        d.post_norm = which == 7;
        d.rows = 256;
        wf_weight_path *m = small_fit(A, &d);
        wf_snapshots s = d.output ? crowd(A, 3) : party(A, 3);
        if (!m) { CHECK(!"a path"); wf_arena_free(A); continue; }
        CHECK(wf__wpath_accept(m, &s) == WF_OK);
        m->opt[0]->d.rate = 0;
        CHECK(wf__wpath_update(m, 3, &scratch) == WF_OK);
        size_t n = wf_params_size(m->curve);
        float *p = (float *)wf_params_data(m->curve), *keep = (float *)wf_alloc(A, 2 * n, sizeof *keep), *g = keep + n;
        memcpy(keep, p, n * sizeof *keep);
        memcpy(g, wf_ws_grad(m->pull->ws), n * sizeof *g);
        for (size_t i = 0; i < n; i++) norm += (double)g[i] * (double)g[i];
        norm = sqrt(norm);
        for (size_t i = 0; i < n; i++) p[i] = keep[i] + 0.003f * g[i] / (float)norm;
        up = like_of(m, 0);
        for (size_t i = 0; i < n; i++) p[i] = keep[i] - 0.003f * g[i] / (float)norm;
        down = like_of(m, 0);
        CHECK_CLOSE((up - down) / 0.006, norm, 0.01 * norm + 2e-4); /* along the gradient; losses in f32 of about 3 */
        wf_arena_free(A);
    }
}

/* The masked perceptron with logistics, by plain loops in double. */
static double slow_perceptron(const wf_weight_path *m, const float *w, const double *x)
{
    int d = m->desc.dim, h = m->desc.hidden, K = m->desc.components, columns = m->net.neurons, top = d - 1;
    double in[16], out[16], sum = 0;
    memcpy(in, x, (size_t)d * sizeof *in);
    for (int l = 0; l < m->desc.layers; l++) {
        for (int o = 0; o < h; o++) {
            int inputs = l ? h : d;
            out[o] = (double)w[inputs * columns + l * h + o];
            for (int i = 0; i < inputs; i++) if (1 + o * top / h >= (l ? 1 + i * top / h : 1 + i)) out[o] += (double)w[i * columns + l * h + o] * in[i];
        }
        for (int o = 0; o < h; o++) in[o] = tanh(out[o]);
    }
    for (int j = 0; j < d; j++) {
        double value[3][16], total = 0, p = 0, low = log(m->desc.narrowest), high = log(3.0);
        for (int k = 0; k < 3 * K; k++) {
            int o = m->desc.layers * h + j * 3 * K + k;
            value[k / K][k % K] = (double)w[h * columns + o];
            for (int i = 0; i < h; i++) if (1 + i * top / h < 1 + j) value[k / K][k % K] += (double)w[i * columns + o] * in[i];
        }
        for (int k = 0; k < K; k++) total += exp(value[0][k]);
        for (int k = 0; k < K; k++) {
            double s = exp((low + high) / 2 + (high - low) / 2 * tanh((value[2][k] - (low + high) / 2) * 2 / (high - low))), t = (x[j] - value[1][k]) / s;
            p += exp(value[0][k]) / total / s / ((1 + exp(t)) * (1 + exp(-t)));
        }
        sum += log(p);
    }
    return sum;
}

WF_TEST(a_perceptron_agrees_with_slow_code)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_weight_path_desc d = small_law(WF_BACKBONE_MLP, WF_OUTPUT_LOGISTICS, 4);
    double time = 0.8, x[4], z[4], lp;
    wf_weight_path *m = small_fit(A, &d);
    if (!m) { CHECK(!"a path"); wf_arena_free(A); return; }
    float *w = (float *)wf_alloc(A, wf_weight_path_size(m), sizeof *w);
    CHECK(wf_weight_path_weights(m, &time, 1, w) == WF_OK);
    for (int r = 0; r < 20; r++) {
        double unit = 0;
        for (int j = 0; j < 4; j++) {
            const double *u = wf_weight_path_units(m, j);
            x[j] = 100 + 30 * wf_normal_at(4, (uint64_t)r, 0, (uint32_t)j, 1);
            z[j] = (x[j] - u[0]) / u[1];
            unit += log(u[1]);
        }
        CHECK(wf_weight_path_log_prob(m, time, x, 1, &lp, NULL) == WF_OK);
        CHECK_CLOSE(lp, slow_perceptron(m, w, z) - unit, 1e-4); /* f32 */
    }
    wf_arena_free(A);
}

WF_TEST(a_moving_mixture_is_learned_by_all)
{
    for (int which = 0; which < 12; which++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_weight_path_desc d = small_law(which / 4, 1 + which % 4, 1);
        double v[800], lp[800], loss = 0, far = 0;
        d.states = 64;
        d.updates = 800;
        d.layers = 1;
        wf_weight_path *m = small_fit(A, &d);
        if (!m) { CHECK(!"a path"); wf_arena_free(A); continue; }
        for (int k = 0; k < 2; k++) {
            double t = k ? 1.0 : 0.5, off = 0; /* 0.3 and 0.7 were shown, and 0.7 and 1.5 */
            for (int i = 0; i < 800; i++) v[i] = 10 + 0.225 * (i + 0.5);
            CHECK(wf_weight_path_log_prob(m, t, v, 800, lp, NULL) == WF_OK);
            for (int i = 0; i < 800; i++) off += 0.5 * 0.225 * fabs(exp(lp[i]) - crowd_density(t, v[i]));
            if (off > far) far = off;
        }
        /* total variation. One snapshot of 2000 rows in 64 bins is 0.07 from its law by chance; a law that stands still for 0.3 of time is 0.2 off */
        CHECK(far < 0.12);
        printf("  backbone %d, output %d: %.3f\n", which / 4, 1 + which % 4, far);
        (void)loss;
        wf_arena_free(A);
    }
}

WF_TEST(saved_and_interrupted_in_every_form_the_bits_are_the_same)
{
    const char *file = "out/test_weight_path_forms.safetensors";
    for (int which = 0; which < 15; which++) {
        wf_arena *A = wf_arena_new(NULL), *B = wf_arena_new(NULL);
        wf_weight_path_desc d = small_law(which / 5, which % 5, 2);
        brake_t b = { 0, 0 };
        b.at = 8;
        d.updates = 12; d.matching = 6; d.tuning = 2; d.field = which % 3; d.field_width = 8; d.feed_forward = 8; d.field_layers = 1; d.steps = 4;
        if (which / 5 != WF_BACKBONE_MLP) d.layers = 2;
        wf_snapshots s = d.output ? crowd(A, 2) : party(A, 2);
        wf_weight_path *m = wf_weight_path_new(A, &d, 0, 2);
        CHECK(m && wf_weight_path_fit(m, &s, NULL) == WF_OK && (!d.field || wf_weight_path_fit_field(m, &s, NULL) == WF_OK));
        d.progress = brake;
        d.progress_user = &b;
        wf_weight_path *half = wf_weight_path_new(A, &d, 0, 2), *again;
        CHECK(half && wf_weight_path_fit(half, &s, NULL) == WF_CANCELLED && wf_weight_path_save(half, file) == WF_OK);
        again = wf_weight_path_load(B, file, NULL);
        if (!m || !again) { printf("  %s %s\n", wf_arena_report(A)->text, wf_arena_report(B)->text); CHECK(!"a loaded path"); wf_arena_free(A); wf_arena_free(B); continue; }
        CHECK(wf_weight_path_fit(again, &s, NULL) == WF_OK && (!d.field || wf_weight_path_fit_field(again, &s, NULL) == WF_OK));
        CHECK(hash_path(again) == hash_path(m));
        CHECK(wf_weight_path_save(again, file) == WF_OK);
        wf_weight_path *last = wf_weight_path_load(B, file, NULL);
        double x[2][10], lp[2][5];
        CHECK(last && wf_weight_path_sample(m, 1, 5, 3, x[0]) == WF_OK && wf_weight_path_sample(last, 1, 5, 3, x[1]) == WF_OK && !memcmp(x[0], x[1], sizeof x[0]));
        CHECK(last && wf_weight_path_log_prob(m, 1, x[0], 5, lp[0], NULL) == WF_OK && wf_weight_path_log_prob(last, 1, x[0], 5, lp[1], NULL) == WF_OK && !memcmp(lp[0], lp[1], sizeof lp[0]));
        wf_arena_free(A);
        wf_arena_free(B);
    }
    remove(file);
}

WF_TEST(one_number_and_a_hundred)
{
    static double x[40 * 100], lp[40];
    for (int which = 0; which < 6; which++)
        for (int wide = 0; wide < 2; wide++) {
            wf_arena *A = wf_arena_new(NULL);
            wf_weight_path_desc d = small_law(which / 2, which % 2 ? WF_OUTPUT_LOGISTICS : WF_OUTPUT_LINEAR_BINS, wide ? 100 : 1);
            double loss[2] = { 0, 0 };
            d.components = 3; d.states = 12; d.width = 8; d.rows = 16; d.layers = 1;
            for (int k = 0; k < 2; k++) {
                d.updates = k ? 20 : 2;
                wf_snapshots s = crowd(A, d.dim);
                wf_weight_path *m = wf_weight_path_new(A, &d, 0, 2);
                CHECK(m && wf_weight_path_fit(m, &s, loss + k) == WF_OK);
                if (!k || !m) continue;
                CHECK(wf_weight_path_sample(m, 1.2, 40, 7, x) == WF_OK && wf_weight_path_log_prob(m, 1.2, x, 40, lp, NULL) == WF_OK);
                for (int i = 0; i < 40; i++) CHECK(lp[i] > -1e4 && lp[i] < 1e3);
            }
            CHECK(loss[1] < loss[0]); /* it learns */
            wf_arena_free(A);
        }
}

WF_TEST(densities_heed_weights)
{
    double rows[200], weight[200], times[2] = { 0, 1 }, lp[2], at[2] = { 0, 5 };
    const double *x[2] = { rows, rows }, *w[2] = { weight, weight };
    size_t n[2] = { 200, 200 };
    wf_snapshots s = { 2, 1, times, n, x, w };
    for (int i = 0; i < 200; i++) { rows[i] = (i % 2 ? 5 : 0) + wf_normal_at(8, (uint64_t)i, 0, 0, 1); weight[i] = i % 2 ? 0 : 1 + i % 3; }
    for (int output = WF_OUTPUT_BINS; output <= WF_OUTPUT_LOGISTICS; output++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_weight_path_desc d = small_law(WF_BACKBONE_GRU, output, 1);
        d.updates = 200;
        wf_weight_path *m = wf_weight_path_new(A, &d, 0, 1);
        CHECK(m && wf_weight_path_fit(m, &s, NULL) == WF_OK && wf_weight_path_log_prob(m, 0.5, at, 2, lp, NULL) == WF_OK);
        CHECK(lp[0] > lp[1] + 2); /* rows at 5 have no weight: they lie five deviations from the others */
        if (output >= WF_OUTPUT_GAUSSIANS && m) CHECK(fabs(wf_weight_path_units(m, 0)[0]) < 0.5);
        wf_arena_free(A);
    }
}

WF_TEST(mistakes_with_continuous_numbers_are_named)
{
    static const struct { int backbone, output, heads, components, layers, hidden; double narrowest; const char *say; } bad[] = {
        { 3, 0, 0, 0, 0, 0, 0, "no backbone 3" }, { 0, 5, 0, 0, 0, 0, 0, "output 5" }, { 1, 3, 3, 0, 0, 8, 0, "3 heads" }, { 0, 4, 0, 65, 0, 0, 0, "65 components" },
        { 0, 0, 0, 0, 5, 0, 0, "5 layers (1..4)" }, { 2, 4, 0, 0, 9, 0, 0, "9 layers (1..8)" }, { 2, 4, 0, 0, 0, 0, 2, "than 2" }, { 2, 4, 0, 0, 0, 300, 0, "300 hidden" } };
    wf_arena *A = wf_arena_new(NULL);
    wf_snapshots s = crowd(A, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        wf_weight_path_desc d = small_law(bad[i].backbone, bad[i].output, 1);
        d.heads = bad[i].heads; d.components = bad[i].components; d.layers = bad[i].layers; d.hidden = bad[i].hidden; d.narrowest = bad[i].narrowest;
        CHECK(!wf_weight_path_new(A, &d, 0, 2));
        CHECK_STR_HAS(wf_arena_report(A)->text, bad[i].say);
        wf_arena_clear(A);
    }
    for (int output = WF_OUTPUT_BINS; output <= WF_OUTPUT_LOGISTICS; output++) {
        wf_weight_path_desc d = small_law(WF_BACKBONE_MLP, output, 1);
        double x[3] = { 7, 7, 7 }, one = 1, lp, *far = (double *)wf_alloc(A, 3, sizeof *far);
        const double *same[CROWD] = { x, x, x, x, x, x }, *outside[CROWD] = { far, far, far, far, far, far };
        size_t few[CROWD] = { 3, 3, 3, 3, 3, 3 };
        wf_snapshots t = s;
        d.updates = 2;
        wf_weight_path *m = wf_weight_path_new(A, &d, 0, 2);
        CHECK(m && wf_weight_path_sample(m, 1, 1, 1, &one) == WF_ERROR_ARGUMENT);
        CHECK_STR_HAS(wf_arena_report(A)->text, "fit it first");
        wf_arena_clear(A);
        t.x = same; t.n = few;
        CHECK(wf_weight_path_fit(m, &t, NULL) == WF_ERROR_DATA);
        CHECK_STR_HAS(wf_arena_report(A)->text, "number 0 is 7 in every sample");
        wf_arena_clear(A);
        CHECK(wf_weight_path_fit(m, &s, NULL) == WF_OK && wf_weight_path_log_prob(m, 1, x, 1, &lp, NULL) == WF_OK);
        x[0] = -1e6;
        CHECK(wf_weight_path_log_prob(m, 1, x, 1, &lp, NULL) == WF_OK && (lp == -HUGE_VAL) == (output <= WF_OUTPUT_LINEAR_BINS) && lp < -100);
        x[0] = log(-1.0);
        CHECK(wf_weight_path_log_prob(m, 1, x, 1, &lp, NULL) == WF_ERROR_DATA);
        CHECK_STR_HAS(wf_arena_report(A)->text, "not finite");
        wf_arena_clear(A);
        far[0] = far[1] = 0; far[2] = 1e6;
        t.x = outside;
        m->desc.updates = 3;
        CHECK(wf_weight_path_fit(m, &t, NULL) == (output <= WF_OUTPUT_LINEAR_BINS ? (wf_result)WF_ERROR_DATA : (wf_result)WF_OK));
        if (output <= WF_OUTPUT_LINEAR_BINS) CHECK_STR_HAS(wf_arena_report(A)->text, "outside of all bins");
        wf_arena_clear(A);
    }
    wf_arena_free(A);
}

WF_TEST(memory_that_runs_out_is_an_error)
{
    for (int kind = 0; kind < 3; kind++) {
        wf_arena *B = wf_arena_new(NULL);
        wf_snapshots s = kind ? crowd(B, 2) : party(B, 1);
        int ended = 0;
        for (long k = 1; k < 4000 && !ended; k += 1 + k / (kind ? 8 : 40)) {
            wf_test_memory memory;
            wf_allocator a;
            double x[2];
            memset(&memory, 0, sizeof memory);
            memory.fail_at = k;
            a.alloc = wf_test_alloc; a.free = wf_test_free; a.user = &memory;
            wf_arena *A = wf_arena_new(&a);
            wf_weight_path_desc d = kind ? small_law(kind, kind == 1 ? WF_OUTPUT_LINEAR_BINS : WF_OUTPUT_LOGISTICS, 2) : small_path();
            d.updates = d.matching = d.tuning = 1;
            d.field = WF_FIELD_ODE;
            wf_weight_path *m = A ? wf_weight_path_new(A, &d, 0, kind ? 2 : 1.5) : NULL;
            ended = m && wf_weight_path_fit(m, &s, NULL) == WF_OK && wf_weight_path_fit_field(m, &s, NULL) == WF_OK && wf_weight_path_sample(m, 1, 1, 1, x) == WF_OK;
            if (A && !ended) CHECK(wf_arena_report(A)->code == WF_ERROR_MEMORY);
            wf_arena_free(A);
            CHECK(memory.live == 0);
        }
        CHECK(ended);
        wf_arena_free(B);
    }
}

WF_MAIN_CASES(WF_CASE(both_curves_learn_a_known_law), WF_CASE(splines_are_a_partition_of_one_and_reproduce_cubics), WF_CASE(gradients_of_curve_and_field_are_those_of_finite_differences),
              WF_CASE(a_field_has_the_curve_as_its_solution), WF_CASE(interrupted_saved_and_on_more_threads_the_bits_are_the_same), WF_CASE(twelve_numbers_in_a_loop), WF_CASE(samples_have_weights),
              WF_CASE(every_backbone_with_every_output_is_a_law_and_draws_from_it), WF_CASE(a_number_depends_on_those_before_it_alone), WF_CASE(gradients_of_every_likelihood_are_those_of_finite_differences),
              WF_CASE(a_perceptron_agrees_with_slow_code), WF_CASE(a_moving_mixture_is_learned_by_all), WF_CASE(saved_and_interrupted_in_every_form_the_bits_are_the_same), WF_CASE(one_number_and_a_hundred),
              WF_CASE(densities_heed_weights), WF_CASE(mistakes_are_named), WF_CASE(mistakes_with_continuous_numbers_are_named), WF_CASE(memory_that_runs_out_is_an_error))
