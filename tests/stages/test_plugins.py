"""A package of somebody else brings an operator and a method, and nothing of ours changes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

import slams as package
from slams.bundles.files import Bundle
from slams.errors import UserError
from tests.stages.commands import copy_stages, slams, subprocess_slams
from tests.stages.conftest import Study

# What an installer of Python packages puts beside the modules.
METADATA = "Metadata-Version: 2.1\nName: observatory\nVersion: 1.0\n"
ENTRY_POINTS = """
[slams.operators]
sounder = observatory.sounder:Sounder

[slams.methods]
nudging = observatory.nudging:Nudging
"""
SOUNDER = '''
"""A sounder: weighted means over levels at the grid points nearest to its sites."""

import torch

from slams.observations.operator import LinearOperator
from slams.plugins import OperatorSpec


class Sounder(LinearOperator):
    variable = "temperature"

    def __init__(self, grid, channels, latitude, longitude, levels, weights):
        self.latitude, self.longitude, self.units = latitude, longitude, "K"
        names = [c.name for c in channels]
        self.shape = (len(names), *grid.shape)
        self.point = grid.distance(latitude, longitude, *grid.points).argmin(dim=1)
        self.weight = torch.zeros(len(names), dtype=torch.float64)
        for level, weight in zip(levels, weights, strict=True):
            self.weight[names.index(f"temperature@{level}")] = weight / sum(weights)

    def linear(self, state):
        columns = state.flatten(-2)[..., self.point]
        return (columns * self.weight.to(state)[:, None]).sum(dim=-2)

    def adjoint(self, values):
        plane = values.new_zeros(*values.shape[:-1], self.shape[1] * self.shape[2])
        plane = plane.index_add(-1, self.point, values).unflatten(-1, self.shape[1:])
        return plane.unsqueeze(-3) * self.weight.to(values)[:, None, None]


def build(request):
    options = request.take(levels=list, weights=list)
    return Sounder(request.grid, request.channels, request.latitude, request.longitude, **options)


Sounder.spec = OperatorSpec("sounder", build)
'''
NUDGING = '''
"""Nudging: the background, drawn to the observations by a share of the innovation."""

from slams.assimilators.case_by_case import CaseAnalysis, CaseByCase
from slams.observations.stacked import stack_observations
from slams.plugins import MethodSpec


class Nudging(CaseByCase):
    name = "nudging"

    def __init__(self, normaliser, grid, seed, strength=0.5):
        super().__init__(normaliser, grid, seed)
        self.strength = strength

    def analyse_case(self, batch, members):
        background = self.background_of(batch).mean[0]
        observations = stack_observations(batch, 0)
        physical = (background * self.normaliser.sd + batch.climatology[0])[None]
        innovation = observations.values - observations.apply(physical)[0]
        pull = background.new_zeros(batch.climatology.shape[1:])
        first = 0
        for operator in observations.operators:
            last = first + len(operator)
            here = (observations.points >= first) & (observations.points < last)
            values = background.new_zeros(len(operator))
            values[observations.points[here] - first] = innovation[here]
            ones = background.new_zeros(len(operator))
            ones[observations.points[here] - first] = 1.0
            weight = operator.adjoint(ones[None])[0]
            pull += operator.adjoint(values[None])[0] / weight.clamp(min=1e-3)
            first = last
        analysis = background + self.strength * pull / self.normaliser.sd
        return CaseAnalysis(analysis.expand(members, -1, -1, -1, -1).clone())


def build(materials):
    settings = materials.settings_of("nudging")
    return Nudging(materials.normaliser, materials.grid, materials.seed, **settings)


Nudging.spec = MethodSpec("nudging", "nudging", build)
'''
INSTRUMENT = (
    "{{name: tovs, operator: {operator}, file: '{file}', sites: '{sites}', error: 0.5, "
    "options: {{levels: [850, 500], weights: [1, 3]}}}}"
)


def write_package(directory: Path, installed: bool) -> Path:
    root = directory / ("installed" if installed else "loose")
    (root / "observatory").mkdir(parents=True)
    for name, text in {"__init__": "", "sounder": SOUNDER, "nudging": NUDGING}.items():
        (root / "observatory" / f"{name}.py").write_text(text)
    if installed:
        info = root / "observatory-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(METADATA)
        (info / "entry_points.txt").write_text(ENTRY_POINTS)
    return root


def write_sites(path: Path) -> Path:
    rows = [f"S{i},{lat},{lon}" for i, (lat, lon) in enumerate(SITES)]
    path.write_text("\n".join(["id,latitude,longitude", *rows]) + "\n")
    return path


SITES = [(lat, lon) for lat in (-40.0, 0.0, 45.0) for lon in (10.0, 100.0, 190.0, 280.0)]


def run(study: Study, runs: Path, path: Path, *words: str) -> tuple[int, str]:
    """Run `slams assimilate` with a package on the path, as a user of that package does."""
    os.environ["PYTHONPATH"], before = str(path), os.environ.get("PYTHONPATH")
    try:
        process = subprocess_slams(study.recipe, "assimilate", f"runs={runs}", *words)
        said, _ = process.communicate(timeout=300)
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return process.returncode, said


@pytest.fixture(scope="module")
def drawn(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run of an installed package's operator and method, values drawn."""
    root = tmp_path_factory.mktemp("plugins")
    runs = copy_stages(finished.config, root / "runs", "vae", "score")
    instrument = INSTRUMENT.format(
        operator="sounder", file="", sites=write_sites(root / "sites.csv")
    )
    code, said = run(
        finished,
        runs,
        write_package(root, installed=True),
        "assimilation.methods=[background,optimal_interpolation,nudging]",
        "assimilation.options={nudging: {strength: 0.3}}",
        "assimilation.modality_study=0",
        "observations.use=[stations,tovs]",
        f"observations.instruments=[{instrument}]",
    )
    assert code == 0, said
    return runs / "tiny" / "assimilation"


