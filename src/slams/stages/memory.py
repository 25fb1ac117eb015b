"""What an assimilation will hold in memory: arithmetic on the numbers of a recipe and its store.

With windows of V = T C H W values, A days in the archive, N days in the store, n archive windows
in a season, F = T K h w latent values, L noise levels, S days with denoising errors, P of Q
observed points in use on a grid of G points, ensembles of M members (bytes)

    archive       2 C H W (A + A')             16-bit days, A' of the validation period
    first guesses 4 V per archive window       of each fitted one, and twice as much in their fit
    cache         4 N C H W                    fields of the store (data.cache=memory)
    season        2 x 4 V n (2 shifts + 1)     background errors of one case, and H's copy, as far
                                               as they are more than the denoising errors
    observations  (4 + 3 x 8) P^2 + 4 n P      matrices of the largest method's case, and images
    denoising     2 L S (F + Q) + 12 S (F + Q) errors of L measured levels, on disk; of one level
    residuals     2 V S' + 4 V n'              decoding errors of S' days; of a case's n' days
    forecast      of cycled filters: 16-bit days and Fourier coefficients of the training period,
                  errors, and four times the trajectories of the members
    past errors   3 x 4 V n' of n' windows     for the chi-square of O-B
    ensembles     4 V M per kept case and method; 5 of the batch that is scored

Where a case is analysed domain by domain (`slams.linalg.gain`), matrices are those of its D
domains of p observations: 4 D p^2 (up to 0.5 GB, which are kept for the next noise level) and a
bounded part of them in double precision. This module imports neither torch nor a store: `slams
config validate` prints its numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from slams.calendar.days import day_number
from slams.calendar.steps import steps_per_day
from slams.config.schema import Config
from slams.config.splits import Piece, split_pieces
from slams.runtime.memory import HostMemory, available_memory, resident_memory
from slams.stages.store_shape import StoreShape, first_and_last, observed_points, store_shape

__all__ = [
    "AssimilationSizes",
    "archive_positions",
    "assimilation_memory",
    "assimilation_parts",
    "assimilation_sizes",
    "covariance_bytes",
    "past_error_windows",
    "recipe_memory",
]

# Memory of a stage with torch, Lightning and MLflow imported, and what is imported later: the
# tracking, the report's figures (bytes, measured; see docs/notes/cost.md).
_PROGRAM = 0.97e9
_LATER = 0.25e9
# Days of the test period for which the size of the season is counted.
_TEST_DAYS = 37
# Fewest windows of a season (`slams.assimilators.season`).
_FEWEST = 30
# Copies of a batch's ensemble while it is decoded and scored.
_SCORING = 5
# Noise levels are measured on this many validation days.
_UNSEEN = 60
# Matrices of domains that are kept, and temporaries of an analysis (bytes; `slams.linalg.gain`).
_MOST_KEPT, _TEMPORARY = 2**29, 10 * 2**25
# Surface of the Earth (km2).
_EARTH = 5.1e8
_ERRORS = ("optimal_interpolation", "3dvar", "enkf", "letkf")
_CYCLED = ("enkf_cycled", "letkf_cycled")
_LATENT = ("latent_3dvar", "latent_diffusion")
# Past errors of backgrounds: windows at most and at least, and values at most (256 MiB).
_PAST_ERRORS, _FEWEST_PAST, _PAST_VALUES = 128, 32, 2**26

_REMEDIES = {
    "archive": "lower assimilation.archive_days",
    "first guesses": "lower assimilation.archive_days, or leave out methods with a first guess",
    "cache": "set data.cache=mmap",
    "season": "lower assimilation.archive_days, or `season` or `shifts` of the method",
    "observations": "observe fewer points: observations.stations.count, .satellite.footprint",
    "denoising": "lower assimilation.guidance.archive",
    "residuals": "lower assimilation.residual.archive, or set assimilation.residual.sample=false",
    "forecast": "lower assimilation.member_forecast.archive or .waves, or data.splits.train",
    "past errors": "set fewer data.channels or a coarser grid",
    "ensembles": "lower assimilation.keep_cases, .members or .batch_size",
}


@dataclass(frozen=True)
class AssimilationSizes:
    """Numbers that the memory of an assimilation depends on.

    Attributes:
        day: Values of a day, `C H W`.
        window: Days `T` of a window.
        points: Grid points `G`.
        windows: Windows of the archive.
        archive_days: Days that the archive holds, with those that backgrounds are made from.
        unseen_days: The same of the validation period; 0 where it is not read.
        season: Archive windows of the largest season, by method that uses background errors.
        shifts: Shifts of each of these methods.
        fitted_guesses: Number of first guesses that are fitted to the archive.
        latents: Latent values `F` of a window; 0 without a latent method.
        latent_points: Latent grid points.
        solves: Whether a method solves for the weights of observations.
        levels: Noise levels `L`; 0 without denoising errors.
        measured: Levels at which they are measured.
        denoised: Days `S` with denoising errors.
        network: Points `Q` of the network, on each day.
        observed: Points `P` in use, in a window.
        members: Members `M`.
        batch: Cases per batch.
        kept: Ensembles that are kept in memory.
        cached: Days of the store that are cached.
        domains: Domains in which a case is analysed; 1 if at once.
        limit: Most observations that a domain uses.
        residuals: Days with decoding errors; 0 where no residual is sampled.
        residual_season: Those of them that a case uses.
        forecast_days: Training days that the forecast of cycled filters is fitted to; 0 without.
        forecast_errors: Errors of it that are kept.
        waves: Fourier coefficients of a row that it keeps, as a share of the row's values.
        carried: States that a cycled filter carries from day to day.
        past_errors: Windows whose errors give the chi-square of O-B its correlations.
    """

    day: int
    window: int
    points: int
    windows: int
    archive_days: int
    unseen_days: int
    season: dict[str, int]
    shifts: dict[str, int]
    fitted_guesses: int
    latents: int
    latent_points: int
    solves: bool
    levels: int
    measured: int
    denoised: int
    network: int
    observed: int
    members: int
    batch: int
    kept: int
    cached: int
    domains: int = 1
    limit: int = 0
    residuals: int = 0
    residual_season: int = 0
    forecast_days: int = 0
    forecast_errors: int = 0
    waves: float = 0.0
    carried: int = 0
    past_errors: int = 0


def covariance_bytes(points: int, domains: int, limit: int) -> int:
    """Return the memory of the covariances of one case (bytes).

    Args:
        points: Observed points of the case.
        domains: Domains in which it is analysed; 1 if at once.
        limit: Most observations that a domain uses.
    """
    if domains == 1:
        return (4 + 3 * 8) * points**2 + min(_TEMPORARY, 8 * points**2)
    tapers = 4 * domains * min(points, limit) ** 2
    return (tapers if tapers <= _MOST_KEPT else 0) + _TEMPORARY


def assimilation_parts(sizes: AssimilationSizes) -> dict[str, int]:
    """Return what an assimilation holds beside the program (bytes by part), see the module."""
    s = sizes
    values = s.day * s.window
    errors = [4 * values * n * (2 * s.shifts.get(name, 0) + 1) for name, n in s.season.items()]
    images = 4 * s.observed * max((*s.season.values(), s.denoised))
    wide = s.denoised * (s.latents + s.network * s.window) if s.levels else 0
    denoising = 2 * s.measured * wide + 12 * wide
    return {
        "archive": 2 * s.day * (s.archive_days + s.unseen_days),
        # The guesses, and in their fit as many errors and fields.
        "first guesses": 4 * values * s.windows * (s.fitted_guesses + 2) * (s.fitted_guesses > 0),
        "cache": 4 * s.day * s.cached,
        # One method analyses after the other.
        "season": max(2 * max(errors, default=0) - denoising, 0),
        "observations": (covariance_bytes(s.observed, s.domains, s.limit) + images) * s.solves,
        "denoising": denoising,
        "residuals": values * (2 * s.residuals + 4 * s.residual_season),
        "forecast": int(
            s.day * (s.forecast_days * (2 + 8 * s.waves) + 4 * s.forecast_errors + 16 * s.carried)
        ),
        # Fields, backgrounds and their difference, of which the last is kept.
        "past errors": 3 * 4 * values * s.past_errors,
        "ensembles": 4 * values * s.members * (s.kept + _SCORING * s.batch),
    }


def archive_positions(
    pieces: Iterable[Piece], window: int, lag: int, most: int, per_day: int = 1
) -> list[int]:
    """Return the first steps of the archive's windows (steps since 1970-01-01).

    Args:
        pieces: First and last day of each piece of the training period.
        window: Steps per window.
        lag: Steps from the state that persists to the window; 0 if there is none.
        most: Largest number of windows, evenly spaced; 0 for all.
        per_day: Number of steps per day.
    """
    every = [
        day
        for first, last in pieces
        for day in range(
            day_number(first) * per_day + lag, (day_number(last) + 1) * per_day - window + 1
        )
    ]
    return _spread(every, most)


def _spread(days: list[int], most: int) -> list[int]:
    """Return at most some of the days, evenly spaced; 0 for all."""
    if not 0 < most < len(days):
        return days
    step = (len(days) - 1) / max(most - 1, 1)
    return [days[int(i * step + 0.5)] for i in range(most)]


def _days(first: list[int], window: int, lag: int) -> set[int]:
    """Return the days of windows, with those that their backgrounds are made from."""
    offsets = (*range(window), *([-lag] if lag else ()))
    return {day + offset for day in first for offset in offsets}


def past_error_windows(values: int, available: int) -> int:
    """Return how many windows give the chi-square of O-B the correlations of background errors.

    0 where so few would fit into memory, or are available, that a variance at a point would
    mostly be chance. A grid on which they do not fit is so fine that errors of neighbouring points
    hardly differ.

    Args:
        values: Values of a window.
        available: Windows of the training period.
    """
    windows = min(_PAST_ERRORS, _PAST_VALUES // values, available)
    return windows if windows >= _FEWEST_PAST else 0


def assimilation_sizes(config: Config, shape: StoreShape) -> AssimilationSizes:
    """Return the numbers that the memory of a recipe's assimilation depends on."""
    section, data = config.assimilation, config.data
    per_day = steps_per_day(data.step_days)
    names = [name.partition("@") for name in section.methods]
    methods = [name for name, _, _ in names]
    guesses = {guess for _, _, guess in names if guess not in ("", "climatology")}
    lag = config.background.lag if config.background.kind == "damped_persistence" else 0
    pieces = split_pieces(data.splits, "train")
    first = archive_positions(pieces, data.days, lag, section.archive_days, per_day)
    latent = [name for name in methods if name in _LATENT]
    errors = "latent_diffusion" in methods and section.guidance.kind == "decg"
    residual = bool(latent) and section.residual.sample
    measured = errors or residual or "score_mean" in guesses
    unseen = split_pieces(data.splits, "validation") if measured else []
    days = _days(first, data.days, lag)
    held_out = archive_positions(unseen, data.days, lag, section.archive_days, per_day)
    factor = config.vae.factor
    latent_points = -(-shape.rows // factor) * -(-shape.columns // factor)
    decoded = _spread(first, section.residual.archive) if residual else []
    network, used = observed_points(config, shape)
    observed_days = len(config.observations.days) or data.days
    own = {name: _section_of(config, name) for name in methods if name in _ERRORS}
    observed = round(used * observed_days)
    is_local = observed > section.local.above
    filters = [name for name in methods if name in _CYCLED]
    forecast, trained = section.member_forecast, archive_positions(pieces, 1, 0, 0, per_day)
    cases = data.test_cases or section.batch_size + max(section.keep_cases, 0)
    return AssimilationSizes(
        day=shape.day,
        window=data.days,
        points=shape.rows * shape.columns,
        windows=len(first),
        archive_days=len(days) * (2 if config.background.kind == "file" else 1),
        unseen_days=len(_days(held_out, data.days, lag)),
        season={name: _season(config, first, one) for name, one in own.items()},
        shifts={name: getattr(one, "shifts", 0) for name, one in own.items()},
        fitted_guesses=len(guesses),
        latents=data.days * config.vae.latent_channels * latent_points if latent else 0,
        latent_points=latent_points,
        solves=bool(own or latent or filters),
        levels=section.sampler.steps if errors else 0,
        measured=section.guidance.error_levels or section.sampler.steps,
        denoised=min(section.guidance.archive, len(first)) + (_UNSEEN if unseen else 0),
        network=network,
        observed=observed,
        members=section.members,
        batch=min(section.batch_size, cases),
        kept=min(max(section.keep_cases, 0), cases) * len(methods),
        cached=shape.steps if data.cache == "memory" and data.num_workers == 0 else 0,
        domains=max(round(_EARTH / section.local.spacing**2), 2) if is_local else 1,
        limit=section.local.observations,
        residuals=len(decoded) + (_UNSEEN if decoded and unseen else 0),
        residual_season=_season(config, decoded, section.residual),
        forecast_days=len(trained) if filters else 0,
        forecast_errors=min(forecast.archive, len(trained)) if filters else 0,
        waves=min(forecast.waves, shape.columns // 2 + 1) / shape.columns,
        carried=sum(getattr(section, name).ensemble for name in filters) * forecast.past,
        past_errors=past_error_windows(
            shape.day * data.days, len(archive_positions(pieces, data.days, lag, 0, per_day))
        ),
    )


def assimilation_memory(
    config: Config, shape: StoreShape, program: int | None = None
) -> HostMemory:
    """Return what an assimilation will hold, of all its processes on a machine.

    Args:
        config: The recipe.
        shape: Shape of its store.
        program: Memory of the program with torch imported (bytes); by default that of this
            process.
    """
    held = resident_memory()
    sizes = assimilation_sizes(config, shape)
    program = held if program is None else program
    parts = {"program": int(program + _LATER), **assimilation_parts(sizes)}
    ranks = config.trainer.devices
    return HostMemory(
        {name: ranks * size for name, size in parts.items()},
        available_memory() + held,
        "assimilate",
        _REMEDIES,
    )


def recipe_memory(config: Config) -> str:
    """Return the line on an assimilation's memory for a recipe that is only looked at."""
    shape = store_shape(config)
    if shape is None:
        return (
            "assimilate: memory unknown until the store exists (the grid is the source's own); "
            "`slams assimilate --dry-run` prints it"
        )
    memory = assimilation_memory(config, shape, int(_PROGRAM))
    points = f"{assimilation_sizes(config, shape).observed} observed points"
    stations = config.observations.stations
    if "stations" in config.observations.use and stations.source.kind and not shape.stations:
        points += f" with {stations.count} stations (`slams prepare` counts the real ones)"
    return f"assimilate, {points}: {memory}"


def _section_of(config: Config, method: str) -> object:
    """Return the settings of a method that uses background errors."""
    name = {"3dvar": "three_d_var"}.get(method, method)
    return getattr(config.assimilation, name)


def _season(config: Config, first: list[int], section: object) -> int:
    """Return the number of archive windows that a case uses, at most."""
    width, year = section.season, 365.2425  # type: ignore[attr-defined]
    per_day = steps_per_day(config.data.step_days)
    ends = first_and_last(split_pieces(config.data.splits, "test"))
    if not ends or not first:
        return 0
    step = max(1, (max(ends) - min(ends)) // _TEST_DAYS)
    most = max(
        sum(abs((day / per_day - date + year / 2) % year - year / 2) <= width for day in first)
        for date in range(min(ends), max(ends) + 1, step)
    )
    return min(getattr(section, "ensemble", len(first)), max(most, min(_FEWEST, len(first))))
