"""The solver of the Kolmogorov flow against what is known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from slams.runtime.seeds import generator
from slams.warmups.kolmogorov_flow import KolmogorovFlow, divergence, truncate, vorticity

N = 32
FREE = KolmogorovFlow(N, reynolds=math.inf, forcing=0.0, drag=0.0)


def grid(size: int = N) -> tuple[torch.Tensor, torch.Tensor]:
    axis = torch.arange(size, dtype=torch.float64) * 2 * math.pi / size
    return axis[:, None].expand(size, size), axis[None].expand(size, size)


def turbulence(flow: KolmogorovFlow, count: int = 2, energy: float = 0.5) -> torch.Tensor:
    return flow.random_phases(count, energy, 4.0, generator(1, "test"), torch.float64)


def energy(flow: KolmogorovFlow, w: torch.Tensor) -> torch.Tensor:
    return flow.velocity(w).square().sum(dim=-3).mean(dim=(-2, -1)) / 2


def enstrophy(w: torch.Tensor) -> torch.Tensor:
    return w.square().mean(dim=(-2, -1)) / 2


@pytest.mark.parametrize("k", [1, 3])
def test_taylor_green_vortices_decay_as_they_must(k: int) -> None:
    y, x = grid()
    start = 2 * k * torch.sin(k * x) * torch.sin(k * y)
    flow = KolmogorovFlow(N, reynolds=50.0, forcing=0.0, drag=0.07)
    found = flow.advance(start, time=1.5, steps=10)
    expected = start * math.exp(-(2 * k**2 / 50 + 0.07) * 1.5)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_vorticity_and_velocity_of_a_wave() -> None:
    y, x = grid()
    # u = dpsi/dy, v = -dpsi/dx, w = -lap psi with psi = cos(2x + 3y)
    u, v = -3 * torch.sin(2 * x + 3 * y), 2 * torch.sin(2 * x + 3 * y)
    w = 13 * torch.cos(2 * x + 3 * y)
    torch.testing.assert_close(vorticity(torch.stack([u, v])), w)
    torch.testing.assert_close(FREE.velocity(w), torch.stack([u, v]))
    assert divergence(torch.stack([u, v])).abs().max() < 1e-12
    radial = torch.stack([torch.cos(x), torch.cos(2 * y)])
    torch.testing.assert_close(divergence(radial), -torch.sin(x) - 2 * torch.sin(2 * y))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_velocities_stay_without_divergence(dtype: torch.dtype, bound: float) -> None:
    flow = KolmogorovFlow(N)
    w = flow.advance(turbulence(flow).to(dtype), time=1.0, steps=20)
    assert w.dtype == dtype
    velocity = flow.velocity(w)
    assert divergence(velocity).abs().max() < bound * w.abs().max()
    torch.testing.assert_close(vorticity(velocity), w)


def test_energy_and_enstrophy_are_conserved_up_to_the_error_in_time() -> None:
    start = turbulence(FREE)
    losses = []
    for steps in (40, 80):
        end = FREE.advance(start, time=1.0, steps=steps)
        assert not torch.allclose(end, start, atol=0.1)
        pairs = ((enstrophy(end), enstrophy(start)), (energy(FREE, end), energy(FREE, start)))
        change = [(after / before - 1).abs().max() for after, before in pairs]
        losses.append(max(change))
    assert losses[0] < 1e-5
    # Fourth order in the state; the invariants lose one more power.
    assert losses[1] < losses[0] / 14


def test_the_error_in_time_falls_with_the_fourth_power() -> None:
    flow = KolmogorovFlow(N)
    start = turbulence(flow)
    fine = flow.advance(start, time=1.0, steps=320)
    errors = [
        (flow.advance(start, time=1.0, steps=steps) - fine).abs().max() for steps in (20, 40)
    ]
    assert 12 < errors[0] / errors[1] < 22


def test_the_energy_budget_closes() -> None:
    """dE/dt = <f u> - mu 2E - nu 2Z, the term of the forcing with its sign."""
    flow = KolmogorovFlow(N, reynolds=200.0)
    w = turbulence(flow)
    y, _ = grid()
    h = 1e-3
    before, after = (energy(flow, x) for x in (w, flow.advance(w, h, 1)))
    middle = flow.advance(w, h / 2, 1)
    work = (torch.sin(4 * y) * flow.velocity(middle)[:, 0]).mean(dim=(-2, -1))
    loss = 2 * flow.drag * energy(flow, middle) + 2 / flow.reynolds * enstrophy(middle)
    torch.testing.assert_close((after - before) / h, work - loss, rtol=1e-5, atol=1e-8)


def test_the_laminar_flow_is_a_fixed_point() -> None:
    """Where forcing, drag and viscosity balance: u = F / (nu n^2 + mu) sin(n y)."""
    flow = KolmogorovFlow(N, reynolds=20.0)
    y, _ = grid()
    laminar = -4 / (16 / 20 + 0.1) * torch.cos(4 * y)
    # Held by the balance alone; a disturbance of rounding grows too slowly to be seen.
    torch.testing.assert_close(flow.advance(laminar, 0.5, 20), laminar, rtol=0, atol=2e-7)


def test_a_shift_along_x_commutes_with_the_flow() -> None:
    flow = KolmogorovFlow(N)
    w = turbulence(flow)
    shifted = flow.advance(w.roll(5, dims=-1), 0.5, 10)
    torch.testing.assert_close(shifted, flow.advance(w, 0.5, 10).roll(5, dims=-1))


def test_random_phases_have_the_energy_asked_for_and_its_peak() -> None:
    flow = KolmogorovFlow(64)
    w = flow.random_phases(8, 0.7, 6.0, generator(3, "test"), torch.float64)
    torch.testing.assert_close(energy(flow, w), torch.full((8,), 0.7, dtype=torch.float64))
    assert not torch.allclose(w[0], w[1], atol=0.1)
    assert w.mean(dim=(-2, -1)).abs().max() < 1e-12
    transform = torch.fft.fft2(flow.velocity(w)).abs().square().sum(dim=-3).mean(dim=0)
    axis = torch.fft.fftfreq(64, 1 / 64)
    ring = torch.hypot(axis[:, None], axis[None]).round().int()
    spectrum = torch.stack([transform[ring == k].sum() for k in range(32)])
    assert int(spectrum.argmax()) == 6


def test_truncation_keeps_what_the_coarse_grid_has() -> None:
    def waves(size: int) -> torch.Tensor:
        y, x = grid(size)
        return 0.3 + torch.cos(3 * x - 5 * y) + torch.sin(7 * y)

    y, x = grid(48)
    torch.testing.assert_close(truncate(waves(48) + torch.sin(9 * x + y), 16), waves(16))
    assert truncate(waves(48), 48).shape == (48, 48)
    with pytest.raises(ValueError, match="even number up to 48"):
        truncate(waves(48), 15)


def test_steps_follow_the_courant_number() -> None:
    flow = KolmogorovFlow(64)
    assert flow.steps_needed(0.2, speed=4.0) == math.ceil(0.2 * 4 * 64 / 3)
    assert flow.steps_needed(0.2, speed=4.0, courant=2.0) == math.ceil(0.1 * 4 * 64 / 3)
