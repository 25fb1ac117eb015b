"""Continuation of fields on the sphere: circular in longitude, across the poles by half a turn."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["continue_rows", "pad_sphere"]


def continue_rows(x: Tensor, north: int, south: int, pole_rows: bool = False) -> Tensor:
    """Add rows beyond the poles, where a field continues along the opposite meridian.

    Args:
        x: `(..., H, W)` scalars, or masks. Where `W` is odd, the opposite meridian lies between
            two columns: the row is their mean, and known where both are known.
        north: Rows to add beyond the north pole.
        south: Rows to add beyond the south pole.
        pole_rows: Whether the outermost rows lie on the poles (`LatLonGrid.pole_rows`) and are
            therefore not repeated.

    Returns:
        `(..., north + H + south, W)`.

    Raises:
        ValueError: There are fewer rows than are to be added at a pole.
    """
    rows, skip = x.shape[-2], int(pole_rows)
    if max(north, south) + skip > rows:
        raise ValueError(
            f"cannot pad {rows} rows by {max(north, south)} on the sphere; expected at most "
            f"{rows - skip}"
        )
    above = _half_turn(x[..., skip : north + skip, :].flip(-2))
    below = _half_turn(x[..., rows - south - skip : rows - skip, :].flip(-2))
    return torch.cat([above, x, below], dim=-2)


def pad_sphere(x: Tensor, n: int, pole_rows: bool = False) -> Tensor:
    """Pad a field with its own continuation on the sphere.

    The padding is circular in longitude; across a pole the rows repeat in reverse order, shifted
    by 180 degrees of longitude (see `continue_rows`).

    Args:
        x: `(..., H, W)` scalars.
        n: Rows and columns to add on each side.
        pole_rows: Whether the outermost rows lie on the poles (`LatLonGrid.pole_rows`) and are
            therefore not repeated.

    Returns:
        `(..., H + 2n, W + 2n)`.

    Raises:
        ValueError: `n` exceeds the number of rows or columns.
    """
    if n == 0:
        return x
    columns = x.shape[-1]
    if n > columns:
        raise ValueError(
            f"cannot pad {columns} columns by {n} on the sphere; expected at most {columns}"
        )
    tall = continue_rows(x, n, n, pole_rows)
    return torch.cat([tall[..., -n:], tall, tall[..., :n]], dim=-1)


def _half_turn(x: Tensor) -> Tensor:
    """Rotate `(..., H, W)` by 180 degrees of longitude."""
    columns = x.shape[-1]
    turned = x.roll(columns // 2, dims=-1)
    if columns % 2 == 0:
        return turned
    other = x.roll(columns // 2 + 1, dims=-1)
    return turned & other if x.dtype == torch.bool else (turned + other) / 2
