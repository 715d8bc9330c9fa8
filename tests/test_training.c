/* Optimisers, checkpoints, the training loop. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

/* A path to write to: under out/ where there is one, else here. */
/* u = W2 tanh(W1 x + b1 + noise) + b2 on 3 inputs: small, not linear, with noise when asked */
typedef struct net { wf_arena *A; wf_params *P; wf_graph *g; wf_t x, y, u, loss; wf_plan *plan; wf_ws *ws; } net;

static net net_make(int type, int noise, int threads, const wf_allocator *a)
{
    net n;
    int d[2] = { 9, 3 }, e[2] = { 1, 9 };
    memset(&n, 0, sizeof n);
    n.A = wf_arena_new(a);
    n.P = wf_params_new(n.A, 5, type);
    n.g = wf_graph_new(n.A, n.P);
    n.x = wf_input(n.g, "x", 3);
    n.y = wf_input(n.g, "y", 1);
    wf_t h = wf_add(wf_matmul(wf_param(n.g, "in/w", 2, d, WF_INIT_UNIFORM, 0.7), n.x), wf_param(n.g, "in/b", 1, d, WF_INIT_UNIFORM, 0.7));
    if (noise) h = wf_add(h, wf_scale(wf_normal(n.g, 1, d, 3), 0.1));
    n.u = wf_add(wf_matmul(wf_param(n.g, "out/w", 2, e, WF_INIT_UNIFORM, 0.3), wf_tanh(h)), wf_param(n.g, "out/b", 1, e, WF_INIT_ZERO, 0));
    n.loss = wf_mean(wf_square(wf_sub(n.u, n.y)));
    wf_plan_desc p = { 0 };
    p.out[0] = n.loss;
    p.grad_of = n.loss;
    p.type = type;
    n.plan = wf_compile(n.A, &p);
    n.ws = n.plan ? wf_ws_new(n.A, n.plan, threads, NULL) : NULL;
    return n;
}

enum { N = 200 };
static float data_x[N][3], data_y[N];
static double wide_x[N][3], wide_y[N];

static void data_make(void)
{
    for (int i = 0; i < N; i++) {
        for (int k = 0; k < 3; k++) data_x[i][k] = (float)wf_normal_at(1, (uint64_t)i, 0, (uint32_t)k, 0);
        data_y[i] = (float)(sin((double)data_x[i][0]) - 0.5 * (double)data_x[i][1] * (double)data_x[i][2]);
        for (int k = 0; k < 3; k++) wide_x[i][k] = (double)data_x[i][k];
        wide_y[i] = (double)data_y[i];
    }
}

static void feed_data(const net *n, wf_feed f[2])
{
    data_make();
    f[0] = wf_in(n->x, n->P->type == WF_F64 ? (void *)wide_x : (void *)data_x, 0);
    f[1] = wf_in(n->y, n->P->type == WF_F64 ? (void *)wide_y : (void *)data_y, 0);
}

/* One parameter of n elements, and no graph: for the gradients of the tests. */
typedef struct flat { wf_arena *A; wf_params *P; } flat;
static flat flat_make(int type, int n)
{
    flat f;
    f.A = wf_arena_new(NULL);
    f.P = wf_params_new(f.A, 1, type);
    (void)wf_params_add(f.P, "x", 1, &n, WF_INIT_CONSTANT, 1);
    return f;
}

// region: train step by step
WF_TEST(train_step_by_step)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 42, WF_F32);
    wf_graph *g = wf_graph_new(A, P);
    int shape[2] = { 1, 2 };
    wf_t x = wf_input(g, "x", 2), y = wf_input(g, "y", 1);
    wf_t u = wf_add(wf_matmul(wf_param(g, "weight", 2, shape, WF_INIT_NORMAL, 0.5), x), wf_param(g, "bias", 1, shape, WF_INIT_ZERO, 0));
    wf_t loss = wf_mean(wf_square(wf_sub(u, y)));

    wf_plan_desc what = { 0 };
    what.out[0] = what.grad_of = loss;
    wf_plan *plan = wf_compile(A, &what);
    wf_ws *ws = wf_ws_new(A, plan, 0, NULL);
    wf_opt_desc how = { 0 };
    how.rate = 0.1;
    wf_opt *opt = wf_opt_new(A, P, &how);

    float points[4][2] = { { 0, 0 }, { 1, 0 }, { 0, 1 }, { 1, 1 } }, values[4] = { 1, 3, 0, 2 }, error; /* 1 + 2 a - b */
    wf_feed feeds[] = { wf_in(x, points, 0), wf_in(y, values, 0), wf_out(loss, &error, 0) };
    for (int k = 0; k < 400; k++) {
        CHECK_INT(wf_run(plan, ws, feeds, 3, 4), WF_OK);
        CHECK_INT(wf_opt_step(opt, ws), WF_OK);
    }
    double weight[2];
    wf_params_get(P, "weight", weight, 2);
    CHECK_CLOSE(weight[0], 2, 1e-3); /* Adam at a constant rate dances about the minimum: a hundredth of the rate is what we ask */
    CHECK_CLOSE(weight[1], -1, 1e-3);
    wf_arena_free(A);
}
// end region

// region: fit a data set
WF_TEST(fit_a_data_set)
{
    net n = net_make(WF_F32, 0, 0, NULL); /* inputs n.x, n.y; loss n.loss; plan and workspace */
    wf_feed data[2];
    feed_data(&n, data); /* 200 samples */
    wf_opt_desc how = { 0 };
    how.rate = 0.01;
    how.schedule = WF_RATE_COSINE;
    how.steps = 2000;
    wf_opt *opt = wf_opt_new(n.A, n.P, &how);
    wf_fit_desc fit = { 0 };
    fit.data = data;
    fit.feeds = 2;
    fit.samples = 200;
    fit.batch = 64;
    fit.steps = 2000;
    wf_fit_report report;
    CHECK_INT(wf_fit(opt, n.ws, &fit, &report), WF_OK);
    CHECK(report.steps == 2000 && report.epochs == 500 && report.loss < 0.05);
    wf_arena_free(n.A);
}
// end region

/* Three ways to walk in a valley 100 times as steep as it is flat, with the best rates; steps until both coordinates have shrunk to 1e-6. */
static int valley(double rate, double momentum)
{
    flat f = flat_make(WF_F64, 2);
    wf_opt_desc d = { 0 };
    d.method = WF_OPT_SGD;
    d.rate = rate;
    d.beta1 = momentum > 0 ? momentum : -1;
    wf_opt *o = wf_opt_new(f.A, f.P, &d);
    double *x = (double *)wf_params_data(f.P), g[16] = { 0 };
    int k = 0;
    for (; k < 5000 && (fabs(x[0]) > 1e-6 || fabs(x[1]) > 1e-6); k++) {
        g[0] = x[0];
        g[1] = 100 * x[1];
        CHECK_INT(wf_opt_step_grad(o, g), WF_OK);
    }
    wf_arena_free(f.A);
    return k;
}

WF_TEST(a_narrow_valley)
{
    int plain = valley(2.0 / 101, 0), heavy = valley(4.0 / 121, 81.0 / 121);
    if (getenv("WF_VERBOSE")) printf("  plain %d, with momentum %d\n", plain, heavy);
    CHECK_INT(plain, (int)ceil(log(1e6) / log(101.0 / 99))); /* both coordinates shrink by 99/101 a step, exactly */
    CHECK_INT(heavy, 95);                                    /* a double root 9/11 leaves (1 + c k) (9/11)^k; without the c k it would be 69 */
}

/* ---- the oracle: f(x) = sum a (x-c)^2/2 + sum (x_{i+1} - x_i^2)^2 / 2 ---- */

typedef struct recipe { const wf_tensors *t; int n, steps; const double *a, *c, *x0, *path, *norm, *rate, *value, *m, *v; wf_opt_desc d; } recipe;

static double about(const wf_tensors *t, const char *key)
{
    const char *s = wf_tensors_about(t, key);
    return s ? atof(s) : 0;
}

static const double *numbers(wf_arena *A, const wf_tensors *t, const char *name)
{
    const wf_array *a = wf_tensors_find(t, name);
    return a ? wf_array_f64(A, a) : NULL;
}

static int recipe_read(wf_arena *A, const char *path, recipe *r)
{
    memset(r, 0, sizeof *r);
    const wf_tensors *t = r->t = wf_tensors_read(A, path);
    if (!t) return 0;
    r->n = (int)about(t, "size");
    r->steps = (int)about(t, "steps");
    r->a = numbers(A, t, "in.a");
    r->c = numbers(A, t, "in.c");
    r->x0 = numbers(A, t, "in.x0");
    r->path = numbers(A, t, "out.trajectory");
    r->norm = numbers(A, t, "out.grad_norm");
    r->rate = numbers(A, t, "out.learning_rate");
    r->value = numbers(A, t, "out.value");
    r->m = numbers(A, t, "out.m");
    r->v = numbers(A, t, "out.v");
    r->d.method = strcmp(wf_tensors_about(t, "method"), "sgd") ? WF_OPT_ADAM : WF_OPT_SGD;
    r->d.rate = about(t, "lr");
    r->d.beta1 = r->d.method == WF_OPT_SGD ? about(t, "momentum") : about(t, "beta1");
    r->d.beta2 = about(t, "beta2");
    r->d.eps = about(t, "eps");
    r->d.decay = about(t, "weight_decay");
    r->d.clip = about(t, "clip");
    if (wf_tensors_about(t, "schedule")) { r->d.schedule = WF_RATE_COSINE; r->d.steps = r->steps; r->d.rate_end = about(t, "lr_min"); }
    return r->a && r->c && r->x0 && r->path && r->norm && r->rate && r->value && r->m;
}

