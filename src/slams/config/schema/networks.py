"""The networks and how they are trained."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "OptimizerConfig",
    "ScoreConfig",
    "VAEConfig",
]


@dataclass
class OptimizerConfig:
    """One optimiser for every trained stage: AdamW, warm-up, cosine decay."""

    learning_rate: float = 1.5e-3
    weight_decay: float = 1e-3
    # Optimiser steps of the whole training, rounded to whole validated epochs.
    steps: int = 3600
    warmup_steps: int = 100
    # Batches, on each process, whose gradients are added up to one step.
    accumulate: int = 1
    # Largest norm of the gradient.
    clip: float = 1.0
    # Decay of the exponential moving average of the weights; 0 switches it off.
    ema: float = 0.998


@dataclass
class VAEConfig:
    """The variational autoencoder of all modalities."""

    latent_channels: int = 32
    # Fewer grid points each way.
    factor: int = 4
    # Width and number of residual blocks of the convolutional paths.
    hidden: int = 128
    blocks: int = 3
    kl_weight: float = 1e-3
    # Probability that a modality is hidden from the encoder in a training sample.
    modality_dropout: float = 0.15
    batch_size: int = 16
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=2e-3, steps=2000)
    )


@dataclass
class ScoreConfig:
    """The denoiser of latent windows, or of the fields themselves."""

    # What the denoiser learns: `latent`, encodings of the VAE, or `pixel`, the normalised fields
    # (method `pixel_diffusion`); each has a run directory of its own.
    space: str = "latent"
    # Widths of the U-Net, one a resolution.
    channels: list[int] = field(default_factory=lambda: [64, 96])
    blocks: int = 2
    embedding: int = 128
    # Networks whose mean is the denoiser. Each sample of a batch trains one of them: give as many
    # times more steps or larger batches.
    ensemble: int = 1
    # Probability that the background is hidden in a training sample.
    condition_dropout: float = 0.4
    # Ages (days) of further backgrounds that the denoiser is trained with beside
    # `background.lag`; it is told how old each is. More pairs of states where training days are
    # few; it is validated and used with `background.lag` alone.
    lags: list[int] = field(default_factory=list)
    # Cells of longitude, either way, by which turned copies of the training days are added, fields
    # and background alike: weather a little to the east is weather that could have been.
    shifts: int = 0
    # What the training loss weighs errors by: `latent`, all standardised channels alike, or
    # `decoded`, each by the variance of the fields that the decoder makes of it.
    loss: str = "latent"
    # Log-normal training noise: mean and standard deviation of log sigma.
    noise_mean: float = 0.3
    noise_sd: float = 1.5
    dropout: float = 0.1
    batch_size: int = 16
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
