/* Paths of gradient flows: how close they come, and in which time. One line of JSON for each problem; `seconds` is CPU time of one thread for making and training the path, without measuring it.

   ou            Ornstein-Uhlenbeck in two dimensions, couplings: KL of the end to the equilibrium, length (exact 4.52476), errors of the moments at the inferred times
   double_well   the product double well: KL of the end, second moment of x at the end against the exact one
   multiwell     the potential of Styblinski and Tang in ten dimensions: KL of the end for each coordinate, mean of a coordinate
   ou_d          Ornstein-Uhlenbeck with a random covariance (linear blocks, physical time): symmetric KL at time 0.9, beside that of ICNN-JKO and of 50000 Euler-Maruyama particles with a kernel density estimate
                 (Mokrov et al. 2021, means of the 15 result files of each method in their repository)
   mixture_path  from one wide normal law to a mixture of five normal laws in the plane, by a path: symmetric KL of the end to the stationary law
   mixture_d     the stationary law of the same problem in 2 to 12 dimensions (5 to 10 laws), by particles and a spline flow without a path: symmetric KL, beside the same methods. (A path by itself collapses into one
                 law in more than a few dimensions: its end is a reverse KL, which seeks modes.)
   ou_100        the same in 100 dimensions: symmetric KL at time 0.9; and KL of the end of a path to the equilibrium
   barenblatt    a drop in a porous medium: relative errors of second moment and energy

       bench_paths [--quick] [--long] [--targets N] [--components N] [--steps N] [name [dimensions]]     the three numbers are for mixture_d */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"

#define PI 3.14159265358979323846
enum { DRAWS = 20000, EVALS = 8192, MOST = 128 };

static int quick, longer, targets = 1, components = 32, mixture_steps = 1500;

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void give_up(const wf_arena *A, const char *what)
{
    fprintf(stderr, "bench_paths: %s: %s\n", what, wf_arena_report(A)->text);
    exit(1);
}

static wf_path *train(wf_arena *A, const wf_energy *e, const wf_start *s, wf_path_desc *d, double *seconds)
{
    double began = cpu_seconds();
    d->threads = 1;
    if (quick) d->steps = d->steps / 20 + 1;
    wf_path *p = wf_path_new(A, e, s, d);
    if (!p || wf_path_train(p, 0) < 0) give_up(A, "training");
    *seconds = cpu_seconds() - began;
    return p;
}

static wf_flow_layer layer_of(int kind, int map, int part)
{
    wf_flow_layer l;
    memset(&l, 0, sizeof l);
    l.kind = kind;
    l.map = map;
    l.part = part;
    return l;
}

/* ---- two dimensions ---- */

static wf_t coordinate(wf_t x, int i) { return wf_sum_over(wf_slice(x, 0, i, 1), 0); }
static wf_t bowl(wf_t x, void *user) { (void)user; return wf_add(wf_scale(wf_square(coordinate(x, 0)), 0.5), wf_scale(wf_square(coordinate(x, 1)), 2)); }
static wf_t valleys(wf_t x, void *user) { (void)user; return wf_add(wf_square(wf_shift(wf_square(coordinate(x, 0)), -1)), wf_square(coordinate(x, 1))); }

