"""Cycles of a model whose backgrounds are the forecasts of a learned filter."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import slams as package
from data_modules.store.training_store import TrainingStore
from data_modules.stream.windows import WindowDataset
from slams.bundles.weights import read_weights, write_weights
from slams.calendar.days import day_number
from slams.cli.main import main
from slams.config.loading import to_yaml
from slams.config.schema import BackgroundConfig, Config
from slams.errors import UserError
from slams.fields import Batch, Observations
from slams.grid import LatLonGrid
from slams.nn.recurrent import Memory
from slams.stages.bundle import export_run
from slams.stages.bundle_filter import find_filter
from slams.stages.data import multimodal
from slams.stages.model import Model
from slams.stages.model_state import _digest
from tests.stages.commands import filter_settings, slams, study

# The first cycle of `slams filter`, whose climatology is right: the check rejects some, not all.
START, DAYS = "2001-01-01", 8
QUICK = {"members": 2, "method": "optimal_interpolation"}
# The method analyses three of the four channels, in another order than the filter.
ANALYSED = ["outgoing_longwave_radiation", "temperature@850", "temperature@500"]


@dataclass
class Filtered:
    """Holds a study whose backgrounds are forecasts of a filter, and a bundle of it."""

    config: Config
    root: Path
    bundle: Path

    def run(self, stage: str) -> Path:
        return Path(self.config.runs) / self.config.experiment / stage


@pytest.fixture(scope="module")
def filtered(
    tmp_path_factory: pytest.TempPathFactory, tiny_source: Path, tiny_prepared: Path
) -> Filtered:
    root = tmp_path_factory.mktemp("model_filter")
    config = study(root, tiny_source)
    shutil.copytree(tiny_prepared, config.data.store)
    config.filter = filter_settings(str(root / "forecasts.zarr"))
    # A limit that some observations exceed, and reports that are averaged.
    config.observations.gross_error = 2.0
    config.observations.superob.cell = 30
    recipe = root / "filter.yaml"
    recipe.write_text(to_yaml(replace(config, experiment="observed/filter")))
    for verb in ("train filter", "filter"):
        assert slams(recipe, verb) == 0
    config.background = BackgroundConfig(kind="file", path=config.filter.output, lag=1)
    config.data.channels = list(ANALYSED)
    (root / "recipe.yaml").write_text(to_yaml(config))
    for verb in ("train vae", "train score"):
        assert slams(root / "recipe.yaml", verb) == 0
    run = Path(config.runs) / config.experiment / "score"
    return Filtered(config, root, export_run(run, root / "model", errors=False))


@pytest.fixture(scope="module")
def model(filtered: Filtered) -> Model:
    return package.load(filtered.bundle)


@pytest.fixture(scope="module")
def observed(filtered: Filtered) -> Callable[[date], list[Any]]:
    """Return a function from a day to what the DataModule of the filter observes on it.

    Observations that it rejects are given too: the model has to reject them by itself.
    """
    config = replace(
        filtered.config,
        background=BackgroundConfig(kind="climatology"),
        data=replace(filtered.config.data, channels=[]),
        observations=replace(filtered.config.observations, gross_error=np.inf),
    )
    data = multimodal(config)
    data.averages = False
    dataset = WindowDataset(data.store, np.arange(len(data.store.time)), 1)

    def of_day(day: date) -> list[Any]:
        position = int(np.searchsorted(data.store.time, day_number(day)))
        stations, satellite = data.assemble(dataset.read([position])).observations
        return [table(stations, day), image(satellite, data.grid, day)]

    return of_day


def table(stations: Observations, day: date) -> pd.DataFrame:
    there = stations.mask[0, 0]
    return pd.DataFrame(
        {
            "time": str(day),
            "latitude": stations.operator.latitude[there].numpy(),
            "longitude": stations.operator.longitude[there].numpy(),
            "variable": "temperature",
            "level": 850.0,
            "value": stations.values[0, 0][there].numpy().astype(np.float64),
        }
    )


def image(satellite: Observations, grid: LatLonGrid, day: date) -> xr.DataArray:
    coarse = grid.coarsen(2)
    values = torch.where(satellite.mask, satellite.values, torch.nan)[0, 0].reshape(coarse.shape)
    return xr.DataArray(
        values.numpy()[None],
        dims=("time", "latitude", "longitude"),
        coords={
            "time": [np.datetime64(str(day), "ns")],
            "latitude": coarse.latitude.numpy(),
            "longitude": coarse.longitude.numpy(),
        },
        name="olr",
        attrs={"units": "W m-2"},
    )


def backgrounds(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """Return a list to which the case of each day is added."""
    cases: list[Batch] = []
    analyse = model.analyse_case

    def spied(batch: Batch, *rest: Any) -> Any:
        cases.append(batch)
        return analyse(batch, *rest)

    monkeypatch.setattr(model, "analyse_case", spied)
    return cases


def test_backgrounds_of_a_cycle_are_the_forecasts_of_the_pipeline(
    filtered: Filtered, model: Model, observed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = backgrounds(model, monkeypatch)
    found = list(model.cycle(START, observed, DAYS, **QUICK))
    given = [json.loads(d.attrs["observations"])["stations/temperature@850"] for d in found]
    assert sum(one.get("gross error", 0) for one in given) > 0
    assert sum(one["used"] - one["superobservations"] for one in given) > 0
    written = TrainingStore.open(filtered.config.filter.output, ANALYSED)
    normaliser = written.normaliser()
    largest = 0.0
    for number, case in enumerate(cases):
        position = int(np.searchsorted(written.time, float(case.time[0, 0])))
        state = torch.from_numpy(written.read([position]))[None]
        expected = normaliser.normalise(state, normaliser.climatology(case.time))
        np.testing.assert_allclose(case.background.mean, expected, atol=1 / 64 + 1e-3)
        largest = max(largest, float(case.background.mean.abs().max()))
        # The error variance is that of the archive, once there is a forecast.
        provider = model.aged(0 if number else None).provider
        variance = provider.of_states(expected).variance if number else torch.tensor(1.0)
        np.testing.assert_allclose(case.background.variance, variance.expand_as(expected))
    assert largest > 0.5


def test_a_cycle_that_was_interrupted_gives_the_same_bytes(
    filtered: Filtered, observed: Callable, tmp_path: Path
) -> None:
    """Also if the process died between an analysis and the state."""
    for name, stop in (("a", 5), ("b", 3)):
        part = package.load(filtered.bundle).cycle(
            START, observed, 5, output=tmp_path / name, **QUICK
        )
        for _ in range(stop):
            next(part)
        part.close()
    assert not (tmp_path / "b" / "analysis_20010105.nc").exists()
    (tmp_path / "b" / "analysis_20010104.nc").write_bytes(b"half")
    list(package.load(filtered.bundle).cycle(START, observed, 5, output=tmp_path / "b", **QUICK))
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert len(files) == 6
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_a_day_without_observations_is_a_step_without_them(
    model: Model, observed: Callable, tmp_path: Path
) -> None:
    def with_outage(day: date) -> list[Any]:
        return [] if day == date(2001, 1, 3) else observed(day)

    memories = []
    found = []
    for analysis in model.cycle(START, with_outage, 3, output=tmp_path, **QUICK):
        found.append(analysis)
        state = read_weights(tmp_path / "state.safetensors")["state_dict"]
        memories.append(Memory(state["forecast"], state["hidden"], state["age"]))
    assert json.loads(found[2].attrs["observations"]) == {}
    assert [float(memory.age) for memory in memories] == [1, 2, 3]
    outage = torch.tensor([float(day_number(date(2001, 1, 3)))], dtype=torch.float64)
    expected = model.learned_filter.module.without_observations(memories[1], outage)
    assert torch.equal(memories[2].forecast, expected.forecast)
    assert not torch.equal(memories[2].forecast, memories[1].forecast)


def test_a_state_that_is_damaged_or_of_another_cycle_is_refused(
    filtered: Filtered, model: Model, observed: Callable, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    list(model.cycle(START, observed, 1, output=whole, **QUICK))

    def refused(change: Callable[[dict[str, Any]], None], sentence: str) -> None:
        folder = tmp_path / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        content = read_weights(folder / "state.safetensors")
        change(content)
        write_weights(content, folder / "state.safetensors")
        with pytest.raises(UserError, match=sentence):
            next(model.cycle(START, observed, 1, output=folder, **QUICK))

    def of_other_shape(content: dict[str, Any]) -> None:
        content["state_dict"]["hidden"] = torch.zeros(1, 2, 6, 12)
        content["slams"]["sha256"] = _digest(content["state_dict"])

    def of_no_filter(content: dict[str, Any]) -> None:
        del content["slams"]["filter"]

    refused(lambda content: content["state_dict"]["hidden"].add_(1), "is damaged")
    refused(lambda content: content["state_dict"].pop("age"), "is damaged")
    refused(of_other_shape, r"is damaged \(ValueError\)")
    refused(of_no_filter, f"with filter none, expected {model.learned_filter.run_id}")
    refused(
        lambda content: content["slams"].update(filter="other"), "holds a cycle with filter other"
    )


def test_observed_channels_that_the_filter_does_not_know_are_refused(
    model: Model, observed: Callable
) -> None:
    """If the model analyses them; what it does not know either is only counted."""

    def cycle(variable: str, level: float) -> xr.Dataset:
        def of_day(day: date) -> list[Any]:
            reports, picture = observed(day)
            other = reports.iloc[:5].assign(variable=variable, level=level, value=10.0)
            if variable == "temperature":
                other["value"] = reports["value"].iloc[:5] - 10
            return [pd.concat([reports, other]), picture]

        (analysis,) = model.cycle(START, of_day, 1, **QUICK)
        return analysis

    with pytest.raises(UserError, match="found stations/temperature@500, but the learned filter"):
        cycle("temperature", 500.0)
    found = json.loads(cycle("total_precipitation_24hr", np.nan).attrs["observations"])
    assert found["stations/total_precipitation_24hr"]["given"] == 5


def test_what_neither_knows_does_not_reach_the_filter(
    model: Model, observed: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The filter's store has precipitation, but no one observed it in training."""

    def of_day(day: date) -> list[Any]:
        reports, picture = observed(day)
        rain = reports.iloc[:5].assign(
            variable="total_precipitation_24hr", level=np.nan, value=30.0
        )
        return [pd.concat([reports, rain]), picture]

    cases = backgrounds(model, monkeypatch)
    for source in (observed, of_day):
        list(model.cycle(START, source, 2, **QUICK))
    assert torch.equal(cases[1].background.mean, cases[3].background.mean)
    assert not torch.equal(cases[1].background.mean, cases[0].background.mean)


