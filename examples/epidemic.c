/* Learn how the probabilities of an epidemic move, from eleven snapshots, and compare with what nobody showed the model.
   Samples between the snapshots come from a generator that is estimated from their moments; a path of weights is fitted to snapshots and samples together.
   --published: the method of the WeightFlow paper instead. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_example.h"

enum { STATES_MAX = 4096 };

typedef struct counts_t { int32_t *x; size_t n, times, species; } counts_t; /* x[n][times][species] */

typedef struct score_t { double w, jsd, *each; } score_t;

typedef struct setting_t {
    const char *data, *out;
    int seed, steps, threads, json, published, corrected, clipped, ode, lines, trajectories;
} setting_t;

static void fail(const wf_arena *A, const char *what)
{
    fprintf(stderr, "epidemic: %s: %s\n", what, wf_arena_report(A)->text);
    exit(1);
}

/* ---- data ---- */

static counts_t simulate(wf_arena *A, size_t n, uint64_t seed, const setting_t *set, progress_t *bar)
{
    counts_t c = { NULL, n, 101, 3 };
    wf_simulate_desc d = { 0 };
    d.seed = seed;
    d.frozen = 1;
    d.threads = set->threads;
    d.progress = progress_show;
    d.progress_user = bar;
    c.x = wf_alloc(A, n * c.times * c.species, sizeof *c.x);
    if (!c.x || wf_epidemic(A, n, &d, c.x) < 0) fail(A, "simulation");
    return c;
}

static counts_t read_counts(wf_arena *A, const char *path)
{
    counts_t c = { 0 };
    wf_array *a = wf_npy_read(A, path);
    if (!a) fail(A, "reading");
    if (a->nd != 3 || a->shape[0] < 4 || a->shape[1] < 11 || a->shape[1] > 2551 || (a->shape[1] - 1) % 10 || a->shape[2] < 1 || a->shape[2] > 32) {
        fprintf(stderr, "epidemic: %s: expected trajectories x times x species: at least 4 trajectories, 10 k + 1 times with k from 1 to 255, at most 32 species; it holds", path);
        for (int i = 0; i < a->nd; i++) fprintf(stderr, "%s%zu", i ? " x " : " ", (size_t)a->shape[i]);
        fprintf(stderr, a->nd ? "\n" : " one number\n");
        exit(1);
    }
    double *x = wf_array_f64(A, a);
    c.n = a->shape[0];
    c.times = a->shape[1];
    c.species = a->shape[2];
    c.x = wf_alloc(A, a->count, sizeof *c.x);
    if (!x || !c.x) fail(A, "reading");
    for (size_t i = 0; i < a->count; i++) {
        if (!(x[i] >= 0 && x[i] < STATES_MAX && x[i] == floor(x[i]))) {
            fprintf(stderr, "epidemic: %s: trajectory %zu, time %zu, species %zu: %g is not a count below %d\n", path, i / (c.times * c.species), i / c.species % c.times, i % c.species, x[i], STATES_MAX);
            exit(1);
        }
        c.x[i] = (int32_t)x[i];
    }
    return c;
}

static counts_t part(wf_arena *A, counts_t c, size_t first, size_t step)
{
    counts_t p = { NULL, (c.n - first + step - 1) / step, c.times, c.species };
    size_t row = c.times * c.species;
    p.x = wf_alloc(A, p.n * row, sizeof *p.x);
    if (!p.x) fail(A, "memory");
    for (size_t i = 0; i < p.n; i++) memcpy(p.x + i * row, c.x + (first + i * step) * row, row * sizeof *p.x);
    return p;
}

static int largest(counts_t c)
{
    int32_t m = 0;
    for (size_t i = 0; i < c.n * c.times * c.species; i++) if (c.x[i] > m) m = c.x[i];
    return (int)m;
}

/* ---- comparing ---- */

/* The published measures between the marginals p and those of the test data at one time. */
static void compare(wf_arena *A, const double *p, const double *q, size_t species, size_t states, double *w, double *jsd)
{
    if (wf_assignment_distance(A, p, q, species, states, w, NULL) < 0 || wf_jsd(A, p, q, species, states, 1e-10, NULL, jsd) < 0) fail(A, "comparison");
}

