"""What figures show: fixed colours, centred differences, calibrated bins, pressure axes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from slams.config.schema import ReportConfig
from slams.report import calibration, labels, profiles
from slams.report.calibration import pooled_ranks, spread_bins
from slams.report.drawing import finish, new_axes
from slams.report.innovations import innovations, observation_error
from slams.report.mapdata import case_fields, leading
from slams.report.mapdrawing import centred, dot_size, draw_map, ranged
from slams.report.maps import surface_maps, temperature_maps
from slams.report.over_time import draw_dates
from slams.report.profiles import pressure_axis
from slams.report.reading import lookup, read_assimilation, read_training
from slams.report.style import in_order, method_style
from slams.report.training import reconstruction
from tests.report.synthetic import Runs, write_assimilation

METHODS = [
    "climatology",
    "background",
    "optimal_interpolation",
    "3dvar",
    "enkf",
    "letkf",
    "latent_3dvar",
    "pixel_diffusion",
    "latent_diffusion",
]


def luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_methods_differ_in_colour_and_marker_and_show_on_white() -> None:
    styles = [method_style(method) for method in METHODS]
    assert len({s.colour for s in styles}) == len({s.marker for s in styles}) == len(METHODS)
    assert all(1.05 / (luminance(s.colour) + 0.05) > 2.0 for s in styles)


def test_a_method_keeps_its_colour_whatever_stands_beside_it() -> None:
    assert method_style("something_new") == method_style("something_new")
    assert in_order(["latent_diffusion", "something_new", "background"]) == [
        "background",
        "latent_diffusion",
        "something_new",
    ]


def test_lines_of_every_figure_have_the_method_s_colour(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    for module in (profiles, calibration):
        make = module.new_axes

        def remember(*args: object, make=make, **kwargs: object) -> Axes:
            drawn.append(make(*args, **kwargs).figure)
            return drawn[-1].axes[0]

        monkeypatch.setattr(module, "new_axes", remember)
    run = read_assimilation(runs.assimilation[0])
    profiles.profiles(run)
    calibration.spread_against_error(run)
    colours: dict[str, set[str]] = {}
    for figure in drawn:
        for line in figure.axes[0].get_lines():
            if not line.get_label().startswith("_"):
                colours.setdefault(line.get_label(), set()).add(line.get_color())
    assert colours["latent diffusion"] == {method_style("latent_diffusion").colour}
    assert all(len(found) == 1 for found in colours.values())
    assert len(colours) == 4
    assert len(drawn) == 4 + 4  # metrics of temperature; spread of each variable


def test_differences_are_centred_and_share_their_range() -> None:
    norm = centred([np.linspace(-1, 3, 1001), np.linspace(-5, 0, 1001)])
    assert norm.vmin == -norm.vmax
    assert norm.vmax == pytest.approx(5, rel=0.01)
    assert centred([np.zeros(4)]).vmax > 0
    assert ranged([np.array([2.0, 3.0])], zero=True).vmin == 0


def test_maps_draw_every_cell_where_it_belongs() -> None:
    latitude, longitude = np.array([60.0, 0.0, -60.0]), np.arange(4) * 90.0
    field = np.arange(12.0).reshape(3, 4)
    axes = Figure().add_subplot()
    mesh = draw_map(axes, field, latitude, longitude, "viridis", ranged([field]))
    corners = mesh.get_coordinates()
    values = mesh.get_array().reshape(3, 5)
    for row, column in ((0, 0), (1, 1), (2, 3)):
        centre = corners[row : row + 2, column : column + 2].mean(axis=(0, 1))
        i = int(np.argmin(np.abs(latitude - centre[1])))
        j = round(centre[0] % 360 / 90) % 4
        assert values[row, column] == field[i, j]
    assert axes.get_xlim() == (-180, 180)
    assert axes.get_ylim() == (-90, 90)


def test_dots_of_stations_cover_the_same_share_of_any_map() -> None:
    """More stations, or a smaller map, must not hide the field."""

    def share(count: int, width: float) -> float:
        axes = Figure(figsize=(width, width / 2)).add_axes((0, 0, 1, 1))
        return dot_size(axes, count) * count / (72 * width * 72 * width / 2)

    assert share(400, 4) == pytest.approx(0.02)
    assert share(800, 4) == pytest.approx(0.02)
    assert share(400, 3) == pytest.approx(0.02)
    assert share(3, 4) < 0.002  # no blots


def test_captions_say_why_a_spread_is_patchy(runs: Runs) -> None:
    run = read_assimilation(runs.assimilation[0])
    options = ReportConfig(level=850, dpi=30)
    config = {**run.config, "assimilation": {"members": 9}, "vae": {"factor": 4}}
    latent = temperature_maps(replace(run, config=config), options).caption
    assert "A spread of 9 members is itself known to 25 % only" in latent
    assert "writes each 4 × 4 cells" in latent
    classical = run.results[run.results["method"] == "optimal_interpolation"]
    plain = replace(run, config=config, results=classical, cases=None, ranks=None)
    caption = temperature_maps(plain, options).caption
    assert "known to 25 % only" in caption
    assert "decoder" not in caption


def test_pressure_decreases_upwards_on_a_logarithmic_axis() -> None:
    axes = Figure().add_subplot()
    pressure_axis(axes, [30, 100, 200, 300, 500, 700, 850, 925])
    bottom, top = axes.get_ylim()
    assert bottom > 925
    assert top < 30
    assert axes.get_yscale() == "log"
    labels = {tick.get_text() for tick in axes.get_yticklabels()}
    assert {"925", "30", "500"} <= labels
    assert "850" not in labels


def test_ranks_are_pooled_to_shares() -> None:
    ranks = pd.DataFrame(
        {
            "method": "x",
            "variable": "temperature",
            "level": ["850", "850", "500", "500"],
            "bin": [0, 1, 0, 1],
            "weight": [1.0, 3.0, 2.0, 2.0],
        }
    )
    assert pooled_ranks(ranks, "x").tolist() == [0.375, 0.625]
    mean = replace_level(ranks.iloc[:2], "mean")
    assert pooled_ranks(pd.concat([ranks, mean]), "x").tolist() == [0.25, 0.75]
    assert pooled_ranks(ranks, "y").size == 0


def replace_level(frame: pd.DataFrame, level: str) -> pd.DataFrame:
    return frame.assign(level=level)


def test_spread_bins_follow_the_diagonal_for_a_calibrated_ensemble() -> None:
    rng = np.random.default_rng(0)
    spread = np.array([[1.0], [10.0]]) * rng.uniform(0.5, 1.5, (2, 40_000))
    error = spread * rng.standard_normal(spread.shape)
    binned_spread, binned_error = spread_bins(spread, error, np.ones(40_000))
    assert np.allclose(binned_error / binned_spread, 1, atol=0.05)
    assert (np.diff(binned_spread) > 0).all()
    # Levels are pooled bin by bin, so that their scales alone do not spread the bins.
    assert binned_spread[-1] / binned_spread[0] == pytest.approx(1.45 / 0.55, rel=0.05)


def test_spread_bins_weigh_points_by_area() -> None:
    spread, error = np.array([[1.0, 1.0, 2.0]]), np.array([[0.0, 3.0, 2.0]])
    binned = spread_bins(spread, error, np.array([3.0, 1.0, 4.0]), bins=2)
    assert binned[0].tolist() == [1.0, 2.0]
    assert binned[1].tolist() == [1.5, 2.0]


def test_observation_errors_come_from_the_recipe(runs: Runs) -> None:
    run = read_assimilation(runs.assimilation[0])
    assert observation_error(run, "satellite/outgoing_longwave_radiation") == 5.0
    assert observation_error(run, "stations/2m_temperature") == 1.0
    run.config["observations"]["stations"]["variables"][0]["representativeness"] = 0.75
    assert observation_error(run, "stations/2m_temperature") == 1.25
    assert observation_error(run, "stations/temperature@850") is None


def test_departures_are_shown_kind_by_kind(runs: Runs) -> None:
    section = innovations(read_assimilation(runs.assimilation[0]))
    assert [panel.name for panel in section.panels] == [
        "innovations_satellite_outgoing_longwave_radiation",
        "innovations_stations_2m_temperature",
    ]
    assert section.tables[0].count("<tr>") == 1 + 2 * 4
    silent = innovations(read_assimilation(runs.assimilation[3]))
    assert silent.missing == ["Nothing was observed in this setting: no O-B and O-A."]


def test_case_fields_are_those_of_the_store(runs: Runs) -> None:
    run = read_assimilation(runs.assimilation[0])
    fields = case_fields(run, "temperature", 1, 850, ["latent_diffusion", "letkf"])
    assert fields.date == "1984-01-10"
    assert fields.units == "K"
    assert np.allclose(fields.truth, runs.world.temperature[1, 1], atol=1e-3)
    members = run.fields("latent_diffusion")["temperature"].isel(case=1, day=0).sel(level=850)
    assert np.allclose(fields.mean["latent_diffusion"], members.values.mean(axis=0))
    assert np.allclose(fields.spread["latent_diffusion"], members.values.std(axis=0, ddof=1))
    assert set(fields.mean) == {"latent_diffusion"}
    assert leading(run.methods) == "latent_diffusion"
    assert leading(["climatology", "background"]) is None


def test_a_variable_without_any_truth_has_no_map(runs: Runs, tmp_path: Path) -> None:
    world = runs.world
    unknown = np.full_like(world.surface["total_precipitation_24hr"], np.nan)
    world = replace(world, surface={**world.surface, "total_precipitation_24hr": unknown})
    run = read_assimilation(write_assimilation(tmp_path / "run", world, keep=1))
    names = {panel.name for panel in surface_maps(run, ReportConfig(dpi=30)).panels}
    assert "map_2m_temperature_truth" in names
    assert not any("precipitation" in name for name in names)
    blank = replace(world, temperature=np.full_like(world.temperature, np.nan))
    run = read_assimilation(write_assimilation(tmp_path / "blank", blank, keep=1))
    assert temperature_maps(run, ReportConfig(dpi=30)).missing == [
        "The truth has no temperature at 850 hPa in case 0: no maps."
    ]
    panels = calibration.spread_against_error(run).panels
    assert [panel.name for panel in panels] == [
        "spread_error_2m_temperature",
        "spread_error_outgoing_longwave_radiation",
    ]


def test_metrics_of_a_whole_method_are_found_under_any_variable(runs: Runs) -> None:
    results = read_assimilation(runs.assimilation[0]).results
    assert lookup(results, "latent_diffusion", "seconds_per_member").value == 0.4
    assert lookup(results, "latent_diffusion", "sharpness") is None
    assert lookup(None, "latent_diffusion", "rmse") is None


def test_reconstruction_reports_the_mean_over_levels(runs: Runs) -> None:
    run = read_training(runs.vae, "vae")
    section = reconstruction(run, 850)
    assert "costs 0.240 K" in section.findings[0]
    assert len(section.panels) == 4
    without = reconstruction(replace(run, reconstruction=None), 850)
    assert "No reconstruction errors of the VAE were written." in without.missing


def test_units_stay_in_one_piece() -> None:
    assert labels.quantity("OLR", "W m-2") == "OLR (W\N{NO-BREAK SPACE}m⁻²)"
    assert labels.quantity("spread / skill", "") == "spread / skill"


def dated(dates: list[str]) -> pd.DataFrame:
    """Return a table of cases of one method and level."""
    return pd.DataFrame(
        {
            "method": "climatology",
            "setting": "default",
            "case": range(len(dates)),
            "date": dates,
            "variable": "temperature",
            "level": "850",
            "statistic": "mse",
            "value": [(1.0 + i) ** 2 for i in range(len(dates))],
        }
    )


def test_a_line_by_date_is_broken_between_periods_far_apart() -> None:
    dates = ["1990-02-01", "1990-02-07", "1990-02-13", "2005-03-01", "2005-03-07", "2005-03-13"]
    axes = Figure().add_subplot()
    draw_dates(axes, dated(dates), "rmse")
    (line,) = axes.lines
    assert np.isnan(line.get_ydata()).tolist() == [False] * 3 + [True] + [False] * 3
    axes = Figure().add_subplot()
    draw_dates(axes, dated(dates[:3]), "rmse")
    assert axes.lines[0].get_ydata().tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("words", "columns"), [("short", 2), ("a very long label " * 3, 1)])
def test_a_legend_lies_within_the_figure(words: str, columns: int) -> None:
    axes = new_axes("title", 3.0)
    for number in range(4):
        axes.plot([0, 1], [0, number], label=f"{words} {number}")
    finish(axes, "name", "alt")
    (legend,) = axes.figure.legends
    axes.figure.draw_without_rendering()
    assert legend.get_window_extent().width <= axes.figure.bbox.width
    assert legend._ncols == columns
