from __future__ import annotations

import dataclasses
from types import SimpleNamespace

from slams.config.schema import AssimilationConfig
from slams.report.settings import settings


def table(methods: list[str]) -> str:
    config = {"assimilation": dataclasses.asdict(AssimilationConfig(methods=methods))}
    config["assimilation"]["letkf"] |= {"ensemble": 77, "rtps": 0.45}
    config["assimilation"]["three_d_var"]["outer_loops"] = 9
    return settings(SimpleNamespace(config=config, record={}), ["default"]).tables[0]


def test_classical_methods_that_take_part_show_their_settings() -> None:
    shown = table(["3dvar", "letkf"])
    assert "77 members" in shown
    assert "relaxation to prior spread 0.45" in shown
    assert "at most 9 linearisations" in shown
    assert "EnKF" not in shown


def test_methods_that_take_no_part_show_none() -> None:
    shown = table(["optimal_interpolation"])
    assert not any(label in shown for label in ("3D-Var", "EnKF", "LETKF"))


def test_splits_are_shown_with_all_their_pieces_and_what_is_reserved() -> None:
    first, second = ["1980-01-01", "1981-12-31"], ["1990-01-01", "1990-12-31"]
    splits = {"train": [*first, *second], "test": ["1995-01-01", "1996-12-31"], "reserved": []}
    record = {"reserved_days": ["1996-01-01", "1996-12-31"], "test_days": "reserved, final"}
    run = SimpleNamespace(config={"data": {"splits": splits}}, record=record)
    shown = settings(run, ["default"]).tables[0]
    for text in (
        "1980-01-01 to 1981-12-31, 1990-01-01 to 1990-12-31",
        "1995-01-01 to 1996-12-31",
        "1996-01-01 to 1996-12-31",  # reserved by the store alone
        "reserved, final",
    ):
        assert f">{text}<" in shown
    older = SimpleNamespace(config=run.config, record={})
    assert "reserved" not in settings(older, ["default"]).tables[0]
