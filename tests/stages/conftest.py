"""One finished study for all tests of the stages; a test that changes it copies it first."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slams.config.schema import Config
from tests.stages.commands import VERBS, slams, study, tree


@dataclass
class Study:
    """Holds a study that went from source to report, and what it was seen to do on the way.

    Attributes:
        config: The recipe.
        recipe: Its file.
        root: Directory of recipe, store and runs.
        codes: Exit code of each command.
        rehearsed: For each verb, the files before and after its `--dry-run`.
    """

    config: Config
    recipe: Path
    root: Path
    codes: dict[str, int] = field(default_factory=dict)
    rehearsed: dict[str, tuple[dict, dict]] = field(default_factory=dict)

    def run(self, stage: str) -> Path:
        """Return the run directory of a stage."""
        return Path(self.config.runs) / self.config.experiment / stage


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_source: Path) -> Study:
    """Return a study whose every verb was rehearsed, then run."""
    root = tmp_path_factory.mktemp("study")
    made = Study(study(root, tiny_source), root / "recipe.yaml", root)
    for verb in VERBS:
        before = tree(root)
        made.codes[f"{verb} --dry-run"] = slams(made.recipe, verb, "--dry-run")
        made.rehearsed[verb] = before, tree(root)
        made.codes[verb] = slams(made.recipe, verb)
    return made
