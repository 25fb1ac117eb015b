"""A verb of the command line as an object: its help, what it takes, and what it does.

A decorator makes a verb of a function: `verb` below, or one of `slams.cli.kinds` for a stage or a
benchmark. The function's docstring is the description in the verb's help. Whatever is heavy is
imported when the verb runs or its help is shown.
"""

from __future__ import annotations

import argparse
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from slams.config.checks import check
from slams.config.schema import Config

__all__ = ["Options", "Run", "Schema", "Takes", "Verb", "flag", "recipe_schema", "verb"]

# Runs a verb: takes the parsed arguments, and a list to which it adds the places that it writes
# to, for messages when writing fails.
Run = Callable[[argparse.Namespace, list[Path]], None]
# The data class of a recipe, and what refuses one that contradicts itself.
Schema = tuple[type, Callable[[Any], None]]
Takes = Literal["a recipe", "an optional recipe", "run directories or a recipe", "nothing"]
_WIDTH = 79


# Options by name, `--setting`: what `argparse.ArgumentParser.add_argument` takes in addition.
Options = Mapping[str, Mapping[str, Any]]


def flag(explanation: str) -> Mapping[str, Any]:
    """Return the settings of an option without a value.

    Args:
        explanation: What the verb does with it.
    """
    return {"action": "store_true", "help": explanation}


def recipe_schema() -> Schema:
    """Return the schema of an experiment's recipe."""
    return Config, check


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Attributes:
        name: One or two words, `train vae`.
        summary: One line for the list of verbs.
        run: Function that runs it.
        source: Function that it was made of, whose docstring describes it.
        order: Place in the list of verbs.
        sections: Sections of a recipe that its help explains; those of another schema than a
            recipe's are explained in full.
        options: Options in addition to `--help` and `--allow-plugin`.
        takes: What the command line has in addition to overrides.
        schema: Import the schema of its recipe.
    """

    name: str
    summary: str
    run: Run
    source: Callable[..., Any]
    order: int
    sections: tuple[str, ...] = ()
    options: Options = field(default_factory=dict)
    takes: Takes = "a recipe"
    schema: Callable[[], Schema] = recipe_schema

    @property
    def option_names(self) -> tuple[str, ...]:
        """Return the names of all options, for hints."""
        plugins = () if self.takes == "nothing" else ("--allow-plugin",)
        return ("--help", *self.options, *plugins)

    @property
    def description(self) -> str:
        """Return the description for its own help, wrapped."""
        return textwrap.fill(" ".join((inspect.getdoc(self.source) or "").split()), _WIDTH)


def verb(
    name: str,
    summary: str,
    *,
    order: int,
    sections: tuple[str, ...] = (),
    options: Options | None = None,
    takes: Takes = "a recipe",
) -> Callable[[Run], Verb]:
    """Make a verb of the function that runs it; arguments as of `Verb`."""

    def make(run: Run) -> Verb:
        return Verb(name, summary, run, run, order, sections, options or {}, takes)

    return make
