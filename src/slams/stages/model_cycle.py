"""The cycle of a model: a loop of analyses whose state is saved after each day.

The files of a day are written one after the other, each completely or not at all: first the
analysis, then the state. After an interruption the last day of the state is known, and a day whose
analysis was written without its state is analysed again, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import torch
import xarray as xr

from data_modules.store.steps import Steps
from slams.assimilators.cycle import Cycle
from slams.calendar.days import iso_date, time_stamps
from slams.calendar.steps import steps_per_day
from slams.cf.writing import write_dataset
from slams.errors import UserError
from slams.fields import Batch, Ensemble
from slams.runtime.directories import exclusive
from slams.stages.model_days import daily_observations, of_the_day
from slams.stages.model_filter import FilteredCycle
from slams.stages.model_inputs import DailyReports, Reports, as_day, check_number
from slams.stages.model_state import Carrier, CycleSettings, SavedState, read_state, write_state

if TYPE_CHECKING:
    from slams.stages.model import Model

__all__ = ["DampedCycle", "run_cycle"]


class DampedCycle:
    """Cycle whose backgrounds are its own analyses, damped, see `Carrier`.

    Args:
        model: The model.
        cycle: The cycle, as the model's recipe has it by default.
    """

    def __init__(self, model: Model, cycle: Cycle | None = None) -> None:
        self._model = model
        self._cycle = cycle or _make_cycle(model)

    @property
    def state(self) -> SavedState:
        """Return the day that was analysed last, its members and the error of the climatology."""
        assert self._cycle.state is not None
        day, members, bias = self._cycle.state
        return SavedState(day, {"members": members} | ({} if bias is None else {"bias": bias}))

    def restore(self, state: SavedState) -> None:
        """Continue after an analysis.

        Raises:
            KeyError: It is not the state of such a cycle.
        """
        members, bias = state.tensors["members"], state.tensors.get("bias")
        self._cycle.restore(state.day, members.to(torch.float32), bias)

    def case(self, day: float, reports: list[Reports]) -> tuple[Batch, int | None]:
        """Return the case of a day, whose background is the last analysis, damped.

        Args:
            day: Days since 1970-01-01.
            reports: What was observed on it, which does not change the case.
        """
        age = None if self._cycle.state is None else 1
        return self._cycle.prepare(self._model.case(day)), age

    def keep(self, batch: Batch, ensemble: Ensemble) -> None:
        """Store the analysis of a case for the next one."""
        self._cycle.keep(batch, ensemble)


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
    first, steps = as_day(start, model.step), Steps.of(model.store_attributes)
    check_number("days", days, 1)
    model.check_settings(method, seed, members)
    learned = model.learned_filter
    days *= steps_per_day(model.step)
    if learned is None and 1 not in model.inputs.ages:
        words = "day" if model.step == 1 else "step"
        raise UserError(
            f"{model.path}: a cycle needs backgrounds that are 1 {words} old, the model has "
            f"{', '.join(map(str, model.inputs.ages))} (data.lags)"
        )
    of_day = daily_observations(
        observations, first, days, steps, model.inputs.imagery.partition("@")[0]
    )
    seed = model.config.seed if seed is None else int(seed)
    settings = CycleSettings(
        model.score_run,
        iso_date(first),
        method,
        int(members),
        seed,
        model.archive_days,
        "" if learned is None else learned.run_id,
    )
    if output is None:
        yield from _cycle(model, first, days, of_day, settings, None)
        return
    folder = Path(output)
    with _in_use(folder):
        yield from _cycle(model, first, days, of_day, settings, folder)


def _cycle(
    model: Model,
    first: float,
    days: int,
    of_day: Callable[[float], list[Reports]],
    settings: CycleSettings,
    folder: Path | None,
) -> Iterator[xr.Dataset]:
    learned = model.learned_filter
    cycle: Carrier = DampedCycle(model) if learned is None else FilteredCycle(model, learned)
    done = 0 if folder is None else read_state(cycle, folder, settings, first, model.step)
    for number in range(days):
        day = first + number * model.step
        if number < done:
            assert folder is not None
            yield _read(folder, day, model.step)
            continue
        reports = of_day(day)
        given = of_the_day(model.observe(reports, day))
        batch, age = cycle.case(day, reports)
        assimilator = model.assimilator(settings.method, age, settings.seed)
        dataset, ensemble = model.analyse_case(batch, given, assimilator, settings.members)
        cycle.keep(batch, ensemble)
        if folder is not None:
            write_dataset(dataset, _file(folder, day, model.step))
            write_state(cycle.state, folder, settings)
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
        step=model.step,
    )


def _file(folder: Path, day: float, step: float) -> Path:
    time = time_stamps(day).item()
    return folder / f"analysis_{time:%Y%m%d}{'' if step == 1 else f'T{time:%H}'}.nc"


def _read(folder: Path, day: float, step: float) -> xr.Dataset:
    path = _file(folder, day, step)
    try:
        # With bounds among the coordinates, as it was written.
        with xr.open_dataset(path, engine="netcdf4", decode_coords="all") as dataset:
            if (found := as_day(dataset["time"].values[0], step)) != day:
                raise ValueError(f"of {iso_date(found)}")
            return dataset.load()
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is not the analysis of this day ({error}); remove {folder} and start the "
            f"cycle over"
        ) from None
