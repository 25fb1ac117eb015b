"""Encodings that the score model is trained on: their windows, and what they depend on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from data_modules.latent import LatentDataModule
from data_modules.multimodal import MultimodalDataModule
from data_modules.reanalysis import read_batches
from data_modules.store.latents import wait_for_latents, write_latents
from slams.assimilators.base import Archive
from slams.assimilators.degraded_backgrounds import degrade
from slams.config.schema import Config
from slams.nn.latent_space import LatentSpace
from slams.runtime.ranks import is_rank_zero
from slams.stages.data import trajectories
from slams.stages.places import trained_directory

__all__ = ["encode_windows"]


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
    if rolled:
        key["turned"] = str(rolled)
    path = trained_directory(config, "vae") / f"latents_{background.lag}.zarr"
    if is_rank_zero():
        write_latents(path, space, _splits(config, datamodule, lags, rolled), key)
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
    )


def _splits(
    config: Config,
    datamodule: MultimodalDataModule,
    lags: Sequence[int],
    rolled: Sequence[int],
) -> Iterator[tuple[str, Archive]]:
    """Return the windows to encode; shifted copies are made one at a time.

    The days are read at once, not when they are encoded, so that errors in them are reported even
    where their encodings are reused.
    """
    splits = {"train": datamodule.archive(), "validation": _windows(datamodule, "validation")}
    background = config.background
    for lag in lags:
        other = replace(config, background=replace(background, lag=lag))
        splits[f"train_lag_{lag}"] = trajectories(other, datamodule.store).archive()
    splits = {name: degrade(part, background.analysis_error) for name, part in splits.items()}
    train = splits["train"]
    copies = ((f"train_turned_{cells}", train.rolled(cells)) for cells in rolled)
    return itertools.chain(splits.items(), copies)


def _windows(datamodule: MultimodalDataModule, split: str) -> Archive:
    """Read the windows of a split with their backgrounds."""
    parts = []
    for batch in read_batches(datamodule, split):
        background, known = batch.background.mean, batch.background.known
        if known is None:
            known = torch.ones_like(background, dtype=torch.bool)
        parts.append((batch.fields, background, batch.time, batch.mask, known))
    return Archive(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
