"""Training of the networks: curves of the losses, and the reconstructions of the VAE."""

from __future__ import annotations

import html

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from slams.config.schema import ReportConfig
from slams.report.formatting import capitalised, number
from slams.report.mapdata import CaseFields, area_rmse, variable_levels
from slams.report.mapdrawing import centred, field_panel, ranged
from slams.report.profiles import draw_profile, pressure_axis
from slams.report.reading import TrainingRun
from slams.report.section import Panel, Section, headline, new_figure, render
from slams.report.style import DIFFERENCE_MAP, FIELD_MAPS, quantity, variable_label
from slams.report.tables import table
from slams.variables import channel_units

__all__ = ["reconstruction", "training_curves"]

_COLOURS = {"train": "#999999", "validation": "#0072b2"}
_STAGES = {"vae": "VAE", "score": "Latent score"}
_MAX_PANELS = 3


def training_curves(runs: list[TrainingRun], options: ReportConfig) -> Section:
    """Show the losses of the VAE and of the latent score against the step."""
    panels: list[Panel] = []
    missing = [] if runs else ["No training run was given: no training curves."]
    for run in runs:
        if run.metrics is None:
            continue
        drawn = _curves(run, options.dpi)
        if not drawn:
            missing.append(f"{run.path / 'metrics.csv'} has no train or validation columns.")
        panels += drawn
    return Section(
        anchor="training",
        title="Training",
        caption=(
            "Grey: loss of each logged training batch, with its running mean; blue: the "
            "validation period, which the network never trained on. Training may stop where blue "
            "is flat; blue rising while grey falls is overfitting."
        ),
        panels=panels,
        missing=missing,
    )


def _curves(run: TrainingRun, dpi: int) -> list[Panel]:
    names = dict.fromkeys(
        column.partition("/")[2]
        for column in run.metrics.columns
        if column.partition("/")[0] in _COLOURS
    )
    # The loss first, then the other validated quantities.
    ordered = sorted(names, key=lambda n: (n != "loss", f"validation/{n}" not in run.metrics, n))
    panels = []
    for name in ordered:
        if len(panels) == _MAX_PANELS:
            break
        panel = _curve_panel(run, name, dpi)
        if panel is not None:
            panels.append(panel)
    return panels


def _curve_panel(run: TrainingRun, name: str, dpi: int) -> Panel | None:
    figure = new_figure(height=2.9)
    axes = figure.add_subplot()
    drawn: list[np.ndarray] = []
    for split, colour in _COLOURS.items():
        column = f"{split}/{name}"
        if column not in run.metrics:
            continue
        rows = run.metrics[["step", column]].apply(pd.to_numeric, errors="coerce").dropna()
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
    axes.set_xlabel("optimiser step")
    axes.set_ylabel(name.replace("_", " "))
    headline(figure, f"{_STAGES.get(run.stage, capitalised(run.stage))}: {name.replace('_', ' ')}")
    axes.legend(loc="best")
    file = "".join(c if c.isalnum() else "_" for c in name)
    alt = f"{name} of the {run.stage} against the optimiser step"
    return render(figure, f"training_{run.stage}_{file}", alt, dpi)


def reconstruction(run: TrainingRun | None, options: ReportConfig) -> Section:
    """Show the errors of the VAE: by channel, and as a map of truth and reconstruction."""
    anchor, title = "reconstruction", "Reconstructions of the VAE"
    if run is None:
        return Section(anchor, title, missing=["No VAE run was given: no reconstruction errors."])
    panels, tables, findings, missing = [], [], [], []
    frame = run.reconstruction
    if frame is None:
        missing.append("No reconstruction errors of the VAE were written.")
    else:
        tables.append(_error_table(frame))
        on_levels = frame.assign(
            pressure=pd.to_numeric(frame["level"], errors="coerce"),
            value=frame["rmse"],
        ).dropna(subset=["pressure"])
        panels += [
            _error_profile(on_levels[on_levels["variable"] == variable], variable, options.dpi)
            for variable in dict.fromkeys(on_levels["variable"])
        ]
        temperature = on_levels[on_levels["variable"] == "temperature"]
        if not temperature.empty:
            overall = float(temperature["rmse"].mean())
            findings.append(
                f"Encoding and decoding temperature costs {number(overall)} K (RMSE, "
                "mean over levels): an analysis decoded from this latent can hardly be better."
            )
    maps = _maps(run, options)
    panels += maps
    if not maps:
        missing.append("No reconstructed fields were kept: no maps of reconstructions.")
    return Section(
        anchor=anchor,
        title=title,
        caption=(
            "Error of encoding and decoding: the lower bound of the error of latent analyses, "
            "and the part of the observation error that comes from the decoder."
        ),
        panels=panels,
        findings=findings,
        tables=tables,
        missing=missing,
    )


