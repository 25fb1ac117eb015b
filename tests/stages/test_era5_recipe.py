"""The recipe on ERA5: checked, and rehearsed on small archives of the exact public layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_modules.store.training_store import TrainingStore
from slams.cli.main import main
from slams.config.loading import load
from tests.data_modules.public_layouts import chaosbench, noaa_olr, weatherbench2
from tests.data_modules.sources.stations.archives import ghcn_stations, write_lines

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
RECIPES = ("era5_1p5deg.yaml", "era5_1p5deg_10hpa.yaml")
DAYS = 110


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_valid(name, capsys):
    assert main(["config", "validate", str(EXPERIMENTS / name)]) == 0
    config = load(EXPERIMENTS / name)
    levels = {int(c.partition("@")[2]) for c in config.data.channels if "@" in c}
    slams = {10, 50, 100, 200, 300, 500, 700, 850, 925, 1000}
    assert slams - levels == ({10} if name == RECIPES[0] else set())


@pytest.fixture(scope="module")
def archives(tmp_path_factory) -> Path:
    """Return archives of 110 days from 2016-02-27 on, 13 x 24 in place of 121 x 240."""
    root = tmp_path_factory.mktemp("archives")
    weatherbench2(root / "era5.zarr", days=DAYS + 1, rows=13, columns=24, start="2016-02-27")
    noaa_olr(
        root / "olr.nc", days=DAYS, era="int16", start="2016-02-27", rows=7, columns=12, step=12
    )
    sites = [(f"XX{n:09d}", 60.0 - 4 * n, -170.0 + 11 * n, 10.0 * n) for n in range(30)]
    ghcn_stations(root / "ghcnd-stations.txt", sites)
    days = np.datetime64("2016-02-27") + np.arange(DAYS)
    rows = [
        f"{name},{str(day).replace('-', '')},{element},{value + number % 7},,,S,"
        for name, *_ in sites
        for number, day in enumerate(days)
        for element, value in (("TMAX", 150), ("TMIN", 60), ("PRCP", 12))
    ]
    (root / "ghcn-daily").mkdir()
    write_lines(root / "ghcn-daily" / "2016.csv.gz", rows)
    (root / "era5").mkdir()
    chaosbench(root / "era5", days=DAYS, rows=13, columns=24)
    return root


def words(archives: Path, directory: Path, name: str) -> list[str]:
    last = 2 if name == RECIPES[1] else 1
    keys = {
        "data.sources.0.path": archives / "era5.zarr",
        f"data.sources.{last}.path": archives / "olr.nc",
        "data.sources.0.grid": "12x24",
        "data.store": directory / "store.zarr",
        "data.period": "[2016-02-27, 2016-06-15]",
        "data.splits.train": "[2016-02-27, 2016-05-06]",
        "data.splits.validation": "[2016-05-12, 2016-05-22]",
        "data.splits.test": "[2016-05-28, 2016-06-14]",
        "data.harmonics": 0,
        "data.num_workers": 0,
        "observations.stations.source.path": archives / "ghcn-daily" / "*.csv.gz",
        "observations.stations.source.station_list": archives / "ghcnd-stations.txt",
        "runs": directory / "runs",
        "tracking.enabled": "false",
        "trainer.accelerator": "cpu",
        "vae.hidden": 8,
        "vae.latent_channels": 8,
        "vae.optimizer.steps": 8,
        "score.channels": "[8]",
        "score.embedding": 16,
    }
    if name == RECIPES[1]:
        keys["data.sources.1.path"] = archives / "era5"
    return [f"{key}={value}" for key, value in keys.items()]


def run(verb: str, name: str, changed: list[str], *options: str) -> int:
    return main([*verb.split(), str(EXPERIMENTS / name), *changed, *options])


@pytest.mark.parametrize("name", RECIPES)
def test_preparation_is_rehearsed_and_done(name, archives, tmp_path, capsys):
    changed = words(archives, tmp_path, name)
    assert run("prepare", name, changed, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "110 steps from 2016-02-27 to 2016-06-15" in said
    assert "temperature: instant at 00 UTC" in said
    assert "outgoing_longwave_radiation: mean of the UTC day, mean of 2 values over 12 h" in said
    assert not (tmp_path / "store.zarr").exists()
    assert run("prepare", name, changed) == 0
    store = TrainingStore.open(tmp_path / "store.zarr")
    values = store.read(slice(None))
    assert values.shape == (110, len(store.channels), 12, 24)
    assert np.isfinite(values).all()
    kinds = [one["kind"] for one in store.attributes["sources"]]
    stations = store.read_array("stations", slice(None))
    assert stations.shape[1:] == (30, 2)
    assert np.isfinite(stations[1:]).mean() > 0.9
    assert kinds == ["weatherbench2", *(["chaosbench"] if "10hpa" in name else []), "noaa_psl"]


@pytest.mark.slow  # trains an autoencoder for a few steps, which the score needs
def test_training_is_rehearsed(archives, tmp_path, capsys):
    name = RECIPES[0]
    changed = words(archives, tmp_path, name)
    assert run("prepare", name, changed) == 0
    assert run("train vae", name, changed, "--dry-run") == 0
    assert "dry run of train vae" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    assert run("train vae", name, changed) == 0
    assert run("train score", name, changed, "--dry-run") == 0
    assert "dry run of train score" in capsys.readouterr().out


def test_ten_hectopascal_of_weatherbench2_is_refused_by_name(archives, tmp_path, capsys):
    changed = words(archives, tmp_path, RECIPES[0])
    changed += ["data.channels=[temperature@10, outgoing_longwave_radiation]"]
    changed += ["data.sources.0.channels=[temperature]", "observations.use=[satellite]"]
    assert run("prepare", RECIPES[0], changed, "--dry-run") == 2
    assert "level 10 hPa of temperature is missing; found 50, 100" in capsys.readouterr().err
