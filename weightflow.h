/* header: introduce the file */
/* weightflow.h - learn and sample probability distributions that move

   One header, no dependencies. In exactly one C (C99) or C++ (C++11) file:

       #define WEIGHTFLOW_IMPLEMENTATION
       #include "weightflow.h"

   Everything else includes it plainly. Add -fopenmp to use several cores.

   THIS FILE IS GENERATED from the chapters in src-lit/ (make header). Do not edit it: edit the chapter.

   QUICK START, the one pattern that everything follows:

       wf_arena  *A = wf_arena_new(NULL);             memory and the last error
       wf_params *P = wf_params_new(A, 42);           what is learned; 42 is the seed
       wf_graph  *g = wf_graph_new(A, P);             what is computed, for one sample
       wf_t x = wf_input(g, "x", 2), y = wf_input(g, "y", 1);
       wf_t loss = wf_mean(wf_square(wf_sub(wf_mlp(x, "net", NULL), y)));
       wf_plan *plan = wf_compile(A, ...);            how it is computed, for a batch
       wf_ws   *ws = wf_ws_new(A, plan, ...);         where: no allocation after this line
       wf_run(plan, ws, ...); wf_opt_step(...);       again and again
       wf_arena_free(A);

   Functions that return a pointer return NULL on failure, the others a wf_result < 0; the message is in wf_arena_report(A).

   SWITCHES, defined before the implementation; none changes a struct, so files need not agree on them.

       WF_STATIC          make every function static
       WF_NO_STDIO        no file access, no <stdio.h>
       WF_NO_MALLOC       no <stdlib.h>; arenas need an allocator or a buffer
       WF_NO_OPENMP       ignore OpenMP even where the compiler offers it
       WF_NO_SIMD         plain C only
       WF_NO_WEIGHTFLOW   leave out the chapter of that name
       WF_SIMD_MAX        the highest instruction set to compile, a WF_ISA_ number
       WF_ASSERT(x)       your assertion, for programmer's errors only; nothing by default
*/
#ifndef WEIGHTFLOW_H
#define WEIGHTFLOW_H

/* header: set the version */
#define WF_VERSION 100 /* major * 10000 + minor * 100 + patch */
#define WF_VERSION_STRING "0.1.0"

/* header: open the declarations */
#include <stddef.h>
#include <stdint.h>

#ifndef WF_API
#ifdef WF_STATIC
#define WF_API static
#else
#define WF_API extern
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the compiled implementation, to compare with WF_VERSION. */
WF_API int wf_version(void);

/* public declarations */
/* ---- Platform ---- */

/* platform: declare the result codes */
/* The outcome of a call: 0 success, < 0 an error, > 0 a note. */
typedef int wf_result;

/* platform: results: enum */
enum {
    WF_OK                = 0, /* success */
    WF_CANCELLED         = 1, /* cancelled by the progress callback */
    WF_ERROR_MEMORY      = -1, /* out of memory */
    WF_ERROR_ARGUMENT    = -2, /* an argument is not valid */
    WF_ERROR_SHAPE       = -3, /* shapes do not fit */
    WF_ERROR_NAME        = -4, /* a name is unknown or taken */
    WF_ERROR_FORMAT      = -5, /* a file is not what it should be */
    WF_ERROR_IO          = -6, /* reading or writing failed */
    WF_ERROR_UNSUPPORTED = -7, /* not supported */
    WF_ERROR_NUMERIC     = -8, /* a number is not finite, or an iteration diverged */
    WF_ERROR_LIMIT       = -9, /* a size is too large */
    WF_ERROR_DATA        = -10 /* the data cannot be used */
};
/* The meaning of a result in a few words; never NULL. */
WF_API const char *wf_result_string(wf_result result);

/* platform: declare progress */
/* Called now and then by long calls, from the calling thread: `done` of `total` units of `what`. Return nonzero to cancel. */
typedef int (*wf_progress_fn)(void *user, const char *what, double done, double total);

/* ---- Errors ---- */

/* What went wrong: a code and a sentence which names the thing. code == WF_OK: nothing. */
typedef struct wf_report {
    wf_result code;
    char text[248];
} wf_report;

/* ---- Memory ---- */

/* Memory from the user. `alloc` returns NULL when there is none; `align` is a power of two. `free` gets the size back. */
typedef struct wf_allocator {
    void *(*alloc)(size_t size, size_t align, void *user);
    void (*free)(void *memory, size_t size, void *user);
    void *user;
} wf_allocator;

/* An arena: memory that is freed together, and the report of what failed in it. One thread at a time. */
typedef struct wf_arena wf_arena;
/* A place in an arena to go back to. */
typedef struct wf_mark { void *block; size_t used; } wf_mark;

/* A new arena over `allocator` (copied), or over malloc where it is NULL. NULL when there is no memory. */
WF_API wf_arena *wf_arena_new(const wf_allocator *allocator);
/* An arena inside `buffer` of `size` bytes (borrowed until freed): never asks for more. NULL when it is too small (a few hundred bytes). */
WF_API wf_arena *wf_arena_from(void *buffer, size_t size);
/* Free the arena and everything in it; NULL is allowed. */
WF_API void wf_arena_free(wf_arena *arena);
/* `count` elements of `size` bytes, zeroed, aligned to 64. NULL and WF_ERROR_MEMORY in the report when there is no room. */
WF_API void *wf_alloc(wf_arena *arena, size_t count, size_t size);
/* Remember a place; give back everything allocated since. */
WF_API wf_mark wf_arena_mark(const wf_arena *arena);
WF_API void wf_arena_reset(wf_arena *arena, wf_mark mark);
/* The first error in this arena since it was made or cleared; never NULL, also for a NULL arena. */
WF_API const wf_report *wf_arena_report(const wf_arena *arena);
/* Forget the error. */
WF_API void wf_arena_clear(wf_arena *arena);
/* Bytes taken from the allocator so far. */
WF_API size_t wf_arena_size(const wf_arena *arena);

/* ---- Threads ---- */

/* The user's own parallel loop: call task(context, i) once for each i < tasks, on any threads, and return when all are done. `threads`: how many run at once. */
typedef struct wf_parallel {
    void (*run)(void *user, int tasks, void (*task)(void *context, int index), void *context);
    void *user;
    int threads;
} wf_parallel;

/* How many threads the library would use: those of `parallel`, or OpenMP's, or 1. */
WF_API int wf_threads_default(const wf_parallel *parallel);

/* ---- Parameters ---- */

/* Element types. A plan computes in one of them. */
enum { WF_F32 = 0, WF_F64 = 1 };

/* How a parameter starts. `scale` is the half width, the standard deviation, or the value. */
enum { WF_INIT_ZERO = 0, WF_INIT_UNIFORM, WF_INIT_NORMAL, WF_INIT_CONSTANT };

/* The learned numbers of one or more graphs: a flat buffer and a directory of names. One thread at a time while it changes. */
typedef struct wf_params wf_params;

/* One entry of the directory. `offset` counts elements in the flat buffer. Strings live as long as the arena. */
typedef struct wf_param_info {
    const char *name;
    int nd, d[4];
    size_t offset, count;
} wf_param_info;

/* An empty directory; initial values depend on `seed` and on each parameter's name alone. `type`: WF_F32 or WF_F64. */
WF_API wf_params *wf_params_new(wf_arena *arena, uint64_t seed, int type);
/* Find or add a parameter; its index, or < 0: a wf_result (WF_ERROR_SHAPE when the name is taken by another shape). nd <= 4. */
WF_API int wf_params_add(wf_params *params, const char *name, int nd, const int *d, int init, double scale);
/* The index of a name, or -1. */
WF_API int wf_params_find(const wf_params *params, const char *name);
/* How many entries; one of them (NULL when out of range). */
WF_API int wf_params_entries(const wf_params *params);
WF_API const wf_param_info *wf_params_entry(const wf_params *params, int index);
/* Elements in the flat buffer, padding between entries included; how many of them belong to entries; the element type. */
WF_API size_t wf_params_size(const wf_params *params);
WF_API size_t wf_params_count(const wf_params *params);
WF_API int wf_params_type(const wf_params *params);
/* The flat buffer (float or double). It moves when a parameter is added. */
WF_API void *wf_params_data(wf_params *params);
/* Read or write one entry as doubles, row-major, `count` numbers. WF_ERROR_NAME, WF_ERROR_SHAPE. */
WF_API wf_result wf_params_get(const wf_params *params, const char *name, double *values, size_t count);
WF_API wf_result wf_params_set(wf_params *params, const char *name, const double *values, size_t count);

/* ---- Graphs ---- */

/* A graph: what is to be computed for one sample. Lives in its arena; one thread at a time while it is being built. */
typedef struct wf_graph wf_graph;
/* A value of a graph. id 0 is no value: what a failed call returns. Passing it on is harmless and gives no value again. */
typedef struct wf_t { wf_graph *graph; int id; } wf_t;

/* An empty graph whose parameters live in `params` (may be NULL when there are none). */
WF_API wf_graph *wf_graph_new(wf_arena *arena, wf_params *params);
/* How many values a graph holds. */
WF_API int wf_graph_size(const wf_graph *graph);
/* The shape of a value: its number of axes (-1: no value), and its sizes. */
WF_API int wf_shape(wf_t x, int d[4]);
/* 1 where x has a value for each sample, 0 where it is shared. */
WF_API int wf_is_batch(wf_t x);

/* Sources. Shapes have up to four axes, row-major. Inputs are found by name: asking twice gives the same value. */
WF_API wf_t wf_input(wf_graph *graph, const char *name, int n);                           /* per sample, [n] */
WF_API wf_t wf_input_nd(wf_graph *graph, const char *name, int nd, const int *d);         /* per sample */
WF_API wf_t wf_shared_nd(wf_graph *graph, const char *name, int nd, const int *d);        /* the same for all samples of a run */
WF_API wf_t wf_param(wf_graph *graph, const char *name, int nd, const int *d, int init, double scale);
WF_API wf_t wf_const(wf_graph *graph, double value);                                      /* [] */
WF_API wf_t wf_array(wf_graph *graph, int nd, const int *d, const double *values);        /* copied */
WF_API wf_t wf_full(wf_graph *graph, int nd, const int *d, double value);
WF_API wf_t wf_samples(wf_graph *graph);                                                  /* [] the number of samples of the run */
WF_API wf_t wf_uniform(wf_graph *graph, int nd, const int *d, int purpose);               /* per sample, in (0,1) */
WF_API wf_t wf_normal(wf_graph *graph, int nd, const int *d, int purpose);                /* per sample, standard normal */

/* Element by element. Two arguments are broadcast to a common shape as in NumPy: aligned at the last axis, sizes 1 repeated. */
WF_API wf_t wf_neg(wf_t x);
WF_API wf_t wf_recip(wf_t x);
WF_API wf_t wf_exp(wf_t x);
WF_API wf_t wf_expm1(wf_t x);
WF_API wf_t wf_log(wf_t x);
WF_API wf_t wf_log1p(wf_t x);
WF_API wf_t wf_sqrt(wf_t x);
WF_API wf_t wf_tanh(wf_t x);
WF_API wf_t wf_sigmoid(wf_t x);
WF_API wf_t wf_softplus(wf_t x);
WF_API wf_t wf_erf(wf_t x);
WF_API wf_t wf_sin(wf_t x);
WF_API wf_t wf_cos(wf_t x);
WF_API wf_t wf_abs(wf_t x);
WF_API wf_t wf_sign(wf_t x);
WF_API wf_t wf_floor(wf_t x);
WF_API wf_t wf_round(wf_t x);
WF_API wf_t wf_relu(wf_t x);
WF_API wf_t wf_square(wf_t x);
WF_API wf_t wf_stop(wf_t x);                       /* the same number, a constant to derivatives */
WF_API wf_t wf_add(wf_t a, wf_t b);
WF_API wf_t wf_sub(wf_t a, wf_t b);
WF_API wf_t wf_mul(wf_t a, wf_t b);
WF_API wf_t wf_div(wf_t a, wf_t b);
WF_API wf_t wf_max(wf_t a, wf_t b);
WF_API wf_t wf_min(wf_t a, wf_t b);
WF_API wf_t wf_lt(wf_t a, wf_t b);
WF_API wf_t wf_le(wf_t a, wf_t b);
WF_API wf_t wf_eq(wf_t a, wf_t b);
WF_API wf_t wf_atan2(wf_t y, wf_t x);
WF_API wf_t wf_select(wf_t condition, wf_t yes, wf_t no);
WF_API wf_t wf_scale(wf_t x, double factor);
WF_API wf_t wf_shift(wf_t x, double term);

/* Sums and the like. `axis` may be negative, counted from the end. */
WF_API wf_t wf_sum(wf_t x);                        /* of all elements of a sample: [] */
WF_API wf_t wf_sum_over(wf_t x, int axis);         /* the axis disappears */
WF_API wf_t wf_max_over(wf_t x, int axis);         /* a constant to derivatives */
WF_API wf_t wf_batch_sum(wf_t x);                  /* over all samples: shared */
WF_API wf_t wf_mean(wf_t x);                       /* of all elements of all samples: [], shared */
WF_API wf_t wf_dot(wf_t a, wf_t b);                /* sum of a*b: [] */
WF_API wf_t wf_sumsq(wf_t x);
WF_API wf_t wf_cumsum(wf_t x, int axis, int exclusive, int reverse);
WF_API wf_t wf_softmax(wf_t x, int axis);
WF_API wf_t wf_log_softmax(wf_t x, int axis);
WF_API wf_t wf_logsumexp(wf_t x, int axis);

/* Shape. */
WF_API wf_t wf_reshape(wf_t x, int nd, const int *d);
WF_API wf_t wf_bcast(wf_t x, int nd, const int *d);
WF_API wf_t wf_permute(wf_t x, const int *order);
WF_API wf_t wf_transpose(wf_t x);                                      /* the last two axes */
WF_API wf_t wf_slice(wf_t x, int axis, int start, int count);
WF_API wf_t wf_slice_step(wf_t x, int axis, int start, int count, int step);
WF_API wf_t wf_pad(wf_t x, int axis, int before, int after);
WF_API wf_t wf_reverse(wf_t x, int axis);
WF_API wf_t wf_concat(const wf_t *list, int n, int axis);
WF_API wf_t wf_stack(const wf_t *list, int n);                         /* along a new first axis */
/* Rows (elements of the first axis) by number; sums of rows into places; `index` holds whole numbers, [m]. Numbers out of range are clamped. */
WF_API wf_t wf_take(wf_t x, wf_t index);
WF_API wf_t wf_scatter_add(wf_t x, wf_t index, int n);
/* How many of the sorted `knots` [k] are <= x; the order that sorts [n] ascending (stable). Constants to derivatives. */
WF_API wf_t wf_search(wf_t knots, wf_t x);
WF_API wf_t wf_argsort(wf_t x);

/* Matrices: [m,k][k,n], [m,k][k], or with one leading axis in both [b,m,k][b,k,n]. */
WF_API wf_t wf_matmul(wf_t a, wf_t b);
WF_API wf_t wf_matmul_t(wf_t a, int transpose_a, wf_t b, int transpose_b);
/* Solve L x = b (or its transpose) for triangular L [n,n] and b [n,m]; the lower root of a positive matrix [n,n]. Small n. */
WF_API wf_t wf_trisolve(wf_t l, wf_t b, int upper, int transpose, int unit_diagonal);
WF_API wf_t wf_cholesky(wf_t a);

/* ---- Loops ---- */

/* A loop under construction, then the handle to its results. Lives with its graph. */
typedef struct wf__loop wf_loop;
/* What reverse-mode differentiation keeps of a loop: the carries of each step, recomputing the rest (the default: least memory traffic);
   everything it will need; or the carries of a few steps only, recomputing from them. Results have the same bits. */
enum { WF_KEEP_CARRY = 0, WF_KEEP_ALL = 1, WF_KEEP_FEW = 2 };

/* Begin a loop of `steps` steps (at least 1) in a graph; WF_KEEP_... */
WF_API wf_loop *wf_loop_begin(wf_graph *graph, int steps, int keep);
/* The graph of the body, to build constants and parameters in. */
WF_API wf_graph *wf_loop_body(wf_loop *loop);
/* Values of the body: a carry that starts at `start`; row k of `rows` in step k; an outer value as a constant; the step's number as [1], shared. */
WF_API wf_t wf_loop_carry(wf_loop *loop, wf_t start);
WF_API wf_t wf_loop_each(wf_loop *loop, wf_t rows);
WF_API wf_t wf_loop_constant(wf_loop *loop, wf_t value);
WF_API wf_t wf_loop_step(wf_loop *loop);
/* The body's value that `carry` has in the next step; of the same shape. Once for each carry. */
WF_API wf_result wf_loop_next(wf_loop *loop, wf_t carry, wf_t next);
/* End the construction. After this the body must not grow. */
WF_API wf_result wf_loop_end(wf_loop *loop);
/* Results: a carry after the last step; all values of a body's value, [steps, ...]; their sum over the steps. */
WF_API wf_t wf_loop_final(wf_loop *loop, wf_t carry);
WF_API wf_t wf_loop_stack(wf_loop *loop, wf_t value);
WF_API wf_t wf_loop_total(wf_loop *loop, wf_t value);
/* x as a value of its own for each sample: the start of a carry that will differ between samples. */
WF_API wf_t wf_per_sample(wf_t x);

/* ---- Operations of your own ---- */

/* A value for several samples side by side: element e of sample l is data[e * lanes + l], float or double by `type`. */
typedef struct wf_block { void *data; int type, nd, d[4], lanes; } wf_block;

/* An operation of the user's with one result. Everything is copied but `user`. Callbacks may run on any thread, on different blocks at once. */
typedef struct wf_op_desc {
    const char *name;
    int nd, d[4];                                                                        /* the shape of the result */
    void (*eval)(void *user, const wf_block *in, int inputs, wf_block *out);             /* required */
    /* The cotangent of argument `which` as a graph. For derivatives of every order. */
    wf_t (*vjp)(void *user, const wf_t *in, int inputs, wf_t out, wf_t cotangent, int which);
    /* The tangent of the result as a graph; tangents with id 0 are zero. */
    wf_t (*jvp)(void *user, const wf_t *in, int inputs, wf_t out, const wf_t *tangent);
    /* Or numbers only: the cotangent of argument `which`. For reverse-mode derivatives of first order. */
    void (*vjp_eval)(void *user, const wf_block *in, int inputs, const wf_block *out, const wf_block *cotangent, int which, wf_block *result);
    void *user;
} wf_op_desc;

/* The result of an operation of the user's on up to 8 values. */
WF_API wf_t wf_custom(const wf_op_desc *op, const wf_t *in, int inputs);

/* ---- Derivatives ---- */

/* Reverse mode: the cotangents out[j] of x[j], given the cotangents u[i] of y[i]. Where x is shared and y is not, the sum over the samples. */
WF_API wf_result wf_vjp(const wf_t *y, const wf_t *u, int ny, const wf_t *x, int nx, wf_t *out);
/* Forward mode: the tangents out[i] of y[i], given the tangents v[j] of x[j]. */
WF_API wf_result wf_jvp_list(const wf_t *x, const wf_t *v, int nx, const wf_t *y, int ny, wf_t *out);
/* The gradient of the sum of all elements of y; the derivative of y in the direction v at x. Shapes: those of x; of y. */
WF_API wf_t wf_grad(wf_t y, wf_t x);
WF_API wf_t wf_jvp(wf_t y, wf_t x, wf_t v);
/* The matrix of derivatives [size of y, size of x], by one forward sweep for each element of x; its trace, for a square one. */
WF_API wf_t wf_jacobian(wf_t y, wf_t x);
WF_API wf_t wf_divergence(wf_t y, wf_t x);

