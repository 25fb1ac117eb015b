"""A small linear-Gaussian problem whose posterior is known in closed form.

The state has C = 2 channels on an 8 x 16 grid and T days, D = T * C * H * W components. In
normalised space, with prior mean m and covariance B (Gaspari-Cohn in space, correlated between
channels and days, larger in high latitudes), G = H_lin diag(sd) and y = H(f) + r, r ~ N(0, R):

    S = G B G^T + R,    mean = m + B G^T S^-1 (y - H(m)),    covariance = B - B G^T S^-1 G B.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.fields import Background, Batch, FieldSpec, ObservationOperator, Observations
from slams.grid import LatLonGrid
from slams.linalg.localisation import gaspari_cohn
from slams.normalisation import DAYS_PER_YEAR, Normaliser
from slams.observations.satellite import SatelliteOperator
from slams.observations.stacked import observe_perturbations, stack_observations
from slams.observations.stations import StationOperator

__all__ = ["DATE", "LinearGaussian", "linear_gaussian", "masked", "small_grid"]

DATE = 9000.0

_CHANNELS = (
    FieldSpec.parse("2m_temperature"),
    FieldSpec.parse("outgoing_longwave_radiation"),
)


def localisation_matrix(
    grid: LatLonGrid,
    here: tuple[Tensor, Tensor],
    there: tuple[Tensor, Tensor],
    half_width_km: float,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the localisation between two sets of latitudes and longitudes."""
    return gaspari_cohn(grid.distance(*here, *there), half_width_km).to(dtype)


def small_grid(rows: int = 8, columns: int = 16) -> LatLonGrid:
    """Make a global grid without points on the poles."""
    half = 90.0 / rows
    latitude = torch.linspace(90 - half, -90 + half, rows, dtype=torch.float64)
    longitude = torch.arange(columns, dtype=torch.float64) * (360.0 / columns)
    return LatLonGrid(latitude, longitude)


