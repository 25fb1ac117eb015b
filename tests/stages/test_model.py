"""A trained model in a user's hands: inputs, analysis, cycle, bundle, and what is refused."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import slams as package
from data_modules.store.training_store import TrainingStore
from slams.assimilators.denoising_archive import DenoisingArchive
from slams.bundles.files import Bundle
from slams.calendar.days import time_stamps
from slams.cf import write_dataset
from slams.cli.main import main
from slams.errors import UserError
from slams.stages.bundle import export_run
from slams.stages.data import multimodal
from slams.stages.model import Model
from slams.stages.model_files import open_given, report_lines
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


def test_dense_reports_are_averaged_and_compared_one_by_one(
    model: Model, fields: xr.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = reports(fields, DAY, count=120)
    # Three more within the cells of the first ones, a little to the north.
    near = pd.concat([table.assign(latitude=table["latitude"] + k) for k in (1.0, 2.0, 3.0)])
    dense = pd.concat([table, near]).assign(value=lambda t: t["value"] + 0.1 * t["latitude"] % 1)
    given_to: list[int] = []
    method = model.assimilator("optimal_interpolation", 2)
    analyse = method.analyse

    def watched(batch, members):
        given_to.append(sum(int(o.mask.sum()) for o in batch.observations))
        return analyse(batch, members)

    monkeypatch.setattr(method, "analyse", watched)
    background = fields.sel(time=["2001-03-28"])
    found = model.analyse(DAY, background, dense, members=3, method="optimal_interpolation")
    counts = given(found)["stations/temperature@850"]
    assert counts["given"] == len(dense)
    assert given_to == [counts["superobservations"]]
    assert counts["superobservations"] <= len(table) < counts["used"] <= len(dense)
    assert counts["o_minus_a_rms"] < counts["o_minus_b_rms"]
    # As many reports as were used, in the cells in which they are.
    assert int(found["temperature_observation_count"].sum()) == counts["used"]
    (line,) = [x for x in report_lines(found) if "stations" in x]
    assert f"{counts['used']} used in {counts['superobservations']} superobservations" in line
    assert "superobservations " + str(counts["superobservations"]) not in line


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
    finished: Study, bundle: Path, fields: xr.Dataset
) -> None:
    """One analysis, two doors: observations drawn from the store, and the same in a table.

    Noise is drawn for every station of a network, and a table has only those that report: where
    observations are perturbed (the residual of the decoder), members are other draws.
    """
    model = package.load(bundle)
    model.config.assimilation.residual.sample = False
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


QUICK = {"members": 2, "method": "optimal_interpolation"}


def test_a_cycle_uses_every_report_on_its_day(model: Model, fields: xr.Dataset) -> None:
    """Whatever has no period, is in the index, or is a generator; with the same day alone."""
    table = pd.concat([reports(fields, f"2001-03-{d}", seed=d) for d in (28, 29, 30)])
    rain = pd.DataFrame(
        {"time": ["2001-03-29", DAY], "latitude": 10.0, "longitude": [30.0, 50.0],
         "variable": "tp", "value": 3.0, "hours": np.nan}
    )  # fmt: skip
    both = pd.concat([table, rain])
    expected = [model.analyse(day, None, both, **QUICK) for day in ("2001-03-29", DAY)]
    rows = table["time"].value_counts()
    for several in (both, both.set_index("time"), [table, rain], (x for x in (table, rain))):
        first, second = model.cycle("2001-03-29", several, 2, **QUICK)
        np.testing.assert_array_equal(first["temperature"], expected[0]["temperature"])
        for found, day in ((first, "2001-03-29"), (second, DAY)):
            assert given(found)["stations/temperature@850"]["given"] == rows[day]
            assert given(found)["stations/total_precipitation_24hr"]["given"] == 1
            assert "outside the day" not in json.dumps(given(found))
    (alone,) = model.cycle(DAY, both, 1, **QUICK)
    np.testing.assert_array_equal(alone["temperature"], expected[1]["temperature"])


def test_a_cycle_compares_reports_with_those_of_the_days_around(
    model: Model, fields: xr.Dataset
) -> None:
    """As an analysis of one day does: here a spike between the days before and after."""
    days = [f"2001-03-{d}" for d in (28, 29, 30)]
    table = pd.concat([reports(fields, "2001-03-29", 10).assign(time=day) for day in days])
    middle = (table["time"] == "2001-03-29") & (table["latitude"] == table["latitude"].iloc[0])
    table.loc[middle, "value"] -= 60.0
    alone = model.analyse("2001-03-29", None, table, **QUICK)
    assert given(alone)["stations/temperature@850"]["step"] == middle.sum()
    _, second, _ = model.cycle("2001-03-28", table, 3, **QUICK)
    assert given(second)["stations/temperature@850"]["step"] == middle.sum()


def test_a_cycle_uses_an_image_of_one_time_on_its_day(model: Model, fields: xr.Dataset) -> None:
    one = image(fields, "2001-03-29").isel(time=0)
    noleap = image(fields, "2001-03-29").convert_calendar("noleap", use_cftime=True)
    for several in (one, noleap):
        first, second = model.cycle("2001-03-29", several, 2, **QUICK)
        assert given(first)["satellite/outgoing_longwave_radiation"]["used"] > 10
        assert given(second) == {}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"observations": "obs.csv"}, "found str, expected a pandas DataFrame"),
        ({"start": "2001-01-05"}, "all are of 2001-03-28 to 2001-03-28, expected some of 2001-01"),
        ({"days": 0}, "days: found 0"),
        ({"days": 1.5}, "days: found 1.5, expected a whole number"),
        ({"members": 1}, "members: found 1"),
        ({"seed": -1}, "seed: found -1, expected at least 0"),
        ({"method": None}, "method: found None"),
        ({"hours": "x"}, "expected times and numbers"),
        ({"time": None}, "row 0 has time NaT"),
    ],
)
def test_a_cycle_that_cannot_begin_leaves_nothing(
    model: Model, fields: xr.Dataset, tmp_path: Path, change: dict, sentence: str
) -> None:
    table = reports(fields, "2001-03-28")
    table = table.assign(**{name: change[name] for name in ("hours", "time") if name in change})
    arguments = {"start": "2001-03-28", "observations": table, "days": 2, **QUICK}
    arguments |= {name: change[name] for name in change if name in arguments}
    if "seed" in change:
        arguments["seed"] = change["seed"]
    with pytest.raises(UserError, match=sentence):
        list(model.cycle(**arguments, output=tmp_path / "cycle"))
    assert not list(tmp_path.iterdir())


def test_a_function_of_the_day_may_have_nothing(model: Model, fields: xr.Dataset) -> None:
    for nothing in (None, [], reports(fields, DAY).iloc[:0]):
        (found,) = model.cycle(DAY, lambda day, nothing=nothing: nothing, 1, **QUICK)
        assert given(found) == {}


def test_a_cycle_has_its_directory_alone(model: Model, fields: xr.Dataset, tmp_path: Path) -> None:
    table = reports(fields, "2001-03-28")
    folder = tmp_path / "cycle"
    running = model.cycle("2001-03-28", table, 2, **QUICK, output=folder)
    fresh = [next(running)]
    with pytest.raises(UserError, match="in use by another cycle"):
        next(model.cycle("2001-03-28", table, 2, **QUICK, output=folder))
    fresh += list(running)
    again = list(model.cycle("2001-03-28", table, 2, **QUICK, output=folder))
    for one, other in zip(fresh, again, strict=True):
        xr.testing.assert_identical(one, other)
    (folder / "analysis_20010328.nc").write_bytes((folder / "analysis_20010329.nc").read_bytes())
    with pytest.raises(UserError, match="not the analysis of this day"):
        list(model.cycle("2001-03-28", table, 2, **QUICK, output=folder))
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=f"output: {wrong} cannot be written"):
            list(model.cycle("2001-03-28", table, 2, **QUICK, output=wrong))


def test_a_cycle_is_not_continued_with_another_archive(
    finished: Study, model: Model, tmp_path: Path
) -> None:
    few = package.load(export_run(finished.run("assimilation"), tmp_path / "few", days=40))
    list(model.cycle(DAY, None, 1, **QUICK, output=tmp_path / "cycle"))
    with pytest.raises(UserError, match="holds a cycle with archive_days"):
        list(few.cycle(DAY, None, 1, **QUICK, output=tmp_path / "cycle"))


def test_settings_of_an_analysis_that_mean_nothing_are_refused(
    model: Model, fields: xr.Dataset
) -> None:
    background = fields.sel(time=["2001-03-28"])
    for change, sentence in (
        ({"missing": "ignore"}, "missing: found 'ignore'; expected one of refuse, climatology"),
        ({"seed": 2**63}, "seed: found 9223372036854775808, expected at most"),
        ({"members": 3.0}, "members: found 3.0, expected a whole number"),
        ({"background_age": 2.0}, "background_age: found 2.0, expected a whole number"),
        ({"observations": Path("obs.csv")}, "observations: found PosixPath, expected a pandas"),
    ):
        with pytest.raises(UserError, match=sentence):
            model.analyse(DAY, background, **{**QUICK, **change})
    found = model.analyse(DAY, background, None, **QUICK, background_age=1)
    assert "background: 2 days old by its time, taken as 1" in found.attrs["notes"]


def test_scores_are_those_of_the_channels_that_the_truth_has(
    model: Model, fields: xr.Dataset
) -> None:
    truth = fields.sel(time=[DAY])
    every = json.loads(model.analyse(DAY, **QUICK, verify=truth).attrs["scores"])
    some = json.loads(model.analyse(DAY, **QUICK, verify=truth[["temperature"]]).attrs["scores"])
    assert some == {name: every[name] for name in ("temperature@850", "temperature@500")}
    with pytest.raises(UserError, match="verify: found no value"):
        model.analyse(DAY, **QUICK, verify=truth * np.nan)


def test_the_run_of_an_autoencoder_is_no_model(finished: Study, tmp_path: Path) -> None:
    for use in (package.load, lambda run: export_run(run, tmp_path / "model")):
        with pytest.raises(UserError, match="is the run of an autoencoder, expected"):
            use(finished.run("vae"))


def test_tables_with_their_time_in_the_index(model: Model, fields: xr.Dataset, tmp_path) -> None:
    file = tmp_path / "obs.parquet"
    table = reports(fields, DAY)
    table.set_index("time").to_parquet(file)
    (found,) = open_given([str(file)], [])
    assert given(model.analyse(DAY, None, found, **QUICK)) == given(
        model.analyse(DAY, None, table, **QUICK)
    )


def test_messages_name_the_file_of_an_input(
    model: Model, fields: xr.Dataset, tmp_path: Path
) -> None:
    reports(fields, DAY).to_csv(tmp_path / "good.csv", index=False)
    reports(fields, DAY).drop(columns="value").to_csv(tmp_path / "bad.csv", index=False)
    fields["temperature"].sel(time=[DAY]).to_netcdf(tmp_path / "image.nc")
    tables = [str(tmp_path / "good.csv"), str(tmp_path / "bad.csv")]
    given = open_given(tables, [])
    with pytest.raises(UserError, match=r"observations\[1\] \(.*bad\.csv\): column 'value'"):
        model.analyse(DAY, None, given, **QUICK)
    with pytest.raises(UserError, match=r"observations\[1\] \(.*bad\.csv\): column 'value'"):
        list(model.cycle(DAY, given, 1, **QUICK))
    with pytest.raises(UserError, match=r"observations \(.*image\.nc\): found imagery of temp"):
        model.analyse(DAY, None, open_given([], [str(tmp_path / "image.nc")]), **QUICK)


def test_a_day_without_observations_has_a_line(model: Model) -> None:
    assert next(report_lines(model.analyse(DAY, **QUICK))) == f"{DAY}: no observations"


@pytest.mark.parametrize("device", ["tpu", "meta:", "cuda:99", 3.5])
def test_a_device_that_is_not_there_is_refused(bundle: Path, device: object) -> None:
    with pytest.raises(UserError, match=r"device: found .*, expected cpu or cuda"):
        package.load(bundle, device=device)


def test_a_model_of_windows_is_refused_before_anything_is_made(
    bundle: Path, tmp_path: Path
) -> None:
    model = package.load(bundle)
    model.config = replace(model.config, data=replace(model.config.data, window=2))
    with pytest.raises(UserError, match="found a model of windows of 2 days"):
        list(model.cycle(DAY, None, 1, **QUICK, output=tmp_path / "cycle"))
    with pytest.raises(UserError, match="found a model of windows of 2 days"):
        model.analyse(DAY, **QUICK)
    assert not list(tmp_path.iterdir())


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


def test_errors_that_the_run_has_measured_are_not_measured_again(
    finished: Study,
    bundle: Path,
    fields: xr.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bundle has them, a run finds them beside it, and the analysis is the same without them."""
    run = finished.run("assimilation")
    written = [p for p in (bundle / "denoising_errors").rglob("*") if p.is_file()]
    assert Bundle.read(bundle).error_bytes == sum(p.stat().st_size for p in written) > 0
    without = export_run(run, tmp_path / "without", errors=False)
    assert Bundle.read(without).error_bytes == 0
    assert not (without / "denoising_errors").exists()
    age = package.load(bundle).inputs.trained_age
    background = fields.sel(time=[np.datetime64(DAY) - np.timedelta64(age, "D")])
    table = reports(fields, DAY)
    expected = package.load(without).analyse(DAY, background, table, members=2)

    def refuse(*words: object) -> None:
        raise AssertionError("denoised again")

    monkeypatch.setattr(DenoisingArchive, "_denoise", refuse)
    found = [
        package.load(path).analyse(DAY, background, table, members=2)
        for path in (bundle, run, export_run(run, tmp_path / "again"))
    ]
    xr.testing.assert_equal(found[1], found[0])
    xr.testing.assert_equal(found[2], found[0])
    # The run may have measured with another number of threads.
    xr.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(AssertionError, match="denoised again"):
        package.load(without).analyse(DAY, background, table, members=2)
    with pytest.raises(UserError, match="exists; remove it"):
        export_run(run, without)


