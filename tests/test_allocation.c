/* Every allocation fails once.

   Stories that use the whole library are told again and again, and each time another call of the allocator fails: first each one alone, then each one and all after it. Every time the story must end
   with WF_ERROR_MEMORY and a sentence, must not crash, and must give back all memory; where a single failure was survived, the results must have the same bits as without it.

   An arena takes large blocks from its allocator, so that most calls of wf_alloc would never fail. The test therefore reaches into the arena and sets the size of its next block to 0: then each
   wf_alloc is one call of the allocator, and a sanitizer sees the true end of each piece. */
#define _POSIX_C_SOURCE 200112L
#define WF_KEEP_WEIGHTFLOW
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

static uint64_t mix(uint64_t h, const void *data, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    for (size_t i = 0; i < bytes; i++) h = (h ^ p[i]) * 1099511628211u;
    return h;
}

/* A story: WF_OK, or the error that ended it. */
typedef wf_result (*story_fn)(wf_arena *A, uint64_t *hash);

static wf_result error_of(const wf_arena *A) { return wf_arena_report(A)->code < 0 ? wf_arena_report(A)->code : WF_OK; }
#define NEED(x) do { if (!(x)) return error_of(A) < 0 ? error_of(A) : WF_ERROR_ARGUMENT; } while (0)
#define GOOD(x) do { wf_result need_r = (x); if (need_r < 0) return need_r; } while (0)

/* A writer whose callback fails says WF_ERROR_IO, as documented; here the callback fails when it finds no memory. */
#define WROTE(x) do { wf_result need_r = (x); if (need_r < 0) return need_r == WF_ERROR_IO ? WF_ERROR_MEMORY : need_r; } while (0)

/* A network, its training with validation and averages, and its way through a file. */
static wf_result tell_training(wf_arena *A, uint64_t *hash)
{
    enum { N = 20 };
    float X[N][3], Y[N];
    for (int i = 0; i < N; i++) { for (int k = 0; k < 3; k++) X[i][k] = (float)((i * 7 + k * 5) % 11) / 11.0f; Y[i] = X[i][0] - X[i][2]; }
    wf_params *P = wf_params_new(A, 1, WF_F32);
    wf_graph *g = wf_graph_new(A, P);
    wf_mlp_desc shape = { 2, 5, 1, WF_ACT_GELU, 0 };
    wf_t x = wf_input(g, "x", 3), y = wf_input(g, "y", 1), guess = wf_mlp(wf_softmax(wf_scale(x, 2), 0), "net", &shape);
    wf_plan_desc d, c;
    memset(&d, 0, sizeof d);
    memset(&c, 0, sizeof c);
    d.out[0] = d.grad_of = c.out[0] = wf_mean(wf_square(wf_sub(guess, y)));
    wf_plan *plan = wf_compile(A, &d), *check = wf_compile(A, &c);
    wf_ws *ws = wf_ws_new(A, plan, 1, NULL), *check_ws = wf_ws_new(A, check, 2, NULL);
    wf_opt_desc how;
    memset(&how, 0, sizeof how);
    how.clip = 1;
    how.ema = 0.9;
    how.schedule = WF_RATE_COSINE;
    how.steps = 6;
    wf_opt *opt = wf_opt_new(A, P, &how);
    NEED(ws && check_ws && opt);
    wf_feed data[2] = { wf_in(x, X, 0), wf_in(y, Y, 0) };
    wf_fit_desc fit;
    memset(&fit, 0, sizeof fit);
    fit.data = data;
    fit.feeds = 2;
    fit.samples = N;
    fit.batch = 8;
    fit.steps = 6;
    fit.check = check_ws;
    fit.check_data = data;
    fit.check_feeds = 2;
    fit.check_samples = N;
    GOOD(wf_fit(opt, ws, &fit, NULL));
    wf_tensors *t = wf_tensors_new(A), *weights = wf_tensors_new(A);
    NEED(t && weights);
    GOOD(wf_params_store(P, weights));
    GOOD(wf_opt_store(opt, t));
    GOOD(wf_tensors_note(t, "author", "a test"));
    wf_memory_writer out;
    memset(&out, 0, sizeof out);
    out.arena = A;
    WROTE(wf_tensors_write(t, wf_memory_write, &out));
    wf_tensors *back = wf_tensors_parse(A, out.data, out.size, "memory");
    NEED(back);
    GOOD(wf_params_take(P, weights));
    GOOD(wf_opt_take(opt, back));
    *hash = mix(*hash, out.data, out.size);
    *hash = mix(*hash, wf_params_data(P), wf_params_size(P) * sizeof(float));
    return WF_OK;
}

