/* Solvers: the reference cases, orders, conservation, adjoints, policies, misuse. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"
#include "wf_reference.h"
#include <complex.h>

/* ---- the examples of the chapter ---- */

// region: a pendulum and the energy that it loses
static void pendulum(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user)
{
    wf_t angle = wf_slice(y[0], 0, 0, 1), speed = wf_slice(y[0], 0, 1, 1), friction = with[0];
    wf_t both[2] = { speed, wf_sub(wf_neg(wf_sin(angle)), wf_mul(friction, speed)) };
    dy[0] = wf_concat(both, 2, 0);
    dy[1] = wf_mul(friction, wf_square(speed)); /* what friction takes away */
    (void)t, (void)user;
}

WF_TEST(a_pendulum_and_the_energy_that_it_loses)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t state[2], path[2];
    state[0] = wf_input(g, "start", 2);
    state[1] = wf_full(g, 1, (int[]){ 1 }, 0);
    wf_field_desc field = { .fn = pendulum, .with = { wf_input(g, "friction", 1) } };
    wf_solve_desc solve = { .method = WF_RK4, .t1 = 3, .steps = 60 };
    CHECK_INT(wf_ode_list(state, 2, &field, &solve, path), WF_OK);
    wf_t slower = wf_grad(wf_slice(state[0], 0, 1, 1), field.with[0]); /* how the speed at the end depends on friction */
    // end region
    wf_plan_desc d = { .out = { state[0], state[1], path[0], path[1], slower }, .type = WF_F64 };
    wf_plan *plan = wf_compile(A, &d);
    wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
    double start[3][2] = { { 1, 0 }, { 2.5, 0.5 }, { -0.3, 1 } }, friction[3] = { 0, 0.2, 0.5 }, end[3][2], lost[3], way[3][61][2], taken[3][61][1], slope[3];
    wf_feed f[] = { wf_in(wf_input(g, "start", 2), start, 0), wf_in(field.with[0], friction, 0), wf_out(d.out[0], end, 0), wf_out(d.out[1], lost, 0), wf_out(d.out[2], way, 0), wf_out(d.out[3], taken, 0), wf_out(slower, slope, 0) };
    CHECK_INT(wf_run(plan, ws, f, 7, 3), WF_OK);
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k <= 60; k++) {
            double energy = 0.5 * way[i][k][1] * way[i][k][1] - cos(way[i][k][0]) + taken[i][k][0];
            CHECK_CLOSE(energy, 0.5 * start[i][1] * start[i][1] - cos(start[i][0]), 2e-7); /* steps of 0.05: 0.05^4 = 6e-6 times 1/120 and the like */
        }
        CHECK(way[i][0][0] == start[i][0] && way[i][60][1] == end[i][1] && taken[i][60][0] == lost[i]);
    }
    double h = 1e-5, change[2], exact = slope[1];
    for (int sign = 0; sign < 2; sign++) {
        friction[1] = 0.2 + (sign ? h : -h);
        CHECK_INT(wf_run(plan, ws, f, 7, 3), WF_OK);
        change[sign] = end[1][1];
    }
    CHECK_CLOSE(exact, (change[1] - change[0]) / (2 * h), 1e-9); /* differences: h^2, and 1e-16 / h */
    wf_arena_free(A);
}

// region: a state that is driven by data
static void weather(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user)
{
    int matrix[2] = { 3, 2 }; /* 3 numbers in the state, 2 channels of data */
    wf_t w = wf_param(y[0].graph, "w", 2, (int[]){ 6, 3 }, WF_INIT_UNIFORM, 0.7);
    dy[0] = wf_reshape(wf_tanh(wf_matmul(w, y[0])), 2, matrix);
    (void)t, (void)with, (void)user;
}

WF_TEST(a_state_that_is_driven_by_data)
{
    static const double hours[5] = { 0, 1, 2.5, 3, 4 };
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F64);
    wf_graph *g = wf_graph_new(A, P);
    wf_t seen = wf_input_nd(g, "seen", 2, (int[]){ 5, 2 }); /* five measurements of two quantities */
    wf_control data = { .x = seen, .t = hours };
    wf_field_desc field = { .fn = weather };
    wf_solve_desc solve = { .method = WF_RK38, .times = hours, .count = 5, .steps = 8 };
    wf_t end = wf_cde(wf_full(g, 1, (int[]){ 3 }, 0.1), &field, &data, &solve);
    // end region
    wf_t loss = wf_mean(wf_square(end));
    wf_plan_desc d = { .out = { end, wf_grad(wf_sum(end), seen) }, .grad_of = loss, .type = WF_F64 };
    wf_plan *plan = wf_compile(A, &d);
    CHECK_STR_HAS(plan ? "ok" : wf_arena_report(A)->text, "ok");
    wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
    double x[2][5][2], out[2][3], grad[2][5][2];
    for (int i = 0; i < 20; i++) (&x[0][0][0])[i] = sin(i * 1.7);
    for (int k = 0; k < 5; k++) for (int c = 0; c < 2; c++) x[1][k][c] = x[0][k][c] + 5; /* the same changes: the same state */
    wf_feed f[] = { wf_in(seen, x, 0), wf_out(end, out, 0), wf_out(d.out[1], grad, 0) };
    CHECK_INT(wf_run(plan, ws, f, 3, 2), WF_OK);
    for (int i = 0; i < 3; i++) CHECK_CLOSE(out[0][i], out[1][i], 1e-13);
    for (int c = 0; c < 2; c++) {
        double sum = 0;
        for (int k = 0; k < 5; k++) sum += grad[0][k][c];
        CHECK_CLOSE(sum, 0, 1e-13); /* moving all measurements together changes nothing */
    }
    wf_arena_free(A);
}

// region: the gradient of an adaptive solution
typedef struct spring { wf_rhs *rhs; } spring;

static void damped(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user)
{
    wf_t both[2] = { wf_slice(y[0], 0, 1, 1), wf_neg(wf_add(wf_mul(with[0], wf_slice(y[0], 0, 0, 1)), wf_scale(wf_slice(y[0], 0, 1, 1), 0.1))) };
    dy[0] = wf_concat(both, 2, 0);
    (void)t, (void)user;
}

WF_TEST(the_gradient_of_an_adaptive_solution)
{
    /* First, the field as a plan, and a march with it. */
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t y = wf_input(g, "y", 2), stiffness = wf_shared_nd(g, "stiffness", 1, (int[]){ 1 }), dy;
    damped(&y, wf_const(g, 0), &stiffness, &dy, NULL);
    wf_plan *rhs_plan = wf_compile(A, &(wf_plan_desc){ .out = { dy }, .type = WF_F64 });
    double k = 4, state[2] = { 1, 0 }, times[1000];
    wf_feed feed = wf_in(stiffness, &k, 0);
    wf_rhs *rhs = wf_rhs_new(A, &(wf_rhs_desc){ .plan = rhs_plan, .ws = wf_ws_new(A, rhs_plan, 1, NULL), .y = y, .dy = dy, .feeds = &feed, .count = 1, .samples = 1 });
    wf_ode_report report;
    wf_adapt_desc adapt = { .method = WF_TSIT5, .rtol = 1e-9, .atol = 1e-9, .grid = times, .grid_room = 1000 };
    CHECK_INT(wf_ode_solve(A, wf_rhs_call, rhs, state, 2, 0, 5, &adapt, &report), WF_OK);

    /* Then the same steps as a loop. */
    wf_field_desc field = { .fn = damped, .with = { stiffness } };
    wf_t end = wf_ode(y, &field, &(wf_solve_desc){ .method = WF_TSIT5, .times = times, .count = report.accepted + 1 });
    wf_t slope = wf_grad(wf_slice(end, 0, 0, 1), stiffness);
    // end region
    wf_plan *plan = wf_compile(A, &(wf_plan_desc){ .out = { end, slope }, .type = WF_F64 });
    double start[2] = { 1, 0 }, again[2], got;
    wf_feed f[] = { wf_in(y, start, 0), feed, wf_out(end, again, 0), wf_out(slope, &got, 0) };
    CHECK_INT(wf_run(plan, wf_ws_new(A, plan, 1, NULL), f, 4, 1), WF_OK);
    double w = sqrt(k - 0.0025), a = 0.05, t = 5, e = exp(-a * t), c = cos(w * t), s = sin(w * t);
    CHECK_CLOSE(state[0], e * (c + a / w * s), 1e-7); /* some 50 steps of 1e-9 each, times the growth of errors */
    CHECK_CLOSE(again[0], state[0], 1e-13);           /* the same steps: the same numbers to rounding */
    CHECK_CLOSE(again[1], state[1], 1e-13);
    CHECK_CLOSE(got, e * (-t * s + a * t / w * c - a / (w * w) * s) / (2 * w), 1e-6);
    CHECK(report.accepted > 20 && report.accepted < 400 && times[report.accepted] == 5 && report.t == 5);
    wf_arena_free(A);
}

