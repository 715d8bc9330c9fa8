/* Graphs and plans as text. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

/* Collects text; may fail after some bytes. */
typedef struct sheet { char text[1 << 16]; size_t size, room; } sheet;

static int scribble(void *user, const void *data, size_t size)
{
    sheet *s = (sheet *)user;
    if (s->size + size > s->room) return 1;
    memcpy(s->text + s->size, data, size);
    s->size += size;
    s->text[s->size] = 0;
    return 0;
}

static sheet *blank(void)
{
    static sheet s;
    s.size = 0;
    s.text[0] = 0;
    s.room = sizeof s.text - 1;
    return &s;
}

#define CHECK_TEXT(a, b) \
    do { if (strcmp((a), (b))) { wf_test_failures++; printf("  %s:%d: %s: the text is\n%s--- and not\n%s---\n", __FILE__, __LINE__, wf_test_name, (a), (b)); } } while (0)

// region: a graph as text
WF_TEST(a_graph_as_text)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, wf_params_new(A, 1, WF_F32));
    int d[2] = { 4, 3 };
    wf_t x = wf_input(g, "x", 3), w = wf_param(g, "w", 2, d, WF_INIT_UNIFORM, 1);
    wf_t y = wf_tanh(wf_matmul(w, x));

    sheet *s = blank();
    CHECK_INT(wf_graph_dump(g, NULL, 0, scribble, s), WF_OK);
    CHECK_TEXT(s->text,
               "%1    B [3]        input x\n"
               "%2    S [4,3]      param w\n"
               "%3    B [3,1]      reshape %1\n"
               "%4    B [4,1]      matmul %2 %3\n"
               "%5    B [4]        reshape %4\n"
               "%6    B [4]        tanh %5\n");

    wf_t dw = wf_grad(wf_mean(wf_square(y)), w); /* adds some more; we want to see what dw needs of them */
    s = blank();
    CHECK_INT(wf_graph_dump(g, &dw, 1, scribble, s), WF_OK);
    CHECK_STR_HAS(s->text, "bsum");
    CHECK_STR_HAS(s->text, "matmul %");
    wf_arena_free(A);
}
// end region

// region: a graph as a picture
WF_TEST(a_graph_as_a_picture)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t y = wf_exp(wf_input(g, "x", 3));
    sheet *s = blank();
    CHECK_INT(wf_graph_dot(g, &y, 1, scribble, s), WF_OK);
    CHECK_TEXT(s->text,
               "digraph weightflow {\n"
               "node [shape=box, fontname=\"monospace\"];\n"
               "vn1 [label=\"1 input x\", xlabel=\"[3]\", style=filled, fillcolor=\"#e0e0e0\"];\n"
               "vn2 [label=\"2 exp\", xlabel=\"[3]\", style=filled, fillcolor=\"#e0e0e0\"];\n"
               "vn1 -> vn2;\n"
               "}\n");
    wf_arena_free(A);
}
// end region

// region: a plan as text
WF_TEST(a_plan_as_text)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, wf_params_new(A, 1, WF_F32));
    int d[2] = { 4, 3 };
    wf_t x = wf_input(g, "x", 3), w = wf_param(g, "w", 2, d, WF_INIT_UNIFORM, 1), b = wf_param(g, "b", 1, d, WF_INIT_ZERO, 0);
    wf_plan_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.out[0] = wf_tanh(wf_add(wf_matmul(w, x), b)); /* one call of one kernel */
    desc.isa = WF_ISA_SCALAR;
    wf_plan *plan = wf_compile(A, &desc);

    sheet *s = blank();
    CHECK_INT(wf_plan_dump(plan, scribble, s), WF_OK);
    CHECK_TEXT(s->text,
               "plan f32, 64 lanes, 16 slots, 1 phases, 3 steps, kernels reference\n"
               "bytes: tile 1792, shared 0, constants 0, registers 0; sums of a slot: 0 f32 and 0 f64\n"
               "in 0: %1 B of 3, x\n"
               "out 0: %8 B of 4\n"
               "phase 0, shared: 0 steps\n"
               "phase 0, tiles: 3 steps\n"
               "    input 3: t number 0 (%1 input)\n"
               "    gemm 4 x 64 x 3: t+768 = p t, bias p+64, and its activation (%5 matmul)\n"
               "    output 4: t+768 number 0\n");
    wf_arena_free(A);
}
// end region

