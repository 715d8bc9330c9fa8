/* Speed of normalizing flows. (What they reach: bench_toys.c.)

   Speed: eight couplings with networks of two hidden layers of 64 (the setting of many comparisons), affine and spline, in 2 and 16 dimensions: a training step (likelihood, gradient, Adam) on 1024 rows, and sampling. Against
   the peak of fused multiply-adds measured in the same program between the runs (flops are those of the matrix products alone), CPU time of one thread. bench/peers.py runs the cases of --peer in turns with PyTorch.

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

int main(int argc, char **argv)
{
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
    return 0;
}
