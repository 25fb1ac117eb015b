from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.assimilators.three_d_var import ThreeDVar, _Iterate, _Problem
from slams.errors import UserError
from slams.observations.stacked import stack_observations
from tests.assimilators.classical import fitted, warped
from tests.assimilators.problems import linear_gaussian, masked

F64 = torch.float64


@pytest.fixture(scope="module")
def problem():
    return linear_gaussian()


@pytest.fixture(scope="module")
def exact(problem):
    """An archive whose sample covariance is exactly B."""
    return problem.archive(problem.draw_exact(1500, seed=2))


def analysis(method, problem, batch, members: int = 3) -> torch.Tensor:
    """Return the analyses `(B, T, C, H, W)`, normalised."""
    members = method.analyse(batch, members).members
    return torch.stack(
        [problem.normalised(members, batch, case).mean(dim=0) for case in range(len(batch))]
    )


class Primal:
    """The cost over the weights of the archive's errors, written afresh in double precision.

    x = x_b + sum_i v_i e_i / sqrt(n - 1),  J(v) = (v.v + |y - H(x)|^2 / R) / 2.
    """

    def __init__(self, problem, archive, batch) -> None:
        errors = (archive.fields - archive.background).double()
        errors = errors - errors.mean(dim=0)
        scale = (problem.variance.double() / errors.var(dim=0)).sqrt()
        self.root = (errors * scale).flatten(1).T / math.sqrt(len(errors) - 1)
        self.stacked = stack_observations(batch, 0)
        self.problem, self.batch = problem, batch
        self.background = batch.background.mean[0].double()

    def state(self, v: torch.Tensor) -> torch.Tensor:
        return self.background + (self.root @ v).reshape(self.background.shape)

    def cost(self, v: torch.Tensor) -> torch.Tensor:
        state = self.state(v) * self.problem.normaliser.sd + self.batch.climatology[0]
        departure = self.stacked.values - self.stacked.apply(state[None])[0]
        return 0.5 * (v @ v + (departure.square() / self.stacked.variance).sum())

    def gradient(self, v: torch.Tensor) -> torch.Tensor:
        v = v.clone().requires_grad_()
        return torch.autograd.grad(self.cost(v), v)[0]

    def weights(self, state: torch.Tensor) -> torch.Tensor:
        """Find the smallest v of a state."""
        increment = (state.double() - self.background).flatten()
        return torch.linalg.lstsq(self.root, increment[:, None], driver="gelsd").solution[:, 0]

    def minimum(self) -> torch.Tensor:
        v = torch.zeros(self.root.shape[1], dtype=F64, requires_grad=True)
        solver = torch.optim.LBFGS(
            [v],
            max_iter=500,
            tolerance_grad=1e-9,
            tolerance_change=1e-14,
            line_search_fn="strong_wolfe",
        )

        def closure():
            solver.zero_grad()
            cost = self.cost(v)
            cost.backward()
            return cost

        solver.step(closure)
        return v.detach()


