/* A crowd finds its way around obstacles: a density and its drift are learned so that the crowd starts here, ends there, spends little energy, and keeps clear. Then it walks, without noise and with. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_example.h"
#include "wf_crowd.h"

enum { FRAMES = 6, GRID = 60 };

typedef struct setting_t { const char *out; int seed, scene, steps, components, knots, people, threads, json; double weight, margin, spread, noise; } setting_t;

static void fail(const wf_arena *A, const char *what)
{
    fprintf(stderr, "crowd: %s: %s\n", what, wf_arena_report(A)->text);
    exit(1);
}

static walk_t walk(wf_arena *A, wf_law *law, const wf_obstacle *o, int n, double g, uint64_t seed)
{
    walk_t w = crowd_walk(A, law, o, n, g, seed);
    if (!w.path) fail(A, "walking");
    return w;
}

/* ---- drawing ---- */

static void draw_obstacles(svg_t *s, const wf_obstacle *o)
{
    for (int j = 0; j < OBSTACLES; j++) fprintf(s->f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"#555\"/>\n", svg_x(s, o[j].centre[0]), svg_y(s, o[j].centre[1]), s->w * o[j].radius / (s->xb - s->xa));
}

static void draw_density(wf_arena *A, svg_t *s, wf_law *law, double time)
{
    enum { N = GRID * GRID };
    double *x = wf_alloc(A, 2 * N, sizeof *x), *t = wf_alloc(A, N, sizeof *t), *f = wf_alloc(A, N, sizeof *f), cell = 6.0 / GRID, most = 0;
    if (!x || !t || !f) fail(A, "memory");
    for (int i = 0; i < N; i++) { x[2 * i] = -3 + cell * (i % GRID + 0.5); x[2 * i + 1] = -3 + cell * (i / GRID + 0.5); t[i] = time; }
    if (wf_law_log_density(law, x, t, N, f) < 0) fail(A, "density");
    for (int i = 0; i < N; i++) most = fmax(most, f[i]);
    for (int i = 0; i < N; i++) {
        double shade = 1 + (f[i] - most) / 5;
        if (shade > 0.03) fprintf(s->f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.2f\" height=\"%.2f\" fill=\"#1f77b4\" fill-opacity=\"%.2f\"/>\n", svg_x(s, x[2 * i] - cell / 2), svg_y(s, x[2 * i + 1] + cell / 2), s->w * cell / 6 + 0.3, s->h * cell / 6 + 0.3, 0.9 * shade);
    }
}

static int draw(wf_arena *A, const char *file, wf_law *law, const wf_obstacle *o, const walk_t *calm, const walk_t *noisy)
{
    svg_t s;
    char text[96];
    if (!svg_open(&s, file, 40 + FRAMES * 170, 560)) return 0;
    for (int k = 0; k < FRAMES; k++) {
        svg_frame(&s, 30 + k * 170.0, 30, 160, 160, -3, 3, -3, 3);
        snprintf(text, sizeof text, "t = %.1f", (double)k / (FRAMES - 1));
        draw_density(A, &s, law, (double)k / (FRAMES - 1));
        draw_obstacles(&s, o);
        svg_text(&s, 110 + k * 170.0, 22, "middle", "fill=\"#333\"", text);
        fprintf(s.f, "<rect x=\"%.1f\" y=\"30\" width=\"160\" height=\"160\" fill=\"none\" stroke=\"#bbb\"/>\n", 30 + k * 170.0);
    }
    for (int side = 0; side < 2; side++) {
        const walk_t *w = side ? noisy : calm;
        svg_frame(&s, 150 + side * 400.0, 220, 310, 310, -3, 3, -3, 3);
        fprintf(s.f, "<rect x=\"%.1f\" y=\"220\" width=\"310\" height=\"310\" fill=\"none\" stroke=\"#bbb\"/>\n", s.x0);
        for (int i = 0; i < w->n && i < 80; i++) {
            double *x = wf_alloc(A, 2 * (size_t)(w->steps + 1), sizeof *x), *y = x ? x + w->steps + 1 : NULL;
            if (!x) fail(A, "memory");
            for (int k = 0; k <= w->steps; k++) { x[k] = w->path[(i * (w->steps + 1) + k) * 2]; y[k] = w->path[(i * (w->steps + 1) + k) * 2 + 1]; }
            svg_line(&s, x, y, w->steps + 1, side ? "stroke=\"#d62728\" stroke-width=\"0.7\" opacity=\"0.6\"" : "stroke=\"#1f77b4\" stroke-width=\"0.7\" opacity=\"0.6\"");
        }
        draw_obstacles(&s, o);
        snprintf(text, sizeof text, side ? "with noise: %.1f %% touch an obstacle" : "without noise: %.1f %% touch an obstacle", 100 * w->collisions);
        svg_text(&s, s.x0 + 155, 550, "middle", "fill=\"#333\"", text);
    }
    return svg_close(&s);
}

