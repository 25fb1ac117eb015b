"""A study with winds and humidity, from the source to the report, through the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from data_modules.store.training_store import TrainingStore
from slams.config.loading import to_yaml
from slams.config.schema import StationVariableConfig
from slams.report.calibration import spread_and_error
from slams.report.kept_case import kept_case
from slams.report.mapdata import case_fields, variable_levels
from slams.report.reading import lookup, read_assimilation
from slams.report.tables import other_tables
from tests.stages.commands import VERBS, slams, study
from tests.stages.conftest import Study
from tests.synthetic import CHANNELS, MOVING_AIR, nature_run

ANALYSED = [*CHANNELS, *(name for name in MOVING_AIR if not name.startswith("v_"))]


@pytest.fixture(scope="module")
def windy(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Winds and humidity in the state; the northward wind only conditions."""
    root = tmp_path_factory.mktemp("windy")
    nature_run(winds=True).to_zarr(root / "nature.zarr", zarr_format=3, consolidated=False)
    config = study(
        root,
        root / "nature.zarr",
        channels=[*CHANNELS, *MOVING_AIR],
        condition_only=["v_component_of_wind"],
    )
    config.observations.stations.variables += [
        StationVariableConfig("u_component_of_wind@850", 1.0),
        StationVariableConfig("specific_humidity@850", 0.01),
    ]
    config.observations.stations.held_out = 0.2
    config.assimilation.modality_study = 0
    (root / "recipe.yaml").write_text(to_yaml(config))
    made = Study(config, root / "recipe.yaml", root)
    for verb in VERBS:
        made.codes[verb] = slams(made.recipe, verb)
    return made


def test_every_command_succeeds(windy: Study) -> None:
    assert set(windy.codes.values()) == {0}


def test_networks_learn_every_channel(windy: Study) -> None:
    frame = pd.read_parquet(windy.run("vae") / "reconstruction.parquet")
    assert len(frame) == len(CHANNELS) + len(MOVING_AIR)
    units = dict(zip(frame["variable"], frame["units"], strict=True))
    assert units["u_component_of_wind"] == "m s-1"
    assert units["specific_humidity"] == "sqrt(kg kg-1)"
    columns = pd.read_csv(windy.run("vae") / "metrics.csv").columns
    for variable in ("temperature", "v_component_of_wind", "specific_humidity"):
        assert f"validation/rmse_{variable}" in columns


def test_results_are_those_of_the_analysed_channels_in_physical_units(windy: Study) -> None:
    run = windy.run("assimilation")
    results = pd.read_parquet(run / "results.parquet")
    rmse = results[results["metric"] == "rmse"].set_index(["method", "variable", "level"])["value"]
    assert set(rmse["climatology"].index) == {
        *((n.partition("@")[0], n.partition("@")[2] or "surface") for n in ANALYSED),
        *((v, "mean") for v in ("temperature", "u_component_of_wind", "specific_humidity")),
    }
    for variable in ("temperature", "u_component_of_wind"):
        levels = [rmse["climatology", variable, level] for level in ("850", "500")]
        assert rmse["climatology", variable, "mean"] == pytest.approx(np.mean(levels))
    # What stations see of wind and humidity takes part of the background's error away.
    for variable in ("u_component_of_wind", "specific_humidity"):
        analysis = rmse["optimal_interpolation", variable, "850"]
        assert analysis < 0.95 * rmse["background", variable, "850"]


def test_scores_are_those_of_the_analyses_in_physical_units(windy: Study) -> None:
    run = windy.run("assimilation")
    cases = pd.read_parquet(run / "cases.parquet").set_index(
        ["method", "variable", "level", "statistic", "case"]
    )["value"]
    weights = TrainingStore.open(windy.config.data.store).grid.weights.numpy()
    truth, members = (
        xr.open_zarr(run / "analysis.zarr", group=group, consolidated=False)
        for group in ("truth", "optimal_interpolation")
    )
    for name in ("temperature@850", "u_component_of_wind@500", "specific_humidity@850"):
        variable, _, level = name.partition("@")
        error = members[variable].mean("realization") - truth[variable]
        square = (error.sel(level=int(level)) ** 2).values.mean(axis=-1)
        for number, rows in zip(truth["case"].values, square, strict=True):
            expected = (rows * weights).sum() / weights.sum()
            found = cases["optimal_interpolation", variable, level, "mse", int(number)]
            assert found == pytest.approx(expected, rel=1e-4)


def test_analyses_carry_winds_and_humidity(windy: Study) -> None:
    store = windy.run("assimilation") / "analysis.zarr"
    found = xr.open_zarr(store, group="latent_diffusion", consolidated=False)
    assert "v_component_of_wind" not in found
    assert found["u_component_of_wind"].attrs["standard_name"] == "eastward_wind"
    assert found["specific_humidity"].attrs["units"] == "kg kg-1"
    humidity = found["specific_humidity"]
    assert float(humidity.sel(level=850).min()) >= 0.0
    assert humidity.sel(level=500).isnull().all()
    assert np.isfinite(found["u_component_of_wind"]).all()


