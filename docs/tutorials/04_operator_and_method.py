# %% [markdown]
# # 4 A new operator and a new method
#
# An *observation operator* `H` says what an instrument sees of the state; a
# *method* makes an analysis of a background and observations. Both are one
# class and one small *specification*, in a file of your own. This page writes
# one of each, checks the operator, and compares the method with optimal
# interpolation on the sample that comes with the package.
#
# [Write a plug-in](../extending.md) has the same as a reference: all seven
# kinds of things that a recipe names.

# %%
import sys
from pathlib import Path

import pandas as pd
import torch

from slams.cli.main import main


def slams(command):
    """Run `slams COMMAND` here; in a terminal, type it without quotes."""
    assert main(command.split()) == 0, command


# %% [markdown]
# ## An operator: the thickness of a layer
#
# The thickness of the layer between two pressures, in metres, follows from its
# mean temperature by the hypsometric equation,
#
#     z = R_d / g  T_mean  ln(p_bottom / p_top),
#
# with the dry gas constant `R_d` and gravity `g`. Interpolation to a position
# is already there (`StationOperator`), so what is left is a weighted sum over
# two levels. `linear` applies `H`, `adjoint` its transpose; `latitude`,
# `longitude`, `variable` and `units` say what was observed and where.

# %%
operator = '''
"""The thickness of a layer between two pressure levels (m)."""

import math

from slams.observations.operator import LinearOperator
from slams.observations.stations import StationOperator
from slams.plugins import OperatorSpec

GAS_CONSTANT, GRAVITY = 287.05, 9.80665  # J kg-1 K-1, m s-2


class Thickness(LinearOperator):
    variable, units = "thickness", "m"

    def __init__(self, request, bottom, top):
        self.latitude, self.longitude = request.latitude, request.longitude
        self.levels = [
            StationOperator(
                request.grid,
                request.channels,
                f"temperature@{level}",
                request.latitude,
                request.longitude,
            )
            for level in (bottom, top)
        ]
        # The mean temperature is taken as that of the two levels.
        self.factor = GAS_CONSTANT / GRAVITY * math.log(bottom / top) / 2

    def linear(self, state):
        return sum(self.factor * level.linear(state) for level in self.levels)

    def adjoint(self, values):
        return sum(
            level.adjoint(self.factor * values) for level in self.levels
        )

    def to(self, device, non_blocking=False):
        moved = super().to(device, non_blocking)
        moved.levels = [
            level.to(device, non_blocking) for level in self.levels
        ]
        return moved


def build(request):
    return Thickness(request, **request.take(bottom=int, top=int))


Thickness.spec = OperatorSpec("thickness", build)
'''
Path("my_thickness.py").write_text(operator.lstrip())
# Or install your package, or name its directory in PYTHONPATH.
sys.path.insert(0, ".")

# %% [markdown]
# ### Check it
#
# Guidance and filters use the transpose as well as `H` itself, and a wrong one
# shows in no error message. The test is a dot product, `<H x, y> = <x, H^T y>`
# for any `x` and `y`.

# %%
from my_thickness import build

from slams.fields import FieldSpec
from slams.grid import LatLonGrid
from slams.observations.instruments import OperatorRequest

grid = LatLonGrid(torch.linspace(85, -85, 18), torch.arange(0, 360, 10.0))
channels = tuple(
    FieldSpec.parse(f"temperature@{level}") for level in (850, 500)
)
positions = (
    torch.tensor([48.2, -33.9, 71.3]),
    torch.tensor([16.4, 151.2, 203.2]),
)
request = OperatorRequest(
    grid,
    channels,
    {"bottom": 850, "top": 500},
    "example",
    *positions,
    elevation=torch.full((3,), torch.nan),
)
thickness = build(request)
state = torch.randn(2, 18, 36, dtype=torch.float64)
values = torch.randn(3, dtype=torch.float64)
torch.testing.assert_close(
    (thickness.linear(state) * values).sum(),
    (state * thickness.adjoint(values)).sum(),
)
# An atmosphere of 260 K: R_d / g 260 ln(850 / 500) = 4038 m.
print(thickness(torch.full((2, 18, 36), 260.0)))

# %% [markdown]
# ## A method: successive corrections
#
# Before covariances were affordable, analyses were made by *successive
# corrections* (Cressman 1959, Monthly Weather Review 87, 367-374): each grid
# point is corrected by the mean of the innovations around it, weighted by
# distance,
#
#     x_a = x_b + sum_p w_p (y_p - H x_b) / sum_p w_p,
#     w_p = (R^2 - d_p^2) / (R^2 + d_p^2)   for d_p < R,
#
# with shrinking radii `R`. It knows no correlation between variables: a
# channel is corrected only by observations of itself. It is a fair classic to
# compare with.
#
# `CaseByCase` calls `analyse_case` for one case at a time, with everything in
# normalised units, and holds the archive, the days of the training period with
# their backgrounds. It expects members `(M, T, C, H, W)`. The uncertainty is
# that of an *ensemble of analyses*: each member starts from the background
# plus the error of the background on a past day, and is given observations
# with an error of their own.

