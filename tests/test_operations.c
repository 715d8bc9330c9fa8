/* Every operation of the table: its values, its shape, its derivative, in every combination of spaces, tiles and instruction sets. */
#include "wf_core.h"
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_test.h"
#include "wf_slow.h"
#include <complex.h>
#undef I

/* --- one use of an operation ------------------------------------------------------------------------------------------------------------------------- */

/* What an argument is filled with. */
enum { REALS, POSITIVE, UNIT, ROWS, SORTED, TIES, MATRIX, TRIANGLE, APART };

typedef struct use use;
typedef struct row {
    int op;                                             /* the operation that this row tests */
    void (*choose)(dice *d, use *u);                    /* shapes, parameters, kinds of data, and the shape that must come out */
    wf_t (*build)(const use *u, const wf_t *a);
    void (*naive)(const use *u, double *const *a, double *y); /* for one sample; the formula of the book, from the arguments of the call */
    double (*real)(double);                             /* elementwise operations: the function, and the same with complex numbers */
    double complex (*complexly)(double complex);
} row;

struct use {
    const row *r;
    int args, nd[3], d[3][4], kind[3], p[8], ynd, yd[4];
    int constant[3]; /* an argument without a derivative */
};

static size_t count_of(int nd, const int *d) { size_t n = 1; for (int i = 0; i < nd; i++) n *= (size_t)d[i]; return n; }

static void shape(dice *d, int *nd, int *size, int most)
{
    do { *nd = pick(d, most + 1); for (int i = 0; i < *nd; i++) size[i] = 1 + pick(d, pick(d, 3) ? 4 : 9); } while (count_of(*nd, size) > 40);
}

static void same_shape(use *u, int k) { u->ynd = u->nd[k]; memcpy(u->yd, u->d[k], sizeof u->yd); }

/* --- elementwise -------------------------------------------------------------------------------------------------------------------------------------- */
static double f_neg(double x) { return -x; }
static double f_recip(double x) { return 1 / x; }
static double f_sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double f_softplus(double x) { return log1p(exp(x)); }
static double f_sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }
static double f_relu(double x) { return x > 0 ? x : 0; }
static double f_square(double x) { return x * x; }
static double f_round(double x) { double f = floor(x), r = x - f; return r < 0.5 ? f : r > 0.5 ? f + 1 : fmod(f, 2) == 0 ? f : f + 1; }
static double complex c_neg(double complex z) { return -z; }
static double complex c_recip(double complex z) { return 1 / z; }
static double complex c_expm1(double complex z) { return cexp(z) - 1; }
static double complex c_log1p(double complex z) { return clog(1 + z); }
static double complex c_sigmoid(double complex z) { return 1 / (1 + cexp(-z)); }
static double complex c_softplus(double complex z) { return clog(1 + cexp(z)); }
static double complex c_square(double complex z) { return z * z; }
static double complex c_erf(double complex z) /* the power series; in long double, and only for |z| <= 2, where little cancels */
{
    long double complex sum = 0, power = z, w = z;
    for (int n = 0; n < 120; n++) { sum += power / (2 * n + 1); power *= -w * w / (n + 1); }
    return (double complex)(sum * 1.12837916709551257389615890312154517L);
}

static void choose_unary(dice *d, use *u)
{
    int op = u->r->op;
    u->args = 1;
    shape(d, &u->nd[0], u->d[0], 4);
    u->kind[0] = op == WF__OP_LOG || op == WF__OP_SQRT || op == WF__OP_RECIP ? POSITIVE : op == WF__OP_LOG1P ? UNIT : op == WF__OP_ABS || op == WF__OP_RELU ? APART
        : op == WF__OP_SIGN || op == WF__OP_ROUND || op == WF__OP_FLOOR ? TIES : REALS;
    same_shape(u, 0);
}
static wf_t build_unary(const use *u, const wf_t *a)
{
    static wf_t (*const f[WF__OPS])(wf_t) = { 0 };
    (void)f;
    switch (u->r->op) {
    case WF__OP_NEG: return wf_neg(a[0]);
    case WF__OP_RECIP: return wf_recip(a[0]);
    case WF__OP_EXP: return wf_exp(a[0]);
    case WF__OP_EXPM1: return wf_expm1(a[0]);
    case WF__OP_LOG: return wf_log(a[0]);
    case WF__OP_LOG1P: return wf_log1p(a[0]);
    case WF__OP_SQRT: return wf_sqrt(a[0]);
    case WF__OP_TANH: return wf_tanh(a[0]);
    case WF__OP_SIGMOID: return wf_sigmoid(a[0]);
    case WF__OP_SOFTPLUS: return wf_softplus(a[0]);
    case WF__OP_ERF: return wf_erf(a[0]);
    case WF__OP_SIN: return wf_sin(a[0]);
    case WF__OP_COS: return wf_cos(a[0]);
    case WF__OP_ABS: return wf_abs(a[0]);
    case WF__OP_SIGN: return wf_sign(a[0]);
    case WF__OP_FLOOR: return wf_floor(a[0]);
    case WF__OP_ROUND: return wf_round(a[0]);
    case WF__OP_RELU: return wf_relu(a[0]);
    case WF__OP_SQUARE: return wf_square(a[0]);
    default: return wf_stop(a[0]);
    }
}
static void naive_unary(const use *u, double *const *a, double *y)
{
    for (size_t i = 0; i < count_of(u->ynd, u->yd); i++) y[i] = u->r->real ? u->r->real(a[0][i]) : a[0][i];
}

/* Two or three arguments that are repeated to a common shape, as in NumPy. */
static void choose_repeated(dice *d, use *u, int args)
{
    u->args = args;
    shape(d, &u->ynd, u->yd, 4);
    int whole = pick(d, args);
    for (int k = 0; k < args; k++) {
        u->nd[k] = k == whole ? u->ynd : pick(d, u->ynd + 1);
        for (int i = 0; i < u->nd[k]; i++) u->d[k][i] = pick(d, 3) == 0 && k != whole ? 1 : u->yd[u->ynd - u->nd[k] + i];
        u->kind[k] = REALS;
    }
}
static double repeated(const use *u, double *const *a, int k, size_t i)
{
    size_t at = 0, stride = 1;
    for (int q = u->ynd - 1, j = u->nd[k] - 1; j >= 0; q--, j--) {
        size_t c = i % (size_t)u->yd[q];
        i /= (size_t)u->yd[q];
        if (u->d[k][j] > 1) at += c * stride;
        stride *= (size_t)u->d[k][j];
    }
    return a[k][at];
}
static void choose_binary(dice *d, use *u)
{
    int op = u->r->op;
    choose_repeated(d, u, 2);
    if (op == WF__OP_DIV || op == WF__OP_ATAN2) u->kind[1] = POSITIVE;
    if (op == WF__OP_MAX || op == WF__OP_MIN) u->kind[0] = u->kind[1] = APART;
    if (op == WF__OP_LT || op == WF__OP_LE || op == WF__OP_EQ) u->kind[0] = u->kind[1] = TIES;
}
static wf_t build_binary(const use *u, const wf_t *a)
{
    switch (u->r->op) {
    case WF__OP_ADD: return wf_add(a[0], a[1]);
    case WF__OP_SUB: return wf_sub(a[0], a[1]);
    case WF__OP_MUL: return wf_mul(a[0], a[1]);
    case WF__OP_DIV: return wf_div(a[0], a[1]);
    case WF__OP_MAX: return wf_max(a[0], a[1]);
    case WF__OP_MIN: return wf_min(a[0], a[1]);
    case WF__OP_LT: return wf_lt(a[0], a[1]);
    case WF__OP_LE: return wf_le(a[0], a[1]);
    case WF__OP_EQ: return wf_eq(a[0], a[1]);
    default: return wf_atan2(a[0], a[1]);
    }
}
static double binary(int op, double a, double b)
{
    switch (op) {
    case WF__OP_ADD: return a + b;
    case WF__OP_SUB: return a - b;
    case WF__OP_MUL: return a * b;
    case WF__OP_DIV: return a / b;
    case WF__OP_MAX: return a > b ? a : b;
    case WF__OP_MIN: return a < b ? a : b;
    case WF__OP_LT: return a < b;
    case WF__OP_LE: return a <= b;
    case WF__OP_EQ: return a == b;
    default: return atan2(a, b);
    }
}
static void naive_binary(const use *u, double *const *a, double *y)
{
    for (size_t i = 0; i < count_of(u->ynd, u->yd); i++) y[i] = binary(u->r->op, repeated(u, a, 0, i), repeated(u, a, 1, i));
}
static void choose_select(dice *d, use *u) { choose_repeated(d, u, 3); u->kind[0] = TIES; u->constant[0] = 1; }
static wf_t build_select(const use *u, const wf_t *a) { (void)u; return wf_select(a[0], a[1], a[2]); }
static void naive_select(const use *u, double *const *a, double *y)
{
    for (size_t i = 0; i < count_of(u->ynd, u->yd); i++) y[i] = repeated(u, a, 0, i) != 0 ? repeated(u, a, 1, i) : repeated(u, a, 2, i);
}

