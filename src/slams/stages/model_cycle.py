"""The cycle of a model: a loop of analyses whose state is saved after each day.

The files of a day are written one after the other, each completely or not at all: first the
analysis, then the state. After an interruption the last day of the state is known, and a day whose
analysis was written without its state is analysed again, with the same result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from slams.assimilators.cycle import Cycle
from slams.bundles.weights import read_weights, write_weights
from slams.calendar.days import day_of
from slams.cf.writing import write_dataset
from slams.errors import UserError
from slams.runtime.atomic import replacing
from slams.stages.model_inputs import DailyReports, Reports, as_day

if TYPE_CHECKING:
    from slams.stages.model import Model

__all__ = ["run_cycle"]

_STATE = "state.safetensors"


@dataclass(frozen=True)
class _Settings:
    """What a cycle must be continued with.

    Attributes:
        model: Run id of the score model.
        start: First day, ISO date.
        method: Name of the method.
        members: Number of members.
        seed: The seed.
    """

    model: str
    start: str
    method: str
    members: int
    seed: int


def run_cycle(
    model: Model,
    start: Any,
    observations: DailyReports,
    days: int,
    members: int,
    seed: int | None,
    method: str,
    output: str | Path | None,
) -> Iterator[xr.Dataset]:
    """Analyse consecutive days; arguments as of `Model.cycle`."""
    first = as_day(start)
    if days < 1:
        raise UserError(f"days: found {days}, expected at least 1")
    if 1 not in model.inputs.ages:
        raise UserError(
            f"{model.path}: a cycle needs backgrounds that are 1 day old, the model has "
            f"{', '.join(map(str, model.inputs.ages))} (data.lags)"
        )
    seed = model.config.seed if seed is None else seed
    settings = _Settings(model.score_run, day_of(first).isoformat(), method, members, seed)
    folder = None if output is None else Path(output)
    cycle, done = _make_cycle(model), 0
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        done = _restore(cycle, folder, settings, first)
    for number in range(days):
        day = first + number
        if number < done:
            assert folder is not None
            yield _read(folder, day)
            continue
        batch = model.case(day)
        age = None if cycle.state is None else 1
        batch = cycle.prepare(batch)
        given = model.observe(_of_day(observations, day), day)
        assimilator = model.assimilator(method, age, seed)
        dataset, ensemble = model.analyse_case(batch, given, assimilator, members)
        cycle.keep(batch, ensemble)
        if folder is not None:
            write_dataset(dataset, _file(folder, day))
            _save(cycle, folder, settings)
        yield dataset


def _make_cycle(model: Model) -> Cycle:
    data, config = model.aged(1), model.config
    coefficient, variance = data.provider.persistence
    return Cycle(
        data.normaliser,
        coefficient[0],
        variance[0],
        config.assimilation.cycle_inflation,
        # Networks that were trained with previous true states take states, not means.
        members=config.background.analysis_error == 0,
    )


def _of_day(observations: DailyReports, day: int) -> list[Reports]:
    """Return the tables and images of a day; those without a time belong to every day."""
    when = day_of(day)
    if callable(observations):
        found = observations(when)
        return [found] if isinstance(found, Reports) else list(found)
    several = [observations] if isinstance(observations, Reports) else observations
    parts = [_part(one, when) for one in several]
    return [one for one in parts if one is not None]


def _part(given: Reports, when: date) -> Reports | None:
    if isinstance(given, pd.DataFrame):
        if "time" not in given:
            return given  # refused with a sentence where it is read
        time = pd.to_datetime(given["time"], utc=True, errors="coerce", format="ISO8601")
        # A sum belongs to the day that contains the middle of its period.
        hours = pd.to_numeric(given.get("hours", 0.0), errors="coerce")
        middle = time - pd.to_timedelta(hours, unit="h") / 2
        part = given[(middle.dt.date == when) | time.isna()]
        return part if len(part) else None
    if "time" not in given.dims:
        return given
    inside = pd.DatetimeIndex(given["time"].values).date == when
    return given.isel(time=np.flatnonzero(inside)) if inside.any() else None


def _file(folder: Path, day: int) -> Path:
    return folder / f"analysis_{day_of(day):%Y%m%d}.nc"


def _save(cycle: Cycle, folder: Path, settings: _Settings) -> None:
    assert cycle.state is not None
    day, members = cycle.state
    members = members.cpu()
    record = {**asdict(settings), "day": day, "sha256": _digest(members)}
    content = {"slams": record, "state_dict": {"members": members}}
    with replacing(folder / _STATE) as temporary:
        write_weights(content, temporary)


def _digest(members: Tensor) -> str:
    return hashlib.sha256(members.contiguous().numpy().tobytes()).hexdigest()


def _restore(cycle: Cycle, folder: Path, settings: _Settings, first: int) -> int:
    """Restore the state of an interrupted cycle; return the number of days that are done."""
    path = folder / _STATE
    if not path.exists():
        return 0
    try:
        saved = read_weights(path)
        found, members = dict(saved["slams"]), saved["state_dict"]["members"]
        day = float(found.pop("day"))
        if found.pop("sha256") != _digest(members):
            raise ValueError("its checksum does not match")
    except Exception as error:  # a different type for each kind of damage
        raise UserError(
            f"{path} is damaged ({type(error).__name__}); remove {folder} and start the cycle over"
        ) from error
    for name, expected in asdict(settings).items():
        if found.get(name) != expected:
            raise UserError(
                f"output: {folder} holds a cycle with {name} {found.get(name)}, expected "
                f"{expected}; choose another directory, or remove it"
            )
    cycle.restore(day, members.to(torch.float32))
    return round(day) - first + 1


def _read(folder: Path, day: int) -> xr.Dataset:
    path = _file(folder, day)
    try:
        with xr.open_dataset(path, engine="netcdf4") as dataset:
            return dataset.load()
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}); remove {folder} and start the cycle "
            f"over"
        ) from None
