"""The LightningDataModule of fields, background, stations, imagery and degraded channels."""

from __future__ import annotations

from dataclasses import fields as columns_of
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from data_modules.observing.instruments import Instrument
from data_modules.reanalysis import ReanalysisDataModule
from data_modules.satellite import SatelliteDataModule
from data_modules.station import StationDataModule
from data_modules.store.periods import Period, window_cases
from data_modules.store.training_store import TrainingStore
from data_modules.stream.archive import ArchiveReader, packed_archive
from data_modules.stream.background import BackgroundProvider
from data_modules.stream.windows import WindowDataset
from slams.assimilators.base import Archive
from slams.config.schema import BackgroundConfig, DataConfig, ObservationsConfig
from slams.errors import UserError
from slams.fields import Batch, ObservationOperator, Observations, Window
from slams.observations.degradations import DegradedOperator
from slams.observations.networks import Network
from slams.observations.quality import gross_error_check
from slams.observations.simulate import draw
from slams.observations.superobs import Superobs

__all__ = ["MultimodalDataModule", "cases_with_background"]

# Windows read at a time into the archive.
_ARCHIVE_BATCH = 64


class MultimodalDataModule(ReanalysisDataModule):
    """DataModule of batches with a background and the observations of every modality in use.

    Args:
        data: The recipe's section `data`.
        observations: The recipe's section `observations`.
        background: The recipe's section `background`.
        seed: The experiment's seed.
        store: As for `ReanalysisDataModule`.
        batch_size: As for `ReanalysisDataModule`.
        test_batch_size: As for `ReanalysisDataModule`.

    Attributes:
        stations: The DataModule of the stations, or `None` when they are not in use.
        satellite: The DataModule of the imagery, or `None` when it is not in use.
        superobs: The averaging of reports in cells, or `None` when the recipe has none.
        averages: Whether batches have superobservations; False where the gross-error check that
            precedes them is made elsewhere (`slams.assimilators.cycle`).

    Raises:
        UserError: One of the parts is invalid, or the store cannot provide the background.
    """

    def __init__(
        self,
        data: DataConfig,
        observations: ObservationsConfig,
        background: BackgroundConfig,
        seed: int,
        *,
        store: TrainingStore | None = None,
        batch_size: int | None = None,
        test_batch_size: int | None = None,
    ) -> None:
        self._observed, self._background_section = observations, background
        super().__init__(
            data, seed, store=store, batch_size=batch_size, test_batch_size=test_batch_size
        )
        use, sections = observations.use, (data, observations, seed)
        self.stations = self.satellite = None
        if "stations" in use:
            self.stations = StationDataModule(*sections, store=self.store)
        if "satellite" in use:
            self.satellite = SatelliteDataModule(*sections, store=self.store)
        self._parts = [part for part in (self.stations, self.satellite) if part is not None]
        superob = observations.superob
        self.superobs = (
            None
            if superob.degrees is None
            else Superobs(self.grid, superob.degrees, superob.correlation)
        )
        self.averages = True
        degraded = observations.degraded
        self._degraded = {
            f"degraded/{name}": DegradedOperator(
                self.grid, self.channels, name, degraded.block, degraded.gap
            )
            for name in (degraded.channels if "degraded" in use else ())
        }
        self._instruments = [
            Instrument(
                one,
                f"observations.instruments.{position}",
                seed,
                self.channels,
                self.grid,
                self.store.step,
            )
            for position, one in enumerate(observations.instruments)
            if one.name in use
        ]

    @property
    def network(self) -> Network | None:
        """Return the stations that are assimilated, or `None` when they are not in use."""
        return None if self.stations is None else self.stations.network

    @property
    def held_out_network(self) -> Network | None:
        """Return the stations that are held out, or `None` when there are none."""
        return None if self.stations is None else self.stations.held_out_network

    @cached_property
    def provider(self) -> BackgroundProvider:
        """Return the provider of the backgrounds."""
        return BackgroundProvider(self._background_section, self.store, self.data.window)

    def operators(self) -> dict[str, ObservationOperator]:
        """Return `H` of everything that methods are given, by name `MODALITY/CHANNEL`."""
        found: dict[str, ObservationOperator] = {}
        for part in self._parts:
            found.update(part.operators())
        found.update(self._degraded)
        found.update((one.name, one.operator) for one in self._instruments)
        if self.superobs is None:
            return found
        return {name: self.superobs.operator(name, one) for name, one in found.items()}

    def archive(self, windows: int = 0, split: str = "train", as_packed: bool = False) -> Archive:
        """Return windows of the training period with their backgrounds, never re-centred.

        A store whose statistics come from another one has no training period of its own: the
        archive is then taken from the other store, with damped persistence as background.

        Args:
            windows: Number of windows, evenly spaced; 0 selects all of them.
            split: Split of this store to use instead of the training period.
            as_packed: Whether fields are rounded as in a packed copy of the store, so that a
                method that is fitted to either is the same; they are held packed too.

        Raises:
            UserError: Neither store has a training period, the split does not exist, or one of its
                fields has a missing value.
        """
        reader = self.archive_reader(split, windows)
        if as_packed:
            return packed_archive(reader)
        parts = [reader.read(at) for at in torch.arange(len(reader)).split(_ARCHIVE_BATCH)]
        columns = ([getattr(part, one.name) for part in parts] for one in columns_of(Archive))
        fields, mean, time, *known = map(torch.cat, columns)
        return Archive(fields, mean, time, *(None if mask.all() else mask for mask in known))

    def training_days(self) -> Archive:
        """Return every day of the training period, as windows of one day without backgrounds.

        Raises:
            UserError: As for `archive`.
        """
        source, period = self.archive_source()
        provider = BackgroundProvider(BackgroundConfig(kind="climatology"), source, 1)
        cases = window_cases(source.time, period, 1, source.step)
        cache = self._cache if source is self.store else None
        dataset = WindowDataset(source, cases, 1, complete=True, cache=cache)
        return packed_archive(ArchiveReader(dataset, provider, source.normaliser()))

    def archive_reader(self, split: str = "train", windows: int = 0) -> ArchiveReader:
        """Return a reader of the windows of `archive`, which are read a few at a time.

        Args:
            split: As for `archive`.
            windows: As for `archive`.

        Raises:
            UserError: Neither store has a training period, or the split does not exist.
        """
        source, provider, cases = self._archive_cases(split, windows)
        dataset = WindowDataset(
            source,
            cases,
            self.data.window,
            earlier=provider.earlier,
            states=provider.states,
            complete=True,
            cache=self._cache if source is self.store else None,
        )
        return ArchiveReader(dataset, provider, source.normaliser())

    def archive_days(self, split: str = "train", windows: int = 0) -> np.ndarray:
        """Return the days that `archive` reads, with those that backgrounds are made from.

        Args:
            split: As for `archive`.
            windows: As for `archive`.

        Returns:
            `(n,)` days since 1970-01-01 00 UTC, increasing.
        """
        source, provider, cases = self._archive_cases(split, windows)
        offsets = source.step * np.arange(self.data.window)
        if provider.earlier is not None:
            offsets = np.concatenate([provider.earlier.offsets(), offsets])
        return np.unique(source.time[cases][:, None] + offsets)

    def archive_source(self, split: str = "train") -> tuple[TrainingStore, Period]:
        """Return the store that `archive` reads, and its period.

        Raises:
            UserError: As for `archive`.
        """
        if split == "test":
            self.check_test_days()
        if split in self.periods:
            return self.store, self.periods[split]
        if split != "train":
            raise UserError(
                f"data.splits.{split}: found no days, expected the first and the last day"
            )
        other = self.store.attributes.get("statistics_from")
        if not other:
            raise UserError(
                "data.splits.train: found no days; an archive of training days needs them, or a "
                "store under data.statistics_from"
            )
        source = TrainingStore.open(other, [c.name for c in self.channels])
        return source, Period.of("train", source.attributes["statistics_days"])

    def _archive_cases(
        self, split: str, windows: int
    ) -> tuple[TrainingStore, BackgroundProvider, np.ndarray]:
        source, period = self.archive_source(split)
        background = replace(self._background_section, recentre_days=0)
        if source is not self.store and background.kind == "file":
            background = replace(background, kind="damped_persistence")
        days = self.data.window
        provider = BackgroundProvider(background, source, days)
        cases = cases_with_background(source, provider, period, days)
        if 0 < windows < len(cases):
            pick = np.linspace(0, len(cases) - 1, windows)
            cases = cases[np.floor(pick + 0.5).astype(np.int64)]
        return source, provider, cases

    def streams(self, split: str) -> tuple[str, ...]:
        """Return the names of the store's observation arrays that a split streams."""
        return tuple(name for part in self._parts for name in part.streams(split))

    def _observe(
        self, window: Window, truth: Tensor, mask: Tensor, batch: Batch
    ) -> tuple[Observations, ...]:
        found: list[Observations] = []
        for part in self._parts:
            found += part.observe(window, truth, mask)
        found += self._degrade(window, truth, mask)
        found += [one.observe(window, truth, mask) for one in self._instruments]
        checked = self._checked(batch, [self._at_days(o) for o in found])
        if self.superobs is None or not self.averages:
            return checked
        return self.superobs(replace(batch, observations=checked), self.normaliser).observations

    def _at_days(self, observations: Observations) -> Observations:
        """Mask the observations of days other than those of the recipe."""
        days = self._observed.days
        if not days:
            return observations
        kept = torch.zeros_like(observations.mask)
        kept[:, days] = observations.mask[:, days]
        values = observations.values.masked_fill(~kept, torch.nan)
        return replace(observations, mask=kept, values=values)

    def _hold_out(self, window: Window, truth: Tensor, mask: Tensor) -> tuple[Observations, ...]:
        # No gross-error check: it would leave only values near the background for verification.
        return () if self.stations is None else self.stations.hold_out(window, truth, mask)

    def _degrade(self, window: Window, truth: Tensor, mask: Tensor) -> list[Observations]:
        """Observe channels directly, on a coarse grid, with noise and gaps."""
        share = self._observed.degraded.noise
        weights = self.grid.weights.to(truth.device, truth.dtype)[:, None]
        sd = self.normaliser.sd
        return [
            draw(
                name,
                operator.to(truth.device),
                truth,
                mask,
                share * float((sd[operator.channel] * weights).mean()),
                window.case,
                self.seed,
            )
            for name, operator in self._degraded.items()
        ]

    def _checked(self, batch: Batch, found: list[Observations]) -> tuple[Observations, ...]:
        """Reject observations with a gross error relative to the background."""
        background = batch.background
        if background is None:
            return tuple(found)
        sd = self.normaliser.sd
        mean = self.normaliser.denormalise(background.mean, batch.climatology)
        spread = background.variance.sqrt() * sd
        limit = self._observed.gross_error
        return tuple(gross_error_check(o, mean, spread, limit) for o in found)


def cases_with_background(
    store: TrainingStore, provider: BackgroundProvider, period: Period, days: int
) -> np.ndarray:
    """Return the windows of a period whose background lies within it: `(N,)` indices."""
    cases = window_cases(store.time, period, days, store.step)
    cases = cases[provider.available(store, cases, days)]
    if provider.earlier is not None:
        # The background may not precede the piece either: those days may belong to another split.
        before = period.pieces_of(store.time[cases] - provider.earlier.lag_days)
        cases = cases[before == period.pieces_of(store.time[cases])]
    return cases
