/* The slow evaluator: what a graph means, written down a second time, plainly. Include after the implementation.

   It knows nothing of plans, tiles, kernels or threads: it visits the nodes in order and computes each in double precision for all samples, by the definition of its
   operation. With every number it carries two bounds of the error that a plan may make in it, one for f64 and one for f32 (a running error analysis: each rule adds the
   rounding of its own operation to what comes in). So a comparison needs no tolerance of its own. Where rounding could change a decision (a floor, a comparison, an order)
   the bound is infinite, and the element is not compared. */
#ifndef WF_SLOW_H
#define WF_SLOW_H

/* Random numbers of our own, for random programs. */
typedef struct dice { uint64_t state; } dice;
static uint64_t roll(dice *d)
{
    uint64_t z = d->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}
static int pick(dice *d, int n) { return (int)(roll(d) % (uint64_t)n); }
static double draw(dice *d, double low, double high) { return (double)(float)(low + (high - low) * (double)(roll(d) >> 11) / 9007199254740992.0); }

typedef struct num { double v, e[2]; } num;
typedef struct slow_value { num *x; int lanes; size_t size; } slow_value; /* x[lane * size + element] */

typedef struct slow_chunk { struct slow_chunk *before; size_t size, used; } slow_chunk;

typedef struct slow {
    wf_graph *g;
    int samples;
    double *(*input)(void *user, const char *name, size_t size); /* rows of all samples, or one */
    void *user;
    uint64_t seed;
    uint32_t step, turn;
    slow_chunk **memory;
    slow_value *value;          /* of each node; x NULL: not computed */
    unsigned char *need;
    struct slow *frozen;        /* constants to derivatives (stop, max_over) are taken from here, for finite differences */
    int failed;                 /* an operation that this file does not know */
} slow;

static const double slow_eps[2] = { 1.1102230246251565e-16, 5.9604644775390625e-08 };
static const double slow_tiny[2] = { 1e-300, 1e-37 };   /* below this results may be flushed to zero */
static const double slow_huge[2] = { 1e300, 1e37 };
enum { SLOW_ULP = 6 };                                  /* elementary functions promise 1 to 2.5 units in the last place: 2 to 5 eps */

static void *slow_alloc(slow *s, size_t bytes)
{
    bytes = (bytes + 63) & ~(size_t)63;
    if (!*s->memory || (*s->memory)->size - (*s->memory)->used < bytes) {
        size_t size = bytes > 1u << 20 ? bytes : 1u << 20;
        slow_chunk *c = (slow_chunk *)malloc(sizeof *c + 64 + size);
        c->before = *s->memory;
        c->size = size;
        c->used = 0;
        *s->memory = c;
    }
    void *p = (char *)(*s->memory + 1) + (*s->memory)->used;
    (*s->memory)->used += bytes;
    return p;
}

static void slow_free(slow_chunk **memory)
{
    while (*memory) { slow_chunk *before = (*memory)->before; free(*memory); *memory = before; }
}

/* Arithmetic with bounds. `ulps` counts eps. */
static num n_exact(double v)
{
    num x;
    x.v = v;
    x.e[0] = 0;
    x.e[1] = fabs(v - (double)(float)v);
    return x;
}

static num n_close(num x, double scale, double ulps)
{
    for (int k = 0; k < 2; k++) {
        x.e[k] += ulps * slow_eps[k] * scale + slow_tiny[k];
        if (!(fabs(x.v) + x.e[k] < slow_huge[k])) x.e[k] = HUGE_VAL;
    }
    return x;
}

static num n_add(num a, num b, double sign, double ulps)
{
    num y;
    y.v = a.v + sign * b.v;
    for (int k = 0; k < 2; k++) y.e[k] = a.e[k] + b.e[k];
    return n_close(y, fabs(y.v) + (ulps > 1 ? fabs(a.v) + fabs(b.v) : 0), ulps);
}

static num n_mul(num a, num b)
{
    num y;
    y.v = a.v * b.v;
    for (int k = 0; k < 2; k++) {
        y.e[k] = fabs(a.v) * b.e[k] + fabs(b.v) * a.e[k] + a.e[k] * b.e[k];
        if (y.e[k] != y.e[k]) y.e[k] = HUGE_VAL;
    }
    return n_close(y, fabs(y.v), 1);
}

static num n_div(num a, num b)
{
    num y;
    y.v = a.v / b.v;
    for (int k = 0; k < 2; k++) {
        double room = fabs(b.v) - b.e[k];
        y.e[k] = room > 0 ? (a.e[k] + fabs(y.v) * b.e[k]) / room : HUGE_VAL;
    }
    return n_close(y, fabs(y.v), 2);
}

