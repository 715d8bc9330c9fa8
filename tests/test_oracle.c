/* Reference cases: results and gradients that other programs computed (shared/reference/oracle), for every kind of problem the library can state as a graph.

   One test walks through cases.txt. A file names its kind; the table at the end of this file has a function for each kind, which writes the problem down as a graph. Sizes, options and
   numbers all come from the file. Each graph is then run in ten ways: both element types; one, sixteen and sixty-four lanes to a tile, and the reference plan; the weights as parameters,
   and as values that are handed in. Every `out.` and `grad.` tensor of the file must be compared with something, or the file fails. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

/* ---- ways to run ---- */

typedef struct way { const char *name; int type, tile, reference, given; } way; /* given: weights are values handed in, not parameters */

static const way ways[] = {
    { "f64, 1 lane", WF_F64, 1, 0, 0 },   { "f64, 16 lanes", WF_F64, 16, 0, 0 }, { "f64, 64 lanes", WF_F64, 64, 0, 0 },
    { "f64, reference plan", WF_F64, 0, 1, 0 }, { "f64, given weights", WF_F64, 0, 0, 1 },
    { "f32, 1 lane", WF_F32, 1, 0, 0 },   { "f32, 16 lanes", WF_F32, 16, 0, 0 }, { "f32, 64 lanes", WF_F32, 64, 0, 0 },
    { "f32, reference plan", WF_F32, 0, 1, 0 }, { "f32, given weights", WF_F32, 0, 0, 1 },
};

enum { WAYS = sizeof ways / sizeof ways[0], MANY = 64 };

/* ---- a case: a file, and the graph being built for it ---- */

typedef struct oracle {
    const char *file;
    const way *way;
    wf_arena *A;
    wf_tensors *t;
    wf_params *P;
    wf_graph *g;
    size_t batch, longest; /* samples; the longest axis of any tensor */
    double accuracy, noise;
    struct { const char *name; wf_t node; int param; } given[MANY];
    struct { const char *name; wf_t node; } wanted[MANY];
    int gives, wants;
    wf_t loss;
} oracle;

static double worst_f64, worst_f32; /* error over tolerance, over everything */

static void complain(const oracle *o, const char *what, const char *which)
{
    wf_test_failures++;
    printf("  %s (%s): %s %s\n", o->file, o->way ? o->way->name : "-", what, which ? which : "");
}

static double about(oracle *o, const char *key)
{
    const char *text = wf_tensors_about(o->t, key);
    if (!text) complain(o, "no metadata", key);
    return text ? strtod(text, NULL) : 1;
}

static int size_of(oracle *o, const char *key) { return (int)about(o, key); }

static const wf_array *tensor(oracle *o, const char *name)
{
    const wf_array *a = wf_tensors_find(o->t, name);
    if (!a) complain(o, "no tensor", name);
    return a;
}

/* Remember which node stands for in.x or param.x, so that grad.x can be asked for. */
static wf_t remember(oracle *o, const char *name, wf_t node, int param)
{
    for (int i = 0; i < o->gives; i++) if (!strcmp(o->given[i].name, name)) return o->given[i].node;
    if (o->gives == MANY) { complain(o, "too many tensors", name); return node; }
    o->given[o->gives].name = name;
    o->given[o->gives].node = node;
    o->given[o->gives++].param = param;
    return node;
}

static int shape_of(const wf_array *a, int from, int d[4])
{
    int nd = a->nd - from;
    for (int i = 0; i < nd && i < 4; i++) d[i] = (int)a->shape[i + from];
    return nd;
}

/* `in.` data with one row per sample; the same for all samples; `param.`, a parameter or a value that is handed in. */
static wf_t sample(oracle *o, const char *name)
{
    const wf_array *a = tensor(o, name);
    int d[4], nd = a ? shape_of(a, 1, d) : 0;
    if (a && o->batch && o->batch != a->shape[0]) complain(o, "another number of samples in", name);
    if (a) o->batch = a->shape[0];
    return remember(o, name, wf_input_nd(o->g, name, nd, d), 0);
}

static wf_t shared(oracle *o, const char *name)
{
    const wf_array *a = tensor(o, name);
    int d[4], nd = a ? shape_of(a, 0, d) : 0;
    if (o->way->given) return remember(o, name, wf_shared_nd(o->g, name, nd, d), 0);
    return wf_const_array(o->g, nd, d, a ? wf_array_f64(o->A, a) : NULL);
}

static wf_t weight(oracle *o, const char *name)
{
    const wf_array *a = tensor(o, name);
    int d[4], nd = a ? shape_of(a, 0, d) : 0;
    if (!a) return wf_const(o->g, 0);
    if (o->way->given) return remember(o, name, wf_shared_nd(o->g, name, nd, d), 0);
    wf_t w = wf_param(o->g, name, nd, d, WF_INIT_ZERO, 0);
    CHECK_INT(wf_params_set(o->P, name, wf_array_f64(o->A, a), a->count), WF_OK);
    return remember(o, name, w, 1);
}

static wf_affine affine(oracle *o, const char *w, const char *b)
{
    wf_affine pair;
    pair.weight = weight(o, w);
    pair.bias = weight(o, b);
    return pair;
}

static size_t count_of(const oracle *o, wf_t node)
{
    int d[4], nd = wf_shape(node, d);
    size_t n = wf_is_batch(node) && o->batch ? o->batch : 1;
    for (int i = 0; i < nd; i++) n *= (size_t)d[i];
    return n;
}

static void want(oracle *o, const char *name, wf_t node)
{
    const wf_array *a = tensor(o, name);
    if (o->wants == MANY) { complain(o, "too many results", name); return; }
    if (a && a->count > count_of(o, node)) node = wf_per_sample(node); /* a derivative that is zero for every sample is one zero */
    o->wanted[o->wants].name = name;
    o->wanted[o->wants++].node = node;
}