int main(int argc, char **argv)
{
    setting_t set = { "out", 1, 1, 1500, 24, 13, 1000, 0, 0, 2000, 0.1, 0.02, 0.5 };
    const option_t options[] = {
        { "out", "folder for the results", 's', &set.out }, { "seed", "seed of the training and of the walks", 'i', &set.seed }, { "scene", "which obstacles", 'i', &set.scene }, { "steps", "of training with obstacles", 'i', &set.steps },
        { "components", "of the density", 'i', &set.components }, { "knots", "times at which paths may bend", 'i', &set.knots }, { "people", "who walk", 'i', &set.people }, { "weight", "of the obstacles", 'd', &set.weight }, { "margin", "how much larger obstacles are in training", 'd', &set.margin },
        { "spread", "weight of minus the entropy", 'd', &set.spread }, { "noise", "g of the second walk", 'd', &set.noise }, { "threads", "0: all", 'i', &set.threads }, { "json", "print a line of JSON, no progress", 'b', &set.json }, { NULL, NULL, 0, NULL }
    };
    option_read(argc, argv, "Learn to steer a crowd around obstacles, and draw how it walks with and without noise.", options);
    const char *wrong = set.steps < 1 ? "--steps: at least 1" : set.threads < 0 ? "--threads: 0 or more" : set.people < 1 || set.people > 100000 ? "--people: 1 to 100000" : set.components < 1 || set.components > 1000 ? "--components: 1 to 1000"
                      : set.knots < 2 || set.knots > 64 ? "--knots: 2 to 64" : !(set.weight > 0) || !(set.margin >= 0) || set.margin > 0.15 ? "--weight must be positive, --margin 0 to 0.15" : !(set.noise > 0) ? "--noise must be positive" : NULL;
    if (wrong) { fprintf(stderr, "crowd: %s\n", wrong); return 2; }
    if (!folder_ready(set.out)) { fprintf(stderr, "crowd: --out %s: cannot write to this folder\n", set.out); return 1; }
    progress_t bar = { set.json, isatty(2), 0, "", 0, 0 };
    double begin = seconds();
    wf_arena *A = wf_arena_new(NULL);
    wf_obstacle o[OBSTACLES];
    crowd_t crowd = { set.components, set.knots, set.steps, set.threads, set.weight, set.margin, set.spread, (uint64_t)set.seed };
    wf_law_report r;
    crowd_scene((uint64_t)set.scene, o);
    wf_law *law = crowd_law(A, &crowd);
    if (!law) fail(A, "starting");
    if (crowd_train(A, law, &crowd, o, &r, progress_show, &bar) < 0) fail(A, "training");
    progress_end(&bar);
    double time = seconds() - begin;
    walk_t calm = walk(A, law, o, set.people, 0, 100 + (uint64_t)set.seed), noisy = walk(A, law, o, set.people, set.noise, 200 + (uint64_t)set.seed);
    char file[1100];
    snprintf(file, sizeof file, "%s/crowd.svg", set.out);
    if (!draw(A, file, law, o, &calm, &noisy)) { fprintf(stderr, "crowd: cannot write %s\n", file); return 1; }
    snprintf(file, sizeof file, "%s/crowd.safetensors", set.out);
    if (wf_law_save(law, file) < 0) fail(A, "saving");
    if (set.json) printf("{\"example\":\"crowd\",\"scene\":%d,\"collisions\":%.4f,\"collisions_noisy\":%.4f,\"noise\":%g,\"energy\":%.3f,\"loss\":%.4f,\"train_seconds\":%.2f,\"threads\":%d,\"seed\":%d}\n", set.scene, calm.collisions, noisy.collisions, set.noise, calm.energy, r.loss, time, set.threads, set.seed);
    else {
        printf("without noise %.2f %% of %d people touch an obstacle; energy %.2f (a straight walk: 40.5)\n", 100 * calm.collisions, set.people, calm.energy);
        printf("with noise g = %g: %.2f %%\n", set.noise, 100 * noisy.collisions);
        printf("%s/crowd.svg shows the density, and both walks\n", set.out);
    }
    wf_arena_free(A);
    return 0;
}
