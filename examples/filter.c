/* Stochastic volatility: the logarithm x of the variance of a price's changes wanders and is never seen, x' = mu + rho (x - mu) + sigma xi; what is seen is y ~ N(0, e^x). Particles say what x was,
   and how likely a choice of parameters makes the data. Data are simulated, or read: one number a line, such as daily returns in percent. */
#define _POSIX_C_SOURCE 200809L
#define WEIGHTFLOW_IMPLEMENTATION
#include "../weightflow.h"
#include "wf_example.h"

typedef struct model_t { double mu, rho, sigma; const double *y; } model_t;

static void wander(void *user, const wf_tile *tile, float *x, const float *normals, double *log_weight)
{
    const model_t *m = user;
    (void)tile; (void)log_weight;
    for (int l = 0; l < WF_LANES; l++) x[l] = (float)(m->mu + m->rho * (x[l] - m->mu) + m->sigma * normals[l]);
}

static void likelihood(void *user, const wf_tile *tile, double *out)
{
    const model_t *m = user;
    for (int l = 0; l < WF_LANES; l++) {
        double x = tile->x[l], y = m->y[tile->step];
        out[l] = -0.5 * (1.8378770664093453 + x + y * y * exp(-x));
    }
}

static void fail(const char *what) { fprintf(stderr, "filter: %s\n", what); exit(1); }

static size_t read_numbers(const char *path, double *y, size_t most)
{
    char line[256];
    size_t n = 0;
    FILE *f = fopen(path, "r");
    if (!f) fail("cannot read the file of --data");
    while (n < most && fgets(line, sizeof line, f)) {
        char *end;
        y[n] = strtod(line, &end);
        if (end != line && isfinite(y[n])) n++;   /* a line that is no number is passed over: a heading */
    }
    fclose(f);
    return n;
}

int main(int argc, char **argv)
{
    enum { MOST = 20000 };
    model_t m = { -0.5, 0.97, 0.2, NULL };
    int seed = 1, n = 8192, length = 500, json = 0;
    const char *data = NULL, *out = "out";
    const option_t options[] = {
        { "data", "file of numbers, one a line; otherwise data are simulated", 's', &data },
        { "length", "of the simulated data", 'i', &length },
        { "mu", "mean of x", 'd', &m.mu },
        { "rho", "how much of x stays from one time to the next", 'd', &m.rho },
        { "sigma", "noise of x", 'd', &m.sigma },
        { "particles", "how many", 'i', &n },
        { "seed", "of everything random", 'i', &seed },
        { "out", "folder for the picture", 's', &out },
        { "json", "print the line of figures alone", 'b', &json },
        { NULL, NULL, 0, NULL },
    };
    option_read(argc, argv, "filter: follow the hidden volatility of a price", options);
    if (n < 2 || length < 2 || length > MOST || !(fabs(m.rho) < 1) || !(m.sigma > 0)) fail("--particles and --length at least 2, --rho between -1 and 1, --sigma positive");
    progress_t bar = { 0 };
    bar.quiet = json;
    bar.terminal = isatty(2);
    wf_arena *A = wf_arena_new(NULL);
    double *y = wf_alloc(A, MOST, sizeof *y), *truth = wf_alloc(A, MOST, sizeof *truth), *t = wf_alloc(A, MOST + 1, sizeof *t), *room = wf_alloc(A, 6 * MOST, sizeof *room);
    if (!y || !truth || !t || !room) fail("out of memory");
    double spread = m.sigma / sqrt(1 - m.rho * m.rho), x = m.mu + spread * wf_normal_at((uint64_t)seed, 0, 0, 0, 0);
    size_t T = data ? read_numbers(data, y, MOST) : (size_t)length;
    if (T < 2) fail("fewer than two numbers in the file of --data");
    for (size_t k = 0; k < T && !data; k++) {
        x = m.mu + m.rho * (x - m.mu) + m.sigma * wf_normal_at((uint64_t)seed, 0, (uint32_t)k + 1, 0, 0);
        truth[k] = x;
        y[k] = exp(0.5 * x) * wf_normal_at((uint64_t)seed, 0, (uint32_t)k + 1, 1, 0);
    }
    for (size_t k = 0; k <= T; k++) t[k] = (double)k;
    m.y = y;

    wf_filter_desc d = { 0 };
    wf_filtered f = { 0 };
    d.n = (size_t)n;
    d.dim = 1;
    d.seed = (uint64_t)seed;
    d.mean = &m.mu;
    d.sd = &spread;
    d.steps = T;
    d.times = t;
    d.transition = wander;
    d.likelihood = likelihood;
    d.user = &m;
    d.progress = progress_show;
    d.progress_user = &bar;
    f.mean = room;
    f.sd = room + MOST;
    f.log_likelihood = room + 2 * MOST;
    if (wf_filter(A, &d, &f) < 0) fail(wf_arena_report(A)->text);
    progress_end(&bar);

    double *low = room + 3 * MOST, *high = room + 4 * MOST, *size = room + 5 * MOST, top = 0, square = 0, inside = 0;
    for (size_t k = 0; k < T; k++) {
        low[k] = exp(0.5 * (f.mean[k] - 2 * f.sd[k]));
        high[k] = exp(0.5 * (f.mean[k] + 2 * f.sd[k]));
        size[k] = fabs(y[k]);
        if (high[k] > top) top = high[k];
        if (size[k] > top) top = size[k];
        square += (f.mean[k] - truth[k]) * (f.mean[k] - truth[k]) / (double)T;
        inside += (fabs(f.mean[k] - truth[k]) < 2 * f.sd[k]) / (double)T;
        truth[k] = exp(0.5 * truth[k]);
        f.mean[k] = exp(0.5 * f.mean[k]);
    }
    char path[1024];
    svg_t s;
    make_folder(out);
    snprintf(path, sizeof path, "%s/filter.svg", out);
    if (!svg_open(&s, path, 860, 380)) fail("cannot write the picture");
    svg_text(&s, 60, 24, "start", "font-size=\"16\" font-weight=\"bold\" fill=\"#222\"", "The volatility of a price, seen through its changes alone");
    svg_text(&s, 60, 42, "start", "fill=\"#555\"", data ? "grey: size of the changes; blue: filter, two standard deviations" : "grey: size of the changes; blue: filter, two standard deviations; red: the truth");
    svg_frame(&s, 60, 56, 780, 270, 0, (double)T, 0, top);
    svg_axes(&s, "time", "volatility");
    svg_line(&s, t, size, (int)T, "stroke=\"#bbb\" stroke-width=\"1\"");
    svg_band(&s, t, low, high, (int)T, "fill=\"#1f5fa8\" opacity=\"0.25\"");
    svg_line(&s, t, f.mean, (int)T, "stroke=\"#1f5fa8\" stroke-width=\"2\"");
    if (!data) svg_line(&s, t, truth, (int)T, "stroke=\"#c0392b\" stroke-width=\"1.3\"");
    if (!svg_close(&s)) fail("cannot write the picture");
    if (!json) printf("\nlog likelihood %.3f +- %.3f for mu = %g, rho = %g, sigma = %g\nwrote %s\n\n", f.log_likelihood[T - 1], f.error, m.mu, m.rho, m.sigma, path);
    printf("{\"example\":\"filter\",\"steps\":%d,\"log_likelihood\":%.6f,\"error_bar\":%.6f", (int)T, f.log_likelihood[T - 1], f.error);
    if (!data) printf(",\"rms_error\":%.4f,\"inside_two_sd\":%.4f", sqrt(square), inside);
    printf(",\"seed\":%d}\n", seed);
    wf_arena_free(A);
    return 0;
}
