"""Limits of the process and of the place: one sentence, nothing left, no traceback."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import slams
from slams.cli.main import main
from slams.config.schema import Config
from slams.errors import UserError
from slams.runs.directory import RunDirectory
from slams.runtime.failures import explain_failure
from slams.stages.places import run_request
from tests.bad_input.conftest import Refused, listing

# Mounts a directory that nobody may write, root neither, for this process alone.
_READ_ONLY = """
mount -t tmpfs -o ro tmpfs disk || exit 77
"$@"
"""


@contextmanager
def limited(kind: int, value: int) -> Iterator[None]:
    """Lower a limit of this process while the block lasts."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def test_too_few_files_may_be_open(tmp_path: Path) -> None:
    request = run_request(Config(experiment="tiny", runs=str(tmp_path / "runs")), "vae")
    used = max(int(p.name) for p in Path("/proc/self/fd").iterdir())
    held: list[int] = []
    try:
        with limited(resource.RLIMIT_NOFILE, used + 2):
            with contextlib.suppress(OSError):
                while True:  # descriptors below the limit that are free
                    held.append(os.open(os.devnull, os.O_RDONLY))
            with pytest.raises(OSError, match="Too many open files") as caught:
                RunDirectory.open(request)
            sentence = explain_failure(caught.value)
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert f"this process may open {used + 2}; raise the limit (`ulimit -n`)" in sentence


def test_an_array_that_is_cut_short() -> None:
    cut = OSError("1152 requested and 992 written")  # numpy's words, whatever the reason
    assert explain_failure(cut).startswith("no space left")
    with limited(resource.RLIMIT_FSIZE, 4096):
        assert explain_failure(cut).startswith("a file would be larger than this process may")


@pytest.mark.parametrize(
    "words", [["train", "vae", "experiment=new"], ["prepare", "data.store=new"]]
)
def test_a_verb_with_too_few_open_files_is_repeated_with_more(
    root: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    gc.collect()  # files of earlier tests that would be closed in between
    used = max(int(p.name) for p in Path("/proc/self/fd").iterdir())
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(used)]  # fill the gaps below
    command = [*words[:-1], "recipe.yaml", words[-1]]
    codes = []
    try:
        for free in range(4):
            with limited(resource.RLIMIT_NOFILE, max(held) + 1 + free):
                codes.append(main(command))
            said = capsys.readouterr().err
            assert "Traceback" not in said
            if codes[-1]:
                assert "too many open files: this process may open" in said.splitlines()[-1]
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert codes[0] == 2
    assert set(codes) <= {0, 2}
    assert main(command) == 0


# Of libraries that wrap what the system said, as seen under `ulimit -v`.
@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RuntimeError("no runs"), RuntimeError("can't start new thread")),
        (ImportError("libtorch_cuda.so: failed to map segment from shared object"), None),
        (ValueError("no array"), MemoryError("Unable to allocate 3 GiB")),
        (ImportError("no module"), OSError(errno.ENOMEM, "Cannot allocate memory")),
    ],
)
def test_memory_that_is_exhausted_below_another_error(
    error: Exception, cause: Exception | None
) -> None:
    error.__cause__ = cause
    assert explain_failure(error).startswith("the memory that this process may use is exhausted")
    refusal = UserError("the recipe is wrong")
    refusal.__cause__ = error
    assert explain_failure(refusal) == "the recipe is wrong"


@pytest.mark.parametrize("size", [800 * 10**6, 3 * 10**9])
def test_a_program_without_room_for_torch(root: Path, size: int) -> None:
    path = os.pathsep.join([str(Path(slams.__file__).parents[1]), *sys.path])
    before = listing(root)
    done = subprocess.run(
        [sys.executable, "-m", "slams", "prepare", "recipe.yaml", "data.store=new.zarr"],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    if size > 10**9 and done.returncode == 0:  # torch without its libraries for GPUs is small
        return
    assert done.returncode == 2, done.stderr
    assert "the memory that this process may use is exhausted" in done.stderr.splitlines()[-1]
    assert listing(root) == before


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train vae", ["experiment=new"]),
        ("assimilate", ["experiment=new", "pretrained_experiment=tiny"]),
        ("prepare", ["data.store=new.zarr"]),
    ],
)
def test_files_that_may_not_grow(refused: Refused, command: str, words: list[str]) -> None:
    with limited(resource.RLIMIT_FSIZE, 4096):
        sentence = refused(command, *words)
    assert "a file would be larger than this process may write" in sentence


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("prepare", ["data.store=disk/new.zarr"]),
        ("train vae", ["runs=disk/others"]),
        ("train vae", ["runs=disk/others", "tracking.enabled=true"]),
    ],
)
def test_a_directory_that_nobody_may_write(root: Path, command: str, words: list[str]) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("there is no `unshare` to mount a directory with")
    (root / "disk").mkdir()
    before = listing(root)
    path = os.pathsep.join([str(Path(slams.__file__).parents[1]), *sys.path])
    program = [sys.executable, "-m", "slams", *command.split(), "recipe.yaml", *words]
    mounting = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _READ_ONLY, "sh"]
    done = subprocess.run(
        [*mounting, *program],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip(f"this machine lets nobody mount a directory: {done.stderr.strip()}")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    sentence = done.stderr.strip().splitlines()[-1]
    assert "disk" in sentence
    assert "write" in sentence or "permission" in sentence
    assert listing(root) == before