static void marginals(wf_arena *A, counts_t c, size_t time, size_t states, double *p)
{
    if (wf_marginals(A, c.x + time * c.species, c.n, c.times * c.species, c.species, states, p) < 0) fail(A, "histograms");
}

typedef struct judge_t { wf_arena *A; counts_t test; size_t states; double *p, *q, *r; } judge_t;

static score_t score_new(wf_arena *A, size_t times)
{
    score_t s = { 0, 0, wf_alloc(A, times, sizeof(double)) };
    if (!s.each) fail(A, "memory");
    return s;
}

static void score_add(judge_t *j, score_t *s, const double *p, size_t time)
{
    double w, jsd, steps = (double)(j->test.times - 1);
    marginals(j->A, j->test, time, j->states, j->q);
    compare(j->A, p, j->q, j->test.species, j->states, &w, &jsd);
    s->each[time] = w;
    s->w += w / steps;
    s->jsd += jsd / steps;
}

static score_t score_samples(judge_t *j, counts_t c)
{
    score_t s = score_new(j->A, j->test.times);
    for (size_t k = 1; k < j->test.times; k++) {
        marginals(j->A, c, k, j->states, j->p);
        score_add(j, &s, j->p, k);
    }
    return s;
}

/* Between two snapshots, mix their histograms in proportion to time: no model at all. */
static score_t score_mixed(judge_t *j, counts_t train)
{
    score_t s = score_new(j->A, j->test.times);
    size_t size = j->test.species * j->states;
    for (size_t k = 1; k < j->test.times; k++) {
        size_t a = k / 10 * 10, b = a + 10 < j->test.times ? a + 10 : a;
        double u = (double)(k - a) / 10;
        marginals(j->A, train, a, j->states, j->p);
        marginals(j->A, train, b, j->states, j->r);
        for (size_t i = 0; i < size; i++) j->p[i] = (1 - u) * j->p[i] + u * j->r[i];
        score_add(j, &s, j->p, k);
    }
    return s;
}

/* ---- the model ---- */

static counts_t draw(wf_arena *A, wf_weightflow *m, const float *tokens, counts_t like, size_t n, uint64_t seed)
{
    counts_t c = { wf_alloc(A, n * like.times * like.species, sizeof *c.x), n, like.times, like.species };
    int32_t *one = wf_alloc(A, n * like.species, sizeof *one);
    if (!c.x || !one) fail(A, "memory");
    for (size_t k = 0; k < like.times; k++) {
        if (wf_weightflow_sample(m, tokens + k * wf_weightflow_size(m), n, seed + k, one) < 0) fail(A, "sampling");
        for (size_t i = 0; i < n; i++) memcpy(c.x + (i * c.times + k) * c.species, one + i * c.species, c.species * sizeof *one);
    }
    return c;
}

static void mix_anchors(wf_weightflow *m, size_t times, float *tokens)
{
    const float *anchor = wf_weightflow_anchors(m);
    size_t size = wf_weightflow_size(m);
    for (size_t k = 0; k < times; k++) {
        size_t a = k / 10, b = k + 10 < times ? a + 1 : a;
        float u = (float)(k % 10) / 10;
        for (size_t i = 0; i < size; i++) tokens[k * size + i] = (1 - u) * anchor[a * size + i] + u * anchor[b * size + i];
    }
}

