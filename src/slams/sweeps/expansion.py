"""Expand the section `ablation` of a recipe into settings.

A sweep is the product grid x zip x list: every combination of the grid's values, with every row
of the keys that change together, with every entry of the list; an empty one counts as a single
setting without overrides. Each setting is the recipe with its overrides applied, read and checked
by `slams.config.loading.load` like any other recipe, before anything runs.

A sweep is an experiment inside the recipe's, `<experiment>/<sweep>`, so that reports of one do not
include the settings of the other: `runs/<experiment>/<sweep>/assimilation-<setting>/`.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from slams.config.loading import load, to_plain
from slams.config.schema import AblationConfig, Config
from slams.config.validation import is_inside, type_at
from slams.errors import UserError, nearest
from slams.plugins.methods import METHODS
from slams.runs.provenance import inputs_fingerprint
from slams.stages.places import stage_directory
from slams.sweeps.names import LONGEST, name_settings, name_training, without_seed

__all__ = ["Setting", "Sweep", "expand"]

_STAGES = ("train vae", "train score", "assimilate")
# Keys that a sweep sets itself, or that would move a setting out of the sweep.
_RESERVED = (
    "experiment",
    "runs",
    "resume",
    "tracking",
    "ablation",
    "assimilation.setting",
    "assimilation.modality_study",
)


@dataclass(frozen=True)
class Setting:
    """One setting of a sweep.

    Attributes:
        number: Position in the sweep, counted from 0.
        name: Name of its results and of its directory.
        overrides: The swept keys and their values.
        config: The recipe of its assimilation.
        trainings: Trained stage -> the recipe that trains it; only stages that the sweep may
            train.
        networks: Experiment of the networks that the recipe itself uses.
    """

    number: int
    name: str
    overrides: Mapping[str, Any]
    config: Config
    trainings: Mapping[str, Config]
    networks: str

    @property
    def directory(self) -> Path:
        """Return the run directory of its assimilation."""
        return stage_directory(self.config, "assimilation")


@dataclass(frozen=True)
class Sweep:
    """A sweep and its settings.

    Attributes:
        name: Its name.
        recipe: Its file.
        config: The recipe without overrides of settings.
        settings: Its settings, in order.
    """

    name: str
    recipe: Path
    config: Config
    settings: tuple[Setting, ...]

    @property
    def directory(self) -> Path:
        """Return the directory of everything that the sweep makes."""
        return Path(self.config.runs) / self.config.experiment / self.name

    def find(self, which: str) -> Setting:
        """Find a setting by number or name.

        Raises:
            UserError: There is no such setting.
        """
        for setting in self.settings:
            if which in (setting.name, str(setting.number)):
                return setting
        if which.isdigit():
            raise UserError(
                f"sweep {self.name!r} has no setting {which}; it has {len(self.settings)}, "
                f"counted from 0"
            )
        names = [setting.name for setting in self.settings]
        raise UserError(f"sweep {self.name!r} has no setting {which!r}; {nearest(which, names)}")


def expand(recipe: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """Read a recipe and expand its sweep.

    Args:
        recipe: The recipe (YAML), with a section `ablation`.
        overrides: Overrides from the command line, for all settings.

    Raises:
        UserError: The recipe or a setting is refused, or the recipe has no sweep.
    """
    path = Path(recipe)
    base = load(path, overrides)
    ablation = base.ablation
    name = ablation.name or path.stem
    taken = name in ("vae", "score") or name.startswith(("assimilation", "."))
    if not re.fullmatch(r"[\w+.-]+", name) or taken or len(name) > LONGEST:
        raise UserError(
            f"key 'ablation.name': found {name!r}, expected at most {LONGEST} letters, digits, "
            f"_, -, + and . that are not the name of a stage"
        )
    _check_stages(ablation.stages)
    rows = _rows(ablation, path)
    _refuse_overridden(rows, overrides)
    names = name_settings(rows)
    settings = tuple(
        _setting(number, one, row, path, overrides, base, name)
        for number, (one, row) in enumerate(zip(names, rows, strict=True))
    )
    sweep = Sweep(name, path, base, settings)
    # Settings that differ only in their seed are compared as one.
    methods = dict.fromkeys((*base.assimilation.methods, *METHODS.names()))
    seedless = [without_seed(one) for one in names]
    if ablation.baseline and ablation.baseline not in (*names, *seedless, *methods):
        raise UserError(
            f"key 'ablation.baseline': found {ablation.baseline!r}, expected a setting or a "
            f"method; {nearest(ablation.baseline, [*names, *methods])}"
        )
    return sweep


def _check_stages(stages: Sequence[str]) -> None:
    admitted = [list(_STAGES[first:]) for first in (2, 1, 0)]
    if list(stages) not in admitted:
        listed = " or ".join(f"[{', '.join(one)}]" for one in admitted)
        raise UserError(f"key 'ablation.stages': found [{', '.join(stages)}], expected {listed}")


def _rows(ablation: AblationConfig, path: Path) -> list[dict[str, Any]]:
    """List the overrides of every setting; `name` is that of an entry of the list."""
    _check_keys(ablation, path)
    lengths = {key: len(values) for key, values in ablation.zip.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{key} {n}" for key, n in lengths.items())
        raise UserError(
            f"key 'ablation.zip': found lists of different lengths ({found}), expected the same "
            f"number of values for each key"
        )
    if not (ablation.grid or ablation.zip or ablation.list):
        raise UserError(
            f"key 'ablation' of {path}: found no settings, expected grid, zip or list, for "
            f"example grid: {{observations.stations.count: [100, 400]}}"
        )
    crossed = itertools.product(*ablation.grid.values())
    together = zip(*ablation.zip.values(), strict=True) if ablation.zip else [()]
    return [
        {
            **entry,
            **dict(zip(ablation.grid, first, strict=True)),
            **dict(zip(ablation.zip, second, strict=True)),
        }
        for first, second, entry in itertools.product(crossed, together, ablation.list or [{}])
    ]


def _check_keys(ablation: AblationConfig, path: Path) -> None:
    """Refuse keys that are unknown, reserved, given twice or, where needed, not given a list."""
    listed = [(f"list.{n}", entry) for n, entry in enumerate(ablation.list)]
    for section, columns in (("grid", ablation.grid), ("zip", ablation.zip), *listed):
        where = f"in 'ablation.{section}' of {path}"
        for key, values in columns.items():
            if key == "name" and section.startswith("list"):
                continue
            type_at(key, where)
            if any(is_inside(key, reserved) for reserved in _RESERVED):
                raise UserError(f"key {key!r} {where}: a sweep sets it itself and cannot vary it")
            if section in ("grid", "zip") and not (isinstance(values, list) and values):
                raise UserError(
                    f"key 'ablation.{section}': {key} has {values!r}, expected a list of values"
                )
    entries = {key: None for entry in ablation.list for key in entry}
    sections = {"grid": ablation.grid, "zip": ablation.zip, "list": entries}
    for one, other in itertools.combinations(sections, 2):
        for key in sections[one]:
            if key in sections[other]:
                raise UserError(
                    f"key 'ablation.{other}': {key} is in ablation.{one} too; keep one"
                )


def _refuse_overridden(rows: Sequence[Mapping[str, Any]], overrides: Sequence[str]) -> None:
    swept = {key for row in rows for key in row}
    for override in overrides:
        key = override.partition("=")[0].strip()
        for one in swept:
            if is_inside(one, key) or is_inside(key, one):
                raise UserError(
                    f"key {key!r} on the command line: the sweep varies {one}; change its "
                    f"values in the recipe or with ablation.grid"
                )


def _setting(
    number: int,
    name: str,
    row: Mapping[str, Any],
    path: Path,
    overrides: Sequence[str],
    base: Config,
    sweep: str,
) -> Setting:
    """Return one setting with its recipes."""
    values = {key: value for key, value in row.items() if key != "name"}
    words = [f"{key}={_as_text(key, value)}" for key, value in values.items()]
    try:
        own = load(path, overrides, varied=words)
    except UserError as error:
        raise UserError(f"setting {name} of sweep {sweep}: {error}") from None
    home = f"{base.experiment}/{sweep}"
    networks = own.pretrained_experiment or base.experiment
    tracked = base.tracking.experiment or base.experiment
    own = replace(
        own,
        ablation=AblationConfig(),
        tracking=replace(own.tracking, experiment=tracked),
        assimilation=replace(own.assimilation, setting=name, modality_study=0),
    )
    stages = base.ablation.stages
    if len(stages) == 1:
        _refuse_untrained(name, values)
        config = replace(own, experiment=home, pretrained_experiment=networks)
        return Setting(number, name, values, config, {}, networks)
    if "pretrained_experiment" in values:
        raise UserError(
            "key 'pretrained_experiment' in 'ablation': found together with training, expected "
            "ablation.stages: [assimilate]"
        )
    if own.score.space == "pixel":
        raise UserError(
            f"key 'score.space': found 'pixel' in setting {name}, expected 'latent' in a sweep "
            f"that trains; train it separately and name its experiment in pretrained_experiment"
        )
    trainings, experiment = {}, networks
    for stage in ("vae", "score"):
        ours, theirs = (inputs_fingerprint(stage, to_plain(one)) for one in (own, base))
        if ours != theirs:
            experiment = f"{home}/trained-{name_training(stage, values)}"
        if f"train {stage}" in stages:
            shared = experiment == networks
            one = replace(base, ablation=AblationConfig()) if shared else own
            trainings[stage] = replace(
                one,
                experiment=experiment,
                pretrained_experiment="",
                resume="auto",
                tracking=own.tracking,
            )
        elif experiment != networks:
            raise UserError(
                f"key 'ablation.stages': setting {name} needs a VAE of its own, expected "
                f"[{', '.join(_STAGES)}]"
            )
    config = replace(own, experiment=home, pretrained_experiment=experiment)
    return Setting(number, name, values, config, trainings, networks)


def _refuse_untrained(name: str, values: Mapping[str, Any]) -> None:
    """Refuse to change a network that is not retrained."""
    for key in values:
        if is_inside(key, "vae") or is_inside(key, "score"):
            stages = _STAGES if is_inside(key, "vae") else _STAGES[1:]
            raise UserError(
                f"key 'ablation.stages': found [assimilate], but setting {name} changes {key}, "
                f"which needs a network of its own; expected [{', '.join(stages)}]"
            )


def _as_text(key: str, value: Any) -> str:
    """Format a value as in an override."""
    if isinstance(value, str) and type_at(key, "") is str:
        return json.dumps(value) if value.startswith(("'", '"')) else value
    written = yaml.safe_dump([value], default_flow_style=True, width=10**6, allow_unicode=True)
    return written.strip()[1:-1]
