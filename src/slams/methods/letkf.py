"""Local ensemble transform Kalman filter with past background errors as ensemble."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.methods import Knows, MethodSpec, Style

__all__ = ["SPEC"]

SPEC = MethodSpec(
    name="letkf",
    label="LETKF (static archive)",
    build=Deferred("slams.assimilators.letkf", "build"),
    style=Style("#7b3294", ">"),
    order=60,
    first_guesses=(Knows.NOTHING, Knows.BACKGROUND),
    prior="Gaussian",
    settings=(
        "{ensemble} members within {season} days of the season, localised with a half-width of "
        "{localisation} km, inflation {inflation}, relaxation to prior spread {rtps}"
    ),
)
