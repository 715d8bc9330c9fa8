/* Conservation laws: the equations themselves to rounding, mixtures of logistics, drawing, transport, training, misuse. */
#define WF_KEEP_CONSERVATION
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"
#include "wf_pinwheel.h"

// region: a density, its drift, and what they conserve
/* A chain in two dimensions with random parameters. At every point and time: d rho / dt + div(rho u) = 0, to rounding, though nothing was trained or solved. */
WF_TEST(a_density_its_drift_and_what_they_conserve)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, wf_params_new(A, 1, WF_F64));
    wf_t x = wf_input(g, "x", 2), t = wf_input(g, "t", 1);
    wf_law_desc law = { .dim = 2, .kind = WF_LAW_CHAIN, .modes = 4 };
    wf_law_values at = wf_law_at(x, t, "law", &law);

    wf_t rho = wf_exp(at.log_density), flux = wf_mul(rho, at.drift);
    wf_t gained = wf_jvp(rho, t, wf_const(g, 1)), lost = wf_divergence(flux, x);

    wf_plan *plan = wf_compile(A, &(wf_plan_desc){ .out = { gained, lost }, .type = WF_F64 });
    wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
    double points[3][2] = { { 0.3, -0.5 }, { -2, 1 }, { 4, 4 } }, times[3] = { 0.1, 0.5, 1 }, in[3], out[3];
    wf_feed feeds[] = { wf_in(x, points, 0), wf_in(t, times, 0), wf_out(gained, in, 0), wf_out(lost, out, 0) };
    CHECK_INT(wf_run(plan, ws, feeds, 4, 3), WF_OK);
    for (int i = 0; i < 3; i++) CHECK_CLOSE(in[i] + out[i], 0, 1e-14); /* densities of order 1: a few roundings */
    // end region
    for (int i = 0; i < 3; i++) CHECK(fabs(in[i]) > 1e-6); /* something moves */
    wf_arena_free(A);
}


/* ---- helpers ---- */

enum { POINTS = 24, WANTS = 8 };

typedef struct scene { wf_arena *A; wf_graph *g; wf_params *P; wf_t x, t; wf_law_desc law; wf_law_values at; } scene;

static uint64_t scatter = 1;
static double pull(double low, double high) { return low + (high - low) * wf_uniform_at(99, scatter++, 0, 0, 7); }

static scene scene_new(wf_law_desc law)
{
    scene s;
    s.A = wf_arena_new(NULL);
    s.P = wf_params_new(s.A, 5, WF_F64);
    s.g = wf_graph_new(s.A, s.P);
    s.law = law;
    s.x = wf_input(s.g, "x", law.dim);
    s.t = wf_input(s.g, "t", 1);
    s.at = wf_law_at(s.x, s.t, "law", &law);
    CHECK_STR_HAS(wf_arena_report(s.A)->code < 0 ? wf_arena_report(s.A)->text : "ok", "ok");
    return s;
}

/* Parameters that start at zero are given values. */
static void scene_fill(scene *s, const char *name)
{
    int at = wf_params_find(s->P, name);
    if (at < 0) return;
    size_t n = wf_params_entry(s->P, at)->count;
    double v[64];
    for (size_t i = 0; i < n && i < 64; i++) v[i] = pull(-1, 1);
    wf_params_set(s->P, name, v, n);
}

/* Run on n points: out[k] gets want[k], `size` numbers for each point. */
static void scene_run(scene *s, const double *x, const double *t, size_t n, const wf_t *want, double **out, int wants)
{
    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    for (int i = 0; i < wants; i++) d.out[i] = want[i];
    d.type = WF_F64;
    wf_plan *plan = wf_compile(s->A, &d);
    CHECK_STR_HAS(plan ? "ok" : wf_arena_report(s->A)->text, "ok");
    wf_ws *ws = wf_ws_new(s->A, plan, 1, NULL);
    wf_feed f[WANTS + 2];
    f[0] = wf_in(s->x, x, 0);
    f[1] = wf_in(s->t, t, 0);
    for (int i = 0; i < wants; i++) f[i + 2] = wf_out(want[i], out[i], 0);
    CHECK_INT(wf_run(plan, ws, f, wants + 2, n), WF_OK);
}

static void scene_points(const scene *s, double *x, double *t, double reach)
{
    for (int i = 0; i < POINTS * s->law.dim; i++) x[i] = pull(-reach, reach);
    for (int i = 0; i < POINTS; i++) t[i] = pull(0, 1);
}

static wf_t coordinate(wf_t v, int i) { return wf_sum(wf_slice(v, 0, i, 1)); }
static wf_t partial(scene *s, wf_t y, int i) { return wf_sum(wf_slice(wf_grad(y, s->x), 0, i, 1)); }
static wf_t dt_of(scene *s, wf_t y) { return wf_jvp(y, s->t, wf_const(s->g, 1)); }

/* ---- T1, T2, T12 and the reference cases: mixtures of logistics ---- */

/* One mixture with constants, evaluated at inputs. */
typedef struct line { wf_arena *A; wf_graph *g; wf_t x; wf_logistics m; wf_logistics_at at; } line;

static line line_new(const double *c, const double *m, const double *s, int modes)
{
    line l;
    int d[2] = { 1, modes };
    l.A = wf_arena_new(NULL);
    l.g = wf_graph_new(l.A, NULL);
    l.x = wf_input(l.g, "x", 1);
    l.m.log_weight = wf_const_array(l.g, 2, d, c);
    l.m.mean = wf_const_array(l.g, 2, d, m);
    l.m.log_steep = wf_const_array(l.g, 2, d, s);
    l.at = wf_logistics_eval(l.m, l.x);
    return l;
}

static void line_run(line *l, const double *x, size_t n, const wf_t *want, double **out, int wants)
{
    wf_plan_desc d;
    wf_feed f[WANTS + 1];
    memset(&d, 0, sizeof d);
    for (int i = 0; i < wants; i++) d.out[i] = want[i];
    d.type = WF_F64;
    wf_plan *plan = wf_compile(l->A, &d);
    wf_ws *ws = wf_ws_new(l->A, plan, 1, NULL);
    f[0] = wf_in(l->x, x, 0);
    for (int i = 0; i < wants; i++) f[i + 1] = wf_out(want[i], out[i], 0);
    CHECK_INT(wf_run(plan, ws, f, wants + 1, n), WF_OK);
}

static const double mix_c[3] = { -1.6094379124341003, -0.6931471805599453, -1.2039728043259361 }, mix_m[3] = { -1, 0.5, 2 }, mix_s[3] = { 0.3, 1.6, -0.5 }; /* weights 0.2, 0.5, 0.3 */

WF_TEST(T2_masses_and_densities_of_mixtures)
{
    enum { N = 400 };
    static double x[N], f[N], below[N], above[N], slope[N], score[N], score_ad[N];
    line l = line_new(mix_c, mix_m, mix_s, 3);
    for (int i = 0; i < N; i++) x[i] = i < N - 4 ? -12 + 24.0 * i / N : (i % 2 ? 1000 : -1000) * (i < N - 2 ? 1 : 0.2);
    wf_t want[6] = { l.at.log_density, l.at.log_below, l.at.log_above, wf_jvp(wf_exp(l.at.log_below), l.x, wf_const(l.g, 1)), l.at.score, wf_grad(l.at.log_density, l.x) };
    double *out[6] = { f, below, above, slope, score, score_ad };
    line_run(&l, x, N, want, out, 6);
    for (int i = 0; i < N; i++) {
        CHECK(isfinite(f[i]) && isfinite(below[i]) && isfinite(above[i]));
        CHECK_CLOSE(score[i], score_ad[i], 1e-12 * (1 + fabs(score[i]))); /* the same sum in another order */
        if (i >= N - 4) continue;
        CHECK_CLOSE(slope[i], exp(f[i]), 1e-13 * (1 + exp(f[i])));
        CHECK_CLOSE(exp(below[i]) + exp(above[i]), 1, 1e-15); /* half a rounding each */
    }
    wf_arena_free(l.A);
}

WF_TEST(T12_quantiles_come_back)
{
    static const double logits[] = { -69.07755278982137, -40, -16.11809565, -5, -1, -1e-3, 0, 0.3, 2, 7, 16.118095550958316 }; /* shares 1e-30 ... 1 - 1e-7 */
    enum { N = sizeof logits / sizeof *logits };
    double x[N], below[N], above[N], *out[2] = { below, above };
    line l = line_new(mix_c, mix_m, mix_s, 3);
    for (int i = 0; i < N; i++) x[i] = wf_logistics_quantile(mix_c, mix_m, mix_s, 3, logits[i]);
    wf_t want[2] = { l.at.log_below, l.at.log_above };
    line_run(&l, x, N, want, out, 2);
    for (int i = 0; i < N; i++) CHECK_CLOSE(below[i] - above[i], logits[i], 4 * 2.3e-16 * (fabs(logits[i]) + exp(1.6) * (1 + fabs(x[i])))); /* four roundings of the logit, and of x times the steepest slope */
    double far[2] = { 0, 0 }, apart[2] = { -50, 50 }, steep[2] = { 3, 3 };
    CHECK_CLOSE(wf_logistics_quantile(far, apart, steep, 2, -0.5), -50 - 0.0254, 0.1); /* a gap with no mass between two modes: Newton is of no use there */
    double bad[1] = { NAN };
    CHECK(isnan(wf_logistics_quantile(bad, mix_m, mix_s, 1, 0)) && isnan(wf_logistics_quantile(mix_c, mix_m, mix_s, 0, 0)));
    wf_arena_free(l.A);
}

