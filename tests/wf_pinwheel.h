/* Ten bent arms: a sampler and its exact density (Chen, Amos and Nickel's "pinwheel", of which only the marginal in space matters here). For the test and the benchmark. */
#ifndef WF_PINWHEEL_H
#define WF_PINWHEEL_H
#include <math.h>

/* A point f = (1 + 0.3 a, 0.1 b) with normal a, b is turned by one of ten angles plus 0.25 exp(f_1), and doubled. */
static void pinwheel_draw(double a, double b, int arm, double x[2])
{
    double f = 1 + 0.3 * a, h = 0.1 * b, angle = 6.283185307179586 * arm / 10 + 0.25 * exp(f), c = cos(angle), s = sin(angle);
    x[0] = 2 * (f * c + h * s);
    x[1] = 2 * (-f * s + h * c);
}

/* How far an angle p is bent, in units of a tenth of a turn from the direction of the point. */
static double pinwheel_bend(double r, double direction, double p) { return (p - 0.25 * exp(r * cos(p)) - direction) * 10 / 6.283185307179586; }

/* The density: a sum over all angles p of f whose image is x, that is, where the bend is a whole number. */
static double pinwheel_density(const double x[2])
{
    enum { STEPS = 400 };
    double y = x[0] / 2, z = x[1] / 2, r = sqrt(y * y + z * z), direction = atan2(z, y), sum = 0, before = pinwheel_bend(r, direction, -3.141592653589793);
    for (int i = 0; i < STEPS; i++) {
        double low = -3.141592653589793 + 6.283185307179586 * i / STEPS, high = -3.141592653589793 + 6.283185307179586 * (i + 1) / STEPS;
        double after = pinwheel_bend(r, direction, high), first = before < after ? before : after, last = before < after ? after : before;
        for (double whole = ceil(first); whole < last; whole += 1) { /* half open: no root is met twice */
            double a = low, b = high, sign = after > before ? 1 : -1;
            if (fabs(r * sin(low)) > 1.5 && fabs(r * sin(high)) > 1.5) continue; /* fifteen standard deviations */
            for (int k = 0; k < 45; k++) {
                double middle = 0.5 * (a + b);
                if (sign * (pinwheel_bend(r, direction, middle) - whole) < 0) a = middle;
                else b = middle;
            }
            double f = r * cos(a), h = r * sin(a), u = (f - 1) / 0.3, v = h / 0.1;
            sum += exp(-0.5 * (u * u + v * v)) / (6.283185307179586 * 0.03) / fabs(1 + 0.25 * exp(f) * h);
        }
        before = after;
    }
    return sum / 40; /* ten arms, and doubling both coordinates */
}
#endif
