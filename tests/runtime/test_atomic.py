"""A store whose writing has failed is gone, whatever of it was still being written."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from zarr.core.sync import sync

from slams.runtime.atomic import remove_store, replacing_store


def test_a_store_does_not_come_back_after_it_was_removed(tmp_path: Path) -> None:
    """One file fails while another one, in a thread of Zarr's, waits to be written."""
    store, failed, late = tmp_path / "part.zarr", threading.Event(), threading.Event()
    store.mkdir()

    def write_late() -> None:
        failed.wait(30)
        late.wait(0.3)
        (store / "group").mkdir(parents=True)
        late.set()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise OSError("no space")

    async def write() -> None:
        await asyncio.gather(asyncio.to_thread(write_late), fail())

    with pytest.raises(OSError, match="no space"):
        sync(write())
    failed.set()
    remove_store(store)
    assert late.wait(30)
    assert not store.exists()


def test_a_store_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    remove_store(tmp_path / "none.zarr")
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_replaced_in_one_piece_and_leaves_nothing_of_an_attempt(tmp_path: Path) -> None:
    store, left = tmp_path / "maps.zarr", tmp_path / ".maps.tmp.zarr"
    left.mkdir()
    (left / "zarr.1.partial").touch()  # of a process that was killed
    for content in ("old", "new"):
        with replacing_store(store) as part:
            part.mkdir()
            (part / "zarr.json").write_text(content)

    def fail() -> None:
        with replacing_store(store) as part:
            part.mkdir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["maps.zarr"]
    assert [path.read_text() for path in store.iterdir()] == ["new"]


def test_a_store_behind_a_link_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "old").write_text("")
    for name, target in (("link", "store"), ("dangling", "other")):
        (tmp_path / name).symlink_to(target)
        with replacing_store(tmp_path / name) as part:
            part.mkdir()
            (part / "new").write_text("")
        assert (tmp_path / name).is_symlink()
        assert [p.name for p in (tmp_path / target).iterdir()] == ["new"]
    assert {p.name for p in tmp_path.iterdir()} == {"store", "other", "link", "dangling"}
