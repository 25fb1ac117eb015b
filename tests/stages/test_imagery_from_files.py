"""Files of imagery and reports give the scores of drawn observations with the same errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_modules.store.training_store import TrainingStore
from slams.config import checks
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
from tests.stages.image_study import from_files, images_of, study, table_of

# Errors are other draws than those of the drawn observations, on 20 days. Three seeds of drawn
# observations differed by up to 1.1 % in rmse (temperature), .4 % (OLR), .2 % (2 m temperature);
# files lay within .4 % of one of them. Without the imagery OLR is more than a third worse.
_SAMPLING = 0.02

LAYOUTS = {
    "noaa": (write_noaa, NOAA_LATITUDE, NOAA_LONGITUDE),
    "ceres": (write_ceres, CERES_LATITUDE, CERES_LONGITUDE),
}


def rmse(config: Config) -> pd.Series:
    results = pd.read_parquet(assimilate(config, report_after=False) / "results.parquet")
    results = results[(results["metric"] == "rmse") & (results["level"] != "mean")]
    return results.set_index("variable")["value"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> tuple[Config, pd.Series]:
    config = study(tmp_path_factory.mktemp("drawn"))
    prepare(config)
    return config, rmse(config)


@pytest.mark.parametrize("layout", ["noaa", pytest.param("ceres", marks=pytest.mark.slow)])
def test_scores_are_those_of_drawn_observations(tmp_path: Path, drawn, layout: str) -> None:
    config, expected = drawn
    store = TrainingStore.open(config.data.store)
    write, latitude, longitude = LAYOUTS[layout]
    times, values, error = images_of(store, latitude, longitude, seed=7)
    assert 0.4 < np.isnan(values).mean() < 0.6
    image = write(tmp_path / "olr.day.mean.nc", times, values)
    table = tmp_path / "reports.parquet"
    table_of(store, seed=5).to_parquet(table)
    own = from_files(config, tmp_path / layout, image, error, table)
    checks.check(own)
    prepare(own)
    found = rmse(own)
    np.testing.assert_allclose(found[expected.index], expected, rtol=_SAMPLING)


def test_imagery_matters(drawn) -> None:
    """Without it, scores are not those: the tolerance is a statement."""
    config, expected = drawn
    config.observations.use, config.experiment = ["stations"], "stations"
    try:
        without = rmse(config)
    finally:
        config.observations.use, config.experiment = ["stations", "satellite"], "images_0"
    assert without["outgoing_longwave_radiation"] > 1.2 * expected["outgoing_longwave_radiation"]
