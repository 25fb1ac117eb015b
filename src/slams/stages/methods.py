"""The methods of a comparison, built and fitted by name, for the stages and for `slams.load`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from data_modules.multimodal import MultimodalDataModule
from slams.assimilators.background import BackgroundEnsemble
from slams.assimilators.base import Assimilator
from slams.assimilators.case_by_case import CaseByCase
from slams.assimilators.climatology import Climatology
from slams.assimilators.degraded_backgrounds import degrade
from slams.assimilators.enkf import EnKF
from slams.assimilators.first_guess import ClimatologyGuess, FirstGuess, OnFirstGuess
from slams.assimilators.latent_3dvar import Latent3DVar
from slams.assimilators.latent_diffusion import LatentDiffusion
from slams.assimilators.letkf import LETKF
from slams.assimilators.linear_inverse_model import LinearInverseModel
from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.assimilators.pixel_diffusion import PixelDiffusion
from slams.assimilators.score_mean import ScoreMean
from slams.assimilators.three_d_var import ThreeDVar
from slams.config.loading import load as load_recipe
from slams.config.methods import NAMES, split_name
from slams.config.schema import Config
from slams.diffusion.backend import Denoiser, KarrasDenoiser
from slams.errors import UserError
from slams.modules.score import LatentScore
from slams.nn.latent_space import LatentSpace
from slams.nn.precision import Bfloat16, natural_precision
from slams.runs.record import RunRecord
from slams.stages.data import trajectories
from slams.stages.loading import compose, load_pixel_score, load_score, load_vae

__all__ = ["load", "make_methods"]

_Builder = Callable[[Config, MultimodalDataModule], Assimilator]


def _plain(kind: type[CaseByCase]) -> _Builder:
    """Builds a method that has no settings."""
    return lambda config, data: kind(data.normaliser, data.grid, config.seed)


def _configured(kind: type[CaseByCase], section: str) -> _Builder:
    """Builds a method whose settings are a section of `assimilation`, with the same names."""

    def build(config: Config, data: MultimodalDataModule) -> Assimilator:
        settings = asdict(getattr(config.assimilation, section))
        return kind(data.normaliser, data.grid, config.seed, **settings)

    return build


def _evaluated(
    config: Config, space: LatentSpace, score: LatentScore
) -> tuple[LatentSpace, Denoiser]:
    """Puts decoder and denoiser into the precision that the recipe's sampler evaluates them in.

    Guidance through the network's derivatives keeps its digits.
    """
    denoiser = score.denoiser
    precision = config.assimilation.sampler.precision
    if precision == "auto":
        precision = natural_precision("gpu" if torch.cuda.is_available() else "cpu")
    if precision == "bf16-mixed" and config.assimilation.guidance.kind == "decg":
        space = LatentSpace(space.encoder, Bfloat16(space.decoder), space.mean, space.sd)
        denoiser = KarrasDenoiser(Bfloat16(denoiser.backbone), denoiser.schedule)
    return space, compose(denoiser, config)


def _latent_diffusion(config: Config, data: MultimodalDataModule) -> Assimilator:
    space, score = load_score(config, data.channels, data.grid, data.normaliser.sd)
    space, denoiser = _evaluated(config, space, score)
    settings = config.assimilation
    return LatentDiffusion(
        space,
        denoiser,
        data.normaliser,
        data.grid,
        config.seed,
        settings.guidance,
        settings.sampler,
    )


def _linear_inverse_model(config: Config, data: MultimodalDataModule) -> FirstGuess:
    return LinearInverseModel(data.grid, **asdict(config.assimilation.linear_inverse_model))


def _score_mean(config: Config, data: MultimodalDataModule) -> FirstGuess:
    space, score = load_score(config, data.channels, data.grid, data.normaliser.sd)
    space, denoiser = _evaluated(config, space, score)
    settings = asdict(config.assimilation.score_mean)
    unseen = degrade(data.archive(split="validation"), config.background.analysis_error)
    return ScoreMean(space, denoiser, data.grid, config.seed, unseen, **settings)


def _pixel_diffusion(config: Config, data: MultimodalDataModule) -> Assimilator:
    space, score = load_pixel_score(config, data.channels, data.grid, data.normaliser.sd)
    space, denoiser = _evaluated(config, space, score)
    settings = config.assimilation
    return PixelDiffusion(
        space,
        denoiser,
        data.normaliser,
        data.grid,
        config.seed,
        settings.guidance,
        settings.sampler,
        **asdict(settings.pixel_diffusion),
    )


def _latent_3dvar(config: Config, data: MultimodalDataModule) -> Assimilator:
    vae = load_vae(config, data.channels, data.grid, data.normaliser.sd)
    # The covariance is measured in the same units: any standardisation gives the same analysis.
    count = vae.config.latent_channels
    space = LatentSpace(vae.encoder, vae.decoder, torch.zeros(count), torch.ones(count))
    settings = asdict(config.assimilation.latent_3dvar)
    return Latent3DVar(space, data.normaliser, data.grid, config.seed, **settings)


# By name, as in the results table and in `slams.config.methods`.
_BUILDERS: dict[str, _Builder] = {
    "climatology": _plain(Climatology),
    "background": _plain(BackgroundEnsemble),
    "optimal_interpolation": _configured(OptimalInterpolation, "optimal_interpolation"),
    "3dvar": _configured(ThreeDVar, "three_d_var"),
    "enkf": _configured(EnKF, "enkf"),
    "letkf": _configured(LETKF, "letkf"),
    "latent_3dvar": _latent_3dvar,
    "pixel_diffusion": _pixel_diffusion,
    "latent_diffusion": _latent_diffusion,
}

_FIRST_GUESSES: dict[str, Callable[[Config, MultimodalDataModule], FirstGuess]] = {
    "climatology": lambda config, data: ClimatologyGuess(),
    "linear_inverse_model": _linear_inverse_model,
    "score_mean": _score_mean,
}


def make_methods(
    config: Config,
    names: Sequence[str],
    datamodule: MultimodalDataModule,
) -> list[Assimilator]:
    """Builds methods and fits them to the training period.

    Args:
        config: The recipe.
        names: Names as in the results table.
        datamodule: Gives normaliser, grid and the archive.

    Raises:
        UserError: A method is unknown, or its trained stages are not there.
    """
    archive = degrade(datamodule.archive(), config.background.analysis_error)
    first_guesses: dict[str, FirstGuess] = {}
    methods = []
    for name in names:
        if name not in NAMES:
            raise UserError(
                f"assimilation.methods: found {name!r}, expected any of {', '.join(NAMES)}"
            )
        kind, guess = split_name(name)
        method = _BUILDERS[kind](config, datamodule)
        if guess:
            if guess not in first_guesses:  # fitted once for all methods that start from it
                first_guesses[guess] = _FIRST_GUESSES[guess](config, datamodule)
            method = OnFirstGuess(method, first_guesses[guess])
        method.fit(archive)
        methods.append(method)
    return methods


def load(run_dir: str | Path) -> Assimilator:
    """Loads a finished run as a ready assimilator, see `slams.load`."""
    path = Path(run_dir)
    record = RunRecord.read(path)
    if record.status != "finished":
        raise UserError(f"{path} is {record.status}, expected a finished run")
    config = load_recipe(path / "config.yaml")
    # Seen from another directory, or moved: the runs beside it count. An experiment's name may
    # have several parts.
    runs = path.resolve().parents[1 + config.experiment.count("/")]
    config = replace(config, runs=str(runs))
    datamodule = trajectories(config)
    return make_methods(config, ["latent_diffusion"], datamodule)[0]
