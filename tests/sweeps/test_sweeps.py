"""Sweeps: what a section `ablation` expands to, what is shared, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from slams.config.loading import load
from slams.errors import UserError
from slams.runs.sweep_record import SweepRecord, claim, parent_tags
from slams.sweeps import Sweep, expand, expansion

BASE = """
experiment: tiny
runs: RUNS
data:
  channels: [temperature@850, temperature@500, 2m_temperature, outgoing_longwave_radiation]
  splits:
    train: [1980-01-01, 1981-12-31]
    validation: [1982-01-10, 1982-06-30]
    test: [1982-07-10, 1982-12-31]
"""


def sweep(directory: Path, ablation: str, *overrides: str, top: str = "") -> Sweep:
    (directory / "base.yaml").write_text(BASE.replace("RUNS", str(directory / "runs")))
    path = directory / "study.yaml"
    path.write_text(f"extends: base.yaml\n{top}\nablation: {{{ablation}}}\n")
    return expand(path, overrides)


GRID = "grid: {observations.stations.count: [10, 20], assimilation.members: [2, 3]}"
ZIP = "zip: {observations.degraded.block: [4, 8], observations.degraded.noise: [0.5, 1]}"
LIST = "list: [{name: plain}, {name: dense, observations.satellite.footprint: 1}]"


def test_settings_are_grid_times_zip_times_list(tmp_path: Path) -> None:
    made = sweep(tmp_path, f"{GRID}, {ZIP}, {LIST}", "seed=7")
    assert len(made.settings) == 2 * 2 * 2 * 2
    assert [s.number for s in made.settings] == list(range(16))
    names = [s.name for s in made.settings]
    assert len(set(names)) == 16
    assert names[0] == "plain-count_10-members_2-block_4-noise_0.5"
    seen = set()
    for setting in made.settings:
        config = setting.config
        degraded = config.observations.degraded
        pair = (degraded.block, degraded.noise)
        assert pair in ((4, 0.5), (8, 1.0))  # together, never crossed
        seen.add(
            (
                config.observations.stations.count,
                config.assimilation.members,
                pair,
                config.observations.satellite.footprint,
            )
        )
        assert config.seed == 7
        assert config.assimilation.setting == setting.name
        assert config.experiment == "tiny/study"
        assert config.pretrained_experiment == "tiny"
        assert config.tracking.experiment == "tiny"
        assert setting.directory == tmp_path / f"runs/tiny/study/assimilation-{setting.name}"
    assert len(seen) == 16


def test_names_are_short_readable_and_unique(tmp_path: Path) -> None:
    made = sweep(
        tmp_path,
        "list: [{observations.use: []}, {observations.use: [stations, satellite]}, "
        "{assimilation.optimal_interpolation.localisation: 1e3}, "
        "{assimilation.guidance.localisation: 1e3}, {observations.stations.file: a/b c.csv}, "
        "{observations.stations.file: a_b_c.csv}, "
        f"{{observations.stations.file: {'x' * 200}}}]",
    )
    names = [s.name for s in made.settings]
    assert names[:4] == [
        "use_none",
        "use_stations+satellite",
        "optimal_interpolation.localisation_1000",
        "guidance.localisation_1000",
    ]
    assert names[4] == "file_a_b_c.csv"
    assert names[5].startswith("file_a_b_c.csv-")
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 60
    assert made.find("0") is made.find("use_none")


@pytest.mark.parametrize(
    ("ablation", "sentence"),
    [
        ("", "found no settings, expected grid, zip or list"),
        ("grid: {observations.stations.cuont: [1]}", "did you mean 'observations.stations.count'"),
        ("list: [{asimilation.members: 3}]", "did you mean 'assimilation'"),
        ("grid: {seed: 1}", "seed has 1, expected a list of values"),
        ("grid: {seed: []}", "expected a list of values"),
        ("grid: [seed]", "expected dotted keys and values"),
        ("list: [seed]", "expected dotted keys and values"),
        ("grid: {assimilation.members: [4, 1]}", "setting members_1 of sweep study"),
        ("grid: {assimilation.members: [4, many]}", "expected a whole number"),
        ("grid: {seed: [1, 1]}", "seed_1 and seed_1 are the same"),
        ("list: [{name: a}, {name: b}]", "settings a and b are the same"),
        ("list: [{name: a/b, seed: 1}]", "name 'a/b', expected letters"),
        ("grid: {experiment: [a, b]}", "a sweep sets it itself"),
        ("grid: {tracking.enabled: [true]}", "a sweep sets it itself"),
        ("grid: {assimilation.setting: [a]}", "a sweep sets it itself"),
        ("zip: {seed: [1, 2], data.test_cases: [3]}", "found lists of different lengths"),
        ("grid: {seed: [1]}, zip: {seed: [2]}", "seed is in ablation.grid too"),
        ("zip: {seed: [1]}, list: [{seed: 2}]", "seed is in ablation.zip too"),
        ("name: vae, grid: {seed: [1]}", "key 'ablation.name'"),
        ("name: a/b, grid: {seed: [1]}", "key 'ablation.name'"),
        ("stages: [train vae], grid: {seed: [1]}", "key 'ablation.stages': found [train vae]"),
        ("grid: {vae.latent_channels: [4]}", "which needs a network of its own"),
        ("baseline: sed_1, grid: {seed: [1]}", "did you mean 'seed_1'"),
        (
            "stages: [train score, assimilate], grid: {vae.latent_channels: [4]}",
            "needs a VAE of its own",
        ),
        (
            "stages: [train score, assimilate], grid: {score.space: [latent, pixel]}",
            "expected 'latent' in a sweep that trains",
        ),
        (
            "stages: [train score, assimilate], grid: {pretrained_experiment: [a]}",
            "key 'pretrained_experiment' in 'ablation'",
        ),
    ],
)
def test_a_sweep_is_refused_before_anything_runs(
    tmp_path: Path, ablation: str, sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        sweep(tmp_path, ablation)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_override_of_a_swept_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the sweep varies assim"):
        sweep(tmp_path, GRID, "assimilation.members=5")
    with pytest.raises(UserError, match="no setting 'cuont_10'; did you mean 'count_10"):
        sweep(tmp_path, "grid: {observations.stations.count: [10]}").find("cuont_10")
    with pytest.raises(UserError, match="no setting 4; it has 4, counted from 0"):
        sweep(tmp_path, GRID).find("4")


def test_a_grid_is_replaced_as_a_whole(tmp_path: Path) -> None:
    first = sweep(tmp_path, GRID)
    child = tmp_path / "child.yaml"
    child.write_text("extends: study.yaml\nablation: {grid: {seed: [1, 2]}}\n")
    assert [s.name for s in expand(child).settings] == ["seed_1", "seed_2"]
    words = ["ablation.grid={seed: [1, 2, 3]}"]
    assert len(expand(first.recipe, words).settings) == 3


def test_settings_share_what_is_trained_from_the_same_inputs(tmp_path: Path) -> None:
    made = sweep(
        tmp_path,
        "stages: [train vae, train score, assimilate], grid: {vae.latent_channels: [32, 8], "
        "score.dropout: [0.1, 0.2], assimilation.members: [2, 3]}",
    )
    homes = {
        stage: [s.trainings[stage].experiment for s in made.settings] for stage in ("vae", "score")
    }
    # 32 latent channels and a dropout of 0.1 are the recipe's own.
    assert homes["vae"] == ["tiny"] * 4 + ["tiny/study/trained-latent_channels_8"] * 4
    small = "tiny/study/trained-latent_channels_8-dropout"
    assert homes["score"] == [
        *["tiny"] * 2,
        *["tiny/study/trained-latent_channels_32-dropout_0.2"] * 2,
        *[f"{small}_0.1"] * 2,
        *[f"{small}_0.2"] * 2,
    ]
    for setting in made.settings:
        assert setting.config.pretrained_experiment == setting.trainings["score"].experiment
        assert setting.trainings["score"].pretrained_experiment == ""
        assert setting.config.experiment == "tiny/study"
    # The seed is an input of training only where the sweep trains.
    shared = sweep(tmp_path, "grid: {seed: [0, 1]}")
    assert {s.config.pretrained_experiment for s in shared.settings} == {"tiny"}
    own = sweep(tmp_path, "stages: [train score, assimilate], grid: {background.lag: [2, 3]}")
    assert [s.config.pretrained_experiment for s in own.settings] == [
        "tiny",
        "tiny/study/trained-lag_3",
    ]
    assert all("vae" not in s.trainings for s in own.settings)


def test_a_run_below_a_sweep_is_its_child(tmp_path: Path) -> None:
    assert parent_tags(tmp_path / "runs/tiny/study/assimilation-a") == {}
    directory = tmp_path / "runs/tiny/study"
    directory.mkdir(parents=True)
    SweepRecord("study", "study.yaml", {}, "abc").write(directory)
    expected = {"sweep": "study", "mlflow.parentRunId": "abc"}
    assert parent_tags(directory / "assimilation-a") == expected
    assert parent_tags(directory / "trained-a" / "score") == expected
    assert parent_tags(tmp_path / "runs/tiny/score") == {}


def test_a_claim_is_had_once(tmp_path: Path) -> None:
    with claim(tmp_path, "a") as first, claim(tmp_path, "a") as second, claim(tmp_path, "b") as b:
        assert (first, second, b) == (True, False, True)
    with claim(tmp_path, "a") as again:
        assert again


EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.mark.parametrize(
    "name",
    sorted(str(p.relative_to(EXPERIMENTS)) for p in EXPERIMENTS.glob("*/*.yaml")),
)
def test_recipes_of_sweeps_are_valid(name: str) -> None:
    if name.startswith(("slams2024", "ablations")) and not name.endswith("base.yaml"):
        config = load(EXPERIMENTS / name)
        assert list(expansion._rows(config.ablation, Path(name)))
        if config.ablation.published:
            assert (EXPERIMENTS / name).with_name(config.ablation.published).is_file()