static void slope(const recipe *r, const double *x, double *g)
{
    for (int i = 0; i < r->n; i++) {
        g[i] = r->a[i] * (x[i] - r->c[i]);
        if (i + 1 < r->n) g[i] -= 2 * x[i] * (x[i + 1] - x[i] * x[i]);
        if (i) g[i] += x[i] - x[i - 1] * x[i - 1];
    }
}

/* The engine computes value and gradient, the optimiser steps: every row of the trajectory. */
static void walk_f64(const recipe *r)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F64);
    wf_graph *g = wf_graph_new(A, P);
    int n = r->n;
    wf_t x = wf_param(g, "x", 1, &n, WF_INIT_ZERO, 0), off = wf_sub(x, wf_const_array(g, 1, &n, r->c));
    wf_t f = wf_scale(wf_sum(wf_mul(wf_const_array(g, 1, &n, r->a), wf_square(off))), 0.5);
    if (n > 1) f = wf_add(f, wf_scale(wf_sumsq(wf_sub(wf_slice(x, 0, 1, n - 1), wf_square(wf_slice(x, 0, 0, n - 1)))), 0.5));
    wf_plan_desc d = { 0 };
    d.out[0] = d.grad_of = f;
    d.type = WF_F64;
    wf_plan *plan = wf_compile(A, &d);
    wf_ws *ws = plan ? wf_ws_new(A, plan, 1, NULL) : NULL;
    wf_opt *o = wf_opt_new(A, P, &r->d);
    CHECK(ws && o && wf_params_set(P, "x", r->x0, (size_t)n) == WF_OK);
    if (!ws || !o) { printf("  %s\n", wf_arena_report(A)->text); return; }
    const double *now = (const double *)wf_params_data(P), *m = (const double *)(const void *)o->m, *v = (const double *)(const void *)o->v;
    double value, top = 1;
    for (int i = 0; i < n * (r->steps + 1); i++) if (fabs(r->path[i]) > top) top = fabs(r->path[i]);
    wf_feed feed = wf_out(f, &value, 0);
    for (int k = 0; k <= r->steps; k++) {
        for (int i = 0; i < n; i++) CHECK_CLOSE(now[i], r->path[k * n + i], 1e-10 * top);
        CHECK_INT(wf_run(plan, ws, &feed, 1, 1), WF_OK);
        CHECK_CLOSE(value, r->value[k], 1e-10 * (1 + fabs(r->value[k])));
        if (k == r->steps) break;
        CHECK_CLOSE(wf_opt_rate(o, k), r->rate[k], 1e-15);
        CHECK_INT(wf_opt_step(o, ws), WF_OK);
        CHECK_CLOSE(wf_opt_norm(o), r->norm[k], 1e-10 * (1 + r->norm[k]));
    }
    for (int i = 0; i < n; i++) {
        CHECK_CLOSE(m[i], r->m[i], 1e-10 * (1 + fabs(r->m[i])));
        if (r->v) CHECK_CLOSE(v[i], r->v[i], 1e-10 * (1 + fabs(r->v[i])));
    }
    wf_arena_free(A);
}

/* The formulas in double precision, straight from the note, with every stored number off by random units of single precision: how far does the path move? */
static double jitter(uint64_t draw, int step, int i, int what, double units)
{
    return 1 + units * (2 * wf_uniform_at(7, (uint64_t)i, (uint32_t)step, (uint32_t)what, (uint32_t)draw) - 1) / 8388608.0;
}

static void walk_naive(const recipe *r, uint64_t draw, double *path)
{
    double x[128], m[128] = { 0 }, v[128] = { 0 }, g[128], norm, units = draw ? 1 : 0;
    const wf_opt_desc *d = &r->d;
    memcpy(x, r->x0, (size_t)r->n * sizeof *x);
    for (int k = 0; k < r->steps; k++) {
        memcpy(path + k * r->n, x, (size_t)r->n * sizeof *x);
        slope(r, x, g);
        norm = 0;
        for (int i = 0; i < r->n; i++) norm += g[i] * g[i];
        norm = sqrt(norm) + 1e-6;
        for (int i = 0; i < r->n; i++) {
            double s = (d->clip > 0 && norm > d->clip ? g[i] * d->clip / norm : g[i]) * jitter(draw, k, i, 0, units), step;
            if (d->method == WF_OPT_SGD) {
                m[i] = (d->beta1 * m[i] + s) * jitter(draw, k, i, 1, units);
                step = m[i];
            } else {
                m[i] = (d->beta1 * m[i] + (1 - d->beta1) * s) * jitter(draw, k, i, 1, units);
                v[i] = (d->beta2 * v[i] + (1 - d->beta2) * s * s) * jitter(draw, k, i, 2, 2 * units);
                step = m[i] / (1 - pow(d->beta1, k + 1)) / (sqrt(v[i] / (1 - pow(d->beta2, k + 1))) + d->eps);
            }
            x[i] = (x[i] * (1 - r->rate[k] * d->decay) - r->rate[k] * step * jitter(draw, k, i, 3, 2 * units)) * jitter(draw, k, i, 4, units);
        }
    }
    memcpy(path + r->steps * r->n, x, (size_t)r->n * sizeof *x);
}

static void walk_f32(const recipe *r)
{
    enum { MOST = 128 * 32 };
    static double exact[MOST], off[MOST];
    double noise = 0;
    walk_naive(r, 0, exact);
    for (int i = 0; i < r->n * (r->steps + 1); i++) CHECK_CLOSE(exact[i], r->path[i], 1e-10 * (1 + fabs(r->path[i])));
    for (uint64_t draw = 1; draw <= 16; draw++) {
        walk_naive(r, draw, off);
        for (int i = 0; i < r->n * (r->steps + 1); i++) if (fabs(off[i] - exact[i]) > noise) noise = fabs(off[i] - exact[i]);
    }
    flat f = flat_make(WF_F32, r->n);
    wf_opt *o = wf_opt_new(f.A, f.P, &r->d);
    float *x = (float *)wf_params_data(f.P), grad[128];
    double wide[128], g[128], worst = 0;
    for (int i = 0; i < r->n; i++) x[i] = (float)r->x0[i];
    for (int k = 0; k <= r->steps; k++) {
        for (int i = 0; i < r->n; i++) {
            wide[i] = (double)x[i];
            if (fabs(wide[i] - r->path[k * r->n + i]) > worst) worst = fabs(wide[i] - r->path[k * r->n + i]);
        }
        slope(r, wide, g);
        for (int i = 0; i < r->n; i++) grad[i] = (float)g[i];
        CHECK_INT(wf_opt_step_grad(o, grad), WF_OK);
    }
    /* sixteen random roundings of the same size as the true ones say how far the dynamics carries them; the true ones may be twice as unlucky */
    CHECK_CLOSE(worst, 0, 2 * noise);
    if (getenv("WF_VERBOSE")) printf("  off by %.3g, random roundings %.3g\n", worst, noise);
    wf_arena_free(f.A);
}

static int oracle_cases(void (*walk)(const recipe *))
{
    char path[600], file[200], kind[100], line[400];
    const char *shared = wf_test_shared();
    int found = 0;
    if (!shared) return -1;
    snprintf(path, sizeof path, "%s/reference/oracle/cases.txt", shared);
    FILE *list = fopen(path, "rb");
    while (list && fgets(line, sizeof line, list)) {
        if (sscanf(line, "%199s %99s", file, kind) != 2 || strcmp(kind, "optimizer")) continue;
        wf_arena *A = wf_arena_new(NULL);
        recipe r;
        snprintf(path, sizeof path, "%s/reference/oracle/%s", shared, file);
        if (recipe_read(A, path, &r) && r.n <= 128 && r.steps < 32) { walk(&r); found++; }
        else CHECK(!"the file can be read");
        if (wf_test_failures) printf("  in %s %s\n", file, wf_arena_report(A)->text);
        wf_arena_free(A);
    }
    if (list) fclose(list);
    return found;
}

WF_TEST(the_oracle_in_double_precision)
{
    int found = oracle_cases(walk_f64);
    if (found < 0) SKIP("no shared data");
    CHECK(found > 0);
}

WF_TEST(the_oracle_in_single_precision)
{
    int found = oracle_cases(walk_f32);
    if (found < 0) SKIP("no shared data");
    CHECK(found > 0);
}

/* ---- closed forms ---- */

