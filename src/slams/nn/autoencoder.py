"""The networks of the variational autoencoder: patches to latents and back.

A field of `C` channels is divided into patches of `f x f` grid points. Encoder and decoder are
each the sum of two paths: a *linear* one, initialised with the principal components of the
training patches (whitened, so that latents start with unit variance), and a *convolutional* one
whose last layer is initialised to zero. Training therefore starts at the best linear code of
single patches and only improves on it. A learned position embedding makes the convolutions depend
on the place on the globe.

A grid that the patches do not divide is continued across the poles and around the globe
(`slams.nn.blocks`); the decoder leaves out what was added.

Masks mark missing input for the encoder: a masked value enters as the climatological mean (0 in
normalised units) together with the mask.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from slams.errors import UserError
from slams.nn.blocks import BlockGrid, Crop
from slams.nn.layers import ResidualBlock, SphereConv2d, zero_init

__all__ = ["PatchDecoder", "PatchEncoder", "patch_principal_components"]

# Values whose patches are copied at a time (in double precision 2 GB).
_AT_A_TIME = 2**28


def patch_principal_components(
    fields: Tensor, factor: int, count: int, weights: Tensor, pole_rows: bool = False
) -> tuple[Tensor, Tensor]:
    """Find the principal components of patches.

    Args:
        fields: `(N, C, H, W)` normalised.
        factor: Size `f` of a patch in grid points in each direction.
        count: Number of components `K`.
        weights: `(H,)` area weights of the latitudes.
        pole_rows: Whether the outermost rows lie on the poles.

    Returns:
        Components `(K, C f f)`, orthonormal, by decreasing variance, and their standard deviations
        `(K,)`.
    """
    blocks = BlockGrid(tuple(fields.shape[-2:]), factor, pole_rows)
    area = blocks.row_means(weights).to(fields.dtype)
    size, patch_count = fields.shape[1] * factor**2, len(fields) * math.prod(blocks.block_shape)
    products = torch.zeros(size, size, dtype=torch.float64, device=fields.device)
    for some in fields.split(max(_AT_A_TIME // fields[0].numel(), 1)):
        patches = functional.pixel_unshuffle(blocks.pad(some), factor)
        flat = (patches * area.sqrt()[:, None]).movedim(1, -1).reshape(-1, size).double()
        products += flat.T @ flat
    covariance = products / patch_count
    variance, vectors = torch.linalg.eigh(covariance)
    order = torch.argsort(variance, descending=True)[:count]
    return vectors[:, order].T.float(), variance[order].clamp(min=1e-12).sqrt().float()


class PatchEncoder(nn.Module):
    """Encoder of fields and their masks into the mean and log-variance of latents.

    Args:
        channels: Channels `C` of the fields.
        latent_channels: Channels `K` of the latents.
        shape: `(H, W)` of the fields.
        factor: Factor by which the number of points is reduced in each direction.
        hidden: Width of the convolutional path.
        blocks: Number of residual blocks of the convolutional path.
        pole_rows: Whether the outermost rows lie on the poles.

    Raises:
        UserError: A patch is larger than the grid, or there are more latent channels than a patch
            has values.
    """

    def __init__(
        self,
        channels: int,
        latent_channels: int,
        shape: tuple[int, int],
        factor: int,
        hidden: int,
        blocks: int,
        pole_rows: bool = False,
    ) -> None:
        super().__init__()
        if factor > min(shape):
            raise UserError(
                f"vae.factor: found {factor}, expected at most {min(shape)} on the grid of "
                f"{shape[0]} x {shape[1]} points"
            )
        self.factor = factor
        self.patches = BlockGrid(shape, factor, pole_rows)
        size = channels * factor**2
        if latent_channels > size:
            raise UserError(
                f"vae.latent_channels: found {latent_channels}, expected at most {size}, the "
                f"values of one patch of {factor}x{factor} points and {channels} channels"
            )
        self.linear = nn.Conv2d(size, latent_channels, 1, bias=False)
        self.entry = nn.Conv2d(size + channels, hidden, 1)
        self.position = nn.Parameter(torch.zeros(1, hidden, *self.patches.block_shape))
        self.blocks = nn.Sequential(*(ResidualBlock(hidden) for _ in range(blocks)))
        self.exit = zero_init(nn.Conv2d(hidden, 2 * latent_channels, 1))

    def forward(
        self, fields: Tensor, mask: Tensor, crop: Crop | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode fields.

        Args:
            fields: `(B, C, H, W)` normalised, with any finite fill value where missing.
            mask: `(B, C, H, W)` bool, True where known.
            crop: The patches that fields and mask consist of, as cut by `Crop.points`; `None` for
                fields of the whole grid.

        Returns:
            Mean and log-variance, `(B, K, h, w)` each, with a point per patch: `H / f` rows and
            `W / f` columns, rounded up.
        """
        position = self.position
        if crop is None:
            fields, mask = self.patches.pad(fields), self.patches.pad(mask)
        else:
            position = crop.patches(position)
        known = torch.where(mask, fields, 0.0)
        patches = functional.pixel_unshuffle(known, self.factor)
        share = functional.avg_pool2d(mask.to(fields.dtype), self.factor)
        h = self.entry(torch.cat([patches, 1.0 - share], dim=1)) + position
        mean, log_variance = self.exit(self.blocks(h)).chunk(2, dim=1)
        return self.linear(patches) + mean, log_variance - 4.0


class PatchDecoder(nn.Module):
    """Decoder of latents into fields; arguments as for `PatchEncoder`."""

    def __init__(
        self,
        channels: int,
        latent_channels: int,
        shape: tuple[int, int],
        factor: int,
        hidden: int,
        blocks: int,
    ) -> None:
        super().__init__()
        self.factor = factor
        self.patches = BlockGrid(shape, factor)
        size = channels * factor**2
        self.linear = nn.Conv2d(latent_channels, size, 1, bias=False)
        self.entry = SphereConv2d(latent_channels, hidden)
        self.position = nn.Parameter(torch.zeros(1, hidden, *self.patches.block_shape))
        self.blocks = nn.Sequential(*(ResidualBlock(hidden) for _ in range(blocks)))
        self.exit = zero_init(nn.Conv2d(hidden, size, 1))

    def forward(self, latents: Tensor, crop: Crop | None = None) -> Tensor:
        """Map `(B, K, h, w)` latents to `(B, C, H, W)` normalised fields.

        Args:
            latents: The latents.
            crop: The patches that the latents belong to; `None` for those of the whole grid. The
                fields are then those that `Crop.points` cuts.
        """
        position = self.position if crop is None else crop.patches(self.position)
        h = self.blocks(self.entry(latents) + position)
        fields = functional.pixel_shuffle(self.linear(latents) + self.exit(h), self.factor)
        return self.patches.trim(fields) if crop is None else fields
