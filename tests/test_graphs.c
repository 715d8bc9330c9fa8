/* Building graphs: what is one node, what is refused and with which words, what happens when memory runs out, and operations of the user's. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

// region: a graph describes one sample
WF_TEST(a_graph_describes_one_sample)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t x = wf_input(g, "x", 3);                          /* three numbers for each sample */
    wf_t length = wf_sqrt(wf_sumsq(x));                    /* one number for each sample */
    wf_t unit = wf_div(x, length);                         /* three again */
    wf_t mean = wf_mean(length);                           /* one number for all samples */

    int d[4];
    CHECK(wf_shape(x, d) == 1 && d[0] == 3 && wf_is_batch(x));
    CHECK(wf_shape(length, d) == 0 && wf_is_batch(length)); /* no axes: a scalar */
    CHECK(wf_shape(unit, d) == 1 && d[0] == 3 && wf_is_batch(unit));
    CHECK(wf_shape(mean, d) == 0 && !wf_is_batch(mean));
    wf_arena_free(A);
}
// end region

// region: an operation of the user's
/* A table look-up: the height of a hill at x, between the numbers of a table. The library cannot know it, nor its slope. */
static const double hill[5] = { 0, 1, 4, 2, 0 };

static double *numbers(const wf_block *b) { return (double *)b->data; } /* this program computes in f64 only */

static void height(void *user, const wf_block *in, int inputs, wf_block *out)
{
    (void)user;
    (void)inputs;
    for (int i = 0; i < out->d[0] * out->lanes; i++) {
        double x = numbers(&in[0])[i];
        int k = x < 0 ? 0 : x > 3 ? 3 : (int)x;
        numbers(out)[i] = hill[k] + (x - k) * (hill[k + 1] - hill[k]);
    }
}

static void slope(void *user, const wf_block *in, int inputs, const wf_block *out, const wf_block *cotangent, int which, wf_block *result)
{
    (void)user;
    (void)inputs;
    (void)out;
    (void)which;
    for (int i = 0; i < result->d[0] * result->lanes; i++) {
        double x = numbers(&in[0])[i];
        int k = x < 0 ? 0 : x > 3 ? 3 : (int)x;
        numbers(result)[i] = numbers(cotangent)[i] * (hill[k + 1] - hill[k]);
    }
}

WF_TEST(an_operation_of_the_users)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t x = wf_input(g, "x", 2);
    wf_op_desc op;
    memset(&op, 0, sizeof op);
    op.name = "height";
    op.nd = 1;
    op.d[0] = 2;
    op.eval = height;
    op.vjp_eval = slope;
    wf_t y = wf_custom(&op, &x, 1), energy = wf_scale(wf_sum(wf_square(y)), 0.5), force = wf_neg(wf_grad(energy, x)); /* -y y' */

    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    d.out[0] = y;
    d.out[1] = force;
    d.type = WF_F64;
    wf_plan *plan = wf_compile(A, &d);
    wf_ws *ws = wf_ws_new(A, plan, 0, NULL);
    double at[2][2] = { { 0.5, 1.5 }, { 2.25, 3.5 } }, h[2][2], f[2][2];
    wf_feed feeds[] = { wf_in(x, at, 0), wf_out(y, h, 0), wf_out(force, f, 0) };
    CHECK_INT(wf_run(plan, ws, feeds, 3, 2), WF_OK);
    CHECK(h[0][0] == 0.5 && h[0][1] == 2.5 && h[1][0] == 3.5 && h[1][1] == 1);
    CHECK(f[0][0] == -0.5 && f[0][1] == -7.5 && f[1][0] == 7 && f[1][1] == 2);
    wf_arena_free(A);
}
// end region

static void cube(void *user, const wf_block *in, int inputs, wf_block *out)
{
    (void)user;
    (void)inputs;
    for (int i = 0; i < out->d[0] * out->lanes; i++) { double x = numbers(&in[0])[i]; numbers(out)[i] = x * x * x; }
}
static wf_t cube_vjp(void *user, const wf_t *in, int inputs, wf_t out, wf_t u, int which) { (void)user; (void)inputs; (void)out; (void)which; return wf_mul(u, wf_scale(wf_square(in[0]), 3)); }
static wf_t cube_jvp(void *user, const wf_t *in, int inputs, wf_t out, const wf_t *v) { (void)user; (void)inputs; (void)out; return wf_mul(v[0], wf_scale(wf_square(in[0]), 3)); }
static wf_t wrong_vjp(void *user, const wf_t *in, int inputs, wf_t out, wf_t u, int which) { (void)user; (void)in; (void)inputs; (void)out; (void)which; return wf_stack(&u, 1); }
static wf_t wrong_jvp(void *user, const wf_t *in, int inputs, wf_t out, const wf_t *v) { (void)user; (void)in; (void)inputs; (void)out; return wf_stack(v, 1); }
static wf_t no_vjp(void *user, const wf_t *in, int inputs, wf_t out, wf_t u, int which) { (void)user; (void)inputs; (void)out; (void)u; (void)which; wf_t none = { in[0].graph, 0 }; return none; }

static wf_op_desc cube_op(void)
{
    wf_op_desc op;
    memset(&op, 0, sizeof op);
    op.name = "cube";
    op.nd = 1;
    op.d[0] = 2;
    op.eval = cube;
    return op;
}

