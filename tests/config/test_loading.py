"""Recipes: what they mean, and the sentence with which a wrong one is refused."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import pytest

from slams.config import help, validation
from slams.config.checks import require
from slams.config.checks.rules import check_that
from slams.config.loading import load, to_plain, to_yaml
from slams.config.schema import Config, OptimizerConfig
from slams.errors import UserError

RECIPE = """
experiment: tiny
data:
  channels: [temperature@850, temperature@500, 2m_temperature, outgoing_longwave_radiation]
  splits:
    train: [1980-01-01, 1981-12-31]
    validation: [1982-01-06, 1982-06-30]
    test: [1982-07-06, 1982-12-31]
  window: 2
vae:
  optimizer: {learning_rate: 1e-4}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


def refusal(recipe: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load(recipe, overrides)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_values_of_the_recipe_and_defaults_of_the_schema(recipe: Path) -> None:
    config = load(recipe)
    assert config.experiment == "tiny"
    assert config.data.splits.train == ["1980-01-01", "1981-12-31"]  # text, not dates
    assert config.vae.optimizer.learning_rate == pytest.approx(1e-4)
    # Only what is named changes: the VAE's own default of steps is not the optimiser's.
    assert config.vae.optimizer.steps == Config().vae.optimizer.steps == 2000
    assert config.score == Config().score


def test_extending_merges_sections_and_replaces_lists(recipe: Path, tmp_path: Path) -> None:
    middle = tmp_path / "deeper" / "middle.yaml"
    middle.parent.mkdir()
    middle.write_text("extends: ../tiny.yaml\nseed: 7\nscore: {channels: [8]}\n")
    child = tmp_path / "child.yaml"
    child.write_text("extends: deeper/middle.yaml\nvae: {optimizer: {steps: 5}}\nscore:\n")
    config = load(child)
    assert (config.experiment, config.seed) == ("tiny", 7)
    assert config.score.channels == [8]
    assert config.vae.optimizer.steps == 5
    assert config.vae.optimizer.learning_rate == pytest.approx(1e-4)


def test_a_cycle_of_recipes_is_refused(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml")
    (tmp_path / "b.yaml").write_text("extends: a.yaml")
    assert "a.yaml -> b.yaml -> a.yaml" in refusal(tmp_path / "a.yaml")


def test_overrides_are_typed_by_the_schema(recipe: Path) -> None:
    config = load(
        recipe,
        [
            "assimilation.members=8",
            "assimilation.setting=8",
            "tracking.enabled=false",
            "data.store=a=b.zarr",
            "tracking.experiment=",
            "score.channels=[8, 16]",
            "vae.optimizer={steps: 3}",
            "observations.stations.variables.0.error=2",
        ],
    )
    assert config.assimilation.members == 8
    assert config.assimilation.setting == "8"
    assert config.tracking.enabled is False
    assert config.data.store == "a=b.zarr"
    assert config.tracking.experiment == ""
    assert config.score.channels == [8, 16]
    assert config.vae.optimizer.steps == 3
    assert config.vae.optimizer.learning_rate == pytest.approx(1e-4)
    assert config.observations.stations.variables[0].error == 2
    assert config.observations.stations.variables[0].channel == "2m_temperature"


def test_entries_of_a_list_of_sections_are_completed(recipe: Path) -> None:
    recipe.write_text(
        RECIPE + "observations: {stations: {variables: [{channel: temperature@850}]}}"
    )
    (variable,) = load(recipe).observations.stations.variables
    assert (variable.channel, variable.error) == ("temperature@850", 1.0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("seed=1", "seed=1"),
        ("vae.optimizer={steps: 3}", "vae.optimizer={clip: 2}"),
        ("vae.optimizer={steps: 3}", "vae.optimizer.steps=4"),
        ("vae.optimizer.steps=4", "vae={optimizer: {steps: 3}}"),
        ("observations.stations.variables.0.error=2", "observations.stations.variables=[{}]"),
        ("trained_in=a", " trained_in=b"),
        ("ablation.grid={seed: [1]}", "ablation.grid={vae.factor: [2]}"),
    ],
)
def test_an_override_that_replaces_another_is_refused(
    recipe: Path, first: str, second: str
) -> None:
    sentence = refusal(recipe, first, "score.blocks=1", second)
    assert f"overrides {first!r} and {second!r}: the second replaces what the first" in sentence


def test_overrides_of_other_parts_and_of_a_sweep_are_no_repetition(recipe: Path) -> None:
    words = [
        "observations.stations.variables=[{channel: temperature@850}, {error: 3}]",
        "observations.stations.variables.1.error=2",
        "vae.optimizer.clip=2",
        "vae.optimizer={steps: 3}",
    ]
    config = load(recipe, words, varied=["vae.optimizer.steps=4"])
    assert [one.error for one in config.observations.stations.variables] == [1, 2]
    assert (config.vae.optimizer.steps, config.vae.optimizer.clip) == (4, 2)


def test_interpolations_are_resolved_and_checked(recipe: Path) -> None:
    assert load(recipe, ["score.batch_size=${vae.batch_size}"]).score.batch_size == 16
    assert "'score.batch_size'" in refusal(recipe, "score.batch_size=${experiment}")
    assert "'score.batch_size'" in refusal(recipe, "score.batch_size=${nowhere}")


def test_what_is_printed_reads_back_as_the_same_recipe(recipe: Path, tmp_path: Path) -> None:
    config = load(recipe, ["seed=3", "observations.satellite.coverage=0.25"])
    printed = tmp_path / "printed.yaml"
    printed.write_text(to_yaml(config))
    assert load(printed) == config
    assert to_plain(config) == dataclasses.asdict(config)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("vae.latent_chanels=3", "did you mean 'vae.latent_channels'?"),
        ("members=4", "did you mean 'assimilation.members'?"),
        ("vae.learning_rate=1", "did you mean 'vae.optimizer.learning_rate'?"),
        ("observations.stations.variables.0.eror=1", "'observations.stations.variables.0.error'"),
        ("vae.factor.x=1", "'vae.factor' is one value"),
        ("observations.stations.variables.3.error=1", "has 1 entries"),
        ("nonsense", "not of the form key=value"),
    ],
)
def test_unknown_keys_on_the_command_line(recipe: Path, override: str, expected: str) -> None:
    assert expected in refusal(recipe, override)


