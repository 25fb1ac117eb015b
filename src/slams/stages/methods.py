"""The methods of a comparison, built and fitted by name, for the stages and for `slams.load`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_modules.multimodal import MultimodalDataModule
from slams.assimilators.background import BackgroundEnsemble
from slams.assimilators.base import Assimilator
from slams.assimilators.climatology import Climatology
from slams.assimilators.latent_diffusion import LatentDiffusion
from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.config import load as load_recipe
from slams.errors import UserError
from slams.records import RunRecord
from slams.schema import Config
from slams.stages.loading import load_score

__all__ = ["load", "make_methods"]


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
    normaliser, grid, seed = datamodule.normaliser, datamodule.grid, config.seed
    archive = datamodule.archive()

    def optimal_interpolation() -> Assimilator:
        settings = config.assimilation.optimal_interpolation
        return OptimalInterpolation(
            normaliser, grid, seed, settings.localisation, float(settings.season)
        )

    def latent_diffusion() -> Assimilator:
        space, score = load_score(config, datamodule.channels, grid)
        settings = config.assimilation
        return LatentDiffusion(
            space, score.denoiser, normaliser, grid, seed, settings.guidance, settings.sampler
        )

    builders = {
        "climatology": lambda: Climatology(normaliser, grid, seed),
        "background": lambda: BackgroundEnsemble(normaliser, grid, seed),
        "optimal_interpolation": optimal_interpolation,
        "latent_diffusion": latent_diffusion,
    }
    methods = []
    for name in names:
        if name not in builders:
            raise UserError(
                f"assimilation.methods: found {name!r}, expected any of {', '.join(builders)}"
            )
        method = builders[name]()
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
    datamodule = MultimodalDataModule(config)
    return make_methods(config, ["latent_diffusion"], datamodule)[0]