WF_TEST(schedules)
{
    flat f = flat_make(WF_F64, 3);
    wf_opt_desc d = { 0 };
    wf_opt *o = wf_opt_new(f.A, f.P, NULL);
    CHECK(wf_opt_rate(o, 0) == 1e-3 && wf_opt_rate(o, 1 << 20) == 1e-3 && wf_opt_rate(o, -1) == 0);
    d.method = WF_OPT_SGD;
    o = wf_opt_new(f.A, f.P, &d);
    CHECK(wf_opt_rate(o, 9) == 1e-2);
    d.rate = 0.8;
    d.schedule = WF_RATE_COSINE;
    d.warmup = 4;
    d.steps = 104;
    d.rate_end = 0.2;
    o = wf_opt_new(f.A, f.P, &d);
    for (int k = 0; k < 4; k++) CHECK_CLOSE(wf_opt_rate(o, k), 0.2 * (k + 1), 1e-15);
    for (int k = 4; k <= 104; k++) CHECK_CLOSE(wf_opt_rate(o, k), 0.2 + 0.3 * (1 + cos(acos(-1.0) * (k - 4) / 100)), 1e-15);
    CHECK(wf_opt_rate(o, 4) == 0.8 && wf_opt_rate(o, 104) == 0.2 && wf_opt_rate(o, 105) == 0.2 && wf_opt_rate(o, INT64_MAX) == 0.2);
    d.schedule = WF_RATE_STEPS;
    d.every = 10;
    d.factor = 0.5;
    o = wf_opt_new(f.A, f.P, &d);
    CHECK(wf_opt_rate(o, 1) == 0.4 && wf_opt_rate(o, 4) == 0.8 && wf_opt_rate(o, 13) == 0.8 && wf_opt_rate(o, 14) == 0.4 && wf_opt_rate(o, 34) == 0.1);
    wf_arena_free(f.A);
}

static double my_rate(void *user, int64_t step) { return step < 2 ? *(double *)user : -1; }

WF_TEST(a_schedule_of_ones_own)
{
    flat f = flat_make(WF_F64, 1);
    double rate = 0.5, g[16] = { 1 };
    wf_opt_desc d = { 0 };
    d.method = WF_OPT_SGD;
    d.beta1 = -1;
    d.rate_at = my_rate;
    d.user = &rate;
    wf_opt *o = wf_opt_new(f.A, f.P, &d);
    double *x = (double *)wf_params_data(f.P);
    CHECK_INT(wf_opt_step_grad(o, g), WF_OK);
    rate = 0.25;
    CHECK_INT(wf_opt_step_grad(o, g), WF_OK);
    CHECK(x[0] == 0.25);
    CHECK_INT(wf_opt_step_grad(o, g), WF_ERROR_ARGUMENT); /* a negative rate */
    CHECK(x[0] == 0.25 && wf_opt_steps(o) == 2);
    CHECK_STR_HAS(wf_opt_report(o)->text, "rate of step 2 is -1");
    wf_arena_free(f.A);
}

WF_TEST(clipping_keeps_the_direction)
{
    enum { M = 1003 };
    static double g[1024], x0[M];
    static float h[1024];
    flat f = flat_make(WF_F64, M);
    wf_opt_desc d = { 0 };
    d.method = WF_OPT_SGD;
    d.rate = 1;
    d.beta1 = -1;
    d.clip = 2.5;
    wf_opt *o = wf_opt_new(f.A, f.P, &d);
    double *x = (double *)wf_params_data(f.P);
    for (int scale = -2; scale <= 2; scale++) {
        long double sum = 0;
        for (int i = 0; i < M; i++) { g[i] = pow(10, scale) * wf_normal_at(3, (uint64_t)i, 0, 0, 0); sum += (long double)g[i] * g[i]; x0[i] = x[i]; }
        CHECK_INT(wf_opt_step_grad(o, g), WF_OK);
        double norm = (double)sqrtl(sum), c = norm + 1e-6 > 2.5 ? 2.5 / (norm + 1e-6) : 1, step = 0;
        CHECK_CLOSE(wf_opt_norm(o), norm, 1e-13 * norm); /* 1003 terms in sixteen sums: 70 roundings of 1e-16 */
        for (int i = 0; i < M; i++) { CHECK_CLOSE(x0[i] - x[i], c * g[i], 1e-15 * (fabs(x0[i]) + 1)); step += (x0[i] - x[i]) * (x0[i] - x[i]); }
        CHECK(sqrt(step) <= 2.5 * (1 + 1e-12));
    }
    wf_arena_free(f.A);
    f = flat_make(WF_F32, M); /* a gradient whose square does not fit into a float is no trouble when it is clipped */
    o = wf_opt_new(f.A, f.P, &d);
    h[7] = 1e30f;
    CHECK_INT(wf_opt_step_grad(o, h), WF_OK);
    CHECK_CLOSE(((float *)wf_params_data(f.P))[7], 1 - 2.5, 1e-6);
    wf_arena_free(f.A);
}

WF_TEST(adam_goes_one_rate_when_gradients_agree)
{
    flat f = flat_make(WF_F64, 2);
    wf_opt *o = wf_opt_new(f.A, f.P, NULL);
    double *x = (double *)wf_params_data(f.P), g[16] = { 3, -1e-4 };
    for (int k = 1; k <= 50; k++) { /* m and v are constant after their correction: each step is rate g / (|g| + eps) */
        CHECK_INT(wf_opt_step_grad(o, g), WF_OK);
        CHECK_CLOSE(x[0], 1 - 1e-3 * k * 3 / (3 + 1e-8), 1e-14 * k);
        CHECK_CLOSE(x[1], 1 + 1e-3 * k * 1e-4 / (1e-4 + 1e-8), 1e-14 * k);
    }
    wf_arena_free(f.A);
}

WF_TEST(adam_does_not_know_the_unit_of_the_loss)
{
    double last[2][2];
    for (int turn = 0; turn < 2; turn++) {
        flat f = flat_make(WF_F64, 2);
        wf_opt_desc d = { 0 };
        d.eps = 1e-30; /* the one thing with a unit */
        wf_opt *o = wf_opt_new(f.A, f.P, &d);
        double *x = (double *)wf_params_data(f.P), unit = turn ? 1024 : 1, g[16] = { 0 };
        for (int k = 0; k < 300; k++) {
            g[0] = unit * (x[0] - 0.2 + 3 * x[1] * x[1] * x[1]);
            g[1] = unit * (9 * x[0] * x[1] * x[1] + sin(k));
            CHECK_INT(wf_opt_step_grad(o, g), WF_OK);
        }
        memcpy(last[turn], x, sizeof last[turn]);
        wf_arena_free(f.A);
    }
    CHECK(last[0][0] == last[1][0] && last[0][1] == last[1][1]); /* a power of two: even the roundings are the same */
}

WF_TEST(decay_is_a_half_life)
{
    for (int type = WF_F32; type <= WF_F64; type++)
        for (int method = WF_OPT_ADAM; method <= WF_OPT_SGD; method++) {
            flat f = flat_make(type, 5);
            wf_opt_desc d = { 0 };
            d.method = method;
            d.rate = 0.25;
            d.decay = 0.5;
            wf_opt *o = wf_opt_new(f.A, f.P, &d);
            double none[16] = { 0 };
            for (int k = 0; k < 40; k++) CHECK_INT(wf_opt_step_grad(o, none), WF_OK);
            double want = pow(1 - 0.125, 40);
            for (size_t i = 0; i < 5; i++) CHECK_CLOSE(wf__get(wf_params_data(f.P), type, i), want, want * 40 * (type ? 2e-16 : 6e-8)); /* a rounding a step */
            wf_arena_free(f.A);
        }
}

WF_TEST(the_average_is_a_weighted_mean)
{
    for (int type = WF_F32; type <= WF_F64; type++) {
        enum { M = 700, K = 60 }; /* more than a chunk */
        static double path[K][M];
        flat f = flat_make(type, M);
        wf_opt_desc d = { 0 };
        d.rate = 0.1;
        d.ema = 0.9;
        wf_opt *o = wf_opt_new(f.A, f.P, &d);
        char g[704 * 8];
        void *x = wf_params_data(f.P);
        double tol = type ? 1e-14 : 2e-5; /* sums of 60 roundings of numbers up to 7, weighted: 10 of them count */
        for (int k = 0; k < K; k++) {
            for (size_t i = 0; i < M; i++) wf__put_value(g, type, i, sin((double)i * 0.1 + k));
            CHECK_INT(wf_opt_step_grad(o, g), WF_OK);
            for (size_t i = 0; i < M; i++) path[k][i] = wf__get(x, type, i);
            if (k > 1 && k < K - 1) continue;
            CHECK_INT(wf_opt_swap(o), WF_OK);
            CHECK_INT(wf_opt_step_grad(o, g), WF_ERROR_ARGUMENT);
            CHECK_STR_HAS(wf_opt_report(o)->text, "swap it back");
            for (size_t i = 0; i < M; i++) {
                double sum = 0, weight = 0, w = 1;
                for (int j = k; j >= 0; j--, w *= 0.9) { sum += w * path[j][i]; weight += w; }
                CHECK_CLOSE(wf__get(x, type, i), sum / weight, tol);
            }
            CHECK_INT(wf_opt_swap(o), WF_OK);
            for (size_t i = 0; i < M; i++) CHECK(wf__get(x, type, i) == path[k][i]);
        }
        wf_arena_free(f.A);
    }
    flat f = flat_make(WF_F32, 2);
    wf_opt *o = wf_opt_new(f.A, f.P, NULL);
    CHECK_INT(wf_opt_swap(o), WF_ERROR_ARGUMENT);
    wf_arena_free(f.A);
}

/* ---- parts of a model ---- */

