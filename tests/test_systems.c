/* Exact simulation of reaction systems. Seeds are fixed. Bounds are four standard errors of the statistic, from known variances where there are
   formulas, unless a comment says otherwise. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

/* mean and variance of species j at time k over n trajectories */
static void moments(const int32_t *x, size_t n, size_t times, size_t species, size_t k, size_t j, double *mean, double *variance)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += x[(i * times + k) * species + j];
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        double d = x[(i * times + k) * species + j] - *mean;
        squares += d * d;
    }
    *variance = squares / (double)(n - 1);
}

/* ---- examples of the chapter ---- */

// region: simulate an epidemic
WF_TEST(an_epidemic)
{
    enum { N = 1000 };
    static int32_t x[N][101][3];                   /* susceptible, infected, recovered */
    wf_arena *A = wf_arena_new(NULL);
    wf_simulate_desc desc = { 0 };
    desc.seed = 7;
    CHECK(wf_epidemic(A, N, &desc, &x[0][0][0]) == WF_OK);

    double infected = 0;
    for (int i = 0; i < N; i++) infected += x[i][10][1];
    CHECK_CLOSE(infected / N, 14.1, 4 * 3.7 / sqrt(N));   /* at time 5 */
    wf_arena_free(A);
}
// end region

// region: a system from tables
/* 0 -> X1 at rate 10; X1 -> X2 -> ... -> X15, 5 for each molecule; X15 and all others vanish, 1 for each molecule */
WF_TEST(a_signalling_cascade)
{
    enum { D = 15, R = 2 * D, N = 4000 };
    static int change[R][D], reactants[R][D];
    static int32_t out[N][2][D];
    double rate[R];
    const double times[2] = { 1, 10 };
    const int32_t empty[D] = { 0 };
    for (int i = 0; i < D; i++) {
        rate[i] = i == 0 ? 10 : 5;                          /* reaction i makes species i ... */
        change[i][i] = 1;
        if (i > 0) { change[i][i - 1] = -1; reactants[i][i - 1] = 1; }   /* ... from the one before */
        rate[D + i] = 1;                                    /* reaction D + i destroys it */
        change[D + i][i] = -1;
        reactants[D + i][i] = 1;
    }
    const wf_reaction_system cascade = { D, R, &change[0][0], &reactants[0][0], rate, NULL, 0, NULL, NULL, NULL };
    wf_arena *A = wf_arena_new(NULL);
    CHECK(wf_simulate(A, &cascade, empty, times, 2, N, NULL, &out[0][0][0]) == WF_OK);
    // end region

    /* From an empty start all counts are independent Poisson; the means obey m1' = 10 - 6 m1, mi' = 5 m(i-1) - 6 mi, m15' = 5 m14 - m15. */
    double m[D] = { 0 }, h = 1e-4;
    for (int step = 1, k = 0; k < 2; step++) {   /* Euler's error, h/2 times the second derivative (60 at most), is a quarter of a standard error at most */
        for (int i = D - 1; i >= 0; i--) m[i] += h * ((i ? 5 * m[i - 1] : 10) - (i == D - 1 ? 1 : 6) * m[i]);
        if (step * h < times[k] - 1e-9) continue;
        for (size_t i = 0; i < D; i++) {
            double mean, variance;
            moments(&out[0][0][0], N, 2, D, (size_t)k, i, &mean, &variance);
            CHECK_CLOSE(mean, m[i], 4 * sqrt(m[i] / N) + 1e-3);
            CHECK_CLOSE(variance, m[i], 4 * sqrt((m[i] + 2 * m[i] * m[i]) / N) + 1e-3);   /* Poisson: fourth central moment m + 3 m^2 */
        }
        k++;
    }
    CHECK_CLOSE(m[4], 10 / 6.0 * pow(5 / 6.0, 4), 1e-3);   /* stationary by then */
    wf_arena_free(A);
}

// region: a system with propensities of its own
/* genes X, Y on or off, their products PX, PY; a pair of products switches the other gene off */
static void toggle(void *user, double time, const int32_t *n, double *a)
{
    (void)user;
    (void)time;
    a[0] = 50.0 * n[0];                            /* X -> X + PX */
    a[1] = 50.0 * n[1];                            /* Y -> Y + PY */
    a[2] = n[2];                                   /* PX -> 0 */
    a[3] = n[3];                                   /* PY -> 0 */
    a[4] = 1e-4 * (double)n[2] * n[2] * n[1];      /* 2 PX + Y -> Y* */
    a[5] = 1e-4 * (double)n[3] * n[3] * n[0];      /* 2 PY + X -> X* */
    a[6] = 0.1 * (1 - n[1]);                       /* Y* -> Y + 2 PX */
    a[7] = 0.1 * (1 - n[0]);                       /* X* -> X + 2 PY */
}

static const int toggle_change[8][4] = { { 0, 0, 1, 0 }, { 0, 0, 0, 1 }, { 0, 0, -1, 0 }, { 0, 0, 0, -1 },
                                         { 0, -1, -2, 0 }, { -1, 0, 0, -2 }, { 0, 1, 2, 0 }, { 1, 0, 0, 2 } };
static const wf_reaction_system toggle_switch = { 4, 8, &toggle_change[0][0], NULL, NULL, NULL, 0, toggle, NULL, NULL };
// end region

WF_TEST(a_toggle_switch)
{
    enum { N = 600, T = 4 };
    static int32_t out[N][T][4];
    const double times[T] = { 0.4, 0.8, 2, 4 };
    const int32_t start[4] = { 1, 1, 0, 0 };
    /* PX over 1000 runs of another program: mean and standard deviation */
    static const double mean[T] = { 16.55, 27.40, 39.31, 35.84 }, sd[T] = { 4.11, 5.50, 10.92, 19.51 };
    static const double gene[T] = { 0.998, 0, 0.842, 0.657 };
    wf_arena *A = wf_arena_new(NULL);
    CHECK(wf_simulate(A, &toggle_switch, start, times, T, N, NULL, &out[0][0][0]) == WF_OK);
    for (size_t k = 0; k < T; k++)
        for (size_t j = 2; j < 4; j++) {   /* the two sides are alike */
            double m, v, g, gv;
            moments(&out[0][0][0], N, T, 4, k, j, &m, &v);
            moments(&out[0][0][0], N, T, 4, k, j - 2, &g, &gv);
            CHECK_CLOSE(m, mean[k], 4 * sd[k] * sqrt(1.0 / N + 1.0 / 1000));
            CHECK_CLOSE(sqrt(v), sd[k], 0.1 * sd[k]);   /* four times 1/sqrt(2 n), once and a half for a broad distribution */
            if (gene[k] > 0) CHECK_CLOSE(g, gene[k], 4 * sqrt(gene[k] * (1 - gene[k]) * (1.0 / N + 1.0 / 1000)) + 0.002);
        }
    wf_arena_free(A);
}

/* ---- closed forms ---- */

