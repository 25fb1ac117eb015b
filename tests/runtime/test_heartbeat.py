"""A command that says nothing for a while says what it is doing."""

from __future__ import annotations

import time

import pytest

from slams.runtime.heartbeat import Heartbeat


def test_it_says_what_is_being_done(capsys: pytest.CaptureFixture[str]) -> None:
    said = ""
    with Heartbeat("assimilate", 0.01, "opens the store") as heartbeat:
        for doing in ("opens the store", "fits letkf"):
            heartbeat.note(doing)
            deadline = time.monotonic() + 30
            while f"assimilate: {doing}, 0 s\n" not in said and time.monotonic() < deadline:
                time.sleep(0.01)
                said += capsys.readouterr().err
            assert f"assimilate: {doing}, " in said
    heartbeat._thread.join()
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_not_before_its_time_and_not_on_other_ranks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Heartbeat("assimilate", 3600.0, "opens the store"):
        pass
    monkeypatch.setenv("LOCAL_RANK", "1")
    with Heartbeat("assimilate", 0.001, "opens the store"):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
