/* Snapshots of cells for the example and the benchmark: principal components at five times. Not a part of the library. */
#ifndef WF_CELLS_H
#define WF_CELLS_H
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct cells_t { double *x, *t; size_t n; int dim, times; size_t first[17]; } cells_t; /* sorted by time: snapshot k is first[k] ... first[k + 1] - 1 */

/* A CSV file with columns ts (0, 1, ...) and pc1, pc2, ...; the first `dim` components. */
static int cells_read(wf_arena *A, const char *path, int dim, cells_t *c, char *why, size_t room)
{
    wf_table *t = wf_csv_read(A, path, NULL);
    int ts, pc;
    if (!t) { snprintf(why, room, "%s", wf_arena_report(A)->text); return 0; }
    ts = wf_table_column(t, "ts");
    pc = wf_table_column(t, "pc1");
    if (ts < 0 || pc < 0 || (size_t)(pc + dim) > t->columns) { snprintf(why, room, "%s: columns ts and pc1 ... pc%d are needed", path, dim); return 0; }
    c->n = t->rows;
    c->dim = dim;
    c->times = 0;
    c->x = wf_alloc(A, c->n * (size_t)dim, sizeof *c->x);
    c->t = wf_alloc(A, c->n, sizeof *c->t);
    if (!c->x || !c->t) { snprintf(why, room, "%s", wf_arena_report(A)->text); return 0; }
    for (size_t i = 0; i < c->n; i++) {
        double s = t->data[i * t->columns + (size_t)ts];
        if (!(s >= 0 && s < 16 && s == floor(s))) { snprintf(why, room, "%s: row %zu: the time %g is not a whole number from 0 to 15", path, i, s); return 0; }
        if (s >= c->times) c->times = (int)s + 1;
    }
    size_t at = 0;
    for (int k = 0; k < c->times; k++) {
        c->first[k] = at;
        for (size_t i = 0; i < c->n; i++) {
            if (t->data[i * t->columns + (size_t)ts] != k) continue;
            for (int j = 0; j < dim; j++) c->x[at * (size_t)dim + (size_t)j] = t->data[i * t->columns + (size_t)(pc + j)];
            c->t[at++] = k;
        }
        if (at == c->first[k]) { snprintf(why, room, "%s: there are no cells at time %d", path, k); return 0; }
    }
    c->first[c->times] = at;
    return 1;
}

/* Mean and standard deviation of each component over both files; the scale of all numbers that are reported. */
static void cells_units(const cells_t *a, const cells_t *b, double *mean, double *sd)
{
    double n = (double)(a->n + b->n);
    for (int j = 0; j < a->dim; j++) {
        double sum = 0, square = 0;
        for (int f = 0; f < 2; f++) {
            const cells_t *c = f ? b : a;
            for (size_t i = 0; i < c->n; i++) sum += c->x[i * (size_t)c->dim + (size_t)j] / n;
        }
        for (int f = 0; f < 2; f++) {
            const cells_t *c = f ? b : a;
            for (size_t i = 0; i < c->n; i++) square += pow(c->x[i * (size_t)c->dim + (size_t)j] - sum, 2) / n;
        }
        mean[j] = sum;
        sd[j] = sqrt(square);
    }
}

static void cells_scale(cells_t *c, const double *mean, const double *sd)
{
    for (size_t i = 0; i < c->n * (size_t)c->dim; i++) c->x[i] = (c->x[i] - mean[i % (size_t)c->dim]) / sd[i % (size_t)c->dim];
}
static wf_points cells_at(const cells_t *c, int k) { wf_points p = { c->x + c->first[k] * (size_t)c->dim, NULL, c->first[k + 1] - c->first[k], (size_t)c->dim }; return p; }

/* Follow the cells: match each snapshot with the next by the least sum of squared distances, so that every cell of the first one starts a path. path [n][times][dim]; matched, if given, the root of the mean
   square of each step. Snapshots of different sizes: as many cells as the smallest has. Needs about n^3 operations for each pair. Returns n, or 0. */
