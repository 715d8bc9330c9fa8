/* Loops against the same steps written out: values and derivatives, all policies, plans and element types. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

// region: a loop that compounds interest
WF_TEST(a_loop_that_compounds_interest)
{
    enum { YEARS = 10 };
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t deposit = wf_input(g, "deposit", 1), rates = wf_input(g, "rates", YEARS); /* of each customer */

    wf_loop *years = wf_loop_begin(g, YEARS, WF_KEEP_CARRY);
    wf_t money = wf_loop_carry(years, deposit), rate = wf_loop_each(years, rates);
    wf_loop_next(years, money, wf_mul(money, wf_shift(rate, 1)));
    wf_loop_end(years);

    wf_t savings = wf_loop_final(years, money);
    wf_t account = wf_loop_stack(years, money);      /* [10,1]: at the beginning of each year */
    wf_t worth = wf_grad(savings, rates);            /* what a change of each year's rate would bring */
    // end region
    wf_plan_desc d = { { { 0, 0 } }, { 0, 0 }, 0, 0, 0, 0, 0 };
    d.out[0] = savings;
    d.out[1] = account;
    d.out[2] = worth;
    d.type = WF_F64;
    wf_plan *plan = wf_compile(A, &d);
    CHECK_STR_HAS(plan ? "ok" : wf_arena_report(A)->text, "ok");
    if (!plan) return;
    wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
    double start[2] = { 100, 7 }, rate_of[2][YEARS], end[2], book[2][YEARS], grad[2][YEARS];
    for (int i = 0; i < 2; i++) for (int k = 0; k < YEARS; k++) rate_of[i][k] = 0.01 * (k + 1) + 0.005 * i;
    wf_feed f[] = { wf_in(deposit, start, 0), wf_in(rates, rate_of, 0), wf_out(savings, end, 0), wf_out(account, book, 0), wf_out(worth, grad, 0) };
    CHECK_INT(wf_run(plan, ws, f, 5, 2), WF_OK);
    for (int i = 0; i < 2; i++) {
        double sum = start[i];
        for (int k = 0; k < YEARS; k++) {
            CHECK(book[i][k] == sum);
            sum *= rate_of[i][k] + 1;
        }
        CHECK(end[i] == sum);
        for (int k = 0; k < YEARS; k++) CHECK_CLOSE(grad[i][k], sum / (1 + rate_of[i][k]), 1e-13 * sum); /* ten roundings of 1e-16 */
    }
    wf_arena_free(A);
}

/* ---- one description, two ways to build it ---- */

enum { CARRIES = 3, ROWS = 2, FIXED = 2, OUTS = 3, MANY = 16 };
enum { S = 0, B = 1 };

typedef struct frame {
    wf_graph *g;
    wf_t carry[CARRIES], each[ROWS], fixed[FIXED], step;  /* what the body is given */
    wf_t next[CARRIES], stack[OUTS], total[OUTS];         /* what it gives */
    wf_t kept[8];                                         /* its own values */
} frame;

typedef struct shape { int used, space, nd, d[3]; } shape;

typedef struct loop_case {
    const char *name;
    int steps;
    shape carry[CARRIES], each[ROWS], fixed[FIXED]; /* a row of each, without the axis of the steps */
    int no_final;                                   /* bit i: carry i is not wanted at the end */
    void (*body)(frame *f);
    const char *param[4];
    int param_d[4][2];
} loop_case;

static wf_t input_of(wf_graph *g, char letter, int i, const shape *s, int rows)
{
    char name[3] = { letter, (char)('0' + i), 0 };
    int d[4], nd = 0;
    if (rows) d[nd++] = rows;
    for (int k = 0; k < s->nd; k++) d[nd++] = s->d[k];
    return s->space == S ? wf_shared_nd(g, name, nd, d) : wf_input_nd(g, name, nd, d);
}

static wf_t parameter(wf_graph *g, const loop_case *c, int i)
{
    return wf_param(g, c->param[i], c->param_d[i][1] ? 2 : 1, c->param_d[i], WF_INIT_UNIFORM, 0.8);
}

typedef struct built { wf_t in[MANY], out[MANY]; int ins, outs; } built;

