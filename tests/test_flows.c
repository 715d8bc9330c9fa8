/* Normalizing flows: every kind of layer against its own Jacobian, bases against quadrature, scores against gradients, files, data that cannot have a density. */
#define WF_KEEP_FLOWS
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

#ifndef WF_NO_FLOWS
enum { ROWS = 37 };

/* ---- layers ---- */

typedef struct kind { const char *name; int dim; wf_flow_layer l; double tol; } kind;

static const int ones3[] = { 1, 1, 1 }, twice3[] = { 1, 1, 0 }, mask3[] = { 0, 1, 0 }, mask5[] = { 1, 0, 0, 1, 1 }, order3[] = { 2, 0, 1 };

static wf_flow_layer with(int kind_of, int map) { wf_flow_layer l; memset(&l, 0, sizeof l); l.kind = kind_of; l.map = map; l.width = 8; l.start = 1; return l; }

/* Tolerances are relative to the size of the numbers (a few units): 1e-10 leaves 2^20 roundings. Splines: the slope at a knot has relative error of the bin's width, down to 1e-3 of the interval. Residual layers solve with
   the square of the Jacobian's condition. Continuous layers: the error of eight steps of Runge and Kutta, the same for all numbers compared here unless said otherwise. */
static int kinds(kind *k)
{
    static const char *const map_name[] = { "affine", "shift", "standardise", "bounded", "smooth", "spline" };
    int n = 0;
    for (int map = WF_MAP_AFFINE; map <= WF_MAP_SPLINE; map++) {
        for (int dim = 1; dim <= 5; dim += 2) { kind a = { map_name[map], dim, with(WF_FLOW_COUPLING, map), map == WF_MAP_SPLINE ? 1e-9 : 1e-10 }; a.l.part = dim == 5; k[n++] = a; }
        kind m = { map_name[map], map % 2 ? 3 : 5, with(WF_FLOW_COUPLING, map), 1e-9 }, e = { map_name[map], 2, with(WF_FLOW_ELEMENTWISE, map), 1e-10 };
        m.l.index = map % 2 ? mask3 : mask5;
        k[n++] = m;
        k[n++] = e;
        for (int inverted = 0; inverted < 2; inverted++) {
            kind a = { map_name[map], inverted ? 3 : 4, with(WF_FLOW_AUTOREGRESSIVE, map), 1e-9 };
            a.l.inverted = inverted;
            if (inverted) a.l.index = order3;
            k[n++] = a;
        }
    }
    for (int i = 0; i < 2; i++) {
        kind lin = { "linear", 3 + i, with(WF_FLOW_LINEAR, 0), 1e-10 }, perm = { "permute", 5, with(WF_FLOW_PERMUTE, 0), 1e-10 };
        lin.l.seed = i;
        lin.l.inverted = perm.l.inverted = i;
        perm.l.seed = i;
        kind planar = { "planar", 1 + 2 * i, with(WF_FLOW_PLANAR, 0), 1e-9 }, radial = { "radial", 1 + 2 * i, with(WF_FLOW_RADIAL, 0), 1e-9 };
        planar.l.inverted = radial.l.inverted = i;
        kind residual = { "residual", 1 + 2 * i, with(WF_FLOW_RESIDUAL, 0), 1e-8 }, continuous = { "continuous", 1 + i, with(WF_FLOW_CONTINUOUS, 0), 2e-4 };
        residual.l.inverted = i;
        residual.l.lipschitz = 0.7;
        continuous.l.steps = 32;
        k[n++] = lin;
        k[n++] = perm;
        k[n++] = planar;
        k[n++] = radial;
        k[n++] = residual;
        k[n++] = continuous;
    }
    return n;
}

static void scramble(wf_params *P, double by)
{
    wf_rng rng;
    wf_rng_init(&rng, 5, 1);
    for (int e = 0; e < wf_params_entries(P); e++) {
        const wf_param_info *p = wf_params_entry(P, e);
        for (size_t i = 0; i < p->count; i++) wf__put_value(wf_params_data(P), wf_params_type(P), p->offset + i, by * wf_rng_normal(&rng));
    }
}

static double det(double *a, int n)
{
    double d = 1;
    for (int i = 0; i < n; i++) {
        int best = i;
        for (int r = i + 1; r < n; r++) if (fabs(a[r * n + i]) > fabs(a[best * n + i])) best = r;
        for (int c = 0; c < n && best != i; c++) { double x = a[i * n + c]; a[i * n + c] = a[best * n + c]; a[best * n + c] = x; }
        d *= best == i ? a[i * n + i] : -a[i * n + i];
        for (int r = i + 1; r < n; r++)
            for (int c = n - 1; c >= i; c--) a[r * n + c] -= a[r * n + i] / a[i * n + i] * a[i * n + c];
    }
    return d;
}

/* Compile, run, complain. Outputs of ROWS rows of doubles. */
static int run(wf_arena *A, const wf_t *out, double *const *to, int n, const wf_feed *in, int ins, size_t rows)
{
    wf_plan_desc d;
    wf_feed feed[24];
    memset(&d, 0, sizeof d);
    d.type = WF_F64;
    for (int i = 0; i < n; i++) { d.out[i] = wf_per_sample(out[i]); feed[i] = wf_out(d.out[i], to[i], 0); }
    for (int i = 0; i < ins; i++) feed[n + i] = in[i];
    wf_plan *plan = wf_arena_report(A)->code < 0 ? NULL : wf_compile(A, &d);
    wf_ws *ws = plan ? wf_ws_new(A, plan, 1, NULL) : NULL;
    if (!ws) { wf_test_failures++; printf("  no plan: %s\n", wf_arena_report(A)->text); return 0; }
    wf_ws_noise(ws, 3, 0);
    wf_result r = wf_run(plan, ws, feed, n + ins, rows);
    if (r != WF_OK) { wf_test_failures++; printf("  run: %s\n", wf_ws_report(ws)->text); }
    return r == WF_OK;
}

static void normals(double *x, size_t n, double size, uint32_t stream)
{
    wf_rng rng;
    wf_rng_init(&rng, 17, stream);
    for (size_t i = 0; i < n; i++) x[i] = size * wf_rng_normal(&rng);
}

static double biggest(const double *a, const double *b, size_t n) /* difference, relative to numbers above 1 */
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        double e = fabs(a[i] - b[i]) / fmax(1, fmax(fabs(a[i]), fabs(b[i])));
        if (!(e <= worst)) worst = e;
        if (!(worst == worst)) return HUGE_VAL;
    }
    return worst;
}

static void one_layer(const kind *k, int context, double size)
{
    enum { D = 5 };
    static double z[ROWS * D], c[ROWS * 2], x[ROWS * D], ld[ROWS], back[ROWS * D], ld_back[ROWS], jac[ROWS * D * D], score[ROWS * D], wanted[ROWS * D], logp[ROWS], logp2[ROWS], pulled[ROWS * D], base[ROWS * D];
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F64);
    wf_graph *g = wf_graph_new(A, P);
    wf_flow_desc d;
    wf_feed in[3];
    size_t dim = (size_t)k->dim;
    memset(&d, 0, sizeof d);
    d.dim = k->dim;
    d.context = context;
    d.layers = &k->l;
    d.count = 1;
    wf_flow *f = wf_flow_new(A, "f", &d);
    wf_t zs = wf_input(g, "z", k->dim), xs = wf_input(g, "x", k->dim), cs = context ? wf_input(g, "c", context) : wf__none(g), lz, lx, out[10];
    double *to[10] = { x, ld, jac, score, logp };
    normals(z, ROWS * dim, size, 3);
    normals(c, ROWS * 2, 1, 4);
    wf_flow_state s = { zs, wf_flow_base_log_prob(f, zs, cs), wf_neg(zs) }, t;
    out[0] = wf_flow_forward(f, zs, cs, &lz);
    out[1] = lz;
    out[2] = wf_jacobian(out[0], zs);
    t = wf_flow_push(f, s, cs, 0, -1);
    out[3] = t.score;
    out[4] = t.log_p;
    scramble(P, k->l.kind == WF_FLOW_CONTINUOUS ? 0.3 : 0.6);
    in[0] = wf_in(zs, z, 0);
    in[1] = wf_in(cs, c, 0);
    int before = wf_test_failures;
    if (run(A, out, to, 5, in, context ? 2 : 1, ROWS)) {
        double *to2[] = { back, ld_back, wanted, logp2, pulled, base };
        s.x = xs;
        s.log_p = wf_flow_log_prob(f, xs, cs);
        s.score = wf_grad(s.log_p, xs);
        out[0] = wf_flow_inverse(f, xs, cs, &lx);
        out[1] = lx;
        out[2] = s.score;
        out[3] = s.log_p;
        out[4] = wf_flow_pull(f, s, cs, 0, -1).score;
        out[5] = wf_neg(out[0]);
        in[0] = wf_in(xs, x, 0);
        if (run(A, out, to2, 6, in, context ? 2 : 1, ROWS)) {
            for (size_t i = 0; i < ROWS; i++) {
                double exact = log(fabs(det(jac + i * dim * dim, k->dim)));
                CHECK_CLOSE(ld[i], exact, k->tol * fmax(1, fabs(exact)));
                CHECK_CLOSE(ld[i] + ld_back[i], 0, k->tol * fmax(1, fabs(exact)));
            }
            CHECK_CLOSE(biggest(back, z, ROWS * dim), 0, k->tol);
            CHECK_CLOSE(biggest(score, wanted, ROWS * dim), 0, k->tol * 10);
            CHECK_CLOSE(biggest(logp, logp2, ROWS), 0, k->tol * 10);
            CHECK_CLOSE(biggest(pulled, base, ROWS * dim), 0, k->tol * 10);
        }
    }
    if (wf_test_failures > before) printf("  ... in layer %s, kind %d, dim %d, inverted %d, context %d, points of size %g\n", k->name, k->l.kind, k->dim, k->l.inverted, context, size);
    wf_arena_free(A);
}

