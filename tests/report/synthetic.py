"""Run directories as an evaluation writes them, with made-up analyses on a small grid."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
import yaml

SCALES = {  # error of each method as a share of its worst, roughly as in a twin experiment
    "climatology": 1.0,
    "background": 0.85,
    "optimal_interpolation": 0.64,
    "latent_diffusion": 0.55,
}
RESULTS = ["method", "setting", "variable", "level", "metric", "value", "lower", "upper", "n"]
RANKS = ["method", "setting", "variable", "level", "bin", "weight"]
INNOVATIONS = ["method", "setting", "observation", "quantity", "mean", "sd", "n", "chi2"]
REGIONS = ("global", "northern_extratropics", "tropics", "southern_extratropics", "land", "sea")
LEVELS = (925, 850, 500, 200, 30)
SURFACE = {
    "2m_temperature": ("K", 285.0, 8.0, 1.6),
    "total_precipitation_24hr": ("mm day-1", 2.7, 1.0, 1.0),
    "outgoing_longwave_radiation": ("W m-2", 230.0, 30.0, 9.0),
}


@dataclass(frozen=True)
class World:
    """The truth of every case: temperature `(K, L, H, W)` and surface fields `(K, H, W)`."""

    latitude: np.ndarray
    longitude: np.ndarray
    levels: tuple[int, ...]
    dates: pd.DatetimeIndex
    temperature: np.ndarray
    surface: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def weights(self) -> np.ndarray:
        edges = np.concatenate([[90.0], (self.latitude[1:] + self.latitude[:-1]) / 2, [-90.0]])
        weights = -np.diff(np.sin(np.deg2rad(edges)))
        return weights / weights.mean()


def smooth_noise(shape: Sequence[int], rng: np.random.Generator, waves: int = 5) -> np.ndarray:
    """Draw unit-variance noise of `waves` wavenumbers each way, periodic in longitude."""
    spectrum = np.fft.rfft2(rng.standard_normal(shape))
    north = np.abs(np.fft.fftfreq(shape[-2]) * shape[-2])[:, None]
    east = np.fft.rfftfreq(shape[-1])[None] * shape[-1]
    noise = np.fft.irfft2(spectrum * np.exp(-((north**2 + east**2) / waves**2)), s=shape[-2:])
    return noise / noise.std(axis=(-2, -1), keepdims=True)


def small_world(cases: int = 8, seed: int = 0) -> World:
    rng = np.random.default_rng(seed)
    latitude = np.linspace(82.5, -82.5, 12)
    longitude = np.arange(24) * 15.0
    pole = np.cos(np.deg2rad(latitude))[:, None]
    level = np.array([285.0, 280, 255, 215, 210])[:, None, None]
    temperature = level - 25 + 40 * pole + 3 * smooth_noise((cases, 5, 12, 24), rng)
    surface = {
        name: mean + sd * smooth_noise((cases, 12, 24), rng)
        for name, (_, mean, sd, _) in SURFACE.items()
    }
    return World(
        latitude,
        longitude,
        LEVELS,
        pd.date_range("1984-01-03", periods=cases, freq="7D"),
        temperature,
        surface,
    )


def statistics(
    truth: np.ndarray, members: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Area means `(K, ...)` of per-case statistics of members `(M, K, ..., H, W)`."""
    count = len(members)
    error = members.mean(axis=0) - truth
    ordered = np.sort(members, axis=0)
    ranks = (2 * np.arange(1, count + 1) - count - 1).reshape(-1, *[1] * truth.ndim)
    pairs = 2 * (ranks * ordered).sum(axis=0) / (count * (count - 1))
    fields = {
        "mse": error**2,
        "bias": error,
        "variance": members.var(axis=0, ddof=1),
        "crps": np.abs(members - truth).mean(axis=0) - pairs / 2,
    }
    return {
        name: (values * weights[:, None]).mean(axis=(-2, -1)) for name, values in fields.items()
    }


def metrics_of(rows: pd.DataFrame, members: int) -> dict[str, float]:
    mean = rows.groupby("statistic")["value"].mean()
    return {
        "rmse": np.sqrt(mean["mse"]),
        "bias": mean["bias"],
        "crps": mean["crps"],
        "spread_skill": np.sqrt((members + 1) / members * mean["variance"] / mean["mse"]),
    }