/* ---- reference cases ---- */

static double largest_of(const double *x, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) if (fabs(x[i]) > largest) largest = fabs(x[i]);
    return largest;
}

static void check_within(const char *what, const double *a, const double *b, size_t n, double allowed)
{
    double worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) if (!(fabs(a[i] - b[i]) <= worst)) { worst = fabs(a[i] - b[i]); at = i; }
    if (worst <= allowed) return;
    CHECK(!"close");
    printf("    %s: number %d of %d is %.17g, wanted %.17g, off by %.3g of %.3g allowed\n", what, (int)at, (int)n, a[at], b[at], worst, allowed);
}

/* All of a within tolerance times the largest of b (at least 1). */
static void check_all(const char *what, const double *a, const double *b, size_t n, double tolerance)
{
    double largest = largest_of(b, n);
    check_within(what, a, b, n, tolerance * (largest > 1 ? largest : 1));
}

/* Run a plan in either precision with arrays of doubles. `batch`: rows of inputs and outputs that live per sample. */
typedef struct port { wf_t node; double *data; int out; } port;

static void run_ports(wf_arena *A, const wf_plan_desc *desc, port *p, int n, size_t samples)
{
    wf_plan *plan = wf_compile(A, desc);
    CHECK_STR_HAS(plan ? "ok" : wf_arena_report(A)->text, "ok");
    if (!plan) { wf_arena_clear(A); return; }
    wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
    wf_feed f[24];
    size_t size[24];
    void *data[24];
    for (int i = 0; i < n; i++) {
        int d[4], nd = wf_shape(p[i].node, d);
        size[i] = wf_is_batch(p[i].node) ? samples : 1;
        for (int k = 0; k < nd; k++) size[i] *= (size_t)d[k];
        data[i] = desc->type == WF_F64 ? (void *)p[i].data : wf_alloc(A, size[i], sizeof(float));
        if (desc->type == WF_F32 && !p[i].out) for (size_t k = 0; k < size[i]; k++) ((float *)data[i])[k] = (float)p[i].data[k];
        f[i] = p[i].out ? wf_out(p[i].node, data[i], 0) : wf_in(p[i].node, data[i], 0);
    }
    wf_result r = wf_run(plan, ws, f, n, samples);
    if (r != WF_OK) printf("    run: %s\n", wf_ws_report(ws)->text);
    CHECK_INT(r, WF_OK);
    for (int i = 0; i < n; i++)
        if (p[i].out && desc->type == WF_F32) for (size_t k = 0; k < size[i]; k++) p[i].data[k] = (double)((float *)data[i])[k];
}

static double *room(wf_arena *A, size_t n) { return (double *)wf_alloc(A, n, sizeof(double)); }
static double *copied(wf_arena *A, const double *x, size_t n) { double *y = room(A, n); memcpy(y, x, n * sizeof *y); return y; }

static void spline_case(const char *name)
{
    oracle o;
    if (!oracle_open(&o, name)) return;
    int knots = note(&o, "knots"), channels = note(&o, "channels"), n = note(&o, "queries");
    size_t pieces = (size_t)((knots - 1) * channels), size = (size_t)(n * channels), points = (size_t)(knots * channels);
    const double *t = values(&o, "in.t"), *y = values(&o, "in.y"), *q = values(&o, "in.q");
    wf_spline *s = wf_spline_natural(o.A, t, y, knots, channels);
    CHECK(s && s->knots == knots && s->channels == channels);
    check_all("a", s->a, values(&o, "out.a"), pieces, 1e-10);
    check_all("b", s->b, values(&o, "out.b"), pieces, 1e-10);
    check_all("c", s->c, values(&o, "out.c"), pieces, 1e-10);
    check_all("d", s->d, values(&o, "out.d"), pieces, 1e-10);
    double *v[3] = { room(o.A, size), room(o.A, size), room(o.A, size) };
    for (int i = 0; i < n; i++)
        for (int k = 0; k < channels; k++) {
            v[0][i * channels + k] = wf_spline_value(s, q[i], k);
            v[1][i * channels + k] = wf_spline_slope(s, q[i], k);
            v[2][i * channels + k] = wf_spline_curvature(s, q[i], k);
        }
    check_all("value", v[0], values(&o, "out.value"), size, 1e-10);
    check_all("slope", v[1], values(&o, "out.derivative"), size, 1e-10);
    check_all("curvature", v[2], values(&o, "out.second_derivative"), size, 1e-10);

    for (int type = WF_F32; type <= WF_F64; type++) {
        wf_graph *g = wf_graph_new(o.A, NULL);
        wf_t x = wf_shared_nd(g, "x", 2, (int[]){ knots, channels }), out[3];
        for (int k = 0; k < 3; k++) out[k] = wf_spline_graph(x, NULL, t, q, n, k);
        wf_t loss = wf_scale(wf_sumsq(out[0]), 0.5 / n), grad = wf_grad(loss, x);
        wf_plan_desc d = { .out = { out[0], out[1], out[2], loss, grad }, .type = type };
        double *dx = room(o.A, points), total[1];
        port p[] = { { x, copied(o.A, y, points), 0 }, { out[0], v[0], 1 }, { out[1], v[1], 1 }, { out[2], v[2], 1 }, { loss, total, 1 }, { grad, dx, 1 } };
        run_ports(o.A, &d, p, 6, 1);
        /* f32: matrix, points and sum are rounded to 6e-8 of the sum of |weight| |point| */
        static const char *names[] = { "out.value", "out.derivative", "out.second_derivative" };
        for (int k = 0; k < 3; k++) {
            double weight = 0;
            for (int i = 0; i < n; i++) {
                double sum = 0;
                for (int j = 0; j < knots; j++) sum += fabs(g->constant[wf__of(wf__arg_of(out[k], 0))->at[0] + i * knots + j]);
                if (sum > weight) weight = sum;
            }
            if (type == WF_F64) check_all(names[k], v[k], values(&o, names[k]), size, 1e-10);
            else check_within(names[k], v[k], values(&o, names[k]), size, 3 * 6e-8 * weight * largest_of(y, points));
        }
        check_all("loss", total, values(&o, "out.loss"), 1, type == WF_F64 ? 1e-10 : 1e-6);
        check_all("gradient", dx, values(&o, "grad.y"), points, type == WF_F64 ? 1e-10 : 1e-6);
    }
    wf_arena_free(o.A);
}

WF_TEST(splines_of_the_reference)
{
    if (!wf_test_shared()) SKIP("no shared data");
    spline_case("natural_cubic_spline_random_0");
    spline_case("natural_cubic_spline_random_1");
    spline_case("natural_cubic_spline_two_knots");
    spline_case("natural_cubic_spline_uniform");
}

/* The four systems of the reference, as fields of a graph and in plain C. with[0]: parameters. */
static wf_t item(wf_t x, int i) { return wf_slice(x, 0, i, 1); }

static void system_field(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user)
{
    const char *name = (const char *)user;
    wf_t p = with[0], a = item(y[0], 0), b = item(y[0], 1), list[2];
    (void)t;
    if (!strcmp(name, "linear_stiff")) { dy[0] = wf_matmul(wf_reshape(p, 2, (int[]){ 3, 3 }), y[0]); return; }
    if (!strcmp(name, "lotka_volterra")) {
        list[0] = wf_mul(a, wf_sub(item(p, 0), wf_mul(item(p, 1), b)));
        list[1] = wf_mul(b, wf_sub(wf_mul(item(p, 3), a), item(p, 2)));
    } else if (!strcmp(name, "pendulum")) {
        list[0] = b;
        list[1] = wf_neg(wf_add(wf_mul(item(p, 0), wf_sin(a)), wf_mul(item(p, 1), b)));
    } else {
        list[0] = b;
        list[1] = wf_sub(wf_mul(wf_mul(item(p, 0), wf_sub(wf_const(a.graph, 1), wf_square(a))), b), a);
    }
    dy[0] = wf_concat(list, 2, 0);
}

typedef struct system_c { const char *name; const double *p; int dim, calls; } system_c;

