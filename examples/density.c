/* Learn the density of a table of numbers, draw it, and draw new rows from it. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_example.h"

typedef struct setting_t { const char *data, *columns, *out, *map; int seed, steps, threads, json, rows, blocks; } setting_t;

typedef struct table_t { float *x; size_t n; int d; char name[2][64]; } table_t;

static void fail(const wf_arena *A, const char *what)
{
    fprintf(stderr, "density: %s: %s\n", what, wf_arena_report(A)->text);
    exit(1);
}

/* ---- data ---- */

/* Two spirals with some noise. */
static table_t spirals(wf_arena *A, size_t n, uint64_t seed)
{
    table_t t = { wf_alloc(A, 2 * n, sizeof(float)), n, 2, { "x", "y" } };
    wf_rng rng;
    wf_rng_init(&rng, seed, 1);
    if (!t.x) fail(A, "memory");
    for (size_t i = 0; i < n; i++) {
        double a = 9.42 * sqrt(wf_rng_uniform(&rng)), side = wf_rng_below(&rng, 2) ? 1 : -1;
        t.x[2 * i] = (float)(side * a * cos(a) / 3 + 0.1 * wf_rng_normal(&rng));
        t.x[2 * i + 1] = (float)(side * a * sin(a) / 3 + 0.1 * wf_rng_normal(&rng));
    }
    return t;
}

/* Columns by name or number, separated by commas; all where there is no list. */
static int choose(const wf_table *t, const char *list, int *column)
{
    int n = 0;
    char word[64];
    for (size_t k = 0; !list && k < t->columns && n < 64; k++) column[n++] = (int)k;
    for (const char *at = list; at && *at && n < 64; at += *at == ',') {
        size_t length = strcspn(at, ",");
        double number;
        snprintf(word, sizeof word, "%.*s", (int)(length < 63 ? length : 63), at);
        column[n] = wf_table_column(t, word);
        if (column[n] < 0 && option_number(word, &number)) column[n] = (int)number;
        if (column[n] < 0 || (size_t)column[n] >= t->columns) { fprintf(stderr, "density: there is no column %s\n", word); exit(1); }
        n++;
        at += length;
    }
    return n;
}

static table_t read_table(wf_arena *A, const setting_t *set)
{
    table_t t = { 0 };
    wf_table csv = { 0 };
    int column[64], npy = strlen(set->data) > 4 && !strcmp(set->data + strlen(set->data) - 4, ".npy");
    if (npy) {
        wf_array *a = wf_npy_read(A, set->data);
        if (!a) fail(A, "reading");
        if (a->nd != 2) { fprintf(stderr, "density: %s: expected rows x columns\n", set->data); exit(1); }
        csv.data = wf_array_f64(A, a);
        csv.rows = a->shape[0];
        csv.columns = a->shape[1];
        if (!csv.data) fail(A, "reading");
    } else {
        wf_table *read = wf_csv_read(A, set->data, NULL);
        if (!read) fail(A, "reading");
        csv = *read;
    }
    t.d = choose(&csv, set->columns, column);
    t.n = csv.rows;
    t.x = t.d ? wf_alloc(A, t.n * (size_t)t.d, sizeof *t.x) : NULL;
    if (!t.x) fail(A, "reading");
    for (size_t i = 0; i < t.n; i++)
        for (int k = 0; k < t.d; k++) t.x[i * (size_t)t.d + (size_t)k] = (float)csv.data[i * csv.columns + (size_t)column[k]];
    for (int k = 0; k < 2 && k < t.d; k++) {
        if (csv.names) snprintf(t.name[k], sizeof t.name[k], "%.63s", csv.names[column[k]]);
        else snprintf(t.name[k], sizeof t.name[k], "column %d", column[k]);
    }
    return t;
}

/* Every fifth row, from a random order, is kept to judge. */
static table_t keep(wf_arena *A, table_t *t, uint64_t seed)
{
    table_t test = *t;
    wf_rng rng;
    size_t row = (size_t)t->d * sizeof(float);
    float *spare = wf_alloc(A, (size_t)t->d, sizeof *spare);
    wf_rng_init(&rng, seed, 2);
    if (!spare) fail(A, "memory");
    for (size_t i = t->n; i > 1; i--) {
        float *a = t->x + (i - 1) * (size_t)t->d, *b = t->x + wf_rng_below(&rng, (uint32_t)i) * (size_t)t->d;
        memcpy(spare, a, row);
        memcpy(a, b, row);
        memcpy(b, spare, row);
    }
    test.n = t->n / 5;
    t->n -= test.n;
    test.x = t->x + t->n * (size_t)t->d;
    return test;
}

