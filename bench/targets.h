/* Densities with known normalising constants, as energies of tiles. Shared by bench/bench_particles.c, tests/test_samplers.c and examples. Include after weightflow.h.

   Each energy is -log of the unnormalised density, additive constants included, so that log Z is what the table says. Sources of the definitions and constants:
   the header comments of the functions. Coordinate i of particle l of a tile is x[i * WF_LANES + l]. */
#ifndef WF_TARGETS_H
#define WF_TARGETS_H
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function" /* not every program needs all of them */
#if !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O3") /* loops over lanes as vectors */
#endif
#endif
#define TARGET_LOG_2PI 1.8378770664093453

/* What an energy needs to know. One thread makes it, any thread reads it. */
typedef struct target {
    const char *name;
    int dim;
    double truth, truth_error;      /* log Z, and how well it is known (0: to all digits given) */
    wf_energy_fn energy;
    const wf__kernels *kernels;     /* for exp of a row */
    double *data;                   /* whatever it needs */
    int rows, columns;
    float *matrix, *vector;         /* [dim][dim], [dim] */
    double constant;
    const struct target *inner;     /* of a whitened target */
} target;

static target target_new(const char *name, int dim, double truth, wf_energy_fn energy)
{
    target t;
    memset(&t, 0, sizeof t);
    t.name = name;
    t.dim = dim;
    t.truth = truth;
    t.energy = energy;
    t.kernels = wf__kernels_for(WF_ISA_AUTO, 0);
    return t;
}

static void target_free(target *t)
{
    free(t->data);
    free(t->matrix);
    free(t->vector);
    t->data = NULL;
    t->matrix = t->vector = NULL;
}

/* ---- a funnel (Neal 2003): x0 ~ N(0, 9), and given x0 the others ~ N(0, e^x0). log Z = 0 ---- */

static void funnel_energy(void *user, const wf_tile *tile, double *energy, float *gradient)
{
    const float *x = tile->x;
    float square[WF_LANES] = { 0 }, e[WF_LANES];
    int d = tile->dim;
    (void)user;
    for (int i = 1; i < d; i++) for (int l = 0; l < WF_LANES; l++) square[l] += x[i * WF_LANES + l] * x[i * WF_LANES + l];
    for (int l = 0; l < WF_LANES; l++) {
        e[l] = expf(-x[l]);
        energy[l] = (double)x[l] * (double)x[l] / 18 + 0.5 * (double)(e[l] * square[l]) + 0.5 * (d - 1) * (double)x[l] + log(3.0) + 0.5 * d * TARGET_LOG_2PI;
    }
    if (!gradient) return;
    for (int l = 0; l < WF_LANES; l++) gradient[l] = x[l] / 9 - 0.5f * e[l] * square[l] + 0.5f * (float)(d - 1);
    for (int i = 1; i < d; i++) for (int l = 0; l < WF_LANES; l++) gradient[i * WF_LANES + l] = e[l] * x[i * WF_LANES + l];
}

/* A path to it: at time t the others are N(0, e^(t x0)), so the coupling is switched on and x0 keeps its law. Between a normal law and the funnel, in contrast, neck and mouth are nearly empty until the very end. */
static void funnel_path_energy(void *user, const wf_tile *tile, double *energy, float *gradient)
{
    const float *x = tile->x;
    float square[WF_LANES] = { 0 }, e[WF_LANES], t = (float)tile->t;
    int d = tile->dim;
    (void)user;
    for (int i = 1; i < d; i++) for (int l = 0; l < WF_LANES; l++) square[l] += x[i * WF_LANES + l] * x[i * WF_LANES + l];
    for (int l = 0; l < WF_LANES; l++) {
        e[l] = expf(-t * x[l]);
        energy[l] = (double)x[l] * (double)x[l] / 18 + 0.5 * (double)(e[l] * square[l]) + 0.5 * (d - 1) * (double)(t * x[l]) + log(3.0) + 0.5 * d * TARGET_LOG_2PI;
    }
    if (!gradient) return;
    for (int l = 0; l < WF_LANES; l++) gradient[l] = x[l] / 9 + 0.5f * t * ((float)(d - 1) - e[l] * square[l]);
    for (int i = 1; i < d; i++) for (int l = 0; l < WF_LANES; l++) gradient[i * WF_LANES + l] = e[l] * x[i * WF_LANES + l];
}

