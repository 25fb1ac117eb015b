"""The comparison of assimilation methods, exact for any number of processes.

Every method is given the same background, `H`, `R` and observed values. The cases are divided over
the ranks; with fewer cases than ranks (`share_members`) every rank is given every case, and for
methods whose cost is proportional to the members, the members are divided
(`slams.modules.shares`). A case is summarised by a few float64 statistics, and metrics are
functions of their means. The results therefore depend only on the cases, not on the batch size or
the number of ranks, even if a rank has no case.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch import distributed as dist

from slams.assimilators.base import Assimilator
from slams.config.schema import AssimilationConfig
from slams.errors import UserError
from slams.fields import Batch, Ensemble, FieldSpec
from slams.grid import LatLonGrid
from slams.metrics.accumulators import (
    RMSE,
    Bias,
    FairCRPS,
    RankHistogram,
    SpreadSkill,
    Wasserstein,
)
from slams.metrics.days import DayRecords
from slams.metrics.marginals import Marginals
from slams.metrics.observation_space import ObservationSpace
from slams.metrics.records import MethodRecord
from slams.metrics.regions import grid_regions
from slams.metrics.spectra import PowerSpectra
from slams.metrics.statistics import case_statistics
from slams.metrics.tables import make_tables
from slams.modules.analyses import DETERMINISTIC, KeptCases
from slams.modules.shares import Share
from slams.normalisation import Normaliser
from slams.runtime.files import write_table
from slams.runtime.heartbeat import Heartbeat

__all__ = ["AssimilationEvaluator"]

# Seconds after which the computation of the tables is reported.
_SILENT_SECONDS = 10.0
_METRICS = (RMSE, Bias, FairCRPS, SpreadSkill, RankHistogram, Wasserstein)


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
        setting: Name of the setting in the tables; `None` for that of the recipe.
        seed: The experiment's seed, for rank ties and the bootstrap.
        analysed: Names of the channels that are scored and written; all of them by default.

    Attributes:
        share_members: Whether every rank is given every case, in the same batches.
        done: Number of batches that this rank has evaluated.
        at_work: Name of the method that is running; empty before the first.
    """

    def __init__(
        self,
        assimilators: Sequence[Assimilator],
        config: AssimilationConfig,
        normaliser: Normaliser,
        grid: LatLonGrid,
        channels: Sequence[FieldSpec],
        setting: str | None = None,
        seed: int = 0,
        analysed: Sequence[str] = (),
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
        self.setting = config.setting if setting is None else setting
        self.seed = seed
        self.share_members = False
        self._share = Share()
        self._seen = 0
        self.done = 0
        self.at_work = ""
        self.scores = nn.ModuleDict(
            {
                a.name: nn.ModuleDict(
                    {kind.metric: kind(len(self._scored), config.members) for kind in _METRICS}
                )
                for a in self.assimilators
            }
        )
        self.spectra = nn.ModuleDict(
            {a.name: PowerSpectra(self.scored_channels, grid) for a in self.assimilators}
        )
        self._regions = grid_regions(grid)
        self._marginals = Marginals.of(normaliser, grid.weights).select(self._scored)
        self._observed = ObservationSpace(normaliser, seed)
        self._records: dict[str, list[MethodRecord]] = {}
        self._kept = KeptCases(config.keep_cases)
        self._days = DayRecords(self.scored_channels, grid.weights, seed)
        self._tables: dict[str, pd.DataFrame] | None = None

    def setup(self, stage: str) -> None:
        """Discard earlier results (on a rank without cases no later hook is called)."""
        if stage != "test":
            return
        several = self.share_members and self.trainer.world_size > 1
        ranks = (self.trainer.global_rank, self.trainer.world_size) if several else ()
        self._share, self._seen, self.done = Share(*ranks), 0, 0
        for metrics in self.scores.values():
            for metric in metrics.values():
                metric.reset()
        for spectra in self.spectra.values():
            spectra.reset()
        empty = MethodRecord.empty(len(self._scored), self.config.members)
        self._records = {a.name: [empty] for a in self.assimilators}
        self._kept = KeptCases(self.config.keep_cases)
        self._days = DayRecords(self.scored_channels, self.grid.weights, self.seed)
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
        mask = self._take(batch.mask)
        regions, marginals = (x.to(truth.device) for x in (self._regions, self._marginals))
        # Held-out observations are never passed to a method.
        given = replace(batch, held_out=())
        for assimilator in self.assimilators:
            if not mine and not getattr(assimilator, "shares_members", False):
                continue
            name = self.at_work = assimilator.name
            whole = self._analyse(assimilator, given)
            if not mine:
                continue
            ensemble = replace(
                whole, members=self._take(whole.members), channels=self.scored_channels
            )
            statistics = case_statistics(
                ensemble.members,
                truth,
                mask,
                self.grid.weights,
                batch.case,
                self.scored_channels,
                self.seed,
                regions,
                marginals,
                ensemble.centred,
            )
            for metric in self.scores[name].values():
                metric.update(statistics)
            self.spectra[name].update(ensemble.members, truth, mask, ensemble.centred)
            self._records[name].append(
                MethodRecord.of_batch(
                    statistics,
                    batch.time[:, 0],
                    ensemble.seconds,
                    ensemble.diverged,
                    self._observed(
                        batch, self.normaliser.to_channel_units(whole.members), whole.centred
                    ),
                )
            )
            self._days.add(name, ensemble, truth, replace(batch, mask=mask))
            if name not in DETERMINISTIC:
                self._kept.add(name, batch.case, ensemble)
        if not mine:
            return
        self._keep_state("truth", truth.masked_fill(~mask, torch.nan), batch)
        if batch.background is not None:
            background = self._take(self._physical(batch.background.mean, batch))
            self._keep_state("background", background, batch)

    def progress(self) -> dict[str, Any]:
        """Return all results of this rank so far, as tensors in plain containers."""
        return {
            "done": self.done,
            "scores": self.scores.state_dict(),
            "spectra": self.spectra.state_dict(),
            "records": {n: [r.to_plain() for r in parts] for n, parts in self._records.items()},
            "kept": self._kept.to_plain(),
            "days": self._days.to_plain(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue after the results of an earlier attempt, as returned by `progress`."""
        for name, sums in (("scores", self.scores), ("spectra", self.spectra)):
            shapes = [{k: v.shape for k, v in s.items()} for s in (state[name], sums.state_dict())]
            if shapes[0] != shapes[1]:
                raise ValueError(f"{name} are of different methods, channels or members")
            sums.load_state_dict(state[name])
            sums.to(self.device)
        self._records = {
            name: [MethodRecord.from_plain(one) for one in parts]
            for name, parts in state["records"].items()
        }
        self._kept.restore(state["kept"], self.scored_channels, self.grid)
        self._days.restore(state["days"])
        self.done = state["done"]

    def teardown(self, stage: str) -> None:
        """Collect the results of all ranks.

        This is the first hook after a test that Lightning calls on every rank: a rank without
        cases skips the whole loop and its hooks. It is not called after an exception.
        """
        if stage != "test":
            return
        device = self.trainer.strategy.root_device
        means: dict[str, dict[str, Tensor]] = {}
        for name, metrics in self.scores.items():
            means[name] = {}
            for metric in metrics.values():
                # Lightning has already moved the module to the CPU, but NCCL needs GPU tensors.
                metric.to(device)
                with metric.sync_context():
                    means[name].update({k: v.cpu() for k, v in metric.means().items()})
        powers: dict[str, tuple[Tensor, Tensor]] = {}
        for name, spectra in self.spectra.items():
            spectra.to(device)
            with spectra.sync_context():
                powers[name] = spectra.means()
        ranks = _gather({n: MethodRecord.merge(r) for n, r in self._records.items()})
        records = {
            name: MethodRecord.merge([rank[name] for rank in ranks]) for name in self._records
        }
        cases = sorted({n for r in records.values() for n in r.case.tolist()})
        parts = _gather_on_root(self._kept.select(cases[: self.config.keep_cases]))
        days = _gather_on_root(self._days)
        if parts is None or days is None:
            return
        self._kept = KeptCases.merge(parts)
        with Heartbeat("test", _SILENT_SECONDS, "computing the tables"):
            self._tables = make_tables(
                records,
                means,
                powers,
                self.scored_channels,
                self.setting,
                self.config.bootstrap_block,
                self.config.bootstrap_samples,
                self.seed,
            )
            by_day = DayRecords.merge(days).table(
                self.setting, self.config.bootstrap_block, self.config.bootstrap_samples
            )
            if len(by_day):
                self._tables["days"] = by_day

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables of `slams.metrics.tables` by name; empty on other ranks than zero.

        For windows of several days this includes `days`.
        """
        return dict(self._tables or {})

    def write(self, run_dir: str | Path) -> None:
        """Write the tables as Parquet files and `analysis.zarr`, on rank zero only.

        Args:
            run_dir: Existing directory of the run.
        """
        if self._tables is None:
            return
        for name, table in self.tables().items():
            write_table(table, Path(run_dir) / f"{name}.parquet")
        if self.config.keep_cases:
            self._kept.write(Path(run_dir) / "analysis.zarr", {"setting": self.setting})

    def _analyse(self, assimilator: Assimilator, batch: Batch) -> Ensemble:
        started = time.perf_counter()
        if self._share.world > 1 and getattr(assimilator, "shares_members", False):
            ensemble = self._share.analyse(
                assimilator, batch, self.config.members, self.channels, self.grid
            )
        else:
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

    def _take(self, values: Tensor) -> Tensor:
        """Select the scored channels of `(..., C, H, W)`, without a copy if all are scored."""
        if len(self._scored) == len(self.channels):
            return values
        return values[..., self._scored, :, :]

    def _physical(self, normalised: Tensor, batch: Batch) -> Tensor:
        state = self.normaliser.denormalise(normalised, batch.climatology)
        return self.normaliser.to_physical(state)

    def _keep_state(self, group: str, state: Tensor, batch: Batch) -> None:
        members, grid = state.unsqueeze(1), self.grid
        self._kept.add(
            group, batch.case, Ensemble(group, members, batch.time, self.scored_channels, grid)
        )


def _gather(value: Any) -> list[Any]:
    """Gather an object from every rank on every rank."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def _gather_on_root(value: Any) -> list[Any] | None:
    """Gather an object from every rank on rank zero; return `None` elsewhere."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    root = dist.get_rank() == 0
    values: list[Any] | None = [None] * dist.get_world_size() if root else None
    dist.gather_object(value, values, dst=0)
    return values
