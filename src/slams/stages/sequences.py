"""DataModule of streams of days with their observations, for networks with a memory."""

from __future__ import annotations

from dataclasses import replace

from data_modules.multimodal import MultimodalDataModule
from data_modules.store.training_store import TrainingStore
from data_modules.stream.loader import StreamLoader, stream_loader
from data_modules.stream.samplers import StretchSampler
from slams.config.schema import BackgroundConfig, DataConfig, ObservationsConfig

__all__ = ["SequenceDataModule"]


class SequenceDataModule(MultimodalDataModule):
    """DataModule whose batches are the next days of several streams, observed in training too.

    A window has one day more than a step of its stream: the day that is forecast from the others.

    Args:
        data: The recipe's section `data`; its window is replaced.
        observations: The recipe's section `observations`.
        seed: The experiment's seed.
        step: Days from one batch of a stream to its next.
        stretch: Days after which a stream continues elsewhere.
        streams: Streams per process, the batch size.
        store: As for `ReanalysisDataModule`.

    Raises:
        UserError: As for `MultimodalDataModule`, or a period has not a stretch for each stream.
    """

    def __init__(
        self,
        data: DataConfig,
        observations: ObservationsConfig,
        seed: int,
        *,
        step: int,
        stretch: int,
        streams: int,
        store: TrainingStore | None = None,
    ) -> None:
        self.step, self.steps = step, max(stretch // step, 1)
        super().__init__(
            replace(data, window=step + 1, trajectory=0, test_cases=0),
            observations,
            BackgroundConfig(kind="climatology"),
            seed,
            store=store,
            batch_size=streams,
        )

    def _observing(self) -> bool:
        return True

    def _dataloader_factory(self, split: str) -> StreamLoader:
        dataset = self.dataset(split)
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        order = StretchSampler(
            self.store.time[dataset.cases],
            self.step,
            self.steps if split == "train" else None,
            self._batch_size,
            self.seed,
            rank,
            world,
        )
        return stream_loader(
            self,
            dataset,
            self._batch_size,
            workers=self.data.num_workers,
            ahead=self.data.ahead,
            order=order,
        )