/* ---- comparing ---- */

/* Mean log density of the rows of `test` under a normal law with the mean and covariance of `train`. */
static double normal_law(wf_arena *A, const table_t *train, const table_t *test)
{
    size_t d = (size_t)train->d;
    double *m = wf_alloc(A, d, sizeof *m), *c = wf_alloc(A, d * d, sizeof *c), *e = wf_alloc(A, d, sizeof *e), sum = 0, half = 0;
    if (!m || !c || !e) fail(A, "memory");
    for (size_t i = 0; i < train->n; i++) for (size_t k = 0; k < d; k++) m[k] += (double)train->x[i * d + k] / (double)train->n;
    for (size_t i = 0; i < train->n; i++)
        for (size_t k = 0; k < d; k++) for (size_t j = 0; j <= k; j++) c[k * d + j] += ((double)train->x[i * d + k] - m[k]) * ((double)train->x[i * d + j] - m[j]) / (double)train->n;
    for (size_t k = 0; k < d; k++)
        for (size_t j = 0; j <= k; j++) { /* the root of the covariance, in place */
            for (size_t l = 0; l < j; l++) c[k * d + j] -= c[k * d + l] * c[j * d + l];
            if (j == k) { c[k * d + k] = sqrt(c[k * d + k]); half += log(c[k * d + k]); }
            else c[k * d + j] /= c[j * d + j];
        }
    for (size_t i = 0; i < test->n; i++) {
        sum -= half + 0.91893853320467274 * (double)d;
        for (size_t k = 0; k < d; k++) {
            e[k] = (double)test->x[i * d + k] - m[k];
            for (size_t l = 0; l < k; l++) e[k] -= c[k * d + l] * e[l];
            e[k] /= c[k * d + k];
            sum -= 0.5 * e[k] * e[k];
        }
    }
    return sum / (double)test->n;
}

/* ---- the picture ---- */

/* The lines log p = level of a function on a grid, by marching through its triangles. */
static void contour(const svg_t *s, const float *p, int n, double level, const char *style)
{
    fprintf(s->f, "<path fill=\"none\" %s d=\"", style);
    for (int i = 0; i + 1 < n; i++)
        for (int j = 0; j + 1 < n; j++)
            for (int half = 0; half < 2; half++) {
                int ci[3] = { i, i + 1, half ? i : i + 1 }, cj[3] = { j, j + 1, half ? j + 1 : j }, found = 0;
                double x[3], y[3];
                for (int k = 0; k < 3; k++) {
                    int a = k, b = (k + 1) % 3;
                    double pa = (double)p[ci[a] * n + cj[a]] - level, pb = (double)p[ci[b] * n + cj[b]] - level, u;
                    if ((pa < 0) == (pb < 0) || !isfinite(pa) || !isfinite(pb)) continue;
                    u = pa / (pa - pb);
                    x[found] = s->x0 + s->w * (cj[a] + u * (cj[b] - cj[a])) / (n - 1);
                    y[found++] = s->y0 + s->h * (1 - (ci[a] + u * (ci[b] - ci[a])) / (n - 1));
                }
                if (found == 2) fprintf(s->f, "M%.1f %.1fL%.1f %.1f", x[0], y[0], x[1], y[1]);
            }
    fprintf(s->f, "\"/>\n");
}

