"""The problem of one case that every kind of guidance solves: a prior, observations, settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from slams.diffusion.backend import Denoiser
from slams.diffusion.posterior.errors import ErrorCovariance
from slams.diffusion.settings import GuidanceSettings

__all__ = ["GuidanceProblem"]


@dataclass(frozen=True)
class GuidanceProblem:
    """Holds what the guided denoiser of one case is made of.

    Attributes:
        settings: Parameters of the guidance.
        denoiser: Denoiser `D` of the prior, of `(M, ...)` states.
        observe: Maps states `(M, ...)` to `(M, P)`, decoder and `H` together.
        y: `(P,)` observed values.
        variance: `(P,)` diagonal of `R`.
        total_variance: `(P,)` the same, the decoder's error included.
        scale: `(P,)` what a standard deviation of one in every field is for an observation.
        silent: `(P,)` bool, where a censored observation reads its bound; `None` for nowhere.
        covariance: The denoising errors of archive days as this case sees them; `None` where
            the kind does not use them (`GuidanceSpec.uses_errors`).
    """

    settings: GuidanceSettings
    denoiser: Denoiser
    observe: Callable[[Tensor], Tensor]
    y: Tensor
    variance: Tensor
    total_variance: Tensor
    scale: Tensor
    silent: Tensor | None = None
    covariance: ErrorCovariance | None = None

    def error_covariance(self) -> ErrorCovariance:
        """Return the denoising errors.

        Raises:
            ValueError: There are none.
        """
        if self.covariance is None:
            raise ValueError(
                f"guidance {self.settings.kind} needs denoising errors, found none; expected "
                f"GuidanceSpec(uses_errors=True)"
            )
        return self.covariance