WF_TEST(derivatives_of_users_operations)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t x = wf_input(g, "x", 2), one = wf_const(g, 1);
    wf_op_desc op = cube_op();
    op.vjp = cube_vjp;
    op.jvp = cube_jvp;
    wf_t y = wf_custom(&op, &x, 1), first = wf_grad(y, x), second = wf_grad(first, x), third = wf_jvp(second, x, one), forward = wf_jvp(y, x, one), mixed = wf_jvp(first, x, one);
    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    d.type = WF_F64;
    d.out[0] = first; d.out[1] = second; d.out[2] = forward; d.out[3] = mixed;
    wf_plan *plan = wf_compile(A, &d);
    wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
    double at[3][2] = { { 1, 2 }, { 3, -1 }, { 0, 0.5 } }, r[4][3][2];
    wf_feed feeds[] = { wf_in(x, at, 0), wf_out(first, r[0], 0), wf_out(second, r[1], 0), wf_out(forward, r[2], 0), wf_out(mixed, r[3], 0) };
    CHECK_INT(wf_run(plan, ws, feeds, 5, 3), WF_OK);
    for (int i = 0; i < 6; i++) {
        double v = at[i / 2][i % 2];
        CHECK(r[0][i / 2][i % 2] == 3 * v * v && r[1][i / 2][i % 2] == 6 * v && r[2][i / 2][i % 2] == 3 * v * v && r[3][i / 2][i % 2] == 6 * v);
    }
    CHECK(third.id != 0 && !wf_is_batch(third)); /* the constant 6 */

    op = cube_op(); /* none at all */
    wf_t plain = wf_custom(&op, &x, 1);
    CHECK(!wf_grad(plain, x).id);
    CHECK_INT(wf_arena_report(A)->code, WF_ERROR_UNSUPPORTED);
    CHECK_STR_HAS(wf_arena_report(A)->text, "operation cube has no derivative");
    wf_arena_clear(A);
    CHECK(!wf_jvp(plain, x, one).id);
    CHECK_STR_HAS(wf_arena_report(A)->text, "operation cube has no forward derivative");
    wf_arena_clear(A);

    op.vjp_eval = slope; /* by numbers: the first order only */
    wf_t numeric = wf_grad(wf_custom(&op, &x, 1), x);
    CHECK(numeric.id != 0);
    CHECK(!wf_grad(numeric, x).id);
    CHECK_STR_HAS(wf_arena_report(A)->text, "operation cube has no second derivative");
    wf_arena_clear(A);

    op = cube_op(); /* derivatives that are wrong */
    op.vjp = wrong_vjp;
    op.jvp = wrong_jvp;
    wf_t bad = wf_custom(&op, &x, 1);
    CHECK(!wf_grad(bad, x).id);
    CHECK_STR_HAS(wf_arena_report(A)->text, "cube");
    CHECK_STR_HAS(wf_arena_report(A)->text, "[1,2]");
    wf_arena_clear(A);
    CHECK(!wf_jvp(bad, x, one).id);
    CHECK_STR_HAS(wf_arena_report(A)->text, "cube");
    wf_arena_clear(A);
    op.vjp = no_vjp;
    CHECK(!wf_grad(wf_custom(&op, &x, 1), x).id);
    CHECK(wf_arena_report(A)->code < 0);
    wf_arena_free(A);
}

/* --- the same node ---------------------------------------------------------------------------------------------------------------------------------------- */
WF_TEST(equal_expressions_are_one_node)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, wf_params_new(A, 1, WF_F32));
    int d[2] = { 2, 3 }, o[2] = { 1, 0 };
    wf_t x = wf_input_nd(g, "x", 2, d), y = wf_input_nd(g, "y", 2, d), w = wf_param(g, "w", 2, d, WF_INIT_ZERO, 0);
    CHECK(wf_input_nd(g, "x", 2, d).id == x.id && wf_param(g, "w", 2, d, WF_INIT_ZERO, 0).id == w.id);
    CHECK(wf_const(g, 2).id == wf_const(g, 2).id && wf_const(g, 0.0).id == wf_const(g, -0.0).id);
    CHECK(wf_add(x, y).id == wf_add(y, x).id && wf_mul(x, y).id == wf_mul(y, x).id && wf_eq(x, y).id == wf_eq(y, x).id);
    CHECK(wf_sub(x, y).id != wf_sub(y, x).id && wf_max(x, y).id != wf_max(y, x).id && wf_lt(x, y).id != wf_lt(y, x).id);
    CHECK(wf_tanh(x).id == wf_tanh(x).id && wf_tanh(x).id != wf_tanh(y).id);
    CHECK(wf_sum_over(x, 1).id == wf_sum_over(x, -1).id && wf_sum_over(x, 0).id != wf_sum_over(x, 1).id);
    CHECK(wf_slice(x, 1, 0, 2).id == wf_slice(x, 1, 0, 2).id && wf_slice(x, 1, 0, 2).id != wf_slice(x, 1, 1, 2).id);
    CHECK(wf_matmul_t(x, 1, y, 0).id == wf_matmul_t(x, 1, y, 0).id && wf_matmul_t(x, 1, y, 0).id != wf_matmul_t(y, 1, x, 0).id);
    CHECK(wf_cumsum(x, 0, 1, 0).id != wf_cumsum(x, 0, 0, 0).id && wf_permute(x, o).id == wf_transpose(x).id);
    CHECK(wf_normal(g, 2, d, 1).id == wf_normal(g, 2, d, 1).id && wf_normal(g, 2, d, 1).id != wf_normal(g, 2, d, 2).id && wf_normal(g, 2, d, 1).id != wf_uniform(g, 2, d, 1).id);
    int before = wf_graph_size(g);
    for (int i = 0; i < 100; i++) wf_log(wf_add(wf_exp(x), wf_exp(y)));
    CHECK_INT(wf_graph_size(g), before + 4);
    CHECK_INT(wf_arena_report(A)->code, WF_OK);
    wf_arena_free(A);
}

/* Hundreds of nodes, so that the tables grow; every one must still be found. */
WF_TEST(nodes_are_found_in_a_large_graph)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t x = wf_input(g, "x", 3), y[1000];
    for (int i = 0; i < 1000; i++) y[i] = wf_sin(wf_shift(x, i + 0.5));
    int size = wf_graph_size(g);
    for (int i = 999; i >= 0; i--) CHECK_INT(wf_sin(wf_shift(x, i + 0.5)).id, y[i].id);
    CHECK_INT(wf_graph_size(g), size);
    wf_arena_free(A);
}

