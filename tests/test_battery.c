/* A battery of statistical tests for the generator: the ten kinds, and the sizes, of TestU01's SmallCrush (L'Ecuyer and Simard 2007), written again from their definitions. Numbers are taken in four orders, since the
   generator is asked by coordinates: along steps, along slots (particles), along dimensions, and mixed as particles use them; as they are, and with their bits reversed. A test fails where a probability is below 1e-6 on either side.

   Here with a twentieth of the sizes; WF_TEST_LONG=1 takes them in full, and 10^9 normals. WF_VERBOSE=1 prints all probabilities. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

static int verbose(void) { return getenv("WF_VERBOSE") != NULL; }
static size_t scale(void) { return getenv("WF_TEST_LONG") ? 1 : 20; } /* by which sizes are divided */

/* ---- where words come from ---- */

enum { BY_STEP, BY_SLOT, BY_DIMENSION, BY_TILE, ORDERS, LCG = ORDERS, RANDU, COUNTER, SOURCES };
static const char *const source_name[SOURCES] = { "by step", "by slot", "by dimension", "by tile", "x = 1664525 x + 1013904223", "RANDU", "a counter times the golden ratio" };

typedef struct source { int kind, rounds, reverse, used; uint64_t count; uint32_t x, word[4]; } source;

static source source_new(int kind, int rounds, int reverse)
{
    source s = { kind, rounds, reverse, 4, 0, 12345, { 0 } };
    return s;
}

static uint32_t next_word(source *s)
{
    uint32_t c[4], x;
    if (s->kind < ORDERS) {
        if (s->used == 4) {
            uint64_t k = s->count++;
            uint32_t low = (uint32_t)k & 0xFFFFFF, high = (uint32_t)(k >> 24); /* dimensions run to 2^24 blocks of four */
            uint32_t tile = (uint32_t)(k / 48 % 64); /* 4096 particles in three dimensions: sixteen counters of each tile and dimension serve 64 particles */
            if (s->kind == BY_TILE) wf__coordinates(c, 64 * tile + k % 16, (uint32_t)(k / 3072), (uint32_t)(k / 16 % 3), 3);
            else wf__coordinates(c, s->kind == BY_SLOT ? k : s->kind == BY_DIMENSION ? high : 77, s->kind == BY_STEP ? (uint32_t)k : 5, s->kind == BY_DIMENSION ? low : 0, 3);
            wf__philox(c, 2026, s->rounds, s->word);
            s->used = 0;
        }
        x = s->word[s->used++];
    } else if (s->kind == LCG) x = s->x = s->x * 1664525u + 1013904223u;
    else if (s->kind == RANDU) { s->x = s->x * 65539u & 0x7FFFFFFFu; x = s->x << 1; }
    else x = s->x += 0x9E3779B9u;
    if (!s->reverse) return x;
    x = (x >> 1 & 0x55555555u) | (x & 0x55555555u) << 1;
    x = (x >> 2 & 0x33333333u) | (x & 0x33333333u) << 2;
    x = (x >> 4 & 0x0F0F0F0Fu) | (x & 0x0F0F0F0Fu) << 4;
    x = (x >> 8 & 0x00FF00FFu) | (x & 0x00FF00FFu) << 8;
    return x >> 16 | x << 16;
}

/* `n` bits after the first `skip`; a number in [0, 1) from those after the first `skip` */
static uint32_t bits(source *s, int skip, int n) { return next_word(s) << skip >> (32 - n); }
static double unit(source *s, int skip) { return (double)(uint32_t)(next_word(s) << skip) / 4294967296.0; }

/* ---- probabilities ---- */

/* The incomplete gamma function: lower, P(a, x), and upper, 1 - P, each to full relative accuracy. */
static void gamma_tails(double a, double x, double *lower, double *upper)
{
    double front = exp(a * log(x) - x - lgamma(a)), sum = 1 / a, term = sum;
    if (!(x > 0)) { *lower = 0; *upper = 1; return; }
    if (x < a + 1) {
        for (double k = a + 1; term > sum * 1e-16; k++) sum += term *= x / k;
        *lower = front * sum;
        *upper = 1 - *lower;
        return;
    }
    double b = x + 1 - a, c = 1e300, d = 1 / b, h = d;
    for (int i = 1; i < 200000; i++) {
        double f = -i * (i - a);
        b += 2;
        d = 1 / (f * d + b);
        c = b + f / c;
        h *= d * c;
        if (fabs(d * c - 1) < 1e-15) break;
    }
    *upper = front * h;
    *lower = 1 - *upper;
}

