r"""The denoiser of short windows of the Kolmogorov flow: a linear filter plus a network.

The anomalies `x`, windows of `T` velocities, are statistically homogeneous (except for the phase
of the forcing). Their Fourier coefficients `a_k`, `(2 T)`, are then uncorrelated between wave
numbers, and the linear minimum-variance denoiser (Wiener filter) is, with the covariance `C_k` of
each wave number,

    a_k <- C_k (C_k + sigma_t^2 I)^-1 a_k,
    e^2(sigma_t) = mean over k of tr[C_k sigma_t^2 (C_k + sigma_t^2 I)^-1] / 2 T,

where `e` is its error. It is exact for a Gaussian prior of that spectrum, keeps velocities
non-divergent, and represents the largest scales, which are still visible at noise levels far above
one and which a small network learns last. The network learns the rest, in units of this error,

    D(x_t) = W(x_t) + e(sigma_t) net(x_t, W(x_t), sigma_t),

starting from zero; its inputs include the vorticity that the filtered velocities advect to each
state from the neighbouring ones (`slams.warmups.kolmogorov_advection`), a part of its output is
vorticity, and its loss is in units of `e` as well. Because of half-turn and mirror
(`slams.warmups.kolmogorov_data`) `C_k` is real, and that of `-k_x` is the same except for the sign
of the covariance of `u` and `v`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from slams.nn.layers import PeriodicConv2d
from slams.nn.unet import UNet
from slams.warmups.kolmogorov_advection import carried, carry_pairs
from slams.warmups.kolmogorov_flow import KolmogorovFlow, vorticity

__all__ = ["FlowBackbone", "WienerFilter", "window_covariance"]


def window_covariance(anomalies: Tensor, window: int) -> Tensor:
    """Estimate the covariance of each wave number from trajectories.

    Args:
        anomalies: `(B, L, 2, N, N)`, `L >= T`.
        window: Number of states `T`.

    Returns:
        `(N, N // 2 + 1, 2 T, 2 T)`, which is the identity for white noise of variance one.
    """
    size = anomalies.shape[-1]
    count = len(anomalies) * (anomalies.shape[1] - window + 1)
    total = anomalies.new_zeros(size, size // 2 + 1, 2 * window, 2 * window)
    for trajectory in anomalies:
        a = torch.fft.rfft2(trajectory, norm="ortho").permute(2, 3, 0, 1)
        for part in (a.real, a.imag):
            seen = part.unfold(2, window, 1).transpose(-1, -2).flatten(-2)
            total += seen.mT @ seen / count
    # The mirror maps k_x to -k_x, where the coefficients are those of -k_y, conjugated.
    sign = total.new_tensor([-1.0, 1.0]).repeat(window)
    mirrored = sign[:, None] * total.flip(0).roll(1, 0) * sign
    return (total + mirrored) / 2


class WienerFilter(nn.Module):
    """Linear denoiser of windows `(B, T, 2, N, N)`, separate for each wave number.

    Args:
        covariance: `(N, N // 2 + 1, 2 T, 2 T)`, see `window_covariance`.
    """

    variances: Tensor
    vectors: Tensor
    weights: Tensor

    def __init__(self, covariance: Tensor) -> None:
        super().__init__()
        variances, vectors = torch.linalg.eigh(covariance.double())
        size, half = covariance.shape[:2]
        # All columns except the first and the last also represent their mirror image.
        weights = torch.full((half,), 2.0)
        weights[0] = weights[-1] = 1.0
        self.register_buffer("variances", variances.clamp(min=0).float())
        self.register_buffer("vectors", vectors.float())
        self.register_buffer("weights", weights / size**2)

    def error(self, sigma: Tensor) -> Tensor:
        """Return the standard deviation `e` of the error, `(B,)`, at noise levels `(B,)`."""
        noise = sigma.square().reshape(-1, 1, 1, 1)
        left = self.variances * noise / (self.variances + noise)
        return (left.mean(dim=-1).sum(dim=1) @ self.weights).sqrt()

    def vorticity_error(self, sigma: Tensor) -> Tensor:
        """Return the standard deviation of the vorticity error, `(B,)`, at noise levels `(B,)`."""
        noise = sigma.square().reshape(-1, 1, 1, 1)
        left = (self.variances * noise / (self.variances + noise)).sum(dim=-1)
        size, states = self.variances.shape[0], self.variances.shape[-1] // 2
        k = torch.fft.fftfreq(size, 1 / size).to(left)[:, None], torch.arange(left.shape[-1])
        squares = k[0] ** 2 + k[1].to(left) ** 2
        return ((left * squares).sum(dim=1) @ self.weights / states).sqrt()

    def forward(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """Denoise `(B, T, 2, N, N)` at noise levels `(B,)`."""
        a = torch.fft.rfft2(x_t, norm="ortho").flatten(1, 2).permute(2, 3, 1, 0)
        gain = self.variances[..., None] / (self.variances[..., None] + sigma.square())
        real, imaginary = (
            self.vectors @ (gain * (self.vectors.mT @ part)) for part in (a.real, a.imag)
        )
        a = torch.complex(real, imaginary).permute(3, 2, 0, 1).unflatten(1, x_t.shape[1:3])
        return torch.fft.irfft2(a, s=x_t.shape[-2:], norm="ortho")


class FlowBackbone(UNet):
    """The Wiener filter and a U-Net, in the form expected by `slams.diffusion.training`.

    The network has one point per 2 x 2 points and four times as many channels, because the scales
    that it has to add are not much smaller.

    Args:
        covariance: `(N, N // 2 + 1, 2 T, 2 T)`, see `window_covariance`.
        wave_number: Wave number of the forcing, whose phase is an input of the network.
        channels: Number of channels at each resolution (each half the previous, the first `N /
            2`).
        blocks: Modulated blocks per resolution, in each of the two branches.
        embedding: Size of the modulation vector.
        mean: `(2, N, 1)` mean profile of the velocity, in standard deviations of the anomalies.
        cells: Displacement (grid points) from one state to the next at a velocity of one standard
            deviation.

    Raises:
        ValueError: The grid cannot be halved this often.
    """

    phase: Tensor
    profile: Tensor
    # Use of the network: with `trained` it enters mean and derivatives; with `mean` only the mean,
    # so that the Jacobian is that of the filter (symmetric, and very cheap); with `none` it is not
    # used, so that the prior is Gaussian.
    role = "trained"

    def __init__(
        self,
        covariance: Tensor,
        wave_number: int,
        channels: Sequence[int],
        blocks: int,
        embedding: int,
        mean: Tensor,
        cells: float,
    ) -> None:
        size, stacked = covariance.shape[0], covariance.shape[-1]
        if size % 2 ** len(channels):
            raise ValueError(
                f"channels: {len(channels)} resolutions need a grid divisible by "
                f"{2 ** len(channels)}, found {size}"
            )
        states = stacked // 2
        inputs = 4 * (2 * stacked + states + len(carry_pairs(states))) + 2
        outputs = 4 * (stacked + states)
        super().__init__(inputs, outputs, channels, blocks, embedding, convolution=PeriodicConv2d)
        self.filter = WienerFilter(covariance)
        self.flow = KolmogorovFlow(size)
        self.register_buffer("profile", mean.float())
        self.cells = cells
        # The error of the prior, which remains if noise hides everything.
        self.vorticity_sd = float(self.filter.vorticity_error(torch.tensor([1e4])))
        y = (torch.arange(size // 2) + 0.25) * 4 * math.pi / size * wave_number
        phase = torch.stack([y.sin(), y.cos()])[:, :, None].expand(-1, -1, size // 2)
        self.register_buffer("phase", phase.clone(), persistent=False)

    def forward(self, x: Tensor, log_sigma: Tensor, **condition: Tensor | None) -> Tensor:
        """Evaluate the backbone.

        Args:
            x: `(B, T, 2, N, N)` noisy windows over `sqrt(1 + sigma^2)`.
            log_sigma: `(B,)` or `()` log of the noise level.
            condition: Not used, because the flow has neither background nor season.

        Returns:
            `(B, T, 2, N, N)`, such that the denoised mean is that of the module's docstring.
        """
        log_sigma = log_sigma.to(x).expand(len(x))
        sigma = log_sigma.exp()
        total = (1 + sigma**2).sqrt()

        def spread(values: Tensor) -> Tensor:
            return values.reshape(-1, 1, 1, 1, 1)

        linear = self.filter(x * spread(total), sigma)
        mean = linear
        if self.role != "none":
            through = torch.is_grad_enabled() and self.role == "trained"
            with torch.set_grad_enabled(through):
                net = self._network(x, linear, log_sigma)
            mean = linear + spread(self.filter.error(sigma)) * net
        return (mean - x / spread(total)) * spread(total / sigma)

    def _network(self, x: Tensor, linear: Tensor, log_sigma: Tensor) -> Tensor:
        fields = self._fields(x, linear, log_sigma.exp())
        # bfloat16 is several times as fast where a processor supports it, and is sufficient for
        # training, because the network learns a correction.
        narrow = self.training and x.device.type == "cpu"
        with torch.autocast(x.device.type, torch.bfloat16, enabled=narrow):
            out = self._unet(fields, log_sigma).float()
        states = x.shape[1]
        velocity, w = out[:, : 2 * states].reshape(x.shape), out[:, 2 * states :]
        # Vorticity, in units of the filter's vorticity error, is converted to velocity.
        ratio = self.filter.vorticity_error(log_sigma.exp()) / self.filter.error(log_sigma.exp())
        return velocity + self.flow.velocity(w * ratio.reshape(-1, 1, 1, 1))

    def _fields(self, x: Tensor, linear: Tensor, sigma: Tensor) -> Tensor:
        """Return the inputs of the network, `(B, C, N, N)`."""
        total = linear + self.profile
        w = vorticity(total)
        elsewhere = carried(w, total * self.cells)
        differing = elsewhere - w[:, [target for _, target in carry_pairs(x.shape[1])]]
        error = self.filter.vorticity_error(sigma).reshape(-1, 1, 1, 1)
        fields = [x.flatten(1, 2), linear.flatten(1, 2), w / self.vorticity_sd]
        # In units of the error, which is small at low noise levels.
        return torch.cat([*fields, torch.asinh(differing / error)], dim=1)

    def _unet(self, fields: Tensor, log_sigma: Tensor) -> Tensor:
        h = functional.pixel_unshuffle(fields, 2)
        h = torch.cat([h, self.phase.expand(len(h), -1, -1, -1)], dim=1)
        h = h.to(memory_format=torch.channels_last)
        return functional.pixel_shuffle(self.evaluate(h, self.noise_embedding(log_sigma)), 2)