WF_TEST(simplifications)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    int d[2] = { 2, 3 }, wide[3] = { 4, 2, 3 }, flat = 6;
    wf_t x = wf_input_nd(g, "x", 2, d), y = wf_input_nd(g, "y", 2, d), s = wf_input_nd(g, "s", 0, NULL), zero = wf_const(g, 0), one = wf_const(g, 1);
    double c;
    CHECK(wf_add(x, zero).id == x.id && wf_add(zero, x).id == x.id && wf_sub(x, zero).id == x.id && wf_mul(x, one).id == x.id && wf_mul(one, x).id == x.id && wf_div(x, one).id == x.id);
    CHECK(wf_mul(x, wf_const(g, -1)).id == wf_neg(x).id && wf_sub(zero, x).id == wf_neg(x).id && wf_neg(wf_neg(x)).id == x.id);
    CHECK(wf_add(x, wf_neg(y)).id == wf_sub(x, y).id && wf_sub(x, wf_neg(y)).id == wf_add(x, y).id && wf_mul(x, x).id == wf_square(x).id);
    CHECK(wf__is_const(wf_mul(x, zero), &c) && c == 0 && wf__is_const(wf_sub(x, x), &c) && c == 0 && wf__is_const(wf_div(zero, x), &c) && c == 0);
    CHECK(wf__is_const(wf_add(wf_const(g, 2), wf_const(g, 3)), &c) && c == 5 && wf__is_const(wf_div(wf_const(g, 3), wf_const(g, 4)), &c) && c == 0.75);
    CHECK(wf_sum_over(wf_sum_over(x, 0), 0).id == wf_sum_over(wf_sum_over(x, 0), -1).id && wf_sum(s).id == s.id && wf_reverse(wf_slice(x, 0, 0, 1), 0).id == wf_slice(x, 0, 0, 1).id);
    CHECK(wf_transpose(wf_transpose(x)).id == x.id && wf_reshape(wf_reshape(x, 1, &flat), 2, d).id == x.id && wf_slice(x, 1, 0, 3).id == x.id && wf_pad(x, 0, 0, 0).id == x.id);
    CHECK(wf_bcast(x, 2, d).id == x.id && wf_concat(&x, 1, 0).id == x.id && wf_select(y, x, x).id == x.id && wf_per_sample(x).id == x.id);
    /* a simplification keeps the shape that the operation would have had */
    int e[4];
    wf_t grown[4] = { wf_add(wf_full(g, 3, wide, 0), x), wf_mul(x, wf_full(g, 3, wide, 1)), wf_mul(wf_full(g, 3, wide, 0), x), wf_sub(wf_full(g, 3, wide, 0), x) };
    for (int i = 0; i < 4; i++) CHECK(wf_shape(grown[i], e) == 3 && e[0] == 4 && e[1] == 2 && e[2] == 3);
    CHECK_INT(wf_arena_report(A)->code, WF_OK);
    wf_arena_free(A);
}

/* --- misuse ------------------------------------------------------------------------------------------------------------------------------------------------- */
typedef struct world { wf_arena *A, *A2; wf_params *P; wf_graph *g, *other; wf_t x, m, v, w, s, stranger, none; } world;

static world world_new(void)
{
    world u;
    int d[2] = { 2, 3 };
    u.A = wf_arena_new(NULL);
    u.A2 = wf_arena_new(NULL);
    u.P = wf_params_new(u.A, 1, WF_F32);
    u.g = wf_graph_new(u.A, u.P);
    u.other = wf_graph_new(u.A, NULL);
    u.x = wf_input(u.g, "x", 4);
    u.v = wf_input(u.g, "v", 3);
    u.m = wf_input_nd(u.g, "m", 2, d);
    u.w = wf_param(u.g, "w", 2, d, WF_INIT_ZERO, 0);
    u.s = wf_shared_nd(u.g, "s", 0, NULL);
    u.stranger = wf_input(u.other, "x", 4);
    u.none.graph = u.g;
    u.none.id = 0;
    return u;
}

static void expect(world *u, const char *file, int line, wf_result code, const char *a, const char *b)
{
    const wf_report *r = wf_arena_report(u->A);
    if (r->code != code || !strstr(r->text, a) || !strstr(r->text, b)) {
        wf_test_failures++;
        printf("  %s:%d: the report is %d \"%s\", wanted %d with \"%s\" and \"%s\"\n", file, line, r->code, r->text, code, a, b);
    }
    wf_arena_clear(u->A);
}
#define REFUSED(call, code, a, b) do { wf_t refused = (call); CHECK_INT(refused.id, 0); expect(&u, __FILE__, __LINE__, code, a, b); } while (0)

