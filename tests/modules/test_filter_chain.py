"""The learned filter on a chain whose best filter is known: it reaches the error of Kalman's.

Each grid point is a chain of its own, `x(t + 1) = a x(t) + e`, seen with an error on some days and
points. Analyses and forecasts of the best filter have the error variances of the scalar Riccati
recursion with the same pattern of observations.
"""

from __future__ import annotations

import math

import torch

from slams.config.schema import FilterConfig, OptimizerConfig
from slams.fields import Batch, FieldSpec, Observations
from slams.grid import LatLonGrid
from slams.modules.learned_filter import LearnedFilter, _Streams
from slams.observations.satellite import SatelliteOperator

CHANNELS = (FieldSpec.parse("2m_temperature"),)
GRID = LatLonGrid(
    torch.linspace(70, -70, 8, dtype=torch.float64), torch.arange(16, dtype=torch.float64) * 22.5
)
PERSISTENCE, ERROR, SHARE = 0.9, 0.5, 0.4
OPERATOR = SatelliteOperator(GRID, CHANNELS, "2m_temperature", 1)


class Chains:
    """Chains of variance one, as windows that follow one another."""

    def __init__(self, streams: int, seed: int) -> None:
        self.draw = torch.Generator().manual_seed(seed)
        self.state = torch.randn(streams, 1, *GRID.shape, generator=self.draw)
        self.day = 0.0

    def window(self, days: int) -> Batch:
        """Return the next days; the last one is the first of the next window."""
        kick = math.sqrt(1 - PERSISTENCE**2)
        states, seen = [self.state], []
        for _ in range(days - 1):
            noise = torch.randn(self.state.shape, generator=self.draw)
            states.append(PERSISTENCE * states[-1] + kick * noise)
        self.state = states[-1]
        fields = torch.stack(states, dim=1)
        values = OPERATOR(fields)
        values = values + math.sqrt(ERROR) * torch.randn(values.shape, generator=self.draw)
        seen = torch.rand(values.shape, generator=self.draw) < SHARE
        errors = torch.full_like(values, ERROR)
        name = "satellite/2m_temperature"
        time = self.day + torch.arange(days, dtype=torch.float64).expand(len(fields), days)
        self.day += days - 1
        return Batch(
            fields=fields,
            mask=torch.ones_like(fields, dtype=torch.bool),
            time=time,
            case=torch.zeros(len(fields), dtype=torch.int64),
            climatology=torch.zeros_like(fields),
            observations=(Observations(name, OPERATOR, values, seen, errors),),
        )


def test_the_learned_filter_reaches_the_error_of_the_kalman_filter() -> None:
    torch.manual_seed(0)
    sizes = {"channels": [16], "blocks": 1, "embedding": 8, "hidden": 8, "factor": 1}
    config = FilterConfig(**sizes, optimizer=OptimizerConfig(steps=600))  # type: ignore[arg-type]
    module = LearnedFilter(config, CHANNELS, GRID, torch.ones(1, *GRID.shape), [0])
    optimizer = torch.optim.AdamW(module.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=600)
    chains, streams = Chains(8, seed=1), _Streams()
    for _ in range(600):
        loss = module.loss(chains.window(4), streams).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()

    module.eval()
    chains, memory = Chains(8, seed=2), module.network.start(8)
    variance = torch.ones(8, 1, *GRID.shape)
    found, best = torch.zeros(2), torch.zeros(2)
    with torch.no_grad():
        for day in range(60):
            batch = chains.window(2)
            seen = batch.observations[0].mask[:, 0].reshape(variance.shape)
            updated = torch.where(seen, variance * ERROR / (variance + ERROR), variance)
            variance = PERSISTENCE**2 * updated + 1 - PERSISTENCE**2
            analysis, memory = module.step(memory, batch, 0)
            if day >= 20:
                errors = analysis - batch.fields[:, 0], memory.forecast - batch.fields[:, 1]
                found += torch.stack([error.square().mean() for error in errors])
                best += torch.stack([updated.mean(), variance.mean()])
    ratio = (found / best).sqrt()
    # The best filter itself is within 1 % of its expectation on so many days and points.
    assert float(ratio.min()) > 0.98
    assert float(ratio.max()) < 1.03