static void bench_ou(void)
{
    wf_arena *A = wf_arena_new(NULL);
    double mean[2] = { 3, -2 }, deviation[2] = { 0.3, 2 }, lambda[2] = { 1, 4 }, seconds, worst_mean = 0, worst_deviation = 0, *x = (double *)malloc(2 * DRAWS * sizeof *x);
    wf_energy e;
    wf_path_desc d;
    wf_path_report r;
    wf_flow_layer block[2] = { layer_of(WF_FLOW_COUPLING, WF_MAP_AFFINE, 0), layer_of(WF_FLOW_COUPLING, WF_MAP_AFFINE, 1) };
    memset(&e, 0, sizeof e);
    memset(&d, 0, sizeof d);
    e.diffusion = 1;
    e.potential = bowl;
    d.dim = 2;
    d.block = block;
    d.block_layers = 2;
    d.steps = 600;
    wf_start s = wf_start_normal(A, 2, mean, deviation);
    wf_path *p = train(A, &e, &s, &d, &seconds);
    if (!x || wf_path_measure(p, DRAWS, 7, &r) < 0) give_up(A, "ou");
    for (int k = 1; k < 12; k++) {
        if (wf_path_sample(p, k, DRAWS, 8, 0, x, NULL, NULL) < 0) give_up(A, "ou");
        for (int j = 0; j < 2; j++) {
            double m = 0, v = 0, c = exp(-lambda[j] * r.time[k]), exact = sqrt(1 / lambda[j] + c * c * (deviation[j] * deviation[j] - 1 / lambda[j]));
            for (int i = 0; i < DRAWS; i++) m += x[2 * i + j] / DRAWS;
            for (int i = 0; i < DRAWS; i++) v += (x[2 * i + j] - m) * (x[2 * i + j] - m) / DRAWS;
            if (fabs(m - c * mean[j]) > worst_mean) worst_mean = fabs(m - c * mean[j]);
            if (fabs(sqrt(v) - exact) > worst_deviation) worst_deviation = fabs(sqrt(v) - exact);
        }
    }
    printf("{\"bench\":\"paths\",\"case\":\"ou\",\"ou_kl_end\":%.3g,\"wanted\":6e-5,\"action\":%.3g,\"length\":%.5f,\"length_exact\":4.52476,\"t11\":%.4f,\"mean_error\":%.4f,\"deviation_error\":%.4f,\"seconds\":%.2f}\n",
           r.energy[12] + log(PI), r.action, r.total_length, r.time[11], worst_mean, worst_deviation, seconds);
    fflush(stdout);
    free(x);
    wf_arena_free(A);
}

static void bench_double_well(void)
{
    wf_arena *A = wf_arena_new(NULL);
    double mean[2] = { 0, 1.5 }, deviation[2] = { 0.5, 0.5 }, seconds, x2 = 0, *x = (double *)malloc(2 * DRAWS * sizeof *x);
    wf_energy e;
    wf_path_desc d;
    wf_path_report r;
    memset(&e, 0, sizeof e);
    memset(&d, 0, sizeof d);
    e.diffusion = 1;
    e.potential = valleys;
    d.dim = 2;
    d.steps = 1300;
    d.batch = 256;
    wf_start s = wf_start_normal(A, 2, mean, deviation);
    wf_path *p = train(A, &e, &s, &d, &seconds);
    if (!x || wf_path_measure(p, DRAWS, 7, &r) < 0 || wf_path_sample(p, 12, DRAWS, 8, 0, x, NULL, NULL) < 0) give_up(A, "double_well");
    for (int i = 0; i < DRAWS; i++) x2 += x[2 * i] * x[2 * i] / DRAWS;
    printf("{\"bench\":\"paths\",\"case\":\"double_well\",\"double_well_kl_end\":%.4f,\"wanted\":0.0076,\"action\":%.4f,\"least_cosine\":%.4f,\"length\":%.4f,\"x2_end\":%.4f,\"x2_exact\":0.8327,\"seconds\":%.2f}\n",
           r.energy[12] + log(1.97373215) + 0.5 * log(PI), r.action, r.least_cosine, r.total_length, x2, seconds);
    fflush(stdout);
    free(x);
    wf_arena_free(A);
}

/* ---- ten wells ---- */

static wf_t wells(wf_t x, void *user)
{
    wf_t q = wf_square(x);
    (void)user;
    return wf_scale(wf_sum_over(wf_add(wf_sub(wf_square(q), wf_scale(q, 16)), wf_scale(x, 5)), 0), 0.5);
}

