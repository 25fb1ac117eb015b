"""The days that a training store reserves, in addition to those of the recipe."""

from __future__ import annotations

import zarr

from data_modules.store.checks import put_attributes
from data_modules.store.training_store import TrainingStore
from slams.config.schema import SplitsConfig
from slams.config.splits import Piece, day_pieces, flat_days, join_pieces, split_pieces
from slams.runtime.ranks import say

__all__ = ["add_reserved", "reserved_days", "reserved_pieces"]

# Attribute of a store; a store without it reserves no days.
_ATTRIBUTE = "reserved_days"


def reserved_pieces(store: TrainingStore) -> tuple[Piece, ...]:
    """Return the pieces of days that a store reserves; empty without the attribute."""
    days = store.attributes.get(_ATTRIBUTE, [])
    return day_pieces(f"attribute {_ATTRIBUTE} of {store.path}", days)


def reserved_days(splits: SplitsConfig, store: TrainingStore | None) -> list[str]:
    """Return the days reserved by a recipe or a store, ISO dates in pairs.

    Args:
        splits: The splits of the recipe.
        store: The store, or `None` if there is none yet.
    """
    held = () if store is None else reserved_pieces(store)
    return flat_days(join_pieces([*split_pieces(splits, "reserved"), *held]))


def add_reserved(store: TrainingStore, splits: SplitsConfig) -> None:
    """Record the days that a recipe reserves in a store that does not reserve them yet."""
    days = reserved_days(splits, store)
    if days == flat_days(join_pieces(reserved_pieces(store))):
        return
    try:
        group = zarr.open_group(str(store.path), mode="r+", use_consolidated=False)
        put_attributes(group, {**store.attributes, _ATTRIBUTE: days})
    except OSError as error:
        say(f"training store {store.path}: reserved days could not be recorded ({error.strerror})")
