"""Checkpoints and run directories that do not belong to what they are used for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import zarr

from data_modules.store.checks import put_attributes
from slams.cli.main import main
from tests.bad_input.conftest import Refused, listing

NEW = ("experiment=new", "pretrained_experiment=tiny")


def change(root: Path, stage: str, edit: Callable[[Any], object], name: str = "best") -> Path:
    path = root / f"runs/tiny/{stage}/checkpoints/{name}.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    edit(checkpoint)
    torch.save(checkpoint, path)
    return path


def record(root: Path, stage: str, **values: object) -> None:
    path = root / f"runs/tiny/{stage}/run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def without_a_number(checkpoint: Any) -> None:
    for tensor in checkpoint["state_dict"].values():
        if tensor.is_floating_point():
            tensor.fill_(float("nan"))


@pytest.mark.parametrize("stage", ["vae", "score"])
@pytest.mark.parametrize(
    ("edit", "parts"),
    [
        (lambda c: c["slams"].update(shape=[24, 48]), ["another grid", "[24, 48]", "[12, 24]"]),
        (lambda c: c["slams"].update(grid="0" * 16), ["another grid", "0" * 16]),
        (lambda c: c["slams"].update(channels=["temperature@850"]), ["another channel set"]),
        (lambda c: c["slams"].update(version=99), ["another version", "found 99, expected 1"]),
        (lambda c: c["slams"].update(stage="other"), ["another stage", "other"]),
        (lambda c: c["slams"].pop("settings"), ["do not fit the network", "resume=overwrite"]),
        (
            lambda c: c["state_dict"].pop(next(iter(c["state_dict"]))),
            ["do not fit the network", "resume=overwrite"],
        ),
        (without_a_number, ["weights that are not finite", "learning_rate"]),
    ],
)
def test_a_checkpoint_from_elsewhere(
    refused: Refused, root: Path, stage: str, edit: Callable[[Any], object], parts: list[str]
) -> None:
    change(root, stage, edit)
    sentence = refused("assimilate", *NEW)
    for part in [f"runs/tiny/{stage}/checkpoints/best.ckpt", *parts]:
        assert part in sentence


@pytest.mark.parametrize("stage", ["vae", "score"])
def test_a_checkpoint_that_cannot_be_read(refused: Refused, root: Path, stage: str) -> None:
    path = root / f"runs/tiny/{stage}/checkpoints/best.ckpt"
    path.write_bytes(path.read_bytes()[:5000])
    assert f"{stage}/checkpoints/best.ckpt: cannot be read" in refused("assimilate", *NEW)
    path.unlink()
    assert f"{stage}/checkpoints/best.ckpt: no such file" in refused("assimilate", *NEW)


def test_a_store_on_another_grid(refused: Refused) -> None:
    coarse = ["data.store=coarse.zarr", "data.source.grid=6x12"]
    assert main(["prepare", "recipe.yaml", *coarse]) == 0
    sentence = refused("assimilate", *NEW, "data.store=coarse.zarr")
    assert "belongs to another grid: found [12, 24], expected [6, 12]" in sentence


@pytest.mark.parametrize("verb", ["train score", "assimilate"])
def test_a_store_with_other_statistics(refused: Refused, verb: str) -> None:
    other = ["data.store=other.zarr", "data.splits.train=[2001-01-01,2001-02-20]"]
    assert main(["prepare", "recipe.yaml", *other]) == 0
    sentence = refused(verb, *NEW, *other)
    assert "runs/tiny/vae/checkpoints/best.ckpt: was trained with other statistics" in sentence


@pytest.mark.parametrize("damage", ["cut", "version", "grid"])
def test_a_checkpoint_that_cannot_be_resumed_from(
    root: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    last = root / "runs/tiny/vae/checkpoints/last.ckpt"
    if damage == "cut":
        last.write_bytes(last.read_bytes()[:5000])
    else:
        change(root, "vae", lambda c: c["slams"].update({damage: "0"}), "last")
    record(root, "vae", status="killed")
    before = listing(root)
    assert main(["train", "vae", "recipe.yaml"]) == 2
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert "runs/tiny/vae/checkpoints/last.ckpt" in sentence
    assert ("cannot be read" if damage == "cut" else "belongs to another") in sentence
    # The attempt is on record; all that was there is still there.
    after = listing(root)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"runs/tiny/vae/run.json"}
    assert set(after) == set(before)


def test_a_vae_trained_again_after_the_score(refused: Refused, root: Path) -> None:
    record(root, "vae", run_id="another")
    assert "was built on another vae run" in refused("train score")
    sentence = refused("assimilate", "resume=overwrite")
    assert "score/checkpoints/best.ckpt: was trained on latents of VAE run" in sentence
    assert "`slams train score`" in sentence


@pytest.mark.parametrize("verb", ["train vae", "train score", "assimilate"])
def test_data_that_changed_after_a_run(refused: Refused, root: Path, verb: str) -> None:
    group = zarr.open_group(str(root / "store.zarr"), mode="r+", use_consolidated=False)
    put_attributes(group, {**group.attrs, "fingerprint": "0" * 64})
    sentence = refused(verb)
    assert "was made from other data" in sentence
    assert "expected 000000000000 of store.zarr" in sentence


@pytest.mark.parametrize(
    ("verb", "stage", "words", "key"),
    [
        ("train vae", "vae", ["vae.kl_weight=0.5"], "vae.kl_weight"),
        ("train score", "score", ["score.dropout=0.5"], "score.dropout"),
        ("assimilate", "assimilation", ["assimilation.members=4"], "assimilation.members"),
    ],
)
@pytest.mark.parametrize("status", ["finished", "killed"])
def test_a_run_directory_of_another_recipe(
    refused: Refused,
    root: Path,
    verb: str,
    stage: str,
    words: list[str],
    key: str,
    status: str,
) -> None:
    record(root, stage, status=status)
    sentence = refused(verb, *words)
    assert f"runs/tiny/{stage} belongs to another recipe: key {key!r}" in sentence
    assert "resume=overwrite" in sentence


def test_a_directory_that_holds_something_else(refused: Refused, root: Path) -> None:
    (root / "runs/new/vae").mkdir(parents=True)
    (root / "runs/new/vae/thesis.txt").write_text("years of work")
    for resume in ("auto", "overwrite"):
        sentence = refused("train vae", "experiment=new", f"resume={resume}")
        assert "is not a run directory: it has no run.json but holds thesis.txt" in sentence


@pytest.mark.parametrize("place", ["runs/new", "runs/new/vae"])
def test_a_file_where_a_directory_is_to_be(refused: Refused, root: Path, place: str) -> None:
    (root / place).parent.mkdir(exist_ok=True)
    (root / place).write_text("")
    assert f"{place} is a file" in refused("train vae", "experiment=new")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["trainer.accelerator=gpu", "trainer.devices=99"], "99, but this machine has"),
        (["vae.factor=13"], "vae.factor: found 13, expected at most 12 on the grid"),
        (["vae.latent_channels=1000"], "vae.latent_channels: found 1000, expected at most 64"),
    ],
)
def test_a_refused_replacement_leaves_the_run_it_was_to_replace(
    refused: Refused, words: list[str], part: str
) -> None:
    assert part in refused("train vae", "resume=overwrite", *words)


def test_a_training_that_diverges_is_no_finished_run(refused: Refused) -> None:
    words = ["resume=overwrite", "vae.optimizer.learning_rate=1e30"]
    sentence = refused("train vae", *words)  # and the finished run is there as it was
    assert "the training of the vae diverged: validation/loss is nan" in sentence
    assert "lower vae.optimizer.learning_rate" in sentence


def test_a_score_too_deep_for_its_latents(refused: Refused) -> None:
    sentence = refused("train score", *NEW, "score.channels=[8,8,8]")
    assert "score.channels: 3 resolutions need a latent grid of at least 4 x 4 points" in sentence


def test_a_footprint_that_does_not_divide_the_grid(refused: Refused) -> None:
    sentence = refused("assimilate", *NEW, "observations.satellite.footprint=5")
    assert "footprint 5 does not divide the 12 x 24 grid" in sentence


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"PAR1")])
def test_a_report_without_results(
    refused: Refused, root: Path, damage: Callable[[Path], object]
) -> None:
    damage(root / "runs/tiny/assimilation/results.parquet")
    sentence = refused("report")
    assert "runs/tiny/assimilation/results.parquet is" in sentence
    assert "`slams assimilate`" in sentence


def put_nan(run: Path, group: str) -> None:
    temperature = zarr.open_group(run / "analysis.zarr", mode="r+")[f"{group}/temperature"]
    temperature[(0,) * temperature.ndim] = float("nan")


def test_a_report_says_which_fields_are_damaged(root: Path) -> None:
    run = root / "runs/tiny/assimilation"
    aside = shutil.copytree(run, root / "runs/tiny/assimilation_aside")
    put_nan(aside, "climatology")
    for path in (p for p in (run / "analysis.zarr/truth/temperature/c").rglob("*") if p.is_file()):
        path.write_bytes(path.read_bytes()[:20])
    assert main(["report", "recipe.yaml"]) == 0
    page = (run / "report/index.html").read_text()
    assert "analysis.zarr is truncated or corrupt" in page
    assert "assimilation_aside/analysis.zarr is damaged (temperature has 1 missing values" in page


def test_a_report_of_fields_with_missing_values(refused: Refused, root: Path) -> None:
    put_nan(root / "runs/tiny/assimilation", "climatology")
    sentence = refused("report")
    assert (
        "runs/tiny/assimilation/analysis.zarr is damaged, group climatology: tempera" in sentence
    )
    assert "run `slams assimilate` again with resume=overwrite" in sentence
