/* Instruction sets, and the words of each: every word against the same sentence in plain C. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

// region: ask which instruction sets run here
WF_TEST(ask_which_instruction_sets_run_here)
{
    int best = wf_isa_best();
    printf("  best: %s\n", wf_isa_name(best)); /* "avx512", say */
    CHECK(wf_isa_available(best) && wf_isa_available(WF_ISA_SCALAR));
}
// end region

WF_TEST(sets_form_a_chain)
{
    int best = wf_isa_best();
    CHECK(best >= WF_ISA_SCALAR && best <= WF_ISA_WASM);
    CHECK(wf_isa_available(WF_ISA_AUTO));
    for (int isa = -3; isa < 20; isa++) {
        CHECK(!wf_isa_available(isa) || (isa >= WF_ISA_AUTO && isa <= best));
        if (best <= WF_ISA_AVX512 && isa >= WF_ISA_SCALAR && isa <= best) CHECK(wf_isa_available(isa));
        CHECK((isa >= 0 && isa <= WF_ISA_WASM) == (strcmp(wf_isa_name(isa), "unknown") != 0));
        const wf__kernels *K = wf__kernels_for(isa, 0);
        CHECK((K != NULL) == wf_isa_available(isa));
        if (K && isa > WF_ISA_SCALAR) CHECK(!strcmp(K->name, wf_isa_name(isa)));
        if (K) CHECK(wf__kernels_for(isa, 1)->size == sizeof(double) && K->size == sizeof(float));
    }
}

enum { ADD, SUB, MUL, DIV, SQRT, FMA, FNMA, MIN, MAX, ROUND, FLOOR, AND, ANDNOT, OR, XOR, LT, LE, EQ, NEG, ABS, SIGN, IADD, ISUB, IAND, ISHL, ISRA, ODD, TOF, SPLAT, WORDS };
static const char *const names[WORDS] = { "ADD", "SUB", "MUL", "DIV", "SQRT", "FMA", "FNMA", "MIN", "MAX", "ROUND", "FLOOR", "AND", "ANDNOT", "OR", "XOR", "LT", "LE", "EQ", "NEG", "ABS", "SIGN",
                                          "IADD", "ISUB", "IAND", "ISHL", "ISRA", "ODD", "TOF", "SPLAT" };

/* The results of all words, 16 lanes each: y[word][lane]. */
#define USE(isa, V) \
    WF__KERNEL_##isa void words_##isa(float y[WORDS][16], const float *a, const float *b, const float *c) \
    { \
        for (int i = 0; i < 16; i += V(W)) { \
            V(F) u = V(LD)(a + i), v = V(LD)(b + i), w = V(LD)(c + i), one = V(SET1)(1.0f), zero = V(SET1)(0.0f); \
            V(I) m = V(BITS)(u), n = V(BITS)(v); \
            V(ST)(y[ADD] + i, V(ADD)(u, v)); V(ST)(y[SUB] + i, V(SUB)(u, v)); V(ST)(y[MUL] + i, V(MUL)(u, v)); V(ST)(y[DIV] + i, V(DIV)(u, v)); V(ST)(y[SQRT] + i, V(SQRT)(u)); \
            V(ST)(y[FMA] + i, V(FMA)(u, v, w)); V(ST)(y[FNMA] + i, V(FNMA)(u, v, w)); V(ST)(y[MIN] + i, V(MIN)(u, v)); V(ST)(y[MAX] + i, V(MAX)(u, v)); \
            V(ST)(y[ROUND] + i, V(ROUND)(u)); V(ST)(y[FLOOR] + i, V(FLOOR)(u)); V(ST)(y[AND] + i, V(AND)(u, v)); V(ST)(y[ANDNOT] + i, V(ANDNOT)(u, v)); V(ST)(y[OR] + i, V(OR)(u, v)); \
            V(ST)(y[XOR] + i, V(XOR)(u, v)); V(ST)(y[LT] + i, V(SEL)(V(LT)(u, v), one, zero)); V(ST)(y[LE] + i, V(SEL)(V(LE)(u, v), one, zero)); \
            V(ST)(y[EQ] + i, V(SEL)(V(EQ)(u, v), one, zero)); V(ST)(y[NEG] + i, V(NEG)(u)); V(ST)(y[ABS] + i, V(ABS)(u)); V(ST)(y[SIGN] + i, V(SIGN)(u)); \
            V(ST)(y[IADD] + i, V(FLT)(V(IADD)(m, n))); V(ST)(y[ISUB] + i, V(FLT)(V(ISUB)(m, n))); V(ST)(y[IAND] + i, V(FLT)(V(IAND)(m, V(ISET1)(0x00FF00FF)))); \
            V(ST)(y[ISHL] + i, V(FLT)(V(ISHL)(m, 5))); V(ST)(y[ISRA] + i, V(FLT)(V(ISRA)(m, 7))); V(ST)(y[ODD] + i, V(SEL)(V(ODD)(m), one, zero)); \
            V(ST)(y[TOF] + i, V(TOF)(V(ISRA)(m, 9))); V(ST)(y[SPLAT] + i, V(SET1)(a[0])); \
        } \
    } \
    WF__KERNEL_##isa void part_##isa(float *y, const float *x, size_t n) { V(K) k = V(TAIL)(n); V(STK)(y, V(LDK)(x, k), k); } \
    WF__KERNEL_##isa void spread_##isa(float *y, const float *x, size_t n) { V(ST)(y, V(LDK)(x, V(TAIL)(n))); } \
    WF__KERNEL_##isa int any_##isa(const float *x) { int r = 0; for (int i = 0; i < 16; i += V(W)) r |= V(ANY)(V(LT)(V(LD)(x + i), V(SET1)(0.0f))) != 0; return r; }