WF_TEST(linear_birth_and_death)
{
    enum { N = 20000, T = 3, START = 20 };
    static int32_t out[N][T];
    const int change[2] = { 1, -1 }, reactants[2] = { 1, 1 };
    const double rate[2] = { 0.7, 0.4 }, times[T] = { 0, 0.5, 2 };
    const int32_t start[1] = { START };
    const wf_reaction_system births = { 1, 2, change, reactants, rate, NULL, 0, NULL, NULL, NULL };
    wf_arena *A = wf_arena_new(NULL);
    CHECK(wf_simulate(A, &births, start, times, T, N, NULL, &out[0][0]) == WF_OK);
    for (size_t k = 0; k < T; k++) {
        double growth = exp(0.3 * times[k]), m, v;
        double mean = START * growth, variance = START * (1.1 / 0.3) * growth * (growth - 1);
        moments(&out[0][0], N, T, 1, k, 0, &m, &v);
        CHECK_CLOSE(m, mean, 4 * sqrt(variance / N) + 1e-12);
        CHECK_CLOSE(v, variance, 4 * variance * sqrt(2.5 / N) + 1e-12);   /* a sum of 20 independent families: kurtosis at most 3.5 */
    }
    wf_arena_free(A);
}

/* Immigration at rate c (1 + e sin(2 pi t / P)), death at rate 1: from an empty start the count is Poisson with a known mean. A frozen rate gives
   another one, so this tells exact thinning from everything else. */
static double seasonal_mean(double c, double e, double period, double t)
{
    double w = 6.283185307179586 / period;
    return c * (1 - exp(-t)) + c * e * (sin(w * t) - w * cos(w * t) + w * exp(-t)) / (1 + w * w);
}

static void seasonal(void *user, double t, const int32_t *x, double *a)
{
    (void)user;
    a[0] = 2 * (1 - 0.9 * sin(6.283185307179586 * t / 1.5));
    a[1] = x[0];
}

static void seasonal_bound(void *user, double t, const int32_t *x, double *a)
{
    (void)user;
    (void)t;
    a[0] = 2 * 1.9;
    a[1] = x[0];
}

WF_TEST(thinning_is_exact)
{
    enum { N = 40000, T = 6 };
    static int32_t out[N][T];
    const int change[2] = { 1, -1 }, reactants[2] = { 0, 1 };
    const double rate[2] = { 2, 1 }, swing[2] = { -0.9, 0 }, times[T] = { 0.3, 0.6, 0.9, 1.2, 1.5, 7.3 };
    const int32_t empty[1] = { 0 };
    const wf_reaction_system system[2] = { { 1, 2, change, reactants, rate, swing, 1.5, NULL, NULL, NULL },
                                           { 1, 2, change, NULL, NULL, NULL, 0, seasonal, seasonal_bound, NULL } };
    wf_arena *A = wf_arena_new(NULL);
    wf_simulate_desc desc = { 0 };
    double worst = 0;
    for (int pass = 0; pass < 3; pass++) {   /* tables, functions, frozen */
        desc.seed = 3 + (uint64_t)pass;
        desc.frozen = pass == 2;
        CHECK(wf_simulate(A, &system[pass == 1], empty, times, T, N, &desc, &out[0][0]) == WF_OK);
        for (size_t k = 0; k < T; k++) {
            double m, v, mean = seasonal_mean(2, -0.9, 1.5, times[k]);
            moments(&out[0][0], N, T, 1, k, 0, &m, &v);
            if (pass == 2) { double e = fabs(m - mean) / sqrt(mean / N); worst = e > worst ? e : worst; continue; }
            CHECK_CLOSE(m, mean, 4 * sqrt(mean / N));
            CHECK_CLOSE(v, mean, 4 * sqrt((mean + 2 * mean * mean) / N));
        }
    }
    CHECK(worst > 20);   /* the frozen rate is wrong by many standard errors, and this test can see it */
    wf_arena_free(A);
}

WF_TEST(mass_action_counts_choices)
{
    /* 2 A -> B at 0.5 a pair, from 3: one event at rate 1.5, none after. 3 A -> B at 0.2, from 5: rate 0.2 * 10, then only 2 are left. */
    enum { N = 20000 };
    static int32_t out[N][2][2];
    const double times[2] = { 0.4, 1e6 };
    wf_arena *A = wf_arena_new(NULL);
    for (int k = 2; k <= 3; k++) {
        const int change[2] = { -k, 1 }, reactants[2] = { k, 0 };
        const double rate = k == 2 ? 0.5 : 0.2, total = k == 2 ? 1.5 : 2.0;
        const int32_t start[2] = { k == 2 ? 3 : 5, 0 };
        const wf_reaction_system pairs = { 2, 1, change, reactants, &rate, NULL, 0, NULL, NULL, NULL };
        CHECK(wf_simulate(A, &pairs, start, times, 2, N, NULL, &out[0][0][0]) == WF_OK);
        double none = 0, p = exp(-total * 0.4);
        for (int i = 0; i < N; i++) {
            none += out[i][0][1] == 0;
            CHECK(out[i][1][0] == (k == 2 ? 1 : 2) && out[i][1][1] == 1);
            CHECK(out[i][0][0] + k * out[i][0][1] == start[0]);   /* what a reaction conserves is conserved at all times */
        }
        CHECK_CLOSE(none / N, p, 4 * sqrt(p * (1 - p) / N));
    }
    wf_arena_free(A);
}

/* ---- the epidemic of the paper ---- */

enum { RUNS = 40000 };
static int32_t epidemics[RUNS][101][3];

WF_TEST(the_epidemic_has_the_known_means)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_simulate_desc desc = { 0 };
    desc.frozen = 1;
    desc.seed = 1;
    CHECK(wf_epidemic(A, RUNS, &desc, &epidemics[0][0][0]) == WF_OK);
    /* 40,000 runs of another program with frozen rates, printed to three digits */
    static const int when[3] = { 10, 50, 100 };
    static const double means[3][3] = { { 41.084, 14.160, 1.211 }, { 15.768, 15.390, 7.170 }, { 8.603, 5.735, 10.219 } };
    static const double sds[3][3] = { { 3.616, 3.660, 1.084 }, { 6.450, 4.671, 2.589 }, { 4.784, 2.923, 3.021 } };   /* of the published data */
    for (size_t k = 0; k < 3; k++)
        for (size_t j = 0; j < 3; j++) {
            double m, v;
            moments(&epidemics[0][0][0], RUNS, 101, 3, (size_t)when[k], j, &m, &v);
            CHECK_CLOSE(m, means[k][j], 4 * sqrt(v * 2 / RUNS) + 0.0005);
            CHECK_CLOSE(sqrt(v), sds[k][j], 0.12 * sds[k][j]);   /* theirs are of 1000 runs: 4/sqrt(2000) = 0.09, and a third more for skewness */
        }
    double frozen, exact, v, sd;
    moments(&epidemics[0][0][0], RUNS, 101, 3, 4, 0, &frozen, &v);
    sd = sqrt(v);
    desc.frozen = 0;
    desc.seed = 2;
    CHECK(wf_epidemic(A, RUNS, &desc, &epidemics[0][0][0]) == WF_OK);
    moments(&epidemics[0][0][0], RUNS, 101, 3, 4, 0, &exact, &v);
    /* susceptibles at time 2: 46.34 frozen, 46.21 exact, printed to two digits, from runs of a size not told: taken as 40,000 */
    CHECK_CLOSE(frozen, 46.34, 4 * sd * sqrt(2.0 / RUNS) + 0.005);
    CHECK_CLOSE(exact, 46.21, 4 * sd * sqrt(2.0 / RUNS) + 0.005);
    CHECK(frozen - exact > 4 * sd * sqrt(2.0 / RUNS));   /* visibly different */
    int grown = 0;
    for (int i = 0; i < RUNS; i++) {
        CHECK(epidemics[i][0][0] == 50 && epidemics[i][0][1] == 10 && epidemics[i][0][2] == 0);
        int alive = 60;   /* nobody is born */
        for (int k = 0; k <= 100; k++) {
            const int32_t *x = epidemics[i][k];
            int now = (int)(x[0] + x[1] + x[2]);
            grown += x[0] < 0 || x[1] < 0 || x[2] < 0 || now > alive;
            alive = now;
        }
    }
    CHECK_INT(grown, 0);
    wf_arena_free(A);
}