static void cube(void *user, const wf_block *in, int inputs, wf_block *out)
{
    (void)user; (void)in; (void)inputs; (void)out;
}
static void cube_vjp(void *user, const wf_block *in, int inputs, const wf_block *out, const wf_block *u, int which, wf_block *result)
{
    (void)user; (void)in; (void)inputs; (void)out; (void)u; (void)which; (void)result;
}

/* A graph in which every operation occurs. */
static wf_graph *everything(wf_arena *A, wf_t out[16])
{
    wf_graph *g = wf_graph_new(A, wf_params_new(A, 1, WF_F32));
    int d[2] = { 3, 3 }, three = 3, order[2] = { 1, 0 };
    static const double numbers[9] = { 2, 0, 0, 0.1, 2, 1.0 / 3, 7, 0.25, 2 };
    wf_t x = wf_input_nd(g, "a \"quoted\\ name", 2, d), w = wf_param(g, "w", 2, d, WF_INIT_NORMAL, 1), n = wf_normal(g, 2, d, 7), u = wf_uniform(g, 1, &three, 2);
    wf_t t = wf_const_array(g, 2, d, numbers), y = x, row = wf_sum_over(x, 0), pair[2];
    wf_t (*const one[])(wf_t) = { wf_neg, wf_recip, wf_exp, wf_expm1, wf_log, wf_log1p, wf_sqrt, wf_tanh, wf_sigmoid, wf_softplus, wf_erf, wf_sin, wf_cos, wf_abs, wf_sign, wf_floor, wf_round,
                                  wf_relu, wf_square, wf_stop };
    wf_t (*const two[])(wf_t, wf_t) = { wf_add, wf_sub, wf_mul, wf_div, wf_max, wf_min, wf_lt, wf_le, wf_eq, wf_atan2, wf_matmul };
    for (size_t i = 0; i < sizeof one / sizeof one[0]; i++) y = one[i](y);
    for (size_t i = 0; i < sizeof two / sizeof two[0]; i++) y = two[i](y, w);
    y = wf_select(n, y, wf_matmul_t(y, 1, w, 1));
    y = wf_add(y, wf_samples(g));
    y = wf_softmax(wf_cumsum(y, 1, 1, 1), 0);
    y = wf_add(wf_trisolve(t, y, 0, 1, 1), wf_cholesky(t));
    y = wf_add(y, wf_max_over(y, 1));
    pair[0] = wf_reshape(wf_permute(y, order), 1, &(int){ 9 });
    pair[1] = wf_pad(wf_slice_step(row, 0, 2, 2, -1), 0, 1, 3);
    wf_t z = wf_concat(pair, 2, 0);
    z = wf_scatter_add(wf_take(z, wf_argsort(row)), wf_search(row, u), 4);
    wf_op_desc op;
    memset(&op, 0, sizeof op);
    op.name = "cube";
    op.nd = 1;
    op.d[0] = 4;
    op.eval = cube;
    op.vjp_eval = cube_vjp;
    z = wf_custom(&op, &z, 1);
    wf_loop *l = wf_loop_begin(g, 3, WF_KEEP_CARRY);
    wf_t c = wf_loop_carry(l, z), k = wf_loop_each(l, row), next = wf_add(wf_mul(c, k.id ? wf_sum(k) : c), wf_mul(wf_loop_constant(l, wf_sum(u)), wf_loop_step(l)));
    wf_loop_next(l, c, next);
    wf_loop_end(l);
    out[0] = wf_loop_final(l, c);
    out[1] = wf_loop_stack(l, next);
    out[2] = wf_batch_sum(wf_loop_total(l, next));
    out[3] = wf_grad(wf_sum(out[2]), w);
    return g;
}

