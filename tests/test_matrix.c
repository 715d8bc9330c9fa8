/* Kernel tables: every instruction set that runs here against the reference in double precision. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

#define LONGEST 1100
#define GUARD 12345.0f

static const int all_isas[] = { WF_ISA_SCALAR, WF_ISA_SSE2, WF_ISA_AVX2, WF_ISA_AVX512, WF_ISA_NEON, WF_ISA_WASM };
#define EACH_ISA(isa, K) \
    for (int isa##_i = 0; isa##_i < 6; isa##_i++) \
        for (const wf__kernels *K = wf__kernels_for(all_isas[isa##_i], 0); K; K = NULL)


static uint32_t random_state = 1;
static uint32_t random_bits(void) { random_state = random_state * 747796405u + 2891336453u; return (random_state >> (random_state >> 28)) * 277803737u; }
static float uniform(float low, float high) { return low + (high - low) * (float)(random_bits() >> 8) * 5.9604645e-8f; }
static void fill(float *x, size_t n, float low, float high) { for (size_t i = 0; i < n; i++) x[i] = uniform(low, high); }

/* |y - r| in units in the last place of r; huge where one is finite and the other is not */
static double ulps(double r, float y)
{
    float f = (float)r;
    int e;
    if (isnan(r) || isnan(y)) return isnan(r) && isnan(y) ? 0.0 : 1e30;
    if (isinf(f) || isinf(y)) return f == y ? 0.0 : 1e30;
    frexp(r, &e);
    if (e < -125) e = -125;
    return fabs((double)y - r) / ldexp(1.0, e - 24);
}

static int same_bits(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, 4) && !(isnan(a[i]) && isnan(b[i]))) return 0;
    return 1;
}

/* FNV-1a, with every NaN counted as the same */
static uint64_t hash_floats(uint64_t h, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t b;
        memcpy(&b, x + i, 4);
        if (isnan(x[i])) b = 0x7FC00000u;
        for (int k = 0; k < 4; k++) h = (h ^ (b >> (8 * k) & 255)) * 1099511628211u;
    }
    return h;
}
#define HASH_START 14695981039346656037u

// region: multiply two matrices
WF_TEST(multiply_two_matrices)
{
    const wf__kernels *K = wf__kernels_for(WF_ISA_AUTO, 0); /* the best set of this machine, for float */
    float A[2 * 3] = { 1, 2, 3, 4, 5, 6 }, B[3 * 2] = { 1, 0, 0, 1, 1, 1 }, bias[2] = { 10, 20 }, C[2 * 2];

    K->gemm(C, 2, A, 3, 1, B, 2, 2, 2, 3, 0, bias, 0); /* C = A B + bias, one bias for each row */
    CHECK(C[0] == 14 && C[1] == 15 && C[2] == 30 && C[3] == 31);
    K->gemm(C, 2, A, 3, 1, B, 2, 2, 2, 3, 0, NULL, WF__RELU + 1); /* without bias, through a rectifier */
    CHECK(C[0] == 4 && C[3] == 11);
}
// end region

typedef struct range { float low, high; double ulp; } range;
static const range unary_ranges[WF__UNARY_COUNT] = {
    /* neg, recip, exp, expm1 */ { -9, 9, 0 }, { -9, 9, 0.5 }, { -110, 92, 1 }, { -30, 92, 1 },
    /* log, log1p, sqrt, tanh */ { 0, 1e4f, 1 }, { -1, 1e4f, 1 }, { 0, 1e4f, 0.5 }, { -12, 12, 2.5 },
    /* sigmoid, softplus, erf, sin, cos */ { -110, 20, 2.5 }, { -110, 50, 2.5 }, { -5, 5, 2.5 }, { -1e4f, 1e4f, 1 }, { -1e4f, 1e4f, 1 },
    /* abs, sign, floor, round, relu, copy, square */ { -9, 9, 0 }, { -9, 9, 0 }, { -9, 9, 0 }, { -9, 9, 0 }, { -9, 9, 0 }, { -9, 9, 0 }, { -9, 9, 0.5 },
};

/* The functions are tested closely in test_elementary; here it is sizes, alignment and places. Without fused multiplication an error may be twice as large, and one more. */
static double ceiling(const wf__kernels *K, double ulp) { return wf_test_fused(K->name) || K->width == 1 || ulp <= 0.5 ? ulp : 2 * ulp + 1; }