/* --- along an axis, and moves ------------------------------------------------------------------------------------------------------------------------- */
/* x seen as [outer, many, inner] around axis p[0] */
static void around(const use *u, size_t *outer, size_t *many, size_t *inner)
{
    *outer = count_of(u->p[0], u->d[0]);
    *many = (size_t)u->d[0][u->p[0]];
    *inner = count_of(u->nd[0] - u->p[0] - 1, u->d[0] + u->p[0] + 1);
}
static void choose_along(dice *d, use *u)
{
    u->args = 1;
    do shape(d, &u->nd[0], u->d[0], 4); while (!u->nd[0]);
    u->p[0] = pick(d, u->nd[0]);
    u->p[1] = pick(d, 2);
    u->p[2] = pick(d, 2);
    u->p[3] = pick(d, 2); /* name the axis from the end? */
    same_shape(u, 0);
    if (u->r->op != WF__OP_SUM && u->r->op != WF__OP_MAX_OVER) return;
    u->ynd--;
    for (int i = u->p[0]; i < 3; i++) u->yd[i] = u->yd[i + 1];
}
static wf_t build_along(const use *u, const wf_t *a)
{
    int axis = u->p[3] ? u->p[0] - u->nd[0] : u->p[0];
    if (u->r->op == WF__OP_SUM) return wf_sum_over(a[0], axis);
    if (u->r->op == WF__OP_MAX_OVER) return wf_max_over(a[0], axis);
    if (u->r->op == WF__OP_CUMSUM) return wf_cumsum(a[0], axis, u->p[1], u->p[2]);
    return wf_softmax(a[0], axis);
}
static void naive_along(const use *u, double *const *a, double *y)
{
    size_t outer, many, inner;
    around(u, &outer, &many, &inner);
    for (size_t o = 0; o < outer; o++)
        for (size_t j = 0; j < inner; j++) {
            const double *x = a[0] + o * many * inner + j;
            double sum = 0, most = x[0], *to = y + o * many * inner + j;
            for (size_t i = 0; i < many; i++) { if (x[i * inner] > most) most = x[i * inner]; sum += u->r->op == WF__OP_SOFTMAX ? exp(x[i * inner]) : x[i * inner]; }
            if (u->r->op == WF__OP_SUM) y[o * inner + j] = sum;
            else if (u->r->op == WF__OP_MAX_OVER) y[o * inner + j] = most;
            else if (u->r->op == WF__OP_SOFTMAX) for (size_t i = 0; i < many; i++) to[i * inner] = exp(x[i * inner]) / sum;
            else for (size_t i = 0; i < many; i++) {
                to[i * inner] = 0;
                for (size_t k = 0; k < many; k++)
                    if (u->p[2] ? (u->p[1] ? k > i : k >= i) : (u->p[1] ? k < i : k <= i)) to[i * inner] += x[k * inner];
            }
        }
}

static void choose_bcast(dice *d, use *u)
{
    u->args = 1;
    shape(d, &u->ynd, u->yd, 4);
    u->nd[0] = pick(d, u->ynd + 1);
    for (int i = 0; i < u->nd[0]; i++) u->d[0][i] = pick(d, 2) ? 1 : u->yd[u->ynd - u->nd[0] + i];
}
static wf_t build_bcast(const use *u, const wf_t *a) { return wf_bcast(a[0], u->ynd, u->yd); }
static void naive_bcast(const use *u, double *const *a, double *y) { for (size_t i = 0; i < count_of(u->ynd, u->yd); i++) y[i] = repeated(u, a, 0, i); }

static void choose_reshape(dice *d, use *u)
{
    static const int forms[][2][5] = { { { 2, 3, 4 }, { 1, 12 } }, { { 1, 6 }, { 4, 1, 2, 3, 1 } }, { { 0 }, { 3, 1, 1, 1 } }, { { 3, 2, 2, 5 }, { 2, 5, 4 } }, { { 1, 1 }, { 0 } } };
    int f = pick(d, 5), back = pick(d, 2);
    u->args = 1;
    u->nd[0] = forms[f][back][0];
    u->ynd = forms[f][!back][0];
    memcpy(u->d[0], &forms[f][back][1], sizeof u->d[0]);
    memcpy(u->yd, &forms[f][!back][1], sizeof u->yd);
}
static wf_t build_reshape(const use *u, const wf_t *a) { return wf_reshape(a[0], u->ynd, u->yd); }
static void naive_reshape(const use *u, double *const *a, double *y) { memcpy(y, a[0], count_of(u->ynd, u->yd) * sizeof *y); }

static void choose_permute(dice *d, use *u)
{
    u->args = 1;
    do shape(d, &u->nd[0], u->d[0], 4); while (u->nd[0] < 2);
    u->ynd = u->nd[0];
    for (int i = 0; i < u->ynd; i++) u->p[i] = i;
    for (int i = u->ynd - 1; i > 0; i--) { int j = pick(d, i + 1), t = u->p[i]; u->p[i] = u->p[j]; u->p[j] = t; }
    for (int i = 0; i < u->ynd; i++) u->yd[i] = u->d[0][u->p[i]];
}
static wf_t build_permute(const use *u, const wf_t *a)
{
    if (u->ynd == 2 && u->p[0] == 1) return wf_transpose(a[0]);
    return wf_permute(a[0], u->p);
}
static void naive_permute(const use *u, double *const *a, double *y)
{
    int c[4] = { 0, 0, 0, 0 };
    for (size_t i = 0; i < count_of(u->ynd, u->yd); i++) {
        size_t at = 0, rest = i;
        for (int k = u->ynd - 1; k >= 0; k--) { c[u->p[k]] = (int)(rest % (size_t)u->yd[k]); rest /= (size_t)u->yd[k]; }
        for (int k = 0; k < u->nd[0]; k++) at = at * (size_t)u->d[0][k] + (size_t)c[k];
        y[i] = a[0][at];
    }
}

static void choose_slice(dice *d, use *u)
{
    choose_along(d, u);
    int size = u->d[0][u->p[0]];
    do {
        u->p[4] = pick(d, size);         /* start */
        u->p[5] = 1 + pick(d, size);     /* count */
        u->p[6] = pick(d, 5) - 2;        /* step */
    } while (!u->p[6] || u->p[4] + (u->p[5] - 1) * u->p[6] < 0 || u->p[4] + (u->p[5] - 1) * u->p[6] >= size);
    u->yd[u->p[0]] = u->p[5];
}
static wf_t build_slice(const use *u, const wf_t *a)
{
    if (u->p[6] == -1 && u->p[5] == u->d[0][u->p[0]]) return wf_reverse(a[0], u->p[0]);
    return u->p[6] == 1 ? wf_slice(a[0], u->p[0], u->p[4], u->p[5]) : wf_slice_step(a[0], u->p[0], u->p[4], u->p[5], u->p[6]);
}
static void naive_slice(const use *u, double *const *a, double *y)
{
    size_t outer, many, inner;
    around(u, &outer, &many, &inner);
    for (size_t o = 0; o < outer; o++)
        for (int i = 0; i < u->p[5]; i++)
            for (size_t j = 0; j < inner; j++) *y++ = a[0][(o * many + (size_t)(u->p[4] + i * u->p[6])) * inner + j];
}

