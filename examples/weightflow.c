/* Learn a moving distribution from snapshots, ask it, judge it; simulate systems to learn from: `weightflow --help`. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_example.h"
#include <signal.h>

enum { STATES_MAX = 4096, TIMES_MAX = 4096, COLUMNS_MAX = 100, HISTOGRAM = 64, WIDE = 8, KEPT = 2000 }; /* HISTOGRAM: bins for marginals and measures of continuous columns */

static const char *command = "weightflow";
static volatile sig_atomic_t interrupted;

/* ---- ending ---- */

static void end(int status, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fprintf(stderr, "%s: ", command);
    vfprintf(stderr, format, list);
    fprintf(stderr, "\n");
    va_end(list);
    exit(status);
}

static void fail(const wf_arena *A, const char *what)
{
    const char *text = wf_arena_report(A)->text;
    if (what) end(1, "%s: %s", what, text);
    end(1, "%s", text);
}

static void *room(wf_arena *A, size_t count, size_t size)
{
    void *p = wf_alloc(A, count ? count : 1, size);
    if (!p) fail(A, NULL);
    return p;
}

static wf_arena *arena_new(void)
{
    wf_arena *A = wf_arena_new(NULL);
    if (!A) end(1, "out of memory");
    return A;
}

static void on_signal(int number) { (void)number; interrupted = 1; }

static int suffix(const char *path, const char *end_of_it)
{
    size_t n = strlen(path), m = strlen(end_of_it);
    return n >= m && !strcmp(path + n - m, end_of_it);
}

/* Can a file be written there? Asked before a long run. */
static void check_place(const char *path)
{
    char folder[1024];
    if (!path) return;
    if (strlen(path) >= sizeof folder - 16) end(2, "the name %.40s... is too long", path);
    strcpy(folder, path);
    char *slash = strrchr(folder, '/');
    if (slash) *slash = 0;
    if (!folder_ready(slash ? slash == folder ? "/" : folder : ".")) end(1, "%s: cannot write there", path);
}

static void json_text(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') printf("\\%c", *text);
        else if ((unsigned char)*text < 32) printf("\\u%04x", (unsigned)*text);
        else putchar(*text);
    }
    putchar('"');
}

static void json_number(double x)
{
    char text[32];
    if (isfinite(x)) { wf_number_write(x, text); fputs(text, stdout); }
    else fputs("null", stdout);
}

/* ---- options ---- */

/* Files stand anywhere between the options. */
static int read_options(int argc, char **argv, const char *what, const option_t *options, const char **files, int most)
{
    char **rest = malloc((size_t)(argc + 1) * sizeof *rest);
    int n = 1, found = 0;
    if (!rest) end(1, "out of memory");
    rest[0] = (char *)(size_t)command;
    for (int i = 1; i < argc; i++) {
        const option_t *o = options;
        if (argv[i][0] != '-' || !argv[i][1]) {
            if (found == most) end(2, "did not expect %s (see --help)", argv[i]);
            files[found++] = argv[i];
            continue;
        }
        while (o->name && (strncmp(argv[i], "--", 2) || strcmp(argv[i] + 2, o->name))) o++;
        rest[n++] = argv[i];
        if (o->name && o->kind != 'b' && i + 1 < argc) rest[n++] = argv[++i];
    }
    rest[n] = NULL;
    option_read(n, rest, what, options);
    free(rest);
    return found;
}

static int choice(const char *option, const char *text, const char *const *names)
{
    char all[128] = "";
    for (int i = 0; names[i]; i++) {
        if (!strcmp(text, names[i])) return i;
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", names[i]);
    }
    end(2, "--%s %s: choose one of %s", option, text, all);
    return 0;
}

static void at_least(const char *option, int value, int least, int most)
{
    if (value < least || value > most) end(2, "--%s %d: from %d to %d", option, value, least, most);
}

/* "0,1,2.5", "from:to:points", or a CSV or .npy file whose first column they are */
static double *read_times(wf_arena *A, const char *text, size_t *count)
{
    double *t = NULL, v[3];
    size_t n = 0, size = strlen(text), at = 0;
    if (suffix(text, ".csv") || suffix(text, ".npy") || suffix(text, ".txt")) {
        wf_array *a = suffix(text, ".npy") ? wf_npy_read(A, text) : NULL;
        wf_table *table = suffix(text, ".npy") ? NULL : wf_csv_read(A, text, NULL);
        if (!a && !table) fail(A, NULL);
        double *x = a ? wf_array_f64(A, a) : table->data;
        size_t step = a ? a->nd > 1 ? a->count / a->shape[0] : 1 : table->columns;
        n = a ? a->nd ? a->shape[0] : 0 : table->rows;
        if (!x) fail(A, NULL);
        t = room(A, n, sizeof *t);
        for (size_t i = 0; i < n; i++) t[i] = x[i * step];
    } else if (strchr(text, ':')) {
        for (int i = 0; i < 3; i++) {
            size_t used = wf_number_parse(text + at, size - at, &v[i]);
            at += used;
            if (!used || (i < 2 && text[at++] != ':') || (i == 2 && text[at])) end(2, "times %s: expected FROM:TO:POINTS", text);
        }
        if (!(v[2] >= 2 && v[2] <= TIMES_MAX && v[2] == floor(v[2]))) end(2, "times %s: from 2 to %d points", text, TIMES_MAX);
        n = (size_t)v[2];
        t = room(A, n, sizeof *t);
        for (size_t i = 0; i < n; i++) t[i] = v[0] + (v[1] - v[0]) * (double)i / (double)(n - 1);
    } else {
        t = room(A, size / 2 + 1, sizeof *t);
        for (;;) {
            size_t used = wf_number_parse(text + at, size - at, t + n);
            at += used;
            if (!used || (text[at] && text[at] != ',')) end(2, "times %s: expected numbers with commas between, FROM:TO:POINTS, or a file", text);
            n++;
            if (!text[at++]) break;
        }
    }
    if (!n || n > TIMES_MAX) end(1, "times %s: %zu times; from 1 to %d are possible", text, n, TIMES_MAX);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(t[i])) end(1, "times %s: number %zu is not finite", text, i + 1);
        if (i && !(t[i] > t[i - 1])) end(1, "times %s: number %zu (%g) does not come after the one before it (%g); times are ascending and none is repeated", text, i + 1, t[i], t[i - 1]);
    }
    *count = n;
    return t;
}

/* ---- data ---- */

/* Samples at ascending times: at times[i], n[i] rows of dim numbers. */
typedef struct data_t {
    const char *path;
    int count, dim;
    double *times;
    size_t *n, rows;
    double **x, **weight; /* weight: NULL, or for each time */
    const char **names;   /* of the columns */
} data_t;

typedef struct source_t { const char *time_column, *weight_column, *columns, *times; double dt; int every; } source_t;

#define SOURCE_OPTIONS(s) \
    { "times", "of a file of trajectories: 0,1,2.5 or FROM:TO:POINTS or a file", 's', &(s).times }, \
    { "dt", "of a file of trajectories: the time between two", 'd', &(s).dt }, \
    { "every", "of a file of trajectories: take each so many-th time only", 'i', &(s).every }, \
    { "time-column", "of a table: name or number of the column of times", 's', &(s).time_column }, \
    { "weight-column", "of a table: weights of the rows", 's', &(s).weight_column }, \
    { "columns", "take these alone: names or numbers, with commas", 's', &(s).columns }

static data_t data_new(wf_arena *A, const char *path, size_t count, size_t dim)
{
    data_t d = { path, (int)count, (int)dim, NULL, NULL, 0, NULL, NULL, NULL };
    if (count > TIMES_MAX) end(1, "%s: %zu different times; at most %d are possible (is the column of times the right one?)", path, count, TIMES_MAX);
    if (dim < 1 || dim > COLUMNS_MAX) end(1, "%s: %zu columns beside the times; from 1 to %d are possible", path, dim, COLUMNS_MAX);
    d.times = room(A, count, sizeof *d.times);
    d.n = room(A, count, sizeof *d.n);
    d.x = room(A, count, sizeof *d.x);
    d.names = room(A, dim, sizeof *d.names);
    for (size_t j = 0; j < dim; j++) {
        char *name = room(A, 24, 1);
        snprintf(name, 24, "x%zu", j + 1);
        d.names[j] = name;
    }
    return d;
}

static wf_snapshots data_view(const data_t *d)
{
    wf_snapshots s = { d->count, d->dim, d->times, d->n, (const double *const *)d->x, (const double *const *)d->weight };
    return s;
}

/* A column by its name, or by its number from 1; -1 where there is none. */
static int column_of(const char *text, size_t size, const char *const *names, size_t columns)
{
    double number;
    for (size_t j = 0; names && j < columns; j++)
        if (strlen(names[j]) == size && !memcmp(names[j], text, size)) return (int)j;
    if (wf_number_parse(text, size, &number) == size && size && number >= 1 && number <= (double)columns && number == floor(number)) return (int)number - 1;
    return -1;
}

/* The columns that are wanted, of those for which free[] is 1; their number. */
static size_t pick_columns(const char *path, const char *wanted, const char *const *names, size_t columns, char *available, size_t *pick)
{
    size_t n = 0;
    for (size_t j = 0; !wanted && j < columns; j++)
        if (available[j]) pick[n++] = j;
    while (wanted) {
        const char *comma = strchr(wanted, ',');
        size_t size = comma ? (size_t)(comma - wanted) : strlen(wanted);
        int j = column_of(wanted, size, names, columns);
        if (j < 0) end(1, "%s: there is no column %.*s", path, (int)size, wanted);
        if (!available[j]) end(1, "%s: the column %.*s is taken already, or is that of times or weights", path, (int)size, wanted);
        available[j] = 0;
        pick[n++] = (size_t)j;
        wanted = comma ? comma + 1 : NULL;
    }
    return n;
}

static data_t trajectories(wf_arena *A, const char *path, const wf_array *a, const source_t *s)
{
    size_t n = a->shape[0], T = a->shape[1], columns = a->shape[2], given = T;
    double *x = wf_array_f64(A, a), *times = s->times ? read_times(A, s->times, &given) : NULL;
    if (!x) fail(A, path);
    if (!n || !T || !columns) end(1, "%s: an empty array (%zu trajectories, %zu times, %zu columns)", path, n, T, columns);
    if (given != T) end(1, "%s: %zu times in the file, but %zu are given", path, T, given);
    size_t *pick = room(A, columns, sizeof *pick), step = (size_t)s->every, kept = (T + step - 1) / step;
    char *available = room(A, columns, 1);
    memset(available, 1, columns);
    size_t dim = pick_columns(path, s->columns, NULL, columns, available, pick);
    data_t d = data_new(A, path, kept, dim);
    for (size_t k = 0; k < kept; k++) {
        d.times[k] = times ? times[k * step] : s->dt * (double)(k * step);
        d.n[k] = n;
        d.rows += n;
        d.x[k] = room(A, n * dim, sizeof(double));
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < dim; j++) {
                double v = d.x[k][i * dim + j] = x[(i * T + k * step) * columns + pick[j]];
                if (!isfinite(v)) end(1, "%s: trajectory %zu, time %zu, column %zu is not finite", path, i + 1, k * step + 1, pick[j] + 1);
            }
    }
    return d;
}

typedef struct row_t { double time; size_t row; } row_t;

