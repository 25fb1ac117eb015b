"""Groups of fields that are damaged are found, and what may be missing is no damage."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from slams.errors import UserError
from slams.fields import Ensemble, FieldSpec
from slams.grid import LatLonGrid
from slams.modules.analyses import KeptCases
from slams.report.stored_fields import damaged_groups, group_problems, open_group

Damage = Callable[[xr.Dataset], xr.Dataset]


def fields(member: bool = False) -> xr.Dataset:
    """Return a group of two cases, one variable with levels and one without."""
    rng = np.random.default_rng(3)
    size = {"case": 2, "member": 3, "day": 1, "level": 2, "latitude": 4, "longitude": 6}
    dims = [name for name in size if name != "member" or member]
    data = {
        variable: (names, rng.standard_normal([size[n] for n in names]).astype(np.float32))
        for variable, names in (
            ("temperature", dims),
            ("rain", [name for name in dims if name != "level"]),
        )
    }
    coords = {
        "case": [0, 1],
        "time": (("case", "day"), np.array([["2001-01-01"], ["2001-01-02"]], "datetime64[ns]")),
        "level": [850, 500],
        "latitude": [60.0, 20.0, -20.0, -60.0],
        "longitude": np.arange(6) * 60.0,
    }
    return xr.Dataset(data, coords)


def put(value: float, variable: str = "temperature") -> Damage:
    def damage(dataset: xr.Dataset) -> xr.Dataset:
        values = dataset[variable].copy()
        values[dict.fromkeys(values.dims, 0)] = value
        return dataset.assign({variable: values})

    return damage


def whole(dataset: xr.Dataset) -> xr.Dataset:
    return dataset


def swapped(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.rename(latitude="longitude", longitude="latitude")


ANY = {
    "infinite": (put(np.inf), "temperature has 1 infinite values"),
    "no day": (lambda d: d.isel(day=0), "has the dimensions case, level"),
    "no level": (lambda d: d.drop_vars("level"), "level is missing"),
    "no latitude": (lambda d: d.drop_vars("latitude"), "latitude is missing"),
    "swapped": (swapped, "has the dimensions case, day"),
    "order": (
        lambda d: d.assign_coords(latitude=d["latitude"].values[[1, 0, 2, 3]]),
        "latitude has impossible or unordered values",
    ),
    "pole": (lambda d: d.assign_coords(latitude=[300.0, 20, -20, -60]), "latitude has impossible"),
    "nan": (lambda d: d.assign_coords(longitude=d["longitude"].where(False)), "longitude is"),
    "text": (lambda d: d.assign(rain=d["rain"].astype(str)), "rain is of type"),
    "time": (lambda d: d.assign_coords(time=("case", d["time"].values[:, 0])), "time has the dim"),
}
# Found where a group is compared with the truth, in whichever of the two it is.
COMPARED = {
    "variable": (lambda d: d.drop_vars("rain"), "found the variables"),
    "rows": (lambda d: d.isel(latitude=slice(3)), "latitude is not that of group truth"),
    "levels": (lambda d: d.isel(level=[1]), "level is not that of group truth"),
    "cases": (lambda d: d.isel(case=[0]), "case is not that of group truth"),
    "one level": (lambda d: d.isel(level=0, drop=True), "has the dimensions"),
    "later": (
        lambda d: d.assign_coords(time=d["time"] + np.timedelta64(1, "D")),
        "time is not that of group truth",
    ),
}
LOST = {
    "chunk": (lambda d: d.assign(rain=d["rain"].where(False)), "rain has"),
    "state": (
        lambda d: d.assign(temperature=d["temperature"].where((d.level < 800) | (d.case > 0))),
        "temperature has",
    ),
}
CASES = [
    pytest.param(group, *damage, id=f"{group}-{name}")
    for group, damages in (
        ("truth", ANY),
        ("background", ANY | COMPARED | LOST),
        ("letkf", ANY | COMPARED | LOST | {"one": (put(np.nan), "has 1 missing values (NaN)")}),
    )
    for name, damage in damages.items()
]


def found(group: str, damage: Damage, truth: Damage = whole) -> str | None:
    """Return the first problem of a damaged group next to a truth that may be damaged too."""
    dataset = damage(fields(member=group == "letkf"))
    return next(
        group_problems(group, dataset, None if group == "truth" else truth(fields())), None
    )


@pytest.mark.parametrize(("group", "damage", "problem"), CASES)
def test_damage_is_found(group: str, damage: Damage, problem: str) -> None:
    assert problem in found(group, damage)


@pytest.mark.parametrize("name", COMPARED)
def test_a_group_does_not_fit_a_damaged_truth(name: str) -> None:
    damage, problem = COMPARED[name]
    assert found("truth", damage) is None  # for itself it is whole
    assert problem in found("letkf", whole, damage)


def without_500(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign(temperature=dataset["temperature"].where(dataset["level"] > 600))


def northern(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.where(dataset["latitude"] > 0)


def timeless(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.drop_vars("time")


@pytest.mark.parametrize(
    ("group", "damage", "truth"),
    [
        ("letkf", whole, whole),
        ("letkf", timeless, timeless),  # as older versions wrote them
        ("letkf", timeless, whole),
        ("letkf", whole, northern),
        ("letkf", northern, northern),
        ("letkf", without_500, without_500),
        ("letkf", lambda d: d.isel(member=0), whole),
        ("background", northern, whole),  # read from a file with missing values
    ],
)
def test_what_may_be_missing_is_no_damage(group: str, damage: Damage, truth: Damage) -> None:
    assert found("truth", truth) is None
    assert found(group, damage, truth) is None


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store whose background has lost a value."""
    path = tmp_path / "a.zarr"
    for group in ("truth", "background"):
        dataset = fields() if group == "truth" else put(np.inf)(fields())
        dataset.to_zarr(path, group=group, mode="a", zarr_format=3, consolidated=False)
    return path


