r"""Cycling: the background of a day is the analysis of the day before, by damped persistence.

Where a store has steps of less than a day, "day" stands for a step: the next analysis is one step
later.

With the analysis mean `x_a` of day `t` as a normalised anomaly, its ensemble variance `v_a`, and
the coefficient `a` and error variance `v_1` of one day's persistence fitted in the training
period,

    x_b(t + 1) = a x_a(t),     v_b(t + 1) = c (v_1 + a^2 v_a),

with `c` the recipe's inflation (`assimilation.cycle_inflation`). The coefficient is that of the
truth: if the analysis is optimal, `E[x | x_a] = x_a`, its error cannot be forecast from it. `c` is
1 if the spread of the ensemble equals its error, which innovations can check.

A score model trained with backgrounds from true states represents `p(x | a x')`, `x'` the state of
the day before. An analysis mean is not such a state: it lacks the variance of the unknown part,
and using it as one makes the model more and more certain from cycle to cycle. Members are states.
With `members`, each has its own next background, `a x_a^m`, and each draw is from

    x^m(t + 1) ~ p(x | a x_a^m(t), y(t + 1)):

the truth and every member follow the same Markov chain, and the unobserved part returns to the
mean *and* spread of the climatology. This is a particle filter with the optimal proposal and
without weights: its gain is that of one day's forecast error only, smaller than the optimal gain,
but the ensemble cannot collapse.

With a share `gamma` (`assimilation.cycle_bias`), part of each increment counts as an error of the
climatology, after Dee and da Silva (1998, Q. J. R. Meteorol. Soc. 124, 269-295):

    b(t) = b(t - 1) + gamma (x_a(t) - x_b(t)),     x_b(t + 1) = b(t) + a (x_a(t) - b(t)),

with `b = 0` before the first day, and likewise for each member. Where observations show the same
departure from the climatology day after day, `b` approaches it and O-B approaches zero. Nothing
else enters `b`; where nothing is observed it holds what the method makes of observations
elsewhere.

The prior of the cycle is thus a stationary linear forecast of one day, separate for each channel
and point, plus what a method adds to it (the score model's conditional climatology; for optimal
interpolation, the archive of errors, rescaled to `v_b`). It is neither a forecast model nor the
posterior of a filter with one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from torch import Tensor

from slams.errors import UserError
from slams.fields import Background, Batch, Ensemble
from slams.normalisation import Normaliser
from slams.observations.backgrounds import climatological
from slams.observations.quality import gross_error_check
from slams.observations.superobs import Superobs

__all__ = ["Cycle", "CycleState", "accepted", "check_next_day"]

# Day, members and the estimated error of the climatology (`None` where none is estimated).
CycleState = tuple[float, Tensor, Tensor | None]


@dataclass(eq=False, repr=False)
class Cycle:
    """Cycle of one method: the last analysis and the background that follows from it.

    Args:
        normaliser: Climatology, standard deviations and transforms.
        coefficient: `(C, H, W)` damping `a` of one day.
        variance: `(C, H, W)` normalised error variance `v_1` of one day's persistence.
        inflation: Factor `c` on the error variance.
        gross_error: Limit of the gross-error check, which uses this background.
        members: Whether to provide a separate background per member as well, for methods that draw
            members one by one; other methods use mean and variance.
        superobs: Averaging of the observations that this background accepts, or `None`.
        from_climatology: Whether the first background is the climatology, not that of the case.
        measured: Whether `variance` is that of the cycle's own backgrounds
            (`slams.assimilators.own_errors`), which the spread of the analysis does not change.
        bias: Share `gamma` of each increment that counts as an error of the climatology.
        step: Length of a step (days): the next case is one step later.
    """

    normaliser: Normaliser
    coefficient: Tensor
    variance: Tensor
    inflation: float = 1.0
    gross_error: float = float("inf")
    members: bool = False
    superobs: Superobs | None = None
    from_climatology: bool = False
    measured: bool = False
    bias: float = 0.0
    step: float = 1.0
    _day: float | None = field(default=None, init=False)
    _members: Tensor | None = field(default=None, init=False)
    _bias: Tensor | None = field(default=None, init=False)

    def reset(self) -> None:
        """Discard the last analysis, so that the next case starts from its own background."""
        self._day = self._members = self._bias = None

    @property
    def state(self) -> CycleState | None:
        """Return day, members and error of the climatology after the last analysis, if any.

        Members are `(1, M, 1, C, H, W)`, the error is `(C, H, W)` or `None`; both normalised.
        """
        if self._day is None or self._members is None:
            return None
        return self._day, self._members, self._bias

    def restore(self, day: float, members: Tensor, bias: Tensor | None = None) -> None:
        """Continue after an analysis, as returned by `state`.

        Args:
            day: Its day.
            members: Its members.
            bias: The error of the climatology; `None` for zero, as in states of earlier versions.
        """
        self._day, self._members, self._bias = day, members, bias

    def prepare(self, batch: Batch) -> Batch:
        """Replace the background of a case by the cycled one; the first case may keep its own.

        Args:
            batch: One case of one day.

        Raises:
            UserError: The case is not the day after the last analysis.
        """
        if self._day is not None and self._members is not None:
            check_next_day(self._day, batch, self.step)
            device = batch.fields.device
            coefficient, variance = self.coefficient.to(device), self.variance.to(device)
            members = self._members.to(device)
            if self._bias is None:
                members = coefficient * members
            else:
                bias = self._bias.to(device)
                members = bias + coefficient * (members - bias)
            grown = 0.0 if self.measured else members.var(dim=1)
            spread = self.inflation * (variance + grown).expand_as(members[:, 0])
            background = Background(
                members.mean(dim=1),
                spread,
                "damped_persistence",
                members=members if self.members else None,
            )
            batch = replace(batch, background=background)
        elif self.from_climatology:
            shape, device = batch.climatology.shape, batch.climatology.device
            batch = replace(batch, background=climatological(shape, device=device))
        return accepted(batch, self.normaliser, self.gross_error, self.superobs)

    def keep(self, batch: Batch, ensemble: Ensemble) -> None:
        """Store the analysis of a case for the next one.

        Args:
            batch: The case, with the background of its analysis.
            ensemble: Its analysis, `(1, M, 1, C, H, W)` physical.
        """
        normaliser = self.normaliser.to(batch.fields.device)
        state = normaliser.to_channel_units(ensemble.members)
        self._members = (state - batch.climatology.unsqueeze(1)) / normaliser.sd
        self._day = float(batch.time[0, 0])
        if self.bias and batch.background is not None:
            increment = (self._members.mean(dim=1) - batch.background.mean)[0, 0]
            last = 0.0 if self._bias is None else self._bias.to(increment.device)
            self._bias = last + self.bias * increment


def check_next_day(last: float, batch: Batch, step: float = 1.0) -> None:
    """Refuse a case that is not one step after the last one.

    Args:
        last: The last day, days since 1970-01-01 00 UTC.
        batch: One case of one day.
        step: Length of a step (days).

    Raises:
        UserError: Days, or steps, are missing between them.
    """
    day = float(batch.time[0, 0])
    if round(day - last, 6) != step:
        raise UserError(
            f"assimilation.cycle_days: found {day - last:g} days from one case to the next, "
            f"expected {step:g}: the test period has a gap"
        )


def accepted(
    batch: Batch, normaliser: Normaliser, gross_error: float, superobs: Superobs | None
) -> Batch:
    """Reject observations that contradict the background of a batch, and average the others.

    Args:
        batch: The batch, with the background of the cycle.
        normaliser: Climatology, standard deviations and transforms.
        gross_error: Limit of the gross-error check.
        superobs: Averaging of the accepted observations, or `None`.
    """
    background, normaliser = batch.background, normaliser.to(batch.fields.device)
    if background is not None:
        mean = normaliser.denormalise(background.mean, batch.climatology)
        sd = background.variance.sqrt() * normaliser.sd
        kept = tuple(gross_error_check(o, mean, sd, gross_error) for o in batch.observations)
        batch = replace(batch, observations=kept)
    return batch if superobs is None else superobs(batch, normaliser)