static target target_funnel(void) { return target_new("funnel-10", 10, 0.0, funnel_energy); }

/* ---- many wells: 16 pairs of a double well x^4 - 6 x^2 - x/2 and a normal law. log Z by quadrature ---- */

static void many_well_energy(void *user, const wf_tile *tile, double *energy, float *gradient)
{
    float sum[WF_LANES] = { 0 };
    (void)user;
    for (int i = 0; i + 1 < tile->dim; i += 2) {
        const float *x = tile->x + i * WF_LANES, *y = x + WF_LANES;
        for (int l = 0; l < WF_LANES; l++) sum[l] += x[l] * (x[l] * (x[l] * x[l] - 6) - 0.5f) + 0.5f * y[l] * y[l];
        if (!gradient) continue;
        float *g = gradient + i * WF_LANES, *h = g + WF_LANES;
        for (int l = 0; l < WF_LANES; l++) { g[l] = x[l] * (4 * x[l] * x[l] - 12) - 0.5f; h[l] = y[l]; }
    }
    for (int l = 0; l < WF_LANES; l++) energy[l] = (double)sum[l];
}

static target target_many_well(void) { return target_new("MW32", 32, 164.6956753132, many_well_energy); }

/* ---- the same idea without a tilt: sum of (x^2 - 4)^2 over five coordinates. log Z by quadrature ---- */

static void symmetric_well_energy(void *user, const wf_tile *tile, double *energy, float *gradient)
{
    float sum[WF_LANES] = { 0 };
    (void)user;
    for (int i = 0; i < tile->dim; i++) {
        const float *x = tile->x + i * WF_LANES;
        for (int l = 0; l < WF_LANES; l++) sum[l] += (x[l] * x[l] - 4) * (x[l] * x[l] - 4);
        if (gradient) for (int l = 0; l < WF_LANES; l++) gradient[i * WF_LANES + l] = 4 * x[l] * (x[l] * x[l] - 4);
    }
    for (int l = 0; l < WF_LANES; l++) energy[l] = (double)sum[l];
}

static target target_symmetric_well(void) { return target_new("MW54", 5, -0.541055512880, symmetric_well_energy); }

/* ---- forty normal laws in the plane, centres uniform in [-40, 40]^2 by our own generator, sd softplus(1). log Z = 0 ---- */

enum { GMM_MODES = 40 };
#define GMM_SD 1.3132616875182228

static void gmm_energy(void *user, const wf_tile *tile, double *energy, float *gradient)
{
    const target *t = (const target *)user;
    const float *x = tile->x, *y = x + WF_LANES, scale = (float)(1 / (GMM_SD * GMM_SD));
    float u[GMM_MODES * WF_LANES], least[WF_LANES], sum[WF_LANES] = { 0 }, gx[WF_LANES] = { 0 }, gy[WF_LANES] = { 0 };
    for (int l = 0; l < WF_LANES; l++) least[l] = 3e38f;
    for (int k = 0; k < GMM_MODES; k++) {
        float a = (float)t->data[2 * k], b = (float)t->data[2 * k + 1], *v = u + k * WF_LANES;
        for (int l = 0; l < WF_LANES; l++) {
            v[l] = 0.5f * scale * ((x[l] - a) * (x[l] - a) + (y[l] - b) * (y[l] - b));
            least[l] = v[l] < least[l] ? v[l] : least[l];
        }
    }
    for (int k = 0; k < GMM_MODES; k++) for (int l = 0; l < WF_LANES; l++) u[k * WF_LANES + l] = least[l] - u[k * WF_LANES + l];
    t->kernels->unary[WF__EXP](u, u, GMM_MODES * WF_LANES);
    for (int k = 0; k < GMM_MODES; k++) {
        float a = (float)t->data[2 * k], b = (float)t->data[2 * k + 1], *v = u + k * WF_LANES;
        for (int l = 0; l < WF_LANES; l++) {
            sum[l] += v[l];
            gx[l] += v[l] * (x[l] - a);
            gy[l] += v[l] * (y[l] - b);
        }
    }
    for (int l = 0; l < WF_LANES; l++) energy[l] = (double)least[l] - log((double)sum[l]) + t->constant;
    if (gradient) for (int l = 0; l < WF_LANES; l++) { gradient[l] = gx[l] / sum[l] * scale; gradient[WF_LANES + l] = gy[l] / sum[l] * scale; }
}

