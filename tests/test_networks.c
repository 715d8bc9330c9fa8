/* Networks: what tables of reference numbers (test_oracle.c) do not show. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

/* ---- how they are used (quoted by the book) ---- */

// region: a perceptron
WF_TEST(a_perceptron)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 42, WF_F32);
    wf_graph *g = wf_graph_new(A, P);
    wf_t x = wf_input(g, "x", 2);

    wf_t u = wf_mlp(x, "potential", NULL); /* 2 -> 64 -> 64 -> 1, tanh between */

    wf_mlp_desc d = { 0 };
    d.layers = 4;
    d.width = 20;
    d.out = 2;
    d.activation = WF_ACT_SILU;
    wf_t v = wf_mlp(x, "velocity", &d); /* 2 -> 20 -> 20 -> 20 -> 2 */

    CHECK(u.id && v.id && wf_params_find(P, "velocity.3.bias") >= 0);
    CHECK_INT(wf_params_count(P), (2 + 1) * 64 + (64 + 1) * 64 + (64 + 1) * 1 + (2 + 1) * 20 + 2 * (20 + 1) * 20 + (20 + 1) * 2);
    wf_arena_free(A);
}
// end region

// region: weights that another network makes
static wf_t a_network_whose_weights_depend_on_time(wf_t x, wf_t t)
{
    wf_mlp_desc d = { 0 };
    d.width = 8;
    d.out = 3 * 2 + 3; /* a matrix [3,2] and a bias [3] */
    wf_t numbers = wf_mlp(t, "maker", &d);
    int matrix[2] = { 3, 2 };
    wf_affine w;
    w.weight = wf_reshape(wf_slice(numbers, 0, 0, 6), 2, matrix);
    w.bias = wf_slice(numbers, 0, 6, 3);
    return wf_tanh(wf_linear_with(x, w));
}
// end region

// region: the law of a pair of numbers
WF_TEST(the_law_of_a_pair_of_numbers)
{
    enum { LEVELS = 5, DRAWS = 20000 };
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, wf_params_new(A, 3, WF_F64));
    wf_sequence_desc d = { LEVELS, 8, 0, 0 };
    wf_sequence_weights w = wf_sequence_params(g, "law", &d);
    wf_t pair = wf_input(g, "pair", 2), logp = wf_sequence_with(pair, &w, 0).logp; /* learn with the loss -wf_mean(logp) */
    wf_t drawn = wf_sequence_sample(g, &w, 2, 0);

    wf_plan_desc likelihood = { 0 }, draw = { 0 };
    likelihood.out[0] = logp;
    draw.out[0] = drawn;
    likelihood.type = draw.type = WF_F64;
    wf_plan *p = wf_compile(A, &likelihood), *q = wf_compile(A, &draw);

    static double all[LEVELS * LEVELS][2], of[LEVELS * LEVELS], sample[DRAWS][2];
    for (int i = 0; i < LEVELS * LEVELS; i++) { all[i][0] = i / LEVELS; all[i][1] = i % LEVELS; }
    wf_feed f[] = { wf_in(pair, all, 0), wf_out(logp, of, 0) }, s[] = { wf_out(drawn, sample, 0) };
    CHECK_INT(wf_run(p, wf_ws_new(A, p, 0, NULL), f, 2, LEVELS * LEVELS), WF_OK);
    CHECK_INT(wf_run(q, wf_ws_new(A, q, 0, NULL), s, 1, DRAWS), WF_OK);

    double total = 0, chi2 = 0;
    for (int i = 0; i < LEVELS * LEVELS; i++) {
        double expected = DRAWS * exp(of[i]), seen = 0;
        for (int k = 0; k < DRAWS; k++) seen += sample[k][0] == all[i][0] && sample[k][1] == all[i][1];
        total += exp(of[i]);
        chi2 += (seen - expected) * (seen - expected) / expected;
    }
    CHECK_CLOSE(total, 1, 1e-14);                                      /* 25 terms of half a unit in the last place each */
    CHECK_CLOSE(chi2, LEVELS * LEVELS - 1, 6 * sqrt(2 * (LEVELS * LEVELS - 1.0))); /* 24 degrees of freedom, six standard deviations */
    wf_arena_free(A);
}
// end region

/* ---- tools ---- */

static double noise(int i) { return sin(12.9898 * i + 0.7) + 0.3 * cos(5.3 * i * i); } /* numbers without a pattern, of size one */

typedef struct bench { wf_arena *A; wf_params *P; wf_graph *g; } bench;

static bench bench_new(int type)
{
    bench b;
    b.A = wf_arena_new(NULL);
    b.P = wf_params_new(b.A, 11, type);
    b.g = wf_graph_new(b.A, b.P);
    return b;
}

static wf_t matrix_input(bench *b, const char *name, int rows, int columns)
{
    int d[2] = { rows, columns };
    return wf_input_nd(b->g, name, columns ? 2 : 1, d);
}

static size_t size_of(wf_t x)
{
    int d[4], nd = wf_shape(x, d);
    size_t n = 1;
    for (int i = 0; i < nd; i++) n *= (size_t)d[i];
    return n;
}

/* Evaluate y for samples of x (double), one output. */
static void evaluate(bench *b, wf_t x, const double *data, wf_t y, double *out, size_t samples, int tile)
{
    wf_plan_desc d = { 0 };
    d.out[0] = y;
    d.type = WF_F64;
    d.tile = tile;
    wf_plan *p = wf_compile(b->A, &d);
    CHECK_STR_HAS(p ? "a plan" : wf_arena_report(b->A)->text, "a plan");
    if (!p) return;
    wf_ws *ws = wf_ws_new(b->A, p, 1, NULL);
    wf_feed f[] = { wf_out(y, out, 0), wf_in(x, data, 0) };
    wf_result r = wf_run(p, ws, f, 2, samples);
    CHECK_STR_HAS(r == WF_OK ? "ran" : wf_ws_report(ws)->text, "ran");
}

static void fill(double *x, size_t n, int from) { for (size_t i = 0; i < n; i++) x[i] = noise((int)i + from); }

/* ---- sizes and names ---- */

static int has_shape(wf_t x, int nd, int d0, int d1, int d2)
{
    int d[4];
    return wf_shape(x, d) == nd && (nd < 1 || d[0] == d0) && (nd < 2 || d[1] == d1) && (nd < 3 || d[2] == d2);
}

WF_TEST(shapes)
{
    bench b = bench_new(WF_F32);
    wf_t v = matrix_input(&b, "v", 6, 0), m = matrix_input(&b, "m", 6, 10), k = matrix_input(&b, "k", 6, 7), e = matrix_input(&b, "e", 4, 7), n = matrix_input(&b, "n", 5, 0);
    wf_t none = { NULL, 0 };
    CHECK(has_shape(wf_linear(v, "l", 3, 1), 1, 3, 0, 0));
    CHECK(has_shape(wf_linear(m, "l", 3, 0), 2, 3, 10, 0));
    CHECK(has_shape(wf_mlp(v, "p", NULL), 1, 1, 0, 0) && has_shape(wf_mlp(m, "p", NULL), 2, 1, 10, 0));
    CHECK(has_shape(wf_layer_norm(v, "n", 0), 1, 6, 0, 0) && has_shape(wf_layer_norm(m, "n", 0), 2, 6, 10, 0));
    CHECK(has_shape(wf_attention(m, k, e, 2, 0), 2, 4, 10, 0));
    CHECK(has_shape(wf_attention_map(m, k, 3, none), 3, 3, 7, 10));
    CHECK(has_shape(wf_causal_mask(b.g, 7, 10), 2, 7, 10, 0));
    CHECK(has_shape(wf_self_attention(m, "a", 3, 1), 2, 6, 10, 0));
    wf_transformer_desc d = { 0 };
    d.heads = 3;
    CHECK(has_shape(wf_transformer_layer(m, "t", &d), 2, 6, 10, 0));
    CHECK(has_shape(wf_gru_cell(v, n, "g"), 1, 5, 0, 0));
    CHECK(has_shape(wf_binary_code(n, 4), 2, 5, 4, 0));
    wf_sequence_desc sd = { 100, 0, 2, 0 };
    for (sd.unroll = 0; sd.unroll < 2; sd.unroll++) {
        wf_sequence s = wf_gru_sequence(n, "s", &sd);
        CHECK(has_shape(s.logp, 0, 0, 0, 0) && has_shape(s.log_probs, 2, 5, 100, 0) && has_shape(s.states, 2, 5, 32, 0));
    }
    CHECK(has_shape(wf_embedding(n, "emb", 10, 3), 2, 3, 5, 0));
    CHECK_INT(wf_arena_report(b.A)->code, WF_OK);
    wf_arena_free(b.A);
}

