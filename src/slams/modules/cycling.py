"""The evaluation of cycled methods, each of which has its own background every day.

The days are processed in order, in one process. After the first background, only the observations
contain information about the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import torch

from slams.assimilators.base import Assimilator
from slams.assimilators.cycle import Cycle
from slams.config.schema import AssimilationConfig
from slams.fields import Batch, Ensemble, FieldSpec
from slams.grid import LatLonGrid
from slams.metrics.drift import drift
from slams.modules.evaluator import AssimilationEvaluator
from slams.normalisation import Normaliser

__all__ = ["CyclingEvaluator"]


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
        cycle: Function that builds the cycle of a method.
        analysed: Names of the channels that are scored and written; all of them by default.
    """

    def __init__(
        self,
        assimilators: Sequence[Assimilator],
        config: AssimilationConfig,
        normaliser: Normaliser,
        grid: LatLonGrid,
        channels: Sequence[FieldSpec],
        seed: int,
        cycle: Callable[[], Cycle],
        analysed: Sequence[str] = (),
    ) -> None:
        super().__init__(
            assimilators, config, normaliser, grid, channels, seed=seed, analysed=analysed
        )
        self._cycles = {a.name: cycle() for a in self.assimilators}

    def setup(self, stage: str) -> None:
        """Discard the results of an earlier evaluation."""
        super().setup(stage)
        for cycle in self._cycles.values():
            cycle.reset()

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Analyse and score the cases of a batch in order, method by method."""
        methods = self.assimilators
        try:
            for position in range(len(batch)):
                case = batch.select(slice(position, position + 1))
                for method in methods:
                    self.assimilators = [method]
                    self._evaluate(self._cycles[method.name].prepare(case))
        finally:
            self.assimilators = methods

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables of the evaluation, and `drift`."""
        tables = super().tables()
        return {**tables, "drift": drift(tables["cases"])} if tables else tables

    @torch.no_grad()
    def _analyse(self, assimilator: Assimilator, batch: Batch) -> Ensemble:
        ensemble = super()._analyse(assimilator, batch)
        self._cycles[assimilator.name].keep(batch, ensemble)
        return ensemble
