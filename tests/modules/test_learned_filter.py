"""The learned filter: its loss, what its streams carry, and that the truth is not an input."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from slams.config.schema import FilterConfig
from slams.fields import Batch, Observations
from slams.modules.learned_filter import LearnedFilter, _Streams
from slams.observations.satellite import SatelliteOperator
from tests.modules.test_vae import CHANNELS, GRID
from tests.nn.test_layers import randomise

SMALL = {"channels": [8], "blocks": 1, "embedding": 8, "hidden": 8, "batch_size": 2}
SEEN = 2


def module(seed: int | None = 0, **settings: object) -> LearnedFilter:
    config = FilterConfig(**{**SMALL, **settings})  # type: ignore[arg-type]
    shape = (len(CHANNELS), *GRID.shape)
    sd = 1 + torch.rand(shape, generator=torch.Generator().manual_seed(5))
    made = LearnedFilter(config, CHANNELS, GRID, sd, [SEEN])
    if seed is not None:
        randomise(made.network, seed)
    return made.eval()


def days(count: int = 5, first: float = 100.0, seed: int = 0, streams: int = 2) -> Batch:
    """Return windows of consecutive days with one channel observed."""
    draw = torch.Generator().manual_seed(seed)
    shape = (streams, count, len(CHANNELS), *GRID.shape)
    fields = torch.randn(shape, generator=draw)
    operator = SatelliteOperator(GRID, CHANNELS, CHANNELS[SEEN].name, 2)
    values = operator(fields)
    observed = Observations(
        f"satellite/{CHANNELS[SEEN].name}",
        operator,
        values,
        torch.ones_like(values, dtype=torch.bool),
        torch.full_like(values, 0.5),
    )
    return Batch(
        fields=fields,
        mask=torch.ones(shape, dtype=torch.bool),
        time=(first + torch.arange(count, dtype=torch.float64)).expand(streams, count),
        case=torch.zeros(streams, dtype=torch.int64),
        climatology=torch.zeros(shape),
        observations=(observed,),
    )


def part(batch: Batch, start: int, stop: int) -> Batch:
    """Return some days of a batch."""
    chosen = slice(start, stop)
    observations = tuple(
        replace(
            one,
            values=one.values[:, chosen],
            mask=one.mask[:, chosen],
            error_variance=one.error_variance[:, chosen],
        )
        for one in batch.observations
    )
    names = ("fields", "mask", "time", "climatology")
    changed = {name: getattr(batch, name)[:, chosen] for name in names}
    return replace(batch, observations=observations, **changed)


def test_the_loss_of_the_climatology_is_the_mean_of_the_squares_in_units_of_the_globe() -> None:
    """An untrained filter that starts from the climatology stays there."""
    made, batch = module(seed=None), days()
    area = (GRID.weights / GRID.weights.mean()).float()[:, None]
    square = (made.sd.square() * area).mean(dim=(1, 2), keepdim=True)
    weight = torch.tensor([3.0 if c.variable == "temperature" else 1.0 for c in CHANNELS])
    weight = (weight / weight.mean())[:, None, None]
    error = (batch.fields * made.sd).square() / square * area * weight
    expected = torch.stack([error[:, :-1].mean(), error[:, 1:].mean()])
    torch.testing.assert_close(made.batch_loss(batch), expected, rtol=1e-4, atol=1e-5)


def test_a_stream_goes_on_from_batch_to_batch() -> None:
    made, batch = module(), days()
    with torch.no_grad():
        whole, streams = _Streams(), _Streams()
        expected = made.loss(batch, whole)
        parts = [made.loss(part(batch, at, at + 3), streams) for at in (0, 2)]
    torch.testing.assert_close(sum(parts) / 2, expected)
    torch.testing.assert_close(streams.memory.forecast, whole.memory.forecast)


def test_a_stream_that_has_moved_starts_afresh() -> None:
    made, batch, other = module(), days(), days(first=300.0, seed=1)
    with torch.no_grad():
        streams = _Streams()
        made.loss(batch, streams)
        moved = made.loss(other, streams)
        torch.testing.assert_close(moved, made.batch_loss(other))
        # A stream that goes on keeps its memory beside one that has moved.
        mixed = replace(days(first=104.0, seed=1), time=other.time.clone())
        mixed.time[0] = 104.0 + torch.arange(5)
        made.loss(batch, streams)
        made.loss(mixed, streams)
    assert streams.memory.age.tolist() == [8.0, 4.0]


def test_saved_streams_go_on_as_if_they_had_not_been_interrupted() -> None:
    made, batch = module(), days()
    streams = _Streams()
    with torch.no_grad():
        made.loss(part(batch, 0, 3), streams)
        streams.outage = torch.tensor([2.0, 0.0])
        restored = _Streams.of({k: v.clone() for k, v in streams.state().items()})
        expected = made.loss(part(batch, 2, 5), streams)
        torch.testing.assert_close(made.loss(part(batch, 2, 5), restored), expected)
    assert restored.outage.tolist() == streams.outage.tolist() == [2.0, 0.0]


def test_the_truth_enters_the_loss_alone() -> None:
    made, batch = module(), days()
    changed = replace(batch, fields=torch.full_like(batch.fields, 3.0))
    one, two = _Streams(), _Streams()
    with torch.no_grad():
        assert not torch.allclose(made.loss(batch, one), made.loss(changed, two))
    assert torch.equal(one.memory.forecast, two.memory.forecast)


def test_hidden_observations_are_as_if_there_were_none() -> None:
    made, batch = module(), days()
    memory = made.network.start(2, torch.randn(2, len(CHANNELS), *GRID.shape))
    hidden = {"satellite": torch.tensor([True, False])}
    with torch.no_grad():
        _, some = made.step(memory, batch, 0, hidden)
        _, every = made.step(memory, batch, 0)
        nothing = made.without_observations(memory, batch.time[:, 0])
    torch.testing.assert_close(some.forecast[0], nothing.forecast[0])
    torch.testing.assert_close(some.forecast[1], every.forecast[1])
    assert not torch.allclose(every.forecast[0], nothing.forecast[0])


def test_what_is_not_known_of_the_truth_is_not_in_the_loss() -> None:
    made, batch = module(), days()
    known = batch.mask.clone()
    known[:, :, 0] = False
    one = made.batch_loss(replace(batch, mask=known))
    other = batch.fields.clone()
    other[:, :, 0] = 100.0
    torch.testing.assert_close(made.batch_loss(replace(batch, mask=known, fields=other)), one)


def test_outages_last_as_long_as_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    made, batch = module(outages=0.5, outage_days=3, observation_dropout=0.0), days()
    streams = _Streams()
    streams.enter(batch, made.network, 0.0)
    draws = iter([torch.tensor([0.1, 0.9]), *[torch.tensor([0.9, 0.9])] * 9])
    monkeypatch.setattr(torch, "rand", lambda count: next(draws))
    seen = [made._hide(batch, streams)["satellite"].tolist() for _ in range(5)]
    assert [first for first, _ in seen] == [True, True, True, False, False]
    assert not any(second for _, second in seen)
