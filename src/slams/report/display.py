"""Units in which the report shows a variable, where the stored units are hard to read.

Humidity is stored in kg kg-1, in which an error is 0.0007: it is shown in g kg-1. Tables are
converted when they are read, fields when they are taken from `analysis.zarr`; results on disk
keep the stored units.
"""

from __future__ import annotations

import pandas as pd

from slams.variables import UNITS

__all__ = ["display_factor", "display_units", "in_display_units"]

# Units, and the factor that stored values are multiplied by.
_SHOWN = {"specific_humidity": ("g kg-1", 1000.0)}

# Metrics, and statistics of single dates, with the power of the units they have; all others
# (ratios, ranks, members, seconds) have no units.
_POWERS = {"rmse": 1, "bias": 1, "crps": 1, "mse": 2, "variance": 2}


def display_units(variable: str) -> str:
    """Return the units that a variable is shown in, "" for an unknown one."""
    return _SHOWN[variable][0] if variable in _SHOWN else UNITS.get(variable, "")


def display_factor(variable: str) -> float:
    """Return the factor that converts stored values to the units shown."""
    return _SHOWN[variable][1] if variable in _SHOWN else 1.0


def in_display_units(frame: pd.DataFrame) -> pd.DataFrame:
    """Convert a table of results; return it unchanged where stored units are shown.

    Args:
        frame: `results`, `regions`, `cases` or `spectra` of `slams.metrics.columns`.
    """
    rows = frame["variable"].isin(_SHOWN)
    if not rows.any():
        return frame
    factor = frame["variable"].map(display_factor)
    if "wavenumber" in frame:
        columns, power = ["truth", "members", "mean"], 2.0
    else:
        columns = [name for name in ("value", "lower", "upper") if name in frame]
        power = frame["metric" if "metric" in frame else "statistic"].map(_POWERS).fillna(0.0)
    shown = frame.copy()
    for name in columns:
        shown[name] = frame[name] * factor**power
    return shown
