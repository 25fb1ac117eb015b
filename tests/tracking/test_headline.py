"""An experiment with scores offers a view of its runs with these as columns."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from slams.config.schema import Config, TrackingConfig
from slams.runs.directory import RunDirectory
from slams.stages.places import run_request, tracking_store
from slams.tracking import runs as tracking
from slams.tracking.headline import SCORED_METHOD, VIEW_TAG
from slams.tracking.sync import sync


@pytest.fixture
def config(tmp_path: Path, template: Path) -> Config:
    for directory in ("runs", "server"):
        (tmp_path / directory).mkdir()
        shutil.copyfile(template, tmp_path / directory / "mlflow.db")
    quiet = TrackingConfig(system_metrics=False)
    return Config(experiment="tiny", runs=str(tmp_path / "runs"), tracking=quiet)


def score(config: Config, name: str) -> str:
    """Track a run with scores, and return MLflow's id of it."""
    with (
        RunDirectory.open(run_request(config, name)) as run,
        tracking.start(tracking_store(config), run) as tracker,
    ):
        tracker.log_scored_method("latent_diffusion")
    return tracker.run_id


def view_of(config: Config) -> str | None:
    with tracking_store(config).connected() as (client, experiment_id):
        return client.get_experiment(experiment_id).tags.get(VIEW_TAG)


def test_an_experiment_offers_the_view_of_the_scores(config: Config) -> None:
    assert view_of(config) is None
    run_id = score(config, "assimilation")
    with tracking_store(config).connected() as (client, _):
        assert client.get_run(run_id).data.tags[SCORED_METHOD] == "latent_diffusion"
    view = json.loads(view_of(config))
    assert view["name"] == "Scores"
    state = json.loads(view["state"])
    assert (state["selectedColumns"], set(state["columnWidths"])) == (columns(), set(columns()))


def columns() -> list[str]:
    scores = [f"T_{name}" for name in ("rmse", "crps", "spread_skill")]
    pairs = [name for score in scores for name in (score, f"{score}_background")]
    return [*(f"metrics.`{name}`" for name in pairs), "tags.`scored_method`", "tags.`setting`"]


def test_a_view_that_was_changed_in_the_page_is_kept(config: Config) -> None:
    with tracking_store(config).connected() as (client, experiment_id):
        client.set_experiment_tag(experiment_id, VIEW_TAG, "overwritten")
    score(config, "assimilation")
    assert view_of(config) == "overwritten"


def test_a_copy_at_a_server_offers_it_too(config: Config, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/server/mlflow.db"
    server = replace(config, tracking=TrackingConfig(uri=uri))
    with tracking_store(config).connected():
        pass
    sync(tracking_store(server))
    assert view_of(server) is None
    score(config, "assimilation")
    sync(tracking_store(server), dry_run=True)
    assert view_of(server) is None
    sync(tracking_store(server))
    assert json.loads(view_of(server))["name"] == "Scores"