def write_assimilation(
    path: Path,
    world: World,
    setting: str = "default",
    use: Sequence[str] = ("stations", "satellite"),
    gain: float = 1.0,
    members: int = 6,
    keep: int = 3,
    seed: int = 1,
    source: str = "nature_run",
    statistics_from: str = "",
) -> Path:
    """Write every file of a run; `gain` scales the errors of the methods that observe."""
    path.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    shape = np.array([2.2, 2.6, 2.7, 2.5, 2.6, 2.4, 2.5, 2.6])[: len(world.levels)]
    cases, ranks, results = [], [], []
    kept: dict[str, dict[str, np.ndarray]] = {}
    for method, scale in SCALES.items():
        scale *= gain if method in ("optimal_interpolation", "latent_diffusion") else 1.0
        # Difficulty that varies from date to date and place to place, the same for all methods.
        hard = 0.7 + 0.6 * np.random.default_rng(7).random((len(world.dates), 1, 1))
        hard = hard * (1.2 - 0.6 * np.cos(np.deg2rad(world.latitude)) ** 2)[:, None]
        kept[method] = {}
        variables = {"temperature": (world.temperature, scale * shape[:, None, None])}
        for name, values in world.surface.items():
            variables[name] = (values, scale * SURFACE[name][3])
        for variable, (truth, sd) in variables.items():
            size = (members + 1, *truth.shape)
            amplitude = sd * (hard[:, None] if truth.ndim == 4 else hard)
            noise = smooth_noise(size, rng) * amplitude
            ensemble = truth + noise[0] + noise[1:]
            kept[method][variable] = ensemble[:, :keep]
            levels = world.levels if truth.ndim == 4 else ("surface",)
            area = statistics(truth, ensemble, world.weights)
            for index, level in enumerate(levels):
                part = truth[:, index] if truth.ndim == 4 else truth
                whole = ensemble[:, :, index] if truth.ndim == 4 else ensemble
                rank = (whole < part).sum(axis=0)
                weight = np.broadcast_to(world.weights[:, None], rank.shape)
                counts = np.bincount(rank.ravel(), weight.ravel(), members + 1)
                ranks += [
                    (method, setting, variable, str(level), bin_, value)
                    for bin_, value in enumerate(counts)
                ]
                for name, values in area.items():
                    series = values[:, index] if truth.ndim == 4 else values
                    cases += [
                        (method, setting, k, str(date.date()), variable, str(level), name, value)
                        for k, (date, value) in enumerate(zip(world.dates, series, strict=True))
                    ]
    columns = ["method", "setting", "case", "date", "variable", "level", "statistic", "value"]
    frame = pd.DataFrame(cases, columns=columns)
    count = len(world.dates)
    for (method, variable, level), rows in frame.groupby(["method", "variable", "level"]):
        for metric, value in metrics_of(rows, members).items():
            half = 0.04 * abs(value)
            results.append((method, variable, level, metric, value, value - half, value + half))
    for method in SCALES:
        own = [r for r in results if r[0] == method and r[1] == "temperature"]
        for metric in ("rmse", "bias", "crps", "spread_skill"):
            value = float(np.mean([r[4] for r in own if r[3] == metric]))
            half = 0.03 * abs(value)
            row = (method, "temperature", "mean", metric, value, value - half, value + half)
            results.append(row)
        results.append((method, "temperature", "mean", "rank_chi2", 7.5, 4.0, 12.0))
        results.append((method, "temperature", "mean", "wasserstein", 0.04, 0.03, 0.05))
        for metric, value in (("divergent_members", 0.0), ("seconds_per_member", 0.4)):
            results.append((method, "all", "all", metric, value, np.nan, np.nan))
    table = pd.DataFrame(
        [(r[0], setting, *r[1:], count) for r in results],
        columns=RESULTS,
    )
    table.to_parquet(path / "results.parquet")
    frame.to_parquet(path / "cases.parquet")
    pd.DataFrame(ranks, columns=RANKS).to_parquet(path / "rank_histogram.parquet")
    _write_innovations(path, setting, use)
    _write_observation_space(path, setting, use, members)
    _write_regions(path, table)
    _write_spectra(path, setting)
    _write_analysis(path, world, kept, keep)
    if "stations" in use:
        pd.DataFrame(
            {
                "id": [f"S{i:03d}" for i in range(60)],
                "latitude": np.clip(rng.normal(30, 28, 60), -80, 80),
                "longitude": rng.uniform(0, 360, 60),
                "elevation": rng.uniform(0, 900, 60),
            }
        ).to_csv(path / "stations.csv", index=False)
    config = recipe(setting, use, members, keep, source, statistics_from)
    (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    record = {
        "id": f"a1b2-{setting}",
        "status": "finished",
        "fingerprint": "sha256:0123abcd",
        "versions": {"slams": "0.1.0", "torch": "2.14.1"},
        "lineage": {"vae": "vae-77", "score": "score-88"},
    }
    (path / "run.json").write_text(json.dumps(record))
    return path


def _write_innovations(path: Path, setting: str, use: Sequence[str]) -> None:
    rows = []
    sds = {"stations/2m_temperature": 2.4, "satellite/outgoing_longwave_radiation": 14.0}
    for name, sd in sds.items():
        if name.partition("/")[0] in use:
            for method, scale in SCALES.items():
                rows.append((method, setting, name, "o_minus_b", 0.05, sd, 9000, 1.1))
                rows.append((method, setting, name, "o_minus_a", 0.01, sd * scale, 9000, 0.6))
    pd.DataFrame(rows, columns=INNOVATIONS).to_parquet(path / "observations.parquet")


def _write_observation_space(path: Path, setting: str, use: Sequence[str], members: int) -> None:
    """Write departures of optimal analyses, assimilated and held out."""
    rows, ranks = [], []
    r, b = 1.0, 4.76
    name = "stations/2m_temperature"
    for method, scale in SCALES.items() if "stations" in use else ():
        a = r * b / (r + b) * scale
        values = {
            "o_minus_b_mean": 0.05,
            "o_minus_b_sd": 2.4,
            "o_minus_a_mean": 0.01,
            "o_minus_a_sd": 2.4 * scale,
            "chi2": 1.1,
            "r_assumed": r,
            "hbh_assumed": b,
            "r_desroziers": 1.21,
            "hbh_desroziers": b,
            "hah_desroziers": a,
            "hah_ensemble": a,
            "departure_variance": 1 + a,
            "total_spread": 1 + a,
            "crps": scale,
        }
        for kind, n in (("assimilated", 9000), ("held_out", 800)):
            for region in REGIONS:
                rows += [
                    (method, setting, name, kind, region, key, v, 0.9 * v, 1.1 * v, n)
                    for key, v in values.items()
                    if kind == "assimilated" or "desroziers" not in key
                ]
            share = 1 / (members + 1)
            ranks += [(method, setting, name, kind, k, share, n) for k in range(members + 1)]
    columns = ["method", "setting", "observation", "use"]
    space = [*columns, "region", "statistic", "value", "lower", "upper", "n"]
    pd.DataFrame(rows, columns=space).to_parquet(path / "observation_space.parquet")
    columns += ["bin", "weight", "n"]
    pd.DataFrame(ranks, columns=columns).to_parquet(path / "observation_ranks.parquet")


def _write_regions(path: Path, results: pd.DataFrame) -> None:
    """Write the results of every region: those of the globe, times a factor."""
    own = results[results["metric"].isin(["rmse", "bias", "crps", "spread_skill"])]
    parts = []
    for region, factor in zip(REGIONS, (1, 1.1, 0.4, 1.2, 1.3, 0.9), strict=True):
        part = own.assign(region=region)
        part[["value", "lower", "upper"]] *= factor
        parts.append(part)
    pd.concat(parts).to_parquet(path / "regions.parquet")


def _write_spectra(path: Path, setting: str) -> None:
    """Write power that falls with the wavenumber; the mean loses half of it at wavenumber 6."""
    rows = []
    for method in SCALES:
        for kind, region in (("zonal", "tropics"), ("zonal", "global"), ("spherical", "global")):
            for level in LEVELS:
                for wave in range(12):
                    power = 100.0 / (1 + wave) ** 3
                    mean = power * (0.9 if wave < 6 else 0.3)
                    key = (method, setting, kind, region, "temperature", str(level), wave)
                    rows.append((*key, power, 0.8 * power, mean))
    columns = ["method", "setting", "kind", "region", "variable", "level", "wavenumber"]
    columns += ["truth", "members", "mean"]
    pd.DataFrame(rows, columns=columns).to_parquet(path / "spectra.parquet")


def _write_analysis(
    path: Path, world: World, kept: dict[str, dict[str, np.ndarray]], keep: int
) -> None:
    def dataset(temperature: np.ndarray, surface: dict[str, np.ndarray]) -> xr.Dataset:
        # temperature (case, [member,] level, H, W), surface (case, [member,] H, W)
        lead = ("case", "member") if temperature.ndim == 5 else ("case",)
        axis = len(lead)
        data = {
            "temperature": (
                (*lead, "day", "level", "latitude", "longitude"),
                np.expand_dims(temperature, axis).astype("float32"),
                {"units": "K"},
            )
        }
        for name, values in surface.items():
            dims = (*lead, "day", "latitude", "longitude")
            values = np.expand_dims(values, axis).astype("float32")
            data[name] = (dims, values, {"units": SURFACE[name][0]})
        return xr.Dataset(
            data,
            coords={
                "time": (("case", "day"), world.dates[:keep].values[:, None]),
                "level": list(world.levels),
                "latitude": world.latitude,
                "longitude": world.longitude,
            },
        )

    store = path / "analysis.zarr"
    truth = {name: values[:keep] for name, values in world.surface.items()}
    dataset(world.temperature[:keep], truth).to_zarr(store, group="truth", consolidated=False)
    means = {name: values.mean(axis=0) for name, values in kept["background"].items()}
    dataset(means.pop("temperature"), means).to_zarr(
        store, group="background", mode="a", consolidated=False
    )
    for method in (m for m in kept if m != "background"):
        swapped = {name: np.moveaxis(values, 0, 1) for name, values in kept[method].items()}
        dataset(swapped.pop("temperature"), swapped).to_zarr(
            store, group=method, mode="a", consolidated=False
        )


def recipe(
    setting: str,
    use: Sequence[str],
    members: int,
    keep: int,
    source: str,
    statistics_from: str,
) -> dict:
    return {
        "experiment": "toy",
        "seed": 0,
        "data": {
            "source": {"kind": source, "path": "sample", "origin": "made up for a test"},
            "channels": ["temperature@850", "2m_temperature"],
            "splits": {
                "train": ["1980-01-01", "1982-12-31"],
                "validation": ["1983-01-06", "1983-06-30"],
                "test": ["1984-01-01", "1984-06-30"],
                "gap": 5,
            },
            "statistics_from": statistics_from,
            "window": 1,
            "test_cases": 8,
        },
        "observations": {
            "use": list(use),
            "source": "truth",
            "stations": {
                "count": 60,
                "file": "",
                "variables": [{"channel": "2m_temperature", "error": 1.0}],
            },
            "satellite": {
                "channel": "outgoing_longwave_radiation",
                "footprint": 2,
                "coverage": 0.5,
                "error": 5.0,
            },
            "gross_error": 5.0,
        },
        "background": {"kind": "damped_persistence", "lag": 2, "recentre_days": 0},
        "vae": {"latent_channels": 32, "factor": 4},
        "assimilation": {
            "setting": setting,
            "members": members,
            "guidance": {"kind": "decg", "localisation": 3000.0, "archive": 240},
            "sampler": {"kind": "adams_bashforth", "steps": 16},
            "optimal_interpolation": {"localisation": 4000.0, "season": 75},
            "bootstrap_block": 3,
            "bootstrap_samples": 200,
            "keep_cases": keep,
        },
    }


def write_training(path: Path, stage: str, world: World) -> Path:
    """Write the files of a training stage; the VAE's with reconstructions."""
    path.mkdir(parents=True)
    rng = np.random.default_rng(3)
    step = np.arange(10, 2001, 10)
    train = 0.3 + 2.5 * np.exp(-step / 250) + 0.05 * rng.standard_normal(len(step))
    rows = pd.DataFrame({"step": step, "epoch": step // 100, "train/loss": train})
    every = rows["step"] % 200 == 0
    rows["validation/loss"] = np.where(every, 0.36 + 2.4 * np.exp(-step / 250), np.nan)
    rows.to_csv(path / "metrics.csv", index=False)
    (path / "run.json").write_text(json.dumps({"id": f"{stage}-77", "status": "finished"}))
    if stage == "vae":
        errors = [
            ("temperature", str(level), 0.2 + 0.02 * i) for i, level in enumerate(world.levels)
        ]
        errors += [
            ("2m_temperature", "surface", 0.31),
            ("total_precipitation_24hr", "surface", 0.34),
        ]
        pd.DataFrame(errors, columns=["variable", "level", "rmse"]).to_parquet(
            path / "reconstruction.parquet"
        )
        for group, noise in (("truth", 0.0), ("reconstruction", 0.25)):
            values = world.temperature[:1] + noise * smooth_noise(world.temperature[:1].shape, rng)
            xr.Dataset(
                {
                    "temperature": (
                        ("case", "day", "level", "latitude", "longitude"),
                        values[:, None],
                    )
                },
                coords={
                    "level": list(world.levels),
                    "latitude": world.latitude,
                    "longitude": world.longitude,
                },
            ).to_zarr(path / "reconstruction.zarr", group=group, mode="a", consolidated=False)
    return path


@dataclass(frozen=True)
class Runs:
    """Where a whole experiment was written."""

    world: World
    assimilation: tuple[Path, ...]
    vae: Path
    score: Path


SETTINGS = (
    ("default", ("stations", "satellite"), 1.0),
    ("stations", ("stations",), 1.05),
    ("satellite", ("satellite",), 1.15),
    ("none", (), 1.3),
)


def write_runs(root: Path, world: World, **options: int) -> Runs:
    assimilation = tuple(
        write_assimilation(root / "assimilation" / name, world, name, use, gain, **options)
        for name, use, gain in SETTINGS
    )
    return Runs(
        world,
        assimilation,
        write_training(root / "vae", "vae", world),
        write_training(root / "score", "score", world),
    )