/* The reference cases: 60-digit values of densities, masses and quantiles. */
WF_TEST(mixtures_agree_with_the_reference)
{
    static const char *const name[3] = { "random_0", "random_1", "extreme" };
    if (!wf_test_shared()) SKIP("no reference files");
    for (int k = 0; k < 3; k++) {
        char path[600];
        wf_arena *A = wf_arena_new(NULL);
        snprintf(path, sizeof path, "%s/reference/oracle/logistic_mixture_%s.safetensors", wf_test_shared(), name[k]);
        wf_tensors *t = wf_tensors_read(A, path);
        CHECK(t != NULL);
        if (!t) continue;
        const wf_array *logits = wf_tensors_find(t, "param.logits"), *xa = wf_tensors_find(t, "in.x"), *pa = wf_tensors_find(t, "in.p");
        size_t L = logits->shape[logits->nd - 1], rows = logits->count / L, per = xa->count / rows, pers = pa->count / rows;
        const double *lw = logits->data, *mu = wf_tensors_find(t, "param.mu")->data, *ls = wf_tensors_find(t, "param.log_scale")->data, *x = xa->data, *p = pa->data;
        const double *pdf = wf_tensors_find(t, "out.log_pdf")->data, *cdf = wf_tensors_find(t, "out.log_cdf")->data, *sf = wf_tensors_find(t, "out.log_sf")->data, *q = wf_tensors_find(t, "out.quantile")->data;
        for (size_t r = 0; r < rows; r++) {
            double c[64], s[64], total = 0, f[64], b[64], a[64], *out[3] = { f, b, a };
            for (size_t i = 0; i < L; i++) total += exp(lw[r * L + i] - lw[r * L]);
            for (size_t i = 0; i < L; i++) { c[i] = lw[r * L + i] - lw[r * L] - log(total); s[i] = -ls[r * L + i]; }
            line l = line_new(c, mu + r * L, s, (int)L);
            wf_t want[3] = { l.at.log_density, l.at.log_below, l.at.log_above };
            line_run(&l, x + r * per, per, want, out, 3);
            for (size_t i = 0; i < per; i++) {
                double tol = 1e-12; /* |z| up to 1000: exp(-log_scale) and z carry a few roundings each */
                CHECK_CLOSE(f[i], pdf[r * per + i], tol * (1 + fabs(pdf[r * per + i])));
                CHECK_CLOSE(b[i], cdf[r * per + i], tol * (1 + fabs(cdf[r * per + i])));
                CHECK_CLOSE(a[i], sf[r * per + i], tol * (1 + fabs(sf[r * per + i])));
            }
            for (size_t i = 0; i < pers; i++) {
                double share = p[r * pers + i], logit = log(share) - log1p(-share), got = wf_logistics_quantile(c, mu + r * L, s, (int)L, logit);
                CHECK_CLOSE(got, q[r * pers + i], 1e-9 * (1 + fabs(q[r * pers + i]))); /* a gap between modes makes a quantile as uncertain as the gap is empty */
            }
            wf_arena_free(l.A);
        }
        wf_arena_free(A);
    }
}

/* The trapezoidal rule is exact to rounding for a function that is analytic in a strip and falls off: pi / steepness wide, and steps of 1/8. */
WF_TEST(T1_the_mass_is_one)
{
    enum { N = 641 };
    for (int kind = 0; kind < 2; kind++)
        for (int dim = 1; dim <= 2; dim++) {
            wf_arena *A = wf_arena_new(NULL);
            wf_law *law = wf_law_new(A, &(wf_law_desc){ .dim = dim, .kind = kind, .modes = 4, .logistics = 2, .low = -0.6, .high = 1.3, .type = WF_F64, .seed = 3, .threads = 1 });
            size_t n = dim == 1 ? N : (size_t)N * N;
            double *x = malloc(n * 2 * sizeof *x), *t = malloc(n * sizeof *t), *f = malloc(n * sizeof *f), sum = 0;
            for (size_t i = 0; i < n; i++) {
                t[i] = 0.3;
                x[i * (size_t)dim] = -40 + (double)(i / (dim == 1 ? 1 : N)) / 8;
                if (dim == 2) x[i * 2 + 1] = -40 + (double)(i % N) / 8;
            }
            CHECK_INT(wf_law_log_density(law, x, t, n, f), WF_OK);
            for (size_t i = 0; i < n; i++) sum += exp(f[i]) / (dim == 1 ? 8 : 64);
            CHECK_CLOSE(sum, 1, 1e-10);
            free(x), free(t), free(f);
            wf_arena_free(A);
        }
}

/* ---- T3 to T10: the equations ---- */

/* The construction of the paper, equations 12 and 24, word by word: j = b - da/dt. */
static void literal(scene *s, wf_t *b, wf_t *j, wf_t *naive, wf_t *terms)
{
    int D = s->law.dim;
    wf_t P[9], S[10], dP[9];
    P[0] = wf_const(s->g, 1);
    dP[0] = wf_const(s->g, 0);
    S[D] = wf_const(s->g, 1);
    for (int i = 0; i < D; i++) { P[i + 1] = wf_mul(P[i], wf_exp(coordinate(s->at.each, i))); dP[i + 1] = dt_of(s, P[i + 1]); }
    for (int i = D - 1; i >= 0; i--) { wf_t e = wf_sigmoid(coordinate(s->x, i)); S[i] = wf_mul(S[i + 1], wf_mul(e, wf_sigmoid(wf_neg(coordinate(s->x, i))))); }
    for (int i = 0; i < D; i++) {
        wf_t F = wf_exp(coordinate(s->at.below, i)), dF = dt_of(s, F), e = wf_sigmoid(coordinate(s->x, i));
        if (i == D - 1) b[i] = wf_mul(e, dP[i]);
        else if (i == 0) b[i] = wf_neg(wf_mul(S[1], dF));
        else b[i] = wf_sub(wf_mul(S[i + 1], wf_mul(wf_sub(e, F), dP[i])), wf_mul(S[i + 1], wf_mul(dF, P[i])));
        j[i] = b[i];
        terms[i] = wf_mul(S[i + 1], wf_add(wf_abs(dP[i]), wf_mul(F, P[i]))); /* what is added up: dF/dt is a sum of parts of F, of either sign */
        if (i == D - 1) { *naive = wf_neg(dt_of(s, wf_mul(F, P[i]))); j[i] = wf_add(j[i], *naive); }
    }
}

WF_TEST(T3_T4_one_formula_for_the_flux_and_nothing_created)
{
    for (int D = 1; D <= 5; D++) {
        scene s = scene_new((wf_law_desc){ .dim = D, .kind = WF_LAW_CHAIN, .modes = 3, .reference = WF_REFERENCE_PAPER, .moving_weights = D % 2, .high = 1.5 });
        wf_t b[8], j[8], naive, terms[8], rho = wf_exp(s.at.log_density), div = wf_const(s.g, 0), size = div;
        double x[POINTS * 8], t[POINTS], one[POINTS * 8], two[POINTS * 8], term[POINTS * 8], d[POINTS], a[POINTS], *out[5] = { one, two, term, d, a };
        literal(&s, b, j, &naive, terms);
        for (int i = 0; i < D; i++) {
            wf_t di = partial(&s, b[i], i);
            div = wf_add(div, di);
            size = wf_add(size, wf_abs(di));
        }
        wf_t want[5] = { wf_stack(j, D), wf_mul(rho, s.at.drift), wf_stack(terms, D), div, size };
        scene_points(&s, x, t, 2.5);
        scene_run(&s, x, t, POINTS, want, out, D > 1 ? 5 : 3);
        for (int k = 0; k < POINTS; k++) {
            for (int i = 0; i < D; i++) CHECK_CLOSE(two[k * D + i], one[k * D + i], 1e-13 * term[k * D + i]);
            if (D > 1) { CHECK(a[k] > 0); CHECK_CLOSE(d[k], 0, 1e-12 * a[k]); }
        }
        wf_arena_free(s.A);
    }
}

/* Residuals of continuity and of Fokker-Planck, over the sum of the absolute values of the terms. */
static double residual(scene *s, double g)
{
    int D = s->law.dim;
    wf_t rho = wf_exp(s->at.log_density), u = wf_add(s->at.drift, wf_scale(s->at.score, 0.5 * g * g)), sum = dt_of(s, rho), size = wf_abs(sum);
    for (int i = 0; i < D; i++) {
        wf_t in = wf_mul(rho, coordinate(u, i)), di = partial(s, in, i);
        sum = wf_add(sum, di);
        size = wf_add(size, wf_abs(di));
        if (!(g > 0)) continue;
        wf_t dd = wf_scale(partial(s, partial(s, rho, i), i), 0.5 * g * g);
        sum = wf_sub(sum, dd);
        size = wf_add(size, wf_abs(dd));
    }
    double x[POINTS * 8], t[POINTS], r[POINTS], a[POINTS], *out[2] = { r, a }, worst = 0;
    wf_t want[2] = { sum, size };
    scene_points(s, x, t, 3);
    scene_run(s, x, t, POINTS, want, out, 2);
    for (int k = 0; k < POINTS; k++) worst = fmax(worst, isfinite(r[k]) ? fabs(r[k]) / a[k] : 1);
    return worst;
}

