"""Random mutations of the recipes in `experiments/`, run through the command line in-process.

Whatever is done to a recipe, a command that reads it ends with exit code 0 or 2, and with 2 in one
sentence. As a script: `python -m tests.bad_input.mutations --seed 7 --count 100`; `--only N` runs
one case of a seed and shows it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slams.cli.main import main
from slams.cli.verb import recipe_schema
from slams.cli.verbs import VERBS
from slams.config.loading import load
from slams.config.validation import dotted_keys
from slams.errors import UserError

__all__ = ["Case", "Failure", "make_case", "mutated_recipes", "run_case"]

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
# Seconds after which a case counts as hanging, on a machine that is busy with something else.
_HANGS = 30
# Characters of the longest sentence that is still read.
_LONGEST = 2200
# Recipes of data classes other than that of the stages, by the folder or file they lie in.
_OTHER = {
    "kolmogorov": "bench kolmogorov",
    "lorenz63": "bench lorenz63",
    "benchmarks/cost": "bench sampler",
    "benchmarks/prepare": "bench prepare",
}
_VERBS = ("config validate", "config print", "ablate --dry-run", "submit --dry-run")
_WEIGHTS = (70, 16, 7, 7)


@dataclass(frozen=True)
class Case:
    """One mutated recipe and the command that reads it.

    Attributes:
        number: Its number among those of the seed.
        recipe: Path of the recipe that was mutated, relative to `experiments`.
        text: The mutated recipe.
        verb: The verb with its options; `bench ...` is read and checked, and not run.
        words: Overrides.
        done: Names of the mutations.
    """

    number: int
    recipe: str
    text: str
    verb: str
    words: tuple[str, ...]
    done: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """A case that ended in something else than exit code 0, or 2 with one sentence."""

    case: Case
    what: str

    def __str__(self) -> str:
        words = " ".join(repr(word)[:200] for word in self.case.words)
        return (
            f"case {self.case.number}: {self.case.verb} {self.case.recipe} {words} "
            f"({', '.join(self.case.done)})\n{self.what}"
        )


class _Hangs(BaseException):
    """Raised by the alarm; nothing in the program catches it."""


# --- Values -------------------------------------------------------------------------------------


def _number(rng: random.Random) -> Any:
    return rng.choice(
        [
            0,
            -1,
            1,
            7,
            2**31,
            2**62,
            2**63,
            -(2**70),
            10 ** rng.randrange(1, 4200),
            0.0,
            -0.5,
            1e-300,
            1e300,
            float("inf"),
            float("-inf"),
            float("nan"),
            rng.randrange(1, 5000),
            rng.random() * 10,
        ]
    )


def _text(rng: random.Random) -> str:
    return rng.choice(
        [
            "",
            " ",
            "~",
            "null",
            "???",
            ".",
            "..",
            "/",
            "/etc/passwd",
            "../" * 40,
            "x" * rng.choice([61, 256, 5000]),
            "é" * 130,
            "\U0001f600" * 60,
            "a\0b",
            "a\nb",
            "\x1b[2J",
            "\u202e\ufeff",
            "\ud800",
            "${",
            "${}",
            "${runs}",
            "${nowhere.at.all}",
            "${.sibling}",
            "${...}",
            "${data}",
            "${data.source}",
            "${oc.env:HOME}",
            "${oc.env:NO_SUCH_VARIABLE}",
            "${oc.select:runs}",
            "${unknown:1,2}",
            "${oc.decode:'[1,2'}",
            "${" * rng.randrange(2, 40),
            "$" * 300,
            "{a: 1}",
            "[1, 2",
            "1980-02-30",
            "9999-12-31",
            "0001-01-01",
            "1e999",
            "%s %d {0} {x}",
            "!!python/object:os.system",
            "*alias",
            "&anchor",
            "temperature@" + "9" * rng.randrange(1, 30),
            "temperature@²",
            "optimal_interpolation@",
            "@climatology",
            "os:system",
            "no.such.module:Class",
            ":",
            "https://" + "h" * 300,
            "sqlite:///" + "s" * 300,
            "s3://bucket/" + "k" * 300,
            "24:00:00:00",
            "12 GB",
            "48x96x11",
            "".join(rng.choices("abcxyz@/=:,[]{}#&*!|>'\"%@` \t0123456789.-", k=12)),
        ]
    )


def _value(rng: random.Random, depth: int = 0) -> Any:
    """Make any value that YAML can hold."""
    kind = rng.choice(["number", "text", "text", "constant", "list", "mapping", "deep"])
    if kind == "number":
        return _number(rng)
    if kind == "text" or depth > 3:
        return _text(rng)
    if kind == "constant":
        return rng.choice([None, True, False, [], {}, [None], [[]], {"": ""}])
    if kind == "list":
        return [_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == "mapping":
        keys = [rng.choice(_KEYS), rng.choice(["a", "name", 1, None, True, 2.5, ""])]
        return {key: _value(rng, depth + 1) for key in keys[: rng.randrange(3)]}
    deep: Any = 1
    for _ in range(rng.choice([5, 40, 90])):
        deep = {"a": deep} if rng.random() < 0.5 else [deep]
    return deep


_KEYS = [key.rpartition(".")[2] for key in dotted_keys()]
_DOTTED = list(dotted_keys())
_GOOD = (
    "seed=3",
    "assimilation.members=8",
    "assimilation.methods=[climatology, background]",
    "observations.gross_error=.inf",
    "data.splits={gap: 5}",
    "vae.kl_weight=1e-4",
    "runs=elsewhere/${experiment}",
    "tracking.enabled=false",
    "background=",
)


# --- Mutations of the tree ----------------------------------------------------------------------


def _places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """List the paths of everything in a tree."""
    entries = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, value in entries:
        yield (*path, key)
        yield from _places(value, (*path, key))


def _parent(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        tree = tree[key]
    return tree


def _mutate_tree(rng: random.Random, tree: Any) -> str:
    """Change a tree in place; gives the name of what was done."""
    places = list(_places(tree))
    if not places:
        tree["seed"] = _value(rng)
        return "set"
    path = rng.choice(places)
    parent, last = _parent(tree, path), path[-1]
    what = rng.choice(["set", "set", "set", "delete", "rename", "add", "move", "wrap", "nudge"])
    if what == "set":
        parent[last] = _value(rng)
    elif what == "delete":
        del parent[last]
    elif what == "rename" and isinstance(parent, dict):
        name = str(last)
        at = rng.randrange(len(name) + 1)
        changed = name[:at] + rng.choice("xs_.@ é0") + name[at + rng.randrange(2) :]
        parent[rng.choice([changed, 1, None, True, rng.choice(_KEYS)])] = parent.pop(last)
    elif what == "add" and isinstance(parent, dict):
        parent[rng.choice([*_KEYS, "extends", "unknown", ""])] = _value(rng)
    elif what == "move":
        value = parent[last]
        other = rng.choice(places)
        _parent(tree, other)[other[-1]] = yaml.safe_load(yaml.safe_dump(value))
    elif what == "wrap":
        parent[last] = rng.choice([[parent[last]], {"value": parent[last]}, str(parent[last])])
    elif what == "nudge":
        for one in rng.choices(places, k=3):
            value = _parent(tree, one)[one[-1]]
            if isinstance(value, bool):
                _parent(tree, one)[one[-1]] = not value
            elif isinstance(value, int | float):
                _parent(tree, one)[one[-1]] = value * rng.choice([1, 1, 1, 2, 10, -1, 10**6, 0.5])
    return what


def _set_dotted(rng: random.Random, tree: Any) -> str:
    """Set a key of the schema, wherever it is, to anything."""
    *sections, last = rng.choice(_DOTTED).split(".")
    for section in sections:
        if not isinstance(tree.get(section), dict):
            tree[section] = {}
        tree = tree[section]
    tree[last] = _value(rng)
    return "set a key of the schema"


# --- Mutations of the text ----------------------------------------------------------------------


def _mutate_text(rng: random.Random, text: str) -> tuple[str, str]:
    """Change the text of a recipe; gives it with the name of what was done."""
    lines = text.splitlines() or [""]
    at = rng.randrange(len(lines))
    inserted = [
        "\t",
        "\0",
        "\ufeff",
        "---",
        "...",
        "- ",
        ": ",
        "? ",
        "<<: *x",
        "a: &a [*a]",
        "%YAML 1.1",
        "extends: .",
        "extends: [a, b]",
        "extends: /dev/null",
        "extends: mutated.yaml",
        "runs: !!binary aGVsbG8=",
        "seed: !!int 'x'",
        "seed: !!float ''",
        "seed: 1:60:61",
        "seed: 0o777",
        "seed: 0b" + "1" * 300,
        "seed: " + "9" * 5000,
        "data: !!set {a, b}",
        "data: !!omap [a: 1]",
        "simulate: {start: !!timestamp 1980-13-45}",
        "data: " + "{a: " * 600 + "1" + "}" * 600,
        "runs: '" + "${" * 500 + "'",
        "\x85\u2028x: 1",
        "x" * 10_000,
    ]
    what = rng.choice(["drop", "double", "indent", "insert", "cut", "swap", "character", "breaks"])
    if what == "drop":
        del lines[at]
    elif what == "double":
        lines.insert(at, lines[at])
    elif what == "indent":
        lines[at] = " " * rng.randrange(8) + lines[at].lstrip()
    elif what == "insert":
        lines.insert(at, rng.choice(inserted))
    elif what == "cut":
        return text[: rng.randrange(len(text) + 1)], what
    elif what == "swap":
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif what == "character" and text:
        place = rng.randrange(len(text))
        character = rng.choice(":-{}[]#&*!|>'\"%@`,?\t\0\x7f\u00e9 \n0a")
        return text[:place] + character + text[place + 1 :], what
    elif what == "breaks":
        return rng.choice(["\r", "\r\n", "\n\n", " "]).join(lines), what
    return "\n".join(lines) + "\n", what


def _override(rng: random.Random) -> str:
    """Make an override, rarely one that is taken."""
    key = rng.choice(_DOTTED)
    if rng.random() < 0.3:
        key = rng.choice(
            [
                key + ".x",
                key + ".0",
                key + ".99999999999999999999",
                key + ".²",
                key.replace(".", ".."),
                key.upper(),
                "data.sources.0.path",
                "observations.stations.variables.0.error",
                "ablation.grid",
                "ablation.list",
                "." * 50,
                "",
                " ",
                key[:-1],
                "x" * 3000,
            ]
        )
    value = _value(rng)
    if isinstance(value, str) and rng.random() < 0.7:
        return f"{key}={value}"
    return f"{key}={_dumped(value, flow=True)}"


def _dumped(tree: Any, flow: bool | None = None) -> str:
    text = yaml.dump(
        tree, Dumper=_Dumper, default_flow_style=flow, width=10**6, allow_unicode=True
    )
    return text.removesuffix("...\n").rstrip("\n") if flow else text


class _Dumper(yaml.SafeDumper):
    """Writes a tree without aliases, so that it can be mutated further."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# --- Cases --------------------------------------------------------------------------------------


