"""`slams bench kolmogorov`: its verb on a tiny flow, the calibration, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from slams.cli import main
from slams.config.loading import load
from slams.diffusion.settings import SamplerSettings
from slams.diffusion.training import make_denoiser
from slams.errors import UserError
from slams.warmups.kolmogorov_assimilation import assimilate
from slams.warmups.kolmogorov_bench import summary
from slams.warmups.kolmogorov_data import Climatology
from slams.warmups.kolmogorov_score import FlowBackbone
from slams.warmups.recipes import (
    FlowConfig,
    FlowScoreConfig,
    KolmogorovConfig,
    ObservedConfig,
    check_kolmogorov,
)

RECIPES = Path(__file__).parents[2] / "experiments/kolmogorov"
TINY = """
flow: {integration: 16, grid: 16, wave_number: 2, spin_up: 1, trajectories: 4, length: 6}
score:
  {window: 3, channels: [8], blocks: 1, embedding: 8, batch_size: 2, optimizer: {steps: 2}}
length: 5
cases: 1
members: 2
coarse: {every: 2, cells: 4}
sparse: {every: 2, cells: 4}
saturation: {every: 2, cells: 2, margin: 1}
sampler: {steps: 4}
"""


def test_the_verb_prints_and_writes_everything_and_takes_up_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = ["bench", "kolmogorov", str(tmp_path / "tiny.yaml")]
    command += ["--output", str(tmp_path / "here")]
    assert main.main(command) == 0
    table = pd.read_csv(tmp_path / "here/results.csv")
    assert list(table["operator"].unique()) == ["coarse", "sparse", "saturation"]
    assert list(table["method"][:4]) == ["climatology", "interpolation", "gaussian", "score"]
    assert len(table) == 4 + 4 + 3
    assert table[["residual_sd", "residual_ratio", "rmse"]].notna().all(axis=None)
    assert (tmp_path / "here/kolmogorov.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "Kolmogorov flow, 1 trajectories of 5 states, 2 members" in printed
    assert "reusing" not in printed
    assert main.main([*command, "sampler.steps=3"]) == 0
    assert capsys.readouterr().out.count("reusing") == 3
    assert main.main([*command, "flow.drag=0.2"]) == 0
    assert "reusing" not in capsys.readouterr().out


def gaussian_problem(
    truths: int,
) -> tuple[KolmogorovConfig, torch.Tensor, FlowBackbone, Climatology]:
    """A Gaussian prior with exact denoiser, and truths that are draws of it.

    Windows are as long as the trajectory, and there is no network.
    """
    size, length = 16, 3
    config = KolmogorovConfig(
        flow=FlowConfig(integration=size, grid=size, wave_number=2),
        score=FlowScoreConfig(window=length, channels=[8]),
        length=length,
        members=8,
        coarse=ObservedConfig(every=2, cells=4, error=0.1),
        sparse=ObservedConfig(every=1, cells=4, error=0.1),
        saturation=ObservedConfig(every=2, cells=2, margin=1, error=0.05),
        sampler=SamplerSettings(steps=16, centred=False),
    )
    config.guidance.iterations = 8
    k = torch.hypot(torch.fft.fftfreq(size, 1 / size)[:, None], torch.fft.rfftfreq(size, 1 / size))
    lags = (torch.arange(length)[:, None] - torch.arange(length)).abs()
    covariance = torch.kron(0.8**lags, torch.eye(2)) * (6 / (1 + k) ** 4)[..., None, None]
    mean = torch.full((2, size, 1), 0.2)
    backbone = FlowBackbone(covariance, 2, [8], 1, 8, mean, 1.0).requires_grad_(False)
    shape = (truths, length, 2, size, size)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(5))
    a = torch.fft.rfft2(noise, norm="ortho").flatten(1, 2).permute(2, 3, 1, 0)
    root = torch.linalg.cholesky(covariance)
    a = torch.complex(root @ a.real, root @ a.imag).permute(3, 2, 0, 1)
    truth = torch.fft.irfft2(a, s=(size, size), norm="ortho").reshape(shape)
    clim = Climatology(mean, torch.tensor(1.5))
    return config, clim.velocity(truth), backbone, clim


@pytest.mark.parametrize("kind", ["coarse", "sparse", "saturation"])
def test_of_a_gaussian_prior_residuals_and_spread_are_what_they_must_be(kind: str) -> None:
    config, truths, backbone, clim = gaussian_problem(4)
    found: dict[str, list[float]] = {"residual_sd": [], "spread": [], "rmse": []}
    drawn = []
    for number, truth in enumerate(truths):
        case = assimilate(config, kind, number, truth, clim, make_denoiser(backbone))
        rows = {row["method"]: row for row in case.rows}
        # An untrained network is the filter: both draw from one posterior, with the same noise.
        both = case.members["score"], case.members["gaussian"]
        torch.testing.assert_close(*both, atol=1e-3, rtol=0)
        assert rows["gaussian"]["diverged"] == 0
        drawn.append((case.seen - case.operator.seen(truth)).square().mean())
        for name, values in found.items():
            values.append(float(rows["gaussian"][name]) ** 2)
    residual, spread, rmse = (torch.tensor(v).mean().sqrt().item() for v in found.values())
    # Nothing but the algorithm and chance can move this from one: the prior is the truth's. The
    # noise that was drawn takes the place of its standard deviation, which is less of chance.
    noise = torch.stack(drawn).mean().sqrt().item()
    # Saturation is linearised about what is denoised, which is not exact.
    band = 0.15 if kind == "saturation" else 0.06
    assert residual / noise == pytest.approx(1, abs=band)
    if kind == "saturation":
        # Vorticity does not show the mean velocity, which has most of the variance here: the error
        # of one trajectory is one draw of it, and the spread stays near the prior's.
        prior = float(clim.sd * backbone.filter.error(torch.tensor([1e4]))[0])
        assert 0.8 * prior < spread < 1.1 * prior
    else:
        assert (9 / 8) ** 0.5 * spread / rmse == pytest.approx(1, abs=0.12)
        assert rmse < 0.9 * rows["climatology"]["rmse"]
    assert rows["climatology"]["residual_sd"] > 2 * noise


def test_cases_are_averaged_as_squares() -> None:
    row = {"operator": "coarse", "method": "score", "values": 10, "target": 0.1, "members": 4}
    row |= {"diverged": 1, "seconds": 2.0, "spread": 0.5}
    rows = [row | {"residual_sd": sd, "rmse": sd} for sd in (0.1, 0.7)]
    table = summary(pd.DataFrame(rows))
    assert table["rmse"][0] == pytest.approx(0.5)
    assert table["residual_ratio"][0] == pytest.approx(5.0)
    assert table["spread_skill"][0] == pytest.approx(1.25**0.5)
    assert (table["diverged"][0], table["cases"][0]) == (2, 2)


@pytest.mark.parametrize("name", ["small.yaml", "full.yaml"])
def test_the_recipes_are_valid(name: str) -> None:
    config = load(RECIPES / name, (), KolmogorovConfig, check_kolmogorov)
    assert config.flow.grid == 64


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("guidance.kind=dsp", "did you mean 'dps'"),
        ("guidance.jacobian=no", "expected one of filter, network"),
        ("flow.grid=60", "key 'flow.grid': found 60, expected a multiple of 8"),
        ("flow.integration=32", "expected at least 64"),
        ("score.window=4", "an odd number"),
        ("length=3", "at least score.window, 5"),
        ("sparse.cells=7", "a divisor of flow.grid, 64"),
        ("coarse.margin=1", "expected 0"),
        ("saturation.margin=8", "less than half of the 16"),
        ("members=1", "at least 2"),
        ("sampler.sigma_max=0.01", "more than 0.03"),
        ("sampler.correction=1.2", "expected in (0, 1]"),
        ("sampler.corrections=-1", "at least 0"),
        ("guidance.linearisations=0", "at least 1"),
        ("score.channels=[12]", "divisible by 8"),
        ("score.optimizer.ema=1.0", "less than 1"),
        ("sarse.cells=8", "did you mean 'sparse'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(override: str, named: str) -> None:
    with pytest.raises(UserError, match="key") as refused:
        load(RECIPES / "small.yaml", (override,), KolmogorovConfig, check_kolmogorov)
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)


def test_damaged_trajectories_are_named(tmp_path: Path, capsys) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "train.pt").write_bytes(b"no tensors")
    command = ["bench", "kolmogorov", str(tmp_path / "tiny.yaml"), "--output", str(tmp_path)]
    assert main.main(command) == 2
    assert "train.pt cannot be read" in capsys.readouterr().err
