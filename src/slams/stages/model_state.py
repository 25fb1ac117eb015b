"""The state of a model's cycle in its directory, and what it must be continued with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from slams.bundles.weights import read_weights, write_weights
from slams.errors import UserError
from slams.fields import Batch, Ensemble
from slams.runtime.atomic import replacing
from slams.stages.model_inputs import Reports

__all__ = ["Carrier", "CycleSettings", "SavedState", "read_state", "write_state"]

_STATE = "state.safetensors"
# Tensors of the states, in the order of their checksum: those of a cycle by damped persistence
# (`bias` only where `assimilation.cycle_bias` is not zero), and those of one by a learned filter.
_TENSORS = ("members", "bias", "forecast", "hidden", "age")


@dataclass(frozen=True)
class CycleSettings:
    """What a cycle must be continued with.

    Attributes:
        model: Run id of the score model.
        start: First day, ISO date.
        method: Name of the method.
        members: Number of members.
        seed: The seed.
        archive_days: Days of the archive, of which bundles of one model may have fewer.
        filter: Run id of the learned filter that forecasts the backgrounds; empty without one.
    """

    model: str
    start: str
    method: str
    members: int
    seed: int
    archive_days: int
    filter: str = ""


@dataclass(frozen=True)
class SavedState:
    """The state of a cycle after a day.

    Attributes:
        day: The day, days since 1970-01-01.
        tensors: What is carried to the next day, by name.
    """

    day: float
    tensors: Mapping[str, Tensor]


class Carrier(Protocol):
    """What goes from a day of a cycle to the next: an analysis, or the memory of a filter."""

    @property
    def state(self) -> SavedState:
        """Return the state after the last day."""

    def restore(self, state: SavedState) -> None:
        """Continue after a day.

        Raises:
            KeyError, ValueError: It is not a state of such a cycle.
        """

    def case(self, day: float, reports: list[Reports]) -> tuple[Batch, int | None]:
        """Return the case of a day with its background, and the background's age.

        Args:
            day: Days since 1970-01-01, the day after the last one.
            reports: What was observed on it, as the user gave it.
        """

    def keep(self, batch: Batch, ensemble: Ensemble) -> None:
        """Keep what the next day needs.

        Args:
            batch: The case.
            ensemble: Its analysis.
        """


def write_state(state: SavedState, folder: Path, settings: CycleSettings) -> None:
    """Write the state of a cycle, completely or not at all."""
    tensors = {name: tensor.cpu() for name, tensor in state.tensors.items()}
    record: dict[str, Any] = asdict(settings)
    if not settings.filter:
        del record["filter"]
    record |= {"day": state.day, "sha256": _digest(tensors)}
    with replacing(folder / _STATE) as temporary:
        write_weights({"slams": record, "state_dict": tensors}, temporary)


def read_state(
    carrier: Carrier, folder: Path, settings: CycleSettings, first: float, step: float = 1.0
) -> int:
    """Restore the state of an interrupted cycle, if there is one.

    Args:
        carrier: What is restored.
        folder: Directory of the cycle.
        settings: What it must be continued with.
        first: First day of the cycle, or the time of its first step.
        step: Length of a step (days).

    Returns:
        The number of days, or steps, that are done.

    Raises:
        UserError: The state is damaged, or that of another cycle.
    """
    path = folder / _STATE
    if not path.exists():
        return 0
    try:
        saved = read_weights(path)
        found, tensors = dict(saved["slams"]), saved["state_dict"]
        day = float(found.pop("day"))
        if found.pop("sha256") != _digest(tensors):
            raise ValueError("its checksum does not match")
    except Exception as error:  # a different type for each kind of damage
        raise _damaged(path, error) from error
    found.setdefault("filter", "")
    for name, expected in asdict(settings).items():
        if found.get(name) != expected:
            there, wanted = ("none" if v == "" else v for v in (found.get(name), expected))
            raise UserError(
                f"output: {folder} holds a cycle with {name} {there}, expected {wanted}; choose "
                f"another directory, or remove it"
            )
    try:
        carrier.restore(SavedState(day, tensors))
    except (KeyError, ValueError) as error:
        raise _damaged(path, error) from error
    return round((day - first) / step) + 1


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"{path} is damaged ({type(error).__name__}); remove {path.parent} and start the cycle "
        f"over"
    )


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a checksum of the tensors of a state that are there."""
    content = (
        tensors[name].contiguous().numpy().tobytes() for name in _TENSORS if name in tensors
    )
    return hashlib.sha256(b"".join(content)).hexdigest()