def test_an_unknown_key_names_its_file_and_dotted_path(recipe: Path, tmp_path: Path) -> None:
    child = tmp_path / "child.yaml"
    child.write_text("extends: tiny.yaml\nseed: 1\n")
    recipe.write_text(RECIPE.replace("learning_rate", "learning_rat"))
    sentence = refusal(child)
    assert "'vae.optimizer.learning_rat'" in sentence
    assert "'vae.optimizer.learning_rate'?" in sentence
    assert f"in {recipe}" in sentence  # where it stands, not the recipe that extends it


@pytest.mark.parametrize(
    ("override", "found", "expected"),
    [
        ("vae.factor=many", "'many'", "a whole number"),
        ("vae.factor=4.5", "4.5", "a whole number"),
        ("vae.factor=true", "true", "a whole number"),
        ("vae.factor=", "nothing", "a whole number"),
        ("vae.kl_weight=.nan", "nan", "a finite number"),
        ("vae.kl_weight='1'", "'1'", "a number"),
        ("tracking.enabled=1", "1", "true or false"),
        ("data.channels=temperature@850", "'temperature@850'", "a list of texts"),
        ("score.channels=[64, wide]", "'wide'", "a whole number"),
        ("data=5", "5", "the keys store"),
    ],
)
def test_wrong_types(recipe: Path, override: str, found: str, expected: str) -> None:
    sentence = refusal(recipe, override)
    assert f"found {found}, expected {expected}" in sentence
    assert "on the command line" in sentence


def test_only_a_limit_may_be_infinite(recipe: Path) -> None:
    assert load(recipe, ["observations.gross_error=.inf"]).observations.gross_error == math.inf
    assert "finite" in refusal(recipe, "observations.gross_error=-.inf")
    assert "finite" in refusal(recipe, "observations.satellite.error=.inf")


def test_a_number_where_text_stands_in_a_file(recipe: Path) -> None:
    recipe.write_text(RECIPE.replace("experiment: tiny", "experiment: 2024"))
    assert "put it in quotes: '2024'" in refusal(recipe)


