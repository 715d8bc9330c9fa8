/* A drop spreads in a porous medium. The learned path against the solution of Barenblatt: its energy, its second moment, its profile at each point of time. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_example.h"

enum { DRAWS = 20000, PLACES = 80 };

typedef struct setting_t { int seed, steps, threads, json, points, dim; double power, from, to; const char *out; } setting_t;

static void fail(const wf_arena *A, const char *what)
{
    fprintf(stderr, "porous_medium: %s: %s\n", what, wf_arena_report(A)->text);
    exit(1);
}

/* Densities along the first axis: learned (through the path) and exact. */
static void profile(wf_arena *A, wf_path *path, int point, const setting_t *set, double t, double reach, double *u, double *learned, double *exact)
{
    wf_start truth = wf_start_barenblatt(A, set->dim, set->power, t);
    double *x = wf_alloc(A, (size_t)(PLACES * set->dim), sizeof *x);
    if (!x || !truth.density) fail(A, "memory");
    for (int i = 0; i < PLACES; i++) x[i * set->dim] = u[i] = reach * (2 * (i + 0.5) / PLACES - 1);
    if (wf_path_log_prob(path, point, PLACES, x, learned, NULL) < 0 || truth.density(truth.user, PLACES, x, exact, NULL) < 0) fail(A, "density");
    for (int i = 0; i < PLACES; i++) { learned[i] = exp(learned[i]); exact[i] = exp(exact[i]); }
}

static double draw(wf_arena *A, const char *file, wf_path *path, const setting_t *set)
{
    svg_t s;
    double u[PLACES], learned[PLACES], exact[PLACES], reach, top = 0, worst = 0;
    wf_barenblatt(set->dim, set->power, set->to, &reach, NULL, NULL);
    reach *= 1.1;
    if (!svg_open(&s, file, 760, 420)) { fprintf(stderr, "porous_medium: cannot write %s\n", file); exit(1); }
    svg_text(&s, 70, 26, "start", "font-size=\"16\" font-weight=\"bold\" fill=\"#222\"", "A drop spreads in a porous medium");
    svg_text(&s, 70, 44, "start", "fill=\"#555\"", "density along the first axis; lines: learned, one for each point of the path; grey bands: exact, from zero");
    for (int k = 0; k <= set->points; k++) {
        double t = set->from + (set->to - set->from) * k / set->points, high = 0, zero[PLACES] = { 0 };
        char style[96];
        profile(A, path, k, set, t, reach, u, learned, exact);
        if (!k) {
            for (int i = 0; i < PLACES; i++) if (exact[i] > top) top = exact[i];
            svg_frame(&s, 70, 60, 660, 290, -reach, reach, 0, top * 1.1);
            svg_axes(&s, "place", "density");
        }
        for (int i = 0; i < PLACES; i++) if (exact[i] > high) high = exact[i];
        for (int i = 0; i < PLACES; i++) if (fabs(learned[i] - exact[i]) > worst * high) worst = fabs(learned[i] - exact[i]) / high;
        svg_band(&s, u, zero, exact, PLACES, "fill=\"#000000\" fill-opacity=\"0.05\"");
        snprintf(style, sizeof style, "stroke=\"#%02x4a7c\" stroke-width=\"1.6\"", 23 + 180 * k / set->points);
        svg_line(&s, u, learned, PLACES, style);
    }
    if (!svg_close(&s)) { fprintf(stderr, "porous_medium: cannot write %s\n", file); exit(1); }
    return worst;
}

static double second_moment(wf_arena *A, wf_path *path, int point, const setting_t *set, double *x)
{
    double m2 = 0;
    if (wf_path_sample(path, point, DRAWS, 1000 + (uint64_t)set->seed, 0, x, NULL, NULL) < 0) fail(A, "sampling");
    for (int i = 0; i < DRAWS * set->dim; i++) m2 += x[i] * x[i] / DRAWS;
    return m2;
}