static void swirl(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user)
{
    (void)t;
    (void)user;
    dy[0] = wf_sub(wf_tanh(wf_linear(y[0], "field", 3, 1)), wf_mul(y[0], with[0]));
}

/* Attention, a loop, a differential equation that keeps few states, and reverse mode through all. */
static wf_result tell_loops(wf_arena *A, uint64_t *hash)
{
    enum { N = 3 };
    int d[2] = { 4, 3 }, three = 3;
    float X[N][4][3];
    for (int i = 0; i < N * 12; i++) (&X[0][0][0])[i] = (float)(i % 13) / 13.0f;
    wf_graph *g = wf_graph_new(A, wf_params_new(A, 2, WF_F32));
    wf_t x = wf_input_nd(g, "x", 2, d), seen = wf_layer_norm(wf_self_attention(x, "look", 2, 1), "norm", 0);
    wf_loop *loop = wf_loop_begin(g, 3, WF_KEEP_ALL);
    wf_t h = wf_loop_carry(loop, wf_per_sample(wf_full(g, 1, &three, 0.5)));
    wf_loop_next(loop, h, wf_gru_cell(wf_loop_each(loop, wf_transpose(seen)), h, "cell"));
    wf_loop_end(loop);
    wf_field_desc field;
    wf_solve_desc solve;
    memset(&field, 0, sizeof field);
    memset(&solve, 0, sizeof solve);
    field.fn = swirl;
    field.with[0] = wf_param(g, "damping", 1, &three, WF_INIT_UNIFORM, 1);
    solve.method = WF_RK4;
    solve.steps = 5;
    solve.t1 = 1;
    solve.keep = WF_KEEP_FEW;
    wf_t end = wf_ode(wf_loop_final(loop, h), &field, &solve);
    wf_plan_desc p;
    memset(&p, 0, sizeof p);
    p.out[0] = p.grad_of = wf_mean(wf_square(end));
    wf_plan *plan = wf_compile(A, &p);
    wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
    NEED(ws);
    float loss;
    wf_feed feeds[2] = { wf_in(x, X, 0), wf_out(p.out[0], &loss, 0) };
    GOOD(wf_run(plan, ws, feeds, 2, N));
    wf_memory_writer out;
    memset(&out, 0, sizeof out);
    out.arena = A;
    WROTE(wf_plan_dump(plan, wf_memory_write, &out));
    WROTE(wf_graph_dump(g, p.out, 1, wf_memory_write, &out));
    WROTE(wf_graph_dot(g, NULL, 0, wf_memory_write, &out));
    *hash = mix(*hash, &loss, sizeof loss);
    *hash = mix(*hash, out.data, out.size);
    return WF_OK;
}

