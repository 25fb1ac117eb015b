"""The latent space that a trained VAE defines: standardised latents to fields and back.

Also the space of the fields themselves in the same form, so that whatever works on latents can
work on fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from slams.errors import UserError

__all__ = ["IdentitySpace", "LatentBatch", "LatentSpace", "decoded_importance"]

# How far latents are moved to see what the decoder makes of it, in standard deviations.
_STEP = 0.3


@dataclass(frozen=True)
class LatentBatch:
    """Carries standardised latent windows.

    Attributes:
        latents: `(B, T, K, h, w)`.
        background: `(B, T, K, h, w)` encoded backgrounds.
        season: `(B,)` time of year in [0, 1).
        age: `(B,)` age of the background, in that of the backgrounds that the denoiser is used
            with; `None` if all are of that age.
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
    """Encodes windows into standardised latents and decodes them.

    Args:
        encoder: Maps `(B, C, H, W)` fields and masks to latent mean and log-variance.
        decoder: Maps `(B, K, h, w)` latents to `(B, C, H, W)` fields.
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
            fields: Normalised fields; any finite filler where missing.
            mask: True where known; `None` if all of it is.
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
    """Measure what each latent channel does in the fields.

    One channel at a time is moved by white noise: the variance that decoded, normalised fields
    gain over the sphere, in units of the mean over the channels.

    Args:
        space: The latent space.
        latents: `(N, T, K, h, w)` standardised latents to start from.
        noise: Draws the noise, on the CPU.
        area: `(H,)` cell areas of the fields' rows, mean 1.

    Returns:
        `(K,)`, of mean 1.
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
    """Encodes fields as themselves."""

    factor = 1

    def forward(self, fields: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return `(B, C, H, W)` fields back, with a log-variance of 0.

        Raises:
            UserError: A value is missing: there is nothing to put in its place.
        """
        missing = (~mask).sum(dim=(0, 2, 3))
        if bool(missing.any()):
            channel = int(missing.argmax())
            raise UserError(
                f"diffusion of the fields themselves (pixel): channel {channel} has "
                f"{int(missing[channel])} missing values, expected none, since only a VAE knows "
                f"what is missing; use latent_diffusion, or data.channels without it"
            )
        return fields, torch.zeros_like(fields)


class IdentitySpace(LatentSpace):
    """Standardises fields and leaves them as they are: the latent space of no VAE.

    Args:
        mean: `(C,)` mean of the normalised fields over the training period.
        sd: `(C,)` their standard deviation.
    """

    def __init__(self, mean: Tensor, sd: Tensor) -> None:
        super().__init__(_Identity(), nn.Identity(), mean, sd)
