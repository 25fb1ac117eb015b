"""The evaluation gives the same numbers whatever the batch size and the number of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scoringrules
import torch
import xarray as xr
from lightning.pytorch import Callback

sys.path.insert(0, str(Path(__file__).parent))

import toy_evaluation as toy

from slams.errors import UserError
from slams.modules.callbacks.evaluation_progress import EvaluationProgress
from slams.runtime import signals
from slams.runtime.files import load_tensors
from slams.runtime.signals import Stopped

TABLES = (
    "results",
    "cases",
    "rank_histogram",
    "observations",
    "observation_space",
    "observation_ranks",
    "regions",
    "spectra",
)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    directory = tmp_path_factory.mktemp("single")
    module = toy.evaluate(directory)
    module.write(directory)
    return directory, module.tables()


def run_script(directory, *arguments, check=True):
    """Run the toy evaluation as users do: one command that starts its own second rank."""
    source = Path(toy.__file__).parents[2] / "src"
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "PL_"))},
        "PYTHONPATH": str(source),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, toy.__file__, str(directory), *map(str, arguments)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def assert_same(found, expected, tolerance):
    for name in TABLES:
        pd.testing.assert_frame_equal(found[name], expected[name], rtol=tolerance, atol=tolerance)


def read(directory):
    return {name: pd.read_parquet(directory / f"{name}.parquet") for name in TABLES}


def test_batch_size_does_not_matter(single, tmp_path):
    four = toy.evaluate(tmp_path, batch_size=4).tables()
    assert_same(four, single[1], 1e-12)


def test_two_processes_give_the_numbers_of_one(single, tmp_path):
    run_script(tmp_path, 2, 2, 7)
    assert_same(read(tmp_path), single[1], 1e-9)
    for group in ("analysis", "truth", "background"):
        one, two = (
            xr.open_zarr(d / "analysis.zarr", group=group, consolidated=False, chunks=None)
            for d in (single[0], tmp_path)
        )
        xr.testing.assert_equal(one.load(), two.load())


def test_a_rank_without_cases(tmp_path):
    run_script(tmp_path, 2, 1, 1)
    expected = toy.evaluate(tmp_path, cases=1).tables()
    assert_same(read(tmp_path), expected, 1e-12)
    # One date: values, but no interval.
    results = expected["results"]
    assert results["value"].notna().all()
    assert results["lower"].isna().all()


def test_averages_of_averages_would_be_seen(single):
    """Seven cases on two ranks: the mean of the ranks' means is far from the mean."""
    cases = single[1]["cases"]
    means = cases.groupby(["method", "variable", "level", "statistic"])["value"].mean()
    ranks = cases.assign(rank=cases["case"] % 2).groupby(
        ["method", "variable", "level", "statistic", "rank"]
    )["value"]
    averaged = ranks.mean().groupby(level=[0, 1, 2, 3]).mean()
    off = ((averaged - means) / means).abs()
    assert off[means.index.get_level_values("statistic") == "mse"].min() > 1e-4


@pytest.mark.slow
def test_a_padded_sampler_is_refused(tmp_path):
    done = run_script(tmp_path, 2, 1, 7, "padded", check=False)
    assert done.returncode != 0
    assert "case 0 was evaluated twice" in done.stderr
    assert not (tmp_path / "results.parquet").exists()


class Interrupt(Callback):
    """Sends a signal in the middle of a batch, and counts the batches of methods."""

    def __init__(self, at=-1):
        self.at = at

    def on_test_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if batch_idx == self.at:
            os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.parametrize("at", [0, 1, 3])
def test_an_evaluation_that_is_stopped_goes_on_behind_it(single, tmp_path, monkeypatch, at):
    """Seven cases, two a batch; batch 3 is the last."""
    analysed = []
    analyse = toy.Noisy.analyse

    def counted(self, batch, members):
        analysed.append((self.name, batch.case.tolist()))
        return analyse(self, batch, members)

    monkeypatch.setattr(toy.Noisy, "analyse", counted)
    kept = tmp_path / "progress"
    signals.install_handlers()
    signals.enable()
    callbacks = [EvaluationProgress(kept), Interrupt(at)]
    with pytest.raises(Stopped) as caught, signals.defer():
        toy.evaluate(tmp_path, batch_size=2, callbacks=callbacks)
    assert caught.value.saved
    assert caught.value.reason == f"SIGUSR1 after batch {at + 1}"
    # Beside other batches than these, what was kept is of no use.
    other = toy.evaluate(tmp_path, batch_size=1, callbacks=[EvaluationProgress(kept)])
    assert_same(other.tables(), single[1], 1e-12)
    before = len(analysed) - 2 * 7
    progress = EvaluationProgress(kept)
    module = toy.evaluate(tmp_path, batch_size=2, callbacks=[progress])
    assert_same(module.tables(), single[1], 1e-12)
    module.write(tmp_path)
    found = analysed[:before] + analysed[before + 14 :]
    cases = [(name, case) for name, batch in found for case in batch]
    assert len(cases) == len(set(cases)) == 14  # none was analysed twice
    for group in ("analysis", "truth", "background"):
        one, two = (
            xr.open_zarr(d / "analysis.zarr", group=group, consolidated=False, chunks=None)
            for d in (single[0], tmp_path)
        )
        xr.testing.assert_equal(one.load(), two.load())
    progress.forget()
    assert not kept.exists()


