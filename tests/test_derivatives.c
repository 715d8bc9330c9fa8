/* Derivatives, and random graphs: every way of computing the same thing must agree. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"
#include "wf_slow.h"

// region: a derivative in a loss
/* A function with u'' = -u: the loss is how far a candidate, a sin(x) + b x, is from that. Its derivatives in x are values like any other, and so is the gradient of the loss in a and b. */
WF_TEST(a_derivative_in_a_loss)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F64);
    wf_graph *g = wf_graph_new(A, P);
    int one = 1;
    wf_t x = wf_input(g, "x", 1), a = wf_param(g, "a", 1, &one, WF_INIT_CONSTANT, 2), b = wf_param(g, "b", 1, &one, WF_INIT_CONSTANT, 3);

    wf_t u = wf_add(wf_mul(a, wf_sin(x)), wf_mul(b, x));
    wf_t loss = wf_mean(wf_square(wf_add(u, wf_laplacian(u, x)))); /* u + u'' = b x */

    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    d.out[0] = loss;
    d.grad_of = loss;
    d.type = WF_F64;
    wf_plan *plan = wf_compile(A, &d);
    wf_ws *ws = wf_ws_new(A, plan, 0, NULL);
    double points[2] = { 1, 3 }, value;
    wf_feed feeds[] = { wf_in(x, points, 0), wf_out(loss, &value, 0) };
    CHECK_INT(wf_run(plan, ws, feeds, 2, 2), WF_OK);

    const double *slope = (const double *)wf_ws_grad(ws);
    CHECK_CLOSE(value, 9 * (1 + 9) / 2.0, 1e-13);                                          /* mean of (b x)^2 */
    CHECK_CLOSE(slope[wf_params_entry(P, 0)->offset], 0, 1e-13);                           /* whatever a is, a sin(x) is a solution */
    CHECK_CLOSE(slope[wf_params_entry(P, 1)->offset], 2 * 3 * (1 + 9) / 2.0, 1e-13);
    wf_arena_free(A);
}
// end region

/* --- random programs ------------------------------------------------------------------------------------------------------------------------------------ */
static dice dice_for(uint64_t seed, int id) { dice d = { seed * 0x2545F4914F6CDD1Du + (uint64_t)id * 0x9E3779B97F4A7C15u }; roll(&d); return d; }

enum { MOST = 70, LEAVES = 5, SLOTS = 64, IDS = 1024, BIG = 64 };
static const char *leaf_name[LEAVES] = { "a", "b", "s", "w", "k" }; /* two inputs per sample, a shared one, two parameters */
static const char *tangent_name[LEAVES] = { "va", "vb", "vs", "vw", "vk" };
static const char *second_name[LEAVES] = { "ua", "ub", "us", "uw", "uk" };
static double input[3][LEAVES][MOST * BIG];

static double *feed(void *user, const char *name, size_t size)
{
    (void)user;
    (void)size;
    int row = name[1] ? (name[0] == 'v' ? 1 : 2) : 0;
    for (int k = 0; k < LEAVES; k++) if (leaf_name[k][0] == name[row > 0]) return input[row][k];
    return NULL;
}

typedef struct program {
    uint64_t seed;
    unsigned char off[IDS], bad[IDS]; /* left out when a failure is made smaller; rejected, since out of range */
    int count;                        /* values of the outer graph, leaves not counted */
} program;

/* A place where values are made: the graph, or the body of a loop. */
typedef struct scene {
    program *p;
    wf_graph *g;
    wf_loop *loop;
    wf_t slot[SLOTS];
    int slots, first_id, depth;
    slow *s;
    int *room;
} scene;

typedef struct made { wf_arena *A; wf_params *P; wf_graph *g; wf_t leaf[LEAVES], tangent[LEAVES], second[LEAVES]; scene top; slow s; int room; slow_chunk *memory; int samples; } made;

static int nd_of(wf_t x) { int d[4]; return wf_shape(x, d); }
static size_t size_of(wf_t x) { return wf__node_size(wf__of(x)); }

enum { ANY, MATRIX, SQUARE, VECTOR, NOT_SCALAR, PER_SAMPLE };
static int suits(wf_t x, int kind)
{
    int d[4], nd;
    if (!x.id) return 0;
    nd = wf_shape(x, d);
    switch (kind) {
    case MATRIX: return nd == 2 || nd == 3;
    case SQUARE: return nd == 2 && d[0] == d[1];
    case VECTOR: return nd == 1;
    case NOT_SCALAR: return nd > 0;
    case PER_SAMPLE: return wf_is_batch(x);
    default: return 1;
    }
}

static wf_t choose(scene *c, dice *d, int kind)
{
    wf_t none = { c->g, 0 };
    if (!c->slots) return none;
    int from = pick(d, c->slots);
    if (pick(d, 3) == 0) from = c->slots - 1; /* chains as well as bushes */
    for (int i = 0; i < c->slots; i++) {
        wf_t x = c->slot[(from - i + c->slots) % c->slots];
        if (suits(x, kind)) return x;
    }
    return none;
}

static int agree(wf_t a, wf_t b) { int d[4]; return a.id && b.id && wf__common_shape(a, b, d) >= 0; }

static wf_t partner(scene *c, dice *d, wf_t a)
{
    for (int i = 0; i < 8; i++) { wf_t b = choose(c, d, ANY); if (agree(a, b)) return b; }
    return wf_const(c->g, draw(d, -2, 2));
}

static wf_t positive(wf_t x) { return wf_shift(wf_softplus(x), 0.25); }
static wf_t random_array(scene *c, dice *d, int nd, const int *size)
{
    double v[BIG];
    size_t n = 1;
    for (int i = 0; i < nd; i++) n *= (size_t)size[i];
    for (size_t i = 0; i < n && i < BIG; i++) v[i] = pick(d, 4) ? draw(d, -1.5, 1.5) : pick(d, 5) - 2;
    return n <= BIG ? wf_const_array(c->g, nd, size, v) : wf_full(c->g, nd, size, v[0]);
}

