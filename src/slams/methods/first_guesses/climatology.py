"""The climatology, to compare methods without information on the background."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.methods import FirstGuessSpec, Knows

__all__ = ["SPEC"]

SPEC = FirstGuessSpec(
    name="climatology",
    label="climatology",
    build=Deferred("slams.assimilators.first_guess", "build_climatology"),
    knows=Knows.NOTHING,
    marker="p",
    tint=("#ffffff", 0.45),
    order=0,
    prior="Gaussian",
)
