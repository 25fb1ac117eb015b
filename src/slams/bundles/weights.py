"""Weights of a trained network in the safetensors format, which holds numbers and text only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["SUFFIX", "read_weights", "weights_file", "write_weights"]

SUFFIX = ".safetensors"


def weights_file(bundle: Path, stage: str) -> Path:
    """Return the file of a bundle with the weights of a stage."""
    return bundle / f"{stage}{SUFFIX}"


def write_weights(checkpoint: dict[str, Any], path: Path) -> None:
    """Write the weights of a checkpoint, without the state of its training.

    Args:
        checkpoint: As `slams.modules.base.read_checkpoint` returns it.
        path: The file.
    """
    from safetensors.torch import save_file

    state = {name: value.contiguous() for name, value in checkpoint["state_dict"].items()}
    save_file(state, path, metadata={"slams": json.dumps(checkpoint["slams"])})


def read_weights(path: Path) -> dict[str, Any]:
    """Read weights that `write_weights` wrote, as a checkpoint.

    Raises:
        Exception: Of several types, for each kind of damage.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
        return {"slams": json.loads((file.metadata() or {})["slams"]), "state_dict": state}
