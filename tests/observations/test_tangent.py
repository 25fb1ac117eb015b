from __future__ import annotations

import torch

from slams.observations.stacked import observe_all, observe_perturbations
from slams.observations.tangent import tangent
from tests.assimilators.classical import Warped
from tests.assimilators.problems import linear_gaussian

F64 = torch.float64


def states(problem, count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, *problem.shape, generator=generator, dtype=F64)
    return noise * problem.normaliser.sd.double()


def test_is_the_linear_part_of_affine_operators() -> None:
    problem = linear_gaussian(days=2)
    about, some = 250 + states(problem, 1, 0), states(problem, 70, 1)
    found = tangent(lambda f: observe_all(problem.operators, f), about, some)
    expected = observe_perturbations(problem.operators, some)
    assert found.shape == (70, 2, 25 + 32)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def test_agrees_with_the_adjoint_and_with_differences_where_h_is_not_linear() -> None:
    problem = linear_gaussian()
    operators = [
        Warped(o, 0.9, c, s)
        for o, c, s in zip(problem.operators, (280.0, 230.0), (3.0, 20.0), strict=True)
    ]
    about = torch.tensor([281.0, 235.0], dtype=F64)[:, None, None] + states(problem, 1, 2)
    v = states(problem, 3, 3)
    with torch.no_grad():  # as assimilators call it
        images = tangent(lambda f: observe_all(operators, f), about, v)
    u = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(4), dtype=F64)
    _, pull = torch.func.vjp(lambda f: observe_all(operators, f)[0], about)
    left = (images * u).sum(dim=(1, 2))
    right = (v * pull(u)[0]).flatten(1).sum(dim=1)
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-10)

    step = 1e-5
    ahead, behind = (observe_all(operators, about + s * v) for s in (step, -step))
    torch.testing.assert_close(images, (ahead - behind) / (2 * step), rtol=1e-7, atol=1e-6)
    # Far from linear: the linear part of the same operators at another state is another.
    other = tangent(lambda f: observe_all(operators, f), about + 3.0, v)
    assert float((other - images).abs().max()) > 0.1
