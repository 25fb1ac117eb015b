"""One observed trajectory of the Kolmogorov flow, analysed by each method.

Methods: `climatology` (the mean profile), `interpolation` (if velocities are observed), `gaussian`
(the posterior for the Gaussian prior of the Wiener filter: optimal interpolation with the
climatological spectrum), `score` (the trained network). The last two are sampled in the same way,
guided by the same observations and started from the same noise.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from slams.diffusion.backend import KarrasDenoiser
from slams.diffusion.posterior.guided import guided_denoiser
from slams.diffusion.posterior.problem import GuidanceProblem
from slams.diffusion.sampling import sample
from slams.diffusion.settings import GuidanceSettings
from slams.diffusion.trajectory import TrajectoryDenoiser
from slams.runtime.seeds import generator
from slams.warmups.kolmogorov_data import Climatology
from slams.warmups.kolmogorov_operators import FlowOperator, interpolate
from slams.warmups.recipes import KolmogorovConfig

__all__ = ["BAND", "Case", "assimilate"]

# Accepted relative difference of the residual's standard deviation from that of the noise.
BAND = 0.15
# Windows passed through the network at a time.
_CHUNK = 16


@dataclass(frozen=True)
class Case:
    """One trajectory, its observations and the analyses.

    Attributes:
        operator: The observation operator.
        truth: `(L, 2, N, N)`.
        seen: `(L', C, n, n)` observed values.
        members: Members `(M, L, 2, N, N)` of each method, one member if it has no spread.
        rows: One row per method: operator, method, values, target, residual_sd, rmse, spread,
            members, diverged, seconds.
    """

    operator: FlowOperator
    truth: Tensor
    seen: Tensor
    members: dict[str, Tensor]
    rows: list[dict[str, float | str]]


def assimilate(
    config: KolmogorovConfig,
    kind: str,
    number: int,
    truth: Tensor,
    clim: Climatology,
    denoiser: KarrasDenoiser,
) -> Case:
    """Observe a trajectory and analyse it with every method.

    Args:
        config: The recipe.
        kind: Kind of the operator.
        number: Number of the case, on which its noise depends.
        truth: `(L, 2, N, N)` velocities.
        clim: Climatology of the training trajectories.
        denoiser: Denoiser of windows, whose backbone is a `FlowBackbone`.
    """
    observed = getattr(config, kind)
    operator = FlowOperator(kind, observed.every, observed.cells, observed.margin)
    clean = operator.seen(truth)
    noise = torch.randn(clean.shape, generator=generator(config.seed, "noise", kind, number))
    seen = clean + observed.error * noise
    found = {"climatology": (clim.mean.expand_as(truth)[None], 0, 0.0)}
    if kind != "saturation":
        length, size = truth.shape[0], truth.shape[-1]
        found["interpolation"] = (interpolate(operator, seen, length, size)[None], 0, 0.0)
    trained = "mean" if config.guidance.jacobian == "filter" else "trained"
    roles = {"gaussian": "none", "score": trained}
    for method, role in roles.items():
        denoiser.backbone.role = role
        found[method] = _sampled(config, operator, seen, number, clim, denoiser)
    rows = []
    for method, (states, diverged, seconds) in found.items():
        residual = seen.flatten() - operator(states)
        rows.append(
            {
                "operator": kind,
                "method": method,
                "values": seen.numel(),
                "target": observed.error,
                "residual_sd": _root_mean_square(residual),
                "rmse": _root_mean_square(states.mean(dim=0) - truth),
                "spread": states.var(dim=0).mean().sqrt().item() if len(states) > 1 else math.nan,
                "members": len(states),
                "diverged": diverged,
                "seconds": seconds,
            }
        )
    return Case(operator, truth, seen, {name: found[name][0] for name in found}, rows)


def _root_mean_square(values: Tensor) -> float:
    return values.square().mean().sqrt().item()


def _sampled(
    config: KolmogorovConfig,
    operator: FlowOperator,
    seen: Tensor,
    number: int,
    clim: Climatology,
    denoiser: KarrasDenoiser,
) -> tuple[Tensor, int, float]:
    """Return members `(M, L, 2, N, N)`, the number drawn again, and the time taken (s)."""
    guidance, y = config.guidance, seen.flatten()
    shape = (config.length, 2, config.flow.grid, config.flow.grid)
    # The effect of one standard deviation everywhere on a velocity; approximate for the others.
    settings = GuidanceSettings(
        kind=guidance.kind,
        iterations=guidance.iterations,
        # A linear operator needs no further linearisation.
        linearisations=guidance.linearisations if operator.kind == "saturation" else 1,
        below_sigma=math.inf,
        gamma=guidance.gamma,
        zeta=guidance.zeta,
    )
    variance = torch.full_like(y, getattr(config, operator.kind).error ** 2)
    guided = guided_denoiser(
        GuidanceProblem(
            settings,
            TrajectoryDenoiser(denoiser, config.score.window, chunk=_CHUNK),
            lambda x: operator(clim.velocity(x)),
            y,
            variance,
            variance,
            torch.full_like(y, float(clim.sd)),
        )
    )

    def draw(member: int, stream: str) -> Tensor:
        keyed = generator(config.seed, "members", operator.kind, number, member, stream)
        return torch.randn(shape, generator=keyed)

    begun = time.perf_counter()
    samples = sample(guided, config.sampler, draw, config.members)
    seconds = time.perf_counter() - begun
    return clim.velocity(samples.members), samples.diverged, seconds
