"""The climatological ensemble, which uses neither a background nor observations."""

from __future__ import annotations

from slams.assimilators.case_by_case import CaseAnalysis, CaseByCase, centre
from slams.assimilators.season import draw_days
from slams.fields import Batch
from slams.methods.specifications import CLIMATOLOGY as SPEC

__all__ = ["Climatology", "build"]


class Climatology(CaseByCase):
    """Ensemble of anomalies of past days of the season, centred on the climatology.

    The members are real days: their spread varies with the season, and their channels and grid
    points are consistent. If the case's climatology is re-centred, the anomalies are added to the
    re-centred one.
    """

    name = SPEC.name

    def analyse_case(self, batch: Batch, members: int) -> CaseAnalysis:
        """Draw the members; `(M, T, C, H, W)` normalised."""
        season = self.season_of(batch)
        drawn = draw_days(len(season), self.seed, self.name, int(batch.case[0]), members)
        members = self.archive.fields[season[drawn]].to(batch.climatology.device)
        return CaseAnalysis(centre(members), centred=True)


build = Climatology.build
