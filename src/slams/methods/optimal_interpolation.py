"""Optimal interpolation, the reference for the other methods."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.methods import Knows, MethodSpec, Role, Style

__all__ = ["SPEC"]

SPEC = MethodSpec(
    name="optimal_interpolation",
    label="optimal interpolation",
    build=Deferred("slams.assimilators.optimal_interpolation", "build"),
    style=Style("#0072b2", "^"),
    order=30,
    role=Role.YARDSTICK,
    first_guesses=(Knows.NOTHING, Knows.BACKGROUND),
    reference="optimal interpolation",
    prior="Gaussian",
    short="OI",
    settings=(
        "localised with a half-width of {localisation} km, archive within {season} days of the "
        "season"
    ),
)
