# %% [markdown]
# # 6 A cycle
#
# Day after day: today's analysis, damped, is tomorrow's background. Nothing
# but observations enters after the start, which is the climatology. This page
# runs ten days, stops in the middle, goes on, and looks at error and spread.
#
# What to expect of it: the forecast of this cycle is persistence. On the
# demo's data such a cycle is no better than an analysis that starts from the
# climatology each day ([Trajectories and cycles](../trajectories.md#cycling));
# it shows how a model is cycled, not that it should be.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr

import slams
from data_modules.sample import sample_path

START, DAYS = pd.Timestamp("1984-02-01"), 10

# %% [markdown]
# ## Observations of all days
#
# One table holds the reports of all days; the cycle takes those of the day at
# hand. Data that come in while it runs are given as a function of the day
# instead, `observations=lambda day: ...`.

# %%
sample = xr.open_zarr(sample_path(), consolidated=False)
last = START + pd.Timedelta(days=DAYS - 1)
truth = sample.sel(time=slice(START, last)).load()

random = np.random.default_rng(2)
latitude = np.rad2deg(np.arcsin(random.uniform(-0.99, 0.99, 300)))
longitude = random.uniform(0, 350, 300)
places = {
    "latitude": xr.DataArray(latitude, dims="site"),
    "longitude": xr.DataArray(longitude, dims="site"),
}
exact = truth["2m_temperature"].interp(places, kwargs={"fill_value": None})
noisy = exact + random.normal(0, 1, exact.shape)
reports = noisy.rename("value").to_dataframe().reset_index()
# A time is the end of the 24 hours that the mean covers.
reports["time"] += pd.Timedelta(days=1)
reports["hours"], reports["variable"] = 24, "2m_temperature"
reports["station_id"] = "S" + reports.pop("site").astype(str)
reports.head(3)

# %% [markdown]
# ## Run, and stop
#
# `model.cycle` yields the analysis of each day. With `output=` each day is
# written, with the state of the cycle, before the next begins. Here the loop
# is left after four days, as if the machine had gone down.

# %%
model = slams.load("model/")
settings = {
    "start": START,
    "observations": reports,
    "days": DAYS,
    "members": 8,
    "seed": 0,
}

first = []
for analysis in model.cycle(**settings, output="cycle"):
    first.append(analysis)
    if len(first) == 4:
        break

# %% [markdown]
# ## Go on
#
# The same call continues: days that are finished are read, the others
# computed, with the same values as without the stop. Other settings with the
# same directory are refused.

# %%
days = list(model.cycle(**settings, output="cycle"))
np.testing.assert_array_equal(days[3]["temperature"], first[3]["temperature"])
len(days)

# %% [markdown]
# On the command line the same is `slams cycle model/ --start 1984-02-01 --days
# 10 --stations stations.csv`.
#
# ## Error and spread
#
# The first day starts from the climatology. If the ensemble is right, its
# spread is as large as its error.

# %%
cycle = xr.concat([day["temperature"] for day in days], dim="time")
cycle = cycle.sel(level=850)
grid = {"latitude": cycle["latitude"], "longitude": cycle["longitude"]}
actual = truth["temperature"].interp(grid, kwargs={"fill_value": None})
actual = actual.sel(level=850)
weight = np.cos(np.deg2rad(cycle["latitude"]))


def root_mean(square):
    """Return the root of the mean over the globe, day by day."""
    return np.sqrt(square.weighted(weight).mean(("latitude", "longitude")))


error = root_mean((cycle.mean("realization") - actual) ** 2)
spread = root_mean(cycle.var("realization", ddof=1))

plt.figure(figsize=(6, 3), layout="constrained")
plt.plot(cycle["time"], error, marker="o", label="error of the mean")
plt.plot(cycle["time"], spread, marker="o", label="spread")
plt.ylabel("temperature at 850 hPa (K)")
plt.ylim(bottom=0)
plt.xticks(rotation=30)
plt.legend()
plt.show()
