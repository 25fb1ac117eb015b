"""Specifications of assimilation methods and first guesses: the single description of each.

Recipes and tables of results name a method `METHOD` or `METHOD@FIRST_GUESS`: a method
starts from the background of the recipe or, after an `@`, from a first guess that is made from the
background (`slams.assimilators.first_guess`), as in `optimal_interpolation@score_mean`.

Checks of recipes, stages, tables, figures and the report all read the specifications below;
methods are listed nowhere else. To add one, write a `MethodSpec` (one of this package is in
`slams.methods.specifications`), or name your own as `module:Class` in a recipe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from slams.errors import UserError, nearest
from slams.plugins.keys import Rule
from slams.plugins.registry import Registry

__all__ = [
    "FIRST_GUESSES",
    "METHODS",
    "METHOD_NAMES",
    "Family",
    "FirstGuessSpec",
    "Knows",
    "MethodSpec",
    "Role",
    "Style",
    "check_method",
    "find_method",
    "in_role",
    "split_name",
    "trained_stages",
]

_KEY = "assimilation.methods"
# Trained stages that a method may be built on.
_STAGES = ("vae", "score", "score_pixel")


class Family(Enum):
    """How a method makes its analysis."""

    PRIOR = "prior"  # no observation enters
    CLASSICAL = "classical"
    GENERATIVE = "generative"


class Role(Enum):
    """Place of a method in comparisons of methods."""

    CLIMATOLOGY = "climatology"  # knows nothing of the day
    BACKGROUND = "background"  # knows what every method starts from
    YARDSTICK = "yardstick"  # the classical method that others are compared with
    SUBJECT = "subject"  # the method that this project is about
    OTHER = "other"


class Knows(Enum):
    """What a first guess knows about the day."""

    NOTHING = "nothing"
    BACKGROUND = "background"


@dataclass(frozen=True)
class Style:
    """Style of a method in every figure.

    Attributes:
        colour: Hexadecimal colour.
        marker: Matplotlib marker.
    """

    colour: str
    marker: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", self.colour):
            raise ValueError(f"colour {self.colour!r}, expected one like '#0072b2'")


@dataclass(frozen=True)
class _Spec:
    """What the specifications of methods and of first guesses have in common."""

    name: str
    label: str
    build: Callable[[Any], Any]
    order: int = field(default=1000, kw_only=True)
    needs: tuple[str, ...] = field(default=(), kw_only=True)
    prior: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if not callable(self.build):
            raise ValueError(f"{self.name}: build is {self.build!r}, expected a function")
        if not isinstance(self.needs, tuple) or not set(self.needs) <= set(_STAGES):
            raise ValueError(f"{self.name}: needs {self.needs!r}, expected a tuple of {_STAGES}")


@dataclass(frozen=True)
class MethodSpec(_Spec):
    """Specification of a method of assimilation.

    Attributes:
        name: Name in recipes and in the results' tables.
        label: Name in figures and tables.
        build: Function that builds the method of a recipe, not yet fitted: takes a
            `slams.assimilators.materials.Materials`, returns an `Assimilator` of the same `name`.
        style: Its style in figures; `None` chooses a colour by the name.
        order: Place in tables and legends, from methods that know nothing to those that know most.
        family: How its analysis is made.
        role: Its place in comparisons; each except `OTHER` may be given to one method only.
        needs: Trained stages that it is built on: `vae`, `score`, `score_pixel`.
        first_guesses: First guesses that it may start from instead of the background.
        reference: Its name in sentences that compare another method with it; empty where none
            does.
        prior: What it knows about states in general, in words.
        short: Label where it starts from a first guess.
        labels: Labels with certain first guesses, by the first guess's name.
        settings: Its settings in one phrase for the report, with the keys of `section` in braces;
            empty for a method without settings.
        section: Section of `assimilation` with its settings; empty for `name`.
        cycled: Whether it keeps an ensemble of its own from day to day, so that it exists only in
            cycles (`assimilation.cycle_days`).
    """

    style: Style | None = None
    family: Family = Family.CLASSICAL
    role: Role = Role.OTHER
    first_guesses: tuple[Knows, ...] = ()
    reference: str = ""
    short: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    settings: str = ""
    section: str = ""
    cycled: bool = False

    @property
    def settings_section(self) -> str:
        """Return the section of `assimilation` that holds its settings."""
        return self.section or self.name


@dataclass(frozen=True)
class FirstGuessSpec(_Spec):
    """Specification of a first guess that methods may start from.

    Attributes:
        name: Name after the `@`.
        label: Name in figures and tables.
        build: Function that builds the first guess of a recipe, not yet fitted: takes a
            `slams.assimilators.materials.Materials`, returns a `FirstGuess` of the same `name`.
        knows: What it knows about the day.
        marker: Matplotlib marker of the methods that start from it.
        tint: Colour that is mixed into those of the methods, and its share.
        order: Place among a method's first guesses in tables and legends; the background is 1.
        needs: Trained stages that it is built on.
        splits: Splits with the days it is fitted to, in addition to the training period.
        prior: What it knows about states in general, in words.
    """

    knows: Knows = Knows.BACKGROUND
    marker: str = "h"
    tint: tuple[str, float] = ("#000000", 0.4)
    splits: tuple[str, ...] = ()


METHODS = Registry(
    "method of assimilation", MethodSpec, "slams.methods", "slams.methods.specifications"
)
FIRST_GUESSES = Registry(
    "first guess", FirstGuessSpec, "slams.first_guesses", "slams.methods.specifications"
)


def split_name(name: str) -> tuple[str, str]:
    """Split a name into the method and its first guess, `""` for the background itself."""
    method, _, first_guess = name.partition("@")
    return method, first_guess


def check_method(name: str) -> tuple[MethodSpec, FirstGuessSpec | None]:
    """Return the specifications that a name in a recipe refers to.

    Args:
        name: `METHOD` or `METHOD@FIRST_GUESS`.

    Raises:
        UserError: There is no such method or first guess, or the method does not start from it.
    """
    method, first_guess = split_name(name)
    spec = METHODS.get(method, _KEY)
    if "@" not in name:
        return spec, None
    guess = FIRST_GUESSES.find(first_guess)
    if guess is None or guess.knows not in spec.first_guesses:
        allowed = [g.name for g in FIRST_GUESSES.built_in() if g.knows in spec.first_guesses]
        hint = nearest(name, [f"{method}@{guess}" for guess in allowed])
        if not allowed:
            hint = f"{method} starts from the background alone"
        raise UserError(f"key {_KEY!r}: found {name!r}; {hint}")
    return spec, guess


def _check_methods(key: str, names: Sequence[str]) -> None:
    if not names:
        raise UserError(f"key {key!r}: found none, expected {', '.join(METHODS.names())}")
    for name in names:
        check_method(name)


METHOD_NAMES = Rule("names of methods, METHOD or METHOD@FIRST_GUESS", _check_methods, METHODS)


def find_method(name: str) -> tuple[MethodSpec | None, FirstGuessSpec | None]:
    """Return the specifications of a name in results, `None` for parts not installed here."""
    method, first_guess = split_name(name)
    return METHODS.find(method), FIRST_GUESSES.find(first_guess) if first_guess else None


def in_role(role: Role) -> MethodSpec:
    """Return the method that has a given place in comparisons."""
    return next(spec for spec in METHODS.built_in() if spec.role is role)


def trained_stages(name: str) -> frozenset[str]:
    """Return the trained stages that a method of a recipe and its first guess are built on."""
    spec, first_guess = check_method(name)
    return frozenset(spec.needs + (first_guess.needs if first_guess else ()))
