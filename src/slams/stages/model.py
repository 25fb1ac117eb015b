"""A trained model as a Python user sees it: load, look at its inputs, analyse, cycle.

An analysis of given inputs and an evaluation of a store go through the same functions: inputs are
read and checked by `data_modules.given` with the rules of `slams prepare`, backgrounds are made by
`BackgroundProvider`, and methods are those of `slams.stages.methods`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr

from data_modules.given.observations import Given
from data_modules.given.state import GivenState, read_state
from data_modules.multimodal import MultimodalDataModule
from slams.assimilators.base import Assimilator
from slams.calendar.days import iso_date
from slams.calendar.steps import beginning_of_step, describe_step
from slams.cf.dataset import analysis_dataset
from slams.cf.days import day_methods
from slams.config.schema import Config
from slams.errors import UserError, nearest
from slams.fields import Batch, Ensemble, Window
from slams.normalisation import Normaliser
from slams.observations.departures import observation_counts
from slams.stages.bundle import OpenBundle, without_observations
from slams.stages.bundle_filter import OpenFilter
from slams.stages.data import trajectories
from slams.stages.loading import Networks
from slams.stages.methods import make_methods
from slams.stages.model_cycle import run_cycle
from slams.stages.model_days import observe_day
from slams.stages.model_inputs import (
    DailyReports,
    Inputs,
    Reports,
    as_day,
    check_number,
)
from slams.stages.model_record import (
    departures_record,
    scores_record,
    with_observations,
    with_superobs,
)

__all__ = ["Model"]

_MISSING = ("refuse", "climatology")


class Model:
    """A trained model with its statistics and archive, ready to analyse.

    Args:
        opened: The bundle.
        device: Device of the computation; by default a GPU where there is one.

    Raises:
        UserError: The device cannot be used.

    Attributes:
        inputs: What it takes.
        config: Its recipe.
    """

    def __init__(self, opened: OpenBundle, device: str | torch.device | None = None) -> None:
        self._opened = opened
        self.config = opened.config
        self.device = _usable(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._data: dict[int | None, MultimodalDataModule] = {None: opened.data}
        self._methods: dict[tuple[str, int | None, int], Assimilator] = {}

    @property
    def path(self) -> Path:
        """Return the directory of the bundle."""
        return self._opened.path

    @property
    def score_run(self) -> str:
        """Return the run id of its score model, by which a model is recognised."""
        return self._opened.record.score

    @property
    def archive_days(self) -> int:
        """Return the number of days of its archive."""
        return self._opened.record.archive_days

    @property
    def step(self) -> float:
        """Return the length of its steps (days): one analysis per step."""
        return self._opened.data.store.step

    @property
    def store_attributes(self) -> dict[str, Any]:
        """Return the attributes of the store of its archive."""
        return self._opened.data.store.attributes

    @property
    def learned_filter(self) -> OpenFilter | None:
        """Return the learned filter whose forecasts its cycles take as backgrounds, if any."""
        return self._opened.learned_filter

    @cached_property
    def inputs(self) -> Inputs:
        """Return what the model takes; printed, it is a table."""
        config, data = self.config, self._opened.data
        kind, lag = config.background.kind, config.background.lag
        days = config.data.days
        only = set(config.data.condition_only)
        learned = self.learned_filter
        return Inputs(
            channels=data.channels,
            grid=data.grid,
            ages=(0,) if kind == "file" else data.store.statistics.lags,
            trained_age={"file": 0, "damped_persistence": lag}.get(kind),
            imagery=config.observations.satellite.channel,
            methods=tuple(map(str, self._opened.record.methods)),
            filter_observes=() if learned is None else learned.observed,
            condition_only=tuple(c.name for c in data.channels if only & {c.name, c.variable}),
            notes=tuple(map(str, self._opened.record.notes))
            + ((f"It analyses windows of {days} days.",) if days > 1 else ()),
            step=self.step,
        )

    def check_settings(self, method: str, seed: int | None = None, members: int = 2) -> None:
        """Refuse a model of several days, an unknown method, and numbers out of bounds.

        Args:
            method: As for `analyse`.
            seed: As for `analyse`.
            members: As for `analyse`.

        Raises:
            UserError: One of them cannot be used.
        """
        if (window := self.config.data.days) > 1:
            raise UserError(
                f"{self.path}: found a model of windows of {window} days, expected one day "
                f"(data.window=1); its windows are analysed by `slams assimilate` only"
            )
        methods = self.inputs.methods
        if method not in methods:
            raise UserError(f"method: found {method!r}; {nearest(str(method), methods)}")
        if seed is not None:
            check_number("seed", seed, 0, 2**63 - 1)
        check_number("members", members, 2)

    def assimilator(
        self,
        method: str = "latent_diffusion",
        background_age: int | None = None,
        seed: int | None = None,
    ) -> Assimilator:
        """Return a method, fitted to the archive.

        Args:
            method: One of `inputs.methods`.
            background_age: Age of the backgrounds (days); `None` for none.
            seed: Seed of its random numbers; by default that of the recipe.

        Raises:
            UserError: The method is unknown, no background of this age can be made, or the model
                was exported without the archive that the method needs.
        """
        self.check_settings(method, seed)
        seed = self.config.seed if seed is None else int(seed)
        key = (method, background_age, seed)
        if key not in self._methods:
            if not self.archive_days:
                raise UserError(
                    f"method {method} needs an archive of training days, and {self.path} was "
                    f"exported without one; export the run again without --without-archive"
                )
            data = self.aged(background_age)
            config = replace(self._config_for(background_age), seed=seed)
            networks = Networks(config, data, bundle=self.path)
            kept = self._opened.kept
            built = make_methods(config, [method], data, networks=networks, kept=kept)
            self._methods[key] = built[0]
        return self._methods[key]

    def analyse(
        self,
        time: str | date | np.datetime64 | pd.Timestamp,
        background: xr.Dataset | None = None,
        observations: Reports | Sequence[Reports] | None = (),
        *,
        members: int = 16,
        seed: int | None = None,
        method: str = "latent_diffusion",
        background_age: int | None = None,
        missing: Literal["refuse", "climatology"] = "refuse",
        verify: xr.Dataset | pd.DataFrame | None = None,
    ) -> xr.Dataset:
        """Analyse one UTC day, or one step of a model with steps of less than a day.

        Args:
            time: The day, or the time of the step.
            background: An earlier state, on any regular global grid, with CF or WeatherBench2
                names; `None` for the climatology alone.
            observations: Tables of reports (`data_modules.given.reports`), images, or several.
            members: Number of ensemble members.
            seed: Seed of the random numbers; by default that of the recipe.
            method: One of `inputs.methods`.
            background_age: Age of the background (days, or steps); by default `time` minus its own
                time.
            missing: Whether a background that lacks channels is refused, or its missing channels
                are those of the climatology.
            verify: State of the same day to score the analysis with, as `background`; or a table
                of reports that are held out, to compare it with.

        Returns:
            The analysis, CF-1.11: members, mean and spread of each field, and the number of
            observations used per cell. The attribute `observations` (JSON) has for each kind of
            observation how many were given, used and rejected, and why, in how many
            superobservations they were averaged, if they were, and mean and root mean square of
            O-B and O-A of the reports; `notes` what was changed in the inputs; with `verify`,
            `scores` (JSON) has the scores against a state, or `held_out` the departures of its
            reports.

        Raises:
            UserError: An input cannot be used; the message says which and what to do.
        """
        day = as_day(time, self.step)
        self.check_settings(method, seed, members)
        if missing not in _MISSING:
            raise UserError(f"missing: found {missing!r}; {nearest(str(missing), _MISSING)}")
        state, age, notes = self._background_of(background, day, background_age, missing)
        truth: GivenState | Given | None = None
        if isinstance(verify, pd.DataFrame):
            truth = self.observe(verify, day, "verify")
        elif verify is not None:
            channels = self.inputs.channels
            names = [spec.name for spec in channels]
            grid = self.inputs.grid
            truth = read_state(verify, channels, grid, "verify", absent=names, step=self.step)
            _check_day("verify", truth, day, self.step)
        batch, given = self.case(day, state, age), self.observe(observations, day)
        return self.analyse_case(
            batch, given, self.assimilator(method, age, seed), members, notes, truth
        )[0]

    def cycle(
        self,
        start: str | date | np.datetime64 | pd.Timestamp,
        observations: DailyReports,
        days: int,
        *,
        members: int = 16,
        seed: int | None = None,
        method: str = "latent_diffusion",
        output: str | Path | None = None,
    ) -> Iterator[xr.Dataset]:
        """Analyse consecutive days, the first from the climatology.

        Every other background is the forecast of the model's learned filter from the observations
        of the days before (`slams.stages.model_filter`) or, in a model without one, the analysis
        of the day before, damped (`slams.assimilators.cycle`). The truth is never read.

        Args:
            start: First day, or step.
            observations: Tables and images of all days; or a function from a date to those of that
                day, empty where there is none. It is given the `datetime` of each step where steps
                are shorter than a day.
            days: Number of days; each has as many analyses as it has steps.
            members: As for `analyse`.
            seed: As for `analyse`.
            method: As for `analyse`.
            output: Directory to which the analysis of each day is written, with the state of the
                cycle: the same call continues a cycle that was interrupted, and gives the same
                values. `None` keeps nothing.

        Yields:
            The analysis of each day, as `analyse` returns it.

        Raises:
            UserError: As for `analyse`, `output` holds another cycle, or a channel is observed
                that the filter was not trained with.
        """
        return run_cycle(self, start, observations, days, members, seed, method, output)

    def analyse_case(
        self,
        batch: Batch,
        given: Given,
        method: Assimilator,
        members: int,
        notes: Sequence[str] = (),
        truth: GivenState | Given | None = None,
    ) -> tuple[xr.Dataset, Ensemble]:
        """Analyse the case of a day: `analyse` without its reading of inputs.

        Args:
            batch: The case, see `case`.
            given: Observations of the day.
            method: The method, fitted.
            members: Number of members.
            notes: What was changed in the inputs.
            truth: State to score the analysis with, or observations that were held out.

        Returns:
            The analysis as `analyse` returns it, and its ensemble of all channels.
        """
        normaliser, limit = self._normaliser, self.config.observations.gross_error
        batch, counts = with_observations(batch, given, normaliser, limit)
        # Departures and counts per cell are those of the reports, as they were given.
        averaged = with_superobs(batch, self._opened.data.superobs, normaliser, counts)
        ensemble = method.analyse(averaged, members)
        found = departures_record(
            batch, given.observations, batch.observations, counts, ensemble, normaliser
        )
        details = {
            "observations": json.dumps(found),
            "notes": "; ".join((*notes, *given.notes)),
        }
        if isinstance(truth, Given):
            held = truth.observations
            found = departures_record(batch, held, held, truth.counts, ensemble, normaliser)
            details["held_out"] = json.dumps(found)
        elif truth is not None:
            details["scores"] = json.dumps(scores_record(ensemble, truth, self.config.seed))
        return self._dataset(batch, ensemble, details), ensemble

    @property
    def _normaliser(self) -> Normaliser:
        return self._opened.data.normaliser.to(self.device)

    def _background_of(
        self, background: xr.Dataset | None, day: float, age: int | None, missing: str
    ) -> tuple[GivenState | None, int | None, tuple[str, ...]]:
        """Return the background's state, its age, and notes on it."""
        if background is None:
            if age is not None:
                raise UserError("background_age: found without a background, expected none")
            return None, None, ()
        data = self._opened.data
        state = read_state(
            background,
            data.channels,
            data.grid,
            "background",
            absent=[c.name for c in data.channels] if missing == "climatology" else (),
            step=self.step,
        )
        own = None
        if not np.isnan(state.day):
            own = round((day - beginning_of_step(state.day, self.step)) / self.step)
        words = "days" if self.step == 1 else f"steps of {describe_step(self.step)}"
        notes = state.notes
        if age is None:
            if own is None:
                raise UserError(f"background: it has no time; give background_age=, in {words}")
            age = own
        else:
            check_number("background_age", age, 0)
            if own not in (None, age):
                notes += (f"background: {own} {words} old by its time, taken as {age} as asked",)
        ages = self.inputs.ages
        if age not in ages:
            raise UserError(
                f"background: found a state {age} {words} before {iso_date(day)}, expected one of "
                f"{', '.join(map(str, ages))} {words}; give another one, or none"
            )
        trained = self.inputs.trained_age
        if age != trained:
            known = "none" if trained is None else f"age {trained}"
            notes += (f"background: age {age} ({words}), the networks were trained with {known}",)
        return state, age, notes

    def _config_for(self, age: int | None) -> Config:
        background = self.config.background
        if age is None:
            background = replace(background, kind="climatology")
        elif background.kind != "file":
            background = replace(background, kind="damped_persistence", lag=age)
        return without_observations(replace(self.config, background=background))

    def aged(self, age: int | None) -> MultimodalDataModule:
        """Return the data whose archive has backgrounds of an age; `None` for the climatology."""
        if age not in self._data or age is None:
            self._data[age] = trajectories(self._config_for(age), self._opened.data.store)
        return self._data[age]

    def case(self, day: float, state: GivenState | None = None, age: int | None = None) -> Batch:
        """Return the case of a day, without observations; its fields are all missing.

        Args:
            day: Days since 1970-01-01.
            state: The state that its background is made from; `None` for the climatology.
            age: Age of the state (days).
        """
        data = self.aged(age)
        normaliser = data.normaliser.to(self.device)
        time = torch.tensor([[float(day)]], dtype=torch.float64, device=self.device)
        climatology = normaliser.climatology(time)
        previous = None if state is None else torch.from_numpy(state.values)[None, None]
        window = Window(
            fields=torch.full_like(climatology, torch.nan),
            time=time,
            case=torch.tensor([round(day / self.step)]),
            previous=previous,
        ).to(self.device)
        background = data.provider(window, normaliser, climatology, None)
        return Batch(
            fields=torch.zeros_like(climatology),
            mask=torch.zeros_like(climatology, dtype=torch.bool),
            time=time,
            case=window.case,
            climatology=climatology,
            background=background,
        )

    def observe(
        self, observations: Reports | Sequence[Reports] | None, day: float, name: str = ""
    ) -> Given:
        """Return the observations of a day, checked and counted, before any background.

        Args:
            observations: Tables and images.
            day: Days since 1970-01-01.
            name: Name of the argument that they were given as, if there is only one.
        """
        return observe_day(self._opened.data, self.config.observations, observations, day, name)

    def _dataset(self, batch: Batch, ensemble: Ensemble, details: dict[str, Any]) -> xr.Dataset:
        kept = [
            i
            for i, spec in enumerate(ensemble.channels)
            if spec.name not in self.inputs.condition_only
        ]
        counts = observation_counts(batch, ensemble.channels, ensemble.grid)[:, :, kept]
        analysed = replace(
            ensemble,
            members=ensemble.members[:, :, :, kept],
            channels=tuple(ensemble.channels[i] for i in kept),
        )
        history = (
            f"slams {version('slams')}: {ensemble.method}, {ensemble.members.shape[1]} members, "
            f"model {self._opened.record.experiment} ({self._opened.record.score[:8]})"
        )
        return analysis_dataset(
            analysed,
            counts=counts,
            history=history,
            attributes=details,
            day_methods=day_methods(self._opened.data.store.attributes),
            step=self.step,
        )


def _usable(device: str | torch.device) -> torch.device:
    """Return a device that tensors can be made on."""
    try:
        return torch.zeros(1, device=device).device
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"device: found {device!r}, expected cpu or cuda ({words})") from error


def _check_day(where: str, state: GivenState, day: float, step: float) -> None:
    if not np.isnan(state.day) and beginning_of_step(state.day, step) != day:
        raise UserError(
            f"{where}: found a state of {iso_date(state.day)}, expected one of {iso_date(day)}"
        )
