"""The memory of the methods of a cycle, made from a recipe."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from data_modules.multimodal import MultimodalDataModule
from data_modules.stream.background import BackgroundProvider
from slams.assimilators.base import Assimilator
from slams.assimilators.cycle import Cycle
from slams.assimilators.cycled_filter import CycledFilter, MemberCycle
from slams.config.schema import Config

__all__ = ["cycle_maker", "one_day_persistence"]


def one_day_persistence(data: MultimodalDataModule) -> tuple[Tensor, Tensor]:
    """Return coefficient and error variance of persistence over one day, `(C, H, W)` each.

    Args:
        data: The DataModule of a cycle, whose background may be the climatology.

    Raises:
        UserError: The training store has no persistence of one day.
    """
    provider = data.provider
    if provider.config.kind != "damped_persistence":
        config = replace(provider.config, kind="damped_persistence", lag=1)
        provider = BackgroundProvider(config, data.store, 1)
    coefficient, variance = provider.persistence
    return coefficient[0], variance[0]


def cycle_maker(
    config: Config, data: MultimodalDataModule
) -> Callable[[Assimilator], Cycle | MemberCycle]:
    """Return the function that makes the memory of a method.

    Args:
        config: The recipe.
        data: The DataModule of the cycle.
    """
    persistence = functools.cache(functools.partial(one_day_persistence, data))
    limit, superobs = config.observations.gross_error, data.superobs
    from_climatology = config.assimilation.cycle_start == "climatology"

    def cycle(method: Assimilator) -> Cycle | MemberCycle:
        if isinstance(method, CycledFilter):
            return MemberCycle(method, limit, superobs, from_climatology)
        coefficient, variance = persistence()
        return Cycle(
            data.normaliser,
            coefficient,
            variance,
            config.assimilation.cycle_inflation,
            limit,
            # Networks that were trained with previous true states take states, not means.
            members=config.background.analysis_error == 0,
            superobs=superobs,
            from_climatology=from_climatology,
        )

    return cycle
