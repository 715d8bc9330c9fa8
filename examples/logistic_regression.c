/* Bayesian logistic regression on any CSV file: the posterior of every coefficient with error bars, and the evidence of the model. The last column (or --label) holds two different values;
   features are brought to mean 0 and deviation 1; the prior is N(0, --prior^2). Without --data, data are simulated. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_example.h"

typedef struct data_t { int rows, columns; float *x, *y; double prior; const char **names; } data_t; /* x [rows][columns], its first column 1; names as in the file, or NULL */

/* U = |w|^2 / 2 prior^2 + sum log(1 + e^a) - y a, a = x . w, with constants */
static void energy(void *user, const wf_tile *tile, double *u, float *gradient)
{
    const data_t *d = user;
    double scale = 1 / (d->prior * d->prior);
    for (int l = 0; l < WF_LANES; l++) u[l] = d->columns * (log(d->prior) + 0.9189385332046727);
    for (int i = 0; i < d->columns; i++)
        for (int l = 0; l < WF_LANES; l++) {
            float w = tile->x[i * WF_LANES + l];
            u[l] += 0.5 * scale * w * w;
            if (gradient) gradient[i * WF_LANES + l] = (float)scale * w;
        }
    for (int r = 0; r < d->rows; r++) {
        const float *row = d->x + r * d->columns;
        float a[WF_LANES] = { 0 };
        for (int i = 0; i < d->columns; i++) for (int l = 0; l < WF_LANES; l++) a[l] += row[i] * tile->x[i * WF_LANES + l];
        for (int l = 0; l < WF_LANES; l++) {
            float e = expf(-fabsf(a[l])), p = a[l] > 0 ? 1 / (1 + e) : e / (1 + e);
            u[l] += (a[l] > 0 ? a[l] : 0) + log1pf(e) - d->y[r] * a[l];
            a[l] = p - d->y[r];
        }
        if (gradient) for (int i = 0; i < d->columns; i++) for (int l = 0; l < WF_LANES; l++) gradient[i * WF_LANES + l] += row[i] * a[l];
    }
}

static void fail(const char *what) { fprintf(stderr, "logistic_regression: %s\n", what); exit(1); }

static data_t simulate(wf_arena *A, int rows, int features, uint64_t seed)
{
    data_t d = { rows, features + 1, wf_alloc(A, (size_t)rows * ((size_t)features + 1), sizeof(float)), wf_alloc(A, (size_t)rows, sizeof(float)), 1, NULL };
    if (!d.x || !d.y) fail("out of memory");
    for (int r = 0; r < rows; r++) {
        double a = 0.3;
        for (int i = 1; i <= features; i++) {
            d.x[r * d.columns + i] = (float)wf_normal_at(seed, (uint64_t)r, 0, (uint32_t)i, 0);
            a += d.x[r * d.columns + i] * (i % 2 ? 1.0 : -0.5) * (i <= 4);
        }
        d.y[r] = wf_uniform_at(seed, (uint64_t)r, 0, 0, 1) < 1 / (1 + exp(-a));
    }
    return d;
}

static data_t read_csv(wf_arena *A, const char *path, int label)
{
    data_t d = { 0 };
    wf_table *a = wf_csv_read(A, path, NULL);
    if (!a) fail(wf_arena_report(A)->text);
    if (a->rows < 2 || a->rows > 1000000 || a->columns < 2 || a->columns > 1000) fail("a table of at least two rows and two columns is wanted");
    double *x = a->data, low, high;
    int n = (int)a->rows, c = (int)a->columns;
    if (label < 0) label += c;
    if (label < 0 || label >= c) fail("--label is not a column");
    d.rows = n;
    d.columns = c;
    d.x = wf_alloc(A, (size_t)n * (size_t)c, sizeof(float));
    d.y = wf_alloc(A, (size_t)n, sizeof(float));
    d.names = a->names;
    for (int i = label; a->names && i > 0; i--) a->names[i] = a->names[i - 1]; /* the constant comes first */
    if (!d.x || !d.y) fail("out of memory");
    low = high = x[label];
    for (int r = 0; r < n; r++) { double v = x[r * c + label]; if (v < low) low = v; if (v > high) high = v; }
    for (int r = 0; r < n; r++) {
        double v = x[r * c + label];
        if (!(low < high) || (v > low && v < high)) fail("the label must have two different values");
        d.y[r] = v > low;
        for (int i = 0, to = 1; i < c; i++) if (i != label) d.x[r * c + to++] = (float)x[r * c + i];
    }
    return d;
}

static void standardise(data_t *d)
{
    for (int i = 0; i < d->columns; i++) {
        double mean = 0, square = 0;
        for (int r = 0; r < d->rows; r++) mean += (double)d->x[r * d->columns + i] / d->rows;
        for (int r = 0; r < d->rows; r++) square += pow(d->x[r * d->columns + i] - mean, 2) / d->rows;
        for (int r = 0; r < d->rows; r++) d->x[r * d->columns + i] = i ? (float)(square > 0 ? (d->x[r * d->columns + i] - mean) / sqrt(square) : 0) : 1;
    }
}

static const char *name_of(const data_t *d, int i, char *text, size_t size)
{
    if (i && d->names) snprintf(text, size, "%s", d->names[i]);
    else snprintf(text, size, i ? "feature %d" : "constant", i);
    return text;
}

static void squares(void *user, const double *x, double *v) { int n = *(int *)user; for (int i = 0; i < n; i++) { v[i] = x[i]; v[n + i] = x[i] * x[i]; } }

