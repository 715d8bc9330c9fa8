/* Exact simulation of reaction systems. Seeds are fixed. Bounds are four standard errors of the statistic, from known variances where there are
   formulas, unless a comment says otherwise. */
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

WF_TEST(no_memory_is_an_error_and_nothing_leaks)
{
    static int32_t x[4][101][3];
    for (long k = 1;; k++) {
        wf_test_memory m = { 0, 0, 0, 0 };
        m.fail_at = k;
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
              WF_CASE(what_goes_wrong_on_the_way_is_named), WF_CASE(the_first_failing_trajectory_is_reported), WF_CASE(no_memory_is_an_error_and_nothing_leaks))
