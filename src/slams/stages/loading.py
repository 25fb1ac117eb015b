"""The trained networks of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from data_modules.reanalysis import ReanalysisDataModule
from slams.bundles.weights import weights_file
from slams.config.schema import Config
from slams.diffusion.backend import Denoiser
from slams.diffusion.centred import with_backbone
from slams.diffusion.trajectory import TrajectoryDenoiser
from slams.errors import UserError
from slams.modules.base import TrainedModule
from slams.modules.score import LatentScore, PixelScore
from slams.modules.vae import VAE
from slams.nn.latent_space import IdentitySpace, LatentSpace
from slams.nn.precision import Bfloat16, natural_precision
from slams.normalisation import DAYS_PER_YEAR
from slams.plugins.guidance import GUIDANCE
from slams.stages.places import finished_run, trained_directory

__all__ = ["Networks", "best_weights", "load_vae", "raw_space"]

# Windows of trajectories that pass through a denoiser at once.
_CHUNK = 64

_Module = TypeVar("_Module", bound=TrainedModule)


def load_vae(config: Config, data: ReanalysisDataModule, bundle: Path | None = None) -> VAE:
    """Load the VAE that a recipe builds on.

    Args:
        config: The recipe.
        data: Its data, with the channels, the grid and the statistics of its training store.
        bundle: As for `Networks`.

    Raises:
        UserError: It is missing, unfinished, belongs to another grid or channel set, or was
            trained on fields that were normalised by other statistics.
    """
    vae, path = _load(VAE, config, data, bundle)
    _check_statistics(vae.sd, data, path)
    return vae


def raw_space(vae: VAE) -> LatentSpace:
    """Return the latent space of a VAE, not standardised: with mean 0 and deviation 1."""
    count = vae.config.latent_channels
    return LatentSpace(vae.encoder, vae.decoder, torch.zeros(count), torch.ones(count))


class Networks:
    """Trained networks that a recipe builds on, loaded when needed, see `TrainedNetworks`.

    Args:
        config: The recipe.
        data: Its data, as for `load_vae`.
        bundle: Bundle whose weights are loaded instead of those of the recipe's runs.
    """

    def __init__(
        self, config: Config, data: ReanalysisDataModule, bundle: Path | None = None
    ) -> None:
        self._config = config
        self._data = data
        self._bundle = bundle

    def autoencoder(self) -> LatentSpace:
        """Return the VAE's latent space, not standardised."""
        return raw_space(self._vae())

    def latent_score(self) -> tuple[LatentSpace, Denoiser]:
        """Return the latent space and the denoiser of latent windows.

        Raises:
            UserError: The score model is missing, unfinished, of another grid, channel set or
                window length, or was trained on the latents of another VAE; or the VAE is refused.
        """
        vae = self._vae()
        score, path = _load(LatentScore, self._config, self._data, self._bundle)
        if self._bundle is None:  # the weights of a bundle were checked when it was exported
            _check_lineage(score, self._config, path)
        _check_window(score, self._config, path)
        space = LatentSpace(vae.encoder, vae.decoder, score.latent_mean, score.latent_sd)
        return self._evaluated(space, score)

    def pixel_score(self) -> tuple[IdentitySpace, Denoiser]:
        """Return the space of the fields and the denoiser of their windows.

        Raises:
            UserError: The score model is missing, unfinished, of another grid, channel set or
                window length, or was trained on fields that were normalised by other statistics.
        """
        score, path = _load(PixelScore, self._config, self._data, self._bundle)
        _check_statistics(score.field_sd, self._data, path)
        _check_window(score, self._config, path)
        return self._evaluated(IdentitySpace(score.latent_mean, score.latent_sd), score)

    def _vae(self) -> VAE:
        return load_vae(self._config, self._data, self._bundle)

    def _evaluated(self, space: LatentSpace, score: LatentScore) -> tuple[LatentSpace, Denoiser]:
        """Convert decoder and denoiser to the precision in which the recipe's sampler needs them.

        Guidance through the network's derivatives uses full precision. A denoiser of windows is
        composed into one of trajectories, where the recipe has longer ones.
        """
        settings, data, denoiser = self._config.assimilation, self._config.data, score.denoiser
        precision = settings.sampler.precision
        if precision == "auto":
            precision = natural_precision("gpu" if torch.cuda.is_available() else "cpu")
        kind = GUIDANCE.get(settings.guidance.kind, "assimilation.guidance.kind")
        if precision == "bf16-mixed" and not kind.uses_jacobian:
            space = LatentSpace(space.encoder, Bfloat16(space.decoder), space.mean, space.sd)
            denoiser = with_backbone(denoiser, Bfloat16(denoiser.backbone))
        if data.days == data.window:
            return space, denoiser
        step = 1 / DAYS_PER_YEAR
        return space, TrajectoryDenoiser(denoiser, data.window, _CHUNK, season_step=step)


def _load(
    kind: type[_Module], config: Config, data: ReanalysisDataModule, bundle: Path | None
) -> tuple[_Module, Path]:
    """Load the best weights of the finished run of a stage, or a bundle's, with their file."""
    path = best_weights(config, kind.stage) if bundle is None else weights_file(bundle, kind.stage)
    return kind.load(path, data.channels, data.grid), path


def best_weights(config: Config, stage: str) -> Path:
    """Return the checkpoint with the best weights of the finished run of a stage.

    Raises:
        UserError: There is no such run, see `finished_run`.
    """
    finished_run(config, stage)
    return trained_directory(config, stage) / "checkpoints" / "best.ckpt"


def _check_lineage(score: LatentScore, config: Config, path: Path) -> None:
    """Refuse a score model that was trained on the latents of another VAE."""
    found, expected = score.vae_run, finished_run(config, "vae").run_id
    if found != expected:
        raise UserError(
            f"{path}: was trained on latents of VAE run {found}, expected those of VAE run "
            f"{expected}; run `slams train score` again with resume=overwrite"
        )


def _check_statistics(trained: Tensor, data: ReanalysisDataModule, path: Path) -> None:
    """Refuse a network whose fields were normalised by other standard deviations."""
    if not torch.allclose(trained, data.normaliser.sd.to(trained), rtol=1e-4):
        raise UserError(
            f"{path}: was trained with other statistics (standard deviations) than those of "
            f"training store {data.store.path}; train again on this store, or prepare it with "
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