/* ---- the same for any number of threads ---- */

static void backwards(void *user, int tasks, void (*task)(void *context, int index), void *context)
{
    ++*(int *)user;
    while (tasks-- > 0) task(context, tasks);
}

WF_TEST(any_number_of_threads_gives_the_same_bits)
{
    enum { N = 333 };
    static int32_t one[N][101][3], other[N][101][3];
    int calls = 0;
    wf_parallel mine = { backwards, NULL, 4 };
    wf_arena *A = wf_arena_new(NULL);
    wf_simulate_desc desc = { 0 };
    mine.user = &calls;
    desc.seed = 99;
    desc.threads = 1;
    CHECK(wf_epidemic(A, N, &desc, &one[0][0][0]) == WF_OK);
    static const int threads[5] = { 0, 2, 3, 7, 4 };
    for (int i = 0; i < 5; i++) {
        memset(other, 1, sizeof other);
        desc.threads = threads[i];
        desc.parallel = i == 4 ? &mine : NULL;
        CHECK(wf_epidemic(A, N, &desc, &other[0][0][0]) == WF_OK);
        CHECK(!memcmp(one, other, sizeof one));
    }
    CHECK(calls > 0);
    CHECK(wf_epidemic(A, 5, &desc, &other[0][0][0]) == WF_OK);   /* fewer trajectories: the same ones */
    CHECK(!memcmp(one, other, 5 * sizeof one[0]));
    desc.seed = 100;
    CHECK(wf_epidemic(A, N, &desc, &other[0][0][0]) == WF_OK);
    CHECK(memcmp(one, other, sizeof one));
    int alike = 0;
    for (int i = 1; i < N; i++) alike += !memcmp(one[0], one[i], sizeof one[0]);
    CHECK_INT(alike, 0);
    wf_arena_free(A);
}

WF_TEST(the_bits_are_pinned)
{
    static int32_t x[50][101][3];
    wf_arena *A = wf_arena_new(NULL);
    wf_simulate_desc desc = { 0 };
    desc.seed = 2024;
    CHECK(wf_epidemic(A, 50, &desc, &x[0][0][0]) == WF_OK);
    uint64_t h = 0xCBF29CE484222325ull;
    for (size_t i = 0; i < sizeof x / 4; i++) h = (h ^ (uint64_t)(unsigned)(&x[0][0][0])[i]) * 0x100000001B3ull;
    CHECK_INT(h, 5055043817527990884);
    wf_arena_free(A);
}

/* ---- progress ---- */

typedef struct meter { double last, total; int calls, stop_at; } meter;

static int measure(void *user, const char *what, double done, double total)
{
    meter *m = (meter *)user;
    CHECK_STR_HAS(what, "trajectories");
    CHECK(done >= m->last && done <= total);
    m->last = done;
    m->total = total;
    return ++m->calls == m->stop_at;
}

WF_TEST(progress_is_told_and_may_cancel)
{
    static int32_t x[500][101][3];
    wf_arena *A = wf_arena_new(NULL);
    meter all = { 0, 0, 0, 0 }, some = { 0, 0, 0, 3 };
    wf_simulate_desc desc = { 0 };
    desc.progress = measure;
    desc.progress_user = &all;
    CHECK(wf_epidemic(A, 500, &desc, &x[0][0][0]) == WF_OK);
    CHECK(all.calls > 10 && all.last == 500 && all.total == 500 && x[499][0][0] == 50);
    desc.progress_user = &some;
    CHECK(wf_epidemic(A, 500, &desc, &x[0][0][0]) == WF_CANCELLED);
    CHECK(some.calls == 3 && some.last < 100);
    for (int i = 0; i < 500; i++) CHECK(x[i][0][0] == 0);
    CHECK(wf_arena_report(A)->code == WF_OK);
    wf_arena_free(A);
}

/* ---- what the user got wrong ---- */

static double bad_value;

static void bad(void *user, double t, const int32_t *x, double *a)
{
    (void)user;
    (void)x;
    a[0] = t > 0.5 ? bad_value : 1;
}

static void low_bound(void *user, double t, const int32_t *x, double *a)
{
    (void)user;
    (void)t;
    (void)x;
    a[0] = 1;
}

#define EXPECT(call, wanted, part) \
    do { memset(out, 1, sizeof out); CHECK_INT(call, wanted); CHECK_STR_HAS(wf_arena_report(A)->text, part); CHECK_INT(wf_arena_report(A)->code, wanted); wf_arena_clear(A); } while (0)