static int row_order(const void *a, const void *b)
{
    const row_t *x = a, *y = b;
    if (x->time < y->time || x->time > y->time) return x->time < y->time ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static data_t table_rows(wf_arena *A, const char *path, const double *x, size_t rows, size_t columns, const char *const *names, const source_t *s)
{
    static const char *const usual[] = { "time", "t", "ts", "samples", "day", "Time" };
    int time = -1, weight = -1;
    char *available = room(A, columns, 1);
    memset(available, 1, columns);
    if (s->times) end(2, "%s: --times is for files of trajectories; in a table they are a column", path);
    if (s->every != 1) end(2, "%s: --every is for files of trajectories", path);
    if (s->time_column && (time = column_of(s->time_column, strlen(s->time_column), names, columns)) < 0) end(1, "%s: there is no column %s", path, s->time_column);
    for (size_t i = 0; time < 0 && names && i < sizeof usual / sizeof *usual; i++) time = column_of(usual[i], strlen(usual[i]), names, columns);
    if (time < 0 && names) end(1, "%s: no column is called time, t, samples or day; name one: --time-column NAME", path);
    if (time < 0) time = 0;
    if (s->weight_column && (weight = column_of(s->weight_column, strlen(s->weight_column), names, columns)) < 0) end(1, "%s: there is no column %s", path, s->weight_column);
    if (weight == time) end(2, "%s: the column of times cannot be that of weights", path);
    available[time] = 0;
    if (weight >= 0) available[weight] = 0;
    size_t *pick = room(A, columns, sizeof *pick), dim = pick_columns(path, s->columns, names, columns, available, pick), count = 0;
    row_t *order = room(A, rows, sizeof *order);
    if (!rows) end(1, "%s: no rows", path);
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < columns; j++)
            if (!isfinite(x[i * columns + j])) end(1, "%s: row %zu, column %zu is not finite", path, i + 1, j + 1);
        order[i].time = x[i * columns + (size_t)time];
        order[i].row = i;
        if (weight >= 0 && x[i * columns + (size_t)weight] < 0) end(1, "%s: row %zu: the weight is %g", path, i + 1, x[i * columns + (size_t)weight]);
    }
    qsort(order, rows, sizeof *order, row_order);
    for (size_t i = 0; i < rows; i++) count += !i || order[i].time > order[i - 1].time;
    data_t d = data_new(A, path, count, dim);
    d.rows = rows;
    if (weight >= 0) d.weight = room(A, count, sizeof *d.weight);
    for (size_t j = 0; names && j < dim; j++) d.names[j] = names[pick[j]];
    for (size_t i = 0, k = 0; i < rows; k++) {
        size_t last = i;
        while (last < rows && !(order[last].time > order[i].time)) last++;
        d.times[k] = order[i].time;
        d.n[k] = last - i;
        d.x[k] = room(A, d.n[k] * dim, sizeof(double));
        if (d.weight) d.weight[k] = room(A, d.n[k], sizeof(double));
        for (size_t r = 0; i < last; r++, i++) {
            for (size_t j = 0; j < dim; j++) d.x[k][r * dim + j] = x[order[i].row * columns + pick[j]];
            if (d.weight) d.weight[k][r] = x[order[i].row * columns + (size_t)weight];
        }
    }
    return d;
}

static data_t read_data(wf_arena *A, const char *path, const source_t *s)
{
    if (!(s->dt > 0)) end(2, "--dt %g: must be above 0", s->dt);
    at_least("every", s->every, 1, 1000000);
    if (!suffix(path, ".npy")) {
        wf_table *t = wf_csv_read(A, path, NULL);
        if (!t) fail(A, NULL);
        return table_rows(A, path, t->data, t->rows, t->columns, t->names, s);
    }
    wf_array *a = wf_npy_read(A, path);
    if (!a) fail(A, NULL);
    if (a->nd == 3) return trajectories(A, path, a, s);
    if (a->nd != 2) end(1, "%s: an array of %d dimensions; expected trajectories x times x columns, or rows x columns with a column of times", path, a->nd);
    double *x = wf_array_f64(A, a);
    if (!x) fail(A, path);
    return table_rows(A, path, x, a->shape[0], a->shape[1], NULL, s);
}

/* Leave out some times, "2,3": to see whether the model knows them all the same. */
static void drop_times(data_t *d, const char *text)
{
    size_t size = strlen(text), at = 0;
    do {
        double t;
        int k = 0, found = 0;
        size_t used = wf_number_parse(text + at, size - at, &t);
        at += used;
        if (!used || (text[at] && text[at] != ',')) end(2, "--without %s: expected times with commas between", text);
        for (int i = 0; i < d->count; i++) {
            if (fabs(d->times[i] - t) <= 1e-9 * (1 + fabs(t))) { found = 1; d->rows -= d->n[i]; continue; }
            d->times[k] = d->times[i];
            d->n[k] = d->n[i];
            if (d->weight) d->weight[k] = d->weight[i];
            d->x[k++] = d->x[i];
        }
        if (!found) end(1, "--without %s: %s has nothing at time %g", text, d->path, t);
        d->count = k;
    } while (text[at++]);
}

/* Are all numbers counts? Else `why`, for people. The largest number in *most. */
static int data_counts(const data_t *d, double *most, char *why, size_t size)
{
    *most = 0;
    for (int k = 0; k < d->count; k++)
        for (size_t i = 0; i < d->n[k] * (size_t)d->dim; i++) {
            double v = d->x[k][i];
            if (v > *most) *most = v;
            if (v >= 0 && v == floor(v)) continue;
            snprintf(why, size, "%s at time %g, row %zu of that time, is %g: not a count", d->names[i % (size_t)d->dim], d->times[k], i / (size_t)d->dim + 1, v);
            return 0;
        }
    return 1;
}

static void refuse_constants(const data_t *d)
{
    for (int j = 0; j < d->dim; j++) {
        double first = d->x[0][j];
        int differs = 0;
        for (int k = 0; k < d->count && !differs; k++)
            for (size_t i = 0; i < d->n[k] && !differs; i++) differs = d->x[k][i * (size_t)d->dim + (size_t)j] < first || d->x[k][i * (size_t)d->dim + (size_t)j] > first;
        if (!differs) end(1, "%s: the column %s is %g in every row: there is nothing to learn in it; leave it out with --columns", d->path, d->names[j], first);
    }
}

/* ---- a model and what the tool adds to its file ---- */

typedef struct model_t {
    wf_arena *A;                   /* holds the path, which may grow when it is first used, and its errors */
    wf_weight_path *path;
    int counts, dim, bins, shown;  /* bins: of a histogram; shown: snapshots it was fitted to */
    double *times, *low, *width;   /* of the snapshots; of the histogram of a continuous column: where its bins begin, and how wide one is */
    const char **names;
    char data[20], about[1024];    /* hash of data and settings; what the bridge said */
    double start, end;
    float *row;                    /* NULL, or row_count times row_kept rows of the bridge: tables of more than WIDE continuous columns are drawn from them */
    double *row_time;
    int row_count, row_kept;
} model_t;

static double span(const model_t *m, int last) { return last ? m->end : m->start; }

static void note(wf_arena *A, wf_tensors *t, const char *key, const char *value)
{
    if (wf_tensors_note(t, key, value) < 0) fail(A, NULL);
}

static void add(wf_arena *A, wf_tensors *t, const char *name, double *x, size_t n)
{
    wf_array a = wf_array_of(x, WF_DTYPE_F64, 1, &n);
    if (wf_tensors_add(t, name, &a) < 0) fail(A, NULL);
}

/* The library's file with the tool's entries; whole or not at all. */
static void model_save(model_t *m, const char *path)
{
    char part[1100], key[32];
    wf_arena *A = wf_arena_new(NULL);
    snprintf(part, sizeof part, "%s.part", path);
    if (wf_weight_path_save(m->path, part) < 0) { remove(part); fail(m->A, path); }
    wf_tensors *t = wf_tensors_read(A, part);
    remove(part);
    if (!t) fail(A, path);
    note(A, t, "tool.kind", m->counts ? "counts" : "continuous");
    note(A, t, "tool.data", m->data);
    note(A, t, "tool.bridge", m->about);
    for (int j = 0; j < m->dim; j++) {
        snprintf(key, sizeof key, "tool.column.%d", j);
        note(A, t, key, m->names[j]);
    }
    add(A, t, "tool.times", m->times, (size_t)m->shown);
    if (!m->counts) {
        add(A, t, "tool.low", m->low, (size_t)m->dim);
        add(A, t, "tool.width", m->width, (size_t)m->dim);
    }
    if (m->row) {
        size_t shape[3] = { (size_t)m->row_count, (size_t)m->row_kept, (size_t)m->dim };
        wf_array rows = wf_array_of(m->row, WF_DTYPE_F32, 3, shape);
        add(A, t, "tool.row_times", m->row_time, shape[0]);
        if (wf_tensors_add(t, "tool.rows", &rows) < 0) fail(A, NULL);
    }
    if (wf_tensors_save(t, path) < 0) fail(A, NULL);
    wf_arena_free(A);
}

static double *model_numbers(wf_arena *A, const char *path, const wf_tensors *t, const char *name, size_t *n)
{
    const wf_array *a = wf_tensors_find(t, name);
    if (!a || a->nd != 1 || !a->count || (*n && a->count != *n)) end(1, "%s: the array %s is missing or of a wrong size; the file was not written by this tool", path, name);
    double *x = wf_array_f64(A, a);
    if (!x) fail(A, path);
    for (size_t i = 0; i < a->count; i++) if (!isfinite(x[i])) end(1, "%s: the array %s holds a number that is not finite", path, name);
    *n = a->count;
    return x;
}

static void model_rows(wf_arena *A, model_t *m, const char *path, const wf_tensors *t)
{
    const wf_array *a = wf_tensors_find(t, "tool.rows");
    size_t n = 0;
    if (!a) return;
    m->row_time = model_numbers(A, path, t, "tool.row_times", &n);
    m->row_count = (int)n;
    if (a->nd != 3 || a->dtype != WF_DTYPE_F32 || a->shape[0] != n || n < 2 || !a->shape[1] || a->shape[1] > 1000000 || a->shape[2] != (size_t)m->dim) end(1, "%s: the array tool.rows is of a wrong size", path);
    for (size_t i = 1; i < n; i++) if (!(m->row_time[i] > m->row_time[i - 1])) end(1, "%s: the times of tool.rows are not ascending", path);
    m->row_kept = (int)a->shape[1];
    m->row = room(A, a->count, sizeof *m->row);
    memcpy(m->row, a->data, a->count * sizeof *m->row);
    for (size_t i = 0; i < a->count; i++) if (!isfinite(m->row[i])) end(1, "%s: the array tool.rows holds a number that is not finite", path);
}

/* Keep rows of a bridge, at a snapshot each as often as its weight says. */
static void keep_rows(wf_arena *A, model_t *m, const wf_snapshots *s)
{
    size_t d = (size_t)m->dim;
    m->row_count = s->count;
    m->row_kept = KEPT;
    m->row_time = room(A, (size_t)s->count, sizeof *m->row_time);
    m->row = room(A, (size_t)s->count * KEPT * d, sizeof *m->row);
    for (int k = 0; k < s->count; k++) {
        const double *w = s->weight ? s->weight[k] : NULL;
        double total = 0, sum = w ? w[0] : 1;
        m->row_time[k] = s->times[k];
        for (size_t i = 0; i < s->n[k]; i++) total += w ? w[i] : 1;
        for (size_t r = 0, from = 0; r < KEPT; r++) {
            while (sum < total * ((double)r + 0.5) / KEPT && from + 1 < s->n[k]) { from++; sum += w ? w[from] : 1; }
            for (size_t j = 0; j < d; j++) m->row[((size_t)k * KEPT + r) * d + j] = (float)s->x[k][from * d + j];
        }
    }
}

