"""The cycle of a model: a loop of analyses whose state is saved after each day.

The files of a day are written one after the other, each completely or not at all: first the
analysis, then the state. After an interruption the last day of the state is known, and a day whose
analysis was written without its state is analysed again, with the same result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import torch
import xarray as xr
from torch import Tensor

from slams.assimilators.cycle import Cycle
from slams.bundles.weights import read_weights, write_weights
from slams.calendar.days import day_of
from slams.cf.writing import write_dataset
from slams.errors import UserError
from slams.runtime.atomic import replacing
from slams.runtime.directories import exclusive
from slams.stages.model_days import daily_observations, of_the_day
from slams.stages.model_inputs import DailyReports, Reports, as_day, check_number

if TYPE_CHECKING:
    from slams.stages.model import Model

__all__ = ["run_cycle"]

_STATE = "state.safetensors"
# Tensors of the state; `bias` only where `assimilation.cycle_bias` is not zero.
_TENSORS = ("members", "bias")


@dataclass(frozen=True)
class _Settings:
    """What a cycle must be continued with.

    Attributes:
        model: Run id of the score model.
        start: First day, ISO date.
        method: Name of the method.
        members: Number of members.
        seed: The seed.
        archive_days: Days of the archive, of which bundles of one model may have fewer.
    """

    model: str
    start: str
    method: str
    members: int
    seed: int
    archive_days: int


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
    check_number("days", days, 1)
    model.check_settings(method, seed, members)
    if 1 not in model.inputs.ages:
        raise UserError(
            f"{model.path}: a cycle needs backgrounds that are 1 day old, the model has "
            f"{', '.join(map(str, model.inputs.ages))} (data.lags)"
        )
    of_day = daily_observations(observations, first, days)
    seed = model.config.seed if seed is None else int(seed)
    settings = _Settings(
        model.score_run,
        day_of(first).isoformat(),
        method,
        int(members),
        seed,
        model.archive_days,
    )
    if output is None:
        yield from _cycle(model, first, days, of_day, settings, None)
        return
    folder = Path(output)
    with _in_use(folder):
        yield from _cycle(model, first, days, of_day, settings, folder)


def _cycle(
    model: Model,
    first: int,
    days: int,
    of_day: Callable[[int], list[Reports]],
    settings: _Settings,
    folder: Path | None,
) -> Iterator[xr.Dataset]:
    cycle = _make_cycle(model)
    done = 0 if folder is None else _restore(cycle, folder, settings, first)
    for number in range(days):
        day = first + number
        if number < done:
            assert folder is not None
            yield _read(folder, day)
            continue
        batch = model.case(day)
        age = None if cycle.state is None else 1
        batch = cycle.prepare(batch)
        given = of_the_day(model.observe(of_day(day), day))
        assimilator = model.assimilator(settings.method, age, settings.seed)
        dataset, ensemble = model.analyse_case(batch, given, assimilator, settings.members)
        cycle.keep(batch, ensemble)
        if folder is not None:
            write_dataset(dataset, _file(folder, day))
            _save(cycle, folder, settings)
        yield dataset


@contextmanager
def _in_use(folder: Path) -> Iterator[None]:
    """Make a directory, and keep other cycles out of it while the block lasts."""
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive(folder / ".lock", patience=0.0))
        except filelock.Timeout:
            raise UserError(
                f"output: {folder} is in use by another cycle; wait for it, or choose another "
                f"directory"
            ) from None
        except OSError as error:  # a file is in its place, or it may not be written
            raise UserError(
                f"output: {folder} cannot be written ({error.strerror}); choose another directory"
            ) from error
        yield


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
        bias=config.assimilation.cycle_bias,
    )


def _file(folder: Path, day: int) -> Path:
    return folder / f"analysis_{day_of(day):%Y%m%d}.nc"


def _save(cycle: Cycle, folder: Path, settings: _Settings) -> None:
    assert cycle.state is not None
    day, members, bias = cycle.state
    tensors = {"members": members.cpu()}
    if bias is not None:
        tensors["bias"] = bias.cpu()
    record = {**asdict(settings), "day": day, "sha256": _digest(tensors)}
    content = {"slams": record, "state_dict": tensors}
    with replacing(folder / _STATE) as temporary:
        write_weights(content, temporary)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a checksum of a state, of its members alone where it has nothing else."""
    content = (
        tensors[name].contiguous().numpy().tobytes() for name in _TENSORS if name in tensors
    )
    return hashlib.sha256(b"".join(content)).hexdigest()


def _restore(cycle: Cycle, folder: Path, settings: _Settings, first: int) -> int:
    """Restore the state of an interrupted cycle; return the number of days that are done."""
    path = folder / _STATE
    if not path.exists():
        return 0
    try:
        saved = read_weights(path)
        found, tensors = dict(saved["slams"]), saved["state_dict"]
        members, bias = tensors["members"], tensors.get("bias")
        day = float(found.pop("day"))
        if found.pop("sha256") != _digest(tensors):
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
    cycle.restore(day, members.to(torch.float32), bias)
    return round(day) - first + 1


def _read(folder: Path, day: int) -> xr.Dataset:
    path = _file(folder, day)
    try:
        # With bounds among the coordinates, as it was written.
        with xr.open_dataset(path, engine="netcdf4", decode_coords="all") as dataset:
            if (found := as_day(dataset["time"].values[0])) != day:
                raise ValueError(f"of {day_of(found)}")
            return dataset.load()
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is not the analysis of this day ({error}); remove {folder} and start the "
            f"cycle over"
        ) from None
