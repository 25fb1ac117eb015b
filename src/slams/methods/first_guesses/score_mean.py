"""The conditional mean of the score model for the background."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.methods import FirstGuessSpec

__all__ = ["SPEC"]

SPEC = FirstGuessSpec(
    name="score_mean",
    label="score mean",
    build=Deferred("slams.assimilators.score_mean", "build"),
    marker="*",
    tint=("#000000", 0.55),
    order=3,
    needs=("vae", "score"),
    splits=("validation",),
    prior="score model",
)
