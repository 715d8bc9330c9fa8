/* The directory of parameters. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

static const int two_three[2] = { 2, 3 }, three_two[2] = { 3, 2 }, five[1] = { 5 }, large[2] = { 100, 70 };

// region: learned numbers by name
WF_TEST(learned_numbers_by_name)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 42, WF_F32);
    wf_graph *training = wf_graph_new(A, P), *evaluation = wf_graph_new(A, P);
    int shape[2] = { 2, 3 };
    wf_param(training, "w", 2, shape, WF_INIT_UNIFORM, 0.5); /* made here */
    wf_param(evaluation, "w", 2, shape, WF_INIT_ZERO, 0);    /* found here: the same six numbers */

    double w[6];
    CHECK_INT(wf_params_get(P, "w", w, 6), WF_OK);
    w[0] = 0.25;
    CHECK_INT(wf_params_set(P, "w", w, 6), WF_OK);
    const wf_param_info *e = wf_params_entry(P, wf_params_find(P, "w")); /* where they are in the long row */
    CHECK(((float *)wf_params_data(P))[e->offset] == 0.25f && e->count == 6 && wf_params_count(P) == 6);
    wf_arena_free(A);
}
// end region

WF_TEST(what_a_float_cannot_hold)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F32), *Q = wf_params_new(A, 1, WF_F64);
    double v[5] = { 1, 2, 3, 4, 1e39 }, got[5];
    wf_params_add(P, "a", 1, five, WF_INIT_CONSTANT, 7);
    wf_params_add(Q, "a", 1, five, WF_INIT_CONSTANT, 7);
    CHECK_INT(wf_params_set(Q, "a", v, 5), WF_OK);
    CHECK_INT(wf_params_set(P, "a", v, 5), WF_ERROR_NUMERIC);
    CHECK_STR_HAS(wf_arena_report(A)->text, "element 4 of a is 1e39");
    CHECK_INT(wf_params_get(P, "a", got, 5), WF_OK);
    CHECK(got[0] == 7 && got[4] == 7); /* nothing has changed */
    v[4] = HUGE_VAL; /* what was infinite before is nobody's fault here */
    CHECK_INT(wf_params_set(P, "a", v, 5), WF_OK);
    wf_arena_free(A);
}

WF_TEST(shared_by_name)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F64);
    int a = wf_params_add(P, "a", 2, two_three, WF_INIT_UNIFORM, 1), b = wf_params_add(P, "b", 1, five, WF_INIT_NORMAL, 2), s = wf_params_add(P, "s", 0, NULL, WF_INIT_CONSTANT, 7);
    CHECK(a == 0 && b == 1 && s == 2);
    CHECK_INT(wf_params_add(P, "a", 2, two_three, WF_INIT_ZERO, 0), a); /* found, and left as it is */
    CHECK_INT(wf_params_add(P, "s", 0, NULL, WF_INIT_ZERO, 0), s);
    CHECK(wf_params_find(P, "b") == b && wf_params_find(P, "c") == -1 && wf_params_find(P, "") == -1 && wf_params_find(P, NULL) == -1 && wf_params_find(NULL, "a") == -1);
    CHECK(wf_params_entries(P) == 3 && wf_params_count(P) == 6 + 5 + 1 && wf_params_type(P) == WF_F64);
    CHECK(!wf_params_entry(P, -1) && !wf_params_entry(P, 3) && !wf_params_entry(NULL, 0) && wf_params_entries(NULL) == 0);
    const wf_param_info *e = wf_params_entry(P, b);
    CHECK(!strcmp(e->name, "b") && e->nd == 1 && e->d[0] == 5 && e->count == 5);
    double v[6];
    CHECK_INT(wf_params_get(P, "s", v, 1), WF_OK);
    CHECK(v[0] == 7);
    CHECK_INT(wf_arena_report(A)->code, WF_OK);

    /* two graphs, one parameter; a name that is changed afterwards was copied */
    char name[8] = "w";
    wf_graph *g = wf_graph_new(A, P), *h = wf_graph_new(A, P);
    wf_t x = wf_param(g, name, 2, two_three, WF_INIT_UNIFORM, 1), y = wf_param(h, "w", 2, two_three, WF_INIT_UNIFORM, 1);
    name[0] = 'q';
    CHECK(x.id && y.id && wf_params_entries(P) == 4 && wf_params_find(P, "w") == 3);
    wf_arena_free(A);
}

