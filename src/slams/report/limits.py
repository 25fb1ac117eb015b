"""Limitations of the numbers; those that depend on the recipe are derived from it."""

from __future__ import annotations

import html

from slams.report.reading import AssimilationRun, config_value, source_values
from slams.report.section import Section

__all__ = ["limits"]


def limits(run: AssimilationRun, dates: int) -> Section:
    """State the limitations of the numbers, one per sentence.

    Args:
        run: The assimilation that the report is about.
        dates: Number of verifying dates; 0 where unknown.
    """
    kinds = source_values(run.config, "kind")
    borrowed = config_value(run.config, "data.statistics_from", "")
    recentred = config_value(run.config, "background.recentre_days", 0)
    sentences = []
    if kinds == ["nature_run"]:
        sentences.append(
            "This is a twin experiment (OSSE): the truth is a nature run of a general circulation "
            "model with SPEEDY physics, never ERA5 or the real atmosphere. Its troposphere is "
            "good, its stratosphere poor, and it has no diurnal cycle. Networks were trained on "
            "the model that also made the truth, which flatters every method that learns."
        )
    elif kinds:
        sentences.append(
            f"The truth is read from a source of kind {', '.join(kinds)}: an analysis of the real "
            "atmosphere with errors of its own, which count here as errors of the methods."
        )
    else:
        sentences.append("The source of the truth is unknown, since there is no recipe.")
    if config_value(run.config, "observations.source", "truth") == "truth":
        sentences.append(
            "Observations were drawn from the truth with exactly the errors that the methods "
            "assume; real instruments have biases, correlated errors and gaps that these lack."
        )
    if borrowed:
        sentences.append(
            "Domain shift: climatology, standard deviations and persistence come from "
            f"{borrowed}, and so do the networks, not from the source of the truth. Part of every "
            "error is the difference between the two climates, above all in the stratosphere."
        )
        sentences.append(
            f"The climatology was re-centred on {recentred} days before the verifying day, never "
            "on that day itself."
            if recentred
            else "The climatology was used as it is, without re-centring on the days before."
        )
    if config_value(run.config, "background.kind", "damped_persistence") == "damped_persistence":
        lag = config_value(run.config, "background.lag", "some")
        sentences.append(
            f"The background is not cycled: it is the true state {lag} days before, damped. "
            "A cycled system would start from its own analysis, with errors that carry over."
        )
    else:
        sentences.append("The background is not cycled: no analysis feeds the next background.")
    sentences.append(
        "The latent analyses have a climatological prior, learned from the training period and "
        "conditioned on the background, which observations guide. They are not samples of a "
        "cycled filter's posterior."
    )
    if 0 < dates < 10:
        sentences.append(
            f"There are only {dates} verifying dates: the intervals cannot be trusted, and no "
            "ranking of methods follows."
        )
    elif dates:
        sentences.append(
            f"Intervals cover the choice of the {dates} verifying dates; they do not cover the "
            "choice of the training seed, the network of stations and the year."
        )
    items = "".join(f"<li>{html.escape(text)}</li>" for text in sentences)
    return Section(anchor="limits", title="Limitations", tables=[f"<ul>{items}</ul>"])
