"""What somebody else put into a run directory or a store starts no code, and is not deleted."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import xarray as xr
import zarr

import slams as package
from data_modules.preparation.unfinished import check_ours
from data_modules.store.latents import LatentStore
from data_modules.store.training_store import TrainingStore
from data_modules.stream.field_cache import map_fields
from slams.cli.main import main
from slams.errors import UserError
from slams.modules.base import read_checkpoint
from slams.report.reading import read_assimilation, read_training
from slams.runs.record import RunRecord, read_recipe
from slams.runs.sweep_record import SweepRecord
from slams.stages.bundle import open_bundle
from tests.bad_input.conftest import Refused

NEW = ("experiment=new", "pretrained_experiment=tiny")
RUN = Path("runs/tiny/assimilation")


class Planted:
    """Touches a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable, tuple]:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(root: Path, tmp_path: Path) -> Path:
    """Return the file that appears when planted code has run; see to it that none does."""
    mark = tmp_path / "touched"
    pickle.loads(pickle.dumps(Planted(mark)))
    assert mark.exists()  # the bait works
    mark.unlink()
    yield mark
    assert not mark.exists()


def as_tensors(bait: object) -> bytes:
    """Return a file as `torch.save` writes it, around the bait."""
    file = io.BytesIO()
    torch.save({"slams": bait, "way": bait, "state_dict": bait}, file)
    return file.getvalue()


def test_checkpoints_of_a_stranger(refused: Refused, root: Path, mark: Path) -> None:
    for name in ("vae/checkpoints/best.ckpt", "score/checkpoints/best.ckpt"):
        path = root / "runs/tiny" / name
        whole = path.read_bytes()
        for content in (pickle.dumps(Planted(mark)), as_tensors(Planted(mark))):
            path.write_bytes(content)
            with pytest.raises(UserError, match="cannot be read"):
                read_checkpoint(path)
        with pytest.raises(UserError, match=f"tiny/{name}: cannot be read"):
            package.load("runs/tiny/score")
        if name.startswith("vae"):
            assert f"tiny/{name}: cannot be read" in refused("train score", *NEW)
        path.write_bytes(whole)
    # The one to resume from.
    record = root / "runs/tiny/vae/run.json"
    killed = record.read_text().replace('"finished"', '"killed"')
    for content in (as_tensors(Planted(mark)), pickle.dumps(Planted(mark))):
        (root / "runs/tiny/vae/checkpoints/last.ckpt").write_bytes(content)
        record.write_text(killed)
        assert main(["train", "vae", "recipe.yaml"]) == 2


def test_progress_of_a_stranger(root: Path, mark: Path, capsys) -> None:
    """An evaluation that was killed goes on from the start, to the same numbers."""
    columns = ["method", "variable", "level", "metric", "value"]

    def numbers() -> list[list]:
        table = pd.read_parquet(root / RUN / "results.parquet")[columns]
        return table[table["metric"] != "seconds_per_member"].astype(str).to_numpy().tolist()

    before = numbers()
    progress = root / RUN / "progress/rank-0.pt"
    progress.parent.mkdir()
    progress.write_bytes(as_tensors(Planted(mark)))
    record = root / RUN / "run.json"
    record.write_text(record.read_text().replace('"finished"', '"killed"'))
    (root / RUN / "results.parquet").unlink()
    assert main(["assimilate", "recipe.yaml", "report.dpi=20"]) == 0
    assert "rank-0.pt cannot be read" in capsys.readouterr().out
    assert numbers() == before


def _read_run() -> None:
    """Read what report and compare read of a run."""
    found = read_assimilation(RUN)
    for group in ("truth", "background"):
        if (dataset := found.fields(group)) is not None:
            dataset.load()
    SweepRecord.read(RUN)
    RunRecord.read(RUN)
    read_recipe(RUN)


def _read_model() -> None:
    """Read every file of a model, whatever its checksums say."""
    model = RUN / "model"
    with contextlib.suppress(ValueError):
        record = json.loads((model / "bundle.json").read_text())
        files = {n: hashlib.sha256((model / n).read_bytes()).hexdigest() for n in record["files"]}
        (model / "bundle.json").write_text(json.dumps(record | {"files": files}))
    opened = open_bundle(model)
    opened.networks.latent_score()
    opened.data.archive()


def _read_vae() -> None:
    read_training(Path("runs/tiny/vae"), "vae")
    LatentStore(next(Path("runs/tiny/vae").glob("latents*.zarr")), "train")


def _read_store() -> None:
    store = TrainingStore.open("store.zarr")
    store.normaliser()
    store.read([0, 109])
    map_fields(store, Path("cache"))


