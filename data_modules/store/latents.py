"""The latent store: encodings of the training store by one VAE.

Layout (Zarr v3), keyed by the VAE's run and the training store's fingerprint::

    train/latents, validation/latents        (case, T, K, h, w)  raw latents of windows
    train/background, validation/background  (case, T, K, h, w)  their encoded backgrounds
    train/time, validation/time              (case,)             first day, days since 1970-01-01
    train_lag_L/latents, ...                 the training period with backgrounds of L days before
    train_turned_S/latents, ...              the training period shifted by S cells of longitude
    mean, sd                                 (K,)                over the training period

The latents are standardised on reading. They are small (37 kB per day of the demo) and kept in
memory; the fields that they are made of are not: these are encoded piece by piece.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import zarr
from torch import Tensor
from torch.utils.data import Dataset

from slams.assimilators.base import Archive
from slams.errors import UserError
from slams.nn.latent_space import LatentBatch, LatentSpace
from slams.normalisation import DAYS_PER_YEAR
from slams.runtime.atomic import remove_store
from slams.runtime.directories import exclusive

__all__ = ["LatentStore", "piece_of", "wait_for_latents", "write_latents"]

# Most windows that are encoded at a time, and that a chunk of the store holds; most bytes of them.
_PIECE, _PIECE_BYTES = 64, 2**29
_VERSION = 1


def piece_of(values: int) -> int:
    """Return the number of windows that are encoded at a time.

    Args:
        values: Values of the fields of a window, float32.
    """
    return max(1, min(_PIECE, _PIECE_BYTES // (4 * values)))


def write_latents(
    path: Path,
    space: LatentSpace,
    splits: Iterable[tuple[str, Iterable[Archive]]],
    key: dict[str, str],
) -> bool:
    """Encode windows and their backgrounds; an existing complete store of the same key is kept.

    Args:
        path: Directory of the latent store.
        space: The VAE's latent space, with mean 0 and standard deviation 1 (raw latents).
        splits: Windows and backgrounds of `train`, `validation`, `train_lag_L` and
            `train_turned_S`, by name, each in pieces of `piece_of` windows; one piece at a time
            is in memory, and none is read if the store is kept.
        key: Values on which the encodings depend, for example the VAE's run id.

    Returns:
        Whether the store was written; otherwise it was kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path.with_name(f"{path.name}.lock")):
        if _key(path) == key:
            return False
        try:
            group = zarr.open_group(path, mode="w", zarr_format=3)
            for split, pieces in splits:
                latents = []
                for piece in pieces:
                    encoded = _encoded(space, piece)
                    for name, values in encoded.items():
                        _append(group, f"{split}/{name}", values)
                    if split == "train":
                        latents.append(encoded["latents"])
                if split == "train":
                    every = torch.cat(latents)
                    group.create_array("mean", data=every.mean(dim=(0, 1, 3, 4)).numpy())
                    group.create_array("sd", data=_spread(every).numpy())
            # Written last: a store without a key is incomplete and is written again.
            group.attrs.update({"slams_latents": _VERSION, "key": key, "content": _content(group)})
        except BaseException:
            remove_store(path)
            raise
    return True


def wait_for_latents(
    path: Path, key: dict[str, str], patience: float = 7200.0, interval: float = 1.0
) -> None:
    """Wait until rank zero has written a latent store with `write_latents`.

    A lock would not suffice: file systems of clusters show a new file with a delay, and a rank
    that gets the lock after rank zero would rewrite the store while others read it.

    Args:
        path: Directory of the latent store.
        key: Values on which the encodings depend.
        patience: Longest time to wait (s).
        interval: Time between two checks (s).

    Raises:
        UserError: The store has not appeared in time.
    """
    end = time.monotonic() + patience
    while _key(path) != key:
        if time.monotonic() > end:
            raise UserError(
                f"latent store {path}: rank zero has not written it within {patience:.0f} s; the "
                f"key 'runs' must name a directory that all nodes share"
            )
        time.sleep(interval)


def _key(path: Path) -> dict[str, str] | None:
    """Return the key of a complete store of this version; `None` for anything else."""
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
    except Exception:  # there is none, or its first file is incomplete
        return None
    attributes = group.attrs.asdict()
    if attributes.get("slams_latents") != _VERSION or "key" not in attributes:
        return None
    try:
        whole = _content(group) == attributes.get("content")
    except Exception:  # the error for a truncated chunk depends on the codec
        return None
    return attributes["key"] if whole else None


def _content(group: zarr.Group) -> str:
    """Return the sha256 of all arrays, since Zarr reads a lost chunk as zeros."""
    total = hashlib.sha256()
    for name, array in sorted(group.members(max_depth=None)):
        if isinstance(array, zarr.Array):
            total.update(name.encode())
            for start in range(0, array.shape[0], array.chunks[0]):
                piece = np.ascontiguousarray(array[start : start + array.chunks[0]])
                total.update(piece.tobytes())
    return total.hexdigest()