static wf_params *three_entries(wf_arena *A, int type)
{
    wf_params *P = wf_params_new(A, 9, type);
    int a = 20, b[2] = { 3, 5 }, c = 1;
    (void)wf_params_add(P, "enc/w", 1, &a, WF_INIT_NORMAL, 1);
    (void)wf_params_add(P, "dec/w", 2, b, WF_INIT_NORMAL, 1);
    (void)wf_params_add(P, "dec/scale", 0, &c, WF_INIT_CONSTANT, 2);
    return P;
}

static void fill(void *g, int type, size_t n, double phase)
{
    for (size_t i = 0; i < n; i++) wf__put_value(g, type, i, sin(phase + (double)i));
}

WF_TEST(frozen_parameters_stay)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = three_entries(A, WF_F64), *Q = three_entries(A, WF_F64);
    double g[64], before[20], after[20], w[15], w2[15];
    wf_opt_desc d = { 0 };
    d.only = "dec/";
    d.decay = 0.1;
    d.ema = 0.5;
    wf_opt *o = wf_opt_new(A, P, &d);
    fill(g, WF_F64, 64, 1);
    g[0] = NAN; /* of a frozen parameter: nobody looks */
    wf_params_get(P, "enc/w", before, 20);
    for (int k = 0; k < 7; k++) CHECK_INT(wf_opt_step_grad(o, g), WF_OK);
    double norm = g[48] * g[48];
    for (int i = 32; i < 47; i++) norm += g[i] * g[i];
    CHECK_CLOSE(wf_opt_norm(o), sqrt(norm), 1e-14);
    CHECK_INT(wf_opt_swap(o), WF_OK);
    wf_params_get(P, "enc/w", after, 20);
    CHECK(!memcmp(before, after, sizeof before)); /* the average of what never moved is itself */
    CHECK_INT(wf_opt_swap(o), WF_OK);
    wf_params_get(P, "enc/w", after, 20);
    CHECK(!memcmp(before, after, sizeof before));
    CHECK_INT(wf_opt_freeze(o, "nothing", 1), WF_ERROR_NAME);
    CHECK_STR_HAS(wf_opt_report(o)->text, "nothing");
    /* thawed late, a parameter walks as if training had just begun */
    CHECK_INT(wf_opt_freeze(o, "enc/", 0), WF_OK);
    CHECK_INT(wf_opt_freeze(o, "dec/", 1), WF_OK);
    g[0] = 0.5;
    d.only = NULL;
    wf_opt *fresh = wf_opt_new(A, Q, &d);
    wf_params_get(P, "dec/w", w, 15);
    for (int k = 0; k < 3; k++) { CHECK_INT(wf_opt_step_grad(o, g), WF_OK); CHECK_INT(wf_opt_step_grad(fresh, g), WF_OK); }
    CHECK(!memcmp(wf_params_data(P), wf_params_data(Q), 20 * sizeof(double)));
    wf_params_get(P, "dec/w", w2, 15);
    CHECK(!memcmp(w, w2, sizeof w));
    /* restarted, it is new again */
    wf_opt_restart(o);
    CHECK_INT(wf_opt_freeze(o, NULL, 0), WF_OK);
    CHECK(wf_opt_steps(o) == 0);
    memcpy(wf_params_data(Q), wf_params_data(P), wf_params_size(P) * sizeof(double));
    fresh = wf_opt_new(A, Q, &d);
    for (int k = 0; k < 3; k++) { CHECK_INT(wf_opt_step_grad(o, g), WF_OK); CHECK_INT(wf_opt_step_grad(fresh, g), WF_OK); }
    CHECK(!memcmp(wf_params_data(P), wf_params_data(Q), wf_params_size(P) * sizeof(double)));
    wf_arena_free(A);
}

WF_TEST(a_bad_gradient_changes_nothing)
{
    static const double bad[] = { NAN, INFINITY, -INFINITY, 1e25 };
    for (int type = WF_F32; type <= WF_F64; type++)
        for (int method = WF_OPT_ADAM; method <= WF_OPT_SGD; method++)
            for (int b = 0; b < 4; b++) {
                wf_arena *A = wf_arena_new(NULL);
                wf_params *P = three_entries(A, type), *Q = three_entries(A, type);
                wf_opt_desc d = { 0 };
                d.method = method;
                d.ema = 0.9;
                wf_opt *o = wf_opt_new(A, P, &d), *calm = wf_opt_new(A, Q, &d);
                double g[64];
                size_t bytes = wf_params_size(P) * wf__type_size(type);
                for (int k = 0; k < 6; k++) {
                    fill(g, type, 64, k);
                    wf__put_value(g, type, 25, NAN); /* between two entries */
                    CHECK_INT(wf_opt_step_grad(calm, g), WF_OK);
                    if (k == 3) {
                        double good = wf__get(g, type, 46);
                        wf__put_value(g, type, 46, b == 3 && type == WF_F64 ? 1e200 : bad[b]);
                        CHECK_INT(wf_opt_step_grad(o, g), WF_ERROR_NUMERIC);
                        CHECK_STR_HAS(wf_opt_report(o)->text, "dec/w");
                        CHECK_STR_HAS(wf_opt_report(o)->text, b == 0 ? "nan" : b == 1 ? "inf" : b == 2 ? "-inf" : "too large");
                        CHECK_STR_HAS(wf_opt_report(o)->text, b < 3 ? "element 14 " : "after 3 steps");
                        CHECK(wf_opt_steps(o) == 3);
                        wf__put_value(g, type, 46, good);
                    }
                    CHECK_INT(wf_opt_step_grad(o, g), WF_OK);
                    CHECK(wf_opt_report(o)->code == WF_OK);
                    CHECK(!memcmp(wf_params_data(P), wf_params_data(Q), bytes));
                }
                wf_opt_swap(o);
                wf_opt_swap(calm);
                CHECK(!memcmp(wf_params_data(P), wf_params_data(Q), bytes));
                wf_arena_free(A);
            }
}

WF_TEST(a_gradient_whose_norm_has_no_number)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = three_entries(A, WF_F64);
    wf_opt_desc d = { 0 };
    d.clip = 1;
    wf_opt *o = wf_opt_new(A, P, &d);
    double g[64] = { 0 };
    g[3] = 1.2e154; /* squares of 1.44e308: each is a number, their sum is not */
    g[35] = 1.25e154;
    CHECK_INT(wf_opt_step_grad(o, g), WF_ERROR_NUMERIC);
    CHECK_STR_HAS(wf_opt_report(o)->text, "dec/w is too large");
    CHECK(wf_opt_steps(o) == 0);
    wf_arena_free(A);
}

WF_TEST(settings_that_make_no_sense)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = three_entries(A, WF_F32);
    for (int i = 0; i < 21; i++) {
        wf_opt_desc d = { 0 };
        const char *part = "optimiser: ";
        switch (i) {
        case 0: d.method = 2; break;
        case 1: d.rate = -1; part = "rate is -1"; break;
        case 2: d.rate = NAN; part = "rate is nan"; break;
        case 3: d.beta1 = 1; part = "beta1"; break;
        case 4: d.beta2 = 1.5; part = "beta2"; break;
        case 5: d.eps = 1e-40; part = "eps"; break;
        case 6: d.decay = -1; part = "decay"; break;
        case 7: d.clip = INFINITY; part = "clip is inf"; break;
        case 8: d.ema = 1; part = "ema"; break;
        case 9: d.schedule = 3; break;
        case 10: d.schedule = WF_RATE_COSINE; break;
        case 11: d.schedule = WF_RATE_COSINE; d.warmup = d.steps = 10; break;
        case 12: d.schedule = WF_RATE_STEPS; break;
        case 13: d.warmup = -1; break;
        case 14: d.factor = -INFINITY; part = "factor"; break;
        case 15: d.rate_end = -0.1; part = "rate_end"; break;
        case 16: d.only = "enc/x"; part = "begins with enc/x"; break;
        case 17: d.isa = 99; part = "no "; break;
        case 18: d.beta1 = -INFINITY; part = "beta1"; break;
        case 19: d.eps = -1; part = "eps"; break;
        default: d.ema = -0.5; part = "ema"; break;
        }
        CHECK(wf_opt_new(A, P, &d) == NULL);
        CHECK_INT(wf_arena_report(A)->code, i == 16 ? WF_ERROR_NAME : i == 17 ? WF_ERROR_UNSUPPORTED : WF_ERROR_ARGUMENT);
        CHECK_STR_HAS(wf_arena_report(A)->text, part);
        wf_arena_clear(A);
    }
    CHECK(wf_opt_new(A, wf_params_new(A, 1, WF_F32), NULL) == NULL);
    CHECK_STR_HAS(wf_arena_report(A)->text, "after the graph");
    CHECK(wf_opt_new(A, NULL, NULL) == NULL && wf_opt_new(NULL, P, NULL) == NULL);
    CHECK(wf_opt_step(NULL, NULL) == WF_ERROR_ARGUMENT && wf_opt_step_grad(NULL, P) == WF_ERROR_ARGUMENT && wf_opt_swap(NULL) == WF_ERROR_ARGUMENT && wf_opt_freeze(NULL, "", 1) == WF_ERROR_ARGUMENT);
    CHECK(wf_opt_steps(NULL) == 0 && wf_opt_norm(NULL) == 0 && wf_opt_rate(NULL, 0) == 0 && wf_opt_report(NULL)->code < 0);
    wf_opt_restart(NULL);
    wf_arena_free(A);
}

