/* Files: streams, .npy, safetensors, numbers as text, tables. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"
#include <locale.h>

/* A path to write to: under out/ where there is one, else here. */
static int file_exists(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

static int same_mark(wf_mark a, wf_mark b) { return a.block == b.block && a.used == b.used; }

/* By its bits, so that it holds under -ffast-math too. */
static int is_nan(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & ~((uint64_t)1 << 63)) > (uint64_t)0x7FF << 52;
}

static uint64_t random_state = 88172645463325252u;
static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 2685821657736338717u;
}

/* A copy on the heap of exactly `size` bytes: a sanitizer sees a read beyond it. */
static unsigned char *exact(const void *bytes, size_t size)
{
    unsigned char *copy = (unsigned char *)malloc(size ? size : 1);
    if (copy && size) memcpy(copy, bytes, size);
    return copy;
}

/* ---- streams ---- */

WF_TEST(memory_streams)
{
    wf_arena *A = wf_arena_new(NULL);
    char fixed[8];
    wf_memory_writer w = { NULL, fixed, 0, sizeof fixed }, grow = { A, NULL, 0, 0 };
    CHECK_INT(wf_memory_write(&w, "hello", 5), 0);
    CHECK(wf_memory_write(&w, "world", 5) != 0); /* does not fit: nothing is written */
    CHECK_INT(w.size, 5);
    CHECK_INT(wf_memory_write(&w, "abc", 3), 0);
    CHECK(!memcmp(fixed, "helloabc", 8));
    for (int i = 0; i < 1000; i++) CHECK_INT(wf_memory_write(&grow, "0123456789", 10), 0);
    CHECK_INT(grow.size, 10000);
    for (size_t hint = 0; hint <= 20001; hint += hint < 9990 || hint > 10010 ? 1111 : 1) {
        wf_memory_reader r = { grow.data, grow.size, 0 };
        size_t size;
        char *all = (char *)wf_read_all(A, wf_memory_read, &r, hint, &size);
        CHECK(all && size == 10000 && !memcmp(all, grow.data, size) && all[size] == 0);
    }
    wf_memory_reader none = { NULL, 0, 0 };
    size_t size = 1;
    char *empty = (char *)wf_read_all(A, wf_memory_read, &none, 0, &size);
    CHECK(empty && size == 0 && empty[0] == 0);
    wf_arena_free(A);
}

static size_t boundless(void *user, void *data, size_t size) { (void)user; memset(data, 1, size); return size; }
static size_t too_generous(void *user, void *data, size_t size) { (void)user; (void)data; return size + 1; }

WF_TEST(streams_without_end)
{
    static char buffer[100000];
    wf_arena *A = wf_arena_from(buffer, sizeof buffer);
    wf_mark before = wf_arena_mark(A);
    size_t size;
    CHECK(!wf_read_all(A, boundless, NULL, 0, &size));
    CHECK_INT(wf_arena_report(A)->code, WF_ERROR_MEMORY);
    wf_arena_clear(A);
    CHECK(!wf_read_all(A, too_generous, NULL, 0, &size));
    CHECK_INT(wf_arena_report(A)->code, WF_ERROR_IO);
    CHECK(same_mark(before, wf_arena_mark(A)));
}

WF_TEST(files_are_replaced_whole)
{
    wf_arena *A = wf_arena_new(NULL);
    const char *path = wf_test_scratch("files_whole.tmp");
    char part[300];
    size_t size;
    snprintf(part, sizeof part, "%s.0.part", path);
    CHECK_INT(wf_file_write(A, path, "first", 5), WF_OK);
    CHECK_INT(wf_file_write(A, path, "the second", 10), WF_OK);
    char *text = (char *)wf_file_read(A, path, &size);
    CHECK(text && size == 10 && !strcmp(text, "the second"));
    CHECK(!file_exists(part));

    /* A writer that fails in the middle leaves the old file, and nothing beside it. */
    uint16_t x = 0;
    wf_array bf16 = wf_array_of(&x, WF_DTYPE_BF16, 0, NULL);
    CHECK_INT(wf_npy_save(A, path, &bf16), WF_ERROR_UNSUPPORTED);
    text = (char *)wf_file_read(A, path, &size);
    CHECK(text && size == 10 && !strcmp(text, "the second"));
    CHECK(!file_exists(part));

    /* A stale temporary does not block, and is not touched. */
    FILE *stale = fopen(part, "wb");
    if (stale) fclose(stale);
    CHECK_INT(wf_file_write(A, path, "", 0), WF_OK);
    CHECK(file_exists(part));
    text = (char *)wf_file_read(A, path, &size);
    CHECK(text && size == 0);
    remove(part);
    remove(path);

    wf_arena_clear(A);
    CHECK_INT(wf_file_write(A, "no/such/folder/x", "x", 1), WF_ERROR_IO);
    CHECK_STR_HAS(wf_arena_report(A)->text, "no/such/folder/x");
    wf_arena_clear(A);
    CHECK(!wf_file_read(A, path, &size) && size == 0);
    CHECK_INT(wf_arena_report(A)->code, WF_ERROR_IO);
    wf_arena_clear(A);
    CHECK(!wf_file_read(A, "/", &size)); /* a folder is not a file */
    CHECK_INT(wf_arena_report(A)->code, WF_ERROR_IO);
    CHECK(!wf_file_read(A, NULL, &size));
    wf_arena_free(A);
}

/* ---- npy ---- */

/* The bytes of an .npy file with this header, this version and these data. */
static size_t npy_bytes(unsigned char *out, int version, const char *header, const void *data, size_t size)
{
    size_t n = strlen(header), at = version > 1 ? 12 : 10;
    memcpy(out, "\x93NUMPY", 6);
    out[6] = (unsigned char)version;
    out[7] = 0;
    for (size_t i = 8; i < at; i++) out[i] = (unsigned char)(n >> 8 * (i - 8) & 255);
    memcpy(out + at, header, n);
    if (size) memcpy(out + at + n, data, size);
    return at + n + size;
}

/* Parse; on failure check that the arena is as before, that the code is right and the message has `part`. */
static wf_array *npy_try(wf_arena *A, const void *bytes, size_t size, int code, const char *part)
{
    unsigned char *copy = exact(bytes, size);
    wf_mark before = wf_arena_mark(A);
    wf_arena_clear(A);
    wf_array *a = wf_npy_parse(A, copy, size, "x.npy");
    free(copy);
    CHECK_INT(wf_arena_report(A)->code, code);
    CHECK((a != NULL) == (code == WF_OK));
    if (code) {
        CHECK(same_mark(before, wf_arena_mark(A)));
        CHECK_STR_HAS(wf_arena_report(A)->text, "x.npy: ");
        CHECK_STR_HAS(wf_arena_report(A)->text, part);
    }
    return a;
}

static wf_array *npy_header_try(wf_arena *A, const char *header, const void *data, size_t size, int code, const char *part)
{
    unsigned char file[1024];
    return npy_try(A, file, npy_bytes(file, 1, header, data, size), code, part);
}

/* What NumPy 1.24 writes for np.array([[1.0, 2.0]]): the example in the chapter. */
static const unsigned char npy_example[] =
    "\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }"
    "                                                          \n"
    "\x00\x00\x00\x00\x00\x00\xF0\x3F\x00\x00\x00\x00\x00\x00\x00\x40";

WF_TEST(npy_known_bytes)
{
    wf_arena *A = wf_arena_new(NULL);
    CHECK_INT(sizeof npy_example - 1, 144);
    wf_array *a = npy_try(A, npy_example, 144, WF_OK, "");
    CHECK(a && a->dtype == WF_DTYPE_F64 && a->nd == 2 && a->shape[0] == 1 && a->shape[1] == 2 && a->count == 2);
    CHECK(a && ((double *)a->data)[0] == 1.0 && ((double *)a->data)[1] == 2.0 && (uintptr_t)a->data % 64 == 0);
    wf_memory_writer w = { A, NULL, 0, 0 };
    CHECK(a && wf_npy_write(A, a, wf_memory_write, &w) == WF_OK);
    CHECK(w.size == 144 && !memcmp(w.data, npy_example, 144));
    wf_arena_free(A);
}

