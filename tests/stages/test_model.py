"""A trained model in a user's hands: inputs, analysis, cycle, bundle, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import slams as package
from data_modules.store.training_store import TrainingStore
from slams.bundles.files import Bundle
from slams.calendar.days import time_stamps
from slams.cf import write_dataset
from slams.cli.main import main
from slams.errors import UserError
from slams.stages.bundle import export_run
from slams.stages.data import multimodal
from slams.stages.model import Model
from tests.cf.compliance import complaints
from tests.stages.commands import tree
from tests.stages.conftest import Study

DAY = "2001-03-30"


@pytest.fixture(scope="module")
def bundle(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_run(finished.run("assimilation"), tmp_path_factory.mktemp("bundle") / "model")


@pytest.fixture(scope="module")
def model(bundle: Path) -> Model:
    return package.load(bundle)


@pytest.fixture(scope="module")
def fields(finished: Study) -> xr.Dataset:
    """Return the nature run that the model was trained on, as a user would open it."""
    source = finished.config.data.source.path
    return xr.open_zarr(source, consolidated=False).load()


def reports(fields: xr.Dataset, day: str, count: int = 25, seed: int = 0) -> pd.DataFrame:
    """Return a table of temperatures at 850 hPa at grid points, with errors of 0.5 K."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, fields.sizes["latitude"] - 1, count)
    columns = rng.integers(0, fields.sizes["longitude"], count)
    state = fields["temperature"].sel(time=day, level=850).values[rows, columns]
    table = pd.DataFrame(
        {
            "time": day,
            "latitude": fields["latitude"].values[rows],
            "longitude": fields["longitude"].values[columns],
            "variable": "temperature",
            "level": 850.0,
            "value": state + 0.5 * rng.standard_normal(count),
            "error": 0.5,
        }
    )
    return table.drop_duplicates(["latitude", "longitude"])


def image(fields: xr.Dataset, day: str) -> xr.DataArray:
    """Return the outgoing longwave radiation of half of the globe."""
    whole = fields["outgoing_longwave_radiation"].sel(time=[day])
    return whole.where(whole["longitude"] < 180)


def given(found: xr.Dataset) -> dict:
    return json.loads(found.attrs["observations"])


def test_inputs_say_what_may_be_given(model: Model) -> None:
    inputs = model.inputs
    assert inputs.ages == (1, 2, 3)
    assert inputs.trained_age == 2
    text = str(inputs)
    for word in ("12 x 24", "1, 2, 3 days old", "outgoing_longwave_radiation", "W m-2"):
        assert word in text


def test_an_analysis_is_nearer_to_the_truth_than_its_background(
    model: Model, fields: xr.Dataset
) -> None:
    """Between the reports too. (The networks were trained for seconds, they prove nothing.)"""
    background, truth = fields.sel(time=["2001-03-28"]), fields.sel(time=[DAY])
    observations = [reports(fields, DAY), image(fields, DAY)]
    scores = {}
    for method in ("background", "optimal_interpolation", "latent_diffusion"):
        found = model.analyse(
            DAY, background, observations, members=4, method=method, verify=truth
        )
        scores[method] = json.loads(found.attrs["scores"])["temperature@850"]["rmse"]
        assert found["temperature"].dims == (
            "time", "realization", "level", "latitude", "longitude",
        )  # fmt: skip
        assert found.sel(time=DAY).sizes["realization"] == 4
    assert scores["optimal_interpolation"] < 0.8 * scores["background"]


