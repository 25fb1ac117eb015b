"""Stages with tracking: one run a stage, linked by tags."""

from __future__ import annotations

import json

import pytest

from tests.stages.commands import slams
from tests.stages.conftest import Study


@pytest.mark.slow
def test_every_stage_is_one_tracked_run_with_its_lineage(finished: Study, tmp_path) -> None:
    import mlflow

    words = (
        f"runs={tmp_path / 'runs'}",
        "tracking.enabled=true",
        "assimilation.modality_study=0",
    )
    for verb in ("train vae", "train score", "assimilate"):
        assert slams(finished.recipe, verb, *words) == 0
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    records = {}
    for stage in ("vae", "score", "assimilation"):
        records[stage] = json.loads((tmp_path / "runs" / "tiny" / stage / "run.json").read_text())
    tracked = {s: client.get_run(r["mlflow_run_id"]) for s, r in records.items()}
    assert {t.info.status for t in tracked.values()} == {"FINISHED"}
    assert "train/loss" in tracked["score"].data.metrics
    assert "reconstruction/temperature" in tracked["vae"].data.metrics
    assert "latent_diffusion/rmse/temperature/850" in tracked["assimilation"].data.metrics
    assert records["vae"]["run_id"] in tracked["score"].data.tags.values()
    assert records["score"]["run_id"] in tracked["assimilation"].data.tags.values()
    names = {a.path for a in client.list_artifacts(tracked["assimilation"].info.run_id)}
    assert "results.parquet" in names
