/* Weight graphs: the method as published, against the authors' own weights, and a small model trained from nothing. */
#define WF_KEEP_WEIGHTFLOW
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"
#include "wf_party.h"

enum { SNAPSHOTS = 6, PEOPLE = 400 };

static wf_weightflow_desc small_model(void)
{
    wf_weightflow_desc d;
    memset(&d, 0, sizeof d);
    d.species = 1;
    d.states = MOST + 1;
    d.hidden = 4;
    d.width = 16;
    d.heads = 2;
    d.layers = 1;
    d.feed_forward = 32;
    d.seed = 5;
    return d;
}

// region: learn how a distribution moves
static wf_weightflow *learn_party(wf_arena *A, double *times)
{
    static int32_t left[SNAPSHOTS][PEOPLE]; /* each snapshot shows other parties */
    const int32_t *rows[SNAPSHOTS];
    size_t n[SNAPSHOTS], stride[SNAPSHOTS];
    for (int i = 0; i < SNAPSHOTS; i++) {
        times[i] = 0.3 + 0.2 * i;
        for (int k = 0; k < PEOPLE; k++) left[i][k] = party_left(100 + (uint64_t)i, (uint64_t)k, times[i]);
        rows[i] = left[i];
        n[i] = PEOPLE;
        stride[i] = 1;
    }
    wf_weightflow_desc d = small_model(); /* species, states, and sizes of the networks */
    wf_weightflow *m = wf_weightflow_new(A, &d, times, SNAPSHOTS);
    CHECK(wf_weightflow_fit_anchors(m, rows, n, stride, 0, 0) == WF_OK);
    CHECK(wf_weightflow_fit_path(m, 500) == WF_OK);
    CHECK(wf_weightflow_fit_field(m, 300, NULL) == WF_OK);
    return m;
}
// end region

WF_TEST(a_small_model_learns_a_known_law)
{
    double times[SNAPSHOTS];
    wf_arena *A = wf_arena_new(NULL);
    wf_weightflow *m = learn_party(A, times);
    double at[3] = { 0.4, 0.8, 1.2 };
    float *tokens = (float *)wf_alloc(A, 3 * wf_weightflow_size(m), sizeof *tokens);
    CHECK(wf_weightflow_weights(m, at, 3, tokens) == WF_OK);
    for (int k = 0; k < 3; k++) {
        int32_t x[MOST + 1], drawn[2000];
        double lp[MOST + 1], sum = 0, distance = 0, q[MOST + 1] = { 0 };
        for (int i = 0; i <= MOST; i++) x[i] = i;
        const float *w = tokens + (size_t)k * wf_weightflow_size(m);
        CHECK(wf_weightflow_log_prob(m, w, x, MOST + 1, lp, NULL) == WF_OK);
        for (int i = 0; i <= MOST; i++) {
            sum += exp(lp[i]);
            distance += fabs(exp(lp[i]) - binomial(MOST, i, exp(-at[k]))) / 2;
        }
        CHECK_CLOSE(sum, 1, 1e-5); /* nine exponentials of f32 logarithms */
        CHECK(distance < 0.12);    /* total variation; 400 samples alone would give about 0.05, a wrong time of 0.2 about 0.25 */
        CHECK(wf_weightflow_sample(m, w, 2000, 9, drawn) == WF_OK);
        for (int i = 0; i < 2000; i++) { CHECK(drawn[i] >= 0 && drawn[i] <= MOST); q[drawn[i]] += 1.0 / 2000; }
        for (int i = 0; i <= MOST; i++) CHECK_CLOSE(q[i], exp(lp[i]), 5 * sqrt(exp(lp[i]) / 2000) + 1e-3); /* five standard errors */
    }
    wf_arena_free(A);
}

