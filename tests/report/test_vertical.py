"""Profiles and sections show the fields they are given, where and on the levels they are given."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from matplotlib.figure import Figure

from slams.cf.dataset import analysis_dataset, state_dataset
from slams.config.schema import ReportConfig
from slams.errors import UserError
from slams.fields import Ensemble, FieldSpec
from slams.grid import LatLonGrid
from slams.observations.stations import StationOperator
from slams.report import draw_profile, draw_section
from slams.report.cross_section import cross_section, section_panels, section_rms
from slams.report.kept_case import kept_case
from slams.report.labels import latitude_label, longitude_label
from slams.report.reading import AssimilationRun, read_assimilation
from slams.report.station_profiles import few_stations, profile_panels, station_profiles
from slams.report.vertical import member_range, profile_at, section_at
from tests.report.synthetic import Runs

LEVELS = (925, 500, 30)
POINT = (-41.3, -173.7)  # across the date line from the last column


def ensemble(members: int = 5, seed: int = 0) -> xr.DataArray:
    """Draw an analysis as a user has it: CF's order, one time, south to north, 180 W to E."""
    rng = np.random.default_rng(seed)
    return xr.DataArray(
        rng.standard_normal((1, members, 3, 12, 24)),
        dims=("time", "realization", "level", "latitude", "longitude"),
        coords={
            "level": list(LEVELS),
            "latitude": np.linspace(-82.5, 82.5, 12),
            "longitude": np.arange(24) * 15.0 - 180.0,
        },
        name="temperature",
    )


def canonical(field: xr.DataArray) -> np.ndarray:
    """Return the members `(M, L, H, W)` from north to south and from 0 to 360 degrees."""
    return np.roll(field.values[0, :, :, ::-1], 12, axis=-1)


def test_a_profile_is_what_the_station_s_operator_sees_of_each_member() -> None:
    field = ensemble()
    grid = LatLonGrid(torch.linspace(82.5, -82.5, 12), torch.arange(24) * 15.0)
    channels = [FieldSpec("temperature", level, "K") for level in LEVELS]
    latitude, longitude = (torch.tensor([value]) for value in POINT)
    state = torch.from_numpy(canonical(field))
    for index, channel in enumerate(channels):
        operator = StationOperator(grid, channels, channel.name, latitude, longitude)
        seen = operator(state[:, None])[..., 0].flatten()
        own = profile_at(field, POINT).sel(level=channel.level)
        assert np.allclose(own, seen, atol=1e-6), index


def test_profiles_draw_mean_range_and_departure() -> None:
    field, background = ensemble(40), ensemble(1, seed=1).isel(realization=0)
    axes = Figure().add_subplot()
    draw_profile(axes, field, POINT, minus=background)
    expected = profile_at(field, POINT) - profile_at(background, POINT)
    (line,) = [line for line in axes.get_lines() if line.get_label() == "analysis"]
    assert np.allclose(line.get_xdata(), expected.mean("realization"))
    assert list(line.get_ydata()) == list(LEVELS)
    (shade,) = axes.collections
    edges = shade.get_paths()[0].vertices
    # With 40 members the 5th percentile is 5 % of the way from the 2nd to the 3rd.
    ordered = np.sort(expected.sel(level=500).values)
    low, high = (
        ordered[1] + 0.05 * np.diff(ordered[1:3]),
        ordered[-2] - 0.05 * np.diff(ordered[-3:-1]),
    )
    at = edges[edges[:, 1] == 500][:, 0]
    assert (at.min(), at.max()) == (pytest.approx(low[0]), pytest.approx(high[0]))
    bottom, top = axes.get_ylim()
    assert bottom > 925
    assert top < 30


def test_the_range_of_few_members_is_all_of_them() -> None:
    values = xr.DataArray(np.arange(16.0), dims="member")
    low, high = member_range(values)
    assert (float(low), float(high)) == (0.0, 15.0)
    assert member_range(values.isel(member=0)) is None


def test_levels_without_a_value_are_left_out() -> None:
    field = ensemble()
    field[:, :, 1] = np.nan
    assert profile_at(field, POINT)["level"].values.tolist() == [925, 30]
    axes = Figure().add_subplot()
    mesh = draw_section(axes, field.mean("realization"), longitude=0, lines=ensemble()[0, 0])
    assert mesh.get_array().shape == (2, 12)


def test_one_level_is_enough() -> None:
    field = ensemble().isel(level=[1])
    axes = Figure().add_subplot()
    draw_profile(axes, field, POINT)
    assert axes.get_lines()[-1].get_ydata() == [500]
    state = field.mean("realization")
    mesh = draw_section(Figure().add_subplot(), state, longitude=0, lines=state)
    assert mesh.get_array().shape == (1, 12)


