#!/usr/bin/env python3
"""Find the best polynomials for the elementary functions, and print them as C constants.

    python3 gen/remez.py [name ...]          #define WF__EXP_0 0.5f ... for every polynomial, or for those named
    python3 gen/remez.py --errors [name ...] what the rounded polynomials achieve

Each row of POLYNOMIALS asks for p of a given degree on an interval such that the largest |w(x) (p(x) - f(x))| is as small as possible. Remez' exchange finds
it: on degree + 2 points the error is made to alternate with equal size, then the points move to where the error is largest, until nothing moves.
Coefficients must be binary32 numbers in the end. They are rounded one at a time, lowest power first, and the others are fitted again around each rounded one.
All arithmetic is decimal with 50 digits; only the standard library is used.
"""
from __future__ import annotations

import struct
import sys
from decimal import Decimal as D, getcontext
from typing import Callable, Dict, List, NamedTuple, Tuple

getcontext().prec = 50
POINTS = 160  # candidates for the extremal points
PI = D("3.14159265358979323846264338327950288419716939937510582097494")
LN2 = D(2).ln()
SLACK = D("1.003")  # intervals are a little wider than the reduced argument can be


def series(x: D, first: D, step: Callable[[int], D]) -> D:
    """first * (1 + s1 z + s1 s2 z^2 ...) with z = x^2, where step(k) = s_k."""
    total = term = first
    z, k = x * x, 0
    while abs(term) > abs(total) * D("1e-48"):
        k += 1
        term *= z * step(k)
        total += term
    return total


def sin(x: D) -> D:
    return series(x, x, lambda k: D(-1) / (2 * k * (2 * k + 1)))


def cos(x: D) -> D:
    return series(x, D(1), lambda k: D(-1) / (2 * k * (2 * k - 1)))


def erf(x: D) -> D:
    """The series of exp(x^2) erf(x) has only positive terms."""
    return 2 / PI.sqrt() * (-x * x).exp() * series(x, x, lambda k: D(2) / (2 * k + 1))


def atan(x: D) -> D:
    """Halve the angle until the series is quick."""
    halvings = 0
    while abs(x) > D("0.02"):
        x = x / (1 + (1 + x * x).sqrt())
        halvings += 1
    total = term = x
    k = 1
    while abs(term) > D("1e-52"):
        term *= -x * x
        k += 2
        total += term / k
    return total * 2 ** halvings


class Polynomial(NamedTuple):
    low: D
    high: D
    degree: int
    f: Callable[[D], D]
    w: Callable[[D], D]


def even(f: Callable[[D], D]) -> Callable[[D], D]:
    """A function of x as a function of z = x^2."""
    return lambda z: f(z.sqrt())


HALF = LN2 / 2 * SLACK
LOG_LOW, LOG_HIGH = D("0.5").sqrt() - 1, D(2).sqrt() - 1
QUARTER = (PI / 4 * SLACK) ** 2
TINY = D("1e-6")

POLYNOMIALS: Dict[str, Polynomial] = {
    # exp(r) = 1 + r + r^2/2 + r^3 p(r)
    "EXP": Polynomial(-HALF, HALF, 4, lambda r: (r.exp() - 1 - r - r * r / 2) / r ** 3, lambda r: r ** 3 / (r.exp() - 1)),
    # log(1 + f) = f - f^2/2 + f^3 p(f)
    "LOG": Polynomial(LOG_LOW * SLACK, LOG_HIGH * SLACK, 8, lambda f: ((1 + f).ln() - f + f * f / 2) / f ** 3, lambda f: f ** 3 / (1 + f).ln()),
    # sin(r) = r + r^3 p(r^2), cos(r) = 1 - r^2/2 + r^4 p(r^2)
    "SIN": Polynomial(TINY, QUARTER, 3, even(lambda r: (sin(r) - r) / r ** 3), even(lambda r: r ** 3 / sin(r))),
    "COS": Polynomial(TINY, QUARTER, 2, even(lambda r: (cos(r) - 1 + r * r / 2) / r ** 4), even(lambda r: r ** 4 / cos(r))),
    # erf(x) = x + x p(x^2) for x < 1, and erf(x) = 1 - exp(-p(x)) beyond
    "ERF": Polynomial(TINY, D(1), 6, even(lambda x: erf(x) / x - 1), even(lambda x: x / erf(x))),
    "ERFC": Polynomial(D(1), D("3.95"), 7, lambda x: -(1 - erf(x)).ln(), lambda x: (1 - erf(x)) / erf(x)),
    # atan(t) = t + t^3 p(t^2)
    "ATAN": Polynomial(TINY, D(1), 7, even(lambda t: (atan(t) - t) / t ** 3), even(lambda t: t ** 3 / atan(t))),
}


