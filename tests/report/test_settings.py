from __future__ import annotations

import dataclasses
from types import SimpleNamespace

from slams.config.schema import AssimilationConfig
from slams.report.settings import settings


def table(methods: list[str]) -> str:
    config = {"assimilation": dataclasses.asdict(AssimilationConfig(methods=methods))}
    config["assimilation"]["letkf"] |= {"ensemble": 77, "rtps": 0.45}
    config["assimilation"]["three_d_var"]["outer_loops"] = 9
    return settings(SimpleNamespace(config=config), ["default"]).tables[0]


def test_classical_methods_that_take_part_show_their_settings() -> None:
    shown = table(["3dvar", "letkf"])
    assert "77 members" in shown
    assert "relaxation to prior spread 0.45" in shown
    assert "at most 9 linearisations" in shown
    assert "EnKF" not in shown


def test_methods_that_take_no_part_show_none() -> None:
    shown = table(["optimal_interpolation"])
    assert not any(label in shown for label in ("3D-Var", "EnKF", "LETKF"))
