"""MLflow's own page shows a sweep: nested runs, metrics, the report and the comparison."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from slams.config.loading import to_yaml
from slams.config.schema import AblationConfig, Config, TrackingConfig
from tests.e2e.browser import Browser, find_browser
from tests.stages.commands import slams
from tests.synthetic import tiny_recipe

pytestmark = pytest.mark.e2e

_START_SECONDS = 120


@dataclass(frozen=True)
class Page:
    """Holds the address of a running MLflow, and the runs that it should show."""

    url: str
    experiment: str
    sweep: str
    settings: dict[str, str]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    return find_browser(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def page(
    browser: Browser,
    tmp_path_factory: pytest.TempPathFactory,
    tiny_source: Path,
    tiny_prepared: Path,
) -> Iterator[Page]:
    """Assimilate and report, run a sweep of two settings, compare it, serve the store."""
    root = tmp_path_factory.mktemp("page")
    config = _sweep(tiny_recipe(root, tiny_source, store=str(tiny_prepared)))
    recipe = root / "sweep.yaml"
    recipe.write_text(to_yaml(config))
    assert slams(recipe, "assimilate") == 0
    assert slams(recipe, "ablate") == 0
    assert slams(recipe, "compare") == 0
    uri = f"sqlite:///{Path(config.runs).resolve()}/mlflow.db"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(config.experiment).experiment_id
    runs = client.search_runs([experiment])
    by_stage = {r.data.tags.get("setting", r.data.tags["stage"]): r.info.run_id for r in runs}
    sweep = by_stage.pop("sweep")
    with _served(uri, root) as url:
        yield Page(url, experiment, sweep, by_stage)


def _sweep(config: Config) -> Config:
    config.ablation = AblationConfig(name="stations", grid={"observations.stations.count": [5, 9]})
    config.tracking = TrackingConfig(system_metrics=False)
    config.assimilation.methods = ["climatology", "background", "optimal_interpolation"]
    config.assimilation.bootstrap_samples = 20
    config.trainer.accelerator = "cpu"
    return config


class _served:  # noqa: N801  used as a statement
    """Serves a store on a free port of this machine while the block runs."""

    def __init__(self, uri: str, directory: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
        self._command += ["--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"]
        self._log = directory / "server.log"

    def __enter__(self) -> str:
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        url = f"http://127.0.0.1:{self._port}"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).read()
                return url
            except (urllib.error.URLError, OSError):
                assert self._process.poll() is None, self._log.read_text()
                time.sleep(0.5)
        raise AssertionError(f"no answer from {url}: {self._log.read_text()}")

    def __exit__(self, *error: object) -> None:
        # Its workers wait for requests that are still open; none is.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def test_the_experiment_lists_the_sweep_with_its_settings_below(
    page: Page, browser: Browser, tmp_path: Path
) -> None:
    url = f"{page.url}/#/experiments/{page.experiment}/runs"
    text = browser.text(url)
    browser.picture(url, tmp_path / "experiment.png")
    assert "tiny/stations" in text
    assert (tmp_path / "experiment.png").stat().st_size > 20_000
    # Nested runs are folded below their parent: counted, and not listed beside it.
    assert re.search(r"4\D{0,40}matching runs", re.sub(r"<[^>]*>", "", text))
    assert "assimilation-count_5" not in text
    assert "tiny/assimilation<" in text


def test_a_setting_names_its_parent_and_shows_its_metrics(page: Page, browser: Browser) -> None:
    run_id = page.settings["count_5"]
    text = browser.text(f"{page.url}/#/experiments/{page.experiment}/runs/{run_id}")
    assert "assimilation-count_5" in text
    assert "tiny/stations" in text  # the link to the parent run
    assert "optimal_interpolation/crps/temperature/mean" in text


def test_the_view_of_the_scores_shows_them_as_columns(
    page: Page, browser: Browser, tmp_path: Path
) -> None:
    runs = f"{page.url}/#/experiments/{page.experiment}/runs"
    assert "T_rmse" not in browser.text(runs)  # if it is by now, docs/tracking.md says too much
    text = browser.text(f"{runs}?viewStateShareKey=slams-scores")
    browser.picture(f"{runs}?viewStateShareKey=slams-scores", tmp_path / "scores.png")
    for column in ("T_rmse", "T_rmse_background"):  # the page builds those that fit its width
        assert f">{column}<" in text


def test_the_comparison_is_among_the_artifacts_of_the_sweep(
    page: Page, browser: Browser, tmp_path: Path
) -> None:
    url = f"{page.url}/#/experiments/{page.experiment}/runs/{page.sweep}/artifacts"
    text = browser.text(url)
    browser.picture(url, tmp_path / "artifacts.png")
    assert "comparison" in text


def test_the_report_is_among_the_artifacts_of_an_assimilation(
    page: Page, browser: Browser, tmp_path: Path
) -> None:
    run_id = page.settings["default"]
    url = f"{page.url}/#/experiments/{page.experiment}/runs/{run_id}/artifacts"
    text = browser.text(f"{url}/report/index.html", milliseconds=30_000)
    browser.picture(f"{url}/report/index.html", tmp_path / "report.png", milliseconds=30_000)
    assert "report" in text
    assert "index.html" in text
