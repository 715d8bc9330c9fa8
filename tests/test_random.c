/* Philox, uniforms, normals, running generators. Seeds are fixed, so a statistical test passes always or never. Bounds are five standard
   errors unless a comment says otherwise: one run in 1.7 million of a perfect generator would miss one of them. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

#define FILL wf__random_for(WF_ISA_AUTO)

/* ---- the scrambling function ---- */

typedef struct known { int rounds; uint32_t counter[4], key[2], out[4]; } known;

WF_TEST(the_published_answers)
{
    static const known rows[6] = {
        { 7, { 0, 0, 0, 0 }, { 0, 0 }, { 0x5f6fb709u, 0x0d893f64u, 0x4f121f81u, 0x4f730a48u } },
        { 7, { ~0u, ~0u, ~0u, ~0u }, { ~0u, ~0u }, { 0x5207ddc2u, 0x45165e59u, 0x4d8ee751u, 0x8c52f662u } },
        { 7, { 0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u }, { 0xa4093822u, 0x299f31d0u }, { 0x4dfccabau, 0x190a87f0u, 0xc47362bau, 0xb6b5242au } },
        { 10, { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u } },
        { 10, { ~0u, ~0u, ~0u, ~0u }, { ~0u, ~0u }, { 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu } },
        { 10, { 0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u }, { 0xa4093822u, 0x299f31d0u }, { 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u } },
    };
    for (int r = 0; r < 6; r++) {
        uint32_t out[4];
        uint64_t key = (uint64_t)rows[r].key[1] << 32 | rows[r].key[0];
        wf__philox(rows[r].counter, key, rows[r].rounds, out);
        for (int i = 0; i < 4; i++) CHECK_INT(out[i], rows[r].out[i]);
        if (rows[r].rounds != 10) continue;
        wf_philox(rows[r].counter, key, out);
        for (int i = 0; i < 4; i++) CHECK_INT(out[i], rows[r].out[i]);
    }
}

static int changed_bits(const uint32_t a[4], const uint32_t b[4])
{
    int n = 0;
    for (int i = 0; i < 4; i++) for (uint32_t x = a[i] ^ b[i]; x; x &= x - 1) n++;
    return n;
}

WF_TEST(one_flipped_bit_changes_half_of_the_result)
{
    enum { TRIALS = 2000 };
    for (int bit = 0; bit < 192; bit++) {
        double sum = 0, squares = 0;
        for (uint32_t trial = 0; trial < TRIALS; trial++) {
            uint32_t c[4] = { trial, 7, trial / 3, 1 }, a[4], b[4];
            uint64_t key = 12345 + (uint64_t)trial;
            wf_philox(c, key, a);
            if (bit < 128) c[bit / 32] ^= 1u << bit % 32;
            else key ^= (uint64_t)1 << (bit - 128);
            wf_philox(c, key, b);
            int n = changed_bits(a, b);
            sum += n;
            squares += (n - 64.0) * (n - 64.0);
        }
        /* Binomial(128, 1/2): mean 64, variance 32, variance of the squared deviation 2*32^2 - 32*2 about. 6 sigma: 192 bits are tried. */
        CHECK_CLOSE(sum / TRIALS, 64, 6 * sqrt(32.0 / TRIALS));
        CHECK_CLOSE(squares / TRIALS, 32, 6 * sqrt(2 * 32.0 * 32.0 / TRIALS));
    }
}

/* ---- the mathematics: our own logarithm, cosine, sine ---- */

static double ulps(double x, double exact)
{
    double one = nextafter(fabs(exact), HUGE_VAL) - fabs(exact);
    return fabs(x - exact) / one;
}

WF_TEST(logarithm_cosine_and_sine_are_accurate)
{
    double worst_log = 0, worst_turn = 0, worst_circle = 0;
    for (uint32_t i = 0; i < 200000; i++) {
        double u = wf_uniform_at(5, i, 0, 0, 0), c, s;
        if (i < 40) u = ldexp(1.0 + u, -(int)i - 1);   /* small arguments */
        if (i >= 40 && i < 80) u = 1.0 - ldexp(1.0, -(int)i + 26);
        double e = ulps(wf__log(u), log(u));
        if (!(e <= worst_log)) worst_log = e;
        wf__turn(u, &c, &s);
        /* the reference loses nothing: an eighth of a turn at most, where 2 pi v has a relative error of one rounding */
        int k = (int)(8 * u);
        double v = u - k / 8.0, a = 6.283185307179586 * v, rc = cos(a), rs = sin(a);
        double rk = cos(k * 0.7853981633974483), ik = sin(k * 0.7853981633974483);
        e = fabs(c - (rc * rk - rs * ik)) + fabs(s - (rc * ik + rs * rk));
        if (!(e <= worst_turn)) worst_turn = e;
        e = fabs(c * c + s * s - 1);
        if (!(e <= worst_circle)) worst_circle = e;
    }
    CHECK_CLOSE(worst_log, 0, 3);            /* series: 1/2 for s, 1/2 for the sum, 1/2 for the product with e, each once or twice */
    CHECK_CLOSE(worst_turn, 0, 12 * 1.2e-16);   /* absolute; ours two roundings each, the reference's addition theorem four each */
    CHECK_CLOSE(worst_circle, 0, 6 * 1.2e-16);
    CHECK(wf__log(1.0) == 0.0);
    double c, s;
    for (int k = 0; k < 4; k++) {   /* quarter turns are exact */
        wf__turn(k / 4.0, &c, &s);
        CHECK(c == (k == 0) - (k == 2) && s == (k == 1) - (k == 3));
    }
}