/* The loss, and every gradient that the file has. */
static void want_loss(oracle *o, wf_t loss)
{
    wf_t x[MANY] = { { NULL, 0 } }, out[MANY], one = wf_const(o->g, 1);
    const char *name[MANY];
    int n = 0;
    o->loss = loss;
    want(o, "out.loss", loss);
    for (size_t i = 0; i < o->t->count; i++) {
        const char *grad = o->t->entry[i].name;
        if (strncmp(grad, "grad.", 5)) continue;
        for (int k = 0; k < o->gives; k++)
            if (!strcmp(strchr(o->given[k].name, '.') + 1, grad + 5)) { x[n] = o->given[k].node; name[n++] = grad; }
    }
    CHECK_INT(wf_vjp(&loss, &one, 1, x, n, out), WF_OK);
    for (int k = 0; k < n; k++) want(o, name[k], out[k]);
}

/* ---- tolerances ----

   f64: the file says how exact its numbers are relative to the largest entry of a tensor (at least 1); ours are allowed 1e-10, or that if it is more.

   f32: `binary32_noise` is how far the worst result moves when each given number moves by a random half unit. Rounding inside the computation has the same effect as moving the numbers it
   started from, only oftener: a sum of n terms rounds n times, and independent roundings add like the root of n. No sum in a problem is longer than the longest axis of a tensor (a sum over
   the batch, too); sixteen more stand for the operations on the way that are not sums. The factor 4 is four standard deviations, since we look at the worst of some thousand numbers. Half a unit of the largest entry, 2^-24, is added
   for results that do not depend on what moved. Measured relative to the largest entry, at least 1e-3, as the noise is. */
static double tolerance(const oracle *o, double largest)
{
    if (o->way->type == WF_F64) return fmax(1e-10, o->accuracy) * fmax(1, largest);
    return 4 * sqrt((double)o->longest + 16) * (o->noise + ldexp(1, -24)) * fmax(1e-3, largest);
}

static void compare(oracle *o, const char *name, const void *ours, size_t count)
{
    const wf_array *a = tensor(o, name);
    if (!a) return;
    if (a->count != count) { complain(o, "another number of elements in", name); return; }
    const double *theirs = wf_array_f64(o->A, a);
    double largest = 0, worst = 0;
    size_t where = 0;
    for (size_t i = 0; i < count; i++) if (fabs(theirs[i]) > largest && fabs(theirs[i]) < HUGE_VAL) largest = fabs(theirs[i]);
    double allowed = tolerance(o, largest), *record = o->way->type == WF_F64 ? &worst_f64 : &worst_f32;
    for (size_t i = 0; i < count; i++) {
        double x = wf__get(ours, o->way->type, i), error = x == theirs[i] ? 0 : fabs(x - theirs[i]);
        if (!(error <= worst)) { worst = error; where = i; }
        if (!(error <= worst)) break; /* not a number */
    }
    if (worst / allowed > *record) *record = worst / allowed;
    if (getenv("WF_ORACLE_VERBOSE")) printf("%-44s %-20s %-18s %.2e of the tolerance\n", o->file, o->way->name, name, worst / allowed);
    if (worst <= allowed) return;
    complain(o, "wrong:", name);
    printf("    element %zu of %zu: %.17g, wanted %.17g; largest %.3g, off by %.3g, allowed %.3g\n", where, count, wf__get(ours, o->way->type, where), theirs[where], largest, worst, allowed);
}

/* ---- running ---- */

static const void *data_for(oracle *o, const char *name)
{
    const wf_array *a = tensor(o, name);
    if (!a) return NULL;
    return o->way->type == WF_F64 ? (const void *)wf_array_f64(o->A, a) : (const void *)wf_array_f32(o->A, a);
}

/* Compile for some of the wanted results, run, compare. With `all`, also the gradient of all parameters at once. */
static void run_some(oracle *o, int first, int count, int all)
{
    wf_plan_desc d;
    wf_feed feeds[2 * MANY];
    void *result[MANY];
    int n = 0;
    memset(&d, 0, sizeof d);
    for (int i = 0; i < count; i++) d.out[i] = o->wanted[first + i].node;
    if (all) d.grad_of = o->loss;
    d.type = o->way->type;
    d.tile = o->way->tile;
    d.reference = o->way->reference;
    wf_plan *plan = wf_compile(o->A, &d);
    wf_ws *ws = plan ? wf_ws_new(o->A, plan, 1, NULL) : NULL;
    if (!ws) { complain(o, "no plan:", wf_arena_report(o->A)->text); return; }
    for (int i = 0; i < o->gives; i++)
        if (!o->given[i].param) feeds[n++] = wf_in(o->given[i].node, data_for(o, o->given[i].name), 0);
    for (int i = 0; i < count; i++) {
        result[i] = wf_alloc(o->A, count_of(o, d.out[i]), wf__type_size(d.type));
        feeds[n++] = wf_out(d.out[i], result[i], 0);
    }
    wf_result r = wf_run(plan, ws, feeds, n, o->batch);
    if (r != WF_OK) { complain(o, "run:", wf_ws_report(ws)->text); return; }
    for (int i = 0; i < count; i++) compare(o, o->wanted[first + i].name, result[i], count_of(o, d.out[i]));
    if (!all) return;
    for (int k = 0; k < o->gives; k++) {
        char grad[128];
        if (!o->given[k].param) continue;
        snprintf(grad, sizeof grad, "grad.%s", strchr(o->given[k].name, '.') + 1);
        if (!wf_tensors_find(o->t, grad)) continue;
        const wf_param_info *e = wf_params_entry(o->P, wf_params_find(o->P, o->given[k].name));
        compare(o, grad, (char *)wf_ws_grad(ws) + e->offset * wf__type_size(d.type), e->count);
    }
}

