r"""The step common to SDA, DPS and PGDM: the gradient of a likelihood through the denoiser.

By Tweedie's formula the posterior denoiser is

    E[z | z_t, y] = D(z_t) + sigma_t^2 grad_{z_t} log p(y | z_t).

The three differ in how they approximate `p(y | z_t)` around `H dec(D)`. With `J = dD/dz_t`,
`A = H dec` and the innovation `d = y - A(D)`, each results in

    grad_{z_t} log p(y | z_t) = J^T A'^T w(d, sigma_t),

one vector-Jacobian product. Samples are computed together but independently of one another. The
likelihood of a censored observation at its bound (`silent`) is `Phi((b - A(D)) / s)`, see
`slams.linalg.censoring`; each subclass documents how it treats it.
"""

from __future__ import annotations

import abc
from collections.abc import Callable

import torch
from torch import Tensor

from slams.diffusion.backend import Denoiser, DiracPosterior

__all__ = ["LikelihoodGuidance"]


class LikelihoodGuidance(Denoiser, abc.ABC):
    """A denoiser plus `sigma_t^2 J^T A'^T w`; a subclass computes the weights `w`.

    Args:
        denoiser: Denoiser `D` of the prior, of `(M, ...)` states.
        observe: Map from states `(M, ...)` to `(M, P)`, decoder and `H` together.
        y: `(P,)` observed values.
        silent: `(P,)` bool, True where a censored observation is at its bound; `None` if none is.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        observe: Callable[[Tensor], Tensor],
        y: Tensor,
        silent: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.observe = observe
        self.y = y
        self.silent = torch.zeros_like(y, dtype=torch.bool) if silent is None else silent

    @property
    def schedule(self):
        """Return the schedule of the prior's denoiser."""
        return self.denoiser.schedule

    @abc.abstractmethod
    def weights(self, innovation: Tensor, sigma_t: Tensor, mean: Tensor) -> Tensor:
        """Return `w`.

        Args:
            innovation: `(M, P)` observed minus denoised.
            sigma_t: `()` noise level.
            mean: `(M, ...)` denoised states, about which `A` is linearised.

        Returns:
            `(M, P)`.
        """

    @torch.no_grad()
    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor) -> DiracPosterior:
        """Return `E[z | z_t, y]` for `(M, ...)` states at one time `()`."""
        _, sigma_t = self.schedule(t)
        with torch.enable_grad():
            x_t = x_t.detach().requires_grad_()
            mean = self.denoiser(x_t, t, **condition).mean
            observed = self.observe(mean)
        weights = self.weights(self.y - observed.detach(), sigma_t, mean.detach())
        (gradient,) = torch.autograd.grad(observed, x_t, weights.to(observed))
        return DiracPosterior(mean=mean.detach() + sigma_t**2 * gradient)
