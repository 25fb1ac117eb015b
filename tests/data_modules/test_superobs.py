"""Superobservations in batches: what methods are given, and what stays as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from data_modules.store.identity import observation_recipe
from slams.assimilators.cycle import Cycle
from slams.config.loading import to_plain
from slams.config.schema import Config, ObservationsConfig, StationVariableConfig, SuperobConfig
from slams.fields import Batch, Observations
from slams.observations.superobs import SuperobOperator
from slams.runs.provenance import inputs_fingerprint, run_difference
from slams.stages.data import analysed_days, multimodal, withholding

RAIN = "stations/total_precipitation_24hr"
WARM = "stations/temperature@850"


def dense(config: Config, cell: str | float = "auto", **changes) -> Config:
    """Return a recipe with 300 stations in at most 288 cells, a tenth of them held out."""
    variables = [
        StationVariableConfig("temperature@850", 0.5),
        StationVariableConfig("total_precipitation_24hr", 0.3),
    ]
    stations = replace(
        config.observations.stations, count=300, variables=variables, missing=0.2, held_out=0.1
    )
    observations = replace(
        config.observations, stations=stations, superob=SuperobConfig(cell), **changes
    )
    return replace(config, observations=observations)


def first(data) -> Batch:
    data.setup("test")
    return data.on_after_batch_transfer(next(iter(data.test_dataloader())), 0)


def same(one: tuple[Observations, ...], other: tuple[Observations, ...]) -> bool:
    return all(
        torch.equal(a.values.nan_to_num(), b.values.nan_to_num())
        and torch.equal(a.mask, b.mask)
        and torch.equal(a.error_variance, b.error_variance)
        for a, b in zip(one, other, strict=True)
    )


def test_a_sparse_network_is_given_as_it_is(tiny_config: Config) -> None:
    off = replace(tiny_config.observations, superob=SuperobConfig("off"))
    assert tiny_config.observations.superob.cell == "auto"
    plain = first(multimodal(replace(tiny_config, observations=off)))
    usual = first(multimodal(tiny_config))
    assert same(plain.observations, usual.observations)
    assert all(o.count is None for o in usual.observations)


@pytest.mark.parametrize("cell", ["auto", 30.0, "30"])
def test_a_dense_network_is_averaged_after_the_check(tiny_config: Config, cell) -> None:
    data = multimodal(dense(tiny_config, cell, gross_error=1.5))
    reports = first(multimodal(dense(tiny_config, "off", gross_error=1.5)))
    batch = first(data)
    operators = data.operators()
    for one, before in zip(batch.observations, reports.observations, strict=True):
        assert len(operators[one.name]) == len(one.operator) == one.values.shape[-1]
        if one.name.startswith("satellite") and cell == "auto":
            assert one.count is None, "a footprint per four cells is no dense network"
            continue
        assert isinstance(one.operator, SuperobOperator)
        assert len(one.operator) < len(before.operator)
        assert int(one.count.sum()) == int(before.mask.sum()), "rejected reports do not count"
        assert torch.equal(one.count > 0, one.mask)
        assert one.values.isfinite().equal(one.mask)
        assert (one.error_variance <= before.error_variance.max() * 1.00001).all()
    rain = {o.name: o for o in batch.observations}[RAIN]
    assert rain.bound == 0.0
    assert (rain.values[rain.mask] == 0).any()
    # Verification is by single stations, and by the same values.
    assert len(batch.held_out) == 2
    assert same(batch.held_out, reports.held_out)


def test_superobservations_agree_with_the_truth_within_their_error(tiny_config: Config) -> None:
    config = dense(tiny_config, gross_error=float("inf"))
    config.observations.superob.correlation = 0.0  # errors of drawn values are independent
    data = multimodal(config)
    batch = first(data)
    found = {o.name: o for o in batch.observations}[WARM]
    truth = data.normaliser.denormalise(batch.fields, batch.climatology)
    departures = (found.values - found.operator(truth)) / found.error_variance.sqrt()
    # Where some stations are missing, departures from a poor background add to the error.
    whole = found.count == found.operator.cells.size
    assert 0.9 < departures[whole].std() < 1.1
    assert 0.95 < departures[found.mask].std() < 2


def test_a_cycle_averages_after_its_own_check(tiny_config: Config) -> None:
    config = dense(tiny_config, gross_error=5.0)
    config = replace(config, background=replace(config.background, lag=1))
    config = replace(config, assimilation=replace(config.assimilation, cycle_days=2))
    data = withholding(config, config)
    case = first(data).select(slice(0, 1))
    assert all(o.count is None for o in case.observations)
    coefficient, variance = data.provider.persistence
    cycle = Cycle(
        data.normaliser, coefficient[0], variance[0], gross_error=1.5, superobs=data.superobs
    )
    averaged = {o.name: o for o in cycle.prepare(case).observations}[WARM]
    plain = replace(cycle, superobs=None).prepare(case)
    accepted = {o.name: o for o in plain.observations}[WARM]
    assert int(averaged.count.sum()) == int(accepted.mask.sum())
    assert int(accepted.mask.sum()) < int(case.observations[0].mask.sum())
    # A rehearsal has what methods will be given.
    rehearsed = first(analysed_days(config)).observations[0]
    assert len(rehearsed.operator) == len(averaged.operator)


def test_runs_and_stores_from_before_the_key_serve_its_default() -> None:
    usual, other = to_plain(Config()), to_plain(Config())
    older = {**usual, "observations": dict(usual["observations"])}
    del older["observations"]["superob"]
    other["observations"]["superob"]["cell"] = 3.0
    for stage in ("vae", "score", "score_pixel"):
        assert run_difference(stage, usual, other) is None
        assert inputs_fingerprint(stage, usual) == inputs_fingerprint(stage, other)
    assert run_difference("assimilation", older, usual) is None
    assert run_difference("assimilation", older, other).key == "observations.superob.cell"
    drawn = (
        ObservationsConfig(source="store"),
        ObservationsConfig(source="store", superob=SuperobConfig(3.0)),
    )
    assert observation_recipe(drawn[0], 0) == observation_recipe(drawn[1], 0)