def make_case(seed: int, number: int) -> Case:
    """Make one case; the same for the same seed and number."""
    rng = random.Random(f"{seed}/{number}")
    recipe = rng.choice(sorted(EXPERIMENTS.rglob("*.yaml")))
    name = recipe.relative_to(EXPERIMENTS).as_posix()
    verb = next((verb for part, verb in _OTHER.items() if name.startswith(part)), "")
    verb = verb or rng.choices(_VERBS, _WEIGHTS)[0]
    text = recipe.read_text(encoding="utf-8")
    done: list[str] = []
    if rng.random() < 0.6:
        tree = yaml.safe_load(text)
        for _ in range(rng.choice([1, 1, 2, 4])):
            change: Callable[[random.Random, Any], str] = rng.choice([_mutate_tree, _set_dotted])
            done.append(change(rng, tree))
        text = _dumped(tree)
    if rng.random() < 0.4:
        for _ in range(rng.choice([1, 1, 3])):
            text, what = _mutate_text(rng, text)
            done.append(what)
    words: list[str] = []
    if rng.random() < 0.2:
        words = [rng.choice(_GOOD)]
        done.append("a good override")
    elif rng.random() < 0.4 or not done:
        words = [_override(rng) for _ in range(rng.choice([1, 1, 2, 5]))]
        done.append("override")
    # What an argument of a process cannot hold, or what is taken for an option.
    words = [word.replace("\0", "") for word in words if not word.startswith("-")]
    return Case(number, name, text, verb, tuple(words), tuple(done))