typedef struct verdict { int tests, failed; double least; const char *source; } verdict;

static void judge(verdict *v, const char *what, double low, double high)
{
    double p = low < high ? low : high;
    v->tests++;
    if (!(p >= 1e-6)) v->failed++; /* also what is not a number */
    if (!(p >= v->least)) v->least = p;
    if (verbose()) printf("  %-34s %-24s %.6f%s\n", v->source, what, high, p >= 1e-6 ? "" : "  FAILS");
}

static void judge_poisson(verdict *v, const char *what, double count, double mean)
{
    double less, more, rest;
    gamma_tails(count + 1, mean, &rest, &less);    /* P(Y <= count) */
    if (count > 0) gamma_tails(count, mean, &more, &rest); /* P(Y >= count) */
    else more = 1;
    judge(v, what, less, more);
}

/* Chi-square of counts against probabilities (which may leave some to a last class of what is missing); neighbours with less than ten expected are put together. */
static void judge_classes(verdict *v, const char *what, const double *count, const double *p, int classes, double n)
{
    double square = 0, seen = 0, wanted = 0, low, high, all = 0, total = 0, last = 0, last_wanted = 0;
    int used = 0;
    for (int i = 0; i <= classes; i++) {
        seen += i < classes ? count[i] : n - all;
        wanted += i < classes ? n * p[i] : n * (1 - total);
        if (i < classes) { all += count[i]; total += p[i]; }
        if (wanted < 10) continue;
        square += (seen - wanted) * (seen - wanted) / wanted;
        last = seen;
        last_wanted = wanted;
        seen = wanted = 0;
        used++;
    }
    if (used > 0 && (wanted > 1e-9 * n || seen > 0)) { /* what is left joins the last class */
        square -= (last - last_wanted) * (last - last_wanted) / last_wanted;
        last += seen;
        last_wanted += wanted;
        square += (last - last_wanted) * (last - last_wanted) / last_wanted;
    }
    if (used < 2) { judge(v, what, NAN, NAN); return; }
    gamma_tails(0.5 * (used - 1), 0.5 * square, &low, &high);
    judge(v, what, low, high);
}

/* Anderson and Darling's law in the limit (Marsaglia and Marsaglia 2004): P(A^2 < z). */
static double anderson_darling_law(double z)
{
    if (z < 2) return exp(-1.2337141 / z) / sqrt(z) * (2.00012 + (0.247105 - (0.0649821 - (0.0347962 - (0.0116720 - 0.00168691 * z) * z) * z) * z) * z);
    return exp(-exp(1.0776 - (2.30695 - (0.43424 - (0.082433 - (0.008056 - 0.0003146 * z) * z) * z) * z) * z));
}

/* ---- the tests ---- */

static void sort_words(uint64_t *x, uint64_t *other, size_t n, int width)
{
    static size_t start[65537];
    for (int shift = 0; shift < width; shift += 16) {
        memset(start, 0, sizeof start);
        for (size_t i = 0; i < n; i++) start[(x[i] >> shift & 65535) + 1]++;
        for (int k = 0; k < 65536; k++) start[k + 1] += start[k];
        for (size_t i = 0; i < n; i++) other[start[x[i] >> shift & 65535]++] = x[i];
        uint64_t *swap = x;
        x = other;
        other = swap;
    }
    if ((width + 15) / 16 % 2) memcpy(other, x, n * sizeof *x);
}

static double equal_neighbours(const uint64_t *x, size_t n)
{
    double same = 0;
    for (size_t i = 1; i < n; i++) same += x[i] == x[i - 1];
    return same;
}