static void build_loop(built *b, const loop_case *c, wf_graph *g, int keep, wf_t *carry, wf_t *each, wf_t *fixed)
{
    frame f;
    memset(&f, 0, sizeof f);
    wf_loop *l = wf_loop_begin(g, c->steps, keep);
    f.g = wf_loop_body(l);
    for (int i = 0; i < CARRIES; i++) if (c->carry[i].used) f.carry[i] = wf_loop_carry(l, carry[i]);
    for (int i = 0; i < ROWS; i++) if (c->each[i].used) f.each[i] = wf_loop_each(l, each[i]);
    for (int i = 0; i < FIXED; i++) if (c->fixed[i].used) f.fixed[i] = wf_loop_constant(l, fixed[i]);
    f.step = wf_loop_step(l);
    c->body(&f);
    for (int i = 0; i < CARRIES; i++) if (c->carry[i].used) CHECK_INT(wf_loop_next(l, f.carry[i], f.next[i]), WF_OK);
    CHECK_INT(wf_loop_end(l), WF_OK);
    for (int i = 0; i < CARRIES; i++) if (c->carry[i].used && !(c->no_final & 1 << i)) b->out[b->outs++] = wf_loop_final(l, f.carry[i]);
    for (int i = 0; i < OUTS; i++) if (f.stack[i].id) b->out[b->outs++] = wf_loop_stack(l, f.stack[i]);
    for (int i = 0; i < OUTS; i++) if (f.total[i].id) b->out[b->outs++] = wf_loop_total(l, f.total[i]);
}

static wf_t row_of(wf_t rows, int k)
{
    int d[4], nd = wf_shape(rows, d);
    return wf_reshape(wf_slice(rows, 0, k, 1), nd - 1, d + 1);
}

static void build_unrolled(built *b, const loop_case *c, wf_graph *g, wf_t *carry, wf_t *each, wf_t *fixed)
{
    static frame f[64];
    int one = 1;
    for (int k = 0; k < c->steps; k++) {
        memset(&f[k], 0, sizeof f[k]);
        f[k].g = g;
        f[k].step = wf_full(g, 1, &one, k);
        for (int i = 0; i < CARRIES; i++) f[k].carry[i] = k ? f[k - 1].next[i] : carry[i];
        for (int i = 0; i < ROWS; i++) if (c->each[i].used) f[k].each[i] = row_of(each[i], k);
        for (int i = 0; i < FIXED; i++) f[k].fixed[i] = fixed[i];
        c->body(&f[k]);
    }
    for (int i = 0; i < CARRIES; i++) if (c->carry[i].used && !(c->no_final & 1 << i)) b->out[b->outs++] = f[c->steps - 1].next[i];
    for (int i = 0; i < OUTS; i++) {
        wf_t list[64];
        if (!f[0].stack[i].id) continue;
        for (int k = 0; k < c->steps; k++) list[k] = f[k].stack[i];
        b->out[b->outs++] = wf_stack(list, c->steps);
    }
    for (int i = 0; i < OUTS; i++) {
        if (!f[0].total[i].id) continue;
        wf_t sum = f[0].total[i];
        for (int k = 1; k < c->steps; k++) sum = wf_add(sum, f[k].total[i]);
        b->out[b->outs++] = sum;
    }
}

/* ---- numbers for everything ---- */

static wf_t weights_like(wf_t x, double phase)
{
    static double w[4096];
    int d[4], nd = wf_shape(x, d), n = 1;
    for (int i = 0; i < nd; i++) n *= d[i];
    for (int i = 0; i < n; i++) w[i] = sin(1.3 * i + phase) + 0.3;
    return wf_const_array(x.graph, nd, d, w);
}

static wf_t loss_of(const wf_t *list, int n, double phase)
{
    wf_t sum = wf_const(list[0].graph, 0);
    for (int i = 0; i < n; i++) {
        wf_t x = wf_sum(wf_mul(weights_like(list[i], phase + i), wf_add(wf_tanh(list[i]), wf_square(wf_scale(list[i], 0.3)))));
        sum = wf_add(sum, wf_is_batch(x) ? wf_mean(x) : x);
    }
    return sum;
}

/* Results, their loss, its gradient, tangents, and the gradient of a function of the gradient. */
enum { VALUES, GRADIENTS, TANGENTS, SECOND, MIXED, PARTS };
typedef struct numbers { double *x[PARTS]; int n[PARTS]; const char *error; char text[300]; } numbers;

static const char *part_name[] = { "values", "gradients", "tangents", "reverse over reverse", "forward over reverse" };