static model_t model_read(const char *path, const wf_weight_path_desc *desc)
{
    wf_arena *A = arena_new();
    model_t m = { 0 };
    char key[32];
    int64_t made[3];
    double at[2];
    size_t n = 0;
    wf_tensors *t = wf_tensors_read(A, path);
    if (!t) fail(A, NULL);
    const char *kind = wf_tensors_about(t, "tool.kind"), *hash = wf_tensors_about(t, "tool.data"), *about = wf_tensors_about(t, "tool.bridge");
    if (!kind || !hash || (strcmp(kind, "counts") && strcmp(kind, "continuous"))) end(1, "%s: not a model that `weightflow fit` has written", path);
    m.path = wf_weight_path_load(A, path, desc);
    if (!m.path) fail(A, path);
    m.A = A;
    m.counts = !strcmp(kind, "counts");
    m.dim = wf_weight_path_about(m.path)->dim;
    m.bins = HISTOGRAM;
    if (m.counts != (wf_weight_path_about(m.path)->output == WF_OUTPUT_CATEGORICAL)) end(1, "%s: says it is of %s, but is not", path, kind);
    if (m.counts) m.bins = wf_weight_path_about(m.path)->states;
    m.times = model_numbers(A, path, t, "tool.times", &n);
    m.shown = (int)n;
    if (n > TIMES_MAX) end(1, "%s: too many times", path);
    for (size_t i = 1; i < n; i++) if (!(m.times[i] > m.times[i - 1])) end(1, "%s: the times of the snapshots are not ascending", path);
    n = (size_t)m.dim;
    if (!m.counts) {
        m.low = model_numbers(A, path, t, "tool.low", &n);
        m.width = model_numbers(A, path, t, "tool.width", &n);
        for (int j = 0; j < m.dim; j++) if (!(m.width[j] > 0)) end(1, "%s: a bin has no width", path);
    }
    m.names = room(A, (size_t)m.dim, sizeof *m.names);
    for (int j = 0; j < m.dim; j++) {
        snprintf(key, sizeof key, "tool.column.%d", j);
        m.names[j] = wf_tensors_about(t, key);
        if (!m.names[j]) end(1, "%s: the name of column %d is missing; the file was not written by this tool", path, j + 1);
    }
    model_rows(A, &m, path, t);
    snprintf(m.data, sizeof m.data, "%s", hash);
    snprintf(m.about, sizeof m.about, "%s", about ? about : "");
    wf_weight_path_progress(m.path, made, at);
    m.start = at[0];
    m.end = at[1];
    return m;
}

/* The bins of a histogram, 0 to bins - 1; the first or the last for what lies outside: then the result is 0. */
static int to_bins(const model_t *m, const double *x, double *out)
{
    int inside = 1;
    for (int j = 0; j < m->dim; j++) {
        double b = m->counts ? x[j] : floor((x[j] - m->low[j]) / m->width[j]);
        if (m->counts && b != floor(b)) inside = 0;
        if (!(b >= 0 && b < m->bins)) inside = 0;
        out[j] = b >= 0 && b < m->bins ? floor(b) : b >= m->bins ? m->bins - 1 : 0;
    }
    return inside;
}

/* n samples at a time, in units of the data. */
static void model_sample(const model_t *m, double time, size_t n, uint64_t seed, double *out)
{
    if (m->row) {
        int k = 0;
        wf_rng rng;
        wf_rng_init(&rng, seed, 7);
        while (k + 2 < m->row_count && m->row_time[k + 1] <= time) k++;
        double u = (time - m->row_time[k]) / (m->row_time[k + 1] - m->row_time[k]);
        for (size_t i = 0; i < n; i++) {
            size_t at = (size_t)k + (wf_rng_uniform(&rng) < u), r = wf_rng_below(&rng, (uint32_t)m->row_kept);
            for (int j = 0; j < m->dim; j++) out[i * (size_t)m->dim + (size_t)j] = (double)m->row[(at * (size_t)m->row_kept + r) * (size_t)m->dim + (size_t)j];
        }
        return;
    }
    if (wf_weight_path_sample(m->path, time, n, seed, out) < 0) fail(m->A, "sampling");
}

/* The log-density (log-probability for counts) of n states; -HUGE_VAL outside what the model can say. Returns how many are inside. */
static size_t model_log_prob(wf_arena *A, const model_t *m, double time, const double *x, size_t n, double *out)
{
    wf_mark mark = wf_arena_mark(A);
    double *b = room(A, n * (size_t)m->dim, sizeof *b);
    size_t inside = 0;
    char *ok = room(A, n, 1);
    for (size_t i = 0; i < n; i++) ok[i] = (char)(!m->counts || to_bins(m, x + i * (size_t)m->dim, b + i * (size_t)m->dim));
    if (wf_weight_path_log_prob(m->path, time, m->counts ? b : x, n, out, NULL) < 0) fail(m->A, "log-likelihood");
    for (size_t i = 0; i < n; i++) {
        if (!ok[i]) out[i] = -HUGE_VAL;
        inside += isfinite(out[i]) != 0;
    }
    wf_arena_reset(A, mark);
    return inside;
}

/* ---- pictures ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* 5, 25, 50, 75, 95 % of column j, unweighted */
static void quantiles(const double *x, size_t n, size_t dim, size_t j, double q[5])
{
    static const double level[5] = { 0.05, 0.25, 0.5, 0.75, 0.95 };
    double *column = malloc((n ? n : 1) * sizeof *column);
    if (!column) end(1, "out of memory");
    for (size_t i = 0; i < n; i++) column[i] = x[i * dim + j];
    qsort(column, n, sizeof *column, ascending);
    for (int k = 0; k < 5; k++) q[k] = column[(size_t)(level[k] * (double)(n - 1) + 0.5)];
    free(column);
}

static void escape(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text && n + 8 < size; text++) {
        if (*text == '<' || *text == '>' || *text == '&') n += (size_t)snprintf(out + n, size - n, "&#%d;", *text);
        else out[n++] = (unsigned char)*text < 32 ? ' ' : *text;
    }
    out[n] = 0;
}

/* A legend and lines of a measure over time, under the bands; names NULL: none. */
typedef struct curves_t { const char *what; const char *const *names; double *const *y; const double *x; int lines, n; } curves_t;