/* ---- numbers by their coordinates ---- */

// region: a normal for every particle and step
WF_TEST(a_normal_for_every_particle_and_step)
{
    const uint64_t seed = 42;
    const uint32_t purpose = 0;
    double now = wf_normal_at(seed, 77, 90431, 1, purpose);   /* particle 77, step 90 431, second dimension */
    for (uint32_t step = 0; step < 100; step++) wf_normal_at(seed, 77, step, 1, purpose);
    CHECK(wf_normal_at(seed, 77, 90431, 1, purpose) == now);  /* nothing that was drawn in between can change it */
    CHECK(wf_normal_at(seed, 78, 90431, 1, purpose) != now);
    CHECK(wf_normal_at(seed, 77, 90431, 0, purpose) != now);
    CHECK(wf_normal_at(seed, 77, 90431, 1, purpose + 1) != now);
}
// end region

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

WF_TEST(coordinates_never_share_a_counter)
{
    /* Corners of every field, and purposes and slots beyond 32 bits: 8*3*4*8 coordinates, all different numbers. A chance match of two 32-bit
       words among 768 has probability 7e-5. */
    static const uint64_t slots[8] = { 0, 1, 255, 65536, 0xFFFFFFFFu, 0x100000000u, 0x200000000u, 0xFFFFFFFFFFu };
    static const uint32_t steps[3] = { 0, 1, ~0u }, dimensions[4] = { 0, 1, 4, 0x3FFFFFF }, purposes[8] = { 0, 1, 255, 256, 257, 0xFFFFFF, 0x80000000u, ~0u };
    static double v[8 * 3 * 4 * 8];
    size_t n = 0;
    for (int a = 0; a < 8; a++)
        for (int b = 0; b < 3; b++)
            for (int c = 0; c < 4; c++)
                for (int d = 0; d < 8; d++) v[n++] = wf_uniform_at(3, slots[a], steps[b], dimensions[c], purposes[d]);
    qsort(v, n, sizeof *v, by_value);
    for (size_t i = 1; i < n; i++) CHECK(v[i] != v[i - 1]);
}

WF_TEST(a_tile_holds_the_numbers_of_its_samples)
{
    enum { F = 7, L = 64 };
    static double whole[F * L], part[F * 16];
    static float single[F * L];
    for (int kind = 0; kind < 2; kind++) {
        const uint64_t first = 0xFFFFFFF0u;   /* the tile crosses 2^32 */
        wf__fill_random(FILL, whole, 1, kind, F, L, 9, first, 5, 300);
        wf__fill_random(FILL, single, 0, kind, F, L, 9, first, 5, 300);
        for (uint32_t f = 0; f < F; f++)
            for (size_t l = 0; l < L; l++) {
                double x = whole[f * L + l];
                CHECK(x == (kind ? wf_normal_at(9, first + l, 5, f, 300) : wf_uniform_at(9, first + l, 5, f, 300)));
                /* relative, in units of 2^-24: radius 1 (the square root halves 2 of the logarithm) and 1/2, sine 1, angle 1, product 1/2 */
                CHECK_CLOSE((double)single[f * L + l], x, 4 * 6e-8 * fabs(x));
            }
        for (size_t tile = 0; tile < L; tile += 16) {
            wf__fill_random(FILL, part, 1, kind, F, 16, 9, first + tile, 5, 300);
            for (size_t f = 0; f < F; f++) CHECK(!memcmp(part + f * 16, whole + f * L + tile, 16 * sizeof *part));
        }
    }
}

