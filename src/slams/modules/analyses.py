"""The first analyses of an evaluation, stored in full for maps: `analysis.zarr`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slams.fields import Ensemble, FieldSpec
from slams.grid import LatLonGrid
from slams.runtime.atomic import replacing_store

__all__ = ["DETERMINISTIC", "KeptCases"]

# Groups with one state per case, written without the axis of members. A method called `background`
# has no separate group: maps show the background from which every method starts.
DETERMINISTIC = ("truth", "background")


class KeptCases:
    """Ensembles of the first cases, by group.

    Args:
        limit: Number of cases to keep, those with the smallest case numbers.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
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

    def datasets(self) -> dict[str, Any]:
        """Return one `xarray.Dataset` per group, with the coordinate `case` and cases in order."""
        found = {}
        for group, kept in self._groups.items():
            if not kept:
                continue
            numbers = sorted(kept)
            ensembles = [kept[n] for n in numbers]
            dataset = replace(
                ensembles[0],
                members=torch.cat([e.members for e in ensembles]),
                time=torch.cat([e.time for e in ensembles]),
                diverged=torch.cat([e.diverged for e in ensembles]),
            ).to_xarray()
            if group in DETERMINISTIC:
                dataset = dataset.isel(member=0)
            found[group] = dataset.assign_coords(case=("case", numbers)).assign_attrs(method=group)
        return found

    def write(self, path: str | Path, attributes: dict[str, Any] | None = None) -> None:
        """Write the groups as a Zarr store, replacing an existing one.

        Args:
            path: The store, which becomes visible only when it is complete.
            attributes: Attributes of the root group.
        """
        import zarr
        from zarr.codecs import ZstdCodec

        with replacing_store(path) as part:
            root = zarr.open_group(part, mode="w", zarr_format=3)
            root.attrs.update({"Conventions": "CF-1.10", **(attributes or {})})
            for group, dataset in self.datasets().items():
                # A checksum per chunk, so that reading detects a flipped bit.
                checked = {"compressors": (ZstdCodec(level=0, checksum=True),)}
                encoding: dict[str, Any] = {name: dict(checked) for name in dataset.variables}
                encoding["time"] |= {"units": "seconds since 1970-01-01", "dtype": "int64"}
                dataset.to_zarr(
                    part,
                    group=group,
                    mode="a",
                    zarr_format=3,
                    consolidated=False,
                    encoding=encoding,
                )