/* Shaded: the data; lines: the model, drawn afresh at 61 times. */
static void draw_report(wf_arena *A, const char *path, const model_t *m, const data_t *d, const char *title, const char *shaded, const curves_t *c)
{
    static const char *light[4] = { "#bcd5ee", "#f5c6bd", "#c5e3c2", "#e0d0ec" }, *dark[4] = { "#7fb0dc", "#e8917f", "#8ecb88", "#bd9ad6" }, *line[4] = { "#174a7c", "#9c2a12", "#1f6b1a", "#5b2a86" };
    enum { POINTS = 61, DRAWS = 1000 };
    int panels = m->dim < 4 ? m->dim : 4;
    double height = 60 + 185.0 * panels + (c ? 260 : 20), x[POINTS], q[5][POINTS], *r[5], *sample = room(A, DRAWS * (size_t)m->dim * POINTS, sizeof(double));
    char text[256], style[128];
    svg_t s;
    for (int j = 0; j < 5; j++) r[j] = room(A, (size_t)d->count, sizeof(double));
    for (int k = 0; k < POINTS; k++) {
        x[k] = span(m, 0) + (span(m, 1) - span(m, 0)) * k / (POINTS - 1);
        model_sample(m, x[k], DRAWS, 77, sample + (size_t)k * DRAWS * (size_t)m->dim);
    }
    if (!svg_open(&s, path, 760, height)) end(1, "cannot write %s", path);
    svg_text(&s, 70, 24, "start", "font-size=\"16\" font-weight=\"bold\" fill=\"#222\"", title);
    svg_text(&s, 70, 42, "start", "fill=\"#555\"", shaded);
    for (int p = 0; p < panels; p++) {
        double low = HUGE_VAL, high = -HUGE_VAL, five[5];
        for (int k = 0; k < d->count; k++) {
            quantiles(d->x[k], d->n[k], (size_t)d->dim, (size_t)p, five);
            for (int j = 0; j < 5; j++) r[j][k] = five[j];
            low = fmin(low, five[0]);
            high = fmax(high, five[4]);
        }
        for (int k = 0; k < POINTS; k++) {
            quantiles(sample + (size_t)k * DRAWS * (size_t)m->dim, DRAWS, (size_t)m->dim, (size_t)p, five);
            for (int j = 0; j < 5; j++) q[j][k] = five[j];
            low = fmin(low, five[0]);
            high = fmax(high, five[4]);
        }
        if (!(high > low)) high = low + 1;
        svg_frame(&s, 70, 60 + 185.0 * p, 660, 140, x[0], x[POINTS - 1], m->counts ? 0 : low - 0.05 * (high - low), high + 0.08 * (high - low));
        escape(text, sizeof text, m->names[p]);
        svg_axes(&s, p == panels - 1 ? "time" : NULL, text);
        snprintf(style, sizeof style, "fill=\"%s\"", light[p]);
        svg_band(&s, d->times, r[0], r[4], d->count, style);
        snprintf(style, sizeof style, "fill=\"%s\"", dark[p]);
        svg_band(&s, d->times, r[1], r[3], d->count, style);
        for (int j = 0; j < 5; j++) {
            snprintf(style, sizeof style, "stroke=\"%s\" stroke-width=\"%s\"%s", line[p], j == 2 ? "2.4" : "1.2", j == 2 ? "" : " stroke-dasharray=\"5 3\"");
            svg_line(&s, x, q[j], POINTS, style);
        }
        for (int k = 0; k < m->shown; k++) fprintf(s.f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#333\"/>\n", svg_x(&s, m->times[k]), svg_x(&s, m->times[k]), s.y0 + s.h, s.y0 + s.h + 5);
    }
    if (c) {
        double top = 0;
        for (int i = 0; i < c->lines; i++) for (int k = 0; k < c->n; k++) if (isfinite(c->y[i][k])) top = fmax(top, c->y[i][k]);
        svg_frame(&s, 70, 85 + 185.0 * panels, 660, 170, x[0], x[POINTS - 1], 0, top > 0 ? top * 1.05 : 1);
        svg_axes(&s, "time", c->what);
        for (int i = 0; i < c->lines; i++) {
            static const char *colour[5] = { "#9c2a12", "#d99b1c", "#4f9a43", "#3d78b4", "#777777" };
            snprintf(style, sizeof style, "stroke=\"%s\" stroke-width=\"%s\"", colour[i % 5], i ? "1.4" : "2.4");
            svg_line(&s, c->x, c->y[i], c->n, style);
            fprintf(s.f, "<line x1=\"460\" x2=\"490\" y1=\"%.1f\" y2=\"%.1f\" %s/>\n", s.y0 + 12 + 18 * i, s.y0 + 12 + 18 * i, style);
            svg_text(&s, 496, s.y0 + 16 + 18 * i, "start", "fill=\"#333\"", c->names[i]);
        }
    }
    if (!svg_close(&s)) end(1, "cannot write %s", path);
}

/* ---- fit ---- */

static uint64_t mix(uint64_t h, const void *data, size_t size)
{
    for (const unsigned char *p = data; size--; p++) h = (h ^ *p) * 0x100000001B3ull;
    return h;
}

static uint64_t data_hash(const data_t *d)
{
    uint64_t h = mix(0xCBF29CE484222325ull, d->times, (size_t)d->count * sizeof *d->times);
    h = mix(h, d->n, (size_t)d->count * sizeof *d->n);
    for (int k = 0; k < d->count; k++) {
        h = mix(h, d->x[k], d->n[k] * (size_t)d->dim * sizeof(double));
        if (d->weight) h = mix(h, d->weight[k], d->n[k] * sizeof(double));
    }
    for (int j = 0; j < d->dim; j++) h = mix(h, d->names[j], strlen(d->names[j]) + 1);
    return h;
}

/* Progress of a fit: shows it, and asks to stop for a checkpoint now and then, or for good. */
typedef struct watch_t { progress_t bar; double saved, every; int counting; } watch_t;

static int watch(void *user, const char *what, double done, double total)
{
    watch_t *w = user;
    progress_show(&w->bar, what, done, total);
    return interrupted || (w->counting && w->every > 0 && seconds() - w->saved > w->every);
}

/* Where the histograms of continuous columns begin, and how wide their bins are. */
static void histogram_bins(wf_arena *A, model_t *m, const wf_snapshots *s)
{
    m->bins = HISTOGRAM;
    m->low = room(A, (size_t)m->dim, sizeof(double));
    m->width = room(A, (size_t)m->dim, sizeof(double));
    for (int j = 0; j < m->dim; j++) {
        double low = HUGE_VAL, high = -HUGE_VAL;
        for (int k = 0; k < s->count; k++)
            for (size_t i = 0; i < s->n[k]; i++) {
                low = fmin(low, s->x[k][i * (size_t)m->dim + (size_t)j]);
                high = fmax(high, s->x[k][i * (size_t)m->dim + (size_t)j]);
            }
        double margin = 0.02 * (high - low) + 1e-12 * fmax(fabs(low), fabs(high));
        m->low[j] = low - margin;
        m->width[j] = (high - low + 2 * margin) / HISTOGRAM;
        if (!isfinite(m->width[j]) || !(m->width[j] > 0)) end(1, "the column %s has no usable range (%g to %g)", m->names[j], low, high);
    }
}

/* nats per state over the snapshots, each time counted alike */
static double training_nll(wf_arena *A, const model_t *m, const data_t *d)
{
    double sum = 0;
    for (int k = 0; k < d->count; k++) {
        wf_mark mark = wf_arena_mark(A);
        double *out = room(A, d->n[k], sizeof *out), part = 0, total = 0;
        model_log_prob(A, m, d->times[k], d->x[k], d->n[k], out);
        for (size_t i = 0; i < d->n[k]; i++) {
            double w = d->weight ? d->weight[k][i] : 1;
            if (w > 0) part -= w * out[i];
            total += w;
        }
        sum += part / total;
        wf_arena_reset(A, mark);
    }
    return sum / d->count;
}

static const char *const bridges[] = { "auto", "diffusion", "generator", "mixture", NULL }, *const libraries[] = { "auto", "linear", "pairs", "wide", NULL },
                  *const backbones[] = { "gru", "transformer", "mlp", NULL }, *const outputs[] = { "categorical", "steps", "bins", "gaussians", "mixture", NULL },
                  *const curves[] = { "network", "spline", NULL }, *const fields[] = { "none", "ode", "cde", NULL }, *const kinds[] = { "auto", "counts", "continuous", NULL };

static void fit_loop(model_t *m, const wf_snapshots *s, watch_t *w, const char *checkpoint, int field)
{
    for (;;) {
        w->saved = seconds();
        w->counting = 1;
        wf_result r = field ? wf_weight_path_fit_field(m->path, s, NULL) : wf_weight_path_fit(m->path, s, NULL);
        w->counting = 0;
        if (r < 0) fail(m->A, "training");
        if (r != WF_CANCELLED) return;
        model_save(m, checkpoint);
        if (!interrupted) continue;
        progress_end(&w->bar);
        end(130, "interrupted; what is learned so far is in %s; the same command with --resume goes on from there", checkpoint);
    }
}

static int run_fit(int argc, char **argv)
{
    source_t s = { NULL, NULL, NULL, NULL, 1, 1 };
    const char *file = NULL, *out = "model.safetensors", *report = NULL, *kind = "auto", *bridge = "auto", *library = "auto", *curve = "network", *field = "none", *without = NULL, *backbone = NULL, *output = NULL;
    wf_bridge_desc b = { 0 };
    wf_weight_path_desc d = { 0 };
    int seed = 1, threads = 0, json = 0, quiet = 0, resume = 0, bins = 0, states = 0;
    double checkpoint = 10;
    model_t m = { 0 };
    const option_t options[] = {
        { "out", "file of the model", 's', &out }, { "report", "draw what was learned: a file .svg", 's', &report }, SOURCE_OPTIONS(s),
        { "without", "leave these times out, to judge the model at them: 2,3.5", 's', &without },
        { "kind", "of the numbers: counts, continuous, auto (counts if all are whole, below 4096 and not negative)", 's', &kind },
        { "backbone", "the network that is moved: gru, transformer, mlp; default: gru, the smallest", 's', &backbone },
        { "output", "the law of a number: categorical for counts; for continuous ones mixture (of logistics, the default), gaussians, bins (straight lines between edges), steps (flat bins)", 's', &output },
        { "components", "of a mixture; 0: 8", 'i', &d.components }, { "narrowest", "deviation of a component, in units of the column's; 0: 0.01", 'd', &d.narrowest },
        { "blur", "noise on the rows that are shown, in units of the column's deviation; 0: by the number of rows; below 0: none", 'd', &d.blur }, { "bins", "of a continuous column, with --output bins or steps; 0: 64", 'i', &bins }, { "states", "counts are below it; 0: a tenth above the largest", 'i', &states },
        { "bridge", "what happens between snapshots: auto, diffusion, generator, mixture", 's', &bridge }, { "library", "of the generator: auto, linear, pairs, wide", 's', &library },
        { "between", "times between two snapshots to make samples at; 0: 9", 'i', &b.between }, { "samples", "at each of those; 0: 10000", 'i', &b.samples },
        { "curve", "of the weights: network, spline", 's', &curve }, { "field", "a graph equation that follows the curve: none, ode, cde", 's', &field },
        { "hidden", "units of the network that is moved; 0: 8 for gru, 16 for transformer, for mlp 32 or the number of columns", 'i', &d.hidden }, { "layers", "of them; 0: 1 for gru, 2 for the others", 'i', &d.layers }, { "updates", "0: 5000; for more than 8 continuous columns, which are drawn from the bridge, 1500", 'i', &d.updates }, { "rate", "highest learning rate; 0: 0.005", 'd', &d.rate },
        { "matching", "updates of the field before the solver is used; 0: 1500", 'i', &d.matching }, { "tuning", "updates of the field through the solver; 0: 80", 'i', &d.tuning },
        { "checkpoint", "seconds between two files MODEL.checkpoint; 0: none", 'd', &checkpoint }, { "resume", "go on from MODEL.checkpoint, to the same bits as without a stop", 'b', &resume },
        { "seed", "of everything random", 'i', &seed }, { "threads", "0: all; results are the same", 'i', &threads }, { "json", "print one line of JSON", 'b', &json }, { "quiet", "no progress", 'b', &quiet },
        { NULL, NULL, 0, NULL },
    };
    if (!read_options(argc, argv, "weightflow fit DATA [options]: learn a moving distribution from snapshots\n\nDATA: a .npy of trajectories x times x columns, or a table (.csv, .npy) of rows with a column of times", options, &file, 1))
        end(2, "which file? (see --help)");
    d.curve = choice("curve", curve, curves);
    d.field = choice("field", field, fields);
    b.method = choice("bridge", bridge, bridges);
    b.library = choice("library", library, libraries);
    int wanted = choice("kind", kind, kinds);
    at_least("bins", bins, 0, STATES_MAX);
    at_least("components", d.components, 0, 64);
    at_least("layers", d.layers, 0, 8);
    if (backbone) d.backbone = choice("backbone", backbone, backbones);
    if (output) d.output = choice("output", output, outputs);
    at_least("states", states, 0, STATES_MAX);
    at_least("updates", d.updates, 0, 100000000);
    at_least("hidden", d.hidden, 0, 256);
    at_least("threads", threads, 0, 1024);
    at_least("between", b.between, -1, 1000);
    at_least("samples", b.samples, 0, 10000000);
    if (!(d.rate >= 0)) end(2, "--rate %g: must not be negative", d.rate);
    check_place(out);
    check_place(report);
    if (strlen(out) > 900) end(2, "the name of the model is too long");

    wf_arena *A = arena_new();
    double start = seconds(), most;
    char why[320] = "", saved[1100];
    data_t data = read_data(A, file, &s);
    if (without) drop_times(&data, without);
    if (data.count < 1) end(1, "%s: no snapshot is left", file);
    if (data.count < 2) end(1, "%s: one snapshot (time %g); at least two times are needed to learn how a distribution moves", file, data.times[0]);
    refuse_constants(&data);
    int counts = data_counts(&data, &most, why, sizeof why);
    if (wanted == 1 && !counts) end(1, "%s: %s (declared by --kind counts)", file, why);
    if (counts && wanted != 2 && most >= STATES_MAX) {
        if (wanted == 1) end(1, "%s: a count of %.0f; counts up to %d can be learned one by one; use --kind continuous", file, most, STATES_MAX - 1);
        counts = 0;
    }
    if (wanted == 2) counts = 0;
    if (counts && states && most >= states) end(1, "%s: a count of %.0f, but --states %d", file, most, states);
    m.A = arena_new();
    m.counts = counts;
    m.dim = data.dim;
    m.names = data.names;
    m.times = data.times;
    m.shown = data.count;
    m.start = data.times[0];
    m.end = data.times[data.count - 1];
    m.bins = counts ? states ? states : (int)fmin(floor(most * 1.1) + 2, STATES_MAX) : HISTOGRAM;
    if (output && counts != (d.output == WF_OUTPUT_CATEGORICAL)) end(2, "--output %s is for %s, but %s has %s", output, counts ? "continuous numbers" : "counts", file, counts ? "counts (see --kind)" : "continuous numbers");
    if (!output && !counts) d.output = WF_OUTPUT_LOGISTICS;
    if (bins && d.output != WF_OUTPUT_BINS && d.output != WF_OUTPUT_LINEAR_BINS) end(2, "--bins %d is for --output bins or steps", bins);
    if (d.components && d.output != WF_OUTPUT_GAUSSIANS && d.output != WF_OUTPUT_LOGISTICS) end(2, "--components %d is for --output mixture or gaussians", d.components);
    uint64_t h = data_hash(&data);
    const double settings[] = { seed, counts, m.bins, b.method, b.library, b.between, b.samples, d.curve, d.field, d.hidden, d.updates, d.rate, d.matching, d.tuning, d.backbone, d.output, d.components, d.layers, bins, d.narrowest, d.blur };
    snprintf(m.data, sizeof m.data, "%016llx", (unsigned long long)mix(h, settings, sizeof settings));
    snprintf(saved, sizeof saved, "%s.checkpoint", out);

    watch_t w = { { 0 }, 0, checkpoint, 0 };
    w.bar.quiet = json || quiet;
    w.bar.terminal = isatty(2);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    b.counts = counts;
    b.states = counts ? m.bins : 0;
    b.seed = d.seed = (uint64_t)seed;
    b.threads = d.threads = threads;
    b.progress = d.progress = watch;
    b.progress_user = d.progress_user = &w;
    wf_snapshots view = data_view(&data), between;
    wf_bridge *bridging = wf_bridge_new(A, &view, &b);
    if (!bridging) fail(A, file);
    wf_result r = wf_bridge_fit(bridging);
    if (r == WF_CANCELLED) end(130, "interrupted; nothing was written");
    if (r < 0) fail(A, file);
    const wf_bridge_report *said = wf_bridge_about(bridging);
    snprintf(m.about, sizeof m.about, "%s", said->text);
    between = *wf_bridge_data(bridging);
    if (!counts) histogram_bins(A, &m, &between);
    if (!counts && data.dim > WIDE) {
        keep_rows(A, &m, &between);
        if (!d.updates) d.updates = 1500; /* the network serves likelihoods alone, and is slow */
    }
    d.dim = data.dim;
    d.states = counts ? m.bins : bins;
    if (resume) {
        model_t before = model_read(saved, &d);
        if (strcmp(before.data, m.data)) end(1, "%s: was made from other data or with other options; give the same ones, or leave out --resume", saved);
        wf_arena_free(m.A);
        m.path = before.path;
        m.A = before.A;
    } else if (!(m.path = wf_weight_path_new(m.A, &d, m.start, m.end))) fail(m.A, NULL);
    fit_loop(&m, &between, &w, saved, 0);
    if (d.field) fit_loop(&m, &between, &w, saved, 1);
    progress_end(&w.bar);
    double took = seconds() - start, nll = training_nll(A, &m, &data);
    model_save(&m, out);
    remove(saved);
    if (report) draw_report(A, report, &m, &data, "What was learned", "shaded: 5-95 % and 25-75 % of the snapshots; lines: the same of the model, and its median; ticks: the snapshots", NULL);
    if (json) {
        printf("{\"tool\":\"fit\",\"model\":");
        json_text(out);
        printf(",\"kind\":\"%s\",\"snapshots\":%d,\"columns\":%d,\"rows\":%zu,\"states\":%d,\"backbone\":\"%s\",\"output\":\"%s\",\"bridge\":\"%s\",\"misfit\":", counts ? "counts" : "continuous", data.count, data.dim, data.rows, wf_weight_path_about(m.path)->states, backbones[d.backbone], outputs[d.output], bridges[said->method]);
        json_number(said->misfit);
        printf(",\"nll\":");
        json_number(nll);
        printf(",\"bridge_text\":");
        json_text(said->text);
        printf(",\"seconds\":%.2f,\"threads\":%d,\"seed\":%d}\n", took, threads ? threads : wf_threads_default(NULL), seed);
    } else {
        printf("%d snapshots from time %g to %g, %zu rows, %d columns of %s\n", data.count, m.start, m.end, data.rows, data.dim, counts ? "counts" : "continuous numbers");
        if (m.row) printf("more than %d columns: samples are rows of the bridge, likelihoods are those of the network\n", WIDE);
        printf("between the snapshots: %s\n%.4f nats a state on the snapshots; %.1f s\nwrote %s%s%s\n", said->text, nll, took, out, report ? " and " : "", report ? report : "");
    }
    wf_arena_free(m.A);
    wf_arena_free(A);
    return 0;
}

/* ---- predict ---- */

static void save_table(wf_arena *A, const char *path, const wf_table *t)
{
    if (path && wf_csv_save(A, path, t) < 0) fail(A, NULL);
    if (path) return;
    wf_memory_writer w = { A, NULL, 0, 0 };
    if (wf_csv_write(A, t, wf_memory_write, &w) < 0) fail(A, NULL);
    if (w.size) fwrite(w.data, 1, w.size, stdout);
}

static void save_array(wf_arena *A, const char *path, double *x, int nd, const size_t *shape)
{
    wf_array a = wf_array_of(x, WF_DTYPE_F64, nd, shape);
    if (wf_npy_save(A, path, &a) < 0) fail(A, NULL);
}

static void inside_span(const model_t *m, double t)
{
    if (!(t >= m->start && t <= m->end)) end(1, "time %g is outside what the model knows, %g to %g", t, m->start, m->end);
}

/* "time" and the columns of the model, with room for one more */
static const char **joined(wf_arena *A, const model_t *m, size_t *n)
{
    const char **names = room(A, (size_t)m->dim + 2, sizeof *names);
    names[0] = "time";
    for (int j = 0; j < m->dim; j++) names[j + 1] = m->names[j];
    *n = (size_t)m->dim + 1;
    return names;
}

static void predict_samples(wf_arena *A, const model_t *m, const double *times, size_t T, size_t n, uint64_t seed, const char *out)
{
    size_t d = (size_t)m->dim, columns, shape[3] = { n, T, d };
    double *x = room(A, n * d, sizeof *x), *all = room(A, T * n * (d + 1), sizeof *all);
    int npy = out && suffix(out, ".npy");
    for (size_t k = 0; k < T; k++) {
        model_sample(m, times[k], n, seed, x);
        for (size_t i = 0; i < n; i++) {
            double *row = npy ? all + (i * T + k) * d : all + (k * n + i) * (d + 1) + 1;
            if (!npy) row[-1] = times[k];
            memcpy(row, x + i * d, d * sizeof *x);
        }
    }
    if (npy) { save_array(A, out, all, 3, shape); return; }
    wf_table t = { T * n, d + 1, all, joined(A, m, &columns) };
    save_table(A, out, &t);
}

static void predict_marginals(wf_arena *A, const model_t *m, const double *times, size_t T, size_t n, uint64_t seed, const char *out)
{
    size_t d = (size_t)m->dim, L = (size_t)m->bins, shape[3] = { T, d, L };
    double *x = room(A, n * d, sizeof *x), *bins = room(A, d, sizeof *bins), *p = room(A, T * d * L, sizeof *p);
    for (size_t k = 0; k < T; k++) {
        model_sample(m, times[k], n, seed, x);
        for (size_t i = 0; i < n; i++) {
            to_bins(m, x + i * d, bins);
            for (size_t j = 0; j < d; j++) p[(k * d + j) * L + (size_t)bins[j]] += 1.0 / (double)n;
        }
    }
    if (out && suffix(out, ".npy")) { save_array(A, out, p, 3, shape); return; }
    static const char *names[] = { "time", "column", "value", "probability" };
    wf_table t = { T * d * L, 4, room(A, T * d * L * 4, sizeof(double)), names };
    for (size_t i = 0; i < t.rows; i++) {
        size_t j = i / L % d;
        t.data[4 * i] = times[i / (d * L)];
        t.data[4 * i + 1] = (double)j + 1;
        t.data[4 * i + 2] = m->counts ? (double)(i % L) : m->low[j] + m->width[j] * ((double)(i % L) + 0.5);
        t.data[4 * i + 3] = p[i];
    }
    save_table(A, out, &t);
}

static void check_columns(const model_t *m, const data_t *d)
{
    if (d->dim != m->dim) end(1, "%s: %d columns beside the times, but the model has %d", d->path, d->dim, m->dim);
}

static int run_predict(int argc, char **argv)
{
    source_t s = { NULL, NULL, NULL, NULL, 1, 1 };
    const char *file = NULL, *out = NULL, *given = NULL, *at = NULL;
    int seed = 1, threads = 0, json = 0, marginals = 0, n = 1000;
    const option_t options[] = {
        { "at", "times: 0,1,2.5 or FROM:TO:POINTS or a file; default: those of the snapshots", 's', &at }, { "samples", "at each time", 'i', &n },
        { "marginals", "the probability of every value of every column (of the samples) instead of samples", 'b', &marginals },
        { "log-prob", "the logarithm of the probability (density) of each row of this file instead", 's', &given },
        { "out", "a file .csv or .npy (samples x times x columns; times x columns x values); default: CSV to the standard output", 's', &out }, SOURCE_OPTIONS(s),
        { "seed", "of the samples", 'i', &seed }, { "threads", "0: all; results are the same", 'i', &threads }, { "json", "print one line of JSON; needs --out", 'b', &json },
        { NULL, NULL, 0, NULL },
    };
    if (!read_options(argc, argv, "weightflow predict MODEL [options]: samples, marginals or log-likelihoods at any times between the first and the last snapshot", options, &file, 1)) end(2, "which model? (see --help)");
    at_least("samples", n, 1, 100000000);
    at_least("threads", threads, 0, 1024);
    if (out && !suffix(out, ".csv") && !suffix(out, ".npy")) end(2, "--out %s: a name that ends in .csv or .npy", out);
    if (json && !out) end(2, "--json needs --out: the standard output is for one of them");
    if (given && (marginals || at)) end(2, "--log-prob goes without --marginals and --at: the file has its times");
    check_place(out);
    wf_arena *A = arena_new();
    wf_weight_path_desc d = { 0 };
    d.threads = threads;
    model_t m = model_read(file, &d);
    size_t T = (size_t)m.shown, rows = 0, outside = 0;
    double mean = 0, *times = m.times;
    if (given) {
        data_t data = read_data(A, given, &s);
        check_columns(&m, &data);
        size_t columns;
        const char **names = joined(A, &m, &columns);
        wf_table t = { data.rows, columns + 1, room(A, data.rows * (columns + 1), sizeof(double)), names };
        names[columns] = "log_prob";
        for (int k = 0; k < data.count; k++) {
            double *l = room(A, data.n[k], sizeof *l);
            inside_span(&m, data.times[k]);
            outside += data.n[k] - model_log_prob(A, &m, data.times[k], data.x[k], data.n[k], l);
            for (size_t i = 0; i < data.n[k]; i++, rows++) {
                double *row = t.data + rows * t.columns;
                row[0] = data.times[k];
                memcpy(row + 1, data.x[k] + i * (size_t)m.dim, (size_t)m.dim * sizeof(double));
                row[m.dim + 1] = isfinite(l[i]) ? l[i] : -1e300;
                if (isfinite(l[i])) mean += l[i];
            }
        }
        mean /= (double)(rows - outside > 0 ? rows - outside : 1);
        if (out && suffix(out, ".npy")) { size_t shape[2] = { t.rows, t.columns }; save_array(A, out, t.data, 2, shape); }
        else save_table(A, out, &t);
        if (outside) fprintf(stderr, "%s: %zu of %zu rows are outside what the model knows; their logarithm is written as -1e300\n", command, outside, rows);
    } else {
        if (at) times = read_times(A, at, &T);
        for (size_t k = 0; k < T; k++) inside_span(&m, times[k]);
        if ((double)T * n * (m.dim + 1) > 1e9) end(1, "%zu times %d samples are too many for one file", T, n);
        (marginals ? predict_marginals : predict_samples)(A, &m, times, T, (size_t)n, (uint64_t)seed, out);
    }
    if (json) {
        printf("{\"tool\":\"predict\",\"what\":\"%s\",\"out\":", given ? "log_prob" : marginals ? "marginals" : "samples");
        json_text(out);
        if (given) { printf(",\"rows\":%zu,\"outside\":%zu,\"mean\":", rows, outside); json_number(mean); printf("}\n"); }
        else printf(",\"times\":%zu,\"samples\":%d,\"columns\":%d}\n", T, n, m.dim);
    } else if (given && out) printf("%zu rows, mean log-%s %.6f\n", rows, m.counts ? "probability" : "density", mean);
    wf_arena_free(m.A);
    wf_arena_free(A);
    return 0;
}

/* ---- evaluate ---- */

enum { SCORE_W, SCORE_JSD, SCORE_CORRELATION, SCORE_ENERGY, SCORE_SLICED, SCORE_W1, SCORE_MMD, SCORE_NLL, SCORES, METHODS = 5, DIRECTIONS = 64, PAIRS = 500 };

static const char *const score_names[SCORES] = { "w", "jsd", "correlation_error", "energy_distance", "sliced_w2", "w1", "mmd2", "nll" },
                  *const score_heads[SCORES] = { "W", "JSD", "corr", "energy", "slicedW2", "W1", "MMD2", "NLL" },
                  *const method_names[METHODS] = { "model", "mixture of snapshots", "lines, optimal pairs", "histograms, interpolated", "floor" },
                  *const method_keys[METHODS] = { "model", "mixture", "lines", "histograms", "floor" };

typedef struct judge_t {
    wf_arena *A;
    const model_t *m;
    size_t dim, length, points, exact; /* length: of histograms; points: for measures that compare pairs; exact: for optimal transport */
    double *direction, *p, *q, *deviation;
} judge_t;

/* Fractions of the rows in each bin (of the model; counts beyond its states in the last). */
static void histogram(const judge_t *j, const double *x, size_t n, double *p)
{
    double bins[COLUMNS_MAX];
    memset(p, 0, j->dim * j->length * sizeof *p);
    for (size_t i = 0; i < n; i++) {
        to_bins(j->m, x + i * j->dim, bins);
        for (size_t c = 0; c < j->dim; c++) {
            double b = j->m->counts ? fmin(fmax(x[i * j->dim + c], 0), (double)j->length - 1) : bins[c];
            p[c * j->length + (size_t)b] += 1.0 / (double)n;
        }
    }
}

static void measure_histograms(const judge_t *j, double *score)
{
    if (wf_assignment_distance(j->A, j->p, j->q, j->dim, j->length, score + SCORE_W, NULL) < 0 || wf_jsd(j->A, j->p, j->q, j->dim, j->length, 1e-10, NULL, score + SCORE_JSD) < 0) fail(j->A, "comparison");
}

static double correlation(const double *x, size_t n, size_t d, size_t a, size_t b)
{
    double ma = 0, mb = 0, va = 0, vb = 0, c = 0;
    for (size_t i = 0; i < n; i++) { ma += x[i * d + a] / (double)n; mb += x[i * d + b] / (double)n; }
    for (size_t i = 0; i < n; i++) {
        double u = x[i * d + a] - ma, v = x[i * d + b] - mb;
        va += u * u;
        vb += v * v;
        c += u * v;
    }
    return va > 0 && vb > 0 ? c / sqrt(va * vb) : 0;
}

/* Every step-th row, at most `most`, in units of `deviation` (NULL: as they are). */
static wf_points thinned(const judge_t *j, const double *x, size_t n, size_t most, const double *deviation)
{
    size_t take = n < most ? n : most;
    double *y = room(j->A, take * j->dim, sizeof *y);
    for (size_t i = 0; i < take; i++)
        for (size_t c = 0; c < j->dim; c++) y[i * j->dim + c] = x[i * n / take * j->dim + c] / (deviation ? deviation[c] : 1);
    wf_points p = { y, NULL, take, j->dim };
    return p;
}

/* n samples x against the test's rows y at one time */
static void measure(const judge_t *j, const double *x, size_t n, const double *y, size_t ny, double *score)
{
    wf_mark mark = wf_arena_mark(j->A);
    size_t pairs = 0;
    double sum = 0, bandwidth = sqrt((double)j->dim);
    histogram(j, x, n, j->p);
    histogram(j, y, ny, j->q);
    measure_histograms(j, score);
    for (size_t a = 0; a < j->dim; a++)
        for (size_t b = 0; b < a; b++, pairs++) sum += fabs(correlation(x, n, j->dim, a, b) - correlation(y, ny, j->dim, a, b));
    score[SCORE_CORRELATION] = pairs ? sum / (double)pairs : 0;
    wf_points u = thinned(j, x, n, j->points, j->deviation), v = thinned(j, y, ny, j->points, j->deviation), few = thinned(j, x, n, j->exact, NULL), fewer = thinned(j, y, ny, j->exact, NULL);
    if (wf_energy_distance(j->A, &u, &v, NULL, score + SCORE_ENERGY) < 0 || wf_sliced_wasserstein(j->A, &u, &v, j->direction, DIRECTIONS, NULL, score + SCORE_SLICED) < 0 ||
        wf_mmd(j->A, &u, &v, &bandwidth, 1, score + SCORE_MMD) < 0 || wf_wasserstein(j->A, &few, &fewer, score + SCORE_W1, NULL) < 0) fail(j->A, "comparison");
    score[SCORE_SLICED] = sqrt(fmax(score[SCORE_SLICED], 0));
    wf_arena_reset(j->A, mark);
}

static void deviations(const judge_t *j, const data_t *test, int k)
{
    for (size_t c = 0; c < j->dim; c++)
        for (int all = 0; all < 2; all++) { /* at this time, or at all times where it does not move here */
            double mean = 0, square = 0, n = 0;
            for (int t = all ? 0 : k; t < (all ? test->count : k + 1); t++)
                for (size_t i = 0; i < test->n[t]; i++) {
                    double v = test->x[t][i * j->dim + c], before = mean;
                    mean += (v - mean) / ++n;
                    square += (v - mean) * (v - before);
                }
            j->deviation[c] = square > 0 ? sqrt(square / n) : 1;
            if (square > 0) break;
        }
}

/* The snapshot of the model at time t, or -1. */
static int shown_at(const model_t *m, double t)
{
    for (int i = 0; i < m->shown; i++) if (fabs(m->times[i] - t) <= 1e-9 * (1 + fabs(t))) return i;
    return -1;
}

/* Baselines know what the model knew. */
static void keep_shown(const model_t *m, data_t *d)
{
    int k = 0;
    for (int i = 0; i < d->count; i++) {
        if (shown_at(m, d->times[i]) < 0) continue;
        d->times[k] = d->times[i];
        d->n[k] = d->n[i];
        d->x[k++] = d->x[i];
    }
    d->count = k;
    if (k < m->shown) end(1, "%s: has %d of the %d times that the model was shown", d->path, k, m->shown);
}

/* Of the training data: the snapshots around time t, and how far t is between them. */
static double around(const data_t *d, double t, int *a, int *b)
{
    *a = 0;
    while (*a + 1 < d->count && d->times[*a + 1] <= t) ++*a;
    *b = *a + 1 < d->count ? *a + 1 : *a;
    return *b > *a && t > d->times[*a] ? (t - d->times[*a]) / (d->times[*b] - d->times[*a]) : 0;
}

static void mixture(const data_t *d, double t, size_t n, wf_rng *r, double *out)
{
    int a, b;
    double u = around(d, t, &a, &b);
    for (size_t i = 0; i < n; i++) {
        int k = wf_rng_uniform(r) < u ? b : a;
        memcpy(out + i * (size_t)d->dim, d->x[k] + wf_rng_below(r, (uint32_t)d->n[k]) * (size_t)d->dim, (size_t)d->dim * sizeof *out);
    }
}

/* Straight lines between the pairs of optimal transport, of PAIRS rows at most; their number. */
static size_t straight_lines(wf_arena *A, const data_t *d, double t, double *out)
{
    int a, b;
    double u = around(d, t, &a, &b);
    size_t n = d->n[a] < d->n[b] ? d->n[a] : d->n[b], k = (size_t)d->dim;
    if (n > PAIRS) n = PAIRS;
    double *cost = room(A, n * n, sizeof *cost);
    int *to = room(A, n, sizeof *to);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t c = 0; c < k; c++) cost[i * n + j] += pow(d->x[a][i * d->n[a] / n * k + c] - d->x[b][j * d->n[b] / n * k + c], 2);
    if (wf_assignment(A, cost, n, to) < 0) fail(A, "pairs");
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < k; c++) out[i * k + c] = (1 - u) * d->x[a][i * d->n[a] / n * k + c] + u * d->x[b][(size_t)to[i] * d->n[b] / n * k + c];
    return n;
}