WF_TEST(npy_every_type_and_both_byte_orders)
{
    wf_arena *A = wf_arena_new(NULL);
    static const struct { const char *descr; int dtype; const char *bytes; double value; } cases[] = {
        { "<f8", WF_DTYPE_F64, "\x00\x00\x00\x00\x00\x00\xF8\xBF", -1.5 }, { ">f8", WF_DTYPE_F64, "\xBF\xF8\x00\x00\x00\x00\x00\x00", -1.5 },
        { "<f4", WF_DTYPE_F32, "\x00\x00\xC0\xBF", -1.5 }, { ">f4", WF_DTYPE_F32, "\xBF\xC0\x00\x00", -1.5 },
        { "<f2", WF_DTYPE_F16, "\x00\xBE", -1.5 }, { ">f2", WF_DTYPE_F16, "\xBE\x00", -1.5 },
        { "<i8", WF_DTYPE_I64, "\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF", -2 }, { ">i8", WF_DTYPE_I64, "\x00\x00\x00\x01\x00\x00\x00\x00", 4294967296.0 },
        { "<i4", WF_DTYPE_I32, "\xFE\xFF\xFF\xFF", -2 }, { ">i4", WF_DTYPE_I32, "\x80\x00\x00\x00", -2147483648.0 },
        { "<i2", WF_DTYPE_I16, "\xFE\xFF", -2 }, { ">i2", WF_DTYPE_I16, "\x01\x00", 256 },
        { "|i1", WF_DTYPE_I8, "\xFE", -2 }, { "<i1", WF_DTYPE_I8, "\x80", -128 },
        { "<u8", WF_DTYPE_U64, "\x00\x00\x00\x00\x00\x00\x00\x80", 9223372036854775808.0 }, { ">u8", WF_DTYPE_U64, "\x00\x00\x00\x00\x00\x00\x00\x80", 128 },
        { "<u4", WF_DTYPE_U32, "\xFE\xFF\xFF\xFF", 4294967294.0 }, { ">u4", WF_DTYPE_U32, "\x00\x00\x00\x80", 128 },
        { "<u2", WF_DTYPE_U16, "\xFE\xFF", 65534 }, { ">u2", WF_DTYPE_U16, "\x00\x80", 128 },
        { "|u1", WF_DTYPE_U8, "\xFE", 254 }, { "|b1", WF_DTYPE_BOOL, "\x01", 1 }, { "|b1", WF_DTYPE_BOOL, "\x00", 0 }
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char header[128];
        size_t size = wf_dtype_size(cases[i].dtype);
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (), }\n", cases[i].descr);
        wf_array *a = npy_header_try(A, header, cases[i].bytes, size, WF_OK, "");
        if (!a) continue;
        CHECK(a->nd == 0 && a->count == 1 && a->dtype == cases[i].dtype);
        double *x = wf_array_f64(A, a);
        float *y = wf_array_f32(A, a);
        CHECK(x && *x == cases[i].value);
        CHECK(y && *y == (float)cases[i].value);
        wf_memory_writer w = { A, NULL, 0, 0 }; /* and back */
        CHECK_INT(wf_npy_write(A, a, wf_memory_write, &w), WF_OK);
        CHECK_INT(w.size % 64, size % 64);
        wf_array *b = npy_try(A, w.data, w.size, WF_OK, "");
        CHECK(b && b->dtype == a->dtype && b->nd == 0 && !memcmp(a->data, b->data, size));
    }
    wf_arena_free(A);
}

WF_TEST(npy_fortran_order_empty_and_versions)
{
    wf_arena *A = wf_arena_new(NULL);
    const unsigned char data[24] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23 };
    /* Element [i][j][k] of a Fortran array of shape (2, 3, 4) is i + 2 j + 6 k. */
    wf_array *a = npy_header_try(A, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 4), }\n", data, 24, WF_OK, "");
    for (int i = 0; a && i < 2; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 4; k++) CHECK_INT(((unsigned char *)a->data)[i * 12 + j * 4 + k], i + 2 * j + 6 * k);
    a = npy_header_try(A, "{'descr': '>u2', 'fortran_order': True, 'shape': (2, 2)}", data, 8, WF_OK, "");
    CHECK(a && ((uint16_t *)a->data)[1] == 0x0405 && ((uint16_t *)a->data)[2] == 0x0203);
    a = npy_header_try(A, "{'shape':(3,),'fortran_order':True,'descr':\"u1\"}", data, 3, WF_OK, "");
    CHECK(a && a->nd == 1 && ((unsigned char *)a->data)[2] == 2);
    a = npy_header_try(A, "{'descr': '<f8', 'fortran_order': True, 'shape': (4, 0, 7), }", data, 0, WF_OK, "");
    CHECK(a && a->count == 0 && a->nd == 3 && a->shape[2] == 7 && a->data && wf_array_f32(A, a));
    for (int version = 1; version <= 3; version++) {
        unsigned char file[256];
        size_t n = npy_bytes(file, version, "{'descr': '<u1', 'fortran_order': False, 'shape': (3,), }\n", data, 3);
        CHECK(npy_try(A, file, n, WF_OK, ""));
    }
    wf_arena_free(A);
}

WF_TEST(npy_refuses)
{
    wf_arena *A = wf_arena_new(NULL);
    unsigned char data[64] = { 0 };
    static const struct { const char *header; size_t size; int code; const char *part; } cases[] = {
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (150,), }", 12, WF_ERROR_FORMAT, "header says 1200 bytes of data, file holds 12" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", 9, WF_ERROR_FORMAT, "header says 8 bytes of data, file holds 9" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 0, WF_ERROR_FORMAT, "header says 8 bytes" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", 8, WF_ERROR_FORMAT, "a size expected" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (1.0,), }", 8, WF_ERROR_FORMAT, "comma" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (01,), }", 8, WF_ERROR_FORMAT, "leading zeros" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (1,,), }", 8, WF_ERROR_FORMAT, "a size expected" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (1, }", 8, WF_ERROR_FORMAT, "a size expected" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': 1, }", 8, WF_ERROR_FORMAT, "a shape expected" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (18446744073709551616,), }", 8, WF_ERROR_LIMIT, "too many digits" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (18446744073709551615,), }", 8, WF_ERROR_LIMIT, "too many elements" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693952,), }", 0, WF_ERROR_LIMIT, "too many elements" },       /* 2^61 * 8 = 0 mod 2^64 */
        { "{'descr': '|u1', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 0, WF_ERROR_LIMIT, "too many elements" },   /* 2^64 = 0 */
        { "{'descr': '|u1', 'fortran_order': True, 'shape': (0, 4294967296, 4294967296), }", 0, WF_ERROR_LIMIT, "too many elements" }, /* empty, but its strides wrap */
        { "{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", 1, WF_ERROR_UNSUPPORTED, "8 dimensions" },
        { "{'descr': '<c16', 'fortran_order': False, 'shape': (1,), }", 16, WF_ERROR_UNSUPPORTED, "'<c16'" },
        { "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8, WF_ERROR_UNSUPPORTED, "'|O'" },
        { "{'descr': '<f3', 'fortran_order': False, 'shape': (1,), }", 3, WF_ERROR_UNSUPPORTED, "'<f3'" },
        { "{'descr': '', 'fortran_order': False, 'shape': (1,), }", 3, WF_ERROR_UNSUPPORTED, "''" },
        { "{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (1,), }", 8, WF_ERROR_UNSUPPORTED, "records" },
        { "{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", 8, WF_ERROR_FORMAT, "'descr'" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'colour': 1}", 8, WF_ERROR_FORMAT, "'colour'" },
        { "{'descr': '<f8', 'shape': (1,), }", 8, WF_ERROR_FORMAT, "fortran_order" },
        { "{}", 8, WF_ERROR_FORMAT, "descr" },
        { "{'descr': '<f8', 'fortran_order': false, 'shape': (1,), }", 8, WF_ERROR_FORMAT, "True or False" },
        { "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), } x", 8, WF_ERROR_FORMAT, "nothing more" },
        { "{'descr': '<f8' 'fortran_order': False, 'shape': (1,), }", 8, WF_ERROR_FORMAT, "a comma" },
        { "{'descr' '<f8', 'fortran_order': False, 'shape': (1,), }", 8, WF_ERROR_FORMAT, "a colon" },
        { "{'descr': '<f8", 8, WF_ERROR_FORMAT, "a short string" },
        { "{'a key that is much longer than any that could ever be meant': 1}", 8, WF_ERROR_FORMAT, "a short string" },
        { "[1, 2]", 8, WF_ERROR_FORMAT, "a dictionary" }, { "", 8, WF_ERROR_FORMAT, "a dictionary" }
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) npy_header_try(A, cases[i].header, data, cases[i].size, cases[i].code, cases[i].part);

    unsigned char file[256];
    memcpy(file, npy_example, 144);
    for (size_t n = 0; n < 144; n++) npy_try(A, file, n, WF_ERROR_FORMAT, ""); /* cut off at every byte */
    file[6] = 4;
    npy_try(A, file, 144, WF_ERROR_UNSUPPORTED, "version 4.0");
    file[6] = 0;
    npy_try(A, file, 144, WF_ERROR_UNSUPPORTED, "version 0.0");
    file[6] = 2; /* now the length is four bytes: 0x277B0076 */
    npy_try(A, file, 144, WF_ERROR_FORMAT, "the header should be");
    npy_try(A, npy_example + 1, 143, WF_ERROR_FORMAT, "not a .npy file");
    wf_arena_free(A);
}

