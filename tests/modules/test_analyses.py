"""The first analyses of an evaluation: what an interrupted one keeps of them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from slams.fields import Ensemble, FieldSpec
from slams.grid import LatLonGrid
from slams.modules.analyses import KeptCases


@pytest.mark.parametrize("centred", [True, False])
def test_what_is_restored_is_what_was_kept(centred: bool) -> None:
    channels = (FieldSpec.parse("temperature@850"), FieldSpec.parse("2m_temperature"))
    grid = LatLonGrid(torch.tensor([67.5, 22.5, -22.5, -67.5]), torch.arange(8) * 45.0)
    members = torch.randn(2, 3, 1, 2, 4, 8, generator=torch.Generator().manual_seed(1))
    ensemble = Ensemble(
        "letkf",
        members,
        torch.tensor([[10.0], [11.0]], dtype=torch.float64),
        channels,
        grid,
        diverged=torch.tensor([0, 2]),
        centred=centred,
    )
    kept = KeptCases(2)
    kept.add("letkf", torch.tensor([4, 7]), ensemble)
    restored = KeptCases(2)
    restored.restore(kept.to_plain(), channels, grid)
    assert restored.dataset("letkf").identical(kept.dataset("letkf"))
    assert restored.dataset("letkf").attrs["ensemble"] == ("centred" if centred else "free")
    plain = set(kept.to_plain()["letkf"][4])
    own = {"channels", "grid", "seconds"}  # given again, or a time
    assert plain == {field.name for field in dataclasses.fields(Ensemble)} - own