static wf_t make_unary(scene *c, dice *d)
{
    wf_t x = choose(c, d, ANY);
    switch (pick(d, 22)) {
    case 0: return wf_neg(x);
    case 1: return wf_recip(pick(d, 2) ? positive(x) : wf_shift(wf_square(x), 0.5));
    case 2: return wf_exp(pick(d, 2) ? x : wf_tanh(x));
    case 3: return wf_expm1(pick(d, 2) ? x : wf_tanh(x));
    case 4: return wf_log(positive(x));
    case 5: return wf_log1p(pick(d, 2) ? wf_square(x) : positive(x));
    case 6: return wf_sqrt(positive(x));
    case 7: case 8: case 9: return wf_tanh(x);
    case 10: return wf_sigmoid(x);
    case 11: return wf_softplus(x);
    case 12: return wf_erf(x);
    case 13: return wf_sin(x);
    case 14: return wf_cos(x);
    case 15: return wf_abs(x);
    case 16: return wf_sign(x);
    case 17: return pick(d, 2) ? wf_floor(wf_scale(x, 3)) : wf_round(wf_scale(x, 3));
    case 18: return wf_relu(x);
    case 19: return wf_stop(x);
    default: return wf_square(x);
    }
}

static wf_t make_binary(scene *c, dice *d)
{
    wf_t a = choose(c, d, ANY), b = partner(c, d, a);
    switch (pick(d, 16)) {
    case 0: case 1: case 2: return wf_add(a, b);
    case 3: case 4: return wf_sub(a, b);
    case 5: case 6: case 7: case 8: return wf_mul(a, b);
    case 9: return wf_div(a, positive(b));
    case 10: return wf_max(a, b);
    case 11: return wf_min(a, b);
    case 12: return pick(d, 2) ? wf_lt(a, b) : wf_le(a, b);
    case 13: return wf_eq(wf_floor(a), wf_floor(b));
    case 14: return wf_atan2(a, positive(b));
    default: { wf_t s = wf_lt(a, wf_const(c->g, draw(d, -1, 1))); return wf_select(pick(d, 2) ? s : wf_floor(a), a, b); }
    }
}

static wf_t make_along(scene *c, dice *d)
{
    wf_t x = choose(c, d, NOT_SCALAR);
    int axis = x.id ? pick(d, nd_of(x)) : 0;
    switch (pick(d, 8)) {
    case 0: case 1: return wf_sum_over(x, axis);
    case 2: return wf_max_over(x, axis);
    case 3: case 4: return wf_cumsum(x, axis, pick(d, 2), pick(d, 2));
    case 5: return wf_softmax(x, axis);
    case 6: return wf_logsumexp(x, axis);
    default: return pick(d, 2) ? wf_log_softmax(x, axis) : wf_sum(x);
    }
}

static wf_t make_moved(scene *c, dice *d)
{
    wf_t x = choose(c, d, NOT_SCALAR), none = { c->g, 0 };
    int e[4] = { 1, 1, 1, 1 }, nd, axis, order[4] = { 0, 1, 2, 3 };
    if (!x.id) return none;
    nd = wf_shape(x, e);
    axis = pick(d, nd);
    switch (pick(d, 12)) {
    case 0: {
        int shape[4] = { (int)size_of(x), 1, 1, 1 }, many = 1;
        while (many < 3 && pick(d, 3)) {
            int f = 2 + pick(d, 3);
            if (shape[many - 1] % f) break;
            shape[many] = f;
            shape[many - 1] /= f;
            many++;
        }
        return wf_reshape(x, many, shape);
    }
    case 1: case 2:
        for (int i = nd - 1; i > 0; i--) { int j = pick(d, i + 1), t = order[i]; order[i] = order[j]; order[j] = t; }
        return wf_permute(x, order);
    case 3: case 4: case 5: {
        int start = pick(d, e[axis]), step = 1 + pick(d, 2), room = (e[axis] - 1 - start) / step + 1;
        return wf_slice_step(x, axis, start, 1 + pick(d, room), step);
    }
    case 6: return wf_reverse(x, axis);
    case 7: return wf_pad(x, axis, pick(d, 3), pick(d, 3));
    case 8: {
        int shape[4], many = nd < 4 ? nd + pick(d, 2) : nd;
        for (int i = 0; i < many; i++) { int k = i - (many - nd), was = k >= 0 ? e[k] : 1; shape[i] = was == 1 ? 1 + pick(d, 3) : was; }
        return wf_bcast(x, many, shape);
    }
    case 9: if (nd == 4) return none; else { wf_t list[3] = { x, wf_scale(x, 0.5), choose(c, d, NOT_SCALAR) }; return wf_stack(list, 2 + (list[2].id && nd_of(list[2]) == nd && !memcmp(wf__of(x)->d, wf__of(list[2])->d, sizeof e))); }
    default: {
        wf_t list[4] = { x, none, none, none };
        int n = 1;
        for (int i = 0; i < 6 && n < 4; i++) {
            int f[4] = { 1, 1, 1, 1 };
            wf_t y = choose(c, d, NOT_SCALAR);
            int fits = y.id && wf_shape(y, f) == nd;
            for (int k = 0; fits && k < nd; k++) fits = k == axis || e[k] == f[k];
            if (fits) list[n++] = y;
        }
        return wf_concat(list, n, axis);
    }
    }
}

static wf_t make_numbered(scene *c, dice *d)
{
    wf_t x = choose(c, d, NOT_SCALAR), v = choose(c, d, VECTOR), index;
    if (!x.id || !v.id) return x;
    double knots[4] = { -1.25, -0.5, 0.25, 1 };
    int four = 4, m = (int)size_of(v);
    switch (pick(d, 4)) {
    case 0: index = wf_argsort(v); break;
    case 1: index = wf_search(wf_const_array(c->g, 1, &four, knots), v); break;
    case 2: index = wf_search(wf_cumsum(positive(v), 0, 0, 0), v); break;
    default: index = wf_round(wf_abs(wf_scale(v, 2))); break;
    }
    if (pick(d, 2)) return wf_take(x, index);
    int e[4];
    wf_shape(x, e);
    if (e[0] > m) { x = wf_slice(x, 0, pick(d, e[0] - m + 1), m); e[0] = m; }
    else index = wf_slice(index, 0, pick(d, m - e[0] + 1), e[0]);
    return wf_scatter_add(x, index, 1 + pick(d, 5));
}

