"""The background ensemble: the background and its error, without observations."""

from __future__ import annotations

from slams.assimilators.background_errors import BackgroundErrors
from slams.assimilators.base import Archive
from slams.assimilators.case_by_case import CaseAnalysis, CaseByCase, centre
from slams.assimilators.materials import Materials
from slams.assimilators.season import draw_days
from slams.fields import Batch
from slams.methods.specifications import BACKGROUND as SPEC

__all__ = ["BackgroundEnsemble", "build"]


class BackgroundEnsemble(CaseByCase):
    """Ensemble of the background plus past background errors.

    Errors of past days of the season contain the correlations between channels and grid points.
    They are rescaled to the error variance of the background, see `BackgroundErrors`, and centred.
    """

    name = SPEC.name

    def fit(self, archive: Archive) -> None:
        """Store the archive and its errors; see `CaseByCase.fit`."""
        super().fit(archive)
        self._errors = BackgroundErrors(archive)

    def analyse_case(self, batch: Batch, members: int) -> CaseAnalysis:
        """Draw the members; `(M, T, C, H, W)` normalised."""
        background = self.background_of(batch)
        season = self.season_of(batch)
        drawn = draw_days(len(season), self.seed, self.name, int(batch.case[0]), members)
        errors = self._errors.of(season, background.variance[0])
        return CaseAnalysis(background.mean[0] + centre(errors[drawn]), centred=True)


def build(materials: Materials) -> BackgroundEnsemble:
    """Build the method of a recipe, see `slams.plugins.methods.MethodSpec`."""
    return BackgroundEnsemble(materials.normaliser, materials.grid, materials.seed)
