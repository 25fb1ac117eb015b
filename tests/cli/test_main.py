"""The command line: verbs, overrides, exit codes, and one sentence for what a user can correct."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import signal
import subprocess
import sys
import types
import warnings
from pathlib import Path

import pytest

import slams
from slams.cli import kinds, main, verbs
from slams.config.schema import Config
from slams.errors import UserError
from slams.runtime.failures import explain_failure
from slams.runtime.signals import Stopped

RECIPE = """
experiment: tiny
data:
  channels: [temperature@850, 2m_temperature, outgoing_longwave_radiation]
  splits:
    train: [1980-01-01, 1981-12-31]
    validation: [1982-01-10, 1982-06-30]
    test: [1982-07-10, 1982-12-31]
"""
STAGES = {
    "simulate": "sources",
    "prepare": "sources",
    "train_vae": "training",
    "train_score": "training",
    "limit": "limit",
    "assimilate": "assimilation",
    "report": "reporting",
}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Config, bool]]:
    """Stand in for the stages and what they build on; keep the handler of SIGTERM."""
    made: list[tuple[str, Config, bool]] = []
    modules = {name: types.ModuleType(name) for name in STAGES.values()}
    for name, module in STAGES.items():
        stage = lambda c, dry_run, name=name: made.append((name, c, dry_run))  # noqa: E731
        setattr(modules[module], name, stage)
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, f"slams.stages.{name}", module)
    monkeypatch.setattr(kinds, "check_prerequisites", lambda *arguments: None)
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    return made


def stop(calls_of: str, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(config: Config, dry_run: bool) -> None:
        raise error

    monkeypatch.setattr(sys.modules[f"slams.stages.{STAGES[calls_of]}"], calls_of, fail)


@pytest.mark.parametrize(
    ("words", "stage"),
    [
        (["simulate"], "simulate"),
        (["prepare"], "prepare"),
        (["train", "vae"], "train_vae"),
        (["train", "score"], "train_score"),
        (["limit", "background.lag=1", "assimilation.cycle_days=3"], "limit"),
        (["assimilate"], "assimilate"),
        (["report"], "report"),
    ],
)
def test_each_verb_runs_its_stage(recipe: Path, calls: list, words: list[str], stage: str) -> None:
    assert main.main([*words, str(recipe), "seed=4"]) == 0
    ((name, config, dry_run),) = calls
    assert (name, config.seed, dry_run) == (stage, 4, False)


def test_overrides_stand_anywhere(recipe: Path, calls: list) -> None:
    words = ["prepare", "seed=1", str(recipe), "--dry-run", "vae.factor=2", "vae.blocks=5"]
    assert main.main(words) == 0
    ((_, config, dry_run),) = calls
    assert (config.seed, config.vae.factor, config.vae.blocks, dry_run) == (1, 2, 5, True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trian", "vae", "RECIPE"], "no verb 'trian'; did you mean 'train'?"),
        (["train", "vea", "RECIPE"], "no verb 'vea'; did you mean 'vae'?"),
        (["prepare", "RECIPE", "--dry"], "no option '--dry'; did you mean '--dry-run'?"),
        (["prepare"], "recipe"),
        (["prepare", "seed=1"], "a recipe is missing"),
        (["prepare", "RECIPE", "more"], "unexpected argument 'more'"),
        (["prepare", "seed=1", "RECIPE", "seed=2"], "overrides 'seed=1' and 'seed=2'"),
        (["prepare", "tin.yaml"], "did you mean tiny.yaml?"),
        (["prepare", "RECIPE", "data.chanels=[]"], "did you mean 'data.channels'?"),
        (["train", "vae", "RECIPE", "data.splits.train=[]"], "data.splits.train"),
        (["config", "validate", "RECIPE", "data.channels=[]"], "data.channels"),
        (["config", "print"], "a recipe is missing"),
    ],
)
def test_refusals_are_one_sentence_and_code_2(
    recipe: Path,
    calls: list,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    assert main.main([str(recipe) if w == "RECIPE" else w for w in words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("slams: ")
    assert captured.err.count("\n") == 1
    assert sentence in captured.err
    assert calls == []
    assert list(recipe.parent.iterdir()) == [recipe]  # nothing half-written


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (UserError("station 3: latitude 97"), 2, "station 3: latitude 97"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (FileNotFoundError(errno.ENOENT, "no", "x.nc"), 2, "x.nc does not exist"),
        (PermissionError(errno.EACCES, "no", "x.nc"), 2, "no permission to read or write x.nc"),
        (OSError(errno.ENOSPC, "full", "s.zarr"), 2, "no space left on the device while writing"),
    ],
)
def test_what_escapes_from_a_stage(
    recipe: Path,
    calls: list,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    sentence: str,
) -> None:
    stop("prepare", error, monkeypatch)
    assert main.main(["prepare", str(recipe)]) == code
    assert sentence in capsys.readouterr().err


def test_an_interrupt_while_an_error_is_explained(
    recipe: Path,
    calls: list,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def explain(error: BaseException, places: list[Path]) -> str:
        raise KeyboardInterrupt

    stop("prepare", UserError("station 3: latitude 97"), monkeypatch)
    monkeypatch.setattr(main, "explain_failure", explain)
    assert main.main(["prepare", str(recipe)]) == 130
    assert capsys.readouterr().err.startswith("slams: interrupted")


def test_an_interrupt_that_lightning_turned_into_an_exit(
    recipe: Path, calls: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(config: Config, dry_run: bool) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    monkeypatch.setattr(sys.modules["slams.stages.training"], "train_vae", fit)
    assert main.main(["train", "vae", str(recipe)]) == 130


@pytest.mark.parametrize(
    ("stopped", "code"), [(KeyboardInterrupt(), 130), (Stopped("SIGUSR1", signal.SIGUSR1), 75)]
)
def test_an_error_that_a_signal_caused_in_a_library(
    recipe: Path,
    calls: list,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stopped: BaseException,
    code: int,
) -> None:
    error = RuntimeError("release unlocked lock")
    error.__context__ = stopped
    stop("prepare", error, monkeypatch)
    assert main.main(["prepare", str(recipe)]) == code
    assert capsys.readouterr().err.count("\n") == 1


def test_defects_keep_their_traceback(
    recipe: Path, calls: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop("prepare", ValueError("a defect of the program"), monkeypatch)
    with pytest.raises(ValueError, match="a defect"):
        main.main(["prepare", str(recipe)])


def test_a_full_disk_behind_another_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("checkpoint")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device", "last.ckpt")
    assert "while writing last.ckpt" in explain_failure(error)
    assert "no space left" in explain_failure(RuntimeError("(sqlite) database or disk is full"))
    # A failed write has no name: the disk that is full has to be found.
    nameless = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=4096))
    assert f"device of {tmp_path / 'runs'};" in explain_failure(nameless, [tmp_path / "runs"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=2**40))
    assert "device;" in explain_failure(nameless, [tmp_path / "runs"])
    assert explain_failure(RuntimeError("other")) is None
    assert explain_failure(FileNotFoundError("no name")) is None


def test_a_refusal_out_of_a_worker_process_is_one_sentence() -> None:
    text = (
        "Caught UserError in DataLoader worker process 0.\nOriginal Traceback (most recent call "
        'last):\n  File "x.py", line 1\nslams.errors.UserError: store a.zarr: chunk 3 is damaged\n'
    )
    assert explain_failure(UserError(text)) == "store a.zarr: chunk 3 is damaged"


def test_other_ranks_say_what_they_refuse_and_nothing_else(
    recipe: Path,
    calls: list,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main.main(["config", "validate", str(recipe)]) == 0
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
    assert main.main(["prepare", "nowhere.yaml"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("slams: another rank on ")
    assert "recipe nowhere.yaml does not exist" in captured.err
    assert captured.err.count("\n") == 1


def test_a_parser_imports_no_benchmark_nor_warm_up() -> None:
    code = (
        "import sys; from slams.cli.parser import parse; parse(['prepare', 'r.yaml']);"
        "found = [n for n in sys.modules if n.startswith(('slams.benchmarks', 'slams.warmups'))];"
        "sys.exit(str(found) if found else 0)"
    )
    process = start(code=code)
    _, complaint = process.communicate()
    assert process.returncode == 0, complaint


@pytest.mark.parametrize("name", verbs.VERBS)
def test_what_a_verb_imports_is_there(name: str) -> None:
    verb = verbs.VERBS[name]
    schema, validator = verb.schema()
    assert dataclasses.is_dataclass(schema)
    assert callable(validator)
    assert verb.description.endswith(".")
    if verb.source is not verb.run:
        assert callable(verb.source())


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--help"], "assimilate"),
        (["train", "--help"], "score"),
        (["train", "vae", "--help"], "vae.modality_dropout = 0.15"),
        (["prepare", "--help"], "First and last"),
        (["assimilate", "--help"], "--dry-run"),
        (["report", "--help"], "report.dpi"),
        (["simulate", "--help"], "simulate.months = 12"),
        (["config", "print", "--help"], "--keys"),
        (["--version"], slams.__version__),
    ],
)
def test_help(words: list[str], found: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(words)
    assert caught.value.code == 0
    assert found in capsys.readouterr().out


def test_config_print(recipe: Path, calls: list, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["config", "print", str(recipe), "seed=9"]) == 0
    printed = capsys.readouterr().out
    assert "experiment: tiny\n" in printed
    assert "seed: 9\n" in printed
    assert main.main(["config", "print", str(recipe), "--keys"]) == 0
    assert "  experiment = tiny\n" in capsys.readouterr().out
    assert main.main(["config", "print", "--keys"]) == 0
    assert "  experiment = demo\n" in capsys.readouterr().out


@dataclasses.dataclass
class Toy:
    """A small pendulum."""

    # Where it hangs.
    length: float = 1.0


def _upright(toy: Toy) -> None:
    if toy.length <= 0:
        raise UserError("key 'length': a pendulum hangs")


def test_a_verb_that_measures_with_a_recipe_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []

    @kinds.benchmark_verb("bench toy", "swing", order=1000, schema=lambda: (Toy, _upright))
    def verb() -> kinds.Benchmark:
        """Swing."""
        return lambda recipe, output: made.append((recipe, output))

    monkeypatch.setitem(verbs.VERBS, "bench toy", verb)
    monkeypatch.chdir(tmp_path)
    Path("toy.yaml").write_text("length: 2\n")
    assert main.main(["bench", "toy", "length=3", "toy.yaml", "--output", "here"]) == 0
    assert main.main(["bench", "toy", "toy.yaml"]) == 0
    assert made == [(Toy(3.0), Path("here")), (Toy(2.0), Path("runs/bench-toy"))]
    for words, sentence in [
        (["toy.yaml", "lenght=1"], "did you mean 'length'?"),
        (["toy.yaml", "length=0"], "a pendulum hangs"),
        (["toy.yaml", "--outptu=x"], "did you mean '--output'?"),
        (["length=1"], "a recipe is missing"),
        (["to.yaml"], "did you mean toy.yaml?"),
    ]:
        assert main.main(["bench", "toy", *words]) == 2
        assert sentence in capsys.readouterr().err
    assert len(made) == 2
    with pytest.raises(SystemExit):
        main.main(["bench", "toy", "--help"])
    shown = capsys.readouterr().out
    assert "length = 1.0\n      Where it hangs." in shown
    assert "runs/bench-toy" in shown
    assert "\nSwing.\n" in shown


SLAMS = "import sys; from slams.cli.main import main; sys.exit(main())"


def start(*words: str, code: str = SLAMS, stdout: int = subprocess.PIPE) -> subprocess.Popen:
    path = os.pathsep.join([str(Path(slams.__file__).parents[1]), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )


def test_the_program_refuses_without_traceback(recipe: Path) -> None:
    process = start("assimilate", str(recipe), "memebrs=3")
    _, complaint = process.communicate()
    assert process.returncode == 2
    assert "Traceback" not in complaint
    assert "assimilation.members" in complaint


def test_termination_is_recorded_as_killed(recipe: Path) -> None:
    # The program as it is, with a stage that sits in its run directory until it is told to go.
    code = (
        "import sys, time, types, slams.cli.kinds\n"
        "from slams.cli.main import main\n"
        "slams.cli.kinds.check_prerequisites = lambda *arguments: None\n"
        "from slams.runs.directory import RunDirectory\n"
        "from slams.stages.places import run_request\n"
        "def stage(config, dry_run):\n"
        "    with RunDirectory.open(run_request(config, 'vae')):\n"
        "        print('working', flush=True)\n"
        "        time.sleep(60)\n"
        "training = types.SimpleNamespace(train_vae=stage)\n"
        "sys.modules['slams.stages.training'] = training\n"
        "sys.exit(main())\n"
    )
    process = start("train", "vae", str(recipe), code=code)
    try:
        assert process.stdout.readline().strip() == "working"
        process.send_signal(signal.SIGTERM)
        _, complaint = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert "terminated" in complaint
    assert '"status": "killed"' in (recipe.parent / "runs/tiny/vae/run.json").read_text()


def test_a_reader_that_goes_away_is_no_error(recipe: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = start("config", "print", str(recipe), stdout=write)
    os.close(write)
    _, complaint = process.communicate()
    assert (process.returncode, complaint) == (0, "")


def test_no_verb_shows_a_warning_of_torch_about_torch(recipe: Path) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        assert main.main(["config", "validate", str(recipe)]) == 0
        warnings.warn("`torch.jit.script` is deprecated. Please switch", FutureWarning, 1)
        warnings.warn("something else is deprecated", FutureWarning, 1)
    assert [str(warning.message) for warning in shown] == ["something else is deprecated"]
