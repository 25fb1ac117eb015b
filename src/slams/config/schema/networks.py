"""The networks and how they are trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from slams.config.paths import PATH, WRITTEN_PATH
from slams.plugins.keys import (
    DISTINCT,
    NOT_EMPTY,
    NOT_NEGATIVE,
    POSITIVE,
    PROBABILITY,
    SHARE,
    at_least,
    each,
    key,
    one_of,
    that,
)
from slams.variables import UNITS

__all__ = [
    "FilterConfig",
    "OptimizerConfig",
    "ScoreConfig",
    "VAEConfig",
]


# Groups of `slams.nn`'s group normalisation, which divide the width of every layer.
_GROUPS = 8
_MULTIPLES = f"multiples of {_GROUPS}, the groups of each normalisation"
_WIDTH = that(lambda width: width % _GROUPS == 0, _MULTIPLES)
_WIDTHS = that(lambda widths: not any(width % _GROUPS for width in widths), _MULTIPLES)
_VARIABLES = that(
    lambda weights: all(name in UNITS and weights[name] > 0 for name in weights),
    f"numbers above 0 for some of {', '.join(UNITS)}",
)
_PAIR = that(lambda sizes: len(sizes) in (0, 2), "two numbers, or none")


@dataclass
class OptimizerConfig:
    """One optimiser for every trained stage: AdamW, warm-up, cosine decay."""

    # Learning rate that the warm-up rises to, and that half a cosine then lowers to 0 over
    # `steps`.
    learning_rate: float = key(1.5e-3, POSITIVE)
    # Weight decay of AdamW, applied in each step in proportion to the learning rate; 0 for none.
    weight_decay: float = key(1e-3, NOT_NEGATIVE)
    # Optimiser steps of the whole training, rounded to whole validated epochs.
    steps: int = key(3600, at_least(1))
    # First optimiser steps, over which the learning rate rises linearly; 0 for no warm-up.
    warmup_steps: int = key(100, NOT_NEGATIVE)
    # Batches, on each process, whose gradients are added up to one step.
    accumulate: int = key(1, at_least(1))
    # Largest norm of the gradient.
    clip: float = key(1.0, POSITIVE)
    # Decay of the exponential moving average of the weights; 0 switches it off.
    ema: float = key(0.998, SHARE)


@dataclass
class VAEConfig:
    """The variational autoencoder of all modalities."""

    # Channels of the latent state, at most `factor`^2 times the number of `data.channels`.
    latent_channels: int = key(32, at_least(1))
    # Factor by which the latent grid has fewer points in each direction.
    factor: int = key(4, at_least(1))
    # Width of the convolutional paths of encoder and decoder.
    hidden: int = key(128, at_least(1), _WIDTH)
    # Residual blocks in each of the two paths.
    blocks: int = key(3, at_least(0))
    # Factor on the KL divergence per latent value, which the loss adds to the negative
    # log-likelihood per value of the fields; 0 omits it.
    kl_weight: float = key(1e-3, NOT_NEGATIVE)
    # Probability that a modality is hidden from the encoder in a training sample.
    modality_dropout: float = key(0.15, SHARE)
    # Rows and columns (grid points, multiples of `factor`) of the random rectangle that a training
    # batch is cut to, which saves memory; empty trains on whole fields. The loss leaves out a
    # margin at the edges of the rectangle; validation is on whole fields.
    crop: list[int] = key([], each(at_least(1)), _PAIR)
    # Training windows per batch, on each process.
    batch_size: int = key(16, at_least(1))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=2e-3, steps=2000)
    )


@dataclass
class ScoreConfig:
    """The denoiser of latent windows, or of the fields themselves."""

    # What the denoiser learns: `latent`, encodings of the VAE, or `pixel`, the normalised fields
    # (method `pixel_diffusion`); each has a run directory of its own.
    space: str = key("latent", one_of("latent", "pixel"))
    # Widths of the U-Net, one per resolution.
    channels: list[int] = key([64, 96], NOT_EMPTY, each(at_least(1)), _WIDTHS)
    # Residual blocks per resolution, on the way down and on the way up.
    blocks: int = key(2, at_least(1))
    # Size of the vector of noise level and season that scales and shifts the features of each
    # block.
    embedding: int = key(128, at_least(1), that(lambda v: v % 2 == 0, "an even number"))
    # Networks whose mean is the denoiser. Each sample of a batch trains one of them: use that many
    # times more steps or larger batches.
    ensemble: int = key(1, at_least(1))
    # Probability that the background is hidden in a training sample.
    condition_dropout: float = key(0.4, PROBABILITY)
    # Ages (steps) of further backgrounds that the denoiser is trained with in addition to
    # `background.lag`; the age is an input. This gives more pairs of states where training days
    # are few; the denoiser is validated and used with `background.lag` alone.
    lags: list[int] = key([], DISTINCT, each(at_least(1)))
    # Largest shift (cells of longitude, either way) of the rolled copies of the training days that
    # are added, of fields and background together: weather a little to the east is possible too.
    shifts: int = key(0, NOT_NEGATIVE)
    # What the denoiser learns departures from: `climatology`, the mean of the latents, or
    # `background`, the encoded background where one is given, for backgrounds that are forecasts.
    centre: str = key("climatology", one_of("climatology", "background"))
    # Weights of errors in the training loss: `latent`, all standardised channels equally, or
    # `decoded`, each by the variance of the fields that the decoder makes of it.
    loss: str = key("latent", one_of("latent", "decoded"))
    # Mean of log sigma, the logarithm of the noise level in training, which is drawn from a
    # Gaussian.
    noise_mean: float = 0.3
    # Standard deviation of log sigma.
    noise_sd: float = key(1.5, POSITIVE)
    # Probability that a feature inside a block is dropped in training; 0 for none.
    dropout: float = key(0.1, SHARE)
    # Training windows per batch, on each process.
    batch_size: int = key(16, at_least(1))
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass
class FilterConfig:
    """The learned filter: forecasts of each day from the observations of the days before."""

    # Training store that `slams filter` writes, a forecast of each day, to be named as
    # `background.path` with `background.kind: file`; `{lag}` stands for the lag.
    output: str = key("", WRITTEN_PATH)
    # Days from the last observations used to the day that is forecast; a store for each. 0 writes
    # the filter's own analyses, which have the observations of the day itself.
    lags: list[int] = key([1], NOT_EMPTY, DISTINCT, each(at_least(0)))
    # Channels that are written; empty for all.
    keep: list[str] = key([], DISTINCT)
    # Where each cycle starts from: `climatology`, or `truth`, the true state of its first day
    # (to see how long a start is remembered).
    start: str = key("climatology", one_of("climatology", "truth"))
    # Store of other forecasts of the same days, such as those that start from the truth; `slams
    # filter` then prints how far both differ. `{lag}` stands for the lag; empty for none.
    compared_with: str = key("", PATH)
    # Widths of the U-Net, one per resolution, the first that of blocks of `factor` grid points.
    channels: list[int] = key([64, 128, 192], NOT_EMPTY, each(at_least(1)), _WIDTHS)
    # Residual blocks per resolution, on the way down and on the way up.
    blocks: int = key(2, at_least(1))
    # Size of the vector of season and age that scales and shifts the features of each block.
    embedding: int = key(64, at_least(1), that(lambda v: v % 2 == 0, "an even number"))
    # Channels of the hidden state that is carried from day to day.
    hidden: int = key(64, at_least(1))
    # Size of a block in grid points in each direction.
    factor: int = key(2, at_least(1))
    # Probability that a feature inside a block is dropped in training; 0 for none.
    dropout: float = key(0.0, SHARE)
    # Weights of variables in the training loss, 1 where none is given.
    weights: dict[str, float] = key({"temperature": 3.0}, _VARIABLES)
    # Days of each stream in a batch; gradients reach back to the first of them.
    days: int = key(2, at_least(1))
    # Days after which a stream starts again from the climatology, elsewhere.
    stretch: int = key(120, at_least(1))
    # Probability per day and stream that a modality is hidden in training.
    observation_dropout: float = key(0.05, SHARE)
    # Probability per day and stream that nothing is observed for `outage_days` days.
    outages: float = key(0.01, SHARE)
    # Length of these outages: forecasts of so many days are learned from them.
    outage_days: int = key(5, at_least(1))
    # Streams per batch, on each process.
    batch_size: int = key(8, at_least(1))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=8e-4, weight_decay=1e-2, steps=5000)
    )