static wf_result system_rhs(double t, const double *y, double *dy, void *user)
{
    system_c *s = (system_c *)user;
    const double *p = s->p;
    (void)t;
    s->calls++;
    if (!strcmp(s->name, "linear_stiff")) for (int i = 0; i < 3; i++) dy[i] = p[3 * i] * y[0] + p[3 * i + 1] * y[1] + p[3 * i + 2] * y[2];
    else if (!strcmp(s->name, "lotka_volterra")) { dy[0] = p[0] * y[0] - p[1] * y[0] * y[1]; dy[1] = p[3] * y[0] * y[1] - p[2] * y[1]; }
    else if (!strcmp(s->name, "pendulum")) { dy[0] = y[1]; dy[1] = -p[0] * sin(y[0]) - p[1] * y[1]; }
    else { dy[0] = y[1]; dy[1] = p[0] * (1 - y[0] * y[0]) * y[1] - y[0]; }
    return WF_OK;
}

static void ode_case(const char *name)
{
    static double grid[20000];
    oracle o;
    char file[64];
    snprintf(file, sizeof file, "ode_%s", name);
    if (!oracle_open(&o, file)) return;
    int dim = note(&o, "dim"), params = note(&o, "parameters"), count = (int)wf_tensors_find(o.t, "in.t")->shape[0];
    const double *t = values(&o, "in.t"), *y0 = values(&o, "in.y0"), *p = values(&o, "param.p"), *wanted = values(&o, "out.y"), *target = values(&o, "in.target");
    wf_ode_report report;
    for (int method = WF_DOPRI5; method <= WF_TSIT5; method++) {
        double y[3], *path = room(o.A, (size_t)(count * dim));
        system_c s = { name, p, dim, 0 };
        memcpy(y, y0, (size_t)dim * sizeof *y);
        wf_adapt_desc d = { .method = method, .rtol = 1e-12, .atol = 1e-13, .times = t, .count = count, .out = path, .grid = grid, .grid_room = 20000 };
        CHECK_INT(wf_ode_solve(o.A, system_rhs, &s, y, (size_t)dim, t[0], t[count - 1], &d, &report), WF_OK);
        CHECK_INT(report.calls, s.calls);
        /* reference: rtol 1e-13, stored to 1e-11; ours asks 1e-12 of each step, and errors of some thousand steps may add up */
        check_all(file, path, wanted, (size_t)(count * dim), 1e-10);
        CHECK(!memcmp(y, path + (count - 1) * dim, (size_t)dim * sizeof *y));
    }
    for (int type = WF_F64; type >= WF_F32; type--) { /* the steps of Tsit5 again, as a loop, with gradients; in single precision with steps of its own accuracy */
        int steps = report.accepted;
        if (type == WF_F32) {
            double y[3];
            system_c s = { name, p, dim, 0 };
            memcpy(y, y0, (size_t)dim * sizeof *y);
            wf_adapt_desc d = { .method = WF_TSIT5, .rtol = 1e-7, .atol = 1e-8, .grid = grid, .grid_room = 20000 };
            CHECK_INT(wf_ode_solve(o.A, system_rhs, &s, y, (size_t)dim, t[0], t[count - 1], &d, &report), WF_OK);
            steps = report.accepted;
        }
        wf_graph *g = wf_graph_new(o.A, NULL);
        wf_t start = wf_shared_nd(g, "y0", 1, &dim), par = wf_shared_nd(g, "p", 1, &params), goal = wf_shared_nd(g, "goal", 1, &dim);
        char text[64];
        snprintf(text, sizeof text, "%s", name);
        wf_field_desc field = { .fn = system_field, .user = text, .with = { par } };
        wf_t end = wf_ode(start, &field, &(wf_solve_desc){ .method = WF_TSIT5, .times = grid, .count = steps + 1 });
        wf_t loss = wf_scale(wf_sumsq(wf_sub(end, goal)), 0.5), x[2] = { start, par }, grad[2], one = wf_const(g, 1);
        CHECK_INT(wf_vjp(&loss, &one, 1, x, 2, grad), WF_OK);
        wf_t jp = wf_jacobian(end, par), jy = wf_jacobian(end, start);
        wf_plan_desc d = { .out = { end, loss, grad[0], grad[1], jp, jy }, .type = type };
        double e[3], l[1], gy[3], gp[9], sp[27], sy[9];
        port ports[] = { { start, copied(o.A, y0, (size_t)dim), 0 }, { par, copied(o.A, p, (size_t)params), 0 }, { goal, copied(o.A, target, (size_t)dim), 0 },
                         { end, e, 1 }, { loss, l, 1 }, { grad[0], gy, 1 }, { grad[1], gp, 1 }, { jp, sp, 1 }, { jy, sy, 1 } };
        run_ports(o.A, &d, ports, 9, 1);
        /* f32: one rounding of 6e-8 or two for each step, like a random walk, amplified by the sensitivities; their errors by those of the second order */
        double loose = largest_of(values(&o, "out.sensitivity_y0"), (size_t)(dim * dim));
        double tol = type == WF_F64 ? 1e-10 : 1.2e-7 * sqrt((double)steps) * (loose > 2 ? loose : 2), far = type == WF_F64 ? 1e-10 : 20 * tol;
        check_all("end", e, wanted + (count - 1) * dim, (size_t)dim, tol);
        check_all("loss", l, values(&o, "out.loss"), 1, far);
        check_all("gradient of the start", gy, values(&o, "grad.y0"), (size_t)dim, far);
        check_all("gradient of the parameters", gp, values(&o, "grad.p"), (size_t)params, far);
        check_all("sensitivity to parameters", sp, values(&o, "out.sensitivity_p"), (size_t)(dim * params), far);
        check_all("sensitivity to the start", sy, values(&o, "out.sensitivity_y0"), (size_t)(dim * dim), far);
    }
    wf_arena_free(o.A);
}

WF_TEST(equations_of_the_reference)
{
    if (!wf_test_shared()) SKIP("no shared data");
    ode_case("lotka_volterra");
    ode_case("pendulum");
    ode_case("van_der_pol");
    ode_case("linear_stiff");
}

/* F(h): a perceptron with one hidden layer. with: [speed, w0, b0, w1, b1] */
static void cde_field(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user)
{
    const int *d = (const int *)user; /* hidden, channels */
    (void)t;
    dy[0] = wf_reshape(wf_add(wf_matmul(with[3], wf_tanh(wf_add(wf_matmul(with[1], y[0]), with[2]))), with[4]), 2, d);
}

static void cde_case(const char *name)
{
    static const char *param[] = { "w0", "b0", "w1", "b1" };
    oracle o;
    if (!oracle_open(&o, name)) return;
    int batch = note(&o, "batch"), channels = note(&o, "channels"), hidden = note(&o, "hidden"), knots = note(&o, "knots"), steps = note(&o, "steps");
    int width = (int)wf_tensors_find(o.t, "param.b0")->shape[0], d2[2] = { hidden, channels };
    const double *t = values(&o, "in.t");
    for (int type = WF_F64; type >= WF_F32; type--)
        for (int keep = 0; keep < 3; keep++)
            for (int tile = 1; tile <= 64; tile *= 8) {
                wf_graph *g = wf_graph_new(o.A, NULL);
                wf_t path = wf_input_nd(g, "path", 2, (int[]){ knots, channels }), h0 = wf_input(g, "h0", hidden), x[6], grad[6], w[4], at[1], one = wf_const(g, 1);
                w[0] = wf_shared_nd(g, "w0", 2, (int[]){ width, hidden });
                w[1] = wf_shared_nd(g, "b0", 1, (int[]){ width });
                w[2] = wf_shared_nd(g, "w1", 2, (int[]){ hidden * channels, width });
                w[3] = wf_shared_nd(g, "b1", 1, (int[]){ hidden * channels });
                wf_control control = { .x = path, .t = t };
                wf_field_desc field = { .fn = wf__cde_field, .with = { w[0], w[1], w[2], w[3] } }, inner = { .fn = cde_field, .user = d2 };
                field.user = &inner;
                wf_solve_desc solve = { .method = WF_RK38, .t0 = t[0], .t1 = t[knots - 1], .steps = steps, .keep = keep, .control = &control };
                wf_t end = h0;
                CHECK_INT(wf_ode_list(&end, 1, &field, &solve, at), WF_OK);
                wf_t loss = wf_mean(wf_sum(wf_add(wf_scale(wf_square(end), 0.5), wf_sin(end))));
                x[0] = h0;
                x[1] = path;
                for (int i = 0; i < 4; i++) x[i + 2] = w[i];
                CHECK_INT(wf_vjp(&loss, &one, 1, x, 6, grad), WF_OK);
                wf_plan_desc d = { .out = { end, at[0], loss, grad[0], grad[1], grad[2], grad[3], grad[4], grad[5] }, .type = type, .tile = tile };
                port p[16] = { { h0, copied(o.A, values(&o, "in.h0"), (size_t)(batch * hidden)), 0 }, { path, copied(o.A, values(&o, "in.path"), (size_t)(batch * knots * channels)), 0 } };
                size_t sizes[9] = { (size_t)(batch * hidden), (size_t)(batch * (steps + 1) * hidden), 1, (size_t)(batch * hidden), (size_t)(batch * knots * channels) };
                static const char *names[9] = { "out.h_end", "out.h", "out.loss", "grad.h0", "grad.path", "grad.w0", "grad.b0", "grad.w1", "grad.b1" };
                for (int i = 0; i < 4; i++) {
                    char full[16];
                    const wf_array *a = (snprintf(full, sizeof full, "param.%s", param[i]), wf_tensors_find(o.t, full));
                    sizes[i + 5] = a->count;
                    p[i + 2].node = w[i];
                    p[i + 2].data = copied(o.A, values(&o, full), a->count);
                }
                for (int i = 0; i < 9; i++) { p[i + 6].node = d.out[i]; p[i + 6].data = room(o.A, sizes[i]); p[i + 6].out = 1; }
                run_ports(o.A, &d, p, 15, (size_t)batch);
                /* f32: rounding in every operation of every step, where the noise scale of the file moved the inputs once */
                double tol = type == WF_F64 ? 1e-10 : 2 * sqrt((double)steps * 4) * note_real(&o, "binary32_noise");
                for (int i = 0; i < 9; i++) check_all(names[i], p[i + 6].data, values(&o, names[i]), sizes[i], tol);
            }
    wf_arena_free(o.A);
}