WF_TEST(arrays_convert)
{
    wf_arena *A = wf_arena_new(NULL);
    /* Halves, by the definition in IEEE 754: subnormals, the smallest normal, the largest, infinities; and all 65536 against ldexp. */
    for (unsigned h = 0; h < 65536; h++) {
        uint16_t half = (uint16_t)h;
        wf_array a = wf_array_of(&half, WF_DTYPE_F16, 0, NULL);
        int exponent = (int)(h >> 10 & 31), fraction = (int)(h & 1023);
        double want = exponent == 31 ? (fraction ? 0.0 : HUGE_VAL) : exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
        double got = wf__element(&a, 0);
        if (exponent == 31 && fraction) CHECK(is_nan(got));
        else if (got != (h >> 15 ? -want : want)) CHECK(!"a half is converted exactly");
    }
    uint16_t bf = 0xC049; /* upper half of -3.140625f */
    wf_array b = wf_array_of(&bf, WF_DTYPE_BF16, 0, NULL);
    float *f = wf_array_f32(A, &b);
    CHECK(f && *f == -3.140625f);

    double x[3] = { 1, HUGE_VAL, 1e300 };
    size_t n = 3;
    wf_array d = wf_array_of(x, WF_DTYPE_F64, 1, &n);
    CHECK(wf_array_f64(A, &d) == x); /* no copy where none is needed */
    wf_mark before = wf_arena_mark(A);
    CHECK(!wf_array_f32(A, &d) && same_mark(before, wf_arena_mark(A)));
    CHECK_INT(wf_arena_report(A)->code, WF_ERROR_NUMERIC);
    CHECK_STR_HAS(wf_arena_report(A)->text, "element 2");
    wf_arena_clear(A);
    n = 2; /* infinity itself is a float */
    d = wf_array_of(x, WF_DTYPE_F64, 1, &n);
    f = wf_array_f32(A, &d);
    CHECK(f && f[1] == (float)HUGE_VAL);

    CHECK_INT(wf_array_of(NULL, WF_DTYPE_F64, 1, &n).nd, -1);
    CHECK_INT(wf_array_of(x, 99, 1, &n).nd, -1);
    CHECK_INT(wf_array_of(x, WF_DTYPE_F64, 9, (const size_t[9]){ 1, 1, 1, 1, 1, 1, 1, 1, 1 }).nd, -1);
    CHECK_INT(wf_array_of(x, WF_DTYPE_F64, 2, (const size_t[2]){ (size_t)-1, 2 }).nd, -1);
    d = wf_array_of(x, 0, 1, &n);
    CHECK(!wf_array_f64(A, &d) && wf_arena_report(A)->code == WF_ERROR_ARGUMENT);
    CHECK(!wf_array_f64(A, NULL));
    CHECK_INT(wf_dtype_size(-1), 0);
    CHECK(wf_dtype_name(14) == NULL && !strcmp(wf_dtype_name(WF_DTYPE_BOOL), "BOOL"));
    wf_arena_free(A);
}

/* ---- safetensors ---- */

static size_t st_bytes(unsigned char *out, const char *header, size_t data)
{
    size_t n = strlen(header);
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)((uint64_t)n >> 8 * i & 255);
    memcpy(out + 8, header, n);
    for (size_t i = 0; i < data; i++) out[8 + n + i] = (unsigned char)i;
    return 8 + n + data;
}

static wf_tensors *st_try(wf_arena *A, const void *bytes, size_t size, int code, const char *part)
{
    unsigned char *copy = exact(bytes, size);
    wf_mark before = wf_arena_mark(A);
    wf_arena_clear(A);
    wf_tensors *t = wf_tensors_parse(A, copy, size, "x.st");
    free(copy);
    CHECK_INT(wf_arena_report(A)->code, code);
    CHECK((t != NULL) == (code == WF_OK));
    if (code) {
        CHECK(same_mark(before, wf_arena_mark(A)));
        CHECK_STR_HAS(wf_arena_report(A)->text, "x.st: ");
        CHECK_STR_HAS(wf_arena_report(A)->text, part);
    }
    return t;
}

static wf_tensors *st_header_try(wf_arena *A, const char *header, size_t data, int code, const char *part)
{
    static unsigned char file[200000];
    return st_try(A, file, st_bytes(file, header, data), code, part);
}

WF_TEST(safetensors_known_bytes)
{
    wf_arena *A = wf_arena_new(NULL);
    float w[6] = { 1, 2, 3, 4, 5, 6 };
    unsigned char c = 7;
    size_t shape[2] = { 2, 3 }, none = 0;
    wf_tensors *t = wf_tensors_new(A);
    wf_array aw = wf_array_of(w, WF_DTYPE_F32, 2, shape), ac = wf_array_of(&c, WF_DTYPE_U8, 0, NULL), ae = wf_array_of(NULL, WF_DTYPE_F64, 1, &none);
    CHECK_INT(wf_tensors_add(t, "w", &aw), WF_OK);
    CHECK_INT(wf_tensors_add(t, "c\"\\\n\xC3\xA9", &ac), WF_OK);
    CHECK_INT(wf_tensors_add(t, "", &ae), WF_OK);
    CHECK_INT(wf_tensors_note(t, "seed", "42"), WF_OK);
    wf_memory_writer out = { A, NULL, 0, 0 };
    CHECK_INT(wf_tensors_write(t, wf_memory_write, &out), WF_OK);
    static const char want[] = "{\"__metadata__\":{\"seed\":\"42\"},\"w\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"c\\\"\\\\\\u000a\xC3\xA9\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[24,25]},\"\":{\"dtype\":\"F64\",\"shape\":[0],\"data_offsets\":[25,25]}}";
    size_t length = strlen(want), padded = (length + 7) / 8 * 8;
    const unsigned char *p = (const unsigned char *)out.data;
    CHECK(out.size == 8 + padded + 25 && p[0] == (padded & 255) && p[1] == padded >> 8 && p[2] == 0 && p[7] == 0);
    CHECK(!memcmp(p + 8, want, length));
    for (size_t i = length; i < padded; i++) CHECK(p[8 + i] == ' ');
    CHECK(p[8 + padded + 2] == 0x80 && p[8 + padded + 3] == 0x3F && p[8 + padded + 24] == 7); /* 1.0f = 3F800000 */

    wf_tensors *u = st_try(A, out.data, out.size, WF_OK, "");
    const wf_array *a = wf_tensors_find(u, "w"), *e = wf_tensors_find(u, ""), *b = wf_tensors_find(u, "c\"\\\n\xC3\xA9");
    CHECK(u && u->count == 3 && u->notes == 1 && !wf_tensors_find(u, "x") && !wf_tensors_find(u, NULL) && !wf_tensors_about(u, "x"));
    CHECK(a && a->nd == 2 && a->shape[1] == 3 && a->count == 6 && !memcmp(a->data, w, sizeof w) && (uintptr_t)a->data % 64 == 0);
    CHECK(b && b->nd == 0 && b->count == 1 && *(unsigned char *)b->data == 7);
    CHECK(e && e->count == 0 && e->nd == 1 && wf_array_f64(A, e));
    CHECK(wf_tensors_about(u, "seed") && !strcmp(wf_tensors_about(u, "seed"), "42"));
    wf_memory_writer again = { A, NULL, 0, 0 }; /* deterministic */
    CHECK_INT(wf_tensors_write(u, wf_memory_write, &again), WF_OK);
    CHECK(again.size == out.size && !memcmp(again.data, out.data, out.size));
    wf_arena_free(A);
}

WF_TEST(safetensors_accepts)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_tensors *t = st_header_try(A, "{}", 0, WF_OK, "");
    CHECK(t && t->count == 0 && t->notes == 0);
    t = st_header_try(A, " { \"__metadata__\" : { } }\n\t\r ", 0, WF_OK, "");
    CHECK(t && t->notes == 0);
    /* Keys and tensors in any order. */
    t = st_header_try(A, "{\"b\":{\"data_offsets\":[4,6],\"shape\":[2],\"dtype\":\"I8\"}, \"a\" : {\"shape\":[1,2,1],\"dtype\":\"I16\",\"data_offsets\":[0,4]}}  ", 6, WF_OK, "");
    CHECK(t && t->count == 2 && !strcmp(t->entry[0].name, "b") && ((signed char *)t->entry[0].array.data)[1] == 5);
    CHECK(t && ((int16_t *)t->entry[1].array.data)[1] == 0x0302);
    /* Escapes, a surrogate pair, and a name that looks like nothing. */
    t = st_header_try(A, "{\"\\u00e9\\uD83D\\uDE00\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\":{\"dtype\":\"BOOL\",\"shape\":[],\"data_offsets\":[0,1]}}", 1, WF_OK, "");
    CHECK(t && !strcmp(t->entry[0].name, "\xC3\xA9\xF0\x9F\x98\x80\"\\/\b\f\n\r\tA"));
    /* Empty tensors share a place with their neighbours, and with each other. */
    t = st_header_try(A, "{\"x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"e\":{\"dtype\":\"F64\",\"shape\":[0,5],\"data_offsets\":[0,0]},"
                         "\"f\":{\"dtype\":\"F64\",\"shape\":[3,0],\"data_offsets\":[2,2]},\"g\":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[2,2]}}", 2, WF_OK, "");
    CHECK(t && t->count == 4 && t->entry[2].array.shape[0] == 3);
    /* A thousand tensors, in reverse order of place. */
    static char header[100000];
    char *p = header;
    *p++ = '{';
    for (int i = 0; i < 1000; i++) p += sprintf(p, "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}", i ? "," : "", i, 999 - i, 1000 - i);
    strcpy(p, "}");
    t = st_header_try(A, header, 1000, WF_OK, "");
    for (int i = 0; t && i < 1000; i++) CHECK_INT(*(unsigned char *)t->entry[i].array.data, (999 - i) & 255);
    wf_arena_free(A);
}

#define ONE "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}"

