"""Data types shared by all packages: channels, windows, batches, observations, ensembles.

Notation, used everywhere below and in every module that consumes these types::

    B  cases (one case = one verifying window)     M  ensemble members
    T  days in a window                            C  channels (one variable at one level)
    H  latitudes, W  longitudes                    P  observed points of one modality

Three representations of the state are distinguished by name and never mixed:

* *physical*: the units of the training store (K, mm day-1, W m-2);
* *channel units*: physical after the channel's transform (precipitation as log(1 + mm day-1),
  humidity as its square root); observation operators act on these, and observation errors are
  Gaussian in them;
* *normalised*: (channel units - seasonal climatology) / standard deviation, the networks' input.

`slams.normalisation.Normaliser` converts between them. Missing values are NaN in physical arrays
and `False` in masks; no array uses zero to mean missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from slams.variables import TRANSFORM_OF, TRANSFORM_UNITS, UNITS, split_channel

if TYPE_CHECKING:
    import xarray as xr

    from slams.grid import LatLonGrid

__all__ = [
    "Background",
    "Batch",
    "Ensemble",
    "FieldSpec",
    "ObservationOperator",
    "Observations",
    "Window",
    "channel_index",
]


@dataclass(frozen=True)
class FieldSpec:
    """One channel: a variable, its pressure level, its units and its transform.

    Attributes:
        variable: WeatherBench2 name, for example `temperature`.
        level: Pressure level (hPa), or `None` for a variable without levels.
        units: Physical units of the stored values.
        transform: One of `slams.normalisation`, applied to physical values before normalising.
    """

    variable: str
    level: int | None = None
    units: str = "K"
    transform: str = "identity"

    def __post_init__(self) -> None:
        if self.transform not in TRANSFORM_UNITS:
            raise ValueError(
                f"transform of channel {self.name!r}: found {self.transform!r}, expected one of "
                f"{', '.join(TRANSFORM_UNITS)}"
            )

    @property
    def name(self) -> str:
        """Return the channel's name, `variable` or `variable@level`."""
        return self.variable if self.level is None else f"{self.variable}@{self.level}"

    @classmethod
    def parse(cls, name: str) -> FieldSpec:
        """Read a channel name as written in recipes, `temperature@850` or `2m_temperature`.

        Raises:
            UserError: The variable is unknown, or the level is not a whole number of hPa.
        """
        variable, level = split_channel(name)
        transform = TRANSFORM_OF.get(variable, "identity")
        return cls(variable, level, UNITS[variable], transform)

    @property
    def channel_units(self) -> str:
        """Return the units after the transform, in which `H` and `R` are stated."""
        return TRANSFORM_UNITS[self.transform].format(self.units)


def channel_index(channels: Sequence[FieldSpec], name: str) -> int:
    """Find a channel by name.

    Raises:
        KeyError: There is no channel of that name; the message lists the existing ones.
    """
    for index, spec in enumerate(channels):
        if spec.name == name:
            return index
    raise KeyError(f"channel {name!r} does not exist; found {', '.join(c.name for c in channels)}")