WF_TEST(training_has_the_same_bits_for_any_number_of_threads)
{
    double times[SNAPSHOTS] = { 0, 1, 2, 3, 4, 5 };
    uint64_t hash[4];
    for (int t = 0; t < 4; t++) {
        static const int threads[4] = { 1, 2, 3, 7 };
        wf_arena *A = wf_arena_new(NULL);
        wf_weightflow_desc d = small_model();
        d.threads = threads[t];
        d.dropout = 0.1;
        wf_weightflow *m = wf_weightflow_new(A, &d, times, SNAPSHOTS);
        float *anchor = wf_weightflow_anchors(m);
        for (size_t i = 0; i < SNAPSHOTS * wf_weightflow_size(m); i++) anchor[i] = (float)sin((double)i);
        double z[SNAPSHOTS] = { 0.9, 0.5, 0.2, -0.1, -0.6, -0.8 };
        CHECK(wf_weightflow_set_path(m, z) == WF_OK);
        CHECK(wf_weightflow_fit_field(m, 12, NULL) == WF_OK);
        const unsigned char *bytes = (const unsigned char *)wf_params_data(wf_weightflow_field(m));
        hash[t] = 14695981039346656037u;
        for (size_t i = 0; i < wf_params_size(wf_weightflow_field(m)) * sizeof(float); i++) hash[t] = (hash[t] ^ bytes[i]) * 1099511628211u;
        wf_arena_free(A);
    }
    for (int t = 1; t < 4; t++) CHECK(hash[t] == hash[0]);
}

/* Random values in a graph and in the bodies of its loops. */
static int draws_of(const wf_graph *g)
{
    int n = 0;
    for (int i = 1; i < g->nodes; i++) n += g->node[i].op == WF__OP_RANDOM;
    for (int i = 0; i < g->loops; i++) n += draws_of(g->loop[i]->body);
    return n;
}

/* One small fit; the hash of the field's parameters. */
static uint64_t fit_with(double dropout, uint64_t seed, int fits, int *trained, int *solved)
{
    double times[SNAPSHOTS] = { 0, 1, 2, 3, 4, 5 };
    wf_arena *A = wf_arena_new(NULL);
    wf_weightflow_desc d = small_model();
    d.control = WF_CONTROL_ODE;
    d.as_published = 1;
    d.dropout = dropout;
    wf_weightflow *m = wf_weightflow_new(A, &d, times, SNAPSHOTS);
    m->desc.seed = seed; /* of the masks alone: the field has its starting values */
    float *anchor = wf_weightflow_anchors(m);
    for (size_t i = 0; i < SNAPSHOTS * wf_weightflow_size(m); i++) anchor[i] = (float)sin((double)i);
    for (int k = 0; k < fits; k++) CHECK_INT(wf_weightflow_fit_field(m, 4 / fits, NULL), WF_OK);
    *trained = *solved = draws_of(m->stepper->g);
    for (int h = 0; h < SNAPSHOTS; h++) if (m->train[h] && draws_of(m->train[h]->g) > *trained) *trained = draws_of(m->train[h]->g);
    const unsigned char *bytes = (const unsigned char *)wf_params_data(wf_weightflow_field(m));
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < wf_params_size(wf_weightflow_field(m)) * sizeof(float); i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    wf_arena_free(A);
    return hash;
}

// region: masks for training alone
WF_TEST(dropout_is_for_training_and_follows_its_seed)
{
    int trained, solved, none;
    uint64_t kept = fit_with(-1, 5, 1, &none, &solved), left = fit_with(0.1, 5, 1, &trained, &solved);
    CHECK_INT(solved, 0);                          /* no noise where weights are wanted */
    CHECK_INT(none, 0);
    CHECK(trained >= 4 * 4 && trained % 16 == 0);  /* four masks in each layer of each stage, all different; the loop backwards has the same again */
    CHECK(kept != left && kept == fit_with(-1, 6, 1, &none, &solved));
    CHECK(left == fit_with(0.1, 5, 1, &trained, &solved) && left != fit_with(0.1, 6, 1, &trained, &solved));
    CHECK(left == fit_with(0.1, 5, 2, &trained, &solved)); /* the masks are numbered by the updates of the model, not of a call */
    CHECK(left == fit_with(0, 5, 1, &trained, &solved));   /* as published, 0 is 0.1 */
}
// end region

