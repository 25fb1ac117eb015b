"""What a recipe alone, or the names of files, can tell: refused before torch is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import slams
from tests.bad_input.conftest import Refused, listing

VERBS = ("prepare", "train vae", "train score", "assimilate", "report", "config validate")
_LIGHT = """
import sys
from slams.cli.main import main
code = main(sys.argv[1:])
heavy = [n for n in ("torch", "lightning", "mlflow", "zarr", "xarray") if n in sys.modules]
sys.exit(f"imported {heavy}" if heavy else code)
"""


def light(root: Path, command: str, *words: str) -> str:
    """Run a command in a process of its own; hold it to what `refused` does, and to speed."""
    before = listing(root)
    path = os.pathsep.join([str(Path(slams.__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", _LIGHT, *command.split(), "recipe.yaml", *words],
        cwd=root,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("slams: ")
    assert done.stderr.count("\n") == 1
    assert listing(root) == before
    return done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_unknown_key(refused: Refused, verb: str) -> None:
    sentence = refused(verb, "asimilation.members=3")
    assert "unknown key 'asimilation' on the command line" in sentence
    assert "did you mean 'assimilation'?" in sentence


@pytest.mark.parametrize("verb", VERBS)
def test_wrong_type(refused: Refused, verb: str) -> None:
    sentence = refused(verb, "assimilation.members=many")
    assert "'assimilation.members'" in sentence
    assert "found 'many', expected a whole number" in sentence


@pytest.mark.parametrize(
    ("command", "words", "parts"),
    [
        ("train vae", ["data.chanels=[]"], ["'data.chanels'", "'data.channels'"]),
        ("train vae", ["data.window=two"], ["'data.window'", "'two'", "whole number"]),
        (
            "train vae",
            ["data.store=stor.zarr"],
            ["'data.store'", "stor.zarr", "no such directory", "`slams prepare`", "store.zarr?"],
        ),
        ("assimilate", ["data.store=none.zarr"], ["'data.store'", "none.zarr"]),
        (
            "prepare",
            ["data.store=new.zarr", "data.source.path=natur.zarr"],
            ["'data.source.path'", "natur.zarr: found no such file", "did you mean nature.zarr?"],
        ),
        (
            "train vae",
            ["data.window=30"],
            ["'data.window'", "30 days", "validation, which has 12"],
        ),
        (
            "prepare",
            ["data.splits.validation=[2001-03-01, 2001-03-20]"],
            ["'data.splits.validation'", "2001-03-01", "overlaps data.splits.train", "2001-03-11"],
        ),
        (
            "train vae",
            ["vae.kl_weight=0.5"],
            ["runs/tiny/vae belongs to another recipe", "'vae.kl_weight'", "0.001", "0.5"],
        ),
        (
            "assimilate",
            ["assimilation.members=4"],
            ["runs/tiny/assimilation belongs to another recipe", "found 3, expected 4"],
        ),
        ("train score", ["experiment=new"], ["runs/new/vae", "`slams train vae`"]),
        ("assimilate", ["experiment=new"], ["runs/new/vae", "`slams train vae`"]),
        ("assimilate", ["pretrained_experiment=tinny"], ["runs/tinny/vae", "`slams train vae`"]),
        ("report", ["experiment=new"], ["runs/new/assimilation", "`slams assimilate`"]),
        (
            "assimilate",
            ["background.kind=file", "background.path=states.zarr"],
            ["'background.path'", "states.zarr"],
        ),
        ("train vae", ["runs=recipe.yaml"], ["recipe.yaml is a file"]),
        (
            "train vae",
            ["experiment=new", "tracking.enabled=true", "tracking.uri=sqlite:///recipe.yaml/m.db"],
            ["'tracking.uri'", "recipe.yaml is a file"],
        ),
    ],
)
def test_known_before_anything_heavy_is_imported(
    root: Path, command: str, words: list[str], parts: list[str]
) -> None:
    sentence = light(root, command, *words)
    for part in parts:
        assert part in sentence


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("id,latitude,longitude\nA,97,10\n", "station A: latitude 97 lies outside [-90, 90]"),
        ("id,latitude,longitude\nA,-90.5,10\n", "latitude -90.5 lies outside [-90, 90]"),
        ("id,latitude,longitude\nA,50,500\n", "longitude 500 lies outside [-180, 360]"),
        ("id,latitude,longitude\nA,50,5\nA,51,5\n", "station A is listed twice"),
        ("id,latitude,longitude\nA,50,5,7\n", "station A has more values than the 3 columns"),
        ("id,latitude,longitude\n,50,5\n", "station number 1 has no id"),
        ("id,latitude,longitude,elevation\nA,50,5,inf\n", "elevation of station A is 'inf'"),
        ('id,latitude,longitude\n"A,50,5\n', "latitude of station A,50,5 is ''"),
        ("id;latitude;longitude\nA;50;5\n", "lacks column id, latitude, longitude"),
    ],
)
def test_stations_off_the_globe_or_unreadable(
    refused: Refused, root: Path, text: str, part: str
) -> None:
    (root / "stations.csv").write_text(text)
    words = [
        "experiment=new",
        "pretrained_experiment=tiny",
        "observations.stations.file=stations.csv",
    ]
    assert part in refused("assimilate", *words)


def test_a_station_off_the_globe_is_found_before_torch(root: Path) -> None:
    (root / "stations.csv").write_text("id,latitude,longitude\nA,97,10\n")
    words = [
        "experiment=new",
        "pretrained_experiment=tiny",
        "observations.stations.file=stations.csv",
    ]
    assert "latitude 97" in light(root, "assimilate", *words)
    missing = light(root, "assimilate", *words[:-1], "observations.stations.file=station.csv")
    assert "'observations.stations.file': station.csv: found no such file" in missing
    assert "did you mean stations.csv?" in missing


@pytest.mark.parametrize("verb", ["prepare", "assimilate"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("observations.stations.variables.0.error", "-1"),
        ("observations.stations.variables.0.error", "0"),
        ("observations.stations.variables.0.representativeness", "-0.5"),
        ("observations.satellite.error", "-1"),
        ("observations.satellite.error", "0"),
        ("observations.degraded.noise", "-0.1"),
        ("observations.degraded.noise", "0"),
    ],
)
def test_an_observation_error_that_is_not_positive(
    refused: Refused, verb: str, key: str, value: str
) -> None:
    sentence = refused(verb, f"{key}={value}")
    assert f"'{key}'" in sentence
    assert f"found {value}" in sentence


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["data.channels=[temperature@850.0]"], "whole number of hPa"),
        (["data.channels=[temperature@0850]"], "whole number of hPa"),
        (["data.channels=[temperature]", "observations.use=[]"], "expected the form temperature@"),
        (["data.channels=[2m_temperature@850]", "observations.use=[]"], "has no levels"),
        (["seed=99999999999999999999"], "less than 2**63"),
        (["seed="], "found nothing"),
        (["runs=???"], "found '???'"),
        (["runs="], "'runs'"),
        (["data.store="], "'data.store'"),
        (["data.store=."], "'data.store'"),
        (["data.store=/"], "'data.store'"),
        (["experiment=../other"], "name of a directory"),
        (['assimilation.setting="a\\nb"'], "name of a directory"),
        ([f"assimilation.setting={'x' * 300}"], "name of a directory"),
        (["trainer.precision=bf16"], "'trainer.precision'"),
        (["trainer.precision=64-true"], "'trainer.precision'"),
        (["assimilation.members=1"], "at least 2"),
        (["assimilation.methods=[latent_difusion]"], "did you mean 'latent_diffusion'?"),
        (["observations.satellite.coverage=0"], "(0, 1]"),
        (["observations.stations.count=0"], "at least 1"),
        (["background.lag=5"], "'background.lag'"),
        (["background.kind=file"], "'background.path'"),
        (["report.level=700"], "'report.level'"),
        (["data.splits.test=[2001-02-30, 2001-04-01]"], "'2001-02-30'"),
        (["data.splits.test=[2001-04-20, 2001-04-01]"], "before the first"),
        (["vae.optimizer.learning_rate=.nan"], "finite number"),
    ],
)
def test_values_that_make_no_sense(refused: Refused, words: list[str], part: str) -> None:
    assert part in refused("assimilate", *words)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("- a\n- b\n", "holds a list of 2"),
        ("experiment: x\n\tseed: 3\n", "not valid YAML in line 2"),
        ("experiment: x\nexperiment: y\n", "duplicate key experiment"),
        ("experiment: x\n---\nexperiment: y\n", "another document"),
        ("experiment: !!python/object:os.system x\n", "not valid YAML"),
        ("extends: recipe.yaml\n", "extends itself"),
        ("extends: recpe.yml\n", "which recipe.yaml extends, does not exist"),
        ("runs: ${nowhere}\n", "'runs'"),
        ("resume: yes\n", "found true"),
        ("", "'data.channels'"),
    ],
)
def test_recipes_that_are_none(refused: Refused, root: Path, text: str, part: str) -> None:
    (root / "recipe.yaml").write_text(text)
    assert part in refused("prepare", "data.store=new.zarr")


def test_a_damaged_record_is_named(refused: Refused, root: Path) -> None:
    record = root / "runs/tiny/vae/run.json"
    whole = record.read_text()
    record.write_text(whole[:40])
    assert "runs/tiny/vae/run.json is damaged" in refused("train score")
    record.write_text(json.dumps({**json.loads(whole), "status": "killed"}))
    assert "runs/tiny/vae is killed, expected a finished run" in refused("train score")
    record.write_text(whole)
    (root / "runs/tiny/vae/config.yaml").write_text("- a\n")
    assert "holds a list of 1, expected keys and values" in refused("train vae")