WF_TEST(steps_that_make_no_sense)
{
    net a = net_make(WF_F32, 0, 1, NULL), b = net_make(WF_F32, 0, 1, NULL);
    wf_feed f[2];
    int one = 1;
    wf_opt *o = wf_opt_new(a.A, a.P, NULL);
    CHECK_INT(wf_opt_step(o, NULL), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_opt_step_grad(o, NULL), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_opt_step(o, b.ws), WF_ERROR_ARGUMENT); /* other parameters */
    CHECK_STR_HAS(wf_opt_report(o)->text, "these parameters");
    wf_plan_desc d = { 0 };
    d.out[0] = a.loss;
    wf_plan *p = wf_compile(a.A, &d);
    CHECK_INT(wf_opt_step(o, wf_ws_new(a.A, p, 1, NULL)), WF_ERROR_ARGUMENT); /* a plan without a gradient */
    CHECK_INT(wf_run(a.plan, a.ws, NULL, 0, 3), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_opt_step(o, a.ws), WF_ERROR_ARGUMENT); /* nobody looked at what wf_run said */
    CHECK_STR_HAS(wf_opt_report(o)->text, "is not fed");
    feed_data(&a, f);
    CHECK_INT(wf_run(a.plan, a.ws, f, 2, 3), WF_OK);
    CHECK_INT(wf_opt_step(o, a.ws), WF_OK);
    (void)wf_params_add(a.P, "late", 1, &one, WF_INIT_ZERO, 0);
    CHECK_INT(wf_opt_step(o, a.ws), WF_ERROR_ARGUMENT);
    CHECK_STR_HAS(wf_opt_report(o)->text, "added");
    CHECK_INT(wf_opt_swap(o), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_opt_save(o, wf_test_scratch("training_none.tmp"), NULL, 0), WF_ERROR_ARGUMENT);
    wf_arena_free(a.A);
    wf_arena_free(b.A);
}

/* ---- the same bits ---- */

static double fit_bits(int type, int threads, int isa, void *bits)
{
    net n = net_make(type, 1, threads, NULL);
    wf_feed f[2];
    feed_data(&n, f);
    wf_opt_desc d = { 0 };
    d.clip = 0.5;
    d.decay = 0.01;
    d.ema = 0.95;
    d.isa = isa;
    wf_opt *o = wf_opt_new(n.A, n.P, &d);
    wf_fit_desc t = { 0 };
    wf_fit_report r;
    t.data = f;
    t.feeds = 2;
    t.samples = N;
    t.batch = 70;
    t.epochs = 12;
    CHECK_INT(wf_fit(o, n.ws, &t, &r), WF_OK);
    CHECK(r.steps == 36 && r.epochs == 12);
    memcpy(bits, wf_params_data(n.P), wf_params_size(n.P) * wf__type_size(type));
    wf_arena_free(n.A);
    return r.loss;
}

WF_TEST(the_same_bits_for_threads_and_instruction_sets)
{
    static char a[4096], b[4096];
    for (int type = WF_F32; type <= WF_F64; type++) {
        double x = fit_bits(type, 1, 0, a);
        for (int threads = 2; threads <= 7; threads += threads == 3 ? 4 : 1) CHECK(fit_bits(type, threads, 0, b) == x && !memcmp(a, b, sizeof a));
        if (wf_isa_available(WF_ISA_AVX2) && wf_isa_available(WF_ISA_AVX512)) CHECK(fit_bits(type, 2, WF_ISA_AVX2, b) == x && !memcmp(a, b, sizeof a));
        CHECK_CLOSE(fit_bits(type, 1, WF_ISA_SCALAR, b), x, type ? 1e-12 : 1e-4); /* plain C computes in double precision: near, not the same */
    }
}

/* ---- files ---- */

// region: save and resume
static void train(wf_opt *opt, const net *n, const wf_feed *data, int64_t until)
{
    wf_fit_desc fit = { 0 };
    fit.data = data;
    fit.feeds = 2;
    fit.samples = N;
    fit.batch = 64;
    fit.steps = until;
    fit.seed = 3;
    CHECK_INT(wf_fit(opt, n->ws, &fit, NULL), WF_OK);
}

static void compare_resumed(int type, const wf_opt_desc *how)
{
    const char *path = wf_test_scratch("training_resume.tmp");
    net whole = net_make(type, 1, 2, NULL), first = net_make(type, 1, 2, NULL), second = net_make(type, 1, 2, NULL);
    wf_opt *a = wf_opt_new(whole.A, whole.P, how), *b = wf_opt_new(first.A, first.P, how), *c = wf_opt_new(second.A, second.P, how);
    wf_feed data[2];
    feed_data(&whole, data);
    train(a, &whole, data, 40); /* without interruption */
    feed_data(&first, data);
    train(b, &first, data, 17); /* in the middle of an epoch of four steps */
    CHECK_INT(wf_opt_save(b, path, NULL, 0), WF_OK);
    feed_data(&second, data);
    CHECK_INT(wf_opt_load(c, path), WF_OK); /* into objects that know nothing */
    train(c, &second, data, 40);
    size_t bytes = wf_params_size(whole.P) * wf__type_size(type);
    CHECK(wf_opt_steps(c) == 40 && !memcmp(wf_params_data(whole.P), wf_params_data(second.P), bytes));
    wf_opt_swap(a);
    wf_opt_swap(c);
    CHECK(!memcmp(wf_params_data(whole.P), wf_params_data(second.P), bytes)); /* and the average */
    wf_arena_free(whole.A);
    wf_arena_free(first.A);
    wf_arena_free(second.A);
}
// end region

WF_TEST(resumed_is_uninterrupted)
{
    for (int type = WF_F32; type <= WF_F64; type++)
        for (int method = WF_OPT_ADAM; method <= WF_OPT_SGD; method++) {
            wf_opt_desc d = { 0 };
            d.method = method;
            d.decay = 0.01;
            d.clip = 1;
            d.ema = 0.9;
            d.schedule = WF_RATE_COSINE;
            d.warmup = 5;
            d.steps = 40;
            compare_resumed(type, &d);
        }
}

WF_TEST(save_and_load_parameters)
{
    const char *path = wf_test_scratch("training_model.tmp");
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = three_entries(A, WF_F32), *Q = wf_params_new(A, 77, WF_F32), *R = three_entries(A, WF_F64);
    int a = 20, b[2] = { 3, 5 }, c = 1;
    wf_tensor_note notes[] = { { "model", "three" }, { "seed", "9" } };
    CHECK_INT(wf_params_save(P, path, notes, 2), WF_OK);
    wf_tensors *t = wf_tensors_read(A, path);
    CHECK(t && t->count == 3 && !strcmp(wf_tensors_about(t, "model"), "three") && !strcmp(wf_tensors_about(t, "seed"), "9"));
    CHECK(wf_tensors_find(t, "dec/w")->nd == 2 && wf_tensors_find(t, "dec/w")->dtype == WF_DTYPE_F32 && wf_tensors_find(t, "dec/scale")->nd == 0);
    /* by name, in another order, and other names are ignored */
    (void)wf_params_add(Q, "dec/w", 2, b, WF_INIT_NORMAL, 1);
    (void)wf_params_add(Q, "enc/w", 1, &a, WF_INIT_NORMAL, 1);
    CHECK_INT(wf_params_load(Q, path), WF_OK);
    double x[20], y[20];
    wf_params_get(P, "enc/w", x, 20);
    wf_params_get(Q, "enc/w", y, 20);
    CHECK(!memcmp(x, y, sizeof x));
    /* float to double exactly, double to float rounded once */
    memset(wf_params_data(R), 0, wf_params_size(R) * 8);
    CHECK_INT(wf_params_load(R, path), WF_OK);
    wf_params_get(R, "enc/w", y, 20);
    CHECK(!memcmp(x, y, sizeof x));
    for (int i = 0; i < 20; i++) y[i] = 1.0 / (i + 3);
    wf_params_set(R, "enc/w", y, 20);
    CHECK_INT(wf_params_save(R, path, NULL, 0), WF_OK);
    CHECK_INT(wf_params_load(P, path), WF_OK);
    wf_params_get(P, "enc/w", x, 20);
    for (int i = 0; i < 20; i++) CHECK(x[i] == (double)(float)y[i]);
    /* a missing name, another shape, a number too large, half a file: an error that names it, and nothing is loaded */
    for (int turn = 0; turn < 4; turn++) {
        wf_params *S = wf_params_new(A, 5, WF_F32);
        int d[2] = { 5, 3 };
        (void)wf_params_add(S, "enc/w", 1, &a, WF_INIT_NORMAL, 1);
        (void)wf_params_add(S, turn == 0 ? "dec/v" : "dec/w", 2, turn == 1 ? d : b, WF_INIT_NORMAL, 1);
        if (turn == 2) { (void)wf_params_add(S, "dec/scale", 0, &c, WF_INIT_ZERO, 0); x[0] = 1e39; wf_params_set(R, "dec/scale", x, 1); CHECK_INT(wf_params_save(R, path, NULL, 0), WF_OK); }
        if (turn == 3) {
            size_t size;
            void *bytes = wf_file_read(A, path, &size);
            CHECK_INT(wf_file_write(A, path, bytes, size - 1), WF_OK);
        }
        double before[20], after[20];
        wf_params_get(S, "enc/w", before, 20);
        static const int codes[] = { WF_ERROR_NAME, WF_ERROR_SHAPE, WF_ERROR_NUMERIC, WF_ERROR_FORMAT };
        static const char *words[] = { "no dec/v", "dec/w is [5,3] here and [3,5]", "dec/scale", "training_model" };
        CHECK_INT(wf_params_load(S, path), codes[turn]);
        CHECK_STR_HAS(wf_arena_report(A)->text, words[turn]);
        wf_params_get(S, "enc/w", after, 20);
        CHECK(!memcmp(before, after, sizeof before));
        wf_arena_clear(A);
    }
    CHECK_INT(wf_params_load(P, "no/such/file"), WF_ERROR_IO);
    wf_arena_clear(A);
    CHECK_INT(wf_params_save(P, "no/such/folder/file", NULL, 0), WF_ERROR_IO);
    CHECK(wf_params_save(NULL, path, NULL, 0) == WF_ERROR_ARGUMENT && wf_params_load(NULL, path) == WF_ERROR_ARGUMENT && wf_params_take(NULL, t) == WF_ERROR_ARGUMENT && wf_params_store(P, NULL) == WF_ERROR_ARGUMENT);
    remove(path);
    wf_arena_free(A);
}

