r"""Kolmogorov flow: two-dimensional turbulence in a doubly periodic square, driven by a sine.

Velocity `(u, v)` on `[0, 2 pi]^2` obeys the incompressible Navier-Stokes equations with viscosity
`nu = 1 / Re`, linear drag `mu` and the forcing `F sin(n y)` along x: the flow of Rozet and Louppe
2023 (arXiv 2306.10574), Re = 1000, n = 4, mu = 0.1, F = 1. In terms of the vorticity
`w = dv/dx - du/dy`, whose Fourier coefficients give the velocity
`(u, v)^ = i (k_y, -k_x) w^ / |k|^2`,

    dw/dt = - (d_xx - d_yy)(u v) - d_xy (v^2 - u^2) + nu lap w - mu w - F n cos(n y),

the first two terms being `- div(w (u, v))` in two products in place of three (Basdevant 1983).
Products are computed on the grid and truncated at two thirds of its largest wave number (Orszag
1971), so that the remaining wave numbers have no aliasing errors: without forcing, drag and
viscosity, energy and enstrophy are conserved up to the error in time. Time steps are fourth-order
Runge-Kutta with the linear terms as integrating factor, which is exact for them.

The mean velocity is zero, because the forcing has no mean and drag damps any mean flow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["KolmogorovFlow", "divergence", "truncate", "vorticity"]


def _wave_numbers(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return `k_y (N, 1)` and `k_x (1, N // 2 + 1)` of `rfft2` of `(..., N, N)`, real."""
    size = like.shape[-2]
    dtype = like.real.dtype
    k_y = torch.fft.fftfreq(size, 1 / size, dtype=dtype, device=like.device)
    k_x = torch.fft.rfftfreq(size, 1 / size, dtype=dtype, device=like.device)
    return k_y[:, None], k_x[None]