def test_pickles_in_the_place_of_any_file(root: Path, mark: Path) -> None:
    """One file at a time, through the readers of the verbs, of report and of compare."""
    (root / RUN / "sweep.json").write_text("{}")
    _read_store()
    shutil.rmtree(root / RUN / "report")
    for group in (root / RUN / "analysis.zarr").iterdir():  # two groups stand for all
        if group.is_dir() and group.name not in ("truth", "background"):
            shutil.rmtree(group)
    read = {RUN: _read_run, Path("runs/tiny/vae"): _read_vae, Path("store.zarr"): _read_store}
    read[Path("cache")] = _read_store
    read[RUN / "model"] = _read_model
    bait = pickle.dumps(Planted(mark))
    count = 0
    for directory, reader in read.items():
        files = [p for p in directory.rglob("*") if p.is_file() and p.suffix != ".lock"]
        if directory == RUN:
            files = [p for p in files if directory / "model" not in p.parents]
        # Of many chunks of one array the first stands for all.
        for path in {(p.parent if p.name.isdigit() else p): p for p in files}.values():
            whole = path.read_bytes()
            path.write_bytes(bait)
            with contextlib.suppress(UserError):
                reader()
            path.write_bytes(whole)
            assert not mark.exists(), path
            count += 1
    assert count > 30


def test_tables_of_a_stranger(root: Path, mark: Path, capsys) -> None:
    for name in ("results.parquet", "cases.parquet", "run.json", "config.yaml"):
        path = root / RUN / name
        whole = path.read_bytes()
        path.write_bytes(pickle.dumps(Planted(mark)))
        assert main(["compare", str(RUN)]) == (0 if name == "config.yaml" else 2)
        path.write_bytes(whole)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "codecs",
    [
        {"dtype": "<f4", "filters": [{"id": "pickle"}], "compressor": None},
        {
            "dtype": "|O",
            "fill_value": "",
            "filters": [{"id": "vlen-utf8"}],
            "compressor": {"id": "pickle"},
        },
    ],
)
def test_codecs_that_unpickle(root: Path, mark: Path, codecs: dict) -> None:
    """Arrays of Zarr's format 2 may name a codec that unpickles: in a run, a store, a source."""

    def plant(array: Path) -> None:
        shutil.rmtree(array, ignore_errors=True)
        array.mkdir(parents=True)
        described = {"zarr_format": 2, "shape": [4], "chunks": [4], "order": "C", "fill_value": 0}
        (array / ".zarray").write_text(json.dumps(described | codecs))
        (array / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["latitude"]}')
        (array / "0").write_bytes(pickle.dumps(Planted(mark)))
        (array.parent / "zarr.json").unlink(missing_ok=True)
        (array.parent / ".zgroup").write_text('{"zarr_format": 2}')

    plant(root / RUN / "analysis.zarr/truth/latitude")
    assert read_assimilation(RUN).fields("truth") is None
    plant(root / "store.zarr/latitude")
    with pytest.raises(UserError):
        TrainingStore.open("store.zarr")
    plant(root / "nature.zarr/latitude")
    assert main(["prepare", "recipe.yaml", "data.store=new.zarr"]) == 2
    with pytest.raises(Exception, match=r".+"):
        xr.open_dataset("nature.zarr", engine="zarr", consolidated=False)["latitude"].load()


@pytest.mark.parametrize("name", ["new.zarr.partial", "new.zarr.old"])
def test_a_directory_that_no_preparation_made_is_left_alone(
    refused: Refused, root: Path, name: str
) -> None:
    (root / name).mkdir()
    (root / name / "thesis.txt").write_text("years of work")
    assert f"{name} exists, was not made by a preparation" in refused(
        "prepare", "data.store=new.zarr"
    )
    assert f"{name} exists, was not made by a preparation" in refused(
        "prepare", "data.store=new.zarr", "resume=overwrite"
    )


def test_what_a_preparation_left_is_its_own(tmp_path: Path) -> None:
    check_ours(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    check_ours(tmp_path / "empty")
    (tmp_path / "empty/zarr.json.123.partial").write_text("{")
    check_ours(tmp_path / "empty")
    zarr.create_group(str(tmp_path / "begun"), attributes={"slams_store": 1})
    (tmp_path / "begun/first_guess.npy").write_bytes(b"")
    check_ours(tmp_path / "begun")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="left unchanged"):
        check_ours(tmp_path / "file")


def test_a_zip_without_weights_is_no_checkpoint(refused: Refused, root: Path) -> None:
    with zipfile.ZipFile(root / "runs/tiny/vae/checkpoints/best.ckpt", "w") as archive:
        archive.writestr("data.pkl", b"nothing")
    assert "best.ckpt: cannot be read" in refused("train score", *NEW)
