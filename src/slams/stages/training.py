"""Stages that train: the VAE, then the score model on its encodings or on the fields."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningDataModule
from torch import Tensor

from data_modules.host_memory import host_memory
from data_modules.latents import (
    LatentDataModule,
    LatentStore,
    wait_for_latents,
    write_latents,
)
from data_modules.multimodal import MultimodalDataModule
from data_modules.pixels import PixelDataModule
from data_modules.reanalysis import ReanalysisDataModule
from data_modules.sequential import read_batches
from slams import tracking
from slams.assimilators.base import Archive
from slams.assimilators.degraded_backgrounds import degrade
from slams.fields import Background
from slams.modules.base import TrainedModule, check_identity, read_checkpoint
from slams.modules.callbacks import (
    Checkpoints,
    EarlyEnd,
    MetricsCSV,
    ProgressLines,
    RefuseDivergence,
    RunSummary,
    StepSeed,
    WeightEMA,
)
from slams.modules.callbacks.summary import peak_memory_gib
from slams.modules.score import LatentScore, PixelScore
from slams.modules.trainer import check_machine, make_trainer
from slams.modules.vae import VAE
from slams.nn.latent_space import LatentBatch, LatentSpace, decoded_importance
from slams.nn.unet import check_resolutions
from slams.normalisation import DAYS_PER_YEAR
from slams.ranks import is_rank_zero, say
from slams.records import finished_run, stage_directory, trained_directory
from slams.runs import RunDirectory
from slams.schema import Config, ObservationsConfig, OptimizerConfig
from slams.seeds import generator
from slams.stages.loading import load_vae
from slams.stages.reconstruction import write_reconstruction
from slams.stopping import deferred
from slams.time_axis import at_length
from slams.time_limits import parse_limit

__all__ = ["train_score", "train_vae"]

# Training windows whose patches give the principal components: more change nothing.
_COMPONENT_WINDOWS = 400

# Training windows at which the decoder is looked at for the weights of the loss.
_IMPORTANCE_WINDOWS = 32


def train_vae(config: Config, dry_run: bool = False) -> Path:
    """Trains the VAE of a recipe; continues a killed run, keeps a finished one.

    Args:
        config: The recipe.
        dry_run: Build everything, run one batch, print shapes, memory and time, write nothing.

    Returns:
        The run directory.
    """
    datamodule = ReanalysisDataModule(config, batch_size=config.vae.batch_size)
    say(str(host_memory(datamodule, config.vae.batch_size, archive=_COMPONENT_WINDOWS)))
    datamodule.setup("fit")
    torch.manual_seed(config.seed)
    module = VAE(config.vae, datamodule.channels, datamodule.grid, datamodule.normaliser.sd)
    if dry_run:
        window = next(iter(datamodule.train_dataloader()))
        batch = datamodule.on_after_batch_transfer(window, 0)
        _rehearse(
            module,
            batch.fields.shape,
            lambda: module.loss(
                batch.fields.flatten(0, 1), batch.mask.flatten(0, 1), batch.mask.flatten(0, 1)
            )[0],
        )
        return stage_directory(config, "vae")
    fingerprint = datamodule.store.fingerprint
    RunDirectory.check(config, "vae", fingerprint=fingerprint)
    check_machine(config.trainer)
    with (
        RunDirectory.open(config, "vae", fingerprint=fingerprint) as run,
        tracking.start(config, run) as tracker,
    ):
        if run.finished:
            say(run.summary())
            return run.path
        fields = [
            b.fields.flatten(0, 1) for b in read_batches(datamodule, "train", _COMPONENT_WINDOWS)
        ]
        module.initialise(torch.cat(fields))
        _fit(config, module, config.vae.optimizer, datamodule, run, tracker)
        if is_rank_zero():
            best = VAE.load(run.checkpoints / "best.ckpt", datamodule.channels, datamodule.grid)
            errors = write_reconstruction(run.path, best, datamodule)
            tracker.log_metrics({f"reconstruction/{name}": e for name, e in errors.items()})
            tracker.log_artifact(run.path / "reconstruction.parquet")
            say("reconstruction error: " + ", ".join(f"{n} {e:.3f}" for n, e in errors.items()))
    return run.path


def train_score(config: Config, dry_run: bool = False) -> Path:
    """Trains the score model: on the encodings of the recipe's VAE, or on the fields themselves.

    `score.space` says which.

    Args:
        config: The recipe.
        dry_run: Build everything, run one batch, print shapes, memory and time, write nothing.

    Returns:
        The run directory.
    """
    # The score model never sees observations, nor a climatology shifted for them: it learns
    # p(z | background).
    fields_only = replace(
        config,
        observations=ObservationsConfig(use=[]),
        background=replace(config.background, recentre_days=0),
    )
    if config.score.space == "pixel":
        return _train_pixel_score(config, fields_only, dry_run)
    # Windows are cut out of the days that are analysed at once, from their beginning to their
    # end, with backgrounds that grow older on the way.
    datamodule = MultimodalDataModule(at_length(fields_only))
    # The windows that are encoded are held at once; what is trained on are their encodings.
    windows = sum(len(datamodule.splits[name]) for name in ("train", "validation"))
    if config.score.shifts:  # and one turned copy beside them
        windows += len(datamodule.splits["train"])
    say(str(host_memory(datamodule, config.score.batch_size, archive=windows, background=True)))
    datamodule.setup("fit")
    vae_run = finished_run(config, "vae")
    vae = load_vae(config, datamodule.channels, datamodule.grid, datamodule.normaliser.sd)
    count = vae.config.latent_channels
    raw = torch.zeros(count), torch.ones(count)
    space = LatentSpace(vae.encoder, vae.decoder, *raw)
    # All that can be refused without the encodings, before these are written.
    check_resolutions(
        [size // vae.config.factor for size in datamodule.grid.shape], len(config.score.channels)
    )
    check_machine(config.trainer)
    inputs, fingerprint = {"vae": vae_run.run_id}, datamodule.store.fingerprint
    RunDirectory.check(config, "score", inputs, fingerprint)
    if dry_run:
        _rehearse_score(config, datamodule, space, vae_run.run_id)
        return stage_directory(config, "score")
    background = fields_only.background
    key = {
        "vae": vae_run.run_id,
        "data": datamodule.store.fingerprint,
        "background": f"{background.kind}/{background.lag}/{background.path}",
        "analysis_error": f"{background.analysis_error:g}",
        "window": str(config.data.days),
        "train": str(config.data.splits.train),
        "validation": str(config.data.splits.validation),
    }
    lags = [lag for lag in config.score.lags if lag != background.lag]
    if lags:
        key["lags"] = str(lags)
    turned = [cells for cells in range(-config.score.shifts, config.score.shifts + 1) if cells]
    if turned:
        key["turned"] = str(turned)
    path = trained_directory(config, "vae") / f"latents_{config.background.lag}.zarr"
    if is_rank_zero():
        write_latents(path, space, _splits(fields_only, datamodule, lags, turned), key)
    else:
        wait_for_latents(path, key)
    latents = LatentDataModule(
        path,
        config.score.batch_size,
        config.seed,
        config.data.window,
        {lag: lag / background.lag for lag in lags},
        turned,
        ahead=config.data.ahead,
    )
    torch.manual_seed(config.seed)
    module = LatentScore(
        config.score,
        datamodule.channels,
        datamodule.grid,
        latents.latent_shape,
        latents.train.mean,
        latents.train.sd,
        vae_run.run_id,
        _importance(config, vae, latents.train),
    )
    with (
        RunDirectory.open(config, "score", inputs, fingerprint) as run,
        tracking.start(config, run) as tracker,
    ):
        if run.finished:
            say(run.summary())
            return run.path
        _fit(config, module, config.score.optimizer, latents, run, tracker)
    return run.path


def _train_pixel_score(config: Config, fields_only: Config, dry_run: bool) -> Path:
    """Trains the denoiser of the fields themselves, streamed from the training store."""
    datamodule = PixelDataModule(fields_only)
    check_resolutions(datamodule.grid.shape, len(config.score.channels))
    check_machine(config.trainer)
    fingerprint = datamodule.store.fingerprint
    RunDirectory.check(config, PixelScore.stage, fingerprint=fingerprint)
    say(str(host_memory(datamodule, config.score.batch_size)))
    datamodule.setup("fit")
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
        window = next(iter(datamodule.train_dataloader()))
        batch = datamodule.on_after_batch_transfer(window)
        _rehearse(module, batch.latents.shape, lambda: module.loss(batch).mean())
        return stage_directory(config, module.stage)
    with (
        RunDirectory.open(config, module.stage, fingerprint=fingerprint) as run,
        tracking.start(config, run) as tracker,
    ):
        if run.finished:
            say(run.summary())
            return run.path
        _fit(config, module, config.score.optimizer, datamodule, run, tracker)
    return run.path


def _rehearse_score(
    config: Config, datamodule: MultimodalDataModule, space: LatentSpace, vae_run: str
) -> None:
    """Rehearses the training on the encodings of one batch, which are kept nowhere."""
    archive = datamodule.archive(config.score.batch_size)
    with torch.no_grad():
        latents = space.encode(archive.fields, archive.known)
        background = space.encode(archive.background, archive.background_known)
    latents, background = (x[:, : config.data.window] for x in (latents, background))
    mean, sd = latents.mean(dim=(0, 1, 3, 4)), latents.std(dim=(0, 1, 3, 4))
    season = (archive.time[:, 0] / DAYS_PER_YEAR % 1).to(torch.float32)
    batch = LatentBatch(latents, background, season)
    shape = tuple(latents.shape[1:])
    module = LatentScore(
        config.score, datamodule.channels, datamodule.grid, shape, mean, sd, vae_run
    )
    _rehearse(module, latents.shape, lambda: module.loss(batch).mean())


def _importance(config: Config, vae: VAE, train: LatentStore) -> Tensor | None:
    """Measures what each latent channel does in the fields, where the loss is to know it."""
    if config.score.loss == "latent":
        return None
    days = torch.linspace(0, len(train.latents) - 1, _IMPORTANCE_WINDOWS).long().unique()
    space = LatentSpace(vae.encoder, vae.decoder, train.mean, train.sd)
    return decoded_importance(space, train.latents[days], generator(config.seed, "importance"))


def _splits(
    fields_only: Config,
    datamodule: MultimodalDataModule,
    lags: Sequence[int],
    turned: Sequence[int],
) -> Iterator[tuple[str, Archive]]:
    """Gives what the latent store holds; turned copies are made one at a time.

    The days are read now, and not when they are encoded: what is wrong with them is said even
    where their encodings are kept.
    """
    splits = {"train": datamodule.archive(), "validation": _windows(datamodule, "validation")}
    background = fields_only.background
    for lag in lags:
        other = at_length(replace(fields_only, background=replace(background, lag=lag)))
        splits[f"train_lag_{lag}"] = MultimodalDataModule(other, datamodule.store).archive()
    splits = {name: degrade(part, background.analysis_error) for name, part in splits.items()}
    train = splits["train"]
    copies = ((f"train_turned_{cells}", train.turned(cells)) for cells in turned)
    return itertools.chain(splits.items(), copies)


def _windows(datamodule: MultimodalDataModule, split: str) -> Archive:
    """Reads the windows of a split with their backgrounds."""
    batches = list(read_batches(datamodule, split))
    return Archive(
        torch.cat([b.fields for b in batches]),
        torch.cat([b.background.mean for b in batches]),
        torch.cat([b.time for b in batches]),
        torch.cat([b.mask for b in batches]),
        torch.cat([_known(b.background) for b in batches]),
    )


def _known(background: Background) -> Tensor:
    everything = torch.ones_like(background.mean, dtype=torch.bool)
    return everything if background.known is None else background.known


def _fit(
    config: Config,
    module: TrainedModule,
    optimizer: OptimizerConfig,
    datamodule: LightningDataModule,
    run: RunDirectory,
    tracker: tracking.Tracker,
) -> None:
    """Trains a module from the last checkpoint, or from the start."""
    optimizer = replace(optimizer, steps=_whole_epochs(config, optimizer, datamodule))
    module.optimizer_config = optimizer
    module.configure_networks(config.trainer)
    summary = RunSummary()
    every = config.trainer.checkpoint_every_steps
    checkpoints = Checkpoints(run.checkpoints, monitor="validation/loss", every_steps=every)
    limit = config.trainer.max_time
    seconds = parse_limit("key 'trainer.max_time'", limit) if limit else float("inf")
    callbacks: list[Callback] = [
        StepSeed(config.seed, module.stage),
        RefuseDivergence("validation/loss"),
        checkpoints,
        MetricsCSV(run.path / "metrics.csv"),
        EarlyEnd(checkpoints, seconds),
        ProgressLines(config.trainer.log_every_seconds),
        summary,
    ]
    if optimizer.ema > 0:
        callbacks.insert(1, WeightEMA(optimizer.ema))
    trainer = make_trainer(
        config.trainer,
        run_dir=run.path,
        max_steps=optimizer.steps,
        logger=tracker.logger,
        callbacks=callbacks,
        gradient_clip=optimizer.clip,
        accumulate=optimizer.accumulate,
    )
    last = run.last_checkpoint
    if last is not None:
        check_identity(read_checkpoint(last), module.identity, str(last))
        say(f"continues from {last}")
    with deferred():
        trainer.fit(module, datamodule=datamodule, ckpt_path=last, weights_only=False)
    if trainer.interrupted:
        raise KeyboardInterrupt
    if is_rank_zero():
        run.update(summary=summary.summary)
        tracker.log_metrics({f"run/{name}": x for name, x in summary.summary.items()})
        tracker.log_artifact(run.path / "metrics.csv")
        tracker.log_artifact(run.checkpoints / "best.ckpt", "checkpoints")


def _whole_epochs(
    config: Config, optimizer: OptimizerConfig, datamodule: LightningDataModule
) -> int:
    """Rounds steps to whole validated epochs, so that the last weights are validated too.

    The learning rate ends at zero: weights from before its end are never the best there are.
    """
    world = config.trainer.devices * config.trainer.num_nodes
    batches = len(datamodule.train_dataloader()) // world
    # The last step of an epoch takes what batches there are.
    unit = math.ceil(batches / optimizer.accumulate) * config.trainer.validate_every_epochs
    steps = optimizer.steps
    return round(steps / unit) * unit if unit and steps >= unit else steps


def _rehearse(module: TrainedModule, shape: Sequence[int], loss: Callable[[], Tensor]) -> None:
    """Runs one training step and says what it took, after another that warms up."""
    loss().backward()
    started = time.perf_counter()
    value = loss()
    value.backward()
    seconds = time.perf_counter() - started
    count = sum(p.numel() for p in module.parameters())
    say(
        f"dry run of train {module.stage}: batch {tuple(shape)}, {count / 1e6:.2f} M parameters, "
        f"loss {value.item():.4f}, {seconds:.2f} s a step, peak memory {peak_memory_gib():.2f} "
        f"GiB; {module.optimizer_config.steps} steps would take about "
        f"{seconds * module.optimizer_config.steps / 60:.0f} min in single precision"
    )