static wf_t make_matrix(scene *c, dice *d)
{
    wf_t a = choose(c, d, MATRIX), none = { c->g, 0 };
    int e[4], f[4], nd;
    if (!a.id) return none;
    nd = wf_shape(a, e);
    if (pick(d, 5) == 0) { /* a positive matrix, its root, or a triangular system */
        wf_t l = wf_matmul_t(a, 0, a, 1);
        nd = wf_shape(l, e);
        if (!l.id || nd != 2 || e[0] > 4) return none;
        double unit[16];
        for (int i = 0; i < e[0] * e[0]; i++) unit[i] = i % (e[0] + 1) ? 0 : 1 + 0.25 * pick(d, 3);
        l = wf_add(wf_scale(l, 0.5), wf_const_array(c->g, 2, e, unit));
        if (pick(d, 2)) return wf_cholesky(l);
        wf_t b = choose(c, d, MATRIX);
        if (!b.id || wf_shape(b, f) != 2 || f[0] != e[0]) b = wf_slice(l, 1, 0, 1);
        return wf_trisolve(l, b, pick(d, 2), pick(d, 2), pick(d, 2));
    }
    int ta = pick(d, 2), tb = pick(d, 2), k = e[nd - 1 - ta];
    for (int i = 0; i < 12; i++) {
        wf_t b = choose(c, d, i & 1 ? MATRIX : VECTOR);
        if (!b.id) continue;
        int nb = wf_shape(b, f);
        if (nb == 1 && nd == 2 && f[0] == k) return wf_matmul_t(a, ta, b, 0);
        if (nb != nd || (nd == 3 && e[0] != f[0])) continue;
        if (f[nd - 2 + tb] == k) return wf_matmul_t(a, ta, b, tb);
    }
    if (nd == 3) return wf_matmul_t(a, ta, a, !ta);
    int shape[2] = { 1 + pick(d, 4), k };
    if (shape[0] * k > BIG) return none;
    if (!tb) { shape[1] = shape[0]; shape[0] = k; }
    return wf_matmul_t(a, ta, random_array(c, d, 2, shape), tb);
}

static wf_t make_source(scene *c, dice *d)
{
    int nd = pick(d, 4), e[4];
    for (int i = 0; i < nd; i++) e[i] = 1 + pick(d, 4);
    switch (pick(d, 6)) {
    case 0: return wf_const(c->g, draw(d, -2, 2));
    case 1: return wf_normal(c->g, nd, e, 1 + pick(d, 3));
    case 2: return wf_uniform(c->g, nd, e, 4 + pick(d, 3));
    case 3: return wf_scale(wf_samples(c->g), 1.0 / 64);
    default: return random_array(c, d, nd, e);
    }
}

/* An operation of the user's, sin(x) x, with graphs for its derivatives. */
static void wave_eval(void *user, const wf_block *in, int inputs, wf_block *out)
{
    size_t n = (size_t)out->lanes;
    (void)user;
    (void)inputs;
    for (int i = 0; i < out->nd; i++) n *= (size_t)out->d[i];
    for (size_t i = 0; i < n; i++)
        if (out->type == WF_F64) { double x = ((const double *)in[0].data)[i]; ((double *)out->data)[i] = x * sin(x); }
        else { double x = (double)((const float *)in[0].data)[i]; ((float *)out->data)[i] = (float)(x * sin(x)); }
}
static wf_t wave_slope(wf_t x) { return wf_add(wf_sin(x), wf_mul(x, wf_cos(x))); }
static wf_t wave_vjp(void *user, const wf_t *in, int inputs, wf_t out, wf_t u, int which) { (void)user; (void)inputs; (void)out; (void)which; return wf_mul(u, wave_slope(in[0])); }
static wf_t wave_jvp(void *user, const wf_t *in, int inputs, wf_t out, const wf_t *v) { (void)user; (void)inputs; (void)out; return wf_mul(v[0], wave_slope(in[0])); }

static wf_t make_custom(scene *c, dice *d)
{
    wf_t x = choose(c, d, ANY);
    wf_op_desc op;
    memset(&op, 0, sizeof op);
    op.name = "wave";
    op.nd = nd_of(x);
    wf_shape(x, op.d);
    op.eval = wave_eval;
    op.vjp = wave_vjp;
    op.jvp = wave_jvp;
    return wf_custom(&op, &x, 1);
}

static wf_t total_of(wf_t x) { x = wf_sum(x); return wf_is_batch(x) ? wf_batch_sum(x) : x; }

static wf_t make_value(scene *c, dice *d, int id);
static wf_t make_loop(scene *c, dice *d, int id)
{
    static const int keeps[3] = { WF_KEEP_CARRY, WF_KEEP_ALL, WF_KEEP_FEW };
    int steps = 1 + pick(d, 4), carries = 1 + pick(d, 2), rows = pick(d, 2), fixed = 1 + pick(d, 2);
    scene in;
    wf_t none = { c->g, 0 }, carry[2], start[2], rest;
    memset(&in, 0, sizeof in);
    in.p = c->p;
    in.first_id = id + 1;
    in.depth = c->depth + 1;
    in.loop = wf_loop_begin(c->g, steps, keeps[pick(d, 3)]);
    in.g = wf_loop_body(in.loop);
    int batch = pick(d, 3) > 0;
    for (int i = 0; i < carries; i++) {
        start[i] = choose(c, d, ANY);
        if (!start[i].id || nd_of(start[i]) == 4) return none; /* its derivative needs a stack of carries: one axis more */
        if (batch) start[i] = wf_per_sample(start[i]);
        carry[i] = in.slot[in.slots++] = wf_loop_carry(in.loop, start[i]);
    }
    for (int i = 0; i < fixed; i++) {
        rest = choose(c, d, ANY);
        if (!batch && rest.id && wf_is_batch(rest)) continue;
        if (rest.id) in.slot[in.slots++] = wf_loop_constant(in.loop, rest);
    }
    if (rows) { /* a stack with a row for each step */
        wf_t list[4], x = choose(c, d, ANY);
        if (x.id && nd_of(x) < 4 && (batch || !wf_is_batch(x))) {
            for (int k = 0; k < steps; k++) list[k] = wf_scale(x, 1 - 0.25 * k);
            in.slot[in.slots++] = wf_loop_each(in.loop, wf_stack(list, steps));
        }
    }
    if (pick(d, 4) == 0) in.slot[in.slots++] = wf_scale(wf_loop_step(in.loop), 0.25);
    int inside = 1 + pick(d, 5);
    for (int i = 0; i < inside; i++) { dice e = dice_for(c->p->seed, in.first_id + i * (c->depth ? 1 : 8)); wf_t x = make_value(&in, &e, in.first_id + i * (c->depth ? 1 : 8)); if (wf_arena_report(c->g->arena)->code < 0) return none; in.slot[in.slots++] = x; }
    for (int i = 0; i < carries; i++) { /* what comes next must have the shape and at most the space of the carry */
        wf_t next = carry[i];
        for (int k = in.slots - 1; k >= 0; k--) {
            wf_t x = in.slot[k];
            int e[4];
            if (!x.id || x.id == carry[i].id || wf__of(x)->space > wf__of(carry[i])->space) continue;
            if (wf__common_shape(x, carry[i], e) == nd_of(carry[i]) && !memcmp(e, wf__of(carry[i])->d, (size_t)nd_of(carry[i]) * sizeof *e)) { next = pick(d, 4) ? wf_tanh(wf_add(carry[i], x)) : wf_bcast(x, nd_of(carry[i]), wf__of(carry[i])->d); break; }
        }
        if (next.id == carry[i].id) next = pick(d, 2) ? wf_sin(carry[i]) : carry[i];
        wf_loop_next(in.loop, carry[i], next);
    }
    if (wf_loop_end(in.loop) < 0) return none;
    wf_t result = none, last = in.slot[in.slots - 1];
    if (!last.id || wf__of(last)->op == WF__OP_PARAM) last = carry[0];
    int kind = pick(d, 3);
    int scan_batch = c->g->node[in.loop->node].space == WF__BATCH;
    if (kind == 0 && (!scan_batch || wf_is_batch(carry[0]))) result = wf_loop_final(in.loop, carry[pick(d, carries)].id && (!scan_batch || wf_is_batch(carry[carries - 1])) ? carry[carries - 1] : carry[0]);
    else if (kind == 1 && nd_of(last) < 4) result = wf_loop_stack(in.loop, last);
    else result = wf_loop_total(in.loop, last);
    if (pick(d, 2)) result = wf_add(total_of(wf_loop_total(in.loop, carry[0])), result);
    return result;
}