int main(int argc, char **argv)
{
    int seed = 1, n = 1024, label = -1, rows = 200, features = 8, json = 0;
    double prior = 1;
    const char *data = NULL, *out = "out";
    const option_t options[] = {
        { "data", "a table of numbers as CSV, with or without a heading", 's', &data },
        { "label", "column of the label, counted from 0, or from the end: -1 is the last", 'i', &label },
        { "prior", "standard deviation of the coefficients", 'd', &prior },
        { "rows", "of simulated data", 'i', &rows },
        { "features", "of simulated data", 'i', &features },
        { "particles", "how many", 'i', &n },
        { "seed", "of everything random", 'i', &seed },
        { "out", "folder for the picture", 's', &out },
        { "json", "print the line of figures alone", 'b', &json },
        { NULL, NULL, 0, NULL },
    };
    option_read(argc, argv, "logistic_regression: coefficients with error bars, and the evidence", options);
    if (n < 2 || rows < 2 || features < 1 || features > 999 || !(prior > 0)) fail("--particles and --rows at least 2, --features 1 to 999, --prior positive");
    progress_t bar = { 0 };
    bar.quiet = json;
    bar.terminal = isatty(2);
    wf_arena *A = wf_arena_new(NULL);
    data_t set = data ? read_csv(A, data, label) : simulate(A, rows, features, (uint64_t)seed);
    standardise(&set);
    set.prior = prior;

    wf_particles_desc d = { 0 };
    int c = set.columns;
    d.n = (size_t)n;
    d.dim = c;
    d.seed = (uint64_t)seed;
    d.sd_all = prior;                /* the run starts at the prior */
    d.energy = energy;
    d.user = &set;
    d.move = WF_MOVE_HMC;
    d.leaps = 5;
    d.step = 0.1;
    d.adapt = 2;                     /* step sizes follow the acceptance, and the spread of each coordinate */
    d.levels = 500;
    d.adaptive = 0.9;                /* temperatures are chosen as the run goes */
    d.progress = progress_show;
    d.progress_user = &bar;
    wf_particles *p = wf_particles_new(A, &d);
    if (!p || wf_particles_run(p) < 0) fail(wf_arena_report(A)->text);
    progress_end(&bar);
    wf_particles_report r = wf_particles_look(p);
    double *mean = wf_alloc(A, 2 * (size_t)c, sizeof *mean), right = 0, most = 0.5;
    if (!mean || wf_particles_mean(p, squares, &c, 2 * c, mean, NULL) < 0) fail("the moments cannot be taken");
    for (int i = 0; i < c; i++) {
        mean[c + i] = sqrt(mean[c + i] - mean[i] * mean[i] > 0 ? mean[c + i] - mean[i] * mean[i] : 0);
        if (fabs(mean[i]) + 2 * mean[c + i] > most) most = fabs(mean[i]) + 2 * mean[c + i];
    }
    for (int k = 0; k < set.rows; k++) {
        double a = 0;
        for (int i = 0; i < c; i++) a += set.x[k * c + i] * mean[i];
        right += (a > 0) == (set.y[k] > 0.5f) ? 1.0 / set.rows : 0;
    }

    char path[1024], name[24];
    svg_t s;
    make_folder(out);
    snprintf(path, sizeof path, "%s/logistic_regression.svg", out);
    if (!svg_open(&s, path, 640, 110 + 16.0 * c)) fail("cannot write the picture");
    svg_text(&s, 90, 26, "start", "font-size=\"16\" font-weight=\"bold\" fill=\"#222\"", "Coefficients, with two standard deviations");
    svg_frame(&s, 140, 46, 470, 16.0 * c, -most, most, 0, c);
    fprintf(s.f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#aaa\"/>\n", svg_x(&s, 0), svg_x(&s, 0), s.y0, s.y0 + s.h);
    for (int i = 0; i < c; i++) {
        double y = svg_y(&s, c - i - 0.5);
        svg_text(&s, 134, y + 4, "end", "fill=\"#333\"", name_of(&set, i, name, sizeof name));
        fprintf(s.f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#1f5fa8\" stroke-width=\"3\" opacity=\"0.5\"/>\n", svg_x(&s, mean[i] - 2 * mean[c + i]), svg_x(&s, mean[i] + 2 * mean[c + i]), y, y);
        fprintf(s.f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"#1f5fa8\"/>\n", svg_x(&s, mean[i]), y);
    }
    if (!svg_close(&s)) fail("cannot write the picture");
    (void)svg_band; (void)svg_line; (void)svg_axes;
    if (!json) {
        printf("\n%d rows, %d coefficients\n", set.rows, c);
        for (int i = 0; i < c; i++) printf("  %-24s %8.4f +- %.4f\n", name_of(&set, i, name, sizeof name), mean[i], mean[c + i]);
        printf("log evidence %.3f +- %.3f; %.1f %% of the rows on the right side\nwrote %s\n\n", r.log_z, r.log_z_error, 100 * right, path);
    }
    printf("{\"example\":\"logistic_regression\",\"rows\":%d,\"coefficients\":%d,\"log_evidence\":%.6f,\"error_bar\":%.6f,\"accuracy\":%.4f,\"levels\":%d,\"acceptance\":%.3f,\"seed\":%d}\n", set.rows, c, r.log_z, r.log_z_error, right,
           r.levels, r.acceptance, seed);
    wf_arena_free(A);
    return 0;
}
