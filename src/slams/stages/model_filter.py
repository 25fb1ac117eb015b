"""A cycle of a model whose backgrounds are the forecasts of its learned filter.

The method analyses each day from the filter's forecast of it; the analysis is not fed back. The
filter makes its own estimate of the day from the same observations, after the gross-error check
against the climatology and the averaging in cells that `slams filter` makes, and forecasts the
next day: it meets the observations as it did when it wrote the archive of backgrounds, from which
the error variance and the methods' covariances are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from data_modules.given.state import GivenState
from slams.assimilators.cycle import accepted
from slams.calendar.days import day_of
from slams.errors import UserError
from slams.fields import Batch, Ensemble, Observations, Window
from slams.nn.recurrent import Memory
from slams.observations.gridded import observed_channels
from slams.stages.bundle_filter import OpenFilter
from slams.stages.model_days import observe_day
from slams.stages.model_inputs import Reports
from slams.stages.model_state import SavedState

if TYPE_CHECKING:
    from slams.stages.model import Model

__all__ = ["FilteredCycle"]


class FilteredCycle:
    """Cycle of a learned filter beside the analyses of a model, see `Carrier`.

    Args:
        model: The model.
        opened: Its filter.
    """

    def __init__(self, model: Model, opened: OpenFilter) -> None:
        self._model, self._opened = model, opened
        self._module = opened.module.to(model.device)
        self._memory = self._module.network.start(1)
        self._day: int | None = None
        self._observed: tuple[Observations, ...] = ()

    @property
    def state(self) -> SavedState:
        """Return the day that was analysed last, and the filter's memory after it."""
        assert self._day is not None
        memory = self._memory
        tensors = {"forecast": memory.forecast, "hidden": memory.hidden, "age": memory.age}
        return SavedState(float(self._day), tensors)

    def restore(self, state: SavedState) -> None:
        """Continue after a day, with the memory that it has left.

        Raises:
            KeyError, ValueError: It is not the state of a cycle of this filter.
        """
        expected, found = self._memory, state.tensors
        memory = Memory(found["forecast"], found["hidden"], found["age"])
        for name in ("forecast", "hidden", "age"):
            one, other = getattr(memory, name), getattr(expected, name)
            if one.shape != other.shape or one.dtype != other.dtype:
                raise ValueError(f"its {name} is not that of this filter")
        self._memory, self._day = memory.to(self._model.device), round(state.day)

    def case(self, day: int, reports: list[Reports]) -> tuple[Batch, int | None]:
        """Return the case of a day, whose background is the filter's forecast.

        The background of the first day is the climatology, with its variance.

        Args:
            day: Days since 1970-01-01.
            reports: What was observed on it, which the filter is given after the analysis.

        Raises:
            UserError: They cannot be read, or the filter does not know a channel that the model
                analyses and they observe.
        """
        self._observed = self._observe(reports, day)
        if self._day is None:
            return self._model.case(day), None
        return self._model.case(day, GivenState(self._forecast(day), float(day), ()), 0), 0

    @torch.no_grad()
    def keep(self, batch: Batch, ensemble: Ensemble) -> None:
        """Let the filter forecast the next day from its own forecast and the observations.

        Args:
            batch: The case of the model.
            ensemble: Its analysis, which the filter does not use.
        """
        data, device = self._opened.data, self._model.device
        shape = (1, 1, len(data.channels), *data.grid.shape)
        window = Window(
            fields=torch.full(shape, torch.nan, device=device), time=batch.time, case=batch.case
        )
        own = data.assemble(window, observe=False)
        found = tuple(one.to(device) for one in self._observed)
        limit = self._opened.config.observations.gross_error
        own = accepted(replace(own, observations=found), data.normaliser, limit, data.superobs)
        _, memory = self._module.step(self._memory, own, 0)
        # In the order of memory of a state that was read: convolutions round by it.
        self._memory = Memory(*(_plain(x) for x in (memory.forecast, memory.hidden, memory.age)))
        self._day = round(float(batch.time[0, 0]))

    def _forecast(self, day: int) -> np.ndarray:
        """Return the filter's forecast of a day, `(C, H, W)` physical, channels of the model."""
        data, device = self._opened.data, self._model.device
        normaliser = data.normaliser.to(device)
        time = torch.tensor([[float(day)]], dtype=torch.float64, device=device)
        climatology = normaliser.climatology(time)
        forecast = self._memory.forecast[:, None]
        state = normaliser.to_physical(normaliser.denormalise(forecast, climatology))[0, 0]
        names = [spec.name for spec in data.channels]
        index = [names.index(spec.name) for spec in self._model.inputs.channels]
        return state[index].cpu().numpy()

    def _observe(self, reports: list[Reports], day: int) -> tuple[Observations, ...]:
        """Return the observations of a day on the channels of the filter."""
        data = self._opened.data
        given = observe_day(data, self._opened.config.observations, reports, day)
        shape = (len(data.channels), *data.grid.shape)
        analysed = {spec.name for spec in self._model.inputs.channels}
        for one in given.observations:
            reached = {data.channels[i].name for i in observed_channels([one.operator], shape)}
            strange = reached - set(self._opened.observed)
            if strange & analysed:
                raise UserError(
                    f"observations of {day_of(day)}: found {one.name}, but the learned filter of "
                    f"{self._model.path} was trained with observations of "
                    f"{', '.join(self._opened.observed)} alone; leave the others out"
                )
        # What no one observed in training does not enter the network.
        return tuple(given.observations)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.contiguous_format)