static void evaluate(const loop_case *c, int looped, int keep, int type, int tile, int reference, int samples, numbers *r)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 5, type);
    wf_graph *g = wf_graph_new(A, P);
    built b;
    wf_t carry[CARRIES], each[ROWS], fixed[FIXED], grad[MANY], second[MANY], direction[MANY], out[PARTS][MANY];
    int count[PARTS];
    memset(&b, 0, sizeof b);
    memset(r, 0, sizeof *r);
    for (int i = 0; i < CARRIES; i++) if (c->carry[i].used) b.in[b.ins++] = carry[i] = input_of(g, 'c', i, &c->carry[i], 0);
    for (int i = 0; i < ROWS; i++) if (c->each[i].used) b.in[b.ins++] = each[i] = input_of(g, 'e', i, &c->each[i], c->steps);
    for (int i = 0; i < FIXED; i++) if (c->fixed[i].used) b.in[b.ins++] = fixed[i] = input_of(g, 'f', i, &c->fixed[i], 0);
    int inputs = b.ins, samples_case = 0;
    for (int i = 0; i < inputs; i++) samples_case |= wf_is_batch(b.in[i]);
    for (int i = 0; i < 4; i++) if (c->param[i]) b.in[b.ins++] = parameter(g, c, i);
    if (looped) build_loop(&b, c, g, keep, carry, each, fixed);
    else build_unrolled(&b, c, g, carry, each, fixed);

    wf_t loss = loss_of(b.out, b.outs, 0), one = wf_const(g, 1);
    for (int i = 0; i < b.ins; i++) direction[i] = weights_like(b.in[i], 7 + i);
    wf_vjp(&loss, &one, 1, b.in, b.ins, grad);
    wf_jvp_list(b.in, direction, b.ins, b.out, b.outs, out[TANGENTS]);
    wf_t size = loss_of(grad, b.ins, 3);
    wf_vjp(&size, &one, 1, b.in, b.ins, second);
    wf_jvp_list(b.in, direction, b.ins, grad, b.ins, out[MIXED]);
    for (int i = 0; i < b.outs; i++) { /* a result may be shared in one form and live per sample in the other */
        out[VALUES][i] = samples_case ? wf_per_sample(b.out[i]) : b.out[i];
        out[TANGENTS][i] = samples_case ? wf_per_sample(out[TANGENTS][i]) : out[TANGENTS][i];
    }
    memcpy(out[GRADIENTS], grad, sizeof grad);
    memcpy(out[SECOND], second, sizeof second);
    out[VALUES][b.outs] = loss;
    out[GRADIENTS][b.ins] = size;
    count[VALUES] = b.outs + 1;
    count[TANGENTS] = b.outs;
    count[GRADIENTS] = b.ins + 1;
    count[SECOND] = count[MIXED] = b.ins;

    for (int part = 0; part < PARTS; part++) {
        wf_plan_desc d;
        wf_feed feeds[2 * MANY];
        double *x[MANY];
        int n[MANY], nf = 0, total = 0;
        memset(&d, 0, sizeof d);
        for (int i = 0; i < count[part]; i++) d.out[i] = out[part][i];
        d.type = type;
        d.tile = tile;
        d.reference = reference;
        wf_plan *plan = wf_compile(A, &d);
        if (!plan) {
            if (!r->error) { snprintf(r->text, sizeof r->text, "%s: %s", part_name[part], wf_arena_report(A)->text); r->error = r->text; }
            wf_arena_clear(A);
            continue;
        }
        wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
        for (int i = 0; i < inputs; i++) {
            int dims[4], nd = wf_shape(b.in[i], dims), m = wf_is_batch(b.in[i]) ? samples : 1;
            for (int k = 0; k < nd; k++) m *= dims[k];
            char *data = (char *)wf_alloc(A, (size_t)m, type == WF_F64 ? 8 : 4);
            for (int k = 0; k < m; k++) {
                double v = 0.7 * sin(2.1 * k + i) + 0.1;
                if (type == WF_F64) ((double *)(void *)data)[k] = (double)(float)v;
                else ((float *)(void *)data)[k] = (float)v;
            }
            feeds[nf++] = wf_in(b.in[i], data, 0);
        }
        for (int i = 0; i < count[part]; i++) {
            int dims[4], nd = wf_shape(d.out[i], dims);
            n[i] = wf_is_batch(d.out[i]) ? samples : 1;
            for (int k = 0; k < nd; k++) n[i] *= dims[k];
            x[i] = (double *)wf_alloc(A, (size_t)n[i], 8);
            feeds[nf++] = wf_out(d.out[i], x[i], 0);
            total += n[i];
        }
        wf_result ran = wf_run(plan, ws, feeds, nf, (size_t)samples);
        if (ran != WF_OK && !r->error) { snprintf(r->text, sizeof r->text, "%s: %s", part_name[part], wf_ws_report(ws)->text); r->error = r->text; }
        r->x[part] = (double *)calloc((size_t)total, sizeof(double));
        r->n[part] = total;
        total = 0;
        for (int i = 0; i < count[part]; i++) {
            for (int k = 0; k < n[i]; k++) r->x[part][total + k] = type == WF_F64 ? x[i][k] : (double)((const float *)(const void *)x[i])[k];
            total += n[i];
        }
    }
    wf_arena_free(A);
}