static void run_all(oracle *o)
{
    enum { AT_ONCE = 7 };
    if (wf_arena_report(o->A)->code < 0) { complain(o, "graph:", wf_arena_report(o->A)->text); return; }
    for (int first = 0; first < o->wants; first += AT_ONCE) run_some(o, first, o->wants - first < AT_ONCE ? o->wants - first : AT_ONCE, 0);
    if (!o->way->given && o->P && wf_params_entries(o->P)) run_some(o, 0, 1, 1);
    for (size_t i = 0; i < o->t->count; i++) {
        const char *name = o->t->entry[i].name;
        int found = strncmp(name, "out.", 4) && strncmp(name, "grad.", 5);
        for (int k = 0; k < o->wants; k++) found |= !strcmp(o->wanted[k].name, name);
        if (!found) complain(o, "nothing was compared with", name);
    }
}

/* ---- the kinds ---- */

static int activation_of(oracle *o)
{
    static const struct { const char *name; int activation; } table[] = {
        { "tanh", WF_ACT_TANH }, { "sigmoid", WF_ACT_SIGMOID }, { "relu", WF_ACT_RELU }, { "silu", WF_ACT_SILU },
        { "gelu", WF_ACT_GELU }, { "softplus", WF_ACT_SOFTPLUS }, { "sin", WF_ACT_SIN },
    };
    const char *name = wf_tensors_about(o->t, "activation");
    for (size_t i = 0; name && i < sizeof table / sizeof table[0]; i++) if (!strcmp(table[i].name, name)) return table[i].activation;
    complain(o, "unknown activation", name);
    return WF_ACT_NONE;
}

/* "param." or "in.", a prefix, a name and a number. */
static const char *text(oracle *o, const char *where, const char *prefix, const char *name, int k)
{
    char *s = (char *)wf_alloc(o->A, 64, 1);
    snprintf(s, 64, "%s%s%s%d", where, prefix, name, k);
    return s;
}

static wf_affine layer(oracle *o, const char *prefix, int k) { return affine(o, text(o, "param.", prefix, "w", k), text(o, "param.", prefix, "b", k)); }

static wf_t perceptron_of(oracle *o, wf_t x, const char *prefix)
{
    wf_affine w[16];
    int n = 0;
    for (; n < 16 && wf_tensors_find(o->t, text(o, "param.", prefix, "w", n)); n++) w[n] = layer(o, prefix, n);
    return wf_mlp_with(x, w, n, activation_of(o), WF_ACT_NONE);
}

static wf_t perceptron(oracle *o, wf_t x) { return perceptron_of(o, x, ""); }

/* The mean over samples of a number per sample. */
static wf_t batch_mean(wf_t x) { return wf_div(wf_batch_sum(x), wf_samples(x.graph)); }

static void mlp(oracle *o)
{
    wf_t y = perceptron(o, sample(o, "in.x"));
    want(o, "out.y", y);
    want_loss(o, batch_mean(wf_add(wf_log1p(wf_sumsq(y)), wf_dot(shared(o, "in.c"), y))));
}

/* The Laplacian in the loss is carried by jets, or (weights given) is the trace of the matrix of derivatives of the gradient: two ways to third derivatives. */
static void mlp_derivatives(oracle *o)
{
    wf_t list[2], diagonal[4096];
    list[0] = sample(o, "in.x");
    list[1] = sample(o, "in.t");
    int d = size_of(o, "dim");
    wf_t x = list[0], u = wf_sum(perceptron(o, wf_concat(list, 2, 0)));
    wf_t ux = wf_grad(u, x), ut = wf_sum(wf_grad(u, list[1])), hessian = wf_jacobian(ux, x);
    for (int i = 0; i < d; i++) diagonal[i] = wf_sum(wf_slice(wf_slice(hessian, 0, i, 1), 1, i, 1));
    wf_t trace = wf_sum(wf_stack(diagonal, d)), lap = o->way->given ? trace : wf_laplacian(u, x);
    want(o, "out.u", u);
    want(o, "out.ux", ux);
    want(o, "out.ut", ut);
    want(o, "out.hessian", hessian);
    want(o, "out.hessian_diag", wf_stack(diagonal, d));
    want(o, "out.laplacian", lap);
    want_loss(o, batch_mean(wf_square(wf_sub(wf_sub(ut, lap), wf_sumsq(ux)))));
}

/* The divergence from forward sweeps, or (weights given) as a sum over the diagonal by reverse sweeps. */
static void vector_divergence(oracle *o)
{
    wf_t x = sample(o, "in.x"), e = sample(o, "in.e"), v = perceptron(o, x), divergence = wf_divergence(v, x);
    int d = size_of(o, "dim");
    if (o->way->given) {
        divergence = wf_const(o->g, 0);
        for (int i = 0; i < d; i++) divergence = wf_add(divergence, wf_sum(wf_slice(wf_grad(wf_slice(v, 0, i, 1), x), 0, i, 1)));
    }
    want(o, "out.v", v);
    want(o, "out.jacobian", wf_jacobian(v, x));
    want(o, "out.divergence", divergence);
    want(o, "out.projected", wf_dot(e, wf_jvp(v, x, e)));
    want_loss(o, batch_mean(wf_add(wf_square(divergence), wf_sumsq(v))));
}