static double slow_f(int op, double x)
{
    switch (op) {
    case WF__OP_NEG: return -x;
    case WF__OP_RECIP: return 1 / x;
    case WF__OP_EXP: return exp(x);
    case WF__OP_EXPM1: return expm1(x);
    case WF__OP_LOG: return log(x);
    case WF__OP_LOG1P: return log1p(x);
    case WF__OP_SQRT: return sqrt(x);
    case WF__OP_TANH: return tanh(x);
    case WF__OP_SIGMOID: return 0.5 + 0.5 * tanh(x / 2);
    case WF__OP_SOFTPLUS: return x > 30 ? x + exp(-x) : log1p(exp(x));
    case WF__OP_ERF: return erf(x);
    case WF__OP_SIN: return sin(x);
    case WF__OP_COS: return cos(x);
    case WF__OP_ABS: return fabs(x);
    case WF__OP_SIGN: return (double)((x > 0) - (x < 0));
    case WF__OP_FLOOR: return floor(x);
    case WF__OP_ROUND: return rint(x);
    case WF__OP_RELU: return x > 0 ? x : 0;
    case WF__OP_SQUARE: return x * x;
    default: return NAN;
    }
}

static num n_unary(int op, num x)
{
    num y;
    int exact = op == WF__OP_NEG || op == WF__OP_ABS || op == WF__OP_RELU, steps = op == WF__OP_SIGN || op == WF__OP_FLOOR || op == WF__OP_ROUND;
    double rounding;
    y.v = slow_f(op, x.v);
    rounding = fabs(y.v);
    if (op == WF__OP_SIGMOID && x.v < 0) y.v = exp(x.v) / (1 + exp(x.v));
    for (int k = 0; k < 2; k++) {
        double up = fabs(slow_f(op, x.v + x.e[k]) - y.v), down = fabs(slow_f(op, x.v - x.e[k]) - y.v);
        if (x.e[k] == 0) y.e[k] = 0;
        else if (op == WF__OP_SIN || op == WF__OP_COS) y.e[k] = x.e[k];
        else if (steps) y.e[k] = up == 0 && down == 0 ? 0 : HUGE_VAL;
        else y.e[k] = up > down ? up : down;
        if (!(up < HUGE_VAL && down < HUGE_VAL)) y.e[k] = HUGE_VAL;
    }
    return exact || steps ? y : n_close(y, rounding, SLOW_ULP);
}

static num n_binary(int op, num a, num b, double ulps)
{
    num y;
    switch (op) {
    case WF__OP_ADD: return n_add(a, b, 1, ulps);
    case WF__OP_SUB: return n_add(a, b, -1, ulps);
    case WF__OP_MUL: return n_mul(a, b);
    case WF__OP_DIV: return n_div(a, b);
    case WF__OP_MAX: case WF__OP_MIN:
        y.v = (op == WF__OP_MAX ? b.v > a.v : b.v < a.v) ? b.v : a.v;
        for (int k = 0; k < 2; k++) y.e[k] = a.e[k] > b.e[k] ? a.e[k] : b.e[k];
        return y;
    case WF__OP_ATAN2:
        y.v = atan2(a.v, b.v);
        for (int k = 0; k < 2; k++) {
            double room = sqrt(a.v * a.v + b.v * b.v) - a.e[k] - b.e[k];
            y.e[k] = room > 0 && !(b.v - b.e[k] < 0 && a.e[k] > 0 && fabs(a.v) <= a.e[k]) ? (a.e[k] + b.e[k]) / room : HUGE_VAL;
            if (a.e[k] + b.e[k] == 0) y.e[k] = 0;
        }
        return n_close(y, fabs(y.v), SLOW_ULP);
    default:
        y.v = op == WF__OP_LT ? a.v < b.v : op == WF__OP_LE ? a.v <= b.v : a.v == b.v;
        for (int k = 0; k < 2; k++) y.e[k] = a.e[k] + b.e[k] > 0 && fabs(a.v - b.v) <= a.e[k] + b.e[k] ? HUGE_VAL : 0;
        return y;
    }
}

static num n_choice(num c, num a, num b)
{
    num y = c.v != 0 ? a : b;
    for (int k = 0; k < 2; k++) if (c.e[k] > 0 && fabs(c.v) <= c.e[k]) y.e[k] = HUGE_VAL;
    return y;
}

/* The value of argument k of a node; its element i for sample l. */
static const slow_value *slow_arg(const slow *s, int id, int k) { return &s->value[wf__arg(s->g, id, k)]; }
static num slow_at(const slow_value *a, int l, size_t i) { return a->x[(a->lanes > 1 ? (size_t)l : 0) * a->size + i]; }

/* The offset in x of the element of y with number i, where axes of size 1 in x are repeated. */
static size_t slow_repeat(const wf__node *y, const wf__node *x, size_t i)
{
    size_t at = 0, stride = 1;
    for (int k = y->nd - 1, j = x->nd - 1; k >= 0; k--, j--) {
        size_t c = i % (size_t)y->d[k];
        i /= (size_t)y->d[k];
        if (j < 0) continue;
        if (x->d[j] != 1) at += c * stride;
        stride *= (size_t)x->d[j];
    }
    return at;
}

static void slow_coords(const wf__node *n, size_t i, size_t c[4])
{
    for (int k = n->nd - 1; k >= 0; k--) { c[k] = i % (size_t)n->d[k]; i /= (size_t)n->d[k]; }
}