def test_observations_are_counted_and_compared(model: Model, fields: xr.Dataset) -> None:
    table = reports(fields, DAY)
    table.loc[table.index[0], "value"] += 30.0
    found = model.analyse(
        DAY, fields.sel(time=["2001-03-28"]), [table, image(fields, DAY)], members=4,
        method="optimal_interpolation",
    )  # fmt: skip
    stations = given(found)["stations/temperature@850"]
    reasons = set(stations) - {"given", "used"}
    rejected = sum(stations[k] for k in reasons if isinstance(stations[k], int))
    assert stations["given"] == len(table)
    assert 1 <= rejected < 4
    assert stations["used"] == len(table) - rejected
    assert stations["o_minus_a_rms"] < stations["o_minus_b_rms"]
    counts = found["temperature_observation_count"].sel(level=850)
    assert int(counts.sum()) == stations["used"]
    satellite = given(found)["satellite/outgoing_longwave_radiation"]
    assert int(found["olr_observation_count"].sum()) == satellite["used"] > 0


@pytest.mark.filterwarnings("ignore:The ioos_sos checker is deprecated")
def test_an_analysis_is_a_cf_dataset_on_disk_too(
    model: Model, fields: xr.Dataset, tmp_path: Path
) -> None:
    found = model.analyse(DAY, observations=reports(fields, DAY), members=2)
    assert found["temperature"].attrs["cell_methods"] == "time: mean"  # as the store has noted
    file = tmp_path / "analysis.nc"
    write_dataset(found, file)
    assert not complaints(file)
    with xr.open_dataset(file, decode_coords="all") as read:
        xr.testing.assert_identical(read.load(), found)


def test_given_inputs_and_a_store_lead_to_the_same_analysis(
    finished: Study, model: Model, fields: xr.Dataset
) -> None:
    """One analysis, two doors: observations drawn from the store, and the same in a table."""
    data = multimodal(finished.config)
    window = next(iter(data.test_dataloader()))
    batch = data.on_after_batch_transfer(window).select(slice(1, 2))
    day = str(time_stamps(float(batch.time[0, 0])))[:10]
    batch = replace(batch, case=torch.tensor([int(batch.time[0, 0])]))
    expected = model.assimilator(background_age=2).analyse(batch, 3)
    stations, satellite = batch.observations
    observed = [_table(stations, day), _image(satellite, data.grid, day)]
    start = str(time_stamps(float(batch.time[0, 0]) - 2))[:10]
    found = model.analyse(day, fields.sel(time=[start]), observed, members=3)
    for name, channel in (("olr", 3), ("tp", 2)):
        np.testing.assert_allclose(
            found[name].values[0], expected.members[0, :, 0, channel].numpy(), atol=2e-3
        )
    np.testing.assert_allclose(
        found["temperature"].values[0], expected.members[0, :, 0, :2].numpy(), atol=2e-3
    )


def _table(stations, day: str) -> pd.DataFrame:
    there = stations.mask[0, 0]
    return pd.DataFrame(
        {
            "time": day,
            "latitude": stations.operator.latitude[there].numpy(),
            "longitude": stations.operator.longitude[there].numpy(),
            "variable": "temperature",
            "level": 850.0,
            "value": stations.values[0, 0][there].numpy().astype(np.float64),
        }
    )


def _image(satellite, grid, day: str) -> xr.DataArray:
    coarse = grid.coarsen(2)
    values = torch.where(satellite.mask, satellite.values, torch.nan)[0, 0].reshape(coarse.shape)
    return xr.DataArray(
        values.numpy()[None],
        dims=("time", "latitude", "longitude"),
        coords={
            "time": [np.datetime64(day, "ns")],
            "latitude": coarse.latitude.numpy(),
            "longitude": coarse.longitude.numpy(),
        },
        name="olr",
        attrs={"units": "W m-2"},
    )


def test_reports_that_are_held_out_do_not_enter(model: Model, fields: xr.Dataset) -> None:
    background, held = fields.sel(time=["2001-03-28"]), reports(fields, DAY, 10, seed=3)
    arguments = (DAY, background, reports(fields, DAY))
    settings = {"members": 4, "method": "optimal_interpolation"}
    found = model.analyse(*arguments, **settings, verify=held)
    departures = json.loads(found.attrs["held_out"])["stations/temperature@850"]
    assert departures["given"] == len(held)
    assert departures["o_minus_a_rms"] < departures["o_minus_b_rms"]
    alone = model.analyse(*arguments, **settings)
    xr.testing.assert_equal(found, alone)
    with pytest.raises(UserError, match="verify: "):
        model.analyse(*arguments, **settings, verify=held.drop(columns="value"))


