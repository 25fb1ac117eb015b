"""The learned filter from the command line: train, forecast, and analyse from the forecasts."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import zarr

from data_modules.store.packing import STEP
from data_modules.store.training_store import TrainingStore
from slams.config.loading import to_yaml
from slams.config.schema import BackgroundConfig, Config
from slams.stages.data import multimodal
from slams.stages.filter_cycles import cycles_of
from tests.stages.commands import filter_settings, slams, study, tree


@pytest.fixture(scope="module")
def filtered(
    tmp_path_factory: pytest.TempPathFactory, tiny_source: Path, tiny_prepared: Path
) -> Config:
    """Return a recipe whose filter is trained and has written its forecasts."""
    root = tmp_path_factory.mktemp("filter")
    config = study(root, tiny_source)
    shutil.copytree(tiny_prepared, config.data.store)
    config.filter = filter_settings(str(root / "forecasts.zarr"))
    write(config)
    assert slams(root / "recipe.yaml", "train filter", "--dry-run") == 0
    assert slams(root / "recipe.yaml", "train filter") == 0
    assert slams(root / "recipe.yaml", "filter", "--dry-run") == 0
    assert not Path(config.filter.output).exists()
    assert slams(root / "recipe.yaml", "filter") == 0
    return config


def write(config: Config, name: str = "recipe.yaml") -> Path:
    path = Path(config.runs).parent / name
    path.write_text(to_yaml(config))
    return path


def errors(config: Config, path: str | Path, days: slice) -> tuple[float, float]:
    """Return the rms error of forecasts and of the climatology, normalised temperature."""
    names = ["temperature@500"]
    store, forecasts = (TrainingStore.open(p, names) for p in (config.data.store, path))
    index = np.searchsorted(store.time, forecasts.time)[days]
    normaliser = store.normaliser()
    time = torch.from_numpy(store.time[index])[None]
    climatology = normaliser.climatology(time)
    truth = normaliser.normalise(torch.from_numpy(store.read(index))[None], climatology)
    guess = normaliser.normalise(
        torch.from_numpy(forecasts.read(np.arange(len(forecasts.time))[days]))[None], climatology
    )
    return float((guess - truth).square().mean().sqrt()), float(truth.square().mean().sqrt())


def test_forecasts_from_observations_alone_are_better_than_the_climatology(filtered):
    forecasts = TrainingStore.open(filtered.filter.output)
    # 70 days of training, 12 of validation, 24 of test.
    assert len(forecasts.time) == 106
    found, climatology = errors(filtered, filtered.filter.output, slice(75, 106))
    assert found < 0.9 * climatology


def test_a_cycle_starts_from_the_climatology(filtered):
    found, climatology = errors(filtered, filtered.filter.output, slice(0, 1))
    assert found == pytest.approx(climatology, rel=0.01)


def test_methods_start_from_the_forecasts(filtered, capsys):
    config = filtered
    config.background = BackgroundConfig(kind="file", path=config.filter.output)
    config.assimilation.methods = ["climatology", "background", "optimal_interpolation"]
    config.assimilation.modality_study = 0
    recipe = write(config, "cycle.yaml")
    assert slams(recipe, "assimilate") == 0
    results = pd.read_parquet(Path(config.runs) / "tiny" / "assimilation" / "results.parquet")
    rmse = results[(results.variable == "temperature") & (results.metric == "rmse")]
    mean = rmse.groupby("method")["value"].mean()
    assert mean["optimal_interpolation"] < mean["background"] < mean["climatology"]
    # Other forecasts at the same path are other backgrounds.
    assert slams(recipe, "filter", "filter.lags=[2]", "resume=overwrite") == 0
    assert slams(recipe, "assimilate") == 2
    assert "was built on another background" in capsys.readouterr().err
    assert slams(recipe, "filter", "resume=overwrite") == 0
    assert slams(recipe, "assimilate") == 0


def test_forecasts_do_not_depend_on_the_truth_of_their_day_or_later(filtered):
    """A change of the last day changes no forecast."""
    root = Path(filtered.runs).parent
    store = TrainingStore.open(filtered.data.store)
    again = str(root / "again.zarr")
    recipe = write(filtered)
    words = [f"filter.output={again}", "data.splits.test=[2001-03-28,2001-04-10]"]
    assert slams(recipe, "filter", *words) == 0
    short, whole = TrainingStore.open(again), TrainingStore.open(filtered.filter.output)
    assert len(short.time) == len(whole.time) - 10 < len(store.time)
    # Other batches round their forecasts to the same multiple of a packed step but at a tie.
    one, other = short.read(slice(0, None)), whole.read(slice(0, 96))
    apart = np.abs(one - other) / short.statistics.sd.numpy()
    assert (apart > 0).mean() < 1e-4
    assert apart.max() < 1.01 * STEP


def test_other_cycles_are_other_forecasts(filtered):
    """Where a cycle starts is part of what its forecasts are, also on days that both have."""
    root, recipe = Path(filtered.runs).parent, write(filtered)
    later = str(root / "later.zarr")
    words = [f"filter.output={later}", "data.splits.test=[2001-04-01,2001-04-20]"]
    assert slams(recipe, "filter", *words) == 0
    one, other = TrainingStore.open(filtered.filter.output), TrainingStore.open(later)
    assert one.fingerprint != other.fingerprint
    again = str(root / "same.zarr")
    assert slams(recipe, "filter", f"filter.output={again}") == 0
    assert TrainingStore.open(again).fingerprint == one.fingerprint
    # A finished store is kept.
    before = tree(Path(again))
    assert slams(recipe, "filter", f"filter.output={again}") == 0
    assert tree(Path(again)) == before


def test_the_score_model_is_trained_with_forecasts_of_several_lags(filtered):
    """Other forecasts of any lag are encoded again."""
    root = Path(filtered.runs).parent
    config = replace(
        filtered,
        filter=replace(filtered.filter, output=f"{root}/of_{{lag}}.zarr", lags=[1, 3]),
        background=BackgroundConfig(kind="file", path=f"{root}/of_{{lag}}.zarr", lag=1),
        score=replace(filtered.score, lags=[3]),
    )
    recipe = write(config, "lags.yaml")
    for verb in ("filter", "train vae", "train score"):
        assert slams(recipe, verb) == 0
    latents = Path(config.runs) / "tiny" / "vae" / "latents_1.zarr"
    made = zarr.open_group(str(latents), mode="r")
    assert {"train", "train_lag_3"} <= {name.partition("/")[0] for name in made}
    before = dict(made.attrs)
    words = ["filter.lags=[3]", "filter.start=truth", "resume=overwrite"]
    assert slams(recipe, "filter", *words) == 0
    assert slams(recipe, "train score", "resume=overwrite") == 0
    assert dict(zarr.open_group(str(latents), mode="r").attrs) != before


def test_a_longer_lead_is_worse_and_a_start_from_the_truth_better(filtered):
    root, recipe = Path(filtered.runs).parent, write(filtered)
    late, true = str(root / "late.zarr"), str(root / "true.zarr")
    assert slams(recipe, "filter", f"filter.output={late}", "filter.lags=[3]") == 0
    assert slams(recipe, "filter", f"filter.output={true}", "filter.start=truth") == 0
    days = slice(75, 106)
    assert errors(filtered, late, days)[0] > errors(filtered, filtered.filter.output, days)[0]
    first = slice(0, 1)
    assert errors(filtered, true, first)[0] < 0.05
    # The start is forgotten: at the end of the training period both cycles are the same.
    one, other = TrainingStore.open(true), TrainingStore.open(filtered.filter.output)
    np.testing.assert_allclose(one.read([69])[0, :2], other.read([69])[0, :2], atol=0.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["filter.output="], "key 'filter.output': found nothing"),
        (
            ["filter.output=${data.store}", "resume=overwrite"],
            "is a training store that no filter has written; name another store",
        ),
        (["resume=never"], "exists and resume=never; name another store"),
        (["filter.lags=[2]"], "holds other states than this recipe's forecasts; name another"),
        (["filter.output=new.zarr", "filter.lags=[1,2]"], "expected a path with {lag}"),
        (
            [
                "filter.output=new.zarr",
                "observations.stations.variables.0.channel=temperature@500",
            ],
            "found observations of temperature@500, but the filter",
        ),
        (["filter.output=new.zarr", "filter.hidden=16"], "filter.hidden"),
        (["filter.compared_with=no.zarr"], "key 'filter.compared_with': no.zarr: found no such"),
        (["filter.compared_with=${filter.output}"], "holds the forecasts themselves"),
        (
            ["filter.output=f_{lag}.zarr", "filter.lags=[1,2]", "filter.compared_with=no.zarr"],
            "key 'filter.compared_with': found 'no.zarr' for 2 lags, expected a path with {lag}",
        ),
        (["filter.keep=[temperature@700]"], "key 'filter.keep': 'temperature@700' is not in"),
        (
            ["filter.weights={temprature: 2}"],
            "key 'filter.weights': found {'temperature': 3.0, 'temprature'",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(filtered, capsys, words, message):
    assert slams(write(filtered), "filter", *words) == 2
    assert message in capsys.readouterr().err


def rows(printed: str) -> dict[tuple[str, str], list[float]]:
    """Return the numbers of a printed table of errors by split and days of a cycle."""
    lines = [line.split("│")[1:-1] for line in printed.splitlines() if line.startswith("│")]
    return {(split.strip(), days.strip()): [*map(float, v)] for split, days, _, *v in lines}


def test_errors_are_printed_and_compared_with_those_of_another_start(filtered, capsys):
    root, recipe = Path(filtered.runs).parent, write(filtered)
    true = str(root / "from_truth.zarr")
    before = tree(Path(filtered.filter.output))
    capsys.readouterr()
    # A finished store is kept, and its errors are printed again.
    assert slams(recipe, "filter") == 0
    printed = capsys.readouterr().out
    alone = rows(printed)
    assert "lag 1: rmse of temperature (K), mean of 2 levels" in printed
    assert {split for split, _ in alone} == {"train", "validation", "test"}
    assert [d for s, d in alone if s == "train"] == ["1-5", "6-10", "11-20", "21-30", "31-80"]
    rmse, climatology, ratio = alone["test", "11-20"]
    assert rmse < climatology
    assert ratio == pytest.approx(rmse / climatology, rel=0.01)
    assert slams(recipe, "filter", f"filter.output={true}", "filter.start=truth") == 0
    other = rows(capsys.readouterr().out)
    assert slams(recipe, "filter", f"filter.compared_with={true}") == 0
    both = rows(capsys.readouterr().out)
    assert {key: values[:3] for key, values in both.items()} == alone
    assert {key: values[3] for key, values in both.items()} == {k: v[0] for k, v in other.items()}
    # The start is forgotten.
    assert both["train", "31-80"][-1] < 0.1 < both["train", "1-5"][-1]
    # What forecasts are compared with changes neither them nor the training.
    assert tree(Path(filtered.filter.output)) == before
    assert slams(recipe, "train filter", f"filter.compared_with={true}") == 0


def test_a_filter_goes_on_with_a_part_of_its_observations(filtered):
    recipe = write(filtered)
    found = {}
    for use in ("satellite", "stations"):
        path = str(Path(filtered.runs).parent / f"{use}.zarr")
        words = [f"filter.output={path}", f"observations.use=[{use}]"]
        assert slams(recipe, "filter", *words) == 0
        found[use], climatology = errors(filtered, path, slice(75, 106))
    whole = errors(filtered, filtered.filter.output, slice(75, 106))[0]
    assert whole < min(found.values()) < max(found.values()) < climatology


def test_several_lags_are_forecast_at_once(filtered):
    root, recipe = Path(filtered.runs).parent, write(filtered)
    words = [f"filter.output={root}/lag_{{lag}}.zarr", "filter.lags=[0,1,3]"]
    words += ["filter.keep=[temperature@500]"]
    assert slams(recipe, "filter", *words) == 0
    one, whole = (TrainingStore.open(p) for p in (root / "lag_1.zarr", filtered.filter.output))
    assert [c.name for c in one.channels] == ["temperature@500"]
    every = slice(0, None)
    np.testing.assert_array_equal(one.read(every)[:, 0], whole.read(every)[:, 1])
    three = TrainingStore.open(root / "lag_3.zarr").read(every)
    # What a day's own observations say makes the analysis better than the forecast.
    days = slice(75, 106)
    assert errors(filtered, root / "lag_0.zarr", days) < errors(
        filtered, root / "lag_1.zarr", days
    )
    zero = TrainingStore.open(root / "lag_0.zarr").read(every)
    assert not np.array_equal(zero[10:60, 0], one.read(every)[11:61, 0])
    # From the same observations, the forecast of a later day is not that of the day before.
    assert np.abs(three[10:60, 0] - one.read(every)[8:58, 0]).mean() > 0.1
    late = str(root / "late_again.zarr")
    assert slams(recipe, "filter", f"filter.output={late}", "filter.lags=[3]") == 0
    np.testing.assert_array_equal(three[:, 0], TrainingStore.open(late).read(every)[:, 1])


def test_a_missing_day_divides_a_cycle(filtered):
    """No forecast counts the day after a gap as the next one."""
    data = multimodal(replace(filtered, background=BackgroundConfig(kind="climatology")))
    whole = cycles_of(data, final=True)
    assert [len(cycle) for cycle in whole] == [70, 24, 12]
    kept = np.delete(data.store.time, 10)
    data.store = replace(data.store, time=kept)
    assert [len(cycle) for cycle in cycles_of(data, final=True)] == [59, 24, 12, 10]


def test_reserved_test_days_are_left_out_unless_the_recipe_is_final(filtered, capsys):
    root, recipe = Path(filtered.runs).parent, write(filtered)
    held = "data.splits.reserved=[2001-03-28,2001-04-20]"
    for final, days in (("false", 82), ("true", 106)):
        output = root / f"final_{final}.zarr"
        words = [f"filter.output={output}", held, f"data.splits.final={final}"]
        assert slams(recipe, "filter", *words) == 0
        assert len(TrainingStore.open(output).time) == days
        scored = {split for split, _ in rows(capsys.readouterr().out)}
        assert ("test" in scored) == (final == "true")