static target target_gmm(void)
{
    target t = target_new("GMM-40", 2, 0.0, gmm_energy);
    t.data = (double *)malloc(2 * GMM_MODES * sizeof *t.data);
    for (int i = 0; t.data && i < 2 * GMM_MODES; i++) t.data[i] = 80 * wf_uniform_at(40, (uint64_t)(i / 2), 0, (uint32_t)(i % 2), 0) - 40;
    t.constant = log((double)GMM_MODES) + TARGET_LOG_2PI + 2 * log(GMM_SD);
    return t;
}

/* ---- Brownian motion with unknown scales and a gap in the data (inference gym): log s, log r ~ N(0, 4), x_1 ~ N(0, s^2), x_t ~ N(x_(t-1), s^2), y_t ~ N(x_t, r^2).
   log Z from Kalman's filter and a fine grid in (log s, log r) ---- */

static const double brownian_data[20] = { 0.21592641, 0.118771404, -0.07945447, 0.037677474, -0.27885845, -0.1484156, -0.3250906, -0.22957903, -0.44110894, -0.09830782,
                                          -0.8786016, -0.83736074, -0.7384849, -0.8939254, -0.7774566, -0.70238715, -0.87771565, -0.51853573, -0.6948214, -0.6202789 };

/* Coordinates: a, b = log s, log r; where x_t is seen, e_t = (y_t - x_t) / r; in the gap, z_t = (x_t - x_(t-1)) / s. Then the posterior has no neck: its tail towards small r, where x follows
   the data exactly, is as wide as the rest. log Z does not depend on coordinates. */
static void brownian_energy(void *user, const wf_tile *tile, double *energy, float *gradient)
{
    const float *a = tile->x, *b = a + WF_LANES, *z = b + WF_LANES;
    float s[WF_LANES], is[WF_LANES], r[WF_LANES], x[WF_LANES] = { 0 }, sum[WF_LANES], back[WF_LANES] = { 0 }, da[WF_LANES], db[WF_LANES], slope[30][WF_LANES]; /* (x_t - x_(t-1)) / s^2 */
    (void)user;
    for (int l = 0; l < WF_LANES; l++) {
        s[l] = expf(a[l]);
        is[l] = 1 / (s[l] * s[l]);
        r[l] = expf(b[l]);
        sum[l] = (a[l] * a[l] + b[l] * b[l]) / 8 + 20 * a[l];
        da[l] = 0.25f * a[l] + 20;
        db[l] = 0.25f * b[l];
    }
    for (int t = 0; t < 30; t++) {
        const float *v = z + t * WF_LANES;
        float y = (float)brownian_data[t < 10 ? t : t < 20 ? 0 : t - 10], gap = t >= 10 && t < 20 ? 1.0f : 0.0f;
        for (int l = 0; l < WF_LANES; l++) {
            float next = gap > 0 ? x[l] + s[l] * v[l] : y - r[l] * v[l], d = next - x[l];
            slope[t][l] = (1 - gap) * d * is[l];
            sum[l] += 0.5f * (v[l] * v[l] + slope[t][l] * d);
            da[l] -= slope[t][l] * d;
            x[l] = next;
        }
    }
    for (int l = 0; l < WF_LANES; l++) energy[l] = (double)sum[l] + 2 * log(2.0) + 26 * TARGET_LOG_2PI;
    for (int t = 29; gradient && t >= 0; t--) {
        const float *v = z + t * WF_LANES;
        float *g = gradient + (2 + t) * WF_LANES, gap = t >= 10 && t < 20 ? 1.0f : 0.0f;
        for (int l = 0; l < WF_LANES; l++) {
            float move = back[l] + slope[t][l], rs = gap * s[l] - (1 - gap) * r[l];
            g[l] = v[l] + rs * move;
            da[l] += gap * move * s[l] * v[l];
            db[l] -= (1 - gap) * move * r[l] * v[l];
            back[l] = gap * back[l] - (1 - gap) * slope[t][l];
        }
    }
    for (int l = 0; gradient && l < WF_LANES; l++) { gradient[l] = da[l]; gradient[WF_LANES + l] = db[l]; }
}

