"""One-day forecasts of temperature by the mean of a score network, trained briefly on each state.

The trained network is the project's denoiser in pixel space: the U-Net of `slams.nn.unet` with the
preconditioning and the loss of `slams.diffusion.training`, on normalised anomalies of temperature
and surface fields of day `t + 1`. Its condition is the state of day `t` (and temperature, surface
fields and surface pressure of day `t - 1`), never dropped, as additional channels of the first
convolution: their number differs between states, the rest of the network does not. Products of
wind and gradient are left to the network.

The forecast that is scored is `E[x_t+1 | condition]`: the denoiser with the averaged weights at a
noise level `sigma` at which noise carries no information on the state, averaged over a few draws
of noise and their mirror images, as in the first guess `score_mean`.

Every training takes the same number of optimiser steps, whatever the state and the training days.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data_modules.store.training_store import TrainingStore
from slams.benchmarks.state.days import SampleDays, choose_days
from slams.benchmarks.state.fields import StateChannels, choose_channels, read_band, store_levels
from slams.benchmarks.state.recipe import STATES, StateBenchConfig, StateNetworkConfig
from slams.benchmarks.state.results import KeptResults, monthly_rows
from slams.diffusion.backend import KarrasDenoiser, time_of_sigma
from slams.diffusion.training import denoising_loss, draw_noise, make_denoiser
from slams.modules.base import warmup_cosine
from slams.modules.fitting import fit, make_optimizer
from slams.nn.layers import SphereConv2d
from slams.nn.precision import natural_precision
from slams.nn.unet import LatentUNet
from slams.normalisation import DAYS_PER_YEAR
from slams.runtime.ranks import say
from slams.runtime.seeds import generator

__all__ = ["StateUNet", "train_networks"]

# Days forecast at a time.
_CHUNK = 16


class StateUNet(LatentUNet):
    """The denoiser's network with a condition of other channels than its target.

    Args:
        channels: Channels of the target.
        condition: Channels of the condition.
        shape: `(H, W)` of the grid.
        config: Widths, blocks and embedding.
    """

    def __init__(
        self, channels: int, condition: int, shape: tuple[int, int], config: StateNetworkConfig
    ) -> None:
        super().__init__(channels, 1, shape, config.channels, config.blocks, config.embedding)
        self.entry = SphereConv2d(channels + condition + 1, config.channels[0])


@dataclass(frozen=True)
class _Pairs:
    """States and the fields of the day after, drawn from data in memory.

    Attributes:
        values: `(C, H, N, W)` normalised anomalies.
        time: `(N,)` days since 1970-01-01.
        today: Positions of the state's channels of day `t`.
        before: Positions of its channels of day `t - 1`.
        target: Positions of the channels that are forecast.
    """

    values: Tensor
    time: Tensor
    today: Tensor
    before: Tensor
    target: Tensor

    def at(self, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return targets `(B, 1, K, H, W)`, conditions `(B, 1, K', H, W)` and seasons `(B,)`."""
        condition = torch.cat(
            [self._fields(self.today, start), self._fields(self.before, start - 1)], dim=1
        )
        target = self._fields(self.target, start + 1)
        season = (self.time[start + 1] / DAYS_PER_YEAR % 1).to(torch.float32)
        return target[:, None], condition[:, None], season

    def _fields(self, channels: Tensor, days: Tensor) -> Tensor:
        found = self.values[channels[:, None], :, days[None]]
        return found.transpose(0, 1).to(torch.float32)