WF_TEST(mistakes_are_named)
{
    static int32_t out[3][3][2];
    int32_t *o = &out[0][0][0];
    wf_arena *A = wf_arena_new(NULL);
    const int change[4] = { -1, 1, 1, -1 }, reactants[4] = { 1, 0, 0, 1 }, negative[4] = { 1, 0, 0, -1 };
    double rate[2] = { 1, 1 }, swing[2] = { 0.5, 0 };
    const double times[3] = { 0, 1, 2 }, unsorted[3] = { 0, 2, 1 }, broken[3] = { 0, strtod("nan", NULL), 1 }, early[3] = { -1, 0, 1 };
    const int32_t start[2] = { 5, 0 }, minus[2] = { 5, -3 };
    wf_reaction_system good = { 2, 2, change, reactants, rate, NULL, 0, NULL, NULL, NULL }, s = good;
    wf_simulate_desc desc = { 0 };
    CHECK(wf_simulate(A, &good, start, times, 3, 3, NULL, o) == WF_OK);
    EXPECT(wf_simulate(A, &good, minus, times, 3, 3, NULL, o), WF_ERROR_DATA, "species 1 is -3");
    EXPECT(wf_simulate(A, &good, start, unsorted, 3, 3, NULL, o), WF_ERROR_DATA, "times[2] = 1 comes before 2");
    EXPECT(wf_simulate(A, &good, start, early, 3, 3, NULL, o), WF_ERROR_DATA, "times[0] = -1 comes before 0");
    EXPECT(wf_simulate(A, &good, start, broken, 3, 3, NULL, o), WF_ERROR_DATA, "times[1] is nan");
    EXPECT(wf_simulate(A, &good, start, times, 3, 0, NULL, o), WF_ERROR_DATA, "0 trajectories");
    EXPECT(wf_simulate(A, &good, start, times, 0, 3, NULL, o), WF_ERROR_DATA, "0 times");
    EXPECT(wf_simulate(A, &good, NULL, times, 3, 3, NULL, o), WF_ERROR_ARGUMENT, "NULL");
    EXPECT(wf_simulate(A, NULL, start, times, 3, 3, NULL, o), WF_ERROR_ARGUMENT, "system");
    EXPECT(wf_simulate(A, &good, start, times, (size_t)-1 / 4, 1000, NULL, o), WF_ERROR_LIMIT, "too many");
    EXPECT(wf_simulate(A, &good, start, times, 1, (size_t)-1 / 64, NULL, o), WF_ERROR_LIMIT, "more than 2^32");
    rate[1] = strtod("nan", NULL);
    EXPECT(wf_simulate(A, &good, start, times, 3, 3, NULL, o), WF_ERROR_DATA, "rate of reaction 1 is nan");
    rate[1] = -2;
    EXPECT(wf_simulate(A, &good, start, times, 3, 3, NULL, o), WF_ERROR_DATA, "rate of reaction 1 is -2");
    rate[1] = 1;
    s.reactants = negative;
    EXPECT(wf_simulate(A, &s, start, times, 3, 3, NULL, o), WF_ERROR_DATA, "negative number of species 1");
    s = good;
    s.swing = swing;
    EXPECT(wf_simulate(A, &s, start, times, 3, 3, NULL, o), WF_ERROR_DATA, "period is 0");
    s.period = 1;
    swing[0] = 1.5;
    EXPECT(wf_simulate(A, &s, start, times, 3, 3, NULL, o), WF_ERROR_DATA, "swing of reaction 0 is 1.5");
    desc.start = HUGE_VAL;
    EXPECT(wf_simulate(A, &good, start, times, 3, 3, &desc, o), WF_ERROR_DATA, "start time is inf");
    wf_arena_free(A);
}

WF_TEST(what_goes_wrong_on_the_way_is_named)
{
    static int32_t out[64][2][1];
    int32_t *o = &out[0][0][0];
    wf_arena *A = wf_arena_new(NULL);
    const int up = 1, down = -1, two = 2;
    const double rate = 1, times[2] = { 0, 100 };
    const int32_t one[1] = { 1 }, huge[1] = { 0x7FFFFFFF }, two_left[1] = { 2 };
    wf_reaction_system s = { 1, 1, &up, NULL, NULL, NULL, 0, bad, NULL, NULL };
    wf_simulate_desc desc = { 0 };
    bad_value = strtod("nan", NULL);
    desc.frozen = 1;
    EXPECT(wf_simulate(A, &s, one, times, 2, 64, &desc, o), WF_ERROR_NUMERIC, "trajectory 0, time ");
    EXPECT(wf_simulate(A, &s, one, times, 2, 64, &desc, o), WF_ERROR_NUMERIC, "propensity of reaction 0 is nan");
    for (int i = 0; i < 64; i++) CHECK(out[i][0][0] == 0x01010101 || out[i][0][0] == 0);
    bad_value = -1;
    EXPECT(wf_simulate(A, &s, one, times, 2, 64, &desc, o), WF_ERROR_NUMERIC, "is -1");
    s.bound = low_bound;
    desc.frozen = 0;
    bad_value = 3;
    EXPECT(wf_simulate(A, &s, one, times, 2, 64, &desc, o), WF_ERROR_NUMERIC, "propensities sum to 3, above their bound 1");
    wf_reaction_system blind = { 1, 1, &down, NULL, NULL, NULL, 0, low_bound, NULL, NULL };   /* dies at rate 1 whether anybody lives or not */
    EXPECT(wf_simulate(A, &blind, one, times, 2, 64, NULL, o), WF_ERROR_NUMERIC, "reaction 0 takes the count of species 0 below zero");
    wf_reaction_system grow = { 1, 1, &up, NULL, NULL, NULL, 0, low_bound, NULL, NULL };
    EXPECT(wf_simulate(A, &grow, huge, times, 2, 64, NULL, o), WF_ERROR_LIMIT, "past 2^31");
    wf_reaction_system explode = { 1, 1, &up, &two, &rate, NULL, 0, NULL, NULL, NULL };   /* 2 X -> 3 X: infinitely many in finite time */
    desc.most_events = 1000;
    EXPECT(wf_simulate(A, &explode, two_left, times, 2, 64, &desc, o), WF_ERROR_LIMIT, "more than 1000 events");
    memset(out, 1, sizeof out);
    CHECK(wf_simulate(A, &explode, two_left, times, 2, 64, &desc, o) == WF_ERROR_LIMIT);
    for (int i = 0; i < 64; i++) CHECK(out[i][0][0] == 0 && out[i][1][0] == 0);   /* a failure leaves zeros */
    wf_arena_free(A);
}

WF_TEST(the_first_failing_trajectory_is_reported)
{
    static int32_t out[64][2][1];
    const int down = -1;
    const double times[2] = { 0, 3 };
    const int32_t start[1] = { 5 };
    char first[248] = "";
    wf_reaction_system blind = { 1, 1, &down, NULL, NULL, NULL, 0, low_bound, NULL, NULL };
    wf_parallel mine = { backwards, NULL, 4 };
    int calls = 0;
    mine.user = &calls;
    for (int i = 0; i < 4; i++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_simulate_desc desc = { 0 };
        desc.threads = 1 + i;
        desc.parallel = i == 3 ? &mine : NULL;
        CHECK(wf_simulate(A, &blind, start, times, 2, 64, &desc, &out[0][0][0]) == WF_ERROR_NUMERIC);
        if (i == 0) strcpy(first, wf_arena_report(A)->text);
        CHECK(!strcmp(first, wf_arena_report(A)->text));
        wf_arena_free(A);
    }
    CHECK(strstr(first, "trajectory") && !strstr(first, "trajectory 0,"));   /* fewer than 6 events in 3 units of time: 92 % of the trajectories */
}

/* ---- systems from texts ---- */

/* mean of species j at point k of a known system, and its standard deviation */
static void known_moments(const wf_reactions *w, const int32_t *x, size_t n, size_t k, size_t j, double *mean, double *sd)
{
    moments(x, n, (size_t)w->times, (size_t)w->system.species, k, j, mean, sd);
    *sd = sqrt(*sd);
}

static int32_t *known(wf_arena *A, const char *name, size_t n, const wf_simulate_desc *desc, wf_reactions **w)
{
    *w = wf_reactions_named(A, name);
    CHECK(*w != NULL);
    if (!*w) return NULL;
    int32_t *x = (int32_t *)wf_alloc(A, n * (size_t)(*w)->times * (size_t)(*w)->system.species, sizeof *x);
    CHECK_INT(wf_reactions_simulate(A, *w, NULL, 0, n, desc, x), WF_OK);
    return x;
}

