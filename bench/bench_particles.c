/* How fast are particles, and how good are their error bars?

       make bench ONLY=particles                 speed, then each target once
       out/bench/bench_particles --log-z --seeds 30 --first-seed 101   each target 30 times: how often does the error bar cover the truth?
       out/bench/bench_particles --only GMM-40 --seeds 30              one target
       out/bench/bench_particles --quick         speed alone, few repetitions

   A table goes to stderr, one JSON object a line to stdout. Speed is CPU time of one thread; competitors run alternately with us in the same process. numpy is measured by a
   small program, where python3 has it. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "targets.h"

static double clock_of(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
static double now(void) { return clock_of(CLOCK_PROCESS_CPUTIME_ID); }

static int compare(const void *a, const void *b) { double x = *(const double *)a, y = *(const double *)b; return x < y ? -1 : x > y; }
static double median(double *x, int n) { qsort(x, (size_t)n, sizeof *x, compare); return x[n / 2]; }

enum { ROUNDS = 15 };
static int quick, rounds = ROUNDS;

/* ---- the competitors ---- */

#if defined(__GNUC__) && !defined(__clang__)
#define PLAIN __attribute__((noinline, optimize("O3")))
#else
#define PLAIN __attribute__((noinline))
#endif

static uint64_t plain_state = 88172645463325252ull;
static double plain_uniform(void) /* xorshift64*, as many people write it */
{
    plain_state ^= plain_state >> 12;
    plain_state ^= plain_state << 25;
    plain_state ^= plain_state >> 27;
    return ((double)((plain_state * 2685821657736338717ull) >> 11) + 0.5) / 9007199254740992.0;
}

PLAIN static void plain_normals(double *z, size_t n)
{
    for (size_t i = 0; i < n; i += 2) {
        double r = sqrt(-2 * log(plain_uniform())), a = 6.283185307179586 * plain_uniform();
        z[i] = r * cos(a);
        z[i + 1] = r * sin(a);
    }
}

/* Annealed Langevin on a quartic double well, with the weight, as one would write it down. */
PLAIN static void plain_langevin(double *x, double *log_w, size_t n, int dim, int steps, double h)
{
    double s = sqrt(2 * h), z[2] = { 0, 0 };
    for (int k = 0; k < steps; k++) {
        double t = (double)(k + 1) / steps, dt = 1.0 / steps;
        for (size_t p = 0; p < n; p++)
            for (int i = 0; i < dim; i++) {
                double v = x[p * (size_t)dim + (size_t)i], q = v * v - 1;
                log_w[p] -= dt * (q * q - 0.5 * v * v);
                if (!(i & 1)) plain_normals(z, 2);
                x[p * (size_t)dim + (size_t)i] = v - h * ((1 - t) * v + t * 4 * v * q) + s * z[i & 1];
            }
    }
}

/* sum (x^2 - 1)^2, as a user would write it who wants it fast (the attributes are those of the header): a compiler at -O2 makes vectors of loops of fixed length over pointers of which it knows that they do not overlap. */
WF__ALWAYS_INLINE void wells_row(const float *WF_RESTRICT x, float *WF_RESTRICT gradient, float *WF_RESTRICT sum)
{
    for (int l = 0; l < WF_LANES; l++) {
        float q = x[l] * x[l] - 1;
        sum[l] += q * q;
        gradient[l] = 4 * x[l] * q;
    }
}

WF__ALWAYS_INLINE void wells(const wf_tile *tile, double *energy, float *gradient)
{
    float sum[WF_LANES] = { 0 }, unwanted[WF_LANES];
    for (int i = 0; i < tile->dim; i++) wells_row(tile->x + i * WF_LANES, gradient ? gradient + i * WF_LANES : unwanted, sum);
    for (int l = 0; l < WF_LANES; l++) energy[l] = (double)sum[l];
}

/* as every processor can run it, and compiled for several */
static void wells_energy(void *user, const wf_tile *tile, double *energy, float *gradient) { (void)user; wells(tile, energy, gradient); }
WF_WIDE static void wells_wide(void *user, const wf_tile *tile, double *energy, float *gradient) { (void)user; wells(tile, energy, gradient); }