WF_TEST(rare_starts_share_their_weight_among_masks)
{
    double times[SNAPSHOTS] = { 0, 1, 2, 3, 4, 5 };
    for (int k = 0; k < 2; k++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_weightflow_desc d = small_model();
        d.dropout = k ? 0.1 : 0;
        wf_weightflow *m = wf_weightflow_new(A, &d, times, SNAPSHOTS);
        for (int horizon = 1; horizon < SNAPSHOTS; horizon++) {
            int starts = SNAPSHOTS - horizon, masks = k ? 5 / starts : 1, used = wf__flow_starts(m, horizon); /* 64 draws: each of at most five starts comes up more often than it has masks */
            double sum = 0;
            CHECK_INT(used, starts * masks);
            for (int i = 0; i < used; i++) {
                sum += (double)m->feed_weight[i];
                CHECK(m->feed_weight[i] == m->feed_weight[i - i % masks]); /* solutions of one start count alike */
            }
            CHECK_CLOSE(sum, 1, 1e-6); /* the weights are those of a mean; a few roundings of float */
        }
        wf_arena_free(A);
    }
}

WF_TEST(as_published_layers_begin_alike_and_nothing_is_clipped)
{
    double times[SNAPSHOTS] = { 0, 1, 2, 3, 4, 5 };
    for (int published = 0; published < 2; published++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_weightflow_desc d = small_model();
        d.layers = 3;
        d.as_published = published;
        wf_weightflow *m = wf_weightflow_new(A, &d, times, SNAPSHOTS);
        const wf_params *P = wf_weightflow_field(m);
        const float *data = (const float *)wf_params_data(wf_weightflow_field(m));
        for (int k = 1; k < d.layers; k++) {
            char name[80];
            snprintf(name, sizeof name, "attention_layers.layers.%d.linear1.weight", k);
            const wf_param_info *first = wf_params_entry(P, wf_params_find(P, "attention_layers.layers.0.linear1.weight")), *other = wf_params_entry(P, wf_params_find(P, name));
            CHECK(first && other && first->count == 16 * 32 && other->count == first->count);
            CHECK(!memcmp(data + first->offset, data + other->offset, first->count * sizeof *data) == published);
        }
        CHECK(wf__flow_optimiser(m, 200)->d.clip == (published ? 0 : 1));
        m->desc.dropout = 0;
        CHECK(wf__flow_optimiser(m, 200)->d.clip == 1); /* without dropout something has to hold the steps */
        wf_arena_free(A);
    }
}

static int cancel_at_once(void *user, const char *what, double done, double total)
{
    (void)what; (void)done; (void)total;
    return ++*(int *)user > 3;
}

WF_TEST(training_as_published_keeps_its_best_epoch)
{
    enum { EPOCHS = 11 };
    double times[SNAPSHOTS] = { 0, 1, 2, 3, 4, 5 }, loss[EPOCHS], whole, best = HUGE_VAL;
    float *kept = NULL;
    int at = 0;
    wf_arena *A = wf_arena_new(NULL);
    wf_weightflow *m[2];
    for (int k = 0; k < 2; k++) {
        wf_weightflow_desc d = small_model();
        d.as_published = 1;
        d.control = WF_CONTROL_ODE;
        m[k] = wf_weightflow_new(A, &d, times, SNAPSHOTS);
        float *anchor = wf_weightflow_anchors(m[k]);
        for (size_t i = 0; i < SNAPSHOTS * wf_weightflow_size(m[k]); i++) anchor[i] = (float)sin((double)i);
    }
    size_t n = wf_params_count(wf_weightflow_field(m[0]));
    kept = (float *)wf_alloc(A, n, sizeof *kept);
    for (int e = 0; e < EPOCHS; e++) { /* one epoch at a time: nothing to choose from */
        CHECK(wf_weightflow_fit_field(m[0], 100, &loss[e]) == WF_OK);
        if (!(loss[e] < best)) continue;
        best = loss[e];
        at = e;
        memcpy(kept, wf_params_data(wf_weightflow_field(m[0])), n * sizeof *kept);
    }
    CHECK(at < EPOCHS - 1); /* else this test could not tell the best from the last */
    CHECK(wf_weightflow_fit_field(m[1], 100 * EPOCHS, &whole) == WF_OK);
    CHECK(whole == best);
    CHECK(!memcmp(kept, wf_params_data(wf_weightflow_field(m[1])), n * sizeof *kept));
    wf_arena_free(A);
}