def _derivative_numbers(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return wave numbers with that of Nyquist set to zero, whose sine vanishes on the grid."""
    k_y, k_x = _wave_numbers(like)
    half = like.shape[-2] / 2
    return k_y * (k_y.abs() < half), k_x * (k_x < half)


def vorticity(velocity: Tensor) -> Tensor:
    """Return `dv/dx - du/dy` `(..., N, N)` of velocities `(..., 2, N, N)`, axes y and x."""
    transform = torch.fft.rfft2(velocity)
    k_y, k_x = _derivative_numbers(transform)
    u, v = transform.unbind(dim=-3)
    return torch.fft.irfft2(1j * (k_x * v - k_y * u), s=velocity.shape[-2:])


def divergence(velocity: Tensor) -> Tensor:
    """Return `du/dx + dv/dy` `(..., N, N)` of velocities `(..., 2, N, N)`, axes y and x."""
    transform = torch.fft.rfft2(velocity)
    k_y, k_x = _derivative_numbers(transform)
    u, v = transform.unbind(dim=-3)
    return torch.fft.irfft2(1j * (k_x * u + k_y * v), s=velocity.shape[-2:])


def truncate(fields: Tensor, size: int) -> Tensor:
    """Truncate fields `(..., N, N)` spectrally to a coarser grid `(..., size, size)`.

    Raises:
        ValueError: The grid is not coarser, or its size is odd.
    """
    before = fields.shape[-1]
    if size == before:
        return fields
    if size > before or size % 2:
        raise ValueError(f"size: found {size}, expected an even number up to {before}")
    half = size // 2
    transform = torch.fft.rfft2(fields)[..., : half + 1]
    transform = torch.cat([transform[..., :half, :], transform[..., -half:, :]], dim=-2)
    # Remove waves at the new Nyquist number, of which the grid represents only the cosine.
    transform[..., half, :] = 0
    transform[..., half] = 0
    return torch.fft.irfft2(transform, s=(size, size)) * (size / before) ** 2


@dataclass(frozen=True)
class KolmogorovFlow:
    """Integration of the flow on an `N x N` grid.

    Attributes:
        size: Grid points `N` in each direction.
        reynolds: Inverse viscosity `Re`; infinite for none.
        forcing: Amplitude `F`.
        wave_number: Wave number `n` of the forcing.
        drag: `mu`, per unit of time.
    """

    size: int = 64
    reynolds: float = 1e3
    forcing: float = 1.0
    wave_number: int = 4
    drag: float = 0.1

    def _kept(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return `k_y`, `k_x`, `1 / k^2` (zero for the mean) and the mask of the truncation."""
        k_y, k_x = _wave_numbers(like)
        square = k_y**2 + k_x**2
        inverse = torch.where(square > 0, 1 / square.clamp(min=1), 0.0)
        limit = self.size / 3
        return k_y, k_x, inverse, (k_y.abs() < limit) & (k_x < limit)

    def velocity(self, vorticity: Tensor) -> Tensor:
        """Return the non-divergent velocities `(..., 2, N, N)` of vorticity `(..., N, N)`."""
        transform = torch.fft.rfft2(vorticity)
        k_y, k_x = _derivative_numbers(transform)
        _, _, inverse, _ = self._kept(transform)
        stream = transform * inverse
        return torch.fft.irfft2(
            torch.stack([1j * k_y * stream, -1j * k_x * stream], dim=-3), s=vorticity.shape[-2:]
        )

    def advance(self, vorticity: Tensor, time: float, steps: int) -> Tensor:
        """Integrate vorticity `(..., N, N)` over a time in a number of steps.

        The Courant number of a step, `max |(u, v)| N / 3 time / steps`, must stay below two.
        """
        step = time / steps
        w = torch.fft.rfft2(vorticity)
        k_y, k_x, inverse, kept = self._kept(w)
        linear = -(k_y**2 + k_x**2) / self.reynolds - self.drag
        half = torch.exp(linear * step / 2)
        stream = torch.stack([1j * k_y * inverse, -1j * k_x * inverse])
        # Products of the velocities, by `u v` and by `v^2 - u^2`.
        products = torch.stack([(k_x**2 - k_y**2) * kept, (k_x * k_y) * kept])
        driving = torch.zeros_like(w[(0,) * (w.ndim - 2)])
        if self.forcing:
            # -F n cos(n y), the two coefficients of +-n on the axis k_x = 0.
            amplitude = -self.forcing * self.wave_number * self.size**2 / 2
            driving[self.wave_number, 0] = driving[-self.wave_number, 0] = amplitude

        def tendency(w: Tensor) -> Tensor:
            grid = torch.fft.irfft2(w[..., None, :, :] * stream, s=vorticity.shape[-2:])
            u, v = grid.unbind(dim=-3)
            pairs = torch.fft.rfft2(torch.stack([u * v, (v - u) * (v + u)], dim=-3))
            return (pairs * products).sum(dim=-3) + driving

        w = w * kept
        for _ in range(steps):
            first = tendency(w)
            second = tendency(half * (w + step / 2 * first))
            third = tendency(half * w + step / 2 * second)
            last = tendency(half * (half * w + step * third))
            rest = half * first + 2 * (second + third)
            w = half * (half * w + step / 6 * rest) + step / 6 * last
        return torch.fft.irfft2(w, s=vorticity.shape[-2:])

    def random_phases(
        self,
        count: int,
        energy: float,
        peak: float,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Draw vorticity of a given kinetic energy with random Fourier phases.

        Args:
            count: Number of fields `B`.
            energy: Mean of `(u^2 + v^2) / 2`.
            peak: Wave number where the energy spectrum `k^7 exp(-3.5 k^2 / peak^2)` is largest.
            generator: CPU generator.
            dtype: Data type of the result.

        Returns:
            `(B, N, N)`.
        """
        noise = torch.randn(count, self.size, self.size, generator=generator, dtype=torch.float64)
        transform = torch.fft.rfft2(noise)
        k_y, k_x, _, kept = self._kept(transform)
        k = torch.sqrt(k_y**2 + k_x**2)
        # The energy of a ring of wave numbers is divided over about 2 pi k coefficients; that of
        # one coefficient of the vorticity is w^2 / k^2.
        amplitude = k**4 * torch.exp(-1.75 * (k / peak) ** 2) * kept
        w = torch.fft.irfft2(amplitude * torch.exp(1j * transform.angle()), s=noise.shape[-2:])
        found = self.velocity(w).square().sum(dim=-3).mean(dim=(-2, -1)) / 2
        return (w * torch.sqrt(energy / found)[:, None, None]).to(dtype)

    def steps_needed(self, time: float, speed: float, courant: float = 1.0) -> int:
        """Return the number of steps for a Courant number `speed N / 3 step` within a limit."""
        return max(1, math.ceil(time * speed * self.size / 3 / courant))