WF_TEST(safetensors_refuses)
{
    wf_arena *A = wf_arena_new(NULL);
    static const struct { const char *header; size_t data; int code; const char *part; } cases[] = {
        { "", 0, WF_ERROR_FORMAT, "a JSON object" }, { "[]", 0, WF_ERROR_FORMAT, "a JSON object" }, { "{} x", 0, WF_ERROR_FORMAT, "nothing more" },
        { "{", 0, WF_ERROR_FORMAT, "a string" }, { "{\"a\":" ONE ",}", 1, WF_ERROR_FORMAT, "a string" }, { "{a:" ONE "}", 1, WF_ERROR_FORMAT, "a string" },
        { "{\"a\" " ONE "}", 1, WF_ERROR_FORMAT, "a colon" }, { "{\"a\":" ONE " \"b\":" ONE "}", 1, WF_ERROR_FORMAT, "a comma" },
        { "{\"a\":" ONE ",\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, WF_ERROR_FORMAT, "'a' comes twice" },
        { "{\"a\":" ONE ",\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, WF_ERROR_FORMAT, "'a' comes twice" },
        { "{\"__metadata__\":{},\"__metadata__\":{}}", 0, WF_ERROR_FORMAT, "two blocks" },
        { "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, WF_ERROR_FORMAT, "'k' comes twice" },
        { "{\"__metadata__\":{\"k\":1}}", 0, WF_ERROR_FORMAT, "a string" }, { "{\"__metadata__\":{\"k\":{}}}", 0, WF_ERROR_FORMAT, "a string" },
        { "{\"__metadata__\":null}", 0, WF_ERROR_FORMAT, "an object" }, { "{\"__metadata__\":{\"k\":\"v\",}}", 0, WF_ERROR_FORMAT, "a string" },
        { "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, WF_ERROR_FORMAT, "'dtype' of tensor 'a'" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":[[[[]]]]}}", 1, WF_ERROR_FORMAT, "'x' of tensor 'a'" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, WF_ERROR_FORMAT, "lacks" }, { "{\"a\":{}}", 1, WF_ERROR_FORMAT, "a string" },
        { "{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, WF_ERROR_UNSUPPORTED, "'F8_E4M3'" },
        { "{\"a\":{\"dtype\":\"f64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, WF_ERROR_UNSUPPORTED, "'f64'" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,],\"data_offsets\":[0,1]}}", 1, WF_ERROR_FORMAT, "end of the shape" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1, WF_ERROR_FORMAT, "a size" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1e0],\"data_offsets\":[0,1]}}", 1, WF_ERROR_FORMAT, "a comma" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[\"1\"],\"data_offsets\":[0,1]}}", 1, WF_ERROR_FORMAT, "a size" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, WF_ERROR_UNSUPPORTED, "8 dimensions" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, WF_ERROR_LIMIT, "'a' has too many" },
        { "{\"a\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0, WF_ERROR_LIMIT, "'a' has too many" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[99999999999999999999],\"data_offsets\":[0,1]}}", 1, WF_ERROR_LIMIT, "digits" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,99999999999999999999]}}", 1, WF_ERROR_LIMIT, "digits" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, WF_ERROR_FORMAT, "a comma" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 1, WF_ERROR_FORMAT, "]" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 1, WF_ERROR_FORMAT, "needs 1 bytes, its place is 1 to 0" },
        { "{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, WF_ERROR_FORMAT, "needs 8 bytes" },
        { "{\"a\":{\"dtype\":\"F64\",\"shape\":[1000],\"data_offsets\":[0,8000]}}", 8, WF_ERROR_FORMAT, "header says 8000 bytes of data, file holds 8" },
        { "{\"a\":" ONE "}", 2, WF_ERROR_FORMAT, "header says 1 bytes of data, file holds 2" }, { "{}", 1, WF_ERROR_FORMAT, "header says 0 bytes" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3, WF_ERROR_FORMAT, "'b' begins at 1, where 2" },
        { "{\"a\":" ONE ",\"b\":" ONE "}", 1, WF_ERROR_FORMAT, "overlap" },
        { "{\"a\":" ONE ",\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,3]}}", 3, WF_ERROR_FORMAT, "a gap" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, WF_ERROR_FORMAT, "begins at 1, where 0" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[18446744073709551615,0]}}", 1, WF_ERROR_FORMAT, "needs 1 bytes" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[7,7]}}", 0, WF_ERROR_FORMAT, "begins at 7" },
        { "{\"\\u0000\":" ONE "}", 1, WF_ERROR_FORMAT, "escape" }, { "{\"\\uD800\":" ONE "}", 1, WF_ERROR_FORMAT, "escape" },
        { "{\"\\uDC00\":" ONE "}", 1, WF_ERROR_FORMAT, "escape" }, { "{\"\\uD800\\u0041\":" ONE "}", 1, WF_ERROR_FORMAT, "escape" },
        { "{\"\\uD800\\n12345\":" ONE "}", 1, WF_ERROR_FORMAT, "escape" },
        { "{\"\\x41\":" ONE "}", 1, WF_ERROR_FORMAT, "escape" }, { "{\"\\u00g0\":" ONE "}", 1, WF_ERROR_FORMAT, "escape" }, { "{\"\\u00", 0, WF_ERROR_FORMAT, "escape" },
        { "{\"a\nb\":" ONE "}", 1, WF_ERROR_FORMAT, "UTF-8" }, { "{\"\x80\":" ONE "}", 1, WF_ERROR_FORMAT, "UTF-8" }, { "{\"\xC0\xAF\":" ONE "}", 1, WF_ERROR_FORMAT, "UTF-8" },
        { "{\"\xE0\x80\xAF\":" ONE "}", 1, WF_ERROR_FORMAT, "UTF-8" }, { "{\"\xED\xA0\x80\":" ONE "}", 1, WF_ERROR_FORMAT, "UTF-8" },
        { "{\"\xF4\x90\x80\x80\":" ONE "}", 1, WF_ERROR_FORMAT, "UTF-8" }, { "{\"\xF8\x88\x80\x80\x80\":" ONE "}", 1, WF_ERROR_FORMAT, "UTF-8" }, { "{\"\xC3", 0, WF_ERROR_FORMAT, "UTF-8" }
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) st_header_try(A, cases[i].header, cases[i].data, cases[i].code, cases[i].part);

    /* A good file, cut off at every byte; a header that claims to be longer than the file, or longer than anything. */
    static unsigned char file[100200];
    size_t n = st_bytes(file, "{\"__metadata__\":{\"k\":\"v\\u00e9\"},\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[8,9]}}", 9);
    CHECK(st_try(A, file, n, WF_OK, ""));
    for (size_t i = 0; i < n; i++) st_try(A, file, i, WF_ERROR_FORMAT, "");
    unsigned char length = file[0];
    for (int i = 0; i < 256; i++) { /* every other first byte of the length */
        file[0] = (unsigned char)i;
        st_try(A, file, n, i == length ? WF_OK : WF_ERROR_FORMAT, "");
    }
    memset(file, 0xFF, 8);
    st_try(A, file, n, WF_ERROR_LIMIT, "100 million");

    /* Nesting, as deep as the file is long, where a size, a tensor and a name should be: no stack is used. */
    for (int kind = 0; kind < 3; kind++) {
        size_t at = st_bytes(file, kind == 0 ? "{\"a\":{\"shape\":" : kind == 1 ? "{\"a\":" : "", 0);
        memset(file + at, kind == 1 ? '{' : '[', 100000);
        at += 100000;
        for (int i = 0; i < 8; i++) file[i] = (unsigned char)((uint64_t)(at - 8) >> 8 * i & 255);
        st_try(A, file, at, WF_ERROR_FORMAT, "expected");
    }
    wf_arena_free(A);
}

WF_TEST(safetensors_refuses_to_build_what_it_would_not_read)
{
    wf_arena *A = wf_arena_new(NULL);
    wf_tensors *t = wf_tensors_new(A);
    double x = 1;
    wf_array a = wf_array_of(&x, WF_DTYPE_F64, 0, NULL), bad = a;
    bad.dtype = 0;
    CHECK_INT(wf_tensors_add(t, "x", &a), WF_OK);
    CHECK_INT(wf_tensors_add(t, "x", &a), WF_ERROR_NAME);
    CHECK_INT(wf_tensors_add(t, "__metadata__", &a), WF_ERROR_NAME);
    CHECK_INT(wf_tensors_add(t, "\xFF", &a), WF_ERROR_NAME);
    CHECK_INT(wf_tensors_add(t, NULL, &a), WF_ERROR_NAME);
    CHECK_INT(wf_tensors_add(t, "y", &bad), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_tensors_add(t, "y", NULL), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_tensors_add(NULL, "y", &a), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_tensors_note(t, "k", "v"), WF_OK);
    CHECK_INT(wf_tensors_note(t, "k", "v"), WF_ERROR_NAME);
    CHECK_INT(wf_tensors_note(t, "l", NULL), WF_ERROR_NAME);
    CHECK_INT(t->count, 1);
    CHECK_INT(t->notes, 1);
    wf_memory_writer full = { NULL, &x, 0, sizeof x };
    wf_arena_clear(A);
    CHECK_INT(wf_tensors_write(t, wf_memory_write, &full), WF_ERROR_IO);
    CHECK_STR_HAS(wf_arena_report(A)->text, "write callback");
    wf_arena_free(A);
}

