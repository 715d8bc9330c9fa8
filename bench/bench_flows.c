/* Speed and quality of normalizing flows.

   Speed: eight couplings with networks of two hidden layers of 64 (the setting of many comparisons), affine and spline, in 2 and 16 dimensions: a training step (likelihood, gradient, Adam) on 1024 rows, and sampling. Against
   the peak of fused multiply-adds measured in the same program between the runs (flops are those of the matrix products alone), CPU time of one thread. bench/peers.py runs the cases of --peer in turns with PyTorch.

   Quality: points drawn from laws in the plane whose entropy is known, so that what is missing to the best possible likelihood is known too: `kl`, in nats, on fresh points. Default training, nothing tuned.

   Prints lines of JSON.
       bench_flows [--quick]
       bench_flows --peer realnvp|rqs DIM    the speed of one flow alone, briefly */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "peak.h"

/* ---- speed ---- */

enum { COUPLINGS = 8, HIDDEN = 64, BINS = 8, BATCH = 1024, MANY = 65536 };

static wf_flow *peer(wf_arena *A, int dim, int map)
{
    wf_flow_layer l[COUPLINGS];
    wf_flow_desc d;
    memset(l, 0, sizeof l);
    memset(&d, 0, sizeof d);
    for (int i = 0; i < COUPLINGS; i++) { l[i].map = map; l[i].part = i % 2; l[i].inverted = 1; l[i].width = HIDDEN; l[i].bins = BINS; l[i].bound = map == WF_MAP_SPLINE ? 4 : 0; }
    d.dim = dim;
    d.layers = l;
    d.count = COUPLINGS;
    return wf_flow_new(A, "f", &d);
}

static double weights(int dim, int map) /* multiply-adds of all networks for one row */
{
    int half = dim / 2, out = half * (map == WF_MAP_SPLINE ? 3 * BINS - 1 : 2);
    return COUPLINGS * (double)(half * HIDDEN + HIDDEN * HIDDEN + HIDDEN * out);
}

static void speed(int dim, int map, int samples, int quick)
{
    static float x[(size_t)MANY * 16];
    static double seconds[64], peak[64], ratio[64];
    const char *flow = map == WF_MAP_SPLINE ? "rqs" : "realnvp";
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F32);
    wf_graph *g = wf_graph_new(A, P);
    wf_flow *f = peer(A, dim, map);
    wf_plan_desc d;
    wf_opt *opt = NULL;
    wf_rng rng;
    int blocks = quick ? 5 : 21, isa = wf_isa_best();
    float loss;
    memset(&d, 0, sizeof d);
    wf_rng_init(&rng, 1, 1);
    for (int i = 0; i < BATCH * dim; i++) x[i] = (float)(0.7 * wf_rng_normal(&rng));
    wf_t in = wf_input(g, "x", dim);
    if (samples) d.out[0] = wf_flow_draw(f, g, wf__none(g), 0).x;
    else d.out[0] = d.grad_of = wf_neg(wf_mean(wf_flow_log_prob(f, in, wf__none(g))));
    wf_plan *plan = wf_compile(A, &d);
    wf_ws *ws = plan ? wf_ws_new(A, plan, 1, NULL) : NULL;
    if (!samples) opt = wf_opt_new(A, P, NULL);
    if (!ws) { fprintf(stderr, "bench_flows: %s\n", wf_arena_report(A)->text); exit(1); }
    wf_feed feed[2] = { samples ? wf_out(d.out[0], x, 0) : wf_in(in, x, 0), wf_out(d.out[0], &loss, 0) };
    double flops = (samples ? 2 : 6) * weights(dim, map) * (samples ? samples : BATCH);
    for (int b = -1; b < blocks; b++) {
        double before = peak_known(isa) ? peak_block(isa, 0.005) : 0, start = cpu_seconds(), time;
        int runs = 0;
        do {
            if (samples) wf_ws_noise(ws, 1, (uint32_t)runs);
            if (wf_run(plan, ws, feed, samples ? 1 : 2, samples ? (size_t)samples : BATCH) != WF_OK || (opt && wf_opt_step(opt, ws) != WF_OK)) exit(1);
            runs++;
            time = cpu_seconds() - start;
        } while (time < 0.02);
        if (b < 0) continue;
        seconds[b] = time / runs;
        peak[b] = peak_known(isa) ? 0.5 * (before + peak_block(isa, 0.005)) : 0;
        ratio[b] = peak[b] > 0 ? 1e-9 * flops / seconds[b] / peak[b] : 0;
    }
    double r = median(ratio, blocks), s = median(seconds, blocks);
    printf("{\"bench\":\"flow_%s\",\"flow\":\"%s\",\"dim\":%d,\"batch\":%d,\"microseconds\":%.1f,\"gflops\":%.2f", samples ? "sample" : "train", flow, dim, samples ? samples : BATCH, 1e6 * s, 1e-9 * flops / s);
    if (samples) printf(",\"ns_per_sample\":%.1f", 1e9 * s / samples);
    if (r > 0) printf(",\"ratio_to_peak\":%.3f", r);
    printf(",\"plan_steps\":%d}\n", wf_plan_steps(plan));
    fflush(stdout);
    wf_arena_free(A);
}

/* ---- quality ---- */

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

static void quality(const toy *t, int map, int quick)
{
    enum { N = 20000 };
    static float x[2 * N], fresh[2 * N], p[N];
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F32);
    wf_flow *f = wf_flow_standard(A, "f", 2, 0, map, 0);
    wf_flow_fit_desc how;
    wf_fit_report report;
    wf_rng rng;
    double at[2], entropy = 0, nll = 0, start = cpu_seconds();
    memset(&how, 0, sizeof how);
    how.steps = quick ? 50 : 0;
    how.threads = 1;
    wf_rng_init(&rng, 1, 2);
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
    int quick = argc > 1 && !strcmp(argv[1], "--quick");
    if (argc > 3 && !strcmp(argv[1], "--peer")) {
        int map = strcmp(argv[2], "rqs") ? WF_MAP_AFFINE : WF_MAP_SPLINE, dim = atoi(argv[3]) == 16 ? 16 : 2;
        speed(dim, map, 0, 1);
        speed(dim, map, BATCH, 1);
        return 0;
    }
    for (int dim = 2; dim <= 16; dim += 14)
        for (int map = WF_MAP_AFFINE; map <= WF_MAP_SPLINE; map += WF_MAP_SPLINE) {
            speed(dim, map, 0, quick);
            speed(dim, map, BATCH, quick);
            if (!quick) speed(dim, map, MANY, quick);
        }
    for (size_t i = 0; i < sizeof toys / sizeof toys[0]; i++)
        for (int map = 0; map < 3; map++) {
            static const int maps[] = { WF_MAP_SPLINE, WF_MAP_SMOOTH, WF_MAP_AFFINE };
            if (!quick || i == 0) quality(&toys[i], maps[map], quick);
        }
    return 0;
}
