"""Reconstruction error of the VAE over the validation period."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from data_modules.reanalysis import ReanalysisDataModule, read_batches
from slams.cf import day_methods, state_dataset, write_zarr
from slams.fields import Batch, Ensemble
from slams.metrics.accumulators import ChannelError
from slams.metrics.scores import level_groups
from slams.modules.vae import VAE
from slams.runtime.atomic import replacing_store
from slams.runtime.files import write_table

__all__ = ["write_reconstruction"]


@torch.no_grad()
def write_reconstruction(
    directory: Path, vae: VAE, datamodule: ReanalysisDataModule
) -> dict[str, float]:
    """Write `reconstruction.parquet` and one case as `reconstruction.zarr`.

    Args:
        directory: Run directory of the VAE.
        vae: The trained VAE.
        datamodule: Source of the validation windows.

    Returns:
        Area-weighted root-mean-square error of each channel that is ever known, channel
        units; and, by the name of each variable with levels, such as `temperature`, its mean
        over them.
    """
    # Rank zero reads the whole split, without collectives with the other ranks.
    error = ChannelError(len(vae.channels), sync_on_compute=False)
    for number, batch in enumerate(read_batches(datamodule, "validation")):
        fields, known = batch.fields.flatten(0, 1), batch.mask.flatten(0, 1)
        decoded = vae.reconstruct(fields, known)
        error.update((fields - decoded) * vae.sd, known, vae.weights)
        if number == 0:
            first = decoded.unflatten(0, batch.fields.shape[:2])[:1]
            _write_maps(directory, datamodule, first, batch.select(slice(0, 1)))
    errors = zip(vae.channels, error.compute().tolist(), strict=True)
    known_errors = [(channel, value) for channel, value in errors if math.isfinite(value)]
    rows = [
        (c.variable, "surface" if c.level is None else str(c.level), value, c.channel_units)
        for c, value in known_errors
    ]
    table = pd.DataFrame(rows, columns=["variable", "level", "rmse", "units"])
    write_table(table, directory / "reconstruction.parquet")
    named = {channel.name: value for channel, value in known_errors}
    for variable, index in level_groups(vae.channels).items():
        levels = [named[vae.channels[i].name] for i in index if vae.channels[i].name in named]
        if levels:
            named[variable] = sum(levels) / len(levels)
    return named


def _write_maps(
    directory: Path, datamodule: ReanalysisDataModule, decoded: Tensor, case: Batch
) -> None:
    normaliser = datamodule.normaliser
    truth = case.fields.masked_fill(~case.mask, torch.nan)
    methods = day_methods(datamodule.store.attributes)
    with replacing_store(directory / "reconstruction.zarr") as store:
        for name, fields in (("truth", truth), ("reconstruction", decoded)):
            state = normaliser.to_physical(normaliser.denormalise(fields, case.climatology))
            one = Ensemble(name, state[:, None], case.time, datamodule.channels, datamodule.grid)
            dataset = state_dataset(one, day_methods=methods, step=datamodule.store.step)
            write_zarr(dataset, store, group=name)