/* ns per element of the same in numpy: normals, a Langevin step; 0 where there is none */
static void numpy_times(double *normals, double *step)
{
    static const char program[] =
        "for python in \"$PEER_PYTHON\" python3 /usr/bin/python3; do \"$python\" -c \"import numpy as np, time\n"
        "g = np.random.default_rng(1); n, d, K = 4096, 10, 20\n"
        "t = time.process_time(); [g.standard_normal(n * d, dtype=np.float32) for _ in range(K)]; a = time.process_time() - t\n"
        "x = g.standard_normal((n, d), dtype=np.float32); w = np.zeros(n); h = np.float32(.01); t = time.process_time()\n"
        "for k in range(K):\n"
        "    b = np.float32((k + 1) / K); q = x * x - 1; w -= (q * q - .5 * x * x).sum(1) / K\n"
        "    x = x - h * ((1 - b) * x + 4 * b * x * q) + np.sqrt(2 * h) * g.standard_normal((n, d), dtype=np.float32)\n"
        "print(a / (n * d * K) * 1e9, (time.process_time() - t) / (n * d * K) * 1e9)\" && break; done 2>/dev/null";
    *normals = *step = 0;
    FILE *f = popen(program, "r");
    if (!f) return;
    if (fscanf(f, "%lf %lf", normals, step) != 2) *normals = *step = 0;
    pclose(f);
    if (!(*normals > 0)) fprintf(stderr, "SKIPPED numpy: python3 has none here\n");
}

