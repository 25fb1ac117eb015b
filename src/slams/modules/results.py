"""The results of an evaluation: sums and records of each method, and the tables of all ranks.

A case is summarised by a few float64 statistics, and metrics are functions of their means. The
results therefore depend only on the cases, not on the batch size or the number of ranks, even if a
rank has no case.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor, nn

from slams.fields import Batch, Ensemble, FieldSpec
from slams.grid import LatLonGrid
from slams.metrics.accumulators import MeanStatistics
from slams.metrics.days import DayRecords
from slams.metrics.marginals import Marginals
from slams.metrics.observation_space import Key, ObservedSums
from slams.metrics.observed_tables import departures
from slams.metrics.records import MethodRecord, Records
from slams.metrics.regions import grid_regions
from slams.metrics.spectra import PowerSpectra
from slams.metrics.statistics import case_statistics
from slams.metrics.tables import make_tables
from slams.modules.analyses import DETERMINISTIC, KeptCases
from slams.modules.shares import gather, gather_on_root
from slams.runtime.heartbeat import Heartbeat

__all__ = ["Results"]

# Seconds after which the computation of the tables is reported.
_SILENT_SECONDS = 10.0


class Results(nn.Module):
    """Results of one rank so far.

    Args:
        methods: Names of the methods.
        channels: The `C` scored channels.
        grid: The grid, whose cell areas are the weights of every mean.
        marginals: Standardisation of these channels for the Wasserstein distance.
        members: Number of ensemble members `M`.
        keep_cases: Number of cases whose ensembles are kept in full; -1 for all.
        seed: The experiment's seed, for rank ties and the bootstrap.
        keep_in: Directory for the ensembles that are kept, see `KeptCases`.
    """

    def __init__(
        self,
        methods: Sequence[str],
        channels: tuple[FieldSpec, ...],
        grid: LatLonGrid,
        marginals: Marginals,
        members: int,
        keep_cases: int,
        seed: int,
        keep_in: Path | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.grid, self.seed = channels, grid, seed
        self._marginals, self._regions = marginals, grid_regions(grid)
        self.scores = nn.ModuleDict({m: MeanStatistics(len(channels), members) for m in methods})
        self.spectra = nn.ModuleDict({m: PowerSpectra(channels, grid) for m in methods})
        self.records = Records()
        for method in methods:  # a rank without cases has no other record
            self.records.add(method, MethodRecord.empty(len(channels), members))
        self.kept = KeptCases(keep_cases, keep_in)
        self.days = DayRecords(channels, grid.weights, seed)

    def add(
        self,
        ensemble: Ensemble,
        truth: Tensor,
        batch: Batch,
        observed: Sequence[dict[Key, ObservedSums]],
    ) -> None:
        """Score the analyses of one method.

        Args:
            ensemble: The analyses of a batch, with the scored channels.
            truth: `(B, T, C, H, W)` physical.
            batch: The batch, with the mask of the scored channels.
            observed: The comparison with the observations, one mapping per case.

        Raises:
            UserError: An ensemble has values that are not finite.
        """
        method, members, centred = ensemble.method, ensemble.members, ensemble.centred
        regions, marginals = (x.to(truth.device) for x in (self._regions, self._marginals))
        statistics = case_statistics(
            members,
            truth,
            batch.mask,
            self.grid.weights,
            batch.case,
            self.channels,
            self.seed,
            regions,
            marginals,
            centred,
        )
        self.scores[method].update(statistics)
        self.spectra[method].update(members, truth, batch.mask, centred)
        record = MethodRecord.of_batch(
            statistics, batch.time[:, 0], ensemble.seconds, ensemble.diverged, observed
        )
        self.records.add(method, record)
        self.days.add(method, ensemble, truth, batch)
        if method not in DETERMINISTIC:
            self.kept.add(method, batch.case, ensemble)

    def keep_state(self, group: str, state: Tensor, batch: Batch) -> None:
        """Keep a state per case, `(B, T, C, H, W)` physical, as the group `truth` or another."""
        members = state.unsqueeze(1)
        ensemble = Ensemble(group, members, batch.time, self.channels, self.grid)
        self.kept.add(group, batch.case, ensemble)

    def progress(self) -> dict[str, Any]:
        """Return all results so far, as tensors in plain containers."""
        return {
            "sums": self.state_dict(),
            "records": self.records.to_plain(),
            "kept": self.kept.to_plain(),
            "days": self.days.to_plain(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue after the results of an earlier attempt, as returned by `progress`.

        Raises:
            ValueError: They are of different methods, channels or members.
        """
        sums = state["sums"]
        shapes = [{k: v.shape for k, v in s.items()} for s in (sums, self.state_dict())]
        if shapes[0] != shapes[1]:
            raise ValueError("the sums are of different methods, channels or members")
        self.load_state_dict(sums)
        self.records.restore(state["records"])
        self.kept.restore(state["kept"], self.channels, self.grid)
        self.days.restore(state["days"])

    def collect(
        self, setting: str, block: int, samples: int, starts: Sequence[float] = ()
    ) -> dict[str, pd.DataFrame] | None:
        """Return the tables of all ranks by name; `None` on other ranks than zero.

        Must be called on every rank. Ranks exchange tensors on the device of the sums.

        Args:
            setting: Name of the setting.
            block: Dates per block of the bootstrap.
            samples: Resamples of the bootstrap.
            starts: First day of each cycle, which the bootstrap draws as wholes.

        Raises:
            UserError: A case was evaluated twice.
        """
        means: dict[str, dict[str, Tensor]] = {}
        for name, sums in self.scores.items():
            with sums.sync_context():
                means[name] = {k: v.cpu() for k, v in sums.means().items()}
        powers = {name: spectra.compute() for name, spectra in self.spectra.items()}
        records = Records.merge(gather(self.records)).merged()
        cases = sorted({n for record in records.values() for n in record.case.tolist()})
        kept = gather_on_root(self.kept.select(self.kept.first(cases)))
        days = gather_on_root(self.days)
        if kept is None or days is None:
            return None
        self.kept = KeptCases.merge(kept)
        with Heartbeat("test", _SILENT_SECONDS, "computing the tables"):
            tables = make_tables(
                records, means, powers, self.channels, setting, block, samples, self.seed, starts
            )
            by_day = DayRecords.merge(days).table(setting, block, samples)
        if starts:
            tables["departures"] = departures(records, setting, starts)
        return {**tables, "days": by_day} if len(by_day) else tables
