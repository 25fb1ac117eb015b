"""Memory that control groups leave, of both versions, and the sentence of a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest

from slams.errors import UserError
from slams.runtime.memory import (
    HostMemory,
    available_memory,
    group_memory,
    resident_memory,
    return_freed_memory,
)


def test_limits_of_all_groups_above_count(tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("0::/job/step\n")
    for group, limit in (("job", "1000"), ("job/step", "max")):
        directory = tmp_path / group
        directory.mkdir()
        (directory / "memory.max").write_text(f"{limit}\n")
        (directory / "memory.current").write_text("700\n")
        (directory / "memory.stat").write_text("anon 500\ninactive_file 150\n")
    # A cache of files is dropped where memory is needed.
    assert group_memory(tmp_path, tmp_path / "membership") == [450]


def test_groups_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("5:cpu,cpuacct:/a\n4:memory:/slurm/job\n")
    directory = tmp_path / "memory" / "slurm" / "job"
    directory.mkdir(parents=True)
    for name, text in (
        ("limit_in_bytes", "1000"),
        ("usage_in_bytes", "400"),
        ("stat", "total_inactive_file 100"),
    ):
        (directory / f"memory.{name}").write_text(text)
    assert group_memory(tmp_path, tmp_path / "membership") == [700]


def test_no_groups_leave_what_the_machine_has(tmp_path: Path) -> None:
    assert group_memory(tmp_path, tmp_path / "missing") == []
    assert available_memory() > 0


def test_a_limit_of_the_address_space_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    import psutil

    taken = psutil.Process().memory_info().vms
    monkeypatch.setattr(resource, "getrlimit", lambda which: (taken + 10**6, -1))
    assert available_memory() <= 2 * 10**6


def test_the_largest_part_is_named_with_its_key() -> None:
    parts = {"program": 5 * 10**9, "archive": 3 * 10**9, "cache": 10**9}
    remedies = {"archive": "lower archive_days", "cache": "set data.cache=mmap"}
    HostMemory(parts, 9 * 10**9, "assimilate", remedies).check()
    scarce = HostMemory(parts, 8 * 10**9, "assimilate", remedies)
    with pytest.raises(UserError) as refused:
        scarce.check()
    assert str(refused.value) == (
        "assimilate needs about 9.00 GB of memory and 8.00 GB are available; archive takes "
        "3.00 GB: lower archive_days"
    )
    assert str(scarce).endswith("; too much: archive takes 3.00 GB: lower archive_days")


def test_freed_memory_is_returned_to_the_system() -> None:
    return_freed_memory()  # memory that other tests have freed would be used again
    before = resident_memory()
    held = [bytearray(50_000) for _ in range(4000)]  # too small to be returned one by one
    kept = held[::400]
    grown = resident_memory() - before
    assert grown > 150e6
    del held
    return_freed_memory()
    assert len(kept) == 10
    assert resident_memory() - before < 0.3 * grown