static wf_t make_value(scene *c, dice *d, int id)
{
    wf_t none = { c->g, 0 };
    if (c->p->off[id] || c->p->bad[id]) return none;
    int kind = pick(d, 100);
    if (kind < 20) return make_unary(c, d);
    if (kind < 42) return make_binary(c, d);
    if (kind < 52) return make_along(c, d);
    if (kind < 66) return make_moved(c, d);
    if (kind < 73) return make_numbered(c, d);
    if (kind < 84) return make_matrix(c, d);
    if (kind < 88) return make_source(c, d);
    if (kind < 90) return make_custom(c, d);
    if (kind < 94) return c->depth < 2 ? make_loop(c, d, id) : make_unary(c, d);
    if (c->depth) return make_binary(c, d);
    if (kind < 98) { wf_t x = choose(c, d, PER_SAMPLE); return x.id ? pick(d, 2) ? wf_scale(wf_batch_sum(x), 1.0 / 64) : wf_mean(x) : x; }
    { /* a derivative as a value */
        wf_t y = choose(c, d, ANY), x = choose(c, d, ANY);
        if (!y.id || !x.id || wf_graph_size(c->g) > 250) return none;
        return pick(d, 2) ? wf_grad(y, x) : wf_jvp(y, x, wf__const_like(x, 1));
    }
}

static char why[512];
static wf_t culprit;
static int say(const char *text, wf_t x)
{
    if (!why[0]) { snprintf(why, sizeof why, "%s", text); culprit = x; }
    return 0;
}

static int in_range(const slow_value *v)
{
    for (size_t i = 0; i < (size_t)v->lanes * v->size; i++)
        if (!(fabs(v->x[i].v) <= 40) || !(v->x[i].e[0] <= 1e-10)) return 0;
    return 1;
}

/* Builds the program. In f64 values are computed as they are made, and those out of range are marked in `bad`; in f32 the marks are used. */
static int make(made *m, program *p, int type)
{
    static const int counts[] = { 1, 2, 3, 5, 2, 3, 16, 17, 7, 63, 64, 65, 4, 70, 6, 1 };
    dice d = dice_for(p->seed, 999);
    memset(m, 0, sizeof *m);
    m->A = wf_arena_new(NULL);
    m->P = wf_params_new(m->A, p->seed, type);
    m->g = wf_graph_new(m->A, m->P);
    m->samples = counts[pick(&d, 16)];
    for (int k = 0; k < LEAVES; k++) {
        int nd = 1 + pick(&d, 3), e[4];
        if (k == 3) nd = 2;
        for (int i = 0; i < nd; i++) e[i] = 1 + pick(&d, nd == 3 ? 3 : 4);
        m->leaf[k] = k < 2 ? wf_input_nd(m->g, leaf_name[k], nd, e) : k == 2 ? wf_shared_nd(m->g, leaf_name[k], nd, e) : wf_param(m->g, leaf_name[k], nd, e, WF_INIT_UNIFORM, 1);
        m->tangent[k] = k < 2 ? wf_input_nd(m->g, tangent_name[k], nd, e) : wf_shared_nd(m->g, tangent_name[k], nd, e);
        m->second[k] = k < 2 ? wf_input_nd(m->g, second_name[k], nd, e) : wf_shared_nd(m->g, second_name[k], nd, e);
        for (int r = 0; r < 3; r++) for (size_t i = 0; i < (k < 2 ? (size_t)m->samples : 1) * size_of(m->leaf[k]); i++) input[r][k][i] = draw(&d, -1.5, 1.5);
        if (k > 2) for (size_t i = 0; i < size_of(m->leaf[k]); i++) {
            size_t at = wf_params_entry(m->P, k - 3)->offset + i;
            wf__put_value(m->P->data, type, at, (double)(float)wf__get(m->P->data, type, at));
        }
        m->top.slot[m->top.slots++] = m->leaf[k];
    }
    m->top.p = p;
    m->top.g = m->g;
    slow_open(&m->s, m->g, m->samples, feed, NULL, &m->memory);
    m->s.seed = p->seed | 1;
    m->s.step = 3;
    p->count = 2 + pick(&d, 39);
    for (int i = 0; i < p->count; i++) {
        int id = i * 25;
        dice e = dice_for(p->seed, id);
        int before = wf_arena_report(m->A)->code;
        wf_t x = make_value(&m->top, &e, id);
        if (before >= 0 && wf_arena_report(m->A)->code < 0) { /* a call that the builder rightly refuses (no argument of that kind); anything else is shown */
            if (!strstr(wf_arena_report(m->A)->text, "no value") && !strstr(wf_arena_report(m->A)->text, "wf_per_sample") && !strstr(wf_arena_report(m->A)->text, "as a total")) { say(wf_arena_report(m->A)->text, m->leaf[0]); return 0; }
            wf_arena_clear(m->A);
            x.id = 0;
        }
        if (x.id && (size_of(x) > BIG || wf_graph_size(m->g) > 1500)) x.id = 0;
        if (x.id && type == WF_F64) {
            slow_ask(&m->s, &m->room, &x, 1);
            if (m->s.failed) { printf("  seed %llu: an operation that the slow evaluator does not know\n", (unsigned long long)p->seed); return 0; }
            if (!in_range(&m->s.value[x.id])) { p->bad[id] = 1; x.id = 0; }
        }
        m->top.slot[m->top.slots++] = x;
        if (m->top.slots == SLOTS) break;
    }
    return 1;
}