WF_TEST(known_systems_have_the_known_moments)
{
    enum { N = 300 };
    wf_arena *A = wf_arena_new(NULL);
    wf_simulate_desc desc = { 0 };
    wf_reactions *w;
    double m, sd;
    desc.seed = 5;
    /* 1000 runs each of another program, printed to two or three digits: PX of the toggle switch, then the cascades */
    static const struct { const char *name; size_t k, j; double mean, sd; } table[] = {
        { "toggle", 1, 2, 16.55, 4.11 }, { "toggle", 2, 2, 27.40, 5.50 }, { "toggle", 5, 2, 39.31, 10.92 }, { "toggle", 10, 2, 35.84, 19.51 }, { "toggle", 20, 2, 28.6, 23.4 },
        { "toggle", 100, 2, 28.0, 23.6 }, { "toggle", 5, 0, 0.842, 0.365 }, { "toggle", 10, 0, 0.657, 0.475 }, { "toggle", 100, 0, 0.571, 0.495 },
        { "cascade1", 10, 0, 1.668, 1.29 }, { "cascade1", 10, 1, 1.329, 1.15 }, { "cascade1", 10, 4, 0.603, 0.78 }, { "cascade1", 50, 0, 1.671, 1.29 },
        { "cascade1", 50, 1, 1.417, 1.19 }, { "cascade1", 50, 14, 0.708, 0.84 }, { "cascade1", 100, 0, 1.650, 1.28 }, { "cascade1", 100, 4, 0.780, 0.88 },
        { "cascade1", 100, 9, 0.302, 0.55 }, { "cascade1", 100, 14, 0.809, 0.90 },   /* deviations of the cascade: Poisson */
        { "cascade2", 100, 0, 1.05, 1.05 }, { "cascade2", 100, 14, 2.43, 1.53 },
        { "epidemic", 10, 0, 41.1, 3.62 }, { "epidemic", 50, 1, 15.4, 4.67 }, { "epidemic", 100, 2, 10.2, 3.02 },
    };
    const char *name = "";
    int32_t *x = NULL;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(name, table[i].name)) x = known(A, name = table[i].name, N, &desc, &w);
        if (!x) break;
        known_moments(w, x, N, table[i].k, table[i].j, &m, &sd);
        CHECK_CLOSE(m, table[i].mean, 4 * table[i].sd * sqrt(1.0 / N + 1.0 / 1000) + 0.005);
        CHECK_CLOSE(sd, table[i].sd, 4 * table[i].sd * sqrt(0.75 * (1.0 / N + 1.0 / 1000)));   /* half for a normal count, a little more for others */
    }
    wf_arena_free(A);
}

WF_TEST(the_epidemic_as_a_text_is_the_epidemic)
{
    enum { N = 300 };
    static int32_t y[N][101][3];
    wf_arena *A = wf_arena_new(NULL);
    wf_simulate_desc desc = { 0 };
    wf_reactions *w;
    desc.seed = 11;
    for (desc.frozen = 0; desc.frozen < 2; desc.frozen++) {
        int32_t *x = known(A, "epidemic", N, &desc, &w);
        CHECK(wf_epidemic(A, N, &desc, &y[0][0][0]) == WF_OK);
        int different = 0;
        for (int i = 0; i < N; i++) different += memcmp(x + (size_t)i * 303, y[i], sizeof y[i]) != 0;
        CHECK(different <= 1);   /* the same draws; the rates differ by roundings, which decide in one event of 10^13 */
        CHECK_STR_HAS(w->species[2], "R");
        CHECK(w->times == 101 && w->to == 50 && w->low[0] == 50);
    }
    wf_arena_free(A);
}

WF_TEST(the_walk_starts_anywhere_and_ends_on_the_ridge)
{
    enum { N = 2500, B = 10 };
    wf_arena *A = wf_arena_new(NULL);
    wf_reactions *w = wf_reactions_named(A, "walk");
    wf_simulate_desc desc = { 0 };
    const double times[3] = { 0, 20, 2000 };
    int32_t *x = (int32_t *)wf_alloc(A, 3 * 2 * N, sizeof *x);
    desc.seed = 3;
    CHECK(wf_reactions_simulate(A, w, times, 3, N, &desc, x) == WF_OK);
    static double expected[100][100], seen[100][100], start[B][B];
    double total = 0, chi[2] = { 0, 0 }, cells = 0;
    for (int i = 0; i < 100; i++)
        for (int j = 0; j < 100; j++) total += expected[i][j] = exp(2 * 99 * wf__walk_fitness(i, j));   /* detailed balance */
    for (size_t i = 0; i < N; i++) {
        const int32_t *r = x + i * 6;
        for (int k = 0; k < 6; k++) CHECK(r[k] >= 0 && r[k] < 100);
        start[r[0] / B][r[1] / B]++;
        seen[r[4]][r[5]]++;
    }
    for (int i = 0; i < 100; i++)
        for (int j = 0; j < 100; j++) {
            double even = N / 100.0, d = start[i / B][j / B] - even, want = N * expected[i][j] / total;
            if (i % B == 0 && j % B == 0) chi[0] += d * d / even;
            if (want < 5) continue;
            chi[1] += (seen[i][j] - want) * (seen[i][j] - want) / want;
            cells++;
        }
    CHECK(chi[0] < 99 + 4 * sqrt(2 * 99));   /* uniform */
    CHECK(cells > 50 && chi[1] < cells + 4 * sqrt(2 * cells));   /* the stationary law; the valleys are empty at 100, and the ridge is found within some 100 more */
    wf_arena_free(A);
}

WF_TEST(a_start_of_ones_own_is_checked)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_reactions *w = wf_reactions_named(A, "walk");
    double times[2] = { 0, 1 };
    int32_t out[6];
    for (int k = 0; k < 2; k++) {
        const int32_t outside[2][2] = { { 100000, 3 }, { 3, 100 } }, less[3] = { 50, -1, 0 };
        for (int i = 0; i < 6; i++) out[i] = 7;
        CHECK_INT(wf_simulate(A, &w->system, outside[k], times, 2, 1, NULL, out), WF_ERROR_NUMERIC);
        wf_arena_clear(A);
        for (int i = 0; i < 6; i++) out[i] = 7;
        CHECK_INT(wf_simulate(A, wf_epidemic_system(), less, times, 2, 1, NULL, out), WF_ERROR_DATA);
        for (int i = 0; i < 6; i++) CHECK_INT(out[i], 0); /* zeros after any failure */
        wf_arena_clear(A);
    }
    wf_arena_free(A);
}