WF_TEST(every_operation_can_be_written)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_t out[16];
    wf_graph *g = everything(A, out);
    if (wf_arena_report(A)->code < 0) { printf("  %s\n", wf_arena_report(A)->text); CHECK(0); wf_arena_free(A); return; }
    sheet *s = blank();
    CHECK_INT(wf_graph_dump(g, NULL, 0, scribble, s), WF_OK);
    for (int op = 1; op < WF__OPS; op++) {
        char name[32];
        snprintf(name, sizeof name, " %s", wf__op_name[op]);
        CHECK_STR_HAS(s->text, name);
    }
    CHECK_STR_HAS(s->text, "0.3333333333333333 ...");
    CHECK_STR_HAS(s->text, "axis 1 exclusive reverse");
    CHECK_STR_HAS(s->text, "carry from %");
    CHECK_STR_HAS(s->text, "cube: cotangent of argument 0");
    CHECK_STR_HAS(s->text, "3 steps backwards");
    CHECK_STR_HAS(s->text, "\n    %1");
    wf_arena_free(A);
}

/* As much of the language as wf_graph_dot uses: braces match, quoted strings end, statements end in ; { or }. */
WF_TEST(a_drawing_is_well_formed)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_t out[16];
    wf_graph *g = everything(A, out);
    sheet *s = blank();
    CHECK_INT(wf_graph_dot(g, NULL, 0, scribble, s), WF_OK);
    int depth = 0, quoted = 0, deepest = 0;
    for (const char *c = s->text; *c; c++) {
        if (quoted && *c == '\\') { c++; continue; }
        if (*c == '"') quoted = !quoted;
        else if (quoted) CHECK(*c != '\n');
        else if (*c == '{') { if (++depth > deepest) deepest = depth; }
        else if (*c == '}') depth--;
        else if (*c == '\n') CHECK(c[-1] == ';' || c[-1] == '{' || c[-1] == '}');
    }
    CHECK(depth == 0 && !quoted && deepest == 2);
    CHECK_STR_HAS(s->text, "a \\\"quoted\\\\ name");
    wf_arena_free(A);
}

WF_TEST(dumps_are_the_same_twice)
{
    static char first[1 << 16];
    for (int k = 0; k < 3; k++) {
        sheet *s = NULL;
        for (int again = 0; again < 2; again++) {
            wf_arena *A = wf_arena_new(NULL);
            wf_t out[16];
            wf_graph *g = everything(A, out);
            size_t before = wf_arena_size(A);
            s = blank();
            wf_plan_desc d;
            memset(&d, 0, sizeof d);
            for (int i = 0; i < 4; i++) d.out[i] = out[i];
            d.isa = WF_ISA_SCALAR;
            wf_plan *p = k == 2 ? wf_compile(A, &d) : NULL;
            if (k == 2 && !p) printf("  %s\n", wf_arena_report(A)->text);
            CHECK_INT(k == 0 ? wf_graph_dump(g, out, 4, scribble, s) : k == 1 ? wf_graph_dot(g, out, 4, scribble, s) : wf_plan_dump(p, scribble, s), WF_OK);
            if (k < 2) CHECK(wf_arena_size(A) == before);
            if (!again) strcpy(first, s->text);
            wf_arena_free(A);
        }
        CHECK_TEXT(s->text, first);
        CHECK(strlen(first) > 500);
        if (k == 2) { CHECK_STR_HAS(first, "loop of 3 steps"); CHECK_STR_HAS(first, "carry of"); CHECK_STR_HAS(first, "stack of"); }
    }
}

WF_TEST(a_failing_callback_is_reported)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_t out[16];
    wf_graph *g = everything(A, out);
    sheet *s = blank();
    wf_graph_dump(g, NULL, 0, scribble, s);
    size_t size = s->size;
    for (size_t k = 0; k < size; k += 7) {
        s = blank();
        s->room = k;
        CHECK_INT(wf_graph_dump(g, NULL, 0, scribble, s), WF_ERROR_IO);
    }
    s = blank();
    s->room = size;
    CHECK_INT(wf_graph_dump(g, NULL, 0, scribble, s), WF_OK);
    CHECK_INT(wf_graph_dump(NULL, NULL, 0, scribble, s), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_graph_dump(g, NULL, 0, NULL, s), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_plan_dump(NULL, scribble, s), WF_ERROR_ARGUMENT);
    wf_arena_free(A);
}

WF_MAIN_CASES(WF_CASE(a_graph_as_text), WF_CASE(a_graph_as_a_picture), WF_CASE(a_plan_as_text), WF_CASE(every_operation_can_be_written), WF_CASE(a_drawing_is_well_formed),
              WF_CASE(dumps_are_the_same_twice), WF_CASE(a_failing_callback_is_reported))
