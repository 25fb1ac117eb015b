"""The guidance that needs the denoiser's Jacobian, by name: `mmps`, `sda`, `dps` and `pgdm`.

`decg` is not among them: it needs denoising errors of training days and no Jacobian.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from slams.diffusion.backend import Denoiser
from slams.diffusion.guidance.dps import DPSDenoiser
from slams.diffusion.guidance.mmps import below_sigma, mmps_denoiser
from slams.diffusion.guidance.pgdm import PGDMDenoiser
from slams.diffusion.guidance.sda import SDADenoiser
from slams.diffusion.settings import GuidanceSettings

__all__ = ["jacobian_guidance"]


def jacobian_guidance(
    config: GuidanceSettings,
    denoiser: Denoiser,
    observe: Callable[[Tensor], Tensor],
    y: Tensor,
    variance: Tensor,
    scale: Tensor,
    silent: Tensor | None = None,
) -> Denoiser:
    """Builds the guided denoiser of one case, which guides below `config.below_sigma` alone.

    Args:
        config: Kind and parameters.
        denoiser: Denoiser `D` of the prior, of `(M, ...)` states.
        observe: Maps states `(M, ...)` to `(M, P)`, decoder and `H` together.
        y: `(P,)` observed values.
        variance: `(P,)` diagonal of `R`, the decoder's error included.
        scale: `(P,)` what a standard deviation of one in every field is for an observation.
        silent: `(P,)` bool, where a censored observation reads its bound; `None` for nowhere.

    Raises:
        ValueError: The kind is unknown.
    """
    if config.kind == "mmps":
        guided = mmps_denoiser(
            denoiser, observe, y, variance, config.iterations, silent, config.linearisations
        )
    elif config.kind == "sda":
        guided = SDADenoiser(denoiser, observe, y, variance, scale, config.gamma, silent)
    elif config.kind == "dps":
        guided = DPSDenoiser(denoiser, observe, y, scale, config.zeta, silent)
    elif config.kind == "pgdm":
        guided = PGDMDenoiser(denoiser, observe, y, variance, config.iterations, silent)
    else:
        raise ValueError(
            f"assimilation.guidance.kind: found {config.kind!r}, expected one of mmps, sda, dps, "
            "pgdm"
        )
    return below_sigma(guided, denoiser, config.below_sigma)