WF_TEST(each_trajectory_may_have_its_own_start)
{
    static int32_t out[3][1][2], one[1][1][2];
    const int change[2] = { -1, 1 }, reactants[2] = { 1, 0 };
    const double rate = 1, now = 0, later = 0.7;
    const int32_t starts[6] = { 9, 0, 5, 1, 0, 7 };
    const wf_reaction_system s = { 2, 1, change, reactants, &rate, NULL, 0, NULL, NULL, NULL };
    wf_simulate_desc desc = { 0 };
    wf_arena *A = wf_arena_new(NULL);
    desc.starts = 1;
    CHECK(wf_simulate(A, &s, starts, &now, 1, 3, &desc, &out[0][0][0]) == WF_OK);
    CHECK(!memcmp(out, starts, sizeof starts));
    CHECK(wf_simulate(A, &s, starts, &later, 1, 3, &desc, &out[0][0][0]) == WF_OK);
    CHECK(out[0][0][0] + out[0][0][1] == 9 && out[1][0][0] + out[1][0][1] == 6 && out[2][0][1] == 7);
    desc.starts = 0;
    CHECK(wf_simulate(A, &s, starts, &later, 1, 1, &desc, &one[0][0][0]) == WF_OK);
    CHECK(!memcmp(one, out, sizeof one));
    const int32_t bad_starts[6] = { 9, 0, 5, -1, 0, 7 };
    desc.starts = 1;
    CHECK(wf_simulate(A, &s, bad_starts, &later, 1, 3, &desc, &out[0][0][0]) == WF_ERROR_DATA);
    CHECK_STR_HAS(wf_arena_report(A)->text, "species 1 is -1");
    wf_arena_free(A);
}

WF_TEST(expressions_are_computed)
{
    static const struct { const char *text; double value; } table[] = {
        { "1 + 2 * 3", 7 }, { "(1 + 2) * 3", 9 }, { "2 * 3 ^ 2", 18 }, { "10 - 4 - 3", 3 }, { "16 / 4 / 2", 2 }, { "8 - -3 ^ 2", 17 }, { "2 - (-1) ^ 3", 3 }, { "1e1 + .5", 10.5 },
        { "min(3, max(1, 2)) + abs(-4)", 6 }, { "(2 < 3) + (2 > 3) + (3 <= 3) * 10 + (3 >= 4)", 11 }, { "2 ^ 0 + 0 ^ 0", 2 }, { "exp(log(7))", 7 }, { "sqrt(2) ^ 2", 2 },
        { "sin(pi / 6) + cos(-pi / 3) + sin(1)^2 + cos(1)^2", 2 }, { "exp(0) + sin(1e6 * 2 * pi)", 1 }, { "p * i + 3", 2.5 * 4 + 3 }, { "1000 * 3 < 2 + 1", 0 },
    };
    wf_arena *A = wf_arena_new(NULL);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char text[256];
        int n = snprintf(text, sizeof text, "parameter p = 5/2\nspecies X = 0\nreaction -> X  rate %s  for i = 4 to 4\n", table[i].text);
        wf_reactions *w = wf_reactions_parse(A, text, (size_t)n, "text");
        CHECK(w != NULL && w->system.rate != NULL && w->system.propensity == NULL);
        if (w) CHECK_CLOSE(w->system.rate[0], table[i].value, 1e-9);   /* the sine of a million turns loses six digits of 16 */
        else printf("%s: %s\n", table[i].text, wf_arena_report(A)->text);
    }
    double worst = 0;
    for (double x = -700; x < 700; x += 0.37) worst = fmax(worst, fabs(wf__exp(x) / exp(x) - 1));
    CHECK(worst < 4e-16 * 3);   /* three roundings: the last product, the sum, and half of one in the reduction */
    wf_arena_free(A);
}

WF_TEST(what_is_wrong_with_a_text_is_named)
{
    static const char *const start = "species A = 3\nspecies B = 0\n";
    static const struct { const char *text, *part; } table[] = {
        { "reaction A -> C rate 1", "line 3: no species is called C" }, { "reaction A + -> B rate 1", "line 3: expected a species" }, { "reaction A B rate 1", "line 3: expected ->" },
        { "reaction A -> B", "line 3: expected `rate` or `propensity`" }, { "reaction A -> B rate", "line 3: expected a number or a name" }, { "reaction A -> B rate -1", "line 3: the rate is negative" },
        { "reaction A -> B rate 1/0", "line 3: the rate is negative or not finite" }, { "reaction A -> B rate k", "line 3: no species or parameter is called k" },
        { "reaction A -> B rate t", "depends on t; write after it: bound" }, { "reaction A -> B rate t bound 2 * t", "a bound cannot depend on t" }, { "reaction A -> B rate (1", "line 3: expected )" },
        { "reaction A -> B rate 1 2", "line 3: did not expect `2`" }, { "reaction A -> B rate A ^ B", "expected a whole number" }, { "reaction A -> B rate 2 ^ 65", "a power above 64" },
        { "reaction A -> B rate min(1)", "min needs two" }, { "reaction A -> B rate exp 1", "expected ( and an expression after exp" }, { "reaction A -> B rate 1e999", "too large" },
        { "reaction 2000 A -> B rate 1", "more than a thousand of A" }, { "reaction 99999999999 A -> B rate 1", "above a million" }, { "species A = 3", "line 3: the name A is taken" },
        { "species C = -1", "line 3: -1 is not a whole number" }, { "species C = 1.5", "1.5 is not a whole number" }, { "species C = 5 to 3", "end before they begin" }, { "species t = 3", "meaning of its own" },
        { "species C = A", "cannot depend on counts" }, { "parameter p", "expected = after p" }, { "parameter p = 0/0", "not finite" }, { "nonsense", "line 3: nonsense is not a statement" }, { "= 3", "expected a statement" },
        { "time 0 to 1", "expected: time FROM to TO points NUMBER" }, { "time 1 to 0 points 5", "an end after the start" }, { "time 0 to 1 points 1", "two points at least" },
        { "time 0 to 1 points 3\ntime 0 to 1 points 3", "line 4: the times are given twice" }, { "reaction A -> B rate 1 for i = 3 to 1", "from 1 to 8192 rounds" },
        { "reaction A -> B rate 1 for = 3 to 1", "expected a name after `for`" }, { "reaction A -> B rate 1 for i = 3", "for NAME = FROM to TO" }, { "reaction A -> B[j] rate 1", "j is not the name after `for`" },
        { "reaction A -> B[i-2] rate 1 for i = 1 to 3", "index of B is below zero" }, { "reaction A -> B[1 rate 1", "expected ] after the index of B" }, { "reaction A -> B rate 1\nspecies C = 1", "line 4: species stand before" },
        { "time 0 to 1 points 3 for i = 1 to 2", "cannot be repeated" }, { "species aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa = 1", "longer than 31" }, { "", "has no reaction" }, { "species Z[i] = 0 for i = 1 to 600", "more than 512 species" },
        { "reaction A -> B rate 1 for i = 1 to 8192\nreaction A -> B rate 1", "line 4: more than 8192 reactions" }, { "reaction A -> B rate \x01", "not plain text" }, { "reaction A -> B rate \xC3\xA9", "not plain text" },
    };
    wf_arena *A = wf_arena_new(NULL);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char text[512];
        int n = snprintf(text, sizeof text, "%s%s\n", start, table[i].text);
        CHECK(wf_reactions_parse(A, text, (size_t)n, "a.txt") == NULL);
        CHECK_STR_HAS(wf_arena_report(A)->text, table[i].part);
        CHECK_STR_HAS(wf_arena_report(A)->text, "a.txt: line ");
        wf_arena_clear(A);
    }
    CHECK(wf_reactions_parse(A, "", 0, "a.txt") == NULL);
    CHECK_STR_HAS(wf_arena_report(A)->text, "no species");
    wf_arena_clear(A);
    static char deep[4096] = "species A = 1\nreaction A -> rate ";
    size_t at = strlen(deep);
    memset(deep + at, '(', 2000);
    CHECK(wf_reactions_parse(A, deep, at + 2000, "a.txt") == NULL);
    CHECK_STR_HAS(wf_arena_report(A)->text, "nested too deep");
    wf_arena_clear(A);
    for (int i = 0; i < 200; i++) { deep[at + 4 * (size_t)i] = '1'; deep[at + 4 * (size_t)i + 1] = '-'; deep[at + 4 * (size_t)i + 2] = '('; deep[at + 4 * (size_t)i + 3] = ' '; }
    CHECK(wf_reactions_parse(A, deep, at + 800, "a.txt") == NULL);
    CHECK_STR_HAS(wf_arena_report(A)->text, "nested too deep");
    wf_arena_clear(A);
    CHECK(wf_reactions_named(A, "nothing") == NULL);
    CHECK_STR_HAS(wf_arena_report(A)->text, "no system is called nothing");
    wf_arena_clear(A);
    CHECK(wf_reactions_read(A, "there/is/no/such.txt") == NULL);
    CHECK_STR_HAS(wf_arena_report(A)->text, "there/is/no/such.txt");
    wf_arena_free(A);
}

