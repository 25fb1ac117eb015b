"""Sweeps that run: failures do not stop them, and nothing is done twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from slams.config.loading import to_yaml
from slams.config.schema import AblationConfig, Config, TrackingConfig
from slams.errors import UserError
from slams.runs.directory import RunDirectory
from slams.runs.record import RunRecord
from slams.stages.places import run_request
from slams.sweeps import ablation, expand
from slams.sweeps.status import describe, status
from tests.stages.commands import slams

SMALL = ["ablation.grid={observations.stations.count: [5, 6], assimilation.members: [2, 3]}"]
GRID = {"observations.stations.count": [5, 6, 7, 8, 9, 10], "assimilation.members": [2, 3]}


@pytest.fixture
def recipe(tmp_path: Path, tiny_config: Config) -> Path:
    tiny_config.ablation = AblationConfig(name="study", grid=GRID)
    tiny_config.tracking = TrackingConfig(enabled=False)
    tiny_config.assimilation.methods = ["climatology", "background"]
    tiny_config.assimilation.bootstrap_samples = 20
    tiny_config.trainer.accelerator = "cpu"
    path = tmp_path / "study.yaml"
    path.write_text(to_yaml(tiny_config))
    return path


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the assimilation: take a moment, and fail for settings named in `bad`."""
    made: list[str] = []

    def assimilate(config: Config, report_after: bool) -> None:
        assert not report_after
        name = config.assimilation.setting
        with RunDirectory.open(run_request(config, "assimilation")) as run:
            made.append(name)
            time.sleep(0.02)
            if name in BAD:
                raise ZeroDivisionError("first line\nthe last line")
            assert not run.finished

    monkeypatch.setattr(ablation, "assimilate", assimilate)
    monkeypatch.setattr(ablation, "check_prerequisites", lambda *arguments: None)
    yield made
    BAD.clear()


BAD: set[str] = set()


def test_one_failure_of_twelve_leaves_eleven_and_is_all_that_runs_again(
    recipe: Path, runs: list[str]
) -> None:
    sweep = expand(recipe)
    BAD.add("count_7-members_2")
    with pytest.raises(UserError) as caught:
        ablation.ablate(sweep)
    assert "1 of 12 settings" in str(caught.value)
    assert "count_7-members_2: ZeroDivisionError: the last line" in str(caught.value)
    assert len(runs) == 12
    states = Counter(status(sweep, setting) for setting in sweep.settings)
    assert states == {"finished": 11, "failed": 1}
    shown = describe(sweep, sweep.settings)
    assert "count_7-members_2 failed: ZeroDivisionError: the last line" in shown
    assert "12 settings, 11 finished, 1 failed" in shown
    details = sweep.directory / "failures" / "count_7-members_2.txt"
    assert "Traceback" in details.read_text()
    runs.clear()
    BAD.clear()
    ablation.ablate(sweep)
    assert runs == ["count_7-members_2"]
    assert not details.exists()
    assert RunRecord.read(sweep.find("count_7-members_2").directory).attempts == 2
    runs.clear()
    ablation.ablate(sweep)
    assert runs == []


def test_two_processes_on_one_sweep_run_no_setting_twice(recipe: Path, runs: list[str]) -> None:
    sweep = expand(recipe, SMALL)
    threads = [threading.Thread(target=ablation.ablate, args=(sweep,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(runs) == sorted(s.name for s in sweep.settings)


def test_one_setting_by_number_or_name(recipe: Path, runs: list[str]) -> None:
    sweep = expand(recipe, SMALL)
    ablation.ablate(sweep, "3")
    ablation.ablate(sweep, "count_5-members_2")
    assert runs == ["count_6-members_3", "count_5-members_2"]
    with ablation.claim(sweep.directory, sweep.settings[2].name):
        assert status(sweep, sweep.settings[2]) == "running"
        with pytest.raises(UserError, match="is being run by another process"):
            ablation.ablate(sweep, "2")


def test_a_changed_recipe_is_not_taken_for_finished(recipe: Path, runs: list[str]) -> None:
    ablation.ablate(expand(recipe, SMALL), "0")
    changed = expand(recipe, [*SMALL, "assimilation.bootstrap_samples=30"])
    assert status(changed, changed.settings[0]) == "to do"
    with pytest.raises(UserError, match="belongs to another recipe"):
        ablation.ablate(changed, "0")
    over = expand(recipe, [*SMALL, "resume=overwrite"])
    runs.clear()
    ablation.ablate(over, "0")
    assert runs == ["count_5-members_2"]


def test_settings_train_what_they_share_once(
    recipe: Path,
    runs: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained: list[tuple[str, str]] = []

    def train(stage: str):
        def run(config: Config) -> None:
            with RunDirectory.open(run_request(config, stage)):
                trained.append((stage, config.experiment))
            there = Path(config.runs) / config.experiment / "vae" / "run.json"
            assert there.exists()

        return run

    monkeypatch.setattr(ablation, "train_vae", train("vae"))
    monkeypatch.setattr(ablation, "train_score", train("score"))
    link = Path.symlink_to

    def link_after_another_process(path: Path, *target: object, **options: object) -> None:
        link(path, *target, **options)
        link(path, *target, **options)

    monkeypatch.setattr(Path, "symlink_to", link_after_another_process)
    words = [
        "ablation.stages=[train vae, train score, assimilate]",
        "ablation.grid={vae.latent_channels: [32, 8], score.dropout: [0.1, 0.2], "
        "assimilation.members: [2, 3]}",
    ]
    sweep = expand(recipe, words)
    threads = [threading.Thread(target=ablation.ablate, args=(sweep,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert " failed" not in capsys.readouterr().out
    assert len(runs) == 8
    assert Counter(stage for stage, _ in trained) == {"vae": 2, "score": 4}
    assert len(set(trained)) == 6


def test_a_sweep_through_the_command_line(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "ablation.grid={}",
        "ablation.list=[{observations.stations.file: nowhere.csv}, "
        "{observations.stations.count: 8}]",
        "data.test_cases=2",
        "report.case=0",
    ]
    assert slams(recipe, "ablate", "--dry-run", *words) == 0
    shown = capsys.readouterr().out
    assert "0  file_nowhere.csv  to do" in shown
    assert not (tmp_path / "runs").exists()
    assert slams(recipe, "ablate", *words) == 2
    captured = capsys.readouterr()
    assert "1 of 2 settings of sweep study failed" in captured.err
    assert "nowhere.csv: found no such file" in captured.err
    home = tmp_path / "runs" / "tiny" / "study"
    assert (home / "assimilation-count_8" / "results.parquet").exists()
    assert not (home / "assimilation-count_8" / "report").exists()
    assert slams(recipe, "ablate", "--setting", "1", *words) == 0
    assert "1  count_8  finished" in capsys.readouterr().out
    assert slams(recipe, "ablate", "--seting", "1") == 2
    assert "did you mean '--setting'" in capsys.readouterr().err