WF_TEST(T5_T6_continuity_and_Fokker_Planck_to_rounding)
{
    for (int reference = 0; reference < 3; reference++)
        for (int D = 1; D <= 5; D++)
            for (int noise = 0; noise < 2; noise++) {
                scene s = scene_new((wf_law_desc){ .dim = D, .kind = WF_LAW_CHAIN, .modes = 3, .width = 20, .layers = 1 + D % 2, .waves = D % 3, .wave_high = 0.3, .reference = reference, .reference_modes = 3, .moving_weights = D % 2, .swirl = D == 2 || D == 3 ? 6 : 0, .high = 2 });
                scene_fill(&s, "law.swirl.size");
                double worst = residual(&s, noise ? 0.7 : 0);
                if (getenv("WF_VERBOSE")) printf("  reference %d, D %d, g %g: %.2e\n", reference, D, noise ? 0.7 : 0, worst);
                CHECK(worst <= 1e-12);
                wf_arena_free(s.A);
            }
    for (int D = 1; D <= 3; D++) {
        scene s = scene_new((wf_law_desc){ .dim = D, .modes = 3, .logistics = 2, .swirl = D == 2 ? 6 : 0 });
        scene_fill(&s, "law.swirl.size");
        scene_fill(&s, "law.share");
        CHECK(residual(&s, 0) <= 1e-12);
        CHECK(residual(&s, 0.7) <= 1e-12);
        wf_arena_free(s.A);
    }
}

/* Shares that move are the one thing that a mixture cannot do: what is missing is exactly sum of d gamma / dt rho_k. */
WF_TEST(T7_moving_shares_miss_exactly_this)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    scene s = { .A = A, .g = g, .x = wf_input(g, "x", 1), .t = wf_input(g, "t", 1), .law = { .dim = 1 } };
    int three[2] = { 3, 1 }, row = 3;
    double way[3] = { 1, -0.5, 2 }, from[3] = { -1, 0, 1 };
    wf_t turn = wf_mul(wf_const_array(g, 1, &row, way), s.t), gamma = wf_softmax(turn, 0);
    wf_logistics m = { wf_full(g, 2, three, 0), wf_add(wf_const_array(g, 2, three, from), wf_mul(wf_const_array(g, 2, three, way), wf_sin(s.t))), wf_add(wf_const_array(g, 2, three, way), wf_scale(s.t, 0.3)) };
    wf_t y[3] = { m.log_weight, m.mean, m.log_steep }, dy[3], one = wf_full(g, 1, (int[]){ 1 }, 1);
    CHECK_INT(wf_jvp_list(&s.t, &one, 1, y, 3, dy), WF_OK);
    wf_logistics dm = { dy[0], dy[1], dy[2] };
    wf_logistics_at at = wf_logistics_eval(m, wf_bcast(s.x, 1, &row));
    wf_t each = wf_exp(at.log_density), rho = wf_dot(gamma, each), flux = wf_neg(wf_dot(gamma, wf_mul(each, wf_logistics_shift(m, dm, at))));
    wf_t want[2] = { wf_add(dt_of(&s, rho), wf_sum(wf_grad(flux, s.x))), wf_dot(wf_jvp(gamma, s.t, one), each) };
    double x[POINTS], t[POINTS], a[POINTS], b[POINTS], *out[2] = { a, b };
    scene_points(&s, x, t, 3);
    scene_run(&s, x, t, POINTS, want, out, 2);
    for (int i = 0; i < POINTS; i++) { CHECK_CLOSE(a[i], b[i], 1e-14); CHECK(fabs(b[i]) > 1e-6); }
    wf_arena_free(A);
}

/* T8 and the formulas of T16: one logistic is shifted and stretched; the energy of the straight way is the square of the transport distance. */
WF_TEST(T8_T16_one_logistic_is_shifted_and_stretched)
{
    enum { N = 4001 };
    static double x[N], t[N], u[N], f[N], wantu[N];
    double *out[3] = { u, f, wantu }, energy = 0, mu0 = -1, mu1 = 2, r0 = 0.4, r1 = 1.1;
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    scene s = { .A = A, .g = g, .x = wf_input(g, "x", 1), .t = wf_input(g, "t", 1), .law = { .dim = 1 } };
    int one[2] = { 1, 1 };
    wf_t mean = wf_shift(wf_scale(s.t, mu1 - mu0), mu0), scale = wf_shift(wf_scale(s.t, r1 - r0), r0), unit = wf_full(g, 1, one, 1);
    wf_logistics m = { wf_full(g, 2, one, 0), wf_reshape(mean, 2, one), wf_reshape(wf_neg(wf_log(scale)), 2, one) };
    wf_t y[3] = { m.log_weight, m.mean, m.log_steep }, dy[3];
    CHECK_INT(wf_jvp_list(&s.t, &unit, 1, y, 3, dy), WF_OK);
    wf_logistics dm = { dy[0], dy[1], dy[2] };
    wf_logistics_at at = wf_logistics_eval(m, s.x);
    wf_t affine = wf_shift(wf_scale(wf_div(wf_sub(s.x, mean), scale), r1 - r0), mu1 - mu0); /* mu' - s'/s (x - mu), and -s'/s = r'/r for r = 1/s */
    wf_t want[3] = { wf_neg(wf_logistics_shift(m, dm, at)), at.log_density, affine };
    for (int i = 0; i < N; i++) { x[i] = -50 + 0.025 * i; t[i] = 0.35; }
    scene_run(&s, x, t, N, want, out, 3);
    for (int i = 0; i < N; i++) {
        CHECK_CLOSE(u[i], wantu[i], 1e-13 * (1 + fabs(wantu[i])));
        energy += 0.025 * exp(f[i]) * u[i] * u[i];
    }
    CHECK_CLOSE(energy, (mu1 - mu0) * (mu1 - mu0) + (r1 - r0) * (r1 - r0) * 9.869604401089358 / 3, 1e-10); /* trapezoidal rule: exact for this */
    wf_arena_free(A);
}

WF_TEST(T9_the_flux_vanishes_far_out)
{
    for (int reference = 0; reference < 3; reference++) {
        scene s = scene_new((wf_law_desc){ .dim = 3, .kind = WF_LAW_CHAIN, .modes = 3, .reference = reference, .low = -0.5, .high = 1.5 });
        wf_t b[8], j[8], naive, terms[8], rho = wf_exp(s.at.log_density), P = wf_exp(wf_add(coordinate(s.at.each, 0), coordinate(s.at.each, 1)));
        literal(&s, b, j, &naive, terms);
        wf_t want[4] = { wf_mul(rho, s.at.drift), naive, dt_of(&s, P), rho };
        enum { RAYS = 12 };
        double x[RAYS * 3 * 3], t[RAYS * 3], flux[RAYS * 9], n[RAYS * 3], dp[RAYS * 3], r[RAYS * 3], *out[4] = { flux, n, dp, r };
        for (int k = 0; k < RAYS; k++)
            for (int far = 0; far < 3; far++) { /* 0.5, 40, 80 away */
                double way[3] = { pull(-1, 1), pull(-1, 1), pull(-1, 1) };
                t[k * 3 + far] = 0.4;
                for (int i = 0; i < 3; i++) x[(k * 3 + far) * 3 + i] = k < 6 ? (i == k / 2 ? (k % 2 ? 1 : -1) * (far ? 40.0 * far : 0.5) : 0.3) : way[i] / sqrt(way[0] * way[0] + way[1] * way[1] + way[2] * way[2]) * (far ? 40.0 * far : 0.5);
            }
        scene_run(&s, x, t, RAYS * 3, want, out, 4);
        for (int k = 0; k < RAYS; k++)
            for (int i = 0; i < 3; i++) {
                CHECK(fabs(flux[(k * 3 + 1) * 3 + i]) < 1e-7);  /* the background falls as exp(-0.6 x): 1e-3 e^-24 */
                CHECK(fabs(flux[(k * 3 + 2) * 3 + i]) < 1e-15);
            }
        CHECK(fabs(n[5 * 3 + 2]) > 1e-4); /* without the cancelling field: a column of flux along +x3 */
        CHECK_CLOSE(n[5 * 3 + 2], -dp[5 * 3 + 2], 1e-12);
        wf_arena_free(s.A);
    }
}

WF_TEST(T10_a_swirl_moves_no_mass)
{
    for (int D = 2; D <= 4; D++)
        for (int kind = 0; kind < 2; kind++) {
            scene s = scene_new((wf_law_desc){ .dim = D, .kind = kind, .modes = 3, .swirl = 8, .high = 2 });
            wf_law_desc without = s.law;
            scene_fill(&s, "law.swirl.size");
            without.swirl = 0;
            wf_t plain = wf_law_at(s.x, s.t, "law", &without).drift, v = wf_mul(wf_exp(s.at.log_density), wf_sub(s.at.drift, plain)), div = wf_const(s.g, 0), size = div;
            for (int i = 0; i < D; i++) {
                wf_t di = partial(&s, coordinate(v, i), i);
                div = wf_add(div, di);
                size = wf_add(size, wf_abs(di));
            }
            double x[POINTS * 8], t[POINTS], r[POINTS], a[POINTS], *out[2] = { r, a };
            wf_t want[2] = { div, size };
            scene_points(&s, x, t, 2);
            scene_run(&s, x, t, POINTS, want, out, 2);
            for (int k = 0; k < POINTS; k++) { CHECK(a[k] > 1e-12); CHECK_CLOSE(r[k], 0, 1e-10 * a[k]); } /* the difference of two drifts has lost some digits */
            wf_arena_free(s.A);
        }
}