WF_TEST(a_uniform_is_never_0_or_1)
{
    CHECK(wf__unit_of(0) == ldexp(1.0, -33));
    CHECK(wf__unit_of(~0u) == 1.0 - ldexp(1.0, -33));
    CHECK(wf__unit_of(0x7FFFFFFFu) + wf__unit_of(0x80000000u) == 1.0);
    /* this sample of seed 1 draws one of the 128 words that binary32 would round to 1 (found by search) */
    const uint64_t slot = 27392119;
    float x = 0;
    CHECK((float)wf_uniform_at(1, slot, 0, 0, 0) == 1.0f);
    wf__fill_random(FILL, &x, 0, 0, 1, 1, 1, slot, 0, 0);
    CHECK(x < 1.0f && x > 0.9999999f);
    double z[2];
    wf__normal_pair(wf__unit_of(0), wf__unit_of(0), z);
    CHECK_CLOSE(z[0], 6.7638, 1e-4);   /* sqrt(66 log 2): the end of the tail */
    wf__normal_pair(wf__unit_of(~0u), wf__unit_of(0), z);
    CHECK_CLOSE(z[0], sqrt(2 * ldexp(1.0, -33)), 1e-15);
}

/* ---- statistics ---- */

enum { MANY = 1 << 20 };
static double many[MANY];

/* Kolmogorov's statistic times sqrt(n); P(> 2.7) = 2 exp(-2 * 2.7^2) = 9e-7 */
static double kolmogorov(double *u, size_t n)
{
    double worst = 0;
    qsort(u, n, sizeof *u, by_value);
    for (size_t i = 0; i < n; i++) {
        double a = fabs(u[i] - (double)i / (double)n), b = fabs(u[i] - (double)(i + 1) / (double)n);
        if (!(a <= worst)) worst = a;
        if (!(b <= worst)) worst = b;
    }
    return worst * sqrt((double)n);
}

WF_TEST(the_distributions_fit)
{
    wf__fill_random(FILL, many, 1, 0, 16, MANY / 16, 11, 0, 0, 0);
    CHECK_CLOSE(kolmogorov(many, MANY), 0, 2.7);
    wf__fill_random(FILL, many, 1, 1, 16, MANY / 16, 11, 0, 0, 1);
    for (size_t i = 0; i < MANY; i++) many[i] = 0.5 * erfc(-many[i] / sqrt(2.0));
    CHECK_CLOSE(kolmogorov(many, MANY), 0, 2.7);
}

WF_TEST(moments_and_tails_of_ten_million_normals)
{
    enum { PARTS = 10 };
    static const double edge[5] = { 1, 2, 3, 4, 5 };
    double moment[7] = { 0 }, n = (double)PARTS * MANY;
    double above[5] = { 0 }, below[5] = { 0 };
    for (uint32_t part = 0; part < PARTS; part++) {
        wf__fill_random(FILL, many, 1, 1, 64, MANY / 64, 2024, 0, part, 0);
        for (size_t i = 0; i < MANY; i++) {
            double z = many[i], power = z;
            for (int k = 1; k <= 6; k++, power *= z) moment[k] += power;
            for (int k = 0; k < 5; k++) { above[k] += z > edge[k]; below[k] += z < -edge[k]; }
        }
    }
    /* E z^k = 1, 3, 15 for k = 2, 4, 6; Var z^k = E z^2k - (E z^k)^2: 1, 2, 15, 96, 945, 10170. The cut at 6.76 changes E z^6 by less than 1e-5. */
    static const double mean[7] = { 0, 0, 1, 0, 3, 0, 15 }, variance[7] = { 0, 1, 2, 15, 96, 945, 10170 };
    for (int k = 1; k <= 6; k++) CHECK_CLOSE(moment[k] / n, mean[k], 5 * sqrt(variance[k] / n));
    for (int k = 0; k < 5; k++) {
        double expected = n * 0.5 * erfc(edge[k] / sqrt(2.0));
        CHECK_CLOSE(above[k], expected, 5 * sqrt(expected) + 1);   /* Poisson; 3.0 expected beyond 5 */
        CHECK_CLOSE(below[k], expected, 5 * sqrt(expected) + 1);
        if (getenv("WF_VERBOSE")) printf("  beyond %g: %.0f above, %.0f below, %.1f expected\n", edge[k], above[k], below[k], expected);
    }
}

/* chi-square of pairs in 32 x 32 squares; with f degrees of freedom its mean is f, its variance 2 f */
static double pair_chi_square(const double *u, const double *v, size_t n)
{
    static double count[32 * 32];
    double chi = 0, expected = (double)n / (32 * 32);
    memset(count, 0, sizeof count);
    for (size_t i = 0; i < n; i++) count[(int)(u[i] * 32) * 32 + (int)(v[i] * 32)]++;
    for (int i = 0; i < 32 * 32; i++) chi += (count[i] - expected) * (count[i] - expected) / expected;
    return chi;
}

