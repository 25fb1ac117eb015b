"""The facts of a bundle's model card, taken from its recipe, its store and its scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from data_modules.store.training_store import TrainingStore
from slams.bundles.card import Card
from slams.bundles.files import Bundle
from slams.calendar.ranges import date_ranges
from slams.config.schema import Config

__all__ = ["bundle_notes", "make_card"]


def bundle_notes(config: Config, archive: bool) -> list[str]:
    """Return what a bundle cannot do, one sentence each.

    Args:
        config: The recipe.
        archive: Whether it has an archive of training days.
    """
    notes = []
    if not archive:
        notes.append(
            "It has no archive of training days, which every method needs: it makes no analysis; "
            "export the run again without --without-archive for one that does."
        )
    if config.background.recentre_days:
        notes.append(
            "The recipe re-centres the climatology on earlier days (background.recentre_days); "
            "analyses of a bundle do not."
        )
    return notes


def make_card(
    bundle: Bundle, config: Config, store: TrainingStore, results: pd.DataFrame | None
) -> Card:
    """Return the facts of a model card.

    Args:
        bundle: The record of the bundle.
        config: The recipe.
        store: The training store.
        results: Results table of an assimilation; `None` without one.
    """
    sources = [source for _, source in config.data.inputs]
    use, stations = config.observations.use, config.observations.stations
    satellite, observed = config.observations.satellite, []
    if "stations" in use:
        observed = [f"{v.channel} at stations (error {v.error:g})" for v in stations.variables]
    if "satellite" in use:
        observed.append(f"{satellite.channel} by satellite (error {satellite.error:g})")
    return Card(
        bundle=bundle,
        channels=[c.name for c in store.channels],
        grid=store.grid.shape,
        origin=", ".join(s.origin or f"{s.kind} ({Path(s.path).name})" for s in sources),
        training=date_ranges(config.data.splits.train or store.attributes["statistics_days"]),
        lag=0 if config.background.kind == "file" else config.background.lag,
        observed=observed,
        test="" if results is None else _describe_test(config),
        scores=None if results is None else _scores(results, bundle),
        twin=any(s.kind == "nature_run" for s in sources),
    )


def _describe_test(config: Config) -> str:
    days = config.data.splits.test
    return f"test dates of {date_ranges(days)}, {config.assimilation.members} members"


def _scores(results: pd.DataFrame, bundle: Bundle) -> pd.DataFrame | None:
    """Return the scores of the served methods; `None` where there is none of temperature."""
    metrics: Sequence[str] = ("rmse", "crps", "spread_skill")
    rows = results[
        (results["variable"] == "temperature")
        & (results["level"] == "mean")
        & results["method"].isin(bundle.methods)
        & results["metric"].isin(metrics)
    ]
    if rows.empty:
        return None
    table = rows.pivot(index="method", columns="metric", values="value")
    order = [name for name in bundle.methods if name in table.index]
    return table.loc[order, list(metrics)].reset_index()