def _error_table(frame: pd.DataFrame) -> str:
    rows = []
    for _, row in frame.iterrows():
        units = channel_units(str(row["variable"]))
        level = pd.to_numeric(row["level"], errors="coerce")
        rows.append(
            [
                f'<th scope="row">{html.escape(variable_label(str(row["variable"])))}</th>',
                f"<td>{'' if pd.isna(level) else f'{level:g} hPa'}</td>",
                f'<td data-value="{float(row["rmse"])!r}">{number(float(row["rmse"]))}</td>',
                f"<td>{html.escape(units)}</td>",
            ]
        )
    headings = ["variable", "level", "RMSE", "units"]
    return table(headings, rows, "Reconstruction error of the VAE by channel.", "table-vae")


def _error_profile(rows: pd.DataFrame, variable: str, dpi: int) -> Panel:
    figure = new_figure(height=3.6)
    axes = figure.add_subplot()
    rows = rows.assign(lower=np.nan, upper=np.nan).sort_values("pressure", ascending=False)
    draw_profile(axes, rows, "#0072b2", "o", "VAE")
    pressure_axis(axes, sorted(rows["pressure"]))
    axes.set_xlim(left=0)
    axes.set_xlabel(quantity("RMSE", channel_units(variable)))
    headline(figure, f"Reconstruction error of {variable_label(variable)}")
    name, alt = "reconstruction_profile", "Reconstruction error by pressure"
    if variable != "temperature":
        name, alt = f"{name}_{variable}", f"{alt}, {variable_label(variable)}"
    return render(figure, name, alt, dpi)


def _maps(run: TrainingRun, options: ReportConfig) -> list[Panel]:
    truth, decoded = run.fields("truth"), run.fields("reconstruction")
    if truth is None or decoded is None:
        return []
    pair = _plane(truth, options.level), _plane(decoded, options.level)
    if pair[0] is None or pair[1] is None:
        return []
    first, second = pair[0].values, pair[1].values
    if not np.isfinite(first).any():  # the truth of this case is unknown at this level
        return []
    units = str(pair[0].attrs.get("units", "K"))
    fields = CaseFields(
        truth["latitude"].values, truth["longitude"].values, units, "", first, None, None, {}, {}
    )
    error = second - first
    rms = area_rmse(error, fields.latitude)
    norm, colours = ranged([first, second]), FIELD_MAPS["temperature"]
    label = quantity(
        f"temperature, {float(pair[0].coords.get('level', options.level)):g} hPa", units
    )
    return [
        field_panel(
            f"reconstruction_{name}", title, field, fields, cmap, scale, label, options.dpi
        )
        for name, title, field, cmap, scale in (
            ("truth", "Truth", first, colours, norm),
            ("decoded", "Reconstruction", second, colours, norm),
            ("error", f"Error, {rms:.2f} {units}", error, DIFFERENCE_MAP, centred([error])),
        )
    ]


def _plane(dataset: xr.Dataset, level: int) -> xr.DataArray | None:
    if "temperature" not in dataset:
        return None
    array = dataset["temperature"]
    if "level" in array.dims:
        array = array.sel(level=variable_levels(dataset, "temperature"))
        array = array.sel(level=level, method="nearest")
    spare = [name for name in array.dims if name not in ("latitude", "longitude")]
    return array.isel(dict.fromkeys(spare, 0)).load()