WF_TEST(asymmetry_is_that_of_the_Jacobian)
{
    static const double probe[3] = { 0.4, -1.1, 0.7 };
    for (int chain = 0; chain < 2; chain++) {
        scene s = scene_new((wf_law_desc){ .dim = 3, .kind = chain ? WF_LAW_CHAIN : WF_LAW_FACTORISED, .modes = chain ? 3 : 1, .background = chain ? 0 : -1, .high = 2 });
        int three = 3;
        double x[POINTS * 3], t[POINTS], a[POINTS], j[POINTS * 9], *out[2] = { a, j };
        wf_t want[2] = { wf_law_asymmetry(s.at.drift, s.x, wf_const_array(s.g, 1, &three, probe)), wf_jacobian(s.at.drift, s.x) };
        for (int i = 0; i < POINTS * 3; i++) x[i] = 2 * wf_uniform_at(98, (uint64_t)i, 0, 0, 7) - 1;
        for (int i = 0; i < POINTS; i++) t[i] = (i + 0.5) / POINTS;
        scene_run(&s, x, t, POINTS, want, out, 2);
        for (int k = 0; k < POINTS; k++) {
            double sum = 0, size = 0;
            for (int r = 0; r < 3; r++) {
                double row = 0;
                for (int c = 0; c < 3; c++) {
                    row += (j[9 * k + 3 * r + c] - j[9 * k + 3 * c + r]) * probe[c];
                    size += j[9 * k + 3 * r + c] * j[9 * k + 3 * r + c];
                }
                sum += row * row;
            }
            CHECK(size > 1e-6);
            CHECK_CLOSE(a[k], sum, 1e-12 * size); /* rounding of sums of squares */
            CHECK(chain ? sum > 1e-9 * size : sum < 1e-20 * size + 1e-30); /* one shifted and stretched logistic moves along a gradient, a chain does not */
        }
        wf_arena_free(s.A);
    }
}


/* ---- T11, T13, T14: drawing and carrying ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Kolmogorov's distance of n numbers from uniform, times the root of n: above 1.95 once in a thousand. Sorts. */
static double kolmogorov(double *u, size_t n)
{
    double worst = 0;
    qsort(u, n, sizeof *u, ascending);
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fmax(fabs(u[i] - (double)i / (double)n), fabs(u[i] - (double)(i + 1) / (double)n)));
    return worst * sqrt((double)n);
}

WF_TEST(T11_draws_have_uniform_masses)
{
    enum { N = 100000, D = 3 };
    for (int kind = 0; kind < 2; kind++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_graph *g = wf_graph_new(A, wf_params_new(A, 2, WF_F64));
        wf_law_desc law = { .dim = D, .kind = kind, .modes = kind ? 5 : 1, .logistics = 4, .high = 2, .background = kind ? 0.05 : -1 };
        wf_t t = wf_input(g, "t", 1), x = wf_law_draw(g, t, (wf_t){ g, 0 }, "law", &law, 1, NULL), mass[D], each = wf_law_at(x, t, "law", &law).below;
        if (!kind) for (int i = 0; i < D; i++) { /* one component: every coordinate by itself, integrated here */
            wf_law_values v = wf_law_at(x, t, "law", &law);
            mass[i] = wf_slice(v.score, 0, i, 1);
        }
        wf_t want = kind ? wf_exp(each) : wf_concat(mass, D, 0);
        wf_plan *plan = wf_compile(A, &(wf_plan_desc){ .out = { want }, .type = WF_F64 });
        wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
        double *time = malloc(N * sizeof *time), *out = malloc(N * D * sizeof *out), *u = malloc(N * sizeof *u);
        for (int i = 0; i < N; i++) time[i] = (i % 100) / 100.0;
        wf_feed f[2] = { wf_in(t, time, 0), wf_out(want, out, 0) };
        wf_ws_noise(ws, 3, 0);
        CHECK_INT(wf_run(plan, ws, f, 2, N), WF_OK);
        for (int i = 0; i < D; i++) {
            double sum = 0, square = 0;
            for (int k = 0; k < N; k++) { u[k] = out[k * D + i]; sum += u[k] / N; square += u[k] * u[k] / N; }
            if (kind) CHECK(kolmogorov(u, N) < 1.95);
            else CHECK(fabs(sum) < 4 * sqrt(square / N)); /* the mean of the score is zero, for draws from the density and no others */
        }
        free(time), free(out), free(u);
        wf_arena_free(A);
    }
}

/* Mass below x of coordinate j of a steady mixture, from its parameters. */
static double mixture_mass(wf_law *law, int j, double x)
{
    const wf_law_desc *d = wf_law_about(law);
    double share[3], mean[18], steep[18], weight[18], total = 0, mass = 0, half = 0.5 * (d->high - d->low), middle = 0.5 * (d->high + d->low);
    size_t n = (size_t)(d->modes * d->dim * d->logistics);
    CHECK_INT(wf_params_get(wf_law_params(law), "law.share", share, 3), WF_OK);
    CHECK_INT(wf_params_get(wf_law_params(law), "law.mean", mean, n), WF_OK);
    CHECK_INT(wf_params_get(wf_law_params(law), "law.steep", steep, n), WF_OK);
    CHECK_INT(wf_params_get(wf_law_params(law), "law.weight", weight, n), WF_OK);
    for (int k = 0; k < d->modes; k++) total += exp(share[k]);
    for (int k = 0; k < d->modes; k++) {
        double sum = 0, part = 0;
        for (int l = 0; l < d->logistics; l++) {
            int at = (k * d->dim + j) * d->logistics + l;
            double z = exp(half * tanh((steep[at] - middle) / half) + middle) * (x - mean[at]);
            sum += exp(weight[at]);
            part += exp(weight[at]) / (1 + exp(-z));
        }
        mass += exp(share[k]) / total * part / sum;
    }
    return (1 - d->background) * mass + d->background / (1 + exp(-d->background_steep * x));
}

WF_TEST(T11_draws_of_a_mixture_have_its_masses)
{
    enum { N = 100000, D = 3 };
    static const double share[3] = { 0.2, -0.5, 0.7 };
    wf_arena *A = wf_arena_new(NULL);
    wf_law *law = wf_law_new(A, &(wf_law_desc){ .dim = D, .modes = 3, .logistics = 2, .steady = 1, .high = 2, .background = 0.05, .type = WF_F64, .seed = 5, .threads = 1 });
    double *x = malloc(N * D * sizeof *x), *u = malloc(N * sizeof *u);
    CHECK_INT(wf_params_set(wf_law_params(law), "law.share", share, 3), WF_OK);
    CHECK_INT(wf_law_sample(law, NULL, N, 3, x), WF_OK);
    for (int j = 0; j < D; j++) {
        for (int i = 0; i < N; i++) u[i] = mixture_mass(law, j, x[i * D + j]);
        CHECK(kolmogorov(u, N) < 1.95); /* one in a thousand, as above */
    }
    free(x), free(u);
    wf_arena_free(A);
}


static void falling(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user)
{
    wf_law_values v = wf_law_at(y[0], t, "law", (const wf_law_desc *)user);
    dy[0] = v.drift;
    dy[1] = wf_reshape(wf_divergence(v.drift, y[0]), 1, (int[]){ 1 });
    (void)with;
}

/* Along a path of dx/dt = u the density falls by the divergence of u. The strongest test of u there is: a closed density at one end, a solver, and the closed density at the other. */
WF_TEST(T13_densities_along_paths)
{
    enum { N = 40 };
    for (int kind = 0; kind < 2; kind++) {
        wf_law_desc d = { .dim = 2, .kind = kind, .modes = 3, .high = 1.5, .swirl = 5 };
        scene s = scene_new(d);
        scene_fill(&s, "law.swirl.size");
        wf_t y[2] = { s.x, wf_full(s.g, 1, (int[]){ 1 }, 0) };
        wf_field_desc field = { .fn = falling, .user = &d };
        wf_solve_desc solve = { .t1 = 1, .steps = 200 };
        double x[2 * N], t[N] = { 0 }, end[2 * N], lost[N], f0[N], f1[N], *first[3] = { end, lost, f0 }, *second[1] = { f1 };
        CHECK_INT(wf_ode_list(y, 2, &field, &solve, NULL), WF_OK);
        wf_t want[3] = { y[0], wf_add(y[1], wf_scale(s.t, 0)), s.at.log_density };
        for (int i = 0; i < 2 * N; i++) x[i] = pull(-1.5, 1.5);
        scene_run(&s, x, t, N, want, first, 3);
        for (int i = 0; i < N; i++) t[i] = 1;
        scene_run(&s, end, t, N, &s.at.log_density, second, 1);
        for (int i = 0; i < N; i++) CHECK_CLOSE(f1[i] - f0[i], -lost[i], 2e-6 * (1 + fabs(lost[i]))); /* RK4 with 200 steps: halving them changes the seventh digit */
        wf_arena_free(s.A);
    }
}

/* Networks of time start small. Make them large, so that something happens. */
static void stir(wf_law *law, double factor)
{
    wf_params *P = wf_law_params(law);
    for (int e = 0; e < wf_params_entries(P); e++) {
        const wf_param_info *p = wf_params_entry(P, e);
        if (!strstr(p->name, ".move.weight") && !strstr(p->name, ".out.weight")) continue;
        double *v = malloc(p->count * sizeof *v);
        wf_params_get(P, p->name, v, p->count);
        for (size_t i = 0; i < p->count; i++) v[i] *= factor;
        wf_params_set(P, p->name, v, p->count);
        free(v);
    }
}