WF_TEST(every_layer_inverts_and_knows_its_determinant_and_score)
{
    kind k[80];
    int n = kinds(k);
    for (int i = 0; i < n; i++)
        for (int context = 0; context <= 2; context += 2) one_layer(&k[i], context, 2);
}

/* The same with points of the size of a million, where networks are saturated and a spline is the identity. (A continuous layer steps over what happens near 0.) */
WF_TEST(far_away_too)
{
    kind k[80];
    int n = kinds(k);
    for (int i = 0; i < n; i++) if (k[i].l.kind != WF_FLOW_CONTINUOUS) one_layer(&k[i], 0, 1e6);
}


/* ---- several layers ---- */

static wf_flow *chain(wf_arena *A, const char *name, int dim, const wf_flow_layer *l, int count, int base, int context)
{
    wf_flow_desc d;
    memset(&d, 0, sizeof d);
    d.dim = dim;
    d.layers = l;
    d.count = count;
    d.base = base;
    d.context = context;
    d.components = 3;
    wf_flow *f = wf_flow_new(A, name, &d);
    if (!f) { wf_test_failures++; printf("  %s\n", wf_arena_report(A)->text); }
    return f;
}

/* Six couplings in five dimensions: the score that is carried along against the gradient of the density, and against central differences of it. */
WF_TEST(the_score_recursion_is_exact)
{
    enum { D = 5, N = 50 };
    static double x[N * D], logp[N], score[N * D], grad[N * D], near[N * D], low[N], high[N];
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F64);
    wf_graph *g = wf_graph_new(A, P);
    wf_flow_layer l[7];
    for (int i = 0; i < 6; i++) { l[i] = with(WF_FLOW_COUPLING, i % 3 == 2 ? WF_MAP_SMOOTH : i % 3 == 1 ? WF_MAP_BOUNDED : WF_MAP_AFFINE); l[i].part = i % 2; l[i].inverted = i == 3; l[i].scale = 0; }
    l[6] = with(WF_FLOW_LINEAR, 0);
    wf_flow *f = chain(A, "f", D, l, 7, WF_BASE_FULL, 0);
    wf_flow_state s = wf_flow_draw(f, g, wf__none(g), 3);
    wf_t xs = wf_input(g, "x", D), p = wf_flow_log_prob(f, xs, wf__none(g)), out[3] = { s.x, s.log_p, s.score };
    double *to[3] = { x, logp, score };
    scramble(P, 0.4);
    CHECK(run(A, out, to, 3, NULL, 0, N));
    out[0] = p;
    out[1] = wf_flow_score(f, xs, wf__none(g));
    double *to2[2] = { low, grad };
    wf_feed in = wf_in(xs, x, 0);
    CHECK(run(A, out, to2, 2, &in, 1, N));
    CHECK_CLOSE(biggest(logp, low, N), 0, 1e-9);         /* two ways to the same number, some hundred roundings */
    CHECK_CLOSE(biggest(score, grad, N * D), 0, 1e-9);   /* what the issue asks for */
    for (int i = 0; i < D; i++) {
        double h = 1e-5;
        for (int side = 0; side < 2; side++) {
            memcpy(near, x, sizeof near);
            for (int k = 0; k < N; k++) near[k * D + i] += side ? h : -h;
            CHECK_INT(wf_flow_evaluate(f, P, &(wf_flow_data){ near, NULL, N }, 1, side ? high : low, NULL), WF_OK);
        }
        for (int k = 0; k < N; k++) {
            double slope = (high[k] - low[k]) / (2 * h);
            CHECK_CLOSE(score[k * D + i], slope, 1e-5 * fmax(1, fabs(slope))); /* rounding 1e-13 / 1e-5, third derivatives of some hundreds times h^2 */
        }
    }
    wf_arena_free(A);
}

static double loss_at(const wf_plan *plan, wf_ws *ws, wf_t out, const wf_feed *in, int ins, size_t n)
{
    wf_feed feed[4];
    double loss = 0;
    for (int i = 0; i < ins; i++) feed[i] = in[i];
    feed[ins] = wf_out(out, &loss, 0);
    wf_ws_noise(ws, 1, 0);
    CHECK_INT(wf_run(plan, ws, feed, ins + 1, n), WF_OK);
    return loss;
}

/* ---- many coordinates ---- */

enum { ROW_X, ROW_BACK, ROW_SCORE, ROW_GRADIENT, ROW_ALONG, ROW_ALONG_BACK, ROW_KINDS };
typedef struct big { int dim; double *row[ROW_KINDS], ld, ld_back, loss, *grad; size_t params; } big; /* rows [dim + 1][dim]: the image of 0 and of each unit vector */

/* Two linear layers, one of them inverted, evaluated at 0 and at the unit vectors; and the gradient of a loss that contains the score. nudge: added to parameter `which`. */
static void through_linear(wf_arena *A, big *b, int type, int reference, size_t which, double nudge)
{
    wf_params *P = wf_params_new(A, 1, type);
    wf_graph *g = wf_graph_new(A, P);
    size_t d = (size_t)b->dim, n = d + 1, es = wf__type_size(type);
    wf_flow_layer l[2] = { with(WF_FLOW_LINEAR, 0), with(WF_FLOW_LINEAR, 0) };
    l[0].seed = 3;
    l[1].inverted = 1;
    wf_flow *f = chain(A, "f", b->dim, l, 2, WF_BASE_NORMAL, 0);
    wf_t none = wf__none(g), z = wf_input(g, "z", b->dim), v = wf_input(g, "v", b->dim), lz, lx, out[9];
    wf_flow_state s = { z, wf_flow_base_log_prob(f, z, none), wf_neg(z) }, t = wf_flow_push(f, s, none, 0, -1);
    out[ROW_X] = wf_flow_forward(f, z, none, &lz);
    out[ROW_BACK] = wf_flow_inverse(f, out[ROW_X], none, &lx);
    out[ROW_SCORE] = t.score;
    out[ROW_GRADIENT] = wf_grad(wf_flow_log_prob(f, z, none), z);
    out[ROW_ALONG] = wf_jvp(out[ROW_X], z, v);
    out[ROW_ALONG_BACK] = wf_jvp(wf_flow_inverse(f, z, none, NULL), z, v);
    out[6] = lz;
    out[7] = lx;
    out[8] = wf_mean(wf_add(wf_sumsq(wf_sub(t.score, wf_tanh(t.x))), t.log_p));
    scramble(P, 0.5 / sqrt((double)b->dim));
    if (nudge) wf__put_value(wf_params_data(P), type, which, wf__get(wf_params_data(P), type, which) + nudge);
    wf_plan_desc desc = { .type = type, .reference = reference, .grad_of = out[8] };
    wf_feed feed[11];
    char *room = (char *)wf_alloc(A, (ROW_KINDS + 2) * n * d + 3 * n, es), *in[2] = { room + ROW_KINDS * n * d * es, room + (ROW_KINDS + 1) * n * d * es }, *logs = room + (ROW_KINDS + 2) * n * d * es;
    for (size_t i = 0; i < d; i++) wf__put_value(in[0], type, (i + 1) * d + i, 1);
    for (size_t i = 0; i < n * d; i++) wf__put_value(in[1], type, i, sin((double)i));
    for (size_t i = 0; i < 9; i++) feed[i] = wf_out(desc.out[i] = out[i], i < 6 ? room + i * n * d * es : logs + (i - 6) * n * es, 0);
    feed[9] = wf_in(z, in[0], 0);
    feed[10] = wf_in(v, in[1], 0);
    wf_plan *plan = wf_arena_report(A)->code < 0 ? NULL : wf_compile(A, &desc);
    wf_ws *ws = plan ? wf_ws_new(A, plan, 1, NULL) : NULL;
    CHECK_STR_HAS(ws ? "ok" : wf_arena_report(A)->text, "ok");
    if (!ws) return;
    CHECK_INT(wf_run(plan, ws, feed, 11, n), WF_OK);
    b->params = wf_params_size(P);
    for (int k = 0; k < ROW_KINDS; k++) b->row[k] = (double *)wf_alloc(A, n * d, sizeof(double));
    b->grad = (double *)wf_alloc(A, b->params, sizeof(double));
    for (int k = 0; k < ROW_KINDS; k++) for (size_t i = 0; i < n * d; i++) b->row[k][i] = wf__get(room, type, (size_t)k * n * d + i);
    for (size_t i = 0; i < b->params; i++) b->grad[i] = wf__get(wf_ws_grad(ws), type, i);
    b->ld = wf__get(logs, type, 0);
    b->ld_back = wf__get(logs, type, n);
    b->loss = wf__get(logs, type, 2 * n);
}

