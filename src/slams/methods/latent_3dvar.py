"""Variational assimilation in the latent space of the VAE."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.methods import MethodSpec, Style

__all__ = ["SPEC"]

SPEC = MethodSpec(
    name="latent_3dvar",
    label="latent 3D-Var",
    build=Deferred("slams.assimilators.latent_3dvar", "build"),
    style=Style("#8c6d1f", "P"),
    order=70,
    needs=("vae",),
    prior="Gaussian",
)