def test_all_cases_are_kept_in_files_that_a_stopped_evaluation_finds_again(single, tmp_path):
    progress = tmp_path / "progress"
    signals.install_handlers()
    signals.enable()
    callbacks = [EvaluationProgress(progress), Interrupt(1)]
    with pytest.raises(Stopped), signals.defer():
        toy.evaluate(tmp_path, batch_size=2, callbacks=callbacks, keep=-1)
    assert len(list((progress / "cases/analysis").iterdir())) == 4
    state = load_tensors(progress / "rank-0.pt")["state"]
    assert set(state["kept"]["analysis"][0]) == {"file", "time"}  # no members
    module = toy.evaluate(
        tmp_path, batch_size=2, callbacks=[EvaluationProgress(progress)], keep=-1
    )
    module.write(tmp_path)
    assert_same(module.tables(), single[1], 1e-12)
    for group in ("analysis", "truth", "background"):
        some, every = (
            xr.open_zarr(d / "analysis.zarr", group=group, chunks=None)
            for d in (single[0], tmp_path)
        )
        assert every["case"].values.tolist() == list(range(7))
        xr.testing.assert_identical(every.isel(time=slice(3)).load(), some.load())
    # What a damaged progress lacks is not left out in silence.
    with pytest.raises(Stopped), signals.defer():
        toy.evaluate(tmp_path, callbacks=[EvaluationProgress(progress), Interrupt(5)], keep=-1)
    (progress / "cases/truth/0.pt").unlink()
    with pytest.raises(UserError, match="does not contain the progress"):
        toy.evaluate(tmp_path, callbacks=[EvaluationProgress(progress)], keep=-1)


def test_progress_is_kept_about_every_minute(tmp_path):
    passed = iter(range(0, 1000, 25))
    progress = EvaluationProgress(tmp_path / "kept", 60, now=lambda: next(passed))
    written = []

    class Look(Callback):
        def on_test_batch_end(self, *arguments, **more):
            path = tmp_path / "kept" / "rank-0.pt"
            written.append(path.stat().st_mtime_ns if path.exists() else 0)

    toy.evaluate(tmp_path, callbacks=[progress, Look()])
    assert written[0] == 0
    assert 2 <= len(set(written)) <= 4


def test_values_against_an_independent_computation(single):
    """Recompute RMSE, CRPS and spread-skill of one channel with NumPy and scoringrules."""
    batch = toy.collate([toy.Cases(7)[i] for i in range(7)])
    normal = toy.normaliser()
    truth = normal.to_physical(normal.denormalise(batch.fields, batch.climatology))
    given = replace(batch, held_out=())
    members = toy.Noisy("analysis", 0.4).analyse(given, toy.MEMBERS).members
    y = truth[:, 0].double().numpy()
    x = members[:, :, 0].double().numpy()
    known = batch.mask[:, 0].numpy()
    area = np.broadcast_to(toy.GRID.weights.numpy()[:, None], y.shape[-2:])

    def case_mean(values, channel):
        weight = area * known[:, channel]
        return (values * weight).sum((-2, -1)) / weight.sum((-2, -1))

    expected = {}
    for c, level in enumerate(["500", "850"]):
        error = x[:, :, c].mean(1) - y[:, c]
        mse = case_mean(error**2, c).mean()
        crps = scoringrules.crps_ensemble(
            y[:, c], np.moveaxis(x[:, :, c], 1, -1), estimator="fair", backend="numpy"
        )
        variance = case_mean(x[:, :, c].var(1, ddof=1), c).mean()
        expected[level] = {
            "rmse": np.sqrt(mse),
            "bias": case_mean(error, c).mean(),
            "crps": case_mean(crps, c).mean(),
            "spread_skill": np.sqrt(6 / 5) * np.sqrt(variance) / np.sqrt(mse),
        }
    results = single[1]["results"]
    rows = results[(results["method"] == "analysis") & (results["variable"] == "temperature")]
    table = rows.pivot(index="level", columns="metric", values="value")
    for metric in ("rmse", "bias", "crps", "spread_skill"):
        for level in ("500", "850"):
            assert table.loc[level, metric] == pytest.approx(expected[level][metric], rel=1e-9)
        mean = (expected["500"][metric] + expected["850"][metric]) / 2
        assert table.loc["mean", metric] == pytest.approx(mean, rel=1e-9)


