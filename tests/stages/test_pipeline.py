"""From a source to a report through the command line, on a made-up nature run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import slams as package
from data_modules.store.latents import LatentStore
from slams.errors import UserError
from slams.modules.base import read_checkpoint
from slams.modules.score import LatentScore
from slams.nn.latent_space import LatentBatch
from slams.stages import bundle
from slams.stages.data import multimodal
from tests.stages.commands import VERBS, copy_stages, slams, study, tree
from tests.stages.conftest import Study

METHODS = ["background", "climatology", "latent_diffusion", "optimal_interpolation"]
SETTINGS = ["assimilation", "assimilation-none", "assimilation-satellite", "assimilation-stations"]


def record(directory: Path) -> dict:
    return json.loads((directory / "run.json").read_text())


def test_every_command_succeeds_and_rehearsals_write_nothing(finished: Study) -> None:
    assert set(finished.codes.values()) == {0}
    for verb in VERBS:
        before, after = finished.rehearsed[verb]
        assert after == before, verb


def test_files_of_the_contract(finished: Study) -> None:
    for stage in ("vae", "score"):
        run = finished.run(stage)
        for name in ("config.yaml", "run.json", "metrics.csv"):
            assert (run / name).is_file()
        assert sorted(p.name for p in (run / "checkpoints").iterdir()) == [
            "best.ckpt",
            "last.ckpt",
        ]
    assert (finished.run("vae") / "reconstruction.parquet").is_file()
    for setting in SETTINGS:
        run = finished.run(setting)
        for name in ("config.yaml", "run.json", "results.parquet", "cases.parquet"):
            assert (run / name).is_file()
    run = finished.run("assimilation")
    assert (run / "stations.csv").is_file()
    page = (run / "report" / "index.html").read_text()
    assert "latent_diffusion" in page or "Latent diffusion" in page


def test_lineage_leads_from_the_analysis_to_the_store(finished: Study) -> None:
    vae, score, assimilation = (record(finished.run(s)) for s in ("vae", "score", "assimilation"))
    assert {r["status"] for r in (vae, score, assimilation)} == {"finished"}
    assert score["inputs"] == {"vae": vae["run_id"]}
    assert assimilation["inputs"] == {"vae": vae["run_id"], "score": score["run_id"]}
    assert len({r["fingerprint"] for r in (vae, score, assimilation)}) == 1
    checkpoint = read_checkpoint(finished.run("score") / "checkpoints" / "best.ckpt")
    assert checkpoint["slams"]["settings"]["vae"] == vae["run_id"]


def test_training_curves(finished: Study) -> None:
    for stage in ("vae", "score"):
        curves = pd.read_csv(finished.run(stage) / "metrics.csv")
        assert {"step", "epoch", "train/loss", "validation/loss"} <= set(curves.columns)
        assert curves["step"].is_monotonic_increasing
        assert curves["step"].iloc[-1] == 48
        assert np.isfinite(curves["train/loss"]).all()
        assert np.isfinite(curves["validation/loss"].dropna()).all()
        assert len(curves["validation/loss"].dropna()) >= 2


def test_results_have_the_columns_methods_and_metrics_of_the_contract(finished: Study) -> None:
    results = pd.read_parquet(finished.run("assimilation") / "results.parquet")
    assert list(results.columns) == [
        "method", "setting", "variable", "level", "metric", "value", "lower", "upper", "n",
        "estimator",
    ]  # fmt: skip
    assert sorted(results["method"].unique()) == METHODS
    assert set(results["setting"]) == {"default"}
    assert {"rmse", "bias", "crps", "spread_skill", "rank_chi2"} <= set(results["metric"])
    assert {"850", "500", "mean", "surface"} <= set(results["level"])
    assert set(results["n"]) == {7}
    rmse = results[results["metric"] == "rmse"]
    assert (np.isfinite(rmse["value"]) & (rmse["value"] > 0)).all()
    assert ((rmse["lower"] <= rmse["value"]) & (rmse["value"] <= rmse["upper"])).all()


def test_cases_average_to_the_results(finished: Study) -> None:
    run = finished.run("assimilation")
    cases = pd.read_parquet(run / "cases.parquet")
    assert list(cases.columns) == [
        "method", "setting", "case", "date", "variable", "level", "statistic", "value",
        "estimator",
    ]  # fmt: skip
    mse = cases[(cases["statistic"] == "mse") & (cases["level"] == "850")]
    found = mse.groupby("method")["value"].mean() ** 0.5
    results = pd.read_parquet(run / "results.parquet")
    rmse = results[(results["metric"] == "rmse") & (results["level"] == "850")]
    pd.testing.assert_series_equal(
        found, rmse.set_index("method")["value"], check_names=False, check_like=True, rtol=1e-6
    )
    assert mse.groupby("method")["case"].nunique().eq(7).all()


def test_the_modality_study_tries_every_smaller_subset(finished: Study) -> None:
    for setting in SETTINGS[1:]:
        results = pd.read_parquet(finished.run(setting) / "results.parquet")
        assert set(results["setting"]) == {setting.partition("-")[2]}
        assert set(results["n"]) == {2}
    none = pd.read_parquet(finished.run("assimilation-none") / "results.parquet")
    none = none[(none["metric"] == "rmse") & (none["variable"] == "temperature")]
    none = none.pivot_table("value", "level", "method")
    # Without observations interpolation has nothing to add to the background.
    np.testing.assert_allclose(none["optimal_interpolation"], none["background"], rtol=1e-6)


def test_reconstruction_is_reported_a_channel_in_its_units(finished: Study) -> None:
    table = pd.read_parquet(finished.run("vae") / "reconstruction.parquet")
    assert list(table.columns[:3]) == ["variable", "level", "rmse"]
    assert len(table) == 4
    assert (table["rmse"] > 0).all()
    truth = xr.open_zarr(
        finished.run("vae") / "reconstruction.zarr", group="truth", consolidated=False
    )
    assert truth["temperature"].dims == ("time", "level", "latitude", "longitude")


def test_typing_the_commands_again_keeps_everything(finished: Study) -> None:
    def without_report(files: dict) -> dict:
        return {name: what for name, what in files.items() if "/report/" not in name}

    before = without_report(tree(finished.root))
    for verb in VERBS[:-1]:
        assert slams(finished.recipe, verb) == 0
    assert without_report(tree(finished.root)) == before


@pytest.mark.parametrize("stage", ["score", "assimilation"])
def test_a_finished_run_loads_as_a_model(finished: Study, stage: str) -> None:
    """Its analysis is the one that the evaluation kept, though its archive is a packed copy."""
    assimilator = package.load(finished.run(stage)).assimilator(background_age=2)
    datamodule = multimodal(finished.config)
    batch = datamodule.on_after_batch_transfer(next(iter(datamodule.test_dataloader())))
    analysis = assimilator.analyse(batch.select(slice(0, 2)), 3).to_xarray()
    assert analysis.attrs["Conventions"].startswith("CF-")
    assert analysis["temperature"].attrs["units"] == "K"
    kept = xr.open_zarr(
        finished.run("assimilation") / "analysis.zarr",
        group="latent_diffusion",
        consolidated=False,
    )
    assert kept.sizes["time"] == 2
    for name in analysis.data_vars:
        np.testing.assert_allclose(analysis[name], kept[name], rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(analysis["time"], kept["time"])


def test_a_run_is_read_where_nothing_is_beside_it(
    finished: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its training store nor its networks, and from another working directory."""
    shutil.copytree(finished.run("assimilation"), tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bundle, "finished_run", None)
    assert package.load("moved").inputs.methods[-1] == "latent_diffusion"


