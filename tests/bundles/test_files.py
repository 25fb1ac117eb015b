"""The record of a bundle: what was written is read, and nothing else passes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slams.bundles.card import Card, write_card
from slams.bundles.files import Bundle, is_bundle
from slams.bundles.weights import read_weights, weights_file, write_weights
from slams.errors import UserError

RECORD = Bundle("0.1.0", "2026-01-02T03:04:05+00:00", "demo", "a" * 32, "b" * 32, ["climatology"])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "store.zarr").mkdir()
    (tmp_path / "store.zarr" / "zarr.json").write_text("{}")
    (tmp_path / "config.yaml").write_text("experiment: demo\n")
    RECORD.write(tmp_path)
    return tmp_path


def test_what_was_written_is_read(bundle: Path) -> None:
    found = Bundle.read(bundle)
    assert list(found.files) == ["config.yaml", "store.zarr/zarr.json"]
    assert replace(found, files={}) == RECORD
    assert is_bundle(bundle)


def test_a_file_that_changed_or_is_gone(bundle: Path) -> None:
    (bundle / "config.yaml").write_text("experiment: demO\n")
    with pytest.raises(UserError, match=r"config\.yaml has changed since it was exported"):
        Bundle.read(bundle)
    (bundle / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"config\.yaml cannot be read \(No such file"):
        Bundle.read(bundle)


@pytest.mark.parametrize("name", ["../other.txt", "/etc/hostname", "store.zarr/../../other"])
def test_the_record_names_no_file_outside(bundle: Path, name: str) -> None:
    values = json.loads((bundle / "bundle.json").read_text())
    values["files"] = {name: "0" * 64}
    (bundle / "bundle.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match="a file outside of it"):
        Bundle.read(bundle)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"bundle": 2, "slams": "7.0"}', r"found version 2 of bundles, expected 1.*\(7\.0\)"),
        ('{"bundle": 1, "slams": "0.1.0"}', "it has no created"),
        ('{"bundle": 1', "holds no JSON object"),
        ("[]", "holds no JSON object"),
    ],
)
def test_a_damaged_record(bundle: Path, content: str, sentence: str) -> None:
    (bundle / "bundle.json").write_text(content)
    with pytest.raises(UserError, match=sentence):
        Bundle.read(bundle)


def test_a_directory_without_a_record(tmp_path: Path) -> None:
    assert not is_bundle(tmp_path)
    with pytest.raises(UserError, match=r"is not a bundle: it has no bundle\.json"):
        Bundle.read(tmp_path)


def test_weights_come_back_with_their_identity(tmp_path: Path) -> None:
    state = {
        "weight": torch.randn(3, 2, 4, 4).to(memory_format=torch.channels_last),
        "half": torch.randn(5).to(torch.bfloat16),
    }
    identity = {"stage": "vae", "settings": {"factor": 4, "rates": [0.1, 2]}}
    path = weights_file(tmp_path, "vae")
    write_weights({"slams": identity, "state_dict": state, "optimizer": object()}, path)
    found = read_weights(path)
    assert found["slams"] == identity
    assert found["state_dict"].keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(found["state_dict"][name], value)


def test_a_card_without_scores_says_so() -> None:
    card = write_card(Card(RECORD, ["temperature@850"], (12, 24), "era5", "1979 to 2000", 2, []))
    assert "None were measured" in card
    assert "twin experiment" not in card
    assert "12 x 24" in card
