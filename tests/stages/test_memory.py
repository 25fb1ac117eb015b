"""The memory of an assimilation, by hand, and its refusal before anything is read."""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
import torch

from slams.assimilators import decoding_residual, latent_fits
from slams.assimilators.season import season_days
from slams.config.loading import to_yaml
from slams.config.schema import Config, SuperobConfig
from slams.diffusion.settings import ResidualSettings
from slams.errors import UserError
from slams.linalg import gain
from slams.linalg.settings import LocalSettings
from slams.observations import superobs
from slams.stages import assimilation, memory, training
from slams.stages import store_shape as store_shape_module
from slams.stages.data import analysed_days, multimodal
from slams.stages.memory import (
    AssimilationSizes,
    archive_positions,
    assimilation_memory,
    assimilation_parts,
    assimilation_sizes,
    covariance_bytes,
    past_error_windows,
    recipe_memory,
)
from slams.stages.methods import make_methods
from slams.stages.store_shape import StoreShape, observed_points, store_shape
from tests.stages.commands import slams

SIZES = AssimilationSizes(
    day=100,
    window=2,
    points=50,
    windows=30,
    archive_days=40,
    unseen_days=5,
    season={"optimal_interpolation": 20, "enkf": 15},
    shifts={"optimal_interpolation": 1, "enkf": 0},
    fitted_guesses=0,
    latents=16,
    latent_points=4,
    solves=True,
    levels=3,
    measured=3,
    denoised=10,
    network=7,
    observed=6,
    members=8,
    batch=4,
    kept=3,
    cached=60,
)


def test_every_part_by_hand() -> None:
    found = assimilation_parts(SIZES)
    assert found == {
        "archive": 2 * 100 * 45,
        "first guesses": 0,
        "cache": 4 * 100 * 60,
        # The larger of the two methods, whose errors are copied for H, beyond the denoising
        # errors.
        "season": 2 * 4 * 200 * 60 - (2 * 3 + 12) * 10 * (16 + 7 * 2),
        "observations": (28 + 8) * 36 + 4 * 20 * 6,
        "denoising": (2 * 3 + 12) * 10 * (16 + 7 * 2),
        "residuals": 0,
        "forecast": 0,
        "past errors": 0,
        "ensembles": 4 * 200 * 8 * (3 + 5 * 4),
    }
    assert assimilation_parts(replace(SIZES, past_errors=40))["past errors"] == 12 * 200 * 40
    guessed = assimilation_parts(replace(SIZES, fitted_guesses=2))
    assert guessed["first guesses"] == 4 * 200 * 30 * 4
    sampled = assimilation_parts(replace(SIZES, residuals=25, residual_season=12))
    assert sampled["residuals"] == 2 * 200 * 25 + 4 * 200 * 12
    cycled = replace(SIZES, forecast_days=50, forecast_errors=20, waves=0.5, carried=160)
    assert assimilation_parts(cycled)["forecast"] == 100 * (50 * (2 + 4) + 4 * 20 + 16 * 160)


