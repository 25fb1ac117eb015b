"""Files of a cycle with the perfect model: members' states, the record of days, printed scores.

A day is finished when the record names it. The record is written last, after the members' states
at the end of the day and their analysis: whenever the process is killed, the states of the last
recorded day are complete, and a day that is not recorded is done again with the same result.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slams.assimilators.materials import KeptDay
from slams.config.difference import first_difference
from slams.errors import UserError
from slams.runtime.atomic import replacing, write_text
from slams.runtime.console import print_tables
from slams.runtime.files import load_tensors, read_json

__all__ = ["START", "CycleFiles", "DayScores", "print_levels", "read_day"]

# Name of the states from which the first day is forecast.
START = "start"
_FORECAST = "forecast"
_RECORD = "cycle.json"
_VERSION = 1
# Days at the beginning that do not count in the printed table: the filter has not settled.
_SETTLING = 20


@dataclass(frozen=True)
class DayScores:
    """Scores of a day by level of temperature (K2), from the truth, which the filter never sees.

    Attributes:
        forecast: Mean squared error of the mean of the members' forecasts.
        analysis: Mean squared error of the mean of their analyses.
        variance: Variance of the members' analyses.
    """

    forecast: list[float]
    analysis: list[float]
    variance: list[float]

    def __str__(self) -> str:
        if not self.forecast:  # no temperature on levels
            return "analysed"
        before, after, spread = (
            float(np.sqrt(one).mean()) for one in (self.forecast, self.analysis, self.variance)
        )
        return f"temperature rmse {before:.2f} K, analysed {after:.2f} K, spread {spread:.2f} K"


@dataclass
class CycleFiles:
    """The directory of a cycle.

    Attributes:
        directory: The directory.
        identity: What the cycle depends on, as plain values.
        scores: Scores of the finished days, by ISO date.
    """

    directory: Path
    identity: Mapping[str, Any]
    scores: dict[str, DayScores] = field(default_factory=dict)

    @classmethod
    def open(cls, directory: Path, identity: Mapping[str, Any], resume: str) -> CycleFiles:
        """Begin a cycle, or continue one of the same identity.

        Args:
            directory: The directory, which need not exist.
            identity: What the cycle depends on.
            resume: As the key `resume` of a recipe.

        Raises:
            UserError: The directory holds another cycle or something else, or may not be used.
        """
        record = directory / _RECORD
        key = "key 'assimilation.letkf_perfect_model.analyses'"
        if directory.exists() and not record.is_file() and not _is_fresh(directory):
            raise UserError(
                f"{key}: {directory} exists, is not a cycle of `slams limit` and is left "
                f"unchanged; choose another directory"
            )
        if resume == "overwrite" and record.is_file():
            for name in ("analyses", "states"):  # the record, which identifies it, goes last
                shutil.rmtree(directory / name, ignore_errors=True)
            record.unlink()
        if record.is_file():
            found = read_json(record, "set resume=overwrite to start over")
            if resume == "never":
                raise UserError(f"{key}: {directory} exists and resume=never; choose another one")
            # As JSON keeps it: tuples are lists.
            expected = {"version": _VERSION, **json.loads(json.dumps(identity))}
            other = first_difference(found.get("identity"), expected)
            if other is not None:
                raise UserError(
                    f"{key}: {directory} was begun with another recipe: {other}; choose another "
                    f"directory, or set resume=overwrite to start over"
                )
            days = {day: DayScores(**one) for day, one in found["days"].items()}
            files = cls(directory, identity, days)
        else:
            directory.mkdir(parents=True, exist_ok=True)
            files = cls(directory, identity)
            files._write_record()
        for name in ("analyses", "states"):
            (directory / name).mkdir(exist_ok=True)
        files._remove_others()
        return files

    @property
    def common(self) -> Path:
        """Return the file of the state that the members branch from."""
        return self.directory / "states" / "common.msgpack"

    def state(self, name: str, member: int) -> Path:
        """Return the file of a member's state at the end of a day, or at the start."""
        folder = self.directory / "states" / name
        folder.mkdir(exist_ok=True)
        return folder / f"{member:03d}.msgpack"

    def forecast(self, member: int) -> Path:
        """Return the file of a member's forecast state, before the update."""
        return self.state(_FORECAST, member)

    def latest(self, member: int) -> Path:
        """Return the file from which a member's next forecast starts."""
        return self.state(max(self.scores, default=START), member)

    def finish(self, day: str, analysis: KeptDay, scores: DayScores) -> None:
        """Write the analysis of a day, record the day, and remove the states that precede it.

        Args:
            day: ISO date.
            analysis: Its analysis.
            scores: Its scores.
        """
        with replacing(_analysis_path(self.directory, day)) as part:
            torch.save(vars(analysis), part)
        self.scores[day] = scores
        self._write_record()
        self._remove_others()

    def _write_record(self) -> None:
        days = {day: asdict(one) for day, one in self.scores.items()}
        record = {"identity": {"version": _VERSION, **self.identity}, "days": days}
        write_text(self.directory / _RECORD, json.dumps(record, indent=1))

    def _remove_others(self) -> None:
        """Remove states that no forecast starts from, left by days before or by a killed one."""
        kept = {max(self.scores, default=START), START, _FORECAST}
        for folder in (self.directory / "states").iterdir():
            if folder.is_dir() and folder.name not in kept:
                shutil.rmtree(folder)


def read_day(directory: Path, day: date) -> KeptDay:
    """Read the analysis of a day.

    Args:
        directory: The directory of a cycle.
        day: The day.

    Raises:
        UserError: The cycle has no analysis of that day, or it is damaged.
    """
    path = _analysis_path(directory, str(day))
    if not path.is_file():
        days = sorted(p.stem for p in path.parent.glob("*.pt"))
        found = f"those of {days[0]} to {days[-1]}" if days else "none"
        raise UserError(
            f"key 'assimilation.letkf_perfect_model.analyses': {directory}: found {found}, "
            f"expected an analysis of {day}; run `slams limit` with the same days first"
        )
    try:
        return KeptDay(**load_tensors(path))
    except Exception as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}); run `slams limit` again with "
            f"resume=overwrite"
        ) from error


def _analysis_path(directory: Path, day: str) -> Path:
    return directory / "analyses" / f"{day}.pt"


def _is_fresh(directory: Path) -> bool:
    """Return whether a directory is empty, except for a record that was being written."""
    return all(entry.name.startswith(".cycle.tmp") for entry in directory.iterdir())


def print_levels(
    scores: Mapping[str, DayScores], levels: Sequence[int | None], days: Sequence[str]
) -> None:
    """Print root mean squares over days by level; the first days do not count.

    Args:
        scores: Scores by ISO date.
        levels: Pressure (hPa) of each level.
        days: The days of the cycle that are finished, in order.
    """
    from rich.table import Table

    counted = days[_SETTLING:] or days
    if not counted or not levels:
        return
    title = f"temperature (K), {counted[0]} to {counted[-1]}, n = {len(counted)}"
    table = Table(title=title, caption="root mean squares; mean: over the levels")
    table.add_column("letkf_perfect_model")
    for heading in (*levels, "mean"):
        table.add_column(str(heading), justify="right")
    for name, label in (
        ("forecast", "rmse of the forecast"),
        ("analysis", "rmse of the analysis"),
        ("variance", "spread of the analysis"),
    ):
        values = np.sqrt(np.mean([getattr(scores[day], name) for day in counted], axis=0))
        table.add_row(label, *(f"{value:.2f}" for value in values), f"{values.mean():.3f}")
    print_tables(table)