static target target_brownian(void) { return target_new("Brownian-32", 32, 1.1877491032, brownian_energy); }

/* ---- logistic regression with a normal prior, labels 0 and 1; `rows` of `columns` numbers, of which the first is the label and the second 1 ---- */

static void logistic_energy(void *user, const wf_tile *tile, double *energy, float *gradient)
{
    const target *t = (const target *)user;
    int d = t->dim;
    double sum[WF_LANES] = { 0 };
    if (gradient) memcpy(gradient, tile->x, (size_t)d * WF_LANES * sizeof *gradient);
    for (int i = 0; i < d; i++) for (int l = 0; l < WF_LANES; l++) sum[l] += 0.5 * (double)tile->x[i * WF_LANES + l] * (double)tile->x[i * WF_LANES + l];
    for (int r = 0; r < t->rows; r += WF_LANES) { /* as products of matrices, 64 rows at a time */
        float a[WF_LANES * WF_LANES], p[WF_LANES * WF_LANES];
        const float *row = t->matrix + r * d;
        size_t rows = (size_t)(t->rows - r < WF_LANES ? t->rows - r : WF_LANES), all = rows * WF_LANES;
        t->kernels->gemm(a, WF_LANES, row, d, 1, tile->x, WF_LANES, rows, WF_LANES, (size_t)d, 0, NULL, 0);
        t->kernels->unary[WF__SOFTPLUS](p, a, all);
        for (size_t i = 0; i < all; i++) sum[i % WF_LANES] += (double)(p[i] - t->vector[(size_t)r + i / WF_LANES] * a[i]);
        if (!gradient) continue;
        t->kernels->unary[WF__SIGMOID](p, a, all);
        for (size_t i = 0; i < all; i++) p[i] -= t->vector[(size_t)r + i / WF_LANES];
        t->kernels->gemm(gradient, WF_LANES, row, 1, d, p, WF_LANES, (size_t)d, WF_LANES, rows, 1, NULL, 0);
    }
    for (int l = 0; l < WF_LANES; l++) energy[l] = sum[l] + t->constant;
}

/* From rows of features [n][k] and labels; features are brought to mean 0 and (population) sd 1, and a column of ones comes first. */
static target target_logistic(const char *name, const double *features, const double *labels, int n, int k, double truth)
{
    target t = target_new(name, k + 1, truth, logistic_energy);
    t.rows = n;
    t.matrix = (float *)malloc((size_t)n * (size_t)(k + 1) * sizeof(float));
    t.vector = (float *)malloc((size_t)n * sizeof(float));
    t.constant = 0.5 * (k + 1) * TARGET_LOG_2PI;
    for (int r = 0; r < n && t.matrix && t.vector; r++) { t.matrix[r * (k + 1)] = 1; t.vector[r] = (float)labels[r]; }
    for (int j = 0; j < k && t.matrix && t.vector; j++) {
        double mean = 0, square = 0;
        for (int r = 0; r < n; r++) mean += features[r * k + j] / n;
        for (int r = 0; r < n; r++) square += (features[r * k + j] - mean) * (features[r * k + j] - mean) / n;
        for (int r = 0; r < n; r++) t.matrix[r * (k + 1) + j + 1] = (float)(square > 0 ? (features[r * k + j] - mean) / sqrt(square) : 0);
    }
    return t;
}