static void choose_pad(dice *d, use *u)
{
    choose_along(d, u);
    u->p[4] = pick(d, 4);
    u->p[5] = pick(d, 4);
    u->yd[u->p[0]] += u->p[4] + u->p[5];
}
static wf_t build_pad(const use *u, const wf_t *a) { return wf_pad(a[0], u->p[0], u->p[4], u->p[5]); }
static void naive_pad(const use *u, double *const *a, double *y)
{
    size_t outer, many, inner;
    around(u, &outer, &many, &inner);
    for (size_t o = 0; o < outer; o++)
        for (size_t i = 0; i < many + (size_t)(u->p[4] + u->p[5]); i++)
            for (size_t j = 0; j < inner; j++) *y++ = i < (size_t)u->p[4] || i >= many + (size_t)u->p[4] ? 0 : a[0][(o * many + i - (size_t)u->p[4]) * inner + j];
}

static void choose_concat(dice *d, use *u)
{
    choose_along(d, u);
    u->args = 2 + pick(d, 2);
    for (int k = 1; k < u->args; k++) {
        u->nd[k] = u->nd[0];
        memcpy(u->d[k], u->d[0], sizeof u->d[0]);
        u->d[k][u->p[0]] = 1 + pick(d, 4);
        u->yd[u->p[0]] += u->d[k][u->p[0]];
    }
}
static wf_t build_concat(const use *u, const wf_t *a) { return wf_concat(a, u->args, u->p[3] ? u->p[0] - u->nd[0] : u->p[0]); }
static void naive_concat(const use *u, double *const *a, double *y)
{
    size_t outer, many, inner;
    around(u, &outer, &many, &inner);
    for (size_t o = 0; o < outer; o++)
        for (int k = 0; k < u->args; k++)
            for (size_t j = 0; j < (size_t)u->d[k][u->p[0]] * inner; j++) *y++ = a[k][o * (size_t)u->d[k][u->p[0]] * inner + j];
}

/* --- by number ----------------------------------------------------------------------------------------------------------------------------------------- */
static void choose_take(dice *d, use *u)
{
    do shape(d, &u->nd[0], u->d[0], 3); while (!u->nd[0]);
    u->args = 2;
    u->nd[1] = 1;
    u->constant[1] = 1;
    u->kind[1] = ROWS;
    u->d[1][0] = u->r->op == WF__OP_TAKE ? 1 + pick(d, 6) : u->d[0][0];
    same_shape(u, 0);
    u->yd[0] = u->r->op == WF__OP_TAKE ? u->d[1][0] : 1 + pick(d, 6);
    u->p[0] = u->r->op == WF__OP_TAKE ? u->d[0][0] : u->yd[0]; /* numbers from a little below 0 to a little above this */
}
static wf_t build_take(const use *u, const wf_t *a) { return u->r->op == WF__OP_TAKE ? wf_take(a[0], a[1]) : wf_scatter_add(a[0], a[1], u->yd[0]); }
static void naive_take(const use *u, double *const *a, double *y)
{
    size_t inner = count_of(u->nd[0] - 1, u->d[0] + 1);
    memset(y, 0, count_of(u->ynd, u->yd) * sizeof *y);
    for (int i = 0; i < u->d[1][0]; i++) {
        int k = (int)a[1][i];
        k = k < 0 ? 0 : k >= u->p[0] ? u->p[0] - 1 : k;
        for (size_t j = 0; j < inner; j++)
            if (u->r->op == WF__OP_TAKE) y[(size_t)i * inner + j] = a[0][(size_t)k * inner + j];
            else y[(size_t)k * inner + j] += a[0][(size_t)i * inner + j];
    }
}
static void choose_search(dice *d, use *u)
{
    u->args = 2;
    u->nd[0] = 1;
    u->d[0][0] = 1 + pick(d, 8);
    u->kind[0] = SORTED;
    shape(d, &u->nd[1], u->d[1], 4);
    u->kind[1] = TIES;
    u->constant[0] = u->constant[1] = 1;
    same_shape(u, 1);
}
static wf_t build_search(const use *u, const wf_t *a) { (void)u; return wf_search(a[0], a[1]); }
static void naive_search(const use *u, double *const *a, double *y)
{
    for (size_t i = 0; i < count_of(u->ynd, u->yd); i++) { y[i] = 0; for (int k = 0; k < u->d[0][0]; k++) y[i] += a[0][k] <= a[1][i]; }
}
static void choose_argsort(dice *d, use *u)
{
    u->args = 1;
    u->nd[0] = 1;
    u->d[0][0] = 1 + pick(d, 20);
    u->kind[0] = pick(d, 2) ? TIES : REALS;
    u->constant[0] = 1;
    same_shape(u, 0);
}
static wf_t build_argsort(const use *u, const wf_t *a) { (void)u; return wf_argsort(a[0]); }
static void naive_argsort(const use *u, double *const *a, double *y) /* insertion: equal numbers keep their order */
{
    for (int i = 0; i < u->yd[0]; i++) {
        int j = i;
        for (; j > 0 && a[0][(int)y[j - 1]] > a[0][i]; j--) y[j] = y[j - 1];
        y[j] = i;
    }
}

/* --- matrices --------------------------------------------------------------------------------------------------------------------------------------------- */
static void choose_matmul(dice *d, use *u)
{
    int form = pick(d, 3), m = 1 + pick(d, 7), k = 1 + pick(d, 6), n = 1 + pick(d, 7), batch = 1 + pick(d, 3);
    u->args = 2;
    u->p[0] = pick(d, 2);
    u->p[1] = form == 1 ? 0 : pick(d, 2);
    u->p[2] = form;
    u->p[3] = m; u->p[4] = k; u->p[5] = form == 1 ? 1 : n; u->p[6] = form == 2 ? batch : 1;
    int *a = u->d[0], *b = u->d[1], *y = u->yd;
    u->nd[0] = u->nd[1] = u->ynd = form == 2 ? 3 : 2;
    if (form == 2) *a++ = *b++ = *y++ = batch;
    a[0] = u->p[0] ? k : m; a[1] = u->p[0] ? m : k;
    b[0] = u->p[1] ? n : k; b[1] = u->p[1] ? k : n;
    y[0] = m; y[1] = n;
    if (form == 1) { u->nd[1] = u->ynd = 1; b[0] = k; }
}
static wf_t build_matmul(const use *u, const wf_t *a) { return u->p[0] + u->p[1] ? wf_matmul_t(a[0], u->p[0], a[1], u->p[1]) : wf_matmul(a[0], a[1]); }
static void naive_matmul(const use *u, double *const *a, double *y)
{
    int m = u->p[3], k = u->p[4], n = u->p[5];
    for (int b = 0; b < u->p[6]; b++)
        for (int i = 0; i < m; i++)
            for (int j = 0; j < n; j++, y++) {
                *y = 0;
                for (int q = 0; q < k; q++) *y += a[0][b * m * k + (u->p[0] ? q * m + i : i * k + q)] * a[1][b * k * n + (u->p[1] ? j * k + q : q * n + j)];
            }
}
static void choose_trisolve(dice *d, use *u)
{
    u->args = 2;
    u->nd[0] = u->nd[1] = 2;
    u->d[0][0] = u->d[0][1] = u->d[1][0] = 1 + pick(d, 5);
    u->d[1][1] = 1 + pick(d, 4);
    u->kind[0] = TRIANGLE;
    for (int i = 0; i < 3; i++) u->p[i] = pick(d, 2); /* upper, transpose, unit diagonal */
    same_shape(u, 1);
}
static wf_t build_trisolve(const use *u, const wf_t *a) { return wf_trisolve(a[0], a[1], u->p[0], u->p[1], u->p[2]); }
static void naive_trisolve(const use *u, double *const *a, double *y) /* Gauss with the matrix that is meant, written out */
{
    int n = u->d[0][0], m = u->d[1][1];
    double A[8][8], B[8][8];
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            int inside = u->p[0] ? j > i : j < i;
            double v = i == j ? (u->p[2] ? 1 : a[0][i * n + i]) : inside ? a[0][i * n + j] : 0;
            if (u->p[1]) A[j][i] = v;
            else A[i][j] = v;
        }
    for (int i = 0; i < n; i++) for (int j = 0; j < m; j++) B[i][j] = a[1][i * m + j];
    for (int c = 0; c < n; c++) {
        int best = c;
        for (int r = c; r < n; r++) if (fabs(A[r][c]) > fabs(A[best][c])) best = r;
        for (int j = 0; j < n; j++) { double t = A[c][j]; A[c][j] = A[best][j]; A[best][j] = t; }
        for (int j = 0; j < m; j++) { double t = B[c][j]; B[c][j] = B[best][j]; B[best][j] = t; }
        for (int r = 0; r < n; r++) {
            double f = A[r][c] / A[c][c];
            if (r == c) continue;
            for (int j = 0; j < n; j++) A[r][j] -= f * A[c][j];
            for (int j = 0; j < m; j++) B[r][j] -= f * B[c][j];
        }
    }
    for (int i = 0; i < n; i++) for (int j = 0; j < m; j++) y[i * m + j] = B[i][j] / A[i][i];
}
static void choose_cholesky(dice *d, use *u)
{
    u->args = 1;
    u->nd[0] = 2;
    u->d[0][0] = u->d[0][1] = 1 + pick(d, 5);
    u->kind[0] = MATRIX;
    same_shape(u, 0);
}
static wf_t build_cholesky(const use *u, const wf_t *a) { (void)u; return wf_cholesky(a[0]); }
static void naive_cholesky(const use *u, double *const *a, double *y) /* column by column, the outer-product form */
{
    int n = u->d[0][0];
    double A[8][8];
    for (int i = 0; i < n; i++) for (int j = 0; j < n; j++) { A[i][j] = a[0][i * n + j]; y[i * n + j] = 0; }
    for (int j = 0; j < n; j++)
        for (int i = j; i < n; i++) {
            y[i * n + j] = i == j ? sqrt(A[j][j]) : A[i][j] / y[j * n + j];
            if (i == n - 1) for (int r = j + 1; r < n; r++) for (int c = j + 1; c < n; c++) A[r][c] -= y[r * n + j] * y[c * n + j];
        }
}