/* Any bytes are either a system or an error: known texts with bytes replaced, dropped, doubled. */
WF_TEST(damaged_texts_are_read_or_refused)
{
    wf_rng r;
    int good = 0;
    wf_rng_init(&r, 8, 0);
    for (int round = 0; round < 4000; round++) {
        char text[2048];
        const char *source = wf_reactions_text(wf_reactions_known(round % 4));
        size_t n = strlen(source);
        memcpy(text, source, n);
        for (uint32_t hits = 1 + wf_rng_below(&r, 4); hits--;) {
            size_t a = wf_rng_below(&r, (uint32_t)n), b = wf_rng_below(&r, (uint32_t)n), length = 1 + wf_rng_below(&r, 12);
            if (a + length > n || b + length > n) continue;
            if (wf_rng_below(&r, 2)) memmove(text + a, source + b, length);
            else text[a] = (char)wf_rng_u32(&r);
        }
        n -= wf_rng_below(&r, 3) ? 0 : wf_rng_below(&r, (uint32_t)n);
        char *exact = (char *)malloc(n ? n : 1);   /* so that a sanitizer sees a byte too far */
        memcpy(exact, text, n);
        wf_arena *A = wf_arena_new(NULL);
        wf_reactions *w = wf_reactions_parse(A, exact, n, "damaged");
        CHECK((w != NULL) == (wf_arena_report(A)->code == WF_OK));
        if (w) {
            static int32_t out[512 * 4];
            const double times[2] = { w->from, w->from + 0.01 };
            wf_simulate_desc desc = { 0 };
            desc.most_events = 1000;
            good++;
            wf_reactions_simulate(A, w, times, 2, 2, &desc, out);
        }
        wf_arena_free(A);
        free(exact);
    }
    CHECK(good > 100 && good < 3900);
}

/* ---- leaps ---- */

WF_TEST(poisson_numbers)
{
    enum { N = 20000 };
    static const double mean[6] = { 0.3, 4, 9.9, 10.1, 60, 1e6 };
    wf_rng r;
    wf_rng_init(&r, 4, 0);
    for (int i = 0; i < 6; i++) {
        double sum = 0, square = 0, low = 0, want = 0, p;
        double floor_mean = floor(mean[i]);
        for (int k = 0; k < N; k++) {
            double x = wf__poisson(&r, mean[i]);
            CHECK(x >= 0 && x == floor(x));
            sum += x - mean[i];
            square += (x - mean[i]) * (x - mean[i]);
            low += x <= floor_mean;
        }
        CHECK_CLOSE(sum / N, 0, 4 * sqrt(mean[i] / N));
        CHECK_CLOSE(square / N / mean[i], 1, 4 * sqrt((2 + 1 / mean[i]) / N));
        p = exp(-mean[i]);
        for (int k = 0; k <= floor_mean && mean[i] < 100; k++, p *= mean[i] / k) want += p;
        if (mean[i] < 100) CHECK_CLOSE(low / N, want, 4 * 0.5 / sqrt(N));
    }
    for (double k = 0; k < 300; k++) CHECK_CLOSE(wf__log_factorial(k), lgamma(k + 1), 1e-12 * (1 + lgamma(k + 1)));
}

static long counted;

static void counting(void *user, double t, const int32_t *x, double *a)
{
    (void)user;
    (void)t;
    counted++;
    a[0] = 2000;
    a[1] = 0.5 * x[0];
}

WF_TEST(leaps_keep_the_law_and_save_time)
{
    /* Made at rate 2000, decaying at 1/2 each, from nothing: Poisson with the mean 4000 (1 - exp(-t/2)). */
    enum { N = 400 };
    static int32_t x[N][2];
    static const int change[2] = { 1, -1 };
    const double times[2] = { 1, 6 };
    const int32_t none[1] = { 0 };
    const wf_reaction_system s = { 1, 2, change, NULL, NULL, NULL, 0, counting, NULL, NULL };
    wf_simulate_desc desc = { 0 };
    wf_arena *A = wf_arena_new(NULL);
    desc.threads = 1;
    desc.leap = 0.03;
    CHECK(wf_simulate(A, &s, none, times, 2, N, &desc, &x[0][0]) == WF_OK);
    long leaps = counted;
    for (size_t k = 0; k < 2; k++) {
        double m, v, mean = 4000 * (1 - exp(-times[k] / 2));
        moments(&x[0][0], N, 2, 1, k, 0, &m, &v);
        CHECK_CLOSE(m, mean, 4 * sqrt(mean / N) + 0.01 * mean);   /* the propensity of decay lags by at most 3 % / 3, half of that on average */
        CHECK_CLOSE(v / mean, 1, 4 * sqrt(2.0 / N) + 0.03);
    }
    counted = 0;
    desc.leap = 0;
    CHECK(wf_simulate(A, &s, none, times, 2, 10, &desc, &x[0][0]) == WF_OK);
    CHECK(40 * leaps / 10 < 40 * counted);   /* 400 trajectories in leaps ask for fewer rates than 100 exact ones */
    wf_arena_free(A);
}