/* Value, gradient [size of y, D] and Laplacian (shape of y) of y in x [D], carried together (Dangel et al. 2025, collapsed). */
typedef struct wf_jet { wf_t value, grad, lap; } wf_jet;
WF_API wf_jet wf_jet2(wf_t y, wf_t x);
WF_API wf_t wf_laplacian(wf_t y, wf_t x);

/* header: close the declarations */
#ifdef __cplusplus
}
#endif
#endif /* WEIGHTFLOW_H */

#ifdef WEIGHTFLOW_IMPLEMENTATION
#ifndef WEIGHTFLOW_IMPLEMENTATION_DONE
#define WEIGHTFLOW_IMPLEMENTATION_DONE

/* header: prepare the compiler */
#include <stdarg.h>
#include <string.h>
#include <math.h>
#ifndef WF_NO_MALLOC
#include <stdlib.h>
#endif
#if defined(_OPENMP) && !defined(WF_NO_OPENMP)
#include <omp.h>
#endif

/* missing: vectors: include the intrinsics */

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wunused-function"
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif

#ifdef __cplusplus
extern "C" {
#endif

int wf_version(void) { return WF_VERSION; }

/* implementation */
/* ---- Platform ---- */
/* platform: name what compilers name differently */
#if defined(__GNUC__) || defined(__clang__) || defined(_MSC_VER)
#define WF_RESTRICT __restrict
#else
#define WF_RESTRICT
#endif
#ifndef WF_ASSERT
#define WF_ASSERT(x) ((void)0)
#endif

/* platform: name a result */
const char *wf_result_string(wf_result result)
{
    switch (result) {
    /* platform: results: cases */
    case WF_OK: return "success";
    case WF_CANCELLED: return "cancelled by the progress callback";
    case WF_ERROR_MEMORY: return "out of memory";
    case WF_ERROR_ARGUMENT: return "an argument is not valid";
    case WF_ERROR_SHAPE: return "shapes do not fit";
    case WF_ERROR_NAME: return "a name is unknown or taken";
    case WF_ERROR_FORMAT: return "a file is not what it should be";
    case WF_ERROR_IO: return "reading or writing failed";
    case WF_ERROR_UNSUPPORTED: return "not supported";
    case WF_ERROR_NUMERIC: return "a number is not finite, or an iteration diverged";
    case WF_ERROR_LIMIT: return "a size is too large";
    case WF_ERROR_DATA: return "the data cannot be used";
    default: return "unknown result";
    }
}

/* platform: multiply sizes without wrapping */
static int wf__mul_size(size_t a, size_t b, size_t *product)
{
    if (b && a > (size_t)-1 / b) return 0;
    *product = a * b;
    return 1;
}

/* platform: look at the bits of a number */
static int wf__finite(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits >> 52 & 0x7FF) != 0x7FF;
}

static int wf__finite_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits >> 23 & 0xFF) != 0xFF;
}

/* ---- Errors ---- */
/* errors: append a string */
typedef struct wf__text { char *at, *end; } wf__text;

static void wf__put(wf__text *t, const char *s)
{
    while (*s && t->at < t->end) *t->at++ = *s++;
    *t->at = 0;
}

/* errors: append an integer */
static void wf__put_size(wf__text *t, uint64_t value)
{
    char digits[24], *p = digits + sizeof digits;
    *--p = 0;
    do { *--p = (char)('0' + (int)(value % 10)); value /= 10; } while (value);
    wf__put(t, p);
}

static void wf__put_int(wf__text *t, int64_t value)
{
    if (value < 0) wf__put(t, "-");
    wf__put_size(t, value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value);
}

/* errors: append a number */
static void wf__put_number(wf__text *t, double x)
{
    int exponent = 0;
    if (!wf__finite(x)) { wf__put(t, x > 0 ? "inf" : x < 0 ? "-inf" : "nan"); return; }
    if (x < 0) { wf__put(t, "-"); x = -x; }
    while (x >= 1e6) { x /= 10; exponent++; }
    while (x > 0 && x < 1e-3) { x *= 10; exponent--; }
    uint64_t millionths = (uint64_t)(x * 1e6 + 0.5);
    uint64_t fraction = millionths % 1000000;
    wf__put_size(t, millionths / 1000000);
    if (fraction) {
        char digits[9] = ".000000";
        for (int i = 6; i > 0; i--) { digits[i] = (char)('0' + (int)(fraction % 10)); fraction /= 10; }
        for (int i = 6; digits[i] == '0'; i--) digits[i] = 0;
        wf__put(t, digits);
    }
    if (exponent) { wf__put(t, "e"); wf__put_int(t, exponent); }
}

/* errors: format a sentence */
static void wf__format_list(char *buffer, size_t size, const char *format, va_list list)
{
    wf__text t;
    t.at = buffer;
    t.end = buffer + size - 1;
    *t.at = 0;
    for (; *format; format++) {
        char one[2] = { *format, 0 };
        if (*format != '%') { wf__put(&t, one); continue; }
        switch (*++format) {
        case 's': { const char *s = va_arg(list, const char *); wf__put(&t, s ? s : "(no name)"); break; }
        case 'd': wf__put_int(&t, va_arg(list, int)); break;
        case 'z': wf__put_size(&t, va_arg(list, size_t)); break;
        case 'I': wf__put_int(&t, va_arg(list, int64_t)); break;
        case 'g': wf__put_number(&t, va_arg(list, double)); break;
        default: wf__put(&t, "%"); break;
        }
    }
}

static void wf__format(char *buffer, size_t size, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    wf__format_list(buffer, size, format, list);
    va_end(list);
}

/* errors: record the first error */
static wf_result wf__report_list(wf_report *r, wf_result code, const char *format, va_list list)
{
    if (r && r->code >= 0) {
        r->code = code;
        wf__format_list(r->text, sizeof r->text, format, list);
    }
    return code;
}

static wf_result wf__report(wf_report *r, wf_result code, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    wf__report_list(r, code, format, list);
    va_end(list);
    return code;
}

/* ---- Memory ---- */
/* memory: define the arena */
enum { WF__ALIGN = 64 };

typedef struct wf__block {
    struct wf__block *before;
    size_t size, used; /* of the whole block, this header included */
    char *memory;      /* as the allocator returned it */
    size_t taken;      /* bytes asked of the allocator; 0: the user's buffer */
} wf__block;

struct wf_arena {
    wf_allocator allocator;
    wf__block *block;
    size_t total, next_size;
    wf_report report;
};

static size_t wf__round_up(size_t n) { return (n + (WF__ALIGN - 1)) & ~(size_t)(WF__ALIGN - 1); }

/* memory: fall back to malloc */
#ifndef WF_NO_MALLOC
static void *wf__malloc(size_t size, size_t align, void *user)
{
    (void)align;
    (void)user;
    return malloc(size);
}

static void wf__mfree(void *memory, size_t size, void *user)
{
    (void)size;
    (void)user;
    free(memory);
}
#endif

/* memory: lay a block into raw memory */
static wf__block *wf__block_place(char *memory, size_t size)
{
    size_t skip = (size_t)((uintptr_t)0 - (uintptr_t)memory) & (WF__ALIGN - 1);
    size_t head = wf__round_up(sizeof(wf__block));
    if (size < skip + head) return NULL;
    wf__block *b = (wf__block *)(void *)(memory + skip);
    memset(b, 0, sizeof *b);
    b->memory = memory;
    b->size = size - skip;
    b->used = head;
    return b;
}

/* memory: take a new block */
static wf__block *wf__block_new(wf_allocator *a, size_t room)
{
    size_t extra = wf__round_up(sizeof(wf__block)) + WF__ALIGN;
    if (!a->alloc || room > (size_t)-1 - extra) return NULL;
    char *memory = (char *)a->alloc(room + extra, WF__ALIGN, a->user);
    if (!memory) return NULL;
    wf__block *b = wf__block_place(memory, room + extra);
    b->taken = room + extra;
    return b;
}

/* memory: make an arena */
static wf_arena *wf__arena_in(wf__block *b, const wf_allocator *allocator)
{
    size_t size = wf__round_up(sizeof(wf_arena));
    if (!b || b->size - b->used < size) return NULL;
    wf_arena *A = (wf_arena *)(void *)((char *)b + b->used);
    memset(A, 0, sizeof *A);
    b->used += size;
    A->block = b;
    A->allocator = *allocator;
    A->total = b->taken;
    A->next_size = 2 * b->size;
    return A;
}

wf_arena *wf_arena_new(const wf_allocator *allocator)
{
    wf_allocator a = { NULL, NULL, NULL };
#ifndef WF_NO_MALLOC
    a.alloc = wf__malloc;
    a.free = wf__mfree;
#endif
    if (allocator) a = *allocator;
    return wf__arena_in(wf__block_new(&a, 16384), &a);
}

wf_arena *wf_arena_from(void *buffer, size_t size)
{
    wf_allocator none = { NULL, NULL, NULL };
    return buffer ? wf__arena_in(wf__block_place((char *)buffer, size), &none) : NULL;
}

/* memory: cut a piece */
void *wf_alloc(wf_arena *A, size_t count, size_t size)
{
    size_t bytes;
    if (!A) return NULL;
    if (!wf__mul_size(count, size, &bytes) || bytes > (size_t)-1 / 4) {
        wf__report(&A->report, WF_ERROR_LIMIT, "memory: %z elements of %z bytes are too many", count, size);
        return NULL;
    }
    bytes = wf__round_up(bytes ? bytes : 1);
    wf__block *b = A->block;
    if (b->size - b->used < bytes) {
        b = wf__block_new(&A->allocator, bytes > A->next_size ? bytes : A->next_size);
        if (!b && bytes < A->next_size) b = wf__block_new(&A->allocator, bytes);
        if (!b) {
            wf__report(&A->report, WF_ERROR_MEMORY, "memory: no room for %z bytes", bytes);
            return NULL;
        }
        b->before = A->block;
        A->block = b;
        A->total += b->taken;
        if (A->next_size < ((size_t)1 << 24)) A->next_size *= 2;
    }
    void *piece = (char *)b + b->used;
    b->used += bytes;
    memset(piece, 0, bytes);
    return piece;
}

/* memory: go back to a mark */
wf_mark wf_arena_mark(const wf_arena *A)
{
    wf_mark m = { NULL, 0 };
    if (A) { m.block = A->block; m.used = A->block->used; }
    return m;
}

static void wf__block_drop(const wf_allocator *a, wf__block *b)
{
    if (b->taken) a->free(b->memory, b->taken, a->user);
}

void wf_arena_reset(wf_arena *A, wf_mark m)
{
    if (!A || !m.block) return;
    while (A->block != m.block && A->block->before) {
        wf__block *b = A->block;
        A->block = b->before;
        A->total -= b->taken;
        wf__block_drop(&A->allocator, b);
    }
    A->block->used = m.used;
}

/* memory: free an arena */
void wf_arena_free(wf_arena *A)
{
    if (!A) return;
    wf_allocator a = A->allocator;
    for (wf__block *b = A->block; b;) {
        wf__block *before = b->before;
        wf__block_drop(&a, b);
        b = before;
    }
}

size_t wf_arena_size(const wf_arena *A) { return A ? A->total : 0; }

/* memory: report and clear errors */
const wf_report *wf_arena_report(const wf_arena *A)
{
    static const wf_report none = { WF_ERROR_MEMORY, "memory: there is no arena (it could not be made, or is NULL)" };
    return A ? &A->report : &none;
}

void wf_arena_clear(wf_arena *A)
{
    if (A) { A->report.code = WF_OK; A->report.text[0] = 0; }
}

static wf_result wf__fail(wf_arena *A, wf_result code, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    wf__report_list(A ? &A->report : NULL, code, format, list);
    va_end(list);
    return code;
}

/* memory: copy a name */
static char *wf__copy_name(wf_arena *A, const char *name)
{
    size_t n = name ? strlen(name) : 0;
    char *copy = (char *)wf_alloc(A, n + 1, 1);
    if (copy && n) memcpy(copy, name, n);
    return copy;
}

/* ---- Threads ---- */
/* threads: run tasks */
int wf_threads_default(const wf_parallel *p)
{
    if (p && p->run) return p->threads > 0 ? p->threads : 1;
#if defined(_OPENMP) && !defined(WF_NO_OPENMP)
    return omp_get_max_threads();
#else
    return 1;
#endif
}

static void wf__parallel_for(const wf_parallel *p, int threads, int tasks, void (*task)(void *context, int index), void *context)
{
    if (threads <= 0) threads = wf_threads_default(p);
    if (threads > tasks) threads = tasks;
    if (p && p->run && threads > 1) { p->run(p->user, tasks, task, context); return; }
#if defined(_OPENMP) && !defined(WF_NO_OPENMP)
    if (threads > 1) {
#pragma omp parallel for schedule(static) num_threads(threads)
        for (int i = 0; i < tasks; i++) task(context, i);
        return;
    }
#endif
    for (int i = 0; i < tasks; i++) task(context, i);
}

/* ---- Parameters ---- */
/* parameters: define the directory */
struct wf_params {
    wf_arena *arena;
    uint64_t seed;
    int type, entries, room;
    wf_param_info *entry;
    char *data;
    size_t size, data_room, count;
};

static size_t wf__type_size(int type) { return type == WF_F64 ? sizeof(double) : sizeof(float); }