/* The images of 0 and of the unit vectors are the matrix M of the map: everything else follows from it by plain loops. Tolerances: sums of some hundred terms of size one, and factors whose condition is about ten. */
WF_TEST(linear_layers_of_many_coordinates)
{
    static const int dims[] = { 65, 100, 256 };
    for (int c = 0; c < 3; c++) {
        wf_arena *A = wf_arena_new(NULL);
        big b = { .dim = dims[c] }, other = { .dim = dims[c] };
        size_t d = (size_t)b.dim, n = d + 1;
        through_linear(A, &b, WF_F64, 0, 0, 0);
        double *m = (double *)wf_alloc(A, 2 * d * d, sizeof *m), *lu = m + d * d, worst[4] = { 0 };
        for (size_t i = 0; i < d * d; i++) lu[i] = m[i] = b.row[ROW_X][(i % d + 1) * d + i / d] - b.row[ROW_X][i / d];
        double exact = log(fabs(det(lu, b.dim)));
        CHECK_CLOSE(b.ld, exact, 1e-9 * fmax(1, fabs(exact)));
        CHECK_CLOSE(b.ld + b.ld_back, 0, 1e-12);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < d; j++) {
                double z = i == j + 1, v = sin((double)(i * d + j)), turned = 0, along = 0, back = 0;
                for (size_t k = 0; k < d; k++) {
                    turned += m[k * d + j] * b.row[ROW_SCORE][i * d + k];
                    along += m[j * d + k] * sin((double)(i * d + k));
                    back += m[j * d + k] * b.row[ROW_ALONG_BACK][i * d + k];
                }
                worst[0] = fmax(worst[0], fabs(b.row[ROW_BACK][i * d + j] - z));
                worst[1] = fmax(worst[1], fabs(turned + z));
                worst[2] = fmax(worst[2], fabs(along - b.row[ROW_ALONG][i * d + j]));
                worst[3] = fmax(worst[3], fabs(back - v));
            }
        for (int i = 0; i < 4; i++) CHECK(worst[i] < 1e-11 * b.dim);
        for (size_t k = 0; c == 0 && k < 8; k++) { /* central differences at some parameters (the rule is the same for all sizes): rounding 1e-12 of the loss over 1e-5 */
            big near[2] = { { .dim = dims[c] }, { .dim = dims[c] } };
            size_t which = (k * 7919 + 13) % b.params;
            wf_mark mark = wf_arena_mark(A);
            through_linear(A, &near[0], WF_F64, 0, which, 1e-5);
            through_linear(A, &near[1], WF_F64, 0, which, -1e-5);
            CHECK_CLOSE(b.grad[which], (near[0].loss - near[1].loss) / 2e-5, 1e-6 * fmax(1, fabs(b.loss)));
            wf_arena_reset(A, mark);
        }
        through_linear(A, &other, WF_F64, 1, 0, 0);
        for (int k = 0; k < ROW_KINDS; k++) CHECK_CLOSE(biggest(b.row[k], other.row[k], n * d), 0, 1e-11);
        CHECK_CLOSE(biggest(b.grad, other.grad, b.params), 0, 1e-10);
        through_linear(A, &other, WF_F32, 0, 0, 0);
        for (int k = 0; k < ROW_KINDS; k++) CHECK_CLOSE(biggest(b.row[k], other.row[k], n * d), 0, 2e-4);
        CHECK_CLOSE(biggest(b.grad, other.grad, b.params), 0, 2e-3);
        wf_arena_free(A);
    }
}

/* The derivative of a loss that contains the score and log rho, with respect to every parameter: the engine's transforms against central differences. */
WF_TEST(a_loss_with_the_score_has_the_right_gradient)
{
    static const int maps[] = { WF_MAP_AFFINE, WF_MAP_SMOOTH, WF_MAP_BOUNDED };
    for (int which = 0; which < 9; which++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_params *P = wf_params_new(A, 1, WF_F64);
        wf_graph *g = wf_graph_new(A, P);
        wf_flow_layer l[2];
        wf_plan_desc d;
        memset(&d, 0, sizeof d);
        l[0] = l[1] = with(WF_FLOW_COUPLING, which < 3 ? maps[which] : which == 3 ? WF_MAP_SMOOTH : WF_MAP_AFFINE);
        l[1].part = 1;
        l[1].inverted = which == 3;
        if (which == 4) l[1] = with(WF_FLOW_LINEAR, 0);
        if (which == 5) { l[1] = with(WF_FLOW_AUTOREGRESSIVE, WF_MAP_AFFINE); l[1].inverted = 1; }
        if (which == 6) { l[1] = with(WF_FLOW_PLANAR, 0); l[1].inverted = 1; }
        if (which == 7) { l[1] = with(WF_FLOW_RESIDUAL, 0); l[1].inverted = 1; l[1].lipschitz = 0.5; }
        if (which == 8) { l[1] = with(WF_FLOW_CONTINUOUS, 0); l[1].steps = 4; }
        l[0].width = l[1].width = 4;
        wf_flow *f = chain(A, "f", 2, l, 2, WF_BASE_NORMAL, 0);
        wf_flow_state s = wf_flow_draw(f, g, wf__none(g), 0);
        wf_t loss = wf_mean(wf_add(wf_add(wf_sumsq(wf_add(s.score, wf_tanh(s.x))), s.log_p), wf_sum(wf_square(s.x))));
        scramble(P, 0.3);
        d.type = WF_F64;
        d.out[0] = d.grad_of = loss;
        wf_plan *plan = wf_compile(A, &d);
        wf_ws *ws = plan ? wf_ws_new(A, plan, 1, NULL) : NULL;
        CHECK(ws != NULL);
        if (!ws) { printf("  %s\n", wf_arena_report(A)->text); wf_arena_free(A); continue; }
        loss_at(plan, ws, loss, NULL, 0, 20);
        size_t size = wf_params_size(P);
        double *grad = (double *)malloc(size * sizeof *grad), *x = (double *)wf_params_data(P);
        memcpy(grad, wf_ws_grad(ws), size * sizeof *grad);
        for (int e = 0; e < wf_params_entries(P); e++) {
            const wf_param_info *p = wf_params_entry(P, e);
            for (size_t i = p->offset; i < p->offset + p->count; i += 1 + p->count / 3) {
                double h = 1e-5, keep = x[i];
                x[i] = keep + h;
                double up = loss_at(plan, ws, loss, NULL, 0, 20);
                x[i] = keep - h;
                double down = loss_at(plan, ws, loss, NULL, 0, 20);
                x[i] = keep;
                CHECK_CLOSE(grad[i], (up - down) / (2 * h), 2e-6 * fmax(1, fabs(grad[i]))); /* rounding of a loss of some tens over h, and h^2 times third derivatives */
            }
        }
        free(grad);
        wf_arena_free(A);
    }
}

/* ---- extreme numbers ---- */

WF_TEST(no_finite_number_gives_not_a_number)
{
    static const float extreme[] = { 0, 1e-38f, -1e-30f, 1, -5, 5, 4.9999995f, -5.0000005f, 100, -1e4f, 1e6f, -1e9f, 1e12f, -3e20f, 3.4028235e38f, -3.4028235e38f };
    enum { E = sizeof extreme / sizeof *extreme, D = 3 };
    kind k[80];
    int n = kinds(k), bad = 0;
    for (int i = 0; i < n; i++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_params *P = wf_params_new(A, 1, WF_F32);
        wf_graph *g = wf_graph_new(A, P);
        wf_plan_desc d;
        wf_flow_layer l[4] = { k[i].l, k[i].l, with(WF_FLOW_LINEAR, 0), k[i].l };
        int dim = k[i].dim < 2 ? 2 : k[i].dim, rows = E * E;
        float *x = (float *)calloc((size_t)(rows * dim), sizeof *x), *got[4];
        for (int r = 0; r < rows; r++) for (int c = 0; c < dim; c++) x[r * dim + c] = extreme[c % 2 ? r / E : (r + c) % E];
        if (l[0].index && dim != k[i].dim) l[0].index = l[1].index = l[3].index = NULL;
        wf_flow *f = chain(A, "f", dim, l, 4, WF_BASE_NORMAL, 0);
        wf_t xs = wf_input(g, "x", dim), ld1, ld2;
        memset(&d, 0, sizeof d);
        d.out[0] = wf_flow_forward(f, xs, wf__none(g), &ld1);
        d.out[1] = ld1;
        d.out[2] = wf_flow_inverse(f, xs, wf__none(g), &ld2);
        d.out[3] = wf_per_sample(ld2);
        d.out[1] = wf_per_sample(ld1);
        scramble(P, 2);
        wf_plan *plan = wf_compile(A, &d);
        wf_ws *ws = plan ? wf_ws_new(A, plan, 1, NULL) : NULL;
        wf_feed feed[5];
        if (!ws) { CHECK(0); printf("  %s\n", wf_arena_report(A)->text); wf_arena_free(A); continue; }
        feed[4] = wf_in(xs, x, 0);
        for (int o = 0; o < 4; o++) { got[o] = (float *)calloc((size_t)(rows * dim), sizeof(float)); feed[o] = wf_out(d.out[o], got[o], 0); }
        CHECK_INT(wf_run(plan, ws, feed, 5, (size_t)rows), WF_OK);
        for (int o = 0; o < 4; o++)
            for (int r = 0; r < rows * (o % 2 ? 1 : dim); r++) if (got[o][r] != got[o][r]) { bad++; if (bad < 5) printf("  %s (kind %d, inverted %d): output %d, element %d\n", k[i].name, k[i].l.kind, k[i].l.inverted, o, r); }
        for (int o = 0; o < 4; o++) free(got[o]);
        free(x);
        wf_arena_free(A);
    }
    CHECK_INT(bad, 0);
}

/* One coordinate through a spline with given raw parameters, in f32 or f64. */
typedef struct one { wf_arena *A; wf_params *P; wf_graph *g; wf_flow *f; wf_t x, y, back, ld, ld_back, slope, grad; wf_plan *plan; wf_ws *ws; int type; } one;