static void bench_multiwell(void)
{
    enum { D = 10 };
    wf_arena *A = wf_arena_new(NULL);
    double beta = 0.1, deviation[D], seconds, z = 0, low = 0, mean = 0, *x = (double *)malloc(D * DRAWS * sizeof *x);
    wf_energy e;
    wf_path_desc d;
    wf_path_report r;
    wf_flow_layer block = layer_of(WF_FLOW_ELEMENTWISE, WF_MAP_SMOOTH, 0);
    memset(&e, 0, sizeof e);
    memset(&d, 0, sizeof d);
    e.diffusion = 1 / beta;
    e.potential = wells;
    block.bound = 4;
    block.bins = 16;
    d.dim = D;
    d.block = &block;
    d.block_layers = 1;
    d.steps = 1000;
    d.batch = 256;
    d.end_weight = d.end_start = 100; /* rare jumps over barriers are worth little energy: the end is bought with cosines, which are printed */
    d.rate = 2e-2;
    for (int j = 0; j < D; j++) deviation[j] = 2;
    for (double u = -8; u < 8; u += 1e-3) z += 1e-3 * exp(-beta * 0.5 * (u * u * u * u - 16 * u * u + 5 * u));
    wf_start s = wf_start_normal(A, D, NULL, deviation);
    wf_path *p = train(A, &e, &s, &d, &seconds);
    if (!x || wf_path_measure(p, DRAWS, 7, &r) < 0 || wf_path_sample(p, 12, DRAWS, 8, 0, x, NULL, NULL) < 0) give_up(A, "multiwell");
    for (int i = 0; i < D * DRAWS; i++) { low += x[i] < 0.1573; mean += x[i]; }
    printf("{\"bench\":\"paths\",\"case\":\"multiwell\",\"dim\":10,\"kl_end_per_dim\":%.4f,\"mean\":%.4f,\"mean_exact\":-1.5871,\"left\":%.4f,\"left_exact\":0.7857,\"least_cosine\":%.4f,\"seconds\":%.2f}\n",
           (beta * r.energy[12] + D * log(z)) / D, mean / (D * DRAWS), low / (D * DRAWS), r.least_cosine, seconds);
    fflush(stdout);
    free(x);
    wf_arena_free(A);
}

/* ---- many dimensions ---- */

typedef struct gauss_t { int d; double a[MOST * MOST], b[MOST]; } gauss_t; /* V = (x - b)^T A (x - b) / 2 */

static wf_t tilted_bowl(wf_t x, void *user)
{
    const gauss_t *q = (const gauss_t *)user;
    int dd[2] = { q->d, q->d }, column[2] = { q->d, 1 };
    wf_t y = wf_sub(x, wf_const_array(x.graph, 2, column, q->b));
    return wf_scale(wf_sum_over(wf_mul(y, wf_matmul(wf_const_array(x.graph, 2, dd, q->a), y)), 0), 0.5);
}

/* A random rotation's columns, by Gram and Schmidt. */
static void rotation(wf_rng *rng, int d, double *q)
{
    for (int i = 0; i < d; i++) {
        double norm = 0;
        for (int k = 0; k < d; k++) q[i * d + k] = wf_rng_normal(rng);
        for (int j = 0; j < i; j++) {
            double dot = 0;
            for (int k = 0; k < d; k++) dot += q[i * d + k] * q[j * d + k];
            for (int k = 0; k < d; k++) q[i * d + k] -= dot * q[j * d + k];
        }
        for (int k = 0; k < d; k++) norm += q[i * d + k] * q[i * d + k];
        for (int k = 0; k < d; k++) q[i * d + k] /= sqrt(norm);
    }
}

/* mean of log p - log q under p, over n rows */
static double mean_difference(const double *p, const double *q, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (p[i] - q[i]) / n;
    return sum;
}

static double symmetric_kl(wf_arena *A, wf_path *p, int point, const wf_start *exact, int d)
{
    double *x = (double *)malloc((size_t)(EVALS * d) * sizeof *x), *own = (double *)malloc(EVALS * sizeof *own), *other = (double *)malloc(EVALS * sizeof *other), kl = 0;
    if (!x || !own || !other || wf_path_sample(p, point, EVALS, 21, 0, x, own, NULL) < 0 || exact->density(exact->user, EVALS, x, other, NULL) < 0) give_up(A, "divergence");
    kl += mean_difference(own, other, EVALS);
    if (exact->draw(exact->user, 22, 0, EVALS, x) < 0 || exact->density(exact->user, EVALS, x, other, NULL) < 0 || wf_path_log_prob(p, point, EVALS, x, own, NULL) < 0) give_up(A, "divergence");
    kl += mean_difference(other, own, EVALS);
    free(x);
    free(own);
    free(other);
    return kl;
}

