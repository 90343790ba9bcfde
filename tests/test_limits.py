"""Memory caps that the kernel enforces, on this machine and on made-up ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from attempt_worlds import SOON_S, a_command, a_training, cgroups_of, python

from jetsched.profiler import limits
from jetsched.profiler.limits import Limits, make_cap, read_counters, remove_stale
from jetsched.profiler.runner import Run

#: Takes memory in pieces of 10 MiB, and touches it.
GREEDY = """
    kept = []
    for _ in range(300):
        kept.append(bytearray(10 << 20))
        kept[-1][::4096] = b"x" * len(kept[-1][::4096])
"""


def a_machine(root: Path, own: str, mounts: str) -> Path:
    """A root folder whose /proc says which cgroups there are."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own)
    (root / "proc/self/mounts").write_text(mounts)
    return root


def can_make_cgroups() -> bool:
    cap = make_cap(64)
    if cap.group:
        os.rmdir(cap.group)
    return cap.group is not None


needs_cgroups = pytest.mark.skipif(not can_make_cgroups(), reason="no cgroup can be made here")


@needs_cgroups
def test_a_cgroup_really_kills_what_takes_too_much(tmp_path: Path) -> None:
    order = a_command(tmp_path, python(GREEDY), limits=Limits(memory_mib=120))
    measurement = Run.start(order).wait(SOON_S)
    assert measurement.outcome == "killed_memory"
    assert any("oom_kill +1" in line for line in measurement.evidence)
    assert "at its cap of 120 MiB" in measurement.text
    assert measurement.identity["run"]["cap"] in ("cgroup-v1", "cgroup-v2")
    assert measurement.peak_memory_mib is not None
    assert 90 < measurement.peak_memory_mib < 160
    assert cgroups_of(os.getpid()) == []


@needs_cgroups
def test_a_killed_helper_process_is_a_memory_kill_too(tmp_path: Path) -> None:
    """The shell lives on and ends with another exit code; the cgroup's counter tells."""
    run = python(GREEDY).replace("exec ", "", 1) + "; exit 1"
    measurement = Run.start(a_command(tmp_path, run, limits=Limits(memory_mib=120))).wait(SOON_S)
    assert measurement.outcome == "killed_memory"


@needs_cgroups
def test_what_stays_under_the_cap_lives(tmp_path: Path) -> None:
    order = a_command(tmp_path, python("x = bytearray(40 << 20)"), limits=Limits(memory_mib=120))
    assert Run.start(order).wait(SOON_S).outcome == "done"


def test_rlimit_as_kills_where_no_cgroup_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its face is Python's MemoryError."""
    monkeypatch.setattr(limits, "_parents", lambda root: iter(()))
    child = GREEDY.replace("\n    ", "\n")
    order = a_training(tmp_path, child, limits=Limits(memory_mib=100))
    measurement = Run.start(order).wait(SOON_S)
    assert measurement.outcome == "killed_memory"
    assert measurement.identity["run"]["cap"] == "rlimit-as"
    assert "MemoryError" in measurement.text


def test_without_a_cap_nothing_is_limited(tmp_path: Path) -> None:
    measurement = Run.start(a_command(tmp_path, "ulimit -v")).wait(SOON_S)
    assert measurement.outcome == "done"
    assert measurement.identity["run"]["cap"] == "none"
    assert (tmp_path / "attempt/log.txt").read_text() == "unlimited\n"


def test_version_2_is_preferred_and_forbids_swap(tmp_path: Path) -> None:
    """Below the first cgroup upward whose children have the memory controller."""
    root = a_machine(
        tmp_path,
        "0::/user.slice/app.scope\n",
        "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n",
    )
    user = root / "sys/fs/cgroup/user.slice"
    (user / "app.scope").mkdir(parents=True)
    made: list[Path] = []
    plain_mkdir = Path.mkdir

    def kernel_mkdir(path: Path) -> None:
        """A new cgroup has the files of the controllers that its parent hands down."""
        plain_mkdir(path)
        if path.parent == user:
            made.append(path)
            for name in ("memory.max", "memory.swap.max", "memory.oom.group"):
                (path / name).write_text("max")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "mkdir", kernel_mkdir)
        cap = make_cap(100, root=root)
    assert cap.kind == "cgroup-v2"
    assert made == [Path(cap.group or "")]
    assert (made[0] / "memory.max").read_text() == str(100 * 1024 * 1024)
    assert (made[0] / "memory.swap.max").read_text() == "0"
    assert list((user / "app.scope").iterdir()) == []


def test_a_machine_without_cgroups_gets_rlimit_as(tmp_path: Path) -> None:
    cap = make_cap(1000, root=a_machine(tmp_path, "", ""))
    assert cap.kind == "rlimit-as"
    assert cap.address_space == (1000 + limits.UNTOUCHED_MIB) * 1024 * 1024
    assert make_cap(None, root=tmp_path).kind == "none"


@needs_cgroups
def test_only_empty_cgroups_of_dead_makers_are_swept_up(tmp_path: Path) -> None:
    """Not those of the living, and nothing that is not named as ours are."""
    code = "from jetsched.profiler.limits import make_cap; print(make_cap(64).group)"
    left = subprocess.check_output([sys.executable, "-c", code], text=True).strip()
    alive = make_cap(64)
    assert alive.group is not None
    foreign = Path(alive.group).with_name(limits.PREFIX + "of-somebody-else")
    foreign.mkdir()
    try:
        removed = remove_stale()
        assert left in removed
        assert alive.group not in removed
        assert foreign.exists()
    finally:
        os.rmdir(alive.group)
        foreign.rmdir()


def test_counters_of_both_versions_are_read() -> None:
    two = read_counters(
        "cgroup-v2",
        {
            "memory.events": "low 0\nhigh 0\nmax 31\noom 2\noom_kill 1\noom_group_kill 0\n",
            "memory.peak": f"{300 << 20}\n",
            "memory.stat": f"anon 1000\nfile {20 << 20}\nfile_mapped 5\n",
        },
    )
    assert (two.oom_kills, two.refusals, two.max_usage_mib, two.page_cache_mib) == (1, 31, 300, 20)
    one = read_counters(
        "cgroup-v1",
        {
            "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            "memory.failcnt": "0\n",
            "memory.memsw.failcnt": "7\n",
            "memory.max_usage_in_bytes": f"{300 << 20}\n",
            "memory.stat": f"cache 1\ntotal_cache {20 << 20}\n",
        },
    )
    assert (one.oom_kills, one.refusals, one.max_usage_mib, one.page_cache_mib) == (2, 7, 300, 20)
    assert read_counters("none", {}).oom_kills is None