WF_TEST(parameter_counts)
{
    static const struct { int levels; size_t count; } law[] = { { 12, 444 }, { 52, 852 }, { 85, 1173 }, { 100, 1308 } }; /* hidden 8, published counts */
    for (int i = 0; i < 4; i++) {
        bench b = bench_new(WF_F32);
        wf_sequence_desc d = { law[i].levels, 8, 0, 0 };
        wf_sequence_params(b.g, "law", &d);
        CHECK_INT(wf_params_count(b.P), law[i].count);
        wf_arena_free(b.A);
    }
    static const struct { int levels, bits; } code[] = { { 2, 1 }, { 3, 2 }, { 4, 2 }, { 64, 6 }, { 65, 7 } }; /* the largest number is levels - 1 */
    for (int i = 0; i < 5; i++) {
        bench b = bench_new(WF_F32);
        wf_sequence_desc d = { code[i].levels, 3, 0, 0 };
        CHECK(has_shape(wf_sequence_params(b.g, "law", &d).cell[0].in.weight, 2, 9, code[i].bits, 0));
        wf_arena_free(b.A);
    }
    bench b = bench_new(WF_F32);
    wf_transformer_layer(matrix_input(&b, "x", 64, 10), "layer", NULL); /* 4 heads, width 256 */
    CHECK_INT(wf_params_count(b.P), 49984); /* what PyTorch's nn.TransformerEncoderLayer(64, 4, 256) has */
    static const char *names[] = { "layer.self_attn.in_proj_weight", "layer.self_attn.in_proj_bias", "layer.self_attn.out_proj.weight", "layer.self_attn.out_proj.bias", "layer.linear1.weight",
                                   "layer.linear1.bias", "layer.linear2.weight", "layer.linear2.bias", "layer.norm1.weight", "layer.norm1.bias", "layer.norm2.weight", "layer.norm2.bias" };
    for (int i = 0; i < 12; i++) CHECK(wf_params_find(b.P, names[i]) >= 0);
    CHECK_INT(wf_params_entries(b.P), 12);
    wf_arena_free(b.A);
}

/* Bounds are hard; mean and variance of n uniform numbers within five standard deviations of theirs. */
static void check_uniform(const wf_params *P, const char *name, double half_width)
{
    static double x[1 << 16];
    int index = wf_params_find(P, name);
    CHECK(index >= 0);
    if (index < 0) return;
    size_t n = wf_params_entry(P, index)->count;
    double most = 0, mean = 0, square = 0;
    wf_params_get(P, name, x, n);
    for (size_t i = 0; i < n; i++) { most = fmax(most, fabs(x[i])); mean += x[i] / (double)n; square += x[i] * x[i] / (double)n; }
    double variance = half_width * half_width / 3, root = sqrt((double)n);
    CHECK(most <= half_width && most >= half_width * (1 - 20 / (double)n)); /* the largest of n is smaller with probability exp(-20) */
    CHECK_CLOSE(mean, 0, 5 * sqrt(variance) / root);
    CHECK_CLOSE(square, variance, 5 * variance * sqrt(0.8) / root); /* the variance of x^2 is 4/5 of the square of that of x */
}

static void check_constant(const wf_params *P, const char *name, double value)
{
    static double x[1 << 10];
    size_t n = wf_params_entry(P, wf_params_find(P, name))->count;
    wf_params_get(P, name, x, n);
    for (size_t i = 0; i < n; i++) CHECK(x[i] == value);
}

WF_TEST(starting_values)
{
    bench b = bench_new(WF_F64);
    wf_transformer_layer(matrix_input(&b, "x", 64, 10), "t", NULL);
    wf_gru_cell(matrix_input(&b, "v", 7, 0), matrix_input(&b, "h", 40, 0), "g");
    check_uniform(b.P, "t.linear1.weight", 1.0 / 8);
    check_uniform(b.P, "t.linear1.bias", 1.0 / 8);
    check_uniform(b.P, "t.linear2.weight", 1.0 / 16);
    check_uniform(b.P, "t.self_attn.in_proj_weight", sqrt(6.0 / 256));
    check_uniform(b.P, "t.self_attn.out_proj.weight", 1.0 / 8);
    check_uniform(b.P, "g.weight_ih", 1 / sqrt(40.0));
    check_uniform(b.P, "g.bias_hh", 1 / sqrt(40.0));
    check_constant(b.P, "t.self_attn.in_proj_bias", 0);
    check_constant(b.P, "t.self_attn.out_proj.bias", 0);
    check_constant(b.P, "t.norm1.weight", 1);
    check_constant(b.P, "t.norm2.bias", 0);
    wf_arena_free(b.A);
}

WF_TEST(one_name_is_one_weight)
{
    bench b = bench_new(WF_F32);
    wf_t x = matrix_input(&b, "x", 4, 0);
    wf_t once = wf_linear(x, "same", 4, 1), twice = wf_linear(wf_tanh(once), "same", 4, 1);
    CHECK(once.id == wf_linear(x, "same", 4, 1).id && twice.id != once.id); /* the same formula is the same node */
    CHECK_INT(wf_params_entries(b.P), 2);
    CHECK_INT(wf_params_count(b.P), 20);
    wf_arena_free(b.A);
}

/* ---- what is said when sizes do not fit ---- */

#define SAYS(call, part) \
    do { bench b = bench_new(WF_F32); wf_t v = matrix_input(&b, "v", 6, 0), m = matrix_input(&b, "m", 6, 10), k = matrix_input(&b, "k", 4, 7), n = matrix_input(&b, "n", 5, 0), none = { NULL, 0 }; \
         wf_t result = (call); (void)v; (void)m; (void)k; (void)n; (void)none; CHECK_INT(result.id, 0); CHECK(wf_arena_report(b.A)->code < 0); \
         CHECK_STR_HAS(wf_arena_report(b.A)->text, part); wf_arena_free(b.A); } while (0)

static wf_t named(wf_t x, const char *name, int out) { return wf_linear(x, name, out, 1); }

static wf_affine pair_of(wf_t weight, wf_t bias) { wf_affine w; w.weight = weight; w.bias = bias; return w; }

static wf_t mlp_of(wf_t x, int layers, int width, int activation)
{
    wf_mlp_desc d = { 0 };
    d.layers = layers;
    d.width = width;
    d.activation = activation;
    return wf_mlp(x, "p", &d);
}

static wf_t sequence_of(wf_t x, int levels, int hidden, int layers, int unroll)
{
    wf_sequence_desc d = { levels, hidden, layers, unroll };
    return wf_gru_sequence(x, "s", &d).logp;
}

static wf_t transformer_of(wf_t x, int heads, int width)
{
    wf_transformer_desc d = { 0 };
    d.heads = heads;
    d.width = width;
    return wf_transformer_layer(x, "t", &d);
}

static wf_t long_name(wf_t x)
{
    char name[300];
    memset(name, 'n', sizeof name);
    name[299] = 0;
    return named(x, name, 2);
}

static wf_t cube(bench *b) { int d[3] = { 2, 3, 4 }; return wf_input_nd(b->g, "cube", 3, d); }

