/* Where will the next earthquake be? Densities of a catalogue of events, and how likely they find events that they have not seen. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_example.h"
#include "wf_events.h"

enum { FRAMES = 6, GRID = 90 };

typedef struct setting_t { const char *data, *out, *model; int seed, epochs, modes, rows, frames, threads, json; double days; } setting_t;
typedef struct sets_t { events_t train, use, val, test; units_t units; unsigned char *seen; double *jitter; } sets_t;

static void fail(const wf_arena *A, const char *what)
{
    fprintf(stderr, "earthquakes: %s: %s\n", what, wf_arena_report(A)->text);
    exit(1);
}

static void *grab(wf_arena *A, size_t n, size_t size)
{
    void *p = wf_alloc(A, n, size);
    if (!p) fail(A, "memory");
    return p;
}

/* Read the three files; each physical event of the training file once, unless all rows are wanted; standardise. */
static sets_t prepare(wf_arena *A, const setting_t *set, int chain)
{
    static const char *const part[3] = { "train", "val", "test" };
    sets_t s;
    events_t *to[3] = { &s.train, &s.val, &s.test };
    char path[1100], why[1500];
    memset(&s, 0, sizeof s);
    for (int k = 0; k < 3; k++) {
        snprintf(path, sizeof path, "%s/Earthquake_%s.csv", set->data, part[k]);
        if (!events_read(A, path, to[k], why, sizeof why)) { fprintf(stderr, "earthquakes: %s\n", why); exit(1); }
        for (size_t i = 0; i < to[k]->n; i++)
            if (!(to[k]->t[i] >= 0 && to[k]->t[i] <= set->days)) { fprintf(stderr, "earthquakes: %s: event %zu has the time %g, outside 0 to %g days\n", path, i, to[k]->t[i], set->days); exit(1); }
    }
    size_t *which = grab(A, s.train.n, sizeof *which);
    events_t once = events_distinct(A, &s.train, which);
    s.seen = grab(A, s.test.n, 1);
    s.units = events_units(&s.train);
    events_seen(A, &s.train, &s.test, s.seen);
    events_map(&s.train, s.units, chain);
    events_map(&once, s.units, chain);
    events_map(&s.val, s.units, chain);
    events_map(&s.test, s.units, chain);
    s.use = set->rows ? s.train : once;
    s.jitter = grab(A, s.use.n, sizeof *s.jitter);
    double *near = grab(A, once.n, sizeof *near);
    if (wf_nearest_distance(A, once.x, once.n, 2, 8, set->threads, near) < 0) fail(A, "distances");
    for (size_t i = 0; i < s.use.n; i++) s.jitter[i] = 0.4 * near[set->rows ? which[i] : i];
    if (!chain && set->rows) { s.use = once; s.use.t = once.t; } /* weights instead of copies */
    return s;
}

static wf_law *learn(wf_arena *A, const setting_t *set, const sets_t *s, int chain, int moving, progress_t *bar, wf_law_report *r)
{
    wf_law_desc d = { .dim = 2, .kind = chain ? WF_LAW_CHAIN : WF_LAW_FACTORISED, .modes = set->modes ? set->modes : chain ? 64 : 2048, .width = moving && !chain ? 16 : 128, .waves = 16, .wave_low = 0.1, .wave_high = 16, .high = 6,
                      .steady = !moving, .t1 = set->days, .background = 3e-3, .seed = (uint64_t)set->seed, .threads = set->threads };
    wf_law *law = wf_law_new(A, &d);
    memset(r, 0, sizeof *r);
    if (!law || wf_law_start(law, s->use.x, !chain && set->rows ? s->use.many : NULL, s->use.n) < 0) fail(A, "starting");
    int epochs = set->epochs > 0 ? set->epochs : set->epochs < 0 ? 0 : moving ? 20 : chain ? (set->rows ? 15 : 60) : 0;
    wf_law_fit_desc fit = { .x = s->use.x, .t = s->use.t, .n = s->use.n, .jitter = chain ? s->jitter : NULL, .epochs = epochs, .batch = 512, .rate = chain ? 4e-3 : 2e-3, .clip = 1, .ema = 0.998, .beta2 = 0.99, .warmup = 100,
                            .check_x = s->val.x, .check_t = s->val.t, .checks = s->val.n, .check_every = 3, .seed = (uint64_t)set->seed, .progress = progress_show, .progress_user = bar };
    if (epochs > 0 && wf_law_fit(law, &fit, r) < 0) fail(A, "training");
    progress_end(bar);
    return law;
}

