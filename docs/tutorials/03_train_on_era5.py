# %% [markdown]
# # 3 Train on ERA5, step by step
#
# From an archive of fields to scored analyses: look at the source, write a
# recipe, prepare a training store, train the two networks, assimilate, read
# the scores.
#
# So that this page runs in half a minute and without a network, the archive is
# a small store of the layout that
# [WeatherBench2](https://weatherbench2.readthedocs.io) publishes. The weather
# in it is that of the sample that comes with the package, a model run and not
# ERA5: the steps are those of the real archive, the numbers are of nothing.
# What to change for the real one is [at the end](#for-the-real-archive).

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import xarray as xr

from data_modules.sample import sample_path
from slams.cli.main import main


def slams(command):
    """Run `slams COMMAND` here; in a terminal, type it without quotes."""
    assert main(command.split()) == 0, command


# %% [markdown]
# ## The archive
#
# WeatherBench2's store of 1.5 degrees has the dimensions time, level,
# longitude, latitude, latitude from the south, precipitation in metres over
# the 24 hours before the time stamp. Radiation is not in it; it comes from a
# NetCDF file of NOAA PSL.

# %%
sample = xr.open_zarr(sample_path(), consolidated=False)
sample = sample.sel(
    time=slice("1981-10-01", "1982-12-31"), level=[850, 500]
).load()
sample = sample.coarsen(latitude=4, longitude=4).mean()

era5 = sample[["temperature", "2m_temperature"]].sortby("latitude")
rain = (
    (sample["total_precipitation_24hr"] / 1000)
    .sortby("latitude")
    .assign_attrs(units="m")
)
next_midnight = rain["time"] + pd.Timedelta(days=1)
era5["total_precipitation_24hr"] = rain.assign_coords(time=next_midnight)
era5 = era5.transpose("time", "level", "longitude", "latitude")
era5["temperature"].attrs["units"] = era5["2m_temperature"].attrs["units"] = (
    "K"
)
for variable in era5.variables.values():
    variable.encoding.clear()
Path("archives").mkdir(exist_ok=True)
era5.to_zarr("archives/era5.zarr", zarr_format=2, consolidated=True, mode="w")

olr = sample["outgoing_longwave_radiation"].rename("olr")
olr.encoding.clear()
olr.attrs = {"units": "W/m^2", "statistic": "Mean"}
olr.rename(latitude="lat", longitude="lon").to_netcdf("archives/olr.nc")
era5

# %% [markdown]
# ## The recipe
#
# A recipe is a YAML file. This one names two sources, the channels of the
# state, the days of each split, what is observed, and small networks. Every
# key that it leaves out has a default; all of them are in [Keys of a
# recipe](../reference/keys.md).

# %%
recipe = """
experiment: era5_tutorial
seed: 0

data:
  store: stores/era5_tutorial.zarr
  sources:
    - kind: weatherbench2
      path: archives/era5.zarr
      channels: [temperature, 2m_temperature, total_precipitation_24hr]
    - kind: noaa_psl
      path: archives/olr.nc
      channels: [outgoing_longwave_radiation]
  channels:
    - temperature@850
    - temperature@500
    - 2m_temperature
    - total_precipitation_24hr
    - outgoing_longwave_radiation
  period: [1981-10-02, 1982-12-31]
  harmonics: 1
  splits:
    train: [1981-10-02, 1982-09-30]
    validation: [1982-10-08, 1982-11-08]
    test: [1982-11-16, 1982-12-31]
  test_cases: 6

background: {kind: damped_persistence, lag: 2}

observations:
  use: [stations, satellite]
  stations:
    count: 60
    held_out: 0.2
    variables:
      - {channel: 2m_temperature, error: 1.0}
      - {channel: total_precipitation_24hr, error: 0.3}
  satellite: {footprint: 2, coverage: 0.5, error: 5.0}

vae:
  latent_channels: 8
  hidden: 16
  blocks: 1
  optimizer: {steps: 150, ema: 0.9}

score:
  channels: [16]
  blocks: 1
  optimizer: {steps: 150, ema: 0.9}

assimilation:
  methods: [climatology, background, optimal_interpolation, latent_diffusion]
  members: 8
  guidance: {archive: 60}
  sampler: {steps: 8}
  keep_cases: 1

trainer: {accelerator: cpu}
"""
Path("era5_tutorial.yaml").write_text(recipe)
slams("config validate era5_tutorial.yaml")

# %% [markdown]
# `config validate` reads nothing but the recipe. A dry run of `prepare` opens
# the sources, too: it says for each source what a day's value is and what was
# repaired, how many days each split has, and what memory the preparation will
# take, and writes nothing.

# %%
slams("prepare era5_tutorial.yaml --dry-run")

# %% [markdown]
# ## Prepare
#
# The training store holds all channels on one grid, one step per day, with the
# climatology, standard deviations and persistence of the training period.

# %%
slams("prepare era5_tutorial.yaml")

# %% [markdown]
# ## Train
#
# First the autoencoder, then the diffusion model of its latents. `--dry-run`
# before either prints shapes, memory and time of one batch. A training that is
# killed continues by the same command.

# %%
slams("train vae era5_tutorial.yaml")

# %%
slams("train score era5_tutorial.yaml")

# %% [markdown]
# Each run directory has the losses by step. A hundred or so are too few for
# anything but seeing them fall.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for axis, stage in zip(axes, ("vae", "score"), strict=True):
    losses = pd.read_csv(f"runs/era5_tutorial/{stage}/metrics.csv")
    for split in ("train", "validation"):
        curve = losses[["step", f"{split}/loss"]].dropna()
        axis.plot(curve["step"], curve[f"{split}/loss"], label=split)
    axis.set(title=stage, xlabel="step", ylabel="loss")
axes[0].legend()
plt.show()

# %% [markdown]
# ## Assimilate
#
# Every method analyses the test dates with the same background, the same
# observations and the same errors; a fifth of the stations is given to none of
# them and verifies.

# %%
slams("assimilate era5_tutorial.yaml")

# %% [markdown]
# ## Read the scores
#
# `results.parquet` has one row per method, variable, level and metric, with a
# 95 % interval over dates ([Diagnostics](../diagnostics.md)). The report, with
# all figures, is `runs/era5_tutorial/assimilation/report/index.html`.

# %%
results = pd.read_parquet("runs/era5_tutorial/assimilation/results.parquet")
chosen = results[
    (results["variable"] == "temperature")
    & results["metric"].isin(["rmse", "crps"])
]
chosen.pivot_table("value", ["level", "method"], "metric").round(3)

# %% [markdown]
# ## For the real archive
#
# `experiments/era5_1p5deg.yaml` (`slams init era5_1p5deg`) is this recipe at
# full size. It differs in
#
# - the `path` of the first source, an address of WeatherBench2's public
#   bucket, which needs the extra `cloud` and no account, and `grid: 120x240`
#   with `regrid: conservative`;
# - nine levels, 44 years, and `cache: none`, since the store is larger than
#   memory;
# - stations: reports of GHCN-Daily in place of values drawn from the fields;
# - the networks: `hidden: 128`, 20,000 and 40,000 steps, for a GPU.
#
# [Read public archives](../data.md#era5-on-15-degrees-what-to-type) has the
# commands, the downloads, and the disk and time to expect. The next thing to
# do with the trained run is `slams export`, and [Tutorial
# 2](02_your_own_observations.py).
