"""The problem of one case that every kind of guidance solves: a prior, observations, settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from slams.diffusion.backend import Denoiser, WrappedDenoiser
from slams.diffusion.posterior.errors import ErrorCovariance
from slams.diffusion.settings import GuidanceSettings

__all__ = ["GuidanceProblem", "GuidedDenoiser"]


@dataclass(frozen=True)
class GuidanceProblem:
    """Inputs from which the guided denoiser of one case is built.

    Attributes:
        settings: Parameters of the guidance.
        denoiser: Denoiser `D` of the prior, of `(M, ...)` states.
        observe: Map from states `(M, ...)` to `(M, P)`, decoder and `H` together.
        y: `(P,)` observed values.
        variance: `(P,)` diagonal of `R`.
        total_variance: `(P,)` diagonal of `R`, the decoder's error included.
        scale: `(P,)` change of an observation that corresponds to one standard deviation in every
            field.
        silent: `(P,)` bool, True where a censored observation is at its bound; `None` if none is.
        covariance: The denoising errors of archive days, prepared for this case; `None` where
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

    @property
    def censored(self) -> bool:
        """Return whether a censored observation is at its bound."""
        return self.silent is not None and bool(self.silent.any())

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


class GuidedDenoiser(WrappedDenoiser):
    """Base class of denoisers of the posterior of one case, `E[z | z_t, y]`.

    Args:
        problem: Prior, observations and settings.
    """

    def __init__(self, problem: GuidanceProblem) -> None:
        super().__init__(problem.denoiser)
        self.problem = problem
