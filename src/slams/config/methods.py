"""Names of methods, as in recipes and in the results table: `METHOD` or `METHOD@FIRST_GUESS`.

A method starts from the background of the recipe or, after an `@`, from a first guess that is
made of it (`slams.assimilators.first_guess`): `optimal_interpolation@score_mean`.
"""

from __future__ import annotations

__all__ = ["FIRST_GUESSES", "METHODS", "NAMES", "split_name"]

# Methods that this version can compute, by themselves.
METHODS = (
    "climatology",
    "background",
    "optimal_interpolation",
    "3dvar",
    "enkf",
    "letkf",
    "latent_3dvar",
    "pixel_diffusion",
    "latent_diffusion",
)

# First guesses, and the methods that may start from each of them. The score model was trained
# with backgrounds, and may do without one; any other first guess is none that it knows.
_CLASSICAL = ("optimal_interpolation", "3dvar", "enkf", "letkf")
FIRST_GUESSES = {
    "climatology": (*_CLASSICAL, "latent_diffusion"),
    "linear_inverse_model": ("background", *_CLASSICAL),
    "score_mean": ("background", *_CLASSICAL),
}

# Every name that a recipe may use.
NAMES = (
    *METHODS,
    *(f"{method}@{guess}" for guess, methods in FIRST_GUESSES.items() for method in methods),
)


def split_name(name: str) -> tuple[str, str]:
    """Splits a name into the method and its first guess, `""` for the background itself."""
    method, _, first_guess = name.partition("@")
    return method, first_guess
