"""The latent score model: a denoiser of latent windows, conditioned on the background.

Trained on the latents of the training period, standardised a channel; the loss is a mean over the
sphere. The encoded background is
hidden in a share of the samples, so that one network serves with and without a background. The
same on the normalised fields themselves is the pixel score model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from slams.config.schema import ScoreConfig
from slams.diffusion.training import denoising_loss, draw_noise, make_denoiser
from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.modules.base import TrainedModule, plain
from slams.modules.vae import settings_of
from slams.nn.latent_space import LatentBatch
from slams.nn.network_mean import NetworkMean
from slams.nn.unet import LatentUNet

__all__ = ["LatentScore", "PixelScore"]


class LatentScore(TrainedModule):
    """Trains the denoiser.

    Args:
        config: Network, noise levels, condition dropout, optimiser.
        channels: Channels of the fields that the latents stand for.
        grid: Grid of these fields.
        latent_shape: `(T, K, h, w)` of a latent window.
        latent_mean: `(K,)` mean of the latents over the training period.
        latent_sd: `(K,)` their standard deviation.
        vae: Fingerprint of the VAE's run; a score model is worthless with another VAE.
        importance: `(K,)` weights of the channels in the loss, needed for training alone;
            `None` for 1.
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
    ) -> None:
        settings = {"config": plain(config), "latent_shape": list(latent_shape), "vae": vae}
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
        self.denoiser = make_denoiser(NetworkMean(networks) if len(networks) > 1 else networks[0])
        self.register_buffer("latent_mean", latent_mean.clone())
        self.register_buffer("latent_sd", latent_sd.clone())
        weights = torch.ones_like(latent_mean) if importance is None else importance.clone()
        self.register_buffer("importance", weights, persistent=False)
        # Rows of the latents count as the rows of the fields that they stand for.
        area = grid.weights.reshape(shape[0], -1).mean(dim=1).to(torch.float32)
        self.register_buffer("area", area, persistent=False)
        # A loss that is no number must show, not be left out of the mean.
        self.validation_loss = MeanMetric(nan_strategy="disable")
        self.to(memory_format=torch.channels_last)

    @classmethod
    def build(
        cls,
        settings: dict[str, Any],
        channels: Sequence[FieldSpec],
        grid: LatLonGrid,
        state: dict[str, Tensor],
    ) -> LatentScore:
        """Make the module that a checkpoint describes."""
        return cls(
            ScoreConfig(**settings_of(settings["config"])),
            channels,
            grid,
            tuple(settings["latent_shape"]),
            state["latent_mean"],
            state["latent_sd"],
            settings["vae"],
        )

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """Return the denoiser's backbone."""
        return (self.denoiser.backbone,)

    @property
    def vae_run(self) -> str:
        """Return the id of the VAE's run that the latents came from."""
        return self.identity["settings"]["vae"]

    def loss(self, batch: LatentBatch) -> Tensor:
        """Evaluate the denoising loss of each window: `(B,)`."""
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
        # Several draws a window: few validation days would else make a noisy criterion.
        for _ in range(4):
            self.validation_loss.update(self.loss(batch).float())
        self.log("validation/loss", self.validation_loss)


class PixelScore(LatentScore):
    """Trains the denoiser of the fields themselves.

    Args:
        config: Network, noise levels, condition dropout, optimiser.
        channels: Channels of the fields.
        grid: Their grid.
        shape: `(T, C, H, W)` of a window.
        mean: `(C,)` mean of the normalised fields over the training period.
        sd: `(C,)` their standard deviation.
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
    def build(
        cls,
        settings: dict[str, Any],
        channels: Sequence[FieldSpec],
        grid: LatLonGrid,
        state: dict[str, Tensor],
    ) -> PixelScore:
        """Make the module that a checkpoint describes."""
        return cls(
            ScoreConfig(**settings_of(settings["config"])),
            channels,
            grid,
            tuple(settings["latent_shape"]),
            state["latent_mean"],
            state["latent_sd"],
            state["field_sd"],
        )
