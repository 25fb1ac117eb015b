"""`slams bench scaling`: cost of guidance on synthetic cases, its exponents, and its seams."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slams.benchmarks.analysis_case import (
    ANALYSES,
    CaseCost,
    CaseSize,
    seam_ratio,
    solve_case,
    synthetic_case,
)
from slams.benchmarks.analysis_scaling import analysis_table, exponents, run_case
from slams.benchmarks.figures import draw_analysis
from slams.benchmarks.recipes import AnalysisScalingConfig
from slams.config.schema import Config
from slams.errors import UserError
from slams.grid import LatLonGrid
from slams.linalg.domains import Domains

TINY = CaseSize(reports=60, rows=16, columns=32, fields=2, members=2, days=20, levels=2)
CONFIG = AnalysisScalingConfig(
    reports=[1000, 2000, 8000], dense=2000, unselected=1000, grids=["12x24", "6x12"], days=[10, 40]
)


def cost_of(size: CaseSize) -> CaseCost:
    """Return a cost that grows as known powers of the size."""
    seconds = size.reports**1.5 * size.members * (size.rows * size.columns) / 1e6
    memory = 10**6 * size.reports * size.days
    return CaseCost(size.reports, 0.0, seconds, 10**9, 10**9 + memory, 1.0)


def test_sizes_are_those_of_the_recipe_and_exponents_are_fitted(tmp_path: Path) -> None:
    recipe = Config()
    table = analysis_table(recipe, CONFIG, cost_of)
    varied = table[table.varied == "reports"]
    assert list(varied.analysis) == [
        *ANALYSES,
        *(a for a in ANALYSES if a != "local_unselected"),
        "archive",
        "local",
        "local_superob",
    ]
    assert set(varied.days) == {recipe.assimilation.guidance.archive}
    assert set(varied.rows) == {12}
    assert list(table[table.varied == "grid"].cells) == [72, 288]
    assert list(table[table.varied == "silent"].silent) == [0, 1]
    first = table.iloc[0]
    assert first.member_seconds * first.members == pytest.approx(first.case_seconds)
    assert first.case_seconds == pytest.approx(
        recipe.assimilation.sampler.steps * first.level_seconds
    )
    found = exponents(table).set_index(["varied", "analysis"])
    assert ("reports", "dense") in found.index
    local = found.loc["reports", "local"]
    assert (local.lowest, local.highest) == (2000, 8000)
    assert local.seconds_exponent == pytest.approx(1.5)
    assert local.memory_exponent == pytest.approx(1)
    assert found.loc[("grid", "local"), "seconds_exponent"] == pytest.approx(1)
    assert found.loc[("members", "local"), "seconds_exponent"] == pytest.approx(1)
    assert found.loc[("days", "local"), "memory_exponent"] == pytest.approx(1)
    draw_analysis(table, tmp_path / "analysis.png")
    assert (tmp_path / "analysis.png").stat().st_size > 10_000


def test_a_case_in_its_own_process_costs_time_and_memory() -> None:
    found = run_case(TINY)
    assert found.points == 60
    assert found.level_seconds > 0
    assert found.peak_bytes > found.program_bytes > 10**8
    with pytest.raises(UserError, match=r"^local analysis of 60 reports: .*half-width"):
        run_case(replace(TINY, half_width_km=-1.0))


def test_the_archive_is_centred_smooth_and_seen_by_the_observations() -> None:
    latent = LatLonGrid(90 - 180 * (torch.arange(16) + 0.5) / 16, 360 / 32 * torch.arange(32))
    case = synthetic_case(replace(TINY, days=200, reports=90), latent)
    assert case.anomalies.shape == (200, 2, 512)
    assert float(case.anomalies.mean(dim=0).abs().max()) < 1e-5
    fields = case.anomalies.unflatten(-1, latent.shape)
    along = (fields * fields.roll(1, -1)).mean() / fields.square().mean()
    assert along > 0.6
    place = case.observed
    assert torch.equal(place.latitude[0::3][:30], place.latitude[1::3][:30])  # of one station
    here = latent.cell(place.latitude, place.longitude)
    seen = case.anomalies[:, :, here]  # (n, K, P)
    related = (seen * case.images[:, None]).mean(dim=0).abs().amax(dim=0)
    assert float(related.mean()) > 0.2


def test_averaged_reports_are_fewer() -> None:
    dense = replace(TINY, reports=3000)
    assert solve_case(replace(dense, analysis="local_superob")).points < 1500
    assert math.isnan(solve_case(replace(TINY, analysis="dense")).seam)


def test_a_step_at_the_borders_is_a_seam() -> None:
    grid = LatLonGrid(90 - 180 * (torch.arange(24) + 0.5) / 24, 360 / 48 * torch.arange(48))
    domains = Domains.cover(grid, 3000.0)
    rough = torch.randn(4, 8, *grid.shape, generator=torch.Generator().manual_seed(0))
    assert seam_ratio(rough, domains) == pytest.approx(1, abs=0.05)
    step = torch.zeros(grid.shape).flatten()
    for number, (points, shares) in enumerate(zip(domains.points, domains.shares, strict=True)):
        step[points[shares > 0.5]] = float(number % 7)
    assert seam_ratio(rough + step.reshape(grid.shape), domains) > 1.3
