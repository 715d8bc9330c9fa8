/* How far are the kernels from what the machine can do?

       make bench ONLY=kernels

   A table goes to stderr, one JSON object a line to stdout. Everything is CPU time of one thread. The product of matrices is compared with the largest number of fused
   multiplications per second that a loop without memory access reaches, and the two are measured alternately, because the clock of a machine drifts. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const void *a, const void *b) { double x = *(const double *)a, y = *(const double *)b; return x < y ? -1 : x > y; }
static double median(double *x, int n) { qsort(x, (size_t)n, sizeof *x, compare); return x[n / 2]; }

/* Twelve independent chains: enough for four cycles of latency and two, even three units. */
#define CHAINS(r) \
    "1:\n vfmadd231ps %%" r "14, %%" r "15, %%" r "0\n vfmadd231ps %%" r "14, %%" r "15, %%" r "1\n vfmadd231ps %%" r "14, %%" r "15, %%" r "2\n" \
    "vfmadd231ps %%" r "14, %%" r "15, %%" r "3\n vfmadd231ps %%" r "14, %%" r "15, %%" r "4\n vfmadd231ps %%" r "14, %%" r "15, %%" r "5\n" \
    "vfmadd231ps %%" r "14, %%" r "15, %%" r "6\n vfmadd231ps %%" r "14, %%" r "15, %%" r "7\n vfmadd231ps %%" r "14, %%" r "15, %%" r "8\n" \
    "vfmadd231ps %%" r "14, %%" r "15, %%" r "9\n vfmadd231ps %%" r "14, %%" r "15, %%" r "10\n vfmadd231ps %%" r "14, %%" r "15, %%" r "11\n dec %0\n jnz 1b\n"
#define ZEROS "vzeroall\n"