/* "rows columns", then rows of features and a label of -1 or 1 (or 0 or 1) at the end. dim 0 where the file cannot be read. */
static target target_ionosphere(const char *shared)
{
    char path[600];
    int n = 0, k = 0;
    target t = target_new("Ionosphere", 0, -111.606, logistic_energy);
    snprintf(path, sizeof path, "%s/data/samplers/ionosphere.txt", shared);
    FILE *f = fopen(path, "r");
    if (!f) return t;
    if (fscanf(f, "%d %d", &n, &k) == 2 && n > 0 && n < 100000 && k > 0 && k < 1000) {
        double *x = (double *)malloc((size_t)n * (size_t)(k + 1) * sizeof *x), *y = x + (size_t)n * (size_t)k;
        int good = x != NULL;
        for (int r = 0; good && r < n; r++) {
            for (int j = 0; good && j < k; j++) good = fscanf(f, "%lf", x + r * k + j) == 1;
            good = good && fscanf(f, "%lf", y + r) == 1;
            y[r] = y[r] > 0;
        }
        if (good) t = target_logistic("Ionosphere", x, y, n, k, -111.606);
        free(x);
    }
    fclose(f);
    t.truth_error = 0.008;
    return t;
}

/* ---- linear changes of coordinates ---- */

/* a [n][n] = U^T U with U upper triangular, in place; the lower triangle is set to 0. 0 where a is not positive definite. */
static int target_cholesky(double *a, int n)
{
    for (int k = 0; k < n; k++) {
        double *u = a + (size_t)k * (size_t)n;
        if (!(u[k] > 0)) return 0;
        double root = sqrt(u[k]);
        for (int j = 0; j < k; j++) u[j] = 0;
        for (int j = k; j < n; j++) u[j] /= root;
        for (int i = k + 1; i < n; i++) {
            double *v = a + (size_t)i * (size_t)n, f = u[i];
            for (int j = i; j < n; j++) v[j] -= f * u[j];
        }
    }
    return 1;
}

static double target_log_det(const double *u, int n) /* of U^T U */
{
    double s = 0;
    for (int i = 0; i < n; i++) s += 2 * log(u[(size_t)i * (size_t)n + (size_t)i]);
    return s;
}

/* x [n][columns] becomes U^-T x */
static void target_solve_lower(const double *u, double *x, int n, int columns)
{
    for (int i = 0; i < n; i++) {
        const double *row = u + (size_t)i * (size_t)n;
        double *v = x + (size_t)i * (size_t)columns;
        for (int c = 0; c < columns; c++) v[c] /= row[i];
        for (int j = i + 1; j < n; j++) {
            double *w = x + (size_t)j * (size_t)columns, f = row[j];
            for (int c = 0; c < columns; c++) w[c] -= f * v[c];
        }
    }
}

static void target_solve_upper(const double *u, double *x, int n) /* x [n] becomes U^-1 x */
{
    for (int i = n; i-- > 0;) {
        for (int j = i + 1; j < n; j++) x[i] -= u[(size_t)i * (size_t)n + (size_t)j] * x[j];
        x[i] /= u[(size_t)i * (size_t)n + (size_t)i];
    }
}

/* The energy of x = mean + C z as one of z: what was long and narrow becomes round. log Z stays. */
static void whitened_energy(void *user, const wf_tile *tile, double *energy, float *gradient)
{
    const target *t = (const target *)user;
    float x[64 * WF_LANES], g[64 * WF_LANES];
    wf_tile inner = *tile;
    size_t d = (size_t)t->dim;
    t->kernels->gemm(x, WF_LANES, t->matrix, (ptrdiff_t)d, 1, tile->x, WF_LANES, d, WF_LANES, d, 0, t->vector, 0);
    inner.x = x;
    t->inner->energy((void *)(uintptr_t)t->inner, &inner, energy, gradient ? g : NULL);
    for (int l = 0; l < WF_LANES; l++) energy[l] += t->constant;
    if (gradient) t->kernels->gemm(gradient, WF_LANES, t->matrix, 1, (ptrdiff_t)d, g, WF_LANES, d, WF_LANES, d, 0, NULL, 0);
}

