"""Checks of a recipe: that its values fit one another, and that it has what a verb needs."""

from __future__ import annotations

from slams.config.checks.recipe import check, require

__all__ = ["check", "require"]
