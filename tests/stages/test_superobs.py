"""An assimilation of a dense network: what is printed, what methods are given and scored by."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from slams.assimilators.optimal_interpolation import OptimalInterpolation
from slams.config.schema import Config
from slams.fields import Batch
from slams.stages import assimilation
from slams.stages.assimilation import assimilate


@pytest.mark.parametrize("cycle_days", [0, 2])
def test_a_dense_network_in_an_assimilation(
    tiny_config: Config,
    cycle_days: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stations = replace(tiny_config.observations.stations, count=300, missing=0.1)
    config = replace(
        tiny_config,
        data=replace(tiny_config.data, test_cases=2, batch_size=1),
        background=replace(tiny_config.background, lag=1),
        observations=replace(tiny_config.observations, use=["stations"], stations=stations),
        assimilation=replace(
            tiny_config.assimilation,
            methods=["background", "optimal_interpolation"],
            members=3,
            cycle_days=cycle_days,
            modality_study=0,
            bootstrap_samples=20,
        ),
        tracking=replace(tiny_config.tracking, enabled=False),
    )
    given: list[int] = []
    analyse = OptimalInterpolation.analyse

    def watched(method: OptimalInterpolation, batch: Batch, members: int) -> object:
        (observations,) = batch.observations
        given.append(int(observations.mask.sum()))
        assert observations.count is not None
        assert len(observations.operator) < 288
        return analyse(method, batch, members)

    monkeypatch.setattr(OptimalInterpolation, "analyse", watched)
    monkeypatch.setattr(assimilation, "keep_model", lambda config, path: None)
    path = assimilate(config, report_after=False)
    assert "stations/temperature@850: 300 points, averaged in " in capsys.readouterr().out
    table = pd.read_parquet(path / "observations.parquet")
    own = table[table["method"] == "optimal_interpolation"]
    assert own["n"].max() == sum(given) > 100