def test_a_key_that_takes_a_word_or_a_number(recipe: Path) -> None:
    key = "observations.superob.cell"
    for text, value in (("off", "off"), ("3", 3), ("2.5", 2.5), ("'4'", "4"), ("auto", "auto")):
        found = load(recipe, [f"{key}={text}"]).observations.superob
        assert found.cell == value
    degrees = {"off": None, "auto": 0.0, "3": 3.0, '"3"': 3.0, "2.5": 2.5}
    for text, size in degrees.items():
        assert load(recipe, [f"{key}={text}"]).observations.superob.degrees == size
    assert "found a list of 1, expected text or a number" in refusal(recipe, f"{key}=[3]")
    recipe.write_text(RECIPE + "\nobservations: {superob: {cell: 3.0}}\n")
    assert load(recipe).observations.superob.degrees == 3.0
    recipe.write_text(RECIPE + "\nobservations: {superob: {cell: off}}\n")
    assert "found false, expected text or a number; put the word in quotes" in refusal(recipe)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        *(
            (f"observations.superob.cell={cell}", [f"found {found}, expected auto, off, or 0.01"])
            for cell, found in (
                ("0", "0"),
                ("-2", "-2"),
                ("banana", "'banana'"),
                ("90.5", "90.5"),
                ("nan", "'nan'"),
            )
        ),
        ("observations.superob.correlation=1.2", ["1.2, expected in [0, 1]"]),
        ("observations.satellite.error=-1", ["'observations.satellite.error'", "-1"]),
        (
            "observations.stations.variables=[{channel: 2m_temperature, likelihood: censored}]",
            ["variables.0.likelihood'", "2m_temperature, expected gaussian or auto"],
        ),
        (
            "observations.stations.variables=[{channel: 2m_temperature, likelihood: gausian}]",
            ["variables.0.likelihood'", "did you mean 'gaussian'"],
        ),
        (
            "observations.stations.variables=[{channel: 2m_temperature, error: -2}]",
            ["'observations.stations.variables.0.error'", "-2"],
        ),
        ("observations.satellite.coverage=1.5", ["coverage", "(0, 1]"]),
        ("observations.satellite.coverage=0", ["coverage", "(0, 1]"]),
        ("assimilation.members=1", ["members", "at least 2"]),
        ("assimilation.methods=[kriging]", ["'kriging'", "climatology"]),
        ("assimilation.methods=[optimal_interpolatoin]", ["did you mean 'optimal_interpolation'"]),
        ("assimilation.methods=[background, background]", ["listed twice"]),
        ("assimilation.setting=../x", ["'assimilation.setting'"]),
        ("experiment=../x", ["'experiment'"]),
        ("assimilation.sampler.sigma_max=0.01", ["sigma_max", "0.03"]),
        ("assimilation.letkf.ensemble=1", ["'assimilation.letkf.ensemble'", "at least 2"]),
        ("assimilation.enkf.inflation=0", ["'assimilation.enkf.inflation'", "more than 0"]),
        ("assimilation.letkf.rtps=1.5", ["'assimilation.letkf.rtps'", "[0, 1]"]),
        ("assimilation.three_d_var.outer_loops=0", ["outer_loops", "at least 1"]),
        ("assimilation.guidance.background=obs", ["guidance.background'", "observation"]),
        ("assimilation.guidance.background_points=0", ["background_points'", "at least 1"]),
        ("vae.factor=0", ["'vae.factor'", "at least 1"]),
        ("score.ensemble=17", ["'score.ensemble'", "found 17", "batch of 16"]),
        ("score.batch_size=0", ["'score.batch_size'"]),
        ("score.optimizer.ema=1", ["'score.optimizer.ema'", "less than 1"]),
        ("background.lag=4", ["'background.lag'", "5 days", "1, 2, 3, 4"]),
        ("score.lags=[1, 5]", ["'score.lags'", "lag 5", "1, 2, 3, 4"]),
        ("score.lags=[1, 1]", ["'score.lags'", "twice"]),
        ("score.loss=field", ["'score.loss'", "latent", "decoded"]),
        ("score.shifts=-1", ["'score.shifts'", "0 or more"]),
        ("assimilation.sampler.order=5", ["'assimilation.sampler.order'", "1 to 4"]),
        ("assimilation.sampler.inflation=0", ["sampler.inflation'", "more than 0"]),
        ("background.kind=file", ["'background.path'"]),
        ("background.kind=persistence", ["damped_persistence"]),
        ("data.channels=[temprature@850]", ["did you mean 'temperature'"]),
        ("data.channels=[temperature@low]", ["'low'", "hPa"]),
        ("observations.satellite.channel=2m_temp", ["did you mean '2m_temperature'"]),
        ("observations.use=[radar]", ["'radar'", "stations"]),
        ("observations.use=[degraded]", ["'observations.degraded.channels'"]),
        ("resume=maybe", ["'resume'", "overwrite"]),
        ("report.case=24", ["'report.case'", "24"]),
        ("simulate.start=1980-13-01", ["'simulate.start'", "1980-13-01"]),
        ("simulate.sampling=hourly", ["'simulate.sampling'", "daily_means", "instants"]),
    ],
)
def test_recipes_that_contradict_themselves(recipe: Path, override: str, words: list[str]) -> None:
    sentence = refusal(recipe, override)
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("data.splits.test=[1982-06-01, 1982-12-31]", ["overlaps data.splits.validation"]),
        ("data.splits.test=[1982-07-05, 1982-12-31]", ["4 days", "expects 5 days"]),
        ("data.splits.train=[1981-01-01, 1980-01-01]", ["before the first"]),
        ("data.splits.train=[1980-01-01]", ["1 dates"]),
        ("data.splits.train=[1980-02-30, 1981-01-01]", ["'1980-02-30'", "exists"]),
        ("data.splits.test=[1982-12-31, 1982-12-31]", ["window of 2 days", "has 1"]),
    ],
)
def test_splits(recipe: Path, override: str, words: list[str]) -> None:
    sentence = refusal(recipe, override)
    assert all(word in sentence for word in words), sentence