static size_t slow_index(const wf__node *n, const size_t c[4])
{
    size_t i = 0;
    for (int k = 0; k < n->nd; k++) i = i * (size_t)n->d[k] + c[k];
    return i;
}

static void slow_move(slow *s, int id, int l, num *y)
{
    const wf__node *n = &s->g->node[id];
    size_t size = s->value[id].size, start = 0;
    if (n->op == WF__OP_PAD) for (size_t i = 0; i < size; i++) y[i] = n_exact(0);
    for (int k = 0; k < n->args; k++) {
        const wf__node *a = &s->g->node[wf__arg(s->g, id, k)];
        const slow_value *x = slow_arg(s, id, k);
        size_t many = n->op == WF__OP_SLICE || n->op == WF__OP_PERMUTE ? size : x->size;
        for (size_t i = 0; i < many; i++) {
            size_t c[4], b[4];
            slow_coords(many == size && n->op != WF__OP_PAD && n->op != WF__OP_CONCAT ? n : a, i, c);
            memcpy(b, c, sizeof b);
            if (n->op == WF__OP_PERMUTE) { for (int j = 0; j < n->nd; j++) b[n->at[j]] = c[j]; y[i] = slow_at(x, l, slow_index(a, b)); }
            else if (n->op == WF__OP_SLICE) { b[n->at[0]] = (size_t)(n->at[1] + (int)c[n->at[0]] * n->at[2]); y[i] = slow_at(x, l, slow_index(a, b)); }
            else if (n->op == WF__OP_PAD) { b[n->at[0]] = (size_t)(n->at[1] + (int)c[n->at[0]] * n->at[2]); y[slow_index(n, b)] = slow_at(x, l, i); }
            else { b[n->at[0]] += start; y[slow_index(n, b)] = slow_at(x, l, i); }
        }
        if (n->op == WF__OP_CONCAT) start += (size_t)a->d[n->at[0]];
    }
}

static num slow_sum(const num *x, size_t n, size_t stride)
{
    num y = n_exact(0);
    double size = 0;
    for (size_t i = 0; i < n; i++, x += stride) {
        y.v += x->v;
        size += fabs(x->v);
        for (int k = 0; k < 2; k++) y.e[k] += x->e[k];
    }
    return n_close(y, size, (double)n);
}

static void slow_along(slow *s, int id, int l, num *y)
{
    const wf__node *n = &s->g->node[id], *a = &s->g->node[wf__arg(s->g, id, 0)];
    const slow_value *x = slow_arg(s, id, 0);
    size_t axis = (size_t)n->at[0], many = (size_t)a->d[axis], inner = 1, outer = 1;
    for (int i = 0; i < a->nd; i++) { if ((size_t)i < axis) outer *= (size_t)a->d[i]; if ((size_t)i > axis) inner *= (size_t)a->d[i]; }
    for (size_t o = 0; o < outer; o++)
        for (size_t j = 0; j < inner; j++) {
            const num *u = x->x + (x->lanes > 1 ? (size_t)l : 0) * x->size + o * many * inner + j;
            num *v = y + (n->op == WF__OP_SUM || n->op == WF__OP_MAX_OVER ? o * inner + j : o * many * inner + j);
            num top = u[0], sum = n_exact(0);
            for (size_t i = 1; i < many; i++) top = n_binary(WF__OP_MAX, top, u[i * inner], 1);
            if (n->op == WF__OP_SUM) *v = slow_sum(u, many, inner);
            else if (n->op == WF__OP_MAX_OVER) *v = top;
            else if (n->op == WF__OP_CUMSUM)
                for (size_t i = 0; i < many; i++) {
                    size_t from = n->at[1] & 2 ? i : 0, to = n->at[1] & 2 ? many : i + 1;
                    if (n->at[1] & 1) { if (n->at[1] & 2) from++; else to--; }
                    v[i * inner] = slow_sum(u + from * inner, to - from, inner);
                }
            else { /* softmax: relative errors of exp are absolute errors of its argument */
                double worst[2] = { 0, 0 };
                for (size_t i = 0; i < many; i++) {
                    sum.v += exp(u[i * inner].v - top.v);
                    for (int k = 0; k < 2; k++) if (u[i * inner].e[k] > worst[k]) worst[k] = u[i * inner].e[k];
                }
                for (size_t i = 0; i < many; i++) {
                    num *e = &v[i * inner];
                    e->v = exp(u[i * inner].v - top.v) / sum.v;
                    for (int k = 0; k < 2; k++) e->e[k] = e->v * expm1(4 * worst[k] + 4 * slow_eps[k] * (1 + top.v - u[i * inner].v) < 700 ? 4 * worst[k] + 4 * slow_eps[k] * (1 + top.v - u[i * inner].v) : 700);
                    *e = n_close(*e, e->v, 2 * SLOW_ULP + (double)many);
                }
            }
        }
}