def test_a_section_is_the_nearest_column_from_south_to_north() -> None:
    field = ensemble().mean("realization")
    axes = Figure().add_subplot()
    mesh = draw_section(axes, field, longitude=172.0)  # nearer to 165 E than to 180
    assert np.array_equal(mesh.get_array(), field[0, :, :, 23])
    assert float(section_at(field, longitude=173.0)["longitude"]) == -180.0
    corners = mesh.get_coordinates()
    assert corners[0, 0].tolist() == [-90.0, pytest.approx(925 * 1.06)]
    assert corners[1, 0, 1] == pytest.approx(np.sqrt(925 * 500))
    assert [tick.get_text() for tick in axes.get_xticklabels()][:2] == ["90° S", "60° S"]


def test_a_section_around_the_globe_begins_at_the_date_line() -> None:
    field = ensemble().mean("realization")
    field = field.assign_coords(longitude=field["longitude"] % 360).sortby("longitude")
    axes = Figure().add_subplot()
    stations = pd.DataFrame({"latitude": [-45.0, -45.0, -25.0], "longitude": [350.0, 20.0, 0.0]})
    mesh = draw_section(axes, field, latitude=-44.0, stations=stations)
    row = section_at(ensemble().mean("realization"), latitude=-44.0)
    assert np.array_equal(mesh.get_array()[:, :24], row.values)
    (marks,) = axes.get_lines()
    assert sorted(marks.get_xdata()) == [-10.0, 20.0]