# %%
method = '''
"""Successive corrections (Cressman 1959), as an ensemble of analyses."""

import torch

from slams.assimilators.case_by_case import CaseAnalysis, CaseByCase, centre
from slams.observations.operator import PointOperator
from slams.plugins import MethodSpec


class SuccessiveCorrections(CaseByCase):
    name = "successive_corrections"

    def __init__(self, normaliser, grid, seed, radii):
        super().__init__(normaliser, grid, seed)
        self.radii = radii  # km, largest first

    def analyse_case(self, batch, members):
        draw = torch.Generator().manual_seed(
            1000 * self.seed + int(batch.case[0])
        )
        # (N, T, C, H, W); below, states have (M, T, C, H, W).
        errors = self.archive.background - self.archive.fields
        chosen = torch.randint(len(errors), (members,), generator=draw)
        mean = self.background_of(batch).mean
        prior = mean + centre(errors[chosen])
        state = self.normaliser.denormalise(prior, batch.climatology)
        for observations in batch.observations:
            # What sees several channels cannot be given back to one.
            if not isinstance(observations.operator, PointOperator):
                continue
            shape = members, *observations.values.shape[1:]
            noise = torch.randn(shape, generator=draw)
            noise = centre(noise * observations.error_variance.sqrt())
            for radius in self.radii:
                perturbed = observations.values + noise
                self.correct(state, observations, perturbed, radius)
        analysis = (state - batch.climatology) / self.normaliser.sd
        return CaseAnalysis(analysis, centred=True)

    def correct(self, state, observations, values, radius):
        operator, seen = observations.operator, observations.mask[0]  # (T, P)
        sites = operator.latitude, operator.longitude
        squared = self.grid.distance(*self.grid.points, *sites) ** 2
        weight = (radius**2 - squared) / (radius**2 + squared)
        weight = weight.clamp(min=0).to(state.dtype)
        for day in range(state.shape[1]):
            active = weight[:, seen[day]]  # (H*W, active points)
            innovation = (values - operator(state))[:, day, seen[day]]
            correction = innovation @ active.T
            correction /= active.sum(dim=1).clamp(min=1e-6)
            plane = state[:, day, operator.channel]
            plane += correction.reshape(plane.shape)


def build(materials):
    settings = materials.settings_of("successive_corrections")
    common = materials.normaliser, materials.grid, materials.seed
    return SuccessiveCorrections(*common, **settings)


SuccessiveCorrections.spec = MethodSpec(
    "successive_corrections", "successive corrections", build
)
'''
Path("my_corrections.py").write_text(method.lstrip())

# %% [markdown]
# ## Use both in a recipe
#
# An instrument names its operator and the options; a method is named in
# `assimilation.methods`, its settings under `assimilation.options`. Here 80
# sites measure the thickness between 850 and 500 hPa to 10 m, and 300 stations
# measure 2 m temperature. The observations are drawn from the truth, a day of
# the sample.

# %%
recipe = """
experiment: thickness
data:
  store: stores/thickness.zarr
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
  use: [stations, sounder]
  stations: {count: 300, variables: [{channel: 2m_temperature, error: 1.0}]}
  instruments:
    - name: sounder
      operator: my_thickness:Thickness
      options: {bottom: 850, top: 500}
      error: 10.0
      count: 80

assimilation:
  methods:
    - background
    - my_corrections:SuccessiveCorrections
    - optimal_interpolation
  options:
    successive_corrections: {radii: [3000.0, 1500.0, 750.0]}
  members: 8
  keep_cases: 1

trainer: {accelerator: cpu}
"""
Path("thickness.yaml").write_text(recipe)
slams("prepare thickness.yaml")
slams("assimilate thickness.yaml")

# %% [markdown]
# The new method is in every table and figure of the report, under its own
# label and colour, and the instrument among the observations.

# %%
results = pd.read_parquet("runs/thickness/assimilation/results.parquet")
rmse = results[results["metric"] == "rmse"]
rmse.assign(channel=rmse["variable"] + " " + rmse["level"]).pivot_table(
    "value", "method", "channel"
).round(2)

# %% [markdown]
# Successive corrections use the stations near the ground and leave the levels
# above as the background had them: they know of no correlation with what is
# observed. Optimal interpolation draws on both instruments at every level. A
# second run without the sounder shows what the thickness is worth to it.

# %%
without = "observations.use=[stations] assimilation.setting=stations"
slams(f"assimilate thickness.yaml {without}")
stations = pd.read_parquet(
    "runs/thickness/assimilation-stations/results.parquet"
)
both = pd.concat([results, stations])
chosen = both[
    (both["metric"] == "rmse") & (both["method"] == "optimal_interpolation")
]
chosen.pivot_table("value", ["variable", "level"], "setting").round(2)
