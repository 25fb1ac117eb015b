"""The background ensemble: the background and its error, without observations."""

from __future__ import annotations

from slams.assimilators.background_errors import FromBackgroundErrors
from slams.assimilators.case_by_case import CaseAnalysis, centre
from slams.assimilators.season import draw_days
from slams.fields import Batch
from slams.methods.specifications import BACKGROUND as SPEC

__all__ = ["BackgroundEnsemble", "build"]


class BackgroundEnsemble(FromBackgroundErrors):
    """Ensemble of the background plus past background errors.

    Errors of past days of the season contain the correlations between channels and grid points.
    They are rescaled to the error variance of the background, see `BackgroundErrors`, and centred.
    """

    name = SPEC.name

    def analyse_case(self, batch: Batch, members: int) -> CaseAnalysis:
        """Draw the members; `(M, T, C, H, W)` normalised."""
        background = self.background_of(batch)
        season = self.season_of(batch)
        drawn = draw_days(len(season), self.seed, self.name, int(batch.case[0]), members)
        errors = self._errors.of(season, background.variance[0])
        return CaseAnalysis(background.mean[0] + centre(errors[drawn]), centred=True)


build = BackgroundEnsemble.build
