"""Checks that a recipe makes sense: of single values, of what they say together, for a verb."""

from __future__ import annotations

from slams.config.checks.recipe import check, require

__all__ = ["check", "require"]