WF_TEST(another_shape_is_refused)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 1, WF_F32);
    int zero[2] = { 2, 0 }, huge[4] = { 1 << 15, 1 << 15, 2, 1 }, over[4] = { 2147483647, 2147483647, 2147483647, 2147483647 }, negative[1] = { -3 };
    wf_params_add(P, "a", 2, two_three, WF_INIT_ZERO, 0);
    struct { const char *name; int nd; const int *d; wf_result code; const char *words; } bad[] = {
        { "a", 2, three_two, WF_ERROR_SHAPE, "a is [2,3], asked for as [3,2]" }, { "a", 1, two_three, WF_ERROR_SHAPE, "asked for as [2]" }, { "a", 0, NULL, WF_ERROR_SHAPE, "asked for as []" },
        { "b", 2, zero, WF_ERROR_SHAPE, "at least 1" }, { "b", 1, negative, WF_ERROR_SHAPE, "at least 1" }, { "b", 5, two_three, WF_ERROR_SHAPE, "up to 4" }, { "b", -1, two_three, WF_ERROR_SHAPE, "up to 4" },
        { "b", 3, huge, WF_ERROR_SHAPE, "2^30" }, { "b", 4, over, WF_ERROR_SHAPE, "2^30" }, { "", 1, five, WF_ERROR_NAME, "name" }, { NULL, 1, five, WF_ERROR_NAME, "name" } };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_INT(wf_params_add(P, bad[i].name, bad[i].nd, bad[i].d, WF_INIT_ZERO, 0), bad[i].code);
        CHECK_INT(wf_arena_report(A)->code, bad[i].code);
        CHECK_STR_HAS(wf_arena_report(A)->text, bad[i].words);
        wf_arena_clear(A);
    }
    CHECK_INT(wf_params_entries(P), 1);
    CHECK(wf_params_add(NULL, "a", 1, five, 0, 0) < 0);
    CHECK(!wf_params_new(A, 1, 5));
    CHECK_STR_HAS(wf_arena_report(A)->text, "element type 5");
    wf_arena_free(A);
}

WF_TEST(get_and_set)
{
    for (int type = WF_F32; type <= WF_F64; type++) {
        wf_arena *A = wf_arena_new(NULL);
        wf_params *P = wf_params_new(A, 1, type);
        double in[6] = { 1, -2.5, 3, 1e-3, 1.0 / 3, 6 }, out[6];
        wf_params_add(P, "x", 1, five, WF_INIT_ZERO, 0);
        int a = wf_params_add(P, "a", 2, two_three, WF_INIT_ZERO, 0);
        CHECK_INT(wf_params_set(P, "a", in, 6), WF_OK);
        CHECK_INT(wf_params_get(P, "a", out, 6), WF_OK);
        for (int i = 0; i < 6; i++) {
            size_t at = wf_params_entry(P, a)->offset + (size_t)i;
            CHECK(out[i] == (type ? in[i] : (double)(float)in[i]));
            CHECK(out[i] == (type ? ((double *)wf_params_data(P))[at] : (double)((float *)wf_params_data(P))[at]));
        }
        CHECK_INT(wf_params_get(P, "a", out, 5), WF_ERROR_SHAPE);
        CHECK_STR_HAS(wf_arena_report(A)->text, "a has 6 elements, not 5");
        wf_arena_clear(A);
        CHECK_INT(wf_params_set(P, "b", in, 6), WF_ERROR_NAME);
        CHECK_STR_HAS(wf_arena_report(A)->text, "no parameter b");
        CHECK_INT(wf_params_set(P, "a", in, 5), WF_ERROR_SHAPE); /* the code of this call, though the arena keeps the first report */
        wf_arena_clear(A);
        CHECK(wf_params_get(NULL, "a", out, 6) < 0 && wf_params_set(NULL, "a", in, 6) < 0);
        wf_arena_free(A);
    }
}

