"""Every method with a report that reads its bound, against the posterior in closed form."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from slams.assimilators.enkf import EnKF
from slams.assimilators.letkf import LETKF
from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.assimilators.three_d_var import ThreeDVar
from slams.fields import Batch
from slams.linalg.censoring import truncated_normal
from slams.observations.stacked import stack_observations
from tests.assimilators.classical import fitted
from tests.assimilators.problems import LinearGaussian, linear_gaussian, masked


@pytest.fixture(scope="module")
def problem() -> LinearGaussian:
    return linear_gaussian()


def one_silent(problem: LinearGaussian) -> Batch:
    """Censor the stations at a bound that only the lowest falls below, four degrees above it."""
    batch = problem.batch(1)
    stations = batch.observations[0]
    lowest = int(stations.values[0, 0].argmin())
    keep = torch.zeros_like(stations.mask)
    keep[0, 0, lowest] = True
    rest = (stations.values > stations.values[0, 0, lowest] + 4.0) | keep
    batch = masked(batch, 0, rest)
    bound = float(stations.values[0, 0, lowest]) + 4.0
    stations = replace(batch.observations[0], bound=bound)
    stations = replace(stations, values=stations.values.clamp(min=bound))
    return replace(batch, observations=(stations, *batch.observations[1:]))


def posterior(problem: LinearGaussian, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Conditions on all reports but the silent one in closed form, then truncates."""
    stacked = stack_observations(batch, 0)
    silent = stacked.silent
    assert int(silent.sum()) == 1
    row = problem.matrix(batch)[silent][0]
    stations = batch.observations[0]
    heard = masked(batch, 0, stations.values > stations.bound)
    mean, covariance = problem.posterior(heard)
    state = mean * problem.normaliser.sd.double() + batch.climatology[0].double()
    predicted = stacked.apply(state[None])[0][silent]
    s = row @ covariance @ row + stacked.variance[silent].double()
    first, second = truncated_normal(predicted, s, stacked.values[silent].double())
    gain = covariance @ row / s
    mean = mean + (gain * (first - predicted)).reshape(mean.shape)
    return mean, covariance - (s - second) * torch.outer(gain, gain)


METHODS = {
    "oi": (OptimalInterpolation, {"localisation": math.inf}),
    "3dvar": (ThreeDVar, {"localisation": math.inf}),
    "enkf": (EnKF, {"localisation": math.inf, "ensemble": 600}),
    "letkf": (LETKF, {"localisation": math.inf, "ensemble": 300}),
}


@pytest.mark.parametrize("name", METHODS)
def test_analysis_is_the_truncated_posterior(problem: LinearGaussian, name: str) -> None:
    batch = one_silent(problem)
    mean, covariance = posterior(problem, batch)
    kind, settings = METHODS[name]
    archive = problem.archive(problem.draw_exact(settings.get("ensemble", 1000), 5))
    method = fitted(kind, problem, archive, **settings)
    found = problem.normalised(method.analyse(batch, 300).members, batch).double()
    sd = covariance.diagonal().sqrt().reshape(problem.shape)
    error = (found.mean(dim=0) - mean) / sd
    assert float(error.square().mean().sqrt()) < 0.01
    assert float((found.std(dim=0) / sd).mean()) == pytest.approx(1, abs=0.06)
    # The test has teeth: the report taken for a number is another analysis.
    number = replace(batch.observations[0], bound=-math.inf)
    other = replace(batch, observations=(number, *batch.observations[1:]))
    wrong, _ = problem.posterior(other)
    assert float(((wrong - mean) / sd).abs().max()) > 0.5