WF_TEST(messages)
{
    SAYS(wf_attention(m, m, m, 4, 0), "4 heads do not divide 6 features");
    SAYS(wf_attention(m, m, m, 0, 0), "0 heads");
    SAYS(wf_attention(m, k, k, 2, 0), "features of queries and keys: [6,10] and [4,7]");
    SAYS(wf_attention(m, m, k, 2, 1), "tokens of keys and values: [6,10] and [4,7]");
    SAYS(wf_attention(v, m, m, 2, 0), "[6]: wants [features, tokens]");
    SAYS(wf_attention_masked(m, m, m, 2, k), "scores and mask: [2,10,10] and [4,7]");
    SAYS(wf_attention_masked(m, m, m, 2, wf_const(b.g, 0)), "scores and mask");
    SAYS(wf_causal_mask(b.g, 0, 3), "causal mask");
    SAYS(wf_self_attention(v, "a", 2, 1), "wants [features, tokens]");
    SAYS(wf_self_attention(m, "a", 5, 1), "5 heads do not divide 6 features");
    SAYS(transformer_of(m, 0, 0), "4 heads do not divide 6 features");
    SAYS(transformer_of(m, 3, -1), "t.linear1.weight");
    SAYS(named(v, "l", 0), "l.weight");
    SAYS(named(v, NULL, 2), "a name is needed");
    SAYS(named(v, "", 2), "a name is needed");
    SAYS(long_name(v), "a name is needed, of fewer than");
    SAYS(named(cube(&b), "l", 2), "linear: [2,3,4]: wants [features] or [features, tokens]");
    SAYS(wf_linear_with(v, pair_of(wf_transpose(k), none)), "matmul: [7,4] and [6,1] do not fit");
    SAYS(wf_linear_with(v, pair_of(wf_transpose(m), n)), "weight and bias: [10,6] and [5] do not fit");
    SAYS(wf_add(named(v, "l", 2), named(k, "l", 2)), "params: l.weight is [2,");
    SAYS(mlp_of(v, 17, 0, 0), "mlp: p: 17 layers");
    SAYS(mlp_of(v, -1, 0, 0), "-1 layers");
    SAYS(mlp_of(v, 0, -2, 0), "width -2");
    SAYS(mlp_of(v, 0, 0, 77), "there is no curve 77");
    SAYS(wf_layer_norm(cube(&b), "n", 0), "layer_norm: [2,3,4]");
    SAYS(wf_gru_cell_with(v, n, wf_gru_params(b.g, "g", 6, 4)), "state and weight_ih: [5] and [12,6]");
    SAYS(wf_gru_cell_with(v, n, wf_gru_params(b.g, "g", 4, 5)), "do not fit");
    SAYS(wf_binary_code(v, 0), "wants 1 to 24 bits");
    SAYS(sequence_of(n, 1, 0, 0, 0), "at least 2 levels");
    SAYS(sequence_of(n, 5, 0, 9, 0), "at most 4 layers");
    SAYS(sequence_of(m, 5, 0, 0, 0), "wants whole numbers [n]");
    SAYS(sequence_of(matrix_input(&b, "long", 300, 0), 5, 0, 0, 1), "too long to be unrolled");
    SAYS(wf_sequence_sample(b.g, NULL, 3, 0), "weights of 1 to 4 layers");
    SAYS(wf_embedding(m, "e", 5, 2), "take");
    bench b = bench_new(WF_F32);
    wf_t none = { NULL, 0 };
    wf_graph *bare = wf_graph_new(b.A, NULL);
    CHECK_INT(wf_linear(wf_input(bare, "x", 2), "l", 2, 1).id, 0);
    CHECK_STR_HAS(wf_arena_report(b.A)->text, "without parameters");
    CHECK_INT(wf_mlp(none, "p", NULL).id, 0); /* nothing to complain to: no graph; but no crash either */
    CHECK_INT(wf_attention(none, none, none, 1, 1).id, 0);
    CHECK_INT(wf_transformer_layer(none, "t", NULL).id, 0);
    CHECK_INT(wf_gru_sequence(none, "s", NULL).logp.id, 0);
    CHECK_INT(wf_embedding(none, "e", 2, 2).id, 0);
    wf_arena_free(b.A);
}

/* ---- meaning ---- */

WF_TEST(columns_are_treated_alike)
{
    enum { IN = 5, TOKENS = 4, N = 3, OUT = 6 };
    bench b = bench_new(WF_F64);
    static double X[N][IN][TOKENS], C[N * TOKENS][IN], Y[N][OUT][TOKENS], Z[N * TOKENS][OUT];
    fill(&X[0][0][0], N * IN * TOKENS, 0);
    for (int s = 0; s < N; s++) for (int t = 0; t < TOKENS; t++) for (int i = 0; i < IN; i++) C[s * TOKENS + t][i] = X[s][i][t];
    wf_t m = matrix_input(&b, "m", IN, TOKENS), v = matrix_input(&b, "v", IN, 0), of_m = wf_layer_norm(m, "n", 0), of_v = wf_layer_norm(v, "n", 0);
    wf_mlp_desc d = { 0 };
    d.out = OUT;
    d.last = WF_ACT_SOFTPLUS;
    evaluate(&b, m, &X[0][0][0], wf_mlp(of_m, "p", &d), &Y[0][0][0], N, 0);
    evaluate(&b, v, &C[0][0], wf_mlp(of_v, "p", &d), &Z[0][0], N * TOKENS, 0);
    for (int s = 0; s < N; s++) for (int t = 0; t < TOKENS; t++) for (int i = 0; i < OUT; i++) CHECK_CLOSE(Y[s][i][t], Z[s * TOKENS + t][i], 1e-13); /* sums of 64 in another order */
    wf_arena_free(b.A);
}

WF_TEST(normalised_columns)
{
    enum { F = 67, T = 3 };
    static double X[F][T], Y[F][T];
    bench b = bench_new(WF_F64);
    for (int i = 0; i < F; i++) { X[i][0] = 5 + 3 * noise(i); X[i][1] = 80; X[i][2] = 1e-3 * noise(i); }
    wf_t m = matrix_input(&b, "m", F, T);
    evaluate(&b, m, &X[0][0], wf_layer_norm(m, "n", 1e-5), &Y[0][0], 1, 0);
    for (int t = 0; t < T; t += 2) {
        double mean = 0, square = 0, given = 0, size = 0;
        for (int i = 0; i < F; i++) { mean += Y[i][t] / F; square += Y[i][t] * Y[i][t] / F; size += X[i][t] / F; }
        for (int i = 0; i < F; i++) given += (X[i][t] - size) * (X[i][t] - size) / F;
        CHECK_CLOSE(mean, 0, 1e-13);
        CHECK_CLOSE(square, given / (given + 1e-5), 1e-13);
    }
    for (int i = 0; i < F; i++) CHECK(Y[i][1] == 0);
    wf_arena_free(b.A);
}

/* A column of one whole number gives exactly zero, whatever the number of features (41 times the rounded 1/41 is not 1). */
WF_TEST(constant_columns)
{
    enum { MOST = 130 };
    static float x[MOST], y[MOST];
    for (int features = 1; features < MOST; features++) {
        bench b = bench_new(WF_F32);
        wf_t v = matrix_input(&b, "v", features, 0);
        wf_plan_desc d = { 0 };
        d.out[0] = wf_layer_norm(v, "n", 0);
        wf_plan *p = wf_compile(b.A, &d);
        for (int i = 0; i < features; i++) { x[i] = (float)(features % 7 + 13); y[i] = 1; }
        wf_feed f[] = { wf_in(v, x, 0), wf_out(d.out[0], y, 0) };
        CHECK_INT(wf_run(p, wf_ws_new(b.A, p, 1, NULL), f, 2, 1), WF_OK);
        for (int i = 0; i < features; i++) CHECK(y[i] == 0);
        wf_arena_free(b.A);
    }
}

