"""Methods are built by name, with the settings of the recipe."""

from __future__ import annotations

import importlib
import math
import typing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from slams.config.loading import load
from slams.config.schema import (
    AssimilationConfig,
    Config,
    EnsembleKalmanConfig,
    LinearInverseModelConfig,
    ThreeDVarConfig,
)
from slams.diffusion.backend import KarrasDenoiser, VESchedule
from slams.diffusion.settings import ResidualSettings
from slams.errors import UserError
from slams.nn.latent_space import LatentSpace
from slams.nn.precision import Bfloat16
from slams.plugins.methods import FIRST_GUESSES, METHODS, MethodSpec, Role, check_method
from slams.stages import methods
from slams.stages.loading import Networks
from slams.stages.places import trained_inputs
from tests.assimilators.latent_gaussian import ExactDenoiser, linear_space
from tests.assimilators.problems import linear_gaussian
from tests.plugins.names import method_names

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def data() -> SimpleNamespace:
    """What methods ask a DataModule for."""
    problem = linear_gaussian()
    archive = problem.archive(problem.draw(40, seed=7))
    return SimpleNamespace(
        problem=problem,
        normaliser=problem.normaliser,
        grid=problem.grid,
        archive=lambda windows=0, split="train", as_packed=False: archive,
        channels=problem.normaliser.channels,
    )


@pytest.mark.parametrize("spec", [*METHODS.built_in(), *FIRST_GUESSES.built_in()])
def test_a_specification_builds_what_bears_its_name(spec) -> None:
    module = importlib.import_module(spec.build.module)
    build = getattr(module, spec.build.function)
    built = getattr(build, "__self__", None) or typing.get_type_hints(build)["return"]
    assert built.name == spec.name


def test_each_place_in_comparisons_is_taken_once() -> None:
    roles = [spec.role for spec in METHODS.built_in() if spec.role is not Role.OTHER]
    assert sorted(r.name for r in roles) == sorted(r.name for r in Role if r is not Role.OTHER)
    orders = [spec.order for spec in METHODS.built_in()]
    assert len(set(orders)) == len(orders)


def test_a_method_starts_only_from_first_guesses_that_it_knows() -> None:
    classical = ("optimal_interpolation", "3dvar", "enkf", "letkf")
    expected = {f"{m}@{g}" for m in classical for g in FIRST_GUESSES.names()}
    expected |= {f"background@{g}" for g in ("linear_inverse_model", "score_mean")}
    expected |= {"latent_diffusion@climatology"}
    assert {name for name in method_names() if "@" in name} == expected
    for name in ("latent_diffusion@score_mean", "letkf@score_men", "letkf@", "latent_3dvar@x"):
        with pytest.raises(UserError, match=r"key 'assimilation\.methods': found "):
            check_method(name)


@pytest.mark.parametrize("sample", [True, False])
def test_latent_methods_are_given_the_residual_of_the_recipe(data, sample: bool) -> None:
    space = linear_space(data.problem)
    networks = SimpleNamespace(
        autoencoder=lambda: space,
        latent_score=lambda: (space, ExactDenoiser(data.problem, space)),
    )
    residual = ResidualSettings(sample=sample, localisation=1234.0)
    config = Config(assimilation=AssimilationConfig(residual=residual))
    names = ["latent_diffusion", "latent_3dvar"]
    for method in methods.make_methods(config, names, data, networks=networks):
        assert (method._residual is not None) == sample
        assert not sample or method._residual.gains.half_width_km == 1234.0


def test_a_method_starts_from_the_first_guess_after_its_name(data) -> None:
    config = Config(
        assimilation=AssimilationConfig(
            linear_inverse_model=LinearInverseModelConfig(eofs=7, ridges=[2.0], folds=3, gap=1)
        )
    )
    names = ["background@linear_inverse_model", "letkf@linear_inverse_model", "3dvar@climatology"]
    assert set(names) < set(method_names())
    built = methods.make_methods(config, names, data)
    assert [m.name for m in built] == names
    model = built[0].first_guess
    assert (model.eofs, model.ridges, model.folds, model.gap) == (7, (2.0,), 3, 1)
    assert built[1].first_guess is model  # one fit for both
    assert built[0].analyse(data.problem.batch(), 4).method == names[0]


def test_networks_are_needed_by_name(tmp_path: Path) -> None:
    def asked(*names: str) -> Config:
        return Config(runs=str(tmp_path), assimilation=AssimilationConfig(methods=list(names)))

    classical = asked("background@linear_inverse_model", "3dvar@climatology")
    assert trained_inputs(classical, "assimilation") == {}
    for name in ("letkf@score_mean", "latent_diffusion@climatology"):
        with pytest.raises(UserError, match="run `slams train vae`"):
            trained_inputs(asked("background", name), "assimilation")


