"""What an analysis records of itself: observations, their departures, its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from data_modules.given.observations import Given
from data_modules.given.state import GivenState
from slams.fields import Batch, Ensemble, Observations
from slams.metrics.scores import score
from slams.metrics.statistics import case_statistics
from slams.normalisation import Normaliser
from slams.observations.departures import departures_of
from slams.observations.quality import gross_error_check
from slams.observations.superobs import Superobs

__all__ = ["departures_record", "scores_record", "with_observations", "with_superobs"]

_SCORES = ("rmse", "bias", "crps")


def with_observations(
    batch: Batch, given: Given, normaliser: Normaliser, limit: float
) -> tuple[Batch, dict[str, dict[str, int]]]:
    """Add the observations that agree with the background, and count the others.

    Args:
        batch: One case of one day, with its background.
        given: Its observations.
        normaliser: Climatology and standard deviations, on the device of the case.
        limit: Limit of the gross-error check.

    Returns:
        The case, and numbers by name of the observations and by what became of them.
    """
    found = tuple(o.to(batch.climatology.device) for o in given.observations)
    mean, spread = _background_state(batch, normaliser)
    used = tuple(gross_error_check(o, mean, spread, limit) for o in found)
    counts = {name: dict(count) for name, count in given.counts.items()}
    for before, after in zip(found, used, strict=True):
        rejected = int(before.mask.sum() - after.mask.sum())
        count = counts.setdefault(before.name, {"given": int(before.mask.sum())})
        if rejected:
            count["gross error"] = rejected
        count["used"] = int(after.mask.sum())
    return replace(batch, observations=used), counts


def with_superobs(
    batch: Batch,
    superobs: Superobs | None,
    normaliser: Normaliser,
    counts: dict[str, dict[str, int]],
) -> Batch:
    """Average the observations of a case in cells, and count the superobservations.

    Args:
        batch: One case of one day, with the observations that agree with its background.
        superobs: The averaging; `None` for none.
        normaliser: Climatology and standard deviations, on the device of the case.
        counts: Numbers by name of the observations; `superobservations` is added to those that
            are averaged.
    """
    averaged = batch if superobs is None else superobs(batch, normaliser)
    for one in averaged.observations:
        if one.count is not None:
            counts[one.name]["superobservations"] = int(one.mask.sum())
    return averaged


def departures_record(
    batch: Batch,
    given: Sequence[Observations],
    used: Sequence[Observations],
    counts: Mapping[str, Mapping[str, int]],
    ensemble: Ensemble,
    normaliser: Normaliser,
) -> dict[str, dict[str, Any]]:
    """Return counts and departures of each kind of observation, in plain containers.

    Args:
        batch: One case of one day, with its background.
        given: Observations before the comparison with the background.
        used: The same observations, masked where they were rejected.
        counts: Numbers of each kind.
        ensemble: The analysis of the case.
        normaliser: Climatology and standard deviations, on the device of the case.
    """
    device = batch.climatology.device
    state = normaliser.to_channel_units(ensemble.members.to(device))
    mean, _ = _background_state(batch, normaliser)
    given, used = ([o.to(device) for o in several] for several in (given, used))
    summary: dict[str, dict[str, Any]] = {name: dict(count) for name, count in counts.items()}
    for one in departures_of(given, used, mean[0, 0], state[0, :, 0]):
        if bool(one.used.any()):
            numbers = one.summary()
            summary[one.name] |= {
                k: v if isinstance(v, str) else round(v, 4) for k, v in numbers.items()
            }
    return summary


def scores_record(ensemble: Ensemble, truth: GivenState, seed: int) -> dict[str, dict[str, float]]:
    """Return area-weighted scores of each channel that the truth has, physical units.

    Args:
        ensemble: The analysis of one case of one day.
        truth: A state of the same day.
        seed: Seed of the ties of ranks.
    """
    values = torch.from_numpy(truth.values)[None, None]
    known = torch.isfinite(values)
    found = case_statistics(
        ensemble.members.cpu(),
        torch.nan_to_num(values),
        known,
        ensemble.grid.weights,
        torch.zeros(1, dtype=torch.int64),
        ensemble.channels,
        seed,
        centred=ensemble.centred,
    )
    means = {name: getattr(found, name)[0] for name in ("mse", "bias", "crps")}
    count = ensemble.members.shape[1]
    scores = {name: score(name, means, count, ensemble.centred) for name in _SCORES}
    return {
        spec.name: {name: round(float(values[i]), 4) for name, values in scores.items()}
        for i, spec in enumerate(ensemble.channels)
        if bool(known[0, 0, i].any())
    }


def _background_state(batch: Batch, normaliser: Normaliser) -> tuple[Tensor, Tensor]:
    """Return mean and spread of the background, `(1, 1, C, H, W)` channel units."""
    background = batch.background
    assert background is not None
    mean = normaliser.denormalise(background.mean, batch.climatology)
    return mean, background.variance.sqrt() * normaliser.sd
