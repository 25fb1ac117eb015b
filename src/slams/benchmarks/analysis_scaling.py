"""Cost of guidance against reports, grid, members and archive days, with fitted exponents.

Each case is a synthetic one of `slams.benchmarks.analysis_case`, solved in a fresh process, one
after the other. The seconds of a case are those of its preparation and of all noise levels of the
recipe, without the networks; its memory is what the process holds beyond the program.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from slams.benchmarks.analysis_case import CaseCost, CaseSize
from slams.benchmarks.recipes import AnalysisScalingConfig, parse_plane
from slams.config.schema import Config
from slams.errors import UserError
from slams.runtime.ranks import say

__all__ = ["analysis_table", "exponents", "run_case"]

# Reports from which on the exponent is fitted: below, fixed costs count.
_FIT_FROM = 2000
# What is varied, the column with it, and the analyses that are fitted.
_VARIED = {
    "reports": "reports",
    "grid": "cells",
    "members": "members",
    "days": "days",
    "silent": "silent",
}


def analysis_table(
    recipe: Config,
    config: AnalysisScalingConfig,
    run: Callable[[CaseSize], CaseCost] | None = None,
) -> pd.DataFrame:
    """Time the guidance of cases of several sizes.

    Args:
        recipe: The recipe that sizes are taken from where they are not varied.
        config: The sizes.
        run: Function that solves a case; by default `run_case`.

    Returns:
        Columns varied, analysis, reports, points (after averaging), rows, columns, cells, members,
        days, silent (0 or 1), setup_seconds, level_seconds, case_seconds, member_seconds,
        memory_mb, peak_mb, seam.
    """
    rows = []
    for varied, size in _sizes(recipe, config):
        cost = (run or run_case)(size)
        seconds = cost.setup_seconds + recipe.assimilation.sampler.steps * cost.level_seconds
        memory = (cost.peak_bytes - cost.program_bytes) / 1e6
        rows.append(
            {
                "varied": varied,
                "analysis": size.analysis,
                "reports": size.reports,
                "points": cost.points,
                "rows": size.rows,
                "columns": size.columns,
                "cells": size.rows * size.columns,
                "members": size.members,
                "days": size.days,
                "silent": int(size.silent),
                "setup_seconds": cost.setup_seconds,
                "level_seconds": cost.level_seconds,
                "case_seconds": seconds,
                "member_seconds": seconds / size.members,
                "memory_mb": memory,
                "peak_mb": cost.peak_bytes / 1e6,
                "seam": cost.seam,
            }
        )
        say(
            f"{varied}: {size.analysis}, {size.reports} reports, {size.rows} x {size.columns}, "
            f"{size.members} members, {size.days} days{', all silent' if size.silent else ''}: "
            f"{seconds:.1f} s per case, {memory:.0f} MB"
        )
    return pd.DataFrame(rows)


def exponents(table: pd.DataFrame) -> pd.DataFrame:
    """Fit powers of what is varied to time and memory.

    Args:
        table: Result of `analysis_table`.

    Returns:
        Columns varied, analysis, lowest and highest value, exponents of seconds and memory; that
        of reports from 2,000 on, where there are at least two such numbers.
    """
    rows = []
    for (varied, analysis), own in table.groupby(["varied", "analysis"], sort=False):
        column = _VARIED[str(varied)]
        if varied == "reports" and (own["reports"] >= _FIT_FROM).sum() > 1:
            own = own[own["reports"] >= _FIT_FROM]
        if varied == "silent" or own[column].nunique() < 2:
            continue
        x = np.log(own[column])
        slopes = [np.polyfit(x, np.log(own[y]), 1)[0] for y in ("case_seconds", "memory_mb")]
        rows.append((varied, analysis, own[column].min(), own[column].max(), *slopes))
    names = ["varied", "analysis", "lowest", "highest", "seconds_exponent", "memory_exponent"]
    return pd.DataFrame(rows, columns=names)


def run_case(size: CaseSize) -> CaseCost:
    """Solve a case in a process of its own.

    Args:
        size: Its size.

    Raises:
        UserError: The process failed, for example for lack of memory.
    """
    command = [sys.executable, "-m", "slams.benchmarks.analysis_case", json.dumps(asdict(size))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        reason = lines[-1] if lines else f"ended by signal {-done.returncode}"
        raise UserError(f"{size.analysis} analysis of {size.reports} reports: {reason}")
    return CaseCost(**json.loads(done.stdout))


def _sizes(recipe: Config, config: AnalysisScalingConfig) -> Iterator[tuple[str, CaseSize]]:
    """Yield what is varied, and the size of a case."""
    settings = recipe.assimilation
    rows, columns = parse_plane(config.grids[0])
    size = CaseSize(
        reports=config.fixed_reports,
        rows=rows,
        columns=columns,
        factor=recipe.vae.factor,
        fields=recipe.vae.latent_channels * recipe.data.window,
        members=settings.members,
        days=settings.guidance.archive,
        levels=config.levels,
        half_width_km=settings.guidance.localisation,
        spacing_km=settings.local.spacing,
        limit=settings.local.observations,
        threads=config.threads,
        seed=recipe.seed,
    )
    for reports in config.reports:
        largest = {"dense": config.dense, "local_unselected": config.unselected}
        for analysis in ("dense", "local_unselected", "local", "local_superob"):
            if reports <= largest.get(analysis, reports):
                yield "reports", replace(size, analysis=analysis, reports=reports)
    for text in sorted(config.grids, key=lambda grid: parse_plane(grid)):
        rows, columns = parse_plane(text)
        yield "grid", replace(size, rows=rows, columns=columns)
    for members in config.members:
        yield "members", replace(size, members=members)
    for days in config.days:
        yield "days", replace(size, days=days)
    for silent in (False, True):
        yield "silent", replace(size, silent=silent)