/* Five million birthdays in a year of 2^60 days: how many distances between neighbours occur twice? */
static void birthday_spacings(source *s, verdict *v)
{
    size_t n = 5000000 / scale();
    int half = scale() > 1 ? 23 : 30; /* a year of 2^46 days where there are 250000 birthdays: as many repetitions are expected, 27.8 and 55.5 */
    uint64_t *x = (uint64_t *)malloc(2 * n * sizeof *x);
    for (size_t i = 0; i < n; i++) { uint64_t high = bits(s, 0, half); x[i] = high << half | bits(s, 0, half); }
    sort_words(x, x + n, n, 64);
    uint64_t first = x[0], last = x[n - 1];
    for (size_t i = 0; i + 1 < n; i++) x[i] = x[i + 1] - x[i];
    x[n - 1] = first + ((uint64_t)1 << 2 * half) - last;
    sort_words(x, x + n, n, 64);
    judge_poisson(v, "birthday spacings", equal_neighbours(x, n), (double)n * (double)n * (double)n / (4 * ldexp(1, 2 * half)));
    free(x);
}

/* Balls into many more urns: how many fall on another? */
static void collisions(source *s, verdict *v)
{
    size_t n = 5000000 / scale();
    double urns = ldexp(1, 32);
    uint64_t *x = (uint64_t *)malloc(2 * n * sizeof *x);
    for (size_t i = 0; i < n; i++) { uint64_t high = bits(s, 0, 16); x[i] = high << 16 | bits(s, 0, 16); }
    sort_words(x, x + n, n, 32);
    judge_poisson(v, "collisions", equal_neighbours(x, n), (double)n + urns * expm1((double)n * log1p(-1 / urns)));
    free(x);
}

/* How long until the next number below 1/256? */
static void gaps(source *s, verdict *v)
{
    enum { MOST = 4096 };
    static double count[MOST], p[MOST];
    double n = 200000 / (double)scale();
    memset(count, 0, sizeof count);
    for (int k = 0; k < MOST; k++) p[k] = pow(255.0 / 256, k) / 256;
    for (double done = 0; done < n; done++) {
        int k = 0;
        while (k < 1000000 && !(unit(s, 22) < 1.0 / 256)) k++;
        if (k < MOST) count[k]++;
    }
    judge_classes(v, "gaps", count, p, MOST, n);
}

/* How many different ones are among 64 numbers from 0 to 63? */
static void poker(source *s, verdict *v)
{
    enum { D = 64 };
    double p[D + 1] = { 1 }, count[D + 1] = { 0 }, n = 400000 / (double)scale();
    for (int i = 0; i < D; i++) for (int k = D; k >= 0; k--) p[k] = p[k] * k / D + (k ? p[k - 1] * (D - k + 1) / D : 0);
    for (double done = 0; done < n; done++) {
        uint64_t seen = 0;
        int k = 0;
        for (int i = 0; i < D; i++) seen |= (uint64_t)1 << bits(s, 24, 6);
        for (; seen; seen &= seen - 1) k++;
        count[k]++;
    }
    judge_classes(v, "simple poker", count, p, D + 1, n);
}