/* Higher derivatives in double precision. */
static wf_result tell_derivatives(wf_arena *A, uint64_t *hash)
{
    enum { N = 2 };
    double X[N][2] = { { 0.1, 0.7 }, { -0.4, 0.2 } }, L[N], G[N][2], J[N][4];
    wf_graph *g = wf_graph_new(A, wf_params_new(A, 3, WF_F64));
    wf_mlp_desc shape = { 2, 4, 2, WF_ACT_TANH, 0 };
    wf_t x = wf_input(g, "x", 2), y = wf_mlp(x, "net", &shape), energy = wf_add(wf_sumsq(y), wf_log(wf_shift(wf_sumsq(x), 1)));
    wf_plan_desc p;
    memset(&p, 0, sizeof p);
    p.type = WF_F64;
    p.out[0] = wf_laplacian(energy, x);
    p.out[1] = wf_grad(energy, x);
    p.out[2] = wf_jacobian(y, x);
    p.grad_of = wf_mean(p.out[0]);
    wf_plan *plan = wf_compile(A, &p);
    wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
    NEED(ws);
    wf_feed feeds[4] = { wf_in(x, X, 0), wf_out(p.out[0], L, 0), wf_out(p.out[1], G, 0), wf_out(p.out[2], J, 0) };
    GOOD(wf_run(plan, ws, feeds, 4, N));
    *hash = mix(mix(mix(*hash, L, sizeof L), G, sizeof G), J, sizeof J);
    return WF_OK;
}

static wf_result decay(double t, const double *y, double *dy, void *user)
{
    (void)t;
    (void)user;
    dy[0] = -y[0];
    return WF_OK;
}

/* Simulation, distances, splines, an adaptive solver, arrays and tables. */
static wf_result tell_world(wf_arena *A, uint64_t *hash)
{
    enum { N = 4, TIMES = 101, SPECIES = 3 };
    static int32_t counts[N * TIMES * SPECIES];
    wf_simulate_desc s;
    memset(&s, 0, sizeof s);
    s.threads = 1;
    GOOD(wf_epidemic(A, N, &s, counts));
    double p[SPECIES * 256], each[SPECIES], mean, w1, w2, y = 1;
    GOOD(wf_marginals(A, counts, N, TIMES * SPECIES, SPECIES, 256, p));
    GOOD(wf_jsd(A, p, p, SPECIES, 256, 0, each, &mean));
    static const double a[4] = { 0.5, 0.5, 0, 0 }, b[4] = { 0, 0.25, 0.75, 0 };
    GOOD(wf_assignment_distance(A, a, b, 1, 4, &w1, &w2));
    GOOD(wf_ode_solve(A, decay, NULL, &y, 1, 0, 1, NULL, NULL));
    static const double t[4] = { 0, 1, 2, 4 }, v[4] = { 1, 0, 2, 1 };
    wf_spline *curve = wf_spline_natural(A, t, v, 4, 1);
    NEED(curve);
    static const char csv[] = "time,count\n0,1\n1,2\n2,3.5\n";
    wf_table *table = wf_csv_parse(A, csv, sizeof csv - 1, "a table", NULL);
    NEED(table);
    wf_memory_writer out;
    memset(&out, 0, sizeof out);
    out.arena = A;
    WROTE(wf_csv_write(A, table, wf_memory_write, &out));
    double at = wf_spline_value(curve, 1.5, 0);
    *hash = mix(mix(*hash, &at, sizeof at), out.data, out.size);
    *hash = mix(mix(mix(*hash, counts, sizeof counts), &y, sizeof y), &w1, sizeof w1);
    return WF_OK;
}

