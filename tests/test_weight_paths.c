/* Weight paths: the curve, its gradient, the law it learns between the times it was shown; the field that has it as a solution; files and interruptions. */
#define WF_KEEP_WEIGHTFLOW
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

enum { TIMES = 7, PEOPLE = 500, MOST = 8 };

/* Eight people leave a party, each after an exponential time: at time t, Binomial(8, exp(-t)) are left. With two columns: left, and gone. */
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
            int left = 0;
            for (uint32_t j = 0; j < MOST; j++) left += -log(wf_uniform_at(50 + (uint64_t)k, i, j, 0, 1)) > times[k];
            for (size_t c = 0; c < (size_t)columns; c++) to[i * (size_t)columns + c] = c % 2 ? MOST - left : left;
        }
        x[k] = to;
    }
    s.count = TIMES; s.dim = columns; s.times = times; s.n = n; s.x = x; s.weight = NULL;
    return s;
}

static double binomial(int n, int k, double p)
{
    double c = 1;
    for (int i = 0; i < k; i++) c = c * (n - i) / (i + 1);
    return c * pow(p, k) * pow(1 - p, n - k);
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

WF_TEST(memory_that_runs_out_is_an_error)
{
    wf_arena *B = wf_arena_new(NULL);
    wf_snapshots s = party(B, 1);
    int ended = 0;
    for (long k = 1; k < 2000 && !ended; k += 1 + k / 40) {
        wf_test_memory memory;
        wf_allocator a;
        memset(&memory, 0, sizeof memory);
        memory.fail_at = k;
        a.alloc = wf_test_alloc; a.free = wf_test_free; a.user = &memory;
        wf_arena *A = wf_arena_new(&a);
        wf_weight_path_desc d = small_path();
        d.updates = d.matching = d.tuning = 1;
        d.field = WF_FIELD_ODE;
        wf_weight_path *m = A ? wf_weight_path_new(A, &d, 0, 1.5) : NULL;
        ended = m && wf_weight_path_fit(m, &s, NULL) == WF_OK && wf_weight_path_fit_field(m, &s, NULL) == WF_OK;
        if (A && !ended) CHECK(wf_arena_report(A)->code == WF_ERROR_MEMORY);
        wf_arena_free(A);
        CHECK(memory.live == 0);
    }
    CHECK(ended);
    wf_arena_free(B);
}

WF_MAIN_CASES(WF_CASE(both_curves_learn_a_known_law), WF_CASE(splines_are_a_partition_of_one_and_reproduce_cubics), WF_CASE(gradients_of_curve_and_field_are_those_of_finite_differences),
              WF_CASE(a_field_has_the_curve_as_its_solution), WF_CASE(interrupted_saved_and_on_more_threads_the_bits_are_the_same), WF_CASE(twelve_numbers_in_a_loop), WF_CASE(samples_have_weights),
              WF_CASE(mistakes_are_named), WF_CASE(memory_that_runs_out_is_an_error))
