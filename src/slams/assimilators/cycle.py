r"""Cycling: the analysis of a day gives the background of the next, by damped persistence.

With the analysis mean `x_a` of day `t` as a normalised anomaly, its ensemble variance `v_a`, and
the coefficient `a` and error variance `v_1` of one day's persistence fitted in the training
period,

    x_b(t + 1) = a x_a(t),     v_b(t + 1) = c (v_1 + a^2 v_a),

with `c` the recipe's inflation (`assimilation.cycle_inflation`). The coefficient is that of the
truth: where the analysis makes the best of what it knows, `E[x | x_a] = x_a`, what it misses
cannot be forecast from it. `c` is 1 where the ensemble's spread is its error; innovations say
whether it is.

The prior of the cycle, stated plainly: a stationary linear forecast of one day, each channel and
point by itself, and what a method adds to it (the score model's conditional climatology; the
archive of errors, rescaled to `v_b`, of optimal interpolation). It is neither a forecast model
nor the posterior of a filter with one.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from slams.errors import UserError
from slams.fields import Background, Batch, Ensemble
from slams.normalisation import Normaliser
from slams.observations.quality import gross_error_check

__all__ = ["Cycle"]


class Cycle:
    """Keeps the last analysis of one method, and makes its next background.

    Args:
        normaliser: Climatology, standard deviations and transforms.
        coefficient: `(C, H, W)` damping `a` of one day.
        variance: `(C, H, W)` normalised error variance `v_1` of one day's persistence.
        inflation: Factor `c` on the error variance.
        gross_error: Limit of the gross-error check, which is made against this background.
    """

    def __init__(
        self,
        normaliser: Normaliser,
        coefficient: Tensor,
        variance: Tensor,
        inflation: float = 1.0,
        gross_error: float = float("inf"),
    ) -> None:
        self.normaliser = normaliser
        self.coefficient = coefficient
        self.variance = variance
        self.inflation = inflation
        self.gross_error = gross_error
        self._day: float | None = None
        self._mean: Tensor | None = None
        self._spread: Tensor | None = None

    def reset(self) -> None:
        """Forgets the last analysis: the next case starts from the background it comes with."""
        self._day = self._mean = self._spread = None

    def prepare(self, batch: Batch) -> Batch:
        """Gives one case its cycled background; the first keeps the one it comes with.

        Args:
            batch: One case of one day.

        Raises:
            UserError: It is not the day after the last analysis.
        """
        if self._day is not None:
            day = float(batch.time[0, 0])
            if round(day - self._day, 6) != 1:
                raise UserError(
                    f"assimilation.cycle_days: a day follows the one before it after "
                    f"{day - self._day:g} days, expected 1: the test period has a gap"
                )
            device = batch.fields.device
            coefficient, variance = self.coefficient.to(device), self.variance.to(device)
            mean = coefficient * self._mean
            spread = self.inflation * (variance + coefficient.square() * self._spread)
            batch = replace(batch, background=Background(mean, spread, "damped_persistence"))
        return self._checked(batch)

    def keep(self, batch: Batch, ensemble: Ensemble) -> None:
        """Keeps the analysis of a case for the next one.

        Args:
            batch: The case.
            ensemble: Its analysis, `(1, M, 1, C, H, W)` physical.
        """
        normaliser = self.normaliser.to(batch.fields.device)
        state = normaliser.to_channel_units(ensemble.members)
        anomaly = (state - batch.climatology.unsqueeze(1)) / normaliser.sd
        self._mean, self._spread = anomaly.mean(dim=1), anomaly.var(dim=1)
        self._day = float(batch.time[0, 0])

    def _checked(self, batch: Batch) -> Batch:
        background, normaliser = batch.background, self.normaliser.to(batch.fields.device)
        if background is None:
            return batch
        mean = normaliser.denormalise(background.mean, batch.climatology)
        sd = background.variance.sqrt() * normaliser.sd
        accepted = tuple(
            gross_error_check(o, mean, sd, self.gross_error) for o in batch.observations
        )
        return replace(batch, observations=accepted)
