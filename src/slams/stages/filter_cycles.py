"""The cycles of a learned filter through the days of a store, and the forecasts that they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from data_modules.multimodal import MultimodalDataModule
from data_modules.stream.windows import WindowDataset
from slams.config.schema import FilterConfig
from slams.fields import Batch
from slams.modules.learned_filter import LearnedFilter
from slams.nn.recurrent import Memory

__all__ = ["cycle_forecasts", "cycles_of", "split_cycles"]


def split_cycles(datamodule: MultimodalDataModule, final: bool) -> dict[str, list[np.ndarray]]:
    """Return the positions in the store of the days of each cycle, by split, in order of time.

    A cycle is a piece of a split, or of one that a missing day divides.

    Args:
        datamodule: The DataModule of the store, with windows of one day.
        final: Whether test days are included although some are reserved.
    """
    cycles: dict[str, list[np.ndarray]] = {}
    time = datamodule.store.time
    for name, period in datamodule.periods.items():
        if name == "reserved" or (name == "test" and datamodule.reserved and not final):
            continue
        piece = period.pieces_of(time)
        cycles[name] = []
        for number in range(len(period.pieces)):
            days = np.flatnonzero(piece == number)
            cycles[name] += np.split(days, np.flatnonzero(np.diff(time[days]) != 1) + 1)
    return cycles


def cycles_of(datamodule: MultimodalDataModule, final: bool) -> list[np.ndarray]:
    """Return the cycles of all splits, see `split_cycles`, the longest cycle first."""
    cycles = [c for pieces in split_cycles(datamodule, final).values() for c in pieces]
    return sorted(cycles, key=len, reverse=True)


@torch.no_grad()
def cycle_forecasts(
    config: FilterConfig,
    datamodule: MultimodalDataModule,
    module: LearnedFilter,
    cycles: Sequence[np.ndarray],
) -> Iterator[tuple[int, np.ndarray, Tensor]]:
    """Yield lag, positions of days `(n,)` and their forecasts, cycle beside cycle.

    A forecast of day `t` has the observations of days up to `t - lag`; lag 0 is the filter's own
    analysis.

    Args:
        config: The recipe's `filter`.
        datamodule: The DataModule of the store, with windows of one day.
        module: The filter.
        cycles: Positions of the days of each cycle, the longest cycle first.

    Returns:
        Forecasts `(n, C, H, W)`, normalised.
    """
    lags = config.lags
    dataset = WindowDataset(datamodule.store, np.concatenate(cycles), 1)
    offsets = np.cumsum([0, *map(len, cycles[:-1])])

    def read(step: int) -> Batch:
        # Cycles are sorted by length: those that go on come first.
        going_on = sum(step < len(cycle) for cycle in cycles)
        window = dataset.read((offsets[:going_on] + step).tolist())
        return datamodule.assemble(window.to(module.device))

    def ahead(memory: Memory, time: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield 1, 2, ... and the forecasts of the days so many days after `time`."""
        for lag in range(1, max(lags) + 1):
            if lag > 1:
                memory = module.without_observations(memory, time + lag - 1)
            yield lag, memory.forecast

    def found(lag: int, step: int, states: Tensor) -> Iterator[tuple[int, np.ndarray, Tensor]]:
        days = np.array([cycle[step] for cycle in cycles if step < len(cycle)], dtype=np.int64)
        if lag in lags and len(days):
            yield lag, days, states[: len(days)]

    first = read(0)
    truth = first.fields[:, 0] if config.start == "truth" else None
    memory = module.network.start(len(cycles), truth)
    # The first days have no observations before them: longer lags have the start's forecasts too.
    for step, forecast in ahead(memory, first.time[:, 0] - 1):
        for lag in range(step, max(lags) + 1):
            yield from found(lag, step - 1, forecast)
    for step in range(len(cycles[0])):
        batch = read(step)
        analysis, memory = module.step(memory.first(len(batch)), batch, 0)
        yield from found(0, step, analysis)
        for lag, forecast in ahead(memory, batch.time[:, 0]):
            yield from found(lag, step + lag, forecast)
