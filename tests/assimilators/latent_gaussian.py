"""The linear-Gaussian problem of `problems`, seen through a linear, lossless latent space.

A patch of f x f points and all channels is turned by an orthonormal matrix and scaled: that is
encoder and decoder. In latent space the prior is Gaussian as well, about the encoded background,
so that its exact denoiser is known,

    z ~ N(enc(x_b), P),  P = E B E^T,      D(z_t) = m + P (P + sigma^2)^-1 (z_t - m),

and an analysis must have mean and covariance of the closed-form posterior in field space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from slams.assimilators.latent_diffusion import LatentDiffusion
from slams.diffusion.backend import Denoiser, DiracPosterior, VESchedule
from slams.diffusion.settings import GuidanceSettings, ResidualSettings, SamplerSettings
from slams.nn.latent_space import LatentSpace
from tests.assimilators.problems import LinearGaussian

__all__ = ["ExactDenoiser", "LinearCode", "LinearDecoder", "assimilator", "linear_space"]

FACTOR = 2


class LinearCode(nn.Module):
    """Turns each patch by an orthonormal matrix; nothing is lost unless components are left out.

    Args:
        channels: Channels `C` of the fields.
        keep: Components of a patch that are encoded; `None` for all.
    """

    factor = FACTOR

    def __init__(self, channels: int, keep: int | None = None) -> None:
        super().__init__()
        size = channels * FACTOR**2
        draw = torch.Generator().manual_seed(4)
        turn, _ = torch.linalg.qr(torch.randn(size, size, generator=draw, dtype=torch.float64))
        self.register_buffer("turn", turn[:keep])

    def forward(self, fields: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode `(B, C, H, W)`; what is masked counts as 0."""
        patches = functional.pixel_unshuffle(torch.where(mask, fields, 0.0), FACTOR)
        mean = torch.einsum("kp,bphw->bkhw", self.turn.to(fields), patches)
        return mean, torch.full_like(mean, -30.0)


class LinearDecoder(nn.Module):
    """Inverts `LinearCode`, as far as it is encoded."""

    def __init__(self, code: LinearCode) -> None:
        super().__init__()
        self.register_buffer("turn", code.turn)

    def forward(self, latents: Tensor) -> Tensor:
        """Decode `(B, K, h, w)`."""
        patches = torch.einsum("kp,bkhw->bphw", self.turn.to(latents), latents)
        return functional.pixel_shuffle(patches, FACTOR)


def linear_space(problem: LinearGaussian, keep: int | None = None) -> LatentSpace:
    """Make the latent space; its mean and standard deviation are anything but 0 and 1.

    Args:
        problem: The problem.
        keep: Components of a patch that are encoded; `None` for all, so that nothing is lost.
    """
    code = LinearCode(problem.shape[1], keep)
    size = len(code.turn)
    draw = torch.Generator().manual_seed(6)
    mean = torch.randn(size, generator=draw)
    return LatentSpace(code, LinearDecoder(code), mean, 0.5 + torch.rand(size, generator=draw))


class ExactDenoiser(Denoiser):
    """Gives `E[z | z_t]` for z ~ N(condition, P), or N(0, P_0) in field space where it is hidden.

    Args:
        problem: The problem, whose B is the prior covariance of normalised fields.
        space: The latent space.
    """

    def __init__(self, problem: LinearGaussian, space: LatentSpace) -> None:
        super().__init__()
        self.schedule = VESchedule(sigma_min=1e-2, sigma_max=1e2)
        unit = torch.eye(problem.covariance.shape[0], dtype=torch.float64)
        zero = space.encode(torch.zeros(1, *problem.shape, dtype=torch.float64)).flatten(1)
        rows = space.encode(unit.reshape(-1, *problem.shape)).flatten(1) - zero
        values, vectors = torch.linalg.eigh(rows.T @ problem.covariance @ rows)
        self.register_buffer("climatology", zero[0])
        self.register_buffer("values", values)
        self.register_buffer("vectors", vectors)
        self.seen: list[dict[str, Tensor | None]] = []

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        condition: Tensor | None = None,
        known: Tensor | None = None,
        season: Tensor | None = None,
    ) -> DiracPosterior:
        """Denoise `(M, T, K, h, w)`."""
        self.seen.append({"condition": condition, "season": season})
        _, sigma = self.schedule(t)
        mean = self.climatology if condition is None else condition.double().flatten(1)
        shrink = self.values / (self.values + sigma.double() ** 2)
        error = (x_t.double().flatten(1) - mean) @ self.vectors
        denoised = mean + (error * shrink) @ self.vectors.T
        return DiracPosterior(mean=denoised.to(x_t).reshape(x_t.shape))


@dataclass
class Setup:
    """Holds an assimilator and what it is made of."""

    method: LatentDiffusion
    denoiser: ExactDenoiser
    space: LatentSpace


def assimilator(
    problem: LinearGaussian,
    kind: str = "decg",
    archive: int = 3000,
    steps: int = 24,
    iterations: int = 3,
    keep: int | None = None,
    residual: ResidualSettings | None = None,
) -> Setup:
    """Make a fitted assimilator that should give the exact posterior.

    Args:
        problem: The problem.
        kind: Kind of guidance; `decg` and `mmps` are exact here.
        archive: Days in the archive of denoising errors.
        steps: Steps of the sampler.
        iterations: GMRES iterations of `mmps`.
        keep: As for `linear_space`; the posterior is not exact where something is lost.
        residual: What is added to decoded members.
    """
    space = linear_space(problem, keep)
    denoiser = ExactDenoiser(problem, space)
    # PGDM takes the prior's variance to be one; where it is forty, its first steps overshoot.
    below_sigma = 8.0 if kind == "pgdm" else math.inf
    method = LatentDiffusion(
        problem.normaliser,
        problem.grid,
        3,
        space=space,
        denoiser=denoiser,
        guidance=GuidanceSettings(
            kind=kind,
            archive=archive,
            localisation=math.inf,
            iterations=iterations,
            below_sigma=below_sigma,
        ),
        sampler=SamplerSettings(steps=steps),
        residual=residual,
    )
    method.fit(problem.archive(problem.draw(archive, 5)))
    return Setup(method, denoiser, space)