static double wf__load(const void *x, int type, size_t i)
{
    return type == WF_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

static void wf__store(void *x, int type, size_t i, double value)
{
    if (type == WF_F64) ((double *)x)[i] = value;
    else ((float *)x)[i] = (float)value;
}

/* parameters: grow a table */
static int wf__grow(wf_arena *A, void **table, int used, int *room, size_t size)
{
    if (used < *room) return 1;
    int wanted = *room ? 2 * *room : 16;
    if (wanted < *room) return 0;
    void *larger = wf_alloc(A, (size_t)wanted, size);
    if (!larger) return 0;
    if (used) memcpy(larger, *table, (size_t)used * size);
    *table = larger;
    *room = wanted;
    return 1;
}

/* parameters: make a directory */
wf_params *wf_params_new(wf_arena *A, uint64_t seed, int type)
{
    if (type != WF_F32 && type != WF_F64) {
        wf__fail(A, WF_ERROR_ARGUMENT, "params: element type %d is neither WF_F32 nor WF_F64", type);
        return NULL;
    }
    wf_params *P = (wf_params *)wf_alloc(A, 1, sizeof *P);
    if (!P) return NULL;
    P->arena = A;
    P->seed = seed;
    P->type = type;
    return P;
}

int wf_params_find(const wf_params *P, const char *name)
{
    for (int i = 0; P && name && i < P->entries; i++)
        if (!strcmp(P->entry[i].name, name)) return i;
    return -1;
}

/* parameters: draw starting values */
static uint64_t wf__hash_name(const char *s)
{
    uint64_t h = 14695981039346656037u;
    for (; *s; s++) h = (h ^ (uint64_t)(unsigned char)*s) * 1099511628211u;
    return h;
}

static void wf__params_start(wf_params *P, const wf_param_info *e, int init, double scale)
{
    uint64_t h = wf__hash_name(e->name);
    uint32_t purpose = (uint32_t)(h ^ h >> 32);
    for (size_t i = 0; i < e->count; i++) {
        double x = 0;
        if (init == WF_INIT_CONSTANT) x = scale;
        else if (init == WF_INIT_NORMAL) x = scale * wf_normal_at(P->seed, (uint32_t)i, purpose, 0, WF__PURPOSE_INIT);
        else if (init == WF_INIT_UNIFORM) x = scale * (2 * wf_uniform_at(P->seed, (uint32_t)i, purpose, 0, WF__PURPOSE_INIT) - 1);
        wf__store(P->data, P->type, e->offset + i, x);
    }
}

/* parameters: describe a shape */
static void wf__shape_text(char *buffer, size_t size, int nd, const int *d)
{
    wf__text t;
    t.at = buffer;
    t.end = buffer + size - 1;
    wf__put(&t, "[");
    for (int i = 0; i < nd; i++) {
        if (i) wf__put(&t, ",");
        wf__put_int(&t, d[i]);
    }
    wf__put(&t, "]");
}

static int wf__shape_size(int nd, const int *d, size_t *size)
{
    *size = 1;
    for (int i = 0; i < nd; i++)
        if (d[i] < 1 || !wf__mul_size(*size, (size_t)d[i], size)) return 0;
    return *size <= (size_t)1 << 30;
}

/* parameters: find or add */
static int wf__params_make_room(wf_params *P, size_t size)
{
    if (size <= P->data_room) return 1;
    size_t room = P->data_room ? P->data_room : 1024;
    while (room < size) room *= 2;
    char *data = (char *)wf_alloc(P->arena, room, wf__type_size(P->type));
    if (!data) return 0;
    if (P->size) memcpy(data, P->data, P->size * wf__type_size(P->type));
    P->data = data;
    P->data_room = room;
    return 1;
}

int wf_params_add(wf_params *P, const char *name, int nd, const int *d, int init, double scale)
{
    char shape[64], other[64];
    size_t count;
    if (!P) return WF_ERROR_ARGUMENT;
    if (!name || !*name) return wf__fail(P->arena, WF_ERROR_NAME, "params: a parameter needs a name");
    if (nd < 0 || nd > 4 || !wf__shape_size(nd, d, &count))
        return wf__fail(P->arena, WF_ERROR_SHAPE, "params: %s: a shape has up to 4 sizes, each at least 1, and 2^30 elements at most", name);
    int found = wf_params_find(P, name);
    if (found >= 0) {
        const wf_param_info *e = &P->entry[found];
        if (e->nd == nd && !memcmp(e->d, d, (size_t)nd * sizeof *d)) return found;
        wf__shape_text(shape, sizeof shape, nd, d);
        wf__shape_text(other, sizeof other, e->nd, e->d);
        return wf__fail(P->arena, WF_ERROR_SHAPE, "params: %s is %s, asked for as %s", name, other, shape);
    }
    void *table = P->entry;
    if (!wf__grow(P->arena, &table, P->entries, &P->room, sizeof *P->entry)) return WF_ERROR_MEMORY;
    P->entry = (wf_param_info *)table;
    size_t offset = P->size, size = (offset + count + 15) & ~(size_t)15;
    char *copy = wf__copy_name(P->arena, name);
    if (!copy || !wf__params_make_room(P, size)) return WF_ERROR_MEMORY;
    wf_param_info *e = &P->entry[P->entries];
    memset(e, 0, sizeof *e);
    e->name = copy;
    e->nd = nd;
    for (int i = 0; i < nd; i++) e->d[i] = d[i];
    e->offset = offset;
    e->count = count;
    P->size = size;
    P->count += count;
    wf__params_start(P, e, init, scale);
    return P->entries++;
}

/* parameters: look inside */
int wf_params_entries(const wf_params *P) { return P ? P->entries : 0; }
const wf_param_info *wf_params_entry(const wf_params *P, int i) { return P && i >= 0 && i < P->entries ? &P->entry[i] : NULL; }
size_t wf_params_size(const wf_params *P) { return P ? P->size : 0; }
size_t wf_params_count(const wf_params *P) { return P ? P->count : 0; }
int wf_params_type(const wf_params *P) { return P ? P->type : WF_F32; }
void *wf_params_data(wf_params *P) { return P ? P->data : NULL; }

static const wf_param_info *wf__params_named(const wf_params *P, const char *name, size_t count)
{
    int i = wf_params_find(P, name);
    if (i < 0) { if (P) wf__fail(P->arena, WF_ERROR_NAME, "params: there is no parameter %s", name); return NULL; }
    if (P->entry[i].count == count) return &P->entry[i];
    wf__fail(P->arena, WF_ERROR_SHAPE, "params: %s has %z elements, not %z", name, P->entry[i].count, count);
    return NULL;
}

wf_result wf_params_get(const wf_params *P, const char *name, double *values, size_t count)
{
    const wf_param_info *e = wf__params_named(P, name, count);
    if (!e) return P ? P->arena->report.code : WF_ERROR_ARGUMENT;
    for (size_t i = 0; i < count; i++) values[i] = wf__load(P->data, P->type, e->offset + i);
    return WF_OK;
}

wf_result wf_params_set(wf_params *P, const char *name, const double *values, size_t count)
{
    const wf_param_info *e = wf__params_named(P, name, count);
    if (!e) return P ? P->arena->report.code : WF_ERROR_ARGUMENT;
    for (size_t i = 0; i < count; i++) wf__store(P->data, P->type, e->offset + i, values[i]);
    return WF_OK;
}

/* ---- Operations ---- */
/* operations: table: enum */
enum {
    WF__OP_NONE,     /* no value; what a failed call returns */
    WF__OP_CONST,    /* one number */
    WF__OP_ARRAY,    /* a table of numbers */
    WF__OP_PARAM,    /* a parameter */
    WF__OP_INPUT,    /* numbers given at each run */
    WF__OP_COUNT,    /* how many samples the run has */
    WF__OP_RANDOM,   /* noise, a function of seed, sample, step and purpose */
    WF__OP_NEG,      /* -x */
    WF__OP_RECIP,    /* 1/x */
    WF__OP_EXP,      /* e^x */
    WF__OP_EXPM1,    /* e^x - 1 */
    WF__OP_LOG,      /* natural logarithm */
    WF__OP_LOG1P,    /* log(1+x) */
    WF__OP_SQRT,     /* square root */
    WF__OP_TANH,     /* hyperbolic tangent */
    WF__OP_SIGMOID,  /* 1/(1+e^-x) */
    WF__OP_SOFTPLUS, /* log(1+e^x) */
    WF__OP_ERF,      /* error function */
    WF__OP_SIN,      /* sine */
    WF__OP_COS,      /* cosine */
    WF__OP_ABS,      /* absolute value */
    WF__OP_SIGN,     /* -1, 0 or 1 */
    WF__OP_FLOOR,    /* largest integer not above x */
    WF__OP_ROUND,    /* nearest integer, ties to even */
    WF__OP_RELU,     /* max(x,0) */
    WF__OP_SQUARE,   /* x^2 */
    WF__OP_ADD,      /* a+b */
    WF__OP_SUB,      /* a-b */
    WF__OP_MUL,      /* a*b */
    WF__OP_DIV,      /* a/b */
    WF__OP_MAX,      /* the larger; where equal, the first */
    WF__OP_MIN,      /* the smaller; where equal, the first */
    WF__OP_LT,       /* 1 where a<b, else 0 */
    WF__OP_LE,       /* 1 where a<=b, else 0 */
    WF__OP_EQ,       /* 1 where a=b, else 0 */
    WF__OP_ATAN2,    /* the angle of the point (b,a) */
    WF__OP_SELECT,   /* where the first is not 0 the second, else the third */
    WF__OP_SUM,      /* over one axis */
    WF__OP_MAX_OVER, /* the largest along one axis, as a constant */
    WF__OP_BCAST,    /* repeat along axes of size 1 or none */
    WF__OP_BSUM,     /* over all samples of the run */
    WF__OP_RESHAPE,  /* the same numbers in another shape */
    WF__OP_PERMUTE,  /* axes in another order */
    WF__OP_SLICE,    /* every k-th element of a range of one axis */
    WF__OP_PAD,      /* zeros around and between: the transpose of slice */
    WF__OP_CONCAT,   /* side by side along one axis */
    WF__OP_CUMSUM,   /* running sums along one axis */
    WF__OP_TAKE,     /* rows by number */
    WF__OP_SCATTER,  /* sum rows into places by number: the transpose of take */
    WF__OP_MATMUL,   /* matrix product, either side transposed if asked */
    WF__OP_SOFTMAX,  /* exp(x) over its sum along one axis */
    WF__OP_TRISOLVE, /* solve a triangular system */
    WF__OP_CHOLESKY, /* the lower triangular root of a positive matrix */
    WF__OP_SEARCH,   /* how many sorted knots lie at or below x */
    WF__OP_ARGSORT,  /* the order that sorts */
    WF__OP_STOP,     /* the same number, a constant to derivatives */
    WF__OP_SCAN,     /* a loop */
    WF__OP_RESULT,   /* one result of a loop or of a user's operation */
    WF__OP_CUSTOM,   /* an operation of the user's */
    WF__OPS
};

/* operations: table: names */
static const char *const wf__op_name[WF__OPS] = {
    "none",
    "const",
    "array",
    "param",
    "input",
    "count",
    "random",
    "neg",
    "recip",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sqrt",
    "tanh",
    "sigmoid",
    "softplus",
    "erf",
    "sin",
    "cos",
    "abs",
    "sign",
    "floor",
    "round",
    "relu",
    "square",
    "add",
    "sub",
    "mul",
    "div",
    "max",
    "min",
    "lt",
    "le",
    "eq",
    "atan2",
    "select",
    "sum",
    "max_over",
    "bcast",
    "bsum",
    "reshape",
    "permute",
    "slice",
    "pad",
    "concat",
    "cumsum",
    "take",
    "scatter",
    "matmul",
    "softmax",
    "trisolve",
    "cholesky",
    "search",
    "argsort",
    "stop",
    "scan",
    "result",
    "custom",
};

/* operations: table: kinds */
enum { WF__KIND_LEAF, WF__KIND_UNARY, WF__KIND_ZERO, WF__KIND_BINARY, WF__KIND_SPECIAL, WF__KIND_LINEAR, WF__KIND_BILINEAR };
enum { WF__ARITY_ANY = 255 };
static const unsigned char wf__op_kind[WF__OPS] = {
    WF__KIND_LEAF,     /* none */
    WF__KIND_LEAF,     /* const */
    WF__KIND_LEAF,     /* array */
    WF__KIND_LEAF,     /* param */
    WF__KIND_LEAF,     /* input */
    WF__KIND_LEAF,     /* count */
    WF__KIND_LEAF,     /* random */
    WF__KIND_UNARY,    /* neg */
    WF__KIND_UNARY,    /* recip */
    WF__KIND_UNARY,    /* exp */
    WF__KIND_UNARY,    /* expm1 */
    WF__KIND_UNARY,    /* log */
    WF__KIND_UNARY,    /* log1p */
    WF__KIND_UNARY,    /* sqrt */
    WF__KIND_UNARY,    /* tanh */
    WF__KIND_UNARY,    /* sigmoid */
    WF__KIND_UNARY,    /* softplus */
    WF__KIND_UNARY,    /* erf */
    WF__KIND_UNARY,    /* sin */
    WF__KIND_UNARY,    /* cos */
    WF__KIND_UNARY,    /* abs */
    WF__KIND_ZERO,     /* sign */
    WF__KIND_ZERO,     /* floor */
    WF__KIND_ZERO,     /* round */
    WF__KIND_UNARY,    /* relu */
    WF__KIND_UNARY,    /* square */
    WF__KIND_BINARY,   /* add */
    WF__KIND_BINARY,   /* sub */
    WF__KIND_BINARY,   /* mul */
    WF__KIND_BINARY,   /* div */
    WF__KIND_BINARY,   /* max */
    WF__KIND_BINARY,   /* min */
    WF__KIND_ZERO,     /* lt */
    WF__KIND_ZERO,     /* le */
    WF__KIND_ZERO,     /* eq */
    WF__KIND_BINARY,   /* atan2 */
    WF__KIND_SPECIAL,  /* select */
    WF__KIND_LINEAR,   /* sum */
    WF__KIND_ZERO,     /* max_over */
    WF__KIND_LINEAR,   /* bcast */
    WF__KIND_LINEAR,   /* bsum */
    WF__KIND_LINEAR,   /* reshape */
    WF__KIND_LINEAR,   /* permute */
    WF__KIND_LINEAR,   /* slice */
    WF__KIND_LINEAR,   /* pad */
    WF__KIND_LINEAR,   /* concat */
    WF__KIND_LINEAR,   /* cumsum */
    WF__KIND_LINEAR,   /* take */
    WF__KIND_LINEAR,   /* scatter */
    WF__KIND_BILINEAR, /* matmul */
    WF__KIND_SPECIAL,  /* softmax */
    WF__KIND_SPECIAL,  /* trisolve */
    WF__KIND_SPECIAL,  /* cholesky */
    WF__KIND_ZERO,     /* search */
    WF__KIND_ZERO,     /* argsort */
    WF__KIND_ZERO,     /* stop */
    WF__KIND_SPECIAL,  /* scan */
    WF__KIND_SPECIAL,  /* result */
    WF__KIND_SPECIAL,  /* custom */
};
static const unsigned char wf__op_arity[WF__OPS] = {
    0, /* none */
    0, /* const */
    0, /* array */
    0, /* param */
    0, /* input */
    0, /* count */
    0, /* random */
    1, /* neg */
    1, /* recip */
    1, /* exp */
    1, /* expm1 */
    1, /* log */
    1, /* log1p */
    1, /* sqrt */
    1, /* tanh */
    1, /* sigmoid */
    1, /* softplus */
    1, /* erf */
    1, /* sin */
    1, /* cos */
    1, /* abs */
    1, /* sign */
    1, /* floor */
    1, /* round */
    1, /* relu */
    1, /* square */
    2, /* add */
    2, /* sub */
    2, /* mul */
    2, /* div */
    2, /* max */
    2, /* min */
    2, /* lt */
    2, /* le */
    2, /* eq */
    2, /* atan2 */
    3, /* select */
    1, /* sum */
    1, /* max_over */
    1, /* bcast */
    WF__ARITY_ANY, /* bsum */
    1, /* reshape */
    1, /* permute */
    1, /* slice */
    1, /* pad */
    WF__ARITY_ANY, /* concat */
    1, /* cumsum */
    2, /* take */
    2, /* scatter */
    2, /* matmul */
    1, /* softmax */
    2, /* trisolve */
    1, /* cholesky */
    2, /* search */
    1, /* argsort */
    1, /* stop */
    WF__ARITY_ANY, /* scan */
    1, /* result */
    WF__ARITY_ANY, /* custom */
};

/* operations: table: rules */
enum { WF__RULE_CONST = 192, WF__RULE_A = 248, WF__RULE_B, WF__RULE_C, WF__RULE_Y, WF__RULE_U, WF__RULE_END = 255, WF__RULE_STACK = 4 };
static const double wf__rule_number[] = { -1.0, 1.0, 0.5, 1.1283791670955126, 0.0, 2.0 };
static const unsigned char wf__rule_byte[] = {
    WF__RULE_END,
    WF__RULE_CONST + 0, WF__RULE_END, /* neg: -1 */
    WF__RULE_Y, WF__RULE_Y, WF__OP_MUL, WF__OP_NEG, WF__RULE_END, /* recip: -(y*y) */
    WF__RULE_Y, WF__RULE_END, /* exp: y */
    WF__RULE_Y, WF__RULE_CONST + 1, WF__OP_ADD, WF__RULE_END, /* expm1: y+1 */
    WF__RULE_A, WF__OP_RECIP, WF__RULE_END, /* log: recip(x) */
    WF__RULE_CONST + 1, WF__RULE_A, WF__OP_ADD, WF__OP_RECIP, WF__RULE_END, /* log1p: recip(1+x) */
    WF__RULE_CONST + 2, WF__RULE_Y, WF__OP_RECIP, WF__OP_MUL, WF__RULE_END, /* sqrt: 0.5*recip(y) */
    WF__RULE_CONST + 1, WF__RULE_Y, WF__RULE_Y, WF__OP_MUL, WF__OP_SUB, WF__RULE_END, /* tanh: 1-y*y */
    WF__RULE_Y, WF__RULE_CONST + 1, WF__RULE_Y, WF__OP_SUB, WF__OP_MUL, WF__RULE_END, /* sigmoid: y*(1-y) */
    WF__RULE_A, WF__OP_SIGMOID, WF__RULE_END, /* softplus: sigmoid(x) */
    WF__RULE_CONST + 3, WF__RULE_A, WF__RULE_A, WF__OP_MUL, WF__OP_NEG, WF__OP_EXP, WF__OP_MUL, WF__RULE_END, /* erf: 1.1283791670955126*exp(-(x*x)) */
    WF__RULE_A, WF__OP_COS, WF__RULE_END, /* sin: cos(x) */
    WF__RULE_A, WF__OP_SIN, WF__OP_NEG, WF__RULE_END, /* cos: -sin(x) */
    WF__RULE_A, WF__OP_SIGN, WF__RULE_END, /* abs: sign(x) */
    WF__RULE_CONST + 4, WF__RULE_A, WF__OP_LT, WF__RULE_END, /* relu: lt(0,x) */
    WF__RULE_CONST + 5, WF__RULE_A, WF__OP_MUL, WF__RULE_END, /* square: 2*x */
    WF__RULE_CONST + 1, WF__RULE_END, /* add: 1 */
    WF__RULE_CONST + 1, WF__RULE_END, /* add: 1 */
    WF__RULE_CONST + 1, WF__RULE_END, /* sub: 1 */
    WF__RULE_CONST + 0, WF__RULE_END, /* sub: -1 */
    WF__RULE_B, WF__RULE_END, /* mul: b */
    WF__RULE_A, WF__RULE_END, /* mul: a */
    WF__RULE_B, WF__OP_RECIP, WF__RULE_END, /* div: recip(b) */
    WF__RULE_Y, WF__RULE_B, WF__OP_RECIP, WF__OP_MUL, WF__OP_NEG, WF__RULE_END, /* div: -(y*recip(b)) */
    WF__RULE_B, WF__RULE_A, WF__OP_LE, WF__RULE_END, /* max: le(b,a) */
    WF__RULE_A, WF__RULE_B, WF__OP_LT, WF__RULE_END, /* max: lt(a,b) */
    WF__RULE_A, WF__RULE_B, WF__OP_LE, WF__RULE_END, /* min: le(a,b) */
    WF__RULE_B, WF__RULE_A, WF__OP_LT, WF__RULE_END, /* min: lt(b,a) */
    WF__RULE_B, WF__RULE_A, WF__RULE_A, WF__OP_MUL, WF__RULE_B, WF__RULE_B, WF__OP_MUL, WF__OP_ADD, WF__OP_RECIP, WF__OP_MUL, WF__RULE_END, /* atan2: b*recip(a*a+b*b) */
    WF__RULE_A, WF__RULE_A, WF__RULE_A, WF__OP_MUL, WF__RULE_B, WF__RULE_B, WF__OP_MUL, WF__OP_ADD, WF__OP_RECIP, WF__OP_MUL, WF__OP_NEG, WF__RULE_END, /* atan2: -(a*recip(a*a+b*b)) */
};
static const unsigned short wf__op_rule[WF__OPS][2] = {
    { 0, 0 }, /* none */
    { 0, 0 }, /* const */
    { 0, 0 }, /* array */
    { 0, 0 }, /* param */
    { 0, 0 }, /* input */
    { 0, 0 }, /* count */
    { 0, 0 }, /* random */
    { 1, 0 }, /* neg */
    { 3, 0 }, /* recip */
    { 8, 0 }, /* exp */
    { 10, 0 }, /* expm1 */
    { 14, 0 }, /* log */
    { 17, 0 }, /* log1p */
    { 22, 0 }, /* sqrt */
    { 27, 0 }, /* tanh */
    { 33, 0 }, /* sigmoid */
    { 39, 0 }, /* softplus */
    { 42, 0 }, /* erf */
    { 50, 0 }, /* sin */
    { 53, 0 }, /* cos */
    { 57, 0 }, /* abs */
    { 0, 0 }, /* sign */
    { 0, 0 }, /* floor */
    { 0, 0 }, /* round */
    { 60, 0 }, /* relu */
    { 64, 0 }, /* square */
    { 68, 70 }, /* add */
    { 72, 74 }, /* sub */
    { 76, 78 }, /* mul */
    { 80, 83 }, /* div */
    { 89, 93 }, /* max */
    { 97, 101 }, /* min */
    { 0, 0 }, /* lt */
    { 0, 0 }, /* le */
    { 0, 0 }, /* eq */
    { 105, 116 }, /* atan2 */
    { 0, 0 }, /* select */
    { 0, 0 }, /* sum */
    { 0, 0 }, /* max_over */
    { 0, 0 }, /* bcast */
    { 0, 0 }, /* bsum */
    { 0, 0 }, /* reshape */
    { 0, 0 }, /* permute */
    { 0, 0 }, /* slice */
    { 0, 0 }, /* pad */
    { 0, 0 }, /* concat */
    { 0, 0 }, /* cumsum */
    { 0, 0 }, /* take */
    { 0, 0 }, /* scatter */
    { 0, 0 }, /* matmul */
    { 0, 0 }, /* softmax */
    { 0, 0 }, /* trisolve */
    { 0, 0 }, /* cholesky */
    { 0, 0 }, /* search */
    { 0, 0 }, /* argsort */
    { 0, 0 }, /* stop */
    { 0, 0 }, /* scan */
    { 0, 0 }, /* result */
    { 0, 0 }, /* custom */
};

/* ---- Graphs ---- */
/* graphs: define a node */
enum { WF__SHARED = 0, WF__BATCH = 1 };

typedef struct wf__node {
    uint8_t op, space, nd;
    int32_t d[4];
    int32_t arg, args; /* a range of the graph's argument pool */
    int32_t at[4];     /* axis, start, step and the like */
    double value;      /* of a constant */
} wf__node;

typedef struct wf__source { const char *name; int node; } wf__source;

struct wf_graph {
    wf_arena *arena;
    wf_params *params;
    wf__node *node;
    int nodes, node_room;
    int32_t *pool;
    int pooled, pool_room;
    int32_t *bucket; /* hash table of nodes, open addressing */
    int buckets;
    double *constant;
    int constants, constant_room;
    wf__source *source;
    int sources, source_room;
    struct wf__loop **loop;
    int loops, loop_room;
    struct wf__custom **custom;
    int customs, custom_room;
    struct wf_graph *outer; /* of a loop's body */
};

static wf__node *wf__of(wf_t x) { return &x.graph->node[x.id]; }
static int32_t wf__arg(const wf_graph *g, int id, int k) { return g->pool[g->node[id].arg + k]; }
static wf_t wf__at(wf_graph *g, int id) { wf_t x; x.graph = g; x.id = id; return x; }
static wf_t wf__arg_of(wf_t x, int k) { return wf__at(x.graph, wf__arg(x.graph, x.id, k)); }

static size_t wf__node_size(const wf__node *n)
{
    size_t size = 1;
    for (int i = 0; i < n->nd; i++) size *= (size_t)n->d[i];
    return size;
}

/* graphs: find an equal node */
static uint32_t wf__node_hash(const wf__node *n, const int32_t *args)
{
    uint64_t h = 14695981039346656037u, bits;
    memcpy(&bits, &n->value, sizeof bits);
    h = (h ^ n->op) * 1099511628211u;
    h = (h ^ n->nd) * 1099511628211u;
    h = (h ^ n->space) * 1099511628211u;
    for (int i = 0; i < 4; i++) h = (h ^ (uint32_t)n->d[i]) * 1099511628211u;
    for (int i = 0; i < 4; i++) h = (h ^ (uint32_t)n->at[i]) * 1099511628211u;
    for (int i = 0; i < n->args; i++) h = (h ^ (uint32_t)args[i]) * 1099511628211u;
    h = (h ^ bits) * 1099511628211u;
    return (uint32_t)(h ^ h >> 32);
}

static int wf__node_equal(const wf_graph *g, const wf__node *a, const wf__node *b, const int32_t *b_args)
{
    return a->op == b->op && a->nd == b->nd && a->space == b->space && a->args == b->args && !memcmp(a->d, b->d, sizeof a->d)
        && !memcmp(a->at, b->at, sizeof a->at) && !memcmp(&a->value, &b->value, sizeof a->value)
        && !memcmp(g->pool + a->arg, b_args, (size_t)a->args * sizeof *b_args);
}

/* graphs: keep the hash table sparse */
static int wf__graph_rehash(wf_graph *g)
{
    if (g->buckets && 2 * g->nodes < g->buckets) return 1;
    int buckets = g->buckets ? 2 * g->buckets : 256;
    int32_t *bucket = (int32_t *)wf_alloc(g->arena, (size_t)buckets, sizeof *bucket);
    if (!bucket) return 0;
    for (int id = 1; id < g->nodes; id++) {
        const wf__node *n = &g->node[id];
        uint32_t h = wf__node_hash(n, g->pool + n->arg);
        while (bucket[h & (uint32_t)(buckets - 1)]) h++;
        bucket[h & (uint32_t)(buckets - 1)] = id;
    }
    g->bucket = bucket;
    g->buckets = buckets;
    return 1;
}

/* graphs: add a node */
static int wf__grow_ints(wf_arena *A, int32_t **table, int used, int more, int *room)
{
    void *t = *table;
    while (used + more > *room)
        if (!wf__grow(A, &t, *room, room, sizeof **table)) return 0;
    *table = (int32_t *)t;
    return 1;
}

static wf_t wf__node_add(wf_graph *g, wf__node n, const int32_t *args, int count)
{
    wf_t none = { g, 0 };
    void *table = g->node;
    n.args = count;
    if (!wf__graph_rehash(g)) return none;
    uint32_t h = wf__node_hash(&n, args);
    for (int id; (id = g->bucket[h & (uint32_t)(g->buckets - 1)]) != 0; h++)
        if (wf__node_equal(g, &g->node[id], &n, args)) return wf__at(g, id);
    if (g->nodes >= 1 << 24) { wf__fail(g->arena, WF_ERROR_LIMIT, "graph: more than 2^24 values"); return none; }
    if (!wf__grow(g->arena, &table, g->nodes, &g->node_room, sizeof n)) return none;
    g->node = (wf__node *)table;
    if (!wf__grow_ints(g->arena, &g->pool, g->pooled, count, &g->pool_room)) return none;
    n.arg = g->pooled;
    for (int i = 0; i < count; i++) g->pool[g->pooled++] = args[i];
    g->node[g->nodes] = n;
    g->bucket[h & (uint32_t)(g->buckets - 1)] = g->nodes;
    return wf__at(g, g->nodes++);
}

/* graphs: make a graph */
wf_graph *wf_graph_new(wf_arena *A, wf_params *P)
{
    wf_graph *g = (wf_graph *)wf_alloc(A, 1, sizeof *g);
    if (!g) return NULL;
    g->arena = A;
    g->params = P;
    g->nodes = 1; /* number 0 is no value */
    g->node = (wf__node *)wf_alloc(A, 64, sizeof *g->node);
    g->node_room = 64;
    return g->node ? g : NULL;
}

int wf_graph_size(const wf_graph *g) { return g ? g->nodes - 1 : 0; }

int wf_shape(wf_t x, int d[4])
{
    if (!x.graph || !x.id) return -1;
    for (int i = 0; i < 4; i++) d[i] = i < wf__of(x)->nd ? wf__of(x)->d[i] : 1;
    return wf__of(x)->nd;
}

int wf_is_batch(wf_t x) { return x.graph && x.id && wf__of(x)->space == WF__BATCH; }

/* graphs: complain about arguments */
static wf_t wf__none(wf_graph *g) { return wf__at(g, 0); }

static int wf__missing(wf_t x)
{
    if (x.graph && !x.id && x.graph->arena->report.code >= 0)
        wf__fail(x.graph->arena, WF_ERROR_ARGUMENT, "graph: an argument is no value");
    return !x.graph || !x.id;
}

static wf_t wf__misfit(wf_t a, wf_t b, const char *operation)
{
    char sa[64], sb[64];
    wf__shape_text(sa, sizeof sa, wf__of(a)->nd, wf__of(a)->d);
    wf__shape_text(sb, sizeof sb, wf__of(b)->nd, wf__of(b)->d);
    wf__fail(a.graph->arena, WF_ERROR_SHAPE, "%s: %s and %s do not fit (values %d and %d)", operation, sa, sb, a.id, b.id);
    return wf__none(a.graph);
}

static wf_t wf__unfit(wf_t a, const char *operation, const char *why)
{
    char sa[64];
    wf__shape_text(sa, sizeof sa, wf__of(a)->nd, wf__of(a)->d);
    wf__fail(a.graph->arena, WF_ERROR_SHAPE, "%s: %s: %s (value %d)", operation, sa, why, a.id);
    return wf__none(a.graph);
}

static int wf__strangers(wf_t a, wf_t b)
{
    if (wf__missing(a) || wf__missing(b)) return 1;
    if (a.graph == b.graph) return 0;
    wf__fail(a.graph->arena, WF_ERROR_ARGUMENT, "graph: values of two graphs in one operation");
    return 1;
}

/* graphs: build a source */
static wf__node wf__blank(int op, int space, int nd, const int *d)
{
    wf__node n;
    memset(&n, 0, sizeof n);
    n.op = (uint8_t)op;
    n.space = (uint8_t)space;
    n.nd = (uint8_t)nd;
    for (int i = 0; i < nd; i++) n.d[i] = d[i];
    return n;
}

static int wf__shape_bad(wf_graph *g, const char *what, int nd, const int *d)
{
    size_t size;
    if (!g) return 1;
    if (nd >= 0 && nd <= 4 && wf__shape_size(nd, d, &size)) return 0;
    wf__fail(g->arena, WF_ERROR_SHAPE, "%s: a shape has up to 4 sizes, each at least 1, and 2^30 elements at most", what);
    return 1;
}

static wf_t wf__source_nd(wf_graph *g, const char *name, int space, int nd, const int *d)
{
    if (wf__shape_bad(g, name ? name : "input", nd, d)) return wf__none(g);
    if (!name || !*name) { wf__fail(g->arena, WF_ERROR_NAME, "graph: an input needs a name"); return wf__none(g); }
    wf__node n = wf__blank(WF__OP_INPUT, space, nd, d);
    for (int i = 0; i < g->sources; i++) {
        if (strcmp(g->source[i].name, name)) continue;
        n.at[0] = i;
        const wf__node *o = &g->node[g->source[i].node];
        if (o->space == space && o->nd == nd && !memcmp(o->d, n.d, sizeof n.d)) return wf__at(g, g->source[i].node);
        wf__fail(g->arena, WF_ERROR_SHAPE, "graph: input %s is asked for twice with different shapes", name);
        return wf__none(g);
    }
    void *table = g->source;
    if (!wf__grow(g->arena, &table, g->sources, &g->source_room, sizeof *g->source)) return wf__none(g);
    g->source = (wf__source *)table;
    n.at[0] = g->sources;
    wf_t x = wf__node_add(g, n, NULL, 0);
    g->source[g->sources].name = wf__copy_name(g->arena, name);
    if (!x.id || !g->source[g->sources].name) return wf__none(g);
    g->source[g->sources++].node = x.id;
    return x;
}

wf_t wf_input(wf_graph *g, const char *name, int n) { return wf__source_nd(g, name, WF__BATCH, 1, &n); }
wf_t wf_input_nd(wf_graph *g, const char *name, int nd, const int *d) { return wf__source_nd(g, name, WF__BATCH, nd, d); }
wf_t wf_shared_nd(wf_graph *g, const char *name, int nd, const int *d) { return wf__source_nd(g, name, WF__SHARED, nd, d); }

/* graphs: build a parameter or a constant */
wf_t wf_param(wf_graph *g, const char *name, int nd, const int *d, int init, double scale)
{
    if (!g) return wf__none(g);
    if (!g->params) { wf__fail(g->arena, WF_ERROR_ARGUMENT, "graph: parameter %s in a graph without parameters", name); return wf__none(g); }
    int index = wf_params_add(g->params, name, nd, d, init, scale);
    if (index < 0) {
        wf__fail(g->arena, index, "%s", wf_arena_report(g->params->arena)->text);
        return wf__none(g);
    }
    wf__node n = wf__blank(WF__OP_PARAM, WF__SHARED, nd, d);
    n.at[0] = index;
    return wf__node_add(g, n, NULL, 0);
}

wf_t wf_const(wf_graph *g, double value)
{
    if (!g) return wf__none(g);
    wf__node n = wf__blank(WF__OP_CONST, WF__SHARED, 0, NULL);
    n.value = value + 0.0; /* -0 and 0 are one constant */
    return wf__node_add(g, n, NULL, 0);
}

wf_t wf_array(wf_graph *g, int nd, const int *d, const double *values)
{
    if (wf__shape_bad(g, "array", nd, d)) return wf__none(g);
    wf__node n = wf__blank(WF__OP_ARRAY, WF__SHARED, nd, d);
    size_t size = wf__node_size(&n);
    void *table = g->constant;
    while ((size_t)g->constant_room - (size_t)g->constants < size)
        if (!wf__grow(g->arena, &table, g->constant_room, &g->constant_room, sizeof(double))) return wf__none(g);
    g->constant = (double *)table;
    n.at[0] = g->constants;
    memcpy(g->constant + g->constants, values, size * sizeof *values);
    g->constants += (int)size;
    return wf__node_add(g, n, NULL, 0);
}

wf_t wf_full(wf_graph *g, int nd, const int *d, double value) { return wf_bcast(wf_const(g, value), nd, d); }

wf_t wf_samples(wf_graph *g)
{
    return g ? wf__node_add(g, wf__blank(WF__OP_COUNT, WF__SHARED, 0, NULL), NULL, 0) : wf__none(g);
}

static wf_t wf__random(wf_graph *g, int nd, const int *d, int kind, int purpose)
{
    if (wf__shape_bad(g, "random", nd, d)) return wf__none(g);
    wf__node n = wf__blank(WF__OP_RANDOM, WF__BATCH, nd, d);
    n.at[0] = kind;
    n.at[1] = purpose;
    return wf__node_add(g, n, NULL, 0);
}

wf_t wf_uniform(wf_graph *g, int nd, const int *d, int purpose) { return wf__random(g, nd, d, 0, purpose); }
wf_t wf_normal(wf_graph *g, int nd, const int *d, int purpose) { return wf__random(g, nd, d, 1, purpose); }

/* graphs: recognise constants */
static int wf__is_const(wf_t x, double *value)
{
    while (wf__of(x)->op == WF__OP_BCAST || wf__of(x)->op == WF__OP_RESHAPE) x = wf__arg_of(x, 0);
    *value = wf__of(x)->value;
    return wf__of(x)->op == WF__OP_CONST;
}

static wf_t wf__const_like(wf_t x, double value) { return wf_full(x.graph, wf__of(x)->nd, wf__of(x)->d, value); }

/* graphs: build a unary operation */
static wf_t wf__unary(int op, wf_t x)
{
    if (wf__missing(x)) return wf__none(x.graph);
    double c;
    if (op == WF__OP_NEG && wf__of(x)->op == WF__OP_NEG) return wf__arg_of(x, 0);
    if (op == WF__OP_NEG && wf__is_const(x, &c)) return wf__const_like(x, -c);
    if (op == WF__OP_RECIP && wf__is_const(x, &c)) return wf__const_like(x, 1 / c);
    if (op == WF__OP_SQUARE && wf__is_const(x, &c)) return wf__const_like(x, c * c);
    wf__node n = wf__blank(op, wf__of(x)->space, wf__of(x)->nd, wf__of(x)->d);
    int32_t arg = x.id;
    return wf__node_add(x.graph, n, &arg, 1);
}

wf_t wf_neg(wf_t x) { return wf__unary(WF__OP_NEG, x); }
wf_t wf_recip(wf_t x) { return wf__unary(WF__OP_RECIP, x); }
wf_t wf_exp(wf_t x) { return wf__unary(WF__OP_EXP, x); }
wf_t wf_expm1(wf_t x) { return wf__unary(WF__OP_EXPM1, x); }
wf_t wf_log(wf_t x) { return wf__unary(WF__OP_LOG, x); }
wf_t wf_log1p(wf_t x) { return wf__unary(WF__OP_LOG1P, x); }
wf_t wf_sqrt(wf_t x) { return wf__unary(WF__OP_SQRT, x); }
wf_t wf_tanh(wf_t x) { return wf__unary(WF__OP_TANH, x); }
wf_t wf_sigmoid(wf_t x) { return wf__unary(WF__OP_SIGMOID, x); }
wf_t wf_softplus(wf_t x) { return wf__unary(WF__OP_SOFTPLUS, x); }
wf_t wf_erf(wf_t x) { return wf__unary(WF__OP_ERF, x); }
wf_t wf_sin(wf_t x) { return wf__unary(WF__OP_SIN, x); }
wf_t wf_cos(wf_t x) { return wf__unary(WF__OP_COS, x); }
wf_t wf_abs(wf_t x) { return wf__unary(WF__OP_ABS, x); }
wf_t wf_sign(wf_t x) { return wf__unary(WF__OP_SIGN, x); }
wf_t wf_floor(wf_t x) { return wf__unary(WF__OP_FLOOR, x); }
wf_t wf_round(wf_t x) { return wf__unary(WF__OP_ROUND, x); }
wf_t wf_relu(wf_t x) { return wf__unary(WF__OP_RELU, x); }
wf_t wf_square(wf_t x) { return wf__unary(WF__OP_SQUARE, x); }
wf_t wf_stop(wf_t x) { return wf__unary(WF__OP_STOP, x); }

/* graphs: bring shapes together */
static int wf__common_shape(wf_t a, wf_t b, int d[4])
{
    int na = wf__of(a)->nd, nb = wf__of(b)->nd, nd = na > nb ? na : nb;
    for (int i = 0; i < nd; i++) {
        int da = i - (nd - na) >= 0 ? wf__of(a)->d[i - (nd - na)] : 1;
        int db = i - (nd - nb) >= 0 ? wf__of(b)->d[i - (nd - nb)] : 1;
        if (da != db && da != 1 && db != 1) return -1;
        d[i] = da > db ? da : db;
    }
    return nd;
}

wf_t wf_bcast(wf_t x, int nd, const int *d)
{
    if (wf__missing(x) || wf__shape_bad(x.graph, "bcast", nd, d)) return wf__none(x.graph);
    const wf__node *n = wf__of(x);
    int fits = n->nd <= nd, same = n->nd == nd;
    for (int i = 0; fits && i < n->nd; i++) {
        int want = d[nd - n->nd + i];
        if (n->d[i] != want) same = 0;
        if (n->d[i] != want && n->d[i] != 1) fits = 0;
    }
    if (!fits) return wf__unfit(x, "bcast", "cannot be repeated to the wanted shape");
    if (same) return x;
    int32_t arg = x.id;
    return wf__node_add(x.graph, wf__blank(WF__OP_BCAST, n->space, nd, d), &arg, 1);
}

/* graphs: simplify a binary operation */
static int wf__fold(int op, wf_t a, wf_t b, wf_t *result)
{
    double ca, cb;
    int ka = wf__is_const(a, &ca), kb = wf__is_const(b, &cb);
    wf_t zero = wf__none(a.graph);
    if ((op == WF__OP_MUL && ((ka && ca == 0) || (kb && cb == 0))) || (op == WF__OP_DIV && ka && ca == 0)) { *result = wf__const_like(a, 0); return 1; }
    if (ka && kb) {
        if (op == WF__OP_ADD) *result = wf__const_like(a, ca + cb);
        else if (op == WF__OP_SUB) *result = wf__const_like(a, ca - cb);
        else if (op == WF__OP_MUL) *result = wf__const_like(a, ca * cb);
        else if (op == WF__OP_DIV) *result = wf__const_like(a, ca / cb);
        else return 0;
        return 1;
    }
    if (op == WF__OP_ADD && ka && ca == 0) *result = b;
    else if ((op == WF__OP_ADD || op == WF__OP_SUB) && kb && cb == 0) *result = a;
    else if (op == WF__OP_SUB && ka && ca == 0) *result = wf_neg(b);
    else if (op == WF__OP_SUB && a.id == b.id) *result = wf__const_like(a, 0);
    else if (op == WF__OP_MUL && ka && ca == 1) *result = b;
    else if ((op == WF__OP_MUL || op == WF__OP_DIV) && kb && cb == 1) *result = a;
    else if (op == WF__OP_MUL && ka && ca == -1) *result = wf_neg(b);
    else if ((op == WF__OP_MUL || op == WF__OP_DIV) && kb && cb == -1) *result = wf_neg(a);
    else if (op == WF__OP_ADD && wf__of(b)->op == WF__OP_NEG) *result = wf_sub(a, wf__arg_of(b, 0));
    else if (op == WF__OP_SUB && wf__of(b)->op == WF__OP_NEG) *result = wf_add(a, wf__arg_of(b, 0));
    else if (op == WF__OP_MUL && a.id == b.id) *result = wf_square(a);
    else *result = zero;
    return result->id != 0;
}

/* graphs: build a binary operation */
static wf_t wf__binary(int op, wf_t a, wf_t b)
{
    int d[4];
    wf_t folded;
    if (wf__strangers(a, b)) return wf__none(a.graph ? a.graph : b.graph);
    int nd = wf__common_shape(a, b, d);
    if (nd < 0) return wf__misfit(a, b, wf__op_name[op]);
    a = wf_bcast(a, nd, d);
    b = wf_bcast(b, nd, d);
    if (wf__missing(a) || wf__missing(b)) return wf__none(a.graph);
    if (wf__fold(op, a, b, &folded)) return folded;
    int32_t args[2];
    int commutes = op == WF__OP_ADD || op == WF__OP_MUL || op == WF__OP_EQ;
    args[0] = commutes && a.id > b.id ? b.id : a.id;
    args[1] = commutes && a.id > b.id ? a.id : b.id;
    return wf__node_add(a.graph, wf__blank(op, wf__of(a)->space | wf__of(b)->space, nd, d), args, 2);
}

wf_t wf_add(wf_t a, wf_t b) { return wf__binary(WF__OP_ADD, a, b); }
wf_t wf_sub(wf_t a, wf_t b) { return wf__binary(WF__OP_SUB, a, b); }
wf_t wf_mul(wf_t a, wf_t b) { return wf__binary(WF__OP_MUL, a, b); }
wf_t wf_div(wf_t a, wf_t b) { return wf__binary(WF__OP_DIV, a, b); }
wf_t wf_max(wf_t a, wf_t b) { return wf__binary(WF__OP_MAX, a, b); }
wf_t wf_min(wf_t a, wf_t b) { return wf__binary(WF__OP_MIN, a, b); }
wf_t wf_lt(wf_t a, wf_t b) { return wf__binary(WF__OP_LT, a, b); }
wf_t wf_le(wf_t a, wf_t b) { return wf__binary(WF__OP_LE, a, b); }
wf_t wf_eq(wf_t a, wf_t b) { return wf__binary(WF__OP_EQ, a, b); }
wf_t wf_atan2(wf_t y, wf_t x) { return wf__binary(WF__OP_ATAN2, y, x); }
wf_t wf_scale(wf_t x, double factor) { return wf_mul(x, wf_const(x.graph, factor)); }
wf_t wf_shift(wf_t x, double term) { return wf_add(x, wf_const(x.graph, term)); }

/* graphs: build a choice */
wf_t wf_select(wf_t c, wf_t a, wf_t b)
{
    int d[4], nd;
    if (wf__strangers(a, b) || wf__strangers(a, c)) return wf__none(c.graph);
    nd = wf__common_shape(a, b, d);
    if (nd < 0) return wf__misfit(a, b, "select");
    a = wf_bcast(a, nd, d);
    if (wf__missing(a)) return a;
    nd = wf__common_shape(a, c, d);
    if (nd < 0) return wf__misfit(a, c, "select");
    a = wf_bcast(a, nd, d);
    b = wf_bcast(b, nd, d);
    c = wf_bcast(c, nd, d);
    if (wf__missing(a) || wf__missing(b) || wf__missing(c)) return wf__none(a.graph);
    if (a.id == b.id) return a;
    int32_t args[3] = { c.id, a.id, b.id };
    return wf__node_add(a.graph, wf__blank(WF__OP_SELECT, wf__of(a)->space | wf__of(b)->space | wf__of(c)->space, nd, d), args, 3);
}

/* graphs: check an axis */
static int wf__axis(wf_t x, int axis, const char *operation)
{
    int nd = wf__of(x)->nd, k = axis < 0 ? axis + nd : axis;
    if (k >= 0 && k < nd) return k;
    wf__fail(x.graph->arena, WF_ERROR_ARGUMENT, "%s: there is no axis %d among %d (value %d)", operation, axis, nd, x.id);
    return -1;
}

static wf_t wf__along(int op, wf_t x, int axis, int flags, int keep)
{
    if (wf__missing(x)) return wf__none(x.graph);
    axis = wf__axis(x, axis, wf__op_name[op]);
    if (axis < 0) return wf__none(x.graph);
    wf__node n = wf__blank(op, wf__of(x)->space, wf__of(x)->nd, wf__of(x)->d);
    if (!keep) {
        for (int i = axis; i < 3; i++) n.d[i] = n.d[i + 1];
        n.d[3] = 0;
        n.nd--;
        n.d[n.nd] = 0;
    }
    n.at[0] = axis;
    n.at[1] = flags;
    int32_t arg = x.id;
    return wf__node_add(x.graph, n, &arg, 1);
}

/* graphs: build sums */
wf_t wf_sum_over(wf_t x, int axis)
{
    if (wf__missing(x)) return wf__none(x.graph);
    int k = wf__axis(x, axis, "sum");
    if (k >= 0 && wf__of(x)->d[k] == 1) {
        int d[4] = { 1, 1, 1, 1 }, nd = 0;
        for (int i = 0; i < wf__of(x)->nd; i++) if (i != k) d[nd++] = wf__of(x)->d[i];
        return wf_reshape(x, nd, d);
    }
    return wf__along(WF__OP_SUM, x, axis, 0, 0);
}

wf_t wf_sum(wf_t x)
{
    if (wf__missing(x)) return wf__none(x.graph);
    int n = (int)wf__node_size(wf__of(x));
    if (wf__of(x)->nd == 0) return x;
    return wf_sum_over(wf_reshape(x, 1, &n), 0);
}

wf_t wf_max_over(wf_t x, int axis) { return wf__along(WF__OP_MAX_OVER, x, axis, 0, 0); }
wf_t wf_dot(wf_t a, wf_t b) { return wf_sum(wf_mul(a, b)); }
wf_t wf_sumsq(wf_t x) { return wf_sum(wf_square(x)); }
wf_t wf_cumsum(wf_t x, int axis, int exclusive, int reverse) { return wf__along(WF__OP_CUMSUM, x, axis, (exclusive ? 1 : 0) | (reverse ? 2 : 0), 1); }
wf_t wf_softmax(wf_t x, int axis) { return wf__along(WF__OP_SOFTMAX, x, axis, 0, 1); }

static wf_t wf__batch_sum_list(wf_graph *g, const int32_t *list, int n)
{
    return wf__node_add(g, wf__blank(WF__OP_BSUM, WF__SHARED, g->node[list[0]].nd, g->node[list[0]].d), list, n);
}

wf_t wf_batch_sum(wf_t x)
{
    if (wf__missing(x)) return wf__none(x.graph);
    if (!wf_is_batch(x)) return wf_mul(x, wf_samples(x.graph));
    int32_t id = x.id;
    return wf__batch_sum_list(x.graph, &id, 1);
}

wf_t wf_mean(wf_t x)
{
    if (wf__missing(x)) return wf__none(x.graph);
    wf_t s = wf_scale(wf_sum(x), 1.0 / (double)wf__node_size(wf__of(x)));
    return wf_is_batch(x) ? wf_div(wf_batch_sum(s), wf_samples(x.graph)) : s;
}

/* graphs: build the logarithm of a sum of exponentials */
static wf_t wf__unsqueeze(wf_t x, int axis)
{
    int d[4] = { 1, 1, 1, 1 };
    if (wf__missing(x)) return x;
    for (int i = 0, k = 0; i <= wf__of(x)->nd; i++) d[i] = i == axis ? 1 : wf__of(x)->d[k++];
    return wf_reshape(x, wf__of(x)->nd + 1, d);
}

static wf_t wf__bcast_along(wf_t x, int axis, wf_t like)
{
    if (wf__missing(x) || wf__missing(like)) return wf__none(x.graph);
    return wf_bcast(wf__unsqueeze(x, axis), wf__of(like)->nd, wf__of(like)->d);
}

wf_t wf_logsumexp(wf_t x, int axis)
{
    if (wf__missing(x)) return wf__none(x.graph);
    axis = wf__axis(x, axis, "logsumexp");
    if (axis < 0) return wf__none(x.graph);
    wf_t top = wf_max_over(x, axis);
    return wf_add(top, wf_log(wf_sum_over(wf_exp(wf_sub(x, wf__bcast_along(top, axis, x))), axis)));
}

wf_t wf_log_softmax(wf_t x, int axis)
{
    if (wf__missing(x)) return wf__none(x.graph);
    axis = wf__axis(x, axis, "log_softmax");
    if (axis < 0) return wf__none(x.graph);
    wf_t shifted = wf_sub(x, wf__bcast_along(wf_max_over(x, axis), axis, x));
    return wf_sub(shifted, wf__bcast_along(wf_log(wf_sum_over(wf_exp(shifted), axis)), axis, x));
}

/* graphs: build changes of shape */
wf_t wf_reshape(wf_t x, int nd, const int *d)
{
    size_t size;
    if (wf__missing(x) || wf__shape_bad(x.graph, "reshape", nd, d)) return wf__none(x.graph);
    wf__shape_size(nd, d, &size);
    if (size != wf__node_size(wf__of(x))) return wf__unfit(x, "reshape", "has another number of elements than the new shape");
    while (wf__of(x)->op == WF__OP_RESHAPE) x = wf__arg_of(x, 0);
    if (wf__of(x)->nd == nd && !memcmp(wf__of(x)->d, d, (size_t)nd * sizeof *d)) return x;
    int32_t arg = x.id;
    return wf__node_add(x.graph, wf__blank(WF__OP_RESHAPE, wf__of(x)->space, nd, d), &arg, 1);
}

wf_t wf_permute(wf_t x, const int *order)
{
    if (wf__missing(x)) return wf__none(x.graph);
    int nd = wf__of(x)->nd, seen = 0, identity = 1;
    wf__node n = wf__blank(WF__OP_PERMUTE, wf__of(x)->space, nd, wf__of(x)->d);
    for (int i = 0; i < nd; i++) {
        if (order[i] < 0 || order[i] >= nd || (seen & 1 << order[i])) return wf__unfit(x, "permute", "the order is not a permutation of its axes");
        seen |= 1 << order[i];
        identity &= order[i] == i;
        n.d[i] = wf__of(x)->d[order[i]];
        n.at[i] = order[i];
    }
    if (identity) return x;
    if (wf__of(x)->op == WF__OP_PERMUTE) {
        int both[4] = { 0, 1, 2, 3 };
        for (int i = 0; i < nd; i++) both[i] = wf__of(x)->at[order[i]];
        return wf_permute(wf__arg_of(x, 0), both);
    }
    int32_t arg = x.id;
    return wf__node_add(x.graph, n, &arg, 1);
}

wf_t wf_transpose(wf_t x)
{
    int order[4] = { 0, 1, 2, 3 };
    if (wf__missing(x)) return wf__none(x.graph);
    int nd = wf__of(x)->nd;
    if (nd < 2) return wf__unfit(x, "transpose", "has fewer than two axes");
    order[nd - 2] = nd - 1;
    order[nd - 1] = nd - 2;
    return wf_permute(x, order);
}

/* graphs: build slices */
wf_t wf_slice_step(wf_t x, int axis, int start, int count, int step)
{
    if (wf__missing(x)) return wf__none(x.graph);
    axis = wf__axis(x, axis, "slice");
    if (axis < 0) return wf__none(x.graph);
    int size = wf__of(x)->d[axis];
    int64_t last = (int64_t)start + (int64_t)(count - 1) * step;
    if (count < 1 || start < 0 || start >= size || last < 0 || last >= size) return wf__unfit(x, "slice", "the range lies outside");
    if (start == 0 && count == size && step == 1) return x;
    wf__node n = wf__blank(WF__OP_SLICE, wf__of(x)->space, wf__of(x)->nd, wf__of(x)->d);
    n.d[axis] = count;
    n.at[0] = axis;
    n.at[1] = start;
    n.at[2] = count > 1 ? step : 1;
    int32_t arg = x.id;
    return wf__node_add(x.graph, n, &arg, 1);
}

static wf_t wf__pad_step(wf_t x, int axis, int start, int step, int size)
{
    if (wf__missing(x)) return wf__none(x.graph);
    wf__node n = wf__blank(WF__OP_PAD, wf__of(x)->space, wf__of(x)->nd, wf__of(x)->d);
    n.d[axis] = size;
    n.at[0] = axis;
    n.at[1] = start;
    n.at[2] = step;
    int32_t arg = x.id;
    return wf__node_add(x.graph, n, &arg, 1);
}

wf_t wf_pad(wf_t x, int axis, int before, int after)
{
    if (wf__missing(x)) return wf__none(x.graph);
    axis = wf__axis(x, axis, "pad");
    if (axis < 0) return wf__none(x.graph);
    if (before < 0 || after < 0 || (int64_t)before + after + wf__of(x)->d[axis] > 1 << 30) return wf__unfit(x, "pad", "the widths are negative or too large");
    return before + after ? wf__pad_step(x, axis, before, 1, before + after + wf__of(x)->d[axis]) : x;
}

wf_t wf_slice(wf_t x, int axis, int start, int count) { return wf_slice_step(x, axis, start, count, 1); }

wf_t wf_reverse(wf_t x, int axis)
{
    if (wf__missing(x)) return wf__none(x.graph);
    axis = wf__axis(x, axis, "reverse");
    if (axis < 0) return wf__none(x.graph);
    int size = wf__of(x)->d[axis];
    return size == 1 ? x : wf_slice_step(x, axis, size - 1, size, -1);
}

/* graphs: build concatenations */
wf_t wf_concat(const wf_t *list, int n, int axis)
{
    enum { MANY = 64 };
    int32_t args[MANY];
    wf_t none = { n > 0 ? list[0].graph : NULL, 0 };
    for (int i = 0; i < n; i++) if (wf__strangers(list[0], list[i])) return none;
    if (n < 1) return none;
    axis = wf__axis(list[0], axis, "concat");
    if (axis < 0 || n == 1) return axis < 0 ? none : list[0];
    if (n > MANY) {
        wf_t parts[2];
        parts[0] = wf_concat(list, MANY, axis);
        parts[1] = wf_concat(list + MANY, n - MANY, axis);
        return wf_concat(parts, 2, axis);
    }
    wf__node total = wf__blank(WF__OP_CONCAT, wf__of(list[0])->space, wf__of(list[0])->nd, wf__of(list[0])->d);
    args[0] = list[0].id;
    for (int i = 1; i < n; i++) {
        const wf__node *m = wf__of(list[i]);
        int fits = m->nd == total.nd;
        for (int k = 0; fits && k < total.nd; k++) fits = k == axis || m->d[k] == total.d[k];
        if (!fits) return wf__misfit(list[0], list[i], "concat");
        if ((int64_t)total.d[axis] + m->d[axis] > 1 << 30) return wf__unfit(list[i], "concat", "too large");
        total.d[axis] += m->d[axis];
        total.space |= m->space;
        args[i] = list[i].id;
    }
    total.at[0] = axis;
    return wf__node_add(list[0].graph, total, args, n);
}

wf_t wf_stack(const wf_t *list, int n)
{
    enum { MANY = 256 };
    wf_t rows[MANY];
    if (n < 1 || n > MANY) {
        if (n > 0 && list[0].graph) wf__fail(list[0].graph->arena, WF_ERROR_LIMIT, "stack: %d values; at most 256", n);
        return wf__none(n > 0 ? list[0].graph : NULL);
    }
    for (int i = 0; i < n; i++) {
        if (wf__missing(list[i])) return wf__none(list[i].graph);
        if (wf__of(list[i])->nd > 3) return wf__unfit(list[i], "stack", "has four axes already");
        rows[i] = wf__unsqueeze(list[i], 0);
    }
    return wf_concat(rows, n, 0);
}

/* graphs: build selections by number */
static wf_t wf__by_number(int op, wf_t x, wf_t index, int rows)
{
    if (wf__strangers(x, index)) return wf__none(x.graph);
    if (wf__of(x)->nd < 1 || wf__of(index)->nd != 1) return wf__misfit(x, index, wf__op_name[op]);
    if (op == WF__OP_SCATTER && wf__of(x)->d[0] != wf__of(index)->d[0]) return wf__misfit(x, index, wf__op_name[op]);
    if (rows < 1) return wf__unfit(x, wf__op_name[op], "needs at least one row");
    wf__node n = wf__blank(op, wf__of(x)->space | wf__of(index)->space, wf__of(x)->nd, wf__of(x)->d);
    n.d[0] = rows;
    int32_t args[2] = { x.id, index.id };
    return wf__node_add(x.graph, n, args, 2);
}

wf_t wf_take(wf_t x, wf_t index) { return wf__by_number(WF__OP_TAKE, x, index, wf__missing(index) || wf__of(index)->nd != 1 ? 1 : wf__of(index)->d[0]); }
wf_t wf_scatter_add(wf_t x, wf_t index, int n) { return wf__by_number(WF__OP_SCATTER, x, index, n); }

wf_t wf_search(wf_t knots, wf_t x)
{
    if (wf__strangers(knots, x)) return wf__none(x.graph);
    if (wf__of(knots)->nd != 1) return wf__unfit(knots, "search", "knots have one axis");
    int32_t args[2] = { knots.id, x.id };
    return wf__node_add(x.graph, wf__blank(WF__OP_SEARCH, wf__of(knots)->space | wf__of(x)->space, wf__of(x)->nd, wf__of(x)->d), args, 2);
}

wf_t wf_argsort(wf_t x)
{
    if (wf__missing(x)) return wf__none(x.graph);
    if (wf__of(x)->nd != 1) return wf__unfit(x, "argsort", "has not one axis");
    return wf__along(WF__OP_ARGSORT, x, 0, 0, 1);
}

/* graphs: build matrix products */
wf_t wf_matmul_t(wf_t a, int ta, wf_t b, int tb)
{
    if (wf__strangers(a, b)) return wf__none(a.graph);
    const wf__node *x = wf__of(a), *y = wf__of(b);
    if (x->nd == 2 && y->nd == 1 && !tb) {
        int column[2] = { y->d[0], 1 };
        wf_t product = wf_matmul_t(a, ta, wf_reshape(b, 2, column), 0);
        return wf__missing(product) ? product : wf_reshape(product, 1, wf__of(product)->d);
    }
    int nd = x->nd;
    if (nd != y->nd || nd < 2 || nd > 3 || (nd == 3 && x->d[0] != y->d[0])) return wf__misfit(a, b, "matmul");
    int m = x->d[nd - 2 + (ta != 0)], k = x->d[nd - 1 - (ta != 0)], k2 = y->d[nd - 2 + (tb != 0)], n = y->d[nd - 1 - (tb != 0)];
    if (k != k2) return wf__misfit(a, b, "matmul");
    wf__node r = wf__blank(WF__OP_MATMUL, x->space | y->space, nd, x->d);
    r.d[nd - 2] = m;
    r.d[nd - 1] = n;
    r.at[0] = ta != 0;
    r.at[1] = tb != 0;
    int32_t args[2] = { a.id, b.id };
    return wf__node_add(a.graph, r, args, 2);
}

wf_t wf_matmul(wf_t a, wf_t b) { return wf_matmul_t(a, 0, b, 0); }

static int wf__is_square(wf_t a) { return wf__of(a)->nd == 2 && wf__of(a)->d[0] == wf__of(a)->d[1]; }

wf_t wf_trisolve(wf_t l, wf_t b, int upper, int transpose, int unit)
{
    if (wf__strangers(l, b)) return wf__none(l.graph);
    if (!wf__is_square(l) || wf__of(b)->nd != 2 || wf__of(b)->d[0] != wf__of(l)->d[0]) return wf__misfit(l, b, "trisolve");
    wf__node n = wf__blank(WF__OP_TRISOLVE, wf__of(l)->space | wf__of(b)->space, 2, wf__of(b)->d);
    n.at[0] = upper != 0;
    n.at[1] = transpose != 0;
    n.at[2] = unit != 0;
    int32_t args[2] = { l.id, b.id };
    return wf__node_add(l.graph, n, args, 2);
}

wf_t wf_cholesky(wf_t a)
{
    if (wf__missing(a)) return wf__none(a.graph);
    if (!wf__is_square(a)) return wf__unfit(a, "cholesky", "is not a square matrix");
    int32_t arg = a.id;
    return wf__node_add(a.graph, wf__blank(WF__OP_CHOLESKY, wf__of(a)->space, 2, wf__of(a)->d), &arg, 1);
}

/* ---- Loops ---- */
/* loops: define a loop */
enum { WF__CARRY = 0, WF__EACH = 1, WF__FIXED = 2, WF__STEP = 3 };
enum { WF__FINAL = 0, WF__STACK = 1, WF__TOTAL = 2 };

typedef struct wf__port { int kind, outer, inner, next; } wf__port;

struct wf__loop {
    wf_graph *graph, *body;
    int steps, keep, backwards, ended, node, index;
    wf__port *port; /* values that come in */
    int ports, port_room;
};

static wf_t wf__loop_none(wf_loop *l) { return wf__none(l ? l->body : NULL); }

wf_loop *wf_loop_begin(wf_graph *g, int steps, int keep)
{
    if (!g) return NULL;
    if (steps < 1 || keep < 0 || keep > WF_KEEP_FEW) {
        wf__fail(g->arena, WF_ERROR_ARGUMENT, "loop: %d steps, policy %d", steps, keep);
        return NULL;
    }
    wf_loop *l = (wf_loop *)wf_alloc(g->arena, 1, sizeof *l);
    if (!l) return NULL;
    l->graph = g;
    l->steps = steps;
    l->keep = keep;
    l->body = wf_graph_new(g->arena, g->params);
    if (!l->body) return NULL;
    l->body->outer = g;
    return l;
}

wf_graph *wf_loop_body(wf_loop *l) { return l ? l->body : NULL; }

/* loops: bring a value in */
static wf_t wf__loop_port(wf_loop *l, int kind, wf_t outer, int space, int nd, const int *d)
{
    if (!l || l->ended) {
        if (l) wf__fail(l->graph->arena, WF_ERROR_ARGUMENT, "loop: it has ended");
        return wf__loop_none(l);
    }
    void *table = l->port;
    if (!wf__grow(l->graph->arena, &table, l->ports, &l->port_room, sizeof *l->port)) return wf__loop_none(l);
    l->port = (wf__port *)table;
    wf__node n = wf__blank(WF__OP_INPUT, space, nd, d);
    n.at[0] = -1 - l->ports;
    wf_t x = wf__node_add(l->body, n, NULL, 0);
    wf__port p = { kind, outer.id, x.id, 0 };
    if (!x.id) return x;
    l->port[l->ports++] = p;
    return x;
}

static int wf__loop_foreign(wf_loop *l, wf_t outer)
{
    if (!l || wf__missing(outer)) return 1;
    if (outer.graph == l->graph) return 0;
    wf__fail(l->graph->arena, WF_ERROR_ARGUMENT, "loop: a value from another graph than the one around the loop");
    return 1;
}

wf_t wf_loop_carry(wf_loop *l, wf_t start)
{
    if (wf__loop_foreign(l, start)) return wf__loop_none(l);
    return wf__loop_port(l, WF__CARRY, start, wf__of(start)->space, wf__of(start)->nd, wf__of(start)->d);
}

wf_t wf_loop_each(wf_loop *l, wf_t rows)
{
    if (wf__loop_foreign(l, rows)) return wf__loop_none(l);
    if (wf__of(rows)->nd < 1 || wf__of(rows)->d[0] != l->steps) {
        wf__unfit(rows, "loop", "needs one row for each step");
        return wf__loop_none(l);
    }
    return wf__loop_port(l, WF__EACH, rows, wf__of(rows)->space, wf__of(rows)->nd - 1, wf__of(rows)->d + 1);
}

/* loops: bring a constant in */
wf_t wf_loop_constant(wf_loop *l, wf_t x)
{
    double value;
    if (wf__loop_foreign(l, x)) return wf__loop_none(l);
    if (wf__is_const(x, &value)) return wf_full(l->body, wf__of(x)->nd, wf__of(x)->d, value);
    if (wf__of(x)->op == WF__OP_PARAM) {
        wf__node n = *wf__of(x);
        return wf__node_add(l->body, n, NULL, 0);
    }
    for (int i = 0; i < l->ports; i++)
        if (l->port[i].kind == WF__FIXED && l->port[i].outer == x.id) return wf__at(l->body, l->port[i].inner);
    return wf__loop_port(l, WF__FIXED, x, wf__of(x)->space, wf__of(x)->nd, wf__of(x)->d);
}

wf_t wf_loop_step(wf_loop *l)
{
    int one = 1;
    for (int i = 0; l && i < l->ports; i++) if (l->port[i].kind == WF__STEP) return wf__at(l->body, l->port[i].inner);
    return l ? wf__loop_port(l, WF__STEP, wf__none(l->graph), WF__SHARED, 1, &one) : wf__loop_none(l);
}

/* loops: close the circle */
static wf__port *wf__loop_find(wf_loop *l, wf_t carry)
{
    for (int i = 0; l && carry.graph == l->body && i < l->ports; i++)
        if (l->port[i].kind == WF__CARRY && l->port[i].inner == carry.id && carry.id) return &l->port[i];
    if (l) wf__fail(l->graph->arena, WF_ERROR_ARGUMENT, "loop: value %d is not a carry of this loop", carry.id);
    return NULL;
}

wf_result wf_loop_next(wf_loop *l, wf_t carry, wf_t next)
{
    wf__port *p = wf__loop_find(l, carry);
    if (!p || wf__strangers(carry, next)) return WF_ERROR_ARGUMENT;
    const wf__node *c = wf__of(carry), *n = wf__of(next);
    if (c->nd != n->nd || memcmp(c->d, n->d, sizeof c->d)) { wf__misfit(carry, next, "loop carry and its next value"); return WF_ERROR_SHAPE; }
    if (n->space > c->space)
        return wf__fail(l->graph->arena, WF_ERROR_ARGUMENT, "loop: a carry starts shared but its next value differs between samples; start it with wf_per_sample");
    p->next = next.id;
    return WF_OK;
}

/* loops: end a loop */
wf_result wf_loop_end(wf_loop *l)
{
    enum { MANY = 256 };
    int32_t args[MANY];
    int count = 0, space = WF__SHARED;
    if (!l || l->ended) return WF_ERROR_ARGUMENT;
    wf_arena *A = l->graph->arena;
    if (A->report.code < 0) return A->report.code;
    for (int i = 0; i < l->ports; i++) {
        if (l->port[i].kind == WF__CARRY && !l->port[i].next) return wf__fail(A, WF_ERROR_ARGUMENT, "loop: carry %d has no next value", i);
        if (!l->port[i].outer) continue;
        if (count == MANY) return wf__fail(A, WF_ERROR_LIMIT, "loop: more than %d values come in", MANY);
        args[count++] = l->port[i].outer;
    }
    for (int id = 1; id < l->body->nodes; id++) space |= l->body->node[id].space;
    void *table = l->graph->loop;
    if (!wf__grow(A, &table, l->graph->loops, &l->graph->loop_room, sizeof *l->graph->loop)) return WF_ERROR_MEMORY;
    l->graph->loop = (struct wf__loop **)table;
    l->index = l->graph->loops;
    wf__node n = wf__blank(WF__OP_SCAN, space, 0, NULL);
    n.at[0] = l->index;
    wf_t node = wf__node_add(l->graph, n, args, count);
    if (!node.id) return WF_ERROR_MEMORY;
    l->graph->loop[l->graph->loops++] = l;
    l->node = node.id;
    l->ended = 1;
    return WF_OK;
}

/* loops: take results out */
static wf_t wf__loop_result(wf_loop *l, int kind, int what, const wf__node *like)
{
    int d[4], nd = 0;
    if (kind == WF__STACK) {
        if (like->nd == 4) return wf__unfit(wf__at(l->body, what), "loop", "has four axes already; a stack needs one more");
        d[nd++] = l->steps;
    }
    for (int i = 0; i < like->nd; i++) d[nd++] = like->d[i];
    int shared_total = kind == WF__TOTAL && like->space == WF__SHARED;
    wf__node n = wf__blank(WF__OP_RESULT, shared_total ? WF__SHARED : l->graph->node[l->node].space, nd, d);
    n.at[0] = kind;
    n.at[1] = what;
    int32_t arg = l->node;
    return wf__node_add(l->graph, n, &arg, 1);
}

static wf_t wf__loop_out(wf_loop *l, int kind, wf_t value)
{
    if (!l || !l->ended || wf__missing(value) || value.graph != l->body) {
        if (l) wf__fail(l->graph->arena, WF_ERROR_ARGUMENT, "loop: results are those of values of its body, after its end");
        return wf__none(l ? l->graph : NULL);
    }
    return wf__loop_result(l, kind, value.id, wf__of(value));
}

wf_t wf_loop_final(wf_loop *l, wf_t carry)
{
    return wf__loop_find(l, carry) ? wf__loop_out(l, WF__FINAL, carry) : wf__none(l ? l->graph : NULL);
}

wf_t wf_loop_stack(wf_loop *l, wf_t value) { return wf__loop_out(l, WF__STACK, value); }
wf_t wf_loop_total(wf_loop *l, wf_t value) { return wf__loop_out(l, WF__TOTAL, value); }

wf_t wf_per_sample(wf_t x)
{
    if (wf__missing(x) || wf_is_batch(x)) return x;
    int32_t arg = x.id;
    return wf__node_add(x.graph, wf__blank(WF__OP_BCAST, WF__BATCH, wf__of(x)->nd, wf__of(x)->d), &arg, 1);
}

/* ---- Operations of your own ---- */
/* user operations: keep a description */
typedef struct wf__custom { wf_op_desc op; int which, inputs; } wf__custom;

static wf_t wf__custom_node(wf_graph *g, const wf__custom *c, const wf_t *in, int inputs, int nd, const int *d)
{
    int32_t args[12];
    int space = WF__SHARED;
    void *table = g->custom;
    for (int i = 0; i < inputs; i++) {
        if (wf__strangers(in[0], in[i])) return wf__none(g);
        args[i] = in[i].id;
        space |= wf__of(in[i])->space;
    }
    wf__custom *copy = (wf__custom *)wf_alloc(g->arena, 1, sizeof *copy);
    if (!copy || !wf__grow(g->arena, &table, g->customs, &g->custom_room, sizeof *g->custom)) return wf__none(g);
    g->custom = (struct wf__custom **)table;
    *copy = *c;
    copy->op.name = wf__copy_name(g->arena, c->op.name);
    wf__node n = wf__blank(WF__OP_CUSTOM, space, nd, d);
    n.at[0] = g->customs;
    g->custom[g->customs++] = copy;
    return wf__node_add(g, n, args, inputs);
}

wf_t wf_custom(const wf_op_desc *op, const wf_t *in, int inputs)
{
    wf_graph *g = inputs > 0 ? in[0].graph : NULL;
    if (!g || !op) return wf__none(g);
    if (!op->eval || !op->name || inputs > 8) {
        wf__fail(g->arena, WF_ERROR_ARGUMENT, "custom: an operation needs a name, an eval function, and at most 8 inputs");
        return wf__none(g);
    }
    if (wf__shape_bad(g, op->name, op->nd, op->d)) return wf__none(g);
    wf__custom c;
    c.op = *op;
    c.which = -1;
    c.inputs = inputs;
    return wf__custom_node(g, &c, in, inputs, op->nd, op->d);
}

/* ---- Derivatives ---- */
/* derivatives: read a rule */
static wf_t wf__build(int op, const wf_t *args)
{
    if (wf__op_arity[op] == 1) return wf__unary(op, args[0]);
    if (wf__op_arity[op] == 2) return wf__binary(op, args[0], args[1]);
    return wf_select(args[0], args[1], args[2]);
}

static wf_t wf__slope(wf_t y, int which)
{
    wf_t stack[WF__RULE_STACK + 1];
    int top = 0;
    const unsigned char *rule = wf__rule_byte + wf__op_rule[wf__of(y)->op][which];
    for (; *rule != WF__RULE_END; rule++) {
        if (*rule < WF__OPS) {
            top -= wf__op_arity[*rule];
            stack[top] = wf__build(*rule, stack + top);
        } else if (*rule == WF__RULE_A) stack[top] = wf__arg_of(y, 0);
        else if (*rule == WF__RULE_B) stack[top] = wf__arg_of(y, 1);
        else if (*rule == WF__RULE_Y) stack[top] = y;
        else stack[top] = wf_const(y.graph, wf__rule_number[*rule - WF__RULE_CONST]);
        top++;
    }
    return stack[0];
}

/* derivatives: apply a linear operation again */
static wf_t wf__reapply(wf_t y, wf_t x)
{
    const wf__node *n = wf__of(y);
    int at[4];
    for (int i = 0; i < 4; i++) at[i] = n->at[i];
    switch (n->op) {
    case WF__OP_SUM: return wf_sum_over(x, at[0]);
    case WF__OP_BCAST: x = wf_bcast(x, n->nd, n->d); return wf__of(y)->space == WF__BATCH ? wf_per_sample(x) : x;
    case WF__OP_RESHAPE: return wf_reshape(x, n->nd, n->d);
    case WF__OP_PERMUTE: return wf_permute(x, at);
    case WF__OP_SLICE: return wf_slice_step(x, at[0], at[1], n->d[at[0]], at[2]);
    case WF__OP_PAD: return wf__pad_step(x, at[0], at[1], at[2], n->d[at[0]]);
    case WF__OP_CUMSUM: return wf_cumsum(x, at[0], at[1] & 1, at[1] & 2);
    case WF__OP_TAKE: return wf_take(x, wf__arg_of(y, 1));
    case WF__OP_SCATTER: return wf_scatter_add(x, wf__arg_of(y, 1), n->d[0]);
    default: return wf__none(y.graph);
    }
}

/* derivatives: sum over repeated axes */
static wf_t wf__unbroadcast(wf_t u, const wf__node *x)
{
    int nd = wf__of(u)->nd, d[4], from = x->nd;
    for (int i = 0; i < from; i++) d[i] = x->d[i];
    for (int axis = nd - 1; axis >= 0; axis--) {
        int k = axis - (nd - from);
        if (k < 0 || (d[k] == 1 && wf__of(u)->d[axis] != 1)) u = wf_sum_over(u, axis);
        if (wf__missing(u)) return u;
    }
    return wf_reshape(u, from, d);
}

/* derivatives: apply the transpose */
static wf_t wf__transposed(wf_t y, wf_t u)
{
    wf_t x = wf__arg_of(y, 0);
    wf__node n = *wf__of(y), a = *wf__of(x);
    int inverse[4];
    switch (n.op) {
    case WF__OP_SUM: return wf__bcast_along(u, n.at[0], x);
    case WF__OP_BCAST: return wf__unbroadcast(u, &a);
    case WF__OP_RESHAPE: return wf_reshape(u, a.nd, a.d);
    case WF__OP_PERMUTE:
        for (int i = 0; i < n.nd; i++) inverse[n.at[i]] = i;
        return wf_permute(u, inverse);
    case WF__OP_SLICE: return wf__pad_step(u, n.at[0], n.at[1], n.at[2], a.d[n.at[0]]);
    case WF__OP_PAD: return wf_slice_step(u, n.at[0], n.at[1], a.d[n.at[0]], n.at[2]);
    case WF__OP_CUMSUM: return wf_cumsum(u, n.at[0], n.at[1] & 1, !(n.at[1] & 2));
    case WF__OP_TAKE: return wf_scatter_add(u, wf__arg_of(y, 1), a.d[0]);
    case WF__OP_SCATTER: return wf_take(u, wf__arg_of(y, 1));
    default: return wf__none(y.graph);
    }
}

/* derivatives: transpose a matrix product */
static wf_t wf__matmul_vjp(wf_t y, wf_t u, int which)
{
    wf_t a = wf__arg_of(y, 0), b = wf__arg_of(y, 1);
    int ta = wf__of(y)->at[0], tb = wf__of(y)->at[1];
    if (which == 0) return ta ? wf_matmul_t(b, tb, u, 1) : wf_matmul_t(u, 0, b, !tb);
    return tb ? wf_matmul_t(u, 1, a, ta) : wf_matmul_t(a, !ta, u, 0);
}

/* derivatives: keep a triangle */
static wf_t wf__triangle(wf_t a, int upper, double diagonal)
{
    double row[64];
    int n = wf__of(a)->d[0], one[2] = { 1, n };
    wf_t rows[64];
    if (n > 64) return wf__unfit(a, "trisolve", "is larger than 64, too large for a derivative");
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) row[j] = i == j ? diagonal : (upper ? j > i : j < i) ? 1 : 0;
        rows[i] = wf_array(a.graph, 2, one, row);
    }
    return wf_mul(a, wf_concat(rows, n, 0));
}