WF_TEST(a_long_call_can_be_cancelled)
{
    static int32_t left[PEOPLE];
    const int32_t *rows[2] = { left, left };
    size_t n[2] = { PEOPLE, PEOPLE }, stride[2] = { 1, 1 };
    double times[2] = { 0, 1 };
    int calls = 0;
    wf_arena *A = wf_arena_new(NULL);
    wf_weightflow_desc d = small_model();
    d.progress = cancel_at_once;
    d.progress_user = &calls;
    for (int i = 0; i < PEOPLE; i++) left[i] = party_left(3, (uint64_t)i, 0.5);
    wf_weightflow *m = wf_weightflow_new(A, &d, times, 2);
    CHECK_INT(wf_weightflow_fit_anchors(m, rows, n, stride, 0, 0), WF_CANCELLED);
    CHECK_INT(calls, 4);
    wf_arena_free(A);
}

WF_TEST(mistakes_are_named)
{
    double times[2] = { 0, 1 }, bad[2] = { 1, 1 };
    static int32_t left[PEOPLE];
    const int32_t *rows[2] = { left, left };
    size_t n[2] = { PEOPLE, 0 }, stride[2] = { 1, 1 };
    wf_arena *A = wf_arena_new(NULL);
    wf_weightflow_desc d = small_model();
    CHECK(!wf_weightflow_new(A, &d, bad, 2));
    CHECK_STR_HAS(wf_arena_report(A)->text, "snapshot 1");
    wf_arena_clear(A);
    CHECK(!wf_weightflow_new(A, &d, times, 1));
    CHECK_STR_HAS(wf_arena_report(A)->text, "1 snapshots");
    wf_arena_clear(A);
    d.feed_forward = -1;
    CHECK(!wf_weightflow_new(A, &d, times, 2));
    CHECK_STR_HAS(wf_arena_report(A)->text, "out of range");
    wf_arena_clear(A);
    d = small_model();
    CHECK_INT(wf_weightflow_fit_anchors(wf_weightflow_new(A, &d, times, 2), NULL, n, stride, 1, 1), WF_ERROR_ARGUMENT);
    CHECK_STR_HAS(wf_arena_report(A)->text, "no snapshots");
    wf_arena_clear(A);
    d.states = 1;
    CHECK(!wf_weightflow_new(A, &d, times, 2));
    CHECK_STR_HAS(wf_arena_report(A)->text, "states");
    wf_arena_clear(A);
    d = small_model();
    d.dropout = 1;
    CHECK(!wf_weightflow_new(A, &d, times, 2));
    CHECK_STR_HAS(wf_arena_report(A)->text, "dropout 1");
    wf_arena_clear(A);
    d = small_model();
    wf_weightflow *m = wf_weightflow_new(A, &d, times, 2);
    CHECK_INT(wf_weightflow_fit_field(m, 1, NULL), WF_ERROR_ARGUMENT);
    wf_arena_clear(A);
    CHECK_INT(wf_weightflow_fit_anchors(m, rows, n, stride, 0, 0), WF_ERROR_DATA);
    CHECK_STR_HAS(wf_arena_report(A)->text, "no samples");
    wf_arena_clear(A);
    n[1] = PEOPLE;
    left[7] = -3;
    CHECK_INT(wf_weightflow_fit_anchors(m, rows, n, stride, 0, 0), WF_ERROR_DATA);
    CHECK_STR_HAS(wf_arena_report(A)->text, "row 7");
    CHECK_STR_HAS(wf_arena_report(A)->text, "-3");
    wf_arena_free(A);
}

WF_TEST(a_model_is_kept_and_read_back)
{
    double times[SNAPSHOTS], at[2] = { 0.3, 0.95 };
    const char *path = "out/tests/party.safetensors";
    wf_arena *A = wf_arena_new(NULL);
    wf_weightflow *m = learn_party(A, times);
    size_t size = wf_weightflow_size(m);
    float *a = (float *)wf_alloc(A, 2 * size, sizeof *a), *b = (float *)wf_alloc(A, 2 * size, sizeof *b);
    if (wf_weightflow_save(m, path) < 0) { wf_arena_free(A); SKIP("out/tests cannot be written (run by make test)"); }
    wf_mark before = wf_arena_mark(A), after;
    CHECK_INT(wf_weightflow_save(m, path), WF_OK);
    after = wf_arena_mark(A);
    CHECK(!memcmp(&before, &after, sizeof before)); /* what a file takes is given back */
    wf_weightflow *copy = wf_weightflow_load(A, path, NULL);
    CHECK(copy != NULL);
    if (!copy) { printf("  %s\n", wf_arena_report(A)->text); wf_arena_free(A); return; }
    CHECK(wf_weightflow_weights(m, at, 2, a) == WF_OK && wf_weightflow_weights(copy, at, 2, b) == WF_OK);
    CHECK(!memcmp(a, b, 2 * size * sizeof *a));
    CHECK(!wf_weightflow_load(A, "out/tests/there_is_no_such_file", NULL));
    wf_arena_free(A);
}