#define SSE2(x) WF__SSE2_##x
#define AVX2(x) WF__AVX2_##x
#define AVX512(x) WF__AVX512_##x
#define NEON(x) WF__NEON_##x
#define WASM(x) WF__WASM_##x
#ifdef WF__ISA_SSE2
USE(sse2, SSE2)
#endif
#ifdef WF__ISA_AVX2
USE(avx2, AVX2)
#endif
#ifdef WF__ISA_AVX512
USE(avx512, AVX512)
#endif
#ifdef WF__ISA_NEON
USE(neon, NEON)
#endif
#ifdef WF__ISA_WASM
USE(wasm, WASM)
#endif

static const struct {
    int isa, width, fused;
    void (*words)(float y[WORDS][16], const float *a, const float *b, const float *c);
    void (*part)(float *y, const float *x, size_t n), (*spread)(float *y, const float *x, size_t n);
    int (*any)(const float *x);
} sets[] = {
#ifdef WF__ISA_SSE2
    { WF_ISA_SSE2, 4, 0, words_sse2, part_sse2, spread_sse2, any_sse2 },
#endif
#ifdef WF__ISA_AVX2
    { WF_ISA_AVX2, 8, 1, words_avx2, part_avx2, spread_avx2, any_avx2 },
#endif
#ifdef WF__ISA_AVX512
    { WF_ISA_AVX512, 16, 1, words_avx512, part_avx512, spread_avx512, any_avx512 },
#endif
#ifdef WF__ISA_NEON
    { WF_ISA_NEON, 4, 1, words_neon, part_neon, spread_neon, any_neon },
#endif
#ifdef WF__ISA_WASM
    { WF_ISA_WASM, 4, 0, words_wasm, part_wasm, spread_wasm, any_wasm },
#endif
    { 0, 0, 0, NULL, NULL, NULL, NULL }
};

static uint32_t bits(float x) { uint32_t b; memcpy(&b, &x, 4); return b; }
static float number(uint32_t b) { float x; memcpy(&x, &b, 4); return x; }
static int32_t shifted(uint32_t b, int n) { return (int32_t)(b >> n | (b >> 31 ? ~(0xFFFFFFFFu >> n) : 0)); }

