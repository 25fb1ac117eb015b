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

from slams.linalg.localised_gain import factorise

__all__ = [
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


def solve_censored(covariance: Tensor, innovations: Tensor, silent: Tensor) -> Tensor:
    """Solve S V = E[u | y] - m for the weights of the observations.

    Args:
        covariance: `(P, P)` float64, S, see `slams.linalg.localised_gain.innovation_covariance`.
        innovations: `(J, P)` observed minus predicted, `b - m` where silent.
        silent: `(P,)` bool, True where a censored observation is at its bound.

    Returns:
        `(P, J)` float64; without silent observations that of `solve_innovations`.

    Raises:
        UserError: S is not positive definite.
    """
    # With the silent observations last, the factor contains their covariance given all others.
    order = torch.argsort(silent.to(torch.int8), stable=True)
    uncensored = int((~silent).sum())
    factor = factorise(covariance[order][:, order])
    departure = innovations.to(torch.float64)[:, order].T
    white = torch.linalg.solve_triangular(
        factor[:uncensored, :uncensored], departure[:uncensored], upper=False
    )
    if uncensored < len(order):
        known = factor[uncensored:, :uncensored] @ white
        rest = factor[uncensored:, uncensored:]
        bound = (departure[uncensored:] - known).T
        expected, _, _ = _propagate(rest @ rest.T, bound)
        white = torch.cat([white, torch.linalg.solve_triangular(rest, expected.T, upper=False)])
    weights = torch.linalg.solve_triangular(factor.T, white, upper=True)
    return torch.empty_like(weights).index_copy_(0, order, weights)


def equivalent_observations(
    covariance: Tensor, innovation: Tensor, variance: Tensor, silent: Tensor
) -> tuple[Tensor, Tensor]:
    """Return Gaussian observations that update a Gaussian prior as the censored ones do.

    For methods that accept only Gaussian observations. Mean and spread of the analysis are those
    of the censored likelihood; the skewness is lost.

    Args:
        covariance: `(P, P)` float64, S.
        innovation: `(P,)` observed minus predicted, `b - m` where silent.
        variance: `(P,)` diagonal of `R`.
        silent: `(P,)` bool, True where a censored observation is at its bound.

    Returns:
        Innovation and error variance, `(P,)` each, in the precision of `innovation`.
    """
    if not bool(silent.any()):
        return innovation, variance
    uncensored = ~silent
    between = covariance[silent][:, uncensored]
    gain = torch.linalg.solve(covariance[uncensored][:, uncensored], between.T).T
    rest = covariance[silent][:, silent] - gain @ between.T
    known = gain @ innovation[uncensored].to(torch.float64)
    bound = innovation[silent].to(torch.float64) - known
    expected, precision, shift = _propagate(rest, bound[None])
    least = _NOTHING / rest.diagonal()
    informative = precision[0] > least
    # A site without information becomes an observation of the expected value with a huge error.
    site = torch.where(informative, shift[0] / precision[0].clamp(min=1e-300), expected[0])
    found, error = innovation.clone(), variance.clone()
    found[silent] = (known + site).to(found)
    error[silent] = variance[silent] + (1 / torch.maximum(precision[0], least)).to(error)
    return found, error


def _propagate(covariance: Tensor, bound: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Truncate N(0, covariance) to values below a bound, for several bounds at once.

    Args:
        covariance: `(P, P)` float64.
        bound: `(J, P)` float64.

    Returns:
        Mean, and precision and shift of the sites, `(J, P)` each.
    """
    precision, shift = torch.zeros_like(bound), torch.zeros_like(bound)
    unit = torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    mean, variance = torch.zeros_like(bound), covariance.diagonal().expand_as(bound)
    for _ in range(_PASSES):
        inside = 1 / variance - precision
        cavity = 1 / inside
        centre = cavity * (mean / variance - shift)
        first, second = truncated_normal(centre, cavity, bound)
        precision = (1 / second - inside).clamp(min=0)
        shift = first / second - centre * inside
        # (S^-1 + T)^-1 = (I + S T)^-1 S, which has a solution where T is zero too.
        system = unit + covariance * precision.unsqueeze(-2)
        # Expand the covariance: with as many sites as bounds it would be read as a set of vectors.
        posterior = torch.linalg.solve(system, covariance.expand_as(system))
        mean = (posterior @ shift.unsqueeze(-1)).squeeze(-1)
        variance = posterior.diagonal(dim1=-2, dim2=-1)
    return mean, precision, shift
