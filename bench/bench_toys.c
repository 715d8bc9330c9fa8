/* Laws in the plane whose entropy is known, learned from 18000 points by the standard spline flow with default training (2000 more points choose the best step): `kl`, what is missing on 20000 fresh points to the best possible
   likelihood, in nats. Beside it a neural spline flow of the same size in PyTorch (bench/reference_toys.py, run by bench/peers.py): ratio of what is missing. Also the other maps, with --maps. Lines of JSON.

       bench_toys [--quick] [--maps] [--seed N] [NAME ...]     crescent sine checkerboard eight_gaussians rings */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct toy { const char *name; double (*draw)(wf_rng *rng, double *x); } toy; /* draws a point; returns -log of its density */

static const double log_2pi = 1.8378770664093453;

static double crescent(wf_rng *rng, double *x)
{
    double a = wf_rng_normal(rng), b = wf_rng_normal(rng);
    x[0] = a;
    x[1] = 0.5 * a * a - 1 + exp(-1) * b;
    return 0.5 * (a * a + b * b) + log_2pi - 1;
}

static double sine(wf_rng *rng, double *x)
{
    double a = wf_rng_normal(rng), b = wf_rng_normal(rng);
    x[0] = a;
    x[1] = sin(5 * a) + exp(-1) * b;
    return 0.5 * (a * a + b * b) + log_2pi - 1;
}

static double checkerboard(wf_rng *rng, double *x)
{
    double column = wf_rng_below(rng, 4), row = 2 * wf_rng_below(rng, 2) + ((int)column % 2);
    x[0] = column - 2 + wf_rng_uniform(rng);
    x[1] = row - 2 + wf_rng_uniform(rng);
    return log(8);
}

static double eight(wf_rng *rng, double *x)
{
    double angle = 0.785398163397448 * wf_rng_below(rng, 8), density = 0, s = 0.2;
    x[0] = 2 * cos(angle) + s * wf_rng_normal(rng);
    x[1] = 2 * sin(angle) + s * wf_rng_normal(rng);
    for (int k = 0; k < 8; k++) {
        double u = x[0] - 2 * cos(0.785398163397448 * k), v = x[1] - 2 * sin(0.785398163397448 * k);
        density += exp(-0.5 * (u * u + v * v) / (s * s)) / (8 * 6.28318530717958648 * s * s);
    }
    return -log(density);
}

/* Four rings of deviation 0.1 around radii 0.5, ..., 2, each with a quarter of the points: density over the radius and the angle. */
static double rings(wf_rng *rng, double *x)
{
    double ring = 0.5 * (1 + wf_rng_below(rng, 4)), r = fabs(ring + 0.1 * wf_rng_normal(rng)), angle = 6.28318530717958648 * wf_rng_uniform(rng), density = 0;
    x[0] = r * cos(angle);
    x[1] = r * sin(angle);
    for (int k = 1; k <= 4; k++)
        for (int side = -1; side <= 1; side += 2) density += 0.25 * exp(-0.5 * pow((side * r - 0.5 * k) / 0.1, 2)) / (0.1 * 2.50662827463100051);
    return -log(density / (6.28318530717958648 * r));
}

static void quality(const toy *t, int map, int quick, uint32_t seed)
{
    enum { N = 20000 };
    static float x[2 * N], fresh[2 * N], p[N];
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, seed, WF_F32);
    wf_flow *f = wf_flow_standard(A, "f", 2, 0, map, 0);
    wf_flow_fit_desc how;
    wf_fit_report report;
    wf_rng rng;
    double at[2], entropy = 0, nll = 0, start = cpu_seconds();
    memset(&how, 0, sizeof how);
    how.steps = quick ? 50 : 0;
    how.threads = 1;
    wf_rng_init(&rng, seed, 2);
    for (int i = 0; i < N; i++) { t->draw(&rng, at); x[2 * i] = (float)at[0]; x[2 * i + 1] = (float)at[1]; }
    for (int i = 0; i < N; i++) { entropy += t->draw(&rng, at) / N; fresh[2 * i] = (float)at[0]; fresh[2 * i + 1] = (float)at[1]; }
    wf_flow_data data = { x, NULL, N }, test = { fresh, NULL, N };
    if (!f || wf_flow_fit(f, P, &data, &how, &report) < 0 || wf_flow_evaluate(f, P, &test, 1, p, NULL) < 0) { fprintf(stderr, "bench_flows: %s\n", wf_arena_report(A)->text); exit(1); }
    for (int i = 0; i < N; i++) nll -= (double)p[i] / N;
    printf("{\"bench\":\"flow_toy\",\"toy\":\"%s\",\"map\":\"%s\",\"entropy\":%.4f,\"nll\":%.4f,\"kl\":%.4f,\"steps\":%d,\"seconds\":%.1f}\n", t->name, map == WF_MAP_SPLINE ? "spline" : map == WF_MAP_SMOOTH ? "smooth" : "affine", entropy, nll, nll - entropy,
           (int)report.steps, cpu_seconds() - start);
    fflush(stdout);
    wf_arena_free(A);
}

int main(int argc, char **argv)
{
    static const toy toys[] = { { "crescent", crescent }, { "sine", sine }, { "checkerboard", checkerboard }, { "eight_gaussians", eight }, { "rings", rings } };
    static const int maps[] = { WF_MAP_SPLINE, WF_MAP_SMOOTH, WF_MAP_AFFINE };
    int quick = 0, every = 0, named = 0;
    uint32_t seed = 1;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick")) quick = 1;
        else if (!strcmp(argv[i], "--maps")) every = 1;
        else if (!strcmp(argv[i], "--seed") && i + 1 < argc) seed = (uint32_t)atoi(argv[++i]);
        else named = i;
    }
    for (size_t k = 0; k < sizeof toys / sizeof toys[0]; k++) {
        int wanted = !named && (!quick || k == 0);
        for (int i = 1; i < argc; i++) wanted |= !strcmp(argv[i], toys[k].name);
        for (int map = 0; wanted && map < (every ? 3 : 1); map++) quality(&toys[k], maps[map], quick, seed);
    }
    return 0;
}
