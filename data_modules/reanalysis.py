"""The LightningDataModule of gridded fields: training data of the VAE, and base of the others.

It opens the store, finds the windows of each split, and builds all DataLoaders in one place;
subclasses add a background and observations, on the device. `ObservedDataModule` is the base of
those with the observations of one modality.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from data_modules.observing.observers import Observer
from data_modules.observing.stored import check_drawn
from data_modules.store.periods import Period, split_periods, window_cases
from data_modules.store.reserved import reserved_days, reserved_pieces
from data_modules.store.training_store import TrainingStore
from data_modules.stream.background import BackgroundProvider
from data_modules.stream.field_cache import (
    MemoryFields,
    cache_directory,
    load_fields,
    map_fields,
)
from data_modules.stream.loader import StreamLoader, stream_loader
from data_modules.stream.windows import WindowDataset
from slams.calendar.ranges import date_ranges
from slams.calendar.steps import describe_step, whole_days
from slams.config.schema import DataConfig, ObservationsConfig
from slams.config.splits import Piece, check_reserved, check_test_days, split_pieces
from slams.errors import UserError
from slams.fields import Batch, ObservationOperator, Observations, Window

__all__ = ["ObservedDataModule", "ReanalysisDataModule", "read_batches"]


class ReanalysisDataModule(LightningDataModule):
    """DataModule that streams windows of the training store and normalises them on the device.

    Args:
        data: The recipe's section `data`.
        seed: The experiment's seed, for the order of the training windows.
        store: An open store; by default that of `data.store`, with the channels of the section.
        batch_size: Cases per batch; by default `data.batch_size`.
        test_batch_size: Cases per batch of the test split; by default as for the others.

    Attributes:
        data: The section `data`.
        seed: The seed.
        store: The training store.
        channels: Its channels, in order.
        grid: Its grid.
        normaliser: The normaliser, on the device where it was last used.
        splits: `(n,)` positions in the store of the first days of the windows, by split; splits
            that are empty in the recipe are absent.
        reserved: Days reserved by recipe and store, ISO dates in pairs (first, last).
        arrived_at: Time at which the last batch was on its device (`time.perf_counter`), for
            timing: its normalisation there counts as work, not as waiting for data.
        whole_test: Whether every rank reads the whole test split, see `AssimilationEvaluator`.
        test_block: Consecutive cases of the test split that one rank reads: the days of a cycle.

    Raises:
        UserError: The store, a split or a window is invalid.
    """

    def __init__(
        self,
        data: DataConfig,
        seed: int,
        *,
        store: TrainingStore | None = None,
        batch_size: int | None = None,
        test_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.data, self.seed = data, seed
        self.store = store or TrainingStore.open(data.store, data.channels or None)
        self.channels, self.grid = self.store.channels, self.store.grid
        self.normaliser = self.store.normaliser()
        self._batch_size = batch_size or data.batch_size
        self._test_batch_size = test_batch_size or self._batch_size
        self.whole_test = False
        self.test_block = 1
        self._cache: MemoryFields | None = None
        self.arrived_at: float | None = None
        _check_step(self.store, data)
        self.periods = split_periods(data.splits, data.window_days)
        check_reserved(data.splits, *self._reserved_by_store())
        self.reserved = reserved_days(data.splits, self.store)
        _check_training_days(self.store, self.periods)
        self.splits = {name: self._cases(period) for name, period in self.periods.items()}

    @property
    def provider(self) -> BackgroundProvider | None:
        """Return the provider of the backgrounds; `None` for fields only."""
        return None

    @property
    def earlier_days(self) -> int:
        """Return the number of earlier days read with each window."""
        provider = self.provider
        if provider is None:
            return 0
        if provider.states is not None:
            return self.data.window
        return 0 if provider.earlier is None else provider.earlier.days

    def operators(self) -> dict[str, ObservationOperator]:
        """Return the observation operators by name; empty for fields only."""
        return {}

    def check_test_days(self) -> None:
        """Refuse reserved test days unless the recipe declares a final measurement.

        Raises:
            UserError: The test split has days that are reserved by recipe or store.
        """
        splits = self.data.splits
        held, where, reach = self._reserved_by_store()
        own = split_pieces(splits, "reserved")
        check_test_days(splits, own, "data.splits.reserved", reach)
        check_test_days(splits, held, where, reach)

    def setup(self, stage: str | None = None) -> None:
        """Create the recipe's cache of the fields."""
        data = self.data
        if self._cache is not None:
            return
        if data.cache == "mmap":
            self._cache = map_fields(self.store, cache_directory(self.store, data.cache_directory))
        elif data.cache == "memory" and data.num_workers == 0:
            # Workers would each have a copy, so they read the store.
            self._cache = load_fields(self.store)

    def train_dataloader(self) -> StreamLoader:
        """Return a loader of the training split, reshuffled in each epoch."""
        return self._dataloader_factory("train")

    def val_dataloader(self) -> StreamLoader:
        """Return a loader of the validation split in the order of time."""
        return self._dataloader_factory("validation")

    def test_dataloader(self) -> StreamLoader:
        """Return a loader of the cases of the test split."""
        return self._dataloader_factory("test")

    def streams(self, split: str) -> tuple[str, ...]:
        """Return the names of the observation arrays that a split streams; empty for fields."""
        return ()

    def dataset(self, split: str) -> WindowDataset:
        """Return the dataset of a split.

        Raises:
            UserError: The recipe has no days for this split, or they are reserved.
        """
        if split not in self.splits:
            raise UserError(
                f"data.splits.{split}: found no days, expected the first and the last day"
            )
        if split == "test":
            self.check_test_days()
        self.setup()
        provider = self.provider
        return WindowDataset(
            self.store,
            self.splits[split],
            self.data.window,
            earlier=provider.earlier if provider else None,
            states=provider.states if provider else None,
            arrays=self.streams(split),
            complete=split == "train",
            cache=self._cache,
        )

    def on_after_batch_transfer(self, batch: Window | Batch, dataloader_idx: int = 0) -> Batch:
        """Convert a window to a batch on its device."""
        if isinstance(batch, Batch):
            return batch
        self.arrived_at = time.perf_counter()
        return self.assemble(batch, observe=self._observing())

    @torch.no_grad()
    def assemble(self, window: Window, observe: bool = True) -> Batch:
        """Normalise a window, and add background and observations.

        Args:
            window: Physical, on any device.
            observe: Whether to add observations.
        """
        normaliser, provider = self.normaliser.to(window.fields.device), self.provider
        offset = provider.offset(window, normaliser) if provider else None
        climatology = normaliser.climatology(window.time)
        if offset is not None:
            climatology = climatology + offset.unsqueeze(1)
        truth = normaliser.to_channel_units(window.fields)
        mask = torch.isfinite(truth)
        fields = (truth - climatology).div_(normaliser.sd)
        batch = Batch(
            fields=fields.masked_fill_(~mask, 0.0),
            mask=mask,
            time=window.time,
            case=window.case,
            climatology=climatology,
            background=provider(window, normaliser, climatology, offset) if provider else None,
        )
        if not observe:
            return batch
        return replace(
            batch,
            observations=self._observe(window, truth, mask, batch),
            held_out=self._hold_out(window, truth, mask),
        )

    def _dataloader_factory(self, split: str) -> StreamLoader:
        dataset = self.dataset(split)
        return stream_loader(
            self,
            dataset,
            self._test_batch_size if split == "test" else self._batch_size,
            dataset.cases // self.store.file_steps if split == "train" else None,
            split == "test" and self.whole_test,
            self.data.num_workers,
            self.data.ahead,
            self.test_block if split == "test" else 1,
        )

    def _cases(self, period: Period) -> np.ndarray:
        data = self.data
        cases = window_cases(self.store.time, period, data.window, self.store.step)
        if period.name != "train" and self.provider is not None:
            cases = self._verifiable(cases, period, self.provider)
        if period.name == "test" and 0 < data.test_cases < len(cases):
            # Middles of equal parts of the split, so that a third as many cases is a subset.
            middle = (np.arange(data.test_cases) + 0.5) * len(cases) / data.test_cases
            cases = cases[np.floor(middle).astype(np.int64)]
        return cases

    def _verifiable(
        self, cases: np.ndarray, period: Period, provider: BackgroundProvider
    ) -> np.ndarray:
        """Return the windows that can be verified: those whose background can be made."""
        kept = cases[provider.available(self.store, cases, self.data.window)]
        if len(kept) == 0:
            config = provider.config
            words = "days" if self.store.step == 1 else "steps"
            needed = (
                f"states of the same days in {config.store}"
                if config.kind == "file"
                else f"a state {config.lag} {words} before (background.lag) in the store"
            )
            raise UserError(
                f"data.splits.{period.name}: no window from {period} has {needed}, from which its "
                f"background is made"
            )
        return kept

    def _observing(self) -> bool:
        """Return whether batches include observations: not while a network is trained."""
        return self.trainer is None or not (
            self.trainer.training or self.trainer.sanity_checking or self.trainer.validating
        )

    def _reserved_by_store(self) -> tuple[tuple[Piece, ...], str, int]:
        """Return the store's reserved pieces, its name, and the days read before a window."""
        earlier = self.provider.earlier if self.provider else None
        steps = 0 if earlier is None else earlier.lag + earlier.days - 1
        reach = whole_days(steps, self.store.step)
        return reserved_pieces(self.store), f"training store {self.store.path}", reach

    def _observe(
        self, window: Window, truth: Tensor, mask: Tensor, batch: Batch
    ) -> tuple[Observations, ...]:
        return ()

    def _hold_out(self, window: Window, truth: Tensor, mask: Tensor) -> tuple[Observations, ...]:
        """Return observations for verification, which are not assimilated."""
        return ()


