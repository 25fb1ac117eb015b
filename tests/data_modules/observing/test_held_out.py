"""Held-out stations verify and are never assimilated; the others do not depend on them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from data_modules.store.identity import observation_recipe
from slams.config.checks import check
from slams.errors import UserError
from slams.stages.data import multimodal


def holding(config, share, **changes):
    stations = replace(config.observations.stations, held_out=share)
    return replace(config, observations=replace(config.observations, stations=stations, **changes))


def first_batch(module):
    window = next(iter(module._dataloader_factory("test")))
    return module.on_after_batch_transfer(window, 0)


def test_stations_are_split_and_keep_their_values(tiny_config):
    whole = multimodal(tiny_config)
    module = multimodal(holding(tiny_config, 0.25))
    kept, held = module.network, module.held_out_network
    assert len(held) == round(0.25 * len(whole.network))
    assert sorted(kept.id + held.id) == sorted(whole.network.id)
    assert whole.held_out_network is None
    batch, everything = first_batch(module), first_batch(whole)
    assert everything.held_out == ()
    names = [o.name for o in batch.held_out]
    assert names == [o.name for o in everything.observations if o.modality == "stations"]
    by_name = {o.name: o for o in everything.observations}
    for group, network in ((batch.observations, kept), (batch.held_out, held)):
        index = torch.tensor([whole.network.id.index(i) for i in network.id])
        for o in group:
            if o.modality != "stations":
                continue
            full = by_name[o.name]
            # The gross-error check applies to what is assimilated; nothing is rejected here.
            torch.testing.assert_close(
                o.values, full.values[..., index], rtol=0, atol=0, equal_nan=True
            )
            assert torch.equal(o.error_variance, full.error_variance[..., index])
            state = torch.randn(1, *whole.normaliser.sd.shape)
            torch.testing.assert_close(o.operator(state), full.operator(state)[..., index])
            assert o.values.shape[-1] == len(o.operator) == len(network)
    assert {len(h) for n, h in module.operators().items() if "stations" in n} == {len(kept)}


def test_another_seed_holds_out_others(tiny_config):
    config = holding(tiny_config, 0.25)
    same = [multimodal(config).held_out_network.id for _ in range(2)]
    assert same[0] == same[1]
    network = multimodal(tiny_config).network
    assert not torch.equal(network.split(0.25, 1)[1], network.split(0.25, 2)[1])


def test_a_share_of_no_station_is_refused(tiny_config):
    with pytest.raises(UserError, match=r"stations\.held_out.*at least one"):
        multimodal(holding(tiny_config, 1e-3))


def test_stations_in_a_store_serve_any_share(tiny_config):
    """Held-out stations are chosen on reading: they are not part of a store's recipe."""
    whole, part = tiny_config.observations, holding(tiny_config, 0.3).observations
    assert observation_recipe(part, 0) == observation_recipe(whole, 0)


def test_without_stations_nothing_is_held_out(tiny_config):
    module = multimodal(holding(tiny_config, 0.25, use=["satellite"]))
    assert module.held_out_network is None
    assert first_batch(module).held_out == ()


def test_a_share_outside_zero_to_one_is_refused(tiny_config):
    for share in (-0.1, 1.0):
        with pytest.raises(UserError, match=r"'observations\.stations\.held_out': found .* less"):
            check(holding(tiny_config, share))