/* Entries begin at multiples of sixteen elements, never overlap, and the padding is zero. */
WF_TEST(the_layout)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 3, WF_F32);
    char name[16];
    size_t end = 0, sum = 0;
    for (int i = 1; i <= 40; i++) {
        int d = i;
        snprintf(name, sizeof name, "p%d", i);
        int k = wf_params_add(P, name, 1, &d, WF_INIT_CONSTANT, i);
        const wf_param_info *e = wf_params_entry(P, k);
        CHECK(e->offset % 16 == 0 && e->offset >= end && e->offset - end < 16);
        end = e->offset + e->count;
        sum += e->count;
    }
    CHECK(wf_params_size(P) % 16 == 0 && wf_params_size(P) >= end && wf_params_count(P) == sum);
    CHECK((uintptr_t)wf_params_data(P) % 64 == 0);
    const float *x = (const float *)wf_params_data(P);
    double total = 0;
    for (size_t i = 0; i < wf_params_size(P); i++) total += (double)x[i];
    CHECK(total == 40 * 41 * 81 / 6.0); /* the sum of squares: every element of p_i is i, and the rest is zero */
    wf_arena_free(A);
}

static void values_of(const char *const *order, int n, int type, uint64_t seed, double out[2][7000])
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, seed, type);
    for (int i = 0; i < n; i++) {
        int big = order[i][0] == 'L';
        CHECK(wf_params_add(P, order[i], 2, big ? large : two_three, big ? WF_INIT_NORMAL : WF_INIT_UNIFORM, 0.5) >= 0);
    }
    CHECK_INT(wf_params_get(P, "Layer", out[0], 7000), WF_OK);
    CHECK_INT(wf_params_get(P, "a", out[1], 6), WF_OK);
    wf_arena_free(A);
}

WF_TEST(starting_values_depend_on_seed_and_name_alone)
{
    static double one[2][7000], two[2][7000];
    static const char *const first[] = { "a", "b", "Layer" }, *const second[] = { "Layer2", "Layer", "c", "a" };
    values_of(first, 3, WF_F64, 42, one);
    values_of(second, 4, WF_F64, 42, two);
    CHECK(!memcmp(one, two, sizeof one));
    values_of(first, 3, WF_F32, 42, two); /* the same numbers, rounded */
    for (int i = 0; i < 7000; i++) CHECK((double)(float)one[0][i] == two[0][i]);
    values_of(first, 3, WF_F64, 43, two);
    int same = 0;
    for (int i = 0; i < 7000; i++) same += one[0][i] == two[0][i];
    CHECK(same < 5);
    /* normal with deviation 0.5: the mean of 7000 is within 5 standard errors of 0, the variance of 0.25 as well */
    double mean = 0, square = 0;
    for (int i = 0; i < 7000; i++) { mean += one[0][i] / 7000; square += one[0][i] * one[0][i] / 7000; }
    CHECK_CLOSE(mean, 0, 5 * 0.5 / sqrt(7000.0));
    CHECK_CLOSE(square, 0.25, 5 * 0.25 * sqrt(2 / 7000.0));
    for (int i = 0; i < 6; i++) CHECK(fabs(one[1][i]) < 0.5);
}

WF_TEST(names_do_not_share_noise)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 9, WF_F64);
    static double v[200];
    char name[32];
    int one = 1;
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "net.%d.weight", i);
        wf_params_add(P, name, 1, &one, WF_INIT_UNIFORM, 1);
        wf_params_get(P, name, &v[i], 1);
        for (int k = 0; k < i; k++) CHECK(v[k] != v[i]);
    }
    double mean = 0;
    for (int i = 0; i < 200; i++) mean += v[i] / 200;
    CHECK_CLOSE(mean, 0, 5 / sqrt(3 * 200.0)); /* five standard errors of a uniform number on (-1, 1) */
    wf_arena_free(A);
}