/* T13 and T14 with the object: points drawn at the start and carried to the end look like points drawn at the end, without noise and with. */
WF_TEST(T13_T14_carried_points_look_like_drawn_ones)
{
    enum { N = 1500 };
    for (int kind = 0; kind < 2; kind++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_law *law = wf_law_new(A, &(wf_law_desc){ .dim = 2, .kind = kind, .modes = 3, .high = 1.2, .background = 0.02, .seed = 7 });
        stir(law, kind ? 12 : 40);
        double *x = malloc(2 * N * sizeof *x), *y = malloc(2 * N * sizeof *y), *t = calloc(N, sizeof *t), *path = malloc(4 * N * sizeof *path), *f = malloc(2 * N * sizeof *f), times[2] = { 0, 1 }, far, near;
        CHECK_INT(wf_law_sample(law, t, N, 1, x), WF_OK);
        for (int i = 0; i < N; i++) t[i] = 1;
        CHECK_INT(wf_law_sample(law, t, N, 2, y), WF_OK);
        wf_points px = { x, NULL, N, 2 }, py = { y, NULL, N, 2 };
        CHECK_INT(wf_energy_distance(A, &px, &py, NULL, &far), WF_OK);
        for (int noisy = 0; noisy < 2; noisy++) {
            double direct = 0, carried = 0, square = 0;
            CHECK_INT(wf_law_transport(law, x, N, times, 2, noisy ? 200 : 50, noisy ? 0.5 : 0, 5, path), WF_OK);
            for (int i = 0; i < N; i++) { CHECK(path[4 * i] == (double)(float)x[2 * i]); path[2 * i] = path[4 * i + 2]; path[2 * i + 1] = path[4 * i + 3]; }
            wf_points pz = { path, NULL, N, 2 };
            CHECK_INT(wf_energy_distance(A, &pz, &py, NULL, &near), WF_OK);
            if (getenv("WF_VERBOSE")) printf("  kind %d, noise %d: start to end %.4f, carried to end %.5f\n", kind, noisy, far, near);
            CHECK(far > 0.02 && fabs(near) < 0.005); /* two clouds of 1500 of one density: 0 +- 0.001 */
            CHECK_INT(wf_law_log_density(law, y, t, N, f), WF_OK);
            for (int i = 0; i < N; i++) { direct += f[i] / N; square += f[i] * f[i] / N; }
            CHECK_INT(wf_law_log_density(law, path, t, N, f), WF_OK);
            for (int i = 0; i < N; i++) carried += f[i] / N;
            CHECK_CLOSE(carried, direct, 4 * sqrt(2 * (square - direct * direct) / N));
        }
        free(x), free(y), free(t), free(path), free(f);
        wf_arena_free(A);
    }
}

/* ---- T15: gradients ---- */

/* The energy E|u|^2 of draws, differentiated in all parameters: through the draws, and by the score function (c - mean) grad log rho + grad c. Projected on random directions, over many
   batches, the two must agree within their noise. */
static void energy_gradients(int kind, int way, int batches, double *mean, double *error)
{
    enum { B = 512, WAYS = 3 };
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, wf_params_new(A, 2, WF_F64));
    wf_law_desc law = { .dim = 2, .kind = kind, .modes = 3, .width = 8, .time_waves = 1, .high = 1, .background = 0.05, .reference_modes = 2 };
    wf_params *P;
    wf_t t = wf_input(g, "t", 1), k = wf_input(g, "k", 1), share = { g, 0 }, none = { g, 0 };
    wf_t x = wf_law_draw(g, t, kind ? none : k, "law", &law, 1, &share), loss;
    if (way) x = wf_stop(x);
    wf_law_values v = wf_law_at(x, t, "law", &law);
    wf_t c = wf_sumsq(v.drift), weight = kind ? wf_const(g, 1) : wf_sum(wf_scale(wf_take(share, k), wf_law_components(&law)));
    if (!way) loss = wf_mean(wf_mul(weight, c));
    else { /* under the weights, that is, under the density */
        wf_t w = wf_stop(weight), level = wf_mean(wf_mul(w, wf_stop(c)));
        loss = wf_mean(wf_mul(w, wf_add(c, wf_mul(wf_sub(wf_stop(c), level), v.log_density))));
    }
    wf_plan *plan = wf_compile(A, &(wf_plan_desc){ .out = { loss }, .grad_of = loss, .type = WF_F64 });
    CHECK_STR_HAS(plan ? "ok" : wf_arena_report(A)->text, "ok");
    wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
    static double time[B], which[B];
    double value, sum[WAYS] = { 0 }, square[WAYS] = { 0 };
    wf_feed f[3] = { wf_in(t, time, 0), wf_out(loss, &value, 0) };
    if (!kind) f[2] = wf_in(k, which, 0);
    size_t size = 0;
    for (int i = 0; i < B; i++) { time[i] = (i + 0.5) / B; which[i] = i * 7 % B % wf_law_components(&law); }
    P = NULL;
    (void)P;
    for (int b = 0; b < batches; b++) {
        wf_ws_noise(ws, 11 + (uint64_t)way, (uint32_t)b);
        CHECK_INT(wf_run(plan, ws, f, kind ? 2 : 3, B), WF_OK);
        const double *slope = wf_ws_grad(ws);
        if (!size) size = 200; /* the first 200 numbers are those of the density's own networks */
        for (int d = 0; d < WAYS; d++) {
            double dot = 0;
            for (size_t i = 0; i < size; i++) dot += slope[i] * (wf_uniform_at(21, i, (uint32_t)d, 0, 5) < 0.5 ? -1 : 1);
            sum[d] += dot / batches;
            square[d] += dot * dot / batches;
        }
    }
    for (int d = 0; d < WAYS; d++) { mean[d] = sum[d]; error[d] = sqrt((square[d] - sum[d] * sum[d]) / (batches - 1)); }
    wf_arena_free(A);
}

WF_TEST(T15_gradients_through_drawing_agree)
{
    int batches = getenv("WF_TEST_LONG") ? 2000 : 150;
    for (int kind = 0; kind < 2; kind++) {
        double path[3], path_error[3], score[3], score_error[3], strength = 0;
        energy_gradients(kind, 0, batches, path, path_error);
        energy_gradients(kind, 1, batches, score, score_error);
        for (int d = 0; d < 3; d++) {
            if (getenv("WF_VERBOSE")) printf("  kind %d: through the draw %.4f +- %.4f, by the score %.4f +- %.4f\n", kind, path[d], path_error[d], score[d], score_error[d]);
            CHECK_CLOSE(path[d], score[d], 4 * (path_error[d] + score_error[d]));
            strength += fabs(path[d]) / path_error[d];
        }
        CHECK(strength > 15); /* what agrees is not noise */
    }
}

/* The gradient of a loss in u is reverse mode over forward mode; differences of the loss agree to their own error. */
WF_TEST(T15_the_gradient_of_a_drift)
{
    for (int kind = 0; kind < 2; kind++) {
        scene s = scene_new((wf_law_desc){ .dim = 3, .kind = kind, .modes = 3, .width = 9, .high = 1.5, .moving_weights = 1 });
        wf_t loss = wf_mean(wf_sumsq(wf_add(s.at.drift, wf_scale(s.at.score, 0.3))));
        wf_plan *plan = wf_compile(s.A, &(wf_plan_desc){ .out = { loss }, .grad_of = loss, .type = WF_F64 });
        wf_ws *ws = wf_ws_new(s.A, plan, 1, NULL);
        double x[POINTS * 8], t[POINTS], value, *p = wf_params_data(s.P);
        scene_points(&s, x, t, 1.5);
        wf_feed f[3] = { wf_in(s.x, x, 0), wf_in(s.t, t, 0), wf_out(loss, &value, 0) };
        CHECK_INT(wf_run(plan, ws, f, 3, POINTS), WF_OK);
        size_t n = wf_params_size(s.P);
        double *slope = malloc(n * sizeof *slope), size = 0;
        memcpy(slope, wf_ws_grad(ws), n * sizeof *slope);
        for (size_t i = 0; i < n; i++) size = fmax(size, fabs(slope[i]));
        for (int e = 0; e < wf_params_entries(s.P); e++) {
            size_t at = wf_params_entry(s.P, e)->offset + wf_params_entry(s.P, e)->count / 2;
            double keep = p[at], side[2];
            for (int k = 0; k < 2; k++) {
                p[at] = keep + (k ? 1e-5 : -1e-5);
                CHECK_INT(wf_run(plan, ws, f, 3, POINTS), WF_OK);
                side[k] = value;
            }
            p[at] = keep;
            CHECK_CLOSE(slope[at], (side[1] - side[0]) / 2e-5, 1e-6 * size);
        }
        free(slope);
        wf_arena_free(s.A);
    }
}

/* ---- the energy of the published flux ---- */

/* Two coordinates, the second narrow: its conditional has the inverse scale 3. Energy of u_1 from |x_2| < R, for R = 10, 20, 40. */
static void energy_within(wf_law_desc law, double *energy)
{
    enum { N = 1601 };
    static double x[2 * N], t[N], u[2 * N], f[N];
    scene s = scene_new(law);
    char name[64];
    for (int e = 0; e < wf_params_entries(s.P); e++) { /* the second coordinate neither moves nor depends on the first */
        const wf_param_info *p = wf_params_entry(s.P, e);
        double v[512] = { 0 };
        if (!strcmp(p->name, "law.chain.1.start")) v[1] = 0.9; /* log steepness about log 3 */
        snprintf(name, sizeof name, "%s", p->name);
        if (!strncmp(name, "law.chain.1", 11) && p->count <= 512 && !strstr(name, ".0.")) wf_params_set(s.P, name, v, p->count);
    }
    wf_t want[2] = { s.at.drift, s.at.log_density };
    double *out[2] = { u, f };
    for (int i = 0; i < N; i++) { x[2 * i] = 0.3; x[2 * i + 1] = -40 + 0.05 * i; t[i] = 0.4; }
    scene_run(&s, x, t, N, want, out, 2);
    energy[0] = energy[1] = energy[2] = 0;
    for (int i = 0; i < N; i++)
        for (int k = 0; k < 3; k++) if (fabs(x[2 * i + 1]) <= 10 << k) energy[k] += 0.05 * exp(f[i]) * u[2 * i] * u[2 * i];
    wf_arena_free(s.A);
}

WF_TEST(the_energy_is_finite_where_the_published_one_is_not)
{
    double paper[3], ours[3];
    energy_within((wf_law_desc){ .dim = 2, .kind = WF_LAW_CHAIN, .modes = 1, .reference = WF_REFERENCE_PAPER, .background = -1 }, paper);
    energy_within((wf_law_desc){ .dim = 2, .kind = WF_LAW_CHAIN, .modes = 1 }, ours);
    if (getenv("WF_VERBOSE")) printf("  paper %.3g %.3g %.3g, default %.6g %.6g %.6g\n", paper[0], paper[1], paper[2], ours[0], ours[1], ours[2]);
    CHECK(paper[1] > 50 * paper[0] && paper[2] > 1e3 * paper[1]); /* without limit: like exp((s - 2) R) for the inverse scale s */
    CHECK(ours[0] > 0);
    CHECK_CLOSE(ours[2], ours[1], 1e-4 * ours[1]); /* what lies beyond 20 is exp(-0.6 * 20) of it */
}

