"""The climatological ensemble, without information on the day."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.methods import Family, MethodSpec, Role, Style

__all__ = ["SPEC"]

SPEC = MethodSpec(
    name="climatology",
    label="climatology",
    build=Deferred("slams.assimilators.climatology", "build"),
    style=Style("#7f7f7f", "s"),
    order=10,
    family=Family.PRIOR,
    role=Role.CLIMATOLOGY,
    prior="Gaussian",
)
