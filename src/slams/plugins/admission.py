"""Plug-ins that a user names: imported once, and registered with whatever they bring."""

from __future__ import annotations

from collections.abc import Sequence

from slams.errors import UserError
from slams.plugins.guidance import GUIDANCE
from slams.plugins.methods import FIRST_GUESSES, METHODS
from slams.plugins.operators import OPERATORS
from slams.plugins.registry import Registry, import_reference
from slams.plugins.samplers import SAMPLERS
from slams.plugins.sources import SOURCES
from slams.plugins.station_sources import STATION_SOURCES

__all__ = ["REGISTRIES", "admit_plugins"]

REGISTRIES: tuple[Registry, ...] = (
    METHODS,
    FIRST_GUESSES,
    GUIDANCE,
    SAMPLERS,
    OPERATORS,
    SOURCES,
    STATION_SOURCES,
)


def admit_plugins(references: Sequence[str], key: str) -> None:
    """Import plug-ins, and register each where its kind belongs.

    Args:
        references: `module:Class` each, handed over by the user.
        key: Where they stand, for messages.

    Raises:
        UserError: One cannot be imported, brings no specification, or takes a name that is taken.
    """
    for reference in references:
        found = import_reference(reference, key)
        spec = getattr(found, "spec", found)
        registry = next((r for r in REGISTRIES if isinstance(spec, r.kind)), None)
        if registry is None:
            kinds = ", ".join(r.kind.__name__ for r in REGISTRIES)
            raise UserError(
                f"key {key!r}: {reference} brings nothing that a recipe can name; expected one of "
                f"{kinds}, or a class with one in its attribute `spec`"
            )
        registry.admit(reference, key)
