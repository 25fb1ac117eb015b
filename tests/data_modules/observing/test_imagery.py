"""Imagery on a real orbit: the same passes drawn, streamed and composited, as in old recipes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from data_modules.observing.observers import SatelliteObserver
from data_modules.store.identity import observation_recipe
from slams.config import checks
from slams.config.schema import OrbitConfig
from slams.errors import UserError
from slams.observations.satellite import swath_mask
from slams.stages.data import multimodal
from slams.stages.sources import prepare
from tests.synthetic import tiny_recipe

OLR = "satellite/outgoing_longwave_radiation"


def with_satellite(config, source="truth", **changes):
    satellite = replace(config.observations.satellite, **changes)
    observations = replace(
        config.observations, use=["satellite"], source=source, satellite=satellite
    )
    return replace(config, observations=observations)


def first_batch(config):
    module = multimodal(config)
    return module, module.on_after_batch_transfer(next(iter(module.test_dataloader())))


def test_the_mask_is_that_of_the_passes(tiny_config):
    config = with_satellite(tiny_config, geometry="orbit", orbit=OrbitConfig(swath_km=1000.0))
    checks.check(config)
    module, batch = first_batch(config)
    (observed,) = batch.observations
    orbit = module.satellite.observer.orbit
    operator = observed.operator
    for case in range(2):
        day = float(batch.time[case, 0])
        seen = orbit.passes(operator.latitude, operator.longitude, day).seen.any(dim=0)
        # The gross-error check may take some more.
        assert bool((observed.mask[case, 0] <= seen).all())
        assert int((seen & ~observed.mask[case, 0]).sum()) < 3
        assert 0.3 < float(seen.double().mean()) < 0.95
    assert not torch.equal(observed.mask[0], observed.mask[1])


def test_a_mean_of_passes_has_less_error(tiny_config):
    latest = first_batch(with_satellite(tiny_config, geometry="orbit"))
    module, batch = first_batch(with_satellite(tiny_config, geometry="orbit", composite="mean"))
    (mean,), (last,) = batch.observations, latest[1].observations
    number = module.satellite.observer.passes(batch.time)
    assert float(number.max()) > 5
    seen = number > 0
    expected = (16.0 / number.clamp(min=1)).to(mean.error_variance)
    torch.testing.assert_close(mean.error_variance[seen], expected[seen])
    torch.testing.assert_close(last.error_variance, torch.full_like(last.error_variance, 16.0))
    # The same noise, scaled: observed minus true shrinks with the root of the number.
    state = module.normaliser.denormalise(batch.fields, batch.climatology)
    truth = mean.operator(state)
    both = mean.mask & last.mask
    torch.testing.assert_close(
        (mean.values - truth)[both] * number.sqrt()[both].float(),
        (last.values - truth)[both],
        atol=2e-3,
        rtol=0,
    )


def test_imagery_streamed_from_the_store_is_that_drawn(tmp_path, tiny_source):
    config = with_satellite(
        tiny_recipe(tmp_path, tiny_source),
        source="store",
        geometry="orbit",
        composite="mean",
        footprint_km=2000.0,
    )
    prepare(config)
    (streamed,) = first_batch(config)[1].observations
    (drawn,) = first_batch(with_satellite(config))[1].observations
    assert torch.equal(streamed.mask, drawn.mask)
    torch.testing.assert_close(streamed.values[streamed.mask], drawn.values[drawn.mask])
    torch.testing.assert_close(
        streamed.error_variance[streamed.mask], drawn.error_variance[drawn.mask]
    )
    other = with_satellite(config, source="store", orbit=OrbitConfig(swath_km=900.0))
    with pytest.raises(UserError, match=r"orbit\.swath_km: 2330\.0 in the store, 900\.0"):
        multimodal(other)


def test_slanted_bands_are_as_they_were(tiny_config):
    config = with_satellite(tiny_config)
    module = multimodal(config)
    observer = SatelliteObserver(
        config.observations.satellite, config.seed, module.channels, module.grid
    )
    operator = observer.operators[OLR]
    time = torch.tensor([[11_400.0, 11_401.0]], dtype=torch.float64)
    expected = swath_mask(operator.latitude, operator.longitude, time, 0.5)
    assert torch.equal(observer.passes(time) > 0, expected)
    assert observation_recipe(config.observations, config.seed)["satellite"] == {
        "channel": "outgoing_longwave_radiation",
        "footprint": 2,
        "coverage": 0.5,
        "error": 4.0,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"geometry": "polar"}, r"satellite\.geometry"),
        ({"composite": "median"}, r"satellite\.composite"),
        ({"footprint_km": -1.0}, r"footprint_km.*0 or more"),
        ({"orbit": OrbitConfig(swath_km=0.0)}, r"swath_km.*more than 0"),
        ({"orbit": OrbitConfig(crossing_time=24.0)}, r"crossing_time.*\[0, 24\)"),
        ({"orbit": OrbitConfig(inclination=-98.0)}, r"inclination.*\[0, 180\)"),
        ({"geometry": "orbit", "orbit": OrbitConfig(1, 40)}, r"satellite\.orbit: orbit of 40"),
        ({"geometry": "orbit", "orbit": OrbitConfig(1, 5)}, r"too high to be sun-synchronous"),
    ],
)
def test_faults_are_refused(tiny_config, changes, message):
    config = with_satellite(tiny_config, **changes)

    def use() -> None:
        checks.check(config)
        multimodal(config)

    with pytest.raises(UserError, match=message):
        use()
