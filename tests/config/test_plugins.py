"""Plug-ins in recipes: where they may stand, what becomes of them, whose word counts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slams.config.loading import load
from slams.errors import UserError
from slams.plugins.admission import REGISTRIES, admit_plugins

MODULE = """
from slams.plugins import (
    FirstGuessSpec, GuidanceSpec, MethodSpec, OperatorSpec, SamplerSpec, SourceSpec,
    StationSourceSpec,
)
from slams.plugins.methods import Knows

class Krige:
    spec = MethodSpec("krige", "kriging", print, first_guesses=(Knows.BACKGROUND,))

GUESS = FirstGuessSpec("oracle", "oracle", print)
GUIDE = GuidanceSpec("push", print)
SAMPLE = SamplerSpec("leap", print)
OPERATE = OperatorSpec("eye", print)
FIELDS = SourceSpec("archive_of_mine", print)
REPORTS = StationSourceSpec("ships", print, ("2m_temperature",))
TAKEN = MethodSpec("enkf", "mine", print)
NOTHING = 3
"""
RECIPE = """
data:
  channels: [temperature@850, 2m_temperature]
  splits: {train: [1980-01-01, 1981-12-31], test: [1982-07-10, 1982-12-31]}
observations: {use: [stations]}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe, and a module of plug-ins that is forgotten after the test."""
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    for registry in REGISTRIES:
        monkeypatch.setattr(registry, "_found", dict(registry._found))
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    yield path
    sys.modules.pop("mine", print)


def test_a_plug_in_is_replaced_by_its_name_wherever_it_stands(recipe: Path) -> None:
    config = load(
        recipe,
        [
            "assimilation.methods=[background,'mine:Krige','mine:Krige@mine:GUESS']",
            "assimilation.guidance.kind=mine:GUIDE",
            "assimilation.sampler.kind=mine:SAMPLE",
            "observations.instruments=[{name: camera, operator: 'mine:OPERATE'}]",
            "data.source.kind=mine:FIELDS",
            "observations.source=store",
            "observations.stations.source={kind: 'mine:REPORTS', path: x}",
        ],
    )
    assert config.assimilation.methods == ["background", "krige", "krige@oracle"]
    assert config.assimilation.guidance.kind == "push"
    assert config.assimilation.sampler.kind == "leap"
    assert config.observations.instruments[0].operator == "eye"
    assert config.data.source.kind == "archive_of_mine"
    assert config.observations.stations.source.kind == "ships"
    assert sorted(config.plugins) == sorted(
        f"mine:{name}"
        for name in ("Krige", "GUESS", "GUIDE", "SAMPLE", "OPERATE", "FIELDS", "REPORTS")
    )


def test_a_listed_plug_in_is_found_by_its_name(recipe: Path) -> None:
    with pytest.raises(UserError, match="found 'krige'; expected one of"):
        load(recipe, ["assimilation.methods=[krige]"])
    config = load(recipe, ["plugins=[mine:Krige]", "assimilation.methods=[krige]"])
    assert config.assimilation.methods == ["krige"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("plugins=[mine]", "key 'plugins.0': found 'mine', expected module:Class"),
        ("plugins=[mine:NOTHING]", "mine:NOTHING has nothing that a recipe can name"),
        ("plugins=[mine:TAKEN]", "is called 'enkf', as another method of assimilation is"),
        ("assimilation.sampler.kind=mine:GUIDE", "mine:GUIDE is no sampler"),
        ("assimilation.methods=['mine:Nobody']", "cannot import the plug-in 'mine:Nobody'"),
        ("data.source.kind=no.such.module:X", "cannot import the plug-in 'no.such.module:X'"),
        ("assimilation.methods=['enkf@mine:Krige']", "mine:Krige is no first guess"),
    ],
)
def test_plug_ins_that_cannot_be(recipe: Path, override: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load(recipe, [override])


@pytest.mark.parametrize("record", ["run.json", "sweep.json"])
def test_a_recipe_of_the_programs_own_is_not_trusted(recipe: Path, record: str) -> None:
    recipe.write_text(RECIPE + "plugins: ['mine:Krige']\n")
    assert load(recipe).plugins == ["mine:Krige"]
    forget()
    (recipe.parent / record).write_text("{}")
    with pytest.raises(
        UserError, match=r"may not start code by itself.*--allow-plugin mine:Krige"
    ):
        load(recipe)
    assert "mine" not in sys.modules
    # What the user types is the user's.
    assert load(recipe, ["plugins=[]", "assimilation.sampler.kind=mine:SAMPLE"])
    admit_plugins(["mine:Krige"], "--allow-plugin")
    assert load(recipe).plugins == ["mine:Krige"]


def test_what_a_run_directorys_recipe_extends_is_trusted_no_more(recipe: Path) -> None:
    elsewhere = recipe.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "base.yaml").write_text(RECIPE + "plugins: ['mine:Krige']\n")
    run = recipe.parent / "run"
    run.mkdir()
    (run / "config.yaml").write_text(f"extends: {elsewhere}/base.yaml\n")
    assert load(run / "config.yaml").plugins == ["mine:Krige"]
    forget()
    (run / "run.json").write_text("{}")
    with pytest.raises(UserError, match="may not start code by itself"):
        load(run / "config.yaml")
    # Seen through a link in another directory, it is the same recipe.
    (recipe.parent / "link.yaml").symlink_to(run / "config.yaml")
    with pytest.raises(UserError, match="may not start code by itself"):
        load(recipe.parent / "link.yaml")


def forget() -> None:
    """Forget what was imported, as another process would not know it."""
    for registry in REGISTRIES:
        for name in [n for n in registry._found if n.startswith("mine:")]:
            registry._found.pop(registry._found.pop(name).name, print)
    sys.modules.pop("mine", print)


EVIL = "assimilation:\n  guidance: {kind: 'mine:GUIDE'}\n"


@pytest.fixture
def stranger(recipe: Path) -> Path:
    """The recipe in a run directory of somebody else, which names code."""
    run = recipe.parent / "theirs"
    run.mkdir()
    (run / "run.json").write_text("{}")
    (run / "config.yaml").write_text(RECIPE + EVIL)
    return run / "config.yaml"


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["assimilation.guidance={gamma: 0.3}"],
        ["assimilation={members: 2}"],
        ["assimilation.sampler={steps: 5}", "assimilation.guidance.gamma=0.2"],
        ["observations.stations={count: 5}"],
    ],
)
def test_overrides_beside_it_do_not_make_it_the_users(stranger: Path, overrides: list) -> None:
    with pytest.raises(UserError, match="may not start code by itself"):
        load(stranger, overrides)
    assert "mine" not in sys.modules


@pytest.mark.parametrize(
    "text",
    [
        "extends: theirs/config.yaml\n",
        "extends: theirs/config.yaml\nassimilation: {guidance: }\n",
        "extends: theirs/config.yaml\nassimilation: {members: 2}\n",
    ],
)
def test_a_recipe_of_mine_that_extends_theirs_does_not_vouch_for_it(
    stranger: Path, recipe: Path, text: str
) -> None:
    recipe.write_text(text)
    with pytest.raises(UserError, match="may not start code by itself"):
        load(recipe)
    # Unless it says the same itself.
    recipe.write_text(text.partition("assimilation")[0] + EVIL)
    assert load(recipe).plugins == ["mine:GUIDE"]


def test_what_lies_between_mine_and_an_innocent_place_is_not_trusted(
    stranger: Path, recipe: Path
) -> None:
    below = stranger.parent / "below"
    below.mkdir()
    (below / "e.yaml").write_text(RECIPE + EVIL)
    elsewhere = recipe.parent / "elsewhere.yaml"
    elsewhere.write_text(RECIPE + EVIL)
    for base in ("below/e.yaml", str(elsewhere)):
        stranger.write_text(f"extends: {base}\n")
        recipe.write_text("extends: theirs/config.yaml\n")
        with pytest.raises(UserError, match="may not start code by itself"):
            load(recipe)
    with pytest.raises(UserError, match="may not start code by itself"):
        load(below / "e.yaml")


@pytest.mark.parametrize(
    "ablation",
    [
        "{grid: {assimilation.guidance.kind: ['mine:GUIDE']}}",
        "{zip: {assimilation.guidance.kind: ['mine:GUIDE', decg]}}",
        "{list: [{name: a, assimilation.methods: ['mine:Krige']}]}",
        "{list: [{name: a, assimilation.methods: [' mine:Krige']}]}",
    ],
)
def test_a_sweep_of_theirs_is_data(stranger: Path, recipe: Path, ablation: str) -> None:
    from slams.sweeps import expand

    stranger.write_text(f"{RECIPE}ablation: {ablation}\n")
    for read in (load, expand):
        with pytest.raises(UserError, match="may not start code by itself"):
            read(stranger)
    assert "mine" not in sys.modules
    if "' mine" not in ablation:  # one of mine may
        recipe.write_text(f"{RECIPE}ablation: {ablation}\n")
        settings = expand(recipe).settings
        assert any(setting.config.plugins for setting in settings)


def test_a_recipe_that_another_file_names_is_data(recipe: Path) -> None:
    recipe.write_text(RECIPE + EVIL)
    with pytest.raises(UserError, match="may not start code by itself"):
        load(recipe, trusted=False)
    assert load(recipe).plugins == ["mine:GUIDE"]


def test_interpolations_name_no_code(stranger: Path) -> None:
    stranger.write_text(RECIPE + "assimilation: {guidance: {kind: '${data.source.origin}'}}\n")
    with pytest.raises(UserError, match="which is not allowed"):
        load(stranger, ["data.source.origin=mine:GUIDE"])
    assert "mine" not in sys.modules


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{krige: {range: 3}}", None),
        ("{oracle: {range: 3}}", None),
        ("{krieg: {range: 3}}", "'krieg' is none of assimilation.methods; did you mean 'krige'"),
        ("{enkf: {ensemble: 3}}", r"expected them in its own section, assimilation.enkf"),
        ("{krige: 5}", "found 5, expected keys and values"),
        ("{krige: [1]}", r"found \[1\], expected keys and values"),
    ],
)
def test_settings_of_other_packages_methods(recipe: Path, options: str, said: str | None) -> None:
    words = [
        "plugins=[mine:GUESS]",
        "assimilation.methods=['mine:Krige@oracle']",
        f"assimilation.options={options}",
    ]
    if said is None:
        assert load(recipe, words).assimilation.options
    else:
        with pytest.raises(UserError, match=said):
            load(recipe, words)
