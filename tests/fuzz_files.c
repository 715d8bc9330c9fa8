/* Feed damaged files to every reader.

   With libFuzzer:   clang -g -O1 -fsanitize=fuzzer,address,undefined -DWF_LIBFUZZER tests/fuzz_files.c -o fuzz -lm && ./fuzz
   Without:          cc -g -O1 -fsanitize=address,undefined tests/fuzz_files.c -o fuzz -lm && ./fuzz [cases [seed]]

   The second form damages a few good files by a fixed random sequence, so that a failure comes again. What a reader accepts must hold together:
   it is touched to the last byte, written, read again, and must be the same. */
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); abort(); } } while (0)

/* Reads every byte, so that a sanitizer sees a pointer beyond its block. */
static unsigned touch(const void *data, size_t size)
{
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++) sum += ((const unsigned char *)data)[i];
    return sum;
}

static unsigned touch_array(wf_arena *A, const wf_array *a)
{
    size_t count = 1;
    MUST(a->nd >= 0 && a->nd <= 8 && wf_dtype_size(a->dtype));
    for (int i = 0; i < a->nd; i++) count *= a->shape[i];
    MUST(count == a->count && a->data);
    MUST(wf_array_f64(A, a));
    return touch(a->data, a->count * wf_dtype_size(a->dtype));
}

static unsigned fuzz_npy(wf_arena *A, const unsigned char *bytes, size_t size)
{
    wf_memory_writer w = { NULL, NULL, 0, 0 };
    wf_array *a = wf_npy_parse(A, bytes, size, "fuzz"), *b;
    if (!a) return 0;
    unsigned sum = touch_array(A, a);
    w.arena = A;
    MUST(wf_npy_write(A, a, wf_memory_write, &w) == WF_OK);
    MUST((b = wf_npy_parse(A, w.data, w.size, "again")) != NULL);
    MUST(b->count == a->count && b->dtype == a->dtype && !memcmp(a->data, b->data, a->count * wf_dtype_size(a->dtype)));
    return sum | 1;
}

// region: what a reader accepts must hold together
static unsigned fuzz_tensors(wf_arena *A, const unsigned char *bytes, size_t size)
{
    wf_memory_writer w = { NULL, NULL, 0, 0 };
    unsigned sum = 1;
    wf_tensors *t = wf_tensors_parse(A, bytes, size, "fuzz"), *u;
    if (!t) return 0;
    for (size_t i = 0; i < t->count; i++) {
        sum += touch_array(A, &t->entry[i].array);
        MUST(wf_tensors_find(t, t->entry[i].name) == &t->entry[i].array);
    }
    for (size_t i = 0; i < t->notes; i++) MUST(wf_tensors_about(t, t->note[i].key) == t->note[i].value);
    w.arena = A;
    MUST(wf_tensors_write(t, wf_memory_write, &w) == WF_OK);
    MUST((u = wf_tensors_parse(A, w.data, w.size, "again")) != NULL);
    MUST(u->count == t->count && u->notes == t->notes);
    for (size_t i = 0; i < t->count; i++) MUST(!strcmp(t->entry[i].name, u->entry[i].name) && t->entry[i].array.count == u->entry[i].array.count);
    return sum | 1;
}
// end region

static unsigned fuzz_table(wf_arena *A, const unsigned char *bytes, size_t size, int options)
{
    static const char separators[] = { 0, ',', ' ', '\t' };
    wf_csv_options o = { separators[options & 3], (options >> 2) % 3 - 1, (size_t)(options >> 4 & 1), options >> 5 & 1 };
    wf_memory_writer w = { NULL, NULL, 0, 0 };
    wf_table *t = wf_csv_parse(A, (const char *)bytes, size, "fuzz", &o), *u;
    if (!t) return 0;
    MUST(t->columns > 0 && t->data);
    unsigned sum = touch(t->data, t->rows * t->columns * sizeof *t->data);
    for (size_t i = 0; t->names && i < t->columns; i++) MUST(wf_table_column(t, t->names[i]) >= 0);
    if (t->columns == 1 && t->names && !*t->names[0]) return 1; /* "" alone on a line reads as an empty field; nothing to compare */
    w.arena = A;
    MUST(wf_csv_write(A, t, wf_memory_write, &w) == WF_OK);
    wf_csv_options again = { ',', t->names ? 1 : -1, 0, 1 };
    u = w.size ? wf_csv_parse(A, (const char *)w.data, w.size, "again", &again) : NULL;
    MUST(u || !w.size);
    MUST(!u || (u->rows == t->rows && u->columns == t->columns));
    for (size_t i = 0; u && i < t->rows * t->columns; i++) MUST(!wf__finite(t->data[i]) || !memcmp(&t->data[i], &u->data[i], sizeof t->data[i]));
    return sum | 1;
}

static unsigned fuzz_number(const unsigned char *bytes, size_t size)
{
    double x = 0, y = 0;
    char text[32];
    size_t used = wf_number_parse((const char *)bytes, size, &x);
    MUST(used <= size);
    if (!used) return 0;
    size_t n = wf_number_write(x, text);
    MUST(n < sizeof text && text[n] == 0 && wf_number_parse(text, n, &y) == n);
    MUST(!wf__finite(x) || !memcmp(&x, &y, sizeof x));
    return 1;
}