/* Half of the rows, every second: the first half, or the other. */
static double *half(wf_arena *A, const double *x, size_t n, size_t dim, size_t which, size_t *count)
{
    *count = (n + 1 - which) / 2;
    double *y = room(A, *count * dim, sizeof *y);
    for (size_t i = 0; i < *count; i++) memcpy(y + i * dim, x + (2 * i + which) * dim, dim * sizeof *y);
    return y;
}

typedef struct table_t { double score[METHODS][SCORES]; int has[METHODS][SCORES], times; } table_t;

static void tally(table_t *t, double (*score)[SCORES], const int *has)
{
    t->times++;
    for (int i = 0; i < METHODS; i++)
        for (int s = 0; s < SCORES && has[i]; s++)
            if (isfinite(score[i][s])) { t->score[i][s] += score[i][s]; t->has[i][s]++; }
}

static double entry(const table_t *t, int method, int s) { return t->has[method][s] == t->times && t->times ? t->score[method][s] / t->times : HUGE_VAL; }

static void print_table(const char *title, const table_t *t, const int *has)
{
    printf("\n%-26s", title);
    for (int s = 0; s < SCORES; s++) printf(" %9s", score_heads[s]);
    printf("\n");
    for (int i = 0; i < METHODS; i++) {
        if (!has[i]) continue;
        printf("%-26s", method_names[i]);
        for (int s = 0; s < SCORES; s++)
            if (isfinite(entry(t, i, s))) printf(" %9.4f", entry(t, i, s));
            else printf(" %9s", "-");
        printf("\n");
    }
}