static wf_t wf__trisolve_like(wf_t y, wf_t b, int transpose)
{
    const wf__node *n = wf__of(y);
    return wf_trisolve(wf__arg_of(y, 0), b, n->at[0], n->at[1] ^ transpose, n->at[2]);
}

static wf_t wf__trisolve_matrix(wf_t y, wf_t l)
{
    return wf__triangle(l, wf__of(y)->at[0], wf__of(y)->at[2] ? 0 : 1);
}

/* derivatives: differentiate a root */
static wf_t wf__cholesky_forward(wf_t l, wf_t da)
{
    wf_t s = wf_trisolve(l, da, 0, 0, 0);
    s = wf_transpose(wf_trisolve(l, wf_transpose(s), 0, 0, 0));
    return wf_matmul(l, wf__triangle(s, 0, 0.5));
}

static wf_t wf__cholesky_vjp(wf_t l, wf_t u)
{
    wf_t p = wf__triangle(wf_matmul_t(l, 1, u, 0), 0, 0.5);
    wf_t s = wf_trisolve(l, p, 0, 1, 0);
    s = wf_transpose(wf_trisolve(l, wf_transpose(s), 0, 1, 0));
    return wf_scale(wf_add(s, wf_transpose(s)), 0.5);
}
static wf_t wf__import_loop(wf_graph *to, const wf_loop *l, const int32_t *map);
static wf_result wf__vjp(const wf_t *y, const wf_t *u, int ny, const wf_t *x, int nx, wf_t *out);
static wf_result wf__jvp(const wf_t *x, const wf_t *v, int nx, const wf_t *y, int ny, wf_t *out);

