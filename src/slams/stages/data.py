"""DataModules of a recipe; only this module takes the sections they need out of the recipe.

Settings that depend on several sections are derived here: windows as long as one analysis, the
days of a cycle, fields without observations for training a score model.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TypeVar

import torch

from data_modules.multimodal import MultimodalDataModule
from data_modules.pixel import PixelDataModule
from data_modules.reanalysis import ReanalysisDataModule
from data_modules.store.training_store import TrainingStore
from slams.calendar.steps import steps_per_day
from slams.config.schema import Config, ObservationsConfig
from slams.config.time_axis import analysed, at_length
from slams.fields import Batch, Window

__all__ = [
    "WithholdingDataModule",
    "analysed_days",
    "fields_only",
    "multimodal",
    "pixel",
    "reanalysis",
    "trajectories",
    "withholding",
]

_DataModule = TypeVar("_DataModule", bound=MultimodalDataModule)


def reanalysis(
    config: Config, store: TrainingStore | None = None, batch_size: int | None = None
) -> ReanalysisDataModule:
    """Return the DataModule of a recipe's fields.

    Args:
        config: The recipe.
        store: An open store; by default the store of the recipe.
        batch_size: Cases per batch of every split; by default that of the recipe.
    """
    return ReanalysisDataModule(
        config.data,
        config.seed,
        store=store,
        batch_size=batch_size,
        test_batch_size=batch_size or config.assimilation.batch_size,
    )


def multimodal(
    config: Config, store: TrainingStore | None = None, batch_size: int | None = None
) -> MultimodalDataModule:
    """Return the DataModule of fields, backgrounds and observations; see `reanalysis`."""
    return _multimodal(MultimodalDataModule, config, store, batch_size)


def _multimodal(
    kind: type[_DataModule],
    config: Config,
    store: TrainingStore | None = None,
    batch_size: int | None = None,
) -> _DataModule:
    return kind(
        config.data,
        config.observations,
        config.background,
        config.seed,
        store=store,
        batch_size=batch_size,
        test_batch_size=batch_size or config.assimilation.batch_size,
    )


def trajectories(config: Config, store: TrainingStore | None = None) -> MultimodalDataModule:
    """Return `multimodal` with windows as long as one analysis."""
    return multimodal(at_length(config), store)


def analysed_days(config: Config, batch_size: int | None = None) -> MultimodalDataModule:
    """Return `multimodal` for the days that an assimilation analyses, see `time_axis.analysed`."""
    return multimodal(analysed(config), batch_size=batch_size)


class WithholdingDataModule(MultimodalDataModule):
    """DataModule with a whole network, where the observations of some modalities are masked.

    What a method stores for a network then serves all settings: only masks change.

    Attributes:
        used: Modalities that are not masked.
    """

    used: Collection[str] = ()

    def on_after_batch_transfer(self, batch: Window | Batch, dataloader_idx: int = 0) -> Batch:
        """Turn a window into a batch on its device, without the withheld observations."""
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        observations = tuple(
            o if o.modality in self.used else replace(o, mask=torch.zeros_like(o.mask))
            for o in batch.observations
        )
        return replace(batch, observations=observations)


def withholding(setting: Config, everything: Config) -> WithholdingDataModule:
    """Return the DataModule of one setting of a modality study.

    Args:
        setting: The recipe of the setting; its modalities are used, the others masked.
        everything: The recipe that uses every modality.
    """
    config = analysed(replace(setting, observations=everything.observations))
    data = _multimodal(WithholdingDataModule, config)
    data.used = setting.observations.use
    # A cycle compares observations with its own background, and averages them after that.
    data.averages = not setting.assimilation.cycle_days
    days = setting.assimilation.cycle_days
    data.test_block = days * steps_per_day(data.store.step) or 1
    return data


def fields_only(config: Config) -> Config:
    """Return the recipe by which a score model is trained: it learns p(z | background).

    Training uses neither observations nor a climatology that is shifted for them.
    """
    return replace(
        config,
        observations=ObservationsConfig(use=[]),
        background=replace(config.background, recentre_days=0),
    )


def pixel(config: Config) -> PixelDataModule:
    """Return the DataModule of a score model of fields, see `fields_only`."""
    background = fields_only(config).background
    return PixelDataModule(
        config.data, background, config.seed, batch_size=config.score.batch_size
    )