/* As a loop, or (weights given) unrolled. */
static void gru_sequence(oracle *o)
{
    wf_sequence_weights w;
    memset(&w, 0, sizeof w);
    w.layers = 1;
    w.cell[0].in = affine(o, "param.w_ih", "param.b_ih");
    w.cell[0].state = affine(o, "param.w_hh", "param.b_hh");
    w.out = affine(o, "param.w_out", "param.b_out");
    wf_sequence s = wf_sequence_with(sample(o, "in.tokens"), &w, o->way->given);
    want(o, "out.h", s.states);
    want(o, "out.log_probs", s.log_probs);
    want(o, "out.logp", s.logp);
    want_loss(o, wf_scale(batch_mean(s.logp), -1.0 / size_of(o, "steps")));
}

static void transformer_encoder_layer(oracle *o)
{
    wf_transformer_weights w;
    wf_transformer_desc d;
    wf_t none = { NULL, 0 }, x = wf_transpose(sample(o, "in.x")), q, k;
    memset(&d, 0, sizeof d);
    d.heads = size_of(o, "heads");
    d.width = size_of(o, "feedforward");
    d.eps = about(o, "layernorm_eps");
    d.activation = activation_of(o);
    d.pre_norm = strcmp(wf_tensors_about(o->t, "norm"), "post") != 0;
    w.attention.in = affine(o, "param.in_proj_weight", "param.in_proj_bias");
    w.attention.out = affine(o, "param.out_proj_weight", "param.out_proj_bias");
    w.linear1 = affine(o, "param.linear1_weight", "param.linear1_bias");
    w.linear2 = affine(o, "param.linear2_weight", "param.linear2_bias");
    w.norm1 = affine(o, "param.norm1_weight", "param.norm1_bias");
    w.norm2 = affine(o, "param.norm2_weight", "param.norm2_bias");
    wf_t y = wf_transpose(wf_transformer_layer_with(x, &w, &d)), all = wf_linear_with(x, w.attention.in);
    int dim = size_of(o, "dim");
    q = wf_slice(all, 0, 0, dim);
    k = wf_slice(all, 0, dim, dim);
    want(o, "out.attention", wf_transpose(wf_attention_map(q, k, d.heads, none)));
    want(o, "out.y", y);
    want_loss(o, batch_mean(wf_dot(shared(o, "in.c"), wf_tanh(y))));
}

/* [heads, tokens, features] of the file to [heads * features, tokens] and back. */
static wf_t by_features(wf_t x)
{
    int d[4], nd = wf_shape(x, d), flat[2];
    if (nd != 3) return x;
    flat[0] = d[0] * d[2];
    flat[1] = d[1];
    return wf_reshape(wf_transpose(x), 2, flat);
}

static void attention(oracle *o)
{
    wf_t q = by_features(sample(o, "in.q")), k = by_features(sample(o, "in.k")), v = by_features(sample(o, "in.v"));
    wf_t mask = wf_transpose(shared(o, "in.mask"));
    int heads = size_of(o, "heads"), d[3];
    d[0] = heads;
    d[1] = size_of(o, "value_dim");
    d[2] = size_of(o, "queries");
    wf_t y = wf_transpose(wf_reshape(wf_attention_masked(q, k, v, heads, mask), 3, d));
    want(o, "out.weights", wf_transpose(wf_attention_map(q, k, heads, mask)));
    want(o, "out.y", y);
    want_loss(o, batch_mean(wf_dot(shared(o, "in.c"), wf_sin(y))));
}

static void layernorm(oracle *o)
{
    wf_t y = wf_layer_norm_with(sample(o, "in.x"), affine(o, "param.weight", "param.bias"), about(o, "eps"));
    want(o, "out.y", y);
    want_loss(o, batch_mean(wf_dot(shared(o, "in.c"), wf_sin(y))));
}

static void softmax_logsumexp(oracle *o)
{
    wf_t x = sample(o, "in.x"), p = wf_softmax(x, 0), lse = wf_logsumexp(x, 0), logp = wf_log_softmax(x, 0);
    want(o, "out.softmax", p);
    want(o, "out.logsumexp", lse);
    want(o, "out.log_softmax", logp);
    want_loss(o, batch_mean(wf_add(lse, wf_sub(wf_dot(shared(o, "in.c"), p), wf_scale(wf_sum(logp), 0.1 / size_of(o, "features"))))));
}

/* ---- kinds for which the library has no function here, but all operations ---- */

static const double log_2pi = 1.8378770664093453;

static wf_t standard_normal(wf_t z) { return wf_shift(wf_scale(wf_sumsq(z), -0.5), -0.5 * log_2pi * (double)wf__node_size(wf__of(z))); }

static wf_t numbers(oracle *o, const double *x, int n) { return wf_const_array(o->g, 1, &n, x); }

/* The elements that a coupling keeps, then the others; and the way back. */
static int coupling_order(oracle *o, int k, int dim, double *order, double *back)
{
    const double *mask = wf_array_f64(o->A, tensor(o, "in.mask")) + k * dim;
    int n = 0, kept = 0;
    for (int want_kept = 1; want_kept >= 0; want_kept--)
        for (int i = 0; i < dim; i++)
            if ((mask[i] == 1) == want_kept) { back[i] = n; order[n++] = i; kept += want_kept; }
    return kept;
}

static wf_t couple(oracle *o, wf_t x, int k, int inverse, wf_t *logdet)
{
    double order[MANY], back[MANY], clamp = about(o, "scale_clamp");
    int dim = size_of(o, "dim"), kept = coupling_order(o, k, dim, order, back), rest = dim - kept;
    wf_t part[2];
    part[0] = wf_take(x, numbers(o, order, kept));
    part[1] = wf_take(x, numbers(o, order + kept, rest));
    char prefix[] = { 'c', (char)('0' + k), '_', 0 };
    wf_t out = perceptron_of(o, part[0], prefix), t = wf_slice(out, 0, rest, rest);
    wf_t s = wf_scale(wf_tanh(wf_scale(wf_slice(out, 0, 0, rest), 1 / clamp)), clamp);
    part[1] = inverse ? wf_mul(wf_sub(part[1], t), wf_exp(wf_neg(s))) : wf_add(wf_mul(part[1], wf_exp(s)), t);
    if (logdet) *logdet = k ? wf_add(*logdet, wf_sum(s)) : wf_sum(s);
    return wf_take(wf_concat(part, 2, 0), numbers(o, back, dim));
}