WF_TEST(misuse_of_builders)
{
    world u = world_new();
    int d0[4] = { 2, 0, 1, 1 }, big[4] = { 1 << 15, 1 << 15, 2, 1 }, d1[4] = { 2, 3, 1, 1 }, twice[2] = { 0, 0 }, outside[2] = { 0, 2 }, many[5] = { 1, 1, 1, 1, 1 };
    double values[6] = { 0 };
    /* sources */
    REFUSED(wf_input(u.g, NULL, 3), WF_ERROR_NAME, "input", "name");
    REFUSED(wf_input(u.g, "", 3), WF_ERROR_NAME, "input", "name");
    REFUSED(wf_input(u.g, "q", 0), WF_ERROR_SHAPE, "q", "at least 1");
    REFUSED(wf_input(u.g, "q", -7), WF_ERROR_SHAPE, "q", "at least 1");
    REFUSED(wf_input_nd(u.g, "q", 2, d0), WF_ERROR_SHAPE, "q", "at least 1");
    REFUSED(wf_input_nd(u.g, "q", 5, many), WF_ERROR_SHAPE, "q", "up to 4");
    REFUSED(wf_input_nd(u.g, "q", -1, many), WF_ERROR_SHAPE, "q", "up to 4");
    REFUSED(wf_input_nd(u.g, "q", 3, big), WF_ERROR_SHAPE, "q", "2^30");
    REFUSED(wf_input(u.g, "x", 5), WF_ERROR_SHAPE, "input x", "twice");
    REFUSED(wf_shared_nd(u.g, "x", 1, (int[]){ 4 }), WF_ERROR_SHAPE, "input x", "twice");
    REFUSED(wf_param(u.other, "w", 2, d1, 0, 0), WF_ERROR_ARGUMENT, "w", "without parameters");
    REFUSED(wf_param(u.g, "w", 1, d1, 0, 0), WF_ERROR_SHAPE, "w is [2,3]", "[2]");
    REFUSED(wf_param(u.g, NULL, 1, d1, 0, 0), WF_ERROR_NAME, "params", "name");
    REFUSED(wf_const_array(u.g, 2, d0, values), WF_ERROR_SHAPE, "array", "at least 1");
    REFUSED(wf_full(u.g, 2, d0, 1), WF_ERROR_SHAPE, "bcast", "at least 1");
    REFUSED(wf_normal(u.g, 2, d0, 1), WF_ERROR_SHAPE, "random", "at least 1");
    REFUSED(wf_normal(u.g, 0, NULL, -1), WF_ERROR_ARGUMENT, "random", "purpose -1");
    REFUSED(wf_uniform(u.g, 0, NULL, 128), WF_ERROR_ARGUMENT, "random", "purpose 128");
    CHECK(wf_uniform(u.g, 0, NULL, 127).id != 0);
    /* elementwise */
    REFUSED(wf_add(u.x, u.v), WF_ERROR_SHAPE, "add: [4] and [3]", "do not fit");
    REFUSED(wf_matmul(u.m, u.x), WF_ERROR_SHAPE, "matmul: [2,3] and [4", "do not fit");
    REFUSED(wf_mul(u.m, u.x), WF_ERROR_SHAPE, "mul: [2,3] and [4]", "do not fit");
    REFUSED(wf_select(u.x, u.v, u.x), WF_ERROR_SHAPE, "select", "do not fit");
    REFUSED(wf_select(u.x, u.v, u.v), WF_ERROR_SHAPE, "select", "do not fit");
    REFUSED(wf_add(u.x, u.stranger), WF_ERROR_ARGUMENT, "two graphs", "");
    REFUSED(wf_tanh(u.none), WF_ERROR_ARGUMENT, "no value", "");
    REFUSED(wf_add(u.none, u.x), WF_ERROR_ARGUMENT, "no value", "");
    REFUSED(wf_add(u.x, u.none), WF_ERROR_ARGUMENT, "no value", "");
    REFUSED(wf_scale(u.none, 2), WF_ERROR_ARGUMENT, "no value", "");
    /* axes and shapes */
    REFUSED(wf_sum_over(u.m, 2), WF_ERROR_ARGUMENT, "sum", "no axis 2 among 2");
    REFUSED(wf_sum_over(u.m, -3), WF_ERROR_ARGUMENT, "sum", "no axis -3");
    REFUSED(wf_max_over(u.s, 0), WF_ERROR_ARGUMENT, "max_over", "no axis");
    REFUSED(wf_cumsum(u.m, 5, 0, 0), WF_ERROR_ARGUMENT, "cumsum", "no axis");
    REFUSED(wf_softmax(u.m, 2), WF_ERROR_ARGUMENT, "softmax", "no axis");
    REFUSED(wf_log_softmax(u.m, 2), WF_ERROR_ARGUMENT, "log_softmax", "no axis");
    REFUSED(wf_logsumexp(u.m, 2), WF_ERROR_ARGUMENT, "logsumexp", "no axis");
    REFUSED(wf_reshape(u.m, 1, (int[]){ 5 }), WF_ERROR_SHAPE, "reshape: [2,3]", "number of elements");
    REFUSED(wf_bcast(u.m, 2, (int[]){ 4, 3 }), WF_ERROR_SHAPE, "bcast: [2,3]", "cannot be repeated");
    REFUSED(wf_bcast(u.m, 1, (int[]){ 3 }), WF_ERROR_SHAPE, "bcast", "cannot be repeated");
    REFUSED(wf_permute(u.m, twice), WF_ERROR_SHAPE, "permute", "not a permutation");
    REFUSED(wf_permute(u.m, outside), WF_ERROR_SHAPE, "permute", "not a permutation");
    REFUSED(wf_transpose(u.x), WF_ERROR_SHAPE, "transpose: [4]", "two axes");
    REFUSED(wf_slice(u.x, 0, 2, 3), WF_ERROR_SHAPE, "slice: [4]", "outside");
    REFUSED(wf_slice(u.x, 0, -1, 2), WF_ERROR_SHAPE, "slice", "outside");
    REFUSED(wf_slice(u.x, 0, 0, 0), WF_ERROR_SHAPE, "slice", "outside");
    REFUSED(wf_slice(u.x, 0, 0, -2147483647 - 1), WF_ERROR_SHAPE, "slice", "outside");
    REFUSED(wf_slice(u.x, 1, 0, 1), WF_ERROR_ARGUMENT, "slice", "no axis");
    REFUSED(wf_slice_step(u.x, 0, 1, 3, 2), WF_ERROR_SHAPE, "slice", "outside");
    REFUSED(wf_slice_step(u.x, 0, 1, 3, -1), WF_ERROR_SHAPE, "slice", "outside");
    REFUSED(wf_slice_step(u.x, 0, 1, 2, 0), WF_ERROR_SHAPE, "slice", "step");
    REFUSED(wf_slice_step(u.x, 0, 1, 2147483647, 2147483647), WF_ERROR_SHAPE, "slice", "outside");
    REFUSED(wf_pad(u.x, 0, -1, 2), WF_ERROR_SHAPE, "pad", "negative");
    REFUSED(wf_pad(u.x, 0, 2147483647, 2147483647), WF_ERROR_SHAPE, "pad", "too large");
    REFUSED(wf_pad(u.x, 3, 1, 1), WF_ERROR_ARGUMENT, "pad", "no axis");
    REFUSED(wf_reverse(u.x, 1), WF_ERROR_ARGUMENT, "reverse", "no axis");
    { wf_t list[2] = { u.m, u.x }; REFUSED(wf_concat(list, 2, 0), WF_ERROR_SHAPE, "concat: [2,3] and [4]", "do not fit"); REFUSED(wf_stack(list, 2), WF_ERROR_SHAPE, "concat", "do not fit"); }
    { wf_t list[2] = { u.m, u.none }; REFUSED(wf_concat(list, 2, 0), WF_ERROR_ARGUMENT, "no value", ""); REFUSED(wf_stack(list, 2), WF_ERROR_ARGUMENT, "no value", ""); }
    { wf_t list[2] = { u.x, u.stranger }; REFUSED(wf_concat(list, 2, 0), WF_ERROR_ARGUMENT, "two graphs", ""); REFUSED(wf_concat(list, 2, 7), WF_ERROR_ARGUMENT, "two graphs", ""); }
    REFUSED(wf_concat(&u.x, 1, 7), WF_ERROR_ARGUMENT, "concat", "no axis 7");
    CHECK_INT(wf_concat(NULL, 0, 0).id, 0);
    CHECK_INT(wf_stack(NULL, 0).id, 0);
    { static wf_t list[300]; for (int i = 0; i < 300; i++) list[i] = u.x; REFUSED(wf_stack(list, 300), WF_ERROR_LIMIT, "stack", "256"); }
    { int four[4] = { 1, 1, 1, 2 }; wf_t deep = wf_input_nd(u.g, "deep", 4, four); REFUSED(wf_stack(&deep, 1), WF_ERROR_SHAPE, "stack: [1,1,1,2]", "four axes"); }
    /* by number, matrices */
    REFUSED(wf_take(u.s, u.x), WF_ERROR_SHAPE, "take", "do not fit");
    REFUSED(wf_take(u.x, u.m), WF_ERROR_SHAPE, "take", "do not fit");
    REFUSED(wf_scatter_add(u.x, u.v, 3), WF_ERROR_SHAPE, "scatter: [4] and [3]", "do not fit");
    REFUSED(wf_scatter_add(u.x, u.x, 0), WF_ERROR_SHAPE, "scatter", "at least one row");
    REFUSED(wf_search(u.m, u.x), WF_ERROR_SHAPE, "search", "one axis");
    REFUSED(wf_argsort(u.m), WF_ERROR_SHAPE, "argsort", "one axis");
    REFUSED(wf_matmul(u.m, u.m), WF_ERROR_SHAPE, "matmul: [2,3] and [2,3]", "do not fit");
    REFUSED(wf_matmul(u.x, u.m), WF_ERROR_SHAPE, "matmul: [4] and [2,3]", "do not fit");
    REFUSED(wf_matmul(u.m, u.s), WF_ERROR_SHAPE, "matmul", "do not fit");
    REFUSED(wf_trisolve(u.m, u.m, 0, 0, 0), WF_ERROR_SHAPE, "trisolve", "do not fit");
    REFUSED(wf_cholesky(u.m), WF_ERROR_SHAPE, "cholesky: [2,3]", "square");
    /* too many elements */
    int large = 1 << 16, wide_shape[2] = { 1, 1 << 16 };
    wf_t column = wf_input_nd(u.g, "column", 2, (int[]){ 1 << 16, 1 }), row = wf_input_nd(u.g, "row", 2, wide_shape), line = wf_input(u.g, "line", large);
    REFUSED(wf_matmul(column, row), WF_ERROR_LIMIT, "matmul", "2^30");
    REFUSED(wf_add(column, row), WF_ERROR_SHAPE, "bcast", "2^30");
    REFUSED(wf_pad(row, 0, 0, 1 << 16), WF_ERROR_LIMIT, "pad", "2^30");
    REFUSED(wf_scatter_add(wf_reshape(row, 2, (int[]){ 1, 1 << 16 }), wf_const_array(u.g, 1, (int[]){ 1 }, values), 1 << 16), WF_ERROR_LIMIT, "scatter", "2^30");
    REFUSED(wf_take(row, line), WF_ERROR_LIMIT, "take", "2^30");
    /* derivatives */
    wf_t one = wf_const(u.g, 1), out[2];
    REFUSED(wf_grad(u.none, u.x), WF_ERROR_ARGUMENT, "no value", "");
    REFUSED(wf_grad(u.x, u.none), WF_ERROR_ARGUMENT, "no value", "");
    REFUSED(wf_grad(u.x, u.stranger), WF_ERROR_ARGUMENT, "two graphs", "");
    REFUSED(wf_jvp(u.x, u.x, u.v), WF_ERROR_SHAPE, "bcast", "[3]");
    REFUSED(wf_jvp(u.x, u.stranger, one), WF_ERROR_ARGUMENT, "two graphs", "");
    REFUSED(wf_divergence(u.x, u.v), WF_ERROR_SHAPE, "divergence", "do not fit");
    REFUSED(wf_jacobian(u.x, line), WF_ERROR_SHAPE, "jacobian", "256");
    REFUSED(wf_jet2(u.s, line).lap, WF_ERROR_SHAPE, "jet2", "256");
    CHECK_INT(wf_vjp(&u.x, &u.v, 1, &u.x, 1, out), WF_ERROR_SHAPE);
    expect(&u, __FILE__, __LINE__, WF_ERROR_SHAPE, "bcast", "[3]");
    /* without a graph at all: nothing to report to, no crash */
    wf_t nowhere = { NULL, 0 };
    CHECK(!wf_tanh(nowhere).id && !wf_add(nowhere, nowhere).id && !wf_sum(nowhere).id && !wf_reshape(nowhere, 1, &large).id && !wf_grad(nowhere, nowhere).id && !wf_matmul(nowhere, nowhere).id);
    CHECK(!wf_scale(nowhere, 2).id && !wf_input(NULL, "x", 1).id && !wf_param(NULL, "x", 0, NULL, 0, 0).id && !wf_const(NULL, 1).id && !wf_samples(NULL).id && !wf_per_sample(nowhere).id);
    CHECK(!wf_jvp(nowhere, nowhere, nowhere).id && !wf_jet2(nowhere, nowhere).lap.id && !wf_jacobian(nowhere, nowhere).id && !wf_concat(&nowhere, 1, 0).id && !wf_custom(NULL, &nowhere, 1).id);
    CHECK_INT(wf_graph_size(NULL), 0);
    /* the first sentence is kept, whatever follows */
    wf_add(u.x, u.v);
    wf_tanh(wf_matmul(wf_add(u.x, u.v), u.x));
    expect(&u, __FILE__, __LINE__, WF_ERROR_SHAPE, "add: [4] and [3]", "do not fit");
    wf_arena_free(u.A);
    wf_arena_free(u.A2);
}

