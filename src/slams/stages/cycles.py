"""The memory of the methods of a cycle, made from a recipe."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from data_modules.multimodal import MultimodalDataModule
from data_modules.stream.background import BackgroundProvider
from slams.assimilators.background_errors import FromBackgroundErrors
from slams.assimilators.base import Assimilator
from slams.assimilators.cycle import Cycle
from slams.assimilators.cycled_filter import CycledFilter, MemberCycle
from slams.assimilators.own_errors import OwnErrors, own_errors
from slams.calendar.steps import steps_per_day
from slams.config.schema import Config
from slams.config.time_axis import SPIN_UP, error_cycle
from slams.stages.data import withholding

__all__ = ["cycle_maker", "fit_to_own_errors", "one_day_persistence"]


def one_day_persistence(data: MultimodalDataModule) -> tuple[Tensor, Tensor]:
    """Return coefficient and error variance of persistence over one step, `(C, H, W)` each.

    Args:
        data: The DataModule of a cycle, whose background may be the climatology.

    Raises:
        UserError: The training store has no persistence of one step.
    """
    provider = data.provider
    if provider.config.kind != "damped_persistence":
        config = replace(provider.config, kind="damped_persistence", lag=1)
        provider = BackgroundProvider(config, data.store, 1)
    coefficient, variance = provider.persistence
    return coefficient[0], variance[0]


def cycle_maker(
    config: Config, data: MultimodalDataModule, own: Mapping[str, OwnErrors] = {}
) -> Callable[[Assimilator], Cycle | MemberCycle]:
    """Return the function that makes the memory of a method.

    Args:
        config: The recipe.
        data: The DataModule of the cycle.
        own: Errors of the backgrounds of methods, where they were measured, by name.
    """
    persistence = functools.cache(functools.partial(one_day_persistence, data))
    limit, superobs = config.observations.gross_error, data.superobs
    from_climatology = config.assimilation.cycle_start == "climatology"

    def cycle(method: Assimilator) -> Cycle | MemberCycle:
        if isinstance(method, CycledFilter):
            return MemberCycle(method, limit, superobs, from_climatology)
        found = own.get(method.name)
        coefficient, variance = (
            (found.coefficient, found.variance) if found is not None else persistence()
        )
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
            measured=found is not None,
            bias=config.assimilation.cycle_bias,
            step=config.data.step_days,
        )

    return cycle


def fit_to_own_errors(
    config: Config, methods: Sequence[Assimilator], note: Callable[[str], None]
) -> dict[str, OwnErrors]:
    """Cycle methods over training days, and fit them to the errors of their own backgrounds.

    Args:
        config: The recipe; `assimilation.cycle_errors` is the number of days.
        methods: The methods, fitted. Only those that start from the background and have
            covariances of past background errors are cycled, and fitted again.
        note: Called with a description of each day.

    Returns:
        The errors by method.
    """
    config = error_cycle(config)
    data = withholding(config, config)
    make = cycle_maker(config, data)
    cycles = {m.name: (m, make(m)) for m in methods if isinstance(m, FromBackgroundErrors)}
    if not cycles:
        return {}
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in cycles}
    times: list[float] = []
    number, per_day = 0, steps_per_day(config.data.step_days)
    spin_up = SPIN_UP * per_day
    every = config.assimilation.cycle_errors * per_day
    for window in data.test_dataloader():
        batch = data.on_after_batch_transfer(window, 0)
        for position in range(len(batch)):
            case = batch.select(slice(position, position + 1))
            number += 1
            note(f"errors of cycles: {'day' if per_day == 1 else 'step'} {number} of {every}")
            if number > spin_up:
                times.append(float(case.time[0, 0]))
            for name, (method, cycle) in cycles.items():
                if number > spin_up and cycle.state is not None:
                    analysis = cycle.state[1][0, :, 0].mean(dim=0)
                    pairs[name].append((analysis.cpu(), case.fields[0, 0].cpu()))
                prepared = replace(cycle.prepare(case), held_out=())
                cycle.keep(prepared, method.analyse(prepared, config.assimilation.members))
    found = {}
    for name, (method, _) in cycles.items():
        analyses, truths = (torch.stack(part) for part in zip(*pairs[name], strict=True))
        found[name] = own_errors(analyses, truths, torch.tensor(times, dtype=torch.float64))
        method.fit(found[name].archive)
    return found