static void coupling_affine(oracle *o)
{
    wf_t x = sample(o, "in.x"), z = x, logdet = x, back = sample(o, "in.z");
    int layers = size_of(o, "layers");
    for (int k = 0; k < layers; k++) z = couple(o, z, k, 0, &logdet);
    for (int k = layers - 1; k >= 0; k--) back = couple(o, back, k, 1, NULL);
    wf_t logp = wf_add(standard_normal(z), logdet), score = wf_grad(logp, x);
    want(o, "out.z", z);
    want(o, "out.logdet", logdet);
    want(o, "out.logp", logp);
    want(o, "out.score", score);
    want(o, "out.x_from_z", back);
    want_loss(o, batch_mean(wf_sub(wf_scale(wf_sumsq(score), 0.1), logp)));
}

/* Masked weights, multiplied in the graph. */
static wf_t made(oracle *o, wf_t x, int k)
{
    char prefix[] = { 'f', (char)('0' + k), '_', 0 };
    for (int i = 0; i < 3; i++) {
        wf_affine w = layer(o, prefix, i);
        w.weight = wf_mul(w.weight, shared(o, text(o, "in.", prefix, "mask", i)));
        x = wf_linear_with(x, w);
        if (i < 2) x = wf_activate(x, activation_of(o));
    }
    return x;
}

static void maf_made(oracle *o)
{
    wf_t x = sample(o, "in.x"), z = x, logdet = wf_const(o->g, 0), back = sample(o, "in.z");
    const double *order = wf_array_f64(o->A, tensor(o, "in.order"));
    int flows = size_of(o, "flows"), dim = size_of(o, "dim");
    for (int k = 0; k < flows; k++) {
        wf_t out = made(o, z, k), a = wf_slice(out, 0, dim, dim);
        z = wf_mul(wf_sub(z, wf_slice(out, 0, 0, dim)), wf_exp(wf_neg(a)));
        logdet = wf_sub(logdet, wf_sum(a));
    }
    for (int k = flows - 1; k >= 0; k--) {
        wf_t known = wf_scale(back, 0); /* coordinates as far as they are known, one more each time */
        for (int n = 0; n < dim; n++) {
            int i = (int)order[k * dim + n];
            wf_t out = made(o, known, k), value = wf_add(wf_mul(wf_slice(back, 0, i, 1), wf_exp(wf_slice(out, 0, dim + i, 1))), wf_slice(out, 0, i, 1));
            known = wf_add(known, wf_pad(value, 0, i, dim - 1 - i));
        }
        back = known;
    }
    wf_t logp = wf_add(standard_normal(z), logdet);
    want(o, "out.z", z);
    want(o, "out.logdet", logdet);
    want(o, "out.logp", logp);
    want(o, "out.score", wf_grad(logp, x));
    want(o, "out.x_from_z", back);
    want_loss(o, wf_neg(batch_mean(logp)));
}

/* The data are the samples; the parameter vectors are shared. */
static void logistic_regression(oracle *o)
{
    wf_t w = weight(o, "param.w"), x = sample(o, "in.x"), y = sample(o, "in.y"), e = wf_matmul(w, x);
    double deviation = about(o, "prior_std"), dim = about(o, "dim");
    wf_t likelihood = wf_batch_sum(wf_sub(wf_mul(y, e), wf_softplus(e)));
    wf_t prior = wf_shift(wf_scale(wf_sum_over(wf_square(w), 1), -0.5 / (deviation * deviation)), -dim * (log(deviation) + 0.5 * log_2pi));
    want(o, "out.log_likelihood", likelihood);
    want(o, "out.log_prior", prior);
    want(o, "out.log_posterior", wf_add(likelihood, prior));
    want_loss(o, wf_neg(wf_sum(wf_add(likelihood, prior))));
}

/* Everything is shared, and a loop over time contains roots and triangular systems. */
static void kalman(oracle *o)
{
    wf_t y = weight(o, "in.y"), m0 = weight(o, "param.m0"), P0 = shared(o, "in.P0");
    int steps = size_of(o, "steps"), m = size_of(o, "observed"), column[2] = { m, 1 }, square[2] = { m, m };
    double one[MANY * MANY] = { 0 };
    for (int i = 0; i < m; i++) one[i * m + i] = 1;
    wf_loop *l = wf_loop_begin(o->g, steps, WF_KEEP_CARRY);
    wf_t A = wf_loop_constant(l, weight(o, "param.A")), C = wf_loop_constant(l, weight(o, "param.C"));
    wf_t Q = wf_loop_constant(l, shared(o, "in.Q")), R = wf_loop_constant(l, shared(o, "in.R"));
    wf_t mean = wf_loop_carry(l, m0), P = wf_loop_carry(l, P0), seen = wf_loop_each(l, y);
    wf_t CP = wf_matmul(C, P), L = wf_cholesky(wf_add(wf_matmul_t(CP, 0, C, 1), R));
    wf_t off = wf_trisolve(L, wf_reshape(wf_sub(seen, wf_matmul(C, mean)), 2, column), 0, 0, 0), W = wf_trisolve(L, CP, 0, 0, 0);
    wf_t logs = wf_sum(wf_log(wf_sum_over(wf_mul(L, wf_const_array(wf_loop_body(l), 2, square, one)), 1)));
    wf_t increment = wf_sub(wf_shift(wf_scale(wf_sumsq(off), -0.5), -0.5 * m * log_2pi), logs);
    wf_t filtered = wf_add(mean, wf_matmul_t(W, 1, wf_reshape(off, 1, column), 0)), F = wf_sub(P, wf_matmul_t(W, 1, W, 0));
    wf_loop_next(l, mean, wf_matmul(A, filtered));
    wf_loop_next(l, P, wf_add(wf_matmul(A, wf_matmul_t(F, 0, A, 1)), Q));
    CHECK_INT(wf_loop_end(l), WF_OK);
    want(o, "out.predicted_mean", wf_loop_stack(l, mean));
    want(o, "out.predicted_cov", wf_loop_stack(l, P));
    want(o, "out.filtered_mean", wf_loop_stack(l, filtered));
    want(o, "out.filtered_cov", wf_loop_stack(l, F));
    want(o, "out.increment", wf_loop_stack(l, increment));
    want(o, "out.loglik", wf_loop_total(l, increment));
    want_loss(o, wf_neg(wf_loop_total(l, increment)));
}

