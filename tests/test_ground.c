/* Platform, errors, memory, threads. */
#include "wf_core.h"
static int asserted; /* mistakes of the program, counted */
#define WF_ASSERT(x) ((x) ? (void)0 : (void)asserted++)
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"

WF_TEST(results_have_names)
{
    CHECK_STR_HAS(wf_result_string(WF_OK), "success");
    CHECK_STR_HAS(wf_result_string(WF_ERROR_SHAPE), "shape");
    CHECK_STR_HAS(wf_result_string(-77), "unknown");
    CHECK_INT(wf_version(), WF_VERSION);
}

WF_TEST(sentences_are_formatted)
{
    char b[96];
    wf__format(b, sizeof b, "%s has %d of %z, %I", "net", -3, (size_t)-1, INT64_MIN);
    CHECK(!strcmp(b, "net has -3 of 18446744073709551615, -9223372036854775808"));
    wf__format(b, sizeof b, "%g %g %g %g %g", 0.0, 1.5, -0.25, 1e300, 2e-12);
    CHECK(!strcmp(b, "0 1.5 -0.25 1e300 2e-12"));
    wf__format(b, sizeof b, "%g %g %g %g %g %g", 999999.0, 1e6, 0.001, 0.00099, -1.7976931348623157e308, 9.99999999e-5);
    CHECK(!strcmp(b, "999999 1e6 0.001 9.9e-4 -1.797693e308 1e-4"));
    wf__format(b, sizeof b, "%g %g", 4.9406564584124654e-324, 999999.9999999);
    CHECK(!strcmp(b, "4.940656e-324 1000000"));
    wf__format(b, sizeof b, "%g %g", HUGE_VAL, -HUGE_VAL);
    CHECK(!strcmp(b, "inf -inf"));
    wf__format(b, 8, "%s", "a long sentence");
    CHECK(!strcmp(b, "a long "));
}

WF_TEST(the_first_error_is_kept)
{
    wf_report r = { WF_OK, "" };
    wf__report(&r, WF_ERROR_SHAPE, "first %d", 1);
    wf__report(&r, WF_ERROR_NAME, "second");
    CHECK_INT(r.code, WF_ERROR_SHAPE);
    CHECK_STR_HAS(r.text, "first 1");
}

WF_TEST(mistakes_of_the_program_are_asserted)
{
    wf_arena *A = wf_arena_new(NULL);
    int before = asserted;
    CHECK_INT(wf__fail(A, WF_ERROR_MEMORY, "memory"), WF_ERROR_MEMORY);
    CHECK_INT(wf__fail(A, WF_ERROR_DATA, "data"), WF_ERROR_DATA);
    CHECK_INT(asserted, before);
    CHECK_INT(wf__fail(A, WF_ERROR_ARGUMENT, "argument"), WF_ERROR_ARGUMENT);
    CHECK_INT(wf__fail(NULL, WF_ERROR_SHAPE, "shape"), WF_ERROR_SHAPE);
    CHECK_INT(asserted, before + 2);
    wf_arena_free(A);
}

// region: an arena holds memory and the last error
WF_TEST(an_arena_holds_memory_and_the_last_error)
{
    wf_arena *A = wf_arena_new(NULL);
    double *x = (double *)wf_alloc(A, 1000, sizeof *x); /* zeroed, aligned to 64 bytes */
    CHECK(x && x[999] == 0.0 && (uintptr_t)x % 64 == 0);

    void *too_much = wf_alloc(A, (size_t)-1, 8);
    CHECK(!too_much);
    CHECK_STR_HAS(wf_arena_report(A)->text, "too many");
    wf_arena_free(A); /* frees x as well */
}
// end region