def test_an_analysis_is_drawn_as_the_document_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of docs/diagnostics.md, on datasets as `slams.cf` makes them."""
    grid = LatLonGrid(torch.linspace(82.5, -82.5, 12), torch.arange(24) * 15.0)
    channels = [FieldSpec("temperature", level, "K") for level in LEVELS]
    channels.append(FieldSpec("2m_temperature"))
    members = torch.randn(1, 4, 1, 4, 12, 24, generator=torch.Generator().manual_seed(0))
    rest = torch.zeros(1, 1), tuple(channels), grid
    made, first = Ensemble("x", members, *rest), Ensemble("background", members[:, :1], *rest)
    text = (Path(__file__).parents[2] / "docs" / "diagnostics.md").read_text()
    (example,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        if "draw_profile" in block
    ]
    names = {"analysis": analysis_dataset(made), "background": state_dataset(first)}
    exec(example, names)  # the document is ours
    left, right = names["left"], names["right"]
    departure = names["analysis"]["temperature_mean"] - names["background"]["temperature"]
    assert np.allclose(
        left.get_lines()[-1].get_xdata(), profile_at(departure, (48.2, 16.4)), atol=1e-5
    )
    (cells,) = right.collections
    spread = members[0, :, 0, :3, :, 1].std(dim=0).flip(-1)  # 15 E, from the south
    assert np.allclose(cells.get_array(), spread, atol=1e-5)
    names["pyplot"].close(names["figure"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x.isel(level=0, drop=True), "temperature has no dimension level"),
        (lambda x: xr.concat([x, x], "time"), r"has 2 values of time; .* \.isel\(time=0\)"),
        (lambda x: x.isel(latitude=slice(0, 4)), "expected a global grid"),
    ],
)
def test_a_field_that_is_no_state_of_the_globe_is_refused(change, said) -> None:
    with pytest.raises(UserError, match=said):
        profile_at(change(ensemble()), POINT)


def test_a_section_of_members_or_along_no_line_is_refused() -> None:
    axes = Figure().add_subplot()
    with pytest.raises(UserError, match=r'has 5 members; take their mean\("realization"\)'):
        draw_section(axes, ensemble(), longitude=0)
    for line in ({}, {"latitude": 0, "longitude": 0}):
        with pytest.raises(UserError, match="either its longitude or its latitude"):
            draw_section(axes, ensemble().mean("realization"), **line)


def test_places_have_their_hemisphere() -> None:
    assert [latitude_label(x) for x in (-45, 0, 12.5)] == ["45° S", "0°", "12.5° N"]
    found = [longitude_label(x) for x in (-30, 0, 15, 180, 345)]
    assert found == ["30° W", "0°", "15° E", "180°", "15° W"]


def test_stations_are_chosen_by_latitude_alone() -> None:
    stations = pd.DataFrame({"latitude": [3.0, 48.0, -20.0, 60.0, -1.0], "longitude": 0.0})
    assert few_stations(stations).index.tolist() == [1, 4, 2]
    assert few_stations(stations.iloc[:1]).index.tolist() == [0]
    assert few_stations(stations.iloc[:0]).empty


def test_the_kept_case_is_that_of_the_store(runs: Runs) -> None:
    run = read_assimilation(runs.assimilation[0])
    case = kept_case(run, ReportConfig(case=1))
    assert (case.date, case.units) == ("1984-01-10", "K")
    assert list(case.ensembles) == ["optimal_interpolation", "latent_diffusion"]
    stored = run.fields("latent_diffusion")["temperature"].isel(case=1, day=0)
    assert np.array_equal(case.ensembles["latent_diffusion"], stored)
    assert np.allclose(case.truth, runs.world.temperature[1], atol=1e-3)
    assert kept_case(run, ReportConfig(), "2m_temperature") is None


def test_the_report_counts_how_often_the_range_holds_the_truth(runs: Runs) -> None:
    run = read_assimilation(runs.assimilation[0])
    section = station_profiles(run, ReportConfig(case=1))
    assert [panel.name for panel in section.panels] == [f"station_profile_{n}" for n in (1, 2, 3)]
    assert "at stations on 1984-01-10" in section.title
    case = kept_case(run, ReportConfig(case=1))
    inside = 0
    for _, station in few_stations(run.stations).iterrows():
        point = station["latitude"], station["longitude"]
        members = profile_at(case.ensembles["latent_diffusion"], point)
        truth = profile_at(case.truth, point)
        inside += int(((members.min("member") <= truth) & (truth <= members.max("member"))).sum())
    said = f"of latent diffusion at {inside} of these 15 points"
    assert said in section.findings[1]
    assert "71 % are expected" in section.findings[1]


def test_the_report_s_section_has_the_errors_of_its_column(runs: Runs) -> None:
    run = read_assimilation(runs.assimilation[0])
    section = cross_section(run, ReportConfig(case=1))
    names = ["section_needed", "section_increment", "section_spread"]
    assert [panel.name for panel in section.panels] == names
    case = kept_case(run, ReportConfig(case=1))
    longitude = few_stations(run.stations)["longitude"].iloc[0]
    column = round(longitude / 15) % 24
    error = (case.background - case.truth).values[:, :, column]
    weights = np.broadcast_to(runs.world.weights, error.shape)
    expected = np.sqrt(np.average(error**2, weights=weights))
    assert section_rms(case.background - case.truth, longitude) == pytest.approx(expected)
    assert f"error of the background is {expected:.2f} K" in section.findings[0]
    assert longitude_label(column * 15) in section.title


def test_what_was_not_kept_is_said(runs: Runs) -> None:
    run = read_assimilation(runs.assimilation[0])
    deaf = replace(run, stations=None)
    assert "No stations were assimilated" in station_profiles(deaf, ReportConfig()).missing[0]
    assert "Section along 0°" in cross_section(deaf, ReportConfig()).title
    bare = replace(run, damaged=frozenset({"background"}))
    for make in (station_profiles, cross_section):
        section = make(bare, ReportConfig())
        assert "No background and ensemble" in section.missing[0]
        assert not section.panels
        assert "{" not in section.title
    for make in (profile_panels, section_panels):
        assert make(bare, "temperature", ReportConfig()) == []


def test_gaps_of_a_background_are_left_blank() -> None:
    field, background = ensemble(), ensemble(1, seed=1).isel(realization=0)
    background[:, 0] = np.nan
    axes = Figure().add_subplot()
    draw_profile(axes, field, POINT, minus=background)
    (line,) = [line for line in axes.get_lines() if line.get_label() == "analysis"]
    assert np.isnan(line.get_xdata()).tolist() == [True, False, False]
    nothing = Figure().add_subplot()
    draw_profile(nothing, field, POINT, minus=background * np.nan)
    assert not nothing.get_lines()
    mesh = draw_section(nothing, background * np.nan, longitude=0)
    assert np.ma.count(mesh.get_array()) == 0


def test_without_a_background_there_is_no_figure_of_departures(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = read_assimilation(runs.assimilation[0])
    store = {group: run.fields(group).load() for group in ("latent_diffusion", "background")}
    store["background"]["temperature"][:] = np.nan
    monkeypatch.setattr(AssimilationRun, "fields", lambda self, group: store.get(group))
    assert kept_case(run) is None
    gap = store["background"]["temperature"]
    gap[:] = 250.0
    longitude = few_stations(run.stations)["longitude"].iloc[0]
    gap[{"longitude": round(longitude / 15) % 24}] = np.nan
    section = cross_section(run, ReportConfig())
    assert (section.panels, section.findings) == ([], [])
    assert section.missing == ["The background has no value along this section."]
    assert len(station_profiles(run, ReportConfig()).panels) == 3


def test_without_a_truth_there_is_an_increment_and_a_spread(runs: Runs) -> None:
    run = read_assimilation(runs.assimilation[0])
    blind = replace(run, damaged=frozenset({"truth"}))
    section = cross_section(blind, ReportConfig())
    assert [panel.name for panel in section.panels] == ["section_increment", "section_spread"]
    assert section.findings == []
    assert len(station_profiles(blind, ReportConfig()).panels) == 3
