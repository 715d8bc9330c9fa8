/* What every example shares: options, a progress bar with time left, and pictures as SVG. Not a part of the library. */
#ifndef WF_EXAMPLE_H
#define WF_EXAMPLE_H
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(_WIN32)
#include <direct.h>
#include <io.h>
#define isatty _isatty
#define make_folder(path) _mkdir(path)
#else
#include <sys/stat.h>
#include <unistd.h>
#define make_folder(path) mkdir(path, 0777)
#endif

static inline double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Make a folder where there is none; can a file be written there? Asked before a long run, rather than after it. */
static inline int folder_ready(const char *path)
{
    char probe[1024];
    if (snprintf(probe, sizeof probe, "%s/.probe", path) >= (int)sizeof probe) return 0;
    make_folder(path);
    FILE *f = fopen(probe, "wb");
    if (!f) return 0;
    fclose(f);
    remove(probe);
    return 1;
}

/* ---- options ---- */

typedef struct option_t { const char *name, *help; char kind; void *value; } option_t; /* kind: i int, d double, s string, b flag */

static inline void option_help(const char *what, const option_t *options)
{
    printf("%s\n\noptions:\n", what);
    for (const option_t *o = options; o->name; o++) {
        char value[64] = "";
        if (o->kind == 'i') snprintf(value, sizeof value, " (%d)", *(int *)o->value);
        if (o->kind == 'd') snprintf(value, sizeof value, " (%g)", *(double *)o->value);
        if (o->kind == 's' && *(const char **)o->value) snprintf(value, sizeof value, " (%s)", *(const char **)o->value);
        printf("  --%-12s %s%s\n", o->name, o->help, value);
    }
    printf("  --%-12s %s\n", "help", "this text");
}

static inline int option_number(const char *text, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && !*end && isfinite(*value);
}

/* Read the command line; exits with a message on a mistake. */
static inline void option_read(int argc, char **argv, const char *what, const option_t *options)
{
    for (int i = 1; i < argc; i++) {
        const option_t *o = options;
        double number;
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) { option_help(what, options); exit(0); }
        while (o->name && (strncmp(argv[i], "--", 2) || strcmp(argv[i] + 2, o->name))) o++;
        if (!o->name) { fprintf(stderr, "%s: unknown option %s (see --help)\n", argv[0], argv[i]); exit(2); }
        if (o->kind == 'b') { *(int *)o->value = 1; continue; }
        if (++i == argc) { fprintf(stderr, "%s: --%s needs a value\n", argv[0], o->name); exit(2); }
        if (o->kind == 's') { *(const char **)o->value = argv[i]; continue; }
        if (!option_number(argv[i], &number) || (o->kind == 'i' && (number != floor(number) || fabs(number) > 1e9))) {
            fprintf(stderr, "%s: --%s %s: not a%s number\n", argv[0], o->name, argv[i], o->kind == 'i' ? " whole" : "");
            exit(2);
        }
        if (o->kind == 'i') *(int *)o->value = (int)number;
        else *(double *)o->value = number;
    }
}

/* ---- progress ---- */

typedef struct progress_t { int quiet, terminal, drawn; char what[32]; double start, shown; } progress_t;

static inline void progress_end(progress_t *p)
{
    if (p->quiet || !p->what[0]) return;
    double t = seconds() - p->start;
    if (p->terminal) fprintf(stderr, "\r%-18s done in %.1f s%40s\n", p->what, t, "");
    else fprintf(stderr, "%-18s done in %.1f s\n", p->what, t);
    p->what[0] = 0;
}

/* A wf_progress_fn: a bar with the time left on a terminal, a line now and then elsewhere. Never cancels. */
static inline int progress_show(void *user, const char *what, double done, double total)
{
    progress_t *p = (progress_t *)user;
    double now = seconds();
    if (p->quiet) return 0;
    if (strcmp(p->what, what)) {
        progress_end(p);
        snprintf(p->what, sizeof p->what, "%s", what);
        p->start = now;
        p->shown = 0;
    }
    if (now - p->shown < (p->terminal ? 0.1 : 10) && done < total) return 0;
    if (!p->terminal && !(p->shown > 0)) { p->shown = now; return 0; }
    p->shown = now;
    double part = total > 0 ? done / total : 1, left = part > 0 ? (now - p->start) * (1 - part) / part : 0;
    if (p->terminal) {
        char bar[41];
        for (int i = 0; i < 40; i++) bar[i] = i < (int)(40 * part + 0.5) ? '#' : '.';
        bar[40] = 0;
        fprintf(stderr, "\r%-18s [%s] %3.0f %%  %2d:%02d left ", what, bar, 100 * part, (int)left / 60, (int)left % 60);
    } else if (done < total) fprintf(stderr, "%-18s %3.0f %%, %d s left\n", what, 100 * part, (int)left);
    return 0;
}

/* ---- pictures ---- */

typedef struct svg_t { FILE *f; char path[1024], part[1032]; double x0, y0, w, h, xa, xb, ya, yb; } svg_t; /* a frame on the page, and the data range it shows */

