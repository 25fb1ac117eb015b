"""Instruments whose operators are chosen by name, including those of other packages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from data_modules.observing.observers import sites
from data_modules.observing.reports import Reports, read_reports
from slams.config.schema import InstrumentConfig
from slams.errors import UserError
from slams.fields import FieldSpec, ObservationOperator, Observations, Window
from slams.grid import LatLonGrid
from slams.observations.instruments import OperatorRequest
from slams.observations.simulate import draw, random_reports
from slams.plugins.operators import OPERATORS

__all__ = ["Instrument"]

# Attributes that the rest of the program uses of an operator.
_REQUIRED = ("latitude", "longitude", "units", "linear", "adjoint", "touches", "to", "__len__")
# How far (degrees) a report may lie from a point of an operator with positions of its own.
_NEAR = 0.01


class Instrument:
    """One instrument of a recipe, whose values are drawn or read from reports.

    Args:
        section: The instrument's section of the recipe.
        key: Dotted key of that section, `observations.instruments.N`.
        seed: The experiment's seed.
        channels: The `C` channels of the fields.
        grid: The grid of the fields.
        step: Length of the steps of the fields (days).

    Attributes:
        name: Name of its observations, `NAME/VARIABLE`.
        operator: `H`.

    Raises:
        UserError: Its operator, its positions or its reports are invalid.
    """

    def __init__(
        self,
        section: InstrumentConfig,
        key: str,
        seed: int,
        channels: tuple[FieldSpec, ...],
        grid: LatLonGrid,
        step: float = 1.0,
    ) -> None:
        self._section, self._key, self._seed = section, key, seed
        self._reports = (
            read_reports(section.file, f"{key}.file", section.error, step)
            if section.file
            else None
        )
        self.operator = self._build(channels, grid)
        self.name = f"{section.name}/{getattr(self.operator, 'variable', section.operator)}"
        if self._reports is not None:
            self._reports = self._at_points(self._reports)

    def observe(self, window: Window, truth: Tensor, mask: Tensor) -> Observations:
        """Return the observations of a window.

        Args:
            window: The window, on the device of the result.
            truth: `(B, T, C, H, W)` channel units.
            mask: `(B, T, C, H, W)` bool, True where the truth is known.
        """
        operator = self.operator.to(truth.device)
        if self._reports is not None:
            return self._read(self._reports, operator, window)
        section = self._section
        reports = random_reports(
            self.name, len(operator), truth.shape[1], section.missing, window.case, self._seed
        )
        return draw(
            self.name, operator, truth, mask, section.error, window.case, self._seed, mask=reports
        )

    def _read(
        self, reports: Reports, operator: ObservationOperator, window: Window
    ) -> Observations:
        values, errors = reports.of_days(window.time.cpu().numpy())
        errors = np.where(np.isfinite(values), errors, self._section.error)
        like = {"device": window.fields.device, "dtype": window.fields.dtype}
        values, errors = (torch.from_numpy(x).to(**like) for x in (values, errors))
        return Observations(
            name=self.name,
            operator=operator,
            values=values,
            mask=torch.isfinite(values),
            error_variance=errors.square(),
        )

    def _build(self, channels: tuple[FieldSpec, ...], grid: LatLonGrid) -> ObservationOperator:
        """Build the operator and check it.

        Raises:
            UserError: It cannot be built, lacks an attribute, or has wrong shapes.
        """
        section, key = self._section, self._key
        spec = OPERATORS.get(section.operator, f"{key}.operator")
        none = torch.empty(0, dtype=torch.float64)
        positions = self._positions() if spec.at_sites else (none, none, none)
        request = OperatorRequest(grid, tuple(channels), section.options, key, *positions)
        try:
            operator = spec.build(request)
        except UserError as error:
            text = str(error)
            raise UserError(text if text.startswith("key ") else f"key {key!r}: {text}") from None
        missing = [name for name in _REQUIRED if not hasattr(operator, name)]
        if missing:
            raise UserError(
                f"key '{key}.operator': {section.operator!r} built {type(operator).__name__}, "
                f"which lacks {', '.join(missing)}; expected the attributes of "
                f"slams.observations.operator.LinearOperator"
            )
        state = torch.zeros(1, len(channels), *grid.shape)
        seen = tuple(operator.linear(state).shape)
        back = tuple(operator.adjoint(state.new_zeros(1, len(operator))).shape)
        if not len(operator) or seen != (1, len(operator)) or back != tuple(state.shape):
            raise UserError(
                f"key '{key}.operator': {section.operator!r} maps a state {tuple(state.shape)} to "
                f"{seen} at {len(operator)} points, and its adjoint returns {back}; expected "
                f"(1, P), at least one point, and the state's shape"
            )
        return operator

    def _positions(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return latitude, longitude and elevation of the sites, `(P,)` float64 each."""
        if self._reports is not None:
            latitude, longitude = (
                torch.from_numpy(x.astype(np.float64))
                for x in (self._reports.latitude, self._reports.longitude)
            )
            return latitude, longitude, torch.full_like(latitude, torch.nan)
        section = self._section
        network = sites(section.sites, section.count, self._seed, f"key '{self._key}.count'")
        return network.latitude, network.longitude, network.elevation

    def _at_points(self, reports: Reports) -> Reports:
        """Assign reports to the operator's points.

        Raises:
            UserError: A report is at none of the points, or a point has two reports of one day.
        """
        points = self._points(reports)
        shape = (len(reports.days), len(self.operator))
        values, errors = np.full(shape, np.nan), np.full(shape, self._section.error)
        for position, point in enumerate(points):
            there = np.isfinite(reports.values[:, position])
            if (there & np.isfinite(values[:, point])).any():
                raise UserError(
                    f"key '{self._key}.file': {self._section.file}: two reports of one day are at "
                    f"the point {float(self.operator.latitude[point]):g}, "
                    f"{float(self.operator.longitude[point]):g}, expected one"
                )
            values[there, point] = reports.values[there, position]
            errors[there, point] = reports.errors[there, position]
        latitude, longitude = (
            np.asarray(x.cpu()) for x in (self.operator.latitude, self.operator.longitude)
        )
        return replace(
            reports, latitude=latitude, longitude=longitude, values=values, errors=errors
        )

    def _points(self, reports: Reports) -> np.ndarray:
        """Return the index of the operator's point at each reported position, `(P,)` int64."""
        ours = [np.asarray(x.cpu()) for x in (self.operator.latitude, self.operator.longitude)]
        north = np.abs(ours[0][None] - reports.latitude[:, None])
        east = np.abs((ours[1][None] - reports.longitude[:, None] + 180) % 360 - 180)
        away = np.maximum(north, east)
        nearest = away.argmin(axis=1)
        far = away[np.arange(len(nearest)), nearest] > _NEAR
        if far.any():
            number = int(np.flatnonzero(far)[0])
            raise UserError(
                f"key '{self._key}.file': {self._section.file}: a report at "
                f"{reports.latitude[number]:g}, {reports.longitude[number]:g} is at none of the "
                f"{len(self.operator)} points that operator {self._section.operator!r} observes"
            )
        return nearest