static void unmake(made *m) { slow_free(&m->memory); wf_arena_free(m->A); }

/* --- what is asked of a program ------------------------------------------------------------------------------------------------------------------------- */
enum { WANTED = 15 };
typedef struct questions { wf_t out[WANTED], y, grad[LEAVES]; int outs; wf_t per, left, right, rr, fr, lap, lap_nested, jac, jet_grad; } questions;

static void want(questions *q, wf_t x)
{
    for (int i = 0; i < q->outs; i++) if (q->out[i].id == x.id) return;
    if (x.id && q->outs < WANTED) q->out[q->outs++] = x;
}

static int ask(made *m, questions *q, program *p)
{
    dice d = dice_for(p->seed, 998);
    wf_graph *g = m->g;
    memset(q, 0, sizeof *q);
    wf_t last = m->leaf[0], per = wf_const(g, 0), none = { g, 0 };
    q->y = wf_const(g, 0);
    for (int i = LEAVES; i < m->top.slots; i++) {
        wf_t x = m->top.slot[i];
        int take = pick(&d, 3) == 0;
        if (!x.id) continue;
        last = x;
        if (take || i > m->top.slots - 3) {
            q->y = wf_add(q->y, total_of(wf_scale(x, wf_is_batch(x) ? 0.125 : 0.5)));
            per = wf_add(per, wf_sum(wf_scale(x, 0.5)));
            if (q->outs < 4) want(q, x);
        }
    }
    q->per = per;
    want(q, last);
    want(q, q->y);
    /* gradients; forward against reverse */
    wf_t one = wf_const(g, 1), jv = none;
    if (wf_vjp(&q->y, &one, 1, m->leaf, LEAVES, q->grad) < 0) return 0;
    if (wf_jvp_list(m->leaf, m->tangent, LEAVES, &q->y, 1, &jv) < 0) return 0;
    q->left = jv;
    q->right = wf_const(g, 0);
    for (int k = 0; k < LEAVES; k++) { q->right = wf_add(q->right, total_of(wf_mul(q->grad[k], m->tangent[k]))); want(q, q->grad[k]); }
    want(q, q->left);
    want(q, q->right);
    /* second derivatives: gradient of <gradient, v> against the directional derivative of the gradient */
    int k = pick(&d, LEAVES), big = wf_graph_size(g) > 1200;
    if (!big) {
        wf_t inner = total_of(wf_mul(q->grad[k], m->second[k]));
        q->rr = wf_grad(inner, m->leaf[k]);
        q->fr = wf_jvp(q->grad[k], m->leaf[k], m->second[k]);
        if (!q->rr.id || !q->fr.id) return 0;
        want(q, q->rr);
        want(q, q->fr);
    }
    /* jets */
    int leaf = pick(&d, 2);
    if (!big && wf_graph_size(g) < 2500 && size_of(m->leaf[leaf]) <= 4 && wf_is_batch(per)) {
        wf_jet jet = wf_jet2(per, m->leaf[leaf]);
        if (!jet.lap.id || !jet.grad.id) return 0;
        q->lap = jet.lap;
        q->jet_grad = jet.grad;
        q->jac = wf_jacobian(per, m->leaf[leaf]);
        q->lap_nested = wf__laplacian_nested(per, m->leaf[leaf]);
        want(q, q->lap);
        want(q, q->jet_grad);
    }
    return wf_arena_report(m->A)->code >= 0;
}

static long graphs, refused, nodes_seen, compared[2], plans_run, differences_done, differences_left, second_done, jets_done, op_count[WF__OPS];

static int same_values(made *m, wf_t a, wf_t b, const char *text)
{
    if (!a.id || !b.id) return 1;
    const slow_value *x = &m->s.value[a.id], *y = &m->s.value[b.id];
    int lanes = x->lanes > y->lanes ? x->lanes : y->lanes;
    for (int l = 0; l < lanes; l++)
        for (size_t i = 0; i < x->size && i < y->size; i++) {
            num u = slow_at(x, l, i), v = slow_at(y, l, i);
            double e = u.e[0] + v.e[0];
            if (!(e <= 0.1) || !(fabs(u.v) + fabs(v.v) < HUGE_VAL)) continue;
            compared[0]++;
            if (!(fabs(u.v - v.v) <= 2 * e)) { char t[200]; snprintf(t, sizeof t, "%s: sample %d element %d: %.17g and %.17g +- %.2g", text, l, (int)i, u.v, v.v, e); return say(t, a); }
        }
    return 1;
}

