"""The background ensemble: the background with its error, before any observation."""

from __future__ import annotations

from torch import Tensor

from slams.assimilators.classical import ClassicalAssimilator, centre
from slams.assimilators.season import draw_days
from slams.fields import Batch

__all__ = ["BackgroundEnsemble"]

# Normalised variance below which an archive's errors say nothing about their size.
_SMALLEST_VARIANCE = 1e-8


class BackgroundEnsemble(ClassicalAssimilator):
    """Adds past errors of the background to it.

    The errors e = x - x_b of past days of the season carry the correlations between channels
    and grid points. They are rescaled point by point to the error variance that comes with
    the background, and centred.
    """

    name = "background"

    def analyse_case(self, batch: Batch, members: int) -> Tensor:
        """Draws the members; `(M, T, C, H, W)` normalised."""
        background = self.background_of(batch)
        season = self.season_of(batch)
        errors = centre(self.archive.fields[season] - self.archive.background[season])
        variance = errors.square().sum(dim=0) / (len(season) - 1)
        drawn = draw_days(len(season), self.seed, self.name, int(batch.case[0]), members)
        errors = errors[drawn].to(background.mean.device)
        variance = variance.to(background.mean.device)
        scale = (background.variance[0] / variance.clamp(min=_SMALLEST_VARIANCE)).sqrt()
        return background.mean[0] + centre(errors) * scale
