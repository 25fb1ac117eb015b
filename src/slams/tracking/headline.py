"""The few scores that a table of runs shows as columns, and the view that selects them.

MLflow's table of runs opens without any metric: each browser keeps its own choice of columns. An
experiment can only offer *views*, which are tags `mlflow.sharedViewState.KEY` (read in the
interface of mlflow 3.17). A view is opened from the menu "Views", or by an address that ends in
`?viewStateShareKey=KEY`. Elsewhere the page sorts names of metrics by code point, so that names
that begin with a capital letter come first.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["HEADLINE_SCORES", "SCORED_METHOD", "VIEW_TAG", "headline_name", "offer_view"]

# Metrics of `slams.metrics.scores` that a run opens with.
HEADLINE_SCORES = ("rmse", "crps", "spread_skill")
# Tag: the method whose scores these are.
SCORED_METHOD = "scored_method"

_KEY = "slams-scores"
VIEW_TAG = f"mlflow.sharedViewState.{_KEY}"
_NAME = "Scores"


def headline_name(score: str, background: bool = False) -> str:
    """Return the name of a score of temperature, mean over levels, in a table of runs.

    Args:
        score: One of `HEADLINE_SCORES`.
        background: Whether it is that of the background, not of the method.
    """
    return f"T_{score}_background" if background else f"T_{score}"


def offer_view(client: MlflowClient, experiment_id: str) -> None:
    """Offer the view of the scores in an experiment, unless it has one by that key.

    Args:
        client: Client of the store.
        experiment_id: MLflow's id of the experiment.
    """
    from mlflow.exceptions import MlflowException

    # A server may refuse tags of experiments; runs are tracked all the same.
    with contextlib.suppress(MlflowException):
        if VIEW_TAG not in client.get_experiment(experiment_id).tags:
            client.set_experiment_tag(experiment_id, VIEW_TAG, _view())


def _view() -> str:
    names = [headline_name(s, background) for s in HEADLINE_SCORES for background in (False, True)]
    titles = {f"metrics.`{name}`": name for name in names}
    titles |= {f"tags.`{tag}`": tag for tag in (SCORED_METHOD, "setting")}
    state = {
        "selectedColumns": list(titles),
        # Widths are applied to the columns of this list only; those given come first.
        "columnOrder": list(titles),
        "columnWidths": {column: _pixels(title) for column, title in titles.items()},
    }
    now = int(time.time() * 1000)
    content = {"name": _NAME, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    return json.dumps(content)


def _pixels(title: str) -> int:
    """Return a width at which the title of a column is not cut."""
    return 70 + 7 * len(title)
