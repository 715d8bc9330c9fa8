/* The speed of the engine as a share of what the processor can do at all.

   A network 8-64-64-64-1 with tanh and mean square error, forward and backward through the public interface, at several batch sizes, against
   the peak of fused multiply-adds measured in the same program with the same instruction set. Both are timed in short blocks that follow each other, so that
   a change of the clock's speed meets both; the ratio is the median of the ratios of neighbours. Time is the CPU time of this process, one thread.

   Prints one line of JSON for each batch size:
   flops are those of the matrix products alone (two for each multiply-add); the tanh, the loss and the sums are free in this count and are paid in time.

       bench_engine [--quick] */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "peak.h"

/* ---- the network ---- */

typedef struct memory { long calls; } memory;

static void *counted_alloc(size_t size, size_t align, void *user)
{
    (void)align;
    ((memory *)user)->calls++;
    return malloc(size);
}

static void counted_free(void *p, size_t size, void *user)
{
    (void)size;
    (void)user;
    free(p);
}

enum { IN = 8, WIDTH = 64, MOST = 1024 };
/* flops of a sample: three products for each layer (value, gradient of the weights, gradient of the input), but the first needs no gradient of its input */
enum { FLOPS = 2 * (3 * (IN * WIDTH + 2 * WIDTH * WIDTH + WIDTH) - IN * WIDTH) };

typedef struct network {
    wf_arena *arena;
    wf_plan *plan;
    wf_ws *ws;
    wf_t x, y, loss;
    memory memory;
} network;

static wf_t layer(wf_graph *g, const char *weight, const char *bias, wf_t x, int in, int out)
{
    int d[2];
    d[0] = out;
    d[1] = in;
    wf_t w = wf_param(g, weight, 2, d, WF_INIT_UNIFORM, in == IN ? 0.6 : 0.2);
    return wf_add(wf_matmul(w, x), wf_param(g, bias, 1, d, WF_INIT_UNIFORM, 0.1));
}

static int network_new(network *m, int isa)
{
    wf_allocator allocator = { counted_alloc, counted_free, &m->memory };
    m->memory.calls = 0;
    m->arena = wf_arena_new(&allocator);
    wf_graph *g = wf_graph_new(m->arena, wf_params_new(m->arena, 1, WF_F32));
    m->x = wf_input(g, "x", IN);
    m->y = wf_input(g, "y", 1);
    wf_t h = wf_tanh(layer(g, "w0", "b0", m->x, IN, WIDTH));
    h = wf_tanh(layer(g, "w1", "b1", h, WIDTH, WIDTH));
    h = wf_tanh(layer(g, "w2", "b2", h, WIDTH, WIDTH));
    m->loss = wf_mean(wf_square(wf_sub(layer(g, "w3", "b3", h, WIDTH, 1), m->y)));
    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    d.out[0] = m->loss;
    d.grad_of = m->loss;
    d.isa = isa;
    m->plan = wf_compile(m->arena, &d);
    m->ws = m->plan ? wf_ws_new(m->arena, m->plan, 1, NULL) : NULL;
    if (!m->ws) fprintf(stderr, "bench_engine: %s\n", wf_arena_report(m->arena)->text);
    return m->ws != NULL;
}

static float X[MOST * IN], Y[MOST];

static double network_block(network *m, size_t batch, double seconds)
{
    float loss;
    wf_feed feeds[3];
    feeds[0] = wf_in(m->x, X, 0);
    feeds[1] = wf_in(m->y, Y, 0);
    feeds[2] = wf_out(m->loss, &loss, 0);
    long runs = 0;
    double start = cpu_seconds(), time;
    do {
        if (wf_run(m->plan, m->ws, feeds, 3, batch) != WF_OK) exit(1);
        runs++;
        time = cpu_seconds() - start;
    } while (time < seconds);
    return 1e-9 * FLOPS * (double)batch * (double)runs / time;
}

int main(int argc, char **argv)
{
    static const size_t batches[] = { 64, 256, 1024 };
    enum { BLOCKS = 201 };
    static double rate[BLOCKS], peak[BLOCKS], ratio[BLOCKS];
    int quick = argc > 1 && !strcmp(argv[1], "--quick"), blocks = quick ? 11 : BLOCKS, ok = 1;
    for (unsigned i = 0; i < MOST * IN; i++) X[i] = (float)((i * 2654435761u >> 8) & 0xffff) / 32768.0f - 1.0f;
    for (int i = 0; i < MOST; i++) Y[i] = X[i * IN] * X[i * IN + 1];
    for (int isa = wf_isa_best(); isa; isa = isa == WF_ISA_AVX512 ? WF_ISA_AVX2 : 0) {
        network m;
        if (!network_new(&m, isa)) return 1;
        for (int k = 0; k < 3; k++) {
            size_t batch = batches[k];
            double seconds = 0.002;
            network_block(&m, batch, 0.01);
            long calls = m.memory.calls;
            for (int i = 0; i < blocks; i++) {
                double before = peak_known(isa) ? peak_block(isa, seconds) : 0;
                rate[i] = network_block(&m, batch, seconds);
                double after = peak_known(isa) ? peak_block(isa, seconds) : 0;
                peak[i] = 0.5 * (before + after);
                ratio[i] = peak[i] > 0 ? rate[i] / peak[i] : 0;
            }
            calls = m.memory.calls - calls;
            if (calls) ok = 0;
            double r = median(ratio, blocks), low = ratio[blocks / 10], high = ratio[blocks - 1 - blocks / 10], gflops = median(rate, blocks);
            printf("{\"bench\":\"mlp_gradient\",\"batch\":%d,\"isa\":\"%s\",\"gflops\":%.1f,\"microseconds\":%.1f,", (int)batch, wf_isa_name(isa), gflops,
                   1e-3 * FLOPS * (double)batch / gflops);
            if (r > 0) printf("\"peak_gflops\":%.1f,\"ratio_to_peak\":%.3f,\"ratio_low\":%.3f,\"ratio_high\":%.3f,", median(peak, blocks), r, low, high);
            printf("\"allocations\":%ld}\n", calls);
            fflush(stdout);
        }
        wf_arena_free(m.arena);
    }
    return ok ? 0 : 1;
}