def test_fewer_archive_days(finished: Study, tmp_path: Path) -> None:
    few = export_run(finished.run("assimilation"), tmp_path / "few", days=40)
    days = len(TrainingStore.open(few / "store.zarr").time)
    assert 20 <= days <= 40
    assert package.load(few).analyse(DAY, members=3).sizes["realization"] == 3


def test_fewer_archive_days_serve_backgrounds_of_every_age(
    finished: Study, fields: xr.Dataset, tmp_path: Path
) -> None:
    few = package.load(export_run(finished.run("assimilation"), tmp_path / "few", days=30))
    assert 16 <= few.archive_days <= 30
    for age in few.inputs.ages:
        background = fields.sel(time=[np.datetime64(DAY) - np.timedelta64(age, "D")])
        found = few.analyse(DAY, background, reports(fields, DAY), **QUICK)
        assert bool(np.isfinite(found["temperature"]).all())
    assert len(list(few.cycle(DAY, reports(fields, DAY), 2, **QUICK))) == 2
    with pytest.raises(UserError, match="--archive-days: found 15, expected at least 16"):
        export_run(finished.run("assimilation"), tmp_path / "none" / "model", days=15)
    assert not (tmp_path / "none").exists()


def test_a_link_to_the_output_stays_a_link(finished: Study, tmp_path: Path, monkeypatch) -> None:
    run = finished.run("assimilation")
    for name, there in (("empty", True), ("missing", False)):
        if there:
            (tmp_path / name).mkdir()
        link = tmp_path / f"to_{name}"
        link.symlink_to(name)
        export_run(run, link)
        assert link.is_symlink()
        assert package.load(link).archive_days > 0
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with pytest.raises(UserError, match="the working directory, expected one that can be repl"):
        export_run(run, ".")
    assert {p.name for p in tmp_path.iterdir()} == {
        "empty", "missing", "to_empty", "to_missing", "here",
    }  # fmt: skip


def test_two_exports_into_one_directory_make_one_bundle(finished: Study, tmp_path: Path) -> None:
    run, output = finished.run("assimilation"), tmp_path / "model"
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(export_run, [run, run], [output, output]))
    assert found == [output, output]
    assert package.load(output).archive_days > 0
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_model_is_read_from_another_working_directory(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it reads later, too."""
    monkeypatch.chdir(bundle.parent)
    model = package.load("model")
    monkeypatch.chdir(tmp_path)
    assert model.analyse(DAY, members=3, method="climatology").sizes["realization"] == 3


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
