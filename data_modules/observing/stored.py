"""Check of the observations in a training store against the recipe."""

from __future__ import annotations

import json

from data_modules.store.identity import observation_recipe, store_difference
from data_modules.store.training_store import TrainingStore
from slams.config.schema import ObservationsConfig
from slams.errors import UserError

__all__ = ["check_drawn"]


def check_drawn(
    store: TrainingStore, observations: ObservationsConfig, seed: int, modality: str
) -> None:
    """Refuse a store whose observations were not made from this recipe.

    Args:
        store: The training store.
        observations: The recipe's section `observations`, with `source` = `store`.
        seed: The experiment's seed.
        modality: `stations` or `satellite`.

    Raises:
        UserError: The store has no such observations, or those of another recipe.
    """
    if not store.has(modality):
        raise UserError(
            f"observations.source: training store {store.path} has no {modality}; run `slams "
            f"prepare` with observations.source=store and resume=overwrite, or set "
            f"observations.source=truth"
        )
    found = json.loads(store.attributes["recipe"])["observations"] or {}
    expected = json.loads(json.dumps(observation_recipe(observations, seed)))
    for key in ("seed", modality):
        changed = store_difference(found.get(key), expected.get(key), key)
        if changed:
            raise UserError(
                f"observations.{modality}: training store {store.path} has observations of a "
                f"different recipe ({changed}); run `slams prepare` with resume=overwrite"
            )
