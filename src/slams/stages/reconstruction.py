"""What the VAE loses: its reconstruction error over the validation period."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from data_modules.reanalysis import ReanalysisDataModule
from slams.fields import Ensemble
from slams.modules.vae import VAE

__all__ = ["write_reconstruction"]


@torch.no_grad()
def write_reconstruction(
    directory: Path, vae: VAE, datamodule: ReanalysisDataModule
) -> dict[str, float]:
    """Writes `reconstruction.parquet` and one case as `reconstruction.zarr`.

    Args:
        directory: Run directory of the VAE.
        vae: The trained VAE.
        datamodule: Gives the validation windows.

    Returns:
        Area-weighted root-mean-square error a channel, channel units; and
        `temperature`, its mean over the levels (K).
    """
    vae.channel_error.reset()
    shown = False
    for window in datamodule.val_dataloader():
        batch = datamodule.on_after_batch_transfer(window, 0)
        fields, known = batch.fields.flatten(0, 1), batch.mask.flatten(0, 1)
        vae.update_error(fields, known)
        if not shown:
            decoded = vae.decoder(vae.encoder(fields[:1], known[:1])[0])
            _write_maps(directory, datamodule, batch.fields[:1], decoded[:, None], batch)
            shown = True
    error = vae.channel_error.compute().sqrt()
    rows = [
        {
            "variable": c.variable,
            "level": "surface" if c.level is None else str(c.level),
            "rmse": float(e),
            "units": c.channel_units,
        }
        for c, e in zip(vae.channels, error, strict=True)
    ]
    pd.DataFrame(rows).to_parquet(directory / "reconstruction.parquet", index=False)
    named = {c.name: float(e) for c, e in zip(vae.channels, error, strict=True)}
    levels = [named[c.name] for c in vae.channels if c.variable == "temperature"]
    if levels:
        named["temperature"] = sum(levels) / len(levels)
    return named


def _write_maps(
    directory: Path,
    datamodule: ReanalysisDataModule,
    truth: Tensor,
    decoded: Tensor,
    batch: object,
) -> None:
    normaliser = datamodule.normaliser
    for name, fields in (("truth", truth), ("reconstruction", decoded)):
        state = normaliser.to_physical(normaliser.denormalise(fields, batch.climatology[:1]))
        one = Ensemble(name, state[:, None], batch.time[:1], datamodule.channels, datamodule.grid)
        one.to_xarray().isel(member=0).to_zarr(
            directory / "reconstruction.zarr",
            group=name,
            mode="w" if name == "truth" else "a",
            zarr_format=3,
            consolidated=False,
        )