/* The method of the paper, or only its anchors, one for each snapshot. */
static wf_weightflow *learn_published(wf_arena *A, const setting_t *set, counts_t train, int states, progress_t *bar, double *loss)
{
    wf_weightflow_desc d = { 0 };
    double times[256];
    const int32_t *rows[256];
    size_t n[256], stride[256];
    int anchors = (int)((train.times - 1) / 10) + 1;
    d.species = (int)train.species;
    d.states = states;
    d.control = set->ode ? WF_CONTROL_ODE : WF_CONTROL_CDE;
    d.as_published = set->published && !set->corrected;
    d.dropout = set->clipped ? -1 : 0;
    d.seed = (uint64_t)set->seed;
    d.threads = set->threads;
    d.progress = progress_show;
    d.progress_user = bar;
    for (int i = 0; i < anchors; i++) {
        times[i] = 5.0 * i;
        rows[i] = train.x + (size_t)i * 10 * train.species;
        n[i] = train.n;
        stride[i] = train.times * train.species;
    }
    wf_weightflow *m = wf_weightflow_new(A, &d, times, anchors);
    if (!m) fail(A, "model");
    if (wf_weightflow_fit_anchors(m, rows, n, stride, 0, 0) < 0) fail(A, "anchors");
    if (!set->published) return m;
    if (wf_weightflow_fit_path(m, 0) < 0) fail(A, "path");
    if (wf_weightflow_fit_field(m, set->steps, loss) < 0) fail(A, "field");
    return m;
}

/* Samples between the snapshots, and a path of weights through all of them. */
static wf_weight_path *learn(wf_arena *A, const setting_t *set, counts_t train, int states, progress_t *bar, double *loss, const char **story)
{
    wf_bridge_desc b = { 0 };
    wf_weight_path_desc d = { 0 };
    int shown = (int)((train.times - 1) / 10) + 1;
    double *times = wf_alloc(A, (size_t)shown, sizeof *times), **rows = wf_alloc(A, (size_t)shown, sizeof *rows);
    size_t *n = wf_alloc(A, (size_t)shown, sizeof *n);
    if (!times || !rows || !n) fail(A, "memory");
    for (int i = 0; i < shown; i++) {
        times[i] = 5.0 * i;
        n[i] = train.n;
        if (!(rows[i] = wf_alloc(A, train.n * train.species, sizeof **rows))) fail(A, "memory");
        for (size_t r = 0; r < train.n; r++)
            for (size_t s = 0; s < train.species; s++) rows[i][r * train.species + s] = train.x[(r * train.times + (size_t)i * 10) * train.species + s];
    }
    wf_snapshots snapshots = { shown, (int)train.species, times, n, (const double *const *)rows, NULL };
    b.counts = 1;
    b.states = states;
    b.method = set->lines ? WF_BRIDGE_DIFFUSION : WF_BRIDGE_AUTO;
    b.seed = d.seed = (uint64_t)set->seed;
    b.threads = d.threads = set->threads;
    b.progress = d.progress = progress_show;
    b.progress_user = d.progress_user = bar;
    wf_bridge *bridge = wf_bridge_new(A, &snapshots, &b);
    if (!bridge || wf_bridge_fit(bridge) < 0) fail(A, "bridge");
    *story = wf_bridge_about(bridge)->text;
    d.states = states;
    d.dim = (int)train.species;
    d.updates = set->steps;
    d.field = set->ode ? WF_FIELD_ODE : WF_FIELD_NONE;
    wf_weight_path *m = wf_weight_path_new(A, &d, 0, times[shown - 1]);
    if (!m || wf_weight_path_fit(m, wf_bridge_data(bridge), loss) < 0) fail(A, "path");
    if (set->ode && wf_weight_path_fit_field(m, wf_bridge_data(bridge), loss) < 0) fail(A, "field");
    return m;
}

/* ---- pictures ---- */

