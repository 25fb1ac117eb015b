"""Encodings that the score model is trained on: their windows, and what they depend on."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from data_modules.latent import LatentDataModule
from data_modules.multimodal import MultimodalDataModule
from data_modules.store.latents import piece_of, wait_for_latents, write_latents
from slams.assimilators.base import Archive
from slams.assimilators.degraded_backgrounds import mixed, unrelated_days
from slams.config.schema import Config
from slams.nn.latent_space import LatentSpace
from slams.runtime.heartbeat import Heartbeat
from slams.runtime.ranks import is_rank_zero
from slams.stages.data import trajectories
from slams.stages.places import trained_directory

__all__ = ["encode_windows", "windows_at_a_time"]


def encode_windows(
    config: Config, datamodule: MultimodalDataModule, space: LatentSpace, vae_run: str
) -> LatentDataModule:
    """Encode the windows of training and validation once and return the batches of their latents.

    Rank zero writes while the others wait; encodings by the same VAE from the same data are
    reused.

    Args:
        config: The recipe, without observations and without a recentred background.
        datamodule: Windows of fields with their backgrounds, set up to fit.
        space: The VAE's latent space, with mean 0 and standard deviation 1 (raw latents).
        vae_run: Id of the VAE's run.
    """
    background = config.background
    lags = [lag for lag in config.score.lags if lag != background.lag]
    shifts = config.score.shifts
    rolled = [cells for cells in range(-shifts, shifts + 1) if cells]
    key = {
        "vae": vae_run,
        "data": datamodule.store.fingerprint,
        "background": f"{background.kind}/{background.lag}/{background.path}",
        "analysis_error": f"{background.analysis_error:g}",
        "window": str(config.data.days),
        "train": str(config.data.splits.train),
        "validation": str(config.data.splits.validation),
    }
    if lags:
        key["lags"] = str(lags)
    if datamodule.provider.states is not None:
        # Other states may lie at the same paths.
        older = [_at_lag(config, datamodule, lag).provider.states for lag in lags]
        stores = [datamodule.provider.states, *older]
        key["states"] = " ".join(store.fingerprint for store in stores if store is not None)
    if rolled:
        key["turned"] = str(rolled)
    path = trained_directory(config, "vae") / f"latents_{background.lag}.zarr"
    if is_rank_zero():
        seconds = config.trainer.log_every_seconds
        with Heartbeat("train score", seconds, "looking for the encodings") as heartbeat:
            splits = _noted(_splits(config, datamodule, lags, rolled), "encoding", heartbeat)
            if not write_latents(path, space, splits, key):
                # The days are read all the same: an error in them is reported before the training.
                for _, pieces in _noted(
                    _splits(config, datamodule, lags, ()), "reading", heartbeat
                ):
                    deque(pieces, maxlen=0)
    else:
        wait_for_latents(path, key)
    return LatentDataModule(
        path,
        config.score.batch_size,
        config.seed,
        config.data.window,
        {lag: lag / background.lag for lag in lags},
        rolled,
        ahead=config.data.ahead,
        step=config.data.step_days,
    )


def windows_at_a_time(config: Config, datamodule: MultimodalDataModule) -> int:
    """Return the number of windows that are read and encoded at a time."""
    store = datamodule.store
    return piece_of(config.data.days * len(store.channels) * math.prod(store.grid.shape))


def _splits(
    config: Config,
    datamodule: MultimodalDataModule,
    lags: Sequence[int],
    rolled: Sequence[int],
) -> Iterator[tuple[str, Iterator[Archive]]]:
    """Yield the name of each split and its windows, piece by piece; copies are read again."""
    error, piece = config.background.analysis_error, windows_at_a_time(config, datamodule)
    train = datamodule.archive_reader()
    yield "train", _pieces(train, error, piece)
    yield "validation", _pieces(_Validation(datamodule), error, piece)
    for lag in lags:
        older = _at_lag(config, datamodule, lag).archive_reader()
        yield f"train_lag_{lag}", _pieces(older, error, piece)
    for cells in rolled:
        yield (
            f"train_turned_{cells}",
            (part.rolled(cells) for part in _pieces(train, error, piece)),
        )


def _noted(
    splits: Iterator[tuple[str, Iterator[Archive]]], doing: str, heartbeat: Heartbeat
) -> Iterator[tuple[str, Iterator[Archive]]]:
    """Let a heartbeat say which windows are being encoded or read."""

    def counted(name: str, pieces: Iterator[Archive]) -> Iterator[Archive]:
        done = 0
        for piece in pieces:
            heartbeat.note(f"{doing} {name}, window {done}")
            yield piece
            done += len(piece.time)

    for name, pieces in splits:
        yield name, counted(name, pieces)


def _at_lag(config: Config, datamodule: MultimodalDataModule, lag: int) -> MultimodalDataModule:
    other = replace(config, background=replace(config.background, lag=lag))
    return trajectories(other, datamodule.store)


class _Reader(Protocol):
    """Reader of windows with their backgrounds."""

    @property
    def first_days(self) -> Tensor: ...

    def read(self, positions: Tensor) -> Archive: ...


class _Validation:
    """Reader of the validation windows."""

    def __init__(self, datamodule: MultimodalDataModule) -> None:
        self._datamodule, self._dataset = datamodule, datamodule.dataset("validation")
        time = self._dataset.store.time[self._dataset.cases]
        self.first_days = torch.from_numpy(time)

    def read(self, positions: Tensor) -> Archive:
        window = self._dataset.read(positions.tolist())
        batch = self._datamodule.assemble(window, observe=False)
        background, known = batch.background.mean, batch.background.known
        if known is None:
            known = torch.ones_like(background, dtype=torch.bool)
        return Archive(batch.fields, background, batch.time, batch.mask, known)


def _pieces(reader: _Reader, error: float, piece: int) -> Iterator[Archive]:
    """Read windows piece by piece, with backgrounds as those of `degrade`."""
    first = reader.first_days
    unrelated = unrelated_days(first) if error else None
    for at in torch.arange(len(first)).split(piece):
        part = reader.read(at)
        if unrelated is not None:
            other = reader.read(unrelated[at]).background
            part = replace(part, background=mixed(part.background, other, error))
        yield part