/* Change one array of a checkpoint; what does loading say? */
static void spoil(const char *name, const wf_array *with, int code, const char *part)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = three_entries(A, WF_F64);
    wf_opt *o = wf_opt_new(A, P, NULL);
    double g[64];
    fill(g, WF_F64, 64, 2);
    CHECK_INT(wf_opt_step_grad(o, g), WF_OK);
    wf_tensors *t = wf_tensors_new(A), *u = wf_tensors_new(A);
    CHECK_INT(wf_opt_store(o, t), WF_OK);
    for (size_t i = 0; i < t->count; i++) {
        int is = !strcmp(t->entry[i].name, name);
        if (!is || with) CHECK_INT(wf_tensors_add(u, t->entry[i].name, is ? with : &t->entry[i].array), WF_OK);
    }
    wf_params *Q = three_entries(A, WF_F64);
    wf_opt_desc d = { 0 };
    if (name[0] == '-') d.method = WF_OPT_SGD;
    if (name[0] == '+') d.ema = 0.9;
    wf_opt *q = wf_opt_new(A, Q, &d);
    CHECK_INT(wf_opt_take(q, u), code);
    CHECK_STR_HAS(wf_arena_report(A)->text, part);
    if (code < 0) CHECK(wf_opt_steps(q) == 0 && memcmp(wf_params_data(P), wf_params_data(Q), 20 * sizeof(double)) != 0);
    wf_arena_free(A);
}

WF_TEST(spoiled_checkpoints)
{
    int64_t steps = -1, many = INT64_MAX;
    double half = 0.5, row[15] = { 0 };
    size_t five[2] = { 5, 3 }, huge[2] = { (size_t)1 << 40, 0 };
    wf_array minus = wf_array_of(&steps, WF_DTYPE_I64, 0, NULL), fraction = wf_array_of(&half, WF_DTYPE_F64, 0, NULL), wrong = wf_array_of(row, WF_DTYPE_F64, 2, five);
    wf_array most = wf_array_of(&many, WF_DTYPE_I64, 0, NULL), empty = wf_array_of(row, WF_DTYPE_F64, 2, huge);
    spoil("nothing", NULL, WF_OK, "");
    spoil("opt.steps", NULL, WF_ERROR_NAME, "no opt.steps");
    spoil("opt.steps", &minus, WF_ERROR_FORMAT, "opt.steps");
    spoil("opt.steps", &fraction, WF_ERROR_FORMAT, "opt.steps");
    spoil("opt.steps", &wrong, WF_ERROR_SHAPE, "opt.steps is [] here and [5,3]");
    spoil("opt.steps/dec/w", &minus, WF_ERROR_FORMAT, "opt.steps/dec/w");
    spoil("opt.steps/dec/w", &most, WF_OK, "");
    spoil("dec/w", NULL, WF_ERROR_NAME, "no dec/w");
    spoil("opt.adam.m/enc/w", NULL, WF_ERROR_NAME, "opt.adam.m/enc/w");
    spoil("opt.adam.v/dec/w", &wrong, WF_ERROR_SHAPE, "opt.adam.v/dec/w is [3,5]");
    spoil("opt.adam.v/dec/w", &empty, WF_ERROR_SHAPE, "[2147483647,0]");
    spoil("-", NULL, WF_ERROR_NAME, "opt.sgd.m/");
    spoil("+", NULL, WF_ERROR_NAME, "opt.ema/");
}

WF_TEST(a_checkpoint_is_a_model)
{
    const char *path = wf_test_scratch("training_both.tmp");
    net n = net_make(WF_F32, 0, 1, NULL), m = net_make(WF_F64, 0, 1, NULL);
    wf_feed f[2];
    feed_data(&n, f);
    wf_opt_desc d = { 0 };
    d.ema = 0.9;
    wf_opt *o = wf_opt_new(n.A, n.P, &d);
    train(o, &n, f, 5);
    wf_tensor_note note = { "kind", "test" };
    CHECK_INT(wf_opt_save(o, path, &note, 1), WF_OK);
    CHECK_INT(wf_params_load(m.P, path), WF_OK);
    CHECK((double)((float *)wf_params_data(n.P))[3] == ((double *)wf_params_data(m.P))[3]);
    wf_opt *q = wf_opt_new(m.A, m.P, &d); /* a training may go on in the other precision */
    CHECK_INT(wf_opt_load(q, path), WF_OK);
    CHECK(wf_opt_steps(q) == 5 && ((double *)(void *)q->v)[3] == (double)((float *)(void *)o->v)[3] && q->part[1].steps == 5);
    CHECK_INT(wf_opt_swap(o), WF_OK);
    CHECK_INT(wf_opt_save(o, path, NULL, 0), WF_ERROR_ARGUMENT); /* which are the parameters? */
    CHECK(wf_opt_save(NULL, path, NULL, 0) == WF_ERROR_ARGUMENT && wf_opt_load(NULL, path) == WF_ERROR_ARGUMENT && wf_opt_take(o, NULL) == WF_ERROR_ARGUMENT && wf_opt_store(NULL, NULL) == WF_ERROR_ARGUMENT);
    remove(path);
    wf_arena_free(n.A);
    wf_arena_free(m.A);
}

/* ---- memory ---- */

WF_TEST(every_failing_allocation)
{
    const char *path = wf_test_scratch("training_memory.tmp");
    net n = net_make(WF_F32, 0, 1, NULL);
    wf_feed f[2];
    feed_data(&n, f);
    wf_opt_desc d = { 0 };
    d.ema = 0.9;
    wf_fit_desc t = { 0 };
    t.data = f;
    t.feeds = 2;
    t.samples = N;
    t.steps = 3;
    t.batch = 150;
    t.check = n.ws;
    t.check_data = f;
    t.check_feeds = 2;
    t.check_samples = N;
    int big = 60000, failed = 0, done = 0;
    for (int k = 1; k < 60 && !done; k++) {
        wf_test_memory memory = { 0, 0, 0, 0, 0 };
        wf_allocator a = { wf_test_alloc, wf_test_free, NULL };
        a.user = &memory;
        wf_arena *A = wf_arena_new(&a);
        wf_params *P = wf_params_new(A, 5, WF_F32);
        (void)wf_params_add(P, "big", 1, &big, WF_INIT_NORMAL, 1);
        memory.fail_at = memory.calls + k;
        double before = wf__get(wf_params_data(P), WF_F32, 7);
        wf_opt *o = wf_opt_new(A, P, &d);
        wf_mark mark = wf_arena_mark(A), now;
        wf_result r = o ? wf_opt_save(o, path, NULL, 0) : WF_ERROR_MEMORY;
        if (r == WF_OK) r = wf_opt_load(o, path);
        if (r == WF_OK) r = wf_params_save(P, path, NULL, 0);
        if (r == WF_OK) r = wf_params_load(P, path);
        now = wf_arena_mark(A);
        CHECK(now.block == mark.block && now.used == mark.used); /* failed or not: memory for the moment */
        CHECK(wf__get(wf_params_data(P), WF_F32, 7) == before);
        if (r != WF_OK) { failed++; CHECK_INT(r, WF_ERROR_MEMORY); CHECK_INT(wf_arena_report(A)->code, WF_ERROR_MEMORY); }
        else done = memory.calls < memory.fail_at;
        wf_arena_free(A);
        CHECK_INT(memory.live, 0);
    }
    CHECK(done && failed > 4);
    /* the loop: memory at its first call, and never again */
    static char buffer[65536];
    wf_arena *B = wf_arena_from(buffer, sizeof buffer);
    wf_opt *o = wf_opt_new(B, n.P, &d);
    while (B->block->size - B->block->used > 2048) (void)wf_alloc(B, 1, 1);
    CHECK_INT(wf_fit(o, n.ws, &t, NULL), WF_ERROR_MEMORY);
    CHECK_STR_HAS(wf_opt_report(o)->text, "fit: no room");
    CHECK(wf_opt_steps(o) == 0);
    wf_test_memory memory = { 0, 0, 0, 0, 0 };
    wf_allocator a = { wf_test_alloc, wf_test_free, NULL };
    a.user = &memory;
    B = wf_arena_new(&a);
    o = wf_opt_new(B, n.P, &d);
    CHECK_INT(wf_fit(o, n.ws, &t, NULL), WF_OK);
    while (B->block->size - B->block->used > 0) (void)wf_alloc(B, 1, 1); /* from here on every allocation asks */
    long calls = memory.calls;
    t.steps = 9;
    CHECK_INT(wf_fit(o, n.ws, &t, NULL), WF_OK);
    for (int i = 0; i < 5; i++) { CHECK_INT(wf_opt_step(o, n.ws), WF_OK); CHECK_INT(wf_opt_swap(o), WF_OK); CHECK_INT(wf_opt_swap(o), WF_OK); }
    CHECK(memory.calls == calls && B->block->size - B->block->used == 0);
    wf_arena_free(B);
    remove(path);
    wf_arena_free(n.A);
}

