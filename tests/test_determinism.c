/* One hundred steps of training give the same bits, whoever computes them.

   Two models are trained: a perceptron, which runs with 64 samples side by side, and attention followed by a loop of gated cells with noise, which runs one sample at a time.
   The hash of all their parameters after 100 steps of Adam must be the number pinned below: with 1, 2, 3 and 7 threads, with a user's own parallel loop, with AVX2, AVX-512 and NEON,
   compiled by gcc and by clang, with and without optimisation. tests/test_determinism.py builds this file with other compilers and for other processors.

   Instruction sets without a fused multiply-add (SSE2, WebAssembly, plain C) round each product, so they cannot have the same bits; their loss must agree to LOSS_TOLERANCE.

   When a change of the library is meant to change the bits (another order of summation, another polynomial), run `make test ONLY=determinism`
   and pin the hashes that it prints. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

enum { STEPS = 100, SAMPLES = 300, TOKENS = 5, FEATURES = 4, MODELS = 2 };
static const size_t samples_of[MODELS] = { SAMPLES, 96 };

static const uint64_t PINNED[MODELS] = { 0xe864eb0bdb414215u, 0x9659cf905017327eu };
static const float PINNED_LOSS[MODELS] = { 0.000110990688f, 0.00403188635f };

/* Relative. One step differs by a few roundings (6e-8 each) in gradients that are sums of hundreds of terms of both signs, say 1e-6; Adam divides by their size, so the path of each
   parameter differs by about 1e-6 of its length, more where a gradient is small against its terms. A hundred such steps may part by 1e-5 in the worst case where all errors agree, and the loss with them. Seen: 1e-6. */
#define LOSS_TOLERANCE 1e-5

typedef struct model { wf_t x, y, loss; } model;

static model perceptron(wf_graph *g)
{
    wf_mlp_desc d = { 3, 32, 1, WF_ACT_TANH, 0 };
    model m;
    m.x = wf_input(g, "x", FEATURES * TOKENS);
    m.y = wf_input(g, "y", 1);
    m.loss = wf_mean(wf_square(wf_sub(wf_mlp(m.x, "net", &d), m.y)));
    return m;
}

static model attention_and_loop(wf_graph *g)
{
    int d[2] = { FEATURES, TOKENS }, hidden = 8;
    model m;
    m.x = wf_input_nd(g, "x", 2, d);
    m.y = wf_input(g, "y", 1);
    wf_t seen = wf_layer_norm(wf_add(m.x, wf_self_attention(m.x, "attention", 2, 1)), "norm", 0);
    wf_loop *loop = wf_loop_begin(g, TOKENS, WF_KEEP_CARRY);
    wf_t h = wf_loop_carry(loop, wf_per_sample(wf_full(g, 1, &hidden, 0)));
    wf_t noise = wf_scale(wf_normal(wf_loop_body(loop), 1, &hidden, 3), 0.01);
    wf_loop_next(loop, h, wf_add(wf_gru_cell(wf_loop_each(loop, wf_transpose(seen)), h, "cell"), noise));
    wf_loop_end(loop);
    m.loss = wf_mean(wf_square(wf_sub(wf_linear(wf_loop_final(loop, h), "head", 1, 1), m.y)));
    return m;
}

static uint64_t hash_of(const void *data, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < bytes; i++) h = (h ^ p[i]) * 1099511628211u;
    return h;
}

/* Numbers of 8 bits from integers alone: the data must not depend on anybody's sine. */
static void fill(float *X, float *Y)
{
    uint32_t state = 1;
    for (int i = 0; i < SAMPLES; i++) {
        float *x = X + i * FEATURES * TOKENS;
        for (int k = 0; k < FEATURES * TOKENS; k++) {
            state = state * 1664525u + 1013904223u;
            x[k] = (float)(state >> 24) / 128.0f - 1.0f;
        }
        Y[i] = 0.5f * x[0] + 0.25f * x[13];
    }
}

typedef struct outcome { uint64_t hash; double loss; } outcome;

static outcome train(int which, int isa, int threads, const wf_parallel *parallel)
{
    static float X[SAMPLES * FEATURES * TOKENS], Y[SAMPLES];
    outcome o = { 0, -1 };
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 11, WF_F32);
    wf_graph *g = wf_graph_new(A, P);
    model m = which ? attention_and_loop(g) : perceptron(g);
    wf_plan_desc d;
    wf_opt_desc how;
    memset(&d, 0, sizeof d);
    memset(&how, 0, sizeof how);
    d.out[0] = d.grad_of = m.loss;
    d.isa = how.isa = isa;
    how.rate = 0.01;
    wf_plan *plan = wf_compile(A, &d);
    wf_ws *ws = wf_ws_new(A, plan, threads, parallel);
    wf_opt *opt = wf_opt_new(A, P, &how);
    float loss = 0;
    wf_feed feeds[3] = { wf_in(m.x, X, 0), wf_in(m.y, Y, 0), wf_out(m.loss, &loss, 0) };
    wf_result r = ws && opt ? WF_OK : wf_arena_report(A)->code;
    fill(X, Y);
    for (int step = 0; step < STEPS && r >= 0; step++) {
        wf_ws_noise(ws, 5, (uint32_t)step);
        r = wf_run(plan, ws, feeds, 3, samples_of[which]);
        if (r >= 0) r = wf_opt_step(opt, ws);
    }
    CHECK_INT(r, WF_OK);
    if (r < 0) printf("  %s\n", wf_arena_report(A)->text);
    else {
        o.hash = hash_of(wf_params_data(P), wf_params_size(P) * sizeof(float));
        o.loss = (double)loss;
    }
    wf_arena_free(A);
    return o;
}

