"""The analyses of an evaluation that are kept: those of an interrupted one, and their store."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from slams.fields import Ensemble, FieldSpec
from slams.grid import LatLonGrid
from slams.modules import analyses
from slams.modules.analyses import KeptCases

CHANNELS = (FieldSpec.parse("temperature@850"), FieldSpec.parse("2m_temperature"))
GRID = LatLonGrid(torch.tensor([67.5, 22.5, -22.5, -67.5]), torch.arange(8) * 45.0)


def ensemble(method: str, cases: list[int], days: int = 1, members: int = 3) -> Ensemble:
    """Return members that depend on the case, whose first day is its number."""
    first = torch.tensor(cases, dtype=torch.float64)[:, None]
    draws = [
        torch.randn(members, days, 2, 4, 8, generator=torch.Generator().manual_seed(case))
        for case in cases
    ]
    time = first + torch.arange(days, dtype=torch.float64)
    none = torch.zeros(len(cases), dtype=torch.int64)
    return Ensemble(method, torch.stack(draws), time, CHANNELS, GRID, diverged=none)


def kept(cases: list[int], limit: int, days: int = 1, directory: Path | None = None) -> KeptCases:
    """Keep an ensemble and a truth, case by case, from the last to the first."""
    found = KeptCases(limit, directory)
    for case in reversed(cases):
        number = torch.tensor([case])
        found.add("letkf", number, ensemble("letkf", [case], days))
        found.add("truth", number, ensemble("truth", [case], days, members=1))
    return found


@pytest.mark.parametrize("centred", [True, False])
def test_what_is_restored_is_what_was_kept(centred: bool) -> None:
    members = torch.randn(2, 3, 1, 2, 4, 8, generator=torch.Generator().manual_seed(1))
    ensemble = Ensemble(
        "letkf",
        members,
        torch.tensor([[10.0], [11.0]], dtype=torch.float64),
        CHANNELS,
        GRID,
        diverged=torch.tensor([0, 2]),
        centred=centred,
    )
    kept = KeptCases(2)
    kept.add("letkf", torch.tensor([4, 7]), ensemble)
    restored = KeptCases(2)
    restored.restore(kept.to_plain(), CHANNELS, GRID)
    assert restored.dataset("letkf").identical(kept.dataset("letkf"))
    assert restored.dataset("letkf").attrs["ensemble"] == ("centred" if centred else "free")
    plain = set(kept.to_plain()["letkf"][4])
    own = {"channels", "grid", "seconds"}  # given again, or a time
    assert plain == {field.name for field in dataclasses.fields(Ensemble)} - own


def test_a_store_is_read_by_method_and_date(tmp_path: Path) -> None:
    kept([4, 7, 9], 2).write(tmp_path / "a.zarr", {"setting": "toy"}, {"2m_temperature": "mean"})
    tree = xr.open_datatree(tmp_path / "a.zarr", engine="zarr", consolidated=False)
    assert tree.attrs["setting"] == "toy"
    letkf, truth = tree["letkf"], tree["truth"]
    assert letkf["case"].values.tolist() == [4, 7]
    one = ensemble("letkf", [7])
    day = letkf.to_dataset().sel(time="1970-01-08")
    np.testing.assert_array_equal(day["t2m"], one.members[0, :, 0, 1])
    np.testing.assert_array_equal(day["temperature_mean"].sel(level=850), one.mean[0, 0, 0])
    assert truth["t2m"].dims == ("time", "latitude", "longitude")
    assert truth["t2m"].attrs["cell_methods"] == "time: mean"


@pytest.mark.parametrize("block", [1, 2**30])
def test_all_cases_are_stored_whatever_is_held_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    cases = [0, 2, 4, 11]
    kept(cases, -1, days=2).write(tmp_path / "memory.zarr")
    monkeypatch.setattr(analyses, "_BLOCK", block)
    filed = kept(cases, -1, days=2, directory=tmp_path / "cases")
    restored = KeptCases(-1, tmp_path / "cases")
    restored.restore(filed.to_plain(), CHANNELS, GRID)
    merged = KeptCases.merge([restored.select(cases[:2]), restored.select(cases[2:])])
    merged.write(tmp_path / "files.zarr")
    for group in ("letkf", "truth"):
        one, two = (
            xr.open_zarr(tmp_path / name, group=group, chunks=None)
            for name in ("memory.zarr", "files.zarr")
        )
        assert one["case"].values.tolist() == np.repeat(cases, 2).tolist()
        xr.testing.assert_identical(one.load(), two.load())


def test_windows_that_overlap_are_stored_once(tmp_path: Path, capsys) -> None:
    kept([0, 1, 2, 3, 9], 4, days=3).write(tmp_path / "a.zarr")
    found = xr.open_zarr(tmp_path / "a.zarr", group="letkf")
    assert found["case"].values.tolist() == [0, 0, 0, 3, 3, 3]
    assert found["time"].to_index().is_unique
    assert "a.zarr lacks 2 of the cases to be kept" in capsys.readouterr().out