def test_metrics_are_functions_of_the_means_of_cases(single):
    tables = single[1]
    cases = tables["cases"].groupby(["method", "variable", "level", "statistic"])["value"].mean()
    results = tables["results"].set_index(["method", "variable", "level", "metric"])
    for method in ("background", "analysis"):
        for key in (("temperature", "850"), ("total_precipitation_24hr", "surface")):
            rmse = results.loc[(method, *key, "rmse")]
            assert rmse["value"] == pytest.approx(cases[(method, *key, "mse")] ** 0.5, rel=1e-12)
            assert rmse["lower"] <= rmse["value"] <= rmse["upper"]
            assert rmse["n"] == 7


def test_regions_hold_the_globe_and_its_numbers(single):
    tables = single[1]
    key = ["method", "variable", "level", "metric"]
    regions = tables["regions"].set_index(["region", *key])["value"]
    results = tables["results"].set_index(key)["value"]
    for metric in ("rmse", "bias", "crps", "spread_skill"):
        row = ("analysis", "temperature", "mean", metric)
        assert regions.loc[("global", *row)] == pytest.approx(results.loc[row], rel=1e-12)
        assert regions.loc[("tropics", *row)] != results.loc[row]
    assert 0 < results.loc["analysis", "temperature", "mean", "wasserstein"] < 1


def test_missing_truth_yields_no_rows(single):
    tables = single[1]
    for name in ("results", "cases", "rank_histogram", "regions"):
        assert "2m_temperature" not in set(tables[name]["variable"])
        assert "total_precipitation_24hr" in set(tables[name]["variable"])


def test_whole_method_metrics_and_histograms(single):
    tables = single[1]
    results = tables["results"].set_index(["method", "metric"])
    assert results.loc[("analysis", "divergent_members"), "value"] == 1
    assert results.loc[("analysis", "seconds_per_member"), "value"] == pytest.approx(2 / 5)
    sums = tables["rank_histogram"].groupby(["method", "variable", "level"])["weight"].sum()
    np.testing.assert_allclose(sums, 1)
    assert set(tables["rank_histogram"]["bin"]) == set(range(toy.MEMBERS + 1))


def test_departures(single):
    """O-B is observation error plus background error; masked observations are not read."""
    rows = single[1]["observations"].set_index(["method", "observation", "quantity"])
    cases = [toy.Cases(7)[i] for i in range(7)]
    departures = []
    for batch in cases:
        normal = toy.normaliser()
        state = normal.denormalise(batch.background.mean, batch.climatology)
        seen = batch.observations[0]
        departures.append((seen.values - seen.operator(state))[seen.mask])
    expected = torch.cat(departures).double()
    row = rows.loc[("analysis", "stations/2m", "o_minus_b")]
    assert row["n"] == len(expected) == 7 * 8
    assert row["mean"] == pytest.approx(float(expected.mean()), rel=1e-6)
    assert row["sd"] == pytest.approx(float(expected.std()), rel=1e-6)
    # R = 1 and the background's error has a standard deviation of 3 K.
    assert row["chi2"] == pytest.approx(float(expected.square().mean()) / 10, rel=1e-6)
    # The method called background starts from the same background.
    same = rows.loc[("background", "stations/2m", "o_minus_b")]
    assert same["mean"] == row["mean"]
    assert rows.loc[("analysis", "stations/2m", "o_minus_a"), "sd"] < row["sd"]