static int run_evaluate(int argc, char **argv)
{
    source_t s = { NULL, NULL, NULL, NULL, 1, 1 };
    const char *files[2] = { NULL, NULL }, *train_file = NULL, *floor_file = NULL, *out = NULL, *report = NULL;
    int seed = 1, threads = 0, json = 0, n = 1000, points = 1000, exact = 200;
    const option_t options[] = {
        { "train", "the data of the fit: for the baselines, which use the times that the model was shown", 's', &train_file },
        { "floor", "other data of the same law: what the best model would score; else the test is halved", 's', &floor_file }, { "samples", "of the model at each time", 'i', &n },
        { "points", "of each side for measures over pairs", 'i', &points }, { "exact", "of each side for the exact optimal transport", 'i', &exact },
        { "out", "a file .csv with every measure at every time", 's', &out }, { "report", "a picture: a file .svg", 's', &report }, SOURCE_OPTIONS(s),
        { "seed", "of the samples", 'i', &seed }, { "threads", "0: all; results are the same", 'i', &threads }, { "json", "print lines of JSON", 'b', &json },
        { NULL, NULL, 0, NULL },
    };
    if (read_options(argc, argv, "weightflow evaluate MODEL TEST [options]: how far the model is from data it has not seen, with baselines and floors beside", options, files, 2) < 2) end(2, "expected a model and test data (see --help)");
    at_least("samples", n, 10, 1000000);
    at_least("points", points, 10, 20000);
    at_least("exact", exact, 2, 3000);
    at_least("threads", threads, 0, 1024);
    check_place(out);
    check_place(report);
    wf_arena *A = arena_new();
    wf_weight_path_desc desc = { 0 };
    desc.threads = threads;
    model_t m = model_read(files[0], &desc);
    data_t test = read_data(A, files[1], &s), train = { 0 }, other = { 0 };
    check_columns(&m, &test);
    if (floor_file) { other = read_data(A, floor_file, &s); check_columns(&m, &other); }
    if (train_file) {
        train = read_data(A, train_file, &s);
        check_columns(&m, &train);
        keep_shown(&m, &train);
    }
    judge_t j = { A, &m, (size_t)m.dim, (size_t)m.bins, (size_t)points, (size_t)exact, NULL, NULL, NULL, NULL };
    double largest;
    char why[320];
    const data_t *sources[3] = { &test, &train, &other };
    for (int i = 0; m.counts && i < 3; i++) {
        if (!sources[i]->count) continue;
        if (!data_counts(sources[i], &largest, why, sizeof why)) end(1, "%s: %s, but the model is of counts", sources[i]->path, why);
        if (largest > 1e6) end(1, "%s: a count of %.0f", sources[i]->path, largest);
        if (largest + 1 > (double)j.length) j.length = (size_t)largest + 1;
    }
    size_t cells = j.dim * j.length, least = (size_t)-1;
    j.p = room(A, cells, sizeof(double));
    j.q = room(A, cells, sizeof(double));
    j.deviation = room(A, j.dim, sizeof(double));
    j.direction = room(A, DIRECTIONS * j.dim, sizeof(double));
    double *r = room(A, cells, sizeof *r);
    for (size_t i = 0; i < DIRECTIONS; i++) {
        double norm = 0;
        for (size_t c = 0; c < j.dim; c++) norm += pow(j.direction[i * j.dim + c] = wf_normal_at(9, i, 0, (uint32_t)c, 3), 2);
        for (size_t c = 0; c < j.dim; c++) j.direction[i * j.dim + c] /= sqrt(norm);
    }
    int used = 0, has[METHODS] = { 1, train_file != NULL, train_file != NULL && !m.counts, train_file != NULL, 1 };
    for (int k = 0; k < test.count; k++) {
        if (test.times[k] < m.start || test.times[k] > m.end) continue;
        used++;
        if (test.n[k] < least) least = test.n[k];
    }
    if (!used) end(1, "%s: no time between %g and %g, where the model is known", files[1], m.start, m.end);
    if (least < 4) end(1, "%s: a time with %zu rows; at least 4 are needed to compare", files[1], least);

    progress_t bar = { 0 };
    bar.quiet = json;
    bar.terminal = isatty(2);
    table_t all = { 0 }, hidden = { 0 };
    double *x = room(A, (size_t)n * j.dim, sizeof *x), *lines[METHODS], *when = room(A, (size_t)used, sizeof *when);
    wf_table sheet = { 0, 2 + METHODS * SCORES, room(A, (size_t)used * (2 + METHODS * SCORES), sizeof(double)), NULL };
    const char **heads = room(A, sheet.columns, sizeof *heads);
    sheet.names = heads;
    heads[0] = "time";
    heads[1] = "shown";
    for (size_t i = 0; i < METHODS * SCORES; i++) {
        char *name = room(A, 48, 1);
        snprintf(name, 48, "%s_%s", method_keys[i / SCORES], score_names[i % SCORES]);
        heads[2 + i] = name;
    }
    for (int i = 0; i < METHODS; i++) lines[i] = room(A, (size_t)used, sizeof(double));
    size_t outside = 0, rows = 0;
    for (int k = 0, at = 0; k < test.count; k++) {
        double t = test.times[k], score[METHODS][SCORES];
        if (t < m.start || t > m.end) continue;
        wf_mark mark = wf_arena_mark(A);
        wf_rng rng;
        progress_show(&bar, "times", at, used);
        wf_rng_init(&rng, (uint64_t)seed, (uint32_t)k);
        for (int i = 0; i < METHODS * SCORES; i++) score[i / SCORES][i % SCORES] = HUGE_VAL;
        deviations(&j, &test, k);
        model_sample(&m, t, (size_t)n, (uint64_t)seed, x);
        measure(&j, x, (size_t)n, test.x[k], test.n[k], score[0]);
        double *l = room(A, test.n[k], sizeof *l), sum = 0;
        size_t inside = model_log_prob(A, &m, t, test.x[k], test.n[k], l);
        for (size_t i = 0; i < test.n[k]; i++) if (isfinite(l[i])) sum -= l[i];
        if (inside) score[0][SCORE_NLL] = sum / (double)inside;
        outside += test.n[k] - inside;
        rows += test.n[k];
        if (train_file) {
            int a, b;
            double u = around(&train, t, &a, &b);
            mixture(&train, t, (size_t)n, &rng, x);
            measure(&j, x, (size_t)n, test.x[k], test.n[k], score[1]);
            histogram(&j, train.x[a], train.n[a], j.p);
            histogram(&j, train.x[b], train.n[b], r);
            for (size_t i = 0; i < cells; i++) j.p[i] = (1 - u) * j.p[i] + u * r[i];
            histogram(&j, test.x[k], test.n[k], j.q);
            measure_histograms(&j, score[3]);
            if (!m.counts) {
                double *y = room(A, PAIRS * j.dim, sizeof *y);
                size_t pairs = straight_lines(A, &train, t, y);
                measure(&j, y, pairs, test.x[k], test.n[k], score[2]);
            }
        }
        size_t n1, n2;
        double *first = half(A, test.x[k], test.n[k], j.dim, 0, &n1), *second = half(A, test.x[k], test.n[k], j.dim, 1, &n2);
        int same = -1;
        for (int i = 0; i < other.count; i++) if (fabs(other.times[i] - t) <= 1e-9 * (1 + fabs(t))) same = i;
        if (floor_file && same < 0) end(1, "%s: has no rows at time %g", floor_file, t);
        if (floor_file) measure(&j, other.x[same], other.n[same], test.x[k], test.n[k], score[4]);
        else measure(&j, first, n1, second, n2, score[4]);
        double *row = sheet.data + (size_t)at * sheet.columns;
        row[0] = t;
        row[1] = shown_at(&m, t) >= 0;
        for (int i = 0; i < METHODS * SCORES; i++) row[2 + i] = isfinite(score[i / SCORES][i % SCORES]) ? score[i / SCORES][i % SCORES] : -1;
        for (int i = 0; i < METHODS; i++) lines[i][at] = score[i][SCORE_W];
        when[at++] = t;
        if (!(at == 1 && used > 1 && t <= m.start)) tally(&all, score, has); /* the start is given, as in the published measures */
        if (!row[1]) tally(&hidden, score, has);
        wf_arena_reset(A, mark);
    }
    progress_show(&bar, "times", used, used);
    progress_end(&bar);
    sheet.rows = (size_t)used;
    if (out) save_table(A, out, &sheet);
    if (report) {
        const char *names[METHODS];
        double *y[METHODS];
        int count = 0;
        for (int i = 0; i < METHODS; i++) if (has[i]) { names[count] = method_names[i]; y[count++] = lines[i]; }
        curves_t c = { "W", names, y, when, count, used };
        draw_report(A, report, &m, &test, "The model against the test", "shaded: 5-95 % and 25-75 % of the test; lines: the same of the model, and its median; ticks: snapshots it was shown", &c);
    }
    for (int part = 0; json && part < 2; part++)
        for (int i = 0; i < METHODS; i++) {
            const table_t *t = part ? &hidden : &all;
            if (!has[i] || !t->times) continue;
            printf("{\"tool\":\"evaluate\",\"times\":\"%s\",\"count\":%d,\"method\":\"%s\"", part ? "not shown" : "all", t->times, method_keys[i]);
            for (int c = 0; c < SCORES; c++) { printf(",\"%s\":", score_names[c]); json_number(entry(t, i, c)); }
            printf("}\n");
        }
    if (json) {
        wf_arena_free(m.A);
        wf_arena_free(A);
        return 0;
    }
    char title[64];
    snprintf(title, sizeof title, "all %d times%s", all.times, all.times < used ? " but the first" : "");
    print_table(title, &all, has);
    snprintf(title, sizeof title, "%d times not shown", hidden.times);
    if (hidden.times) print_table(title, &hidden, has);
    printf("\nW: mean distance between matched histograms of the columns; JSD: mean Jensen-Shannon divergence; corr: mean error of correlations; energy: joint energy distance, W2 over\n"
           "%d directions and MMD2 (Gaussian): columns in units of their deviation, %d rows of each side at most; W1: exact transport, %d rows, as they are; NLL: nats a state.\n", DIRECTIONS, points, exact);
    printf(floor_file ? "floor: %s against the test.\n" : "floor: one half of the test against the other%s; with --floor FILE: other data of the same law.\n", floor_file ? floor_file : "");
    if (!train_file) printf("Baselines need the training data: --train FILE.\n");
    if (used < test.count) printf("%d times of the test lie outside the model's (%g to %g).\n", test.count - used, m.start, m.end);
    if (outside) printf("%zu of %zu rows lie outside what the model knows, and are left out of NLL.\n", outside, rows);
    wf_arena_free(m.A);
    wf_arena_free(A);
    return 0;
}

