"""The errors of a learned filter's forecasts, by days since the start of their cycle.

With `<.>` the area-weighted mean over the points of a day whose truth `y` is known,

    rmse(x) = mean over levels of sqrt(mean over days and cycles of < (x - y)^2 >)

for the forecasts, for the climatology of the same days, and for other forecasts of them. The
difference of two forecasts is defined alike, with the other one in place of `y`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from data_modules.store.files import is_url
from data_modules.store.periods import find_days
from data_modules.store.training_store import TrainingStore
from slams.errors import UserError
from slams.fields import FieldSpec
from slams.metrics.scores import level_groups, mean_over_levels
from slams.metrics.statistics import area_mean
from slams.runtime.console import make_table, print_tables

__all__ = ["filter_errors", "open_compared", "print_filter_errors"]

# First day of each bin, counted from 1, the first day of a cycle.
_BINS = (1, 6, 11, 21, 31, 81)
# Days read per bin at most: cycles over training years are long, and their weather repeats itself.
_MOST_DAYS = 200
# Days read at a time; limits the memory, not the result.
_BLOCK = 8


def open_compared(
    path: str, output: Path, identity: str, store: TrainingStore, days: np.ndarray
) -> TrainingStore:
    """Open the store of other forecasts, and check that forecasts can be compared with it.

    Args:
        path: The other store, `filter.compared_with`.
        output: The store of the forecasts.
        identity: Fingerprint of the forecasts.
        store: The training store with the channels of the forecasts.
        days: `(n,)` days of the forecasts, days since 1970-01-01 00 UTC.

    Raises:
        UserError: There is no such store, it holds the same forecasts, has another grid or other
            channels, or none of the days.
    """
    key = "key 'filter.compared_with'"
    if not is_url(path) and not Path(path).exists():
        raise UserError(
            f"{key}: {path}: found no such directory, expected a store of forecasts, which `slams "
            f"filter` writes with another filter.output"
        )
    other = TrainingStore.open(path)
    if other.fingerprint == identity or Path(path).absolute() == output.absolute():
        raise UserError(
            f"{key}: {path} holds the forecasts themselves, expected other ones, for example "
            f"those of filter.start=truth with another filter.output"
        )
    if other.grid != store.grid:
        raise UserError(
            f"{key}: {path} has a grid of {other.grid.shape}, training store {store.path} "
            f"{'another one' if other.grid.shape == store.grid.shape else 'one'} of "
            f"{store.grid.shape}, expected the same"
        )
    there = {channel.name for channel in other.channels}
    missing = [c.name for c in _compared(store.channels) if c.name not in there]
    if missing:
        raise UserError(
            f"{key}: {path} lacks {', '.join(missing)}, expected the channels that are compared; "
            f"name a store with them, or keep fewer (filter.keep)"
        )
    if not (find_days(other.time, days) >= 0).any():
        raise UserError(
            f"{key}: {path} has none of the {len(days)} days of the forecasts, expected forecasts "
            f"of the same days"
        )
    return other


def filter_errors(
    truth: TrainingStore,
    forecasts: TrainingStore,
    cycles: Mapping[str, Sequence[np.ndarray]],
    other: TrainingStore | None = None,
    most: int = _MOST_DAYS,
) -> pd.DataFrame:
    """Compute the rmse of forecasts by days since the start of a cycle.

    Temperature on pressure levels is compared, or the first variable that has levels, or the first
    channel.

    Args:
        truth: The training store, with the channels of the forecasts.
        forecasts: The store of the forecasts.
        cycles: For each split the days of each of its cycles, `(n,)` days since 1970-01-01 00 UTC.
        other: Other forecasts, see `open_compared`; only days that it has are used.
        most: Days that are read of each bin, evenly spaced, at most.

    Returns:
        One row per split and bin that has days: `split`, `days` (of a cycle, counted from 1),
        `n` (days that are read), `of` (days that there are), `rmse`, `climatology`, `ratio` of
        the two; with `other` also `other_rmse`, `difference`, and `difference_ratio`, the
        difference over the smaller rmse of both forecasts. Physical units.
    """
    names = [channel.name for channel in _compared(truth.channels)]
    states = [forecasts] if other is None else [forecasts, other]
    states = [store.select(names) for store in states]
    truth, rows = truth.select(names), []
    for split, pieces in cycles.items():
        days = np.concatenate(pieces)
        day = np.concatenate([np.rint(piece - piece[0]) for piece in pieces]) + 1
        there = np.all([find_days(store.time, days) >= 0 for store in states], axis=0)
        place = np.searchsorted(_BINS, day, side="right") - 1
        for number in np.unique(place[there]):
            own = np.sort(days[there & (place == number)])
            picked = np.linspace(0, len(own) - 1, min(most, len(own)))
            some = own[np.rint(picked).astype(np.int64)]
            rows.append(
                (split, _bin_name(number), len(some), len(own), *_rmse(truth, states, some))
            )
    more = [] if other is None else ["other_rmse", "difference"]
    table = pd.DataFrame(rows, columns=["split", "days", "n", "of", "rmse", "climatology", *more])
    table.insert(6, "ratio", table["rmse"] / table["climatology"])
    if more:
        smaller = table[["rmse", "other_rmse"]].min(axis=1)
        table["difference_ratio"] = table["difference"] / smaller
    return table


def print_filter_errors(table: pd.DataFrame, channels: Sequence[FieldSpec], lag: int) -> None:
    """Print the errors of one lag.

    Args:
        table: Result of `filter_errors`.
        channels: The channels of the forecasts.
        lag: Days from the last observations to the forecast day.
    """
    headings = ["cycles", "days", "days read", "rmse", "climatology", "ratio"]
    caption = "days of a cycle, 1 its first; those read are evenly spaced"
    if "difference" in table:
        headings += ["other", "difference", "diff. / smaller"]
        caption += "; other: rmse of filter.compared_with"
    compared = _compared(channels)
    levels = "" if compared[0].level is None else f", {compared[0].level} hPa"
    if len(compared) > 1:
        levels = f", mean of {len(compared)} levels"
    what = f"rmse of {compared[0].variable.replace('_', ' ')} ({compared[0].units}){levels}"
    rows = [
        [row.split, row.days, f"{row.n} of {row.of}", *(f"{value:#.3g}" for value in row[4:])]
        for row in table.itertuples(index=False, name="Row")
    ]
    # No column is broken over lines.
    print_tables(make_table(f"lag {lag}: {what}", headings, rows, caption, texts=0))


def _compared(channels: Sequence[FieldSpec]) -> list[FieldSpec]:
    """Return the channels that the table is about."""
    groups = level_groups(channels)
    first = next(iter(groups.values()), [0])
    return [channels[index] for index in groups.get("temperature", first)]


def _bin_name(place: int) -> str:
    if place == len(_BINS) - 1:
        return f"{_BINS[place]} and later"
    return f"{_BINS[place]}-{_BINS[place + 1] - 1}"


def _rmse(truth: TrainingStore, states: Sequence[TrainingStore], days: np.ndarray) -> list[float]:
    """Return the rmse of forecasts and of the climatology, then of others and the difference."""
    normaliser = truth.normaliser()
    squares, count = torch.zeros(()), torch.zeros(())
    for start in range(0, len(days), _BLOCK):
        some = days[start : start + _BLOCK]
        time = torch.from_numpy(some[:, None])
        climatology = normaliser.to_physical(normaliser.climatology(time))[:, 0]
        fields, forecast, *other = (
            torch.from_numpy(store.read(find_days(store.time, some))) for store in (truth, *states)
        )
        pairs = [(forecast, fields), (climatology, fields)]
        pairs += [pair for one in other for pair in ((one, fields), (forecast, one))]
        weight = truth.grid.weights[:, None] * fields.isfinite()
        known = weight.sum(dim=(-2, -1)) > 0
        found = torch.stack([_mean_square(*pair, weight) for pair in pairs])
        squares = squares + torch.where(known, found, 0.0).sum(dim=1)
        count = count + known.sum(dim=0)
    # A root is taken last, after all means; a level without a truth is left out.
    return mean_over_levels((squares / count).sqrt(), range(squares.shape[-1])).tolist()


def _mean_square(one: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """Return the mean squared difference `(n, C)` of fields `(n, C, H, W)`.

    A forecast that is not finite where the truth is known has an infinite error.
    """
    square = (one.double() - other.double()).square().nan_to_num(nan=torch.inf)
    means = [
        area_mean(values[None], known[None])
        for values, known in zip(square.flatten(0, 1), weight.flatten(0, 1), strict=True)
    ]
    return torch.stack(means).reshape(square.shape[:2])