static double judge(wf_arena *A, wf_law *law, const events_t *e, const unsigned char *seen)
{
    double *f = grab(A, e->n, sizeof *f);
    if (wf_law_log_density(law, e->x, e->t, e->n, f) < 0) fail(A, "likelihood");
    return events_score(f, seen, e->n);
}

/* One frame of the density: degrees on both axes. */
static int frame(wf_arena *A, const char *file, wf_law *law, const sets_t *s, int chain, double day, int moving)
{
    enum { N = GRID * GRID };
    events_t g = { grab(A, 2 * N, sizeof *g.x), grab(A, N, sizeof *g.t), NULL, N };
    double *f = grab(A, N, sizeof *f), lon[2] = { 122, 150 }, lat[2] = { 22, 46 }, w = (lon[1] - lon[0]) / GRID, h = (lat[1] - lat[0]) / GRID;
    svg_t v;
    char text[64];
    for (int i = 0; i < N; i++) { g.x[2 * i] = lon[0] + w * (i % GRID + 0.5); g.x[2 * i + 1] = lat[0] + h * (i / GRID + 0.5); g.t[i] = day; }
    events_map(&g, s->units, chain);
    if (wf_law_log_density(law, g.x, g.t, N, f) < 0) fail(A, "density");
    if (!svg_open(&v, file, 560, 520)) return 0;
    svg_frame(&v, 60, 30, 480, 440, lon[0], lon[1], lat[0], lat[1]);
    for (int i = 0; i < N; i++) {
        double shade = (f[i] + 5) / 8; /* from e^-5 to e^3 in standardised units */
        if (shade > 0.02) fprintf(v.f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.2f\" height=\"%.2f\" fill=\"#b2182b\" fill-opacity=\"%.2f\"/>\n", svg_x(&v, lon[0] + w * (i % GRID)), svg_y(&v, lat[0] + h * (i / GRID + 1)), 480.0 / GRID + 0.2, 440.0 / GRID + 0.2, shade > 1 ? 1 : shade);
    }
    svg_axes(&v, "longitude", "latitude");
    snprintf(text, sizeof text, moving ? "day %.0f of a window of 30" : "density of earthquakes, all days", day);
    svg_text(&v, 300, 20, "middle", "fill=\"#333\"", text);
    return svg_close(&v);
}