/* How many cards until all sixteen have come? */
static void coupons(source *s, verdict *v)
{
    enum { D = 16, MOST = 400 };
    double have[D + 1] = { 1 }, p[MOST] = { 0 }, count[MOST] = { 0 }, n = 500000 / (double)scale();
    for (int t = 1; t < MOST; t++) {
        p[t] = have[D - 1] / D;
        have[D] = 0;
        for (int k = D - 1; k >= 0; k--) have[k] = have[k] * k / D + (k ? have[k - 1] * (D - k + 1) / D : 0);
    }
    for (double done = 0; done < n; done++) {
        uint32_t seen = 0;
        int t = 0;
        while (seen != 0xFFFF && t < 100000) { seen |= 1u << bits(s, 26, 4); t++; }
        if (t < MOST) count[t]++;
    }
    judge_classes(v, "coupon collector", count, p, MOST, n);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The largest of six, to the sixth power, is uniform. */
static void largest(source *s, verdict *v)
{
    size_t n = 2000000 / scale(), classes = n / 20;
    double *x = (double *)malloc((n + 2 * classes) * sizeof *x), *count = x + n, *p = count + classes, sum = 0;
    for (size_t k = 0; k < classes; k++) { count[k] = 0; p[k] = 1 / (double)classes; }
    for (size_t i = 0; i < n; i++) {
        double most = 0;
        for (int k = 0; k < 6; k++) { double u = unit(s, 0) + 0.5 / 4294967296.0; if (u > most) most = u; }
        x[i] = most * most * most * most * most * most;
        count[(size_t)(x[i] * (double)classes)]++;
    }
    judge_classes(v, "largest of six", count, p, (int)classes, (double)n);
    qsort(x, n, sizeof *x, by_value);
    for (size_t i = 0; i < n; i++) sum += (2 * (double)i + 1) * (log(x[i]) + log1p(-x[n - 1 - i]));
    double law = anderson_darling_law(-(double)n - sum / (double)n);
    judge(v, "the same, Anderson-Darling", law, 1 - law);
    free(x);
}

/* How many of 256 are below 1/8? */
static void weights(source *s, verdict *v)
{
    enum { K = 256 };
    double p[K + 1], count[K + 1] = { 0 }, n = 200000 / (double)scale();
    for (int k = 0; k <= K; k++) p[k] = exp(lgamma(K + 1.0) - lgamma(k + 1.0) - lgamma(K - k + 1.0) + k * log(0.125) + (K - k) * log(0.875));
    for (double done = 0; done < n; done++) {
        int k = 0;
        for (int i = 0; i < K; i++) k += unit(s, 27) < 0.125;
        count[k]++;
    }
    judge_classes(v, "weights", count, p, K + 1, n);
}

/* The rank of a 60 x 60 matrix of bits. */
static void matrix_rank(source *s, verdict *v)
{
    enum { L = 60 };
    double p[L + 1], count[L + 1] = { 0 }, n = 20000 / (double)scale();
    for (int r = 0; r <= L; r++) {
        p[r] = ldexp(1, -(L - r) * (L - r));
        for (int i = 0; i < r; i++) p[r] *= (1 - ldexp(1, i - L)) * (1 - ldexp(1, i - L)) / (1 - ldexp(1, i - r));
    }
    for (double done = 0; done < n; done++) {
        uint64_t row[L];
        int rank = 0;
        for (int i = 0; i < L; i++) { row[i] = 0; for (int k = 0; k < 6; k++) row[i] = row[i] << 10 | bits(s, 20, 10); }
        for (int c = 0; c < L; c++) {
            int pivot = rank;
            while (pivot < L && !(row[pivot] >> c & 1)) pivot++;
            if (pivot == L) continue;
            uint64_t swap = row[pivot];
            row[pivot] = row[rank];
            row[rank] = swap;
            for (int i = rank + 1; i < L; i++) if (row[i] >> c & 1) row[i] ^= swap;
            rank++;
        }
        count[rank]++;
    }
    judge_classes(v, "matrix rank", count, p, L + 1, n);
}

/* Are the numbers of ones in neighbouring blocks of 300 bits independent? */
static void hamming(source *s, verdict *v)
{
    enum { L = 300 };
    static double count[(L + 1) * (L + 1)], p[(L + 1) * (L + 1)];
    double one[L + 1], n = 500000 / (double)scale(), some[2] = { 0, 0 }, rest[2] = { 0, 0 };
    memset(count, 0, sizeof count);
    for (int k = 0; k <= L; k++) one[k] = exp(lgamma(L + 1.0) - lgamma(k + 1.0) - lgamma(L - k + 1.0) - L * log(2.0));
    for (double done = 0; done < n; done++) {
        int k[2] = { 0, 0 };
        for (int b = 0; b < 2; b++) for (int i = 0; i < L / 10; i++) for (uint32_t x = bits(s, 20, 10); x; x &= x - 1) k[b]++;
        count[k[0] * (L + 1) + k[1]]++;
    }
    int used = 0;
    for (int i = 0; i <= L; i++)
        for (int j = 0; j <= L; j++) {
            double c = count[i * (L + 1) + j], q = one[i] * one[j];
            if (n * q < 10) { rest[0] += c; rest[1] += q; continue; }
            some[0] += c;
            some[1] += q;
            count[used] = c; /* used never overtakes the place that is read */
            p[used++] = q;
        }
    count[used] = rest[0];
    p[used++] = rest[1];
    judge_classes(v, "Hamming weights", count, p, used, n);
}

/* A walk of 150 steps up or down: how many up, how high, how long above 0, how often at 0, how often from one side to the other? */
enum { WALK = 150, WALK_KINDS = 5 };
static const char *const walk_name[WALK_KINDS] = { "walk: ups", "walk: highest", "walk: time above", "walk: returns", "walk: crossings" };

static int walk_next(int kind, int count, int pos, int then, int side)
{
    switch (kind) {
    case 0: return count + (then > pos);
    case 1: return then > count ? then : count;
    case 2: return count + (pos + then > 0);
    case 3: return count + (then == 0);
    default: return count + (pos == 0 && side != 0 && side != then);
    }
}

static const double *walk_law(int kind) /* by following all walks at once */
{
    static double law[WALK_KINDS][WALK + 1], p[2][2 * WALK + 1][3][WALK + 1];
    static int known[WALK_KINDS];
    if (known[kind]) return law[kind];
    memset(p, 0, sizeof p);
    p[0][WALK][1][0] = 1;
    for (int t = 0; t < WALK; t++) {
        memset(p[~t & 1], 0, sizeof p[0]);
        for (int pos = -t; pos <= t; pos += 2)
            for (int side = -1; side <= 1; side++)
                for (int c = 0; c <= t; c++) {
                    double q = 0.5 * p[t & 1][pos + WALK][side + 1][c];
                    for (int up = -1; q > 0 && up <= 1; up += 2) {
                        int then = pos + up, now = then > 0 ? 1 : then < 0 ? -1 : side;
                        p[~t & 1][then + WALK][now + 1][walk_next(kind, c, pos, then, side)] += q;
                    }
                }
    }
    for (int pos = 0; pos <= 2 * WALK; pos++) for (int side = 0; side < 3; side++) for (int c = 0; c <= WALK; c++) law[kind][c] += p[WALK & 1][pos][side][c];
    known[kind] = 1;
    return law[kind];
}

static void walks(source *s, verdict *v)
{
    static double count[WALK_KINDS][WALK + 1];
    double n = 1000000 / (double)scale();
    memset(count, 0, sizeof count);
    for (double done = 0; done < n; done++) {
        int pos = 0, side = 0, c[WALK_KINDS] = { 0 };
        for (int t = 0; t < WALK; t += 30) {
            uint32_t word = bits(s, 0, 30);
            for (int i = 29; i >= 0; i--) {
                int then = pos + (word >> i & 1 ? 1 : -1);
                for (int k = 0; k < WALK_KINDS; k++) c[k] = walk_next(k, c[k], pos, then, side);
                pos = then;
                if (pos) side = pos > 0 ? 1 : -1;
            }
        }
        for (int k = 0; k < WALK_KINDS; k++) count[k][c[k]]++;
    }
    for (int k = 0; k < WALK_KINDS; k++) judge_classes(v, walk_name[k], count[k], walk_law(k), WALK + 1, n);
}

static verdict battery(int kind, int rounds, int reverse)
{
    static void (*const test[])(source *, verdict *) = { birthday_spacings, collisions, gaps, poker, coupons, largest, weights, matrix_rank, hamming, walks };
    source s = source_new(kind, rounds, reverse);
    verdict v = { 0, 0, 1, source_name[kind] };
    for (size_t k = 0; k < sizeof test / sizeof *test; k++) test[k](&s, &v);
    if (verbose()) printf("  %s%s, %d rounds: %d of %d fail, least probability %.2g\n", source_name[kind], reverse ? ", bits reversed" : "", rounds, v.failed, v.tests, v.least);
    return v;
}

/* ---- what it says ---- */

WF_TEST(four_orders_pass)
{
    for (int kind = 0; kind < ORDERS; kind++) {
        verdict v = battery(kind, 10, 0);
        CHECK_INT(v.tests, 15);
        CHECK_INT(v.failed, 0);
    }
}

WF_TEST(four_orders_pass_with_their_bits_reversed)
{
    for (int kind = 0; kind < ORDERS; kind++) CHECK_INT(battery(kind, 10, 1).failed, 0);
}

WF_TEST(bad_generators_fail)
{
    CHECK(battery(LCG, 0, 0).failed >= 4);
    CHECK(battery(RANDU, 0, 0).failed >= 4);
    CHECK(battery(COUNTER, 0, 0).failed >= 10);
    for (int kind = 0; kind < ORDERS; kind++) CHECK(battery(kind, 2, 0).failed >= 1); /* Philox with two rounds instead of ten */
}

WF_TEST(laws_that_the_battery_compares_with)
{
    double low, high, sum = 0;
    gamma_tails(3, 2, &low, &high); /* P(Poisson(2) <= 2) = 5 exp(-2) */
    CHECK_CLOSE(high, 5 * exp(-2.0), 1e-14);
    gamma_tails(3, 20, &low, &high);
    CHECK_CLOSE(high / (221 * exp(-20.0)), 1, 1e-13);
    CHECK_CLOSE(anderson_darling_law(2.492), 0.95, 2e-5); /* the classical five per cent point */
    for (int k = 0; k < WALK_KINDS; k++) {
        const double *p = walk_law(k);
        sum = 0;
        for (int c = 0; c <= WALK; c++) sum += p[c];
        CHECK_CLOSE(sum, 1, 1e-13);
    }
    CHECK_CLOSE(walk_law(2)[0], exp(lgamma(151.0) - 2 * lgamma(76.0) - 150 * log(2.0)), 1e-13); /* never above 0: the arcsine law's end, C(150, 75) / 2^150 */
    CHECK_CLOSE(walk_law(3)[0], walk_law(2)[0], 1e-15);                                         /* as likely as never coming back */
}

/* Moments one to eight of vector normals, and Anderson and Darling's statistic from counts in bins a thousandth wide. */
WF_TEST(normals_by_the_thousand_million)
{
    enum { ROWS = 64, LANES = 1024, EDGE = 7, BINS = 2 * EDGE * 1024 };
    static float z[ROWS * LANES];
    static double count[BINS + 2];
    const double blocks = getenv("WF_TEST_LONG") ? 15259 : 306; /* 10^9, or 2 10^7 */
    double n = blocks * ROWS * LANES, moment[9] = { 0 }, below = 0, square = 0, before = 0, f_before = 0;
    wf__random_fn fill = wf__random_for(WF_ISA_AUTO);
    for (double b = 0; b < blocks; b++) {
        double part[9] = { 0 };
        wf__fill_random(fill, z, 0, WF__RANDOM_NORMAL, ROWS, LANES, 31, 0, (uint32_t)b, 3);
        for (size_t i = 0; i < ROWS * LANES; i++) {
            double x = (double)z[i], xx = x * x, x4 = xx * xx;
            int at = (int)(x * 1024 + EDGE * 1024);
            count[at < 0 ? 0 : at < BINS ? at + 1 : BINS + 1]++; /* |z| is below 6.78 */
            part[1] += x;
            part[2] += xx;
            part[3] += x * xx;
            part[4] += x4;
            part[5] += x * x4;
            part[6] += xx * x4;
            part[7] += x * xx * x4;
            part[8] += x4 * x4;
        }
        for (int k = 1; k <= 8; k++) moment[k] += part[k];
    }
    for (int k = 1; k <= 8; k++) {
        double mean = k % 2 ? 0 : 1, variance = 1;
        for (int i = k - 1; k % 2 == 0 && i > 1; i -= 2) mean *= i;
        for (int i = 2 * k - 1; i > 1; i -= 2) variance *= i;
        double off = (moment[k] / n - mean) / sqrt((variance - mean * mean) / n);
        CHECK_CLOSE(off, 0, 5);
        if (verbose()) printf("  moment %d of %.3g: off by %+.2f standard errors\n", k, n, off);
    }
    for (int i = 0; i <= BINS; i++) {
        below += count[i];
        double x = (double)i / 1024 - EDGE, f = 0.5 * erfc(-x / sqrt(2.0)), rest = 0.5 * erfc(x / sqrt(2.0)), d = below / n - f, now = d * d / (f * rest);
        square += 0.5 * (now + before) * (f - f_before);
        before = now;
        f_before = f;
    }
    double law = anderson_darling_law(n * square);
    CHECK(law > 1e-6 && law < 1 - 1e-6);
    if (verbose()) printf("  Anderson-Darling: %.4f, probability of less %.4f\n", n * square, law);
}

WF_MAIN_CASES(WF_CASE(laws_that_the_battery_compares_with), WF_CASE(four_orders_pass), WF_CASE(four_orders_pass_with_their_bits_reversed), WF_CASE(bad_generators_fail), WF_CASE(normals_by_the_thousand_million))