WF_TEST(what_is_filled_in_by_hand_is_checked)
{
    wf_memory_reader behind = { "abc", 3, 10 };
    char nothing[8];
    CHECK_INT(wf_memory_read(&behind, nothing, 4), 0);
    wf_arena *A = wf_arena_new(NULL);
    double x[4] = { 1, 2, 3, 4 };
    size_t shape = 4;
    wf_array good = wf_array_of(x, WF_DTYPE_F64, 1, &shape), a;
    for (int kind = 0; kind < 4; kind++) { /* a header that lies, too many axes, none, no count */
        wf_memory_writer w = { A, NULL, 0, 0 };
        a = good;
        if (kind == 0) a.shape[0] = 1000;
        else if (kind == 1) a.nd = 9;
        else if (kind == 2) a.nd = -1;
        else a.count = 0;
        CHECK_INT(wf_npy_write(A, &a, wf_memory_write, &w), WF_ERROR_ARGUMENT);
        CHECK_INT(w.size, 0);
        CHECK(!wf_array_f64(A, &a) && !wf_array_f32(A, &a));
    }
    wf_arena_free(A);
}

WF_TEST(a_failing_reader_leaves_nothing_in_a_fixed_buffer)
{
    static char buffer[65536];
    char path[256];
    wf_arena *A = wf_arena_from(buffer, sizeof buffer);
    wf_mark before;
    strcpy(path, wf_test_scratch("files_left.tmp"));
    CHECK_INT(wf_file_write(A, path, "1,2\n3,\"what is no table\n", 24), WF_OK);
    before = wf_arena_mark(A);
    CHECK(!wf_npy_read(A, path) && same_mark(before, wf_arena_mark(A)));
    CHECK(!wf_tensors_read(A, path) && same_mark(before, wf_arena_mark(A)));
    CHECK(!wf_csv_read(A, path, NULL) && same_mark(before, wf_arena_mark(A)));
    CHECK(!wf_reactions_read(A, path) && same_mark(before, wf_arena_mark(A)));
    remove(path);
    wf_arena_free(A);
}

WF_TEST(lines_are_skipped_however_they_end)
{
    static const char *const ends[] = { "\n", "\r\n", "\r" };
    for (int e = 0; e < 3; e++) {
        char text[64];
        wf_csv_options o = { 0 };
        wf_arena *A = wf_arena_new(NULL);
        o.skip = 2;
        snprintf(text, sizeof text, "a b%sc%s1,2%s3,x%s", ends[e], ends[e], ends[e], ends[e]);
        CHECK(!wf_csv_parse(A, text, strlen(text), "t", &o));
        CHECK_STR_HAS(wf_arena_report(A)->text, "line 4");
        wf_arena_free(A);
    }
}

/* ---- numbers as text ---- */

static uint64_t bits_of(double x) { uint64_t b; memcpy(&b, &x, sizeof b); return b; }

/* Ours against the C library's, which is correctly rounded here (glibc, musl, BSD). */
static void same_as_strtod(const char *text)
{
    char *end;
    double want = strtod(text, &end), got = -1;
    size_t used = wf_number_parse(text, strlen(text), &got);
    if (used != (size_t)(end - text) || bits_of(want) != bits_of(got)) { printf("  '%.60s': %a, wanted %a\n", text, got, want); CHECK(!"the nearest double"); }
}

WF_TEST(numbers_are_parsed_to_the_nearest_double)
{
    static const char *const hard[] = {
        "0", "-0", "1", "+1", "-1.5e3", ".5", "5.", "1e0", "1E+2", "1e-2x", "1e", "1e+", "1ex", "12.34.56", "1e400", "-1e400", "1e-400", "1e99999999999999999999", "1e-99999999999999999999",
        "0e999999999999", "0.000000000000000000000000000000000000000001e42", "100000000000000000000000000000000000000000e-41", "inf", "-Infinity", "infinit", "9007199254740993",
        "9007199254740992.99999999999999999999999999", "9007199254740993.00000000000000000000000001", "9007199254740991.5", "4503599627370496.5", "4503599627370497.5", "1e22", "1e23", "8.5e22",
        "2.2250738585072011e-308", "2.2250738585072012e-308", "2.2250738585072014e-308", "4.9406564584124654e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "7.4109846876186982e-324",
        "1.7976931348623157e308", "1.7976931348623158e308", "1.7976931348623159e308", "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704342711559699508093042880",
        "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704342711559699508093042879",
        "3.518437208883201171875e13", "62.5364939768271845828", "8.10109172351e-10", "1.50000000000000011102230246251565", "1.4999999999999999", "6.631236846766476e-316", "3.2378839133029012895883524125015321748630e-297",
        "0.500000000000000166533453693773481063544750213623046875", "3.237883913302901289588352412501532174863037669423108059901297049552301970670676565786835742587799557860615776559838283435514391084153169252689190564396459577394618038928365305143463955100356696665629202017331344031730044369360205258345803431471660032699580731300954848363975548690010751530018881758184174569652173110473696022749934638425380623369774736560008997404060967498028389191878963968575439222206416981462690113342524002724385941651051293552601421155333430225237291523843322331326138431477823591142408800030775170625915670728657003151953664260769822494937951845801530895238439819708403389937873241463484205608000027270531106827387907791444918534771598750162812548862768493201518991668028251730299953143924168545708663913273994694463908672332763671875e-297"
    };
    for (size_t i = 0; i < sizeof hard / sizeof hard[0]; i++) same_as_strtod(hard[i]);
    char text[1100];
    for (int i = 0; i < 40000; i++) { /* random digits, few and many, at every size */
        int n = 1 + (int)(random_bits() % (i % 4 ? 20 : 60)), at = 0, point = (int)(random_bits() % 30);
        for (int k = 0; k < n; k++) {
            if (k == point) text[at++] = '.';
            text[at++] = (char)('0' + random_bits() % 10);
        }
        sprintf(text + at, "e%d", (int)(random_bits() % 700) - 360);
        same_as_strtod(text);
    }
    for (int i = 0; i < 4000; i++) { /* exactly between two doubles (a long double holds that), and a hair beside */
        uint64_t b = random_bits() >> (1 + i % 12);
        if ((b >> 52) >= 0x7FE) continue;
        if (i % 3 == 0) b = (b & 0xFFFFFFFFFFFFFu) | (uint64_t)(1023 + i % 60) << 52;
        double lo, hi;
        uint64_t next = b + 1;
        memcpy(&lo, &b, 8);
        memcpy(&hi, &next, 8);
        long double middle = (long double)lo + ((long double)hi - (long double)lo) / 2;
        char digits[1200], *exponent;
        snprintf(digits, sizeof digits, "%.1080Le", middle);
        exponent = strchr(digits, 'e');
        int n = exponent - digits > 900 ? 900 : (int)(exponent - digits); /* 900 characters are the whole of it, or enough */
        memcpy(text, digits, (size_t)n);
        strcpy(text + n, exponent);
        same_as_strtod(text);
        text[n - 1] = '1';
        same_as_strtod(text);
    }
    /* 800 digits after a tie: the last one decides. */
    strcpy(text, "9007199254740993.");
    for (int i = 17; i < 1000; i++) text[i] = '0';
    text[1000] = 0;
    same_as_strtod(text);
    text[999] = '1';
    same_as_strtod(text);
    double v;
    CHECK_INT(wf_number_parse("", 0, &v), 0);
    CHECK_INT(wf_number_parse("-", 1, &v), 0);
    CHECK_INT(wf_number_parse(".", 1, &v), 0);
    CHECK_INT(wf_number_parse("e5", 2, &v), 0);
    CHECK_INT(wf_number_parse(" 1", 2, &v), 0);
    CHECK_INT(wf_number_parse("NaN", 3, &v), 3);
    CHECK(is_nan(v));
    CHECK_INT(wf_number_parse("123", 2, &v), 2); /* keeps to its size */
    CHECK(v == 12);
}

static void writes_back(double x)
{
    char text[32], other[64];
    double y = 0;
    size_t n = wf_number_write(x, text), used = wf_number_parse(text, n, &y);
    if (n != strlen(text) || n > 25 || used != n || bits_of(x) != bits_of(y) || bits_of(strtod(text, NULL)) != bits_of(x)) { printf("  %a is written as %s\n", x, text); CHECK(!"reads back"); }
    size_t digits = 0;
    int p = 1, leading = 1;
    for (const char *c = text; *c && *c != 'e'; c++) {
        if (*c >= '1' && *c <= '9') leading = 0;
        if (*c >= '0' && *c <= '9' && !leading) digits++;
    }
    if (!strchr(text, '.') && !strchr(text, 'e')) while (digits > 1 && text[--n] == '0') digits--; /* zeros that only say how large it is */
    do snprintf(other, sizeof other, "%.*e", p - 1, x); while (bits_of(strtod(other, NULL)) != bits_of(x) && p++ < 17);
    if (digits > (size_t)p) { printf("  %s is longer than %s\n", text, other); CHECK(!"shortest"); }
}