typedef struct spline { wf_t x, w, y, h, low, high; } spline; /* the bin that a number lies in */

static wf_t at(wf_t rows, wf_t index) { return wf_sum(wf_take(rows, index)); }

static wf_t knots_of(wf_t widths, double bound) { return wf_shift(wf_pad(wf_cumsum(widths, 0, 0, 0), 0, 1, 0), -bound); }

static spline spline_at(oracle *o, wf_t x, int by_value)
{
    double bound = about(o, "bound"), bin = about(o, "min_bin");
    int bins = size_of(o, "bins"), one = 1;
    wf_t w = wf_scale(wf_shift(wf_scale(wf_softmax(sample(o, "param.uw"), 0), 1 - bin * bins), bin), 2 * bound);
    wf_t h = wf_scale(wf_shift(wf_scale(wf_softmax(sample(o, "param.uh"), 0), 1 - bin * bins), bin), 2 * bound);
    wf_t xs = knots_of(w, bound), ys = knots_of(h, bound), list[3];
    list[0] = list[2] = wf_full(o->g, 1, &one, 1);
    list[1] = wf_shift(wf_softplus(sample(o, "param.ud")), about(o, "min_derivative"));
    wf_t slopes = wf_concat(list, 3, 0), i = wf_search(wf_slice(by_value ? ys : xs, 0, 1, bins - 1), wf_reshape(x, 1, &one));
    spline s;
    s.x = at(xs, i);
    s.y = at(ys, i);
    s.w = at(w, i);
    s.h = at(h, i);
    s.low = at(slopes, i);
    s.high = at(slopes, wf_shift(i, 1));
    return s;
}

/* The value and the logarithm of the slope; outside of the bounds the identity. */
static wf_t spline_value(oracle *o, wf_t x, int inverse, wf_t *log_slope)
{
    double bound = about(o, "bound");
    wf_t inside = wf_le(wf_abs(x), wf_const(o->g, bound)), at_x = wf_select(inside, x, wf_const(o->g, 0)), u;
    spline s = spline_at(o, at_x, inverse);
    wf_t slope = wf_div(s.h, s.w), bend = wf_sub(wf_add(s.low, s.high), wf_scale(slope, 2));
    if (inverse) {
        wf_t rise = wf_sub(at_x, s.y), a = wf_add(wf_mul(s.h, wf_sub(slope, s.low)), wf_mul(rise, bend)), b = wf_sub(wf_mul(s.h, s.low), wf_mul(rise, bend)), c = wf_neg(wf_mul(slope, rise));
        u = wf_div(wf_scale(c, -2), wf_add(b, wf_sqrt(wf_sub(wf_square(b), wf_scale(wf_mul(a, c), 4)))));
    } else u = wf_div(wf_sub(at_x, s.x), s.w);
    wf_t v = wf_sub(wf_const(o->g, 1), u), uv = wf_mul(u, v), D = wf_add(slope, wf_mul(bend, uv));
    wf_t up = wf_add(wf_mul(s.high, wf_square(u)), wf_add(wf_scale(wf_mul(slope, uv), 2), wf_mul(s.low, wf_square(v))));
    wf_t y = inverse ? wf_add(wf_mul(u, s.w), s.x) : wf_add(s.y, wf_div(wf_mul(s.h, wf_add(wf_mul(slope, wf_square(u)), wf_mul(s.low, uv))), D));
    wf_t logs = wf_sub(wf_add(wf_scale(wf_log(slope), 2), wf_log(up)), wf_scale(wf_log(D), 2));
    *log_slope = wf_select(inside, inverse ? wf_neg(logs) : logs, wf_const(o->g, 0));
    return wf_select(inside, y, x);
}

static void rq_spline(oracle *o)
{
    const char *direction = wf_tensors_about(o->t, "direction");
    wf_t log_slope, x = sample(o, "in.x"), y = spline_value(o, x, !strcmp(direction, "inverse"), &log_slope);
    want(o, "out.y", y);
    want(o, "out.log_derivative", log_slope);
    if (!strcmp(direction, "both")) {
        want(o, "out.x_inverse", spline_value(o, sample(o, "in.y_in"), 1, &log_slope));
        want(o, "out.log_derivative_inverse", log_slope);
    } else want_loss(o, batch_mean(wf_sub(wf_add(wf_scale(wf_square(y), 0.5), wf_sin(y)), log_slope)));
}

/* The logarithms of density, distribution and survival of a mixture of logistic laws, without under- or overflow. */
typedef struct mixture { wf_t pdf, cdf, sf; } mixture;