/* covariance [dim][dim], times `inflate`, in units of which the new coordinates count; dim at most 64. dim 0 where that fails. */
static target target_whiten(const target *inner, const double *mean, const double *covariance, double inflate)
{
    target t = target_new(inner->name, inner->dim, inner->truth, whitened_energy);
    int d = t.dim;
    double *u = (double *)malloc((size_t)d * (size_t)d * sizeof *u);
    t.truth_error = inner->truth_error;
    t.inner = inner;
    t.matrix = (float *)calloc((size_t)d * (size_t)d, sizeof(float));
    t.vector = (float *)malloc((size_t)d * sizeof(float));
    for (int i = 0; u && i < d * d; i++) u[i] = covariance[i] * inflate;
    if (!u || !t.matrix || !t.vector || d > 64 || !target_cholesky(u, d)) t.dim = 0;
    for (int i = 0; i < t.dim; i++) {
        t.vector[i] = (float)mean[i];
        for (int j = 0; j <= i; j++) t.matrix[i * d + j] = (float)u[j * d + i];
        t.constant -= log((double)t.matrix[i * d + i]); /* of the matrix that is used, after rounding */
    }
    free(u);
    return t;
}

/* ---- pines: a log-Gaussian Cox process on 40 x 40 cells. f ~ N(mu, K), sigma^2 = 1.91, mu = log 126 - sigma^2 / 2, K_ij = sigma^2 exp(-33 |i - j| / 40); log likelihood
   sum y f - e^f / 1600. Coordinates: z = L^-1 (f - f*), f* the mode and L L^T the covariance of Laplace's approximation; exactly
   energy = |z|^2/2 + sum lambda (e^d - 1 - d - d^2/2) + const with d = L z, lambda = e^f* / 1600. log Z by long runs: 501.6 +- 0.2, taken as +- 0.7 ---- */

enum { LGCP_SIDE = 40, LGCP = LGCP_SIDE * LGCP_SIDE };

static void lgcp_energy(void *user, const wf_tile *tile, double *energy, float *gradient)
{
    const target *t = (const target *)user;
    enum { BLOCK = 64 };
    float *d = (float *)malloc((size_t)LGCP * WF_LANES * 2 * sizeof *d), *e = d + LGCP * WF_LANES;
    for (int l = 0; l < WF_LANES; l++) energy[l] = d ? t->constant : (double)NAN;
    if (!d) return;
    for (size_t b = 0; b < LGCP; b += BLOCK) /* L is lower triangular */
        t->kernels->gemm(d + b * WF_LANES, WF_LANES, t->matrix + b * LGCP, LGCP, 1, tile->x, WF_LANES, BLOCK, WF_LANES, b + BLOCK, 0, NULL, 0);
    t->kernels->unary[WF__EXPM1](e, d, (size_t)LGCP * WF_LANES);
    for (int i = 0; i < LGCP; i++) {
        float lambda = t->vector[i], *v = d + i * WF_LANES, *w = e + i * WF_LANES;
        const float *z = tile->x + i * WF_LANES;
        for (int l = 0; l < WF_LANES; l++) {
            w[l] -= v[l];
            energy[l] += (double)(0.5f * z[l] * z[l] + lambda * (w[l] - 0.5f * v[l] * v[l]));
            w[l] *= lambda;
        }
    }
    if (gradient)
        for (size_t b = 0; b < LGCP; b += BLOCK) {
            t->kernels->gemm(gradient + b * WF_LANES, WF_LANES, t->matrix + b * LGCP + b, 1, LGCP, e + b * WF_LANES, WF_LANES, BLOCK, WF_LANES, LGCP - b, 0, NULL, 0);
            for (size_t i = b * WF_LANES; i < (b + BLOCK) * WF_LANES; i++) gradient[i] += tile->x[i];
        }
    free(d);
}