WF_TEST(neighbours_are_independent)
{
    enum { N = 1 << 18 };
    static double u[N], v[N];
    for (int axis = 0; axis < 6; axis++) {
        for (uint32_t i = 0; i < N; i++) {
            uint32_t a = i & 511, b = i >> 9;
            uint64_t seed = 1 + (axis == 5);
            u[i] = wf_uniform_at(1, 2 * a, 2 * b, 4, 0);
            v[i] = wf_uniform_at(seed, 2 * a + (axis == 0), 2 * b + (axis == 1), 4 + (uint32_t)(axis == 2) + 4 * (uint32_t)(axis == 3), axis == 4);
        }
        CHECK_CLOSE(pair_chi_square(u, v, N), 1023, 5 * sqrt(2 * 1023.0));
        double correlation = 0;   /* of 12 (u - 1/2) (v - 1/2): mean 0, variance 1 */
        for (int i = 0; i < N; i++) correlation += 12 * (u[i] - 0.5) * (v[i] - 0.5);
        CHECK_CLOSE(correlation / N, 0, 5 / sqrt((double)N));
    }
    for (uint32_t i = 0; i < N; i++) {   /* the two normals of a pair, and the two pairs of a block */
        u[i] = 0.5 * erfc(-wf_normal_at(1, i, 0, 0, 0) / sqrt(2.0));
        v[i] = 0.5 * erfc(-wf_normal_at(1, i, 0, 1 + (i & 1), 0) / sqrt(2.0));
    }
    CHECK_CLOSE(pair_chi_square(u, v, N), 1023, 5 * sqrt(2 * 1023.0));
}

/* ---- running generators ---- */

// region: a running generator
WF_TEST(a_running_generator)
{
    wf_rng rng;
    wf_rng_init(&rng, 42, 0);                /* seed, stream */
    int order[5] = { 0, 1, 2, 3, 4 }, sum = 0;
    wf_rng_shuffle(&rng, order, 5);          /* any of the 120 orders */
    double u = wf_rng_uniform(&rng), z = wf_rng_normal(&rng);
    uint32_t die = 1 + wf_rng_below(&rng, 6);
    for (int i = 0; i < 5; i++) sum += order[i];
    CHECK(sum == 10 && u > 0 && u < 1 && fabs(z) < 9 && die >= 1 && die <= 6);
}
// end region

WF_TEST(a_stream_is_philox_in_order)
{
    wf_rng rng, other;
    wf_rng_init(&rng, 77, 3);
    for (uint32_t block = 0; block < 5; block++) {
        uint32_t c[4] = { block, 0, 255u << 24, 3 }, word[4];
        wf_philox(c, 77, word);
        for (int i = 0; i < 4; i++) CHECK_INT(wf_rng_u32(&rng), word[i]);
    }
    rng.counter[0] = ~0u;   /* the carry */
    for (int i = 0; i < 4; i++) wf_rng_u32(&rng);
    CHECK_INT(rng.counter[0], 0);
    CHECK_INT(rng.counter[1], 1);
    wf_rng_init(&rng, 77, 3);
    wf_rng_init(&other, 77, 4);
    int same = 0;
    for (int i = 0; i < 1000; i++) same += wf_rng_u32(&rng) == wf_rng_u32(&other);
    CHECK(same <= 1);   /* two chance matches of 32 bits in 1000: 3e-14 */
}

WF_TEST(a_stream_has_the_right_moments)
{
    enum { N = 400000 };
    wf_rng rng;
    wf_rng_init(&rng, 8, 0);
    double u1 = 0, u2 = 0, z1 = 0, z2 = 0, z4 = 0, neighbours = 0, last = 0;
    for (int i = 0; i < N; i++) {
        double u = wf_rng_uniform(&rng) - 0.5, z = wf_rng_normal(&rng);
        u1 += u;
        u2 += u * u;
        z1 += z;
        z2 += z * z;
        z4 += z * z * z * z;
        neighbours += z * last;
        last = z;
    }
    CHECK_CLOSE(u1 / N, 0, 5 * sqrt(1.0 / 12 / N));
    CHECK_CLOSE(u2 / N, 1.0 / 12, 5 * sqrt(1.0 / 180 / N));
    CHECK_CLOSE(z1 / N, 0, 5 * sqrt(1.0 / N));
    CHECK_CLOSE(z2 / N, 1, 5 * sqrt(2.0 / N));
    CHECK_CLOSE(z4 / N, 3, 5 * sqrt(96.0 / N));
    CHECK_CLOSE(neighbours / N, 0, 5 * sqrt(1.0 / N));
}

