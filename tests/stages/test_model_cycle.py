"""The state of a model's cycle on disk, of this version and of the one before."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from slams.assimilators.cycle import Cycle
from slams.bundles.weights import read_weights, write_weights
from slams.errors import UserError
from slams.stages.model_cycle import DampedCycle
from slams.stages.model_state import CycleSettings, read_state, write_state

FIRST = 3650
SETTINGS = CycleSettings("run", "1979-12-30", "latent_diffusion", 3, 0, 10)
MEMBERS = torch.randn(1, 3, 1, 2, 4, 8, generator=torch.Generator().manual_seed(0))
BIAS = MEMBERS[0, 0, 0].clone()


def cycle() -> Cycle:
    return Cycle(None, torch.ones(2, 4, 8), torch.ones(2, 4, 8))


@pytest.mark.parametrize("bias", [BIAS, None], ids=["corrected", "not corrected"])
def test_a_state_is_restored_as_it_was_saved(tmp_path: Path, bias: torch.Tensor | None) -> None:
    one, other = cycle(), cycle()
    one.restore(FIRST + 4.0, MEMBERS, bias)
    write_state(DampedCycle(None, one).state, tmp_path, SETTINGS)
    assert "filter" not in read_weights(tmp_path / "state.safetensors")["slams"]
    assert read_state(DampedCycle(None, other), tmp_path, SETTINGS, FIRST) == 5
    day, members, found = other.state
    assert day == FIRST + 4
    assert torch.equal(members, MEMBERS)
    assert found is None if bias is None else torch.equal(found, bias)


def test_a_state_of_the_version_before_has_no_error_of_the_climatology(tmp_path: Path) -> None:
    digest = hashlib.sha256(MEMBERS.numpy().tobytes()).hexdigest()
    record = {**asdict(SETTINGS), "day": FIRST + 4.0, "sha256": digest}
    del record["filter"]  # which it did not know
    content = {"slams": record, "state_dict": {"members": MEMBERS}}
    write_weights(content, tmp_path / "state.safetensors")
    restored = cycle()
    assert read_state(DampedCycle(None, restored), tmp_path, SETTINGS, FIRST) == 5
    assert torch.equal(restored.state[1], MEMBERS)
    assert restored.state[2] is None


def test_a_damaged_error_of_the_climatology_is_refused(tmp_path: Path) -> None:
    digest = hashlib.sha256(MEMBERS.numpy().tobytes()).hexdigest()
    record = {**asdict(SETTINGS), "day": FIRST + 4.0, "sha256": digest}
    content = {"slams": record, "state_dict": {"members": MEMBERS, "bias": BIAS}}
    write_weights(content, tmp_path / "state.safetensors")
    with pytest.raises(UserError, match="is damaged"):
        read_state(DampedCycle(None, cycle()), tmp_path, SETTINGS, FIRST)