static mixture mixture_at(wf_t x, wf_t log_weight, wf_t mu, wf_t log_scale)
{
    wf_t z = wf_mul(wf_sub(x, mu), wf_exp(wf_neg(log_scale))), below = wf_softplus(wf_neg(z)), above = wf_softplus(z);
    mixture m;
    m.pdf = wf_logsumexp(wf_sub(wf_sub(log_weight, log_scale), wf_add(below, above)), 0);
    m.cdf = wf_logsumexp(wf_sub(log_weight, below), 0);
    m.sf = wf_logsumexp(wf_sub(log_weight, above), 0);
    return m;
}

/* The quantile lies between those of the components; bisection in a loop finds it. */
static wf_t mixture_quantile(oracle *o, wf_t p, wf_t log_weight, wf_t mu, wf_t log_scale)
{
    wf_t log_p = wf_log(p), log_q = wf_log1p(wf_neg(p)), each = wf_add(mu, wf_mul(wf_exp(log_scale), wf_sub(log_p, log_q)));
    wf_loop *l = wf_loop_begin(o->g, 100, WF_KEEP_CARRY);
    wf_t low = wf_loop_carry(l, wf_neg(wf_max_over(wf_neg(each), 0))), high = wf_loop_carry(l, wf_max_over(each, 0)), middle = wf_scale(wf_add(low, high), 0.5);
    mixture m = mixture_at(middle, wf_loop_constant(l, log_weight), wf_loop_constant(l, mu), wf_loop_constant(l, log_scale));
    wf_t q = wf_loop_constant(l, log_q), by_cdf = wf_lt(m.cdf, wf_loop_constant(l, log_p)), by_sf = wf_lt(q, m.sf);
    wf_t below = wf_select(wf_lt(q, wf_const(wf_loop_body(l), log(0.5))), by_sf, by_cdf); /* the smaller of the two tails is the exact one */
    wf_loop_next(l, low, wf_select(below, middle, low));
    wf_loop_next(l, high, wf_select(below, high, middle));
    CHECK_INT(wf_loop_end(l), WF_OK);
    return wf_loop_final(l, high);
}

static void logistic_mixture(oracle *o)
{
    wf_t x = sample(o, "in.x"), p = sample(o, "in.p"), log_weight = wf_log_softmax(sample(o, "param.logits"), 0), mu = sample(o, "param.mu"), log_scale = sample(o, "param.log_scale");
    mixture m = mixture_at(x, log_weight, mu, log_scale);
    want(o, "out.log_pdf", m.pdf);
    want(o, "out.log_cdf", m.cdf);
    want(o, "out.log_sf", m.sf);
    want(o, "out.dlog_pdf_dx", wf_grad(m.pdf, x));
    want(o, "out.dlog_cdf_dx", wf_jvp(m.cdf, x, wf_const(o->g, 1)));
    want(o, "out.dlog_sf_dx", wf_grad(m.sf, x));
    want(o, "out.quantile", mixture_quantile(o, p, log_weight, mu, log_scale));
    want_loss(o, wf_neg(batch_mean(wf_add(m.pdf, wf_scale(wf_add(m.cdf, m.sf), 0.1)))));
}

/* Particles are picked by searching running sums of their weights: how many of these lie at or below a point. */
static void want_picks(oracle *o, const char *counts, const char *ancestors, wf_t sums, wf_t points, int n)
{
    wf_t picks = wf_search(sums, points);
    int d[4];
    wf_shape(points, d);
    if (ancestors) want(o, ancestors, picks);
    want(o, counts, wf_scatter_add(wf_full(o->g, 1, &d[0], 1), picks, n));
}

static void log_weights(oracle *o)
{
    wf_t x = sample(o, "in.log_weights"), top = wf_max_over(x, 0), none = wf_lt(top, wf_const(o->g, -1e300)), zero = wf_const(o->g, 0); /* a row of -inf only has no sum */
    wf_t w = wf_exp(wf_sub(x, wf_select(none, zero, top))), sum = wf_sum(w), safe = wf_select(none, wf_const(o->g, 1), sum);
    wf_t log_sum = wf_select(none, top, wf_add(top, wf_log(safe))), size = wf_sumsq(w);
    want(o, "out.log_sum_exp", log_sum);
    want(o, "out.log_mean_exp", wf_shift(log_sum, -log((double)size_of(o, "n"))));
    want(o, "out.normalised", wf_div(w, safe));
    want(o, "out.ess", wf_div(wf_square(sum), wf_select(none, wf_const(o->g, 1), size)));
}

static void resampling(oracle *o)
{
    if (wf_tensors_find(o->t, "in.log_weights")) { log_weights(o); return; }
    int n = size_of(o, "n"), left = size_of(o, "residual_draws");
    wf_t w = shared(o, "in.weights"), one = wf_full(o->g, 1, &n, 1), place = wf_cumsum(one, 0, 1, 0), sums = wf_cumsum(w, 0, 0, 0); /* place: 0, 1, ..., n - 1 */
    wf_t share = wf_scale(w, n), whole = wf_floor(share), rest = wf_sub(share, whole);
    want(o, "out.ess", wf_recip(wf_sumsq(w)));
    want_picks(o, "out.systematic_counts", "out.systematic_ancestors", sums, wf_scale(wf_add(place, shared(o, "in.u_systematic")), 1.0 / n), n);
    want_picks(o, "out.stratified_counts", "out.stratified_ancestors", sums, wf_scale(wf_add(place, shared(o, "in.u_stratified")), 1.0 / n), n);
    want_picks(o, "out.multinomial_counts", "out.multinomial_ancestors", sums, shared(o, "in.u_multinomial"), n);
    if (left) {
        want_picks(o, "out.residual_counts", NULL, wf_cumsum(wf_scale(rest, 1.0 / left), 0, 0, 0), shared(o, "in.u_residual"), n);
        wf_t *last = &o->wanted[o->wants - 1].node;
        *last = wf_add(*last, whole);
    } else want(o, "out.residual_counts", whole);
}