/* floating point operations per nanosecond; 0 where we do not know how to ask */
static double fma_peak(int isa)
{
    long turns = 100000, n = turns;
    double start = now(), lanes = 0.0;
#if defined(__x86_64__) && defined(__GNUC__)
    if (isa == WF_ISA_AVX512) {
        lanes = 16.0;
        __asm__ volatile(ZEROS CHAINS("zmm") "vzeroupper\n" : "+r"(n) : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm14", "xmm15", "cc");
    } else if (isa == WF_ISA_AVX2) {
        lanes = 8.0;
        __asm__ volatile(ZEROS CHAINS("ymm") "vzeroupper\n" : "+r"(n) : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm14", "xmm15", "cc");
    }
#endif
    (void)isa;
    (void)n;
    return lanes * 2.0 * 12.0 * (double)turns / (now() - start) * 1e-9;
}

#define ROUNDS 15
static float *A, *B, *C;

static void measure_product(int isa, const char *kind, size_t m, size_t n, size_t k)
{
    const wf__kernels *K = wf__kernels_for(isa, 0);
    double rate[ROUNDS], ratio[ROUNDS], flops = 2.0 * (double)m * (double)n * (double)k;
    int turns = (int)(1e7 / flops) + 1, nt = !strcmp(kind, "nt"), tn = !strcmp(kind, "tn");
    for (int round = -1; round < ROUNDS; round++) {
        double peak = fma_peak(isa), start = now();
        for (int i = 0; i < turns; i++) {
            if (nt) K->gemm_nt(C, n, A, k, B, k, m, n, k, 1, C + m * n);
            else K->gemm(C, n, A, tn ? 1 : (ptrdiff_t)k, tn ? (ptrdiff_t)m : 1, B, n, m, n, k, 0, NULL, 0);
        }
        double speed = flops * turns / (now() - start) * 1e-9;
        if (round < 0) continue; /* warm up */
        rate[round] = speed;
        ratio[round] = peak > 0.0 ? speed / peak : 0.0;
    }
    double r = median(rate, ROUNDS), q = median(ratio, ROUNDS);
    printf("{\"bench\":\"matrix_kernel\",\"isa\":\"%s\",\"kind\":\"%s\",\"m\":%d,\"n\":%d,\"k\":%d,\"gflops\":%.1f,\"ratio_to_peak\":%.3f}\n", K->name, kind, (int)m, (int)n, (int)k, r, q);
    fprintf(stderr, "%-9s %-3s %5d %5d %5d  %7.1f GFLOP/s  %5.1f %% of peak\n", K->name, kind, (int)m, (int)n, (int)k, r, 100.0 * q);
}

static void measure_map(int isa, int op, const char *name, float low, float high)
{
    const wf__kernels *K = wf__kernels_for(isa, 0);
    double ns[ROUNDS];
    for (size_t i = 0; i < 4096; i++) A[i] = low + (high - low) * (float)(i * 2654435761u % 4096) / 4096.0f;
    for (int round = -1; round < ROUNDS; round++) {
        double start = now();
        for (int i = 0; i < 100; i++) K->unary[op](C, A, 4096);
        if (round >= 0) ns[round] = (now() - start) / 100.0 / 4096.0 * 1e9;
    }
    double r = median(ns, ROUNDS);
    printf("{\"bench\":\"elementary\",\"isa\":\"%s\",\"function\":\"%s\",\"ns_per_element\":%.4f}\n", K->name, name, r);
    fprintf(stderr, "%-9s %-9s %7.3f ns per element\n", K->name, name, r);
}

int main(void)
{
    static const int isas[] = { WF_ISA_SSE2, WF_ISA_AVX2, WF_ISA_AVX512, WF_ISA_NEON, WF_ISA_WASM };
    static const size_t shapes[][3] = { { 64, 64, 64 }, { 64, 128, 64 }, { 64, 256, 64 }, { 64, 512, 64 }, { 64, 1024, 64 }, { 1, 64, 64 }, { 64, 64, 2 }, { 16, 16, 16 }, { 32, 32, 32 },
                                        { 64, 7, 64 }, { 64, 50, 64 }, { 128, 64, 128 }, { 256, 256, 256 }, { 512, 512, 512 } };
    static const struct { int op; const char *name; float low, high; } maps[] = {
        { WF__EXP, "exp", -20, 20 }, { WF__EXPM1, "expm1", -3, 3 }, { WF__LOG, "log", 0.01f, 100 }, { WF__LOG1P, "log1p", -0.9f, 3 }, { WF__SQRT, "sqrt", 0, 9 },
        { WF__TANH, "tanh", -4, 4 }, { WF__SIGMOID, "sigmoid", -9, 9 }, { WF__SOFTPLUS, "softplus", -9, 9 }, { WF__ERF, "erf", -3, 3 }, { WF__SIN, "sin", -9, 9 }, { WF__COS, "cos", -9, 9 },
        { WF__RELU, "relu", -1, 1 } };
    size_t room = 512 * 512 + 4096;
    A = (float *)malloc(3 * room * sizeof *A + 64);
    if (!A) return 1;
    float *base = A;
    A = (float *)(((uintptr_t)A + 63) & ~(uintptr_t)63);
    B = A + room;
    C = B + room;
    for (size_t i = 0; i < room; i++) { A[i] = (float)(i % 13) * 0.1f - 0.6f; B[i] = (float)(i % 7) * 0.2f - 0.6f; C[i] = 0.0f; }
    for (int i = 0; i < 5; i++) {
        if (!wf_isa_available(isas[i])) continue;
        fprintf(stderr, "%-9s peak of fused multiplications %.1f GFLOP/s\n", wf_isa_name(isas[i]), fma_peak(isas[i]));
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) measure_product(isas[i], "nn", shapes[s][0], shapes[s][1], shapes[s][2]);
        measure_product(isas[i], "tn", 64, 64, 64);
        measure_product(isas[i], "nt", 64, 64, 64);
        measure_product(isas[i], "nt", 64, 8, 64);
        measure_product(isas[i], "nt", 1, 64, 64);
        for (size_t f = 0; f < sizeof maps / sizeof *maps; f++) measure_map(isas[i], maps[f].op, maps[f].name, maps[f].low, maps[f].high);
    }
    free(base);
    return 0;
}
