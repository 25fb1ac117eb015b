"""A linear-Gaussian chain of few components, whose best filter is known.

On 2 x 2 points with one channel, in normalised space,

    x(t) = A x(t - 1) + B x(t - 2) + e(t),    e ~ N(0, Q),    y = H(x) + r,    r ~ N(0, R),

is a chain of the states (x(t - 1), x(t)), so that the Kalman filter of these is the best filter,
and the Riccati equation gives its error.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.member_forecast import MemberForecast
from slams.fields import Background, Batch, FieldSpec, Observations
from slams.grid import LatLonGrid
from slams.normalisation import Normaliser
from slams.observations.stations import StationOperator
from tests.assimilators.problems import small_grid

__all__ = ["Chain", "ExactForecast", "kalman", "make_chain"]

FIRST_DAY = 9000.0
_SHAPE = (1, 2, 2)
_SIZE = 4


@dataclass(frozen=True)
class Chain:
    """The chain.

    Attributes:
        grid: The grid.
        normaliser: A constant climatology and standard deviation.
        one: `(D, D)` A.
        two: `(D, D)` B.
        noise: `(D, D)` Q.
        operator: H.
        error: R, one number, in normalised units squared.
    """

    grid: LatLonGrid
    normaliser: Normaliser
    one: Tensor
    two: Tensor
    noise: Tensor
    operator: StationOperator
    error: float

    @property
    def transition(self) -> Tensor:
        """Return the transition of the states of two days, `(2 D, 2 D)`."""
        zero, unit = torch.zeros_like(self.one), torch.eye(_SIZE, dtype=torch.float64)
        return torch.cat([torch.cat([zero, unit], 1), torch.cat([self.two, self.one], 1)])

    @property
    def observe(self) -> Tensor:
        """Return H of the states of two days, `(P, 2 D)`, of normalised anomalies."""
        unit = torch.eye(_SIZE, dtype=torch.float64).reshape(_SIZE, *_SHAPE)
        images = self.operator.linear(unit).T
        return torch.cat([torch.zeros_like(images), images], 1)

    @property
    def both(self) -> Tensor:
        """Return the covariance of the noise of the states of two days, `(2 D, 2 D)`."""
        whole = torch.zeros(2 * _SIZE, 2 * _SIZE, dtype=torch.float64)
        whole[_SIZE:, _SIZE:] = self.noise
        return whole

    @property
    def stationary(self) -> Tensor:
        """Return the covariance of the states of two days without observations."""
        found, step = self.both, self.transition
        for _ in range(400):
            found = step @ found @ step.T + self.both
        return found

    def series(self, days: int, seed: int) -> Tensor:
        """Draw the states of consecutive days, `(N, D)` float64."""
        draw = torch.Generator().manual_seed(seed)
        root = torch.linalg.cholesky(self.noise)
        noise = torch.randn(days + 100, _SIZE, generator=draw, dtype=torch.float64) @ root.T
        states = [noise[0], noise[1]]
        for e in noise[2:]:
            states.append(self.one @ states[-1] + self.two @ states[-2] + e)
        return torch.stack(states[100:])

    def batches(self, truth: Tensor, seed: int) -> list[Batch]:
        """Observe the states of consecutive days, one case each."""
        draw = torch.Generator().manual_seed(seed)
        found = []
        for number, state in enumerate(truth.float()):
            fields = state.reshape(1, 1, *_SHAPE)
            time = torch.full((1, 1), FIRST_DAY + number, dtype=torch.float64)
            climatology = self.normaliser.climatology(time)
            exact = self.operator(self.normaliser.denormalise(fields, climatology))
            noise = self.error**0.5 * torch.randn(exact.shape, generator=draw)
            observations = Observations(
                name="stations/made",
                operator=self.operator,
                values=exact + noise,
                mask=torch.ones_like(exact, dtype=torch.bool),
                error_variance=torch.full_like(exact, self.error),
            )
            found.append(
                Batch(
                    fields=fields,
                    mask=torch.ones_like(fields, dtype=torch.bool),
                    time=time,
                    case=torch.tensor([number]),
                    climatology=climatology,
                    background=Background(torch.zeros_like(fields), torch.ones_like(fields)),
                    observations=(observations,),
                )
            )
        return found


class ExactForecast(MemberForecast):
    """The forecast of the chain itself.

    Args:
        chain: The chain.
        covariance: `(D, D)` exact covariance of the errors; by default that of the noise.
    """

    past = 2

    def __init__(self, chain: Chain, covariance: Tensor | None = None) -> None:
        self.chain = chain
        states = chain.series(3000, seed=11).float().reshape(-1, 1, *_SHAPE)
        time = torch.arange(3000, dtype=torch.float64)[:, None]
        self.days = Archive(states, torch.zeros_like(states), time)
        draw = torch.Generator().manual_seed(12)
        noise = torch.randn(3000, _SIZE, generator=draw, dtype=torch.float64)
        white, _ = torch.linalg.qr(noise - noise.mean(dim=0))
        root = torch.linalg.cholesky(chain.noise if covariance is None else covariance)
        errors = 2999**0.5 * white @ root.T
        errors = errors.float().reshape(-1, 1, *_SHAPE)
        self.errors = Archive(errors, torch.zeros_like(errors), time)

    def forecast(self, trajectories: Tensor) -> Tensor:
        before, last = trajectories.double().flatten(2).unbind(dim=1)
        found = last @ self.chain.one.T + before @ self.chain.two.T
        return found.float().reshape(-1, *_SHAPE)


def make_chain() -> Chain:
    """Make a chain whose states of one day are not enough to forecast the next."""
    grid = small_grid(2, 2)
    channels = (FieldSpec.parse("2m_temperature"),)
    normaliser = Normaliser(channels, torch.full((1, *_SHAPE), 280.0), torch.ones(_SHAPE))
    turn = torch.eye(_SIZE, dtype=torch.float64)[[1, 0, 3, 2]]
    unit = torch.eye(_SIZE, dtype=torch.float64)
    operator = StationOperator(
        grid, channels, "2m_temperature", torch.tensor([40.0, -20.0]), torch.tensor([20.0, 100.0])
    )
    noise = 0.3 * unit + 0.1 * torch.ones(_SIZE, _SIZE, dtype=torch.float64)
    return Chain(grid, normaliser, 0.6 * turn, 0.3 * unit, noise, operator, error=0.3)


def kalman(chain: Chain, batches: list[Batch]) -> tuple[Tensor, Tensor]:
    """Run the Kalman filter from the climatology.

    Returns:
        Analyses `(N, D)` and the last covariance `(D, D)`, that of the Riccati equation.
    """
    step, observe = chain.transition, chain.observe
    mean = torch.zeros(2 * _SIZE, dtype=torch.float64)
    covariance = chain.stationary
    analyses = []
    for number, batch in enumerate(batches):
        if number:
            mean = step @ mean
            covariance = step @ covariance @ step.T + chain.both
        s = observe @ covariance @ observe.T + chain.error * torch.eye(len(observe))
        gain = torch.linalg.solve(s, observe @ covariance).T
        seen = batch.observations[0].values[0, 0].double()
        climatology = chain.operator(batch.climatology)[0, 0].double()
        mean = mean + gain @ (seen - climatology - observe @ mean)
        covariance = covariance - gain @ observe @ covariance
        analyses.append(mean[_SIZE:])
    return torch.stack(analyses), covariance[_SIZE:, _SIZE:]