static void forget(numbers *r) { for (int i = 0; i < PARTS; i++) free(r->x[i]); }

/* Equal up to `tolerance` times the largest number of the part. */
static void compare(const loop_case *c, const char *what, const numbers *a, const numbers *b, double tolerance)
{
    if (b->error) { CHECK(!"built"); printf("    %s, %s: %s\n", c->name, what, b->error); return; }
    for (int p = 0; p < PARTS; p++) {
        double largest = 0, worst = 0;
        int at = 0;
        CHECK_INT(a->n[p], b->n[p]);
        if (a->n[p] != b->n[p]) { printf("    %s, %s, %s\n", c->name, what, part_name[p]); continue; }
        for (int i = 0; i < a->n[p]; i++) {
            double e = fabs(a->x[p][i] - b->x[p][i]);
            if (fabs(a->x[p][i]) > largest) largest = fabs(a->x[p][i]);
            if (!(e <= worst)) { worst = e; at = i; }
        }
        if (worst <= tolerance * largest && largest > 0) continue;
        CHECK(!"close");
        printf("    %s, %s, %s: number %d of %d is %.17g, wanted %.17g (largest %.3g)\n", c->name, what, part_name[p], at, b->n[p], b->x[p][at], a->x[p][at], largest);
    }
}

static void compare_bits(const loop_case *c, const char *what, const numbers *a, const numbers *b)
{
    for (int p = 0; p <= TANGENTS; p++) { /* second derivatives pass through the stored values and add the same terms in another order */
        if (a->n[p] != b->n[p] || !a->x[p] || !b->x[p] || !memcmp(a->x[p], b->x[p], (size_t)a->n[p] * sizeof(double))) continue;
        CHECK(!"the same bits");
        for (int i = 0; i < a->n[p]; i++) if (a->x[p][i] != b->x[p][i]) { printf("    %s, %s, %s: number %d of %d: %.17g and %.17g\n", c->name, what, part_name[p], i, a->n[p], a->x[p][i], b->x[p][i]); break; }
    }
}

static const char *keep_name[] = { "carries", "all", "few" };

static void check_case(const loop_case *c)
{
    static const int tiles[] = { 1, 16, 64 };
    static const int samples[] = { 5, 70 };
    char what[64];
    for (int s = 0; s < 2; s++) {
        numbers wanted, got, first;
        evaluate(c, 0, 0, WF_F64, 1, 1, samples[s], &wanted);
        if (wanted.error) { CHECK(!"written out"); printf("    %s: %s\n", c->name, wanted.error); forget(&wanted); continue; }
        evaluate(c, 1, WF_KEEP_CARRY, WF_F64, 1, 1, samples[s], &got);
        compare(c, "loop, reference plan", &wanted, &got, 1e-12); /* sums of a few hundred numbers in another order, twice differentiated */
        forget(&got);
        for (int t = 0; t < 3; t++) {
            evaluate(c, 0, 0, WF_F64, tiles[t], 0, samples[s], &got);
            snprintf(what, sizeof what, "written out, tile %d", tiles[t]);
            compare(c, what, &wanted, &got, 1e-12);
            forget(&got);
            for (int keep = 0; keep < 3; keep++) {
                evaluate(c, 1, keep, WF_F64, tiles[t], 0, samples[s], keep ? &got : &first);
                snprintf(what, sizeof what, "loop, keep %s, tile %d, %d samples", keep_name[keep], tiles[t], samples[s]);
                compare(c, what, &wanted, keep ? &got : &first, 1e-12);
                if (keep) { compare_bits(c, what, &first, &got); forget(&got); }
            }
            forget(&first);
            evaluate(c, 1, WF_KEEP_CARRY, WF_F32, tiles[t], 0, samples[s], &got);
            snprintf(what, sizeof what, "loop, f32, tile %d, %d samples", tiles[t], samples[s]);
            compare(c, what, &wanted, &got, 2e-5); /* 6e-8 times the length of the computation */
            forget(&got);
        }
        forget(&wanted);
    }
}