def test_first_guesses(recipe: Path) -> None:
    methods = "assimilation.methods=[letkf@linear_inverse_model, latent_diffusion@climatology]"
    assert load(recipe, [methods]).assimilation.methods[1] == "latent_diffusion@climatology"
    for name, words in {
        "3dvar@score_meen": "did you mean '3dvar@score_mean'?",
        "letkf@": "found 'letkf@'",
        # The score model knows backgrounds as they are, and none at all.
        "latent_diffusion@score_mean": "found 'latent_diffusion@score_mean'",
        "climatology@score_mean": "found 'climatology@score_mean'",
    }.items():
        assert words in refusal(recipe, f"assimilation.methods=[{name}]")
    sentence = refusal(
        recipe, "background.kind=climatology", "assimilation.methods=[letkf@score_mean]"
    )
    assert "'letkf@score_mean' makes its first guess of the background" in sentence
    load(recipe, ["background.kind=climatology", "assimilation.methods=[3dvar@climatology]"])
    section = "assimilation.linear_inverse_model"
    for word in ("ridges=[]", "ridges=[1.0, 0.0]", "folds=1", "eofs=0", "gap=-1"):
        assert f"'{section}.{word.partition('=')[0]}'" in refusal(recipe, f"{section}.{word}")
    unseen = load(recipe, ["data.splits.validation=[]", "assimilation.methods=[enkf@score_mean]"])
    with pytest.raises(UserError, match=r"data\.splits\.validation.*enkf@score_mean"):
        require(unseen, "assimilate")


def test_a_split_may_follow_exactly_after_the_gap(recipe: Path) -> None:
    assert load(recipe, ["data.splits.test=[1982-07-06, 1982-12-31]"]).data.splits.gap == 5


def test_each_verb_asks_for_what_it_needs(recipe: Path) -> None:
    only_test = load(recipe, ["data.splits.train=[]", "data.splits.validation=[]"])
    require(only_test, "assimilate")
    require(only_test, "simulate")
    for verb in ("prepare", "train vae", "train score"):
        with pytest.raises(UserError, match=r"data\.splits\.train"):
            require(only_test, verb)
    only_test.data.statistics_from = "stores/other.zarr"
    require(only_test, "prepare")
    with pytest.raises(UserError, match=r"report\.level.*700.*850, 500"):
        require(load(recipe, ["report.level=700"]), "assimilate")
    with pytest.raises(UserError, match=r"data\.channels"):
        require(load(recipe, ["data.channels=[]"]), "prepare")