def test_an_installed_package_is_seen_in_results_and_report(drawn: Path) -> None:
    results = pd.read_parquet(drawn / "results.parquet")
    assert "nudging" in set(results["method"])
    rmse = results.query("metric == 'rmse' and variable == 'temperature' and level == 'mean'")
    rmse = rmse.set_index("method")["value"]
    assert rmse["nudging"] != rmse["background"]
    space = pd.read_parquet(drawn / "observation_space.parquet")
    assert "tovs/temperature" in set(space["observation"])
    assert "nudging" in set(space[space["observation"] == "tovs/temperature"]["method"])
    page = (drawn / "report" / "index.html").read_text()
    assert "nudging" in page
    assert "tovs" in page
    assert "plugins: []" in (drawn / "config.yaml").read_text()


def statistic(run: Path, method: str, name: str) -> float:
    space = pd.read_parquet(run / "observation_space.parquet")
    rows = space.query("observation == 'tovs/temperature' and region == 'global'")
    rows = rows[(rows["method"] == method) & (rows["statistic"] == name)]
    return float(rows["value"].item())


def test_nudging_draws_the_analysis_to_the_sounder(drawn: Path) -> None:
    before = statistic(drawn, "nudging", "o_minus_b_sd")
    assert statistic(drawn, "nudging", "o_minus_a_sd") < 0.9 * before


