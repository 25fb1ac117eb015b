"""Analyse real observations with a trained model, through `slams analyse`; none is re-dated.

    python experiments/real_files.py MODEL DATA OUTPUT

`DATA` holds METAR reports of January 2020, ARM's column at the Southern Great Plains in summer
1997, and NCEP's reanalysis of 1 to 5 January 2022 (docs/own_data.md says where they are from). For
each, the tables are written as a user would write them, the command is printed and run, and a map
of the analysis is drawn. With the model of the demo, whose climatology is that of a model run, O-B
shows the bias of that model as much as the weather.
"""

from __future__ import annotations

import shlex
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from slams.cli.main import main
from slams.report.mapdrawing import draw_map, ranged
from slams.report.style import DIFFERENCE_MAP

METAR = "weatherbenchX_metar_2020-01.parquet"
ARM = "sgp3hIOPsndgBasedV2.0_ConstrVarAnaX1.c1.19970618.000000.cdf"
NCEP = "ncep_r1_air_daily_20220101-05_17lev.nc"


def metar(data: Path, output: Path) -> list[str]:
    """Write the METAR reports; they are analysed on the climatology."""
    found = pd.read_parquet(data / METAR)
    found = found[~found["temperatureDD"].isin(["X", "Q"])]  # rejected and questioned
    table = found[["latitude", "longitude", "elevation"]].assign(
        station_id=found["stationName"],
        time=found["timeObs"],
        variable="2m_temperature",
        value=found["temperature"],
    )
    table.to_csv(output / "metar.csv", index=False)
    return ["--time", "2020-01-15", "--stations", str(output / "metar.csv")]


def arm(data: Path, output: Path) -> list[str]:
    """Write ARM's 2 m temperature, rain and OLR, and hold its soundings out."""
    with warnings.catch_warnings():  # its file names two fill values
        warnings.simplefilter("ignore", xr.SerializationWarning)
        column = xr.open_dataset(data / ARM, decode_timedelta=False).isel(x=0, y=0).load()
    site = {
        "station_id": "SGP",
        "latitude": float(column["y"]),
        "longitude": float(column["x"]),
        "elevation": 315.0,
    }

    def table(
        name: str, variable: str, units: str, hours: float = 0, factor: float = 1
    ) -> pd.DataFrame:
        values = column[name].to_dataframe().reset_index()
        found = pd.DataFrame({"time": values["time"], "value": values[name] * factor, **site})
        if "lev" in column[name].dims:
            found["level"] = values["lev"]
        return found.assign(variable=variable, units=units, hours=hours)

    surface = pd.concat(
        [
            table("Ts_Air", "2m_temperature", "degC"),
            table("Prec", "total_precipitation_24hr", "mm", 3, 3),  # mm h-1 over three hours
            table("TOA_LW_Up", "outgoing_longwave_radiation", "W m-2"),
        ]
    )
    surface.to_csv(output / "arm.csv", index=False)
    table("Temp", "temperature", "K").to_csv(output / "arm_soundings.csv", index=False)
    files = ["--stations", str(output / "arm.csv"), "--verify", str(output / "arm_soundings.csv")]
    return ["--time", "1997-07-05", *files]


def ncep(data: Path, output: Path) -> list[str]:
    """Take NCEP of 3 January as background, and draw reports at 850 hPa from 5 January."""
    air = xr.open_dataset(data / NCEP)
    random = np.random.default_rng(0)
    latitude = np.rad2deg(np.arcsin(random.uniform(-1, 1, 300)))
    longitude = random.uniform(0, 357.5, 300)
    places = {"lat": xr.DataArray(latitude, dims="p"), "lon": xr.DataArray(longitude, dims="p")}
    values = air["air"].sel(time="2022-01-05", level=850).interp(places).values
    table = pd.DataFrame(
        {
            "time": "2022-01-05",
            "latitude": latitude,
            "longitude": longitude,
            "variable": "temperature",
            "level": 850,
            "value": values + random.normal(0, 1, 300),
            "error": 1.0,
        }
    )
    table.to_csv(output / "ncep_reports.csv", index=False)
    for name, day in (("background", "2022-01-03"), ("truth", "2022-01-05")):
        air.sel(time=[day]).to_netcdf(output / f"ncep_{name}.nc")
    files = ["--background", str(output / "ncep_background.nc"), "--missing", "climatology"]
    files += ["--stations", str(output / "ncep_reports.csv")]
    files += ["--verify", str(output / "ncep_truth.nc")]
    return ["--time", "2022-01-05", *files]


def draw(path: Path, stations: pd.DataFrame) -> None:
    """Draw mean and spread of temperature at 850 hPa beside each other."""
    with xr.open_dataset(path) as found:
        day = found.isel(time=0).sel(level=850).load()
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    for axes, part, norm in zip(
        figure.subplots(1, 2), ("mean", "spread"), (None, None), strict=True
    ):
        field = day[f"temperature_{part}"]
        norm = ranged([field.values])
        colours = DIFFERENCE_MAP if part == "mean" else "viridis"
        mesh = draw_map(
            axes, field.values, day["latitude"], day["longitude"], colours, norm, stations
        )
        axes.set_title(f"850 hPa temperature, {part}, {str(day['time'].values)[:10]}")
        figure.colorbar(mesh, location="bottom", label="K", shrink=0.8)
    figure.savefig(path.with_suffix(".png"), dpi=110)


def run(model: str, data: Path, output: Path) -> int:
    """Analyse each set of files; return the largest exit code."""
    output.mkdir(parents=True, exist_ok=True)
    codes = [0]
    for make in (metar, arm, ncep):
        arguments = make(data, output)
        stations = pd.read_csv(arguments[arguments.index("--stations") + 1])
        stations = stations.drop_duplicates(["latitude", "longitude"])
        for method in ("optimal_interpolation", "latent_diffusion"):
            path = output / f"{make.__name__}_{method}.nc"
            words = ["analyse", model, *arguments, "--method", method, "--output", str(path)]
            print(f"\nslams {shlex.join(words)}", flush=True)
            codes.append(main(words))
            if codes[-1] == 0:
                draw(path, stations)
    return max(codes)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit((__doc__ or "").split("\n\n")[1].strip())
    sys.exit(run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
