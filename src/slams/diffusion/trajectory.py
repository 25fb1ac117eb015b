r"""A denoiser of long trajectories, composed from a denoiser of short windows (Markov blankets).

In a Markov chain of order `k` a day `x_i`, given the `k` days before and the `k` days after it,
does not depend on any other day, so that the score of a trajectory `x_{1:L}` is local,

    d log p(x_{1:L}) / d x_i  =  d log p(x_{i-k:i+k}) / d x_i.

A denoiser of windows of `T = 2 k + 1` days therefore determines the whole trajectory (Rozet and
Louppe 2023, arXiv 2306.10574, algorithm 2): each day is taken from the middle of the window around
it, the first and the last `k` days from the first and the last window. Denoised means compose like
scores, from which they differ by `x_t` and a factor: `D(x_t) = x_t + sigma_t^2 score`.

For a chain of order at most `k` and an exact denoiser of windows, the composition is exact

- for `L = T`, at any noise level: there is only one window;
- for `sigma_t -> 0`: the composed score tends to the score of the trajectory; for a chain of order
  one the error is of the order `sigma_t^(2 k)`;
- for `sigma_t -> infinity`: both denoised means tend to the mean of the prior.

In between, noisy days are not a Markov chain, and the window is a *pseudo-blanket*: the
contribution of days more than `k` away is neglected. This error decreases with `k`, geometrically
for a chain whose memory decays geometrically. Independent days compose exactly from windows of any
length.
"""

from __future__ import annotations

import torch
from torch import Tensor

from slams.diffusion.backend import Denoiser, DiracPosterior, WrappedDenoiser
from slams.errors import UserError

__all__ = ["TrajectoryDenoiser"]


class TrajectoryDenoiser(WrappedDenoiser):
    """Denoiser of trajectories of any length, built from a denoiser of windows.

    Args:
        denoiser: Denoiser of windows `(B, T, ...)`.
        window: Number of days `T` per window.
        chunk: Windows passed through it at a time; 0 for all. Limits the memory, not the result.
        conditioned: Number of leading windows that receive their part of `condition`; `None` for
            all. It is hidden from the others (`known` False), because they are further from the
            day on which the background is based than any training window.
        season_step: Increase of the time of year per day (years); `season` is that of a window's
            first day.

    Raises:
        UserError: The window is even or less than 1, so that it has no middle.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        window: int,
        chunk: int = 0,
        conditioned: int | None = None,
        season_step: float = 0.0,
    ) -> None:
        super().__init__(denoiser)
        if window < 1 or window % 2 == 0:
            raise UserError(
                f"data.window: trajectories are composed from windows of an odd number of days; "
                f"found {window}, expected 1, 3, 5, ..."
            )
        self.window = window
        self.chunk = chunk
        self.conditioned = conditioned
        self.season_step = season_step

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor | None) -> DiracPosterior:
        """Return the composed `E[x | x_t]`.

        Args:
            x_t: `(B, L, ...)` noisy trajectories, `L >= T`.
            t: `()` or `(B,)` time.
            condition: `condition (B, L, ...)` is cut into windows like `x_t`; `known (B,)` and
                any other input `(B, ...)` applies to every window of a trajectory; `season (B,)`
                in [0, 1) is that of the first day and advances with the windows.

        Returns:
            The denoised trajectories, `(B, L, ...)`.

        Raises:
            UserError: The trajectory is shorter than a window.
        """
        size, length = x_t.shape[:2]
        count = length - self.window + 1
        if count < 1:
            raise UserError(
                f"found a trajectory of {length} days, expected at least the {self.window} days "
                f"of a window"
            )
        windows = self._cut(x_t)
        inputs = self._spread(size, count, condition, x_t.device)
        t = t if t.ndim == 0 else t.repeat_interleave(count)
        chunk = self.chunk or len(windows)
        means = []
        for start in range(0, len(windows), chunk):
            part = slice(start, start + chunk)
            given = {name: None if v is None else v[part] for name, v in inputs.items()}
            means.append(self.denoiser(windows[part], t if t.ndim == 0 else t[part], **given).mean)
        mean = torch.cat(means).unflatten(0, (size, count))
        half = self.window // 2
        parts = [mean[:, 0, :half], mean[:, :, half], mean[:, -1, half + 1 :]]
        return DiracPosterior(mean=torch.cat(parts, dim=1))

    def _cut(self, trajectory: Tensor) -> Tensor:
        """Cut each trajectory `(B, L, ...)` into all `n` windows; return `(B n, T, ...)`."""
        return trajectory.unfold(1, self.window, 1).movedim(-1, 2).flatten(0, 1)

    def _spread(
        self, size: int, count: int, condition: dict[str, Tensor | None], device: torch.device
    ) -> dict[str, Tensor | None]:
        """Return the conditions of each of the `size x count` windows."""
        inputs = dict(condition)
        for name, value in condition.items():
            if value is None:
                continue
            if name == "condition":
                inputs[name] = self._cut(value)
            else:
                inputs[name] = value.repeat_interleave(count, dim=0)
        offset = torch.arange(count, device=device).repeat(size)
        if inputs.get("season") is not None:
            inputs["season"] = (inputs["season"] + self.season_step * offset) % 1
        if self.conditioned is not None and inputs.get("condition") is not None:
            near = offset < self.conditioned
            known = inputs.get("known")
            inputs["known"] = near if known is None else known & near
        return inputs
