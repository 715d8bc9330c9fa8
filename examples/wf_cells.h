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

/* Follow the cells: match each snapshot with the next by the least sum of squared distances, so that every cell of the first one starts a path; gather the paths in `groups`
   (Lloyd's iteration on whole paths), and start a law with as many components and a knot at each time: means along the groups' means, spreads `narrow` times those of their members.
   Snapshots of different sizes: as many cells as the smallest has. Needs about n^3 operations for each pair. */
static wf_result cells_start(wf_arena *A, wf_law *law, const cells_t *c, int groups, double narrow, double *matched)
{
    size_t n = c->n, dim = (size_t)c->dim, times = (size_t)c->times, row = dim * times, K = (size_t)groups;
    for (size_t k = 0; k < times; k++) if (c->first[k + 1] - c->first[k] < n) n = c->first[k + 1] - c->first[k];
    if (n < K) K = n;
    double *path = wf_alloc(A, n * row, sizeof *path), *cost = wf_alloc(A, n * n, sizeof *cost), *mean = wf_alloc(A, (size_t)groups * row, sizeof *mean), *spread = wf_alloc(A, (size_t)groups * row, sizeof *spread), *share = wf_alloc(A, (size_t)groups, sizeof *share), *all = wf_alloc(A, row, sizeof *all);
    int *next = wf_alloc(A, n, sizeof *next), *group = wf_alloc(A, n, sizeof *group);
    size_t *now = wf_alloc(A, n, sizeof *now);
    if (!path || !cost || !mean || !spread || !share || !all || !next || !group || !now) return WF_ERROR_MEMORY;
    for (size_t i = 0; i < n; i++) now[i] = i;
    for (size_t k = 0; k < times; k++) {
        const double *x = c->x + c->first[k] * dim, *y = k + 1 < times ? c->x + c->first[k + 1] * dim : NULL;
        for (size_t i = 0; i < n; i++) memcpy(path + i * row + k * dim, x + now[i] * dim, dim * sizeof *path);
        if (!y) break;
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            for (size_t l = 0; l < n; l++) {
                cost[i * n + l] = 0;
                for (size_t j = 0; j < dim; j++) cost[i * n + l] += (x[i * dim + j] - y[l * dim + j]) * (x[i * dim + j] - y[l * dim + j]);
            }
        wf_result r = wf_assignment(A, cost, n, next);
        if (r < 0) return r;
        for (size_t i = 0; i < n; i++) { sum += cost[now[i] * n + (size_t)next[now[i]]] / (double)n; now[i] = (size_t)next[now[i]]; }
        if (matched) matched[k] = sqrt(sum);
    }
    for (size_t k = 0; k < (size_t)groups; k++) memcpy(mean + k * row, path + (k * 97 % n) * row, row * sizeof *mean);
    for (int round = 0; round <= 30; round++) {
        for (size_t i = 0; i < n; i++) {
            double best = INFINITY;
            for (size_t k = 0; k < K; k++) {
                double far = 0;
                for (size_t j = 0; j < row; j++) far += (path[i * row + j] - mean[k * row + j]) * (path[i * row + j] - mean[k * row + j]);
                if (far < best) { best = far; group[i] = (int)k; }
            }
        }
        memset(share, 0, (size_t)groups * sizeof *share);
        memset(spread, 0, (size_t)groups * row * sizeof *spread);
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
    for (size_t k = 0; k < (size_t)groups; k++)
        for (size_t j = 0; j < row; j++) spread[k * row + j] = 1e-3 + narrow * 0.55 * sqrt((spread[k * row + j] + 2 * all[j]) / (share[k] + 1)); /* two members are lent to each group; 0.55: from a deviation to a logistic's scale */
    for (size_t k = 0; k < (size_t)groups; k++) share[k] += 1e-3;
    return wf_law_start_paths(law, mean, spread, share);
}
#endif