static const char *const model_name[MODELS] = { "perceptron", "attention_and_loop" };
static void report(int which, int isa, outcome o)
{
    printf("  hash %s %s %016llx loss %.9g\n", model_name[which], wf_isa_name(isa), (unsigned long long)o.hash, o.loss);
}

WF_TEST(pinned)
{
    int isa = wf_isa_best();
    for (int which = 0; which < MODELS; which++) {
        outcome o = train(which, isa, 2, NULL);
        report(which, isa, o);
        if (wf_test_fused(wf_isa_name(isa))) CHECK(o.hash == PINNED[which]);
        CHECK_CLOSE(o.loss, PINNED_LOSS[which], wf_test_fused(wf_isa_name(isa)) ? 0 : LOSS_TOLERANCE * (double)PINNED_LOSS[which]);
    }
}

WF_TEST(threads)
{
    static const int counts[] = { 1, 2, 3, 7 };
    for (int which = 0; which < MODELS; which++) {
        outcome first = train(which, WF_ISA_AUTO, 1, NULL);
        for (int i = 1; i < 4; i++) {
            outcome o = train(which, WF_ISA_AUTO, counts[i], NULL);
            CHECK(o.hash == first.hash && o.loss == first.loss);
        }
    }
}

/* The last task first. */
static void backwards(void *user, int tasks, void (*task)(void *context, int index), void *context)
{
    ++*(int *)user;
    for (int i = tasks - 1; i >= 0; i--) task(context, i);
}

WF_TEST(users_own_loop)
{
    for (int which = 0; which < MODELS; which++) {
        int calls = 0;
        wf_parallel parallel = { backwards, NULL, 5 };
        parallel.user = &calls;
        outcome one = train(which, WF_ISA_AUTO, 1, NULL), five = train(which, WF_ISA_AUTO, 0, &parallel);
        CHECK(one.hash == five.hash);
        CHECK(calls >= STEPS);
    }
}

WF_TEST(instruction_sets)
{
    int compared = 0;
    for (int which = 0; which < MODELS; which++)
        for (int isa = WF_ISA_SCALAR; isa <= WF_ISA_WASM; isa++) {
            if (!wf_isa_available(isa)) continue;
            outcome o = train(which, isa, 1, NULL);
            report(which, isa, o);
            CHECK(o.hash != 0);
            if (wf_test_fused(wf_isa_name(isa))) CHECK(o.hash == PINNED[which]);
            else CHECK_CLOSE(o.loss, PINNED_LOSS[which], LOSS_TOLERANCE * (double)PINNED_LOSS[which]);
            compared++;
        }
    CHECK(compared >= MODELS);
}

/* The same expression, its parts created first to last or last to first, as two compilers may do with arguments of one call. */
static uint64_t gradient_of(int backwards_built)
{
    enum { PARTS = 5, WIDTH = 9, BATCH = 70 };
    static float X[BATCH * FEATURES];
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 3, WF_F32);
    wf_graph *g = wf_graph_new(A, P);
    wf_t x = wf_input(g, "x", FEATURES), part[PARTS], weight[PARTS];
    int d[2] = { WIDTH, FEATURES };
    for (int i = 0; i < PARTS; i++) {
        char name[2] = { (char)('a' + i), 0 };
        weight[i] = wf_param(g, name, 2, d, WF_INIT_UNIFORM, 1);
    }
    d[0] = FEATURES;
    wf_t h = wf_tanh(wf_matmul(wf_param(g, "h", 2, d, WF_INIT_UNIFORM, 1), x));
    for (int k = 0; k < PARTS; k++) {
        int i = backwards_built ? PARTS - 1 - k : k;
        wf_t y = wf_matmul(weight[i], h);
        part[i] = i > 2 ? wf_mul(wf_sigmoid(y), wf_add(y, wf_sum(h))) : y;
    }
    wf_t all = part[0];
    for (int i = 1; i < PARTS; i++) all = wf_add(all, part[i]);
    wf_plan_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.grad_of = desc.out[0] = wf_mean(wf_square(all));
    wf_plan *plan = wf_compile(A, &desc);
    wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
    for (int i = 0; i < BATCH * FEATURES; i++) X[i] = (float)(i * i % 256) / 128.0f - 1.0f;
    wf_feed feed = wf_in(x, X, 0);
    CHECK_INT(wf_run(plan, ws, &feed, 1, BATCH), WF_OK);
    uint64_t hash = hash_of(wf_ws_grad(ws), wf_params_size(P) * sizeof(float));
    wf_arena_free(A);
    return hash;
}

WF_TEST(order_of_building)
{
    CHECK(gradient_of(0) == gradient_of(1));
}

WF_MAIN_CASES(WF_CASE(pinned), WF_CASE(threads), WF_CASE(users_own_loop), WF_CASE(instruction_sets), WF_CASE(order_of_building))
