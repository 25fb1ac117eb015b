"""Observers of the fields: the recipe's stations and imagery with their `H`, `R` and masks.

The DataModules use an observer to observe the truth during a run, the preparation to write
observations into the store: the values are the same in both cases.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from slams.calendar.steps import beginning_of_step
from slams.config.schema import SatelliteConfig, StationsConfig, StationVariableConfig
from slams.errors import UserError
from slams.fields import FieldSpec, ObservationOperator, Observations
from slams.grid import LatLonGrid
from slams.observations.footprints import FootprintOperator
from slams.observations.networks import Network, airport_network, read_network
from slams.observations.orbit import Orbit
from slams.observations.representativeness import representativeness_sd
from slams.observations.satellite import SatelliteOperator, swath_mask
from slams.observations.simulate import draw, random_reports
from slams.observations.stations import StationOperator

__all__ = [
    "Observer",
    "SatelliteObserver",
    "StationObserver",
    "is_censored",
    "sites",
    "with_errors",
]

# Channels that cannot be negative, and often are exactly zero.
_CENSORED = ("total_precipitation_24hr",)


def is_censored(variable: StationVariableConfig) -> bool:
    """Return whether a station variable is censored at zero."""
    if variable.likelihood == "auto":
        return variable.channel in _CENSORED
    return variable.likelihood == "censored"


def with_errors(observations: Observations, errors: Tensor) -> Observations:
    """Return observations with the errors that they state, where they state one.

    Args:
        observations: Observations with the errors of the recipe.
        errors: `(B, T, P)` standard deviations in the operator's units, NaN where none is stated.
    """
    variance = observations.error_variance
    own = errors.square().to(variance)
    return replace(observations, error_variance=torch.where(torch.isfinite(own), own, variance))


def sites(file: str, count: int, seed: int, key: str) -> Network:
    """Return the stations of a file, or airports thinned to a number.

    Args:
        file: List of stations; "" for airports.
        count: Number of airports.
        seed: The experiment's seed, by which airports are chosen.
        key: Dotted key of the recipe with the number, for messages.

    Raises:
        UserError: The file is invalid, or more stations are requested than there are.
    """
    if file:
        return read_network(file)
    try:
        return airport_network(count, seed)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


class Observer(ABC):
    """Base of the observers of the fields.

    Attributes:
        operators: `H` of each variable, by name `MODALITY/CHANNEL`.
        errors: Standard deviation of the error of each variable: a number, or `(P,)`.
        bounds: Lower bound of each variable: 0 where it is censored, minus infinity elsewhere.
    """

    operators: dict[str, ObservationOperator]
    errors: dict[str, float | Tensor]
    bounds: dict[str, float]
    _seed: int

    def __call__(
        self, truth: Tensor, mask: Tensor, time: Tensor, case: Tensor
    ) -> tuple[Observations, ...]:
        """Observe the truth.

        Args:
            truth: `(B, T, C, H, W)` channel units.
            mask: `(B, T, C, H, W)` bool, True where the truth is known.
            time: `(B, T)` days since 1970-01-01 00 UTC.
            case: `(B,)` index of the first day of each window in the store.
        """
        seen = self._seen(truth, time, case)
        return tuple(
            draw(
                name,
                operator.to(truth.device),
                truth,
                mask,
                self._error_of(name, truth, time),
                case,
                self._seed,
                mask=seen,
                bound=self.bounds[name],
            )
            for name, operator in self.operators.items()
        )

    def stored(self, values: Tensor, time: Tensor) -> tuple[Observations, ...]:
        """Return values read from the store as `Observations`.

        Args:
            values: `(B, T, P, V)` in the operators' units, NaN missing, one `V` per operator.
            time: `(B, T)` days since 1970-01-01 00 UTC.
        """
        found = []
        for number, (name, operator) in enumerate(self.operators.items()):
            value = values[..., number]
            variance = torch.as_tensor(self.errors[name], dtype=torch.float64) ** 2
            found.append(
                Observations(
                    name=name,
                    operator=operator.to(value.device),
                    values=value,
                    mask=torch.isfinite(value),
                    error_variance=variance.to(value).expand_as(value).contiguous(),
                    bound=self.bounds[name],
                )
            )
        return tuple(found)

    @abstractmethod
    def _seen(self, truth: Tensor, time: Tensor, case: Tensor) -> Tensor:
        """Return which points are observed, bool, `(B, T, P)` or broadcast to it."""

    def _error_of(self, name: str, truth: Tensor, time: Tensor) -> float | Tensor:
        """Return the standard deviation of a variable's error, broadcast to `(B, T, P)`."""
        return self.errors[name]


