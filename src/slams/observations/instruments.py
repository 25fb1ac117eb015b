"""Request from which the operator of an instrument is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from slams.errors import UserError, nearest
from slams.fields import FieldSpec
from slams.grid import LatLonGrid

__all__ = ["OperatorRequest"]

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_WORDS[list] = "a list"


@dataclass(frozen=True)
class OperatorRequest:
    """Inputs from which an operator is built.

    Attributes:
        grid: The grid of the state.
        channels: The `C` channels of the state.
        options: The instrument's options, as given in the recipe.
        key: Dotted key of the instrument, for messages.
        latitude: `(P,)` float64 degrees north of the positions to observe; empty for an operator
            that defines its own positions (`OperatorSpec.at_sites`).
        longitude: `(P,)` float64 degrees east.
        elevation: `(P,)` m above sea level, NaN where it is unknown.
    """

    grid: LatLonGrid
    channels: tuple[FieldSpec, ...]
    options: Mapping[str, Any]
    key: str
    latitude: Tensor
    longitude: Tensor
    elevation: Tensor

    def take(self, **defaults: Any) -> dict[str, Any]:
        """Return the options with defaults filled in.

        Args:
            defaults: All options with their defaults; a type for an option without a default.

        Raises:
            UserError: An option is unknown, missing, or not of the type of its default.
        """
        where = f"key '{self.key}.options'"
        for name, value in self.options.items():
            if name not in defaults:
                hint = (
                    nearest(name, tuple(defaults)) if defaults else "the operator takes no options"
                )
                raise UserError(f"{where}: unknown option {name!r}; {hint}")
            default = defaults[name]
            kind = default if isinstance(default, type) else type(default)
            if not _fits(value, kind):
                expected = _WORDS.get(kind)
                raise UserError(f"{where}: found {value!r} for {name}, expected {expected}")
        for name, default in defaults.items():
            if isinstance(default, type) and name not in self.options:
                raise UserError(f"{where}: option {name!r} is missing")
        return {**defaults, **self.options}


def _fits(value: Any, kind: type) -> bool:
    """Return whether a value has a type; a boolean is not a number, an integer is a number."""
    kinds = (int, float) if kind is float else kind
    return isinstance(value, kinds) and isinstance(value, bool) == (kind is bool)