class ObservedDataModule(ReanalysisDataModule, ABC):
    """DataModule of fields with observations, drawn from the truth or read from the store.

    Args:
        data: The recipe's section `data`.
        observations: The recipe's section `observations`.
        seed: The experiment's seed.
        store: As for `ReanalysisDataModule`.
        batch_size: As for `ReanalysisDataModule`.
        test_batch_size: As for `ReanalysisDataModule`.

    Attributes:
        modality: Name of the observations in recipes and stores.
        observer: The observer of the fields.

    Raises:
        UserError: As for `ReanalysisDataModule`, the observer is invalid, or the store's
            observations were made from another recipe.
    """

    modality: ClassVar[str]

    def __init__(
        self,
        data: DataConfig,
        observations: ObservationsConfig,
        seed: int,
        *,
        store: TrainingStore | None = None,
        batch_size: int | None = None,
        test_batch_size: int | None = None,
    ) -> None:
        super().__init__(
            data, seed, store=store, batch_size=batch_size, test_batch_size=test_batch_size
        )
        self._stored = observations.source == "store"
        if self._stored:
            check_drawn(self.store, observations, seed, self.modality)
        self.observer = self._make_observer(observations)

    def operators(self) -> dict[str, ObservationOperator]:
        """Return `H` of each observed variable, by name `MODALITY/CHANNEL`."""
        return dict(self.observer.operators)

    def observe(self, window: Window, truth: Tensor, mask: Tensor) -> tuple[Observations, ...]:
        """Return the observations of a window that are assimilated.

        Args:
            window: The window, on the device of the result.
            truth: `(B, T, C, H, W)` channel units.
            mask: `(B, T, C, H, W)` bool, True where the truth is known.
        """
        stored = getattr(window, self.modality)
        if stored is not None:
            return self.observer.stored(stored, window.time)
        return self.observer(truth, mask, window.time, window.case)

    def streams(self, split: str) -> tuple[str, ...]:
        """Return the names of the store's arrays that a split streams; empty while training."""
        return (self.modality,) if self._stored and split != "train" else ()

    @abstractmethod
    def _make_observer(self, observations: ObservationsConfig) -> Observer:
        """Make the observer of the fields."""

    def _observe(
        self, window: Window, truth: Tensor, mask: Tensor, batch: Batch
    ) -> tuple[Observations, ...]:
        return self.observe(window, truth, mask)


