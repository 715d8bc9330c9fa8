/* The scene of the crowd, for the example and the benchmark: start, goal, obstacles, training, walking. Not a part of the library. */
#ifndef WF_CROWD_H
#define WF_CROWD_H
#include <math.h>
#include <string.h>

enum { OBSTACLES = 6 };

typedef struct crowd_t { int components, knots, steps, threads; double weight, margin, spread; uint64_t seed; } crowd_t;
typedef struct walk_t { double *path, energy, collisions; int n, steps; } walk_t; /* path[n][steps + 1][2] */

static const double start_at[2] = { -2.25, -2.25 }, goal_at[2] = { 2.25, 2.25 }, blob = 0.2;

/* Discs that do not overlap and keep away from start and goal; the first stands on the straight way. */
static void crowd_scene(uint64_t scene, wf_obstacle *o)
{
    wf_rng r;
    wf_rng_init(&r, scene, 40);
    memset(o, 0, OBSTACLES * sizeof *o);
    for (int k = 0; k < OBSTACLES;) {
        double x = 3.8 * wf_rng_uniform(&r) - 1.9, y = k ? 3.8 * wf_rng_uniform(&r) - 1.9 : x + 0.2 * wf_rng_normal(&r), radius = 0.3 + 0.2 * wf_rng_uniform(&r);
        int free = fmin(hypot(x - start_at[0], y - start_at[1]), hypot(x - goal_at[0], y - goal_at[1])) > radius + 1.2;
        for (int j = 0; j < k; j++) free = free && hypot(x - o[j].centre[0], y - o[j].centre[1]) > radius + o[j].radius + 0.35;
        if (!free) continue;
        o[k].centre[0] = x;
        o[k].centre[1] = y;
        o[k++].radius = radius;
    }
}

/* A law whose components start on bows between start and goal, to either side. */
static wf_law *crowd_law(wf_arena *A, const crowd_t *c)
{
    size_t K = (size_t)c->components, knots = (size_t)c->knots;
    wf_law_desc d = { .dim = 2, .modes = c->components, .knots = c->knots, .background = -1, .seed = c->seed, .threads = c->threads, .high = 5 };
    wf_law *law = wf_law_new(A, &d);
    double *path = wf_alloc(A, K * knots * 2, sizeof *path), *spread = wf_alloc(A, K * knots * 2, sizeof *spread);
    if (!law || !path || !spread) return NULL;
    for (size_t k = 0; k < K; k++)
        for (size_t i = 0; i < knots; i++) {
            double t = (double)i / (double)(knots - 1), bow = 1.6 * (2 * ((double)k + 0.5) / (double)K - 1) * sin(3.14159265 * t), *p = path + (k * knots + i) * 2, *s = spread + (k * knots + i) * 2;
            p[0] = (1 - t) * start_at[0] + t * goal_at[0] - bow;
            p[1] = (1 - t) * start_at[1] + t * goal_at[1] + bow;
            s[0] = s[1] = 0.55 * blob;
        }
    return wf_law_start_paths(law, path, spread, NULL) < 0 ? NULL : law;
}

static wf_result crowd_train(wf_arena *A, wf_law *law, const crowd_t *c, const wf_obstacle *o, wf_law_report *r, wf_progress_fn progress, void *user)
{
    enum { N = 2000 };
    wf_obstacle wider[OBSTACLES];
    double *x = wf_alloc(A, 2 * N, sizeof *x), *t = wf_alloc(A, N, sizeof *t);
    if (!x || !t) return WF_ERROR_MEMORY;
    for (int k = 0; k < OBSTACLES; k++) { wider[k] = o[k]; wider[k].radius += c->margin; }
    for (int i = 0; i < N; i++) {
        t[i] = i % 2;
        for (int k = 0; k < 2; k++) x[2 * i + k] = (i % 2 ? goal_at[k] : start_at[k]) + blob * wf_normal_at(c->seed, (uint64_t)i, 0, (uint32_t)k, 41);
    }
    wf_law_fit_desc fit = { .x = x, .t = t, .n = N, .likelihood = 100, .kinetic = 0.25, .spread = c->spread, .obstacle = wider, .obstacles = OBSTACLES, .obstacle_weight = c->weight, .sharpness = 30,
                            .steps = c->steps, .batch = 512, .rate = 2e-2, .clip = 20, .beta2 = 0.99, .ema = 0.99, .seed = c->seed, .progress = progress, .progress_user = user };
    return wf_law_fit(law, &fit, r);
}

/* Let n people walk; path NULL on failure. */
static walk_t crowd_walk(wf_arena *A, wf_law *law, const wf_obstacle *o, int n, double g, uint64_t seed)
{
    walk_t w = { NULL, 0, 0, n, g > 0 ? 400 : 100 };
    int count = w.steps + 1;
    double *t = wf_alloc(A, (size_t)(n > count ? n : count), sizeof *t), *x = wf_alloc(A, (size_t)n * 2, sizeof *x), *path = wf_alloc(A, (size_t)n * (size_t)count * 2, sizeof *path);
    if (!t || !x || !path || wf_law_sample(law, t, (size_t)n, seed, x) < 0) return w;
    for (int i = 0; i < count; i++) t[i] = (double)i / w.steps;
    if (wf_law_transport(law, x, (size_t)n, t, count, 1, g, seed + 1, path) < 0) return w;
    w.path = path;
    for (int i = 0; i < n; i++) {
        int hit = 0;
        for (int k = 0; k < count; k++) {
            const double *p = path + ((size_t)i * (size_t)count + (size_t)k) * 2;
            for (int j = 0; j < OBSTACLES; j++) hit |= hypot(p[0] - o[j].centre[0], p[1] - o[j].centre[1]) < o[j].radius;
            if (k) w.energy += (pow(p[0] - p[-2], 2) + pow(p[1] - p[-1], 2)) * w.steps / n;
        }
        w.collisions += (double)hit / n;
    }
    return w;
}
#endif