/* --- sources, sums over samples, loops, users' operations: tested by a function of their own ------------------------------------------------------------ */
static void test_none(void), test_sources(void), test_batch_sum(void), test_loop(void), test_custom(void);

static const row rows[] = {
#define UNARY(op, f, c) { WF__OP_##op, choose_unary, build_unary, naive_unary, f, c }
    UNARY(NEG, f_neg, c_neg), UNARY(RECIP, f_recip, c_recip), UNARY(EXP, exp, cexp), UNARY(EXPM1, expm1, c_expm1), UNARY(LOG, log, clog), UNARY(LOG1P, log1p, c_log1p),
    UNARY(SQRT, sqrt, csqrt), UNARY(TANH, tanh, ctanh), UNARY(SIGMOID, f_sigmoid, c_sigmoid), UNARY(SOFTPLUS, f_softplus, c_softplus), UNARY(ERF, erf, c_erf), UNARY(SIN, sin, csin),
    UNARY(COS, cos, ccos), UNARY(ABS, fabs, NULL), UNARY(SIGN, f_sign, NULL), UNARY(FLOOR, floor, NULL), UNARY(ROUND, f_round, NULL), UNARY(RELU, f_relu, NULL),
    UNARY(SQUARE, f_square, c_square), UNARY(STOP, NULL, NULL),
#define ROW(op, name) { WF__OP_##op, choose_##name, build_##name, naive_##name, NULL, NULL }
    ROW(ADD, binary), ROW(SUB, binary), ROW(MUL, binary), ROW(DIV, binary), ROW(MAX, binary), ROW(MIN, binary), ROW(LT, binary), ROW(LE, binary), ROW(EQ, binary), ROW(ATAN2, binary),
    ROW(SELECT, select), ROW(SUM, along), ROW(MAX_OVER, along), ROW(CUMSUM, along), ROW(SOFTMAX, along), ROW(BCAST, bcast), ROW(RESHAPE, reshape), ROW(PERMUTE, permute), ROW(SLICE, slice),
    ROW(PAD, pad), ROW(CONCAT, concat), ROW(TAKE, take), ROW(SCATTER, take), ROW(SEARCH, search), ROW(ARGSORT, argsort), ROW(MATMUL, matmul), ROW(TRISOLVE, trisolve),
    ROW(CHOLESKY, cholesky)
};
static const struct { int op; void (*test)(void); } others[] = {
    { WF__OP_NONE, test_none }, { WF__OP_CONST, test_sources }, { WF__OP_ARRAY, test_sources }, { WF__OP_PARAM, test_sources }, { WF__OP_INPUT, test_sources }, { WF__OP_COUNT, test_sources },
    { WF__OP_RANDOM, test_sources }, { WF__OP_BSUM, test_batch_sum }, { WF__OP_SCAN, test_loop }, { WF__OP_RESULT, test_loop }, { WF__OP_CUSTOM, test_custom }
};
enum { ROW_COUNT = (int)(sizeof rows / sizeof rows[0]), OTHERS = (int)(sizeof others / sizeof others[0]) };

WF_TEST(every_operation_has_a_row)
{
    for (int op = 0; op < WF__OPS; op++) {
        int found = 0;
        for (int i = 0; i < ROW_COUNT; i++) found += rows[i].op == op;
        for (int i = 0; i < OTHERS; i++) found += others[i].op == op;
        if (found != 1) printf("  operation %s has %d rows\n", wf__op_name[op], found);
        CHECK_INT(found, 1);
    }
}

/* --- the driver ------------------------------------------------------------------------------------------------------------------------------------------- */
enum { MOST_SAMPLES = 131, MOST_SIZE = 320 };
static double data[8][MOST_SAMPLES * MOST_SIZE]; /* arguments a, b, c; tangents va, vb, vc; the cotangent u */

static double *feed(void *user, const char *name, size_t size)
{
    (void)user;
    (void)size;
    return data[*name == 'v' ? 3 + name[1] - 'a' : *name == 'u' ? 6 : name[0] - 'a'];
}

static void fill(dice *d, double *x, int kind, int nd, const int *size, const use *u, int lanes, int which)
{
    size_t n = count_of(nd, size);
    for (int l = 0; l < lanes; l++, x += n)
        for (size_t i = 0; i < n; i++)
            switch (kind) {
            case POSITIVE: x[i] = draw(d, 0.3, 3); break;
            case UNIT: x[i] = draw(d, -0.7, 2); break;
            case ROWS: x[i] = pick(d, u->p[0] + 4) - 2; break;
            case SORTED: x[i] = (i ? x[i - 1] : -2.0) + 0.5 * pick(d, 3); break;
            case TIES: x[i] = 0.5 * pick(d, 7) - 1.5; break;
            case APART: x[i] = 0.5 * pick(d, 9) - 2.25 + 0.17 * which + draw(d, 0, 0.1); break; /* no kink within 0.07 */
            case TRIANGLE: x[i] = (i % (size_t)size[1] == i / (size_t)size[1]) ? draw(d, 1, 2) : draw(d, -1, 1); break;
            case MATRIX: { size_t m = (size_t)size[1], r = i / m, c = i % m; x[i] = r == c ? draw(d, 4, 6) : r > c ? draw(d, -1, 1) : 0; if (r > c) x[c * m + r] = x[i]; break; }
            default: x[i] = draw(d, -2, 2); break;
            }
    if (kind != MATRIX) return;
    for (int l = 0; l < lanes; l++) { /* symmetric: the upper half was overwritten by zeros in turn */
        size_t m = (size_t)size[1];
        x -= n;
        for (size_t r = 0; r < m; r++) for (size_t c = r + 1; c < m; c++) x[r * m + c] = x[c * m + r];
    }
}

