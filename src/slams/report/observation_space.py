"""What sections on observations share: names and units of observations, rows of their tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from slams.plugins.methods import Family, find_method
from slams.report.formatting import capitalised, number
from slams.report.labels import quantity, region_label, variable_label
from slams.report.reading import Estimate, observed
from slams.report.style import by_method
from slams.report.tables import Cell, method_cell
from slams.variables import channel_units

__all__ = [
    "assimilates",
    "file_name",
    "in_units",
    "observation_heading",
    "observation_units",
    "parts",
    "root",
    "statistic_rows",
]

# Statistics that are variances; tables show their roots.
_VARIANCES = ("r_", "hbh_", "hah_", "total_spread")


def assimilates(method: str) -> bool:
    """Return whether a method, from whatever first guess, uses observations.

    Desroziers' relations estimate nothing for a method that does not.
    """
    spec, _ = find_method(method)
    return spec is None or spec.family is not Family.PRIOR


def root(estimate: Estimate | None) -> Estimate | None:
    """Return the square root of an estimated variance; `None` where it is negative."""
    if estimate is None or estimate.value < 0:
        return None
    lower, upper = (b if math.isnan(b) else math.sqrt(max(b, 0.0)) for b in estimate.bounds)
    return Estimate(math.sqrt(estimate.value), lower, upper, estimate.n)


def observation_heading(observation: str) -> str:
    """Return an observation's name in words: `Stations: 2 m temperature`."""
    modality, _, channel = observation.partition("/")
    variable, _, level = channel.partition("@")
    name = f"{capitalised(modality)}: {variable_label(variable)}"
    return f"{name} {level} hPa" if level else name


def observation_units(observation: str) -> str:
    """Return the units of an observation, after the transform of its channel."""
    variable = observation.partition("/")[2].partition("@")[0]
    return channel_units(variable)


def in_units(value: float, observation: str) -> str:
    """Format a number with the units of an observation: `1.11 K`."""
    units = quantity("", observation_units(observation)).strip()
    return f"{number(value)} {units[1:-1]}" if units else number(value)


def file_name(section: str, observation: str) -> str:
    """Return the name of the file of a picture about an observation, without suffix."""
    return f"{section}_" + "".join(c if c.isalnum() else "_" for c in observation)


def parts(rows: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Go through observations and their methods: each with its rows."""
    for observation, part in rows.groupby("observation", sort=False):
        for method, own in by_method(part):
            yield str(observation), method, own


def statistic_rows(
    space: pd.DataFrame, statistics: Sequence[str], regions: bool = False
) -> list[list[str | Cell | Estimate | None]]:
    """Return one row of a table per observation, region and method; the last column is the count.

    Args:
        space: Rows of the table `observation_space`.
        statistics: One per column; the root is shown of those that are variances.
        regions: Whether a column names the region.
    """
    rows = []
    for (observation, region), there in space.groupby(["observation", "region"], sort=False):
        names = [quantity(observation_heading(observation), observation_units(observation))]
        if regions:
            names.append(capitalised(region_label(region)))
        for method, own in by_method(there):
            estimates = {name: observed(own, name) for name in statistics}
            shown = (root(e) if s.startswith(_VARIANCES) else e for s, e in estimates.items())
            rows.append([*names, method_cell(method), *shown, f"{int(own['n'].max()):,}"])
    return rows
