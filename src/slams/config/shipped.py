"""The recipes that come with the package, and copies of them for a directory of the user's."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import yaml

from slams.config.plugins import texts
from slams.errors import UserError, nearest
from slams.runtime.atomic import replacing

__all__ = ["copy_recipe", "recipe_names"]

# Folder of the recipes in a clone, which some of them name: `experiments/demo.yaml`.
_FOLDER = "experiments"


def _directory() -> Path:
    """Return the directory of the recipes, in an installed package or in a clone."""
    package = Path(str(resources.files("slams")))
    installed = package / _FOLDER
    return installed if installed.is_dir() else package.parents[1] / _FOLDER


def recipe_names() -> list[str]:
    """Return the names of the recipes: their paths without `.yaml`."""
    directory = _directory()
    paths = directory.rglob("*.yaml")
    return sorted(path.relative_to(directory).with_suffix("").as_posix() for path in paths)


def copy_recipe(name: str, output: Path) -> list[Path]:
    """Copy a recipe and every file that it extends or names.

    Args:
        name: Name of the recipe, `demo` or `ablations/guidance`.
        output: Directory that receives them, in the same folders as here.

    Returns:
        The copies, that of the recipe first.

    Raises:
        UserError: There is no such recipe, or a file of another content is in the place of a copy;
            nothing is then written.
    """
    names = recipe_names()
    name = name.removeprefix(f"{_FOLDER}/").removesuffix(".yaml")
    if name not in names:
        raise UserError(f"recipe: found {name!r}; {nearest(name, names)}")
    directory = _directory()
    needed = _needed(directory / f"{name}.yaml", directory)
    copies = {output / path.relative_to(directory): path.read_bytes() for path in needed}
    for copy, content in copies.items():
        if copy.exists() and (not copy.is_file() or copy.read_bytes() != content):
            raise UserError(
                f"{copy} exists and differs from the recipe that comes with slams; "
                f"choose another directory with --output, or remove it"
            )
    for copy, content in copies.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        with replacing(copy) as part:
            part.write_bytes(content)
    return list(copies)


def _needed(recipe: Path, directory: Path) -> list[Path]:
    """Return a recipe and the files that it extends or names, each once."""
    found = [recipe]
    for path in found:
        if path.suffix != ".yaml":
            continue
        for text in texts(yaml.safe_load(path.read_text(encoding="utf-8"))):
            named = [path.parent / text, directory.parent / text]
            for other in (Path(one).resolve() for one in named):
                if other.is_file() and other.is_relative_to(directory) and other not in found:
                    found.append(other)
    return found
