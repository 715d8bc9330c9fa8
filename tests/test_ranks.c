/* Particles on several ranks against the same particles on one, bit by bit.

   Compiled as it is, ranks are threads of this process whose messages are copies in memory: tests/run.py does that. Compiled by an MPI compiler with WF_WITH_MPI it prints what each run came to: tests/test_ranks.py
   compares these lines for one, two and four processes, and with those of `test_ranks --lines`. */
#define _POSIX_C_SOURCE 200809L
#define WF_KEEP_PARTICLES
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

/* ---- what is run ---- */

static void wells(void *user, const wf_tile *tile, double *energy, float *gradient)
{
    (void)user;
    for (int l = 0; l < WF_LANES; l++) energy[l] = 0;
    for (int i = 0; i < tile->dim; i++)
        for (int l = 0; l < WF_LANES; l++) {
            float x = tile->x[i * WF_LANES + l], q = x * x - 1;
            energy[l] += (double)(3 * q * q + 0.3f * x);
            if (gradient) gradient[i * WF_LANES + l] = 12 * x * q + 0.3f;
        }
    if (tile->t > 0.5 && tile->first == 64) energy[5] = NAN; /* counted as bad, by whoever has that tile */
}

static void push(void *user, const wf_tile *tile, float *x, const float *normals, double *log_weight)
{
    (void)user;
    for (int l = 0; l < WF_LANES; l++) {
        for (int i = 0; i < tile->dim; i++) x[i * WF_LANES + l] = 0.9f * x[i * WF_LANES + l] + 0.5f * normals[i * WF_LANES + l];
        log_weight[l] = (double)x[l];
    }
}

enum { RUNS = 11 };
static const char *const run_name[RUNS] = { "Langevin", "adaptive temperatures", "scales learned", "Hilbert", "sums over pairs", "births and deaths", "multinomial", "SSP", "killing", "a graph", "in pieces" };

static wf_particles_desc describe(int run, wf_arena *A)
{
    wf_particles_desc d;
    memset(&d, 0, sizeof d);
    d.n = 1000; /* 15 tiles and 40 lanes */
    d.dim = 3;
    d.seed = 7 + (uint64_t)run;
    d.energy = wells;
    d.levels = 40;
    d.step = 0.02;
    d.threshold = 0.9;
    d.threads = 1 + run % 3;
    if (run == 1) { d.move = WF_MOVE_GHMC; d.adaptive = 0.8; d.adapt = 1; }
    if (run == 2) { d.move = WF_MOVE_HMC; d.leaps = 3; d.adapt = 2; }
    if (run == 3) { d.move = WF_MOVE_CUSTOM; d.custom = push; d.energy = NULL; d.resample = WF_RESAMPLE_HILBERT; }
    if (run == 4) { d.move = WF_MOVE_WFR; d.levels = 10; }
    if (run == 5) { d.move = WF_MOVE_BIRTH_DEATH; d.levels = 10; d.bandwidth = 0.3; }
    if (run == 6) { d.move = WF_MOVE_OBABO; d.resample = WF_RESAMPLE_MULTINOMIAL; }
    if (run == 7) { d.move = WF_MOVE_BAOAB; d.resample = WF_RESAMPLE_SSP; d.every = 1; }
    if (run == 8) { d.move = WF_MOVE_MALA; d.resample = WF_RESAMPLE_KILLING; }
    if (run == 9) {
        wf_graph *g = wf_graph_new(A, wf_params_new(A, 1, WF_F32));
        d.energy = NULL;
        d.x = wf_input(g, "x", 3);
        d.energy_graph = wf_sum(wf_square(wf_sub(wf_square(d.x), wf_scale(d.x, 0.5))));
    }
    return d;
}

static double tick(void *user) { return *(double *)user += 1; } /* a clock by which every budget is over at once */

static uint64_t mix(uint64_t hash, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++) hash = (hash ^ ((const unsigned char *)data)[i]) * 1099511628211u;
    return hash;
}

