/* Elementary functions: every binary32 number, or a regular sample of them, against the C library in double precision.
   WF_TEST_LONG=1 takes them all (ten minutes for each instruction set). */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

static const int all_isas[] = { WF_ISA_SSE2, WF_ISA_AVX2, WF_ISA_AVX512, WF_ISA_NEON, WF_ISA_WASM };
#define EACH_ISA(K) \
    for (int K##_i = 0; K##_i < 5; K##_i++) \
        for (const wf__kernels *K = wf_isa_available(all_isas[K##_i]) ? wf__kernels_for(all_isas[K##_i], 0) : NULL; K; K = NULL)


static float from_bits(uint32_t b) { float x; memcpy(&x, &b, 4); return x; }
static uint32_t to_bits(float x) { uint32_t b; memcpy(&b, &x, 4); return b; }

static double sigmoid(double x) { return x < 0.0 ? exp(x) / (1.0 + exp(x)) : 1.0 / (1.0 + exp(-x)); }
static double softplus(double x) { return (x > 0.0 ? x : 0.0) + log1p(exp(-fabs(x))); }
static double round_half_even(double x) { return rint(x); }

// region: the ceilings
/* the largest error in units in the last place, with and without fused multiplication; sines without it are tested up to 10^4 */
static const struct { const char *name; int op; double (*f)(double); double ceiling, without; } functions[] = {
    { "sqrt", WF__SQRT, sqrt, 0.5, 0.5 },
    { "exp", WF__EXP, exp, 1, 1 },
    { "expm1", WF__EXPM1, expm1, 1, 1 },
    { "log", WF__LOG, log, 1, 1 },
    { "log1p", WF__LOG1P, log1p, 1, 1.1 },
    { "sin", WF__SIN, sin, 1, 2 },
    { "cos", WF__COS, cos, 1, 2 },
    { "tanh", WF__TANH, tanh, 2.5, 2.5 },
    { "sigmoid", WF__SIGMOID, sigmoid, 2.5, 2.5 },
    { "softplus", WF__SOFTPLUS, softplus, 2.5, 2.5 },
    { "erf", WF__ERF, erf, 2.5, 2.5 },
    { "round", WF__ROUND, round_half_even, 0, 0 },
    { "floor", WF__FLOOR, floor, 0, 0 },
};
// end region
#define FUNCTIONS (int)(sizeof functions / sizeof *functions)
#define BLOCK 4096

/* |y - r| in units in the last place of r. An infinite y counts as the next number beyond the largest. */
static double ulps(double r, float y)
{
    uint64_t b;
    memcpy(&b, &r, 8);
    int e = (int)(b >> 52 & 0x7FF) - 1022;
    if (e == 1025) return isnan(r) ? (isnan(y) ? 0.0 : 1e30) : (double)y == r ? 0.0 : 1e30;
    if (isnan(y)) return 1e30;
    if (e < -125) e = -125;
    b = (uint64_t)(1023 + 24 - e) << 52; /* 2^(24 - e): 1 / ulp */
    double scale, v = isinf(y) ? (y > 0 ? 3.402823669209385e38 : -3.402823669209385e38) : (double)y;
    memcpy(&scale, &b, 8);
    if (r > 3.402823669209385e38) r = 3.402823669209385e38;
    if (r < -3.402823669209385e38) r = -3.402823669209385e38;
    return fabs(v - r) * scale;
}

static double wanted[BLOCK];
static float x[BLOCK], y[BLOCK], first[BLOCK];

/* One function on n numbers in x: all sets below their ceilings, fused sets equal. */
static void check_block(int f, int n, double *worst, float *where)
{
    int have = 0;
    for (int i = 0; i < n; i++) wanted[i] = functions[f].f((double)x[i]);
    EACH_ISA(K) {
        int narrow = !wf_test_fused(K->name) && (functions[f].op == WF__SIN || functions[f].op == WF__COS);
        K->unary[functions[f].op](y, x, (size_t)n);
        for (int i = 0; i < n; i++) {
            double e = narrow && !(fabsf(x[i]) <= 1e4f) ? 0.0 : ulps(wanted[i], y[i]) - (wf_test_fused(K->name) ? 0.0 : functions[f].without - functions[f].ceiling);
            if (!(e <= *worst)) { *worst = e; *where = x[i]; }
        }
        if (!wf_test_fused(K->name)) continue;
        if (!have) memcpy(first, y, sizeof y);
        else for (int i = 0; i < n; i++)
            if (to_bits(y[i]) != to_bits(first[i]) && !(isnan(y[i]) && isnan(first[i]))) { CHECK(!"fused sets differ"); printf("  %s(%.9g): %s\n", functions[f].name, (double)x[i], K->name); break; }
        have = 1;
    }
}

WF_TEST(errors_stay_below_their_ceilings)
{
    const char *all = getenv("WF_TEST_LONG");
    uint64_t stride = all && *all && *all != '0' ? 1 : 4093; /* a prime, so that all low bits occur */
    for (int f = 0; f < FUNCTIONS; f++) {
        double worst = 0.0;
        float where = 0.0f;
        for (uint64_t b = 0; b < (uint64_t)1 << 32;) {
            int n = 0;
            for (; n < BLOCK && b < (uint64_t)1 << 32; b += stride) x[n++] = from_bits((uint32_t)b);
            check_block(f, n, &worst, &where);
        }
        printf("  %-9s %.3f ulp at %.9g\n", functions[f].name, worst, (double)where);
        CHECK(worst <= functions[f].ceiling);
    }
}

/* Where two formulas meet, or a reduction takes another turn: all numbers nearby, whatever the stride above. */
WF_TEST(formulas_meet)
{
    static const float joins[] = { 0.346573591f, -0.346573591f, 1.03972077f, -1.03972077f, 0.707106781f, 1.41421356f, 0.41421356f, -0.29289322f, 1.0f, -1.0f, 3.95f, 0.88137359f, -0.88137359f,
                                   0.785398163f, 2.35619449f, 5.9604645e-8f, 88.7228394f, -87.3365479f, -103.972076f, 17.3286795f, 10.0f, 1e5f, 1.17549435e-38f, 8388608.0f, 1e-45f };
    for (int f = 0; f < FUNCTIONS; f++) {
        double worst = 0.0;
        float where = 0.0f;
        for (size_t j = 0; j < sizeof joins / sizeof *joins; j++) {
            uint32_t at = to_bits(joins[j]), low = (at & 0x7FFFFFFF) > BLOCK / 2 ? at - BLOCK / 2 : at;
            for (uint32_t i = 0; i < BLOCK; i++) x[i] = from_bits(low + i);
            check_block(f, BLOCK, &worst, &where);
        }
        if (!(worst <= functions[f].ceiling)) printf("  %s(%.9g): %g ulp\n", functions[f].name, (double)where, worst);
        CHECK(worst <= functions[f].ceiling);
    }
}

/* The numbers next to every multiple of pi/2 up to 10^5: their sines consist of digits of pi that lie far behind the point. */
WF_TEST(right_angles)
{
    for (int f = 0; f < FUNCTIONS; f++) {
        if (functions[f].op != WF__SIN && functions[f].op != WF__COS) continue;
        double worst = 0.0;
        float where = 0.0f;
        for (int k = 1; k < 63662; k += BLOCK / 2) {
            for (int i = 0; i < BLOCK; i++) {
                x[i] = (float)((k + i / 2) * 1.5707963267948966);
                if (i % 2) x[i] = from_bits(to_bits(x[i]) + 1);
            }
            check_block(f, BLOCK, &worst, &where);
        }
        if (!(worst <= functions[f].ceiling)) printf("  %s(%.9g): %g ulp\n", functions[f].name, (double)where, worst);
        CHECK(worst <= functions[f].ceiling);
    }
}

/* Increasing functions, at the joins: no step back by more than one unit in the last place, or two where errors may be 2.5. */
WF_TEST(increasing_functions_increase)
{
    static const int increasing[] = { WF__EXP, WF__EXPM1, WF__LOG, WF__LOG1P, WF__SQRT, WF__TANH, WF__SIGMOID, WF__SOFTPLUS, WF__ERF };
    static const float joins[] = { 0.346573591f, 1.03972077f, 0.707106781f, 1.41421356f, 0.41421356f, 1.0f, 3.95f, 0.88137359f, 0.173286795f, 10.0f };
    EACH_ISA(K) for (int f = 0; f < 9; f++) for (int j = 0; j < 20; j++) {
        uint32_t low = to_bits(joins[j / 2]) - BLOCK / 2;
        for (uint32_t i = 0; i < BLOCK; i++) x[i] = j % 2 ? -from_bits(low + BLOCK - 1 - i) : from_bits(low + i);
        K->unary[increasing[f]](y, x, BLOCK);
        for (int i = 1; i < BLOCK; i++) {
            if (isnan(y[i]) || isnan(y[i - 1])) continue;
            double back = ((double)y[i - 1] - (double)y[i]) / (fabs((double)y[i]) * 1.1920929e-7 + 1e-45); /* units of the upper half of a binade */
            if (!(back <= (f < 5 ? 1.0 : 2.0))) { CHECK(!"steps back"); printf("  %s unary %d at %.9g\n", K->name, increasing[f], (double)x[i]); break; }
        }
    }
}

#define INF HUGE_VALF
WF_TEST(special_arguments)
{
    const float nan = NAN, tiny = 1e-45f, large = 3.40282347e38f;
    const struct { int op; float x, y; } cases[] = {
        { WF__EXP, 0, 1 }, { WF__EXP, -0.0f, 1 }, { WF__EXP, INF, INF }, { WF__EXP, -INF, 0 }, { WF__EXP, large, INF }, { WF__EXP, -large, 0 }, { WF__EXP, 89, INF }, { WF__EXP, -104, 0 }, { WF__EXP, nan, nan },
        { WF__EXP, -103, tiny }, { WF__EXPM1, 0, 0 }, { WF__EXPM1, -0.0f, -0.0f }, { WF__EXPM1, tiny, tiny }, { WF__EXPM1, INF, INF }, { WF__EXPM1, -INF, -1 }, { WF__EXPM1, nan, nan },
        { WF__LOG, 1, 0 }, { WF__LOG, 0, -INF }, { WF__LOG, -0.0f, -INF }, { WF__LOG, INF, INF }, { WF__LOG, -1, nan }, { WF__LOG, -INF, nan }, { WF__LOG, -tiny, nan }, { WF__LOG, nan, nan },
        { WF__LOG, tiny, -103.278931f }, { WF__LOG1P, 0, 0 }, { WF__LOG1P, -0.0f, -0.0f }, { WF__LOG1P, -1, -INF }, { WF__LOG1P, -1.5f, nan }, { WF__LOG1P, -INF, nan }, { WF__LOG1P, INF, INF },
        { WF__LOG1P, tiny, tiny }, { WF__LOG1P, large, 88.7228394f }, { WF__LOG1P, nan, nan }, { WF__SQRT, -1, nan }, { WF__SQRT, INF, INF }, { WF__SQRT, -0.0f, -0.0f }, { WF__SQRT, nan, nan },
        { WF__TANH, 0, 0 }, { WF__TANH, -0.0f, -0.0f }, { WF__TANH, INF, 1 }, { WF__TANH, -INF, -1 }, { WF__TANH, 30, 1 }, { WF__TANH, -large, -1 }, { WF__TANH, tiny, tiny }, { WF__TANH, nan, nan },
        { WF__SIGMOID, 0, 0.5f }, { WF__SIGMOID, INF, 1 }, { WF__SIGMOID, -INF, 0 }, { WF__SIGMOID, 30, 1 }, { WF__SIGMOID, -103, tiny }, { WF__SIGMOID, nan, nan },
        { WF__SOFTPLUS, 0, 0.693147182f }, { WF__SOFTPLUS, INF, INF }, { WF__SOFTPLUS, -INF, 0 }, { WF__SOFTPLUS, 1e30f, 1e30f }, { WF__SOFTPLUS, -103, tiny }, { WF__SOFTPLUS, nan, nan },
        { WF__ERF, 0, 0 }, { WF__ERF, -0.0f, -0.0f }, { WF__ERF, INF, 1 }, { WF__ERF, -INF, -1 }, { WF__ERF, 4, 1 }, { WF__ERF, nan, nan },
        { WF__SIN, 0, 0 }, { WF__SIN, -0.0f, -0.0f }, { WF__SIN, INF, nan }, { WF__SIN, -INF, nan }, { WF__SIN, nan, nan }, { WF__SIN, tiny, tiny }, { WF__COS, 0, 1 }, { WF__COS, INF, nan }, { WF__COS, nan, nan },
        { WF__SIN, large, -0.521876514f }, { WF__COS, large, 0.853021026f }, { WF__RECIP, 0, INF }, { WF__RECIP, -0.0f, -INF }, { WF__RECIP, INF, 0 },
    };
    EACH_ISA(K) for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float v[19], w[19];
        for (int l = 0; l < 19; l++) v[l] = l % 3 ? 0.5f : cases[i].x; /* in company: one lane must not disturb another */
        K->unary[cases[i].op](w, v, 19);
        for (int l = 0; l < 19; l += 3)
            if (to_bits(w[l]) != to_bits(cases[i].y) && !(isnan(w[l]) && isnan(cases[i].y))) {
                printf("  %s unary %d of %g: %.9g, wanted %.9g\n", K->name, cases[i].op, (double)v[l], (double)w[l], (double)cases[i].y);
                CHECK(!"special argument");
                break;
            }
        v[0] = 0.5f;
        K->unary[cases[i].op](v, v, 1);
        CHECK(to_bits(w[1]) == to_bits(v[0]));
    }
}

WF_TEST(odd_and_even_functions)
{
    static const struct { int op; uint32_t sign; } parity[] = { { WF__TANH, 0x80000000u }, { WF__ERF, 0x80000000u }, { WF__SIN, 0x80000000u }, { WF__COS, 0 } };
    EACH_ISA(K) for (int f = 0; f < 4; f++) {
        int differ = 0;
        for (uint32_t i = 0; i < BLOCK; i++) x[i] = from_bits(i * 520193u & 0x7FFFFFFF);
        K->unary[parity[f].op](y, x, BLOCK);
        for (int i = 0; i < BLOCK; i++) x[i] = -x[i];
        K->unary[parity[f].op](first, x, BLOCK);
        for (int i = 0; i < BLOCK; i++) differ += !isnan(y[i]) && to_bits(y[i]) != (to_bits(first[i]) ^ parity[f].sign);
        CHECK_INT(differ, 0);
        for (int i = 0; i < BLOCK; i++) differ += !isnan(y[i]) && !(fabsf(y[i]) <= 1.0f);
        CHECK_INT(differ, 0);
    }
}

/* The angle of a point: all octants, axes, and infinities. */
WF_TEST(angle_of_a_point)
{
    static const float special[] = { 0.0f, -0.0f, 1.0f, -1.0f, INF, -INF, 1e-45f, 3e38f };
    EACH_ISA(K) {
        double worst = 0.0;
        for (int i = 0; i < BLOCK; i++) { x[i] = (float)cos(i * 0.01) * (float)(1 + i % 100); first[i] = (float)sin(i * 0.01) * (float)(1 + i % 77); }
        K->binary[WF__ATAN2](y, x, first, BLOCK);
        for (int i = 0; i < BLOCK; i++) { double e = ulps(atan2((double)x[i], (double)first[i]), y[i]); if (!(e <= worst)) worst = e; }
        CHECK(worst <= (wf_test_fused(K->name) ? 4 : 6));
        for (int i = 0; i < 64; i++) {
            float r;
            K->binary[WF__ATAN2](&r, special + i / 8, special + i % 8, 1);
            CHECK_CLOSE(r, atan2((double)special[i / 8], (double)special[i % 8]), 6e-7); /* four units of a number below four */
            CHECK(to_bits(r) >> 31 == to_bits(special[i / 8]) >> 31);
        }
        float n[2] = { NAN, 1.0f }, r[2];
        K->binary[WF__ATAN2](r, n, n + 1, 1);
        CHECK(isnan(r[0]));
        K->binary[WF__ATAN2](r, n + 1, n, 1);
        CHECK(isnan(r[0]));
    }
}

WF_MAIN_CASES(WF_CASE(errors_stay_below_their_ceilings), WF_CASE(formulas_meet), WF_CASE(right_angles), WF_CASE(increasing_functions_increase), WF_CASE(special_arguments), WF_CASE(odd_and_even_functions),
              WF_CASE(angle_of_a_point))