def _spread(latents: Tensor) -> Tensor:
    """Return the standard deviation `(K,)`, positive also for constant latents."""
    return latents.std(dim=(0, 1, 3, 4)).clamp(min=1e-6)


def _append(group: zarr.Group, name: str, values: Tensor) -> None:
    """Append values to an array of the store, which the first of them make."""
    if name in group:
        group[name].append(values.numpy())
    else:
        chunks = (min(_PIECE, len(values)), *values.shape[1:])
        group.create_array(name, data=values.numpy(), chunks=chunks)


def _encoded(space: LatentSpace, windows: Archive) -> dict[str, Tensor]:
    """Encode windows and their backgrounds; return the arrays of a split by name."""
    return {
        "latents": _encode(space, windows.fields, windows.known),
        "background": _encode(space, windows.background, windows.background_known),
        "time": windows.time[:, 0].to(torch.float64),
    }


@torch.no_grad()
def _encode(space: LatentSpace, fields: Tensor, known: Tensor | None) -> Tensor:
    return space.encode(fields, known).cpu()


class LatentStore(Dataset[int]):
    """Dataset of one split of a latent store, standardised.

    Args:
        path: Directory of the store.
        split: `train` or `validation`.
        window: Days `T` of the windows, which are all sub-windows of those in the store; 0 for
            the windows of the store.
        ages: Further training windows: the splits `train_lag_L`, with their ages `{L: age}`, see
            `LatentBatch.age`.
        longitude_shifts: Further training windows: the splits `train_turned_S`, by their shifts
            `S` (cells of longitude).
        step: Length of a step (days).

    Raises:
        UserError: There is no complete latent store.
    """

    def __init__(
        self,
        path: Path,
        split: str,
        window: int = 0,
        ages: Mapping[int, float] | None = None,
        longitude_shifts: Sequence[int] = (),
        step: float = 1.0,
    ) -> None:
        if _key(path) is None:
            raise UserError(f"latent store {path}: missing or incomplete; run `slams train score`")
        group = zarr.open_group(path, mode="r", zarr_format=3)
        self.mean, self.sd = (torch.from_numpy(np.asarray(group[n][:])) for n in ("mean", "sd"))
        mean, sd = (x.reshape(-1, 1, 1) for x in (self.mean, self.sd))
        parts = {split: 1.0, **{f"{split}_lag_{lag}": age for lag, age in (ages or {}).items()}}
        parts |= {f"{split}_turned_{cells}": 1.0 for cells in longitude_shifts}

        def read(name: str) -> Tensor:
            arrays = [group[f"{part}/{name}"] for part in parts]
            sizes = [array.shape[0] for array in arrays]
            whole = np.empty((sum(sizes), *arrays[0].shape[1:]), arrays[0].dtype)
            for array, place in zip(arrays, np.split(whole, np.cumsum(sizes)[:-1]), strict=True):
                place[:] = array[:]
            return torch.from_numpy(whole)

        # In place, because the latents of many years and their copies are large.
        self.latents, self.background = (read(n).sub_(mean).div_(sd) for n in _FIELDS)
        time = read("time")
        sizes = torch.tensor([group[f"{part}/time"].shape[0] for part in parts])
        self._age = torch.tensor(list(parts.values())).repeat_interleave(sizes) if ages else None
        self.window = window or self.latents.shape[1]
        self._places = self.latents.shape[1] - self.window + 1
        days = time[:, None] + step * torch.arange(self._places)
        self._season = (days / DAYS_PER_YEAR % 1).to(torch.float32)
        self.season = self._season[:, 0]

    def __len__(self) -> int:
        return self.latents.shape[0] * self._places

    def departure_sd(self, windows: int = 512) -> Tensor:
        """Return the standard deviation of latents about encoded backgrounds of the usual age.

        Args:
            windows: Most windows that are looked at, evenly spaced.

        Returns:
            `(K,)`, above 0.
        """
        usual = torch.arange(len(self.latents)) if self._age is None else self._age.eq(1).nonzero()
        usual = usual.flatten()
        some = usual[torch.linspace(0, len(usual) - 1, windows).long().unique()]
        departures = self.latents[some] - self.background[some]
        return departures.square().mean(dim=(0, 1, 3, 4)).sqrt().clamp(min=1e-3)

    def __getitem__(self, index: int) -> LatentBatch:
        return self.__getitems__([index])

    def __getitems__(self, index: list[int]) -> LatentBatch:
        """Gather a batch at once."""
        # Gathered by NumPy: torch would start further threads in the read-ahead thread.
        case, place = np.divmod(np.asarray(index), self._places)
        days = place[:, None] + np.arange(self.window)
        arrays = [x.numpy()[case[:, None], days] for x in (self.latents, self.background)]
        return LatentBatch(
            *(torch.from_numpy(x) for x in arrays),
            torch.from_numpy(self._season.numpy()[case, place]),
            None if self._age is None else self._age[torch.from_numpy(case)],
        )


_FIELDS = ("latents", "background")
