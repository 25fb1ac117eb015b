"""Analyses that were made before, one file per day, as a method of the comparison.

`slams limit` cycles a filter whose members are forecasts of the model that made the truth, and
keeps the members' analysis of each day. This method gives them to the evaluation, so that the
filter is a row of the same tables, with the same scores, dates and intervals as any other method.
It reads neither the background nor the observations that it is given: the filter was given the
observations of the same recipe.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Self

from torch import Tensor

from slams.assimilators.case_by_case import CaseAnalysis, CaseByCase, centre
from slams.assimilators.materials import KeptDay, Materials
from slams.assimilators.season import draw_days
from slams.calendar.days import day_of
from slams.errors import UserError
from slams.fields import Batch
from slams.methods.specifications import LETKF_PERFECT_MODEL as SPEC

__all__ = ["KeptAnalyses", "build"]


@dataclass(eq=False, repr=False)
class KeptAnalyses(CaseByCase):
    """The members' analyses that are kept.

    Args:
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid.
        seed: The experiment's seed.
        read: Function that reads the analysis of a day, see `Materials.kept_day`.
    """

    name = SPEC.name

    read: Callable[[date], KeptDay] = field(kw_only=True)

    @classmethod
    def build(cls, materials: Materials) -> Self:
        """Build the method of a recipe, see `slams.plugins.methods.MethodSpec`."""
        given = (materials.normaliser, materials.grid, materials.seed)
        return cls(*given, read=materials.kept_day)

    def analyse_case(self, batch: Batch, members: int) -> CaseAnalysis:
        """Read the analysis of the case's day and choose members; `(M, 1, C, H, W)` normalised.

        The members are a random choice, shifted so that their mean is that of all.

        Raises:
            UserError: The day has no analysis, or one of another grid, seed or channels, or the
                case is a window of several days.
        """
        if batch.time.shape[1] != 1:
            raise UserError(
                f"{self.name}: found windows of {batch.time.shape[1]} days, expected one day: its "
                f"analyses are of single days"
            )
        state = self.normaliser.to_channel_units(self._read(day_of(float(batch.time[0, 0]))))
        normalised = (state - batch.climatology) / self.normaliser.sd
        mean = normalised.mean(dim=0)
        case = int(batch.case[0])
        chosen = draw_days(len(normalised), self.seed, f"{self.name}/members", case, members)
        return CaseAnalysis(mean + centre(normalised[chosen]), centred=True)

    def _read(self, day: date) -> Tensor:
        """Return the members of a day, `(K, 1, C, H, W)` physical."""
        kept, channels = self.read(day), [c.name for c in self.normaliser.channels]
        absent = [name for name in channels if name not in kept.channels]
        for what, found, expected in (
            ("channels without", ", ".join(absent), ""),
            ("the grid", kept.grid, self.grid.fingerprint),
            ("seed", kept.seed, self.seed),
        ):
            if found != expected:
                raise UserError(
                    f"the analysis of {day} of {self.name}: found {what} {found}, expected those "
                    f"of the recipe: methods are compared on the same observations and fields; "
                    f"run `slams limit` with this recipe"
                )
        index = [kept.channels.index(name) for name in channels]
        return kept.members[:, index].unsqueeze(1).to(self.normaliser.sd.device)


build = KeptAnalyses.build
