"""Observations from the training store, checked against the recipe."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import torch
from torch import Tensor

from data_modules.store.identity import observation_recipe, store_difference
from data_modules.store.training_store import TrainingStore
from slams.config.schema import ObservationsConfig
from slams.errors import UserError
from slams.fields import Observations
from slams.observations.operator import PointOperator

__all__ = ["check_drawn", "streamed"]


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


def streamed(
    operators: Mapping[str, PointOperator],
    errors: dict[str, float | Tensor],
    values: Tensor,
    bounds: dict[str, float] | None = None,
) -> tuple[Observations, ...]:
    """Return values read from the store as `Observations`.

    Args:
        operators: `H` by name.
        errors: Standard deviations by name, numbers or `(P,)`.
        values: `(B, T, P, V)` in the operators' units, NaN missing, one `V` per operator.
        bounds: Lower bounds by name; `None` where no variable is censored.
    """
    found = []
    for number, (name, operator) in enumerate(operators.items()):
        value = values[..., number]
        variance = torch.as_tensor(errors[name], dtype=torch.float64) ** 2
        found.append(
            Observations(
                name=name,
                operator=operator.to(value.device),
                values=value,
                mask=torch.isfinite(value),
                error_variance=variance.to(value).expand_as(value).contiguous(),
                bound=-math.inf if bounds is None else bounds[name],
            )
        )
    return tuple(found)