static int compare_plan(made *m, const questions *q, const fast_options *o)
{
    static double room[WANTED][MOST * 512];
    double *result[WANTED];
    int good = 1;
    wf_arena *A = wf_arena_new(NULL);
    for (int i = 0; i < WANTED; i++) result[i] = room[i];
    wf_plan *p = fast_compile(A, q->out, q->outs, o);
    wf_ws *ws = wf_ws_new(A, p, o->threads, NULL);
    if (!ws && strstr(wf_arena_report(A)->text, "a shared carry of a loop over samples")) { refused++; wf_arena_free(A); return 1; } /* about one in 20000: not supported, and said so */
    if (!ws) { char t[300]; snprintf(t, sizeof t, "compile: %s", wf_arena_report(A)->text); wf_arena_free(A); return say(t, q->y); }
    fast_poison(ws);
    if (fast_run(A, p, ws, q->out, q->outs, o, m->samples, feed, NULL, result) < 0 && wf_ws_report(ws)->code != WF_ERROR_NUMERIC) good = say(wf_ws_report(ws)->text, q->y);
    plans_run++;
    for (int i = 0; i < q->outs && good; i++) {
        long at = slow_differs(&m->s.value[q->out[i].id], result[i], o->type == WF_F32, &compared[o->type == WF_F32]);
        if (at < 0) continue;
        char t[300];
        num v = m->s.value[q->out[i].id].x[at];
        snprintf(t, sizeof t, "%s %s%s tile %d, %d threads, %d samples: output %d of %d, element %ld is %.17g, wanted %.17g +- %.2g", o->type ? "f64" : "f32", wf_isa_name(o->isa), o->reference ? " reference" : "",
                 wf_plan_tile(p), o->threads, m->samples, i, q->outs, at, result[i][at], v.v, v.e[o->type == WF_F32]);
        good = say(t, q->out[i]);
    }
    if (good && o->grad_of.id) /* the gradient in the workspace */
        for (int k = 3; k < LEAVES && good; k++) {
            const wf_param_info *e = wf_params_entry(m->P, k - 3);
            for (size_t i = 0; i < e->count; i++) {
                num v = slow_at(&m->s.value[q->grad[k].id], 0, i);
                double got = wf__get(wf_ws_grad(ws), o->type, e->offset + i), bound = v.e[o->type == WF_F32] + v.e[0];
                if (!(bound <= 1 + 0.1 * fabs(v.v)) || !(fabs(v.v) < HUGE_VAL)) continue;
                compared[o->type == WF_F32]++;
                if (!(fabs(got - v.v) <= 2 * bound)) { char t[200]; snprintf(t, sizeof t, "wf_ws_grad of %s: %.17g, wanted %.17g +- %.2g", e->name, got, v.v, bound); good = say(t, q->grad[k]); break; }
            }
        }
    wf_arena_free(A);
    return good;
}

/* y at inputs moved by h along the tangents */
static num moved(made *m, slow *base, wf_t y, double h)
{
    static double keep[LEAVES][MOST * BIG], weights[LEAVES][BIG];
    slow s;
    slow_chunk *memory = NULL;
    int room = 0;
    num value;
    memcpy(keep, input[0], sizeof keep);
    for (int k = 0; k < LEAVES; k++)
        for (size_t i = 0; i < (k < 2 ? (size_t)m->samples : 1) * size_of(m->leaf[k]); i++) {
            if (k < 3) input[0][k][i] += h * input[1][k][i];
            else {
                double *w = &((double *)m->P->data)[wf_params_entry(m->P, k - 3)->offset + i];
                weights[k][i] = *w;
                *w += h * input[1][k][i];
            }
        }
    slow_open(&s, m->g, m->samples, feed, NULL, &memory);
    s.seed = base->seed;
    s.step = base->step;
    s.frozen = base;
    slow_ask(&s, &room, &y, 1);
    value = s.value[y.id].x[0];
    slow_free(&memory);
    for (int k = 3; k < LEAVES; k++)
        for (size_t i = 0; i < size_of(m->leaf[k]); i++) ((double *)m->P->data)[wf_params_entry(m->P, k - 3)->offset + i] = weights[k][i];
    memcpy(input[0], keep, sizeof keep);
    return value;
}

static int frozen_inside(const wf_graph *g) /* constants to derivatives in the body of a loop cannot be held */
{
    for (int i = 0; i < g->loops; i++) {
        const wf_graph *b = g->loop[i]->body;
        for (int id = 1; id < b->nodes; id++) if (b->node[id].op == WF__OP_STOP || b->node[id].op == WF__OP_MAX_OVER) return 1;
        if (frozen_inside(b)) return 1;
    }
    return 0;
}

static int compare_differences(made *m, const questions *q)
{
    double d[3], bend[3], h[3] = { 1e-3, 5e-4, 2.5e-4 }, error = 0, here = m->s.value[q->y.id].x[0].v;
    if (frozen_inside(m->g)) return 1;
    for (int i = 0; i < 3; i++) {
        num up = moved(m, &m->s, q->y, h[i]), down = moved(m, &m->s, q->y, -h[i]);
        d[i] = (up.v - down.v) / (2 * h[i]);
        bend[i] = fabs(up.v + down.v - 2 * here) / h[i]; /* the two one-sided slopes differ by this: of order h, or there is a kink */
        error = (up.e[0] + down.e[0]) / h[i];
    }
    double r0 = (4 * d[1] - d[0]) / 3, r1 = (4 * d[2] - d[1]) / 3, got = m->s.value[q->left.id].x[0].v, scale = 1 + fabs(r1);
    if (!(fabs(4 * bend[2] - bend[0]) / 3 <= 1e-6 * scale + 4 * error) || !(fabs(r0 - r1) <= 1e-6 * scale) || !(error < 1e-5 * scale)) { differences_left++; return 1; } /* a kink or a step within reach, or a steep place: cannot tell */
    differences_done++;
    if (fabs(got - r1) <= 20 * fabs(r0 - r1) + 1e-7 * scale + 4 * error) return 1;
    char t[200];
    snprintf(t, sizeof t, "the derivative is %.12g, differences say %.12g (before %.12g)", got, r1, r0);
    return say(t, q->y);
}