static void slow_matrix(slow *s, int id, int l, num *y)
{
    const wf__node *n = &s->g->node[id], *p = &s->g->node[wf__arg(s->g, id, 0)];
    const slow_value *a = slow_arg(s, id, 0), *b = n->args > 1 ? slow_arg(s, id, 1) : a;
    const num *A = a->x + (a->lanes > 1 ? (size_t)l : 0) * a->size, *B = b->x + (b->lanes > 1 ? (size_t)l : 0) * b->size;
    if (n->op == WF__OP_MATMUL) {
        int ta = n->at[0], tb = n->at[1], m = n->d[n->nd - 2], cols = n->d[n->nd - 1], depth = p->d[n->nd - 1 - ta];
        for (int h = 0; h < (n->nd == 3 ? n->d[0] : 1); h++, A += m * depth, B += depth * cols)
            for (int i = 0; i < m; i++)
                for (int j = 0; j < cols; j++, y++) {
                    double size = 0;
                    *y = n_exact(0);
                    for (int q = 0; q < depth; q++) {
                        num u = A[ta ? q * m + i : i * depth + q], v = B[tb ? j * depth + q : q * cols + j];
                        y->v += u.v * v.v;
                        size += fabs(u.v * v.v);
                        for (int k = 0; k < 2; k++) y->e[k] += fabs(u.v) * v.e[k] + fabs(v.v) * u.e[k] + u.e[k] * v.e[k];
                    }
                    for (int k = 0; k < 2; k++) if (y->e[k] != y->e[k]) y->e[k] = HUGE_VAL;
                    *y = n_close(*y, size, depth + 1);
                }
        return;
    }
    if (n->op == WF__OP_TRISOLVE) {
        int size = n->d[0], cols = n->d[1], upper = n->at[0] ^ n->at[1];
        for (int j = 0; j < cols; j++)
            for (int step = 0; step < size; step++) {
                int i = upper ? size - 1 - step : step;
                num sum = B[i * cols + j];
                for (int q = upper ? i + 1 : 0; q < (upper ? size : i); q++) sum = n_add(sum, n_mul(A[n->at[1] ? q * size + i : i * size + q], y[q * cols + j]), -1, 1);
                y[i * cols + j] = n->at[2] ? sum : n_div(sum, A[i * size + i]);
            }
        return;
    }
    for (int i = 0, size = n->d[0]; i < size; i++) /* Cholesky */
        for (int j = 0; j < size; j++) {
            num sum = A[i * size + j];
            if (j > i) { y[i * size + j] = n_exact(0); continue; }
            for (int q = 0; q < j; q++) sum = n_add(sum, n_mul(y[i * size + q], y[j * size + q]), -1, 1);
            y[i * size + j] = i == j ? n_unary(WF__OP_SQRT, sum) : n_div(sum, y[j * size + j]);
        }
}

static int slow_row(double index, int rows) { return !(index > 0) ? 0 : index >= rows - 1 ? rows - 1 : (int)floor(index + 0.5); }

static void slow_spoil(num *x, int k) { x->e[k] = HUGE_VAL; }

static void slow_numbered(slow *s, int id, int l, num *y)
{
    const wf__node *n = &s->g->node[id];
    const slow_value *x = slow_arg(s, id, 0), *index = slow_arg(s, id, 1);
    size_t size = s->value[id].size, rows = (size_t)(n->op == WF__OP_TAKE ? s->g->node[wf__arg(s->g, id, 0)].d[0] : n->d[0]), many = index->size, inner = size / (size_t)n->d[0];
    if (n->op == WF__OP_SCATTER) for (size_t i = 0; i < size; i++) y[i] = n_exact(0);
    for (size_t i = 0; i < many; i++) {
        num at = slow_at(index, l, i);
        size_t row = (size_t)slow_row(at.v, (int)rows);
        for (size_t j = 0; j < inner; j++)
            if (n->op == WF__OP_TAKE) y[i * inner + j] = slow_at(x, l, row * inner + j);
            else y[row * inner + j] = n_add(y[row * inner + j], slow_at(x, l, i * inner + j), 1, 2);
        for (int k = 0; k < 2; k++) {
            if (slow_row(at.v - at.e[k], (int)rows) == (int)row && slow_row(at.v + at.e[k], (int)rows) == (int)row) continue;
            if (n->op == WF__OP_TAKE) for (size_t j = 0; j < inner; j++) slow_spoil(&y[i * inner + j], k);
            else for (size_t j = 0; j < size; j++) slow_spoil(&y[j], k);
        }
    }
}