WF_TEST(one_argument)
{
    static float x[128], y[128];
    static double xd[128], yd[128];
    const wf__kernels *D = wf__kernels_for(WF_ISA_SCALAR, 1);
    EACH_ISA(isa, K) for (int op = 0; op < WF__UNARY_COUNT; op++)
        for (size_t n = 0; n <= 67; n++) for (size_t shift = 0; shift < 4; shift++) {
            float *to = n % 2 ? y + shift : x + shift; /* every other time in place */
            range r = unary_ranges[op];
            fill(x, 128, r.low, r.high);
            for (size_t i = 0; i < n; i++) xd[i] = (double)x[shift + i];
            to[n] = GUARD;
            if (to == y + shift) memset(y + shift, 0, n * sizeof *y);
            D->unary[op](yd, xd, n);
            K->unary[op](to, x + shift, n);
            double worst = 0.0;
            for (size_t i = 0; i < n; i++) { double e = ulps(yd[i], to[i]); if (!(e <= worst)) worst = e; }
            if (!(worst <= ceiling(K, r.ulp))) printf("  %s unary %d n %d: %g ulp\n", K->name, op, (int)n, worst);
            CHECK(worst <= ceiling(K, r.ulp));
            CHECK(to[n] == GUARD);
        }
}

static const double binary_ulps[WF__BINARY_SCALAR_COUNT] = { 0.5, 0.5, 0.5, 0.5, 0, 0, 0, 0, 0, 4, 1e3, 2, 0.5, 0.5 }; /* 1 - b b may cancel: judged absolutely below */

WF_TEST(two_arguments)
{
    static float a[128], b[128], y[128];
    static double ad[128], bd[128], yd[128];
    const wf__kernels *D = wf__kernels_for(WF_ISA_SCALAR, 1);
    EACH_ISA(isa, K) for (int op = 0; op < WF__BINARY_SCALAR_COUNT; op++) for (int scalar = op >= WF__BINARY_COUNT; scalar < 2; scalar++)
        for (size_t n = 0; n <= 67; n++) for (size_t shift = 0; shift < 4; shift++) {
            float *to = n % 3 == 0 ? y + shift : n % 3 == 1 || scalar ? a + shift : b + 3 - shift;
            fill(a, 128, -1, 1);
            fill(b, 128, -1, 1);
            for (size_t i = 0; i < n; i += 5) b[3 - shift + i] = a[shift + i];
            for (size_t i = 0; i < n; i++) { ad[i] = (double)a[shift + i]; bd[i] = (double)b[3 - shift + i]; }
            bd[0] = (double)b[3 - shift];
            to[n] = GUARD;
            if (scalar) { D->binary_scalar[op](yd, ad, bd, n); K->binary_scalar[op](to, a + shift, b + 3 - shift, n); }
            else { D->binary[op](yd, ad, bd, n); K->binary[op](to, a + shift, b + 3 - shift, n); }
            for (size_t i = 0; i < n; i++) {
                double e = ulps(yd[i], to[i]), allowed = binary_ulps[op];
                if (op == WF__DTANH || op == WF__DSIGMOID) { e = fabs(yd[i] - (double)to[i]); allowed = 4 * 6e-8; } /* four roundings of numbers up to one */
                if (op == WF__ATAN2 && !wf_test_fused(K->name) && K->width > 1) allowed = 6;
                if (!(e <= allowed)) printf("  %s binary %d scalar %d n %d: %g %g, wanted %g\n", K->name, op, scalar, (int)n, ad[i], (double)to[i], yd[i]);
                CHECK(e <= allowed);
            }
            CHECK(to[n] == GUARD);
        }
}