/* A layer is what its parts are: the same formula is the same node. */
WF_TEST(a_transformer_layer_from_its_parts)
{
    bench b = bench_new(WF_F64);
    wf_t x = matrix_input(&b, "x", 6, 5), a, y, z;
    wf_transformer_desc d = { 3, 10, WF_ACT_SIN, 0, 0, 0.25, 0, 0 };
    a = wf_self_attention(x, "t.self_attn", 3, 0);
    y = wf_layer_norm(wf_add(x, a), "t.norm1", 0.25);
    z = wf_layer_norm(wf_add(y, wf_linear(wf_sin(wf_linear(y, "t.linear1", 10, 1)), "t.linear2", 6, 1)), "t.norm2", 0.25);
    CHECK(z.id && wf_transformer_layer(x, "t", &d).id == z.id);
    d.pre_norm = 1;
    y = wf_add(x, wf_self_attention(wf_layer_norm(x, "t.norm1", 0.25), "t.self_attn", 3, 0));
    z = wf_add(y, wf_linear(wf_sin(wf_linear(wf_layer_norm(y, "t.norm2", 0.25), "t.linear1", 10, 1)), "t.linear2", 6, 1));
    CHECK(z.id && wf_transformer_layer(x, "t", &d).id == z.id);
    wf_transformer_desc plain = { 3, 24, WF_ACT_RELU, 0, 0, 1e-5, 0, 0 }, same = { 3, 0, 0, 0, 0, 0, 0, 0 };
    CHECK(wf_transformer_layer(x, "u", &plain).id == wf_transformer_layer(x, "u", &same).id);
    wf_mlp_desc m = { 2, 7, 3, WF_ACT_SILU, 0 };
    wf_t h = wf_linear(wf_activate(wf_linear(x, "m.0", 7, 1), WF_ACT_SILU), "m.1", 3, 1);
    CHECK(wf_mlp(x, "m", &m).id == h.id);
    m.last = WF_ACT_SOFTPLUS;
    CHECK(wf_mlp(x, "m", &m).id == wf_softplus(h).id);
    wf_arena_free(b.A);
}

/* ---- dropout ---- */

WF_TEST(dropout_stands_where_it_should)
{
    bench b = bench_new(WF_F64);
    wf_t x = matrix_input(&b, "x", 6, 5), none = { NULL, 0 };
    wf_transformer_desc d = { 3, 10, WF_ACT_SIN, 0, 0, 0.25, 0.2, 8 };
    int heads[3] = { 3, 2, 5 };
    wf_attention_weights w = wf_attention_params(b.g, "t.self_attn", 6);
    wf_t all = wf_linear_with(x, w.in), map = wf_attention_map(wf_slice(all, 0, 0, 6), wf_slice(all, 0, 6, 6), 3, none);
    wf_t seen = wf_matmul(wf_reshape(wf_slice(all, 0, 12, 6), 3, heads), wf_dropout(map, 0.2, 8));
    int flat[2] = { 6, 5 };
    wf_t a = wf_linear_with(wf_reshape(seen, 2, flat), w.out);
    wf_t y = wf_layer_norm(wf_add(x, wf_dropout(a, 0.2, 9)), "t.norm1", 0.25);
    wf_t inside = wf_dropout(wf_sin(wf_linear(y, "t.linear1", 10, 1)), 0.2, 10);
    wf_t z = wf_layer_norm(wf_add(y, wf_dropout(wf_linear(inside, "t.linear2", 6, 1), 0.2, 11)), "t.norm2", 0.25);
    CHECK(z.id && wf_transformer_layer(x, "t", &d).id == z.id);
    CHECK(wf_dropout(x, 0, 3).id == x.id); /* and a layer with none is the layer of before: the test above */
    CHECK_INT(wf_dropout(x, 1, 3).id, 0);
    CHECK_STR_HAS(wf_arena_report(b.A)->text, "dropout: a rate of 1");
    wf_arena_free(b.A);
}

/* A number is left out if its random number is below the rate, however samples are put into tiles. */
WF_TEST(dropout_leaves_out_what_its_numbers_say)
{
    enum { F = 70, N = 70, TILES = 3 };
    static float x[N][F], y[TILES][N][F];
    static const int tile[TILES] = { 1, 16, 64 };
    for (int i = 0; i < N * F; i++) x[0][i] = (float)(2 + sin(i));
    for (int t = 0; t < TILES; t++) {
        bench b = bench_new(WF_F32);
        wf_t in = matrix_input(&b, "x", F, 0);
        wf_plan_desc d = { 0 };
        d.out[0] = wf_dropout(in, 0.3, 7);
        d.tile = tile[t];
        wf_plan *p = wf_compile(b.A, &d);
        wf_ws *ws = wf_ws_new(b.A, p, 1, NULL);
        wf_ws_noise(ws, 21, 4);
        wf_feed f[] = { wf_in(in, x, 0), wf_out(d.out[0], y[t], 0) };
        CHECK_INT(wf_run(p, ws, f, 2, N), WF_OK);
        wf_arena_free(b.A);
    }
    for (int i = 0; i < N; i++)
        for (int f = 0; f < F; f++) {
            double want = wf_uniform_at(21, (uint64_t)i, 4, (uint32_t)f, 7) < 0.3 ? 0 : (double)x[i][f] / 0.7;
            CHECK_CLOSE((double)y[0][i][f], want, 3e-7 * want); /* two roundings */
        }
    for (int t = 1; t < TILES; t++) CHECK(!memcmp(y[t], y[0], sizeof y[0]));
}

WF_TEST(the_mean_over_masks_is_the_layer)
{
    enum { F = 8, OUT = 3, N = 40000 };
    static double x[N][F], y[N][OUT];
    double weight[OUT][F], clean[OUT] = { 0 };
    bench b = bench_new(WF_F64);
    wf_t in = matrix_input(&b, "x", F, 0), w = wf_linear(wf_dropout(in, 0.1, 1), "l", OUT, 0);
    CHECK_INT(wf_params_get(b.P, "l.weight", &weight[0][0], OUT * F), WF_OK);
    for (int i = 0; i < N; i++) fill(x[i], F, 3);
    evaluate(&b, in, &x[0][0], w, &y[0][0], N, 0);
    for (int o = 0; o < OUT; o++) {
        double mean = 0, spread = 0;
        for (int f = 0; f < F; f++) {
            clean[o] += weight[o][f] * x[0][f];
            spread += weight[o][f] * weight[o][f] * x[0][f] * x[0][f] * 0.1 / 0.9;
        }
        for (int i = 0; i < N; i++) mean += y[i][o] / N;
        CHECK_CLOSE(mean, clean[o], 5 * sqrt(spread / N)); /* five standard errors */
    }
    wf_arena_free(b.A);
}