/* To time 0.9, or (`end`) by the geometric action to the equilibrium. */
static void bench_ou_d(int dim, double jko, double particles, int end)
{
    wf_arena *A = wf_arena_new(NULL);
    gauss_t *g = (gauss_t *)malloc(sizeof *g);
    double *q = (double *)malloc(sizeof(double) * MOST * MOST), *cov = (double *)malloc(sizeof(double) * MOST * MOST), mean[MOST], eigen[MOST], seconds, t = 0.9, log_z = 0;
    wf_rng rng;
    if (!g || !q || !cov) exit(1);
    wf_rng_init(&rng, 100 + (uint64_t)dim, 0);
    g->d = dim;
    rotation(&rng, dim, q);
    for (int i = 0; i < dim; i++) { eigen[i] = 0.5 + 3.5 * wf_rng_uniform(&rng); g->b[i] = wf_rng_normal(&rng); }
    memset(cov, 0, sizeof(double) * MOST * MOST);
    for (int i = 0; i < dim; i++) {
        mean[i] = g->b[i];
        for (int j = 0; j < dim; j++) {
            double a = 0, c = 0;
            for (int k = 0; k < dim; k++) {
                double v = q[k * dim + i] * q[k * dim + j], decay = exp(-eigen[k] * t);
                a += eigen[k] * v;
                c += (1 / eigen[k] + decay * decay * (1 - 1 / eigen[k])) * v;
                mean[i] -= decay * v * g->b[j];
            }
            g->a[i * dim + j] = a;
            cov[i * dim + j] = c;
        }
    }
    wf_energy e;
    wf_path_desc d;
    wf_flow_layer block = layer_of(WF_FLOW_LINEAR, 0, 0);
    memset(&e, 0, sizeof e);
    memset(&d, 0, sizeof d);
    e.diffusion = 1;
    e.potential = tilted_bowl;
    e.user = g;
    d.dim = dim;
    d.action = end ? WF_PATH_GEOMETRIC : WF_PATH_TIME;
    d.horizon = t;
    d.points = end ? 12 : 9;
    d.block = &block;
    d.block_layers = 1;
    d.steps = dim > 12 ? 600 : 500;
    d.batch = end ? 256 : 512;
    d.rate = end ? 5e-3 : 1e-2;
    wf_start s = wf_start_normal(A, dim, NULL, NULL), exact = wf_start_covariance(A, dim, mean, cov);
    wf_path *p = train(A, &e, &s, &d, &seconds);
    if (end) {
        wf_path_report r;
        if (wf_path_measure(p, DRAWS, 7, &r) < 0) give_up(A, "ou_100");
        for (int i = 0; i < dim; i++) log_z += 0.5 * log(2 * PI / eigen[i]);
        printf("{\"bench\":\"paths\",\"case\":\"ou_100\",\"dim\":%d,\"kl_start\":%.3g,\"kl_end\":%.3g,\"least_cosine\":%.4f,\"seconds\":%.2f}\n", dim, r.energy[0] + log_z, r.energy[d.points] + log_z, r.least_cosine, seconds);
    } else
        printf("{\"bench\":\"paths\",\"case\":\"ou_d\",\"dim\":%d,\"symmetric_kl\":%.3g,\"icnn_jko\":%.3g,\"particles_50k\":%.3g,\"wanted\":0.01,\"seconds\":%.2f}\n", dim, symmetric_kl(A, p, 9, &exact, dim), jko, particles, seconds);
    fflush(stdout);
    free(g);
    free(q);
    free(cov);
    wf_arena_free(A);
}

/* ---- mixtures ---- */

typedef struct mix_t { int d, n; double centre[10 * 16]; } mix_t; /* unit deviations, equal weights */

static wf_t mixture_potential(wf_t x, void *user)
{
    const mix_t *m = (const mix_t *)user;
    int column[2] = { m->d, 1 };
    wf_t term[10];
    for (int k = 0; k < m->n; k++) term[k] = wf_scale(wf_sum_over(wf_square(wf_sub(x, wf_const_array(x.graph, 2, column, m->centre + k * m->d))), 0), -0.5);
    return wf_neg(wf_logsumexp(wf_stack(term, m->n), 0));
}