/* ---- the published model ---- */

typedef struct published_t { wf_arena *A; wf_weightflow *m; const char *shared; wf_array *data; } published_t;

static void *read_shared(wf_arena *A, const char *shared, const char *name, size_t *size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/data/epidemic/%s", shared, name);
    return wf_file_read(A, path, size);
}

/* The manifest lists {"name": ..., "shape": [...], "offset_floats": n}; found here by its punctuation. */
static int fill_field(wf_params *P, const char *manifest, const float *phi, size_t floats)
{
    int filled = 0;
    for (const char *at = strstr(manifest, "\"name\""); at; at = strstr(at, "\"name\"")) {
        char name[128];
        long offset = -1;
        const char *start = strchr(strchr(at, ':'), '"') + 1, *end = strchr(start, '"'), *place = strstr(end, "\"offset_floats\"");
        snprintf(name, sizeof name, "%.*s", (int)(end - start), start);
        at = end;
        if (place) offset = strtol(strchr(place, ':') + 1, NULL, 10);
        int i = wf_params_find(P, name);
        if (i < 0) continue;
        const wf_param_info *e = wf_params_entry(P, i);
        double *values = (double *)malloc(e->count * sizeof *values);
        if (offset < 0 || (size_t)offset + e->count > floats || !values) return -1;
        for (size_t k = 0; k < e->count; k++) values[k] = (double)phi[(size_t)offset + k];
        if (wf_params_set(P, name, values, e->count) < 0) return -1;
        free(values);
        filled++;
    }
    return filled;
}

static const double published_code[11] = { 0.99998, 0.81394, 0.58658, 0.38342, 0.21459, 0.04944, -0.14027, -0.34244, -0.62980, -0.84211, -0.99345 };

static int published_open(published_t *p)
{
    size_t size, floats, manifest_size;
    char path[512];
    double times[11];
    wf_weightflow_desc d;
    p->shared = wf_test_shared();
    if (!p->shared) return 0;
    p->A = wf_arena_new(NULL);
    float *anchors = (float *)read_shared(p->A, p->shared, "anchors.f32", &size), *phi = (float *)read_shared(p->A, p->shared, "phi.f32", &floats);
    char *manifest = (char *)read_shared(p->A, p->shared, "phi_manifest.json", &manifest_size);
    snprintf(path, sizeof path, "%s/data/epidemic/trajectories.npy", p->shared);
    p->data = wf_npy_read(p->A, path);
    if (!anchors || !phi || !manifest || !p->data || size != 11 * 100 * 9 * sizeof(float)) { wf_arena_free(p->A); return 0; }
    char *text = (char *)wf_alloc(p->A, manifest_size + 1, 1);
    memcpy(text, manifest, manifest_size);
    memset(&d, 0, sizeof d);
    d.species = 3;
    d.states = 52;
    d.as_published = 1;
    for (int i = 0; i < 11; i++) times[i] = 10.0 * i;
    p->m = wf_weightflow_new(p->A, &d, times, 11);
    float *to = wf_weightflow_anchors(p->m);
    for (int a = 0; a < 11; a++)
        for (int n = 0; n < 100; n++)
            for (int f = 0; f < 9; f++) to[(a * 9 + f) * 100 + n] = anchors[(a * 100 + n) * 9 + f];
    CHECK_INT(fill_field(wf_weightflow_field(p->m), text, phi, floats / sizeof(float)), wf_params_entries(wf_weightflow_field(p->m)));
    CHECK_INT(wf_params_count(wf_weightflow_field(p->m)), 231545);
    CHECK_INT(wf_weightflow_set_path(p->m, published_code), WF_OK);
    return 1;
}