def test_settings_of_the_recipe_reach_the_methods(data) -> None:
    config = Config(
        seed=5,
        assimilation=AssimilationConfig(
            three_d_var=ThreeDVarConfig(localisation=3100.0, season=31, outer_loops=3),
            enkf=EnsembleKalmanConfig(20, 3200.0, 32, 1.2, 0.2),
            letkf=EnsembleKalmanConfig(30, math.inf, 33, 1.3, 0.3),
        ),
    )
    built = methods.make_methods(config, ["3dvar", "enkf", "letkf"], data)
    assert [m.name for m in built] == ["3dvar", "enkf", "letkf"]
    assert [m.localisation for m in built] == [3100.0, 3200.0, math.inf]
    assert [m.season for m in built] == [31, 32, 33]
    assert {m.seed for m in built} == {5}
    assert built[0].outer_loops == 3
    assert [(m.ensemble, m.inflation, m.rtps) for m in built[1:]] == [
        (20, 1.2, 0.2),
        (30, 1.3, 0.3),
    ]


def test_classical_methods_beat_the_background_as_configured(data) -> None:
    trained = ("latent_3dvar", "pixel_diffusion", "latent_diffusion")
    # What it gives was made by another command.
    kept = ("letkf_perfect_model",)
    cycled = [spec.name for spec in METHODS.built_in() if spec.cycled]
    names = [name for name in METHODS.names() if name not in (*trained, *kept, *cycled)]
    config = load(EXPERIMENTS / "classical.yaml")
    assert set(names) < set(config.assimilation.methods)
    batch = data.problem.batch(cases=2)
    errors = {
        method.name: float(
            (
                method.analyse(batch, 8).mean / data.normaliser.sd
                - data.normaliser.denormalise(batch.fields, batch.climatology) / data.normaliser.sd
            )
            .square()
            .mean()
        )
        for method in methods.make_methods(config, names, data)
    }
    for name in ("optimal_interpolation", "3dvar", "enkf", "letkf"):
        assert errors[name] < 0.6 * errors["background"], errors


def test_an_unknown_name_is_refused(data) -> None:
    config = Config()
    config = replace(config, assimilation=replace(config.assimilation, methods=["kriging"]))
    with pytest.raises(
        UserError, match="found 'kriging'; expected one of climatology, background"
    ):
        methods.make_methods(config, config.assimilation.methods, data)


@pytest.mark.parametrize(("kind", "reduced"), [("decg", True), ("mmps", False)])
def test_networks_are_evaluated_in_the_precision_of_the_recipe(kind, reduced) -> None:
    """But for guidance by the network's derivatives."""
    space = LatentSpace(nn.Identity(), nn.Conv2d(3, 2, 1), torch.zeros(3), torch.ones(3))
    score = SimpleNamespace(denoiser=KarrasDenoiser(nn.Conv2d(3, 3, 1), VESchedule()))
    config = Config()
    config.assimilation.guidance.kind = kind
    networks = Networks(config, SimpleNamespace())
    assert networks._evaluated(space, score) == (space, score.denoiser)
    config.assimilation.sampler.precision = "bf16-mixed"
    found, denoiser = networks._evaluated(space, score)
    latents = torch.randn(1, 1, 3, 4, 8)
    exact, rounded = space.decode(latents), found.decode(latents)
    assert rounded.dtype == torch.float32
    assert torch.equal(exact, rounded) != reduced
    assert isinstance(denoiser.backbone, Bfloat16) == reduced


class _Odd:
    """What a plug-in builds: named as it likes, with or without `analyse`."""

    def __init__(self, name: str, analyses: bool) -> None:
        self.name = name
        if analyses:
            self.analyse = self.fit = lambda *arguments: None


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (
            lambda materials: _Odd("other", True),
            "built _Odd named 'other', expected an object named 'odd'",
        ),
        (lambda materials: _Odd("odd", False), "with a function `analyse`"),
        (lambda materials: None, "built NoneType named None"),
        (
            lambda materials: (lambda strength=1.0: None)(**materials.settings_of("odd")),
            r"key 'assimilation.options.odd': .*unexpected keyword argument 'strenght'",
        ),
    ],
)
def test_what_a_plug_in_builds_is_looked_at_first(data, build, said, monkeypatch) -> None:
    spec = MethodSpec("odd", "odd", build)
    monkeypatch.setattr(METHODS, "_found", {**METHODS._found, "odd": spec})
    section = AssimilationConfig(methods=["odd"], options={"odd": {"strenght": 2.0}})
    with pytest.raises(UserError, match=said):
        methods.make_methods(Config(assimilation=section), ["odd"], data)