/* Three steps of a loop with a layer in it: the derivative must meet the masks of the values, and each step its own. */
WF_TEST(the_derivative_meets_the_same_masks)
{
    enum { D = 4, T = 3, STEPS = 3, SIZE = D * T };
    for (int keep = 0; keep < 2; keep++) {
        bench b = bench_new(WF_F64);
        wf_t x = matrix_input(&b, "x", D, T), c;
        wf_transformer_desc t = { 2, 6, WF_ACT_TANH, 0, 0, 0, 0.3, 4 };
        double pick[SIZE], in[SIZE], slope[SIZE], value, at[2], *grad;
        int shape[2] = { D, T };
        fill(pick, SIZE, 50);
        fill(in, SIZE, 9);
        wf_loop *l = wf_loop_begin(b.g, STEPS, keep ? WF_KEEP_ALL : WF_KEEP_CARRY);
        c = wf_loop_carry(l, x);
        wf_t next = wf_transformer_layer(c, "t", &t);
        wf_loop_next(l, c, next);
        CHECK_INT(wf_loop_end(l), WF_OK);
        wf_plan_desc d = { 0 };
        wf_t y = wf_sum(wf_mul(wf_loop_final(l, c), wf_const_array(b.g, 2, shape, pick)));
        d.out[0] = wf_batch_sum(y);
        d.out[1] = wf_grad(y, x);
        d.grad_of = d.out[0];
        d.type = WF_F64;
        wf_plan *p = wf_compile(b.A, &d);
        CHECK_STR_HAS(p ? "a plan" : wf_arena_report(b.A)->text, "a plan");
        if (!p) return;
        wf_ws *ws = wf_ws_new(b.A, p, 1, NULL);
        wf_ws_noise(ws, 2, 6);
        wf_feed f[] = { wf_in(x, in, 0), wf_out(d.out[0], &value, 0), wf_out(d.out[1], slope, 0) };
        CHECK_INT(wf_run(p, ws, f, 3, 1), WF_OK);
        double first = value, want[SIZE], *all = (double *)wf_alloc(b.A, wf_params_size(b.P), sizeof *all), *data = (double *)wf_params_data(b.P);
        memcpy(want, slope, sizeof want);
        grad = (double *)wf_ws_grad(ws);
        memcpy(all, grad, wf_params_size(b.P) * sizeof *all);
        for (int i = 0; i < SIZE + 40; i++) { /* each input, then parameters here and there */
            size_t k = (size_t)(i - SIZE) * 7 % wf_params_size(b.P);
            double *place = i < SIZE ? &in[i] : &data[k], before = *place, h = 1e-5;
            for (int side = 0; side < 2; side++) {
                *place = before + (side ? -h : h);
                CHECK_INT(wf_run(p, ws, f, 3, 1), WF_OK);
                at[side] = value;
            }
            *place = before;
            CHECK_CLOSE((at[0] - at[1]) / (2 * h), i < SIZE ? want[i] : all[k], 1e-7); /* h^2 times a third derivative of some hundreds, rounding 1e-16 / h */
        }
        CHECK_INT(wf_run(p, ws, f, 3, 1), WF_OK);
        CHECK(value == first);
        wf_ws_noise(ws, 2, 7);
        CHECK_INT(wf_run(p, ws, f, 3, 1), WF_OK);
        CHECK(fabs(value - first) > 1e-3); /* other masks for the next update */
        wf_arena_free(b.A);
    }
}

WF_TEST(attention_with_one_token_is_its_value)
{
    enum { D = 6, N = 70 };
    static double X[N][D], Y[N][D];
    for (int causal = 0; causal < 2; causal++)
        for (int tile = 0; tile <= 64; tile += 32) {
            bench b = bench_new(WF_F64);
            wf_t x = matrix_input(&b, "x", D, 1);
            fill(&X[0][0], N * D, 5);
            evaluate(&b, x, &X[0][0], wf_attention(wf_scale(x, 100), x, x, 3, causal), &Y[0][0], N, tile);
            CHECK(!memcmp(X, Y, sizeof X)); /* a softmax of one number is 1 */
            wf_arena_free(b.A);
        }
}

WF_TEST(attention_does_not_care_about_the_order_of_keys)
{
    enum { D = 4, T = 5 };
    static double X[D][T], Z[D][T], Y[D][T], W[D][T];
    static const int order[T] = { 3, 0, 4, 1, 2 };
    bench b = bench_new(WF_F64);
    fill(&X[0][0], D * T, 1);
    for (int i = 0; i < D; i++) for (int t = 0; t < T; t++) Z[i][t] = X[i][order[t]];
    wf_t x = matrix_input(&b, "x", D, T);
    wf_transformer_desc d = { 0 };
    d.heads = 2;
    wf_t y = wf_transformer_layer(x, "t", &d);
    evaluate(&b, x, &X[0][0], y, &Y[0][0], 1, 0);
    evaluate(&b, x, &Z[0][0], y, &W[0][0], 1, 0);
    for (int i = 0; i < D; i++) for (int t = 0; t < T; t++) CHECK_CLOSE(W[i][t], Y[i][order[t]], 1e-14); /* tokens permuted in, permuted out; sums of 5 in another order */
    wf_arena_free(b.A);
}

WF_TEST(a_causal_mask_hides_the_future)
{
    enum { D = 8, T = 6 };
    static double X[2][D][T], Y[2][D][T], J[D * D], M[2 * T * T];
    for (int pre = 0; pre < 2; pre++) {
        bench b = bench_new(WF_F64);
        wf_t x = matrix_input(&b, "x", D, T);
        wf_transformer_desc d = { 0 };
        d.heads = 2;
        d.causal = 1;
        d.pre_norm = pre;
        wf_t y = wf_transformer_layer(wf_transformer_layer(x, "t0", &d), "t1", &d);
        for (int last = 0; last < T; last++) { /* two inputs that agree up to token `last` */
            fill(&X[0][0][0], 2 * D * T, 0);
            for (int i = 0; i < D; i++) for (int t = 0; t <= last; t++) X[1][i][t] = X[0][i][t];
            evaluate(&b, x, &X[0][0][0], y, &Y[0][0][0], 2, 0);
            for (int i = 0; i < D; i++) for (int t = 0; t < T; t++) CHECK((Y[0][i][t] == Y[1][i][t]) == (t <= last));
        }
        wf_t grad = wf_slice(wf_grad(wf_slice(y, 1, 3, 1), x), 1, 4, 2); /* the derivatives of token 3 by tokens 4 and 5 */
        evaluate(&b, x, &X[0][0][0], grad, J, 1, 0);
        for (int i = 0; i < D * 2; i++) CHECK(J[i] == 0);
        wf_t map = wf_attention_map(x, x, 2, wf_causal_mask(b.g, T, T));
        evaluate(&b, x, &X[0][0][0], map, M, 1, 0);
        for (int h = 0; h < 2; h++)
            for (int i = 0; i < T; i++) {
                double sum = 0;
                for (int j = 0; j < T; j++) { double a = M[(h * T + j) * T + i]; CHECK((a > 0) == (j <= i)); sum += a; }
                CHECK_CLOSE(sum, 1, 1e-15 * T);
            }
        wf_arena_free(b.A);
    }
}

WF_TEST(binary_codes)
{
    for (int bits = 1; bits <= 24; bits += bits < 8 ? 1 : 8) {
        bench b = bench_new(WF_F32);
        static float X[300], Y[300 * 24];
        size_t n = bits < 8 ? (size_t)1 << bits : 300;
        wf_t x = matrix_input(&b, "x", 1, 0), y = wf_binary_code(x, bits);
        for (size_t i = 0; i < n; i++) X[i] = (float)(bits < 8 ? i : (i * 2654435761u) & ((1u << bits) - 1));
        wf_plan_desc d = { 0 };
        d.out[0] = y;
        wf_plan *p = wf_compile(b.A, &d);
        wf_feed f[] = { wf_in(x, X, 0), wf_out(y, Y, 0) };
        CHECK_INT(wf_run(p, wf_ws_new(b.A, p, 1, NULL), f, 2, n), WF_OK);
        for (size_t i = 0; i < n; i++) for (int k = 0; k < bits; k++) CHECK(Y[i * (size_t)bits + (size_t)k] == (float)(((unsigned)X[i] >> (bits - 1 - k)) & 1));
        wf_arena_free(b.A);
    }
}

WF_TEST(embeddings_are_rows)
{
    enum { ROWS = 7, F = 3, N = 5 };
    static double table[ROWS][F], Y[F][N], X[N] = { 6, 0, 3, 3, 1 };
    bench b = bench_new(WF_F64);
    wf_t x = matrix_input(&b, "x", N, 0);
    evaluate(&b, x, X, wf_embedding(x, "e", ROWS, F), &Y[0][0], 1, 0);
    wf_params_get(b.P, "e.weight", &table[0][0], ROWS * F);
    for (int n = 0; n < N; n++) for (int i = 0; i < F; i++) CHECK(Y[i][n] == table[(int)X[n]][i]);
    wf_arena_free(b.A);
}

/* The laws of a sequence are those of its states; two layers, weights four times as large as they start, so that each number depends strongly on those before it. */
static wf_sequence_weights strong(bench *b, int levels)
{
    wf_sequence_desc d = { levels, 6, 2, 0 };
    wf_sequence_weights w = wf_sequence_params(b->g, "s", &d);
    double *p = (double *)wf_params_data(b->P);
    for (size_t i = 0; i < wf_params_size(b->P); i++) p[i] *= 4;
    return w;
}