WF_TEST(misuse_of_loops)
{
    world u = world_new();
    wf_loop *l;
    CHECK(!wf_loop_begin(NULL, 3, 0));
    CHECK(!wf_loop_begin(u.g, 0, 0));
    expect(&u, __FILE__, __LINE__, WF_ERROR_ARGUMENT, "loop", "0 steps");
    CHECK(!wf_loop_begin(u.g, 3, 9));
    expect(&u, __FILE__, __LINE__, WF_ERROR_ARGUMENT, "loop", "policy 9");
    l = wf_loop_begin(u.g, 3, 0);
    REFUSED(wf_loop_each(l, u.x), WF_ERROR_SHAPE, "loop: [4]", "one row for each step");
    REFUSED(wf_loop_carry(l, u.stranger), WF_ERROR_ARGUMENT, "loop", "another graph");
    REFUSED(wf_loop_constant(l, u.none), WF_ERROR_ARGUMENT, "no value", "");
    wf_t c = wf_loop_carry(l, u.s), x = wf_loop_constant(l, u.x);
    CHECK_INT(wf_loop_next(l, x, c), WF_ERROR_ARGUMENT);
    expect(&u, __FILE__, __LINE__, WF_ERROR_ARGUMENT, "loop", "not a carry");
    CHECK_INT(wf_loop_next(l, c, x), WF_ERROR_SHAPE);
    expect(&u, __FILE__, __LINE__, WF_ERROR_SHAPE, "loop carry", "do not fit");
    CHECK_INT(wf_loop_next(l, c, wf_sum(x)), WF_ERROR_ARGUMENT);
    expect(&u, __FILE__, __LINE__, WF_ERROR_ARGUMENT, "loop", "wf_per_sample");
    CHECK_INT(wf_loop_next(l, c, u.s), WF_ERROR_ARGUMENT);
    expect(&u, __FILE__, __LINE__, WF_ERROR_ARGUMENT, "two graphs", "");
    REFUSED(wf_add(c, u.s), WF_ERROR_ARGUMENT, "two graphs", "");
    CHECK_INT(wf_loop_end(l), WF_ERROR_ARGUMENT);
    expect(&u, __FILE__, __LINE__, WF_ERROR_ARGUMENT, "loop: carry 0", "no next value");
    CHECK_INT(wf_loop_next(l, c, c), WF_OK);
    REFUSED(wf_loop_final(l, c), WF_ERROR_ARGUMENT, "loop", "after its end");
    CHECK_INT(wf_loop_end(l), WF_OK);
    CHECK(wf_loop_end(l) < 0);
    expect(&u, __FILE__, __LINE__, WF_ERROR_ARGUMENT, "loop", "ended");
    CHECK(wf_loop_next(l, c, c) < 0);
    expect(&u, __FILE__, __LINE__, WF_ERROR_ARGUMENT, "loop", "ended");
    REFUSED(wf_loop_carry(l, u.s), WF_ERROR_ARGUMENT, "loop", "ended");
    REFUSED(wf_loop_final(l, x), WF_ERROR_ARGUMENT, "loop", "not a carry");
    REFUSED(wf_loop_stack(l, u.x), WF_ERROR_ARGUMENT, "loop", "values of its body");
    /* a sum over samples inside a loop over samples: only as a total */
    l = wf_loop_begin(u.g, 2, 0);
    c = wf_loop_carry(l, u.x);
    CHECK_INT(wf_loop_next(l, c, wf_sub(c, wf_mean(c))), WF_OK);
    CHECK_INT(wf_loop_end(l), WF_ERROR_UNSUPPORTED);
    expect(&u, __FILE__, __LINE__, WF_ERROR_UNSUPPORTED, "sum over samples", "total");
    l = wf_loop_begin(u.g, 2, 0);
    c = wf_loop_carry(l, u.x);
    wf_t m = wf_batch_sum(c);
    CHECK_INT(wf_loop_next(l, c, wf_tanh(c)), WF_OK);
    CHECK_INT(wf_loop_end(l), WF_OK);
    CHECK(wf_loop_total(l, m).id != 0);
    REFUSED(wf_loop_stack(l, m), WF_ERROR_SHAPE, "sum over samples", "total");
    l = wf_loop_begin(u.g, 2, 0); /* of its square, the plan would know those of the tiles only */
    c = wf_loop_carry(l, u.x);
    m = wf_batch_sum(c);
    wf_t linear = wf_sum(wf_mul(wf_neg(m), wf_exp(wf_loop_constant(l, u.s)))), square = wf_square(m), shifted = wf_shift(m, 1);
    CHECK_INT(wf_loop_next(l, c, wf_tanh(c)), WF_OK);
    CHECK_INT(wf_loop_end(l), WF_OK);
    CHECK(wf_loop_total(l, linear).id != 0);
    REFUSED(wf_loop_total(l, square), WF_ERROR_SHAPE, "linear", "loop");
    REFUSED(wf_loop_total(l, shifted), WF_ERROR_SHAPE, "linear", "loop");
    CHECK(!wf_loop_carry(NULL, u.x).id && !wf_loop_each(NULL, u.x).id && !wf_loop_constant(NULL, u.x).id && !wf_loop_step(NULL).id && !wf_loop_final(NULL, u.x).id && !wf_loop_body(NULL));
    CHECK(wf_loop_end(NULL) < 0 && wf_loop_next(NULL, u.x, u.x) < 0);
    wf_arena_free(u.A);
    wf_arena_free(u.A2);
}