typedef struct built { wf_arena *A; wf_graph *g; wf_t a[3], v[3], u, y, jv, vjp[3], left, right; int linear, zero; } built;

static wf_t source(wf_graph *g, const char *name, int batch, int nd, const int *d) { return batch ? wf_input_nd(g, name, nd, d) : wf_shared_nd(g, name, nd, d); }
static wf_t all_of(wf_t x) { x = wf_sum(x); return wf_is_batch(x) ? wf_batch_sum(x) : x; }

static int build_all(built *b, const use *u, int mask)
{
    static const char *names[] = { "a", "b", "c" }, *tangents[] = { "va", "vb", "vc" };
    b->A = wf_arena_new(NULL);
    b->g = wf_graph_new(b->A, NULL);
    for (int k = 0; k < u->args; k++) {
        b->a[k] = source(b->g, names[k], mask >> k & 1, u->nd[k], u->d[k]);
        b->v[k] = u->constant[k] ? wf_full(b->g, u->nd[k], u->d[k], 0) : source(b->g, tangents[k], mask >> k & 1, u->nd[k], u->d[k]);
    }
    b->y = u->r->build(u, b->a);
    if (!b->y.id) return 0;
    b->u = source(b->g, "u", wf_is_batch(b->y), u->ynd, u->yd);
    if (wf_vjp(&b->y, &b->u, 1, b->a, u->args, b->vjp) < 0) return 0;
    wf_t x[3], v[3];
    int n = 0;
    for (int k = 0; k < u->args; k++) if (!u->constant[k]) { x[n] = b->a[k]; v[n++] = b->v[k]; }
    b->jv = wf_full(b->g, u->ynd, u->yd, 0);
    if (n && wf_jvp_list(x, v, n, &b->y, 1, &b->jv) < 0) return 0;
    b->left = all_of(wf_mul(b->u, b->jv));
    b->right = wf_const(b->g, 0);
    for (int k = 0; k < u->args; k++) b->right = wf_add(b->right, all_of(wf_mul(b->vjp[k], b->v[k])));
    return wf_arena_report(b->A)->code >= 0;
}

static long compared_elements, compared_runs;

static void say(const use *u, int mask, const char *what)
{
    printf("  %s", wf__op_name[u->r->op]);
    for (int k = 0; k < u->args; k++) {
        printf(" %c[", mask >> k & 1 ? 'B' : 'S');
        for (int i = 0; i < u->nd[k]; i++) printf(i ? ",%d" : "%d", u->d[k][i]);
        printf("]");
    }
    printf(" p %d %d %d %d %d %d %d: %s\n", u->p[0], u->p[1], u->p[2], u->p[3], u->p[4], u->p[5], u->p[6], what);
}

/* Values of y, Jv and the two inner products by a plan, against the slow evaluator. */
static void compare(built *b, const use *u, int mask, dice *d, slow *s, int samples, const fast_options *o)
{
    static double room[4][MOST_SAMPLES * MOST_SIZE];
    double *result[4] = { room[0], room[1], room[2], room[3] };
    wf_t list[4];
    int n = 0;
    list[n++] = b->y;
    if (b->jv.id != b->y.id) list[n++] = b->jv;
    if (b->left.id != b->jv.id && b->left.id != b->y.id) list[n++] = b->left;
    if (b->right.id != b->left.id) list[n++] = b->right;
    wf_arena *A = wf_arena_new(NULL);
    wf_plan *p = fast_compile(A, list, n, o);
    wf_ws *ws = wf_ws_new(A, p, 1 + pick(d, 3), NULL);
    if (!ws) { say(u, mask, wf_arena_report(A)->text); CHECK(ws != NULL); wf_arena_free(A); return; }
    fast_poison(ws);
    CHECK(fast_run(A, p, ws, list, n, o, samples, feed, NULL, result) >= 0);
    for (int i = 0; i < n; i++) {
        long at = slow_differs(&s->value[list[i].id], result[i], o->type == WF_F32, &compared_elements);
        if (at < 0) continue;
        say(u, mask, i ? "a derivative is off" : "the value is off");
        printf("  %s tile %d isa %s%s, %d samples: result %d, element %ld: %.17g, wanted %.17g +- %.3g\n", o->type ? "f64" : "f32", wf_plan_tile(p), wf_isa_name(o->isa),
               o->reference ? " reference" : "", samples, i, at, result[i][at], s->value[list[i].id].x[at].v, s->value[list[i].id].x[at].e[o->type == WF_F32]);
        CHECK(at < 0);
    }
    compared_runs++;
    wf_arena_free(A);
}

static void exercise(const use *u, dice *d, int mask)
{
    static const int tiles[] = { 1, 16, 64 };
    built b;
    memset(&b, 0, sizeof b);
    if (!build_all(&b, u, mask)) { say(u, mask, wf_arena_report(b.A)->text); CHECK(!"built"); wf_arena_free(b.A); return; }
    int shape_is[4], nd = wf_shape(b.y, shape_is), same = nd == u->ynd;
    for (int i = 0; same && i < nd; i++) same = shape_is[i] == u->yd[i];
    if (!same) say(u, mask, "has another shape");
    CHECK(same);
    CHECK_INT(wf_is_batch(b.y), mask != 0);
    int tile = tiles[pick(d, 3)], around[] = { 1, tile > 1 ? tile - 1 : 2, tile, tile + 1, 2 * tile + 3 };
    int samples = around[pick(d, 5)];
    for (int k = 0; k < u->args; k++) {
        fill(d, data[k], u->kind[k], u->nd[k], u->d[k], u, mask >> k & 1 ? samples : 1, k);
        fill(d, data[3 + k], REALS, u->nd[k], u->d[k], u, mask >> k & 1 ? samples : 1, k);
    }
    fill(d, data[6], REALS, u->ynd, u->yd, u, mask ? samples : 1, 0);
    slow_chunk *memory = NULL;
    slow s;
    int room = 0;
    slow_open(&s, b.g, samples, feed, NULL, &memory);
    wf_t all[4] = { b.y, b.jv, b.left, b.right };
    slow_ask(&s, &room, all, 4);
    CHECK(!s.failed);

    /* the formula, from the arguments of the call */
    double naive[MOST_SIZE], *arg[3];
    for (int l = 0; l < (mask ? samples : 1); l++) {
        for (int k = 0; k < u->args; k++) arg[k] = data[k] + (mask >> k & 1 ? (size_t)l * count_of(u->nd[k], u->d[k]) : 0);
        u->r->naive(u, arg, naive);
        for (size_t i = 0; i < count_of(u->ynd, u->yd); i++) {
            num y = slow_at(&s.value[b.y.id], l, i);
            if (!(fabs(y.v - naive[i]) <= 4 * y.e[0])) { say(u, mask, "the two slow formulas differ"); CHECK_CLOSE(y.v, naive[i], 4 * y.e[0]); break; }
        }
    }
    /* <u, J v> = <J' u, v>; a linear operation is its own J */
    num left = s.value[b.left.id].x[0], right = s.value[b.right.id].x[0];
    if (!(fabs(left.v - right.v) <= left.e[0] + right.e[0])) { say(u, mask, "forward and reverse mode differ"); CHECK_CLOSE(left.v, right.v, left.e[0] + right.e[0]); }
    int kind = wf__op_kind[u->r->op], linear = kind == WF__KIND_LINEAR || u->r->op == WF__OP_ADD || u->r->op == WF__OP_SUB || u->r->op == WF__OP_NEG;
    for (int l = 0; l < (mask ? samples : 1) && (linear || kind == WF__KIND_ZERO); l++) {
        for (int k = 0; k < u->args; k++) arg[k] = data[u->constant[k] ? k : 3 + k] + (mask >> k & 1 ? (size_t)l * count_of(u->nd[k], u->d[k]) : 0);
        if (linear) u->r->naive(u, arg, naive);
        for (size_t i = 0; i < count_of(u->ynd, u->yd); i++) {
            num y = slow_at(&s.value[b.jv.id], l, i);
            double want = linear ? naive[i] : 0;
            if (!(fabs(y.v - want) <= 4 * y.e[0])) { say(u, mask, "the directional derivative is off"); CHECK_CLOSE(y.v, want, 4 * y.e[0]); break; }
        }
    }
    /* J v against differences of the formula. Richardson with h = 1e-3: the error is h^4 times a fifth derivative, here at most 1e4, and rounding over h. */
    for (int l = 0; l < (mask ? samples : 1) && kind != WF__KIND_ZERO && !linear; l += 5) {
        static const double steps[4] = { 1e-3, -1e-3, 5e-4, -5e-4 };
        double moved[3][MOST_SIZE], at[4][MOST_SIZE];
        for (int q = 0; q < 4; q++) {
            for (int k = 0; k < u->args; k++) {
                size_t n = count_of(u->nd[k], u->d[k]), from = mask >> k & 1 ? (size_t)l * n : 0;
                for (size_t i = 0; i < n; i++) moved[k][i] = data[k][from + i] + (u->constant[k] ? 0 : steps[q] * data[3 + k][from + i]);
                arg[k] = moved[k];
            }
            u->r->naive(u, arg, at[q]);
        }
        for (size_t i = 0; i < count_of(u->ynd, u->yd); i++) {
            double want = (4 * (at[2][i] - at[3][i]) / 1e-3 - (at[0][i] - at[1][i]) / 2e-3) / 3, got = slow_at(&s.value[b.jv.id], l, i).v;
            if (!(fabs(got - want) <= 1e-7 * (1 + fabs(want)))) { say(u, mask, "the directional derivative is not that of differences"); CHECK_CLOSE(got, want, 1e-7); l = samples; break; }
        }
    }
    fast_options o;
    memset(&o, 0, sizeof o);
    o.gap = (size_t)pick(d, 3);
    o.type = WF_F64;
    o.reference = 1;
    o.tile = pick(d, 2) ? tile : 0;
    compare(&b, u, mask, d, &s, samples, &o);
    o.reference = 0;
    o.tile = tile;
    compare(&b, u, mask, d, &s, samples, &o);
    o.type = WF_F32;
    for (o.isa = WF_ISA_SCALAR; o.isa <= WF_ISA_WASM; o.isa++) if (wf_isa_available(o.isa)) compare(&b, u, mask, d, &s, samples, &o);
    slow_free(&memory);
    wf_arena_free(b.A);
}