/* All that a run can be asked for, as one number; 0 where it failed. */
static uint64_t fingerprint(int run, const wf_ranks *ranks)
{
    enum { N = 1000, DIM = 3 };
    static const char *const parts[] = { "particles.state", "particles.energy", "particles.founder", "particles.now", "particles.scale", "particles.accept" };
    wf_arena *A = wf_arena_new(NULL);
    wf_particles_desc d = describe(run, A);
    double *x = (double *)wf_alloc(A, N * (DIM + 2), sizeof *x), mean[DIM], error[DIM], time = 0;
    uint64_t hash = 14695981039346656037u;
    d.ranks = ranks;
    wf_particles *p = wf_particles_new(A, &d);
    wf_result r = p ? WF_OK : WF_ERROR_ARGUMENT;
    while (r == WF_OK && !wf_particles_done(p)) r = run == 10 ? wf_particles_advance(p, 1, tick, &time) : wf_particles_run(p);
    if (r == WF_OK && run == 6) r = wf_particles_resample(p);
    if (r == WF_OK) {
        wf_particles_report told = wf_particles_look(p);
        double numbers[] = { told.log_z, told.log_z_error, told.log_z_error_lag, told.ess, told.ess_min, told.pareto_k, told.step, (double)told.founders, (double)told.dead, (double)told.bad, (double)told.energies, (double)told.resamplings };
        hash = mix(hash, numbers, sizeof numbers);
        wf_particles_get(p, x, x + N * DIM, x + N * (DIM + 1));
        hash = mix(hash, x, N * (DIM + 2) * sizeof *x);
        r = wf_particles_mean(p, NULL, NULL, DIM, mean, error);
        hash = mix(mix(hash, mean, sizeof mean), error, sizeof error);
    }
    wf_tensors *t = wf_tensors_new(A);
    if (r == WF_OK) r = wf_particles_store(p, t);
    for (size_t i = 0; r == WF_OK && i < sizeof parts / sizeof *parts; i++) {
        const wf_array *a = wf_tensors_find(t, parts[i]);
        hash = a ? mix(hash, a->data, a->count * wf_dtype_size(a->dtype)) : 0;
    }
    if (r != WF_OK && (!ranks || getenv("WF_VERBOSE"))) printf("%s: %s\n", run_name[run], p ? wf_particles_look(p).why.text : wf_arena_report(A)->text);
    wf_arena_free(A);
    return r == WF_OK ? hash : 0;
}

#ifdef WF_WITH_MPI

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    wf_ranks ranks = wf_ranks_mpi(NULL);
    for (int run = 0; run < RUNS; run++) {
        uint64_t hash = fingerprint(run, &ranks), all[2] = { hash, ~hash };
        MPI_Allreduce(MPI_IN_PLACE, all, 2, MPI_UINT64_T, MPI_MAX, MPI_COMM_WORLD);
        if (ranks.rank == 0) printf("%s: %016llx%s\n", run_name[run], (unsigned long long)hash, all[0] == hash && all[1] == ~hash ? "" : ", and other ranks say otherwise");
    }
    MPI_Finalize();
    return 0;
}

#else
#include <pthread.h>

/* ---- ranks that are threads ---- */

enum { MOST = 20 };
typedef struct table { /* around which they sit */
    pthread_mutex_t lock;
    pthread_cond_t turn;
    int count, waiting, round, calls, fail_at;
    void *data[MOST];
    const size_t *to[MOST];
} table;
typedef struct seat { table *t; int rank, run; uint64_t hash; } seat;