WF_TEST(laws_and_states)
{
    enum { N = 4, STEPS = 3, LEVELS = 5 };
    static double X[N][STEPS], L[N][STEPS][LEVELS], M[N][LEVELS][STEPS], P[N];
    for (int unroll = 0; unroll < 2; unroll++) {
        bench b = bench_new(WF_F64);
        wf_sequence_weights w = strong(&b, LEVELS);
        wf_t x = matrix_input(&b, "x", STEPS, 0);
        for (int i = 0; i < N * STEPS; i++) X[i / STEPS][i % STEPS] = (3 * i + i * i / 5) % LEVELS;
        wf_sequence s = wf_sequence_with(x, &w, unroll);
        evaluate(&b, x, &X[0][0], s.log_probs, &L[0][0][0], N, 0);
        evaluate(&b, x, &X[0][0], wf_log_softmax(wf_linear_with(wf_transpose(s.states), w.out), 0), &M[0][0][0], N, 0);
        evaluate(&b, x, &X[0][0], s.logp, P, N, 0);
        for (int n = 0; n < N; n++) {
            for (int i = 0; i < STEPS; i++) P[n] -= L[n][i][(int)X[n][i]];
            CHECK_CLOSE(P[n], 0, 1e-14);
            for (int i = 0; i < STEPS; i++) for (int k = 0; k < LEVELS; k++) CHECK_CLOSE(L[n][i][k], M[n][k][i], 1e-14);
        }
        wf_arena_free(b.A);
    }
}

WF_TEST(samples_follow_the_law)
{
    enum { N = 40000, STEPS = 3, LEVELS = 3, ALL = 27 };
    static double X[ALL][STEPS], P[ALL], S[N][STEPS];
    bench b = bench_new(WF_F64);
    wf_sequence_weights w = strong(&b, LEVELS);
    wf_t x = matrix_input(&b, "x", STEPS, 0), drawn = wf_sequence_sample(b.g, &w, STEPS, 5);
    for (int i = 0; i < ALL; i++) { X[i][0] = i / 9; X[i][1] = i / 3 % 3; X[i][2] = i % 3; }
    evaluate(&b, x, &X[0][0], wf_sequence_with(x, &w, 0).logp, P, ALL, 0);
    wf_plan_desc d = { 0 };
    d.out[0] = drawn;
    d.type = WF_F64;
    wf_plan *p = wf_compile(b.A, &d);
    wf_feed f[] = { wf_out(drawn, S, 0) };
    CHECK_INT(wf_run(p, wf_ws_new(b.A, p, 2, NULL), f, 1, N), WF_OK);
    double chi2 = 0, total = 0;
    int seen[ALL] = { 0 }, cells = 0;
    for (int i = 0; i < N; i++) seen[(int)(9 * S[i][0] + 3 * S[i][1] + S[i][2])]++;
    for (int i = 0; i < ALL; i++) {
        double expected = N * exp(P[i]);
        total += exp(P[i]);
        if (expected < 5) continue; /* too few for the normal law that the test of Pearson rests on */
        chi2 += (seen[i] - expected) * (seen[i] - expected) / expected;
        cells++;
    }
    CHECK_CLOSE(total, 1, 1e-14);
    CHECK_CLOSE(chi2, cells - 1, 6 * sqrt(2.0 * (cells - 1)) + 2); /* six standard deviations; cells left out may shift it by one or two */
    wf_arena_free(b.A);
}

/* A value that is the same for all samples goes through the same networks. */
WF_TEST(shared_values)
{
    enum { D = 8, T = 9 };
    static double X[D][T], Y[D][T], Z[D][T], numbers[3] = { 4, 0, 2 }, logp[2];
    bench b = bench_new(WF_F64);
    int d[2] = { D, T }, three = 3;
    wf_t x = matrix_input(&b, "x", D, T), s = wf_shared_nd(b.g, "s", 2, d);
    wf_t n = matrix_input(&b, "n", 3, 0), m = wf_shared_nd(b.g, "m", 1, &three);
    fill(&X[0][0], D * T, 2);
    evaluate(&b, x, &X[0][0], wf_transformer_layer(x, "t", NULL), &Y[0][0], 1, 0);
    evaluate(&b, s, &X[0][0], wf_transformer_layer(s, "t", NULL), &Z[0][0], 1, 0);
    for (int i = 0; i < D; i++) for (int t = 0; t < T; t++) CHECK_CLOSE(Y[i][t], Z[i][t], 1e-14);
    for (int unroll = 0; unroll < 2; unroll++) {
        evaluate(&b, n, numbers, sequence_of(n, 5, 6, 2, unroll), &logp[0], 1, 0);
        evaluate(&b, m, numbers, sequence_of(m, 5, 6, 2, unroll), &logp[1], 1, 0);
        CHECK_CLOSE(logp[0], logp[1], 1e-14);
        CHECK(!wf_is_batch(sequence_of(m, 5, 6, 2, unroll)));
    }
    wf_arena_free(b.A);
}

/* ---- derivatives ---- */

/* All parameters and inputs of a loss of y = network(x), against central differences in double precision. The step 1e-5 leaves errors of h^2 and of rounding / h, both about 1e-10 for
   numbers of size one; the allowance of 1e-7 (relative to the largest derivative, at least 1) is for third derivatives of some hundred and would be missed by any wrong term. */
typedef wf_t (*network)(bench *b, wf_t x);

static double loss_of(const wf_plan *p, wf_ws *ws, wf_t x, const double *data, wf_t loss, size_t samples)
{
    double value = NAN;
    wf_feed f[] = { wf_in(x, data, 0), wf_out(loss, &value, 0) };
    CHECK_INT(wf_run(p, ws, f, 2, samples), WF_OK);
    return value;
}

static void check_derivative(const char *label, const char *of, size_t i, double ours, double up, double down, double scale)
{
    double want = (up - down) / 2e-5;
    if (fabs(ours - want) <= 1e-7 * scale) return;
    wf_test_failures++;
    printf("  %s: derivative by %s[%zu] is %.12g, differences say %.12g\n", label, of, i, ours, want);
}

static void check_gradients(const char *label, network make, int rows, int columns, int whole, int tile)
{
    enum { N = 3 };
    static double X[4096], G[4096], P[4096], phase[4096];
    bench b = bench_new(WF_F64);
    wf_t x = matrix_input(&b, "x", rows, columns), y = make(&b, x);
    int size = (int)size_of(y);
    size_t n = size_of(x) * N;
    fill(X, n, 3);
    fill(phase, (size_t)size, 100);
    for (size_t i = 0; whole && i < n; i++) X[i] = fmod(floor(1000 * fabs(X[i])), whole);
    wf_t loss = wf_mean(wf_sin(wf_add(wf_reshape(y, 1, &size), wf_const_array(b.g, 1, &size, phase)))), grad = wf_per_sample(wf_grad(loss, x));
    wf_plan_desc d = { 0 };
    d.out[0] = loss;
    d.type = WF_F64;
    d.tile = tile;
    wf_plan *value = wf_compile(b.A, &d);
    d.out[1] = grad;
    d.grad_of = loss;
    wf_plan *plan = wf_compile(b.A, &d);
    CHECK_STR_HAS(plan ? "a plan" : wf_arena_report(b.A)->text, "a plan");
    if (!plan) { wf_arena_free(b.A); return; }
    wf_ws *ws = wf_ws_new(b.A, plan, 1, NULL), *vs = wf_ws_new(b.A, value, 1, NULL);
    double l = NAN, most = 1, *p = (double *)wf_params_data(b.P);
    wf_feed f[] = { wf_in(x, X, 0), wf_out(loss, &l, 0), wf_out(grad, G, 0) };
    CHECK_INT(wf_run(plan, ws, f, 3, N), WF_OK);
    memcpy(P, wf_ws_grad(ws), wf_params_size(b.P) * sizeof(double));
    for (size_t i = 0; i < wf_params_size(b.P); i++) most = fmax(most, fabs(P[i]));
    for (int e = 0; e < wf_params_entries(b.P); e++) {
        const wf_param_info *info = wf_params_entry(b.P, e);
        for (size_t i = info->offset; i < info->offset + info->count; i++) {
            double keep = p[i];
            p[i] = keep + 1e-5;
            double up = loss_of(value, vs, x, X, loss, N);
            p[i] = keep - 1e-5;
            double down = loss_of(value, vs, x, X, loss, N);
            p[i] = keep;
            check_derivative(label, info->name, i - info->offset, P[i], up, down, most);
        }
    }
    for (size_t i = 0; i < n && !whole; i++) {
        double keep = X[i];
        X[i] = keep + 1e-5;
        double up = loss_of(value, vs, x, X, loss, N);
        X[i] = keep - 1e-5;
        double down = loss_of(value, vs, x, X, loss, N);
        X[i] = keep;
        check_derivative(label, "x", i, G[i], up, down, most);
    }
    wf_arena_free(b.A);
}

