/* Snapshots of a population of cells, none of which was seen twice: what happened in between? A density and a drift through all snapshots, at little kinetic energy. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_example.h"
#include "wf_cells.h"

enum { MOST = 16, PATHS = 60, ROUNDS = 8 };

typedef struct setting_t { const char *train, *test, *out; int seed, dim, components, clusterings, steps, draws, threads, json; double kinetic, narrow, jitter; } setting_t;

static void fail(const wf_arena *A, const char *what)
{
    fprintf(stderr, "cells: %s: %s\n", what, wf_arena_report(A)->text);
    exit(1);
}

static void *grab(wf_arena *A, size_t n, size_t size)
{
    void *p = wf_alloc(A, n, size);
    if (!p) fail(A, "memory");
    return p;
}

static double emd(wf_arena *A, wf_points x, wf_points y)
{
    double w = 0;
    if (wf_wasserstein(A, &x, &y, &w, NULL) < 0) fail(A, "distance");
    return w;
}

static void dots(svg_t *s, const double *x, size_t n, size_t dim, const char *style)
{
    for (size_t i = 0; i < n; i++) fprintf(s->f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"1.8\" %s/>\n", svg_x(s, x[i * dim]), svg_y(s, x[i * dim + 1]), style);
}

/* Left: the snapshots and the paths of some cells. Right: what was never seen, draws half way between snapshots. */
static int draw(wf_arena *A, const char *file, wf_law *law, const cells_t *c, int draws)
{
    static const char *const colour[8] = { "#440154", "#3b528b", "#21918c", "#5ec962", "#d8b70a", "#e67e22", "#c0392b", "#7f8c8d" };
    size_t dim = (size_t)c->dim, n = c->first[1] < PATHS ? c->first[1] : PATHS;
    int count = 20 * (c->times - 1) + 1;
    double *time = grab(A, (size_t)(count > draws ? count : draws), sizeof *time), *path = grab(A, n * (size_t)count * dim, sizeof *path), *x = grab(A, (size_t)count, sizeof *x), *y = grab(A, (size_t)count, sizeof *y), *half = grab(A, (size_t)draws * dim, sizeof *half);
    svg_t s;
    char style[64], text[64];
    for (int k = 0; k < count; k++) time[k] = k / 20.0;
    if (wf_law_transport(law, c->x, n, time, count, 4, 0, 0, path) < 0) fail(A, "transport");
    if (!svg_open(&s, file, 980, 520)) return 0;
    for (int side = 0; side < 2; side++) {
        svg_frame(&s, 60 + side * 480.0, 30, 400, 420, -3, 3, -3, 3);
        svg_axes(&s, "first component", side ? NULL : "second component");
        for (int k = 0; k < c->times - side; k++) {
            snprintf(style, sizeof style, "fill=\"%s\" fill-opacity=\"%s\"", colour[k % 8], side ? "0.55" : "0.35");
            if (!side) dots(&s, c->x + c->first[k] * dim, c->first[k + 1] - c->first[k], dim, style);
            else {
                for (int i = 0; i < draws; i++) time[i] = k + 0.5;
                if (wf_law_sample(law, time, (size_t)draws, 900 + (uint64_t)k, half) < 0) fail(A, "drawing");
                dots(&s, half, (size_t)draws, dim, style);
            }
            snprintf(text, sizeof text, side ? "t = %d.5" : "t = %d", k);
            snprintf(style, sizeof style, "fill=\"%s\"", colour[k % 8]);
            svg_text(&s, s.x0 + 20 + 70.0 * k, 505, "start", style, text);
        }
        for (size_t i = 0; !side && i < n; i++) {
            for (int k = 0; k < count; k++) { x[k] = path[(i * (size_t)count + (size_t)k) * dim]; y[k] = path[(i * (size_t)count + (size_t)k) * dim + 1]; }
            svg_line(&s, x, y, count, "stroke=\"#222\" stroke-width=\"0.6\" opacity=\"0.5\"");
        }
        svg_text(&s, s.x0 + 200, 20, "middle", "fill=\"#333\"", side ? "draws between the snapshots" : "snapshots, and where the drift takes some cells");
    }
    return svg_close(&s);
}

