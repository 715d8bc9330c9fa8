/* Plans and their execution. */
#define _XOPEN_SOURCE 600 /* setrlimit */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#if defined(__linux__)
#include <sys/resource.h>
#endif
#include "wf_test.h"

// region: feeds carry data in and out
WF_TEST(feeds_carry_data_in_and_out)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t x = wf_input(g, "x", 3);
    wf_t r = wf_sqrt(wf_sumsq(x)); /* for each sample */
    wf_t mean = wf_mean(r);        /* for all */

    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    d.out[0] = r;
    d.out[1] = mean;
    wf_plan *plan = wf_compile(A, &d);
    wf_ws *ws = wf_ws_new(A, plan, 0, NULL);

    float points[2][3] = { { 3, 4, 0 }, { 2, 3, 6 } }, length[2], average;
    wf_feed feeds[] = { wf_in(x, points, 0), wf_out(r, length, 0), wf_out(mean, &average, 0) };
    CHECK_INT(wf_run(plan, ws, feeds, 3, 2), WF_OK);
    CHECK(length[0] == 5 && length[1] == 7 && average == 6);
    wf_arena_free(A);
}
// end region

static double mlp_reference(const double *P, const double *x, int in, int width)
{
    double h[64], h2[64], y = 0;
    const double *w0 = P, *b0 = w0 + width * in, *w1 = b0 + width, *b1 = w1 + width * width, *w2 = b1 + width;
    for (int i = 0; i < width; i++) { double s = b0[i]; for (int k = 0; k < in; k++) s += w0[i * in + k] * x[k]; h[i] = tanh(s); }
    for (int i = 0; i < width; i++) { double s = b1[i]; for (int k = 0; k < width; k++) s += w1[i * width + k] * h[k]; h2[i] = tanh(s); }
    for (int k = 0; k < width; k++) y += w2[k] * h2[k];
    return y;
}

typedef struct mlp_case { wf_arena *A; wf_params *P; wf_graph *g; wf_t x, y, u, loss; } mlp_case;

static mlp_case mlp_make(int type, int in, int width)
{
    mlp_case m;
    int d2[2], one = 1;
    m.A = wf_arena_new(NULL);
    m.P = wf_params_new(m.A, 7, type);
    m.g = wf_graph_new(m.A, m.P);
    m.x = wf_input(m.g, "x", in);
    m.y = wf_input(m.g, "y", 1);
    d2[0] = width; d2[1] = in;
    wf_t w0 = wf_param(m.g, "w0", 2, d2, WF_INIT_UNIFORM, 0.6), b0 = wf_param(m.g, "b0", 1, d2, WF_INIT_UNIFORM, 0.6);
    d2[1] = width;
    wf_t w1 = wf_param(m.g, "w1", 2, d2, WF_INIT_UNIFORM, 0.4), b1 = wf_param(m.g, "b1", 1, d2, WF_INIT_UNIFORM, 0.4);
    d2[0] = 1;
    wf_t w2 = wf_param(m.g, "w2", 2, d2, WF_INIT_UNIFORM, 0.4);
    (void)one;
    wf_t h = wf_tanh(wf_add(wf_matmul(w0, m.x), b0));
    h = wf_tanh(wf_add(wf_matmul(w1, h), b1));
    m.u = wf_matmul(w2, h);
    m.loss = wf_mean(wf_square(wf_sub(m.u, m.y)));
    return m;
}