static wf_t make_linear(bench *b, wf_t x) { (void)b; return wf_linear(x, "l", 5, 1); }
static wf_t make_tied(bench *b, wf_t x) { (void)b; return wf_linear(wf_tanh(wf_linear(x, "l", 4, 1)), "l", 4, 1); }
static wf_t make_norm(bench *b, wf_t x) { (void)b; return wf_layer_norm(x, "n", 1e-5); }
static wf_t make_attention(bench *b, wf_t x) { (void)b; return wf_self_attention(x, "a", 2, 0); }
static wf_t make_causal(bench *b, wf_t x) { (void)b; return wf_self_attention(x, "a", 1, 1); }
static wf_t make_cross(bench *b, wf_t x) { (void)b; return wf_attention(wf_slice(x, 1, 0, 1), wf_slice(x, 1, 0, 3), wf_linear(wf_slice(x, 1, 0, 3), "v", 6, 0), 2, 0); }
static wf_t make_cell(bench *b, wf_t x) { (void)b; return wf_gru_cell(wf_slice(x, 0, 0, 3), wf_slice(x, 0, 3, 4), "g"); }
static wf_t make_loop(bench *b, wf_t x) { (void)b; return sequence_of(x, 6, 3, 2, 0); }
static wf_t make_unrolled(bench *b, wf_t x) { (void)b; return sequence_of(x, 6, 3, 2, 1); }
static wf_t make_embedding(bench *b, wf_t x) { (void)b; return wf_embedding(x, "e", 6, 3); }

static wf_t make_mlp(bench *b, wf_t x)
{
    wf_t list[8];
    (void)b;
    for (int a = WF_ACT_NONE; a <= WF_ACT_SIN; a++) {
        char name[8] = { 'p', (char)('0' + a), 0 };
        wf_mlp_desc desc = { 3, 3, 2, a, a };
        if (a == WF_ACT_RELU) desc.layers = 2;
        list[a - 1] = wf_mlp(x, name, &desc);
    }
    return wf_concat(list, 8, 0);
}

static wf_t make_transformer(wf_t x, int pre, int causal, int activation)
{
    wf_transformer_desc d = { 2, 5, 0, 0, 0, 0, 0, 0 };
    d.pre_norm = pre;
    d.causal = causal;
    d.activation = activation;
    return wf_transformer_layer(x, "t", &d);
}

static wf_t make_post(bench *b, wf_t x) { (void)b; return make_transformer(x, 0, 0, 0); }
static wf_t make_pre(bench *b, wf_t x) { (void)b; return make_transformer(x, 1, 1, WF_ACT_GELU); }
static wf_t make_maker(bench *b, wf_t x) { (void)b; return a_network_whose_weights_depend_on_time(wf_slice(x, 0, 0, 2), wf_slice(x, 0, 2, 1)); }

/* A network in the body of a loop: its parameters are those of the graph around it. */
static wf_t make_inside(bench *b, wf_t x)
{
    wf_loop *l = wf_loop_begin(b->g, 4, WF_KEEP_CARRY);
    wf_t h = wf_loop_carry(l, x);
    wf_mlp_desc d = { 2, 3, 2, 0, 0 };
    wf_loop_next(l, h, wf_add(h, wf_scale(wf_mlp(h, "field", &d), 0.25)));
    wf_loop_end(l);
    return wf_loop_final(l, h);
}