WF_TEST(not_a_number_and_ties)
{
    const float nan = NAN, zero[2] = { 0.0f, -0.0f };
    EACH_ISA(isa, K) {
        float a[16], b[16], y[16];
        for (int op = WF__MAX; op <= WF__MIN; op++) {
            for (int i = 0; i < 16; i++) { a[i] = i % 4 == 0 ? nan : i % 4 == 1 ? 1.0f : zero[i / 2 % 2]; b[i] = i % 4 == 1 ? nan : zero[1 - i / 2 % 2]; }
            K->binary[op](y, a, b, 16);
            for (int i = 0; i < 16; i++) {
                if (i % 4 < 2) CHECK(isnan(y[i]));
                else CHECK(!memcmp(y + i, a + i, 4)); /* equal: the first */
            }
        }
        float r[3] = { nan, -0.0f, -1.0f };
        K->unary[WF__RELU](r, r, 3);
        CHECK(isnan(r[0]) && r[1] == 0.0f && r[2] == 0.0f);
        float s[3] = { nan, -0.0f, -1.0f }, p[3] = { 1, 1, 1 }, q[3] = { 2, 2, 2 };
        K->select(y, s, p, q, 3);
        CHECK(y[0] == 1.0f && y[1] == 2.0f && y[2] == 1.0f);
        K->unary[WF__SIGN](s, s, 3);
        CHECK(isnan(s[0]) && s[1] == 0.0f && s[2] == -1.0f);
        float h[6] = { 0.5f, 1.5f, -2.5f, -0.3f, 8388609.0f, -1e30f }, f[6], want_round[6] = { 0, 2, -2, -0.0f, 8388609.0f, -1e30f }, want_floor[6] = { 0, 1, -3, -1, 8388609.0f, -1e30f };
        K->unary[WF__ROUND](f, h, 6);
        CHECK(same_bits(f, want_round, 6));
        K->unary[WF__FLOOR](f, h, 6);
        CHECK(same_bits(f, want_floor, 6));
    }
}

WF_TEST(moves)
{
    static float x[100 * 100], y[100 * 100], c[100], a[100], b[100];
    fill(x, 100 * 100, -1, 1);
    fill(c, 100, -1, 1);
    fill(a, 100, -1, 1);
    fill(b, 100, -1, 1);
    EACH_ISA(isa, K) {
        for (size_t n = 0; n <= 67; n++) {
            for (size_t i = 0; i < 100; i += 3) c[i] = 0.0f;
            y[n] = GUARD;
            K->select(y, c, a, b, n);
            for (size_t i = 0; i < n; i++) CHECK(y[i] == (c[i] != 0.0f ? a[i] : b[i]));
            CHECK(y[n] == GUARD);
            K->fma(y, c, a, b, n);
            for (size_t i = 0; i < n; i++) CHECK_CLOSE(y[i], (double)c[i] * (double)a[i] + (double)b[i], 2 * 6e-8); /* one or two roundings of a number below two */
            CHECK(y[n] == GUARD);
            K->fill(y, a + 7, n);
            for (size_t i = 0; i < n; i++) CHECK(y[i] == a[7]);
            CHECK(y[n] == GUARD);
        }
        y[5 * 19] = GUARD;
        K->splat_rows(y, a, 5, 19);
        for (size_t i = 0; i < 5 * 19; i++) CHECK(y[i] == a[i / 19]);
        CHECK(y[5 * 19] == GUARD);
        for (size_t rows = 0; rows < 40; rows += rows < 20 ? 1 : 7) for (size_t cols = 0; cols < 40; cols += cols < 9 ? 1 : 6) {
            for (size_t i = 0; i < 100 * 100; i++) y[i] = GUARD;
            K->transpose(y, 50, x, 70, rows, cols);
            for (size_t r = 0; r < 50; r++) for (size_t k = 0; k < 50; k++) CHECK(y[k * 50 + r] == (r < rows && k < cols ? x[r * 70 + k] : GUARD));
        }
        const size_t n[4] = { 2, 3, 4, 5 };
        const ptrdiff_t ys[4] = { 60, 20, 5, 1 }, xs[4] = { 1000, 7, 100, 1 }, zs[4] = { 100, -10, 0, 0 }, ws[4] = { 1, 2, 6, 24 };
        K->copy_strided(y, x, n, ys, xs);
        for (size_t i = 0; i < 120; i++) CHECK(y[i] == x[i / 60 * 1000 + i / 20 % 3 * 7 + i / 5 % 4 * 100 + i % 5]);
        K->copy_strided(y, x + 50, n, ys, zs);
        for (size_t i = 0; i < 120; i++) CHECK(y[i] == x[50 + i / 60 * 100 - i / 20 % 3 * 10]);
        K->copy_strided(y, x, n, ws, ys);
        for (size_t i = 0; i < 120; i++) CHECK(y[i / 60 + 2 * (i / 20 % 3) + 6 * (i / 5 % 4) + 24 * (i % 5)] == x[i]);
    }
}