WF_TEST(integers_below_n_are_fair)
{
    enum { N = 300000 };
    wf_rng rng;
    wf_rng_init(&rng, 1, 0);
    CHECK_INT(wf_rng_below(&rng, 0), 0);
    CHECK_INT(wf_rng_below(&rng, 1), 0);
    /* 3 * 2^30 of 2^32 words: without the rejection one third of the numbers would come twice as often. By residue modulo 3 it shows. */
    static const uint32_t size[4] = { 6, 3u << 30, 1000, ~0u };
    for (int k = 0; k < 4; k++) {
        double low[6] = { 0 }, residue[3] = { 0 };
        for (int i = 0; i < N; i++) {
            uint32_t x = wf_rng_below(&rng, size[k]);
            CHECK(x < size[k]);
            low[(uint64_t)x * 6 / size[k]]++;
            residue[x % 3]++;
        }
        double third = N / 3.0;
        for (uint64_t i = 0; i < 6; i++) {   /* x * 6 / size == i for this many x: */
            uint64_t members = ((i + 1) * size[k] + 5) / 6 - (i * size[k] + 5) / 6;
            double expected = (double)N * (double)members / size[k];
            CHECK_CLOSE(low[i], expected, 5 * sqrt(expected * 5 / 6));
        }
        if (size[k] % 3 == 0) for (int i = 0; i < 3; i++) CHECK_CLOSE(residue[i], third, 5 * sqrt(third * 2 / 3));
    }
}

WF_TEST(every_order_is_equally_likely)
{
    enum { N = 240000 };
    static double count[256];
    wf_rng rng;
    wf_rng_init(&rng, 5, 0);
    memset(count, 0, sizeof count);
    for (int i = 0; i < N; i++) {
        int v[4] = { 0, 1, 2, 3 };
        wf_rng_shuffle(&rng, v, 4);
        count[v[0] << 6 | v[1] << 4 | v[2] << 2 | v[3]]++;
    }
    double chi = 0, expected = N / 24.0;
    int seen = 0;
    for (int i = 0; i < 256; i++) if (count[i] > 0) { seen++; chi += (count[i] - expected) * (count[i] - expected) / expected; }
    CHECK_INT(seen, 24);
    CHECK_CLOSE(chi, 23, 5 * sqrt(2 * 23.0));
}

/* ---- the same bits everywhere ---- */

static uint64_t hash(uint64_t h, const void *data, size_t size)   /* FNV-1a over values, independent of byte order */
{
    for (size_t i = 0; i < size / 8; i++) {
        uint64_t x = ((const uint64_t *)data)[i];
        for (int b = 0; b < 64; b += 8) h = (h ^ (x >> b & 0xFF)) * 0x100000001B3ull;
    }
    return h;
}

static const int sets[] = { WF_ISA_SSE2, WF_ISA_AVX2, WF_ISA_AVX512, WF_ISA_NEON, WF_ISA_WASM };
enum { SETS = 5 };
static int fused(int isa) { return isa == WF_ISA_AVX2 || isa == WF_ISA_AVX512 || isa == WF_ISA_NEON; }

WF_TEST(the_published_answers_in_every_lane)
{
    static const known rows[3] = {
        { 10, { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u } },
        { 10, { ~0u, ~0u, ~0u, ~0u }, { ~0u, ~0u }, { 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu } },
        { 10, { 0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u }, { 0xa4093822u, 0x299f31d0u }, { 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u } },
    };
    enum { L = 67 };
    static union { float f[8 * L]; uint32_t word[8 * L]; } x;
    for (int k = 0; k < SETS; k++) {
        if (!wf_isa_available(sets[k])) continue;
        for (int r = 0; r < 3; r++)
            for (uint32_t lane = 0; lane < L; lane++) { /* the counter of lane 0 is moved back, so that the published one stands in `lane` */
                uint32_t c[4] = { rows[r].counter[0] - lane, rows[r].counter[1], rows[r].counter[2] - (lane & 1), rows[r].counter[3] }, block = lane & 1;
                wf__random_for(sets[k])(x.f, L, WF__RANDOM_WORDS, 8, L, (uint64_t)rows[r].key[1] << 32 | rows[r].key[0], c);
                for (uint32_t i = 0; i < 4; i++) CHECK_INT(x.word[(4 * block + i) * L + lane], rows[r].out[i]);
                for (uint32_t l = 0; l < L; l += 13) { /* and its neighbours are what plain C says */
                    uint32_t d[4] = { c[0] + l, c[1], c[2] + 1, c[3] }, out[4];
                    wf_philox(d, (uint64_t)rows[r].key[1] << 32 | rows[r].key[0], out);
                    for (uint32_t i = 0; i < 4; i++) CHECK_INT(x.word[(4 + i) * L + l], out[i]);
                }
            }
    }
}

