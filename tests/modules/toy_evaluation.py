"""An evaluation of seven small cases, run by tests in one process and, as a script, in two.

python toy_evaluation.py OUTPUT DEVICES BATCH_SIZE CASES [padded]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from slams.config.schema import AssimilationConfig, TrainerConfig
from slams.fields import Background, Batch, Ensemble, FieldSpec, Observations
from slams.grid import LatLonGrid
from slams.modules.evaluator import AssimilationEvaluator
from slams.modules.trainer import EVALUATION_PRECISION, make_trainer
from slams.normalisation import Normaliser
from slams.runtime.seeds import generator, member_noise

CHANNELS = tuple(
    FieldSpec.parse(name)
    for name in (
        "temperature@500",
        "temperature@850",
        "2m_temperature",
        "total_precipitation_24hr",
    )
)
GRID = LatLonGrid(torch.linspace(75, -75, 6), torch.arange(0.0, 360.0, 45.0))
SHAPE = (len(CHANNELS), *GRID.shape)
MEMBERS = 5


def normaliser():
    harmonics = torch.zeros(1, *SHAPE)
    harmonics[0, :3] = 280.0
    sd = torch.full(SHAPE, 3.0)
    sd[3] = 0.7
    return Normaliser(CHANNELS, harmonics, sd)


class FirstPoints:
    """Observes the first points of one channel, shifted by a constant."""

    units = "K"

    def __init__(self, channel, count, offset=0.0):
        self.channel, self.count, self.offset = channel, count, offset
        self.latitude, self.longitude = GRID.points[0][:count], GRID.points[1][:count]

    def __call__(self, state):
        return self.linear(state) + self.offset

    def linear(self, state):
        return state[..., self.channel, :, :].flatten(-2)[..., : self.count]


class Cases(Dataset):
    """Makes each case from its number alone; 2 m temperature is missing in all of them."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, case):
        truth = torch.randn(1, 1, *SHAPE, generator=generator(0, "toy", case))
        mask = torch.ones_like(truth, dtype=torch.bool)
        mask[:, :, 2] = False
        mask[:, :, 0, :, : case % 3] = False
        normal = normaliser()
        time = torch.tensor([[3650.0 + 2 * case]], dtype=torch.float64)
        climatology = normal.climatology(time)
        noise = torch.randn(truth.shape, generator=generator(0, "background", case))
        state = normal.denormalise(truth, climatology)
        observations = []
        for channel, name, count in (
            (1, "stations/2m", 9),
            (3, "stations/rain", 4),
            (1, "stations/later", 7),
        ):
            operator = FirstPoints(channel, count, offset=0.5)
            error = torch.randn(1, 1, count, generator=generator(0, name, case))
            seen = torch.ones(1, 1, count, dtype=torch.bool)
            seen[..., case % 4] = False
            observations.append(
                Observations(
                    name=name,
                    operator=operator,
                    values=(operator(state) + error).masked_fill(~seen, torch.nan),
                    mask=seen,
                    error_variance=torch.ones(1, 1, count),
                )
            )
        return Batch(
            fields=truth.masked_fill(~mask, 0.0),
            mask=mask,
            time=time,
            case=torch.tensor([case]),
            climatology=climatology,
            background=Background(truth + noise, torch.ones_like(truth)),
            observations=tuple(observations[:2]),
            held_out=tuple(observations[2:]),
        )


def collate(items):
    def cat(*path):
        def take(item):
            for name in path:
                item = item[name] if isinstance(name, int) else getattr(item, name)
            return item

        return torch.cat([take(item) for item in items])

    observations, held_out = (
        tuple(
            Observations(
                name=first.name,
                operator=first.operator,
                values=cat(group, i, "values"),
                mask=cat(group, i, "mask"),
                error_variance=cat(group, i, "error_variance"),
            )
            for i, first in enumerate(getattr(items[0], group))
        )
        for group in ("observations", "held_out")
    )
    return Batch(
        fields=cat("fields"),
        mask=cat("mask"),
        time=cat("time"),
        case=cat("case"),
        climatology=cat("climatology"),
        background=Background(cat("background", "mean"), cat("background", "variance")),
        observations=observations,
        held_out=held_out,
    )


class Noisy:
    """Gives a state of the batch plus an error and perturbations, all keyed by the case."""

    def __init__(self, name, error):
        self.name, self.error, self.normal = name, error, normaliser()

    def analyse(self, batch, members):
        assert batch.held_out == ()
        state = batch.fields if self.name != "background" else batch.background.mean
        noise = torch.stack(
            [
                member_noise((1, *SHAPE), 0, self.name, int(case), range(members + 1))
                for case in batch.case
            ]
        )
        members_ = state.unsqueeze(1) + self.error * (noise[:, 1:] + noise[:, :1])
        physical = self.normal.to_physical(self.normal.denormalise(members_, batch.climatology))
        return Ensemble(
            method=self.name,
            members=physical,
            time=batch.time,
            channels=CHANNELS,
            grid=GRID,
            diverged=(batch.case == 3).long(),
            seconds=2.0 * len(batch),
        )


class Shard:
    """Every world-th case from the rank's own on, unpadded."""

    def __init__(self, count, rank, world):
        self.positions = range(rank, count, world)

    def __iter__(self):
        return iter(self.positions)

    def __len__(self):
        return len(self.positions)


def evaluator(analysed=(), keep=3):
    config = AssimilationConfig(
        setting="toy", members=MEMBERS, bootstrap_block=2, bootstrap_samples=50, keep_cases=keep
    )
    methods = [Noisy("background", 1.0), Noisy("analysis", 0.4)]
    return AssimilationEvaluator(
        methods, config, normaliser(), GRID, CHANNELS, seed=1, analysed=analysed
    )


def evaluate(
    directory, devices=1, batch_size=1, cases=7, padded=False, callbacks=(), analysed=(), keep=3
):
    """Run the evaluation and return the evaluator."""
    module = evaluator(analysed, keep)
    module.keep_in = Path(directory) / "progress/cases"
    config = TrainerConfig(accelerator="cpu", devices=devices, threads=1, log_every_seconds=1e9)
    trainer = make_trainer(
        config, run_dir=directory, precision=EVALUATION_PRECISION, callbacks=callbacks
    )
    dataset = Cases(cases)
    rank, world = trainer.global_rank, trainer.world_size
    sampler = Shard(cases, rank, world)
    if padded:
        sampler = DistributedSampler(dataset, world, rank, shuffle=False)
    loader = DataLoader(dataset, batch_size, sampler=sampler, collate_fn=collate)
    trainer.test(module, loader, verbose=False)
    return module


if __name__ == "__main__":
    output, devices, batch_size, cases = sys.argv[1], *map(int, sys.argv[2:5])
    Path(output).mkdir(exist_ok=True)
    evaluate(output, devices, batch_size, cases, padded="padded" in sys.argv).write(output)
