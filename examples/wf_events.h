/* Events in space and time for the examples and the benchmark: read, standardise, count what occurs twice. Not a part of the library. */
#ifndef WF_EVENTS_H
#define WF_EVENTS_H
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct events_t { double *x, *t, *many; size_t n; } events_t; /* x[n][2], times, how often each occurs (once in `distinct`) */
typedef struct units_t { double mean[2], sd[2]; } units_t;

/* A CSV file with columns t, lon, lat. 0 and a message in `why` on failure. */
static int events_read(wf_arena *A, const char *path, events_t *e, char *why, size_t room)
{
    wf_table *t = wf_csv_read(A, path, NULL);
    static const char *const name[3] = { "t", "lon", "lat" };
    int at[3];
    if (!t) { snprintf(why, room, "%s", wf_arena_report(A)->text); return 0; }
    for (int k = 0; k < 3; k++)
        if ((at[k] = wf_table_column(t, name[k])) < 0) { snprintf(why, room, "%s: there is no column \"%s\"", path, name[k]); return 0; }
    e->n = t->rows;
    e->x = wf_alloc(A, 2 * e->n + 1, sizeof *e->x);
    e->t = wf_alloc(A, e->n + 1, sizeof *e->t);
    e->many = wf_alloc(A, e->n + 1, sizeof *e->many);
    if (!e->x || !e->t || !e->many) { snprintf(why, room, "%s", wf_arena_report(A)->text); return 0; }
    for (size_t i = 0; i < e->n; i++) {
        e->t[i] = t->data[i * t->columns + (size_t)at[0]];
        e->x[2 * i] = t->data[i * t->columns + (size_t)at[1]];
        e->x[2 * i + 1] = t->data[i * t->columns + (size_t)at[2]];
        e->many[i] = 1;
        if (!isfinite(e->t[i]) || !isfinite(e->x[2 * i]) || !isfinite(e->x[2 * i + 1])) { snprintf(why, room, "%s: event %zu has a coordinate or a time that is not a number", path, i); return 0; }
    }
    return 1;
}

static units_t events_units(const events_t *e)
{
    units_t u = { { 0, 0 }, { 0, 0 } };
    for (size_t i = 0; i < 2 * e->n; i++) u.mean[i % 2] += e->x[i] / (double)e->n;
    for (size_t i = 0; i < 2 * e->n; i++) u.sd[i % 2] += (e->x[i] - u.mean[i % 2]) * (e->x[i] - u.mean[i % 2]) / (double)(e->n - 1);
    for (int k = 0; k < 2; k++) u.sd[k] = sqrt(u.sd[k]);
    return u;
}

/* Standardise, then, if wanted, turn by 45 degrees: first across the arc of islands, then along. Neither changes areas by more than the units do. */
static void events_map(events_t *e, units_t u, int turn)
{
    for (size_t i = 0; i < e->n; i++) {
        double a = (e->x[2 * i] - u.mean[0]) / u.sd[0], b = (e->x[2 * i + 1] - u.mean[1]) / u.sd[1], r = sqrt(0.5);
        e->x[2 * i] = turn ? r * (b - a) : a;
        e->x[2 * i + 1] = turn ? r * (a + b) : b;
    }
}

/* One physical event: place and time of day. Windows of 30 days overlap, so that the same event stands in several. */
typedef struct event_key { long lon, lat, day; size_t row; } event_key;

static int event_key_order(const void *a, const void *b)
{
    const event_key *x = a, *y = b;
    if (x->lon != y->lon) return x->lon < y->lon ? -1 : 1;
    if (x->lat != y->lat) return x->lat < y->lat ? -1 : 1;
    if (x->day != y->day) return x->day < y->day ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}
static int event_same(const event_key *x, const event_key *y) { return x->lon == y->lon && x->lat == y->lat && x->day == y->day; }

static event_key *events_keys(wf_arena *A, const events_t *e)
{
    event_key *k = wf_alloc(A, e->n + 1, sizeof *k);
    for (size_t i = 0; k && i < e->n; i++) {
        event_key one = { lround(e->x[2 * i] * 1e6), lround(e->x[2 * i + 1] * 1e6), lround((e->t[i] - floor(e->t[i])) * 1e5) % 100000, i };
        k[i] = one;
    }
    if (k) qsort(k, e->n, sizeof *k, event_key_order);
    return k;
}

/* Each physical event once (before events_map); `many` says how often it stood there, which[i] (NULL: not wanted) which of them row i is. */
static events_t events_distinct(wf_arena *A, const events_t *e, size_t *which)
{
    events_t d = { wf_alloc(A, 2 * e->n + 1, sizeof *d.x), wf_alloc(A, e->n + 1, sizeof *d.t), wf_alloc(A, e->n + 1, sizeof *d.many), 0 };
    event_key *k = events_keys(A, e);
    if (!d.x || !d.t || !d.many || !k) return d;
    for (size_t i = 0; i < e->n; i++) {
        int again = i && event_same(&k[i], &k[i - 1]);
        if (which) which[k[i].row] = d.n - (size_t)again;
        if (again) { d.many[d.n - 1] += 1; continue; }
        memcpy(d.x + 2 * d.n, e->x + 2 * k[i].row, 2 * sizeof *d.x);
        d.t[d.n] = e->t[k[i].row];
        d.many[d.n++] = 1;
    }
    return d;
}

/* seen[i]: does event i of `test` stand in `train` too (before events_map)? */
static void events_seen(wf_arena *A, const events_t *train, const events_t *test, unsigned char *seen)
{
    event_key *a = events_keys(A, train), *b = events_keys(A, test);
    size_t i = 0;
    for (size_t k = 0; a && b && k < test->n; k++) {
        while (i < train->n && (a[i].lon < b[k].lon || (a[i].lon == b[k].lon && (a[i].lat < b[k].lat || (a[i].lat == b[k].lat && a[i].day < b[k].day))))) i++;
        seen[b[k].row] = i < train->n && event_same(&a[i], &b[k]);
    }
}

/* Mean of -log rho; `seen` not NULL: of events not seen. */
static double events_score(const double *log_density, const unsigned char *seen, size_t n)
{
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) if (!seen || !seen[i]) { sum -= log_density[i]; count++; }
    return sum / (double)count;
}
#endif