/* ---- simulate ---- */

static int run_simulate(int argc, char **argv)
{
    const char *system = NULL, *out = NULL, *at = NULL;
    int seed = 1, threads = 0, json = 0, quiet = 0, runs = 1000, print = 0;
    wf_simulate_desc d = { 0 };
    const option_t options[] = {
        { "runs", "trajectories", 'i', &runs }, { "times", "0,1,2.5 or FROM:TO:POINTS or a file; default: those of the system", 's', &at },
        { "frozen", "hold rates that change with time from event to event, as the published data do: not exact", 'b', &d.frozen },
        { "leap", "> 0: tau-leaping, not exact: no rate changes by more than this part in a leap; 0.03 is usual", 'd', &d.leap }, { "longest", "no leap is longer; needed where rates are functions of time", 'd', &d.longest },
        { "out", "a file .npy (trajectories x times x species) or .csv (time, species); default: CSV to the standard output", 's', &out },
        { "print", "print the text of the system instead, to change it", 'b', &print },
        { "seed", "of everything random", 'i', &seed }, { "threads", "0: all; results are the same", 'i', &threads }, { "json", "print one line of JSON; needs --out", 'b', &json }, { "quiet", "no progress", 'b', &quiet },
        { NULL, NULL, 0, NULL },
    };
    if (!read_options(argc, argv, "weightflow simulate SYSTEM [options]: trajectories of a stochastic reaction system\n\nSYSTEM: epidemic, toggle, cascade1, cascade2, walk, or a text file (see --print, and the chapter \"Systems\")", options, &system, 1)) end(2, "which system? (see --help)");
    at_least("runs", runs, 1, 1000000000);
    at_least("threads", threads, 0, 1024);
    if (!(d.leap >= 0 && d.leap <= 1)) end(2, "--leap %g: from 0 to 1", d.leap);
    if (!(d.longest >= 0)) end(2, "--longest %g: must not be negative", d.longest);
    if (out && !suffix(out, ".csv") && !suffix(out, ".npy")) end(2, "--out %s: a name that ends in .csv or .npy", out);
    if (json && !out) end(2, "--json needs --out: the standard output is for one of them");
    int known = 0;
    for (int i = 0; wf_reactions_known(i); i++) known |= !strcmp(system, wf_reactions_known(i));
    if (print) {
        if (!known) end(2, "--print is for the systems that are built in");
        if (!wf_reactions_text(system)) end(1, "%s has no text: its propensities are a function", system);
        fputs(wf_reactions_text(system), stdout);
        return 0;
    }
    check_place(out);
    wf_arena *A = arena_new();
    if (!known && !strchr(system, '.') && !strchr(system, '/')) end(2, "%s: no such system; there are epidemic, toggle, cascade1, cascade2, walk; or name a text file", system);
    wf_reactions *w = known ? wf_reactions_named(A, system) : wf_reactions_read(A, system);
    if (!w) fail(A, NULL);
    size_t T = (size_t)w->times, k = (size_t)w->system.species, n = (size_t)runs;
    double *times = NULL;
    if (at) times = read_times(A, at, &T);
    if (!T) end(1, "%s: says no times; give --times", system);
    if ((double)n * (double)T * (double)k > 2e9) end(1, "%zu trajectories at %zu times of %zu species are too many for one file", n, T, k);
    progress_t bar = { 0 };
    bar.quiet = json || quiet;
    bar.terminal = isatty(2);
    d.seed = (uint64_t)seed;
    d.threads = threads;
    d.progress = progress_show;
    d.progress_user = &bar;
    int32_t *x = room(A, n * T * k, sizeof *x);
    double start = seconds();
    if (wf_reactions_simulate(A, w, times, T, n, &d, x) < 0) fail(A, NULL);
    progress_end(&bar);
    double took = seconds() - start;
    if (out && suffix(out, ".npy")) {
        size_t shape[3] = { n, T, k };
        wf_array a = wf_array_of(x, WF_DTYPE_I32, 3, shape);
        if (wf_npy_save(A, out, &a) < 0) fail(A, NULL);
    } else {
        const char **names = room(A, k + 1, sizeof *names);
        wf_table t = { n * T, k + 1, room(A, n * T * (k + 1), sizeof(double)), names };
        names[0] = "time";
        for (size_t c = 0; c < k; c++) names[c + 1] = w->species[c];
        for (size_t r = 0; r < n * T; r++) { /* sorted by time */
            size_t i = r % n, at_time = r / n;
            t.data[r * (k + 1)] = times ? times[at_time] : w->from + (w->to - w->from) * (double)at_time / (double)(T - 1);
            for (size_t c = 0; c < k; c++) t.data[r * (k + 1) + c + 1] = x[(i * T + at_time) * k + c];
        }
        save_table(A, out, &t);
    }
    if (json) {
        printf("{\"tool\":\"simulate\",\"system\":");
        json_text(w->name);
        printf(",\"runs\":%d,\"times\":%zu,\"species\":%zu,\"out\":", runs, T, k);
        json_text(out);
        printf(",\"seconds\":%.3f,\"seed\":%d}\n", took, seed);
    } else if (out && !quiet) printf("%s: %d trajectories, %zu times, %zu species, %.2f s; wrote %s\n", w->name, runs, T, k, took, out);
    wf_arena_free(A);
    return 0;
}

