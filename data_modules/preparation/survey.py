"""A look at some days of every source before anything is written.

For each channel: its name and units in the file, what was made of them, and the mean and range on
the days that were read. A channel that cannot be what it is called is refused: its mean over the
globe is impossible for its variable (radiation of -236 W m-2), a value is outside of its units, or
it does not vary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_modules.preparation.blocks import check_block, read_block
from data_modules.preparation.gaps import describe_gaps
from data_modules.preparation.merging import Part
from data_modules.preparation.target_grid import dataset_grid
from data_modules.sources.files.opening import is_address
from data_modules.store.training_store import iso_date
from slams.errors import UserError
from slams.variables import PLAUSIBLE_MEANS

__all__ = ["survey"]

# Days that are read of a source, evenly spaced: on disk, and over the network.
_DAYS, _REMOTE_DAYS = 5, 2


def survey(parts: Sequence[Part], step: float = 1.0) -> list[str]:
    """Read some days of every source, and describe its channels.

    Args:
        parts: The sources, joined.
        step: Length of a step (days).

    Returns:
        Lines: for each source its days and gaps, then one line per channel.

    Raises:
        UserError: A channel is impossible or constant on these days, or a source is damaged.
    """
    return [line for part in parts for line in _survey(part, step)]


def _survey(part: Part, step: float) -> list[str]:
    path = part.config.path or part.config.files[0]
    axis = part.dataset["time"].values.astype(np.float64)
    most = _REMOTE_DAYS if is_address(path) else _DAYS
    steps = part.steps[np.unique(np.linspace(0, len(part.steps) - 1, most).round().astype(int))]
    dates = [iso_date(day) for day in axis[steps]]
    lines = [
        f"{path}: {len(axis)} {'days' if step == 1 else 'steps'}, {iso_date(axis[0])} to "
        f"{iso_date(axis[-1])}{describe_gaps(axis, step) or ', no gaps'}; read {', '.join(dates)}:"
    ]
    # One variable at a time, so that the memory is that of its levels on these days.
    for variable in dict.fromkeys(channel.variable for channel in part.channels):
        lines += _channels(part, variable, steps, dates, path)
    return lines


def _channels(
    part: Part, variable: str, steps: np.ndarray, dates: Sequence[str], path: str
) -> list[str]:
    """Return a line for each channel of a variable."""
    absent, lines = part.config.absent, []
    channels = [channel for channel in part.channels if channel.variable == variable]
    values = np.concatenate(
        [read_block(part.dataset, channels, s, s + 1, absent, path) for s in steps]
    )
    weights = dataset_grid(part.dataset).weights.numpy()[:, None]
    for index, channel in enumerate(channels):
        if channel.name in absent:
            lines.append(f"  {channel.name}: absent")
            continue
        field = values[:, index].astype(np.float64)
        known = np.isfinite(field)
        conversion = part.dataset[variable].attrs.get("conversion", "as the source has it")
        if not known.any():
            lines.append(f"  {channel.name}: {conversion}; no value on these days")
            continue
        mean = float(np.where(known, field * weights, 0).sum() / (known * weights).sum())
        low, high = field[known].min(), field[known].max()
        where = f"source {path}: {channel.name}, read as {conversion},"
        _check_mean(where, variable, channel.units, mean, dates)
        if _constant(field, len(part.steps)):
            raise UserError(
                f"{where} does not vary: it is the same on {' and '.join(dates)} "
                f"({low:g} to {high:g} {channel.units}); take it out of data.channels, or check "
                f"the source"
            )
        missing = f", {1 - known.mean():.0%} missing" if not known.all() else ""
        lines.append(
            f"  {channel.name}: {conversion}; mean {mean:.4g}, {low:.4g} to {high:.4g} "
            f"{channel.units}{missing}"
        )
    time, none = part.dataset["time"].values[steps], np.zeros(len(steps), bool)
    check_block(values, channels, time, none, absent, part.gaps, path, part.key)
    return lines


def _check_mean(where: str, variable: str, units: str, mean: float, dates: Sequence[str]) -> None:
    low, high = PLAUSIBLE_MEANS[variable]
    if not low <= mean <= high:
        raise UserError(
            f"{where} has a mean of {mean:.4g} {units} on {', '.join(dates)}, which cannot be; "
            f"expected {low:g} to {high:g} {units}: check its units and sign"
        )


def _constant(field: np.ndarray, days: int) -> bool:
    """Return whether `field` `(n, H, W)` is one number, or the same on days that are not one."""
    known = field[np.isfinite(field)]
    same = days > 1 and len(field) > 1 and np.array_equal(field, field[[0] * len(field)], True)
    return bool(same or (known == known[0]).all())
