"""Guided diffusion of the fields themselves."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.methods import Family, MethodSpec, Style

__all__ = ["SPEC"]

SPEC = MethodSpec(
    name="pixel_diffusion",
    label="pixel diffusion",
    build=Deferred("slams.assimilators.pixel_diffusion", "build"),
    style=Style("#009e73", "X"),
    order=80,
    family=Family.GENERATIVE,
    needs=("score_pixel",),
    prior="score model",
)
