"""The latent space of a trained VAE: conversion between standardised latents and fields.

The space of the fields themselves has the same interface, so that code for latents works on fields
too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from slams.errors import UserError

__all__ = ["IdentitySpace", "LatentBatch", "LatentSpace", "decoded_importance"]

# Size of the perturbation of latents to measure the response of the decoder, standard deviations.
_STEP = 0.3


@dataclass(frozen=True)
class LatentBatch:
    """A batch of standardised latent windows.

    Attributes:
        latents: `(B, T, K, h, w)`.
        background: `(B, T, K, h, w)` encoded backgrounds.
        season: `(B,)` time of year in [0, 1).
        age: `(B,)` age of the background, relative to that of the backgrounds with which the
            denoiser is used; `None` if all have that age.
    """

    latents: Tensor
    background: Tensor
    season: Tensor
    age: Tensor | None = None

    def __len__(self) -> int:
        return self.latents.shape[0]

    def to(self, *args: Any, **kwargs: Any) -> LatentBatch:
        """Move the tensors."""
        return LatentBatch(
            self.latents.to(*args, **kwargs),
            self.background.to(*args, **kwargs),
            self.season.to(*args, **kwargs),
            None if self.age is None else self.age.to(*args, **kwargs),
        )


class LatentSpace(nn.Module):
    """Encoder of windows into standardised latents, and decoder.

    Args:
        encoder: Map from `(B, C, H, W)` fields and masks to latent mean and log-variance.
        decoder: Map from `(B, K, h, w)` latents to `(B, C, H, W)` fields.
        mean: `(K,)` mean of the latents over the training period.
        sd: `(K,)` standard deviation of the latents over the training period.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, encoder: nn.Module, decoder: nn.Module, mean: Tensor, sd: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.register_buffer("mean", mean.reshape(-1, 1, 1))
        self.register_buffer("sd", sd.reshape(-1, 1, 1))

    def encode(self, fields: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode `(B, T, C, H, W)` normalised fields into `(B, T, K, h, w)` latents.

        Args:
            fields: Normalised fields, with any finite fill value where missing.
            mask: True where known; `None` if everything is known.
        """
        mask = torch.ones_like(fields, dtype=torch.bool) if mask is None else mask
        mean, _ = self.encoder(fields.flatten(0, 1), mask.flatten(0, 1))
        return ((mean - self.mean) / self.sd).unflatten(0, fields.shape[:2])

    def decode(self, latents: Tensor) -> Tensor:
        """Decode `(B, T, K, h, w)` latents into `(B, T, C, H, W)` normalised fields."""
        fields = self.decoder((latents * self.sd + self.mean).flatten(0, 1))
        return fields.unflatten(0, latents.shape[:2])


@torch.no_grad()
def decoded_importance(
    space: LatentSpace, latents: Tensor, noise: Generator, area: Tensor
) -> Tensor:
    """Measure the effect of each latent channel on the fields.

    White noise is added to one channel at a time; the result is the variance that this adds to the
    decoded, normalised fields over the sphere, relative to the mean over the channels.

    Args:
        space: The latent space.
        latents: `(N, T, K, h, w)` standardised latents to start from.
        noise: Generator of the noise, on the CPU.
        area: `(H,)` cell areas of the fields' rows, mean 1.

    Returns:
        `(K,)`, with mean 1.
    """
    fields = space.decode(latents)
    weight = area.to(fields).reshape(-1, 1)
    gained = []
    for channel in range(latents.shape[2]):
        moved = latents.clone()
        drawn = torch.randn(latents[:, :, channel].shape, generator=noise)
        moved[:, :, channel] += _STEP * drawn.to(latents)
        gained.append(((space.decode(moved) - fields).square() * weight).mean())
    importance = torch.stack(gained)
    return importance / importance.mean()


class _Identity(nn.Module):
    """Encoder that returns the fields themselves."""

    factor = 1

    def forward(self, fields: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(B, C, H, W)` fields unchanged, with a log-variance of 0.

        Raises:
            UserError: A value is missing, and there is no way to replace it.
        """
        missing = (~mask).sum(dim=(0, 2, 3))
        if bool(missing.any()):
            channel = int(missing.argmax())
            raise UserError(
                f"diffusion of the fields themselves (pixel): channel {channel} has "
                f"{int(missing[channel])} missing values, expected none, because only a VAE can "
                f"handle missing values; use latent_diffusion, or data.channels without it"
            )
        return fields, torch.zeros_like(fields)


class IdentitySpace(LatentSpace):
    """Space of the standardised fields themselves, with the interface of a latent space.

    Args:
        mean: `(C,)` mean of the normalised fields over the training period.
        sd: `(C,)` standard deviation of the normalised fields over the training period.
    """

    def __init__(self, mean: Tensor, sd: Tensor) -> None:
        super().__init__(_Identity(), nn.Identity(), mean, sd)
