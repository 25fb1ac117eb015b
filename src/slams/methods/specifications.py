"""Specifications of the assimilation methods and first guesses of this package.

The algorithms are in `slams.assimilators`, which is imported when a method is built. This module
imports nothing heavy, because checks of recipes and the report read it.
"""

from __future__ import annotations

from slams.plugins.deferred import Deferred
from slams.plugins.methods import Family, FirstGuessSpec, Knows, MethodSpec, Role, Style

__all__ = [
    "BACKGROUND",
    "CLIMATOLOGY",
    "CLIMATOLOGY_GUESS",
    "ENKF",
    "ENKF_CYCLED",
    "LATENT_3DVAR",
    "LATENT_DIFFUSION",
    "LETKF",
    "LETKF_CYCLED",
    "LETKF_PERFECT_MODEL",
    "LINEAR_INVERSE_MODEL",
    "OPTIMAL_INTERPOLATION",
    "PIXEL_DIFFUSION",
    "SCORE_MEAN",
    "THREE_D_VAR",
]

# Settings of either ensemble Kalman filter, for the report.
_FILTER = (
    "{ensemble} members within {season} days of the season, localised with a half-width of "
    "{localisation} km, inflation {inflation}, relaxation to prior spread {rtps}"
)

# Settings of either cycled filter, for the report.
_CYCLED = (
    "{ensemble} members forecast from day to day, localised with a half-width of {localisation} "
    "km, inflation {inflation}, relaxation to prior spread {rtps}, a share of {static_share} of "
    "past errors in the covariance"
)

# The climatological ensemble, without information on the day.
CLIMATOLOGY = MethodSpec(
    name="climatology",
    label="climatology",
    build=Deferred("slams.assimilators.climatology", "build"),
    style=Style("#7f7f7f", "s"),
    order=10,
    family=Family.PRIOR,
    role=Role.CLIMATOLOGY,
    prior="Gaussian",
)

# The background and its errors, without observations.
BACKGROUND = MethodSpec(
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

# Optimal interpolation, the reference for the other methods.
OPTIMAL_INTERPOLATION = MethodSpec(
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

# Three-dimensional variational assimilation.
THREE_D_VAR = MethodSpec(
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

# Ensemble Kalman filter with past background errors, a static archive, as ensemble.
ENKF = MethodSpec(
    name="enkf",
    label="EnKF (static archive)",
    build=Deferred("slams.assimilators.enkf", "build"),
    style=Style("#cc79a7", "<"),
    order=50,
    first_guesses=(Knows.NOTHING, Knows.BACKGROUND),
    prior="Gaussian",
    settings=_FILTER,
)

# Local ensemble transform Kalman filter with past background errors as ensemble.
LETKF = MethodSpec(
    name="letkf",
    label="LETKF (static archive)",
    build=Deferred("slams.assimilators.letkf", "build"),
    style=Style("#7b3294", ">"),
    order=60,
    first_guesses=(Knows.NOTHING, Knows.BACKGROUND),
    prior="Gaussian",
    settings=_FILTER,
)

# Analyses of `slams limit`: a filter whose members are forecasts of the model of the truth itself.
LETKF_PERFECT_MODEL = MethodSpec(
    name="letkf_perfect_model",
    label="LETKF (perfect model)",
    build=Deferred("slams.assimilators.kept_analyses", "build"),
    style=Style("#000000", "h"),
    order=100,
    prior="the model of the truth",
    settings=(
        "{members} members, localised with a half-width of {localisation} km, relaxation to prior "
        "spread {rtps}"
    ),
)

# Ensemble Kalman filter whose members are forecast from day to day.
ENKF_CYCLED = MethodSpec(
    name="enkf_cycled",
    label="EnKF (cycled)",
    build=Deferred("slams.assimilators.cycled_filter", "build_enkf"),
    style=Style("#f781bf", "1"),
    order=64,
    prior="linear forecast",
    settings=_CYCLED,
    cycled=True,
)

# Local ensemble transform Kalman filter whose members are forecast from day to day.
LETKF_CYCLED = MethodSpec(
    name="letkf_cycled",
    label="LETKF (cycled)",
    build=Deferred("slams.assimilators.cycled_filter", "build_letkf"),
    style=Style("#3f007d", "2"),
    order=65,
    prior="linear forecast",
    settings=_CYCLED,
    cycled=True,
)

# Variational assimilation in the latent space of the VAE.
LATENT_3DVAR = MethodSpec(
    name="latent_3dvar",
    label="latent 3D-Var",
    build=Deferred("slams.assimilators.latent_3dvar", "build"),
    style=Style("#8c6d1f", "P"),
    order=70,
    needs=("vae",),
    prior="Gaussian",
)

# Guided diffusion of the fields themselves.
PIXEL_DIFFUSION = MethodSpec(
    name="pixel_diffusion",
    label="pixel diffusion",
    build=Deferred("slams.assimilators.pixel_diffusion", "build"),
    style=Style("#009e73", "X"),
    order=80,
    family=Family.GENERATIVE,
    needs=("score_pixel",),
    prior="score model",
)

# Guided diffusion in the latent space of the VAE, the subject of this project.
LATENT_DIFFUSION = MethodSpec(
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

# The climatology, to compare methods without information on the background.
CLIMATOLOGY_GUESS = FirstGuessSpec(
    name="climatology",
    label="climatology",
    build=Deferred("slams.assimilators.first_guess", "build_climatology"),
    knows=Knows.NOTHING,
    marker="p",
    tint=("#ffffff", 0.45),
    order=0,
    prior="Gaussian",
)

# A linear regression of the state on the background.
LINEAR_INVERSE_MODEL = FirstGuessSpec(
    name="linear_inverse_model",
    label="linear inverse model",
    build=Deferred("slams.assimilators.linear_inverse_model", "build"),
    marker="d",
    tint=("#000000", 0.3),
    order=2,
    prior="linear regression",
)

# The conditional mean of the score model for the background.
SCORE_MEAN = FirstGuessSpec(
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
