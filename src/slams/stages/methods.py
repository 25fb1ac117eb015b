"""Methods of a comparison, built and fitted by name, for the stages and for models."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from data_modules.multimodal import MultimodalDataModule
from slams.assimilators.base import Archive, Assimilator
from slams.assimilators.degraded_backgrounds import degrade
from slams.assimilators.first_guess import FirstGuess, OnFirstGuess
from slams.assimilators.materials import Materials, TrainedNetworks
from slams.assimilators.member_forecast import MemberForecast
from slams.assimilators.zonal_regression import ZonalRegression
from slams.config.schema import Config
from slams.diffusion.sampling import noise_levels
from slams.errors import UserError
from slams.plugins.methods import FirstGuessSpec, MethodSpec, check_method
from slams.runtime.kept_tensors import KeptTensors, MemoryTensors
from slams.runtime.ranks import say
from slams.stages.limit_files import read_day
from slams.stages.loading import Networks

__all__ = ["error_scales", "inner", "make_methods", "say_times"]


def _materials(
    config: Config,
    data: MultimodalDataModule,
    networks: TrainedNetworks | None,
    kept: KeptTensors | None,
    note: Callable[[str], None],
) -> Materials:
    """Collect what the methods of a recipe are built from."""
    section = config.assimilation

    def archive(split: str) -> Archive:
        packed = data.archive(section.archive_days, split=split, as_packed=True)
        return degrade(packed, config.background.analysis_error)

    @functools.cache
    def forecast() -> MemberForecast:
        return ZonalRegression(data.training_days(), note=note, **asdict(section.member_forecast))

    unseen = None
    if config.data.splits.validation:
        unseen = functools.cache(functools.partial(archive, "validation"))
    sections = {name: value for name, value in vars(section).items() if is_dataclass(value)}
    return Materials(
        normaliser=data.normaliser,
        grid=data.grid,
        channels=data.channels,
        seed=config.seed,
        guidance=section.guidance,
        sampler=section.sampler,
        networks=networks or Networks(config, data),
        archive=archive,
        local=section.local,
        settings={name: asdict(value) for name, value in sections.items()} | section.options,
        unseen=unseen,
        kept=kept or MemoryTensors(),
        kept_day=functools.partial(read_day, Path(section.letkf_perfect_model.analyses)),
        forecast=forecast,
    )


def make_methods(
    config: Config,
    names: Sequence[str],
    datamodule: MultimodalDataModule,
    note: Callable[[str], None] = lambda doing: None,
    networks: TrainedNetworks | None = None,
    kept: KeptTensors | None = None,
) -> list[Assimilator]:
    """Build methods and fit them to the training period.

    Args:
        config: The recipe.
        names: Names as in a recipe.
        datamodule: Source of the normaliser, the grid and the archive.
        note: Called with a description of each step.
        networks: The trained networks; by default those of the recipe's runs.
        kept: Where denoising errors are kept; by default in memory.

    Raises:
        UserError: A method is unknown, or its trained stages are missing.
    """
    materials = _materials(config, datamodule, networks, kept, note)
    note("reading the training period")
    archive = materials.archive("train")
    first_guesses: dict[str, FirstGuess] = {}
    methods = []
    for name in names:
        spec, guess = check_method(name)
        note(f"fitting {name}")
        method = _built(spec, materials, "analyse")
        if guess is not None:
            if guess.name not in first_guesses:  # fitted once for all methods that start from it
                first_guesses[guess.name] = _built(guess, materials, "forecast")
            method = OnFirstGuess(method, first_guesses[guess.name])
        method.fit(archive)
        methods.append(method)
    if materials.unseen is None and any(hasattr(m, "error_scale") for m in map(inner, methods)):
        say(
            "data.splits.validation has no days: denoising errors are taken from training days, "
            "which the network knows"
        )
    return methods


def inner(method: Assimilator) -> Assimilator:
    """Return the method itself where it starts from a first guess."""
    return method.method if isinstance(method, OnFirstGuess) else method


def say_times(methods: Sequence[Assimilator]) -> None:
    """Print what a member of each generative method took, guidance apart from networks.

    Args:
        methods: The methods; one that has analysed nothing is left out.
    """
    for method in methods:
        spent = getattr(inner(method), "spent", None)
        if spent is not None and spent.members:
            say(f"{method.name}: {spent}")


def error_scales(methods: Sequence[Assimilator]) -> dict[str, dict[str, float]]:
    """Return the ratio of denoising errors to those on training days, for the run's record.

    Args:
        methods: Methods that have analysed at least one case.

    Returns:
        Method -> noise level -> factor, mean over latent channels; for methods that measured it.
    """
    found = {}
    for method in methods:
        scale = getattr(inner(method), "error_scale", None)
        if scale is not None:
            levels = noise_levels(inner(method).sampler)  # type: ignore[attr-defined]
            found[method.name] = {
                f"{level:.3g}": round(value, 4)
                for level, value in zip(levels.tolist(), scale.mean(dim=1).tolist(), strict=True)
            }
    return found


def _built(spec: MethodSpec | FirstGuessSpec, materials: Materials, does: str) -> Any:
    """Build the object of a specification, and check its type and name.

    Raises:
        UserError: Its settings in the recipe are not those that it takes, or the built object is
            not a method or first guess of this name.
    """
    try:
        built = spec.build(materials)
    except TypeError as error:
        settings = materials.settings_of(spec.name)
        if not any(repr(name) in str(error) for name in settings):
            raise
        raise UserError(f"key 'assimilation.options.{spec.name}': {error}") from error
    if not hasattr(built, does) or getattr(built, "name", None) != spec.name:
        raise UserError(
            f"the plug-in {spec.name!r} built {type(built).__name__} named "
            f"{getattr(built, 'name', None)!r}, expected an object named {spec.name!r} with a "
            f"function `{does}`"
        )
    return built