WF_TEST(numbers_are_written_short_and_exact)
{
    static const struct { double x; const char *text; } cases[] = {
        { 0.0, "0" }, { -0.0, "-0" }, { 1, "1" }, { -1.5, "-1.5" }, { 0.1, "0.1" }, { 100, "100" }, { 123456789012345680.0, "1.2345678901234568e17" }, { 1e16, "10000000000000000" },
        { 1e17, "1e17" }, { 0.0001, "0.0001" }, { 0.00001, "0.00001" }, { 0.000001, "1e-6" }, { 5e-324, "5e-324" }, { 1.7976931348623157e308, "1.7976931348623157e308" },
        { 2.2250738585072014e-308, "2.2250738585072014e-308" }, { 9007199254740992.0, "9007199254740992" }, { 1e23, "1e23" }, { 5e22, "5e22" }, { 0.3, "0.3" }, { 2.0 / 3.0, "0.6666666666666666" },
        { HUGE_VAL, "inf" }, { -HUGE_VAL, "-inf" }, { 142.434, "142.434" }
    };
    char text[32];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_INT(wf_number_write(cases[i].x, text), strlen(cases[i].text));
        CHECK_STR_HAS(text, cases[i].text);
    }
    CHECK_INT(wf_number_write(-(HUGE_VAL - HUGE_VAL), text), 3);
    CHECK(!strcmp(text, "nan"));
    for (int e = -1074; e < 1024; e++) { /* powers of two: the interval is not symmetric */
        writes_back(ldexp(1, e));
        writes_back(-nextafter(ldexp(1, e), 0));
    }
    for (int e = -323; e < 309; e++) {
        snprintf(text, sizeof text, "1e%d", e);
        writes_back(strtod(text, NULL));
    }
    for (int i = 0; i < 20000; i++) {
        uint64_t b = random_bits();
        double x;
        memcpy(&x, &b, sizeof x);
        if (wf__finite(x)) writes_back(x);
        writes_back((double)(random_bits() % 2000000) / 1000 - 1000);
    }
}

WF_TEST(numbers_do_not_depend_on_the_locale)
{
    static const char *const names[] = { "de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "fr_FR" };
    int found = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !found; i++) found = setlocale(LC_NUMERIC, names[i]) != NULL;
    if (!found) SKIP("no locale with a decimal comma is installed");
    double x = 0;
    char text[32];
    size_t n = wf_number_parse("1.5", 3, &x);
    wf_number_write(2.25, text);
    setlocale(LC_NUMERIC, "C");
    CHECK(n == 3 && x == 1.5 && !strcmp(text, "2.25"));
}

/* ---- tables ---- */

static wf_table *csv_try(wf_arena *A, const char *text, const wf_csv_options *o, int code, const char *part)
{
    size_t size = strlen(text);
    unsigned char *copy = exact(text, size);
    wf_mark before = wf_arena_mark(A);
    wf_arena_clear(A);
    wf_table *t = wf_csv_parse(A, (const char *)copy, size, "x.csv", o);
    free(copy);
    if (wf_arena_report(A)->code != code) printf("  for: %s\n", text);
    CHECK_INT(wf_arena_report(A)->code, code);
    CHECK((t != NULL) == (code == WF_OK));
    if (code) {
        CHECK(same_mark(before, wf_arena_mark(A)));
        CHECK_STR_HAS(wf_arena_report(A)->text, "x.csv: ");
        CHECK_STR_HAS(wf_arena_report(A)->text, part);
    }
    return t;
}

WF_TEST(tables_of_every_dialect)
{
    wf_arena *A = wf_arena_new(NULL);
    /* All of these are the same table: 1 2 3 / 4 5 -6.5, columns a, "b c", d. */
    static const char *const same[] = {
        "a,b c,d\n1,2,3\n4,5,-6.5\n", "a;b c;d\r\n1;2;3\r\n4;5;-6.5", "a\tb c\td\r1\t2\t3\r4\t5\t-6.5\r", "\"a\" \"b c\" \"d\"\n 1   2 3\n4 5\t-6.5   \n",
        "\357\273\277a , b c, d\n\n1 ,2,\t3\n   \n4,5,-6.5\n\n", "# a comment, with \"one quote\na,\"b c\",d # names\n1,2,3#\n#\n\"4\",\"5\" , \"-6.5\"\n# end", "a,b c,d\n1e0,+2,3.\n4,5.00,-.65E+1"
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        wf_table *t = csv_try(A, same[i], NULL, WF_OK, "");
        if (!t) continue;
        static const double want[6] = { 1, 2, 3, 4, 5, -6.5 };
        CHECK(t->rows == 2 && t->columns == 3 && t->names && !memcmp(t->data, want, sizeof want));
        CHECK(wf_table_column(t, "a") == 0 && wf_table_column(t, "b c") == 1 && wf_table_column(t, "d") == 2 && wf_table_column(t, "e") == -1);
    }
    wf_table *t = csv_try(A, "1,2\n3,4", NULL, WF_OK, "");
    CHECK(t && t->rows == 2 && !t->names && wf_table_column(t, "1") == -1);
    wf_csv_options o = { 0, 1, 0, 0 };
    t = csv_try(A, "1,2\n3,4", &o, WF_OK, "");
    CHECK(t && t->rows == 1 && wf_table_column(t, "2") == 1);
    o.header = -1;
    csv_try(A, "a,b\n3,4", &o, WF_ERROR_FORMAT, "line 1, column 1: 'a' is not a number");
    t = csv_try(A, "\"a \"\"quoted\"\" #, name\",\"\",x\n1,2,3", NULL, WF_OK, "");
    CHECK(t && wf_table_column(t, "a \"quoted\" #, name") == 0 && wf_table_column(t, "") == 1);
    t = csv_try(A, "a,b\n", NULL, WF_OK, "");
    CHECK(t && t->rows == 0 && t->columns == 2 && t->data);
    t = csv_try(A, "7", NULL, WF_OK, "");
    CHECK(t && t->rows == 1 && t->columns == 1 && t->data[0] == 7);
    wf_csv_options skip = { '|', 0, 2, 0 };
    t = csv_try(A, "351 34\nanything \" goes\n1|2\n", &skip, WF_OK, "");
    CHECK(t && t->rows == 1 && t->columns == 2);
    csv_try(A, "351 34\nanything\n1|2\n3|x", &skip, WF_ERROR_FORMAT, "line 4, column 2"); /* skipped lines count */
    wf_csv_options keep = { 0, 0, 0, 1 };
    t = csv_try(A, "a,b,c\n1,,NA\nnan,-inf,\n", &keep, WF_OK, "");
    CHECK(t && t->rows == 2 && t->data[0] == 1 && t->data[4] == -HUGE_VAL);
    for (int i = 1; t && i < 6; i++) CHECK(i == 4 || is_nan(t->data[i]));
    wf_arena_free(A);
}

WF_TEST(tables_refuse)
{
    wf_arena *A = wf_arena_new(NULL);
    static const struct { const char *text; int code; const char *part; } cases[] = {
        { "", WF_ERROR_FORMAT, "empty" }, { "\n\n# x\n", WF_ERROR_FORMAT, "empty" }, { "\xEF\xBB\xBF", WF_ERROR_FORMAT, "empty" },
        { "a,b\n1,2\n3\n", WF_ERROR_FORMAT, "line 3 has 1 fields, the first line has 2" }, { "a,b\n1,2,\n", WF_ERROR_FORMAT, "line 2 has 3 fields" },
        { "a,b\n\n1,2\n\n3,x1\n", WF_ERROR_FORMAT, "line 5, column 2: 'x1' is not a number" }, { "a\r\n1\r\n2\r\nz\r\n", WF_ERROR_FORMAT, "line 4, column 1" },
        { "a,b\n1,\n", WF_ERROR_DATA, "line 2, column 2: the value is missing" }, { "a,b\n,1\n", WF_ERROR_DATA, "line 2, column 1: the value is missing" },
        { "a,b\n1,\"\"\n", WF_ERROR_DATA, "missing" }, { "a,b\n1,NA\n", WF_ERROR_DATA, "missing" }, { "1,nan\n", WF_ERROR_DATA, "not finite" },
        { "1,inf\n", WF_ERROR_DATA, "not finite" }, { "1,1e999\n", WF_ERROR_DATA, "line 1, column 2: the value is not finite" },
        { "a,1\n1,2\n", WF_ERROR_FORMAT, "mixes words and numbers" }, { "1,5;2,5\n", WF_ERROR_FORMAT, "'1,5' is not a number" }, { "1.O,2.5\n", WF_ERROR_FORMAT, "'1.O' is not a number" }, { "1x,a\n", WF_ERROR_FORMAT, "mixes" }, { "a;b\n1,5;2,5\n", WF_ERROR_FORMAT, "'1,5' is not a number" },
        { "1,2\n3,0x10\n", WF_ERROR_FORMAT, "'0x10'" }, { "1,2\n3,1_000\n", WF_ERROR_FORMAT, "'1_000'" }, { "1,2\n3,4 5\n", WF_ERROR_FORMAT, "'4 5'" }, { "1,2\n3,--4\n", WF_ERROR_FORMAT, "'--4'" },
        { "a,b\n\"1,2\n", WF_ERROR_FORMAT, "line 2: a quote is not closed" }, { "a,b\n\"1\"2,3\n", WF_ERROR_FORMAT, "line 2, column 1: text after a closing quote" },
        { "1;2\"3;\"4\n", WF_ERROR_FORMAT, "column 3: a quote is not closed" }, { "1\"2,\"3\n", WF_ERROR_FORMAT, "is not a number" }, { "1,2\n3,\x01\xFF\n", WF_ERROR_FORMAT, "'\?\?' is not" },
        { "1,2\n3,abcdefghijklmnopqrstuvwxyz\n", WF_ERROR_FORMAT, "'abcdefghijklmnopqrst' is not" }
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) csv_try(A, cases[i].text, NULL, cases[i].code, cases[i].part);
    char zero[] = "1,2\n3,4\0\n5,6\n"; /* a zero byte is not the end of the text */
    wf_arena_clear(A);
    CHECK(!wf_csv_parse(A, zero, sizeof zero - 1, "x.csv", NULL));
    CHECK_STR_HAS(wf_arena_report(A)->text, "line 2, column 2: '4' is not a number");
    wf_arena_clear(A);
    CHECK(!wf_csv_parse(A, "a,b\0b\n1,2\n", 10, "x.csv", NULL));
    CHECK_STR_HAS(wf_arena_report(A)->text, "column 2 contains a zero byte");
    /* Cut off at every byte: an error or a table, and no read beyond the end. */
    static const char whole[] = "# c\n\"a\"\"b\",\"c\"\r\n1.5e-3,\"2\"\r\n3,4 # x\n";
    for (size_t n = 0; n < sizeof whole; n++) {
        unsigned char *copy = exact(whole, n);
        wf_arena_clear(A);
        wf_table *t = wf_csv_parse(A, (const char *)copy, n, "x.csv", NULL);
        CHECK((t == NULL) == (wf_arena_report(A)->code != WF_OK));
        free(copy);
    }
    wf_arena_free(A);
}