#ifndef WF_USES
#define WF_USES 60 /* of each operation; every combination of spaces each time */
#endif

WF_TEST(values_shapes_and_transposes)
{
    dice d = { 20250101 };
    for (int i = 0; i < ROW_COUNT; i++) {
        int before = wf_test_failures;
        for (int k = 0; k < WF_USES && wf_test_failures < before + 4; k++) {
            use u;
            memset(&u, 0, sizeof u);
            u.r = &rows[i];
            u.r->choose(&d, &u);
            for (int mask = 0; mask < 1 << u.args; mask++) exercise(&u, &d, mask);
        }
    }
    CHECK_INT(fast_spilled, 0);
    CHECK(compared_elements > 100 * compared_runs / 10);
    printf("  %ld runs, %ld elements compared\n", compared_runs, compared_elements);
}

/* --- derivatives of elementwise operations ---------------------------------------------------------------------------------------------------------------- */
enum { POINTS = 64 };

static void slopes(const row *r, int args, const double x[3][POINTS], double slope[3][POINTS]) /* by reverse mode, in f64 */
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t a[3], d[3] = { { NULL, 0 }, { NULL, 0 }, { NULL, 0 } };
    static const char *names[] = { "a", "b", "c" };
    use u;
    memset(&u, 0, sizeof u);
    u.r = r;
    for (int k = 0; k < args; k++) a[k] = wf_input(g, names[k], 1);
    wf_t y = r->build(&u, a);
    for (int k = 0; k < args; k++) d[k] = wf_per_sample(wf_grad(y, a[k])); /* a gradient may be a constant */
    fast_options o;
    memset(&o, 0, sizeof o);
    o.type = WF_F64;
    wf_plan *p = fast_compile(A, d, args, &o);
    wf_ws *ws = wf_ws_new(A, p, 1, NULL);
    if (!ws) printf("  %s: %s\n", wf__op_name[r->op], wf_arena_report(A)->text);
    CHECK(ws != NULL);
    for (int k = 0; k < args; k++) memcpy(data[k], x[k], POINTS * sizeof(double));
    double *result[3] = { slope[0], slope[1], slope[2] };
    if (ws) CHECK_INT(fast_run(A, p, ws, d, args, &o, POINTS, feed, NULL, result), WF_OK);
    wf_arena_free(A);
}

WF_TEST(complex_step)
{
    double x[3][POINTS], slope[3][POINTS];
    memset(x, 0, sizeof x);
    for (int i = 0; i < ROW_COUNT; i++) {
        const row *r = &rows[i];
        double low = r->op == WF__OP_LOG || r->op == WF__OP_SQRT ? 0.01 : r->op == WF__OP_LOG1P ? -0.9 : -2;
        if (!r->complexly) continue;
        for (int k = 0; k < POINTS; k++) x[0][k] = low + (2 - low) * (k + 0.5) / POINTS;
        slopes(r, 1, (const double (*)[POINTS])x, slope);
        for (int k = 0; k < POINTS; k++) {
            double h = 1e-30, want = cimag(r->complexly(x[0][k] + h * _Complex_I)) / h;
            /* The step has no error; the rule is a few roundings of terms of size at most one, and 1 - y*y loses a factor 1/(1 - y^2) <= 14 for |x| <= 2. */
            if (!(fabs(slope[0][k] - want) <= 1e-13 * fabs(want))) { printf("  %s at %.17g\n", wf__op_name[r->op], x[0][k]); CHECK_CLOSE(slope[0][k], want, 1e-13 * fabs(want)); break; }
        }
    }
}

static double complex complex_binary(int op, double complex a, double complex b)
{
    return op == WF__OP_ADD ? a + b : op == WF__OP_SUB ? a - b : op == WF__OP_MUL ? a * b : op == WF__OP_DIV ? a / b : catan(a / b);
}

WF_TEST(complex_step_with_two_arguments)
{
    double x[3][POINTS], slope[3][POINTS];
    dice d = { 7 };
    for (int i = 0; i < ROW_COUNT; i++) {
        int op = rows[i].op;
        if (op != WF__OP_ADD && op != WF__OP_SUB && op != WF__OP_MUL && op != WF__OP_DIV && op != WF__OP_ATAN2) continue;
        for (int k = 0; k < POINTS; k++) { x[0][k] = draw(&d, -2, 2); x[1][k] = draw(&d, 0.2, 2); x[2][k] = 0; }
        slopes(&rows[i], 2, (const double (*)[POINTS])x, slope);
        for (int k = 0; k < POINTS; k++)
            for (int which = 0; which < 2; which++) {
                double h = 1e-30, want = cimag(complex_binary(op, x[0][k] + (which ? 0 : h) * _Complex_I, x[1][k] + (which ? h : 0) * _Complex_I)) / h;
                if (!(fabs(slope[which][k] - want) <= 1e-13 * fabs(want))) { printf("  %s\n", wf__op_name[op]); CHECK_CLOSE(slope[which][k], want, 1e-13 * fabs(want)); return; }
            }
    }
}

/* Richardson's extrapolation of central differences: error h^4, with h = 1e-3 about 1e-12; rounding 1e-16 / h about 1e-13. */
static double differences(const row *r, double *x, int which)
{
    double d[2], y, *arg[3] = { &x[0], &x[1], &x[2] };
    use u;
    memset(&u, 0, sizeof u);
    u.r = r;
    for (int half = 0; half < 2; half++) {
        double h = half ? 5e-4 : 1e-3, keep = x[which], up;
        x[which] = keep + h; r->naive(&u, arg, &up);
        x[which] = keep - h; r->naive(&u, arg, &y);
        x[which] = keep;
        d[half] = (up - y) / (2 * h);
    }
    return (4 * d[1] - d[0]) / 3;
}

