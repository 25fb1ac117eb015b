"""Registries of named specifications, built in or from other packages.

Everything that a recipe chooses by name has a registry: methods, guidance, samplers, observation
operators, sources. A specification comes from one of three places.

- *Built in*: the registry's module defines specifications, or each module of its package defines
  one as `SPEC`. Nothing else is needed to add a specification.
- *Installed*: an entry point of the registry's group, in the metadata of another package.
- *By reference*: `module:Class` in a recipe that the user names. `Registry.admit` imports the
  reference; nothing else here imports a name taken from data. The caller decides whom to trust,
  see `slams.config.plugins`.

An entry point or a reference names a specification, or a class with one in its attribute `spec`.
Names are known without an import; a specification is imported when it is first used.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import re
from importlib import metadata
from typing import Any, Generic, Protocol, TypeVar

from slams.errors import UserError, nearest

__all__ = ["Registry", "Spec", "import_reference", "is_reference"]


class Spec(Protocol):
    """Attributes that all specifications have in common."""

    @property
    def name(self) -> str:
        """Return the name in recipes and in results."""
        ...


S = TypeVar("S", bound=Spec)
# Names become names of files, columns and MLflow metrics.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,59}")


def is_reference(name: str) -> bool:
    """Return whether a name in a recipe is a reference, `module:Class`, not a registered name."""
    return ":" in name


def import_reference(reference: str, where: str) -> Any:
    """Import the object of a reference; only for references that the user has given.

    Args:
        reference: `module:Class`.
        where: Where it is named, for the message: `key 'plugins.0'`, `--allow-plugin`.

    Raises:
        UserError: It cannot be imported.
    """
    module, _, attribute = reference.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(
            f"{where}: cannot import the plug-in {reference!r} ({error}); expected module:Class "
            f"of a module that Python finds: install its package or name its directory in "
            f"PYTHONPATH"
        ) from error
    return found


class Registry(Generic[S]):
    """Registry of specifications of one kind, by name.

    Args:
        what: What is registered, for messages: `method of assimilation`.
        kind: Class of the specifications.
        group: Entry-point group that other packages register under, `slams.methods`.
        package: Dotted name of the package or module that defines the built-in ones. One that
            defines none has a module for each, of the same name, which defines `SPEC` and is
            imported when the specification is used.
    """

    def __init__(self, what: str, kind: type[S], group: str, package: str) -> None:
        self.what = what
        self.kind = kind
        self.group = group
        self._package = package
        # By name and, for a specification admitted by reference, also by reference.
        self._found: dict[str, S] = {}

    def names(self) -> tuple[str, ...]:
        """Return every name that a recipe may use here: built in, installed, then admitted."""
        admitted = (spec.name for spec in self._found.values())
        return tuple(dict.fromkeys((*self._built_in, *self._installed, *admitted)))

    def get(self, name: str, key: str) -> S:
        """Return a specification.

        Args:
            name: A registered name, or a reference that was admitted.
            key: The recipe's key with the name, for the message.

        Raises:
            UserError: There is no specification of this name, or what an installed package
                registers under it cannot be imported or is of another kind.
        """
        if name not in self._found:
            if name in self._built_in:
                self._found[name] = self._import_built_in(name)
            elif name in self._installed:
                self._found[name] = self._import_installed(name, key)
            elif is_reference(name):
                raise UserError(
                    f"key {key!r}: found the plug-in {name!r}, which is not allowed; name it with "
                    f"--allow-plugin {name} (in Python: plugins=[{name!r}])"
                )
            else:
                raise UserError(f"key {key!r}: found {name!r}; {nearest(name, self.names())}")
        return self._found[name]

    def find(self, name: str) -> S | None:
        """Return a specification for a name in results, or `None` where it is not known here.

        A table may hold methods of packages that are not installed on this machine.
        """
        if name not in self._found and (is_reference(name) or name not in self.names()):
            return None
        try:
            return self.get(name, self.group)
        except UserError:  # an installed package that is broken: its results are still results
            return None

    def built_in(self) -> tuple[S, ...]:
        """Return the specifications that come with this package; this imports them."""
        return tuple(self.get(name, self.group) for name in self._built_in)

    def references(self) -> tuple[str, ...]:
        """Return the references that were admitted, for child processes."""
        return tuple(name for name in self._found if is_reference(name))

    def admit(self, reference: str, where: str) -> S:
        """Import the object of a reference, and register it under the reference and its own name.

        Args:
            reference: `module:Class`, given by the user.
            where: Where it is named, for the message: `key 'plugins.0'`, `--allow-plugin`.

        Raises:
            UserError: It cannot be imported, is of another kind, or its name is already in use.
        """
        if reference in self._found:
            return self._found[reference]
        spec = self._checked(import_reference(reference, where), reference, where)
        if spec.name in self.names():
            raise UserError(
                f"{where}: the plug-in {reference!r} is called {spec.name!r}, as another "
                f"{self.what} is; give it another name"
            )
        self._found[reference] = self._found[spec.name] = spec
        return spec

    @functools.cached_property
    def _built_in(self) -> dict[str, S | None]:
        """Built-in specifications by name; `None` for one that is in a module of its own."""
        package = importlib.import_module(self._package)
        found = (spec for spec in vars(package).values() if isinstance(spec, self.kind))
        here = {spec.name: spec for spec in found}
        return here or {
            m.name: None for m in pkgutil.iter_modules(package.__path__) if not m.ispkg
        }

    @functools.cached_property
    def _installed(self) -> dict[str, metadata.EntryPoint]:
        """Entry points of the group by name, without those that have a built-in name."""
        points = metadata.entry_points(group=self.group)
        return {point.name: point for point in points if point.name not in self._built_in}

    def _import_built_in(self, name: str) -> S:
        return self._built_in[name] or importlib.import_module(f"{self._package}.{name}").SPEC

    def _import_installed(self, name: str, key: str) -> S:
        point = self._installed[name]
        try:
            found = point.load()
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"key {key!r}: cannot import {point.value}, which an installed package registers "
                f"as {self.what} {name!r} ({error}); repair or remove that package"
            ) from error
        spec = self._checked(found, point.value, f"key {key!r}")
        if spec.name != name:
            raise UserError(
                f"key {key!r}: {point.value} is registered as {name!r} and calls itself "
                f"{spec.name!r}; expected one name"
            )
        return spec

    def _checked(self, found: Any, reference: str, where: str) -> S:
        spec = getattr(found, "spec", found)
        if not isinstance(spec, self.kind):
            raise UserError(
                f"{where}: {reference} is no {self.what}; expected a {self.kind.__name__}, or a "
                f"class with one in its attribute `spec`"
            )
        if not isinstance(spec.name, str) or not _NAME.fullmatch(spec.name):
            raise UserError(
                f"{where}: {reference} calls itself {spec.name!r}; expected a name of at most 60 "
                f"letters, digits, underscores and hyphens, which are valid in file names"
            )
        return spec
