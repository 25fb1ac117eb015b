"""What an operator of an instrument is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from slams.errors import UserError, nearest
from slams.fields import FieldSpec
from slams.grid import LatLonGrid

__all__ = ["OperatorRequest"]

_REQUIRED = object()


@dataclass(frozen=True)
class OperatorRequest:
    """Holds what an operator may be built from.

    Attributes:
        grid: The grid of the state.
        channels: The `C` channels of the state.
        options: The instrument's options, as the recipe has them.
        key: Dotted key of the instrument, for messages.
        latitude: `(P,)` float64 degrees north of the positions to observe; empty for an operator
            that has its own (`OperatorSpec.at_sites`).
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
            defaults: Every option there is; `required()` for one that has no default.

        Raises:
            UserError: An option is unknown, of another type than its default, or missing.
        """
        for name, value in self.options.items():
            if name not in defaults:
                hint = nearest(name, tuple(defaults)) if defaults else "there are none"
                raise UserError(f"key '{self.key}.options': unknown option {name!r}; {hint}")
            kind = type(defaults[name])
            if defaults[name] is not _REQUIRED and not isinstance(
                value, (int, float) if kind is float else kind
            ):
                raise UserError(
                    f"key '{self.key}.options': found {value!r} for {name}, expected a value "
                    f"like {defaults[name]!r}"
                )
        for name, value in defaults.items():
            if value is _REQUIRED and name not in self.options:
                raise UserError(f"key '{self.key}.options': option {name!r} is missing")
        return {**defaults, **self.options}

    @staticmethod
    def required() -> Any:
        """Return the default of an option that has none."""
        return _REQUIRED