WF_TEST(every_set_fills_what_it_should_and_nothing_else)
{
    enum { F = 9, L = 67, ROW = 80 };
    static float x[F * ROW], reference[F * ROW], narrow[F * ROW];
    static double exact[F * L];
    for (int kind = 0; kind < 2; kind++) {
        wf__fill_random(NULL, exact, 1, kind, F, L, 77, 1000, 3, 9);
        for (int k = 0; k < SETS; k++) {
            if (!wf_isa_available(sets[k])) continue;
            for (size_t lanes = 1; lanes <= L; lanes += lanes < 35 ? 1 : 4)
                for (size_t features = 1; features <= F; features++) {
                    for (size_t i = 0; i < F * ROW; i++) x[i] = -99;
                    wf__fill_rows(wf__random_for(sets[k]), x, 0, ROW, kind, features, lanes, 77, 1000, 3, 9);
                    for (size_t f = 0; f < F; f++)
                        for (size_t l = 0; l < ROW; l++) {
                            double y = (double)x[f * ROW + l];
                            if (f >= features || l >= lanes) CHECK(y == -99);
                            else CHECK_CLOSE(y, exact[f * L + l], 4 * 6e-8 * fabs(exact[f * L + l]));
                        }
                    if (lanes == L && features == F && fused(sets[k])) { /* the same bits, whatever the width */
                        if (sets[k] == WF_ISA_AVX512) CHECK(!memcmp(x, reference, sizeof x));
                        else memcpy(reference, x, sizeof x);
                    }
                    if (lanes == 16 && features == F) memcpy(narrow, x, sizeof x);
                    if (lanes == L && features == F) for (size_t f = 0; f < F; f++) CHECK(!memcmp(x + f * ROW, narrow + f * ROW, 16 * sizeof *x));
                }
        }
    }
}

/* A row of one sample is filled by features side by side: the numbers are those of the samples side by side. */
WF_TEST(one_sample_alone_has_the_same_bits)
{
    enum { F = 150, L = 16 };
    static float alone[F], beside[F * L];
    for (int kind = 0; kind < 2; kind++)
        for (int k = 0; k < SETS; k++) {
            if (!wf_isa_available(sets[k])) continue;
            wf__fill_rows(wf__random_for(sets[k]), beside, 0, L, kind, F, L, 77, 0xFFFFFFFF8u, 3, 9);
            for (size_t l = 0; l < L; l++)
                for (size_t features = l ? F : 1; features <= F; features += 29) {
                    for (size_t f = 0; f < F; f++) alone[f] = -99;
                    wf__fill_rows(wf__random_for(sets[k]), alone, 0, 1, kind, features, 1, 77, 0xFFFFFFFF8u + l, 3, 9);
                    for (size_t f = 0; f < F; f++) CHECK(f < features ? !memcmp(&alone[f], &beside[f * L + l], sizeof *alone) : alone[f] == -99);
                }
        }
}

typedef void (*fill_tile)(float *out, size_t dim, size_t steps, uint64_t seed, const uint32_t counter[4], const wf__nudge *nudge);

static fill_tile fill_tile_for(int isa)
{
#if defined(WF__ISA_SSE2)
    if (isa == WF_ISA_SSE2) return wf__fill_tile_sse2;
#endif
#if defined(WF__ISA_AVX2)
    if (isa == WF_ISA_AVX2) return wf__fill_tile_avx2;
#endif
#if defined(WF__ISA_AVX512)
    if (isa == WF_ISA_AVX512) return wf__fill_tile_avx512;
#endif
#if defined(WF__ISA_NEON)
    if (isa == WF_ISA_NEON) return wf__fill_tile_neon;
#endif
#if defined(WF__ISA_WASM)
    if (isa == WF_ISA_WASM) return wf__fill_tile_wasm;
#endif
    (void)isa;
    return wf__fill_tile_scalar;
}