#ifndef WF_NO_WEIGHTFLOW
/* A small model of a moving distribution, from data to samples. */
static wf_result tell_weightflow(wf_arena *A, uint64_t *hash)
{
    enum { SNAPSHOTS = 3, N = 8 };
    static const double times[SNAPSHOTS] = { 0, 1, 2 };
    int32_t data[SNAPSHOTS][N], drawn[4];
    const int32_t *counts[SNAPSHOTS];
    size_t n[SNAPSHOTS], stride[SNAPSHOTS];
    for (int i = 0; i < SNAPSHOTS; i++) {
        for (int k = 0; k < N; k++) data[i][k] = (i + k) % 4;
        counts[i] = data[i];
        n[i] = N;
        stride[i] = 1;
    }
    wf_weightflow_desc d;
    memset(&d, 0, sizeof d);
    d.species = 1;
    d.states = 4;
    d.hidden = 2;
    d.width = 4;
    d.layers = 1;
    d.heads = 1;
    d.feed_forward = 4;
    d.threads = 1;
    d.matching = 1;
    wf_weightflow *m = wf_weightflow_new(A, &d, times, SNAPSHOTS);
    NEED(m);
    GOOD(wf_weightflow_fit_anchors(m, counts, n, stride, 1, 1));
    GOOD(wf_weightflow_fit_path(m, 1));
    GOOD(wf_weightflow_fit_field(m, 1, NULL));
    float *tokens = (float *)wf_alloc(A, wf_weightflow_size(m), sizeof(float));
    NEED(tokens);
    double when = 1.5, log_p[N];
    GOOD(wf_weightflow_weights(m, &when, 1, tokens));
    GOOD(wf_weightflow_log_prob(m, tokens, data[0], N, log_p, NULL));
    GOOD(wf_weightflow_sample(m, tokens, 4, 9, drawn));
    *hash = mix(mix(*hash, log_p, sizeof log_p), drawn, sizeof drawn);
    return WF_OK;
}
#endif

/* ---- telling ---- */

typedef struct telling { wf_result result; uint64_t hash; long calls, live; size_t bytes; int worded; } telling;
typedef struct store { long calls, from, to, live; size_t bytes; } store; /* calls from...to fail */

static void *store_alloc(size_t size, size_t align, void *user)
{
    store *s = (store *)user;
    (void)align;
    ++s->calls;
    if (s->calls >= s->from && s->calls <= s->to) return NULL;
    /* 16 bytes beside the alignment that arenas want, so that no block has room for a second piece */
    void *p = NULL;
    if (posix_memalign(&p, 64, size + 16)) return NULL;
    s->live++;
    s->bytes += size;
    return (char *)p + 16;
}

static void store_free(void *p, size_t size, void *user)
{
    store *s = (store *)user;
    s->live--;
    s->bytes -= size;
    free((char *)p - 16);
}

static telling tell(story_fn story, long from, long to)
{
    telling r;
    store s;
    memset(&r, 0, sizeof r);
    memset(&s, 0, sizeof s);
    s.from = from;
    s.to = to;
    wf_allocator allocator = { store_alloc, store_free, NULL };
    allocator.user = &s;
    r.hash = 14695981039346656037u;
    wf_arena *A = wf_arena_new(&allocator);
    if (A) {
        A->next_size = 0; /* from here on a block for each piece */
        A->block->used = A->block->size;
    }
    r.result = A ? story(A, &r.hash) : WF_ERROR_MEMORY;
    r.worded = wf_arena_report(A)->text[0] != 0;
    if (r.result < 0 && !from) printf("  %s\n", wf_arena_report(A)->text);
    wf_arena_free(A);
    r.calls = s.calls;
    r.live = s.live;
    r.bytes = s.bytes;
    return r;
}

static void sweep(const char *name, story_fn story)
{
    telling whole = tell(story, 0, 0);
    CHECK_INT(whole.result, WF_OK);
    if (whole.result) return;
    CHECK(whole.live == 0 && whole.bytes == 0);
    const char *long_run = getenv("WF_TEST_LONG");
    /* Late failures cost a whole story each. In the short run, after the first few hundred, only some are tried (the stride shares no factor with the loops inside). */
    long stride = (long_run && *long_run && *long_run != '0') || whole.calls < 600 ? 1 : whole.calls / 300 | 1, told = 0, survived = 0;
    int before = wf_test_failures, seen = before;
    for (long k = 1; k <= whole.calls && seen - before < 8; k += k < 200 ? 1 : stride) {
        telling once = tell(story, k, k), all = tell(story, k, (long)1 << 40);
        told += 2;
        CHECK(once.live == 0 && once.bytes == 0 && all.live == 0 && all.bytes == 0);
        if (once.result == WF_OK) { survived++; CHECK(once.hash == whole.hash); }
        else CHECK_INT(once.result, WF_ERROR_MEMORY);
        CHECK_INT(all.result, WF_ERROR_MEMORY);
        CHECK(once.result == WF_OK || once.worded);
        CHECK(all.worded);
        if (wf_test_failures > seen) printf("  (%s: failure of call %ld of %ld)\n", name, k, whole.calls);
        seen = wf_test_failures;
    }
    printf("  %s: %ld calls of the allocator, %ld stories with a failure, %ld survived one\n", name, whole.calls, told, survived);
}

