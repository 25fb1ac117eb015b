"""What sections on observations share: names and units of observations, rows of their tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from slams.plugins.methods import Family, find_method
from slams.report.formatting import capitalised, number
from slams.report.labels import quantity, region_label, variable_label
from slams.report.reading import Estimate, observed
from slams.report.style import by_method
from slams.report.tables import Cell, method_cell
from slams.variables import channel_units

__all__ = ["Observation", "assimilates", "parts", "root", "statistic_rows"]

# Statistics that are variances; tables show their roots.
_VARIANCES = ("r_", "hbh_", "hah_", "total_spread")


@dataclass(frozen=True)
class Observation:
    """Name of an observation in tables: `stations/2m_temperature`, `stations/temperature@850`."""

    name: str

    @property
    def heading(self) -> str:
        """Return the name in words: `Stations: 2 m temperature`."""
        modality, _, channel = self.name.partition("/")
        variable, _, level = channel.partition("@")
        words = f"{capitalised(modality)}: {variable_label(variable)}"
        return f"{words} {level} hPa" if level else words

    @property
    def label(self) -> str:
        """Return the name in words with its units."""
        return quantity(self.heading, self.units)

    @property
    def units(self) -> str:
        """Return the units, after the transform of the channel."""
        return channel_units(self.name.partition("/")[2].partition("@")[0])

    def in_units(self, value: float) -> str:
        """Format a number with the units: `1.11 K`."""
        return quantity(number(value), self.units).replace(" (", " ").rstrip(")")

    def file(self, section: str) -> str:
        """Return the name of the file of a picture about it, without suffix."""
        return f"{section}_" + "".join(c if c.isalnum() else "_" for c in self.name)


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


def parts(rows: pd.DataFrame) -> Iterator[tuple[Observation, str, pd.DataFrame]]:
    """Go through observations and their methods: each with its rows."""
    for observation, part in rows.groupby("observation", sort=False):
        for method, own in by_method(part):
            yield Observation(str(observation)), method, own


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
    for (name, region), there in space.groupby(["observation", "region"], sort=False):
        names = [Observation(str(name)).label]
        if regions:
            names.append(capitalised(region_label(region)))
        for method, own in by_method(there):
            estimates = {name: observed(own, name) for name in statistics}
            shown = (root(e) if s.startswith(_VARIANCES) else e for s, e in estimates.items())
            rows.append([*names, method_cell(method), *shown, f"{int(own['n'].max()):,}"])
    return rows
