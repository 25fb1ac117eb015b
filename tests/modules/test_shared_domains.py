"""Processes that share one case's domains give what one gives alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, multiprocessing
from torch import distributed as dist

from slams.assimilators.case_by_case import CaseByCase
from slams.assimilators.enkf import EnKF
from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.assimilators.three_d_var import ThreeDVar
from slams.diffusion.settings import ResidualSettings
from slams.linalg.settings import LocalSettings
from slams.modules.shares import Share
from tests.assimilators.classical import fitted
from tests.assimilators.latent_gaussian import assimilator
from tests.assimilators.problems import linear_gaussian

MEMBERS = 5
LOCAL = LocalSettings(above=0, observations=30, spacing=4000.0)
KINDS = (OptimalInterpolation, ThreeDVar, EnKF)
PROBLEM = linear_gaussian()


def methods() -> dict[str, CaseByCase]:
    archive = PROBLEM.archive(PROBLEM.draw(60, seed=7))
    made = {kind.name: fitted(kind, PROBLEM, archive, local=LOCAL) for kind in KINDS}
    residual = ResidualSettings(localisation=4000.0, archive=40)
    latent = assimilator(PROBLEM, archive=40, steps=4, keep=4, residual=residual).method
    latent.gains.local = latent._residual.gains.local = LOCAL
    return made | {latent.name: latent}


def analyse(share: Share) -> dict[str, Tensor]:
    """Analyse a case with every method; latent diffusion's members are shared as well."""
    batch, found = PROBLEM.batch(1), {}
    for name, method in methods().items():
        share.solve_together(method, MEMBERS)
        only = {"only": share.members(MEMBERS)} if method.shares_members else {}
        found[name] = method.analyse(batch, MEMBERS, **only).members
    return found


def work(rank: int, directory: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{directory / 'meet'}", rank=rank, world_size=2
    )
    torch.save(analyse(Share(rank, 2)), directory / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Tensor]]:
    directory = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(work, (directory,), nprocs=2)
    return [torch.load(directory / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def alone() -> dict[str, Tensor]:
    return analyse(Share())


@pytest.mark.parametrize("kind", KINDS)
def test_every_rank_has_the_analysis(shared, alone, kind: type) -> None:
    for found in shared:
        torch.testing.assert_close(found[kind.name], alone[kind.name], rtol=1e-6, atol=1e-4)


def test_every_rank_has_its_members_of_latent_diffusion(shared, alone) -> None:
    name = "latent_diffusion"
    found = torch.cat([part[name] for part in shared], dim=1)
    torch.testing.assert_close(found, alone[name], rtol=1e-6, atol=1e-4)


def test_a_rank_without_members_lets_each_rank_solve_everything() -> None:
    method = methods()["optimal_interpolation"]
    Share(0, 2).solve_together(method, 1)
    assert method.gains.partners.world == 1
    Share(0, 2).solve_together(method, 2)
    assert method.gains.partners.world == 2
