"""Names of the tables and datasets that a user gives, for messages."""

from __future__ import annotations

import pandas as pd
import xarray as xr

__all__ = ["FILE", "input_name"]

# Attribute of a table that has been read from a file.
FILE = "file"


def input_name(given: object, number: int, count: int) -> str:
    """Return the name of an input for messages, with the file that it was read from, if any.

    Args:
        given: A table, an image, or anything else.
        number: Its position.
        count: Number of inputs.
    """
    file = ""
    if isinstance(given, pd.DataFrame):
        file = given.attrs.get(FILE, "")
    elif isinstance(given, xr.DataArray | xr.Dataset):
        file = given.encoding.get("source", "")
    name = "observations" if count == 1 else f"observations[{number}]"
    return f"{name} ({file})" if file else name
