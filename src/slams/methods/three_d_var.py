"""Three-dimensional variational assimilation."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.methods import Knows, MethodSpec, Style

__all__ = ["SPEC"]

SPEC = MethodSpec(
    name="3dvar",
    label="3D-Var",
    build=Deferred("slams.assimilators.three_d_var", "build"),
    style=Style("#56b4e9", "v"),
    order=40,
    first_guesses=(Knows.NOTHING, Knows.BACKGROUND),
    prior="Gaussian",
    settings=(
        "localised with a half-width of {localisation} km, archive within {season} days of the "
        "season, at most {outer_loops} linearisations"
    ),
    section="three_d_var",
)
