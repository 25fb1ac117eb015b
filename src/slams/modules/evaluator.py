"""The comparison of assimilation methods, exact for any number of processes.

Every method is given the same background, `H`, `R` and observed values. The cases are divided over
the ranks; with fewer cases than ranks (`share_members`) every rank is given every case, and for
methods whose cost is proportional to the members, the members are divided
(`slams.modules.shares`). The results (`slams.modules.results`) depend neither on the batch size
nor on the number of ranks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from slams.assimilators.base import Assimilator
from slams.config.schema import AssimilationConfig
from slams.errors import UserError
from slams.fields import Batch, Ensemble, FieldSpec
from slams.grid import LatLonGrid
from slams.metrics.marginals import Marginals
from slams.metrics.observation_space import ObservationSpace
from slams.modules.results import Results
from slams.modules.shares import Share
from slams.normalisation import Normaliser
from slams.runtime.files import write_table

__all__ = ["AssimilationEvaluator"]


class AssimilationEvaluator(LightningModule):
    """Evaluation that runs every assimilator on every test batch and scores the ensembles.

    After `trainer.test`, `tables()` returns the results and `write(run_dir)` writes them, both on
    rank zero only.

    Args:
        assimilators: The methods, fitted; those that are modules move to the device together with
            this module.
        config: The recipe's `assimilation`.
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid, whose cell areas are the weights of every mean.
        channels: The `C` channels.
        seed: The experiment's seed, for rank ties and the bootstrap.
        analysed: Names of the channels that are scored and written; all of them by default.
        errors: `(N, T, C, H, W)` past errors of backgrounds, see `ObservationSpace`.

    Attributes:
        share_members: Whether every rank is given every case, in the same batches.
        keep_in: Directory for the ensembles of all cases, where `keep_cases` is -1 and memory
            may not hold them; `None` for memory.
        done: Number of batches that this rank has evaluated.
        at_work: Name of the method that is running; empty before the first.
        results: The results of this rank, from `setup` on.
        starts: First day of each cycle, days since 1970-01-01; empty where nothing is cycled.
    """

    results: Results
    starts: Sequence[float] = ()

    def __init__(
        self,
        assimilators: Sequence[Assimilator],
        config: AssimilationConfig,
        normaliser: Normaliser,
        grid: LatLonGrid,
        channels: Sequence[FieldSpec],
        seed: int = 0,
        analysed: Sequence[str] = (),
        errors: Tensor | None = None,
    ) -> None:
        super().__init__()
        # With fewer cases than ranks, some ranks have none.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.assimilators = list(assimilators)
        self.networks = nn.ModuleList(a for a in self.assimilators if isinstance(a, nn.Module))
        self.config = config
        self.normaliser = normaliser
        self.grid = grid
        self.channels = tuple(channels)
        # Indices of the scored channels; methods receive and return all channels.
        self._scored = [
            i for i, c in enumerate(self.channels) if not analysed or c.name in analysed
        ]
        self.scored_channels = tuple(self.channels[i] for i in self._scored)
        self.seed = seed
        self.share_members = False
        self.keep_in: Path | None = None
        self._share = Share()
        self._seen = self.done = 0
        self.at_work = ""
        self._observed = ObservationSpace(normaliser, seed, errors)
        self._tables: dict[str, pd.DataFrame] | None = None

    def setup(self, stage: str) -> None:
        """Discard earlier results (on a rank without cases no later hook is called)."""
        if stage != "test":
            return
        several = self.share_members and self.trainer.world_size > 1
        ranks = (self.trainer.global_rank, self.trainer.world_size) if several else ()
        self._share = Share(*ranks)
        self._seen = self.done = 0
        self.results = Results(
            [a.name for a in self.assimilators],
            self.scored_channels,
            self.grid,
            Marginals.of(self.normaliser, self.grid.weights).select(self._scored),
            self.config.members,
            self.config.keep_cases,
            self.seed,
            self.keep_in if self.config.keep_cases < 0 else None,
        )
        self._tables = None

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Analyse and score one batch with every method.

        Raises:
            UserError: An ensemble has the wrong shape, or values that are not finite.
        """
        if batch_idx < self.done:  # evaluated by an earlier attempt of this run
            return
        if self._share.world == 1:
            self._evaluate(batch)
            self.done = batch_idx + 1
            return
        for position in range(len(batch)):
            mine = self._seen % self._share.world == self._share.rank
            self._seen += 1
            self._evaluate(batch.select(slice(position, position + 1)), mine)

    def _evaluate(self, batch: Batch, mine: bool = True) -> None:
        """Analyse a batch; score it only if it is `mine`, not if it belongs to another rank."""
        truth = self._take(self._physical(batch.fields, batch))
        # Held-out observations are never passed to a method.
        given, scored = replace(batch, held_out=()), replace(batch, mask=self._take(batch.mask))
        for assimilator in self.assimilators:
            if not mine and not self._together(assimilator):
                continue
            self.at_work = assimilator.name
            whole = self._analyse(assimilator, given)
            if mine:
                state = self.normaliser.to_channel_units(whole.members)
                ensemble = replace(
                    whole,
                    method=assimilator.name,
                    members=self._take(whole.members),
                    channels=self.scored_channels,
                )
                observed = self._observed(batch, state, whole.centred)
                self.results.add(ensemble, truth, scored, observed)
        if not mine:
            return
        self.results.keep_state("truth", truth.masked_fill(~scored.mask, torch.nan), batch)
        if batch.background is not None:
            background = self._take(self._physical(batch.background.mean, batch))
            self.results.keep_state("background", background, batch)

    def progress(self) -> dict[str, Any]:
        """Return all results of this rank so far, as tensors in plain containers."""
        return {"done": self.done, **self.results.progress()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue after the results of an earlier attempt, as returned by `progress`.

        Raises:
            ValueError: They are of different methods, channels or members.
        """
        self.results.restore(state)
        self.results.to(self.device)
        self.done = state["done"]

    def teardown(self, stage: str) -> None:
        """Collect the results of all ranks.

        This is the first hook after a test that Lightning calls on every rank: a rank without
        cases skips the whole loop and its hooks. It is not called after an exception.
        """
        if stage == "test":
            # Lightning has already moved the module to the CPU, but NCCL needs GPU tensors.
            self.results.to(self.trainer.strategy.root_device)
            config = self.config
            self._tables = self.results.collect(
                config.setting, config.bootstrap_block, config.bootstrap_samples, self.starts
            )

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables of `slams.metrics.tables` by name; empty on other ranks than zero.

        For windows of several days this includes `days`.
        """
        return dict(self._tables or {})

    def write(
        self,
        run_dir: str | Path,
        day_methods: Mapping[str, str] = {},
        step: float = 1.0,
    ) -> None:
        """Write the tables as Parquet files and `analysis.zarr`, on rank zero only.

        Args:
            run_dir: Existing directory of the run.
            day_methods: How values represent their day, by variable (`slams.cf.day_methods`).
            step: Length of a step (days).
        """
        if self._tables is None:
            return
        for name, table in self.tables().items():
            write_table(table, Path(run_dir) / f"{name}.parquet")
        if self.config.keep_cases:
            self.results.kept.write(
                Path(run_dir) / "analysis.zarr",
                {"setting": self.config.setting},
                day_methods,
                step,
            )

    def _analyse(self, assimilator: Assimilator, batch: Batch) -> Ensemble:
        started = time.perf_counter()
        if self._share.world > 1 and getattr(assimilator, "shares_members", False):
            ensemble = self._share.analyse(
                assimilator, batch, self.config.members, self.channels, self.grid
            )
        else:
            if self._together(assimilator):
                self._share.solve_together(assimilator, self.config.members)
            ensemble = assimilator.analyse(batch, self.config.members)
        if batch.fields.is_cuda:
            torch.cuda.synchronize(batch.fields.device)
        seconds = ensemble.seconds or time.perf_counter() - started
        expected = (len(batch), self.config.members, *batch.fields.shape[1:])
        if tuple(ensemble.members.shape) != expected:
            raise UserError(
                f"method {assimilator.name} returned an ensemble of shape "
                f"{tuple(ensemble.members.shape)}, expected {expected}: cases, members, days, "
                "channels, latitudes, longitudes"
            )
        members = ensemble.members.to(batch.fields.device)
        return replace(ensemble, members=members, seconds=seconds)

    def _together(self, assimilator: Assimilator) -> bool:
        """Return whether all ranks compute an analysis together, its members or its domains."""
        several = self._share.world > 1
        parts = ("shares_members", "shares_domains")
        return several and any(getattr(assimilator, part, False) for part in parts)

    def _take(self, values: Tensor) -> Tensor:
        """Select the scored channels of `(..., C, H, W)`, without a copy if all are scored."""
        if len(self._scored) == len(self.channels):
            return values
        return values[..., self._scored, :, :]

    def _physical(self, normalised: Tensor, batch: Batch) -> Tensor:
        state = self.normaliser.denormalise(normalised, batch.climatology)
        return self.normaliser.to_physical(state)