def train_networks(config: StateBenchConfig, store: TrainingStore, kept: KeptResults) -> list[str]:
    """Train and score a network for each unfinished pair of state and training days.

    Args:
        config: The recipe.
        store: Its store.
        kept: Receives the results, one table per training.

    Returns:
        The names of all results, those of other shares included.

    Raises:
        UserError: The store lacks a channel, days or values, or a loss is not finite.
    """
    trainings = config.network.train or [entry.name for entry in config.train]
    names = {
        (training, state): f"{state}-{training.replace(' ', '_')}"
        for training, state in itertools.product(trainings, config.network.states)
    }
    tasks = list(names)[config.share[0] - 1 :: config.share[1]]
    tasks = [task for task in tasks if not kept.has(names[task])]
    say(f"network: {len(tasks)} trainings of {config.network.optimizer.steps} steps to do")
    if not tasks:
        return list(names.values())
    days = choose_days(store, config)
    channels = choose_channels(store, config.levels, [state for _, state in tasks])
    torch.set_num_threads(config.threads)
    rows, half = range(store.grid.shape[0]), torch.float16
    # Half precision in memory: its rounding error is a thousandth of the forecast error.
    fields = read_band(store, channels, days.position, rows, products=False, dtype=half)
    say(f"{len(days.position)} days read")
    for done, (training, state) in enumerate(tasks, start=1):
        begun = time.perf_counter()
        pairs = _pairs(fields.values, days, channels, state)
        start = torch.from_numpy(days.start[days.train[days.names.index(training)]])
        denoiser = _train(config, pairs, start, f"{state}, {training}")
        tables = [
            monthly_rows(
                row, month, count, [(training, state)], store_levels(store), values, [np.nan]
            )
            for month, count, square in _score(config, days, pairs, denoiser, fields.sd)
            for row, values in enumerate(square.T.numpy())
        ]
        kept.write(names[training, state], pd.concat(tables, ignore_index=True))
        seconds = time.perf_counter() - begun
        left = len(tasks) - done
        say(
            f"{state}, {training}: {seconds:.0f} s, {left} left, about {seconds * left / 60:.0f} "
            "min"
        )
    return list(names.values())


def _pairs(values: Tensor, days: SampleDays, channels: StateChannels, state: str) -> _Pairs:
    index, groups = channels.index, STATES[state].groups
    names = ("temperature", "surface", "pressure", "winds_3", "winds")
    today = [i for name in names if name in groups for i in index[name]]
    before = [*index["temperature"], *index["surface"], *index["pressure"]]
    return _Pairs(
        values,
        torch.from_numpy(days.time),
        torch.tensor(today),
        torch.tensor(before if "before" in groups else [], dtype=torch.int64),
        torch.tensor([*index["temperature"], *index["surface"]]),
    )


def _train(config: StateBenchConfig, pairs: _Pairs, start: Tensor, what: str) -> KarrasDenoiser:
    """Train a denoiser on some samples and return its averaged copy."""
    settings = config.network
    shape = (pairs.values.shape[1], pairs.values.shape[3])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = StateUNet(
            len(pairs.target), len(pairs.today) + len(pairs.before), shape, settings
        )
    denoiser = make_denoiser(network)
    precision = settings.precision
    bfloat16 = (natural_precision("cpu") if precision == "auto" else precision) == "bf16-mixed"

    def loss(step: int) -> Tensor:
        # The same days and noise for every state, so that differences are due to the states.
        draw = generator(config.seed, "state network", step)
        chosen = start[torch.randint(len(start), (settings.batch_size,), generator=draw)]
        target, condition, season = pairs.at(chosen)
        noise = draw_noise(target, settings.noise_mean, settings.noise_sd, 0.0, draw)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return denoising_loss(denoiser, target, noise, condition, season).mean()

    def rate(step: int) -> float:
        return warmup_cosine(step, settings.optimizer.steps, settings.optimizer.warmup_steps)

    return fit(
        denoiser,
        make_optimizer(network, settings.optimizer),
        rate,
        loss,
        settings.optimizer,
        "network.optimizer",
        lambda line: say(f"{what}: {line}"),
    )


@torch.no_grad()
def _score(
    config: StateBenchConfig, days: SampleDays, pairs: _Pairs, denoiser: KarrasDenoiser, sd: Tensor
) -> Iterator[tuple[str, int, Tensor]]:
    """Forecast the validation days: month, its days, and squared errors (K2) `(L, H)`."""
    sigma = torch.tensor(config.network.sigma)
    level = time_of_sigma(sigma, denoiser.schedule)
    count, (_, height, _, width) = (config.network.draws + 1) // 2, pairs.values.shape
    keyed = generator(config.seed, "state network", "score")
    half = torch.randn(count, 1, len(pairs.target), height, width, generator=keyed)
    noises = torch.cat([half, -half])
    for month, chosen in days.validation_months():
        square = torch.zeros(sd.shape[:2], dtype=torch.float64)
        for part in chosen.split(_CHUNK):
            target, condition, season = pairs.at(part)
            mean = torch.zeros_like(target)
            for noise in sigma * noises:
                x = noise.expand_as(target)
                mean += denoiser(x, level, condition=condition, season=season).mean
            error = (mean / len(noises) - target)[:, 0, : len(sd)] * sd
            square += error.square().mean(dim=-1).sum(dim=0)
        yield month, len(chosen), square / len(chosen)
