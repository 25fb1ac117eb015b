"""Images from files in the layouts of archives give the scores of images that are drawn.

The files are made of the same fields, with errors of the same size and cells of their own, and
stations are read from a table. The grid of the model is one that NOAA's cells fill without
crossing a border (of CERES's smaller ones few do): a cell across a border says less of either
side, and on 24 x 48 cells, of which five of nine cross one, scores of OLR were 4 % higher. What is
left is the draw of the errors, on 20 days: three seeds of drawn observations differed by up to
1.1 % in temperature, .4 % in OLR and .2 % in 2 m temperature, files from one of them by .4 %. A
unit, a sign or a day that is wrong changes scores by more, and a file that is not read leaves the
error of the background.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_modules.store.training_store import TrainingStore
from slams.config.schema import Config
from slams.stages.assimilation import assimilate
from slams.stages.sources import prepare
from tests.data_modules.image_layouts import (
    CERES_LATITUDE,
    CERES_LONGITUDE,
    NOAA_LATITUDE,
    NOAA_LONGITUDE,
    write_ceres,
    write_noaa,
)
from tests.stages.image_study import CHANNELS, OLR, WARM, from_files, images_of, study, table_of

pytestmark = pytest.mark.slow

_LAYOUTS = {
    "noaa": (write_noaa, NOAA_LATITUDE, NOAA_LONGITUDE),
    "ceres": (write_ceres, CERES_LATITUDE, CERES_LONGITUDE),
}


def scores(config: Config) -> pd.Series:
    """Return the rmse of the analyses by channel, over the cases."""
    prepare(config)
    run = assimilate(config, report_after=False)
    table = pd.read_parquet(run / "results.parquet").query("metric == 'rmse' and level != 'mean'")
    return table.set_index(["method", "variable"])["value"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, list[pd.Series]]:
    """Return the recipe, and its scores with two seeds of the observation errors."""
    found = []
    for seed in (1, 0):
        config = study(tmp_path_factory.mktemp("drawn"), seed)
        found.append(scores(config))
    return config, found


@pytest.mark.parametrize("layout", list(_LAYOUTS))
def test_files_give_the_scores_of_drawn_images(
    layout: str, drawn: tuple[Config, list[pd.Series]], tmp_path: Path
) -> None:
    config, (other, expected) = drawn
    store = TrainingStore.open(config.data.store, CHANNELS)
    write, latitude, longitude = _LAYOUTS[layout]
    times, values, error = images_of(store, latitude, longitude, seed=5)
    image = write(tmp_path / "olr.nc", times, values)
    table = tmp_path / "reports.csv"
    table_of(store, seed=6).to_csv(table, index=False)
    found = scores(from_files(config, tmp_path / "files", image, error, table))
    assert np.abs(other / expected - 1).max() < 0.02
    pd.testing.assert_series_equal(found["background"], expected["background"], rtol=1e-6)
    method = "optimal_interpolation"
    change = np.abs(found[method] / expected[method] - 1)
    assert change.max() < 0.015
    assert change[OLR] < 0.01
    assert found[method][OLR] < 0.6 * found["background"][OLR]
    assert found[method][WARM] < 0.7 * found["background"][WARM]