/* A picture is written beside its place, and moved there when it is whole. */
static inline int svg_open(svg_t *s, const char *path, double width, double height)
{
    size_t n = strlen(path);
    if (n >= sizeof s->path) return 0;
    memcpy(s->path, path, n + 1);
    memcpy(s->part, path, n);
    memcpy(s->part + n, ".part", sizeof ".part");
    s->f = fopen(s->part, "wb");
    if (!s->f) return 0;
    fprintf(s->f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\">\n", width, height, width, height);
    fprintf(s->f, "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n");
    return 1;
}

static inline int svg_close(svg_t *s)
{
    int bad;
    fprintf(s->f, "</svg>\n");
    bad = ferror(s->f) != 0;
    bad |= fclose(s->f) != 0;
#if defined(_WIN32)
    if (!bad) remove(s->path);
#endif
    if (!bad && rename(s->part, s->path) == 0) return 1;
    remove(s->part);
    return 0;
}

static inline void svg_frame(svg_t *s, double x, double y, double w, double h, double xa, double xb, double ya, double yb)
{
    s->x0 = x; s->y0 = y; s->w = w; s->h = h;
    s->xa = xa; s->xb = xb; s->ya = ya; s->yb = yb;
}

static inline double svg_x(const svg_t *s, double x) { return s->x0 + s->w * (x - s->xa) / (s->xb - s->xa); }
static inline double svg_y(const svg_t *s, double y) { return s->y0 + s->h * (s->yb - y) / (s->yb - s->ya); }

static inline void svg_text(const svg_t *s, double x, double y, const char *anchor, const char *style, const char *text)
{
    fprintf(s->f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" %s>", x, y, anchor, style);
    for (; *text; text++) { /* a name out of a file may hold anything */
        if (*text == '<' || *text == '&') fputs(*text == '<' ? "&lt;" : "&amp;", s->f);
        else if ((unsigned char)*text >= ' ') fputc(*text, s->f);
    }
    fputs("</text>\n", s->f);
}

static inline double svg_tick(double range)
{
    double step = pow(10, floor(log10(range / 4)));
    if (range / step > 15) step *= 5;
    else if (range / step > 8) step *= 2;
    return step;
}

static inline void svg_axes(const svg_t *s, const char *xlabel, const char *ylabel)
{
    double sx = svg_tick(s->xb - s->xa), sy = svg_tick(s->yb - s->ya);
    char t[32];
    for (double v = ceil(s->ya / sy - 1e-9) * sy; v <= s->yb * (1 + 1e-9); v += sy) {
        fprintf(s->f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#e4e4e4\"/>\n", s->x0, s->x0 + s->w, svg_y(s, v), svg_y(s, v));
        snprintf(t, sizeof t, "%g", fabs(v) < 1e-12 ? 0 : v);
        svg_text(s, s->x0 - 6, svg_y(s, v) + 4, "end", "fill=\"#555\"", t);
    }
    for (double v = ceil(s->xa / sx - 1e-9) * sx; v <= s->xb * (1 + 1e-9); v += sx) {
        snprintf(t, sizeof t, "%g", fabs(v) < 1e-12 ? 0 : v);
        if (xlabel) svg_text(s, svg_x(s, v), s->y0 + s->h + 16, "middle", "fill=\"#555\"", t);
    }
    fprintf(s->f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#888\"/>\n", s->x0, s->x0 + s->w, s->y0 + s->h, s->y0 + s->h);
    if (xlabel) svg_text(s, s->x0 + s->w / 2, s->y0 + s->h + 34, "middle", "fill=\"#333\"", xlabel);
    if (ylabel) fprintf(s->f, "<text transform=\"translate(%.1f %.1f) rotate(-90)\" text-anchor=\"middle\" fill=\"#333\">%s</text>\n", s->x0 - 40, s->y0 + s->h / 2, ylabel);
}

static inline double svg_inside(const svg_t *s, double y) { return y < s->ya ? s->ya : y > s->yb ? s->yb : y; }

/* Points from `from` up to but without `to`, up or down; those in the middle of a level stretch are left out. */
static inline void svg_points(const svg_t *s, const double *x, const double *y, int from, int to)
{
    int step = from < to ? 1 : -1;
    for (int i = from; i != to; i += step)
        if (i == from || i + step == to || y[i] != y[i - step] || y[i] != y[i + step]) fprintf(s->f, "%.1f,%.1f ", svg_x(s, x[i]), svg_y(s, svg_inside(s, y[i])));
}

static inline void svg_line(const svg_t *s, const double *x, const double *y, int n, const char *style)
{
    fprintf(s->f, "<polyline fill=\"none\" stroke-linejoin=\"round\" %s points=\"", style);
    svg_points(s, x, y, 0, n);
    fprintf(s->f, "\"/>\n");
}

static inline void svg_band(const svg_t *s, const double *x, const double *low, const double *high, int n, const char *style)
{
    fprintf(s->f, "<polygon stroke=\"none\" %s points=\"", style);
    svg_points(s, x, low, 0, n);
    svg_points(s, x, high, n - 1, -1);
    fprintf(s->f, "\"/>\n");
}
#endif
