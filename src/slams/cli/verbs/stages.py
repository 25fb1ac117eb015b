"""Verbs of the stages of an experiment, from `simulate` to `report`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from slams.cli.kinds import Stage, read_recipe, stage_verb
from slams.cli.verb import flag
from slams.runtime.signals import importing


@stage_verb(
    "simulate",
    "make a nature run with a general circulation model (extra `simulate`)",
    order=10,
    sections=("simulate",),
)
def simulate() -> Stage:
    """Run the general circulation model jcm and write a CF Zarr store.

    It holds daily means, or instants every 6 hours. A simulation that was killed continues from
    the last piece that is finished.
    """
    from slams.stages.sources import simulate

    return simulate


@stage_verb(
    "prepare",
    "turn source files into a training store with statistics",
    order=20,
    sections=("data",),
)
def _prepare() -> Stage:
    """Read the source, check and regrid it, and write the training store.

    The store holds the climatology, standard deviations and persistence of the training period
    too. A preparation that was killed continues from the files that are finished; a later
    data.period extends a finished store.
    """
    from slams.stages.sources import prepare

    return prepare


def _prepare_or_verify(arguments: argparse.Namespace, places: list[Path]) -> None:
    if not arguments.verify:
        _prepare.run(arguments, places)
        return
    config = read_recipe(arguments, places)
    with importing():
        from slams.stages.sources import verify

    verify(config)


_VERIFY = flag("read a finished store again and compare all of it with its checksums")
prepare = replace(
    _prepare, run=_prepare_or_verify, options={**_prepare.options, "--verify": _VERIFY}
)


@stage_verb(
    "train vae",
    "train the autoencoder of all modalities",
    order=30,
    sections=("vae", "trainer"),
)
def train_vae() -> Stage:
    """Train the VAE on the training store.

    A run that was killed continues from its last checkpoint; a finished run is kept.
    """
    from slams.stages.training import train_vae

    return train_vae


@stage_verb(
    "train score",
    "train the denoiser of latent windows",
    order=40,
    sections=("score", "background", "trainer"),
)
def train_score() -> Stage:
    """Encode the training store with the VAE and train the latent score on it.

    A run that was killed continues from its last checkpoint; a finished run is kept.
    """
    from slams.stages.training import train_score

    return train_score


@stage_verb(
    "train filter",
    "train the learned filter, which forecasts from past observations",
    order=44,
    sections=("filter", "observations", "trainer"),
)
def train_filter() -> Stage:
    """Train a recurrent network that estimates each day from all observations so far.

    A run that was killed continues from its last checkpoint; a finished run is kept.
    """
    from slams.stages.filtering import train_filter

    return train_filter


@stage_verb(
    "filter",
    "forecast every day from the observations before, with the learned filter",
    order=46,
    sections=("filter",),
)
def filter_days() -> Stage:
    """Run the learned filter through the days of the splits and write its forecasts.

    They are a training store, which recipes name in background.path with background.kind=file.
    Their errors are printed by days since the start of a cycle.
    """
    from slams.stages.filtering import filter_days

    return filter_days


@stage_verb(
    "assimilate",
    "analyse the test period with every method and score the analyses",
    order=50,
    sections=("observations", "background", "assimilation"),
)
def assimilate() -> Stage:
    """Draw or read observations and analyse every test case with every configured method.

    Writes results.parquet, cases.parquet, analysis.zarr and the report.
    """
    from slams.stages.assimilation import assimilate

    return assimilate


@stage_verb(
    "limit",
    "cycle a filter with the perfect model, what observations could give at best (`simulate`)",
    order=45,
    sections=("observations", "assimilation"),
)
def limit() -> Stage:
    """Cycle a LETKF whose members are states of jcm, the general circulation model of the truth.

    Writes the analyses of the days of assimilation.cycle_days, for the method letkf_perfect_model
    of `slams assimilate`. A cycle that was killed continues from the last day that is finished.
    """
    from slams.stages.limit import limit

    return limit


@stage_verb(
    "report",
    "make the figures and the HTML report of a finished assimilation",
    order=60,
    sections=("report",),
)
def report() -> Stage:
    """Write the figures and report/index.html from the results of `slams assimilate`."""
    from slams.stages.reporting import report

    return report