class _Tensors:
    """Base of data classes of tensors that are changed together, nested ones included."""

    def to(self, *args: Any, **kwargs: Any) -> Any:
        return self._changed(lambda v: v.to(*args, **kwargs) if hasattr(v, "to") else v)

    def pin_memory(self) -> Any:
        return self._changed(lambda v: v.pin_memory() if isinstance(v, Tensor) else v)

    def select(self, index: slice) -> Any:
        """Return some of the cases of every tensor.

        Args:
            index: A slice of the case axis, the first.
        """

        def part(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value[index]
            return value.select(index) if isinstance(value, _Tensors) else value

        return self._changed(part)

    def _changed(self, change: Callable[[Any], Any]) -> Any:
        """Return a copy with every value, and every entry of a tuple, changed."""
        changed = {}
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            entries = isinstance(value, tuple)
            changed[item.name] = tuple(map(change, value)) if entries else change(value)
        return replace(self, **changed)  # type: ignore[type-var]


@dataclass(frozen=True)
class Window(_Tensors):
    """Raw windows of the training store in physical units, as a DataLoader yields them.

    Attributes:
        fields: `(B, T, C, H, W)` physical, NaN where missing.
        previous: `(B, L, C, H, W)` physical, L consecutive days, the last one `lag` days before
            the first day of the window; NaN where missing or before the start of the store;
            `None` when no background is requested.
        time: `(B, T)` float64, days since 1970-01-01 00 UTC.
        case: `(B,)` int64, index in the store of the window's first day; seeds are derived from
            it.
        stations: `(B, T, P, V)` values in channel units, NaN where missing; `None` without
            stations.
        satellite: `(B, T, P)` values in channel units, NaN where missing; `None` without
            satellite.
        station_errors: `(B, T, P, V)` standard deviations of the errors that the reports state, in
            channel units, NaN where they do not; `None` where none does.
        satellite_errors: `(B, T, P)` standard deviations of the errors of imagery from files, in
            channel units, NaN in gaps; `None` for imagery that is drawn.
    """

    fields: Tensor
    time: Tensor
    case: Tensor
    previous: Tensor | None = None
    stations: Tensor | None = None
    satellite: Tensor | None = None
    station_errors: Tensor | None = None
    satellite_errors: Tensor | None = None


class ObservationOperator(Protocol):
    """Map from a state in channel units to `P` observed points: `y = H(f) = H_lin f + offset`.

    The rest of the program requires nothing else of an operator;
    `slams.observations.operator.LinearOperator` is a base class that implements most of it.

    Attributes:
        latitude: `(P,)` float64 degrees north of each observed point (a footprint's centre).
        longitude: `(P,)` float64 degrees east.
        units: Units of `y`.
    """

    latitude: Tensor
    longitude: Tensor
    units: str

    def __len__(self) -> int:
        """Return the number of points `P`."""
        ...

    def __call__(self, state: Tensor) -> Tensor:
        """Observe `(..., C, H, W)` in channel units; return `(..., P)`."""
        ...

    def linear(self, state: Tensor) -> Tensor:
        """Apply the linear part, for anomalies and increments; return `(..., P)`."""
        ...

    def adjoint(self, values: Tensor) -> Tensor:
        """Apply the transpose of the linear part: `(..., P)` to `(..., C, H, W)`."""
        ...

    def touches(self, points: Tensor) -> Tensor:
        """Return which observed points depend on marked grid points.

        Args:
            points: `(..., C, H, W)` bool, for example where the truth is missing.

        Returns:
            `(..., P)` bool.
        """
        ...

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ObservationOperator:
        """Return the operator on a device; this one is not moved."""
        ...


@dataclass(frozen=True)
class Observations(_Tensors):
    """Observations of one modality and variable for a batch, with `H` and `R`.

    Attributes:
        name: Modality and variable, for example `stations/2m_temperature`.
        operator: `H`, from `(..., C, H, W)` in channel units to `(..., P)`.
        values: `(B, T, P)` in the operator's units; undefined where `mask` is False.
        mask: `(B, T, P)` bool, True where observed.
        error_variance: `(B, T, P)`, diagonal of `R` in the operator's units squared.
        bound: Lowest value that an observation can report: below it, the bound itself is reported
            (`slams.linalg.censoring`). Minus infinity where observations are not censored.
        count: `(B, T, P)` int32, number of reports averaged in each superobservation
            (`slams.observations.superobs`); `None` where each is one report.
    """

    name: str
    operator: ObservationOperator
    values: Tensor
    mask: Tensor
    error_variance: Tensor
    bound: float = -math.inf
    count: Tensor | None = None

    @property
    def modality(self) -> str:
        """Return `stations` or `satellite`, the part of the name before the slash."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Background(_Tensors):
    """The background x_b of a batch, computed without the verifying truth.

    Attributes:
        mean: `(B, T, C, H, W)` normalised.
        variance: `(B, T, C, H, W)` normalised error variance estimated in the training period.
        kind: `damped_persistence`, `climatology` or `file`.
        known: `(B, T, C, H, W)` bool, False where there was no state to start from and the
            climatology is used instead; `None` if all of it is known.
        members: `(B, M, T, C, H, W)` normalised, one background per member of an ensemble that is
            cycled; `None` if all members share the mean.
    """

    mean: Tensor
    variance: Tensor
    kind: str = "damped_persistence"
    known: Tensor | None = None
    members: Tensor | None = None


@dataclass(frozen=True)
class Batch(_Tensors):
    """A normalised batch on the device, the input of modules and assimilators.

    Attributes:
        fields: `(B, T, C, H, W)` normalised truth, 0 where `mask` is False (the climatological
            mean, a fill value that every consumer must mask).
        mask: `(B, T, C, H, W)` bool, True where the truth is known.
        time: `(B, T)` float64, days since 1970-01-01 00 UTC.
        case: `(B,)` int64, from which seeds are derived.
        climatology: `(B, T, C, H, W)` channel units, the climatology that `fields` and
            `background` are anomalies from (re-centred when the recipe asks for it).
        background: The background, or `None` where the stage needs none.
        observations: One entry per modality and variable; empty without observations.
        held_out: Observations that verify analyses; the evaluation passes them to no method.
    """

    fields: Tensor
    mask: Tensor
    time: Tensor
    case: Tensor
    climatology: Tensor
    background: Background | None = None
    observations: tuple[Observations, ...] = ()
    held_out: tuple[Observations, ...] = ()

    def __len__(self) -> int:
        return self.fields.shape[0]


@dataclass(frozen=True)
class Ensemble(_Tensors):
    """Analyses of one method for a batch, in physical units.

    Attributes:
        method: Name of the method, as in the results table.
        members: `(B, M, T, C, H, W)` physical.
        time: `(B, T)` float64, days since 1970-01-01 00 UTC.
        channels: The channels, in order.
        grid: The grid.
        diverged: `(B,)` int64, members that diverged and were drawn again.
        seconds: Wall-clock time of the analysis of the whole batch (s).
        centred: Whether the members were shifted so that their mean is the analysis and not a
            sample of it; scores correct for this (`slams.metrics.centred`). False for
            independent draws.
    """

    method: str
    members: Tensor
    time: Tensor
    channels: tuple[FieldSpec, ...]
    grid: LatLonGrid
    diverged: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    seconds: float = 0.0
    centred: bool = False

    @property
    def mean(self) -> Tensor:
        """Return the mean of the members: `(B, T, C, H, W)` physical."""
        return self.members.mean(dim=1)

    @property
    def spread(self) -> Tensor:
        """Return the standard deviation of the members (ddof = 1): `(B, T, C, H, W)`."""
        return self.members.std(dim=1, correction=1)

    def to_xarray(self) -> xr.Dataset:
        """Return the members with their mean and spread as a CF dataset.

        See `slams.cf` for names and dimensions.

        Raises:
            UserError: Two cases have a day in common; select one of them before.
        """
        from slams.cf.dataset import analysis_dataset

        return analysis_dataset(self)
