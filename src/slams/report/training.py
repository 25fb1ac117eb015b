"""Training of the networks: curves of the losses, and the reconstructions of the VAE."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from slams.report.drawing import finish, new_axes
from slams.report.formatting import capitalised, number
from slams.report.labels import quantity, variable_label
from slams.report.mapdata import CaseFields, area_rmse, variable_levels
from slams.report.mapdrawing import centred, map_panels, map_row, ranged
from slams.report.profiles import draw_profile, pressure_axis
from slams.report.reading import TrainingRun
from slams.report.section import Panel, Section, new_section
from slams.report.style import DIFFERENCE_MAP, MethodStyle, field_style
from slams.report.tables import Cell, number_cell, table
from slams.variables import channel_units

__all__ = ["reconstruction", "training_curves"]

_COLOURS = {"train": "#999999", "validation": "#0072b2"}
_STAGES = {"vae": "VAE", "score": "Latent score"}
_MAX_PANELS = 3


def training_curves(runs: list[TrainingRun]) -> Section:
    """Show the losses of the VAE and of the latent score against the step."""
    section = new_section("training")
    if not runs:
        section.without("No training run was given: no training curves.")
    for run in runs:
        if run.metrics is not None:
            drawn = _curves(run)
            section.panels += drawn
            if not drawn:
                section.without(f"{run.path / 'metrics.csv'} has no train or validation columns.")
    return section


def _curves(run: TrainingRun) -> list[Panel]:
    columns = [column.partition("/") for column in run.metrics.columns]
    names = {name for split, _, name in columns if split in _COLOURS}
    # The loss first, then the other validated quantities.
    ordered = sorted(names, key=lambda n: (n != "loss", f"validation/{n}" not in run.metrics, n))
    drawn = (panel for name in ordered if (panel := _curve_panel(run, name)) is not None)
    return list(islice(drawn, _MAX_PANELS))


def _curve_panel(run: TrainingRun, name: str) -> Panel | None:
    words = name.replace("_", " ")
    title = f"{_STAGES.get(run.stage, capitalised(run.stage))}: {words}"
    axes = new_axes(title, 2.9, "optimiser step", words)
    drawn: list[np.ndarray] = []
    for split, colour in _COLOURS.items():
        column = f"{split}/{name}"
        rows = run.metrics.reindex(columns=["step", column])
        rows = rows.apply(pd.to_numeric, errors="coerce").dropna()
        if rows.empty:
            continue
        step, values = rows["step"].to_numpy(), rows[column].to_numpy()
        drawn.append(values)
        if split == "train" and len(values) > 40:
            axes.plot(step, values, color=colour, linewidth=0.7, alpha=0.5)
            smooth = rows[column].rolling(max(5, len(values) // 25), center=True, min_periods=1)
            axes.plot(step, smooth.mean(), color="#555555", linewidth=1.6, label=split)
        else:
            axes.plot(step, values, color=colour, marker="o", markersize=3.5, label=split)
    if not drawn:
        return None
    everything = np.concatenate(drawn)
    if (everything > 0).all() and everything.max() > 5 * everything.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        if everything.max() < 30 * everything.min():  # with decades alone there would be no labels
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    elif len(everything) > 20:
        # The first steps of a Gaussian likelihood are far larger than all later values.
        low, high = everything.min(), float(np.quantile(everything, 0.97))
        if everything.max() > high + (high - low):
            axes.set_ylim(low - 0.05 * (high - low), high + 0.15 * (high - low))
    axes.legend(loc="best")
    file = "".join(c if c.isalnum() else "_" for c in name)
    alt = f"{name} of the {run.stage} against the optimiser step"
    return finish(axes, f"training_{run.stage}_{file}", alt, columns=0)


def reconstruction(run: TrainingRun | None, level: int) -> Section:
    """Show the errors of the VAE: by channel, and as a map of truth and reconstruction.

    Args:
        run: The training of the VAE.
        level: Level of the map (hPa), or the nearest.
    """
    section = new_section("reconstruction")
    if run is None:
        return section.without("No VAE run was given: no reconstruction errors.")
    if run.reconstruction is None:
        section.without("No reconstruction errors of the VAE were written.")
    else:
        frame = run.reconstruction
        frame = frame.assign(pressure=pd.to_numeric(frame["level"], errors="coerce"))
        section.tables.append(_error_table(frame))
        on_levels = frame.dropna(subset=["pressure", "rmse"])
        for variable, rows in on_levels.groupby("variable", sort=False):
            section.panels.append(_error_profile(rows, str(variable)))
        temperature = on_levels[on_levels["variable"] == "temperature"]
        if not temperature.empty:
            overall = float(temperature["rmse"].mean())
            section.findings.append(
                f"Encoding and decoding temperature costs {number(overall)} K (RMSE, "
                "mean over levels): an analysis decoded from this latent can hardly be better."
            )
    maps = _maps(run, level)
    section.panels += maps
    if not maps:
        section.without("No reconstructed fields were kept: no maps of reconstructions.")
    return section


def _error_table(frame: pd.DataFrame) -> str:
    rows: list[list[str | Cell]] = [
        [
            variable_label(str(row.variable)),
            "" if pd.isna(row.pressure) else f"{row.pressure:g} hPa",
            number_cell(row.rmse),
            channel_units(str(row.variable)),
        ]
        for row in frame.itertuples()
    ]
    headings = ["variable", "level", "RMSE", "units"]
    return table(headings, rows, "Reconstruction error of the VAE by channel.", "table-vae")


def _error_profile(rows: pd.DataFrame, variable: str) -> Panel:
    title = f"Reconstruction error of {variable_label(variable)}"
    axes = new_axes(title, 3.6, quantity("RMSE", channel_units(variable)))
    rows = rows.assign(value=rows["rmse"], lower=np.nan, upper=np.nan)
    look = MethodStyle("VAE", _COLOURS["validation"], "o").points()
    draw_profile(axes, rows.sort_values("pressure", ascending=False), look)
    pressure_axis(axes, sorted(rows["pressure"]))
    axes.set_xlim(left=0)
    name, alt = "reconstruction_profile", "Reconstruction error by pressure"
    if variable != "temperature":
        name, alt = f"{name}_{variable}", f"{alt}, {variable_label(variable)}"
    return finish(axes, name, alt, columns=0)


def _maps(run: TrainingRun, level: int) -> list[Panel]:
    truth, decoded = (_plane(run.fields(group), level) for group in ("truth", "reconstruction"))
    # The truth of this case may be unknown at this level.
    if truth is None or decoded is None or not np.isfinite(truth).any():
        return []
    first, second = truth.values, decoded.values
    units = str(truth.attrs.get("units", "K"))
    latitude, longitude = truth["latitude"].values, truth["longitude"].values
    fields = CaseFields(latitude, longitude, units, "", first, None, None, {}, {})
    error = second - first
    label = quantity(f"temperature, {float(truth.coords.get('level', level)):g} hPa", units)
    states = [
        ("reconstruction_truth", "Truth", first, None),
        ("reconstruction_decoded", "Reconstruction", second, None),
    ]
    title = f"Error, {area_rmse(error, latitude):.2f} {units}"
    maps = map_row(states, field_style("temperature").cmap, ranged, label)
    maps += map_row([("reconstruction_error", title, error, None)], DIFFERENCE_MAP, centred, label)
    return map_panels(maps, fields)


def _plane(dataset: xr.Dataset | None, level: int) -> xr.DataArray | None:
    """Return temperature at the nearest level of the first case; `None` where it is absent."""
    if dataset is None or "temperature" not in dataset:
        return None
    array = dataset["temperature"]
    if "level" in array.dims:
        array = array.sel(level=variable_levels(dataset, "temperature"))
        array = array.sel(level=level, method="nearest")
    spare = [name for name in array.dims if name not in ("latitude", "longitude")]
    return array.isel(dict.fromkeys(spare, 0)).load()