/* The product in double precision, and what rounding may have done to it in single: k + 1 roundings of partial sums no larger than sum |a b| + |c|. */
static void check_product(const char *what, const float *C, const float *before, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, ptrdiff_t br, ptrdiff_t bc, size_t m, size_t n,
                          size_t k, int accumulate, const float *bias, int act)
{
    for (size_t i = 0; i < m; i++) for (size_t j = 0; j < n; j++) {
        double s = accumulate ? (double)before[i * ldc + j] : bias ? (double)bias[i] : 0.0, size = fabs(s);
        for (size_t p = 0; p < k; p++) {
            double t = (double)A[(ptrdiff_t)i * ar + (ptrdiff_t)p * ac] * (double)B[(ptrdiff_t)p * br + (ptrdiff_t)j * bc];
            s += t;
            size += fabs(t);
        }
        double tolerance = (double)(2 * k + 1) * 6e-8 * size + 1e-30;
        if (act == WF__TANH + 1) { s = tanh(s); tolerance += 3e-7; }
        if (act == WF__RELU + 1) s = s > 0 ? s : 0;
        if (!(fabs(s - (double)C[i * ldc + j]) <= tolerance)) {
            printf("  %s m %d n %d k %d at %d %d\n", what, (int)m, (int)n, (int)k, (int)i, (int)j);
            CHECK_CLOSE(C[i * ldc + j], s, tolerance);
            return;
        }
    }
    for (size_t i = 0; i < m; i++) for (size_t j = n; j < ldc; j++) CHECK(C[i * ldc + j] == GUARD);
}

WF_TEST(products_of_all_shapes)
{
    static float A[80 * 90], B[90 * 600], C[80 * 130], before[80 * 130], bias[80], scratch[160 * 90];
    static const size_t ms[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 37, 64 }, ks[] = { 0, 1, 2, 3, 17, 64, 90 };
    fill(A, 80 * 90, -1, 1);
    fill(B, 90 * 600, -1, 1);
    fill(bias, 80, -1, 1);
    EACH_ISA(isa, K) for (size_t mi = 0; mi < 14; mi++) for (size_t ki = 0; ki < 7; ki++) for (size_t n = 0; n < 130; n += n < 36 ? 1 : 13) {
        size_t m = ms[mi], k = ks[ki], ldc = n + n % 3, ldb = n % 5 == 4 ? 600 : n + 1;
        int flip = (int)(m + n + k) % 2, accumulate = n % 4 == 1, act = n % 7 == 3 ? WF__TANH + 1 : n % 7 == 5 ? WF__RELU + 1 : 0;
        ptrdiff_t ar = flip ? 1 : 90, ac = flip ? 80 : 1;
        for (size_t i = 0; i < m * ldc; i++) C[i] = i % ldc < n ? uniform(-1, 1) : GUARD;
        memcpy(before, C, sizeof C);
        K->gemm(C, ldc, A, ar, ac, B, ldb, m, n, k, accumulate, n % 2 ? bias : NULL, act);
        check_product(K->name, C, before, ldc, A, ar, ac, B, (ptrdiff_t)ldb, 1, m, n, k, accumulate, n % 2 ? bias : NULL, act);
        if (ki < 5 && n * 90 <= 90 * 600 && wf__gemm_nt_scratch(n, k) <= 160 * 90) {
            memcpy(C, before, sizeof C);
            K->gemm_nt(C, ldc, A, 90, B, 90, m, n, k, accumulate, scratch);
            check_product(K->name, C, before, ldc, A, 90, 1, B, 1, 90, m, n, k, accumulate, NULL, 0);
        }
    }
}

/* Each number is one chain of fused operations, whatever the blocking. */
WF_TEST(products_are_one_chain)
{
    static float A[70 * 530], B[530 * 530], C[70 * 530], want[70 * 530];
    static const size_t shapes[][3] = { { 64, 64, 64 }, { 70, 33, 530 }, { 33, 530, 40 }, { 5, 100, 7 }, { 1, 70, 64 }, { 2, 20, 9 }, { 37, 15, 300 } };
    fill(A, 70 * 530, -1, 1);
    fill(B, 530 * 530, -1, 1);
    for (int s = 0; s < 7; s++) {
        size_t m = shapes[s][0], n = shapes[s][1], k = shapes[s][2];
        for (size_t i = 0; i < m; i++) for (size_t j = 0; j < n; j++) {
            float c = 0.0f;
            for (size_t p = 0; p < k; p++) c = fmaf(A[i * k + p], B[p * n + j], c);
            want[i * n + j] = c;
        }
        EACH_ISA(isa, K) if (wf_test_fused(K->name)) {
            K->gemm(C, n, A, (ptrdiff_t)k, 1, B, n, m, n, k, 0, NULL, 0);
            CHECK(same_bits(C, want, m * n));
        }
    }
}

