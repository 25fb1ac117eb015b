"""The evaluation of cycled methods, each of which has its own background every day.

The days of a cycle are processed in order, in one process. After the first background, only the
observations contain information about the truth; where the first background is the climatology,
nothing else ever does. Several cycles, each with a memory of its own, are independent of one
another: ranks share them as wholes, and intervals draw them as wholes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor

from slams.assimilators.base import Assimilator
from slams.assimilators.cycle import CycleState
from slams.calendar.days import day_of
from slams.config.schema import AssimilationConfig
from slams.fields import Batch, Ensemble, FieldSpec
from slams.grid import LatLonGrid
from slams.metrics.drift import drift
from slams.modules.evaluator import AssimilationEvaluator
from slams.normalisation import Normaliser

__all__ = ["CycleMemory", "CyclingEvaluator"]


class CycleMemory(Protocol):
    """Memory of one method from day to day, see `slams.assimilators.cycle.Cycle`."""

    def reset(self) -> None:
        """Start anew with the next case."""
        ...

    @property
    def state(self) -> CycleState | None:
        """Return what the next background is made of, if any."""
        ...

    def restore(self, day: float, members: Tensor, bias: Tensor | None = None) -> None:
        """Continue after an analysis, as returned by `state`."""
        ...

    def prepare(self, batch: Batch) -> Batch:
        """Give a case the background that follows from the last analysis."""
        ...

    def keep(self, batch: Batch, ensemble: Ensemble) -> None:
        """Store the analysis of a case for the next one."""
        ...


class CyclingEvaluator(AssimilationEvaluator):
    """Evaluation of methods that start each day from their own analysis of the day before.

    The stored state `background` is that of the last method.

    Args:
        assimilators: The methods, fitted.
        config: The recipe's `assimilation`.
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid.
        channels: The channels.
        seed: The experiment's seed.
        cycle: Function that makes the memory of a method.
        starts: First day of each cycle, days since 1970-01-01, in order.
        analysed: Names of the channels that are scored and written; all of them by default.
        errors: Past errors of backgrounds, see `AssimilationEvaluator`.
    """

    def __init__(
        self,
        assimilators: Sequence[Assimilator],
        config: AssimilationConfig,
        normaliser: Normaliser,
        grid: LatLonGrid,
        channels: Sequence[FieldSpec],
        seed: int,
        cycle: Callable[[Assimilator], CycleMemory],
        starts: Sequence[float],
        analysed: Sequence[str] = (),
        errors: Tensor | None = None,
    ) -> None:
        super().__init__(assimilators, config, normaliser, grid, channels, seed, analysed, errors)
        self.starts = tuple(starts)
        self._cycles = {a.name: cycle(a) for a in self.assimilators}

    def setup(self, stage: str) -> None:
        """Discard the results of an earlier evaluation."""
        super().setup(stage)
        for cycle in self._cycles.values():
            cycle.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Analyse and score the cases of a batch in order, method by method.

        Days of the spin-up are analysed, but not scored.
        """
        if batch_idx < self.done:  # evaluated by an earlier attempt of this run
            return
        methods = self.assimilators
        try:
            for position in range(len(batch)):
                case = batch.select(slice(position, position + 1))
                number = self._day_of_cycle(case)
                for method in methods:
                    self.assimilators = [method]
                    cycle = self._cycles[method.name]
                    if number == 0:
                        cycle.reset()
                    prepared = cycle.prepare(case)
                    if number < self.config.cycle_spinup:
                        self.at_work = method.name
                        self._analyse(method, replace(prepared, held_out=()))
                    else:
                        self._evaluate(prepared)
        finally:
            self.assimilators = methods
        self.done = batch_idx + 1

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables of the evaluation, and `drift`."""
        tables = super().tables()
        if not tables:
            return tables
        starts = [day_of(start).isoformat() for start in self.starts]
        return {**tables, "drift": drift(tables["cases"], starts)}

    def progress(self) -> dict[str, Any]:
        """Return all results of this rank so far, and the memory of each method."""
        return {**super().progress(), "cycles": {n: c.state for n, c in self._cycles.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue after an earlier attempt; see `AssimilationEvaluator.restore`."""
        super().restore(state)
        for name, kept in state["cycles"].items():
            if kept is not None:
                self._cycles[name].restore(*kept)

    @torch.no_grad()
    def _analyse(self, assimilator: Assimilator, batch: Batch) -> Ensemble:
        ensemble = super()._analyse(assimilator, batch)
        self._cycles[assimilator.name].keep(batch, ensemble)
        return ensemble

    def _day_of_cycle(self, case: Batch) -> float:
        """Return the days from the beginning of a case's cycle to the case, from 0 on."""
        day = float(case.time[0, 0])
        return day - max(start for start in self.starts if start <= day)
