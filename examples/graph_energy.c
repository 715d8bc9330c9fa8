/* An energy written as a graph: the library supplies the gradient. Here a banana, U = (|x| - 2)^2 / (2 0.3^2) + (y - x^2 / 2)^2 / 2, whose two arms a sampler has to find. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_example.h"

static void fail(const char *what) { fprintf(stderr, "graph_energy: %s\n", what); exit(1); }

static double exact_log_z(void) /* x has density exp(-(|x| - 2)^2 / 0.18), y is normal about x^2 / 2 */
{
    double z = 0;
    for (int i = 0; i < 200000; i++) { double x = -10 + 20 * (i + 0.5) / 200000; z += exp(-(fabs(x) - 2) * (fabs(x) - 2) / 0.18) * 20 / 200000; }
    return log(z) + 0.5 * log(6.283185307179586);
}

int main(int argc, char **argv)
{
    int seed = 1, n = 4096, json = 0;
    const char *out = "out";
    const option_t options[] = {
        { "particles", "how many", 'i', &n },
        { "seed", "of everything random", 'i', &seed },
        { "out", "folder for the picture", 's', &out },
        { "json", "print the line of figures alone", 'b', &json },
        { NULL, NULL, 0, NULL },
    };
    option_read(argc, argv, "graph_energy: sample a density whose energy is a graph", options);
    if (n < 2) fail("--particles must be at least 2");
    progress_t bar = { 0 };
    bar.quiet = json;
    bar.terminal = isatty(2);
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F32);
    wf_graph *g = wf_graph_new(A, P);

    wf_t x = wf_input(g, "x", 2), a = wf_slice(x, 0, 0, 1), b = wf_slice(x, 0, 1, 1);
    wf_t arm = wf_scale(wf_square(wf_shift(wf_abs(a), -2)), 1 / (2 * 0.3 * 0.3));
    wf_t bend = wf_scale(wf_square(wf_sub(b, wf_scale(wf_square(a), 0.5))), 0.5);

    wf_particles_desc d = { 0 };
    d.energy_graph = wf_sum(wf_add(arm, bend));
    d.x = x;
    d.n = (size_t)n;
    d.dim = 2;
    d.seed = (uint64_t)seed;
    d.sd_all = 3;
    d.move = WF_MOVE_HMC;
    d.leaps = 5;
    d.step = 0.1;
    d.adapt = 1;
    d.levels = 100;
    d.adaptive = 0.95;
    d.progress = progress_show;
    d.progress_user = &bar;
    wf_particles *p = wf_particles_new(A, &d);
    if (!p || wf_particles_run(p) < 0) fail(wf_arena_report(A)->text);
    progress_end(&bar);
    wf_particles_report r = wf_particles_look(p);
    wf_particles_resample(p);                /* equal weights, to draw them */
    double *at = wf_alloc(A, 2 * d.n, sizeof *at), right = 0, exact = exact_log_z();
    if (!at) fail("out of memory");
    wf_particles_get(p, at, NULL, NULL);

    char path[1024];
    svg_t s;
    make_folder(out);
    snprintf(path, sizeof path, "%s/graph_energy.svg", out);
    if (!svg_open(&s, path, 560, 420)) fail("cannot write the picture");
    svg_text(&s, 60, 26, "start", "font-size=\"16\" font-weight=\"bold\" fill=\"#222\"", "Particles of an energy that is a graph");
    svg_frame(&s, 60, 50, 480, 310, -4, 4, -3, 9);
    svg_axes(&s, "x", "y");
    for (size_t i = 0; i < d.n; i++) {
        right += at[2 * i] > 0 ? 1.0 / n : 0;
        if (i < 3000) fprintf(s.f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"1.5\" fill=\"#1f5fa8\" opacity=\"0.5\"/>\n", svg_x(&s, at[2 * i]), svg_y(&s, at[2 * i + 1]));
    }
    if (!svg_close(&s)) fail("cannot write the picture");
    (void)svg_band; (void)svg_line;
    if (!json) printf("\nmass of the right arm %.4f (true 0.5); log Z %.4f +- %.4f (true %.4f)\nwrote %s\n\n", right, r.log_z, r.log_z_error, exact, path);
    printf("{\"example\":\"graph_energy\",\"log_z\":%.6f,\"error_bar\":%.6f,\"log_z_true\":%.6f,\"right\":%.4f,\"acceptance\":%.3f,\"levels\":%d,\"seed\":%d}\n", r.log_z, r.log_z_error, exact, right, r.acceptance, r.levels, seed);
    wf_arena_free(A);
    return 0;
}