WF_TEST(leaps_on_known_systems)
{
    enum { N = 1000 };
    wf_arena *A = wf_arena_new(NULL);
    wf_simulate_desc desc = { 0 };
    wf_reactions *w;
    double m, sd;
    desc.leap = 0.03;
    desc.longest = 0.05;
    int32_t *x = known(A, "toggle", N, &desc, &w);
    known_moments(w, x, N, 5, 2, &m, &sd);
    CHECK_CLOSE(m, 39.31, 4 * 10.92 * sqrt(1.0 / N + 1.0 / 1000) + 0.03 * 39);
    for (size_t i = 0; i < (size_t)N * 101; i++) CHECK(x[4 * i] >= 0 && x[4 * i] <= 1 && x[4 * i + 2] >= 0);
    desc.longest = 0;
    static int32_t y[N][101][3];
    CHECK(wf_epidemic(A, N, &desc, &y[0][0][0]) == WF_OK);   /* a twentieth of the period */
    for (size_t j = 0; j < 3; j++) {
        static const double mean[3] = { 8.603, 5.735, 10.219 }, dev[3] = { 4.784, 2.923, 3.021 };
        double v;
        moments(&y[0][0][0], N, 101, 3, 100, j, &m, &v);
        CHECK_CLOSE(m, mean[j], 4 * dev[j] / sqrt(N) + 0.02 * mean[j]);
    }
    w = wf_reactions_named(A, "epidemic");
    CHECK(wf_reactions_simulate(A, w, NULL, 0, 3, &desc, &y[0][0][0]) == WF_ERROR_ARGUMENT);
    CHECK_STR_HAS(wf_arena_report(A)->text, "leaps need the longest allowed");
    wf_arena_clear(A);
    desc.leap = -1;
    CHECK(wf_epidemic(A, 3, &desc, &y[0][0][0]) == WF_ERROR_ARGUMENT);
    CHECK_STR_HAS(wf_arena_report(A)->text, "leap is -1");
    wf_arena_free(A);
}

WF_TEST(leaps_never_take_what_is_not_there)
{
    /* A and B pair to C and fall apart: A + C and B + C stay. Many C from few A, so that critical reactions and undone leaps occur. */
    enum { N = 300, T = 5 };
    static int32_t x[N][T][3];
    static const char text[] = "species A = 3000\nspecies B = 2970\nspecies C = 0\nreaction A + B -> C rate 0.01\nreaction C -> A + B rate 0.05\nreaction 3 A -> 3 A rate 1e-9\n";
    const double times[T] = { 0.01, 0.1, 1, 5, 50 };
    wf_arena *A = wf_arena_new(NULL);
    wf_reactions *w = wf_reactions_parse(A, text, sizeof text - 1, "pairs");
    wf_simulate_desc desc = { 0 };
    CHECK(w != NULL);
    desc.leap = 1;   /* as bold as it gets */
    CHECK(wf_reactions_simulate(A, w, times, T, N, &desc, &x[0][0][0]) == WF_OK);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < T; k++) {
            CHECK(x[i][k][0] >= 0 && x[i][k][1] >= 0 && x[i][k][2] >= 0);
            CHECK(x[i][k][0] + x[i][k][2] == 3000 && x[i][k][1] + x[i][k][2] == 2970);
        }
    wf_arena_free(A);
}

WF_TEST(what_takes_without_asking_is_named_in_leaps_too) /* a reaction that removes what it does not need; once this was a leap tried for ever */
{
    wf_arena *A = wf_arena_new(NULL);
    const int change = -1, reactants = 0;
    const int32_t few = 5, many = 4000;
    double rate = 1, times[2] = { 0, 50 };
    int32_t out[2] = { 7, 7 };
    wf_reaction_system s = { .species = 1, .reactions = 1, .change = &change, .reactants = &reactants, .rate = &rate };
    wf_simulate_desc d = { .leap = 0.03 };
    for (int k = 0; k < 2; k++) {
        if (k) rate = 1000;
        CHECK_INT(wf_simulate(A, &s, k ? &many : &few, times, 2, 1, &d, out), WF_ERROR_NUMERIC);
        CHECK_STR_HAS(wf_arena_report(A)->text, "reaction 0 takes the count of species 0 below zero");
        CHECK(out[0] == 0 && out[1] == 0);
        wf_arena_clear(A);
    }
    wf_arena_free(A);
}

WF_TEST(texts_and_leaps_do_not_depend_on_threads)
{
    enum { N = 50 };
    wf_arena *A = wf_arena_new(NULL);
    wf_simulate_desc desc = { 0 };
    wf_reactions *w;
    uint64_t h = 0xCBF29CE484222325ull;
    for (int number = 0; wf_reactions_known(number); number++)
        for (int leaping = 0; leaping < 2; leaping++) {
            desc.leap = leaping ? 0.1 : 0;
            desc.longest = 0.3;
            desc.threads = 1;
            int32_t *one = known(A, wf_reactions_known(number), N, &desc, &w);
            desc.threads = 3;
            int32_t *other = known(A, wf_reactions_known(number), N, &desc, &w);
            size_t all = N * (size_t)w->times * (size_t)w->system.species;
            CHECK(!memcmp(one, other, all * sizeof *one));
            for (size_t i = 0; i < all; i++) h = (h ^ (uint64_t)(unsigned)one[i]) * 0x100000001B3ull;
        }
    CHECK_INT((int64_t)h, -9125944232448505277);
    wf_arena_free(A);
}

WF_TEST(no_memory_is_an_error_and_nothing_leaks)
{
    static int32_t x[4][101][3];
    for (long k = 1;; k++) {
        wf_test_memory m = { 0, k, 0, 0, 0 };
        wf_allocator a = { wf_test_alloc, wf_test_free, &m };
        wf_arena *A = wf_arena_new(&a);
        wf_result r = A ? wf_epidemic(A, 4, NULL, &x[0][0][0]) : WF_ERROR_MEMORY;
        if (A) {
            size_t before = wf_arena_size(A);
            if (r == WF_OK) { wf_epidemic(A, 4, NULL, &x[0][0][0]); CHECK(wf_arena_size(A) == before); }
            else CHECK(wf_arena_report(A)->code == WF_ERROR_MEMORY);
        }
        wf_arena_free(A);
        CHECK_INT(m.live, 0);
        if (r == WF_OK) { CHECK(k > 1); return; }
        CHECK_INT(r, WF_ERROR_MEMORY);
    }
}

WF_MAIN_CASES(WF_CASE(an_epidemic), WF_CASE(a_signalling_cascade), WF_CASE(a_toggle_switch), WF_CASE(linear_birth_and_death), WF_CASE(thinning_is_exact),
              WF_CASE(mass_action_counts_choices), WF_CASE(the_epidemic_has_the_known_means), WF_CASE(any_number_of_threads_gives_the_same_bits),
              WF_CASE(the_bits_are_pinned), WF_CASE(progress_is_told_and_may_cancel), WF_CASE(mistakes_are_named),
              WF_CASE(what_goes_wrong_on_the_way_is_named), WF_CASE(the_first_failing_trajectory_is_reported), WF_CASE(known_systems_have_the_known_moments),
              WF_CASE(the_epidemic_as_a_text_is_the_epidemic),
              WF_CASE(the_walk_starts_anywhere_and_ends_on_the_ridge),
              WF_CASE(each_trajectory_may_have_its_own_start),
              WF_CASE(expressions_are_computed),
              WF_CASE(what_is_wrong_with_a_text_is_named),
              WF_CASE(damaged_texts_are_read_or_refused),
              WF_CASE(poisson_numbers),
              WF_CASE(leaps_keep_the_law_and_save_time),
              WF_CASE(leaps_on_known_systems),
              WF_CASE(leaps_never_take_what_is_not_there), WF_CASE(what_takes_without_asking_is_named_in_leaps_too), WF_CASE(a_start_of_ones_own_is_checked),
              WF_CASE(texts_and_leaps_do_not_depend_on_threads),
              WF_CASE(no_memory_is_an_error_and_nothing_leaks))
