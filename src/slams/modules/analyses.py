"""The first analyses of an evaluation, kept in full for maps: `analysis.zarr`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slams.fields import Ensemble, FieldSpec
from slams.grid import LatLonGrid
from slams.runtime.atomic import remove_store

__all__ = ["DETERMINISTIC", "KeptCases"]

# Groups of one state a case, written without the axis of members. A method called `background`
# has no group of its own: the background that every method starts from is what maps show.
DETERMINISTIC = ("truth", "background")


class KeptCases:
    """Keeps the ensembles of the first cases, group by group.

    Args:
        limit: Number of cases kept, those with the smallest case numbers.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._groups: dict[str, dict[int, Ensemble]] = {}

    def add(self, group: str, case: Tensor, ensemble: Ensemble) -> None:
        """Keep what may be among the first cases.

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
                # A copy: a view would keep the whole batch in memory.
                members=ensemble.members[one].detach().float().cpu().clone(),
                time=ensemble.time[one].cpu().clone(),
                grid=ensemble.grid.to("cpu"),
                diverged=ensemble.diverged[one].cpu().clone(),
                seconds=0.0,
            )
            while len(kept) > self.limit:
                del kept[max(kept)]

    def to_plain(self) -> dict[str, Any]:
        """Return what is kept as tensors in plain containers, for a file."""
        names = ("method", "members", "time", "diverged")
        return {
            group: {case: {n: getattr(one, n) for n in names} for case, one in kept.items()}
            for group, kept in self._groups.items()
        }

    def restore(
        self, plain: dict[str, Any], channels: Sequence[FieldSpec], grid: LatLonGrid
    ) -> None:
        """Take up what `to_plain` has written.

        Args:
            plain: What it gave.
            channels: Channels of the ensembles.
            grid: Their grid.
        """
        self._groups = {
            group: {
                case: Ensemble(channels=tuple(channels), grid=grid.to("cpu"), **one)
                for case, one in kept.items()
            }
            for group, kept in plain.items()
        }

    def select(self, cases: Sequence[int]) -> KeptCases:
        """Take the given cases, as far as they are here."""
        chosen = KeptCases(self.limit)
        chosen._groups = {
            group: {number: kept[number] for number in cases if number in kept}
            for group, kept in self._groups.items()
        }
        return chosen

    @classmethod
    def merge(cls, parts: Sequence[KeptCases]) -> KeptCases:
        """Join what several ranks kept."""
        merged = cls(max(part.limit for part in parts))
        for part in parts:
            for group, kept in part._groups.items():
                merged._groups.setdefault(group, {}).update(kept)
        return merged

    def datasets(self) -> dict[str, Any]:
        """Return an `xarray.Dataset` a group, with the coordinate `case`, cases in order."""
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
        """Write the groups as a Zarr store, in the place of one that may be there.

        Args:
            path: The store; it appears when it is complete.
            attributes: Attributes of its root.
        """
        import zarr
        from zarr.codecs import ZstdCodec

        path = Path(path)
        part = path.with_name(f".{path.stem}.tmp{path.suffix}")
        shutil.rmtree(part, ignore_errors=True)
        try:
            root = zarr.open_group(part, mode="w", zarr_format=3)
            root.attrs.update({"Conventions": "CF-1.10", **(attributes or {})})
            for group, dataset in self.datasets().items():
                # With a checksum of each chunk: a flipped bit is noticed by whoever reads it.
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
        except BaseException:
            remove_store(part)
            raise
        shutil.rmtree(path, ignore_errors=True)
        part.rename(path)
