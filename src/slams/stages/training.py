"""Stages that train: the VAE, then the score model on its encodings or on the fields."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_modules.host_memory import host_memory
from data_modules.multimodal import MultimodalDataModule
from data_modules.reanalysis import ReanalysisDataModule, read_batches
from data_modules.store.latents import LatentStore
from slams.config.schema import Config
from slams.modules.score import LatentScore, PixelScore
from slams.modules.trainer import check_machine
from slams.modules.vae import VAE
from slams.nn.latent_space import LatentBatch, LatentSpace, decoded_importance
from slams.nn.unet import check_resolutions
from slams.normalisation import DAYS_PER_YEAR
from slams.runs.directory import RunDirectory
from slams.runtime.ranks import is_rank_zero, say
from slams.runtime.seeds import generator
from slams.stages.data import fields_only, pixel, reanalysis, trajectories
from slams.stages.encodings import encode_windows, windows_at_a_time
from slams.stages.fitting import dry_run_step, fit
from slams.stages.loading import load_vae, raw_space
from slams.stages.memory import recipe_memory
from slams.stages.places import data_request
from slams.stages.reconstruction import write_reconstruction
from slams.stages.running import run_stage
from slams.tracking.runs import Tracker

__all__ = ["set_up", "train_score", "train_vae"]

# Training windows whose patches give the principal components, and the most memory that these
# may take (bytes); more make no difference.
_COMPONENT_WINDOWS, _COMPONENT_BYTES = 400, 2**31
# Copies of these windows: as read, joined, as patches, weighted, and in double precision.
_COMPONENT_COPIES = 5

# Copies of a piece of windows while it is read, normalised and encoded.
_PIECES = 4

# Training windows at which the decoder is evaluated for the weights of the loss.
_IMPORTANCE_WINDOWS = 32


def train_vae(config: Config, dry_run: bool = False) -> Path:
    """Train the VAE of a recipe; continue a killed run, keep a finished one.

    Args:
        config: The recipe.
        dry_run: Whether only to build everything, run one batch, print shapes, memory and time.

    Returns:
        The run directory.
    """
    datamodule = reanalysis(config, batch_size=config.vae.batch_size)
    values = len(datamodule.store.channels) * math.prod(datamodule.store.grid.shape)
    most = _COMPONENT_BYTES // (4 * config.data.window * values)
    components = min(_COMPONENT_WINDOWS, max(most, 1), len(datamodule.splits["train"]))
    set_up(
        config,
        datamodule,
        config.vae.batch_size,
        stage="train vae",
        dry_run=dry_run,
        archive=_COMPONENT_COPIES * components,
    )
    torch.manual_seed(config.seed)
    module = VAE(config.vae, datamodule.channels, datamodule.grid, datamodule.normaliser.sd)
    request = data_request(config, module.stage, datamodule)
    if dry_run:
        batch = _first_batch(datamodule)
        fields, mask = batch.fields.flatten(0, 1), batch.mask.flatten(0, 1)
        shape = (*batch.fields.shape[:3], *(config.vae.crop or batch.fields.shape[3:]))
        dry_run_step(
            config.trainer,
            module,
            shape,
            lambda: module.loss(fields, mask, mask, module.draw_crop())[0],
        )
        return request.path
    RunDirectory.check(request)
    check_machine(config.trainer)

    def work(run: RunDirectory, tracker: Tracker) -> None:
        windows = read_batches(datamodule, "train", components)
        module.initialise(torch.cat([b.fields.flatten(0, 1) for b in windows]))
        fit(config, module, config.vae.optimizer, datamodule, run, tracker)
        if is_rank_zero():
            _reconstruct(datamodule, run, tracker)

    return run_stage(config, request, work)


def _reconstruct(datamodule: ReanalysisDataModule, run: RunDirectory, tracker: Tracker) -> None:
    """Write, track and print the reconstruction errors of the best weights."""
    best = VAE.load(run.checkpoints / "best.ckpt", datamodule.channels, datamodule.grid)
    errors = write_reconstruction(run.path, best, datamodule)
    tracker.log_metrics({f"reconstruction/{name}": e for name, e in errors.items()})
    tracker.log_artifact(run.path / "reconstruction.parquet")
    say("reconstruction error: " + ", ".join(f"{n} {e:.3f}" for n, e in errors.items()))


def train_score(config: Config, dry_run: bool = False) -> Path:
    """Train the score model on the encodings of the recipe's VAE or on the fields themselves.

    `score.space` selects one of the two.

    Args:
        config: The recipe.
        dry_run: Whether only to build everything, run one batch, print shapes, memory and time.

    Returns:
        The run directory.
    """
    if config.score.space == "pixel":
        return _train_pixel_score(config, dry_run)
    unobserved = fields_only(config)
    # Windows are cut out of the days of one analysis, from the first to the last, with backgrounds
    # that grow older from day to day.
    datamodule = trajectories(unobserved)
    piece = windows_at_a_time(unobserved, datamodule)
    set_up(
        config,
        datamodule,
        config.score.batch_size,
        stage="train score",
        dry_run=dry_run,
        # A piece of windows is encoded at a time; training uses the encodings of all.
        archive=_PIECES * min(piece, len(datamodule.splits["train"])),
        background=True,
        latents=_latent_values(config, datamodule),
    )
    vae = load_vae(config, datamodule)
    space = raw_space(vae)
    # Refuse everything that can be refused without the encodings, before they are written.
    check_resolutions(vae.encoder.patches.block_shape, len(config.score.channels))
    check_machine(config.trainer)
    request = data_request(config, LatentScore.stage, datamodule)
    RunDirectory.check(request)
    vae_run = request.run.inputs["vae"]
    if dry_run:
        _dry_run_score(config, datamodule, space, vae_run)
        return request.path
    latents = encode_windows(unobserved, datamodule, space, vae_run)
    torch.manual_seed(config.seed)
    module = LatentScore(
        config.score,
        datamodule.channels,
        datamodule.grid,
        latents.latent_shape,
        latents.train.mean,
        latents.train.sd,
        vae_run,
        _importance(config, vae, latents.train),
        latents.train.departure_sd() if config.score.centre == "background" else None,
    )
    work = functools.partial(fit, config, module, config.score.optimizer, latents)
    return run_stage(config, request, work)


def _train_pixel_score(config: Config, dry_run: bool) -> Path:
    """Train the denoiser of the fields themselves, streamed from the training store."""
    datamodule = pixel(config)
    check_resolutions(datamodule.grid.shape, len(config.score.channels))
    check_machine(config.trainer)
    request = data_request(config, PixelScore.stage, datamodule)
    RunDirectory.check(request)
    set_up(config, datamodule, config.score.batch_size, stage="train score", dry_run=dry_run)
    space = datamodule.space
    torch.manual_seed(config.seed)
    module = PixelScore(
        config.score,
        datamodule.channels,
        datamodule.grid,
        datamodule.window_shape,
        space.mean.flatten(),
        space.sd.flatten(),
        datamodule.normaliser.sd,
    )
    if dry_run:
        batch = _first_batch(datamodule)
        dry_run_step(
            config.trainer, module, batch.latents.shape, lambda: module.loss(batch).mean()
        )
        return request.path
    work = functools.partial(fit, config, module, config.score.optimizer, datamodule)
    return run_stage(config, request, work)


def set_up(
    config: Config,
    datamodule: ReanalysisDataModule,
    batch_size: int,
    stage: str,
    dry_run: bool,
    archive: int = 0,
    background: bool = False,
    latents: int = 0,
) -> None:
    """Print the memory that a training will need, see `host_memory`; then set its data up.

    A dry run prints that of the assimilation too, before anything is trained for it.

    Raises:
        UserError: The machine has fewer devices, or less memory.
    """
    if not dry_run:
        check_machine(config.trainer)
    memory = host_memory(
        datamodule,
        batch_size,
        ranks=config.trainer.devices,
        archive=archive,
        background=background,
        latents=latents,
        stage=stage,
    )
    say(str(memory))
    if dry_run:
        say(recipe_memory(config))
    if is_rank_zero():  # the processes that start after it would count its memory twice
        memory.check()
    datamodule.setup("fit")


def _latent_values(config: Config, datamodule: MultimodalDataModule) -> int:
    """Return the number of values of all latent windows and their encoded backgrounds."""
    score, vae = config.score, config.vae
    copies = 1 + len({*score.lags} - {config.background.lag}) + 2 * score.shifts
    train, validation = (len(datamodule.splits[name]) for name in ("train", "validation"))
    height, width = (-(-size // vae.factor) for size in datamodule.grid.shape)
    window = config.data.days * vae.latent_channels * height * width
    return 2 * window * (copies * train + validation)


def _first_batch(datamodule: ReanalysisDataModule) -> Any:
    """Return the first training batch as its module receives it."""
    window = next(iter(datamodule.train_dataloader()))
    return datamodule.on_after_batch_transfer(window, 0)


def _dry_run_score(
    config: Config, datamodule: MultimodalDataModule, space: LatentSpace, vae_run: str
) -> None:
    """Run one training step on the encodings of one batch, which are not stored."""
    archive = datamodule.archive(config.score.batch_size)
    with torch.no_grad():
        latents = space.encode(archive.fields, archive.known)
        background = space.encode(archive.background, archive.background_known)
    latents, background = (x[:, : config.data.window] for x in (latents, background))
    mean, sd = latents.mean(dim=(0, 1, 3, 4)), latents.std(dim=(0, 1, 3, 4))
    season = (archive.time[:, 0] / DAYS_PER_YEAR % 1).to(torch.float32)
    batch = LatentBatch(latents, background, season)
    shape = tuple(latents.shape[1:])
    centred = config.score.centre == "background"
    module = LatentScore(
        config.score,
        datamodule.channels,
        datamodule.grid,
        shape,
        mean,
        sd,
        vae_run,
        departure_sd=torch.ones_like(sd) if centred else None,
    )
    dry_run_step(config.trainer, module, latents.shape, lambda: module.loss(batch).mean())


def _importance(config: Config, vae: VAE, train: LatentStore) -> Tensor | None:
    """Measure the effect of each latent channel on the fields, where the loss needs it."""
    if config.score.loss == "latent":
        return None
    days = torch.linspace(0, len(train.latents) - 1, _IMPORTANCE_WINDOWS).long().unique()
    space = LatentSpace(vae.encoder, vae.decoder, train.mean, train.sd)
    noise = generator(config.seed, "importance")
    return decoded_importance(space, train.latents[days], noise, vae.weights)
