"""`slams bench state`: the noise floor of a linear world, resuming, shares, refusals."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr

from data_modules.store.training_store import TrainingStore
from slams.benchmarks.state import regression
from slams.benchmarks.state.days import choose_days
from slams.benchmarks.state.recipe import StateBenchConfig, check_state_bench
from slams.cli.main import main
from slams.config.loading import load
from tests.benchmarks.state.linear_world import NOISE


def _bench(recipe: Path, output: Path, *words: str) -> int:
    return main(["bench", "state", str(recipe), *words, "--output", str(output)])


@pytest.fixture(scope="session")
def table(linear_world: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    from tests.benchmarks.state.conftest import recipe

    directory = tmp_path_factory.mktemp("table")
    path = recipe.__wrapped__(directory, linear_world)
    assert _bench(path, directory / "out", "methods=[regression]") == 0
    return pd.read_csv(directory / "out/regression.csv", dtype={"level": str})


def _rmse(table: pd.DataFrame, training: str, state: str, level: str) -> float:
    rows = table.set_index(["training", "state", "level"])
    return float(rows.rmse[training, state, level])


def test_the_state_that_holds_what_matters_reaches_the_noise(table: pd.DataFrame) -> None:
    floor = pytest.approx(NOISE, rel=0.03)
    # At 850 hPa the wind matters, at 500 hPa the day before: variances without them are known.
    without_wind = pytest.approx((NOISE**2 + 0.5**2) ** 0.5, rel=0.03)
    for state in ("surface", "pressure", "before"):
        assert _rmse(table, "long", state, "850") == without_wind
    for state in ("winds_3", "winds", "winds_3_before", "winds_before"):
        assert _rmse(table, "long", state, "850") == floor
    for state in ("before", "winds_3_before", "winds_before"):
        assert _rmse(table, "long", state, "500") == floor
    # x(t+1) given x(t) alone: variance (1 - .4^2) less than which only the day before gives.
    without_before = pytest.approx(NOISE / (1 - 0.4**2) ** 0.5, rel=0.03)
    for state in ("surface", "pressure", "winds"):
        assert _rmse(table, "long", state, "500") == without_before
    assert _rmse(table, "short", "winds_before", "mean") == floor


def test_references_are_those_of_the_linear_world(table: pd.DataFrame) -> None:
    table = table.assign(training=table.training.fillna(""))
    # The stationary variance of T500, an autoregression of order two.
    first = 0.5 / (1 - 0.4)
    variance = NOISE**2 / (1 - 0.5 * first - 0.4 * (0.5 * first + 0.4))
    assert _rmse(table, "", "climatology", "500") == pytest.approx(variance**0.5, rel=0.05)
    expected = (2 * variance * (1 - first)) ** 0.5
    assert _rmse(table, "", "persistence", "500") == pytest.approx(expected, rel=0.03)
    damped = (variance * (1 - first**2)) ** 0.5
    assert _rmse(table, "long", "damped_persistence", "500") == pytest.approx(damped, rel=0.03)
    inside = table[table.level == "mean"]
    assert ((inside.low < inside.rmse) & (inside.rmse < inside.high)).all()


def test_weights_and_penalties_know_nothing_of_the_validation(
    recipe: Path, linear_world: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(linear_world, tmp_path / "copy.zarr")
    fields = zarr.open_group(copy)["fields"]
    inside = slice(424, 574)  # 2002-03-01 to 2002-07-28
    noise = np.random.default_rng(9).standard_normal(fields[inside].shape)
    fields[inside] = (5 + 10 * noise**2).astype(np.float32)
    words = ("methods=[regression]", "regression.states=[winds]")
    assert _bench(recipe, tmp_path / "one", *words) == 0
    assert _bench(recipe, tmp_path / "other", *words, f"store={copy}") == 0
    tables = [
        pd.read_parquet(tmp_path / name / "regression/row_003.parquet")
        for name in ("one", "other")
    ]
    assert tables[0].penalty.notna().sum() == 2 * 2 * 5
    pd.testing.assert_series_equal(tables[0].penalty, tables[1].penalty)
    assert (tables[1].square > 10 * tables[0].square).all()


def test_days_held_out_lie_apart_from_those_fitted(recipe: Path, linear_world: Path) -> None:
    config = load(recipe, ["network.train=[]"], StateBenchConfig, check_state_bench)
    days = choose_days(TrainingStore.open(linear_world), config)
    parts = regression._parts(days, config)
    for choice in range(2):
        fitted, held_out, between = (
            np.concatenate(
                [days.time[p.start] for p in parts if p.members[choice] and p.fold == f]
            )
            for f in range(3)
        )
        assert np.abs(fitted[:, None] - held_out).min() > config.regression.apart
        together = np.concatenate([fitted, held_out, between])
        assert sorted(together) == sorted(days.time[days.start[days.train[choice]]])
        assert 0.1 < len(held_out) / len(together) < 0.2


def test_penalties_are_chosen_on_days_held_out(recipe: Path, tmp_path: Path) -> None:
    # 330 predictors, 80 days of 12 points: what fits these days best does not fit others.
    words = ["methods=[regression]", "regression.states=[pressure]", "regression.patch=[5,11]"]
    words += ["train=[{name: short, days: [2001-01-01, 2001-04-20]}]"]
    words += ["regression.penalties=[0.0001,0.1]", "network.train=[]"]
    assert _bench(recipe, tmp_path, *words) == 0
    row = pd.read_parquet(tmp_path / "regression/row_002.parquet")
    assert set(row.penalty.dropna()) == {0.1}


def test_what_was_killed_goes_on_from_its_rows(
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("methods=[regression]", "regression.states=[surface,winds_3]")
    whole = regression.regress_row
    done = []

    def killed(*arguments: object) -> pd.DataFrame:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(arguments[-1])
        return whole(*arguments)

    monkeypatch.setattr(regression, "regress_row", killed)
    assert _bench(recipe, tmp_path / "out", *words) == 130
    assert not (tmp_path / "out/regression.csv").exists()
    monkeypatch.setattr(regression, "regress_row", lambda *a: (done.append(a[-1]), whole(*a))[1])
    assert _bench(recipe, tmp_path / "out", *words) == 0
    assert done == [0, 1, 2, 3, 4, 5]
    # In two shares and in bands of other sizes: the same to rounding.
    parts = (*words, "regression.band=2")
    capsys.readouterr()
    assert _bench(recipe, tmp_path / "parts", *parts, "share=[1,2]") == 0
    assert "2 of 6 rows are not finished, no table yet" in capsys.readouterr().out
    assert not (tmp_path / "parts/regression.csv").exists()
    assert _bench(recipe, tmp_path / "parts", *parts, "share=[2,2]") == 0
    tables = [pd.read_csv(tmp_path / name / "regression.csv") for name in ("out", "parts")]
    np.testing.assert_allclose(tables[0].rmse, tables[1].rmse, atol=2e-4)
    printed = capsys.readouterr().out
    value = tables[1].query("training == 'long' and state == 'winds_3' and level == '850'").rmse
    assert f"| + winds, humidity at three levels, products | {value.item():.3f} |" in printed
    # What is finished belongs to its settings.
    assert _bench(recipe, tmp_path / "out", *words, "seed=7") == 2
    assert "made with a different 'seed'" in capsys.readouterr().err


def test_networks_are_trained_once_and_further_rows_are_added(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("methods=[network]", "network.train=[short]")
    assert _bench(recipe, tmp_path, *words, "network.states=[pressure]") == 0
    first = pd.read_csv(tmp_path / "network.csv")
    assert set(first.state) == {"pressure"}
    capsys.readouterr()
    assert _bench(recipe, tmp_path, *words, "share=[2,2]") == 0
    printed = capsys.readouterr().out
    assert "network: 1 trainings of 2 steps to do" in printed
    second = pd.read_csv(tmp_path / "network.csv")
    assert set(second.state) == {"pressure", "winds"}
    pd.testing.assert_frame_equal(
        second[second.state == "pressure"], first, check_index_type=False
    )
    assert _bench(recipe, tmp_path, *words, "network.sigma=80") == 2


@pytest.mark.slow
def test_a_network_that_sees_the_wind_forecasts_better(recipe: Path, tmp_path: Path) -> None:
    words = ["methods=[network]", "network.train=[long]", "network.noise_mean=3"]
    words += ["network.optimizer.steps=400", "network.channels=[16]"]
    assert _bench(recipe, tmp_path, *words) == 0
    table = pd.read_csv(tmp_path / "network.csv", dtype={"level": str})
    floor, without = NOISE, (NOISE**2 + 0.5**2) ** 0.5
    assert _rmse(table, "long", "winds", "850") < (floor + without) / 2
    assert without * 0.97 < _rmse(table, "long", "pressure", "850") < 1.2 * without


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("methods=[]", "'methods': found none"),
        ("methods=[regresion]", "regression"),
        ("regression.states=[wind]", "'regression.states.0': found 'wind'"),
        ("network.train=[medium]", "'network.train': found 'medium'"),
        ("validation=[2002-02-06,2002-07-28]", "is closer than 5 days"),
        ("validation=[2002-02-06]", "'validation': found 1 dates"),
        ("train=[]", "'train': found none"),
        ("regression.patch=[4,7]", "two odd numbers"),
        ("regression.penalties=[0]", "above 0"),
        ("share=[3,2]", "the n-th of m parts"),
        ("levels=[300]", "lacks u_component_of_wind@300"),
        ("regression.held_out=300", "'regression.held_out': no days of 'short'"),
        ("store=nowhere.zarr", "no such directory"),
    ],
)
def test_what_makes_no_sense_is_refused(
    word: str, expected: str, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _bench(recipe, tmp_path / "out", word) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1


def test_the_recipe_of_the_long_run_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[3] / "experiments/benchmarks/state.yaml"
    assert main(["bench", "state", str(path), "store=nowhere.zarr"]) == 2
    assert "training store nowhere.zarr: found no such directory" in capsys.readouterr().err