/* derivatives: copy a node into another graph */
static wf_t wf__import(wf_graph *to, wf_graph *from, int id, const int32_t *map)
{
    enum { MANY = 256 };
    int32_t args[MANY];
    wf__node n = from->node[id];
    int space = n.op == WF__OP_RANDOM || n.op == WF__OP_INPUT || n.op == WF__OP_RESULT || (n.op == WF__OP_BCAST && n.space == WF__BATCH) ? n.space : WF__SHARED;
    if (n.args > MANY) { wf__fail(to->arena, WF_ERROR_LIMIT, "derivative: a value with more than %d arguments", MANY); return wf__none(to); }
    for (int i = 0; i < n.args; i++) {
        args[i] = map[from->pool[n.arg + i]];
        if (!args[i]) return wf__none(to);
        if (n.op != WF__OP_BSUM) space |= to->node[args[i]].space;
    }
    n.space = (uint8_t)space;
    if (n.op == WF__OP_ARRAY) return wf_array(to, n.nd, n.d, from->constant + n.at[0]);
    if (n.op == WF__OP_CUSTOM) {
        wf_t in[12];
        for (int i = 0; i < n.args; i++) in[i] = wf__at(to, args[i]);
        return wf__custom_node(to, from->custom[n.at[0]], in, n.args, n.nd, n.d);
    }
    if (n.op == WF__OP_SCAN) return wf__import_loop(to, from->loop[n.at[0]], map);
    return wf__node_add(to, n, args, n.args);
}

