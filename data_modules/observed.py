"""Base of the LightningDataModules of fields with the observations of one modality."""

from __future__ import annotations

import json
from typing import ClassVar

from torch import Tensor

from data_modules.observing.observers import Observer
from data_modules.reanalysis import ReanalysisDataModule
from data_modules.store.identity import observation_recipe, store_difference
from data_modules.store.training_store import TrainingStore
from slams.config.schema import DataConfig, ObservationsConfig
from slams.errors import UserError
from slams.fields import Batch, ObservationOperator, Observations, Window

__all__ = ["ObservedDataModule", "check_drawn"]


class ObservedDataModule(ReanalysisDataModule):
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

    def _make_observer(self, observations: ObservationsConfig) -> Observer:
        raise NotImplementedError

    def _observe(
        self, window: Window, truth: Tensor, mask: Tensor, batch: Batch
    ) -> tuple[Observations, ...]:
        return self.observe(window, truth, mask)


def check_drawn(
    store: TrainingStore, observations: ObservationsConfig, seed: int, modality: str
) -> None:
    """Refuse a store whose observations were not made from this recipe.

    Args:
        store: The training store.
        observations: The recipe's section `observations`, with `source` = `store`.
        seed: The experiment's seed.
        modality: `stations` or `satellite`.

    Raises:
        UserError: The store has no such observations, or those of another recipe.
    """
    if not store.has(modality):
        raise UserError(
            f"observations.source: training store {store.path} has no {modality}; run `slams "
            f"prepare` with observations.source=store and resume=overwrite, or set "
            f"observations.source=truth"
        )
    found = json.loads(store.attributes["recipe"])["observations"] or {}
    expected = json.loads(json.dumps(observation_recipe(observations, seed)))
    for key in ("seed", modality):
        changed = store_difference(found.get(key), expected.get(key), key)
        if changed:
            raise UserError(
                f"observations.{modality}: training store {store.path} has observations of a "
                f"different recipe ({changed}); run `slams prepare` with resume=overwrite"
            )