def test_without_background_and_without_observations(model: Model, fields: xr.Dataset) -> None:
    found = model.analyse(DAY, members=3)
    assert given(found) == {}
    other = model.analyse(DAY, members=3, seed=5)
    assert not found["temperature"].equals(other["temperature"])
    xr.testing.assert_identical(found, model.analyse(DAY, members=3))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"method": "latent_difusion"}, "did you mean 'latent_diffusion'"),
        ({"time": 20200115}, "time: found 20200115, expected a day"),
        ({"time": "soon"}, "time: found 'soon', expected a day"),
        ({"members": 1}, "members: found 1, expected at least 2"),
        ({"background_age": 2}, "background_age: found without a background"),
        ({"background": ["2001-03-10"]}, "20 days before 2001-03-30, expected one of 1, 2, 3"),
        ({"background": ["2001-04-01"]}, "-2 days before"),
        ({"verify": ["2001-03-29"]}, "verify: found a state of 2001-03-29, expected one of 2001"),
    ],
)
def test_inputs_that_cannot_be_used_are_refused_in_a_sentence(
    model: Model, fields: xr.Dataset, change: dict, sentence: str
) -> None:
    arguments = {"time": DAY, "members": 3, **change}
    for name in ("background", "verify"):
        if name in arguments:
            arguments[name] = fields.sel(time=arguments[name])
    with pytest.raises(UserError, match=sentence):
        model.analyse(**arguments)


def test_a_background_without_some_channels(model: Model, fields: xr.Dataset) -> None:
    background = fields[["temperature"]].sel(time=["2001-03-28"])
    with pytest.raises(UserError, match="missing"):
        model.analyse(DAY, background, members=3)
    found = model.analyse(DAY, background, members=3, missing="climatology")
    assert bool(np.isfinite(found["olr_mean"]).all())
    assert "missing: " in found.attrs["notes"]


def test_a_cycle_that_was_interrupted_gives_the_same_bytes(
    bundle: Path, fields: xr.Dataset, tmp_path: Path
) -> None:
    table = pd.concat([reports(fields, f"2001-03-{d}", seed=d) for d in (28, 29, 31)])
    settings = {"days": 5, "members": 3}
    whole = list(
        package.load(bundle).cycle("2001-03-28", [table], output=tmp_path / "a", **settings)
    )
    assert [str(d["time"].values[0])[:10] for d in whole] == [
        "2001-03-28", "2001-03-29", "2001-03-30", "2001-03-31", "2001-04-01",
    ]  # fmt: skip
    assert given(whole[2]) == {}
    part = package.load(bundle).cycle("2001-03-28", [table], output=tmp_path / "b", **settings)
    for _ in range(3):
        next(part)
    part.close()
    # As if the process had died between the analysis and the state.
    (tmp_path / "b" / "analysis_20010331.nc").write_bytes(b"half")
    again = list(
        package.load(bundle).cycle("2001-03-28", [table], output=tmp_path / "b", **settings)
    )
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one["temperature"], other["temperature"])
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert len(files) == 6
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    with pytest.raises(UserError, match="holds a cycle with members 3, expected 4"):
        list(
            package.load(bundle).cycle("2001-03-28", [table], 5, members=4, output=tmp_path / "b")
        )


def test_a_cycle_takes_a_function_of_the_day(model: Model, fields: xr.Dataset) -> None:
    seen = []

    def observed(day) -> list[pd.DataFrame]:
        seen.append(str(day))
        return [reports(fields, str(day))] if day.day == 29 else []

    first, second = model.cycle(
        "2001-03-28", observed, 2, members=3, method="optimal_interpolation"
    )
    assert seen == ["2001-03-28", "2001-03-29"]
    assert given(first) == {}
    assert given(second)["stations/temperature@850"]["used"] > 10


