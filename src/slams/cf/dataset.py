"""Analyses as CF-1.11 datasets, see `slams.cf` for the layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from slams.cf.arrangement import Arrangement
from slams.cf.coordinates import (
    grid_coordinates,
    level_coordinate,
    member_coordinates,
    time_coordinate,
)
from slams.runtime.version import package_version
from slams.variables import DAY_METHODS, SHORT_NAMES, STANDARD_NAMES

if TYPE_CHECKING:
    from torch import Tensor

    from slams.fields import Ensemble, FieldSpec

__all__ = ["CONVENTIONS", "analysis_dataset", "state_dataset"]

CONVENTIONS = "CF-1.11"


@dataclass(frozen=True)
class _Part:
    """What is derived from the members.

    Attributes:
        suffix: End of the variables' names.
        words: End of the variables' long names.
        method: How the axis of members was reduced, for `cell_methods`.
        temperature: Kind of the values of a temperature, for `units_metadata`: a spread in K is
            not to be converted to degrees Celsius by subtracting 273.15.
    """

    suffix: str = ""
    words: str = ""
    method: str = ""
    temperature: str = "temperature: on_scale"


_MEMBERS = _Part()
_MEAN = _Part("_mean", ", ensemble mean", "realization: mean")
_SPREAD = _Part(
    "_spread",
    ", ensemble standard deviation",
    "realization: standard_deviation",
    "temperature: difference",
)


def analysis_dataset(
    ensemble: Ensemble,
    *,
    counts: Tensor | None = None,
    history: str = "",
    attributes: Mapping[str, Any] = {},
    day_methods: Mapping[str, str] = {},
    step: float = 1.0,
) -> xr.Dataset:
    """Return the members of an ensemble with their mean, spread and counts of observations.

    Args:
        ensemble: B cases of T days, no two of the same time; the dataset is in order of time.
        counts: `(B, T, C, H, W)` number of observations used in each cell of each channel;
            `None` for a dataset without counts.
        history: How the analyses came to be; by default the version of this package.
        attributes: More attributes of the dataset, which replace its own of the same name.
        day_methods: How values represent their day, by WeatherBench2 name: `mean`, `sum` or
            `point` (see `slams.cf.day_methods`). Variables that are not named have
            `slams.variables.DAY_METHODS`, or no statement.
        step: Length of a step (days): what a mean or a sum covers.

    Returns:
        The dataset; an ensemble of one member has no spread.

    Raises:
        UserError: Two days are the same.
    """
    places, methods = Arrangement.of(ensemble), {**DAY_METHODS, **day_methods}
    count = ensemble.members.shape[1]
    data: dict[str, xr.Variable] = {}
    for part, values in (
        (_MEMBERS, ensemble.members),
        (_MEAN, ensemble.mean[:, None]),
        (_SPREAD, ensemble.spread[:, None] if count > 1 else None),
    ):
        if values is not None:
            data |= _fields(places, values, part, methods, single=part is not _MEMBERS)
    if counts is not None:
        data |= _counts(places, counts)
    for variable in dict.fromkeys(c.variable for c in ensemble.channels):
        _relate(data, SHORT_NAMES[variable])
    about = {
        "title": f"Analyses by {ensemble.method}",
        "source": f"SLAMS {package_version()}, method {ensemble.method}",
        "ensemble": "centred" if ensemble.centred else "free",
    }
    coordinates = _coordinates(places, ensemble, methods, step) | member_coordinates(count)
    return _dataset(data, coordinates, ensemble.method, history, {**about, **attributes})


def state_dataset(
    state: Ensemble,
    *,
    history: str = "",
    attributes: Mapping[str, Any] = {},
    day_methods: Mapping[str, str] = {},
    step: float = 1.0,
) -> xr.Dataset:
    """Return a state without members, such as a truth or a background.

    Args:
        state: B cases of T days with one member; its method is the name of the state.
        history: As in `analysis_dataset`.
        attributes: As in `analysis_dataset`.
        day_methods: As in `analysis_dataset`.
        step: As in `analysis_dataset`.

    Raises:
        UserError: Two days are the same.
    """
    places, methods = Arrangement.of(state), {**DAY_METHODS, **day_methods}
    data = _fields(places, state.members, _MEMBERS, methods, single=True)
    coordinates = _coordinates(places, state, methods, step)
    return _dataset(
        data, coordinates, state.method, history, {"title": state.method, **attributes}
    )


def _fields(
    places: Arrangement, values: Tensor, part: _Part, methods: Mapping[str, str], single: bool
) -> dict[str, xr.Variable]:
    """Return the variables of `(B, M, T, C, H, W)` by name; without members where `single`."""
    found = {}
    for channel, variable in places.variables(_numpy(values), np.nan):
        day = methods.get(channel.variable)
        cell_methods = [f"time: {day}"] if day else []
        cell_methods += [part.method] if part.method else []
        described = {
            "standard_name": STANDARD_NAMES.get(channel.variable),
            "long_name": _label(channel) + part.words,
            "units": channel.units,
            "units_metadata": part.temperature if channel.units == "K" else "",
            "cell_methods": " ".join(cell_methods),
            "weatherbench2_name": channel.variable,
        }
        variable.attrs = {name: text for name, text in described.items() if text}
        if single:
            variable = variable.isel(realization=0)
        found[SHORT_NAMES[channel.variable] + part.suffix] = variable
    return found


def _counts(places: Arrangement, counts: Tensor) -> dict[str, xr.Variable]:
    found = {}
    for channel, variable in places.variables(_numpy(counts[:, None]).astype("i4"), 0):
        variable.attrs = {
            "standard_name": "number_of_observations",
            "long_name": f"observations of {_label(channel)} used in the cell",
            "units": "1",
            "weatherbench2_name": channel.variable,
        }
        name = f"{SHORT_NAMES[channel.variable]}_observation_count"
        found[name] = variable.isel(realization=0)
    return found


def _relate(data: dict[str, xr.Variable], name: str) -> None:
    """Name what qualifies the members and the mean of a variable, as far as it is there."""
    spread, count = f"{name}_spread", f"{name}_observation_count"
    for one, others in ((name, [count]), (f"{name}_mean", [spread, count])):
        present = [other for other in others if other in data]
        if present:
            data[one].attrs["ancillary_variables"] = " ".join(present)


def _coordinates(
    places: Arrangement, ensemble: Ensemble, methods: Mapping[str, str], step: float
) -> dict[str, xr.Variable]:
    whole_days = any(methods.get(c.variable) in ("mean", "sum") for c in ensemble.channels)
    return (
        time_coordinate(places.time, bounds=whole_days, step=step)
        | level_coordinate(places.levels)
        | grid_coordinates(ensemble.grid)
    )


def _dataset(
    data: Mapping[str, xr.Variable],
    coordinates: Mapping[str, xr.Variable],
    method: str,
    history: str,
    attributes: Mapping[str, Any],
) -> xr.Dataset:
    about = {
        "Conventions": CONVENTIONS,
        "method": method,
        "history": history or f"written by SLAMS {package_version()}",
    }
    return xr.Dataset(data, coordinates, {**about, **attributes})


def _label(channel: FieldSpec) -> str:
    return channel.variable.replace("_", " ")


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