WF_TEST(sums_do_not_depend_on_the_width)
{
    static float x[7 * 70], y[7 * 70], want[7 * 70];
    const wf__kernels *R = wf__kernels_for(WF_ISA_SCALAR, 0);
    EACH_ISA(isa, K) for (size_t n = 0; n <= 67; n++) {
        double acc[7] = { 0 }, want_acc[7] = { 0 };
        fill(x, 7 * 70, -1, 1);
        R->sum_rows(want_acc, x, 7, n, n > 3 ? n - 3 : n);
        K->sum_rows(acc, x, 7, n, n > 3 ? n - 3 : n);
        for (int r = 0; r < 7; r++) {
            double s = 0.0;
            for (size_t i = 0; i < (n > 3 ? n - 3 : n); i++) s += (double)x[(size_t)r * n + i];
            CHECK(acc[r] == want_acc[r]);
            CHECK_CLOSE(acc[r], s, 70 * 6e-8 * 70); /* at most 70 roundings of sums below 70 */
        }
        for (int kind = 0; kind < 2; kind++) {
            R->reduce(want, x, 7, n, 1, kind);
            K->reduce(y, x, 7, n, 1, kind);
            CHECK(same_bits(y, want, 7));
            R->reduce(want, x, 2, 3, n, kind);
            K->reduce(y, x, 2, 3, n, kind);
            CHECK(same_bits(y, want, 2 * n));
            for (size_t i = 0; i < 2 * n; i++) {
                const float *v = x + i / n * 3 * n + i % n;
                float t = v[0] + v[n], u = v[0] > v[n] ? v[0] : v[n];
                CHECK(y[i] == (kind ? (u > v[2 * n] ? u : v[2 * n]) : t + v[2 * n]));
            }
            float most = -HUGE_VALF;
            for (size_t i = 0; i < n; i++) most = x[i] > most ? x[i] : most;
            if (kind) { K->reduce(y, x, 1, n, 1, 1); CHECK(y[0] == most); }
        }
        for (int flags = 0; flags < 4; flags++) {
            R->cumsum(want, x, 2, 3, n, flags);
            K->cumsum(y, x, 2, 3, n, flags);
            CHECK(same_bits(y, want, 6 * n));
            for (size_t i = 0; i < 2 * n; i++) { /* the middle one of three */
                const float *v = x + i / n * 3 * n + i % n, first = flags & 2 ? v[2 * n] : v[0];
                CHECK(y[i / n * 3 * n + n + i % n] == (flags & 1 ? first : first + v[n]));
            }
            R->cumsum(want, x, 5, n, 1, flags);
            K->cumsum(y, x, 5, n, 1, flags);
            CHECK(same_bits(y, want, 5 * n));
        }
    }
    float z[4] = { 1, 2, 4, 8 }, w[4], e[4][4] = { { 1, 3, 7, 15 }, { 0, 1, 3, 7 }, { 15, 14, 12, 8 }, { 14, 12, 8, 0 } };
    for (int flags = 0; flags < 4; flags++) { R->cumsum(w, z, 1, 4, 1, flags); CHECK(same_bits(w, e[flags], 4)); }
    x[3] = NAN;
    EACH_ISA(isa2, K2) { K2->reduce(y, x, 1, 40, 1, 1); CHECK(isnan(y[0])); K2->reduce(y, x, 1, 5, 8, 1); CHECK(isnan(y[3]) && !isnan(y[4])); }
}

WF_TEST(softmax_sums_to_one)
{
    static float x[3 * 70 * 70], y[3 * 70 * 70];
    static double xd[3 * 70 * 70], yd[3 * 70 * 70];
    const wf__kernels *D = wf__kernels_for(WF_ISA_SCALAR, 1);
    static const size_t inners[] = { 1, 2, 16, 64, 67 };
    EACH_ISA(isa, K) for (size_t n = 0; n <= 67; n += n < 20 ? 1 : 9) for (int q = 0; q < 5; q++) {
        size_t inner = inners[q], count = 3 * n * inner;
        fill(x, count, -1, 1);
        for (size_t i = 0; i < count; i++) { x[i] *= n % 2 ? 1.0f : 80.0f; xd[i] = (double)x[i]; }
        D->softmax(yd, xd, 3, n, inner);
        K->softmax(y, x, 3, n, inner);
        for (size_t i = 0; i < count; i++) CHECK_CLOSE(y[i], yd[i], 160 * 6e-8 * yd[i] + 1e-38); /* the exponent, up to 160, is off by half a unit in its last place */
    }
}