int main(int argc, char **argv)
{
    setting_t set = { 1, 400, 0, 0, 8, 2, 2, 1, 4, "out" };
    const option_t options[] = {
        { "seed", "of everything random", 'i', &set.seed },
        { "steps", "of the training", 'i', &set.steps },
        { "threads", "0: all", 'i', &set.threads },
        { "points", "steps of the path", 'i', &set.points },
        { "dim", "coordinates, 2 to 10", 'i', &set.dim },
        { "power", "of the porous medium, above 1", 'd', &set.power },
        { "from", "the time at the start", 'd', &set.from },
        { "to", "the time at the end", 'd', &set.to },
        { "out", "folder for the path and the picture", 's', &set.out },
        { "json", "print the line of figures alone", 'b', &set.json },
        { NULL, NULL, 0, NULL },
    };
    option_read(argc, argv, "porous_medium: how a drop spreads, learned from its energy alone, against Barenblatt's solution", options);
    if (set.steps < 1 || set.threads < 0 || set.seed < 0 || set.points < 1 || set.points > WF_PATH_MOST || set.dim < 2 || set.dim > 10 || !(set.power > 1 && set.power < 10) || !(set.from > 0 && set.to > set.from)) {
        fprintf(stderr, "porous_medium: --steps must be at least 1, --threads and --seed at least 0, --points 1 to %d, --dim 2 to 10, --power above 1, 0 < --from < --to\n", WF_PATH_MOST);
        return 2;
    }
    if (!folder_ready(set.out)) { fprintf(stderr, "porous_medium: --out %s: cannot write to this folder\n", set.out); return 1; }
    progress_t bar = { 0 };
    bar.quiet = set.json;
    bar.terminal = isatty(2);
    wf_arena *A = wf_arena_new(NULL);
    if (!A) { fprintf(stderr, "porous_medium: out of memory\n"); return 1; }

    wf_energy energy = { 0 };
    energy.power = set.power;
    wf_start start = wf_start_barenblatt(A, set.dim, set.power, set.from);
    wf_path_desc d = { 0 };
    d.dim = set.dim;
    d.action = WF_PATH_TIME; /* nothing holds a drop on the whole plane: there is no equilibrium, and a horizon is needed */
    d.horizon = set.to - set.from;
    d.points = set.points;
    d.steps = set.steps;
    d.seed = (uint64_t)set.seed;
    d.threads = set.threads;
    d.progress = progress_show;
    d.user = &bar;
    double began = seconds();
    wf_path *path = start.draw ? wf_path_new(A, &energy, &start, &d) : NULL;
    if (!path) fail(A, "the path");
    if (wf_path_train(path, 0) < 0) fail(A, "training");
    double trained = seconds() - began, m2, f, moment_error = 0, energy_error = 0;
    progress_end(&bar);

    wf_path_report r;
    char text[8192], file[1200];
    double *x = wf_alloc(A, (size_t)(DRAWS * set.dim), sizeof *x);
    if (!x || wf_path_measure(path, DRAWS, 1000 + (uint64_t)set.seed, &r) < 0) fail(A, "measuring");
    if (!set.json) printf("\n%8s %12s %12s %12s %12s\n", "time", "energy", "exact", "moment", "exact");
    for (int k = 0; k <= set.points; k++) {
        double t = set.from + r.time[k], learned = second_moment(A, path, k, &set, x);
        wf_barenblatt(set.dim, set.power, t, NULL, &m2, &f);
        if (fabs(learned / m2 - 1) > moment_error) moment_error = fabs(learned / m2 - 1);
        if (fabs(r.energy[k] / f - 1) > energy_error) energy_error = fabs(r.energy[k] / f - 1);
        if (!set.json) printf("%8.3f %12.6f %12.6f %12.6f %12.6f\n", t, r.energy[k], f, learned, m2);
    }
    snprintf(file, sizeof file, "%s/porous_medium.safetensors", set.out);
    if (wf_path_save(path, file) < 0) fail(A, "saving");
    snprintf(file, sizeof file, "%s/porous_medium.svg", set.out);
    double profile_error = draw(A, file, path, &set);
    if (!set.json) printf("\n%s\ntraining took %.1f s\nwrote porous_medium.safetensors and porous_medium.svg to %s\n\n", wf_path_text(&r, text, sizeof text), trained, set.out);
    printf("{\"example\":\"porous_medium\",\"moment_error\":%.6f,\"energy_error\":%.6f,\"profile_error\":%.6f,\"action\":%.8f,\"train_seconds\":%.2f,\"threads\":%d,\"seed\":%d}\n", moment_error, energy_error, profile_error, r.action,
           trained, set.threads ? set.threads : wf_threads_default(NULL), set.seed);
    wf_arena_free(A);
    return 0;
}