@dataclass(frozen=True)
class LinearGaussian:
    """Holds the problem.

    Attributes:
        grid: The grid.
        normaliser: A constant climatology (280 K, 230 W m-2) and standard deviations.
        covariance: `(D, D)` float64 B, normalised.
        operators: Stations with elevation offsets (channel 0), footprints (channel 1).
        error_variance: Diagonal of R, one number an operator, units squared.
        days: `T`.
    """

    grid: LatLonGrid
    normaliser: Normaliser
    covariance: Tensor
    operators: tuple[ObservationOperator, ...]
    error_variance: tuple[float, ...]
    days: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return `(T, C, H, W)`."""
        return (self.days, len(_CHANNELS), *self.grid.shape)

    @property
    def variance(self) -> Tensor:
        """Return the prior variance `(T, C, H, W)` float32."""
        return self.covariance.diagonal().reshape(self.shape).float()

    def draw(self, count: int, seed: int) -> Tensor:
        """Draw `(N, T, C, H, W)` float64 from N(0, B)."""
        generator = torch.Generator().manual_seed(seed)
        size = self.covariance.shape[0]
        noise = torch.randn(count, size, generator=generator, dtype=torch.float64)
        return (noise @ torch.linalg.cholesky(self.covariance).T).reshape(-1, *self.shape)

    def draw_exact(self, count: int, seed: int) -> Tensor:
        """Draw `(N, T, C, H, W)` float64 with sample mean 0 and sample covariance exactly B."""
        if count <= self.covariance.shape[0]:
            raise ValueError(f"{count} draws cannot have covariance B; expected more than D")
        generator = torch.Generator().manual_seed(seed)
        size = self.covariance.shape[0]
        noise = torch.randn(count, size, generator=generator, dtype=torch.float64)
        white, _ = torch.linalg.qr(noise - noise.mean(dim=0))
        draws = (count - 1) ** 0.5 * white @ torch.linalg.cholesky(self.covariance).T
        return draws.reshape(-1, *self.shape)

    def archive(self, errors: Tensor, seed: int = 7) -> Archive:
        """Make an archive of past years, all of the season of `DATE`, with given errors."""
        count = errors.shape[0]
        background = self.draw(count, seed).float()
        years = 1 + torch.arange(count, dtype=torch.float64)
        time = DATE - DAYS_PER_YEAR * years + torch.arange(count) % 20 - 10
        return Archive(
            fields=errors.float() + background,
            background=background,
            time=time[:, None] + torch.arange(self.days),
        )

    def batch(self, cases: int = 1, seed: int = 0, mean: float = 1.0) -> Batch:
        """Draw cases: a background, a truth with error B about it, observations of it.

        Args:
            cases: Number of cases.
            seed: Seed of all draws.
            mean: Factor of the background; 0 makes the prior N(0, B), as a climatology is.
        """
        background = mean * self.draw(cases, seed + 1000).float()
        truth = background + self.draw(cases, seed + 2000).float()
        time = DATE + torch.arange(self.days, dtype=torch.float64).expand(cases, -1)
        climatology = self.normaliser.climatology(time)
        state = self.normaliser.denormalise(truth, climatology)
        generator = torch.Generator().manual_seed(seed + 3000)
        observations = []
        for operator, variance in zip(self.operators, self.error_variance, strict=True):
            exact = operator(state)
            noise = torch.randn(exact.shape, generator=generator)
            observations.append(
                Observations(
                    name=("stations" if not observations else "satellite") + "/made",
                    operator=operator,
                    values=exact + variance**0.5 * noise,
                    mask=torch.ones_like(exact, dtype=torch.bool),
                    error_variance=torch.full_like(exact, variance),
                )
            )
        return Batch(
            fields=truth,
            mask=torch.ones_like(truth, dtype=torch.bool),
            time=time,
            case=torch.arange(cases) + 17,
            climatology=climatology,
            background=Background(background, self.variance.expand_as(background).clone()),
            observations=tuple(observations),
        )

    def matrix(self, batch: Batch, case: int = 0) -> Tensor:
        """Return G of the active observations of a case, `(P, D)` float64."""
        stacked = stack_observations(batch, case)
        size = self.covariance.shape[0]
        unit = torch.eye(size, dtype=torch.float64).reshape(size, *self.shape)
        images = observe_perturbations(stacked.operators, unit * self.normaliser.sd.double())
        return stacked.select(images).T

    def posterior(self, batch: Batch, case: int = 0) -> tuple[Tensor, Tensor]:
        """Return the posterior mean `(T, C, H, W)` and covariance `(D, D)`, float64 normalised."""
        stacked = stack_observations(batch, case)
        mean = batch.background.mean[case].double()
        climatology = batch.climatology[case].double()
        observed = stacked.apply((mean * self.normaliser.sd.double() + climatology)[None])[0]
        g = self.matrix(batch, case)
        cross = self.covariance @ g.T
        s = g @ cross + torch.diag(stacked.variance.double())
        gain = torch.linalg.solve(s, cross.T).T
        increment = gain @ (stacked.values.double() - observed)
        return mean + increment.reshape(self.shape), self.covariance - gain @ cross.T

    def normalised(self, members: Tensor, batch: Batch, case: int = 0) -> Tensor:
        """Normalise the members `(B, M, T, C, H, W)` of one case: `(M, T, C, H, W)`."""
        return self.normaliser.normalise(members[case], batch.climatology[case])


def linear_gaussian(days: int = 1, seed: int = 0) -> LinearGaussian:
    """Make the problem.

    Args:
        days: Days in the window, correlated with 0.6 from one to the next.
        seed: Seed of the stations' positions and offsets.
    """
    grid = small_grid()
    points = grid.points
    space = localisation_matrix(grid, points, points, 5000.0, dtype=torch.float64)
    space = 0.97 * space + 0.03 * torch.eye(space.shape[0], dtype=torch.float64)
    channels = torch.tensor([[1.0, -0.5], [-0.5, 1.0]], dtype=torch.float64)
    apart = torch.arange(days, dtype=torch.float64)
    time = 0.6 ** (apart[:, None] - apart[None, :]).abs()
    sd = 0.6 + 0.4 * torch.sin(torch.deg2rad(points[0])).square().repeat(days * 2)
    covariance = torch.kron(time, torch.kron(channels, space)) * sd[:, None] * sd[None, :]

    harmonics = torch.tensor([280.0, 230.0])[None, :, None, None].expand(1, -1, *grid.shape)
    scale = torch.tensor([3.0, 20.0])[:, None, None] * torch.ones(grid.shape)
    normaliser = Normaliser(_CHANNELS, harmonics, scale)

    rng = np.random.default_rng(seed)
    latitude = torch.from_numpy(np.degrees(np.arcsin(rng.uniform(-1, 1, 25))))
    stations = StationOperator(
        grid,
        _CHANNELS,
        "2m_temperature",
        latitude,
        torch.from_numpy(rng.uniform(0, 360, 25)),
        elevation=torch.from_numpy(rng.uniform(0, 800, 25)),
        model_elevation=torch.full(grid.shape, 200.0),
    )
    satellite = SatelliteOperator(grid, _CHANNELS, "outgoing_longwave_radiation", 2)
    return LinearGaussian(grid, normaliser, covariance, (stations, satellite), (1.0, 25.0), days)


def masked(batch: Batch, which: int, mask: Tensor) -> Batch:
    """Mask observations of a batch and make their values NaN.

    Args:
        batch: The batch.
        which: Index of the observations.
        mask: `(B, T, P)` bool, True where observed.
    """
    observations = list(batch.observations)
    old = observations[which]
    values = torch.where(mask, old.values, torch.nan)
    observations[which] = replace(old, values=values, mask=old.mask & mask)
    return replace(batch, observations=tuple(observations))