static one one_spline(int bins, double bound, int type)
{
    one o;
    wf_flow_layer l = with(WF_FLOW_ELEMENTWISE, WF_MAP_SPLINE);
    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    memset(&o, 0, sizeof o);
    l.bins = bins;
    l.bound = bound;
    o.type = type;
    o.A = wf_arena_new(NULL);
    o.P = wf_params_new(o.A, 1, type);
    o.g = wf_graph_new(o.A, o.P);
    o.f = chain(o.A, "f", 1, &l, 1, WF_BASE_NORMAL, 0);
    o.x = wf_input(o.g, "x", 1);
    o.y = wf_flow_forward(o.f, o.x, wf__none(o.g), &o.ld);
    o.back = wf_flow_inverse(o.f, o.x, wf__none(o.g), &o.ld_back);
    o.slope = wf_grad(o.y, o.x);
    d.type = type;
    d.out[0] = o.y;
    d.out[1] = o.ld;
    d.out[2] = o.back;
    d.out[3] = o.ld_back;
    d.out[4] = o.slope;
    o.grad = d.out[5] = d.grad_of = wf_mean(wf_add(wf_add(o.ld, wf_sum(o.back)), wf_add(wf_sum(o.y), o.ld_back)));
    o.plan = wf_compile(o.A, &d);
    o.ws = o.plan ? wf_ws_new(o.A, o.plan, 1, NULL) : NULL;
    if (!o.ws) { CHECK(0); printf("  %s\n", wf_arena_report(o.A)->text); }
    return o;
}

static int through(one *o, const void *x, void *y, void *ld, void *back, void *ld_back, void *slope, size_t n)
{
    wf_feed feed[6];
    int k = 1;
    feed[0] = wf_in(o->x, x, 0);
    if (y) feed[k++] = wf_out(o->y, y, 0);
    if (ld) feed[k++] = wf_out(o->ld, ld, 0);
    if (back) feed[k++] = wf_out(o->back, back, 0);
    if (ld_back) feed[k++] = wf_out(o->ld_back, ld_back, 0);
    if (slope) feed[k++] = wf_out(o->slope, slope, 0);
    return wf_run(o->plan, o->ws, feed, k, n) == WF_OK;
}

/* The list of other libraries' failures in the chapter, each provoked: parameters of size 30 (floors of bins and slopes, steep and flat neighbours, both signs of b), the ends exactly, points outside, gradients everywhere. In f32. */
WF_TEST(splines_withstand_what_broke_others)
{
    enum { N = 4001 };
    static float x[N], y[N], ld[N], back[N], ld_back[N], slope[N], again[N], ld_again[N];
    for (int size = 0; size < 4; size++) {
        one o = one_spline(8, 5, WF_F32);
        scramble(o.P, size == 0 ? 0 : size == 1 ? 1 : size == 2 ? 6 : 30);
        for (int i = 0; i < N; i++) x[i] = (float)(-6 + 12.0 * i / (N - 1));
        x[0] = -9e11f;
        x[1] = -5;
        x[N - 2] = 5;
        x[N - 1] = 9e11f;
        CHECK(through(&o, x, y, ld, back, ld_back, slope, N));
        int falls = 0, broken = 0, outside = 0;
        for (int i = 0; i < N; i++) {
            broken += !(ld[i] == ld[i] && ld_back[i] == ld_back[i] && slope[i] > 0 && fabsf(ld[i]) < 40);
            falls += i > 2 && i < N - 2 && y[i] < y[i - 1] - 1e-6f;
            if (x[i] > 5 || x[i] < -5) outside += y[i] == x[i] && ld[i] == 0;
            if (size == 0) CHECK_CLOSE(y[i], x[i], 1e-5 * fmax(1, fabs((double)x[i]))); /* zeros are the identity; 5 times f32 rounding of a few operations */
        }
        CHECK_INT(broken, 0);
        CHECK_INT(falls, 0);
        CHECK(outside > 600);
        CHECK_CLOSE(y[1], -5, 0);                       /* ends are pinned */
        CHECK_CLOSE(y[N - 2], 5, 5e-6);                 /* the last value is a sum */
        for (size_t i = 0, n = wf_params_size(o.P); i < n; i++) CHECK(wf__finite(wf__get(wf_ws_grad(o.ws), WF_F32, i)));
        CHECK(through(&o, y, NULL, NULL, again, ld_again, NULL, N));
        for (int i = 2; i < N - 2; i++) {
            /* an error of rounding in y is divided by the slope, and the bins next to a wall can be as steep as 1e-3 : 1e-6 */
            CHECK_CLOSE(again[i], x[i], 4e-6 + 2e-6 / fmin(1, (double)slope[i]));
            if (size < 2) CHECK_CLOSE(ld_again[i] + ld[i], 0, 2e-3); /* the slope changes by its own size over a bin of 1e-2, in which an error of 1e-6 is 1e-4 */
        }
        wf_arena_free(o.A);
    }
}

/* ---- the kernel of the splines against the formula spelled out ---- */

enum { TEXT_M = 3, TEXT_N = 97, TEXT_MOST = TEXT_N * TEXT_M * (3 * 16 + 3) };

/* The kernel (0) and the spelled text (1): value, logarithm of the slope, gradients in parameters and point, and a sum of second derivatives, forwards and backwards, for parameters of a given size. Returns how many rows. */
static int two_texts(int bins, double bound, int inverse, double size, int type, int isa, double out[2][TEXT_MOST])
{
    static double x[TEXT_N * TEXT_M], p[TEXT_MOST], u[TEXT_N * 2 * TEXT_M];
    static float xf[TEXT_N * TEXT_M], pf[TEXT_MOST], uf[TEXT_N * 2 * TEXT_M], outf[2][TEXT_MOST];
    int rows = 3 * bins - 1, d[2] = { rows, TEXT_M }, both[2] = { 2, TEXT_M }, one[2] = { 1, TEXT_M }, f32 = type == WF_F32;
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t xs = wf_input(g, "x", TEXT_M), ps = wf_input_nd(g, "p", 2, d), us = wf_input_nd(g, "u", 2, both), c[2], from[2];
    wf_plan_desc plan;
    wf_feed feed[5];
    wf_flow_layer l = with(WF_FLOW_COUPLING, WF_MAP_SPLINE);
    wf__nf at;
    memset(&at, 0, sizeof at);
    memset(&plan, 0, sizeof plan);
    plan.type = type;
    plan.isa = isa;
    l.bins = bins;
    l.bound = bound;
    at.l = &l;
    at.g = g;
    from[0] = xs;
    from[1] = ps;
    for (int k = 0; k < 2; k++) c[k] = wf_reshape(wf_slice(us, 0, k, 1), 1, both + 1);
    for (int k = 0; k < 2; k++) {
        wf_t v[2], to[2], list[5];
        v[0] = k ? wf__nf_spline(xs, ps, bins, bound, inverse, &v[1]) : wf__map_spline(&at, xs, ps, &v[1], inverse);
        CHECK(wf_vjp(v, c, 2, from, 2, to) == WF_OK);
        wf_t squares = wf_add(wf_sum(wf_square(to[0])), wf_sum(wf_sum_over(wf_square(to[1]), 0)));
        wf_t twice = wf_add(wf_grad(squares, xs), wf_add(wf_jvp(to[0], xs, wf_scale(xs, 0.1)), wf_jvp(v[0], xs, xs)));
        list[0] = wf_reshape(v[0], 2, one);
        list[1] = wf_reshape(v[1], 2, one);
        list[2] = to[1];
        list[3] = wf_reshape(to[0], 2, one);
        list[4] = wf_reshape(twice, 2, one);
        plan.out[k] = wf_concat(list, 5, 0);
    }
    normals(x, TEXT_N * TEXT_M, bound, 3);
    normals(p, (size_t)(TEXT_N * TEXT_M * rows), size, 4);
    normals(u, TEXT_N * 2 * TEXT_M, 1, 5);
    x[0] = inverse ? 0.999 * bound : bound; /* at the upper wall the spelled inverse is clipped by rounding, and loses its derivative */
    x[1] = -bound;
    x[2] = 1e30;
    for (int i = 0; i < TEXT_N * TEXT_M; i++) x[i] = xf[i] = (float)x[i];
    for (int i = 0; i < TEXT_N * TEXT_M * rows; i++) p[i] = pf[i] = (float)p[i];
    for (int i = 0; i < TEXT_N * 2 * TEXT_M; i++) u[i] = uf[i] = (float)u[i];
    feed[0] = wf_in(xs, f32 ? (void *)xf : (void *)x, 0);
    feed[1] = wf_in(ps, f32 ? (void *)pf : (void *)p, 0);
    feed[2] = wf_in(us, f32 ? (void *)uf : (void *)u, 0);
    for (int k = 0; k < 2; k++) feed[3 + k] = wf_out(plan.out[k], f32 ? (void *)outf[k] : (void *)out[k], 0);
    wf_plan *q = wf_compile(A, &plan);
    wf_ws *ws = q ? wf_ws_new(A, q, 1, NULL) : NULL;
    if (!ws || wf_run(q, ws, feed, 5, TEXT_N) != WF_OK) { CHECK(0); printf("  %s\n", wf_arena_report(A)->text); }
    for (int i = 0; f32 && i < TEXT_N * TEXT_M * (rows + 4); i++) { out[0][i] = (double)outf[0][i]; out[1][i] = (double)outf[1][i]; }
    wf_arena_free(A);
    return rows + 4;
}

/* Differences of values, slopes, gradients, and second derivatives, relative to 1 + the number: the largest, and the mean. */
static void differences(const double *a, const double *b, int rows, double worst[4], double usual[4])
{
    double count[4] = { 0, 0, 0, 0 }, sum[4] = { 0, 0, 0, 0 };
    for (int i = 0; i < TEXT_N * TEXT_M * rows; i++) {
        int row = i / TEXT_M % rows, kind = row < 2 ? row : row < rows - 1 ? 2 : 3;
        double e = fabs(a[i] - b[i]) / (1 + fabs(b[i]));
        if (!(e <= worst[kind])) worst[kind] = e == e ? e : HUGE_VAL;
        count[kind]++;
        sum[kind] += e;
    }
    for (int k = 0; k < 4; k++) usual[k] = sum[k] / count[k];
}

