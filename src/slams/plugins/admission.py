"""Import of plug-ins that a user names, and their registration."""

from __future__ import annotations

from collections.abc import Sequence

from slams.errors import UserError
from slams.plugins.guidance import GUIDANCE
from slams.plugins.imagery_sources import IMAGERY_SOURCES
from slams.plugins.methods import FIRST_GUESSES, METHODS
from slams.plugins.operators import OPERATORS
from slams.plugins.registry import Registry, import_reference
from slams.plugins.samplers import SAMPLERS
from slams.plugins.sources import SOURCES
from slams.plugins.station_sources import STATION_SOURCES

__all__ = ["REGISTRIES", "admit_plugins", "is_admitted"]

REGISTRIES: tuple[Registry, ...] = (
    METHODS,
    FIRST_GUESSES,
    GUIDANCE,
    SAMPLERS,
    OPERATORS,
    SOURCES,
    STATION_SOURCES,
    IMAGERY_SOURCES,
)


def admit_plugins(references: Sequence[str], where: str) -> None:
    """Import plug-ins, and register each according to its kind.

    Args:
        references: `module:Class` each, given by the user.
        where: Where they are named, for messages: `key 'plugins.0'`, `--allow-plugin`.

    Raises:
        UserError: One cannot be imported, has no specification, or its name is already in use.
    """
    for reference in references:
        if is_admitted(reference):
            continue
        found = import_reference(reference, where)
        spec = getattr(found, "spec", found)
        registry = next((r for r in REGISTRIES if isinstance(spec, r.kind)), None)
        if registry is None:
            kinds = ", ".join(r.kind.__name__ for r in REGISTRIES)
            raise UserError(
                f"{where}: {reference} has nothing that a recipe can name; expected one of "
                f"{kinds}, or a class with one in its attribute `spec`"
            )
        registry.admit(reference, where)


def is_admitted(reference: str) -> bool:
    """Return whether the user has named a plug-in already."""
    return any(reference in registry.references() for registry in REGISTRIES)
