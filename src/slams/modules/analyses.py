"""The analyses of an evaluation that are stored in full: `analysis.zarr`.

One group per method, and the groups `truth` and `background`; each is a dataset of `slams.cf`
with the coordinate `case (time)`. Groups and not one dataset with an axis of methods: states have
no members, methods differ in their attributes, CDO reads nothing whose first axis is not time,
`sel(method=...)` has another meaning in xarray, a damaged group leaves the others readable, and
a few cases of one method at a time are held in memory while the store is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from slams.cf import analysis_dataset, state_dataset, write_zarr
from slams.cf.dataset import CONVENTIONS
from slams.fields import Ensemble, FieldSpec
from slams.grid import LatLonGrid
from slams.runtime.atomic import replacing, replacing_store
from slams.runtime.files import load_tensors
from slams.runtime.ranks import say

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DETERMINISTIC", "KeptCases"]

# Groups with one state per case, written without the axis of members. A method called `background`
# has no separate group: maps show the background from which every method starts.
DETERMINISTIC = ("truth", "background")

# Plain values of an ensemble in a file; channels and grid are those of the evaluation.
_VALUES = ("method", "members", "time", "diverged", "centred")
# Cases are appended to the store in blocks of about this size (bytes).
_BLOCK = 256 * 2**20


@dataclass(frozen=True)
class _Filed:
    """An ensemble in a file.

    Attributes:
        path: The file.
        time: `(1, T)` days since 1970-01-01 00 UTC.
        channels: Channels of the ensemble.
        grid: Grid of the ensemble.
    """

    path: Path
    time: Tensor
    channels: tuple[FieldSpec, ...]
    grid: LatLonGrid

    @classmethod
    def save(cls, ensemble: Ensemble, path: Path) -> _Filed:
        """Write an ensemble, completely or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            torch.save(_plain(ensemble), part)
        return cls(path, ensemble.time, ensemble.channels, ensemble.grid)

    def load(self) -> Ensemble:
        """Read the ensemble."""
        return Ensemble(channels=self.channels, grid=self.grid, **load_tensors(self.path))