static int attempt(program *p, int dump)
{
    made m;
    questions q;
    fast_options o;
    dice d = dice_for(p->seed, 997);
    int good = 0;
    why[0] = 0;
    memset(&o, 0, sizeof o);
    for (int again = 1; again;) { /* until nothing more is rejected: then the graph is the same for f32 */
        unsigned char before[IDS];
        memcpy(before, p->bad, IDS);
        if (!make(&m, p, WF_F64)) { say("building", m.leaf[0]); unmake(&m); return 0; }
        again = memcmp(before, p->bad, IDS) != 0;
        if (again) unmake(&m);
    }
    if (!ask(&m, &q, p)) { say(wf_arena_report(m.A)->text, m.leaf[0]); goto done; }
    {
        wf_t all[WANTED + 4];
        int n = 0;
        for (int i = 0; i < q.outs; i++) all[n++] = q.out[i];
        if (q.jac.id) { all[n++] = q.jac; all[n++] = q.lap_nested; }
        for (int k = 0; k < LEAVES && q.outs == WANTED; k++) slow_ask(&m.s, &m.room, &q.grad[k], 1);
        slow_ask(&m.s, &m.room, &q.left, 1);
        slow_ask(&m.s, &m.room, &q.right, 1);
        if (q.rr.id) { slow_ask(&m.s, &m.room, &q.rr, 1); slow_ask(&m.s, &m.room, &q.fr, 1); second_done++; }
        if (q.lap.id) { slow_ask(&m.s, &m.room, &q.lap, 1); slow_ask(&m.s, &m.room, &q.jet_grad, 1); jets_done++; }
        slow_ask(&m.s, &m.room, all, n);
    }
    if (m.s.failed) { say("the slow evaluator fails", q.y); goto done; }
    graphs++;
    nodes_seen += wf_graph_size(m.g);
    for (int id = 1; id < m.g->nodes; id++) op_count[m.g->node[id].op] += m.s.need[id] || m.g->node[id].op == WF__OP_SCAN;
    if (!same_values(&m, q.left, q.right, "forward against reverse")) goto done;
    if (!same_values(&m, q.rr, q.fr, "reverse over reverse against forward over reverse")) goto done;
    if (!same_values(&m, q.lap, q.lap_nested, "Laplacian of the jet against nested tangents")) goto done;
    if (!same_values(&m, q.jet_grad, q.jac, "gradient of the jet against the Jacobian")) goto done;
    if (!compare_differences(&m, &q)) goto done;
    static const int tiles[3] = { 1, 16, 64 };
    o.type = WF_F64;
    o.seed = p->seed | 1;
    o.step = 3;
    o.threads = 1 + pick(&d, 3);
    o.slots = pick(&d, 4);
    o.gap = (size_t)pick(&d, 3);
    o.reference = 1;
    if (!compare_plan(&m, &q, &o)) goto done;
    o.reference = 0;
    o.tile = tiles[pick(&d, 3)];
    if (!compare_plan(&m, &q, &o)) goto done;
    o.tile = 0;
    o.grad_of = q.y;
    if (!compare_plan(&m, &q, &o)) goto done;
    {
        made f; /* the same program with parameters in f32, under the bounds for f32 */
        questions r;
        if (!make(&f, p, WF_F32) || !ask(&f, &r, p) || r.outs != q.outs) { say("the program in f32 is another one", q.y); unmake(&f); goto done; }
        o.type = WF_F32;
        f.s = m.s;
        f.s.g = f.g;
        for (int i = 0; i < r.outs; i++) if (r.out[i].id != q.out[i].id) { say("the program in f32 has other numbers", q.y); i = r.outs; }
        int first = pick(&d, 5), ok = !why[0];
        for (int k = 0; k < 5 && ok; k++) { /* two of the instruction sets, in turn */
            int isa = WF_ISA_SCALAR + (first + k) % 5;
            if (!wf_isa_available(isa)) continue;
            o.isa = isa;
            o.tile = tiles[pick(&d, 3)];
            o.grad_of = pick(&d, 2) ? r.y : wf__none(f.g);
            ok = compare_plan(&f, &r, &o);
            if (k >= 2) break;
        }
        slow_chunk *memory = f.memory;
        slow_free(&memory);
        wf_arena_free(f.A);
        if (!ok) goto done;
    }
    good = 1;
done:
    if (dump) {
        static char text[1 << 18];
        wf_memory_writer w = { NULL, text, 0, sizeof text - 1 };
        wf_t out = culprit.id && culprit.graph ? wf__at(m.g, culprit.id) : q.y;
        if (strstr(why, "no value")) wf_graph_dump(m.g, NULL, 0, wf_memory_write, &w);
        else if (strstr(why, "jet")) wf_graph_dump(m.g, &q.per, 1, wf_memory_write, &w);
        else wf_graph_dump(m.g, &out, 1, wf_memory_write, &w);
        text[w.size] = 0;
        printf("%s\n", text);
    }
    unmake(&m);
    return good;
}

static void investigate(program *p) /* leave out what can be left out, then show the rest */
{
    printf("  seed %llu: %s\n", (unsigned long long)p->seed, why);
    int progress = 1;
    while (progress) {
        progress = 0;
        for (int id = IDS - 1; id >= 0; id--) {
            program smaller = *p;
            if (p->off[id] || id > p->count * 25) continue;
            smaller.off[id] = 1;
            memset(smaller.bad, 0, sizeof smaller.bad);
            if (id % 25 && p->off[id - id % 25]) continue;
            if (id % 25 && ((id % 25) - 1) % 8 && id % 25 > 8) continue;
            if (attempt(&smaller, 0)) continue;
            program keep = *p;
            *p = smaller;
            (void)keep;
            if (id % 25 == 0) progress = 1;
        }
    }
    attempt(p, 0);
    printf("  made smaller: %s\n", why);
    attempt(p, 1);
}

static int sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return 1;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
    return 1;
#endif
#endif
    return 0;
}

WF_TEST(random_graphs)
{
    const char *first = getenv("WF_SEED"), *many = getenv("WF_GRAPHS");
    long from = first ? atol(first) : 1, count = many ? atol(many) : first ? 1 : sanitized() ? 300 : 2500, failed = 0;
    if (!many && getenv("WF_TEST_LONG")) count *= 40;
    for (long k = 0; k < count && failed < 3; k++) {
        if (getenv("WF_TRACE")) fprintf(stderr, "%ld\n", from + k);
        program p;
        memset(&p, 0, sizeof p);
        p.seed = (uint64_t)(from + k);
        if (attempt(&p, 0)) continue;
        failed++;
        investigate(&p);
        CHECK(!"a random graph");
    }
    printf("  %ld graphs, %.0f values on average, %ld plans, %ld and %ld elements compared (f64, f32), %ld against differences (%ld undecided), %ld second derivatives, %ld jets\n", graphs,
           (double)nodes_seen / (double)(graphs ? graphs : 1), plans_run, compared[0], compared[1], differences_done, differences_left, second_done, jets_done);
    if (count < 300) return;
    for (int op = 1; op < WF__OPS; op++) { if (!op_count[op]) printf("  %s never occurred\n", wf__op_name[op]); CHECK(op_count[op] > 0); }
    CHECK(differences_done > count / 2 && jets_done > count / 10 && second_done > count / 2);
    CHECK_INT(fast_spilled, 0);
    CHECK(refused <= count / 100);
}