int main(int argc, char **argv)
{
    setting_t set = { "../shared/data/embryoid/EB_test_pc20.csv", "../shared/data/embryoid/EB_val_pc20.csv", "out", 1, 5, 40, 8, 60, 350, 0, 0, 0.2, 0.8, 0 };
    const option_t options[] = {
        { "train", "CSV file with columns ts, pc1, pc2, ...", 's', &set.train }, { "test", "the same, of other cells, to judge by", 's', &set.test }, { "out", "folder for the results", 's', &set.out }, { "dim", "components to use, 2 to 8", 'i', &set.dim },
        { "components", "of the density, from each clustering of the cells' paths", 'i', &set.components }, { "clusterings", "of which the density is the mean", 'i', &set.clusterings }, { "steps", "of training after the start from matched snapshots", 'i', &set.steps }, { "kinetic", "weight of the kinetic energy", 'd', &set.kinetic },
        { "narrow", "components start as so much of the spread of their members", 'd', &set.narrow }, { "jitter", "of the cells in training", 'd', &set.jitter }, { "draws", "to compare with the test cells", 'i', &set.draws },
        { "seed", "seed", 'i', &set.seed }, { "threads", "0: all", 'i', &set.threads }, { "json", "print a line of JSON, no progress", 'b', &set.json }, { NULL, NULL, 0, NULL }
    };
    option_read(argc, argv, "Learn how a population of cells moved between snapshots.", options);
    const char *wrong = set.steps < 1 ? "--steps: at least 1" : set.threads < 0 ? "--threads: 0 or more" : set.dim < 2 || set.dim > 8 ? "--dim: 2 to 8" : set.components < 1 || set.components > 5000 ? "--components: 1 to 5000" : set.clusterings < 1 || set.clusterings > 100 ? "--clusterings: 1 to 100" : set.draws < 10 || set.draws > 5000 ? "--draws: 10 to 5000"
                      : !(set.narrow > 0) ? "--narrow must be positive" : !(set.kinetic >= 0) || !(set.jitter >= 0) ? "--kinetic and --jitter must not be negative" : NULL;
    if (wrong) { fprintf(stderr, "cells: %s\n", wrong); return 2; }
    if (!folder_ready(set.out)) { fprintf(stderr, "cells: --out %s: cannot write to this folder\n", set.out); return 1; }
    progress_t bar = { set.json, isatty(2), 0, "", 0, 0 };
    wf_arena *A = wf_arena_new(NULL);
    cells_t train, test;
    char why[900], file[1100];
    double mean[8], sd[8], matched[MOST], begin = seconds();
    if (!cells_read(A, set.train, set.dim, &train, why, sizeof why) || !cells_read(A, set.test, set.dim, &test, why, sizeof why)) { fprintf(stderr, "cells: %s\n", why); return 1; }
    if (train.times < 2) { fprintf(stderr, "cells: %s: one snapshot says nothing of a motion; two at least are needed\n", set.train); return 1; }
    if (test.times != train.times) { fprintf(stderr, "cells: %d snapshots to learn from, %d to judge by\n", train.times, test.times); return 1; }
    cells_units(&train, &test, mean, sd);
    cells_scale(&train, mean, sd);
    cells_scale(&test, mean, sd);
    wf_law_desc d = { .dim = set.dim, .modes = set.components * set.clusterings, .knots = train.times, .t1 = train.times - 1, .high = 4, .background = -1, .seed = (uint64_t)set.seed, .threads = set.threads };
    wf_law *law = wf_law_new(A, &d);
    if (!law || cells_start(A, law, &train, set.components, set.clusterings, set.narrow, matched) < 0) fail(A, "starting");
    double *jitter = grab(A, train.n, sizeof *jitter), *f = grab(A, test.n, sizeof *f), nll = 0;
    for (size_t i = 0; i < train.n; i++) jitter[i] = set.jitter;
    wf_law_report r = { 0, NAN, 0, 0 };
    wf_law_fit_desc fit = { .x = train.x, .t = train.t, .n = train.n, .jitter = set.jitter > 0 ? jitter : NULL, .likelihood = train.times, .kinetic = set.kinetic, .steps = set.steps, .batch = 256, .rate = 1e-2, .clip = 10, .beta2 = 0.99, .seed = (uint64_t)set.seed, .progress = progress_show, .progress_user = &bar };
    if (wf_law_fit(law, &fit, &r) < 0) fail(A, "training");
    progress_end(&bar);
    double time = seconds() - begin;
    if (wf_law_log_density(law, test.x, test.t, test.n, f) < 0) fail(A, "likelihood");
    for (size_t i = 0; i < test.n; i++) nll -= f[i] / (double)test.n;
    size_t dim = (size_t)set.dim, most = (size_t)set.draws;
    for (int k = 0; k < test.times; k++) if (cells_at(&test, k).n > most) most = cells_at(&test, k).n;
    double *t = grab(A, most, sizeof *t), *x = grab(A, most * dim, sizeof *x), *path = grab(A, 2 * most * dim, sizeof *path);
    double floor_[MOST], drawn[MOST], alike[MOST], carried[MOST], cost[MOST], exact[MOST];
    for (int k = 1; k < test.times; k++) {
        wf_points data = cells_at(&test, k), from = cells_at(&test, k - 1), model = { x, NULL, (size_t)set.draws, dim };
        double both[2] = { k - 1, k };
        floor_[k] = emd(A, cells_at(&train, k), data);
        for (size_t i = 0; i < most; i++) t[i] = k;
        drawn[k] = alike[k] = 0;
        for (int round = 0; round < ROUNDS; round++) { /* one set of draws has an error of some hundredths */
            if (wf_law_sample(law, t, most, 70 + (uint64_t)(k + 100 * round), x) < 0) fail(A, "drawing");
            model.n = (size_t)set.draws;
            drawn[k] += emd(A, model, data) / ROUNDS;
            model.n = from.n;
            alike[k] += emd(A, model, data) / ROUNDS;
        }
        if (wf_law_transport(law, from.x, from.n, both, 2, 40, 0, 0, path) < 0) fail(A, "transport");
        cost[k] = 0;
        for (size_t i = 0; i < from.n * dim; i++) {
            size_t row = i / dim, j = i % dim;
            x[i] = path[(2 * row + 1) * dim + j];
            cost[k] += (x[i] - from.x[i]) * (x[i] - from.x[i]) / (double)from.n;
        }
        cost[k] = sqrt(cost[k]);
        model.n = from.n;
        carried[k] = emd(A, model, data);
        if (wf_wasserstein(A, &from, &data, NULL, &exact[k]) < 0) fail(A, "distance");
    }
    snprintf(file, sizeof file, "%s/cells.safetensors", set.out);
    if (wf_law_save(law, file) < 0) fail(A, "saving");
    snprintf(file, sizeof file, "%s/cells.svg", set.out);
    if (!draw(A, file, law, &train, set.draws)) { fprintf(stderr, "cells: cannot write %s\n", file); return 1; }
    if (set.json) {
        static const char *const name[6] = { "floor", "emd", "emd_same_count", "emd_transported", "map_cost", "exact_w2" };
        const double *value[6] = { floor_, drawn, alike, carried, cost, exact };
        printf("{\"example\":\"cells\",\"test_nll\":%.4f", nll);
        for (int k = 0; k < 6; k++) {
            printf(",\"%s\":[", name[k]);
            for (int i = 1; i < test.times; i++) printf("%s%.4f", i > 1 ? "," : "", value[k][i]);
            printf("]");
        }
        printf(",\"train_seconds\":%.2f,\"threads\":%d,\"seed\":%d}\n", time, set.threads, set.seed);
    } else {
        printf("distance (EMD, Euclidean, standardised) to %zu held-out cells at each time:\n time   other real cells   %d draws   as many draws   carried from before   root mean square way   (exact W2)\n", cells_at(&test, 1).n, set.draws);
        for (int k = 1; k < test.times; k++) printf("   %d        %.3f           %.3f         %.3f            %.3f                  %.3f              (%.3f)\n", k, floor_[k], drawn[k], alike[k], carried[k], cost[k], exact[k]);
        printf("%s shows it\n", file);
    }
    wf_arena_free(A);
    return 0;
}
