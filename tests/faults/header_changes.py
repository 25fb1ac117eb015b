"""Changes of how a file describes its fields, which leave the fields themselves alone.

Each takes an archive in memory and a generator. A change that says something wrong, so that no
value can be right, sets `must_refuse`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cftime
import numpy as np
import xarray as xr

__all__ = ["CHANGES", "HARMLESS", "Archive"]

_FILL = 9.969209968386869e36


@dataclass
class Archive:
    """An archive in memory, as it will be written, and what has been done to it.

    Attributes:
        parts: Datasets by file name.
        encoding: Encoding of every variable that is written.
        applied: Names of the changes.
        must_refuse: Whether the outcome must be a refusal.
        scale: Largest step of packed values, in units of the file.
        missing: Points that are missing at all times, as latitude and longitude.
    """

    parts: dict[str, xr.Dataset]
    encoding: dict[str, dict[str, Any]] = field(default_factory=dict)
    applied: list[str] = field(default_factory=list)
    must_refuse: bool = False
    scale: float = 0.0
    missing: list[tuple[float, float]] = field(default_factory=list)

    def each(self, change: Callable[[xr.Dataset], xr.Dataset]) -> None:
        """Change every part."""
        self.parts = {name: change(part) for name, part in self.parts.items()}

    @property
    def first(self) -> xr.Dataset:
        """The first part."""
        return next(iter(self.parts.values()))

    def main(self) -> list[str]:
        """Return the variables that have a place and a time."""
        parts = self.parts.values()
        return list(dict.fromkeys(str(n) for p in parts for n, a in p.items() if a.ndim >= 2))

    def part_with(self, name: str) -> xr.Dataset:
        """Return the first part that has a variable."""
        return next(part for part in self.parts.values() if name in part)

    def axis(self, *names: str) -> str:
        """Return the present name of a dimension, "" if there is none."""
        return next((n for n in names if n in self.first.coords and self.first[n].dims), "")


_TIME = ("time", "valid_time", "t_axis", "T")
_LATITUDE = ("latitude", "lat", "nav_lat", "y", "LAT")
_LONGITUDE = ("longitude", "lon", "nav_lon", "x", "LON")
_LEVEL = ("level", "pressure_level", "plev", "lev", "isobaricInhPa", "z")
_UNITS = {
    "K": [
        (("K", "kelvin", "Kelvin", "degrees K", "deg_K"), 1.0, 0.0),
        (("degC", "deg_C", "Celsius", "celsius", "°C"), 1.0, -273.15),
    ],
    "m": [
        (("m", "m of water equivalent"), 1.0, 0.0),
        (("mm", "kg m-2", "kg m**-2"), 1000.0, 0.0),
    ],
    "mm": [(("mm", "kg m**-2", "kg/m^2", "millimeters"), 1.0, 0.0), (("m", "meters"), 1e-3, 0.0)],
    "W m-2": [(("W m-2", "watts/m^2", "W/m**2", "Watt m-2", "W m^-2"), 1.0, 0.0)],
    "J m**-2": [(("J m**-2", "J/m2", "joules m-2"), 1.0, 0.0)],
}
_ALIKE = {"W/m^2": "W m-2", "W m**-2": "W m-2"}
_WRONG_UNITS = (
    "K day-1",
    "W m-2 sr-1",
    "furlongs",
    "unknown",
    "%",
    "kg",
    "K W",
    "9**9**9**9",
    "(",
)
_ODD = (5, 3.5, np.array([1, 2]), "", " ", "\x7f", "é" * 3, "a b c" * 40)


def _units(a: Archive, r: np.random.Generator) -> None:
    name = str(r.choice(a.main()))
    stated = a.part_with(name)[name].attrs.get("units")
    if isinstance(stated, str) and _ALIKE.get(stated, stated) in _UNITS:
        choices = _UNITS[_ALIKE.get(stated, stated)]
        names, factor, offset = choices[r.integers(len(choices))]

        def convert(part: xr.Dataset) -> xr.Dataset:
            attrs = part[name].attrs | {"units": str(r.choice(names))}
            return part.assign({name: (part[name] * factor + offset).assign_attrs(attrs)})

        state = r.bit_generator.state
        for file, part in a.parts.items():
            r.bit_generator.state = state  # the same spelling in every file
            a.parts[file] = convert(part) if name in part else part


def _wrong_units(a: Archive, r: np.random.Generator) -> None:
    wanted = str(r.choice(_WRONG_UNITS))

    def change(part: xr.Dataset) -> xr.Dataset:
        names = [n for n in part.data_vars if part[n].ndim >= 2]
        return part.assign({n: part[n].assign_attrs(units=wanted) for n in names})

    a.each(change)
    a.must_refuse = True


def _no_units(a: Archive, r: np.random.Generator) -> None:
    name = str(r.choice(a.main()))
    if a.part_with(name)[name].attrs.get("units") in ("K", "m", "W m-2", "W/m^2", "mm", "J m**-2"):

        def change(part: xr.Dataset) -> xr.Dataset:
            out = part.copy()
            if name in part:
                out[name].attrs = {k: v for k, v in part[name].attrs.items() if k != "units"}
            return out

        a.each(change)


def _order(a: Archive, r: np.random.Generator) -> None:
    dims = dict.fromkeys(str(d) for part in a.parts.values() for d in part.dims)
    order = [str(d) for d in r.permutation(list(dims))]
    a.each(lambda part: part.transpose(*order, missing_dims="ignore"))


def _southward(a: Archive, r: np.random.Generator) -> None:
    name = a.axis(*_LATITUDE)
    a.each(lambda part: part.isel({name: slice(None, None, -1)}))


def _west(a: Archive, r: np.random.Generator) -> None:
    name = a.axis(*_LONGITUDE)

    def change(part: xr.Dataset) -> xr.Dataset:
        turned = (part[name] + 180) % 360 - 180
        return part.assign_coords({name: turned.assign_attrs(part[name].attrs)}).sortby(name)

    a.each(change)


def _repeated_meridian(a: Archive, r: np.random.Generator) -> None:
    name = a.axis(*_LONGITUDE)

    def change(part: xr.Dataset) -> xr.Dataset:
        again = part.isel({name: [0]})
        again = again.assign_coords({name: again[name] + 360})
        return xr.concat(
            [part, again],
            name,
            data_vars="minimal",
            coords="minimal",
            compat="override",
            join="outer",
        )

    a.each(change)


def _shuffled_longitude(a: Archive, r: np.random.Generator) -> None:
    name = a.axis(*_LONGITUDE)
    order = r.permutation(a.first.sizes[name])
    a.each(lambda part: part.isel({name: order}))


def _noise(a: Archive, r: np.random.Generator) -> None:
    for name in (a.axis(*_LATITUDE), a.axis(*_LONGITUDE)):
        kind = str(r.choice(["f4", "f8"]))
        noise = r.uniform(-1e-6, 1e-6, a.first.sizes[name])

        def change(part: xr.Dataset, name=name, kind=kind, noise=noise) -> xr.Dataset:
            exact = part[name].values
            values = np.clip(exact + noise, -180, max(360, exact.max())).astype(kind)
            return part.assign_coords({name: (name, values, part[name].attrs)})

        a.each(change)


def _types(a: Archive, r: np.random.Generator) -> None:
    kind = str(r.choice(["f4", "f8", ">f4", "i2", "i4"]))
    for name in a.main():
        values = np.concatenate([p[name].values.ravel() for p in a.parts.values() if name in p])
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        if kind.startswith("i"):
            scale = max(high - low, 1e-9) / 6e4
            a.encoding[name] = {
                "dtype": kind,
                "scale_factor": scale,
                "add_offset": (low + high) / 2,
                "_FillValue": -32767,
            }
            a.scale = max(a.scale, scale)
        else:
            a.encoding[name] = {"dtype": kind}


def _fills(a: Archive, r: np.random.Generator) -> None:
    fill = [_FILL, -9999.0, np.nan, -32767.0][r.integers(4)]
    declared = str(r.choice(["_FillValue", "missing_value", "both", "none"]))
    lat, lon = a.axis(*_LATITUDE), a.axis(*_LONGITUDE)
    row, column = int(r.integers(a.first.sizes[lat])), int(r.integers(a.first.sizes[lon]))
    a.missing.append((float(a.first[lat][row]), float(a.first[lon][column])))
    names = a.main()
    for name in names:
        encoding = {k: v for k, v in a.encoding.get(name, {}).items() if k == "dtype"}
        packed = encoding.get("dtype", "f4")[-2] == "i"
        a.encoding[name] = {"dtype": "f4" if packed else encoding.get("dtype", "f4")}
        a.encoding[name]["_FillValue"] = (
            np.float32(fill) if declared in ("_FillValue", "both") else None
        )

    def change(part: xr.Dataset) -> xr.Dataset:
        out = part.copy(deep=True)
        for name in names:
            if name not in part or lat not in out[name].dims or lon not in out[name].dims:
                continue
            hole = (out[lat] == out[lat][row]) & (out[lon] == out[lon][column])
            attrs = out[name].attrs
            value = np.nan if a.encoding[name]["_FillValue"] is not None else fill
            out[name] = out[name].where(~hole, value).transpose(*out[name].dims)
            out[name].attrs = attrs
            if declared in ("missing_value", "both"):
                out[name].attrs["missing_value"] = np.float32(fill)
        return out

    a.each(change)


def _calendar(a: Archive, r: np.random.Generator) -> None:
    name = a.axis(*_TIME)
    if not name or a.first[name].dtype.kind != "M":
        return
    calendar = str(r.choice(["noleap", "365_day", "gregorian", "proleptic_gregorian", "360_day"]))
    a.each(lambda part: _numbered(part, name, "days since 2000-01-01", calendar, "f8"))
    a.must_refuse |= calendar == "360_day"


def _numbered(part: xr.Dataset, name: str, units: str, calendar: str, kind: str) -> xr.Dataset:
    """Write dates as numbers; without leap days, the number of days that such a calendar has."""
    dates = part[name].values.astype("datetime64[s]")
    plain = units.replace("Since", "since").replace("HOURS", "hours")
    last = 30 if calendar == "360_day" else 31
    objects = [
        cftime.datetime(d.year, d.month, min(d.day, last), d.hour, calendar=calendar)
        for d in dates.tolist()
    ]
    numbers = np.asarray(cftime.date2num(objects, plain, calendar=calendar))
    with np.errstate(all="ignore"):
        values = numbers.astype(kind)
    attrs = part[name].attrs | {"units": units, "calendar": calendar}
    return part.assign_coords({name: (name, values, attrs)})


def _time_units(a: Archive, r: np.random.Generator) -> None:
    name = a.axis(*_TIME)
    if not name or a.first[name].dtype.kind != "M":
        return
    step = str(r.choice(["days", "hours", "minutes", "seconds", "HOURS"]))
    epoch = str(
        r.choice(["1970-01-01", "1800-01-01 00:00:0.0", "1900-1-1", "1950-01-01T00:00:00Z"])
    )
    word = str(r.choice(["since", "Since"])) if step == "HOURS" else "since"
    kind = str(r.choice(["f8", "f4", "i4", "i8"]))
    unit = f"{step} {word} {epoch}"
    plain = f"{step.lower()} since {epoch}"
    numbers = _numbered(a.first, name, plain, "standard", "f8")[name].values
    limit = 2**31 if kind == "i4" else 2**62
    fraction = not np.array_equal(numbers, np.round(numbers))
    if (kind.startswith("i") and fraction) or np.abs(numbers).max() >= limit:
        kind = "f8"
    a.each(lambda part: _numbered(part, name, unit, "standard", kind))


def _odd_time(a: Archive, r: np.random.Generator) -> None:
    name = a.axis(*_TIME)
    if not name or a.first[name].dtype.kind != "M":
        return
    kind = str(
        r.choice(["day as %Y%m%d.%f", "years since 1950-01-01", "days", "rubbish", "missing"])
    )

    def change(part: xr.Dataset) -> xr.Dataset:
        dates = part[name].values.astype("datetime64[s]").tolist()
        numbers = [
            int(d.strftime("%Y%m%d")) + (d.hour * 3600 + d.minute * 60) / 86400 for d in dates
        ]
        attrs = {} if kind == "missing" else {"units": kind}
        return part.assign_coords({name: (name, np.array(numbers, "f8"), attrs)})

    a.each(change)
    a.must_refuse |= not kind.startswith("day as")


def _axis_names(a: Archive, r: np.random.Generator) -> None:
    for names, standard, axis in (
        (_TIME, "time", "T"),
        (_LATITUDE, "latitude", "Y"),
        (_LONGITUDE, "longitude", "X"),
        (_LEVEL, "air_pressure", "Z"),
    ):
        old = a.axis(*names)
        new = str(r.choice(names))
        if not old or old == new:
            continue
        said = {"standard_name": standard} if r.random() < 0.5 else {"axis": axis}
        said = {} if r.random() < 0.2 else said

        def change(part: xr.Dataset, old=old, new=new, said=said) -> xr.Dataset:
            if old not in part.dims or new in part.variables:
                return part
            out = part.rename({old: new})
            out[new].attrs.update(said)
            return out

        a.each(change)


def _levels(a: Archive, r: np.random.Generator) -> None:
    name = next((n for n in _LEVEL if any(n in p.dims for p in a.parts.values())), "")
    if not name:
        return
    units, factor = [("Pa", 100.0), ("hPa", 1.0), ("mb", 1.0), ("millibars", 1.0), ("level", 1.0)][
        r.integers(5)
    ]
    kind = str(r.choice(["f4", "f8", "i4"]))

    def change(part: xr.Dataset) -> xr.Dataset:
        if name not in part.dims:
            return part
        values = (part[name].values * factor).astype(kind)
        return part.assign_coords({name: (name, values, part[name].attrs | {"units": units})})

    a.each(change)
    a.must_refuse |= units == "level"


def _variable_name(a: Archive, r: np.random.Generator) -> None:
    names = {name: f"var{number}" for number, name in enumerate(a.main())}
    a.each(lambda part: part.rename({k: v for k, v in names.items() if k in part}))


def _scalars(a: Archive, r: np.random.Generator) -> None:
    number = int(r.integers(3))

    def change(part: xr.Dataset) -> xr.Dataset:
        if number == 0:
            return part.assign_coords(number=0, step=np.timedelta64(0, "ns"), surface=0.0)
        if number == 1:
            own = {n: part[n].expand_dims(number=[0]) for n in part.data_vars if part[n].ndim >= 2}
            return part.assign(own)
        return part.assign(crs=((), 0, {"grid_mapping_name": "latitude_longitude"}))

    a.each(change)


def _dates(a: Archive, r: np.random.Generator) -> None:
    name = a.axis(*_TIME)
    if not name or a.first.sizes[name] < 3:
        return
    steps = np.arange(a.first.sizes[name])
    kind = str(r.choice(["shuffled", "twice", "dropped"]))
    if kind == "shuffled":
        steps = r.permutation(steps)
    elif kind == "twice":
        steps = np.insert(steps, 1, steps[1])
        a.must_refuse = True
    else:
        steps = np.delete(steps, int(r.integers(1, len(steps) - 1)))
    # Files of their own years, or of other times, would not keep their lengths.
    a.parts = {f: p.isel({name: steps[steps < p.sizes[name]]}) for f, p in a.parts.items()}


def _attributes(a: Archive, r: np.random.Generator) -> None:
    names = ["standard_name", "cell_methods", "axis", "long_name", "GRIB_stepType", "calendar"]
    chosen = str(r.choice(names))
    value = _ODD[r.integers(len(_ODD))]
    target = str(r.choice([*a.main(), *map(str, a.first.coords)]))

    def change(part: xr.Dataset) -> xr.Dataset:
        if target in part.variables and not (
            chosen == "calendar" and part[target].dtype.kind == "M"
        ):
            part = part.copy()
            part[target].attrs[chosen] = value
        return part

    a.each(change)


def _nan_coordinate(a: Archive, r: np.random.Generator) -> None:
    name = a.axis(*(_LATITUDE if r.random() < 0.5 else _LONGITUDE))

    def change(part: xr.Dataset) -> xr.Dataset:
        values = part[name].values.astype("f8")
        values[len(values) // 2] = [np.nan, np.inf, values[0]][r.integers(3)]
        return part.assign_coords({name: (name, values, part[name].attrs)})

    a.each(change)
    a.must_refuse = True


def _cut(a: Archive, r: np.random.Generator) -> None:
    """Leave out a part of the globe, so that the grid is regional."""
    name = a.axis(*_LONGITUDE)
    a.each(lambda part: part.isel({name: slice(0, part.sizes[name] // 2)}))
    a.must_refuse = True


CHANGES: dict[str, Callable[[Archive, np.random.Generator], None]] = {
    function.__name__.strip("_"): function
    for function in (
        _units,
        _wrong_units,
        _no_units,
        _order,
        _southward,
        _west,
        _repeated_meridian,
        _shuffled_longitude,
        _noise,
        _types,
        _fills,
        _calendar,
        _time_units,
        _odd_time,
        _axis_names,
        _levels,
        _variable_name,
        _scalars,
        _dates,
        _attributes,
        _nan_coordinate,
        _cut,
    )
}
# Changes after which every reader must still read the archive.
HARMLESS = {
    "units",
    "order",
    "southward",
    "west",
    "repeated_meridian",
    "shuffled_longitude",
    "noise",
    "types",
    "scalars",
}