static void refuse_plan(world *u, const wf_plan_desc *d, int line, const char *a, const char *b)
{
    wf_plan *p = wf_compile(u->A2, d);
    const wf_report *r = wf_arena_report(u->A2);
    if (p || r->code >= 0 || !strstr(r->text, a) || !strstr(r->text, b)) {
        wf_test_failures++;
        printf("  line %d: the plan is %s, the report is %d \"%s\", wanted \"%s\" and \"%s\"\n", line, p ? "there" : "refused", r->code, r->text, a, b);
    }
    wf_arena_clear(u->A2);
    wf_arena_clear(u->A);
}

WF_TEST(misuse_of_plans) /* the plan lives in another arena than the graph, and its report must say what went wrong in either */
{
    world u = world_new();
    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    refuse_plan(&u, &d, __LINE__, "compile", "nothing is wanted");
    refuse_plan(&u, NULL, __LINE__, "compile", "nothing is wanted");
    d.out[0] = u.none;
    refuse_plan(&u, &d, __LINE__, "nothing is wanted", "");
    d.out[0] = wf_add(u.x, u.v); /* a failed call */
    refuse_plan(&u, &d, __LINE__, "add: [4] and [3]", "");
    d.out[0] = u.x;
    d.out[1] = u.stranger;
    refuse_plan(&u, &d, __LINE__, "output 1", "another graph");
    d.out[1] = u.none;
    d.type = 7;
    refuse_plan(&u, &d, __LINE__, "type 7", "");
    d.type = WF_F64;
    refuse_plan(&u, &d, __LINE__, "parameters are f32", "f64");
    d.type = WF_F32;
    d.tile = 65;
    refuse_plan(&u, &d, __LINE__, "tile 65", "");
    d.tile = -1;
    refuse_plan(&u, &d, __LINE__, "tile -1", "");
    d.tile = 0;
    d.slots = 65;
    refuse_plan(&u, &d, __LINE__, "slots 65", "");
    d.slots = 0;
    d.isa = WF_ISA_WASM;
    if (!wf_isa_available(WF_ISA_WASM)) refuse_plan(&u, &d, __LINE__, "no wasm", "");
    d.isa = 99;
    refuse_plan(&u, &d, __LINE__, "compile", "");
    d.isa = 0;
    d.grad_of = u.x;
    refuse_plan(&u, &d, __LINE__, "loss", "one shared number");
    d.grad_of = wf_batch_sum(u.x);
    refuse_plan(&u, &d, __LINE__, "loss", "one shared number");
    d.grad_of = wf_mean(u.stranger);
    refuse_plan(&u, &d, __LINE__, "another graph", "");
    wf_op_desc op = cube_op();
    op.d[0] = 4;
    wf_t y = wf_custom(&op, &u.x, 1);
    d.grad_of = wf_mean(wf_mul(y, wf_sum(u.w)));
    CHECK(wf_compile(u.A2, &d) != NULL); /* its derivative is not needed */
    op.d[0] = 2;
    wf_t z = wf_custom(&op, &(wf_t){ u.g, wf_sum_over(u.w, 1).id }, 1);
    d.grad_of = wf_sum(z);
    refuse_plan(&u, &d, __LINE__, "cube", "no derivative");
    wf_loop *l = wf_loop_begin(u.g, 2, 0);
    memset(&d, 0, sizeof d);
    d.out[0] = wf_loop_carry(l, u.x);
    refuse_plan(&u, &d, __LINE__, "body of a loop", "");
    wf_arena_free(u.A);
    wf_arena_free(u.A2);
}

