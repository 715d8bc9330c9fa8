/* A tiny test harness. Include once, before or after weightflow.h.

       WF_TEST(name) { CHECK(1 + 1 == 2); CHECK_CLOSE(x, 1.0, 1e-15); }
       ...
       WF_MAIN(test_a, test_b)

   A program runs its tests in order (those whose name contains argv[1], if given) and ends with the line "N passed, N failed, N skipped". */
#ifndef WF_TEST_H
#define WF_TEST_H
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int wf_test_failures, wf_test_skipped;
static const char *wf_test_name;

#define WF_TEST(name) static void name(void)
#define CHECK(condition) \
    do { if (!(condition)) { wf_test_failures++; printf("  %s:%d: %s: not so: %s\n", __FILE__, __LINE__, wf_test_name, #condition); } } while (0)
/* |a - b| <= tolerance; a NaN anywhere fails. */
#define CHECK_CLOSE(a, b, tolerance) \
    do { double wf_a = (double)(a), wf_b = (double)(b), wf_tol = (double)(tolerance); \
         if (!(fabs(wf_a - wf_b) <= wf_tol)) { wf_test_failures++; \
             printf("  %s:%d: %s: %s = %.17g, wanted %s = %.17g, off by %.3g, allowed %.3g\n", __FILE__, __LINE__, wf_test_name, #a, wf_a, #b, wf_b, fabs(wf_a - wf_b), wf_tol); } } while (0)
#define CHECK_INT(a, b) \
    do { long long wf_a = (long long)(a), wf_b = (long long)(b); \
         if (wf_a != wf_b) { wf_test_failures++; printf("  %s:%d: %s: %s = %lld, wanted %s = %lld\n", __FILE__, __LINE__, wf_test_name, #a, wf_a, #b, wf_b); } } while (0)
#define CHECK_STR_HAS(text, part) \
    do { const char *wf_s = (text); if (!wf_s || !strstr(wf_s, (part))) { wf_test_failures++; \
         printf("  %s:%d: %s: \"%s\" does not contain \"%s\"\n", __FILE__, __LINE__, wf_test_name, wf_s ? wf_s : "(null)", (part)); } } while (0)
#define SKIP(why) do { wf_test_skipped = 1; printf("SKIPPED %s: %s\n", wf_test_name, why); return; } while (0)

typedef struct wf_test_case { const char *name; void (*run)(void); } wf_test_case;

static inline int wf_test_main(int argc, char **argv, const wf_test_case *cases, int count)
{
    int passed = 0, failed = 0, skipped = 0;
    for (int i = 0; i < count; i++) {
        if (argc > 1 && !strstr(cases[i].name, argv[1])) continue;
        wf_test_failures = wf_test_skipped = 0;
        wf_test_name = cases[i].name;
        cases[i].run();
        if (wf_test_failures) { failed++; printf("FAILED %s\n", wf_test_name); }
        else if (wf_test_skipped) skipped++;
        else passed++;
        fflush(stdout);
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    return failed != 0;
}

/* The folder of shared data, or NULL: $WF_SHARED, else ../shared. */
static inline const char *wf_test_shared(void)
{
    const char *path = getenv("WF_SHARED");
    char probe[512];
    if (!path || !*path) path = "../shared";
    snprintf(probe, sizeof probe, "%s/reference/oracle/cases.txt", path);
    FILE *f = fopen(probe, "rb");
    if (!f) return NULL;
    fclose(f);
    return path;
}

/* A path for a file of this test, under out/ where that exists; no such file is there. Good until the fourth next call. */
static inline const char *wf_test_scratch(const char *name)
{
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "out/%s", name);
    FILE *f = fopen(path[turn], "ab");
    if (f) fclose(f);
    else snprintf(path[turn], sizeof path[turn], "%s", name);
    remove(path[turn]);
    return path[turn];
}

/* Has the instruction set of this name a fused multiply-add? Those that have give the same bits. */
static inline int wf_test_fused(const char *isa) { return !strcmp(isa, "avx2") || !strcmp(isa, "avx512") || !strcmp(isa, "neon"); }

/* An allocator that counts, and fails at its k-th call (0: never), or from then on. */
typedef struct wf_test_memory { long calls, fail_at, live; size_t bytes; int for_good; } wf_test_memory;

static inline void *wf_test_alloc(size_t size, size_t align, void *user)
{
    wf_test_memory *m = (wf_test_memory *)user;
    (void)align;
    m->calls++;
    if (m->fail_at && (m->calls == m->fail_at || (m->for_good && m->calls > m->fail_at))) return NULL;
    void *p = malloc(size);
    if (p) { m->live++; m->bytes += size; }
    return p;
}

static inline void wf_test_free(void *p, size_t size, void *user)
{
    wf_test_memory *m = (wf_test_memory *)user;
    m->live--;
    m->bytes -= size;
    free(p);
}

#define WF_MAIN_CASES(...) \
    int main(int argc, char **argv) { static const wf_test_case cases[] = { __VA_ARGS__ }; return wf_test_main(argc, argv, cases, (int)(sizeof cases / sizeof cases[0])); }
#define WF_CASE(name) { #name, name }
#endif
