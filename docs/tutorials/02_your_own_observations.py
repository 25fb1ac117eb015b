# %% [markdown]
# # 2 Your own background and stations
#
# You have a model's state in a NetCDF file, a table of station reports,
# perhaps an image of a satellite. This page gives them to a trained model as
# they are: other names, other units, another grid, and a few reports that are
# wrong.
#
# The files are made here, from the sample that comes with the package, so that
# the page runs anywhere. Replace them with yours, and the day with your day.
# The demo's model knows a model run's weather and not the real one: what it
# makes of real observations shows the path, not the skill of a system.

# %%
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr

import slams
from data_modules.sample import sample_path
from slams.cli.main import main
from slams.report.mapdrawing import centred, draw_map

DAY = pd.Timestamp("1984-03-10")

# %% [markdown]
# ## Files as they come
#
# A background on a grid of 5 degrees, latitude from the south, longitude from
# -180, temperature in degrees Celsius under a CF standard name.

# %%
sample = xr.open_zarr(sample_path(), consolidated=False)
old = sample.sel(time=DAY - pd.Timedelta(days=2)).load()
ours = old.interp(
    latitude=np.arange(-87.5, 90, 5),
    longitude=np.arange(0, 360, 5.0),
    kwargs={"fill_value": None},
)
ours = ours.assign_coords(
    longitude=(ours["longitude"] + 180) % 360 - 180
).sortby("longitude")
ours = ours.rename(
    temperature="t",
    latitude="lat",
    longitude="lon",
    total_precipitation_24hr="tp",
    outgoing_longwave_radiation="olr",
)
ours["t"] = (ours["t"] - 273.15).assign_attrs(
    units="degC", standard_name="air_temperature"
)
ours["tp"] = ours["tp"].clip(min=0).assign_attrs(units="mm day-1")
ours["2m_temperature"].attrs["units"], ours["olr"].attrs["units"] = (
    "K",
    "W m-2",
)
for variable in ours.variables.values():
    variable.encoding.clear()
ours.to_netcdf("background.nc")
ours

# %% [markdown]
# A table with a row per report. Required are `time`, `latitude`, `longitude`,
# `variable` and `value`; here also `hours`, the length of the period that a
# value covers and that ends at `time`, and `units`, because they are not the
# usual ones. One report is far off, and one row comes twice.

# %%
random = np.random.default_rng(1)
truth = sample.sel(time=DAY).load()
reports = pd.DataFrame(
    {
        "station_id": [f"S{number:03d}" for number in range(200)],
        "latitude": np.rad2deg(
            np.arcsin(random.uniform(-0.95, 0.99, 200))
        ).round(2),
        "longitude": random.uniform(0, 350, 200).round(2),
    }
)
places = {
    name: xr.DataArray(reports[name], dims="site")
    for name in ("latitude", "longitude")
}
at_sites = (
    truth["2m_temperature"].interp(places, kwargs={"fill_value": None}).values
)
reports["time"] = DAY + pd.Timedelta(days=1)
reports["hours"] = 24
reports["variable"] = "2m_temperature"
reports["value"] = (
    at_sites - 273.15 + random.normal(0, 1, len(reports))
).round(1)
reports["units"] = "degC"
reports.loc[7, "value"] += 60
reports = pd.concat([reports, reports.iloc[[3]]], ignore_index=True)
reports.to_csv("stations.csv", index=False)
reports.head(3)

# %% [markdown]
# ## One call
#
# Regridding, units, names, the season, checks of the reports: all of it
# happens inside, by the code that also prepares training data, and is said in
# the result.

# %%
model = slams.load("model/")
analysis = model.analyse(
    time=DAY,
    background=xr.open_dataset("background.nc"),
    observations=pd.read_csv("stations.csv"),
    members=8,
    seed=0,
)
for note in analysis.attrs["notes"].split("; "):
    print("-", note)
pd.DataFrame(json.loads(analysis.attrs["observations"])).T

# %% [markdown]
# The age of the background is the day minus the background's own time;
# `background_age=` gives it where the file has none. Networks were trained
# with backgrounds of one age, and another one is said so. Without a background
# at all the analysis starts from the climatology.

# %%
day = analysis.isel(time=0)
climatological = model.analyse(
    time=DAY, observations=pd.read_csv("stations.csv"), members=8, seed=0
).isel(time=0)
difference = day["t2m_mean"] - climatological["t2m_mean"]

figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
mesh = draw_map(
    axis,
    difference.values,
    day["latitude"].values,
    day["longitude"].values,
    "RdBu_r",
    centred([difference.values]),
    reports,
)
axis.set_title("what the background brings: 2 m temperature")
figure.colorbar(mesh, location="bottom", label="K", shrink=0.8)
plt.show()

# %% [markdown]
# ## A mistake
#
# Errors are one sentence: what was found, what was expected, what to do.
# Without the column `units`, the values above would be kelvins.

# %%
try:
    model.analyse(time=DAY, observations=reports.drop(columns="units"))
except slams.errors.UserError as error:
    print(error)

# %% [markdown]
# ## The same on the command line
#
# In a terminal, without Python:
#
# ```
# slams analyse model/ --time 1984-03-10 --background background.nc \
#     --stations stations.csv --members 8
# ```

# %%
command = (
    "analyse model/ --time 1984-03-10 --background background.nc "
    "--stations stations.csv --members 8 --output analysis.nc"
)
assert main(command.split()) == 0

# %% [markdown]
# `analysis.nc` follows CF-1.11: `ds.sel(time=...)`, CDO and other tools of the
# field read it. Mean, spread and observation counts are variables of `(time,
# level, latitude, longitude)`; members stand beside them.

# %%
with xr.open_dataset("analysis.nc") as written:
    print(
        written["temperature_mean"]
        .sel(time=DAY, level=850, method="nearest")
        .mean()
        .item()
    )

# %% [markdown]
# ## Real archives
#
# Tables as above can be made of any archive. For GHCN-Daily, ISD, IGRA 2,
# METAR and ARM there are readers that also heed the archive's own flags
# ([Stations and satellites](../observations.md#station-archives)), and [Your
# own data](../own_data.md) lists all columns.