def test_inputs_and_the_card_tell_of_the_filter(filtered: Filtered, model: Model) -> None:
    assert model.inputs.filter_observes == ("temperature@850", "outgoing_longwave_radiation")
    assert "forecasts of a learned filter, which observes temperature@850" in str(model.inputs)
    assert "learned filter" in (filtered.bundle / "README.md").read_text()
    assert not model.inputs.notes
    # It is the same bundle that another export would write.
    assert export_run(filtered.run("score"), filtered.bundle, errors=False) == filtered.bundle


def test_without_its_filter_a_model_is_exported_and_says_so(
    filtered: Filtered, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(filtered.config.runs, runs)
    record = runs / "observed" / "filter" / "filter" / "run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "run_id": "another"}))
    bundle = export_run(runs / "tiny" / "score", tmp_path / "model", errors=False)
    assert not list(bundle.glob("filter*"))
    # A bundle of the version before has no such entry.
    content = json.loads((bundle / "bundle.json").read_text())
    assert content.pop("filter") == ""
    (bundle / "bundle.json").write_text(json.dumps(content))
    model = package.load(bundle)
    (note,) = model.inputs.notes
    assert "is not there, among the runs beside this one: the model is exported without" in note
    assert "learned filter, which" not in str(model.inputs)
    with pytest.raises(UserError, match="a cycle needs backgrounds that are 1 day old"):
        next(model.cycle(START, None, 1, **QUICK))


def test_a_filter_that_no_cycle_can_use_is_left_out(filtered: Filtered, tmp_path: Path) -> None:
    runs, run = tmp_path / "runs", tmp_path / "runs" / "observed" / "filter"
    shutil.copytree(filtered.config.runs, runs)
    states = TrainingStore.open(filtered.config.filter.output, ANALYSED)
    found, why = find_filter(runs, states)
    assert found is not None
    assert found.run_id == states.attributes["made_by"]["run"]
    assert why == ""
    assert find_filter(runs, None) == (None, "")
    made_by = {**states.attributes["made_by"], "lag": 3}
    late = replace(states, attributes={**states.attributes, "made_by": made_by})
    assert "with lag 3, and a cycle needs those with lag 1" in find_filter(runs, late)[1]
    other = replace(states, channels=states.channels[::-1])
    assert "other statistics than it was trained with" in find_filter(runs, other)[1]
    recipe = run / "filter" / "config.yaml"
    moved = str(tmp_path / "moved.zarr")
    recipe.write_text(recipe.read_text().replace(filtered.config.data.store, moved))
    assert "cannot be read (" in find_filter(runs, states)[1]


def test_the_same_by_the_command_line(
    filtered: Filtered, model: Model, observed: Callable, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [observed(date(2001, 1, day)) for day in (1, 2)]
    pd.concat([reports for reports, _ in given]).to_csv("stations.csv", index=False)
    xr.concat([picture for _, picture in given], "time").to_netcdf("olr.nc")
    words = ["--start", START, "--days", "2", "--stations", "stations.csv", "--imagery", "olr.nc"]
    words += ["--members", "2", "--method", "background"]
    assert main(["cycle", str(filtered.bundle), *words]) == 0
    expected = list(model.cycle(START, observed, 2, members=2, method="background"))
    with xr.open_dataset("cycle/analysis_20010102.nc") as found:
        np.testing.assert_allclose(found["temperature"], expected[1]["temperature"], atol=1e-2)
