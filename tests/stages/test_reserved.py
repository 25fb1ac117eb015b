"""An assimilation of days that a store reserves: refused, or recorded as a final measurement."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import zarr

from data_modules.store.checks import put_attributes
from slams.config.schema import AssimilationConfig, Config, TrackingConfig
from slams.errors import UserError
from slams.runs.record import RunRecord
from slams.stages.assimilation import assimilate

RESERVED = ["2001-04-01", "2001-04-20"]


@pytest.fixture
def config(tmp_path: Path, tiny_config: Config) -> Config:
    """A recipe that reserves nothing, on a store that reserves most of its test days."""
    store = tmp_path / "store.zarr"
    shutil.copytree(tiny_config.data.store, store)
    group = zarr.open_group(str(store), mode="r+", use_consolidated=False)
    put_attributes(group, {**group.attrs, "reserved_days": RESERVED})
    return replace(
        tiny_config,
        data=replace(tiny_config.data, store=str(store), test_cases=2),
        assimilation=AssimilationConfig(
            methods=["climatology", "background"], members=2, modality_study=0
        ),
        tracking=TrackingConfig(enabled=False),
    )


def test_reserved_days_are_verified_on_only_if_the_recipe_says_so(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("slams.stages.assimilation.make_methods", None)  # refused before the fits
        words = rf"training store {config.data.store} reserves .*final"
        with pytest.raises(UserError, match=words):
            assimilate(config, report_after=False)
    assert not Path(config.runs).exists()
    splits = replace(config.data.splits, final=True)
    config = replace(config, data=replace(config.data, splits=splits))
    record = RunRecord.read(assimilate(config, report_after=False))
    assert (record.test_days, record.reserved_days) == ("reserved, final", RESERVED)
