"""The archive marks missing values, and so do the training windows of the score."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data_modules.reanalysis import read_batches
from slams.config.loading import to_yaml
from slams.config.schema import Config
from slams.stages.data import multimodal
from slams.stages.sources import prepare
from tests.stages.commands import slams, study
from tests.synthetic import CHANNELS, gappy_recipe

OLR = CHANNELS.index("outgoing_longwave_radiation")


@pytest.fixture(scope="module")
def gappy(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Return a recipe whose OLR has a gap on days 10 to 12 and on day 75."""
    config = gappy_recipe(
        tmp_path_factory.mktemp("gaps"), (slice(10, 13), slice(0, 5)), (slice(75, 76), slice(None))
    )
    prepare(config)
    return config


def test_masks_of_the_archive_are_the_gaps_of_the_source(gappy: Config) -> None:
    archive = multimodal(gappy).archive()
    expected = torch.ones_like(archive.known)
    # The first window is day 2, whose background is day 0; the lag is two days.
    expected[8:11, :, OLR, :5] = False
    assert torch.equal(archive.known, expected)
    assert not archive.fields[~expected].any()
    expected = torch.ones_like(expected)
    expected[10:13, :, OLR, :5] = False
    assert torch.equal(archive.background_known, expected)


def test_batches_have_the_same_masks(gappy: Config) -> None:
    (batch,) = read_batches(multimodal(gappy), "validation")
    # Validation begins on day 72: day 75 has no OLR, and the background of day 77 neither.
    assert (~batch.mask).flatten(1).any(dim=1).nonzero().flatten().tolist() == [3]
    assert not batch.mask[3, :, OLR].any()
    missing = (~batch.background.known).flatten(1).any(dim=1)
    assert missing.nonzero().flatten().tolist() == [5]


def test_a_complete_archive_needs_no_masks(tiny_config: Config) -> None:
    archive = multimodal(tiny_config).archive()
    assert archive.known is None
    assert archive.background_known is None


def test_the_score_is_trained_on_latents_of_what_is_there(gappy: Config, tmp_path: Path) -> None:
    """A stage end to end on a store with gaps; its results are finite."""
    config = study(tmp_path, Path(gappy.data.source.path), store=gappy.data.store)
    config.data.source = gappy.data.source
    (tmp_path / "recipe.yaml").write_text(to_yaml(config))
    words = ("assimilation.modality_study=0", "data.test_cases=2", "assimilation.keep_cases=0")
    for verb in ("train vae", "train score", "assimilate"):
        assert slams(tmp_path / "recipe.yaml", verb, *words) == 0
