"""Instruments in batches: drawn or read, among the other observations, at the right points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from slams.calendar.days import time_stamps
from slams.config.checks import check
from slams.config.schema import Config, InstrumentConfig, SuperobConfig
from slams.errors import UserError
from slams.fields import Batch
from slams.plugins import OperatorSpec
from slams.plugins.operators import OPERATORS
from slams.stages.data import multimodal

COLUMN = {"levels": [850, 500], "weights": [1, 3]}


def with_instruments(config: Config, *instruments: InstrumentConfig) -> Config:
    names = [one.name for one in instruments]
    observations = replace(
        config.observations, use=["stations", *names], instruments=list(instruments)
    )
    return replace(config, observations=observations)


def first_batch(config: Config) -> Batch:
    data = multimodal(config)
    data.setup("test")
    return data.on_after_batch_transfer(next(iter(data.test_dataloader())), 0)


def seen(batch: Batch, name: str):
    (found,) = [o for o in batch.observations if o.name == name]
    return found


def test_drawn_values_have_the_error_of_the_recipe(tiny_config: Config) -> None:
    tovs = InstrumentConfig("tovs", "column", COLUMN, count=200, error=0.5, missing=0.25)
    config = with_instruments(tiny_config, tovs)
    each = replace(config.observations, gross_error=float("inf"), superob=SuperobConfig("off"))
    config = replace(config, observations=each)
    check(config)
    data = multimodal(config)
    data.setup("test")
    batch = data.on_after_batch_transfer(next(iter(data.test_dataloader())), 0)
    found = seen(batch, "tovs/temperature")
    truth = data.normaliser.denormalise(batch.fields, batch.climatology)
    noise = (found.values - found.operator(truth))[found.mask]
    count = found.mask.numel()
    assert noise.std().item() == pytest.approx(0.5, rel=4 / (2 * len(noise)) ** 0.5)
    assert found.mask.float().mean().item() == pytest.approx(0.75, abs=4 * (0.19 / count) ** 0.5)
    assert torch.equal(found.error_variance, torch.full_like(found.values, 0.25))
    assert "tovs/temperature" in data.operators()
    # The same in every batch that contains the day, and with other observations.
    assert {o.modality for o in batch.observations} == {"stations", "tovs"}
    again = seen(first_batch(config), "tovs/temperature")
    assert torch.equal(again.values.nan_to_num(), found.values.nan_to_num())


def test_reports_come_to_their_day_and_point(tiny_config: Config, tmp_path: Path) -> None:
    batch = first_batch(tiny_config)
    day = time_stamps(batch.time[1, 0].item())
    table = pd.DataFrame(
        {"time": [day, day], "latitude": [10.0, -50.0], "longitude": [40.0, 200.0]}
    ).assign(value=[270.0, 260.0], error=[0.5, 2.0])
    table.to_csv(tmp_path / "reports.csv", index=False)
    tovs = InstrumentConfig("tovs", "column", COLUMN, file=str(tmp_path / "reports.csv"))
    config = with_instruments(tiny_config, tovs)
    config = replace(config, observations=replace(config.observations, gross_error=float("inf")))
    found = seen(first_batch(config), "tovs/temperature")
    assert found.mask.sum(dim=-1).flatten().tolist() == [0, 2] + [0] * (len(batch) - 2)
    assert found.operator.latitude.tolist() == [-50.0, 10.0]
    assert found.values[1, 0].tolist() == [260.0, 270.0]
    assert found.error_variance[1, 0].tolist() == [4.0, 0.25]
    assert np.isnan(found.values[0].numpy()).all()


def test_reports_of_a_lattice_must_be_at_its_points(tiny_config: Config, tmp_path: Path) -> None:
    lattice = InstrumentConfig("olr", "lattice", {"channel": "outgoing_longwave_radiation"})
    drawn = seen(
        first_batch(with_instruments(tiny_config, lattice)), "olr/outgoing_longwave_radiation"
    )
    points = drawn.operator.latitude[5].item(), drawn.operator.longitude[5].item()
    day = time_stamps(first_batch(tiny_config).time[0, 0].item())
    table = pd.DataFrame({"time": [day], "latitude": points[0], "longitude": points[1] - 360})
    table.assign(longitude=table["longitude"].clip(lower=-180), value=240.0).to_csv(
        tmp_path / "olr.csv", index=False
    )
    config = with_instruments(tiny_config, replace(lattice, file=str(tmp_path / "olr.csv")))
    if points[1] >= 180:
        found = seen(first_batch(config), "olr/outgoing_longwave_radiation")
        assert found.mask[0, 0].nonzero().flatten().tolist() == [5]
    table.assign(latitude=points[0] + 1, longitude=points[1], value=240.0).to_csv(
        tmp_path / "olr.csv", index=False
    )
    with pytest.raises(UserError, match=r"is at none of the \d+ points that operator 'lattice'"):
        first_batch(config)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"name": "stations"}, r"instruments.0.name': found 'stations', expected a word"),
        ({"name": "a/b"}, r"instruments.0.name': found 'a/b'"),
        ({"operator": "colum"}, r"instruments.0.operator': found 'colum'; did you mean 'column'"),
        ({"error": 0.0}, r"instruments.0.error': found 0.0, expected more than 0"),
        ({"missing": 1.0}, r"instruments.0.missing': found 1.0"),
        ({"count": 0}, r"instruments.0.count': found 0"),
    ],
)
def test_instruments_that_cannot_be(tiny_config: Config, keys: dict, said: str) -> None:
    one = replace(InstrumentConfig("tovs", "column", COLUMN), **keys)
    with pytest.raises(UserError, match=said):
        check(with_instruments(tiny_config, one))


def test_names_are_taken_once_and_known(tiny_config: Config) -> None:
    tovs = InstrumentConfig("tovs", "column", COLUMN)
    with pytest.raises(UserError, match="tovs is listed twice"):
        check(with_instruments(tiny_config, tovs, tovs))
    config = with_instruments(tiny_config, tovs)
    config.observations.use = ["tovz"]
    with pytest.raises(UserError, match=r"observations.use': found 'tovz'; did you mean 'tovs'"):
        check(config)


def test_reports_that_share_a_point_of_the_lattice_are_kept(
    tiny_config: Config, tmp_path: Path
) -> None:
    """Two positions of one point complete one another; on one day they contradict."""
    options = {"channel": "outgoing_longwave_radiation"}
    lattice = InstrumentConfig("olr", "lattice", options)
    name = "olr/outgoing_longwave_radiation"
    batch = first_batch(with_instruments(tiny_config, lattice))
    operator = seen(batch, name).operator
    north, east = operator.latitude[5].item(), operator.longitude[5].item()
    days = [time_stamps(batch.time[case, 0].item()) for case in (0, 1)]
    rows = {"time": days, "latitude": [north, north + 0.004], "longitude": [east, east - 360]}
    table = pd.DataFrame(rows).assign(value=[240.0, 250.0])
    table["longitude"] = table["longitude"].clip(lower=east - 360 if east > 180 else east)
    path = tmp_path / "olr.csv"
    table.to_csv(path, index=False)
    config = with_instruments(tiny_config, replace(lattice, file=str(path)))
    config = replace(config, observations=replace(config.observations, gross_error=float("inf")))
    found = seen(first_batch(config), name)
    assert found.values[0, 0, 5].item() == 240.0
    assert found.values[1, 0, 5].item() == 250.0
    assert int(found.mask.sum()) == 2
    table.assign(time=days[0]).to_csv(path, index=False)
    with pytest.raises(UserError, match="two reports of one day are at the point"):
        first_batch(config)


class _Odd:
    """An operator that lacks something, or maps to something else."""

    def __init__(self, points: int, **wrong: object) -> None:
        self.latitude = self.longitude = torch.zeros(points, dtype=torch.float64)
        self.units, self.variable = "K", "temperature"
        self.shape = wrong.get("shape", points)

    def __len__(self) -> int:
        return len(self.latitude)

    def linear(self, state: torch.Tensor) -> torch.Tensor:
        return state.new_zeros(*state.shape[:-3], self.shape)

    def adjoint(self, values: torch.Tensor) -> torch.Tensor:
        return values.new_zeros(*values.shape[:-1], 4, 12, 24)

    def touches(self, points: torch.Tensor) -> torch.Tensor:
        return self.linear(points.float()) > 0

    def to(self, device: str) -> _Odd:
        return self


@pytest.mark.parametrize(
    ("built", "said"),
    [
        (None, "built NoneType, which lacks latitude"),
        (_Odd(3, shape=4), r"to \(1, 4\) at"),
        (_Odd(0), "at 0 points"),
    ],
)
def test_operators_of_others_are_looked_at_first(
    tiny_config: Config, built: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = OperatorSpec("odd", lambda request: built)
    monkeypatch.setattr(OPERATORS, "_found", {**OPERATORS._found, "odd": spec})
    config = with_instruments(tiny_config, InstrumentConfig("tovs", "odd"))
    with pytest.raises(UserError, match=said):
        multimodal(config)


def test_refusals_of_an_operator_name_the_instrument(tiny_config: Config) -> None:
    config = with_instruments(
        tiny_config, InstrumentConfig("tovs", "points", {"channel": "temperature@10"})
    )
    with pytest.raises(UserError, match=r"^key 'observations.instruments.0': observed .*@10"):
        multimodal(config)