WF_TEST(controlled_equations_of_the_reference)
{
    if (!wf_test_shared()) SKIP("no shared data");
    cde_case("cde_0");
    cde_case("cde_1");
    cde_case("cde_2");
}

/* ---- rules ---- */

static double weighted(const double *b, const double *x, int n) { double s = 0; for (int i = 0; i < n; i++) s += b[i] * x[i]; return s; }

static void apply(const wf__rule *r, const double *x, double *y) /* y = A x */
{
    for (int i = 0; i < r->stages; i++) {
        y[i] = 0;
        for (int j = 0; j < i; j++) y[i] += r->a[i * (i - 1) / 2 + j] * x[j];
    }
}

/* Butcher's conditions: one for each rooted tree of up to five nodes. Every digit of the tables takes part in one of them. */
WF_TEST(conditions_of_order)
{
    for (int m = WF_RK4; m <= WF_TSIT5; m++) {
        const wf__rule *r = wf__rule_of(m);
        int n = r->stages;
        double one[6], c[6], c2[6], c3[6], c4[6], ac[6], ac2[6], ac3[6], aac[6], aac2[6], aaac[6], cac[6], acac[6], x[6];
        for (int i = 0; i < n; i++) {
            double row = 0;
            for (int j = 0; j < i; j++) row += r->a[i * (i - 1) / 2 + j];
            CHECK_CLOSE(row, r->c[i], 1e-14);
            one[i] = 1; c[i] = r->c[i]; c2[i] = c[i] * c[i]; c3[i] = c2[i] * c[i]; c4[i] = c2[i] * c2[i];
        }
        apply(r, c, ac); apply(r, c2, ac2); apply(r, c3, ac3); apply(r, ac, aac); apply(r, ac2, aac2); apply(r, aac, aaac);
        for (int i = 0; i < n; i++) cac[i] = c[i] * ac[i];
        apply(r, cac, acac);
        struct { int order; const double *v, *times; double want; } tree[17] = {
            { 1, one, one, 1 }, { 2, c, one, 1.0 / 2 }, { 3, c2, one, 1.0 / 3 }, { 3, ac, one, 1.0 / 6 },
            { 4, c3, one, 1.0 / 4 }, { 4, c, ac, 1.0 / 8 }, { 4, ac2, one, 1.0 / 12 }, { 4, aac, one, 1.0 / 24 },
            { 5, c4, one, 1.0 / 5 }, { 5, c2, ac, 1.0 / 10 }, { 5, ac, ac, 1.0 / 20 }, { 5, c, ac2, 1.0 / 15 }, { 5, ac3, one, 1.0 / 20 },
            { 5, c, aac, 1.0 / 30 }, { 5, acac, one, 1.0 / 40 }, { 5, aac2, one, 1.0 / 60 }, { 5, aaac, one, 1.0 / 120 } };
        int exact = 0;
        for (int k = 0; k < 17; k++) {
            for (int i = 0; i < n; i++) x[i] = tree[k].v[i] * tree[k].times[i];
            double got = weighted(r->b, x, n);
            if (tree[k].order <= r->order) CHECK_CLOSE(got, tree[k].want, 4e-15);
            else if (fabs(got - tree[k].want) < 1e-9) exact++;
            if (r->e[6] == 0) continue; /* the rule beside it, of order four: b - e, with the seventh slope */
            double end = r->e[6] * (tree[k].order == 1 ? 1 : tree[k].v == ac && tree[k].times == one ? weighted(r->b, c, n) : tree[k].v == ac2 ? weighted(r->b, c2, n) : tree[k].v == aac ? weighted(r->b, ac, n) : tree[k].v == c && tree[k].times == ac ? weighted(r->b, c, n) : 1);
            if (tree[k].order <= 4) CHECK_CLOSE(weighted(r->e, x, n) + end, 0, 4e-15);
        }
        CHECK(exact < 9);
    }
    CHECK_INT(wf_rk_stages(WF_RK4), 4);
    CHECK_INT(wf_rk_stages(WF_TSIT5), 6);
    CHECK_INT(wf_rk_stages(99), 0);
}

static void tangents(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user) /* y = e^sin t, tan t^2 */
{
    wf_t both[2] = { wf_mul(item(y[0], 0), wf_cos(t)), wf_mul(wf_shift(wf_square(item(y[0], 1)), 1), wf_scale(t, 2)) };
    dy[0] = wf_concat(both, 2, 0);
    (void)with, (void)user;
}

static void solve_tangents(const wf_solve_desc *s, double *out)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_field_desc field = { .fn = tangents };
    wf_t end = wf_ode(wf_const_array(g, 1, (int[]){ 2 }, (double[]){ 1, 0 }), &field, s);
    wf_plan *plan = wf_compile(A, &(wf_plan_desc){ .out = { end }, .type = WF_F64 });
    CHECK_STR_HAS(plan ? "ok" : wf_arena_report(A)->text, "ok");
    if (plan) { wf_feed f = wf_out(end, out, 0); CHECK_INT(wf_run(plan, wf_ws_new(A, plan, 1, NULL), &f, 1, 1), WF_OK); }
    wf_arena_free(A);
}

static void solve_swirl(const wf_solve_desc *s, double out[3]);

/* Errors of a system without any special structure; the exact end is that of 4096 steps of order five. */
WF_TEST(measured_orders)
{
    static const char *name[] = { "RK4", "3/8", "Euler", "midpoint", "Heun", "Dormand-Prince", "Tsitouras" };
    double exact[3], end[3];
    solve_swirl(&(wf_solve_desc){ .method = WF_DOPRI5, .t1 = 4, .steps = 4096 }, exact);
    for (int m = WF_RK4; m <= WF_TSIT5; m++) {
        double error[5];
        for (int k = 0; k < 5; k++) {
            solve_swirl(&(wf_solve_desc){ .method = m, .t1 = 4, .steps = 16 << k }, end);
            error[k] = sqrt(pow(end[0] - exact[0], 2) + pow(end[1] - exact[1], 2) + pow(end[2] - exact[2], 2));
        }
        printf("    %-15s", name[m]);
        for (int k = 0; k < 5; k++) printf(" %8.1e", error[k]);
        printf("\n");
        int p = wf__rule_of(m)->order, k = p < 5 ? 3 : 2; /* before 1e-13 is reached */
        double order = log2(error[k] / error[k + 1]);
        CHECK(order > p - 0.2 && order < p + (p < 5 ? 0.2 : 1.5)); /* the rules of order five nearly have order six here: their next errors are small by design */
    }
}

/* ---- the loop ---- */

static void swirl(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user)
{
    wf_t w = with[0];
    dy[0] = wf_tanh(wf_add(wf_matmul(w, y[0]), wf_mul(with[1], t)));
    dy[1] = wf_scale(wf_sumsq(dy[0]), 0.5);
    (void)user;
}

