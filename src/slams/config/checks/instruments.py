"""What instruments of a recipe may be, each by itself and beside the others."""

from __future__ import annotations

from slams.config.checks.rules import check_registered, unique
from slams.config.schema import InstrumentConfig, ObservationsConfig
from slams.errors import UserError
from slams.plugins.operators import OPERATORS

__all__ = ["BUILT_IN_MODALITIES", "check_instruments", "modalities"]

BUILT_IN_MODALITIES = ("stations", "satellite", "degraded")


def modalities(observations: ObservationsConfig) -> tuple[str, ...]:
    """Return the names that `observations.use` may list."""
    return (*BUILT_IN_MODALITIES, *(one.name for one in observations.instruments))


def check_instruments(observations: ObservationsConfig) -> None:
    """Refuse instruments that cannot be.

    Raises:
        UserError: One sentence: the key, what was found, what is expected.
    """
    for position, instrument in enumerate(observations.instruments):
        _check(f"observations.instruments.{position}", instrument)
    unique("observations.instruments", (one.name for one in observations.instruments))


def _check(key: str, instrument: InstrumentConfig) -> None:
    name = instrument.name
    # It is part of the names of observations, `NAME/VARIABLE`, and of settings, `NAME+NAME`.
    if not name.isidentifier() or name in BUILT_IN_MODALITIES:
        raise UserError(
            f"key '{key}.name': found {name!r}, expected a word of letters, digits and "
            f"underscores that is none of {', '.join(BUILT_IN_MODALITIES)}"
        )
    check_registered(f"{key}.operator", instrument.operator, OPERATORS)
    if not instrument.error > 0:
        raise UserError(f"key '{key}.error': found {instrument.error}, expected more than 0")
    if not 0 <= instrument.missing < 1:
        raise UserError(
            f"key '{key}.missing': found {instrument.missing}, expected at least 0 and less than 1"
        )
    if instrument.count < 1:
        raise UserError(f"key '{key}.count': found {instrument.count}, expected at least 1")
