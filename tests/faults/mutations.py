"""Damage every kind of file that is read, and run the commands that read it, in this process.

    python -m tests.faults.mutations [--seed 7] [--count 300] [--only N]

A tiny study is prepared, trained and assimilated once. Each case then changes one file of a copy
(a flipped bit, a truncation, an empty file, a directory in its place, no file, no permission) and
gives one command. It must end with exit code 2 and one sentence, or with exit code 0 and the
numbers of the undamaged study; never with a traceback, never with other numbers. The seed is
printed; `--only N` repeats one case and shows what it said.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from slams.cli.main import main
from slams.config.loading import to_yaml
from slams.config.schema import OptimizerConfig
from tests.stages.commands import study
from tests.synthetic import nature_run

__all__ = ["Command", "Damage", "make_study", "run_case"]

# Seconds after which a case counts as hanging, on a machine that is busy with something else.
_HANGS = 300
_NUMBER = re.compile(r"-?\d+\.\d+")


@dataclass(frozen=True)
class Command:
    """A command, the files that it reads, and the numbers that it ends in.

    Attributes:
        words: Arguments of `slams`.
        reads: Patterns of the files, relative to the study.
        numbers: Takes the numbers out of the study, or out of what was printed.
        weight: How often it is drawn, relative to the others.
        flips: Whether a flipped bit must be noticed; nothing guards a source or a text.
        before: Changes the study first.
    """

    words: tuple[str, ...]
    reads: tuple[str, ...]
    numbers: Callable[[Path, str], Any]
    weight: float = 1.0
    flips: bool = True
    before: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class Damage:
    """What is done to a file, by name."""

    name: str
    apply: Callable[[Path, random.Random], None]


class _Hangs(BaseException):
    """Raised by the alarm; nothing in the program catches it."""


# --- Damage -------------------------------------------------------------------------------------


def _flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _truncate(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(max(path.stat().st_size, 1))])


def _directory(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


_FLIP = Damage("bit flipped", _flip)
_DAMAGES = (
    _FLIP,
    _FLIP,
    _FLIP,
    Damage("truncated", _truncate),
    Damage("empty", lambda path, rng: path.write_bytes(b"") and None),
    Damage("a directory", _directory),
    Damage("missing", lambda path, rng: path.unlink()),
    Damage("no permission", lambda path, rng: path.chmod(0)),  # root may read it all the same
)

# --- Commands -----------------------------------------------------------------------------------


def _table(experiment: str) -> Callable[[Path, str], Any]:
    def numbers(root: Path, printed: str) -> Any:
        table = pd.read_parquet(root / f"runs/{experiment}/assimilation/results.parquet")
        table = table[table["metric"] != "seconds_per_member"]
        return table.drop(columns="setting").to_csv(index=False)

    return numbers


def _curve(stage: str) -> Callable[[Path, str], Any]:
    def numbers(root: Path, printed: str) -> Any:
        return (root / "runs" / stage / "metrics.csv").read_text()

    return numbers


def _printed(root: Path, printed: str) -> Any:
    return _NUMBER.findall(printed)


def _store(root: Path, printed: str) -> Any:
    return json.loads((root / "new.zarr/zarr.json").read_text())["attributes"]["fingerprint"]


def _nothing(root: Path, printed: str) -> Any:
    return None


def _killed(root: Path) -> None:
    """Make the finished training one that was killed after its last checkpoint."""
    record = root / "runs/tiny/vae/run.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "status": "killed"}))


def _analysed(root: Path, printed: str) -> Any:
    with xr.open_dataset(root / "analysis.nc") as found:
        return found["temperature"].values.tobytes()


def _cycled(root: Path, printed: str) -> Any:
    found = []
    for path in sorted((root / "cycle").glob("*.nc")):
        with xr.open_dataset(path) as day:
            found.append(day["temperature"].values.tobytes())
    return found


_STORE = ("store.zarr/**/*",)
_VAE = ("runs/tiny/vae/run.json", "runs/tiny/vae/config.yaml", "runs/tiny/vae/checkpoints/best*")
_SCORE = tuple(name.replace("/vae/", "/score/") for name in _VAE)
_NEW = ("experiment=new", "pretrained_experiment=tiny")
_RUN = "runs/tiny/assimilation"
_RESULTS = (f"{_RUN}/*.parquet", f"{_RUN}/run.json", f"{_RUN}/analysis.zarr/**/*")
_TEXTS = (f"{_RUN}/config.yaml", f"{_RUN}/stations.csv", "runs/tiny/*/metrics.csv")
_CACHE = "data.cache=none"
_MODEL = f"{_RUN}/model"
_ANALYSE = ("analyse", _MODEL, "--members", "2")

COMMANDS = (
    Command(("prepare", "recipe.yaml", "--verify"), _STORE, _nothing, 2),
    Command(
        ("prepare", "recipe.yaml", "data.store=new.zarr"), ("nature.zarr/**/*",), _store, 1, False
    ),
    Command(
        ("train", "vae", "recipe.yaml", "experiment=new", _CACHE), _STORE, _curve("new/vae"), 3
    ),
    Command(
        ("train", "vae", "recipe.yaml", "experiment=new", "data.cache=mmap"),
        (*_STORE, "store.zarr.cache/fields-*.*"),
        _curve("new/vae"),
    ),
    Command(
        ("train", "vae", "recipe.yaml"),
        ("runs/tiny/vae/checkpoints/last.ckpt", "runs/tiny/vae/run.json"),
        _curve("tiny/vae"),
        2,
        before=_killed,
    ),
    Command(
        ("train", "score", "recipe.yaml", *_NEW),
        (*_STORE, *_VAE, "runs/tiny/vae/latents*/**/*"),
        _curve("new/score"),
        3,
    ),
    Command(("assimilate", "recipe.yaml", *_NEW), (*_STORE, *_VAE, *_SCORE), _table("new"), 5),
    Command(
        ("train", "score", "recipe.yaml", *_NEW, "tracking.enabled=true"),
        ("runs/mlflow.db",),
        _curve("new/score"),
        0.5,
        False,
    ),
    Command(
        ("report", "recipe.yaml"),
        (*_RESULTS, "runs/tiny/*/run.json", "runs/tiny/vae/reconstruction.zarr/**/*"),
        _printed,
        2,
    ),
    Command(("report", "recipe.yaml"), _TEXTS, _printed, 1, False),
    Command(("compare", _RUN), (*_RESULTS, f"{_RUN}/config.yaml"), _printed, 2),
    Command((*_ANALYSE, "--time", "2001-03-30"), (f"{_MODEL}/**/*",), _analysed, 2),
    Command(
        (*_ANALYSE, "--time", "2001-03-30", "--background", "background.nc"),
        ("background.nc",),
        _analysed,
        0.5,
        False,
    ),
    Command(
        ("cycle", _MODEL, "--start", "2001-03-28", "--days", "3", "--members", "2"),
        ("cycle/*",),
        _cycled,
    ),
    Command(
        ("sync", "recipe.yaml", "tracking.uri=sqlite:///server.db", "--dry-run"),
        ("runs/mlflow.db", "server.db"),
        _nothing,
        0.5,
        False,
    ),
)

# --- Cases --------------------------------------------------------------------------------------


def make_study(root: Path) -> None:
    """Prepare, train, assimilate and track a tiny study, with all paths relative to `root`."""
    nature_run().to_zarr(root / "nature.zarr", zarr_format=3, consolidated=False)
    with contextlib.chdir(root):
        config = study(Path("."), Path("nature.zarr"), test_cases=2)
        for stage in (config.vae, config.score):
            stage.optimizer = OptimizerConfig(steps=8, warmup_steps=1, ema=0.9)
        config.trainer.validate_every_epochs = 1
        config.assimilation.modality_study, config.assimilation.keep_cases = 0, 1
        config.report.dpi = 20
        Path("recipe.yaml").write_text(to_yaml(config))
        for verb in (["prepare"], ["train", "vae"], ["train", "score"], ["assimilate"]):
            if main([*verb, "recipe.yaml"]) != 0:
                raise RuntimeError(f"{' '.join(verb)} failed on the undamaged study")
        nature_run().sel(time=["2001-03-28"]).to_netcdf("background.nc")
        main(["cycle", _MODEL, "--start", "2001-03-28", "--days", "2", "--members", "2"])
        tracked = (*_NEW[1:], "experiment=tracked", "tracking.enabled=true", "data.cache=mmap")
        main(["train", "score", "recipe.yaml", *tracked])
        main(["sync", "recipe.yaml", "tracking.uri=sqlite:///server.db", "experiment=tracked"])


@contextlib.contextmanager
def _copy(pristine: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "study"
        shutil.copytree(pristine, root)
        with contextlib.chdir(root):
            yield root
            for path in root.rglob("*"):
                if not path.is_symlink():
                    path.chmod(0o700)


def _give(command: Command, root: Path) -> tuple[int, str, str]:
    """Give a command in this process; gives exit code, output and errors."""
    out, err = io.StringIO(), io.StringIO()

    def alarm(*_: object) -> None:
        raise _Hangs

    before = signal.signal(signal.SIGALRM, alarm)
    signal.alarm(_HANGS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(command.words)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return code, out.getvalue(), err.getvalue()


def reference(command: Command, pristine: Path) -> Any:
    """Return the numbers of a command on the undamaged study."""
    with _copy(pristine) as root:
        if command.before is not None:
            command.before(root)
        code, out, err = _give(command, root)
        if code != 0:
            raise RuntimeError(f"{' '.join(command.words)} failed on the undamaged study: {err}")
        return command.numbers(root, out)


def run_case(
    number: int, seed: int, pristine: Path, references: dict[Command, Any], show: bool = False
) -> tuple[str, str, int]:
    """Run one case.

    Returns:
        What was done, what was wrong (empty if nothing was), and the exit code.
    """
    rng = random.Random(f"{seed}/{number}")
    command = rng.choices(COMMANDS, [c.weight for c in COMMANDS])[0]
    pattern = rng.choice(command.reads)
    if command not in references:
        references[command] = reference(command, pristine)
    with _copy(pristine) as root:
        if command.before is not None:
            command.before(root)
        files = sorted(p for p in root.glob(pattern) if p.is_file() and p.suffix != ".lock")
        if not files:
            return f"{pattern} matches nothing", "", 0
        path = rng.choice(files)
        damage = rng.choice(_DAMAGES)
        while damage is _FLIP and not command.flips:
            damage = rng.choice(_DAMAGES)
        done = f"case {number}: {' '.join(command.words)}, {path.relative_to(root)}: {damage.name}"
        damage.apply(path, rng)
        try:
            code, out, err = _give(command, root)
        except _Hangs:
            return done, f"hangs for {_HANGS} s", -1
        except BaseException:
            return done, traceback.format_exc(), -1
        if show:
            print(out, err, sep="\n")
        return done, _wrong(command, root, code, out, err, references[command]), code


def _wrong(command: Command, root: Path, code: int, out: str, err: str, expected: Any) -> str:
    """Say what is wrong with how a command ended; empty if nothing is."""
    said = [line for line in err.splitlines() if line.startswith("slams: ")]
    if "Traceback" in out + err:
        return f"a traceback: {err}"
    if code == 2:
        return "" if len(said) == 1 else f"{len(said)} sentences: {err}"
    if code != 0:
        return f"exit code {code}: {err}"
    found = command.numbers(root, out)
    return "" if found == expected else f"other numbers:\n{found}\nexpected:\n{expected}"


def run(seed: int, numbers: Sequence[int], show: bool = False) -> int:
    """Run cases; print what failed and a summary. Return the number of failures."""
    print(f"seed {seed}, {len(numbers)} cases", flush=True)
    failures, codes, started = 0, [], time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        pristine = Path(directory) / "pristine"
        pristine.mkdir()
        with contextlib.redirect_stdout(io.StringIO()):
            make_study(pristine)
        print(f"the study is made ({time.monotonic() - started:.0f} s)", flush=True)
        references: dict[Command, Any] = {}
        for number in numbers:
            done, wrong, code = run_case(number, seed, pristine, references, show)
            codes.append(code)
            failures += bool(wrong)
            print(f"{done} -> {code}", wrong, sep="\n" if wrong else "", flush=True)
    print(
        f"seed {seed}: {len(numbers)} cases in {time.monotonic() - started:.0f} s, {failures} "
        f"failed, {codes.count(2)} refused, {codes.count(0)} with the right numbers"
    )
    return failures


def _script() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--only", type=int)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if options.only is not None:
        return run(options.seed, [options.only], show=True)
    return min(run(options.seed, range(options.start, options.start + options.count)), 1)


if __name__ == "__main__":
    sys.exit(_script())
