"""Two processes give what one gives, through the real command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from data_modules.reanalysis import read_batches
from slams.modules.base import read_checkpoint
from slams.modules.vae import VAE
from slams.stages.data import reanalysis
from tests.stages.commands import copy_stages, slams, subprocess_slams
from tests.stages.conftest import Study
from tests.stages.test_pipeline import compare

TWO = ("trainer.devices=2", "trainer.accelerator=cpu")


def run(recipe: Path, verb: str, *words: str) -> str:
    process = subprocess_slams(recipe, verb, *words)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


@pytest.mark.slow
def test_an_assimilation_on_two_processes_gives_the_same_numbers(
    finished: Study, tmp_path: Path
) -> None:
    """Seven cases, and two in the settings of the modality study."""
    runs = copy_stages(finished.config, tmp_path / "runs", "vae", "score")
    output = run(finished.recipe, "assimilate", f"runs={runs}", "assimilation.batch_size=2", *TWO)
    assert output.count("report:") == 1  # rank zero alone speaks
    for setting in ("", "-none", "-stations", "-satellite"):
        name = f"assimilation{setting}"
        compare(runs / "tiny" / name, finished.run(name))
    one, other = (
        pd.read_parquet(path / "assimilation" / "cases.parquet").sort_values(
            ["method", "case", "variable", "level", "statistic"], ignore_index=True
        )
        for path in (runs / "tiny", finished.run(""))
    )
    timed = one["statistic"].str.startswith("seconds")
    assert one.loc[~timed, ["case", "method"]].equals(other.loc[~timed, ["case", "method"]])
    np.testing.assert_allclose(one["value"][~timed], other["value"][~timed], rtol=1e-6, atol=1e-6)
    assert (runs / "tiny" / "assimilation" / "report" / "index.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("above", [3000, 0])
def test_more_processes_than_cases(finished: Study, tmp_path: Path, above: int) -> None:
    """Members are shared, and with a local analysis the domains are too."""
    results = []
    for name, words in (("one", ()), ("two", TWO)):
        runs = copy_stages(finished.config, tmp_path / name, "vae", "score")
        words = (f"runs={runs}", "data.test_cases=1", "assimilation.modality_study=0", *words)
        words = (*words, f"assimilation.local.above={above}")
        run(finished.recipe, "assimilate", *words)
        results.append(runs / "tiny" / "assimilation")
    compare(*results)


@pytest.mark.slow
def test_training_on_two_processes(finished: Study, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for verb in ("train vae", "train score"):
        output = run(finished.recipe, verb, f"runs={runs}", *TWO)
        assert "waiting for data" in output
    vae, score = (runs / "tiny" / stage for stage in ("vae", "score"))
    for stage in (vae, score):
        best = read_checkpoint(stage / "checkpoints" / "best.ckpt")
        assert all(torch.isfinite(x).all() for x in best["state_dict"].values())
        curves = pd.read_csv(stage / "metrics.csv")
        assert curves["step"].iloc[-1] == 48
        assert np.isfinite(curves["validation/loss"].dropna()).all()

    # The reconstruction covers the validation windows of both ranks.
    datamodule = reanalysis(finished.config)
    module = VAE.load(vae / "checkpoints" / "best.ckpt", datamodule.channels, datamodule.grid)
    squares = 0.0
    for batch in read_batches(datamodule, "validation"):
        fields, known = batch.fields.flatten(0, 1), batch.mask.flatten(0, 1)
        error = (module.reconstruct(fields, known) - fields) * module.sd
        squares += (error.square() * module.weights[:, None]).sum(dim=(0, 2, 3)).double()
    expected = (squares / (len(datamodule.splits["validation"]) * 12 * 24)).sqrt()
    table = pd.read_parquet(vae / "reconstruction.parquet")
    np.testing.assert_allclose(table["rmse"], expected, rtol=1e-5)

    # What two processes trained serves one.
    words = (f"runs={runs}", "assimilation.modality_study=0", "data.test_cases=2")
    assert slams(finished.recipe, "assimilate", *words) == 0