WF_TEST(tables_come_back)
{
    wf_arena *A = wf_arena_new(NULL);
    enum { ROWS = 200 };
    static double data[ROWS * 2];
    const char *names[2] = { "x, y", "the \"other\" #" };
    for (int i = 0; i < 2 * ROWS; i++) {
        uint64_t b = random_bits();
        memcpy(&data[i], &b, 8);
        if (!wf__finite(data[i])) data[i] = -0.0;
    }
    wf_table t = { ROWS, 2, data, names };
    const char *path = wf_test_scratch("files_table.tmp");
    for (int named = 0; named < 2; named++) {
        t.names = named ? names : NULL;
        CHECK_INT(wf_csv_save(A, path, &t), WF_OK);
        wf_table *u = wf_csv_read(A, path, NULL);
        CHECK(u && u->rows == ROWS && u->columns == 2 && !memcmp(u->data, data, sizeof data));
        CHECK(u && (named ? u->names && !strcmp(u->names[0], names[0]) && !strcmp(u->names[1], names[1]) : !u->names));
    }
    data[3] = HUGE_VAL;
    CHECK_INT(wf_csv_save(A, path, &t), WF_OK);
    wf_csv_options keep = { 0, 0, 0, 1 };
    wf_table *u = wf_csv_read(A, path, &keep);
    CHECK(u && u->data[3] == HUGE_VAL);
    CHECK(!wf_csv_read(A, path, NULL));
    CHECK_STR_HAS(wf_arena_report(A)->text, "files_table.tmp: line 3, column 2");
    names[0] = "a\nb";
    wf_arena_clear(A);
    CHECK_INT(wf_csv_save(A, path, &t), WF_ERROR_NAME);
    CHECK(file_exists(path));
    t.columns = 0;
    CHECK_INT(wf_csv_save(A, path, &t), WF_ERROR_ARGUMENT);
    CHECK_INT(wf_csv_save(A, path, NULL), WF_ERROR_ARGUMENT);
    remove(path);
    wf_arena_free(A);
}

/* ---- memory that runs out ---- */

/* Reads and writes of every kind. Returns the number of steps that worked. */
static int every_kind(wf_arena *A, const char *npy, const char *st, const char *csv)
{
    size_t size, shape = 3000;
    int steps = 0;
    wf_array *a = wf_npy_read(A, npy);
    if (!a) return steps;
    steps++;
    if (!wf_array_f32(A, a)) return steps;
    steps++;
    wf_tensors *t = wf_tensors_read(A, st);
    if (!t) return steps;
    steps++;
    wf_table *c = wf_csv_read(A, csv, NULL);
    if (!c) return steps;
    steps++;
    wf_tensors *u = wf_tensors_new(A);
    if (!u) return steps;
    wf_array b = wf_array_of(a->data, WF_DTYPE_F64, 1, &shape);
    char name[16];
    for (int i = 0; i < 20; i++) {
        size_t before = u->count;
        snprintf(name, sizeof name, "t%d", i);
        if (wf_tensors_add(u, name, &b) != WF_OK) { CHECK_INT(u->count, before); return steps; }
        if (wf_tensors_note(u, name, "value") != WF_OK) { CHECK_INT(u->notes, before); return steps; }
    }
    steps++;
    wf_memory_writer w = { A, NULL, 0, 0 };
    if (wf_tensors_write(u, wf_memory_write, &w) != WF_OK) return steps;
    steps++;
    if (wf_tensors_save(t, st) != WF_OK || wf_npy_save(A, npy, a) != WF_OK || wf_csv_save(A, csv, c) != WF_OK) return steps;
    steps++;
    if (!wf_file_read(A, npy, &size)) return steps;
    return steps + 1;
}

WF_TEST(memory_may_run_out_anywhere)
{
    static double x[3000];
    char npy[256], st[256], csv[256];
    wf_arena *A = wf_arena_new(NULL);
    size_t shape = 3000;
    wf_array a = wf_array_of(x, WF_DTYPE_F64, 1, &shape), empty = wf_array_of(x, WF_DTYPE_F64, 0, NULL);
    const char *names[3] = { "a", "b", "c" };
    wf_table table = { 1000, 3, x, names };
    wf_tensors *t = wf_tensors_new(A);
    for (int i = 0; i < 3000; i++) x[i] = i * 0.37;
    strcpy(npy, wf_test_scratch("files_memory.npy.tmp"));
    strcpy(st, wf_test_scratch("files_memory.st.tmp"));
    strcpy(csv, wf_test_scratch("files_memory.csv.tmp"));
    CHECK(!wf_tensors_add(t, "a", &a) && !wf_tensors_add(t, "b", &empty) && !wf_tensors_note(t, "k", "v"));
    CHECK(!wf_npy_save(A, npy, &a) && !wf_tensors_save(t, st) && !wf_csv_save(A, csv, &table));
    wf_arena_free(A);

    int done = 0, failed = 0;
    for (int forever = 0; forever < 2; forever++) /* the k-th call of the allocator fails; or all from the k-th on do (an arena asks again for less) */
        for (long k = 1, hit = 1; hit && k < 1000; k++) {
            wf_test_memory m = { 0, k, 0, 0, forever };
            wf_allocator allocator = { wf_test_alloc, wf_test_free, &m };
            A = wf_arena_new(&allocator);
            done = A && every_kind(A, npy, st, csv) == 8;
            int code = wf_arena_report(A)->code; /* a write into memory that is refused is a failed write */
            if (!done) { CHECK(code == WF_ERROR_MEMORY || code == WF_ERROR_IO); failed++; }
            wf_arena_free(A);
            CHECK_INT(m.live, 0);
            hit = m.calls >= k;
        }
CHECK(done && failed > 10);

    size_t size = 1024; /* and a fixed buffer that is a little larger each time: every cut of the arena fails once */
    for (done = failed = 0; !done && size < (size_t)1 << 24; size += size < 400000 ? 1024 : size / 8) {
        char *buffer = (char *)malloc(size);
        A = wf_arena_from(buffer, size);
        CHECK(A != NULL);
        done = A && every_kind(A, npy, st, csv) == 8;
        if (A && !done) { CHECK(wf_arena_report(A)->code == WF_ERROR_MEMORY || wf_arena_report(A)->code == WF_ERROR_IO); failed++; }
        wf_arena_free(A);
        free(buffer);
    }
    CHECK(done && failed > 20);

    size_t n = 0; /* the parsers alone, in steps of one cut */
    A = wf_arena_new(NULL);
    void *bytes = wf_file_read(A, st, &n);
    static const char text[] = "\"a\",\"b\"\n1,2\n3,4\n";
    int parsed[3] = { 0, 0, 0 };
    for (size = 768; size < 100000; size += 64) {
        char *buffer = (char *)malloc(size);
        for (int kind = 0; kind < 3; kind++) {
            wf_arena *B = wf_arena_from(buffer, size);
            if (!B) continue;
            wf_mark before = wf_arena_mark(B);
            const void *r = kind == 0 ? (void *)wf_tensors_parse(B, bytes, n, "x") : kind == 1 ? (void *)wf_csv_parse(B, text, sizeof text - 1, "x", NULL) : (void *)wf_npy_parse(B, npy_example, 144, "x");
            CHECK((r != NULL) == (wf_arena_report(B)->code == WF_OK));
            if (r) parsed[kind] = 1;
            else CHECK(!parsed[kind] && wf_arena_report(B)->code == WF_ERROR_MEMORY && same_mark(before, wf_arena_mark(B)));
        }
        free(buffer);
    }
    CHECK(parsed[0] && parsed[1] && parsed[2]);
    wf_arena_free(A);
    remove(npy);
    remove(st);
    remove(csv);
}

