"""The learned filter: a recurrent network that estimates each day from all observations so far.

It is trained in its own cycle: streams of days start from the climatology, and what the network
carries from a day to the next is what it made itself (the truth enters the loss alone). Its
forecasts are therefore those of a cycle that never sees the truth, and their errors are what
methods that start from them will meet. Gradients reach back over the days of one batch; the memory
of each stream goes on to the next batch without its graph.

The loss of a day is the mean over the globe of the squared errors of the analysis and of the
forecast of the day after, each channel in units of its own climatological standard deviation
averaged over the globe, so that errors count as they do in physical units. In training modalities
are hidden at random, and all of them for some days in a row (outages).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from slams.config.schema import FilterConfig
from slams.fields import Batch, FieldSpec
from slams.grid import LatLonGrid
from slams.metrics.accumulators import ChannelError
from slams.modules.base import Saved, TrainedModule, settings_of
from slams.nn.recurrent import Memory, RecurrentFilter
from slams.normalisation import DAYS_PER_YEAR
from slams.observations.gridded import gridded_innovations

__all__ = ["LearnedFilter"]

# Days after which the error of a forecast counts: a cycle starts from the climatology.
_SPIN_UP = 20

# Settings that change the training or the use of the network, not the network.
_NOT_NETWORK = ("output", "lags", "keep", "start")


class LearnedFilter(TrainedModule):
    """Training of the filter on streams of observed days.

    Args:
        config: Sizes, loss, optimiser.
        channels: Channels of the fields.
        grid: Grid of the fields.
        sd: `(C, H, W)` standard deviations in channel units.
        observed: Channels that observations inform directly, see `observed_channels`.
    """

    stage = "filter"
    sd: Tensor
    scale: Tensor
    weights: Tensor

    def __init__(
        self,
        config: FilterConfig,
        channels: Sequence[FieldSpec],
        grid: LatLonGrid,
        sd: Tensor,
        observed: Sequence[int],
    ) -> None:
        network = {k: v for k, v in asdict(config).items() if k not in _NOT_NETWORK}
        settings = {"config": network, "observed": list(observed)}
        super().__init__(config.optimizer, channels, grid, settings)
        self.config, self.observed = config, list(observed)
        self.network = RecurrentFilter(
            len(channels),
            len(observed),
            grid.shape,
            config.hidden,
            config.channels,
            config.blocks,
            config.embedding,
            config.factor,
            config.dropout,
            grid.pole_rows,
        )
        self.register_buffer("sd", sd.clone())
        self.register_buffer("weights", grid.weights.to(torch.float32), persistent=False)
        self.register_buffer("scale", _loss_scale(config.weights, channels, grid, sd), False)
        self.validation_loss = MeanMetric(nan_strategy="disable")
        self.forecast_error = ChannelError(len(channels))
        self._streams: _Streams | None = None
        self._validated: _Streams | None = None
        self.to(memory_format=torch.channels_last)

    @classmethod
    def build(cls, saved: Saved) -> LearnedFilter:
        """Build the module from a checkpoint."""
        config = settings_of(FilterConfig, saved.settings["config"])
        observed = saved.settings["observed"]
        return cls(config, saved.channels, saved.grid, saved.state["sd"], observed)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """Return the network of one day."""
        return (self.network.network,)

    def step(
        self, memory: Memory, batch: Batch, day: int, hidden: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Memory]:
        """Update by the observations of a day of a batch, and forecast the next day.

        Args:
            memory: The memory of the day before.
            batch: Windows of the cycles.
            day: The day of the window.
            hidden: By modality `(B,)` bool, True where its observations are not used.

        Returns:
            The analysis `(B, C, H, W)`, normalised, and the memory for the next day.
        """
        observations = tuple(
            one
            if hidden is None
            else replace(one, mask=one.mask & ~hidden[one.modality][:, None, None])
            for one in batch.observations
        )
        with torch.no_grad():
            state = batch.climatology[:, day] + self.sd * memory.forecast.float()
            fields = gridded_innovations(observations, day, state, self.sd, self.observed)
        return self.network(memory, *fields, _season(batch.time[:, day]))

    def without_observations(self, memory: Memory, time: Tensor) -> Memory:
        """Forecast one day further than the memory does.

        Args:
            memory: The memory, which forecasts a day.
            time: `(B,)` this day, days since 1970-01-01 00 UTC.

        Returns:
            The memory that forecasts the day after.
        """
        nothing = memory.forecast.new_zeros(
            len(time), len(self.observed), *memory.forecast.shape[2:]
        )
        return self.network(memory, nothing, nothing, _season(time))[1]

    def batch_loss(self, batch: Batch) -> Tensor:
        """Evaluate `loss` for a batch by itself."""
        return self.loss(batch, _Streams())

    def loss(
        self, batch: Batch, streams: _Streams, hide: bool = False, restarts: float = 0.0
    ) -> Tensor:
        """Evaluate the loss of the days of a batch, of which the last is only forecast.

        Args:
            batch: The next days of each stream.
            streams: What the streams carry; it is taken to the next batch.
            hide: Whether observations are hidden at random.
            restarts: Probability that a stream starts again from the climatology.

        Returns:
            `(2,)` losses of analysis and forecast.
        """
        memory = streams.enter(batch, self.network, restarts)
        days = batch.fields.shape[1] - 1
        total = batch.fields.new_zeros(2)
        for day in range(days):
            hidden = self._hide(batch, streams) if hide else None
            analysis, memory = self.step(memory, batch, day, hidden)
            total = total + torch.stack(
                [self._error(analysis, batch, day), self._error(memory.forecast, batch, day + 1)]
            )
        streams.leave(batch, memory.detach())
        return total / days

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the mean loss of a batch."""
        self._streams = self._streams or _Streams()
        analysis, forecast = self.loss(batch, self._streams, True, self._restarts())
        self.log("train/loss", (analysis + forecast).detach(), batch_size=len(batch))
        self.log("train/forecast", forecast.detach(), batch_size=len(batch))
        return analysis + forecast

    def on_validation_epoch_start(self) -> None:
        """Start the cycles of the validation from the climatology."""
        self._validated = _Streams()
        self.forecast_error.reset()

    def validation_step(self, batch: Batch, index: int) -> None:
        """Add a batch to the validation loss, and, after spin-up, its forecast to the errors."""
        assert self._validated is not None
        losses = self.loss(batch, self._validated)
        memory = self._validated.memory
        self.validation_loss.update(losses.sum().float())
        if float(memory.age.min()) > _SPIN_UP:
            error = (memory.forecast - batch.fields[:, -1]) * self.sd
            self.forecast_error.update(error, batch.mask[:, -1], self.weights)
        self.log("validation/loss", self.validation_loss)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the identity, and what this process's streams carry."""
        super().on_save_checkpoint(checkpoint)
        if self._streams is not None:
            checkpoint["slams_streams"] = self._streams.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse another network; continue the streams. Those of other ranks start afresh."""
        super().on_load_checkpoint(checkpoint)
        if "slams_streams" in checkpoint:
            self._streams = _Streams.of(checkpoint["slams_streams"])

    def _restarts(self) -> float:
        """Return the probability of a restart: an untrained network must not run in its cycle.

        Its errors would grow from day to day and be all that it is trained on. It first learns
        the analysis of single days, then of longer and longer cycles.
        """
        warmup = max(self.optimizer_config.warmup_steps, 1)
        if self.global_step < warmup / 5:
            return 1.0
        return 1 / (2 + max(self.global_step / warmup - 0.6, 0) * 10)

    def _error(self, estimate: Tensor, batch: Batch, day: int) -> Tensor:
        square = (estimate - batch.fields[:, day]).square() * self.scale
        known = batch.mask[:, day]
        return (square * known).sum() / known.sum().clamp(min=1)

    def _hide(self, batch: Batch, streams: _Streams) -> dict[str, Tensor]:
        """Draw which modalities of a day are hidden, `(B,)` by name."""
        count, config = len(batch), self.config
        device = batch.fields.device
        begins = torch.rand(count) < config.outages
        streams.outage = torch.where(begins, config.outage_days, (streams.outage - 1).clamp(min=0))
        nothing = (streams.outage > 0).to(device)
        names = dict.fromkeys(one.modality for one in batch.observations)
        return {
            name: nothing | (torch.rand(count) < config.observation_dropout).to(device)
            for name in names
        }


class _Streams:
    """What the streams of a process carry from batch to batch."""

    def __init__(self) -> None:
        self.memory: Memory
        self.next = torch.empty(0, dtype=torch.float64)
        self.outage = torch.empty(0)

    def enter(self, batch: Batch, network: RecurrentFilter, restarts: float) -> Memory:
        """Return the memory of each stream; those that have moved elsewhere start afresh.

        Args:
            batch: The next days of each stream.
            network: The network whose memory it is.
            restarts: Probability that a stream starts afresh without having moved.
        """
        first = batch.time[:, 0]
        fresh = network.start(len(batch))
        if self.next.shape != first.shape:
            self.outage = torch.zeros(len(batch))
            return fresh
        going_on = self.next.to(first) == first
        if restarts:
            going_on &= (torch.rand(len(batch)) >= restarts).to(first.device)
        self.outage = torch.where(going_on.cpu(), self.outage, 0.0)
        return self.memory.to(first.device).where(going_on)

    def leave(self, batch: Batch, memory: Memory) -> None:
        """Keep the memory for the batch that goes on from the last day of this one."""
        self.memory, self.next = memory, batch.time[:, -1].clone()

    def state(self) -> dict[str, Tensor]:
        """Return the contents as tensors."""
        memory = self.memory
        return {
            "forecast": memory.forecast,
            "hidden": memory.hidden,
            "age": memory.age,
            "next": self.next,
            "outage": self.outage,
        }

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> _Streams:
        """Return streams with the contents of `state`."""
        found = cls()
        found.memory = Memory(state["forecast"], state["hidden"], state["age"])
        found.next, found.outage = state["next"], state["outage"]
        return found


def _season(time: Tensor) -> Tensor:
    return (time / DAYS_PER_YEAR % 1).to(torch.float32)


def _loss_scale(
    weights: Mapping[str, float], channels: Sequence[FieldSpec], grid: LatLonGrid, sd: Tensor
) -> Tensor:
    """Return `(C, H, W)` factors of squared normalised errors, whose mean is one."""
    area = (grid.weights / grid.weights.mean()).to(sd)[:, None]
    square = sd.square()
    relative = square / (square * area).mean(dim=(1, 2), keepdim=True)
    weight = torch.tensor([weights.get(c.variable, 1.0) for c in channels]).to(sd)
    return relative * area * (weight / weight.mean())[:, None, None]