/* ---- the loop ---- */

/* The loss is the mean of the data: it tells which samples a minibatch held. The parameter is along for the ride. */
typedef struct spy { net n; wf_opt *o; wf_fit_report r; double sum[64]; int calls, stop; } spy;

static int spy_look(void *user, const char *what, double done, double total)
{
    spy *s = (spy *)user;
    CHECK(!strcmp(what, "train") && done == (double)s->r.steps && total >= done);
    if (s->calls < 64) s->sum[s->calls] = s->r.loss;
    return ++s->calls == s->stop;
}

static void spy_make(spy *s)
{
    int one = 1;
    memset(s, 0, sizeof *s);
    net *n = &s->n;
    n->A = wf_arena_new(NULL);
    n->P = wf_params_new(n->A, 1, WF_F64);
    n->g = wf_graph_new(n->A, n->P);
    n->x = wf_input(n->g, "x", 1);
    n->y = wf_input_nd(n->g, "scalar", 0, &one);
    n->u = wf_shared_nd(n->g, "shared", 1, &one);
    n->loss = wf_add(wf_mean(wf_add(n->x, wf_reshape(n->y, 1, &one))), wf_shift(wf_sum(n->u), -2)); /* the shared input is 2 */
    n->loss = wf_add(n->loss, wf_sumsq(wf_mul(n->u, wf_param(n->g, "w", 1, &one, WF_INIT_ZERO, 0))));
    wf_plan_desc d = { 0 };
    d.out[0] = d.grad_of = n->loss;
    d.type = WF_F64;
    n->plan = wf_compile(n->A, &d);
    n->ws = wf_ws_new(n->A, n->plan, 1, NULL);
    s->o = wf_opt_new(n->A, n->P, NULL);
}

WF_TEST(an_epoch_is_every_sample_once)
{
    enum { M = 11 };
    double x[M][3], y[M], shared = 2, seen[4][8];
    for (int i = 0; i < M; i++) { x[i][0] = pow(4, i); x[i][1] = x[i][2] = NAN; y[i] = pow(4, i) * 2; } /* rows 3 apart; digits of base 4 */
    for (int turn = 0; turn < 4; turn++) { /* the same twice, another seed, everything at once */
        spy s;
        spy_make(&s);
        wf_feed f[3];
        f[0] = wf_in(s.n.x, x, 3);
        f[1] = wf_in(s.n.u, &shared, 0);
        f[2] = wf_in(s.n.y, y, 0);
        wf_fit_desc t = { 0 };
        t.data = f;
        t.feeds = 3;
        t.samples = M;
        t.batch = turn == 3 ? 0 : 3;
        t.epochs = 2;
        t.seed = turn == 2 ? 6 : 5;
        t.progress = spy_look;
        t.user = &s;
        CHECK_INT(wf_fit(s.o, s.n.ws, &t, &s.r), WF_OK);
        if (turn == 3) { CHECK(s.calls == 2); CHECK_CLOSE(s.sum[0], 4194303.0 / 11, 1e-9); CHECK(s.sum[1] == s.sum[0]); wf_arena_free(s.n.A); continue; }
        CHECK_INT(s.calls, 8); /* 11 samples in 4 minibatches: 2, 3, 3, 3 */
        CHECK(s.r.epochs == 2 && s.r.best == s.sum[s.r.best_step]);
        for (int e = 0; e < 2; e++) {
            double total = 0;
            for (int b = 0; b < 4; b++) {
                int count = b ? 3 : 2, digits = 0;
                double sum = seen[turn][e * 4 + b] = s.sum[e * 4 + b] * count;
                total += sum;
                long long whole = llround(sum);
                for (; whole; whole /= 4) { CHECK(whole % 4 == 0 || whole % 4 == 3); digits += whole % 4 == 3; } /* x and y of one sample together: 1 + 2 */
                CHECK_INT(digits, count);
            }
            CHECK_CLOSE(total, 4194303.0, 1e-6); /* 3 (4^11 - 1) / 3 */
        }
        wf_arena_free(s.n.A);
    }
    CHECK(!memcmp(seen[0], seen[1], sizeof seen[0]) && memcmp(seen[0], seen[2], sizeof seen[0]) && memcmp(seen[0], seen[0] + 4, sizeof seen[0] / 2));
}

WF_TEST(noise_belongs_to_seed_and_step)
{
    double losses[3][4], x[2] = { 0 };
    for (int turn = 0; turn < 3; turn++) {
        spy s;
        int one = 1;
        spy_make(&s);
        wf_plan_desc d = { 0 };
        d.out[0] = d.grad_of = wf_add(wf_mean(wf_add(s.n.x, wf_normal(s.n.g, 1, &one, 3))), wf_sumsq(wf_param(s.n.g, "w", 1, &one, WF_INIT_ZERO, 0)));
        d.type = WF_F64;
        wf_ws *ws = wf_ws_new(s.n.A, wf_compile(s.n.A, &d), 1, NULL);
        wf_feed f = wf_in(s.n.x, x, 0);
        wf_fit_desc t = { 0 };
        t.data = &f;
        t.feeds = 1;
        t.samples = 2;
        t.steps = 4;
        t.seed = turn == 2 ? 8 : 9;
        t.progress = spy_look;
        t.user = &s;
        CHECK_INT(wf_fit(s.o, ws, &t, &s.r), WF_OK);
        memcpy(losses[turn], s.sum, sizeof losses[turn]);
        wf_arena_free(s.n.A);
    }
    CHECK(losses[0][0] != losses[0][1] && losses[0][1] != losses[0][2] && losses[0][0] != losses[2][0]);
    CHECK(!memcmp(losses[0], losses[1], sizeof losses[0]));
}

WF_TEST(cancelled_and_continued)
{
    for (int stop = 1; stop <= 8; stop += 3) {
        net a = net_make(WF_F32, 1, 1, NULL), b = net_make(WF_F32, 1, 1, NULL);
        wf_feed f[2];
        spy s;
        wf_opt *o = wf_opt_new(a.A, a.P, NULL);
        memset(&s, 0, sizeof s);
        s.o = wf_opt_new(b.A, b.P, NULL);
        s.stop = stop;
        feed_data(&a, f);
        train(o, &a, f, 9);
        feed_data(&b, f);
        wf_fit_desc t = { 0 };
        t.data = f;
        t.feeds = 2;
        t.samples = N;
        t.batch = 64;
        t.steps = 9;
        t.epochs = 100;
        t.seed = 3;
        t.progress = spy_look;
        t.user = &s;
        t.check = b.ws;
        t.check_data = f;
        t.check_feeds = 2;
        t.check_samples = N;
        t.check_every = 100; /* only at the end */
        CHECK_INT(wf_fit(s.o, b.ws, &t, &s.r), WF_CANCELLED);
        CHECK(s.r.steps == stop && wf_opt_steps(s.o) == stop);
        CHECK_INT(wf_fit(s.o, b.ws, &t, &s.r), WF_OK);
        CHECK(s.calls == 9 && s.r.steps == 9 && s.r.best_step == 9);
        CHECK(!memcmp(wf_params_data(a.P), wf_params_data(b.P), wf_params_size(a.P) * sizeof(float)));
        CHECK_INT(wf_fit(s.o, b.ws, &t, &s.r), WF_OK); /* there is nothing left to do */
        CHECK(s.calls == 9 && s.r.steps == 9);
        wf_arena_free(a.A);
        wf_arena_free(b.A);
    }
}

/* Solve the normal equations of y = w x + b in double precision, by elimination. */
static void least_squares(double *w)
{
    double a[4][5] = { { 0 } };
    for (int i = 0; i < N; i++) {
        double row[5] = { wide_x[i][0], wide_x[i][1], wide_x[i][2], 1, wide_y[i] };
        for (int j = 0; j < 4; j++) for (int k = 0; k < 5; k++) a[j][k] += row[j] * row[k];
    }
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < 4; i++) {
            double c = a[i][j] / a[j][j];
            for (int k = j; i != j && k < 5; k++) a[i][k] -= c * a[j][k];
        }
    for (int j = 0; j < 4; j++) w[j] = a[j][4] / a[j][j];
}