WF_TEST(adam_follows_its_formula)
{
    static float p[70], m[70], v[70], g[70];
    static double pd[70], md[70], vd[70], gd[70];
    const wf__kernels *D = wf__kernels_for(WF_ISA_SCALAR, 1);
    EACH_ISA(isa, K) for (size_t n = 0; n <= 67; n++) {
        fill(p, 70, -1, 1);
        memset(m, 0, sizeof m);
        memset(v, 0, sizeof v);
        for (size_t i = 0; i < n; i++) { pd[i] = (double)p[i]; md[i] = vd[i] = 0.0; }
        p[n] = m[n] = v[n] = GUARD;
        for (int t = 1; t < 5; t++) {
            const double c[8] = { 1e-2, 0.9, 0.999, 1e-8, 0.1, 1 - pow(0.9, t), 1 - pow(0.999, t), 0.5 };
            fill(g, n, -1, 1);
            for (size_t i = 0; i < n; i++) gd[i] = (double)g[i];
            D->adam(pd, gd, md, vd, n, c);
            K->adam(p, g, m, v, n, c);
        }
        for (size_t i = 0; i < n; i++) CHECK_CLOSE(p[i], pd[i], 4 * 3 * 6e-8 + 4e-2 * 20 * 6e-8); /* 4 steps: three roundings of a number below one, twenty of a step of 1e-2 */
        CHECK(p[n] == GUARD && m[n] == GUARD && v[n] == GUARD);
    }
}

/* All fused sets give the bits that were once computed with AVX2. After a change to a formula: this test prints the new number. */
#define GOLDEN 0xc529a26017af957du
WF_TEST(fused_sets_agree_to_the_bit)
{
    static float a[LONGEST], b[LONGEST], y[LONGEST], A[64 * 64];
    int tried = 0;
    EACH_ISA(isa, K) if (wf_test_fused(K->name)) {
        uint64_t h = HASH_START;
        random_state = 7;
        fill(A, 64 * 64, -1, 1);
        for (int op = 0; op < WF__UNARY_COUNT; op++) {
            fill(a, LONGEST, unary_ranges[op].low, unary_ranges[op].high);
            K->unary[op](y, a, LONGEST);
            h = hash_floats(h, y, LONGEST);
        }
        fill(b, LONGEST, -3, 3);
        for (int op = 0; op < WF__BINARY_COUNT; op++) { K->binary[op](y, a, b, LONGEST); h = hash_floats(h, y, LONGEST); }
        K->gemm(y, 33, A, 1, 64, b, 33, 33, 33, 33, 0, a, WF__TANH + 1);
        h = hash_floats(h, y, 33 * 33);
        K->softmax(y, b, 5, 44, 5);
        h = hash_floats(h, y, 1100);
        K->softmax(y, b, 25, 44, 1);
        h = hash_floats(h, y, 1100);
        const double c[8] = { 1e-2, 0.9, 0.999, 1e-8, 0.1, 0.1, 0.001, 0.5 };
        K->unary[WF__SQUARE](y, y, 1100);
        K->adam(a, b, A, y, 1100, c);
        h = hash_floats(h, a, 1100);
        if (h != GOLDEN) printf("  %s 0x%08x%08x\n", K->name, (unsigned)(h >> 32), (unsigned)h);
        CHECK(h == GOLDEN);
        tried++;
    }
    if (!tried) SKIP("no instruction set with fused multiplication here");
}

WF_MAIN_CASES(WF_CASE(multiply_two_matrices), WF_CASE(one_argument), WF_CASE(two_arguments), WF_CASE(not_a_number_and_ties), WF_CASE(moves), WF_CASE(products_of_all_shapes), WF_CASE(products_are_one_chain),
              WF_CASE(sums_do_not_depend_on_the_width), WF_CASE(softmax_sums_to_one), WF_CASE(adam_follows_its_formula), WF_CASE(fused_sets_agree_to_the_bit))