static wf_result mixture_draw(void *user, uint64_t seed, size_t first, size_t n, double *x)
{
    const mix_t *m = (const mix_t *)user;
    for (size_t i = 0; i < n; i++) {
        int k = (int)(m->n * wf_uniform_at(seed, first + i, 0, 0, 80));
        for (int j = 0; j < m->d; j++) x[i * (size_t)m->d + (size_t)j] = m->centre[k * m->d + j] + wf_normal_at(seed, first + i, 0, (uint32_t)j, 81);
    }
    return WF_OK;
}

static wf_result mixture_density(void *user, size_t n, const double *x, double *log_density, double *score)
{
    const mix_t *m = (const mix_t *)user;
    (void)score;
    for (size_t i = 0; i < n; i++) {
        double low = 1e300, q[10], sum = 0;
        for (int k = 0; k < m->n; k++) {
            q[k] = 0;
            for (int j = 0; j < m->d; j++) { double u = x[i * (size_t)m->d + (size_t)j] - m->centre[k * m->d + j]; q[k] += 0.5 * u * u; }
            if (q[k] < low) low = q[k];
        }
        for (int k = 0; k < m->n; k++) sum += exp(low - q[k]) / m->n;
        log_density[i] = log(sum) - low - 0.5 * m->d * log(2 * PI);
    }
    return WF_OK;
}

/* For samplers: energy and gradient of a tile. */
static void mixture_energy(void *user, const wf_tile *tile, double *energy, float *gradient)
{
    const mix_t *m = (const mix_t *)user;
    for (int l = 0; l < tile->lanes; l++) {
        double q[10], low = 1e300, sum = 0;
        for (int k = 0; k < m->n; k++) {
            q[k] = 0;
            for (int j = 0; j < m->d; j++) { double u = (double)tile->x[j * WF_LANES + l] - m->centre[k * m->d + j]; q[k] += 0.5 * u * u; }
            if (q[k] < low) low = q[k];
        }
        for (int k = 0; k < m->n; k++) { q[k] = exp(low - q[k]); sum += q[k]; }
        energy[l] = low - log(sum);
        for (int j = 0; gradient && j < m->d; j++) {
            double g = 0;
            for (int k = 0; k < m->n; k++) g += q[k] * ((double)tile->x[j * WF_LANES + l] - m->centre[k * m->d + j]);
            gradient[j * WF_LANES + l] = (float)(g / sum);
        }
    }
}

static void mixture_centres(mix_t *m, int dim, int n, int target)
{
    wf_rng rng;
    wf_rng_init(&rng, 7 + (uint64_t)dim + 1000 * (uint64_t)target, 0);
    m->d = dim;
    m->n = n;
    for (int i = 0; i < n * dim; i++) m->centre[i] = 10 * wf_rng_uniform(&rng) - 5;
}

/* The path by itself, with smooth couplings. */
static void bench_mixture_path(double jko)
{
    wf_arena *A = wf_arena_new(NULL);
    mix_t m;
    double deviation[2] = { 4, 4 }, seconds;
    wf_energy e;
    wf_path_desc d;
    wf_path_report r;
    wf_flow_layer block[4];
    mixture_centres(&m, 2, 5, 0);
    memset(&e, 0, sizeof e);
    memset(&d, 0, sizeof d);
    e.diffusion = 1;
    e.potential = mixture_potential;
    e.user = &m;
    for (int i = 0; i < 4; i++) { block[i] = layer_of(WF_FLOW_COUPLING, WF_MAP_SMOOTH, i % 2); block[i].bins = 16; block[i].bound = 7; block[i].width = 64; }
    d.dim = 2;
    d.points = 8;
    d.block = block;
    d.block_layers = 4;
    d.steps = 2500;
    d.batch = 256;
    d.end_weight = 20;
    d.end_start = 50;
    wf_start s = wf_start_normal(A, 2, NULL, deviation), exact = { mixture_draw, mixture_density, &m };
    wf_path *p = train(A, &e, &s, &d, &seconds);
    if (wf_path_measure(p, EVALS, 7, &r) < 0) give_up(A, "mixture");
    printf("{\"bench\":\"paths\",\"case\":\"mixture_path\",\"dim\":2,\"symmetric_kl\":%.4f,\"icnn_jko\":%.3g,\"wanted\":%.3g,\"least_cosine\":%.3f,\"seconds\":%.1f}\n", symmetric_kl(A, p, 8, &exact, 2), jko, jko / 2, r.least_cosine, seconds);
    fflush(stdout);
    wf_arena_free(A);
}