int main(int argc, char **argv)
{
    setting_t set = { "../shared/data/earthquakes", "out", "chain", 1, 0, 0, 0, FRAMES, 0, 0, 30 };
    const option_t options[] = {
        { "data", "folder with Earthquake_train.csv, _val.csv, _test.csv: columns t, lon, lat", 's', &set.data }, { "out", "folder for the results", 's', &set.out }, { "model", "chain or mixture", 's', &set.model },
        { "epochs", "of training; 0: chosen, -1: none", 'i', &set.epochs }, { "modes", "0: chosen", 'i', &set.modes }, { "rows", "train on all rows of overlapping windows, as published, not on each event once", 'b', &set.rows },
        { "days", "length of a window", 'd', &set.days }, { "frames", "of the film of a density that moves (0: none, and no such training)", 'i', &set.frames },
        { "seed", "seed", 'i', &set.seed }, { "threads", "0: all", 'i', &set.threads }, { "json", "print a line of JSON, no progress", 'b', &set.json }, { NULL, NULL, 0, NULL }
    };
    option_read(argc, argv, "Learn where earthquakes happen, and judge by events that were kept back.", options);
    int chain = !strcmp(set.model, "chain");
    if (!chain && strcmp(set.model, "mixture")) { fprintf(stderr, "earthquakes: --model %s: chain or mixture\n", set.model); return 2; }
    if (set.threads < 0) { fprintf(stderr, "earthquakes: --threads: 0 or more\n"); return 2; }
    if (!(set.days > 0)) { fprintf(stderr, "earthquakes: --days must be positive\n"); return 2; }
    if (set.frames < 0 || set.frames > 100 || set.frames == 1) { fprintf(stderr, "earthquakes: --frames %d: 0, or 2 to 100\n", set.frames); return 2; }
    if (!folder_ready(set.out)) { fprintf(stderr, "earthquakes: --out %s: cannot write to this folder\n", set.out); return 1; }
    progress_t bar = { set.json, isatty(2), 0, "", 0, 0 };
    wf_arena *A = wf_arena_new(NULL);
    sets_t s = prepare(A, &set, chain);
    wf_law_report r, rm;
    double begin = seconds();
    wf_law *law = learn(A, &set, &s, chain, 0, &bar, &r);
    double time = seconds() - begin, test = judge(A, law, &s.test, NULL), unseen = judge(A, law, &s.test, s.seen), val = judge(A, law, &s.val, NULL), moved = NAN, mixed_up = NAN;
    char file[1100];
    snprintf(file, sizeof file, "%s/density.svg", set.out);
    if (!frame(A, file, law, &s, chain, 15, 0)) { fprintf(stderr, "earthquakes: cannot write %s\n", file); return 1; }
    snprintf(file, sizeof file, "%s/density.safetensors", set.out);
    if (wf_law_save(law, file) < 0) fail(A, "saving");
    if (set.frames) { /* the same with time: the film, and what time is worth */
        if (!chain) { set.modes = set.modes ? set.modes : 128; }
        wf_law *film = learn(A, &set, &s, chain, 1, &bar, &rm);
        moved = judge(A, film, &s.test, NULL);
        events_t other = s.test; /* the same places at the times of other events */
        other.t = grab(A, s.test.n, sizeof *other.t);
        for (size_t i = 0; i < s.test.n; i++) other.t[i] = s.test.t[(i + s.test.n / 2) % s.test.n];
        mixed_up = judge(A, film, &other, NULL);
        for (int k = 0; k < set.frames; k++) {
            snprintf(file, sizeof file, "%s/frame_%02d.svg", set.out, k);
            if (!frame(A, file, film, &s, chain, set.days * k / (set.frames - 1), 1)) { fprintf(stderr, "earthquakes: cannot write %s\n", file); return 1; }
        }
        snprintf(file, sizeof file, "%s/film.safetensors", set.out);
        if (wf_law_save(film, file) < 0) fail(A, "saving");
    }
    if (set.json) {
        printf("{\"example\":\"earthquakes\",\"model\":\"%s\",\"train\":\"%s\",\"val_nll\":%.4f,\"test_nll\":%.4f,\"test_nll_unseen\":%.4f,", set.model, set.rows ? "rows" : "distinct", val, test, unseen);
        if (set.frames) printf("\"test_nll_with_time\":%.4f,\"test_nll_with_times_exchanged\":%.4f,", moved, mixed_up);
        printf("\"train_seconds\":%.2f,\"threads\":%d,\"seed\":%d}\n", time, set.threads, set.seed);
    } else {
        printf("mean -log density of %zu kept-back events: %.3f nats, in standardised units; without those that occur in training too: %.3f (%.1f s)\n", s.test.n, test, unseen, time);
        if (set.frames) printf("with a density that depends on the day: %.3f; if that is told the days of other events: %.3f. Days count from the start of a window that slides over the catalogue, so time says nothing of place here,\nand what moves in the film is noise.\n", moved, mixed_up);
        printf("%s has the pictures\n", set.out);
    }
    wf_arena_free(A);
    return 0;
}