/* ---- bodies ---- */

static void body_network(frame *f)
{
    int d2[2] = { 4, 4 }, du[2] = { 4, 3 }, db[1] = { 4 };
    wf_t w = wf_param(f->g, "w", 2, d2, WF_INIT_UNIFORM, 0.8), u = wf_param(f->g, "u", 2, du, WF_INIT_UNIFORM, 0.8), b = wf_param(f->g, "b", 1, db, WF_INIT_UNIFORM, 0.8);
    f->next[0] = wf_tanh(wf_add(wf_add(wf_matmul(w, f->carry[0]), wf_matmul(u, f->each[0])), b));
    f->stack[0] = wf_sigmoid(f->next[0]);
    f->total[0] = wf_sumsq(f->next[0]);
}

static const loop_case network = { "a recurrent network", 6, { { 1, B, 1, { 4 } } }, { { 1, B, 1, { 3 } } }, { { 0, 0, 0, { 0 } } }, 0, body_network, { "w", "u", "b" }, { { 4, 4 }, { 4, 3 }, { 4, 0 } } };

static void body_two(frame *f)
{
    wf_t y = f->carry[0], e = f->carry[1];
    wf_t k = wf_sub(wf_sin(wf_mul(f->fixed[0], y)), wf_scale(wf_mul(y, wf_add(f->fixed[1], wf_scale(f->step, 0.1))), 0.3));
    wf_t k2 = wf_sin(wf_add(y, wf_scale(k, 0.1)));
    f->next[0] = wf_add(y, wf_scale(wf_add(k, k2), 0.05));
    f->next[1] = wf_add(e, wf_scale(wf_sumsq(k), 0.05));
    f->stack[0] = y;
    f->stack[1] = wf_mul(f->each[0], f->next[0]);
    f->total[0] = wf_mul(k, wf_exp(f->each[0]));
}

static const loop_case two = { "two carries, constants and step", 7, { { 1, B, 1, { 5 } }, { 1, B, 0, { 0 } } }, { { 1, B, 1, { 5 } } }, { { 1, B, 1, { 5 } }, { 1, B, 1, { 1 } } }, 0, body_two, { NULL }, { { 0 } } };
static const loop_case two_shared = { "the same, rows and a constant shared", 7, { { 1, B, 1, { 5 } }, { 1, B, 0, { 0 } } }, { { 1, S, 1, { 5 } } }, { { 1, S, 1, { 5 } }, { 1, B, 1, { 1 } } }, 0, body_two, { NULL }, { { 0 } } };
static const loop_case all_shared = { "everything shared", 7, { { 1, S, 1, { 5 } }, { 1, S, 0, { 0 } } }, { { 1, S, 1, { 5 } } }, { { 1, S, 1, { 5 } }, { 1, S, 1, { 1 } } }, 0, body_two, { NULL }, { { 0 } } };

static void body_weights(frame *f)
{
    int d[2] = { 3, 3 };
    wf_t m = wf_param(f->g, "m", 2, d, WF_INIT_UNIFORM, 0.8);
    wf_t v = wf_tanh(wf_matmul(f->carry[0], m));
    f->next[0] = wf_add(f->carry[0], wf_mul(v, f->each[0]));
    f->next[1] = wf_add(f->carry[1], wf_sumsq(v));
    f->stack[0] = f->carry[0];
}

static const loop_case weights = { "weights that move", 5, { { 1, S, 2, { 4, 3 } }, { 1, S, 0, { 0 } } }, { { 1, S, 1, { 1 } } }, { { 0, 0, 0, { 0 } } }, 0, body_weights, { "m" }, { { 3, 3 } } };

