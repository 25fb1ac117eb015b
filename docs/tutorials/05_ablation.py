# %% [markdown]
# # 5 An ablation in MLflow
#
# How many stations, and how accurate? A *sweep* runs one recipe with several
# settings, compares them date by date, and keeps everything in MLflow. This
# page sweeps two keys of the observations with methods that need no training,
# on the sample that comes with the package.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from mlflow import MlflowClient

from slams.cli.main import main


def slams(command):
    """Run `slams COMMAND` here; in a terminal, type it without quotes."""
    assert main(command.split()) == 0, command


# %% [markdown]
# ## The recipe
#
# The section `ablation` says what varies: `grid` takes every combination,
# `zip` values that change together, `list` settings one by one. Everything
# else is an ordinary recipe.

# %%
recipe = """
experiment: stations_tutorial
data:
  store: stores/stations_tutorial.zarr
  source: {kind: nature_run, path: sample, grid: 24x48}
  channels: [temperature@850, temperature@500, 2m_temperature]
  period: [1983-01-01, 1984-03-31]
  harmonics: 1
  splits:
    train: [1983-01-01, 1983-12-20]
    validation: [1983-12-26, 1984-01-15]
    test: [1984-01-21, 1984-03-31]
  test_cases: 8

background: {kind: damped_persistence, lag: 2}

observations:
  use: [stations]
  stations: {count: 200, variables: [{channel: 2m_temperature, error: 1.0}]}

assimilation:
  methods: [background, optimal_interpolation]
  members: 8

ablation:
  name: network
  baseline: count_50-error_1
  grid:
    observations.stations.count: [50, 200]
    observations.stations.variables.0.error: [1.0, 3.0]

trainer: {accelerator: cpu}
"""
Path("stations_tutorial.yaml").write_text(recipe)
slams("prepare stations_tutorial.yaml")

# %% [markdown]
# ## Run it
#
# With `--dry-run` the settings are listed with their state. A setting that has
# finished is kept, so that the same command after a failure or a kill runs
# only what is missing; several processes, or a job array on a cluster (`slams
# submit --sweep`), may share the work.

# %%
slams("ablate stations_tutorial.yaml --dry-run")

# %%
slams("ablate stations_tutorial.yaml")

# %% [markdown]
# ## Compare
#
# `slams compare` writes tables (Markdown, CSV, LaTeX, HTML) and figures into
# the sweep's directory. Each method is compared with itself in the baseline,
# paired by date; `not told apart` means that the 95 % interval of the
# difference holds zero.

# %%
slams("compare stations_tutorial.yaml")

# %%
scores = pd.read_csv("runs/stations_tutorial/network/comparison/crps.csv")
scores.head()

# %%
plt.figure(figsize=(8, 4))
plt.imshow(plt.imread("runs/stations_tutorial/network/comparison/crps_0.png"))
plt.axis("off")
plt.show()

# %% [markdown]
# ## Find it again in MLflow
#
# The sweep is a parent run, its settings are nested below it, with every key
# of their recipes as parameters and the scores as metrics. `make mlflow-ui`
# shows them in a browser; here they are read with MLflow's own client.

# %%
client = MlflowClient(f"sqlite:///{Path('runs/mlflow.db').absolute()}")
experiment = client.get_experiment_by_name("stations_tutorial")
runs = client.search_runs([experiment.experiment_id])
pd.DataFrame(
    {
        "run": run.info.run_name,
        "stations": run.data.params.get("observations.stations.count"),
        "RMSE of temperature (K)": run.data.metrics.get("T_rmse"),
        "of the background": run.data.metrics.get("T_rmse_background"),
    }
    for run in runs
    if "T_rmse" in run.data.metrics
).sort_values("run")

# %% [markdown]
# [Sweeps](../ablations.md) has all of what a sweep may do, seeds and trainings
# among it, and [Track runs](../tracking.md) what a tracked run holds.
