"""Names of methods as recipes write them."""

from __future__ import annotations

from slams.plugins.methods import FIRST_GUESSES, METHODS

__all__ = ["method_names"]


def method_names() -> tuple[str, ...]:
    """Return the built-in names that a recipe may use, methods without a first guess first."""
    on_guesses = [
        f"{spec.name}@{guess.name}"
        for guess in FIRST_GUESSES.built_in()
        for spec in METHODS.built_in()
        if guess.knows in spec.first_guesses
    ]
    return (*METHODS.names(), *on_guesses)
