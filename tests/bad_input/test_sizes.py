"""Recipes, paths, numbers and environments of absurd size or kind: one sentence."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from slams.cli.main import main
from tests.cli.test_main import RECIPE

SECRET = "hunter2-token"
Validate = Callable[..., str]


@pytest.fixture
def validate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Validate]:
    """Return a function that validates a recipe which must be refused; gives the sentence."""
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(RECIPE)

    def run(*words: str, recipe: str = "r.yaml", verb: str = "config validate") -> str:
        capsys.readouterr()
        code = main([*verb.split(), recipe, *words])
        captured = capsys.readouterr()
        assert (code, captured.out) == (2, ""), captured.err
        assert captured.err.startswith("slams: ")
        assert captured.err.count("\n") == 1
        assert len(captured.err) < 2200
        assert SECRET not in captured.err
        return captured.err

    return run


@pytest.mark.parametrize("length", [300, 1000, 4096, 5000])
@pytest.mark.parametrize("shape", ["name", "path"])
def test_the_path_of_a_recipe_that_is_too_long(
    validate: Validate, length: int, shape: str
) -> None:
    text = "x" * length if shape == "name" else "/".join(["x" * 9] * (length // 10 + 1))
    for verb in ("config validate", "config print", "prepare", "ablate", "submit", "compare"):
        assert validate(recipe=f"{text}.yaml", verb=verb)
    Path("child.yaml").write_text(f"extends: {text}.yaml\n")
    sentence = validate(recipe="child.yaml")
    if shape == "name" or length > 4000:
        assert sentence.startswith("slams: key 'extends' in ")
        assert "child.yaml: found" in sentence
        assert "which is the limit of" in sentence


@pytest.mark.parametrize("text", ["a\0b.yaml", "\0", "a\ud800.yaml"])
def test_a_path_that_is_no_text(validate: Validate, text: str) -> None:
    assert validate(recipe=text)
    written = text.encode("unicode_escape").decode()
    Path("child.yaml").write_text(f'extends: "{written}"\n')
    assert validate(recipe="child.yaml")
    assert validate(f"runs={text}")
    assert validate(f"data.store={text}")
    Path("child.yaml").write_text(f'extends: r.yaml\nruns: "{written}"\n')
    assert "child.yaml" in validate(recipe="child.yaml")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (SECRET, "a single value"),
        ("42", "a single value"),
        ("1e5", "a single value"),
        ("true", "a single value"),
        (f"'{SECRET}'", "a single value"),
        (f"- {SECRET}", "a list of 1"),
        (f"root:x:0:0:{SECRET}:/root:/bin/sh\nbin:x:1:1::/bin:/bin/false\n", "a single value"),
        (f"{SECRET[:7]}_{SECRET[8:]} = 3\n[section]\n", "single value"),
        (f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n{SECRET}\n", "a single value"),
        (f"a: b\n{SECRET}\n", "not valid YAML"),
        (f'{{"password": "{SECRET}"}}', "unknown key 'password'"),
        ("a: " + "x" * 2**19, "larger than 256 KiB"),
    ],
)
def test_a_file_that_is_no_recipe(validate: Validate, text: str, part: str) -> None:
    Path("other").write_text(text)
    Path("child.yaml").write_text("extends: other\n")
    for recipe in ("other", "child.yaml"):
        sentence = validate(recipe=recipe)
        assert part in sentence
        assert "other" in sentence


def test_what_is_no_file(validate: Validate, tmp_path: Path) -> None:
    os.mkfifo("fifo")
    Path("directory").mkdir()
    Path("binary").write_bytes(bytes(range(256)) * 64)
    Path("sparse").touch()
    os.truncate("sparse", 2**40)
    Path("loop").symlink_to("loop")
    Path("locked").write_text("seed: 1")
    Path("locked").chmod(0)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        expected = {
            "fifo": "a pipe, socket or device",
            "/dev/zero": "a pipe, socket or device",
            "socket": "cannot be read",
            "directory": "a directory",
            "binary": "not a text file in UTF-8",
            "sparse": "larger than",
            "loop": "cannot be read",
            "r.yaml/child": "does not exist",
        }
        if os.geteuid():  # root reads everything
            expected["locked"] = "cannot be read"
        for name, part in expected.items():
            Path("child.yaml").write_text(f"extends: {name}\n")
            assert part in validate(recipe="child.yaml")
            assert part in validate(recipe=name)


def test_recipes_that_extend_one_another_without_end(validate: Validate) -> None:
    for number in range(1200):
        Path(f"r{number}.yaml").write_text(f"extends: r{number + 1}.yaml\n")
    assert "extends more than" in validate(recipe="r0.yaml")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", "9" * 5000),
        ("seed", "9" * 4000),
        ("seed", "0x" + "f" * 6000),
        ("seed", ":".join(["59"] * 3000)),
        ("seed", "-" + "9" * 100),
        ("vae.kl_weight", "9" * 5000),
        ("vae.kl_weight", "9" * 400),
        ("vae.kl_weight", "9" * 400 + ".0"),
        ("vae.kl_weight", "1e400"),
        ("score.channels", f"[8, {'9' * 5000}]"),
        ("data.window", str(2**62)),
        ("data.trajectory", str(10**12)),
        ("data.splits.gap", str(2**62)),
        ("background.lag", str(2**62)),
        ("score.lags", f"[{10**12}]"),
        ("trainer.max_time", "9" * 5000),
        ("data.prepare.memory", "9" * 5000 + " GB"),
    ],
)
def test_numbers_that_are_too_large(validate: Validate, key: str, value: str) -> None:
    section, _, leaf = key.rpartition(".")
    assert f"'{section or key}" in validate(f"{key}={value}")
    text = f"{leaf}: {value}\n"
    for part in reversed(section.split(".") if section else []):
        text = f"{part}:\n" + "".join(f"  {line}\n" for line in text.splitlines())
    Path("child.yaml").write_text(f"extends: r.yaml\n{text}")
    validate(recipe="child.yaml")


@pytest.mark.parametrize(
    "value", ["0x" + "f" * 6000, str(2**63), '"a\\0b"', '"\\ud800"', "!!binary aGk=", "!!set {a}"]
)
def test_values_of_a_free_key_that_cannot_be_written(validate: Validate, value: str) -> None:
    for verb in ("config validate", "config print", "ablate --dry-run"):
        assert "ablation.grid" in validate(f"ablation.grid={{seed: [1, {value}]}}", verb=verb)


@pytest.mark.parametrize("depth", [40, 600, 20_000])
def test_what_is_nested_too_deep(validate: Validate, depth: int) -> None:
    flow = "{a: " * depth + "1" + "}" * depth
    block = "".join(f"{' ' * min(n, 300)}a:\n" for n in range(min(depth, 300))) + flow
    for text in (flow, "[" * depth, block, "- " * depth, "? " * depth):
        for key in ("seed", "vae", "ablation.grid"):
            validate(f"{key}={text[:100_000]}")
        Path("child.yaml").write_text(text[:200_000])
        validate(recipe="child.yaml")


def test_values_that_multiply(validate: Validate) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    Path("child.yaml").write_text("\n".join(lines))
    assert "more than 10000 values" in validate(recipe="child.yaml")
    Path("child.yaml").write_text("vae: &a\n  hidden: *a\n")
    assert "contains itself" in validate(recipe="child.yaml")
    Path("child.yaml").write_text("data:\n  lags: [" + "1," * 50_000 + "1]\n")
    assert "more than 10000 values" in validate(recipe="child.yaml")


@pytest.mark.parametrize("depth", [5, 500, 20_000])
def test_interpolations_that_are_nested_deep(validate: Validate, depth: int) -> None:
    text = "${" * depth + "runs" + "}" * depth
    for key in ("experiment", "runs", "seed", "data.source.path"):
        assert key in validate(f"{key}='{text}'"[:100_000])
    Path("child.yaml").write_text(f"extends: r.yaml\nruns: '{text}'\n")
    assert "child.yaml, line 2: found" in validate(recipe="child.yaml")
    assert validate("runs='" + "${" * depth + "'")


def test_interpolations_without_end(validate: Validate) -> None:
    assert "Recursive interpolation" in validate("runs='${experiment}'", "experiment='${runs}'")
    assert validate("runs='${runs}'")
    keys = ["runs", "experiment", "data.store", "background.path", "data.cache_directory"]
    keys += ["tracking.uri", "tracking.experiment", "simulate.output", "pretrained_experiment"]
    keys += [f"data.source.{name}" for name in ("path", "origin", "grid")]
    keys += [f"data.source.dimensions.{name}" for name in ("time", "level", "latitude")]
    words = [f"{one}='" + f"${{{two}}}" * 3 + "'" for one, two in pairwise(keys)]
    assert "too many interpolations" in validate(*words)


PATHS = [
    "runs",
    "data.store",
    "data.cache_directory",
    "data.statistics_from",
    "data.source.path",
    "data.source.grid",
    "background.path",
    "observations.stations.file",
    "observations.stations.source.path",
    "observations.stations.source.station_list",
    "tracking.uri",
    "simulate.output",
    "ablation.published",
]


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize("length", [300, 70_000])
def test_paths_that_no_file_system_holds(validate: Validate, key: str, length: int) -> None:
    assert f"'{key}'" in validate(f"{key}={'x' * length}")
    assert f"'{key}'" in validate(f"{key}=/tmp/{'é' * (length // 2)}/s.zarr")
    if length >= 5000:
        assert f"'{key}'" in validate(f"{key}={'x/' * (length // 2)}s.zarr")


@pytest.mark.parametrize("key", ["experiment", "pretrained_experiment", "assimilation.setting"])
@pytest.mark.parametrize("text", ["x" * 61, "x" * 5000, "\U0001f600" * 55, "é" * 5000])
def test_names_that_no_directory_can_have(validate: Validate, key: str, text: str) -> None:
    assert f"'{key}'" in validate(f"{key}={text}")


def test_paths_that_are_too_long_only_when_joined(validate: Validate) -> None:
    assert "'experiment'" in validate(
        "tracking.enabled=false", f"runs={'r/' * 1000}", f"experiment={'e/' * 1000}e"
    )
    assert "sqlite" in validate(f"runs={'r/' * 300}r")
    assert "sqlite" in validate(f"tracking.uri=sqlite:///{'r/' * 300}m.db")
    assert "MLflow" in validate(f"tracking.experiment={'e' * 600}")
    source = f"[{{kind: cf, path: a.nc, files: [{'x' * 300}], channels: [2m_temperature]}}]"
    assert "'data.sources.0.files.0'" in validate(f"data.sources={source}")


@pytest.mark.parametrize("verb", ["config validate", "ablate", "submit --sweep --dry-run"])
def test_a_sweep_of_a_million_settings(validate: Validate, verb: str) -> None:
    thousand = ", ".join(map(str, range(1, 1001)))
    ten = ", ".join(map(str, range(1, 11)))
    grid = f"{{seed: [{thousand}], assimilation.members: [{thousand}]}}"
    assert "found 1000000 settings" in validate(f"ablation.grid={grid}", verb=verb)
    keys = ("seed", "data.window", "data.harmonics", "data.ahead", "data.batch_size", "report.dpi")
    grid = ", ".join(f"{key}: [{ten}]" for key in keys)
    Path("child.yaml").write_text(f"extends: r.yaml\nablation:\n  grid: {{{grid}}}\n")
    assert "found 1000000 settings" in validate(recipe="child.yaml", verb=verb)
    several = [f"ablation.grid={{seed: [{ten}], data.ahead: [{ten}]}}"]
    several += [f"ablation.zip={{report.dpi: [{ten}], report.case: [{ten}]}}"]
    several += [f"ablation.list=[{', '.join(f'{{data.harmonics: {n}}}' for n in range(3))}]"]
    assert "found 3000 settings (grid 10 x 10, zip 10, list 3)" in validate(*several, verb=verb)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"SLURM_NTASKS": "abc"}, "SLURM_NTASKS"),
        ({"SLURM_NTASKS": ""}, "SLURM_NTASKS"),
        ({"SLURM_NTASKS": "0"}, "SLURM_NTASKS"),
        ({"SLURM_NTASKS": "9" * 5000}, "SLURM_NTASKS"),
        ({"SLURM_NNODES": "2-4"}, "SLURM_NNODES"),
        ({"SLURM_PROCID": "one"}, "SLURM_PROCID"),
        ({"SLURM_LOCALID": "-1"}, "SLURM_LOCALID"),
        ({"SLURM_NODEID": "x"}, "SLURM_NODEID"),
        ({"SLURM_JOB_ID": "--help"}, "SLURM_JOB_ID"),
        ({"SLURM_RESTART_COUNT": "often"}, "SLURM_RESTART_COUNT"),
        ({"RANK": "abc", "WORLD_SIZE": "2"}, "RANK"),
        ({"RANK": "²"}, "RANK"),
        ({"RANK": "00"}, "RANK"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK"),
        ({"LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "2"}, "LOCAL_RANK"),
        ({"LOCAL_RANK": "1.5"}, "LOCAL_RANK"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE"),
        ({"NODE_RANK": "?"}, "NODE_RANK"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT"),
    ],
)
def test_an_environment_that_no_launcher_makes(
    validate: Validate,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    named: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for verb in ("config validate", "train vae", "assimilate"):
        assert f"environment variable {named}: found" in validate(verb=verb)


@pytest.mark.parametrize(
    "variables",
    [{"LOCAL_RANK": "1"}, {"RANK": "3"}, {"SLURM_PROCID": "2"}, {"NODE_RANK": "1"}],
)
def test_another_rank_says_what_it_refuses(
    validate: Validate, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert "nowhere.yaml does not exist" in validate(recipe="nowhere.yaml", verb="train vae")
    assert "another rank on" in validate("seed=x")


def test_arguments_that_steer_a_terminal_are_shown_escaped(validate: Validate) -> None:
    assert "\\x1b[2J" in validate("experiment=\x1b[2J")
    assert "\\x1b[2J" in validate(recipe="\x1b[2J.yaml")
    assert validate("x" * 50_000)
    assert validate("--" + "x" * 50_000)
    assert validate("x" * 50_000 + "=1")
    assert validate(f"--output={'x' * 300}", verb="compare")
    assert validate(f"--output={'x' * 300}", recipe="", verb="bench data")


def test_sizes_at_the_limit_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(RECIPE + "\n# " + "x" * 200_000)
    long = "/".join(["p" * 50] * 5)
    words = [f"runs={long}", f"data.store={long}/{'s' * 200}.zarr", f"experiment={'e' * 60}"]
    words += ["seed=9223372036854775807", "data.source.path='${data.store}'"]
    words += ["data.source.grid=https://host/" + "k" * 900]
    values = ", ".join(map(str, range(1000)))
    words += [f"ablation.grid={{seed: [{values}]}}"]
    assert main(["config", "validate", "r.yaml", *words]) == 0, capsys.readouterr().err