/* The stationary law alone: particles from the wide normal law to it (annealed, weighted, resampled), and a spline flow that learns their density by maximum likelihood. Only the energy is known to them. The base of the flow is a
   mixture of 32 normal laws, which training puts where the particles are; 0 components: one normal law, from which thin bridges between the bumps remain. */
static void bench_mixture_d(int dim, int n, double jko, double particles, int target)
{
    enum { N = 200000 };
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F32);
    mix_t m;
    wf_particles_desc d;
    wf_flow_fit_desc how;
    wf_fit_report report;
    double start = cpu_seconds(), forward = 0, reverse = 0, value;
    double *x = (double *)malloc(sizeof(double) * N * (size_t)dim);
    float *y = (float *)malloc(sizeof(float) * N * (size_t)dim), *log_p = (float *)malloc(sizeof(float) * EVALS);
    mixture_centres(&m, dim, n, target);
    memset(&d, 0, sizeof d);
    memset(&how, 0, sizeof how);
    d.n = quick ? 4096 : N;
    d.dim = dim;
    d.seed = 5;
    d.sd_all = 4;
    d.energy = mixture_energy;
    d.user = &m;
    d.move = WF_MOVE_HMC;
    d.leaps = 3;
    d.step = 0.4;
    d.adapt = 2;
    d.levels = 500;
    d.adaptive = 0.98;
    d.threads = 1;
    wf_particles *q = wf_particles_new(A, &d);
    wf_flow *f = wf_flow_standard(A, "standard", dim, 0, WF_MAP_SPLINE, dim == 2 ? 0 : 6);
    if (f && components) {
        wf_flow_desc own = *wf_flow_about(f);
        own.base = WF_BASE_MIXTURE;
        own.components = components;
        f = wf_flow_new(A, "f", &own);
    }
    if (!q || !f || !x || !y || !log_p || wf_particles_run(q) < 0 || wf_particles_resample(q) < 0) give_up(A, "particles");
    wf_particles_get(q, x, NULL, NULL);
    for (size_t i = 0; i < d.n * (size_t)dim; i++) y[i] = (float)x[i];
    how.steps = quick ? 50 : mixture_steps;
    how.rate = dim == 2 ? 5e-3 : 1e-3;
    how.hold = 0.02;
    how.patience = 1000;
    how.threads = 1;
    wf_flow_data data = { y, NULL, d.n }, draws = { NULL, NULL, EVALS }, fresh = { y, NULL, EVALS };
    if (wf_flow_fit(f, P, &data, &how, &report) < 0) give_up(A, "likelihood");
    double seconds = cpu_seconds() - start;
    if (wf_flow_sample(f, P, &draws, 9, 1, y, log_p) < 0) give_up(A, "draws");
    for (int i = 0; i < EVALS; i++) {
        for (int j = 0; j < dim; j++) x[j] = (double)y[i * dim + j];
        mixture_density(&m, 1, x, &value, NULL);
        reverse += ((double)log_p[i] - value) / EVALS;
    }
    mixture_draw(&m, 22, 0, EVALS, x);
    for (int i = 0; i < EVALS * dim; i++) y[i] = (float)x[i];
    if (wf_flow_evaluate(f, P, &fresh, 1, log_p, NULL) < 0) give_up(A, "densities");
    for (int i = 0; i < EVALS; i++) {
        mixture_density(&m, 1, x + i * dim, &value, NULL);
        forward += (value - (double)log_p[i]) / EVALS;
    }
    printf("{\"bench\":\"paths\",\"case\":\"mixture_d\",\"dim\":%d,\"target\":%d,\"components\":%d,\"symmetric_kl\":%.4f,\"kl_forward\":%.4f,\"kl_reverse\":%.4f,\"icnn_jko\":%.3g,\"particles_50k\":%.3g,\"wanted\":%.3g,\"seconds\":%.1f}\n", dim, target, components, forward + reverse, forward, reverse,
           jko, particles, jko / 2, seconds);
    fflush(stdout);
    free(x);
    free(y);
    free(log_p);
    wf_arena_free(A);
}

