"""Windows of days of a training store, read a whole batch at a time.

`WindowDataset.__getitems__` fills one array per batch, since the cost of reading is per array and
per call, not per byte. dask is not used, and a pickled dataset contains only the path of its
store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from data_modules.store.periods import find_days, runs_of
from data_modules.store.training_store import TrainingStore, iso_date
from data_modules.stream.field_cache import MappedFields, MemoryFields
from slams.errors import UserError
from slams.fields import Window

__all__ = ["Earlier", "WindowDataset"]


@dataclass(frozen=True)
class Earlier:
    """The earlier steps that are read with a window: days, unless the store has shorter steps.

    Attributes:
        lag: Steps from the last earlier one to the first step of the window.
        days: Number of consecutive steps, `L`.
        step: Length of a step (days).
    """

    lag: int
    days: int = 1
    step: float = 1.0

    @property
    def lag_days(self) -> float:
        """Return the days from the last earlier step to the first step of the window."""
        return self.lag * self.step

    def offsets(self) -> np.ndarray:
        """Return the times relative to the window's first step, `(L,)` days, in their order."""
        return (np.arange(-self.days + 1, 1) - self.lag) * self.step


class WindowDataset(Dataset[Window]):
    """Dataset of windows of `T` consecutive steps: days, unless the store has shorter ones.

    Args:
        store: The training store.
        cases: `(N,)` positions in the store of the first day of each window.
        window: Days per window, `T`.
        earlier: Earlier days to read as `Window.previous`, or `None`.
        states: Store whose states on the window's own days are read as `Window.previous` (a
            background from file), instead of `earlier`.
        arrays: Observation arrays of the store to read, any of `stations`,
            `station_errors`, `satellite`, `satellite_errors`.
        complete: Whether to refuse missing values (training), except in channels with gaps.
        cache: Uncompressed fields of the store, or `None`.

    Attributes:
        days: `(N, T)` positions in the store of each window's days.
        earlier_days: `(N, L)` positions of the earlier days, -1 for a missing one; or `None`.
    """

    def __init__(
        self,
        store: TrainingStore,
        cases: np.ndarray,
        window: int,
        earlier: Earlier | None = None,
        states: TrainingStore | None = None,
        arrays: Sequence[str] = (),
        complete: bool = False,
        cache: MemoryFields | None = None,
    ) -> None:
        self.store = store
        self.cases = np.asarray(cases, dtype=np.int64)
        self.window = window
        self.states = states
        self.arrays = tuple(arrays)
        self.complete = complete
        self._cache = cache
        # Positions of all days of all windows: a search per batch would take a tenth of its time.
        first = store.time[self.cases][:, None]
        self.days = find_days(store.time, first + store.step * np.arange(window))
        self.earlier_days = None
        if earlier is not None:
            self.earlier_days = find_days(store.time, first + earlier.offsets())
        # Whether the required channels of a day are known to be complete.
        self._whole = np.zeros(len(store.time) if complete else 0, dtype=bool)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, position: int) -> Window:
        return self.read([position])

    def __getitems__(self, positions: list[int]) -> Window | UserError:
        try:
            return self.read(positions)
        except UserError as error:
            # Raised by `StreamLoader`: raised in a worker, it would be buried in a traceback.
            if get_worker_info() is None:
                raise
            return error

    def read(self, positions: Sequence[int]) -> Window:
        """Read a batch of windows.

        Args:
            positions: `B` positions in the dataset.

        Raises:
            UserError: A chunk is corrupt, or a training field has a missing value.
        """
        places = np.asarray(positions, dtype=np.int64)
        case, index = self.cases[places], self.days[places]
        fields = self._fields(self.store, index, self._cache)
        if self.complete:
            self._refuse_missing(fields, index)
        previous = None
        if self.states is not None:
            first = self.store.time[case][:, None]
            offsets = self.store.step * np.arange(self.window)
            found = find_days(self.states.time, first + offsets)
            previous = self._fields(self.states, found, None)
        elif self.earlier_days is not None:
            previous = self._fields(self.store, self.earlier_days[places], self._cache)
        observed: dict[str, Tensor] = {}
        for name in self.arrays:
            values = self.store.read_array(name, index.reshape(-1))
            # One satellite channel, its image flattened by rows; stations keep their variables.
            shape = (-1,) if name in ("satellite", "satellite_errors") else values.shape[1:]
            observed[name] = torch.from_numpy(values.reshape(*index.shape, *shape))
        return Window(
            fields=torch.from_numpy(fields),
            time=torch.from_numpy(self.store.time[index]),
            case=torch.from_numpy(case),
            previous=None if previous is None else torch.from_numpy(previous),
            **observed,
        )

    def __getstate__(self) -> dict[str, Any]:
        # Fields in memory are not pickled: each worker would have a copy.
        cache = self._cache if isinstance(self._cache, MappedFields) else None
        return {**self.__dict__, "_cache": cache}

    def _fields(
        self, store: TrainingStore, index: np.ndarray, cache: MemoryFields | None
    ) -> np.ndarray:
        """Return `(B, n, C, H, W)`, NaN where the index is -1."""
        shape = (*index.shape, len(store.channels), *store.grid.shape)
        out = np.empty((index.size, *shape[index.ndim :]), np.float32)
        flat = index.reshape(-1)
        out[flat < 0] = np.nan
        if cache is not None:
            cache.fill(flat, out)
        else:
            _read_once(store, flat, out)
        return out.reshape(shape)

    def _refuse_missing(self, fields: np.ndarray, index: np.ndarray) -> None:
        may = {*self.store.absent, *self.store.attributes.get("gaps", ())}
        must = [i for i, c in enumerate(self.store.channels) if c.name not in may]
        for b, t in np.argwhere(~self._whole[index]):
            # The sum is finite if all values are; the channel is searched only if it is not.
            if np.isfinite(fields[b, t, must].sum(dtype=np.float64)):
                self._whole[index[b, t]] = True
                continue
            for c in must:
                if np.isfinite(fields[b, t, c]).all():
                    continue
                raise UserError(
                    f"training store {self.store.path}: {self.store.channels[c].name} of "
                    f"{iso_date(self.store.time[index[b, t]])}, a training day, has missing "
                    f"values (NaN); prepare the store again, with the channel in "
                    f"data.source.gaps if they are expected"
                )


def _read_once(store: TrainingStore, index: np.ndarray, out: np.ndarray) -> None:
    """Read each day once even if several windows of a batch contain it; copy it to the others."""
    days, first = np.unique(index, return_index=True)
    fresh = np.full(len(index), -1)
    fresh[first] = days
    store.read_runs([(day, out[p : p + count]) for p, day, count in runs_of(fresh)])
    where = dict(zip(days.tolist(), first.tolist(), strict=True))
    for place in np.flatnonzero((fresh < 0) & (index >= 0)).tolist():
        out[place] = out[where[int(index[place])]]