/* ---- the walk ---- */

static const struct { const char *name; void (*build)(oracle *o); } kinds[] = {
    { "mlp", mlp }, { "mlp_derivatives", mlp_derivatives }, { "vector_divergence", vector_divergence }, { "gru_sequence", gru_sequence },
    { "transformer_encoder_layer", transformer_encoder_layer }, { "attention", attention }, { "layernorm", layernorm }, { "softmax_logsumexp", softmax_logsumexp },
    { "coupling_affine", coupling_affine }, { "maf_made", maf_made }, { "logistic_regression", logistic_regression }, { "kalman", kalman }, { "rq_spline", rq_spline },
    { "logistic_mixture", logistic_mixture }, { "resampling", resampling },
};

/* Kinds that another test checks. It counts only if that file stands beside this one and mentions the kind. */
static const struct { const char *name, *test; } elsewhere[] = {
    { "optimizer", "test_training.c" }, { "natural_cubic_spline", "test_solvers.c" }, { "ode", "test_solvers.c" }, { "cde", "test_solvers.c" },
    { "distances", "test_measures.c" },
};

enum { KINDS = sizeof kinds / sizeof kinds[0], ELSEWHERE = sizeof elsewhere / sizeof elsewhere[0] };

static int mentions(const char *test, const char *kind)
{
    char path[512], line[4096];
    const char *slash = strrchr(__FILE__, '/');
    int found = 0;
    snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash + 1 - __FILE__) : 0, __FILE__, test);
    FILE *f = fopen(path, "r");
    while (f && !found && fgets(line, sizeof line, f)) found = strstr(line, kind) != NULL;
    if (f) fclose(f);
    return found;
}

static int is_checked_elsewhere(const char *kind)
{
    static int known[ELSEWHERE]; /* 1: yes, -1: no */
    for (int i = 0; i < ELSEWHERE; i++) {
        if (strcmp(elsewhere[i].name, kind)) continue;
        if (!known[i]) {
            known[i] = mentions(elsewhere[i].test, kind) ? 1 : -1;
            if (known[i] < 0) printf("  %s should check the kind %s, but does not exist or does not mention it\n", elsewhere[i].test, kind);
        }
        return known[i] > 0;
    }
    return 0;
}

static void find_longest(oracle *o)
{
    o->longest = 1;
    for (size_t i = 0; i < o->t->count; i++)
        for (int k = 0; k < o->t->entry[i].array.nd; k++)
            if (o->t->entry[i].array.shape[k] > o->longest) o->longest = o->t->entry[i].array.shape[k];
}

static void check_file(const char *file, int kind)
{
    for (int i = 0; i < WAYS; i++) {
        char path[512];
        oracle o;
        memset(&o, 0, sizeof o);
        snprintf(path, sizeof path, "%s/reference/oracle/%s", wf_test_shared(), file);
        o.file = file;
        o.way = &ways[i];
        o.A = wf_arena_new(NULL);
        o.t = wf_tensors_read(o.A, path);
        if (!o.t) { complain(&o, "cannot be read:", wf_arena_report(o.A)->text); wf_arena_free(o.A); return; }
        if (ways[i].type == WF_F32 && !wf_tensors_about(o.t, "binary32_noise")) { wf_arena_free(o.A); continue; } /* no scale for a tolerance */
        o.accuracy = about(&o, "accuracy");
        o.noise = ways[i].type == WF_F32 ? about(&o, "binary32_noise") : 0;
        find_longest(&o);
        o.P = wf_params_new(o.A, 1, ways[i].type);
        o.g = wf_graph_new(o.A, o.P);
        if (strcmp(wf_tensors_about(o.t, "kind"), kinds[kind].name)) complain(&o, "cases.txt and the file disagree about the kind", NULL);
        kinds[kind].build(&o);
        if (!o.batch) o.batch = 1; /* everything is shared */
        run_all(&o);
        wf_arena_free(o.A);
    }
}

static int unchecked_files;
static char unchecked_kinds[1024];

WF_TEST(every_file_of_the_reference)
{
    char path[512], file[256], kind[128];
    int checked = 0, others = 0;
    if (!wf_test_shared()) SKIP("no reference cases; set WF_SHARED");
    snprintf(path, sizeof path, "%s/reference/oracle/cases.txt", wf_test_shared());
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    while (f && fscanf(f, "%255s %127s", file, kind) == 2) {
        int k = 0;
        while (k < KINDS && strcmp(kinds[k].name, kind)) k++;
        if (k < KINDS) { check_file(file, k); checked++; }
        else if (is_checked_elsewhere(kind)) others++;
        else {
            unchecked_files++;
            if (!strstr(unchecked_kinds, kind)) snprintf(unchecked_kinds + strlen(unchecked_kinds), sizeof unchecked_kinds - strlen(unchecked_kinds), " %s", kind);
        }
    }
    if (f) fclose(f);
    CHECK(checked > 0);
    printf("  %d files checked in up to %d ways (worst error over tolerance: f64 %.2g, f32 %.2g), %d by other tests, %d by none\n", checked, (int)WAYS, worst_f64, worst_f32, others, unchecked_files);
}

WF_TEST(kinds_that_nothing_checks)
{
    char why[1200];
    if (!unchecked_files) return;
    snprintf(why, sizeof why, "%d files of kinds that no test knows:%s", unchecked_files, unchecked_kinds);
    SKIP(why);
}

WF_MAIN_CASES(WF_CASE(every_file_of_the_reference), WF_CASE(kinds_that_nothing_checks))
