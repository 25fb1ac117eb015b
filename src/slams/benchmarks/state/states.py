"""The states that are compared, and the groups of predictors of each."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["STATES", "State"]


@dataclass(frozen=True)
class State:
    """One row of the table.

    Attributes:
        label: What the state holds, in words.
        groups: Groups of predictors, see `slams.benchmarks.state.predictors`.
    """

    label: str
    groups: frozenset[str]

    def has(self, group: str) -> bool:
        """Return whether a group of predictors is in the state."""
        return group in self.groups


_SURFACE = frozenset({"temperature", "surface"})
_PRESSURE = _SURFACE | {"pressure"}
_WINDS_3 = _PRESSURE | {"winds_3"}
_WINDS = _WINDS_3 | {"winds"}
_BEFORE = frozenset({"before"})

STATES = {
    "surface": State("T and surface fields", _SURFACE),
    "pressure": State("+ surface pressure", _PRESSURE),
    "winds_3": State("+ winds, humidity at three levels, products", _WINDS_3),
    "winds": State("+ winds at all levels, all humidity, products", _WINDS),
    "before": State("T, surface, pressure, the day before", _PRESSURE | _BEFORE),
    "winds_3_before": State("winds at three levels, products, the day before", _WINDS_3 | _BEFORE),
    "winds_before": State(
        "winds at all levels, humidity, products, the day before", _WINDS | _BEFORE
    ),
}