static long accepted[4];

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    wf_arena *A = wf_arena_new(NULL);
    if (size && A) {
        wf_mark before = wf_arena_mark(A);
        int kind = data[0] & 3, options = data[0] >> 2;
        unsigned got = kind == 0 ? fuzz_npy(A, data + 1, size - 1) : kind == 1 ? fuzz_tensors(A, data + 1, size - 1) : kind == 2 ? fuzz_table(A, data + 1, size - 1, options) : fuzz_number(data + 1, size - 1);
        accepted[kind] += got != 0;
        wf_mark after = wf_arena_mark(A);
        if (!got && kind < 3) MUST(before.block == after.block && before.used == after.used && wf_arena_report(A)->code < 0 && wf_arena_report(A)->text[0]);
    }
    wf_arena_free(A);
    return 0;
}

#ifndef WF_LIBFUZZER
static uint64_t state = 1;
static size_t pick(size_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return n ? (size_t)((state * 2685821657736338717u >> 20) % n) : 0;
}

/* A good file of each kind. */
static size_t seed_file(int kind, unsigned char *out)
{
    static const char *const tables[] = { "# c\na,\"b\"\"\",c\r\n1,2.5e-3,-3\n4,,nan\n", "1 2\t3\n4 5 6", "x;y\n1;2\n", "\"1\"\t2\n3\t4\n" };
    static const char *const numbers[] = { "-123.456e-78", "9007199254740993.0000000000000000000000000000001", "1e308", "4.9406564584124654e-324", "Infinity" };
    double x[6] = { 1, -2, 0.1, 4, 5, 6 };
    size_t shape[2] = { 2, 3 };
    wf_arena *A = wf_arena_new(NULL);
    wf_array a = wf_array_of(x, kind & 4 ? WF_DTYPE_F64 : WF_DTYPE_U16, 2, shape), b = wf_array_of(x, WF_DTYPE_BOOL, 0, NULL);
    wf_memory_writer w = { NULL, NULL, 0, 4096 };
    w.data = out + 1;
    out[0] = (unsigned char)(kind & 3);
    if ((kind & 3) == 0) MUST(wf_npy_write(A, &a, wf_memory_write, &w) == WF_OK);
    if ((kind & 3) == 1) {
        wf_tensors *t = wf_tensors_new(A);
        MUST(!wf_tensors_add(t, "w\xC3\xA9", &a) && !wf_tensors_add(t, "\n", &b) && !wf_tensors_note(t, "seed", "4\"2") && !wf_tensors_write(t, wf_memory_write, &w));
    }
    if ((kind & 3) == 2) wf_memory_write(&w, tables[kind >> 2 & 3], strlen(tables[kind >> 2 & 3]));
    if ((kind & 3) == 3) wf_memory_write(&w, numbers[(kind >> 2) % 5], strlen(numbers[(kind >> 2) % 5]));
    wf_arena_free(A);
    return w.size + 1;
}

/* One random change: a bit, a byte, a piece cut out, doubled, moved, or a word that means something. */
static size_t damage(unsigned char *file, size_t size)
{
    static const char *const words[] = { "\"", "\\", "\\u0000", "\\ud800", "{", "}", "[", "]", "(", ")", ",", ":", "0", "-1", "18446744073709551615", "4294967296", "1e9", "'", "\n", "\r\n", "#", "True",
        "False", "nan", "\xFF", "\xC0\x80", "\x00\x00\x00", "<f8", ">u2", "F64", "BF16", "[0,0]", "\"dtype\":", "\"shape\":[", "__metadata__", "shape", " ", ".", "e", "inf" };
    size_t at = 1 + pick(size), n = 1 + pick(pick(8) ? 4 : 40), to = 1 + pick(size);
    const char *word = words[pick(sizeof words / sizeof words[0])];
    if (at > size) at = size;
    switch (pick(7)) {
    case 0: if (at < size) file[at] = (unsigned char)(file[at] ^ 1u << pick(8)); break;
    case 1: if (at < size) file[at] = (unsigned char)pick(256); break;
    case 2: size = at; break;
    case 3: n = n > size - at ? size - at : n; memmove(file + at, file + at + n, size - at - n); size -= n; break;
    case 4: n = n > size - at ? size - at : n; memmove(file + at + n, file + at, size - at); size += n; break;
    case 5: n = strlen(word); memmove(file + at + n, file + at, size - at); memcpy(file + at, word, n); size += n; break;
    default: n = strlen(word); if (to + n <= size) memcpy(file + to, word, n); break;
    }
    return size;
}

int main(int argc, char **argv)
{
    long cases = argc > 1 ? atol(argv[1]) : 300000;
    static unsigned char file[8192];
    for (long i = 0; i < cases; i++) {
        state = (uint64_t)(argc > 2 ? atol(argv[2]) : 1) * 1000003 + (uint64_t)i * 0x9E3779B97F4A7C15u + 1;
        pick(2);
        size_t size = seed_file((int)(i & 31), file);
        if (i & 32) file[0] = (unsigned char)(file[0] | pick(64) << 2); /* options of the table */
        for (size_t n = i < 32 ? 0 : 1 + pick(6); n-- > 0 && size < 4000;) size = damage(file, size);
        unsigned char *exact = (unsigned char *)malloc(size); /* its own block: a sanitizer sees a read beyond the end */
        if (!exact) return 1;
        memcpy(exact, file, size);
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
    }
    printf("%ld damaged files, of which were readable: npy %ld, safetensors %ld, tables %ld, numbers %ld; nothing failed\n", cases, accepted[0], accepted[1], accepted[2], accepted[3]);
    return 0;
}
#endif
