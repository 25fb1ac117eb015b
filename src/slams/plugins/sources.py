"""The registry of sources of fields: `data.source.kind`, and that of each of `data.sources`.

A built-in source is a specification in `data_modules.sources` and a reader that is imported when
the source is opened. The two are separate because recipes are checked against the specification
before numpy or xarray is imported. Another package may keep both in one module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from slams.plugins.registry import Registry

__all__ = ["SOURCES", "OpenFields", "SourceSpec"]


class OpenFields(Protocol):
    """Function that opens a source of fields lazily."""

    def __call__(
        self,
        config: Any,
        channels: Sequence[Any],
        period: tuple[float, float] | None,
        key: str,
        step: float = 1.0,
        /,
    ) -> Any:
        """Open the source.

        Args:
            config: Its section of the recipe, a `slams.config.schema.SourceConfig`.
            channels: Requested channels, each a `slams.fields.FieldSpec`; those under
                `config.absent` may be missing.
            period: First and last requested day, days since 1970-01-01; `None` for all days.
            key: Dotted key of the source in the recipe, for messages: `data.source` or
                `data.sources.N`.
            step: Length (days) of the steps of the store, see `slams.calendar.steps`; given only
                where it is not a day and the specification says `any_step`.

        Returns:
            A canonical `xarray.Dataset` (see `data_modules.sources.canonical`): the variables of
            the channels on (time, [level,] latitude, longitude), and the attribute `repairs`.

        Raises:
            UserError: The files do not exist, or do not have this layout.
        """
        ...


@dataclass(frozen=True)
class SourceSpec:
    """Specification of a source of fields.

    Attributes:
        name: Name in recipes, `data.source.kind`.
        open: Function that opens it.
        expected: What must be at its path, for messages; `{key}` stands for the dotted key of
            the source.
        takes_files: Whether it reads several files, listed under `files` instead of `path`.
        takes_layout: Whether the recipe may describe the files, under `variables` and
            `dimensions`; otherwise the layout is known.
        has_files: Whether there are files at all; otherwise `path` is something else, which is
            checked when the source is opened.
        gaps: Variables that may have missing values without being named under `gaps`.
        any_step: Whether `open` takes steps of less than a day (`data.step`).
    """

    name: str
    open: OpenFields
    expected: str = "the files of the source"
    takes_files: bool = False
    takes_layout: bool = False
    has_files: bool = True
    gaps: tuple[str, ...] = ()
    any_step: bool = False

    def expected_at(self, key: str) -> str:
        """Return what must be at the path of the source under a given key of the recipe."""
        return self.expected.replace("{key}", key)


SOURCES = Registry("source of fields", SourceSpec, "slams.sources", "data_modules.sources")
