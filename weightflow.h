/* header: introduce the file */
/* weightflow.h - learn and sample probability distributions that move

   One header, no dependencies. In exactly one C (C99) or C++ (C++11) file:

       #define WEIGHTFLOW_IMPLEMENTATION
       #include "weightflow.h"

   Everything else includes it plainly. Add -fopenmp to use several cores.

   THIS FILE IS GENERATED from the chapters in src-lit/ (make header). Do not edit it: edit the chapter.

   QUICK START, the one pattern that everything follows:

       wf_arena  *A = wf_arena_new(NULL);             memory and the last error
       wf_params *P = wf_params_new(A, 42, WF_F32);   what is learned; 42 is the seed
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

/* ---- Vectors ---- */

/* vectors: declare the instruction sets */
/* Instruction sets. WF_ISA_SCALAR is plain C and always there. */
enum wf_isa { WF_ISA_AUTO = 0, WF_ISA_SCALAR = 1, WF_ISA_SSE2 = 2, WF_ISA_AVX2 = 3, WF_ISA_AVX512 = 4, WF_ISA_NEON = 5, WF_ISA_WASM = 6 };
/* The best instruction set that is compiled in and runs on this machine. Asks the processor anew at each call (a microsecond or so). */
WF_API int wf_isa_best(void);
/* Whether `isa` is compiled in and runs on this machine; WF_ISA_AUTO does. */
WF_API int wf_isa_available(int isa);
/* "avx2", ...; "unknown" for a number that is not one of enum wf_isa. Static text. */
WF_API const char *wf_isa_name(int isa);

/* ---- Randomness ---- */

/* The scrambling function itself, Philox4x32-10: out = f_key(counter). Pure: same arguments, same words, on every machine.
   Source: Salmon, Moraes, Dror and Shaw (2011). */
WF_API void wf_philox(const uint32_t counter[4], uint64_t key, uint32_t out[4]);

/* The number that belongs to (slot, step, dimension) under a seed: uniform in (0,1), never 0 or 1, a multiple of 2^-33. `purpose` keeps
   draws of different meaning apart; use 0 to 127. Dimensions run to 2^26, slots to 2^40. Pure; any thread. */
WF_API double wf_uniform_at(uint64_t seed, uint64_t slot, uint32_t step, uint32_t dimension, uint32_t purpose);

/* The same for a standard normal; |z| <= 6.77. Uses the words that wf_uniform_at would: give the two different purposes. */
WF_API double wf_normal_at(uint64_t seed, uint64_t slot, uint32_t step, uint32_t dimension, uint32_t purpose);

/* A running generator: a counter that counts for itself. One thread per object; copy it to remember a place in the stream. */
typedef struct wf_rng { uint64_t key; uint32_t counter[4]; uint32_t buffer[4]; int used; } wf_rng;

/* Start a stream. Two pairs (seed, stream) that differ give streams without a common number of the underlying counter. */
WF_API void wf_rng_init(wf_rng *rng, uint64_t seed, uint32_t stream);

WF_API uint32_t wf_rng_u32(wf_rng *rng);                          /* 32 random bits */
WF_API double wf_rng_uniform(wf_rng *rng);                        /* in (0,1), never 0 or 1; 52 random bits */
WF_API double wf_rng_normal(wf_rng *rng);                         /* standard normal, |z| <= 8.6 */
WF_API uint32_t wf_rng_below(wf_rng *rng, uint32_t n);            /* 0, ..., n-1, each equally likely, exactly; 0 if n is 0 */
WF_API void wf_rng_shuffle(wf_rng *rng, int *values, size_t n);   /* all n! orders equally likely; n < 2^32 */

/* ---- Files ---- */

/* files: declare streams */
/* Deliver up to `size` bytes into `data` and return how many; fewer than asked for means the end, or an error. */
typedef size_t (*wf_read_fn)(void *user, void *data, size_t size);
/* Take `size` bytes; 0 = taken, anything else stops the writer with WF_ERROR_IO. */
typedef int (*wf_write_fn)(void *user, const void *data, size_t size);

/* Read from memory: pass wf_memory_read as the callback and this struct as its user. `data` is borrowed. */
typedef struct wf_memory_reader { const void *data; size_t size, at; } wf_memory_reader;
/* A wf_read_fn over a wf_memory_reader. */
WF_API size_t wf_memory_read(void *reader, void *data, size_t size);

/* Write to memory. With an arena, `data` grows in it (outgrown blocks stay until the arena goes); without, `data` holds `capacity` bytes of yours.
   `size` counts what was written. */
typedef struct wf_memory_writer { wf_arena *arena; void *data; size_t size, capacity; } wf_memory_writer;
/* A wf_write_fn over a wf_memory_writer. */
WF_API int wf_memory_write(void *writer, const void *data, size_t size);

/* Everything `read` delivers, in the arena, followed by a zero byte that `size` does not count. `expected` bytes is a hint (0: unknown). NULL on failure. */
WF_API void *wf_read_all(wf_arena *arena, wf_read_fn read, void *user, size_t expected, size_t *size);
#ifndef WF_NO_STDIO
/* A whole file, in the arena, followed by a zero byte. NULL on failure. */
WF_API void *wf_file_read(wf_arena *arena, const char *path, size_t *size);
/* Write a whole file, by way of a temporary file beside it that is renamed at the end: there is never half a file at `path`, and an old one survives a failure. */
WF_API wf_result wf_file_write(wf_arena *arena, const char *path, const void *data, size_t size);
#endif

/* files: declare arrays */
/* Types of numbers in files. BF16 is the upper half of an F32. BOOL is a byte: 0 or not 0. */
enum {
    WF_DTYPE_F64 = 1, WF_DTYPE_F32, WF_DTYPE_F16, WF_DTYPE_BF16, WF_DTYPE_I64, WF_DTYPE_I32, WF_DTYPE_I16, WF_DTYPE_I8,
    WF_DTYPE_U64, WF_DTYPE_U32, WF_DTYPE_U16, WF_DTYPE_U8, WF_DTYPE_BOOL
};

/* `count` numbers in C order, in the byte order of this machine, aligned to 64 bytes where the library allocated them. nd = 0 is a scalar: one number. */
typedef struct wf_array {
    void *data;
    int dtype, nd;
    size_t shape[8];
    size_t count;
} wf_array;

/* Bytes of one number, and its name in safetensors ("F64"); 0 and NULL where dtype is none of the above. */
WF_API size_t wf_dtype_size(int dtype);
WF_API const char *wf_dtype_name(int dtype);
/* An array over memory of yours (borrowed). An impossible type, number of dimensions or shape gives nd = -1, which every writer refuses. */
WF_API wf_array wf_array_of(void *data, int dtype, int nd, const size_t *shape);
/* The numbers as double or float: `a->data` itself where it has that type, else a converted copy in the arena. Integers beyond 2^53 (2^24) are rounded to nearest;
   a finite number beyond the range of float is WF_ERROR_NUMERIC. NULL on failure. */
WF_API double *wf_array_f64(wf_arena *arena, const wf_array *a);
WF_API float *wf_array_f32(wf_arena *arena, const wf_array *a);

/* files: declare npy */

/* One array from the bytes of a .npy file (copied), versions 1 to 3, both byte orders, C and Fortran order: f2 f4 f8, i1 to i8, u1 to u8, b1. `name` is for messages.
   NULL on failure, with nothing left in the arena. */
WF_API wf_array *wf_npy_parse(wf_arena *arena, const void *bytes, size_t size, const char *name);
/* Write an array as .npy, version 1, little-endian. The arena keeps the error. */
WF_API wf_result wf_npy_write(wf_arena *arena, const wf_array *a, wf_write_fn write, void *user);
#ifndef WF_NO_STDIO
/* The same from a file; the report names it. */
WF_API wf_array *wf_npy_read(wf_arena *arena, const char *path);
/* The same to a file, whole or not at all. */
WF_API wf_result wf_npy_save(wf_arena *arena, const char *path, const wf_array *a);
#endif

/* files: declare safetensors */

/* A named array, and a line of text about the model. */
typedef struct wf_tensor_entry { const char *name; wf_array array; } wf_tensor_entry;
typedef struct wf_tensor_note { const char *key, *value; } wf_tensor_note;

/* The content of a safetensors file: made by a reader, or by wf_tensors_new and filled. Fields are for reading. One thread at a time. */
typedef struct wf_tensors {
    wf_arena *arena;
    size_t count, notes;
    wf_tensor_entry *entry; /* count, in the order of the file */
    wf_tensor_note *note;   /* notes: the metadata */
    size_t capacity, note_capacity;
} wf_tensors;

/* An empty list, to be added to. */
WF_API wf_tensors *wf_tensors_new(wf_arena *arena);
/* Append an array under a name (copied). The array's data are borrowed until the last write. A name that is taken or is not UTF-8: WF_ERROR_NAME. */
WF_API wf_result wf_tensors_add(wf_tensors *t, const char *name, const wf_array *a);
/* Append a line of metadata (copied). */
WF_API wf_result wf_tensors_note(wf_tensors *t, const char *key, const char *value);
/* The array, or the line of metadata, of that name; NULL where there is none (not an error). */
WF_API const wf_array *wf_tensors_find(const wf_tensors *t, const char *name);
WF_API const char *wf_tensors_about(const wf_tensors *t, const char *key);
/* Everything in the bytes of a safetensors file (copied). `name` is for messages. NULL on failure, with nothing left in the arena. */
WF_API wf_tensors *wf_tensors_parse(wf_arena *arena, const void *bytes, size_t size, const char *name);
/* Write in the order of entries: the same content gives the same bytes. */
WF_API wf_result wf_tensors_write(const wf_tensors *t, wf_write_fn write, void *user);
#ifndef WF_NO_STDIO
/* The same from a file; the report names it. */
WF_API wf_tensors *wf_tensors_read(wf_arena *arena, const char *path);
/* The same to a file, whole or not at all. */
WF_API wf_result wf_tensors_save(const wf_tensors *t, const char *path);
#endif

/* files: declare numbers as text */

/* The double nearest to the decimal number at the start of text[0..size): [+-] digits [. digits] [e [+-] digits], or inf, infinity, nan in any case. The point is a point in
   every locale. Returns the bytes used; 0 and no value where there is no number. Too large is infinity. */
WF_API size_t wf_number_parse(const char *text, size_t size, double *value);
/* The shortest decimal number that reads back as the same double, into text (32 bytes, zero at the end). Returns its length. */
WF_API size_t wf_number_write(double value, char *text);

/* files: declare tables */

/* Options for reading tables; all zero is the default. */
typedef struct wf_csv_options {
    char separator; /* ',' ';' '\t' ' ' (runs of blanks), or 0: the first of tab ; , blank that the first line contains */
    int header;     /* 1: the first line is names; -1: there are none; 0: it is names if none of its fields is a number */
    size_t skip;    /* lines to skip first */
    int keep_nan;   /* missing fields, NA, nan and inf are values (missing: NaN), not errors */
} wf_csv_options;

/* A table of numbers, row-major: data[row * columns + column]. */
typedef struct wf_table {
    size_t rows, columns;
    double *data;
    const char **names; /* columns strings, or NULL */
} wf_table;

/* The table in the text of a CSV file (copied): numbers, optional names, quotes, comments after '#', lines ending in LF, CRLF or CR. options may be NULL. `name` is for messages.
   NULL on failure: WF_ERROR_FORMAT for what is not a table of numbers, WF_ERROR_DATA for a missing or infinite value, with line and column in the message. */
WF_API wf_table *wf_csv_parse(wf_arena *arena, const char *text, size_t size, const char *name, const wf_csv_options *options);
/* The column of that name, or -1. */
WF_API int wf_table_column(const wf_table *table, const char *name);
/* Write a table with commas; every number reads back as the same bits (NaN as some NaN, with keep_nan). */
WF_API wf_result wf_csv_write(wf_arena *arena, const wf_table *table, wf_write_fn write, void *user);
#ifndef WF_NO_STDIO
/* The same from a file; the report names it. */
WF_API wf_table *wf_csv_read(wf_arena *arena, const char *path, const wf_csv_options *options);
/* The same to a file, whole or not at all. */
WF_API wf_result wf_csv_save(wf_arena *arena, const char *path, const wf_table *table);
#endif

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
WF_API wf_t wf_const_array(wf_graph *graph, int nd, const int *d, const double *values);        /* copied */
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
/* What reverse-mode differentiation keeps of a loop: the carries of each step, recomputing the rest (the default: least memory traffic); everything it will need; or the carries
   of a few steps only, recomputing from them (solvers build that as a loop of loops; a loop by itself keeps its carries). Values and first derivatives have the same bits. */
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
/* The jet of y, of any shape, in a vector x of at most 256 elements. Without a rule for an operation on the way: by nested forward mode. */
WF_API wf_jet wf_jet2(wf_t y, wf_t x);
/* The Laplacian alone. */
WF_API wf_t wf_laplacian(wf_t y, wf_t x);

/* ---- Plans ---- */

/* What to compute, and how. {0} in every field is a good choice. */
typedef struct wf_plan_desc {
    wf_t out[16];      /* values wanted, ended by one without id */
    wf_t grad_of;      /* a shared scalar: its gradient with respect to all parameters goes to wf_ws_grad */
    int type;          /* WF_F32, WF_F64 */
    int tile;          /* lanes of a tile, 1..64; 0: chosen from the graph */
    int slots;         /* at most this many partial sums over samples, 1..64; 0: 16. With `tile`, part of the numerical contract */
    int isa;           /* WF_ISA_...; 0: the best of this machine */
    int reference;     /* 1: one operation at a time, no reuse of memory, plain C: the oracle of the tests */
} wf_plan_desc;

/* A compiled plan. Never changes; any number of threads may run it, each with a workspace of its own. */
typedef struct wf_plan wf_plan;

/* Compile. NULL on failure, with the reason in the report of `arena`. The graph may grow afterwards; the plan does not see it. */
WF_API wf_plan *wf_compile(wf_arena *arena, const wf_plan_desc *desc);
/* Lanes of a tile; bytes of a workspace for one thread; kernel calls in all phases. */
WF_API int wf_plan_tile(const wf_plan *plan);
WF_API size_t wf_plan_memory(const wf_plan *plan);
WF_API int wf_plan_steps(const wf_plan *plan);

/* ---- Execution ---- */

/* The memory in which a plan runs, and the gradient. One thread at a time; the plan outlives it. */
typedef struct wf_ws wf_ws;

/* Data for an input or from an output. Row-major, one row per sample; `stride` is elements between rows (0: dense). */
typedef struct wf_feed { wf_t node; const void *in; void *out; size_t stride; } wf_feed;
/* Feed an input from `data` (borrowed during the run). */
WF_API wf_feed wf_in(wf_t node, const void *data, size_t stride);
/* Write a wanted value to `data`: one row per sample, or one row where it is shared. */
WF_API wf_feed wf_out(wf_t node, void *data, size_t stride);

/* A workspace for up to `threads` threads (0: the default of OpenMP or of `parallel`, which may be NULL and is copied). The last allocation before running. */
WF_API wf_ws *wf_ws_new(wf_arena *arena, const wf_plan *plan, int threads, const wf_parallel *parallel);
/* Run on `samples` samples. Every input of the plan must be fed; element types are those of the plan.
   WF_ERROR_NUMERIC when a shared output is not finite; the outputs are still written. Allocates nothing. */
WF_API wf_result wf_run(const wf_plan *plan, wf_ws *ws, const wf_feed *feeds, int count, size_t samples);
/* Seed and step of the noise of the next runs: the same seed, step and sample give the same noise. */
WF_API void wf_ws_noise(wf_ws *ws, uint64_t seed, uint32_t step);
/* The gradient of the last run: laid out like the parameters, wf_params_size elements. */
WF_API void *wf_ws_grad(wf_ws *ws);
/* What went wrong in the last run. */
WF_API const wf_report *wf_ws_report(const wf_ws *ws);

/* ---- Training ---- */

/* training: declare optimisers */
/* How to step; how the rate changes with the number of steps. */
enum { WF_OPT_ADAM = 0, WF_OPT_SGD };
enum { WF_RATE_CONSTANT = 0, WF_RATE_COSINE, WF_RATE_STEPS };

/* Everything may be 0, which chooses what stands behind the semicolon. A negative beta is 0. */
typedef struct wf_opt_desc {
    int method;          /* WF_OPT_ADAM, which with decay is AdamW; WF_OPT_SGD */
    double rate;         /* how far a step goes; 1e-3 for Adam, 1e-2 for SGD */
    double beta1, beta2; /* memory of the gradient (the momentum of SGD) and of its square; 0.9, 0.999 */
    double eps;          /* added to the root of the square; 1e-8 */
    double decay;        /* a step multiplies parameters by 1 - rate * decay; none */
    double clip;         /* the largest norm of the gradient; no limit */
    double ema;          /* memory of the average of the parameters, say 0.999; no average is kept */
    int schedule;        /* WF_RATE_...; constant */
    int warmup;          /* first steps, over which the rate rises in proportion; none */
    int steps;           /* cosine: length of the training, warm-up included */
    double rate_end;     /* cosine: the rate at the end; none */
    int every;           /* steps: times `factor` each so many steps after the warm-up */
    double factor;       /* steps; 0.1 */
    double (*rate_at)(void *user, int64_t step); /* instead of all that: your own schedule, from step 0 on */
    void *user;
    const char *only;    /* train the parameters whose names begin so, freeze the others; all */
    int isa;             /* WF_ISA_...; the best of this machine */
} wf_opt_desc;

/* An optimiser: what it remembers about the parameters of one directory. One thread at a time, and no plan of the same parameters runs during a step. */
typedef struct wf_opt wf_opt;

/* Make it after the graphs, when all parameters are there. `desc` (NULL: all defaults) is copied. `params` is borrowed. NULL on failure. The last allocation before the steps. */
WF_API wf_opt *wf_opt_new(wf_arena *arena, wf_params *params, const wf_opt_desc *desc);
/* One step down the gradient of the last run in `ws`. WF_ERROR_NUMERIC, with the parameter's name in the report, where a gradient is not finite: then nothing has changed. */
WF_API wf_result wf_opt_step(wf_opt *opt, wf_ws *ws);
/* The same from a gradient of yours: wf_params_size elements, laid out like the parameters. What lies between entries is not read. */
WF_API wf_result wf_opt_step_grad(wf_opt *opt, const void *grad);
/* Freeze (1) or train (0) the parameters whose names begin with `prefix`. WF_ERROR_NAME when there is none. A frozen parameter counts in no norm. */
WF_API wf_result wf_opt_freeze(wf_opt *opt, const char *prefix, int frozen);
/* Exchange the parameters and their average; a second call exchanges them back. No steps in between. */
WF_API wf_result wf_opt_swap(wf_opt *opt);
/* Forget all memory, as if new. Parameters, settings and what is frozen stay. */
WF_API void wf_opt_restart(wf_opt *opt);
/* Steps so far; the rate of step 0, 1, ...; the norm of the last gradient before clipping; what went wrong in the last call. */
WF_API int64_t wf_opt_steps(const wf_opt *opt);
WF_API double wf_opt_rate(const wf_opt *opt, int64_t step);
WF_API double wf_opt_norm(const wf_opt *opt);
WF_API const wf_report *wf_opt_report(const wf_opt *opt);

/* training: declare checkpoints */
/* Put the parameters into `t` under their names, or take them from there: WF_ERROR_NAME where one is missing, WF_ERROR_SHAPE where it has another shape; then none has changed. Other names are
   ignored, types are converted. Data are borrowed until `t` is written. Errors are reported in the arena of the parameters (storing: of `t`, which is then of no use). */
WF_API wf_result wf_params_store(wf_params *params, wf_tensors *t);
WF_API wf_result wf_params_take(wf_params *params, const wf_tensors *t);
/* The same for parameters and everything the optimiser remembers about them: a checkpoint. */
WF_API wf_result wf_opt_store(wf_opt *opt, wf_tensors *t);
WF_API wf_result wf_opt_take(wf_opt *opt, const wf_tensors *t);
#ifndef WF_NO_STDIO
/* A safetensors file with `count` lines of metadata (may be NULL, 0). The old file stays until the new one is complete. Memory of the arena is used for the moment and given back. */
WF_API wf_result wf_params_save(wf_params *params, const char *path, const wf_tensor_note *notes, int count);
WF_API wf_result wf_params_load(wf_params *params, const char *path);
WF_API wf_result wf_opt_save(wf_opt *opt, const char *path, const wf_tensor_note *notes, int count);
WF_API wf_result wf_opt_load(wf_opt *opt, const char *path);
#endif

/* training: declare the loop */
/* What a training has come to. Kept up to date while it runs: the progress callback may look. */
typedef struct wf_fit_report {
    int64_t steps, epochs; /* of the optimiser; complete passes over the data */
    double loss;           /* of the last minibatch, before its step */
    double best;           /* the lowest validation, or the lowest minibatch where nothing is validated */
    int64_t best_step;     /* reached after so many steps */
    int stopped;           /* 1: patience came to its end */
} wf_fit_report;

/* A training over data in memory. Feeds are borrowed during the call. Zero chooses what stands behind the semicolon. */
typedef struct wf_fit_desc {
    const wf_feed *data;       /* one wf_in for each input of the plan, all samples; inputs without a sample axis are passed on */
    int feeds;
    size_t samples;            /* less than 2^31 */
    size_t batch;              /* samples of a step, at most; 256. As many as `samples`: no shuffling, no copies */
    int64_t steps;             /* go on until the optimiser has made so many steps, */
    int epochs;                /* ... or so many passes over the data: the first that is reached; one is needed */
    uint64_t seed;             /* of the order and of noise in the graph */
    wf_ws *check;              /* validate: run the plan of this workspace; no validation */
    const wf_feed *check_data; /* all its inputs */
    int check_feeds;
    size_t check_samples;
    int64_t check_every;       /* steps; once an epoch */
    int patience;              /* stop after so many validations without a better one; never */
    wf_progress_fn progress;   /* told the steps after each one */
    void *user;
} wf_fit_desc;

/* Train. The first output of the plan of `ws` (and of `check`) must be the loss, one shared number. `report` may be NULL.
   WF_CANCELLED: the progress callback asked for it; the parameters are those after the last whole step, and the same call goes on from there. On any other return the parameters are those of the best
   validation, if there was one. A validation which is not finite is not a better one. Errors (wf_opt_report): WF_ERROR_NUMERIC when a loss or gradient is not finite. Working memory is taken from the arena of
   the optimiser at the first call, and kept for the next. */
WF_API wf_result wf_fit(wf_opt *opt, wf_ws *ws, const wf_fit_desc *desc, wf_fit_report *report);

/* ---- Looking inside ---- */

/* Write a graph as text: the `n` values of `out` and what they need, or, where n is 0, all of it. The text is stable. WF_ERROR_IO when the callback fails. */
WF_API wf_result wf_graph_dump(const wf_graph *graph, const wf_t *out, int n, wf_write_fn write, void *user);
/* The same as a drawing for Graphviz. */
WF_API wf_result wf_graph_dot(const wf_graph *graph, const wf_t *out, int n, wf_write_fn write, void *user);
/* Write a plan as text: what goes in and out, memory, phases, and their steps with kernels, sizes and places. */
WF_API wf_result wf_plan_dump(const wf_plan *plan, wf_write_fn write, void *user);

/* ---- Networks ---- */

/* Networks. x is [features] or [features, tokens], shared or per sample. Parameters get the names in the table of the chapter "Networks"; a name that exists is shared.
   Wherever a failed value comes in, a failed value goes out, with the reason in the arena's report. */

/* Curves. WF_ACT_DEFAULT: tanh in a perceptron, relu in a Transformer layer. Gelu is the exact one, x (1 + erf(x/sqrt 2)) / 2. */
enum { WF_ACT_DEFAULT = 0, WF_ACT_NONE, WF_ACT_TANH, WF_ACT_SIGMOID, WF_ACT_RELU, WF_ACT_SILU, WF_ACT_GELU, WF_ACT_SOFTPLUS, WF_ACT_SIN };
/* The curve, element by element. */
WF_API wf_t wf_activate(wf_t x, int activation);

/* A weight and a bias, of a linear layer or of a normalisation. A member that is all zero is absent. */
typedef struct wf_affine { wf_t weight, bias; } wf_affine;

/* weight [out, in] times x plus bias [out]. Parameters start uniform within 1/sqrt(in), as in PyTorch. */
WF_API wf_affine wf_linear_params(wf_graph *graph, const char *name, int in, int out, int bias);
WF_API wf_t wf_linear_with(wf_t x, wf_affine w);
WF_API wf_t wf_linear(wf_t x, const char *name, int out, int bias);

/* A multilayer perceptron: linear layers with a curve after each but the last. */
typedef struct wf_mlp_desc {
    int layers;     /* linear layers; 0: 3 */
    int width;      /* features between them; 0: 64 */
    int out;        /* features of the result; 0: 1 */
    int activation; /* WF_ACT_...; 0: tanh */
    int last;       /* the curve after the last layer; 0: none */
} wf_mlp_desc;
/* At most 16 layers with parameters; desc may be NULL. `layers` points to as many weights as there are linear layers. */
WF_API wf_t wf_mlp(wf_t x, const char *name, const wf_mlp_desc *desc);
WF_API wf_t wf_mlp_with(wf_t x, const wf_affine *layers, int count, int activation, int last);

/* (x - mean) / sqrt(variance + eps) over the features, times weight plus bias. The variance divides by the number of features. eps 0: 1e-5. */
WF_API wf_affine wf_layer_norm_params(wf_graph *graph, const char *name, int features);
WF_API wf_t wf_layer_norm_with(wf_t x, wf_affine w, double eps);
WF_API wf_t wf_layer_norm(wf_t x, const char *name, double eps);

/* Attention of queries q [d, queries] over keys k [d, keys] and values v [e, keys]: [e, queries]. Head i takes the i-th part of the features, so `heads` divides d and e.
   mask: added to the scores, [keys, queries] or [heads, keys, queries]; all zero: none. A query whose mask is -inf everywhere gives not-a-number. */
WF_API wf_t wf_attention_masked(wf_t q, wf_t k, wf_t v, int heads, wf_t mask);
/* causal: query i sees the keys 0...i. */
WF_API wf_t wf_attention(wf_t q, wf_t k, wf_t v, int heads, int causal);
/* How much each query takes of each key, [heads, keys, queries]; sums over keys are 1. The node inside wf_attention_masked of the same arguments. */
WF_API wf_t wf_attention_map(wf_t q, wf_t k, int heads, wf_t mask);
/* [keys, queries]: 0 where key <= query, else -inf. */
WF_API wf_t wf_causal_mask(wf_graph *graph, int keys, int queries);

/* The weights of self-attention: to queries, keys and values in one matrix [3d, d]; and back [d, d]. */
typedef struct wf_attention_weights { wf_affine in, out; } wf_attention_weights;
/* Self-attention of x [d, tokens]: projection, attention, projection. */
WF_API wf_attention_weights wf_attention_params(wf_graph *graph, const char *name, int features);
WF_API wf_t wf_self_attention_with(wf_t x, wf_attention_weights w, int heads, wf_t mask);
WF_API wf_t wf_self_attention(wf_t x, const char *name, int heads, int causal);

/* The options of a Transformer layer. */
typedef struct wf_transformer_desc {
    int heads;       /* 0: 4 */
    int width;       /* features inside the feed-forward part; 0: 4 d */
    int activation;  /* WF_ACT_...; 0: relu */
    int pre_norm;    /* 0: normalise the sums, as in the original; 1: normalise what goes into each part */
    int causal;      /* token i sees tokens 0...i */
    double eps;      /* of the normalisations; 0: 1e-5 */
} wf_transformer_desc;
typedef struct wf_transformer_weights { wf_attention_weights attention; wf_affine linear1, linear2, norm1, norm2; } wf_transformer_weights;
/* A Transformer encoder layer, x [d, tokens]; desc may be NULL. `_with` takes the sizes from the weights, the rest from desc. */
WF_API wf_transformer_weights wf_transformer_params(wf_graph *graph, const char *name, int features, const wf_transformer_desc *desc);
WF_API wf_t wf_transformer_layer_with(wf_t x, const wf_transformer_weights *w, const wf_transformer_desc *desc);
WF_API wf_t wf_transformer_layer(wf_t x, const char *name, const wf_transformer_desc *desc);

/* The weights of a gated recurrent unit for input and state. Their rows: r, z, n. */
typedef struct wf_gru_weights { wf_affine in, state; } wf_gru_weights;
/* The state [h] after the input x [in], or for each column of both. Parameters start uniform within 1/sqrt(h). */
WF_API wf_gru_weights wf_gru_params(wf_graph *graph, const char *name, int in, int hidden);
WF_API wf_t wf_gru_cell_with(wf_t x, wf_t h, wf_gru_weights w);
WF_API wf_t wf_gru_cell(wf_t x, wf_t h, const char *name);

/* Whole numbers x [...] below 2^bits as zeros and ones, most significant first: [..., bits]. bits <= 24. */
WF_API wf_t wf_binary_code(wf_t x, int bits);

/* The options of an autoregressive law of whole numbers 0...levels-1. */
typedef struct wf_sequence_desc {
    int levels;   /* required, at least 2 */
    int hidden;   /* 0: 32 */
    int layers;   /* gated units on top of each other, at most 4; 0: 1 */
    int unroll;   /* 1: n copies of the unit instead of a loop */
} wf_sequence_desc;
typedef struct wf_sequence_weights { wf_gru_weights cell[4]; int layers; wf_affine out; } wf_sequence_weights;
/* logp []: log-likelihood of the numbers. log_probs [n, levels]: log-law of each given those before. states [n, hidden] of the top unit. What is not used costs nothing. */
typedef struct wf_sequence { wf_t logp, log_probs, states; } wf_sequence;
/* The law of `numbers` [n]: a gated unit reads the binary code of one number and gives the law of the next. */
WF_API wf_sequence_weights wf_sequence_params(wf_graph *graph, const char *name, const wf_sequence_desc *desc);
WF_API wf_sequence wf_sequence_with(wf_t numbers, const wf_sequence_weights *w, int unroll);
WF_API wf_sequence wf_gru_sequence(wf_t numbers, const char *name, const wf_sequence_desc *desc);
/* n numbers [n] for each sample, drawn from that law. `purpose` as in wf_uniform. */
WF_API wf_t wf_sequence_sample(wf_graph *graph, const wf_sequence_weights *w, int n, int purpose);

/* Rows of a table by number, as columns: index [n] to [features, n]. Parameters start standard normal. */
WF_API wf_t wf_embedding(wf_t index, const char *name, int rows, int features);

/* ---- Solvers ---- */

/* A curve through points, made of cubic pieces: for t[i] <= q <= t[i+1], with s = q - t[i], a + b s + c s^2 + d s^3; beyond the ends the end pieces go on.
   a, b, c, d: [knots-1][channels]. Never changes; all of it lies in the arena. */
typedef struct wf_spline { int knots, channels; double *t, *a, *b, *c, *d; } wf_spline;
/* Through x [knots][channels] at ascending times t (two at least). Natural: two continuous derivatives, the second zero at both ends. Hermite: slopes are backward differences, so that
   a piece depends on no point more than one beyond its ends. Linear: straight pieces. NULL, and a report, for knots that do not ascend or are not finite. */
typedef wf_spline *(*wf_spline_fn)(wf_arena *arena, const double *t, const double *x, int knots, int channels);
/* Cubic, with zero second derivative at both ends. */
WF_API wf_spline *wf_spline_natural(wf_arena *arena, const double *t, const double *x, int knots, int channels);
/* Cubic on each interval; slopes are backward differences. */
WF_API wf_spline *wf_spline_hermite(wf_arena *arena, const double *t, const double *x, int knots, int channels);
/* Straight lines. */
WF_API wf_spline *wf_spline_linear(wf_arena *arena, const double *t, const double *x, int knots, int channels);
/* One channel of the curve, of its first and of its second derivative, at time q. */
WF_API double wf_spline_value(const wf_spline *spline, double q, int channel);
WF_API double wf_spline_slope(const wf_spline *spline, double q, int channel);
WF_API double wf_spline_curvature(const wf_spline *spline, double q, int channel);
/* The curve of a kind (NULL: natural) through the rows of x [knots, channels], a value of a graph, at n fixed times q: [n, channels]. order 0: the curve, 1, 2: its derivatives. */
WF_API wf_t wf_spline_graph(wf_t x, wf_spline_fn kind, const double *t, const double *q, int n, int order);

/* Rules for a step. Stages: 4, 4, 1, 2, 2, 6, 6. WF_RK38 is the 3/8 rule (what torchdiffeq calls rk4). The last two can choose their own steps. */
enum { WF_RK4 = 0, WF_RK38, WF_EULER, WF_MIDPOINT, WF_HEUN, WF_DOPRI5, WF_TSIT5 };
/* Stages of a rule. */
WF_API int wf_rk_stages(int method);

/* Builds dy/dt in the graph of y, which is the body of a loop: values from outside come as `with`, in the order in which they were given (first of all dX/dt [channels] where there is
   a control). t is [1]. Sets dy[i], of the shape of y[i], for each value of the state. May make parameters in y[0].graph. */
typedef void (*wf_field_fn)(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user);
typedef struct wf_field_desc {
    wf_field_fn fn;
    void *user;
    wf_t with[12];          /* values of the graph around that fn needs, ended by one without id */
} wf_field_desc;

/* A curve X(t) that drives an equation, by one of: points x [knots, channels] of the graph at times t, joined by `kind` (NULL: natural); a spline;
   or the speeds dX/dt themselves, [steps, stages, channels], at the times of all stages of all steps. Shared, or of each sample. */
typedef struct wf_control {
    wf_t x;
    const double *t;
    wf_spline_fn kind;
    const wf_spline *spline;
    wf_t speed;
} wf_control;

/* Which steps to take. Either `steps` (0: 1) equal ones from t0 to t1; or as many from each of `times` to the next, ascending or descending; or one from each element of `grid` [n], a value
   of the graph (shared or of each sample), to the next, where a time that is repeated is a step that does nothing. */
typedef struct wf_solve_desc {
    int method;             /* WF_RK4 ... */
    int steps;
    double t0, t1;
    const double *times;    /* [count] */
    int count;
    wf_t grid;
    int keep;               /* WF_KEEP_CARRY; _ALL; _FEW: about 2 sqrt(steps) states are kept at a time, for one more evaluation of the steps */
    const wf_control *control;
} wf_solve_desc;

/* Solve for a state of n values (up to 8): y holds the starts, then the ends. path (NULL: not wanted): for each value the states at all times, the start first: [count, ...], or [steps + 1, ...].
   If any value that comes in differs between samples, so does the solution. On failure the values are no values and the report of the graph's arena says why. Gradients are those of the steps taken (discrete adjoint). */
WF_API wf_result wf_ode_list(wf_t *y, int n, const wf_field_desc *field, const wf_solve_desc *desc, wf_t *path);
/* The same for one value: its end. */
WF_API wf_t wf_ode(wf_t y0, const wf_field_desc *field, const wf_solve_desc *desc);
/* dy = F(y) dX: fn sets dy[0] to the matrix F, of the shape of y with an axis for the channels after it; with[0] is dX/dt nevertheless. */
WF_API wf_t wf_cde(wf_t y0, const wf_field_desc *field, const wf_control *control, const wf_solve_desc *desc);
/* The product of a matrix [..., channels] and a speed [channels]. */
WF_API wf_t wf_along(wf_t matrix, wf_t speed);
/* One step of width h from time t (values with one element; t may be no value: 0), in any graph. speed: [stages, channels], or no value. */
WF_API wf_result wf_ode_step(wf_t *y, int n, const wf_field_desc *field, int method, wf_t t, wf_t h, wf_t speed);

/* A right-hand side in plain C: dy = f(t, y), n numbers each. Not 0 ends the solution, which returns that result. */
typedef wf_result (*wf_rhs_fn)(double t, const double *y, double *dy, void *user);

/* How to choose steps. {0} in every field is a good choice. */
typedef struct wf_adapt_desc {
    int method;                    /* WF_TSIT5, WF_DOPRI5; 0: WF_DOPRI5 */
    double rtol, atol;             /* the error of a step may be atol + rtol |y|, in the mean square of all numbers; both 0: 1e-6, 1e-9 */
    double first, largest;         /* the first step; the largest (0: chosen; no limit) */
    int max_steps;                 /* accepted and rejected; 0: 100000 */
    const double *times;           /* wanted: y at these times, from t0 to t1 in the direction of time; hit exactly */
    int count;
    double *out;                   /* [count][n] */
    double *grid;                  /* the times of all accepted steps, t0 first: report.accepted + 1 numbers (NULL: not wanted) */
    int grid_room;
} wf_adapt_desc;

typedef struct wf_ode_report {
    wf_report why;                 /* what went wrong */
    double t;                      /* the time reached */
    int accepted, rejected, calls; /* steps, steps tried in vain, calls of f */
} wf_ode_report;

/* Solve from t0 to t1 (either direction) with an explicit rule of order 5, in double precision. y [n]: the start, then the end; after a failure the state at the last accepted step. report may be NULL.
   WF_ERROR_NUMERIC: f is not finite, or steps became too small; WF_ERROR_LIMIT: max_steps, or no room in grid. Allocates (10 n numbers) before the first step only, and gives it back. */
WF_API wf_result wf_ode_solve(wf_arena *arena, wf_rhs_fn f, void *user, double *y, size_t n, double t0, double t1, const wf_adapt_desc *desc, wf_ode_report *report);

/* A compiled plan as a right-hand side: `dy` is an output of the plan, `y` an input (for each sample, or shared), `t` a shared input of one number (or no value). One step size for all samples.
   Other inputs are fed from `feeds`; with `control`, the input `speed` gets its slope at each time. */
typedef struct wf_rhs_desc {
    const wf_plan *plan;
    wf_ws *ws;
    wf_t y, t, dy;
    const wf_feed *feeds;
    int count;
    size_t samples;
    const wf_spline *control;
    wf_t speed;
} wf_rhs_desc;
typedef struct wf_rhs wf_rhs;
/* NULL on failure. What the description points to must live as long. To be passed to wf_ode_solve as `user`, with wf_rhs_call as f and wf_rhs_size as n. */
WF_API wf_rhs *wf_rhs_new(wf_arena *arena, const wf_rhs_desc *desc);
WF_API size_t wf_rhs_size(const wf_rhs *rhs);
WF_API wf_result wf_rhs_call(double t, const double *y, double *dy, void *rhs);

/* ---- Weight graphs ---- */

#ifndef WF_NO_WEIGHTFLOW
enum { WF_CONTROL_CDE = 0, WF_CONTROL_ODE = 1 };

/* What to learn. All zero but species and states is the published model with its time corrected. */
typedef struct wf_weightflow_desc {
    int species, states;                       /* counts 0..states-1 of each species: at most 32 species, 4096 states */
    int hidden;                                /* of the backbone; 0: 8 */
    int control, path_dim;                     /* WF_CONTROL_...; dimension of the control path, 0: 1 */
    int as_published;                          /* 1: control read at times relative to a segment's start, time = index / (intervals + 0.1) */
    int width, layers, heads, feed_forward;    /* of the Transformer; 0: 64, 2, 4, 256 */
    int substeps;                              /* Runge-Kutta steps between anchors, in training and after; 0: 1 */
    int matching;                              /* updates by derivative matching before the first fit of the field; 0: 800, or none as published; < 0: none */
    double energy;                             /* weight of the path's energy in the loss; 0: 1e-6; < 0: none */
    uint64_t seed;
    int threads;                               /* 0: the default */
    const wf_parallel *parallel;
    wf_progress_fn progress;                   /* may cancel every fit; the model stays usable */
    void *progress_user;
} wf_weightflow_desc;

/* A model: anchors, control path, vector field. Lives in its arena; one thread at a time. */
typedef struct wf_weightflow wf_weightflow;

/* A model for snapshots at `anchors` times (ascending, two at least; copied). NULL with a report on failure. */
WF_API wf_weightflow *wf_weightflow_new(wf_arena *arena, const wf_weightflow_desc *desc, const double *times, int anchors);
/* Step 1: fit the anchors. Snapshot i: counts[i] points at n[i] rows of `species` counts, `stride[i]` counts apart. epochs 0: 50 for the first, 25 for later ones. */
WF_API wf_result wf_weightflow_fit_anchors(wf_weightflow *model, const int32_t *const *counts, const size_t *n, const size_t *stride, int first_epochs, int later_epochs);
/* Step 2: fit the control path (0: 10000 steps). For WF_CONTROL_ODE it does nothing. */
WF_API wf_result wf_weightflow_fit_path(wf_weightflow *model, int steps);
/* Step 3: fit the vector field (0: 10000 updates). May be called again to go on. Writes to `loss` (may be NULL) the mean loss of the last tenth of the updates; as published, of the best hundred, whose weights are kept. */
WF_API wf_result wf_weightflow_fit_field(wf_weightflow *model, int updates, double *loss);

/* The weights at each of n times (ascending, from the first anchor on), integrated from the first anchor: tokens[n][features][neurons]. */
WF_API wf_result wf_weightflow_weights(wf_weightflow *model, const double *times, int n, float *tokens);
/* Log-probability of each of n states (rows of `species` counts) under given weights: out[n]; each[n][species] may be NULL. */
WF_API wf_result wf_weightflow_log_prob(wf_weightflow *model, const float *tokens, const int32_t *x, size_t n, double *out, double *each);
/* n samples from given weights: out[n][species]. */
WF_API wf_result wf_weightflow_sample(wf_weightflow *model, const float *tokens, size_t n, uint64_t seed, int32_t *out);
/* The anchors, [anchors][features][neurons], to read or to set; elements of one. */
WF_API float *wf_weightflow_anchors(wf_weightflow *model);
WF_API size_t wf_weightflow_size(const wf_weightflow *model);
/* The parameters of the vector field, named as in the authors' files. */
WF_API wf_params *wf_weightflow_field(wf_weightflow *model);
/* The codes of the anchors, [anchors][path_dim], to read or to set before the field is used (call wf_weightflow_set_path after setting). */
WF_API const double *wf_weightflow_path(const wf_weightflow *model);
WF_API wf_result wf_weightflow_set_path(wf_weightflow *model, const double *codes);
#ifndef WF_NO_STDIO
/* Write a model to a safetensors file, whole or not at all; readable from Python. */
WF_API wf_result wf_weightflow_save(wf_weightflow *model, const char *path);
/* Read one. `desc` (may be NULL) gives threads, seed and callbacks; sizes come from the file. NULL with a report on failure. */
WF_API wf_weightflow *wf_weightflow_load(wf_arena *arena, const char *path, const wf_weightflow_desc *desc);
#endif
#endif /* WF_NO_WEIGHTFLOW */

/* ---- Systems ---- */

/* Write the propensity of every reaction at `time` in the state `counts`; each finite and not negative. May run on several threads at once. */
typedef void (*wf_propensity_fn)(void *user, double time, const int32_t *counts, double *propensity);

/* A stochastic reaction system. Everything is borrowed; nothing is changed. `change` and `reactants` are [reactions][species]. */
typedef struct wf_reaction_system {
    int species, reactions;
    const int *change;             /* what one event adds to each count */
    const int *reactants;          /* mass action: how many of each species take part */
    const double *rate;            /* mass action: rate of each reaction per choice of reactants */
    const double *swing;           /* NULL, or for each reaction e in [-1,1]: its rate is multiplied by 1 + e sin(2 pi time / period) */
    double period;
    wf_propensity_fn propensity;   /* instead of mass action, if not NULL: then reactants, rate and swing are not used */
    wf_propensity_fn bound;        /* bounds for all later times while the counts stay; NULL: `propensity` does not depend on time */
    void *user;
} wf_reaction_system;

/* Options of a simulation; all zero is good. */
typedef struct wf_simulate_desc {
    uint64_t seed;
    int frozen;                 /* hold time-dependent rates at their value after the last event: quick, and not exact */
    double start;               /* time of the initial state */
    uint64_t most_events;       /* a trajectory with more is an error; 0: a hundred million */
    int threads;                /* 0: as many as there are */
    const wf_parallel *parallel;
    wf_progress_fn progress;    /* told how many trajectories are done */
    void *progress_user;
} wf_simulate_desc;

/* Simulate n trajectories from the counts x0[species] and write the state at each of `times` (ascending, not before desc->start):
   out[n][n_times][species]. Trajectory i depends on seed and i alone: same bits for any n, any number of threads. desc may be NULL.
   Returns WF_ERROR_DATA for negative counts, unsorted times, no trajectories; WF_ERROR_NUMERIC for a propensity that is not finite, negative, or
   above its bound; WF_ERROR_LIMIT for too many events or a count past 2^31; WF_CANCELLED. `out` is then all zero. Sources: Gillespie (1977),
   Lewis and Shedler (1979). */
WF_API wf_result wf_simulate(wf_arena *arena, const wf_reaction_system *system, const int32_t *x0, const double *times, size_t n_times, size_t n, const wf_simulate_desc *desc, int32_t *out);

/* The epidemic of this book: species S, I, R, six reactions, a season of period 6. */
WF_API const wf_reaction_system *wf_epidemic_system(void);

/* n epidemics from (50, 10, 0) at the times 0, 0.5, ..., 50: out[n][101][3]. The published data were made with desc->frozen = 1. */
WF_API wf_result wf_epidemic(wf_arena *arena, size_t n, const wf_simulate_desc *desc, int32_t *out);

/* ---- Measures ---- */

/* A cloud of n points of `dim` coordinates, x[n][dim], with weights >= 0 of any positive sum, or equal ones where weight is NULL. All borrowed. */
typedef struct wf_points { const double *x, *weight; size_t n, dim; } wf_points;

/* The measures below return WF_ERROR_DATA, and say which number, for points or weights that are not finite, negative weights, empty clouds;
   WF_ERROR_SHAPE for dimensions that differ. Results are untouched on failure; a result pointer may be NULL. Scratch memory is given back. */

/* Fractions p[species][length] of n samples that take each value 0, ..., length - 1. Sample i is counts[i * stride + species]. A count outside: WF_ERROR_DATA. */
WF_API wf_result wf_marginals(wf_arena *arena, const int32_t *counts, size_t n, size_t stride, size_t species, size_t length, double *p);
/* Jensen-Shannon divergence (natural logarithm, at most log 2) of each of `rows` pairs of distributions over `length` values, and the mean over rows.
   `added` is added to every entry of p, q and their mean before each is normalised again: 0 is the definition, 1e-10 the rule of the WeightFlow paper. */
WF_API wf_result wf_jsd(wf_arena *arena, const double *p, const double *q, size_t rows, size_t length, double added, double *each, double *mean);
/* The permutation (row i takes column permutation[i]) that minimises the sum of cost[n][n], finite numbers of any sign. Time n^3. */
WF_API wf_result wf_assignment(wf_arena *arena, const double *cost, size_t n, int *permutation);
/* w1: mean distance between the rows of p and the rows of q, [rows][length], after the best matching. w2: root of the mean square after its own. */
WF_API wf_result wf_assignment_distance(wf_arena *arena, const double *p, const double *q, size_t rows, size_t length, double *w1, double *w2);
/* The WeightFlow paper's comparison of trajectories x[nx][times][species] and y[ny][times][species] of counts < length: at each time the assignment distances
   and the divergence (with 1e-10 added) between their marginals. w1, w2 and jsd hold `times` numbers each. */
WF_API wf_result wf_compare_counts(wf_arena *arena, const int32_t *x, size_t nx, const int32_t *y, size_t ny, size_t times, size_t species, size_t length, double *w1, double *w2, double *jsd);
/* Optimal transport between clouds, cost |x - y| (w1) and the root of cost |x - y|^2 (w2). Exact; memory 16 n m bytes, time about n m (n + m). */
WF_API wf_result wf_wasserstein(wf_arena *arena, const wf_points *x, const wf_points *y, double *w1, double *w2);
/* The same on the line (dim 1), by sorting: time n log n. */
WF_API wf_result wf_wasserstein_1d(wf_arena *arena, const wf_points *x, const wf_points *y, double *w1, double *w2);
/* W2 squared between the projections on each of direction[directions][dim] (used as given), and the mean over them. */
WF_API wf_result wf_sliced_wasserstein(wf_arena *arena, const wf_points *x, const wf_points *y, const double *direction, size_t directions, double *each, double *mean);
/* 2 E|x-y| - E|x-x'| - E|y-y'|. `biased`: over all pairs, never negative. `unbiased`: over pairs of different points (two at least). Equal weights only. */
WF_API wf_result wf_energy_distance(wf_arena *arena, const wf_points *x, const wf_points *y, double *biased, double *unbiased);
/* Unbiased squared maximum mean discrepancy with the kernel exp(-|x-y|^2 / (2 s^2)) for each of `count` bandwidths s; may be negative. Equal weights only. */
WF_API wf_result wf_mmd(wf_arena *arena, const wf_points *x, const wf_points *y, const double *bandwidth, size_t count, double *mmd2);
/* Entropic transport with cost |x-y|^2 / 2 and penalty eps KL(P | a b): `transport` is its optimum between x and y, `divergence` that less half of x to x and
   of y to y. Iterates until potentials move by less than `tolerance` (0: 1e-8 eps); WF_ERROR_NUMERIC after 100 000 rounds. Choose eps near the
   square of the distances to resolve; a hundredth of it may never converge. */
WF_API wf_result wf_sinkhorn(wf_arena *arena, const wf_points *x, const wf_points *y, double eps, double tolerance, double *divergence, double *transport);

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

/* vectors: include the intrinsics */
/* vectors: choose what to compile */
#ifndef WF_SIMD_MAX
#define WF_SIMD_MAX 4
#endif
#if !defined(WF_NO_SIMD) && WF_SIMD_MAX >= 2
#if ((defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__) && !(defined(_WIN32) && !defined(_WIN64))) || defined(_M_X64)
#define WF__ISA_SSE2
#if WF_SIMD_MAX >= 3
#define WF__ISA_AVX2
#endif
#if WF_SIMD_MAX >= 4
#define WF__ISA_AVX512
#endif
#elif defined(__aarch64__) && defined(__GNUC__) && !defined(__AARCH64EB__)
#define WF__ISA_NEON
#elif defined(__wasm_simd128__)
#define WF__ISA_WASM
#endif
#endif
#if defined(WF__ISA_SSE2)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" /* gcc 12 means its own _mm512_undefined_ps */
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif
#ifdef _MSC_VER
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#elif defined(WF__ISA_NEON)
#include <arm_neon.h>
#elif defined(WF__ISA_WASM)
#include <wasm_simd128.h>
#endif

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wunused-function"
#if __clang_major__ >= 12 && (defined(__x86_64__) || defined(__i386__)) /* others do not know the pragma */
#pragma float_control(precise, on, push)
#endif
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#ifndef __OPTIMIZE__ /* without optimisation some intrinsics are macros, whose masks change sign */
#pragma GCC diagnostic ignored "-Wsign-conversion"
#endif
#pragma GCC push_options
#pragma GCC optimize("Og,expensive-optimizations,fp-contract=off,no-fast-math")
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

/* ---- Vectors ---- */
/* vectors: mark kernels and helpers */
#if defined(__GNUC__)
#define WF__ALWAYS_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define WF__NEVER_INLINE __attribute__((noinline))
#else
#define WF__NEVER_INLINE __attribute__((noinline, noclone))
#endif
#define WF__TARGET(features) __attribute__((target(features)))
#elif defined(_MSC_VER)
#define WF__ALWAYS_INLINE static __forceinline
#define WF__NEVER_INLINE __declspec(noinline)
#define WF__TARGET(features)
#else
#define WF__ALWAYS_INLINE static inline
#define WF__NEVER_INLINE
#define WF__TARGET(features)
#endif

/* vectors: mark kernels and helpers of each set */
#define WF__KERNEL_sse2 WF__TARGET("sse2") static
#define WF__INLINE_sse2 WF__TARGET("sse2") WF__ALWAYS_INLINE
#define WF__KERNEL_avx2 WF__TARGET("avx2,fma") static
#define WF__INLINE_avx2 WF__TARGET("avx2,fma") WF__ALWAYS_INLINE
#define WF__KERNEL_avx512 WF__TARGET("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma") static
#define WF__INLINE_avx512 WF__TARGET("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma") WF__ALWAYS_INLINE
#define WF__KERNEL_neon static
#define WF__INLINE_neon WF__ALWAYS_INLINE
#define WF__KERNEL_wasm static
#define WF__INLINE_wasm WF__ALWAYS_INLINE

/* vectors: spell arithmetic for the compiler */
#if defined(__GNUC__)
#define WF__PLUS(type, f, a, b) ((type)((a) + (b)))
#define WF__MINUS(type, f, a, b) ((type)((a) - (b)))
#define WF__TIMES(type, f, a, b) ((type)((a) * (b)))
#define WF__OVER(type, f, a, b) ((type)((a) / (b)))
#else
#define WF__PLUS(type, f, a, b) f(a, b)
#define WF__MINUS(type, f, a, b) f(a, b)
#define WF__TIMES(type, f, a, b) f(a, b)
#define WF__OVER(type, f, a, b) f(a, b)
#endif
#if defined(WF__ISA_SSE2)

/* vectors: ask an x86 processor */
static void wf__cpuid(uint32_t leaf, uint32_t r[4])
{
#ifdef _MSC_VER
    int a[4];
    __cpuidex(a, (int)leaf, 0);
    for (int i = 0; i < 4; i++) r[i] = (uint32_t)a[i];
#else
    __cpuid_count(leaf, 0, r[0], r[1], r[2], r[3]);
#endif
}

static uint32_t wf__xcr0(void)
{
#ifdef _MSC_VER
    return (uint32_t)_xgetbv(0);
#else
    uint32_t low, high;
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0)); /* xgetbv, for assemblers that do not know it */
    return low;
#endif
}

/* vectors: find the best x86 set */
static int wf__isa_x86(void)
{
    uint32_t r[4], one[4], xcr0, wide = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    wf__cpuid(0, r);
    if (r[0] < 1) return WF_ISA_SCALAR;
    uint32_t leaves = r[0];
    wf__cpuid(1, one);
    if (!(one[3] >> 26 & 1)) return WF_ISA_SCALAR;
    if (leaves < 7 || !(one[2] >> 27 & 1) || !(one[2] >> 28 & 1) || !(one[2] >> 12 & 1)) return WF_ISA_SSE2;
    xcr0 = wf__xcr0();
    wf__cpuid(7, r);
    if ((xcr0 & 6) != 6 || !(r[1] >> 5 & 1)) return WF_ISA_SSE2;
    return (xcr0 & 0xE6) == 0xE6 && (r[1] & wide) == wide ? WF_ISA_AVX512 : WF_ISA_AVX2;
}
#endif

/* vectors: answer for this machine */
int wf_isa_best(void)
{
#if defined(WF__ISA_SSE2)
    int isa = wf__isa_x86();
    return isa < WF_SIMD_MAX ? isa : WF_SIMD_MAX;
#elif defined(WF__ISA_NEON)
    return WF_ISA_NEON;
#elif defined(WF__ISA_WASM)
    return WF_ISA_WASM;
#else
    return WF_ISA_SCALAR;
#endif
}

int wf_isa_available(int isa)
{
    int best = wf_isa_best();
    if (isa == WF_ISA_AUTO || isa == WF_ISA_SCALAR || isa == best) return 1;
    return best <= WF_ISA_AVX512 && isa > WF_ISA_SCALAR && isa <= best;
}

/* vectors: name a set */
const char *wf_isa_name(int isa)
{
    static const char *const names[] = { "auto", "scalar", "sse2", "avx2", "avx512", "neon", "wasm" };
    return isa >= 0 && isa <= WF_ISA_WASM ? names[isa] : "unknown";
}

/* vectors: words of AVX2 and AVX-512 */
#if defined(WF__ISA_AVX2)
#define WF__AVX2_NAME "avx2"
#define WF__AVX2_W 8
#define WF__AVX2_V 2
#define WF__AVX2_NV 2
#define WF__AVX2_FUSED 1
#define WF__AVX2_F __m256
#define WF__AVX2_I __m256i
#define WF__AVX2_M __m256
#define WF__AVX2_K __m256i
#define WF__AVX2_LD(p) _mm256_loadu_ps(p)
#define WF__AVX2_ST(p, v) _mm256_storeu_ps(p, v)
#define WF__AVX2_TAIL(n) _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define WF__AVX2_LDK(p, k) _mm256_maskload_ps(p, k)
#define WF__AVX2_STK(p, v, k) _mm256_maskstore_ps(p, k, v)
#define WF__AVX2_SET1(x) _mm256_set1_ps(x)
#define WF__AVX2_ADD(a, b) WF__PLUS(__m256, _mm256_add_ps, a, b)
#define WF__AVX2_SUB(a, b) WF__MINUS(__m256, _mm256_sub_ps, a, b)
#define WF__AVX2_MUL(a, b) WF__TIMES(__m256, _mm256_mul_ps, a, b)
#define WF__AVX2_DIV(a, b) WF__OVER(__m256, _mm256_div_ps, a, b)
#define WF__AVX2_SQRT(a) _mm256_sqrt_ps(a)
#define WF__AVX2_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define WF__AVX2_FNMA(a, b, c) _mm256_fnmadd_ps(a, b, c)
#define WF__AVX2_MIN(a, b) _mm256_min_ps(a, b)
#define WF__AVX2_MAX(a, b) _mm256_max_ps(a, b)
#define WF__AVX2_ROUND(a) _mm256_round_ps(a, 8)
#define WF__AVX2_FLOOR(a) _mm256_round_ps(a, 9)
#define WF__AVX2_AND(a, b) _mm256_and_ps(a, b)
#define WF__AVX2_ANDNOT(a, b) _mm256_andnot_ps(a, b)
#define WF__AVX2_OR(a, b) _mm256_or_ps(a, b)
#define WF__AVX2_XOR(a, b) _mm256_xor_ps(a, b)
#define WF__AVX2_LT(a, b) _mm256_cmp_ps(a, b, _CMP_LT_OQ)
#define WF__AVX2_LE(a, b) _mm256_cmp_ps(a, b, _CMP_LE_OQ)
#define WF__AVX2_EQ(a, b) _mm256_cmp_ps(a, b, _CMP_EQ_OQ)
#define WF__AVX2_SEL(m, a, b) _mm256_blendv_ps(b, a, m)
#define WF__AVX2_BITS(a) _mm256_castps_si256(a)
#define WF__AVX2_FLT(i) _mm256_castsi256_ps(i)
#define WF__AVX2_ISET1(x) _mm256_set1_epi32(x)
#define WF__AVX2_IADD(a, b) _mm256_add_epi32(a, b)
#define WF__AVX2_ISUB(a, b) _mm256_sub_epi32(a, b)
#define WF__AVX2_IAND(a, b) _mm256_and_si256(a, b)
#define WF__AVX2_ISHL(a, n) _mm256_slli_epi32(a, n)
#define WF__AVX2_ISRA(a, n) _mm256_srai_epi32(a, n)
#define WF__AVX2_TOF(i) _mm256_cvtepi32_ps(i)
#define WF__AVX2_ILD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define WF__AVX2_IST(p, i) _mm256_storeu_si256((__m256i *)(void *)(p), i)
#define WF__AVX2_ANY(m) _mm256_movemask_ps(m)
#define WF__AVX2_ODD(i) _mm256_castsi256_ps(_mm256_slli_epi32(i, 31))
#define WF__AVX2_ZIPLO(a, b) _mm256_unpacklo_ps(a, b)
#define WF__AVX2_ZIPHI(a, b) _mm256_unpackhi_ps(a, b)
#define WF__AVX2_PAIRLO(a, b) _mm256_shuffle_ps(a, b, 0x44)
#define WF__AVX2_PAIRHI(a, b) _mm256_shuffle_ps(a, b, 0xEE)
#define WF__AVX2_LD4(p, s) _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps((p) + 4 * (s)), 1)
#endif

#if defined(WF__ISA_AVX512)
#define WF__AVX512_NAME "avx512"
#define WF__AVX512_W 16
#define WF__AVX512_V 1
#define WF__AVX512_NV 4
#define WF__AVX512_FUSED 1
#define WF__AVX512_F __m512
#define WF__AVX512_I __m512i
#define WF__AVX512_M __mmask16
#define WF__AVX512_K __mmask16
#define WF__AVX512_LD(p) _mm512_loadu_ps(p)
#define WF__AVX512_ST(p, v) _mm512_storeu_ps(p, v)
#define WF__AVX512_TAIL(n) ((__mmask16)(((uint32_t)1 << (n)) - 1))
#define WF__AVX512_LDK(p, k) _mm512_maskz_loadu_ps(k, p)
#define WF__AVX512_STK(p, v, k) _mm512_mask_storeu_ps(p, k, v)
#define WF__AVX512_SET1(x) _mm512_set1_ps(x)
#define WF__AVX512_ADD(a, b) WF__PLUS(__m512, _mm512_add_ps, a, b)
#define WF__AVX512_SUB(a, b) WF__MINUS(__m512, _mm512_sub_ps, a, b)
#define WF__AVX512_MUL(a, b) WF__TIMES(__m512, _mm512_mul_ps, a, b)
#define WF__AVX512_DIV(a, b) WF__OVER(__m512, _mm512_div_ps, a, b)
#define WF__AVX512_SQRT(a) _mm512_sqrt_ps(a)
#define WF__AVX512_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define WF__AVX512_FNMA(a, b, c) _mm512_fnmadd_ps(a, b, c)
#define WF__AVX512_MIN(a, b) _mm512_min_ps(a, b)
#define WF__AVX512_MAX(a, b) _mm512_max_ps(a, b)
#define WF__AVX512_ROUND(a) _mm512_roundscale_ps(a, 8)
#define WF__AVX512_FLOOR(a) _mm512_roundscale_ps(a, 9)
#define WF__AVX512_AND(a, b) _mm512_and_ps(a, b)
#define WF__AVX512_ANDNOT(a, b) _mm512_andnot_ps(a, b)
#define WF__AVX512_OR(a, b) _mm512_or_ps(a, b)
#define WF__AVX512_XOR(a, b) _mm512_xor_ps(a, b)
#define WF__AVX512_LT(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)
#define WF__AVX512_LE(a, b) _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ)
#define WF__AVX512_EQ(a, b) _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ)
#define WF__AVX512_SEL(m, a, b) _mm512_mask_blend_ps(m, b, a)
#define WF__AVX512_BITS(a) _mm512_castps_si512(a)
#define WF__AVX512_FLT(i) _mm512_castsi512_ps(i)
#define WF__AVX512_ISET1(x) _mm512_set1_epi32(x)
#define WF__AVX512_IADD(a, b) _mm512_add_epi32(a, b)
#define WF__AVX512_ISUB(a, b) _mm512_sub_epi32(a, b)
#define WF__AVX512_IAND(a, b) _mm512_and_si512(a, b)
#define WF__AVX512_ISHL(a, n) _mm512_slli_epi32(a, n)
#define WF__AVX512_ISRA(a, n) _mm512_srai_epi32(a, n)
#define WF__AVX512_TOF(i) _mm512_cvtepi32_ps(i)
#define WF__AVX512_ILD(p) _mm512_loadu_si512(p)
#define WF__AVX512_IST(p, i) _mm512_storeu_si512(p, i)
#define WF__AVX512_ANY(m) (m)
#define WF__AVX512_SCALE(a, n) _mm512_scalef_ps(a, n)
#define WF__AVX512_ODD(i) _mm512_test_epi32_mask(i, _mm512_set1_epi32(1))
#define WF__AVX512_ZIPLO(a, b) _mm512_unpacklo_ps(a, b)
#define WF__AVX512_ZIPHI(a, b) _mm512_unpackhi_ps(a, b)
#define WF__AVX512_PAIRLO(a, b) _mm512_shuffle_ps(a, b, 0x44)
#define WF__AVX512_PAIRHI(a, b) _mm512_shuffle_ps(a, b, 0xEE)
#define WF__AVX512_LD4(p, s) _mm512_insertf32x4(_mm512_insertf32x4(_mm512_insertf32x4(_mm512_castps128_ps512(_mm_loadu_ps(p)), _mm_loadu_ps((p) + 4 * (s)), 1), _mm_loadu_ps((p) + 8 * (s)), 2), _mm_loadu_ps((p) + 12 * (s)), 3)
#endif

/* vectors: words of the sets with four lanes */
#if defined(WF__ISA_SSE2)
#define WF__SSE2_NAME "sse2"
#define WF__SSE2_W 4
#define WF__SSE2_V 4
#define WF__SSE2_NV 2
#define WF__SSE2_FUSED 0
#define WF__SSE2_F __m128
#define WF__SSE2_I __m128i
#define WF__SSE2_M __m128
#define WF__SSE2_K int
#define WF__SSE2_LD(p) _mm_loadu_ps(p)
#define WF__SSE2_ST(p, v) _mm_storeu_ps(p, v)
#define WF__SSE2_TAIL(n) (int)(n)
#define WF__SSE2_LDK(p, k) wf__load_part_sse2(p, k)
#define WF__SSE2_STK(p, v, k) wf__store_part_sse2(p, v, k)
#define WF__SSE2_SET1(x) _mm_set1_ps(x)
#define WF__SSE2_ADD(a, b) WF__PLUS(__m128, _mm_add_ps, a, b)
#define WF__SSE2_SUB(a, b) WF__MINUS(__m128, _mm_sub_ps, a, b)
#define WF__SSE2_MUL(a, b) WF__TIMES(__m128, _mm_mul_ps, a, b)
#define WF__SSE2_DIV(a, b) WF__OVER(__m128, _mm_div_ps, a, b)
#define WF__SSE2_SQRT(a) _mm_sqrt_ps(a)
#define WF__SSE2_FMA(a, b, c) WF__SSE2_ADD(WF__SSE2_MUL(a, b), c)
#define WF__SSE2_FNMA(a, b, c) WF__SSE2_SUB(c, WF__SSE2_MUL(a, b))
#define WF__SSE2_MIN(a, b) _mm_min_ps(a, b)
#define WF__SSE2_MAX(a, b) _mm_max_ps(a, b)
#define WF__SSE2_ROUND(a) wf__round_sse2(a)
#define WF__SSE2_FLOOR(a) wf__floor_sse2(a)
#define WF__SSE2_AND(a, b) _mm_and_ps(a, b)
#define WF__SSE2_ANDNOT(a, b) _mm_andnot_ps(a, b)
#define WF__SSE2_OR(a, b) _mm_or_ps(a, b)
#define WF__SSE2_XOR(a, b) _mm_xor_ps(a, b)
#define WF__SSE2_LT(a, b) _mm_cmplt_ps(a, b)
#define WF__SSE2_LE(a, b) _mm_cmple_ps(a, b)
#define WF__SSE2_EQ(a, b) _mm_cmpeq_ps(a, b)
#define WF__SSE2_SEL(m, a, b) wf__select_sse2(m, a, b)
#define WF__SSE2_BITS(a) _mm_castps_si128(a)
#define WF__SSE2_FLT(i) _mm_castsi128_ps(i)
#define WF__SSE2_ISET1(x) _mm_set1_epi32(x)
#define WF__SSE2_IADD(a, b) _mm_add_epi32(a, b)
#define WF__SSE2_ISUB(a, b) _mm_sub_epi32(a, b)
#define WF__SSE2_IAND(a, b) _mm_and_si128(a, b)
#define WF__SSE2_ISHL(a, n) _mm_slli_epi32(a, n)
#define WF__SSE2_ISRA(a, n) _mm_srai_epi32(a, n)
#define WF__SSE2_TOF(i) _mm_cvtepi32_ps(i)
#define WF__SSE2_ILD(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define WF__SSE2_IST(p, i) _mm_storeu_si128((__m128i *)(void *)(p), i)
#define WF__SSE2_ANY(m) _mm_movemask_ps(m)
#define WF__SSE2_ODD(i) _mm_castsi128_ps(_mm_srai_epi32(_mm_slli_epi32(i, 31), 31))
#define WF__SSE2_ZIPLO(a, b) _mm_unpacklo_ps(a, b)
#define WF__SSE2_ZIPHI(a, b) _mm_unpackhi_ps(a, b)
#define WF__SSE2_PAIRLO(a, b) _mm_shuffle_ps(a, b, 0x44)
#define WF__SSE2_PAIRHI(a, b) _mm_shuffle_ps(a, b, 0xEE)
#define WF__SSE2_LD4(p, s) _mm_loadu_ps(p)
#endif

#if defined(WF__ISA_NEON)
#define WF__NEON_NAME "neon"
#define WF__NEON_W 4
#define WF__NEON_V 4
#define WF__NEON_NV 4
#define WF__NEON_FUSED 1
#define WF__NEON_F float32x4_t
#define WF__NEON_I int32x4_t
#define WF__NEON_M uint32x4_t
#define WF__NEON_K int
#define WF__NEON_LD(p) vld1q_f32(p)
#define WF__NEON_ST(p, v) vst1q_f32(p, v)
#define WF__NEON_TAIL(n) (int)(n)
#define WF__NEON_LDK(p, k) wf__load_part_neon(p, k)
#define WF__NEON_STK(p, v, k) wf__store_part_neon(p, v, k)
#define WF__NEON_SET1(x) vdupq_n_f32(x)
#define WF__NEON_ADD(a, b) WF__PLUS(float32x4_t, vaddq_f32, a, b)
#define WF__NEON_SUB(a, b) WF__MINUS(float32x4_t, vsubq_f32, a, b)
#define WF__NEON_MUL(a, b) WF__TIMES(float32x4_t, vmulq_f32, a, b)
#define WF__NEON_DIV(a, b) WF__OVER(float32x4_t, vdivq_f32, a, b)
#define WF__NEON_SQRT(a) vsqrtq_f32(a)
#define WF__NEON_FMA(a, b, c) vfmaq_f32(c, a, b)
#define WF__NEON_FNMA(a, b, c) vfmsq_f32(c, a, b)
#define WF__NEON_MIN(a, b) wf__min_neon(a, b)
#define WF__NEON_MAX(a, b) wf__max_neon(a, b)
#define WF__NEON_ROUND(a) vrndnq_f32(a)
#define WF__NEON_FLOOR(a) vrndmq_f32(a)
#define WF__NEON_AND(a, b) WF__NEON_FLT(vandq_s32(WF__NEON_BITS(a), WF__NEON_BITS(b)))
#define WF__NEON_ANDNOT(a, b) WF__NEON_FLT(vbicq_s32(WF__NEON_BITS(b), WF__NEON_BITS(a)))
#define WF__NEON_OR(a, b) WF__NEON_FLT(vorrq_s32(WF__NEON_BITS(a), WF__NEON_BITS(b)))
#define WF__NEON_XOR(a, b) WF__NEON_FLT(veorq_s32(WF__NEON_BITS(a), WF__NEON_BITS(b)))
#define WF__NEON_LT(a, b) vcltq_f32(a, b)
#define WF__NEON_LE(a, b) vcleq_f32(a, b)
#define WF__NEON_EQ(a, b) vceqq_f32(a, b)
#define WF__NEON_SEL(m, a, b) vbslq_f32(m, a, b)
#define WF__NEON_BITS(a) vreinterpretq_s32_f32(a)
#define WF__NEON_FLT(i) vreinterpretq_f32_s32(i)
#define WF__NEON_ISET1(x) vdupq_n_s32(x)
#define WF__NEON_IADD(a, b) vaddq_s32(a, b)
#define WF__NEON_ISUB(a, b) vsubq_s32(a, b)
#define WF__NEON_IAND(a, b) vandq_s32(a, b)
#define WF__NEON_ISHL(a, n) vshlq_n_s32(a, n)
#define WF__NEON_ISRA(a, n) vshrq_n_s32(a, n)
#define WF__NEON_TOF(i) vcvtq_f32_s32(i)
#define WF__NEON_ILD(p) vld1q_s32(p)
#define WF__NEON_IST(p, i) vst1q_s32(p, i)
#define WF__NEON_ANY(m) vmaxvq_u32(m)
#define WF__NEON_ODD(i) vtstq_s32(i, vdupq_n_s32(1))
#define WF__NEON_ZIPLO(a, b) vzip1q_f32(a, b)
#define WF__NEON_ZIPHI(a, b) vzip2q_f32(a, b)
#define WF__NEON_PAIRLO(a, b) vreinterpretq_f32_f64(vzip1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)))
#define WF__NEON_PAIRHI(a, b) vreinterpretq_f32_f64(vzip2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)))
#define WF__NEON_LD4(p, s) vld1q_f32(p)
#endif

#if defined(WF__ISA_WASM)
#define WF__WASM_NAME "wasm"
#define WF__WASM_W 4
#define WF__WASM_V 4
#define WF__WASM_NV 2
#define WF__WASM_FUSED 0
#define WF__WASM_F v128_t
#define WF__WASM_I v128_t
#define WF__WASM_M v128_t
#define WF__WASM_K int
#define WF__WASM_LD(p) wasm_v128_load(p)
#define WF__WASM_ST(p, v) wasm_v128_store(p, v)
#define WF__WASM_TAIL(n) (int)(n)
#define WF__WASM_LDK(p, k) wf__load_part_wasm(p, k)
#define WF__WASM_STK(p, v, k) wf__store_part_wasm(p, v, k)
#define WF__WASM_SET1(x) wasm_f32x4_splat(x)
#define WF__WASM_ADD(a, b) wasm_f32x4_add(a, b)
#define WF__WASM_SUB(a, b) wasm_f32x4_sub(a, b)
#define WF__WASM_MUL(a, b) wasm_f32x4_mul(a, b)
#define WF__WASM_DIV(a, b) wasm_f32x4_div(a, b)
#define WF__WASM_SQRT(a) wasm_f32x4_sqrt(a)
#define WF__WASM_FMA(a, b, c) WF__WASM_ADD(WF__WASM_MUL(a, b), c)
#define WF__WASM_FNMA(a, b, c) WF__WASM_SUB(c, WF__WASM_MUL(a, b))
#define WF__WASM_MIN(a, b) wasm_f32x4_pmin(b, a)
#define WF__WASM_MAX(a, b) wasm_f32x4_pmax(b, a)
#define WF__WASM_ROUND(a) wasm_f32x4_nearest(a)
#define WF__WASM_FLOOR(a) wasm_f32x4_floor(a)
#define WF__WASM_AND(a, b) wasm_v128_and(a, b)
#define WF__WASM_ANDNOT(a, b) wasm_v128_andnot(b, a)
#define WF__WASM_OR(a, b) wasm_v128_or(a, b)
#define WF__WASM_XOR(a, b) wasm_v128_xor(a, b)
#define WF__WASM_LT(a, b) wasm_f32x4_lt(a, b)
#define WF__WASM_LE(a, b) wasm_f32x4_le(a, b)
#define WF__WASM_EQ(a, b) wasm_f32x4_eq(a, b)
#define WF__WASM_SEL(m, a, b) wasm_v128_bitselect(a, b, m)
#define WF__WASM_BITS(a) (a)
#define WF__WASM_FLT(i) (i)
#define WF__WASM_ISET1(x) wasm_i32x4_splat(x)
#define WF__WASM_IADD(a, b) wasm_i32x4_add(a, b)
#define WF__WASM_ISUB(a, b) wasm_i32x4_sub(a, b)
#define WF__WASM_IAND(a, b) wasm_v128_and(a, b)
#define WF__WASM_ISHL(a, n) wasm_i32x4_shl(a, n)
#define WF__WASM_ISRA(a, n) wasm_i32x4_shr(a, n)
#define WF__WASM_TOF(i) wasm_f32x4_convert_i32x4(i)
#define WF__WASM_ILD(p) wasm_v128_load(p)
#define WF__WASM_IST(p, i) wasm_v128_store(p, i)
#define WF__WASM_ANY(m) wasm_v128_any_true(m)
#define WF__WASM_ODD(i) wasm_i32x4_shr(wasm_i32x4_shl(i, 31), 31)
#define WF__WASM_ZIPLO(a, b) wasm_i32x4_shuffle(a, b, 0, 4, 1, 5)
#define WF__WASM_ZIPHI(a, b) wasm_i32x4_shuffle(a, b, 2, 6, 3, 7)
#define WF__WASM_PAIRLO(a, b) wasm_i32x4_shuffle(a, b, 0, 1, 4, 5)
#define WF__WASM_PAIRHI(a, b) wasm_i32x4_shuffle(a, b, 2, 3, 6, 7)
#define WF__WASM_LD4(p, s) wasm_v128_load(p)
#endif

/* vectors: derive further words (sse2) */
#if defined(WF__ISA_SSE2)
#define WF__SSE2_ZERO WF__SSE2_SET1(0.0f)
#define WF__SSE2_SIGN(a) WF__SSE2_AND(a, WF__SSE2_SET1(-0.0f))
#define WF__SSE2_ABS(a) WF__SSE2_ANDNOT(WF__SSE2_SET1(-0.0f), a)
#define WF__SSE2_NEG(a) WF__SSE2_XOR(a, WF__SSE2_SET1(-0.0f))
#endif

/* vectors: derive further words (avx2) */
#if defined(WF__ISA_AVX2)
#define WF__AVX2_ZERO WF__AVX2_SET1(0.0f)
#define WF__AVX2_SIGN(a) WF__AVX2_AND(a, WF__AVX2_SET1(-0.0f))
#define WF__AVX2_ABS(a) WF__AVX2_ANDNOT(WF__AVX2_SET1(-0.0f), a)
#define WF__AVX2_NEG(a) WF__AVX2_XOR(a, WF__AVX2_SET1(-0.0f))
#endif

/* vectors: derive further words (avx512) */
#if defined(WF__ISA_AVX512)
#define WF__AVX512_ZERO WF__AVX512_SET1(0.0f)
#define WF__AVX512_SIGN(a) WF__AVX512_AND(a, WF__AVX512_SET1(-0.0f))
#define WF__AVX512_ABS(a) WF__AVX512_ANDNOT(WF__AVX512_SET1(-0.0f), a)
#define WF__AVX512_NEG(a) WF__AVX512_XOR(a, WF__AVX512_SET1(-0.0f))
#endif

/* vectors: derive further words (neon) */
#if defined(WF__ISA_NEON)
#define WF__NEON_ZERO WF__NEON_SET1(0.0f)
#define WF__NEON_SIGN(a) WF__NEON_AND(a, WF__NEON_SET1(-0.0f))
#define WF__NEON_ABS(a) WF__NEON_ANDNOT(WF__NEON_SET1(-0.0f), a)
#define WF__NEON_NEG(a) WF__NEON_XOR(a, WF__NEON_SET1(-0.0f))
#endif

/* vectors: derive further words (wasm) */
#if defined(WF__ISA_WASM)
#define WF__WASM_ZERO WF__WASM_SET1(0.0f)
#define WF__WASM_SIGN(a) WF__WASM_AND(a, WF__WASM_SET1(-0.0f))
#define WF__WASM_ABS(a) WF__WASM_ANDNOT(WF__WASM_SET1(-0.0f), a)
#define WF__WASM_NEG(a) WF__WASM_XOR(a, WF__WASM_SET1(-0.0f))
#endif

/* vectors: fill the gaps of SSE2 */
#if defined(WF__ISA_SSE2)
WF__INLINE_sse2 __m128 wf__select_sse2(__m128 m, __m128 a, __m128 b)
{
    return _mm_or_ps(_mm_and_ps(m, a), _mm_andnot_ps(m, b));
}

WF__INLINE_sse2 __m128 wf__round_sse2(__m128 x)
{
    __m128 sign = _mm_and_ps(x, _mm_set1_ps(-0.0f)), big = _mm_or_ps(_mm_set1_ps(8388608.0f), sign);
    __m128 r = _mm_or_ps(WF__MINUS(__m128, _mm_sub_ps, WF__PLUS(__m128, _mm_add_ps, x, big), big), sign);
    return wf__select_sse2(_mm_cmplt_ps(_mm_andnot_ps(_mm_set1_ps(-0.0f), x), _mm_set1_ps(8388608.0f)), r, x);
}

WF__INLINE_sse2 __m128 wf__floor_sse2(__m128 x)
{
    __m128 r = wf__round_sse2(x);
    return WF__MINUS(__m128, _mm_sub_ps, r, _mm_and_ps(_mm_cmpgt_ps(r, x), _mm_set1_ps(1.0f)));
}
#endif

/* vectors: fill the gaps of NEON */
#if defined(WF__ISA_NEON)
WF__INLINE_neon float32x4_t wf__min_neon(float32x4_t a, float32x4_t b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
WF__INLINE_neon float32x4_t wf__max_neon(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
#endif

/* vectors: load and store a part of four lanes (sse2) */
#if defined(WF__ISA_SSE2)
#if WF__SSE2_W == 4
WF__NEVER_INLINE WF__KERNEL_sse2 WF__SSE2_F wf__load_part_sse2(const float *p, int n)
{
    float t[4];
    t[0] = n > 0 ? p[0] : 0.0f;
    t[1] = n > 1 ? p[1] : 0.0f;
    t[2] = n > 2 ? p[2] : 0.0f;
    t[3] = n > 3 ? p[3] : 0.0f;
    return WF__SSE2_LD(t);
}

WF__NEVER_INLINE WF__KERNEL_sse2 void wf__store_part_sse2(float *p, WF__SSE2_F v, int n)
{
    float t[4];
    WF__SSE2_ST(t, v);
    if (n > 0) p[0] = t[0];
    if (n > 1) p[1] = t[1];
    if (n > 2) p[2] = t[2];
    if (n > 3) p[3] = t[3];
}
#endif
#endif

/* vectors: load and store a part of four lanes (avx2) */
#if defined(WF__ISA_AVX2)
#if WF__AVX2_W == 4
WF__NEVER_INLINE WF__KERNEL_avx2 WF__AVX2_F wf__load_part_avx2(const float *p, int n)
{
    float t[4];
    t[0] = n > 0 ? p[0] : 0.0f;
    t[1] = n > 1 ? p[1] : 0.0f;
    t[2] = n > 2 ? p[2] : 0.0f;
    t[3] = n > 3 ? p[3] : 0.0f;
    return WF__AVX2_LD(t);
}

WF__NEVER_INLINE WF__KERNEL_avx2 void wf__store_part_avx2(float *p, WF__AVX2_F v, int n)
{
    float t[4];
    WF__AVX2_ST(t, v);
    if (n > 0) p[0] = t[0];
    if (n > 1) p[1] = t[1];
    if (n > 2) p[2] = t[2];
    if (n > 3) p[3] = t[3];
}
#endif
#endif

/* vectors: load and store a part of four lanes (avx512) */
#if defined(WF__ISA_AVX512)
#if WF__AVX512_W == 4
WF__NEVER_INLINE WF__KERNEL_avx512 WF__AVX512_F wf__load_part_avx512(const float *p, int n)
{
    float t[4];
    t[0] = n > 0 ? p[0] : 0.0f;
    t[1] = n > 1 ? p[1] : 0.0f;
    t[2] = n > 2 ? p[2] : 0.0f;
    t[3] = n > 3 ? p[3] : 0.0f;
    return WF__AVX512_LD(t);
}

WF__NEVER_INLINE WF__KERNEL_avx512 void wf__store_part_avx512(float *p, WF__AVX512_F v, int n)
{
    float t[4];
    WF__AVX512_ST(t, v);
    if (n > 0) p[0] = t[0];
    if (n > 1) p[1] = t[1];
    if (n > 2) p[2] = t[2];
    if (n > 3) p[3] = t[3];
}
#endif
#endif

/* vectors: load and store a part of four lanes (neon) */
#if defined(WF__ISA_NEON)
#if WF__NEON_W == 4
WF__NEVER_INLINE WF__KERNEL_neon WF__NEON_F wf__load_part_neon(const float *p, int n)
{
    float t[4];
    t[0] = n > 0 ? p[0] : 0.0f;
    t[1] = n > 1 ? p[1] : 0.0f;
    t[2] = n > 2 ? p[2] : 0.0f;
    t[3] = n > 3 ? p[3] : 0.0f;
    return WF__NEON_LD(t);
}

WF__NEVER_INLINE WF__KERNEL_neon void wf__store_part_neon(float *p, WF__NEON_F v, int n)
{
    float t[4];
    WF__NEON_ST(t, v);
    if (n > 0) p[0] = t[0];
    if (n > 1) p[1] = t[1];
    if (n > 2) p[2] = t[2];
    if (n > 3) p[3] = t[3];
}
#endif
#endif

/* vectors: load and store a part of four lanes (wasm) */
#if defined(WF__ISA_WASM)
#if WF__WASM_W == 4
WF__NEVER_INLINE WF__KERNEL_wasm WF__WASM_F wf__load_part_wasm(const float *p, int n)
{
    float t[4];
    t[0] = n > 0 ? p[0] : 0.0f;
    t[1] = n > 1 ? p[1] : 0.0f;
    t[2] = n > 2 ? p[2] : 0.0f;
    t[3] = n > 3 ? p[3] : 0.0f;
    return WF__WASM_LD(t);
}

WF__NEVER_INLINE WF__KERNEL_wasm void wf__store_part_wasm(float *p, WF__WASM_F v, int n)
{
    float t[4];
    WF__WASM_ST(t, v);
    if (n > 0) p[0] = t[0];
    if (n > 1) p[1] = t[1];
    if (n > 2) p[2] = t[2];
    if (n > 3) p[3] = t[3];
}
#endif
#endif

/* ---- Elementary functions ---- */
/* elementary: coefficients */
#define WF__EXP_0 0.166666657f
#define WF__EXP_1 0.0416664667f
#define WF__EXP_2 0.00833363924f
#define WF__EXP_3 0.00139349559f
#define WF__EXP_4 0.000196719135f
#define WF__LOG_0 0.333333135f
#define WF__LOG_1 -0.250001967f
#define WF__LOG_2 0.200022474f
#define WF__LOG_3 -0.166578367f
#define WF__LOG_4 0.142077759f
#define WF__LOG_5 -0.125734866f
#define WF__LOG_6 0.121463671f
#define WF__LOG_7 -0.107934296f
#define WF__LOG_8 0.0510228612f
#define WF__SIN_0 -0.166666672f
#define WF__SIN_1 0.0083333794f
#define WF__SIN_2 -0.000198530528f
#define WF__SIN_3 2.8322745e-06f
#define WF__COS_0 0.0416666456f
#define WF__COS_1 -0.00138873071f
#define WF__COS_2 2.44318762e-05f
#define WF__ERF_0 0.128379166f
#define WF__ERF_1 -0.37612626f
#define WF__ERF_2 0.112835787f
#define WF__ERF_3 -0.0268533472f
#define WF__ERF_4 0.0051871622f
#define WF__ERF_5 -0.00079978531f
#define WF__ERF_6 7.80690316e-05f
#define WF__ERFC_0 -0.000188461228f
#define WF__ERFC_1 1.12958026f
#define WF__ERFC_2 0.63321656f
#define WF__ERFC_3 0.108421832f
#define WF__ERFC_4 -0.0252100956f
#define WF__ERFC_5 0.00420516264f
#define WF__ERFC_6 -0.000441442244f
#define WF__ERFC_7 2.16947756e-05f
#define WF__ATAN_0 -0.333331525f
#define WF__ATAN_1 0.199937686f
#define WF__ATAN_2 -0.142110243f
#define WF__ATAN_3 0.106658928f
#define WF__ATAN_4 -0.0755199343f
#define WF__ATAN_5 0.0432094261f
#define WF__ATAN_6 -0.0163665209f
#define WF__ATAN_7 0.00292036007f

/* elementary: constants */
#define WF__ROUNDER 12582912.0f /* 1.5 * 2^23 */
#define WF__LOG2_E 1.44269504f
#define WF__LN2_HIGH 0.693145752f /* 15 bits of ln 2 */
#define WF__LN2_LOW 1.42860677e-06f

/* elementary: reduce a large angle */
static void wf__angle_large(float x, float *w, float *low, int32_t *q)
{
    static const uint32_t digits[] = { 0, 0xA2F9836Eu, 0x4E441529u, 0xFC2757D1u, 0xF534DDC0u, 0xDB629599u, 0x3C439041u, 0xFE5163ABu };
    uint32_t bits, window[3];
    memcpy(&bits, &x, sizeof bits);
    int start = (int)(bits >> 23 & 0xFF) - 150 - 2 + 32, shift = start % 32;
    uint64_t m = (bits & 0x7FFFFF) | 0x800000;
    for (int i = 0; i < 3; i++)
        window[i] = (uint32_t)(((uint64_t)digits[start / 32 + i] << 32 | digits[start / 32 + i + 1]) >> (32 - shift));
    uint64_t product = m * ((uint64_t)window[0] << 32 | window[1]) + (m * window[2] >> 32);
    uint64_t turns = (product + ((uint64_t)1 << 61)) >> 62;
    int64_t rest = (int64_t)(product - (turns << 62));
    double angle = (double)rest * 3.4061215800304044e-19; /* 2^-62 pi/2 */
    *w = (float)angle;
    *low = (float)(angle - (double)*w);
    *q = (int32_t)(turns & 3);
}

/* elementary: all functions (sse2) */
#if defined(WF__ISA_SSE2)
/* elementary: reduce the argument of an exponential */
#define WF__LINE_sse2(x, a, b) WF__SSE2_FMA(WF__SSE2_SET1(b), x, WF__SSE2_SET1(a)) /* a + b x */
#define WF__EXPM1_OF_sse2(r, rr, q) WF__SSE2_FMA(rr, WF__SSE2_FMA(r, q, WF__SSE2_SET1(0.5f)), r)

/* x = n ln 2 + r and e^r - 1 = r + r r (1/2 + r q); the last bits of *shifted are n. |x| < 150. */
WF__INLINE_sse2 void wf__exp_reduce_sse2(WF__SSE2_F x, WF__SSE2_F *shifted, WF__SSE2_F *r, WF__SSE2_F *rr, WF__SSE2_F *q)
{
    WF__SSE2_F t = WF__SSE2_FMA(x, WF__SSE2_SET1(WF__LOG2_E), WF__SSE2_SET1(WF__ROUNDER));
    WF__SSE2_F n = WF__SSE2_SUB(t, WF__SSE2_SET1(WF__ROUNDER));
    WF__SSE2_F y = WF__SSE2_FNMA(n, WF__SSE2_SET1(WF__LN2_LOW), WF__SSE2_FNMA(n, WF__SSE2_SET1(WF__LN2_HIGH), x));
    WF__SSE2_F z = WF__SSE2_MUL(y, y);
    *shifted = t;
    *r = y;
    *rr = z;
    *q = WF__SSE2_FMA(WF__SSE2_FMA(WF__SSE2_SET1(WF__EXP_4), z, WF__LINE_sse2(y, WF__EXP_2, WF__EXP_3)), z, WF__LINE_sse2(y, WF__EXP_0, WF__EXP_1));
}

/* elementary: scale by a power of two */
/* (1 + p) 2^n, with n from `shifted`. */
WF__INLINE_sse2 WF__SSE2_F wf__exp_scale_sse2(WF__SSE2_F p, WF__SSE2_F shifted)
{
#ifdef WF__SSE2_SCALE
    return WF__SSE2_SCALE(WF__SSE2_ADD(WF__SSE2_SET1(1.0f), p), WF__SSE2_SUB(shifted, WF__SSE2_SET1(WF__ROUNDER)));
#else
    WF__SSE2_I n = WF__SSE2_ISHL(WF__SSE2_BITS(shifted), 23); /* n 2^23: the other bits fall out on the left */
    WF__SSE2_I half = WF__SSE2_IAND(WF__SSE2_ISRA(n, 1), WF__SSE2_ISET1(-8388608));
    WF__SSE2_F a = WF__SSE2_FLT(WF__SSE2_IADD(half, WF__SSE2_ISET1(0x3F800000)));
    WF__SSE2_F b = WF__SSE2_FLT(WF__SSE2_IADD(WF__SSE2_ISUB(n, half), WF__SSE2_ISET1(0x3F800000)));
    return WF__SSE2_MUL(WF__SSE2_FMA(p, a, a), b);
#endif
}

WF__INLINE_sse2 WF__SSE2_F wf__exp_sse2(WF__SSE2_F x)
{
    WF__SSE2_F t, r, rr, q;
    x = WF__SSE2_MAX(WF__SSE2_SET1(-104.0f), WF__SSE2_MIN(WF__SSE2_SET1(89.0f), x)); /* beyond, the result is 0 or infinite anyway */
    wf__exp_reduce_sse2(x, &t, &r, &rr, &q);
    return wf__exp_scale_sse2(WF__EXPM1_OF_sse2(r, rr, q), t);
}

/* elementary: exponential less one */
WF__INLINE_sse2 WF__SSE2_F wf__expm1_sse2(WF__SSE2_F x)
{
    WF__SSE2_F t, r, rr, q, bounded = WF__SSE2_MAX(WF__SSE2_SET1(-20.0f), WF__SSE2_MIN(WF__SSE2_SET1(89.0f), x));
    wf__exp_reduce_sse2(bounded, &t, &r, &rr, &q);
    WF__SSE2_F n = WF__SSE2_SUB(t, WF__SSE2_SET1(WF__ROUNDER)), a = WF__SSE2_FNMA(n, WF__SSE2_SET1(WF__LN2_HIGH), bounded);
    WF__SSE2_F lost = WF__SSE2_FNMA(n, WF__SSE2_SET1(WF__LN2_LOW), WF__SSE2_SUB(a, r)); /* by rounding r */
    WF__SSE2_F power = WF__SSE2_FLT(WF__SSE2_IADD(WF__SSE2_ISHL(WF__SSE2_BITS(t), 23), WF__SSE2_ISET1(0x3F000000))); /* 2^(n-1) */
    WF__SSE2_F less = WF__SSE2_SUB(power, WF__SSE2_SET1(0.5f));
    WF__SSE2_F high = WF__SSE2_FMA(power, r, less);
    WF__SSE2_F low = WF__SSE2_FMA(power, lost, WF__SSE2_FMA(power, r, WF__SSE2_SUB(less, high)));
    low = WF__SSE2_ADD(low, WF__SSE2_SUB(WF__SSE2_SUB(power, less), WF__SSE2_SET1(0.5f)));
    rr = WF__SSE2_MUL(power, rr);
    WF__SSE2_F y = WF__SSE2_ADD(high, WF__SSE2_FMA(rr, WF__SSE2_SET1(0.5f), WF__SSE2_FMA(WF__SSE2_MUL(rr, r), q, low)));
    return WF__SSE2_SEL(WF__SSE2_LT(WF__SSE2_ABS(x), WF__SSE2_SET1(5.9604645e-8f)), x, WF__SSE2_ADD(y, y));
}

/* elementary: hyperbolic tangent */
WF__INLINE_sse2 WF__SSE2_F wf__tanh_sse2(WF__SSE2_F x)
{
    WF__SSE2_F t, r, rr, q, a = WF__SSE2_ABS(x);
    wf__exp_reduce_sse2(WF__SSE2_MAX(WF__SSE2_SET1(-20.0f), WF__SSE2_MUL(a, WF__SSE2_SET1(-2.0f))), &t, &r, &rr, &q);
    WF__SSE2_F power = WF__SSE2_FLT(WF__SSE2_IADD(WF__SSE2_ISHL(WF__SSE2_BITS(t), 23), WF__SSE2_ISET1(0x3F800000)));
    WF__SSE2_F d = WF__SSE2_FNMA(power, WF__EXPM1_OF_sse2(r, rr, q), WF__SSE2_SUB(WF__SSE2_SET1(1.0f), power));
    return WF__SSE2_OR(WF__SSE2_DIV(d, WF__SSE2_SUB(WF__SSE2_SET1(2.0f), d)), WF__SSE2_SIGN(x));
}

/* elementary: sigmoid */
/* e^-|x| */
WF__INLINE_sse2 WF__SSE2_F wf__exp_down_sse2(WF__SSE2_F x)
{
    WF__SSE2_F t, r, rr, q;
    wf__exp_reduce_sse2(WF__SSE2_MAX(WF__SSE2_SET1(-104.0f), WF__SSE2_OR(x, WF__SSE2_SET1(-0.0f))), &t, &r, &rr, &q);
    return wf__exp_scale_sse2(WF__EXPM1_OF_sse2(r, rr, q), t);
}

WF__INLINE_sse2 WF__SSE2_F wf__sigmoid_sse2(WF__SSE2_F x)
{
    WF__SSE2_F e = wf__exp_down_sse2(x), one = WF__SSE2_SET1(1.0f);
    return WF__SSE2_DIV(WF__SSE2_SEL(WF__SSE2_LT(x, WF__SSE2_ZERO), e, one), WF__SSE2_ADD(one, e));
}

/* elementary: logarithm of one plus a small number */
/* log(1 + f) - f + more for f between sqrt(1/2) - 1 and sqrt(2) - 1. */
WF__INLINE_sse2 WF__SSE2_F wf__log_series_sse2(WF__SSE2_F f, WF__SSE2_F more)
{
    WF__SSE2_F z = WF__SSE2_MUL(f, f), zz = WF__SSE2_MUL(z, z);
    WF__SSE2_F low = WF__SSE2_FMA(WF__LINE_sse2(f, WF__LOG_2, WF__LOG_3), z, WF__LINE_sse2(f, WF__LOG_0, WF__LOG_1));
    WF__SSE2_F high = WF__SSE2_FMA(WF__LINE_sse2(f, WF__LOG_6, WF__LOG_7), z, WF__LINE_sse2(f, WF__LOG_4, WF__LOG_5));
    WF__SSE2_F q = WF__SSE2_FMA(WF__SSE2_FMA(WF__SSE2_SET1(WF__LOG_8), zz, high), zz, low);
    return WF__SSE2_FMA(z, WF__SSE2_FMA(f, q, WF__SSE2_SET1(-0.5f)), more);
}

/* x = (1 + *f) 2^*e */
WF__INLINE_sse2 WF__SSE2_I wf__log_split_sse2(WF__SSE2_F x, WF__SSE2_F *f)
{
    WF__SSE2_I e = WF__SSE2_ISRA(WF__SSE2_ISUB(WF__SSE2_BITS(x), WF__SSE2_ISET1(0x3F3504F3)), 23);
    *f = WF__SSE2_SUB(WF__SSE2_FLT(WF__SSE2_ISUB(WF__SSE2_BITS(x), WF__SSE2_ISHL(e, 23))), WF__SSE2_SET1(1.0f));
    return e;
}

/* elementary: logarithm */
/* y, the logarithm of x, unless x is special. */
WF__INLINE_sse2 WF__SSE2_F wf__log_special_sse2(WF__SSE2_F x, WF__SSE2_F y)
{
    WF__SSE2_F bad = WF__SSE2_SEL(WF__SSE2_EQ(x, WF__SSE2_ZERO), WF__SSE2_FLT(WF__SSE2_ISET1(-8388608)), WF__SSE2_FLT(WF__SSE2_ISET1(0x7FC00000))); /* -inf, or not a number */
    y = WF__SSE2_SEL(WF__SSE2_LT(x, WF__SSE2_FLT(WF__SSE2_ISET1(0x7F800000))), y, x);
    return WF__SSE2_SEL(WF__SSE2_LT(WF__SSE2_ZERO, x), y, bad);
}

WF__INLINE_sse2 WF__SSE2_F wf__log_sse2(WF__SSE2_F x)
{
    WF__SSE2_F f, smallest = WF__SSE2_SET1(1.17549435e-38f), scaled = WF__SSE2_SEL(WF__SSE2_LT(x, smallest), WF__SSE2_MUL(x, WF__SSE2_SET1(8388608.0f)), x);
    WF__SSE2_F e = WF__SSE2_TOF(wf__log_split_sse2(scaled, &f));
    e = WF__SSE2_SUB(e, WF__SSE2_SEL(WF__SSE2_LT(x, smallest), WF__SSE2_SET1(23.0f), WF__SSE2_ZERO));
    WF__SSE2_F y = WF__SSE2_ADD(f, wf__log_series_sse2(f, WF__SSE2_MUL(e, WF__SSE2_SET1(WF__LN2_LOW))));
    return wf__log_special_sse2(x, WF__SSE2_FMA(e, WF__SSE2_SET1(WF__LN2_HIGH), y));
}

/* elementary: logarithm of one plus */
WF__INLINE_sse2 WF__SSE2_F wf__log1p_sse2(WF__SSE2_F x)
{
    WF__SSE2_F one = WF__SSE2_SET1(1.0f), half = WF__SSE2_SET1(0.5f), f, u = WF__SSE2_ADD(one, x), d = WF__SSE2_SUB(u, one);
    WF__SSE2_F lost = WF__SSE2_ADD(WF__SSE2_SUB(one, WF__SSE2_SUB(u, d)), WF__SSE2_SUB(x, d));
    WF__SSE2_I n = wf__log_split_sse2(u, &f);
    WF__SSE2_F twice = WF__SSE2_FLT(WF__SSE2_ISUB(WF__SSE2_ISET1(0x40000000), WF__SSE2_ISHL(n, 23))); /* 2^(1-e), 0 for e = 128 */
    WF__SSE2_F quotient = WF__SSE2_MUL(WF__SSE2_MUL(lost, twice), WF__SSE2_FMA(f, WF__SSE2_FMA(f, half, WF__SSE2_SET1(-0.5f)), half));
    WF__SSE2_F e = WF__SSE2_TOF(n), y = wf__log_series_sse2(f, WF__SSE2_FMA(e, WF__SSE2_SET1(WF__LN2_LOW), quotient));
    y = WF__SSE2_FMA(e, WF__SSE2_SET1(WF__LN2_HIGH), WF__SSE2_ADD(f, y));
    return WF__SSE2_OR(wf__log_special_sse2(u, y), WF__SSE2_SIGN(x));
}

/* elementary: softplus */
WF__INLINE_sse2 WF__SSE2_F wf__softplus_sse2(WF__SSE2_F x)
{
    WF__SSE2_F e = wf__exp_down_sse2(x), half = WF__SSE2_SET1(0.5f);
    WF__SSE2_M large = WF__SSE2_LT(WF__SSE2_SET1(0.41421356f), e);
    WF__SSE2_F f = WF__SSE2_SEL(large, WF__SSE2_FMA(e, half, WF__SSE2_SET1(-0.5f)), e);
    WF__SSE2_F high = WF__SSE2_SEL(large, WF__SSE2_SET1(WF__LN2_HIGH), WF__SSE2_ZERO), low = WF__SSE2_SEL(large, WF__SSE2_SET1(WF__LN2_LOW), WF__SSE2_ZERO);
    WF__SSE2_F y = WF__SSE2_ADD(WF__SSE2_ADD(high, f), wf__log_series_sse2(f, low));
    return WF__SSE2_ADD(WF__SSE2_MAX(WF__SSE2_ZERO, x), y);
}

/* elementary: error function */
WF__INLINE_sse2 WF__SSE2_F wf__erf_sse2(WF__SSE2_F x)
{
    WF__SSE2_F a = WF__SSE2_MIN(WF__SSE2_SET1(3.95f), WF__SSE2_ABS(x)), z = WF__SSE2_MUL(a, a), t, r, rr, q;
    WF__SSE2_F zz = WF__SSE2_MUL(z, z), p = WF__SSE2_FMA(WF__SSE2_SET1(WF__ERF_6), zz, WF__LINE_sse2(z, WF__ERF_4, WF__ERF_5));
    p = WF__SSE2_FMA(p, zz, WF__LINE_sse2(z, WF__ERF_2, WF__ERF_3));
    p = WF__SSE2_FMA(p, zz, WF__LINE_sse2(z, WF__ERF_0, WF__ERF_1));
    WF__SSE2_F g = WF__SSE2_FMA(WF__LINE_sse2(a, WF__ERFC_6, WF__ERFC_7), z, WF__LINE_sse2(a, WF__ERFC_4, WF__ERFC_5));
    g = WF__SSE2_FMA(g, z, WF__LINE_sse2(a, WF__ERFC_2, WF__ERFC_3));
    g = WF__SSE2_FMA(g, z, WF__LINE_sse2(a, WF__ERFC_0, WF__ERFC_1));
    wf__exp_reduce_sse2(WF__SSE2_NEG(g), &t, &r, &rr, &q);
    WF__SSE2_F tail = WF__SSE2_SUB(WF__SSE2_SET1(1.0f), wf__exp_scale_sse2(WF__EXPM1_OF_sse2(r, rr, q), t));
    return WF__SSE2_OR(WF__SSE2_SEL(WF__SSE2_LT(a, WF__SSE2_SET1(1.0f)), WF__SSE2_FMA(a, p, a), tail), WF__SSE2_SIGN(x));
}

/* elementary: reduce an angle */
/* x = n pi/2 + w + low, n in the last bits of *q; 0 <= x <= 1e5. */
WF__INLINE_sse2 void wf__angle_sse2(WF__SSE2_F x, WF__SSE2_F *w, WF__SSE2_F *low, WF__SSE2_I *q)
{
    WF__SSE2_F t = WF__SSE2_FMA(x, WF__SSE2_SET1(0.636619772f), WF__SSE2_SET1(WF__ROUNDER));
    WF__SSE2_F n = WF__SSE2_SUB(t, WF__SSE2_SET1(WF__ROUNDER)), a;
    *q = WF__SSE2_BITS(t);
    if (WF__SSE2_FUSED) {
        a = WF__SSE2_FNMA(n, WF__SSE2_SET1(1.57079637f), x);
        WF__SSE2_F p = WF__SSE2_FMA(n, WF__SSE2_SET1(4.37113883e-8f), WF__SSE2_ZERO), rest = WF__SSE2_FNMA(n, WF__SSE2_SET1(4.37113883e-8f), p);
        *w = WF__SSE2_ADD(a, p);
        *low = WF__SSE2_FMA(n, WF__SSE2_SET1(1.71512451e-15f), WF__SSE2_SUB(WF__SSE2_ADD(WF__SSE2_SUB(a, *w), p), rest));
    } else {
        WF__SSE2_F p = WF__SSE2_MUL(n, WF__SSE2_SET1(2.56334415e-12f));
        a = WF__SSE2_FNMA(n, WF__SSE2_SET1(7.54953362e-8f), WF__SSE2_FNMA(n, WF__SSE2_SET1(4.83751297e-4f), WF__SSE2_FNMA(n, WF__SSE2_SET1(1.5703125f), x)));
        *w = WF__SSE2_SUB(a, p);
        *low = WF__SSE2_SUB(WF__SSE2_SUB(a, *w), p);
    }
}

/* elementary: repair large angles */
WF__KERNEL_sse2 void wf__angles_large_sse2(const float *x, float *w, float *low, int32_t *q)
{
    for (int i = 0; i < WF__SSE2_W; i++) {
        if (!(x[i] > 1e5f)) continue;
        if (wf__finite_f32(x[i])) wf__angle_large(x[i], w + i, low + i, q + i);
        else w[i] = x[i] - x[i];
    }
}

/* elementary: reduce any angle */
WF__INLINE_sse2 void wf__angle_any_sse2(WF__SSE2_F x, WF__SSE2_F *w, WF__SSE2_F *low, WF__SSE2_I *n)
{
    wf__angle_sse2(x, w, low, n);
    if (!WF__SSE2_ANY(WF__SSE2_LT(WF__SSE2_SET1(1e5f), x))) return;
    float in[WF__SSE2_W], out[2 * WF__SSE2_W];
    int32_t turns[WF__SSE2_W];
    WF__SSE2_ST(in, x);
    WF__SSE2_ST(out, *w);
    WF__SSE2_ST(out + WF__SSE2_W, *low);
    WF__SSE2_IST(turns, *n);
    wf__angles_large_sse2(in, out, out + WF__SSE2_W, turns);
    *w = WF__SSE2_LD(out);
    *low = WF__SSE2_LD(out + WF__SSE2_W);
    *n = WF__SSE2_ILD(turns);
}

/* elementary: sine and cosine */
/* The sine of |x| + quarter pi/2. */
WF__INLINE_sse2 WF__SSE2_F wf__wave_sse2(WF__SSE2_F x, int quarter)
{
    WF__SSE2_F w, low;
    WF__SSE2_I n;
    wf__angle_any_sse2(WF__SSE2_ABS(x), &w, &low, &n);
    WF__SSE2_F one = WF__SSE2_SET1(1.0f), half = WF__SSE2_SET1(0.5f), z = WF__SSE2_MUL(w, w), zz = WF__SSE2_MUL(z, z);
    WF__SSE2_F s = WF__SSE2_FMA(WF__LINE_sse2(z, WF__SIN_2, WF__SIN_3), zz, WF__LINE_sse2(z, WF__SIN_0, WF__SIN_1));
    WF__SSE2_F c = WF__SSE2_FMA(WF__SSE2_SET1(WF__COS_2), zz, WF__LINE_sse2(z, WF__COS_0, WF__COS_1));
    WF__SSE2_F high = WF__SSE2_FNMA(half, z, one), lost = WF__SSE2_FNMA(half, z, WF__SSE2_SUB(one, high));
    s = WF__SSE2_ADD(w, WF__SSE2_FMA(WF__SSE2_MUL(z, w), s, low));
    c = WF__SSE2_ADD(high, WF__SSE2_FMA(zz, c, WF__SSE2_FNMA(w, low, lost)));
    n = WF__SSE2_IADD(n, WF__SSE2_ISET1(quarter));
    return WF__SSE2_XOR(WF__SSE2_SEL(WF__SSE2_ODD(n), c, s), WF__SSE2_FLT(WF__SSE2_ISHL(WF__SSE2_IAND(n, WF__SSE2_ISET1(2)), 30)));
}

WF__INLINE_sse2 WF__SSE2_F wf__sin_sse2(WF__SSE2_F x) { return WF__SSE2_XOR(wf__wave_sse2(x, 0), WF__SSE2_SIGN(x)); }
WF__INLINE_sse2 WF__SSE2_F wf__cos_sse2(WF__SSE2_F x) { return wf__wave_sse2(x, 1); }

/* elementary: angle of a point */
WF__INLINE_sse2 WF__SSE2_F wf__atan2_sse2(WF__SSE2_F y, WF__SSE2_F x)
{
    WF__SSE2_F a = WF__SSE2_ABS(y), b = WF__SSE2_ABS(x), large = WF__SSE2_MAX(a, b), small = WF__SSE2_MIN(a, b), t = WF__SSE2_DIV(small, large), z;
    t = WF__SSE2_SEL(WF__SSE2_EQ(small, large), WF__SSE2_SET1(1.0f), t); /* two infinities */
    t = WF__SSE2_SEL(WF__SSE2_EQ(large, WF__SSE2_ZERO), WF__SSE2_ZERO, t);
    z = WF__SSE2_MUL(t, t);
    WF__SSE2_F zz = WF__SSE2_MUL(z, z), p = WF__SSE2_FMA(WF__LINE_sse2(z, WF__ATAN_6, WF__ATAN_7), zz, WF__LINE_sse2(z, WF__ATAN_4, WF__ATAN_5));
    p = WF__SSE2_FMA(p, zz, WF__LINE_sse2(z, WF__ATAN_2, WF__ATAN_3));
    p = WF__SSE2_FMA(p, zz, WF__LINE_sse2(z, WF__ATAN_0, WF__ATAN_1));
    p = WF__SSE2_FMA(WF__SSE2_MUL(z, t), p, t);
    p = WF__SSE2_SEL(WF__SSE2_LT(b, a), WF__SSE2_SUB(WF__SSE2_SET1(1.57079637f), p), p);
    p = WF__SSE2_SEL(WF__SSE2_LT(WF__SSE2_OR(WF__SSE2_SIGN(x), WF__SSE2_SET1(1.0f)), WF__SSE2_ZERO), WF__SSE2_SUB(WF__SSE2_SET1(3.14159274f), p), p);
    return WF__SSE2_SEL(WF__SSE2_EQ(y, y), WF__SSE2_OR(p, WF__SSE2_SIGN(y)), y);
}
#endif

/* elementary: all functions (avx2) */
#if defined(WF__ISA_AVX2)
/* elementary: reduce the argument of an exponential */
#define WF__LINE_avx2(x, a, b) WF__AVX2_FMA(WF__AVX2_SET1(b), x, WF__AVX2_SET1(a)) /* a + b x */
#define WF__EXPM1_OF_avx2(r, rr, q) WF__AVX2_FMA(rr, WF__AVX2_FMA(r, q, WF__AVX2_SET1(0.5f)), r)

/* x = n ln 2 + r and e^r - 1 = r + r r (1/2 + r q); the last bits of *shifted are n. |x| < 150. */
WF__INLINE_avx2 void wf__exp_reduce_avx2(WF__AVX2_F x, WF__AVX2_F *shifted, WF__AVX2_F *r, WF__AVX2_F *rr, WF__AVX2_F *q)
{
    WF__AVX2_F t = WF__AVX2_FMA(x, WF__AVX2_SET1(WF__LOG2_E), WF__AVX2_SET1(WF__ROUNDER));
    WF__AVX2_F n = WF__AVX2_SUB(t, WF__AVX2_SET1(WF__ROUNDER));
    WF__AVX2_F y = WF__AVX2_FNMA(n, WF__AVX2_SET1(WF__LN2_LOW), WF__AVX2_FNMA(n, WF__AVX2_SET1(WF__LN2_HIGH), x));
    WF__AVX2_F z = WF__AVX2_MUL(y, y);
    *shifted = t;
    *r = y;
    *rr = z;
    *q = WF__AVX2_FMA(WF__AVX2_FMA(WF__AVX2_SET1(WF__EXP_4), z, WF__LINE_avx2(y, WF__EXP_2, WF__EXP_3)), z, WF__LINE_avx2(y, WF__EXP_0, WF__EXP_1));
}

/* elementary: scale by a power of two */
/* (1 + p) 2^n, with n from `shifted`. */
WF__INLINE_avx2 WF__AVX2_F wf__exp_scale_avx2(WF__AVX2_F p, WF__AVX2_F shifted)
{
#ifdef WF__AVX2_SCALE
    return WF__AVX2_SCALE(WF__AVX2_ADD(WF__AVX2_SET1(1.0f), p), WF__AVX2_SUB(shifted, WF__AVX2_SET1(WF__ROUNDER)));
#else
    WF__AVX2_I n = WF__AVX2_ISHL(WF__AVX2_BITS(shifted), 23); /* n 2^23: the other bits fall out on the left */
    WF__AVX2_I half = WF__AVX2_IAND(WF__AVX2_ISRA(n, 1), WF__AVX2_ISET1(-8388608));
    WF__AVX2_F a = WF__AVX2_FLT(WF__AVX2_IADD(half, WF__AVX2_ISET1(0x3F800000)));
    WF__AVX2_F b = WF__AVX2_FLT(WF__AVX2_IADD(WF__AVX2_ISUB(n, half), WF__AVX2_ISET1(0x3F800000)));
    return WF__AVX2_MUL(WF__AVX2_FMA(p, a, a), b);
#endif
}

WF__INLINE_avx2 WF__AVX2_F wf__exp_avx2(WF__AVX2_F x)
{
    WF__AVX2_F t, r, rr, q;
    x = WF__AVX2_MAX(WF__AVX2_SET1(-104.0f), WF__AVX2_MIN(WF__AVX2_SET1(89.0f), x)); /* beyond, the result is 0 or infinite anyway */
    wf__exp_reduce_avx2(x, &t, &r, &rr, &q);
    return wf__exp_scale_avx2(WF__EXPM1_OF_avx2(r, rr, q), t);
}

/* elementary: exponential less one */
WF__INLINE_avx2 WF__AVX2_F wf__expm1_avx2(WF__AVX2_F x)
{
    WF__AVX2_F t, r, rr, q, bounded = WF__AVX2_MAX(WF__AVX2_SET1(-20.0f), WF__AVX2_MIN(WF__AVX2_SET1(89.0f), x));
    wf__exp_reduce_avx2(bounded, &t, &r, &rr, &q);
    WF__AVX2_F n = WF__AVX2_SUB(t, WF__AVX2_SET1(WF__ROUNDER)), a = WF__AVX2_FNMA(n, WF__AVX2_SET1(WF__LN2_HIGH), bounded);
    WF__AVX2_F lost = WF__AVX2_FNMA(n, WF__AVX2_SET1(WF__LN2_LOW), WF__AVX2_SUB(a, r)); /* by rounding r */
    WF__AVX2_F power = WF__AVX2_FLT(WF__AVX2_IADD(WF__AVX2_ISHL(WF__AVX2_BITS(t), 23), WF__AVX2_ISET1(0x3F000000))); /* 2^(n-1) */
    WF__AVX2_F less = WF__AVX2_SUB(power, WF__AVX2_SET1(0.5f));
    WF__AVX2_F high = WF__AVX2_FMA(power, r, less);
    WF__AVX2_F low = WF__AVX2_FMA(power, lost, WF__AVX2_FMA(power, r, WF__AVX2_SUB(less, high)));
    low = WF__AVX2_ADD(low, WF__AVX2_SUB(WF__AVX2_SUB(power, less), WF__AVX2_SET1(0.5f)));
    rr = WF__AVX2_MUL(power, rr);
    WF__AVX2_F y = WF__AVX2_ADD(high, WF__AVX2_FMA(rr, WF__AVX2_SET1(0.5f), WF__AVX2_FMA(WF__AVX2_MUL(rr, r), q, low)));
    return WF__AVX2_SEL(WF__AVX2_LT(WF__AVX2_ABS(x), WF__AVX2_SET1(5.9604645e-8f)), x, WF__AVX2_ADD(y, y));
}

/* elementary: hyperbolic tangent */
WF__INLINE_avx2 WF__AVX2_F wf__tanh_avx2(WF__AVX2_F x)
{
    WF__AVX2_F t, r, rr, q, a = WF__AVX2_ABS(x);
    wf__exp_reduce_avx2(WF__AVX2_MAX(WF__AVX2_SET1(-20.0f), WF__AVX2_MUL(a, WF__AVX2_SET1(-2.0f))), &t, &r, &rr, &q);
    WF__AVX2_F power = WF__AVX2_FLT(WF__AVX2_IADD(WF__AVX2_ISHL(WF__AVX2_BITS(t), 23), WF__AVX2_ISET1(0x3F800000)));
    WF__AVX2_F d = WF__AVX2_FNMA(power, WF__EXPM1_OF_avx2(r, rr, q), WF__AVX2_SUB(WF__AVX2_SET1(1.0f), power));
    return WF__AVX2_OR(WF__AVX2_DIV(d, WF__AVX2_SUB(WF__AVX2_SET1(2.0f), d)), WF__AVX2_SIGN(x));
}

/* elementary: sigmoid */
/* e^-|x| */
WF__INLINE_avx2 WF__AVX2_F wf__exp_down_avx2(WF__AVX2_F x)
{
    WF__AVX2_F t, r, rr, q;
    wf__exp_reduce_avx2(WF__AVX2_MAX(WF__AVX2_SET1(-104.0f), WF__AVX2_OR(x, WF__AVX2_SET1(-0.0f))), &t, &r, &rr, &q);
    return wf__exp_scale_avx2(WF__EXPM1_OF_avx2(r, rr, q), t);
}

WF__INLINE_avx2 WF__AVX2_F wf__sigmoid_avx2(WF__AVX2_F x)
{
    WF__AVX2_F e = wf__exp_down_avx2(x), one = WF__AVX2_SET1(1.0f);
    return WF__AVX2_DIV(WF__AVX2_SEL(WF__AVX2_LT(x, WF__AVX2_ZERO), e, one), WF__AVX2_ADD(one, e));
}

/* elementary: logarithm of one plus a small number */
/* log(1 + f) - f + more for f between sqrt(1/2) - 1 and sqrt(2) - 1. */
WF__INLINE_avx2 WF__AVX2_F wf__log_series_avx2(WF__AVX2_F f, WF__AVX2_F more)
{
    WF__AVX2_F z = WF__AVX2_MUL(f, f), zz = WF__AVX2_MUL(z, z);
    WF__AVX2_F low = WF__AVX2_FMA(WF__LINE_avx2(f, WF__LOG_2, WF__LOG_3), z, WF__LINE_avx2(f, WF__LOG_0, WF__LOG_1));
    WF__AVX2_F high = WF__AVX2_FMA(WF__LINE_avx2(f, WF__LOG_6, WF__LOG_7), z, WF__LINE_avx2(f, WF__LOG_4, WF__LOG_5));
    WF__AVX2_F q = WF__AVX2_FMA(WF__AVX2_FMA(WF__AVX2_SET1(WF__LOG_8), zz, high), zz, low);
    return WF__AVX2_FMA(z, WF__AVX2_FMA(f, q, WF__AVX2_SET1(-0.5f)), more);
}

/* x = (1 + *f) 2^*e */
WF__INLINE_avx2 WF__AVX2_I wf__log_split_avx2(WF__AVX2_F x, WF__AVX2_F *f)
{
    WF__AVX2_I e = WF__AVX2_ISRA(WF__AVX2_ISUB(WF__AVX2_BITS(x), WF__AVX2_ISET1(0x3F3504F3)), 23);
    *f = WF__AVX2_SUB(WF__AVX2_FLT(WF__AVX2_ISUB(WF__AVX2_BITS(x), WF__AVX2_ISHL(e, 23))), WF__AVX2_SET1(1.0f));
    return e;
}

/* elementary: logarithm */
/* y, the logarithm of x, unless x is special. */
WF__INLINE_avx2 WF__AVX2_F wf__log_special_avx2(WF__AVX2_F x, WF__AVX2_F y)
{
    WF__AVX2_F bad = WF__AVX2_SEL(WF__AVX2_EQ(x, WF__AVX2_ZERO), WF__AVX2_FLT(WF__AVX2_ISET1(-8388608)), WF__AVX2_FLT(WF__AVX2_ISET1(0x7FC00000))); /* -inf, or not a number */
    y = WF__AVX2_SEL(WF__AVX2_LT(x, WF__AVX2_FLT(WF__AVX2_ISET1(0x7F800000))), y, x);
    return WF__AVX2_SEL(WF__AVX2_LT(WF__AVX2_ZERO, x), y, bad);
}

WF__INLINE_avx2 WF__AVX2_F wf__log_avx2(WF__AVX2_F x)
{
    WF__AVX2_F f, smallest = WF__AVX2_SET1(1.17549435e-38f), scaled = WF__AVX2_SEL(WF__AVX2_LT(x, smallest), WF__AVX2_MUL(x, WF__AVX2_SET1(8388608.0f)), x);
    WF__AVX2_F e = WF__AVX2_TOF(wf__log_split_avx2(scaled, &f));
    e = WF__AVX2_SUB(e, WF__AVX2_SEL(WF__AVX2_LT(x, smallest), WF__AVX2_SET1(23.0f), WF__AVX2_ZERO));
    WF__AVX2_F y = WF__AVX2_ADD(f, wf__log_series_avx2(f, WF__AVX2_MUL(e, WF__AVX2_SET1(WF__LN2_LOW))));
    return wf__log_special_avx2(x, WF__AVX2_FMA(e, WF__AVX2_SET1(WF__LN2_HIGH), y));
}

/* elementary: logarithm of one plus */
WF__INLINE_avx2 WF__AVX2_F wf__log1p_avx2(WF__AVX2_F x)
{
    WF__AVX2_F one = WF__AVX2_SET1(1.0f), half = WF__AVX2_SET1(0.5f), f, u = WF__AVX2_ADD(one, x), d = WF__AVX2_SUB(u, one);
    WF__AVX2_F lost = WF__AVX2_ADD(WF__AVX2_SUB(one, WF__AVX2_SUB(u, d)), WF__AVX2_SUB(x, d));
    WF__AVX2_I n = wf__log_split_avx2(u, &f);
    WF__AVX2_F twice = WF__AVX2_FLT(WF__AVX2_ISUB(WF__AVX2_ISET1(0x40000000), WF__AVX2_ISHL(n, 23))); /* 2^(1-e), 0 for e = 128 */
    WF__AVX2_F quotient = WF__AVX2_MUL(WF__AVX2_MUL(lost, twice), WF__AVX2_FMA(f, WF__AVX2_FMA(f, half, WF__AVX2_SET1(-0.5f)), half));
    WF__AVX2_F e = WF__AVX2_TOF(n), y = wf__log_series_avx2(f, WF__AVX2_FMA(e, WF__AVX2_SET1(WF__LN2_LOW), quotient));
    y = WF__AVX2_FMA(e, WF__AVX2_SET1(WF__LN2_HIGH), WF__AVX2_ADD(f, y));
    return WF__AVX2_OR(wf__log_special_avx2(u, y), WF__AVX2_SIGN(x));
}

/* elementary: softplus */
WF__INLINE_avx2 WF__AVX2_F wf__softplus_avx2(WF__AVX2_F x)
{
    WF__AVX2_F e = wf__exp_down_avx2(x), half = WF__AVX2_SET1(0.5f);
    WF__AVX2_M large = WF__AVX2_LT(WF__AVX2_SET1(0.41421356f), e);
    WF__AVX2_F f = WF__AVX2_SEL(large, WF__AVX2_FMA(e, half, WF__AVX2_SET1(-0.5f)), e);
    WF__AVX2_F high = WF__AVX2_SEL(large, WF__AVX2_SET1(WF__LN2_HIGH), WF__AVX2_ZERO), low = WF__AVX2_SEL(large, WF__AVX2_SET1(WF__LN2_LOW), WF__AVX2_ZERO);
    WF__AVX2_F y = WF__AVX2_ADD(WF__AVX2_ADD(high, f), wf__log_series_avx2(f, low));
    return WF__AVX2_ADD(WF__AVX2_MAX(WF__AVX2_ZERO, x), y);
}

/* elementary: error function */
WF__INLINE_avx2 WF__AVX2_F wf__erf_avx2(WF__AVX2_F x)
{
    WF__AVX2_F a = WF__AVX2_MIN(WF__AVX2_SET1(3.95f), WF__AVX2_ABS(x)), z = WF__AVX2_MUL(a, a), t, r, rr, q;
    WF__AVX2_F zz = WF__AVX2_MUL(z, z), p = WF__AVX2_FMA(WF__AVX2_SET1(WF__ERF_6), zz, WF__LINE_avx2(z, WF__ERF_4, WF__ERF_5));
    p = WF__AVX2_FMA(p, zz, WF__LINE_avx2(z, WF__ERF_2, WF__ERF_3));
    p = WF__AVX2_FMA(p, zz, WF__LINE_avx2(z, WF__ERF_0, WF__ERF_1));
    WF__AVX2_F g = WF__AVX2_FMA(WF__LINE_avx2(a, WF__ERFC_6, WF__ERFC_7), z, WF__LINE_avx2(a, WF__ERFC_4, WF__ERFC_5));
    g = WF__AVX2_FMA(g, z, WF__LINE_avx2(a, WF__ERFC_2, WF__ERFC_3));
    g = WF__AVX2_FMA(g, z, WF__LINE_avx2(a, WF__ERFC_0, WF__ERFC_1));
    wf__exp_reduce_avx2(WF__AVX2_NEG(g), &t, &r, &rr, &q);
    WF__AVX2_F tail = WF__AVX2_SUB(WF__AVX2_SET1(1.0f), wf__exp_scale_avx2(WF__EXPM1_OF_avx2(r, rr, q), t));
    return WF__AVX2_OR(WF__AVX2_SEL(WF__AVX2_LT(a, WF__AVX2_SET1(1.0f)), WF__AVX2_FMA(a, p, a), tail), WF__AVX2_SIGN(x));
}

/* elementary: reduce an angle */
/* x = n pi/2 + w + low, n in the last bits of *q; 0 <= x <= 1e5. */
WF__INLINE_avx2 void wf__angle_avx2(WF__AVX2_F x, WF__AVX2_F *w, WF__AVX2_F *low, WF__AVX2_I *q)
{
    WF__AVX2_F t = WF__AVX2_FMA(x, WF__AVX2_SET1(0.636619772f), WF__AVX2_SET1(WF__ROUNDER));
    WF__AVX2_F n = WF__AVX2_SUB(t, WF__AVX2_SET1(WF__ROUNDER)), a;
    *q = WF__AVX2_BITS(t);
    if (WF__AVX2_FUSED) {
        a = WF__AVX2_FNMA(n, WF__AVX2_SET1(1.57079637f), x);
        WF__AVX2_F p = WF__AVX2_FMA(n, WF__AVX2_SET1(4.37113883e-8f), WF__AVX2_ZERO), rest = WF__AVX2_FNMA(n, WF__AVX2_SET1(4.37113883e-8f), p);
        *w = WF__AVX2_ADD(a, p);
        *low = WF__AVX2_FMA(n, WF__AVX2_SET1(1.71512451e-15f), WF__AVX2_SUB(WF__AVX2_ADD(WF__AVX2_SUB(a, *w), p), rest));
    } else {
        WF__AVX2_F p = WF__AVX2_MUL(n, WF__AVX2_SET1(2.56334415e-12f));
        a = WF__AVX2_FNMA(n, WF__AVX2_SET1(7.54953362e-8f), WF__AVX2_FNMA(n, WF__AVX2_SET1(4.83751297e-4f), WF__AVX2_FNMA(n, WF__AVX2_SET1(1.5703125f), x)));
        *w = WF__AVX2_SUB(a, p);
        *low = WF__AVX2_SUB(WF__AVX2_SUB(a, *w), p);
    }
}

/* elementary: repair large angles */
WF__KERNEL_avx2 void wf__angles_large_avx2(const float *x, float *w, float *low, int32_t *q)
{
    for (int i = 0; i < WF__AVX2_W; i++) {
        if (!(x[i] > 1e5f)) continue;
        if (wf__finite_f32(x[i])) wf__angle_large(x[i], w + i, low + i, q + i);
        else w[i] = x[i] - x[i];
    }
}

/* elementary: reduce any angle */
WF__INLINE_avx2 void wf__angle_any_avx2(WF__AVX2_F x, WF__AVX2_F *w, WF__AVX2_F *low, WF__AVX2_I *n)
{
    wf__angle_avx2(x, w, low, n);
    if (!WF__AVX2_ANY(WF__AVX2_LT(WF__AVX2_SET1(1e5f), x))) return;
    float in[WF__AVX2_W], out[2 * WF__AVX2_W];
    int32_t turns[WF__AVX2_W];
    WF__AVX2_ST(in, x);
    WF__AVX2_ST(out, *w);
    WF__AVX2_ST(out + WF__AVX2_W, *low);
    WF__AVX2_IST(turns, *n);
    wf__angles_large_avx2(in, out, out + WF__AVX2_W, turns);
    *w = WF__AVX2_LD(out);
    *low = WF__AVX2_LD(out + WF__AVX2_W);
    *n = WF__AVX2_ILD(turns);
}

/* elementary: sine and cosine */
/* The sine of |x| + quarter pi/2. */
WF__INLINE_avx2 WF__AVX2_F wf__wave_avx2(WF__AVX2_F x, int quarter)
{
    WF__AVX2_F w, low;
    WF__AVX2_I n;
    wf__angle_any_avx2(WF__AVX2_ABS(x), &w, &low, &n);
    WF__AVX2_F one = WF__AVX2_SET1(1.0f), half = WF__AVX2_SET1(0.5f), z = WF__AVX2_MUL(w, w), zz = WF__AVX2_MUL(z, z);
    WF__AVX2_F s = WF__AVX2_FMA(WF__LINE_avx2(z, WF__SIN_2, WF__SIN_3), zz, WF__LINE_avx2(z, WF__SIN_0, WF__SIN_1));
    WF__AVX2_F c = WF__AVX2_FMA(WF__AVX2_SET1(WF__COS_2), zz, WF__LINE_avx2(z, WF__COS_0, WF__COS_1));
    WF__AVX2_F high = WF__AVX2_FNMA(half, z, one), lost = WF__AVX2_FNMA(half, z, WF__AVX2_SUB(one, high));
    s = WF__AVX2_ADD(w, WF__AVX2_FMA(WF__AVX2_MUL(z, w), s, low));
    c = WF__AVX2_ADD(high, WF__AVX2_FMA(zz, c, WF__AVX2_FNMA(w, low, lost)));
    n = WF__AVX2_IADD(n, WF__AVX2_ISET1(quarter));
    return WF__AVX2_XOR(WF__AVX2_SEL(WF__AVX2_ODD(n), c, s), WF__AVX2_FLT(WF__AVX2_ISHL(WF__AVX2_IAND(n, WF__AVX2_ISET1(2)), 30)));
}

WF__INLINE_avx2 WF__AVX2_F wf__sin_avx2(WF__AVX2_F x) { return WF__AVX2_XOR(wf__wave_avx2(x, 0), WF__AVX2_SIGN(x)); }
WF__INLINE_avx2 WF__AVX2_F wf__cos_avx2(WF__AVX2_F x) { return wf__wave_avx2(x, 1); }

/* elementary: angle of a point */
WF__INLINE_avx2 WF__AVX2_F wf__atan2_avx2(WF__AVX2_F y, WF__AVX2_F x)
{
    WF__AVX2_F a = WF__AVX2_ABS(y), b = WF__AVX2_ABS(x), large = WF__AVX2_MAX(a, b), small = WF__AVX2_MIN(a, b), t = WF__AVX2_DIV(small, large), z;
    t = WF__AVX2_SEL(WF__AVX2_EQ(small, large), WF__AVX2_SET1(1.0f), t); /* two infinities */
    t = WF__AVX2_SEL(WF__AVX2_EQ(large, WF__AVX2_ZERO), WF__AVX2_ZERO, t);
    z = WF__AVX2_MUL(t, t);
    WF__AVX2_F zz = WF__AVX2_MUL(z, z), p = WF__AVX2_FMA(WF__LINE_avx2(z, WF__ATAN_6, WF__ATAN_7), zz, WF__LINE_avx2(z, WF__ATAN_4, WF__ATAN_5));
    p = WF__AVX2_FMA(p, zz, WF__LINE_avx2(z, WF__ATAN_2, WF__ATAN_3));
    p = WF__AVX2_FMA(p, zz, WF__LINE_avx2(z, WF__ATAN_0, WF__ATAN_1));
    p = WF__AVX2_FMA(WF__AVX2_MUL(z, t), p, t);
    p = WF__AVX2_SEL(WF__AVX2_LT(b, a), WF__AVX2_SUB(WF__AVX2_SET1(1.57079637f), p), p);
    p = WF__AVX2_SEL(WF__AVX2_LT(WF__AVX2_OR(WF__AVX2_SIGN(x), WF__AVX2_SET1(1.0f)), WF__AVX2_ZERO), WF__AVX2_SUB(WF__AVX2_SET1(3.14159274f), p), p);
    return WF__AVX2_SEL(WF__AVX2_EQ(y, y), WF__AVX2_OR(p, WF__AVX2_SIGN(y)), y);
}
#endif

/* elementary: all functions (avx512) */
#if defined(WF__ISA_AVX512)
/* elementary: reduce the argument of an exponential */
#define WF__LINE_avx512(x, a, b) WF__AVX512_FMA(WF__AVX512_SET1(b), x, WF__AVX512_SET1(a)) /* a + b x */
#define WF__EXPM1_OF_avx512(r, rr, q) WF__AVX512_FMA(rr, WF__AVX512_FMA(r, q, WF__AVX512_SET1(0.5f)), r)

/* x = n ln 2 + r and e^r - 1 = r + r r (1/2 + r q); the last bits of *shifted are n. |x| < 150. */
WF__INLINE_avx512 void wf__exp_reduce_avx512(WF__AVX512_F x, WF__AVX512_F *shifted, WF__AVX512_F *r, WF__AVX512_F *rr, WF__AVX512_F *q)
{
    WF__AVX512_F t = WF__AVX512_FMA(x, WF__AVX512_SET1(WF__LOG2_E), WF__AVX512_SET1(WF__ROUNDER));
    WF__AVX512_F n = WF__AVX512_SUB(t, WF__AVX512_SET1(WF__ROUNDER));
    WF__AVX512_F y = WF__AVX512_FNMA(n, WF__AVX512_SET1(WF__LN2_LOW), WF__AVX512_FNMA(n, WF__AVX512_SET1(WF__LN2_HIGH), x));
    WF__AVX512_F z = WF__AVX512_MUL(y, y);
    *shifted = t;
    *r = y;
    *rr = z;
    *q = WF__AVX512_FMA(WF__AVX512_FMA(WF__AVX512_SET1(WF__EXP_4), z, WF__LINE_avx512(y, WF__EXP_2, WF__EXP_3)), z, WF__LINE_avx512(y, WF__EXP_0, WF__EXP_1));
}

/* elementary: scale by a power of two */
/* (1 + p) 2^n, with n from `shifted`. */
WF__INLINE_avx512 WF__AVX512_F wf__exp_scale_avx512(WF__AVX512_F p, WF__AVX512_F shifted)
{
#ifdef WF__AVX512_SCALE
    return WF__AVX512_SCALE(WF__AVX512_ADD(WF__AVX512_SET1(1.0f), p), WF__AVX512_SUB(shifted, WF__AVX512_SET1(WF__ROUNDER)));
#else
    WF__AVX512_I n = WF__AVX512_ISHL(WF__AVX512_BITS(shifted), 23); /* n 2^23: the other bits fall out on the left */
    WF__AVX512_I half = WF__AVX512_IAND(WF__AVX512_ISRA(n, 1), WF__AVX512_ISET1(-8388608));
    WF__AVX512_F a = WF__AVX512_FLT(WF__AVX512_IADD(half, WF__AVX512_ISET1(0x3F800000)));
    WF__AVX512_F b = WF__AVX512_FLT(WF__AVX512_IADD(WF__AVX512_ISUB(n, half), WF__AVX512_ISET1(0x3F800000)));
    return WF__AVX512_MUL(WF__AVX512_FMA(p, a, a), b);
#endif
}

WF__INLINE_avx512 WF__AVX512_F wf__exp_avx512(WF__AVX512_F x)
{
    WF__AVX512_F t, r, rr, q;
    x = WF__AVX512_MAX(WF__AVX512_SET1(-104.0f), WF__AVX512_MIN(WF__AVX512_SET1(89.0f), x)); /* beyond, the result is 0 or infinite anyway */
    wf__exp_reduce_avx512(x, &t, &r, &rr, &q);
    return wf__exp_scale_avx512(WF__EXPM1_OF_avx512(r, rr, q), t);
}

/* elementary: exponential less one */
WF__INLINE_avx512 WF__AVX512_F wf__expm1_avx512(WF__AVX512_F x)
{
    WF__AVX512_F t, r, rr, q, bounded = WF__AVX512_MAX(WF__AVX512_SET1(-20.0f), WF__AVX512_MIN(WF__AVX512_SET1(89.0f), x));
    wf__exp_reduce_avx512(bounded, &t, &r, &rr, &q);
    WF__AVX512_F n = WF__AVX512_SUB(t, WF__AVX512_SET1(WF__ROUNDER)), a = WF__AVX512_FNMA(n, WF__AVX512_SET1(WF__LN2_HIGH), bounded);
    WF__AVX512_F lost = WF__AVX512_FNMA(n, WF__AVX512_SET1(WF__LN2_LOW), WF__AVX512_SUB(a, r)); /* by rounding r */
    WF__AVX512_F power = WF__AVX512_FLT(WF__AVX512_IADD(WF__AVX512_ISHL(WF__AVX512_BITS(t), 23), WF__AVX512_ISET1(0x3F000000))); /* 2^(n-1) */
    WF__AVX512_F less = WF__AVX512_SUB(power, WF__AVX512_SET1(0.5f));
    WF__AVX512_F high = WF__AVX512_FMA(power, r, less);
    WF__AVX512_F low = WF__AVX512_FMA(power, lost, WF__AVX512_FMA(power, r, WF__AVX512_SUB(less, high)));
    low = WF__AVX512_ADD(low, WF__AVX512_SUB(WF__AVX512_SUB(power, less), WF__AVX512_SET1(0.5f)));
    rr = WF__AVX512_MUL(power, rr);
    WF__AVX512_F y = WF__AVX512_ADD(high, WF__AVX512_FMA(rr, WF__AVX512_SET1(0.5f), WF__AVX512_FMA(WF__AVX512_MUL(rr, r), q, low)));
    return WF__AVX512_SEL(WF__AVX512_LT(WF__AVX512_ABS(x), WF__AVX512_SET1(5.9604645e-8f)), x, WF__AVX512_ADD(y, y));
}

/* elementary: hyperbolic tangent */
WF__INLINE_avx512 WF__AVX512_F wf__tanh_avx512(WF__AVX512_F x)
{
    WF__AVX512_F t, r, rr, q, a = WF__AVX512_ABS(x);
    wf__exp_reduce_avx512(WF__AVX512_MAX(WF__AVX512_SET1(-20.0f), WF__AVX512_MUL(a, WF__AVX512_SET1(-2.0f))), &t, &r, &rr, &q);
    WF__AVX512_F power = WF__AVX512_FLT(WF__AVX512_IADD(WF__AVX512_ISHL(WF__AVX512_BITS(t), 23), WF__AVX512_ISET1(0x3F800000)));
    WF__AVX512_F d = WF__AVX512_FNMA(power, WF__EXPM1_OF_avx512(r, rr, q), WF__AVX512_SUB(WF__AVX512_SET1(1.0f), power));
    return WF__AVX512_OR(WF__AVX512_DIV(d, WF__AVX512_SUB(WF__AVX512_SET1(2.0f), d)), WF__AVX512_SIGN(x));
}

/* elementary: sigmoid */
/* e^-|x| */
WF__INLINE_avx512 WF__AVX512_F wf__exp_down_avx512(WF__AVX512_F x)
{
    WF__AVX512_F t, r, rr, q;
    wf__exp_reduce_avx512(WF__AVX512_MAX(WF__AVX512_SET1(-104.0f), WF__AVX512_OR(x, WF__AVX512_SET1(-0.0f))), &t, &r, &rr, &q);
    return wf__exp_scale_avx512(WF__EXPM1_OF_avx512(r, rr, q), t);
}

WF__INLINE_avx512 WF__AVX512_F wf__sigmoid_avx512(WF__AVX512_F x)
{
    WF__AVX512_F e = wf__exp_down_avx512(x), one = WF__AVX512_SET1(1.0f);
    return WF__AVX512_DIV(WF__AVX512_SEL(WF__AVX512_LT(x, WF__AVX512_ZERO), e, one), WF__AVX512_ADD(one, e));
}

/* elementary: logarithm of one plus a small number */
/* log(1 + f) - f + more for f between sqrt(1/2) - 1 and sqrt(2) - 1. */
WF__INLINE_avx512 WF__AVX512_F wf__log_series_avx512(WF__AVX512_F f, WF__AVX512_F more)
{
    WF__AVX512_F z = WF__AVX512_MUL(f, f), zz = WF__AVX512_MUL(z, z);
    WF__AVX512_F low = WF__AVX512_FMA(WF__LINE_avx512(f, WF__LOG_2, WF__LOG_3), z, WF__LINE_avx512(f, WF__LOG_0, WF__LOG_1));
    WF__AVX512_F high = WF__AVX512_FMA(WF__LINE_avx512(f, WF__LOG_6, WF__LOG_7), z, WF__LINE_avx512(f, WF__LOG_4, WF__LOG_5));
    WF__AVX512_F q = WF__AVX512_FMA(WF__AVX512_FMA(WF__AVX512_SET1(WF__LOG_8), zz, high), zz, low);
    return WF__AVX512_FMA(z, WF__AVX512_FMA(f, q, WF__AVX512_SET1(-0.5f)), more);
}

/* x = (1 + *f) 2^*e */
WF__INLINE_avx512 WF__AVX512_I wf__log_split_avx512(WF__AVX512_F x, WF__AVX512_F *f)
{
    WF__AVX512_I e = WF__AVX512_ISRA(WF__AVX512_ISUB(WF__AVX512_BITS(x), WF__AVX512_ISET1(0x3F3504F3)), 23);
    *f = WF__AVX512_SUB(WF__AVX512_FLT(WF__AVX512_ISUB(WF__AVX512_BITS(x), WF__AVX512_ISHL(e, 23))), WF__AVX512_SET1(1.0f));
    return e;
}

/* elementary: logarithm */
/* y, the logarithm of x, unless x is special. */
WF__INLINE_avx512 WF__AVX512_F wf__log_special_avx512(WF__AVX512_F x, WF__AVX512_F y)
{
    WF__AVX512_F bad = WF__AVX512_SEL(WF__AVX512_EQ(x, WF__AVX512_ZERO), WF__AVX512_FLT(WF__AVX512_ISET1(-8388608)), WF__AVX512_FLT(WF__AVX512_ISET1(0x7FC00000))); /* -inf, or not a number */
    y = WF__AVX512_SEL(WF__AVX512_LT(x, WF__AVX512_FLT(WF__AVX512_ISET1(0x7F800000))), y, x);
    return WF__AVX512_SEL(WF__AVX512_LT(WF__AVX512_ZERO, x), y, bad);
}

WF__INLINE_avx512 WF__AVX512_F wf__log_avx512(WF__AVX512_F x)
{
    WF__AVX512_F f, smallest = WF__AVX512_SET1(1.17549435e-38f), scaled = WF__AVX512_SEL(WF__AVX512_LT(x, smallest), WF__AVX512_MUL(x, WF__AVX512_SET1(8388608.0f)), x);
    WF__AVX512_F e = WF__AVX512_TOF(wf__log_split_avx512(scaled, &f));
    e = WF__AVX512_SUB(e, WF__AVX512_SEL(WF__AVX512_LT(x, smallest), WF__AVX512_SET1(23.0f), WF__AVX512_ZERO));
    WF__AVX512_F y = WF__AVX512_ADD(f, wf__log_series_avx512(f, WF__AVX512_MUL(e, WF__AVX512_SET1(WF__LN2_LOW))));
    return wf__log_special_avx512(x, WF__AVX512_FMA(e, WF__AVX512_SET1(WF__LN2_HIGH), y));
}

/* elementary: logarithm of one plus */
WF__INLINE_avx512 WF__AVX512_F wf__log1p_avx512(WF__AVX512_F x)
{
    WF__AVX512_F one = WF__AVX512_SET1(1.0f), half = WF__AVX512_SET1(0.5f), f, u = WF__AVX512_ADD(one, x), d = WF__AVX512_SUB(u, one);
    WF__AVX512_F lost = WF__AVX512_ADD(WF__AVX512_SUB(one, WF__AVX512_SUB(u, d)), WF__AVX512_SUB(x, d));
    WF__AVX512_I n = wf__log_split_avx512(u, &f);
    WF__AVX512_F twice = WF__AVX512_FLT(WF__AVX512_ISUB(WF__AVX512_ISET1(0x40000000), WF__AVX512_ISHL(n, 23))); /* 2^(1-e), 0 for e = 128 */
    WF__AVX512_F quotient = WF__AVX512_MUL(WF__AVX512_MUL(lost, twice), WF__AVX512_FMA(f, WF__AVX512_FMA(f, half, WF__AVX512_SET1(-0.5f)), half));
    WF__AVX512_F e = WF__AVX512_TOF(n), y = wf__log_series_avx512(f, WF__AVX512_FMA(e, WF__AVX512_SET1(WF__LN2_LOW), quotient));
    y = WF__AVX512_FMA(e, WF__AVX512_SET1(WF__LN2_HIGH), WF__AVX512_ADD(f, y));
    return WF__AVX512_OR(wf__log_special_avx512(u, y), WF__AVX512_SIGN(x));
}

/* elementary: softplus */
WF__INLINE_avx512 WF__AVX512_F wf__softplus_avx512(WF__AVX512_F x)
{
    WF__AVX512_F e = wf__exp_down_avx512(x), half = WF__AVX512_SET1(0.5f);
    WF__AVX512_M large = WF__AVX512_LT(WF__AVX512_SET1(0.41421356f), e);
    WF__AVX512_F f = WF__AVX512_SEL(large, WF__AVX512_FMA(e, half, WF__AVX512_SET1(-0.5f)), e);
    WF__AVX512_F high = WF__AVX512_SEL(large, WF__AVX512_SET1(WF__LN2_HIGH), WF__AVX512_ZERO), low = WF__AVX512_SEL(large, WF__AVX512_SET1(WF__LN2_LOW), WF__AVX512_ZERO);
    WF__AVX512_F y = WF__AVX512_ADD(WF__AVX512_ADD(high, f), wf__log_series_avx512(f, low));
    return WF__AVX512_ADD(WF__AVX512_MAX(WF__AVX512_ZERO, x), y);
}

/* elementary: error function */
WF__INLINE_avx512 WF__AVX512_F wf__erf_avx512(WF__AVX512_F x)
{
    WF__AVX512_F a = WF__AVX512_MIN(WF__AVX512_SET1(3.95f), WF__AVX512_ABS(x)), z = WF__AVX512_MUL(a, a), t, r, rr, q;
    WF__AVX512_F zz = WF__AVX512_MUL(z, z), p = WF__AVX512_FMA(WF__AVX512_SET1(WF__ERF_6), zz, WF__LINE_avx512(z, WF__ERF_4, WF__ERF_5));
    p = WF__AVX512_FMA(p, zz, WF__LINE_avx512(z, WF__ERF_2, WF__ERF_3));
    p = WF__AVX512_FMA(p, zz, WF__LINE_avx512(z, WF__ERF_0, WF__ERF_1));
    WF__AVX512_F g = WF__AVX512_FMA(WF__LINE_avx512(a, WF__ERFC_6, WF__ERFC_7), z, WF__LINE_avx512(a, WF__ERFC_4, WF__ERFC_5));
    g = WF__AVX512_FMA(g, z, WF__LINE_avx512(a, WF__ERFC_2, WF__ERFC_3));
    g = WF__AVX512_FMA(g, z, WF__LINE_avx512(a, WF__ERFC_0, WF__ERFC_1));
    wf__exp_reduce_avx512(WF__AVX512_NEG(g), &t, &r, &rr, &q);
    WF__AVX512_F tail = WF__AVX512_SUB(WF__AVX512_SET1(1.0f), wf__exp_scale_avx512(WF__EXPM1_OF_avx512(r, rr, q), t));
    return WF__AVX512_OR(WF__AVX512_SEL(WF__AVX512_LT(a, WF__AVX512_SET1(1.0f)), WF__AVX512_FMA(a, p, a), tail), WF__AVX512_SIGN(x));
}

/* elementary: reduce an angle */
/* x = n pi/2 + w + low, n in the last bits of *q; 0 <= x <= 1e5. */
WF__INLINE_avx512 void wf__angle_avx512(WF__AVX512_F x, WF__AVX512_F *w, WF__AVX512_F *low, WF__AVX512_I *q)
{
    WF__AVX512_F t = WF__AVX512_FMA(x, WF__AVX512_SET1(0.636619772f), WF__AVX512_SET1(WF__ROUNDER));
    WF__AVX512_F n = WF__AVX512_SUB(t, WF__AVX512_SET1(WF__ROUNDER)), a;
    *q = WF__AVX512_BITS(t);
    if (WF__AVX512_FUSED) {
        a = WF__AVX512_FNMA(n, WF__AVX512_SET1(1.57079637f), x);
        WF__AVX512_F p = WF__AVX512_FMA(n, WF__AVX512_SET1(4.37113883e-8f), WF__AVX512_ZERO), rest = WF__AVX512_FNMA(n, WF__AVX512_SET1(4.37113883e-8f), p);
        *w = WF__AVX512_ADD(a, p);
        *low = WF__AVX512_FMA(n, WF__AVX512_SET1(1.71512451e-15f), WF__AVX512_SUB(WF__AVX512_ADD(WF__AVX512_SUB(a, *w), p), rest));
    } else {
        WF__AVX512_F p = WF__AVX512_MUL(n, WF__AVX512_SET1(2.56334415e-12f));
        a = WF__AVX512_FNMA(n, WF__AVX512_SET1(7.54953362e-8f), WF__AVX512_FNMA(n, WF__AVX512_SET1(4.83751297e-4f), WF__AVX512_FNMA(n, WF__AVX512_SET1(1.5703125f), x)));
        *w = WF__AVX512_SUB(a, p);
        *low = WF__AVX512_SUB(WF__AVX512_SUB(a, *w), p);
    }
}

/* elementary: repair large angles */
WF__KERNEL_avx512 void wf__angles_large_avx512(const float *x, float *w, float *low, int32_t *q)
{
    for (int i = 0; i < WF__AVX512_W; i++) {
        if (!(x[i] > 1e5f)) continue;
        if (wf__finite_f32(x[i])) wf__angle_large(x[i], w + i, low + i, q + i);
        else w[i] = x[i] - x[i];
    }
}

/* elementary: reduce any angle */
WF__INLINE_avx512 void wf__angle_any_avx512(WF__AVX512_F x, WF__AVX512_F *w, WF__AVX512_F *low, WF__AVX512_I *n)
{
    wf__angle_avx512(x, w, low, n);
    if (!WF__AVX512_ANY(WF__AVX512_LT(WF__AVX512_SET1(1e5f), x))) return;
    float in[WF__AVX512_W], out[2 * WF__AVX512_W];
    int32_t turns[WF__AVX512_W];
    WF__AVX512_ST(in, x);
    WF__AVX512_ST(out, *w);
    WF__AVX512_ST(out + WF__AVX512_W, *low);
    WF__AVX512_IST(turns, *n);
    wf__angles_large_avx512(in, out, out + WF__AVX512_W, turns);
    *w = WF__AVX512_LD(out);
    *low = WF__AVX512_LD(out + WF__AVX512_W);
    *n = WF__AVX512_ILD(turns);
}

/* elementary: sine and cosine */
/* The sine of |x| + quarter pi/2. */
WF__INLINE_avx512 WF__AVX512_F wf__wave_avx512(WF__AVX512_F x, int quarter)
{
    WF__AVX512_F w, low;
    WF__AVX512_I n;
    wf__angle_any_avx512(WF__AVX512_ABS(x), &w, &low, &n);
    WF__AVX512_F one = WF__AVX512_SET1(1.0f), half = WF__AVX512_SET1(0.5f), z = WF__AVX512_MUL(w, w), zz = WF__AVX512_MUL(z, z);
    WF__AVX512_F s = WF__AVX512_FMA(WF__LINE_avx512(z, WF__SIN_2, WF__SIN_3), zz, WF__LINE_avx512(z, WF__SIN_0, WF__SIN_1));
    WF__AVX512_F c = WF__AVX512_FMA(WF__AVX512_SET1(WF__COS_2), zz, WF__LINE_avx512(z, WF__COS_0, WF__COS_1));
    WF__AVX512_F high = WF__AVX512_FNMA(half, z, one), lost = WF__AVX512_FNMA(half, z, WF__AVX512_SUB(one, high));
    s = WF__AVX512_ADD(w, WF__AVX512_FMA(WF__AVX512_MUL(z, w), s, low));
    c = WF__AVX512_ADD(high, WF__AVX512_FMA(zz, c, WF__AVX512_FNMA(w, low, lost)));
    n = WF__AVX512_IADD(n, WF__AVX512_ISET1(quarter));
    return WF__AVX512_XOR(WF__AVX512_SEL(WF__AVX512_ODD(n), c, s), WF__AVX512_FLT(WF__AVX512_ISHL(WF__AVX512_IAND(n, WF__AVX512_ISET1(2)), 30)));
}

WF__INLINE_avx512 WF__AVX512_F wf__sin_avx512(WF__AVX512_F x) { return WF__AVX512_XOR(wf__wave_avx512(x, 0), WF__AVX512_SIGN(x)); }
WF__INLINE_avx512 WF__AVX512_F wf__cos_avx512(WF__AVX512_F x) { return wf__wave_avx512(x, 1); }

/* elementary: angle of a point */
WF__INLINE_avx512 WF__AVX512_F wf__atan2_avx512(WF__AVX512_F y, WF__AVX512_F x)
{
    WF__AVX512_F a = WF__AVX512_ABS(y), b = WF__AVX512_ABS(x), large = WF__AVX512_MAX(a, b), small = WF__AVX512_MIN(a, b), t = WF__AVX512_DIV(small, large), z;
    t = WF__AVX512_SEL(WF__AVX512_EQ(small, large), WF__AVX512_SET1(1.0f), t); /* two infinities */
    t = WF__AVX512_SEL(WF__AVX512_EQ(large, WF__AVX512_ZERO), WF__AVX512_ZERO, t);
    z = WF__AVX512_MUL(t, t);
    WF__AVX512_F zz = WF__AVX512_MUL(z, z), p = WF__AVX512_FMA(WF__LINE_avx512(z, WF__ATAN_6, WF__ATAN_7), zz, WF__LINE_avx512(z, WF__ATAN_4, WF__ATAN_5));
    p = WF__AVX512_FMA(p, zz, WF__LINE_avx512(z, WF__ATAN_2, WF__ATAN_3));
    p = WF__AVX512_FMA(p, zz, WF__LINE_avx512(z, WF__ATAN_0, WF__ATAN_1));
    p = WF__AVX512_FMA(WF__AVX512_MUL(z, t), p, t);
    p = WF__AVX512_SEL(WF__AVX512_LT(b, a), WF__AVX512_SUB(WF__AVX512_SET1(1.57079637f), p), p);
    p = WF__AVX512_SEL(WF__AVX512_LT(WF__AVX512_OR(WF__AVX512_SIGN(x), WF__AVX512_SET1(1.0f)), WF__AVX512_ZERO), WF__AVX512_SUB(WF__AVX512_SET1(3.14159274f), p), p);
    return WF__AVX512_SEL(WF__AVX512_EQ(y, y), WF__AVX512_OR(p, WF__AVX512_SIGN(y)), y);
}
#endif

/* elementary: all functions (neon) */
#if defined(WF__ISA_NEON)
/* elementary: reduce the argument of an exponential */
#define WF__LINE_neon(x, a, b) WF__NEON_FMA(WF__NEON_SET1(b), x, WF__NEON_SET1(a)) /* a + b x */
#define WF__EXPM1_OF_neon(r, rr, q) WF__NEON_FMA(rr, WF__NEON_FMA(r, q, WF__NEON_SET1(0.5f)), r)

/* x = n ln 2 + r and e^r - 1 = r + r r (1/2 + r q); the last bits of *shifted are n. |x| < 150. */
WF__INLINE_neon void wf__exp_reduce_neon(WF__NEON_F x, WF__NEON_F *shifted, WF__NEON_F *r, WF__NEON_F *rr, WF__NEON_F *q)
{
    WF__NEON_F t = WF__NEON_FMA(x, WF__NEON_SET1(WF__LOG2_E), WF__NEON_SET1(WF__ROUNDER));
    WF__NEON_F n = WF__NEON_SUB(t, WF__NEON_SET1(WF__ROUNDER));
    WF__NEON_F y = WF__NEON_FNMA(n, WF__NEON_SET1(WF__LN2_LOW), WF__NEON_FNMA(n, WF__NEON_SET1(WF__LN2_HIGH), x));
    WF__NEON_F z = WF__NEON_MUL(y, y);
    *shifted = t;
    *r = y;
    *rr = z;
    *q = WF__NEON_FMA(WF__NEON_FMA(WF__NEON_SET1(WF__EXP_4), z, WF__LINE_neon(y, WF__EXP_2, WF__EXP_3)), z, WF__LINE_neon(y, WF__EXP_0, WF__EXP_1));
}

/* elementary: scale by a power of two */
/* (1 + p) 2^n, with n from `shifted`. */
WF__INLINE_neon WF__NEON_F wf__exp_scale_neon(WF__NEON_F p, WF__NEON_F shifted)
{
#ifdef WF__NEON_SCALE
    return WF__NEON_SCALE(WF__NEON_ADD(WF__NEON_SET1(1.0f), p), WF__NEON_SUB(shifted, WF__NEON_SET1(WF__ROUNDER)));
#else
    WF__NEON_I n = WF__NEON_ISHL(WF__NEON_BITS(shifted), 23); /* n 2^23: the other bits fall out on the left */
    WF__NEON_I half = WF__NEON_IAND(WF__NEON_ISRA(n, 1), WF__NEON_ISET1(-8388608));
    WF__NEON_F a = WF__NEON_FLT(WF__NEON_IADD(half, WF__NEON_ISET1(0x3F800000)));
    WF__NEON_F b = WF__NEON_FLT(WF__NEON_IADD(WF__NEON_ISUB(n, half), WF__NEON_ISET1(0x3F800000)));
    return WF__NEON_MUL(WF__NEON_FMA(p, a, a), b);
#endif
}

WF__INLINE_neon WF__NEON_F wf__exp_neon(WF__NEON_F x)
{
    WF__NEON_F t, r, rr, q;
    x = WF__NEON_MAX(WF__NEON_SET1(-104.0f), WF__NEON_MIN(WF__NEON_SET1(89.0f), x)); /* beyond, the result is 0 or infinite anyway */
    wf__exp_reduce_neon(x, &t, &r, &rr, &q);
    return wf__exp_scale_neon(WF__EXPM1_OF_neon(r, rr, q), t);
}

/* elementary: exponential less one */
WF__INLINE_neon WF__NEON_F wf__expm1_neon(WF__NEON_F x)
{
    WF__NEON_F t, r, rr, q, bounded = WF__NEON_MAX(WF__NEON_SET1(-20.0f), WF__NEON_MIN(WF__NEON_SET1(89.0f), x));
    wf__exp_reduce_neon(bounded, &t, &r, &rr, &q);
    WF__NEON_F n = WF__NEON_SUB(t, WF__NEON_SET1(WF__ROUNDER)), a = WF__NEON_FNMA(n, WF__NEON_SET1(WF__LN2_HIGH), bounded);
    WF__NEON_F lost = WF__NEON_FNMA(n, WF__NEON_SET1(WF__LN2_LOW), WF__NEON_SUB(a, r)); /* by rounding r */
    WF__NEON_F power = WF__NEON_FLT(WF__NEON_IADD(WF__NEON_ISHL(WF__NEON_BITS(t), 23), WF__NEON_ISET1(0x3F000000))); /* 2^(n-1) */
    WF__NEON_F less = WF__NEON_SUB(power, WF__NEON_SET1(0.5f));
    WF__NEON_F high = WF__NEON_FMA(power, r, less);
    WF__NEON_F low = WF__NEON_FMA(power, lost, WF__NEON_FMA(power, r, WF__NEON_SUB(less, high)));
    low = WF__NEON_ADD(low, WF__NEON_SUB(WF__NEON_SUB(power, less), WF__NEON_SET1(0.5f)));
    rr = WF__NEON_MUL(power, rr);
    WF__NEON_F y = WF__NEON_ADD(high, WF__NEON_FMA(rr, WF__NEON_SET1(0.5f), WF__NEON_FMA(WF__NEON_MUL(rr, r), q, low)));
    return WF__NEON_SEL(WF__NEON_LT(WF__NEON_ABS(x), WF__NEON_SET1(5.9604645e-8f)), x, WF__NEON_ADD(y, y));
}

/* elementary: hyperbolic tangent */
WF__INLINE_neon WF__NEON_F wf__tanh_neon(WF__NEON_F x)
{
    WF__NEON_F t, r, rr, q, a = WF__NEON_ABS(x);
    wf__exp_reduce_neon(WF__NEON_MAX(WF__NEON_SET1(-20.0f), WF__NEON_MUL(a, WF__NEON_SET1(-2.0f))), &t, &r, &rr, &q);
    WF__NEON_F power = WF__NEON_FLT(WF__NEON_IADD(WF__NEON_ISHL(WF__NEON_BITS(t), 23), WF__NEON_ISET1(0x3F800000)));
    WF__NEON_F d = WF__NEON_FNMA(power, WF__EXPM1_OF_neon(r, rr, q), WF__NEON_SUB(WF__NEON_SET1(1.0f), power));
    return WF__NEON_OR(WF__NEON_DIV(d, WF__NEON_SUB(WF__NEON_SET1(2.0f), d)), WF__NEON_SIGN(x));
}

/* elementary: sigmoid */
/* e^-|x| */
WF__INLINE_neon WF__NEON_F wf__exp_down_neon(WF__NEON_F x)
{
    WF__NEON_F t, r, rr, q;
    wf__exp_reduce_neon(WF__NEON_MAX(WF__NEON_SET1(-104.0f), WF__NEON_OR(x, WF__NEON_SET1(-0.0f))), &t, &r, &rr, &q);
    return wf__exp_scale_neon(WF__EXPM1_OF_neon(r, rr, q), t);
}

WF__INLINE_neon WF__NEON_F wf__sigmoid_neon(WF__NEON_F x)
{
    WF__NEON_F e = wf__exp_down_neon(x), one = WF__NEON_SET1(1.0f);
    return WF__NEON_DIV(WF__NEON_SEL(WF__NEON_LT(x, WF__NEON_ZERO), e, one), WF__NEON_ADD(one, e));
}

/* elementary: logarithm of one plus a small number */
/* log(1 + f) - f + more for f between sqrt(1/2) - 1 and sqrt(2) - 1. */
WF__INLINE_neon WF__NEON_F wf__log_series_neon(WF__NEON_F f, WF__NEON_F more)
{
    WF__NEON_F z = WF__NEON_MUL(f, f), zz = WF__NEON_MUL(z, z);
    WF__NEON_F low = WF__NEON_FMA(WF__LINE_neon(f, WF__LOG_2, WF__LOG_3), z, WF__LINE_neon(f, WF__LOG_0, WF__LOG_1));
    WF__NEON_F high = WF__NEON_FMA(WF__LINE_neon(f, WF__LOG_6, WF__LOG_7), z, WF__LINE_neon(f, WF__LOG_4, WF__LOG_5));
    WF__NEON_F q = WF__NEON_FMA(WF__NEON_FMA(WF__NEON_SET1(WF__LOG_8), zz, high), zz, low);
    return WF__NEON_FMA(z, WF__NEON_FMA(f, q, WF__NEON_SET1(-0.5f)), more);
}

/* x = (1 + *f) 2^*e */
WF__INLINE_neon WF__NEON_I wf__log_split_neon(WF__NEON_F x, WF__NEON_F *f)
{
    WF__NEON_I e = WF__NEON_ISRA(WF__NEON_ISUB(WF__NEON_BITS(x), WF__NEON_ISET1(0x3F3504F3)), 23);
    *f = WF__NEON_SUB(WF__NEON_FLT(WF__NEON_ISUB(WF__NEON_BITS(x), WF__NEON_ISHL(e, 23))), WF__NEON_SET1(1.0f));
    return e;
}

/* elementary: logarithm */
/* y, the logarithm of x, unless x is special. */
WF__INLINE_neon WF__NEON_F wf__log_special_neon(WF__NEON_F x, WF__NEON_F y)
{
    WF__NEON_F bad = WF__NEON_SEL(WF__NEON_EQ(x, WF__NEON_ZERO), WF__NEON_FLT(WF__NEON_ISET1(-8388608)), WF__NEON_FLT(WF__NEON_ISET1(0x7FC00000))); /* -inf, or not a number */
    y = WF__NEON_SEL(WF__NEON_LT(x, WF__NEON_FLT(WF__NEON_ISET1(0x7F800000))), y, x);
    return WF__NEON_SEL(WF__NEON_LT(WF__NEON_ZERO, x), y, bad);
}

WF__INLINE_neon WF__NEON_F wf__log_neon(WF__NEON_F x)
{
    WF__NEON_F f, smallest = WF__NEON_SET1(1.17549435e-38f), scaled = WF__NEON_SEL(WF__NEON_LT(x, smallest), WF__NEON_MUL(x, WF__NEON_SET1(8388608.0f)), x);
    WF__NEON_F e = WF__NEON_TOF(wf__log_split_neon(scaled, &f));
    e = WF__NEON_SUB(e, WF__NEON_SEL(WF__NEON_LT(x, smallest), WF__NEON_SET1(23.0f), WF__NEON_ZERO));
    WF__NEON_F y = WF__NEON_ADD(f, wf__log_series_neon(f, WF__NEON_MUL(e, WF__NEON_SET1(WF__LN2_LOW))));
    return wf__log_special_neon(x, WF__NEON_FMA(e, WF__NEON_SET1(WF__LN2_HIGH), y));
}

/* elementary: logarithm of one plus */
WF__INLINE_neon WF__NEON_F wf__log1p_neon(WF__NEON_F x)
{
    WF__NEON_F one = WF__NEON_SET1(1.0f), half = WF__NEON_SET1(0.5f), f, u = WF__NEON_ADD(one, x), d = WF__NEON_SUB(u, one);
    WF__NEON_F lost = WF__NEON_ADD(WF__NEON_SUB(one, WF__NEON_SUB(u, d)), WF__NEON_SUB(x, d));
    WF__NEON_I n = wf__log_split_neon(u, &f);
    WF__NEON_F twice = WF__NEON_FLT(WF__NEON_ISUB(WF__NEON_ISET1(0x40000000), WF__NEON_ISHL(n, 23))); /* 2^(1-e), 0 for e = 128 */
    WF__NEON_F quotient = WF__NEON_MUL(WF__NEON_MUL(lost, twice), WF__NEON_FMA(f, WF__NEON_FMA(f, half, WF__NEON_SET1(-0.5f)), half));
    WF__NEON_F e = WF__NEON_TOF(n), y = wf__log_series_neon(f, WF__NEON_FMA(e, WF__NEON_SET1(WF__LN2_LOW), quotient));
    y = WF__NEON_FMA(e, WF__NEON_SET1(WF__LN2_HIGH), WF__NEON_ADD(f, y));
    return WF__NEON_OR(wf__log_special_neon(u, y), WF__NEON_SIGN(x));
}

/* elementary: softplus */
WF__INLINE_neon WF__NEON_F wf__softplus_neon(WF__NEON_F x)
{
    WF__NEON_F e = wf__exp_down_neon(x), half = WF__NEON_SET1(0.5f);
    WF__NEON_M large = WF__NEON_LT(WF__NEON_SET1(0.41421356f), e);
    WF__NEON_F f = WF__NEON_SEL(large, WF__NEON_FMA(e, half, WF__NEON_SET1(-0.5f)), e);
    WF__NEON_F high = WF__NEON_SEL(large, WF__NEON_SET1(WF__LN2_HIGH), WF__NEON_ZERO), low = WF__NEON_SEL(large, WF__NEON_SET1(WF__LN2_LOW), WF__NEON_ZERO);
    WF__NEON_F y = WF__NEON_ADD(WF__NEON_ADD(high, f), wf__log_series_neon(f, low));
    return WF__NEON_ADD(WF__NEON_MAX(WF__NEON_ZERO, x), y);
}

/* elementary: error function */
WF__INLINE_neon WF__NEON_F wf__erf_neon(WF__NEON_F x)
{
    WF__NEON_F a = WF__NEON_MIN(WF__NEON_SET1(3.95f), WF__NEON_ABS(x)), z = WF__NEON_MUL(a, a), t, r, rr, q;
    WF__NEON_F zz = WF__NEON_MUL(z, z), p = WF__NEON_FMA(WF__NEON_SET1(WF__ERF_6), zz, WF__LINE_neon(z, WF__ERF_4, WF__ERF_5));
    p = WF__NEON_FMA(p, zz, WF__LINE_neon(z, WF__ERF_2, WF__ERF_3));
    p = WF__NEON_FMA(p, zz, WF__LINE_neon(z, WF__ERF_0, WF__ERF_1));
    WF__NEON_F g = WF__NEON_FMA(WF__LINE_neon(a, WF__ERFC_6, WF__ERFC_7), z, WF__LINE_neon(a, WF__ERFC_4, WF__ERFC_5));
    g = WF__NEON_FMA(g, z, WF__LINE_neon(a, WF__ERFC_2, WF__ERFC_3));
    g = WF__NEON_FMA(g, z, WF__LINE_neon(a, WF__ERFC_0, WF__ERFC_1));
    wf__exp_reduce_neon(WF__NEON_NEG(g), &t, &r, &rr, &q);
    WF__NEON_F tail = WF__NEON_SUB(WF__NEON_SET1(1.0f), wf__exp_scale_neon(WF__EXPM1_OF_neon(r, rr, q), t));
    return WF__NEON_OR(WF__NEON_SEL(WF__NEON_LT(a, WF__NEON_SET1(1.0f)), WF__NEON_FMA(a, p, a), tail), WF__NEON_SIGN(x));
}

/* elementary: reduce an angle */
/* x = n pi/2 + w + low, n in the last bits of *q; 0 <= x <= 1e5. */
WF__INLINE_neon void wf__angle_neon(WF__NEON_F x, WF__NEON_F *w, WF__NEON_F *low, WF__NEON_I *q)
{
    WF__NEON_F t = WF__NEON_FMA(x, WF__NEON_SET1(0.636619772f), WF__NEON_SET1(WF__ROUNDER));
    WF__NEON_F n = WF__NEON_SUB(t, WF__NEON_SET1(WF__ROUNDER)), a;
    *q = WF__NEON_BITS(t);
    if (WF__NEON_FUSED) {
        a = WF__NEON_FNMA(n, WF__NEON_SET1(1.57079637f), x);
        WF__NEON_F p = WF__NEON_FMA(n, WF__NEON_SET1(4.37113883e-8f), WF__NEON_ZERO), rest = WF__NEON_FNMA(n, WF__NEON_SET1(4.37113883e-8f), p);
        *w = WF__NEON_ADD(a, p);
        *low = WF__NEON_FMA(n, WF__NEON_SET1(1.71512451e-15f), WF__NEON_SUB(WF__NEON_ADD(WF__NEON_SUB(a, *w), p), rest));
    } else {
        WF__NEON_F p = WF__NEON_MUL(n, WF__NEON_SET1(2.56334415e-12f));
        a = WF__NEON_FNMA(n, WF__NEON_SET1(7.54953362e-8f), WF__NEON_FNMA(n, WF__NEON_SET1(4.83751297e-4f), WF__NEON_FNMA(n, WF__NEON_SET1(1.5703125f), x)));
        *w = WF__NEON_SUB(a, p);
        *low = WF__NEON_SUB(WF__NEON_SUB(a, *w), p);
    }
}

/* elementary: repair large angles */
WF__KERNEL_neon void wf__angles_large_neon(const float *x, float *w, float *low, int32_t *q)
{
    for (int i = 0; i < WF__NEON_W; i++) {
        if (!(x[i] > 1e5f)) continue;
        if (wf__finite_f32(x[i])) wf__angle_large(x[i], w + i, low + i, q + i);
        else w[i] = x[i] - x[i];
    }
}

/* elementary: reduce any angle */
WF__INLINE_neon void wf__angle_any_neon(WF__NEON_F x, WF__NEON_F *w, WF__NEON_F *low, WF__NEON_I *n)
{
    wf__angle_neon(x, w, low, n);
    if (!WF__NEON_ANY(WF__NEON_LT(WF__NEON_SET1(1e5f), x))) return;
    float in[WF__NEON_W], out[2 * WF__NEON_W];
    int32_t turns[WF__NEON_W];
    WF__NEON_ST(in, x);
    WF__NEON_ST(out, *w);
    WF__NEON_ST(out + WF__NEON_W, *low);
    WF__NEON_IST(turns, *n);
    wf__angles_large_neon(in, out, out + WF__NEON_W, turns);
    *w = WF__NEON_LD(out);
    *low = WF__NEON_LD(out + WF__NEON_W);
    *n = WF__NEON_ILD(turns);
}

/* elementary: sine and cosine */
/* The sine of |x| + quarter pi/2. */
WF__INLINE_neon WF__NEON_F wf__wave_neon(WF__NEON_F x, int quarter)
{
    WF__NEON_F w, low;
    WF__NEON_I n;
    wf__angle_any_neon(WF__NEON_ABS(x), &w, &low, &n);
    WF__NEON_F one = WF__NEON_SET1(1.0f), half = WF__NEON_SET1(0.5f), z = WF__NEON_MUL(w, w), zz = WF__NEON_MUL(z, z);
    WF__NEON_F s = WF__NEON_FMA(WF__LINE_neon(z, WF__SIN_2, WF__SIN_3), zz, WF__LINE_neon(z, WF__SIN_0, WF__SIN_1));
    WF__NEON_F c = WF__NEON_FMA(WF__NEON_SET1(WF__COS_2), zz, WF__LINE_neon(z, WF__COS_0, WF__COS_1));
    WF__NEON_F high = WF__NEON_FNMA(half, z, one), lost = WF__NEON_FNMA(half, z, WF__NEON_SUB(one, high));
    s = WF__NEON_ADD(w, WF__NEON_FMA(WF__NEON_MUL(z, w), s, low));
    c = WF__NEON_ADD(high, WF__NEON_FMA(zz, c, WF__NEON_FNMA(w, low, lost)));
    n = WF__NEON_IADD(n, WF__NEON_ISET1(quarter));
    return WF__NEON_XOR(WF__NEON_SEL(WF__NEON_ODD(n), c, s), WF__NEON_FLT(WF__NEON_ISHL(WF__NEON_IAND(n, WF__NEON_ISET1(2)), 30)));
}

WF__INLINE_neon WF__NEON_F wf__sin_neon(WF__NEON_F x) { return WF__NEON_XOR(wf__wave_neon(x, 0), WF__NEON_SIGN(x)); }
WF__INLINE_neon WF__NEON_F wf__cos_neon(WF__NEON_F x) { return wf__wave_neon(x, 1); }

/* elementary: angle of a point */
WF__INLINE_neon WF__NEON_F wf__atan2_neon(WF__NEON_F y, WF__NEON_F x)
{
    WF__NEON_F a = WF__NEON_ABS(y), b = WF__NEON_ABS(x), large = WF__NEON_MAX(a, b), small = WF__NEON_MIN(a, b), t = WF__NEON_DIV(small, large), z;
    t = WF__NEON_SEL(WF__NEON_EQ(small, large), WF__NEON_SET1(1.0f), t); /* two infinities */
    t = WF__NEON_SEL(WF__NEON_EQ(large, WF__NEON_ZERO), WF__NEON_ZERO, t);
    z = WF__NEON_MUL(t, t);
    WF__NEON_F zz = WF__NEON_MUL(z, z), p = WF__NEON_FMA(WF__LINE_neon(z, WF__ATAN_6, WF__ATAN_7), zz, WF__LINE_neon(z, WF__ATAN_4, WF__ATAN_5));
    p = WF__NEON_FMA(p, zz, WF__LINE_neon(z, WF__ATAN_2, WF__ATAN_3));
    p = WF__NEON_FMA(p, zz, WF__LINE_neon(z, WF__ATAN_0, WF__ATAN_1));
    p = WF__NEON_FMA(WF__NEON_MUL(z, t), p, t);
    p = WF__NEON_SEL(WF__NEON_LT(b, a), WF__NEON_SUB(WF__NEON_SET1(1.57079637f), p), p);
    p = WF__NEON_SEL(WF__NEON_LT(WF__NEON_OR(WF__NEON_SIGN(x), WF__NEON_SET1(1.0f)), WF__NEON_ZERO), WF__NEON_SUB(WF__NEON_SET1(3.14159274f), p), p);
    return WF__NEON_SEL(WF__NEON_EQ(y, y), WF__NEON_OR(p, WF__NEON_SIGN(y)), y);
}
#endif

/* elementary: all functions (wasm) */
#if defined(WF__ISA_WASM)
/* elementary: reduce the argument of an exponential */
#define WF__LINE_wasm(x, a, b) WF__WASM_FMA(WF__WASM_SET1(b), x, WF__WASM_SET1(a)) /* a + b x */
#define WF__EXPM1_OF_wasm(r, rr, q) WF__WASM_FMA(rr, WF__WASM_FMA(r, q, WF__WASM_SET1(0.5f)), r)

/* x = n ln 2 + r and e^r - 1 = r + r r (1/2 + r q); the last bits of *shifted are n. |x| < 150. */
WF__INLINE_wasm void wf__exp_reduce_wasm(WF__WASM_F x, WF__WASM_F *shifted, WF__WASM_F *r, WF__WASM_F *rr, WF__WASM_F *q)
{
    WF__WASM_F t = WF__WASM_FMA(x, WF__WASM_SET1(WF__LOG2_E), WF__WASM_SET1(WF__ROUNDER));
    WF__WASM_F n = WF__WASM_SUB(t, WF__WASM_SET1(WF__ROUNDER));
    WF__WASM_F y = WF__WASM_FNMA(n, WF__WASM_SET1(WF__LN2_LOW), WF__WASM_FNMA(n, WF__WASM_SET1(WF__LN2_HIGH), x));
    WF__WASM_F z = WF__WASM_MUL(y, y);
    *shifted = t;
    *r = y;
    *rr = z;
    *q = WF__WASM_FMA(WF__WASM_FMA(WF__WASM_SET1(WF__EXP_4), z, WF__LINE_wasm(y, WF__EXP_2, WF__EXP_3)), z, WF__LINE_wasm(y, WF__EXP_0, WF__EXP_1));
}

/* elementary: scale by a power of two */
/* (1 + p) 2^n, with n from `shifted`. */
WF__INLINE_wasm WF__WASM_F wf__exp_scale_wasm(WF__WASM_F p, WF__WASM_F shifted)
{
#ifdef WF__WASM_SCALE
    return WF__WASM_SCALE(WF__WASM_ADD(WF__WASM_SET1(1.0f), p), WF__WASM_SUB(shifted, WF__WASM_SET1(WF__ROUNDER)));
#else
    WF__WASM_I n = WF__WASM_ISHL(WF__WASM_BITS(shifted), 23); /* n 2^23: the other bits fall out on the left */
    WF__WASM_I half = WF__WASM_IAND(WF__WASM_ISRA(n, 1), WF__WASM_ISET1(-8388608));
    WF__WASM_F a = WF__WASM_FLT(WF__WASM_IADD(half, WF__WASM_ISET1(0x3F800000)));
    WF__WASM_F b = WF__WASM_FLT(WF__WASM_IADD(WF__WASM_ISUB(n, half), WF__WASM_ISET1(0x3F800000)));
    return WF__WASM_MUL(WF__WASM_FMA(p, a, a), b);
#endif
}

WF__INLINE_wasm WF__WASM_F wf__exp_wasm(WF__WASM_F x)
{
    WF__WASM_F t, r, rr, q;
    x = WF__WASM_MAX(WF__WASM_SET1(-104.0f), WF__WASM_MIN(WF__WASM_SET1(89.0f), x)); /* beyond, the result is 0 or infinite anyway */
    wf__exp_reduce_wasm(x, &t, &r, &rr, &q);
    return wf__exp_scale_wasm(WF__EXPM1_OF_wasm(r, rr, q), t);
}

/* elementary: exponential less one */
WF__INLINE_wasm WF__WASM_F wf__expm1_wasm(WF__WASM_F x)
{
    WF__WASM_F t, r, rr, q, bounded = WF__WASM_MAX(WF__WASM_SET1(-20.0f), WF__WASM_MIN(WF__WASM_SET1(89.0f), x));
    wf__exp_reduce_wasm(bounded, &t, &r, &rr, &q);
    WF__WASM_F n = WF__WASM_SUB(t, WF__WASM_SET1(WF__ROUNDER)), a = WF__WASM_FNMA(n, WF__WASM_SET1(WF__LN2_HIGH), bounded);
    WF__WASM_F lost = WF__WASM_FNMA(n, WF__WASM_SET1(WF__LN2_LOW), WF__WASM_SUB(a, r)); /* by rounding r */
    WF__WASM_F power = WF__WASM_FLT(WF__WASM_IADD(WF__WASM_ISHL(WF__WASM_BITS(t), 23), WF__WASM_ISET1(0x3F000000))); /* 2^(n-1) */
    WF__WASM_F less = WF__WASM_SUB(power, WF__WASM_SET1(0.5f));
    WF__WASM_F high = WF__WASM_FMA(power, r, less);
    WF__WASM_F low = WF__WASM_FMA(power, lost, WF__WASM_FMA(power, r, WF__WASM_SUB(less, high)));
    low = WF__WASM_ADD(low, WF__WASM_SUB(WF__WASM_SUB(power, less), WF__WASM_SET1(0.5f)));
    rr = WF__WASM_MUL(power, rr);
    WF__WASM_F y = WF__WASM_ADD(high, WF__WASM_FMA(rr, WF__WASM_SET1(0.5f), WF__WASM_FMA(WF__WASM_MUL(rr, r), q, low)));
    return WF__WASM_SEL(WF__WASM_LT(WF__WASM_ABS(x), WF__WASM_SET1(5.9604645e-8f)), x, WF__WASM_ADD(y, y));
}

/* elementary: hyperbolic tangent */
WF__INLINE_wasm WF__WASM_F wf__tanh_wasm(WF__WASM_F x)
{
    WF__WASM_F t, r, rr, q, a = WF__WASM_ABS(x);
    wf__exp_reduce_wasm(WF__WASM_MAX(WF__WASM_SET1(-20.0f), WF__WASM_MUL(a, WF__WASM_SET1(-2.0f))), &t, &r, &rr, &q);
    WF__WASM_F power = WF__WASM_FLT(WF__WASM_IADD(WF__WASM_ISHL(WF__WASM_BITS(t), 23), WF__WASM_ISET1(0x3F800000)));
    WF__WASM_F d = WF__WASM_FNMA(power, WF__EXPM1_OF_wasm(r, rr, q), WF__WASM_SUB(WF__WASM_SET1(1.0f), power));
    return WF__WASM_OR(WF__WASM_DIV(d, WF__WASM_SUB(WF__WASM_SET1(2.0f), d)), WF__WASM_SIGN(x));
}

/* elementary: sigmoid */
/* e^-|x| */
WF__INLINE_wasm WF__WASM_F wf__exp_down_wasm(WF__WASM_F x)
{
    WF__WASM_F t, r, rr, q;
    wf__exp_reduce_wasm(WF__WASM_MAX(WF__WASM_SET1(-104.0f), WF__WASM_OR(x, WF__WASM_SET1(-0.0f))), &t, &r, &rr, &q);
    return wf__exp_scale_wasm(WF__EXPM1_OF_wasm(r, rr, q), t);
}

WF__INLINE_wasm WF__WASM_F wf__sigmoid_wasm(WF__WASM_F x)
{
    WF__WASM_F e = wf__exp_down_wasm(x), one = WF__WASM_SET1(1.0f);
    return WF__WASM_DIV(WF__WASM_SEL(WF__WASM_LT(x, WF__WASM_ZERO), e, one), WF__WASM_ADD(one, e));
}

/* elementary: logarithm of one plus a small number */
/* log(1 + f) - f + more for f between sqrt(1/2) - 1 and sqrt(2) - 1. */
WF__INLINE_wasm WF__WASM_F wf__log_series_wasm(WF__WASM_F f, WF__WASM_F more)
{
    WF__WASM_F z = WF__WASM_MUL(f, f), zz = WF__WASM_MUL(z, z);
    WF__WASM_F low = WF__WASM_FMA(WF__LINE_wasm(f, WF__LOG_2, WF__LOG_3), z, WF__LINE_wasm(f, WF__LOG_0, WF__LOG_1));
    WF__WASM_F high = WF__WASM_FMA(WF__LINE_wasm(f, WF__LOG_6, WF__LOG_7), z, WF__LINE_wasm(f, WF__LOG_4, WF__LOG_5));
    WF__WASM_F q = WF__WASM_FMA(WF__WASM_FMA(WF__WASM_SET1(WF__LOG_8), zz, high), zz, low);
    return WF__WASM_FMA(z, WF__WASM_FMA(f, q, WF__WASM_SET1(-0.5f)), more);
}

/* x = (1 + *f) 2^*e */
WF__INLINE_wasm WF__WASM_I wf__log_split_wasm(WF__WASM_F x, WF__WASM_F *f)
{
    WF__WASM_I e = WF__WASM_ISRA(WF__WASM_ISUB(WF__WASM_BITS(x), WF__WASM_ISET1(0x3F3504F3)), 23);
    *f = WF__WASM_SUB(WF__WASM_FLT(WF__WASM_ISUB(WF__WASM_BITS(x), WF__WASM_ISHL(e, 23))), WF__WASM_SET1(1.0f));
    return e;
}

/* elementary: logarithm */
/* y, the logarithm of x, unless x is special. */
WF__INLINE_wasm WF__WASM_F wf__log_special_wasm(WF__WASM_F x, WF__WASM_F y)
{
    WF__WASM_F bad = WF__WASM_SEL(WF__WASM_EQ(x, WF__WASM_ZERO), WF__WASM_FLT(WF__WASM_ISET1(-8388608)), WF__WASM_FLT(WF__WASM_ISET1(0x7FC00000))); /* -inf, or not a number */
    y = WF__WASM_SEL(WF__WASM_LT(x, WF__WASM_FLT(WF__WASM_ISET1(0x7F800000))), y, x);
    return WF__WASM_SEL(WF__WASM_LT(WF__WASM_ZERO, x), y, bad);
}

WF__INLINE_wasm WF__WASM_F wf__log_wasm(WF__WASM_F x)
{
    WF__WASM_F f, smallest = WF__WASM_SET1(1.17549435e-38f), scaled = WF__WASM_SEL(WF__WASM_LT(x, smallest), WF__WASM_MUL(x, WF__WASM_SET1(8388608.0f)), x);
    WF__WASM_F e = WF__WASM_TOF(wf__log_split_wasm(scaled, &f));
    e = WF__WASM_SUB(e, WF__WASM_SEL(WF__WASM_LT(x, smallest), WF__WASM_SET1(23.0f), WF__WASM_ZERO));
    WF__WASM_F y = WF__WASM_ADD(f, wf__log_series_wasm(f, WF__WASM_MUL(e, WF__WASM_SET1(WF__LN2_LOW))));
    return wf__log_special_wasm(x, WF__WASM_FMA(e, WF__WASM_SET1(WF__LN2_HIGH), y));
}

/* elementary: logarithm of one plus */
WF__INLINE_wasm WF__WASM_F wf__log1p_wasm(WF__WASM_F x)
{
    WF__WASM_F one = WF__WASM_SET1(1.0f), half = WF__WASM_SET1(0.5f), f, u = WF__WASM_ADD(one, x), d = WF__WASM_SUB(u, one);
    WF__WASM_F lost = WF__WASM_ADD(WF__WASM_SUB(one, WF__WASM_SUB(u, d)), WF__WASM_SUB(x, d));
    WF__WASM_I n = wf__log_split_wasm(u, &f);
    WF__WASM_F twice = WF__WASM_FLT(WF__WASM_ISUB(WF__WASM_ISET1(0x40000000), WF__WASM_ISHL(n, 23))); /* 2^(1-e), 0 for e = 128 */
    WF__WASM_F quotient = WF__WASM_MUL(WF__WASM_MUL(lost, twice), WF__WASM_FMA(f, WF__WASM_FMA(f, half, WF__WASM_SET1(-0.5f)), half));
    WF__WASM_F e = WF__WASM_TOF(n), y = wf__log_series_wasm(f, WF__WASM_FMA(e, WF__WASM_SET1(WF__LN2_LOW), quotient));
    y = WF__WASM_FMA(e, WF__WASM_SET1(WF__LN2_HIGH), WF__WASM_ADD(f, y));
    return WF__WASM_OR(wf__log_special_wasm(u, y), WF__WASM_SIGN(x));
}

/* elementary: softplus */
WF__INLINE_wasm WF__WASM_F wf__softplus_wasm(WF__WASM_F x)
{
    WF__WASM_F e = wf__exp_down_wasm(x), half = WF__WASM_SET1(0.5f);
    WF__WASM_M large = WF__WASM_LT(WF__WASM_SET1(0.41421356f), e);
    WF__WASM_F f = WF__WASM_SEL(large, WF__WASM_FMA(e, half, WF__WASM_SET1(-0.5f)), e);
    WF__WASM_F high = WF__WASM_SEL(large, WF__WASM_SET1(WF__LN2_HIGH), WF__WASM_ZERO), low = WF__WASM_SEL(large, WF__WASM_SET1(WF__LN2_LOW), WF__WASM_ZERO);
    WF__WASM_F y = WF__WASM_ADD(WF__WASM_ADD(high, f), wf__log_series_wasm(f, low));
    return WF__WASM_ADD(WF__WASM_MAX(WF__WASM_ZERO, x), y);
}

/* elementary: error function */
WF__INLINE_wasm WF__WASM_F wf__erf_wasm(WF__WASM_F x)
{
    WF__WASM_F a = WF__WASM_MIN(WF__WASM_SET1(3.95f), WF__WASM_ABS(x)), z = WF__WASM_MUL(a, a), t, r, rr, q;
    WF__WASM_F zz = WF__WASM_MUL(z, z), p = WF__WASM_FMA(WF__WASM_SET1(WF__ERF_6), zz, WF__LINE_wasm(z, WF__ERF_4, WF__ERF_5));
    p = WF__WASM_FMA(p, zz, WF__LINE_wasm(z, WF__ERF_2, WF__ERF_3));
    p = WF__WASM_FMA(p, zz, WF__LINE_wasm(z, WF__ERF_0, WF__ERF_1));
    WF__WASM_F g = WF__WASM_FMA(WF__LINE_wasm(a, WF__ERFC_6, WF__ERFC_7), z, WF__LINE_wasm(a, WF__ERFC_4, WF__ERFC_5));
    g = WF__WASM_FMA(g, z, WF__LINE_wasm(a, WF__ERFC_2, WF__ERFC_3));
    g = WF__WASM_FMA(g, z, WF__LINE_wasm(a, WF__ERFC_0, WF__ERFC_1));
    wf__exp_reduce_wasm(WF__WASM_NEG(g), &t, &r, &rr, &q);
    WF__WASM_F tail = WF__WASM_SUB(WF__WASM_SET1(1.0f), wf__exp_scale_wasm(WF__EXPM1_OF_wasm(r, rr, q), t));
    return WF__WASM_OR(WF__WASM_SEL(WF__WASM_LT(a, WF__WASM_SET1(1.0f)), WF__WASM_FMA(a, p, a), tail), WF__WASM_SIGN(x));
}

/* elementary: reduce an angle */
/* x = n pi/2 + w + low, n in the last bits of *q; 0 <= x <= 1e5. */
WF__INLINE_wasm void wf__angle_wasm(WF__WASM_F x, WF__WASM_F *w, WF__WASM_F *low, WF__WASM_I *q)
{
    WF__WASM_F t = WF__WASM_FMA(x, WF__WASM_SET1(0.636619772f), WF__WASM_SET1(WF__ROUNDER));
    WF__WASM_F n = WF__WASM_SUB(t, WF__WASM_SET1(WF__ROUNDER)), a;
    *q = WF__WASM_BITS(t);
    if (WF__WASM_FUSED) {
        a = WF__WASM_FNMA(n, WF__WASM_SET1(1.57079637f), x);
        WF__WASM_F p = WF__WASM_FMA(n, WF__WASM_SET1(4.37113883e-8f), WF__WASM_ZERO), rest = WF__WASM_FNMA(n, WF__WASM_SET1(4.37113883e-8f), p);
        *w = WF__WASM_ADD(a, p);
        *low = WF__WASM_FMA(n, WF__WASM_SET1(1.71512451e-15f), WF__WASM_SUB(WF__WASM_ADD(WF__WASM_SUB(a, *w), p), rest));
    } else {
        WF__WASM_F p = WF__WASM_MUL(n, WF__WASM_SET1(2.56334415e-12f));
        a = WF__WASM_FNMA(n, WF__WASM_SET1(7.54953362e-8f), WF__WASM_FNMA(n, WF__WASM_SET1(4.83751297e-4f), WF__WASM_FNMA(n, WF__WASM_SET1(1.5703125f), x)));
        *w = WF__WASM_SUB(a, p);
        *low = WF__WASM_SUB(WF__WASM_SUB(a, *w), p);
    }
}

/* elementary: repair large angles */
WF__KERNEL_wasm void wf__angles_large_wasm(const float *x, float *w, float *low, int32_t *q)
{
    for (int i = 0; i < WF__WASM_W; i++) {
        if (!(x[i] > 1e5f)) continue;
        if (wf__finite_f32(x[i])) wf__angle_large(x[i], w + i, low + i, q + i);
        else w[i] = x[i] - x[i];
    }
}

/* elementary: reduce any angle */
WF__INLINE_wasm void wf__angle_any_wasm(WF__WASM_F x, WF__WASM_F *w, WF__WASM_F *low, WF__WASM_I *n)
{
    wf__angle_wasm(x, w, low, n);
    if (!WF__WASM_ANY(WF__WASM_LT(WF__WASM_SET1(1e5f), x))) return;
    float in[WF__WASM_W], out[2 * WF__WASM_W];
    int32_t turns[WF__WASM_W];
    WF__WASM_ST(in, x);
    WF__WASM_ST(out, *w);
    WF__WASM_ST(out + WF__WASM_W, *low);
    WF__WASM_IST(turns, *n);
    wf__angles_large_wasm(in, out, out + WF__WASM_W, turns);
    *w = WF__WASM_LD(out);
    *low = WF__WASM_LD(out + WF__WASM_W);
    *n = WF__WASM_ILD(turns);
}

/* elementary: sine and cosine */
/* The sine of |x| + quarter pi/2. */
WF__INLINE_wasm WF__WASM_F wf__wave_wasm(WF__WASM_F x, int quarter)
{
    WF__WASM_F w, low;
    WF__WASM_I n;
    wf__angle_any_wasm(WF__WASM_ABS(x), &w, &low, &n);
    WF__WASM_F one = WF__WASM_SET1(1.0f), half = WF__WASM_SET1(0.5f), z = WF__WASM_MUL(w, w), zz = WF__WASM_MUL(z, z);
    WF__WASM_F s = WF__WASM_FMA(WF__LINE_wasm(z, WF__SIN_2, WF__SIN_3), zz, WF__LINE_wasm(z, WF__SIN_0, WF__SIN_1));
    WF__WASM_F c = WF__WASM_FMA(WF__WASM_SET1(WF__COS_2), zz, WF__LINE_wasm(z, WF__COS_0, WF__COS_1));
    WF__WASM_F high = WF__WASM_FNMA(half, z, one), lost = WF__WASM_FNMA(half, z, WF__WASM_SUB(one, high));
    s = WF__WASM_ADD(w, WF__WASM_FMA(WF__WASM_MUL(z, w), s, low));
    c = WF__WASM_ADD(high, WF__WASM_FMA(zz, c, WF__WASM_FNMA(w, low, lost)));
    n = WF__WASM_IADD(n, WF__WASM_ISET1(quarter));
    return WF__WASM_XOR(WF__WASM_SEL(WF__WASM_ODD(n), c, s), WF__WASM_FLT(WF__WASM_ISHL(WF__WASM_IAND(n, WF__WASM_ISET1(2)), 30)));
}

WF__INLINE_wasm WF__WASM_F wf__sin_wasm(WF__WASM_F x) { return WF__WASM_XOR(wf__wave_wasm(x, 0), WF__WASM_SIGN(x)); }
WF__INLINE_wasm WF__WASM_F wf__cos_wasm(WF__WASM_F x) { return wf__wave_wasm(x, 1); }

/* elementary: angle of a point */
WF__INLINE_wasm WF__WASM_F wf__atan2_wasm(WF__WASM_F y, WF__WASM_F x)
{
    WF__WASM_F a = WF__WASM_ABS(y), b = WF__WASM_ABS(x), large = WF__WASM_MAX(a, b), small = WF__WASM_MIN(a, b), t = WF__WASM_DIV(small, large), z;
    t = WF__WASM_SEL(WF__WASM_EQ(small, large), WF__WASM_SET1(1.0f), t); /* two infinities */
    t = WF__WASM_SEL(WF__WASM_EQ(large, WF__WASM_ZERO), WF__WASM_ZERO, t);
    z = WF__WASM_MUL(t, t);
    WF__WASM_F zz = WF__WASM_MUL(z, z), p = WF__WASM_FMA(WF__LINE_wasm(z, WF__ATAN_6, WF__ATAN_7), zz, WF__LINE_wasm(z, WF__ATAN_4, WF__ATAN_5));
    p = WF__WASM_FMA(p, zz, WF__LINE_wasm(z, WF__ATAN_2, WF__ATAN_3));
    p = WF__WASM_FMA(p, zz, WF__LINE_wasm(z, WF__ATAN_0, WF__ATAN_1));
    p = WF__WASM_FMA(WF__WASM_MUL(z, t), p, t);
    p = WF__WASM_SEL(WF__WASM_LT(b, a), WF__WASM_SUB(WF__WASM_SET1(1.57079637f), p), p);
    p = WF__WASM_SEL(WF__WASM_LT(WF__WASM_OR(WF__WASM_SIGN(x), WF__WASM_SET1(1.0f)), WF__WASM_ZERO), WF__WASM_SUB(WF__WASM_SET1(3.14159274f), p), p);
    return WF__WASM_SEL(WF__WASM_EQ(y, y), WF__WASM_OR(p, WF__WASM_SIGN(y)), y);
}
#endif

/* ---- Matrix kernels ---- */
/* matrix: name the elementwise operations */
enum wf__unary {
    WF__NEG, WF__RECIP, WF__EXP, WF__EXPM1, WF__LOG, WF__LOG1P, WF__SQRT, WF__TANH, WF__SIGMOID, WF__SOFTPLUS, WF__ERF, WF__SIN, WF__COS, WF__ABS, WF__SIGN, WF__FLOOR,
    WF__ROUND /* half to even */, WF__RELU, WF__COPY, WF__SQUARE, WF__UNARY_COUNT
};
enum wf__binary {
    WF__ADD, WF__SUB, WF__MUL, WF__DIV, WF__MAX, WF__MIN, WF__LT, WF__LE, WF__EQ, WF__ATAN2, WF__DTANH /* a (1 - b b) */, WF__DSIGMOID /* a b (1 - b) */, WF__BINARY_COUNT,
    WF__RSUB = WF__BINARY_COUNT, WF__RDIV, WF__BINARY_SCALAR_COUNT /* with a scalar: s - a and s / a */
};

/* matrix: describe a table of kernels */
typedef struct wf__kernels {
    void (*unary[WF__UNARY_COUNT])(void *y, const void *x, size_t n);
    void (*binary[WF__BINARY_COUNT])(void *y, const void *a, const void *b, size_t n);
    void (*binary_scalar[WF__BINARY_SCALAR_COUNT])(void *y, const void *a, const void *s, size_t n); /* one element on the right */
    void (*select)(void *y, const void *c, const void *a, const void *b, size_t n); /* c != 0 ? a : b */
    void (*fma)(void *y, const void *a, const void *b, const void *c, size_t n); /* a b + c */
    void (*fill)(void *y, const void *s, size_t n);
    void (*splat_rows)(void *y, const void *x, size_t rows, size_t inner); /* y[r][i] = x[r] */
    void (*copy_strided)(void *y, const void *x, const size_t n[4], const ptrdiff_t ys[4], const ptrdiff_t xs[4]);
    void (*transpose)(void *y, size_t ldy, const void *x, size_t ldx, size_t rows, size_t cols); /* y[c][r] = x[r][c] */
    /* matrix: entries that multiply and reduce */
    /* C[i][j] = sum_p A[i a_row + p a_col] B[p][j], one chain of additions for p = 0, 1, ...: from C if flags & 1, else from bias[i], else from 0.
       Then, if act, the unary operation act - 1. */
    void (*gemm)(void *C, size_t ldc, const void *A, ptrdiff_t a_row, ptrdiff_t a_col, const void *B, size_t ldb, size_t m, size_t n, size_t k, int flags, const void *bias, int act);
    /* C[i][j] (+)= sum_p A[i][p] B[j][p]; scratch holds wf__gemm_nt_scratch(n, k) elements. */
    void (*gemm_nt)(void *C, size_t ldc, const void *A, size_t lda, const void *B, size_t ldb, size_t m, size_t n, size_t k, int accumulate, void *scratch);
    void (*sum_rows)(double *acc, const void *x, size_t rows, size_t inner, size_t valid); /* acc[r] += sum of x[r][0 .. valid-1] */
    void (*fold)(void *y, const void *x, size_t n, int kind); /* y = sum (kind 0) or largest (1) of x[0 .. n-1] */
    /* Along the middle axis of x[outer][n][inner]; y may not be x. */
    void (*reduce)(void *y, const void *x, size_t outer, size_t n, size_t inner, int kind); /* kind as above */
    void (*cumsum)(void *y, const void *x, size_t outer, size_t n, size_t inner, int flags); /* 1: exclusive, 2: from the end */
    void (*softmax)(void *y, const void *x, size_t outer, size_t n, size_t inner);
    /* c: rate, beta1, beta2, eps, decoupled decay, 1 - beta1^t, 1 - beta2^t, factor of the gradient */
    void (*adam)(void *p, const void *g, void *m, void *v, size_t n, const double c[8]);
    size_t width; /* lanes of a vector */
    size_t size; /* bytes of an element */
    const char *name;
} wf__kernels;

/* matrix: list the operations */
#define WF__UNARY_LIST(P, copy) \
    P##_neg, P##_recip, P##_exp, P##_expm1, P##_log, P##_log1p, P##_sqrt, P##_tanh, P##_sigmoid, P##_softplus, P##_erf, P##_sin, P##_cos, P##_abs, P##_sign, P##_floor, P##_round, \
    P##_relu, copy, P##_square
#define WF__BINARY_LIST(P) P##_add, P##_sub, P##_mul, P##_div, P##_max, P##_min, P##_lt, P##_le, P##_eq, P##_atan2, P##_dtanh, P##_dsigmoid
#define WF__REVERSED_LIST(P) P##_rsub, P##_rdiv

/* matrix: list operations with their numbers */
#define WF__UNARY_OPS(X) \
    X(neg, WF__NEG) X(recip, WF__RECIP) X(exp, WF__EXP) X(expm1, WF__EXPM1) X(log, WF__LOG) X(log1p, WF__LOG1P) X(sqrt, WF__SQRT) X(tanh, WF__TANH) X(sigmoid, WF__SIGMOID) \
    X(softplus, WF__SOFTPLUS) X(erf, WF__ERF) X(sin, WF__SIN) X(cos, WF__COS) X(abs, WF__ABS) X(sign, WF__SIGN) X(floor, WF__FLOOR) X(round, WF__ROUND) X(relu, WF__RELU) \
    X(square, WF__SQUARE)
#define WF__BINARY_OPS(X) \
    X(add, WF__ADD) X(sub, WF__SUB) X(mul, WF__MUL) X(div, WF__DIV) X(max, WF__MAX) X(min, WF__MIN) X(lt, WF__LT) X(le, WF__LE) X(eq, WF__EQ) X(atan2, WF__ATAN2) X(dtanh, WF__DTANH) \
    X(dsigmoid, WF__DSIGMOID)

/* matrix: spell the tree */
#define WF__MAX2(a, b) ((b) > (a) || (b) != (b) ? (b) : (a))
#define WF__TREE(t) \
    ((((t[0] + t[8]) + (t[4] + t[12])) + ((t[2] + t[10]) + (t[6] + t[14]))) + (((t[1] + t[9]) + (t[5] + t[13])) + ((t[3] + t[11]) + (t[7] + t[15]))))

/* matrix: size the scratch of a product by a transpose */
static size_t wf__gemm_nt_scratch(size_t n, size_t k)
{
    return (n + 15) / 16 * 16 * k;
}

/* matrix: find an element */
static void *wf__nth(const wf__kernels *K, const void *p, size_t i)
{
    return (void *)((uintptr_t)p + i * K->size);
}

/* matrix: reduce */
WF__NEVER_INLINE static void wf__any_reduce(const wf__kernels *K, void *y, const void *x, size_t outer, size_t n, size_t inner, int kind)
{
    for (size_t o = 0; o < outer; o++) {
        const void *from = wf__nth(K, x, o * n * inner);
        void *to = wf__nth(K, y, o * inner);
        if (inner == 1) {
            K->fold(to, from, n, kind);
            continue;
        }
        if (n) K->unary[WF__COPY](to, from, inner);
        else memset(to, 0, inner * K->size);
        if (!n && kind) K->unary[WF__LOG](to, to, inner); /* the largest of nothing: minus infinity */
        for (size_t p = 1; p < n; p++) K->binary[kind ? WF__MAX : WF__ADD](to, to, wf__nth(K, from, p * inner), inner);
    }
}

/* matrix: accumulate */
WF__NEVER_INLINE static void wf__any_cumsum(const wf__kernels *K, void *y, const void *x, size_t outer, size_t n, size_t inner, int flags)
{
    for (size_t o = 0; o < outer && n; o++)
        for (size_t p = 0; p < n; p++) {
            size_t start = o * n, row = flags & 2 ? n - 1 - p : p, last = flags & 2 ? row + 1 : row - 1;
            void *to = wf__nth(K, y, (start + row) * inner);
            const void *from = wf__nth(K, x, (start + (flags & 1 ? last : row)) * inner);
            if (p) K->binary[WF__ADD](to, wf__nth(K, y, (start + last) * inner), from, inner);
            else if (flags & 1) memset(to, 0, inner * K->size);
            else K->unary[WF__COPY](to, from, inner);
        }
}

/* matrix: softmax of a row */
static void wf__softmax_row(const wf__kernels *K, void *y, const void *x, size_t n)
{
    double most, sum; /* of either type */
    K->fold(&most, x, n, 1);
    K->binary_scalar[WF__SUB](y, x, &most, n);
    K->unary[WF__EXP](y, y, n);
    K->fold(&sum, y, n, 0);
    K->unary[WF__RECIP](&sum, &sum, 1);
    K->binary_scalar[WF__MUL](y, y, &sum, n);
}

/* matrix: softmax of a band of columns */
#define WF__BAND ((size_t)32) /* doubles, or twice as many floats */

static void wf__softmax_band(const wf__kernels *K, void *y, const void *x, size_t n, size_t inner, size_t cols)
{
    double most[WF__BAND], sum[WF__BAND]; /* of either type */
    K->unary[WF__COPY](most, x, cols);
    for (size_t p = 1; p < n; p++) K->binary[WF__MAX](most, most, wf__nth(K, x, p * inner), cols);
    for (size_t p = 0; p < n; p++) {
        void *row = wf__nth(K, y, p * inner);
        K->binary[WF__SUB](row, wf__nth(K, x, p * inner), most, cols);
        K->unary[WF__EXP](row, row, cols);
        if (p) K->binary[WF__ADD](sum, sum, row, cols);
        else K->unary[WF__COPY](sum, row, cols);
    }
    K->unary[WF__RECIP](sum, sum, cols);
    for (size_t p = 0; p < n; p++) K->binary[WF__MUL](wf__nth(K, y, p * inner), wf__nth(K, y, p * inner), sum, cols);
}

/* matrix: softmax */
WF__NEVER_INLINE static void wf__any_softmax(const wf__kernels *K, void *y, const void *x, size_t outer, size_t n, size_t inner)
{
    size_t width = WF__BAND * sizeof(double) / K->size;
    for (size_t o = 0; o < outer && n; o++)
        for (size_t j = 0; j < inner; j += width) {
            size_t at = o * n * inner + j;
            if (inner == 1) wf__softmax_row(K, wf__nth(K, y, at), wf__nth(K, x, at), n);
            else wf__softmax_band(K, wf__nth(K, y, at), wf__nth(K, x, at), n, inner, inner - j < width ? inner - j : width);
        }
}

/* matrix: repeat and multiply by a transpose */
WF__NEVER_INLINE static void wf__any_splat_rows(const wf__kernels *K, void *y, const void *x, size_t rows, size_t inner)
{
    for (size_t r = 0; r < rows; r++) K->fill(wf__nth(K, y, r * inner), wf__nth(K, x, r), inner);
}

WF__NEVER_INLINE static void wf__any_gemm_nt(const wf__kernels *K, void *C, size_t ldc, const void *A, size_t lda, const void *B, size_t ldb, size_t m, size_t n, size_t k, int accumulate, void *scratch)
{
    size_t ld = (n + 15) / 16 * 16;
    K->transpose(scratch, ld, B, ldb, n, k);
    K->gemm(C, ldc, A, (ptrdiff_t)lda, 1, scratch, ld, m, n, k, accumulate != 0, NULL, 0);
}

/* matrix: give composed kernels their table */
#define WF__COMPOSED(P) \
    static const wf__kernels *P##_table(void); \
    static void P##_splat_rows(void *y, const void *x, size_t rows, size_t inner) { wf__any_splat_rows(P##_table(), y, x, rows, inner); } \
    static void P##_gemm_nt(void *C, size_t ldc, const void *A, size_t lda, const void *B, size_t ldb, size_t m, size_t n, size_t k, int accumulate, void *scratch) \
    { wf__any_gemm_nt(P##_table(), C, ldc, A, lda, B, ldb, m, n, k, accumulate, scratch); } \
    static void P##_reduce(void *y, const void *x, size_t outer, size_t n, size_t inner, int kind) { wf__any_reduce(P##_table(), y, x, outer, n, inner, kind); } \
    static void P##_cumsum(void *y, const void *x, size_t outer, size_t n, size_t inner, int flags) { wf__any_cumsum(P##_table(), y, x, outer, n, inner, flags); } \
    static void P##_softmax(void *y, const void *x, size_t outer, size_t n, size_t inner) { wf__any_softmax(P##_table(), y, x, outer, n, inner); }

/* matrix: list composed kernels */
#define WF__SPLAT_ROWS(P) P##_splat_rows
#define WF__GEMM_NT(P) P##_gemm_nt
#define WF__COMPOSED_TABLE(P, table) static const wf__kernels *P##_table(void) { return &table; }
#define WF__COMPOSED_LIST(P) P##_reduce, P##_cumsum, P##_softmax

/* matrix: reference formulas */
WF__NEVER_INLINE static double wf__ref_one(int op, double x)
{
    switch (op) {
    case WF__NEG: return -x;
    case WF__RECIP: return 1.0 / x;
    case WF__EXP: return exp(x);
    case WF__EXPM1: return expm1(x);
    case WF__LOG: return log(x);
    case WF__LOG1P: return log1p(x);
    case WF__SQRT: return sqrt(x);
    case WF__TANH: return tanh(x);
    case WF__SIGMOID: return x < 0.0 ? exp(x) / (1.0 + exp(x)) : 1.0 / (1.0 + exp(-x));
    case WF__SOFTPLUS: return (0.0 > x ? 0.0 : x) + log1p(exp(-fabs(x)));
    case WF__ERF: return erf(x);
    case WF__SIN: return sin(x);
    case WF__COS: return cos(x);
    case WF__ABS: return fabs(x);
    case WF__SIGN: return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : x;
    case WF__FLOOR: return floor(x);
    case WF__ROUND: return rint(x);
    case WF__RELU: return 0.0 > x ? 0.0 : x;
    default: return x * x; /* WF__SQUARE */
    }
}

/* matrix: reference formulas with two arguments */
WF__NEVER_INLINE static double wf__ref_two(int op, double a, double b)
{
    switch (op) {
    case WF__ADD: return a + b;
    case WF__SUB: return a - b;
    case WF__MUL: return a * b;
    case WF__DIV: return a / b;
    case WF__MAX: return WF__MAX2(a, b);
    case WF__MIN: return b < a || b != b ? b : a;
    case WF__LT: return a < b;
    case WF__LE: return a <= b;
    case WF__EQ: return a <= b && a >= b;
    case WF__ATAN2: return atan2(a, b);
    case WF__DTANH: return a * (1.0 - b * b);
    case WF__DSIGMOID: return a * (b * (1.0 - b));
    case WF__RSUB: return b - a;
    default: return b / a; /* WF__RDIV */
    }
}

/* matrix: all reference kernels (f32) */
/* matrix: copy with strides */
static void wf__copy_strided_f32(void *to, const void *from, const size_t n[4], const ptrdiff_t ys[4], const ptrdiff_t xs[4])
{
    for (size_t a = 0; a < n[0]; a++)
        for (size_t b = 0; b < n[1]; b++)
            for (size_t c = 0; c < n[2]; c++) {
                float *y = (float *)to + (ptrdiff_t)a * ys[0] + (ptrdiff_t)b * ys[1] + (ptrdiff_t)c * ys[2];
                const float *x = (const float *)from + (ptrdiff_t)a * xs[0] + (ptrdiff_t)b * xs[1] + (ptrdiff_t)c * xs[2];
                if (ys[3] == 1 && xs[3] == 1) { if (n[3]) memcpy(y, x, n[3] * sizeof *y); }
                else for (size_t d = 0; d < n[3]; d++, y += ys[3], x += xs[3]) *y = *x;
            }
}

static void wf__copy_f32(void *y, const void *x, size_t n)
{
    if (n && y != x) memcpy(y, x, n * sizeof(float));
}

/* matrix: add sixteen lanes */
/* Adds the last n < 16 elements to their lanes (or takes the larger), and then the lanes. */
static void wf__fold_part_f32(float t[16], float *y, const float *x, size_t n, int kind)
{
    if (kind) {
        for (size_t i = 0; i < n; i++) t[i] = WF__MAX2(t[i], x[i]);
        for (int half = 8; half; half /= 2)
            for (int i = 0; i < half; i++) t[i] = WF__MAX2(t[i], t[i + half]);
        *y = t[0];
    } else {
        for (size_t i = 0; i < n; i++) t[i] += x[i];
        *y = WF__TREE(t);
    }
}

/* matrix: reference maps */
WF__NEVER_INLINE static void wf__ref_map_f32(int op, void *to, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++) ((float *)to)[i] = (float)wf__ref_one(op, (double)((const float *)from)[i]);
}

/* step is 0 where b is a scalar */
WF__NEVER_INLINE static void wf__ref_zip_f32(int op, void *to, const void *a, const void *b, size_t step, size_t n)
{
    float *y = (float *)to;
    const float *u = (const float *)a, *v = (const float *)b;
    if (op == WF__ADD) for (size_t i = 0; i < n; i++, v += step) y[i] = u[i] + *v;
    else if (op == WF__MUL) for (size_t i = 0; i < n; i++, v += step) y[i] = u[i] * *v;
    else for (size_t i = 0; i < n; i++, v += step) y[i] = (float)wf__ref_two(op, (double)u[i], (double)*v);
}

/* matrix: reference wrappers */
#define WF__ONE_f32(name, op) static void wf__ref_f32##_##name(void *y, const void *x, size_t n) { wf__ref_map_f32(op, y, x, n); }
#define WF__TWO_f32(name, op) static void wf__ref_f32##_##name(void *y, const void *a, const void *b, size_t n) { wf__ref_zip_f32(op, y, a, b, 1, n); }
#define WF__RIGHT_f32(name, op) static void wf__ref_right_f32##_##name(void *y, const void *a, const void *s, size_t n) { wf__ref_zip_f32(op, y, a, s, 0, n); }
WF__UNARY_OPS(WF__ONE_f32)
WF__BINARY_OPS(WF__TWO_f32)
WF__BINARY_OPS(WF__RIGHT_f32)
WF__RIGHT_f32(rsub, WF__RSUB)
WF__RIGHT_f32(rdiv, WF__RDIV)

/* matrix: reference for choices and copies */
static void wf__ref_select_f32(void *to, const void *choice, const void *first, const void *second, size_t n)
{
    const float *c = (const float *)choice, *a = (const float *)first, *b = (const float *)second;
    for (size_t i = 0; i < n; i++) ((float *)to)[i] = c[i] <= 0 && c[i] >= 0 ? b[i] : a[i];
}

static void wf__ref_fma_f32(void *to, const void *first, const void *second, const void *third, size_t n)
{
    const float *a = (const float *)first, *b = (const float *)second, *c = (const float *)third;
    for (size_t i = 0; i < n; i++) ((float *)to)[i] = (float)((double)a[i] * (double)b[i] + (double)c[i]);
}

static void wf__ref_fill_f32(void *to, const void *s, size_t n)
{
    for (size_t i = 0; i < n; i++) ((float *)to)[i] = *(const float *)s;
}

/* matrix: reference for rows and columns */
static void wf__ref_transpose_f32(void *y, size_t ldy, const void *x, size_t ldx, size_t rows, size_t cols)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) ((float *)y)[c * ldy + r] = ((const float *)x)[r * ldx + c];
}

static void wf__ref_fold_f32(void *y, const void *from, size_t n, int kind)
{
    float t[16];
    const float *x = (const float *)from;
    for (int l = 0; l < 16; l++) t[l] = kind ? (float)-HUGE_VAL : (float)0;
    for (; n >= 16; n -= 16, x += 16)
        for (int l = 0; l < 16; l++) t[l] = kind ? WF__MAX2(t[l], x[l]) : t[l] + x[l];
    wf__fold_part_f32(t, (float *)y, x, n, kind);
}

static void wf__ref_sum_rows_f32(double *acc, const void *x, size_t rows, size_t inner, size_t valid)
{
    for (size_t r = 0; r < rows; r++) {
        float sum;
        wf__ref_fold_f32(&sum, (const float *)x + r * inner, valid, 0);
        acc[r] += (double)sum;
    }
}

/* matrix: reference for products */
static void wf__ref_gemm_f32(void *to, size_t ldc, const void *left, ptrdiff_t ar, ptrdiff_t ac, const void *right, size_t ldb, size_t m, size_t n, size_t k, int flags,
                              const void *bias, int act)
{
    for (size_t i = 0; i < m; i++) {
        float *c = (float *)to + i * ldc;
        const float *a = (const float *)left + (ptrdiff_t)i * ar;
        if (!(flags & 1)) for (size_t j = 0; j < n; j++) c[j] = bias ? ((const float *)bias)[i] : (float)0;
        for (size_t p = 0; p < k; p++) {
            const float *b = (const float *)right + p * ldb;
            float s = a[(ptrdiff_t)p * ac];
            for (size_t j = 0; j < n; j++) c[j] += s * b[j];
        }
        if (act) wf__ref_map_f32(act - 1, c, c, n);
    }
}

/* matrix: reference for Adam */
static void wf__ref_adam_f32(void *parameter, const void *gradient, void *mean, void *square, size_t n, const double c[8])
{
    float *p = (float *)parameter, *m = (float *)mean, *v = (float *)square;
    for (size_t i = 0; i < n; i++) {
        double g = c[7] * (double)((const float *)gradient)[i];
        double mi = c[1] * (double)m[i] + (1.0 - c[1]) * g, vi = c[2] * (double)v[i] + (1.0 - c[2]) * g * g;
        m[i] = (float)mi;
        v[i] = (float)vi;
        p[i] = (float)((double)p[i] * (1.0 - c[0] * c[4]) - c[0] / c[5] * mi / (sqrt(vi / c[6]) + c[3]));
    }
}

/* matrix: the reference table */
WF__COMPOSED(wf__of_f32)
static const wf__kernels wf__kernels_f32 = {
    { WF__UNARY_LIST(wf__ref_f32, wf__copy_f32) }, { WF__BINARY_LIST(wf__ref_f32) }, { WF__BINARY_LIST(wf__ref_right_f32), WF__REVERSED_LIST(wf__ref_right_f32) },
    wf__ref_select_f32, wf__ref_fma_f32, wf__ref_fill_f32, WF__SPLAT_ROWS(wf__of_f32), wf__copy_strided_f32, wf__ref_transpose_f32, wf__ref_gemm_f32, WF__GEMM_NT(wf__of_f32),
    wf__ref_sum_rows_f32, wf__ref_fold_f32, WF__COMPOSED_LIST(wf__of_f32), wf__ref_adam_f32, 1, sizeof(float), "reference"
};
WF__COMPOSED_TABLE(wf__of_f32, wf__kernels_f32)

/* matrix: all reference kernels (f64) */
/* matrix: copy with strides */
static void wf__copy_strided_f64(void *to, const void *from, const size_t n[4], const ptrdiff_t ys[4], const ptrdiff_t xs[4])
{
    for (size_t a = 0; a < n[0]; a++)
        for (size_t b = 0; b < n[1]; b++)
            for (size_t c = 0; c < n[2]; c++) {
                double *y = (double *)to + (ptrdiff_t)a * ys[0] + (ptrdiff_t)b * ys[1] + (ptrdiff_t)c * ys[2];
                const double *x = (const double *)from + (ptrdiff_t)a * xs[0] + (ptrdiff_t)b * xs[1] + (ptrdiff_t)c * xs[2];
                if (ys[3] == 1 && xs[3] == 1) { if (n[3]) memcpy(y, x, n[3] * sizeof *y); }
                else for (size_t d = 0; d < n[3]; d++, y += ys[3], x += xs[3]) *y = *x;
            }
}

static void wf__copy_f64(void *y, const void *x, size_t n)
{
    if (n && y != x) memcpy(y, x, n * sizeof(double));
}

/* matrix: add sixteen lanes */
/* Adds the last n < 16 elements to their lanes (or takes the larger), and then the lanes. */
static void wf__fold_part_f64(double t[16], double *y, const double *x, size_t n, int kind)
{
    if (kind) {
        for (size_t i = 0; i < n; i++) t[i] = WF__MAX2(t[i], x[i]);
        for (int half = 8; half; half /= 2)
            for (int i = 0; i < half; i++) t[i] = WF__MAX2(t[i], t[i + half]);
        *y = t[0];
    } else {
        for (size_t i = 0; i < n; i++) t[i] += x[i];
        *y = WF__TREE(t);
    }
}

/* matrix: reference maps */
WF__NEVER_INLINE static void wf__ref_map_f64(int op, void *to, const void *from, size_t n)
{
    for (size_t i = 0; i < n; i++) ((double *)to)[i] = (double)wf__ref_one(op, (double)((const double *)from)[i]);
}

/* step is 0 where b is a scalar */
WF__NEVER_INLINE static void wf__ref_zip_f64(int op, void *to, const void *a, const void *b, size_t step, size_t n)
{
    double *y = (double *)to;
    const double *u = (const double *)a, *v = (const double *)b;
    if (op == WF__ADD) for (size_t i = 0; i < n; i++, v += step) y[i] = u[i] + *v;
    else if (op == WF__MUL) for (size_t i = 0; i < n; i++, v += step) y[i] = u[i] * *v;
    else for (size_t i = 0; i < n; i++, v += step) y[i] = (double)wf__ref_two(op, (double)u[i], (double)*v);
}

/* matrix: reference wrappers */
#define WF__ONE_f64(name, op) static void wf__ref_f64##_##name(void *y, const void *x, size_t n) { wf__ref_map_f64(op, y, x, n); }
#define WF__TWO_f64(name, op) static void wf__ref_f64##_##name(void *y, const void *a, const void *b, size_t n) { wf__ref_zip_f64(op, y, a, b, 1, n); }
#define WF__RIGHT_f64(name, op) static void wf__ref_right_f64##_##name(void *y, const void *a, const void *s, size_t n) { wf__ref_zip_f64(op, y, a, s, 0, n); }
WF__UNARY_OPS(WF__ONE_f64)
WF__BINARY_OPS(WF__TWO_f64)
WF__BINARY_OPS(WF__RIGHT_f64)
WF__RIGHT_f64(rsub, WF__RSUB)
WF__RIGHT_f64(rdiv, WF__RDIV)

/* matrix: reference for choices and copies */
static void wf__ref_select_f64(void *to, const void *choice, const void *first, const void *second, size_t n)
{
    const double *c = (const double *)choice, *a = (const double *)first, *b = (const double *)second;
    for (size_t i = 0; i < n; i++) ((double *)to)[i] = c[i] <= 0 && c[i] >= 0 ? b[i] : a[i];
}

static void wf__ref_fma_f64(void *to, const void *first, const void *second, const void *third, size_t n)
{
    const double *a = (const double *)first, *b = (const double *)second, *c = (const double *)third;
    for (size_t i = 0; i < n; i++) ((double *)to)[i] = (double)((double)a[i] * (double)b[i] + (double)c[i]);
}

static void wf__ref_fill_f64(void *to, const void *s, size_t n)
{
    for (size_t i = 0; i < n; i++) ((double *)to)[i] = *(const double *)s;
}

/* matrix: reference for rows and columns */
static void wf__ref_transpose_f64(void *y, size_t ldy, const void *x, size_t ldx, size_t rows, size_t cols)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < cols; c++) ((double *)y)[c * ldy + r] = ((const double *)x)[r * ldx + c];
}

static void wf__ref_fold_f64(void *y, const void *from, size_t n, int kind)
{
    double t[16];
    const double *x = (const double *)from;
    for (int l = 0; l < 16; l++) t[l] = kind ? (double)-HUGE_VAL : (double)0;
    for (; n >= 16; n -= 16, x += 16)
        for (int l = 0; l < 16; l++) t[l] = kind ? WF__MAX2(t[l], x[l]) : t[l] + x[l];
    wf__fold_part_f64(t, (double *)y, x, n, kind);
}

static void wf__ref_sum_rows_f64(double *acc, const void *x, size_t rows, size_t inner, size_t valid)
{
    for (size_t r = 0; r < rows; r++) {
        double sum;
        wf__ref_fold_f64(&sum, (const double *)x + r * inner, valid, 0);
        acc[r] += (double)sum;
    }
}

/* matrix: reference for products */
static void wf__ref_gemm_f64(void *to, size_t ldc, const void *left, ptrdiff_t ar, ptrdiff_t ac, const void *right, size_t ldb, size_t m, size_t n, size_t k, int flags,
                              const void *bias, int act)
{
    for (size_t i = 0; i < m; i++) {
        double *c = (double *)to + i * ldc;
        const double *a = (const double *)left + (ptrdiff_t)i * ar;
        if (!(flags & 1)) for (size_t j = 0; j < n; j++) c[j] = bias ? ((const double *)bias)[i] : (double)0;
        for (size_t p = 0; p < k; p++) {
            const double *b = (const double *)right + p * ldb;
            double s = a[(ptrdiff_t)p * ac];
            for (size_t j = 0; j < n; j++) c[j] += s * b[j];
        }
        if (act) wf__ref_map_f64(act - 1, c, c, n);
    }
}

/* matrix: reference for Adam */
static void wf__ref_adam_f64(void *parameter, const void *gradient, void *mean, void *square, size_t n, const double c[8])
{
    double *p = (double *)parameter, *m = (double *)mean, *v = (double *)square;
    for (size_t i = 0; i < n; i++) {
        double g = c[7] * (double)((const double *)gradient)[i];
        double mi = c[1] * (double)m[i] + (1.0 - c[1]) * g, vi = c[2] * (double)v[i] + (1.0 - c[2]) * g * g;
        m[i] = (double)mi;
        v[i] = (double)vi;
        p[i] = (double)((double)p[i] * (1.0 - c[0] * c[4]) - c[0] / c[5] * mi / (sqrt(vi / c[6]) + c[3]));
    }
}

/* matrix: the reference table */
WF__COMPOSED(wf__of_f64)
static const wf__kernels wf__kernels_f64 = {
    { WF__UNARY_LIST(wf__ref_f64, wf__copy_f64) }, { WF__BINARY_LIST(wf__ref_f64) }, { WF__BINARY_LIST(wf__ref_right_f64), WF__REVERSED_LIST(wf__ref_right_f64) },
    wf__ref_select_f64, wf__ref_fma_f64, wf__ref_fill_f64, WF__SPLAT_ROWS(wf__of_f64), wf__copy_strided_f64, wf__ref_transpose_f64, wf__ref_gemm_f64, WF__GEMM_NT(wf__of_f64),
    wf__ref_sum_rows_f64, wf__ref_fold_f64, WF__COMPOSED_LIST(wf__of_f64), wf__ref_adam_f64, 1, sizeof(double), "reference"
};
WF__COMPOSED_TABLE(wf__of_f64, wf__kernels_f64)
#define WF__STRIP ((size_t)64) /* columns of a product that are done together */

/* header: optimise from here */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O1,expensive-optimizations,gcse")
#endif

/* matrix: all kernels (sse2) */
#if defined(WF__ISA_SSE2)
/* matrix: load and store what is left */
#define WF__GET_sse2(p, left) ((left) >= WF__SSE2_W ? WF__SSE2_LD(p) : WF__SSE2_LDK(p, WF__SSE2_TAIL(left)))
#define WF__PUT_sse2(p, v, left) do { if ((left) >= WF__SSE2_W) WF__SSE2_ST(p, v); else WF__SSE2_STK(p, v, WF__SSE2_TAIL(left)); } while (0)

/* matrix: map one argument */
#define WF__MAP_sse2(name, formula) \
    WF__KERNEL_sse2 void wf__map_sse2##_##name(void *to, const void *from, size_t n) \
    { \
        float *y = (float *)to; \
        const float *u = (const float *)from; \
        for (size_t i = 0; i < n; i += WF__SSE2_W) { \
            WF__SSE2_F x = WF__GET_sse2(u + i, n - i); \
            WF__PUT_sse2(y + i, formula, n - i); \
        } \
    }

/* matrix: operations with one argument */
WF__MAP_sse2(neg, WF__SSE2_NEG(x))
WF__MAP_sse2(recip, WF__SSE2_DIV(WF__SSE2_SET1(1.0f), x))
WF__MAP_sse2(exp, wf__exp_sse2(x))
WF__MAP_sse2(expm1, wf__expm1_sse2(x))
WF__MAP_sse2(log, wf__log_sse2(x))
WF__MAP_sse2(log1p, wf__log1p_sse2(x))
WF__MAP_sse2(sqrt, WF__SSE2_SQRT(x))
WF__MAP_sse2(tanh, wf__tanh_sse2(x))
WF__MAP_sse2(sigmoid, wf__sigmoid_sse2(x))
WF__MAP_sse2(softplus, wf__softplus_sse2(x))
WF__MAP_sse2(erf, wf__erf_sse2(x))
WF__MAP_sse2(sin, wf__sin_sse2(x))
WF__MAP_sse2(cos, wf__cos_sse2(x))
WF__MAP_sse2(abs, WF__SSE2_ABS(x))
WF__MAP_sse2(sign, WF__SSE2_SEL(WF__SSE2_LT(WF__SSE2_ZERO, WF__SSE2_ABS(x)), WF__SSE2_OR(WF__SSE2_SIGN(x), WF__SSE2_SET1(1.0f)), x))
WF__MAP_sse2(floor, WF__SSE2_FLOOR(x))
WF__MAP_sse2(round, WF__SSE2_ROUND(x))
WF__MAP_sse2(relu, WF__SSE2_MAX(WF__SSE2_ZERO, x))
WF__MAP_sse2(square, WF__SSE2_MUL(x, x))

/* matrix: map two arguments */
#define WF__ZIP_sse2(name, formula) \
    WF__NEVER_INLINE WF__KERNEL_sse2 void wf__zip_sse2##_##name(float *y, const float *u, size_t us, const float *v, size_t vs, size_t n) \
    { \
        for (size_t i = 0; i < n; i += WF__SSE2_W, u += us, v += vs) { \
            WF__SSE2_F a = WF__GET_sse2(u, n - i), b = WF__GET_sse2(v, n - i); \
            WF__PUT_sse2(y + i, formula, n - i); \
        } \
    } \
    WF__KERNEL_sse2 void wf__map_sse2##_##name(void *y, const void *a, const void *b, size_t n) \
    { \
        wf__zip_sse2##_##name((float *)y, (const float *)a, WF__SSE2_W, (const float *)b, WF__SSE2_W, n); \
    } \
    WF__KERNEL_sse2 void wf__right_sse2##_##name(void *y, const void *a, const void *s, size_t n) \
    { \
        float t[WF__SSE2_W]; \
        WF__SSE2_ST(t, WF__SSE2_SET1(*(const float *)s)); \
        wf__zip_sse2##_##name((float *)y, (const float *)a, WF__SSE2_W, t, 0, n); \
    }

/* matrix: put the scalar first */
#define WF__LEFT_sse2(name) \
    WF__KERNEL_sse2 void wf__left_sse2##_r##name(void *y, const void *a, const void *s, size_t n) \
    { \
        float t[WF__SSE2_W]; \
        WF__SSE2_ST(t, WF__SSE2_SET1(*(const float *)s)); \
        wf__zip_sse2##_##name((float *)y, t, 0, (const float *)a, WF__SSE2_W, n); \
    }

/* matrix: operations with two arguments */
#define WF__MAXIMUM_sse2(a, b) WF__SSE2_SEL(WF__SSE2_EQ(b, b), WF__SSE2_MAX(b, a), b)
#define WF__MINIMUM_sse2(a, b) WF__SSE2_SEL(WF__SSE2_EQ(b, b), WF__SSE2_MIN(b, a), b)
#define WF__ONE_IF_sse2(m) WF__SSE2_SEL(m, WF__SSE2_SET1(1.0f), WF__SSE2_ZERO)
WF__ZIP_sse2(add, WF__SSE2_ADD(a, b))
WF__ZIP_sse2(sub, WF__SSE2_SUB(a, b))
WF__ZIP_sse2(mul, WF__SSE2_MUL(a, b))
WF__ZIP_sse2(div, WF__SSE2_DIV(a, b))
WF__ZIP_sse2(max, WF__MAXIMUM_sse2(a, b))
WF__ZIP_sse2(min, WF__MINIMUM_sse2(a, b))
WF__ZIP_sse2(lt, WF__ONE_IF_sse2(WF__SSE2_LT(a, b)))
WF__ZIP_sse2(le, WF__ONE_IF_sse2(WF__SSE2_LE(a, b)))
WF__ZIP_sse2(eq, WF__ONE_IF_sse2(WF__SSE2_EQ(a, b)))
WF__ZIP_sse2(atan2, wf__atan2_sse2(a, b))
WF__ZIP_sse2(dtanh, WF__SSE2_MUL(a, WF__SSE2_FNMA(b, b, WF__SSE2_SET1(1.0f))))
WF__ZIP_sse2(dsigmoid, WF__SSE2_MUL(a, WF__SSE2_MUL(b, WF__SSE2_SUB(WF__SSE2_SET1(1.0f), b))))
WF__LEFT_sse2(sub)
WF__LEFT_sse2(div)

/* matrix: choose, multiply and add, fill */
WF__KERNEL_sse2 void wf__select_all_sse2(void *to, const void *choice, const void *first, const void *second, size_t n)
{
    float *y = (float *)to;
    const float *c = (const float *)choice, *a = (const float *)first, *b = (const float *)second;
    for (size_t i = 0; i < n; i += WF__SSE2_W) {
        WF__SSE2_F s = WF__GET_sse2(c + i, n - i), u = WF__GET_sse2(a + i, n - i), v = WF__GET_sse2(b + i, n - i);
        WF__PUT_sse2(y + i, WF__SSE2_SEL(WF__SSE2_EQ(s, WF__SSE2_ZERO), v, u), n - i);
    }
}

/* matrix: multiply and add, fill */
WF__KERNEL_sse2 void wf__fma_all_sse2(void *to, const void *first, const void *second, const void *third, size_t n)
{
    float *y = (float *)to;
    const float *a = (const float *)first, *b = (const float *)second, *c = (const float *)third;
    for (size_t i = 0; i < n; i += WF__SSE2_W) {
        WF__SSE2_F u = WF__GET_sse2(a + i, n - i), v = WF__GET_sse2(b + i, n - i), w = WF__GET_sse2(c + i, n - i);
        WF__PUT_sse2(y + i, WF__SSE2_FMA(u, v, w), n - i);
    }
}

WF__KERNEL_sse2 void wf__fill_all_sse2(void *to, const void *s, size_t n)
{
    WF__SSE2_F x = WF__SSE2_SET1(*(const float *)s);
    for (size_t i = 0; i < n; i += WF__SSE2_W) WF__PUT_sse2((float *)to + i, x, n - i);
}

/* matrix: transpose a tile */
/* y[c][r] = x[r][c] for `WF__SSE2_W` rows and four columns */
WF__INLINE_sse2 void wf__transpose_tile_sse2(float *y, size_t ldy, const float *x, size_t ldx)
{
    WF__SSE2_F a = WF__SSE2_LD4(x, ldx), b = WF__SSE2_LD4(x + ldx, ldx), c = WF__SSE2_LD4(x + 2 * ldx, ldx), d = WF__SSE2_LD4(x + 3 * ldx, ldx);
    WF__SSE2_F ab = WF__SSE2_ZIPLO(a, b), cd = WF__SSE2_ZIPLO(c, d), AB = WF__SSE2_ZIPHI(a, b), CD = WF__SSE2_ZIPHI(c, d);
    WF__SSE2_ST(y, WF__SSE2_PAIRLO(ab, cd));
    WF__SSE2_ST(y + ldy, WF__SSE2_PAIRHI(ab, cd));
    WF__SSE2_ST(y + 2 * ldy, WF__SSE2_PAIRLO(AB, CD));
    WF__SSE2_ST(y + 3 * ldy, WF__SSE2_PAIRHI(AB, CD));
}

/* matrix: transpose */
WF__KERNEL_sse2 void wf__transpose_sse2(void *to, size_t ldy, const void *from, size_t ldx, size_t rows, size_t cols)
{
    float *y = (float *)to;
    const float *x = (const float *)from;
    size_t full = rows - rows % WF__SSE2_W, fours = cols - cols % 4;
    for (size_t r = 0; r < full; r += WF__SSE2_W)
        for (size_t c = 0; c < fours; c += 4) wf__transpose_tile_sse2(y + c * ldy + r, ldy, x + r * ldx + c, ldx);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = r < full ? fours : 0; c < cols; c++) y[c * ldy + r] = x[r * ldx + c];
}

/* matrix: open a row of the block */
#define WF__ROW_OPEN_sse2(i) \
    WF__SSE2_F c##i##0 = WF__SSE2_ZERO, c##i##1 = c##i##0, c##i##2 = c##i##0, c##i##3 = c##i##0; \
    if (rows > i && (flags & 1)) { \
        const float *c = C + i * ldc; \
        c##i##0 = part ? WF__SSE2_LDK(c, tail) : WF__SSE2_LD(c); \
        if (vecs > 1) c##i##1 = WF__SSE2_LD(c + WF__SSE2_W); \
        if (vecs > 2) { c##i##2 = WF__SSE2_LD(c + 2 * WF__SSE2_W); c##i##3 = WF__SSE2_LD(c + 3 * WF__SSE2_W); } \
    } else if (rows > i && bias) c##i##0 = c##i##1 = c##i##2 = c##i##3 = WF__SSE2_SET1(bias[i]);

/* matrix: step a row of the block */
#define WF__ROW_STEP_sse2(i, p) \
    if (rows > i) { \
        WF__SSE2_F a = WF__SSE2_SET1(p); \
        c##i##0 = WF__SSE2_FMA(a, b0, c##i##0); \
        if (vecs > 1) c##i##1 = WF__SSE2_FMA(a, b1, c##i##1); \
        if (vecs > 2) { c##i##2 = WF__SSE2_FMA(a, b2, c##i##2); c##i##3 = WF__SSE2_FMA(a, b3, c##i##3); } \
    }

/* matrix: close a row of the block */
#define WF__ROW_CLOSE_sse2(i) \
    if (rows > i) { \
        float *c = C + i * ldc; \
        if (part) WF__SSE2_STK(c, c##i##0, tail); \
        else WF__SSE2_ST(c, c##i##0); \
        if (vecs > 1) WF__SSE2_ST(c + WF__SSE2_W, c##i##1); \
        if (vecs > 2) { WF__SSE2_ST(c + 2 * WF__SSE2_W, c##i##2); WF__SSE2_ST(c + 3 * WF__SSE2_W, c##i##3); } \
    }

/* matrix: multiply one block */
WF__INLINE_sse2 void wf__block_sse2(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t k, int flags, const float *bias,
                                  const int rows, const int vecs, const int part, WF__SSE2_K tail)
{
    WF__ROW_OPEN_sse2(0) WF__ROW_OPEN_sse2(1) WF__ROW_OPEN_sse2(2) WF__ROW_OPEN_sse2(3) WF__ROW_OPEN_sse2(4) WF__ROW_OPEN_sse2(5)
    const float *A3 = A + (rows > 3 ? 3 * ar : 0);
    for (; k; k--) {
        WF__SSE2_F b0 = part && WF__SSE2_W > 4 ? WF__SSE2_LDK(B, tail) : WF__SSE2_LD(B), b1 = b0, b2 = b0, b3 = b0;
        if (vecs > 1) b1 = WF__SSE2_LD(B + WF__SSE2_W);
        if (vecs > 2) { b2 = WF__SSE2_LD(B + 2 * WF__SSE2_W); b3 = WF__SSE2_LD(B + 3 * WF__SSE2_W); }
        WF__ROW_STEP_sse2(0, A[0]) WF__ROW_STEP_sse2(1, A[ar]) WF__ROW_STEP_sse2(2, A[2 * ar])
        WF__ROW_STEP_sse2(3, A3[0]) WF__ROW_STEP_sse2(4, A3[ar]) WF__ROW_STEP_sse2(5, A3[2 * ar])
        A += ac;
        A3 += ac;
        B += ldb;
    }
    WF__ROW_CLOSE_sse2(0) WF__ROW_CLOSE_sse2(1) WF__ROW_CLOSE_sse2(2) WF__ROW_CLOSE_sse2(3) WF__ROW_CLOSE_sse2(4) WF__ROW_CLOSE_sse2(5)
}

/* matrix: multiply a strip */
WF__NEVER_INLINE WF__KERNEL_sse2 void wf__strip_sse2(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t m, size_t n, size_t k, int flags,
                                                   const float *bias)
{
    for (size_t rows; m; m -= rows, C += rows * ldc, A += (ptrdiff_t)rows * ar) {
        rows = m >= 6 ? 6 : m >= 4 ? 4 : m >= 2 ? 2 : 1;
        size_t wide = rows <= 2 ? 4 : WF__SSE2_NV, vecs;
        for (size_t j = 0; j < n; j += vecs * WF__SSE2_W) {
            WF__SSE2_K tail = WF__SSE2_TAIL(n - j < WF__SSE2_W ? n - j : WF__SSE2_W);
            vecs = n - j >= wide * WF__SSE2_W ? wide : 1;
            /* matrix: choose a block */
            #define WF__BLOCK_sse2(r, v, p) case 8 * r + v: wf__block_sse2(C + j, ldc, A, ar, ac, B + j, ldb, k, flags, bias, r, v, p, tail); break;
            switch (8 * rows + vecs) {
            WF__BLOCK_sse2(6, WF__SSE2_NV, 0)
            WF__BLOCK_sse2(4, WF__SSE2_NV, 0)
            WF__BLOCK_sse2(2, 4, 0)
            WF__BLOCK_sse2(1, 4, 0)
            WF__BLOCK_sse2(6, 1, 1)
            WF__BLOCK_sse2(4, 1, 1)
            WF__BLOCK_sse2(2, 1, 1)
            WF__BLOCK_sse2(1, 1, 1)
            default: break;
            }
            #undef WF__BLOCK_sse2
        }
        if (bias) bias += rows;
    }
}

/* matrix: copy a strip */
/* The same, from copies of 64 rows of B at a time. Each sum goes on where the piece before has left it. */
WF__NEVER_INLINE WF__KERNEL_sse2 void wf__strip_packed_sse2(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t m, size_t n, size_t k,
                                                          int flags, const float *bias)
{
    float room[WF__STRIP * WF__STRIP + 16], *packed = room + (64 - (uintptr_t)room % 64) % 64 / sizeof *room;
    for (size_t start = 0; start < k; start += WF__STRIP) {
        size_t piece = k - start < WF__STRIP ? k - start : WF__STRIP;
        for (size_t p = 0; p < piece; p++)
            for (size_t j = 0; j < n; j += WF__SSE2_W) WF__SSE2_ST(packed + p * WF__STRIP + j, WF__GET_sse2(B + (start + p) * ldb + j, n - j));
        wf__strip_sse2(C, ldc, A + (ptrdiff_t)start * ac, ar, ac, packed, WF__STRIP, m, n, piece, flags | (start > 0), bias);
    }
}

/* matrix: multiply */
WF__KERNEL_sse2 void wf__gemm_sse2(void *to, size_t ldc, const void *left, ptrdiff_t ar, ptrdiff_t ac, const void *right, size_t ldb, size_t m, size_t n, size_t k, int flags,
                                 const void *bias, int act)
{
    static void (*const unary[])(void *, const void *, size_t) = { WF__UNARY_LIST(wf__map_sse2, wf__copy_f32) };
    float *C = (float *)to;
    const float *A = (const float *)left, *B = (const float *)right;
    for (size_t j = 0; j < n; j += WF__STRIP) {
        size_t cols = n - j < WF__STRIP ? n - j : WF__STRIP;
        int pack = k > 0 && ((WF__SSE2_W < 16 && m >= 32 && ldb >= 1024) || (WF__SSE2_W == 4 && cols % 4));
        (pack ? wf__strip_packed_sse2 : wf__strip_sse2)(C + j, ldc, A, ar, ac, B + j, ldb, m, cols, k, flags, (const float *)bias);
    }
    if (act && ldc == n) unary[act - 1](C, C, m * n);
    else if (act) for (size_t i = 0; i < m; i++) unary[act - 1](C + i * ldc, C + i * ldc, n);
}

/* matrix: gather a row in sixteen lanes */
WF__KERNEL_sse2 void wf__fold_sse2(void *y, const void *from, size_t n, int kind)
{
    float t[16];
    const float *x = (const float *)from;
    WF__SSE2_F a = kind ? WF__SSE2_FLT(WF__SSE2_ISET1(-8388608)) : WF__SSE2_ZERO, b = a, c = a, d = a;
    for (; n >= 16; n -= 16, x += 16) {
#define WF__FOLD_sse2(s, v) s = kind ? WF__MAXIMUM_sse2(s, v) : WF__SSE2_ADD(s, v)
        WF__FOLD_sse2(a, WF__SSE2_LD(x));
        if (WF__SSE2_V > 1) WF__FOLD_sse2(b, WF__SSE2_LD(x + WF__SSE2_W));
        if (WF__SSE2_V > 2) { WF__FOLD_sse2(c, WF__SSE2_LD(x + 2 * WF__SSE2_W)); WF__FOLD_sse2(d, WF__SSE2_LD(x + 3 * WF__SSE2_W)); }
#undef WF__FOLD_sse2
    }
    WF__SSE2_ST(t, a);
    if (WF__SSE2_V > 1) WF__SSE2_ST(t + WF__SSE2_W, b);
    if (WF__SSE2_V > 2) { WF__SSE2_ST(t + 2 * WF__SSE2_W, c); WF__SSE2_ST(t + 3 * WF__SSE2_W, d); }
    wf__fold_part_f32(t, (float *)y, x, n, kind);
}

/* matrix: sum rows */
WF__KERNEL_sse2 void wf__sum_rows_sse2(double *acc, const void *x, size_t rows, size_t inner, size_t valid)
{
    for (size_t r = 0; r < rows; r++) {
        float sum;
        wf__fold_sse2(&sum, (const float *)x + r * inner, valid, 0);
        acc[r] += (double)sum;
    }
}

/* matrix: a step of Adam */
WF__KERNEL_sse2 void wf__adam_sse2(void *parameter, const void *gradient, void *mean, void *square, size_t n, const double c[8])
{
    float *p = (float *)parameter, *m = (float *)mean, *v = (float *)square;
    const float *g = (const float *)gradient;
    WF__SSE2_F keep_m = WF__SSE2_SET1((float)c[1]), new_m = WF__SSE2_SET1((float)(1.0 - c[1])), keep_v = WF__SSE2_SET1((float)c[2]), new_v = WF__SSE2_SET1((float)(1.0 - c[2]));
    WF__SSE2_F decay = WF__SSE2_SET1((float)(1.0 - c[0] * c[4])), rate = WF__SSE2_SET1((float)(c[0] / c[5])), root = WF__SSE2_SET1((float)(1.0 / sqrt(c[6]))), eps = WF__SSE2_SET1((float)c[3]);
    WF__SSE2_F factor = WF__SSE2_SET1((float)c[7]);
    for (size_t i = 0; i < n; i += WF__SSE2_W) {
        WF__SSE2_F d = WF__SSE2_MUL(factor, WF__GET_sse2(g + i, n - i)), mi, vi, pi;
        mi = WF__SSE2_FMA(keep_m, WF__GET_sse2(m + i, n - i), WF__SSE2_MUL(new_m, d));
        vi = WF__SSE2_FMA(keep_v, WF__GET_sse2(v + i, n - i), WF__SSE2_MUL(WF__SSE2_MUL(new_v, d), d));
        pi = WF__SSE2_MUL(decay, WF__GET_sse2(p + i, n - i));
        pi = WF__SSE2_FNMA(rate, WF__SSE2_DIV(mi, WF__SSE2_FMA(WF__SSE2_SQRT(vi), root, eps)), pi);
        WF__PUT_sse2(m + i, mi, n - i);
        WF__PUT_sse2(v + i, vi, n - i);
        WF__PUT_sse2(p + i, pi, n - i);
    }
}

/* matrix: the table of a vector set */
WF__COMPOSED(wf__of_sse2)
static const wf__kernels wf__kernels_sse2 = {
    { WF__UNARY_LIST(wf__map_sse2, wf__copy_f32) }, { WF__BINARY_LIST(wf__map_sse2) }, { WF__BINARY_LIST(wf__right_sse2), WF__REVERSED_LIST(wf__left_sse2) },
    wf__select_all_sse2, wf__fma_all_sse2, wf__fill_all_sse2, WF__SPLAT_ROWS(wf__of_sse2), wf__copy_strided_f32, wf__transpose_sse2, wf__gemm_sse2, WF__GEMM_NT(wf__of_sse2),
    wf__sum_rows_sse2, wf__fold_sse2, WF__COMPOSED_LIST(wf__of_sse2), wf__adam_sse2, WF__SSE2_W, sizeof(float), WF__SSE2_NAME
};
WF__COMPOSED_TABLE(wf__of_sse2, wf__kernels_sse2)
#endif

/* matrix: all kernels (avx2) */
#if defined(WF__ISA_AVX2)
/* matrix: load and store what is left */
#define WF__GET_avx2(p, left) ((left) >= WF__AVX2_W ? WF__AVX2_LD(p) : WF__AVX2_LDK(p, WF__AVX2_TAIL(left)))
#define WF__PUT_avx2(p, v, left) do { if ((left) >= WF__AVX2_W) WF__AVX2_ST(p, v); else WF__AVX2_STK(p, v, WF__AVX2_TAIL(left)); } while (0)

/* matrix: map one argument */
#define WF__MAP_avx2(name, formula) \
    WF__KERNEL_avx2 void wf__map_avx2##_##name(void *to, const void *from, size_t n) \
    { \
        float *y = (float *)to; \
        const float *u = (const float *)from; \
        for (size_t i = 0; i < n; i += WF__AVX2_W) { \
            WF__AVX2_F x = WF__GET_avx2(u + i, n - i); \
            WF__PUT_avx2(y + i, formula, n - i); \
        } \
    }

/* matrix: operations with one argument */
WF__MAP_avx2(neg, WF__AVX2_NEG(x))
WF__MAP_avx2(recip, WF__AVX2_DIV(WF__AVX2_SET1(1.0f), x))
WF__MAP_avx2(exp, wf__exp_avx2(x))
WF__MAP_avx2(expm1, wf__expm1_avx2(x))
WF__MAP_avx2(log, wf__log_avx2(x))
WF__MAP_avx2(log1p, wf__log1p_avx2(x))
WF__MAP_avx2(sqrt, WF__AVX2_SQRT(x))
WF__MAP_avx2(tanh, wf__tanh_avx2(x))
WF__MAP_avx2(sigmoid, wf__sigmoid_avx2(x))
WF__MAP_avx2(softplus, wf__softplus_avx2(x))
WF__MAP_avx2(erf, wf__erf_avx2(x))
WF__MAP_avx2(sin, wf__sin_avx2(x))
WF__MAP_avx2(cos, wf__cos_avx2(x))
WF__MAP_avx2(abs, WF__AVX2_ABS(x))
WF__MAP_avx2(sign, WF__AVX2_SEL(WF__AVX2_LT(WF__AVX2_ZERO, WF__AVX2_ABS(x)), WF__AVX2_OR(WF__AVX2_SIGN(x), WF__AVX2_SET1(1.0f)), x))
WF__MAP_avx2(floor, WF__AVX2_FLOOR(x))
WF__MAP_avx2(round, WF__AVX2_ROUND(x))
WF__MAP_avx2(relu, WF__AVX2_MAX(WF__AVX2_ZERO, x))
WF__MAP_avx2(square, WF__AVX2_MUL(x, x))

/* matrix: map two arguments */
#define WF__ZIP_avx2(name, formula) \
    WF__NEVER_INLINE WF__KERNEL_avx2 void wf__zip_avx2##_##name(float *y, const float *u, size_t us, const float *v, size_t vs, size_t n) \
    { \
        for (size_t i = 0; i < n; i += WF__AVX2_W, u += us, v += vs) { \
            WF__AVX2_F a = WF__GET_avx2(u, n - i), b = WF__GET_avx2(v, n - i); \
            WF__PUT_avx2(y + i, formula, n - i); \
        } \
    } \
    WF__KERNEL_avx2 void wf__map_avx2##_##name(void *y, const void *a, const void *b, size_t n) \
    { \
        wf__zip_avx2##_##name((float *)y, (const float *)a, WF__AVX2_W, (const float *)b, WF__AVX2_W, n); \
    } \
    WF__KERNEL_avx2 void wf__right_avx2##_##name(void *y, const void *a, const void *s, size_t n) \
    { \
        float t[WF__AVX2_W]; \
        WF__AVX2_ST(t, WF__AVX2_SET1(*(const float *)s)); \
        wf__zip_avx2##_##name((float *)y, (const float *)a, WF__AVX2_W, t, 0, n); \
    }

/* matrix: put the scalar first */
#define WF__LEFT_avx2(name) \
    WF__KERNEL_avx2 void wf__left_avx2##_r##name(void *y, const void *a, const void *s, size_t n) \
    { \
        float t[WF__AVX2_W]; \
        WF__AVX2_ST(t, WF__AVX2_SET1(*(const float *)s)); \
        wf__zip_avx2##_##name((float *)y, t, 0, (const float *)a, WF__AVX2_W, n); \
    }

/* matrix: operations with two arguments */
#define WF__MAXIMUM_avx2(a, b) WF__AVX2_SEL(WF__AVX2_EQ(b, b), WF__AVX2_MAX(b, a), b)
#define WF__MINIMUM_avx2(a, b) WF__AVX2_SEL(WF__AVX2_EQ(b, b), WF__AVX2_MIN(b, a), b)
#define WF__ONE_IF_avx2(m) WF__AVX2_SEL(m, WF__AVX2_SET1(1.0f), WF__AVX2_ZERO)
WF__ZIP_avx2(add, WF__AVX2_ADD(a, b))
WF__ZIP_avx2(sub, WF__AVX2_SUB(a, b))
WF__ZIP_avx2(mul, WF__AVX2_MUL(a, b))
WF__ZIP_avx2(div, WF__AVX2_DIV(a, b))
WF__ZIP_avx2(max, WF__MAXIMUM_avx2(a, b))
WF__ZIP_avx2(min, WF__MINIMUM_avx2(a, b))
WF__ZIP_avx2(lt, WF__ONE_IF_avx2(WF__AVX2_LT(a, b)))
WF__ZIP_avx2(le, WF__ONE_IF_avx2(WF__AVX2_LE(a, b)))
WF__ZIP_avx2(eq, WF__ONE_IF_avx2(WF__AVX2_EQ(a, b)))
WF__ZIP_avx2(atan2, wf__atan2_avx2(a, b))
WF__ZIP_avx2(dtanh, WF__AVX2_MUL(a, WF__AVX2_FNMA(b, b, WF__AVX2_SET1(1.0f))))
WF__ZIP_avx2(dsigmoid, WF__AVX2_MUL(a, WF__AVX2_MUL(b, WF__AVX2_SUB(WF__AVX2_SET1(1.0f), b))))
WF__LEFT_avx2(sub)
WF__LEFT_avx2(div)

/* matrix: choose, multiply and add, fill */
WF__KERNEL_avx2 void wf__select_all_avx2(void *to, const void *choice, const void *first, const void *second, size_t n)
{
    float *y = (float *)to;
    const float *c = (const float *)choice, *a = (const float *)first, *b = (const float *)second;
    for (size_t i = 0; i < n; i += WF__AVX2_W) {
        WF__AVX2_F s = WF__GET_avx2(c + i, n - i), u = WF__GET_avx2(a + i, n - i), v = WF__GET_avx2(b + i, n - i);
        WF__PUT_avx2(y + i, WF__AVX2_SEL(WF__AVX2_EQ(s, WF__AVX2_ZERO), v, u), n - i);
    }
}

/* matrix: multiply and add, fill */
WF__KERNEL_avx2 void wf__fma_all_avx2(void *to, const void *first, const void *second, const void *third, size_t n)
{
    float *y = (float *)to;
    const float *a = (const float *)first, *b = (const float *)second, *c = (const float *)third;
    for (size_t i = 0; i < n; i += WF__AVX2_W) {
        WF__AVX2_F u = WF__GET_avx2(a + i, n - i), v = WF__GET_avx2(b + i, n - i), w = WF__GET_avx2(c + i, n - i);
        WF__PUT_avx2(y + i, WF__AVX2_FMA(u, v, w), n - i);
    }
}

WF__KERNEL_avx2 void wf__fill_all_avx2(void *to, const void *s, size_t n)
{
    WF__AVX2_F x = WF__AVX2_SET1(*(const float *)s);
    for (size_t i = 0; i < n; i += WF__AVX2_W) WF__PUT_avx2((float *)to + i, x, n - i);
}

/* matrix: transpose a tile */
/* y[c][r] = x[r][c] for `WF__AVX2_W` rows and four columns */
WF__INLINE_avx2 void wf__transpose_tile_avx2(float *y, size_t ldy, const float *x, size_t ldx)
{
    WF__AVX2_F a = WF__AVX2_LD4(x, ldx), b = WF__AVX2_LD4(x + ldx, ldx), c = WF__AVX2_LD4(x + 2 * ldx, ldx), d = WF__AVX2_LD4(x + 3 * ldx, ldx);
    WF__AVX2_F ab = WF__AVX2_ZIPLO(a, b), cd = WF__AVX2_ZIPLO(c, d), AB = WF__AVX2_ZIPHI(a, b), CD = WF__AVX2_ZIPHI(c, d);
    WF__AVX2_ST(y, WF__AVX2_PAIRLO(ab, cd));
    WF__AVX2_ST(y + ldy, WF__AVX2_PAIRHI(ab, cd));
    WF__AVX2_ST(y + 2 * ldy, WF__AVX2_PAIRLO(AB, CD));
    WF__AVX2_ST(y + 3 * ldy, WF__AVX2_PAIRHI(AB, CD));
}

/* matrix: transpose */
WF__KERNEL_avx2 void wf__transpose_avx2(void *to, size_t ldy, const void *from, size_t ldx, size_t rows, size_t cols)
{
    float *y = (float *)to;
    const float *x = (const float *)from;
    size_t full = rows - rows % WF__AVX2_W, fours = cols - cols % 4;
    for (size_t r = 0; r < full; r += WF__AVX2_W)
        for (size_t c = 0; c < fours; c += 4) wf__transpose_tile_avx2(y + c * ldy + r, ldy, x + r * ldx + c, ldx);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = r < full ? fours : 0; c < cols; c++) y[c * ldy + r] = x[r * ldx + c];
}

/* matrix: open a row of the block */
#define WF__ROW_OPEN_avx2(i) \
    WF__AVX2_F c##i##0 = WF__AVX2_ZERO, c##i##1 = c##i##0, c##i##2 = c##i##0, c##i##3 = c##i##0; \
    if (rows > i && (flags & 1)) { \
        const float *c = C + i * ldc; \
        c##i##0 = part ? WF__AVX2_LDK(c, tail) : WF__AVX2_LD(c); \
        if (vecs > 1) c##i##1 = WF__AVX2_LD(c + WF__AVX2_W); \
        if (vecs > 2) { c##i##2 = WF__AVX2_LD(c + 2 * WF__AVX2_W); c##i##3 = WF__AVX2_LD(c + 3 * WF__AVX2_W); } \
    } else if (rows > i && bias) c##i##0 = c##i##1 = c##i##2 = c##i##3 = WF__AVX2_SET1(bias[i]);

/* matrix: step a row of the block */
#define WF__ROW_STEP_avx2(i, p) \
    if (rows > i) { \
        WF__AVX2_F a = WF__AVX2_SET1(p); \
        c##i##0 = WF__AVX2_FMA(a, b0, c##i##0); \
        if (vecs > 1) c##i##1 = WF__AVX2_FMA(a, b1, c##i##1); \
        if (vecs > 2) { c##i##2 = WF__AVX2_FMA(a, b2, c##i##2); c##i##3 = WF__AVX2_FMA(a, b3, c##i##3); } \
    }

/* matrix: close a row of the block */
#define WF__ROW_CLOSE_avx2(i) \
    if (rows > i) { \
        float *c = C + i * ldc; \
        if (part) WF__AVX2_STK(c, c##i##0, tail); \
        else WF__AVX2_ST(c, c##i##0); \
        if (vecs > 1) WF__AVX2_ST(c + WF__AVX2_W, c##i##1); \
        if (vecs > 2) { WF__AVX2_ST(c + 2 * WF__AVX2_W, c##i##2); WF__AVX2_ST(c + 3 * WF__AVX2_W, c##i##3); } \
    }

/* matrix: multiply one block */
WF__INLINE_avx2 void wf__block_avx2(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t k, int flags, const float *bias,
                                  const int rows, const int vecs, const int part, WF__AVX2_K tail)
{
    WF__ROW_OPEN_avx2(0) WF__ROW_OPEN_avx2(1) WF__ROW_OPEN_avx2(2) WF__ROW_OPEN_avx2(3) WF__ROW_OPEN_avx2(4) WF__ROW_OPEN_avx2(5)
    const float *A3 = A + (rows > 3 ? 3 * ar : 0);
    for (; k; k--) {
        WF__AVX2_F b0 = part && WF__AVX2_W > 4 ? WF__AVX2_LDK(B, tail) : WF__AVX2_LD(B), b1 = b0, b2 = b0, b3 = b0;
        if (vecs > 1) b1 = WF__AVX2_LD(B + WF__AVX2_W);
        if (vecs > 2) { b2 = WF__AVX2_LD(B + 2 * WF__AVX2_W); b3 = WF__AVX2_LD(B + 3 * WF__AVX2_W); }
        WF__ROW_STEP_avx2(0, A[0]) WF__ROW_STEP_avx2(1, A[ar]) WF__ROW_STEP_avx2(2, A[2 * ar])
        WF__ROW_STEP_avx2(3, A3[0]) WF__ROW_STEP_avx2(4, A3[ar]) WF__ROW_STEP_avx2(5, A3[2 * ar])
        A += ac;
        A3 += ac;
        B += ldb;
    }
    WF__ROW_CLOSE_avx2(0) WF__ROW_CLOSE_avx2(1) WF__ROW_CLOSE_avx2(2) WF__ROW_CLOSE_avx2(3) WF__ROW_CLOSE_avx2(4) WF__ROW_CLOSE_avx2(5)
}

/* matrix: multiply a strip */
WF__NEVER_INLINE WF__KERNEL_avx2 void wf__strip_avx2(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t m, size_t n, size_t k, int flags,
                                                   const float *bias)
{
    for (size_t rows; m; m -= rows, C += rows * ldc, A += (ptrdiff_t)rows * ar) {
        rows = m >= 6 ? 6 : m >= 4 ? 4 : m >= 2 ? 2 : 1;
        size_t wide = rows <= 2 ? 4 : WF__AVX2_NV, vecs;
        for (size_t j = 0; j < n; j += vecs * WF__AVX2_W) {
            WF__AVX2_K tail = WF__AVX2_TAIL(n - j < WF__AVX2_W ? n - j : WF__AVX2_W);
            vecs = n - j >= wide * WF__AVX2_W ? wide : 1;
            /* matrix: choose a block */
            #define WF__BLOCK_avx2(r, v, p) case 8 * r + v: wf__block_avx2(C + j, ldc, A, ar, ac, B + j, ldb, k, flags, bias, r, v, p, tail); break;
            switch (8 * rows + vecs) {
            WF__BLOCK_avx2(6, WF__AVX2_NV, 0)
            WF__BLOCK_avx2(4, WF__AVX2_NV, 0)
            WF__BLOCK_avx2(2, 4, 0)
            WF__BLOCK_avx2(1, 4, 0)
            WF__BLOCK_avx2(6, 1, 1)
            WF__BLOCK_avx2(4, 1, 1)
            WF__BLOCK_avx2(2, 1, 1)
            WF__BLOCK_avx2(1, 1, 1)
            default: break;
            }
            #undef WF__BLOCK_avx2
        }
        if (bias) bias += rows;
    }
}

/* matrix: copy a strip */
/* The same, from copies of 64 rows of B at a time. Each sum goes on where the piece before has left it. */
WF__NEVER_INLINE WF__KERNEL_avx2 void wf__strip_packed_avx2(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t m, size_t n, size_t k,
                                                          int flags, const float *bias)
{
    float room[WF__STRIP * WF__STRIP + 16], *packed = room + (64 - (uintptr_t)room % 64) % 64 / sizeof *room;
    for (size_t start = 0; start < k; start += WF__STRIP) {
        size_t piece = k - start < WF__STRIP ? k - start : WF__STRIP;
        for (size_t p = 0; p < piece; p++)
            for (size_t j = 0; j < n; j += WF__AVX2_W) WF__AVX2_ST(packed + p * WF__STRIP + j, WF__GET_avx2(B + (start + p) * ldb + j, n - j));
        wf__strip_avx2(C, ldc, A + (ptrdiff_t)start * ac, ar, ac, packed, WF__STRIP, m, n, piece, flags | (start > 0), bias);
    }
}

/* matrix: multiply */
WF__KERNEL_avx2 void wf__gemm_avx2(void *to, size_t ldc, const void *left, ptrdiff_t ar, ptrdiff_t ac, const void *right, size_t ldb, size_t m, size_t n, size_t k, int flags,
                                 const void *bias, int act)
{
    static void (*const unary[])(void *, const void *, size_t) = { WF__UNARY_LIST(wf__map_avx2, wf__copy_f32) };
    float *C = (float *)to;
    const float *A = (const float *)left, *B = (const float *)right;
    for (size_t j = 0; j < n; j += WF__STRIP) {
        size_t cols = n - j < WF__STRIP ? n - j : WF__STRIP;
        int pack = k > 0 && ((WF__AVX2_W < 16 && m >= 32 && ldb >= 1024) || (WF__AVX2_W == 4 && cols % 4));
        (pack ? wf__strip_packed_avx2 : wf__strip_avx2)(C + j, ldc, A, ar, ac, B + j, ldb, m, cols, k, flags, (const float *)bias);
    }
    if (act && ldc == n) unary[act - 1](C, C, m * n);
    else if (act) for (size_t i = 0; i < m; i++) unary[act - 1](C + i * ldc, C + i * ldc, n);
}

/* matrix: gather a row in sixteen lanes */
WF__KERNEL_avx2 void wf__fold_avx2(void *y, const void *from, size_t n, int kind)
{
    float t[16];
    const float *x = (const float *)from;
    WF__AVX2_F a = kind ? WF__AVX2_FLT(WF__AVX2_ISET1(-8388608)) : WF__AVX2_ZERO, b = a, c = a, d = a;
    for (; n >= 16; n -= 16, x += 16) {
#define WF__FOLD_avx2(s, v) s = kind ? WF__MAXIMUM_avx2(s, v) : WF__AVX2_ADD(s, v)
        WF__FOLD_avx2(a, WF__AVX2_LD(x));
        if (WF__AVX2_V > 1) WF__FOLD_avx2(b, WF__AVX2_LD(x + WF__AVX2_W));
        if (WF__AVX2_V > 2) { WF__FOLD_avx2(c, WF__AVX2_LD(x + 2 * WF__AVX2_W)); WF__FOLD_avx2(d, WF__AVX2_LD(x + 3 * WF__AVX2_W)); }
#undef WF__FOLD_avx2
    }
    WF__AVX2_ST(t, a);
    if (WF__AVX2_V > 1) WF__AVX2_ST(t + WF__AVX2_W, b);
    if (WF__AVX2_V > 2) { WF__AVX2_ST(t + 2 * WF__AVX2_W, c); WF__AVX2_ST(t + 3 * WF__AVX2_W, d); }
    wf__fold_part_f32(t, (float *)y, x, n, kind);
}

/* matrix: sum rows */
WF__KERNEL_avx2 void wf__sum_rows_avx2(double *acc, const void *x, size_t rows, size_t inner, size_t valid)
{
    for (size_t r = 0; r < rows; r++) {
        float sum;
        wf__fold_avx2(&sum, (const float *)x + r * inner, valid, 0);
        acc[r] += (double)sum;
    }
}

/* matrix: a step of Adam */
WF__KERNEL_avx2 void wf__adam_avx2(void *parameter, const void *gradient, void *mean, void *square, size_t n, const double c[8])
{
    float *p = (float *)parameter, *m = (float *)mean, *v = (float *)square;
    const float *g = (const float *)gradient;
    WF__AVX2_F keep_m = WF__AVX2_SET1((float)c[1]), new_m = WF__AVX2_SET1((float)(1.0 - c[1])), keep_v = WF__AVX2_SET1((float)c[2]), new_v = WF__AVX2_SET1((float)(1.0 - c[2]));
    WF__AVX2_F decay = WF__AVX2_SET1((float)(1.0 - c[0] * c[4])), rate = WF__AVX2_SET1((float)(c[0] / c[5])), root = WF__AVX2_SET1((float)(1.0 / sqrt(c[6]))), eps = WF__AVX2_SET1((float)c[3]);
    WF__AVX2_F factor = WF__AVX2_SET1((float)c[7]);
    for (size_t i = 0; i < n; i += WF__AVX2_W) {
        WF__AVX2_F d = WF__AVX2_MUL(factor, WF__GET_avx2(g + i, n - i)), mi, vi, pi;
        mi = WF__AVX2_FMA(keep_m, WF__GET_avx2(m + i, n - i), WF__AVX2_MUL(new_m, d));
        vi = WF__AVX2_FMA(keep_v, WF__GET_avx2(v + i, n - i), WF__AVX2_MUL(WF__AVX2_MUL(new_v, d), d));
        pi = WF__AVX2_MUL(decay, WF__GET_avx2(p + i, n - i));
        pi = WF__AVX2_FNMA(rate, WF__AVX2_DIV(mi, WF__AVX2_FMA(WF__AVX2_SQRT(vi), root, eps)), pi);
        WF__PUT_avx2(m + i, mi, n - i);
        WF__PUT_avx2(v + i, vi, n - i);
        WF__PUT_avx2(p + i, pi, n - i);
    }
}

/* matrix: the table of a vector set */
WF__COMPOSED(wf__of_avx2)
static const wf__kernels wf__kernels_avx2 = {
    { WF__UNARY_LIST(wf__map_avx2, wf__copy_f32) }, { WF__BINARY_LIST(wf__map_avx2) }, { WF__BINARY_LIST(wf__right_avx2), WF__REVERSED_LIST(wf__left_avx2) },
    wf__select_all_avx2, wf__fma_all_avx2, wf__fill_all_avx2, WF__SPLAT_ROWS(wf__of_avx2), wf__copy_strided_f32, wf__transpose_avx2, wf__gemm_avx2, WF__GEMM_NT(wf__of_avx2),
    wf__sum_rows_avx2, wf__fold_avx2, WF__COMPOSED_LIST(wf__of_avx2), wf__adam_avx2, WF__AVX2_W, sizeof(float), WF__AVX2_NAME
};
WF__COMPOSED_TABLE(wf__of_avx2, wf__kernels_avx2)
#endif

/* matrix: all kernels (avx512) */
#if defined(WF__ISA_AVX512)
/* matrix: load and store what is left */
#define WF__GET_avx512(p, left) ((left) >= WF__AVX512_W ? WF__AVX512_LD(p) : WF__AVX512_LDK(p, WF__AVX512_TAIL(left)))
#define WF__PUT_avx512(p, v, left) do { if ((left) >= WF__AVX512_W) WF__AVX512_ST(p, v); else WF__AVX512_STK(p, v, WF__AVX512_TAIL(left)); } while (0)

/* matrix: map one argument */
#define WF__MAP_avx512(name, formula) \
    WF__KERNEL_avx512 void wf__map_avx512##_##name(void *to, const void *from, size_t n) \
    { \
        float *y = (float *)to; \
        const float *u = (const float *)from; \
        for (size_t i = 0; i < n; i += WF__AVX512_W) { \
            WF__AVX512_F x = WF__GET_avx512(u + i, n - i); \
            WF__PUT_avx512(y + i, formula, n - i); \
        } \
    }

/* matrix: operations with one argument */
WF__MAP_avx512(neg, WF__AVX512_NEG(x))
WF__MAP_avx512(recip, WF__AVX512_DIV(WF__AVX512_SET1(1.0f), x))
WF__MAP_avx512(exp, wf__exp_avx512(x))
WF__MAP_avx512(expm1, wf__expm1_avx512(x))
WF__MAP_avx512(log, wf__log_avx512(x))
WF__MAP_avx512(log1p, wf__log1p_avx512(x))
WF__MAP_avx512(sqrt, WF__AVX512_SQRT(x))
WF__MAP_avx512(tanh, wf__tanh_avx512(x))
WF__MAP_avx512(sigmoid, wf__sigmoid_avx512(x))
WF__MAP_avx512(softplus, wf__softplus_avx512(x))
WF__MAP_avx512(erf, wf__erf_avx512(x))
WF__MAP_avx512(sin, wf__sin_avx512(x))
WF__MAP_avx512(cos, wf__cos_avx512(x))
WF__MAP_avx512(abs, WF__AVX512_ABS(x))
WF__MAP_avx512(sign, WF__AVX512_SEL(WF__AVX512_LT(WF__AVX512_ZERO, WF__AVX512_ABS(x)), WF__AVX512_OR(WF__AVX512_SIGN(x), WF__AVX512_SET1(1.0f)), x))
WF__MAP_avx512(floor, WF__AVX512_FLOOR(x))
WF__MAP_avx512(round, WF__AVX512_ROUND(x))
WF__MAP_avx512(relu, WF__AVX512_MAX(WF__AVX512_ZERO, x))
WF__MAP_avx512(square, WF__AVX512_MUL(x, x))

/* matrix: map two arguments */
#define WF__ZIP_avx512(name, formula) \
    WF__NEVER_INLINE WF__KERNEL_avx512 void wf__zip_avx512##_##name(float *y, const float *u, size_t us, const float *v, size_t vs, size_t n) \
    { \
        for (size_t i = 0; i < n; i += WF__AVX512_W, u += us, v += vs) { \
            WF__AVX512_F a = WF__GET_avx512(u, n - i), b = WF__GET_avx512(v, n - i); \
            WF__PUT_avx512(y + i, formula, n - i); \
        } \
    } \
    WF__KERNEL_avx512 void wf__map_avx512##_##name(void *y, const void *a, const void *b, size_t n) \
    { \
        wf__zip_avx512##_##name((float *)y, (const float *)a, WF__AVX512_W, (const float *)b, WF__AVX512_W, n); \
    } \
    WF__KERNEL_avx512 void wf__right_avx512##_##name(void *y, const void *a, const void *s, size_t n) \
    { \
        float t[WF__AVX512_W]; \
        WF__AVX512_ST(t, WF__AVX512_SET1(*(const float *)s)); \
        wf__zip_avx512##_##name((float *)y, (const float *)a, WF__AVX512_W, t, 0, n); \
    }

/* matrix: put the scalar first */
#define WF__LEFT_avx512(name) \
    WF__KERNEL_avx512 void wf__left_avx512##_r##name(void *y, const void *a, const void *s, size_t n) \
    { \
        float t[WF__AVX512_W]; \
        WF__AVX512_ST(t, WF__AVX512_SET1(*(const float *)s)); \
        wf__zip_avx512##_##name((float *)y, t, 0, (const float *)a, WF__AVX512_W, n); \
    }

/* matrix: operations with two arguments */
#define WF__MAXIMUM_avx512(a, b) WF__AVX512_SEL(WF__AVX512_EQ(b, b), WF__AVX512_MAX(b, a), b)
#define WF__MINIMUM_avx512(a, b) WF__AVX512_SEL(WF__AVX512_EQ(b, b), WF__AVX512_MIN(b, a), b)
#define WF__ONE_IF_avx512(m) WF__AVX512_SEL(m, WF__AVX512_SET1(1.0f), WF__AVX512_ZERO)
WF__ZIP_avx512(add, WF__AVX512_ADD(a, b))
WF__ZIP_avx512(sub, WF__AVX512_SUB(a, b))
WF__ZIP_avx512(mul, WF__AVX512_MUL(a, b))
WF__ZIP_avx512(div, WF__AVX512_DIV(a, b))
WF__ZIP_avx512(max, WF__MAXIMUM_avx512(a, b))
WF__ZIP_avx512(min, WF__MINIMUM_avx512(a, b))
WF__ZIP_avx512(lt, WF__ONE_IF_avx512(WF__AVX512_LT(a, b)))
WF__ZIP_avx512(le, WF__ONE_IF_avx512(WF__AVX512_LE(a, b)))
WF__ZIP_avx512(eq, WF__ONE_IF_avx512(WF__AVX512_EQ(a, b)))
WF__ZIP_avx512(atan2, wf__atan2_avx512(a, b))
WF__ZIP_avx512(dtanh, WF__AVX512_MUL(a, WF__AVX512_FNMA(b, b, WF__AVX512_SET1(1.0f))))
WF__ZIP_avx512(dsigmoid, WF__AVX512_MUL(a, WF__AVX512_MUL(b, WF__AVX512_SUB(WF__AVX512_SET1(1.0f), b))))
WF__LEFT_avx512(sub)
WF__LEFT_avx512(div)

/* matrix: choose, multiply and add, fill */
WF__KERNEL_avx512 void wf__select_all_avx512(void *to, const void *choice, const void *first, const void *second, size_t n)
{
    float *y = (float *)to;
    const float *c = (const float *)choice, *a = (const float *)first, *b = (const float *)second;
    for (size_t i = 0; i < n; i += WF__AVX512_W) {
        WF__AVX512_F s = WF__GET_avx512(c + i, n - i), u = WF__GET_avx512(a + i, n - i), v = WF__GET_avx512(b + i, n - i);
        WF__PUT_avx512(y + i, WF__AVX512_SEL(WF__AVX512_EQ(s, WF__AVX512_ZERO), v, u), n - i);
    }
}

/* matrix: multiply and add, fill */
WF__KERNEL_avx512 void wf__fma_all_avx512(void *to, const void *first, const void *second, const void *third, size_t n)
{
    float *y = (float *)to;
    const float *a = (const float *)first, *b = (const float *)second, *c = (const float *)third;
    for (size_t i = 0; i < n; i += WF__AVX512_W) {
        WF__AVX512_F u = WF__GET_avx512(a + i, n - i), v = WF__GET_avx512(b + i, n - i), w = WF__GET_avx512(c + i, n - i);
        WF__PUT_avx512(y + i, WF__AVX512_FMA(u, v, w), n - i);
    }
}

WF__KERNEL_avx512 void wf__fill_all_avx512(void *to, const void *s, size_t n)
{
    WF__AVX512_F x = WF__AVX512_SET1(*(const float *)s);
    for (size_t i = 0; i < n; i += WF__AVX512_W) WF__PUT_avx512((float *)to + i, x, n - i);
}

/* matrix: transpose a tile */
/* y[c][r] = x[r][c] for `WF__AVX512_W` rows and four columns */
WF__INLINE_avx512 void wf__transpose_tile_avx512(float *y, size_t ldy, const float *x, size_t ldx)
{
    WF__AVX512_F a = WF__AVX512_LD4(x, ldx), b = WF__AVX512_LD4(x + ldx, ldx), c = WF__AVX512_LD4(x + 2 * ldx, ldx), d = WF__AVX512_LD4(x + 3 * ldx, ldx);
    WF__AVX512_F ab = WF__AVX512_ZIPLO(a, b), cd = WF__AVX512_ZIPLO(c, d), AB = WF__AVX512_ZIPHI(a, b), CD = WF__AVX512_ZIPHI(c, d);
    WF__AVX512_ST(y, WF__AVX512_PAIRLO(ab, cd));
    WF__AVX512_ST(y + ldy, WF__AVX512_PAIRHI(ab, cd));
    WF__AVX512_ST(y + 2 * ldy, WF__AVX512_PAIRLO(AB, CD));
    WF__AVX512_ST(y + 3 * ldy, WF__AVX512_PAIRHI(AB, CD));
}

/* matrix: transpose */
WF__KERNEL_avx512 void wf__transpose_avx512(void *to, size_t ldy, const void *from, size_t ldx, size_t rows, size_t cols)
{
    float *y = (float *)to;
    const float *x = (const float *)from;
    size_t full = rows - rows % WF__AVX512_W, fours = cols - cols % 4;
    for (size_t r = 0; r < full; r += WF__AVX512_W)
        for (size_t c = 0; c < fours; c += 4) wf__transpose_tile_avx512(y + c * ldy + r, ldy, x + r * ldx + c, ldx);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = r < full ? fours : 0; c < cols; c++) y[c * ldy + r] = x[r * ldx + c];
}

/* matrix: open a row of the block */
#define WF__ROW_OPEN_avx512(i) \
    WF__AVX512_F c##i##0 = WF__AVX512_ZERO, c##i##1 = c##i##0, c##i##2 = c##i##0, c##i##3 = c##i##0; \
    if (rows > i && (flags & 1)) { \
        const float *c = C + i * ldc; \
        c##i##0 = part ? WF__AVX512_LDK(c, tail) : WF__AVX512_LD(c); \
        if (vecs > 1) c##i##1 = WF__AVX512_LD(c + WF__AVX512_W); \
        if (vecs > 2) { c##i##2 = WF__AVX512_LD(c + 2 * WF__AVX512_W); c##i##3 = WF__AVX512_LD(c + 3 * WF__AVX512_W); } \
    } else if (rows > i && bias) c##i##0 = c##i##1 = c##i##2 = c##i##3 = WF__AVX512_SET1(bias[i]);

/* matrix: step a row of the block */
#define WF__ROW_STEP_avx512(i, p) \
    if (rows > i) { \
        WF__AVX512_F a = WF__AVX512_SET1(p); \
        c##i##0 = WF__AVX512_FMA(a, b0, c##i##0); \
        if (vecs > 1) c##i##1 = WF__AVX512_FMA(a, b1, c##i##1); \
        if (vecs > 2) { c##i##2 = WF__AVX512_FMA(a, b2, c##i##2); c##i##3 = WF__AVX512_FMA(a, b3, c##i##3); } \
    }

/* matrix: close a row of the block */
#define WF__ROW_CLOSE_avx512(i) \
    if (rows > i) { \
        float *c = C + i * ldc; \
        if (part) WF__AVX512_STK(c, c##i##0, tail); \
        else WF__AVX512_ST(c, c##i##0); \
        if (vecs > 1) WF__AVX512_ST(c + WF__AVX512_W, c##i##1); \
        if (vecs > 2) { WF__AVX512_ST(c + 2 * WF__AVX512_W, c##i##2); WF__AVX512_ST(c + 3 * WF__AVX512_W, c##i##3); } \
    }

/* matrix: multiply one block */
WF__INLINE_avx512 void wf__block_avx512(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t k, int flags, const float *bias,
                                  const int rows, const int vecs, const int part, WF__AVX512_K tail)
{
    WF__ROW_OPEN_avx512(0) WF__ROW_OPEN_avx512(1) WF__ROW_OPEN_avx512(2) WF__ROW_OPEN_avx512(3) WF__ROW_OPEN_avx512(4) WF__ROW_OPEN_avx512(5)
    const float *A3 = A + (rows > 3 ? 3 * ar : 0);
    for (; k; k--) {
        WF__AVX512_F b0 = part && WF__AVX512_W > 4 ? WF__AVX512_LDK(B, tail) : WF__AVX512_LD(B), b1 = b0, b2 = b0, b3 = b0;
        if (vecs > 1) b1 = WF__AVX512_LD(B + WF__AVX512_W);
        if (vecs > 2) { b2 = WF__AVX512_LD(B + 2 * WF__AVX512_W); b3 = WF__AVX512_LD(B + 3 * WF__AVX512_W); }
        WF__ROW_STEP_avx512(0, A[0]) WF__ROW_STEP_avx512(1, A[ar]) WF__ROW_STEP_avx512(2, A[2 * ar])
        WF__ROW_STEP_avx512(3, A3[0]) WF__ROW_STEP_avx512(4, A3[ar]) WF__ROW_STEP_avx512(5, A3[2 * ar])
        A += ac;
        A3 += ac;
        B += ldb;
    }
    WF__ROW_CLOSE_avx512(0) WF__ROW_CLOSE_avx512(1) WF__ROW_CLOSE_avx512(2) WF__ROW_CLOSE_avx512(3) WF__ROW_CLOSE_avx512(4) WF__ROW_CLOSE_avx512(5)
}

/* matrix: multiply a strip */
WF__NEVER_INLINE WF__KERNEL_avx512 void wf__strip_avx512(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t m, size_t n, size_t k, int flags,
                                                   const float *bias)
{
    for (size_t rows; m; m -= rows, C += rows * ldc, A += (ptrdiff_t)rows * ar) {
        rows = m >= 6 ? 6 : m >= 4 ? 4 : m >= 2 ? 2 : 1;
        size_t wide = rows <= 2 ? 4 : WF__AVX512_NV, vecs;
        for (size_t j = 0; j < n; j += vecs * WF__AVX512_W) {
            WF__AVX512_K tail = WF__AVX512_TAIL(n - j < WF__AVX512_W ? n - j : WF__AVX512_W);
            vecs = n - j >= wide * WF__AVX512_W ? wide : 1;
            /* matrix: choose a block */
            #define WF__BLOCK_avx512(r, v, p) case 8 * r + v: wf__block_avx512(C + j, ldc, A, ar, ac, B + j, ldb, k, flags, bias, r, v, p, tail); break;
            switch (8 * rows + vecs) {
            WF__BLOCK_avx512(6, WF__AVX512_NV, 0)
            WF__BLOCK_avx512(4, WF__AVX512_NV, 0)
            WF__BLOCK_avx512(2, 4, 0)
            WF__BLOCK_avx512(1, 4, 0)
            WF__BLOCK_avx512(6, 1, 1)
            WF__BLOCK_avx512(4, 1, 1)
            WF__BLOCK_avx512(2, 1, 1)
            WF__BLOCK_avx512(1, 1, 1)
            default: break;
            }
            #undef WF__BLOCK_avx512
        }
        if (bias) bias += rows;
    }
}

/* matrix: copy a strip */
/* The same, from copies of 64 rows of B at a time. Each sum goes on where the piece before has left it. */
WF__NEVER_INLINE WF__KERNEL_avx512 void wf__strip_packed_avx512(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t m, size_t n, size_t k,
                                                          int flags, const float *bias)
{
    float room[WF__STRIP * WF__STRIP + 16], *packed = room + (64 - (uintptr_t)room % 64) % 64 / sizeof *room;
    for (size_t start = 0; start < k; start += WF__STRIP) {
        size_t piece = k - start < WF__STRIP ? k - start : WF__STRIP;
        for (size_t p = 0; p < piece; p++)
            for (size_t j = 0; j < n; j += WF__AVX512_W) WF__AVX512_ST(packed + p * WF__STRIP + j, WF__GET_avx512(B + (start + p) * ldb + j, n - j));
        wf__strip_avx512(C, ldc, A + (ptrdiff_t)start * ac, ar, ac, packed, WF__STRIP, m, n, piece, flags | (start > 0), bias);
    }
}

/* matrix: multiply */
WF__KERNEL_avx512 void wf__gemm_avx512(void *to, size_t ldc, const void *left, ptrdiff_t ar, ptrdiff_t ac, const void *right, size_t ldb, size_t m, size_t n, size_t k, int flags,
                                 const void *bias, int act)
{
    static void (*const unary[])(void *, const void *, size_t) = { WF__UNARY_LIST(wf__map_avx512, wf__copy_f32) };
    float *C = (float *)to;
    const float *A = (const float *)left, *B = (const float *)right;
    for (size_t j = 0; j < n; j += WF__STRIP) {
        size_t cols = n - j < WF__STRIP ? n - j : WF__STRIP;
        int pack = k > 0 && ((WF__AVX512_W < 16 && m >= 32 && ldb >= 1024) || (WF__AVX512_W == 4 && cols % 4));
        (pack ? wf__strip_packed_avx512 : wf__strip_avx512)(C + j, ldc, A, ar, ac, B + j, ldb, m, cols, k, flags, (const float *)bias);
    }
    if (act && ldc == n) unary[act - 1](C, C, m * n);
    else if (act) for (size_t i = 0; i < m; i++) unary[act - 1](C + i * ldc, C + i * ldc, n);
}

/* matrix: gather a row in sixteen lanes */
WF__KERNEL_avx512 void wf__fold_avx512(void *y, const void *from, size_t n, int kind)
{
    float t[16];
    const float *x = (const float *)from;
    WF__AVX512_F a = kind ? WF__AVX512_FLT(WF__AVX512_ISET1(-8388608)) : WF__AVX512_ZERO, b = a, c = a, d = a;
    for (; n >= 16; n -= 16, x += 16) {
#define WF__FOLD_avx512(s, v) s = kind ? WF__MAXIMUM_avx512(s, v) : WF__AVX512_ADD(s, v)
        WF__FOLD_avx512(a, WF__AVX512_LD(x));
        if (WF__AVX512_V > 1) WF__FOLD_avx512(b, WF__AVX512_LD(x + WF__AVX512_W));
        if (WF__AVX512_V > 2) { WF__FOLD_avx512(c, WF__AVX512_LD(x + 2 * WF__AVX512_W)); WF__FOLD_avx512(d, WF__AVX512_LD(x + 3 * WF__AVX512_W)); }
#undef WF__FOLD_avx512
    }
    WF__AVX512_ST(t, a);
    if (WF__AVX512_V > 1) WF__AVX512_ST(t + WF__AVX512_W, b);
    if (WF__AVX512_V > 2) { WF__AVX512_ST(t + 2 * WF__AVX512_W, c); WF__AVX512_ST(t + 3 * WF__AVX512_W, d); }
    wf__fold_part_f32(t, (float *)y, x, n, kind);
}

/* matrix: sum rows */
WF__KERNEL_avx512 void wf__sum_rows_avx512(double *acc, const void *x, size_t rows, size_t inner, size_t valid)
{
    for (size_t r = 0; r < rows; r++) {
        float sum;
        wf__fold_avx512(&sum, (const float *)x + r * inner, valid, 0);
        acc[r] += (double)sum;
    }
}

/* matrix: a step of Adam */
WF__KERNEL_avx512 void wf__adam_avx512(void *parameter, const void *gradient, void *mean, void *square, size_t n, const double c[8])
{
    float *p = (float *)parameter, *m = (float *)mean, *v = (float *)square;
    const float *g = (const float *)gradient;
    WF__AVX512_F keep_m = WF__AVX512_SET1((float)c[1]), new_m = WF__AVX512_SET1((float)(1.0 - c[1])), keep_v = WF__AVX512_SET1((float)c[2]), new_v = WF__AVX512_SET1((float)(1.0 - c[2]));
    WF__AVX512_F decay = WF__AVX512_SET1((float)(1.0 - c[0] * c[4])), rate = WF__AVX512_SET1((float)(c[0] / c[5])), root = WF__AVX512_SET1((float)(1.0 / sqrt(c[6]))), eps = WF__AVX512_SET1((float)c[3]);
    WF__AVX512_F factor = WF__AVX512_SET1((float)c[7]);
    for (size_t i = 0; i < n; i += WF__AVX512_W) {
        WF__AVX512_F d = WF__AVX512_MUL(factor, WF__GET_avx512(g + i, n - i)), mi, vi, pi;
        mi = WF__AVX512_FMA(keep_m, WF__GET_avx512(m + i, n - i), WF__AVX512_MUL(new_m, d));
        vi = WF__AVX512_FMA(keep_v, WF__GET_avx512(v + i, n - i), WF__AVX512_MUL(WF__AVX512_MUL(new_v, d), d));
        pi = WF__AVX512_MUL(decay, WF__GET_avx512(p + i, n - i));
        pi = WF__AVX512_FNMA(rate, WF__AVX512_DIV(mi, WF__AVX512_FMA(WF__AVX512_SQRT(vi), root, eps)), pi);
        WF__PUT_avx512(m + i, mi, n - i);
        WF__PUT_avx512(v + i, vi, n - i);
        WF__PUT_avx512(p + i, pi, n - i);
    }
}

/* matrix: the table of a vector set */
WF__COMPOSED(wf__of_avx512)
static const wf__kernels wf__kernels_avx512 = {
    { WF__UNARY_LIST(wf__map_avx512, wf__copy_f32) }, { WF__BINARY_LIST(wf__map_avx512) }, { WF__BINARY_LIST(wf__right_avx512), WF__REVERSED_LIST(wf__left_avx512) },
    wf__select_all_avx512, wf__fma_all_avx512, wf__fill_all_avx512, WF__SPLAT_ROWS(wf__of_avx512), wf__copy_strided_f32, wf__transpose_avx512, wf__gemm_avx512, WF__GEMM_NT(wf__of_avx512),
    wf__sum_rows_avx512, wf__fold_avx512, WF__COMPOSED_LIST(wf__of_avx512), wf__adam_avx512, WF__AVX512_W, sizeof(float), WF__AVX512_NAME
};
WF__COMPOSED_TABLE(wf__of_avx512, wf__kernels_avx512)
#endif

/* matrix: all kernels (neon) */
#if defined(WF__ISA_NEON)
/* matrix: load and store what is left */
#define WF__GET_neon(p, left) ((left) >= WF__NEON_W ? WF__NEON_LD(p) : WF__NEON_LDK(p, WF__NEON_TAIL(left)))
#define WF__PUT_neon(p, v, left) do { if ((left) >= WF__NEON_W) WF__NEON_ST(p, v); else WF__NEON_STK(p, v, WF__NEON_TAIL(left)); } while (0)

/* matrix: map one argument */
#define WF__MAP_neon(name, formula) \
    WF__KERNEL_neon void wf__map_neon##_##name(void *to, const void *from, size_t n) \
    { \
        float *y = (float *)to; \
        const float *u = (const float *)from; \
        for (size_t i = 0; i < n; i += WF__NEON_W) { \
            WF__NEON_F x = WF__GET_neon(u + i, n - i); \
            WF__PUT_neon(y + i, formula, n - i); \
        } \
    }

/* matrix: operations with one argument */
WF__MAP_neon(neg, WF__NEON_NEG(x))
WF__MAP_neon(recip, WF__NEON_DIV(WF__NEON_SET1(1.0f), x))
WF__MAP_neon(exp, wf__exp_neon(x))
WF__MAP_neon(expm1, wf__expm1_neon(x))
WF__MAP_neon(log, wf__log_neon(x))
WF__MAP_neon(log1p, wf__log1p_neon(x))
WF__MAP_neon(sqrt, WF__NEON_SQRT(x))
WF__MAP_neon(tanh, wf__tanh_neon(x))
WF__MAP_neon(sigmoid, wf__sigmoid_neon(x))
WF__MAP_neon(softplus, wf__softplus_neon(x))
WF__MAP_neon(erf, wf__erf_neon(x))
WF__MAP_neon(sin, wf__sin_neon(x))
WF__MAP_neon(cos, wf__cos_neon(x))
WF__MAP_neon(abs, WF__NEON_ABS(x))
WF__MAP_neon(sign, WF__NEON_SEL(WF__NEON_LT(WF__NEON_ZERO, WF__NEON_ABS(x)), WF__NEON_OR(WF__NEON_SIGN(x), WF__NEON_SET1(1.0f)), x))
WF__MAP_neon(floor, WF__NEON_FLOOR(x))
WF__MAP_neon(round, WF__NEON_ROUND(x))
WF__MAP_neon(relu, WF__NEON_MAX(WF__NEON_ZERO, x))
WF__MAP_neon(square, WF__NEON_MUL(x, x))

/* matrix: map two arguments */
#define WF__ZIP_neon(name, formula) \
    WF__NEVER_INLINE WF__KERNEL_neon void wf__zip_neon##_##name(float *y, const float *u, size_t us, const float *v, size_t vs, size_t n) \
    { \
        for (size_t i = 0; i < n; i += WF__NEON_W, u += us, v += vs) { \
            WF__NEON_F a = WF__GET_neon(u, n - i), b = WF__GET_neon(v, n - i); \
            WF__PUT_neon(y + i, formula, n - i); \
        } \
    } \
    WF__KERNEL_neon void wf__map_neon##_##name(void *y, const void *a, const void *b, size_t n) \
    { \
        wf__zip_neon##_##name((float *)y, (const float *)a, WF__NEON_W, (const float *)b, WF__NEON_W, n); \
    } \
    WF__KERNEL_neon void wf__right_neon##_##name(void *y, const void *a, const void *s, size_t n) \
    { \
        float t[WF__NEON_W]; \
        WF__NEON_ST(t, WF__NEON_SET1(*(const float *)s)); \
        wf__zip_neon##_##name((float *)y, (const float *)a, WF__NEON_W, t, 0, n); \
    }

/* matrix: put the scalar first */
#define WF__LEFT_neon(name) \
    WF__KERNEL_neon void wf__left_neon##_r##name(void *y, const void *a, const void *s, size_t n) \
    { \
        float t[WF__NEON_W]; \
        WF__NEON_ST(t, WF__NEON_SET1(*(const float *)s)); \
        wf__zip_neon##_##name((float *)y, t, 0, (const float *)a, WF__NEON_W, n); \
    }

/* matrix: operations with two arguments */
#define WF__MAXIMUM_neon(a, b) WF__NEON_SEL(WF__NEON_EQ(b, b), WF__NEON_MAX(b, a), b)
#define WF__MINIMUM_neon(a, b) WF__NEON_SEL(WF__NEON_EQ(b, b), WF__NEON_MIN(b, a), b)
#define WF__ONE_IF_neon(m) WF__NEON_SEL(m, WF__NEON_SET1(1.0f), WF__NEON_ZERO)
WF__ZIP_neon(add, WF__NEON_ADD(a, b))
WF__ZIP_neon(sub, WF__NEON_SUB(a, b))
WF__ZIP_neon(mul, WF__NEON_MUL(a, b))
WF__ZIP_neon(div, WF__NEON_DIV(a, b))
WF__ZIP_neon(max, WF__MAXIMUM_neon(a, b))
WF__ZIP_neon(min, WF__MINIMUM_neon(a, b))
WF__ZIP_neon(lt, WF__ONE_IF_neon(WF__NEON_LT(a, b)))
WF__ZIP_neon(le, WF__ONE_IF_neon(WF__NEON_LE(a, b)))
WF__ZIP_neon(eq, WF__ONE_IF_neon(WF__NEON_EQ(a, b)))
WF__ZIP_neon(atan2, wf__atan2_neon(a, b))
WF__ZIP_neon(dtanh, WF__NEON_MUL(a, WF__NEON_FNMA(b, b, WF__NEON_SET1(1.0f))))
WF__ZIP_neon(dsigmoid, WF__NEON_MUL(a, WF__NEON_MUL(b, WF__NEON_SUB(WF__NEON_SET1(1.0f), b))))
WF__LEFT_neon(sub)
WF__LEFT_neon(div)

/* matrix: choose, multiply and add, fill */
WF__KERNEL_neon void wf__select_all_neon(void *to, const void *choice, const void *first, const void *second, size_t n)
{
    float *y = (float *)to;
    const float *c = (const float *)choice, *a = (const float *)first, *b = (const float *)second;
    for (size_t i = 0; i < n; i += WF__NEON_W) {
        WF__NEON_F s = WF__GET_neon(c + i, n - i), u = WF__GET_neon(a + i, n - i), v = WF__GET_neon(b + i, n - i);
        WF__PUT_neon(y + i, WF__NEON_SEL(WF__NEON_EQ(s, WF__NEON_ZERO), v, u), n - i);
    }
}

/* matrix: multiply and add, fill */
WF__KERNEL_neon void wf__fma_all_neon(void *to, const void *first, const void *second, const void *third, size_t n)
{
    float *y = (float *)to;
    const float *a = (const float *)first, *b = (const float *)second, *c = (const float *)third;
    for (size_t i = 0; i < n; i += WF__NEON_W) {
        WF__NEON_F u = WF__GET_neon(a + i, n - i), v = WF__GET_neon(b + i, n - i), w = WF__GET_neon(c + i, n - i);
        WF__PUT_neon(y + i, WF__NEON_FMA(u, v, w), n - i);
    }
}

WF__KERNEL_neon void wf__fill_all_neon(void *to, const void *s, size_t n)
{
    WF__NEON_F x = WF__NEON_SET1(*(const float *)s);
    for (size_t i = 0; i < n; i += WF__NEON_W) WF__PUT_neon((float *)to + i, x, n - i);
}

/* matrix: transpose a tile */
/* y[c][r] = x[r][c] for `WF__NEON_W` rows and four columns */
WF__INLINE_neon void wf__transpose_tile_neon(float *y, size_t ldy, const float *x, size_t ldx)
{
    WF__NEON_F a = WF__NEON_LD4(x, ldx), b = WF__NEON_LD4(x + ldx, ldx), c = WF__NEON_LD4(x + 2 * ldx, ldx), d = WF__NEON_LD4(x + 3 * ldx, ldx);
    WF__NEON_F ab = WF__NEON_ZIPLO(a, b), cd = WF__NEON_ZIPLO(c, d), AB = WF__NEON_ZIPHI(a, b), CD = WF__NEON_ZIPHI(c, d);
    WF__NEON_ST(y, WF__NEON_PAIRLO(ab, cd));
    WF__NEON_ST(y + ldy, WF__NEON_PAIRHI(ab, cd));
    WF__NEON_ST(y + 2 * ldy, WF__NEON_PAIRLO(AB, CD));
    WF__NEON_ST(y + 3 * ldy, WF__NEON_PAIRHI(AB, CD));
}

/* matrix: transpose */
WF__KERNEL_neon void wf__transpose_neon(void *to, size_t ldy, const void *from, size_t ldx, size_t rows, size_t cols)
{
    float *y = (float *)to;
    const float *x = (const float *)from;
    size_t full = rows - rows % WF__NEON_W, fours = cols - cols % 4;
    for (size_t r = 0; r < full; r += WF__NEON_W)
        for (size_t c = 0; c < fours; c += 4) wf__transpose_tile_neon(y + c * ldy + r, ldy, x + r * ldx + c, ldx);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = r < full ? fours : 0; c < cols; c++) y[c * ldy + r] = x[r * ldx + c];
}

/* matrix: open a row of the block */
#define WF__ROW_OPEN_neon(i) \
    WF__NEON_F c##i##0 = WF__NEON_ZERO, c##i##1 = c##i##0, c##i##2 = c##i##0, c##i##3 = c##i##0; \
    if (rows > i && (flags & 1)) { \
        const float *c = C + i * ldc; \
        c##i##0 = part ? WF__NEON_LDK(c, tail) : WF__NEON_LD(c); \
        if (vecs > 1) c##i##1 = WF__NEON_LD(c + WF__NEON_W); \
        if (vecs > 2) { c##i##2 = WF__NEON_LD(c + 2 * WF__NEON_W); c##i##3 = WF__NEON_LD(c + 3 * WF__NEON_W); } \
    } else if (rows > i && bias) c##i##0 = c##i##1 = c##i##2 = c##i##3 = WF__NEON_SET1(bias[i]);

/* matrix: step a row of the block */
#define WF__ROW_STEP_neon(i, p) \
    if (rows > i) { \
        WF__NEON_F a = WF__NEON_SET1(p); \
        c##i##0 = WF__NEON_FMA(a, b0, c##i##0); \
        if (vecs > 1) c##i##1 = WF__NEON_FMA(a, b1, c##i##1); \
        if (vecs > 2) { c##i##2 = WF__NEON_FMA(a, b2, c##i##2); c##i##3 = WF__NEON_FMA(a, b3, c##i##3); } \
    }

/* matrix: close a row of the block */
#define WF__ROW_CLOSE_neon(i) \
    if (rows > i) { \
        float *c = C + i * ldc; \
        if (part) WF__NEON_STK(c, c##i##0, tail); \
        else WF__NEON_ST(c, c##i##0); \
        if (vecs > 1) WF__NEON_ST(c + WF__NEON_W, c##i##1); \
        if (vecs > 2) { WF__NEON_ST(c + 2 * WF__NEON_W, c##i##2); WF__NEON_ST(c + 3 * WF__NEON_W, c##i##3); } \
    }

/* matrix: multiply one block */
WF__INLINE_neon void wf__block_neon(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t k, int flags, const float *bias,
                                  const int rows, const int vecs, const int part, WF__NEON_K tail)
{
    WF__ROW_OPEN_neon(0) WF__ROW_OPEN_neon(1) WF__ROW_OPEN_neon(2) WF__ROW_OPEN_neon(3) WF__ROW_OPEN_neon(4) WF__ROW_OPEN_neon(5)
    const float *A3 = A + (rows > 3 ? 3 * ar : 0);
    for (; k; k--) {
        WF__NEON_F b0 = part && WF__NEON_W > 4 ? WF__NEON_LDK(B, tail) : WF__NEON_LD(B), b1 = b0, b2 = b0, b3 = b0;
        if (vecs > 1) b1 = WF__NEON_LD(B + WF__NEON_W);
        if (vecs > 2) { b2 = WF__NEON_LD(B + 2 * WF__NEON_W); b3 = WF__NEON_LD(B + 3 * WF__NEON_W); }
        WF__ROW_STEP_neon(0, A[0]) WF__ROW_STEP_neon(1, A[ar]) WF__ROW_STEP_neon(2, A[2 * ar])
        WF__ROW_STEP_neon(3, A3[0]) WF__ROW_STEP_neon(4, A3[ar]) WF__ROW_STEP_neon(5, A3[2 * ar])
        A += ac;
        A3 += ac;
        B += ldb;
    }
    WF__ROW_CLOSE_neon(0) WF__ROW_CLOSE_neon(1) WF__ROW_CLOSE_neon(2) WF__ROW_CLOSE_neon(3) WF__ROW_CLOSE_neon(4) WF__ROW_CLOSE_neon(5)
}

/* matrix: multiply a strip */
WF__NEVER_INLINE WF__KERNEL_neon void wf__strip_neon(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t m, size_t n, size_t k, int flags,
                                                   const float *bias)
{
    for (size_t rows; m; m -= rows, C += rows * ldc, A += (ptrdiff_t)rows * ar) {
        rows = m >= 6 ? 6 : m >= 4 ? 4 : m >= 2 ? 2 : 1;
        size_t wide = rows <= 2 ? 4 : WF__NEON_NV, vecs;
        for (size_t j = 0; j < n; j += vecs * WF__NEON_W) {
            WF__NEON_K tail = WF__NEON_TAIL(n - j < WF__NEON_W ? n - j : WF__NEON_W);
            vecs = n - j >= wide * WF__NEON_W ? wide : 1;
            /* matrix: choose a block */
            #define WF__BLOCK_neon(r, v, p) case 8 * r + v: wf__block_neon(C + j, ldc, A, ar, ac, B + j, ldb, k, flags, bias, r, v, p, tail); break;
            switch (8 * rows + vecs) {
            WF__BLOCK_neon(6, WF__NEON_NV, 0)
            WF__BLOCK_neon(4, WF__NEON_NV, 0)
            WF__BLOCK_neon(2, 4, 0)
            WF__BLOCK_neon(1, 4, 0)
            WF__BLOCK_neon(6, 1, 1)
            WF__BLOCK_neon(4, 1, 1)
            WF__BLOCK_neon(2, 1, 1)
            WF__BLOCK_neon(1, 1, 1)
            default: break;
            }
            #undef WF__BLOCK_neon
        }
        if (bias) bias += rows;
    }
}

/* matrix: copy a strip */
/* The same, from copies of 64 rows of B at a time. Each sum goes on where the piece before has left it. */
WF__NEVER_INLINE WF__KERNEL_neon void wf__strip_packed_neon(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t m, size_t n, size_t k,
                                                          int flags, const float *bias)
{
    float room[WF__STRIP * WF__STRIP + 16], *packed = room + (64 - (uintptr_t)room % 64) % 64 / sizeof *room;
    for (size_t start = 0; start < k; start += WF__STRIP) {
        size_t piece = k - start < WF__STRIP ? k - start : WF__STRIP;
        for (size_t p = 0; p < piece; p++)
            for (size_t j = 0; j < n; j += WF__NEON_W) WF__NEON_ST(packed + p * WF__STRIP + j, WF__GET_neon(B + (start + p) * ldb + j, n - j));
        wf__strip_neon(C, ldc, A + (ptrdiff_t)start * ac, ar, ac, packed, WF__STRIP, m, n, piece, flags | (start > 0), bias);
    }
}

/* matrix: multiply */
WF__KERNEL_neon void wf__gemm_neon(void *to, size_t ldc, const void *left, ptrdiff_t ar, ptrdiff_t ac, const void *right, size_t ldb, size_t m, size_t n, size_t k, int flags,
                                 const void *bias, int act)
{
    static void (*const unary[])(void *, const void *, size_t) = { WF__UNARY_LIST(wf__map_neon, wf__copy_f32) };
    float *C = (float *)to;
    const float *A = (const float *)left, *B = (const float *)right;
    for (size_t j = 0; j < n; j += WF__STRIP) {
        size_t cols = n - j < WF__STRIP ? n - j : WF__STRIP;
        int pack = k > 0 && ((WF__NEON_W < 16 && m >= 32 && ldb >= 1024) || (WF__NEON_W == 4 && cols % 4));
        (pack ? wf__strip_packed_neon : wf__strip_neon)(C + j, ldc, A, ar, ac, B + j, ldb, m, cols, k, flags, (const float *)bias);
    }
    if (act && ldc == n) unary[act - 1](C, C, m * n);
    else if (act) for (size_t i = 0; i < m; i++) unary[act - 1](C + i * ldc, C + i * ldc, n);
}

/* matrix: gather a row in sixteen lanes */
WF__KERNEL_neon void wf__fold_neon(void *y, const void *from, size_t n, int kind)
{
    float t[16];
    const float *x = (const float *)from;
    WF__NEON_F a = kind ? WF__NEON_FLT(WF__NEON_ISET1(-8388608)) : WF__NEON_ZERO, b = a, c = a, d = a;
    for (; n >= 16; n -= 16, x += 16) {
#define WF__FOLD_neon(s, v) s = kind ? WF__MAXIMUM_neon(s, v) : WF__NEON_ADD(s, v)
        WF__FOLD_neon(a, WF__NEON_LD(x));
        if (WF__NEON_V > 1) WF__FOLD_neon(b, WF__NEON_LD(x + WF__NEON_W));
        if (WF__NEON_V > 2) { WF__FOLD_neon(c, WF__NEON_LD(x + 2 * WF__NEON_W)); WF__FOLD_neon(d, WF__NEON_LD(x + 3 * WF__NEON_W)); }
#undef WF__FOLD_neon
    }
    WF__NEON_ST(t, a);
    if (WF__NEON_V > 1) WF__NEON_ST(t + WF__NEON_W, b);
    if (WF__NEON_V > 2) { WF__NEON_ST(t + 2 * WF__NEON_W, c); WF__NEON_ST(t + 3 * WF__NEON_W, d); }
    wf__fold_part_f32(t, (float *)y, x, n, kind);
}

/* matrix: sum rows */
WF__KERNEL_neon void wf__sum_rows_neon(double *acc, const void *x, size_t rows, size_t inner, size_t valid)
{
    for (size_t r = 0; r < rows; r++) {
        float sum;
        wf__fold_neon(&sum, (const float *)x + r * inner, valid, 0);
        acc[r] += (double)sum;
    }
}

/* matrix: a step of Adam */
WF__KERNEL_neon void wf__adam_neon(void *parameter, const void *gradient, void *mean, void *square, size_t n, const double c[8])
{
    float *p = (float *)parameter, *m = (float *)mean, *v = (float *)square;
    const float *g = (const float *)gradient;
    WF__NEON_F keep_m = WF__NEON_SET1((float)c[1]), new_m = WF__NEON_SET1((float)(1.0 - c[1])), keep_v = WF__NEON_SET1((float)c[2]), new_v = WF__NEON_SET1((float)(1.0 - c[2]));
    WF__NEON_F decay = WF__NEON_SET1((float)(1.0 - c[0] * c[4])), rate = WF__NEON_SET1((float)(c[0] / c[5])), root = WF__NEON_SET1((float)(1.0 / sqrt(c[6]))), eps = WF__NEON_SET1((float)c[3]);
    WF__NEON_F factor = WF__NEON_SET1((float)c[7]);
    for (size_t i = 0; i < n; i += WF__NEON_W) {
        WF__NEON_F d = WF__NEON_MUL(factor, WF__GET_neon(g + i, n - i)), mi, vi, pi;
        mi = WF__NEON_FMA(keep_m, WF__GET_neon(m + i, n - i), WF__NEON_MUL(new_m, d));
        vi = WF__NEON_FMA(keep_v, WF__GET_neon(v + i, n - i), WF__NEON_MUL(WF__NEON_MUL(new_v, d), d));
        pi = WF__NEON_MUL(decay, WF__GET_neon(p + i, n - i));
        pi = WF__NEON_FNMA(rate, WF__NEON_DIV(mi, WF__NEON_FMA(WF__NEON_SQRT(vi), root, eps)), pi);
        WF__PUT_neon(m + i, mi, n - i);
        WF__PUT_neon(v + i, vi, n - i);
        WF__PUT_neon(p + i, pi, n - i);
    }
}

/* matrix: the table of a vector set */
WF__COMPOSED(wf__of_neon)
static const wf__kernels wf__kernels_neon = {
    { WF__UNARY_LIST(wf__map_neon, wf__copy_f32) }, { WF__BINARY_LIST(wf__map_neon) }, { WF__BINARY_LIST(wf__right_neon), WF__REVERSED_LIST(wf__left_neon) },
    wf__select_all_neon, wf__fma_all_neon, wf__fill_all_neon, WF__SPLAT_ROWS(wf__of_neon), wf__copy_strided_f32, wf__transpose_neon, wf__gemm_neon, WF__GEMM_NT(wf__of_neon),
    wf__sum_rows_neon, wf__fold_neon, WF__COMPOSED_LIST(wf__of_neon), wf__adam_neon, WF__NEON_W, sizeof(float), WF__NEON_NAME
};
WF__COMPOSED_TABLE(wf__of_neon, wf__kernels_neon)
#endif

/* matrix: all kernels (wasm) */
#if defined(WF__ISA_WASM)
/* matrix: load and store what is left */
#define WF__GET_wasm(p, left) ((left) >= WF__WASM_W ? WF__WASM_LD(p) : WF__WASM_LDK(p, WF__WASM_TAIL(left)))
#define WF__PUT_wasm(p, v, left) do { if ((left) >= WF__WASM_W) WF__WASM_ST(p, v); else WF__WASM_STK(p, v, WF__WASM_TAIL(left)); } while (0)

/* matrix: map one argument */
#define WF__MAP_wasm(name, formula) \
    WF__KERNEL_wasm void wf__map_wasm##_##name(void *to, const void *from, size_t n) \
    { \
        float *y = (float *)to; \
        const float *u = (const float *)from; \
        for (size_t i = 0; i < n; i += WF__WASM_W) { \
            WF__WASM_F x = WF__GET_wasm(u + i, n - i); \
            WF__PUT_wasm(y + i, formula, n - i); \
        } \
    }

/* matrix: operations with one argument */
WF__MAP_wasm(neg, WF__WASM_NEG(x))
WF__MAP_wasm(recip, WF__WASM_DIV(WF__WASM_SET1(1.0f), x))
WF__MAP_wasm(exp, wf__exp_wasm(x))
WF__MAP_wasm(expm1, wf__expm1_wasm(x))
WF__MAP_wasm(log, wf__log_wasm(x))
WF__MAP_wasm(log1p, wf__log1p_wasm(x))
WF__MAP_wasm(sqrt, WF__WASM_SQRT(x))
WF__MAP_wasm(tanh, wf__tanh_wasm(x))
WF__MAP_wasm(sigmoid, wf__sigmoid_wasm(x))
WF__MAP_wasm(softplus, wf__softplus_wasm(x))
WF__MAP_wasm(erf, wf__erf_wasm(x))
WF__MAP_wasm(sin, wf__sin_wasm(x))
WF__MAP_wasm(cos, wf__cos_wasm(x))
WF__MAP_wasm(abs, WF__WASM_ABS(x))
WF__MAP_wasm(sign, WF__WASM_SEL(WF__WASM_LT(WF__WASM_ZERO, WF__WASM_ABS(x)), WF__WASM_OR(WF__WASM_SIGN(x), WF__WASM_SET1(1.0f)), x))
WF__MAP_wasm(floor, WF__WASM_FLOOR(x))
WF__MAP_wasm(round, WF__WASM_ROUND(x))
WF__MAP_wasm(relu, WF__WASM_MAX(WF__WASM_ZERO, x))
WF__MAP_wasm(square, WF__WASM_MUL(x, x))

/* matrix: map two arguments */
#define WF__ZIP_wasm(name, formula) \
    WF__NEVER_INLINE WF__KERNEL_wasm void wf__zip_wasm##_##name(float *y, const float *u, size_t us, const float *v, size_t vs, size_t n) \
    { \
        for (size_t i = 0; i < n; i += WF__WASM_W, u += us, v += vs) { \
            WF__WASM_F a = WF__GET_wasm(u, n - i), b = WF__GET_wasm(v, n - i); \
            WF__PUT_wasm(y + i, formula, n - i); \
        } \
    } \
    WF__KERNEL_wasm void wf__map_wasm##_##name(void *y, const void *a, const void *b, size_t n) \
    { \
        wf__zip_wasm##_##name((float *)y, (const float *)a, WF__WASM_W, (const float *)b, WF__WASM_W, n); \
    } \
    WF__KERNEL_wasm void wf__right_wasm##_##name(void *y, const void *a, const void *s, size_t n) \
    { \
        float t[WF__WASM_W]; \
        WF__WASM_ST(t, WF__WASM_SET1(*(const float *)s)); \
        wf__zip_wasm##_##name((float *)y, (const float *)a, WF__WASM_W, t, 0, n); \
    }

/* matrix: put the scalar first */
#define WF__LEFT_wasm(name) \
    WF__KERNEL_wasm void wf__left_wasm##_r##name(void *y, const void *a, const void *s, size_t n) \
    { \
        float t[WF__WASM_W]; \
        WF__WASM_ST(t, WF__WASM_SET1(*(const float *)s)); \
        wf__zip_wasm##_##name((float *)y, t, 0, (const float *)a, WF__WASM_W, n); \
    }

/* matrix: operations with two arguments */
#define WF__MAXIMUM_wasm(a, b) WF__WASM_SEL(WF__WASM_EQ(b, b), WF__WASM_MAX(b, a), b)
#define WF__MINIMUM_wasm(a, b) WF__WASM_SEL(WF__WASM_EQ(b, b), WF__WASM_MIN(b, a), b)
#define WF__ONE_IF_wasm(m) WF__WASM_SEL(m, WF__WASM_SET1(1.0f), WF__WASM_ZERO)
WF__ZIP_wasm(add, WF__WASM_ADD(a, b))
WF__ZIP_wasm(sub, WF__WASM_SUB(a, b))
WF__ZIP_wasm(mul, WF__WASM_MUL(a, b))
WF__ZIP_wasm(div, WF__WASM_DIV(a, b))
WF__ZIP_wasm(max, WF__MAXIMUM_wasm(a, b))
WF__ZIP_wasm(min, WF__MINIMUM_wasm(a, b))
WF__ZIP_wasm(lt, WF__ONE_IF_wasm(WF__WASM_LT(a, b)))
WF__ZIP_wasm(le, WF__ONE_IF_wasm(WF__WASM_LE(a, b)))
WF__ZIP_wasm(eq, WF__ONE_IF_wasm(WF__WASM_EQ(a, b)))
WF__ZIP_wasm(atan2, wf__atan2_wasm(a, b))
WF__ZIP_wasm(dtanh, WF__WASM_MUL(a, WF__WASM_FNMA(b, b, WF__WASM_SET1(1.0f))))
WF__ZIP_wasm(dsigmoid, WF__WASM_MUL(a, WF__WASM_MUL(b, WF__WASM_SUB(WF__WASM_SET1(1.0f), b))))
WF__LEFT_wasm(sub)
WF__LEFT_wasm(div)

/* matrix: choose, multiply and add, fill */
WF__KERNEL_wasm void wf__select_all_wasm(void *to, const void *choice, const void *first, const void *second, size_t n)
{
    float *y = (float *)to;
    const float *c = (const float *)choice, *a = (const float *)first, *b = (const float *)second;
    for (size_t i = 0; i < n; i += WF__WASM_W) {
        WF__WASM_F s = WF__GET_wasm(c + i, n - i), u = WF__GET_wasm(a + i, n - i), v = WF__GET_wasm(b + i, n - i);
        WF__PUT_wasm(y + i, WF__WASM_SEL(WF__WASM_EQ(s, WF__WASM_ZERO), v, u), n - i);
    }
}

/* matrix: multiply and add, fill */
WF__KERNEL_wasm void wf__fma_all_wasm(void *to, const void *first, const void *second, const void *third, size_t n)
{
    float *y = (float *)to;
    const float *a = (const float *)first, *b = (const float *)second, *c = (const float *)third;
    for (size_t i = 0; i < n; i += WF__WASM_W) {
        WF__WASM_F u = WF__GET_wasm(a + i, n - i), v = WF__GET_wasm(b + i, n - i), w = WF__GET_wasm(c + i, n - i);
        WF__PUT_wasm(y + i, WF__WASM_FMA(u, v, w), n - i);
    }
}

WF__KERNEL_wasm void wf__fill_all_wasm(void *to, const void *s, size_t n)
{
    WF__WASM_F x = WF__WASM_SET1(*(const float *)s);
    for (size_t i = 0; i < n; i += WF__WASM_W) WF__PUT_wasm((float *)to + i, x, n - i);
}

/* matrix: transpose a tile */
/* y[c][r] = x[r][c] for `WF__WASM_W` rows and four columns */
WF__INLINE_wasm void wf__transpose_tile_wasm(float *y, size_t ldy, const float *x, size_t ldx)
{
    WF__WASM_F a = WF__WASM_LD4(x, ldx), b = WF__WASM_LD4(x + ldx, ldx), c = WF__WASM_LD4(x + 2 * ldx, ldx), d = WF__WASM_LD4(x + 3 * ldx, ldx);
    WF__WASM_F ab = WF__WASM_ZIPLO(a, b), cd = WF__WASM_ZIPLO(c, d), AB = WF__WASM_ZIPHI(a, b), CD = WF__WASM_ZIPHI(c, d);
    WF__WASM_ST(y, WF__WASM_PAIRLO(ab, cd));
    WF__WASM_ST(y + ldy, WF__WASM_PAIRHI(ab, cd));
    WF__WASM_ST(y + 2 * ldy, WF__WASM_PAIRLO(AB, CD));
    WF__WASM_ST(y + 3 * ldy, WF__WASM_PAIRHI(AB, CD));
}

/* matrix: transpose */
WF__KERNEL_wasm void wf__transpose_wasm(void *to, size_t ldy, const void *from, size_t ldx, size_t rows, size_t cols)
{
    float *y = (float *)to;
    const float *x = (const float *)from;
    size_t full = rows - rows % WF__WASM_W, fours = cols - cols % 4;
    for (size_t r = 0; r < full; r += WF__WASM_W)
        for (size_t c = 0; c < fours; c += 4) wf__transpose_tile_wasm(y + c * ldy + r, ldy, x + r * ldx + c, ldx);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = r < full ? fours : 0; c < cols; c++) y[c * ldy + r] = x[r * ldx + c];
}

/* matrix: open a row of the block */
#define WF__ROW_OPEN_wasm(i) \
    WF__WASM_F c##i##0 = WF__WASM_ZERO, c##i##1 = c##i##0, c##i##2 = c##i##0, c##i##3 = c##i##0; \
    if (rows > i && (flags & 1)) { \
        const float *c = C + i * ldc; \
        c##i##0 = part ? WF__WASM_LDK(c, tail) : WF__WASM_LD(c); \
        if (vecs > 1) c##i##1 = WF__WASM_LD(c + WF__WASM_W); \
        if (vecs > 2) { c##i##2 = WF__WASM_LD(c + 2 * WF__WASM_W); c##i##3 = WF__WASM_LD(c + 3 * WF__WASM_W); } \
    } else if (rows > i && bias) c##i##0 = c##i##1 = c##i##2 = c##i##3 = WF__WASM_SET1(bias[i]);

/* matrix: step a row of the block */
#define WF__ROW_STEP_wasm(i, p) \
    if (rows > i) { \
        WF__WASM_F a = WF__WASM_SET1(p); \
        c##i##0 = WF__WASM_FMA(a, b0, c##i##0); \
        if (vecs > 1) c##i##1 = WF__WASM_FMA(a, b1, c##i##1); \
        if (vecs > 2) { c##i##2 = WF__WASM_FMA(a, b2, c##i##2); c##i##3 = WF__WASM_FMA(a, b3, c##i##3); } \
    }

/* matrix: close a row of the block */
#define WF__ROW_CLOSE_wasm(i) \
    if (rows > i) { \
        float *c = C + i * ldc; \
        if (part) WF__WASM_STK(c, c##i##0, tail); \
        else WF__WASM_ST(c, c##i##0); \
        if (vecs > 1) WF__WASM_ST(c + WF__WASM_W, c##i##1); \
        if (vecs > 2) { WF__WASM_ST(c + 2 * WF__WASM_W, c##i##2); WF__WASM_ST(c + 3 * WF__WASM_W, c##i##3); } \
    }

/* matrix: multiply one block */
WF__INLINE_wasm void wf__block_wasm(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t k, int flags, const float *bias,
                                  const int rows, const int vecs, const int part, WF__WASM_K tail)
{
    WF__ROW_OPEN_wasm(0) WF__ROW_OPEN_wasm(1) WF__ROW_OPEN_wasm(2) WF__ROW_OPEN_wasm(3) WF__ROW_OPEN_wasm(4) WF__ROW_OPEN_wasm(5)
    const float *A3 = A + (rows > 3 ? 3 * ar : 0);
    for (; k; k--) {
        WF__WASM_F b0 = part && WF__WASM_W > 4 ? WF__WASM_LDK(B, tail) : WF__WASM_LD(B), b1 = b0, b2 = b0, b3 = b0;
        if (vecs > 1) b1 = WF__WASM_LD(B + WF__WASM_W);
        if (vecs > 2) { b2 = WF__WASM_LD(B + 2 * WF__WASM_W); b3 = WF__WASM_LD(B + 3 * WF__WASM_W); }
        WF__ROW_STEP_wasm(0, A[0]) WF__ROW_STEP_wasm(1, A[ar]) WF__ROW_STEP_wasm(2, A[2 * ar])
        WF__ROW_STEP_wasm(3, A3[0]) WF__ROW_STEP_wasm(4, A3[ar]) WF__ROW_STEP_wasm(5, A3[2 * ar])
        A += ac;
        A3 += ac;
        B += ldb;
    }
    WF__ROW_CLOSE_wasm(0) WF__ROW_CLOSE_wasm(1) WF__ROW_CLOSE_wasm(2) WF__ROW_CLOSE_wasm(3) WF__ROW_CLOSE_wasm(4) WF__ROW_CLOSE_wasm(5)
}

/* matrix: multiply a strip */
WF__NEVER_INLINE WF__KERNEL_wasm void wf__strip_wasm(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t m, size_t n, size_t k, int flags,
                                                   const float *bias)
{
    for (size_t rows; m; m -= rows, C += rows * ldc, A += (ptrdiff_t)rows * ar) {
        rows = m >= 6 ? 6 : m >= 4 ? 4 : m >= 2 ? 2 : 1;
        size_t wide = rows <= 2 ? 4 : WF__WASM_NV, vecs;
        for (size_t j = 0; j < n; j += vecs * WF__WASM_W) {
            WF__WASM_K tail = WF__WASM_TAIL(n - j < WF__WASM_W ? n - j : WF__WASM_W);
            vecs = n - j >= wide * WF__WASM_W ? wide : 1;
            /* matrix: choose a block */
            #define WF__BLOCK_wasm(r, v, p) case 8 * r + v: wf__block_wasm(C + j, ldc, A, ar, ac, B + j, ldb, k, flags, bias, r, v, p, tail); break;
            switch (8 * rows + vecs) {
            WF__BLOCK_wasm(6, WF__WASM_NV, 0)
            WF__BLOCK_wasm(4, WF__WASM_NV, 0)
            WF__BLOCK_wasm(2, 4, 0)
            WF__BLOCK_wasm(1, 4, 0)
            WF__BLOCK_wasm(6, 1, 1)
            WF__BLOCK_wasm(4, 1, 1)
            WF__BLOCK_wasm(2, 1, 1)
            WF__BLOCK_wasm(1, 1, 1)
            default: break;
            }
            #undef WF__BLOCK_wasm
        }
        if (bias) bias += rows;
    }
}

/* matrix: copy a strip */
/* The same, from copies of 64 rows of B at a time. Each sum goes on where the piece before has left it. */
WF__NEVER_INLINE WF__KERNEL_wasm void wf__strip_packed_wasm(float *C, size_t ldc, const float *A, ptrdiff_t ar, ptrdiff_t ac, const float *B, size_t ldb, size_t m, size_t n, size_t k,
                                                          int flags, const float *bias)
{
    float room[WF__STRIP * WF__STRIP + 16], *packed = room + (64 - (uintptr_t)room % 64) % 64 / sizeof *room;
    for (size_t start = 0; start < k; start += WF__STRIP) {
        size_t piece = k - start < WF__STRIP ? k - start : WF__STRIP;
        for (size_t p = 0; p < piece; p++)
            for (size_t j = 0; j < n; j += WF__WASM_W) WF__WASM_ST(packed + p * WF__STRIP + j, WF__GET_wasm(B + (start + p) * ldb + j, n - j));
        wf__strip_wasm(C, ldc, A + (ptrdiff_t)start * ac, ar, ac, packed, WF__STRIP, m, n, piece, flags | (start > 0), bias);
    }
}

/* matrix: multiply */
WF__KERNEL_wasm void wf__gemm_wasm(void *to, size_t ldc, const void *left, ptrdiff_t ar, ptrdiff_t ac, const void *right, size_t ldb, size_t m, size_t n, size_t k, int flags,
                                 const void *bias, int act)
{
    static void (*const unary[])(void *, const void *, size_t) = { WF__UNARY_LIST(wf__map_wasm, wf__copy_f32) };
    float *C = (float *)to;
    const float *A = (const float *)left, *B = (const float *)right;
    for (size_t j = 0; j < n; j += WF__STRIP) {
        size_t cols = n - j < WF__STRIP ? n - j : WF__STRIP;
        int pack = k > 0 && ((WF__WASM_W < 16 && m >= 32 && ldb >= 1024) || (WF__WASM_W == 4 && cols % 4));
        (pack ? wf__strip_packed_wasm : wf__strip_wasm)(C + j, ldc, A, ar, ac, B + j, ldb, m, cols, k, flags, (const float *)bias);
    }
    if (act && ldc == n) unary[act - 1](C, C, m * n);
    else if (act) for (size_t i = 0; i < m; i++) unary[act - 1](C + i * ldc, C + i * ldc, n);
}

/* matrix: gather a row in sixteen lanes */
WF__KERNEL_wasm void wf__fold_wasm(void *y, const void *from, size_t n, int kind)
{
    float t[16];
    const float *x = (const float *)from;
    WF__WASM_F a = kind ? WF__WASM_FLT(WF__WASM_ISET1(-8388608)) : WF__WASM_ZERO, b = a, c = a, d = a;
    for (; n >= 16; n -= 16, x += 16) {
#define WF__FOLD_wasm(s, v) s = kind ? WF__MAXIMUM_wasm(s, v) : WF__WASM_ADD(s, v)
        WF__FOLD_wasm(a, WF__WASM_LD(x));
        if (WF__WASM_V > 1) WF__FOLD_wasm(b, WF__WASM_LD(x + WF__WASM_W));
        if (WF__WASM_V > 2) { WF__FOLD_wasm(c, WF__WASM_LD(x + 2 * WF__WASM_W)); WF__FOLD_wasm(d, WF__WASM_LD(x + 3 * WF__WASM_W)); }
#undef WF__FOLD_wasm
    }
    WF__WASM_ST(t, a);
    if (WF__WASM_V > 1) WF__WASM_ST(t + WF__WASM_W, b);
    if (WF__WASM_V > 2) { WF__WASM_ST(t + 2 * WF__WASM_W, c); WF__WASM_ST(t + 3 * WF__WASM_W, d); }
    wf__fold_part_f32(t, (float *)y, x, n, kind);
}

/* matrix: sum rows */
WF__KERNEL_wasm void wf__sum_rows_wasm(double *acc, const void *x, size_t rows, size_t inner, size_t valid)
{
    for (size_t r = 0; r < rows; r++) {
        float sum;
        wf__fold_wasm(&sum, (const float *)x + r * inner, valid, 0);
        acc[r] += (double)sum;
    }
}

/* matrix: a step of Adam */
WF__KERNEL_wasm void wf__adam_wasm(void *parameter, const void *gradient, void *mean, void *square, size_t n, const double c[8])
{
    float *p = (float *)parameter, *m = (float *)mean, *v = (float *)square;
    const float *g = (const float *)gradient;
    WF__WASM_F keep_m = WF__WASM_SET1((float)c[1]), new_m = WF__WASM_SET1((float)(1.0 - c[1])), keep_v = WF__WASM_SET1((float)c[2]), new_v = WF__WASM_SET1((float)(1.0 - c[2]));
    WF__WASM_F decay = WF__WASM_SET1((float)(1.0 - c[0] * c[4])), rate = WF__WASM_SET1((float)(c[0] / c[5])), root = WF__WASM_SET1((float)(1.0 / sqrt(c[6]))), eps = WF__WASM_SET1((float)c[3]);
    WF__WASM_F factor = WF__WASM_SET1((float)c[7]);
    for (size_t i = 0; i < n; i += WF__WASM_W) {
        WF__WASM_F d = WF__WASM_MUL(factor, WF__GET_wasm(g + i, n - i)), mi, vi, pi;
        mi = WF__WASM_FMA(keep_m, WF__GET_wasm(m + i, n - i), WF__WASM_MUL(new_m, d));
        vi = WF__WASM_FMA(keep_v, WF__GET_wasm(v + i, n - i), WF__WASM_MUL(WF__WASM_MUL(new_v, d), d));
        pi = WF__WASM_MUL(decay, WF__GET_wasm(p + i, n - i));
        pi = WF__WASM_FNMA(rate, WF__WASM_DIV(mi, WF__WASM_FMA(WF__WASM_SQRT(vi), root, eps)), pi);
        WF__PUT_wasm(m + i, mi, n - i);
        WF__PUT_wasm(v + i, vi, n - i);
        WF__PUT_wasm(p + i, pi, n - i);
    }
}

/* matrix: the table of a vector set */
WF__COMPOSED(wf__of_wasm)
static const wf__kernels wf__kernels_wasm = {
    { WF__UNARY_LIST(wf__map_wasm, wf__copy_f32) }, { WF__BINARY_LIST(wf__map_wasm) }, { WF__BINARY_LIST(wf__right_wasm), WF__REVERSED_LIST(wf__left_wasm) },
    wf__select_all_wasm, wf__fma_all_wasm, wf__fill_all_wasm, WF__SPLAT_ROWS(wf__of_wasm), wf__copy_strided_f32, wf__transpose_wasm, wf__gemm_wasm, WF__GEMM_NT(wf__of_wasm),
    wf__sum_rows_wasm, wf__fold_wasm, WF__COMPOSED_LIST(wf__of_wasm), wf__adam_wasm, WF__WASM_W, sizeof(float), WF__WASM_NAME
};
WF__COMPOSED_TABLE(wf__of_wasm, wf__kernels_wasm)
#endif

/* header: optimise as before */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

/* matrix: find a table */
/* The kernels of an instruction set for float (dtype 0) or double (1); the reference where there are no others. NULL if `isa` does not run here. */
static const wf__kernels *wf__kernels_for(int isa, int dtype)
{
    if (!wf_isa_available(isa)) return NULL;
    if (dtype) return &wf__kernels_f64;
    if (isa == WF_ISA_AUTO) isa = wf_isa_best();
#if defined(WF__ISA_SSE2)
    if (isa == WF_ISA_SSE2) return &wf__kernels_sse2;
#endif
#if defined(WF__ISA_AVX2)
    if (isa == WF_ISA_AVX2) return &wf__kernels_avx2;
#endif
#if defined(WF__ISA_AVX512)
    if (isa == WF_ISA_AVX512) return &wf__kernels_avx512;
#endif
#if defined(WF__ISA_NEON)
    if (isa == WF_ISA_NEON) return &wf__kernels_neon;
#endif
#if defined(WF__ISA_WASM)
    if (isa == WF_ISA_WASM) return &wf__kernels_wasm;
#endif
    return &wf__kernels_f32;
}

/* ---- Randomness ---- */
/* header: optimise from here */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O1,expensive-optimizations,gcse")
#endif

/* random: declare purposes and kinds */
enum { WF__PURPOSE_RUNNING = 255, WF__PURPOSE_SIMULATION = 254, WF__PURPOSE_INIT = 253 };
enum { WF__RANDOM_UNIFORM = 0, WF__RANDOM_NORMAL = 1 };

/* random: scramble four words once */
static void wf__philox_round(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    uint64_t a = (uint64_t)0xD2511F53u * c[0];
    uint64_t b = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t high_a = (uint32_t)(a >> 32), high_b = (uint32_t)(b >> 32);
    c[0] = high_b ^ c[1] ^ k0;
    c[1] = (uint32_t)b;
    c[2] = high_a ^ c[3] ^ k1;
    c[3] = (uint32_t)a;
}

/* random: four words from a counter and a key */
static void wf__philox(const uint32_t counter[4], uint64_t key, int rounds, uint32_t out[4])
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int i = 0; i < 4; i++) out[i] = counter[i];
    for (int round = 0; round < rounds; round++) {
        wf__philox_round(out, k0, k1);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

void wf_philox(const uint32_t counter[4], uint64_t key, uint32_t out[4]) { wf__philox(counter, key, 10, out); }

/* random: put coordinates into a counter */
static void wf__coordinates(uint32_t c[4], uint64_t slot, uint32_t step, uint32_t block, uint32_t purpose)
{
    c[0] = (uint32_t)slot;
    c[1] = step;
    c[2] = (block & 0xFFFFFFu) | purpose << 24;
    c[3] = purpose >> 8 | (uint32_t)(slot >> 32) << 24;
}

/* random: a uniform from a word */
static double wf__unit_of(uint32_t word) { return ((double)word + 0.5) * (1.0 / 4294967296.0); }

/* random: the logarithm */
static double wf__log(double u)   /* of a positive normal number */
{
    uint64_t bits;
    double m;
    memcpy(&bits, &u, sizeof bits);
    int e = (int)(bits >> 52) - 1023;
    bits = (bits & 0x000FFFFFFFFFFFFFull) | 0x3FF0000000000000ull;   /* keep the fraction, exponent of 1 */
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) { m *= 0.5; e++; }
    double s = (m - 1.0) / (m + 1.0), q = s * s, p = 1.0 / 19;
    p = p * q + 1.0 / 17;
    p = p * q + 1.0 / 15;
    p = p * q + 1.0 / 13;
    p = p * q + 1.0 / 11;
    p = p * q + 1.0 / 9;
    p = p * q + 1.0 / 7;
    p = p * q + 1.0 / 5;
    p = p * q + 1.0 / 3;
    return (double)e * 0.6931471805599453 + 2.0 * (s + s * q * p);
}

/* random: cosine and sine of a part of a turn */
static void wf__turn(double v, double *cosine, double *sine)   /* 0 <= v < 1 */
{
    double quarters = 4.0 * v;
    int k = (int)(quarters + 0.5);
    double a = (quarters - (double)k) * 1.5707963267948966, t = a * a;
    double s = -1.0 / 1307674368000.0, c = 1.0 / 20922789888000.0;     /* 15!, 16! */
    s = s * t + 1.0 / 6227020800.0;   c = c * t - 1.0 / 87178291200.0;
    s = s * t - 1.0 / 39916800.0;     c = c * t + 1.0 / 479001600.0;
    s = s * t + 1.0 / 362880.0;       c = c * t - 1.0 / 3628800.0;
    s = s * t - 1.0 / 5040.0;         c = c * t + 1.0 / 40320.0;
    s = s * t + 1.0 / 120.0;          c = c * t - 1.0 / 720.0;
    s = s * t - 1.0 / 6.0;            c = c * t + 1.0 / 24.0;
    c = c * t - 0.5;
    s = a + a * t * s;
    c = 1.0 + t * c;
    double x = k & 1 ? s : c, y = k & 1 ? c : s;
    *cosine = (k + 1) & 2 ? -x : x;
    *sine = k & 2 ? -y : y;
}

/* random: two normals from two uniforms */
static void wf__normal_pair(double u, double v, double z[2])
{
    double r = sqrt(-2.0 * wf__log(u)), c, s;
    wf__turn(v, &c, &s);
    z[0] = r * c;
    z[1] = r * s;
}

/* random: four numbers from a counter */
static void wf__four(const uint32_t counter[4], uint64_t key, int kind, double v[4])
{
    uint32_t word[4];
    wf_philox(counter, key, word);
    for (int i = 0; i < 4; i++) v[i] = wf__unit_of(word[i]);
    if (kind == WF__RANDOM_NORMAL) {
        wf__normal_pair(v[0], v[1], v);
        wf__normal_pair(v[2], v[3], v + 2);
    }
}

/* random: a number by its coordinates */
static double wf__random_at(uint64_t seed, uint64_t slot, uint32_t step, uint32_t dimension, uint32_t purpose, int kind)
{
    uint32_t c[4];
    double v[4];
    wf__coordinates(c, slot, step, dimension / 4, purpose);
    wf__four(c, seed, kind, v);
    return v[dimension % 4];
}

double wf_uniform_at(uint64_t seed, uint64_t slot, uint32_t step, uint32_t dimension, uint32_t purpose)
{
    return wf__random_at(seed, slot, step, dimension, purpose, WF__RANDOM_UNIFORM);
}

double wf_normal_at(uint64_t seed, uint64_t slot, uint32_t step, uint32_t dimension, uint32_t purpose)
{
    return wf__random_at(seed, slot, step, dimension, purpose, WF__RANDOM_NORMAL);
}

/* random: fill a tile (f32) */
/* out[f * lanes + l] belongs to feature f of sample first + l */
static void wf__fill_random_f32(float *out, int kind, size_t features, size_t lanes, uint64_t seed, uint64_t first, uint32_t step, uint32_t purpose)
{
    const float below_one = (float)(1.0 - 1.0 / 16777216.0);
    for (size_t f = 0; f < features; f += 4)
        for (size_t l = 0; l < lanes; l++) {
            uint32_t c[4];
            double v[4];
            wf__coordinates(c, first + l, step, (uint32_t)(f / 4), purpose);
            wf__four(c, seed, kind, v);
            for (size_t i = 0; i < 4 && f + i < features; i++) {
                float x = (float)v[i];
                if (kind == WF__RANDOM_UNIFORM && !(x < (float)1)) x = below_one;
                out[(f + i) * lanes + l] = x;
            }
        }
}

/* random: fill a tile (f64) */
/* out[f * lanes + l] belongs to feature f of sample first + l */
static void wf__fill_random_f64(double *out, int kind, size_t features, size_t lanes, uint64_t seed, uint64_t first, uint32_t step, uint32_t purpose)
{
    const double below_one = (double)(1.0 - 1.0 / 16777216.0);
    for (size_t f = 0; f < features; f += 4)
        for (size_t l = 0; l < lanes; l++) {
            uint32_t c[4];
            double v[4];
            wf__coordinates(c, first + l, step, (uint32_t)(f / 4), purpose);
            wf__four(c, seed, kind, v);
            for (size_t i = 0; i < 4 && f + i < features; i++) {
                double x = (double)v[i];
                if (kind == WF__RANDOM_UNIFORM && !(x < (double)1)) x = below_one;
                out[(f + i) * lanes + l] = x;
            }
        }
}

/* random: fill a tile of either type */
static void wf__fill_random(void *out, int type, int kind, size_t features, size_t lanes, uint64_t seed, uint64_t first, uint32_t step, uint32_t purpose)
{
    if (type) wf__fill_random_f64((double *)out, kind, features, lanes, seed, first, step, purpose);
    else wf__fill_random_f32((float *)out, kind, features, lanes, seed, first, step, purpose);
}

/* random: a running generator */
static void wf__rng_start(wf_rng *rng, uint64_t seed, uint32_t stream, uint32_t purpose)
{
    memset(rng, 0, sizeof *rng);
    rng->key = seed;
    rng->counter[2] = purpose << 24;
    rng->counter[3] = stream;
    rng->used = 4;
}

void wf_rng_init(wf_rng *rng, uint64_t seed, uint32_t stream) { wf__rng_start(rng, seed, stream, WF__PURPOSE_RUNNING); }

uint32_t wf_rng_u32(wf_rng *rng)
{
    if (rng->used >= 4) {
        wf_philox(rng->counter, rng->key, rng->buffer);
        if (++rng->counter[0] == 0) rng->counter[1]++;
        rng->used = 0;
    }
    return rng->buffer[rng->used++];
}

/* random: numbers from a running generator */
double wf_rng_uniform(wf_rng *rng)
{
    uint64_t high = wf_rng_u32(rng) >> 6, low = wf_rng_u32(rng) >> 6;
    return ((double)(high << 26 | low) + 0.5) * (1.0 / 4503599627370496.0);
}

double wf_rng_normal(wf_rng *rng)
{
    double u = wf_rng_uniform(rng), v = wf_rng_uniform(rng), z[2];
    wf__normal_pair(u, v, z);
    return z[0];
}

/* random: a fair integer and a fair order */
uint32_t wf_rng_below(wf_rng *rng, uint32_t n)
{
    if (n == 0) return 0;
    uint64_t product = (uint64_t)wf_rng_u32(rng) * n;
    uint32_t surplus = (0u - n) % n;   /* 2^32 mod n */
    while ((uint32_t)product < surplus) product = (uint64_t)wf_rng_u32(rng) * n;
    return (uint32_t)(product >> 32);
}

void wf_rng_shuffle(wf_rng *rng, int *values, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = wf_rng_below(rng, (uint32_t)i);
        int swap = values[i - 1];
        values[i - 1] = values[j];
        values[j] = swap;
    }
}

/* header: optimise as before */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

/* ---- Files ---- */
#include <float.h>

/* files: read and write memory */
size_t wf_memory_read(void *reader, void *data, size_t size)
{
    wf_memory_reader *r = (wf_memory_reader *)reader;
    size_t left = r->size - r->at;
    if (size > left) size = left;
    if (size) memcpy(data, (const char *)r->data + r->at, size);
    r->at += size;
    return size;
}

int wf_memory_write(void *writer, const void *data, size_t size)
{
    wf_memory_writer *w = (wf_memory_writer *)writer;
    if (size > w->capacity - w->size) {
        size_t capacity = size > (size_t)-1 / 4 || w->size > (size_t)-1 / 4 ? 0 : 2 * (w->size + size);
        void *larger = w->arena && capacity ? wf_alloc(w->arena, capacity, 1) : NULL;
        if (!larger) return 1;
        if (w->size) memcpy(larger, w->data, w->size);
        w->data = larger;
        w->capacity = capacity;
    }
    if (size) memcpy((char *)w->data + w->size, data, size);
    w->size += size;
    return 0;
}

/* files: read a stream to its end */
void *wf_read_all(wf_arena *A, wf_read_fn read, void *user, size_t expected, size_t *size)
{
    wf_mark mark = wf_arena_mark(A);
    size_t capacity = expected < 4096 || expected > (size_t)-1 / 4 ? 4096 : expected + 1, used = 0;
    char *data = (char *)wf_alloc(A, capacity + 1, 1);
    *size = 0;
    while (data) {
        size_t got = read(user, data + used, capacity - used);
        if (got > capacity - used) { wf__fail(A, WF_ERROR_IO, "files: the read callback delivered more than asked for"); break; }
        used += got;
        if (used < capacity) { data[used] = 0; *size = used; return data; }
        char *larger = capacity > (size_t)-1 / 4 ? NULL : (char *)wf_alloc(A, 2 * capacity + 1, 1);
        if (!larger) { wf__fail(A, WF_ERROR_MEMORY, "files: no room for more than %z bytes", capacity); break; }
        memcpy(larger, data, used);
        data = larger;
        capacity *= 2;
    }
    wf_arena_reset(A, mark);
    return NULL;
}

/* files: collect output in a sink */
typedef struct wf__sink { wf_write_fn write; void *user; int failed; } wf__sink;
typedef wf_result (*wf__put_fn)(wf_arena *A, const void *what, wf__sink *sink);

static void wf__emit(wf__sink *s, const void *data, size_t size)
{
    if (!s->failed && size) s->failed = s->write(s->user, data, size) != 0;
}

static void wf__emit_text(wf__sink *s, const char *text) { wf__emit(s, text, strlen(text)); }

static wf_result wf__send(wf_arena *A, wf__put_fn put, const void *what, wf_write_fn write, void *user)
{
    wf__sink sink = { write, user, 0 };
    wf_result r = put(A, what, &sink);
    if (r == WF_OK && sink.failed) r = wf__fail(A, WF_ERROR_IO, "files: the write callback failed");
    return r;
}
#ifndef WF_NO_STDIO
#include <stdio.h>

/* files: read a file */
static size_t wf__stdio_read(void *user, void *data, size_t size) { return fread(data, 1, size, (FILE *)user); }

void *wf_file_read(wf_arena *A, const char *path, size_t *size)
{
    FILE *f = path ? fopen(path, "rb") : NULL;
    *size = 0;
    if (!f) { wf__fail(A, WF_ERROR_IO, "%s: cannot be opened for reading", path); return NULL; }
    wf_mark mark = wf_arena_mark(A);
    long length = fseek(f, 0, SEEK_END) ? 0 : ftell(f);
    if (fseek(f, 0, SEEK_SET)) clearerr(f);
    int first = fgetc(f);
    if (first == EOF || ungetc(first, f) == EOF) length = 0;
    void *data = wf_read_all(A, wf__stdio_read, f, length > 0 ? (size_t)length : 0, size);
    if (data && ferror(f)) {
        wf__fail(A, WF_ERROR_IO, "%s: reading failed", path);
        wf_arena_reset(A, mark);
        *size = 0;
        data = NULL;
    }
    fclose(f);
    return data;
}

/* files: rename over an existing file */
static int wf__rename(const char *from, const char *to)
{
#ifdef _WIN32
    if (!rename(from, to)) return 0;
    remove(to);
#endif
    return rename(from, to);
}

/* files: replace a file when its successor is complete */
static int wf__stdio_write(void *user, const void *data, size_t size) { return fwrite(data, 1, size, (FILE *)user) != size; }

static wf_result wf__save(wf_arena *A, const char *path, wf__put_fn put, const void *what)
{
    wf_mark mark = wf_arena_mark(A);
    size_t room = (path ? strlen(path) : 0) + 32;
    char *part = (char *)wf_alloc(A, room, 1);
    FILE *f = NULL;
    if (!part) return WF_ERROR_MEMORY;
    for (int i = 0; path && i < 100 && !f; i++) {
        wf__format(part, room, "%s.%d.part", path, i);
        f = fopen(part, "wbx");
    }
    wf_result r = f ? WF_OK : wf__fail(A, WF_ERROR_IO, "%s: cannot be opened for writing", path);
    if (f) {
        wf__sink sink = { wf__stdio_write, f, 0 };
        r = put(A, what, &sink);
        int failed = (fflush(f) != 0) | sink.failed;
        failed |= fclose(f) != 0;
        if (r == WF_OK && (failed || wf__rename(part, path))) r = wf__fail(A, WF_ERROR_IO, "%s: writing failed", path);
        if (r != WF_OK) remove(part);
    }
    wf_arena_reset(A, mark);
    return r;
}

/* files: write a file */
typedef struct wf__bytes { const void *data; size_t size; } wf__bytes;

static wf_result wf__bytes_put(wf_arena *A, const void *what, wf__sink *s)
{
    const wf__bytes *b = (const wf__bytes *)what;
    (void)A;
    wf__emit(s, b->data, b->size);
    return WF_OK;
}

wf_result wf_file_write(wf_arena *A, const char *path, const void *data, size_t size)
{
    wf__bytes b = { data, size };
    return wf__save(A, path, wf__bytes_put, &b);
}

/* files: hold a file while it is parsed */
static void *wf__load(wf_arena *A, const char *path, wf_arena **scratch, size_t *size)
{
    *scratch = A && A->allocator.alloc ? wf_arena_new(&A->allocator) : A;
    if (!*scratch) { wf__fail(A, WF_ERROR_MEMORY, "%s: no memory to read it", path); return NULL; }
    void *bytes = wf_file_read(*scratch, path, size);
    if (!bytes && *scratch != A) wf__fail(A, (*scratch)->report.code, "%s", (*scratch)->report.text);
    return bytes;
}

static void wf__unload(wf_arena *A, wf_arena *scratch)
{
    if (scratch != A) wf_arena_free(scratch);
}
#endif

/* files: tabulate the types */
typedef struct wf__dtype { const char *name; char letter; unsigned char size; } wf__dtype;

static const wf__dtype *wf__dtype_of(int dtype)
{
    static const wf__dtype table[] = {
        { NULL, 0, 0 }, { "F64", 'f', 8 }, { "F32", 'f', 4 }, { "F16", 'f', 2 }, { "BF16", 0, 2 },
        { "I64", 'i', 8 }, { "I32", 'i', 4 }, { "I16", 'i', 2 }, { "I8", 'i', 1 },
        { "U64", 'u', 8 }, { "U32", 'u', 4 }, { "U16", 'u', 2 }, { "U8", 'u', 1 }, { "BOOL", 'b', 1 }
    };
    return &table[dtype >= WF_DTYPE_F64 && dtype <= WF_DTYPE_BOOL ? dtype : 0];
}

size_t wf_dtype_size(int dtype) { return wf__dtype_of(dtype)->size; }
const char *wf_dtype_name(int dtype) { return wf__dtype_of(dtype)->name; }

/* files: count the elements of a shape */
static int wf__array_shape(wf_array *a, size_t *bytes)
{
    size_t product = 1;
    int empty = 0;
    if (a->nd < 0 || a->nd > 8 || !wf_dtype_size(a->dtype)) return 0;
    for (int i = 0; i < a->nd; i++) {
        if (a->shape[i] == 0) empty = 1;
        else if (!wf__mul_size(product, a->shape[i], &product)) return 0;
    }
    if (!wf__mul_size(product, wf_dtype_size(a->dtype), bytes)) return 0;
    a->count = empty ? 0 : product;
    if (empty) *bytes = 0;
    return 1;
}

/* files: describe memory of the user */
wf_array wf_array_of(void *data, int dtype, int nd, const size_t *shape)
{
    wf_array a;
    size_t bytes;
    memset(&a, 0, sizeof a);
    a.data = data;
    a.dtype = dtype;
    a.nd = nd;
    for (int i = 0; i < nd && i < 8; i++) a.shape[i] = shape[i];
    if (!wf__array_shape(&a, &bytes) || (a.count && !data)) a.nd = -1;
    return a;
}

/* files: turn bytes around */
static int wf__little_endian(void)
{
    uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first;
}

static void wf__swap(void *data, size_t count, size_t size)
{
    for (unsigned char *p = (unsigned char *)data; count--; p += size)
        for (size_t i = 0; i < size / 2; i++) {
            unsigned char byte = p[i];
            p[i] = p[size - 1 - i];
            p[size - 1 - i] = byte;
        }
}

/* files: emit an array in little-endian bytes */
static void wf__emit_array(wf__sink *s, const wf_array *a)
{
    size_t size = wf_dtype_size(a->dtype), step = wf__little_endian() ? a->count : 1;
    for (size_t i = 0; i < a->count && !s->failed; i += step) {
        const char *from = (const char *)a->data + i * size;
        unsigned char number[8];
        if (step > 1 || size == 1 || wf__little_endian()) { wf__emit(s, from, step * size); continue; }
        memcpy(number, from, size);
        wf__swap(number, 1, size);
        wf__emit(s, number, size);
    }
}

/* files: widen a half */
static double wf__half(unsigned half)
{
    unsigned exponent = half >> 10 & 31, fraction = half & 1023;
    uint32_t bits = (uint32_t)(half >> 15) << 31 | (uint32_t)fraction << 13;
    float f;
    if (exponent == 0) return (half >> 15 ? -1.0 : 1.0) * (double)fraction * (1.0 / 16777216.0);
    bits |= (uint32_t)(exponent == 31 ? 255 : exponent + 112) << 23;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}

/* files: convert one element */
#define WF__ELEMENT(type) { type v; memcpy(&v, p, sizeof v); return (double)v; }
static double wf__element(const wf_array *a, size_t i)
{
    const char *p = (const char *)a->data + i * wf_dtype_size(a->dtype);
    uint16_t half = 0;
    uint32_t bits;
    float f;
    switch (a->dtype) {
    case WF_DTYPE_F64: WF__ELEMENT(double)
    case WF_DTYPE_F32: WF__ELEMENT(float)
    case WF_DTYPE_I64: WF__ELEMENT(int64_t)
    case WF_DTYPE_I32: WF__ELEMENT(int32_t)
    case WF_DTYPE_I16: WF__ELEMENT(int16_t)
    case WF_DTYPE_I8: WF__ELEMENT(int8_t)
    case WF_DTYPE_U64: WF__ELEMENT(uint64_t)
    case WF_DTYPE_U32: WF__ELEMENT(uint32_t)
    case WF_DTYPE_U16: WF__ELEMENT(uint16_t)
    case WF_DTYPE_U8: WF__ELEMENT(uint8_t)
    case WF_DTYPE_BOOL: return *p != 0;
    default: break;
    }
    memcpy(&half, p, sizeof half);
    if (a->dtype == WF_DTYPE_F16) return wf__half(half);
    bits = (uint32_t)half << 16;
    memcpy(&f, &bits, sizeof f);
    return (double)f;
}
#undef WF__ELEMENT

/* files: convert an array */
static int wf__array_ready(wf_arena *A, const wf_array *a)
{
    if (a && a->nd >= 0 && wf_dtype_size(a->dtype) && (a->data || !a->count)) return 1;
    wf__fail(A, WF_ERROR_ARGUMENT, "array: its type, its shape or its data are missing");
    return 0;
}

double *wf_array_f64(wf_arena *A, const wf_array *a)
{
    if (!wf__array_ready(A, a)) return NULL;
    if (a->dtype == WF_DTYPE_F64 && a->data) return (double *)a->data;
    double *x = (double *)wf_alloc(A, a->count, sizeof *x);
    for (size_t i = 0; x && i < a->count; i++) x[i] = wf__element(a, i);
    return x;
}

/* files: convert an array to float */
float *wf_array_f32(wf_arena *A, const wf_array *a)
{
    if (!wf__array_ready(A, a)) return NULL;
    if (a->dtype == WF_DTYPE_F32 && a->data) return (float *)a->data;
    wf_mark mark = wf_arena_mark(A);
    float *x = (float *)wf_alloc(A, a->count, sizeof *x);
    for (size_t i = 0; x && i < a->count; i++) {
        double v = wf__element(a, i);
        x[i] = (float)v;
        if (wf__finite_f32(x[i]) || !wf__finite(v)) continue;
        wf__fail(A, WF_ERROR_NUMERIC, "array: element %z is %g, too large for a float", i, v);
        wf_arena_reset(A, mark);
        return NULL;
    }
    return x;
}

/* files: scan a header */
typedef struct wf__scan {
    wf_arena *A;
    const char *file;
    const unsigned char *begin, *at, *end;
    char *out; /* where decoded strings go */
} wf__scan;

static wf_result wf__expected(const wf__scan *s, const char *what)
{
    return wf__fail(s->A, WF_ERROR_FORMAT, "%s: %s expected at byte %z of the header", s->file, what, (size_t)(s->at - s->begin));
}

static void wf__scan_space(wf__scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t')) s->at++;
}

static int wf__scan_is(wf__scan *s, int c)
{
    wf__scan_space(s);
    if (s->at == s->end || *s->at != c) return 0;
    s->at++;
    return 1;
}

/* files: scan a size */
static wf_result wf__scan_size(wf__scan *s, size_t *value)
{
    size_t v = 0;
    if (wf__scan_is(s, '0')) { *value = 0; return s->at < s->end && *s->at >= '0' && *s->at <= '9' ? wf__expected(s, "a size without leading zeros") : WF_OK; }
    const unsigned char *first = s->at;
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++) {
        if (!wf__mul_size(v, 10, &v) || v > (size_t)-1 - (size_t)(*s->at - '0'))
            return wf__fail(s->A, WF_ERROR_LIMIT, "%s: a size in the header has too many digits", s->file);
        v += (size_t)(*s->at - '0');
    }
    *value = v;
    return s->at == first ? wf__expected(s, "a size") : WF_OK;
}

/* files: scan a shape */
static wf_result wf__scan_shape(wf__scan *s, int open, int close, wf_array *a)
{
    wf_result r;
    a->nd = 0;
    if (!wf__scan_is(s, open)) return wf__expected(s, "a shape");
    while (!wf__scan_is(s, close)) {
        if (a->nd == 8) return wf__fail(s->A, WF_ERROR_UNSUPPORTED, "%s: an array has more than 8 dimensions", s->file);
        if ((r = wf__scan_size(s, &a->shape[a->nd])) != WF_OK) return r;
        a->nd++;
        if (wf__scan_is(s, ',')) { if (close == ')' || !wf__scan_is(s, close)) continue; }
        else if (wf__scan_is(s, close)) break;
        return wf__expected(s, "a comma or the end of the shape");
    }
    return WF_OK;
}

/* files: scan a python string */
static wf_result wf__scan_word(wf__scan *s, char word[32])
{
    int quote = wf__scan_is(s, '\'') ? '\'' : wf__scan_is(s, '"') ? '"' : 0, n = 0;
    while (quote && n < 31 && s->at < s->end && *s->at != quote && *s->at >= ' ' && *s->at != '\\') word[n++] = (char)*s->at++;
    word[n] = 0;
    return quote && s->at < s->end && *s->at++ == quote ? WF_OK : wf__expected(s, "a short string");
}

static int wf__scan_text(wf__scan *s, const char *text)
{
    size_t n = strlen(text);
    wf__scan_space(s);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, text, n)) return 0;
    s->at += n;
    return 1;
}

/* files: understand a type of npy */
static wf_result wf__npy_type(wf__scan *s, wf_array *a, int *swap)
{
    char word[32];
    if (wf__scan_is(s, '[')) return wf__fail(s->A, WF_ERROR_UNSUPPORTED, "%s: an array of records is not supported", s->file);
    wf_result r = wf__scan_word(s, word);
    if (r != WF_OK) return r;
    const char *type = word[0] && strchr("<>|=", word[0]) ? word + 1 : word;
    *swap = word[0] == (wf__little_endian() ? '>' : '<');
    for (a->dtype = WF_DTYPE_BOOL; a->dtype; a->dtype--) {
        const wf__dtype *d = wf__dtype_of(a->dtype);
        if (d->letter && type[0] == d->letter && type[1] == (char)('0' + d->size) && !type[2]) return WF_OK;
    }
    return wf__fail(s->A, WF_ERROR_UNSUPPORTED, "%s: numbers of type '%s' are not supported", s->file, word);
}

/* files: understand the header of npy */
static wf_result wf__npy_header(wf__scan *s, wf_array *a, int *swap, int *fortran)
{
    static const char *const keys[] = { "descr", "fortran_order", "shape" };
    unsigned seen = 0;
    char key[32];
    wf_result r;
    if (!wf__scan_is(s, '{')) return wf__expected(s, "a dictionary");
    while (!wf__scan_is(s, '}')) {
        int k = 0;
        if ((r = wf__scan_word(s, key)) != WF_OK) return r;
        while (k < 3 && strcmp(key, keys[k])) k++;
        if (k == 3 || seen >> k & 1) return wf__fail(s->A, WF_ERROR_FORMAT, "%s: the key '%s' is unknown or comes twice", s->file, key);
        seen |= 1u << k;
        if (!wf__scan_is(s, ':')) return wf__expected(s, "a colon");
        if (k == 0) r = wf__npy_type(s, a, swap);
        else if (k == 2) r = wf__scan_shape(s, '(', ')', a);
        else if ((*fortran = wf__scan_text(s, "True")) == 0 && !wf__scan_text(s, "False")) r = wf__expected(s, "True or False");
        if (r != WF_OK) return r;
        if (wf__scan_is(s, ',')) continue;
        if (wf__scan_is(s, '}')) break;
        return wf__expected(s, "a comma or the end of the dictionary");
    }
    if (seen != 7) return wf__expected(s, "a dictionary with descr, fortran_order and shape");
    wf__scan_space(s);
    return s->at == s->end ? WF_OK : wf__expected(s, "nothing more");
}

/* files: copy from fortran order */
static void wf__from_fortran(const wf_array *a, const char *from)
{
    size_t size = wf_dtype_size(a->dtype), index[8] = { 0 }, stride[8], at = 0;
    for (int d = 0; d < a->nd; d++) stride[d] = d ? stride[d - 1] * a->shape[d - 1] : 1;
    for (size_t i = 0; i < a->count; i++) {
        memcpy((char *)a->data + i * size, from + at * size, size);
        for (int d = a->nd - 1; d >= 0; d--) {
            at += stride[d];
            if (++index[d] < a->shape[d]) break;
            at -= stride[d] * a->shape[d];
            index[d] = 0;
        }
    }
}

/* files: check an npy file */
static wf_result wf__npy_open(wf__scan *s, const unsigned char *p, size_t size, wf_array *a, int *swap, int *fortran)
{
    size_t length = 0, bytes, start = size > 6 && p[6] > 1 ? 12 : 10;
    if (size < start || memcmp(p, "\x93NUMPY", 6)) return wf__fail(s->A, WF_ERROR_FORMAT, "%s: this is not a .npy file", s->file);
    if (p[6] < 1 || p[6] > 3 || p[7]) return wf__fail(s->A, WF_ERROR_UNSUPPORTED, "%s: version %d.%d of .npy is not supported", s->file, (int)p[6], (int)p[7]);
    for (size_t i = start; i-- > 8;) length = length << 8 | p[i];
    if (length > size - start) return wf__fail(s->A, WF_ERROR_FORMAT, "%s: the header should be %z bytes, the file holds %z", s->file, length, size - start);
    s->begin = s->at = p + start;
    s->end = s->begin + length;
    wf_result r = wf__npy_header(s, a, swap, fortran);
    if (r != WF_OK) return r;
    if (!wf__array_shape(a, &bytes)) return wf__fail(s->A, WF_ERROR_LIMIT, "%s: the shape has too many elements", s->file);
    size -= start + length;
    if (bytes != size) return wf__fail(s->A, WF_ERROR_FORMAT, "%s: header says %z bytes of data, file holds %z", s->file, bytes, size);
    return WF_OK;
}

/* files: read npy */
wf_array *wf_npy_parse(wf_arena *A, const void *bytes, size_t size, const char *name)
{
    wf__scan s = { A, name, NULL, NULL, NULL, NULL };
    int swap = 0, fortran = 0;
    wf_array a;
    memset(&a, 0, sizeof a);
    if (wf__npy_open(&s, (const unsigned char *)bytes, size, &a, &swap, &fortran) != WF_OK) return NULL;
    wf_mark mark = wf_arena_mark(A);
    wf_array *result = (wf_array *)wf_alloc(A, 1, sizeof *result);
    if (result) a.data = wf_alloc(A, a.count, wf_dtype_size(a.dtype));
    if (!a.data) { wf_arena_reset(A, mark); return NULL; }
    if (fortran && a.nd > 1) wf__from_fortran(&a, (const char *)s.end);
    else if (a.count) memcpy(a.data, s.end, a.count * wf_dtype_size(a.dtype));
    if (swap) wf__swap(a.data, a.count, wf_dtype_size(a.dtype));
    *result = a;
    return result;
}

/* files: write npy */
static wf_result wf__npy_put(wf_arena *A, const void *what, wf__sink *s)
{
    const wf_array *a = (const wf_array *)what;
    char text[320] = { 0 };
    wf__text t = { text, text + sizeof text - 1 };
    if (!wf__array_ready(A, a)) return WF_ERROR_ARGUMENT;
    const wf__dtype *d = wf__dtype_of(a->dtype);
    if (!d->letter) return wf__fail(A, WF_ERROR_UNSUPPORTED, "npy: the format has no type for %s", d->name);
    char descr[4] = { d->size > 1 ? '<' : '|', d->letter, (char)('0' + d->size), 0 };
    wf__put(&t, "{'descr': '");
    wf__put(&t, descr);
    wf__put(&t, "', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < a->nd; i++) {
        wf__put_size(&t, a->shape[i]);
        wf__put(&t, a->nd == 1 ? "," : i + 1 < a->nd ? ", " : "");
    }
    wf__put(&t, "), }");
    while ((t.at - text + 11) % 64) wf__put(&t, " ");
    wf__put(&t, "\n");
    size_t length = (size_t)(t.at - text);
    unsigned char head[10] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(length & 255), (unsigned char)(length >> 8) };
    wf__emit(s, head, sizeof head);
    wf__emit(s, text, length);
    wf__emit_array(s, a);
    return WF_OK;
}

/* files: offer npy */
wf_result wf_npy_write(wf_arena *A, const wf_array *a, wf_write_fn write, void *user) { return wf__send(A, wf__npy_put, a, write, user); }
#ifndef WF_NO_STDIO
wf_result wf_npy_save(wf_arena *A, const char *path, const wf_array *a) { return wf__save(A, path, wf__npy_put, a); }

wf_array *wf_npy_read(wf_arena *A, const char *path)
{
    wf_arena *scratch;
    size_t size;
    void *bytes = wf__load(A, path, &scratch, &size);
    wf_array *a = bytes ? wf_npy_parse(A, bytes, size, path) : NULL;
    wf__unload(A, scratch);
    return a;
}
#endif

/* files: check a character of utf-8 */
static size_t wf__utf8(const unsigned char *p, size_t size)
{
    static const uint32_t least[] = { 0, 0x20, 0x80, 0x800, 0x10000 };
    size_t n = !size ? 0 : p[0] < 0x80 ? 1 : p[0] < 0xC0 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF8 ? 4 : 0;
    if (n == 0 || n > size) return 0;
    uint32_t code = n == 1 ? p[0] : p[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) return 0;
        code = code << 6 | (p[i] & 0x3F);
    }
    return code < least[n] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000) ? 0 : n;
}

/* files: encode a character */
static void wf__put_utf8(wf__scan *s, uint32_t code)
{
    int n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (int i = n - 1; i > 0; i--) {
        s->out[i] = (char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    s->out[0] = (char)(n == 1 ? code : (0xF00u >> n & 0xF0) | code);
    s->out += n;
}

/* files: scan four hexadecimal digits */
static int wf__scan_hex(wf__scan *s, uint32_t *code)
{
    uint32_t v = 0;
    if (s->end - s->at < 4) return 0;
    for (int i = 0; i < 4; i++) {
        unsigned c = *s->at++, letter = (c | 32u) - 'a';
        if (c - '0' < 10u) v = v << 4 | (c - '0');
        else if (letter < 6u) v = v << 4 | (letter + 10u);
        else return 0;
    }
    *code = v;
    return 1;
}

/* files: decode an escape */
static int wf__scan_escape(wf__scan *s)
{
    static const char names[] = "\"\\/bfnrt", codes[] = "\"\\/\b\f\n\r\t";
    uint32_t code = 0, low = 0;
    int c = s->at < s->end ? *s->at++ : 0;
    const char *plain = c ? strchr(names, c) : NULL;
    if (plain) { *s->out++ = codes[plain - names]; return 1; }
    if (c != 'u' || !wf__scan_hex(s, &code) || code == 0 || (code >= 0xDC00 && code < 0xE000)) return 0;
    if (code >= 0xD800 && code < 0xDC00) {
        if (s->end - s->at < 6 || s->at[0] != '\\' || s->at[1] != 'u') return 0;
        s->at += 2;
        if (!wf__scan_hex(s, &low) || low < 0xDC00 || low >= 0xE000) return 0;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    wf__put_utf8(s, code);
    return 1;
}

/* files: scan a json string */
static char *wf__scan_string(wf__scan *s)
{
    char *text = s->out;
    if (!wf__scan_is(s, '"')) { wf__expected(s, "a string"); return NULL; }
    while (s->at < s->end && *s->at != '"') {
        if (*s->at == '\\') {
            s->at++;
            if (!wf__scan_escape(s)) { wf__expected(s, "a valid escape"); return NULL; }
            continue;
        }
        size_t n = wf__utf8(s->at, (size_t)(s->end - s->at));
        if (!n) { wf__expected(s, "UTF-8 text"); return NULL; }
        memcpy(s->out, s->at, n);
        s->out += n;
        s->at += n;
    }
    if (s->at == s->end) { wf__expected(s, "the end of a string"); return NULL; }
    s->at++;
    *s->out++ = 0;
    return text;
}

/* files: make room in a list */
static void *wf__grow(wf_arena *A, void *list, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) return list;
    size_t larger = count ? 2 * count : 8;
    void *copy = wf_alloc(A, larger, size);
    if (!copy) return NULL;
    if (count) memcpy(copy, list, count * size);
    *capacity = larger;
    return copy;
}

/* files: append an entry or a note */
static wf_result wf__tensors_push(wf_tensors *t, const char *name, const wf_array *a)
{
    void *list = wf__grow(t->arena, t->entry, t->count, &t->capacity, sizeof *t->entry);
    if (!list) return WF_ERROR_MEMORY;
    t->entry = (wf_tensor_entry *)list;
    t->entry[t->count].name = name;
    t->entry[t->count++].array = *a;
    return WF_OK;
}

static wf_result wf__tensors_push_note(wf_tensors *t, const char *key, const char *value)
{
    void *list = wf__grow(t->arena, t->note, t->notes, &t->note_capacity, sizeof *t->note);
    if (!list) return WF_ERROR_MEMORY;
    t->note = (wf_tensor_note *)list;
    t->note[t->notes].key = key;
    t->note[t->notes++].value = value;
    return WF_OK;
}

/* files: sort spans */
typedef struct wf__span { const char *name; size_t begin, end, index; } wf__span;

static int wf__span_by_name(const wf__span *a, const wf__span *b) { return strcmp(a->name, b->name) < 0; }
static int wf__span_by_place(const wf__span *a, const wf__span *b) { return a->begin != b->begin ? a->begin < b->begin : a->end < b->end; }

static void wf__span_sort(wf__span *list, size_t n, int (*less)(const wf__span *, const wf__span *))
{
    for (size_t root = n / 2, last = n; last > 1;) {
        if (root) root--;
        else { wf__span swap = list[--last]; list[last] = list[0]; list[0] = swap; }
        for (size_t parent = root, child; (child = 2 * parent + 1) < last; parent = child) {
            if (child + 1 < last && less(&list[child], &list[child + 1])) child++;
            if (!less(&list[parent], &list[child])) break;
            wf__span swap = list[parent]; list[parent] = list[child]; list[child] = swap;
        }
    }
}

static wf_result wf__span_unique(const wf__scan *s, wf__span *list, size_t n)
{
    wf__span_sort(list, n, wf__span_by_name);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(list[i - 1].name, list[i].name)) return wf__fail(s->A, WF_ERROR_FORMAT, "%s: the name '%s' comes twice", s->file, list[i].name);
    return WF_OK;
}

/* files: scan the name of a type */
static wf_result wf__scan_dtype(wf__scan *s, const char *name, int *dtype)
{
    const char *type = wf__scan_string(s);
    if (!type) return WF_ERROR_FORMAT;
    for (*dtype = WF_DTYPE_F64; wf_dtype_name(*dtype); ++*dtype)
        if (!strcmp(type, wf_dtype_name(*dtype))) return WF_OK;
    return wf__fail(s->A, WF_ERROR_UNSUPPORTED, "%s: tensor '%s' has numbers of type '%s', which is not supported", s->file, name, type);
}

/* files: scan one tensor's description */
static wf_result wf__scan_tensor(wf__scan *s, const char *name, wf_array *a, wf__span *span)
{
    static const char *const keys[] = { "dtype", "shape", "data_offsets" };
    unsigned seen = 0;
    if (!wf__scan_is(s, '{')) return wf__expected(s, "a tensor's description");
    do {
        wf_result r = WF_OK;
        int k = 0;
        const char *key = wf__scan_string(s);
        if (!key) return WF_ERROR_FORMAT;
        while (k < 3 && strcmp(key, keys[k])) k++;
        if (k == 3 || seen >> k & 1) return wf__fail(s->A, WF_ERROR_FORMAT, "%s: the key '%s' of tensor '%s' is unknown or comes twice", s->file, key, name);
        seen |= 1u << k;
        if (!wf__scan_is(s, ':')) return wf__expected(s, "a colon");
        if (k == 0) r = wf__scan_dtype(s, name, &a->dtype);
        else if (k == 1) r = wf__scan_shape(s, '[', ']', a);
        else if (!wf__scan_is(s, '[')) r = wf__expected(s, "[begin, end]");
        else if ((r = wf__scan_size(s, &span->begin)) == WF_OK && !wf__scan_is(s, ',')) r = wf__expected(s, "a comma");
        else if (r == WF_OK && (r = wf__scan_size(s, &span->end)) == WF_OK && !wf__scan_is(s, ']')) r = wf__expected(s, "]");
        if (r != WF_OK) return r;
    } while (wf__scan_is(s, ','));
    if (!wf__scan_is(s, '}')) return wf__expected(s, "a comma or the end of a description");
    return seen == 7 ? WF_OK : wf__fail(s->A, WF_ERROR_FORMAT, "%s: tensor '%s' lacks dtype, shape or data_offsets", s->file, name);
}

/* files: scan the metadata */
static wf_result wf__scan_notes(wf__scan *s, wf_tensors *t)
{
    if (!wf__scan_is(s, '{')) return wf__expected(s, "an object of strings");
    if (wf__scan_is(s, '}')) return WF_OK;
    do {
        const char *key = wf__scan_string(s), *value;
        if (!key) return WF_ERROR_FORMAT;
        if (!wf__scan_is(s, ':')) return wf__expected(s, "a colon");
        if (!(value = wf__scan_string(s))) return WF_ERROR_FORMAT;
        if (wf__tensors_push_note(t, key, value) != WF_OK) return WF_ERROR_MEMORY;
    } while (wf__scan_is(s, ','));
    return wf__scan_is(s, '}') ? WF_OK : wf__expected(s, "a comma or the end of the metadata");
}

/* files: scan the whole header */
static wf_result wf__scan_tensors(wf__scan *s, wf_tensors *t, wf__span **spans)
{
    size_t capacity = 0;
    int notes = 0;
    wf_result r = WF_OK;
    if (!wf__scan_is(s, '{')) return wf__expected(s, "a JSON object");
    for (int more = !wf__scan_is(s, '}'); more;) {
        const char *name = wf__scan_string(s);
        if (!name) return WF_ERROR_FORMAT;
        if (!wf__scan_is(s, ':')) return wf__expected(s, "a colon");
        if (!strcmp(name, "__metadata__")) {
            if (notes++) return wf__fail(s->A, WF_ERROR_FORMAT, "%s: there are two blocks of metadata", s->file);
            r = wf__scan_notes(s, t);
        } else {
            wf_array a;
            memset(&a, 0, sizeof a);
            *spans = (wf__span *)wf__grow(s->A, *spans, t->count, &capacity, sizeof **spans);
            if (!*spans) return WF_ERROR_MEMORY;
            (*spans)[t->count].name = name;
            (*spans)[t->count].index = t->count;
            r = wf__scan_tensor(s, name, &a, &(*spans)[t->count]);
            if (r == WF_OK) r = wf__tensors_push(t, name, &a);
        }
        if (r != WF_OK) return r;
        more = wf__scan_is(s, ',');
        if (!more && !wf__scan_is(s, '}')) return wf__expected(s, "a comma or the end of the header");
    }
    wf__scan_space(s);
    return s->at == s->end ? WF_OK : wf__expected(s, "nothing more");
}

/* files: check where tensors lie */
static wf_result wf__span_check(const wf__scan *s, wf_tensors *t, wf__span *list, size_t size)
{
    size_t at = 0, bytes;
    wf__span_sort(list, t->count, wf__span_by_place);
    for (size_t i = 0; i < t->count; i++) {
        wf__span p = list[i];
        if (!wf__array_shape(&t->entry[p.index].array, &bytes)) return wf__fail(s->A, WF_ERROR_LIMIT, "%s: tensor '%s' has too many elements", s->file, p.name);
        if (p.end < p.begin || p.end - p.begin != bytes)
            return wf__fail(s->A, WF_ERROR_FORMAT, "%s: tensor '%s' needs %z bytes, its place is %z to %z", s->file, p.name, bytes, p.begin, p.end);
        if (p.begin != at) return wf__fail(s->A, WF_ERROR_FORMAT, "%s: tensor '%s' begins at %z, where %z is expected: a gap or an overlap", s->file, p.name, p.begin, at);
        at = p.end;
    }
    if (at != size) return wf__fail(s->A, WF_ERROR_FORMAT, "%s: header says %z bytes of data, file holds %z", s->file, at, size);
    return WF_OK;
}

/* files: fill tensors from checked bytes */
static wf_result wf__tensors_fill(wf_arena *A, wf__scan *s, wf_tensors *t, size_t size)
{
    wf__span *list = NULL, *notes = NULL;
    wf_result r = wf__scan_tensors(s, t, &list);
    if (r == WF_OK) r = wf__span_unique(s, list, t->count);
    if (r == WF_OK) r = wf__span_check(s, t, list, size);
    if (r == WF_OK && !(notes = (wf__span *)wf_alloc(A, t->notes, sizeof *notes))) r = WF_ERROR_MEMORY;
    for (size_t i = 0; r == WF_OK && i < t->notes; i++) notes[i].name = t->note[i].key;
    if (r == WF_OK) r = wf__span_unique(s, notes, t->notes);
    for (size_t i = 0; r == WF_OK && i < t->count; i++) {
        wf_array *a = &t->entry[list[i].index].array;
        size_t bytes = list[i].end - list[i].begin;
        if (!(a->data = wf_alloc(A, bytes, 1))) return WF_ERROR_MEMORY;
        if (bytes) memcpy(a->data, s->end + list[i].begin, bytes);
        if (!wf__little_endian()) wf__swap(a->data, a->count, wf_dtype_size(a->dtype));
    }
    return r;
}

/* files: begin a set of tensors */
wf_tensors *wf_tensors_new(wf_arena *A)
{
    wf_tensors *t = (wf_tensors *)wf_alloc(A, 1, sizeof *t);
    if (t) t->arena = A;
    return t;
}

/* files: read safetensors */
wf_tensors *wf_tensors_parse(wf_arena *A, const void *bytes, size_t size, const char *name)
{
    const unsigned char *p = (const unsigned char *)bytes;
    uint64_t length = 0;
    for (int i = 7; i >= 0 && size >= 8; i--) length = length << 8 | p[i];
    if (size < 8) wf__fail(A, WF_ERROR_FORMAT, "%s: too short for a safetensors file", name);
    else if (length > 100000000) wf__fail(A, WF_ERROR_LIMIT, "%s: a header of more than 100 million bytes is not allowed (or this is no safetensors file)", name);
    else if (length > size - 8) wf__fail(A, WF_ERROR_FORMAT, "%s: the header should be %z bytes, the file holds %z", name, (size_t)length, size - 8);
    if (size < 8 || length > 100000000 || length > size - 8) return NULL;
    wf_mark mark = wf_arena_mark(A);
    wf_tensors *t = wf_tensors_new(A);
    wf__scan s = { A, name, NULL, NULL, NULL, NULL };
    s.out = t ? (char *)wf_alloc(A, (size_t)length + 1, 1) : NULL;
    s.begin = s.at = p + 8;
    s.end = s.begin + (size_t)length;
    if (s.out && wf__tensors_fill(A, &s, t, size - 8 - (size_t)length) == WF_OK) return t;
    wf_arena_reset(A, mark);
    return NULL;
}

/* files: find and add tensors */
const wf_array *wf_tensors_find(const wf_tensors *t, const char *name)
{
    for (size_t i = 0; t && name && i < t->count; i++)
        if (!strcmp(t->entry[i].name, name)) return &t->entry[i].array;
    return NULL;
}

const char *wf_tensors_about(const wf_tensors *t, const char *key)
{
    for (size_t i = 0; t && key && i < t->notes; i++)
        if (!strcmp(t->note[i].key, key)) return t->note[i].value;
    return NULL;
}

static int wf__text_valid(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t left = text ? strlen(text) : 0, n = 0;
    for (; left; p += n, left -= n)
        if ((n = *p < 0x20 ? 1 : wf__utf8(p, left)) == 0) break;
    return text && !left;
}

/* files: add a tensor */
wf_result wf_tensors_add(wf_tensors *t, const char *name, const wf_array *a)
{
    size_t bytes;
    if (!t) return WF_ERROR_ARGUMENT;
    if (!wf__text_valid(name) || !strcmp(name, "__metadata__") || wf_tensors_find(t, name))
        return wf__fail(t->arena, WF_ERROR_NAME, "safetensors: the name '%s' is taken, reserved, or not UTF-8", name);
    wf_array copy;
    memset(&copy, 0, sizeof copy);
    if (a) copy = *a;
    if (!wf__array_shape(&copy, &bytes) || (copy.count && !copy.data))
        return wf__fail(t->arena, WF_ERROR_ARGUMENT, "safetensors: the type, the shape or the data of '%s' are missing", name);
    wf_mark mark = wf_arena_mark(t->arena);
    const char *own = wf__copy_name(t->arena, name);
    wf_result r = own ? wf__tensors_push(t, own, &copy) : WF_ERROR_MEMORY;
    if (r != WF_OK) wf_arena_reset(t->arena, mark);
    return r;
}

/* files: add a note */
wf_result wf_tensors_note(wf_tensors *t, const char *key, const char *value)
{
    if (!t) return WF_ERROR_ARGUMENT;
    if (!wf__text_valid(key) || !wf__text_valid(value) || wf_tensors_about(t, key))
        return wf__fail(t->arena, WF_ERROR_NAME, "safetensors: the note '%s' is taken, or not UTF-8", key);
    wf_mark mark = wf_arena_mark(t->arena);
    const char *own = wf__copy_name(t->arena, key), *text = own ? wf__copy_name(t->arena, value) : NULL;
    wf_result r = text ? wf__tensors_push_note(t, own, text) : WF_ERROR_MEMORY;
    if (r != WF_OK) wf_arena_reset(t->arena, mark);
    return r;
}

/* files: count bytes and write sizes */
static int wf__count_bytes(void *user, const void *data, size_t size)
{
    (void)data;
    *(size_t *)user += size;
    return 0;
}

static void wf__emit_size(wf__sink *s, size_t value)
{
    char text[24];
    wf__format(text, sizeof text, "%z", value);
    wf__emit_text(s, text);
}

/* files: write a json string */
static void wf__emit_json(wf__sink *s, const char *before, const char *text)
{
    wf__emit_text(s, before);
    wf__emit(s, "\"", 1);
    for (; *text; text++) {
        unsigned c = (unsigned char)*text;
        char escape[7] = { '\\', 'u', '0', '0', (char)('0' + (c >> 4 & 1)), "0123456789abcdef"[c & 15], 0 };
        if (c == '"' || c == '\\') { escape[1] = (char)c; escape[2] = 0; }
        if (c < 0x20 || c == '"' || c == '\\') wf__emit_text(s, escape);
        else wf__emit(s, text, 1);
    }
    wf__emit(s, "\"", 1);
}

/* files: write a header of safetensors */
static void wf__emit_header(wf__sink *s, const wf_tensors *t)
{
    size_t at = 0;
    const char *comma = t->notes ? "," : "";
    if (t->notes) wf__emit_text(s, "{\"__metadata__\":");
    for (size_t i = 0; i < t->notes; i++) {
        wf__emit_json(s, i ? "," : "{", t->note[i].key);
        wf__emit_json(s, ":", t->note[i].value);
    }
    wf__emit_text(s, t->notes ? "}" : "{");
    for (size_t i = 0; i < t->count; i++, comma = ",") {
        const wf_array *a = &t->entry[i].array;
        wf__emit_json(s, comma, t->entry[i].name);
        wf__emit_json(s, ":{\"dtype\":", wf_dtype_name(a->dtype));
        wf__emit_text(s, ",\"shape\":[");
        for (int d = 0; d < a->nd; d++) {
            if (d) wf__emit_text(s, ",");
            wf__emit_size(s, a->shape[d]);
        }
        wf__emit_text(s, "],\"data_offsets\":[");
        wf__emit_size(s, at);
        wf__emit_text(s, ",");
        wf__emit_size(s, at += a->count * wf_dtype_size(a->dtype));
        wf__emit_text(s, "]}");
    }
    wf__emit_text(s, "}");
}

/* files: write safetensors */
static wf_result wf__tensors_put(wf_arena *A, const void *what, wf__sink *s)
{
    const wf_tensors *t = (const wf_tensors *)what;
    unsigned char head[8];
    size_t length = 0;
    wf__sink counter = { wf__count_bytes, &length, 0 };
    wf__emit_header(&counter, t);
    size_t padding = (8 - length % 8) % 8;
    if (length + padding > 100000000) return wf__fail(A, WF_ERROR_LIMIT, "safetensors: the header would be %z bytes, the format allows 100 million", length);
    for (int i = 0; i < 8; i++) head[i] = (unsigned char)((uint64_t)(length + padding) >> 8 * i & 255);
    wf__emit(s, head, 8);
    wf__emit_header(s, t);
    wf__emit(s, "        ", padding);
    for (size_t i = 0; i < t->count; i++) wf__emit_array(s, &t->entry[i].array);
    return WF_OK;
}

/* files: offer safetensors */
wf_result wf_tensors_write(const wf_tensors *t, wf_write_fn write, void *user)
{
    return t ? wf__send(t->arena, wf__tensors_put, t, write, user) : WF_ERROR_ARGUMENT;
}
#ifndef WF_NO_STDIO
wf_result wf_tensors_save(const wf_tensors *t, const char *path) { return t ? wf__save(t->arena, path, wf__tensors_put, t) : WF_ERROR_ARGUMENT; }

wf_tensors *wf_tensors_read(wf_arena *A, const char *path)
{
    wf_arena *scratch;
    size_t size;
    void *bytes = wf__load(A, path, &scratch, &size);
    wf_tensors *t = bytes ? wf_tensors_parse(A, bytes, size, path) : NULL;
    wf__unload(A, scratch);
    return t;
}
#endif

/* files: compute with long whole numbers */
enum { WF__BIG = 96 };
typedef struct wf__big { int n; uint32_t w[WF__BIG]; } wf__big; /* n words, least first, the last not zero */

static void wf__big_mul_add(wf__big *a, uint32_t factor, uint32_t term)
{
    uint64_t carry = term;
    for (int i = 0; i < a->n; i++) {
        carry += (uint64_t)a->w[i] * factor;
        a->w[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry && a->n < WF__BIG) a->w[a->n++] = (uint32_t)carry;
}

static void wf__big_pow5(wf__big *a, int power)
{
    for (; power >= 13; power -= 13) wf__big_mul_add(a, 1220703125u, 0);
    for (; power > 0; power--) wf__big_mul_add(a, 5, 0);
}

/* files: shift long whole numbers */
static void wf__big_shift(wf__big *a, int bits)
{
    int words = bits / 32;
    if (!a->n) return;
    wf__big_mul_add(a, (uint32_t)1 << bits % 32, 0);
    memmove(a->w + words, a->w, sizeof a->w[0] * (size_t)a->n);
    memset(a->w, 0, sizeof a->w[0] * (size_t)words);
    a->n += words;
}

/* files: compare and subtract long whole numbers */
static int wf__big_bits(const wf__big *a)
{
    int bits = 32 * (a->n - 1);
    for (uint32_t top = a->w[a->n - 1]; top; top >>= 1) bits++;
    return bits;
}

static int wf__big_compare(const wf__big *a, const wf__big *b)
{
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    for (int i = a->n - 1; i >= 0; i--)
        if (a->w[i] != b->w[i]) return a->w[i] < b->w[i] ? -1 : 1;
    return 0;
}

static void wf__big_add(wf__big *a, const wf__big *b, int subtract)
{
    uint64_t carry = subtract ? 1 : 0;
    uint32_t flip = subtract ? 0xFFFFFFFFu : 0;
    while (a->n < b->n) a->w[a->n++] = 0;
    for (int i = 0; i < a->n; i++) {
        carry += (uint64_t)a->w[i] + ((i < b->n ? b->w[i] : 0) ^ flip);
        a->w[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry && !subtract) a->w[a->n++] = 1;
    while (a->n && !a->w[a->n - 1]) a->n--;
}

/* files: round to a double */
static double wf__round_bits(uint64_t m, int e, int more)
{
    double value;
    while (!(m >> 63)) { m <<= 1; e--; }
    int E = e + 63, keep = E >= -1022 ? 53 : 53 + 1022 + E;
    uint64_t bits = (uint64_t)0x7FF << 52;
    if (keep < 0) bits = 0;
    else if (E <= 1023) {
        int drop = 64 - keep;
        uint64_t kept = keep ? m >> drop : 0, rest = keep ? m << keep : m, half = (uint64_t)1 << 63;
        if (rest > half || (rest == half && (more || (kept & 1)))) kept++;
        bits = ((uint64_t)(E >= -1022 ? E + 1022 : 0) << 52) + kept;
    }
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* files: divide two long whole numbers */
static double wf__divide(wf__big *n, wf__big *d, int e)
{
    uint64_t m = 0;
    int shift = wf__big_bits(n) - wf__big_bits(d);
    if (shift > 0) wf__big_shift(d, shift);
    else wf__big_shift(n, -shift);
    for (int i = 0; i < 64; i++) {
        int fits = wf__big_compare(n, d) >= 0;
        if (fits) wf__big_add(n, d, 1);
        m = m << 1 | (uint64_t)fits;
        wf__big_mul_add(n, 2, 0);
    }
    return wf__round_bits(m, e + shift - 63, n->n != 0);
}

/* files: convert decimal digits */
static double wf__decimal(const unsigned char *digit, int n, int64_t q)
{
    static const double ten[] = { 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
    static const uint64_t huge = (uint64_t)0x7FF << 52;
    uint64_t w = 0;
    double value = 0;
    if (n == 0 || n + q < -326) return 0;
    if (n + q > 310) { memcpy(&value, &huge, sizeof value); return value; }
    for (int i = 0; i < n && i < 19; i++) w = 10 * w + digit[i];
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 0 && !defined(__FAST_MATH__)
    if (n < 20 && w <= (uint64_t)1 << 53 && q >= -22 && q <= 22) return q < 0 ? (double)w / ten[-q] : (double)w * ten[q];
#endif
    wf__big num, den;
    num.n = 2;
    num.w[0] = (uint32_t)w;
    num.w[1] = (uint32_t)(w >> 32);
    if (!num.w[1]) num.n = 1;
    den.n = 1;
    den.w[0] = 1;
    for (int i = 19; i < n; i++) wf__big_mul_add(&num, 10, digit[i]);
    if (q >= 0) wf__big_pow5(&num, (int)q);
    else wf__big_pow5(&den, (int)-q);
    (void)ten;
    return wf__divide(&num, &den, (int)q);
}

/* files: parse a number */
static size_t wf__match(const char *text, size_t size, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i < n; i++)
        if (i >= size || (text[i] | 32) != word[i]) return 0;
    return n;
}

static size_t wf__parse_special(const char *text, size_t size, double *value)
{
    size_t n = wf__match(text, size, "infinity");
    if (!n) n = wf__match(text, size, "inf");
    uint64_t bits = (uint64_t)(n ? 0x7FF0 : 0x7FF8) << 48;
    if (!n) n = wf__match(text, size, "nan");
    if (n) memcpy(value, &bits, sizeof bits);
    return n;
}

/* files: parse the exponent of a number */
static size_t wf__parse_exponent(const char *text, size_t size, int64_t *q)
{
    size_t i = 1;
    int64_t e = 0;
    if (size < 2 || (text[0] | 32) != 'e') return 0;
    int minus = text[1] == '-';
    if (minus || text[1] == '+') i = 2;
    size_t first = i;
    for (; i < size && text[i] >= '0' && text[i] <= '9'; i++)
        if (e < ((int64_t)1 << 48)) e = 10 * e + (text[i] - '0');
    if (i == first) return 0;
    *q += minus ? -e : e;
    return i;
}

/* files: parse a decimal number */
size_t wf_number_parse(const char *text, size_t size, double *value)
{
    unsigned char digit[769];
    size_t i = size && (text[0] == '-' || text[0] == '+');
    int minus = i && text[0] == '-', n = 0, any = 0, point = 0, more = 0;
    int64_t q = 0;
    double v = 0;
    for (; i < size; i++) {
        int c = text[i];
        if (c == '.' && !point) { point = 1; continue; }
        if (c < '0' || c > '9') break;
        any = 1;
        if (n < 768) {
            if (n || c != '0') digit[n++] = (unsigned char)(c - '0');
            q -= point;
        } else {
            more |= c != '0';
            q += !point;
        }
    }
    if (any) {
        i += wf__parse_exponent(text + i, size - i, &q);
        if (more) { digit[n++] = 1; q--; }
        v = wf__decimal(digit, n, q);
    } else {
        i = size && (text[0] == '-' || text[0] == '+');
        size_t used = wf__parse_special(text + i, size - i, &v);
        if (!used) return 0;
        i += used;
    }
    *value = minus ? -v : v;
    return i;
}

/* files: hold the digits to come */
typedef struct wf__digits { wf__big r, s, up, down; int even; } wf__digits;

static void wf__big_set(wf__big *a, uint64_t value)
{
    a->w[0] = (uint32_t)value;
    a->w[1] = (uint32_t)(value >> 32);
    a->n = a->w[1] ? 2 : 1;
}

/* files: scale a double for its digits */
static int wf__digits_start(wf__digits *g, uint64_t bits)
{
    int field = (int)(bits >> 52 & 0x7FF), e = field ? field - 1075 : -1074;
    uint64_t m = (bits & (((uint64_t)1 << 52) - 1)) | (field ? (uint64_t)1 << 52 : 0);
    int p = e - 1, edge = field > 1 && m == (uint64_t)1 << 52;
    for (uint64_t top = m; top; top >>= 1) p++;
    int k = (p * 78913 + (400 << 18)) / (1 << 18) - 399; /* 1 + floor(p log10 2): v < 10^(k+1) */
    g->even = !(m & 1);
    wf__big_set(&g->r, 4 * m);
    wf__big_set(&g->s, 4);
    wf__big_set(&g->up, 2);
    wf__big_set(&g->down, edge ? 1 : 2);
    wf__big *grow[3] = { &g->r, &g->up, &g->down };
    int two = e - k; /* v / 10^k = m 2^(e-k) / 5^k */
    for (int i = 0; i < 3; i++) {
        if (two > 0) wf__big_shift(grow[i], two);
        if (k < 0) wf__big_pow5(grow[i], -k);
    }
    if (two < 0) wf__big_shift(&g->s, -two);
    if (k > 0) wf__big_pow5(&g->s, k);
    return k;
}

/* files: compare with the end of the interval */
static int wf__digits_high(const wf__digits *g)
{
    wf__big sum = g->r;
    wf__big_add(&sum, &g->up, 0);
    int c = wf__big_compare(&sum, &g->s);
    return c > 0 || (c == 0 && g->even);
}

/* files: generate the shortest digits */
static int wf__shortest(uint64_t bits, char *digit, int *count)
{
    wf__digits g;
    int k = wf__digits_start(&g, bits), n = 0, low, high;
    if (wf__digits_high(&g)) { wf__big_mul_add(&g.s, 10, 0); k++; }
    do {
        int d = 0;
        wf__big_mul_add(&g.r, 10, 0);
        wf__big_mul_add(&g.up, 10, 0);
        wf__big_mul_add(&g.down, 10, 0);
        for (; wf__big_compare(&g.r, &g.s) >= 0; d++) wf__big_add(&g.r, &g.s, 1);
        int c = wf__big_compare(&g.r, &g.down);
        low = c < 0 || (c == 0 && g.even);
        high = wf__digits_high(&g);
        digit[n++] = (char)('0' + d);
    } while (!low && !high);
    wf__big_mul_add(&g.r, 2, 0);
    if (high && (!low || wf__big_compare(&g.r, &g.s) >= 0)) digit[n - 1]++;
    *count = n;
    return k;
}

/* files: write a number */
size_t wf_number_write(double value, char *text)
{
    uint64_t bits;
    char digit[24], *p = text;
    int n = 0, k = 0;
    memcpy(&bits, &value, sizeof bits);
    if (bits >> 63) *p++ = '-';
    bits &= ~((uint64_t)1 << 63);
    if (bits >= (uint64_t)0x7FF << 52) {
        int nan = bits > (uint64_t)0x7FF << 52;
        memcpy(nan ? text : p, nan ? "nan" : "inf", 4);
        return strlen(text);
    }
    if (bits) k = wf__shortest(bits, digit, &n);
    else { digit[n++] = '0'; k = 1; }
    if (k > -5 && k <= 17) {
        if (k <= 0) { *p++ = '0'; *p++ = '.'; }
        for (int i = k; i < 0; i++) *p++ = '0';
        for (int i = 0; i < n || i < k; i++) {
            if (i == k && k > 0) *p++ = '.';
            *p++ = i < n ? digit[i] : '0';
        }
        *p = 0;
    } else {
        *p++ = digit[0];
        if (n > 1) *p++ = '.';
        memcpy(p, digit + 1, (size_t)(n - 1));
        p += n - 1;
        wf__format(p, 8, "e%d", k - 1);
    }
    return (size_t)(p - text) + strlen(p);
}

/* files: step to the next line of a table */
typedef struct wf__csv {
    wf_arena *A;
    const char *file, *next, *end; /* of the text not yet read */
    const char *at, *stop;         /* of the present line */
    size_t line, column;
    char separator;
    int keep_nan, due;
} wf__csv;

static wf_result wf__csv_line(wf__csv *c) /* WF_OK: at a line; WF_CANCELLED: at the end */
{
    for (int blank = 1; blank;) {
        int quoted = 0, comment = 0;
        if (c->next == c->end) return WF_CANCELLED;
        c->line++;
        c->at = c->stop = c->next;
        for (; c->next < c->end && *c->next != '\n' && *c->next != '\r'; c->next++) {
            if (*c->next == '"' && !comment) quoted = !quoted;
            if (*c->next == '#' && !quoted) comment = 1;
            if (comment) continue;
            c->stop = c->next + 1;
            if (*c->next != ' ' && *c->next != '\t') blank = 0;
        }
        if (c->next < c->end && *c->next++ == '\r' && c->next < c->end && *c->next == '\n') c->next++;
        if (quoted) return wf__fail(c->A, WF_ERROR_FORMAT, "%s: line %z: a quote is not closed", c->file, c->line);
    }
    c->column = 0;
    c->due = 0;
    return WF_OK;
}

/* files: step to the next field of a line */
static int wf__csv_blank(const wf__csv *c, const char *p) { return *p == ' ' || (*p == '\t' && c->separator != '\t'); }

static wf_result wf__csv_field(wf__csv *c, const char **text, size_t *size) /* WF_CANCELLED: no more fields */
{
    const char *end;
    while (c->at < c->stop && wf__csv_blank(c, c->at)) c->at++;
    if (c->at == c->stop && !c->due) return WF_CANCELLED;
    c->column++;
    if (c->at < c->stop && *c->at == '"') {
        for (*text = ++c->at; c->at < c->stop && (*c->at != '"' || (c->at + 1 < c->stop && c->at[1] == '"')); c->at++)
            if (*c->at == '"') c->at++;
        if (c->at >= c->stop) return wf__fail(c->A, WF_ERROR_FORMAT, "%s: line %z, column %z: a quote is not closed", c->file, c->line, c->column);
        end = c->at++;
    } else {
        *text = c->at;
        while (c->at < c->stop && *c->at != c->separator && !(c->separator == ' ' && wf__csv_blank(c, c->at))) c->at++;
        end = c->at;
        while (end > *text && wf__csv_blank(c, end - 1)) end--;
    }
    *size = (size_t)(end - *text);
    while (c->at < c->stop && wf__csv_blank(c, c->at)) c->at++;
    c->due = 0;
    if (c->separator == ' ' || c->at == c->stop) return WF_OK;
    if (*c->at != c->separator) return wf__fail(c->A, WF_ERROR_FORMAT, "%s: line %z, column %z: text after a closing quote", c->file, c->line, c->column);
    c->at++;
    c->due = 1;
    return WF_OK;
}

/* files: understand a field */
static int wf__csv_missing(const char *text, size_t size) { return size == 0 || (size == 2 && wf__match(text, size, "na")); }

static wf_result wf__csv_number(wf__csv *c, const char *text, size_t size, double *value)
{
    char shown[21] = { 0 };
    int missing = wf__csv_missing(text, size);
    if (missing) wf__parse_special("nan", 3, value);
    else if (wf_number_parse(text, size, value) != size) {
        for (size_t i = 0; i < size && i < 20; i++) shown[i] = text[i];
        for (int i = 0; shown[i]; i++) if (shown[i] < ' ' || shown[i] > '~') shown[i] = '?';
        return wf__fail(c->A, WF_ERROR_FORMAT, "%s: line %z, column %z: '%s' is not a number", c->file, c->line, c->column, shown);
    }
    if (c->keep_nan || wf__finite(*value)) return WF_OK;
    return wf__fail(c->A, WF_ERROR_DATA, "%s: line %z, column %z: the value is %s", c->file, c->line, c->column, missing ? "missing" : "not finite");
}

/* files: understand a row */
static wf_result wf__csv_row(wf__csv *c, size_t columns, double *values)
{
    const char *text;
    size_t size;
    wf_result r;
    while ((r = wf__csv_field(c, &text, &size)) == WF_OK)
        if (values && c->column <= columns && (r = wf__csv_number(c, text, size, &values[c->column - 1])) != WF_OK) return r;
    if (r < 0 || c->column == columns) return r < 0 ? r : WF_OK;
    return wf__fail(c->A, WF_ERROR_FORMAT, "%s: line %z has %z fields, the first line has %z", c->file, c->line, c->column, columns);
}

/* files: guess the separator */
static char wf__csv_separator(const wf__csv *c)
{
    for (const char *candidate = "\t;,"; *candidate; candidate++) {
        int quoted = 0;
        for (const char *p = c->at; p < c->stop; p++) {
            if (*p == '"') quoted = !quoted;
            if (*p == *candidate && !quoted) return *candidate;
        }
    }
    return ' ';
}

/* files: understand the first line of a table */
static wf_result wf__csv_first(wf__csv *c, int *header, size_t *columns)
{
    const char *text;
    size_t size, numbers = 0, words = 0;
    double value;
    wf_result r = wf__csv_line(c);
    if (r < 0) return r;
    if (r != WF_OK) return wf__fail(c->A, WF_ERROR_FORMAT, "%s: the table is empty", c->file);
    if (!c->separator) c->separator = wf__csv_separator(c);
    while ((r = wf__csv_field(c, &text, &size)) == WF_OK) {
        if (wf__csv_missing(text, size)) continue;
        if (wf_number_parse(text, size, &value) == size || strchr("+-.0123456789", *text)) numbers++;
        else words++;
    }
    *columns = c->column;
    if (r < 0) return r;
    if (*header == 0 && words && numbers)
        return wf__fail(c->A, WF_ERROR_FORMAT, "%s: line %z mixes words and numbers; say by the option header whether it is one", c->file, c->line);
    if (*header == 0) *header = words ? 1 : -1;
    return WF_OK;
}

/* files: keep the names of a table */
static wf_result wf__csv_names(wf__csv *c, wf_table *t)
{
    const char *text;
    size_t size;
    wf_result r = wf__csv_line(c);
    t->names = (const char **)wf_alloc(c->A, t->columns, sizeof *t->names);
    if (!t->names) return WF_ERROR_MEMORY;
    while (r == WF_OK && (r = wf__csv_field(c, &text, &size)) == WF_OK) {
        if (memchr(text, 0, size)) return wf__fail(c->A, WF_ERROR_FORMAT, "%s: the name of column %z contains a zero byte", c->file, c->column);
        char *name = (char *)wf_alloc(c->A, size + 1, 1), *out = name;
        if (!name) return WF_ERROR_MEMORY;
        for (size_t i = 0; i < size; i++) {
            *out++ = text[i];
            if (text[i] == '"' && i + 1 < size && text[i + 1] == '"') i++;
        }
        t->names[c->column - 1] = name;
    }
    return r < 0 ? r : WF_OK;
}

/* files: read a table */
static wf_result wf__csv_table(wf__csv *c, wf_table *t, int header)
{
    wf__csv start = *c;
    wf_result r = wf__csv_first(c, &header, &t->columns);
    if (r != WF_OK) return r;
    start.separator = c->separator;
    t->rows = header < 0;
    while ((r = wf__csv_line(c)) == WF_OK) {
        if ((r = wf__csv_row(c, t->columns, NULL)) != WF_OK) return r;
        t->rows++;
    }
    if (r < 0) return r;
    *c = start;
    if (header > 0 && (r = wf__csv_names(c, t)) != WF_OK) return r;
    t->data = (double *)wf_alloc(c->A, t->rows, t->columns * sizeof *t->data);
    if (!t->data) return WF_ERROR_MEMORY;
    for (size_t i = 0; i < t->rows; i++) {
        if ((r = wf__csv_line(c)) == WF_OK) r = wf__csv_row(c, t->columns, t->data + i * t->columns);
        if (r != WF_OK) return r;
    }
    return WF_OK;
}

/* files: parse a table */
wf_table *wf_csv_parse(wf_arena *A, const char *text, size_t size, const char *name, const wf_csv_options *options)
{
    wf_mark mark = wf_arena_mark(A);
    wf_table *t = (wf_table *)wf_alloc(A, 1, sizeof *t);
    wf__csv c;
    memset(&c, 0, sizeof c);
    c.A = A;
    c.file = name;
    c.separator = options ? options->separator : 0;
    c.keep_nan = options && options->keep_nan;
    c.next = text;
    c.end = text + size;
    if (size >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) c.next += 3; /* a byte order mark, which some editors write */
    for (size_t skip = options ? options->skip : 0; skip && c.next < c.end; c.next++)
        if (*c.next == '\n') { skip--; c.line++; }
    if (t && wf__csv_table(&c, t, options ? options->header : 0) == WF_OK) return t;
    wf_arena_reset(A, mark);
    return NULL;
}

int wf_table_column(const wf_table *t, const char *name)
{
    for (size_t i = 0; t && t->names && name && i < t->columns; i++)
        if (!strcmp(t->names[i], name)) return (int)i;
    return -1;
}

/* files: write a table */
static wf_result wf__csv_put(wf_arena *A, const void *what, wf__sink *s)
{
    const wf_table *t = (const wf_table *)what;
    char number[32];
    if (!t || !t->columns || (t->rows && !t->data)) return wf__fail(A, WF_ERROR_ARGUMENT, "csv: a table has columns, and data if it has rows");
    for (size_t i = 0; t->names && i < t->columns; i++) {
        const char *name = t->names[i] ? t->names[i] : "";
        if (strpbrk(name, "\r\n")) return wf__fail(A, WF_ERROR_NAME, "csv: the name of column %z contains the end of a line", i + 1);
        wf__emit_text(s, i ? ",\"" : "\"");
        for (; *name; name++) wf__emit(s, *name == '"' ? "\"\"" : name, *name == '"' ? 2 : 1);
        wf__emit_text(s, i + 1 < t->columns ? "\"" : "\"\n");
    }
    for (size_t i = 0; i < t->rows; i++)
        for (size_t j = 0; j < t->columns; j++) {
            size_t n = wf_number_write(t->data[i * t->columns + j], number);
            number[n] = j + 1 < t->columns ? ',' : '\n';
            wf__emit(s, number, n + 1);
        }
    return WF_OK;
}

/* files: offer tables */
wf_result wf_csv_write(wf_arena *A, const wf_table *t, wf_write_fn write, void *user) { return wf__send(A, wf__csv_put, t, write, user); }
#ifndef WF_NO_STDIO
wf_result wf_csv_save(wf_arena *A, const char *path, const wf_table *t) { return wf__save(A, path, wf__csv_put, t); }

wf_table *wf_csv_read(wf_arena *A, const char *path, const wf_csv_options *options)
{
    wf_arena *scratch;
    size_t size;
    const char *text = (const char *)wf__load(A, path, &scratch, &size);
    wf_table *t = text ? wf_csv_parse(A, text, size, path, options) : NULL;
    wf__unload(A, scratch);
    return t;
}
#endif

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

static double wf__get(const void *x, int type, size_t i)
{
    return type == WF_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

static void wf__put_value(void *x, int type, size_t i, double value)
{
    if (type == WF_F64) ((double *)x)[i] = value;
    else ((float *)x)[i] = (float)value;
}

/* parameters: grow a table */
static int wf__grow_table(wf_arena *A, void **table, int used, int *room, size_t size)
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
        wf__put_value(P->data, P->type, e->offset + i, x);
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
        if (e->nd == nd && (!nd || !memcmp(e->d, d, (size_t)nd * sizeof *d))) return found;
        wf__shape_text(shape, sizeof shape, nd, d);
        wf__shape_text(other, sizeof other, e->nd, e->d);
        return wf__fail(P->arena, WF_ERROR_SHAPE, "params: %s is %s, asked for as %s", name, other, shape);
    }
    void *table = P->entry;
    if (!wf__grow_table(P->arena, &table, P->entries, &P->room, sizeof *P->entry)) return WF_ERROR_MEMORY;
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

static const wf_param_info *wf__params_named(const wf_params *P, const char *name, size_t count, wf_result *r)
{
    int i = wf_params_find(P, name);
    *r = !P ? WF_ERROR_ARGUMENT : i < 0 ? WF_ERROR_NAME : P->entry[i].count != count ? WF_ERROR_SHAPE : WF_OK;
    if (*r == WF_ERROR_NAME) wf__fail(P->arena, *r, "params: there is no parameter %s", name);
    if (*r == WF_ERROR_SHAPE) wf__fail(P->arena, *r, "params: %s has %z elements, not %z", name, P->entry[i].count, count);
    return *r ? NULL : &P->entry[i];
}

wf_result wf_params_get(const wf_params *P, const char *name, double *values, size_t count)
{
    wf_result r;
    const wf_param_info *e = wf__params_named(P, name, count, &r);
    if (!e) return r;
    for (size_t i = 0; i < count; i++) values[i] = wf__get(P->data, P->type, e->offset + i);
    return WF_OK;
}

wf_result wf_params_set(wf_params *P, const char *name, const double *values, size_t count)
{
    wf_result r;
    const wf_param_info *e = wf__params_named(P, name, count, &r);
    if (!e) return r;
    for (size_t i = 0; i < count; i++) wf__put_value(P->data, P->type, e->offset + i, values[i]);
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
        && (!a->args || !memcmp(g->pool + a->arg, b_args, (size_t)a->args * sizeof *b_args));
}

/* graphs: look a node up */
static int wf__node_find(const wf_graph *g, const wf__node *n, const int32_t *args)
{
    if (!g->buckets) return 0;
    uint32_t h = wf__node_hash(n, args);
    for (int id; (id = g->bucket[h & (uint32_t)(g->buckets - 1)]) != 0; h++)
        if (wf__node_equal(g, &g->node[id], n, args)) return id;
    return 0;
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
        if (!wf__grow_table(A, &t, *room, room, sizeof **table)) return 0;
    *table = (int32_t *)t;
    return 1;
}

static wf_t wf__node_add(wf_graph *g, wf__node n, const int32_t *args, int count)
{
    wf_t none = { g, 0 };
    void *table = g->node;
    size_t size;
    n.args = count;
    if (!wf__shape_size(n.nd, n.d, &size)) { wf__fail(g->arena, WF_ERROR_LIMIT, "%s: a result of more than 2^30 elements", wf__op_name[n.op]); return none; }
    if (!wf__graph_rehash(g)) return none;
    uint32_t h = wf__node_hash(&n, args);
    for (int id; (id = g->bucket[h & (uint32_t)(g->buckets - 1)]) != 0; h++)
        if (wf__node_equal(g, &g->node[id], &n, args)) return wf__at(g, id);
    if (g->nodes >= 1 << 24) { wf__fail(g->arena, WF_ERROR_LIMIT, "graph: more than 2^24 values"); return none; }
    if (!wf__grow_table(g->arena, &table, g->nodes, &g->node_room, sizeof n)) return none;
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
    if (!wf__grow_table(g->arena, &table, g->sources, &g->source_room, sizeof *g->source)) return wf__none(g);
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

wf_t wf_const_array(wf_graph *g, int nd, const int *d, const double *values)
{
    if (wf__shape_bad(g, "array", nd, d)) return wf__none(g);
    wf__node n = wf__blank(WF__OP_ARRAY, WF__SHARED, nd, d);
    size_t size = wf__node_size(&n);
    void *table = g->constant;
    while ((size_t)g->constant_room - (size_t)g->constants < size)
        if (!wf__grow_table(g->arena, &table, g->constant_room, &g->constant_room, sizeof(double))) return wf__none(g);
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
    int32_t args[2] = { a.id, b.id }, exchanged[2] = { b.id, a.id };
    wf__node n = wf__blank(op, wf__of(a)->space | wf__of(b)->space, nd, d);
    n.args = 2;
    int twin = op == WF__OP_ADD || op == WF__OP_MUL || op == WF__OP_EQ ? wf__node_find(a.graph, &n, exchanged) : 0;
    return twin ? wf__at(a.graph, twin) : wf__node_add(a.graph, n, args, 2);
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
    if (wf__of(x)->nd == nd && (!nd || !memcmp(wf__of(x)->d, d, (size_t)nd * sizeof *d))) return x;
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
    int64_t last = (int64_t)start + ((int64_t)count - 1) * step;
    if (count > 1 && step == 0) return wf__unfit(x, "slice", "a step of 0 takes one element only");
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
    int32_t *renamed; /* of a copy whose body is its own: the numbers of the first body's values in it */
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
    if (!wf__grow_table(l->graph->arena, &table, l->ports, &l->port_room, sizeof *l->port)) return wf__loop_none(l);
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

/* loops: follow a partial sum through an operation */
enum { WF__WHOLE = 0, WF__PARTIAL = 1, WF__MIXED = 2, WF__ZERO_SUM = 3 };

static int wf__sum_marks(int a, int b) { return a == WF__ZERO_SUM || a == b ? b : b == WF__ZERO_SUM ? a : WF__MIXED; }

static int wf__mark_of(const wf_graph *g, int id, const uint8_t *mark)
{
    const wf__node *n = &g->node[id];
    int first = n->args ? mark[wf__arg(g, id, 0)] : (int)WF__WHOLE, second = n->args > 1 ? mark[wf__arg(g, id, 1)] : (int)WF__WHOLE, m = WF__ZERO_SUM, worst = WF__WHOLE;
    for (int k = 0; k < n->args; k++) {
        int a = mark[wf__arg(g, id, k)];
        if (k || n->op != WF__OP_SELECT) m = wf__sum_marks(m, a);
        if (a == WF__MIXED || (a == WF__PARTIAL && worst == WF__WHOLE)) worst = a;
    }
    if (worst == WF__MIXED) return worst;
    switch (n->op) {
    case WF__OP_CONST: return n->value >= 0 && n->value <= 0 ? WF__ZERO_SUM : WF__WHOLE;
    case WF__OP_ADD: case WF__OP_SUB: case WF__OP_CONCAT: return m;
    case WF__OP_SELECT: return first == WF__PARTIAL ? WF__MIXED : m;
    case WF__OP_MUL: case WF__OP_MATMUL:
        if (first == WF__ZERO_SUM || second == WF__ZERO_SUM) return WF__ZERO_SUM;
        return first == WF__PARTIAL && second == WF__PARTIAL ? WF__MIXED : worst;
    case WF__OP_DIV: case WF__OP_TAKE: case WF__OP_SCATTER: return second == WF__PARTIAL ? WF__MIXED : first;
    case WF__OP_TRISOLVE: return first == WF__PARTIAL ? WF__MIXED : second;
    case WF__OP_NEG: case WF__OP_STOP: return first;
    default: return wf__op_kind[n->op] == WF__KIND_LINEAR ? first : worst == WF__PARTIAL ? WF__MIXED : WF__WHOLE;
    }
}

/* loops: mark partial sums */
static int wf__mark_result(const wf_graph *g, int id, const uint8_t *mark);

static void wf__mark_partials(const wf_graph *g, int top, uint8_t *mark)
{
    for (int i = 1; i <= top; i++) {
        const wf__node *n = &g->node[i];
        if (n->space == WF__BATCH || n->op == WF__OP_INPUT) continue;
        if (n->op == WF__OP_BSUM) mark[i] = WF__PARTIAL;
        else if (n->op == WF__OP_RESULT) mark[i] = (uint8_t)wf__mark_result(g, i, mark);
        else mark[i] = (uint8_t)wf__mark_of(g, i, mark);
    }
}

/* loops: mark the results of a shared loop */
static int wf__mark_result(const wf_graph *g, int id, const uint8_t *mark)
{
    const wf_loop *l = g->loop[g->node[wf__arg(g, id, 0)].at[0]];
    if (g->node[wf__arg(g, id, 0)].space == WF__BATCH) return WF__PARTIAL; /* a total over samples itself */
    wf_mark before = wf_arena_mark(g->arena);
    uint8_t *in = (uint8_t *)wf_alloc(g->arena, (size_t)l->body->nodes, 1);
    int changed = 1, result = WF__WHOLE;
    for (int i = 0; in && i < l->ports; i++) if (l->port[i].outer) in[l->port[i].inner] = mark[l->port[i].outer];
    while (in && changed) {
        changed = 0;
        wf__mark_partials(l->body, l->body->nodes - 1, in);
        for (int i = 0; i < l->ports; i++) {
            wf__port p = l->port[i];
            int m = p.kind == WF__CARRY ? wf__sum_marks(in[p.inner], in[p.next]) : in[p.inner];
            if (m != in[p.inner]) { in[p.inner] = (uint8_t)m; changed = 1; }
        }
    }
    if (in) result = in[g->node[id].at[1]];
    wf_arena_reset(g->arena, before);
    return result;
}

/* loops: is this a sum over samples */
static int wf__is_partial(const wf_graph *g, int id) /* whole (0) when memory is short: that is reported anyway */
{
    wf_mark before = wf_arena_mark(g->arena);
    uint8_t *mark = (uint8_t *)wf_alloc(g->arena, (size_t)id + 1, 1);
    if (mark) wf__mark_partials(g, id, mark);
    int result = mark && mark[id] != WF__ZERO_SUM ? mark[id] : (int)WF__WHOLE;
    wf_arena_reset(g->arena, before);
    return result;
}

/* loops: refuse partial sums inside */
static int wf__partial_misused(const wf_loop *l, const uint8_t *mark)
{
    const wf_graph *g = l->body;
    for (int id = 1; id < g->nodes; id++)
        for (int k = 0; g->node[id].space == WF__BATCH && k < g->node[id].args; k++)
            if (mark[wf__arg(g, id, k)] == WF__PARTIAL || mark[wf__arg(g, id, k)] == WF__MIXED) return id;
    for (int i = 0; i < l->ports; i++) if (l->port[i].kind == WF__CARRY && (mark[l->port[i].next] == WF__PARTIAL || mark[l->port[i].next] == WF__MIXED)) return l->port[i].next;
    return 0;
}

static wf_result wf__loop_check(const wf_loop *l)
{
    const wf_graph *g = l->body;
    int batch = 0;
    for (int id = 1; id < g->nodes; id++) batch |= g->node[id].space;
    if (!batch) return WF_OK;
    wf_mark before = wf_arena_mark(g->arena);
    uint8_t *mark = (uint8_t *)wf_alloc(g->arena, (size_t)g->nodes, 1);
    if (!mark) return g->arena->report.code;
    wf__mark_partials(g, g->nodes - 1, mark);
    int wrong = wf__partial_misused(l, mark);
    wf_arena_reset(g->arena, before);
    if (!wrong) return WF_OK;
    return wf__fail(g->arena, WF_ERROR_UNSUPPORTED, "loop: value %d of the body uses a sum over samples, which inside a loop over samples can only leave it as a total", wrong);
}

/* loops: end a loop */
wf_result wf_loop_end(wf_loop *l)
{
    int count = 0, space = WF__SHARED, inside = 0;
    if (!l || l->ended) return WF_ERROR_ARGUMENT;
    wf_arena *A = l->graph->arena;
    if (A->report.code < 0) return A->report.code;
    for (int id = 1; id < l->body->nodes; id++) inside += l->body->node[id].op == WF__OP_PARAM;
    int32_t *args = (int32_t *)wf_alloc(A, (size_t)(l->ports + inside + 1), sizeof *args);
    if (!args) return WF_ERROR_MEMORY;
    for (int i = 0; i < l->ports; i++) {
        if (l->port[i].kind == WF__CARRY && !l->port[i].next) return wf__fail(A, WF_ERROR_ARGUMENT, "loop: carry %d has no next value", i);
        if (!l->port[i].outer) continue;
        args[count++] = l->port[i].outer;
    }
    if (wf__loop_check(l) < 0) return A->report.code;
    for (int id = 1; id < l->body->nodes; id++) {
        const wf__node *b = &l->body->node[id];
        space |= b->space;
        if (b->op == WF__OP_INPUT && b->at[0] >= 0)
            return wf__fail(A, WF_ERROR_ARGUMENT, "loop: the input %s is made in the body; make it in the graph around the loop and bring it in by wf_loop_constant", l->body->source[b->at[0]].name);
        if (b->op != WF__OP_PARAM) continue;
        args[count] = wf__node_add(l->graph, *b, NULL, 0).id;
        if (!args[count++]) return WF_ERROR_MEMORY;
    }
    void *table = l->graph->loop;
    if (!wf__grow_table(A, &table, l->graph->loops, &l->graph->loop_room, sizeof *l->graph->loop)) return WF_ERROR_MEMORY;
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
    int space = kind == WF__TOTAL && like->space == WF__SHARED && wf__is_partial(l->body, what) ? (int)WF__SHARED : l->graph->node[l->node].space;
    wf__node n = wf__blank(WF__OP_RESULT, space, nd, d);
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
    if (!wf_is_batch(value) && wf__is_partial(l->body, value.id) > (kind == WF__TOTAL ? WF__PARTIAL : WF__WHOLE)) return wf__unfit(value, "loop", kind == WF__TOTAL ? "is no linear function of sums over samples; only those can leave a loop over samples" : "is a sum over samples, which can only leave a loop over samples as a total");
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
    if (!copy || !wf__grow_table(g->arena, &table, g->customs, &g->custom_room, sizeof *g->custom)) return wf__none(g);
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
        rows[i] = wf_const_array(a.graph, 2, one, row);
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
    wf_t half = wf__triangle(da, 0, 0.5), s = wf_trisolve(l, wf_add(half, wf_transpose(half)), 0, 0, 0);
    s = wf_transpose(wf_trisolve(l, wf_transpose(s), 0, 0, 0));
    return wf_matmul(l, wf__triangle(s, 0, 0.5));
}

static wf_t wf__cholesky_vjp(wf_t l, wf_t u)
{
    wf_t p = wf__triangle(wf_matmul_t(l, 1, u, 0), 0, 0.5);
    wf_t s = wf_trisolve(l, p, 0, 1, 0);
    s = wf_transpose(wf_trisolve(l, wf_transpose(s), 0, 1, 0));
    return wf__triangle(wf_add(s, wf_transpose(s)), 0, 0.5);
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
    int keeps = n.op == WF__OP_RANDOM || n.op == WF__OP_INPUT || (n.op == WF__OP_BCAST && n.space == WF__BATCH);
    int total = n.op == WF__OP_RESULT && n.space < from->node[from->pool[n.arg]].space, space = n.space * keeps; /* shared is 0 */
    if (n.op == WF__OP_SCAN) return wf__import_loop(to, from->loop[n.at[0]], map);
    if (n.args > MANY) { wf__fail(to->arena, WF_ERROR_LIMIT, "derivative: a value with more than %d arguments", MANY); return wf__none(to); }
    for (int i = 0; i < n.args; i++) {
        args[i] = map[from->pool[n.arg + i]];
        if (!args[i]) return wf__none(to);
        if (n.op != WF__OP_BSUM && !total) space |= to->node[args[i]].space;
    }
    n.space = (uint8_t)space;
    if (n.op == WF__OP_ARRAY) return wf_const_array(to, n.nd, n.d, from->constant + n.at[0]);
    if (n.op == WF__OP_CUSTOM) {
        wf_t in[12];
        for (int i = 0; i < n.args; i++) in[i] = wf__at(to, args[i]);
        return wf__custom_node(to, from->custom[n.at[0]], in, n.args, n.nd, n.d);
    }
    if (n.op == WF__OP_RESULT) {
        const wf_loop *l = to->loop[to->node[args[0]].at[0]];
        if (l->renamed) n.at[1] = l->renamed[n.at[1]];
    }
    return wf__node_add(to, n, args, n.args);
}

/* derivatives: copy a loop into another graph */
static void wf__import_body(wf_loop *copy, const wf_loop *l, const int32_t *map)
{
    int32_t *inner = copy->renamed = (int32_t *)wf_alloc(copy->graph->arena, (size_t)l->body->nodes, sizeof *inner);
    for (int i = 0; inner && i < l->ports; i++) {
        wf__port p = l->port[i];
        wf_t outer = wf__at(copy->graph, p.outer ? map[p.outer] : 0), x;
        if (p.kind == WF__CARRY) x = wf_loop_carry(copy, wf_per_sample(outer));
        else if (p.kind == WF__EACH) x = wf_loop_each(copy, outer);
        else x = p.kind == WF__FIXED ? wf_loop_constant(copy, outer) : wf_loop_step(copy);
        inner[p.inner] = x.id;
    }
    for (int id = 1; inner && id < l->body->nodes; id++) if (!inner[id]) inner[id] = wf__import(copy->body, l->body, id, inner).id;
    for (int i = 0; inner && i < l->ports; i++)
        if (l->port[i].kind == WF__CARRY) wf_loop_next(copy, wf__at(copy->body, inner[l->port[i].inner]), wf__at(copy->body, inner[l->port[i].next]));
}

static wf_t wf__import_loop(wf_graph *to, const wf_loop *l, const int32_t *map)
{
    int wider = 0;
    wf_loop *copy = wf_loop_begin(to, l->steps, l->keep);
    if (!copy) return wf__none(to);
    copy->backwards = l->backwards;
    for (int i = 0; i < l->ports; i++)
        if (l->port[i].outer) wider |= to->node[map[l->port[i].outer]].space > l->graph->node[l->port[i].outer].space;
    if (wider) wf__import_body(copy, l, map);
    else {
        copy->body = l->body;
        copy->ports = copy->port_room = l->ports;
        copy->port = (wf__port *)wf_alloc(to->arena, (size_t)(l->ports + 1), sizeof *copy->port);
        for (int i = 0; copy->port && i < l->ports; i++) {
            copy->port[i] = l->port[i];
            copy->port[i].outer = l->port[i].outer ? map[l->port[i].outer] : 0;
        }
    }
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
    if (g->node[to].space == WF__SHARED && (g->node[giver].space == WF__BATCH || wf_is_batch(c))) {
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

static wf_t wf__custom_checked(wf_t like, wf_t d, const char *name) /* users err */
{
    char want[64], got[64];
    if (d.graph == like.graph && d.id && wf__of(d)->nd == wf__of(like)->nd && !memcmp(wf__of(d)->d, wf__of(like)->d, sizeof wf__of(d)->d)) return d;
    wf__shape_text(want, sizeof want, wf__of(like)->nd, wf__of(like)->d);
    if (d.graph == like.graph && d.id) wf__shape_text(got, sizeof got, wf__of(d)->nd, wf__of(d)->d);
    else wf__format(got, sizeof got, "no value of this graph");
    wf__fail(like.graph->arena, WF_ERROR_SHAPE, "derivative: the operation %s gave %s where %s was wanted", name, got, want);
    return wf__none(like.graph);
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
        if (c.which < 0 && c.op.vjp) { wf__give(s, y.id, in[k].id, wf__custom_checked(in[k], c.op.vjp(c.op.user, in, inputs, y, u, k), c.op.name)); continue; }
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
        wf_t x;
        if (p.kind == WF__CARRY) x = stacked ? wf_loop_each(r, wf_loop_stack(l, inner)) : wf_loop_carry(r, outer);
        else if (p.kind == WF__EACH) x = wf_loop_each(r, outer);
        else if (p.kind == WF__FIXED) x = wf_loop_constant(r, outer);
        else x = wf_loop_step(r);
        if (stacked && p.kind <= WF__EACH && l->graph->node[l->node].space == WF__BATCH) x = wf_per_sample(x);
        map[p.inner] = x.id;
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
        u = kind == WF__STACK ? wf_loop_each(r, u) : wf_loop_constant(r, u);
        v->u[v->ny++] = g->node[id].space == WF__BATCH ? wf_per_sample(u) : u; /* also of a value that is shared in the body: it counts for each sample */
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
    if (n->space != l->graph->node[l->node].space && !wf__is_cheap(n)) return;
    if (wf__is_cheap(n) || n->nd == 4) { /* a stack has one axis more; four is the most */
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

/* derivatives: order the nodes by the expression */
static int32_t *wf__sweep_order(const wf__sweep *s, const wf_t *y, int ny, int top, int *count)
{
    wf_graph *g = s->g;
    int32_t *order = (int32_t *)wf_alloc(g->arena, (size_t)top, sizeof *order), *stack = (int32_t *)wf_alloc(g->arena, (size_t)top, sizeof *stack);
    int32_t *seen = (int32_t *)wf_alloc(g->arena, (size_t)top, sizeof *seen); /* 1 + the arguments that were looked at */
    if (!order || !stack || !seen) return NULL;
    for (int i = 0, depth = 0; i < ny; i++) {
        if (!s->want[y[i].id] || seen[y[i].id]) continue;
        seen[stack[depth++] = y[i].id] = 1;
        while (depth) {
            int id = stack[depth - 1], args = g->node[id].args, arg = seen[id] <= args ? wf__arg(g, id, seen[id] - 1) : 0;
            seen[id]++;
            if (arg && s->want[arg] && !seen[arg] && g->node[arg].args) seen[stack[depth++] = arg] = 1;
            for (int k = 0; k < args && !arg; k++) {
                int leaf = wf__arg(g, id, k);
                if (s->want[leaf] && !seen[leaf]) seen[order[(*count)++] = leaf] = 1;
            }
            if (!arg) { order[(*count)++] = id; depth--; }
        }
    }
    return order;
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
        if (wf__op_kind[n->op] == WF__KIND_ZERO) continue;
        for (int k = 0; k < n->args && !s.want[id]; k++) s.want[id] = s.want[wf__arg(g, id, k)];
    }
    for (int i = 0; i < ny; i++) {
        wf_t c = wf_bcast(u[i], wf__of(y[i])->nd, wf__of(y[i])->d);
        wf__give(&s, y[i].id, y[i].id, c);
    }
    int count = 0;
    const int32_t *order = wf__sweep_order(&s, y, ny, top, &count);
    if (!order) return g->arena->report.code;
    while (count-- && !s.failed) {
        int id = order[count];
        if (g->node[id].op == WF__OP_SCAN) { if (s.pending[id]) wf__pass_loop(&s, id); continue; }
        if (s.pending[id]) wf__settle(&s, id);
        if (s.cot[id] && g->node[id].args) wf__pass(&s, id);
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
    if (c.which < 0 && c.op.jvp) return wf__custom_checked(y, c.op.jvp(c.op.user, in, inputs, y, v), c.op.name);
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
    default: return va.id ? wf__reapply(y, va) : wf__const_like(y, 0); /* only an index moves */
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
    size_t inputs = (size_t)(l->ports + l->body->nodes);
    wf_t *x = (wf_t *)wf_alloc(A, inputs, sizeof *x), *v = (wf_t *)wf_alloc(A, inputs, sizeof *v);
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
    for (int id = 1; id < r->body->nodes; id++) {
        const wf__node *n = &r->body->node[id];
        if (n->op != WF__OP_PARAM) continue;
        wf_t outer = wf__node_add(g, *n, NULL, 0);
        if (outer.id >= top || !tan[outer.id]) continue;
        x[nx] = wf__at(r->body, id);
        v[nx++] = wf_loop_constant(r, wf__at(g, tan[outer.id]));
    }
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
    for (int i = 0; i < nx; i++) {
        tan[x[i].id] = wf_bcast(v[i], wf__of(x[i])->nd, wf__of(x[i])->d).id;
        if (!tan[x[i].id]) return g->arena->report.code;
        need[x[i].id] = 0;
    }
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
static wf_t wf__curvature_of(wf_t y, int which, wf_t x)
{
    wf_t slope = wf_bcast(wf__slope(y, which), wf__of(y)->nd, wf__of(y)->d), one = wf__const_like(x, 1), out = wf__none(y.graph);
    if (!slope.id || wf__jvp(&x, &one, 1, &slope, 1, &out) < 0) return wf__none(y.graph);
    return out;
}

/* derivatives: put arguments in place of stand-ins */
static wf_t wf__replace(wf_t value, const wf_t *from, const wf_t *to, int n)
{
    wf_graph *g = value.graph;
    int first = from[0].id;
    int32_t *map = (int32_t *)wf_alloc(g->arena, (size_t)value.id + 1, sizeof *map);
    if (!map) return wf__none(g);
    for (int i = 1; i < n; i++) if (from[i].id < first) first = from[i].id;
    for (int id = 0; id <= value.id; id++) map[id] = id;
    for (int i = 0; i < n; i++) if (from[i].id <= value.id) map[from[i].id] = to[i].id; /* the value may be older than they are: a constant */
    for (int id = first; id <= value.id; id++) {
        int changed = 0;
        for (int k = 0; k < g->node[id].args; k++) changed |= map[wf__arg(g, id, k)] != wf__arg(g, id, k);
        if (changed && map[id] == id) map[id] = wf__import(g, g, id, map).id;
    }
    return wf__at(g, map[value.id]);
}

static wf_t wf__curvature(wf_t y, int which, int along)
{
    wf_t real[2], stand[2], fresh, f;
    if (wf__of(y)->args == 1) return wf__curvature_of(y, which, wf__arg_of(y, 0));
    for (int i = 0; i < 2; i++) real[i] = wf__arg_of(y, i);
    stand[0] = wf_stop(real[0]);
    stand[1] = wf_stop(wf_stop(real[1]));
    if (stand[1].id == stand[0].id) stand[1] = wf_stop(stand[1]); /* x times stop(x) */
    fresh = wf__build(wf__of(y)->op, stand);
    if (wf__missing(fresh)) return fresh;
    if (wf__arg(y.graph, fresh.id, 0) != stand[0].id) which = 1 - which; /* commutative operations sort their arguments */
    f = wf__curvature_of(fresh, which, stand[along]);
    return f.id ? wf__replace(f, stand, real, 2) : f;
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

/* ---- Plans ---- */
/* plans: define references and steps */
enum { WF__BASE_TILE = 0, WF__BASE_SHARED, WF__BASE_PARAM, WF__BASE_CONST, WF__BASE_ACC, WF__BASE_FIRST };

typedef struct wf__ref { int32_t base, buffer; int64_t at; } wf__ref;

enum {
    WF__STEP_GROUP, WF__STEP_GEMM, WF__STEP_GEMM_NT, WF__STEP_LANES_MM, WF__STEP_COPY, WF__STEP_ZERO, WF__STEP_REDUCE, WF__STEP_CUMSUM, WF__STEP_SOFTMAX,
    WF__STEP_TAKE, WF__STEP_SCATTER, WF__STEP_SLOW, WF__STEP_INPUT, WF__STEP_OUTPUT, WF__STEP_RANDOM, WF__STEP_SUM_LANES, WF__STEP_SUM_NT, WF__STEP_SUM_ADD,
    WF__STEP_PARTIAL, WF__STEP_COUNT, WF__STEP_LOOP, WF__STEP_CUSTOM, WF__STEP_FINISH
};

typedef struct wf__step {
    uint8_t code, flags, act, spread; /* spread: lanes of the result */
    int32_t node, first, number;
    wf__ref out, a, b, c;
    int64_t n[12];
} wf__step;

/* plans: define elementwise groups */
enum { WF__FULL, WF__SCALAR, WF__PATTERN, WF__REGISTER };
enum { WF__CHUNK = 512 };

typedef struct wf__operand { int32_t kind, reg; int64_t inner, mid; wf__ref ref; } wf__operand;
typedef struct wf__micro { uint8_t op, form; int16_t y, a, b, c; } wf__micro; /* operands by number within the group */

/* plans: define the plan of a loop */
typedef struct wf__bind { int32_t kind, base; wf__ref outer, inner; int64_t row; size_t bytes; } wf__bind;

typedef struct wf__code {
    wf__step *step;
    int steps, step_room;
    int bases;
    size_t tile_bytes;
} wf__code;

typedef struct wf__loop_plan {
    wf__code code;
    int steps, backwards;
    wf__bind *bind; /* carries, rows, constants, results */
    int binds, bind_room, frame;
    wf__ref scratch;
} wf__loop_plan;

enum { WF__BIND_CARRY, WF__BIND_ROWS, WF__BIND_FIXED, WF__BIND_STEP, WF__BIND_NEXT, WF__BIND_FINAL, WF__BIND_STACK, WF__BIND_TOTAL };

/* plans: define a plan */
typedef struct wf__sum { wf__ref out; size_t size, at; int real, node; } wf__sum; /* an accumulator over samples */
typedef struct wf__phase { wf__code shared, tiles; } wf__phase;
typedef struct wf__place { int node, space; wf__ref ref; size_t size; } wf__place;

struct wf_plan {
    wf_arena *arena;
    wf_graph *graph;
    const wf__kernels *kernels;
    int type, tile, slots, reference, shared_lanes;
    wf__phase *phase;
    int phases;
    wf__operand *operand;
    int operands, operand_room;
    wf__micro *micro;
    int micros, micro_room;
    wf__loop_plan **loop;
    int loops, loop_room;
    wf__sum *sum;
    int sums, sum_room;
    wf__place *in, *out, *grad;
    int ins, in_room, outs, grads, has_grad; /* has_grad: asked for, though all of it may be zero */
    char *constant;
    size_t constant_bytes;
    size_t shared_bytes, real_sums, double_sums, scratch_bytes;
    int frames, registers, total_steps;
    const wf_graph *custom_graph[64]; /* the graphs that hold users' operations */
    int custom_graphs;
    size_t tile_bytes;
};

/* plans: define a scope */
typedef struct wf__buffer { size_t bytes, at; int first, last; } wf__buffer;
typedef struct wf__value { wf__ref ref; uint8_t known, placed; } wf__value; /* placed: where it will be */

typedef struct wf__scope {
    wf_plan *plan;
    wf_graph *g;
    wf_arena *A;
    wf__code *code;
    int lanes, shared, inside;  /* inside: the body of a loop */
    wf__value *value;
    uint8_t *need, *taken;      /* taken: computed as a part of another step */
    int32_t *uses, *sink;
    wf__buffer *buffer;
    int buffers, buffer_room, nodes;
    int failed;
} wf__scope;

static size_t wf__es(const wf__scope *s) { return wf__type_size(s->plan->type); }
static int wf__lanes(const wf__scope *s, int id) { return s->g->node[id].space == WF__BATCH ? s->lanes : 1; }
static size_t wf__count(const wf__scope *s, int id) { return wf__node_size(&s->g->node[id]) * (size_t)wf__lanes(s, id); }
static wf__ref wf__no_ref(void) { wf__ref r = { 0, 0, 0 }; return r; }

/* plans: ask for a buffer */
static wf__ref wf__buffer_new(wf__scope *s, size_t bytes)
{
    wf__ref r = { WF__BASE_TILE, 0, 0 };
    void *table = s->buffer;
    if (!s->buffers) s->buffers = 1;
    while (s->buffers >= s->buffer_room) {
        if (!wf__grow_table(s->A, &table, s->buffer_room, &s->buffer_room, sizeof *s->buffer)) { s->failed = 1; return r; }
        s->buffer = (wf__buffer *)table;
    }
    wf__buffer b = { wf__round_up(bytes ? bytes : 1), 0, s->code->steps, s->code->steps };
    s->buffer[s->buffers] = b;
    r.buffer = s->buffers++;
    return r;
}

static void wf__touch(wf__scope *s, wf__ref r)
{
    if (!r.buffer) return;
    if (s->buffer[r.buffer].last < s->code->steps) s->buffer[r.buffer].last = s->code->steps;
}

static wf__ref wf__shared_new(wf__scope *s, size_t bytes)
{
    wf__ref r = { WF__BASE_SHARED, 0, (int64_t)s->plan->shared_bytes };
    s->plan->shared_bytes += wf__round_up(bytes);
    return r;
}

/* plans: make room for a result */
static wf__ref wf__result(wf__scope *s, int id)
{
    if (s->value[id].known) return s->value[id].ref;
    size_t bytes = wf__count(s, id) * wf__es(s);
    if (!s->value[id].placed) s->value[id].ref = s->shared && !s->inside ? wf__shared_new(s, bytes) : wf__buffer_new(s, bytes);
    s->value[id].known = 1;
    return s->value[id].ref;
}

static wf__step *wf__step_new(wf__scope *s, int code, int node)
{
    static const wf__step blank = { 0, 0, 0, 0, 0, 0, 0, { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 }, { 0 } };
    void *table = s->code->step;
    if (!wf__grow_table(s->A, &table, s->code->steps, &s->code->step_room, sizeof blank)) { s->failed = 1; return NULL; }
    s->code->step = (wf__step *)table;
    wf__step *t = &s->code->step[s->code->steps];
    *t = blank;
    t->code = (uint8_t)code;
    t->node = node;
    t->spread = (uint8_t)(node ? wf__lanes(s, node) : 1);
    return t;
}

static void wf__step_done(wf__scope *s, const wf__step *t)
{
    wf__touch(s, t->out);
    wf__touch(s, t->a);
    wf__touch(s, t->b);
    wf__touch(s, t->c);
    s->code->steps++;
    s->plan->total_steps++;
}

/* plans: is this the first axis */
static int wf__first_axis(const int32_t *d, int axis)
{
    for (int i = 0; i < axis; i++) if (d[i] != 1) return 0;
    return 1;
}

/* plans: find a value without computing */
static int wf__constant_place(wf__scope *s, int id, wf__ref *r)
{
    wf_plan *p = s->plan;
    const wf__node *n = &s->g->node[id];
    size_t size = wf__node_size(n), es = wf__es(s), need = p->constant_bytes + wf__round_up(size * es);
    char *grown = (char *)wf_alloc(s->A, need, 1);
    if (!grown) { s->failed = 1; return 0; }
    if (p->constant_bytes) memcpy(grown, p->constant, p->constant_bytes);
    for (size_t i = 0; i < size; i++)
        wf__put_value(grown + p->constant_bytes, p->type, i, n->op == WF__OP_CONST ? n->value : s->g->constant[(size_t)n->at[0] + i]);
    r->base = WF__BASE_CONST;
    r->buffer = 0;
    r->at = (int64_t)p->constant_bytes;
    p->constant = grown;
    p->constant_bytes = need;
    return 1;
}

static int wf__locate(wf__scope *s, int id, wf__ref *r)
{
    const wf__node *n = &s->g->node[id];
    wf__value *v = &s->value[id];
    if (!v->known) {
        int arg = n->args ? wf__arg(s->g, id, 0) : 0;
        wf__ref place = wf__no_ref();
        if (n->op == WF__OP_PARAM) {
            place.base = WF__BASE_PARAM;
            place.at = (int64_t)(s->g->params->entry[n->at[0]].offset * wf__es(s));
        } else if (n->op == WF__OP_CONST || n->op == WF__OP_ARRAY) {
            if (!wf__constant_place(s, id, &place)) return 0;
        } else if ((n->op == WF__OP_RESHAPE || n->op == WF__OP_STOP) && wf__lanes(s, id) == wf__lanes(s, arg)) {
            if (!wf__locate(s, arg, &place)) return 0;
        } else if (n->op == WF__OP_SLICE && n->at[2] == 1 && wf__first_axis(n->d, n->at[0]) && s->g->node[arg].space == n->space) {
            if (!wf__locate(s, arg, &place)) return 0;
            place.at += n->at[1] * (int64_t)(wf__count(s, id) / (size_t)n->d[n->at[0]] * wf__es(s));
        } else return 0;
        v->ref = place;
        v->known = 1;
    }
    *r = v->ref;
    return 1;
}
static wf__ref wf__dense(wf__scope *s, int id);
static void wf__emit_list(wf__scope *s);
static void wf__emit_input(wf__scope *s, int id);
static void wf__emit_source(wf__scope *s, int id);
static void wf__patch(wf__scope *s, wf__ref *r);
static void wf__patch_step(wf__scope *s, wf__step *t);
static int wf__place_buffers(wf__scope *s);

/* plans: describe an operand */
static int wf__pattern(const wf__node *y, const wf__node *x, int64_t lanes, int64_t *inner, int64_t *mid)
{
    int shift = y->nd - x->nd, state = 0;
    *inner = lanes;
    *mid = 1;
    for (int i = y->nd - 1; i >= 0; i--) {
        int dx = i - shift >= 0 ? x->d[i - shift] : 1, dy = y->d[i];
        if (dy == 1) continue;
        if (dx == dy) {
            if (state == 2) return 0;
            state = 1;
            *mid *= dy;
        } else if (state == 0) *inner *= dy;
        else state = 2;
    }
    return 1;
}

static wf__operand wf__describe(wf__scope *s, int id, int64_t lanes)
{
    wf__operand o;
    const wf__node *n = &s->g->node[id];
    memset(&o, 0, sizeof o);
    o.inner = lanes / wf__lanes(s, id);
    o.mid = (int64_t)wf__count(s, id);
    while (!s->value[id].known && (n->op == WF__OP_RESHAPE || n->op == WF__OP_STOP)) { id = wf__arg(s->g, id, 0); n = &s->g->node[id]; }
    if (!s->value[id].known && n->op == WF__OP_BCAST) {
        int arg = wf__arg(s->g, id, 0);
        int64_t inner, mid;
        while (!s->value[arg].known && (s->g->node[arg].op == WF__OP_BCAST || s->g->node[arg].op == WF__OP_RESHAPE) && wf__node_size(&s->g->node[arg]) == 1) arg = wf__arg(s->g, arg, 0);
        if (wf__lanes(s, arg) == 1 && wf__pattern(n, &s->g->node[arg], lanes, &inner, &mid)) {
            wf__operand deeper = wf__describe(s, arg, 1);
            if (deeper.inner == 1 && deeper.mid == mid) { deeper.inner = inner; return deeper; }
            if (deeper.mid == 1) return deeper;
            o.ref = wf__dense(s, arg);
            o.inner = inner;
            o.mid = mid;
            return o;
        }
        if (wf__lanes(s, arg) == lanes && wf__node_size(&s->g->node[arg]) == 1) {
            o.ref = wf__dense(s, arg);
            o.inner = 1;
            o.mid = lanes;
            return o;
        }
    }
    o.ref = wf__dense(s, id);
    return o;
}

/* plans: make a value dense */
static void wf__emit_bcast(wf__scope *s, int id)
{
    const wf__node *n = &s->g->node[id];
    int arg = wf__arg(s->g, id, 0), shift = n->nd - s->g->node[arg].nd;
    int lanes = wf__lanes(s, id), from = wf__lanes(s, arg);
    wf__ref a = wf__dense(s, arg), y = wf__result(s, id);
    wf__step *t = wf__step_new(s, WF__STEP_COPY, id);
    if (!t) return;
    t->out = y;
    t->a = a;
    int64_t ys = lanes, xs = from;
    for (int i = 3; i >= 0; i--) {
        int axis = i - (4 - n->nd), dx = axis - shift >= 0 && axis >= 0 ? s->g->node[arg].d[axis - shift] : 1, dy = axis >= 0 ? n->d[axis] : 1;
        t->n[i] = dy;
        t->n[4 + i] = ys;
        t->n[8 + i] = dx == 1 ? 0 : xs;
        ys *= dy;
        xs *= dx;
    }
    t->first = lanes;
    t->number = from == lanes;
    wf__step_done(s, t);
}

static wf__ref wf__dense(wf__scope *s, int id)
{
    wf__ref r = wf__no_ref();
    if (s->failed || wf__locate(s, id, &r)) return r;
    const wf__node *n = &s->g->node[id];
    if (n->op == WF__OP_BCAST) { wf__emit_bcast(s, id); return s->value[id].ref; }
    if (n->op == WF__OP_RESHAPE || n->op == WF__OP_STOP) {
        wf__dense(s, wf__arg(s->g, id, 0));
        if (wf__locate(s, id, &r)) return r;
    }
    if (n->op == WF__OP_SLICE) {
        wf__dense(s, wf__arg(s->g, id, 0));
        if (wf__locate(s, id, &r)) return r;
    }
    wf__fail(s->A, WF_ERROR_UNSUPPORTED, "plan: value %d (%s) is used before it is computed", id, wf__op_name[n->op]);
    s->failed = 1;
    return r;
}

/* plans: recognise elementwise nodes */
static int wf__is_elementwise(const wf__node *n)
{
    return wf__op_kind[n->op] == WF__KIND_UNARY || wf__op_kind[n->op] == WF__KIND_BINARY || n->op == WF__OP_SELECT
        || n->op == WF__OP_NEG || n->op == WF__OP_SIGN || n->op == WF__OP_FLOOR || n->op == WF__OP_ROUND || n->op == WF__OP_LT || n->op == WF__OP_LE || n->op == WF__OP_EQ;
}

static int wf__ready(wf__scope *s, int id)
{
    const wf__node *n = &s->g->node[id];
    if (s->value[id].known) return 1;
    if (n->op == WF__OP_PARAM || n->op == WF__OP_CONST || n->op == WF__OP_ARRAY) return 1;
    if (n->op == WF__OP_RESHAPE || n->op == WF__OP_STOP || n->op == WF__OP_BCAST || (n->op == WF__OP_SLICE && n->at[2] == 1 && wf__first_axis(n->d, n->at[0])))
        return wf__ready(s, wf__arg(s->g, id, 0));
    return 0;
}

/* plans: map operations to kernels */
static int wf__unary_kernel(int op)
{
    switch (op) {
    case WF__OP_NEG: return WF__NEG;
    case WF__OP_RECIP: return WF__RECIP;
    case WF__OP_EXP: return WF__EXP;
    case WF__OP_EXPM1: return WF__EXPM1;
    case WF__OP_LOG: return WF__LOG;
    case WF__OP_LOG1P: return WF__LOG1P;
    case WF__OP_SQRT: return WF__SQRT;
    case WF__OP_TANH: return WF__TANH;
    case WF__OP_SIGMOID: return WF__SIGMOID;
    case WF__OP_SOFTPLUS: return WF__SOFTPLUS;
    case WF__OP_ERF: return WF__ERF;
    case WF__OP_SIN: return WF__SIN;
    case WF__OP_COS: return WF__COS;
    case WF__OP_ABS: return WF__ABS;
    case WF__OP_SIGN: return WF__SIGN;
    case WF__OP_FLOOR: return WF__FLOOR;
    case WF__OP_ROUND: return WF__ROUND;
    case WF__OP_RELU: return WF__RELU;
    case WF__OP_SQUARE: return WF__SQUARE;
    default: return -1;
    }
}

static int wf__binary_kernel(int op)
{
    switch (op) {
    case WF__OP_ADD: return WF__ADD;
    case WF__OP_SUB: return WF__SUB;
    case WF__OP_MUL: return WF__MUL;
    case WF__OP_DIV: return WF__DIV;
    case WF__OP_MAX: return WF__MAX;
    case WF__OP_MIN: return WF__MIN;
    case WF__OP_LT: return WF__LT;
    case WF__OP_LE: return WF__LE;
    case WF__OP_EQ: return WF__EQ;
    case WF__OP_ATAN2: return WF__ATAN2;
    default: return -1;
    }
}

/* plans: recognise slopes of activations */
static int wf__is_one_minus(wf__scope *s, int id, int op, int y)
{
    const wf__node *n = &s->g->node[id];
    double one;
    if (n->op != WF__OP_SUB || !wf__is_const(wf__at(s->g, wf__arg(s->g, id, 0)), &one) || one != 1) return 0;
    int b = wf__arg(s->g, id, 1);
    if (op == WF__OP_SQUARE) return s->g->node[b].op == WF__OP_SQUARE && s->uses[b] == 1 && !s->value[b].known;
    return b == y;
}

static int wf__is_slope(wf__scope *s, int id, int *u, int *y)
{
    if (s->plan->reference || s->g->node[id].op != WF__OP_MUL) return 0;
    for (int k = 0; k < 2; k++) {
        int d = wf__arg(s->g, id, k), other = wf__arg(s->g, id, 1 - k);
        if (s->uses[d] != 1 || s->value[d].known) continue;
        if (wf__is_one_minus(s, d, WF__OP_SQUARE, 0)) {
            *u = other;
            *y = wf__arg(s->g, wf__arg(s->g, d, 1), 0);
            return WF__DTANH;
        }
        if (s->g->node[d].op != WF__OP_MUL) continue;
        for (int j = 0; j < 2; j++) {
            int a = wf__arg(s->g, d, j), b = wf__arg(s->g, d, 1 - j);
            if (s->uses[b] == 1 && wf__is_one_minus(s, b, 0, a)) { *u = other; *y = a; return WF__DSIGMOID; }
        }
    }
    return 0;
}

/* plans: define a group under construction */
enum { WF__GROUP_MAX = 24 };

typedef struct wf__group {
    wf__scope *s;
    int member[WF__GROUP_MAX], members, lanes;
    size_t count;
    int first_operand, first_micro, registers;
    int16_t slot[WF__GROUP_MAX]; /* the operand of each member's result */
    wf__step *step;
} wf__group;

static int wf__group_find(const wf__group *q, int id)
{
    for (int i = 0; i < q->members; i++) if (q->member[i] == id) return i;
    return -1;
}

static int wf__group_fits(const wf__group *q, int id)
{
    wf__scope *s = q->s;
    const wf__node *n = &s->g->node[id];
    if (!s->need[id] || s->taken[id] || s->value[id].known || !wf__is_elementwise(n)) return 0;
    if (wf__lanes(s, id) != q->lanes || wf__count(s, id) != q->count || q->members == WF__GROUP_MAX) return 0;
    for (int k = 0; k < n->args; k++)
        if (wf__group_find(q, wf__arg(s->g, id, k)) < 0 && !wf__ready(s, wf__arg(s->g, id, k))) return 0;
    return 1;
}

/* plans: gather a group */
static void wf__gather(wf__group *q, int from, int to)
{
    wf__scope *s = q->s;
    int looked = 0;
    q->lanes = wf__lanes(s, from);
    q->count = wf__count(s, from);
    for (int id = from; id < to && looked < 64; id++) {
        if (!s->need[id] || s->taken[id]) continue;
        looked++;
        if (wf__group_fits(q, id)) q->member[q->members++] = id;
        if (s->plan->reference) break;
    }
}

/* plans: add an operand to a group */
static int16_t wf__group_operand(wf__group *q, wf__operand o)
{
    wf_plan *p = q->s->plan;
    for (int i = q->first_operand; i < p->operands; i++) {
        const wf__operand *e = &p->operand[i];
        if (e->kind != WF__REGISTER && o.kind != WF__REGISTER && e->inner == o.inner && e->mid == o.mid && e->ref.base == o.ref.base && e->ref.buffer == o.ref.buffer && e->ref.at == o.ref.at)
            return (int16_t)(i - q->first_operand);
    }
    void *table = p->operand;
    if (!wf__grow_table(q->s->A, &table, p->operands, &p->operand_room, sizeof o)) { q->s->failed = 1; return 0; }
    p->operand = (wf__operand *)table;
    if (o.kind != WF__REGISTER) o.kind = o.mid == 1 ? WF__SCALAR : o.inner == 1 && o.mid == (int64_t)q->count ? WF__FULL : WF__PATTERN;
    if (o.kind == WF__REGISTER || o.kind == WF__PATTERN) o.reg = q->registers++;
    if (o.kind != WF__REGISTER) wf__touch(q->s, o.ref);
    p->operand[p->operands] = o;
    return (int16_t)(p->operands++ - q->first_operand);
}

static int16_t wf__group_source(wf__group *q, int id)
{
    int k = wf__group_find(q, id);
    if (k >= 0) return q->slot[k];
    return wf__group_operand(q, wf__describe(q->s, id, q->lanes));
}

static int16_t wf__group_filled(wf__group *q, int16_t k)
{
    wf__operand o = q->s->plan->operand[q->first_operand + k];
    if (o.kind != WF__SCALAR) return k;
    o.kind = WF__REGISTER; /* a register of its own, filled from one number: the executor fills registers that have a reference */
    o.inner = (int64_t)q->count;
    int16_t r = wf__group_operand(q, o);
    q->s->plan->operand[q->first_operand + r].kind = WF__PATTERN;
    return r;
}

/* plans: write the operations of a group */
static void wf__group_micro(wf__group *q, int op, int form, int16_t y, int16_t a, int16_t b, int16_t c)
{
    wf_plan *p = q->s->plan;
    void *table = p->micro;
    if (!wf__grow_table(q->s->A, &table, p->micros, &p->micro_room, sizeof *p->micro)) { q->s->failed = 1; return; }
    p->micro = (wf__micro *)table;
    wf__micro m = { (uint8_t)op, (uint8_t)form, y, a, b, c };
    p->micro[p->micros++] = m;
}

enum { WF__FORM_UNARY, WF__FORM_BINARY, WF__FORM_SCALAR, WF__FORM_SELECT };

static void wf__group_binary(wf__group *q, int kernel, int16_t y, int16_t a, int16_t b)
{
    const wf__operand *o = q->s->plan->operand + q->first_operand;
    int sa = o[a].kind == WF__SCALAR, sb = o[b].kind == WF__SCALAR, commutes = kernel == WF__ADD || kernel == WF__MUL || kernel == WF__EQ;
    if (sb && !sa) { wf__group_micro(q, kernel, WF__FORM_SCALAR, y, a, b, 0); return; }
    if (sa && !sb && commutes) { wf__group_micro(q, kernel, WF__FORM_SCALAR, y, b, a, 0); return; }
    if (sa && !sb && kernel == WF__SUB) { wf__group_micro(q, WF__RSUB, WF__FORM_SCALAR, y, b, a, 0); return; }
    if (sa && !sb && kernel == WF__DIV) { wf__group_micro(q, WF__RDIV, WF__FORM_SCALAR, y, b, a, 0); return; }
    a = wf__group_filled(q, a);
    b = wf__group_filled(q, b);
    wf__group_micro(q, kernel, WF__FORM_BINARY, y, a, b, 0);
}

static void wf__group_write(wf__group *q, int id, int16_t y)
{
    wf__scope *s = q->s;
    const wf__node *n = &s->g->node[id];
    int u = 0, v = 0, slope = wf__is_slope(s, id, &u, &v);
    if (slope) {
        int16_t a = wf__group_source(q, u), b = wf__group_source(q, v);
        wf__group_micro(q, slope, WF__FORM_BINARY, y, wf__group_filled(q, a), wf__group_filled(q, b), 0);
        return;
    }
    int16_t a = wf__group_source(q, wf__arg(s->g, id, 0));
    if (n->args == 1) { wf__group_micro(q, wf__unary_kernel(n->op), WF__FORM_UNARY, y, wf__group_filled(q, a), 0, 0); return; }
    int16_t b = wf__group_source(q, wf__arg(s->g, id, 1));
    if (n->args == 2) { wf__group_binary(q, wf__binary_kernel(n->op), y, a, b); return; }
    int16_t c = wf__group_source(q, wf__arg(s->g, id, 2));
    a = wf__group_filled(q, a);
    b = wf__group_filled(q, b);
    c = wf__group_filled(q, c);
    wf__group_micro(q, 0, WF__FORM_SELECT, y, a, b, c);
}

/* plans: emit a group */
static int wf__group_inner_uses(const wf__group *q, int id)
{
    int uses = 0;
    for (int i = 0; i < q->members; i++)
        for (int k = 0; k < q->s->g->node[q->member[i]].args; k++) uses += wf__arg(q->s->g, q->member[i], k) == id;
    return uses;
}

static void wf__group_swallow(wf__group *q)
{
    wf__scope *s = q->s;
    int keep = 0, u, y;
    for (int i = q->members - 1; i >= 0; i--) {
        int id = q->member[i];
        if (s->taken[id] || !wf__is_slope(s, id, &u, &y)) continue;
        for (int k = 0; k < 2; k++) {
            int d = wf__arg(s->g, id, k);
            if (d == u || s->uses[d] != 1) continue;
            s->taken[d] = 1;
            for (int j = 0; j < 2; j++) {
                int e = wf__arg(s->g, d, j);
                if (e != y && s->uses[e] == 1) s->taken[e] = 1;
            }
        }
    }
    for (int i = 0; i < q->members; i++) if (!s->taken[q->member[i]]) q->member[keep++] = q->member[i];
    q->members = keep;
}

static void wf__group_prepare(wf__group *q) /* describing an operand may emit a step; that must happen before the group's own */
{
    wf__scope *s = q->s;
    for (int i = 0; i < q->members; i++) {
        int list[4], n = 0, id = q->member[i];
        if (wf__is_slope(s, id, &list[0], &list[1])) n = 2;
        else for (; n < s->g->node[id].args; n++) list[n] = wf__arg(s->g, id, n);
        for (int k = 0; k < n; k++)
            if (wf__group_find(q, list[k]) < 0) wf__describe(s, list[k], q->lanes);
    }
}

static void wf__emit_group(wf__scope *s, int from, int to)
{
    wf__group q;
    memset(&q, 0, sizeof q);
    q.s = s;
    wf__gather(&q, from, to);
    if (!s->plan->reference) wf__group_swallow(&q);
    if (!q.members) return;
    wf__group_prepare(&q);
    q.first_operand = s->plan->operands;
    q.first_micro = s->plan->micros;
    wf__step *t = wf__step_new(s, WF__STEP_GROUP, q.member[0]);
    if (!t) return;
    for (int i = 0; i < q.members && !s->failed; i++) {
        int id = q.member[i], kept = s->plan->reference || s->value[id].placed || s->sink[id] >= 0 || wf__group_inner_uses(&q, id) < s->uses[id];
        wf__operand o;
        memset(&o, 0, sizeof o);
        o.kind = kept ? WF__FULL : WF__REGISTER;
        o.inner = 1;
        o.mid = (int64_t)q.count;
        if (kept) o.ref = wf__result(s, id);
        q.slot[i] = wf__group_operand(&q, o);
        if (s->failed) return;
        if (kept) s->plan->operand[q.first_operand + q.slot[i]].kind = WF__FULL;
        wf__group_write(&q, id, q.slot[i]);
    }
    if (q.registers > s->plan->registers) s->plan->registers = q.registers;
    t = &s->code->step[s->code->steps];
    t->first = q.first_operand;
    t->number = s->plan->operands - q.first_operand;
    t->n[0] = (int64_t)q.count;
    t->n[1] = q.first_micro;
    t->n[2] = s->plan->micros - q.first_micro;
    wf__step_done(s, t);
    for (int i = 0; i < q.members; i++) s->taken[q.member[i]] = 1;
}

/* plans: measure a matrix product */
typedef struct wf__mm { int64_t m, n, k, batch; int a, b, ta, tb, la, lb, lc; } wf__mm;

static wf__mm wf__mm_of(wf__scope *s, int id)
{
    const wf__node *n = &s->g->node[id];
    wf__mm q;
    q.a = wf__arg(s->g, id, 0);
    q.b = wf__arg(s->g, id, 1);
    q.ta = n->at[0];
    q.tb = n->at[1];
    q.m = n->d[n->nd - 2];
    q.n = n->d[n->nd - 1];
    q.k = s->g->node[q.a].d[n->nd - 1 - q.ta];
    q.batch = n->nd == 3 ? n->d[0] : 1;
    q.la = wf__lanes(s, q.a);
    q.lb = wf__lanes(s, q.b);
    q.lc = wf__lanes(s, id);
    return q;
}

static int wf__mm_direct(const wf__mm *q) { return !q->tb && q->lb == q->lc && q->la == 1; }

/* plans: emit a matrix product */
static void wf__emit_gemm(wf__scope *s, int id, wf__ref out, int accumulate, wf__ref bias, int biased, int act)
{
    wf__mm q = wf__mm_of(s, id);
    int64_t columns = q.n * q.lc;
    wf__ref a = wf__dense(s, q.a), b = wf__dense(s, q.b);
    wf__step *t = wf__step_new(s, WF__STEP_GEMM, id);
    if (!t) return;
    t->out = out;
    t->a = a;
    t->b = b;
    if (biased) t->c = bias;
    t->flags = (uint8_t)(accumulate | (biased ? 2 : 0));
    t->act = (uint8_t)act;
    int64_t n[11] = { q.m, columns, q.k, columns, q.ta ? 1 : q.k, q.ta ? q.m : 1, columns, q.batch, q.m * columns, q.m * q.k, q.k * columns };
    memcpy(t->n, n, sizeof n);
    wf__step_done(s, t);
}

static void wf__emit_rows_gemm(wf__scope *s, int id, wf__mm q)
{
    int64_t T = q.la;
    wf__ref a = wf__dense(s, q.a), b = wf__dense(s, q.b), y = wf__result(s, id);
    wf__step *t = wf__step_new(s, WF__STEP_GEMM, id);
    if (!t) return;
    t->out = y;
    t->a = b;
    t->b = a;
    int64_t n[11] = { q.n, T, q.k, T, q.tb ? q.k : 1, q.tb ? 1 : q.n, q.ta ? q.m * T : T, q.m, q.n * T, 0, q.ta ? T : q.k * T };
    memcpy(t->n, n, sizeof n);
    wf__step_done(s, t);
}

/* plans: emit a product by kind */
static void wf__emit_matmul(wf__scope *s, int id)
{
    wf__mm q = wf__mm_of(s, id);
    if (wf__mm_direct(&q)) { wf__emit_gemm(s, id, wf__result(s, id), 0, wf__no_ref(), 0, 0); return; }
    if (q.lc > 1 && q.la == q.lc && q.lb == 1 && q.batch == 1) { wf__emit_rows_gemm(s, id, q); return; }
    wf__ref a = wf__dense(s, q.a), b = wf__dense(s, q.b), y = wf__result(s, id), scratch = wf__no_ref();
    int nt = q.lc == 1 && q.tb && !q.ta;
    if (nt) scratch = wf__buffer_new(s, wf__gemm_nt_scratch((size_t)q.n, (size_t)q.k) * wf__es(s));
    wf__step *t = wf__step_new(s, nt ? WF__STEP_GEMM_NT : WF__STEP_LANES_MM, id);
    if (!t) return;
    t->out = y;
    t->a = a;
    t->b = b;
    t->c = scratch;
    int64_t n[10] = { q.m, q.n, q.k, q.batch, q.ta, q.tb, q.la, q.lb, q.lc, 0 };
    memcpy(t->n, n, sizeof n);
    wf__step_done(s, t);
}

/* plans: collect the terms of a sum */
enum { WF__TERMS = 12 };

static int wf__terms(wf__scope *s, int id, int root, int *list, int n)
{
    const wf__node *x = &s->g->node[id];
    int through = root || (s->uses[id] == 1 && !s->value[id].known && !s->value[id].placed);
    if (n < 0 || n >= WF__TERMS) return -1;
    if (through && x->op == WF__OP_ADD) {
        n = wf__terms(s, wf__arg(s->g, id, 0), 0, list, n);
        return n < 0 ? n : wf__terms(s, wf__arg(s->g, id, 1), 0, list, n);
    }
    if (through && x->op == WF__OP_RESHAPE && wf__lanes(s, id) == wf__lanes(s, wf__arg(s->g, id, 0))) {
        int below = s->g->node[wf__arg(s->g, id, 0)].op;
        if (below == WF__OP_ADD || below == WF__OP_MATMUL) return wf__terms(s, wf__arg(s->g, id, 0), 0, list, n);
    }
    list[n] = id;
    return n + 1;
}

static int wf__is_product(wf__scope *s, int id, int lanes)
{
    if (s->g->node[id].op != WF__OP_MATMUL || s->uses[id] != 1 || s->value[id].known || s->value[id].placed || s->g->node[id].nd != 2) return 0;
    wf__mm q = wf__mm_of(s, id);
    return wf__mm_direct(&q) && q.lc == lanes;
}

/* plans: mark the roots of sums */
static void wf__absorb(wf__scope *s, int id, int root, int lanes)
{
    const wf__node *x = &s->g->node[id];
    int through = root || (s->uses[id] == 1 && !s->value[id].known && !s->value[id].placed);
    if (!through || (x->op != WF__OP_ADD && x->op != WF__OP_RESHAPE)) {
        if (wf__is_product(s, id, lanes)) s->taken[id] = 1;
        return;
    }
    if (x->op == WF__OP_RESHAPE) {
        int below = s->g->node[wf__arg(s->g, id, 0)].op;
        if (below != WF__OP_ADD && below != WF__OP_MATMUL) return;
    }
    if (!root) s->taken[id] = 1;
    for (int k = 0; k < x->args; k++) wf__absorb(s, wf__arg(s->g, id, k), 0, lanes);
}

static int wf__sum_base(wf__scope *s, int id)
{
    const wf__node *n = &s->g->node[id];
    if (n->op == WF__OP_ADD) return id;
    if (wf__unary_kernel(n->op) < 0 || n->op == WF__OP_NEG) return 0;
    int a = wf__arg(s->g, id, 0);
    return s->uses[a] == 1 && wf__lanes(s, a) == wf__lanes(s, id) ? a : 0;
}

static void wf__mark_sums(wf__scope *s)
{
    int list[WF__TERMS];
    for (int id = s->nodes - 1; id > 0; id--) {
        int base = s->need[id] && !s->taken[id] ? wf__sum_base(s, id) : 0, products = 0;
        if (!base) continue;
        int n = wf__terms(s, base, base == id, list, 0);
        int64_t rows = 0;
        for (int i = 0; i < n; i++)
            if (wf__is_product(s, list[i], wf__lanes(s, id))) {
                wf__mm q = wf__mm_of(s, list[i]);
                if (products && rows != q.m) { products = 0; break; }
                rows = q.m;
                products++;
            }
        if (!products || (n == 1 && base == id)) continue;
        s->taken[id] = 2;
        wf__absorb(s, base, base == id, wf__lanes(s, id));
    }
}

/* plans: emit a plain sum of operands */
static void wf__emit_sum_of(wf__scope *s, wf__ref out, size_t count, const wf__operand *list, int n, int into)
{
    wf__group q;
    int16_t slot[WF__TERMS];
    wf__operand o;
    memset(&q, 0, sizeof q);
    memset(&o, 0, sizeof o);
    q.s = s;
    q.count = count;
    q.first_operand = s->plan->operands;
    q.first_micro = s->plan->micros;
    o.inner = 1;
    o.mid = (int64_t)count;
    o.ref = out;
    if (!wf__step_new(s, WF__STEP_GROUP, 0)) return;
    int16_t y = wf__group_operand(&q, o);
    if (s->failed) return;
    s->plan->operand[q.first_operand + y].kind = WF__FULL;
    for (int i = 0; i < n; i++) slot[i] = wf__group_operand(&q, list[i]);
    if (s->failed) return;
    int16_t sum = into ? y : slot[0];
    if (!into && n == 1) wf__group_micro(&q, WF__COPY, WF__FORM_UNARY, y, wf__group_filled(&q, slot[0]), 0, 0);
    for (int i = into ? 0 : 1; i < n; i++) {
        wf__group_binary(&q, WF__ADD, y, sum, slot[i]);
        sum = y;
    }
    if (s->failed) return;
    wf__step *t = &s->code->step[s->code->steps];
    if (q.registers > s->plan->registers) s->plan->registers = q.registers;
    t->first = q.first_operand;
    t->number = s->plan->operands - q.first_operand;
    t->n[0] = (int64_t)count;
    t->n[1] = q.first_micro;
    t->n[2] = s->plan->micros - q.first_micro;
    wf__step_done(s, t);
}

/* plans: emit a sum with products */
static void wf__emit_products(wf__scope *s, int id)
{
    int list[WF__TERMS], product[WF__TERMS], products = 0, rest = 0, biases = 1, base = wf__sum_base(s, id), lanes = wf__lanes(s, id);
    wf__operand other[WF__TERMS];
    int n = wf__terms(s, base, base == id, list, 0), act = base == id ? 0 : wf__unary_kernel(s->g->node[id].op) + 1;
    wf__mm q;
    memset(&q, 0, sizeof q);
    for (int i = 0; i < n; i++)
        if (wf__is_product(s, list[i], lanes)) { product[products++] = list[i]; q = wf__mm_of(s, list[i]); }
        else other[rest++] = wf__describe(s, list[i], lanes);
    wf__ref out = wf__result(s, id), bias = wf__no_ref();
    for (int i = 0; i < rest; i++) biases &= other[i].inner == q.n * q.lc && other[i].mid == q.m && other[i].mid > 1;
    if (rest == 1 && biases) bias = other[0].ref;
    else if (rest && biases) {
        for (int i = 0; i < rest; i++) other[i].inner = 1;
        bias = wf__buffer_new(s, (size_t)q.m * wf__es(s));
        wf__emit_sum_of(s, bias, (size_t)q.m, other, rest, 0);
    } else if (rest) wf__emit_sum_of(s, out, wf__count(s, id), other, rest, 0);
    for (int i = 0; i < products; i++)
        wf__emit_gemm(s, product[i], out, i > 0 || (rest && !biases), bias, i == 0 && rest && biases, i + 1 == products ? act : 0);
}

/* plans: emit along an axis */
static void wf__emit_along(wf__scope *s, int id, int code, int kind)
{
    int arg = wf__arg(s->g, id, 0);
    const wf__node *x = &s->g->node[arg];
    int64_t outer = 1, inner = wf__lanes(s, arg), axis = s->g->node[id].at[0];
    for (int i = 0; i < x->nd; i++) { if (i < axis) outer *= x->d[i]; if (i > axis) inner *= x->d[i]; }
    int64_t size = x->d[axis];
    wf__ref a = wf__dense(s, arg), y = wf__result(s, id);
    wf__step *t = wf__step_new(s, code, id);
    if (!t) return;
    t->out = y;
    t->a = a;
    t->n[0] = outer;
    t->n[1] = size;
    t->n[2] = inner;
    t->flags = (uint8_t)kind;
    wf__step_done(s, t);
}

/* plans: emit a copy with strides */
static void wf__emit_copy(wf__scope *s, int id, wf__ref y, wf__ref x, int lanes, int spread, const int64_t n[12])
{
    wf__step *t = wf__step_new(s, WF__STEP_COPY, id);
    if (!t) return;
    t->out = y;
    t->a = x;
    memcpy(t->n, n, sizeof t->n);
    t->first = lanes;
    t->number = spread;
    wf__step_done(s, t);
}

static void wf__strides(const wf__node *x, int lanes, int64_t stride[4])
{
    int64_t step = lanes;
    for (int i = 3; i >= 0; i--) {
        int axis = i - (4 - x->nd);
        stride[i] = step;
        if (axis >= 0) step *= x->d[axis];
    }
}

static void wf__emit_zero(wf__scope *s, int id, wf__ref y, size_t count)
{
    wf__step *t = wf__step_new(s, WF__STEP_ZERO, id);
    if (!t) return;
    t->out = y;
    t->n[0] = (int64_t)count;
    wf__step_done(s, t);
}

/* plans: emit changes of shape */
static void wf__emit_move(wf__scope *s, int id)
{
    wf__node y = s->g->node[id];
    int lanes = wf__lanes(s, id), start = 0;
    wf__ref out = wf__result(s, id);
    if (y.op == WF__OP_PAD) wf__emit_zero(s, id, out, wf__count(s, id));
    for (int k = 0; k < (y.op == WF__OP_CONCAT ? y.args : 1); k++) {
        int arg = wf__arg(s->g, id, k);
        wf__node x = s->g->node[arg];
        wf__node small = y.op == WF__OP_SLICE ? y : x;
        int64_t n[12], ys[4], xs[4];
        int axis = y.at[0] + (4 - y.nd), from = wf__lanes(s, arg);
        wf__ref a = wf__dense(s, arg), to = out;
        wf__strides(&y, lanes, ys);
        wf__strides(&x, from, xs);
        if (y.op == WF__OP_PERMUTE) {
            int64_t moved[4] = { 0, 0, 0, 0 };
            for (int i = 0; i < y.nd; i++) moved[i + 4 - y.nd] = xs[y.at[i] + 4 - y.nd];
            memcpy(xs, moved, sizeof xs);
            small = y;
        } else if (y.op == WF__OP_SLICE) {
            a.at += y.at[1] * xs[axis] * (int64_t)wf__es(s);
            xs[axis] *= y.at[2];
        } else if (y.op == WF__OP_PAD) {
            to.at += y.at[1] * ys[axis] * (int64_t)wf__es(s);
            ys[axis] *= y.at[2];
        } else {
            to.at += start * ys[axis] * (int64_t)wf__es(s);
            start += x.d[y.at[0]];
        }
        for (int i = 0; i < 4; i++) {
            n[i] = i - (4 - small.nd) >= 0 ? small.d[i - (4 - small.nd)] : 1;
            n[4 + i] = ys[i];
            n[8 + i] = xs[i];
        }
        wf__emit_copy(s, id, to, a, lanes, from == lanes, n);
    }
}

/* plans: emit a plain operation */
static void wf__emit_slow(wf__scope *s, int id, int code)
{
    const wf__node *y = &s->g->node[id];
    int a = wf__arg(s->g, id, 0), b = y->args > 1 ? wf__arg(s->g, id, 1) : 0;
    wf__ref ra = wf__dense(s, a), rb = b ? wf__dense(s, b) : wf__no_ref(), out = wf__result(s, id), scratch = wf__no_ref();
    if (y->op == WF__OP_ARGSORT) scratch = wf__buffer_new(s, 2 * wf__count(s, id) * sizeof(int32_t));
    wf__step *t = wf__step_new(s, code, id);
    if (!t) return;
    t->out = out;
    t->a = ra;
    t->b = rb;
    t->c = scratch;
    t->act = y->op;
    t->n[0] = wf__lanes(s, a);
    t->n[1] = b ? wf__lanes(s, b) : 1;
    t->n[2] = wf__lanes(s, id);
    t->n[3] = s->g->node[a].nd ? s->g->node[a].d[0] : 1;
    t->n[4] = y->nd ? y->d[0] : 1;
    t->n[5] = (int64_t)wf__node_size(y) / t->n[4];
    t->n[6] = y->at[0];
    t->n[7] = y->at[1];
    t->n[8] = y->at[2];
    t->n[9] = b ? (int64_t)wf__node_size(&s->g->node[b]) : 0;
    t->n[10] = (int64_t)wf__node_size(&s->g->node[a]);
    t->n[11] = (int64_t)wf__node_size(y);
    wf__step_done(s, t);
}

/* plans: emit an operation of the user's */
static void wf__emit_custom(wf__scope *s, int id)
{
    const wf__node *y = &s->g->node[id];
    wf__ref in[12], out;
    int args = y->args, first = s->plan->operands;
    for (int k = 0; k < args; k++) in[k] = wf__dense(s, wf__arg(s->g, id, k));
    out = wf__result(s, id);
    wf__step *t = wf__step_new(s, WF__STEP_CUSTOM, id);
    if (!t) return;
    for (int k = 0; k < args; k++) {
        void *table = s->plan->operand;
        wf__operand o;
        memset(&o, 0, sizeof o);
        if (!wf__grow_table(s->A, &table, s->plan->operands, &s->plan->operand_room, sizeof o)) { s->failed = 1; return; }
        s->plan->operand = (wf__operand *)table;
        o.ref = in[k];
        o.inner = wf__lanes(s, wf__arg(s->g, id, k));
        o.reg = wf__arg(s->g, id, k);
        wf__touch(s, o.ref);
        s->plan->operand[s->plan->operands++] = o;
    }
    int which = 0;
    while (which < s->plan->custom_graphs && s->plan->custom_graph[which] != s->g) which++;
    if (which == 64) { wf__fail(s->A, WF_ERROR_LIMIT, "plan: users' operations in more than 64 loops"); s->failed = 1; return; }
    if (which == s->plan->custom_graphs) s->plan->custom_graph[s->plan->custom_graphs++] = s->g;
    t->act = (uint8_t)which;
    t->out = out;
    t->first = first;
    t->number = args;
    wf__step_done(s, t);
}

/* plans: emit a sum over samples */
static int wf__is_outer(wf__scope *s, int id)
{
    const wf__node *n = &s->g->node[id];
    if (n->op != WF__OP_MATMUL || n->nd != 2 || n->at[0] || !n->at[1] || s->uses[id] != 1 || s->value[id].known) return 0;
    return s->g->node[wf__arg(s->g, id, 0)].space == WF__BATCH && s->g->node[wf__arg(s->g, id, 1)].space == WF__BATCH;
}

static int wf__all_outer(wf__scope *s, int id)
{
    for (int k = 0; k < s->g->node[id].args; k++) if (!wf__is_outer(s, wf__arg(s->g, id, k))) return 0;
    return !s->plan->reference;
}

static void wf__emit_outer(wf__scope *s, int id, const wf__sum *sum)
{
    wf__mm q = wf__mm_of(s, id);
    wf__ref a = wf__dense(s, q.a), b = wf__dense(s, q.b), scratch = wf__buffer_new(s, wf__gemm_nt_scratch((size_t)q.n, (size_t)(q.k * q.lc)) * wf__es(s));
    wf__step *t = wf__step_new(s, WF__STEP_SUM_NT, id);
    if (!t) return;
    t->a = a;
    t->b = b;
    t->c = scratch;
    t->n[0] = q.m;
    t->n[1] = q.n;
    t->n[2] = q.k;
    t->n[3] = (int64_t)sum->at;
    wf__step_done(s, t);
}

/* plans: emit a sum over lanes */
static int wf__sums_last_axis(wf__scope *s, int id)
{
    const wf__node *n = &s->g->node[id];
    if (n->op != WF__OP_SUM || s->uses[id] != 1 || s->value[id].known || s->plan->reference || n->space != WF__BATCH) return 0;
    return n->at[0] == s->g->node[wf__arg(s->g, id, 0)].nd - 1;
}

static void wf__emit_lanes(wf__scope *s, int id, int code, wf__ref out, int64_t at)
{
    int from = wf__sums_last_axis(s, id) ? wf__arg(s->g, id, 0) : id;
    size_t rows = wf__node_size(&s->g->node[id]);
    wf__ref a = wf__dense(s, from);
    wf__step *t = wf__step_new(s, code, from);
    if (!t) return;
    t->a = a;
    t->out = out;
    t->n[0] = (int64_t)rows;
    t->n[1] = (int64_t)(wf__node_size(&s->g->node[from]) / rows);
    t->n[2] = wf__lanes(s, from);
    t->n[3] = at;
    wf__step_done(s, t);
}

static void wf__emit_partial(wf__scope *s, int id)
{
    const wf__node *n = &s->g->node[id];
    size_t size = wf__node_size(n);
    wf__ref y = wf__result(s, id), total = wf__buffer_new(s, size * sizeof(double));
    wf__emit_zero(s, 0, total, size * (sizeof(double) / wf__es(s)));
    for (int k = 0; k < n->args; k++) wf__emit_lanes(s, wf__arg(s->g, id, k), WF__STEP_SUM_LANES, total, -1);
    wf__step *t = wf__step_new(s, WF__STEP_PARTIAL, id);
    if (!t) return;
    t->out = y;
    t->a = total;
    t->n[0] = (int64_t)size;
    wf__step_done(s, t);
}

/* plans: emit what flows into an accumulator */
static int wf__sinks_inside(const wf_graph *g, int id) /* a shared total of a loop over samples: it is accumulated in the body of the loop */
{
    return g->node[id].op == WF__OP_RESULT && g->node[id].space == WF__SHARED && g->node[wf__arg(g, id, 0)].space == WF__BATCH;
}

static void wf__skip_swallowed(wf__scope *s, int id)
{
    for (int k = 0; k < s->g->node[id].args; k++) {
        int a = wf__arg(s->g, id, k);
        if (s->plan->sum[s->sink[id]].real || wf__sums_last_axis(s, a)) s->taken[a] = 1;
    }
}

static void wf__emit_sink(wf__scope *s, int id)
{
    const wf__sum *sum = &s->plan->sum[s->sink[id]];
    if (s->g->node[id].op != WF__OP_BSUM) {
        wf__ref a = wf__dense(s, id);
        wf__step *t = wf__step_new(s, WF__STEP_SUM_ADD, id);
        if (!t) return;
        t->a = a;
        t->n[0] = (int64_t)sum->size;
        t->n[3] = (int64_t)sum->at;
        wf__step_done(s, t);
        return;
    }
    for (int k = 0; k < s->g->node[id].args; k++) {
        int a = wf__arg(s->g, id, k);
        if (sum->real) wf__emit_outer(s, a, sum);
        else wf__emit_lanes(s, a, WF__STEP_SUM_LANES, wf__no_ref(), (int64_t)sum->at);
    }
}

static int wf__sum_new(wf_plan *p, wf_arena *A, int node, size_t size, int real)
{
    void *table = p->sum;
    if (!wf__grow_table(A, &table, p->sums, &p->sum_room, sizeof *p->sum)) return -1;
    p->sum = (wf__sum *)table;
    wf__sum *sum = &p->sum[p->sums];
    memset(sum, 0, sizeof *sum);
    sum->node = node;
    sum->size = size;
    sum->real = real;
    sum->at = real ? p->real_sums : p->double_sums;
    if (real) p->real_sums += (size + 15) & ~(size_t)15;
    else p->double_sums += (size + 7) & ~(size_t)7;
    return p->sums++;
}

/* plans: open the scope of a list */
static int wf__scope_open(wf__scope *s, wf__scope *from, wf_plan *p, wf_graph *g, wf__code *code, int lanes)
{
    memset(s, 0, sizeof *s);
    s->plan = p;
    s->g = g;
    s->A = p->arena;
    s->code = code;
    s->lanes = lanes;
    s->nodes = g->nodes;
    (void)from;
    size_t n = (size_t)g->nodes;
    s->value = (wf__value *)wf_alloc(s->A, n, sizeof *s->value);
    s->need = (uint8_t *)wf_alloc(s->A, n, 1);
    s->taken = (uint8_t *)wf_alloc(s->A, n, 1);
    s->uses = (int32_t *)wf_alloc(s->A, n, sizeof *s->uses);
    s->sink = (int32_t *)wf_alloc(s->A, n, sizeof *s->sink);
    if (!s->value || !s->need || !s->taken || !s->uses || !s->sink) { s->failed = 1; return 0; }
    for (size_t i = 0; i < n; i++) s->sink[i] = -1;
    code->bases = WF__BASE_FIRST;
    return 1;
}

static void wf__count_uses(wf__scope *s, int stop_at_shared)
{
    for (int id = s->nodes - 1; id > 0; id--) {
        if (!s->need[id]) continue;
        if (stop_at_shared && s->g->node[id].space == WF__SHARED && s->sink[id] < 0) continue;
        for (int k = 0; k < s->g->node[id].args; k++) {
            int a = wf__arg(s->g, id, k);
            s->uses[a]++;
            s->need[a] = 1;
        }
    }
}

/* plans: bind a value of a loop */
static wf__bind *wf__bind_new(wf__scope *s, wf__loop_plan *lp, int kind, wf__ref outer, wf__ref inner, size_t bytes)
{
    void *table = lp->bind;
    if (!wf__grow_table(s->A, &table, lp->binds, &lp->bind_room, sizeof *lp->bind)) { s->failed = 1; return NULL; }
    lp->bind = (wf__bind *)table;
    wf__bind *b = &lp->bind[lp->binds++];
    memset(b, 0, sizeof *b);
    b->kind = kind;
    b->outer = outer;
    b->inner = inner;
    b->bytes = bytes;
    b->row = (int64_t)bytes;
    return b;
}

static wf__ref wf__base_new(wf__scope *body, wf__bind *b)
{
    wf__ref r = { 0, 0, 0 };
    r.base = body->code->bases++;
    if (b) b->base = r.base;
    return r;
}

static void wf__keep_alive(wf__scope *s, wf__ref r)
{
    if (r.buffer) s->buffer[r.buffer].last = INT32_MAX;
}

/* plans: bind what comes in */
static void wf__bind_ports(wf__scope *s, wf__scope *body, wf_loop *l, wf__loop_plan *lp)
{
    for (int i = 0; i < l->ports && !s->failed && !body->failed; i++) {
        wf__port p = l->port[i];
        if (!body->need[p.inner]) continue;
        size_t bytes = wf__count(body, p.inner) * wf__es(s);
        wf__value *v = &body->value[p.inner];
        if (p.kind == WF__STEP || p.kind == WF__CARRY) {
            v->ref = wf__buffer_new(body, bytes);
            wf__keep_alive(body, v->ref);
            wf__bind_new(s, lp, p.kind == WF__STEP ? WF__BIND_STEP : WF__BIND_CARRY, p.kind == WF__STEP ? wf__no_ref() : wf__dense(s, p.outer), v->ref, bytes);
        } else {
            wf__ref outer = wf__dense(s, p.outer);
            v->ref = wf__base_new(body, wf__bind_new(s, lp, p.kind == WF__EACH ? WF__BIND_ROWS : WF__BIND_FIXED, outer, wf__no_ref(), bytes));
        }
        v->known = 1;
    }
}

/* plans: bind what goes out */
static void wf__bind_results(wf__scope *s, wf__scope *body, wf_loop *l, wf__loop_plan *lp)
{
    for (int id = l->node + 1; id < s->nodes && !s->failed; id++) {
        const wf__node *n = &s->g->node[id];
        if (n->op != WF__OP_RESULT || !s->need[id] || wf__arg(s->g, id, 0) != l->node) continue;
        if (s->value[id].known) continue; /* a sum that an earlier phase has finished; this phase runs the loop for other results */
        int inner = n->at[1], kind = n->at[0];
        const wf__node *b = &body->g->node[inner];
        if (s->sink[id] >= 0 && wf__sinks_inside(s->g, id)) { body->sink[inner] = s->sink[id]; continue; }
        size_t bytes = wf__node_size(b) * (size_t)wf__lanes(s, id) * wf__es(s);
        wf__ref outer = wf__result(s, id);
        if (kind == WF__FINAL) {
            if (wf__lanes(body, inner) != wf__lanes(s, id)) {
                wf__fail(s->A, WF_ERROR_UNSUPPORTED, "plan: a shared carry of a loop over samples is wanted at the end; start it with wf_per_sample");
                s->failed = 1;
                return;
            }
            wf__bind_new(s, lp, WF__BIND_FINAL, outer, body->value[inner].ref, bytes);
            continue;
        }
        wf__ref base = wf__base_new(body, wf__bind_new(s, lp, kind == WF__STACK ? WF__BIND_STACK : WF__BIND_TOTAL, outer, wf__no_ref(), bytes));
        if (s->failed) return;
        int direct = kind == WF__STACK && !body->value[inner].known && !body->value[inner].placed && wf__lanes(body, inner) == wf__lanes(s, id)
            && b->op != WF__OP_RESHAPE && b->op != WF__OP_BCAST && b->op != WF__OP_STOP && b->op != WF__OP_SLICE && b->op != WF__OP_PARAM && b->op != WF__OP_CONST && b->op != WF__OP_ARRAY;
        if (direct) { body->value[inner].ref = base; body->value[inner].placed = 1; }
        lp->bind[lp->binds - 1].inner = base;
        lp->bind[lp->binds - 1].row = direct ? (int64_t)bytes : -(int64_t)bytes - 1; /* negative: to be copied, see below */
        lp->bind[lp->binds - 1].inner.at = inner;
    }
}

/* plans: write results and next values */
static void wf__emit_results(wf__scope *s, wf__scope *body, wf_loop *l, wf__loop_plan *lp)
{
    for (int i = 0; i < lp->binds && !body->failed; i++) {
        wf__bind *b = &lp->bind[i];
        if (b->kind != WF__BIND_STACK && b->kind != WF__BIND_TOTAL) continue;
        int inner = (int)b->inner.at, copied = b->row < 0;
        int lanes = (int)(b->bytes / wf__es(s) / wf__node_size(&body->g->node[inner]));
        wf__ref y = b->inner;
        y.at = 0;
        b->inner.at = 0;
        if (copied) b->row = -(b->row + 1);
        if (!copied) continue;
        wf__operand o = wf__describe(body, inner, lanes);
        wf__emit_sum_of(body, y, b->bytes / wf__es(s), &o, 1, b->kind == WF__BIND_TOTAL);
    }
    for (int i = 0; i < l->ports && !body->failed; i++) {
        wf__port p = l->port[i];
        if (p.kind != WF__CARRY || !body->need[p.inner] || p.next == p.inner) continue;
        size_t bytes = wf__count(body, p.inner) * wf__es(s);
        wf__operand o = wf__describe(body, p.next, wf__lanes(body, p.inner));
        wf__ref from = o.ref;
        int whole = o.inner == 1 && o.mid == (int64_t)(bytes / wf__es(s)), clash = 0;
        for (int j = 0; j < l->ports; j++)
            if (l->port[j].kind == WF__CARRY && body->value[l->port[j].inner].known && from.base == WF__BASE_TILE && from.buffer == body->value[l->port[j].inner].ref.buffer) clash = 1;
        if (!whole || clash) {
            from = wf__buffer_new(body, bytes);
            wf__emit_sum_of(body, from, bytes / wf__es(s), &o, 1, 0);
        }
        wf__keep_alive(body, from);
        wf__bind_new(s, lp, WF__BIND_NEXT, body->value[p.inner].ref, from, bytes);
    }
}

/* plans: emit a loop */
static void wf__emit_loop(wf__scope *s, int id)
{
    wf_plan *p = s->plan;
    wf_loop *l = s->g->loop[s->g->node[id].at[0]];
    wf__scope body;
    wf__loop_plan *lp = (wf__loop_plan *)wf_alloc(s->A, 1, sizeof *lp);
    void *table = p->loop;
    if (!lp || !wf__grow_table(s->A, &table, p->loops, &p->loop_room, sizeof *p->loop)) { s->failed = 1; return; }
    p->loop = (wf__loop_plan **)table;
    int index = p->loops++;
    p->loop[index] = lp;
    lp->steps = l->steps;
    lp->backwards = l->backwards;
    if (!wf__scope_open(&body, s, p, l->body, &lp->code, s->g->node[id].space == WF__BATCH ? s->lanes : 1)) { s->failed = 1; return; }
    body.inside = 1;
    body.shared = s->shared;
    for (int k = 0; k < l->ports; k++)
        if (l->port[k].kind == WF__CARRY) { body.need[l->port[k].inner] = body.need[l->port[k].next] = 1; body.uses[l->port[k].next]++; }
    for (int r = l->node + 1; r < s->nodes; r++)
        if (s->g->node[r].op == WF__OP_RESULT && s->need[r] && wf__arg(s->g, r, 0) == l->node) { body.need[s->g->node[r].at[1]] = 1; body.uses[s->g->node[r].at[1]]++; }
    wf__count_uses(&body, 0);
    wf__bind_ports(s, &body, l, lp);
    if (!s->failed && !body.failed) wf__bind_results(s, &body, l, lp);
    if (!s->failed && !body.failed) wf__emit_list(&body);
    if (!s->failed && !body.failed) wf__emit_results(s, &body, l, lp);
    if (s->failed || body.failed || !wf__place_buffers(&body)) { s->failed = 1; return; }
    for (int i = 0; i < lp->binds; i++) {
        wf__bind *b = &lp->bind[i];
        if (b->kind == WF__BIND_NEXT) { wf__patch(&body, &b->outer); wf__patch(&body, &b->inner); }
        else if (b->kind == WF__BIND_CARRY || b->kind == WF__BIND_FINAL || b->kind == WF__BIND_STEP) wf__patch(&body, &b->inner);
    }
    lp->frame = p->frames;
    p->frames += lp->code.bases;
    lp->scratch = wf__buffer_new(s, lp->code.tile_bytes);
    wf__step *t = wf__step_new(s, WF__STEP_LOOP, id);
    if (!t) return;
    t->number = index;
    t->c = lp->scratch;
    for (int i = 0; i < lp->binds; i++) if (lp->bind[i].kind != WF__BIND_NEXT) wf__touch(s, lp->bind[i].outer);
    wf__step_done(s, t);
}

/* plans: emit one node */
static void wf__emit_node(wf__scope *s, int id)
{
    const wf__node *n = &s->g->node[id];
    switch (n->op) {
    case WF__OP_PARAM: case WF__OP_CONST: case WF__OP_ARRAY: case WF__OP_RESHAPE: case WF__OP_STOP: case WF__OP_BCAST: case WF__OP_RESULT: return;
    case WF__OP_INPUT: wf__emit_input(s, id); return;
    case WF__OP_COUNT: case WF__OP_RANDOM: wf__emit_source(s, id); return;
    case WF__OP_MATMUL: wf__emit_matmul(s, id); return;
    case WF__OP_SUM: wf__emit_along(s, id, WF__STEP_REDUCE, 0); return;
    case WF__OP_MAX_OVER: wf__emit_along(s, id, WF__STEP_REDUCE, 1); return;
    case WF__OP_CUMSUM: wf__emit_along(s, id, WF__STEP_CUMSUM, n->at[1]); return;
    case WF__OP_SOFTMAX: wf__emit_along(s, id, WF__STEP_SOFTMAX, 0); return;
    case WF__OP_SLICE: if (n->at[2] == 1 && wf__first_axis(n->d, n->at[0])) return; wf__emit_move(s, id); return;
    case WF__OP_PERMUTE: case WF__OP_PAD: case WF__OP_CONCAT: wf__emit_move(s, id); return;
    case WF__OP_TAKE: wf__emit_slow(s, id, WF__STEP_TAKE); return;
    case WF__OP_SCATTER: wf__emit_slow(s, id, WF__STEP_SCATTER); return;
    case WF__OP_TRISOLVE: case WF__OP_CHOLESKY: case WF__OP_SEARCH: case WF__OP_ARGSORT: wf__emit_slow(s, id, WF__STEP_SLOW); return;
    case WF__OP_BSUM: if (s->sink[id] < 0 || (s->inside && s->uses[id] > 1)) wf__emit_partial(s, id); return; /* a total, and also used in the body */
    case WF__OP_SCAN: wf__emit_loop(s, id); return;
    case WF__OP_CUSTOM: wf__emit_custom(s, id); return;
    default: wf__emit_group(s, id, s->nodes); return;
    }
}

static void wf__emit_list(wf__scope *s)
{
    for (int id = 1; id < s->nodes; id++)
        if (s->need[id] && s->g->node[id].op == WF__OP_BSUM && s->sink[id] >= 0) wf__skip_swallowed(s, id);
    if (!s->plan->reference) wf__mark_sums(s);
    for (int id = 1; id < s->nodes && !s->failed; id++) {
        if (!s->need[id]) continue;
        if (s->taken[id] == 2) wf__emit_products(s, id);
        else if (!s->taken[id] && !s->value[id].known) wf__emit_node(s, id);
        if (s->sink[id] >= 0 && !s->failed && !wf__sinks_inside(s->g, id)) wf__emit_sink(s, id);
    }
}

/* plans: emit an input */
static void wf__emit_input(wf__scope *s, int id)
{
    if (s->g->node[id].space == WF__SHARED) return; /* copied when a run begins */
    wf__ref y = wf__result(s, id);
    wf__step *t = wf__step_new(s, WF__STEP_INPUT, id);
    if (!t) return;
    for (int i = 0; i < s->plan->ins; i++) if (s->plan->in[i].node == id) t->number = i;
    t->out = y;
    t->n[0] = (int64_t)wf__node_size(&s->g->node[id]);
    wf__step_done(s, t);
}

static void wf__emit_source(wf__scope *s, int id)
{
    const wf__node *n = &s->g->node[id];
    wf__ref y = wf__result(s, id);
    wf__step *t = wf__step_new(s, n->op == WF__OP_COUNT ? WF__STEP_COUNT : WF__STEP_RANDOM, id);
    if (!t) return;
    t->out = y;
    t->n[0] = (int64_t)wf__node_size(n);
    t->n[1] = n->at[0];
    t->n[2] = n->at[1];
    wf__step_done(s, t);
}

/* plans: place buffers */
static size_t wf__best_gap(const wf__scope *s, const int32_t *alive, int count, size_t bytes, int *where)
{
    size_t end = 0, best = 0, smallest = (size_t)-1;
    *where = count;
    for (int k = 0; k < count; k++) {
        const wf__buffer *o = &s->buffer[alive[k]];
        size_t gap = o->at - end;
        if (gap >= bytes && gap < smallest) { smallest = gap; best = end; *where = k; }
        end = o->at + o->bytes;
    }
    return smallest == (size_t)-1 ? end : best;
}

static int wf__place_buffers(wf__scope *s)
{
    size_t top = 0;
    int count = 0, where = 0;
    wf_mark mark = wf_arena_mark(s->A);
    int32_t *alive = (int32_t *)wf_alloc(s->A, (size_t)s->buffers + 1, sizeof *alive);
    if (!alive) return 0;
    for (int i = 1; i < s->buffers; i++) {
        wf__buffer *b = &s->buffer[i];
        int kept = 0;
        for (int k = 0; k < count; k++)
            if (s->buffer[alive[k]].last >= b->first) alive[kept++] = alive[k];
        count = kept;
        b->at = s->plan->reference ? top : wf__best_gap(s, alive, count, b->bytes, &where);
        if (b->at + b->bytes > top) top = b->at + b->bytes;
        if (s->plan->reference) continue;
        memmove(alive + where + 1, alive + where, (size_t)(count - where) * sizeof *alive);
        alive[where] = i;
        count++;
    }
    wf_arena_reset(s->A, mark);
    s->code->tile_bytes = top;
    for (int i = 0; i < s->code->steps; i++) wf__patch_step(s, &s->code->step[i]);
    return !s->failed;
}

static void wf__patch(wf__scope *s, wf__ref *r)
{
    if (!r->buffer) return;
    r->at += (int64_t)s->buffer[r->buffer].at;
    r->buffer = 0;
}

static void wf__patch_step(wf__scope *s, wf__step *t)
{
    wf__patch(s, &t->out);
    wf__patch(s, &t->a);
    wf__patch(s, &t->b);
    wf__patch(s, &t->c);
    if (t->code == WF__STEP_GROUP || t->code == WF__STEP_CUSTOM)
        for (int i = 0; i < t->number; i++) wf__patch(s, &s->plan->operand[t->first + i].ref);
    if (t->code != WF__STEP_LOOP) return;
    wf__loop_plan *lp = s->plan->loop[t->number];
    for (int i = 0; i < lp->binds; i++) if (lp->bind[i].kind != WF__BIND_NEXT) wf__patch(s, &lp->bind[i].outer);
    wf__patch(s, &lp->scratch);
}

/* plans: find the phase of each node */
static int wf__levels(const wf_graph *g, const uint8_t *need, int32_t *level)
{
    int top = 0;
    for (int id = 1; id < g->nodes; id++) {
        const wf__node *n = &g->node[id];
        if (!need[id]) continue;
        for (int k = 0; k < n->args; k++) {
            int a = wf__arg(g, id, k), l = level[a];
            if (n->space == WF__SHARED && g->node[a].space == WF__BATCH) l++;
            if (l > level[id]) level[id] = l;
        }
        if (level[id] > top) top = level[id];
    }
    return top;
}

/* plans: compile the shared part of a phase */
static int wf__compile_shared(wf_plan *p, wf__scope *s, const int32_t *level, int phase)
{
    for (int id = 1; id < s->nodes; id++) {
        if (!s->need[id] || level[id] != phase || s->g->node[id].space != WF__SHARED || s->sink[id] < 0) continue;
        wf__sum *sum = &p->sum[s->sink[id]];
        sum->out = wf__shared_new(s, sum->size * wf__es(s));
        s->value[id].ref = sum->out;
        s->value[id].known = 1;
        wf__step *t = wf__step_new(s, WF__STEP_FINISH, 0);
        if (!t) return 0;
        t->out = sum->out;
        t->number = s->sink[id];
        wf__step_done(s, t);
    }
    uint8_t *need = s->need, *mine = (uint8_t *)wf_alloc(s->A, (size_t)s->nodes, 1);
    int32_t *sink = s->sink, *none = (int32_t *)wf_alloc(s->A, (size_t)s->nodes, sizeof *none);
    if (!mine || !none) return 0;
    for (int id = 1; id < s->nodes; id++) {
        none[id] = -1;
        mine[id] = need[id] && level[id] == phase && s->g->node[id].space == WF__SHARED;
    }
    s->need = mine;
    s->sink = none;
    wf__emit_list(s);
    s->need = need;
    s->sink = sink;
    return !s->failed && wf__place_buffers(s);
}

/* plans: compile the tiles of a phase */
static void wf__emit_output(wf__scope *s, int index)
{
    wf_plan *p = s->plan;
    wf__ref a = wf__dense(s, p->out[index].node);
    wf__step *t = wf__step_new(s, WF__STEP_OUTPUT, 0);
    if (!t) return;
    t->a = a;
    t->number = index;
    t->n[0] = (int64_t)p->out[index].size;
    wf__step_done(s, t);
}

static int wf__compile_tiles(wf_plan *p, const wf__scope *shared, const int32_t *level, int phase, wf__code *code)
{
    wf__scope s;
    wf_graph *g = p->graph;
    int any = 0;
    if (!wf__scope_open(&s, NULL, p, g, code, p->tile)) return 0;
    for (int id = 1; id < g->nodes; id++) {
        s.value[id] = shared->value[id];
        s.sink[id] = -1;
        int sums = shared->need[id] && g->node[id].space == WF__SHARED && shared->sink[id] >= 0 && level[id] == phase + 1;
        if (sums) { s.sink[id] = shared->sink[id]; s.need[id] = 1; any = 1; }
    }
    for (int i = 0; i < p->outs; i++)
        if (p->out[i].space == WF__BATCH && level[p->out[i].node] == phase) { s.need[p->out[i].node] = 1; s.uses[p->out[i].node]++; any = 1; }
    if (!any) return 1;
    wf__count_uses(&s, 1);
    for (int id = 1; id < g->nodes; id++)
        if (g->node[id].space == WF__SHARED && s.sink[id] < 0) s.taken[id] = 1; /* computed in the shared part */
    wf__emit_list(&s);
    for (int i = 0; i < p->outs && !s.failed; i++)
        if (p->out[i].space == WF__BATCH && level[p->out[i].node] == phase) wf__emit_output(&s, i);
    return !s.failed && wf__place_buffers(&s);
}

/* plans: list what is wanted */
static int wf__list_outputs(wf_plan *p, const wf_plan_desc *d)
{
    wf_graph *g = p->graph;
    p->out = (wf__place *)wf_alloc(p->arena, 16, sizeof *p->out);
    if (!p->out) return 0;
    for (int i = 0; i < 16 && d->out[i].id; i++) {
        if (d->out[i].graph != g || d->out[i].id >= g->nodes) { wf__fail(p->arena, WF_ERROR_ARGUMENT, "compile: output %d belongs to another graph", i); return 0; }
        wf__place *o = &p->out[p->outs++];
        o->node = d->out[i].id;
        o->space = g->node[o->node].space;
        o->size = wf__node_size(&g->node[o->node]);
    }
    return 1;
}

static int wf__list_gradients(wf_plan *p, wf_t loss)
{
    wf_graph *g = p->graph;
    wf_t *x, *out;
    int n = 0;
    if (loss.graph != g) { wf__fail(p->arena, WF_ERROR_ARGUMENT, "compile: the loss belongs to another graph than the outputs"); return 0; }
    if (wf_is_batch(loss) || wf__node_size(wf__of(loss)) != 1) {
        wf__fail(p->arena, WF_ERROR_SHAPE, "compile: the loss (value %d) must be one shared number; see wf_mean", loss.id);
        return 0;
    }
    p->has_grad = g->params != NULL;
    for (int id = 1; id < g->nodes; id++) n += g->node[id].op == WF__OP_PARAM;
    x = (wf_t *)wf_alloc(p->arena, (size_t)n + 1, sizeof *x);
    out = (wf_t *)wf_alloc(p->arena, (size_t)n + 1, sizeof *out);
    p->grad = (wf__place *)wf_alloc(p->arena, (size_t)n + 1, sizeof *p->grad);
    if (!x || !out || !p->grad) return 0;
    n = 0;
    for (int id = 1; id < g->nodes; id++) if (g->node[id].op == WF__OP_PARAM) x[n++] = wf__at(g, id);
    wf_t one = wf__const_like(loss, 1);
    if (n && (wf_vjp(&loss, &one, 1, x, n, out) < 0 || g->arena->report.code < 0)) return 0;
    for (int i = 0; i < n; i++) {
        double zero;
        if (wf__is_const(out[i], &zero) && zero == 0) continue;
        wf__place *q = &p->grad[p->grads++];
        const wf_param_info *e = &g->params->entry[wf__of(x[i])->at[0]];
        q->node = out[i].id;
        q->size = e->count;
        q->ref.at = (int64_t)e->offset; /* in the gradient */
    }
    return 1;
}

/* plans: look for the source of a total */
static int wf__total_is_real(wf__scope *s, int id)
{
    const wf_graph *g = s->g;
    if (s->plan->reference) return 0;
    while (wf__sinks_inside(g, id)) {
        const wf_loop *l = g->loop[g->node[wf__arg(g, id, 0)].at[0]];
        id = g->node[id].at[1];
        g = l->body;
    }
    if (g->node[id].op != WF__OP_BSUM) return 0;
    for (int u = id + 1; u < g->nodes; u++)
        for (int j = 0; g != s->g && j < g->node[u].args; j++) if (wf__arg(g, u, j) == id) return 0; /* its value is wanted in the body as well */
    for (int k = 0; k < g->node[id].args; k++) {
        const wf__node *m = &g->node[wf__arg(g, id, k)];
        if (m->op != WF__OP_MATMUL || m->nd != 2 || m->at[0] || !m->at[1]) return 0;
        if (g->node[g->pool[m->arg]].space != WF__BATCH || g->node[g->pool[m->arg + 1]].space != WF__BATCH) return 0;
        for (int u = 1, uses = 0; u < g->nodes; u++)
            for (int j = 0; j < g->node[u].args; j++) if (wf__arg(g, u, j) == wf__arg(g, id, k) && ++uses > 1) return 0;
    }
    return 1;
}

/* plans: list inputs and accumulators */
static int wf__list_inputs(wf_plan *p, wf__scope *s)
{
    for (int id = 1; id < s->nodes; id++) {
        const wf__node *n = &s->g->node[id];
        if (!s->need[id]) continue;
        if (n->op == WF__OP_INPUT) {
            void *table = p->in;
            if (!wf__grow_table(p->arena, &table, p->ins, &p->in_room, sizeof *p->in)) return 0;
            p->in = (wf__place *)table;
            wf__place *q = &p->in[p->ins++];
            memset(q, 0, sizeof *q);
            q->node = id;
            q->space = n->space;
            q->size = wf__node_size(n);
            if (n->space != WF__SHARED) continue;
            q->ref = wf__shared_new(s, q->size * wf__es(s));
            s->value[id].ref = q->ref;
            s->value[id].known = 1;
        }
        int over = n->op == WF__OP_BSUM || wf__sinks_inside(s->g, id);
        if (!over) continue;
        int real = n->op == WF__OP_BSUM ? wf__all_outer(s, id) : wf__total_is_real(s, id);
        s->sink[id] = wf__sum_new(p, p->arena, id, wf__node_size(n), real);
        if (s->sink[id] < 0) return 0;
    }
    return 1;
}

/* plans: choose the number of lanes */
static int wf__prefers_one_lane(const wf_graph *g)
{
    for (int id = 1; id < g->nodes; id++) {
        const wf__node *n = &g->node[id];
        if (n->space != WF__BATCH) continue;
        if (n->op == WF__OP_MATMUL) {
            int a = g->node[wf__arg(g, id, 0)].space, b = g->node[wf__arg(g, id, 1)].space, outer = !n->at[0] && n->at[1];
            if ((a == b && !outer) || (a != b && n->d[n->nd - 1] >= 16)) return 1;
        }
        if (n->op == WF__OP_SCAN && wf__prefers_one_lane(g->loop[n->at[0]]->body)) return 1;
    }
    return 0;
}

/* plans: make a wanted value dense */
static wf__ref wf__dense_final(wf__scope *s, int id, wf__code *code)
{
    wf__code *before = s->code;
    s->code = code;
    wf__ref r = wf__dense(s, id);
    s->code = before;
    return r;
}

int wf_plan_tile(const wf_plan *p) { return p ? p->tile : 0; }
int wf_plan_steps(const wf_plan *p) { return p ? p->total_steps : 0; }

/* plans: compile */
static int wf__compile_phases(wf_plan *p)
{
    wf_graph *g = p->graph;
    wf__scope s;
    wf__code dummy;
    memset(&dummy, 0, sizeof dummy);
    if (!wf__scope_open(&s, NULL, p, g, &dummy, 1)) return 0;
    s.shared = 1;
    s.lanes = p->tile;
    int32_t *level = (int32_t *)wf_alloc(p->arena, (size_t)g->nodes, sizeof *level);
    if (!level) return 0;
    for (int i = 0; i < p->outs; i++) { s.need[p->out[i].node] = 1; s.uses[p->out[i].node]++; }
    for (int i = 0; i < p->grads; i++) { s.need[p->grad[i].node] = 1; s.uses[p->grad[i].node]++; }
    wf__count_uses(&s, 0);
    int top = wf__levels(g, s.need, level);
    if (!wf__list_inputs(p, &s)) return 0;
    p->phases = top + 1;
    p->phase = (wf__phase *)wf_alloc(p->arena, (size_t)p->phases, sizeof *p->phase);
    if (!p->phase) return 0;
    for (int k = 0; k < p->phases; k++) {
        s.code = &p->phase[k].shared;
        s.code->bases = WF__BASE_FIRST;
        s.buffers = 1;
        if (!wf__compile_shared(p, &s, level, k) || !wf__compile_tiles(p, &s, level, k, &p->phase[k].tiles)) return 0;
        if (p->phase[k].shared.tile_bytes > p->tile_bytes) p->tile_bytes = p->phase[k].shared.tile_bytes;
        if (p->phase[k].tiles.tile_bytes > p->tile_bytes) p->tile_bytes = p->phase[k].tiles.tile_bytes;
    }
    s.buffers = 1;
    memset(&dummy, 0, sizeof dummy);
    s.code = &dummy;
    for (int i = 0; i < p->outs; i++) if (p->out[i].space == WF__SHARED) p->out[i].ref = wf__dense_final(&s, p->out[i].node, &p->phase[p->phases - 1].shared);
    for (int i = 0; i < p->grads; i++) {
        int64_t at = p->grad[i].ref.at;
        p->grad[i].ref = wf__dense_final(&s, p->grad[i].node, &p->phase[p->phases - 1].shared);
        p->grad[i].space = (int)at;
    }
    return !s.failed;
}

wf_plan *wf_compile(wf_arena *A, const wf_plan_desc *d)
{
    wf_graph *g = d && d->out[0].graph ? d->out[0].graph : d ? d->grad_of.graph : NULL;
    if (!g || (!d->out[0].id && !d->grad_of.id)) {
        if (g) wf__fail(A, g->arena->report.code < 0 ? g->arena->report.code : WF_ERROR_ARGUMENT, "compile: %s", g->arena->report.code < 0 ? g->arena->report.text : "nothing is wanted");
        else wf__fail(A, WF_ERROR_ARGUMENT, "compile: nothing is wanted");
        return NULL;
    }
    if (g->arena->report.code < 0) { wf__fail(A, g->arena->report.code, "%s", g->arena->report.text); return NULL; }
    if ((d->type != WF_F32 && d->type != WF_F64) || d->tile < 0 || d->tile > 64 || d->slots < 0 || d->slots > 64 || g->outer) {
        wf__fail(A, WF_ERROR_ARGUMENT, "compile: type %d, tile %d (0..64), slots %d (0..64), or the graph is the body of a loop", d->type, d->tile, d->slots);
        return NULL;
    }
    if (g->params && g->params->type != d->type && g->params->entries) {
        wf__fail(A, WF_ERROR_ARGUMENT, "compile: the parameters are %s, the plan is to be %s", g->params->type ? "f64" : "f32", d->type ? "f64" : "f32");
        return NULL;
    }
    wf_plan *p = (wf_plan *)wf_alloc(A, 1, sizeof *p);
    if (!p) return NULL;
    p->arena = A;
    p->graph = g;
    p->type = d->type;
    p->reference = d->reference;
    p->slots = d->slots ? d->slots : 16;
    p->kernels = wf__kernels_for(d->reference ? WF_ISA_SCALAR : d->isa, d->type);
    if (!p->kernels) { wf__fail(A, WF_ERROR_UNSUPPORTED, "compile: this machine or build has no %s", wf_isa_name(d->isa)); return NULL; }
    if (!wf__list_outputs(p, d) || (d->grad_of.id && !wf__list_gradients(p, d->grad_of))) {
        if (A->report.code >= 0) wf__fail(A, g->arena->report.code, "%s", g->arena->report.text); /* a derivative fails in the arena of its graph */
        return NULL;
    }
    p->tile = d->tile ? d->tile : d->reference || wf__prefers_one_lane(g) ? 1 : 64;
    return wf__compile_phases(p) ? p : NULL;
}

/* ---- Execution ---- */
/* execution: define the workspace */
typedef struct wf__runner {
    const wf_plan *plan;
    struct wf_ws *ws;
    char *tile, *scratch, **frame, *zero;
    size_t first, valid; /* the samples of this tile */
    char *real_sum;
    double *double_sum;
    uint32_t turn;       /* counts the steps of the loops around */
    wf_result result;
} wf__runner;

struct wf_ws {
    wf_arena *arena;
    const wf_plan *plan;
    wf_parallel parallel;
    int threads, has_parallel;
    wf__runner *runner;
    char *shared, *grad;
    size_t grad_size;
    char *real_sums;
    double *double_sums;
    wf_feed *in, *out;
    uint64_t seed;
    uint32_t step;
    size_t samples;
    int slots, phase;
    wf_report report;
};

/* execution: make a workspace */
wf_ws *wf_ws_new(wf_arena *A, const wf_plan *p, int threads, const wf_parallel *parallel)
{
    if (!p) { wf__fail(A, WF_ERROR_ARGUMENT, "workspace: there is no plan"); return NULL; }
    wf_ws *ws = (wf_ws *)wf_alloc(A, 1, sizeof *ws);
    if (!ws) return NULL;
    size_t es = wf__type_size(p->type);
    ws->arena = A;
    ws->plan = p;
    ws->has_parallel = parallel && parallel->run;
    if (ws->has_parallel) ws->parallel = *parallel;
    ws->threads = threads > 0 ? threads : wf_threads_default(parallel);
    if (ws->threads > p->slots) ws->threads = p->slots;
    ws->runner = (wf__runner *)wf_alloc(A, (size_t)ws->threads, sizeof *ws->runner);
    ws->shared = (char *)wf_alloc(A, p->shared_bytes + 1, 1);
    ws->grad_size = p->has_grad ? p->graph->params->size : 0;
    ws->grad = (char *)wf_alloc(A, ws->grad_size, es);
    ws->real_sums = (char *)wf_alloc(A, p->real_sums * (size_t)p->slots, es);
    ws->double_sums = (double *)wf_alloc(A, p->double_sums * (size_t)p->slots, sizeof(double));
    ws->in = (wf_feed *)wf_alloc(A, (size_t)p->ins + 1, sizeof *ws->in);
    ws->out = (wf_feed *)wf_alloc(A, (size_t)p->outs + 1, sizeof *ws->out);
    if (!ws->runner || !ws->shared || !ws->grad || !ws->real_sums || !ws->double_sums || !ws->in || !ws->out) return NULL;
    for (int i = 0; i < ws->threads; i++) {
        wf__runner *r = &ws->runner[i];
        r->plan = p;
        r->ws = ws;
        r->tile = (char *)wf_alloc(A, p->tile_bytes + 1, 1);
        r->scratch = (char *)wf_alloc(A, (size_t)p->registers + 1, WF__CHUNK * es + 64);
        r->frame = (char **)wf_alloc(A, (size_t)p->frames + WF__BASE_FIRST, sizeof(char *));
        if (!r->tile || !r->scratch || !r->frame) return NULL;
    }
    return ws;
}

size_t wf_plan_memory(const wf_plan *p)
{
    size_t es = p ? wf__type_size(p->type) : 0;
    return p ? p->tile_bytes + p->shared_bytes + ((size_t)p->registers + 1) * (WF__CHUNK * es + 64) + p->real_sums * (size_t)p->slots * es + p->double_sums * (size_t)p->slots * 8 : 0;
}

/* execution: find an operand */
static char *wf__place_of(char *const *base, wf__ref r) { return base[r.base] + r.at; }

static const void *wf__one(const wf_plan *p, const char *x, int64_t i) { return x + i * (int64_t)wf__type_size(p->type); }

/* execution: spread a pattern */
static void wf__spread(const wf_plan *p, char *y, const char *x, int64_t start, int64_t count, int64_t inner, int64_t mid)
{
    size_t es = wf__type_size(p->type);
    if (inner == 1) {
        for (int64_t i = 0; i < count;) {
            int64_t at = (start + i) % mid, n = mid - at < count - i ? mid - at : count - i;
            memcpy(y + (size_t)i * es, x + (size_t)at * es, (size_t)n * es);
            i += n;
        }
        return;
    }
    if (start % inner == 0 && count % inner == 0 && start / inner % mid + count / inner <= mid) {
        p->kernels->splat_rows(y, wf__one(p, x, start / inner % mid), (size_t)(count / inner), (size_t)inner);
        return;
    }
    for (int64_t i = 0; i < count;) {
        int64_t row = (start + i) / inner, n = (row + 1) * inner - (start + i);
        if (n > count - i) n = count - i;
        p->kernels->fill(y + (size_t)i * es, wf__one(p, x, row % mid), (size_t)n);
        i += n;
    }
}

/* execution: run a group */
static void wf__run_micro(const wf_plan *p, const wf__micro *m, char **x, size_t n)
{
    const wf__kernels *k = p->kernels;
    switch (m->form) {
    case WF__FORM_UNARY: k->unary[m->op](x[m->y], x[m->a], n); break;
    case WF__FORM_BINARY: k->binary[m->op](x[m->y], x[m->a], x[m->b], n); break;
    case WF__FORM_SCALAR: k->binary_scalar[m->op](x[m->y], x[m->a], x[m->b], n); break;
    default: k->select(x[m->y], x[m->a], x[m->b], x[m->c], n); break;
    }
}

static void wf__run_group(wf__runner *r, const wf__step *t, char *const *base)
{
    enum { MANY = 7 * WF__GROUP_MAX }; /* a choice has a result, three operands, and perhaps three registers filled from them */
    const wf_plan *p = r->plan;
    const wf__operand *o = p->operand + t->first;
    size_t es = wf__type_size(p->type), reg = WF__CHUNK * es + 64;
    char *x[MANY];
    for (int64_t start = 0; start < t->n[0]; start += WF__CHUNK) {
        int64_t chunk = WF__CHUNK, n = t->n[0] - start < chunk ? t->n[0] - start : chunk;
        for (int i = 0; i < t->number; i++) {
            if (o[i].kind == WF__REGISTER) { x[i] = r->scratch + (size_t)o[i].reg * reg; continue; }
            x[i] = wf__place_of(base, o[i].ref);
            if (o[i].kind == WF__FULL) x[i] += (size_t)start * es;
            if (o[i].kind != WF__PATTERN) continue;
            char *y = r->scratch + (size_t)o[i].reg * reg;
            wf__spread(p, y, x[i], start, n, o[i].inner, o[i].mid);
            x[i] = y;
        }
        for (int64_t i = 0; i < t->n[2]; i++) wf__run_micro(p, &p->micro[t->n[1] + i], x, (size_t)n);
    }
}

/* execution: run matrix products */
static void wf__run_gemm(const wf__runner *r, const wf__step *t, char *const *base)
{
    const wf_plan *p = r->plan;
    const int64_t *n = t->n;
    size_t es = wf__type_size(p->type);
    char *y = wf__place_of(base, t->out), *a = wf__place_of(base, t->a), *b = wf__place_of(base, t->b);
    for (int64_t i = 0; i < n[7]; i++)
        p->kernels->gemm(y + (size_t)(i * n[8]) * es, (size_t)n[3], a + (size_t)(i * n[9]) * es, (ptrdiff_t)n[4], (ptrdiff_t)n[5], b + (size_t)(i * n[10]) * es, (size_t)n[6],
                         (size_t)n[0], (size_t)n[1], (size_t)n[2], t->flags & 1, t->flags & 2 ? wf__place_of(base, t->c) : NULL, t->act);
}

static void wf__run_gemm_nt(const wf__runner *r, const wf__step *t, char *const *base)
{
    const wf_plan *p = r->plan;
    const int64_t *n = t->n;
    size_t es = wf__type_size(p->type);
    char *y = wf__place_of(base, t->out), *a = wf__place_of(base, t->a), *b = wf__place_of(base, t->b), *scratch = wf__place_of(base, t->c);
    for (int64_t i = 0; i < n[3]; i++)
        p->kernels->gemm_nt(y + (size_t)(i * n[0] * n[1]) * es, (size_t)n[1], a + (size_t)(i * n[0] * n[2]) * es, (size_t)n[2], b + (size_t)(i * n[1] * n[2]) * es, (size_t)n[2],
                            (size_t)n[0], (size_t)n[1], (size_t)n[2], 0, scratch);
}

/* execution: accumulate outer products */
static void wf__run_sum_nt(wf__runner *r, const wf__step *t, char *const *base)
{
    const wf_plan *p = r->plan;
    const int64_t *n = t->n;
    int64_t lanes = t->spread, row = n[2] * lanes;
    size_t es = wf__type_size(p->type);
    char *a = wf__place_of(base, t->a), *b = wf__place_of(base, t->b), *scratch = wf__place_of(base, t->c), *y = r->real_sum + (size_t)n[3] * es;
    int whole = lanes == 1 || (int64_t)r->valid == lanes;
    int64_t parts = whole ? 1 : n[2], length = whole ? row : (int64_t)r->valid;
    for (int64_t j = 0; j < parts; j++)
        p->kernels->gemm_nt(y, (size_t)n[1], a + (size_t)(j * lanes) * es, (size_t)row, b + (size_t)(j * lanes) * es, (size_t)row, (size_t)n[0], (size_t)n[1], (size_t)length, 1, scratch);
}

static void wf__run_sum_lanes(wf__runner *r, const wf__step *t, char *const *base)
{
    const wf_plan *p = r->plan;
    const int64_t *n = t->n;
    int64_t lanes = n[2], row = n[1] * lanes;
    size_t es = wf__type_size(p->type);
    char *a = wf__place_of(base, t->a);
    double *sum = n[3] >= 0 ? r->double_sum + n[3] : (double *)(void *)wf__place_of(base, t->out);
    int whole = lanes == 1 || (int64_t)r->valid == lanes;
    for (int64_t j = 0; j < (whole ? 1 : n[1]); j++)
        p->kernels->sum_rows(sum, a + (size_t)(j * lanes) * es, (size_t)n[0], (size_t)row, whole ? (size_t)row : r->valid);
}

/* execution: copy with strides */
static void wf__run_copy(const wf__runner *r, const wf__step *t, char *const *base)
{
    const wf_plan *p = r->plan;
    const int64_t *n = t->n;
    size_t es = wf__type_size(p->type);
    char *y = wf__place_of(base, t->out);
    const char *x = wf__place_of(base, t->a);
    size_t size[4] = { (size_t)n[1], (size_t)n[2], (size_t)n[3], (size_t)t->first };
    ptrdiff_t ys[4] = { (ptrdiff_t)n[5], (ptrdiff_t)n[6], (ptrdiff_t)n[7], 1 }, xs[4] = { (ptrdiff_t)n[9], (ptrdiff_t)n[10], (ptrdiff_t)n[11], t->number };
    if (t->first == 1) { /* one lane: the last axis takes its part */
        size_t s[4] = { (size_t)n[0], (size_t)n[1], (size_t)n[2], (size_t)n[3] };
        ptrdiff_t yt[4] = { (ptrdiff_t)n[4], (ptrdiff_t)n[5], (ptrdiff_t)n[6], (ptrdiff_t)n[7] }, xt[4] = { (ptrdiff_t)n[8], (ptrdiff_t)n[9], (ptrdiff_t)n[10], (ptrdiff_t)n[11] };
        p->kernels->copy_strided(y, x, s, yt, xt);
        return;
    }
    for (int64_t i = 0; i < n[0]; i++)
        p->kernels->copy_strided(y + (ptrdiff_t)es * (ptrdiff_t)(i * n[4]), x + (ptrdiff_t)es * (ptrdiff_t)(i * n[8]), size, ys, xs);
}

/* execution: multiply matrices lane by lane (f32) */
static void wf__lanes_mm_f32(float *y, const float *a, const float *b, const int64_t *n)
{
    int64_t m = n[0], cols = n[1], depth = n[2], la = n[6], lb = n[7], lc = n[8];
    int64_t ai = (n[4] ? 1 : depth) * la, ap = (n[4] ? m : 1) * la, bp = (n[5] ? 1 : cols) * lb, bj = (n[5] ? depth : 1) * lb;
    for (int64_t batch = 0; batch < n[3]; batch++, a += m * depth * la, b += depth * cols * lb)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < cols; j++, y += lc) {
                for (int64_t l = 0; l < lc; l++) y[l] = 0;
                for (int64_t k = 0; k < depth; k++) {
                    const float *u = a + i * ai + k * ap, *v = b + k * bp + j * bj;
                    for (int64_t l = 0; l < lc; l++) { float product = u[la > 1 ? l : 0] * v[lb > 1 ? l : 0]; y[l] += product; }
                }
            }
}

/* execution: multiply matrices lane by lane (f64) */
static void wf__lanes_mm_f64(double *y, const double *a, const double *b, const int64_t *n)
{
    int64_t m = n[0], cols = n[1], depth = n[2], la = n[6], lb = n[7], lc = n[8];
    int64_t ai = (n[4] ? 1 : depth) * la, ap = (n[4] ? m : 1) * la, bp = (n[5] ? 1 : cols) * lb, bj = (n[5] ? depth : 1) * lb;
    for (int64_t batch = 0; batch < n[3]; batch++, a += m * depth * la, b += depth * cols * lb)
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < cols; j++, y += lc) {
                for (int64_t l = 0; l < lc; l++) y[l] = 0;
                for (int64_t k = 0; k < depth; k++) {
                    const double *u = a + i * ai + k * ap, *v = b + k * bp + j * bj;
                    for (int64_t l = 0; l < lc; l++) { double product = u[la > 1 ? l : 0] * v[lb > 1 ? l : 0]; y[l] += product; }
                }
            }
}

/* execution: take and scatter rows (f32) */
static int64_t wf__row_f32(float index, int64_t rows)
{
    if (!(index > 0)) return 0;
    return index >= (float)(rows - 1) ? rows - 1 : (int64_t)(index + (float)0.5);
}

static void wf__take_f32(float *y, const float *x, const float *index, const int64_t *n, int scatter)
{
    int64_t lx = n[0], li = n[1], ly = n[2], rows = scatter ? n[4] : n[3], count = scatter ? n[3] : n[4], inner = n[5];
    if (scatter) for (int64_t i = 0; i < n[4] * inner * ly; i++) y[i] = 0;
    for (int64_t i = 0; i < count; i++)
        for (int64_t l = 0; l < ly; l++) {
            int64_t row = wf__row_f32(index[i * li + (li > 1 ? l : 0)], rows);
            for (int64_t k = 0; k < inner; k++) {
                if (scatter) y[(row * inner + k) * ly + l] += x[(i * inner + k) * lx + (lx > 1 ? l : 0)];
                else y[(i * inner + k) * ly + l] = x[(row * inner + k) * lx + (lx > 1 ? l : 0)];
            }
        }
}

/* execution: take and scatter rows (f64) */
static int64_t wf__row_f64(double index, int64_t rows)
{
    if (!(index > 0)) return 0;
    return index >= (double)(rows - 1) ? rows - 1 : (int64_t)(index + (double)0.5);
}

static void wf__take_f64(double *y, const double *x, const double *index, const int64_t *n, int scatter)
{
    int64_t lx = n[0], li = n[1], ly = n[2], rows = scatter ? n[4] : n[3], count = scatter ? n[3] : n[4], inner = n[5];
    if (scatter) for (int64_t i = 0; i < n[4] * inner * ly; i++) y[i] = 0;
    for (int64_t i = 0; i < count; i++)
        for (int64_t l = 0; l < ly; l++) {
            int64_t row = wf__row_f64(index[i * li + (li > 1 ? l : 0)], rows);
            for (int64_t k = 0; k < inner; k++) {
                if (scatter) y[(row * inner + k) * ly + l] += x[(i * inner + k) * lx + (lx > 1 ? l : 0)];
                else y[(i * inner + k) * ly + l] = x[(row * inner + k) * lx + (lx > 1 ? l : 0)];
            }
        }
}

/* execution: solve a triangular system (f32) */
static void wf__trisolve_f32(float *y, const float *a, const float *b, const int64_t *n)
{
    int64_t la = n[0], lb = n[1], ly = n[2], size = n[4], cols = n[5], upper = n[6] ^ n[7];
    for (int64_t l = 0; l < ly; l++)
        for (int64_t j = 0; j < cols; j++)
            for (int64_t step = 0; step < size; step++) {
                int64_t i = upper ? size - 1 - step : step;
                float sum = b[(i * cols + j) * lb + (lb > 1 ? l : 0)];
                for (int64_t t = 0; t < step; t++) {
                    int64_t k = upper ? size - 1 - t : t, at = n[7] ? k * size + i : i * size + k;
                    float product = a[at * la + (la > 1 ? l : 0)] * y[(k * cols + j) * ly + l];
                    sum -= product;
                }
                y[(i * cols + j) * ly + l] = n[8] ? sum : sum / a[(i * size + i) * la + (la > 1 ? l : 0)];
            }
}

/* execution: solve a triangular system (f64) */
static void wf__trisolve_f64(double *y, const double *a, const double *b, const int64_t *n)
{
    int64_t la = n[0], lb = n[1], ly = n[2], size = n[4], cols = n[5], upper = n[6] ^ n[7];
    for (int64_t l = 0; l < ly; l++)
        for (int64_t j = 0; j < cols; j++)
            for (int64_t step = 0; step < size; step++) {
                int64_t i = upper ? size - 1 - step : step;
                double sum = b[(i * cols + j) * lb + (lb > 1 ? l : 0)];
                for (int64_t t = 0; t < step; t++) {
                    int64_t k = upper ? size - 1 - t : t, at = n[7] ? k * size + i : i * size + k;
                    double product = a[at * la + (la > 1 ? l : 0)] * y[(k * cols + j) * ly + l];
                    sum -= product;
                }
                y[(i * cols + j) * ly + l] = n[8] ? sum : sum / a[(i * size + i) * la + (la > 1 ? l : 0)];
            }
}

/* execution: factor a matrix (f32) */
static void wf__cholesky_f32(float *y, const float *a, const int64_t *n)
{
    int64_t lanes = n[2], size = n[4];
    for (int64_t l = 0; l < lanes; l++)
        for (int64_t i = 0; i < size; i++)
            for (int64_t j = 0; j < size; j++) {
                float sum = a[(i * size + j) * lanes + l];
                if (j > i) { y[(i * size + j) * lanes + l] = 0; continue; }
                for (int64_t k = 0; k < j; k++) { float product = y[(i * size + k) * lanes + l] * y[(j * size + k) * lanes + l]; sum -= product; }
                y[(i * size + j) * lanes + l] = i == j ? (float)sqrt((double)sum) : sum / y[(j * size + j) * lanes + l];
            }
}

/* execution: factor a matrix (f64) */
static void wf__cholesky_f64(double *y, const double *a, const int64_t *n)
{
    int64_t lanes = n[2], size = n[4];
    for (int64_t l = 0; l < lanes; l++)
        for (int64_t i = 0; i < size; i++)
            for (int64_t j = 0; j < size; j++) {
                double sum = a[(i * size + j) * lanes + l];
                if (j > i) { y[(i * size + j) * lanes + l] = 0; continue; }
                for (int64_t k = 0; k < j; k++) { double product = y[(i * size + k) * lanes + l] * y[(j * size + k) * lanes + l]; sum -= product; }
                y[(i * size + j) * lanes + l] = i == j ? (double)sqrt((double)sum) : sum / y[(j * size + j) * lanes + l];
            }
}

/* execution: search and sort (f32) */
static void wf__search_f32(float *y, const float *knots, const float *x, const int64_t *n)
{
    int64_t lk = n[0], lx = n[1], ly = n[2], count = n[11];
    for (int64_t i = 0; i < count; i++)
        for (int64_t l = 0; l < ly; l++) {
            int64_t low = 0, high = n[3];
            float value = x[i * lx + (lx > 1 ? l : 0)];
            while (low < high) {
                int64_t middle = (low + high) / 2;
                if (knots[middle * lk + (lk > 1 ? l : 0)] <= value) low = middle + 1;
                else high = middle;
            }
            y[i * ly + l] = (float)low;
        }
}

static void wf__argsort_f32(float *y, const float *x, int32_t *index, const int64_t *n)
{
    int64_t lanes = n[2], count = n[4];
    for (int64_t l = 0; l < lanes; l++) {
        int32_t *from = index, *to = index + count;
        for (int64_t i = 0; i < count; i++) from[i] = (int32_t)i;
        for (int64_t width = 1; width < count; width *= 2) {
            for (int64_t start = 0; start < count; start += 2 * width) {
                int64_t a = start, middle = start + width < count ? start + width : count, b = middle, end = start + 2 * width < count ? start + 2 * width : count;
                for (int64_t k = start; k < end; k++) {
                    int left = a < middle && (b >= end || !(x[from[b] * lanes + l] < x[from[a] * lanes + l]));
                    to[k] = left ? from[a++] : from[b++];
                }
            }
            int32_t *t = from;
            from = to;
            to = t;
        }
        for (int64_t i = 0; i < count; i++) y[i * lanes + l] = (float)from[i];
    }
}

/* execution: search and sort (f64) */
static void wf__search_f64(double *y, const double *knots, const double *x, const int64_t *n)
{
    int64_t lk = n[0], lx = n[1], ly = n[2], count = n[11];
    for (int64_t i = 0; i < count; i++)
        for (int64_t l = 0; l < ly; l++) {
            int64_t low = 0, high = n[3];
            double value = x[i * lx + (lx > 1 ? l : 0)];
            while (low < high) {
                int64_t middle = (low + high) / 2;
                if (knots[middle * lk + (lk > 1 ? l : 0)] <= value) low = middle + 1;
                else high = middle;
            }
            y[i * ly + l] = (double)low;
        }
}

static void wf__argsort_f64(double *y, const double *x, int32_t *index, const int64_t *n)
{
    int64_t lanes = n[2], count = n[4];
    for (int64_t l = 0; l < lanes; l++) {
        int32_t *from = index, *to = index + count;
        for (int64_t i = 0; i < count; i++) from[i] = (int32_t)i;
        for (int64_t width = 1; width < count; width *= 2) {
            for (int64_t start = 0; start < count; start += 2 * width) {
                int64_t a = start, middle = start + width < count ? start + width : count, b = middle, end = start + 2 * width < count ? start + 2 * width : count;
                for (int64_t k = start; k < end; k++) {
                    int left = a < middle && (b >= end || !(x[from[b] * lanes + l] < x[from[a] * lanes + l]));
                    to[k] = left ? from[a++] : from[b++];
                }
            }
            int32_t *t = from;
            from = to;
            to = t;
        }
        for (int64_t i = 0; i < count; i++) y[i * lanes + l] = (double)from[i];
    }
}

/* execution: run a plain operation */
#define WF__PLAIN(type, suffix) \
    do { \
        type *y = (type *)(void *)wf__place_of(base, t->out); \
        const type *a = (const type *)(const void *)wf__place_of(base, t->a), *b = (const type *)(const void *)wf__place_of(base, t->b); \
        if (t->code == WF__STEP_LANES_MM) wf__lanes_mm##suffix(y, a, b, t->n); \
        else if (t->code == WF__STEP_TAKE) wf__take##suffix(y, a, b, t->n, 0); \
        else if (t->code == WF__STEP_SCATTER) wf__take##suffix(y, a, b, t->n, 1); \
        else if (t->act == WF__OP_TRISOLVE) wf__trisolve##suffix(y, a, b, t->n); \
        else if (t->act == WF__OP_CHOLESKY) wf__cholesky##suffix(y, a, t->n); \
        else if (t->act == WF__OP_SEARCH) wf__search##suffix(y, a, b, t->n); \
        else wf__argsort##suffix(y, a, (int32_t *)(void *)wf__place_of(base, t->c), t->n); \
    } while (0)

static void wf__run_plain(const wf__runner *r, const wf__step *t, char *const *base)
{
    if (r->plan->type == WF_F64) WF__PLAIN(double, _f64);
    else WF__PLAIN(float, _f32);
}

/* execution: read an input */
static void wf__run_input(const wf__runner *r, const wf__step *t, char *const *base)
{
    const wf_plan *p = r->plan;
    const wf_feed *f = &r->ws->in[t->number];
    size_t size = (size_t)t->n[0], es = wf__type_size(p->type), stride = f->stride ? f->stride : size, lanes = t->spread;
    char *y = wf__place_of(base, t->out);
    const char *x = (const char *)f->in + r->first * stride * es;
    if (lanes == 1) { memcpy(y, x, size * es); return; }
    p->kernels->transpose(y, lanes, x, stride, r->valid, size);
    for (size_t e = 0; r->valid < lanes && e < size; e++)
        p->kernels->fill(y + (e * lanes + r->valid) * es, y + (e * lanes + r->valid - 1) * es, lanes - r->valid);
}

static void wf__run_output(const wf__runner *r, const wf__step *t, char *const *base)
{
    const wf_plan *p = r->plan;
    const wf_feed *f = &r->ws->out[t->number];
    size_t size = (size_t)t->n[0], es = wf__type_size(p->type), stride = f->stride ? f->stride : size;
    if (!f->out) return;
    char *y = (char *)f->out + r->first * stride * es;
    if (p->tile == 1) { memcpy(y, wf__place_of(base, t->a), size * es); return; }
    p->kernels->transpose(y, stride, wf__place_of(base, t->a), (size_t)p->tile, size, r->valid);
}

/* execution: finish a sum */
static void wf__finish_sum(wf_ws *ws, const wf__sum *s)
{
    const wf_plan *p = ws->plan;
    for (int width = 1; width < ws->slots; width *= 2)
        for (int i = 0; i + width < ws->slots; i += 2 * width) {
            if (s->real) {
                size_t es = wf__type_size(p->type);
                char *a = ws->real_sums + ((size_t)i * p->real_sums + s->at) * es, *b = ws->real_sums + ((size_t)(i + width) * p->real_sums + s->at) * es;
                p->kernels->binary[WF__ADD](a, a, b, s->size);
            } else {
                double *a = ws->double_sums + (size_t)i * p->double_sums + s->at, *b = ws->double_sums + (size_t)(i + width) * p->double_sums + s->at;
                for (size_t k = 0; k < s->size; k++) a[k] += b[k];
            }
        }
    char *y = ws->shared + s->out.at;
    if (s->real) memcpy(y, ws->real_sums + s->at * wf__type_size(p->type), s->size * wf__type_size(p->type));
    else for (size_t k = 0; k < s->size; k++) wf__put_value(y, p->type, k, ws->double_sums[s->at + k]);
}
static void wf__run_code(wf__runner *r, const wf__code *code, char *const *base);

/* execution: run a loop */
static void wf__loop_copy_values(const wf__loop_plan *lp, char *const *outer, char *const *inner, int kind)
{
    for (int i = 0; i < lp->binds; i++) {
        const wf__bind *b = &lp->bind[i];
        if (b->kind != kind) continue;
        if (kind == WF__BIND_CARRY) memcpy(wf__place_of(inner, b->inner), wf__place_of(outer, b->outer), b->bytes);
        else if (kind == WF__BIND_FINAL) memcpy(wf__place_of(outer, b->outer), wf__place_of(inner, b->inner), b->bytes);
        else if (kind == WF__BIND_TOTAL) memset(wf__place_of(outer, b->outer), 0, b->bytes);
        else memcpy(wf__place_of(inner, b->outer), wf__place_of(inner, b->inner), b->bytes);
    }
}

static void wf__run_loop(wf__runner *r, const wf__step *t, char *const *base)
{
    const wf__loop_plan *lp = r->plan->loop[t->number];
    char **inner = r->frame + WF__BASE_FIRST + lp->frame;
    uint32_t turn = r->turn;
    memcpy(inner, base, WF__BASE_FIRST * sizeof *inner);
    inner[WF__BASE_TILE] = wf__place_of(base, lp->scratch);
    wf__loop_copy_values(lp, base, inner, WF__BIND_CARRY);
    wf__loop_copy_values(lp, base, inner, WF__BIND_TOTAL);
    for (int k = 0; k < lp->steps; k++) {
        int row = lp->backwards ? lp->steps - 1 - k : k;
        for (int i = 0; i < lp->binds; i++) {
            const wf__bind *b = &lp->bind[i];
            if (b->kind == WF__BIND_ROWS || b->kind == WF__BIND_STACK) inner[b->base] = wf__place_of(base, b->outer) + row * b->row;
            else if (b->kind == WF__BIND_FIXED || b->kind == WF__BIND_TOTAL) inner[b->base] = wf__place_of(base, b->outer);
            else if (b->kind == WF__BIND_STEP) wf__put_value(wf__place_of(inner, b->inner), r->plan->type, 0, row);
        }
        r->turn = turn * (uint32_t)lp->steps + (uint32_t)row + 1;
        wf__run_code(r, &lp->code, inner);
        wf__loop_copy_values(lp, base, inner, WF__BIND_NEXT);
    }
    r->turn = turn;
    wf__loop_copy_values(lp, base, inner, WF__BIND_FINAL);
}

/* execution: run a user's operation */
static void wf__block_of(const wf__runner *r, wf_block *b, const wf__operand *o, char *const *base, const wf_graph *g)
{
    const wf__node *n = &g->node[o->reg];
    b->data = wf__place_of(base, o->ref);
    b->type = r->plan->type;
    b->nd = n->nd;
    for (int i = 0; i < 4; i++) b->d[i] = n->d[i];
    b->lanes = (int)o->inner;
}

/* execution: call a user's operation */
static void wf__run_custom(const wf__runner *r, const wf__step *t, char *const *base)
{
    const wf_graph *g = r->plan->custom_graph[t->act];
    const wf__custom *c = g->custom[g->node[t->node].at[0]];
    const wf__operand *o = r->plan->operand + t->first;
    wf_block in[12], out;
    wf__operand result;
    memset(&result, 0, sizeof result);
    result.ref = t->out;
    result.inner = t->spread;
    result.reg = t->node;
    for (int i = 0; i < t->number; i++) wf__block_of(r, &in[i], &o[i], base, g);
    wf__block_of(r, &out, &result, base, g);
    if (c->which < 0) c->op.eval(c->op.user, in, t->number, &out);
    else c->op.vjp_eval(c->op.user, in, t->number - 2, &in[t->number - 2], &in[t->number - 1], c->which, &out);
}

/* execution: run one step */
static void wf__run_step(wf__runner *r, const wf__step *t, char *const *base)
{
    const wf_plan *p = r->plan;
    const wf__kernels *k = p->kernels;
    size_t es = wf__type_size(p->type);
    const int64_t *n = t->n;
    switch (t->code) {
    case WF__STEP_GROUP: wf__run_group(r, t, base); break;
    case WF__STEP_GEMM: wf__run_gemm(r, t, base); break;
    case WF__STEP_GEMM_NT: wf__run_gemm_nt(r, t, base); break;
    case WF__STEP_COPY: wf__run_copy(r, t, base); break;
    case WF__STEP_ZERO: memset(wf__place_of(base, t->out), 0, (size_t)n[0] * es); break;
    case WF__STEP_REDUCE: k->reduce(wf__place_of(base, t->out), wf__place_of(base, t->a), (size_t)n[0], (size_t)n[1], (size_t)n[2], t->flags); break;
    case WF__STEP_CUMSUM: k->cumsum(wf__place_of(base, t->out), wf__place_of(base, t->a), (size_t)n[0], (size_t)n[1], (size_t)n[2], t->flags); break;
    case WF__STEP_SOFTMAX: k->softmax(wf__place_of(base, t->out), wf__place_of(base, t->a), (size_t)n[0], (size_t)n[1], (size_t)n[2]); break;
    case WF__STEP_INPUT: wf__run_input(r, t, base); break;
    case WF__STEP_OUTPUT: wf__run_output(r, t, base); break;
    case WF__STEP_RANDOM:
        wf__fill_random(wf__place_of(base, t->out), p->type, (int)n[1], (size_t)n[0], t->spread, r->ws->seed, r->first, r->ws->step, (uint32_t)n[2] | r->turn << 8);
        break;
    case WF__STEP_COUNT: wf__put_value(wf__place_of(base, t->out), p->type, 0, (double)r->ws->samples); break;
    case WF__STEP_SUM_LANES: wf__run_sum_lanes(r, t, base); break;
    case WF__STEP_SUM_NT: wf__run_sum_nt(r, t, base); break;
    case WF__STEP_SUM_ADD:
        for (int64_t i = 0; i < n[0]; i++) r->double_sum[n[3] + i] += wf__get(wf__place_of(base, t->a), p->type, (size_t)i);
        break;
    case WF__STEP_PARTIAL:
        for (int64_t i = 0; i < n[0]; i++) wf__put_value(wf__place_of(base, t->out), p->type, (size_t)i, ((const double *)(const void *)wf__place_of(base, t->a))[i]);
        break;
    case WF__STEP_LOOP: wf__run_loop(r, t, base); break;
    case WF__STEP_CUSTOM: wf__run_custom(r, t, base); break;
    case WF__STEP_FINISH: wf__finish_sum(r->ws, &p->sum[t->number]); break;
    default: wf__run_plain(r, t, base); break;
    }
}

static void wf__run_code(wf__runner *r, const wf__code *code, char *const *base)
{
    for (int i = 0; i < code->steps; i++) wf__run_step(r, &code->step[i], base);
}

/* execution: run slots */
static void wf__runner_bases(wf__runner *r)
{
    r->frame[WF__BASE_TILE] = r->tile;
    r->frame[WF__BASE_SHARED] = r->ws->shared;
    r->frame[WF__BASE_PARAM] = r->plan->graph->params ? r->plan->graph->params->data : NULL;
    r->frame[WF__BASE_CONST] = r->plan->constant;
    r->frame[WF__BASE_ACC] = NULL;
}

static void wf__run_slot(wf__runner *r, int slot)
{
    wf_ws *ws = r->ws;
    const wf_plan *p = r->plan;
    size_t T = (size_t)p->tile, tiles = (ws->samples + T - 1) / T, es = wf__type_size(p->type);
    size_t from = tiles * (size_t)slot / (size_t)ws->slots, to = tiles * (size_t)(slot + 1) / (size_t)ws->slots;
    r->real_sum = ws->real_sums + (size_t)slot * p->real_sums * es;
    r->double_sum = ws->double_sums + (size_t)slot * p->double_sums;
    memset(r->real_sum, 0, p->real_sums * es);
    memset(r->double_sum, 0, p->double_sums * sizeof(double));
    for (size_t tile = from; tile < to; tile++) {
        r->first = tile * T;
        r->valid = ws->samples - r->first < T ? ws->samples - r->first : T;
        wf__run_code(r, &p->phase[ws->phase].tiles, r->frame);
    }
}

static void wf__run_slots(void *context, int index)
{
    wf_ws *ws = (wf_ws *)context;
    int threads = ws->threads < ws->slots ? ws->threads : ws->slots;
    for (int slot = ws->slots * index / threads; slot < ws->slots * (index + 1) / threads; slot++) wf__run_slot(&ws->runner[index], slot);
}

/* execution: check what is fed */
wf_feed wf_in(wf_t node, const void *data, size_t stride)
{
    wf_feed f = { node, data, NULL, stride };
    return f;
}

wf_feed wf_out(wf_t node, void *data, size_t stride)
{
    wf_feed f = { node, NULL, data, stride };
    return f;
}

static int wf__feed_place(const wf__place *list, const wf_feed *fed, int n, wf_feed f)
{
    int found = -1;
    for (int i = n - 1; i >= 0; i--) /* a value that is wanted twice has two places */
        if (list[i].node == f.node.id && (found < 0 || !(f.out ? fed[i].out != NULL : fed[i].in != NULL))) found = i;
    return found;
}

static wf_result wf__take_feeds(const wf_plan *p, wf_ws *ws, const wf_feed *feeds, int count)
{
    memset(ws->in, 0, (size_t)p->ins * sizeof *ws->in);
    memset(ws->out, 0, (size_t)p->outs * sizeof *ws->out);
    for (int i = 0; i < count; i++) {
        wf_feed f = feeds[i];
        int k = f.node.graph == p->graph ? wf__feed_place(f.out ? p->out : p->in, f.out ? ws->out : ws->in, f.out ? p->outs : p->ins, f) : -1;
        if (k < 0 && f.in && f.node.graph == p->graph && f.node.id > 0 && p->graph->node[f.node.id].op == WF__OP_INPUT) continue; /* an input that this plan does not use */
        if (k < 0) return wf__report(&ws->report, WF_ERROR_ARGUMENT, "run: feed %d (value %d) is neither an input nor an output of this plan", i, f.node.id);
        const wf__place *q = f.out ? &p->out[k] : &p->in[k];
        if (f.stride && f.stride < q->size) return wf__report(&ws->report, WF_ERROR_SHAPE, "run: feed %d has rows of %z elements, %z apart", i, q->size, f.stride);
        if (f.out ? ws->out[k].out != NULL : ws->in[k].in != NULL) return wf__report(&ws->report, WF_ERROR_ARGUMENT, "run: feed %d: value %d is fed already", i, f.node.id);
        if (f.out) ws->out[k] = f;
        else ws->in[k] = f;
    }
    for (int i = 0; i < p->ins; i++)
        if (!ws->in[i].in) return wf__report(&ws->report, WF_ERROR_ARGUMENT, "run: input %s is not fed", p->graph->source[p->graph->node[p->in[i].node].at[0]].name);
    return WF_OK;
}

/* execution: run a plan */
static void wf__deliver(const wf_plan *p, wf_ws *ws)
{
    size_t es = wf__type_size(p->type);
    char *const *base = ws->runner[0].frame;
    for (int i = 0; i < p->outs; i++) {
        if (p->out[i].space != WF__SHARED) continue;
        const char *x = wf__place_of(base, p->out[i].ref);
        for (size_t k = 0; k < p->out[i].size; k++)
            if (!wf__finite(wf__get(x, p->type, k))) { wf__report(&ws->report, WF_ERROR_NUMERIC, "run: element %z of output %d (value %d) is not finite", k, i, p->out[i].node); break; }
        if (ws->out[i].out) memcpy(ws->out[i].out, x, p->out[i].size * es);
    }
    if (p->has_grad) memset(ws->grad, 0, ws->grad_size * es);
    for (int i = 0; i < p->grads; i++) memcpy(ws->grad + (size_t)p->grad[i].space * es, wf__place_of(base, p->grad[i].ref), p->grad[i].size * es);
}

wf_result wf_run(const wf_plan *p, wf_ws *ws, const wf_feed *feeds, int count, size_t samples)
{
    if (!p || !ws || ws->plan != p) return WF_ERROR_ARGUMENT;
    size_t es = wf__type_size(p->type), tiles = (samples + (size_t)p->tile - 1) / (size_t)p->tile;
    ws->report.code = WF_OK;
    ws->report.text[0] = 0;
    if (wf__take_feeds(p, ws, feeds, count) < 0) return ws->report.code;
    if (p->has_grad && ws->grad_size != p->graph->params->size) return wf__report(&ws->report, WF_ERROR_ARGUMENT, "run: parameters were added after the workspace was made");
    if (!samples) return wf__report(&ws->report, WF_ERROR_DATA, "run: zero samples");
    ws->samples = samples;
    ws->slots = tiles < (size_t)p->slots ? (int)tiles : p->slots;
    for (int i = 0; i < ws->threads; i++) wf__runner_bases(&ws->runner[i]);
    for (int i = 0; i < p->ins; i++)
        if (p->in[i].space == WF__SHARED) memcpy(ws->shared + p->in[i].ref.at, ws->in[i].in, p->in[i].size * es);
    for (int k = 0; k < p->phases; k++) {
        wf__runner *first = &ws->runner[0];
        first->first = 0;
        first->valid = 1;
        first->turn = 0;
        wf__run_code(first, &p->phase[k].shared, first->frame);
        ws->phase = k;
        if (p->phase[k].tiles.steps) {
            int threads = ws->threads < ws->slots ? ws->threads : ws->slots;
            wf__parallel_for(ws->has_parallel ? &ws->parallel : NULL, threads, threads, wf__run_slots, ws);
        }
    }
    wf__deliver(p, ws);
    return ws->report.code;
}

void wf_ws_noise(wf_ws *ws, uint64_t seed, uint32_t step)
{
    if (ws) { ws->seed = seed; ws->step = step; }
}

void *wf_ws_grad(wf_ws *ws) { return ws ? ws->grad : NULL; }
const wf_report *wf_ws_report(const wf_ws *ws) { return ws ? &ws->report : wf_arena_report(NULL); }

/* ---- Training ---- */
/* training: define an optimiser */
typedef struct wf__part { int64_t steps; int frozen; } wf__part;

struct wf_opt {
    wf_arena *arena;
    wf_params *params;
    const wf__kernels *kernels;
    wf_opt_desc d;
    wf__part *part;          /* one for each entry */
    int parts, swapped;
    size_t size, room_bytes; /* elements of the parameters; bytes that the loop has kept */
    char *m, *v, *ema, *chunk, *room;
    int64_t steps;
    double norm, factor;
    wf_report report;
};

/* training: raise to a whole power */
static double wf__power(double x, int64_t n)
{
    double y = 1;
    for (; n > 0; n >>= 1, x *= x) if (n & 1) y *= x;
    return y;
}

/* training: check one setting */
static int wf__opt_option(wf_arena *A, const char *name, double *x, double otherwise, double least, double below)
{
    int finite = wf__finite(*x);
    if (finite && !(*x < 0) && !(*x > 0)) *x = otherwise;
    if (finite && *x >= least && *x < below) return 1;
    wf__fail(A, WF_ERROR_ARGUMENT, "optimiser: %s is %g", name, *x);
    return 0;
}

/* training: check the settings */
static int wf__opt_settings(wf_arena *A, wf_opt_desc *d)
{
    const double most = 1e30;
    int ok = (d->method == WF_OPT_ADAM || d->method == WF_OPT_SGD) && d->schedule >= WF_RATE_CONSTANT && d->schedule <= WF_RATE_STEPS && d->warmup >= 0;
    if (ok && d->schedule == WF_RATE_COSINE) ok = d->steps > d->warmup;
    if (ok && d->schedule == WF_RATE_STEPS) ok = d->every > 0;
    if (!ok) {
        wf__fail(A, WF_ERROR_ARGUMENT, "optimiser: method %d, schedule %d, warmup %d, steps %d (of a cosine: more than warmup), every %d", d->method, d->schedule, d->warmup, d->steps, d->every);
        return 0;
    }
    ok = wf__opt_option(A, "rate", &d->rate, d->method == WF_OPT_SGD ? 1e-2 : 1e-3, 0, most) && wf__opt_option(A, "beta1", &d->beta1, 0.9, -most, 1) &&
         wf__opt_option(A, "beta2", &d->beta2, 0.999, -most, 1) && wf__opt_option(A, "eps", &d->eps, 1e-8, 1e-30, most) && wf__opt_option(A, "decay", &d->decay, 0, 0, most) &&
         wf__opt_option(A, "clip", &d->clip, 0, 0, most) && wf__opt_option(A, "ema", &d->ema, 0, 0, 1) && wf__opt_option(A, "rate_end", &d->rate_end, 0, 0, most) &&
         wf__opt_option(A, "factor", &d->factor, 0.1, 0, most);
    if (d->beta1 < 0) d->beta1 = 0;
    if (d->beta2 < 0) d->beta2 = 0;
    return ok;
}

/* training: follow a schedule */
double wf_opt_rate(const wf_opt *o, int64_t step)
{
    double c, s;
    if (!o || step < 0) return 0;
    const wf_opt_desc *d = &o->d;
    if (d->rate_at) return d->rate_at(d->user, step);
    if (step < d->warmup) return d->rate * (double)(step + 1) / d->warmup;
    step -= d->warmup;
    if (d->schedule == WF_RATE_STEPS) return d->rate * wf__power(d->factor, step / d->every);
    if (d->schedule == WF_RATE_CONSTANT) return d->rate;
    if (step > d->steps - d->warmup) step = d->steps - d->warmup;
    wf__turn((double)step / (2.0 * (d->steps - d->warmup)), &c, &s);
    double share = 0.5 + 0.5 * c, range = d->rate - d->rate_end;
    return d->rate_end + range * share;
}

/* training: freeze and thaw */
static void wf__opt_begin(wf_opt *o) { o->report.code = WF_OK; o->report.text[0] = 0; }

static int wf__opt_mark(wf_opt *o, const char *prefix, int frozen)
{
    size_t n = prefix ? strlen(prefix) : 0;
    int found = 0;
    for (int i = 0; i < o->parts; i++)
        if (!n || !strncmp(o->params->entry[i].name, prefix, n)) { o->part[i].frozen = frozen; found++; }
    return found;
}

wf_result wf_opt_freeze(wf_opt *o, const char *prefix, int frozen)
{
    if (!o) return WF_ERROR_ARGUMENT;
    wf__opt_begin(o);
    return wf__opt_mark(o, prefix, frozen != 0) ? WF_OK : wf__report(&o->report, WF_ERROR_NAME, "optimiser: no parameter's name begins with %s", prefix);
}

/* training: allocate the memory of an optimiser */
static int wf__opt_memory(wf_opt *o)
{
    wf_arena *A = o->arena;
    size_t es = wf__type_size(o->params->type);
    o->part = (wf__part *)wf_alloc(A, (size_t)o->parts, sizeof *o->part);
    o->m = (char *)wf_alloc(A, o->size, es);
    o->v = o->d.method == WF_OPT_ADAM ? (char *)wf_alloc(A, o->size, es) : o->m;
    o->ema = o->d.ema > 0 ? (char *)wf_alloc(A, o->size, es) : NULL;
    o->chunk = (char *)wf_alloc(A, WF__CHUNK, es);
    return o->part && o->m && o->v && (o->ema || !(o->d.ema > 0)) && o->chunk;
}

/* training: make an optimiser */
static wf_opt *wf__opt_refuse(wf_arena *A, wf_result code, const char *format, const char *name) { wf__fail(A, code, format, name); return NULL; }

wf_opt *wf_opt_new(wf_arena *A, wf_params *P, const wf_opt_desc *desc)
{
    wf_opt_desc d;
    memset(&d, 0, sizeof d);
    if (desc) d = *desc;
    if (!P || !P->entries) return wf__opt_refuse(A, WF_ERROR_ARGUMENT, "optimiser: there are no parameters yet; make it after the graph", NULL);
    if (!wf__opt_settings(A, &d)) return NULL;
    wf_opt *o = (wf_opt *)wf_alloc(A, 1, sizeof *o);
    if (!o) return NULL;
    o->arena = A;
    o->params = P;
    o->d = d;
    o->d.only = NULL;
    o->parts = P->entries;
    o->size = P->size;
    o->kernels = wf__kernels_for(d.isa, P->type);
    if (!o->kernels) return wf__opt_refuse(A, WF_ERROR_UNSUPPORTED, "optimiser: this machine or build has no %s", wf_isa_name(d.isa));
    if (!wf__opt_memory(o)) return NULL;
    if (!d.only) return o;
    for (int i = 0; i < o->parts; i++) o->part[i].frozen = 1;
    return wf__opt_mark(o, d.only, 0) ? o : wf__opt_refuse(A, WF_ERROR_NAME, "optimiser: no parameter's name begins with %s", d.only);
}

/* training: sum squares (f32) */
static double wf__square_sum_f32(const float *g, size_t n)
{
    double lane[16] = { 0 };
    size_t whole = n & ~(size_t)15;
    for (size_t i = 0; i < whole; i += 16)
        for (size_t j = 0; j < 16; j++) { double x = (double)g[i + j], y = x * x; lane[j] += y; }
    for (size_t i = whole; i < n; i++) { double x = (double)g[i], y = x * x; lane[i - whole] += y; }
    for (size_t width = 8; width; width /= 2)
        for (size_t j = 0; j < width; j++) lane[j] += lane[j + width];
    return lane[0];
}

/* training: sum squares (f64) */
static double wf__square_sum_f64(const double *g, size_t n)
{
    double lane[16] = { 0 };
    size_t whole = n & ~(size_t)15;
    for (size_t i = 0; i < whole; i += 16)
        for (size_t j = 0; j < 16; j++) { double x = (double)g[i + j], y = x * x; lane[j] += y; }
    for (size_t i = whole; i < n; i++) { double x = (double)g[i], y = x * x; lane[i - whole] += y; }
    for (size_t width = 8; width; width /= 2)
        for (size_t j = 0; j < width; j++) lane[j] += lane[j + width];
    return lane[0];
}

/* training: name a bad gradient */
static wf_result wf__opt_blame(wf_opt *o, const wf_param_info *e, const void *grad)
{
    for (size_t i = 0; i < e->count; i++) {
        double g = wf__get(grad, o->params->type, e->offset + i);
        if (!wf__finite(g)) return wf__report(&o->report, WF_ERROR_NUMERIC, "optimiser: element %z of the gradient of %s is %g, after %I steps", i, e->name, g, o->steps);
    }
    return wf__report(&o->report, WF_ERROR_NUMERIC, "optimiser: the gradient of %s is too large to be squared, after %I steps", e->name, o->steps);
}

/* training: measure the gradient */
static wf_result wf__opt_measure(wf_opt *o, const void *grad)
{
    const wf_param_info *largest = o->params->entry;
    double total = 0, most = 0;
    for (int i = 0; i < o->parts; i++) {
        const wf_param_info *e = &o->params->entry[i];
        if (o->part[i].frozen) continue;
        double sum = o->params->type == WF_F64 ? wf__square_sum_f64((const double *)grad + e->offset, e->count) : wf__square_sum_f32((const float *)grad + e->offset, e->count);
        if (!wf__finite(sum)) return wf__opt_blame(o, e, grad);
        if (sum > most) { most = sum; largest = e; }
        total += sum;
    }
    if (!wf__finite(total)) return wf__opt_blame(o, largest, grad);
    o->norm = sqrt(total);
    o->factor = o->d.clip > 0 && o->norm + 1e-6 > o->d.clip ? o->d.clip / (o->norm + 1e-6) : 1;
    if (o->params->type == WF_F32 && most * o->factor * o->factor > 1e38) return wf__opt_blame(o, largest, grad);
    return WF_OK;
}

/* training: scale and add */
static void wf__scale_add(const wf_opt *o, char *y, double a, const char *x, double b, size_t n)
{
    const wf__kernels *k = o->kernels;
    const size_t es = wf__type_size(o->params->type), chunk = WF__CHUNK;
    double one[2];
    wf__put_value(&one[0], o->params->type, 0, a);
    wf__put_value(&one[1], o->params->type, 0, b);
    for (size_t i = 0; i < n; i += chunk, y += chunk * es, x += chunk * es) {
        size_t count = n - i < chunk ? n - i : chunk;
        k->binary_scalar[WF__MUL](o->chunk, x, &one[1], count);
        k->binary_scalar[WF__MUL](y, y, &one[0], count);
        k->binary[WF__ADD](y, y, o->chunk, count);
    }
}

/* training: move the average */
static void wf__opt_average(const wf_opt *o, const wf_param_info *e, int64_t steps)
{
    const size_t es = wf__type_size(o->params->type), chunk = WF__CHUNK;
    double w, weight = (1 - o->d.ema) / (1 - wf__power(o->d.ema, steps));
    char *p = o->params->data + e->offset * es, *y = o->ema + e->offset * es;
    wf__put_value(&w, o->params->type, 0, weight);
    for (size_t i = 0; i < e->count; i += chunk, p += chunk * es, y += chunk * es) {
        size_t count = e->count - i < chunk ? e->count - i : chunk;
        o->kernels->binary[WF__SUB](o->chunk, p, y, count);
        o->kernels->binary_scalar[WF__MUL](o->chunk, o->chunk, &w, count);
        o->kernels->binary[WF__ADD](y, y, o->chunk, count);
    }
}

/* training: move one parameter */
static void wf__opt_move(wf_opt *o, int i, const char *grad, double rate)
{
    const wf_param_info *e = &o->params->entry[i];
    const wf_opt_desc *d = &o->d;
    size_t at = e->offset * wf__type_size(o->params->type);
    char *p = o->params->data + at;
    int64_t k = ++o->part[i].steps;
    if (d->method == WF_OPT_ADAM) {
        double c[8] = { rate, d->beta1, d->beta2, d->eps, d->decay, 0, 0, o->factor };
        c[5] = 1 - wf__power(d->beta1, k);
        c[6] = 1 - wf__power(d->beta2, k);
        o->kernels->adam(p, grad + at, o->m + at, o->v + at, e->count, c);
    } else {
        wf__scale_add(o, o->m + at, d->beta1, grad + at, o->factor, e->count);
        wf__scale_add(o, p, 1 - rate * d->decay, o->m + at, -rate, e->count);
    }
    if (o->ema) wf__opt_average(o, e, k);
}

/* training: step */
wf_result wf_opt_step_grad(wf_opt *o, const void *grad)
{
    if (!o) return WF_ERROR_ARGUMENT;
    wf__opt_begin(o);
    if (!grad) return wf__report(&o->report, WF_ERROR_ARGUMENT, "optimiser: there is no gradient");
    if (o->params->size != o->size) return wf__report(&o->report, WF_ERROR_ARGUMENT, "optimiser: parameters were added after it was made");
    if (o->swapped) return wf__report(&o->report, WF_ERROR_ARGUMENT, "optimiser: the average is in the place of the parameters; swap it back before a step");
    double rate = wf_opt_rate(o, o->steps);
    if (!wf__finite(rate) || rate < 0) return wf__report(&o->report, WF_ERROR_ARGUMENT, "optimiser: the rate of step %I is %g", o->steps, rate);
    if (wf__opt_measure(o, grad) < 0) return o->report.code;
    for (int i = 0; i < o->parts; i++)
        if (!o->part[i].frozen) wf__opt_move(o, i, (const char *)grad, rate);
    o->steps++;
    return WF_OK;
}

/* training: step after a run */
wf_result wf_opt_step(wf_opt *o, wf_ws *ws)
{
    if (!o) return WF_ERROR_ARGUMENT;
    wf__opt_begin(o);
    if (!ws || ws->plan->graph->params != o->params || ws->grad_size != o->size)
        return wf__report(&o->report, WF_ERROR_ARGUMENT, "optimiser: the workspace has no gradient (grad_of) of these parameters");
    if (ws->report.code < 0) return wf__report(&o->report, ws->report.code, "optimiser: the run before failed: %s", ws->report.text);
    return wf_opt_step_grad(o, ws->grad);
}

/* training: exchange parameters and average */
wf_result wf_opt_swap(wf_opt *o)
{
    if (!o) return WF_ERROR_ARGUMENT;
    wf__opt_begin(o);
    if (!o->ema || o->params->size != o->size) return wf__report(&o->report, WF_ERROR_ARGUMENT, "optimiser: no average is kept, or parameters were added");
    size_t es = wf__type_size(o->params->type), room = WF__CHUNK * es;
    for (int i = 0; i < o->parts; i++) {
        const wf_param_info *e = &o->params->entry[i];
        size_t bytes = o->part[i].steps ? e->count * es : 0;
        for (size_t at = 0; at < bytes; at += room) {
            size_t n = bytes - at < room ? bytes - at : room;
            char *p = o->params->data + e->offset * es + at, *y = o->ema + e->offset * es + at;
            memcpy(o->chunk, p, n);
            memcpy(p, y, n);
            memcpy(y, o->chunk, n);
        }
    }
    o->swapped = !o->swapped;
    return WF_OK;
}

/* training: look inside and forget */
int64_t wf_opt_steps(const wf_opt *o) { return o ? o->steps : 0; }
double wf_opt_norm(const wf_opt *o) { return o ? o->norm : 0; }
const wf_report *wf_opt_report(const wf_opt *o) { return o ? &o->report : wf_arena_report(NULL); }

void wf_opt_restart(wf_opt *o)
{
    if (!o) return;
    size_t bytes = o->size * wf__type_size(o->params->type);
    if (o->swapped) (void)wf_opt_swap(o);
    for (int i = 0; i < o->parts; i++) o->part[i].steps = 0;
    memset(o->m, 0, bytes);
    memset(o->v, 0, bytes);
    if (o->ema) memset(o->ema, 0, bytes);
    o->steps = 0;
}

/* training: stop at one array */
enum { WF__MOVE_STORE, WF__MOVE_CHECK, WF__MOVE_COPY };
typedef struct wf__move { wf_arena *arena; wf_tensors *to; const wf_tensors *from; int mode; } wf__move;

static wf_result wf__move_store(const wf__move *w, const char *prefix, const char *name, const wf_param_info *e, void *data, int dtype)
{
    size_t n = strlen(prefix), shape[4];
    char *full = (char *)wf_alloc(w->to->arena, n + strlen(name) + 1, 1);
    if (!full) return WF_ERROR_MEMORY;
    memcpy(full, prefix, n);
    memcpy(full + n, name, strlen(name));
    for (int i = 0; e && i < e->nd; i++) shape[i] = (size_t)e->d[i];
    wf_array a = wf_array_of(data, dtype, e ? e->nd : 0, shape);
    return wf_tensors_add(w->to, full, &a);
}

/* training: find an array by two parts of its name */
static const wf_array *wf__move_find(const wf_tensors *t, const char *prefix, const char *name)
{
    size_t n = strlen(prefix);
    for (size_t i = 0; i < t->count; i++)
        if (!strncmp(t->entry[i].name, prefix, n) && !strcmp(t->entry[i].name + n, name)) return &t->entry[i].array;
    return NULL;
}

/* training: check one array */
static wf_result wf__move_check(const wf__move *w, const char *prefix, const char *name, const wf_param_info *e, const wf_array *a, int dtype)
{
    char here[64], there[128];
    int d[8], nd = e ? e->nd : 0, same;
    if (!a) return wf__fail(w->arena, WF_ERROR_NAME, "load: there is no %s%s in the file", prefix, name);
    same = a->nd == nd;
    for (int i = 0; i < a->nd; i++) {
        d[i] = a->shape[i] < 0x7FFFFFFF ? (int)a->shape[i] : 0x7FFFFFFF;
        if (same && d[i] != e->d[i]) same = 0;
    }
    if (!same) {
        wf__shape_text(here, sizeof here, nd, e ? e->d : d);
        wf__shape_text(there, sizeof there, a->nd, d);
        return wf__fail(w->arena, WF_ERROR_SHAPE, "load: %s%s is %s here and %s in the file", prefix, name, here, there);
    }
    if (dtype == WF_DTYPE_I64 && (a->dtype != dtype || wf__element(a, 0) < 0)) return wf__fail(w->arena, WF_ERROR_FORMAT, "load: %s%s in the file is not a number of steps", prefix, name);
    for (size_t i = 0; dtype == WF_DTYPE_F32 && i < a->count; i++) {
        double x = wf__element(a, i);
        if (wf__finite(x) && !wf__finite_f32((float)x)) return wf__fail(w->arena, WF_ERROR_NUMERIC, "load: element %z of %s%s is %g, too large for a float", i, prefix, name, x);
    }
    return WF_OK;
}

/* training: move one array */
static wf_result wf__move_one(const wf__move *w, const char *prefix, const char *name, const wf_param_info *e, void *data, int dtype)
{
    if (w->mode == WF__MOVE_STORE) return wf__move_store(w, prefix, name, e, data, dtype);
    const wf_array *a = wf__move_find(w->from, prefix, name);
    if (w->mode == WF__MOVE_CHECK) return wf__move_check(w, prefix, name, e, a, dtype);
    if (a->dtype == dtype) memcpy(data, a->data, a->count * wf_dtype_size(dtype));
    else for (size_t i = 0; i < a->count; i++) wf__put_value(data, dtype == WF_DTYPE_F64 ? WF_F64 : WF_F32, i, wf__element(a, i));
    return WF_OK;
}

/* training: walk along everything learned */
static wf_result wf__move_all(const wf__move *w, wf_params *P, wf_opt *o)
{
    size_t es = wf__type_size(P->type);
    int dtype = P->type == WF_F64 ? WF_DTYPE_F64 : WF_DTYPE_F32, adam = o && o->d.method == WF_OPT_ADAM;
    wf_result r = o ? wf__move_one(w, "opt.", "steps", NULL, &o->steps, WF_DTYPE_I64) : WF_OK;
    for (int i = 0; r == WF_OK && i < P->entries; i++) {
        const wf_param_info *e = &P->entry[i];
        size_t at = e->offset * es;
        r = wf__move_one(w, "", e->name, e, P->data + at, dtype);
        if (r == WF_OK && o) r = wf__move_one(w, "opt.steps/", e->name, NULL, &o->part[i].steps, WF_DTYPE_I64);
        if (r == WF_OK && o) r = wf__move_one(w, adam ? "opt.adam.m/" : "opt.sgd.m/", e->name, e, o->m + at, dtype);
        if (r == WF_OK && adam) r = wf__move_one(w, "opt.adam.v/", e->name, e, o->v + at, dtype);
        if (r == WF_OK && o && o->ema) r = wf__move_one(w, "opt.ema/", e->name, e, o->ema + at, dtype);
    }
    return r;
}

static wf_result wf__move_in(wf_arena *A, wf_params *P, wf_opt *o, wf_tensors *to, const wf_tensors *from)
{
    wf__move w = { A, to, from, to ? WF__MOVE_STORE : WF__MOVE_CHECK };
    if (o && (o->swapped || P->size != o->size)) return wf__fail(A, WF_ERROR_ARGUMENT, "optimiser: the average is swapped in, or parameters were added: no checkpoint");
    wf_result r = wf__move_all(&w, P, o);
    if (r != WF_OK || to) return r;
    w.mode = WF__MOVE_COPY;
    return wf__move_all(&w, P, o);
}

/* training: store and take */
wf_result wf_params_store(wf_params *P, wf_tensors *t) { return P && t ? wf__move_in(t->arena, P, NULL, t, NULL) : WF_ERROR_ARGUMENT; }
wf_result wf_params_take(wf_params *P, const wf_tensors *t) { return P && t ? wf__move_in(P->arena, P, NULL, NULL, t) : WF_ERROR_ARGUMENT; }
wf_result wf_opt_store(wf_opt *o, wf_tensors *t) { return o && t ? wf__move_in(t->arena, o->params, o, t, NULL) : WF_ERROR_ARGUMENT; }
wf_result wf_opt_take(wf_opt *o, const wf_tensors *t) { return o && t ? wf__move_in(o->arena, o->params, o, NULL, t) : WF_ERROR_ARGUMENT; }

/* training: save and load */
#ifndef WF_NO_STDIO
static wf_result wf__checkpoint_save(wf_arena *A, wf_params *P, wf_opt *o, const char *path, const wf_tensor_note *notes, int count)
{
    wf_mark mark = wf_arena_mark(A);
    wf_tensors *t = wf_tensors_new(A);
    wf_result r = t ? wf__move_in(A, P, o, t, NULL) : WF_ERROR_MEMORY;
    for (int i = 0; r == WF_OK && i < count; i++) r = wf_tensors_note(t, notes[i].key, notes[i].value);
    if (r == WF_OK) r = wf_tensors_save(t, path);
    wf_arena_reset(A, mark);
    return r;
}

static wf_result wf__checkpoint_load(wf_arena *A, wf_params *P, wf_opt *o, const char *path)
{
    wf_mark mark = wf_arena_mark(A);
    const wf_tensors *t = wf_tensors_read(A, path);
    wf_result r = t ? wf__move_in(A, P, o, NULL, t) : A->report.code;
    wf_arena_reset(A, mark);
    return r;
}

wf_result wf_params_save(wf_params *P, const char *path, const wf_tensor_note *notes, int count) { return P ? wf__checkpoint_save(P->arena, P, NULL, path, notes, count) : WF_ERROR_ARGUMENT; }
wf_result wf_params_load(wf_params *P, const char *path) { return P ? wf__checkpoint_load(P->arena, P, NULL, path) : WF_ERROR_ARGUMENT; }
wf_result wf_opt_save(wf_opt *o, const char *path, const wf_tensor_note *notes, int count) { return o ? wf__checkpoint_save(o->arena, o->params, o, path, notes, count) : WF_ERROR_ARGUMENT; }
wf_result wf_opt_load(wf_opt *o, const char *path) { return o ? wf__checkpoint_load(o->arena, o->params, o, path) : WF_ERROR_ARGUMENT; }
#endif

/* training: define the loop */
enum { WF__PURPOSE_SHUFFLE = 252 };
typedef struct wf__column { char *batch; size_t row; } wf__column; /* bytes of a row; 0: not cut into minibatches */

typedef struct wf__fit {
    wf_opt *o;
    wf_ws *ws;
    const wf_fit_desc *d;
    wf_fit_report *r;
    size_t batches;
    int64_t total, every, epoch; /* epoch: the one that `order` belongs to */
    wf_feed *feed, *check;       /* the inputs, and the loss behind them */
    wf__column *column;
    int *order, bad, kept;
    char *best;
    double loss;                 /* a float or a double */
} wf__fit;

/* training: check what is to be fitted */
static wf_result wf__fit_begin(wf__fit *f)
{
    const wf_fit_desc *d = f->d;
    wf_report *report = &f->o->report;
    if (!d->samples || (d->check && !d->check_samples)) return wf__report(report, WF_ERROR_DATA, "fit: zero samples");
    if (d->samples > 0x7FFFFFFF) return wf__report(report, WF_ERROR_LIMIT, "fit: %z samples are too many", d->samples);
    if ((d->steps <= 0 && d->epochs <= 0) || d->steps < 0 || d->epochs < 0 || d->feeds < 0 || d->check_feeds < 0 || (d->feeds && !d->data) || (d->check_feeds && !d->check_data))
        return wf__report(report, WF_ERROR_ARGUMENT, "fit: %I steps, %d epochs, %d and %d feeds, or no data", d->steps, d->epochs, d->feeds, d->check_feeds);
    for (int i = 0; i < 2; i++) {
        const wf_plan *p = i ? d->check ? d->check->plan : NULL : f->ws->plan;
        if (p && (!p->outs || p->out[0].space != WF__SHARED || p->out[0].size != 1)) return wf__report(report, WF_ERROR_SHAPE, "fit: the first output of a plan must be its loss, one shared number");
    }
    size_t batch = d->batch ? d->batch : 256;
    f->batches = d->samples / batch + (d->samples % batch != 0);
    int64_t all = d->epochs * (int64_t)f->batches; /* < 2^62 */
    f->total = d->steps && (!all || d->steps < all) ? d->steps : all;
    f->every = d->check_every > 0 ? d->check_every : (int64_t)f->batches;
    f->epoch = -1;
    return WF_OK;
}

/* training: measure a row and cut a piece */
static char *wf__fit_cut(char *base, size_t *at, size_t bytes)
{
    char *piece = base ? base + *at : NULL;
    *at += wf__round_up(bytes);
    return piece;
}

static size_t wf__fit_row(const wf_plan *p, int node)
{
    for (int i = 0; i < p->ins; i++)
        if (p->in[i].node == node && p->in[i].space != WF__SHARED) return p->in[i].size * wf__type_size(p->type);
    return 0;
}

/* training: lay out the memory of the loop */
static size_t wf__fit_memory(wf__fit *f, char *base)
{
    const wf_fit_desc *d = f->d;
    const wf_params *P = f->o->params;
    size_t at = 0, most = (d->samples + f->batches - 1) / f->batches;
    f->feed = (wf_feed *)(void *)wf__fit_cut(base, &at, ((size_t)d->feeds + 1) * sizeof *f->feed);
    f->check = (wf_feed *)(void *)wf__fit_cut(base, &at, ((size_t)d->check_feeds + 1) * sizeof *f->check);
    f->column = (wf__column *)(void *)wf__fit_cut(base, &at, ((size_t)d->feeds + 1) * sizeof *f->column);
    f->order = (int *)(void *)wf__fit_cut(base, &at, f->batches > 1 ? d->samples * sizeof(int) : 0);
    f->best = wf__fit_cut(base, &at, d->check ? P->size * wf__type_size(P->type) : 0);
    for (int i = 0; i < d->feeds; i++) {
        size_t row = f->batches > 1 ? wf__fit_row(f->ws->plan, d->data[i].node.id) : 0;
        wf__column c = { wf__fit_cut(base, &at, most * row), row };
        if (!base) continue;
        f->column[i] = c;
        f->feed[i] = row ? wf_in(d->data[i].node, c.batch, 0) : d->data[i];
    }
    return at;
}

/* training: prepare the loop */
static wf_feed wf__fit_loss(const wf_plan *p, void *loss)
{
    wf_t t = { p->graph, p->out[0].node };
    return wf_out(t, loss, 0);
}

static wf_result wf__fit_prepare(wf__fit *f)
{
    wf_opt *o = f->o;
    const wf_fit_desc *d = f->d;
    size_t bytes = wf__fit_memory(f, NULL);
    if (bytes > o->room_bytes) {
        char *room = (char *)wf_alloc(o->arena, bytes, 1);
        if (!room) return wf__report(&o->report, WF_ERROR_MEMORY, "fit: no room for %z bytes", bytes);
        o->room = room;
        o->room_bytes = bytes;
    }
    (void)wf__fit_memory(f, o->room);
    f->feed[d->feeds] = wf__fit_loss(f->ws->plan, &f->loss);
    if (!d->check) return WF_OK;
    if (d->check_feeds) memcpy(f->check, d->check_data, (size_t)d->check_feeds * sizeof *f->check);
    f->check[d->check_feeds] = wf__fit_loss(d->check->plan, &f->loss);
    return WF_OK;
}

/* training: gather a minibatch */
static void wf__fit_shuffle(wf__fit *f, int64_t epoch)
{
    wf_rng rng;
    wf__rng_start(&rng, f->d->seed, (uint32_t)epoch, WF__PURPOSE_SHUFFLE);
    for (size_t i = 0; i < f->d->samples; i++) f->order[i] = (int)i;
    wf_rng_shuffle(&rng, f->order, f->d->samples);
    f->epoch = epoch;
}

static size_t wf__fit_gather(wf__fit *f, int64_t step)
{
    const wf_fit_desc *d = f->d;
    uint64_t n = d->samples, b = (uint64_t)step % f->batches;
    if (f->batches == 1) return d->samples;
    if (step / (int64_t)f->batches != f->epoch) wf__fit_shuffle(f, step / (int64_t)f->batches);
    size_t from = (size_t)(n * b / f->batches), to = (size_t)(n * (b + 1) / f->batches), es = wf__type_size(f->ws->plan->type);
    for (int i = 0; i < d->feeds; i++) {
        const wf__column *c = &f->column[i];
        size_t stride = d->data[i].stride ? d->data[i].stride * es : c->row;
        for (size_t s = from; c->row && s < to; s++) memcpy(c->batch + (s - from) * c->row, (const char *)d->data[i].in + (size_t)f->order[s] * stride, c->row);
    }
    return to - from;
}

/* training: make one step of the loop */
static wf_result wf__fit_step(wf__fit *f)
{
    wf_opt *o = f->o;
    int64_t k = o->steps;
    size_t n = wf__fit_gather(f, k);
    wf_ws_noise(f->ws, f->d->seed, (uint32_t)k);
    wf_result r = wf_run(f->ws->plan, f->ws, f->feed, f->d->feeds + 1, n);
    if (r < 0) return wf__report(&o->report, r, "fit: step %I: %s", k, f->ws->report.text);
    r = wf_opt_step(o, f->ws);
    if (r < 0) return r;
    f->r->loss = wf__get(&f->loss, f->ws->plan->type, 0);
    f->r->steps = o->steps;
    f->r->epochs = o->steps / (int64_t)f->batches;
    if (f->d->check || !(f->r->loss < f->r->best)) return WF_OK;
    f->r->best = f->r->loss;
    f->r->best_step = k;
    return WF_OK;
}

/* training: validate */
static wf_result wf__fit_check(wf__fit *f)
{
    wf_opt *o = f->o;
    const wf_fit_desc *d = f->d;
    if (o->ema) (void)wf_opt_swap(o);
    wf_result r = wf_run(d->check->plan, d->check, f->check, d->check_feeds + 1, d->check_samples);
    double loss = r < 0 ? 0 : wf__get(&f->loss, d->check->plan->type, 0);
    f->bad++;
    if (r == WF_OK && loss < f->r->best) {
        memcpy(f->best, o->params->data, o->size * wf__type_size(o->params->type));
        f->r->best = loss;
        f->r->best_step = o->steps;
        f->bad = 0;
        f->kept = 1;
    }
    if (o->ema) (void)wf_opt_swap(o);
    f->r->stopped = d->patience > 0 && f->bad >= d->patience;
    return r < 0 && r != WF_ERROR_NUMERIC ? wf__report(&o->report, r, "fit: validation: %s", d->check->report.text) : WF_OK;
}

/* training: fit */
wf_result wf_fit(wf_opt *o, wf_ws *ws, const wf_fit_desc *d, wf_fit_report *report)
{
    wf__fit f;
    wf_fit_report own;
    if (!o || !ws || !d) return WF_ERROR_ARGUMENT;
    memset(&f, 0, sizeof f);
    f.o = o;
    f.ws = ws;
    f.d = d;
    f.r = report ? report : &own;
    memset(f.r, 0, sizeof *f.r);
    f.r->best = HUGE_VAL;
    f.r->steps = o->steps;
    wf__opt_begin(o);
    wf_result r = wf__fit_begin(&f);
    if (r == WF_OK) r = wf__fit_prepare(&f);
    while (r == WF_OK && o->steps < f.total && !f.r->stopped) {
        r = wf__fit_step(&f);
        if (r == WF_OK && d->check && (o->steps % f.every == 0 || o->steps == f.total)) r = wf__fit_check(&f);
        if (r == WF_OK && d->progress && d->progress(d->user, "train", (double)o->steps, (double)f.total)) r = WF_CANCELLED;
    }
    if (f.kept && r != WF_CANCELLED) memcpy(o->params->data, f.best, o->size * wf__type_size(o->params->type));
    return r;
}

/* ---- Looking inside ---- */
/* looking inside: write pieces */
static void wf__emit_format(wf__sink *s, const char *format, ...)
{
    char text[200];
    va_list list;
    va_start(list, format);
    wf__format_list(text, sizeof text, format, list);
    va_end(list);
    wf__emit_text(s, text);
}

static void wf__emit_padded(wf__sink *s, const char *text, size_t width)
{
    wf__emit_text(s, text);
    for (size_t n = strlen(text); n < width; n++) wf__emit_text(s, " ");
}

static void wf__emit_number(wf__sink *s, double value)
{
    char text[32];
    wf_number_write(value, text);
    wf__emit_text(s, text);
}

static void wf__emit_indent(wf__sink *s, int depth)
{
    for (int i = 0; i < depth; i++) wf__emit_text(s, "    ");
}

/* looking inside: mark what is needed */
static void wf__mark_needed(const wf_graph *g, uint8_t *need)
{
    for (int id = g->nodes - 1; id > 0; id--)
        for (int k = 0; need[id] && k < g->node[id].args; k++) need[wf__arg(g, id, k)] = 1;
}

static uint8_t *wf__needed(const wf_graph *g, const wf_t *out, int n)
{
    uint8_t *need = (uint8_t *)wf_alloc(g->arena, (size_t)g->nodes, 1);
    if (!need) return NULL;
    if (n <= 0) memset(need, 1, (size_t)g->nodes);
    for (int i = 0; i < n; i++) if (out[i].graph == g && out[i].id > 0 && out[i].id < g->nodes) need[out[i].id] = 1;
    wf__mark_needed(g, need);
    return need;
}

static uint8_t *wf__needed_inside(const wf_graph *g, const wf_loop *l, const uint8_t *need)
{
    uint8_t *inside = (uint8_t *)wf_alloc(g->arena, (size_t)l->body->nodes, 1);
    if (!inside) return NULL;
    for (int i = 0; i < l->ports; i++)
        if (l->port[i].kind == WF__CARRY) inside[l->port[i].inner] = inside[l->port[i].next] = 1;
    for (int id = l->node + 1; id < g->nodes; id++)
        if (need[id] && g->node[id].op == WF__OP_RESULT && wf__arg(g, id, 0) == l->node) inside[g->node[id].at[1]] = 1;
    wf__mark_needed(l->body, inside);
    return inside;
}

/* looking inside: describe a source */
static void wf__describe_port(wf__sink *s, int port, const wf_loop *l)
{
    static const char *const kinds[] = { "carry from %%%d, next %%%d", "row of %%%d", "constant %%%d", "step" };
    if (!l || port >= l->ports) { wf__emit_format(s, "port %d", port); return; }
    wf__emit_format(s, kinds[l->port[port].kind], l->port[port].outer, l->port[port].next);
}

static void wf__describe_source(wf__sink *s, const wf_graph *g, const wf__node *n, const wf_loop *l)
{
    wf__emit_text(s, " ");
    if (n->op == WF__OP_INPUT && n->at[0] < 0) wf__describe_port(s, -1 - n->at[0], l);
    else if (n->op == WF__OP_INPUT) wf__emit_text(s, g->source[n->at[0]].name);
    else if (n->op == WF__OP_PARAM) wf__emit_text(s, g->params->entry[n->at[0]].name);
    else if (n->op == WF__OP_CONST) wf__emit_number(s, n->value);
    else if (n->op == WF__OP_RANDOM) wf__emit_format(s, "%s purpose %d", n->at[0] ? "normal" : "uniform", n->at[1]);
    else if (n->op == WF__OP_ARRAY)
        for (size_t i = 0, size = wf__node_size(n); i < size; i++) {
            if (i == 6) { wf__emit_text(s, " ..."); break; }
            if (i) wf__emit_text(s, " ");
            wf__emit_number(s, g->constant[(size_t)n->at[0] + i]);
        }
}

/* looking inside: describe attributes */
static void wf__describe_rest(wf__sink *s, const wf_graph *g, const wf__node *n)
{
    static const char *const results[] = { "final", "stack", "total" };
    const int32_t *at = n->at;
    switch (n->op) {
    case WF__OP_SUM: case WF__OP_MAX_OVER: case WF__OP_SOFTMAX: case WF__OP_CONCAT: wf__emit_format(s, " axis %d", at[0]); break;
    case WF__OP_CUMSUM: wf__emit_format(s, " axis %d%s%s", at[0], at[1] & 1 ? " exclusive" : "", at[1] & 2 ? " reverse" : ""); break;
    case WF__OP_SLICE: case WF__OP_PAD: wf__emit_format(s, " axis %d start %d step %d", at[0], at[1], at[2]); break;
    case WF__OP_PERMUTE:
        wf__emit_text(s, " order");
        for (int i = 0; i < n->nd; i++) wf__emit_format(s, " %d", at[i]);
        break;
    case WF__OP_TRISOLVE: wf__emit_format(s, " %s%s%s", at[0] ? "upper" : "lower", at[1] ? " transposed" : "", at[2] ? " unit" : ""); break;
    case WF__OP_SCAN: wf__emit_format(s, " loop %d: %d steps%s", at[0], g->loop[at[0]]->steps, g->loop[at[0]]->backwards ? " backwards" : ""); break;
    case WF__OP_RESULT: wf__emit_format(s, " %s %%%d", results[at[0]], at[1]); break;
    case WF__OP_CUSTOM:
        wf__emit_text(s, " ");
        wf__emit_text(s, g->custom[at[0]]->op.name);
        if (g->custom[at[0]]->which >= 0) wf__emit_format(s, ": cotangent of argument %d", g->custom[at[0]]->which);
        break;
    default: break;
    }
}

/* looking inside: write a node */
static void wf__dump_node(wf__sink *s, const wf_graph *g, int id, int depth, const wf_loop *l)
{
    const wf__node *n = &g->node[id];
    char text[64];
    wf__emit_indent(s, depth);
    wf__format(text, sizeof text, "%%%d", id);
    wf__emit_padded(s, text, 6);
    wf__emit_text(s, n->space == WF__BATCH ? "B " : "S ");
    wf__shape_text(text, sizeof text, n->nd, n->d);
    wf__emit_padded(s, text, 10);
    wf__emit_text(s, " ");
    wf__emit_text(s, wf__op_name[n->op]);
    for (int k = 0; k < n->args; k++) wf__emit_format(s, " %%%d%s", wf__arg(g, id, k), n->op == WF__OP_MATMUL && n->at[k] ? "'" : "");
    if (!n->args && n->op != WF__OP_COUNT && n->op != WF__OP_SCAN) wf__describe_source(s, g, n, l);
    wf__describe_rest(s, g, n);
    wf__emit_text(s, "\n");
}

static wf_result wf__dump_nodes(wf__sink *s, const wf_graph *g, const uint8_t *need, int depth, const wf_loop *around)
{
    for (int id = 1; id < g->nodes; id++) {
        if (!need[id]) continue;
        wf__dump_node(s, g, id, depth, around);
        if (g->node[id].op != WF__OP_SCAN) continue;
        const wf_loop *l = g->loop[g->node[id].at[0]];
        const uint8_t *inside = wf__needed_inside(g, l, need);
        if (!inside) return g->arena->report.code;
        wf_result r = wf__dump_nodes(s, l->body, inside, depth + 1, l);
        if (r < 0) return r;
    }
    return WF_OK;
}

/* looking inside: write a graph */
typedef wf_result (*wf__draw_fn)(wf__sink *s, const wf_graph *g, const uint8_t *need);

static wf_result wf__draw(const wf_graph *g, const wf_t *out, int n, wf_write_fn write, void *user, wf__draw_fn draw)
{
    if (!g || !write) return WF_ERROR_ARGUMENT;
    wf__sink sink = { write, user, 0 };
    const uint8_t *need = wf__needed(g, out, n);
    wf_result r = need ? draw(&sink, g, need) : g->arena->report.code;
    return r < 0 ? r : sink.failed ? WF_ERROR_IO : WF_OK;
}

static wf_result wf__dump_graph(wf__sink *s, const wf_graph *g, const uint8_t *need) { return wf__dump_nodes(s, g, need, 0, NULL); }

wf_result wf_graph_dump(const wf_graph *g, const wf_t *out, int n, wf_write_fn write, void *user) { return wf__draw(g, out, n, write, user, wf__dump_graph); }

/* looking inside: draw a node */
typedef struct wf__path { const struct wf__path *up; const wf_loop *loop; } wf__path; /* the loops around a value */

static void wf__dot_name(wf__sink *s, const wf__path *path, int id)
{
    wf__emit_text(s, "v");
    for (; path; path = path->up) wf__emit_format(s, "%d_", path->loop->node);
    wf__emit_format(s, "n%d", id);
}

static void wf__dot_node(wf__sink *s, const wf_graph *g, int id, const wf__path *path)
{
    const wf__node *n = &g->node[id];
    char text[160], *at = text;
    wf_memory_writer w = { NULL, NULL, 0, sizeof text - 1 };
    wf__sink label = { wf_memory_write, NULL, 0 };
    w.data = at;
    label.user = &w;
    wf__emit_format(&label, "%d %s", id, wf__op_name[n->op]);
    if (!n->args && n->op != WF__OP_COUNT && n->op != WF__OP_SCAN) wf__describe_source(&label, g, n, path ? path->loop : NULL);
    wf__describe_rest(&label, g, n);
    text[w.size] = 0;
    wf__dot_name(s, path, id);
    wf__emit_json(s, " [label=", text);
    wf__shape_text(text, sizeof text, n->nd, n->d);
    wf__emit_json(s, ", xlabel=", text);
    wf__emit_text(s, n->space == WF__BATCH ? ", style=filled, fillcolor=\"#e0e0e0\"];\n" : "];\n");
}

/* looking inside: draw edges */
static void wf__dot_edge(wf__sink *s, const wf__path *from, int a, const wf__path *to, int b, const char *style)
{
    wf__dot_name(s, from, a);
    wf__emit_text(s, " -> ");
    wf__dot_name(s, to, b);
    wf__emit_text(s, style);
}

static void wf__dot_ports(wf__sink *s, const wf_loop *l, const uint8_t *inside, const wf__path *outer, const wf__path *inner)
{
    for (int i = 0; i < l->ports; i++) {
        const wf__port *p = &l->port[i];
        if (!inside[p->inner]) continue;
        if (p->outer) wf__dot_edge(s, outer, p->outer, inner, p->inner, " [style=dashed];\n");
        if (p->kind == WF__CARRY) wf__dot_edge(s, inner, p->next, inner, p->inner, " [style=bold, constraint=false];\n");
    }
}

static wf_result wf__dot_nodes(wf__sink *s, const wf_graph *g, const uint8_t *need, const wf__path *path)
{
    for (int id = 1; id < g->nodes; id++) {
        if (!need[id]) continue;
        wf__dot_node(s, g, id, path);
        for (int k = 0; k < g->node[id].args; k++) wf__dot_edge(s, path, wf__arg(g, id, k), path, id, ";\n");
        if (g->node[id].op != WF__OP_SCAN) continue;
        wf__path inner = { path, g->loop[g->node[id].at[0]] };
        const uint8_t *inside = wf__needed_inside(g, inner.loop, need);
        if (!inside) return g->arena->report.code;
        wf__emit_text(s, "subgraph \"cluster ");
        wf__dot_name(s, path, id);
        wf__emit_format(s, "\" { label=\"loop %d: %d steps\";\n", inner.loop->index, inner.loop->steps);
        wf_result r = wf__dot_nodes(s, inner.loop->body, inside, &inner);
        if (r < 0) return r;
        wf__emit_text(s, "}\n");
        wf__dot_ports(s, inner.loop, inside, path, &inner);
    }
    return WF_OK;
}

static wf_result wf__dot_graph(wf__sink *s, const wf_graph *g, const uint8_t *need)
{
    wf__emit_text(s, "digraph weightflow {\nnode [shape=box, fontname=\"monospace\"];\n");
    wf_result r = wf__dot_nodes(s, g, need, NULL);
    wf__emit_text(s, "}\n");
    return r;
}

wf_result wf_graph_dot(const wf_graph *g, const wf_t *out, int n, wf_write_fn write, void *user) { return wf__draw(g, out, n, write, user, wf__dot_graph); }

/* looking inside: write a place */
static void wf__dump_ref(wf__sink *s, wf__ref r)
{
    static const char *const bases[] = { " t", " s", " p", " c", " a" };
    if (r.base < WF__BASE_FIRST) wf__emit_text(s, bases[r.base]);
    else wf__emit_format(s, " x%d", r.base - WF__BASE_FIRST); /* of a loop: comes in or goes out */
    if (r.at) wf__emit_format(s, "+%I", r.at);
}

static void wf__dump_operand(wf__sink *s, const wf__operand *o)
{
    if (o->kind == WF__REGISTER) { wf__emit_format(s, " r%d", o->reg); return; }
    wf__dump_ref(s, o->ref);
    if (o->kind == WF__SCALAR) wf__emit_text(s, ".");
    if (o->kind == WF__PATTERN) wf__emit_format(s, "/%I%%%I", o->inner, o->mid);
}

/* looking inside: write a group */
static void wf__dump_group(wf__sink *s, const wf_plan *p, const wf__step *t)
{
    static const char *const one[] = { "neg", "recip", "exp", "expm1", "log", "log1p", "sqrt", "tanh", "sigmoid", "softplus", "erf", "sin", "cos", "abs", "sign", "floor", "round", "relu", "copy", "square" };
    static const char *const two[] = { "add", "sub", "mul", "div", "max", "min", "lt", "le", "eq", "atan2", "dtanh", "dsigmoid", "rsub", "rdiv" };
    const wf__operand *o = p->operand + t->first;
    wf__emit_format(s, "group of %I:", t->n[0]);
    for (int64_t i = 0; i < t->n[2]; i++) {
        const wf__micro *m = &p->micro[t->n[1] + i];
        if (i) wf__emit_text(s, ";");
        wf__dump_operand(s, &o[m->y]);
        wf__emit_format(s, " = %s", m->form == WF__FORM_UNARY ? one[m->op] : m->form == WF__FORM_SELECT ? "select" : two[m->op]);
        wf__dump_operand(s, &o[m->a]);
        if (m->form != WF__FORM_UNARY) wf__dump_operand(s, &o[m->b]);
        if (m->form == WF__FORM_SELECT) wf__dump_operand(s, &o[m->c]);
    }
}

/* looking inside: write a plain step */
static void wf__dump_plain(wf__sink *s, const wf__step *t)
{
    static const struct { const char *name; uint8_t refs, sizes; } form[] = { /* refs: 1 out, 2 a, 4 b, 8 c */
        { "group", 0, 0 }, { "gemm", 7, 3 }, { "gemm_nt", 7, 4 }, { "lanes_mm", 7, 4 }, { "copy", 3, 4 }, { "zero", 1, 1 }, { "reduce", 3, 3 }, { "cumsum", 3, 3 }, { "softmax", 3, 3 },
        { "take", 7, 0 }, { "scatter", 7, 0 }, { "slow", 3, 0 }, { "input", 1, 1 }, { "output", 2, 1 }, { "random", 1, 1 }, { "sum_lanes", 2, 3 }, { "sum_nt", 6, 3 }, { "sum_add", 2, 1 },
        { "partial", 3, 1 }, { "count", 1, 0 }, { "loop", 0, 0 }, { "custom", 1, 0 }, { "finish", 1, 0 } };
    wf__emit_text(s, form[t->code].name);
    for (int i = 0; i < form[t->code].sizes; i++) wf__emit_format(s, i ? " x %I" : " %I", t->n[i]);
    if (t->code == WF__STEP_COPY && t->first > 1) wf__emit_format(s, " x %d", t->first);
    wf__emit_text(s, ":");
    if (form[t->code].refs & 1) { wf__dump_ref(s, t->out); wf__emit_text(s, form[t->code].refs & 6 ? " =" : ""); }
    if (form[t->code].refs & 2) wf__dump_ref(s, t->a);
    if (form[t->code].refs & 4) wf__dump_ref(s, t->b);
    if (t->code == WF__STEP_GEMM && t->flags & 1) wf__emit_text(s, ", added");
    if (t->code == WF__STEP_GEMM && t->flags & 2) { wf__emit_text(s, ", bias"); wf__dump_ref(s, t->c); }
    if (t->code == WF__STEP_INPUT || t->code == WF__STEP_OUTPUT || t->code == WF__STEP_FINISH) wf__emit_format(s, " number %d", t->number);
    if (t->code == WF__STEP_SUM_LANES || t->code == WF__STEP_SUM_NT || t->code == WF__STEP_SUM_ADD) wf__emit_format(s, " into sum %I", t->n[3]);
}

/* looking inside: write steps */
static void wf__dump_code(wf__sink *s, const wf_plan *p, const wf__code *code, const wf_graph *g, int depth);

static void wf__dump_loop(wf__sink *s, const wf_plan *p, const wf__loop_plan *lp, const wf_graph *body, int depth)
{
    static const char *const kinds[] = { "carry", "rows", "constant", "step", "next", "final", "stack", "total" };
    wf__emit_format(s, "loop of %d steps%s, %z bytes at", lp->steps, lp->backwards ? " backwards" : "", lp->code.tile_bytes);
    wf__dump_ref(s, lp->scratch);
    wf__emit_text(s, "\n");
    for (int i = 0; i < lp->binds; i++) {
        const wf__bind *b = &lp->bind[i];
        wf__emit_indent(s, depth + 1);
        wf__emit_format(s, "%s of %z bytes:", kinds[b->kind], b->bytes);
        if (b->kind != WF__BIND_STEP) wf__dump_ref(s, b->outer);
        if (b->kind == WF__BIND_ROWS || b->kind == WF__BIND_FIXED || b->kind == WF__BIND_STACK || b->kind == WF__BIND_TOTAL) wf__emit_format(s, " is x%d", b->base - WF__BASE_FIRST);
        else { wf__emit_text(s, b->kind == WF__BIND_CARRY ? " to" : b->kind == WF__BIND_STEP ? "" : " from"); wf__dump_ref(s, b->inner); }
        wf__emit_text(s, "\n");
    }
    wf__dump_code(s, p, &lp->code, body, depth + 1);
}

static void wf__dump_code(wf__sink *s, const wf_plan *p, const wf__code *code, const wf_graph *g, int depth)
{
    for (int i = 0; i < code->steps; i++) {
        const wf__step *t = &code->step[i];
        int op = t->node > 0 ? g->node[t->node].op : 0;
        wf__emit_indent(s, depth);
        if (t->code == WF__STEP_LOOP) { wf__dump_loop(s, p, p->loop[t->number], g->loop[g->node[t->node].at[0]]->body, depth); continue; }
        if (t->code == WF__STEP_GROUP) wf__dump_group(s, p, t);
        else wf__dump_plain(s, t);
        if (t->code == WF__STEP_GEMM && t->act) wf__emit_text(s, ", and its activation");
        if (op && t->code != WF__STEP_GROUP) wf__emit_format(s, " (%%%d %s)", t->node, wf__op_name[op]);
        wf__emit_text(s, "\n");
    }
}

/* looking inside: write a plan */
static void wf__dump_places(wf__sink *s, const wf_plan *p)
{
    const wf_graph *g = p->graph;
    for (int i = 0; i < p->ins; i++) {
        wf__emit_format(s, "in %d: %%%d %s of %z, ", i, p->in[i].node, p->in[i].space == WF__BATCH ? "B" : "S", p->in[i].size);
        wf__emit_text(s, g->source[g->node[p->in[i].node].at[0]].name);
        wf__emit_text(s, "\n");
    }
    for (int i = 0; i < p->outs; i++) wf__emit_format(s, "out %d: %%%d %s of %z\n", i, p->out[i].node, p->out[i].space == WF__BATCH ? "B" : "S", p->out[i].size);
    for (int i = 0; i < p->grads; i++) wf__emit_format(s, "gradient %d: %%%d of %z, at %d\n", i, p->grad[i].node, p->grad[i].size, p->grad[i].space);
}

wf_result wf_plan_dump(const wf_plan *p, wf_write_fn write, void *user)
{
    if (!p || !write) return WF_ERROR_ARGUMENT;
    wf__sink s = { write, user, 0 };
    wf__emit_format(&s, "plan %s, %d lanes, %d slots, %d phases, %d steps, kernels ", p->type == WF_F64 ? "f64" : "f32", p->tile, p->slots, p->phases, p->total_steps);
    wf__emit_text(&s, p->kernels->name);
    wf__emit_format(&s, "\nbytes: tile %z, shared %z, constants %z, registers %d; sums of a slot: %z %s and %z f64\n", p->tile_bytes, p->shared_bytes, p->constant_bytes, p->registers,
                    p->real_sums, p->type == WF_F64 ? "f64" : "f32", p->double_sums);
    wf__dump_places(&s, p);
    for (int k = 0; k < p->phases; k++) {
        wf__emit_format(&s, "phase %d, shared: %d steps\n", k, p->phase[k].shared.steps);
        wf__dump_code(&s, p, &p->phase[k].shared, p->graph, 1);
        wf__emit_format(&s, "phase %d, tiles: %d steps\n", k, p->phase[k].tiles.steps);
        wf__dump_code(&s, p, &p->phase[k].tiles, p->graph, 1);
    }
    return s.failed ? WF_ERROR_IO : WF_OK;
}

/* ---- Networks ---- */
/* networks: put names together */
enum { WF__NAME_ROOM = 192 };

static const char *wf__join(wf_graph *g, char *buffer, const char *name, int number, const char *part)
{
    wf__text t;
    t.at = buffer;
    t.end = buffer + WF__NAME_ROOM - 1;
    wf__put(&t, name ? name : "");
    if (number >= 0) { wf__put(&t, "."); wf__put_int(&t, number); }
    wf__put(&t, part);
    if (g && (!name || !*name || t.at == t.end)) wf__fail(g->arena, WF_ERROR_NAME, "network: a name is needed, of fewer than %d letters with all that is added", WF__NAME_ROOM - 1);
    return buffer;
}

static wf_t wf__network_param(wf_graph *g, const char *name, const char *part, int rows, int columns, int init, double scale)
{
    char full[WF__NAME_ROOM];
    int d[2];
    d[0] = rows;
    d[1] = columns;
    wf__join(g, full, name, -1, part);
    return g && g->arena->report.code >= 0 ? wf_param(g, full, columns ? 2 : 1, d, init, scale) : wf__none(g);
}

/* networks: build a linear layer */
static wf_t wf__column_for(wf_t column, wf_t y) { return wf__missing(column) || wf__missing(y) || wf__of(y)->nd < 2 ? column : wf__unsqueeze(column, 1); }

wf_t wf_linear_with(wf_t x, wf_affine w)
{
    wf_t y = wf_matmul(w.weight, x);
    if (!w.bias.graph || wf__missing(y)) return y;
    if (!wf__missing(w.bias) && (wf__of(w.bias)->nd != 1 || wf__of(w.bias)->d[0] != wf__of(y)->d[0])) return wf__misfit(w.weight, w.bias, "linear: weight and bias");
    return wf_add(y, wf__column_for(w.bias, y));
}

/* networks: make the parameters of a linear layer */
wf_affine wf_linear_params(wf_graph *g, const char *name, int in, int out, int bias)
{
    wf_affine w;
    double scale = in > 0 ? 1.0 / sqrt((double)in) : 0;
    w.weight = wf__network_param(g, name, ".weight", out, in > 0 ? in : -1, WF_INIT_UNIFORM, scale);
    w.bias.graph = NULL;
    w.bias.id = 0;
    if (bias) w.bias = wf__network_param(g, name, ".bias", out, 0, WF_INIT_UNIFORM, scale);
    return w;
}

static int wf__features(wf_t x, const char *network)
{
    if (wf__missing(x)) return 0;
    if (wf__of(x)->nd == 1 || wf__of(x)->nd == 2) return wf__of(x)->d[0];
    wf__unfit(x, network, "wants [features] or [features, tokens]");
    return 0;
}

wf_t wf_linear(wf_t x, const char *name, int out, int bias)
{
    int in = wf__features(x, "linear");
    return in ? wf_linear_with(x, wf_linear_params(x.graph, name, in, out, bias)) : wf__none(x.graph);
}

/* networks: apply a curve */
wf_t wf_activate(wf_t x, int activation)
{
    if (wf__missing(x)) return wf__none(x.graph);
    switch (activation) {
    case WF_ACT_NONE: return x;
    case WF_ACT_DEFAULT:
    case WF_ACT_TANH: return wf_tanh(x);
    case WF_ACT_SIGMOID: return wf_sigmoid(x);
    case WF_ACT_RELU: return wf_relu(x);
    case WF_ACT_SILU: return wf_mul(x, wf_sigmoid(x));
    case WF_ACT_GELU: return wf_mul(wf_scale(x, 0.5), wf_shift(wf_erf(wf_scale(x, 0.70710678118654752)), 1));
    case WF_ACT_SOFTPLUS: return wf_softplus(x);
    case WF_ACT_SIN: return wf_sin(x);
    default: wf__fail(x.graph->arena, WF_ERROR_ARGUMENT, "activate: there is no curve %d", activation); return wf__none(x.graph);
    }
}

/* networks: build a perceptron */
wf_t wf_mlp_with(wf_t x, const wf_affine *layers, int count, int activation, int last)
{
    for (int i = 0; i < count; i++) x = wf_activate(wf_linear_with(x, layers[i]), i + 1 < count ? activation : last ? last : WF_ACT_NONE);
    return x;
}

wf_t wf_mlp(wf_t x, const char *name, const wf_mlp_desc *desc)
{
    enum { MANY = 16 };
    wf_mlp_desc d = { 0, 0, 0, 0, 0 };
    wf_affine w[MANY];
    char part[WF__NAME_ROOM];
    if (desc) d = *desc;
    int layers = d.layers ? d.layers : 3, in = wf__features(x, "mlp");
    if (!in) return wf__none(x.graph);
    if (layers < 1 || layers > MANY || d.width < 0 || d.out < 0) {
        wf__fail(x.graph->arena, WF_ERROR_ARGUMENT, "mlp: %s: %d layers (1..%d), width %d, out %d", name, layers, MANY, d.width, d.out);
        return wf__none(x.graph);
    }
    for (int i = 0; i < layers; i++) {
        int out = i + 1 == layers ? (d.out ? d.out : 1) : d.width ? d.width : 64;
        w[i] = wf_linear_params(x.graph, wf__join(x.graph, part, name, i, ""), in, out, 1);
        in = out;
    }
    return wf_mlp_with(x, w, layers, d.activation, d.last);
}

/* networks: build a layer norm */
wf_t wf_layer_norm_with(wf_t x, wf_affine w, double eps)
{
    int features = wf__features(x, "layer_norm");
    if (!features) return wf__none(x.graph);
    wf_t size = wf_const(x.graph, features);
    wf_t centred = wf_sub(x, wf_div(wf_sum_over(x, 0), size));
    wf_t variance = wf_div(wf_sum_over(wf_square(centred), 0), size);
    wf_t y = wf_mul(centred, wf_recip(wf_sqrt(wf_shift(variance, eps > 0 ? eps : 1e-5))));
    if (w.weight.graph) y = wf_mul(y, wf__column_for(w.weight, y));
    if (w.bias.graph) y = wf_add(y, wf__column_for(w.bias, y));
    return y;
}

wf_affine wf_layer_norm_params(wf_graph *g, const char *name, int features)
{
    wf_affine w;
    w.weight = wf__network_param(g, name, ".weight", features, 0, WF_INIT_CONSTANT, 1);
    w.bias = wf__network_param(g, name, ".bias", features, 0, WF_INIT_ZERO, 0);
    return w;
}

wf_t wf_layer_norm(wf_t x, const char *name, double eps)
{
    int features = wf__features(x, "layer_norm");
    return features ? wf_layer_norm_with(x, wf_layer_norm_params(x.graph, name, features), eps) : wf__none(x.graph);
}

/* networks: check and cut into heads */
static int wf__attention_unfit(wf_t q, wf_t k, wf_t v, int heads)
{
    wf_t list[3];
    if (wf__strangers(q, k) || wf__strangers(q, v)) return 1;
    list[0] = q;
    list[1] = k;
    list[2] = v;
    for (int i = 0; i < 3; i++) {
        if (wf__of(list[i])->nd != 2) { wf__unfit(list[i], "attention", "wants [features, tokens]"); return 1; }
        if (heads >= 1 && wf__of(list[i])->d[0] % heads == 0) continue;
        wf__fail(q.graph->arena, WF_ERROR_SHAPE, "attention: %d heads do not divide %d features (value %d)", heads, wf__of(list[i])->d[0], list[i].id);
        return 1;
    }
    if (wf__of(q)->d[0] != wf__of(k)->d[0]) { wf__misfit(q, k, "attention: features of queries and keys"); return 1; }
    if (wf__of(k)->d[1] != wf__of(v)->d[1]) { wf__misfit(k, v, "attention: tokens of keys and values"); return 1; }
    return 0;
}

static wf_t wf__heads(wf_t x, int heads)
{
    int d[3];
    if (wf__missing(x)) return x;
    d[0] = heads;
    d[1] = wf__of(x)->d[0] / heads;
    d[2] = wf__of(x)->d[1];
    return wf_reshape(x, 3, d);
}

/* networks: build attention */
wf_t wf_attention_map(wf_t q, wf_t k, int heads, wf_t mask)
{
    if (wf__attention_unfit(q, k, k, heads)) return wf__none(q.graph);
    double features = wf__of(q)->d[0] / heads;
    wf_t scores = wf_matmul_t(wf__heads(k, heads), 1, wf__heads(wf_scale(q, 1.0 / sqrt(features)), heads), 0);
    if (wf__missing(scores)) return scores;
    if (mask.graph) {
        wf__node s = *wf__of(scores);
        if (wf__missing(mask)) return wf__none(q.graph);
        int nd = wf__of(mask)->nd;
        if (nd < 2 || nd > 3 || memcmp(wf__of(mask)->d, s.d + 3 - nd, (size_t)nd * sizeof s.d[0])) return wf__misfit(scores, mask, "attention: scores and mask");
        scores = wf_add(scores, mask);
    }
    return wf_softmax(scores, 1);
}

wf_t wf_attention_masked(wf_t q, wf_t k, wf_t v, int heads, wf_t mask)
{
    if (wf__attention_unfit(q, k, v, heads)) return wf__none(q.graph);
    int d[2];
    d[0] = wf__of(v)->d[0];
    d[1] = wf__of(q)->d[1];
    return wf_reshape(wf_matmul(wf__heads(v, heads), wf_attention_map(q, k, heads, mask)), 2, d);
}

/* networks: build a causal mask */
wf_t wf_causal_mask(wf_graph *g, int keys, int queries)
{
    int d[2];
    d[0] = keys;
    d[1] = queries;
    if (wf__shape_bad(g, "causal mask", 2, d)) return wf__none(g);
    double *m = (double *)wf_alloc(g->arena, (size_t)keys * (size_t)queries, sizeof *m);
    if (!m) return wf__none(g);
    for (int j = 0; j < keys; j++)
        for (int i = 0; i < queries; i++) m[j * queries + i] = j <= i ? 0 : -HUGE_VAL;
    return wf_const_array(g, 2, d, m);
}

static wf_t wf__mask_for(wf_t k, wf_t q, int causal)
{
    wf_t none = { NULL, 0 };
    if (!causal) return none;
    return wf__missing(k) || wf__missing(q) || wf__of(k)->nd != 2 || wf__of(q)->nd != 2 ? none : wf_causal_mask(q.graph, wf__of(k)->d[1], wf__of(q)->d[1]);
}

wf_t wf_attention(wf_t q, wf_t k, wf_t v, int heads, int causal) { return wf_attention_masked(q, k, v, heads, wf__mask_for(k, q, causal)); }

/* networks: build self-attention */
wf_t wf_self_attention_with(wf_t x, wf_attention_weights w, int heads, wf_t mask)
{
    int d = wf__features(x, "self-attention");
    wf_t all = d ? wf_linear_with(x, w.in) : wf__none(x.graph);
    if (wf__missing(all)) return all;
    if (wf__of(all)->d[0] != 3 * d) return wf__misfit(x, w.in.weight, "self-attention: tokens and projection");
    return wf_linear_with(wf_attention_masked(wf_slice(all, 0, 0, d), wf_slice(all, 0, d, d), wf_slice(all, 0, 2 * d, d), heads, mask), w.out);
}

wf_attention_weights wf_attention_params(wf_graph *g, const char *name, int features)
{
    wf_attention_weights w;
    char part[WF__NAME_ROOM];
    double d = features > 0 ? features : 1;
    w.in.weight = wf__network_param(g, name, ".in_proj_weight", 3 * features, features > 0 ? features : -1, WF_INIT_UNIFORM, sqrt(6 / (4 * d)));
    w.in.bias = wf__network_param(g, name, ".in_proj_bias", 3 * features, 0, WF_INIT_ZERO, 0);
    wf__join(g, part, name, -1, ".out_proj");
    w.out.weight = wf__network_param(g, part, ".weight", features, features > 0 ? features : -1, WF_INIT_UNIFORM, 1 / sqrt(d));
    w.out.bias = wf__network_param(g, part, ".bias", features, 0, WF_INIT_ZERO, 0);
    return w;
}

wf_t wf_self_attention(wf_t x, const char *name, int heads, int causal)
{
    int d = wf__features(x, "self-attention");
    return d ? wf_self_attention_with(x, wf_attention_params(x.graph, name, d), heads, wf__mask_for(x, x, causal)) : wf__none(x.graph);
}

/* networks: build a transformer layer */
static wf_transformer_desc wf__transformer_defaults(const wf_transformer_desc *desc, int features)
{
    wf_transformer_desc d = { 0, 0, 0, 0, 0, 0 };
    if (desc) d = *desc;
    if (!d.heads) d.heads = 4;
    if (!d.width) d.width = 4 * features;
    if (!d.activation) d.activation = WF_ACT_RELU;
    return d;
}

wf_t wf_transformer_layer_with(wf_t x, const wf_transformer_weights *w, const wf_transformer_desc *desc)
{
    int features = wf__features(x, "transformer");
    if (!features) return wf__none(x.graph);
    wf_transformer_desc d = wf__transformer_defaults(desc, features);
    wf_t y = d.pre_norm ? wf_layer_norm_with(x, w->norm1, d.eps) : x;
    y = wf_add(x, wf_self_attention_with(y, w->attention, d.heads, wf__mask_for(x, x, d.causal)));
    if (!d.pre_norm) y = wf_layer_norm_with(y, w->norm1, d.eps);
    wf_t z = d.pre_norm ? wf_layer_norm_with(y, w->norm2, d.eps) : y;
    z = wf_add(y, wf_linear_with(wf_activate(wf_linear_with(z, w->linear1), d.activation), w->linear2));
    return d.pre_norm ? z : wf_layer_norm_with(z, w->norm2, d.eps);
}

/* networks: make the parameters of a transformer layer */
wf_transformer_weights wf_transformer_params(wf_graph *g, const char *name, int features, const wf_transformer_desc *desc)
{
    wf_transformer_desc d = wf__transformer_defaults(desc, features);
    wf_transformer_weights w;
    char part[WF__NAME_ROOM];
    w.attention = wf_attention_params(g, wf__join(g, part, name, -1, ".self_attn"), features);
    w.linear1 = wf_linear_params(g, wf__join(g, part, name, -1, ".linear1"), features, d.width, 1);
    w.linear2 = wf_linear_params(g, wf__join(g, part, name, -1, ".linear2"), d.width, features, 1);
    w.norm1 = wf_layer_norm_params(g, wf__join(g, part, name, -1, ".norm1"), features);
    w.norm2 = wf_layer_norm_params(g, wf__join(g, part, name, -1, ".norm2"), features);
    return w;
}

wf_t wf_transformer_layer(wf_t x, const char *name, const wf_transformer_desc *desc)
{
    int features = wf__features(x, "transformer");
    if (!features) return wf__none(x.graph);
    wf_transformer_weights w = wf_transformer_params(x.graph, name, features, desc);
    return wf_transformer_layer_with(x, &w, desc);
}

/* networks: build a gated unit */
static wf_affine wf__rows_of(wf_affine w, int start, int count)
{
    w.weight = wf_slice(w.weight, 0, start, count);
    if (w.bias.graph) w.bias = wf_slice(w.bias, 0, start, count);
    return w;
}

wf_t wf_gru_cell_with(wf_t x, wf_t h, wf_gru_weights w)
{
    int n = wf__features(h, "gru");
    if (!n || wf__missing(w.in.weight) || wf__missing(w.state.weight)) return wf__none(h.graph);
    if (wf__of(w.in.weight)->d[0] != 3 * n) return wf__misfit(h, w.in.weight, "gru: state and weight_ih");
    if (wf__of(w.state.weight)->d[0] != 3 * n) return wf__misfit(h, w.state.weight, "gru: state and weight_hh");
    wf_t gates = wf_sigmoid(wf_add(wf_linear_with(x, wf__rows_of(w.in, 0, 2 * n)), wf_linear_with(h, wf__rows_of(w.state, 0, 2 * n))));
    wf_t old = wf_mul(wf_slice(gates, 0, 0, n), wf_linear_with(h, wf__rows_of(w.state, 2 * n, n)));
    wf_t fresh = wf_tanh(wf_add(wf_linear_with(x, wf__rows_of(w.in, 2 * n, n)), old));
    return wf_add(fresh, wf_mul(wf_slice(gates, 0, n, n), wf_sub(h, fresh)));
}

/* networks: make the parameters of a gated unit */
wf_gru_weights wf_gru_params(wf_graph *g, const char *name, int in, int hidden)
{
    wf_gru_weights w;
    double scale = hidden > 0 ? 1.0 / sqrt((double)hidden) : 0;
    w.in.weight = wf__network_param(g, name, ".weight_ih", 3 * hidden, in > 0 ? in : -1, WF_INIT_UNIFORM, scale);
    w.in.bias = wf__network_param(g, name, ".bias_ih", 3 * hidden, 0, WF_INIT_UNIFORM, scale);
    w.state.weight = wf__network_param(g, name, ".weight_hh", 3 * hidden, hidden > 0 ? hidden : -1, WF_INIT_UNIFORM, scale);
    w.state.bias = wf__network_param(g, name, ".bias_hh", 3 * hidden, 0, WF_INIT_UNIFORM, scale);
    return w;
}

wf_t wf_gru_cell(wf_t x, wf_t h, const char *name)
{
    int in = wf__features(x, "gru"), hidden = wf__features(h, "gru");
    return in && hidden ? wf_gru_cell_with(x, h, wf_gru_params(h.graph, name, in, hidden)) : wf__none(x.graph);
}

/* networks: build a binary code */
wf_t wf_binary_code(wf_t x, int bits)
{
    double power[24];
    if (wf__missing(x)) return wf__none(x.graph);
    if (bits < 1 || bits > 24 || wf__of(x)->nd > 3) return wf__unfit(x, "binary code", "wants 1 to 24 bits and at most three axes");
    for (int i = 0; i < bits; i++) power[i] = 1.0 / (double)(1 << (bits - 1 - i));
    wf_t q = wf_mul(wf__unsqueeze(x, wf__of(x)->nd), wf_const_array(x.graph, 1, &bits, power));
    return wf_sub(wf_floor(q), wf_scale(wf_floor(wf_scale(q, 0.5)), 2));
}

/* networks: make the parameters of a sequence */
static int wf__bits_of(int levels)
{
    int bits = 1;
    while (bits < 24 && (levels - 1) >> bits) bits++;
    return bits;
}

wf_sequence_weights wf_sequence_params(wf_graph *g, const char *name, const wf_sequence_desc *desc)
{
    wf_sequence_weights w;
    char part[WF__NAME_ROOM];
    memset(&w, 0, sizeof w);
    if (!g) return w;
    w.out.weight = wf__none(g);
    if (!desc || desc->levels < 2 || desc->levels > 1 << 24 || desc->hidden < 0 || desc->layers < 0 || desc->layers > 4) {
        wf__fail(g->arena, WF_ERROR_ARGUMENT, "sequence: %s: needs at least 2 levels and at most 4 layers", name);
        return w;
    }
    int hidden = desc->hidden ? desc->hidden : 32;
    w.layers = desc->layers ? desc->layers : 1;
    for (int i = 0; i < w.layers; i++) w.cell[i] = wf_gru_params(g, wf__join(g, part, name, i, ""), i ? hidden : wf__bits_of(desc->levels), hidden);
    w.out = wf_linear_params(g, wf__join(g, part, name, -1, ".out"), hidden, desc->levels, 1);
    return w;
}

/* networks: take one step of a sequence */
static wf_t wf__sequence_step(wf_t code, wf_t *h, const wf_sequence_weights *w)
{
    wf_t x = code;
    for (int i = 0; i < w->layers; i++) x = h[i] = wf_gru_cell_with(x, h[i], w->cell[i]);
    return wf_linear_with(x, w->out);
}

static int wf__sequence_unfit(wf_graph *g, const wf_sequence_weights *w)
{
    if (!w || w->layers < 1 || w->layers > 4) {
        if (g) wf__fail(g->arena, WF_ERROR_ARGUMENT, "sequence: weights of 1 to 4 layers are needed");
        return 1;
    }
    for (int i = 0; i < w->layers; i++) if (wf__missing(w->cell[i].in.weight) || wf__missing(w->cell[i].state.weight)) return 1;
    return wf__missing(w->out.weight);
}

static wf_t wf__sequence_zero(wf_graph *g, const wf_sequence_weights *w) { return wf_full(g, 1, &wf__of(w->cell[0].state.weight)->d[1], 0); }

/* networks: write one step's results */
typedef struct wf__sequence_row { wf_t logp, log_probs, state; } wf__sequence_row;

static wf__sequence_row wf__sequence_score(wf_t code, wf_t number, wf_t *h, const wf_sequence_weights *w)
{
    wf__sequence_row r;
    wf_t scores = wf__sequence_step(code, h, w);
    r.logp = wf_sub(wf_sum(wf_take(scores, number)), wf_logsumexp(scores, 0));
    r.log_probs = wf_log_softmax(scores, 0);
    r.state = h[w->layers - 1];
    return r;
}

static wf_t wf__sequence_codes(wf_t numbers, const wf_sequence_weights *w)
{
    int n = wf__of(numbers)->d[0], bits = wf__of(w->cell[0].in.weight)->d[1];
    return wf_binary_code(n > 1 ? wf_pad(wf_slice(numbers, 0, 0, n - 1), 0, 1, 0) : wf_scale(numbers, 0), bits);
}

/* networks: unroll a sequence */
static wf_t wf__row_of(wf_t rows, int i) { return wf__missing(rows) ? rows : wf_reshape(wf_slice(rows, 0, i, 1), wf__of(rows)->nd - 1, wf__of(rows)->d + 1); }

static wf_sequence wf__sequence_unrolled(wf_t numbers, const wf_sequence_weights *w)
{
    enum { MANY = 256 };
    wf_t codes = wf__sequence_codes(numbers, w), h[4], list[2][MANY];
    wf_sequence s;
    int n = wf__of(numbers)->d[0];
    s.logp = s.log_probs = s.states = wf__none(numbers.graph);
    if (n > MANY) { wf__unfit(numbers, "sequence", "is too long to be unrolled (256)"); return s; }
    for (int k = 0; k < 4; k++) h[k] = wf__sequence_zero(numbers.graph, w);
    for (int i = 0; i < n; i++) {
        wf__sequence_row r = wf__sequence_score(wf__row_of(codes, i), wf_slice(numbers, 0, i, 1), h, w);
        s.logp = i ? wf_add(s.logp, r.logp) : r.logp;
        list[0][i] = r.log_probs;
        list[1][i] = r.state;
    }
    s.log_probs = wf_stack(list[0], n);
    s.states = wf_stack(list[1], n);
    return s;
}

/* networks: bring weights into a loop */
static wf_affine wf__affine_inside(wf_loop *l, wf_affine w)
{
    w.weight = wf_loop_constant(l, w.weight);
    if (w.bias.graph) w.bias = wf_loop_constant(l, w.bias);
    return w;
}

static wf_sequence_weights wf__sequence_inside(wf_loop *l, const wf_sequence_weights *w)
{
    wf_sequence_weights in = *w;
    for (int i = 0; i < w->layers; i++) {
        in.cell[i].in = wf__affine_inside(l, w->cell[i].in);
        in.cell[i].state = wf__affine_inside(l, w->cell[i].state);
    }
    in.out = wf__affine_inside(l, w->out);
    return in;
}

/* networks: run a sequence in a loop */
static int wf__sequence_per_sample(wf_t numbers, const wf_sequence_weights *w)
{
    int batch = wf_is_batch(numbers);
    for (int i = 0; i < w->layers; i++) {
        const wf_gru_weights *c = &w->cell[i];
        batch |= wf_is_batch(c->in.weight) | wf_is_batch(c->in.bias) | wf_is_batch(c->state.weight) | wf_is_batch(c->state.bias);
    }
    return batch | wf_is_batch(w->out.weight) | wf_is_batch(w->out.bias);
}

static wf_sequence wf__sequence_looped(wf_t numbers, const wf_sequence_weights *w)
{
    wf_sequence s;
    wf_t zero = wf__sequence_zero(numbers.graph, w), start[4], h[4];
    int n = wf__of(numbers)->d[0];
    s.logp = s.log_probs = s.states = wf__none(numbers.graph);
    wf_loop *l = wf_loop_begin(numbers.graph, n, WF_KEEP_CARRY);
    if (!l) return s;
    wf_sequence_weights in = wf__sequence_inside(l, w);
    wf_t code = wf_loop_each(l, wf__sequence_codes(numbers, w)), number = wf_loop_each(l, wf__unsqueeze(numbers, 1));
    if (wf__sequence_per_sample(numbers, w)) zero = wf_per_sample(zero);
    for (int i = 0; i < w->layers; i++) h[i] = start[i] = wf_loop_carry(l, zero);
    wf__sequence_row r = wf__sequence_score(code, number, h, &in);
    for (int i = 0; i < w->layers; i++) wf_loop_next(l, start[i], h[i]);
    if (wf_loop_end(l) < 0) return s;
    s.logp = wf_loop_total(l, r.logp);
    s.log_probs = wf_loop_stack(l, r.log_probs);
    s.states = wf_loop_stack(l, r.state);
    return s;
}

/* networks: choose the form of a sequence */
wf_sequence wf_sequence_with(wf_t numbers, const wf_sequence_weights *w, int unroll)
{
    wf_sequence s;
    s.logp = s.log_probs = s.states = wf__none(numbers.graph);
    if (wf__missing(numbers) || wf__sequence_unfit(numbers.graph, w)) return s;
    if (wf__of(numbers)->nd != 1) { wf__unfit(numbers, "sequence", "wants whole numbers [n]"); return s; }
    return unroll ? wf__sequence_unrolled(numbers, w) : wf__sequence_looped(numbers, w);
}

wf_sequence wf_gru_sequence(wf_t numbers, const char *name, const wf_sequence_desc *desc)
{
    wf_sequence_weights w = wf_sequence_params(numbers.graph, name, desc);
    return wf_sequence_with(numbers, &w, desc && desc->unroll);
}

/* networks: draw a sequence */
wf_t wf_sequence_sample(wf_graph *g, const wf_sequence_weights *w, int n, int purpose)
{
    wf_t start[4], h[4];
    int one = 1;
    if (!g || wf__sequence_unfit(g, w)) return wf__none(g);
    wf_loop *l = wf_loop_begin(g, n, WF_KEEP_CARRY);
    if (!l) return wf__none(g);
    wf_sequence_weights in = wf__sequence_inside(l, w);
    wf_t last = wf_loop_carry(l, wf_per_sample(wf_full(g, 1, &one, 0))), zero = wf_per_sample(wf__sequence_zero(g, w));
    for (int i = 0; i < w->layers; i++) h[i] = start[i] = wf_loop_carry(l, zero);
    wf_t scores = wf__sequence_step(wf__row_of(wf_binary_code(last, wf__of(w->cell[0].in.weight)->d[1]), 0), h, &in);
    if (wf__missing(scores)) return wf__none(g);
    int levels = wf__of(scores)->d[0];
    wf_t sums = wf_cumsum(wf_softmax(scores, 0), 0, 0, 0);
    wf_t dart = wf_mul(wf_uniform(wf_loop_body(l), 1, &one, purpose), wf_slice(sums, 0, levels - 1, 1));
    wf_t next = wf_min(wf_search(sums, dart), wf_full(wf_loop_body(l), 1, &one, levels - 1));
    wf_loop_next(l, last, next);
    for (int i = 0; i < w->layers; i++) wf_loop_next(l, start[i], h[i]);
    if (wf_loop_end(l) < 0) return wf__none(g);
    return wf_reshape(wf_loop_stack(l, next), 1, &n);
}

/* networks: build an embedding */
wf_t wf_embedding(wf_t index, const char *name, int rows, int features)
{
    if (wf__missing(index)) return wf__none(index.graph);
    return wf_transpose(wf_take(wf__network_param(index.graph, name, ".weight", rows, features > 0 ? features : -1, WF_INIT_NORMAL, 1), index));
}

/* ---- Solvers ---- */
/* solvers: slopes of a natural spline */
static void wf__slopes_natural(double *m, double *w, const double *t, const double *x, int knots, int channels)
{
    for (int i = 0; i < knots; i++) {
        int left = i > 0, right = i < knots - 1;
        double lower = left ? right ? 1 / (t[i] - t[i - 1]) : 1 : 0, upper = right ? left ? 1 / (t[i + 1] - t[i]) : 1 : 0;
        double pivot = 2 * (lower + upper) - (left ? lower * w[i - 1] : 0);
        w[i] = upper / pivot;
        for (int k = 0; k < channels; k++) {
            size_t at = (size_t)i * (size_t)channels + (size_t)k, step = (size_t)channels;
            double sum = 0;
            if (left) sum += lower * (3 * (x[at] - x[at - step]) / (t[i] - t[i - 1]) - m[at - step]);
            if (right) sum += upper * (3 * (x[at + step] - x[at]) / (t[i + 1] - t[i]));
            m[at] = sum / pivot;
        }
    }
    for (int i = knots - 2; i >= 0; i--)
        for (int k = 0; k < channels; k++) m[(size_t)i * (size_t)channels + (size_t)k] -= w[i] * m[((size_t)i + 1) * (size_t)channels + (size_t)k];
}

/* solvers: slopes of a Hermite spline */
static void wf__slopes_backward(double *m, double *w, const double *t, const double *x, int knots, int channels)
{
    (void)w;
    for (int i = 0; i < knots; i++)
        for (int k = 0; k < channels; k++) {
            size_t at = (size_t)(i ? i : 1) * (size_t)channels + (size_t)k, before = at - (size_t)channels;
            m[(size_t)i * (size_t)channels + (size_t)k] = (x[at] - x[before]) / (t[i ? i : 1] - t[i ? i - 1 : 0]);
        }
}

/* solvers: check knots */
static int wf__knots_bad(wf_arena *A, const double *t, const double *x, int knots, int channels)
{
    if (!t || !x || knots < 2 || channels < 1) { wf__fail(A, WF_ERROR_ARGUMENT, "spline: %d knots of %d channels; at least 2 and 1", knots, channels); return 1; }
    for (int i = 0; i < knots; i++) {
        if (!wf__finite(t[i]) || (i && !(t[i] > t[i - 1]))) { wf__fail(A, WF_ERROR_DATA, "spline: time %d is %g; times must ascend", i, t[i]); return 1; }
        for (int k = 0; k < channels; k++)
            if (!wf__finite(x[(size_t)i * (size_t)channels + (size_t)k])) { wf__fail(A, WF_ERROR_DATA, "spline: point %d, channel %d is not finite", i, k); return 1; }
    }
    return 0;
}

/* solvers: make a spline */
typedef void (*wf__slopes)(double *m, double *w, const double *t, const double *x, int knots, int channels);

static wf_spline *wf__spline_new(wf_arena *A, const double *t, const double *x, int knots, int channels, wf__slopes slopes)
{
    if (wf__knots_bad(A, t, x, knots, channels)) return NULL;
    size_t step = (size_t)channels, size = ((size_t)knots - 1) * step;
    wf_spline *s = (wf_spline *)wf_alloc(A, 1, sizeof *s);
    double *p = (double *)wf_alloc(A, 5 * size + step + 2 * (size_t)knots, sizeof *p);
    if (!s || !p) return NULL;
    wf_spline made = { knots, channels, p, p + knots, p + knots + size, p + knots + 2 * size, p + knots + 3 * size };
    double *m = made.d + size;
    *s = made;
    memcpy(s->t, t, (size_t)knots * sizeof *t);
    if (slopes) slopes(m, m + size + step, t, x, knots, channels);
    for (size_t i = 0; i < size; i++) {
        double h = t[i / step + 1] - t[i / step], slope = (x[i + step] - x[i]) / h, m0 = slopes ? m[i] : slope, m1 = slopes ? m[i + step] : slope;
        s->a[i] = x[i];
        s->b[i] = m0;
        s->c[i] = (3 * slope - 2 * m0 - m1) / h;
        s->d[i] = (m0 + m1 - 2 * slope) / (h * h);
    }
    return s;
}

wf_spline *wf_spline_linear(wf_arena *A, const double *t, const double *x, int knots, int channels) { return wf__spline_new(A, t, x, knots, channels, NULL); }
wf_spline *wf_spline_hermite(wf_arena *A, const double *t, const double *x, int knots, int channels) { return wf__spline_new(A, t, x, knots, channels, wf__slopes_backward); }
wf_spline *wf_spline_natural(wf_arena *A, const double *t, const double *x, int knots, int channels) { return wf__spline_new(A, t, x, knots, channels, wf__slopes_natural); }

/* solvers: evaluate a spline */
static double wf__spline_at(const wf_spline *s, double q, int channel, int order)
{
    int low = 0, high = s->knots - 2;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (s->t[middle] <= q) low = middle;
        else high = middle - 1;
    }
    size_t i = (size_t)low * (size_t)s->channels + (size_t)channel;
    double u = q - s->t[low];
    if (order == 0) return s->a[i] + u * (s->b[i] + u * (s->c[i] + u * s->d[i]));
    return order == 1 ? s->b[i] + u * (2 * s->c[i] + 3 * u * s->d[i]) : 2 * s->c[i] + 6 * u * s->d[i];
}

double wf_spline_value(const wf_spline *s, double q, int channel) { return wf__spline_at(s, q, channel, 0); }
double wf_spline_slope(const wf_spline *s, double q, int channel) { return wf__spline_at(s, q, channel, 1); }
double wf_spline_curvature(const wf_spline *s, double q, int channel) { return wf__spline_at(s, q, channel, 2); }

/* solvers: a spline as a matrix */
wf_t wf_spline_graph(wf_t x, wf_spline_fn kind, const double *t, const double *q, int n, int order)
{
    int d[4], nd = wf_shape(x, d);
    if (wf__missing(x)) return wf__none(x.graph);
    if (nd != 2 || n < 1 || !t || !q || order < 0 || order > 2) return wf__unfit(x, "spline", "needs points [knots, channels], their times, at least one time asked for, and order 0, 1 or 2");
    size_t knots = (size_t)d[0];
    wf_arena *A = x.graph->arena;
    double *unit = (double *)wf_alloc(A, knots * knots, sizeof *unit), *w = (double *)wf_alloc(A, (size_t)n * knots, sizeof *w);
    for (size_t i = 0; unit && i < knots; i++) unit[i * knots + i] = 1;
    const wf_spline *s = unit && w ? (kind ? kind : wf_spline_natural)(A, t, unit, d[0], d[0]) : NULL;
    if (!s) return wf__none(x.graph);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < d[0]; k++) w[(size_t)i * knots + (size_t)k] = wf__spline_at(s, q[i], k, order);
    d[1] = d[0];
    d[0] = n;
    return wf_matmul(wf_const_array(x.graph, 2, d, w), x);
}

/* solvers: define the rules */
typedef struct wf__rule { int stages, order; double c[6], a[15], b[6], e[7]; } wf__rule; /* a: row 2, row 3, ... */

static const wf__rule wf__rules[] = {
    { 4, 4, { 0, 0.5, 0.5, 1 }, { 0.5, 0, 0.5, 0, 0, 1 }, { 1.0 / 6, 1.0 / 3, 1.0 / 3, 1.0 / 6 }, { 0 } },
    { 4, 4, { 0, 1.0 / 3, 2.0 / 3, 1 }, { 1.0 / 3, -1.0 / 3, 1, 1, -1, 1 }, { 0.125, 0.375, 0.375, 0.125 }, { 0 } },
    { 1, 1, { 0 }, { 0 }, { 1 }, { 0 } },
    { 2, 2, { 0, 0.5 }, { 0.5 }, { 0, 1 }, { 0 } },
    { 2, 2, { 0, 1 }, { 1 }, { 0.5, 0.5 }, { 0 } },
    { 6, 5, { 0, 0.2, 0.3, 0.8, 8.0 / 9, 1 },
      { 0.2, 3.0 / 40, 9.0 / 40, 44.0 / 45, -56.0 / 15, 32.0 / 9, 19372.0 / 6561, -25360.0 / 2187, 64448.0 / 6561, -212.0 / 729,
        9017.0 / 3168, -355.0 / 33, 46732.0 / 5247, 49.0 / 176, -5103.0 / 18656 },
      { 35.0 / 384, 0, 500.0 / 1113, 125.0 / 192, -2187.0 / 6784, 11.0 / 84 },
      { 71.0 / 57600, 0, -71.0 / 16695, 71.0 / 1920, -17253.0 / 339200, 22.0 / 525, -1.0 / 40 } },
    { 6, 5, { 0, 0.161, 0.327, 0.9, 0.9800255409045097, 1 },
      { 0.161, -0.008480655492356989, 0.335480655492357, 2.8971530571054935, -6.359448489975075, 4.3622954328695815,
        5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525,
        5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383 },
      { 0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774 },
      { -0.00178001105222577714, -0.0008164344596567469, 0.007880878010261995, -0.1447110071732629, 0.5823571654525552, -0.45808210592918697, 1.0 / 66 } },
};

static const wf__rule *wf__rule_of(int method) { return method < 0 || method > WF_TSIT5 ? NULL : &wf__rules[method]; }
int wf_rk_stages(int method) { return wf__rule_of(method) ? wf__rule_of(method)->stages : 0; }

/* solvers: build a step */
enum { WF__STATES = 8, WF__WITH = 13 };

typedef struct wf__ode { const wf__rule *rule; wf_field_fn fn; void *user; int n, withs, has_speed; double h; } wf__ode;

static wf_t wf__ode_towards(wf_t y, wf_t h, const double *a, wf_t (*k)[WF__STATES], int stages, int s)
{
    for (int j = 0; j < stages; j++)
        if (a[j] < 0 || a[j] > 0) y = wf_add(y, wf_mul(k[j][s], wf_scale(h, a[j])));
    return y;
}

static int wf__ode_fits(wf_t y, wf_t dy, int s)
{
    if (y.id && (!dy.graph || !dy.id)) wf__fail(y.graph->arena, WF_ERROR_ARGUMENT, "ode: the field gave no value for the derivative of value %d of the state", s);
    if (!y.id || !dy.id || wf__strangers(y, dy)) return 0;
    if (wf__of(y)->nd != wf__of(dy)->nd || memcmp(wf__of(y)->d, wf__of(dy)->d, sizeof wf__of(y)->d)) wf__misfit(y, dy, "ode: a value and its derivative");
    return y.graph->arena->report.code >= 0;
}

static int wf__ode_build(const wf__ode *o, wf_t *y, const wf_t *t, wf_t h, wf_t speed, wf_t *with)
{
    wf_t k[6][WF__STATES], at[WF__STATES];
    int d[4];
    wf_shape(speed, d);
    for (int i = 0; i < o->rule->stages; i++) {
        for (int s = 0; s < o->n; s++) at[s] = wf__ode_towards(y[s], h, o->rule->a + i * (i - 1) / 2, k, i, s);
        if (o->has_speed) with[0] = wf_reshape(wf_slice(speed, 0, i, 1), 1, d + 1);
        for (int s = 0; s < o->n; s++) k[i][s] = wf__none(NULL);
        o->fn(at, t[i], with, k[i], o->user);
        for (int s = 0; s < o->n; s++) if (!wf__ode_fits(at[s], k[i][s], s)) return 0;
    }
    for (int s = 0; s < o->n; s++) y[s] = wf__ode_towards(y[s], h, o->rule->b, k, o->rule->stages, s);
    return 1;
}

/* solvers: check an equation */
static int wf__ode_open(wf__ode *o, const wf_t *y, int n, const wf_field_desc *f, int method, wf_t *with, int has_speed)
{
    wf_graph *g = n > 0 && y ? y[0].graph : NULL;
    memset(o, 0, sizeof *o);
    o->rule = wf__rule_of(method);
    if (!g) return 0;
    if (n > WF__STATES || !f || !f->fn || !o->rule) {
        wf__fail(g->arena, WF_ERROR_ARGUMENT, "ode: %d values in the state (1 to %d), method %d, %s field", n, (int)WF__STATES, method, f && f->fn ? "a" : "no");
        return 0;
    }
    for (int s = 0; s < n; s++) if (wf__strangers(y[0], y[s])) return 0;
    o->fn = f->fn;
    o->user = f->user;
    o->n = n;
    o->has_speed = o->withs = has_speed;
    for (int i = 0; i < 12 && f->with[i].id; i++) {
        if (wf__strangers(y[0], f->with[i])) return 0;
        with[o->withs++] = f->with[i];
    }
    return 1;
}

static wf_result wf__ode_failed(wf_t *y, int n)
{
    wf_graph *g = n > 0 && y ? y[0].graph : NULL;
    for (int s = 0; s < n; s++) y[s] = wf__none(g);
    return g && g->arena->report.code < 0 ? g->arena->report.code : WF_ERROR_ARGUMENT;
}

/* solvers: one step alone */
wf_result wf_ode_step(wf_t *y, int n, const wf_field_desc *f, int method, wf_t t, wf_t h, wf_t speed)
{
    wf__ode o;
    wf_t with[WF__WITH], at[6];
    int one = 1, d[4], nd = speed.id ? wf_shape(speed, d) : 0;
    if (!wf__ode_open(&o, y, n, f, method, with, speed.id != 0) || wf__strangers(y[0], h)) return wf__ode_failed(y, n);
    if (speed.id && (nd != 2 || d[0] != o.rule->stages)) { wf__unfit(speed, "ode", "speeds are [stages, channels]"); return wf__ode_failed(y, n); }
    h = wf_reshape(h, 0, &one);
    for (int i = 0; i < o.rule->stages; i++) {
        wf_t later = wf_reshape(wf_scale(h, o.rule->c[i]), 1, &one);
        at[i] = t.id ? wf_add(wf_reshape(t, 1, &one), later) : later;
    }
    return wf__ode_build(&o, y, at, h, speed, with) ? WF_OK : wf__ode_failed(y, n);
}

/* solvers: lay out the steps */
typedef struct wf__rows { wf_t time, width, speed; int steps, per; const double *stage; } wf__rows;

static int wf__rows_of_times(wf__ode *o, wf_graph *g, const wf_solve_desc *d, wf__rows *r)
{
    int stages = o->rule->stages, spans = d->times ? d->count - 1 : 1;
    double ends[2] = { d->t0, d->t1 };
    const double *times = d->times ? d->times : ends;
    r->per = d->steps ? d->steps : 1;
    if (spans < 1 || r->per < 1 || (int64_t)spans * r->per > 1 << 24) {
        wf__fail(g->arena, WF_ERROR_ARGUMENT, "ode: %d times, %d steps from each to the next", spans + 1, r->per);
        return 0;
    }
    r->steps = spans * r->per;
    double *t = (double *)wf_alloc(g->arena, (size_t)r->steps * (size_t)(stages + 1), sizeof *t), *h = t ? t + (size_t)r->steps * (size_t)stages : NULL;
    if (!t) return 0;
    for (int k = 0; k < r->steps; k++) {
        int i = k / r->per;
        h[k] = (times[i + 1] - times[i]) / r->per;
        if (!wf__finite(h[k]) || !(h[k] * h[0] > 0)) {
            wf__fail(g->arena, WF_ERROR_DATA, "ode: time %d is %g, the next %g; times must go one way", i, times[i], times[i + 1]);
            return 0;
        }
        for (int s = 0; s < stages; s++) t[k * stages + s] = times[i] + h[k] * (k % r->per) + h[k] * o->rule->c[s];
    }
    int shape[2] = { r->steps, stages };
    r->stage = t;
    r->time = wf_const_array(g, 2, shape, t);
    if (d->times) r->width = wf_const_array(g, 1, shape, h);
    else r->per = 1; /* every step is a time of the path */
    o->h = h[0];
    return 1;
}

/* solvers: lay out steps between values */
static int wf__rows_of_grid(const wf__ode *o, wf_graph *g, const wf_solve_desc *d, wf__rows *r)
{
    int n[4], one[2] = { 1, o->rule->stages }, column[2];
    if (wf_shape(d->grid, n) != 1 || n[0] < 2 || d->grid.graph != g || (d->control && !d->control->speed.id)) {
        wf__fail(g->arena, WF_ERROR_ARGUMENT, "ode: a grid is a value [2 or more] of the same graph; with it a control needs its speeds");
        return 0;
    }
    r->per = 1;
    r->steps = column[0] = n[0] - 1;
    column[1] = 1;
    wf_t from = wf_slice(d->grid, 0, 0, r->steps);
    r->width = wf_sub(wf_slice(d->grid, 0, 1, r->steps), from);
    r->time = wf_add(wf_reshape(from, 2, column), wf_mul(wf_reshape(r->width, 2, column), wf_const_array(g, 2, one, o->rule->c)));
    return 1;
}

static int wf__rows_of_control(const wf__ode *o, wf_graph *g, const wf_control *c, wf__rows *r)
{
    int d[4] = { 0, 0, 0, 0 }, stages = o->rule->stages, n = r->steps * stages;
    if (c->speed.id) r->speed = c->speed;
    else if (c->spline) {
        size_t channels = (size_t)c->spline->channels;
        double *v = (double *)wf_alloc(g->arena, (size_t)n * channels, sizeof *v);
        for (size_t i = 0; v && i < (size_t)n * channels; i++) v[i] = wf_spline_slope(c->spline, r->stage[i / channels], (int)(i % channels));
        int shape[3] = { r->steps, stages, c->spline->channels };
        if (v) r->speed = wf_const_array(g, 3, shape, v);
    } else if (wf_shape(c->x, d) == 2) {
        int shape[3] = { r->steps, stages, d[1] };
        r->speed = wf_reshape(wf_spline_graph(c->x, c->kind, c->t, r->stage, n, 1), 3, shape);
    }
    if (r->speed.graph == g && wf_shape(r->speed, d) == 3 && d[0] == r->steps && d[1] == stages) return 1;
    wf__fail(g->arena, WF_ERROR_SHAPE, "ode: a control is points [knots, channels], a spline, or speeds [%d steps, %d stages, channels]", r->steps, stages);
    return 0;
}

/* solvers: define a span of steps */
typedef struct wf__stretch { wf_t y[WF__STATES], with[WF__WITH], row[3], path[WF__STATES]; int want; } wf__stretch;

static wf_t wf__rows_part(wf_t rows, int from, int count, int parts)
{
    int d[4], nd = wf_shape(rows, d), split[4] = { parts, count, 1, 1 };
    if (!rows.id) return rows;
    rows = wf_slice(rows, 0, from, parts ? parts * count : count);
    for (int i = 1; i < nd && i < 3; i++) split[i + 1] = d[i];
    return parts ? wf_reshape(rows, nd + 1, split) : rows;
}

static wf_t wf__rows_flat(wf_t x, int rows)
{
    int d[2] = { rows, 1 };
    if (wf__missing(x)) return x;
    d[1] = (int)(wf__node_size(wf__of(x)) / (size_t)rows);
    return wf_reshape(x, 2, d);
}

/* solvers: build a turn of the loop */
static int wf__ode_turn(const wf__ode *o, wf_graph *g, wf__stretch *s)
{
    wf_t t[6];
    for (int i = 0; i < o->rule->stages; i++) t[i] = wf_slice(s->row[0], 0, i, 1);
    return wf__ode_build(o, s->y, t, s->row[1].id ? s->row[1] : wf_const(g, o->h), s->row[2], s->with);
}
static int wf__ode_rest(const wf__ode *o, wf_graph *g, wf__stretch *s, int done, int left);

/* solvers: build the loop */
static int wf__ode_loop(const wf__ode *o, wf_graph *g, wf__stretch *s, int steps, int keep)
{
    int few = keep == WF_KEEP_FEW && steps > 8, parts = few ? (int)sqrt((double)steps) : steps, count = few ? steps / parts : 1, ok = 1;
    wf_loop *l = wf_loop_begin(g, parts, few ? WF_KEEP_CARRY : keep);
    wf__stretch in, first;
    if (!l) return 0;
    memset(&in, 0, sizeof in);
    in.want = s->want;
    for (int i = 0; i < o->n; i++) in.y[i] = wf_loop_carry(l, s->y[i]);
    for (int i = o->has_speed; i < o->withs; i++) in.with[i] = wf_loop_constant(l, s->with[i]);
    for (int i = 0; i < 3; i++) if (s->row[i].id) in.row[i] = wf_loop_each(l, few ? wf__rows_part(s->row[i], 0, count, parts) : s->row[i]);
    first = in;
    ok = few ? wf__ode_loop(o, wf_loop_body(l), &in, count, WF_KEEP_CARRY) : wf__ode_turn(o, wf_loop_body(l), &in);
    for (int i = 0; ok && i < o->n; i++) ok = wf_loop_next(l, first.y[i], in.y[i]) >= 0;
    if (!ok || wf_loop_end(l) < 0) return 0;
    for (int i = 0; i < o->n; i++) {
        s->y[i] = wf_loop_final(l, first.y[i]);
        if (s->want) s->path[i] = wf__rows_flat(wf_loop_stack(l, few ? in.path[i] : first.y[i]), parts * count);
    }
    return parts * count == steps || wf__ode_rest(o, g, s, parts * count, steps - parts * count);
}

/* solvers: build the steps that are left over */
static int wf__ode_rest(const wf__ode *o, wf_graph *g, wf__stretch *s, int done, int left)
{
    wf__stretch rest = *s;
    for (int i = 0; i < 3; i++) rest.row[i] = wf__rows_part(s->row[i], done, left, 0);
    if (!wf__ode_loop(o, g, &rest, left, WF_KEEP_CARRY)) return 0;
    for (int i = 0; i < o->n; i++) {
        wf_t both[2] = { s->path[i], rest.path[i] };
        s->y[i] = rest.y[i];
        if (s->want) s->path[i] = wf_concat(both, 2, 0);
    }
    return 1;
}

/* solvers: solve */
wf_result wf_ode_list(wf_t *y, int n, const wf_field_desc *f, const wf_solve_desc *d, wf_t *path)
{
    wf__ode o;
    wf__rows r;
    wf__stretch s;
    memset(&r, 0, sizeof r);
    memset(&s, 0, sizeof s);
    if (!d || !wf__ode_open(&o, y, n, f, d->method, s.with, d->control != NULL)) return wf__ode_failed(y, n);
    wf_graph *g = y[0].graph;
    if (!(d->grid.id ? wf__rows_of_grid(&o, g, d, &r) : wf__rows_of_times(&o, g, d, &r)) || (d->control && !wf__rows_of_control(&o, g, d->control, &r))) return wf__ode_failed(y, n);
    s.row[0] = r.time;
    s.row[1] = r.width;
    s.row[2] = r.speed;
    s.want = path != NULL;
    int batch = wf_is_batch(r.width) || wf_is_batch(r.speed);
    for (int i = 0; i < n; i++) batch |= wf_is_batch(y[i]);
    for (int i = o.has_speed; i < o.withs; i++) batch |= wf_is_batch(s.with[i]);
    for (int i = 0; i < n; i++) s.y[i] = batch ? wf_per_sample(y[i]) : y[i];
    if (!wf__ode_loop(&o, g, &s, r.steps, d->keep)) return wf__ode_failed(y, n);
    for (int i = 0; i < n; i++) {
        int shape[4], nd = wf_shape(y[i], shape), full[5] = { r.steps / r.per + 1, 1, 1, 1, 1 };
        for (int k = 0; k < nd; k++) full[k + 1] = shape[k];
        y[i] = s.y[i];
        if (!path) continue;
        wf_t both[2] = { wf_slice_step(s.path[i], 0, 0, full[0] - 1, r.per), wf__rows_flat(y[i], 1) };
        path[i] = wf_reshape(wf_concat(both, 2, 0), nd + 1, full);
    }
    return g->arena->report.code < 0 ? wf__ode_failed(y, n) : WF_OK;
}

wf_t wf_ode(wf_t y0, const wf_field_desc *f, const wf_solve_desc *d)
{
    wf_ode_list(&y0, 1, f, d, NULL);
    return y0;
}

/* solvers: drive a state */
wf_t wf_along(wf_t matrix, wf_t speed)
{
    if (wf__strangers(matrix, speed)) return wf__none(matrix.graph);
    if (wf__of(matrix)->nd < 1 || wf__of(speed)->nd != 1 || wf__of(matrix)->d[wf__of(matrix)->nd - 1] != wf__of(speed)->d[0]) return wf__misfit(matrix, speed, "along");
    return wf_sum_over(wf_mul(matrix, speed), -1);
}

static void wf__cde_field(const wf_t *y, wf_t t, const wf_t *with, wf_t *dy, void *user)
{
    const wf_field_desc *f = (const wf_field_desc *)user;
    f->fn(y, t, with, dy, f->user);
    if (dy[0].id) dy[0] = wf_along(dy[0], with[0]);
}

wf_t wf_cde(wf_t y0, const wf_field_desc *f, const wf_control *control, const wf_solve_desc *d)
{
    if (!f || !f->fn || !control || !d) {
        if (y0.graph) wf__fail(y0.graph->arena, WF_ERROR_ARGUMENT, "cde: needs a field, a control and a description");
        return wf__none(y0.graph);
    }
    wf_field_desc along = *f;
    wf_field_desc matrix = *f;
    wf_solve_desc driven = *d;
    along.fn = wf__cde_field;
    along.user = &matrix;
    driven.control = control;
    return wf_ode(y0, &along, &driven);
}

/* solvers: define a march */
typedef struct wf__march {
    const wf__rule *rule;
    wf_rhs_fn f;
    void *user;
    size_t n;
    double *k[7], *y, *next, rtol, atol, h, before, way; /* way: 1 or -1 */
    wf_ode_report *report;
} wf__march;

static wf_result wf__march_slope(wf__march *m, double t, const double *y, double *dy)
{
    m->report->calls++;
    wf_result r = m->f(t, y, dy, m->user);
    return r ? wf__report(&m->report->why, r, "ode: the right-hand side gave up at t = %g", t) : WF_OK;
}

/* solvers: try a step */
static wf_result wf__march_try(wf__march *m, double t, double h)
{
    int stages = m->rule->stages;
    for (int i = 1; i <= stages; i++) {
        const double *a = i < stages ? m->rule->a + i * (i - 1) / 2 : m->rule->b;
        for (size_t x = 0; x < m->n; x++) {
            double sum = 0;
            for (int j = 0; j < i; j++) sum += a[j] * m->k[j][x];
            m->next[x] = m->y[x] + h * sum;
        }
        wf_result r = wf__march_slope(m, i < stages ? t + m->rule->c[i] * h : t + h, m->next, m->k[i]);
        if (r) return r;
    }
    return WF_OK;
}

static double wf__march_norm(const wf__march *m, const double *x, const double *next)
{
    double sum = 0;
    for (size_t i = 0; i < m->n; i++) {
        double a = fabs(m->y[i]), b = fabs(next[i]), e = x[i] / (m->atol + m->rtol * (a > b ? a : b));
        sum += e * e;
    }
    return sqrt(sum / (double)m->n);
}

static double wf__march_error(wf__march *m, double h) /* leaves the slope at the new point in k[6], uses k[1] */
{
    for (size_t x = 0; x < m->n; x++) {
        double sum = 0;
        for (int j = 0; j < 7; j++) sum += m->rule->e[j] * m->k[j][x];
        m->k[1][x] = h * sum;
    }
    return wf__march_norm(m, m->k[1], m->next);
}

/* solvers: guess the first step */
static wf_result wf__march_guess(wf__march *m, double t, double span)
{
    double size = wf__march_norm(m, m->y, m->y), slope = wf__march_norm(m, m->k[0], m->y), h = size < 1e-5 || slope < 1e-5 ? 1e-6 : 0.01 * size / slope;
    if (h > span) h = span;
    for (size_t i = 0; i < m->n; i++) m->next[i] = m->y[i] + m->way * h * m->k[0][i];
    wf_result r = wf__march_slope(m, t + m->way * h, m->next, m->k[1]);
    if (r) return r;
    for (size_t i = 0; i < m->n; i++) m->k[1][i] -= m->k[0][i];
    double bend = wf__march_norm(m, m->k[1], m->y) / h, most = bend > slope ? bend : slope;
    double better = most > 1e-15 ? pow(0.01 / most, 1.0 / m->rule->order) : h * 1e-3 > 1e-6 ? h * 1e-3 : 1e-6;
    m->h = better < 100 * h ? better : wf__finite(bend) ? 100 * h : h;
    return WF_OK;
}

/* solvers: choose the next step */
static void wf__march_accept(wf__march *m, double h, double error, int rejected)
{
    double factor = 0.9 * pow(error > 1e-10 ? error : 1e-10, -0.17) * pow(m->before, 0.04), most = rejected ? 1 : 10;
    double wanted = h * (factor > most ? most : factor < 0.2 ? 0.2 : factor);
    if (h >= m->h || wanted > m->h) m->h = wanted; /* a step that was cut to hit a time says nothing against a longer one */
    m->before = error > 1e-4 ? error : 1e-4;
    m->report->accepted++;
}

static void wf__march_reject(wf__march *m, double h, double error)
{
    double factor = 0.9 * pow(error, -1.0 / m->rule->order);
    m->h = h * (wf__finite(error) && factor > 0.2 ? factor : 0.2);
    m->report->rejected++;
}

/* solvers: take one step */
static wf_result wf__march_step(wf__march *m, double *t, double to)
{
    double left = fabs(to - *t), size = fabs(to) > fabs(*t) ? fabs(to) : fabs(*t);
    for (int tries = 0;; tries++) {
        int last = m->h >= left;
        double h = last ? left : 2 * m->h > left ? 0.5 * left : m->h;
        if (!last && !(h > 4e-15 * size))
            return wf__report(&m->report->why, WF_ERROR_NUMERIC, "ode: at t = %g steps became too small (%g): the equation is singular there, stiff, or not finite", *t, h);
        wf_result r = wf__march_try(m, *t, m->way * h);
        if (r) return r;
        double error = wf__march_error(m, m->way * h);
        if (!(error <= 1)) { wf__march_reject(m, h, error); continue; }
        wf__march_accept(m, h, error, tries);
        *t = last ? to : *t + m->way * h;
        double *y = m->y, *slope = m->k[0];
        m->y = m->next;
        m->next = y;
        m->k[0] = m->k[6];
        m->k[6] = slope;
        return WF_OK;
    }
}

/* solvers: check a march */
static wf_result wf__march_check(const wf__march *m, double t0, double t1, const wf_adapt_desc *d)
{
    wf_report *why = &m->report->why;
    if (!m->f || !m->n || !m->rule || m->rule->order < 5 || !wf__finite(t0) || !wf__finite(t1) || !(m->rtol >= 0) || !(m->atol >= 0) || !(d->first >= 0) || !(d->largest >= 0))
        return wf__report(why, WF_ERROR_ARGUMENT, "ode: method %d (WF_DOPRI5 or WF_TSIT5), %z numbers, from %g to %g, tolerances %g and %g", d->method, m->n, t0, t1, m->rtol, m->atol);
    for (int i = 0; i < d->count; i++) {
        double before = i ? d->times[i - 1] : t0;
        if (!((d->times[i] - before) * m->way >= 0) || !((t1 - d->times[i]) * m->way >= 0)) return wf__report(why, WF_ERROR_DATA, "ode: wanted time %d is %g, the one before %g, the end %g", i, d->times[i], before, t1);
    }
    for (size_t i = 0; i < m->n; i++) {
        if (!wf__finite(m->y[i])) return wf__report(why, WF_ERROR_DATA, "ode: number %z of the start is not finite", i);
        if (!wf__finite(m->k[0][i])) return wf__report(why, WF_ERROR_NUMERIC, "ode: the right-hand side is not finite at the start, t = %g, number %z", t0, i);
    }
    return WF_OK;
}

/* solvers: march */
static wf_result wf__march_on(wf__march *m, double t0, double t1, const wf_adapt_desc *d)
{
    double *t = &m->report->t;
    wf_result r = m->f && m->n ? wf__march_slope(m, t0, m->y, m->k[0]) : WF_OK;
    if (!r) r = wf__march_check(m, t0, t1, d);
    if (!r && t0 != t1) r = d->first > 0 ? WF_OK : wf__march_guess(m, t0, fabs(t1 - t0));
    if (d->first > 0) m->h = d->first;
    if (!r && d->grid && d->grid_room > 0) d->grid[0] = t0;
    for (int i = 0; !r && i <= d->count; i++) {
        double to = i < d->count ? d->times[i] : t1;
        while (!r && *t != to) {
            int most = d->max_steps ? d->max_steps : 100000;
            if (d->largest > 0 && m->h > d->largest) m->h = d->largest;
            if (m->report->accepted + m->report->rejected >= most) r = wf__report(&m->report->why, WF_ERROR_LIMIT, "ode: %d steps reached t = %g only", most, *t);
            else if (d->grid && m->report->accepted + 1 >= d->grid_room) r = wf__report(&m->report->why, WF_ERROR_LIMIT, "ode: no room for more than %d times, at t = %g", d->grid_room, *t);
            else r = wf__march_step(m, t, to);
            if (!r && d->grid) d->grid[m->report->accepted] = *t;
        }
        if (!r && i < d->count && d->out) memcpy(d->out + (size_t)i * m->n, m->y, m->n * sizeof *m->y);
    }
    return r;
}

wf_result wf_ode_solve(wf_arena *A, wf_rhs_fn f, void *user, double *y, size_t n, double t0, double t1, const wf_adapt_desc *desc, wf_ode_report *report)
{
    wf_adapt_desc d;
    wf_ode_report own;
    wf__march m;
    memset(&d, 0, sizeof d);
    memset(&m, 0, sizeof m);
    m.report = report ? report : &own;
    memset(m.report, 0, sizeof *m.report);
    m.report->t = t0;
    if (desc) d = *desc;
    wf_mark mark = wf_arena_mark(A);
    double *room = y && n <= ((size_t)-1 - 9) / 9 ? (double *)wf_alloc(A, 9 * n, sizeof *room) : NULL;
    if (!room) return wf__report(&m.report->why, y ? WF_ERROR_MEMORY : WF_ERROR_ARGUMENT, "ode: no memory for, or no state of, %z numbers", n);
    m.rule = wf__rule_of(d.method ? d.method : WF_DOPRI5);
    m.f = f;
    m.user = user;
    m.n = n;
    m.rtol = d.rtol > 0 || d.atol > 0 ? d.rtol : 1e-6;
    m.atol = d.rtol > 0 || d.atol > 0 ? d.atol : 1e-9;
    m.before = 1e-4;
    m.way = t1 < t0 ? -1 : 1;
    for (int i = 0; i < 7; i++) m.k[i] = room + (size_t)i * n;
    m.y = room + 7 * n;
    m.next = room + 8 * n;
    memcpy(m.y, y, n * sizeof *y);
    wf_result r = wf__march_on(&m, t0, t1, &d);
    memcpy(y, m.y, n * sizeof *y);
    wf_arena_reset(A, mark);
    return r;
}

/* solvers: call a plan */
struct wf_rhs { wf_rhs_desc d; size_t n; int type; char *y, *dy, *now; wf_feed *feed; };

wf_rhs *wf_rhs_new(wf_arena *A, const wf_rhs_desc *d)
{
    int a[4], b[4];
    if (!d || !d->plan || !d->ws || !d->y.id || !d->dy.id || !d->samples || d->count < 0 || (d->control && !d->speed.id)) { wf__fail(A, WF_ERROR_ARGUMENT, "rhs: needs a plan, a workspace, y, dy, samples, and with a control its input"); return NULL; }
    if (wf_shape(d->y, a) != wf_shape(d->dy, b) || memcmp(a, b, sizeof a) || wf_is_batch(d->y) != wf_is_batch(d->dy)) { wf__misfit(d->y, d->dy, "rhs: a state and its derivative"); wf__fail(A, WF_ERROR_SHAPE, "rhs: y and dy have different shapes or spaces"); return NULL; }
    wf_rhs *r = (wf_rhs *)wf_alloc(A, 1, sizeof *r);
    if (!r) return NULL;
    r->d = *d;
    r->type = d->plan->type;
    r->n = wf__node_size(wf__of(d->y)) * (wf_is_batch(d->y) ? d->samples : 1);
    r->feed = (wf_feed *)wf_alloc(A, (size_t)d->count + 4, sizeof *r->feed);
    r->y = (char *)wf_alloc(A, r->type == WF_F64 ? 1 : r->n, sizeof(float));
    r->dy = (char *)wf_alloc(A, r->type == WF_F64 ? 1 : r->n, sizeof(float));
    r->now = (char *)wf_alloc(A, 1 + (d->control ? (size_t)d->control->channels : 0), sizeof(double));
    if (!r->feed || !r->y || !r->dy || !r->now) return NULL;
    if (d->count) memcpy(r->feed, d->feeds, (size_t)d->count * sizeof *r->feed);
    return r;
}

size_t wf_rhs_size(const wf_rhs *r) { return r ? r->n : 0; }

wf_result wf_rhs_call(double t, const double *y, double *dy, void *rhs)
{
    wf_rhs *r = (wf_rhs *)rhs;
    size_t es = wf__type_size(r->type);
    int count = r->d.count, wide = r->type == WF_F64;
    for (size_t i = 0; !wide && i < r->n; i++) wf__put_value(r->y, r->type, i, y[i]);
    wf__put_value(r->now, r->type, 0, t);
    for (int k = 0; r->d.control && k < r->d.control->channels; k++) wf__put_value(r->now, r->type, (size_t)k + 1, wf_spline_slope(r->d.control, t, k));
    r->feed[count++] = wf_in(r->d.y, wide ? (const void *)y : r->y, 0);
    r->feed[count++] = wf_out(r->d.dy, wide ? (void *)dy : r->dy, 0);
    if (r->d.t.id) r->feed[count++] = wf_in(r->d.t, r->now, 0);
    if (r->d.control) r->feed[count++] = wf_in(r->d.speed, r->now + es, 0);
    wf_result ran = wf_run(r->d.plan, r->d.ws, r->feed, count, r->d.samples);
    for (size_t i = 0; !wide && i < r->n; i++) dy[i] = wf__get(r->dy, r->type, i);
    return ran == WF_ERROR_NUMERIC ? WF_OK : ran; /* the solver looks for numbers that are not finite itself, and takes a smaller step */
}

/* ---- Weight graphs ---- */
#ifndef WF_NO_WEIGHTFLOW

/* weight graphs: define the model */
enum { WF__LAYERS = 7 };

typedef struct wf__flow_layer { int first, count, inputs; } wf__flow_layer;

struct wf_weightflow {
    wf_arena *arena;
    wf_weightflow_desc desc;
    int anchors, bits, neurons, features, fitted, matched;
    size_t size;
    double *times;
    wf__flow_layer layer[WF__LAYERS];
    float *anchor;
    double *code;             /* [anchors][path_dim] */
    wf_spline *path;
    wf_params *backbone, *coder, *field;
    wf_opt *opt;
    wf_rng rng;
    struct wf__flow_run *score, *draw, *stepper, *match, *train[64];
    float *feed_start, *feed_target, *feed_control, *feed_weight, *best;
};

static const char *const wf__flow_layer_name[WF__LAYERS] = {
    "gru_layers_0_ir_i", "gru_layers_0_iz_i", "gru_layers_0_in_i", "gru_layers_0_hr_h", "gru_layers_0_hz_h", "gru_layers_0_hn_h", "output_layer"
};

/* weight graphs: lay out the tokens */
static void wf__flow_layout(wf_weightflow *m)
{
    int h = m->desc.hidden, at = 0;
    for (m->bits = 1; (m->desc.states - 1) >> m->bits; m->bits++) {}
    for (int k = 0; k < WF__LAYERS; k++) {
        wf__flow_layer *l = &m->layer[k];
        l->first = at;
        l->count = k < 6 ? h : m->desc.states;
        l->inputs = k < 3 ? m->bits : h;
        at += l->count;
    }
    m->neurons = at;
    m->features = (m->bits > h ? m->bits : h) + 1;
    m->size = (size_t)m->neurons * (size_t)m->features;
}

/* weight graphs: cut the weights out of the tokens */
static wf_affine wf__flow_affine(const wf_weightflow *m, wf_t tokens, int first, int count, int inputs)
{
    wf_affine w;
    wf_t columns = wf_slice(tokens, 1, first, count);
    w.weight = wf_transpose(wf_slice(columns, 0, 0, inputs));
    w.bias = wf_reshape(wf_slice(columns, 0, inputs, 1), 1, &count);
    (void)m;
    return w;
}

static wf_sequence_weights wf__flow_backbone(const wf_weightflow *m, wf_t tokens)
{
    wf_sequence_weights w;
    int h = m->desc.hidden;
    memset(&w, 0, sizeof w);
    w.layers = 1;
    w.cell[0].in = wf__flow_affine(m, tokens, 0, 3 * h, m->bits);
    w.cell[0].state = wf__flow_affine(m, tokens, 3 * h, 3 * h, h);
    w.out = wf__flow_affine(m, tokens, 6 * h, m->desc.states, h);
    return w;
}

/* weight graphs: the likelihood of a state */
static wf_t wf__flow_log_prob(const wf_weightflow *m, wf_t tokens, wf_t x)
{
    wf_sequence_weights w = wf__flow_backbone(m, tokens);
    wf_t laws = wf_sequence_with(x, &w, 1).log_probs, each[32];
    for (int i = 0; i < m->desc.species; i++) {
        wf_t law = wf_reshape(wf_slice(laws, 0, i, 1), 1, &m->desc.states);
        each[i] = wf_take(law, wf_slice(x, 0, i, 1));
    }
    return wf_concat(each, m->desc.species, 0);
}

/* weight graphs: keep a compiled plan */
typedef struct wf__flow_run { wf_graph *g; wf_plan *plan; wf_ws *ws; wf_t in[4], out; } wf__flow_run;

static wf__flow_run *wf__flow_compile(wf_weightflow *m, wf__flow_run *r, int gradient, int tile)
{
    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    d.out[0] = r->out;
    d.tile = tile;
    if (gradient) d.grad_of = r->out;
    r->plan = wf_compile(m->arena, &d);
    r->ws = wf_ws_new(m->arena, r->plan, m->desc.threads, m->desc.parallel);
    return r->plan && r->ws ? r : NULL;
}

static wf__flow_run *wf__flow_run_new(wf_weightflow *m, wf_params *P)
{
    wf__flow_run *r = (wf__flow_run *)wf_alloc(m->arena, 1, sizeof *r);
    if (r) r->g = wf_graph_new(m->arena, P);
    return r && r->g ? r : NULL;
}

static wf_t wf__flow_tokens(wf_weightflow *m, wf_graph *g, const char *name)
{
    int d[2] = { m->features, m->neurons };
    return wf_shared_nd(g, name, 2, d);
}

static wf_result wf__flow_error(const wf_weightflow *m) { return m->arena->report.code < 0 ? m->arena->report.code : WF_ERROR_ARGUMENT; }

/* weight graphs: start the first anchor */
static void wf__flow_start(wf_weightflow *m, float *tokens)
{
    double scale = 1 / sqrt((double)m->desc.hidden);
    memset(tokens, 0, m->size * sizeof *tokens);
    for (int k = 0; k < WF__LAYERS; k++)
        for (int j = 0; j < m->layer[k].count; j++)
            for (int i = 0; i < m->layer[k].inputs; i++) {
                size_t at = (size_t)i * (size_t)m->neurons + (size_t)(m->layer[k].first + j);
                tokens[at] = (float)(scale * (2 * wf_uniform_at(m->desc.seed, at, 0, 0, WF__PURPOSE_INIT) - 1));
            }
}

/* weight graphs: check the snapshots */
static wf_result wf__flow_check_counts(wf_weightflow *m, const int32_t *x, size_t n, size_t stride, const char *what, int which)
{
    for (size_t i = 0; i < n; i++)
        for (int s = 0; s < m->desc.species; s++) {
            int32_t c = x[i * stride + (size_t)s];
            if (c >= 0 && c < m->desc.states) continue;
            return wf__fail(m->arena, WF_ERROR_DATA, "weightflow: %s %d, row %z, species %d: the count %d is not in 0..%d", what, which, i, s, (int)c, m->desc.states - 1);
        }
    return WF_OK;
}

/* weight graphs: fit one anchor */
typedef struct wf__flow_fit { wf__flow_run *run; wf_opt *opt; float *batch; int *order; double done, total; } wf__flow_fit;

static wf_result wf__flow_fit_one(wf_weightflow *m, wf__flow_fit *f, const int32_t *x, size_t n, size_t stride, int epochs)
{
    size_t d = (size_t)m->desc.species, batch = 64;
    for (size_t i = 0; i < n; i++) f->order[i] = (int)i;
    for (int e = 0; e < epochs; e++) {
        wf_rng_shuffle(&m->rng, f->order, n);
        for (size_t at = 0; at < n; at += batch) {
            size_t rows = n - at < batch ? n - at : batch;
            float loss;
            for (size_t i = 0; i < rows; i++)
                for (size_t s = 0; s < d; s++) f->batch[i * d + s] = (float)x[(size_t)f->order[at + i] * stride + s];
            wf_feed feeds[2];
            feeds[0] = wf_in(f->run->in[0], f->batch, 0);
            feeds[1] = wf_out(f->run->out, &loss, 0);
            wf_result r = wf_run(f->run->plan, f->run->ws, feeds, 2, rows);
            if (r < 0) return wf__fail(m->arena, r, "%s", wf_ws_report(f->run->ws)->text);
            if ((r = wf_opt_step(f->opt, f->run->ws)) < 0) return wf__fail(m->arena, r, "%s", wf_opt_report(f->opt)->text);
        }
        f->done += 1;
        if (m->desc.progress && m->desc.progress(m->desc.progress_user, "anchors", f->done, f->total)) return WF_CANCELLED;
    }
    return WF_OK;
}

/* weight graphs: fit the anchors */
static wf_result wf__flow_fit_open(wf_weightflow *m, wf__flow_fit *f, size_t most)
{
    int d[2] = { m->features, m->neurons };
    memset(f, 0, sizeof *f);
    m->backbone = wf_params_new(m->arena, m->desc.seed, WF_F32);
    f->run = m->backbone ? wf__flow_run_new(m, m->backbone) : NULL;
    f->batch = (float *)wf_alloc(m->arena, 64 * (size_t)m->desc.species, sizeof *f->batch);
    f->order = (int *)wf_alloc(m->arena, most, sizeof *f->order);
    if (!f->run || !f->batch || !f->order) return wf__flow_error(m);
    wf_t tokens = wf_param(f->run->g, "tokens", 2, d, WF_INIT_ZERO, 0);
    f->run->in[0] = wf_input(f->run->g, "x", m->desc.species);
    f->run->out = wf_neg(wf_mean(wf__flow_log_prob(m, tokens, f->run->in[0])));
    return wf__flow_compile(m, f->run, 1, 64) ? (wf_result)WF_OK : wf__flow_error(m);
}

wf_result wf_weightflow_fit_anchors(wf_weightflow *m, const int32_t *const *counts, const size_t *n, const size_t *stride, int first_epochs, int later_epochs)
{
    wf__flow_fit f;
    size_t most = 1;
    if (!m) return WF_ERROR_ARGUMENT;
    if (first_epochs <= 0) first_epochs = 50;
    if (later_epochs <= 0) later_epochs = 25;
    for (int i = 0; i < m->anchors; i++) {
        if (!n[i]) return wf__fail(m->arena, WF_ERROR_DATA, "weightflow: snapshot %d has no samples", i);
        if (wf__flow_check_counts(m, counts[i], n[i], stride[i], "snapshot", i) < 0) return WF_ERROR_DATA;
        if (n[i] > most) most = n[i];
    }
    wf_result r = wf__flow_fit_open(m, &f, most);
    f.total = first_epochs + (double)(m->anchors - 1) * later_epochs;
    if (r < 0) return r;
    wf_opt_desc o;
    memset(&o, 0, sizeof o);
    o.rate = 1e-2;
    o.decay = 1e-2;
    float *tokens = (float *)wf_params_data(m->backbone);
    wf__flow_start(m, tokens);
    f.opt = wf_opt_new(m->arena, m->backbone, &o);
    if (!f.opt) return wf__flow_error(m);
    for (int i = 0; i < m->anchors && r == WF_OK; i++) {
        wf_opt_restart(f.opt); /* a fresh memory for each anchor; the weights go on */
        r = wf__flow_fit_one(m, &f, counts[i], n[i], stride[i], i ? later_epochs : first_epochs);
        memcpy(m->anchor + (size_t)i * m->size, tokens, m->size * sizeof *tokens);
    }
    if (r == WF_OK) m->fitted = 1;
    return r;
}

/* weight graphs: list the real entries */
static size_t wf__flow_flatten(const wf_weightflow *m, const float *tokens, float *flat)
{
    size_t at = 0;
    for (int k = 0; k < WF__LAYERS; k++)
        for (int j = 0; j < m->layer[k].count; j++)
            for (int i = 0; i <= m->layer[k].inputs; i++) {
                if (flat) flat[at] = tokens[(size_t)i * (size_t)m->neurons + (size_t)(m->layer[k].first + j)];
                at++;
            }
    return at;
}

/* weight graphs: measure time */
static double wf__flow_knot(const wf_weightflow *m, int i)
{
    double span = m->times[m->anchors - 1] - m->times[0];
    return m->desc.as_published ? (double)i / (m->anchors - 1) : (m->times[i] - m->times[0]) / span;
}

static double wf__flow_time(const wf_weightflow *m, double t)
{
    double s = (t - m->times[0]) / (m->times[m->anchors - 1] - m->times[0]);
    return m->desc.as_published ? s * (10.0 * (m->anchors - 1)) / (10.0 * (m->anchors - 1) + 1) : s;
}

wf_result wf_weightflow_set_path(wf_weightflow *m, const double *codes)
{
    double knots[256];
    if (!m || !codes) return WF_ERROR_ARGUMENT;
    if (codes != m->code) memcpy(m->code, codes, (size_t)m->anchors * (size_t)m->desc.path_dim * sizeof *codes);
    for (int i = 0; i < m->anchors; i++) knots[i] = wf__flow_knot(m, i);
    m->path = wf_spline_natural(m->arena, knots, m->code, m->anchors, m->desc.path_dim);
    return m->path ? (wf_result)WF_OK : wf__flow_error(m);
}

/* weight graphs: fit the path */
static wf_t wf__flow_coder(wf_weightflow *m, wf_t x, wf_t *code)
{
    int size = wf__of(x)->d[0];
    wf_t h = wf_tanh(wf_linear(x, "encoder.0", 128, 1));
    *code = wf_tanh(wf_linear(h, "encoder.2", m->desc.path_dim, 1));
    return wf_linear(wf_tanh(wf_linear(*code, "decoder.0", 128, 1)), "decoder.2", size, 1);
}

wf_result wf_weightflow_fit_path(wf_weightflow *m, int steps)
{
    if (!m) return WF_ERROR_ARGUMENT;
    if (!m->fitted) return wf__fail(m->arena, WF_ERROR_ARGUMENT, "weightflow: fit the anchors before the path");
    if (m->desc.control == WF_CONTROL_ODE) return WF_OK;
    if (steps <= 0) steps = 10000;
    size_t size = wf__flow_flatten(m, m->anchor, NULL), dim = (size_t)m->desc.path_dim;
    float *flat = (float *)wf_alloc(m->arena, size * (size_t)m->anchors, sizeof *flat), *z = (float *)wf_alloc(m->arena, dim * (size_t)m->anchors, sizeof *z), loss;
    m->coder = wf_params_new(m->arena, m->desc.seed + 3, WF_F32);
    wf__flow_run *run = m->coder ? wf__flow_run_new(m, m->coder) : NULL;
    if (!flat || !z || !run) return wf__flow_error(m);
    for (int i = 0; i < m->anchors; i++) wf__flow_flatten(m, m->anchor + (size_t)i * m->size, flat + (size_t)i * size);
    wf_t x = wf_input(run->g, "x", (int)size), code;
    wf_t back = wf__flow_coder(m, x, &code);
    run->out = wf_mean(wf_square(wf_sub(back, x)));
    wf__flow_run eval = *run;
    eval.out = code;
    wf_opt *opt = wf_opt_new(m->arena, m->coder, NULL);
    if (!opt || !wf__flow_compile(m, run, 1, 16) || !wf__flow_compile(m, &eval, 0, 16)) return wf__flow_error(m);
    wf_feed feeds[2];
    feeds[0] = wf_in(x, flat, 0);
    feeds[1] = wf_out(run->out, &loss, 0);
    for (int k = 0; k < steps; k++) {
        wf_result r = wf_run(run->plan, run->ws, feeds, 2, (size_t)m->anchors);
        if (r < 0) return wf__fail(m->arena, r, "%s", wf_ws_report(run->ws)->text);
        if ((r = wf_opt_step(opt, run->ws)) < 0) return wf__fail(m->arena, r, "%s", wf_opt_report(opt)->text);
        if (k % 100 == 0 && m->desc.progress && m->desc.progress(m->desc.progress_user, "path", k, steps)) return WF_CANCELLED;
    }
    feeds[1] = wf_out(code, z, 0);
    wf_result r = wf_run(eval.plan, eval.ws, feeds, 2, (size_t)m->anchors);
    if (r < 0) return wf__fail(m->arena, r, "%s", wf_ws_report(eval.ws)->text);
    for (size_t i = 0; i < dim * (size_t)m->anchors; i++) m->code[i] = (double)z[i];
    return wf_weightflow_set_path(m, m->code);
}

/* weight graphs: build the vector field */
static wf_t wf__flow_net(wf_t x, const char *kind, int k, int hidden, int out)
{
    char name[96], part[112];
    wf__format(name, sizeof name, "%s.%s", kind, wf__flow_layer_name[k]);
    wf__format(part, sizeof part, "%s.0", name);
    x = wf_tanh(wf_linear(x, part, hidden, 1));
    wf__format(part, sizeof part, "%s.3", name);
    return wf_linear(x, part, out, 1);
}

static wf_t wf__flow_field(wf_weightflow *m, wf_t state, wf_t speed)
{
    wf_t parts[WF__LAYERS], x;
    int dim = m->desc.control == WF_CONTROL_ODE ? 1 : m->desc.path_dim;
    for (int k = 0; k < WF__LAYERS; k++) {
        wf__flow_layer l = m->layer[k];
        parts[k] = wf__flow_net(wf_slice(wf_slice(state, 1, l.first, l.count), 0, 0, l.inputs + 1), "input_mlps", k, 128, m->desc.width);
    }
    x = wf_concat(parts, WF__LAYERS, 1);
    for (int k = 0; k < m->desc.layers; k++) {
        char name[64];
        wf_transformer_desc d;
        memset(&d, 0, sizeof d);
        d.heads = m->desc.heads;
        d.width = m->desc.feed_forward;
        wf__format(name, sizeof name, "attention_layers.layers.%d", k);
        x = wf_transformer_layer(x, name, &d);
    }
    for (int k = 0; k < WF__LAYERS; k++) {
        wf__flow_layer l = m->layer[k];
        int d[3] = { l.inputs + 1, dim, l.count };
        wf_t y = wf__flow_net(wf_slice(x, 1, l.first, l.count), "output_mlps", k, 128, (l.inputs + 1) * dim);
        if (m->desc.control == WF_CONTROL_CDE) {
            int s[2] = { dim, 1 };
            y = wf_sum_over(wf_mul(wf_reshape(y, 3, d), wf_reshape(speed, 2, s)), 1);
        }
        parts[k] = wf_pad(y, 0, 0, m->features - (l.inputs + 1));
    }
    return wf_concat(parts, WF__LAYERS, 1);
}

/* weight graphs: take a step */
static wf_t wf__flow_step(wf_weightflow *m, wf_t y, wf_t speeds, wf_t h, wf_t *energy)
{
    int dim = m->desc.path_dim;
    wf_t k[4], third = wf_scale(h, 1.0 / 3);
    for (int i = 0; i < 4; i++) {
        wf_t at = y;
        if (i == 1) at = wf_add(y, wf_mul(third, k[0]));
        if (i == 2) at = wf_add(y, wf_sub(wf_mul(h, k[1]), wf_mul(third, k[0])));
        if (i == 3) at = wf_add(y, wf_mul(h, wf_add(wf_sub(k[0], k[1]), k[2])));
        k[i] = wf__flow_field(m, at, wf_slice(speeds, 0, i * dim, dim));
    }
    wf_t eighth = wf_scale(h, 0.125);
    if (energy) {
        wf_t e = wf_add(wf_add(wf_sumsq(k[0]), wf_sumsq(k[3])), wf_scale(wf_add(wf_sumsq(k[1]), wf_sumsq(k[2])), 3));
        *energy = wf_mul(wf_scale(eighth, 0.5), e);
    }
    return wf_add(y, wf_mul(eighth, wf_add(wf_add(k[0], k[3]), wf_scale(wf_add(k[1], k[2]), 3))));
}

/* weight graphs: build the training graph */
static wf_result wf__flow_train_build(wf_weightflow *m, int horizon)
{
    wf__flow_run *r = wf__flow_run_new(m, m->field);
    int sub = m->desc.substeps, steps = horizon * sub, one = 1, d3[3] = { steps, m->features, m->neurons }, d2[2] = { steps, 4 * m->desc.path_dim + 2 };
    double lambda = m->desc.energy < 0 ? 0 : m->desc.energy;
    if (!r) return wf__flow_error(m);
    r->in[0] = wf_input_nd(r->g, "start", 2, d3 + 1);
    r->in[1] = wf_input_nd(r->g, "target", 3, d3);
    r->in[2] = wf_input_nd(r->g, "control", 2, d2);
    r->in[3] = wf_input(r->g, "weight", 1);
    wf_loop *l = wf_loop_begin(r->g, steps, WF_KEEP_ALL);
    wf_graph *b = wf_loop_body(l);
    wf_t y = wf_loop_carry(l, r->in[0]), e = wf_loop_carry(l, wf_per_sample(wf_full(r->g, 0, NULL, 0)));
    wf_t target = wf_loop_each(l, r->in[1]), row = wf_loop_each(l, r->in[2]), energy;
    wf_t h = wf_reshape(wf_slice(row, 0, 4 * m->desc.path_dim, 1), 0, &one), counts = wf_reshape(wf_slice(row, 0, 4 * m->desc.path_dim + 1, 1), 0, &one);
    wf_t next = wf__flow_step(m, y, row, h, &energy), sum = wf_add(e, energy);
    wf_t loss = wf_add(wf_scale(wf_sumsq(wf_sub(next, target)), 1.0 / (double)m->size), wf_mul(sum, wf_const(b, lambda)));
    loss = wf_mul(loss, counts);
    wf_loop_next(l, y, next);
    wf_loop_next(l, e, sum);
    if (wf_loop_end(l) < 0) return wf__flow_error(m);
    wf_t total = wf_mul(wf_loop_total(l, loss), wf_reshape(r->in[3], 0, &one));
    r->out = wf_scale(wf_batch_sum(total), 1.0 / horizon);
    m->train[horizon] = r;
    return wf__flow_compile(m, r, 1, 1) ? (wf_result)WF_OK : wf__flow_error(m);
}

/* weight graphs: write the speeds of a step */
static void wf__flow_speeds(const wf_weightflow *m, double t, double h, float *row)
{
    static const double stage[4] = { 0, 1.0 / 3, 2.0 / 3, 1 };
    int dim = m->desc.path_dim;
    for (int i = 0; i < 4; i++)
        for (int z = 0; z < dim; z++) row[i * dim + z] = m->path ? (float)wf_spline_slope(m->path, t + stage[i] * h, z) : 0;
    row[4 * dim] = (float)h;
    row[4 * dim + 1] = 1;
}

/* weight graphs: fill the feeds of a start */
static void wf__flow_feed(wf_weightflow *m, int slot, int start, int horizon)
{
    int sub = m->desc.substeps, steps = horizon * sub;
    size_t columns = (size_t)(4 * m->desc.path_dim + 2);
    memcpy(m->feed_start + (size_t)slot * m->size, m->anchor + (size_t)start * m->size, m->size * sizeof(float));
    for (int k = 0; k < steps; k++) {
        int to = start + k / sub + 1;
        size_t at = (size_t)slot * (size_t)steps + (size_t)k;
        double from = wf__flow_time(m, m->times[start + k / sub]), end = wf__flow_time(m, m->times[to]), h = (end - from) / sub, t = from + h * (k % sub);
        if (m->desc.as_published) t -= wf__flow_time(m, m->times[start]);
        float *row = m->feed_control + at * columns;
        wf__flow_speeds(m, t, h, row);
        row[columns - 1] = k % sub == sub - 1 ? 1.0f : 0.0f;
        memcpy(m->feed_target + at * m->size, m->anchor + (size_t)to * m->size, m->size * sizeof(float));
    }
}

/* weight graphs: one update */
static wf_result wf__flow_update(wf_weightflow *m, float *loss)
{
    int most = m->anchors - 1 < 63 ? m->anchors - 1 : 63;
    int horizon = 1 + (int)wf_rng_below(&m->rng, (uint32_t)most), starts = m->anchors - horizon, used = 0, drawn[256];
    memset(drawn, 0, sizeof drawn);
    for (int i = 0; i < 64; i++) drawn[wf_rng_below(&m->rng, (uint32_t)starts)]++;
    for (int s = 0; s < starts; s++) {
        if (!drawn[s]) continue;
        wf__flow_feed(m, used, s, horizon);
        m->feed_weight[used++] = (float)drawn[s] / 64;
    }
    if (!m->train[horizon]) {
        wf_result r = wf__flow_train_build(m, horizon);
        if (r < 0) return r;
    }
    wf__flow_run *q = m->train[horizon];
    wf_feed feeds[5];
    feeds[0] = wf_in(q->in[0], m->feed_start, 0);
    feeds[1] = wf_in(q->in[1], m->feed_target, 0);
    feeds[2] = wf_in(q->in[2], m->feed_control, 0);
    feeds[3] = wf_in(q->in[3], m->feed_weight, 0);
    feeds[4] = wf_out(q->out, loss, 0);
    wf_result r = wf_run(q->plan, q->ws, feeds, 5, (size_t)used);
    if (r < 0) return wf__fail(m->arena, r, "%s", wf_ws_report(q->ws)->text);
    r = wf_opt_step(m->opt, q->ws);
    return r < 0 ? wf__fail(m->arena, r, "%s", wf_opt_report(m->opt)->text) : r;
}

/* weight graphs: make an optimiser */
static wf_opt *wf__flow_optimiser(wf_weightflow *m, int updates)
{
    wf_opt_desc o;
    memset(&o, 0, sizeof o);
    o.rate = 1e-3;
    o.decay = 1e-4;
    if (!m->desc.as_published) {
        o.rate = 2e-3;
        o.clip = 1;
        o.schedule = WF_RATE_COSINE;
        o.steps = updates;
        o.warmup = updates > 100 ? 20 : 0;
    }
    return wf_opt_new(m->arena, m->field, &o);
}

/* weight graphs: build the matching graph */
static wf_result wf__flow_match_build(wf_weightflow *m)
{
    int d[2] = { m->features, m->neurons };
    double h = 1.0 / (m->anchors - 1);
    wf__flow_run *r = wf__flow_run_new(m, m->field);
    if (!r) return wf__flow_error(m);
    r->in[0] = wf_input_nd(r->g, "state", 2, d);
    r->in[1] = wf_input(r->g, "speed", m->desc.path_dim);
    r->in[2] = wf_input_nd(r->g, "velocity", 2, d);
    r->out = wf_scale(wf_mean(wf_square(wf_sub(wf__flow_field(m, r->in[0], r->in[1]), r->in[2]))), h * h);
    m->match = r;
    return wf__flow_compile(m, r, 1, 1) ? (wf_result)WF_OK : wf__flow_error(m);
}

/* weight graphs: scatter a sample around the path */
static void wf__flow_scatter(wf_weightflow *m, float *state, float *velocity)
{
    double size = 0.05, back = m->anchors - 1;
    for (int k = 0; k < WF__LAYERS; k++)
        for (int i = 0; i <= m->layer[k].inputs; i++)
            for (int j = 0; j < m->layer[k].count; j++) {
                size_t at = (size_t)i * (size_t)m->neurons + (size_t)(m->layer[k].first + j);
                double e = size * wf_rng_normal(&m->rng);
                state[at] = (float)((double)state[at] + e);
                velocity[at] = (float)((double)velocity[at] - back * e);
            }
}

/* weight graphs: draw samples to match */
static void wf__flow_match_feed(wf_weightflow *m, const wf_spline *curve, int samples)
{
    for (int i = 0; i < samples; i++) {
        double last = wf__flow_time(m, m->times[m->anchors - 1]), t = last * (i + wf_rng_uniform(&m->rng)) / samples;
        float *state = m->feed_start + (size_t)i * m->size, *velocity = m->feed_target + (size_t)i * m->size;
        for (size_t k = 0; k < m->size; k++) {
            state[k] = (float)wf_spline_value(curve, t, (int)k);
            velocity[k] = (float)wf_spline_slope(curve, t, (int)k);
        }
        wf__flow_scatter(m, state, velocity);
        for (int z = 0; z < m->desc.path_dim; z++) m->feed_control[i * m->desc.path_dim + z] = m->path ? (float)wf_spline_slope(m->path, t, z) : 0;
    }
}

/* weight graphs: match derivatives */
static wf_result wf__flow_match(wf_weightflow *m, int updates)
{
    enum { SAMPLES = 16 };
    double knots[256];
    double *values = (double *)wf_alloc(m->arena, (size_t)m->anchors * m->size, sizeof *values);
    for (size_t i = 0; values && i < (size_t)m->anchors * m->size; i++) values[i] = (double)m->anchor[i];
    for (int i = 0; i < m->anchors; i++) knots[i] = wf__flow_time(m, m->times[i]);
    wf_spline *curve = values ? wf_spline_natural(m->arena, knots, values, m->anchors, (int)m->size) : NULL;
    wf_opt *opt = wf__flow_optimiser(m, updates);
    if (!curve || !opt || wf__flow_match_build(m) < 0) return wf__flow_error(m);
    wf_feed feeds[4];
    float loss;
    feeds[0] = wf_in(m->match->in[0], m->feed_start, 0);
    feeds[1] = wf_in(m->match->in[1], m->feed_control, 0);
    feeds[2] = wf_in(m->match->in[2], m->feed_target, 0);
    feeds[3] = wf_out(m->match->out, &loss, 0);
    for (int k = 0; k < updates; k++) {
        wf__flow_match_feed(m, curve, SAMPLES);
        wf_result r = wf_run(m->match->plan, m->match->ws, feeds, 4, SAMPLES);
        if (r < 0) return wf__fail(m->arena, r, "%s", wf_ws_report(m->match->ws)->text);
        if ((r = wf_opt_step(opt, m->match->ws)) < 0) return wf__fail(m->arena, r, "%s", wf_opt_report(opt)->text);
        if (m->desc.progress && m->desc.progress(m->desc.progress_user, "matching", k + 1, updates)) return WF_CANCELLED;
    }
    m->matched = 1;
    return WF_OK;
}

/* weight graphs: keep the best epoch */
typedef struct wf__flow_epochs { double sum, best; int updates; } wf__flow_epochs;

static void wf__flow_epoch(wf_weightflow *m, wf__flow_epochs *e, double loss)
{
    e->sum += loss;
    if (++e->updates < 100) return;
    double mean = e->sum / e->updates;
    if (mean < e->best) {
        e->best = mean;
        memcpy(m->best, wf_params_data(m->field), wf_params_count(m->field) * sizeof *m->best);
    }
    e->sum = 0;
    e->updates = 0;
}

/* weight graphs: fit the field */
static wf_result wf__flow_begin(wf_weightflow *m, int updates)
{
    if (!m->fitted || (m->desc.control == WF_CONTROL_CDE && !m->path)) return wf__fail(m->arena, WF_ERROR_ARGUMENT, "weightflow: fit anchors and path before the field");
    if (!m->matched && m->desc.matching > 0) {
        wf_result r = wf__flow_match(m, m->desc.matching);
        if (r != WF_OK) return r;
    }
    if (!m->opt || !m->desc.as_published) m->opt = wf__flow_optimiser(m, updates);
    if (m->desc.as_published && !m->best) m->best = (float *)wf_alloc(m->arena, wf_params_count(m->field), sizeof *m->best);
    return m->opt && (m->best || !m->desc.as_published) ? (wf_result)WF_OK : wf__flow_error(m);
}

wf_result wf_weightflow_fit_field(wf_weightflow *m, int updates, double *loss)
{
    if (!m) return WF_ERROR_ARGUMENT;
    if (updates <= 0) updates = 10000;
    wf_result r = wf__flow_begin(m, updates);
    wf__flow_epochs epochs = { 0, HUGE_VAL, 0 };
    double sum = 0;
    int counted = 0;
    for (int k = 0; k < updates && r == WF_OK; k++) {
        float value = 0;
        if ((r = wf__flow_update(m, &value)) < 0) return r;
        if (m->desc.as_published) wf__flow_epoch(m, &epochs, (double)value);
        if (k >= updates - (updates + 9) / 10) { sum += (double)value; counted++; }
        if (m->desc.progress && m->desc.progress(m->desc.progress_user, "field", k + 1, updates)) r = WF_CANCELLED;
    }
    if (r < 0) return r;
    if (epochs.best < HUGE_VAL) memcpy(wf_params_data(m->field), m->best, wf_params_count(m->field) * sizeof *m->best);
    if (loss && r == WF_OK) *loss = epochs.best < HUGE_VAL ? epochs.best : sum / counted;
    return r;
}

/* weight graphs: build the solver's step */
static wf_result wf__flow_stepper(wf_weightflow *m)
{
    int d[2] = { m->features, m->neurons }, one = 1;
    if (m->stepper) return WF_OK;
    wf__flow_run *r = wf__flow_run_new(m, m->field);
    if (!r) return wf__flow_error(m);
    r->in[0] = wf_input_nd(r->g, "state", 2, d);
    r->in[1] = wf_input(r->g, "control", 4 * m->desc.path_dim + 2);
    r->out = wf__flow_step(m, r->in[0], r->in[1], wf_reshape(wf_slice(r->in[1], 0, 4 * m->desc.path_dim, 1), 0, &one), NULL);
    if (!wf__flow_compile(m, r, 0, 1)) return wf__flow_error(m);
    m->stepper = r;
    return WF_OK;
}

static wf_result wf__flow_advance(wf_weightflow *m, float *state, double t, double h, float *to)
{
    wf__flow_run *r = m->stepper;
    wf_feed feeds[3];
    wf__flow_speeds(m, t, h, m->feed_control);
    feeds[0] = wf_in(r->in[0], state, 0);
    feeds[1] = wf_in(r->in[1], m->feed_control, 0);
    feeds[2] = wf_out(r->out, to, 0);
    wf_result e = wf_run(r->plan, r->ws, feeds, 3, 1);
    return e < 0 ? wf__fail(m->arena, e, "%s", wf_ws_report(r->ws)->text) : e;
}

/* weight graphs: integrate to given times */
wf_result wf_weightflow_weights(wf_weightflow *m, const double *times, int n, float *tokens)
{
    if (!m || !times || !tokens) return WF_ERROR_ARGUMENT;
    if (!m->fitted || (m->desc.control == WF_CONTROL_CDE && !m->path)) return wf__fail(m->arena, WF_ERROR_ARGUMENT, "weightflow: there are no anchors or no path yet");
    if (wf__flow_stepper(m) < 0) return wf__flow_error(m);
    float *state = m->feed_start;
    double now = wf__flow_time(m, m->times[0]);
    int next = 1; /* the step of the training grid that comes next */
    memcpy(state, m->anchor, m->size * sizeof *state);
    for (int i = 0; i < n; i++) {
        double t = wf__flow_time(m, times[i]);
        if (!(t >= now - 1e-12)) return wf__fail(m->arena, WF_ERROR_DATA, "weightflow: time %d (%g) lies before the one before it, or before the first anchor", i, times[i]);
        while (!m->desc.as_published && next <= (m->anchors - 1) * m->desc.substeps) {
            int a = (next - 1) / m->desc.substeps, part = (next - 1) % m->desc.substeps + 1;
            double from = wf__flow_time(m, m->times[a]), end = from + (wf__flow_time(m, m->times[a + 1]) - from) * part / m->desc.substeps;
            if (end > t + 1e-12) break;
            if (wf__flow_advance(m, state, now, end - now, state) < 0) return wf__flow_error(m);
            now = end;
            next++;
        }
        float *out = tokens + (size_t)i * m->size;
        if (t - now > 1e-12) {
            if (wf__flow_advance(m, state, now, t - now, out) < 0) return wf__flow_error(m);
            if (m->desc.as_published) { memcpy(state, out, m->size * sizeof *out); now = t; }
        } else memcpy(out, state, m->size * sizeof *out);
    }
    return WF_OK;
}

/* weight graphs: score states */
wf_result wf_weightflow_log_prob(wf_weightflow *m, const float *tokens, const int32_t *x, size_t n, double *out, double *each)
{
    enum { ROWS = 256 };
    size_t d = m ? (size_t)m->desc.species : 0;
    float batch[ROWS * 32], value[ROWS * 32];
    if (!m || !tokens || !x || !out) return WF_ERROR_ARGUMENT;
    if (wf__flow_check_counts(m, x, n, d, "state list", 0) < 0) return WF_ERROR_DATA;
    if (!m->score) {
        wf__flow_run *r = wf__flow_run_new(m, NULL);
        if (!r) return wf__flow_error(m);
        r->in[0] = wf__flow_tokens(m, r->g, "tokens");
        r->in[1] = wf_input(r->g, "x", m->desc.species);
        r->out = wf__flow_log_prob(m, r->in[0], r->in[1]);
        if (!wf__flow_compile(m, r, 0, 64)) return wf__flow_error(m);
        m->score = r;
    }
    for (size_t at = 0; at < n; at += ROWS) {
        size_t rows = n - at < (size_t)ROWS ? n - at : (size_t)ROWS;
        for (size_t i = 0; i < rows * d; i++) batch[i] = (float)x[at * d + i];
        wf_feed feeds[3];
        feeds[0] = wf_in(m->score->in[0], tokens, 0);
        feeds[1] = wf_in(m->score->in[1], batch, 0);
        feeds[2] = wf_out(m->score->out, value, 0);
        wf_result r = wf_run(m->score->plan, m->score->ws, feeds, 3, rows);
        if (r < 0) return wf__fail(m->arena, r, "%s", wf_ws_report(m->score->ws)->text);
        for (size_t i = 0; i < rows; i++) {
            double sum = 0;
            for (size_t s = 0; s < d; s++) {
                sum += (double)value[i * d + s];
                if (each) each[(at + i) * d + s] = (double)value[i * d + s];
            }
            out[at + i] = sum;
        }
    }
    return WF_OK;
}

/* weight graphs: draw states */
wf_result wf_weightflow_sample(wf_weightflow *m, const float *tokens, size_t n, uint64_t seed, int32_t *out)
{
    enum { ROWS = 256 };
    size_t d = m ? (size_t)m->desc.species : 0;
    float value[ROWS * 32];
    if (!m || !tokens || !out) return WF_ERROR_ARGUMENT;
    if (!m->draw) {
        wf__flow_run *r = wf__flow_run_new(m, NULL);
        if (!r) return wf__flow_error(m);
        r->in[0] = wf__flow_tokens(m, r->g, "tokens");
        wf_sequence_weights w = wf__flow_backbone(m, r->in[0]);
        r->out = wf_sequence_sample(r->g, &w, m->desc.species, 1);
        if (!wf__flow_compile(m, r, 0, 64)) return wf__flow_error(m);
        m->draw = r;
    }
    for (size_t at = 0; at < n; at += ROWS) {
        size_t rows = n - at < (size_t)ROWS ? n - at : (size_t)ROWS;
        wf_feed feeds[2];
        feeds[0] = wf_in(m->draw->in[0], tokens, 0);
        feeds[1] = wf_out(m->draw->out, value, 0);
        wf_ws_noise(m->draw->ws, seed, (uint32_t)(at / ROWS));
        wf_result r = wf_run(m->draw->plan, m->draw->ws, feeds, 2, rows);
        if (r < 0) return wf__fail(m->arena, r, "%s", wf_ws_report(m->draw->ws)->text);
        for (size_t i = 0; i < rows * d; i++) out[at * d + i] = (int32_t)value[i];
    }
    return WF_OK;
}

/* weight graphs: check a description */
static wf_result wf__flow_check(wf_arena *A, const wf_weightflow_desc *d, const double *times, int anchors)
{
    if (!d || !times) return wf__fail(A, WF_ERROR_ARGUMENT, "weightflow: there is no description, or there are no times");
    if (d->species < 1 || d->species > 32 || d->states < 2 || d->states > 4096)
        return wf__fail(A, WF_ERROR_ARGUMENT, "weightflow: %d species (1..32) with %d states (2..4096)", d->species, d->states);
    if (anchors < 2 || anchors > 256) return wf__fail(A, WF_ERROR_DATA, "weightflow: %d snapshots; 2 to 256 are needed", anchors);
    for (int i = 0; i < anchors; i++)
        if (!wf__finite(times[i]) || (i && times[i] <= times[i - 1])) return wf__fail(A, WF_ERROR_DATA, "weightflow: the time of snapshot %d (%g) is not after the one before it", i, times[i]);
    if (d->hidden < 0 || d->hidden > 256 || d->path_dim < 0 || d->path_dim > 16 || d->width < 0 || d->layers < 0 || d->layers > 16 || d->heads < 0 || d->substeps < 0 || d->substeps > 16 || (unsigned)d->control > 1)
        return wf__fail(A, WF_ERROR_ARGUMENT, "weightflow: a size of the description is out of range (hidden %d, path %d, width %d, layers %d, heads %d, substeps %d)", d->hidden, d->path_dim, d->width, d->layers, d->heads, d->substeps);
    return WF_OK;
}

/* weight graphs: make a model */
static void wf__flow_defaults(wf_weightflow_desc *d)
{
    if (!d->hidden) d->hidden = 8;
    if (!d->path_dim) d->path_dim = 1;
    if (!d->width) d->width = 64;
    if (!d->layers) d->layers = 2;
    if (!d->heads) d->heads = 4;
    if (!d->feed_forward) d->feed_forward = 256;
    if (!d->substeps) d->substeps = 1;
    if (d->energy == 0) d->energy = 1e-6;
    if (!d->matching) d->matching = d->as_published ? -1 : 800;
}

static int wf__flow_buffers(wf_weightflow *m)
{
    size_t n = (size_t)m->anchors, steps = (n < 64 ? n : 64) * (size_t)m->desc.substeps;
    m->times = (double *)wf_alloc(m->arena, n, sizeof *m->times);
    m->anchor = (float *)wf_alloc(m->arena, n * m->size, sizeof *m->anchor);
    m->code = (double *)wf_alloc(m->arena, n * (size_t)m->desc.path_dim, sizeof *m->code);
    m->feed_start = (float *)wf_alloc(m->arena, 64 * m->size, sizeof *m->feed_start);
    m->feed_target = (float *)wf_alloc(m->arena, 64 * steps * m->size, sizeof *m->feed_target);
    m->feed_control = (float *)wf_alloc(m->arena, 64 * steps * (size_t)(4 * m->desc.path_dim + 2), sizeof *m->feed_control);
    m->feed_weight = (float *)wf_alloc(m->arena, 64, sizeof *m->feed_weight);
    return m->times && m->anchor && m->code && m->feed_start && m->feed_target && m->feed_control && m->feed_weight;
}

wf_weightflow *wf_weightflow_new(wf_arena *A, const wf_weightflow_desc *desc, const double *times, int anchors)
{
    if (wf__flow_check(A, desc, times, anchors) < 0) return NULL;
    wf_weightflow *m = (wf_weightflow *)wf_alloc(A, 1, sizeof *m);
    if (!m) return NULL;
    m->arena = A;
    m->desc = *desc;
    m->anchors = anchors;
    wf__flow_defaults(&m->desc);
    wf__flow_layout(m);
    if (!wf__flow_buffers(m)) return NULL;
    memcpy(m->times, times, (size_t)anchors * sizeof *times);
    wf_rng_init(&m->rng, m->desc.seed, 34);
    m->field = wf_params_new(A, m->desc.seed + 7, WF_F32);
    return m->field && wf__flow_stepper(m) == WF_OK ? m : NULL;
}

float *wf_weightflow_anchors(wf_weightflow *m)
{
    if (m) m->fitted = 1;
    return m ? m->anchor : NULL;
}

size_t wf_weightflow_size(const wf_weightflow *m) { return m ? m->size : 0; }
wf_params *wf_weightflow_field(wf_weightflow *m) { return m ? m->field : NULL; }
const double *wf_weightflow_path(const wf_weightflow *m) { return m ? m->code : NULL; }

/* weight graphs: save a model */
#ifndef WF_NO_STDIO
static void wf__flow_note(wf_tensors *t, const char *key, int value)
{
    char text[32];
    wf__format(text, sizeof text, "%d", value);
    wf_tensors_note(t, key, text);
}

static void wf__flow_add(wf_tensors *t, const char *name, void *data, int dtype, size_t a, size_t b, size_t c)
{
    size_t shape[3];
    shape[0] = a;
    shape[1] = b;
    shape[2] = c;
    wf_array x = wf_array_of(data, dtype, c ? 3 : b ? 2 : 1, shape);
    wf_tensors_add(t, name, &x);
}

wf_result wf_weightflow_save(wf_weightflow *m, const char *path)
{
    if (!m || !path) return WF_ERROR_ARGUMENT;
    wf_tensors *t = wf_tensors_new(m->arena);
    if (!t) return wf__flow_error(m);
    const wf_weightflow_desc *d = &m->desc;
    wf_tensors_note(t, "format", "weightflow 1");
    wf__flow_note(t, "species", d->species);
    wf__flow_note(t, "states", d->states);
    wf__flow_note(t, "hidden", d->hidden);
    wf__flow_note(t, "control", d->control);
    wf__flow_note(t, "path_dim", d->path_dim);
    wf__flow_note(t, "as_published", d->as_published);
    wf__flow_note(t, "width", d->width);
    wf__flow_note(t, "layers", d->layers);
    wf__flow_note(t, "heads", d->heads);
    wf__flow_note(t, "feed_forward", d->feed_forward);
    wf__flow_note(t, "substeps", d->substeps);
    size_t n = (size_t)m->anchors;
    wf__flow_add(t, "times", m->times, WF_DTYPE_F64, n, 0, 0);
    wf__flow_add(t, "anchors", m->anchor, WF_DTYPE_F32, n, (size_t)m->features, (size_t)m->neurons);
    if (m->path) wf__flow_add(t, "path", m->code, WF_DTYPE_F64, n, (size_t)d->path_dim, 0);
    wf_result r = wf_params_store(m->field, t);
    return r < 0 ? r : wf_tensors_save(t, path);
}

/* weight graphs: load a model */
static int wf__flow_about(wf_arena *A, const wf_tensors *t, const char *key)
{
    const char *text = wf_tensors_about(t, key);
    double value = -1;
    if (!text || wf_number_parse(text, strlen(text), &value) != strlen(text) || !(value >= 0 && value < 1e6)) wf__fail(A, WF_ERROR_FORMAT, "weightflow: the model file has no usable entry %s", key);
    return value >= 0 && value < 1e6 ? (int)value : 0;
}

static const wf_array *wf__flow_tensor(wf_arena *A, const wf_tensors *t, const char *name, int dtype, size_t count)
{
    const wf_array *a = wf_tensors_find(t, name);
    if (!a) wf__fail(A, WF_ERROR_NAME, "weightflow: the model file has no tensor %s", name);
    else if (a->dtype != dtype || (count && a->count != count)) { wf__fail(A, WF_ERROR_SHAPE, "weightflow: tensor %s has another type or size than expected", name); a = NULL; }
    return a;
}

wf_weightflow *wf_weightflow_load(wf_arena *A, const char *path, const wf_weightflow_desc *desc)
{
    wf_weightflow_desc d;
    memset(&d, 0, sizeof d);
    wf_tensors *t = wf_tensors_read(A, path);
    if (!t) return NULL;
    if (desc) d = *desc;
    d.species = wf__flow_about(A, t, "species");
    d.states = wf__flow_about(A, t, "states");
    d.hidden = wf__flow_about(A, t, "hidden");
    d.control = wf__flow_about(A, t, "control");
    d.path_dim = wf__flow_about(A, t, "path_dim");
    d.as_published = wf__flow_about(A, t, "as_published");
    d.width = wf__flow_about(A, t, "width");
    d.layers = wf__flow_about(A, t, "layers");
    d.heads = wf__flow_about(A, t, "heads");
    d.feed_forward = wf__flow_about(A, t, "feed_forward");
    d.substeps = wf__flow_about(A, t, "substeps");
    const wf_array *times = wf__flow_tensor(A, t, "times", WF_DTYPE_F64, 0);
    if (A->report.code < 0 || !times) return NULL;
    wf_weightflow *m = wf_weightflow_new(A, &d, (const double *)times->data, times->count > 256 ? 257 : (int)times->count);
    if (!m) return NULL;
    const wf_array *anchors = wf__flow_tensor(A, t, "anchors", WF_DTYPE_F32, times->count * m->size), *codes = NULL;
    if (d.control == WF_CONTROL_CDE) codes = wf__flow_tensor(A, t, "path", WF_DTYPE_F64, times->count * (size_t)m->desc.path_dim);
    if (!anchors || (d.control == WF_CONTROL_CDE && !codes) || wf_params_take(m->field, t) < 0) return NULL;
    memcpy(m->anchor, anchors->data, anchors->count * sizeof(float));
    m->fitted = 1;
    if (codes && wf_weightflow_set_path(m, (const double *)codes->data) < 0) return NULL;
    return m;
}
#endif
#endif /* WF_NO_WEIGHTFLOW */

/* ---- Systems ---- */
/* header: optimise from here */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O1,expensive-optimizations,gcse")
#endif

/* systems: describe a simulation */
enum { WF__SIMULATE_TASKS = 32 };

typedef struct wf__simulation {
    const wf_reaction_system *system;
    const int32_t *x0;
    const double *times;
    size_t n_times, n, first, each;   /* first trajectory of this round, trajectories a task */
    wf_simulate_desc desc;
    int frozen;
    int32_t *out, *counts;            /* counts: a state for each task */
    double *propensity;               /* and its propensities */
    wf_report *report;
} wf__simulation;

/* systems: compute mass action */
static void wf__mass_action(const wf_reaction_system *s, double t, const int32_t *x, int bound, double *a)
{
    double wave = 0, cosine;
    if (s->swing && !bound) wf__turn(t / s->period - floor(t / s->period), &cosine, &wave);
    for (int r = 0; r < s->reactions; r++) {
        const int *n = s->reactants + (size_t)r * (size_t)s->species;
        a[r] = s->rate[r];
        if (s->swing) a[r] *= 1 + (bound ? fabs(s->swing[r]) : s->swing[r] * wave);
        for (int j = 0; j < s->species; j++)
            for (int i = 0; i < n[j]; i++) a[r] *= (double)(x[j] - i) / (i + 1);   /* passes 0 when there are too few */
    }
}

/* systems: compute and check propensities */
/* their sum, or -1 and a report */
static double wf__propensities(const wf_reaction_system *s, double t, const int32_t *x, int bound, double *a, wf_report *report)
{
    double sum = 0;
    if (!s->propensity) wf__mass_action(s, t, x, bound, a);
    else (bound && s->bound ? s->bound : s->propensity)(s->user, t, x, a);
    for (int r = 0; r < s->reactions; r++) {
        if (!wf__finite(a[r]) || a[r] < 0) {
            wf__report(report, WF_ERROR_NUMERIC, "the propensity of reaction %d is %g", r, a[r]);
            return -1;
        }
        sum += a[r];
    }
    if (wf__finite(sum)) return sum;
    wf__report(report, WF_ERROR_NUMERIC, "the sum of the propensities is not finite");
    return -1;
}

/* systems: apply one event */
static void wf__fire(const wf_reaction_system *s, int r, int32_t *x, wf_report *report)
{
    const int *change = s->change + (size_t)r * (size_t)s->species;
    for (int j = 0; j < s->species; j++) {
        int64_t after = (int64_t)x[j] + change[j];
        if (after < 0) wf__report(report, WF_ERROR_NUMERIC, "reaction %d takes the count of species %d below zero", r, j);
        if (after > 0x7FFFFFFF) wf__report(report, WF_ERROR_LIMIT, "reaction %d takes the count of species %d past 2^31", r, j);
        x[j] = (int32_t)after;
    }
}

static void wf__report_trajectory(wf_report *report, size_t index, double t)
{
    wf_report inner = *report;
    report->code = WF_OK;
    wf__report(report, inner.code, "simulate: trajectory %z, time %g: %s", index, t, inner.text);
}

/* systems: run one trajectory */
static wf_result wf__trajectory(const wf__simulation *m, size_t index, int32_t *x, double *a, wf_report *report)
{
    const wf_reaction_system *s = m->system;
    int32_t *out = m->out + index * m->n_times * (size_t)s->species;
    double t = m->desc.start;
    uint64_t events = 0;
    wf_rng rng;
    wf__rng_start(&rng, m->desc.seed, (uint32_t)index, WF__PURPOSE_SIMULATION);
    memcpy(x, m->x0, (size_t)s->species * sizeof *x);
    for (size_t k = 0; k < m->n_times;) {
        double total = wf__propensities(s, t, x, !m->frozen, a, report), next = HUGE_VAL;
        if (total > 0) next = t - wf__log(wf_rng_uniform(&rng)) / total;
        for (; k < m->n_times && m->times[k] < next; k++, out += s->species) memcpy(out, x, (size_t)s->species * sizeof *x);
        if (total < 0 || k == m->n_times) break;
        t = next;
        /* systems: let a reaction happen, or none */
        if (!m->frozen) {
            double now = wf__propensities(s, t, x, 0, a, report);
            if (now > total * (1 + 1e-12)) wf__report(report, WF_ERROR_NUMERIC, "propensities sum to %g, above their bound %g", now, total);
            if (report->code) break;
        }
        double point = wf_rng_uniform(&rng) * total, sum = 0;
        for (int r = 0; r < s->reactions; r++)
            if (point < (sum += a[r])) { wf__fire(s, r, x, report); break; }
        if (++events > m->desc.most_events) wf__report(report, WF_ERROR_LIMIT, "more than %I events", (int64_t)m->desc.most_events);
        if (report->code) break;
    }
    if (report->code) wf__report_trajectory(report, index, t);
    return report->code;
}

/* systems: run the trajectories of a task */
static void wf__simulate_task(void *context, int task)
{
    const wf__simulation *m = (const wf__simulation *)context;
    size_t from = m->first + (size_t)task * m->each, to = from + m->each < m->n ? from + m->each : m->n;
    for (size_t i = from; i < to; i++)
        if (wf__trajectory(m, i, m->counts + task * m->system->species, m->propensity + task * m->system->reactions, m->report + task)) return;
}

/* systems: run rounds of tasks */
static wf_result wf__simulate_rounds(wf_arena *A, wf__simulation *m)
{
    m->each = 1 + m->n / (64 * WF__SIMULATE_TASKS);
    for (m->first = 0; m->first < m->n; m->first += WF__SIMULATE_TASKS * m->each) {
        size_t tasks = (m->n - m->first + m->each - 1) / m->each;
        if (tasks > WF__SIMULATE_TASKS) tasks = WF__SIMULATE_TASKS;
        if (m->desc.progress && m->desc.progress(m->desc.progress_user, "trajectories", (double)m->first, (double)m->n)) return WF_CANCELLED;
        wf__parallel_for(m->desc.parallel, m->desc.threads, (int)tasks, wf__simulate_task, m);
        for (size_t i = 0; i < tasks; i++)
            if (m->report[i].code) return wf__fail(A, m->report[i].code, "%s", m->report[i].text);
    }
    if (m->desc.progress) m->desc.progress(m->desc.progress_user, "trajectories", (double)m->n, (double)m->n);
    return WF_OK;
}

/* systems: check a system */
static wf_result wf__check_system(wf_arena *A, const wf_reaction_system *s)
{
    if (!s || s->species < 1 || s->reactions < 1 || !s->change || (!s->propensity && (!s->reactants || !s->rate)))
        return wf__fail(A, WF_ERROR_ARGUMENT, "simulate: the system needs species, reactions, changes, and reactants with rates or a propensity function");
    if (s->propensity) return WF_OK;
    for (int r = 0; r < s->reactions; r++) {
        if (!wf__finite(s->rate[r]) || s->rate[r] < 0)
            return wf__fail(A, WF_ERROR_DATA, "simulate: the rate of reaction %d is %g", r, s->rate[r]);
        if (s->swing && (!wf__finite(s->swing[r]) || fabs(s->swing[r]) > 1))
            return wf__fail(A, WF_ERROR_DATA, "simulate: the swing of reaction %d is %g, not between -1 and 1", r, s->swing[r]);
        for (int j = 0; j < s->species; j++)
            if (s->reactants[(size_t)r * (size_t)s->species + (size_t)j] < 0)
                return wf__fail(A, WF_ERROR_DATA, "simulate: reaction %d needs a negative number of species %d", r, j);
    }
    if (s->swing && (!wf__finite(s->period) || s->period <= 0))
        return wf__fail(A, WF_ERROR_DATA, "simulate: the period is %g", s->period);
    return WF_OK;
}

/* systems: check the start and the times */
static wf_result wf__check_simulation(wf_arena *A, const wf__simulation *m)
{
    if (!m->x0 || !m->times || !m->out) return wf__fail(A, WF_ERROR_ARGUMENT, "simulate: start, times or output is NULL");
    if (!m->n || !m->n_times) return wf__fail(A, WF_ERROR_DATA, "simulate: %z trajectories at %z times", m->n, m->n_times);
    if (m->n > 0xFFFFFFFFu) return wf__fail(A, WF_ERROR_LIMIT, "simulate: %z trajectories, more than 2^32", m->n);
    for (int j = 0; j < m->system->species; j++)
        if (m->x0[j] < 0) return wf__fail(A, WF_ERROR_DATA, "simulate: the initial count of species %d is %d", j, (int)m->x0[j]);
    double last = m->desc.start;
    if (!wf__finite(last)) return wf__fail(A, WF_ERROR_DATA, "simulate: the start time is %g", last);
    for (size_t k = 0; k < m->n_times; last = m->times[k++]) {
        if (!wf__finite(m->times[k])) return wf__fail(A, WF_ERROR_DATA, "simulate: times[%z] is %g", k, m->times[k]);
        if (m->times[k] < last) return wf__fail(A, WF_ERROR_DATA, "simulate: times[%z] = %g comes before %g", k, m->times[k], last);
    }
    return WF_OK;
}

/* systems: simulate */
wf_result wf_simulate(wf_arena *A, const wf_reaction_system *system, const int32_t *x0, const double *times, size_t n_times, size_t n,
                      const wf_simulate_desc *desc, int32_t *out)
{
    wf__simulation m;
    size_t size;
    memset(&m, 0, sizeof m);
    if (desc) m.desc = *desc;
    if (!m.desc.most_events) m.desc.most_events = 100000000;
    m.system = system; m.x0 = x0; m.times = times; m.n_times = n_times; m.n = n; m.out = out;
    wf_result result = wf__check_system(A, system);
    if (result) return result;
    if (!wf__mul_size(n, n_times, &size) || !wf__mul_size(size, (size_t)system->species * sizeof *out, &size))
        return wf__fail(A, WF_ERROR_LIMIT, "simulate: %z trajectories at %z times are too many", n, n_times);
    result = wf__check_simulation(A, &m);
    if (result) return result;
    m.frozen = m.desc.frozen || (system->propensity ? !system->bound : !system->swing);
    wf_mark mark = wf_arena_mark(A);
    m.counts = (int32_t *)wf_alloc(A, WF__SIMULATE_TASKS * (size_t)system->species, sizeof *m.counts);
    m.propensity = (double *)wf_alloc(A, WF__SIMULATE_TASKS * (size_t)system->reactions, sizeof *m.propensity);
    m.report = (wf_report *)wf_alloc(A, WF__SIMULATE_TASKS, sizeof *m.report);
    result = m.counts && m.propensity && m.report ? wf__simulate_rounds(A, &m) : WF_ERROR_MEMORY;
    if (result) memset(out, 0, size);
    wf_arena_reset(A, mark);
    return result;
}

/* systems: the epidemic */
const wf_reaction_system *wf_epidemic_system(void)
{
    static const int change[18] = { -1, 1, 0,  0, -1, 1,  1, 0, -1,  -1, 0, 0,  0, -1, 0,  0, 0, -1 };
    static const int reactants[18] = { 1, 1, 0,  0, 1, 0,  0, 0, 1,  1, 0, 0,  0, 1, 0,  0, 0, 1 };
    static const double rate[6] = { 0.003, 0.02, 0.007, 0.002, 0.05, 0.002 }, swing[6] = { 0.2, 0, 0, 0, 0, 0 };
    static const wf_reaction_system system = { 3, 6, change, reactants, rate, swing, 6.0, NULL, NULL, NULL };
    return &system;
}

wf_result wf_epidemic(wf_arena *A, size_t n, const wf_simulate_desc *desc, int32_t *out)
{
    static const int32_t start[3] = { 50, 10, 0 };
    double times[101];
    for (int k = 0; k <= 100; k++) times[k] = 0.5 * k;
    return wf_simulate(A, wf_epidemic_system(), start, times, 101, n, desc, out);
}

/* header: optimise as before */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

/* ---- Measures ---- */
/* header: optimise from here */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O1,expensive-optimizations,gcse")
#endif

/* measures: count marginals */
wf_result wf_marginals(wf_arena *A, const int32_t *counts, size_t n, size_t stride, size_t species, size_t length, double *p)
{
    if (!n || !species || !length) return wf__fail(A, WF_ERROR_DATA, "marginals: %z samples of %z species, %z values", n, species, length);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < species; j++) {
            int32_t c = counts[i * stride + j];
            if (c < 0 || (size_t)c >= length)
                return wf__fail(A, WF_ERROR_DATA, "marginals: species %z of sample %z counts %d, not 0 to %z", j, i, (int)c, length - 1);
        }
    memset(p, 0, species * length * sizeof *p);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < species; j++) p[j * length + (size_t)counts[i * stride + j]] += 1;
    for (size_t i = 0; i < species * length; i++) p[i] /= (double)n;
    return WF_OK;
}

/* measures: check rows of probabilities */
static wf_result wf__check_rows(wf_arena *A, const char *what, const double *p, size_t rows, size_t length)
{
    if (!rows || !length) return wf__fail(A, WF_ERROR_DATA, "%s: %z rows of %z numbers", what, rows, length);
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t i = 0; i < length; i++) {
            double v = p[r * length + i];
            if (!wf__finite(v) || v < 0) return wf__fail(A, WF_ERROR_DATA, "%s: entry %z of row %z is %g", what, i, r, v);
            sum += v;
        }
        if (!(fabs(sum - 1) < 1e-6)) return wf__fail(A, WF_ERROR_DATA, "%s: row %z sums to %g, not to 1", what, r, sum);
    }
    return WF_OK;
}

/* measures: Jensen-Shannon divergence */
static double wf__jsd_row(const double *p, const double *q, size_t length, double added)
{
    double sum = 0, scale = 1 / (1 + (double)length * added);
    for (size_t i = 0; i < length; i++) {
        double a = (p[i] + added) * scale, b = (q[i] + added) * scale, m = (0.5 * (p[i] + q[i]) + added) * scale;
        if (a > 0) sum += 0.5 * a * log(a / m);
        if (b > 0) sum += 0.5 * b * log(b / m);
    }
    return sum;
}

wf_result wf_jsd(wf_arena *A, const double *p, const double *q, size_t rows, size_t length, double added, double *each, double *mean)
{
    double sum = 0;
    wf_result result = wf__check_rows(A, "jsd: p", p, rows, length);
    if (!result) result = wf__check_rows(A, "jsd: q", q, rows, length);
    if (!result && !(added >= 0 && added <= 1)) result = wf__fail(A, WF_ERROR_ARGUMENT, "jsd: %g is to be added", added);
    for (size_t r = 0; !result && r < rows; r++) {
        double d = wf__jsd_row(p + r * length, q + r * length, length, added);
        if (each) each[r] = d;
        sum += d;
    }
    if (!result && mean) *mean = sum / (double)rows;
    return result;
}

/* measures: describe a transport problem */
typedef struct wf__transport {
    size_t n, m;
    const double *cost;               /* [n][m] */
    double *plan;                     /* [m][n]: what column j receives from row i */
    double *supply, *demand;          /* what is left of them: whole numbers */
    double *u, *v;                    /* prices */
    double *row_at, *column_at;       /* distances in a search; a row not yet reached: -1 */
    size_t *row_from, *column_from;   /* the place before, on the cheapest way */
    size_t *queue;                    /* rows reached that have not yet offered their ways */
    unsigned char *settled;           /* columns whose distance is final */
} wf__transport;

/* measures: scale weights to whole numbers */
static int wf__equal_weights(const wf_points *p)
{
    for (size_t i = 1; p->weight && i < p->n; i++) if (p->weight[i] != p->weight[0]) return 0;
    return 1;
}

static void wf__whole_weights(const wf_points *p, const wf_points *other, double *whole)
{
    double sum = 0, part = 0, last = 0;
    if (wf__equal_weights(p) && wf__equal_weights(other)) {
        for (size_t i = 0; i < p->n; i++) whole[i] = p->n == other->n ? 1 : (double)other->n;
        return;
    }
    for (size_t i = 0; i < p->n; i++) sum += p->weight ? p->weight[i] : 1;
    for (size_t i = 0; i < p->n; i++) {
        part += p->weight ? p->weight[i] : 1;
        double now = floor(part / sum * 1125899906842624.0 + 0.5);
        whole[i] = now - last;
        last = now;
    }
}

/* measures: take memory for a transport problem */
static wf_result wf__transport_new(wf_arena *A, wf__transport *t, size_t n, size_t m)
{
    t->n = n;
    t->m = m;
    double *room = (double *)wf_alloc(A, n + m, 3 * sizeof *room);
    t->queue = (size_t *)wf_alloc(A, n + n + m, sizeof *t->queue);
    t->settled = (unsigned char *)wf_alloc(A, m, 1);
    t->plan = (double *)wf_alloc(A, n, m * sizeof *t->plan);
    if (!room || !t->queue || !t->settled || !t->plan) return WF_ERROR_MEMORY;
    t->supply = room;
    t->u = room + n;
    t->row_at = room + 2 * n;
    t->demand = room + 3 * n;
    t->v = t->demand + m;
    t->column_at = t->v + m;
    t->row_from = t->queue + n;
    t->column_from = t->row_from + n;
    return WF_OK;
}

/* measures: offer the ways of a row */
static void wf__offer_ways(wf__transport *t, size_t i)
{
    const double *cost = t->cost + i * t->m;
    double at = t->row_at[i], price = t->u[i];
    for (size_t j = 0; j < t->m; j++) {
        double reduced = cost[j] - price - t->v[j];
        double d = reduced > 0 ? at + reduced : at;
        if (!t->settled[j] && d < t->column_at[j]) { t->column_at[j] = d; t->column_from[j] = i; }
    }
}

/* measures: find the cheapest way to a free column */
static size_t wf__cheapest_way(wf__transport *t, size_t start)
{
    size_t waiting = 1, best;
    for (size_t i = 0; i < t->n; i++) t->row_at[i] = -1;
    for (size_t j = 0; j < t->m; j++) t->column_at[j] = HUGE_VAL;
    memset(t->settled, 0, t->m);
    t->row_at[start] = 0;
    t->queue[0] = start;
    for (;;) {
        while (waiting) wf__offer_ways(t, t->queue[--waiting]);
        best = t->m;
        for (size_t j = 0; j < t->m; j++)
            if (!t->settled[j] && (best == t->m || t->column_at[j] < t->column_at[best])) best = j;
        t->settled[best] = 1;
        if (t->demand[best] > 0) return best;
        const double *received = t->plan + best * t->n;
        for (size_t i = 0; i < t->n; i++)
            if (received[i] > 0 && t->row_at[i] < 0) {
                t->row_at[i] = t->column_at[best];
                t->row_from[i] = best;
                t->queue[waiting++] = i;
            }
    }
}

/* measures: send as much as fits along the way */
static void wf__transport_send(wf__transport *t, size_t start, size_t goal)
{
    double amount = t->supply[start] < t->demand[goal] ? t->supply[start] : t->demand[goal];
    for (size_t i, j = goal; (i = t->column_from[j]) != start;) {
        j = t->row_from[i];
        if (t->plan[j * t->n + i] < amount) amount = t->plan[j * t->n + i];
    }
    for (size_t i, j = goal;;) {
        i = t->column_from[j];
        t->plan[j * t->n + i] += amount;
        if (i == start) break;
        j = t->row_from[i];
        t->plan[j * t->n + i] -= amount;
    }
    t->supply[start] -= amount;
    t->demand[goal] -= amount;
}

/* measures: solve a transport problem */
static double wf__transport_solve(wf__transport *t)
{
    double total = 0, sent = 0;
    for (size_t i = 0; i < t->n; i++) {
        t->u[i] = t->cost[i * t->m];
        for (size_t j = 1; j < t->m; j++) if (t->cost[i * t->m + j] < t->u[i]) t->u[i] = t->cost[i * t->m + j];
    }
    for (size_t start = 0; start < t->n; start++)
        while (t->supply[start] > 0) {
            size_t goal = wf__cheapest_way(t, start);
            double d = t->column_at[goal];
            for (size_t i = 0; i < t->n; i++) if (t->row_at[i] >= 0) t->u[i] += d - t->row_at[i];
            for (size_t j = 0; j < t->m; j++) if (t->settled[j]) t->v[j] -= d - t->column_at[j];
            wf__transport_send(t, start, goal);
        }
    for (size_t j = 0; j < t->m; j++)
        for (size_t i = 0; i < t->n; i++) {
            total += t->plan[j * t->n + i] * t->cost[i * t->m + j];
            sent += t->plan[j * t->n + i];
        }
    return total / sent;
}

/* measures: assign */
static wf_result wf__assign(wf_arena *A, const double *cost, size_t n, int *permutation, double *mean)
{
    wf__transport t;
    t.cost = cost;
    wf_result result = wf__transport_new(A, &t, n, n);
    if (result) return result;
    for (size_t i = 0; i < n; i++) t.supply[i] = t.demand[i] = 1;
    *mean = wf__transport_solve(&t);
    for (size_t j = 0; permutation && j < n; j++)
        for (size_t i = 0; i < n; i++) if (t.plan[j * n + i] > 0) permutation[i] = (int)j;
    return WF_OK;
}

wf_result wf_assignment(wf_arena *A, const double *cost, size_t n, int *permutation)
{
    double mean;
    if (!n || n > 0x7FFFFFFF) return wf__fail(A, WF_ERROR_DATA, "assignment: %z rows", n);
    for (size_t i = 0; i < n * n; i++)
        if (!wf__finite(cost[i])) return wf__fail(A, WF_ERROR_DATA, "assignment: the cost of row %z, column %z is %g", i / n, i % n, cost[i]);
    wf_mark mark = wf_arena_mark(A);
    wf_result result = wf__assign(A, cost, n, permutation, &mean);
    wf_arena_reset(A, mark);
    return result;
}

/* measures: assignment distance */
static void wf__distances(const double *x, size_t n, const double *y, size_t m, size_t dim, int root, double *cost)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++) {
            double sum = 0;
            for (size_t k = 0; k < dim; k++) {
                double d = x[i * dim + k] - y[j * dim + k];
                sum += d * d;
            }
            cost[i * m + j] = root ? sqrt(sum) : sum;
        }
}

wf_result wf_assignment_distance(wf_arena *A, const double *p, const double *q, size_t rows, size_t length, double *w1, double *w2)
{
    double value[2] = { 0, 0 };
    wf_result result = wf__check_rows(A, "assignment: p", p, rows, length);
    if (!result) result = wf__check_rows(A, "assignment: q", q, rows, length);
    for (int root = 0; root < 2 && !result; root++) {
        wf_mark mark = wf_arena_mark(A);
        double *cost = (double *)wf_alloc(A, rows, rows * sizeof *cost);
        if (cost) wf__distances(p, rows, q, rows, length, root, cost);
        result = cost ? wf__assign(A, cost, rows, NULL, value + root) : WF_ERROR_MEMORY;
        wf_arena_reset(A, mark);
    }
    if (!result && w1) *w1 = value[1];
    if (!result && w2) *w2 = sqrt(value[0]);
    return result;
}

/* measures: compare trajectories */
wf_result wf_compare_counts(wf_arena *A, const int32_t *x, size_t nx, const int32_t *y, size_t ny, size_t times, size_t species, size_t length,
                            double *w1, double *w2, double *jsd)
{
    wf_mark mark = wf_arena_mark(A);
    size_t size;
    wf_result result = WF_OK;
    if (!wf__mul_size(species, length, &size)) size = (size_t)-1;
    double *p = (double *)wf_alloc(A, size, 2 * sizeof *p), *q = p ? p + size : NULL;
    if (!p) result = WF_ERROR_MEMORY;
    for (size_t k = 0; k < times && !result; k++) {
        result = wf_marginals(A, x + k * species, nx, times * species, species, length, p);
        if (!result) result = wf_marginals(A, y + k * species, ny, times * species, species, length, q);
        if (!result) result = wf_assignment_distance(A, p, q, species, length, w1 ? w1 + k : NULL, w2 ? w2 + k : NULL);
        if (!result) result = wf_jsd(A, p, q, species, length, 1e-10, NULL, jsd ? jsd + k : NULL);
    }
    wf_arena_reset(A, mark);
    return result;
}

/* measures: check clouds */
static wf_result wf__check_cloud(wf_arena *A, const char *what, const wf_points *p)
{
    double sum = 0;
    if (!p || !p->x || !p->n || !p->dim) return wf__fail(A, WF_ERROR_DATA, "%s: an empty cloud", what);
    for (size_t i = 0; i < p->n * p->dim; i++)
        if (!wf__finite(p->x[i])) return wf__fail(A, WF_ERROR_DATA, "%s: coordinate %z of point %z is %g", what, i % p->dim, i / p->dim, p->x[i]);
    for (size_t i = 0; p->weight && i < p->n; i++) {
        if (!wf__finite(p->weight[i]) || p->weight[i] < 0) return wf__fail(A, WF_ERROR_DATA, "%s: the weight of point %z is %g", what, i, p->weight[i]);
        sum += p->weight[i];
    }
    if (p->weight && (!wf__finite(sum) || sum <= 0)) return wf__fail(A, WF_ERROR_DATA, "%s: the weights sum to %g", what, sum);
    return WF_OK;
}

static wf_result wf__check_clouds(wf_arena *A, const char *what, const wf_points *x, const wf_points *y)
{
    wf_result result = wf__check_cloud(A, what, x);
    if (!result) result = wf__check_cloud(A, what, y);
    if (!result && x->dim != y->dim) result = wf__fail(A, WF_ERROR_SHAPE, "%s: points of %z and of %z coordinates", what, x->dim, y->dim);
    return result;
}

/* measures: Wasserstein between clouds */
static wf_result wf__wasserstein(wf_arena *A, const wf_points *x, const wf_points *y, int root, double *value)
{
    wf__transport t;
    double *cost = (double *)wf_alloc(A, x->n, y->n * sizeof *cost);
    wf_result result = cost ? wf__transport_new(A, &t, x->n, y->n) : WF_ERROR_MEMORY;
    if (result) return result;
    wf__distances(x->x, x->n, y->x, y->n, x->dim, root, cost);
    t.cost = cost;
    wf__whole_weights(x, y, t.supply);
    wf__whole_weights(y, x, t.demand);
    *value = wf__transport_solve(&t);
    return WF_OK;
}

wf_result wf_wasserstein(wf_arena *A, const wf_points *x, const wf_points *y, double *w1, double *w2)
{
    double value[2] = { 0, 0 };
    wf_result result = wf__check_clouds(A, "wasserstein", x, y);
    for (int root = 0; root < 2 && !result; root++) {
        if (!(root ? w1 : w2)) continue;
        wf_mark mark = wf_arena_mark(A);
        result = wf__wasserstein(A, x, y, root, value + root);
        wf_arena_reset(A, mark);
    }
    if (!result && w1) *w1 = value[1];
    if (!result && w2) *w2 = sqrt(value[0]);
    return result;
}

/* measures: sort points of a line */
typedef struct wf__mass { double at, weight; } wf__mass;

static void wf__sift(wf__mass *p, size_t root, size_t n)
{
    wf__mass moving = p[root];
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && p[child + 1].at > p[child].at) child++;
        if (!(p[child].at > moving.at)) break;
        p[root] = p[child];
    }
    p[root] = moving;
}

static void wf__sort_line(wf__mass *p, size_t n)
{
    for (size_t i = n / 2; i-- > 0;) wf__sift(p, i, n);
    for (size_t i = n; i-- > 1;) {
        wf__mass last = p[i];
        p[i] = p[0];
        p[0] = last;
        wf__sift(p, 0, i);
    }
}

/* measures: walk along two sorted lines */
static void wf__line(wf__mass *x, size_t n, wf__mass *y, size_t m, double *w1, double *w2_squared)
{
    wf__sort_line(x, n);
    wf__sort_line(y, m);
    *w1 = *w2_squared = 0;
    for (size_t i = 0, j = 0; i < n && j < m;) {
        double step = x[i].weight < y[j].weight ? x[i].weight : y[j].weight, d = fabs(x[i].at - y[j].at);
        *w1 += step * d;
        *w2_squared += step * d * d;
        x[i].weight -= step;
        y[j].weight -= step;
        if (!(x[i].weight > 0)) i++;
        else j++;
    }
}

/* measures: project a cloud */
static void wf__project(const wf_points *p, const double *direction, wf__mass *line)
{
    double sum = 0;
    for (size_t i = 0; i < p->n; i++) sum += p->weight ? p->weight[i] : 1;
    for (size_t i = 0; i < p->n; i++) {
        line[i].at = 0;
        for (size_t k = 0; k < p->dim; k++) line[i].at += p->x[i * p->dim + k] * direction[k];
        line[i].weight = (p->weight ? p->weight[i] : 1) / sum;
    }
}

static wf_result wf__sliced(wf_arena *A, const wf_points *x, const wf_points *y, const double *direction, size_t directions, double *w1, double *w2_squared)
{
    wf__mass *line = (wf__mass *)wf_alloc(A, x->n + y->n, sizeof *line);
    if (!line) return WF_ERROR_MEMORY;
    for (size_t k = 0; k < directions; k++) {
        wf__project(x, direction + k * x->dim, line);
        wf__project(y, direction + k * x->dim, line + x->n);
        wf__line(line, x->n, line + x->n, y->n, w1 + k, w2_squared + k);
    }
    return WF_OK;
}

/* measures: Wasserstein on a line and sliced */
wf_result wf_wasserstein_1d(wf_arena *A, const wf_points *x, const wf_points *y, double *w1, double *w2)
{
    const double along = 1;
    double first, second;
    wf_result result = wf__check_clouds(A, "wasserstein_1d", x, y);
    if (!result && x->dim != 1) result = wf__fail(A, WF_ERROR_SHAPE, "wasserstein_1d: points of %z coordinates", x->dim);
    wf_mark mark = wf_arena_mark(A);
    if (!result) result = wf__sliced(A, x, y, &along, 1, &first, &second);
    wf_arena_reset(A, mark);
    if (!result && w1) *w1 = first;
    if (!result && w2) *w2 = sqrt(second);
    return result;
}

wf_result wf_sliced_wasserstein(wf_arena *A, const wf_points *x, const wf_points *y, const double *direction, size_t directions, double *each, double *mean)
{
    double sum = 0;
    wf_result result = wf__check_clouds(A, "sliced", x, y);
    if (!result && (!direction || !directions)) result = wf__fail(A, WF_ERROR_DATA, "sliced: no directions");
    for (size_t k = 0; !result && k < directions * x->dim; k++)
        if (!wf__finite(direction[k])) result = wf__fail(A, WF_ERROR_DATA, "sliced: coordinate %z of direction %z is %g", k % x->dim, k / x->dim, direction[k]);
    wf_mark mark = wf_arena_mark(A);
    double *value = result ? NULL : (double *)wf_alloc(A, directions, 2 * sizeof *value);
    if (!result) result = value ? wf__sliced(A, x, y, direction, directions, value, value + directions) : WF_ERROR_MEMORY;
    for (size_t k = 0; k < directions && !result; k++) sum += value[directions + k];
    if (!result && each) memcpy(each, value + directions, directions * sizeof *each);
    if (!result && mean) *mean = sum / (double)directions;
    wf_arena_reset(A, mark);
    return result;
}

/* measures: means over pairs */
static double wf__pair(const double *x, const double *y, size_t dim, double s)
{
    double sum = 0;
    for (size_t k = 0; k < dim; k++) {
        double d = x[k] - y[k];
        sum += d * d;
    }
    return s > 0 ? exp(-sum / (2 * s * s)) : -sqrt(sum);
}

static double wf__pairs(const wf_points *x, const wf_points *y, double s)   /* x == y: without pairs of a point and itself */
{
    double total = 0;
    for (size_t i = 0; i < x->n; i++) {
        double row = 0;
        for (size_t j = 0; j < (x == y ? i : y->n); j++) row += wf__pair(x->x + i * x->dim, y->x + j * x->dim, x->dim, s);
        total += x == y ? 2 * row : row;
    }
    return total;
}

static void wf__discrepancy(const wf_points *x, const wf_points *y, double s, double *biased, double *unbiased)
{
    double n = (double)x->n, m = (double)y->n;
    double xx = wf__pairs(x, x, s), yy = wf__pairs(y, y, s), xy = wf__pairs(x, y, s) / (n * m);
    *biased = xx / (n * n) + yy / (m * m) - 2 * xy;   /* right where k(x, x) = 0, as for the energy distance */
    *unbiased = xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy;
}

/* measures: energy distance and maximum mean discrepancy */
static wf_result wf__check_pairs(wf_arena *A, const char *what, const wf_points *x, const wf_points *y, int two)
{
    wf_result result = wf__check_clouds(A, what, x, y);
    if (!result && (x->weight || y->weight)) result = wf__fail(A, WF_ERROR_UNSUPPORTED, "%s: points with weights", what);
    if (!result && two && (x->n < 2 || y->n < 2)) result = wf__fail(A, WF_ERROR_DATA, "%s: an unbiased estimate needs two points, not %z and %z", what, x->n, y->n);
    return result;
}

wf_result wf_energy_distance(wf_arena *A, const wf_points *x, const wf_points *y, double *biased, double *unbiased)
{
    double b, u;
    wf_result result = wf__check_pairs(A, "energy", x, y, unbiased != NULL);
    if (result) return result;
    wf_points other = *y;
    wf__discrepancy(x, &other, 0, &b, &u);
    if (biased) *biased = b;
    if (unbiased) *unbiased = u;
    return WF_OK;
}

wf_result wf_mmd(wf_arena *A, const wf_points *x, const wf_points *y, const double *bandwidth, size_t count, double *mmd2)
{
    double b;
    wf_result result = wf__check_pairs(A, "mmd", x, y, 1);
    for (size_t k = 0; k < count && !result; k++)
        if (!wf__finite(bandwidth[k]) || bandwidth[k] <= 0) result = wf__fail(A, WF_ERROR_DATA, "mmd: bandwidth %z is %g", k, bandwidth[k]);
    if (result) return result;
    wf_points other = *y;
    for (size_t k = 0; k < count; k++) wf__discrepancy(x, &other, bandwidth[k], &b, mmd2 + k);
    return WF_OK;
}

/* measures: the soft minimum */
static double wf__soft_min(const double *cost, size_t stride, const double *g, const double *b, size_t m, double eps)
{
    double top = -HUGE_VAL, sum = 0;
    for (size_t j = 0; j < m; j++) {
        double e = g[j] - cost[j * stride];
        if (b[j] > 0 && e > top) top = e;
    }
    for (size_t j = 0; j < m; j++) if (b[j] > 0) sum += b[j] * exp((g[j] - cost[j * stride] - top) / eps);
    return -top - eps * log(sum);
}

/* measures: entropic transport */
typedef struct wf__entropic { size_t n, m; double *cost, *a, *b, *f, *g; } wf__entropic;

static int wf__entropic_solve(wf__entropic *t, int same, double eps, double tolerance, double *value)
{
    int round = 0;
    for (double moved = HUGE_VAL; moved > tolerance; round++) {
        if (round == 100000) return 0;
        moved = 0;
        for (size_t j = 0; j < t->m; j++) t->g[j] = same ? t->f[j] : wf__soft_min(t->cost + j, t->m, t->f, t->a, t->n, eps);
        for (size_t i = 0; i < t->n; i++) {
            double f = wf__soft_min(t->cost + i * t->m, 1, t->g, t->b, t->m, eps);
            if (same) f = 0.5 * (f + t->g[i]);
            if (fabs(f - t->f[i]) > moved) moved = fabs(f - t->f[i]);
            t->f[i] = f;
        }
    }
    *value = 0;
    for (size_t i = 0; i < t->n; i++) *value += t->a[i] * t->f[i];
    for (size_t j = 0; j < t->m; j++) *value += t->b[j] * (same ? t->f[j] : t->g[j]);
    return 1;
}

/* measures: entropic transport between clouds */
static void wf__unit_weights(const wf_points *p, double *w)
{
    double sum = 0;
    for (size_t i = 0; i < p->n; i++) sum += w[i] = p->weight ? p->weight[i] : 1;
    for (size_t i = 0; i < p->n; i++) w[i] /= sum;
}

static wf_result wf__entropic_between(wf_arena *A, const wf_points *x, const wf_points *y, double eps, double tolerance, wf__entropic *t, double *value)
{
    t->n = x->n;
    t->m = y->n;
    t->cost = (double *)wf_alloc(A, x->n, y->n * sizeof *t->cost);
    t->a = (double *)wf_alloc(A, x->n + y->n, 2 * sizeof *t->a);
    if (!t->cost || !t->a) return WF_ERROR_MEMORY;
    t->b = t->a + x->n;
    t->f = t->b + y->n;
    t->g = t->f + x->n;
    wf__distances(x->x, x->n, y->x, y->n, x->dim, 0, t->cost);
    for (size_t i = 0; i < x->n * y->n; i++) t->cost[i] *= 0.5;
    wf__unit_weights(x, t->a);
    wf__unit_weights(y, t->b);
    if (wf__entropic_solve(t, x == y, eps, tolerance, value)) return WF_OK;
    return wf__fail(A, WF_ERROR_NUMERIC, "sinkhorn: the potentials still move after 100000 rounds; eps = %g is small for these distances", eps);
}

wf_result wf_sinkhorn(wf_arena *A, const wf_points *x, const wf_points *y, double eps, double tolerance, double *divergence, double *transport)
{
    double xy = 0, xx = 0, yy = 0;
    wf__entropic t;
    wf_result result = wf__check_clouds(A, "sinkhorn", x, y);
    if (!result && (!wf__finite(eps) || eps <= 0)) result = wf__fail(A, WF_ERROR_ARGUMENT, "sinkhorn: eps is %g", eps);
    if (!(tolerance > 0)) tolerance = 1e-8 * eps;
    wf_mark mark = wf_arena_mark(A);
    if (!result) result = wf__entropic_between(A, x, y, eps, tolerance, &t, &xy);
    if (!result && divergence) result = wf__entropic_between(A, x, x, eps, tolerance, &t, &xx);
    if (!result && divergence) result = wf__entropic_between(A, y, y, eps, tolerance, &t, &yy);
    wf_arena_reset(A, mark);
    if (!result && divergence) *divergence = xy - 0.5 * (xx + yy);
    if (!result && transport) *transport = xy;
    return result;
}

/* header: optimise as before */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

/* header: restore the compiler */
#ifdef __cplusplus
}
#endif
#if defined(__clang__)
#if __clang_major__ >= 12 && (defined(__x86_64__) || defined(__i386__))
#pragma float_control(pop)
#endif
#pragma STDC FP_CONTRACT DEFAULT
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
