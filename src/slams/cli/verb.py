"""A verb of the command line as an object: its help, what it takes, and what it does.

Each module of `slams.cli.verbs` defines one, `VERB`: writing the module adds the verb, with its
options, their hints and its help. Whatever is heavy is imported when the verb runs or its help is
shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from slams.config.checks import check
from slams.config.schema import Config

__all__ = ["Option", "Schema", "Takes", "Verb", "dry_run", "recipe_schema"]

# The data class of a recipe, and what refuses one that contradicts itself.
Schema = tuple[type, Callable[[Any], None]]
Takes = Literal["a recipe", "an optional recipe", "run directories or a recipe", "nothing"]


@dataclass(frozen=True)
class Option:
    """An option of a verb.

    Attributes:
        name: `--setting`.
        settings: What `argparse.ArgumentParser.add_argument` takes beside the name.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)


def dry_run(explanation: str) -> Option:
    """Return the option `--dry-run` of a verb.

    Args:
        explanation: What the verb does with it.
    """
    return Option("--dry-run", {"action": "store_true", "help": explanation})


def recipe_schema() -> Schema:
    """Return the schema of an experiment's recipe."""
    return Config, check


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Attributes:
        name: One or two words, `train vae`.
        run: Run the verb; takes the parsed arguments and a list to which it adds the places that
            it writes to, for messages when writing fails.
        summary: One line for the list of verbs.
        description: Some sentences for its own help.
        order: Place in the list of verbs.
        sections: Sections of a recipe that its help explains; those of another schema than a
            recipe's are explained in full.
        options: Options besides `--help` and `--allow-plugin`.
        takes: What stands on the command line beside overrides.
        schema: Import the schema of its recipe.
    """

    name: str
    run: Callable[[argparse.Namespace, list[Path]], None]
    summary: str
    description: str
    order: int
    sections: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    takes: Takes = "a recipe"
    schema: Callable[[], Schema] = recipe_schema

    @property
    def option_names(self) -> tuple[str, ...]:
        """Return the names of all options, for hints."""
        plugins = () if self.takes == "nothing" else ("--allow-plugin",)
        return ("--help", *(option.name for option in self.options), *plugins)