@contextlib.contextmanager
def mutated_recipes() -> Iterator[Path]:
    """Work in a directory of its own, with a copy of the recipes; gives that of `experiments`."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "experiments"
        shutil.copytree(EXPERIMENTS, copy)
        os.chdir(directory)
        try:
            yield copy
        finally:
            os.chdir(before)


def run_case(case: Case, experiments: Path) -> tuple[int, str] | Failure:
    """Run a case; gives exit code and standard error, or what went wrong."""
    path = (experiments / case.recipe).with_name("mutated.yaml")
    # `surrogatepass`: a recipe may hold what is not UTF-8.
    path.write_bytes(case.text.encode("utf-8", "surrogatepass"))
    out, err = io.StringIO(), io.StringIO()

    def ring(signum: int, frame: object) -> None:
        raise _Hangs

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(_HANGS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = _run(case, str(path), err)
    except _Hangs:
        return Failure(case, f"hangs:\n{traceback.format_exc(limit=-12)}")
    except (Exception, SystemExit):
        return Failure(case, traceback.format_exc(limit=-12))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        path.unlink(missing_ok=True)
    said = err.getvalue()
    if code not in (0, 2):
        return Failure(case, f"exit code {code}: {said}")
    one = said.startswith("slams: ") and said.count("\n") == 1 and len(said) < _LONGEST
    if code == 2 and not one:
        return Failure(case, f"exit code 2 and no single sentence: {said[:3000]!r}")
    if code == 0 and said:
        return Failure(case, f"exit code 0 and words on standard error: {said[:3000]!r}")
    return code, said


def _run(case: Case, path: str, err: io.StringIO) -> int:
    if not case.verb.startswith("bench"):
        verb, _, option = case.verb.partition(" --")
        return main([*verb.split(), path, *case.words, *([f"--{option}"] if option else [])])
    verb_of = VERBS[case.verb]
    assert verb_of.schema is not recipe_schema
    try:
        load(path, case.words, *verb_of.schema())
    except UserError as error:
        print(f"slams: {' '.join(str(error).split())[:2000]}", file=err)
        return 2
    return 0


def _main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--only", type=int, default=None, help="run this case alone and show it")
    arguments = parser.parse_args()
    numbers = range(arguments.count) if arguments.only is None else [arguments.only]
    codes: dict[int, int] = {}
    failures = []
    started, longest = time.monotonic(), (0.0, -1)
    with mutated_recipes() as experiments:
        for number in numbers:
            case = make_case(arguments.seed, number)
            begun = time.monotonic()
            outcome = run_case(case, experiments)
            longest = max(longest, (time.monotonic() - begun, number))
            if isinstance(outcome, Failure):
                failures.append(outcome)
                print(outcome, flush=True)
            else:
                codes[outcome[0]] = codes.get(outcome[0], 0) + 1
            if arguments.only is not None:
                print(case.text, case.verb, case.words, case.done, outcome, sep="\n")
    print(
        f"seed {arguments.seed}: {len(numbers)} cases in {time.monotonic() - started:.0f} s, the "
        f"longest {longest[0]:.1f} s (case {longest[1]}); exit codes {codes}, "
        f"{len(failures)} failures"
    )
    return bool(failures)


if __name__ == "__main__":
    sys.exit(_main())
