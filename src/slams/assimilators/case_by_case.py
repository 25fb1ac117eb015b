"""Base class of methods that use an archive and analyse one case at a time in normalised space.

Each case is computed separately, with arrays whose shapes do not depend on the batch; its result
therefore does not depend on the batch either, to the last bit.

Ensembles are *centred*: the mean over the members is removed from their perturbations p_m, so that
the ensemble mean is the analysis of the method and not a sample of it. The variance over members
(divisor M - 1) stays unbiased. A member therefore depends on the seed, the case, `m` and, through
the mean that is removed, the number of members; with one member it is the analysis. Ensembles are
centred in normalised space: precipitation, whose transform is not linear, is centred in
log(1 + mm day-1).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from slams.assimilators.base import Archive
from slams.assimilators.materials import Materials
from slams.assimilators.network_gains import NetworkGains
from slams.assimilators.season import season_days
from slams.assimilators.windows import windows_not_finite
from slams.errors import UserError
from slams.fields import Background, Batch, Ensemble
from slams.grid import LatLonGrid
from slams.linalg.partners import Partners
from slams.linalg.settings import LocalSettings
from slams.normalisation import Normaliser

__all__ = ["CaseAnalysis", "CaseByCase", "background_of", "centre"]


def centre(perturbations: Tensor) -> Tensor:
    """Remove the mean over the first axis."""
    return perturbations - perturbations.mean(dim=0, keepdim=True)


class CaseAnalysis(NamedTuple):
    """Analysis of one case.

    Attributes:
        members: `(M, T, C, H, W)` normalised.
        diverged: Number of members that diverged and were drawn again.
        centred: Whether the members' mean is the analysis of the method, not a sample of it.
    """

    members: Tensor
    diverged: int = 0
    centred: bool = False


@dataclass(eq=False, repr=False)
class CaseByCase(ABC):
    """Base class of methods that analyse cases one by one with an archive of the training period.

    Args:
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid.
        seed: The experiment's seed.
        season: Largest distance (days) of an archive day from the verifying day of year.
        local: Settings of the local analysis, for methods that have one.
    """

    name: ClassVar[str]
    # Section of the recipe's `assimilation` with the settings; `name` if empty.
    section: ClassVar[str] = ""
    # Whether `analyse_case` accepts `only`, because its cost is proportional to the members.
    shares_members: ClassVar[bool] = False
    # Gains of the method, where it solves for the weights of observations.
    gains: ClassVar[NetworkGains | None] = None

    normaliser: Normaliser
    grid: LatLonGrid
    seed: int
    season: float = 45.0
    local: LocalSettings = field(default_factory=LocalSettings, kw_only=True)
    _archive: Archive | None = field(default=None, init=False)

    @classmethod
    def build(cls, materials: Materials) -> Self:
        """Build the method of a recipe, see `slams.plugins.methods.MethodSpec`."""
        settings = materials.settings_of(cls.section or cls.name)
        given = (materials.normaliser, materials.grid, materials.seed)
        return cls(*given, local=materials.local, **settings)

    @property
    def archive(self) -> Archive:
        """Return the archive.

        Raises:
            UserError: `fit` was not called.
        """
        if self._archive is None:
            raise UserError(f"{self.name} has no archive yet; call fit(archive) before analyse")
        return self._archive

    def fit(self, archive: Archive) -> None:
        """Store the archive.

        Args:
            archive: Days of the training period with their backgrounds.

        Raises:
            UserError: The archive has fewer than two windows, its shapes disagree with one
                another or the grid, or it contains NaN.
        """
        count = archive.fields.shape[0]
        if count < 2:
            raise UserError(
                f"{self.name}: the archive has {count} windows of the training period; expected "
                "at least 2, in practice 100 or more: lengthen the training split"
            )
        expected = (count, archive.fields.shape[1], *self.normaliser.sd.shape)
        for what, found in (("fields", archive.fields), ("background", archive.background)):
            if tuple(found.shape) != expected:
                raise UserError(
                    f"{self.name}: archive {what} have shape {tuple(found.shape)}; expected "
                    f"{expected}: windows, days, channels and grid of the fields and statistics"
                )
            bad = windows_not_finite(found)
            if bad:
                raise UserError(
                    f"{self.name}: archive {what} contain NaN or infinite values in {bad} of "
                    f"{count} windows; expected complete windows"
                )
        self._archive = archive

    def analyse(self, batch: Batch, members: int, only: range | None = None) -> Ensemble:
        """Return the analysis ensemble, see `slams.assimilators.base.Assimilator`.

        Args:
            batch: Background and observations.
            members: Number of members `M`.
            only: The members to compute, if `shares_members`; `None` for all.

        Raises:
            UserError: There is no archive or no background where one is needed, the window length
                differs from that of the archive, or the observations cannot be used.
        """
        if members < 1:
            raise UserError(f"{self.name}: found {members} members, expected at least 1")
        days, found = self.archive.fields.shape[1], batch.climatology.shape[1]
        if days != found:
            raise UserError(
                f"{self.name}: the batch has windows of {found} days, the archive of {days}; "
                "expected the same number"
            )
        started = time.perf_counter()
        normaliser = self.normaliser.to(batch.climatology.device)
        results, diverged, centred = [], [], []
        with torch.no_grad():
            for position in range(len(batch)):
                case = batch.select(slice(position, position + 1))
                share = {} if only is None else {"only": only}
                analysis = self.analyse_case(case, members, **share)
                state = normaliser.denormalise(analysis.members.unsqueeze(0), case.climatology)
                results.append(normaliser.to_physical(state[0]))
                diverged.append(analysis.diverged)
                centred.append(analysis.centred)
        return Ensemble(
            method=self.name,
            members=torch.stack(results),
            time=batch.time,
            channels=self.normaliser.channels,
            grid=self.grid,
            diverged=torch.tensor(diverged, dtype=torch.int64),
            seconds=time.perf_counter() - started,
            centred=members > 1 and all(centred),
        )

    @property
    def shares_domains(self) -> bool:
        """Return whether several processes can solve one case together, see `share_domains`."""
        return self.gains is not None

    def share_domains(self, partners: Partners) -> None:
        """Solve the domains of a case together with other processes, which call in step.

        Args:
            partners: The processes.
        """
        if self.gains is not None:
            self.gains.partners = partners

    @abstractmethod
    def analyse_case(self, batch: Batch, members: int) -> CaseAnalysis:
        """Analyse the single case of a batch.

        Args:
            batch: One case.
            members: Number of members `M`.
        """

    def season_of(self, batch: Batch) -> Tensor:
        """Return the archive's windows of the case's season: indices `(n,)` int64 on the CPU."""
        return season_days(self.archive.time[:, 0], float(batch.time[0, 0]), self.season)

    def background_of(self, batch: Batch) -> Background:
        """Return the background, see `background_of`."""
        return background_of(batch, self.name)


def background_of(batch: Batch, method: str) -> Background:
    """Return the background.

    Args:
        batch: The batch.
        method: Name of the method that needs it, for the message.

    Raises:
        UserError: The batch has none.
    """
    if batch.background is None:
        raise UserError(f"{method} needs a background and the batch has none; set background.kind")
    return batch.background
