r"""Observations that cannot fall below a bound, for example rain gauges, whose lowest report is 0.

The observation model is a censored Gaussian in the operator's units,

    y = max(b, u),    u = h + e,    h = H x,    e ~ N(0, R).

A report above the bound is an ordinary Gaussian observation, `u = y`. A *silent* observation,
`y = b`, means only that `u <= b`. With `a = (b - h) / s`, `s^2 = R` and the inverse Mills ratio
`r(a) = phi(a) / Phi(a)`, its likelihood and derivatives are

    p(y = b | h) = Phi(a),    d log p / dh = -r / s,    -d^2 log p / dh^2 = r (a + r) / s^2.

**Gaussian prior.** Let `u ~ N(m, S)`, `S = H P H^T + R`, before the observations are used. The
observations inform about `x` through `u` only, so that

    E[x | y] = E[x] + P H^T S^-1 (E[u | y] - m).

Conditioning on the reports above the bound is linear algebra. What remains is a normal
distribution of the silent observations, truncated to `u <= b`. For one silent observation its
moments are known (`truncated_normal`). For several, expectation propagation (Minka 2001;
Cunningham, Hennig and Lacoste-Julien 2011, arXiv 1111.6832) assigns to each a Gaussian *site*
`exp(nu u - tau u^2 / 2)` such that the moments of each observation are right given the sites of
the others. The result is exact for one silent observation, and for several whose predictions are
uncorrelated given the others; otherwise it is a good approximation: in two to 60 dimensions with
correlations up to 0.9 the mean is within 0.03 and the spread within 3 % of Gibbs sampling. (A
Tobit Kalman filter, Allik et al. 2016, doi 10.1109/TCST.2015.2432155, is one pass of it with
diagonal `S`.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "departure_square",
    "equivalent_observations",
    "inverse_mills",
    "linearised_observations",
    "solve_censored",
    "truncated_normal",
]

# Passes of expectation propagation; further passes change the mean by less than 0.03 standard
# deviations.
_PASSES = 4

# Precision of a site, relative to the inverse variance of its prediction, below which the site
# carries no information.
_NOTHING = 1e-6


# Bytes of the matrices of members that are treated together.
_TEMPORARY = 2**26

# Position of the bound, in standard deviations from the mean, below which a series in its inverse
# is exact.
_FAR = -30.0


def inverse_mills(a: Tensor) -> Tensor:
    """Evaluate `phi(a) / Phi(a)`, which is about `-a` far below zero, in any precision."""
    double = a.to(torch.float64)
    log_phi = -0.5 * double.square() - 0.5 * math.log(2 * math.pi)
    return torch.exp(log_phi - torch.special.log_ndtr(double)).to(a)


def truncated_normal(mean: Tensor, variance: Tensor, bound: Tensor) -> tuple[Tensor, Tensor]:
    """Return the moments of a normal variable truncated above at a bound.

    Args:
        mean: `(...)` before truncation.
        variance: `(...)` before truncation.
        bound: `(...)`.

    Returns:
        Mean and variance, `(...)` each.
    """
    sd = variance.sqrt()
    a = (bound - mean) / sd
    ratio = inverse_mills(a)
    # Where the bound is far below the mean the two terms cancel; the series keeps all digits.
    inverse = 1 / a.clamp(max=_FAR).square()
    series = inverse * (1 - inverse * (6 - 50 * inverse))
    return mean - sd * ratio, variance * torch.where(a < _FAR, series, 1 - ratio * (a + ratio))


def departure_square(departure: Tensor, variance: Tensor, bound: float) -> Tensor:
    """Return the expected square of `y - h` for `y = max(b, h + n)`, `n ~ N(0, S)`.

    With `a = (h - b) / s` it is `s^2 (Phi(a) - a phi(a)) + (h - b)^2 Phi(-a)`, and `S` without a
    bound.

    Args:
        departure: `(...)` the prediction `h` minus the bound `b`.
        variance: `(...)` `S`, above 0.
        bound: `b`.
    """
    if math.isinf(bound):
        return variance
    a = departure / variance.sqrt()
    density = torch.exp(-0.5 * a.square()) / math.sqrt(2 * math.pi)
    heard = torch.special.ndtr(a) - a * density
    return variance * heard + departure.square() * torch.special.ndtr(-a)


def linearised_observations(
    innovation: Tensor, variance: Tensor, silent: Tensor
) -> tuple[Tensor, Tensor]:
    """Replace silent observations by Gaussian ones of the same slope and curvature about `h`.

    Args:
        innovation: `(M, P)` observed minus predicted, `b - h` where silent.
        variance: `(P,)` diagonal of `R`.
        silent: `(P,)` bool, True where a censored observation is at its bound.

    Returns:
        Innovations and error variances, `(M, P)` each; those of other observations unchanged.
    """
    sd = variance.sqrt()
    a = innovation / sd
    ratio = inverse_mills(a)
    curvature = (ratio * (a + ratio)).clamp(min=_NOTHING)
    found = torch.where(silent, -sd * ratio / curvature, innovation)
    return found, torch.where(silent, variance / curvature, variance.expand_as(innovation))


def solve_censored(factor: Tensor, innovations: Tensor, heard: int) -> Tensor:
    """Solve S V = E[u | y] - m for the weights of the observations.

    Args:
        factor: `(..., P, P)` float64 lower Cholesky factor of S, the silent observations last: it
            then contains their covariance given all others.
        innovations: `(..., P, J)` float64, observed minus predicted, `b - m` where silent.
        heard: Number of observations that are not silent.

    Returns:
        `(..., P, J)` float64; without silent observations that of `S V = innovations`.
    """
    if heard == factor.shape[-1]:
        return torch.cholesky_solve(innovations, factor)
    white, known, rest = _given_the_others(factor, innovations, heard)
    covariance = (rest @ rest.mT).unsqueeze(-3)
    bounds = (innovations[..., heard:, :] - known).mT  # (..., J, s)
    at_once = max(_TEMPORARY // (8 * covariance.numel()), 1)
    parts = [_propagate(covariance, some)[0] for some in bounds.split(at_once, dim=-2)]
    expected = torch.cat(parts, dim=-2).mT
    white = torch.cat([white, torch.linalg.solve_triangular(rest, expected, upper=False)], dim=-2)
    return torch.linalg.solve_triangular(factor.mT, white, upper=True)


def equivalent_observations(
    factor: Tensor, innovation: Tensor, variance: Tensor, heard: int
) -> tuple[Tensor, Tensor]:
    """Return Gaussian observations that update a Gaussian prior as the silent ones do.

    For methods that accept only Gaussian observations. Mean and spread of the analysis are those
    of the censored likelihood; the skewness is lost.

    Args:
        factor: As for `solve_censored`.
        innovation: `(..., P)` float64, observed minus predicted, `b - m` where silent.
        variance: `(..., P)` float64 diagonal of `R`.
        heard: Number of observations that are not silent.

    Returns:
        Innovation and error variance of the silent observations, `(..., P - heard)` each.
    """
    _, known, rest = _given_the_others(factor, innovation[..., None], heard)
    known, covariance = known[..., 0], rest @ rest.mT
    expected, precision, shift = _propagate(covariance, innovation[..., heard:] - known)
    least = _NOTHING / covariance.diagonal(dim1=-2, dim2=-1)
    # A site without information becomes an observation of the expected value with a huge error.
    site = torch.where(precision > least, shift / precision.clamp(min=1e-300), expected)
    return known + site, variance[..., heard:] + 1 / torch.maximum(precision, least)


def _given_the_others(
    factor: Tensor, innovations: Tensor, heard: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Condition on the observations that are not silent.

    Returns:
        Their innovations in units of the factor `(..., heard, J)`, the expected departures of the
        silent observations `(..., P - heard, J)`, and the factor of their covariance.
    """
    known, rest = factor[..., heard:, :heard], factor[..., heard:, heard:]
    white = torch.linalg.solve_triangular(
        factor[..., :heard, :heard], innovations[..., :heard, :], upper=False
    )
    return white, known @ white, rest


