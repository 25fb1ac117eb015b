# %% [markdown]
# # 1 Read the demo
#
# An analysis is an ensemble: every member is a state that the atmosphere may
# have been in, given the background and the observations. This page makes one
# with the demo's model and reads it as a scientist would: what did the
# observations change, how sure is the analysis, and is it as sure as it should
# be?
#
# Everything is drawn from a model run that comes with the package, so that the
# truth is known here. On real days it is not, and the departures from the
# observations are all there is.

# %%
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr

import slams
from data_modules.sample import sample_path
from slams.report.mapdrawing import centred, draw_map, ranged

# %% [markdown]
# ## The model
#
# `model/` is a bundle: weights, statistics and settings in one directory.
# `inputs` says what it takes.

# %%
model = slams.load("model/")
print(model.inputs)

# %% [markdown]
# ## A day, its background and its observations
#
# The background is the state of two days before. 300 stations report 2 m
# temperature with an error of 1 K, and a satellite sees outgoing longwave
# radiation over one half of the globe with an error of 5 W m-2. All are given
# as a user has them: a table with one row per report, and an image on the grid
# that it came on.

# %%
DAY = pd.Timestamp("1984-02-15")
sample = xr.open_zarr(sample_path(), consolidated=False)
truth = sample.sel(time=DAY).load()
background = sample.sel(time=DAY - pd.Timedelta(days=2)).load()

random = np.random.default_rng(0)
sites = pd.DataFrame(
    {
        "latitude": np.rad2deg(np.arcsin(random.uniform(-0.99, 0.99, 300))),
        "longitude": random.uniform(0, 350, 300),
    }
)
at_sites = {
    name: xr.DataArray(column, dims="site")
    for name, column in sites.to_dict("series").items()
}
exact = truth["2m_temperature"].interp(at_sites, kwargs={"fill_value": None})
stations = sites.assign(
    time=DAY + pd.Timedelta(days=1),  # the end of the 24 hours of the mean
    hours=24,
    variable="2m_temperature",
    value=exact.values + random.normal(0, 1, len(sites)),
)
olr = truth["outgoing_longwave_radiation"]
olr = (olr + random.normal(0, 5, olr.shape)).where(olr["longitude"] < 180)
olr.attrs["units"] = "W m-2"
stations.head(3)

# %% [markdown]
# ## The analysis

# %%
analysis = model.analyse(
    time=DAY,
    background=background,
    observations=[stations, olr],
    members=16,
    verify=truth,
)
analysis

# %% [markdown]
# The result has members, mean, spread, and the number of observations used in
# each cell. What was done with the observations stands in its attributes: how
# many were given, used and rejected, and the departures, observations minus
# background (O-B) and minus analysis (O-A). A good analysis brings O-A well
# below O-B, and no lower than the error of the observations allows.

# %%
departures = pd.DataFrame(json.loads(analysis.attrs["observations"])).T
departures[["given", "used", "o_minus_b_rms", "o_minus_a_rms", "units"]]

# %% [markdown]
# `verify=` added scores against the truth, by channel. Compare the CRPS, which
# judges the whole ensemble, with the error of the mean.

# %%
pd.DataFrame(json.loads(analysis.attrs["scores"])).T

# %% [markdown]
# ## Maps
#
# The *increment* is the analysis minus the background: what observations
# (dots) and model changed. The spread is small where observations are dense
# and where the weather varies little. The third map is known in a twin
# experiment only: the error of the analysis. Where it is large, the spread
# should be.

# %%
day = analysis.isel(time=0)
grid = {"latitude": day["latitude"], "longitude": day["longitude"]}
before = background["temperature"].interp(grid, kwargs={"fill_value": None})
actual = truth["temperature"].interp(grid, kwargs={"fill_value": None})

increment = (day["temperature_mean"] - before).sel(level=850)
spread = day["temperature_spread"].sel(level=850)
error = (day["temperature_mean"] - actual).sel(level=850)
both = centred([increment.values, error.values])
maps = {
    "increment": (increment, "RdBu_r", both, sites),
    "spread": (spread, "viridis", ranged([spread.values], zero=True), None),
    "error": (error, "RdBu_r", both, None),
}

