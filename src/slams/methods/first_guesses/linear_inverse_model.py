"""A linear regression of the state on the background."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.methods import FirstGuessSpec

__all__ = ["SPEC"]

SPEC = FirstGuessSpec(
    name="linear_inverse_model",
    label="linear inverse model",
    build=Deferred("slams.assimilators.linear_inverse_model", "build"),
    marker="d",
    tint=("#000000", 0.3),
    order=2,
    prior="linear regression",
)