/* derivatives: copy a loop into another graph */
static wf_t wf__import_loop(wf_graph *to, const wf_loop *l, const int32_t *map)
{
    wf_loop *copy = (wf_loop *)wf_alloc(to->arena, 1, sizeof *copy);
    if (!copy) return wf__none(to);
    *copy = *l;
    copy->graph = to;
    copy->ended = 0;
    copy->port = (wf__port *)wf_alloc(to->arena, (size_t)(l->ports + 1), sizeof *copy->port);
    if (!copy->port) return wf__none(to);
    for (int i = 0; i < l->ports; i++) {
        copy->port[i] = l->port[i];
        copy->port[i].outer = l->port[i].outer ? map[l->port[i].outer] : 0;
    }
    copy->port_room = l->ports;
    return wf_loop_end(copy) == WF_OK ? wf__at(to, copy->node) : wf__none(to);
}

/* derivatives: define a sweep */
typedef struct wf__sweep {
    wf_graph *g;
    int32_t *cot;     /* the cotangent of each node, or 0 */
    int32_t *pending; /* the first entry of a list of per-sample contributions to a shared node; of results, for a loop */
    int32_t *list;    /* entries: value, next */
    int listed, list_room;
    uint8_t *want;    /* lies between x and y */
    int failed;
} wf__sweep;

static void wf__sweep_push(wf__sweep *s, int to, int value)
{
    if (!s->listed) s->listed = 1;
    if (!wf__grow_ints(s->g->arena, &s->list, 2 * s->listed, 2, &s->list_room)) { s->failed = 1; return; }
    s->list[2 * s->listed] = value;
    s->list[2 * s->listed + 1] = s->pending[to];
    s->pending[to] = s->listed++;
}

/* derivatives: give a contribution */
static void wf__give(wf__sweep *s, int giver, int to, wf_t c)
{
    wf_graph *g = s->g;
    if (!s->want[to]) return;
    if (!c.id) { s->failed = 1; return; }
    if (g->node[to].space == WF__SHARED && g->node[giver].space == WF__BATCH) {
        if (wf_is_batch(c) || g->outer) { wf__sweep_push(s, to, wf_per_sample(c).id); return; }
        c = wf_mul(c, wf_samples(g));
    }
    c = s->cot[to] ? wf_add(wf__at(g, s->cot[to]), c) : c;
    s->cot[to] = c.id;
    if (!c.id) s->failed = 1;
}