def test_a_damaged_group_is_left_out_or_refused(store: Path) -> None:
    missing: list[str] = []
    assert damaged_groups(store, missing) == {"background"}
    reason = "temperature has 1 infinite values"
    assert missing == [f"background in {store} is damaged ({reason}): no maps."]
    assert open_group(store, "truth") is not None
    assert open_group(store, "letkf") is None
    with pytest.raises(UserError) as caught:
        damaged_groups(store, [], refuse=True)
    assert str(caught.value) == (
        f"{store} is damaged, group background: {reason}; run `slams assimilate` again with "
        f"resume=overwrite, or remove {store} for a report without maps"
    )


def test_a_variable_that_no_group_has(store: Path) -> None:
    missing: list[str] = []
    assert "truth" in damaged_groups(store, missing, {"temperature", "wind"})
    assert "found the variables rain, temperature, expected temperature, wind" in "".join(missing)


def test_a_truth_that_cannot_be_read_is_not_compared_with(store: Path) -> None:
    for path in (store / "truth/rain/c").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:20])
    missing: list[str] = []
    assert damaged_groups(store, missing) == {"truth", "background"}
    assert f"truth in {store} is truncated or corrupt" in missing[0]
    assert "infinite" in missing[1]
    shutil.rmtree(store)
    assert damaged_groups(store, missing) == set()


# --- Stores as they are written now ------------------------------------------------------------

CHANNELS = tuple(
    FieldSpec.parse(name) for name in ("temperature@500", "2m_temperature", "temperature@850")
)
GRID = LatLonGrid(torch.tensor([67.5, 22.5, -22.5, -67.5]), torch.arange(8) * 45.0)


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    """Return a store of two cases of two days each, and its members `(B, M, T, C, H, W)`."""
    members = torch.randn(2, 3, 2, 3, 4, 8, generator=torch.Generator().manual_seed(1))
    time = torch.tensor([[10.0, 11.0], [12.0, 13.0]], dtype=torch.float64)
    none = torch.zeros(2, dtype=torch.int64)
    kept = KeptCases(2)
    for group, values in (("letkf", members), ("truth", members[:, :1])):
        one = Ensemble(group, values, time, CHANNELS, GRID, diverged=none, centred=True)
        kept.add(group, torch.tensor([4, 6]), one)
    kept.write(tmp_path / "analysis.zarr")
    return tmp_path / "analysis.zarr", members


def test_a_store_is_taken_by_case_and_day_under_the_names_of_tables(written) -> None:
    store, members = written
    found = open_group(store, "letkf")
    values = members.numpy()
    assert set(found.data_vars) == {"temperature", "2m_temperature"}
    assert found["temperature"].dims == (
        "case", "member", "day", "level", "latitude", "longitude",
    )  # fmt: skip
    np.testing.assert_array_equal(found["temperature"].sel(level=500), values[:, :, :, 0])
    np.testing.assert_array_equal(found["temperature"].sel(level=850), values[:, :, :, 2])
    np.testing.assert_array_equal(found["2m_temperature"], values[:, :, :, 1])
    assert found["time"].dims == ("case", "day")
    assert found["time"].values[1, 0] == np.datetime64("1970-01-13")
    assert found["case"].values.tolist() == [4, 6]
    assert found["2m_temperature"].attrs["units"] == "K"
    assert found.attrs["ensemble"] == "centred"
    truth = open_group(store, "truth")
    assert truth["2m_temperature"].dims == ("case", "day", "latitude", "longitude")
    assert damaged_groups(store, [], {"temperature"}, refuse=True) == frozenset()


def damage_time(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.isel(time=slice(3))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (damage_time, "3 days are not windows of 2 cases"),
        (lambda d: d.drop_vars("case"), "case is not that of group truth"),
        (lambda d: d.drop_vars("t2m"), "found the variables temperature, in group truth"),
        (put(np.inf), "temperature has 1 infinite values"),
        (put(np.nan, "t2m"), "2m_temperature has 1 missing values"),
    ],
)
def test_damage_of_a_store_is_found(written, damage: Damage, problem: str) -> None:
    store, _ = written
    dataset = xr.open_zarr(store, group="letkf", chunks=None).load()
    shutil.rmtree(store / "letkf")
    damaged = damage(dataset).drop_encoding()
    damaged.to_zarr(store, group="letkf", zarr_format=3, consolidated=False)
    missing: list[str] = []
    assert damaged_groups(store, missing) == {"letkf"}
    assert problem in missing[0]
