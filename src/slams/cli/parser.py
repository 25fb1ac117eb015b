"""The arguments of the command line: the parser of all verbs, and the overrides it leaves over."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from slams.cli.verb import Verb, recipe_schema
from slams.cli.verbs import GROUPS, VERBS
from slams.config.help import EXTENDS
from slams.config.paths import check_text
from slams.errors import UserError, nearest
from slams.runtime.version import package_version

__all__ = ["parse"]


# Options of the program itself.
_OPTIONS = ("--help", "-h", "--version")


def parse(argv: Sequence[str]) -> argparse.Namespace | None:
    """Read the arguments of one command.

    Args:
        argv: Arguments without the program's name.

    Returns:
        `verb`, `recipe`, `overrides` and the verb's options; `None`, with help on standard error,
        if there are no arguments.

    Raises:
        UserError: The arguments do not fit a verb.
    """
    for word in argv:
        check_text("argument", word)
    parser = _parser()
    if argv and argv[0].startswith("-") and argv[0] not in _OPTIONS:
        raise UserError(f"there is no option {argv[0]!r}; {nearest(argv[0], _OPTIONS)}")
    if not argv:
        parser.print_help(sys.stderr)
        return None
    # Overrides may stand anywhere, before and after options, which argparse's positional lists do
    # not allow: an argument that argparse leaves over is an override if it has the form of one.
    arguments, rest = parser.parse_known_args(argv)
    verb = VERBS[arguments.verb]
    recipe = () if verb.takes == "nothing" else (arguments.recipe,)
    words = [word for word in (*recipe, *rest) if word is not None]
    unknown = next((word for word in words if word.startswith("-")), None)
    if unknown is not None:
        raise UserError(f"there is no option {unknown!r}; {nearest(unknown, verb.option_names)}")
    if verb.takes == "nothing":
        if words:
            options = [f"{n} {o.get('metavar', '')}".strip() for n, o in verb.options.items()]
            raise UserError(
                f"unexpected argument {words[0]!r}; slams {verb.name} takes no recipe and no "
                f"overrides, only {', '.join(options)}"
            )
        return arguments
    if verb.takes == "run directories or a recipe":
        # A directory may have an equals sign in its name.
        arguments.sources = [w for w in words if "=" not in w or os.path.isdir(w)]
        arguments.overrides = [w for w in words if w not in arguments.sources]
        if not arguments.sources:
            raise UserError(
                f"a recipe is missing: slams {verb.name} RECIPE.yaml, or run directories"
            )
        arguments.recipe = arguments.sources[0]
        return arguments
    arguments.recipe = next((word for word in words if "=" not in word), None)
    if arguments.recipe is not None:
        words.remove(arguments.recipe)
    arguments.overrides = words
    for word in words:
        if "=" not in word:
            raise UserError(
                f"unexpected argument {word!r} in addition to recipe {arguments.recipe}; "
                f"overrides are written key=value"
            )
    if arguments.recipe is None and verb.takes == "a recipe":
        raise UserError(f"a recipe is missing: slams {verb.name} RECIPE.yaml [key=value ...]")
    return arguments


class _Parser(argparse.ArgumentParser):
    """Parser that refuses with one sentence and the nearest valid name, like all other errors.

    Attributes:
        described: The verb that the parser belongs to, whose keys its help explains; `None` for
            the program and for groups of verbs.
    """

    described: Verb | None = None

    def format_help(self) -> str:
        """Return the help; what describes the verb is made only when its help is shown."""
        if self.described is not None:
            self.description = self.described.description
            self.epilog = _explain_sections(self.described)
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            hint = nearest(str(value), list(action.choices))
            raise UserError(f"there is no verb {value!r}; {hint}")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Formatter that does not break paths and names at their hyphens."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class _ShowVersion(argparse.Action):
    """Print the version; only this option reads the metadata of the installed packages."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"slams {package_version()}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="slams",
        description="Score-based latent data assimilation in a multimodal setting.",
        epilog="Overrides are dotted keys, for example assimilation.members=32. "
        "`slams VERB --help` explains the keys of a verb.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action=_ShowVersion, nargs=0, help="show program's version number and exit"
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    groups: dict[str, Any] = {}
    for name, verb in VERBS.items():
        group, _, leaf = name.rpartition(" ")
        if group and group not in groups:
            inner = verbs.add_parser(group, help=GROUPS[group], description=GROUPS[group])
            groups[group] = inner.add_subparsers(metavar="VERB", required=True)
        parent = groups[group] if group else verbs
        one = parent.add_parser(
            leaf,
            help=verb.summary,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        one.described = verb
        one.set_defaults(verb=name)
        if verb.takes != "nothing":
            times = "?" if verb.takes == "an optional recipe" else None
            one.add_argument("recipe", help=f"recipe (YAML); {EXTENDS}", nargs=times)
            one.add_argument(
                "--allow-plugin",
                action="append",
                default=[],
                metavar="MODULE:CLASS",
                help="import a plug-in that a recipe in a run directory names; may be repeated",
            )
        for option, settings in verb.options.items():
            one.add_argument(option, **settings)
    return parser


def _explain_sections(verb: Verb) -> str:
    if not verb.sections and verb.schema is recipe_schema:
        return ""
    from slams.config.help import format_help, list_keys

    explained = format_help(list_keys(sections=verb.sections, schema=verb.schema()[0]))
    return f"keys and their defaults, override them with key=value:\n\n{explained}"