def _propagate(covariance: Tensor, bound: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Truncate N(0, covariance) to values below a bound.

    Args:
        covariance: `(..., P, P)` float64.
        bound: `(..., P)` float64; leading dimensions are broadcast.

    Returns:
        Mean, and precision and shift of the sites, `(..., P)` each.
    """
    precision, shift = torch.zeros_like(bound), torch.zeros_like(bound)
    unit = torch.eye(bound.shape[-1], dtype=bound.dtype, device=bound.device)
    prior = covariance.diagonal(dim1=-2, dim2=-1)
    mean, variance = torch.zeros_like(bound), prior.expand_as(bound)
    for _ in range(_PASSES):
        inside = 1 / variance - precision
        cavity = 1 / inside
        centre = cavity * (mean / variance - shift)
        first, second = truncated_normal(centre, cavity, bound)
        precision = (1 / second - inside).clamp(min=0)
        shift = first / second - centre * inside
        # (S^-1 + T)^-1 = S - S T^1/2 (I + T^1/2 S T^1/2)^-1 T^1/2 S, also where T is zero.
        root = precision.sqrt()
        factor = torch.linalg.cholesky(unit + root[..., :, None] * covariance * root[..., None, :])
        half = torch.linalg.solve_triangular(factor, root[..., None] * covariance, upper=False)
        variance = prior - half.square().sum(dim=-2)
        pull = covariance @ shift[..., None]
        along = torch.linalg.solve_triangular(factor, root[..., None] * pull, upper=False)
        mean = (pull - half.mT @ along)[..., 0]
    return mean, precision, shift
