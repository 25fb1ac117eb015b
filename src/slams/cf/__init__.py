"""CF-1.11 datasets of analyses, and their files in NetCDF and Zarr.

One layout serves what a Python user is given, the files of the command line and `analysis.zarr`::

    temperature(time, realization, level, latitude, longitude)   members
    temperature_mean(time, level, latitude, longitude)           mean of the members
    temperature_spread(time, level, latitude, longitude)         their standard deviation
    temperature_observation_count(time, level, latitude, longitude)

Variables without levels have no `level`, states such as a truth no `realization`. All variables
share one axis of levels, from the ground up, so that `sel(level=500)` applies to every variable;
a variable is missing (NaN) at levels where it has no channel.
"""

from __future__ import annotations

from slams.cf.dataset import analysis_dataset, state_dataset
from slams.cf.days import day_methods
from slams.cf.writing import write_dataset, write_zarr

__all__ = ["analysis_dataset", "day_methods", "state_dataset", "write_dataset", "write_zarr"]