/* laplace: Laplace's approximation of log Z. dim 0 where the file cannot be read. About ten seconds. */
static target target_lgcp(const char *shared, double *laplace)
{
    enum { N = LGCP };
    char path[600], line[256];
    double variance = 1.91, mu = log(126.0) - variance / 2, a, b, like = 0, quad = 0;
    target t = target_new("LGCP-1600", 0, 501.6, lgcp_energy);
    size_t size = (size_t)N * N * sizeof(double);
    double *K = (double *)malloc(size), *B = (double *)malloc(size), *V = (double *)malloc(size), *y = (double *)calloc(6 * N, sizeof *y);
    double *f = y + N, *w = f + N, *rhs = w + N, *s = rhs + N, *alpha = s + N;
    int count = 0, good = K && B && V && y;
    t.truth_error = 0.7;
    snprintf(path, sizeof path, "%s/data/samplers/pines_126.csv", shared);
    FILE *file = fopen(path, "r");
    while (good && file && fgets(line, sizeof line, file)) {
        const char *comma = strchr(line, ',');
        if (!comma || sscanf(comma, ",%lf,%lf", &a, &b) != 2) continue;
        int i = (int)(a * LGCP_SIDE), j = (int)(b * LGCP_SIDE);
        y[(i > 39 ? 39 : i) * LGCP_SIDE + (j > 39 ? 39 : j)]++;
        count++;
    }
    if (file) fclose(file);
    good = good && count == 126;
    for (int i = 0; good && i < N; i++) {
        f[i] = mu;
        for (int j = 0; j < N; j++) K[(size_t)i * N + (size_t)j] = variance * exp(-hypot(i / LGCP_SIDE - j / LGCP_SIDE, i % LGCP_SIDE - j % LGCP_SIDE) * 33 / 40);
    }
    for (int turn = 0; good && turn < 40; turn++) { /* Newton's method for the mode, in a form that inverts no K */
        double change = 0;
        for (int i = 0; i < N; i++) { w[i] = exp(f[i]) / N; s[i] = sqrt(w[i]); rhs[i] = w[i] * (f[i] - mu) + y[i] - w[i]; }
        for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) B[(size_t)i * N + (size_t)j] = s[i] * K[(size_t)i * N + (size_t)j] * s[j] + (i == j);
        good = target_cholesky(B, N);
        for (int i = 0; i < N; i++) { alpha[i] = 0; for (int j = 0; j < N; j++) alpha[i] += K[(size_t)i * N + (size_t)j] * rhs[j]; alpha[i] *= s[i]; }
        target_solve_lower(B, alpha, N, 1);
        target_solve_upper(B, alpha, N);
        for (int i = 0; i < N; i++) alpha[i] = rhs[i] - s[i] * alpha[i];
        for (int i = 0; i < N; i++) {
            double next = mu;
            for (int j = 0; j < N; j++) next += K[(size_t)i * N + (size_t)j] * alpha[j];
            if (fabs(next - f[i]) > change) change = fabs(next - f[i]);
            f[i] = next;
        }
        if (change < 1e-9) break;
    }
    for (int i = 0; good && i < N; i++) { like += y[i] * f[i] - exp(f[i]) / N; quad += alpha[i] * (f[i] - mu); }
    if (good) *laplace = like - 0.5 * quad - 0.5 * target_log_det(B, N);
    for (int i = 0; good && i < N; i++) for (int j = 0; j < N; j++) V[(size_t)i * N + (size_t)j] = s[i] * K[(size_t)i * N + (size_t)j];
    if (good) target_solve_lower(B, V, N, N);
    for (int k = 0; good && k < N; k++) /* K becomes the covariance, K - V^T V; its upper triangle is enough */
        for (int i = 0; i < N; i++) {
            const double *v = V + (size_t)k * N;
            double *c = K + (size_t)i * N, g = v[i];
            for (int j = i; j < N; j++) c[j] -= g * v[j];
        }
    good = good && target_cholesky(K, N);
    t.matrix = (float *)calloc((size_t)N * N, sizeof(float));
    t.vector = (float *)malloc(N * sizeof(float));
    if (good && t.matrix && t.vector) {
        t.dim = N;
        t.constant = 0.5 * N * TARGET_LOG_2PI - *laplace;
        for (int i = 0; i < N; i++) {
            t.vector[i] = (float)(exp(f[i]) / N);
            for (int j = 0; j <= i; j++) t.matrix[(size_t)i * N + (size_t)j] = (float)K[(size_t)j * N + (size_t)i];
        }
    }
    free(K);
    free(B);
    free(V);
    free(y);
    return t;
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
#endif
