"""The variational autoencoder of all modalities.

One latent for temperature, 2 m temperature, precipitation and outgoing longwave radiation:

    q(z | f, m) = N(mu(f, m), diag s^2(f, m)),      p(f | z) = N(dec(z), diag sigma_c^2)

with masks `m` of known values and an error `sigma_c` learned per channel. The loss is the negative
log-likelihood of the known values plus a weighted KL divergence to N(0, I), both area-weighted. In
training whole modalities are hidden at random from the encoder, but not from the loss: the latent
must represent all of them from those that are present, and the decoder becomes the observation
operator of each.

With `vae.crop` each training batch is cut to a random rectangle of patches. The loss leaves out a
margin at the edges of the rectangle, where convolutions cannot see what they see in whole fields.
Points are weighted by area over the probability of being in a rectangle, so that the mean over
rectangles is the loss of the globe. Validation is on whole fields.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from slams.config.schema import VAEConfig
from slams.errors import UserError
from slams.fields import Batch, FieldSpec
from slams.grid import LatLonGrid
from slams.metrics.accumulators import ChannelError
from slams.metrics.scores import level_groups
from slams.modules.base import Saved, TrainedModule, settings_of
from slams.nn.autoencoder import PatchDecoder, PatchEncoder, patch_principal_components
from slams.nn.blocks import Crop

__all__ = ["VAE"]


class VAE(TrainedModule):
    """Training of the autoencoder on windows of a reanalysis.

    Args:
        config: Sizes, KL weight, modality dropout, optimiser.
        channels: Channels of the fields.
        grid: Grid of the fields.
        sd: `(C, H, W)` standard deviations in channel units, to report errors with units.
    """

    stage = "vae"
    sd: Tensor
    weights: Tensor
    coverage: Tensor

    def __init__(
        self, config: VAEConfig, channels: Sequence[FieldSpec], grid: LatLonGrid, sd: Tensor
    ) -> None:
        settings = asdict(config)
        del settings["crop"]  # it changes the training, not the network
        super().__init__(config.optimizer, channels, grid, settings)
        self.config = config
        self.channels = tuple(channels)
        sizes = (
            len(channels),
            config.latent_channels,
            grid.shape,
            config.factor,
            config.hidden,
            config.blocks,
        )
        self.encoder = PatchEncoder(*sizes, pole_rows=grid.pole_rows)
        self.decoder = PatchDecoder(*sizes)
        self.log_error = nn.Parameter(torch.full((len(channels),), -1.5))
        self.register_buffer("sd", sd.clone())
        self.register_buffer("weights", grid.weights.to(torch.float32), persistent=False)
        self.crop = self._crop_shape()
        if self.crop is not None:
            coverage = Crop.coverage(self.encoder.patches, self.crop, self.margin)
            coverage = coverage[:, None].repeat(1, self.encoder.patches.block_shape[1])
            self.register_buffer("coverage", coverage, persistent=False)
        variables = list(dict.fromkeys(c.variable for c in channels))
        self.modality = torch.tensor([variables.index(c.variable) for c in channels])
        # A loss that is NaN must be visible, not be excluded from the mean.
        self.validation_loss = MeanMetric(nan_strategy="disable")
        self.channel_error = ChannelError(len(channels))
        # channels_last avoids a reordering by oneDNN at every layer.
        self.to(memory_format=torch.channels_last)

    @classmethod
    def build(cls, saved: Saved) -> VAE:
        """Build the module from a checkpoint."""
        config = settings_of(VAEConfig, saved.settings)
        return cls(config, saved.channels, saved.grid, saved.state["sd"])

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """Return encoder and decoder."""
        return self.encoder, self.decoder

    @torch.no_grad()
    def initialise(self, fields: Tensor) -> None:
        """Set the linear paths to the principal components of training patches.

        Args:
            fields: `(N, C, H, W)` normalised, complete.
        """
        components, sd = patch_principal_components(
            fields,
            self.config.factor,
            self.config.latent_channels,
            self.weights.to(fields),
            self.encoder.patches.pole_rows,
        )
        self.encoder.linear.weight.copy_((components / sd[:, None])[..., None, None])
        self.decoder.linear.weight.copy_((components * sd[:, None]).T[..., None, None])

    def hide_modalities(self, mask: Tensor) -> Tensor:
        """Hide whole variables of samples at random; every sample keeps some known values.

        Args:
            mask: `(B, C, H, W)` bool, True where known.
        """
        count = int(self.modality.max()) + 1
        kept = torch.rand(mask.shape[0], count) >= self.config.modality_dropout
        kept = kept[:, self.modality].to(mask.device)
        # A sample without any known value left is not hidden, because it would train nothing.
        kept |= ~(mask.any(dim=3).any(dim=2) & kept).any(dim=1, keepdim=True)
        return mask & kept[..., None, None]

    @property
    def margin(self) -> int:
        """Return the patches at the edges of a crop that the loss leaves out.

        A field passes through `4 blocks + 1` convolutions of 3 x 3 patches on its way to its
        reconstruction; this is the standard deviation of the reach of so many, rounded up. (The
        whole reach would leave little of a crop.)
        """
        return math.ceil(math.sqrt(2 * (4 * self.config.blocks + 1) / 3))

    def draw_crop(self) -> Crop | None:
        """Draw the rectangle that a training batch is cut to; `None` for whole fields."""
        if self.crop is None:
            return None
        return Crop.draw(self.encoder.patches, self.crop, self.margin)

    def _crop_shape(self) -> tuple[int, int] | None:
        """Return the patches of a crop in each direction; `None` for whole fields.

        Raises:
            UserError: A crop has more points than the grid, or nothing inside its margin.
        """
        if not self.config.crop:
            return None
        factor, whole = self.config.factor, self.encoder.patches.block_shape
        height, width = (size // factor for size in self.config.crop)
        least = 2 * self.margin + 1
        pairs = zip((height, width), whole, strict=True)
        if not all(min(least, n) <= size <= n for size, n in pairs):
            rows, columns = (n * factor for n in whole)
            raise UserError(
                f"vae.crop: found {list(self.config.crop)}, expected at most {rows} x {columns} "
                f"points (the grid) and at least {least * factor} in each direction, of which the "
                f"loss leaves out {self.margin * factor} at each edge"
            )
        return height, width

    def loss(
        self, fields: Tensor, known: Tensor, seen: Tensor, crop: Crop | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate the loss.

        Args:
            fields: `(B, C, H, W)` normalised truth.
            known: `(B, C, H, W)` bool, True where the truth is known; the loss covers these
                values.
            seen: `(B, C, H, W)` bool, True for values that are passed to the encoder.
            crop: Rectangle that the fields are cut to; `None` for none.

        Returns:
            The loss, its KL divergence per latent value, and the reconstruction (of the crop).
        """
        if crop is not None:
            patches = self.encoder.patches
            fields, known, seen = (crop.points(patches.pad(x)) for x in (fields, known, seen))
        point_weights, patch_weights = self._weights(crop)
        mean, log_variance = self.encoder(fields, seen, crop)
        mean, log_variance = mean.float(), log_variance.float().clamp(-14.0, 4.0)
        latents = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        decoded = self.decoder(latents, crop).float()
        weight = known * point_weights
        total = weight.sum(dim=(0, 2, 3)).clamp(min=1e-12)
        difference = torch.where(known, fields - decoded, 0.0)
        error = (weight * difference.square()).sum(dim=(0, 2, 3)) / total
        likelihood = 0.5 * error * (-2 * self.log_error).exp() + self.log_error
        there = (weight > 0).any(dim=3).any(dim=2).any(dim=0)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
        # Area-weighted like the likelihood; otherwise the divergence would be too strong near the
        # poles.
        kl = (kl * patch_weights).mean()
        if crop is None:
            fit = likelihood[there].mean()
        else:  # in which nothing may be known
            share = point_weights.sum() / math.prod(self.encoder.patches.shape)
            fit = share * (likelihood * there).sum() / there.sum().clamp(min=1)
        loss = fit + self.config.kl_weight * kl
        return loss, kl, decoded

    def _weights(self, crop: Crop | None) -> tuple[Tensor, Tensor]:
        """Return the weights of points and of patches, which broadcast over fields and latents."""
        patches = self.encoder.patches
        latent_rows = patches.row_means(self.weights)[:, None]
        if crop is None:
            return self.weights[:, None], latent_rows
        often = crop.interior().to(self.coverage) / crop.patches(self.coverage)
        of_patches = crop.patches(latent_rows.expand(patches.block_shape)) * often
        of_patches = of_patches * (often.numel() / math.prod(patches.block_shape))
        often = often.repeat_interleave(crop.block, 0).repeat_interleave(crop.block, 1)
        return crop.points(patches.point_weights(self.weights)) * often, of_patches

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of a batch, with modalities hidden at random."""
        fields, known = batch.fields.flatten(0, 1), batch.mask.flatten(0, 1)
        loss, kl, _ = self.loss(fields, known, self.hide_modalities(known), self.draw_crop())
        self.log("train/loss", loss.detach(), batch_size=len(batch))
        self.log("train/kl", kl.detach(), batch_size=len(batch))
        return loss

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add a batch to the validation loss and to the reconstruction error."""
        fields, known = batch.fields.flatten(0, 1), batch.mask.flatten(0, 1)
        loss, _, _ = self.loss(fields, known, known)
        self.validation_loss.update(loss, fields.shape[0])
        error = (fields - self.reconstruct(fields, known)) * self.sd
        self.channel_error.update(error, known, self.weights)
        self.log("validation/loss", self.validation_loss)

    def reconstruct(self, fields: Tensor, known: Tensor) -> Tensor:
        """Decode the latent mean of `(B, C, H, W)` normalised fields; float32."""
        return self.decoder(self.encoder(fields, known)[0]).float()

    def on_validation_epoch_end(self) -> None:
        """Log the reconstruction error of each variable on levels, averaged over levels.

        The errors are in channel units: K, m s-1, and the square root of kg kg-1 for humidity.
        """
        error = self.channel_error.compute()
        self.channel_error.reset()
        for variable, levels in level_groups(self.channels).items():
            self.log(f"validation/rmse_{variable}", error[levels].nanmean().float())