static void solve_swirl(const wf_solve_desc *s, double out[3])
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_field_desc field = { .fn = swirl, .with = { wf_const_array(g, 2, (int[]){ 3, 3 }, (double[]){ 0.3, -1.2, 0.5, 1.1, 0.2, -0.7, -0.4, 0.9, -0.3 }), wf_const_array(g, 1, (int[]){ 3 }, (double[]){ 0.5, -0.2, 0.3 }) } };
    wf_t y[2] = { wf_const_array(g, 1, (int[]){ 3 }, (double[]){ 1, 0, -0.5 }), wf_const(g, 0) };
    CHECK_INT(wf_ode_list(y, 2, &field, s, NULL), WF_OK);
    port p = { y[0], out, 1 };
    run_ports(A, &(wf_plan_desc){ .out = { y[0] }, .type = WF_F64 }, &p, 1, 1);
    wf_arena_free(A);
}

/* Values and gradients of a loss of the end, the path and the energy, one long list of numbers. */
static int swirl_numbers(int method, int steps, int keep, int batch, int type, int tile, int use_grid, double *out)
{
    enum { N = 3 };
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    int n = N, points = steps + 1, samples = batch ? 5 : 1;
    wf_t y0 = batch ? wf_input(g, "y", N) : wf_shared_nd(g, "y", 1, &n), w = wf_shared_nd(g, "w", 2, (int[]){ N, N }), b = batch ? wf_input(g, "b", N) : wf_shared_nd(g, "b", 1, &n);
    wf_t grid = wf_shared_nd(g, "grid", 1, &points), state[2] = { y0, wf_const(g, 0) }, path[2], x[4] = { y0, w, b, grid }, grad[4], one = wf_const(g, 1);
    wf_field_desc field = { .fn = swirl, .with = { w, b } };
    wf_solve_desc s = { .method = method, .t0 = 0.25, .t1 = 1.5, .steps = steps, .keep = keep };
    if (use_grid) { s.grid = grid; s.steps = 0; }
    CHECK_INT(wf_ode_list(state, 2, &field, &s, path), WF_OK);
    wf_t loss = wf_add(wf_add(wf_sumsq(state[0]), state[1]), wf_add(wf_scale(wf_sumsq(path[0]), 1.0 / steps), wf_scale(wf_sum(wf_sin(path[1])), 0.1)));
    if (batch) loss = wf_mean(loss);
    CHECK_INT(wf_vjp(&loss, &one, 1, x, 4, grad), WF_OK);
    wf_plan_desc d = { .out = { state[0], state[1], path[0], path[1], loss, grad[0], grad[1], grad[2], grad[3] }, .type = type, .tile = tile };
    int sizes[9] = { N * samples, samples, N * samples * points, samples * points, 1, N * samples, N * N, N * samples, points }, at = 0;
    port p[13] = { { y0, room(A, (size_t)(N * samples)), 0 }, { w, room(A, N * N), 0 }, { b, room(A, (size_t)(N * samples)), 0 }, { grid, room(A, (size_t)points), 0 } };
    for (int i = 0; i < N * samples; i++) { p[0].data[i] = sin(i + 1.0); p[2].data[i] = cos(3.0 * i); }
    for (int i = 0; i < N * N; i++) p[1].data[i] = sin(7.0 * i);
    for (int k = 0; k < points; k++) p[3].data[k] = 0.25 + 1.25 * k / steps;
    for (int i = 0; i < 9; i++) { p[4 + i].node = d.out[i]; p[4 + i].data = out + at; p[4 + i].out = 1; at += sizes[i]; }
    run_ports(A, &d, p, 13, (size_t)samples);
    wf_arena_free(A);
    return at;
}

WF_TEST(all_policies_give_the_same)
{
    static double a[4096], b[4096];
    static const int steps[] = { 1, 2, 8, 9, 10, 16, 23, 37, 64, 100 };
    for (int i = 0; i < 10; i++)
        for (int batch = 0; batch < 2; batch++) {
            int na = swirl_numbers(WF_RK38, steps[i], WF_KEEP_CARRY, batch, WF_F64, 0, 0, a);
            for (int keep = WF_KEEP_ALL; keep <= WF_KEEP_FEW; keep++) {
                int nb = swirl_numbers(WF_RK38, steps[i], keep, batch, WF_F64, 0, 0, b), bits = 0;
                CHECK_INT(na, nb);
                for (int k = 0; k < na; k++) bits += a[k] != b[k];
                /* the sum over steps of a gradient is a sum of sums for few: the same but for rounding */
                if (keep == WF_KEEP_FEW) check_all("few", b, a, (size_t)na, 1e-14);
                else CHECK_INT(bits, 0);
                /* values have the same bits in any case */
                int values_end = (batch ? 5 : 1) * 4 * (steps[i] + 2) + 1;
                CHECK(!memcmp(a, b, (size_t)values_end * sizeof *a));
            }
        }
}

WF_TEST(times_as_values)
{
    static double a[2048], b[2048], up[2048];
    for (int m = WF_RK4; m <= WF_TSIT5; m++) {
        int n = swirl_numbers(m, 10, 0, 0, WF_F64, 0, 0, a), same = swirl_numbers(m, 10, 0, 0, WF_F64, 0, 1, b);
        CHECK_INT(n, same);
        check_all("grid", b, a, (size_t)(n - 11), 1e-14);
    }
    /* the end moves with the last time at the speed of the field */
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    int points = 41;
    wf_t grid = wf_shared_nd(g, "grid", 1, &points), y0 = wf_const_array(g, 1, (int[]){ 2 }, (double[]){ 1, 0 });
    wf_field_desc field = { .fn = tangents };
    wf_t end = wf_ode(y0, &field, &(wf_solve_desc){ .method = WF_RK4, .grid = grid });
    wf_t speed = wf_grad(item(end, 1), grid);
    double times[41], out[2], slope[41];
    for (int k = 0; k < 41; k++) times[k] = k < 33 ? k / 32.0 : 1; /* the last eight steps do nothing */
    port p[] = { { grid, times, 0 }, { end, out, 1 }, { speed, slope, 1 } };
    run_ports(A, &(wf_plan_desc){ .out = { end, speed }, .type = WF_F64 }, p, 3, 1);
    solve_tangents(&(wf_solve_desc){ .method = WF_RK4, .t1 = 1, .steps = 32 }, up);
    CHECK_CLOSE(out[0], up[0], 1e-14);
    CHECK_CLOSE(out[1], up[1], 1e-14);
    CHECK_CLOSE(slope[40], (1 + out[1] * out[1]) * 2, 1e-12); /* f at the end: the last step has width zero */
    CHECK_CLOSE(slope[16], 0, 1e-3);                           /* an inner time may move freely, but for the error of the rule */
    wf_arena_free(A);
}

/* The exact derivative of the numbers that a solver computes, by a complex step of 1e-30: no cancellation. */
static double complex swirl_complex(int method, int steps, const double complex *y0, const double complex *w, const double complex *b)
{
    const wf__rule *r = wf__rule_of(method);
    double complex y[3], e = 0, k[6][3], ke[6];
    double h = 1.25 / steps;
    memcpy(y, y0, sizeof y);
    for (int step = 0; step < steps; step++) {
        for (int i = 0; i < r->stages; i++) {
            double complex at[3];
            double t = 0.25 + h * step + h * r->c[i];
            memcpy(at, y, sizeof at);
            for (int j = 0; j < i; j++) for (int x = 0; x < 3; x++) at[x] += h * r->a[i * (i - 1) / 2 + j] * k[j][x];
            ke[i] = 0;
            for (int x = 0; x < 3; x++) {
                k[i][x] = ctanh(w[3 * x] * at[0] + w[3 * x + 1] * at[1] + w[3 * x + 2] * at[2] + b[x] * t);
                ke[i] += 0.5 * k[i][x] * k[i][x];
            }
        }
        for (int i = 0; i < r->stages; i++) {
            for (int x = 0; x < 3; x++) y[x] += h * r->b[i] * k[i][x];
            e += h * r->b[i] * ke[i];
        }
    }
    return y[0] * y[0] + y[1] * y[1] + y[2] * y[2] + e;
}