WF_TEST(differences_where_there_are_kinks)
{
    double x[3][POINTS], slope[3][POINTS];
    for (int i = 0; i < ROW_COUNT; i++) {
        int op = rows[i].op, args = op == WF__OP_SELECT ? 3 : op == WF__OP_MAX || op == WF__OP_MIN ? 2 : op == WF__OP_ABS || op == WF__OP_RELU ? 1 : 0;
        if (!args) continue;
        for (int k = 0; k < POINTS; k++) {
            x[0][k] = (k - 31.5) / 16; /* no kink at zero within 1/32 */
            x[1][k] = x[0][k] + (k & 1 ? 0.25 : -0.25);
            x[2][k] = 1.5 - x[0][k];
        }
        slopes(&rows[i], args, (const double (*)[POINTS])x, slope);
        for (int k = 0; k < POINTS; k++)
            for (int which = op == WF__OP_SELECT; which < args; which++) {
                double at[3] = { x[0][k], x[1][k], x[2][k] };
                CHECK_CLOSE(slope[which][k], differences(&rows[i], at, which), 1e-11);
            }
    }
}

WF_TEST(equal_numbers_pass_their_derivative_to_the_first)
{
    double x[3][POINTS], slope[3][POINTS];
    for (int k = 0; k < POINTS; k++) x[0][k] = x[1][k] = x[2][k] = k * 0.25 - 3;
    for (int i = 0; i < ROW_COUNT; i++) {
        if (rows[i].op != WF__OP_MAX && rows[i].op != WF__OP_MIN) continue;
        slopes(&rows[i], 2, (const double (*)[POINTS])x, slope);
        for (int k = 0; k < POINTS; k++) CHECK(slope[0][k] == 1 && slope[1][k] == 0);
    }
}

/* --- the others --------------------------------------------------------------------------------------------------------------------------------------------- */
static void test_none(void)
{
    wf_t none = { NULL, 0 };
    int d[4];
    CHECK_INT(wf_shape(none, d), -1);
    CHECK_INT(wf_is_batch(none), 0);
}

static void test_sources(void)
{
    for (int type = WF_F32; type <= WF_F64; type++)
        for (int tile = 1; tile <= 64; tile += 63) {
            wf_arena *A = wf_arena_new(NULL);
            wf_params *P = wf_params_new(A, 5, type);
            wf_graph *g = wf_graph_new(A, P);
            int d[2] = { 2, 3 };
            static const double numbers[6] = { 1, -2, 3, -4, 5, -6 };
            wf_t list[9] = { wf_const(g, 2.5), wf_const_array(g, 2, d, numbers), wf_param(g, "w", 2, d, WF_INIT_UNIFORM, 1), wf_input_nd(g, "a", 2, d), wf_shared_nd(g, "b", 2, d),
                             wf_samples(g), wf_uniform(g, 2, d, 3), wf_normal(g, 2, d, 3), wf_full(g, 2, d, -1) };
            fast_options o;
            double room[9][70 * 6], *result[9], w[6];
            memset(&o, 0, sizeof o);
            o.type = type;
            o.tile = tile;
            o.seed = 99;
            o.step = 4;
            dice dd = { 3 };
            for (int i = 0; i < 70 * 6; i++) { data[0][i] = draw(&dd, -1, 1); data[1][i] = draw(&dd, -1, 1); }
            for (int i = 0; i < 9; i++) result[i] = room[i];
            wf_plan *p = fast_compile(A, list, 9, &o);
            wf_ws *ws = wf_ws_new(A, p, 2, NULL);
            CHECK(ws != NULL);
            if (!ws) { printf("  %s\n", wf_arena_report(A)->text); wf_arena_free(A); return; }
            fast_poison(ws);
            CHECK_INT(fast_run(A, p, ws, list, 9, &o, 70, feed, NULL, result), WF_OK);
            wf_params_get(P, "w", w, 6);
            CHECK(room[0][0] == 2.5 && room[5][0] == 70);
            for (int i = 0; i < 6; i++) CHECK(room[1][i] == numbers[i] && room[2][i] == w[i] && room[4][i] == data[1][i] && room[8][i] == -1);
            for (int l = 0; l < 70; l++)
                for (int i = 0; i < 6; i++) {
                    double uniform = wf_uniform_at(99, (uint64_t)l, 4, (uint32_t)i, 3), normal = wf_normal_at(99, (uint64_t)l, 4, (uint32_t)i, 3);
                    CHECK(room[3][l * 6 + i] == data[0][l * 6 + i]);
                    CHECK_CLOSE(room[6][l * 6 + i], uniform, type ? 0 : 6e-8); /* rounded to f32, half an ulp of numbers below 1 */
                    CHECK_CLOSE(room[7][l * 6 + i], normal, type ? 0 : 4 * 6e-8 * fabs(normal)); /* computed in f32: tests/test_random.c counts the roundings */
                }
            wf_arena_free(A);
        }
}

static void test_batch_sum(void)
{
    static const int counts[] = { 1, 2, 15, 16, 17, 63, 64, 65, 130 }, tiles[] = { 1, 16, 64 };
    for (int type = WF_F32; type <= WF_F64; type++)
        for (int c = 0; c < 9; c++)
            for (int t = 0; t < 3; t++)
                for (int slots = 1; slots <= 3; slots++) {
                    wf_arena *A = wf_arena_new(NULL);
                    wf_graph *g = wf_graph_new(A, NULL);
                    int n[2] = { 3, 2 };
                    wf_t x = wf_input_nd(g, "a", 2, n), b = wf_shared_nd(g, "b", 2, n), m = wf_input_nd(g, "c", 2, n);
                    wf_t list[5] = { wf_batch_sum(x), wf_batch_sum(b), wf_mean(x), wf_mean(b), wf_batch_sum(wf_matmul_t(x, 0, m, 1)) };
                    dice d = { 11 };
                    for (int i = 0; i < counts[c] * 6; i++) { data[0][i] = draw(&d, -1, 1); data[2][i] = draw(&d, -1, 1); if (i < 6) data[1][i] = draw(&d, -1, 1); }
                    double sum[6] = { 0 }, mean = 0, mean_b = 0, outer[9] = { 0 };
                    for (int l = 0; l < counts[c]; l++) {
                        for (int i = 0; i < 6; i++) { sum[i] += data[0][l * 6 + i]; mean += data[0][l * 6 + i] / (6 * counts[c]); }
                        for (int i = 0; i < 9; i++) for (int k = 0; k < 2; k++) outer[i] += data[0][l * 6 + i / 3 * 2 + k] * data[2][l * 6 + i % 3 * 2 + k];
                    }
                    for (int i = 0; i < 6; i++) mean_b += data[1][i] / 6;
                    fast_options o;
                    memset(&o, 0, sizeof o);
                    o.type = type;
                    o.tile = tiles[t];
                    o.slots = slots;
                    double room[5][9], *result[5] = { room[0], room[1], room[2], room[3], room[4] };
                    wf_plan *p = fast_compile(A, list, 5, &o);
                    wf_ws *ws = wf_ws_new(A, p, slots, NULL);
                    if (!ws) { printf("  %s\n", wf_arena_report(A)->text); CHECK(ws != NULL); wf_arena_free(A); return; }
                    fast_poison(ws);
                    CHECK_INT(fast_run(A, p, ws, list, 5, &o, counts[c], feed, NULL, result), WF_OK);
                    double eps = type ? 1.2e-16 : 6e-8, all = counts[c] * eps; /* all terms are at most 1; one rounding each at most */
                    for (int i = 0; i < 6; i++) { CHECK_CLOSE(room[0][i], sum[i], 2 * all * counts[c] / 8 + 2 * all); CHECK_CLOSE(room[1][i], data[1][i] * counts[c], all); }
                    CHECK_CLOSE(room[2][0], mean, 40 * eps);
                    CHECK_CLOSE(room[3][0], mean_b, 10 * eps);
                    for (int i = 0; i < 9; i++) CHECK_CLOSE(room[4][i], outer[i], 4 * all * counts[c] / 8 + 4 * all);
                    wf_arena_free(A);
                }
}

