"""Guided diffusion in the latent space of the VAE, the subject of this project."""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.methods import Family, Knows, MethodSpec, Role, Style

__all__ = ["SPEC"]

SPEC = MethodSpec(
    name="latent_diffusion",
    label="latent diffusion",
    build=Deferred("slams.assimilators.latent_diffusion", "build"),
    style=Style("#d55e00", "o"),
    order=90,
    family=Family.GENERATIVE,
    role=Role.SUBJECT,
    needs=("vae", "score"),
    first_guesses=(Knows.NOTHING,),
    prior="score model",
    labels={"climatology": "latent diffusion without background"},
)
