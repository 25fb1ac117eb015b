"""The report as a whole: it is complete, self-contained, true to the tables, and never crashes."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from slams.config.schema import ReportConfig
from slams.errors import UserError
from slams.report import write_report
from slams.report.maps import temperature_maps
from slams.report.reading import read_assimilation
from tests.report.synthetic import Runs, small_world, write_assimilation

OPTIONS = ReportConfig(case=1, level=850, dpi=50)
SECTIONS = [
    "methods",
    "modalities",
    "maps",
    "other-maps",
    "station-profiles",
    "cross-section",
    "profiles",
    "regions",
    "ranks",
    "spread-error",
    "spectra",
    "dates",
    "innovations",
    "consistency",
    "held-out",
    "observation-ranks",
    "reconstruction",
    "training",
    "settings",
    "limits",
    "provenance",
]


class Page(HTMLParser):
    """Collects what the tests ask of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.images: list[str] = []
        self.tags: set[str] = set()
        self.tables: dict[str, list[list[float]]] = {}
        self._table: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        if tag == "section":
            self.sections.append(values["id"])
        elif tag == "a":
            self.links.append(values["href"])
        elif tag == "table":
            self._table = values.get("id")
            self.tables.setdefault(self._table, [])
        elif tag == "tr" and self._table:
            self.tables[self._table].append([])
        elif tag == "td" and self._table:
            value = values.get("data-value")
            self.tables[self._table][-1].append(float("nan") if value is None else float(value))
        for name in ("src", "srcset", "poster", "data"):
            if name in values:
                self.loads.append(values[name])
        if tag == "link":
            self.loads.append(values.get("href"))
        if tag == "img":
            assert values["alt"]
            self.images.append(values["src"])


@pytest.fixture(scope="module")
def index(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("out") / "report"
    return write_report(runs.assimilation, runs.vae, runs.score, output=output, options=OPTIONS)


@pytest.fixture(scope="module")
def page(index: Path) -> Page:
    return Page(index.read_text(encoding="utf-8"))


def bare(path: Path, runs: Runs, *keep: str) -> Path:
    """Copy some files of the default setting, and nothing else."""
    path.mkdir()
    for name in keep:
        source = runs.assimilation[0] / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, path / name)
    return path


def visible(index: Path) -> str:
    text = re.sub(r"data:image/png;base64,[^\"]*", "", index.read_text(encoding="utf-8"))
    text = re.sub(r"<style>.*?</style>", "", text, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))


def test_every_section_is_there_and_linked_once(page: Page) -> None:
    assert page.sections == SECTIONS
    assert page.links == [f"#{anchor}" for anchor in SECTIONS]


def test_nothing_is_loaded_from_elsewhere(index: Path, page: Page) -> None:
    text = index.read_text(encoding="utf-8")
    assert page.loads
    assert all(load.startswith("data:image/png;base64,") for load in page.loads)
    assert not page.tags & {"script", "link", "iframe", "object", "embed"}
    assert not re.search(r"https?://|@import|url\(|src=\"//", text)
    assert '<meta name="viewport" content="width=device-width' in text


def test_figures_beside_the_page_are_those_in_it(index: Path, page: Page) -> None:
    files = list((index.parent / "figures").glob("*.png"))
    assert len(files) == len(page.images) == len(set(page.images)) > 30
    for file in [*files, index.parent / "summary.png"]:
        assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_table_of_methods_holds_the_numbers_of_the_parquet(runs: Runs, page: Page) -> None:
    results = pd.read_parquet(runs.assimilation[0] / "results.parquet")
    rows = [row for row in page.tables["table-methods"] if row]
    methods = ["climatology", "background", "optimal_interpolation", "latent_diffusion"]
    metrics = ["rmse", "crps", "bias", "spread_skill", "rank_chi2", "wasserstein"]
    for method, row in zip(methods, rows, strict=True):
        own = results[(results["method"] == method) & results["variable"].eq("temperature")]
        mean = own[own["level"] == "mean"].set_index("metric")["value"]
        assert row[:6] == [mean[metric] for metric in metrics]
        assert row[6:] == [0.0, 0.4]


def test_level_tables_hold_the_numbers_of_the_parquet(runs: Runs, page: Page) -> None:
    results = pd.read_parquet(runs.assimilation[0] / "results.parquet")
    for metric in ("rmse", "crps", "bias", "spread_skill"):
        own = results[(results["metric"] == metric) & results["variable"].eq("temperature")]
        table = own.pivot_table(index="level", columns="method", values="value")
        expected = table.loc[
            ["30", "200", "500", "850", "925"],
            ["climatology", "background", "optimal_interpolation", "latent_diffusion"],
        ]
        found = [row for row in page.tables[f"table-levels-{metric}"] if row]
        assert np.array_equal(found, expected.to_numpy())


def test_sentences_follow_from_the_tables(runs: Runs, index: Path) -> None:
    cases = pd.read_parquet(runs.assimilation[0] / "cases.parquet")
    mse = cases[(cases["statistic"] == "mse") & cases["variable"].eq("temperature")]
    rmse = np.sqrt(mse.groupby(["method", "level"])["value"].mean()).groupby("method").mean()
    below = 100 * (1 - rmse["latent_diffusion"] / rmse["background"])
    text = visible(index)
    found = re.search(
        r"The RMSE of latent diffusion is ([\d.]+) % below that of the background \(95 % interval "
        r"([\d.]+) to ([\d.]+) %\), smaller on 8 of 8 dates",
        text,
    )
    assert float(found[1]) == pytest.approx(below, abs=0.5)
    assert float(found[2]) <= float(found[1]) <= float(found[3])
    gained = re.search(
        r"With stations and satellite, the RMSE of latent diffusion is ([\d.]+)", text
    )
    assert float(gained[1]) == pytest.approx(100 * (1 - 1 / 1.3), abs=0.1)


