/* The whole way of a cloud of particles into two valleys, found at once: thirteen distributions from the start to the equilibrium, and the time between them. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_example.h"

enum { CELLS = 40, DRAWS = 20000 };

typedef struct setting_t { int seed, steps, threads, json, points; double beta; const char *out; } setting_t;

static void fail(const wf_arena *A, const char *what)
{
    fprintf(stderr, "double_well_path: %s: %s\n", what, wf_arena_report(A)->text);
    exit(1);
}

/* V(x, y) = (x^2 - 1)^2 + y^2 */
static wf_t valleys(wf_t x, void *user)
{
    wf_t a = wf_sum_over(wf_slice(x, 0, 0, 1), 0), b = wf_sum_over(wf_slice(x, 0, 1, 1), 0);
    (void)user;
    return wf_add(wf_square(wf_shift(wf_square(a), -1)), wf_square(b));
}

/* log of the integral of exp(-beta V): a sum over x, and a Gaussian integral over y */
static double log_mass(double beta)
{
    const double pi = 3.14159265358979323846;
    double sum = 0, h = 1e-3;
    for (double x = -6; x < 6; x += h) sum += h * exp(-beta * (x * x - 1) * (x * x - 1));
    return log(sum) + 0.5 * log(pi / beta);
}

static void one_panel(svg_t *s, wf_arena *A, wf_path *path, int k, const wf_path_report *r)
{
    double *grid = wf_alloc(A, 2 * CELLS * CELLS, sizeof *grid), *density = wf_alloc(A, CELLS * CELLS, sizeof *density), top = 0;
    char text[96];
    if (!grid || !density) fail(A, "memory");
    for (int i = 0; i < CELLS * CELLS; i++) {
        grid[2 * i] = s->xa + (s->xb - s->xa) * (i % CELLS + 0.5) / CELLS;
        grid[2 * i + 1] = s->ya + (s->yb - s->ya) * (i / CELLS + 0.5) / CELLS;
    }
    if (wf_path_log_prob(path, k, CELLS * CELLS, grid, density, NULL) < 0) fail(A, "density");
    for (int i = 0; i < CELLS * CELLS; i++) {
        density[i] = exp(density[i]);
        if (density[i] > top) top = density[i];
    }
    fprintf(s->f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#fbfbf7\" stroke=\"#999\"/>\n", s->x0, s->y0, s->w, s->h);
    for (int i = 0; i < CELLS * CELLS; i++) {
        double u = density[i] / top;
        if (!(u > 0.02)) continue;
        fprintf(s->f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#%02x%02x%02x\"/>\n", s->x0 + s->w * (i % CELLS) / CELLS, s->y0 + s->h * (CELLS - 1 - i / CELLS) / CELLS,
                s->w / CELLS + 0.3, s->h / CELLS + 0.3, (int)(245 - 222 * sqrt(u)), (int)(248 - 174 * sqrt(u)), (int)(252 - 128 * sqrt(u)));
    }
    if (k + 1 < r->points) snprintf(text, sizeof text, "%d: t = %.3f, F = %.3f", k, r->time[k], r->energy[k]);
    else snprintf(text, sizeof text, "%d: the end, F = %.3f", k, r->energy[k]);
    svg_text(s, s->x0 + 2, s->y0 - 5, "start", "fill=\"#333\"", text);
}

static void energy_curve(svg_t *s, const wf_path_report *r)
{
    int n = r->points - 1; /* the time of the end means nothing */
    svg_frame(s, s->x0 + 50, s->y0 + 5, 290, 150, 0, r->time[n - 1], r->energy[n], r->energy[0]);
    svg_axes(s, "time", "energy");
    svg_line(s, r->time, r->energy, n, "stroke=\"#174a7c\" stroke-width=\"2\"");
    for (int k = 0; k < n; k++) fprintf(s->f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"#174a7c\"/>\n", svg_x(s, r->time[k]), svg_y(s, r->energy[k]));
}

static void draw(wf_arena *A, const char *file, wf_path *path, const wf_path_report *r)
{
    svg_t s;
    int columns = 5, rows = (r->points + 1 + columns) / columns; /* two places for the curve */
    if (!svg_open(&s, file, 20 + 180.0 * columns, 70 + 200.0 * rows)) { fprintf(stderr, "double_well_path: cannot write %s\n", file); exit(1); }
    svg_text(&s, 20, 26, "start", "font-size=\"16\" font-weight=\"bold\" fill=\"#222\"", "From one cloud into two valleys: the densities on the way");
    for (int k = 0; k < r->points; k++) {
        svg_frame(&s, 20 + 180.0 * (k % columns), 66 + 200.0 * (k / columns), 165, 165, -2.2, 2.2, -2, 3);
        one_panel(&s, A, path, k, r);
    }
    if (r->points % columns > columns - 2) svg_frame(&s, 20, 66 + 200.0 * (rows - 1), 0, 0, 0, 1, 0, 1);
    else svg_frame(&s, 20 + 180.0 * (r->points % columns), 66 + 200.0 * (rows - 1), 0, 0, 0, 1, 0, 1);
    energy_curve(&s, r);
    (void)svg_band;
    if (!svg_close(&s)) { fprintf(stderr, "double_well_path: cannot write %s\n", file); exit(1); }
}

int main(int argc, char **argv)
{
    setting_t set = { 1, 1000, 0, 0, 12, 1, "out" };
    const option_t options[] = {
        { "seed", "of everything random", 'i', &set.seed },
        { "steps", "of the training", 'i', &set.steps },
        { "threads", "0: all", 'i', &set.threads },
        { "points", "steps of the path", 'i', &set.points },
        { "beta", "inverse temperature", 'd', &set.beta },
        { "out", "folder for the path and the picture", 's', &set.out },
        { "json", "print the line of figures alone", 'b', &set.json },
        { NULL, NULL, 0, NULL },
    };
    option_read(argc, argv, "double_well_path: the whole gradient flow into the equilibrium of a double well, as the layers of a normalizing flow", options);
    if (set.steps < 1 || set.threads < 0 || set.seed < 0 || set.points < 2 || set.points > WF_PATH_MOST || !(set.beta > 0.05 && set.beta < 20)) {
        fprintf(stderr, "double_well_path: --steps must be at least 1, --threads and --seed at least 0, --points 2 to %d, --beta 0.05 to 20\n", WF_PATH_MOST);
        return 2;
    }
    if (!folder_ready(set.out)) { fprintf(stderr, "double_well_path: --out %s: cannot write to this folder\n", set.out); return 1; }
    progress_t bar = { 0 };
    bar.quiet = set.json;
    bar.terminal = isatty(2);
    wf_arena *A = wf_arena_new(NULL);
    if (!A) { fprintf(stderr, "double_well_path: out of memory\n"); return 1; }

    double mean[2] = { 0, 1.5 }, deviation[2] = { 0.5, 0.5 };
    wf_energy energy = { 0 };
    energy.diffusion = 1 / set.beta;
    energy.potential = valleys;
    wf_start start = wf_start_normal(A, 2, mean, deviation);
    wf_path_desc d = { 0 };
    d.dim = 2;
    d.points = set.points;
    d.steps = set.steps;
    d.seed = (uint64_t)set.seed;
    d.threads = set.threads;
    d.progress = progress_show;
    d.user = &bar;
    double began = seconds();
    wf_path *path = wf_path_new(A, &energy, &start, &d);
    if (!path) fail(A, "the path");
    if (wf_path_train(path, 0) < 0) fail(A, "training");
    double trained = seconds() - began;
    progress_end(&bar);

    wf_path_report r;
    char text[8192], file[1200];
    double *x = wf_alloc(A, 2 * DRAWS, sizeof *x), x2 = 0, y1 = 0;
    if (!x || wf_path_measure(path, DRAWS, 1000 + (uint64_t)set.seed, &r) < 0 || wf_path_sample(path, set.points, DRAWS, 1000 + (uint64_t)set.seed, 0, x, NULL, NULL) < 0) fail(A, "measuring");
    for (int i = 0; i < DRAWS; i++) { x2 += x[2 * i] * x[2 * i] / DRAWS; y1 += x[2 * i + 1] / DRAWS; }
    double kl = set.beta * r.energy[set.points] + log_mass(set.beta);
    snprintf(file, sizeof file, "%s/double_well_path.safetensors", set.out);
    if (wf_path_save(path, file) < 0) fail(A, "saving");
    snprintf(file, sizeof file, "%s/double_well_path.svg", set.out);
    draw(A, file, path, &r);
    if (!set.json) {
        printf("\n%s\nKL to the equilibrium %.4f, E x^2 %.4f, E y %.4f; training took %.1f s\nwrote double_well_path.safetensors and double_well_path.svg to %s\n\n", wf_path_text(&r, text, sizeof text), kl, x2, y1, trained, set.out);
    }
    printf("{\"example\":\"double_well_path\",\"kl_end\":%.6f,\"action\":%.6f,\"length\":%.6f,\"spread\":%.6f,\"least_cosine\":%.6f,\"x2_end\":%.6f,\"y_end\":%.6f,\"train_seconds\":%.2f,\"threads\":%d,\"seed\":%d}\n", kl, r.action,
           r.total_length, r.spread, r.least_cosine, x2, y1, trained, set.threads ? set.threads : wf_threads_default(NULL), set.seed);
    wf_arena_free(A);
    return 0;
}
