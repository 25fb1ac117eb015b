"""Vertical views of a state: its profile at a point, with the spread, and a section through it.

Both draw fields of one time on a global grid, in any order of dimensions: those of a run in the
report, or an analysis of one's own,

    draw_profile(axes, analysis["temperature"], (48.2, 16.4))
    draw_section(axes, analysis["temperature"].std("realization"), longitude=16.4)
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.patheffects import withStroke

from slams.errors import UserError
from slams.grid import LatLonGrid
from slams.report.coastlines import cell_edges, wrap_longitudes
from slams.report.labels import latitude_label, longitude_label
from slams.report.profiles import pressure_axis
from slams.report.style import SPREAD_MAP

__all__ = ["draw_profile", "draw_section", "member_range", "profile_at", "section_at"]

_STATE = ("level", "latitude", "longitude")
_MEMBERS = ("realization", "member")
_LINE = MappingProxyType({"color": "#0072b2", "label": "analysis"})
# Pressure at the ends of the axis, relative to that of the outermost levels.
_MARGIN = 1.06


def profile_at(field: xr.DataArray, point: tuple[float, float]) -> xr.DataArray:
    """Interpolate a field to a point, bilinearly as the observation operator of stations does.

    Args:
        field: Dimensions level (hPa), latitude and longitude of a global grid and, for an
            ensemble, realization or member; others only of size 1.
        point: Latitude (degrees north) and longitude (degrees east).

    Returns:
        The levels with values, from the surface up, for each member of an ensemble.

    Raises:
        UserError: The field has no levels or further dimensions, or its grid is not global.
    """
    field = _one_state(field)
    field = field.assign_coords(longitude=field["longitude"] % 360.0).sortby("longitude")
    field = field.sortby("latitude", ascending=False)
    field = field.transpose(..., "latitude", "longitude")
    latitude, longitude = (torch.tensor(field[name].values) for name in _STATE[1:])
    at = (torch.tensor([value], dtype=torch.float64) for value in point)
    index, weight = LatLonGrid(latitude, longitude).interpolation(*at)
    values = field.values.reshape(*field.shape[:-2], -1)[..., index[0].numpy()]
    profile = field.isel(latitude=0, longitude=0, drop=True)
    return _upwards(profile.copy(data=(values * weight[0].numpy()).sum(axis=-1)))


def member_range(profile: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray] | None:
    """Return the 5th and the 95th percentile of an ensemble; `None` for a single state.

    The share of draws from the same distribution between them is 90 %, whatever the number of
    members `M`; only below 19 are they the smallest and the largest member, which hold a share of
    `(M - 1) / (M + 1)`.

    Args:
        profile: Dimension realization or member, and any others.
    """
    members = _members(profile)
    if members is None:
        return None
    low, high = profile.quantile([0.05, 0.95], members, method="weibull", skipna=False)
    return low, high


def draw_profile(
    axes: Axes,
    field: xr.DataArray,
    point: tuple[float, float],
    look: Mapping[str, Any] = _LINE,
    *,
    minus: xr.DataArray | None = None,
    shaded: bool = True,
) -> None:
    """Draw the profile at a point: of an ensemble its mean and its 5-95 % range.

    The axis ends at the levels of the field that was drawn last.

    Args:
        axes: Axes to draw on; several fields may be drawn on the same.
        field: As for `profile_at`.
        point: Latitude (degrees north) and longitude (degrees east).
        look: Arguments of matplotlib for the line: colour, label, marker.
        minus: Field to subtract, for example the background; of an ensemble its mean.
        shaded: Whether the range is shaded; otherwise dashed lines bound it.

    Raises:
        UserError: As for `profile_at`.
    """
    profile = profile_at(field, point)
    if minus is not None:
        other = _mean(profile_at(minus, point))
        profile = profile - other.reindex(level=profile["level"])
    pressure_axis(axes, profile["level"].values)
    if not np.isfinite(profile).any():  # a background may have gaps
        return
    pressure, between = profile["level"].values, member_range(profile)
    if between is not None:
        colour = look.get("color")
        if shaded:
            axes.fill_betweenx(pressure, *between, color=colour, alpha=0.2, linewidth=0)
        for edge in between:  # visible where ranges overlap, and in print
            style = "-" if shaded else (0, (4, 2))
            axes.plot(edge, pressure, color=colour, linewidth=0.8, linestyle=style, zorder=1.5)
    axes.plot(_mean(profile), pressure, **look)


def section_at(
    field: xr.DataArray, *, longitude: float | None = None, latitude: float | None = None
) -> xr.DataArray:
    """Return the column of the grid nearest to a longitude, or the row nearest to a latitude.

    Args:
        field: As for `profile_at`; the grid need not be global.
        longitude: Degrees east, for a section from pole to pole.
        latitude: Degrees north, for a section around the globe.

    Returns:
        The levels with values, from the surface up, by latitude or longitude.

    Raises:
        UserError: The field has no levels or further dimensions, or not exactly one of longitude
            and latitude was given.
    """
    if (longitude is None) == (latitude is None):
        raise UserError("a section is along one line: give either its longitude or its latitude")
    field = _one_state(field)
    if longitude is None:
        return _upwards(field.sel(latitude=latitude, method="nearest"))
    apart = (field["longitude"].values - longitude + 180.0) % 360.0 - 180.0
    return _upwards(field.isel(longitude=int(np.abs(apart).argmin())))


def draw_section(
    axes: Axes,
    field: xr.DataArray,
    *,
    longitude: float | None = None,
    latitude: float | None = None,
    cmap: str = SPREAD_MAP,
    norm: Normalize | None = None,
    lines: xr.DataArray | None = None,
    stations: pd.DataFrame | None = None,
) -> QuadMesh:
    """Draw a field cell by cell on a section of pressure by latitude, or by longitude.

    Args:
        axes: Axes to draw on.
        field: As for `section_at`, one state: a mean, an increment or a spread.
        longitude: Degrees east, for a section from pole to pole.
        latitude: Degrees north, for a section around the globe.
        cmap: Colour map.
        norm: Its range.
        lines: Field to draw as lines of equal value on top, for example the analysis; a section of
            a single level has none.
        stations: Columns latitude and longitude; marks at the bottom for those in these cells.

    Returns:
        The cells, from which a colour bar can be made.

    Raises:
        UserError: As for `section_at`, or the field is an ensemble.
    """
    section = section_at(field, longitude=longitude, latitude=latitude)
    members = _members(section)
    if members is not None:
        raise UserError(
            f"a section shows one state, but the field has {section.sizes[members]} members; take "
            f'their mean("{members}") or std("{members}")'
        )
    along, across = ("latitude", "longitude") if latitude is None else ("longitude", "latitude")
    where, values = _increasing(section, along)
    pressure = section["level"].values.astype(float)
    edges = cell_edges(where, np.array([0.0, 1.0]))[0]
    if along == "longitude":
        edges = cell_edges(np.array([1.0, 0.0]), where)[1]
    between = np.sqrt(pressure[1:] * pressure[:-1])
    heights = np.concatenate([[pressure[0] * _MARGIN], between, [pressure[-1] / _MARGIN]])
    mesh = axes.pcolormesh(edges, heights, values, cmap=cmap, norm=norm, rasterized=True)
    if lines is not None and len(pressure) > 1:
        drawn = section_at(lines, longitude=longitude, latitude=latitude)
        x, equal = _increasing(drawn.reindex(level=section["level"]), along)
        found = axes.contour(x, pressure, equal, 9, colors="#222222", linewidths=0.6)
        texts = axes.clabel(found, fontsize=7, fmt="%g")
        for artist in (found, *texts):  # visible on dark cells
            artist.set_path_effects([withStroke(linewidth=1.8, foreground="#ffffffa0")])
    if stations is not None:
        half = float(np.abs(np.diff(field[across].values)).max()) / 2
        _mark(axes, stations, along, across, float(section[across]), half)
    pressure_axis(axes, pressure)
    end, step, text = 90, 30, latitude_label
    if along == "longitude":
        end, step, text = 180, 60, longitude_label
    ticks = np.arange(-end, end + 1, step)
    axes.set_xticks(ticks, [text(tick) for tick in ticks])
    axes.set_xlim(-end, end)
    axes.grid(False)
    return mesh


def _one_state(field: xr.DataArray) -> xr.DataArray:
    """Drop dimensions of size 1; refuse a field without levels or of several times."""
    known = (*_MEMBERS, *_STATE)
    single = [dim for dim in field.dims if dim not in known and field.sizes[dim] == 1]
    field = field.squeeze(single, drop=True)
    missing = [dim for dim in _STATE if dim not in field.dims]
    if missing:
        raise UserError(
            f"{field.name or 'the field'} has no dimension {missing[0]}; profiles and sections "
            f"need {', '.join(_STATE)}"
        )
    for dim in field.dims:
        if dim not in known:
            raise UserError(
                f"{field.name or 'the field'} has {field.sizes[dim]} values of {dim}; expected "
                f"one: choose with .isel({dim}=0)"
            )
    return field


def _members(field: xr.DataArray) -> str | None:
    return next((dim for dim in _MEMBERS if dim in field.dims), None)


def _mean(field: xr.DataArray) -> xr.DataArray:
    members = _members(field)
    return field if members is None else field.mean(members)


def _upwards(field: xr.DataArray) -> xr.DataArray:
    """Sort the levels from the surface up, without those that have no value, if any has one."""
    known = field.dropna("level", how="all")
    return (known if known.sizes["level"] else field).sortby("level", ascending=False)


def _increasing(section: xr.DataArray, along: str) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates along a section, from the south or the date line, and `(L, N)` values."""
    section = section.transpose("level", along)
    if along == "longitude":
        return wrap_longitudes(section[along].values, section.values)
    section = section.sortby(along)
    return section[along].values, section.values


def _mark(
    axes: Axes, stations: pd.DataFrame, along: str, across: str, line: float, half: float
) -> None:
    """Mark the stations that are less than half a cell away from the line of a section."""
    apart = (stations[across].to_numpy(float) - line + 180.0) % 360.0 - 180.0
    where = stations[along].to_numpy(float)[np.abs(apart) <= half]
    where = (where + 180.0) % 360.0 - 180.0
    look = {"marker": "^", "linestyle": "none", "color": "black", "markersize": 4}
    bottom, transform = np.zeros(len(where)), axes.get_xaxis_transform()
    axes.plot(where, bottom, transform=transform, clip_on=False, **look)