static void slow_order(slow *s, int id, int l, num *y)
{
    const wf__node *n = &s->g->node[id];
    const slow_value *x = slow_arg(s, id, 0), *q = n->args > 1 ? slow_arg(s, id, 1) : x;
    size_t size = s->value[id].size;
    for (size_t i = 0; i < size; i++) {
        num u = slow_at(q, l, i);
        size_t count = 0;
        int close[2] = { 0, 0 };
        for (size_t j = 0; j < x->size; j++) {
            num v = slow_at(x, l, j);
            count += n->op == WF__OP_SEARCH ? v.v <= u.v : v.v < u.v || (v.v == u.v && j < i);
            for (int k = 0; k < 2; k++) close[k] |= (n->op == WF__OP_SEARCH || i != j) && u.e[k] + v.e[k] > 0 && fabs(u.v - v.v) <= u.e[k] + v.e[k];
        }
        if (n->op == WF__OP_SEARCH) {
            y[i] = n_exact((double)count);
            for (int k = 0; k < 2; k++) if (close[k]) slow_spoil(&y[i], k);
        } else {
            if (!i) for (size_t j = 0; j < size; j++) y[j] = n_exact(0);
            y[count].v = (double)i;
            for (int k = 0; k < 2; k++) if (close[k]) for (size_t j = 0; j < size; j++) slow_spoil(&y[j], k);
        }
    }
}

static void slow_custom(slow *s, int id, int l, num *y)
{
    const wf__node *n = &s->g->node[id];
    const wf__custom *c = s->g->custom[n->at[0]];
    double room[8192];
    size_t size = s->value[id].size;
    for (int shift = 0; shift < 5; shift++) { /* as it is; both f64 bounds; both f32 bounds */
        wf_block in[12], result;
        size_t used = size;
        for (int a = 0; a < n->args; a++) {
            const wf__node *m = &s->g->node[wf__arg(s->g, id, a)];
            const slow_value *x = slow_arg(s, id, a);
            in[a].data = room + used;
            in[a].type = WF_F64;
            in[a].nd = m->nd;
            in[a].lanes = 1;
            for (int i = 0; i < 4; i++) in[a].d[i] = m->d[i];
            for (size_t i = 0; i < x->size; i++) {
                num u = slow_at(x, l, i);
                room[used++] = u.v + (shift == 0 ? 0 : (shift & 1 ? 1 : -1) * u.e[(shift - 1) / 2]);
            }
        }
        result.data = room;
        result.type = WF_F64;
        result.nd = n->nd;
        result.lanes = 1;
        for (int i = 0; i < 4; i++) result.d[i] = n->d[i];
        if (c->which < 0) c->op.eval(c->op.user, in, n->args, &result);
        else c->op.vjp_eval(c->op.user, in, n->args - 2, &in[n->args - 2], &in[n->args - 1], c->which, &result);
        for (size_t i = 0; i < size; i++) {
            if (!shift) { y[i] = n_exact(room[i]); y[i].e[1] = 0; }
            else y[i].e[(shift - 1) / 2] += 3 * fabs(room[i] - y[i].v);
        }
    }
    for (size_t i = 0; i < size; i++) y[i] = n_close(y[i], fabs(y[i].v), 4 * SLOW_ULP);
}

static void slow_graph(slow *s);
static slow_value slow_new(slow *s, int lanes, size_t size)
{
    slow_value v;
    v.lanes = lanes;
    v.size = size;
    v.x = (num *)slow_alloc(s, (size_t)lanes * size * sizeof(num));
    return v;
}

static int slow_lanes(const slow *s, const wf__node *n) { return n->space == WF__BATCH ? s->samples : 1; }

static void slow_copy(const slow_value *to, const slow_value *from, int add)
{
    for (int l = 0; l < to->lanes; l++)
        for (size_t i = 0; i < to->size; i++) {
            num *y = &to->x[(size_t)l * to->size + i];
            *y = add ? n_add(*y, slow_at(from, l, i), 1, 2) : slow_at(from, l, i);
        }
}