static void body_mixed(frame *f)
{
    f->next[0] = wf_add(wf_sin(wf_mul(f->carry[0], f->carry[1])), f->each[0]);
    f->next[1] = wf_add(wf_scale(wf_cos(f->carry[1]), 0.9), f->each[1]); /* the same for all samples */
    f->total[0] = wf_mul(f->carry[0], f->carry[1]);
    f->total[1] = wf_sin(f->carry[1]);
    f->stack[0] = wf_square(f->carry[1]);
}

static const loop_case mixed = { "a shared carry among samples", 5, { { 1, B, 1, { 3 } }, { 1, S, 1, { 3 } } }, { { 1, B, 1, { 3 } }, { 1, S, 1, { 3 } } }, { { 0, 0, 0, { 0 } } }, 2, body_mixed, { NULL }, { { 0 } } };

static void body_views(frame *f) /* results that are views, slices, permutations and constants; carries that trade places; a carry that stays */
{
    int order[2] = { 1, 0 }, six = 6;
    f->next[0] = wf_permute(f->carry[1], order);
    f->next[1] = wf_add(wf_permute(f->carry[0], order), f->each[0]);
    f->next[2] = f->carry[2];
    f->stack[0] = wf_reshape(f->carry[0], 1, &six);
    f->stack[1] = wf_slice(f->carry[1], 0, 1, 1);
    f->stack[2] = wf_mul(f->carry[2], wf_slice(f->carry[0], 1, 1, 1));
    f->total[0] = wf_permute(f->carry[0], order);
    f->total[1] = f->carry[2];
}

static const loop_case views = { "views and exchanges", 5, { { 1, B, 2, { 2, 3 } }, { 1, B, 2, { 3, 2 } }, { 1, B, 1, { 1 } } }, { { 1, B, 2, { 3, 2 } } }, { { 0, 0, 0, { 0 } } }, 0, body_views, { NULL }, { { 0 } } };

static void body_inner(frame *f)
{
    int d[2] = { 3, 3 };
    wf_loop *l = wf_loop_begin(f->g, 4, WF_KEEP_CARRY);
    wf_t y = wf_loop_carry(l, f->carry[0]), x = wf_loop_each(l, f->each[0]), a = wf_loop_constant(l, f->fixed[0]), k = wf_loop_constant(l, wf_scale(f->step, 0.1));
    wf_t w = wf_param(wf_loop_body(l), "w", 2, d, WF_INIT_UNIFORM, 0.8);
    wf_t n = wf_tanh(wf_add(wf_matmul(w, y), wf_mul(wf_mul(a, x), wf_add(k, wf_scale(wf_loop_step(l), 0.2)))));
    wf_loop_next(l, y, n);
    wf_loop_end(l);
    f->next[0] = wf_add(wf_loop_final(l, y), wf_scale(f->carry[0], 0.5));
    f->stack[0] = wf_loop_stack(l, n);
    f->total[0] = wf_loop_total(l, wf_square(y));
    f->total[1] = wf_sin(wf_loop_final(l, y));
}

static const loop_case inner = { "a loop in a loop", 3, { { 1, B, 1, { 3 } } }, { { 1, B, 2, { 4, 3 } } }, { { 1, B, 1, { 3 } } }, 0, body_inner, { "w" }, { { 3, 3 } } };
static const loop_case inner_shared = { "a loop in a loop, constants shared", 3, { { 1, B, 1, { 3 } } }, { { 1, S, 2, { 4, 3 } } }, { { 1, S, 1, { 3 } } }, 0, body_inner, { "w" }, { { 3, 3 } } };
static const loop_case inner_all = { "a loop in a loop, all shared", 3, { { 1, S, 1, { 3 } } }, { { 1, S, 2, { 4, 3 } } }, { { 1, S, 1, { 3 } } }, 0, body_inner, { "w" }, { { 3, 3 } } };

static void body_single(frame *f) { f->next[0] = wf_exp(wf_scale(f->carry[0], -1)); f->stack[0] = f->next[0]; }
static const loop_case single = { "one step", 1, { { 1, B, 1, { 2 } } }, { { 0, 0, 0, { 0 } } }, { { 0, 0, 0, { 0 } } }, 0, body_single, { NULL }, { { 0 } } };