static void dots(const svg_t *s, const float *x, size_t n, size_t d, const char *style)
{
    fprintf(s->f, "<g %s>\n", style);
    for (size_t i = 0; i < n && i < 2500; i++) {
        double u = svg_x(s, (double)x[i * d]), v = svg_y(s, (double)x[i * d + 1]);
        if (u >= s->x0 && u <= s->x0 + s->w && v >= s->y0 && v <= s->y0 + s->h) fprintf(s->f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"1.3\"/>\n", u, v);
    }
    fprintf(s->f, "</g>\n");
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The range that holds all but one part in 400 at each end. */
static void range(wf_arena *A, const table_t *t, int k, double *low, double *high)
{
    float *x = wf_alloc(A, t->n, sizeof *x);
    double room;
    if (!x) fail(A, "memory");
    for (size_t i = 0; i < t->n; i++) x[i] = t->x[i * (size_t)t->d + (size_t)k];
    qsort(x, t->n, sizeof *x, by_size);
    *low = (double)x[t->n / 400];
    *high = (double)x[t->n - 1 - t->n / 400];
    room = 0.08 * (*high - *low);
    *low -= room;
    *high += room;
}

static void picture(wf_arena *A, const char *path, const wf_flow *f, wf_params *P, const setting_t *set, const table_t *train, const table_t *test, const float *logp, const float *drawn)
{
    enum { GRID = 200 };
    static const double inside[] = { 0.95, 0.8, 0.6, 0.4, 0.2, 0.05 };
    static const char *const colour[] = { "#d6e4f2", "#aecbe6", "#7fadd8", "#4a87bf", "#23629d", "#0e3f6e" };
    svg_t s;
    double xa, xb, ya, yb;
    float *grid, *p, *sorted;
    range(A, train, 0, &xa, &xb);
    range(A, train, 1, &ya, &yb);
    if (!svg_open(&s, path, 900, 480)) { fprintf(stderr, "density: cannot write %s\n", path); exit(1); }
    svg_text(&s, 70, 24, "start", "font-size=\"16\" font-weight=\"bold\" fill=\"#222\"", "A density learned from points");
    svg_text(&s, 70, 42, "start", "fill=\"#555\"", train->d == 2 ? "left: points it never saw, and lines that should enclose 95, 80, 60, 40, 20 and 5 % of them; right: points drawn from it" : "the first two columns: left, points it never saw; right, points drawn from it");
    for (int panel = 0; panel < 2; panel++) {
        svg_frame(&s, 70 + 420.0 * panel, 60, 380, 370, xa, xb, ya, yb);
        svg_axes(&s, train->name[0], panel ? NULL : train->name[1]);
        if (!panel && train->d == 2) {
            grid = wf_alloc(A, 2 * GRID * GRID, sizeof *grid);
            p = wf_alloc(A, GRID * GRID, sizeof *p);
            sorted = wf_alloc(A, test->n, sizeof *sorted);
            if (!grid || !p || !sorted) fail(A, "memory");
            for (int i = 0; i < GRID * GRID; i++) { grid[2 * i] = (float)(xa + (xb - xa) * (i % GRID) / (GRID - 1)); grid[2 * i + 1] = (float)(ya + (yb - ya) * (i / GRID) / (GRID - 1)); }
            wf_flow_data rows = { grid, NULL, GRID * GRID };
            if (wf_flow_evaluate(f, P, &rows, set->threads, p, NULL) < 0) fail(A, "density");
            memcpy(sorted, logp, test->n * sizeof *sorted);
            qsort(sorted, test->n, sizeof *sorted, by_size);
            for (int k = 0; k < 6; k++) {
                char style[96];
                snprintf(style, sizeof style, "stroke=\"%s\" stroke-width=\"1.6\"", colour[k]);
                contour(&s, p, GRID, (double)sorted[(size_t)((1 - inside[k]) * (double)(test->n - 1))], style);
            }
        }
        dots(&s, panel ? drawn : test->x, test->n, (size_t)train->d, panel ? "fill=\"#9c2a12\" fill-opacity=\"0.45\"" : "fill=\"#333\" fill-opacity=\"0.35\"");
    }
    if (!svg_close(&s)) { fprintf(stderr, "density: cannot write %s\n", path); exit(1); }
}

int main(int argc, char **argv)
{
    setting_t set = { NULL, NULL, "out", "spline", 1, 4000, 0, 0, 10000, 0 };
    const option_t options[] = {
        { "data", "a table, .csv or .npy; a fifth of its rows is kept to judge", 's', &set.data },
        { "columns", "names or numbers, separated by commas; all", 's', &set.columns },
        { "map", "affine, bounded, smooth or spline", 's', &set.map },
        { "blocks", "pairs of couplings; 0: 4", 'i', &set.blocks },
        { "steps", "of training, at most", 'i', &set.steps },
        { "rows", "of the built-in spirals", 'i', &set.rows },
        { "seed", "of everything random", 'i', &set.seed },
        { "threads", "0: one for short steps, else all", 'i', &set.threads },
        { "out", "folder for the model, the draws and the picture", 's', &set.out },
        { "json", "print the line of figures alone", 'b', &set.json },
        { NULL, NULL, 0, NULL },
    };
    static const struct { const char *name; int map; } maps[] = { { "affine", WF_MAP_AFFINE }, { "bounded", WF_MAP_BOUNDED }, { "smooth", WF_MAP_SMOOTH }, { "spline", WF_MAP_SPLINE } };
    option_read(argc, argv, "density: learn the density of a table of numbers", options);
    int map = -1;
    for (int i = 0; i < 4; i++) if (!strcmp(set.map, maps[i].name)) map = maps[i].map;
    if (map < 0) { fprintf(stderr, "density: --map %s: there is no such map (see --help)\n", set.map); return 2; }
    if (set.rows < 20 || set.steps < 1 || set.blocks < 0 || set.threads < 0 || set.seed < 0) { fprintf(stderr, "density: --rows must be at least 20, --steps at least 1, --blocks, --threads and --seed at least 0\n"); return 2; }
    progress_t bar = { 0 };
    bar.quiet = set.json;
    bar.terminal = isatty(2);
    wf_arena *A = wf_arena_new(NULL);
    if (!A) { fprintf(stderr, "density: out of memory\n"); return 1; }
    table_t train = set.data ? read_table(A, &set) : spirals(A, (size_t)set.rows, (uint64_t)set.seed), test = keep(A, &train, (uint64_t)set.seed);
    if (!test.n) { fprintf(stderr, "density: too few rows\n"); return 1; }

    if (!folder_ready(set.out)) { fprintf(stderr, "density: --out %s: cannot write to this folder\n", set.out); return 1; }
    wf_params *P = wf_params_new(A, (uint64_t)set.seed, WF_F32);
    wf_flow *f = wf_flow_standard(A, "density", train.d, 0, map, set.blocks);
    wf_flow_fit_desc how = { 0 };
    wf_fit_report report;
    how.steps = set.steps;
    how.seed = (uint64_t)set.seed;
    how.threads = set.threads;
    how.progress = progress_show;
    how.user = &bar;
    double start = seconds(), mean = 0;
    wf_flow_data data = { train.x, NULL, train.n }, rows = { test.x, NULL, test.n };
    if (!f || !P || wf_flow_fit(f, P, &data, &how, &report) < 0) fail(A, "training");
    double train_seconds = seconds() - start;
    progress_end(&bar);

    float *logp = wf_alloc(A, test.n, sizeof *logp), *drawn = wf_alloc(A, test.n * (size_t)train.d, sizeof *drawn);
    if (!logp || !drawn || wf_flow_evaluate(f, P, &rows, set.threads, logp, NULL) < 0 || wf_flow_sample(f, P, &rows, (uint64_t)set.seed, set.threads, drawn, NULL) < 0) fail(A, "evaluation");
    for (size_t i = 0; i < test.n; i++) mean += (double)logp[i] / (double)test.n;
    double normal = normal_law(A, &train, &test);

    char path[1024];
    snprintf(path, sizeof path, "%s/density.safetensors", set.out);
    if (wf_flow_save(f, P, path) < 0) fail(A, "saving");
    snprintf(path, sizeof path, "%s/density_draws.npy", set.out);
    size_t shape[2] = { test.n, (size_t)train.d };
    wf_array a = wf_array_of(drawn, WF_DTYPE_F32, 2, shape);
    if (wf_npy_save(A, path, &a) < 0) fail(A, "saving");
    snprintf(path, sizeof path, "%s/density.svg", set.out);
    if (train.d > 1) picture(A, path, f, P, &set, &train, &test, logp, drawn);
    if (!set.json) {
        printf("\nwrote density.safetensors, density_draws.npy%s to %s\n\n", train.d > 1 ? " and density.svg" : "", set.out);
        printf("mean log density of %zu rows that were kept back: %.4f (a normal law: %.4f)\n", test.n, mean, normal);
        printf("%d steps, best after %d; %.1f s\n\n", (int)report.steps, (int)report.best_step, train_seconds);
    }
    printf("{\"example\":\"density\",\"dim\":%d,\"rows\":%zu,\"log_density\":%.6f,\"log_density_normal\":%.6f,\"steps\":%d,\"train_seconds\":%.2f,\"threads\":%d,\"seed\":%d}\n", train.d, train.n, mean, normal, (int)report.steps,
           train_seconds, set.threads ? set.threads : wf_threads_default(NULL), set.seed);
    wf_arena_free(A);
    return 0;
}