/* derivatives: settle what is pending */
static void wf__settle(wf__sweep *s, int id)
{
    enum { MANY = 64 };
    int32_t list[2][MANY];
    int count[2] = { 0, 0 };
    wf_graph *g = s->g;
    int repeated = g->node[id].op == WF__OP_BCAST;
    wf_t sum = wf__none(g);
    for (int e = s->pending[id]; e; e = s->list[2 * e + 1]) {
        int v = s->list[2 * e], kind = g->node[v].op == WF__OP_MATMUL;
        if (repeated) { sum = sum.id ? wf_add(sum, wf__at(g, v)) : wf__at(g, v); continue; }
        list[kind][count[kind]++] = v;
        if (count[kind] < MANY && s->list[2 * e + 1]) continue;
        for (int k = 0; k < 2; k++) {
            if (!count[k]) continue;
            wf_t part = wf__batch_sum_list(g, list[k], count[k]);
            sum = sum.id ? wf_add(sum, part) : part;
            count[k] = 0;
        }
    }
    s->pending[id] = 0;
    if (!sum.id) return;
    if (repeated) { sum = wf__transposed(wf__at(g, id), sum); wf__give(s, sum.id, wf__arg(g, id, 0), sum); return; }
    sum = s->cot[id] ? wf_add(wf__at(g, s->cot[id]), sum) : sum;
    s->cot[id] = sum.id;
    if (!sum.id) s->failed = 1;
}

/* derivatives: the longer rules */
static wf_t wf__softmax_tangent(wf_t y, wf_t v)
{
    int axis = wf__of(y)->at[0];
    v = wf_bcast(v, wf__of(y)->nd, wf__of(y)->d);
    return wf_mul(y, wf_sub(v, wf__bcast_along(wf_sum_over(wf_mul(v, y), axis), axis, y)));
}

static void wf__pass_concat(wf__sweep *s, wf_t y, wf_t u)
{
    int axis = wf__of(y)->at[0], start = 0;
    for (int k = 0; k < wf__of(y)->args; k++) {
        wf_t x = wf__arg_of(y, k);
        int size = wf__of(x)->d[axis];
        if (s->want[x.id]) wf__give(s, y.id, x.id, wf_slice(u, axis, start, size));
        start += size;
    }
}

static void wf__pass_custom(wf__sweep *s, wf_t y, wf_t u)
{
    wf_graph *g = s->g;
    wf__custom c = *g->custom[wf__of(y)->at[0]];
    wf_t in[12];
    int inputs = wf__of(y)->args;
    for (int k = 0; k < inputs; k++) in[k] = wf__arg_of(y, k);
    for (int k = 0; k < inputs; k++) {
        if (!s->want[in[k].id]) continue;
        if (c.which < 0 && c.op.vjp) { wf__give(s, y.id, in[k].id, c.op.vjp(c.op.user, in, inputs, y, u, k)); continue; }
        if (c.which >= 0 || !c.op.vjp_eval) {
            wf__fail(g->arena, WF_ERROR_UNSUPPORTED, "derivative: the operation %s has no %sderivative", c.op.name, c.which >= 0 ? "second " : "");
            s->failed = 1;
            return;
        }
        wf__custom d = c;
        wf_t all[12];
        for (int i = 0; i < inputs; i++) all[i] = in[i];
        all[inputs] = y;
        all[inputs + 1] = u;
        d.which = k;
        wf__give(s, y.id, in[k].id, wf__custom_node(g, &d, all, inputs + 2, wf__of(in[k])->nd, wf__of(in[k])->d));
    }
}

/* derivatives: pass a cotangent on */
static void wf__pass(wf__sweep *s, int id)
{
    wf_graph *g = s->g;
    wf_t y = wf__at(g, id), u = wf__at(g, s->cot[id]);
    int op = g->node[id].op, a = g->node[id].args ? wf__arg(g, id, 0) : 0;
    int kind = wf__op_kind[op];
    if (op == WF__OP_NEG) { wf__give(s, id, a, wf_neg(u)); return; }
    if (kind == WF__KIND_UNARY) { wf__give(s, id, a, wf_mul(wf__slope(y, 0), u)); return; }
    if (kind == WF__KIND_BINARY) {
        for (int k = 0; k < 2; k++)
            if (s->want[wf__arg(g, id, k)]) wf__give(s, id, wf__arg(g, id, k), wf_mul(wf__slope(y, k), u));
        return;
    }
    switch (op) {
    case WF__OP_BSUM:
        for (int k = 0; k < g->node[id].args; k++) wf__give(s, id, wf__arg(g, id, k), u);
        return;
    case WF__OP_CONCAT: wf__pass_concat(s, y, u); return;
    case WF__OP_MATMUL:
        for (int k = 0; k < 2; k++)
            if (s->want[wf__arg(g, id, k)]) wf__give(s, id, wf__arg(g, id, k), wf__matmul_vjp(y, u, k));
        return;
    case WF__OP_SELECT:
        if (s->want[wf__arg(g, id, 1)]) wf__give(s, id, wf__arg(g, id, 1), wf_select(wf__at(g, a), u, wf__const_like(u, 0)));
        if (s->want[wf__arg(g, id, 2)]) wf__give(s, id, wf__arg(g, id, 2), wf_select(wf__at(g, a), wf__const_like(u, 0), u));
        return;
    case WF__OP_SOFTMAX:
        wf__give(s, id, a, wf__softmax_tangent(y, u));
        return;
    case WF__OP_TRISOLVE: {
        wf_t db = wf__trisolve_like(y, u, 1);
        wf_t dl = g->node[id].at[1] ? wf_matmul_t(y, 0, db, 1) : wf_matmul_t(db, 0, y, 1);
        wf__give(s, id, wf__arg(g, id, 1), db);
        if (s->want[a]) wf__give(s, id, a, wf_neg(wf__trisolve_matrix(y, dl)));
        return;
    }
    case WF__OP_CHOLESKY: wf__give(s, id, a, wf__cholesky_vjp(y, u)); return;
    case WF__OP_RESULT: wf__sweep_push(s, a, id); return;
    case WF__OP_CUSTOM: wf__pass_custom(s, y, u); return;
    default: wf__give(s, id, a, wf__transposed(y, u)); return;
    }
}

/* derivatives: copy a body into a new loop */
static int32_t *wf__loop_copy(wf_loop *r, wf_loop *l, int stacked)
{
    wf_graph *to = r->body, *from = l->body;
    int32_t *map = (int32_t *)wf_alloc(to->arena, (size_t)from->nodes, sizeof *map);
    if (!map) return NULL;
    for (int i = 0; i < l->ports; i++) {
        wf__port p = l->port[i];
        wf_t outer = wf__at(l->graph, p.outer), inner = wf__at(from, p.inner);
        if (p.kind == WF__CARRY) map[p.inner] = stacked ? wf_loop_each(r, wf_loop_stack(l, inner)).id : wf_loop_carry(r, outer).id;
        else if (p.kind == WF__EACH) map[p.inner] = wf_loop_each(r, outer).id;
        else if (p.kind == WF__FIXED) map[p.inner] = wf_loop_constant(r, outer).id;
        else map[p.inner] = wf_loop_step(r).id;
    }
    for (int id = 1; id < from->nodes; id++)
        if (!map[id]) map[id] = wf__import(to, from, id, map).id;
    return map;
}

/* derivatives: list the results of a loop */
static wf_t wf__result_cot(wf__sweep *s, int scan, int kind, int inner)
{
    for (int e = s->pending[scan]; e; e = s->list[2 * e + 1]) {
        int id = s->list[2 * e];
        if (s->g->node[id].at[0] == kind && s->g->node[id].at[1] == inner) return wf__at(s->g, s->cot[id]);
    }
    return wf__none(s->g);
}

static wf_t wf__full_cot(wf_t like, wf_t u)
{
    if (!u.id) u = wf__const_like(like, 0);
    return wf_is_batch(like) ? wf_per_sample(u) : u;
}

/* derivatives: build the loop backwards */
typedef struct wf__lists { wf_t *y, *u, *x, *out; int ny, nx; int32_t *map; } wf__lists;

static int wf__loop_lists(wf__sweep *s, wf_loop *l, wf_loop *r, wf__lists *v)
{
    wf_graph *g = s->g;
    wf_arena *A = g->arena;
    size_t room = (size_t)(l->ports + 1), results = 1;
    for (int e = s->pending[l->node]; e; e = s->list[2 * e + 1]) results++;
    v->map = wf__loop_copy(r, l, 1);
    v->y = (wf_t *)wf_alloc(A, room + results, sizeof(wf_t));
    v->u = (wf_t *)wf_alloc(A, room + results, sizeof(wf_t));
    if (!v->map || !v->y || !v->u) return 0;
    for (int i = 0; i < l->ports; i++) {
        wf__port p = l->port[i];
        if (p.kind != WF__CARRY) continue;
        wf_t u = wf__result_cot(s, l->node, WF__FINAL, p.inner), like = wf__at(r->body, v->map[p.inner]);
        v->y[v->ny] = wf__at(r->body, v->map[p.next]);
        u = u.id ? u : wf_full(g, wf__of(like)->nd, wf__of(like)->d, 0);
        v->u[v->ny++] = wf_loop_carry(r, wf_is_batch(like) ? wf_per_sample(u) : u);
    }
    for (int e = s->pending[l->node]; e; e = s->list[2 * e + 1]) {
        int id = s->list[2 * e], kind = g->node[id].at[0];
        if (kind == WF__FINAL) continue;
        v->y[v->ny] = wf__at(r->body, v->map[g->node[id].at[1]]);
        wf_t u = wf__at(g, s->cot[id]);
        if (kind == WF__STACK && wf__of(u)->nd != g->node[id].nd) u = wf_bcast(u, g->node[id].nd, g->node[id].d);
        v->u[v->ny++] = kind == WF__STACK ? wf_loop_each(r, u) : wf_loop_constant(r, u);
    }
    int params = 0;
    for (int id = 1; id < r->body->nodes; id++) params += r->body->node[id].op == WF__OP_PARAM;
    v->x = (wf_t *)wf_alloc(A, room + (size_t)params, sizeof(wf_t));
    v->out = (wf_t *)wf_alloc(A, room + (size_t)params, sizeof(wf_t));
    if (!v->x || !v->out) return 0;
    for (int i = 0; i < l->ports; i++) v->x[v->nx++] = wf__at(r->body, v->map[l->port[i].inner]);
    for (int id = 1; id < r->body->nodes; id++)
        if (r->body->node[id].op == WF__OP_PARAM) v->x[v->nx++] = wf__at(r->body, id);
    return A->report.code >= 0;
}

/* derivatives: store instead of recomputing */
static int wf__is_cheap(const wf__node *n)
{
    return n->op <= WF__OP_RANDOM || n->op == WF__OP_RESHAPE || n->op == WF__OP_BCAST || n->op == WF__OP_PERMUTE || n->op == WF__OP_STOP
        || n->op == WF__OP_SLICE || n->op == WF__OP_SCAN;
}

static void wf__loop_store_node(wf_loop *r, wf_loop *l, const int32_t *back, int id, int copied)
{
    wf__node *n = &r->body->node[id];
    if (id >= copied || !back[id] || n->op == WF__OP_INPUT || n->op == WF__OP_SCAN) return;
    if (wf__is_cheap(n)) {
        for (int i = 0; i < n->args; i++) wf__loop_store_node(r, l, back, wf__arg(r->body, id, i), copied);
        return;
    }
    wf_t rows = wf_loop_stack(l, wf__at(l->body, back[id]));
    if (!rows.id) return;
    wf_t port = wf_loop_each(r, rows);
    if (!port.id) return;
    n = &r->body->node[id];
    n->op = WF__OP_INPUT;
    n->at[0] = r->body->node[port.id].at[0];
    n->space = r->body->node[port.id].space;
    n->args = 0;
    r->port[r->ports - 1].inner = id;
}

static void wf__loop_store(wf_loop *r, wf_loop *l, const int32_t *map)
{
    int copied = 0, nodes = r->body->nodes;
    int32_t *back = (int32_t *)wf_alloc(r->graph->arena, (size_t)nodes, sizeof *back);
    if (!back) return;
    for (int id = 1; id < l->body->nodes; id++) {
        if (!map[id]) continue;
        back[map[id]] = id;
        if (map[id] >= copied) copied = map[id] + 1;
    }
    for (int id = copied; id < nodes; id++)
        for (int i = 0; i < r->body->node[id].args; i++) wf__loop_store_node(r, l, back, wf__arg(r->body, id, i), copied);
}

/* derivatives: give a total */
static void wf__give_total(wf__sweep *s, int scan, int to, wf_loop *r, wf_t value)
{
    double zero;
    if (wf__is_const(value, &zero) && zero == 0) return;
    wf_t total = wf_loop_total(r, value);
    wf__give(s, wf_is_batch(total) ? scan : total.id, to, total);
}

/* derivatives: pass a cotangent through a loop */
static void wf__pass_loop(wf__sweep *s, int scan)
{
    wf_graph *g = s->g;
    wf_loop *l = g->loop[g->node[scan].at[0]], *r = wf_loop_begin(g, l->steps, l->keep);
    wf__lists v;
    memset(&v, 0, sizeof v);
    s->failed = 1;
    if (!r) return;
    r->backwards = !l->backwards;
    if (!wf__loop_lists(s, l, r, &v) || wf__vjp(v.y, v.u, v.ny, v.x, v.nx, v.out) < 0) return;
    for (int i = 0, k = 0; i < l->ports; i++)
        if (l->port[i].kind == WF__CARRY) {
            wf_loop_next(r, v.u[k], wf_is_batch(v.u[k]) ? wf_per_sample(v.out[i]) : v.out[i]);
            k++;
        }
    if (l->keep == WF_KEEP_ALL) wf__loop_store(r, l, v.map);
    if (wf_loop_end(r) < 0) return;
    s->failed = 0;
    for (int i = 0, k = 0; i < l->ports; i++) {
        wf__port p = l->port[i];
        if (p.kind == WF__CARRY) wf__give(s, scan, p.outer, wf_loop_final(r, v.u[k++]));
        else if (p.kind == WF__EACH && s->want[p.outer]) wf__give(s, scan, p.outer, wf_loop_stack(r, v.out[i]));
        else if (p.kind == WF__FIXED && s->want[p.outer]) wf__give_total(s, scan, p.outer, r, v.out[i]);
    }
    for (int i = l->ports; i < v.nx; i++) {
        wf_t outer = wf_param(g, g->params->entry[wf__of(v.x[i])->at[0]].name, wf__of(v.x[i])->nd, wf__of(v.x[i])->d, 0, 0);
        if (outer.id < scan && s->want[outer.id]) wf__give_total(s, scan, outer.id, r, v.out[i]);
    }
}

/* derivatives: look for parameters in a loop */
static int wf__loop_wants(const wf__sweep *s, const wf_loop *l)
{
    const wf_graph *b = l->body, *g = l->graph;
    for (int id = 1; id < b->nodes; id++) {
        if (b->node[id].op == WF__OP_SCAN && wf__loop_wants(s, b->loop[b->node[id].at[0]])) return 1;
        if (b->node[id].op != WF__OP_PARAM) continue;
        for (int k = 1; k < l->node; k++)
            if (s->g == g && g->node[k].op == WF__OP_PARAM && g->node[k].at[0] == b->node[id].at[0] && s->want[k]) return 1;
    }
    return 0;
}

/* derivatives: sweep backwards */
static wf_result wf__vjp(const wf_t *y, const wf_t *u, int ny, const wf_t *x, int nx, wf_t *out)
{
    wf_graph *g = y[0].graph;
    wf__sweep s;
    int top = 0;
    memset(&s, 0, sizeof s);
    s.g = g;
    for (int i = 0; i < ny; i++) if (y[i].id >= top) top = y[i].id + 1;
    for (int i = 0; i < nx; i++) if (x[i].id >= top) top = x[i].id + 1;
    s.cot = (int32_t *)wf_alloc(g->arena, (size_t)top, sizeof *s.cot);
    s.pending = (int32_t *)wf_alloc(g->arena, (size_t)top, sizeof *s.pending);
    s.want = (uint8_t *)wf_alloc(g->arena, (size_t)top, 1);
    if (!s.cot || !s.pending || !s.want) return g->arena->report.code;
    for (int i = 0; i < nx; i++) s.want[x[i].id] = 1;
    for (int id = 1; id < top; id++) {
        const wf__node *n = &g->node[id];
        if (wf__op_kind[n->op] == WF__KIND_ZERO) { continue; }
        for (int k = 0; k < n->args && !s.want[id]; k++) s.want[id] = s.want[wf__arg(g, id, k)];
        if (n->op == WF__OP_SCAN && !s.want[id]) s.want[id] = wf__loop_wants(&s, g->loop[n->at[0]]);
    }
    for (int i = 0; i < ny; i++) {
        wf_t c = wf_bcast(u[i], wf__of(y[i])->nd, wf__of(y[i])->d);
        wf__give(&s, y[i].id, y[i].id, c);
    }
    for (int id = top - 1; id > 0 && !s.failed; id--) {
        if (!s.want[id]) continue;
        if (g->node[id].op == WF__OP_SCAN) { if (s.pending[id]) wf__pass_loop(&s, id); continue; }
        if (s.pending[id]) wf__settle(&s, id);
        if (s.cot[id]) wf__pass(&s, id);
    }
    for (int i = 0; i < nx; i++) out[i] = s.cot[x[i].id] ? wf__at(g, s.cot[x[i].id]) : wf__const_like(x[i], 0);
    if (!s.failed) return WF_OK;
    return g->arena->report.code < 0 ? g->arena->report.code : wf__fail(g->arena, WF_ERROR_UNSUPPORTED, "derivative: there is none");
}

/* derivatives: push a tangent through a node */
static wf_t wf__plus(wf_t a, wf_t b) { return !a.id ? b : !b.id ? a : wf_add(a, b); }

static wf_t wf__push_concat(wf_t y, const int32_t *tan)
{
    enum { MANY = 64 };
    wf_t parts[MANY];
    for (int k = 0; k < wf__of(y)->args; k++) {
        wf_t x = wf__arg_of(y, k);
        parts[k] = tan[x.id] ? wf__at(y.graph, tan[x.id]) : wf__const_like(x, 0);
        parts[k] = wf_bcast(parts[k], wf__of(x)->nd, wf__of(x)->d);
    }
    return wf_concat(parts, wf__of(y)->args, wf__of(y)->at[0]);
}

static wf_t wf__push_custom(wf_t y, const int32_t *tan)
{
    wf__custom c = *y.graph->custom[wf__of(y)->at[0]];
    wf_t in[12], v[12];
    int inputs = wf__of(y)->args;
    for (int k = 0; k < inputs; k++) {
        in[k] = wf__arg_of(y, k);
        v[k] = wf__at(y.graph, tan[in[k].id]);
    }
    if (c.which < 0 && c.op.jvp) return c.op.jvp(c.op.user, in, inputs, y, v);
    wf__fail(y.graph->arena, WF_ERROR_UNSUPPORTED, "derivative: the operation %s has no forward derivative", c.op.name);
    return wf__none(y.graph);
}

