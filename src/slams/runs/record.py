"""What `run.json` says about a run, and where the runs of a recipe lie."""

from __future__ import annotations

import json
import typing
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from slams.config.schema import Config
from slams.errors import UserError
from slams.plugins.methods import trained_stages
from slams.runs import provenance
from slams.runtime import atomic

__all__ = [
    "LAYOUT",
    "RunRecord",
    "finished_run",
    "is_finished",
    "now",
    "read_recipe",
    "stage_directory",
    "trained_directory",
    "trained_inputs",
]

# Version of the layout of a run directory; another one is refused, never guessed at.
LAYOUT = 1

_COMMANDS = {
    "vae": "train vae",
    "score": "train score",
    "score_pixel": "train score",
    "assimilation": "assimilate",
}
# Words that a command wants besides the recipe, unless the recipe has them.
_WORDS = {"score_pixel": " (score.space=pixel)"}


@dataclass(frozen=True)
class RunRecord:
    """Holds what `run.json` says.

    Attributes:
        run_id: Identity of the run, a new one whenever it starts over.
        stage: `vae`, `score`, `score_pixel` or `assimilation`.
        experiment: Name of the experiment.
        status: `running`, `finished`, `failed` or `killed`. A run that says `running` while no
            process holds its lock was killed.
        created: Start of the first attempt (ISO, UTC).
        updated: Last change of the record (ISO, UTC).
        attempts: How often it was started, resumptions included.
        inputs: Lineage: stage -> run id of each run this one is built on.
        fingerprint: Fingerprint of the training store; empty where there is none.
        versions: Versions of Python and of the packages.
        revision: Commit of the source tree; empty for an installed copy.
        process: Host and process id of the last attempt.
        mlflow_run_id: Run of the tracking server; empty without tracking.
        summary: What the stage measured: parameters, throughput, peak memory.
    """

    run_id: str
    stage: str
    experiment: str
    status: str = "running"
    created: str = ""
    updated: str = ""
    attempts: int = 1
    inputs: dict[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    revision: str = ""
    process: dict[str, Any] = field(default_factory=dict)
    mlflow_run_id: str = ""
    summary: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, directory: str | Path) -> RunRecord:
        """Reads a run directory's record.

        Raises:
            UserError: It is no run directory, the record is damaged, or of another layout.
        """
        path = Path(directory) / "run.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{directory} is not a run directory: it has no run.json") from None
        except ValueError:
            raise UserError(
                f"{path} is damaged; remove {directory} or start over with resume=overwrite"
            ) from None
        layout = values.pop("layout", None) if isinstance(values, dict) else None
        if layout != LAYOUT:
            raise UserError(
                f"{path}: found layout {layout}, expected {LAYOUT}; this run was made by another "
                f"version of slams, start over with resume=overwrite"
            )
        known = {f.name for f in fields(cls)}
        try:
            return cls(**{k: v for k, v in values.items() if k in known})
        except TypeError:
            raise UserError(f"{path} is damaged: it has no run_id, stage or experiment") from None

    def write(self, directory: Path) -> None:
        """Writes the record into a run directory, in full or not at all."""
        text = json.dumps({"layout": LAYOUT, **asdict(self)}, indent=2) + "\n"
        atomic.write_text(directory / "run.json", text)


def stage_directory(config: Config, stage: str) -> Path:
    """Gives the directory of a stage; a setting other than `default` gets one of its own.

    A setting stands beside the default, `assimilation-<setting>`, not inside it, so that
    starting one of them over never touches another.
    """
    name = stage
    if stage == "assimilation" and config.assimilation.setting != "default":
        name = f"assimilation-{config.assimilation.setting}"
    return Path(config.runs) / config.experiment / name


def read_recipe(directory: Path) -> dict[str, Any]:
    """Reads the recipe that a run directory was made with, as a plain tree.

    Raises:
        UserError: It is missing or damaged.
    """
    path = directory / "config.yaml"
    try:
        recipe = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}); start over with resume=overwrite"
        ) from None
    if not isinstance(recipe, dict):
        raise UserError(f"{path} holds no keys and values; start over with resume=overwrite")
    return typing.cast(dict[str, Any], recipe)


def trained_directory(config: Config, stage: str) -> Path:
    """Gives the directory of the trained stage that a recipe builds on.

    It lies in the experiment that `trained_in` names, or else in the recipe's own.
    """
    experiment = config.trained_in or config.experiment
    return stage_directory(replace(config, experiment=experiment), stage)


def finished_run(config: Config, stage: str) -> RunRecord:
    """Reads the record of the finished run of a stage that a recipe builds on.

    In its own experiment the recipe must describe the network as it was trained.

    Raises:
        UserError: There is none, it has not finished, or its network is another; the sentence
            says which command to run.
    """
    path = trained_directory(config, stage)
    command, words = f"slams {_COMMANDS[stage]}", _WORDS.get(stage, "")
    if not (path / "run.json").exists():
        raise UserError(
            f"{path} does not exist or is no run; run `{command}` with the recipe of experiment "
            f"{config.trained_in or config.experiment!r}{words} first"
        )
    record = RunRecord.read(path)
    if record.status != "finished":
        raise UserError(
            f"{path} is {record.status}, expected a finished run; run `{command}` again to "
            f"continue it"
        )
    if not config.trained_in:
        other = provenance.network_difference(stage, read_recipe(path), config)
        if other is not None:
            raise UserError(
                f"{path} was trained with another recipe: {other}; train it again with "
                f"resume=overwrite or choose another experiment"
            )
    return record


def trained_inputs(config: Config) -> dict[str, str]:
    """Gives the finished runs that the methods of an assimilation are built on: stage -> run id.

    Raises:
        UserError: One of them is not there, see `finished_run`.
    """
    stages = {stage for name in config.assimilation.methods for stage in trained_stages(name)}
    return {stage: finished_run(config, stage).run_id for stage in sorted(stages, reverse=True)}


def is_finished(directory: Path) -> bool:
    """Tells whether a directory holds a finished run."""
    there = (directory / "run.json").exists()
    return there and RunRecord.read(directory).status == "finished"


def now() -> str:
    """Gives the present time (ISO, UTC, seconds)."""
    return datetime.now(UTC).isoformat(timespec="seconds")
