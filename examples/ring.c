/* Particles which attract each other from afar and repel each other nearby: a round cloud becomes a ring. The learned path against the exact motion of radii. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_example.h"

enum { DRAWS = 4000, SHOWN = 500, RADII = 2000, FINE = 50 };
static const double WIDTH = 0.4; /* of the cloud at the start */

typedef struct setting_t { int seed, steps, threads, json, points; double time; const char *out; } setting_t;
typedef struct moments_t { double m2, m4, energy, radius, spread; } moments_t;

static void fail(const wf_arena *A, const char *what)
{
    fprintf(stderr, "ring: %s: %s\n", what, wf_arena_report(A)->text);
    exit(1);
}

/* W = r^4 / 4 - r^2 / 2 */
static wf_t interaction(wf_t z, void *user)
{
    (void)user;
    return wf_sub(wf_radial(z, 4, 0), wf_radial(z, 2, 0));
}

/* For a round law the interaction closes: a radius moves by r' = -r (r^2 + 2 m2 - 1), and E = (2 m4 + 4 m2^2) / 8 - m2 / 2. */
static moments_t moments_of(const double *r, size_t n)
{
    moments_t m = { 0, 0, 0, 0, 0 };
    for (size_t i = 0; i < n; i++) {
        double q = r[i] * r[i];
        m.m2 += q / (double)n;
        m.m4 += q * q / (double)n;
        m.radius += r[i] / (double)n;
    }
    m.spread = sqrt(m.m2 > m.radius * m.radius ? m.m2 - m.radius * m.radius : 0);
    m.energy = (2 * m.m4 + 4 * m.m2 * m.m2) / 8 - m.m2 / 2;
    return m;
}

static void slopes(const double *r, double *dr)
{
    double m2 = 0;
    for (int i = 0; i < RADII; i++) m2 += r[i] * r[i] / RADII;
    for (int i = 0; i < RADII; i++) dr[i] = -r[i] * (r[i] * r[i] + 2 * m2 - 1);
}

static void exact_step(double *r, double h)
{
    static double k[4][RADII], y[RADII];
    slopes(r, k[0]);
    for (int s = 1; s < 4; s++) {
        for (int i = 0; i < RADII; i++) y[i] = r[i] + (s < 3 ? h / 2 : h) * k[s - 1][i];
        slopes(y, k[s]);
    }
    for (int i = 0; i < RADII; i++) r[i] += h / 6 * (k[0][i] + 2 * k[1][i] + 2 * k[2][i] + k[3][i]);
}

