"""Windows of an archive with their backgrounds: read piece by piece, or held in few bytes.

Methods are fitted to fields that are rounded as in a packed store (`data_modules.store.packing`).
The days in use are therefore held once each as 16-bit multiples of `STEP` standard deviations, and
fields and backgrounds are computed from them when they are asked for, to the bit as if they had
been read from the store: 2 to 4 bytes per value of a window in place of 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from data_modules.store.packing import STEP
from data_modules.stream.background import BackgroundProvider
from data_modules.stream.windows import WindowDataset
from slams.assimilators.base import Archive
from slams.assimilators.windows import LazyWindows
from slams.normalisation import Normaliser

__all__ = ["ArchiveReader", "packed_archive"]

# Windows read at a time; limits the temporaries, not the result.
_BATCH = 16
_LARGEST = torch.iinfo(torch.int16).max
_MISSING = torch.iinfo(torch.int16).min


@dataclass(frozen=True)
class ArchiveReader:
    """Reader of an archive's windows, a few at a time.

    Attributes:
        dataset: The windows, with the states that their backgrounds are made from.
        provider: Provider of the backgrounds, which are never re-centred.
        normaliser: Climatology, standard deviations and transforms.
    """

    dataset: WindowDataset
    provider: BackgroundProvider
    normaliser: Normaliser

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def first_days(self) -> Tensor:
        """Return the first day of each window, `(N,)` float64 days since 1970-01-01 00 UTC."""
        return torch.from_numpy(self.dataset.store.time[self.dataset.cases])

    def read(self, positions: Tensor) -> Archive:
        """Read some windows, with a mask also where nothing is missing.

        Args:
            positions: `(n,)` int64.

        Raises:
            UserError: A chunk is damaged, or a training field has a missing value.
        """
        window, normaliser = self.dataset.read(positions.tolist()), self.normaliser
        climatology = normaliser.climatology(window.time)
        fields = normaliser.normalise(window.fields, climatology)
        background = self.provider(window, normaliser, climatology, None)
        known = torch.isfinite(fields)
        there = torch.ones_like(known) if background.known is None else background.known
        # Missing training values are replaced by an anomaly of zero.
        fields = torch.where(known, fields, 0.0)
        return Archive(fields, background.mean, window.time, known, there)


def packed_archive(reader: ArchiveReader) -> Archive:
    """Read an archive and hold it packed: its fields, backgrounds and masks are `LazyWindows`.

    Args:
        reader: Reader of its windows.

    Raises:
        UserError: As for `ArchiveReader.read`.
    """
    dataset, provider, normaliser = reader.dataset, reader.provider, reader.normaliser
    time, own, before = dataset.store.time, dataset.days, dataset.earlier_days
    used = [own] if before is None else [own, before]
    days = np.unique(np.concatenate([one.ravel() for one in used]))
    days = days[days >= 0]
    shape = (len(dataset.store.channels), *dataset.store.grid.shape)
    states = states_before = _Days(time[days], shape, normaliser)
    at, at_before = _places(days, own), None
    if before is not None:
        at_before = _places(days, before)
    elif dataset.states is not None:  # another store, with states of the same days
        states_before, at_before = _Days(time[days], shape, normaliser), at
    for part in torch.arange(len(dataset)).split(_BATCH):
        window = dataset.read(part.tolist())
        states.put(at[part], window.fields, window.time)
        if at_before is not None:
            previous_days = provider.previous_days(window)
            states_before.put(at_before[part], window.previous, previous_days)
    size = (*own.shape, *shape)
    background_known = None
    if at_before is not None and not states_before.are_complete(at_before):
        background_known = _Known(size, states_before, at_before)
    return Archive(
        _Fields(size, states, at),
        _Backgrounds(size, states_before, at_before, provider),
        torch.from_numpy(time[own]),
        None if states.are_complete(at) else _Known(size, states, at),
        background_known,
    )


def _places(days: np.ndarray, wanted: np.ndarray) -> Tensor:
    """Return the places of some days among others, -1 for a missing day."""
    places = np.searchsorted(days, wanted)
    return torch.from_numpy(np.where(wanted >= 0, places, -1))


class _Days:
    """Days held as 16-bit anomalies.

    Args:
        time: `(D,)` days since 1970-01-01 00 UTC.
        shape: `(C, H, W)`.
        normaliser: Climatology, standard deviations and transforms.
    """

    def __init__(self, time: np.ndarray, shape: tuple[int, ...], normaliser: Normaliser) -> None:
        self._time, self._normaliser = torch.from_numpy(time), normaliser
        self._values = torch.empty((len(time), *shape), dtype=torch.int16)
        self._complete = torch.zeros(len(time), dtype=torch.bool)

    def put(self, places: Tensor, physical: Tensor, time: Tensor) -> None:
        """Pack `(n, m, C, H, W)` physical fields into places `(n, m)`; -1 for none."""
        anomaly = self._normaliser.normalise(physical, self._normaliser.climatology(time))
        known, there = torch.isfinite(anomaly), places >= 0
        packed = (anomaly / STEP).round().clamp(-_LARGEST, _LARGEST)
        packed = torch.where(known, packed, _MISSING).to(torch.int16)
        self._values[places[there]] = packed[there]
        self._complete[places[there]] = known.flatten(2).all(dim=2)[there]

    def normalised(self, places: Tensor) -> Tensor:
        """Return normalised fields of places `(n, m)`, NaN where missing."""
        normaliser, at = self._normaliser, places.clamp(min=0)
        climatology = normaliser.climatology(self._time[at])
        anomaly = self._values[at].to(torch.float32).mul_(STEP)
        # Through physical values, as if read from a store: transforms are not linear at zero.
        physical = normaliser.to_physical(normaliser.denormalise(anomaly, climatology))
        fields = normaliser.normalise(physical, climatology)
        if not self.are_complete(places):
            fields.masked_fill_(~self.known(places), torch.nan)
        return fields

    def known(self, places: Tensor) -> Tensor:
        """Return where the fields of places `(n, m)` are known."""
        there = (places >= 0)[..., None, None, None]
        return (self._values[places.clamp(min=0)] != _MISSING) & there

    def are_complete(self, places: Tensor) -> bool:
        """Return whether nothing is missing in places `(n, m)`."""
        return bool((self._complete[places.clamp(min=0)] & (places >= 0)).all())


class _Fields(LazyWindows):
    """Normalised fields, 0 where missing."""

    def __init__(self, shape: tuple[int, ...], days: _Days, at: Tensor) -> None:
        super().__init__(shape)
        self._days, self._at = days, at

    def read(self, positions: Tensor) -> Tensor:
        fields, places = self._days.normalised(self._at[positions]), self._at[positions]
        return fields if self._days.are_complete(places) else torch.nan_to_num_(fields, nan=0.0)


class _Known(LazyWindows):
    """Masks: False where a field, or the state that a background is made from, is missing."""

    def __init__(self, shape: tuple[int, ...], days: _Days, at: Tensor) -> None:
        super().__init__(shape, torch.bool)
        self._days, self._at = days, at

    def read(self, positions: Tensor) -> Tensor:
        return self._days.known(self._at[positions]).expand(len(positions), *self.shape[1:])


class _Backgrounds(LazyWindows):
    """Backgrounds, normalised; the climatology where there are no states to make them from."""

    def __init__(
        self, shape: tuple[int, ...], days: _Days, at: Tensor | None, provider: BackgroundProvider
    ) -> None:
        super().__init__(shape)
        self._days, self._at, self._provider = days, at, provider

    def read(self, positions: Tensor) -> Tensor:
        if self._at is None:
            return torch.zeros(len(positions), *self.shape[1:])
        return self._provider.of_states(self._days.normalised(self._at[positions])).mean
