"""The days that a training store reserves, beside those of the recipe at hand."""

from __future__ import annotations

import zarr

from data_modules.store.checks import put_attributes
from data_modules.store.training_store import TrainingStore
from slams.config.schema import SplitsConfig
from slams.config.splits import Piece, day_pieces, flat_days, join_pieces, split_pieces
from slams.runtime.ranks import say

__all__ = ["add_reserved", "reserved_days", "reserved_pieces"]

# Attribute of a store; one without it reserves nothing.
_ATTRIBUTE = "reserved_days"


def reserved_pieces(store: TrainingStore) -> tuple[Piece, ...]:
    """Return the pieces of days that a store reserves; none for stores without the attribute."""
    days = store.attributes.get(_ATTRIBUTE, [])
    return day_pieces(f"attribute {_ATTRIBUTE} of {store.path}", days)


def reserved_days(splits: SplitsConfig, store: TrainingStore | None) -> list[str]:
    """Return the days that a recipe and a store reserve together, ISO dates in pairs.

    Args:
        splits: The splits of the recipe.
        store: The store, or `None` where there is none yet.
    """
    held = () if store is None else reserved_pieces(store)
    return flat_days(join_pieces([*split_pieces(splits, "reserved"), *held]))


def add_reserved(store: TrainingStore, splits: SplitsConfig) -> None:
    """Write the days that a recipe reserves into a store that does not reserve them yet."""
    days = reserved_days(splits, store)
    if days == flat_days(join_pieces(reserved_pieces(store))):
        return
    try:
        group = zarr.open_group(str(store.path), mode="r+", use_consolidated=False)
        put_attributes(group, {**store.attributes, _ATTRIBUTE: days})
    except OSError as error:
        say(f"training store {store.path}: reserved days not written into it ({error.strerror})")