/* ---- T17, T18 ---- */

WF_TEST(T17_single_precision)
{
    enum { N = 100000 };
    double *x = malloc(2 * N * sizeof *x), *t = malloc(N * sizeof *t), *f[2], *u[2];
    for (int i = 0; i < N; i++) t[i] = (float)pull(0, 1);
    for (int kind = 0; kind < 2; kind++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_law *law[2];
        for (int k = 0; k < 2; k++) {
            law[k] = wf_law_new(A, &(wf_law_desc){ .dim = 2, .kind = kind, .modes = 8, .type = k ? WF_F64 : WF_F32, .seed = 4 });
            f[k] = malloc(N * sizeof *f[k]);
            u[k] = malloc(2 * N * sizeof *u[k]);
        }
        for (int e = 0; e < wf_params_entries(wf_law_params(law[0])); e++) {
            const wf_param_info *p = wf_params_entry(wf_law_params(law[0]), e);
            double *v = malloc(p->count * sizeof *v);
            wf_params_get(wf_law_params(law[0]), p->name, v, p->count);
            CHECK_INT(wf_params_set(wf_law_params(law[1]), p->name, v, p->count), WF_OK);
            free(v);
        }
        CHECK_INT(wf_law_sample(law[0], t, N, 1, x), WF_OK);
        for (int k = 0; k < 2; k++) {
            CHECK_INT(wf_law_log_density(law[k], x, t, N, f[k]), WF_OK);
            CHECK_INT(wf_law_drift(law[k], x, t, N, 0, u[k]), WF_OK);
        }
        double *e = malloc(2 * N * sizeof *e);
        for (int i = 0; i < N; i++) e[i] = fabs(f[0][i] - f[1][i]) / (1 + fabs(f[1][i]));
        qsort(e, N, sizeof *e, ascending);
        CHECK(e[N / 2] <= 1e-4 && e[N - 1] < 1e-2);
        if (getenv("WF_VERBOSE")) printf("  kind %d: log density off by %.2e (median), %.2e (most)\n", kind, e[N / 2], e[N - 1]);
        for (int i = 0; i < 2 * N; i++) e[i] = fabs(u[0][i] - u[1][i]) / (1e-3 + fabs(u[1][i]));
        qsort(e, 2 * N, sizeof *e, ascending);
        CHECK(e[N] <= 1e-4 && isfinite(e[2 * N - 1]));
        if (getenv("WF_VERBOSE")) printf("  kind %d: drift off by %.2e (median), %.2e (most)\n", kind, e[N], e[2 * N - 1]);
        free(e);
        for (int k = 0; k < 2; k++) free(f[k]), free(u[k]);
        wf_arena_free(A);
    }
    free(x), free(t);
}

WF_TEST(T18_the_pinwheel_is_known)
{
    enum { N = 20000, GRID = 200 };
    double sum = 0, square = 0, mass = 0, whole = 0, mean[2] = { 0 }, sd[2] = { 0 }, cell = 13.0 / GRID;
    for (int i = 0; i < GRID * GRID; i++) {
        double x[2] = { -6.5 + cell * (i / GRID + 0.5), -6.5 + cell * (i % GRID + 0.5) }, f = pinwheel_density(x) * cell * cell;
        mass += f;
        if (f > 0) whole -= f * log(f / (cell * cell));
        for (int k = 0; k < 2; k++) { mean[k] += f * x[k]; sd[k] += f * x[k] * x[k]; }
    }
    for (int k = 0; k < 2; k++) sd[k] = sqrt(sd[k] - mean[k] * mean[k]);
    for (int i = 0; i < N; i++) {
        double x[2], h;
        pinwheel_draw(wf_normal_at(1, (uint64_t)i, 0, 0, 1), wf_normal_at(1, (uint64_t)i, 0, 1, 1), (int)(10 * wf_uniform_at(1, (uint64_t)i, 0, 0, 2)), x);
        h = -log(pinwheel_density(x));
        sum += h / N;
        square += h * h / N;
    }
    double noise = sqrt((square - sum * sum) / N), units = log(sd[0] * sd[1]);
    if (getenv("WF_VERBOSE")) printf("  entropy %.5f (by draws %.4f +- %.4f), mass %.8f\n", whole - units, sum - units, noise, mass);
    CHECK_CLOSE(mass, 1, 1e-6);
    CHECK_CLOSE(sum, whole, 3 * noise); /* draws and density belong together */
    CHECK_CLOSE(whole - units, 2.180, 2 * 0.006); /* the reference has an error of 0.006 */
}


/* ---- training ---- */

// region: learn a motion from two snapshots
/* Two snapshots, and nothing in between but thrift. The cost of moving is at least the transport distance; the law finds it. */
WF_TEST(learn_a_motion_from_two_snapshots)
{
    enum { N = 2000 };
    static double x[2 * N], t[N];
    for (int i = 0; i < N; i++) { /* logistic clouds: one at (-1, 0), one at (1, 0.5) and twice as wide */
        t[i] = i % 2;
        for (int k = 0; k < 2; k++) {
            double u = ((i / 2 * (k ? 389 : 1)) % 1000 + 0.5) / 1000;
            x[2 * i + k] = (i % 2 ? (k ? 0.5 : 1) : (k ? 0 : -1)) + (i % 2 ? 0.4 : 0.2) * log(u / (1 - u));
        }
    }
    wf_arena *A = wf_arena_new(NULL);
    wf_law *law = wf_law_new(A, &(wf_law_desc){ .dim = 2, .modes = 1, .knots = 2, .background = -1 });
    CHECK_INT(wf_law_start(law, x, NULL, N), WF_OK);
    wf_law_fit_desc fit = { .x = x, .t = t, .n = N, .likelihood = 1000, .kinetic = 1, .steps = 1000, .batch = 1000, .rate = 2e-2 };
    wf_law_report report;
    CHECK_INT(wf_law_fit(law, &fit, &report), WF_OK);

    double path[10][2][2], from[10][2], times[2] = { 0, 1 };
    for (int i = 0; i < 10; i++) { from[i][0] = -1 + 0.1 * i; from[i][1] = 0; }
    CHECK_INT(wf_law_transport(law, &from[0][0], 10, times, 2, 20, 0, 0, &path[0][0][0]), WF_OK);
    // end region
    for (int i = 0; i < 10; i++) CHECK_CLOSE(path[i][1][0], 1 + 2 * (from[i][0] + 1), 0.03); /* the optimal map: shift and stretch */
    /* T16: the cost of the map, between the clouds that the law draws, against the exact value. */
    enum { DRAWS = 10000 };
    static double start[2 * DRAWS], ends[4 * DRAWS], zero[DRAWS];
    double cost = 0, exact = 0, pi = 3.14159265358979;
    CHECK_INT(wf_law_sample(law, zero, DRAWS, 3, start), WF_OK);
    CHECK_INT(wf_law_transport(law, start, DRAWS, times, 2, 50, 0, 0, ends), WF_OK);
    for (int i = 0; i < DRAWS; i++) for (int k = 0; k < 2; k++) cost += pow(ends[4 * i + 2 + k] - start[2 * i + k], 2) / DRAWS;
    for (int k = 0; k < 2; k++) exact += pow(k ? 0.5 : 2, 2) + 0.2 * 0.2 * pi * pi / 3;
    if (getenv("WF_VERBOSE")) printf("  cost %.4f, exact %.4f, loss %.4f\n", cost, exact, report.loss);
    CHECK_CLOSE(cost, exact, 0.01 * exact);
    wf_arena_free(A);
}

/* A mixture that trains on likelihood comes near the entropy of what it is shown. */
WF_TEST(training_reaches_the_entropy)
{
    enum { N = 4000 };
    static double x[2 * N], t[N], check[2 * N];
    double entropy = 0;
    for (int set = 0; set < 2; set++)
        for (int i = 0; i < N; i++) { /* a ring, and along it a wave that moves with time: a chain must bend for it */
            double *p = (set ? check : x) + 2 * i, a = wf_normal_at(5, (uint64_t)i, (uint32_t)set, 0, 3), b = wf_normal_at(5, (uint64_t)i, (uint32_t)set, 1, 3);
            if (!set) t[i] = (i + 0.5) / N;
            p[0] = a;
            p[1] = sin(2 * a + 3 * t[i]) + 0.2 * b;
        }
    entropy = 2 * 1.4189385332046727 + log(0.2); /* of two normal distributions, the second shifted by a function of the first */
    wf_arena *A = wf_arena_new(NULL);
    wf_law *law = wf_law_new(A, &(wf_law_desc){ .dim = 2, .kind = WF_LAW_CHAIN, .modes = 8, .width = 48, .waves = 3, .wave_high = 0.6, .seed = 2 });
    CHECK_INT(wf_law_start(law, x, NULL, N), WF_OK);
    wf_law_report r;
    CHECK_INT(wf_law_fit(law, &(wf_law_fit_desc){ .x = x, .t = t, .n = N, .epochs = 40, .rate = 8e-3, .beta2 = 0.99, .clip = 5, .ema = 0.99, .check_x = check, .check_t = t, .checks = N, .check_every = 5 }, &r), WF_OK);
    if (getenv("WF_VERBOSE")) printf("  entropy %.4f, reached %.4f at step %d of %d\n", entropy, r.best, (int)r.best_step, (int)r.steps);
    CHECK(r.best > entropy - 0.04 && r.best < entropy + 0.08); /* 4000 points know their mean to 0.016; logistics for normal distributions, and curves learned */
    double *f = malloc(N * sizeof *f), mean = 0;
    CHECK_INT(wf_law_log_density(law, check, t, N, f), WF_OK);
    for (int i = 0; i < N; i++) mean -= f[i] / N;
    CHECK_CLOSE(mean, r.best, 1e-9); /* the parameters are those of the best check */
    free(f);
    wf_arena_free(A);
}

