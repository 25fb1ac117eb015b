r"""A denoiser of long trajectories, composed from one of short windows (Markov blankets).

In a Markov chain of order `k` a day `x_i`, given the `k` days before and the `k` after it, does
not depend on any other day, so that the score of a trajectory `x_{1:L}` is local,

    d log p(x_{1:L}) / d x_i  =  d log p(x_{i-k:i+k}) / d x_i.

A denoiser of windows of `T = 2 k + 1` days therefore gives the whole trajectory (Rozet and Louppe
2023, arXiv 2306.10574, algorithm 2): each day is read off the middle of the window around it, the
first and the last `k` days off the first and the last window. Denoised means compose like
scores, which differ from them by `x_t` and a factor: `D(x_t) = x_t + sigma_t^2 score`.

What is exact, for a chain whose order is at most `k` and an exact denoiser of windows:

- `L = T`, at any noise: there is one window only;
- `sigma_t -> 0`: the composed score tends to the score of the trajectory; for a chain of order
  one the error is of the order `sigma_t^(2 k)`;
- `sigma_t -> infinity`: both denoised means tend to the mean of the prior.

In between noisy days are no Markov chain, and the window is a *pseudo-blanket*: what days further
than `k` away would add is left out. That error falls with `k`, geometrically for a chain
that forgets geometrically. Days that are independent compose exactly from windows of any length.
"""

from __future__ import annotations

import torch
from torch import Tensor

from slams.diffusion.backend import Denoiser, DiracPosterior
from slams.errors import UserError

__all__ = ["TrajectoryDenoiser"]


class TrajectoryDenoiser(Denoiser):
    """Denoises trajectories of any length with a denoiser of windows.

    Args:
        denoiser: Denoiser of windows `(B, T, ...)`.
        window: Days `T` of its windows.
        chunk: Windows passed through it at a time (bounds memory, not the result); 0 for all.
        conditioned: Leading windows that see their part of `condition`; `None` for all. In the
            others it is hidden (`known` False): they lie further from the day that a background
            was made from than any window of the training.
        season_step: Time of year, in years, that passes from one day to the next: `season` is
            that of a window's first day.

    Raises:
        UserError: The window is even or less than 1: it has no middle.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        window: int,
        chunk: int = 0,
        conditioned: int | None = None,
        season_step: float = 0.0,
    ) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise UserError(
                f"trajectories are composed from windows of an odd number of days, 1, 3, 5, ...; "
                f"found windows of {window} days (data.window)"
            )
        self.denoiser = denoiser
        self.window = window
        self.chunk = chunk
        self.conditioned = conditioned
        self.season_step = season_step

    @property
    def schedule(self):
        """Return the schedule of the windows' denoiser."""
        return self.denoiser.schedule

    def forward(self, x_t: Tensor, t: Tensor, **condition: Tensor | None) -> DiracPosterior:
        """Return the composed `E[x | x_t]`.

        Args:
            x_t: `(B, L, ...)` noisy trajectories, `L >= T`.
            t: `()` or `(B,)` time.
            condition: `condition (B, L, ...)` is cut into windows like `x_t`, `known (B,)` and
                whatever else there is `(B, ...)` holds for every window of a trajectory,
                `season (B,)` in [0, 1) is that of the first day and moves on with the windows.

        Returns:
            The denoised trajectories, `(B, L, ...)`.

        Raises:
            UserError: The trajectory is shorter than a window.
        """
        size, length = x_t.shape[:2]
        count = length - self.window + 1
        if count < 1:
            raise UserError(
                f"found a trajectory of {length} days, expected at least the {self.window} of a "
                f"window"
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
        """Cut `(B, L, ...)` into all `n` windows of each trajectory: `(B n, T, ...)`."""
        return trajectory.unfold(1, self.window, 1).movedim(-1, 2).flatten(0, 1)

    def _spread(
        self, size: int, count: int, condition: dict[str, Tensor | None], device: torch.device
    ) -> dict[str, Tensor | None]:
        """Give each of the `size x count` windows its conditions."""
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
