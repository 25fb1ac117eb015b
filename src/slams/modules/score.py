"""The latent score model: a denoiser of latent windows, conditioned on the background.

It is trained on the latents of the training period, standardised per channel; the loss is a mean
over the sphere. The encoded background is hidden in a fraction of the samples, so that one network
can be used with and without a background. The same model of the normalised fields themselves is
the pixel score model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from slams.config.schema import ScoreConfig
from slams.diffusion.training import denoising_loss, draw_noise, make_denoiser
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.modules.base import Saved, TrainedModule, settings_of
from slams.nn.blocks import BlockGrid
from slams.nn.latent_space import LatentBatch
from slams.nn.network_mean import NetworkMean
from slams.nn.unet import LatentUNet

__all__ = ["LatentScore", "PixelScore"]


class LatentScore(TrainedModule):
    """Training of the denoiser of latent windows.

    Args:
        config: Network, noise levels, condition dropout, optimiser.
        channels: Channels of the fields that the latents represent.
        grid: Grid of the fields.
        latent_shape: `(T, K, h, w)` of a latent window.
        latent_mean: `(K,)` mean of the latents over the training period.
        latent_sd: `(K,)` standard deviation of the latents over the training period.
        vae: Fingerprint of the VAE's run; a score model cannot be used with another VAE.
        importance: `(K,)` weights of the channels in the loss, needed only for training; `None`
            for 1.
        departure_sd: `(K,)` standard deviation of the latents about the encoded backgrounds, for a
            denoiser that is centred on these; `None` for one that is not.
    """

    stage = "score"
    latent_mean: Tensor
    latent_sd: Tensor
    importance: Tensor
    area: Tensor

    def __init__(
        self,
        config: ScoreConfig,
        channels: Sequence[FieldSpec],
        grid: LatLonGrid,
        latent_shape: tuple[int, int, int, int],
        latent_mean: Tensor,
        latent_sd: Tensor,
        vae: str,
        importance: Tensor | None = None,
        departure_sd: Tensor | None = None,
    ) -> None:
        settings = {"config": asdict(config), "latent_shape": list(latent_shape), "vae": vae}
        super().__init__(config.optimizer, channels, grid, settings)
        self.config = config
        window, latent_channels, *shape = latent_shape
        networks = [
            LatentUNet(
                latent_channels,
                window,
                (shape[0], shape[1]),
                config.channels,
                config.blocks,
                config.embedding,
                config.dropout,
            )
            for _ in range(config.ensemble)
        ]
        backbone = NetworkMean(networks) if len(networks) > 1 else networks[0]
        self.denoiser = make_denoiser(backbone, departure_sd=departure_sd)
        self.register_buffer("latent_mean", latent_mean.clone())
        self.register_buffer("latent_sd", latent_sd.clone())
        weights = torch.ones_like(latent_mean) if importance is None else importance.clone()
        self.register_buffer("importance", weights, persistent=False)
        # Rows of the latents have the weights of the rows of the fields that they represent.
        factor = max(-(-size // n) for size, n in zip(grid.shape, shape, strict=True))
        area = BlockGrid(grid.shape, factor).row_means(grid.weights).to(torch.float32)
        self.register_buffer("area", area, persistent=False)
        # A loss that is NaN must be visible, not be excluded from the mean.
        self.validation_loss = MeanMetric(nan_strategy="disable")
        self.to(memory_format=torch.channels_last)

    @classmethod
    def build(cls, saved: Saved) -> LatentScore:
        """Build the module from a checkpoint."""
        arguments = cls._saved_arguments(saved)
        departure_sd = saved.state.get("denoiser.sd")
        return cls(*arguments, saved.settings["vae"], departure_sd=departure_sd)

    @staticmethod
    def _saved_arguments(saved: Saved) -> tuple[Any, ...]:
        """Return the arguments that both kinds of score model are built with."""
        return (
            settings_of(ScoreConfig, saved.settings["config"]),
            saved.channels,
            saved.grid,
            tuple(saved.settings["latent_shape"]),
            saved.state["latent_mean"],
            saved.state["latent_sd"],
        )

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """Return the denoiser's backbone."""
        return (self.denoiser.backbone,)

    @property
    def vae_run(self) -> str:
        """Return the id of the run of the VAE that encoded the latents."""
        return self.identity["settings"]["vae"]

    def loss(self, batch: LatentBatch) -> Tensor:
        """Evaluate the denoising loss of each window, `(B,)`."""
        config = self.config
        draw = draw_noise(
            batch.latents, config.noise_mean, config.noise_sd, config.condition_dropout
        )
        return denoising_loss(
            self.denoiser,
            batch.latents,
            draw,
            batch.background,
            batch.season,
            batch.age,
            self.importance,
            self.area,
        )

    def training_step(self, batch: LatentBatch, index: int) -> Tensor:
        """Return the mean loss of a batch."""
        loss = self.loss(batch).mean()
        self.log("train/loss", loss.detach(), batch_size=len(batch))
        return loss

    def validation_step(self, batch: LatentBatch, index: int) -> None:
        """Add a batch to the validation loss."""
        # Several draws per window, because a loss over few validation days would be noisy.
        for _ in range(4):
            self.validation_loss.update(self.loss(batch).float())
        self.log("validation/loss", self.validation_loss)


class PixelScore(LatentScore):
    """Training of the denoiser of the fields themselves.

    Args:
        config: Network, noise levels, condition dropout, optimiser.
        channels: Channels of the fields.
        grid: Grid of the fields.
        shape: `(T, C, H, W)` of a window.
        mean: `(C,)` mean of the normalised fields over the training period.
        sd: `(C,)` standard deviation of the normalised fields over the training period.
        field_sd: `(C, H, W)` standard deviations that normalised the fields.
    """

    stage = "score_pixel"
    section = "score"
    field_sd: Tensor

    def __init__(
        self,
        config: ScoreConfig,
        channels: Sequence[FieldSpec],
        grid: LatLonGrid,
        shape: tuple[int, int, int, int],
        mean: Tensor,
        sd: Tensor,
        field_sd: Tensor,
    ) -> None:
        super().__init__(config, channels, grid, shape, mean, sd, vae="")
        self.register_buffer("field_sd", field_sd.clone())

    @classmethod
    def build(cls, saved: Saved) -> PixelScore:
        """Build the module from a checkpoint."""
        return cls(*cls._saved_arguments(saved), saved.state["field_sd"])
