"""The trained modules of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from slams.config.schema import Config
from slams.diffusion.backend import Denoiser
from slams.diffusion.trajectory import TrajectoryDenoiser
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.modules.score import LatentScore, PixelScore
from slams.modules.vae import VAE
from slams.nn.latent_space import IdentitySpace, LatentSpace
from slams.normalisation import DAYS_PER_YEAR
from slams.stages.places import finished_run, trained_directory

__all__ = ["compose", "load_pixel_score", "load_score", "load_vae"]

# Windows of trajectories that pass through a denoiser at once.
_CHUNK = 64


def compose(denoiser: Denoiser, config: Config) -> Denoiser:
    """Compose a denoiser of windows into one of trajectories, where the recipe has longer ones.

    Args:
        denoiser: Denoiser of windows of `data.window` days.
        config: The recipe.
    """
    if config.data.days == config.data.window:
        return denoiser
    return TrajectoryDenoiser(denoiser, config.data.window, _CHUNK, season_step=1 / DAYS_PER_YEAR)


def load_vae(config: Config, channels: Sequence[FieldSpec], grid: LatLonGrid, sd: Tensor) -> VAE:
    """Load the VAE that a recipe builds on.

    Args:
        config: The recipe.
        channels: Channels of its training store.
        grid: Grid of its training store.
        sd: `(C, H, W)` standard deviations that normalise its fields.

    Raises:
        UserError: It is missing, unfinished, belongs to another grid or channel set, or was
            trained on fields that were normalised by other statistics.
    """
    finished_run(config, "vae")
    path = trained_directory(config, "vae") / "checkpoints" / "best.ckpt"
    vae = VAE.load(path, channels, grid)
    _check_statistics(vae.sd, sd, config, path)
    return vae


def load_score(
    config: Config, channels: Sequence[FieldSpec], grid: LatLonGrid, sd: Tensor
) -> tuple[LatentSpace, LatentScore]:
    """Load the score model that a recipe builds on, with its latent space.

    Arguments as for `load_vae`.

    Raises:
        UserError: It is missing, unfinished, of another grid, channel set or window length,
            or was trained on the latents of another VAE; or the VAE is refused.
    """
    vae = load_vae(config, channels, grid, sd)
    finished_run(config, "score")
    path = trained_directory(config, "score") / "checkpoints" / "best.ckpt"
    score = LatentScore.load(path, channels, grid)
    found, expected = score.vae_run, finished_run(config, "vae").run_id
    if found != expected:
        raise UserError(
            f"{path}: was trained on latents of VAE run {found}, expected those of VAE run "
            f"{expected}; run `slams train score` again with resume=overwrite"
        )
    _check_window(score, config, path)
    return LatentSpace(vae.encoder, vae.decoder, score.latent_mean, score.latent_sd), score


def load_pixel_score(
    config: Config, channels: Sequence[FieldSpec], grid: LatLonGrid, sd: Tensor
) -> tuple[IdentitySpace, PixelScore]:
    """Load the score model of the fields that a recipe builds on, with its space.

    Arguments as for `load_vae`.

    Raises:
        UserError: It is missing, unfinished, of another grid, channel set or window length,
            or was trained on fields that were normalised by other statistics.
    """
    finished_run(config, PixelScore.stage)
    path = trained_directory(config, PixelScore.stage) / "checkpoints" / "best.ckpt"
    score = PixelScore.load(path, channels, grid)
    _check_statistics(score.field_sd, sd, config, path)
    _check_window(score, config, path)
    return IdentitySpace(score.latent_mean, score.latent_sd), score


def _check_statistics(trained: Tensor, sd: Tensor, config: Config, path: Path) -> None:
    """Refuse a network whose fields were normalised by other standard deviations."""
    if not torch.allclose(trained, sd.to(trained), rtol=1e-4):
        raise UserError(
            f"{path}: was trained with other statistics (standard deviations) than those of "
            f"training store {config.data.store}; train again on this store, or prepare it with "
            f"data.statistics_from naming the store of that training"
        )


def _check_window(score: LatentScore, config: Config, path: Path) -> None:
    """Refuse a score model of windows of another length."""
    days = score.identity["settings"]["latent_shape"][0]
    if days != config.data.window:
        raise UserError(
            f"{path}: was trained on windows of {days} days, but data.window is "
            f"{config.data.window}; set data.window={days}, or train the score again"
        )