WF_TEST(the_kernel_of_splines_is_the_formula_spelled_out)
{
    static const int isas[] = { WF_ISA_SCALAR, WF_ISA_SSE2, WF_ISA_AVX2, WF_ISA_AVX512, WF_ISA_NEON, WF_ISA_WASM };
    static double truth[2][TEXT_MOST], single[2][TEXT_MOST], fused[TEXT_MOST];
    for (int inverse = 0; inverse < 2; inverse++)
        for (int bins = 2; bins <= 16; bins += 7) {
            double worst[4] = { 0, 0, 0, 0 }, kernel[4], spelled[4];
            int rows = two_texts(bins, 0.5, inverse, 3, WF_F64, 0, truth), seen = 0;
            differences(truth[0], truth[1], rows, worst, kernel);
            two_texts(bins, 3, inverse, 1, WF_F64, 0, truth);
            differences(truth[0], truth[1], rows, worst, kernel);
            for (int k = 0; k < 4; k++) CHECK_CLOSE(worst[k], 0, 1e-9); /* 2^-53, and the condition of derivatives: slopes of neighbouring bins differ by up to e^6, second derivatives by the square of that */
            for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
                if (!wf_isa_available(isas[i])) continue;
                two_texts(bins, 3, inverse, 1, WF_F32, isas[i], single);
                double most[2][4] = { { 0, 0, 0, 0 }, { 0, 0, 0, 0 } };
                differences(single[0], truth[1], rows, most[0], kernel);
                differences(single[1], truth[1], rows, most[1], spelled);
                for (int k = 0; k < 3; k++) CHECK(kernel[k] <= 2 * spelled[k] && most[0][k] <= 8 * most[1][k]); /* no less exact than the same numbers in plain operations; the largest error stands at one or two ill-conditioned points, where it is luck */
                if (isas[i] == WF_ISA_SCALAR || isas[i] == WF_ISA_SSE2 || isas[i] == WF_ISA_WASM) continue;
                if (!seen++) memcpy(fused, single[0], sizeof fused);
                else CHECK(!memcmp(fused, single[0], (size_t)(TEXT_N * TEXT_M * rows) * sizeof *fused)); /* the same bits for all sets with fused multiply-add */
            }
        }
}

/* ---- reference files ---- */

static wf_tensors *oracle(wf_arena *A, const char *file)
{
    char path[600];
    if (!wf_test_shared()) return NULL;
    snprintf(path, sizeof path, "%s/reference/oracle/%s.safetensors", wf_test_shared(), file);
    return wf_tensors_read(A, path);
}

static const double *numbers(wf_arena *A, const wf_tensors *t, const char *name, size_t *n)
{
    const wf_array *a = wf_tensors_find(t, name);
    if (n) *n = a ? a->count : 0;
    if (!a) { wf_test_failures++; printf("  no tensor %s\n", name); }
    return a ? wf_array_f64(A, a) : NULL;
}

static int whole(const wf_tensors *t, const char *key) { const char *s = wf_tensors_about(t, key); return s ? (int)strtol(s, NULL, 10) : 0; }

static void agree(wf_arena *A, const wf_tensors *t, const char *name, const double *ours, double tol)
{
    size_t n;
    const double *theirs = numbers(A, t, name, &n);
    double e = theirs ? biggest(ours, theirs, n) : HUGE_VAL;
    if (e <= tol) return;
    wf_test_failures++;
    printf("  %s is off by %.3g, allowed %.3g\n", name, e, tol);
}

/* Couplings and masked autoregressive flows, from data to base; the layer next to the data is the first of the file. */
static void oracle_chain(const char *file, int maf)
{
    enum { MANY = 8 };
    wf_arena *A = wf_arena_new(NULL);
    wf_tensors *t = oracle(A, file);
    wf_flow_layer l[MANY];
    if (!t) { printf("  %s: %s\n", file, wf_arena_report(A)->text); CHECK(0); wf_arena_free(A); return; }
    int dim = whole(t, "dim"), layers = whole(t, maf ? "flows" : "layers");
    size_t n, rows;
    const double *order = numbers(A, t, maf ? "in.order" : "in.mask", &n), *x = numbers(A, t, "in.x", &rows), *z = numbers(A, t, "in.z", NULL);
    int *index = (int *)wf_alloc(A, n, sizeof *index);
    for (size_t i = 0; i < n; i++) index[i] = (int)order[i];
    rows /= (size_t)dim;
    for (int k = 0; k < layers; k++) {
        wf_flow_layer a = with(maf ? WF_FLOW_AUTOREGRESSIVE : WF_FLOW_COUPLING, maf ? WF_MAP_STANDARDISE : WF_MAP_AFFINE);
        a.inverted = 1;
        a.width = whole(t, "width");
        a.index = index + k * dim;
        a.scale = maf ? -1 : 2;
        l[layers - 1 - k] = a;
    }
    wf_flow *f = chain(A, "f", dim, l, layers, WF_BASE_NORMAL, 0);
    wf_params *P = wf_params_new(A, 1, WF_F64);
    wf_graph *g = wf_graph_new(A, P);
    wf_t xs = wf_input(g, "x", dim), zs = wf_input(g, "z", dim), logdet, out[5];
    out[0] = wf_flow_inverse(f, xs, wf__none(g), &logdet);
    out[1] = logdet;
    out[2] = wf_flow_log_prob(f, xs, wf__none(g));
    out[3] = wf_flow_score(f, xs, wf__none(g));
    out[4] = wf_flow_forward(f, zs, wf__none(g), NULL);
    for (int k = 0; k < layers; k++)
        for (int i = 0; i < 6; i++) {
            char ours[64], theirs[64];
            size_t count;
            snprintf(ours, sizeof ours, "f.%d.%d.%s", layers - 1 - k, i / 2, i % 2 ? "bias" : "weight");
            snprintf(theirs, sizeof theirs, "param.%c%d_%c%d", maf ? 'f' : 'c', k, i % 2 ? 'b' : 'w', i / 2);
            const double *w = numbers(A, t, theirs, &count);
            CHECK_INT(wf_params_set(P, ours, w, count), WF_OK);
        }
    double *to[5];
    for (int i = 0; i < 5; i++) to[i] = (double *)wf_alloc(A, rows * (size_t)dim, sizeof(double));
    wf_feed in[2] = { wf_in(xs, x, 0), wf_in(zs, z, 0) };
    if (run(A, out, to, 5, in, 2, rows)) { /* the files are exact to 1e-12; a few hundred roundings of ours */
        agree(A, t, "out.z", to[0], 1e-11);
        agree(A, t, "out.logdet", to[1], 1e-11);
        agree(A, t, "out.logp", to[2], 1e-11);
        agree(A, t, "out.score", to[3], 1e-10);
        agree(A, t, "out.x_from_z", to[4], 1e-11);
    }
    wf_arena_free(A);
}

static void oracle_spline(const char *file)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_tensors *t = oracle(A, file);
    if (!t) { CHECK(0); wf_arena_free(A); return; }
    int bins = whole(t, "bins"), n = whole(t, "n"), inverse = !strcmp(wf_tensors_about(t, "direction"), "inverse"), both = !strcmp(wf_tensors_about(t, "direction"), "both");
    const double *uw = numbers(A, t, "param.uw", NULL), *uh = numbers(A, t, "param.uh", NULL), *ud = numbers(A, t, "param.ud", NULL), *x = numbers(A, t, "in.x", NULL), *y_in = both ? numbers(A, t, "in.y_in", NULL) : x;
    double y[256], ld[256], back[256], ld_back[256], p[768], skip;
    one o = one_spline(bins, strtod(wf_tensors_about(t, "bound"), NULL), WF_F64);
    for (int i = 0; i < n; i++) {
        for (int b = 0; b < bins; b++) { p[b] = uw[i * bins + b]; p[bins + b] = uh[i * bins + b]; }
        for (int b = 0; b < bins - 1; b++) p[2 * bins + b] = ud[i * (bins - 1) + b] - log(expm1(1 - 1e-3));
        CHECK_INT(wf_params_set(o.P, "f.0.2.bias", p, (size_t)(3 * bins - 1)), WF_OK);
        CHECK(through(&o, x + i, y + i, ld + i, &skip, NULL, NULL, 1));
        CHECK(through(&o, y_in + i, &skip, NULL, back + i, ld_back + i, NULL, 1));
    }
    agree(A, t, "out.y", inverse ? back : y, 1e-10); /* steep bins multiply rounding by a thousand */
    agree(A, t, "out.log_derivative", inverse ? ld_back : ld, 1e-9);
    if (both) { agree(A, t, "out.x_inverse", back, 1e-10); agree(A, t, "out.log_derivative_inverse", ld_back, 1e-9); }
    wf_arena_free(o.A);
    wf_arena_free(A);
}

WF_TEST(reference_files_agree)
{
    char name[64];
    static const char *const splines[] = { "rq_spline_forward_0", "rq_spline_forward_1", "rq_spline_inverse_0", "rq_spline_inverse_1", "rq_spline_knots" };
    if (!wf_test_shared()) SKIP("no shared data");
    for (int maf = 0; maf < 2; maf++)
        for (int i = 0; i < 3; i++) { snprintf(name, sizeof name, maf ? "maf_made_%d" : "coupling_affine_%d", i); oracle_chain(name, maf); }
    for (int i = 0; i < 5; i++) oracle_spline(splines[i]);
}