def test_observation_space(single):
    """Held-out observations are compared with every method; O-B and O-A agree in all tables."""
    tables = single[1]
    key = ["method", "observation", "use", "region", "statistic"]
    space = tables["observation_space"].set_index(key)
    assert {(o, u) for _, o, u, *_ in space.index} == {
        ("stations/2m", "assimilated"),
        ("stations/rain", "assimilated"),
        ("stations/later", "held_out"),
    }
    plain = tables["observations"].set_index(["method", "observation", "quantity"])
    for quantity in ("o_minus_b", "o_minus_a"):
        row = plain.loc[("analysis", "stations/2m", quantity)]
        where = ("analysis", "stations/2m", "assimilated", "global")
        assert space.loc[(*where, f"{quantity}_sd"), "value"] == row["sd"]
        assert space.loc[(*where, f"{quantity}_mean"), "n"] == row["n"]
    assert "stations/later" not in plain.index.get_level_values("observation")
    scores = space.xs(("stations/later", "held_out", "global", "crps"), level=key[1:])
    assert (scores["lower"] <= scores["value"]).all()
    assert scores.loc["analysis", "value"] < scores.loc["background", "value"]
    ranks = tables["observation_ranks"].groupby(["method", "observation"])["weight"].sum()
    np.testing.assert_allclose(ranks, 1)


def test_analysis_store(single):
    directory, _ = single
    groups = {
        g: xr.open_zarr(directory / "analysis.zarr", group=g, consolidated=False, chunks=None)
        for g in ("analysis", "truth", "background")
    }
    analysis = groups["analysis"]
    assert analysis["temperature"].dims == (
        "time",
        "realization",
        "level",
        "latitude",
        "longitude",
    )
    assert analysis["case"].values.tolist() == [0, 1, 2]
    assert analysis["time"].values[2] == np.datetime64("1970-01-01") + np.timedelta64(3654)
    np.testing.assert_allclose(
        analysis["temperature_mean"], analysis["temperature"].mean("realization"), rtol=1e-6
    )
    for name in ("truth", "background"):
        assert "realization" not in groups[name].variables
    truth = groups["truth"]
    assert np.isnan(truth["t2m"]).all()
    assert truth["temperature"].sel(level=850).notnull().all()
    batch = toy.Cases(7)[1]
    normal = toy.normaliser()
    state = normal.to_physical(normal.denormalise(batch.background.mean, batch.climatology))
    np.testing.assert_array_equal(groups["background"]["tp"][1], state[0, 0, 3])


@pytest.mark.parametrize("fault", ["nan", "members"])
def test_bad_ensembles_are_refused(fault):
    module = toy.evaluator()
    good = module.assimilators[1].analyse

    def bad(batch, members):
        if fault == "members":
            return good(batch, members - 1)
        ensemble = good(batch, members)
        broken = ensemble.members.clone()
        broken[0, 2, 0, 1, 3, 3] = torch.nan
        return replace(ensemble, members=broken)

    module.assimilators[1].analyse = bad
    module.setup("test")
    message = "not finite" if fault == "nan" else "shape"
    with pytest.raises(UserError, match=message):
        module.test_step(toy.Cases(7)[0], 0)


def test_channels_that_only_condition_are_not_scored_and_change_no_other_number(single, tmp_path):
    kept = ["temperature@850", "total_precipitation_24hr"]
    module = toy.evaluate(tmp_path, analysed=kept)
    module.write(tmp_path)
    found, whole = module.tables(), single[1]
    shown = {("temperature", "850"), ("total_precipitation_24hr", "surface")}
    for name in ("cases", "rank_histogram", "regions", "spectra", "results"):
        alone = found[name][found[name]["level"] != "mean"]
        keys = set(zip(alone["variable"], alone["level"], strict=True)) - {("all", "all")}
        assert keys == (shown if name != "spectra" else {("temperature", "850")})
        names = [*shown, ("all", "all")]
        rows = [key in names for key in zip(whole[name].variable, whole[name].level, strict=True)]
        pd.testing.assert_frame_equal(
            alone.reset_index(drop=True), whole[name][rows].reset_index(drop=True)
        )
    # The mean over levels is over the levels that are scored.
    result = found["results"].set_index(["method", "variable", "level", "metric"])["value"]
    one = result["analysis", "temperature", "850", "rmse"]
    assert result["analysis", "temperature", "mean", "rmse"] == one
    # `H` sees every channel: what is observed is compared as before.
    pd.testing.assert_frame_equal(found["observation_space"], whole["observation_space"])
    for group in ("truth", "background", "analysis"):
        store = xr.open_zarr(tmp_path / "analysis.zarr", group=group, consolidated=False)
        names = {array.attrs.get("weatherbench2_name") for array in store.data_vars.values()}
        assert names - {None} == {"temperature", "total_precipitation_24hr"}
        assert store["level"].values.tolist() == [850]