static int ascending(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void quantiles(counts_t c, size_t species, double *const q[5])
{
    static const double level[5] = { 0.05, 0.25, 0.5, 0.75, 0.95 };
    int32_t *column = malloc(c.n * sizeof *column);
    if (!column) exit(1);
    for (size_t k = 0; k < c.times; k++) {
        for (size_t i = 0; i < c.n; i++) column[i] = c.x[(i * c.times + k) * c.species + species];
        qsort(column, c.n, sizeof *column, ascending);
        for (int j = 0; j < 5; j++) q[j][k] = column[(size_t)(level[j] * (double)(c.n - 1) + 0.5)];
    }
    free(column);
}

static void draw_marginals(wf_arena *A, const char *path, counts_t truth, counts_t model)
{
    static const char *name[3] = { "susceptible", "infected", "recovered" }, *light[3] = { "#bcd5ee", "#f5c6bd", "#c5e3c2" }, *dark[3] = { "#7fb0dc", "#e8917f", "#8ecb88" }, *line[3] = { "#174a7c", "#9c2a12", "#1f6b1a" };
    svg_t s;
    size_t T = truth.times;
    double *x = wf_alloc(A, T, sizeof *x), *q[5], *r[5];
    int panels = truth.species < 3 ? (int)truth.species : 3;
    for (int j = 0; j < 5; j++) { q[j] = wf_alloc(A, T, sizeof(double)); r[j] = wf_alloc(A, T, sizeof(double)); }
    if (!x || !r[4] || !q[4] || !svg_open(&s, path, 760, 60 + 190.0 * panels)) { fprintf(stderr, "epidemic: cannot write %s\n", path); exit(1); }
    svg_text(&s, 70, 24, "start", "font-size=\"16\" font-weight=\"bold\" fill=\"#222\"", "What the model learned, against runs it never saw");
    svg_text(&s, 70, 42, "start", "fill=\"#555\"", "shaded: 5-95 % and 25-75 % of true runs; lines: the model's, and its median; ticks: snapshots it saw");
    for (size_t k = 0; k < T; k++) x[k] = 0.5 * (double)k;
    for (int p = 0; p < panels; p++) {
        double top = 0;
        quantiles(truth, (size_t)p, q);
        quantiles(model, (size_t)p, r);
        for (size_t k = 0; k < T; k++) { if (q[4][k] > top) top = q[4][k]; if (r[4][k] > top) top = r[4][k]; }
        svg_frame(&s, 70, 60 + 185.0 * p, 660, 140, 0, x[T - 1], 0, top * 1.08 + 1);
        svg_axes(&s, p == panels - 1 ? "time" : NULL, truth.species == 3 ? name[p] : "count");
        char style[128];
        snprintf(style, sizeof style, "fill=\"%s\"", light[p]);
        svg_band(&s, x, q[0], q[4], (int)T, style);
        snprintf(style, sizeof style, "fill=\"%s\"", dark[p]);
        svg_band(&s, x, q[1], q[3], (int)T, style);
        for (int j = 0; j < 5; j++) {
            snprintf(style, sizeof style, "stroke=\"%s\" stroke-width=\"%s\"%s", line[p], j == 2 ? "2.4" : "1.2", j == 2 ? "" : " stroke-dasharray=\"5 3\"");
            svg_line(&s, x, r[j], (int)T, style);
        }
        for (size_t k = 0; k < T; k += 10) fprintf(s.f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#333\"/>\n", svg_x(&s, x[k]), svg_x(&s, x[k]), s.y0 + s.h, s.y0 + s.h + 5);
    }
    if (!svg_close(&s)) { fprintf(stderr, "epidemic: cannot write %s\n", path); exit(1); }
}

static void draw_errors(wf_arena *A, const char *path, const score_t *scores, const char *const *names, int n, size_t T)
{
    static const char *colour[4] = { "#9c2a12", "#d99b1c", "#3d78b4", "#777777" };
    svg_t s;
    double *x = wf_alloc(A, T, sizeof *x), top = 0;
    if (!x || !svg_open(&s, path, 760, 330)) { fprintf(stderr, "epidemic: cannot write %s\n", path); exit(1); }
    for (size_t k = 0; k < T; k++) {
        x[k] = 0.5 * (double)k;
        for (int i = 0; i < n; i++) if (scores[i].each[k] > top) top = scores[i].each[k];
    }
    svg_text(&s, 70, 24, "start", "font-size=\"16\" font-weight=\"bold\" fill=\"#222\"", "Distance to the truth at each time (W; smaller is better)");
    svg_frame(&s, 70, 50, 660, 220, 0, x[T - 1], 0, top * 1.05);
    svg_axes(&s, "time", "W");
    for (int i = 0; i < n; i++) {
        char style[96];
        snprintf(style, sizeof style, "stroke=\"%s\" stroke-width=\"%s\"", colour[i], i ? "1.4" : "2.4");
        svg_line(&s, x + 1, scores[i].each + 1, (int)T - 1, style);
        fprintf(s.f, "<line x1=\"480\" x2=\"510\" y1=\"%d\" y2=\"%d\" %s/>\n", 66 + 18 * i, 66 + 18 * i, style);
        svg_text(&s, 516, 70 + 18 * i, "start", "fill=\"#333\"", names[i]);
    }
    if (!svg_close(&s)) { fprintf(stderr, "epidemic: cannot write %s\n", path); exit(1); }
}

/* ---- the story ---- */

static void report(const setting_t *set, const score_t *s, const char *const *names, int n, double train_seconds, double loss, const char *story)
{
    if (!set->json) {
        printf("\n%-34s %8s %8s\n", "", "W", "JSD");
        for (int i = 0; i < n; i++) printf("%-34s %8.4f %8.4f\n", names[i], s[i].w, s[i].jsd);
        printf("\nW: mean distance between histograms of each species, matched; JSD: Jensen-Shannon divergence; means over all times but the first.\n");
        if (set->published) printf("field: mean loss %.4g after %d updates (as published: of the best hundred, else of the last tenth); training took %.1f s\n\n", loss, set->steps, train_seconds);
        else printf("between the snapshots: %s\npath: mean negative log-likelihood %.4g nats; training took %.1f s\n\n", story, loss, train_seconds);
    }
    printf("{\"example\":\"epidemic\",\"w\":%.6f,\"jsd\":%.6f,\"w_weights_interpolated\":%.6f,\"jsd_weights_interpolated\":%.6f,\"w_marginals_interpolated\":%.6f,"
           "\"jsd_marginals_interpolated\":%.6f,\"w_floor\":%.6f,\"jsd_floor\":%.6f,\"train_seconds\":%.2f,\"threads\":%d,\"seed\":%d}\n",
           s[0].w, s[0].jsd, s[1].w, s[1].jsd, s[2].w, s[2].jsd, s[3].w, s[3].jsd, train_seconds, set->threads ? set->threads : wf_threads_default(NULL), set->seed);
}

static void file_name(char *buffer, size_t size, const char *folder, const char *name) { snprintf(buffer, size, "%s/%s", folder, name); }

int main(int argc, char **argv)
{
    setting_t set = { NULL, "out", 1, 5000, 0, 0, 0, 0, 0, 0, 0, 1000 };
    const option_t options[] = {
        { "data", "trajectories x times x species in a .npy file; half is learned from, half is kept to judge", 's', &set.data },
        { "seed", "of everything random", 'i', &set.seed },
        { "steps", "updates of the weight path; published: 10000 of the vector field", 'i', &set.steps },
        { "threads", "0: all", 'i', &set.threads },
        { "trajectories", "simulated for training, and again as many to judge", 'i', &set.trajectories },
        { "ode", "turn the path into a differential equation for the weights; published: leave out the control path", 'b', &set.ode },
        { "lines", "know nothing about reactions: noisy lines between the snapshots", 'b', &set.lines },
        { "published", "as in the paper: its time convention, dropout, 10000 updates, judged on the training trajectories", 'b', &set.published },
        { "clipped", "with --published: gradients clipped to norm 1 in place of dropout", 'b', &set.clipped },
        { "corrected", "as published, but with time corrected, a quick beginning and a falling rate: 2500 updates", 'b', &set.corrected },
        { "out", "folder for the model and the pictures", 's', &set.out },
        { "json", "print the line of figures alone", 'b', &set.json },
        { NULL, NULL, 0, NULL },
    };
    option_read(argc, argv, "epidemic: learn how the distribution of a stochastic epidemic moves, from eleven snapshots", options);
    if (set.corrected) set.published = 1;
    if (set.published && set.steps == 5000) set.steps = set.corrected ? 2500 : 10000;
    if (set.steps < 1 || set.trajectories < 4 || set.threads < 0 || set.seed < 0) {
        fprintf(stderr, "epidemic: --steps must be at least 1, --trajectories at least 4, --threads and --seed at least 0\n");
        return 2;
    }
    progress_t bar = { 0 };
    bar.quiet = set.json;
    bar.terminal = isatty(2);
    wf_arena *A = wf_arena_new(NULL);
    if (!A) { fprintf(stderr, "epidemic: out of memory\n"); return 1; }

    counts_t train, test, other;
    if (set.data) {
        counts_t all = read_counts(A, set.data);
        train = set.published ? all : part(A, all, 0, 2);
        test = set.published ? all : part(A, all, 1, 2);
        other = set.published ? part(A, all, 0, 2) : train;
    } else {
        train = simulate(A, (size_t)set.trajectories, 3 * (uint64_t)set.seed, &set, &bar);
        test = set.published ? train : simulate(A, (size_t)set.trajectories, 3 * (uint64_t)set.seed + 1, &set, &bar);
        other = simulate(A, (size_t)set.trajectories, 3 * (uint64_t)set.seed + 2, &set, &bar);
    }
    int states = largest(train) > 1 ? largest(train) + 1 : 2;
    if (!folder_ready(set.out)) { fprintf(stderr, "epidemic: --out %s: cannot write to this folder\n", set.out); return 1; }
    judge_t judge = { A, test, (size_t)states, NULL, NULL, NULL };
    if ((size_t)largest(test) >= judge.states) judge.states = (size_t)largest(test) + 1;
    if ((size_t)largest(other) >= judge.states) judge.states = (size_t)largest(other) + 1;
    size_t cells = test.species * judge.states;
    judge.p = wf_alloc(A, cells, sizeof(double));
    judge.q = wf_alloc(A, cells, sizeof(double));
    judge.r = wf_alloc(A, cells, sizeof(double));
    if (!judge.p || !judge.q || !judge.r) fail(A, "memory");

    double start = seconds(), loss = 0;
    const char *story = "";
    wf_weightflow *published = NULL;
    wf_weight_path *path = NULL;
    if (set.published) published = learn_published(A, &set, train, states, &bar, &loss);
    else path = learn(A, &set, train, states, &bar, &loss, &story);
    double train_seconds = seconds() - start;
    if (!set.published) published = learn_published(A, &set, train, states, &bar, NULL); /* its anchors, to compare with */
    progress_end(&bar);

    size_t size = wf_weightflow_size(published), draws = test.n < 1000 ? test.n : 1000;
    float *tokens = wf_alloc(A, test.times * size, sizeof *tokens);
    double *times = wf_alloc(A, test.times, sizeof *times);
    if (!tokens || !times) fail(A, "memory");
    for (size_t k = 0; k < test.times; k++) times[k] = 0.5 * (double)k;
    if ((path ? wf_weight_path_weights(path, times, (int)test.times, tokens) : wf_weightflow_weights(published, times, (int)test.times, tokens)) < 0) fail(A, "integration");
    counts_t learned = draw(A, published, tokens, test, draws, (uint64_t)set.seed + 1000);

    const char *const names[4] = { path ? "weight path" : "WeightFlow", "anchor weights, interpolated", "observed histograms, interpolated", "sampling floor: other true runs" };
    score_t scores[4];
    scores[0] = score_samples(&judge, learned);
    mix_anchors(published, test.times, tokens);
    scores[1] = score_samples(&judge, draw(A, published, tokens, test, draws, (uint64_t)set.seed + 2000));
    scores[2] = score_mixed(&judge, train);
    scores[3] = score_samples(&judge, other);

    char file[1024];
    file_name(file, sizeof file, set.out, "epidemic.safetensors");
    if ((path ? wf_weight_path_save(path, file) : wf_weightflow_save(published, file)) < 0) fail(A, "saving");
    file_name(file, sizeof file, set.out, "epidemic.svg");
    draw_marginals(A, file, test, learned);
    file_name(file, sizeof file, set.out, "epidemic_error.svg");
    draw_errors(A, file, scores, names, 4, test.times);
    if (!set.json) printf("\nwrote epidemic.safetensors, epidemic.svg and epidemic_error.svg to %s\n", set.out);
    report(&set, scores, names, 4, train_seconds, loss, story);
    wf_arena_free(A);
    return 0;
}