/* ---- bases ---- */

/* The integral of exp(log rho) by the trapezoidal rule, which for smooth functions that vanish at the ends is exact to rounding; for splines, with jumps in the second derivative, of second order. */
static double mass(const wf_flow *f, wf_params *P, int dim, double range, int n)
{
    size_t rows = dim == 1 ? (size_t)n : (size_t)n * (size_t)n;
    double *x = (double *)malloc(rows * (size_t)dim * sizeof *x), *p = (double *)malloc(rows * sizeof *p), sum = 0, h = 2 * range / (n - 1);
    for (size_t i = 0; i < rows; i++)
        for (int k = 0; k < dim; k++) x[i * (size_t)dim + (size_t)k] = -range + h * (double)(k ? i % (size_t)n : dim == 1 ? i : i / (size_t)n);
    CHECK_INT(wf_flow_evaluate(f, P, &(wf_flow_data){ x, NULL, rows }, 1, p, NULL), WF_OK);
    for (size_t i = 0; i < rows; i++) sum += exp(p[i]);
    free(x);
    free(p);
    return sum * pow(h, dim);
}

WF_TEST(bases_are_densities_and_are_what_is_drawn)
{
    enum { N = 40000 };
    static double x[2 * N], p[N], q[N];
    for (int base = WF_BASE_NORMAL; base <= WF_BASE_UNIFORM; base++)
        for (int dim = 1; dim <= 2; dim++) {
            wf_arena *A = wf_arena_new(NULL);
            wf_params *P = wf_params_new(A, 1, WF_F64);
            wf_flow *f = chain(A, "f", dim, NULL, 0, base, 0);
            CHECK_INT(wf_flow_sample(f, P, &(wf_flow_data){ NULL, NULL, 1 }, 1, 1, x, p), WF_OK);
            scramble(P, 0.3);
            /* Student's tails: 1 - F(1000) = 5e-14 for five degrees of freedom, 4e-9 at 100 */
            double range = base == WF_BASE_STUDENT ? dim == 1 ? 1000 : 60 : base == WF_BASE_UNIFORM ? 12 : 20, total = mass(f, P, dim, range, dim == 1 ? 40001 : 801);
            if (getenv("WF_VERBOSE")) printf("  base %d, dim %d: %.3g\n", base, dim, total - 1);
            CHECK_CLOSE(total, 1, base == WF_BASE_STUDENT ? 1e-6 : 1e-8);
            CHECK_INT(wf_flow_sample(f, P, &(wf_flow_data){ NULL, NULL, N }, 7, 1, x, p), WF_OK);
            CHECK_INT(wf_flow_evaluate(f, P, &(wf_flow_data){ x, NULL, N }, 1, q, NULL), WF_OK);
            CHECK_CLOSE(biggest(p, q, N), 0, 1e-12);
            /* The share of draws in a box against the integral of the density over it. */
            double inside = 0, want = 0, h = 0.7 / 200;
            for (int i = 0; i < N; i++) inside += fabs(x[i * dim] - 0.2) < 0.7 && (dim == 1 || fabs(x[i * 2 + 1]) < 0.7);
            int cells = dim == 1 ? 400 : 400 * 400;
            double *grid = (double *)malloc((size_t)(cells * dim) * sizeof *grid), *density = (double *)malloc((size_t)cells * sizeof *density);
            for (int i = 0; i < cells; i++) { grid[i * dim] = -0.5 + h * (i % 400 + 0.5); if (dim == 2) grid[2 * i + 1] = -0.7 + h * (i / 400 + 0.5); }
            CHECK_INT(wf_flow_evaluate(f, P, &(wf_flow_data){ grid, NULL, (size_t)cells }, 1, density, NULL), WF_OK);
            for (int i = 0; i < cells; i++) want += exp(density[i]) * pow(h, dim);
            CHECK_CLOSE(inside / N, want, 4.5 * sqrt(want * (1 - want) / N)); /* 4.5 standard deviations of a share; the seed is fixed */
            free(grid);
            free(density);
            wf_arena_free(A);
        }
}

WF_TEST(flows_are_normalised)
{
    static const int maps[] = { WF_MAP_AFFINE, WF_MAP_BOUNDED, WF_MAP_SMOOTH, WF_MAP_SPLINE };
    for (int m = 0; m < 4; m++)
        for (int dim = 1; dim <= 2; dim++) {
            wf_arena *A = wf_arena_new(NULL);
            wf_params *P = wf_params_new(A, 1, WF_F64);
            wf_flow *f = wf_flow_standard(A, "f", dim, 0, maps[m], 1);
            wf_flow_evaluate(f, P, &(wf_flow_data){ (double[]){ 0, 0 }, NULL, 1 }, 1, (double[]){ 0 }, NULL);
            scramble(P, 0.3);
            double total = mass(f, P, dim, 14, dim == 1 ? 20001 : 401);
            if (getenv("WF_VERBOSE")) printf("  map %d, dim %d: %.3g\n", maps[m], dim, total - 1);
            CHECK_CLOSE(total, 1, maps[m] != WF_MAP_SPLINE ? 1e-5 : dim == 1 ? 1e-5 : 2e-3); /* what lies outside of the square, and a density that two couplings have made steep against a step of 0.07; splines: h^2 times the jumps of the slope; h is 1.4e-3 and 0.07 */
            wf_arena_free(A);
        }
}

/* ---- probes ---- */

WF_TEST(probes_have_the_right_mean)
{
    enum { N = 20000, D = 3 };
    static double x[N * D], ld[N], exact[N];
    for (int which = 0; which < 2; which++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_params *P = wf_params_new(A, 1, WF_F64);
        wf_flow_layer l = with(which ? WF_FLOW_CONTINUOUS : WF_FLOW_RESIDUAL, 0);
        double sum = 0, squares = 0;
        l.lipschitz = 0.8;
        l.terms = 2;
        for (int k = 0; k < N; k++) { x[k * D] = 0.3; x[k * D + 1] = -0.5; x[k * D + 2] = 0.8; }
        for (int probes = 0; probes < 2; probes++) {
            wf_graph *g = wf_graph_new(A, P);
            l.exact = probes ? -1 : 1;
            wf_flow *f = chain(A, "f", D, &l, 1, WF_BASE_NORMAL, 0);
            wf_t xs = wf_input(g, "x", D), out[1];
            double *to[1] = { probes ? ld : exact };
            wf_flow_forward(f, xs, wf__none(g), out);
            scramble(P, 0.6);
            wf_feed in = wf_in(xs, x, 0);
            CHECK(run(A, out, to, 1, &in, 1, probes ? N : 1));
        }
        for (int i = 0; i < N; i++) { sum += ld[i]; squares += ld[i] * ld[i]; }
        sum /= N;
        double deviation = sqrt(squares / N - sum * sum);
        CHECK(deviation > 1e-3); /* a probe is a guess */
        CHECK_CLOSE(sum, exact[0], 4.5 * deviation / sqrt(N));
        wf_arena_free(A);
    }
}

/* ---- training ---- */

/* Two moons, one numbers at a time. */
static void moons(double *x, size_t n, uint64_t seed)
{
    wf_rng rng;
    wf_rng_init(&rng, seed, 9);
    for (size_t i = 0; i < n; i++) {
        double a = 3.14159265358979 * wf_rng_uniform(&rng), side = wf_rng_below(&rng, 2) ? 1 : -1;
        x[2 * i] = 100 * (side * cos(a) - 0.5 * side + 0.1 * wf_rng_normal(&rng)) + 1000; /* of a size that nobody prepared */
        x[2 * i + 1] = 0.01 * (side * sin(a) - 0.25 * side + 0.1 * wf_rng_normal(&rng));
    }
}

WF_TEST(a_density_is_learned_from_points)
{
    enum { N = 4000 };
    static double x[2 * N], fresh[2 * N], p[N], drawn[2 * N];
    moons(x, N, 1);
    moons(fresh, N, 2);
    // region: a density learned from points
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F64);
    wf_flow *f = wf_flow_standard(A, "moons", 2, 0, WF_MAP_SPLINE, 2);
    wf_flow_data data = { x, NULL, N }, test = { fresh, NULL, N };
    wf_flow_fit_desc how = { 0 };
    wf_fit_report report;
    how.steps = 400;
    CHECK_INT(wf_flow_fit(f, P, &data, &how, &report), WF_OK);     /* standardises, holds back a tenth, stops early */
    CHECK_INT(wf_flow_evaluate(f, P, &test, 0, p, NULL), WF_OK);   /* log densities of points that it never saw */
    CHECK_INT(wf_flow_sample(f, P, &test, 3, 0, drawn, NULL), WF_OK);
    // end region
    double mean = 0, gauss = 0, m[2], s[2];
    wf__nf_moments(WF_F64, x, N, 2, m, s);
    for (int i = 0; i < N; i++) {
        mean += p[i] / N;
        for (int k = 0; k < 2; k++) gauss -= (0.5 * pow((fresh[2 * i + k] - m[k]) / s[k], 2) + log(s[k]) + 0.91893853320467) / N;
    }
    if (getenv("WF_VERBOSE")) printf("  moons: %.4f nats better than a normal law, after %d steps, validation %.4f\n", mean - gauss, (int)report.steps, -report.best);
    CHECK(mean > gauss + 0.6);                          /* 400 steps come to 0.9 nats above a normal law; the best possible is about 1.0 */
    CHECK_CLOSE(-report.best, mean, 0.1);               /* validation on 400 rows with a deviation of about 1 each */
    int between = 0;
    for (int i = 0; i < N; i++) { double u = (drawn[2 * i] - 1000) / 100, v = drawn[2 * i + 1] / 0.01; between += u > -0.4 && u < 0.4 && fabs(v) < 0.1; }
    CHECK(between < N / 25);                            /* hardly anything lies between the moons */
    wf_arena_free(A);
}