def test_limits_name_the_twin_experiment_and_never_claim_more(index: Path) -> None:
    text = visible(index)
    for phrase in (
        "twin experiment (OSSE)",
        "SPEEDY",
        "never ERA5",
        "not cycled",
        "climatological prior",
        "only 8 verifying dates",
    ):
        assert phrase in text
    assert "Domain shift" not in text


def test_limits_of_a_cycled_run_say_what_its_background_is(runs: Runs, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs.assimilation[0], run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["assimilation"]["cycle_days"] = 60
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    text = visible(write_report([run], output=tmp_path / "report", options=OPTIONS))
    assert "own analysis of the day before" in text
    assert "not cycled" not in text


def test_borrowed_statistics_are_called_a_domain_shift(
    tmp_path: Path,
) -> None:
    run = write_assimilation(
        tmp_path / "run",
        small_world(3),
        keep=0,
        source="noaa_psl",
        statistics_from="stores/demo.zarr",
    )
    text = visible(write_report([run], output=tmp_path / "report", options=OPTIONS))
    assert "Domain shift: climatology, standard deviations and persistence come from" in text
    assert "stores/demo.zarr" in text
    assert "twin experiment" not in text
    assert "Only one setting of observations was run" in text


def test_each_missing_file_is_a_sentence(runs: Runs, tmp_path: Path) -> None:
    run = bare(tmp_path / "run", runs)
    index = write_report([run], tmp_path / "vae", output=tmp_path / "report", options=OPTIONS)
    text = visible(index)
    for name in (
        "results.parquet",
        "cases.parquet",
        "rank_histogram.parquet",
        "observations.parquet",
        "observation_space.parquet",
        "observation_ranks.parquet",
        "regions.parquet",
        "spectra.parquet",
        "analysis.zarr",
        "config.yaml",
        "run.json",
    ):
        assert f"{name} is not in" in text
    assert f"{tmp_path / 'vae'} does not exist" in text
    page = Page(index.read_text(encoding="utf-8"))
    assert page.images == []
    assert page.sections == [s for s in SECTIONS if s != "other-maps"] + ["missing"]
    assert not (tmp_path / "report" / "summary.png").exists()


@pytest.mark.parametrize("absent", ["results.parquet", "cases.parquet", "config.yaml"])
def test_one_missing_file_leaves_the_rest(runs: Runs, tmp_path: Path, absent: str) -> None:
    names = {path.name for path in runs.assimilation[0].iterdir()} - {absent, "analysis.zarr"}
    run = bare(tmp_path / "run", runs, *names)
    index = write_report([run], output=tmp_path / "report", options=ReportConfig(dpi=30))
    assert f"{absent} is not in" in visible(index)
    assert len(Page(index.read_text(encoding="utf-8")).images) >= 6


def test_broken_files_are_sentences_too(runs: Runs, tmp_path: Path) -> None:
    run = bare(tmp_path / "run", runs, "config.yaml", "stations.csv")
    (run / "results.parquet").write_bytes(b"PAR1 torn")
    pd.DataFrame({"method": ["x"]}).to_parquet(run / "cases.parquet")
    (run / "run.json").write_text('{"id": ')
    text = visible(write_report([run], output=tmp_path / "report", options=OPTIONS))
    assert "results.parquet cannot be read" in text
    assert "cases.parquet lacks the columns case, date" in text
    assert "run.json cannot be read" in text


def test_refuses_when_there_is_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no assimilation run to report on; expected"):
        write_report([tmp_path / "nowhere"], output=tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_case_or_level_that_was_not_kept_is_said(runs: Runs) -> None:
    run = read_assimilation(runs.assimilation[0])
    section = temperature_maps(run, ReportConfig(case=9, level=700, dpi=30))
    assert section.missing == [
        "report.case is 9, but analysis.zarr keeps 3 cases; case 2 is shown.",
        "report.level is 700 hPa, which is not among 925, 850, 500, 200, 30 hPa; 850 hPa is "
        "shown.",
    ]
    assert section.title == "Maps of temperature at 850 hPa on 1984-01-17"


def test_text_from_files_is_escaped(runs: Runs, tmp_path: Path) -> None:
    run = bare(tmp_path / "run", runs, "results.parquet")
    config = {"experiment": "<script>alert(1)</script>", "observations": {"use": []}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    index = write_report([run], output=tmp_path / "report", options=OPTIONS)
    assert "script" not in Page(index.read_text(encoding="utf-8")).tags


def test_writing_twice_gives_the_same_bytes(runs: Runs, tmp_path: Path) -> None:
    run = bare(tmp_path / "run", runs, "results.parquet", "config.yaml", "run.json")
    pages = [
        write_report([run], output=tmp_path / "report", options=OPTIONS).read_bytes()
        for _ in range(2)
    ]
    assert pages[0] == pages[1]