/* ---- porous medium ---- */

static void bench_barenblatt(int dim)
{
    wf_arena *A = wf_arena_new(NULL);
    double seconds, m2, f, moment = 0, *x = (double *)malloc((size_t)(DRAWS * dim) * sizeof *x), moment_error = 0, energy_error = 0;
    wf_energy e;
    wf_path_desc d;
    wf_path_report r;
    memset(&e, 0, sizeof e);
    memset(&d, 0, sizeof d);
    e.power = 2;
    d.dim = dim;
    d.action = WF_PATH_TIME;
    d.horizon = 3;
    d.points = 8;
    d.steps = dim == 2 ? 300 : 200;
    wf_start s = wf_start_barenblatt(A, dim, 2, 1);
    wf_path *p = train(A, &e, &s, &d, &seconds);
    if (!x || wf_path_measure(p, DRAWS, 7, &r) < 0) give_up(A, "barenblatt");
    for (int k = 1; k <= 8; k++, moment = 0) {
        if (wf_path_sample(p, k, DRAWS, 8, 0, x, NULL, NULL) < 0) give_up(A, "barenblatt");
        for (int i = 0; i < DRAWS * dim; i++) moment += x[i] * x[i] / DRAWS;
        wf_barenblatt(dim, 2, 1 + r.time[k], NULL, &m2, &f);
        if (fabs(moment / m2 - 1) > moment_error) moment_error = fabs(moment / m2 - 1);
        if (fabs(r.energy[k] / f - 1) > energy_error) energy_error = fabs(r.energy[k] / f - 1);
    }
    printf("{\"bench\":\"paths\",\"case\":\"barenblatt\",\"dim\":%d,\"moment_error\":%.4f,\"energy_error\":%.4f,\"seconds\":%.2f}\n", dim, moment_error, energy_error, seconds);
    fflush(stdout);
    free(x);
    wf_arena_free(A);
}

int main(int argc, char **argv)
{
    static const double jko[7] = { 0, 3.8e-3, 7.5e-3, .0133, .0136, .0144, .0182 }, em[7] = { 0, 6.6e-3, .105, .504, 1.32, 2.48, 3.83 };
    static const double mjko[7] = { 0, .0615, .176, .301, .396, .329, .509 }, mem[7] = { 0, .077, .440, 1.50, 3.45, 5.58, 10.2 };
    static const int centres[7] = { 0, 5, 6, 7, 8, 9, 10 };
    const char *only = NULL;
    int dim = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick")) quick = 1;
        else if (!strcmp(argv[i], "--long")) longer = 1;
        else if (!strcmp(argv[i], "--targets") && i + 1 < argc) targets = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--components") && i + 1 < argc) components = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--steps") && i + 1 < argc) mixture_steps = atoi(argv[++i]);
        else if (atoi(argv[i])) dim = atoi(argv[i]);
        else only = argv[i];
    }
#define WANTED(name) (!only || !strcmp(only, name))
    if (WANTED("ou")) bench_ou();
    if (WANTED("double_well")) bench_double_well();
    if (WANTED("multiwell")) bench_multiwell();
    for (int i = 1; i < 7 && WANTED("ou_d"); i++) bench_ou_d(2 * i, jko[i], em[i], 0);
    for (int end = 0; end < 2 && !quick && WANTED("ou_100"); end++) bench_ou_d(100, 0, 0, end);
    if (WANTED("mixture_path") && (longer || only)) bench_mixture_path(mjko[1]);
    for (int i = 1; i < (quick ? 2 : 7) && WANTED("mixture_d"); i++)
        for (int target = 0; target < targets; target++) if (!dim || dim == 2 * i) bench_mixture_d(2 * i, centres[i], mjko[i], mem[i], target);
    if (WANTED("barenblatt")) bench_barenblatt(2);
    return 0;
}
