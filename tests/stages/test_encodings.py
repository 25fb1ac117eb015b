"""What the encoding of windows says while it runs."""

from __future__ import annotations

import torch

from slams.assimilators.base import Archive
from slams.stages import encodings


class Notes:
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, doing: str) -> None:
        self.said.append(doing)


def piece(days: int) -> Archive:
    fields = torch.zeros(days, 1, 1, 2, 2)
    return Archive(fields, fields, torch.zeros(days, 1))


def test_progress_names_the_split_and_the_window_and_passes_pieces_on() -> None:
    given = {"train": [piece(3), piece(2)], "validation": [piece(4)]}
    notes = Notes()
    splits = encodings._noted(((k, iter(v)) for k, v in given.items()), "encoding", notes)
    assert {name: list(pieces) for name, pieces in splits} == given
    assert notes.said == [
        "encoding train, window 0",
        "encoding train, window 3",
        "encoding validation, window 0",
    ]
