"""What the table of runs shows of an assimilation."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest

from slams.stages.headline import log_headline
from slams.tracking.runs import Tracker


class Recorded(Tracker):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: dict[str, float] = {}
        self.scored = ""

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        self.metrics |= metrics

    def log_scored_method(self, method: str) -> None:
        self.scored = method


def results(*methods: str, variable: str = "temperature") -> pd.DataFrame:
    """Return a table in which every number differs."""
    rows = [
        (method, level, metric)
        for method in methods
        for level in ("850", "mean", "500")
        for metric in ("rmse", "bias", "crps", "spread_skill")
    ]
    frame = pd.DataFrame(rows, columns=["method", "level", "metric"])
    return frame.assign(variable=variable, value=range(len(frame)))


def logged(frame: pd.DataFrame) -> Recorded:
    tracker = Recorded()
    log_headline(tracker, frame)
    return tracker


def test_the_mean_over_levels_of_the_subject_beside_the_background() -> None:
    found = logged(results("background", "optimal_interpolation", "latent_diffusion"))
    assert found.scored == "latent_diffusion"
    assert found.metrics == {
        "T_rmse_background": 4,
        "T_crps_background": 6,
        "T_spread_skill_background": 7,
        "T_rmse": 28,
        "T_crps": 30,
        "T_spread_skill": 31,
    }


def test_they_sort_before_every_other_metric() -> None:
    """The page sorts names by their code points."""
    others = ["background/rmse/temperature/850", "run/parameters", "system/cpu", "train/loss"]
    names = list(logged(results("background", "latent_diffusion")).metrics)
    assert sorted([*others, *names])[:6] == sorted(names)


@pytest.mark.parametrize(
    ("methods", "scored"),
    [
        (["latent_diffusion@climatology", "latent_diffusion", "background"], "latent_diffusion"),
        (["background", "latent_diffusion@climatology"], "latent_diffusion@climatology"),
        (["climatology", "background", "optimal_interpolation"], "optimal_interpolation"),
    ],
)
def test_the_tag_says_whose_scores_they_are(methods: list[str], scored: str) -> None:
    frame = results(*methods)
    found = logged(frame)
    assert found.scored == scored
    row = (frame["method"] == scored) & (frame["level"] == "mean") & (frame["metric"] == "crps")
    assert found.metrics["T_crps"] == frame[row]["value"].item()


def test_other_methods_and_other_variables_add_nothing() -> None:
    found = logged(results("background", "letkf"))
    assert found.scored == ""
    assert set(found.metrics) == {
        f"T_{score}_background" for score in ("rmse", "crps", "spread_skill")
    }
    assert logged(results("background", "latent_diffusion", variable="olr")).metrics == {}