/* An arena of parameters of the same bits, whatever the number of threads. */
WF_TEST(the_same_bits_for_any_number_of_threads)
{
    enum { N = 600 };
    static double x[2 * N], t[N], path[2][N * 6];
    uint64_t sum[2] = { 0, 0 };
    for (int i = 0; i < N; i++) { t[i] = i % 3 / 2.0; x[2 * i] = sin(i * 1.7) + t[i]; x[2 * i + 1] = cos(i * 2.3); }
    for (int kind = 0; kind < 2; kind++) {
        for (int many = 0; many < 2; many++) {
            wf_arena *A = wf_arena_new(NULL);
            wf_law *law = wf_law_new(A, &(wf_law_desc){ .dim = 2, .kind = kind, .modes = 6, .width = 16, .swirl = kind ? 6 : 0, .threads = many ? 4 : 1 });
            CHECK_INT(wf_law_start(law, x, NULL, N), WF_OK);
            CHECK_INT(wf_law_fit(law, &(wf_law_fit_desc){ .x = x, .t = t, .n = N, .kinetic = 0.1, .steps = 12, .batch = 256 }, NULL), WF_OK);
            const unsigned char *p = wf_params_data(wf_law_params(law));
            sum[many] = 1469598103934665603u;
            for (size_t i = 0; i < 4 * wf_params_size(wf_law_params(law)); i++) sum[many] = (sum[many] ^ p[i]) * 1099511628211u;
            CHECK_INT(wf_law_transport(law, x, N, (double[]){ 0, 0.5, 1 }, 3, 5, 0.3, 9, path[many]), WF_OK);
            wf_arena_free(A);
        }
        CHECK(sum[0] == sum[1]);
        CHECK(!memcmp(path[0], path[1], sizeof path[0]));
    }
}

WF_TEST(a_law_comes_back_from_its_file)
{
    const char *file = "out/test_conservation.safetensors";
    for (int kind = 0; kind < 2; kind++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_law *law = wf_law_new(A, &(wf_law_desc){ .dim = 3, .kind = kind, .modes = 5, .logistics = 2, .knots = kind ? 0 : 3, .waves = 2, .t0 = -1, .t1 = 3, .reference = WF_REFERENCE_REVERSE, .swirl = 4, .seed = 8 }), *back;
        double x[9] = { 0.1, 0.2, 0.3, -1, 1, 0.5, 2, -2, 0 }, t[3] = { -1, 0.7, 3 }, a[9], b[9];
        if (wf_law_save(law, file) < 0) { printf("  %s\n", wf_arena_report(A)->text); CHECK(0); wf_arena_free(A); return; }
        back = wf_law_load(A, file);
        CHECK(back != NULL);
        if (back) {
            CHECK_INT(wf_law_about(back)->reference, WF_REFERENCE_REVERSE);
            CHECK_INT(wf_law_drift(law, x, t, 3, 0.4, a), WF_OK);
            CHECK_INT(wf_law_drift(back, x, t, 3, 0.4, b), WF_OK);
            CHECK(!memcmp(a, b, sizeof a));
        }
        wf_arena_free(A);
    }
    wf_arena *A = wf_arena_new(NULL);
    wf_tensors *t = wf_tensors_new(A);
    CHECK_INT(wf_tensors_save(t, file), WF_OK);
    CHECK(!wf_law_load(A, file));
    CHECK_STR_HAS(wf_arena_report(A)->text, "holds no law");
    wf_arena_free(A);
    remove(file);
}

/* Two-way doors: a law as a proposal for a target and as a target of another; its drift in a weighted simulation. With exact densities the mean weight is one. */
WF_TEST(a_law_is_a_target_and_a_proposal)
{
    enum { N = 20000 };
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, wf_params_new(A, 6, WF_F64));
    wf_law_desc wide = { .dim = 2, .kind = WF_LAW_CHAIN, .modes = 3, .high = 0.5, .background = 0.3, .background_steep = 0.5, .steady = 1 }, narrow = { .dim = 2, .modes = 3, .low = 0, .high = 2, .background = 0.01 };
    wf_t none = { g, 0 }, t = wf_input(g, "t", 1), x = wf_law_draw(g, none, none, "wide", &wide, 1, NULL);
    wf_t weight = wf_exp(wf_sub(wf_law_at(x, t, "narrow", &narrow).log_density, wf_law_at(x, none, "wide", &wide).log_density));
    wf_plan *plan = wf_compile(A, &(wf_plan_desc){ .out = { weight }, .type = WF_F64 });
    wf_ws *ws = wf_ws_new(A, plan, 1, NULL);
    static double time[N], w[N];
    double mean = 0, square = 0;
    for (int i = 0; i < N; i++) time[i] = (i + 0.5) / N;
    wf_feed f[2] = { wf_in(t, time, 0), wf_out(weight, w, 0) };
    CHECK_INT(wf_run(plan, ws, f, 2, N), WF_OK);
    for (int i = 0; i < N; i++) { mean += w[i] / N; square += w[i] * w[i] / N; }
    CHECK_CLOSE(mean, 1, 4 * sqrt((square - mean * mean) / N));
    CHECK(sqrt((square - 1) / N) < 0.05);
    wf_arena_free(A);
}

/* ---- misuse ---- */