static wf_t wf__push(wf_t y, const int32_t *tan)
{
    wf_graph *g = y.graph;
    const wf__node *n = wf__of(y);
    int op = n->op, kind = wf__op_kind[op], args = n->args, ta = n->at[0], tb = n->at[1];
    wf_t a = wf__arg_of(y, 0), va = wf__at(g, tan[a.id]), b = wf__none(g), vb = b, v = b;
    if (args > 1) { b = wf__arg_of(y, 1); vb = wf__at(g, tan[b.id]); }
    if (op == WF__OP_NEG) return wf_neg(va);
    if (kind == WF__KIND_UNARY) return wf_mul(wf__slope(y, 0), va);
    if (kind == WF__KIND_BINARY) {
        if (va.id) v = wf_mul(wf__slope(y, 0), va);
        return vb.id ? wf__plus(v, wf_mul(wf__slope(y, 1), vb)) : v;
    }
    switch (op) {
    case WF__OP_BSUM:
        for (int k = 0; k < args; k++) {
            wf_t vk = wf__at(g, tan[wf__arg(g, y.id, k)]);
            if (vk.id) v = wf__plus(v, wf_batch_sum(vk));
        }
        return v;
    case WF__OP_CONCAT: return wf__push_concat(y, tan);
    case WF__OP_MATMUL:
        if (va.id) v = wf_matmul_t(va, ta, b, tb);
        return vb.id ? wf__plus(v, wf_matmul_t(a, ta, vb, tb)) : v;
    case WF__OP_SELECT: {
        wf_t no = wf__arg_of(y, 2), vn = wf__at(g, tan[no.id]);
        return wf_select(a, vb.id ? vb : wf__const_like(y, 0), vn.id ? vn : wf__const_like(y, 0));
    }
    case WF__OP_SOFTMAX: return wf__softmax_tangent(y, va);
    case WF__OP_TRISOLVE:
        if (va.id) v = wf_neg(wf_matmul_t(wf__trisolve_matrix(y, va), tb, y, 0));
        return wf__trisolve_like(y, wf__plus(v, vb), 0);
    case WF__OP_CHOLESKY: return wf__cholesky_forward(y, va);
    case WF__OP_CUSTOM: return wf__push_custom(y, tan);
    default: return wf__reapply(y, va);
    }
}

/* derivatives: push a tangent through a loop */
static int wf__push_loop(wf_graph *g, int scan, int32_t *tan, int top)
{
    wf_loop *l = g->loop[g->node[scan].at[0]], *r = wf_loop_begin(g, l->steps, l->keep);
    wf_arena *A = g->arena;
    if (!r) return 0;
    r->backwards = l->backwards;
    int32_t *map = wf__loop_copy(r, l, 0);
    wf_t *x = (wf_t *)wf_alloc(A, (size_t)(l->ports + 1), sizeof *x), *v = (wf_t *)wf_alloc(A, (size_t)(l->ports + 1), sizeof *v);
    wf_t *y = (wf_t *)wf_alloc(A, (size_t)(l->ports + top - scan + 1), sizeof *y), *dy = (wf_t *)wf_alloc(A, (size_t)(l->ports + top - scan + 1), sizeof *dy);
    int nx = 0, ny = 0;
    if (!map || !x || !v || !y || !dy) return 0;
    for (int i = 0; i < l->ports; i++) {
        wf__port p = l->port[i];
        wf_t outer = wf__at(g, p.outer), dot = wf__at(g, p.outer ? tan[p.outer] : 0), inner = wf__at(r->body, map[p.inner]);
        if (p.kind == WF__STEP || (p.kind != WF__CARRY && !dot.id)) continue;
        dot = dot.id ? wf_bcast(dot, wf__of(outer)->nd, wf__of(outer)->d) : wf__const_like(outer, 0);
        x[nx] = inner;
        if (p.kind == WF__CARRY) {
            v[nx++] = wf_loop_carry(r, g->node[scan].space == WF__BATCH ? wf_per_sample(dot) : dot);
            y[ny++] = wf__at(r->body, map[p.next]);
        } else v[nx++] = p.kind == WF__EACH ? wf_loop_each(r, dot) : wf_loop_constant(r, dot);
    }
    int carries = ny;
    for (int id = scan + 1; id < top; id++)
        if (g->node[id].op == WF__OP_RESULT && wf__arg(g, id, 0) == scan) y[ny++] = wf__at(r->body, map[g->node[id].at[1]]);
    if (!ny || wf__jvp(x, v, nx, y, ny, dy) < 0) return 0;
    for (int i = 0, k = 0, c = 0; i < l->ports && c < carries; i++) {
        if (l->port[i].kind != WF__CARRY) continue;
        while (x[k].id != map[l->port[i].inner]) k++;
        wf_loop_next(r, wf__at(r->body, map[l->port[i].inner]), y[c]);
        wf_loop_next(r, v[k], wf_is_batch(v[k]) ? wf_per_sample(dy[c]) : dy[c]);
        c++;
    }
    if (wf_loop_end(r) < 0) return 0;
    for (int id = scan + 1, k = carries; id < top; id++) {
        if (g->node[id].op != WF__OP_RESULT || wf__arg(g, id, 0) != scan) continue;
        int kind = g->node[id].at[0];
        wf_t value = dy[k++];
        if (kind == WF__FINAL) {
            for (int i = 0; i < nx; i++) if (x[i].id == map[g->node[id].at[1]]) value = v[i];
            tan[id] = wf_loop_final(r, value).id;
        } else tan[id] = (kind == WF__STACK ? wf_loop_stack(r, value) : wf_loop_total(r, value)).id;
        if (!tan[id]) return 0;
    }
    return 1;
}

/* derivatives: sweep forwards */
static wf_result wf__jvp(const wf_t *x, const wf_t *v, int nx, const wf_t *y, int ny, wf_t *out)
{
    wf_graph *g = y[0].graph;
    int top = 0;
    for (int i = 0; i < ny; i++) if (y[i].id >= top) top = y[i].id + 1;
    for (int i = 0; i < nx; i++) if (x[i].id >= top) top = x[i].id + 1;
    int32_t *tan = (int32_t *)wf_alloc(g->arena, (size_t)top, sizeof *tan);
    uint8_t *need = (uint8_t *)wf_alloc(g->arena, (size_t)top, 1);
    if (!tan || !need) return g->arena->report.code;
    for (int i = 0; i < ny; i++) need[y[i].id] = 1;
    for (int id = top - 1; id > 0; id--)
        for (int k = 0; need[id] && k < g->node[id].args; k++) need[wf__arg(g, id, k)] = 1;
    for (int i = 0; i < nx; i++) { tan[x[i].id] = wf_bcast(v[i], wf__of(x[i])->nd, wf__of(x[i])->d).id; need[x[i].id] = 0; }
    for (int id = 1; id < top; id++) {
        int active = 0, op = g->node[id].op;
        for (int k = 0; k < g->node[id].args; k++) active |= tan[wf__arg(g, id, k)];
        if (!active || !need[id] || wf__op_kind[op] == WF__KIND_ZERO || op == WF__OP_RESULT) continue;
        if (op == WF__OP_SCAN) {
            if (!wf__push_loop(g, id, tan, top)) return g->arena->report.code < 0 ? g->arena->report.code : WF_ERROR_UNSUPPORTED;
            continue;
        }
        tan[id] = wf__push(wf__at(g, id), tan).id;
        if (!tan[id]) return g->arena->report.code < 0 ? g->arena->report.code : WF_ERROR_UNSUPPORTED;
    }
    for (int i = 0; i < ny; i++) out[i] = tan[y[i].id] ? wf__at(g, tan[y[i].id]) : wf__const_like(y[i], 0);
    return WF_OK;
}

/* derivatives: check lists of values */
static wf_result wf__check_list(const wf_t *list, int n, wf_graph *g)
{
    for (int i = 0; i < n; i++) {
        if (wf__missing(list[i])) return g ? g->arena->report.code : WF_ERROR_ARGUMENT;
        if (list[i].graph != g) return wf__fail(g->arena, WF_ERROR_ARGUMENT, "derivative: values of two graphs");
    }
    return WF_OK;
}

wf_result wf_vjp(const wf_t *y, const wf_t *u, int ny, const wf_t *x, int nx, wf_t *out)
{
    wf_graph *g = ny > 0 ? y[0].graph : NULL;
    for (int i = 0; i < nx; i++) out[i] = wf__none(g);
    if (!g || wf__check_list(y, ny, g) < 0 || wf__check_list(u, ny, g) < 0 || wf__check_list(x, nx, g) < 0) return WF_ERROR_ARGUMENT;
    wf_result r = wf__vjp(y, u, ny, x, nx, out);
    if (r < 0) for (int i = 0; i < nx; i++) out[i] = wf__none(g);
    return r;
}

wf_result wf_jvp_list(const wf_t *x, const wf_t *v, int nx, const wf_t *y, int ny, wf_t *out)
{
    wf_graph *g = ny > 0 ? y[0].graph : NULL;
    for (int i = 0; i < ny; i++) out[i] = wf__none(g);
    if (!g || wf__check_list(y, ny, g) < 0 || wf__check_list(v, nx, g) < 0 || wf__check_list(x, nx, g) < 0) return WF_ERROR_ARGUMENT;
    wf_result r = wf__jvp(x, v, nx, y, ny, out);
    if (r < 0) for (int i = 0; i < ny; i++) out[i] = wf__none(g);
    return r;
}

/* derivatives: gradients and directions */
wf_t wf_grad(wf_t y, wf_t x)
{
    wf_t out = wf__none(y.graph);
    if (wf__missing(y)) return out;
    wf_t one = wf__const_like(y, 1);
    wf_vjp(&y, &one, 1, &x, 1, &out);
    return out;
}

wf_t wf_jvp(wf_t y, wf_t x, wf_t v)
{
    wf_t out = wf__none(y.graph);
    wf_jvp_list(&x, &v, 1, &y, 1, &out);
    return out;
}

static wf_t wf__unit(wf_t x, int k)
{
    int n = (int)wf__node_size(wf__of(x));
    int single = 1;
    wf_t e = wf_full(x.graph, 1, &single, 1);
    e = wf_pad(e, 0, k, n - 1 - k);
    return wf__missing(e) ? e : wf_reshape(e, wf__of(x)->nd, wf__of(x)->d);
}

/* derivatives: matrices of derivatives */
wf_t wf_jacobian(wf_t y, wf_t x)
{
    enum { MANY = 256 };
    wf_t column[MANY];
    if (wf__strangers(y, x)) return wf__none(y.graph);
    int n = (int)wf__node_size(wf__of(x)), m = (int)wf__node_size(wf__of(y));
    if (n > MANY) return wf__unfit(x, "jacobian", "has more than 256 elements");
    for (int k = 0; k < n; k++) {
        column[k] = wf_jvp(y, x, wf__unit(x, k));
        if (!column[k].id) return column[k];
        column[k] = wf_reshape(column[k], 1, &m);
    }
    return wf_transpose(wf_stack(column, n));
}

wf_t wf_divergence(wf_t y, wf_t x)
{
    if (wf__strangers(y, x)) return wf__none(y.graph);
    int n = (int)wf__node_size(wf__of(x));
    if ((int)wf__node_size(wf__of(y)) != n) return wf__misfit(y, x, "divergence");
    wf_t sum = wf__none(y.graph);
    for (int k = 0; k < n; k++) {
        wf_t v = wf_jvp(y, x, wf__unit(x, k));
        if (!v.id) return v;
        v = wf_reshape(wf_slice(wf_reshape(v, 1, &n), 0, k, 1), 0, &n);
        sum = wf__plus(sum, v);
    }
    return sum;
}

/* derivatives: a second derivative from the first */
static wf_t wf__curvature(wf_t y, int which, int along)
{
    wf_t slope = wf__slope(y, which), x = wf__arg_of(y, along), one = wf__const_like(x, 1), out = wf__none(y.graph);
    slope = wf_bcast(slope, wf__of(y)->nd, wf__of(y)->d);
    if (!slope.id || wf__jvp(&x, &one, 1, &slope, 1, &out) < 0) return wf__none(y.graph);
    return out;
}

/* derivatives: carry a jet through an elementwise operation */
typedef struct wf__jets { wf_graph *g; int dim; int32_t *first, *lap; } wf__jets;

static wf_t wf__jet_first(const wf__jets *j, int id, int i) { return wf__at(j->g, j->first[(size_t)id * (size_t)j->dim + (size_t)i]); }

static wf_t wf__products(const wf__jets *j, int a, int b)
{
    wf_t sum = wf__none(j->g);
    for (int i = 0; i < j->dim; i++) {
        wf_t x = wf__jet_first(j, a, i), y = wf__jet_first(j, b, i);
        if (x.id && y.id) sum = wf__plus(sum, wf_mul(x, y));
    }
    return sum;
}

static wf_t wf__jet_curved(const wf__jets *j, wf_t y)
{
    wf_t total = wf__none(j->g);
    int args = wf__of(y)->args;
    for (int p = 0; p < args; p++)
        for (int q = p; q < args; q++) {
            wf_t s = wf__products(j, wf__arg(j->g, y.id, p), wf__arg(j->g, y.id, q));
            if (!s.id) continue;
            wf_t f = wf__curvature(y, p, q);
            if (!f.id) return f;
            total = wf__plus(total, wf_mul(p == q ? f : wf_scale(f, 2), s));
        }
    return total;
}

/* derivatives: carry a jet through a node */
static wf_t wf__jet_bilinear(const wf__jets *j, wf_t y)
{
    wf_t sum = wf__none(j->g);
    int a = wf__arg(j->g, y.id, 0), b = wf__arg(j->g, y.id, 1), ta = wf__of(y)->at[0], tb = wf__of(y)->at[1];
    for (int i = 0; i < j->dim; i++) {
        wf_t va = wf__jet_first(j, a, i), vb = wf__jet_first(j, b, i);
        if (va.id && vb.id) sum = wf__plus(sum, wf_matmul_t(va, ta, vb, tb));
    }
    return sum.id ? wf_scale(sum, 2) : sum;
}

static int wf__jet_node(wf__jets *j, int id, int32_t *tan)
{
    wf_graph *g = j->g;
    wf_t y = wf__at(g, id), extra = wf__none(g);
    int op = g->node[id].op, kind = wf__op_kind[op], any = 0;
    for (int i = 0; i <= j->dim; i++) {
        int active = 0;
        for (int k = 0; k < g->node[id].args; k++) {
            int a = wf__arg(g, id, k);
            tan[a] = i < j->dim ? wf__jet_first(j, a, i).id : j->lap[a];
            active |= tan[a];
        }
        wf_t v = active ? wf__push(y, tan) : wf__none(g);
        if (active && !v.id) return 0;
        any |= active;
        if (i < j->dim) j->first[(size_t)id * (size_t)j->dim + (size_t)i] = v.id;
        else j->lap[id] = v.id;
    }
    if (!any) return 1;
    if (kind == WF__KIND_UNARY || kind == WF__KIND_BINARY) extra = wf__jet_curved(j, y);
    else if (op == WF__OP_MATMUL) extra = wf__jet_bilinear(j, y);
    j->lap[id] = wf__plus(wf__at(g, j->lap[id]), extra).id;
    return g->arena->report.code >= 0;
}

/* derivatives: fall back to nested tangents */
static wf_t wf__laplacian_nested(wf_t y, wf_t x)
{
    wf_t sum = wf__none(y.graph);
    int n = (int)wf__node_size(wf__of(x));
    for (int k = 0; k < n; k++) {
        wf_t e = wf__unit(x, k), second = wf_jvp(wf_jvp(y, x, e), x, e);
        if (!second.id) return second;
        sum = wf__plus(sum, wf_bcast(second, wf__of(y)->nd, wf__of(y)->d));
    }
    return sum;
}

static int wf__jet_possible(const wf_graph *g, int id, const uint8_t *active)
{
    int op = g->node[id].op, kind = wf__op_kind[op];
    return !active[id] || op == WF__OP_MATMUL || op == WF__OP_SELECT || kind == WF__KIND_UNARY || kind == WF__KIND_BINARY || kind == WF__KIND_LINEAR
        || kind == WF__KIND_ZERO || kind == WF__KIND_LEAF;
}

/* derivatives: sweep with jets */
static int wf__jet_sweep(wf__jets *j, wf_t y, wf_t x)
{
    wf_graph *g = y.graph;
    int top = y.id + 1;
    j->g = g;
    j->dim = (int)wf__node_size(wf__of(x));
    j->first = (int32_t *)wf_alloc(g->arena, (size_t)top * (size_t)j->dim, sizeof *j->first);
    j->lap = (int32_t *)wf_alloc(g->arena, (size_t)top, sizeof *j->lap);
    int32_t *tan = (int32_t *)wf_alloc(g->arena, (size_t)top, sizeof *tan);
    uint8_t *need = (uint8_t *)wf_alloc(g->arena, (size_t)top, 1), *active = (uint8_t *)wf_alloc(g->arena, (size_t)top, 1);
    if (!j->first || !j->lap || !tan || !need || !active || x.id >= top) return 0;
    need[y.id] = active[x.id] = 1;
    for (int id = top - 1; id > 0; id--)
        for (int k = 0; need[id] && k < g->node[id].args; k++) need[wf__arg(g, id, k)] = 1;
    for (int id = x.id + 1; id < top; id++) {
        if (wf__op_kind[g->node[id].op] == WF__KIND_ZERO) continue;
        for (int k = 0; k < g->node[id].args; k++) active[id] |= active[wf__arg(g, id, k)];
        if (need[id] && !wf__jet_possible(g, id, active)) return 0;
    }
    for (int i = 0; i < j->dim; i++) j->first[(size_t)x.id * (size_t)j->dim + (size_t)i] = wf__unit(x, i).id;
    for (int id = x.id + 1; id < top; id++)
        if (need[id] && active[id] && !wf__jet_node(j, id, tan)) return 0;
    return 1;
}

wf_jet wf_jet2(wf_t y, wf_t x)
{
    wf_jet jet = { y, wf__none(y.graph), wf__none(y.graph) };
    wf__jets j;
    enum { MANY = 256 };
    wf_t column[MANY];
    memset(&j, 0, sizeof j);
    if (wf__strangers(y, x)) return jet;
    int size = (int)wf__node_size(wf__of(y)), n = (int)wf__node_size(wf__of(x));
    if (n > MANY) { wf__unfit(x, "jet2", "has more than 256 elements"); return jet; }
    if (!wf__jet_sweep(&j, y, x)) {
        if (y.graph->arena->report.code < 0) return jet;
        jet.grad = wf_jacobian(y, x);
        jet.lap = wf__laplacian_nested(y, x);
        return jet;
    }
    for (int i = 0; i < n; i++) {
        wf_t v = wf__jet_first(&j, y.id, i);
        v = v.id ? wf_bcast(v, wf__of(y)->nd, wf__of(y)->d) : wf__const_like(y, 0);
        column[i] = wf_reshape(v, 1, &size);
    }
    jet.grad = wf_transpose(wf_stack(column, n));
    jet.lap = j.lap[y.id] ? wf__at(y.graph, j.lap[y.id]) : wf__const_like(y, 0);
    return jet;
}

wf_t wf_laplacian(wf_t y, wf_t x) { return wf_jet2(y, x).lap; }

/* header: restore the compiler */
#ifdef __cplusplus
}
#endif
#if defined(__clang__)
#pragma clang diagnostic pop
#elif defined(__GNUC__)
#pragma GCC pop_options
#pragma GCC diagnostic pop
#endif
#endif /* WEIGHTFLOW_IMPLEMENTATION_DONE */
#endif /* WEIGHTFLOW_IMPLEMENTATION */

/*
weightflow.h is available under two licences. Choose whichever you prefer.

------------------------------------------------------------------------------
ALTERNATIVE A - MIT No Attribution (MIT-0)

Copyright (c) 2026 the weightflow authors

Permission is hereby granted, free of charge, to any person obtaining a copy of
this software and associated documentation files (the "Software"), to deal in
the Software without restriction, including without limitation the rights to
use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies
of the Software, and to permit persons to whom the Software is furnished to do
so.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS
FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER
IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.

------------------------------------------------------------------------------
ALTERNATIVE B - Public domain

This is free and unencumbered software released into the public domain. Anyone
is free to copy, modify, publish, use, compile, sell, or distribute this
software, either in source code form or as a compiled binary, for any purpose,
commercial or non-commercial, and by any means.

In jurisdictions that recognise copyright laws, the authors dedicate any and all
copyright interest in the software to the public domain. We make this dedication
for the benefit of the public at large and to the detriment of our heirs and
successors. We intend it as an overt act of relinquishment in perpetuity of all
present and future rights to this software under copyright law.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS
FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS BE
LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF
CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
*/
