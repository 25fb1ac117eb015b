"""The analyses of an evaluation that are stored in full: `analysis.zarr`.

One group per method, and the groups `truth` and `background`; each is a dataset of `slams.cf`
with the coordinate `case (time)`. Groups and not one dataset with an axis of methods, because
states have no members, methods differ in their attributes, a damaged group leaves the others
readable, and one method at a time is held in memory while the store is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from slams.cf import analysis_dataset, state_dataset, write_zarr
from slams.cf.dataset import CONVENTIONS
from slams.fields import Ensemble, FieldSpec
from slams.grid import LatLonGrid
from slams.runtime.atomic import replacing_store
from slams.runtime.ranks import say

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DETERMINISTIC", "KeptCases"]

# Groups with one state per case, written without the axis of members. A method called `background`
# has no separate group: maps show the background from which every method starts.
DETERMINISTIC = ("truth", "background")


class KeptCases:
    """Ensembles of the first cases, by group.

    Args:
        limit: Number of cases to keep, those with the smallest case numbers; -1 for all.
    """

    def __init__(self, limit: int) -> None:
        self.limit = math.inf if limit < 0 else limit
        self._groups: dict[str, dict[int, Ensemble]] = {}

    def add(self, group: str, case: Tensor, ensemble: Ensemble) -> None:
        """Add the cases that may be among the first ones.

        Args:
            group: Name of a method, `truth` or `background`.
            case: `(B,)` the cases.
            ensemble: Members `(B, M, T, C, H, W)` physical, NaN where missing.
        """
        kept = self._groups.setdefault(group, {})
        for position, number in enumerate(case.tolist()):
            if len(kept) >= self.limit and number > max(kept, default=-1):
                continue
            one = slice(position, position + 1)
            kept[number] = replace(
                ensemble,
                # Copy, because a view would keep the whole batch in memory.
                members=ensemble.members[one].detach().float().cpu().clone(),
                time=ensemble.time[one].cpu().clone(),
                grid=ensemble.grid.to("cpu"),
                diverged=ensemble.diverged[one].cpu().clone(),
                seconds=0.0,
            )
            while len(kept) > self.limit:
                del kept[max(kept)]

    def to_plain(self) -> dict[str, Any]:
        """Return the ensembles as tensors in plain containers, for a file."""
        names = ("method", "members", "time", "diverged", "centred")
        return {
            group: {case: {n: getattr(one, n) for n in names} for case, one in kept.items()}
            for group, kept in self._groups.items()
        }

    def restore(
        self, plain: dict[str, Any], channels: Sequence[FieldSpec], grid: LatLonGrid
    ) -> None:
        """Restore the ensembles from the result of `to_plain`.

        Args:
            plain: Result of `to_plain`.
            channels: Channels of the ensembles.
            grid: Grid of the ensembles.
        """
        self._groups = {
            group: {
                case: Ensemble(channels=tuple(channels), grid=grid.to("cpu"), **one)
                for case, one in kept.items()
            }
            for group, kept in plain.items()
        }

    def select(self, cases: Sequence[int]) -> KeptCases:
        """Return the given cases, as far as they are present."""
        chosen = KeptCases(self.limit)
        chosen._groups = {
            group: {number: kept[number] for number in cases if number in kept}
            for group, kept in self._groups.items()
        }
        return chosen

    @classmethod
    def merge(cls, parts: Sequence[KeptCases]) -> KeptCases:
        """Merge the ensembles of several ranks."""
        merged = cls(max(part.limit for part in parts))
        for part in parts:
            for group, kept in part._groups.items():
                merged._groups.setdefault(group, {}).update(kept)
        return merged

    def dataset(self, group: str, day_methods: Mapping[str, str] = {}) -> xr.Dataset:
        """Return a group in order of time, with the coordinate `case (time)`.

        Of cases that have days in common, the first is returned.

        Args:
            group: Name of a method, `truth` or `background`, of which cases were kept.
            day_methods: How values represent their day, by variable (`slams.cf.day_methods`).
        """
        kept = self._groups[group]
        numbers = self._apart(group)
        ensembles = [kept[n] for n in numbers]
        whole = replace(
            ensembles[0],
            method=group,
            members=torch.cat([e.members for e in ensembles]),
            time=torch.cat([e.time for e in ensembles]),
            diverged=torch.cat([e.diverged for e in ensembles]),
        )
        build = state_dataset if group in DETERMINISTIC else analysis_dataset
        cases = np.repeat(np.array(numbers, "i4"), whole.time.shape[1])
        about = {"long_name": "number of the test case", "units": "1"}
        return build(whole, day_methods=day_methods).assign_coords(case=("time", cases, about))

    def write(
        self,
        path: str | Path,
        attributes: Mapping[str, Any] = {},
        day_methods: Mapping[str, str] = {},
    ) -> None:
        """Write the groups as a Zarr store, replacing an existing one.

        Args:
            path: The store, which becomes visible only when it is complete.
            attributes: Attributes of the root group.
            day_methods: As in `dataset`.
        """
        import zarr

        with replacing_store(path) as part:
            root = zarr.open_group(part, mode="w", zarr_format=3)
            root.attrs.update({"Conventions": CONVENTIONS, **attributes})
            for group in (name for name, kept in self._groups.items() if kept):
                write_zarr(self.dataset(group, day_methods), part, group=group)
        overlapping = max(
            (len(k) - len(self._apart(g)) for g, k in self._groups.items()), default=0
        )
        if overlapping:
            say(
                f"{path} lacks {overlapping} of the cases to be kept: they have days in common "
                f"with cases before them"
            )

    def _apart(self, group: str) -> list[int]:
        """Return the cases of a group in order, except those that overlap with earlier ones."""
        numbers: list[int] = []
        last = -math.inf
        for number, ensemble in sorted(self._groups[group].items()):
            if float(ensemble.time.min()) > last:
                numbers.append(number)
                last = float(ensemble.time.max())
        return numbers
