"""Sweeps: the settings of a recipe's `ablation`, their names, and their progress."""

from __future__ import annotations

from slams.sweeps.expansion import Setting, Sweep, expand

__all__ = ["Setting", "Sweep", "expand"]