/* Five bumps far apart in three dimensions. With a base of one normal law thin bridges remain between them; a mixture is put where the rows are, before any training. */
WF_TEST(a_mixture_starts_where_the_data_are)
{
    enum { N = 4000, D = 3, BUMPS = 5 };
    static const double centre[BUMPS][D] = { { -9, 0, 0 }, { 9, 9, 0 }, { 9, -9, 4 }, { 0, 0, 30 }, { -9, 9, -9 } };
    static double x[N * D], fresh[N * D], p[N];
    wf_rng rng;
    double entropy = 0, mean = 0;
    wf_rng_init(&rng, 3, 3);
    for (int i = 0; i < 2 * N; i++)
        for (int j = 0, k = (int)wf_rng_below(&rng, BUMPS); j < D; j++) (i < N ? x : fresh - N * D)[i * D + j] = centre[k][j] + (k + 1) * 0.3 * wf_rng_normal(&rng);
    for (int k = 0; k < BUMPS; k++) entropy += (log(BUMPS) + D * (log((k + 1) * 0.3) + 0.5 + 0.91893853320467274)) / BUMPS;
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F64);
    wf_flow_layer l[2] = { with(WF_FLOW_LINEAR, 0), with(WF_FLOW_ELEMENTWISE, WF_MAP_AFFINE) }; /* without a rotation: round bumps stay upright, as those of the base are */
    wf_flow_desc d = { .dim = D, .layers = l, .count = 2, .base = WF_BASE_MIXTURE, .components = 8 };
    wf_flow *f = wf_flow_new(A, "f", &d);
    CHECK_INT(wf_flow_start(f, P, &(wf_flow_data){ x, NULL, N }), WF_OK);
    CHECK_INT(wf_flow_evaluate(f, P, &(wf_flow_data){ fresh, NULL, N }, 1, p, NULL), WF_OK);
    for (int i = 0; i < N; i++) mean += p[i] / N;
    CHECK_CLOSE(-mean, entropy, 0.06); /* the sample's own error 1.3 / sqrt(4000) = 0.02, and 55 parameters fitted to 4000 rows */
    for (int i = 0; i < N; i++) for (int j = 0; j < D; j++) x[i * D + j] = centre[i % BUMPS][j]; /* five rows, each many times: no variance is left */
    CHECK_INT(wf_flow_start(f, P, &(wf_flow_data){ x, NULL, N }), WF_OK);
    CHECK_INT(wf_flow_evaluate(f, P, &(wf_flow_data){ x, NULL, N }, 1, p, NULL), WF_OK);
    for (int i = 0; i < N; i++) CHECK(p[i] == p[i] && p[i] < 1e3);
    wf_arena_free(A);
}

/* pi(x, y) ~ exp(-V), V = (x^2-1)^2 + y^2: its normalisation is known, so the divergence that is minimised is known too. */
WF_TEST(a_flow_is_fitted_to_an_energy)
{
    wf_arena *A = wf_arena_new(NULL);
    // region: a flow fitted to an energy
    wf_params *P = wf_params_new(A, 1, WF_F64);
    wf_graph *g = wf_graph_new(A, P);
    wf_flow_layer l[6];
    memset(l, 0, sizeof l);
    for (int i = 0; i < 6; i++) { l[i].map = WF_MAP_SMOOTH; l[i].part = i % 2; l[i].width = 16; }
    wf_flow_desc d = { 0 };
    d.dim = 2;
    d.layers = l;
    d.count = 6;
    wf_flow *f = wf_flow_new(A, "q", &d);
    wf_flow_state q = wf_flow_draw(f, g, wf__none(g), 0);                      /* x, log q(x) and the score */
    wf_t x = wf_slice(q.x, 0, 0, 1), y = wf_slice(q.x, 0, 1, 1);
    wf_t energy = wf_sum(wf_add(wf_square(wf_shift(wf_square(x), -1)), wf_square(y)));
    wf_t loss = wf_mean(wf_add(q.log_p, energy));                              /* KL(q || pi) - log Z */
    // end region
    wf_plan_desc pd;
    wf_opt_desc od;
    memset(&pd, 0, sizeof pd);
    memset(&od, 0, sizeof od);
    pd.type = WF_F64;
    pd.out[0] = pd.grad_of = loss;
    wf_plan *plan = wf_compile(A, &pd);
    wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
    od.rate = 1e-2;
    od.schedule = WF_RATE_COSINE;
    od.steps = 250;
    wf_opt *opt = wf_opt_new(A, P, &od);
    double at = 0, log_z = log(1.97373215 * sqrt(3.14159265358979));
    wf_feed feed = wf_out(loss, &at, 0);
    for (uint32_t step = 0; step < 250; step++) {
        wf_ws_noise(ws, 1, step);
        CHECK_INT(wf_run(plan, ws, &feed, 1, 256), WF_OK);
        CHECK_INT(wf_opt_step(opt, ws), WF_OK);
    }
    wf_ws_noise(ws, 2, 0);
    CHECK_INT(wf_run(plan, ws, &feed, 1, 4000), WF_OK);
    if (getenv("WF_VERBOSE")) printf("  double well: KL %.4f\n", at + log_z);
    CHECK(at + log_z < 0.05);        /* a flow cannot tear one bump into two; half a hundredth is what long runs reach */
    CHECK(at + log_z > -0.03);       /* a divergence is not negative: 3 deviations of a mean of 4000 */
    wf_arena_free(A);
}

/* One coordinate, conditioned: x | c is normal around 3 sin(c), with deviation exp(c / 2 - 1). */
WF_TEST(one_coordinate_with_context)
{
    enum { N = 4000 };
    static double x[N], c[N], p[N];
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F64);
    wf_rng rng;
    wf_flow_fit_desc how;
    double ideal = 0, got = 0;
    wf_rng_init(&rng, 3, 3);
    for (int i = 0; i < N; i++) {
        c[i] = 2 * wf_rng_uniform(&rng) - 1;
        x[i] = 3 * sin(c[i]) + exp(c[i] / 2 - 1) * wf_rng_normal(&rng);
    }
    wf_flow *f = wf_flow_standard(A, "f", 1, 1, WF_MAP_AFFINE, 2);
    memset(&how, 0, sizeof how);
    how.steps = 600;
    CHECK_INT(wf_flow_fit(f, P, &(wf_flow_data){ x, c, N }, &how, NULL), WF_OK);
    for (int i = 0; i < N; i++) {
        c[i] = 2 * wf_rng_uniform(&rng) - 1;
        x[i] = 3 * sin(c[i]) + exp(c[i] / 2 - 1) * wf_rng_normal(&rng);
        ideal -= (0.5 * pow((x[i] - 3 * sin(c[i])) / exp(c[i] / 2 - 1), 2) + c[i] / 2 - 1 + 0.91893853320467) / N;
    }
    CHECK_INT(wf_flow_evaluate(f, P, &(wf_flow_data){ x, c, N }, 1, p, NULL), WF_OK);
    for (int i = 0; i < N; i++) got += p[i] / N;
    CHECK_CLOSE(got, ideal, 0.03); /* the fit of some 5000 parameters to 3600 points costs a few hundredths of a nat */
    wf_arena_free(A);
}

/* ---- the same bits ---- */

WF_TEST(draws_do_not_depend_on_threads)
{
    enum { N = 700 };
    static float x[3][3 * N], p[3][N];
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 4, WF_F32);
    wf_flow *f = wf_flow_standard(A, "f", 3, 0, WF_MAP_SPLINE, 2);
    for (int i = 0; i < 3; i++) CHECK_INT(wf_flow_sample(f, P, &(wf_flow_data){ NULL, NULL, N }, i == 2 ? 6 : 5, i == 1 ? 3 : 1, x[i], p[i]), WF_OK);
    CHECK(!memcmp(x[0], x[1], sizeof x[0]) && !memcmp(p[0], p[1], sizeof p[0]));
    CHECK(memcmp(x[0], x[2], sizeof x[0]) != 0);
    wf_arena_free(A);
}

/* ---- files ---- */