WF_TEST(a_tile_of_particles_in_plain_c_and_in_vectors)
{
    enum { MOST = 40, ROOM = 64 * MOST + 16 };
    static float exact[ROOM], x[ROOM], reference[ROOM];
    static const size_t shape[][2] = { { 1, 1 }, { 1, 16 }, { 1, 7 }, { 2, 5 }, { 3, 3 }, { 9, 1 }, { 10, 4 }, { 33, 1 } }; /* odd and even numbers of rows */
    const uint64_t seed = 0x123456789ABCDEF0u;
    uint32_t c[4];
    for (size_t s = 0; s < sizeof shape / sizeof *shape; s++) {
        size_t dim = shape[s][0], steps = shape[s][1], rows = dim * steps;
        wf__coordinates(c, 64 * 5 / 4, 77, 0, 251);
        wf__fill_tile_scalar(exact, dim, steps, seed, c, NULL);
        for (size_t l = 0; l < 64; l++) { /* the table of coordinates: slot 320 + l, the last row */
            uint32_t at[4] = { (uint32_t)(16 * ((320 + l) / 64) + (320 + l) % 16), 77 + (uint32_t)steps - 1, (uint32_t)(dim - 1) | 251u << 24, 0 };
            double v[4];
            wf__four(at, seed, WF__RANDOM_NORMAL, v);
            CHECK((double)exact[64 * (rows - 1) + l] == (double)(float)v[(320 + l) / 16 % 4]);
        }
        for (int k = 0, first = 1; k < SETS; k++) {
            if (!wf_isa_available(sets[k])) continue;
            for (size_t i = 0; i < ROOM; i++) x[i] = -99;
            fill_tile_for(sets[k])(x, dim, steps, seed, c, NULL);
            for (size_t i = 0; i < ROOM; i++) {
                if (i >= 64 * rows) CHECK(!(x[i] > -99 || x[i] < -99));
                else CHECK_CLOSE((double)x[i], (double)exact[i], 4 * 6e-8 * fabs((double)exact[i])); /* four roundings, as above */
            }
            if (!fused(sets[k])) continue;
            if (!first) CHECK(!memcmp(x, reference, sizeof x));
            memcpy(reference, x, sizeof x);
            first = 0;
        }
    }
}

WF_TEST(a_tile_leaps_by_the_noise_that_it_is_given)
{
    enum { MOST = 11, N = 64 * MOST };
    static float noise[N], alone[N], x[N], from[N], force[N], scale[MOST];
    const uint32_t c[4] = { 80, 3, 251u << 24, 0 };
    for (int k = -1; k < SETS; k++) {
        if (k >= 0 && !wf_isa_available(sets[k])) continue;
        fill_tile fill = fill_tile_for(k < 0 ? WF_ISA_SCALAR : sets[k]);
        for (size_t dim = 1; dim <= MOST; dim++) {
            wf__nudge nudge = { x, force, scale };
            for (size_t i = 0; i < N; i++) { x[i] = from[i] = (float)sin(0.7 * (double)i); force[i] = (float)cos(1.3 * (double)i); }
            for (size_t i = 0; i < MOST; i++) scale[i] = 0.1f + 0.01f * (float)i;
            fill(alone, dim, 1, 42, c, NULL);
            fill(noise, dim, 1, 42, c, &nudge);
            CHECK(!memcmp(noise, alone, 64 * dim * sizeof *noise));
            for (size_t i = 0; i < N; i++) {
                float move = force[i] + noise[i], plain = scale[i / 64] * move;
                plain = from[i] + plain;
                float once = (float)((double)scale[i / 64] * (double)move + (double)from[i]), y = i >= 64 * dim ? from[i] : k >= 0 && fused(sets[k]) ? once : plain;
                CHECK_CLOSE((double)x[i], (double)y, 1.2e-7); /* the sum in double is rounded twice: seldom an ulp off */
            }
        }
    }
}

WF_TEST(the_extremes_of_four_million_are_where_they_should_be)
{
    static const uint32_t slots = 1u << 20;
    static float x[4 * 4096];
    double largest = 0, smallest = 9;
    wf__random_fn fill = FILL;
    for (uint32_t first = 0; first < slots; first += 4096) {
        wf__fill_rows(fill, x, 0, 4096, WF__RANDOM_NORMAL, 4, 4096, 5, first, 0, 0);
        for (int i = 0; i < 4 * 4096; i++) {
            double a = fabs((double)x[i]);
            if (!(a <= largest)) largest = a;
            if (!(a >= smallest)) smallest = a;
        }
    }
    CHECK(largest > 4.6 && largest < 6.77); /* of 4 million: 5.1 expected; P(largest < 4.6) = exp(-17) */
    CHECK(smallest > 0 && smallest < 5e-6); /* 3e-7 expected; P(> 5e-6) = exp(-17) */
}

/* Anderson and Darling's statistic of n sorted uniforms; its mean is 1, its variance 2 (pi^2 - 9) / 3 = 0.5797 */
static double anderson_darling(double *u, size_t n)
{
    double sum = 0;
    qsort(u, n, sizeof *u, by_value);
    for (size_t i = 0; i < n; i++) sum += (2 * (double)i + 1) * (log(u[i]) + log(1 - u[n - 1 - i]));
    return -(double)n - sum / (double)n;
}

