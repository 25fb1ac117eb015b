"""The latent store: encodings of the training store by one VAE.

Layout (Zarr v3), keyed by the VAE's run and the training store's fingerprint::

    train/latents, validation/latents        (case, T, K, h, w)  raw latents of windows
    train/background, validation/background  (case, T, K, h, w)  their encoded backgrounds
    train/time, validation/time              (case,)             first day, days since 1970-01-01
    train_lag_L/latents, ...                 the training period with backgrounds of L days before
    train_turned_S/latents, ...              the training period turned by S cells of longitude
    mean, sd                                 (K,)                over the training period

The latents are standardised when they are read. The store is small (a day of the demo takes
37 kB), so that it is held in memory.
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

__all__ = ["LatentStore", "wait_for_latents", "write_latents"]

_VERSION = 1
_CHUNK = 64


def write_latents(
    path: Path,
    space: LatentSpace,
    splits: Iterable[tuple[str, Archive]],
    key: dict[str, str],
) -> None:
    """Encode windows and their backgrounds, once; a complete store of the same key is kept.

    Args:
        path: Directory of the latent store.
        space: The VAE's latent space, with mean 0 and standard deviation 1 (raw latents).
        splits: Windows and backgrounds of `train` and `validation`, of `train_lag_L` and of
            `train_turned_S`, by name; taken one by one, and not at all where the store is kept.
        key: What the encodings depend on, for example the VAE's run id.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path.with_name(f"{path.name}.lock")):
        if _key(path) == key:
            return
        try:
            _write(path, space, splits, key)
        except BaseException:
            remove_store(path)
            raise


def wait_for_latents(
    path: Path, key: dict[str, str], patience: float = 7200.0, look: float = 1.0
) -> None:
    """Wait until another rank has written a latent store, as `write_latents` does on rank zero.

    A lock would not do: file systems of clusters show a new file late, and a rank that came to
    the lock after rank zero would write again what the others read.

    Args:
        path: Directory of the latent store.
        key: What the encodings depend on.
        patience: Seconds to wait.
        look: Seconds between two looks.

    Raises:
        UserError: The store has not appeared.
    """
    end = time.monotonic() + patience
    while _key(path) != key:
        if time.monotonic() > end:
            raise UserError(
                f"latent store {path}: rank zero has not written it within {patience:.0f} s; the "
                f"key 'runs' must name a directory that all nodes share"
            )
        time.sleep(look)


def _write(
    path: Path,
    space: LatentSpace,
    splits: Iterable[tuple[str, Archive]],
    key: dict[str, str],
) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=3)
    for split, windows in splits:
        latents = _encode(space, windows.fields, windows.known)
        arrays = {
            "latents": latents,
            "background": _encode(space, windows.background, windows.background_known),
            "time": windows.time[:, 0].to(torch.float64),
        }
        for name, values in arrays.items():
            group.create_array(
                f"{split}/{name}",
                data=values.numpy(),
                chunks=(min(_CHUNK, len(values)), *values.shape[1:]),
            )
        if split == "train":
            group.create_array("mean", data=latents.mean(dim=(0, 1, 3, 4)).numpy())
            group.create_array("sd", data=_spread(latents).numpy())
    # Written last: a store without a key was cut short and is written again.
    group.attrs.update({"slams_latents": _VERSION, "key": key, "content": _content(group)})


def _key(path: Path) -> dict[str, str] | None:
    """Read what a complete store of this version depends on; `None` for anything else."""
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
    except Exception:  # there is none, or it was cut short at its first file
        return None
    attributes = group.attrs.asdict()
    if attributes.get("slams_latents") != _VERSION or "key" not in attributes:
        return None
    try:
        whole = _content(group) == attributes.get("content")
    except Exception:  # every codec raises an error of its own over a truncated chunk
        return None
    return attributes["key"] if whole else None


def _content(group: zarr.Group) -> str:
    """Return the sha256 of all arrays: Zarr reads a chunk that was lost as zeros."""
    total = hashlib.sha256()
    for name, array in sorted(group.members(max_depth=None)):
        if isinstance(array, zarr.Array):
            total.update(name.encode())
            total.update(np.ascontiguousarray(array[...]).tobytes())
    return total.hexdigest()


def _spread(latents: Tensor) -> Tensor:
    """Return the standard deviation `(K,)`; a latent that never varies stays constant."""
    return latents.std(dim=(0, 1, 3, 4)).clamp(min=1e-6)


@torch.no_grad()
def _encode(space: LatentSpace, fields: Tensor, known: Tensor | None) -> Tensor:
    parts = []
    for start in range(0, len(fields), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        mask = None if known is None else known[chunk]
        parts.append(space.encode(fields[chunk], mask).cpu())
    return torch.cat(parts)


class LatentStore(Dataset[int]):
    """Reads one split of a latent store, standardised.

    Args:
        path: Directory of the store.
        split: `train` or `validation`.
        window: Days `T` of the windows that are cut out of what the store holds, at every place;
            0 for windows as they are in the store.
        ages: Further training windows: `{L: age}`, see `LatentBatch.age`, of those of split
            `train_lag_L`.
        turned: Further training windows: cells of longitude `S`, of those of split
            `train_turned_S`.

    Raises:
        UserError: There is no complete latent store.
    """

    def __init__(
        self,
        path: Path,
        split: str,
        window: int = 0,
        ages: Mapping[int, float] | None = None,
        turned: Sequence[int] = (),
    ) -> None:
        if _key(path) is None:
            raise UserError(
                f"latent store {path}: not there or incomplete; run `slams train score`"
            )
        group = zarr.open_group(path, mode="r", zarr_format=3)
        self.mean, self.sd = (torch.from_numpy(np.asarray(group[n][:])) for n in ("mean", "sd"))
        scale = [x.reshape(-1, 1, 1) for x in (self.mean, self.sd)]
        parts = {split: 1.0, **{f"{split}_lag_{lag}": age for lag, age in (ages or {}).items()}}
        parts |= {f"{split}_turned_{cells}": 1.0 for cells in turned}

        def read(name: str) -> Tensor:
            arrays = [np.asarray(group[f"{part}/{name}"][:]) for part in parts]
            return torch.from_numpy(np.concatenate(arrays))

        self.latents, self.background = ((read(n) - scale[0]) / scale[1] for n in _FIELDS)
        time = read("time")
        sizes = torch.tensor([group[f"{part}/time"].shape[0] for part in parts])
        self._age = torch.tensor(list(parts.values())).repeat_interleave(sizes) if ages else None
        self.window = window or self.latents.shape[1]
        self._places = self.latents.shape[1] - self.window + 1
        days = time[:, None] + torch.arange(self._places)
        self._season = (days / DAYS_PER_YEAR % 1).to(torch.float32)
        self.season = self._season[:, 0]

    def __len__(self) -> int:
        return self.latents.shape[0] * self._places

    def __getitem__(self, index: int) -> LatentBatch:
        return self.__getitems__([index])

    def __getitems__(self, index: list[int]) -> LatentBatch:
        """Gather a batch in one go."""
        # Gathered by NumPy: torch would start threads of its own in the one that reads ahead.
        case, place = np.divmod(np.asarray(index), self._places)
        days = place[:, None] + np.arange(self.window)
        arrays = [x.numpy()[case[:, None], days] for x in (self.latents, self.background)]
        return LatentBatch(
            *(torch.from_numpy(x) for x in arrays),
            torch.from_numpy(self._season.numpy()[case, place]),
            None if self._age is None else self._age[torch.from_numpy(case)],
        )


_FIELDS = ("latents", "background")