WF_TEST(training) { sweep("training", tell_training); }
WF_TEST(loops) { sweep("loops", tell_loops); }
WF_TEST(derivatives) { sweep("derivatives", tell_derivatives); }
WF_TEST(world) { sweep("world", tell_world); }
WF_TEST(weightflow)
{
#ifndef WF_NO_WEIGHTFLOW
    sweep("weightflow", tell_weightflow);
#else
    SKIP("built with WF_NO_WEIGHTFLOW");
#endif
}

/* Running a plan and stepping an optimiser ask for no memory at all. */
WF_TEST(steps_allocate_nothing)
{
    store s;
    memset(&s, 0, sizeof s);
    wf_allocator allocator = { store_alloc, store_free, NULL };
    allocator.user = &s;
    wf_arena *A = wf_arena_new(&allocator);
    wf_params *P = wf_params_new(A, 1, WF_F32);
    wf_graph *g = wf_graph_new(A, P);
    wf_t x = wf_input(g, "x", 2);
    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    d.out[0] = d.grad_of = wf_mean(wf_square(wf_mlp(x, "net", NULL)));
    wf_plan *plan = wf_compile(A, &d);
    wf_ws *ws = wf_ws_new(A, plan, 2, NULL);
    wf_opt *opt = wf_opt_new(A, P, NULL);
    float X[100][2], loss;
    for (int i = 0; i < 200; i++) X[i / 2][i % 2] = (float)i / 200.0f;
    wf_feed feeds[2] = { wf_in(x, X, 0), wf_out(d.out[0], &loss, 0) };
    long before = s.calls;
    A->block->used = A->block->size; /* no room left over: any piece would be a call */
    for (int step = 0; step < 20; step++) {
        CHECK_INT(wf_run(plan, ws, feeds, 2, (size_t)(5 * step + 1)), WF_OK);
        CHECK_INT(wf_opt_step(opt, ws), WF_OK);
    }
    CHECK_INT(s.calls, before);
    wf_arena_free(A);
}

/* An arena in a buffer of the user's never touches what lies behind the buffer, however small it is. */
WF_TEST(buffers_of_every_size)
{
    enum { MOST = 1 << 20, BEHIND = 256 };
    unsigned char *buffer = (unsigned char *)malloc(MOST + BEHIND);
    int enough = 0;
    for (size_t size = 0; size <= MOST && !enough; size += size < 4096 ? 41 : 2053) {
        uint64_t hash = 0;
        memset(buffer + size, 0xA5, BEHIND);
        wf_arena *A = wf_arena_from(buffer, size);
        wf_result r = A ? tell_derivatives(A, &hash) : WF_ERROR_MEMORY;
        CHECK(r == WF_OK || r == WF_ERROR_MEMORY);
        for (int i = 0; i < BEHIND; i++) if (buffer[size + (size_t)i] != 0xA5) { CHECK(!"a byte behind the buffer was written"); break; }
        enough = r == WF_OK;
        wf_arena_free(A);
    }
    CHECK(enough);
    free(buffer);
}

WF_MAIN_CASES(WF_CASE(training), WF_CASE(loops), WF_CASE(derivatives), WF_CASE(world), WF_CASE(weightflow), WF_CASE(steps_allocate_nothing), WF_CASE(buffers_of_every_size))
