"""The scores of an assimilation that the table of runs shows as columns."""

from __future__ import annotations

import pandas as pd

from slams.plugins.methods import Role, in_role
from slams.tracking.headline import HEADLINE_SCORES, headline_name
from slams.tracking.runs import Tracker

__all__ = ["log_headline"]

# The method whose scores a run opens with: the first that it has.
_SCORED = (Role.SUBJECT, Role.YARDSTICK)


def log_headline(tracker: Tracker, results: pd.DataFrame) -> None:
    """Log the scores of temperature, mean over levels, of one method and of the background.

    A table without temperature at several levels, or without these methods, adds nothing.

    Args:
        tracker: The tracked run.
        results: The table `results` of one setting.
    """
    shown = results[(results["variable"] == "temperature") & (results["level"] == "mean")]
    shown = shown[shown["metric"].isin(HEADLINE_SCORES)]
    methods = list(dict.fromkeys(shown["method"]))
    scored = _scored(methods)
    if scored:
        tracker.log_scored_method(scored)
    background = in_role(Role.BACKGROUND).name
    tracker.log_metrics(
        {
            headline_name(row.metric, background=row.method == background): row.value
            for row in shown.itertuples()
            if row.method in (scored, background)
        }
    )


def _scored(methods: list[str]) -> str:
    """Return the method of the first role that a run has; empty where it has none."""
    for name in (in_role(role).name for role in _SCORED):
        # With its own first guess, else with another: `latent_diffusion@climatology`.
        for method in sorted(methods, key=lambda m: m != name):
            if method.partition("@")[0] == name:
                return method
    return ""