WF_TEST(the_discrete_adjoint_is_exact)
{
    for (int m = WF_RK4; m <= WF_TSIT5; m++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_graph *g = wf_graph_new(A, NULL);
        int n = 3;
        wf_t y0 = wf_shared_nd(g, "y", 1, &n), w = wf_shared_nd(g, "w", 2, (int[]){ 3, 3 }), b = wf_shared_nd(g, "b", 1, &n), state[2] = { y0, wf_const(g, 0) }, x[3] = { y0, w, b }, grad[3], one = wf_const(g, 1);
        wf_field_desc field = { .fn = swirl, .with = { w, b } };
        CHECK_INT(wf_ode_list(state, 2, &field, &(wf_solve_desc){ .method = m, .t0 = 0.25, .t1 = 1.5, .steps = 20 }, NULL), WF_OK);
        wf_t loss = wf_add(wf_sumsq(state[0]), state[1]);
        CHECK_INT(wf_vjp(&loss, &one, 1, x, 3, grad), WF_OK);
        double in[15], out[16];
        double complex z[15];
        for (int i = 0; i < 15; i++) in[i] = 1.2 * sin(2.0 * i + 1);
        port p[] = { { y0, in, 0 }, { w, in + 3, 0 }, { b, in + 12, 0 }, { grad[0], out, 1 }, { grad[1], out + 3, 1 }, { grad[2], out + 12, 1 }, { loss, out + 15, 1 } };
        run_ports(A, &(wf_plan_desc){ .out = { grad[0], grad[1], grad[2], loss }, .type = WF_F64 }, p, 7, 1);
        for (int i = 0; i < 15; i++) {
            for (int k = 0; k < 15; k++) z[k] = in[k];
            z[i] += 1e-30 * I;
            double complex l = swirl_complex(m, 20, z, z + 3, z + 12);
            CHECK_CLOSE(out[15], creal(l), 1e-13);
            CHECK_CLOSE(out[i], cimag(l) * 1e30, 1e-12); /* 80 stages, each a few roundings */
        }
        wf_arena_free(A);
    }
}

/* A control given in three ways, and a time list with steps between, give the same; one step at a time, too. */
WF_TEST(three_ways_to_drive)
{
    static const double t[4] = { 0, 1, 2, 4 }, x[4][2] = { { 0, 1 }, { 1, 0 }, { 0.5, 0.5 }, { -1, 2 } };
    enum { STEPS = 6 };
    for (int kind = 0; kind < 3; kind++) {
        static const wf_spline_fn kinds[] = { wf_spline_natural, wf_spline_hermite, wf_spline_linear };
        wf_arena *A = wf_arena_new(NULL);
        wf_params *P = wf_params_new(A, 1, WF_F64);
        wf_graph *g = wf_graph_new(A, P);
        wf_spline *s = kinds[kind](A, t, &x[0][0], 4, 2);
        double speed[STEPS][4][2];
        static const double c[4] = { 0, 0.5, 0.5, 1 };
        for (int k = 0; k < STEPS; k++) for (int i = 0; i < 4; i++) for (int j = 0; j < 2; j++) speed[k][i][j] = wf_spline_slope(s, 4.0 / STEPS * k + 4.0 / STEPS * c[i], j);
        wf_control by[3] = { { .x = wf_const_array(g, 2, (int[]){ 4, 2 }, &x[0][0]), .t = t, .kind = kinds[kind] }, { .spline = s }, { .speed = wf_const_array(g, 3, (int[]){ STEPS, 4, 2 }, &speed[0][0][0]) } };
        wf_field_desc field = { .fn = weather };
        wf_t y0 = wf_full(g, 1, (int[]){ 3 }, 0.1), end[4];
        for (int i = 0; i < 3; i++) end[i] = wf_cde(y0, &field, &by[i], &(wf_solve_desc){ .t1 = 4, .steps = STEPS });
        wf_field_desc along = { .fn = wf__cde_field, .user = &field };
        end[3] = y0;
        for (int k = 0; k < STEPS; k++) CHECK_INT(wf_ode_step(&end[3], 1, &along, WF_RK4, wf_const(g, 4.0 / STEPS * k), wf_const(g, 4.0 / STEPS), wf_const_array(g, 2, (int[]){ 4, 2 }, &speed[k][0][0])), WF_OK);
        wf_plan_desc d = { .out = { end[0], end[1], end[2], end[3] }, .type = WF_F64 };
        double out[4][3];
        port p[] = { { end[0], out[0], 1 }, { end[1], out[1], 1 }, { end[2], out[2], 1 }, { end[3], out[3], 1 } };
        run_ports(A, &d, p, 4, 1);
        for (int i = 1; i < 4; i++) for (int k = 0; k < 3; k++) CHECK_CLOSE(out[i][k], out[0][k], 1e-14);
        wf_arena_free(A);
    }
}

/* ---- splines by their properties ---- */

WF_TEST(curves_do_what_they_promise)
{
    static const wf_spline_fn kinds[] = { wf_spline_natural, wf_spline_hermite, wf_spline_linear };
    enum { N = 9 };
    double t[N], x[N][2], line[N];
    for (int i = 0; i < N; i++) { t[i] = i + 0.4 * sin(5.0 * i); x[i][0] = sin(3.0 * i); x[i][1] = i * i; line[i] = 2 - 3 * t[i]; }
    for (int kind = 0; kind < 3; kind++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_spline *s = kinds[kind](A, t, &x[0][0], N, 2), *l = kinds[kind](A, t, line, N, 1);
        for (int i = 0; i < N; i++) {
            double h = 1e-9;
            for (int k = 0; k < 2; k++) {
                CHECK_CLOSE(wf_spline_value(s, t[i], k), x[i][k], 1e-14 * (1 + fabs(x[i][k])));
                CHECK_CLOSE(wf_spline_value(s, t[i] - h, k), x[i][k], 1e-7);
                if (i && i < N - 1 && kind < 2) CHECK_CLOSE(wf_spline_slope(s, t[i] - h, k), wf_spline_slope(s, t[i], k), 1e-6);
                if (i && i < N - 1 && kind < 1) CHECK_CLOSE(wf_spline_curvature(s, t[i] - h, k), wf_spline_curvature(s, t[i], k), 1e-6);
                if (kind == 1) { int b = i ? i : 1; CHECK_CLOSE(wf_spline_slope(s, t[i], k), (x[b][k] - x[b - 1][k]) / (t[b] - t[b - 1]), 1e-13 * (1 + fabs(x[i][k]))); }
            }
        }
        if (kind == 0) { CHECK_CLOSE(wf_spline_curvature(s, t[0], 0), 0, 1e-14); CHECK_CLOSE(wf_spline_curvature(s, t[N - 1], 0), 0, 1e-13); }
        for (int i = -30; i < 130; i++) {
            double q = 0.1 * i;
            CHECK_CLOSE(wf_spline_value(l, q, 0), 2 - 3 * q, 1e-12);
            CHECK_CLOSE(wf_spline_slope(l, q, 0), -3, 1e-13);
        }
        wf_arena_free(A);
    }
    wf_arena *A = wf_arena_new(NULL);
    CHECK(!wf_spline_natural(A, t, line, 1, 1));
    CHECK_STR_HAS(wf_arena_report(A)->text, "1 knots");
    wf_arena_clear(A);
    t[3] = t[2];
    CHECK(!wf_spline_natural(A, t, line, N, 1));
    CHECK_STR_HAS(wf_arena_report(A)->text, "time 3");
    wf_arena_clear(A);
    t[3] = NAN;
    CHECK(!wf_spline_hermite(A, t, line, N, 1));
    CHECK_STR_HAS(wf_arena_report(A)->text, "time 3");
    wf_arena_clear(A);
    t[3] = 3;
    x[4][1] = INFINITY;
    CHECK(!wf_spline_linear(A, t, &x[0][0], N, 2));
    CHECK_STR_HAS(wf_arena_report(A)->text, "point 4, channel 1");
    wf_arena_free(A);
}

/* ---- marches ---- */

static wf_result growth(double t, const double *y, double *dy, void *user) { dy[0] = y[0] * y[0]; (void)t, (void)user; return WF_OK; }
static wf_result decay(double t, const double *y, double *dy, void *user) { dy[0] = -y[0] + sin(t); dy[1] = y[0]; (void)user; return WF_OK; }
static wf_result wall(double t, const double *y, double *dy, void *user) { dy[0] = t < 0.5 ? y[0] : sqrt(0.5 - t); (void)user; return WF_OK; }
static wf_result quits(double t, const double *y, double *dy, void *user) { dy[0] = y[0]; (void)user; return t > 0.5 ? WF_CANCELLED : WF_OK; }