WF_TEST(pieces_are_aligned_zeroed_and_apart)
{
    wf_test_memory m = { 0, 0, 0, 0, 0 };
    wf_allocator a = { wf_test_alloc, wf_test_free, &m };
    wf_arena *A = wf_arena_new(&a);
    unsigned char *last = NULL;
    size_t last_size = 0;
    for (size_t n = 0; n < 3000; n += 7) {
        unsigned char *p = (unsigned char *)wf_alloc(A, n, 1);
        CHECK(p && (uintptr_t)p % 64 == 0);
        for (size_t i = 0; i < n; i++) if (p[i]) { CHECK(!"zeroed"); break; }
        memset(p, 0xAB, n);
        if (last) for (size_t i = 0; i < last_size; i++) if (last[i] != 0xAB) { CHECK(!"apart"); break; }
        last = p;
        last_size = n;
    }
    wf_mark mark = wf_arena_mark(A);
    long live = m.live;
    CHECK(wf_alloc(A, 1u << 20, 8) != NULL);
    CHECK(m.live > live);
    wf_arena_reset(A, mark);
    CHECK_INT(m.live, live);
    wf_arena_free(A);
    CHECK_INT(m.live, 0);
    CHECK_INT(m.bytes, 0);
}

WF_TEST(a_fixed_buffer_is_enough_or_an_error)
{
    static char buffer[4096];
    CHECK(!wf_arena_from(buffer, 10));
    CHECK(!wf_arena_from(NULL, 4096));
    wf_arena *A = wf_arena_from(buffer + 1, sizeof buffer - 1);
    int pieces = 0;
    while (wf_alloc(A, 1, 64)) pieces++;
    CHECK(pieces > 40 && pieces < 64);
    CHECK_INT(wf_arena_report(A)->code, WF_ERROR_MEMORY);
    wf_arena_clear(A);
    CHECK_INT(wf_arena_report(A)->code, WF_OK);
    wf_arena_free(A);
}

WF_TEST(a_mark_that_is_gone_does_nothing)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_mark first = wf_arena_mark(A);
    char *x = (char *)wf_alloc(A, 100, 1);
    wf_mark second = wf_arena_mark(A); /* in the same block, behind the first */
    CHECK(wf_alloc(A, 100000, 1) != NULL);
    wf_mark third = wf_arena_mark(A); /* in a block of its own */
    wf_arena_reset(A, first);
    size_t size = wf_arena_size(A);
    wf_arena_reset(A, third);
    wf_arena_reset(A, second);
    char *y = (char *)wf_alloc(A, 100, 1);
    CHECK(y && y == x && wf_arena_size(A) == size);
    wf_arena_reset(NULL, first);
    wf_arena_free(A);
}

WF_TEST(no_memory_at_all)
{
    wf_test_memory m = { 0, 1, 0, 0, 0 };
    wf_allocator a = { wf_test_alloc, wf_test_free, &m };
    CHECK(!wf_arena_new(&a));
    CHECK_INT(wf_arena_report(NULL)->code, WF_ERROR_MEMORY);
    wf_arena_free(NULL);
    CHECK(!wf_alloc(NULL, 1, 1));
}

static void mark_task(void *context, int index) { ((int *)context)[index] += index + 1; }
static void backwards(void *user, int tasks, void (*task)(void *, int), void *context)
{
    ++*(int *)user;
    while (tasks-- > 0) task(context, tasks);
}

WF_TEST(every_task_runs_once)
{
    int calls = 0;
    wf_parallel mine = { backwards, &calls, 4 };
    for (int threads = 0; threads < 9; threads++) {
        int done[20] = { 0 };
        wf__parallel_for(threads == 8 ? &mine : NULL, threads, 20, mark_task, done);
        for (int i = 0; i < 20; i++) CHECK_INT(done[i], i + 1);
    }
    CHECK_INT(calls, 1);
    CHECK_INT(wf_threads_default(&mine), 4);
}

WF_MAIN_CASES(WF_CASE(results_have_names), WF_CASE(sentences_are_formatted), WF_CASE(the_first_error_is_kept), WF_CASE(mistakes_of_the_program_are_asserted), WF_CASE(an_arena_holds_memory_and_the_last_error),
              WF_CASE(pieces_are_aligned_zeroed_and_apart), WF_CASE(a_fixed_buffer_is_enough_or_an_error), WF_CASE(a_mark_that_is_gone_does_nothing), WF_CASE(no_memory_at_all), WF_CASE(every_task_runs_once))