static float plain(int word, float a, float b, float c, int fused)
{
    uint32_t m = bits(a), n = bits(b), minus = 0x80000000u;
    switch (word) {
    case ADD: return a + b;
    case SUB: return a - b;
    case MUL: return a * b;
    case DIV: return a / b;
    case SQRT: return sqrtf(a);
    case FMA: { float p = a * b; return fused ? fmaf(a, b, c) : p + c; }
    case FNMA: { float p = a * b; return fused ? fmaf(-a, b, c) : c - p; }
    case MIN: return a < b ? a : b;
    case MAX: return a > b ? a : b;
    case ROUND: return rintf(a);
    case FLOOR: return floorf(a);
    case AND: return number(m & n);
    case ANDNOT: return number(~m & n);
    case OR: return number(m | n);
    case XOR: return number(m ^ n);
    case LT: return a < b;
    case LE: return a <= b;
    case EQ: return a <= b && a >= b;
    case NEG: return number(m ^ minus);
    case ABS: return number(m & ~minus);
    case SIGN: return number(m & minus);
    case IADD: return number(m + n);
    case ISUB: return number(m - n);
    case IAND: return number(m & 0x00FF00FFu);
    case ISHL: return number(m << 5);
    case ISRA: return number((uint32_t)shifted(m, 7));
    case ODD: return m & 1;
    case TOF: return (float)shifted(m, 9);
    default: return a;
    }
}

WF_TEST(words_mean_the_same_everywhere)
{
    static const float awkward[] = { 0.0f, -0.0f, 0.5f, -0.5f, 1.5f, 2.5f, -2.5f, 0.49999997f, 1.0f, -1.0f, 3.0f, 1e-45f, -1e-40f, 1.17549435e-38f, 3.40282347e38f, -3.40282347e38f, HUGE_VALF, -HUGE_VALF,
                                     NAN, 8388607.5f, 8388608.0f, -8388609.0f, 4194303.5f, 1.00000012f, 0.99999994f, 123456.789f, -7.25f, 1e10f, -1e-10f };
    enum { COUNT = sizeof awkward / sizeof *awkward };
    for (int s = 0; sets[s].words; s++) {
        if (!wf_isa_available(sets[s].isa)) continue;
        for (int turn = 0; turn < COUNT * COUNT; turn++) {
            float a[16], b[16], c[16], y[WORDS][16];
            for (int l = 0; l < 16; l++) { a[l] = awkward[(turn + l) % COUNT]; b[l] = awkward[(turn / COUNT + 3 * l) % COUNT]; c[l] = awkward[(turn / 7 + 5 * l) % COUNT]; }
            sets[s].words(y, a, b, c);
            for (int w = 0; w < WORDS; w++) for (int l = 0; l < 16; l++) {
                float want = w == SPLAT ? a[0] : plain(w, a[l], b[l], c[l], sets[s].fused);
                if (bits(y[w][l]) == bits(want) || (isnan(y[w][l]) && isnan(want) && w < AND)) continue;
                printf("  %s %s(%g, %g, %g) = %g, wanted %g\n", wf_isa_name(sets[s].isa), names[w], (double)a[l], (double)b[l], (double)c[l], (double)y[w][l], (double)want);
                CHECK(!"a word");
                return;
            }
        }
    }
}

WF_TEST(parts_of_vectors_touch_nothing_else)
{
    for (int s = 0; sets[s].words; s++) {
        if (!wf_isa_available(sets[s].isa)) continue;
        for (int n = 0; n <= sets[s].width; n++) {
            if (n == 16) continue; /* WFV_TAIL is for less than a vector, or a vector of at most 16 lanes */
            float *x = (float *)malloc((size_t)(n + !n) * sizeof *x), y[20], z[16]; /* exactly as long: a tool that checks memory sees one element too many */
            for (int i = 0; i < n; i++) x[i] = (float)(i + 1);
            for (int i = 0; i < 20; i++) y[i] = -7.0f;
            sets[s].part(y + 1, x, (size_t)n);
            for (int i = 0; i < 20; i++) CHECK(y[i] == (i >= 1 && i <= n ? (float)i : -7.0f));
            sets[s].spread(z, x, (size_t)n);
            for (int i = 0; i < sets[s].width; i++) CHECK(z[i] == (i < n ? (float)(i + 1) : 0.0f));
            free(x);
        }
        float x[16] = { 0 };
        CHECK(!sets[s].any(x));
        for (int i = 0; i < 16; i++) { x[i] = -1.0f; CHECK(sets[s].any(x)); x[i] = 0.0f; }
    }
}

WF_MAIN_CASES(WF_CASE(ask_which_instruction_sets_run_here), WF_CASE(sets_form_a_chain), WF_CASE(words_mean_the_same_everywhere), WF_CASE(parts_of_vectors_touch_nothing_else))