WF_TEST(a_network_and_its_gradient)
{
    enum { IN = 3, W = 20, N = 70 };
    mlp_case m = mlp_make(WF_F64, IN, W);
    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    d.out[0] = m.loss; d.out[1] = m.u; d.grad_of = m.loss; d.type = WF_F64;
    wf_plan *plan = wf_compile(m.A, &d);
    CHECK(plan != NULL);
    if (!plan) { printf("  %s\n", wf_arena_report(m.A)->text); return; }
    wf_ws *ws = wf_ws_new(m.A, plan, 1, NULL);
    double X[N][IN], Y[N], U[N], loss, flat[W * IN + W + W * W + W + W];
    for (int i = 0; i < N; i++) { for (int k = 0; k < IN; k++) X[i][k] = sin(i * 3.1 + k); Y[i] = cos(i); }
    wf_feed f[] = { wf_in(m.x, X, 0), wf_in(m.y, Y, 0), wf_out(m.loss, &loss, 0), wf_out(m.u, U, 0) };
    CHECK_INT(wf_run(plan, ws, f, 4, N), WF_OK);
    static const char *names[] = { "w0", "b0", "w1", "b1", "w2" };
    size_t at = 0, sizes[] = { W * IN, W, W * W, W, W };
    for (int i = 0; i < 5; i++) { wf_params_get(m.P, names[i], flat + at, sizes[i]); at += sizes[i]; }
    double want = 0;
    for (int i = 0; i < N; i++) {
        double u = mlp_reference(flat, X[i], IN, W);
        CHECK_CLOSE(U[i], u, 1e-13);
        want += (u - Y[i]) * (u - Y[i]) / N;
    }
    CHECK_CLOSE(loss, want, 1e-13);
    at = 0;
    for (int p = 0; p < 5; p++) {
        const wf_param_info *e = wf_params_entry(m.P, wf_params_find(m.P, names[p]));
        const double *grad = (const double *)wf_ws_grad(ws) + e->offset;
        for (size_t k = 0; k < sizes[p]; k += 7) {
            double h = 1e-5, up = 0, down = 0, keep = flat[at + k];
            flat[at + k] = keep + h; for (int i = 0; i < N; i++) { double u = mlp_reference(flat, X[i], IN, W) - Y[i]; up += u * u / N; }
            flat[at + k] = keep - h; for (int i = 0; i < N; i++) { double u = mlp_reference(flat, X[i], IN, W) - Y[i]; down += u * u / N; }
            flat[at + k] = keep;
            CHECK_CLOSE(grad[k], (up - down) / (2 * h), 1e-8); /* h^2 and rounding / h are both 1e-10 */
        }
        at += sizes[p];
    }
    wf_arena_free(m.A);
}

static double mlp_run(int isa, int threads, int tile, int reference, size_t n, float *grad_out, size_t *grad_size)
{
    enum { IN = 8, W = 64 };
    mlp_case m = mlp_make(WF_F32, IN, W);
    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    d.out[0] = m.loss; d.grad_of = m.loss; d.isa = isa; d.tile = tile; d.reference = reference;
    wf_plan *plan = wf_compile(m.A, &d);
    if (!plan) { printf("  %s\n", wf_arena_report(m.A)->text); wf_arena_free(m.A); return NAN; }
    wf_ws *ws = wf_ws_new(m.A, plan, threads, NULL);
    float *X = malloc(n * IN * sizeof *X), *Y = malloc(n * sizeof *Y), loss;
    for (size_t i = 0; i < n * IN; i++) X[i] = (float)sin((double)i * 1.7);
    for (size_t i = 0; i < n; i++) Y[i] = (float)cos((double)i);
    wf_feed f[] = { wf_in(m.x, X, 0), wf_in(m.y, Y, 0), wf_out(m.loss, &loss, 0) };
    CHECK_INT(wf_run(plan, ws, f, 3, n), WF_OK);
    *grad_size = wf_params_size(m.P);
    memcpy(grad_out, wf_ws_grad(ws), *grad_size * sizeof *grad_out);
    free(X);
    free(Y);
    wf_arena_free(m.A);
    return (double)loss;
}

WF_TEST(the_same_bits_for_threads_and_instruction_sets)
{
    static float a[8192], b[8192];
    size_t na, nb;
    static const size_t sizes[] = { 1, 5, 63, 64, 65, 1000, 2500 };
    for (int s = 0; s < 7; s++) {
        double x = mlp_run(WF_ISA_AUTO, 1, 64, 0, sizes[s], a, &na);
        for (int t = 2; t <= 7; t++) {
            double y = mlp_run(WF_ISA_AUTO, t, 64, 0, sizes[s], b, &nb);
            CHECK(x == y && na == nb && !memcmp(a, b, na * sizeof *a));
        }
        if (wf_isa_available(WF_ISA_AVX2) && wf_isa_available(WF_ISA_AVX512)) {
            double y = mlp_run(WF_ISA_AVX2, 2, 64, 0, sizes[s], b, &nb);
            CHECK(x == y && !memcmp(a, b, na * sizeof *a));
        }
        double y = mlp_run(WF_ISA_SCALAR, 1, 1, 1, sizes[s], b, &nb);
        CHECK_CLOSE(x, y, 1e-6 * fabs(y) + 1e-6);
        for (size_t i = 0; i < na; i++) if (!(fabs((double)a[i] - (double)b[i]) <= 2e-6)) { CHECK_CLOSE(a[i], b[i], 2e-6); break; }
    }
}

