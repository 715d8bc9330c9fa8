/* The clock of a benchmark, and the peak of fused multiply-adds to compare with. Include it after weightflow.h. */
#ifndef PEAK_H
#define PEAK_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

/* ---- the peak: independent chains of fused multiply-adds in registers, nothing else ---- */

#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__) && !defined(WF_NO_SIMD)
typedef float v16 __attribute__((vector_size(64)));
typedef float v8 __attribute__((vector_size(32)));

#define CHAINS(V, FMA, ...)                                                                                  \
    V c0 = zero, c1 = zero, c2 = zero, c3 = zero, c4 = zero, c5 = zero, c6 = zero, c7 = zero, c8 = zero, c9 = zero, c10 = zero, c11 = zero; \
    for (long i = 0; i < n; i++) {                                                                           \
        c0 = FMA(a, b, c0); c1 = FMA(a, b, c1); c2 = FMA(a, b, c2); c3 = FMA(a, b, c3); c4 = FMA(a, b, c4); c5 = FMA(a, b, c5);   \
        c6 = FMA(a, b, c6); c7 = FMA(a, b, c7); c8 = FMA(a, b, c8); c9 = FMA(a, b, c9); c10 = FMA(a, b, c10); c11 = FMA(a, b, c11); \
        __asm__ volatile("" : "+" __VA_ARGS__(c0), "+" __VA_ARGS__(c1), "+" __VA_ARGS__(c2), "+" __VA_ARGS__(c3), "+" __VA_ARGS__(c4), "+" __VA_ARGS__(c5));   \
        __asm__ volatile("" : "+" __VA_ARGS__(c6), "+" __VA_ARGS__(c7), "+" __VA_ARGS__(c8), "+" __VA_ARGS__(c9), "+" __VA_ARGS__(c10), "+" __VA_ARGS__(c11)); \
    }                                                                                                        \
    *out = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11;

__attribute__((target("avx512f,avx2,fma"))) static void peak_avx512(long n, float *result)
{
    v16 zero = { 0 }, a = zero + 1.5f, b = zero + 0.25f, *out = (v16 *)(void *)result;
#define FMA512(x, y, z) ((v16)_mm512_fmadd_ps((__m512)(x), (__m512)(y), (__m512)(z)))
    CHAINS(v16, FMA512, "v")
}

__attribute__((target("avx2,fma"))) static void peak_avx2(long n, float *result)
{
    v8 zero = { 0 }, a = zero + 1.5f, b = zero + 0.25f, *out = (v8 *)(void *)result;
#define FMA256(x, y, z) ((v8)_mm256_fmadd_ps((__m256)(x), (__m256)(y), (__m256)(z)))
    CHAINS(v8, FMA256, "x")
}

/* GFLOP/s over one block of about `seconds`. */
static double peak_block(int isa, double seconds)
{
    static union { float x[16]; v16 align; } sink;
    static long n = 10000;
    int width = isa == WF_ISA_AVX512 ? 16 : 8;
    double start = cpu_seconds(), time;
    long done = 0;
    do {
        if (isa == WF_ISA_AVX512) peak_avx512(n, sink.x);
        else peak_avx2(n, sink.x);
        done += n;
        time = cpu_seconds() - start;
    } while (time < seconds);
    return 1e-9 * (double)done * 12 * 2 * width / time;
}
static int peak_known(int isa) { return isa == WF_ISA_AVX512 || isa == WF_ISA_AVX2; }
#else
static double peak_block(int isa, double seconds) { (void)isa; (void)seconds; return 0; }
static int peak_known(int isa) { (void)isa; return 0; }
#endif

#endif