def test_a_missing_recipe_names_the_nearest(recipe: Path) -> None:
    assert f"did you mean {recipe}" in refusal(recipe.with_name("tinny.yaml"))
    recipe.write_text("extends: bse.yaml")
    assert "which tiny.yaml extends" in refusal(recipe)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: [1", "not valid YAML"),
        ("seed: 1\nseed: 2\n", "line 2"),
        ("- seed", "expected keys and values"),
        ("extends: [a, b]", "'extends'"),
    ],
)
def test_files_that_are_no_recipe(recipe: Path, text: str, words: str) -> None:
    recipe.write_text(text)
    assert words in refusal(recipe)


def test_keys_of_entries_of_a_list_are_explained_once() -> None:
    listed = [key.path for key in help.list_keys()]
    assert "observations.instruments.0.operator" in listed
    assert "data.source.variables.0.units" in listed
    assert not [path for path in listed if path.startswith("data.sources.")]


def test_every_dotted_key_can_be_overridden() -> None:
    sections = {
        key for key in validation.dotted_keys() if dataclasses.is_dataclass(_at(Config(), key))
    }
    plain = set(validation.dotted_keys()) - sections
    listed = {key.path for key in help.list_keys() if ".0." not in key.path}
    assert listed == plain | {"extends"}
    for key in plain:
        validation.type_at(key, "here")


def test_comments_of_the_schema_become_help() -> None:
    found = {key.path: key for key in help.list_keys()}
    assert found["data.lags"].comment.startswith("Lags (steps)")
    assert found["vae.blocks"].comment == "Residual blocks in each of the two paths."
    assert found["data.sources"].comment.startswith("Several sources instead of `data.source`")
    assert found["observations.stations.variables"].value[0]["channel"] == "2m_temperature"
    # A section has its own description, then the comment above it.
    letkf = found["assimilation.letkf.ensemble"].section
    assert letkf.startswith("An ensemble Kalman filter")
    assert "Fewer members than `enkf`" in letkf
    error = found["observations.stations.variables.0.error"]
    assert "standard deviation of the observation error" in error.comment.lower()
    text = help.format_help(help.list_keys(sections=("background",)))
    assert "background.lag = 2" in text
    assert "vae." not in text


def test_reading_a_recipe_imports_nothing_heavy(recipe: Path) -> None:
    code = (
        "import sys; from slams.config.loading import load; load(sys.argv[1]); "
        "import slams.cli.main; "
        "print([m for m in ('torch', 'lightning', 'mlflow', 'zarr', 'xarray', 'numpy') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(recipe)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@dataclasses.dataclass
class Toy:
    """A small pendulum."""

    # Where it hangs.
    length: float = 1.0
    # Shared with the other recipes.
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)


def test_a_recipe_of_another_schema(tmp_path: Path) -> None:
    def validator(toy: Toy) -> None:
        check_that(toy.length > 0, toy, "length", "more than 0")

    base, child = tmp_path / "base.yaml", tmp_path / "child.yaml"
    base.write_text("optimizer: {steps: 7}\n")
    child.write_text("extends: base.yaml\nlength: 2\n")

    def read(*overrides: str) -> Toy:
        return load(child, overrides, Toy, validator)

    assert read("optimizer.clip=2") == Toy(2.0, OptimizerConfig(steps=7, clip=2.0))
    printed = tmp_path / "printed.yaml"
    printed.write_text(to_yaml(read()))
    assert load(printed, (), Toy, validator) == read()
    for override, words in [
        ("lenght=1", "did you mean 'length'?"),
        ("steps=1", "did you mean 'optimizer.steps'?"),
        ("vae.factor=4", "a recipe has length, optimizer"),
        ("length=long", "found 'long', expected a number"),
        ("length=0", "'length': found 0.0, expected more than 0"),
        ("optimizer.ema=1", "'optimizer.ema'"),
    ]:
        with pytest.raises(UserError) as caught:
            read(override)
        assert words in str(caught.value)
    base.write_text("optimizer: {step: 7}\n")
    with pytest.raises(UserError, match=r"'optimizer.step' in .*base.yaml; did you mean"):
        read()
    explained = help.format_help(help.list_keys(schema=Toy))
    assert "length = 1.0\n      Where it hangs." in explained
    # Of a section that is defined elsewhere, the comments beside its definition.
    assert "optimizer.clip = 1.0\n      Largest norm of the gradient." in explained


def _at(config: object, key: str) -> object:
    for part in key.split("."):
        config = getattr(config, part)
    return config