class StationObserver(Observer):
    """Observer of the fields at stations.

    Args:
        stations: The recipe's section `observations.stations`.
        seed: The experiment's seed, by which stations and errors are drawn.
        channels: The channels of the fields.
        grid: The grid of the fields.
        elevation: `(H, W)` m, the model's terrain, or `None` when it is unknown.
        network: The stations; by default those of the recipe.

    Attributes:
        network: The stations.
        operators: `H` of each variable, by name `stations/CHANNEL`.
        errors: Standard deviation of the error of each variable, instrument and
            representativeness together: a number, or `(P,)` where it depends on the grid spacing.
        bounds: Lower bound of each variable: 0 where it is censored, minus infinity elsewhere.

    Raises:
        UserError: A station has impossible coordinates, or a channel does not exist.
    """

    def __init__(
        self,
        stations: StationsConfig,
        seed: int,
        channels: tuple[FieldSpec, ...],
        grid: LatLonGrid,
        elevation: Tensor | None = None,
        network: Network | None = None,
    ) -> None:
        self._seed, self._missing = seed, stations.missing
        where = "observations.stations.count"
        self.network = network or sites(stations.file, stations.count, seed, where)
        self.operators, self.errors, self.bounds = {}, {}, {}
        for variable in stations.variables:
            name = f"stations/{variable.channel}"
            self.operators[name] = StationOperator(
                grid,
                channels,
                variable.channel,
                self.network.latitude,
                self.network.longitude,
                elevation=self.network.elevation,
                model_elevation=elevation,
                lapse_rate=stations.lapse_rate,
                names=self.network.id,
            )
            self.errors[name] = _error(variable, grid, self.network.latitude)
            self.bounds[name] = 0.0 if is_censored(variable) else -math.inf

    def _seen(self, truth: Tensor, time: Tensor, case: Tensor) -> Tensor:
        # One pattern for all variables: a missing report lacks all of them.
        places = len(self.network.id)
        return random_reports("stations", places, truth.shape[1], self._missing, case, self._seed)


class SatelliteObserver(Observer):
    """Observer of images inside moving swaths.

    Args:
        satellite: The recipe's section `observations.satellite`.
        seed: The experiment's seed, by which errors are drawn.
        channels: The channels of the fields.
        grid: The grid of the fields.
        step: Length of the steps of the fields (days), each with its own swaths.

    Attributes:
        operators: `H`, by name `satellite/CHANNEL`.
        errors: Standard deviation of the observation error of one pass.
        orbit: The orbit, or `None` for slanted bands.

    Raises:
        UserError: The footprint does not divide the grid, the recipe's orbit is impossible, or
            the channel does not exist.
    """

    def __init__(
        self,
        satellite: SatelliteConfig,
        seed: int,
        channels: tuple[FieldSpec, ...],
        grid: LatLonGrid,
        step: float = 1.0,
    ) -> None:
        name = f"satellite/{satellite.channel}"
        self._seed, self._coverage, self._step = seed, satellite.coverage, step
        self._mean = satellite.composite == "mean"
        what = (grid, channels, satellite.channel, satellite.footprint)
        operator: SatelliteOperator | FootprintOperator
        if satellite.footprint_km > 0:
            operator = FootprintOperator(*what, satellite.footprint_km)
        else:
            operator = SatelliteOperator(*what)
        self.operators = {name: operator}
        self.errors, self.bounds = {name: satellite.error}, {name: -math.inf}
        self.orbit = satellite_orbit(satellite)
        self._passes: dict[float, Tensor] = {}

    def _seen(self, truth: Tensor, time: Tensor, case: Tensor) -> Tensor:
        return self.passes(time).to(truth.device) > 0

    def _error_of(self, name: str, truth: Tensor, time: Tensor) -> float | Tensor:
        if not self._mean:
            return self.errors[name]
        return self.errors[name] / self.passes(time).to(truth.device).clamp(min=1).sqrt()

    def passes(self, time: Tensor) -> Tensor:
        """Count the passes that see each footprint: `(..., P)` float64, 0 outside all swaths.

        Args:
            time: `(...)` days since 1970-01-01 00 UTC; the time within a step does not matter.
        """
        (operator,) = self.operators.values()
        latitude, longitude = operator.latitude.cpu(), operator.longitude.cpu()
        if self.orbit is None:
            seen = swath_mask(latitude, longitude, time.cpu(), self._coverage, self._step)
            return seen.to(torch.float64)
        counts = []
        start = beginning_of_step(time.to(torch.float64), self._step)
        for day in start.reshape(-1).tolist():
            # The same for every batch that contains the step.
            if day not in self._passes:
                seen = self.orbit.passes(latitude, longitude, day, self._step).seen
                self._passes[day] = seen.sum(dim=0).to(torch.float64)
            counts.append(self._passes[day])
        return torch.stack(counts).reshape(*time.shape, -1)

    def stored(self, values: Tensor, time: Tensor) -> tuple[Observations, ...]:
        """Return imagery read from the store, `(B, T, P)`; see `Observer`."""
        (image,) = super().stored(values.unsqueeze(-1), time)
        if not self._mean:
            return (image,)
        variance = image.error_variance
        number = self.passes(time).clamp(min=1).to(variance)
        return (replace(image, error_variance=variance / number),)


def satellite_orbit(satellite: SatelliteConfig) -> Orbit | None:
    """Return the orbit of a recipe, or `None` for slanted bands.

    Raises:
        UserError: There is no such orbit.
    """
    if satellite.geometry != "orbit":
        return None
    orbit = satellite.orbit
    try:
        found = Orbit(
            orbit.repeat_days,
            orbit.revolutions,
            orbit.crossing_time,
            orbit.swath_km,
            orbit.inclination or None,
        )
        found.inclination_radians  # noqa: B018, raises unless the orbit is sun-synchronous
    except UserError as error:
        raise UserError(f"observations.satellite.orbit: {error}") from None
    return found


def _error(variable: StationVariableConfig, grid: LatLonGrid, latitude: Tensor) -> float | Tensor:
    """Return the observation error including representativeness, per station if it varies."""
    if variable.representativeness_km > 0:
        rest = representativeness_sd(
            variable.representativeness, variable.representativeness_km, grid, latitude
        )
        both = torch.hypot(torch.full_like(rest, variable.error), rest)
        return both.copysign(torch.tensor(variable.error, dtype=rest.dtype))
    # A negative error keeps its sign, so that `draw` refuses it.
    both = math.hypot(variable.error, variable.representativeness)
    return math.copysign(both, variable.error)