figure, axes = plt.subplots(1, 3, figsize=(13, 3.4), layout="constrained")
for axis, (name, (field, *look)) in zip(axes, maps.items(), strict=True):
    mesh = draw_map(axis, field.values, *map(np.asarray, grid.values()), *look)
    axis.set_title(f"{name}, 850 hPa")
    figure.colorbar(mesh, ax=axis, location="bottom", label="K", shrink=0.8)
plt.show()

# %% [markdown]
# ## A profile with its spread
#
# The column over a station, as a difference from the background. The band
# holds the middle 90 % of the members. The station measured at the ground
# only: above it the analysis knows what the radiation says, and what the model
# has learned about how levels go together.

# %%
station = sites.iloc[0]
place = {name: station[name] for name in ("latitude", "longitude")}
column = day.sel(place, method="nearest")
base = before.sel(place, method="nearest")
members = column["temperature"] - base
low, high = (members.quantile(q, "realization") for q in (0.05, 0.95))
exact = actual.sel(place, method="nearest").sel(level=day["level"]) - base

plt.figure(figsize=(4, 4.5), layout="constrained")
band = {"alpha": 0.3, "label": "90 % of the members"}
plt.fill_betweenx(day["level"], low, high, **band)
plt.plot(members.mean("realization"), day["level"], "o-", label="analysis")
plt.plot(exact, day["level"], "k--", label="truth")
plt.axvline(0, color="grey", linewidth=0.8)
plt.yscale("log")
plt.ylim(day["level"].max(), day["level"].min())
plt.yticks(day["level"], day["level"].values.astype(int).astype(str))
plt.minorticks_off()
plt.xlabel("temperature minus background (K)")
plt.ylabel("pressure (hPa)")
plt.title(f"{station['latitude']:.0f} N, {station['longitude']:.0f} E")
plt.legend()
plt.show()

# %% [markdown]
# ## A section
#
# The same from pole to pole: where in the vertical do increments reach, and
# where is the analysis unsure? Surface stations and radiation see little of
# the stratosphere, so that the spread there is nearly that of the background.

# %%
meridian = day.sel(longitude=station["longitude"], method="nearest")
at = before.sel(longitude=meridian["longitude"])
change = (meridian["temperature_mean"] - at).rename("increment (K)")
spread = meridian["temperature_spread"].rename("spread (K)")

figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
levels = day["level"].values
for axis, field in zip(axes, (change, spread), strict=True):
    field.plot(ax=axis, cbar_kwargs={"label": field.name})
    axis.set(yscale="log", ylim=(levels.max(), levels.min()), title="")
    axis.set_yticks(levels, levels.astype(int).astype(str))
    axis.minorticks_off()
axes[0].set_ylabel("pressure (hPa)")
axes[1].set_ylabel("")
plt.show()

# %% [markdown]
# ## Is it as sure as it should be?
#
# If truth and members are draws of one distribution, the truth is equally
# often the smallest, the second smallest, ... the largest of them: a flat
# *rank histogram*. A bowl shows an ensemble that is too sure, a dome one that
# is not sure enough. The members of this method are centred, their mean is the
# analysis itself, so they are first scaled by `sqrt(M / (M + 1))`
# ([Diagnostics](../diagnostics.md) says why).

# %%
count = day.sizes["realization"]
mean = day["temperature"].mean("realization")
scaled = mean + np.sqrt(count / (count + 1)) * (day["temperature"] - mean)
rank = (scaled < actual.sel(level=day["level"])).sum("realization")
weight = np.cos(np.deg2rad(day["latitude"])).broadcast_like(rank)

plt.figure(figsize=(5, 3), layout="constrained")
plt.hist(
    rank.values.ravel(),
    bins=np.arange(count + 2) - 0.5,
    weights=weight.values.ravel() / float(weight.sum()) * (count + 1),
    rwidth=0.9,
)
plt.axhline(1, color="k", linewidth=0.8)
plt.xticks(range(0, count + 1, 4))
plt.xlabel("rank of the truth among the members")
plt.ylabel("frequency (1 is flat)")
plt.show()

# %% [markdown]
# One day is one draw of the weather: neighbouring points are alike, and the
# histogram of a single day may lean to one side by chance. The report of
# `slams assimilate` pools all test dates, in `runs/demo/assimilation/report`,
# and [Diagnostics](../diagnostics.md) explains each of its figures.
