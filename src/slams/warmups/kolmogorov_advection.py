r"""Vorticity of one state of a window, advected by the flow to the time of another.

Except for forcing, drag and viscosity, vorticity moves with the fluid, `w(x, t) = w(X, s)`, where
`X` is the position at time `s` of the fluid that is at `x` at time `t`. The states of a window
therefore contain information about each other's small scales *along* the flow. No linear filter
can use it, because the position depends on the velocity, and a network of a few layers would first
have to learn the displacement.

`X` is computed backwards from `x` (semi-Lagrangian), with two steps of the midpoint rule per
interval and velocities interpolated linearly in time; fields are interpolated bilinearly in space.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["carried", "carry_pairs"]

# Distances in states over which vorticity is advected; steps per interval.
_REACH = 2
_STEPS = 2


def carry_pairs(window: int) -> list[tuple[int, int]]:
    """Return the pairs of states (from, to) of the advection, in the order of `carried`."""
    return [
        (target - sign * reach, target)
        for sign in (1, -1)
        for reach in range(1, _REACH + 1)
        for target in _targets(window, sign, reach)
    ]


def _targets(window: int, sign: int, reach: int) -> list[int]:
    return [target for target in range(window) if 0 <= target - sign * reach < window]


def carried(vorticity: Tensor, displacement: Tensor) -> Tensor:
    """Advect vorticity between the states of windows.

    Args:
        vorticity: `(B, T, N, N)`, axes y and x.
        displacement: `(B, T, 2, N, N)` velocity, in grid points from one state to the next.

    Returns:
        `(B, P, N, N)`, one field for each of `carry_pairs(T)`.
    """
    window, size = vorticity.shape[1], vorticity.shape[-1]
    axis = torch.arange(size, device=vorticity.device).to(vorticity)
    grid = torch.stack([axis.expand(size, size), axis[:, None].expand(size, size)])
    fields = []
    for sign in (1, -1):
        place = grid.expand_as(displacement)
        for reach in range(1, _REACH + 1):
            targets = _targets(window, sign, reach)
            if not targets:
                break
            # The previous targets for which there is a state still further away.
            place = place[:, -len(targets) :] if sign > 0 else place[:, : len(targets)]
            later = [target - sign * (reach - 1) for target in targets]
            earlier = [target - sign * reach for target in targets]
            place = _back(place, sign * displacement[:, later], sign * displacement[:, earlier])
            fields.append(_at(vorticity[:, earlier, None], place)[:, :, 0])
    return torch.cat(fields, dim=1)


def _back(place: Tensor, later: Tensor, earlier: Tensor) -> Tensor:
    """Trace positions `(B, P, 2, N, N)` back by an interval; displacements have the same shape."""
    for step in range(_STEPS):
        share = (step + 0.5) / _STEPS
        moving = (later * (1 - share) + earlier * share) / _STEPS
        half = _at(moving, place) / 2
        place = place - _at(moving, place - half)
    return place


def _at(fields: Tensor, place: Tensor) -> Tensor:
    """Interpolate periodic fields `(B, P, C, N, N)` at positions `(B, P, 2, N, N)`, x and y."""
    size = fields.shape[-1]
    padded = functional.pad(fields.flatten(0, 1), (0, 1, 0, 1), mode="circular")
    where = place.flatten(0, 1).movedim(1, -1).remainder(size) * (2 / size) - 1
    found = functional.grid_sample(padded, where, mode="bilinear", align_corners=True)
    return found.unflatten(0, fields.shape[:2])