WF_TEST(misuse_of_runs)
{
    world u = world_new();
    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    wf_t y = wf_mul(u.x, u.s), total = wf_mean(wf_log(y));
    d.out[0] = y;
    d.out[1] = total;
    wf_plan *p = wf_compile(u.A, &d), *q = wf_compile(u.A, &d);
    wf_ws *ws = wf_ws_new(u.A, p, 1, NULL);
    float x[8] = { 1, 2, 3, 4, 5, 6, 7, 8 }, s = 2, r[8], t;
    wf_feed f[4] = { wf_in(u.x, x, 0), wf_in(u.s, &s, 0), wf_out(y, r, 0), wf_out(total, &t, 0) };
    CHECK_INT(wf_run(p, ws, f, 4, 2), WF_OK);
    CHECK_INT(wf_run(p, ws, f, 4, 0), WF_ERROR_DATA);
    CHECK_STR_HAS(wf_ws_report(ws)->text, "zero samples");
    CHECK_INT(wf_run(p, ws, f, 1, 2), WF_ERROR_ARGUMENT);
    CHECK_STR_HAS(wf_ws_report(ws)->text, "input s is not fed");
    CHECK_INT(wf_run(p, ws, NULL, 0, 2), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_run(NULL, ws, f, 4, 2), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_run(p, NULL, f, 4, 2), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_run(q, ws, f, 4, 2), WF_ERROR_ARGUMENT);
    CHECK(!wf_ws_new(u.A2, NULL, 1, NULL));
    f[3] = wf_out(u.x, r, 0);
    CHECK_INT(wf_run(p, ws, f, 4, 2), WF_ERROR_ARGUMENT);
    CHECK_STR_HAS(wf_ws_report(ws)->text, "feed 3");
    f[3] = wf_out(y, x, 0);
    CHECK_INT(wf_run(p, ws, f, 4, 2), WF_ERROR_ARGUMENT);
    CHECK_STR_HAS(wf_ws_report(ws)->text, "fed already");
    f[3] = wf_in(u.stranger, x, 0);
    CHECK_INT(wf_run(p, ws, f, 4, 2), WF_ERROR_ARGUMENT);
    f[3] = wf_in(u.v, x, 0); /* an input of the graph that this plan does not use */
    CHECK_INT(wf_run(p, ws, f, 4, 2), WF_OK);
    f[0].stride = 3;
    CHECK_INT(wf_run(p, ws, f, 3, 2), WF_ERROR_SHAPE);
    CHECK_STR_HAS(wf_ws_report(ws)->text, "rows of 4 elements, 3 apart");
    f[0].stride = 0;
    x[5] = -1; /* its logarithm is not a number: outputs are written all the same */
    r[0] = 0;
    f[3] = wf_out(total, &t, 0);
    CHECK_INT(wf_run(p, ws, f, 4, 2), WF_ERROR_NUMERIC);
    CHECK_STR_HAS(wf_ws_report(ws)->text, "not finite");
    CHECK(r[0] == 2 && t != t);
    wf_arena_free(u.A);
    wf_arena_free(u.A2);
}

/* Twenty-four choices between three scalars each: as many operands as a group can have. */
WF_TEST(a_group_of_many_choices)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t sum = wf_const(g, 0), x = wf_input(g, "x", 5), all = wf_shared_nd(g, "all", 1, (int[]){ 72 });
    int d = 5;
    wf_t p[24][3], chosen[24];
    for (int i = 0; i < 72; i++) {
        p[i / 3][i % 3] = wf_bcast(wf_slice(all, 0, i, 1), 1, &d);
        if (i % 3 == 1) p[i / 3][1] = wf_per_sample(p[i / 3][1]);
    }
    for (int i = 0; i < 24; i++) chosen[i] = wf_select(p[i][0], p[i][1], p[i][2]);
    for (int i = 0; i < 24; i++) sum = wf_add(sum, chosen[i]);
    wf_plan_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.out[0] = wf_add(sum, x);
    for (int tile = 1; tile <= 64; tile += 63) {
        desc.tile = tile;
        wf_plan *p = wf_compile(A, &desc);
        wf_ws *ws = wf_ws_new(A, p, 1, NULL);
        float xs[5] = { 1, 2, 3, 4, 5 }, v[72], y[5], want = 0;
        for (int i = 0; i < 72; i++) v[i] = (float)(i % 3 ? i : i % 2);
        for (int i = 0; i < 24; i++) want += (3 * i) % 2 ? v[3 * i + 1] : v[3 * i + 2];
        wf_feed f[3] = { wf_in(x, xs, 0), wf_in(all, v, 0), wf_out(desc.out[0], y, 0) };
        CHECK_INT(wf_run(p, ws, f, 3, 1), WF_OK);
        for (int i = 0; i < 5; i++) CHECK_CLOSE(y[i], want + (float)(i + 1), 1e-3);
    }
    wf_arena_free(A);
}