WF_TEST(marches_and_their_end)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_ode_report r;
    double y[2] = { 1, 0 }, times[5] = { 0, 0.1, 0.1, 1, 3 }, out[5][2];
    wf_adapt_desc d = { .rtol = 1e-10, .atol = 1e-12, .times = times, .count = 5, .out = &out[0][0] };
    size_t before = wf_arena_size(A);
    CHECK_INT(wf_ode_solve(A, decay, NULL, y, 2, 0, 5, &d, &r), WF_OK);
    for (int i = 0; i < 5; i++) CHECK_CLOSE(out[i][0], 1.5 * exp(-times[i]) + 0.5 * (sin(times[i]) - cos(times[i])), 1e-9); /* 1e-10 a step, and errors die out */
    CHECK_CLOSE(y[0], 1.5 * exp(-5.0) + 0.5 * (sin(5.0) - cos(5.0)), 1e-9);
    CHECK(out[0][0] == 1 && !memcmp(out[1], out[2], sizeof out[1]) && r.t == 5);
    CHECK_INT(wf_ode_solve(A, decay, NULL, y, 2, 5, 0, &(wf_adapt_desc){ .rtol = 1e-10, .atol = 1e-12 }, &r), WF_OK); /* and back */
    CHECK_CLOSE(y[0], 1, 1e-6); /* backwards errors grow by e^5 = 150 */
    CHECK_CLOSE(y[1], 0, 1e-6);
    CHECK_INT(wf_ode_solve(A, decay, NULL, y, 2, 1, 1, NULL, NULL), WF_OK);
    CHECK(wf_arena_size(A) <= before + 4096);

    int accepted[2];
    for (int k = 0; k < 2; k++) { /* fewer steps for less accuracy; largest is obeyed */
        y[0] = 1;
        CHECK_INT(wf_ode_solve(A, decay, NULL, y, 2, 0, 5, &(wf_adapt_desc){ .rtol = k ? 1e-4 : 1e-11, .atol = 1e-12 }, &r), WF_OK);
        accepted[k] = r.accepted;
        CHECK_INT(r.calls, 2 + 6 * (r.accepted + r.rejected));
    }
    CHECK(accepted[1] * 4 < accepted[0]);
    CHECK_INT(wf_ode_solve(A, decay, NULL, y, 2, 0, 5, &(wf_adapt_desc){ .largest = 0.01 }, &r), WF_OK);
    CHECK(r.accepted >= 500);

    y[0] = 1;
    CHECK_INT(wf_ode_solve(A, growth, NULL, y, 1, 0, 2, NULL, &r), WF_ERROR_NUMERIC); /* y = 1/(1-t) */
    CHECK_STR_HAS(r.why.text, "steps became too small");
    CHECK_CLOSE(r.t, 1, 1e-4);
    CHECK(y[0] > 1e4 && isfinite(y[0]));
    y[0] = 1;
    CHECK_INT(wf_ode_solve(A, wall, NULL, y, 1, 0, 2, NULL, &r), WF_ERROR_NUMERIC);
    CHECK_STR_HAS(r.why.text, "not finite");
    CHECK(r.t <= 0.5 && r.t > 0.499 && isfinite(y[0]));
    y[0] = NAN;
    CHECK_INT(wf_ode_solve(A, decay, NULL, y, 2, 0, 1, NULL, &r), WF_ERROR_DATA);
    CHECK_STR_HAS(r.why.text, "number 0 of the start");
    y[0] = 1e200;
    CHECK_INT(wf_ode_solve(A, growth, NULL, y, 1, 0, 1, NULL, &r), WF_ERROR_NUMERIC);
    CHECK_STR_HAS(r.why.text, "at the start");
    y[0] = 1;
    CHECK_INT(wf_ode_solve(A, decay, NULL, y, 2, 0, 1e6, &(wf_adapt_desc){ .max_steps = 100 }, &r), WF_ERROR_LIMIT);
    CHECK_STR_HAS(r.why.text, "100 steps");
    double room[7] = { 0, 0, 0, 0, 0, -99, -99 };
    CHECK_INT(wf_ode_solve(A, decay, NULL, y, 2, 0, 100, &(wf_adapt_desc){ .grid = room, .grid_room = 5 }, &r), WF_ERROR_LIMIT);
    CHECK_STR_HAS(r.why.text, "no room");
    CHECK(room[4] > 0 && room[5] + 99 >= 0 && room[5] + 99 <= 0); /* nothing is written behind the room */
    CHECK_INT(wf_ode_solve(A, quits, NULL, y, 1, 0, 1, NULL, &r), WF_CANCELLED);
    CHECK_STR_HAS(r.why.text, "gave up");
    times[1] = -1;
    CHECK_INT(wf_ode_solve(A, decay, NULL, y, 2, 0, 5, &d, &r), WF_ERROR_DATA);
    CHECK_STR_HAS(r.why.text, "wanted time 1");
    CHECK_INT(wf_ode_solve(A, decay, NULL, y, 2, 0, 5, &(wf_adapt_desc){ .method = WF_HEUN }, &r), WF_ERROR_ARGUMENT);
    CHECK_STR_HAS(r.why.text, "method 4");
    CHECK_INT(wf_ode_solve(A, decay, NULL, y, 2, 0, NAN, NULL, &r), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_ode_solve(A, NULL, NULL, y, 2, 0, 1, NULL, &r), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_ode_solve(A, decay, NULL, NULL, 2, 0, 1, NULL, &r), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_ode_solve(A, decay, NULL, y, (size_t)-1 / 8, 0, 1, NULL, &r), WF_ERROR_MEMORY);
    wf_arena_free(A);
}

/* A batch takes the same steps whatever the precision and the threads; a control comes in by its slope. */
WF_TEST(plans_march_too)
{
    enum { N = 70 };
    static const double knot[4] = { 0, 0.5, 1, 2 }, value[4] = { 0, 1, 0, 2 };
    static double y[2][N][2];
    for (int type = WF_F32; type <= WF_F64; type++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_graph *g = wf_graph_new(A, NULL);
        int one = 1;
        wf_t in = wf_input(g, "y", 2), t = wf_shared_nd(g, "t", 1, &one), speed = wf_shared_nd(g, "speed", 1, &one), w = wf_input(g, "w", 1);
        wf_t both[2] = { wf_sub(wf_mul(w, item(in, 1)), wf_scale(wf_mul(item(in, 0), t), 0.1)), wf_add(wf_neg(wf_mul(w, item(in, 0))), speed) }, dy = wf_concat(both, 2, 0);
        wf_plan *plan = wf_compile(A, &(wf_plan_desc){ .out = { dy }, .type = type });
        wf_ws *ws = wf_ws_new(A, plan, type + 1, NULL);
        wf_spline *s = wf_spline_natural(A, knot, value, 4, 1);
        double wide[N];
        float narrow[N];
        for (int i = 0; i < N; i++) { narrow[i] = 1 + 0.05f * (float)i; wide[i] = (double)narrow[i]; y[type][i][0] = 0.25 * (i % 5); y[type][i][1] = 0; }
        wf_feed feed = wf_in(w, type ? (void *)wide : (void *)narrow, 0);
        wf_rhs *rhs = wf_rhs_new(A, &(wf_rhs_desc){ plan, ws, in, t, dy, &feed, 1, N, s, speed });
        CHECK(rhs && wf_rhs_size(rhs) == 2 * N);
        wf_ode_report r;
        CHECK_INT(wf_ode_solve(A, wf_rhs_call, rhs, &y[type][0][0], wf_rhs_size(rhs), 0, 2, &(wf_adapt_desc){ .method = WF_TSIT5, .rtol = type ? 1e-10 : 1e-6, .atol = 1e-7 }, &r), WF_OK);
        CHECK(r.accepted > 10 && r.accepted < 400);
        wf_feed wrong = wf_in(in, wide, 0);
        CHECK(wf_rhs_new(A, &(wf_rhs_desc){ plan, ws, in, t, w, &wrong, 1, N, NULL, speed }) == NULL);
        CHECK_STR_HAS(wf_arena_report(A)->text, "rhs");
        wf_arena_clear(A);
        CHECK(wf_rhs_new(A, NULL) == NULL);
        rhs = wf_rhs_new(A, &(wf_rhs_desc){ plan, ws, in, t, dy, NULL, 0, N, s, speed });
        CHECK_INT(wf_ode_solve(A, wf_rhs_call, rhs, &y[type][0][0], 2 * N, 0, 2, NULL, &r), WF_ERROR_ARGUMENT); /* w is not fed */
        CHECK_STR_HAS(wf_ws_report(ws)->text, "w is not fed");
        wf_arena_free(A);
    }
    for (int i = 0; i < N; i++) for (int k = 0; k < 2; k++) CHECK_CLOSE(y[0][i][k], y[1][i][k], 2e-5); /* some fifty steps of 1e-6; rounding to 6e-8 is below that */
}