static void slow_loop(slow *s, int id)
{
    wf_loop *loop = s->g->loop[s->g->node[id].at[0]];
    slow body = *s;
    int top = loop->body->nodes;
    slow_value carry[64], part;
    body.g = loop->body;
    body.frozen = NULL;
    for (int p = 0; p < loop->ports; p++) {
        const wf__port *q = &loop->port[p];
        if (q->kind != WF__CARRY) continue;
        carry[p] = slow_new(s, slow_lanes(s, &loop->body->node[q->inner]), s->value[q->outer].size);
        slow_copy(&carry[p], &s->value[q->outer], 0);
    }
    for (int r = id + 1; r < s->g->nodes; r++)
        if (s->need[r] && s->g->node[r].op == WF__OP_RESULT && wf__arg(s->g, r, 0) == id) {
            s->value[r] = slow_new(s, slow_lanes(s, &s->g->node[r]), wf__node_size(&s->g->node[r]));
            for (size_t i = 0; i < (size_t)s->value[r].lanes * s->value[r].size; i++) s->value[r].x[i] = n_exact(0);
        }
    for (int step = 0; step < loop->steps; step++) {
        int row = loop->backwards ? loop->steps - 1 - step : step;
        body.value = (slow_value *)slow_alloc(s, (size_t)top * sizeof(slow_value));
        body.need = (unsigned char *)slow_alloc(s, (size_t)top);
        memset(body.value, 0, (size_t)top * sizeof(slow_value));
        memset(body.need, 0, (size_t)top);
        body.turn = s->turn * (uint32_t)loop->steps + (uint32_t)row + 1;
        for (int p = 0; p < loop->ports; p++) {
            const wf__port *q = &loop->port[p];
            slow_value *v = &body.value[q->inner];
            if (q->kind == WF__CARRY) { *v = carry[p]; body.need[q->next] = 1; }
            else if (q->kind == WF__FIXED) *v = s->value[q->outer];
            else if (q->kind == WF__STEP) { *v = slow_new(s, 1, 1); v->x[0] = n_exact(row); }
            else {
                *v = slow_new(s, s->value[q->outer].lanes, wf__node_size(&loop->body->node[q->inner]));
                for (int l = 0; l < v->lanes; l++) memcpy(v->x + (size_t)l * v->size, s->value[q->outer].x + (size_t)l * s->value[q->outer].size + (size_t)row * v->size, v->size * sizeof(num));
            }
        }
        for (int r = id + 1; r < s->g->nodes; r++) if (s->value[r].x && s->g->node[r].op == WF__OP_RESULT && wf__arg(s->g, r, 0) == id) body.need[s->g->node[r].at[1]] = 1;
        slow_graph(&body);
        s->failed |= body.failed;
        for (int r = id + 1; r < s->g->nodes; r++) {
            if (!s->value[r].x || s->g->node[r].op != WF__OP_RESULT || wf__arg(s->g, r, 0) != id || s->g->node[r].at[0] == WF__FINAL) continue;
            part = s->value[r];
            if (s->g->node[r].at[0] == WF__TOTAL) { slow_copy(&part, &body.value[s->g->node[r].at[1]], 1); continue; }
            const slow_value *from = &body.value[s->g->node[r].at[1]];
            for (int l = 0; l < part.lanes; l++) for (size_t i = 0; i < from->size; i++) part.x[(size_t)l * part.size + (size_t)row * from->size + i] = slow_at(from, l, i);
        }
        for (int p = 0; p < loop->ports; p++) {
            const wf__port *q = &loop->port[p];
            if (q->kind != WF__CARRY) continue;
            slow_value next = slow_new(s, carry[p].lanes, carry[p].size);
            slow_copy(&next, &body.value[q->next], 0);
            carry[p] = next;
        }
    }
    for (int r = id + 1; r < s->g->nodes; r++)
        if (s->value[r].x && s->g->node[r].op == WF__OP_RESULT && wf__arg(s->g, r, 0) == id && s->g->node[r].at[0] == WF__FINAL)
            for (int p = 0; p < loop->ports; p++)
                if (loop->port[p].kind == WF__CARRY && loop->port[p].inner == s->g->node[r].at[1]) slow_copy(&s->value[r], &carry[p], 0);
    s->need[id] = 0; /* until another of its results is asked for */
}

/* 32 where the node may be computed as a chain of products and a start (a layer), whose partial sums all round at the size of the largest term. */
static double slow_ulps(const slow *s, int id)
{
    int op = s->g->node[id].op;
    for (int k = 0; op == WF__OP_ADD && k < 2; k++) {
        int a = wf__arg(s->g, id, k);
        while (s->g->node[a].op == WF__OP_RESHAPE) a = wf__arg(s->g, a, 0);
        if (s->g->node[a].op == WF__OP_MATMUL || (s->g->node[a].op == WF__OP_ADD && slow_ulps(s, a) > 1)) return 32;
    }
    return 1;
}

static void slow_source(slow *s, int id, slow_value *y)
{
    const wf__node *n = &s->g->node[id];
    size_t all = (size_t)y->lanes * y->size;
    if (n->op == WF__OP_RANDOM) {
        double *t = (double *)malloc(y->size * sizeof *t);
        for (int l = 0; l < y->lanes; l++) {
            wf__fill_random(NULL, t, WF_F64, n->at[0], y->size, 1, s->seed, (uint64_t)l, s->step, (uint32_t)n->at[1] | s->turn << 8);
            for (size_t i = 0; i < y->size; i++) {
                num r = n_exact(t[i]);
                r.e[1] = 4 * 6e-8 * fabs(t[i]); /* in f32, random numbers are computed, not rounded: tests/test_random.c */
                y->x[(size_t)l * y->size + i] = r;
            }
        }
        free(t);
        return;
    }
    const double *in = n->op == WF__OP_INPUT ? s->input(s->user, s->g->source[n->at[0]].name, all) : NULL;
    for (size_t i = 0; i < all; i++) {
        double v = n->op == WF__OP_CONST ? n->value : n->op == WF__OP_ARRAY ? s->g->constant[(size_t)n->at[0] + i] : n->op == WF__OP_COUNT ? (double)s->samples : 0;
        if (in) v = in[i];
        if (n->op == WF__OP_PARAM) v = wf__get(s->g->params->data, s->g->params->type, s->g->params->entry[n->at[0]].offset + i);
        y->x[i] = n_exact(v);
    }
}

