"""The gross-error check, which rejects observations too far from the background.

    reject if |y - H x_b| > limit sqrt(R + (H s_b)^2)

with `s_b` the background's standard deviation. `(H s_b)^2` is the variance of `H x_b` if the
errors inside a footprint are fully correlated, which is its maximum: the check is lenient by
design.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from slams.errors import UserError
from slams.fields import Observations

__all__ = ["gross_error_check"]


def gross_error_check(
    observations: Observations, background: Tensor, background_sd: Tensor, limit: float
) -> Observations:
    """Mask the observations that contradict the background.

    Args:
        observations: One modality and variable.
        background: `(B, T, C, H, W)` channel units.
        background_sd: `(B, T, C, H, W)` channel units, its error standard deviation.
        limit: Largest accepted departure, in standard deviations of `y - H x_b`; infinity accepts
            all.

    Returns:
        The observations with the rejected ones masked in addition.

    Raises:
        UserError: The limit is not positive.
    """
    if not limit > 0:
        raise UserError(
            f"limit of the gross-error check is {limit:g} standard deviations; expected above 0 "
            "(inf accepts everything)"
        )
    operator = observations.operator
    departure = observations.values - operator(background)
    # Use the linear part only: an elevation offset has no variance.
    footprint_sd = operator.linear(background_sd)
    variance = observations.error_variance + footprint_sd**2
    accepted = departure**2 <= limit**2 * variance
    return replace(observations, mask=observations.mask & accepted)
