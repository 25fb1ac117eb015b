"""The job of preparing a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_modules.store.identity import store_recipe
from slams.config.schema import DataConfig, ObservationsConfig

__all__ = ["Job"]


@dataclass(frozen=True)
class Job:
    """Inputs of a preparation, and the treatment of an existing store.

    Attributes:
        data: The recipe's section `data`.
        observations: The recipe's section `observations`.
        seed: The experiment's seed, by which observations are drawn.
        resume: `auto`, `never` or `overwrite`.
    """

    data: DataConfig
    observations: ObservationsConfig
    seed: int
    resume: str

    @property
    def path(self) -> Path:
        """Return the path of the complete store."""
        return Path(self.data.store)

    @property
    def partial(self) -> Path:
        """Return the path of the store while it is unfinished."""
        return self.path.with_name(self.path.name + ".partial")

    @property
    def recipe(self) -> dict[str, Any]:
        """Return the part of the recipe that determines the content of the store."""
        return store_recipe(self.data, self.observations, self.seed)
