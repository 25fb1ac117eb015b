"""Localisation: a correlation function of finite support.

With z = distance / half-width, the fifth-order piecewise rational function of Gaspari and Cohn
(1999, Q. J. R. Meteorol. Soc. 125, 723-757, eq. 4.10) is

    C(z) = 1 - 5/3 z^2 + 5/8 z^3 + 1/2 z^4 - 1/4 z^5      for 0 <= z <= 1
    C(z) = (2 - z)^4 (z^2 + 2 z - 1/2) / (12 z)           for 1 <= z <= 2
    C(z) = 0                                              for 2 <= z

The second line is their formula with the fourth-order zero at z = 2 factored out, so that rounding
cannot make it negative. C is positive definite for distances in space, and also for great-circle
distances as long as its support ends within half the circumference (Gneiting 2013, Bernoulli 19,
1327-1349, theorem 3), hence the largest half-width of `MAX_HALF_WIDTH_KM`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from slams.errors import UserError
from slams.grid import EARTH_RADIUS_KM

__all__ = ["MAX_HALF_WIDTH_KM", "gaspari_cohn"]

MAX_HALF_WIDTH_KM = math.pi * EARTH_RADIUS_KM / 2


def gaspari_cohn(distance_km: Tensor, half_width_km: float) -> Tensor:
    """Evaluate the localisation function of Gaspari and Cohn.

    Args:
        distance_km: `(...)` great-circle distances (km), not negative.
        half_width_km: Half-width `c` (km); zero is reached at `2c`; infinity switches the
            localisation off.

    Returns:
        `(...)` in [0, 1], 1 at distance 0, in the precision of `distance_km`.

    Raises:
        UserError: The half-width is not positive, or finite and so large that the function is
            no longer a correlation on the sphere.
    """
    if not half_width_km > 0 or MAX_HALF_WIDTH_KM < half_width_km < math.inf:
        raise UserError(
            f"half-width of the localisation: found {half_width_km:g} km, expected above 0 and "
            f"at most {MAX_HALF_WIDTH_KM:.0f} km (a quarter of the circumference), or .inf for no "
            "localisation"
        )
    if math.isinf(half_width_km):
        return torch.ones_like(distance_km)
    z = distance_km / half_width_km
    near = 1 + z * z * (-5 / 3 + z * (5 / 8 + z * (1 / 2 - z / 4)))
    # Clamp on both sides, so that the unused branch has neither a pole nor a growing power.
    z = z.clamp(1, 2)
    far = (2 - z) ** 4 * (z * z + 2 * z - 0.5) / (12 * z)
    return torch.where(distance_km <= half_width_km, near, far)
