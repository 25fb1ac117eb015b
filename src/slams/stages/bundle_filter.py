"""The learned filter of a bundle: found by the forecasts that it wrote, written, opened again.

Where the backgrounds of a run are forecasts of a learned filter, its bundle holds the filter too,
so that a cycle can go on by such forecasts (`slams.stages.model_filter`): the weights, and a
training store without days for the statistics of the filter's own channels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from data_modules.multimodal import MultimodalDataModule
from data_modules.store.packed_store import write_packed
from data_modules.store.training_store import TrainingStore
from slams.bundles.weights import weights_file, write_weights
from slams.config.loading import load as load_recipe
from slams.config.loading import to_yaml
from slams.config.schema import BackgroundConfig, Config, DataConfig, SplitsConfig
from slams.errors import UserError
from slams.modules.base import read_checkpoint
from slams.modules.learned_filter import LearnedFilter
from slams.runs.record import RunRecord
from slams.runtime.atomic import write_text
from slams.stages.data import trajectories

__all__ = ["FilterRun", "OpenFilter", "find_filter", "open_filter", "write_filter"]

_STAGE = "filter"
_STORE = "filter.zarr"
_RECIPE = "filter.yaml"


@dataclass(frozen=True)
class FilterRun:
    """The finished run of a filter.

    Attributes:
        run_id: Its run id.
        config: Its recipe.
        store: Its training store.
        checkpoint: Its best weights.
    """

    run_id: str
    config: Config
    store: TrainingStore
    checkpoint: Path


@dataclass(frozen=True)
class OpenFilter:
    """The filter of an open bundle.

    Attributes:
        run_id: Run id of the filter.
        config: Recipe that it was trained with: how observations are read, checked and averaged.
        data: Statistics of its channels, without days and without observations.
        weights: File of its weights.
    """

    run_id: str
    config: Config
    data: MultimodalDataModule
    weights: Path

    @cached_property
    def module(self) -> LearnedFilter:
        """Return the trained filter.

        Raises:
            UserError: As for `LearnedFilter.load`.
        """
        return LearnedFilter.load(self.weights, self.data.channels, self.data.grid)

    @property
    def observed(self) -> tuple[str, ...]:
        """Return the names of the channels that it was trained to observe."""
        return tuple(self.data.channels[i].name for i in self.module.observed)


def find_filter(runs: str | Path, states: TrainingStore | None) -> tuple[FilterRun | None, str]:
    """Find the filter that has written a store of backgrounds.

    Args:
        runs: Directory of the runs among which it is looked for.
        states: The store of backgrounds; `None` where they are not read from a file.

    Returns:
        The filter, and why there is none that a cycle can use: a sentence, or nothing where the
        backgrounds are not forecasts of a filter.
    """
    made_by = {} if states is None else dict(states.attributes.get("made_by", {}))
    if states is None or made_by.get("stage") != _STAGE:
        return None, ""
    run, lag = str(made_by.get("run")), made_by.get("lag")
    name = f"The learned filter whose forecasts are its backgrounds (run {run})"
    without = "the model is exported without it, and does not cycle."
    if lag != 1:
        return None, (
            f"Its backgrounds are forecasts of a learned filter with lag {lag}, and a cycle needs "
            f"those with lag 1: {without}"
        )
    for directory in _directories(Path(runs)):
        try:
            record = RunRecord.read(directory)
        except UserError:  # of another version, or damaged: not what is looked for
            continue
        checkpoint = directory / "checkpoints" / "best.ckpt"
        if record.run_id == run and record.status == "finished" and checkpoint.exists():
            break
    else:
        return None, f"{name} is not there, among the runs beside this one: {without}"
    try:
        config = load_recipe(directory / "config.yaml")
        store = TrainingStore.open(config.data.store, config.data.channels or None)
    except UserError as error:
        return None, f"{name} cannot be read ({error}): {without}"
    if not _same_statistics(store, states):
        return (
            None,
            f"{name} has forecast from other statistics than it was trained with: {without}",
        )
    return FilterRun(run, config, store, checkpoint), ""


def write_filter(part: Path, run: FilterRun) -> None:
    """Write a filter into a bundle.

    Args:
        part: Directory of the bundle.
        run: The filter.

    Raises:
        UserError: Its weights cannot be read.
    """
    write_weights(read_checkpoint(run.checkpoint), weights_file(part, _STAGE))
    days = run.store.attributes["statistics_days"]
    write_packed(part / _STORE, run.store, np.empty(0), days)
    observations = replace(run.config.observations, use=[], instruments=[])
    # Only what reading, checking and averaging of given observations need: no other path or key.
    recipe = Config(
        experiment=run.config.experiment,
        seed=run.config.seed,
        data=DataConfig(
            store=_STORE,
            channels=[spec.name for spec in run.store.channels],
            splits=SplitsConfig(train=[], validation=[], test=[], reserved=[]),
            cache="none",
        ),
        observations=observations,
        background=BackgroundConfig(kind="climatology"),
    )
    write_text(part / _RECIPE, to_yaml(recipe))


def open_filter(path: Path, run_id: str) -> OpenFilter | None:
    """Open the filter of a bundle; `None` where it has none.

    Args:
        path: Directory of the bundle, whose files were compared with their checksums.
        run_id: Run id of the filter by the record of the bundle; empty for none.

    Raises:
        UserError: Its recipe or its store is not one of this version.
    """
    if not run_id:
        return None
    config = load_recipe(path / _RECIPE)
    config = replace(config, data=replace(config.data, store=str(path / _STORE)))
    return OpenFilter(run_id, config, trajectories(config), weights_file(path, _STAGE))


def _directories(runs: Path) -> Iterator[Path]:
    """Yield the directories of filters below a directory; experiments may lie in each other."""
    for folder, below, files in os.walk(runs):
        if "run.json" in files:
            below.clear()  # nothing in a run is another run
            if Path(folder).name == _STAGE:
                yield Path(folder)
        else:
            below[:] = sorted(name for name in below if not name.endswith(".zarr"))


def _same_statistics(store: TrainingStore, states: TrainingStore) -> bool:
    """Return whether the channels of some states have the climatology and units of a store."""
    if store.grid.fingerprint != states.grid.fingerprint:
        return False
    names = [spec.name for spec in states.channels]
    if not set(names) <= {spec.name for spec in store.channels}:
        return False
    one, other = store.select(names).statistics, states.statistics
    return torch.equal(one.harmonics, other.harmonics) and torch.equal(one.sd, other.sd)