@pytest.mark.parametrize("shifts", [0, 1])
@pytest.mark.parametrize("half_width", [1500.0, 4000.0, math.inf])
def test_equals_optimal_interpolation_where_h_is_linear(problem, half_width, shifts) -> None:
    batch = problem.batch(cases=2, seed=6)
    generator = torch.Generator().manual_seed(1)
    for which, o in enumerate(batch.observations):
        batch = masked(batch, which, torch.rand(o.mask.shape, generator=generator) > 0.2)
    archive = problem.archive(problem.draw(60, seed=7))
    found, expected = (
        analysis(
            fitted(kind, problem, archive, localisation=half_width, shifts=shifts), problem, batch
        )
        for kind in (ThreeDVar, OptimalInterpolation)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert float((found - batch.background.mean).abs().max()) > 0.5


def test_without_localisation_it_is_the_posterior_of_the_exact_covariance(problem, exact) -> None:
    batch = problem.batch()
    members = problem.normalised(
        fitted(ThreeDVar, problem, exact, localisation=math.inf).analyse(batch, 1500).members,
        batch,
    )
    mean, covariance = problem.posterior(batch)
    torch.testing.assert_close(members.mean(dim=0).double(), mean, rtol=0, atol=2e-4)
    sample = torch.cov(members.flatten(1).T.double())
    off = (sample - covariance) / torch.outer(covariance.diag(), covariance.diag()).sqrt()
    assert float(off.abs().max()) < 0.12
    assert float((sample.diag() / covariance.diag()).mean()) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("strength", [0.5, -0.8])
def test_gradient_vanishes_at_the_analysis_where_h_is_not_linear(problem, strength) -> None:
    batch = warped(problem.batch(seed=3), strength)
    archive = problem.archive(problem.draw(60, seed=7))
    method = fitted(ThreeDVar, problem, archive, localisation=math.inf, outer_loops=20)
    found = analysis(method, problem, batch)[0]
    primal = Primal(problem, archive, batch)
    v = primal.weights(found)
    torch.testing.assert_close(primal.state(v).float(), found, rtol=0, atol=1e-4)
    start = primal.gradient(torch.zeros_like(v))
    assert float(primal.gradient(v).norm()) < 2e-3 * float(start.norm())
    # And the same minimum as a quasi-Newton search finds over all weights.
    minimum = primal.state(primal.minimum())
    torch.testing.assert_close(found.double(), minimum, rtol=0, atol=2e-3)
    # One linearisation is not enough: the problem is not linear.
    once = fitted(ThreeDVar, problem, archive, localisation=math.inf, outer_loops=1)
    assert float((analysis(once, problem, batch)[0] - found).abs().max()) > 0.05


def test_steps_that_overshoot_are_halved(problem) -> None:
    """With H nearly flat away from the background a full Gauss-Newton step goes much too far."""
    batch = warped(problem.batch(seed=3, mean=0.0), -0.97)
    observations = tuple(
        replace(o, error_variance=o.error_variance * 1e-2) for o in batch.observations
    )
    batch = replace(batch, observations=observations)
    archive = problem.archive(problem.draw(60, seed=7))
    primal = Primal(problem, archive, batch)
    costs = [float(primal.cost(torch.zeros(60, dtype=F64)))]
    for loops in (1, 2, 3, 4, 12):
        method = fitted(ThreeDVar, problem, archive, localisation=math.inf, outer_loops=loops)
        found = analysis(method, problem, batch)[0]
        costs.append(float(primal.cost(primal.weights(found))))
    assert all(later < earlier for earlier, later in itertools.pairwise(costs))
    assert costs[-1] == pytest.approx(float(primal.cost(primal.minimum())), rel=1e-3)
    assert costs[1] > 10 * costs[-1]


def test_distance_to_the_background_is_that_of_the_primal_cost(problem) -> None:
    """A part of a step towards a target of another linearisation, and that a second time."""
    batch = warped(problem.batch(seed=3), 0.8)
    archive = problem.archive(problem.draw(60, seed=7))
    method = fitted(ThreeDVar, problem, archive, localisation=math.inf)
    errors = method._errors.of(torch.arange(60), batch.background.variance[0])
    minimisation = _Problem(method, batch, stack_observations(batch, 0), errors)
    primal = Primal(problem, archive, batch)
    now = _Iterate(torch.zeros_like(errors[0]))
    generator = torch.Generator().manual_seed(5)
    for share in (0.5, 0.25, 0.5):
        images, _ = minimisation._images(now.increment, errors)
        shape = (1, images.shape[1], 1)  # one domain, all observations, one increment
        weights = 0.1 * torch.randn(shape, generator=generator, dtype=F64)
        target = minimisation.increments(images, weights)[0]
        now = minimisation.towards(now, images, weights, target, share)
        v = primal.weights(batch.background.mean[0] + now.increment)
        assert now.background_term == pytest.approx(float(v @ v), rel=1e-3)


def test_numbers_do_not_depend_on_the_batch(problem) -> None:
    archive = problem.archive(problem.draw(60, seed=7))
    batch = problem.batch(cases=4)
    generator = torch.Generator().manual_seed(1)
    for which, o in enumerate(batch.observations):
        batch = masked(batch, which, torch.rand(o.mask.shape, generator=generator) > 0.3)
    whole = fitted(ThreeDVar, problem, archive).analyse(batch, 6).members
    method = fitted(ThreeDVar, problem, archive)
    for case in (3, 0):
        alone = method.analyse(batch.select(slice(case, case + 1)), 6).members
        assert torch.equal(alone[0], whole[case])


def test_masked_observations_have_no_effect_at_all(problem) -> None:
    archive = problem.archive(problem.draw(60, seed=7))
    batch = problem.batch()
    mask = torch.rand(1, 1, 25, generator=torch.Generator().manual_seed(2)) > 0.5
    hidden = masked(batch, 0, mask)
    first = hidden.observations[0]
    first = replace(first, values=torch.where(mask, first.values, 1e30))
    other = replace(hidden, observations=(first, *hidden.observations[1:]))
    method = fitted(ThreeDVar, problem, archive)
    one, two = (method.analyse(b, 4).members for b in (hidden, other))
    assert torch.equal(one, two)
    assert not torch.equal(one, method.analyse(batch, 4).members)


def test_case_without_observations_is_the_background_ensemble(problem, exact) -> None:
    batch = problem.batch(cases=2)
    background = problem.normaliser.denormalise(batch.background.mean, batch.climatology)
    method = fitted(ThreeDVar, problem, exact)
    none = method.analyse(replace(batch, observations=()), 100)
    torch.testing.assert_close(none.mean, background, rtol=0, atol=1e-3)
    for which, o in enumerate(batch.observations):
        batch = masked(batch, which, torch.zeros_like(o.mask))
    assert torch.equal(method.analyse(batch, 100).members, none.members)


def test_refuses_a_half_width_beyond_the_sphere(problem) -> None:
    with pytest.raises(UserError, match="half-width"):
        ThreeDVar(problem.normaliser, problem.grid, 0, localisation=20000.0)