WF_TEST(a_flow_is_saved_and_loaded)
{
    enum { N = 20 };
    double x[N * 3], c[N], p[N], q[N];
    const char *path = "out/test_flows.safetensors";
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F64), *Q = NULL;
    wf_flow_layer l[9];
    for (int i = 0; i < 9; i++) { l[i] = with(i, i % 6); l[i].scale = 0; }
    l[0].index = mask3;
    l[2].index = order3;
    l[3].seed = -7;
    l[3].scale = 1.0 / 3;
    l[7].lipschitz = 0.123456789012345;
    wf_flow *f = chain(A, "my flow", 3, l, 9, WF_BASE_MIXTURE, 1);
    normals(x, N * 3, 1, 1);
    normals(c, N, 1, 2);
    CHECK_INT(wf_flow_evaluate(f, P, &(wf_flow_data){ x, c, N }, 1, p, NULL), WF_OK);
    scramble(P, 0.2);
    CHECK_INT(wf_flow_evaluate(f, P, &(wf_flow_data){ x, c, N }, 1, p, NULL), WF_OK);
    CHECK_INT(wf_flow_save(f, P, path), WF_OK);
    wf_arena *B = wf_arena_new(NULL);
    wf_flow *h = wf_flow_load(B, path, "my flow", WF_F64, &Q);
    if (!h) printf("  %s\n", wf_arena_report(B)->text);
    CHECK(h != NULL);
    if (h) {
        CHECK_INT(wf_flow_evaluate(h, Q, &(wf_flow_data){ x, c, N }, 1, q, NULL), WF_OK);
        CHECK(!memcmp(p, q, sizeof p));
        CHECK(wf_flow_about(h)->layers[7].lipschitz == 0.123456789012345 && wf_flow_about(h)->layers[3].seed == -7 && wf_flow_about(h)->layers[0].index[1] == 1);
    }
    CHECK(!wf_flow_load(B, path, "another", WF_F64, &Q));
    CHECK_STR_HAS(wf_arena_report(B)->text, "no flow another");
    static const char *const bad[][3] = {
        { "normal dim=2 | whirl affine", "kind of layer: whirl", "" }, { "normal dim=2 | coupling bent", "map: bent", "" }, { "cauchy dim=2", "base: cauchy", "" },
        { "normal dim=2 | coupling affine width=x", "word: width=x", "" }, { "normal dim=2 | coupling affine width=8 fast=1", "word: fast=1", "" },
        { "normal dim=1e9", "word: dim=1e9", "" }, { "normal dim=2 | permute affine index=0 index=0", "not a permutation", "" }, { "normal dim=2 | coupling affine index=0", "order of coordinates", "" },
        { "", "base: (nothing)", "" }, { "normal |", "kind of layer: (nothing)", "" }, { "normal", "at least one coordinate", "" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        wf_arena_clear(B);
        wf_tensors *t = wf_tensors_new(B);
        wf_tensors_note(t, "flow.f", bad[i][0]);
        CHECK(!wf_flow_restore(B, t, "f"));
        CHECK_STR_HAS(wf_arena_report(B)->text, bad[i][1]);
    }
    wf_arena_clear(B);
    wf_tensors *t = wf_tensors_new(B); /* a description without its tensors */
    CHECK_INT(wf_flow_store(f, t), WF_OK);
    CHECK_INT(wf_tensors_save(t, path), WF_OK);
    CHECK(!wf_flow_load(B, path, "my flow", WF_F64, &Q));
    CHECK_STR_HAS(wf_arena_report(B)->text, "my flow.");
    remove(path);
    wf_arena_free(B);
    wf_arena_free(A);
}

/* ---- what cannot work ---- */

WF_TEST(bad_data_and_bad_descriptions_are_named)
{
    enum { N = 50 };
    double x[N * 3], p[N];
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F64);
    wf_flow *f = wf_flow_standard(A, "f", 3, 0, WF_MAP_AFFINE, 1);
    static const char *const text[] = { "row 7, column 2 of the data is not finite", "column 1 is constant", "columns 0 and 2 are the same up to scale", "too few for 3", "rows of data" };
    for (int i = 0; i < 5; i++) {
        normals(x, N * 3, 1, 1);
        if (i == 0) x[7 * 3 + 2] = NAN;
        for (int k = 0; k < N; k++) { if (i == 1) x[3 * k + 1] = 0.1; if (i == 2) x[3 * k + 2] = 4 - 3 * x[3 * k]; }
        wf_arena_clear(A);
        CHECK(wf_flow_fit(f, P, &(wf_flow_data){ i == 4 ? NULL : x, NULL, i == 3 ? 3 : N }, NULL, NULL) < 0);
        CHECK_STR_HAS(wf_arena_report(A)->text, text[i]);
    }
    wf_arena_clear(A);
    CHECK_INT(wf_flow_evaluate(f, P, &(wf_flow_data){ x, NULL, N }, 1, p, NULL), WF_OK); /* and all is well again */
    static const struct { wf_flow_layer l; int dim, base; const char *says; } d[] = {
        { { .kind = 99 }, 2, 0, "no such kind" }, { { .map = -1 }, 2, 0, "no such map" }, { { .width = -1 }, 2, 0, "hidden layers" }, { { .bins = 1000 }, 2, 0, "bins" },
        { { .map = WF_MAP_BOUNDED, .scale = 1.5 }, 2, 0, "alpha" }, { { .lipschitz = 1 }, 2, 0, "below 1" }, { { .kind = WF_FLOW_LINEAR }, 4097, 0, "at most 4096" },
        { { .kind = WF_FLOW_RESIDUAL, .exact = 1 }, 100, 0, "exact" }, { { .index = order3 }, 3, 0, "" }, { { .index = ones3 }, 3, 0, "no coordinate moves" },
        { { .kind = WF_FLOW_PERMUTE, .index = twice3 }, 3, 0, "not a permutation" }, { { 0 }, 0, 0, "at least one coordinate" }, { { 0 }, 2, 9, "no such base" }, { { 0 }, 4097, WF_BASE_FULL, "at most 4096" },
    };
    for (size_t i = 0; i < sizeof d / sizeof d[0]; i++) {
        wf_flow_desc desc = { 0 };
        desc.dim = d[i].dim;
        desc.base = d[i].base;
        desc.layers = &d[i].l;
        desc.count = 1;
        wf_arena_clear(A);
        int made = wf_flow_new(A, "f", &desc) != NULL;
        CHECK_INT(made, !*d[i].says);
        if (!made) CHECK_STR_HAS(wf_arena_report(A)->text, d[i].says);
    }
    wf_arena_clear(A);
    wf_graph *g = wf_graph_new(A, P);
    wf_t four = wf_input(g, "four", 4), three = wf_input(g, "three", 3);
    CHECK(!wf_flow_log_prob(f, four, wf__none(g)).id);
    CHECK_STR_HAS(wf_arena_report(A)->text, "not a point of this flow");
    wf_arena_clear(A);
    CHECK(!wf_flow_log_prob(f, three, three).id);
    CHECK_STR_HAS(wf_arena_report(A)->text, "context of 0 numbers");
    wf_arena_clear(A);
    CHECK(!wf_flow_push(f, (wf_flow_state){ three, wf__none(g), wf__none(g) }, wf__none(g), 2, 9).x.id);
    CHECK_STR_HAS(wf_arena_report(A)->text, "9 layers from 2 on");
    CHECK(!wf_flow_log_prob(f, wf__none(g), wf__none(g)).id);
    wf_arena_free(A);
}

/* Each allocation fails once: a code comes back, the report says memory, and nothing leaks. */
WF_TEST(every_allocation_may_fail)
{
    static double x[3 * 20], p[20];
    wf_flow_fit_desc how;
    memset(&how, 0, sizeof how);
    how.steps = 2;
    how.threads = 1;
    normals(x, 60, 1, 1);
    long calls = 0;
    for (long fail = 0; fail == 0 || fail <= calls; fail += 1 + calls / 150) {
        wf_test_memory m;
        memset(&m, 0, sizeof m);
        wf_allocator a = { wf_test_alloc, wf_test_free, &m };
        wf_arena *A = wf_arena_new(&a);
        A->next_size = 0; /* from here on a block for each piece */
        A->block->used = A->block->size;
        m.calls = 0;
        m.fail_at = fail;
        wf_params *P = wf_params_new(A, 1, WF_F64);
        wf_flow *f = P ? wf_flow_standard(A, "f", 3, 0, WF_MAP_SMOOTH, 1) : NULL;
        wf_result r = f ? wf_flow_fit(f, P, &(wf_flow_data){ x, NULL, 20 }, &how, NULL) : WF_ERROR_MEMORY;
        if (r == WF_OK) r = wf_flow_evaluate(f, P, &(wf_flow_data){ x, NULL, 20 }, 1, p, NULL);
        wf_tensors *t = r == WF_OK ? wf_tensors_new(A) : NULL;
        if (r == WF_OK) r = t ? wf_flow_store(f, t) : WF_ERROR_MEMORY;
        if (r == WF_OK && !wf_flow_restore(A, t, "f")) r = WF_ERROR_MEMORY;
        if (fail == 0) { CHECK_INT(r, WF_OK); calls = m.calls; }
        else if (m.calls >= fail) { /* where malloc happens to align, a small piece fits into what is left of a block, and there are fewer calls */
            CHECK_INT(r, WF_ERROR_MEMORY);
            CHECK_INT(wf_arena_report(A)->code, WF_ERROR_MEMORY);
        }
        wf_arena_free(A);
        CHECK_INT(m.live, 0);
        if (wf_test_failures) { printf("  allocation %ld of %ld\n", fail, calls); break; }
    }
}

WF_MAIN_CASES(
    WF_CASE(every_layer_inverts_and_knows_its_determinant_and_score),
    WF_CASE(far_away_too),
    WF_CASE(the_score_recursion_is_exact),
    WF_CASE(linear_layers_of_many_coordinates),
    WF_CASE(a_loss_with_the_score_has_the_right_gradient),
    WF_CASE(no_finite_number_gives_not_a_number),
    WF_CASE(splines_withstand_what_broke_others),
    WF_CASE(the_kernel_of_splines_is_the_formula_spelled_out),
    WF_CASE(reference_files_agree),
    WF_CASE(bases_are_densities_and_are_what_is_drawn),
    WF_CASE(flows_are_normalised),
    WF_CASE(probes_have_the_right_mean),
    WF_CASE(a_density_is_learned_from_points),
    WF_CASE(a_mixture_starts_where_the_data_are),
    WF_CASE(a_flow_is_fitted_to_an_energy),
    WF_CASE(one_coordinate_with_context),
    WF_CASE(draws_do_not_depend_on_threads),
    WF_CASE(a_flow_is_saved_and_loaded),
    WF_CASE(bad_data_and_bad_descriptions_are_named),
    WF_CASE(every_allocation_may_fail),
)
#else
int main(void) { printf("SKIPPED flows: built with WF_NO_FLOWS\n0 passed, 0 failed, 1 skipped\n"); return 0; }
#endif