static void test_loop(void) /* x <- x * r, five times; more in test_loops.c and test_derivatives.c */
{
    wf_arena *A = wf_arena_new(NULL);
    wf_graph *g = wf_graph_new(A, NULL);
    wf_t x = wf_input(g, "a", 2), r = wf_shared_nd(g, "b", 0, NULL);
    wf_loop *loop = wf_loop_begin(g, 5, WF_KEEP_CARRY);
    wf_t c = wf_loop_carry(loop, x), next = wf_mul(c, wf_loop_constant(loop, r));
    wf_loop_next(loop, c, next);
    wf_loop_end(loop);
    wf_t list[3] = { wf_loop_final(loop, c), wf_loop_stack(loop, next), wf_loop_total(loop, next) };
    double room[3][3 * 10], *result[3] = { room[0], room[1], room[2] };
    fast_options o;
    memset(&o, 0, sizeof o);
    o.type = WF_F64;
    for (int i = 0; i < 6; i++) data[0][i] = i + 1;
    data[1][0] = 0.5;
    wf_plan *p = fast_compile(A, list, 3, &o);
    wf_ws *ws = wf_ws_new(A, p, 1, NULL);
    CHECK(ws != NULL);
    if (ws) {
        fast_poison(ws);
        CHECK_INT(fast_run(A, p, ws, list, 3, &o, 3, feed, NULL, result), WF_OK);
        for (int i = 0; i < 6; i++) { /* all exact */
            CHECK(room[0][i] == (i + 1) / 32.0 && room[2][i] == (i + 1) * (31 / 32.0));
            for (int k = 0; k < 5; k++) CHECK(room[1][i / 2 * 10 + k * 2 + i % 2] == (i + 1) / (double)(2 << k));
        }
    }
    wf_arena_free(A);
}

static void eval_cube(void *user, const wf_block *in, int inputs, wf_block *out)
{
    size_t n = (size_t)out->lanes;
    (void)user;
    (void)inputs;
    for (int i = 0; i < out->nd; i++) n *= (size_t)out->d[i];
    for (size_t i = 0; i < n; i++)
        if (out->type == WF_F64) { double x = ((const double *)in[0].data)[i]; ((double *)out->data)[i] = x * x * x; }
        else { float x = ((const float *)in[0].data)[i]; ((float *)out->data)[i] = x * x * x; }
}

static void test_custom(void) /* derivatives in test_graphs.c */
{
    for (int type = WF_F32; type <= WF_F64; type++)
        for (int tile = 1; tile <= 64; tile += 63) {
            wf_arena *A = wf_arena_new(NULL);
            wf_graph *g = wf_graph_new(A, NULL);
            int d[2] = { 2, 3 };
            wf_t x = wf_input_nd(g, "a", 2, d), s = wf_shared_nd(g, "b", 2, d);
            wf_op_desc op;
            memset(&op, 0, sizeof op);
            op.name = "cube";
            op.nd = 2;
            op.d[0] = 2;
            op.d[1] = 3;
            op.eval = eval_cube;
            wf_t list[2] = { wf_custom(&op, &x, 1), wf_custom(&op, &s, 1) };
            double room[2][70 * 6], *result[2] = { room[0], room[1] };
            fast_options o;
            memset(&o, 0, sizeof o);
            o.type = type;
            o.tile = tile;
            for (int i = 0; i < 70 * 6; i++) data[0][i] = i % 21 - 10;
            for (int i = 0; i < 6; i++) data[1][i] = i;
            wf_plan *p = fast_compile(A, list, 2, &o);
            wf_ws *ws = wf_ws_new(A, p, 2, NULL);
            CHECK(ws != NULL);
            if (ws) {
                fast_poison(ws);
                CHECK_INT(fast_run(A, p, ws, list, 2, &o, 70, feed, NULL, result), WF_OK);
                for (int i = 0; i < 70 * 6; i++) CHECK(room[0][i] == data[0][i] * data[0][i] * data[0][i]);
                for (int i = 0; i < 6; i++) CHECK(room[1][i] == i * i * i);
            }
            wf_arena_free(A);
        }
}

WF_TEST(sources_sums_loops_and_custom_operations)
{
    for (int i = 0; i < OTHERS; i++) if (!i || others[i].test != others[i - 1].test) others[i].test();
}

/* A layer is a product, terms of every form, an activation: many ways to be fused. */
WF_TEST(layers)
{
    static const int forms[5][4] = { { 1, 0 }, { 2, 1, 0 }, { 2, 0, 1 }, { 2, 0, 0 }, { 0 } }; /* axes; 0: as in the result, 1: one */
    dice d = { 17 };
    for (int m = 1; m <= 3; m++)
        for (int n = 1; n <= 3; n++)
            for (int form = 0; form < 25; form++)
                for (int mask = 0; mask < 16; mask++) {
                    int shape_a[2] = { m, 2 }, shape_b[2] = { 2, n }, terms[2] = { form % 5, form / 5 }, shapes[2][2], tiles[3] = { 1, 16, 64 }, tile = tiles[pick(&d, 3)], samples = 1 + pick(&d, tile + 2);
                    wf_arena *A = wf_arena_new(NULL);
                    wf_graph *g = wf_graph_new(A, NULL);
                    wf_t y = wf_matmul(source(g, "a", mask & 1, 2, shape_a), source(g, "b", mask >> 1 & 1, 2, shape_b));
                    for (int k = 0; k < 2; k++) {
                        const int *f = forms[terms[k]];
                        if (f[0] == 2) { shapes[k][0] = f[1] ? 1 : m; shapes[k][1] = f[2] ? 1 : n; }
                        else shapes[k][0] = n;
                        y = wf_add(y, source(g, k ? "vc" : "c", mask >> (2 + k) & 1, f[0], shapes[k]));
                    }
                    if (pick(&d, 2)) y = pick(&d, 2) ? wf_tanh(y) : wf_relu(y);
                    for (int k = 0; k < 8; k++) for (int i = 0; i < samples * 9; i++) data[k][i] = draw(&d, -1, 1);
                    slow_chunk *memory = NULL;
                    slow s;
                    int room = 0;
                    slow_open(&s, g, samples, feed, NULL, &memory);
                    slow_ask(&s, &room, &y, 1);
                    for (int type = WF_F32; type <= WF_F64; type++) {
                        fast_options o;
                        memset(&o, 0, sizeof o);
                        o.type = type;
                        o.tile = tile;
                        static double result[MOST_SAMPLES * 9];
                        double *list[1] = { result };
                        wf_plan *p = fast_compile(A, &y, 1, &o);
                        wf_ws *ws = wf_ws_new(A, p, 1, NULL);
                        CHECK(ws != NULL);
                        if (!ws) continue;
                        fast_poison(ws);
                        CHECK_INT(fast_run(A, p, ws, &y, 1, &o, samples, feed, NULL, list), WF_OK);
                        long at = slow_differs(&s.value[y.id], result, type == WF_F32, &compared_elements);
                        if (at >= 0) { printf("  [%d,2][2,%d] forms %d %d spaces %d tile %d\n", m, n, terms[0], terms[1], mask, tile); CHECK_CLOSE(result[at], s.value[y.id].x[at].v, s.value[y.id].x[at].e[type == WF_F32]); }
                    }
                    slow_free(&memory);
                    wf_arena_free(A);
                }
}

WF_MAIN_CASES(WF_CASE(every_operation_has_a_row), WF_CASE(sources_sums_loops_and_custom_operations), WF_CASE(complex_step), WF_CASE(complex_step_with_two_arguments),
              WF_CASE(differences_where_there_are_kinks), WF_CASE(equal_numbers_pass_their_derivative_to_the_first), WF_CASE(values_shapes_and_transposes), WF_CASE(layers))