static size_t cells_follow(wf_arena *A, const cells_t *c, double *path, double *matched)
{
    size_t n = c->n, dim = (size_t)c->dim, times = (size_t)c->times, row = dim * times;
    for (size_t k = 0; k < times; k++) if (c->first[k + 1] - c->first[k] < n) n = c->first[k + 1] - c->first[k];
    double *cost = wf_alloc(A, n * n, sizeof *cost);
    int *next = wf_alloc(A, n, sizeof *next);
    size_t *now = wf_alloc(A, n, sizeof *now);
    if (!cost || !next || !now) return 0;
    for (size_t i = 0; i < n; i++) now[i] = i;
    for (size_t k = 0; k < times; k++) {
        const double *x = c->x + c->first[k] * dim, *y = k + 1 < times ? c->x + c->first[k + 1] * dim : NULL;
        for (size_t i = 0; i < n; i++) memcpy(path + i * row + k * dim, x + now[i] * dim, dim * sizeof *path);
        if (!y) break;
        double sum = 0;
        for (size_t i = 0; i < n * n; i++) {
            const double *a = x + i / n * dim, *b = y + i % n * dim;
            cost[i] = 0;
            for (size_t j = 0; j < dim; j++) cost[i] += (a[j] - b[j]) * (a[j] - b[j]);
        }
        if (wf_assignment(A, cost, n, next) < 0) return 0;
        for (size_t i = 0; i < n; i++) { sum += cost[now[i] * n + (size_t)next[now[i]]] / (double)n; now[i] = (size_t)next[now[i]]; }
        if (matched) matched[k] = sqrt(sum);
    }
    return n;
}

/* Gather n paths of `row` numbers in K groups (Lloyd's iteration on whole paths, from paths that `start` chooses): means, spreads `narrow` times those of the members (as scales of logistics), shares. */
static void cells_gather(const double *path, size_t n, size_t row, size_t K, size_t start, double narrow, int *group, double *all, double *mean, double *spread, double *share)
{
    for (size_t k = 0; k < K; k++) memcpy(mean + k * row, path + (k * 97 + start * 31) % n * row, row * sizeof *mean);
    for (int round = 0; round <= 30; round++) {
        for (size_t i = 0; i < n; i++) {
            double best = HUGE_VAL;
            for (size_t k = 0; k < K; k++) {
                double far = 0;
                for (size_t j = 0; j < row && far < best; j++) far += (path[i * row + j] - mean[k * row + j]) * (path[i * row + j] - mean[k * row + j]);
                if (far < best) { best = far; group[i] = (int)k; }
            }
        }
        memset(share, 0, K * sizeof *share);
        memset(spread, 0, K * row * sizeof *spread);
        memset(all, 0, row * sizeof *all);
        for (size_t i = 0; i < n; i++) {
            size_t k = (size_t)group[i];
            share[k] += 1;
            for (size_t j = 0; j < row; j++) {
                double off = path[i * row + j] - mean[k * row + j];
                spread[k * row + j] += round < 30 ? path[i * row + j] : off * off;
                all[j] += off * off / (double)n;
            }
        }
        for (size_t k = 0; k < K; k++)
            for (size_t j = 0; j < row && share[k] > 0; j++) if (round < 30) mean[k * row + j] = spread[k * row + j] / share[k];
    }
    for (size_t k = 0; k < K; k++)
        for (size_t j = 0; j < row; j++) spread[k * row + j] = 1e-3 + narrow * 0.55 * sqrt((spread[k * row + j] + 2 * all[j]) / (share[k] + 1)); /* two members are lent to each group; 0.55: from a deviation to a logistic's scale */
    for (size_t k = 0; k < K; k++) share[k] += 1e-3;
}

/* Start a law with a knot at each time and groups x clusterings components. One clustering draws hard lines between groups; the mean of several from different starts is a smoother density. */
static wf_result cells_start(wf_arena *A, wf_law *law, const cells_t *c, int groups, int clusterings, double narrow, double *matched)
{
    size_t row = (size_t)(c->dim * c->times), K = (size_t)groups, all = K * (size_t)clusterings;
    double *path = wf_alloc(A, c->n * row, sizeof *path), *mean = wf_alloc(A, all * row, sizeof *mean), *spread = wf_alloc(A, all * row, sizeof *spread), *share = wf_alloc(A, all, sizeof *share), *sums = wf_alloc(A, row, sizeof *sums);
    int *group = wf_alloc(A, c->n, sizeof *group);
    size_t n = path && mean && spread && share && sums && group ? cells_follow(A, c, path, matched) : 0;
    if (!n) return WF_ERROR_MEMORY;
    for (size_t r = 0; r < (size_t)clusterings; r++) cells_gather(path, n, row, K, r, narrow, group, sums, mean + r * K * row, spread + r * K * row, share + r * K);
    return wf_law_start_paths(law, mean, spread, share);
}
#endif
