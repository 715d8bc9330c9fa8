/* Two valleys, 0.7 and 0.3 of the mass, and a hill between them that nobody crosses. All particles start in one valley: Langevin's equation leaves them there.
   With weights and resampling (annealed from a wide normal law) they find both in the right proportion, and the normalising constant with its error. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_example.h"

/* U = h (x^2 - 1)^2 + tilt x */
typedef struct wells_t { double height, tilt; } wells_t;

static double energy_at(const wells_t *w, double x) { return w->height * (x * x - 1) * (x * x - 1) + w->tilt * x; }

static void energy(void *user, const wf_tile *tile, double *u, float *gradient)
{
    const wells_t *w = user;
    for (int l = 0; l < WF_LANES; l++) {
        double x = tile->x[l];
        u[l] = energy_at(w, x);
        if (gradient) gradient[l] = (float)(4 * w->height * x * (x * x - 1) + w->tilt);
    }
}

static void langevin(void *user, const wf_tile *tile, float *drift, float *noise, float *slope, double *rate)
{
    double u[WF_LANES];
    (void)slope; (void)rate;
    energy(user, tile, u, drift);
    for (int l = 0; l < WF_LANES; l++) { drift[l] = -drift[l]; noise[l] = 1.41421356f; }
}

enum { BINS = 120 };

static double histogram(const wf_particles *p, size_t n, double *bins) /* densities on [-2, 2]; returns the mass on the right */
{
    double *x = malloc(2 * n * sizeof *x), *w = x + n, right = 0;
    if (!x) exit(1);
    wf_particles_get(p, x, w, NULL);
    memset(bins, 0, BINS * sizeof *bins);
    for (size_t i = 0; i < n; i++) {
        int b = (int)floor((x[i] + 2) / 4 * BINS);
        if (b >= 0 && b < BINS) bins[b] += w[i] * BINS / 4;
        if (x[i] > 0) right += w[i];
    }
    free(x);
    return right;
}

static wf_particles *run(wf_arena *A, const wf_particles_desc *d)
{
    wf_particles *p = wf_particles_new(A, d);
    if (!p || wf_particles_run(p) < 0) { fprintf(stderr, "double_well: %s\n", wf_arena_report(A)->text); exit(1); }
    return p;
}

static void draw(const char *path, const double *exact, const double *free_run, const double *weighted)
{
    static const char *const names[3] = { "the density", "Langevin's equation alone", "annealed, weighted" };
    static const char *const styles[3] = { "stroke=\"#999\" stroke-width=\"5\" opacity=\"0.6\"", "stroke=\"#c0392b\" stroke-width=\"2\"", "stroke=\"#1f5fa8\" stroke-width=\"2\"" };
    const double *lines[3] = { exact, free_run, weighted };
    double x[BINS], top = 0;
    svg_t s;
    if (!svg_open(&s, path, 720, 380)) { fprintf(stderr, "double_well: cannot write %s\n", path); exit(1); }
    for (int i = 0; i < BINS; i++) { x[i] = -2 + 4 * (i + 0.5) / BINS; for (int k = 0; k < 3; k++) if (lines[k][i] > top) top = lines[k][i]; }
    svg_text(&s, 60, 26, "start", "font-size=\"16\" font-weight=\"bold\" fill=\"#222\"", "A hill that plain Langevin dynamics does not cross");
    svg_frame(&s, 60, 50, 640, 270, -2, 2, 0, 1.05 * top);
    svg_axes(&s, "x", "density");
    for (int k = 0; k < 3; k++) {
        svg_line(&s, x, lines[k], BINS, styles[k]);
        fprintf(s.f, "<line x1=\"300\" x2=\"330\" y1=\"%d\" y2=\"%d\" %s/>\n", 66 + 18 * k, 66 + 18 * k, styles[k]);
        svg_text(&s, 336, 70 + 18 * k, "start", "fill=\"#333\"", names[k]);
    }
    if (!svg_close(&s)) { fprintf(stderr, "double_well: cannot write %s\n", path); exit(1); }
    (void)svg_band;
}

int main(int argc, char **argv)
{
    wells_t w = { 16, 0.42 };
    int seed = 1, n = 16384, json = 0;
    const char *out = "out";
    const option_t options[] = {
        { "height", "of the hill", 'd', &w.height },
        { "tilt", "what the right valley is higher than the left, over 2", 'd', &w.tilt },
        { "particles", "how many", 'i', &n },
        { "seed", "of everything random", 'i', &seed },
        { "out", "folder for the picture", 's', &out },
        { "json", "print the line of figures alone", 'b', &json },
        { NULL, NULL, 0, NULL },
    };
    option_read(argc, argv, "double_well: sample a density with two valleys, once with Langevin's equation, once with weights", options);
    if (n < 2) { fprintf(stderr, "double_well: --particles must be at least 2\n"); return 2; }
    progress_t bar = { 0 };
    bar.quiet = json;
    bar.terminal = isatty(2);
    wf_arena *A = wf_arena_new(NULL);
    double exact[BINS], free_run[BINS], weighted[BINS], left = -1, z = 0, right = 0, narrow = 0.1;
    for (int i = 0; i < 40000; i++) { double x = -4 + 8 * (i + 0.5) / 40000, f = exp(-energy_at(&w, x)) * 8 / 40000; z += f; if (x > 0) right += f; }
    for (int i = 0; i < BINS; i++) exact[i] = exp(-energy_at(&w, -2 + 4 * (i + 0.5) / BINS)) / z;

    wf_particles_desc d = { 0 };
    d.n = (size_t)n;
    d.dim = 1;
    d.seed = (uint64_t)seed;
    d.user = &w;
    d.progress = progress_show;
    d.progress_user = &bar;

    double times[2001];                      /* Langevin's equation, two units of time, from the left valley */
    for (int k = 0; k <= 2000; k++) times[k] = 0.001 * k;
    d.move = WF_MOVE_SDE;
    d.sde = langevin;
    d.mean = &left;
    d.sd = &narrow;
    d.levels = 2000;
    d.times = times;
    double free_right = histogram(run(A, &d), d.n, free_run);

    d.move = WF_MOVE_LANGEVIN;               /* the same moves, while the density grows out of N(0, 1); exact weights */
    d.energy = energy;
    d.sde = NULL;
    d.mean = d.sd = NULL;
    d.times = NULL;
    d.step = 0.002;
    d.levels = 1000;
    wf_particles *p = run(A, &d);
    wf_particles_report r = wf_particles_look(p);
    double weighted_right = histogram(p, d.n, weighted);
    progress_end(&bar);

    char path[1024];
    make_folder(out);
    snprintf(path, sizeof path, "%s/double_well.svg", out);
    draw(path, exact, free_run, weighted);
    if (!json) printf("\nmass of the right valley: true %.4f, Langevin alone %.4f, weighted %.4f\nlog Z: true %.4f, weighted %.4f +- %.4f\nwrote %s\n\n", right / z, free_right, weighted_right, log(z), r.log_z, r.log_z_error, path);
    printf("{\"example\":\"double_well\",\"right_true\":%.6f,\"right_langevin\":%.6f,\"right_weighted\":%.6f,\"log_z_true\":%.6f,\"log_z\":%.6f,\"error_bar\":%.6f,\"ess\":%.1f,\"seed\":%d}\n", right / z, free_right,
           weighted_right, log(z), r.log_z, r.log_z_error, r.ess, seed);
    wf_arena_free(A);
    return 0;
}