static void slow_batch_sum(slow *s, int id, num *y)
{
    for (size_t i = 0; i < s->value[id].size; i++) {
        num total = n_exact(0);
        double size = 0;
        for (int k = 0; k < s->g->node[id].args; k++) {
            const slow_value *a = slow_arg(s, id, k);
            for (int l = 0; l < s->samples; l++) {
                num u = slow_at(a, l, i);
                total.v += u.v;
                size += fabs(u.v);
                for (int e = 0; e < 2; e++) total.e[e] += u.e[e];
            }
        }
        y[i] = n_close(total, size, (double)(s->samples < 64 ? s->samples : 64) * s->g->node[id].args + 32);
    }
}

static void slow_lane(slow *s, int id, int l, num *y)
{
    const wf__node *n = &s->g->node[id];
    const slow_value *a = n->args ? slow_arg(s, id, 0) : NULL, *b = n->args > 1 ? slow_arg(s, id, 1) : a;
    size_t size = s->value[id].size;
    switch (n->op) {
    case WF__OP_BCAST: for (size_t i = 0; i < size; i++) y[i] = slow_at(a, l, slow_repeat(n, &s->g->node[wf__arg(s->g, id, 0)], i)); return;
    case WF__OP_RESHAPE: case WF__OP_STOP: for (size_t i = 0; i < size; i++) y[i] = slow_at(a, l, i); return;
    case WF__OP_PERMUTE: case WF__OP_SLICE: case WF__OP_PAD: case WF__OP_CONCAT: slow_move(s, id, l, y); return;
    case WF__OP_SUM: case WF__OP_MAX_OVER: case WF__OP_CUMSUM: case WF__OP_SOFTMAX: slow_along(s, id, l, y); return;
    case WF__OP_MATMUL: case WF__OP_TRISOLVE: case WF__OP_CHOLESKY: slow_matrix(s, id, l, y); return;
    case WF__OP_TAKE: case WF__OP_SCATTER: slow_numbered(s, id, l, y); return;
    case WF__OP_SEARCH: case WF__OP_ARGSORT: slow_order(s, id, l, y); return;
    case WF__OP_CUSTOM: slow_custom(s, id, l, y); return;
    case WF__OP_SELECT: for (size_t i = 0; i < size; i++) y[i] = n_choice(slow_at(a, l, i), slow_at(b, l, i), slow_at(slow_arg(s, id, 2), l, i)); return;
    default: break;
    }
    double ulps = slow_ulps(s, id);
    for (size_t i = 0; i < size; i++) {
        if (n->args == 1) y[i] = n_unary(n->op, slow_at(a, l, i));
        else if (n->args == 2) y[i] = n_binary(n->op, slow_at(a, l, i), slow_at(b, l, i), ulps);
        else { y[i] = n_exact(NAN); s->failed = 1; }
    }
}

static void slow_node(slow *s, int id)
{
    const wf__node *n = &s->g->node[id];
    slow_value *y = &s->value[id];
    if (n->op == WF__OP_RESULT) return; /* with its loop */
    if (n->op == WF__OP_SCAN) { slow_loop(s, id); return; }
    if (s->frozen && (n->op == WF__OP_STOP || n->op == WF__OP_MAX_OVER)) { *y = s->frozen->value[id]; return; }
    *y = slow_new(s, slow_lanes(s, n), wf__node_size(n));
    if (!n->args) slow_source(s, id, y);
    else if (n->op == WF__OP_BSUM) slow_batch_sum(s, id, y->x);
    else for (int l = 0; l < y->lanes; l++) slow_lane(s, id, l, y->x + (size_t)l * y->size);
}

/* All nodes that are marked in `need`, and what they need. Nodes that have a value keep it. */
static void slow_graph(slow *s)
{
    for (int id = s->g->nodes - 1; id > 0; id--)
        for (int k = 0; s->need[id] && !s->value[id].x && k < s->g->node[id].args; k++) s->need[wf__arg(s->g, id, k)] = 1;
    for (int id = 1; id < s->g->nodes; id++) { /* what a loop needs from outside are its arguments; inside it, see slow_loop */
        if (s->need[id] && !s->value[id].x) slow_node(s, id);
    }
}

/* An evaluator for a graph; more nodes may be asked for later, also after the graph has grown. */
static void slow_open(slow *s, wf_graph *g, int samples, double *(*input)(void *, const char *, size_t), void *user, slow_chunk **memory)
{
    memset(s, 0, sizeof *s);
    s->g = g;
    s->samples = samples;
    s->input = input;
    s->user = user;
    s->memory = memory;
}

static const slow_value *slow_ask(slow *s, int *room, const wf_t *list, int n)
{
    if (*room < s->g->nodes) {
        int more = 2 * s->g->nodes;
        slow_value *v = (slow_value *)slow_alloc(s, (size_t)more * sizeof *v);
        unsigned char *need = (unsigned char *)slow_alloc(s, (size_t)more);
        memset(v, 0, (size_t)more * sizeof *v);
        memset(need, 0, (size_t)more);
        if (*room) { memcpy(v, s->value, (size_t)*room * sizeof *v); memcpy(need, s->need, (size_t)*room); }
        s->value = v;
        s->need = need;
        *room = more;
    }
    for (int i = 0; i < n; i++) s->need[list[i].id] = 1;
    slow_graph(s);
    return s->value;
}

