"""Observation operators: what an instrument observes of the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slams.plugins.registry import Registry

__all__ = ["OPERATORS", "OperatorSpec"]


@dataclass(frozen=True)
class OperatorSpec:
    """Specification of an observation operator.

    Attributes:
        name: Name in recipes (`observations.instruments.N.operator`).
        build: Function that builds the operator of an instrument: takes a
            `slams.observations.instruments.OperatorRequest`, returns a `LinearOperator` or an
            object with its attributes and methods.
        at_sites: Whether it observes at given positions; otherwise it has its own.
    """

    name: str
    build: Callable[[Any], Any]
    at_sites: bool = True


OPERATORS = Registry(
    "observation operator", OperatorSpec, "slams.operators", "slams.observations.operators"
)