WF_TEST(gradients_of_everything)
{
    static const struct { const char *name; network make; int rows, columns, whole; } list[] = {
        { "linear", make_linear, 4, 0, 0 },        { "linear, tokens", make_linear, 4, 3, 0 },
        { "tied weights", make_tied, 4, 0, 0 },    { "tied weights, tokens", make_tied, 4, 3, 0 },
        { "perceptrons", make_mlp, 3, 0, 0 },      { "perceptrons, tokens", make_mlp, 3, 2, 0 },
        { "layer norm", make_norm, 5, 0, 0 },      { "layer norm, tokens", make_norm, 5, 3, 0 },
        { "self-attention", make_attention, 4, 3, 0 }, { "causal self-attention", make_causal, 4, 3, 0 }, { "one token", make_attention, 4, 1, 0 }, { "cross attention", make_cross, 4, 4, 0 },
        { "Transformer layer", make_post, 4, 3, 0 },   { "Transformer layer, pre-norm, causal, gelu", make_pre, 4, 3, 0 },
        { "gated unit", make_cell, 7, 0, 0 },      { "gated unit, tokens", make_cell, 7, 2, 0 },
        { "sequence in a loop", make_loop, 4, 0, 6 },  { "sequence unrolled", make_unrolled, 4, 0, 6 }, { "sequence of one", make_loop, 1, 0, 6 },
        { "embedding", make_embedding, 5, 0, 6 },  { "weights from a network", make_maker, 3, 0, 0 },  { "network in a loop", make_inside, 2, 0, 0 },
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        for (int tile = 0; tile <= 8; tile += 4) check_gradients(list[i].name, list[i].make, list[i].rows, list[i].columns, list[i].whole, tile);
}

/* Second derivatives: the matrix of derivatives of a gradient against differences of the gradient. The same tolerance, for the same reasons. */
WF_TEST(second_derivatives_of_a_transformer)
{
    enum { D = 4, T = 2, M = D * T };
    static double X[M], H[M][M], G[2][M], lap;
    bench b = bench_new(WF_F64);
    wf_t x = matrix_input(&b, "x", D, T), y = wf_sum(wf_sin(wf_scale(make_transformer(x, 1, 0, WF_ACT_GELU), 1.5))), grad = wf_grad(y, x);
    fill(X, M, 8);
    evaluate(&b, x, X, wf_jacobian(grad, x), &H[0][0], 1, 0);
    evaluate(&b, x, X, wf_laplacian(y, x), &lap, 1, 0);
    double trace = 0, most = 1;
    for (int i = 0; i < M; i++) for (int j = 0; j < M; j++) most = fmax(most, fabs(H[i][j]));
    for (int j = 0; j < M; j++) {
        double keep = X[j];
        trace += H[j][j];
        X[j] = keep + 1e-5;
        evaluate(&b, x, X, grad, G[0], 1, 0);
        X[j] = keep - 1e-5;
        evaluate(&b, x, X, grad, G[1], 1, 0);
        X[j] = keep;
        for (int i = 0; i < M; i++) CHECK_CLOSE(H[i][j], (G[0][i] - G[1][i]) / 2e-5, 1e-7 * most);
    }
    CHECK_CLOSE(lap, trace, 1e-12 * most);
    wf_arena_free(b.A);
}

/* A Laplacian by jets, where one factor of a product is computed from the other. */
WF_TEST(laplacian_of_silu)
{
    enum { D = 3, N = 5 };
    static double X[N][D], L[N], T[N];
    bench b = bench_new(WF_F64);
    wf_t x = matrix_input(&b, "x", D, 0), u = wf_sum(wf_linear(wf_activate(wf_linear(x, "a", 6, 1), WF_ACT_SILU), "b", 1, 1)), trace = wf_const(b.g, 0);
    wf_t hessian = wf_jacobian(wf_grad(u, x), x);
    for (int i = 0; i < D; i++) trace = wf_add(trace, wf_sum(wf_slice(wf_slice(hessian, 0, i, 1), 1, i, 1)));
    fill(&X[0][0], N * D, 0);
    evaluate(&b, x, &X[0][0], wf_laplacian(u, x), L, N, 0);
    evaluate(&b, x, &X[0][0], trace, T, N, 0);
    for (int i = 0; i < N; i++) CHECK_CLOSE(L[i], T[i], 1e-14);
    wf_arena_free(b.A);
}

WF_TEST(loop_and_copies_agree)
{
    enum { STEPS = 7, N = 130, LEVELS = 9 };
    static double X[N][STEPS], Y[2][N * STEPS * LEVELS], grad[2][4096];
    bench b = bench_new(WF_F64);
    wf_t x = matrix_input(&b, "x", STEPS, 0);
    for (int i = 0; i < N * STEPS; i++) X[i / STEPS][i % STEPS] = (i * 7 + i * i) % LEVELS;
    wf_sequence_desc d = { LEVELS, 5, 3, 0 };
    for (int unroll = 0; unroll < 2; unroll++) {
        d.unroll = unroll;
        wf_sequence s = wf_gru_sequence(x, "s", &d);
        double loss;
        wf_plan_desc pd = { 0 };
        pd.out[0] = wf_mean(s.logp);
        pd.out[1] = s.log_probs;
        pd.grad_of = pd.out[0];
        pd.type = WF_F64;
        wf_plan *p = wf_compile(b.A, &pd);
        CHECK(p != NULL);
        if (!p) { printf("  %s\n", wf_arena_report(b.A)->text); break; }
        wf_ws *ws = wf_ws_new(b.A, p, 2, NULL);
        wf_feed f[] = { wf_in(x, X, 0), wf_out(pd.out[0], &loss, 0), wf_out(pd.out[1], Y[unroll], 0) };
        CHECK_INT(wf_run(p, ws, f, 3, N), WF_OK);
        memcpy(grad[unroll], wf_ws_grad(ws), wf_params_size(b.P) * sizeof(double));
    }
    for (int i = 0; i < N * STEPS * LEVELS; i++) CHECK_CLOSE(Y[0][i], Y[1][i], 1e-14);
    for (size_t i = 0; i < wf_params_size(b.P); i++) CHECK_CLOSE(grad[0][i], grad[1][i], 1e-13);
    wf_arena_free(b.A);
}

/* ---- the machine ---- */

static void run_transformer(int threads, int isa, int tile, float *grad, size_t *n, float *out, size_t samples)
{
    enum { D = 12, T = 5 };
    bench b = bench_new(WF_F32);
    wf_t x = matrix_input(&b, "x", D, T);
    wf_transformer_desc td = { 3, 0, 0, 0, 0, 0, 0, 0 };
    wf_t y = wf_transformer_layer(wf_transformer_layer(x, "t0", &td), "t1", &td);
    wf_plan_desc d = { 0 };
    d.out[0] = y;
    d.out[1] = d.grad_of = wf_mean(wf_square(wf_sub(y, wf_sin(x))));
    d.isa = isa;
    d.tile = tile;
    wf_plan *p = wf_compile(b.A, &d);
    wf_ws *ws = wf_ws_new(b.A, p, threads, NULL);
    float *X = malloc(samples * D * T * sizeof *X);
    for (size_t i = 0; i < samples * D * T; i++) X[i] = (float)noise((int)i);
    wf_feed f[] = { wf_in(x, X, 0), wf_out(y, out, 0) };
    CHECK_INT(wf_run(p, ws, f, 2, samples), WF_OK);
    *n = wf_params_size(b.P);
    memcpy(grad, wf_ws_grad(ws), *n * sizeof *grad);
    free(X);
    wf_arena_free(b.A);
}

WF_TEST(the_same_bits_for_all_threads)
{
    static float grad[2][8192], out[2][70 * 60];
    size_t n[2];
    static const size_t samples[] = { 1, 17, 70 };
    for (int s = 0; s < 3; s++)
        for (int tile = 0; tile <= 64; tile += 32) {
            run_transformer(1, WF_ISA_AUTO, tile, grad[0], &n[0], out[0], samples[s]);
            for (int threads = 2; threads <= 7; threads++) {
                run_transformer(threads, WF_ISA_AUTO, tile, grad[1], &n[1], out[1], samples[s]);
                CHECK(n[0] == n[1] && !memcmp(grad[0], grad[1], n[0] * sizeof grad[0][0]) && !memcmp(out[0], out[1], samples[s] * 60 * sizeof out[0][0]));
            }
            if (!wf_isa_available(WF_ISA_AVX2) || !wf_isa_available(WF_ISA_AVX512)) continue;
            run_transformer(2, WF_ISA_AVX2, tile, grad[1], &n[1], out[1], samples[s]);
            CHECK(!memcmp(grad[0], grad[1], n[0] * sizeof grad[0][0]) && !memcmp(out[0], out[1], samples[s] * 60 * sizeof out[0][0]));
        }
}

/* Memory that ends in the middle of anything: a sentence, no crash. The memory is one block of the size to be tried, so that a sanitiser sees every step beyond it. */
static int build_in(size_t size)
{
    char *memory = malloc(size);
    wf_arena *A = wf_arena_from(memory, size);
    if (!A) { free(memory); return 0; }
    wf_graph *g = wf_graph_new(A, wf_params_new(A, 1, WF_F32));
    int d[2] = { 4, 3 };
    wf_t y = g ? wf_transformer_layer(wf_input_nd(g, "x", 2, d), "t", NULL) : wf_const(NULL, 0);
    wf_t n = g ? wf_input(g, "n", 2) : y, z = sequence_of(n, 5, 4, 2, 0), u = sequence_of(n, 5, 4, 2, 1);
    wf_plan_desc pd = { 0 };
    pd.out[0] = pd.grad_of = wf_add(wf_mean(wf_square(y)), wf_mean(wf_add(z, u)));
    wf_plan *p = wf_compile(A, &pd);
    wf_ws *ws = p ? wf_ws_new(A, p, 1, NULL) : NULL;
    if (!ws) CHECK_INT(wf_arena_report(A)->code, WF_ERROR_MEMORY);
    wf_arena_free(A);
    free(memory);
    return ws != NULL;
}

WF_TEST(memory_that_runs_out)
{
    size_t size = 512;
    int tries = 0;
    for (; !build_in(size) && tries < 4000; tries++) size += size / 64 + 64;
    CHECK(tries > 100 && tries < 4000);
}

WF_MAIN_CASES(WF_CASE(a_perceptron), WF_CASE(the_law_of_a_pair_of_numbers), WF_CASE(shapes), WF_CASE(parameter_counts), WF_CASE(starting_values), WF_CASE(one_name_is_one_weight), WF_CASE(messages),
              WF_CASE(columns_are_treated_alike), WF_CASE(normalised_columns), WF_CASE(constant_columns), WF_CASE(a_transformer_layer_from_its_parts), WF_CASE(laws_and_states), WF_CASE(samples_follow_the_law), WF_CASE(dropout_stands_where_it_should), WF_CASE(dropout_leaves_out_what_its_numbers_say), WF_CASE(the_mean_over_masks_is_the_layer), WF_CASE(the_derivative_meets_the_same_masks), WF_CASE(attention_with_one_token_is_its_value), WF_CASE(attention_does_not_care_about_the_order_of_keys),
              WF_CASE(a_causal_mask_hides_the_future), WF_CASE(binary_codes), WF_CASE(embeddings_are_rows), WF_CASE(shared_values), WF_CASE(gradients_of_everything),
              WF_CASE(second_derivatives_of_a_transformer), WF_CASE(laplacian_of_silu), WF_CASE(loop_and_copies_agree), WF_CASE(the_same_bits_for_all_threads), WF_CASE(memory_that_runs_out))
