/* A weighted equation of your own, written in C: dX = v dt + s dB, d log w = g dt. Here a particle diffuses freely in the plane and dies at the rate |x|^2 / 2 + c x y. By the formula of Feynman and Kac
   the mean weight falls like exp(-E t), where E is the lowest energy of a quantum oscillator: (sqrt(1 + c) + sqrt(1 - c)) / 2. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_example.h"

static void oscillator(void *user, const wf_tile *tile, float *drift, float *noise, float *slope, double *rate)
{
    double coupling = *(double *)user;
    (void)drift; (void)noise; (void)slope;   /* no drift; the noise is 1 already */
    for (int l = 0; l < WF_LANES; l++) {
        double x = tile->x[l], y = tile->x[WF_LANES + l];
        rate[l] = -0.5 * (x * x + y * y) - coupling * x * y;
    }
}

static void fail(const char *what) { fprintf(stderr, "user_drift: %s\n", what); exit(1); }

int main(int argc, char **argv)
{
    int seed = 1, n = 16384, json = 0;
    double coupling = 0.25, length = 10;
    const char *out = "out";
    const option_t options[] = {
        { "coupling", "of the two coordinates, between -1 and 1", 'd', &coupling },
        { "length", "of the run", 'd', &length },
        { "particles", "how many", 'i', &n },
        { "seed", "of everything random", 'i', &seed },
        { "out", "folder for the picture", 's', &out },
        { "json", "print the line of figures alone", 'b', &json },
        { NULL, NULL, 0, NULL },
    };
    option_read(argc, argv, "user_drift: the ground state of a coupled oscillator, by particles that diffuse and die", options);
    if (n < 2 || !(length > 2) || !(fabs(coupling) < 1)) fail("--particles at least 2, --length above 2, --coupling between -1 and 1");
    progress_t bar = { 0 };
    bar.quiet = json;
    bar.terminal = isatty(2);
    wf_arena *A = wf_arena_new(NULL);
    wf_particles_desc d = { 0 };
    d.levels = (int)(50 * length);
    double *times = wf_alloc(A, (size_t)d.levels + 1, sizeof *times);
    if (!times) fail("out of memory");
    for (int k = 0; k <= d.levels; k++) times[k] = length * k / d.levels;
    d.n = (size_t)n;
    d.dim = 2;
    d.seed = (uint64_t)seed;
    d.sd_all = 0.8;
    d.move = WF_MOVE_SDE_HEUN;
    d.sde = oscillator;
    d.user = &coupling;
    d.times = times;
    d.every = 5;
    d.progress = progress_show;
    d.progress_user = &bar;
    wf_particles *p = wf_particles_new(A, &d);
    if (!p || wf_particles_run(p) < 0) fail(wf_arena_report(A)->text);
    progress_end(&bar);

    size_t rows;
    const wf_particles_row *row = wf_particles_history(p, &rows);
    wf_particles_report r = wf_particles_look(p);
    double *t = wf_alloc(A, rows, sizeof *t), *fall = wf_alloc(A, rows, sizeof *fall), early_t = 0, early = 0;
    if (!t || !fall) fail("out of memory");
    for (size_t i = 0; i < rows; i++) {
        t[i] = row[i].t;
        fall[i] = -row[i].log_z;
        if (row[i].t <= 0.3 * length) { early_t = row[i].t; early = row[i].log_z; }
    }
    double energy = (early - r.log_z) / (r.t - early_t), error = r.log_z_error_lag / (r.t - early_t), exact = 0.5 * (sqrt(1 + coupling) + sqrt(1 - coupling));
    char path[1024];
    svg_t s;
    make_folder(out);
    snprintf(path, sizeof path, "%s/user_drift.svg", out);
    if (!svg_open(&s, path, 640, 360)) fail("cannot write the picture");
    svg_text(&s, 60, 26, "start", "font-size=\"16\" font-weight=\"bold\" fill=\"#222\"", "-log Z falls into step with the lowest energy");
    svg_frame(&s, 60, 50, 560, 250, 0, length, 0, fall[rows - 1] * 1.05);
    svg_axes(&s, "time", "-log Z");
    double line_t[2] = { 0, length }, line[2] = { fall[rows - 1] - exact * length, fall[rows - 1] };
    svg_line(&s, line_t, line, 2, "stroke=\"#999\" stroke-width=\"4\" opacity=\"0.6\"");
    svg_line(&s, t, fall, (int)rows, "stroke=\"#1f5fa8\" stroke-width=\"2\"");
    if (!svg_close(&s)) fail("cannot write the picture");
    (void)svg_band;
    if (!json) printf("\nlowest energy: true %.5f, particles %.5f +- %.5f\nwrote %s\n\n", exact, energy, error, path);
    printf("{\"example\":\"user_drift\",\"energy_true\":%.6f,\"energy\":%.6f,\"error_bar\":%.6f,\"resamplings\":%d,\"seed\":%d}\n", exact, energy, error, r.resamplings, seed);
    wf_arena_free(A);
    return 0;
}