/* The same by a plan. All memory of the workspace is filled with not-a-numbers before the run. Results as doubles, one array for each value asked for. */
typedef struct fast_options { int type, tile, isa, reference, threads, slots; size_t gap; uint64_t seed; uint32_t step; wf_t grad_of; } fast_options;

static int fast_spilled;

static void fast_poison(wf_ws *ws)
{
    const wf_plan *p = ws->plan;
    size_t es = wf__type_size(p->type);
    memset(ws->shared, 0xFF, p->shared_bytes);
    memset(ws->real_sums, 0xFF, p->real_sums * (size_t)p->slots * es);
    memset(ws->double_sums, 0xFF, p->double_sums * (size_t)p->slots * sizeof(double));
    if (ws->grad_size) memset(ws->grad, 0xFF, ws->grad_size * es);
    for (int i = 0; i < ws->threads; i++) {
        memset(ws->runner[i].tile, 0xFF, p->tile_bytes);
        memset(ws->runner[i].scratch, 0xFF, ((size_t)p->registers + 1) * (WF__CHUNK * es + 64));
    }
}

static wf_plan *fast_compile(wf_arena *A, const wf_t *out, int n, const fast_options *o)
{
    wf_plan_desc d;
    memset(&d, 0, sizeof d);
    for (int i = 0; i < n; i++) d.out[i] = out[i];
    d.type = o->type;
    d.tile = o->tile;
    d.isa = o->isa;
    d.slots = o->slots;
    d.reference = o->reference;
    d.grad_of = o->grad_of;
    return wf_compile(A, &d);
}

static wf_result fast_run(wf_arena *A, const wf_plan *p, wf_ws *ws, const wf_t *out, int n, const fast_options *o, int samples, double *(*input)(void *, const char *, size_t), void *user,
                          double **result)
{
    wf_feed feeds[64];
    int count = 0;
    size_t es = wf__type_size(p->type);
    wf_mark mark = wf_arena_mark(A);
    for (int i = 0; i < p->ins && count < 48; i++) {
        size_t size = p->in[i].size, stride = p->in[i].space == WF__BATCH ? size + o->gap : size, rows = p->in[i].space == WF__BATCH ? (size_t)samples : 1;
        const double *x = input(user, p->graph->source[p->graph->node[p->in[i].node].at[0]].name, rows * size);
        char *data = (char *)wf_alloc(A, rows * stride, es);
        if (!data) return WF_ERROR_MEMORY;
        for (size_t r = 0; r < rows; r++) for (size_t k = 0; k < size; k++) wf__put_value(data, p->type, r * stride + k, x[r * size + k]);
        feeds[count++] = wf_in(wf__at(p->graph, p->in[i].node), data, stride);
    }
    char *data[16];
    for (int i = 0; i < n; i++) {
        size_t size = wf__node_size(wf__of(out[i])), stride = wf_is_batch(out[i]) ? size + o->gap : size, rows = wf_is_batch(out[i]) ? (size_t)samples : 1;
        data[i] = (char *)wf_alloc(A, rows * stride + 1, es);
        if (!data[i]) return WF_ERROR_MEMORY;
        memset(data[i], 0xFF, rows * stride * es);
        feeds[count++] = wf_out(out[i], data[i], stride);
    }
    if (o->seed) wf_ws_noise(ws, o->seed, o->step);
    wf_result r = wf_run(p, ws, feeds, count, (size_t)samples);
    for (int i = 0; i < n; i++) {
        size_t size = wf__node_size(wf__of(out[i])), stride = wf_is_batch(out[i]) ? size + o->gap : size, rows = wf_is_batch(out[i]) ? (size_t)samples : 1;
        for (size_t q = 0; q < rows; q++) {
            for (size_t k = 0; k < size; k++) result[i][q * size + k] = wf__get(data[i], p->type, q * stride + k);
            for (size_t k = size * es; k < stride * es; k++) fast_spilled += data[i][q * stride * es + k] != (char)-1; /* between rows nothing may be written */
        }
    }
    wf_arena_reset(A, mark);
    return r;
}

/* The first element where a plan's result leaves the bound (bound 0: f64, 1: f32), or -1. `compared` counts those that could be compared. */
static long slow_differs(const slow_value *x, const double *y, int bound, long *compared)
{
    size_t all = (size_t)x->lanes * x->size;
    for (size_t i = 0; i < all; i++) {
        double e = x->x[i].e[bound] + x->x[i].e[0];
        if (!(e <= 1 + 0.1 * fabs(x->x[i].v)) || !(fabs(x->x[i].v) < HUGE_VAL)) continue;
        ++*compared;
        if (!(fabs(y[i] - x->x[i].v) <= 2 * e)) return (long)i;
    }
    return -1;
}
#endif