static net line_make(int type)
{
    net n;
    int d[2] = { 1, 3 };
    memset(&n, 0, sizeof n);
    n.A = wf_arena_new(NULL);
    n.P = wf_params_new(n.A, 5, type);
    n.g = wf_graph_new(n.A, n.P);
    n.x = wf_input(n.g, "x", 3);
    n.y = wf_input(n.g, "y", 1);
    n.u = wf_add(wf_matmul(wf_param(n.g, "w", 2, d, WF_INIT_NORMAL, 1), n.x), wf_param(n.g, "b", 1, d, WF_INIT_ZERO, 0));
    n.loss = wf_mean(wf_square(wf_sub(n.u, n.y)));
    wf_plan_desc p = { 0 };
    p.out[0] = p.grad_of = n.loss;
    p.type = type;
    n.plan = wf_compile(n.A, &p);
    n.ws = wf_ws_new(n.A, n.plan, 1, NULL);
    return n;
}

WF_TEST(fit_reaches_least_squares)
{
    for (int turn = 0; turn < 3; turn++) {
        net n = line_make(turn == 2 ? WF_F32 : WF_F64);
        wf_feed f[2];
        double w[4], got[4];
        feed_data(&n, f);
        least_squares(w);
        wf_opt_desc d = { 0 };
        d.method = turn ? WF_OPT_ADAM : WF_OPT_SGD;
        d.rate = 0.1;
        if (turn) { d.schedule = WF_RATE_COSINE; d.steps = 1600; }
        if (turn == 2) { d.ema = 0.99; d.rate = 0.02; }
        wf_opt *o = wf_opt_new(n.A, n.P, &d);
        wf_fit_desc t = { 0 };
        t.data = f;
        t.feeds = 2;
        t.samples = N;
        t.batch = turn == 2 ? 50 : 0;
        t.steps = turn ? 1600 : 400;
        CHECK_INT(wf_fit(o, n.ws, &t, NULL), WF_OK);
        if (turn == 2) CHECK_INT(wf_opt_swap(o), WF_OK);
        wf_params_get(n.P, "w", got, 3);
        wf_params_get(n.P, "b", got + 3, 1);
        /* whole data: momentum 0.9 shrinks the error by at least sqrt(0.9) a step, to 1e-9 in 400; Adam's last steps of the cosine are below 1e-6. Minibatches of 50: the slope at the solution has a noise of
           2 sd / sqrt(50), about 0.3; steps of at most 1e-4 in the last hundred, averaged */
        for (int j = 0; j < 4; j++) CHECK_CLOSE(got[j], w[j], turn == 0 ? 1e-7 : turn == 1 ? 1e-5 : 1e-2);
        wf_arena_free(n.A);
    }
}

WF_TEST(the_best_parameters_are_kept)
{
    for (int average = 0; average < 2; average++) {
        net n = line_make(WF_F64);
        double x[2][3] = { { 0 } }, y[2] = { 10, 3 }, w[3] = { 0 }, b, loss; /* training pulls the offset to 10; validation likes 3 best */
        wf_params_set(n.P, "w", w, 3);
        wf_feed f[2], c[3];
        f[0] = wf_in(n.x, x, 0);
        f[1] = wf_in(n.y, y, 0);
        c[0] = f[0];
        c[1] = wf_in(n.y, y + 1, 0);
        c[2] = wf_out(n.loss, &loss, 0);
        wf_opt_desc d = { 0 };
        d.rate = 0.04;
        d.ema = average ? 0.5 : 0;
        wf_opt *o = wf_opt_new(n.A, n.P, &d);
        wf_ws *check = wf_ws_new(n.A, n.plan, 1, NULL);
        wf_fit_desc t = { 0 };
        wf_fit_report r;
        t.data = f;
        t.feeds = 2;
        t.samples = 1;
        t.steps = 1000;
        t.check = check;
        t.check_data = c;
        t.check_feeds = 2;
        t.check_samples = 1;
        t.check_every = 5;
        t.patience = 4;
        CHECK_INT(wf_fit(o, n.ws, &t, &r), WF_OK);
        wf_params_get(n.P, "b", &b, 1);
        CHECK_CLOSE(b, 3, 5 * 0.04); /* the nearest of the validations, five steps of the rate apart */
        CHECK(r.stopped && r.best_step % 5 == 0 && r.steps == r.best_step + 20 && r.best == (b - 3) * (b - 3));
        CHECK_INT(wf_run(n.plan, check, c, 3, 1), WF_OK);
        CHECK(loss == r.best);
        /* cancelled beyond the best, it stays where it is, to go on from there */
        spy s;
        memset(&s, 0, sizeof s);
        s.stop = 60;
        t.progress = spy_look;
        t.user = &s;
        t.patience = 0;
        CHECK_INT(wf_fit(o, n.ws, &t, &s.r), WF_CANCELLED);
        wf_params_get(n.P, "b", &b, 1);
        CHECK(b > 4 && s.r.best < 1);
        /* a validation that is not finite is not a better one */
        y[1] = 1e200;
        t.progress = NULL;
        t.patience = 4;
        CHECK_INT(wf_fit(o, n.ws, &t, &r), WF_OK);
        CHECK(r.stopped && r.best == HUGE_VAL && r.best_step == 0);
        wf_arena_free(n.A);
    }
}

WF_TEST(fits_that_make_no_sense)
{
    for (int i = 0; i < 13; i++) {
        net n = line_make(WF_F64);
        wf_feed f[2];
        feed_data(&n, f);
        wf_opt_desc od = { 0 };
        od.ema = 0.5;
        wf_opt *o = wf_opt_new(n.A, n.P, &od);
        double w[4], w2[4];
        wf_plan_desc p = { 0 };
        wf_fit_desc t = { 0 };
        int code = WF_ERROR_ARGUMENT;
        const char *part = "";
        t.data = f;
        t.feeds = 2;
        t.samples = N;
        t.steps = 5;
        t.check_data = f;
        t.check_feeds = 2;
        t.check_samples = N;
        p.out[0] = n.u;
        p.grad_of = n.loss;
        p.type = WF_F64;
        wf_ws *ws = n.ws, *sample = wf_ws_new(n.A, wf_compile(n.A, &p), 1, NULL);
        switch (i) {
        case 0: t.samples = 0; code = WF_ERROR_DATA; part = "zero samples"; break;
        case 1: t.steps = 0; part = "0 steps"; break;
        case 2: t.steps = -3; t.epochs = 1; part = "-3 steps"; break;
        case 3: t.samples = (size_t)1 << 31; code = WF_ERROR_LIMIT; part = "too many"; break;
        case 4: ws = sample; code = WF_ERROR_SHAPE; part = "first output"; break;
        case 5: t.check = sample; code = WF_ERROR_SHAPE; part = "first output"; break;
        case 6: t.feeds = 1; part = "input y is not fed"; break;
        case 7: t.check = n.ws; t.check_feeds = 1; t.check_every = 1; part = "validation: run: input y"; break;
        case 8: wide_y[17] = NAN; code = WF_ERROR_NUMERIC; part = "fit: step 0"; break;
        case 9: t.check = n.ws; t.check_samples = 0; code = WF_ERROR_DATA; break;
        case 10: (void)wf_opt_swap(o); part = "swap it back"; break;
        case 11: f[1].in = NULL; t.batch = N / 3; part = "feed 1 has no data"; break;
        default: t.feeds = -1; break;
        }
        memcpy(w, wf_params_data(n.P), sizeof w);
        wf_fit_report r;
        CHECK_INT(wf_fit(o, ws, &t, &r), code);
        CHECK_INT(wf_opt_report(o)->code, code);
        CHECK_STR_HAS(wf_opt_report(o)->text, part);
        memcpy(w2, wf_params_data(n.P), sizeof w);
        CHECK(i == 7 || (!memcmp(w, w2, sizeof w) && wf_opt_steps(o) == 0));
        wf_arena_free(n.A);
    }
    CHECK(wf_fit(NULL, NULL, NULL, NULL) == WF_ERROR_ARGUMENT);
}

WF_MAIN_CASES(WF_CASE(train_step_by_step), WF_CASE(fit_a_data_set), WF_CASE(a_narrow_valley), WF_CASE(the_oracle_in_double_precision), WF_CASE(the_oracle_in_single_precision), WF_CASE(schedules),
              WF_CASE(a_schedule_of_ones_own), WF_CASE(clipping_keeps_the_direction), WF_CASE(adam_goes_one_rate_when_gradients_agree), WF_CASE(adam_does_not_know_the_unit_of_the_loss),
              WF_CASE(decay_is_a_half_life), WF_CASE(the_average_is_a_weighted_mean), WF_CASE(frozen_parameters_stay), WF_CASE(a_bad_gradient_changes_nothing), WF_CASE(a_gradient_whose_norm_has_no_number), WF_CASE(settings_that_make_no_sense),
              WF_CASE(steps_that_make_no_sense), WF_CASE(the_same_bits_for_threads_and_instruction_sets), WF_CASE(resumed_is_uninterrupted), WF_CASE(save_and_load_parameters), WF_CASE(spoiled_checkpoints),
              WF_CASE(a_checkpoint_is_a_model), WF_CASE(every_failing_allocation), WF_CASE(an_epoch_is_every_sample_once), WF_CASE(noise_belongs_to_seed_and_step), WF_CASE(cancelled_and_continued), WF_CASE(fit_reaches_least_squares),
              WF_CASE(the_best_parameters_are_kept), WF_CASE(fits_that_make_no_sense))