/* floating point operations per nanosecond of independent fused multiplications; 0 where we do not know how to ask */
static double fma_peak(void)
{
    double start = now();
    long n = 200000;
#if defined(__x86_64__) && defined(__GNUC__)
    if (wf_isa_best() == WF_ISA_AVX512) {
        __asm__ volatile("vzeroall\n1:\n vfmadd231ps %%zmm14,%%zmm15,%%zmm0\n vfmadd231ps %%zmm14,%%zmm15,%%zmm1\n vfmadd231ps %%zmm14,%%zmm15,%%zmm2\n vfmadd231ps %%zmm14,%%zmm15,%%zmm3\n"
                         "vfmadd231ps %%zmm14,%%zmm15,%%zmm4\n vfmadd231ps %%zmm14,%%zmm15,%%zmm5\n vfmadd231ps %%zmm14,%%zmm15,%%zmm6\n vfmadd231ps %%zmm14,%%zmm15,%%zmm7\n dec %0\n jnz 1b\n vzeroupper\n"
                         : "+r"(n) : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm14", "xmm15", "cc");
        return 200000.0 * 8 * 32 / (now() - start) * 1e-9;
    }
#endif
    (void)n;
    (void)start;
    return 0;
}

static void put_ratio(const char *key, double value) { if (value > 0) printf(",\"%s\":%.2f", key, value); }

/* ---- speed ---- */

static void measure_normals(double numpy)
{
    static const int isas[] = { WF_ISA_SCALAR, WF_ISA_SSE2, WF_ISA_AVX2, WF_ISA_AVX512, WF_ISA_NEON, WF_ISA_WASM };
    enum { ROWS = 32, LANES = 256 };
    static float out[ROWS * LANES];
    static double plain[ROWS * LANES];
    for (size_t k = 0; k < sizeof isas / sizeof *isas; k++) {
        if (!wf_isa_available(isas[k])) continue;
        wf__random_fn fill = wf__random_for(isas[k]);
        double ns[ROUNDS], ratio[ROUNDS];
        int turns = isas[k] == WF_ISA_SCALAR ? 4 : 40;
        for (int r = -1; r < rounds; r++) {
            double start = now();
            for (int i = 0; i < turns; i++) wf__fill_random(fill, out, 0, WF__RANDOM_NORMAL, ROWS, LANES, 1, 0, (uint32_t)i, 0);
            double mine = (now() - start) / turns / (ROWS * LANES) * 1e9;
            start = now();
            plain_normals(plain, ROWS * LANES);
            double theirs = (now() - start) / (ROWS * LANES) * 1e9;
            if (r < 0) continue;
            ns[r] = mine;
            ratio[r] = theirs / mine;
        }
        double t = median(ns, rounds), q = median(ratio, rounds);
        printf("{\"bench\":\"normals\",\"isa\":\"%s\",\"ns_per_normal\":%.3f,\"ns_per_normal_best\":%.3f,\"ratio_to_plain_c\":%.1f", wf_isa_name(isas[k]), t, ns[0], q);
        put_ratio("ratio_to_numpy", numpy / t);
        printf("}\n");
        fprintf(stderr, "normals           %-8s %7.3f ns each (best %.3f), %5.1f times a plain loop\n", wf_isa_name(isas[k]), t, ns[0], q);
    }
}

static void measure_step(int dim, size_t n, int wide, double numpy)
{
    enum { LEVELS = 64 };
    double ns[ROUNDS], ratio[ROUNDS], peak[ROUNDS];
    size_t few = n > 512 ? 512 : n;
    double *x = (double *)calloc(few * (size_t)dim, sizeof *x), *w = (double *)calloc(few, sizeof *w);
    if (!x || !w) exit(1);
    wf_arena *A = wf_arena_new(NULL);
    wf_particles_desc d;
    memset(&d, 0, sizeof d);
    d.n = n;
    d.dim = dim;
    d.energy = wide ? wells_wide : wells_energy;
    d.levels = LEVELS;
    d.step = 0.01;
    d.threads = 1;
    d.threshold = -1;
    d.every = 16;
    wf_particles *p = wf_particles_new(A, &d);
    if (!p) { fprintf(stderr, "%s\n", wf_arena_report(A)->text); exit(1); }
    for (int r = -1; r < rounds; r++) {
        double flops = fma_peak();
        wf_particles_restart(p, (uint64_t)r + 2);
        double start = now();
        if (wf_particles_run(p) < 0) exit(1);
        double mine = (now() - start) / ((double)n * dim * LEVELS) * 1e9;
        start = now();
        plain_langevin(x, w, few, dim, 4, 0.01);
        double theirs = (now() - start) / ((double)few * dim * 4) * 1e9;
        if (r < 0) continue;
        ns[r] = mine;
        ratio[r] = theirs / mine;
        peak[r] = flops > 0 ? mine * flops : 0; /* how many operations the processor could have done meanwhile */
    }
    double t = median(ns, rounds), q = median(ratio, rounds), f = median(peak, rounds);
    printf("{\"bench\":\"annealed_langevin_step\",\"dim\":%d,\"n\":%d,\"callback\":\"%s\",\"ns_per_particle_dim_step\":%.3f,\"ns_best\":%.3f,\"ratio_to_plain_c\":%.1f", dim, (int)n, wide ? "WF_WIDE" : "plain", t, ns[0], q);
    put_ratio("fma_peak_flops_in_that_time", f);
    put_ratio("ratio_to_numpy", numpy / t);
    printf("}\n");
    fprintf(stderr, "langevin + weight d=%-4d n=%-8d %7.3f ns per particle, dimension and step (best %.3f), %5.1f times a plain loop; peak: %.0f operations in that time%s\n", dim, (int)n, t, ns[0], q, f, wide ? "" : "; callback without WF_WIDE");
    wf_arena_free(A);
    free(x);
    free(w);
}

static void resample_move(void *user, const wf_tile *tile, float *x, const float *normals, double *log_weight)
{
    (void)user;
    (void)x;
    for (int l = 0; l < tile->lanes; l++) log_weight[l] = 0.5 * (double)normals[l];
}

static void measure_resampling(int scheme, const char *name, int dim, size_t n)
{
    double ns[ROUNDS];
    wf_arena *A = wf_arena_new(NULL);
    wf_particles_desc d;
    memset(&d, 0, sizeof d);
    d.n = n;
    d.dim = dim;
    d.move = WF_MOVE_CUSTOM;
    d.custom = resample_move;
    d.levels = 1;
    d.threads = 1;
    d.threshold = -1;
    d.resample = scheme;
    wf_particles *p = wf_particles_new(A, &d);
    if (!p) { fprintf(stderr, "%s\n", wf_arena_report(A)->text); exit(1); }
    for (int r = -1; r < rounds; r++) {
        wf_particles_restart(p, (uint64_t)r + 2);
        if (wf_particles_run(p) < 0) exit(1);
        double start = now();
        wf_particles_resample(p);
        double t = (now() - start) / (double)n * 1e9;
        if (r >= 0) ns[r] = t;
    }
    double t = median(ns, rounds);
    printf("{\"bench\":\"resampling\",\"scheme\":\"%s\",\"dim\":%d,\"n\":%d,\"ns_per_particle\":%.2f,\"ns_best\":%.2f,\"goal_ns\":%.1f}\n", name, dim, (int)n, t, ns[0], 3 + 0.5 * dim);
    fprintf(stderr, "resampling        %-12s d=%-4d n=%-8d %7.2f ns per particle (best %.2f, goal %.1f)\n", name, dim, (int)n, t, ns[0], 3 + 0.5 * dim);
    wf_arena_free(A);
}

/* ---- log Z ---- */

/* How each target is run. A pilot run of few particles gives a mean and a covariance; then the main run starts from a normal law with those, the covariance inflated, in coordinates where it is the unit
   law (`whiten`), or coordinate by coordinate. The schedule of the main run is fixed: levels equally spaced in log t/(1-t) between -low and high.
   All this was chosen by looking at runs with seeds from 1 on; tables are made with seeds from 101 on, which nobody had looked at. */
typedef struct recipe {
    const char *name, *published;
    double sd;
    size_t pilot, n;
    int whiten;
    double inflate;
    int move, levels, moves, leaps;
    double low, high, step, cycle; /* low = high = 0: equally spaced in t. cycle: step sizes shrink by this factor from level to level, eight in turn */
    int adapt;
    double first;                  /* the step size of the first coordinate relative to the others; 0: like them */
} recipe;

static const recipe recipes[] = {
    /* in the mouth of the funnel the first coordinate is as narrow as elsewhere, while the others are up to 90 wide */
    { "funnel-10", "SMC -.163(.065), DDS -.176(.099), PIS -.268(.073)", 1, 0, 4096, 0, 1, WF_MOVE_HMC, 2000, 1, 8, 0, 0, 30, 3, 0, 0.02 },
    { "MW32", "CRAFT close to 164.7", 1, 8192, 16384, 0, 1, WF_MOVE_GHMC, 300, 1, 1, 3, 2, 0.1, 0, 1, 0 },
    { "MW54", "SCLD Sinkhorn .44", 1.5, 0, 32768, 0, 1, WF_MOVE_HMC, 60, 2, 3, 3, 2, 0.2, 0, 1, 0 },
    { "GMM-40", "NETS: ESS .98; biases of others hidden in it", 40, 0, 32768, 0, 1, WF_MOVE_GHMC, 60, 1, 1, 5, 4, 1, 0, 1, 0 },
    { "Brownian-32", "SMC .865(.583), DDS 1.047(.156), PIS 1.020(.124)", 1, 4096, 8192, 1, 2, WF_MOVE_GHMC, 2000, 1, 1, 3, 6, 0.15, 0, 1, 0 },
    { "Ionosphere", "SMC -111.585(.194), DDS -111.575(.162), PIS -111.615(.118)", 1, 1024, 8192, 1, 1.4, WF_MOVE_GHMC, 60, 1, 1, 3, 3, 0.3, 0, 1, 0 },
    /* whitened by Laplace's approximation, three leaps of HMC decorrelate as no number of Crank-Nicolson moves does */
    { "LGCP-1600", "SMC 504.2(2.9), DDS 503.0(.8), PIS 506.3(.6), all with another data file (truth there 512.0)", 1, 0, 512, 0, 1, WF_MOVE_HMC, 60, 1, 3, 4, 3, 0.4, 0, 1, 0 },
};
enum { TARGETS = sizeof recipes / sizeof recipes[0] };

static void moments(const wf_particles *p, size_t n, int dim, double *mean, double *covariance)
{
    double *x = (double *)malloc(n * (size_t)(dim + 1) * sizeof *x), *w = x + n * (size_t)dim;
    if (!x) exit(1);
    wf_particles_get(p, x, w, NULL);
    memset(mean, 0, (size_t)dim * sizeof *mean);
    memset(covariance, 0, (size_t)dim * (size_t)dim * sizeof *covariance);
    for (size_t k = 0; k < n; k++) for (int i = 0; i < dim; i++) mean[i] += w[k] * x[k * (size_t)dim + (size_t)i];
    for (size_t k = 0; k < n; k++)
        for (int i = 0; i < dim; i++)
            for (int j = 0; j < dim; j++) covariance[i * dim + j] += w[k] * (x[k * (size_t)dim + (size_t)i] - mean[i]) * (x[k * (size_t)dim + (size_t)j] - mean[j]);
    free(x);
}

static wf_particles *run(wf_arena *A, const wf_particles_desc *d)
{
    wf_particles *p = wf_particles_new(A, d);
    if (!p || wf_particles_run(p) < 0) { fprintf(stderr, "bench_particles: %s\n", p ? wf_particles_look(p).why.text : wf_arena_report(A)->text); exit(1); }
    return p;
}

/* One estimate, pilot included. */
static wf_particles_report estimate(const target *t, const recipe *how, uint64_t seed)
{
    static double times[2001], steps[2001], mean[64], sd[64], scale[64], covariance[64 * 64];
    wf_arena *A = wf_arena_new(NULL);
    wf_particles_desc d;
    target white;
    memset(&d, 0, sizeof d);
    memset(&white, 0, sizeof white);
    d.dim = t->dim;
    d.energy = t->energy;
    d.user = (void *)(uintptr_t)t;
    d.threads = 1;
    d.sd_all = how->sd;
    if (how->pilot) {
        d.n = how->pilot;
        d.seed = seed + 1000000;
        d.move = WF_MOVE_HMC;
        d.leaps = 5;
        d.moves = 2;
        d.step = 0.05;
        d.adapt = 2;
        d.adaptive = 0.9;
        d.levels = 500;
        moments(run(A, &d), d.n, d.dim, mean, covariance);
        d.adaptive = d.sd_all = 0;
        for (int i = 0; i < d.dim; i++) sd[i] = sqrt(how->inflate * covariance[i * d.dim + i]);
        if (how->whiten) {
            white = target_whiten(t, mean, covariance, how->inflate);
            if (!white.dim) { fprintf(stderr, "bench_particles: the covariance of the pilot run of %s is not positive definite\n", t->name); exit(1); }
            d.energy = white.energy;
            d.user = &white;
        } else { d.mean = mean; d.sd = sd; }
    }
    double first = 1 / (1 + exp(how->low)), last = 1 / (1 + exp(-how->high));
    for (int k = 0; k <= how->levels; k++) {
        times[k] = (1 / (1 + exp(how->low - (how->low + how->high) * k / how->levels)) - first) / (last - first);
        steps[k] = how->step * (how->cycle > 0 ? pow(how->cycle, -(double)(k % 8)) : 1);
    }
    for (int k = 0; k <= how->levels && how->low + how->high <= 0; k++) times[k] = (double)k / how->levels;
    times[0] = 0;
    times[how->levels] = 1;
    if (t->energy == funnel_energy) { /* a path of its own, from (3, 1, ..., 1) */
        for (int i = 0; i < d.dim; i++) sd[i] = i ? 1 : 3;
        d.sd = sd;
        d.sd_all = 0;
        d.path = 1;
        d.energy = funnel_path_energy;
        for (int i = 0; i < d.dim; i++) scale[i] = !i && how->first > 0 ? how->first : 1;
        d.scale = scale;
    }
    d.n = how->n;
    d.seed = seed;
    d.move = how->move;
    d.levels = how->levels;
    d.times = times;
    d.moves = how->moves;
    d.leaps = how->leaps;
    d.steps = steps;
    d.adapt = how->adapt;
    wf_particles_report r = wf_particles_look(run(A, &d));
    target_free(&white);
    wf_arena_free(A);
    return r;
}

static void measure_target(const recipe *how, const target *t, int seeds, int first)
{
    double bias = 0, square = 0, wall = 0, work = 0, claimed = 0;
    int covered = 0;
    for (int s = 0; s < seeds; s++) {
        double start = clock_of(CLOCK_MONOTONIC), used = now();
        wf_particles_report r = estimate(t, how, (uint64_t)(first + s));
        double time = clock_of(CLOCK_MONOTONIC) - start, off = r.log_z - t->truth, bar = 1.96 * sqrt(r.log_z_error * r.log_z_error + t->truth_error * t->truth_error);
        bias += off / seeds;
        square += off * off / seeds;
        wall += time / seeds;
        used = now() - used;
        work += used / seeds;
        claimed += r.log_z_error * r.log_z_error / seeds;
        covered += fabs(off) <= bar;
        printf("{\"bench\":\"log_z\",\"target\":\"%s\",\"log_z\":%.5f,\"error_bar\":%.5f,\"truth\":%.6f,\"truth_error\":%.3f,\"seconds\":%.2f,\"cpu_seconds\":%.2f,\"seed\":%d,\"particles\":%d,\"levels\":%d,\"pareto_k\":%.2f,\"published\":\"%s\"}\n", t->name,
               r.log_z, r.log_z_error, t->truth, t->truth_error, time, used, first + s, (int)r.n, r.levels, r.pareto_k > -9 ? r.pareto_k : 0, how->published);
        fflush(stdout);
        fprintf(stderr, "%-12s log Z %10.4f +- %.4f  truth %10.4f  off %+.4f  %6.1f s   published: %s\n", t->name, r.log_z, r.log_z_error, t->truth, off, time, how->published);
    }
    if (seeds < 2) return;
    printf("{\"bench\":\"log_z_coverage\",\"target\":\"%s\",\"seeds\":%d,\"bias\":%.5f,\"bias_error\":%.5f,\"rmse\":%.5f,\"claimed\":%.5f,\"covered\":%.3f,\"seconds\":%.2f,\"cpu_seconds\":%.2f}\n", t->name, seeds, bias,
           sqrt((square - bias * bias > 0 ? square - bias * bias : 0) / (seeds - 1)), sqrt(square), sqrt(claimed), (double)covered / seeds, wall, work);
    fprintf(stderr, "%-12s %d seeds: bias %+.4f, rmse %.4f, claimed %.4f, covered %d, %.1f s each\n", t->name, seeds, bias, sqrt(square), sqrt(claimed), covered, work);
}

static void measure_targets(const char *only, int seeds, int first)
{
    const char *shared = getenv("WF_SHARED") && *getenv("WF_SHARED") ? getenv("WF_SHARED") : "../shared";
    for (int i = 0; i < TARGETS; i++) {
        const recipe *how = &recipes[i];
        double laplace = 0;
        if (only && strcmp(only, how->name)) continue;
        target t = i == 0 ? target_funnel() : i == 1 ? target_many_well() : i == 2 ? target_symmetric_well() : i == 3 ? target_gmm() : i == 4 ? target_brownian() : i == 5 ? target_ionosphere(shared) : target_lgcp(shared, &laplace);
        if (t.dim) measure_target(how, &t, seeds, first);
        else fprintf(stderr, "SKIPPED %s: no data under %s/data/samplers\n", how->name, shared);
        target_free(&t);
    }
}

int main(int argc, char **argv)
{
    const char *only = NULL;
    int seeds = 1, first = 1, speed = 1;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick")) quick = 1;
        else if (!strcmp(argv[i], "--only") && i + 1 < argc) only = argv[++i];
        else if (!strcmp(argv[i], "--seeds") && i + 1 < argc) seeds = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--first-seed") && i + 1 < argc) first = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--log-z")) speed = 0;
        else { fprintf(stderr, "options: --quick, --log-z, --only TARGET, --seeds N, --first-seed N\n"); return !!strcmp(argv[i], "--help"); }
    }
    if (quick) rounds = 5;
    if (!only && speed) {
        double normals, step;
        numpy_times(&normals, &step);
        measure_normals(normals);
        measure_step(1, 4096, 1, 0);
        measure_step(2, 4096, 1, 0);
        measure_step(10, 4096, 1, step);
        measure_step(10, 4096, 0, step);
        if (!quick) measure_step(100, 4096, 1, 0);
        measure_resampling(WF_RESAMPLE_SYSTEMATIC, "systematic", 1, 1 << 16);
        measure_resampling(WF_RESAMPLE_SYSTEMATIC, "systematic", 10, 1 << 16);
        measure_resampling(WF_RESAMPLE_SSP, "ssp", 10, 1 << 16);
        measure_resampling(WF_RESAMPLE_MULTINOMIAL, "multinomial", 10, 1 << 16);
    }
    if (!quick) measure_targets(only, seeds < 1 ? 1 : seeds, first);
    return 0;
}