WF_TEST(moments_and_anderson_darling_of_vector_normals)
{
    enum { ROWS = 64, LANES = MANY / ROWS };
    static float z[MANY];
    int blocks = getenv("WF_TEST_LONG") ? 954 : 20, judged = getenv("WF_TEST_LONG") ? 100 : 4; /* 10^9 normals, or 2 10^7 */
    double moment[5] = { 0 }, square = 0, n = (double)blocks * MANY;
    static const double mean[5] = { 0, 0, 1, 0, 3 }, variance[5] = { 0, 1, 2, 15, 96 };
    for (int b = 0; b < blocks; b++) {
        wf__fill_random(FILL, z, 0, 1, ROWS, LANES, 2026, 0, (uint32_t)b, 3);
        for (size_t i = 0; i < MANY; i++) {
            double x = (double)z[i], xx = x * x;
            moment[1] += x;
            moment[2] += xx;
            moment[3] += x * xx;
            moment[4] += xx * xx;
        }
        if (b >= judged) continue;
        for (size_t i = 0; i < MANY; i++) many[i] = 0.5 * erfc(-(double)z[i] / sqrt(2.0));
        square += anderson_darling(many, MANY);
    }
    for (int k = 1; k <= 4; k++) {
        CHECK_CLOSE(moment[k] / n, mean[k], 5 * sqrt(variance[k] / n));
        if (getenv("WF_VERBOSE")) printf("  moment %d of %.0f: off by %+.2f standard errors\n", k, n, (moment[k] / n - mean[k]) / sqrt(variance[k] / n));
    }
    CHECK_CLOSE(square / judged, 1, 5 * sqrt(0.5797 / judged));
    if (getenv("WF_VERBOSE")) printf("  Anderson-Darling: mean %.3f of %d samples of %d, expected 1 +- %.3f\n", square / judged, judged, MANY, sqrt(0.5797 / judged));
}

WF_TEST(the_bits_are_pinned)
{
    static union { double f64[10240]; float f32[10240]; uint32_t word[10240]; uint64_t pair[10240]; } x;
    wf__fill_random(NULL, x.f64, 1, 1, 16, 640, 123, 0, 1, 2);
    CHECK_INT(hash(0xCBF29CE484222325ull, x.pair, sizeof x.pair), -6447283436426455116);
    for (int k = -1; k < SETS; k++) {
        int isa = k < 0 ? WF_ISA_SCALAR : sets[k];
        if (!wf_isa_available(isa)) continue;
        wf__fill_random(wf__random_for(isa), x.f32, 0, 1, 16, 640, 123, 0, 1, 2);
        uint64_t h = 0xCBF29CE484222325ull;
        for (int i = 0; i < 10240; i++) for (int b = 0; b < 32; b += 8) h = (h ^ (x.word[i] >> b & 0xFF)) * 0x100000001B3ull;
        if (k < 0) CHECK_INT(h, 6989350671761906197);       /* plain C: rounded from double precision */
        else if (fused(isa)) CHECK_INT(h, 8349107231914890519);
        else if (isa == WF_ISA_SSE2) CHECK_INT(h, -2468171818772293283);
    }
}

WF_MAIN_CASES(WF_CASE(the_published_answers), WF_CASE(one_flipped_bit_changes_half_of_the_result), WF_CASE(logarithm_cosine_and_sine_are_accurate),
              WF_CASE(a_normal_for_every_particle_and_step), WF_CASE(coordinates_never_share_a_counter), WF_CASE(a_tile_holds_the_numbers_of_its_samples),
              WF_CASE(a_uniform_is_never_0_or_1), WF_CASE(the_distributions_fit), WF_CASE(moments_and_tails_of_ten_million_normals),
              WF_CASE(neighbours_are_independent), WF_CASE(a_running_generator), WF_CASE(a_stream_is_philox_in_order),
              WF_CASE(a_stream_has_the_right_moments), WF_CASE(integers_below_n_are_fair), WF_CASE(every_order_is_equally_likely), WF_CASE(the_published_answers_in_every_lane),
              WF_CASE(every_set_fills_what_it_should_and_nothing_else), WF_CASE(a_tile_of_particles_in_plain_c_and_in_vectors), WF_CASE(a_tile_leaps_by_the_noise_that_it_is_given), WF_CASE(the_extremes_of_four_million_are_where_they_should_be), WF_CASE(moments_and_anderson_darling_of_vector_normals), WF_CASE(the_bits_are_pinned), WF_CASE(one_sample_alone_has_the_same_bits))
