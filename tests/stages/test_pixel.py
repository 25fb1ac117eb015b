"""The pixel score model and the methods built on VAE and pixel score, through the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from slams.config.checks import check
from slams.config.loading import load
from slams.config.schema import Config, ScoreConfig
from slams.errors import UserError
from slams.nn.unet import LatentUNet
from slams.stages.data import multimodal, pixel
from slams.stages.places import finished_run
from tests.stages.commands import copy_stages, slams
from tests.stages.conftest import Study

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
METHODS = ["background", "latent_3dvar", "latent_diffusion", "pixel_diffusion"]


def test_both_networks_of_the_recipe_have_as_many_parameters() -> None:
    """Of the demo: 32 latent channels on 12 x 24 points against 11 channels on 48 x 96."""
    counts, budgets = [], []
    for name in ("demo", "pixel"):
        config = load(EXPERIMENTS / f"{name}.yaml")
        score, factor = config.score, config.vae.factor
        latent = score.space == "latent"
        shape = (48 // factor, 96 // factor) if latent else (48, 96)
        channels = config.vae.latent_channels if latent else len(config.data.channels)
        with torch.device("meta"):
            network = LatentUNet(channels, 1, shape, score.channels, score.blocks, score.embedding)
        counts.append(score.ensemble * sum(p.numel() for p in network.parameters()))
        budgets.append((score.optimizer.steps, score.batch_size))
    assert counts[1] / counts[0] == pytest.approx(1.0, abs=0.05)
    assert budgets[0] == budgets[1]


def test_windows_are_those_of_the_archive_standardised(tiny_config: Config) -> None:
    config = replace(tiny_config, score=replace(tiny_config.score, batch_size=100))
    data = pixel(config)
    archive = multimodal(config).archive()
    assert len(data.splits["train"]) == len(archive.fields)
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())))
    assert tuple(batch.latents.shape[1:]) == data.window_shape
    torch.testing.assert_close(
        batch.latents.mean(dim=(0, 1, 3, 4)), torch.zeros(4), rtol=0, atol=1e-4
    )
    torch.testing.assert_close(
        batch.latents.std(dim=(0, 1, 3, 4)), torch.ones(4), rtol=0, atol=1e-3
    )
    # The same windows with the same backgrounds, in another order.
    order = batch.season.argsort()
    fields, background = (data.space.decode(x[order]) for x in (batch.latents, batch.background))
    torch.testing.assert_close(fields, archive.fields, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(background, archive.background, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def compared(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the runs of a study to which a pixel score and a comparison with it were added."""
    runs = copy_stages(finished.config, tmp_path_factory.mktemp("pixel"), "vae", "score")
    words = (f"runs={runs}", "score.space=pixel", "score.channels=[8,8]")
    assert slams(finished.recipe, "train score", *words, "--dry-run") == 0
    assert not (runs / "tiny" / "score_pixel").exists()
    compare = (
        f"assimilation.methods=[{','.join(METHODS)}]",
        "assimilation.setting=pixel",
        "assimilation.modality_study=0",
    )
    assert slams(finished.recipe, "assimilate", *words, *compare) == 2  # nothing trained yet
    assert slams(finished.recipe, "train score", *words) == 0
    assert slams(finished.recipe, "assimilate", *words, *compare) == 0
    return runs / "tiny"


def test_the_pixel_score_has_a_run_of_its_own(compared: Path) -> None:
    vae, score, pixel, both = (
        json.loads((compared / name / "run.json").read_text())
        for name in ("vae", "score", "score_pixel", "assimilation-pixel")
    )
    assert pixel["status"] == "finished"
    assert pixel["inputs"] == {}
    assert both["inputs"] == {
        "vae": vae["run_id"],
        "score": score["run_id"],
        "score_pixel": pixel["run_id"],
    }
    curves = pd.read_csv(compared / "score_pixel" / "metrics.csv")
    assert np.isfinite(curves["validation/loss"].dropna()).all()


def test_all_are_in_the_results(compared: Path) -> None:
    results = pd.read_parquet(compared / "assimilation-pixel" / "results.parquet")
    rmse = results[(results["metric"] == "rmse") & (results["level"] == "mean")]
    assert sorted(rmse["method"].unique()) == METHODS
    assert np.isfinite(rmse["value"]).all()
    by = rmse[rmse["variable"] == "temperature"].set_index("method")["value"]
    assert by["latent_3dvar"] < by["background"]


def test_the_recipe_must_describe_the_network_of_its_space(compared: Path, finished) -> None:
    config = replace(finished.config, runs=str(compared.parent))
    pixel = ScoreConfig(**{**vars(config.score), "space": "pixel", "channels": [8, 8]})
    assert finished_run(replace(config, score=pixel), "score_pixel").stage == "score_pixel"
    assert finished_run(replace(config, score=pixel), "score").stage == "score"
    assert finished_run(config, "score_pixel").stage == "score_pixel"
    other = replace(pixel, blocks=2)
    with pytest.raises(UserError, match=r"score\.blocks"):
        finished_run(replace(config, score=other), "score_pixel")
    with pytest.raises(UserError, match=r"score\.blocks"):
        finished_run(replace(config, score=replace(config.score, blocks=2)), "score")


def test_refusals(tiny_config: Config) -> None:
    with pytest.raises(UserError, match=r"score\.space.*'pixels'.*did you mean 'pixel'"):
        check(replace(tiny_config, score=replace(tiny_config.score, space="pixels")))
    with pytest.raises(UserError, match=r"score\.space=pixel"):
        finished_run(tiny_config, "score_pixel")
    assimilation = tiny_config.assimilation
    wrong = replace(
        assimilation, pixel_diffusion=replace(assimilation.pixel_diffusion, noise_scale=0.0)
    )
    with pytest.raises(UserError, match=r"pixel_diffusion\.noise_scale.*more than 0"):
        check(replace(tiny_config, assimilation=wrong))
    wrong = replace(assimilation, latent_3dvar=replace(assimilation.latent_3dvar, archive=1))
    with pytest.raises(UserError, match=r"latent_3dvar\.archive.*at least 2"):
        check(replace(tiny_config, assimilation=wrong))