WF_TEST(values_survive_growth)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 5, WF_F32);
    char name[16];
    double six[6], keep[6] = { 3, 1, 4, 1, 5, 9 };
    wf_params_add(P, "kept", 2, two_three, WF_INIT_ZERO, 0);
    wf_params_set(P, "kept", keep, 6);
    const void *before = wf_params_data(P);
    for (int i = 0; i < 100; i++) {
        int d = 1 + 37 * i % 400;
        snprintf(name, sizeof name, "p%d", i);
        CHECK_INT(wf_params_add(P, name, 1, &d, WF_INIT_UNIFORM, 1), i + 1);
    }
    CHECK(before != wf_params_data(P)); /* so that this test means something */
    wf_params_get(P, "kept", six, 6);
    CHECK(!memcmp(six, keep, sizeof six));
    wf_arena_free(A);
}

WF_TEST(a_plan_reads_the_parameters_where_they_are_now)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_params *P = wf_params_new(A, 5, WF_F64);
    wf_graph *g = wf_graph_new(A, P);
    wf_t w = wf_param(g, "w", 2, two_three, WF_INIT_CONSTANT, 2), y = wf_sum(w);
    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    d.out[0] = y;
    d.type = WF_F64;
    wf_plan *p = wf_compile(A, &d);
    wf_ws *ws = wf_ws_new(A, p, 1, NULL);
    double v, three[6] = { 3, 3, 3, 3, 3, 3 };
    wf_feed f = wf_out(y, &v, 0);
    CHECK_INT(wf_run(p, ws, &f, 1, 1), WF_OK);
    CHECK(v == 12);
    for (int i = 0; i < 50; i++) { char name[16]; snprintf(name, sizeof name, "p%d", i); wf_params_add(P, name, 2, large, WF_INIT_ZERO, 0); }
    wf_params_set(P, "w", three, 6);
    CHECK_INT(wf_run(p, ws, &f, 1, 1), WF_OK);
    CHECK(v == 18);
    wf_arena_free(A);
}

WF_TEST(every_allocation_may_fail)
{
    static char memory[1 << 20];
    int worked = 0;
    for (size_t size = 0; size < sizeof memory && !worked; size += 64) {
        wf_arena *A = wf_arena_from(memory, size);
        wf_params *P = A ? wf_params_new(A, 1, WF_F64) : NULL;
        if (!P) { if (A) CHECK_INT(wf_arena_report(A)->code, WF_ERROR_MEMORY); continue; }
        int failed = 0, entries = 0;
        for (int i = 0; i < 40; i++) {
            char name[16];
            double six[6];
            snprintf(name, sizeof name, "p%d", i);
            int k = wf_params_add(P, name, 2, i % 10 == 9 ? large : two_three, WF_INIT_CONSTANT, i);
            if (k < 0) { failed = 1; CHECK_INT(k, WF_ERROR_MEMORY); CHECK_INT(wf_arena_report(A)->code, WF_ERROR_MEMORY); }
            else { CHECK_INT(k, entries); entries++; }
            CHECK_INT(wf_params_entries(P), entries); /* a failed call leaves nothing behind */
            if (entries && !wf_params_get(P, "p0", six, 6)) CHECK(six[0] == 0 && six[5] == 0);
        }
        worked = !failed;
    }
    CHECK(worked);
}

WF_TEST(a_table_ends_before_its_numbers_do)
{
    wf_arena *A = wf_arena_new(NULL);
    void *table = NULL;
    int room = 1 << 30;
    CHECK(!wf__grow_table(A, &table, room, &room, 8));
    CHECK_INT(wf_arena_report(A)->code, WF_ERROR_LIMIT);
    CHECK_INT(room, 1 << 30);
    wf_arena_free(A);
}

WF_MAIN_CASES(WF_CASE(learned_numbers_by_name), WF_CASE(what_a_float_cannot_hold), WF_CASE(shared_by_name), WF_CASE(another_shape_is_refused), WF_CASE(get_and_set), WF_CASE(the_layout), WF_CASE(starting_values_depend_on_seed_and_name_alone),
              WF_CASE(names_do_not_share_noise), WF_CASE(values_survive_growth), WF_CASE(a_table_ends_before_its_numbers_do), WF_CASE(a_plan_reads_the_parameters_where_they_are_now), WF_CASE(every_allocation_may_fail))