def test_the_report_shows_each_variable_by_level(windy: Study) -> None:
    report = windy.run("assimilation") / "report"
    page = (report / "index.html").read_text()
    for title in ("Eastward wind by level", "Specific humidity by level", "Temperature by level"):
        assert title in page
    assert "Northward wind" not in page
    figures = {path.stem for path in Path(report / "figures").iterdir()}
    for variable in ("u_component_of_wind", "specific_humidity"):
        for name in ("profile_{}_rmse", "map_{}_error", "spectra_{}_spherical", "regions_{}_rmse"):
            assert name.format(variable) in figures
        for name in ("station_profile_1", "section_needed", "section_increment", "section_spread"):
            assert f"{variable}_{name}" in figures
            assert name in figures
        for name in ("ranks_{}", "spread_error_{}", "dates_{}_crps"):
            assert name.format(variable) in figures
        assert f"reconstruction_profile_{variable}" in figures
    assert "RMSE (g\N{NO-BREAK SPACE}kg⁻¹) of specific humidity by level" in page
    assert "RMSE (m\N{NO-BREAK SPACE}s⁻¹) of eastward wind by level" in page


def test_the_report_verifies_by_stations_that_were_held_out(windy: Study) -> None:
    run = windy.run("assimilation")
    used, kept_back = (pd.read_csv(run / f"stations{n}.csv") for n in ("", "_held_out"))
    assert (len(used), len(kept_back)) == (24, 6)
    space = pd.read_parquet(run / "observation_space.parquet")
    rows = space[space["use"].eq("held_out") & space["region"].eq("global")]
    scores = rows[rows["statistic"].eq("crps")]
    assert set(scores["n"]) == {6 * 7}  # stations, dates
    page = (run / "report" / "index.html").read_text()
    section = page.partition('<section id="held-out">')[2].partition("</section>")[0]
    assert "the smallest CRPS is that of" in section
    assert section.count("<tr>") == 1 + len(scores)
    assert "No station was held out" not in page


def test_the_report_shows_humidity_in_grams_and_leaves_the_file_as_it_is(windy: Study) -> None:
    path = windy.run("assimilation")
    stored = {n: pd.read_parquet(path / f"{n}.parquet") for n in ("results", "cases", "spectra")}
    shown = read_assimilation(path)

    def ratio(name: str, column: str, **keys: str) -> set[float]:
        frames = [stored[name], getattr(shown, name)]
        for key, value in keys.items():
            frames = [frame[frame[key] == value] for frame in frames]
        values = frames[1][column].to_numpy() / frames[0][column].to_numpy()
        return set(np.round(values[np.isfinite(values)], 6))

    humidity = {"variable": "specific_humidity"}
    assert ratio("results", "value", metric="rmse", **humidity) == {1000.0}
    assert ratio("results", "upper", metric="crps", **humidity) == {1000.0}
    assert ratio("results", "value", metric="spread_skill", **humidity) == {1.0}
    assert ratio("cases", "value", statistic="mse", **humidity) == {1e6}
    assert ratio("spectra", "truth", **humidity) == {1e6}
    assert ratio("results", "value", variable="u_component_of_wind") == {1.0}
    assert ratio("results", "value", variable="temperature") == {1.0}


def test_tables_and_maps_show_means_over_levels_and_grams(windy: Study) -> None:
    run = read_assimilation(windy.run("assimilation"))
    table = other_tables(run)
    for variable in ("u_component_of_wind", "specific_humidity"):
        shown = lookup(run.results, "optimal_interpolation", "rmse", variable, "mean")
        assert f'data-value="{shown.value!r}"' in table
    one = lookup(run.results, "optimal_interpolation", "rmse", "u_component_of_wind", "850")
    assert f'data-value="{one.value!r}"' not in table
    truth = run.fields("truth")
    assert variable_levels(truth, "specific_humidity") == [850]
    assert variable_levels(truth, "temperature") == [850, 500]
    fields = case_fields(run, "specific_humidity", 0, 850, ["optimal_interpolation"])
    stored = truth["specific_humidity"].isel(case=0, day=0).sel(level=850).values
    assert fields.units == "g kg-1"
    np.testing.assert_allclose(fields.truth, 1000 * stored, rtol=1e-6)
    assert fields.mean["optimal_interpolation"].max() > 1.0
    profiles = kept_case(run, variable="specific_humidity")
    assert profiles.units == "g kg-1"
    np.testing.assert_array_equal(profiles.truth.sel(level=850), fields.truth)
    spread, error = spread_and_error(run, "specific_humidity")["optimal_interpolation"]
    members = 1000 * run.fields("optimal_interpolation")["specific_humidity"].sel(level=850)
    known = members.std("member", ddof=1)
    assert float(known.min()) < spread[0] < spread[-1] < float(known.max())
    assert 0.1 < error.mean() / spread.mean() < 10