def binary32(x: D) -> D:
    return D(struct.unpack("f", struct.pack("f", float(x)))[0])


def solve(matrix: List[List[D]]) -> List[D]:
    """Gauss with row pivots; the right-hand side is the last column."""
    n = len(matrix)
    for i in range(n):
        pivot = max(range(i, n), key=lambda r: abs(matrix[r][i]))
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        for r in range(i + 1, n):
            factor = matrix[r][i] / matrix[i][i]
            if factor:
                matrix[r] = [D(0)] * (i + 1) + [a - factor * b for a, b in zip(matrix[r][i + 1:], matrix[i][i + 1:])]
    x = [D(0)] * n
    for i in reversed(range(n)):
        x[i] = (matrix[i][n] - sum((matrix[i][j] * x[j] for j in range(i + 1, n)), D(0))) / matrix[i][i]
    return x


def extremes(error: List[D], count: int) -> List[int]:
    """The places of `count` alternating extremes of the error."""
    places: List[int] = []
    for i, e in enumerate(error):
        if places and (error[places[-1]] > 0) == (e > 0):
            if abs(e) > abs(error[places[-1]]):
                places[-1] = i
        else:
            places.append(i)
    while len(places) > count:  # drop the smaller end, which keeps the signs alternating
        del places[0 if abs(error[places[0]]) < abs(error[places[-1]]) else -1]
    return places


def best(grid: List[D], f: List[D], w: List[D], powers: range) -> List[D]:
    """Coefficients of x^powers with the smallest max |w (p - f)| over the grid."""
    count = len(powers) + 1
    places = [round((len(grid) - 1) * (i + D("0.5")) / count) for i in range(count)]
    basis = [[x ** k for k in powers] for x in grid]
    for _ in range(12):
        rows = [basis[i] + [(-1) ** n / w[i], f[i]] for n, i in enumerate(places)]
        c = solve(rows)
        error = [wi * (sum((a * b for a, b in zip(c, bi)), D(0)) - fi) for wi, bi, fi in zip(w, basis, f)]
        moved = extremes(error, count)
        if len(moved) < count or max(map(abs, error)) <= abs(c[-1]) * D("1.001"):
            break
        places = moved
    return c[:-1]


def fit(p: Polynomial) -> Tuple[List[D], D]:
    """Binary32 coefficients, and the largest weighted error over the grid."""
    nodes = [cos(PI * (2 * i + 1) / (2 * POINTS)) for i in range(POINTS)]
    grid = [(p.low + p.high - x * (p.high - p.low)) / 2 for x in nodes]
    values, weight = [p.f(x) for x in grid], [abs(p.w(x)) for x in grid]
    rest, found = list(values), []
    for k in range(p.degree + 1):
        c = binary32(best(grid, rest, weight, range(k, p.degree + 1))[0])
        rest = [r - c * x ** k for r, x in zip(rest, grid)]
        found.append(c)
    return found, max(abs(w * r) for w, r in zip(weight, rest))


def main(arguments: List[str]) -> int:
    errors = "--errors" in arguments
    names = [a for a in arguments if a != "--errors"] or list(POLYNOMIALS)
    for name in names:
        if name not in POLYNOMIALS:
            print("remez.py: no polynomial %s" % name, file=sys.stderr)
            return 1
        found, worst = fit(POLYNOMIALS[name])
        if errors:
            print("%-5s degree %d  error 2^%.2f" % (name, len(found) - 1, float(worst.ln() / LN2)))
            continue
        for k, c in enumerate(found):
            text = "%.9g" % c
            print("#define WF__%s_%d %s" % (name, k, text + "f" if "." in text or "e" in text else text + ".0f"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