/* ---- info ---- */

static void info_model(const char *file, const wf_tensors *t, int json)
{
    model_t m = model_read(file, NULL);
    const wf_weight_path_desc *d = wf_weight_path_about(m.path);
    int64_t made[3];
    double at[2];
    size_t numbers = 0;
    wf_weight_path_progress(m.path, made, at);
    for (size_t i = 0; i < t->count; i++) numbers += t->entry[i].array.count;
    if (json) {
        printf("{\"tool\":\"info\",\"what\":\"model\",\"kind\":\"%s\",\"states\":%d,\"backbone\":\"%s\",\"output\":\"%s\",\"components\":%d,\"layers\":%d,\"from\":%.17g,\"to\":%.17g,\"snapshots\":%d,\"hidden\":%d,\"weights\":%zu,\"updates\":[%lld,%lld,%lld],\"curve\":\"%s\",\"field\":\"%s\",\"columns\":[", m.counts ? "counts" : "continuous",
               d->states, backbones[d->backbone], outputs[d->output], d->components, d->layers, m.start, m.end, m.shown, d->hidden, wf_weight_path_size(m.path), (long long)made[0], (long long)made[1], (long long)made[2], curves[d->curve == 1], fields[d->field > 0 && d->field < 3 ? d->field : 0]);
        for (int j = 0; j < m.dim; j++) { if (j) putchar(','); json_text(m.names[j]); }
        printf("],\"bridge\":");
        json_text(m.about);
        printf("}\n");
        wf_arena_free(m.A);
        return;
    }
    printf("%s: a moving distribution of %d %s from time %g to %g\ncolumns:", file, m.dim, m.counts ? "counts" : "continuous numbers", m.start, m.end);
    for (int j = 0; j < m.dim; j++) printf(" %s", m.names[j]);
    if (d->components) printf("\neach a mixture of %d %s; ", d->components, d->output == WF_OUTPUT_LOGISTICS ? "logistics" : "Gaussians");
    else printf("\n%d %s of each; ", d->states, m.counts ? "states" : "bins");
    printf("fitted to %d snapshots at", m.shown);
    for (int i = 0; i < m.shown && i < 20; i++) printf(" %g", m.times[i]);
    printf("%s\nbetween them: %s\n", m.shown > 20 ? " ..." : "", m.about);
    printf("backbone: %s, %d layers of %d units, %zu weights that move; curve: %s, %lld of %d updates made; field: %s\n", backbones[d->backbone], d->layers, d->hidden, wf_weight_path_size(m.path), curves[d->curve == 1], (long long)made[0], d->updates, fields[d->field > 0 && d->field < 3 ? d->field : 0]);
    if (m.row) printf("samples: %d rows of the bridge at each of %d times; likelihoods: those of the network\n", m.row_kept, m.row_count);
    printf("%zu arrays with %zu numbers; from Python: safetensors.numpy.load_file(\"%s\")\n", t->count, numbers, file);
    wf_arena_free(m.A);
}

static void info_tensors(const char *file, const wf_tensors *t, int json)
{
    if (json) printf("{\"tool\":\"info\",\"what\":\"safetensors\",\"arrays\":%zu,\"notes\":%zu}\n", t->count, t->notes);
    else {
        printf("%s: %zu arrays, not a model of this tool\n", file, t->count);
        for (size_t i = 0; i < t->count && i < 100; i++) {
            printf("  %-40s %s [", t->entry[i].name, wf_dtype_name(t->entry[i].array.dtype));
            for (int k = 0; k < t->entry[i].array.nd; k++) printf("%s%zu", k ? ", " : "", t->entry[i].array.shape[k]);
            printf("]\n");
        }
    }
}

static void info_data(const data_t *d, int json)
{
    double most;
    char why[320] = "";
    int counts = data_counts(d, &most, why, sizeof why);
    if (json) {
        printf("{\"tool\":\"info\",\"what\":\"data\",\"kind\":\"%s\",\"times\":%d,\"rows\":%zu,\"columns\":%d}\n", counts && most < STATES_MAX ? "counts" : "continuous", d->count, d->rows, d->dim);
        return;
    }
    printf("%s: %zu rows at %d times from %g to %g; %s\n%12s %8s", d->path, d->rows, d->count, d->times[0], d->times[d->count - 1], counts ? most < STATES_MAX ? "counts" : "whole numbers, too large to be learned as counts" : "continuous numbers", "time", "rows");
    for (int j = 0; j < d->dim && j < 8; j++) printf("  %20s", d->names[j]);
    printf("%s\n", d->dim > 8 ? "  ..." : "");
    for (int k = 0; k < d->count; k++) {
        if (d->count > 24 && k == 12) { printf("         ...\n"); k = d->count - 12; }
        printf("%12g %8zu", d->times[k], d->n[k]);
        for (int j = 0; j < d->dim && j < 8; j++) {
            double mean = 0, square = 0;
            for (size_t i = 0; i < d->n[k]; i++) {
                double v = d->x[k][i * (size_t)d->dim + (size_t)j], before = mean;
                mean += (v - mean) / (double)(i + 1);
                square += (v - mean) * (v - before);
            }
            printf("  %10.4g (%7.3g)", mean, sqrt(square / (double)d->n[k]));
        }
        printf("\n");
    }
    printf("mean (standard deviation) of each column\n");
}

static void info_system(const wf_reactions *w, int json)
{
    if (json) {
        printf("{\"tool\":\"info\",\"what\":\"system\",\"name\":");
        json_text(w->name);
        printf(",\"species\":%d,\"reactions\":%d,\"times\":%d}\n", w->system.species, w->system.reactions, w->times);
        return;
    }
    printf("%s: %d species, %d reactions", w->name, w->system.species, w->system.reactions);
    if (w->times) printf("; %d times from %g to %g", w->times, w->from, w->to);
    printf("\n");
    for (int j = 0; j < w->system.species; j++)
        if (w->low[j] == w->high[j]) printf("  %s starts at %d\n", w->species[j], (int)w->low[j]);
        else printf("  %s starts anywhere from %d to %d\n", w->species[j], (int)w->low[j], (int)w->high[j]);
}

static int run_info(int argc, char **argv)
{
    source_t s = { NULL, NULL, NULL, NULL, 1, 1 };
    const char *file = NULL;
    int json = 0;
    const option_t options[] = { SOURCE_OPTIONS(s), { "json", "print one line of JSON", 'b', &json }, { NULL, NULL, 0, NULL } };
    if (!read_options(argc, argv, "weightflow info FILE [options]: what a model (.safetensors), data (.npy, .csv) or a system (.txt, or a name) hold", options, &file, 1)) end(2, "which file? (see --help)");
    wf_arena *A = arena_new();
    int known = 0;
    for (int i = 0; wf_reactions_known(i); i++) known |= !strcmp(file, wf_reactions_known(i));
    if (suffix(file, ".safetensors") || suffix(file, ".checkpoint")) {
        wf_tensors *t = wf_tensors_read(A, file);
        if (!t) fail(A, NULL);
        if (wf_tensors_about(t, "tool.kind")) info_model(file, t, json);
        else info_tensors(file, t, json);
    } else if (known || suffix(file, ".txt")) {
        wf_reactions *w = known ? wf_reactions_named(A, file) : wf_reactions_read(A, file);
        if (!w) fail(A, NULL);
        info_system(w, json);
    } else {
        data_t d = read_data(A, file, &s);
        info_data(&d, json);
    }
    wf_arena_free(A);
    return 0;
}

/* ---- the command ---- */

static const char help[] =
    "weightflow: learn a moving distribution from snapshots\n\n"
    "  weightflow fit DATA            learn; writes model.safetensors\n"
    "  weightflow predict MODEL       samples, marginals, log-likelihoods at any time\n"
    "  weightflow evaluate MODEL TEST every measure against data that was not seen, baselines and floors beside\n"
    "  weightflow simulate SYSTEM     trajectories of a stochastic system, from the book or from a text file\n"
    "  weightflow info FILE           what a model, data or a system hold\n\n"
    "Each with its own --help. Files: .npy, .csv; models are .safetensors.\n\n"
    "examples:\n"
    "  weightflow simulate epidemic --runs 1000 --frozen --seed 1 --out train.npy\n"
    "  weightflow simulate epidemic --runs 1000 --frozen --seed 2 --out test.npy\n"
    "  weightflow fit train.npy --every 10 --dt 0.5 --out epidemic.safetensors --report fit.svg\n"
    "  weightflow evaluate epidemic.safetensors test.npy --dt 0.5 --train train.npy --report test.svg\n"
    "  weightflow predict epidemic.safetensors --at 2.5,7.25 --samples 1000 --out samples.csv\n"
    "  weightflow predict epidemic.safetensors --at 0:50:101 --marginals --out marginals.npy\n"
    "  weightflow predict epidemic.safetensors --log-prob cases.csv --out scored.csv\n"
    "  weightflow fit cells.csv --time-column day --kind continuous\n"
    "  weightflow simulate toggle --print > mine.txt\n\n"
    "Exit status: 0 done; 1 something is wrong with a file or its content; 2 with the command; 130 interrupted, and a checkpoint is written.\n\n"
    "options:\n"
    "  --help         this text\n"
    "  --version      the version\n";

int main(int argc, char **argv)
{
    static const struct { const char *name, *full; int (*run)(int, char **); } commands[] = {
        { "fit", "weightflow fit", run_fit }, { "predict", "weightflow predict", run_predict }, { "evaluate", "weightflow evaluate", run_evaluate },
        { "simulate", "weightflow simulate", run_simulate }, { "info", "weightflow info", run_info } };
    if (argc < 2) { fputs(help, stderr); return 2; }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) { fputs(help, stdout); return 0; }
    if (!strcmp(argv[1], "--version")) { printf("weightflow %s\n", WF_VERSION_STRING); return 0; }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[1], commands[i].name)) continue;
        command = commands[i].full;
        int status = commands[i].run(argc - 1, argv + 1);
        if (fflush(stdout) || ferror(stdout)) end(1, "cannot write to the standard output");
        return status;
    }
    end(2, "%s: not a command: fit, predict, evaluate, simulate, info (see --help)", argv[1]);
    return 2;
}