/* ---- what the chapter shows ---- */

// region: save a model and read it back
static int save_and_load(wf_arena *A, const char *path)
{
    float weight[6] = { 1, 2, 3, 4, 5, 6 };
    size_t shape[2] = { 2, 3 };
    wf_tensors *model = wf_tensors_new(A);
    wf_array w = wf_array_of(weight, WF_DTYPE_F32, 2, shape);
    wf_tensors_add(model, "layer.weight", &w);
    wf_tensors_note(model, "trained on", "epidemics");
    if (wf_tensors_save(model, path) != WF_OK) return 0; /* why: wf_arena_report(A)->text */

    wf_tensors *again = wf_tensors_read(A, path);
    const wf_array *found = wf_tensors_find(again, "layer.weight"); /* NULL if either is missing */
    return found && found->nd == 2 && found->shape[1] == 3 && ((float *)found->data)[5] == 6.0f;
}
// end region

// region: read an array and convert it
static double mean_of_file(wf_arena *A, const char *path)
{
    wf_array *a = wf_npy_read(A, path);              /* any type, any byte order */
    double sum = 0, *x = a ? wf_array_f64(A, a) : NULL; /* no copy if it is f8 already */
    for (size_t i = 0; x && i < a->count; i++) sum += x[i];
    return x ? sum / (double)a->count : 0;
}
// end region

// region: read a table by column names
static double easternmost(wf_arena *A, const char *path)
{
    wf_table *t = wf_csv_read(A, path, NULL);
    int lon = wf_table_column(t, "lon"); /* -1 if there is no table or no such column */
    double most = -180;
    for (size_t i = 0; lon >= 0 && i < t->rows; i++) {
        double x = t->data[i * t->columns + (size_t)lon];
        if (x > most) most = x;
    }
    return most;
}
// end region

WF_TEST(the_chapter_is_right)
{
    wf_arena *A = wf_arena_new(NULL);
    const char *path = wf_test_scratch("files_chapter.tmp");
    CHECK(save_and_load(A, path));
    float x[4] = { 1, 2, 3, 6 };
    size_t n = 4;
    wf_array a = wf_array_of(x, WF_DTYPE_F32, 1, &n);
    CHECK_INT(wf_npy_save(A, path, &a), WF_OK);
    CHECK(mean_of_file(A, path) == 3);
    CHECK_INT(wf_file_write(A, path, "lat,lon\n1,20.5\n2,-3\n", 20), WF_OK);
    CHECK(easternmost(A, path) == 20.5);
    remove(path);
    CHECK(easternmost(A, path) == -180);
    CHECK_STR_HAS(wf_arena_report(A)->text, "files_chapter.tmp: cannot be opened");
    wf_arena_free(A);
}

/* ---- files of others ---- */

WF_TEST(a_real_npy)
{
    char path[512];
    const char *shared = wf_test_shared();
    snprintf(path, sizeof path, "%s/data/epidemic/trajectories.npy", shared ? shared : "");
    if (!shared || !file_exists(path)) SKIP("there is no shared/data/epidemic/trajectories.npy");
    wf_arena *A = wf_arena_new(NULL);
    wf_array *a = wf_npy_read(A, path);
    CHECK(a && a->dtype == WF_DTYPE_F64 && a->nd == 3 && a->shape[0] == 1000 && a->shape[1] == 101 && a->shape[2] == 3 && a->count == 303000);
    /* Susceptible, infected, recovered: whole numbers, none negative. */
    const double *x = a ? (const double *)a->data : NULL;
    for (size_t i = 0; x && i < a->count; i++) if (!(x[i] >= 0 && x[i] == floor(x[i]))) { CHECK(!"counts are whole and not negative"); break; }
    size_t size;
    unsigned char *bytes = (unsigned char *)wf_file_read(A, path, &size);
    wf_memory_writer w = { A, NULL, 0, 0 };
    CHECK(a && wf_npy_write(A, a, wf_memory_write, &w) == WF_OK);
    CHECK(bytes && w.size == size && !memcmp(w.data, bytes, size)); /* the same bytes as NumPy's */
    wf_arena_clear(A);
    CHECK(!wf_npy_parse(A, bytes, 128 + 1200, "trajectories.npy"));
    CHECK_STR_HAS(wf_arena_report(A)->text, "trajectories.npy: header says 2424000 bytes of data, file holds 1200");
    wf_arena_free(A);
}

WF_TEST(every_oracle_file)
{
    char path[512], name[128];
    const char *shared = wf_test_shared();
    snprintf(path, sizeof path, "%s/reference/oracle/cases.txt", shared ? shared : "");
    FILE *list = shared ? fopen(path, "r") : NULL;
    if (!list) SKIP("there is no shared/reference/oracle");
    int files = 0, scalars = 0, empties = 0, integers = 0;
    while (fscanf(list, "%100s %*s", name) == 1) {
        wf_arena *A = wf_arena_new(NULL);
        snprintf(path, sizeof path, "%s/reference/oracle/%s%s", shared, name, strstr(name, ".safetensors") ? "" : ".safetensors");
        wf_tensors *t = wf_tensors_read(A, path);
        if (!t) printf("  %s\n", wf_arena_report(A)->text);
        CHECK(t && t->count > 0 && wf_tensors_about(t, "kind") && wf_tensors_about(t, "accuracy"));
        for (size_t i = 0; t && i < t->count; i++) {
            const wf_array *a = &t->entry[i].array;
            const double *x = wf_array_f64(A, a);
            CHECK(x && wf_tensors_find(t, t->entry[i].name) == a && (a->dtype == WF_DTYPE_F64 || a->dtype == WF_DTYPE_I64));
            for (size_t j = 0; x && j < a->count; j++) CHECK(!is_nan(x[j])); /* "NaN never" */
            scalars += a->nd == 0;
            empties += a->count == 0;
            integers += a->dtype == WF_DTYPE_I64;
        }
        files++;
        wf_arena_free(A);
    }
    fclose(list);
    CHECK_INT(files, 100);
    CHECK(scalars > 0 && empties > 0 && integers > 0);
}

WF_TEST(real_tables)
{
    static const struct { const char *path; size_t rows, columns; const char *name; } cases[] = {
        { "earthquakes/Earthquake_train.csv", 82657, 4, "lat" }, { "earthquakes/Earthquake_test.csv", 5110, 4, "t" }, { "earthquakes/Earthquake_val.csv", 4130, 4, "lon" },
        { "samplers/pines_126.csv", 126, 3, "data_y" }, { "embryoid/EB_val_pc20.csv", 0, 22, "pc20" }
    };
    const char *shared = wf_test_shared();
    char path[512];
    int found = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(path, sizeof path, "%s/data/%s", shared ? shared : "", cases[i].path);
        if (!shared || !file_exists(path)) { printf("  not there: %s\n", cases[i].path); continue; }
        found++;
        wf_arena *A = wf_arena_new(NULL);
        wf_table *t = wf_csv_read(A, path, NULL);
        if (!t) printf("  %s\n", wf_arena_report(A)->text);
        CHECK(t && t->columns == cases[i].columns && (t->rows == cases[i].rows || (!cases[i].rows && t->rows > 100)) && wf_table_column(t, cases[i].name) >= 0);
        /* The first row against the file's own text, by the C library. */
        size_t size;
        char *text = (char *)wf_file_read(A, path, &size), *p = text ? strchr(text, '\n') : NULL;
        for (size_t j = 0; t && p && j < t->columns; j++) {
            p += 1 + strspn(p + 1, "\"");
            CHECK(strtod(p, &p) == t->data[j]);
            p += *p == '"';
        }
        wf_arena_free(A);
    }
    if (!found) SKIP("there are no tables in shared/data");
}

WF_MAIN_CASES(WF_CASE(memory_streams), WF_CASE(streams_without_end), WF_CASE(files_are_replaced_whole), WF_CASE(npy_known_bytes), WF_CASE(npy_every_type_and_both_byte_orders),
    WF_CASE(npy_fortran_order_empty_and_versions), WF_CASE(npy_refuses), WF_CASE(arrays_convert), WF_CASE(safetensors_known_bytes), WF_CASE(safetensors_accepts),
    WF_CASE(safetensors_refuses), WF_CASE(safetensors_refuses_to_build_what_it_would_not_read), WF_CASE(what_is_filled_in_by_hand_is_checked), WF_CASE(a_failing_reader_leaves_nothing_in_a_fixed_buffer), WF_CASE(lines_are_skipped_however_they_end), WF_CASE(numbers_are_parsed_to_the_nearest_double),
    WF_CASE(numbers_are_written_short_and_exact), WF_CASE(numbers_do_not_depend_on_the_locale), WF_CASE(tables_of_every_dialect), WF_CASE(tables_refuse), WF_CASE(tables_come_back),
    WF_CASE(memory_may_run_out_anywhere), WF_CASE(the_chapter_is_right), WF_CASE(a_real_npy), WF_CASE(every_oracle_file), WF_CASE(real_tables))