/* A sum of n terms, each with a constant of its own, added one by one from the left or from the right. */
static wf_t long_sum(wf_graph *g, int n, int from_the_right)
{
    wf_t x = wf_input(g, "x", 1), sum = x;
    for (int i = 1; i < n; i++) {
        wf_t term = wf_scale(x, 1.0 / (i + 1));
        sum = from_the_right ? wf_add(term, sum) : wf_add(sum, term);
    }
    return sum;
}

WF_TEST(long_sums_take_time_and_memory_in_proportion)
{
    for (int from_the_right = 0; from_the_right < 2; from_the_right++) {
        size_t used[2];
        for (int k = 0; k < 2; k++) {
            int n = k ? 8000 : 4000;
            wf_arena *A = wf_arena_new(NULL);
            wf_graph *g = wf_graph_new(A, NULL);
            wf_plan_desc d = { .type = WF_F64, .out = { long_sum(g, n, from_the_right) } };
            wf_plan *p = wf_compile(A, &d);
            wf_ws *ws = wf_ws_new(A, p, 1, NULL);
            double x = 1, y = 0, want = 0;
            wf_feed feeds[] = { wf_in(wf_input(g, "x", 1), &x, 0), wf_out(d.out[0], &y, 0) };
            CHECK_INT(wf_run(p, ws, feeds, 2, 1), WF_OK);
            for (int i = n; i > 0; i--) want += 1.0 / i;
            CHECK_CLOSE(y, want, n * 1e-15 * want); /* n roundings of numbers up to the sum */
            used[k] = wf_arena_size(A);
            wf_arena_free(A);
        }
        CHECK(used[1] < 5 * used[0] && used[1] < (size_t)100 << 20); /* tables double: twice the values may take four times the memory; it was 32 times as much for each constant again */
    }
}

WF_TEST(a_chain_as_long_as_memory_allows) /* nothing in the planner may go down to its end by calling itself */
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_plan_desc d = { .out = { wf_mean(long_sum(g, 100000, 0)) } };
#if defined(__linux__)
    struct rlimit whole, little;
    CHECK(!getrlimit(RLIMIT_STACK, &whole));
    little = whole;
    little.rlim_cur = 1 << 20; /* a hundred thousand calls inside each other take several megabytes: then this test dies */
    CHECK(!setrlimit(RLIMIT_STACK, &little));
#endif
    CHECK(wf_compile(A, &d) != NULL);
#if defined(__linux__)
    CHECK(!setrlimit(RLIMIT_STACK, &whole));
#endif
    wf_arena_free(A);
}

WF_TEST(a_workspace_needs_what_its_plan_says)
{
    wf_arena *A = wf_arena_new(NULL);
    for (int kind = 0; kind < 3; kind++) {
        wf_params *P = wf_params_new(A, 1, WF_F32);
        wf_graph *g = wf_graph_new(A, P);
        int shape[2] = { 40, 8 };
        wf_t x = wf_input(g, "x", 8), y = kind ? wf_tanh(wf_matmul(wf_param(g, "w", 2, shape, WF_INIT_NORMAL, 0.1), x)) : wf_square(x);
        wf_plan_desc d = { .out = { wf_mean(y) } };
        if (kind == 2) d.grad_of = d.out[0];
        wf_plan *p = wf_compile(A, &d);
        size_t room = wf_plan_memory(p) + 512; /* and the arena itself */
        char *buffer = (char *)malloc(room), *less = (char *)malloc(room / 2);
        wf_arena *B = wf_arena_from(buffer, room), *C = wf_arena_from(less, room / 2);
        CHECK(wf_ws_new(B, p, 1, NULL) != NULL);
        CHECK(wf_ws_new(C, p, 1, NULL) == NULL);
        CHECK_INT(wf_arena_report(C)->code, WF_ERROR_MEMORY);
        free(buffer);
        free(less);
    }
    wf_arena_free(A);
}

WF_MAIN_CASES(WF_CASE(feeds_carry_data_in_and_out), WF_CASE(a_network_and_its_gradient), WF_CASE(long_sums_take_time_and_memory_in_proportion), WF_CASE(a_chain_as_long_as_memory_allows), WF_CASE(a_workspace_needs_what_its_plan_says), WF_CASE(the_same_bits_for_threads_and_instruction_sets))