/* ---- misuse ---- */

static void idle_field(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user) { (void)y, (void)t, (void)with, (void)dy, (void)user; }
static void wide_field(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user) { dy[0] = wf_concat((wf_t[]){ y[0], y[0] }, 2, 0); (void)t, (void)with, (void)user; }
static void outer_field(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user) { dy[0] = wf_mul(y[0], *(wf_t *)user); (void)t, (void)with; }
static void noisy_field(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user) { dy[0] = wf_mul(y[0], wf_normal(y[0].graph, 0, NULL, 1)); (void)t, (void)with, (void)user; }
static void plain_field(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user) { dy[0] = wf_neg(y[0]); (void)t, (void)with, (void)user; }

static void expect(wf_arena *A, wf_t y, const wf_field_desc *f, const wf_solve_desc *s, const char *text)
{
    wf_t end = wf_ode(y, f, s);
    CHECK(end.id == 0);
    CHECK_STR_HAS(wf_arena_report(A)->text, text);
    wf_arena_clear(A);
}

WF_TEST(misuse_is_answered)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL), *other = wf_graph_new(A, NULL);
    wf_t y = wf_shared_nd(g, "y", 1, (int[]){ 2 }), stranger = wf_const(other, 1), x = wf_shared_nd(g, "x", 2, (int[]){ 3, 1 });
    wf_field_desc plain = { .fn = plain_field }, none = { 0 };
    wf_solve_desc s = { .t1 = 1, .steps = 4 }, bad = s;
    double times[3] = { 0, 2, 1 };
    expect(A, y, &(wf_field_desc){ .fn = idle_field }, &s, "no value for the derivative of value 0");
    expect(A, y, &(wf_field_desc){ .fn = wide_field }, &s, "[2] and [4]");
    expect(A, y, &(wf_field_desc){ .fn = outer_field, .user = &y }, &s, "two graphs");
    expect(A, y, &(wf_field_desc){ .fn = noisy_field }, &s, "wf_per_sample");
    expect(A, y, &(wf_field_desc){ .fn = plain_field, .with = { stranger } }, &s, "two graphs");
    expect(A, y, &none, &s, "no field");
    bad.method = 12;
    expect(A, y, &plain, &bad, "method 12");
    bad = s;
    bad.steps = -1;
    expect(A, y, &plain, &bad, "-1 steps");
    bad = s;
    bad.t1 = 0;
    expect(A, y, &plain, &bad, "times must go one way");
    bad.t1 = INFINITY;
    expect(A, y, &plain, &bad, "times must go one way");
    bad = s;
    bad.times = times;
    bad.count = 3;
    expect(A, y, &plain, &bad, "time 1 is 2, the next 1");
    bad.count = 1;
    expect(A, y, &plain, &bad, "1 times");
    bad = s;
    bad.keep = 7;
    expect(A, y, &plain, &bad, "policy 7");
    bad = s;
    bad.grid = x;
    expect(A, y, &plain, &bad, "a grid is");
    wf_control control = { .x = y };
    bad = s;
    bad.control = &control;
    expect(A, y, &plain, &bad, "a control is");
    control.x = x;
    expect(A, y, &plain, &bad, "needs points");
    control.t = times;
    expect(A, y, &plain, &bad, "time 2 is 1");
    control.x = y;
    control.speed = x;
    expect(A, y, &plain, &bad, "speeds [4 steps, 4 stages");
    CHECK(wf_cde(y, &plain, NULL, &s).id == 0);
    CHECK_STR_HAS(wf_arena_report(A)->text, "cde");
    wf_arena_clear(A);
    CHECK(wf_along(y, x).id == 0);
    wf_arena_clear(A);
    CHECK(wf_ode_list(NULL, 0, &plain, &s, NULL) < 0 && wf_ode_list(&y, 1, NULL, &s, NULL) < 0 && wf_ode_list(NULL, 1, &plain, &s, NULL) < 0);
    wf_arena_free(A);
}

static wf_result decaying(double t, const double *y, double *dy, void *user) { dy[0] = -y[0]; (void)t, (void)user; return WF_OK; }

WF_TEST(misuse_of_marches_is_answered)
{
    wf_arena *A = wf_arena_new(NULL);
    double y = 1, t[2] = { 0, 1 }, x[2] = { 0, 1 };
    wf_ode_report r;
    wf_adapt_desc d = { .count = -1 };
    CHECK_INT(wf_ode_solve(A, decaying, NULL, &y, 1, 0, 1, &d, &r), WF_ERROR_ARGUMENT);
    CHECK_STR_HAS(r.why.text, "-1 wanted times");
    d.count = 2;
    CHECK_INT(wf_ode_solve(A, decaying, NULL, &y, 1, 0, 1, &d, &r), WF_ERROR_ARGUMENT);
    CHECK(y == 1);
    /* a plan as the right-hand side whose inputs are not what the solver has for them */
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t state = wf_shared_nd(g, "y", 0, NULL), speed = wf_shared_nd(g, "speed", 1, (int[]){ 1 }), wide = wf_shared_nd(g, "wide", 1, (int[]){ 50 }), own = wf_input(g, "own", 1);
    wf_plan_desc p = { .type = WF_F64, .out = { wf_mul(wf_sum(speed), state) } };
    wf_plan *plan = wf_compile(A, &p);
    wf_rhs_desc rhs = { .plan = plan, .ws = wf_ws_new(A, plan, 1, NULL), .y = state, .dy = p.out[0], .samples = 1, .control = wf_spline_linear(A, t, x, 2, 1), .speed = speed };
    CHECK(wf_rhs_new(A, &rhs) != NULL);
    rhs.speed = wide;
    CHECK(!wf_rhs_new(A, &rhs));
    CHECK_STR_HAS(wf_arena_report(A)->text, "speed");
    rhs.speed = speed;
    rhs.t = wide;
    CHECK(!wf_rhs_new(A, &rhs));
    rhs.t = own;
    CHECK(!wf_rhs_new(A, &rhs));
    wf_arena_free(A);
}

/* Every allocation fails once. */
WF_TEST(memory_may_fail_anywhere)
{
    long calls = 0;
    for (long k = 0; k == 0 || k <= calls; k++) {
        wf_test_memory m = { 0, k, 0, 0, 0 };
        wf_allocator a = { wf_test_alloc, wf_test_free, &m };
        wf_arena *A = wf_arena_new(&a);
        wf_graph *g = A ? wf_graph_new(A, NULL) : NULL;
        static const double t[3] = { 0, 1, 2 };
        wf_t x = g ? wf_shared_nd(g, "x", 2, (int[]){ 3, 2 }) : (wf_t){ NULL, 0 }, y = x, path = x, grad = x;
        wf_control c = { .x = x, .t = t };
        wf_field_desc f = { .fn = plain_field };
        if (g) wf_ode_list(&y, 1, &f, &(wf_solve_desc){ .t1 = 2, .steps = 20, .keep = WF_KEEP_FEW, .control = &c }, &path);
        if (g) grad = wf_grad(wf_sumsq(y), x);
        wf_plan *plan = g ? wf_compile(A, &(wf_plan_desc){ .out = { path, grad } }) : NULL;
        wf_ws *ws = plan ? wf_ws_new(A, plan, 1, NULL) : NULL;
        CHECK(!k || ws || !A || wf_arena_report(A)->code < 0);
        if (!k) { CHECK(ws != NULL); calls = m.calls; }
        wf_arena_free(A);
        CHECK(m.live == 0);
    }
}

WF_MAIN_CASES(WF_CASE(a_pendulum_and_the_energy_that_it_loses), WF_CASE(a_state_that_is_driven_by_data), WF_CASE(the_gradient_of_an_adaptive_solution), WF_CASE(splines_of_the_reference), WF_CASE(equations_of_the_reference),
    WF_CASE(controlled_equations_of_the_reference), WF_CASE(conditions_of_order), WF_CASE(measured_orders), WF_CASE(all_policies_give_the_same), WF_CASE(times_as_values), WF_CASE(the_discrete_adjoint_is_exact),
    WF_CASE(three_ways_to_drive), WF_CASE(curves_do_what_they_promise), WF_CASE(marches_and_their_end), WF_CASE(plans_march_too), WF_CASE(misuse_is_answered), WF_CASE(misuse_of_marches_is_answered), WF_CASE(memory_may_fail_anywhere))
