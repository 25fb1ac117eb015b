"""Analyses that were made before, one file per day, as a method of the comparison.

`slams limit` cycles a filter whose members are forecasts of the model that made the truth, and
keeps the members' analysis of each day. This method gives them to the evaluation, so that the
filter is a row of the same tables, with the same scores, dates and intervals as any other method.
It reads neither the background nor the observations that it is given: the filter was given the
observations of the same recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from slams.assimilators.case_by_case import CaseAnalysis, CaseByCase, centre
from slams.assimilators.materials import Materials
from slams.assimilators.season import draw_days
from slams.calendar.days import day_of
from slams.errors import UserError
from slams.fields import Batch
from slams.methods.specifications import LETKF_PERFECT_MODEL as SPEC
from slams.runtime.atomic import replacing
from slams.runtime.files import load_tensors

__all__ = ["KeptAnalyses", "KeptDay", "analysis_path", "build"]


@dataclass(frozen=True)
class KeptDay:
    """The analysis of a day.

    Attributes:
        members: `(K, C, H, W)` physical.
        channels: Names of the `C` channels.
        grid: Fingerprint of the grid.
        seed: Seed of the experiment whose observations were assimilated.
    """

    members: Tensor
    channels: list[str]
    grid: str
    seed: int

    def write(self, path: Path) -> None:
        """Write the analysis, completely or not at all; the directory must exist."""
        with replacing(path) as part:
            torch.save(vars(self), part)


def analysis_path(directory: Path, day: date | str) -> Path:
    """Return the file of the analysis of a day, a date or an ISO date."""
    return directory / "analyses" / f"{day}.pt"


@dataclass(eq=False, repr=False)
class KeptAnalyses(CaseByCase):
    """The members' analyses that are kept in a directory.

    Args:
        normaliser: Climatology, standard deviations and transforms.
        grid: The grid.
        seed: The experiment's seed.
        directory: The directory.
    """

    name = SPEC.name

    directory: Path = Path()

    @classmethod
    def build(cls, materials: Materials) -> Self:
        """Build the method of a recipe, see `slams.plugins.methods.MethodSpec`."""
        directory = Path(materials.settings_of(cls.name)["analyses"])
        given = (materials.normaliser, materials.grid, materials.seed)
        return cls(*given, directory=directory)

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
        path = analysis_path(self.directory, day)
        if not path.is_file():
            days = sorted(p.stem for p in path.parent.glob("*.pt"))
            found = f"those of {days[0]} to {days[-1]}" if days else "none"
            raise UserError(
                f"key 'assimilation.{self.name}.analyses': {self.directory}: found {found}, "
                f"expected an analysis of {day}; run `slams limit` with the same days first"
            )
        try:
            kept = KeptDay(**load_tensors(path))
            index = [kept.channels.index(c.name) for c in self.normaliser.channels]
        except ValueError as error:
            raise UserError(
                f"{path} has no {str(error).split(' is ')[0]}; run `slams limit` with this "
                f"recipe's data.channels"
            ) from None
        except Exception as error:
            raise UserError(
                f"{path} is damaged ({type(error).__name__}); run `slams limit` again with "
                f"resume=overwrite"
            ) from error
        for what, found, expected in (
            ("the grid", kept.grid, self.grid.fingerprint),
            ("seed", kept.seed, self.seed),
        ):
            if found != expected:
                raise UserError(
                    f"{path}: found {what} {found}, expected {expected}: methods are compared on "
                    f"the same observations; run `slams limit` with this recipe"
                )
        return kept.members[:, index].unsqueeze(1).to(self.normaliser.sd.device)


build = KeptAnalyses.build