static void draw(const char *file, const setting_t *set, const double *x, const double *t, const double *learned, const double *exact)
{
    svg_t s;
    int shown[4] = { 0, 1, set->points / 3 > 1 ? set->points / 3 : 1, set->points };
    char text[64];
    if (!svg_open(&s, file, 780, 470)) { fprintf(stderr, "ring: cannot write %s\n", file); exit(1); }
    svg_text(&s, 20, 26, "start", "font-size=\"16\" font-weight=\"bold\" fill=\"#222\"", "Attraction from afar, repulsion nearby: a cloud becomes a ring");
    for (int p = 0; p < 4; p++) {
        svg_frame(&s, 20 + 190.0 * p, 60, 175, 175, -1.2, 1.2, -1.2, 1.2);
        fprintf(s.f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#fbfbf7\" stroke=\"#999\"/>\n", s.x0, s.y0, s.w, s.h);
        fprintf(s.f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"none\" stroke=\"#d99b1c\"/>\n", svg_x(&s, 0), svg_y(&s, 0), s.w * 0.57735 / 2.4);
        for (int i = 0; i < SHOWN; i++) {
            const double *q = x + 2 * ((size_t)shown[p] * DRAWS + (size_t)i);
            if (fabs(q[0]) < 1.2 && fabs(q[1]) < 1.2) fprintf(s.f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"1.4\" fill=\"#174a7c\" fill-opacity=\"0.6\"/>\n", svg_x(&s, q[0]), svg_y(&s, q[1]));
        }
        snprintf(text, sizeof text, "t = %.2f", t[shown[p]]);
        svg_text(&s, s.x0 + 2, s.y0 - 5, "start", "fill=\"#333\"", text);
    }
    double low = learned[0], high = learned[0];
    for (int k = 0; k <= set->points; k++) { low = fmin(low, fmin(learned[k], exact[k])); high = fmax(high, fmax(learned[k], exact[k])); }
    svg_frame(&s, 80, 270, 660, 140, 0, set->time, low - 0.001, high + 0.001);
    svg_axes(&s, "time", "energy");
    svg_line(&s, t, exact, set->points + 1, "stroke=\"#d99b1c\" stroke-width=\"5\" stroke-opacity=\"0.6\"");
    svg_line(&s, t, learned, set->points + 1, "stroke=\"#174a7c\" stroke-width=\"1.6\"");
    svg_text(&s, 730, 290, "end", "fill=\"#555\"", "wide: exact motion of radii; narrow: learned path");
    (void)svg_band;
    if (!svg_close(&s)) { fprintf(stderr, "ring: cannot write %s\n", file); exit(1); }
}

int main(int argc, char **argv)
{
    setting_t set = { 1, 500, 0, 0, 8, 2, "out" };
    const option_t options[] = {
        { "seed", "of everything random", 'i', &set.seed },
        { "steps", "of the training", 'i', &set.steps },
        { "threads", "0: all", 'i', &set.threads },
        { "points", "steps of the path", 'i', &set.points },
        { "time", "at the end", 'd', &set.time },
        { "out", "folder for the path and the picture", 's', &set.out },
        { "json", "print the line of figures alone", 'b', &set.json },
        { NULL, NULL, 0, NULL },
    };
    option_read(argc, argv, "ring: a cloud of particles becomes a ring; the path of the densities, learned from the interaction alone", options);
    if (set.steps < 1 || set.threads < 0 || set.seed < 0 || set.points < 2 || set.points > WF_PATH_MOST || !(set.time > 0 && set.time <= 50)) {
        fprintf(stderr, "ring: --steps must be at least 1, --threads and --seed at least 0, --points 2 to %d, --time above 0\n", WF_PATH_MOST);
        return 2;
    }
    if (!folder_ready(set.out)) { fprintf(stderr, "ring: --out %s: cannot write to this folder\n", set.out); return 1; }
    progress_t bar = { 0 };
    bar.quiet = set.json;
    bar.terminal = isatty(2);
    wf_arena *A = wf_arena_new(NULL);
    if (!A) { fprintf(stderr, "ring: out of memory\n"); return 1; }

    double deviation[2] = { WIDTH, WIDTH };
    wf_energy energy = { 0 };
    energy.pair = interaction;
    wf_start start = wf_start_normal(A, 2, NULL, deviation);
    wf_flow_layer block[2] = { { 0 }, { 0 } };
    for (int i = 0; i < 2; i++) {
        block[i].kind = WF_FLOW_COUPLING;
        block[i].map = WF_MAP_SMOOTH; /* a hole in the middle: the map of one coordinate is far from affine */
        block[i].bound = 1;
        block[i].part = i;
    }
    wf_path_desc d = { 0 };
    d.dim = 2;
    d.action = WF_PATH_TIME;
    d.horizon = set.time;
    d.end = WF_PATH_END_ENERGY; /* at first the end is pulled to low energy: a cloud that falls into one point is a path of zero field, too, and training must not begin there */
    d.end_start = 20;
    d.end_weight = 0.01;
    d.points = set.points;
    d.block = block;
    d.block_layers = 2;
    d.batch = 256;
    d.steps = set.steps;
    d.rate = 7e-3;
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
    double exact_radius[RADII], t[WF_PATH_MOST + 1], exact[WF_PATH_MOST + 1], moment_error = 0;
    double *x = wf_alloc(A, 2 * DRAWS * (size_t)(set.points + 1), sizeof *x), *radius = wf_alloc(A, DRAWS, sizeof *radius);
    moments_t m = { 0 };
    if (!x || !radius || wf_path_measure(path, DRAWS, 1000 + (uint64_t)set.seed, &r) < 0) fail(A, "measuring");
    for (int i = 0; i < RADII; i++) exact_radius[i] = WIDTH * sqrt(-2 * log(1 - (i + 0.5) / RADII));
    if (!set.json) printf("\n%8s %10s %10s %10s %10s %10s %10s\n", "time", "energy", "exact", "m2", "exact", "m4", "exact");
    for (int k = 0; k <= set.points; k++) {
        for (int j = 0; k && j < FINE; j++) exact_step(exact_radius, set.time / set.points / FINE);
        moments_t e = moments_of(exact_radius, RADII);
        double *row = x + 2 * (size_t)k * DRAWS;
        if (wf_path_sample(path, k, DRAWS, 1000 + (uint64_t)set.seed, 0, row, NULL, NULL) < 0) fail(A, "sampling");
        for (int i = 0; i < DRAWS; i++) radius[i] = hypot(row[2 * i], row[2 * i + 1]);
        m = moments_of(radius, DRAWS);
        t[k] = r.time[k];
        exact[k] = e.energy;
        if (fabs(m.m2 / e.m2 - 1) > moment_error) moment_error = fabs(m.m2 / e.m2 - 1);
        if (!set.json) printf("%8.2f %10.6f %10.6f %10.5f %10.5f %10.5f %10.5f\n", t[k], r.energy[k], e.energy, m.m2, e.m2, m.m4, e.m4);
    }
    snprintf(file, sizeof file, "%s/ring.safetensors", set.out);
    if (wf_path_save(path, file) < 0) fail(A, "saving");
    snprintf(file, sizeof file, "%s/ring.svg", set.out);
    draw(file, &set, x, t, r.energy, exact);
    if (!set.json) printf("\n%s\nradius %.4f +- %.4f (at last 0.5774 +- 0); training took %.1f s\nwrote ring.safetensors and ring.svg to %s\n\n", wf_path_text(&r, text, sizeof text), m.radius, m.spread, trained, set.out);
    printf("{\"example\":\"ring\",\"energy_end\":%.6f,\"energy_exact\":%.6f,\"moment_error\":%.6f,\"radius\":%.6f,\"radius_spread\":%.6f,\"action\":%.6f,\"train_seconds\":%.2f,\"threads\":%d,\"seed\":%d}\n", r.energy[set.points],
           exact[set.points], moment_error, m.radius, m.spread, r.action, trained, set.threads ? set.threads : wf_threads_default(NULL), set.seed);
    wf_arena_free(A);
    return 0;
}
