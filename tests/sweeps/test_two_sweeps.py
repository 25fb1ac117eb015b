"""Sweeps that start at the same moment on one tracking store that is not there yet."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from slams.config.loading import to_yaml
from slams.config.schema import AblationConfig, Config, TrackingConfig
from tests.stages.commands import subprocess_slams


@pytest.mark.slow
def test_no_run_and_no_metric_is_lost(tiny_config: Config, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    tiny_config.assimilation.methods = ["climatology", "background"]
    tiny_config.assimilation.bootstrap_samples = 20
    tiny_config.trainer.accelerator = "cpu"
    tiny_config.tracking = TrackingConfig(system_metrics=False)
    sweeps = {"first": [5, 6, 7], "second": [8, 9, 10]}
    started = []
    for name, counts in sweeps.items():
        grid = {"observations.stations.count": counts}
        tiny_config.ablation = AblationConfig(name=name, grid=grid)
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(to_yaml(tiny_config))
        started.append(subprocess_slams(recipe, "ablate"))
    for process in started:
        output, _ = process.communicate(timeout=400)
        assert process.returncode == 0, output
    client = MlflowClient(f"sqlite:///{(Path(tiny_config.runs) / 'mlflow.db').resolve()}")
    experiment = client.get_experiment_by_name(tiny_config.experiment).experiment_id
    runs = client.search_runs([experiment])
    assert len(runs) == 2 + 6
    assert {run.info.status for run in runs} == {"FINISHED"}
    parents = {
        r.data.tags["sweep"]: r.info.run_id for r in runs if r.data.tags["stage"] == "sweep"
    }
    for name, counts in sweeps.items():
        children = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parents[name]]
        assert {r.data.tags["setting"] for r in children} == {f"count_{n}" for n in counts}
        for run in children:
            results = pd.read_parquet(Path(run.data.tags["directory"]) / "results.parquet")
            for row in results[results.value.notna()].itertuples():
                key = f"{row.method}/{row.metric}/{row.variable}/{row.level}"
                assert run.data.metrics[key] == pytest.approx(row.value), key
