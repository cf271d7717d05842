#!/usr/bin/env python3
"""Makes the constants of erf in encoder/kernels/scalar_math.h, and measures what they are worth in float32.

    z <  1:  erf(z) = z Q(z^2)
    z >= 1:  erf(z) = 1 - exp(-z^2) t P(t - 0.4),   t = 1 / (1 + z/2)

Both are least-squares polynomials on Chebyshev points. exp(z^2) erfc(z) falls like 1/z, so that divided by t it is smooth
and bounded; P is centred, so that float32 loses nothing in its powers. Needs mpmath and numpy; run:
    python3 tests/kernels/fit_erf.py
"""
import mpmath
import numpy

mpmath.mp.dps = 40
Q_DEGREE, P_DEGREE, CENTRE = 6, 8, 0.4


def chebyshev_points(low, high, count=400):
    nodes = numpy.cos((2 * numpy.arange(count) + 1) * numpy.pi / (2 * count))
    return (high + low) / 2 + (high - low) / 2 * nodes


def fit(x, y, degree):
    # weights 1/y: the relative error is what is kept small
    series = numpy.polynomial.chebyshev.Chebyshev.fit(x, y, degree, w=1 / y)
    coefficients = series.convert(kind=numpy.polynomial.Polynomial, domain=[-1, 1], window=[-1, 1]).coef
    worst = numpy.max(numpy.abs(numpy.polyval(coefficients[::-1], x) / y - 1))
    return coefficients.astype(numpy.float32), worst


def q_target(w):
    z = mpmath.sqrt(w)
    return mpmath.erf(z) / z


def p_target(t):
    z = (1 / mpmath.mpf(t) - 1) * 2
    return mpmath.exp(z * z) * mpmath.erfc(z) / t


w = chebyshev_points(0, 1.0)
Q, q_worst = fit(w, numpy.array([float(q_target(v)) for v in w]), Q_DEGREE)
t = chebyshev_points(1 / (1 + 10.5 / 2), 1 / 1.5)
P, p_worst = fit(t - CENTRE, numpy.array([float(p_target(v)) for v in t]), P_DEGREE)
for name, polynomial, worst in (("Q", Q, q_worst), ("P", P, p_worst)):
    print(f"{name}, largest relative error in float64 arithmetic: {worst:.2e}")
    for i, c in enumerate(polynomial):
        print(f"    [{i}] {float(c).hex()}f  /* {c:.9g} */")


def horner32(polynomial, x):
    value = numpy.full_like(x, polynomial[-1])
    for c in polynomial[-2::-1]:
        value = value * x + c
    return value


def one_plus_erf32(x):
    f = numpy.float32
    z = numpy.abs(x)
    u = f(1) / (f(1) + f(0.5) * z)
    tail = numpy.exp((-(z * z)).astype(numpy.float64)).astype(f) * u * horner32(P, u - f(CENTRE))
    near = x * horner32(Q, z * z)
    return numpy.where(z < 1, f(1) + near, numpy.where(x < 0, tail, f(2) - tail))


x = numpy.linspace(-10, 10, 40001).astype(numpy.float32)
truth = numpy.array([float(1 + mpmath.erf(mpmath.mpf(float(v)))) for v in x])
error = numpy.abs(one_plus_erf32(x).astype(numpy.float64) - truth)
print(f"1 + erf(x) in float32: largest absolute error {error.max():.3e} = {error.max() * 2**23:.2f} units of 2^-23")
