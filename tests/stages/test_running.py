"""The context of a stage: work once, in its directory, tracked; nothing where it has finished."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from slams.config.schema import Config, TrackingConfig
from slams.errors import UserError
from slams.runs.directory import RunDirectory
from slams.runs.record import RunRecord
from slams.stages import running
from slams.stages.places import finished_assimilations, run_request, stage_of
from slams.stages.running import run_stage
from slams.tracking.runs import Tracker


@pytest.fixture
def config(tmp_path: Path) -> Config:
    off = TrackingConfig(enabled=False)
    return Config(experiment="tiny", runs=str(tmp_path / "runs"), tracking=off)


def test_a_stage_works_once_and_is_kept(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def work(run: RunDirectory, tracker: Tracker) -> None:
        seen.append(RunRecord.read(run.path).status)

    request = run_request(config, "score", {"vae": "abc"}, "f00")
    path = run_stage(config, request, work)
    assert path == Path(config.runs) / "tiny" / "score"
    record = RunRecord.read(path)
    assert (record.status, record.inputs, record.fingerprint) == (
        "finished",
        {"vae": "abc"},
        "f00",
    )
    assert run_stage(config, request, work) == path
    assert "finished already" in capsys.readouterr().out
    assert seen == ["running"]
    assert run_stage(config, replace(request, resume="overwrite"), work) == path
    assert seen == ["running", "running"]
    assert RunRecord.read(path).run_id != record.run_id


def test_a_stage_that_fails_is_recorded_and_not_kept_for_finished(config: Config) -> None:
    def fail(run: RunDirectory, tracker: Tracker) -> None:
        raise ZeroDivisionError

    request = run_request(config, "vae")
    with pytest.raises(ZeroDivisionError):
        run_stage(config, request, fail)
    assert RunRecord.read(request.path).status == "failed"
    other = run_request(replace(config, seed=1), "vae")
    with pytest.raises(UserError, match="key 'seed', found 0, expected 1"):
        run_stage(config, other, lambda run, tracker: None)


@pytest.mark.parametrize(
    ("stage", "tags"), [("vae", {}), ("score", {}), ("assimilation", {"setting": "few"})]
)
def test_only_an_assimilation_is_tagged_with_its_setting(
    config: Config, monkeypatch: pytest.MonkeyPatch, stage: str, tags: dict[str, str]
) -> None:
    config = replace(config, assimilation=replace(config.assimilation, setting="few"))
    started: list[dict[str, str]] = []

    def start(store: object, run: RunDirectory, tags: dict[str, str]) -> Tracker:
        started.append(tags)
        return Tracker()

    monkeypatch.setattr(running.runs, "start", start)
    run_stage(config, run_request(config, stage), lambda run, tracker: None)
    assert started == [tags]


@pytest.mark.parametrize(
    ("verb", "space", "stage"),
    [
        ("train vae", "latent", "vae"),
        ("train score", "latent", "score"),
        ("train score", "pixel", "score_pixel"),
        ("assimilate", "pixel", "assimilation"),
        ("prepare", "latent", ""),
    ],
)
def test_the_stage_of_a_verb(config: Config, verb: str, space: str, stage: str) -> None:
    config = replace(config, score=replace(config.score, space=space))
    assert stage_of(config, verb) == stage


def test_finished_assimilations_come_with_the_default_setting_first(config: Config) -> None:
    with pytest.raises(UserError, match=r"tiny/assimilation: expected a finished assimilation"):
        finished_assimilations(config)
    settings = ("b", "default", "a", "failed")
    for name in settings:
        one = replace(config, assimilation=replace(config.assimilation, setting=name))
        run = RunDirectory.open(run_request(one, "assimilation"))
        run.close("failed" if name == "failed" else "finished")
    names = [path.name for path in finished_assimilations(config)]
    assert names == ["assimilation", "assimilation-a", "assimilation-b"]


def test_checking_a_command_imports_nothing_heavy() -> None:
    code = (
        "import sys, slams.stages.places, slams.stages.preflight, slams.stages.running\n"
        "heavy = {'torch', 'lightning', 'mlflow', 'zarr', 'xarray'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