static void meet(table *t)
{
    pthread_mutex_lock(&t->lock);
    int round = t->round;
    if (++t->waiting == t->count) {
        t->waiting = 0;
        t->round++;
        pthread_cond_broadcast(&t->turn);
    }
    while (t->round == round) pthread_cond_wait(&t->turn, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

static int seat_gather(void *user, void *data, const size_t *first)
{
    seat *s = (seat *)user;
    table *t = s->t;
    t->data[s->rank] = data;
    meet(t);
    for (int r = 0; r < t->count; r++)
        if (r != s->rank) memcpy((char *)data + first[r], (const char *)t->data[r] + first[r], first[r + 1] - first[r]);
    if (s->rank == 0) t->calls++;
    meet(t);
    return t->fail_at > 0 && t->calls >= t->fail_at;
}

static int seat_exchange(void *user, const void *send, const size_t *to, void *receive, const size_t *from)
{
    seat *s = (seat *)user;
    table *t = s->t;
    memcpy(&t->data[s->rank], &send, sizeof send);
    t->to[s->rank] = to;
    meet(t);
    int bad = 0;
    for (int r = 0; r < t->count; r++) {
        size_t n = from[r + 1] - from[r];
        bad |= n != t->to[r][s->rank + 1] - t->to[r][s->rank];
        if (!bad) memcpy((char *)receive + from[r], (const char *)t->data[r] + t->to[r][s->rank], n);
    }
    meet(t);
    return bad;
}

static void *sit(void *user)
{
    seat *s = (seat *)user;
    wf_ranks ranks = { s->rank, s->t->count, seat_gather, seat_exchange, s };
    s->hash = fingerprint(s->run, &ranks);
    return NULL;
}

static int at_a_table(int run, int count, int fail_at, uint64_t *hash)
{
    table t = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, count, 0, 0, 0, fail_at, { NULL }, { NULL } };
    pthread_t thread[MOST];
    seat seats[MOST];
    for (int r = 0; r < count; r++) {
        seat s = { &t, r, run, 0 };
        seats[r] = s;
        if (pthread_create(&thread[r], NULL, sit, &seats[r])) abort();
    }
    for (int r = 0; r < count; r++) { pthread_join(thread[r], NULL); hash[r] = seats[r].hash; }
    return t.calls;
}

WF_TEST(any_number_of_ranks_has_the_same_bits)
{
    static const int counts[] = { 1, 2, 3, 5, 20 }; /* with 16 tiles, some of 20 ranks have none */
    for (int run = 0; run < RUNS; run++) {
        uint64_t alone = fingerprint(run, NULL), hash[MOST];
        CHECK(alone != 0);
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
            at_a_table(run, counts[k], 0, hash);
            for (int r = 0; r < counts[k]; r++) {
                if (hash[r] != alone) printf("  %s: rank %d of %d\n", run_name[run], r, counts[k]);
                CHECK(hash[r] == alone);
            }
        }
    }
}

WF_TEST(a_run_whose_seed_differs_has_other_bits)
{
    CHECK(fingerprint(0, NULL) != fingerprint(10, NULL)); /* the same description, but for the seed */
}

WF_TEST(a_lost_message_ends_the_run_on_all_ranks)
{
    uint64_t hash[MOST];
    int calls = at_a_table(0, 3, 0, hash);
    CHECK(calls > 20);
    for (int fail_at = 1; fail_at < calls; fail_at += 7) {
        at_a_table(0, 3, fail_at, hash);
        for (int r = 0; r < 3; r++) CHECK_INT(hash[r], 0);
    }
}

WF_TEST(ranks_that_make_no_sense)
{
    static const int bad[][2] = { { 0, 0 }, { -1, 2 }, { 2, 2 } };
    for (size_t k = 0; k < 4; k++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_particles_desc d = describe(0, A);
        wf_ranks r = { k < 3 ? bad[k][0] : 0, k < 3 ? bad[k][1] : 2, seat_gather, k < 3 ? seat_exchange : NULL, NULL };
        d.ranks = &r;
        CHECK(!wf_particles_new(A, &d));
        CHECK_STR_HAS(wf_arena_report(A)->text, "rank");
        wf_arena_free(A);
    }
}

int main(int argc, char **argv)
{
    static const wf_test_case cases[] = {
        { "any_number_of_ranks_has_the_same_bits", any_number_of_ranks_has_the_same_bits },
        { "a_run_whose_seed_differs_has_other_bits", a_run_whose_seed_differs_has_other_bits },
        { "a_lost_message_ends_the_run_on_all_ranks", a_lost_message_ends_the_run_on_all_ranks },
        { "ranks_that_make_no_sense", ranks_that_make_no_sense },
    };
    if (argc > 1 && !strcmp(argv[1], "--lines")) {
        for (int run = 0; run < RUNS; run++) printf("%s: %016llx\n", run_name[run], (unsigned long long)fingerprint(run, NULL));
        return 0;
    }
    return wf_test_main(argc, argv, cases, (int)(sizeof cases / sizeof *cases));
}
#endif