WF_TEST(mistakes_are_named)
{
    static double x[40], t[20], good[40], two[20], out[40];
    wf_arena *A = wf_arena_new(NULL);
    wf_law_desc d = { .dim = 2, .modes = 2, .t1 = 30 };
    wf_law *law = wf_law_new(A, &d);
    for (int i = 0; i < 20; i++) { t[i] = two[i] = i; good[2 * i] = x[2 * i] = i % 3; good[2 * i + 1] = x[2 * i + 1] = i % 5; }
    wf_law_fit_desc fit = { .x = x, .t = t, .n = 20, .steps = 2 };
#define SAYS(call, code, part) do { wf_arena_clear(A); CHECK_INT(call, code); CHECK_STR_HAS(wf_arena_report(A)->text, part); } while (0)
    t[7] = 31;
    SAYS(wf_law_fit(law, &fit, NULL), WF_ERROR_DATA, "point 7 has the time 31, outside the range of the law, 0 to 30");
    t[7] = NAN;
    SAYS(wf_law_fit(law, &fit, NULL), WF_ERROR_DATA, "point 7 has the time");
    t[7] = 7;
    x[9] = NAN;
    SAYS(wf_law_fit(law, &fit, NULL), WF_ERROR_DATA, "point 4, coordinate 1 is not a finite number");
    SAYS(wf_law_start(law, x, NULL, 20), WF_ERROR_DATA, "point 4, coordinate 1");
    SAYS(wf_law_log_density(law, x, t, 20, out), WF_ERROR_DATA, "point 4, coordinate 1");
    x[9] = 1;
    for (int i = 0; i < 20; i++) t[i] = 4;
    SAYS(wf_law_fit(law, &fit, NULL), WF_ERROR_DATA, "one snapshot says nothing of a motion");
    for (int i = 0; i < 20; i++) t[i] = i % 2 ? 0 : 30;
    for (int i = 0; i < 20; i++) for (int k = 0; k < 2; k++) x[2 * i + k] = (i % 2 ? -2 : 2) + 0.1 * sin(i + k);
    wf_obstacle goal[2] = { { { 0, 0 }, 0.5 }, { { 2, 2 }, 0.6 } };
    fit.obstacle = goal;
    fit.obstacles = 2;
    SAYS(wf_law_fit(law, &fit, NULL), WF_ERROR_DATA, "obstacle 1 covers the goal: 10 of 10 points lie inside");
    goal[1].centre[0] = goal[1].centre[1] = -2;
    SAYS(wf_law_fit(law, &fit, NULL), WF_ERROR_DATA, "obstacle 1 covers the start");
    goal[1].radius = -1;
    SAYS(wf_law_fit(law, &fit, NULL), WF_ERROR_DATA, "obstacle 1 has the radius -1");
    fit.obstacles = 0;
    double bad[20] = { 1, -1 };
    fit.weight = bad;
    SAYS(wf_law_fit(law, &fit, NULL), WF_ERROR_DATA, "the weight or jitter of point 1");
    fit.weight = NULL;
    SAYS(wf_law_start(law, good, bad, 20), WF_ERROR_DATA, "weight 1 is negative");
    SAYS(wf_law_start(law, good, NULL, 1), WF_ERROR_DATA, "1 points cannot start 2 components");
    fit.steps = 0;
    SAYS(wf_law_fit(law, &fit, NULL), WF_ERROR_ARGUMENT, "a number of steps");
    SAYS(wf_law_log_density(law, good, NULL, 20, out), WF_ERROR_ARGUMENT, "times are missing");
    SAYS(wf_law_log_density(law, good, two, 0, out), WF_ERROR_ARGUMENT, "there is no point");
    SAYS(wf_law_transport(law, good, 20, (double[]){ 0 }, 1, 1, 0, 0, out), WF_ERROR_ARGUMENT, "two times");
    SAYS(wf_law_transport(law, good, 20, (double[]){ 1, 0 }, 2, 1, 0.5, 0, out), WF_ERROR_ARGUMENT, "must ascend");
    SAYS(wf_law_transport(law, good, 20, (double[]){ 0, 31 }, 2, 1, 0, 0, out), WF_ERROR_DATA, "time 1 has the time 31");
    SAYS(wf_law_start_paths(law, good, good, NULL), WF_ERROR_ARGUMENT, "paths are for a factorised law");
    SAYS(wf_nearest_distance(A, good, 20, 2, 99, 1, out), WF_ERROR_ARGUMENT, "rank");
    SAYS(wf_nearest_distance(A, good, 20, 2, 1, 1, NULL), WF_ERROR_ARGUMENT, "room for the result");
    SAYS(wf_law_log_density(law, good, two, 20, NULL), WF_ERROR_ARGUMENT, "no room");
    SAYS(wf_law_drift(law, good, two, 20, NAN, out), WF_ERROR_ARGUMENT, "g is nan");
    SAYS(wf_law_transport(law, good, 20, (double[]){ 0, 1 }, 2, 1, NAN, 0, out), WF_ERROR_ARGUMENT, "finite g");
    SAYS(wf_law_transport(law, good, 20, (double[]){ 0, 1 }, 2, 0x7FFFFFFF, 0, 0, out), WF_ERROR_ARGUMENT, "1e8 in all"); /* their product was taken as an int */
    SAYS(wf_law_start(law, good, NULL, (size_t)1 << 40), WF_ERROR_LIMIT, "too many"); /* before they are read */
    bad[0] = bad[1] = 1.7e308;
    SAYS(wf_law_start(law, good, bad, 20), WF_ERROR_DATA, "weights sum to inf");
    double far[2] = { 1e39, 0 };
    SAYS(wf_law_log_density(law, far, two, 1, out), WF_ERROR_NUMERIC, "point 0 is not a number"); /* infinite in single precision */
    fit.steps = 2;
    fit.obstacles = 1;
    fit.obstacle = NULL;
    SAYS(wf_law_fit(law, &fit, NULL), WF_ERROR_ARGUMENT, "obstacles that are announced");
    fit.obstacle = goal;
    goal[0].centre[1] = NAN;
    SAYS(wf_law_fit(law, &fit, NULL), WF_ERROR_DATA, "a centre that is not finite");
    fit.obstacles = 0;
    fit.kinetic = NAN;
    SAYS(wf_law_fit(law, &fit, NULL), WF_ERROR_ARGUMENT, "a weight of the loss");
    fit.kinetic = 0;
    fit.likelihood = -1;
    SAYS(wf_law_fit(law, &fit, NULL), WF_ERROR_ARGUMENT, "the loss has no terms");
    fit.likelihood = 0;
    fit.batch = (size_t)-1;
    SAYS(wf_law_fit(law, &fit, NULL), WF_ERROR_LIMIT, "too many");
    wf_arena_clear(A);
    fit.batch = 100000; /* one epoch is less than a thousandth of a step */
    fit.steps = 0;
    fit.epochs = 1;
    wf_law_report report;
    CHECK_INT(wf_law_fit(law, &fit, &report), WF_OK);
    CHECK_INT(report.steps, 1);
#undef SAYS
    struct { wf_law_desc d; const char *says; } senseless[] = {
        { { .dim = 9 }, "1 to 8" }, { { 0 }, "0 coordinates" }, { { .dim = 2, .kind = 5 }, "kind" }, { { .dim = 2, .modes = -1 }, "modes" }, { { .dim = 2, .t0 = 3, .t1 = 1 }, "t1 must be after t0" },
        { { .dim = 2, .layers = 9 }, "layers" }, { { .dim = 2, .low = 4, .high = 1 }, "low < high" }, { { .dim = 2, .wave_low = 3, .wave_high = 1 }, "frequencies" }, { { .dim = 2, .knots = 1 }, "knots" }, { { .dim = 2, .background = 2 }, "background" },
        { { .dim = 8, .modes = 999999, .logistics = 999999 }, "a million logistics" }, { { .dim = 2, .swirl = 0x7FFFFFFF }, "65536 wide" },
    };
    for (size_t i = 0; i < sizeof senseless / sizeof *senseless; i++) {
        wf_arena_clear(A);
        CHECK(!wf_law_new(A, &senseless[i].d));
        CHECK_STR_HAS(wf_arena_report(A)->text, senseless[i].says);
    }
    wf_arena_clear(A);
    CHECK(!wf_law_new(A, NULL));
    wf_arena_clear(A);
    wf_graph *g = wf_graph_new(A, wf_params_new(A, 1, WF_F64));
    wf_law_values v = wf_law_at(wf_input(g, "x", 3), wf_input(g, "t", 1), "law", &d);
    CHECK(!v.log_density.id);
    CHECK_STR_HAS(wf_arena_report(A)->text, "2 coordinates");
    wf_arena_free(A);
}

static wf_t own_cost(wf_t x, wf_t t, wf_law_values at, wf_t u, void *user)
{
    (void)t, (void)at, (void)u, (void)user;
    return wf_sumsq(wf_linear(x, "mine", 2, 1));
}

/* A cost with parameters of its own: they outlive the training. And the scale of weights means nothing. */
WF_TEST(parameters_of_a_cost_stay_and_weights_have_no_scale)
{
    double x[40], t[20], weight[20], share[2][2];
    wf_arena *A = wf_arena_new(NULL);
    wf_law *law = wf_law_new(A, &(wf_law_desc){ .dim = 2, .modes = 2, .type = WF_F64 });
    for (int i = 0; i < 40; i++) x[i] = sin(1.7 * i) + (i % 6 < 2 ? 5 : 0);
    for (int i = 0; i < 20; i++) t[i] = i % 2;
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 20; i++) weight[i] = k ? 1e-6 : 1;
        CHECK_INT(wf_law_start(law, x, weight, 20), WF_OK);
        wf_params_get(wf_law_params(law), "law.share", share[k], 2);
    }
    CHECK(fabs(share[0][0] - share[0][1]) > 0.1);
    CHECK_CLOSE(share[0][0] - share[0][1], share[1][0] - share[1][1], 1e-12); /* the same sums, but for the scale */
    wf_law_fit_desc fit = { .x = x, .t = t, .n = 20, .steps = 3, .batch = 8, .cost = own_cost, .check_x = x, .check_t = t, .checks = 4, .check_every = 1 };
    wf_law_fit(law, &fit, NULL);
    fit.checks = 0;
    int before = wf_params_count(wf_law_params(law));
    wf_arena_clear(A);
    CHECK_INT(wf_law_fit(law, &fit, NULL), WF_OK);
    void *junk = wf_alloc(A, 1 << 16, 1);
    memset(junk, 0x55, 1 << 16);
    CHECK(wf_params_find(wf_law_params(law), "mine.weight") >= 0);
    CHECK_INT(wf_law_fit(law, &fit, NULL), WF_OK);
    CHECK(wf_params_count(wf_law_params(law)) >= before);
    wf_arena_free(A);
}

static int stop_at_3(void *user, const char *what, double done, double total) { (void)user, (void)what, (void)total; return done >= 3; }

WF_TEST(a_training_can_be_cancelled)
{
    static double x[40], t[20];
    for (int i = 0; i < 20; i++) { t[i] = i / 19.0; x[2 * i] = i % 3; x[2 * i + 1] = i % 5; }
    wf_arena *A = wf_arena_new(NULL);
    wf_law *law = wf_law_new(A, &(wf_law_desc){ .dim = 2, .modes = 2 });
    wf_law_report r;
    CHECK_INT(wf_law_fit(law, &(wf_law_fit_desc){ .x = x, .t = t, .n = 20, .steps = 10, .progress = stop_at_3 }, &r), WF_CANCELLED);
    CHECK_INT(r.steps, 3);
    CHECK_INT(wf_law_fit(law, &(wf_law_fit_desc){ .x = x, .t = t, .n = 20, .steps = 10 }, &r), WF_OK);
    wf_arena_free(A);
}

WF_MAIN_CASES(WF_CASE(a_density_its_drift_and_what_they_conserve),
    WF_CASE(T2_masses_and_densities_of_mixtures),
    WF_CASE(T12_quantiles_come_back),
    WF_CASE(mixtures_agree_with_the_reference),
    WF_CASE(T1_the_mass_is_one),
    WF_CASE(T3_T4_one_formula_for_the_flux_and_nothing_created),
    WF_CASE(T5_T6_continuity_and_Fokker_Planck_to_rounding),
    WF_CASE(T7_moving_shares_miss_exactly_this),
    WF_CASE(T8_T16_one_logistic_is_shifted_and_stretched),
    WF_CASE(T9_the_flux_vanishes_far_out),
    WF_CASE(T10_a_swirl_moves_no_mass),
    WF_CASE(asymmetry_is_that_of_the_Jacobian),
    WF_CASE(T11_draws_have_uniform_masses),
    WF_CASE(T11_draws_of_a_mixture_have_its_masses),
    WF_CASE(T13_densities_along_paths),
    WF_CASE(T13_T14_carried_points_look_like_drawn_ones),
    WF_CASE(T15_gradients_through_drawing_agree),
    WF_CASE(T15_the_gradient_of_a_drift),
    WF_CASE(the_energy_is_finite_where_the_published_one_is_not),
    WF_CASE(T17_single_precision),
    WF_CASE(T18_the_pinwheel_is_known),
    WF_CASE(learn_a_motion_from_two_snapshots),
    WF_CASE(training_reaches_the_entropy),
    WF_CASE(the_same_bits_for_any_number_of_threads),
    WF_CASE(a_law_comes_back_from_its_file),
    WF_CASE(a_law_is_a_target_and_a_proposal),
    WF_CASE(mistakes_are_named), WF_CASE(parameters_of_a_cost_stay_and_weights_have_no_scale),
    WF_CASE(a_training_can_be_cancelled))