#define PUBLISHED_OR_SKIP(p) published_t p; if (!published_open(&p)) SKIP("the published model is not here (../shared/data/epidemic)")

WF_TEST(published_spline)
{
    static const double b[10] = { -1.7384, -2.1045, -2.2455, -1.8290, -1.5981, -1.7980, -1.8557, -2.5354, -2.6887, -1.7002 };
    PUBLISHED_OR_SKIP(p);
    for (int i = 0; i < 10; i++) CHECK_CLOSE(wf_spline_slope(p.m->path, 0.1 * i, 0), b[i], 2e-3); /* five printed digits of the codes, times ten knots */
    wf_arena_free(p.A);
}

WF_TEST(published_log_probabilities)
{
    static const int32_t x[4][3] = { { 50, 10, 0 }, { 41, 14, 1 }, { 16, 15, 7 }, { 8, 5, 10 } };
    static const int anchor[4] = { 0, 1, 5, 10 };
    static const double want[4][3] = { { -.00247, -.00188, -.00200 }, { -2.23628, -2.15501, -1.10690 }, { -2.82984, -1.87622, -1.72844 }, { -2.22160, -2.06526, -1.53475 } };
    static const double nll[11] = { .006, 6.599, 7.268, 7.847, 8.049, 8.068, 8.082, 8.039, 7.931, 7.756, 7.612 };
    PUBLISHED_OR_SKIP(p);
    for (int i = 0; i < 4; i++) {
        double sum, each[3];
        CHECK_INT(wf_weightflow_log_prob(p.m, wf_weightflow_anchors(p.m) + (size_t)anchor[i] * 900, x[i], 1, &sum, each), WF_OK);
        for (int s = 0; s < 3; s++) CHECK_CLOSE(each[s], want[i][s], 1e-3 * fabs(want[i][s]) + 1e-5); /* the specification's 1e-3, and its last printed digit */
    }
    for (int a = 0; a < 11; a++) {
        static int32_t rows[1000 * 3];
        static double lp[1000];
        double mean = 0;
        const double *data = (const double *)p.data->data;
        for (int i = 0; i < 1000; i++) for (int s = 0; s < 3; s++) rows[i * 3 + s] = (int32_t)data[(i * 101 + a * 10) * 3 + s];
        CHECK_INT(wf_weightflow_log_prob(p.m, wf_weightflow_anchors(p.m) + (size_t)a * 900, rows, 1000, lp, NULL), WF_OK);
        for (int i = 0; i < 1000; i++) mean -= lp[i] / 1000;
        CHECK_CLOSE(mean, nll[a], 1e-3); /* three printed decimals */
    }
    wf_arena_free(p.A);
}

static void field_at(published_t *p, const float *state, double speed, float *out)
{
    int d[2] = { 9, 100 }, one = 1;
    wf_graph *g = wf_graph_new(p->A, wf_weightflow_field(p->m));
    wf_t x = wf_input_nd(g, "state", 2, d), z = wf_input(g, "speed", one), y = wf__flow_field(p->m, x, z, 0, 0);
    wf_plan_desc pd;
    memset(&pd, 0, sizeof pd);
    pd.out[0] = y;
    wf_plan *plan = wf_compile(p->A, &pd);
    wf_ws *ws = wf_ws_new(p->A, plan, 1, NULL);
    float s = (float)speed;
    wf_feed f[3];
    f[0] = wf_in(x, state, 0);
    f[1] = wf_in(z, &s, 0);
    f[2] = wf_out(y, out, 0);
    CHECK_INT(wf_run(plan, ws, f, 3, 1), WF_OK);
}