def test_a_reference_reads_reports_from_a_file(
    finished: Study, drawn: Path, tmp_path: Path
) -> None:
    """By `module:Class` in overrides; the weighted means of the truth itself are the reports."""
    runs = copy_stages(finished.config, tmp_path / "runs", "vae", "score")
    truth = xr.open_zarr(drawn / "analysis.zarr", group="truth", consolidated=False)
    column = truth["temperature"].sel(level=[850, 500])
    weights = xr.DataArray([0.25, 0.75], dims="level", coords={"level": [850, 500]})
    mean = (column * weights).sum("level")
    rows = []
    for time in mean["time"].values:
        plane = mean.sel(time=time)
        for latitude, longitude in SITES:
            value = plane.sel(latitude=latitude, longitude=longitude, method="nearest")
            rows.append((time, latitude, longitude, float(value)))
    table = tmp_path / "reports.csv"
    columns = ["time", "latitude", "longitude", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(table, index=False)
    instrument = INSTRUMENT.format(operator="observatory.sounder:Sounder", file=table, sites="")
    words = (
        "assimilation.methods=[background,'observatory.nudging:Nudging']",
        "assimilation.modality_study=0",
        "observations.use=[tovs]",
        f"observations.instruments=[{instrument}]",
    )
    code, said = run(finished, runs, write_package(tmp_path, installed=False), *words)
    assert code == 0, said
    found = runs / "tiny" / "assimilation"
    assert statistic(found, "nudging", "o_minus_a_sd") < 0.8 * statistic(
        found, "nudging", "o_minus_b_sd"
    )
    recipe = (found / "config.yaml").read_text()
    assert "- observatory.nudging:Nudging" in recipe
    assert "- observatory.sounder:Sounder" in recipe
    assert "- nudging" in recipe
    assert "operator: sounder" in recipe


PLANTED = """
import pathlib
pathlib.Path({mark!r}).write_text("ran")
"""


@pytest.fixture
def planted(finished: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Return a run directory of a stranger whose recipe names code, and what that code leaves."""
    runs = copy_stages(finished.config, tmp_path / "runs", "vae", "score", "assimilation")
    mark = tmp_path / "ran"
    (tmp_path / "stranger.py").write_text(PLANTED.format(mark=str(mark)))
    monkeypatch.syspath_prepend(tmp_path)
    yield runs / "tiny" / "assimilation", mark
    sys.modules.pop("stranger", None)


@pytest.mark.parametrize(
    ("found", "put"),
    [
        ("plugins: []", "plugins: ['stranger:Anything']"),
        ("kind: decg", "kind: stranger:Anything"),
        ("kind: adams_bashforth", "kind: stranger:Anything"),
        ("  - optimal_interpolation\n", "  - stranger:Anything\n"),
        ("  - optimal_interpolation\n", "  - optimal_interpolation@stranger:Anything\n"),
        ("    kind: nature_run\n", "    kind: stranger:Anything\n"),
        ("experiment: tiny", "extends: elsewhere.yaml\nexperiment: tiny"),
    ],
)
def test_a_run_directory_of_a_stranger_starts_no_code(
    planted: tuple[Path, Path], found: str, put: str, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, mark = planted
    recipe = directory / "config.yaml"
    text = recipe.read_text()
    assert found in text
    changed = text.replace(found, put, 1)
    if "extends" in put:
        outside = directory.parents[2] / "outside"
        outside.mkdir()
        (outside / "elsewhere.yaml").write_text("plugins: ['stranger:Anything']")
        changed = changed.replace("extends: ", f"extends: {outside}/").replace("plugins: []\n", "")
    recipe.write_text(changed)
    bundled = directory / "model" / "config.yaml"
    bundled.write_text(changed)
    with pytest.raises(UserError, match=r"config\.yaml has changed since it was exported"):
        package.load(directory)
    Bundle.read_record(directory / "model").write(directory / "model")  # a stranger's checksums
    with pytest.raises(UserError, match="may not start code by itself"):
        package.load(directory)
    for verb in ("config validate", "assimilate", "report", "prepare"):
        assert slams(recipe, verb) == 2
        assert "--allow-plugin stranger:Anything" in capsys.readouterr().err
    assert not mark.exists()


def test_results_that_name_code_start_none(planted: tuple[Path, Path]) -> None:
    """Name in tables are never imported, whoever reads them."""
    directory, mark = planted
    for name in ("results", "cases"):
        table = pd.read_parquet(directory / f"{name}.parquet")
        table["method"] = table["method"].replace("optimal_interpolation", "stranger:Anything")
        table.to_parquet(directory / f"{name}.parquet")
    assert slams(directory, "compare") == 0
    assert not mark.exists()


def test_what_the_user_names_is_allowed(planted: tuple[Path, Path]) -> None:
    directory, mark = planted
    with pytest.raises(UserError, match="plugins: cannot import the plug-in 'stranger:Anything'"):
        package.load(directory, plugins=["stranger:Anything"])
    assert mark.read_text() == "ran"  # the user named it: it was imported, and brings nothing