/* --- memory that runs out ------------------------------------------------------------------------------------------------------------------------------------ */
static int whole(const wf_allocator *m) /* builds, differentiates, compiles and makes a workspace; 1 when all of it worked */
{
    wf_arena *A = wf_arena_new(m), *B = wf_arena_new(m);
    int ok = 0, d[2] = { 6, 4 };
    wf_params *P = A ? wf_params_new(A, 3, WF_F64) : NULL;
    wf_graph *g = P ? wf_graph_new(A, P) : NULL;
    if (!B || !g) { if (A && B) CHECK_INT(wf_arena_report(A)->code, WF_ERROR_MEMORY); wf_arena_free(A); wf_arena_free(B); return 0; }
    wf_t x = wf_input(g, "x", 4), h = x, list[40];
    for (int i = 0; i < 6; i++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", i);
        d[1] = i ? 6 : 4;
        h = wf_tanh(wf_matmul(wf_param(g, name, 2, d, WF_INIT_UNIFORM, 0.5), h));
    }
    for (int i = 0; i < 40; i++) { char name[16]; snprintf(name, sizeof name, "in%d", i); list[i] = wf_mul(wf_input(g, name, 6), wf_sin(wf_shift(h, i))); }
    wf_op_desc op = cube_op();
    op.d[0] = 6;
    op.vjp = cube_vjp;
    op.jvp = cube_jvp;
    h = wf_custom(&op, &h, 1);
    wf_loop *l = wf_loop_begin(g, 3, WF_KEEP_ALL);
    wf_t c = wf_loop_carry(l, h), k = wf_loop_constant(l, wf_sum(wf_concat(list, 40, 0)));
    wf_loop_next(l, c, wf_tanh(wf_add(wf_mul(c, k), wf_normal(wf_loop_body(l), 1, d, 4))));
    wf_loop_end(l);
    wf_t y = wf_sum(wf_loop_final(l, c)), grad = wf_grad(y, x), lap = wf_laplacian(wf_sum(wf_sin(wf_mul(x, x))), x), loss = wf_mean(wf_add(wf_sumsq(grad), wf_square(lap)));
    wf_plan_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.out[0] = loss;
    desc.out[1] = grad;
    desc.grad_of = loss;
    desc.type = WF_F64;
    wf_plan *p = wf_compile(B, &desc);
    wf_ws *ws = wf_ws_new(B, p, 2, NULL);
    ok = ws != NULL && wf_arena_report(A)->code >= 0;
    if (!ok) {
        CHECK(wf_arena_report(A)->code == WF_ERROR_MEMORY || wf_arena_report(B)->code == WF_ERROR_MEMORY);
        CHECK(p || wf_arena_report(B)->code < 0); /* the report of the arena that was given says so, too */
    }
    wf_arena_free(B);
    wf_arena_free(A);
    return ok;
}

WF_TEST(every_allocation_may_fail)
{
    for (long k = 0;; k++) { /* the first pass counts; then the k-th request to the allocator fails, once (the arena may get by with a smaller block) or from there on */
        static long calls;
        wf_test_memory m;
        memset(&m, 0, sizeof m);
        m.fail_at = k;
        wf_allocator a = { wf_test_alloc, wf_test_free, &m };
        int ok = whole(&a);
        CHECK_INT(m.live, 0);
        if (!k) { calls = m.calls; CHECK(ok && calls > 4); }
        if (k > calls) { CHECK(ok); break; }
    }
}

static char pool[1 << 23];
static int from_pool(size_t size_a, size_t size_b, int *built) /* the same in two fixed buffers */
{
    wf_arena *A = wf_arena_from(pool, size_a), *B = wf_arena_from(pool + (1 << 22), size_b);
    wf_params *P = A ? wf_params_new(A, 3, WF_F32) : NULL;
    wf_graph *g = P ? wf_graph_new(A, P) : NULL;
    int d[2] = { 3, 2 };
    *built = 0;
    if (!g || !B) return 0;
    wf_t x = wf_input(g, "x", 2), w = wf_param(g, "w", 2, d, WF_INIT_UNIFORM, 1), y = wf_tanh(wf_matmul(w, x));
    wf_op_desc op = cube_op();
    op.d[0] = 3;
    op.vjp = cube_vjp;
    op.jvp = cube_jvp;
    y = wf_softmax(wf_custom(&op, &y, 1), 0);
    wf_loop *l = wf_loop_begin(g, 3, WF_KEEP_CARRY);
    wf_t c = wf_loop_carry(l, y), r = wf_loop_constant(l, w), next = wf_sin(wf_add(c, wf_sum_over(r, 1)));
    wf_loop_next(l, c, next);
    wf_loop_end(l);
    y = wf_add(wf_loop_final(l, c), wf_loop_total(l, next));
    wf_t lap = wf_laplacian(wf_sum(wf_square(wf_mul(x, wf_exp(x)))), x), loss = wf_mean(wf_add(wf_sumsq(y), lap)), fwd = wf_jvp(y, x, wf_const(g, 1));
    *built = wf_arena_report(A)->code >= 0 && loss.id && fwd.id;
    if (!*built) CHECK_INT(wf_arena_report(A)->code, WF_ERROR_MEMORY);
    wf_plan_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.out[0] = loss;
    desc.out[1] = fwd;
    desc.grad_of = loss;
    wf_plan *p = wf_compile(B, &desc);
    wf_ws *ws = wf_ws_new(B, p, 1, NULL);
    if (!ws) CHECK(wf_arena_report(B)->code < 0);
    return ws != NULL;
}

WF_TEST(every_size_of_memory) /* finer than requests to the allocator: each single piece of the arena is the first that does not fit */
{
    int built;
    size_t enough_a = 1 << 22, enough_b = 1 << 22;
    CHECK(from_pool(enough_a, enough_b, &built) && built);
    for (size_t low = 0; enough_a - low > 64;) { size_t m = (low + enough_a) / 2 & ~(size_t)63; if (from_pool(m, 1 << 22, &built)) enough_a = m; else low = m; }
    for (size_t low = 0; enough_b - low > 64;) { size_t m = (low + enough_b) / 2 & ~(size_t)63; if (from_pool(1 << 22, m, &built)) enough_b = m; else low = m; }
    for (size_t size = 0; size < enough_a; size += 64) CHECK(!from_pool(size, 1 << 22, &built));
    for (size_t size = 0; size < enough_b; size += 64) CHECK(!from_pool(1 << 22, size, &built));
}

WF_MAIN_CASES(WF_CASE(a_graph_describes_one_sample), WF_CASE(an_operation_of_the_users), WF_CASE(derivatives_of_users_operations), WF_CASE(equal_expressions_are_one_node),
              WF_CASE(nodes_are_found_in_a_large_graph), WF_CASE(simplifications), WF_CASE(misuse_of_builders), WF_CASE(misuse_of_loops), WF_CASE(misuse_of_plans), WF_CASE(misuse_of_runs),
              WF_CASE(a_group_of_many_choices), WF_CASE(every_allocation_may_fail), WF_CASE(every_size_of_memory))