/* --- what random graphs have found, as small as it gets ------------------------------------------------------------------------------------------------ */
static int agrees(wf_graph *g, const wf_t *list, int n, int samples)
{
    static double room[8][MOST * BIG];
    double *result[8];
    slow s;
    slow_chunk *memory = NULL;
    int asked = 0, good = 1;
    for (int i = 0; i < 8; i++) result[i] = room[i];
    for (int r = 0; r < 3; r++) for (int k = 0; k < LEAVES; k++) for (int i = 0; i < MOST * BIG; i++) input[r][k][i] = (double)(float)sin(0.37 * i + k + 3 * r + 0.1);
    slow_open(&s, g, samples, feed, NULL, &memory);
    slow_ask(&s, &asked, list, n);
    for (int tile = 1; tile <= 64; tile *= 4)
        {
            fast_options o;
            long compared_here = 0;
            memset(&o, 0, sizeof o);
            o.type = WF_F64;
            o.tile = tile;
            o.threads = 2;
            wf_arena *A = wf_arena_new(NULL);
            wf_plan *p = fast_compile(A, list, n, &o);
            wf_ws *ws = wf_ws_new(A, p, 2, NULL);
            if (!ws) { printf("  %s\n", wf_arena_report(A)->text); wf_arena_free(A); good = 0; continue; }
            fast_poison(ws);
            good &= fast_run(A, p, ws, list, n, &o, samples, feed, NULL, result) == WF_OK;
            for (int i = 0; i < n; i++) {
                long at = slow_differs(&s.value[list[i].id], result[i], 0, &compared_here);
                if (at >= 0) { printf("  tile %d, value %d, element %ld: %.17g, wanted %.17g\n", tile, i, at, result[i][at], s.value[list[i].id].x[at].v); good = 0; }
            }
            good &= compared_here > 0;
            wf_arena_free(A);
        }
    slow_free(&memory);
    return good;
}

WF_TEST(a_loop_that_runs_in_two_phases) /* its total over samples is finished after the first; its final value is wanted in the second */
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_loop *l = wf_loop_begin(g, 3, WF_KEEP_CARRY);
    wf_t c = wf_loop_carry(l, wf_input(g, "a", 2)), sum = wf_batch_sum(c);
    wf_loop_next(l, c, wf_sin(c));
    wf_loop_end(l);
    wf_t y = wf_add(wf_loop_final(l, c), wf_loop_total(l, sum)), z = wf_mul(y, wf_batch_sum(wf_square(y)));
    wf_t list[2] = { y, z };
    CHECK(agrees(g, list, 2, 37));
    wf_arena_free(A);
}

WF_TEST(a_total_that_is_also_used_inside) /* in the loop backwards, the gradient of `s` leaves as a total, and is what the gradient of `k` is made of */
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    int two = 2;
    wf_t s = wf_shared_nd(g, "s", 1, &two), k = wf_shared_nd(g, "k", 1, &two);
    wf_loop *l = wf_loop_begin(g, 3, WF_KEEP_CARRY);
    wf_t c = wf_loop_carry(l, wf_input(g, "a", 2)), v = wf_add(wf_loop_constant(l, s), wf_tanh(wf_loop_constant(l, k)));
    wf_loop_next(l, c, wf_tanh(wf_add(c, v)));
    wf_loop_end(l);
    wf_t y = wf_mean(wf_add(wf_loop_final(l, c), wf_loop_total(l, v))); /* v is shared, and counts once for each sample and step */
    wf_t both[2] = { s, k }, out[2], one = wf_const(g, 1);
    CHECK_INT(wf_vjp(&y, &one, 1, both, 2, out), WF_OK); /* in one sweep */
    wf_t list[4] = { y, out[0], out[1], wf_jvp(wf_grad(y, k), s, one) };
    CHECK(agrees(g, list, 4, 37));
    num e[3]; /* and the gradients are those of differences */
    slow_chunk *memory = NULL;
    for (int i = 0; i < 3; i++) {
        slow q;
        int room = 0;
        slow_open(&q, g, 37, feed, NULL, &memory);
        input[0][4][0] += i == 1 ? 1e-5 : i == 2 ? -2e-5 : 0;
        slow_ask(&q, &room, i ? &y : &list[2], 1);
        e[i] = q.value[i ? y.id : list[2].id].x[0];
    }
    CHECK_CLOSE(e[0].v, (e[1].v - e[2].v) / 2e-5, 1e-8); /* h^2 is 1e-10, rounding over h 1e-11 */
    slow_free(&memory);
    wf_arena_free(A);
}

WF_TEST(products_with_stopped_values) /* stop(x) / x: the stand-ins of a second derivative must not be the same */
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t x = wf_shift(wf_input(g, "a", 2), 3), y = wf_sum(wf_add(wf_div(wf_stop(x), x), wf_mul(wf_mul(x, wf_stop(x)), wf_mul(wf_sin(x), wf_stop(wf_stop(x))))));
    wf_jet jet = wf_jet2(y, x);
    wf_t list[3] = { wf_sub(jet.lap, wf__laplacian_nested(y, x)), wf_sub(jet.grad, wf_jacobian(y, x)), y };
    CHECK(agrees(g, list, 3, 5));
    slow q;
    slow_chunk *memory = NULL;
    int room = 0;
    slow_open(&q, g, 5, feed, NULL, &memory);
    slow_ask(&q, &room, list, 2);
    for (int i = 0; i < 5; i++) CHECK_CLOSE(q.value[list[0].id].x[i].v, 0, 1e-12); /* of terms up to 100: a few roundings are 1e-14 */
    slow_free(&memory);
    wf_arena_free(A);
}

WF_TEST(sums_inside_a_shared_loop_inside)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    int two = 2;
    wf_t s = wf_shared_nd(g, "s", 1, &two);
    wf_loop *l = wf_loop_begin(g, 2, WF_KEEP_CARRY);
    wf_t c = wf_loop_carry(l, wf_input(g, "a", 2)), k = wf_loop_constant(l, s);
    wf_loop *m = wf_loop_begin(wf_loop_body(l), 3, WF_KEEP_CARRY); /* a shared loop in the body of a loop over samples */
    wf_t q = wf_loop_carry(m, k);
    wf_loop_next(m, q, wf_tanh(wf_scale(q, 1.5)));
    wf_loop_end(m);
    wf_loop_next(l, c, wf_sin(wf_add(c, wf_loop_final(m, q))));
    wf_loop_end(l);
    wf_t y = wf_mean(wf_loop_final(l, c)), d = wf_grad(y, s);
    wf_t list[4] = { y, d, wf_grad(wf_sumsq(d), s), wf_jvp(d, s, wf_const(g, 1)) };
    CHECK(wf_arena_report(A)->code >= 0);
    CHECK(agrees(g, list, 4, 37));
    wf_arena_free(A);
}

WF_MAIN_CASES(WF_CASE(a_derivative_in_a_loss), WF_CASE(a_loop_that_runs_in_two_phases), WF_CASE(a_total_that_is_also_used_inside), WF_CASE(products_with_stopped_values),
              WF_CASE(sums_inside_a_shared_loop_inside), WF_CASE(random_graphs))
