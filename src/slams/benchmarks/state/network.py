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

import copy
import math
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from data_modules.store.training_store import TrainingStore
from slams.benchmarks.state.days import SampleDays, choose_days
from slams.benchmarks.state.fields import StateChannels, choose_channels, read_band
from slams.benchmarks.state.recipe import StateBenchConfig, StateNetworkConfig
from slams.benchmarks.state.results import KeptResults, monthly_rows
from slams.benchmarks.state.states import STATES
from slams.diffusion.backend import KarrasDenoiser, time_of_sigma
from slams.diffusion.training import denoising_loss, draw_noise, make_denoiser
from slams.errors import UserError
from slams.modules.base import warmup_cosine
from slams.nn.layers import SphereConv2d
from slams.nn.precision import natural_precision
from slams.nn.unet import LatentUNet
from slams.normalisation import DAYS_PER_YEAR
from slams.runtime.ranks import say
from slams.runtime.seeds import generator

__all__ = ["StateUNet", "network_names", "train_networks"]

# Days forecast at a time, and training steps between two lines of progress.
_CHUNK, _LINE = 16, 100


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


def network_names(config: StateBenchConfig) -> list[str]:
    """Return the names of the results of a recipe's trainings."""
    return [_name(state, training) for training, state in _tasks(config)]


def train_networks(config: StateBenchConfig, store: TrainingStore, kept: KeptResults) -> None:
    """Train and score a network for each unfinished pair of state and training days.

    Args:
        config: The recipe.
        store: Its store.
        kept: Receives the results, one table per training.

    Raises:
        UserError: The store lacks a channel, days or values, or a loss is not finite.
    """
    tasks = _tasks(config)[config.share[0] - 1 :: config.share[1]]
    tasks = [task for task in tasks if not kept.has(_name(task[1], task[0]))]
    say(f"network: {len(tasks)} trainings of {config.network.optimizer.steps} steps to do")
    if not tasks:
        return
    days = choose_days(store, config)
    channels = choose_channels(store, config.levels, [state for _, state in tasks])
    torch.set_num_threads(config.threads)
    height, _ = store.grid.shape
    begun = time.perf_counter()
    # Half precision in memory: its rounding error is a thousandth of the forecast error.
    fields = read_band(
        store, channels, days.position, range(height), products=False, dtype=torch.float16
    )
    say(f"{len(days.position)} days read ({time.perf_counter() - begun:.0f} s)")
    for done, (training, state) in enumerate(tasks, start=1):
        begun = time.perf_counter()
        pairs = _pairs(fields.values, days, channels, state)
        number = days.names.index(training)
        start = torch.from_numpy(days.start[days.train[number]])
        denoiser = _train(config, pairs, start, f"{state}, {training}")
        table = _score(config, store, days, pairs, denoiser, fields.sd, (training, state))
        kept.write(_name(state, training), table)
        seconds = time.perf_counter() - begun
        left = seconds * (len(tasks) - done) / 60
        say(
            f"{state}, {training}: {seconds:.0f} s, {len(tasks) - done} left, about {left:.0f} min"
        )


def _tasks(config: StateBenchConfig) -> list[tuple[str, str]]:
    names = config.network.train or [entry.name for entry in config.train]
    return [(training, state) for training in names for state in config.network.states]


def _name(state: str, training: str) -> str:
    return f"{state}-{training.replace(' ', '_')}"


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
    settings, optimizer = config.network, config.network.optimizer
    shape = (pairs.values.shape[1], pairs.values.shape[3])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = StateUNet(
            len(pairs.target), len(pairs.today) + len(pairs.before), shape, settings
        )
    denoiser = make_denoiser(network)
    average = copy.deepcopy(denoiser).requires_grad_(False)
    steps = torch.optim.AdamW(
        _decayed(network, optimizer.weight_decay), lr=optimizer.learning_rate
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        steps, lambda step: warmup_cosine(step, optimizer.steps, optimizer.warmup_steps)
    )
    precision = settings.precision
    bfloat16 = (natural_precision("cpu") if precision == "auto" else precision) == "bf16-mixed"
    begun, losses = time.perf_counter(), []
    for step in range(optimizer.steps):
        # The same days and noise for every state, so that differences are due to the states.
        draw = generator(config.seed, "state network", step)
        chosen = start[torch.randint(len(start), (settings.batch_size,), generator=draw)]
        target, condition, season = pairs.at(chosen)
        noise = draw_noise(target, settings.noise_mean, settings.noise_sd, 0.0, draw)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = denoising_loss(denoiser, target, noise, condition, season).mean()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise UserError(
                f"{what}: the loss of step {step} is {losses[-1]}; lower "
                f"network.optimizer.learning_rate"
            )
        steps.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), optimizer.clip)
        steps.step()
        schedule.step()
        decay = min(optimizer.ema, (2 + step) / (11 + step))
        for mean, new in zip(average.parameters(), denoiser.parameters(), strict=True):
            mean.lerp_(new.detach(), 1 - decay)
        if (step + 1) % _LINE == 0 or step + 1 == optimizer.steps:
            seconds = time.perf_counter() - begun
            say(
                f"{what}: step {step + 1}/{optimizer.steps}, loss "
                f"{np.mean(losses[-_LINE:]):.4f}, {seconds / (step + 1):.3f} s per step"
            )
    return average.eval()


def _decayed(network: nn.Module, decay: float) -> list[dict]:
    """Return the groups of weights with and without decay (biases, norms and position)."""
    groups = ([], [])
    for name, parameter in network.named_parameters():
        groups[parameter.ndim < 2 or name == "position"].append(parameter)
    return [
        {"params": group, "weight_decay": rate}
        for group, rate in zip(groups, (decay, 0.0), strict=True)
    ]


@torch.no_grad()
def _score(
    config: StateBenchConfig,
    store: TrainingStore,
    days: SampleDays,
    pairs: _Pairs,
    denoiser: KarrasDenoiser,
    sd: Tensor,
    name: tuple[str, str],
) -> pd.DataFrame:
    """Forecast the validation days and tabulate the squared errors (K2) of temperature."""
    settings = config.network
    levels = [c.level for c in store.channels if c.variable == "temperature"]
    start = torch.from_numpy(days.start[days.validation])
    months = days.months(days.validation)
    sigma = torch.tensor(settings.sigma)
    level = time_of_sigma(sigma, denoiser.schedule)
    noises = None
    tables = []
    for month in np.unique(months):
        chosen = start[torch.from_numpy(months == month)]
        square = torch.zeros(len(levels), sd.shape[1], dtype=torch.float64)
        for part in chosen.split(_CHUNK):
            target, condition, season = pairs.at(part)
            if noises is None:
                half = torch.randn(
                    (settings.draws + 1) // 2,
                    *target.shape[1:],
                    generator=generator(config.seed, "state network", "score"),
                )
                noises = torch.cat([half, -half])
            mean = torch.zeros_like(target)
            for noise in sigma * noises:
                x = noise.expand_as(target)
                mean += denoiser(x, level, condition=condition, season=season).mean
            error = (mean / len(noises) - target)[:, 0, : len(levels)] * sd
            square += error.square().mean(dim=-1).sum(dim=0)
        for row, values in enumerate((square / len(chosen)).T):
            tables.append(
                monthly_rows(
                    row, str(month), len(chosen), [name], levels, values.numpy(), [np.nan]
                )
            )
    return pd.concat(tables, ignore_index=True)
