"""The dry run prints every channel of every layout: units, conversion, days, mean and range."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from data_modules.preparation.merging import open_parts
from data_modules.preparation.survey import survey
from slams.config.schema import DataConfig, SourceConfig
from slams.fields import FieldSpec
from tests.data_modules.sources.readers import test_anemoi
from tests.faults.headers import READERS, Reader

_LAYOUTS = {
    **READERS,
    "anemoi": Reader(
        lambda folder: test_anemoi.write(folder / "set.zarr"),
        tuple(test_anemoi.CHANNELS),
        "set.zarr",
    ),
}
_NUMBER = r"-?[\d.]+(?:e[+-]?\d+)?"


@pytest.mark.parametrize("kind", list(_LAYOUTS))
def test_each_channel_has_a_line(kind: str, tmp_path: Path) -> None:
    layout = _LAYOUTS[kind]
    layout.write(tmp_path)
    path = tmp_path if kind == "chaosbench" else tmp_path / layout.pattern
    channels = [FieldSpec.parse(name) for name in layout.channels]
    data = DataConfig(source=SourceConfig(kind=kind, path=str(path)), channels=[*layout.channels])
    parts, _, _ = open_parts(data, channels)
    head, *lines = survey(parts)
    assert re.search(r": \d+ days, \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d, ", head)
    assert len(lines) == len(channels)
    for channel, line in zip(channels, lines, strict=True):
        values = rf"mean {_NUMBER}, {_NUMBER} to {_NUMBER} {re.escape(channel.units)}"
        assert re.fullmatch(rf"  {channel.name}: \S+ in \S.*, .*; {values}.*", line), line