def test_past_errors_are_many_or_none() -> None:
    assert past_error_windows(55_296, 6_000) == 128
    assert past_error_windows(55_296, 40) == 40
    assert past_error_windows(55_296, 31) == 0
    assert past_error_windows(2**26 // 32, 6_000) == 32
    assert past_error_windows(2**26 // 32 + 1, 6_000) == 0


def test_domains_bound_what_points_take() -> None:
    assert covariance_bytes(10_000, 1, 300) == 28 * 10_000**2 + 10 * 2**25
    kept = 4 * 128 * 300**2
    for points in (10_000, 30_000):
        assert covariance_bytes(points, 128, 300) == kept + 10 * 2**25
    assert covariance_bytes(30_000, 2000, 300) == 10 * 2**25  # computed again at each level


def test_many_points_are_analysed_domain_by_domain(tiny_config: Config) -> None:
    config = replace(tiny_config, assimilation=replace(tiny_config.assimilation))
    shape = store_shape(config)
    assert assimilation_sizes(config, shape).domains == 1
    config.assimilation.local = LocalSettings(above=10)
    assert assimilation_sizes(config, shape).domains == 128


def test_points_of_one_cell_are_averaged(tiny_config: Config) -> None:
    shape = StoreShape(100, 4, 12, 24)
    config = replace(tiny_config, observations=replace(tiny_config.observations, use=["stations"]))
    config.observations.stations = replace(config.observations.stations, held_out=0.0)
    stations, variables = config.observations.stations, len(config.observations.stations.variables)
    stations.count = 20
    assert observed_points(config, shape)[0] == 20 * variables
    stations.count = 10_000
    assert observed_points(config, shape)[0] == 288 * variables
    config.observations.superob = SuperobConfig("off")
    assert observed_points(config, shape)[0] == 10_000 * variables
    # Of two points per cell one is enough: 1 - .75^2 of the cells are seen, not a quarter.
    stations.count, stations.missing = 576, 0.75
    config.observations.superob = SuperobConfig(5.0)
    network, seen = observed_points(config, StoreShape(100, 4, 12, 24))
    per_cell = 576 * variables / network
    assert seen == pytest.approx(network * (1 - 0.75**per_cell))


@pytest.mark.parametrize("most", [0, 7, 1500])
@pytest.mark.parametrize(("window", "lag"), [(1, 2), (3, 2), (2, 0)])
def test_windows_of_the_archive_are_counted(most: int, window: int, lag: int) -> None:
    pieces = [(date(2001, 1, 1), date(2001, 1, 20)), (date(2001, 3, 1), date(2001, 3, 10))]
    found = archive_positions(pieces, window, lag, most)
    inside = [
        first + timedelta(n) for first, last in pieces for n in range((last - first).days + 1)
    ]
    every = [
        day
        for day in ((one - date(1970, 1, 1)).days for one in inside)
        if all(date(1970, 1, 1) + timedelta(day + n) in inside for n in (-lag, *range(window)))
    ]
    assert found == sorted(found)
    assert set(found) <= set(every)
    assert len(found) == (min(most, len(every)) if most else len(every))
    assert (found[0], found[-1]) == (every[0], every[-1])


def test_windows_of_the_archive_by_steps() -> None:
    """Two days of four steps, windows of three, each with the step before: steps 1 to 5."""
    first = date(1970, 1, 3)
    pieces = [(first, first + timedelta(1))]
    assert archive_positions(pieces, 3, 1, 0, per_day=4) == [9, 10, 11, 12, 13]


def test_counts_are_those_of_the_archive_that_is_read(tiny_config: Config) -> None:
    for most in (0, 20):
        config = replace(
            tiny_config, assimilation=replace(tiny_config.assimilation, archive_days=most)
        )
        data = analysed_days(config)
        sizes = assimilation_sizes(config, store_shape(config))
        archive = data.archive(windows=most, as_packed=True)
        assert sizes.windows == len(archive.fields)
        held = archive.fields._days._values
        assert 2 * sizes.day * sizes.archive_days == held.numel() * held.element_size()
        season = config.assimilation.optimal_interpolation.season
        dates = data.store.time[data.splits["test"]]
        counts = [len(season_days(archive.time[:, 0], float(day), season)) for day in dates]
        assert sizes.season["optimal_interpolation"] == pytest.approx(max(counts), abs=2)
        assert sizes.points == 12 * 24
        points = {name: len(one.latitude) for name, one in data.operators().items()}
        assert sizes.network == sum(points.values())


def test_residuals_are_counted_where_they_are_sampled(tiny_config: Config) -> None:
    section = replace(
        tiny_config.assimilation,
        methods=["latent_3dvar"],
        residual=ResidualSettings(sample=True, season=20, archive=40),
    )
    config = replace(tiny_config, assimilation=section)
    data, sizes = analysed_days(config), assimilation_sizes(config, store_shape(config))
    archive = data.archive(as_packed=True)
    measured = torch.linspace(0, len(archive.time) - 1, 40).round().long()
    dates = data.store.time[data.splits["test"]]
    counts = [len(season_days(archive.time[measured, 0], float(day), 20)) for day in dates]
    assert sizes.residual_season == pytest.approx(max(counts), abs=2)
    assert sizes.residuals == 40 + memory._UNSEEN
    assert sizes.unseen_days > 0
    for other in ({"residual": ResidualSettings(sample=False)}, {"methods": ["climatology"]}):
        config = replace(tiny_config, assimilation=replace(section, **other))
        sizes = assimilation_sizes(config, store_shape(config))
        assert sizes.residuals == sizes.residual_season == 0


def test_the_shape_comes_from_the_store_or_else_from_the_recipe(
    tiny_config: Config, tmp_path: Path
) -> None:
    assert store_shape(tiny_config) == StoreShape(110, 4, 12, 24)
    missing = replace(tiny_config, data=replace(tiny_config.data, store=str(tmp_path / "none")))
    assert store_shape(missing) is None
    assert "memory unknown until the store exists" in recipe_memory(missing)
    missing.data.source = replace(missing.data.source, grid="120x240")
    shape = store_shape(missing)
    assert (shape.channels, shape.rows, shape.columns) == (4, 120, 240)
    assert "observed points" in recipe_memory(missing)


def test_points_are_those_of_the_recipe(tiny_config: Config, tmp_path: Path) -> None:
    shape = StoreShape(100, 4, 12, 24, stations=30)
    config = replace(tiny_config, observations=replace(tiny_config.observations, use=["stations"]))
    stations = config.observations.stations
    stations.count, stations.held_out, stations.missing = 20, 0.1, 0.5
    variables = len(stations.variables)
    assert observed_points(config, shape) == (18 * variables, 9 * variables)
    config.observations.source = "store"
    assert observed_points(config, shape)[0] == 27 * variables
    config.observations.use = ["satellite"]
    config.observations.satellite.footprint = 2
    config.observations.satellite.coverage = 0.25
    assert observed_points(config, shape) == (72, 18)
    config.observations.satellite.source.kind = "gridded_olr"
    assert observed_points(config, replace(shape, image=150)) == (150, 150)
    assert observed_points(config, replace(shape, image=1000)) == (288, 288)


def test_too_little_memory_is_refused_before_the_archive_is_read(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10**9)
    monkeypatch.setattr(memory, "resident_memory", lambda: 10**9)
    shape = store_shape(tiny_config)
    assimilation_memory(tiny_config, shape).check()
    decades = replace(shape, rows=720, columns=1440)
    with pytest.raises(
        UserError, match=r"^assimilate needs about .* GB are available; .*: "
    ) as no:
        assimilation_memory(tiny_config, decades).check()
    assert "\n" not in str(no.value)
    huge = assimilation_memory(tiny_config, replace(decades, rows=72))
    assert "observations.stations.count" in huge.remedy or "assimilation" in huge.remedy


def test_the_stage_refuses_in_one_sentence(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 0)
    monkeypatch.setattr(memory, "resident_memory", lambda: 1000)

    def read(*_: object) -> None:
        raise AssertionError("the archive was read")

    monkeypatch.setattr(assimilation, "make_methods", read)
    config = replace(
        tiny_config, assimilation=replace(tiny_config.assimilation, methods=["climatology"])
    )
    with pytest.raises(UserError, match="assimilate needs about"):
        assimilation.assimilate(config, dry_run=True)
    assert "host memory: about" in capsys.readouterr().out


def test_validation_says_what_an_assimilation_takes(
    tiny_config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(to_yaml(tiny_config))
    assert slams(recipe, "config validate") == 0
    assert "observed points: host memory: about" in capsys.readouterr().out


def test_fewer_days_are_evenly_spaced(tiny_config: Config) -> None:
    config = replace(
        tiny_config,
        assimilation=replace(
            tiny_config.assimilation, archive_days=10, methods=["climatology", "background"]
        ),
    )
    data = analysed_days(config)
    (method, _) = make_methods(config, config.assimilation.methods, data)
    whole = data.archive(as_packed=True)
    picked = torch.linspace(0, len(whole.time) - 1, 10, dtype=torch.float64).add(0.5).long()
    assert torch.equal(method.archive.time, whole.time[picked])
    assert torch.equal(method.archive.fields[:], whole.fields[picked])


def test_numbers_that_are_repeated_here_are_those_of_their_modules() -> None:
    """They are repeated because their modules import torch."""
    assert store_shape_module._DENSEST == superobs.DENSEST
    assert memory._UNSEEN == latent_fits._UNSEEN_DAYS == decoding_residual._UNSEEN_DAYS
    assert memory._MOST_KEPT == gain._KEPT
    assert memory._TEMPORARY == 10 * gain._TEMPORARY
    fewest = inspect.signature(season_days).parameters["minimum"].default
    assert fewest == memory._FEWEST


def test_a_training_holds_no_more_windows_than_there_are(
    tiny_config: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []

    def estimate(datamodule: object, batch_size: int, **stage: int) -> None:
        held.append(stage["archive"])
        raise KeyboardInterrupt  # the rest of the stage is not needed

    monkeypatch.setattr(training, "host_memory", estimate)
    windows = len(multimodal(tiny_config).splits["train"])
    for stage in (training.train_vae, training.train_score):
        with pytest.raises(KeyboardInterrupt):
            stage(tiny_config, dry_run=True)
    assert held == [5 * windows, 4 * min(windows, 64)]