def read_batches(
    datamodule: ReanalysisDataModule, split: str, windows: int = 0, size: int = 64
) -> Iterator[Batch]:
    """Read the windows of a split in the order of time, normalised, without observations.

    Args:
        datamodule: The DataModule.
        split: Name of the split.
        windows: Number of windows, evenly spaced; 0 reads all of them.
        size: Windows per batch.
    """
    dataset = datamodule.dataset(split)
    picked = np.arange(len(dataset))
    if 0 < windows < len(dataset):
        picked = np.linspace(0, len(dataset) - 1, windows).round().astype(np.int64)
    for start in range(0, len(picked), size):
        window = dataset.__getitems__(picked[start : start + size].tolist())
        yield datamodule.assemble(window, observe=False)


def _check_step(store: TrainingStore, data: DataConfig) -> None:
    """Refuse a store with steps of another length than the recipe's."""
    if store.step != data.step_days:
        found = describe_step(store.step)
        raise UserError(
            f"data.step: found {data.step}, but training store {store.path} has steps of {found}; "
            f"set data.step to {found}, or data.store to a store with steps of {data.step}"
        )


def _check_training_days(store: TrainingStore, periods: dict[str, Period]) -> None:
    """Refuse statistics of days other than those of the training split."""
    if store.attributes.get("statistics_from") or "train" not in periods:
        return
    actual, expected = list(store.attributes["statistics_days"]), periods["train"]
    if actual != expected.dates:
        raise UserError(
            f"data.splits.train: {expected}, but the statistics of training store {store.path} "
            f"are from {date_ranges(actual)}; run `slams prepare` with resume=overwrite"
        )