def test_load_refuses_what_is_no_finished_run(finished: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither a bundle nor a run"):
        package.load(tmp_path)
    with pytest.raises(UserError, match="found no such directory"):
        package.load(tmp_path / "nothing")
    runs = copy_stages(finished.config, tmp_path / "runs", "vae", "score", "assimilation")
    for stage in ("assimilation", "score"):
        path = runs / "tiny" / stage / "run.json"
        path.write_text(path.read_text().replace('"finished"', '"killed"'))
        with pytest.raises(UserError, match=f"{stage} is killed, expected a finished run"):
            package.load(path.parent)


@pytest.mark.parametrize("size", [1, 4])
def test_results_do_not_depend_on_the_batch_size(finished: Study, tmp_path, size: int) -> None:
    runs = copy_stages(finished.config, tmp_path / "runs", "vae", "score")
    words = (f"runs={runs}", f"assimilation.batch_size={size}", "assimilation.modality_study=0")
    assert slams(finished.recipe, "assimilate", *words) == 0
    compare(runs / "tiny" / "assimilation", finished.run("assimilation"))


def compare(found: Path, expected: Path) -> None:
    """Compare the results of two evaluations to 1e-6, all but their seconds."""
    tables = [pd.read_parquet(path / "results.parquet") for path in (found, expected)]
    keys = ["method", "setting", "variable", "level", "metric"]
    one, other = (
        t[t["metric"] != "seconds_per_member"].set_index(keys).sort_index() for t in tables
    )
    assert len(one) > 50
    pd.testing.assert_frame_equal(one, other, rtol=1e-6, atol=1e-6)


def test_other_guidance_with_the_same_networks(finished: Study, tmp_path: Path) -> None:
    runs = copy_stages(finished.config, tmp_path / "runs", "vae", "score")
    words = (
        f"runs={runs}",
        "assimilation.modality_study=0",
        "assimilation.setting=mmps",
        "assimilation.guidance.kind=mmps",
        "assimilation.methods=[latent_diffusion]",
        "data.test_cases=2",
    )
    assert slams(finished.recipe, "assimilate", *words) == 0
    results = pd.read_parquet(runs / "tiny" / "assimilation-mmps" / "results.parquet")
    assert set(results["method"]) == {"latent_diffusion"}
    assert np.isfinite(results[results["metric"] == "rmse"]["value"]).all()


def test_windows_of_two_days_from_the_vae_to_the_report(
    finished: Study, tmp_path: Path, tiny_source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = study(tmp_path, tiny_source, store=finished.config.data.store, window=2)
    recipe = tmp_path / "recipe.yaml"
    for verb in ("train vae", "train score"):
        assert slams(recipe, verb) == 0
    assert slams(recipe, "assimilate", "assimilation.modality_study=0") == 0
    runs = Path(config.runs) / "tiny"
    kept = xr.open_zarr(
        runs / "assimilation" / "analysis.zarr", group="latent_diffusion", consolidated=False
    )
    assert kept["temperature"].sizes == {
        "time": 4, "realization": 3, "level": 2, "latitude": 12, "longitude": 24,
    }  # fmt: skip
    # The second day's map is a reconstruction of the second day.
    maps = [
        xr.open_zarr(runs / "vae" / "reconstruction.zarr", group=g, consolidated=False)
        for g in ("reconstruction", "truth")
    ]
    made, truth = (m["temperature"].values for m in maps)
    own, other = (np.abs(made[1] - truth[day]).mean() for day in (1, 0))
    assert own < 0.95 * other
    # Networks of one day do not serve windows of two.
    words = ("data.window=1", "assimilation.setting=day")
    assert slams(recipe, "assimilate", *words) == 2
    assert "trained on windows of 2 days, but data.window is 1" in capsys.readouterr().err
    assert not (runs / "assimilation-day").exists()


def test_a_training_too_short_to_be_validated_still_serves(
    finished: Study, tmp_path: Path, tiny_source: Path
) -> None:
    study(tmp_path, tiny_source, store=finished.config.data.store)
    recipe = tmp_path / "recipe.yaml"
    assert slams(recipe, "train vae", "vae.optimizer.steps=3") == 0
    best = read_checkpoint(tmp_path / "runs" / "tiny" / "vae" / "checkpoints" / "best.ckpt")
    assert best["global_step"] == 3


def test_a_score_of_another_vae_is_refused_before_anything_is_written(
    finished: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = copy_stages(finished.config, tmp_path / "runs", "vae", "score")
    assert slams(finished.recipe, "train vae", f"runs={runs}", "resume=overwrite") == 0
    capsys.readouterr()
    assert slams(finished.recipe, "assimilate", f"runs={runs}") == 2
    assert "was trained on latents of VAE run" in capsys.readouterr().err
    assert not (runs / "tiny" / "assimilation").exists()
    assert slams(finished.recipe, "train score", f"runs={runs}") == 2
    assert "was built on another vae run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "words", "sentence"),
    [
        ("train score", ["runs=nowhere"], "run `slams train vae`"),
        ("assimilate", ["runs=nowhere"], "run `slams train vae`"),
        ("train vae", ["vae.factor=13"], "vae.factor: found 13, expected at most 12 on the grid"),
        ("train vae", ["vae.crop=[6,8]"], "'vae.crop': found [6, 8], expected multiples of vae.f"),
        ("train vae", ["vae.crop=[16,8]"], "vae.crop: found [16, 8], expected at most 12 x 24"),
        ("train vae", ["vae.latent_channels=65"], "expected at most 64"),
        ("train vae", ["vae.hidden=12"], "'vae.hidden': found 12, expected multiples of 8"),
        (
            "train score",
            ["score.channels=[8,20]"],
            r"'score.channels': found [8, 20], expected mult",
        ),
        ("train score", ["score.embedding=15"], "'score.embedding': found 15, expected an even"),
        ("train vae", ["data.store=nothing.zarr"], "nothing.zarr"),
    ],
)
def test_refusals_leave_nothing_behind(
    finished: Study, tmp_path, monkeypatch, capsys, verb: str, words: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    fresh = [] if "runs=nowhere" in words else [f"runs={tmp_path / 'runs'}"]
    assert slams(finished.recipe, verb, *fresh, *words) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert tree(tmp_path) == {}


def test_a_latent_grid_that_cannot_be_halved_is_refused(finished: Study, tmp_path, capsys) -> None:
    runs = copy_stages(finished.config, tmp_path / "runs", "vae")
    words = (f"runs={runs}", "score.channels=[8,8,8]")
    assert slams(finished.recipe, "train score", *words) == 2
    assert "need a latent grid of at least 4 x 4 points; found 3 x 6" in capsys.readouterr().err
    assert not (runs / "tiny" / "score").exists()


def test_turned_days_and_the_decoded_loss_are_trained_with(
    finished: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, loss = [], LatentScore.loss

    def watched(self: LatentScore, batch: LatentBatch) -> torch.Tensor:
        seen.append(self.importance.clone())
        return loss(self, batch)

    monkeypatch.setattr(LatentScore, "loss", watched)
    runs = copy_stages(finished.config, tmp_path / "runs", "vae")
    words = (f"runs={runs}", "score.shifts=1", "score.loss=decoded")
    assert slams(finished.recipe, "train score", *words) == 0
    assert float(seen[0].mean()) == pytest.approx(1)
    assert float(seen[0].max()) > 1.2 * float(seen[0].min())
    path = runs / "tiny" / "vae" / "latents_2.zarr"
    usual = LatentStore(path, "train")
    shifted = LatentStore(path, "train", longitude_shifts=(-1, 1))
    assert len(shifted) == 3 * len(usual)
    assert not torch.equal(shifted.latents[len(usual) :][: len(usual)], usual.latents)
    # Of the same days, their encodings have nearly the same variance.
    ratio = shifted.latents.var() / usual.latents.var()
    assert float(ratio) == pytest.approx(1, abs=0.1)
    assert (runs / "tiny" / "score" / "checkpoints" / "best.ckpt").exists()


def test_checkpoints_of_other_data_are_refused_before_anything_is_written(
    finished: Study, tmp_path: Path, tiny_source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = copy_stages(finished.config, tmp_path / "runs", "vae", "score")
    fewer = "data.channels=[temperature@850,total_precipitation_24hr,outgoing_longwave_radiation]"
    assert slams(finished.recipe, "assimilate", f"runs={runs}", fewer) == 2
    assert "belongs to another channel set" in capsys.readouterr().err
    words = ("data.source.grid=8x16", f"data.store={tmp_path / 'coarse.zarr'}", f"runs={runs}")
    assert slams(finished.recipe, "prepare", *words) == 0
    assert slams(finished.recipe, "assimilate", *words) == 2
    assert "belongs to another grid: found [12, 24], expected [8, 16]" in capsys.readouterr().err
    assert not (runs / "tiny" / "assimilation").exists()


def test_a_damaged_checkpoint_is_refused_before_anything_is_written(
    finished: Study, tmp_path, capsys
) -> None:
    runs = copy_stages(finished.config, tmp_path / "runs", "vae", "score")
    (runs / "tiny" / "score" / "checkpoints" / "best.ckpt").write_bytes(b"cut")
    assert slams(finished.recipe, "assimilate", f"runs={runs}") == 2
    assert "cannot be read" in capsys.readouterr().err
    assert not (runs / "tiny" / "assimilation").exists()


def test_trained_weights_are_the_averaged_ones(finished: Study) -> None:
    checkpoint = read_checkpoint(finished.run("vae") / "checkpoints" / "best.ckpt")
    assert checkpoint["weight_ema"]["state_dict"] == "ema"
    assert not torch.equal(
        checkpoint["state_dict"]["log_error"], checkpoint["training_state_dict"]["log_error"]
    )