static void body_attention(frame *f) /* samples that are matrices: products of two values that differ between samples, softmax, gather */
{
    wf_t a = wf_softmax(wf_matmul_t(f->carry[0], 0, f->carry[0], 1), 1);
    wf_t index = wf_const_array(f->g, 1, (const int[]){ 3 }, (const double[]){ 2, 0, 1 });
    f->next[0] = wf_add(wf_scale(wf_matmul(a, wf_take(f->carry[0], index)), 0.9), f->each[0]);
    f->stack[0] = wf_cumsum(f->carry[0], 0, 0, 0);
}

static const loop_case attention = { "attention", 3, { { 1, B, 2, { 3, 4 } } }, { { 1, B, 2, { 3, 4 } } }, { { 0, 0, 0, { 0 } } }, 0, body_attention, { NULL }, { { 0 } } };

static void body_idle(frame *f) /* a carry that nobody reads, one that is read but never changes, a stack of a constant, a total of one */
{
    f->next[0] = wf_mul(f->carry[0], f->carry[1]);
    f->next[1] = f->carry[1];
    f->next[2] = wf_sin(f->carry[2]);
    f->stack[0] = wf_full(f->g, 1, (const int[]){ 2 }, 3);
    f->stack[1] = f->each[0];
    f->total[0] = f->fixed[0];
    f->total[1] = wf_const(f->g, 2);
}

static const loop_case idle = { "idle values", 4, { { 1, B, 1, { 2 } }, { 1, B, 1, { 2 } }, { 1, S, 1, { 3 } } }, { { 1, S, 1, { 2 } } }, { { 1, S, 1, { 2 } } }, 4, body_idle, { NULL }, { { 0 } } };

static void body_inner_carry(frame *f) /* an inner loop over shared values in a body that runs for each sample */
{
    wf_loop *l = wf_loop_begin(f->g, 3, WF_KEEP_CARRY);
    wf_t s = wf_loop_carry(l, f->carry[1]), r = wf_loop_each(l, f->each[0]);
    wf_loop_next(l, s, wf_sin(wf_add(s, r)));
    wf_loop_end(l);
    f->next[1] = wf_loop_final(l, s);
    f->next[0] = wf_tanh(wf_mul(f->carry[0], wf_add(wf_loop_total(l, wf_square(s)), f->carry[1])));
    f->total[0] = wf_loop_final(l, s);
}

static const loop_case inner_carry = { "a shared loop in a loop over samples", 4, { { 1, B, 1, { 2 } }, { 1, S, 1, { 2 } } }, { { 1, S, 2, { 3, 2 } } }, { { 0, 0, 0, { 0 } } }, 2, body_inner_carry, { NULL }, { { 0 } } };

WF_TEST(idle_case) { check_case(&idle); }
WF_TEST(inner_carry_case) { check_case(&inner_carry); }
WF_TEST(network_case) { check_case(&network); }
WF_TEST(two_case) { check_case(&two); }
WF_TEST(two_shared_case) { check_case(&two_shared); }
WF_TEST(all_shared_case) { check_case(&all_shared); }
WF_TEST(weights_case) { check_case(&weights); }
WF_TEST(mixed_case) { check_case(&mixed); }
WF_TEST(views_case) { check_case(&views); }
WF_TEST(inner_case) { check_case(&inner); }
WF_TEST(inner_shared_case) { check_case(&inner_shared); }
WF_TEST(inner_all_case) { check_case(&inner_all); }
WF_TEST(single_case) { check_case(&single); }
WF_TEST(attention_case) { check_case(&attention); }