WF_TEST(published_field)
{
    static const double slope[3] = { -1.73839, -2.02881, -1.79796 }, norm[3] = { 19894.8, 27097.5, 21281.6 };
    static const double first[7] = { .0703, -2.2054, 1.9520, .6319, -3.2337, -1.0637, .4119 }, later[7] = { -1.6155, 5.7289, -7.3809, -6.1412, -3.4211, -1.9751, -.7345 };
    PUBLISHED_OR_SKIP(p);
    float v[900];
    for (int i = 0; i < 3; i++) {
        double sum = 0;
        CHECK_CLOSE(wf_spline_slope(p.m->path, 0.25 * i, 0), slope[i], 2e-3);
        field_at(&p, wf_weightflow_anchors(p.m), slope[i], v);
        for (int k = 0; k < 900; k++) sum += (double)v[k] * (double)v[k];
        CHECK_CLOSE(sum, norm[i], 1e-3 * norm[i]);
        for (int f = 0; f < 7 && !i; f++) CHECK_CLOSE(v[f * 100], first[f], 1e-3 * fabs(first[f]) + 1e-4);
    }
    field_at(&p, wf_weightflow_anchors(p.m) + 5 * 900, slope[0], v);
    for (int f = 0; f < 7; f++) CHECK_CLOSE(v[f * 100], later[f], 1e-3 * fabs(later[f]) + 1e-4);
    wf_arena_free(p.A);
}

WF_TEST(published_weights_and_scores)
{
    PUBLISHED_OR_SKIP(p);
    size_t size;
    float *want = (float *)read_shared(p.A, p.shared, "pred_tokens_t0_100.f32", &size), *tokens = (float *)wf_alloc(p.A, 101 * 900, sizeof *tokens);
    double times[101], worst = 0, w = 0, jsd = 0, *each = (double *)wf_alloc(p.A, 303, sizeof *each);
    int32_t *x = (int32_t *)wf_alloc(p.A, 101 * 3000, sizeof *x), *data = (int32_t *)wf_alloc(p.A, 101 * 3000, sizeof *data), one[3000];
    CHECK(want && size == 101 * 900 * sizeof(float));
    if (!want) return;
    for (int k = 0; k < 101; k++) times[k] = k;
    CHECK_INT(wf_weightflow_weights(p.m, times, 101, tokens), WF_OK);
    for (int k = 0; k < 101; k++)
        for (int n = 0; n < 100; n++)
            for (int f = 0; f < 9; f++) {
                double e = fabs((double)tokens[(k * 9 + f) * 100 + n] - (double)want[(k * 100 + n) * 9 + f]);
                if (!(e <= worst)) worst = e;
            }
    CHECK(worst <= 5e-3); /* 1e-3 of weights of order 5, after a hundred steps, with codes known to five digits */
    for (int k = 0; k < 101; k++) {
        CHECK_INT(wf_weightflow_sample(p.m, tokens + (size_t)k * 900, 1000, 11 + (uint64_t)k, one), WF_OK);
        for (int i = 0; i < 1000; i++) memcpy(x + (i * 101 + k) * 3, one + i * 3, 3 * sizeof *x);
    }
    for (int i = 0; i < 303000; i++) data[i] = (int32_t)((const double *)p.data->data)[i];
    CHECK_INT(wf_compare_counts(p.A, x, 1000, data, 1000, 101, 3, 52, each, each + 101, each + 202), WF_OK);
    for (int k = 1; k < 101; k++) { w += each[k] / 100; jsd += each[202 + k] / 100; }
    printf("  published checkpoint: largest difference of a weight %.2g, W %.4f (0.1157), JSD %.4f (0.0368)\n", worst, w, jsd);
    CHECK_CLOSE(w, 0.1157, 0.002);    /* the specification's allowance for the noise of 1000 samples at each time */
    CHECK_CLOSE(jsd, 0.0368, 0.0005);
    wf_arena_free(p.A);
}

WF_MAIN_CASES(WF_CASE(a_small_model_learns_a_known_law), WF_CASE(training_has_the_same_bits_for_any_number_of_threads), WF_CASE(dropout_is_for_training_and_follows_its_seed), WF_CASE(rare_starts_share_their_weight_among_masks),
              WF_CASE(as_published_layers_begin_alike_and_nothing_is_clipped), WF_CASE(training_as_published_keeps_its_best_epoch), WF_CASE(a_long_call_can_be_cancelled),
              WF_CASE(mistakes_are_named), WF_CASE(a_model_is_kept_and_read_back), WF_CASE(published_spline), WF_CASE(published_log_probabilities),
              WF_CASE(published_field), WF_CASE(published_weights_and_scores))
