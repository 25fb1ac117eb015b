"""Ensemble Kalman filter with past background errors, a static archive, as ensemble."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.methods import Knows, MethodSpec, Style

__all__ = ["SPEC"]

SPEC = MethodSpec(
    name="enkf",
    label="EnKF (static archive)",
    build=Deferred("slams.assimilators.enkf", "build"),
    style=Style("#cc79a7", "<"),
    order=50,
    first_guesses=(Knows.NOTHING, Knows.BACKGROUND),
    prior="Gaussian",
    settings=(
        "{ensemble} members within {season} days of the season, localised with a half-width of "
        "{localisation} km, inflation {inflation}, relaxation to prior spread {rtps}"
    ),
)