/* The noise of a step is the same when a derivative runs the step again, and another in another step. */
WF_TEST(noise_in_a_body)
{
    enum { STEPS = 6, N = 70 };
    static double y[3][N], z[N][STEPS], dy[3][N];
    for (int keep = 0; keep < 3; keep++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_graph *g = wf_graph_new(A, NULL);
        wf_t x = wf_input(g, "x", 1);
        wf_loop *l = wf_loop_begin(g, STEPS, keep);
        wf_t c = wf_loop_carry(l, x), n = wf_normal(wf_loop_body(l), 0, NULL, 1);
        wf_loop_next(l, c, wf_mul(wf_sin(c), wf_exp(wf_scale(n, 0.2))));
        wf_loop_end(l);
        wf_plan_desc d;
        memset(&d, 0, sizeof d);
        d.out[0] = wf_loop_final(l, c);
        d.out[1] = wf_grad(d.out[0], x);
        d.out[2] = wf_loop_stack(l, n);
        d.type = WF_F64;
        wf_plan *plan = wf_compile(A, &d);
        wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
        wf_ws_noise(ws, 3, 1);
        double in[N];
        for (int i = 0; i < N; i++) in[i] = 0.5 + 0.01 * i;
        wf_feed f[] = { wf_in(x, in, 0), wf_out(d.out[0], y[keep], 0), wf_out(d.out[1], dy[keep], 0), wf_out(d.out[2], z, 0) };
        CHECK_INT(wf_run(plan, ws, f, 4, N), WF_OK);
        for (int i = 0; i < N; i++) {
            double v = in[i], dv = 1;
            for (int k = 0; k < STEPS; k++) {
                CHECK(k == 0 || z[i][k] != z[i][k - 1]);
                double e = exp(0.2 * z[i][k]);
                dv *= cos(v) * e;
                v = sin(v) * e;
            }
            CHECK_CLOSE(y[keep][i], v, 1e-14);
            CHECK_CLOSE(dy[keep][i], dv, 1e-14);
        }
        CHECK(!memcmp(y[0], y[keep], sizeof y[0]) && !memcmp(dy[0], dy[keep], sizeof dy[0]));
        wf_arena_free(A);
    }
}

/* ---- misuse ---- */

WF_TEST(misuse_is_answered)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t x = wf_input(g, "x", 3), s = wf_shared_nd(g, "s", 1, (const int[]){ 3 });
    CHECK(!wf_loop_begin(g, 0, 0));
    CHECK_STR_HAS(wf_arena_report(A)->text, "0 steps");
    wf_arena_clear(A);
    wf_loop *l = wf_loop_begin(g, 4, 0);
    CHECK(!wf_loop_each(l, x).id);
    CHECK_STR_HAS(wf_arena_report(A)->text, "one row for each step");
    wf_arena_clear(A);
    wf_t c = wf_loop_carry(l, s), in = wf_loop_constant(l, x);
    CHECK_INT(wf_loop_next(l, c, wf_mul(c, in)), WF_ERROR_ARGUMENT);
    CHECK_STR_HAS(wf_arena_report(A)->text, "wf_per_sample");
    wf_arena_clear(A);
    CHECK_INT(wf_loop_next(l, c, wf_sum(c)), WF_ERROR_SHAPE);
    CHECK_STR_HAS(wf_arena_report(A)->text, "next value");
    wf_arena_clear(A);
    CHECK(wf_loop_end(l) < 0);
    CHECK_STR_HAS(wf_arena_report(A)->text, "no next value");
    wf_arena_clear(A);
    CHECK(!wf_loop_final(l, c).id);
    CHECK_STR_HAS(wf_arena_report(A)->text, "after its end");
    wf_arena_clear(A);
    CHECK(!wf_mul(c, x).id);
    CHECK_STR_HAS(wf_arena_report(A)->text, "two graphs");
    wf_arena_clear(A);
    CHECK_INT(wf_loop_next(l, c, wf_sin(c)), WF_OK);
    CHECK_INT(wf_loop_end(l), WF_OK);
    wf_loop *other = wf_loop_begin(g, 2, 0);
    c = wf_loop_carry(other, x);
    CHECK_INT(wf_loop_next(other, c, wf_mul(c, wf_input(wf_loop_body(other), "z", 3))), WF_OK);
    CHECK_INT(wf_loop_end(other), WF_ERROR_ARGUMENT);
    CHECK_STR_HAS(wf_arena_report(A)->text, "the input z is made in the body");
    wf_arena_clear(A);
    CHECK(!wf_loop_carry(l, s).id);
    CHECK_STR_HAS(wf_arena_report(A)->text, "ended");
    CHECK(!wf_loop_begin(NULL, 1, 0) && !wf_loop_body(NULL) && wf_loop_end(NULL) < 0);
    wf_arena_free(A);
}

WF_MAIN_CASES(WF_CASE(a_loop_that_compounds_interest), WF_CASE(network_case), WF_CASE(two_case), WF_CASE(two_shared_case), WF_CASE(all_shared_case), WF_CASE(weights_case), WF_CASE(mixed_case),
    WF_CASE(views_case), WF_CASE(inner_case), WF_CASE(inner_shared_case), WF_CASE(inner_all_case), WF_CASE(single_case), WF_CASE(attention_case), WF_CASE(idle_case), WF_CASE(inner_carry_case), WF_CASE(noise_in_a_body), WF_CASE(misuse_is_answered))
