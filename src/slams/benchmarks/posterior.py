"""`slams bench posterior`: the calibration of every guidance with every sampler.

Writes `gaussian.csv` (one row per guidance, sampler, problem and observation error),
`units.csv` (one row per guidance, noise levels and observation error, for instruments of different
units), `mixture.csv` (one row per guidance) and `posterior.png`, and prints the tables.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple
from pathlib import Path

import pandas as pd
from rich.table import Table

from slams.benchmarks.figures import draw_calibration
from slams.benchmarks.gaussian import (
    UNITS,
    GaussianProblem,
    calibrate,
    dense_problem,
    linear_decoder_problem,
    mixed_units_problem,
)
from slams.benchmarks.guided import MEAN_BAND, MEMBERS, SD_BAND
from slams.benchmarks.mixture import mixture_problem, modes_of
from slams.diffusion.sampling import DivergedError
from slams.diffusion.settings import SamplerSettings
from slams.runtime.console import make_table
from slams.runtime.output import make_output, publish

__all__ = ["bench_posterior", "gaussian_table", "mixture_table", "units_table"]

# `none` samples the prior: the result of the sampler without any guidance.
GUIDANCE = ("none", "decg", "mmps", "sda", "dps", "pgdm")
SAMPLERS = ("adams_bashforth", "heun", "ddim", "ancestral", "predictor_corrector")
PROBLEMS: tuple[Callable[[float], GaussianProblem], ...] = (dense_problem, linear_decoder_problem)
# Standard deviations of the observation error; the prior's are about one.
ERRORS = (0.1, 0.5)

# Instruments of different units. Guidance with the iterations of its solver (0: it has none): the
# default of three, and ten, beyond which more make no difference.
UNIT_GUIDANCE = (("decg", 0), ("mmps", 3), ("mmps", 10))
# Number of noise levels and the first of them: the default, and enough of both that the error of
# the sampler itself is negligible (it starts from a mean of 0, whatever the prior's is).
UNIT_LEVELS = ((16, 60.0), (24, 200.0))
# With this number of members the Monte-Carlo error of a mean is 0.01 standard deviations, half of
# the usual bands.
UNIT_MEMBERS = 10_000
UNIT_MEAN_BAND, UNIT_SD_BAND = 0.03, 0.02
_MEASURES = ["mean_error", "sd_observed", "sd_unobserved"]


def gaussian_table(
    guidance: Iterable[str] = GUIDANCE,
    samplers: Iterable[str] = SAMPLERS,
    members: int = MEMBERS,
) -> pd.DataFrame:
    """Calibrate guidance and samplers, with default parameters, on the Gaussian problems.

    Args:
        guidance: Kinds of guidance.
        samplers: Kinds of samplers.
        members: Size of each ensemble.

    Returns:
        Columns guidance, sampler, problem, error, mean_error, sd_observed, sd_unobserved (both
        over the posterior's), diverged, seconds. Numbers are missing where members diverged
        every time they were drawn.
    """
    rows = []
    for kind, sampler, problem, error in itertools.product(guidance, samplers, PROBLEMS, ERRORS):
        known = problem(error)
        found, seconds = _calibrate(known, kind, SamplerSettings(kind=sampler), members)
        rows.append((kind, sampler, known.name, error, *found, seconds))
    columns = ["guidance", "sampler", "problem", "error", *_MEASURES, "diverged", "seconds"]
    return pd.DataFrame(rows, columns=columns)


def units_table(members: int = UNIT_MEMBERS) -> pd.DataFrame:
    """Calibrate guidance where three instruments report in units of `slams.benchmarks.gaussian`.

    Args:
        members: Size of each ensemble.

    Returns:
        Columns guidance, iterations (0 where there is no solver), levels, sigma_max, error,
        mean_error, sd_observed, sd_unobserved (both over the posterior's), seconds.
    """
    rows = []
    for (steps, sigma_max), (kind, iterations), error in itertools.product(
        UNIT_LEVELS, UNIT_GUIDANCE, ERRORS
    ):
        sampler = SamplerSettings(steps=steps, sigma_max=sigma_max)
        known = mixed_units_problem(error)
        (*found, _), seconds = _calibrate(known, kind, sampler, members, iterations or None)
        rows.append((kind, iterations, steps, sigma_max, error, *found, seconds))
    columns = ["guidance", "iterations", "levels", "sigma_max", "error", *_MEASURES, "seconds"]
    return pd.DataFrame(rows, columns=columns)


def _calibrate(
    known: GaussianProblem,
    kind: str,
    sampler: SamplerSettings,
    members: int,
    iterations: int | None = None,
) -> tuple[tuple[float, float, float, int], float]:
    """Return the measures, the number of members that diverged, and the seconds it took."""
    begun = time.perf_counter()
    try:
        found = astuple(calibrate(known, kind, sampler, members, iterations))
    except DivergedError:
        found = (math.nan, math.nan, math.nan, members)
    return found, round(time.perf_counter() - begun, 2)


def mixture_table(members: int = MEMBERS) -> pd.DataFrame:
    """Measure the modes of every guidance with the default sampler on the mixture.

    Args:
        members: Size of each ensemble.

    Returns:
        Columns guidance, weight (of the first mode), mean_error_1, mean_error_2, sd_1, sd_2
        (over the posterior's); the row `posterior` is the closed form, `exact` its own denoiser.
    """
    problem = mixture_problem()
    rows = [("posterior", float(problem.posterior[0][0]), 0.0, 0.0, 1.0, 1.0)]
    for kind in ("exact", *GUIDANCE[1:]):
        found = modes_of(problem, kind, SamplerSettings(), members)
        rows.append((kind, found.weight, *found.mean_error, *found.sd_ratio))
    return pd.DataFrame(
        rows, columns=["guidance", "weight", "mean_error_1", "mean_error_2", "sd_1", "sd_2"]
    )


def bench_posterior(
    output: Path, members: int = MEMBERS, unit_members: int = UNIT_MEMBERS
) -> None:
    """Run all benchmarks, print their tables, and write the tables and a figure.

    Args:
        output: Directory, made where it is missing.
        members: Size of each ensemble.
        unit_members: The same for mixed units.

    Raises:
        UserError: The output is not a directory.
    """
    make_output(output)
    cells = len(GUIDANCE) * len(SAMPLERS) * len(PROBLEMS) * len(ERRORS)
    print(f"sampling {cells} posteriors, {members} members each", flush=True)
    gaussian = gaussian_table(members=members)
    units = units_table(unit_members)
    mixture = mixture_table(members)
    draw_calibration(gaussian, output / "posterior.png")
    tables = {"gaussian": gaussian, "units": units, "mixture": mixture}
    pages = (_gaussian_page(gaussian, members), _units_page(units, unit_members))
    publish(output, tables, *pages, _mixture_page(mixture), number_format="%.4f")


def _gaussian_page(table: pd.DataFrame, members: int) -> Table:
    cells = table[["problem", "error"]].drop_duplicates()
    problems = [f"{name}\nR = {error:g}²" for name, error in cells.itertuples(index=False)]
    return make_table(
        f"Gaussian posterior, {members} samples, {SamplerSettings().steps} noise levels",
        ("guidance", "sampler", *problems),
        (
            (kind, sampler.replace("_", " "), *_cells(rows, MEAN_BAND, SD_BAND, 2))
            for (kind, sampler), rows in table.groupby(["guidance", "sampler"], sort=False)
        ),
        "error of the mean in posterior sd, ensemble over posterior sd on observed and on "
        f"unobserved fields; green: the mean within {MEAN_BAND}, both ratios within {SD_BAND:.0%}",
        texts=2,
    )


def _cells(rows: pd.DataFrame, mean_band: float, sd_band: float, digits: int) -> Iterator[str]:
    """Format the measures of each row; green where they are within the bands."""
    for row in rows.itertuples():
        if math.isnan(row.mean_error):
            yield "diverged"
            continue
        ratios = (row.sd_observed, row.sd_unobserved)
        text = " ".join([f"{row.mean_error:.3f}", *(f"{ratio:.{digits}f}" for ratio in ratios)])
        if getattr(row, "diverged", 0):
            text += f" ({row.diverged} diverged)"
        good = row.mean_error < mean_band and max(abs(ratio - 1) for ratio in ratios) < sd_band
        yield f"[green]{text}[/green]" if good else text


def _units_page(table: pd.DataFrame, members: int) -> Table:
    keys = ["guidance", "iterations", "levels", "sigma_max"]
    found = []
    for (kind, iterations, levels, sigma_max), rows in table.groupby(keys, sort=False):
        cells = _cells(rows, UNIT_MEAN_BAND, UNIT_SD_BAND, 3)
        found.append((kind, iterations or "none", f"{levels} from {sigma_max:g}", *cells))
    return make_table(
        f"Observations in units of {', '.join(f'{unit:g}' for unit in UNITS)}, {members} samples, "
        "adams bashforth",
        ("guidance", "iterations", "noise levels", *(f"R = {error:g}²" for error in ERRORS)),
        found,
        "error of the mean in posterior sd, root mean square over the fields; ensemble over "
        "posterior sd on observed and on unobserved fields; green: the mean within "
        f"{UNIT_MEAN_BAND:g}, both ratios within {UNIT_SD_BAND:.0%}",
        texts=3,
    )


def _mixture_page(table: pd.DataFrame) -> Table:
    return make_table(
        "Mixture of two modes, adams bashforth",
        ("guidance", "weight", "mean 1", "mean 2", "sd 1", "sd 2"),
        (
            (kind, *(f"{number:.3f}" for number in numbers))
            for kind, *numbers in table.itertuples(index=False)
        ),
        "weight of the first mode; per mode, as above",
    )