class KeptCases:
    """Ensembles of the first cases, by group.

    Args:
        limit: Number of cases to keep, those with the smallest case numbers; -1 for all.
        directory: Directory for one file per case and group, which an interrupted evaluation
            finds again; `None` to keep the ensembles in memory.
    """

    def __init__(self, limit: int, directory: Path | None = None) -> None:
        self.limit = limit
        self.directory = directory
        self._groups: dict[str, dict[int, Ensemble | _Filed]] = {}

    def add(self, group: str, case: Tensor, ensemble: Ensemble) -> None:
        """Add the cases that may be among the first ones.

        Args:
            group: Name of a method, `truth` or `background`.
            case: `(B,)` the cases.
            ensemble: Members `(B, M, T, C, H, W)` physical, NaN where missing.
        """
        kept = self._groups.setdefault(group, {})
        for position, number in enumerate(case.tolist()):
            if 0 <= self.limit <= len(kept) and number > max(kept, default=-1):
                continue
            one = slice(position, position + 1)
            alone = replace(
                ensemble,
                # Copy, because a view would keep the whole batch in memory.
                members=ensemble.members[one].detach().float().cpu().clone(),
                time=ensemble.time[one].cpu().clone(),
                grid=ensemble.grid.to("cpu"),
                diverged=ensemble.diverged[one].cpu().clone(),
                seconds=0.0,
            )
            kept[number] = alone
            if self.directory is not None:
                kept[number] = _Filed.save(alone, self.directory / group / f"{number}.pt")
            while 0 <= self.limit < len(kept):
                del kept[max(kept)]

    def first(self, cases: Sequence[int]) -> Sequence[int]:
        """Return as many of the cases as are kept.

        Args:
            cases: Numbers of all cases, in order.
        """
        return cases if self.limit < 0 else cases[: self.limit]

    def to_plain(self) -> dict[str, Any]:
        """Return the ensembles as tensors in plain containers, or the names of their files."""
        return {
            group: {case: _plain(one) for case, one in kept.items()}
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

        Raises:
            ValueError: One of the files is missing.
        """
        own = {"channels": tuple(channels), "grid": grid.to("cpu")}

        def restored(group: str, plain: dict[str, Any]) -> Ensemble | _Filed:
            if "file" not in plain:
                return Ensemble(**plain, **own)
            path = (self.directory or Path()) / group / plain["file"]
            if not path.is_file():
                raise ValueError(f"{path} is missing")
            return _Filed(path, plain["time"], **own)

        self._groups = {
            group: {case: restored(group, one) for case, one in kept.items()}
            for group, kept in plain.items()
        }

    def select(self, cases: Sequence[int]) -> KeptCases:
        """Return the given cases, as far as they are present."""
        chosen = KeptCases(self.limit, self.directory)
        chosen._groups = {
            group: {number: kept[number] for number in cases if number in kept}
            for group, kept in self._groups.items()
        }
        return chosen

    @classmethod
    def merge(cls, parts: Sequence[KeptCases]) -> KeptCases:
        """Merge the ensembles of several ranks."""
        merged = cls(parts[0].limit, parts[0].directory)
        for part in parts:
            for group, kept in part._groups.items():
                merged._groups.setdefault(group, {}).update(kept)
        return merged

    def dataset(
        self,
        group: str,
        day_methods: Mapping[str, str] = {},
        cases: Sequence[int] | None = None,
        step: float = 1.0,
    ) -> xr.Dataset:
        """Return a group in order of time, with the coordinate `case (time)`.

        Args:
            group: Name of a method, `truth` or `background`, of which cases were kept.
            day_methods: How values represent their day, by variable (`slams.cf.day_methods`).
            cases: Numbers of cases without common days; by default all that have no day in
                common with an earlier one.
            step: Length of a step (days).
        """
        numbers = self._apart(group) if cases is None else cases
        ensembles = [_loaded(self._groups[group][n]) for n in numbers]
        whole = replace(
            ensembles[0],
            method=group,
            members=torch.cat([e.members for e in ensembles]),
            time=torch.cat([e.time for e in ensembles]),
            diverged=torch.cat([e.diverged for e in ensembles]),
        )
        build = state_dataset if group in DETERMINISTIC else analysis_dataset
        number = np.repeat(np.array(numbers, "i4"), whole.time.shape[1])
        about = {"long_name": "number of the test case", "units": "1"}
        dataset = build(whole, day_methods=day_methods, step=step)
        return dataset.assign_coords(case=("time", number, about))

    def write(
        self,
        path: str | Path,
        attributes: Mapping[str, Any] = {},
        day_methods: Mapping[str, str] = {},
        step: float = 1.0,
    ) -> None:
        """Write the groups as a Zarr store, replacing an existing one.

        Args:
            path: The store, which becomes visible only when it is complete.
            attributes: Attributes of the root group.
            day_methods: As in `dataset`.
            step: As in `dataset`.
        """
        import zarr

        overlapping = 0
        with replacing_store(path) as part:
            root = zarr.open_group(part, mode="w", zarr_format=3)
            root.attrs.update({"Conventions": CONVENTIONS, **attributes})
            for group, kept in self._groups.items():
                numbers = self._apart(group) if kept else []
                overlapping = max(overlapping, len(kept) - len(numbers))
                size = _loaded(kept[numbers[0]]).members.nbytes if numbers else 1
                length = max(_BLOCK // size, 1)
                for start in range(0, len(numbers), length):
                    some = numbers[start : start + length]
                    block = self.dataset(group, day_methods, some, step)
                    write_zarr(block, part, group=group, append=start > 0)
        if overlapping:
            say(
                f"{path} lacks {overlapping} of the cases to be kept: they have days in common "
                f"with cases before them"
            )

    def _apart(self, group: str) -> list[int]:
        """Return the cases of a group in order, except those that overlap with earlier ones."""
        numbers: list[int] = []
        last = -math.inf
        for number, kept in sorted(self._groups[group].items()):
            if float(kept.time.min()) > last:
                numbers.append(number)
                last = float(kept.time.max())
        return numbers


def _loaded(kept: Ensemble | _Filed) -> Ensemble:
    return kept.load() if isinstance(kept, _Filed) else kept


def _plain(kept: Ensemble | _Filed) -> dict[str, Any]:
    if isinstance(kept, _Filed):
        return {"file": kept.path.name, "time": kept.time}
    return {name: getattr(kept, name) for name in _VALUES}
