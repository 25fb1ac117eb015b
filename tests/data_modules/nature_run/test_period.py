"""Time axes of nature runs."""

from __future__ import annotations

import numpy as np

from data_modules.nature_run.period import Period
from slams.config.schema import SimulateConfig


def test_months_of_days():
    period = Period.of(SimulateConfig(start="1984-02-01", months=13))
    assert (period.days, period.steps, period.hours) == (394, 394, 24)
    assert [str(t)[:10] for t in period.times[[0, 28, -1]]] == [
        "1984-02-01",
        "1984-02-29",
        "1985-02-28",
    ]
    assert period.lead_in == np.timedelta64(0, "h")


def test_instants_are_those_of_whole_days():
    settings = SimulateConfig(start="1984-02-01", months=1, sampling="instants")
    period = Period.of(settings)
    assert (period.days, period.steps) == (29, 116)
    assert [str(t)[:13] for t in period.times[[0, 1, -1]]] == [
        "1984-02-01T00",
        "1984-02-01T06",
        "1984-02-29T18",
    ]
    # The model outputs the ends of its intervals: the first one is midnight.
    assert period.lead_in == np.timedelta64(6, "h")