def test_a_bundle_is_refused_when_it_has_changed(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"

    def changed(name: str, sentence: str, content: bytes | None = None) -> None:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(bundle, copy)
        path = copy / name
        if content is None:
            values = bytearray(path.read_bytes())
            values[len(values) // 2] ^= 1
            content = bytes(values)
        path.write_bytes(content) if content else path.unlink()
        with pytest.raises(UserError, match=sentence):
            package.load(copy)

    for name in Bundle.read(bundle).files:
        changed(name, "has changed since it was exported")
    changed("vae.safetensors", "cannot be read", b"")
    record = (bundle / "bundle.json").read_text()
    changed(
        "bundle.json",
        "version 9 of bundles, expected 1",
        record.replace('"bundle": 1', '"bundle": 9').encode(),
    )
    changed("bundle.json", "damaged", b"{")
    outside = json.loads(record)
    outside["files"]["../secret"] = "0"
    changed("bundle.json", "a file outside of it", json.dumps(outside).encode())


def test_a_bundle_without_archive_serves_no_method(finished: Study, tmp_path: Path) -> None:
    small = export_run(finished.run("score"), tmp_path / "small", archive=False)
    model = package.load(small)
    assert "no archive" in str(model.inputs)
    with pytest.raises(UserError, match="without --without-archive"):
        model.analyse(DAY)


def test_fewer_archive_days(finished: Study, tmp_path: Path) -> None:
    few = export_run(finished.run("assimilation"), tmp_path / "few", days=40)
    days = len(TrainingStore.open(few / "store.zarr").time)
    assert 20 <= days <= 40
    assert package.load(few).analyse(DAY, members=3).sizes["realization"] == 3


def test_the_card_states_scores_and_limits(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: slams\n")
    for words in ("| latent_diffusion |", "twin experiment", "Apache-2.0", "2001-01-01"):
        assert words in card


def test_the_same_by_the_command_line(
    finished: Study, fields: xr.Dataset, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    fields.sel(time=["2001-03-28"]).to_netcdf("background.nc")
    reports(fields, DAY).to_csv("stations.csv", index=False)
    image(fields, DAY).to_netcdf("olr.nc")
    run = str(finished.run("assimilation"))
    assert main(["export", run]) == 0
    before = tree(tmp_path)
    assert main(["export", run]) == 0  # it is there already
    assert tree(tmp_path) == before
    assert main(["export", run, "--archive-days", "40"]) == 2
    assert "model exists" in capsys.readouterr().err
    assert main(["info", "model"]) == 0
    assert "12 x 24" in capsys.readouterr().out
    words = ["--time", DAY, "--background", "background.nc", "--members", "3"]
    words += ["--stations", "stations.csv", "--imagery", "olr.nc"]
    assert main(["analyse", "model", *words]) == 0
    said = capsys.readouterr().out
    assert "stations/temperature@850" in said
    assert "O-B" in said
    with xr.open_dataset("analysis.nc") as found:
        expected = package.load("model").analyse(
            DAY,
            fields.sel(time=["2001-03-28"]),
            [reports(fields, DAY), image(fields, DAY)],
            members=3,
        )
        np.testing.assert_allclose(found["temperature"], expected["temperature"], atol=1e-3)
    assert main(["analyse", "model", *words[:2], "--stations", "nothing.csv"]) == 2
    assert "nothing.csv: found no such file" in capsys.readouterr().err
    assert main(["analyse", "model", *words[:2], "--output", "analysis.txt"]) == 2
    assert "expected .nc or .zarr" in capsys.readouterr().err
    cycle = ["--start", DAY, "--days", "2", "--members", "3", "--stations", "stations.csv"]
    assert main(["cycle", "model", *cycle]) == 0
    assert sorted(p.name for p in Path("cycle").iterdir()) == [
        "analysis_20010330.nc", "analysis_20010331.nc", "state.safetensors",
    ]  # fmt: skip
