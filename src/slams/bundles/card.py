"""The model card of a bundle: what it is made of, how good it is, and what it is not for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import jinja2
import pandas as pd

from slams.bundles.files import Bundle

__all__ = ["Card", "write_card"]


@dataclass(frozen=True)
class Card:
    """Facts of a model card.

    Attributes:
        bundle: The record of the bundle.
        channels: Names of the channels.
        grid: Rows and columns.
        origin: Where the training data come from.
        training: Days of the training, in words.
        lag: Age of the backgrounds that the networks know (days); 0 for forecasts valid at the
            time of the analysis.
        observed: Observed channels of the recipe, with their error, in words.
        test: Days of the test, in words; empty without scores.
        scores: Columns method, rmse, crps, spread_skill: temperature, mean over levels; `None`
            without scores.
        twin: Whether the truth of training and scores is a model's.
    """

    bundle: Bundle
    channels: Sequence[str]
    grid: tuple[int, int]
    origin: str
    training: str
    lag: int
    observed: Sequence[str]
    test: str = ""
    scores: pd.DataFrame | None = None
    twin: bool = False


def write_card(card: Card) -> str:
    """Return the model card, Markdown with the front matter that model hubs read."""
    text = (files("slams.bundles") / "card.md.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=False,  # Markdown, not HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    scores = [] if card.scores is None else card.scores.to_dict("records")
    return environment.from_string(text).render(card=card, bundle=card.bundle, scores=scores)
