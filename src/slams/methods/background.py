"""The background and its errors, without observations."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.methods import Family, Knows, MethodSpec, Role, Style

__all__ = ["SPEC"]

SPEC = MethodSpec(
    name="background",
    label="background",
    build=Deferred("slams.assimilators.background", "build"),
    style=Style("#e69f00", "D"),
    order=20,
    family=Family.PRIOR,
    role=Role.BACKGROUND,
    first_guesses=(Knows.BACKGROUND,),
    reference="the background",
    prior="persistence",
)
