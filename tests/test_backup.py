"""Backup and restore: everything comes back, nothing is lost, a crafted archive does nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from builders import a_job, a_kill, nx
from commands import Jetsched
from hypothesis import given, settings
from hypothesis import strategies as st
from live_world import LiveWorld, a_command
from past_worlds import write_journal

from jetsched.cluster import joining, keptfiles, scheduling, secretstore, shelf
from jetsched.cluster.backup import MANIFEST, NAMES, backup
from jetsched.cluster.headfile import HEAD_FILE, HeadFile, read_head_file, write_head_file
from jetsched.cluster.restoring import read_manifest, restore
from jetsched.cluster.state import alone
from jetsched.cluster.store import JOURNAL, VERSION, Store, journal_entries
from jetsched.cluster.tokens import TOKENS_FILE, Tokens
from jetsched.errors import InputError
from jetsched.files import to_json
from jetsched.profiler.calibrating import CalibrationStore
from jetsched.profiler.store import MeasurementStore
from jetsched.scheduler.events import CancelAsked, Learned


def a_home(folder: Path) -> Path:
    """A head with a history, what it has measured, tokens, secrets and what jobs left."""
    write_journal(folder, count=6)
    MeasurementStore(folder / MeasurementStore.name).append(a_kill(a_job(), nx()))
    write_head_file(folder, HeadFile(host="10.0.0.1", ray_port=6379, api_port=8640))
    Tokens(folder / TOKENS_FILE).new("boards", "node")
    for name, text in {
        "boards.json": "{}",
        "secrets/hf": "hf_abcdef",
        "files/ab/model.bin": "weights",
        "artefacts/1-1/adapter.safetensors": "adapter",
        "artefacts/1-1/big.part": "half of it",
        "checkpoints/1/step-10": "checkpoint",
        "logs/1-1.log": "it works\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def tree(home: Path) -> dict[str, bytes]:
    """Every file below a folder but SQLite's, whose bytes say nothing."""
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.name.startswith(JOURNAL)
    }


def entries(home: Path) -> list[Any]:
    return list(journal_entries(home / JOURNAL))


# ---------------------------------------------------------------------------------- there and back


def test_what_was_kept_comes_back_on_another_machine(tmp_path: Path) -> None:
    home = a_home(tmp_path / "old")
    kept = backup(tmp_path / "head.tar.gz", home=home, artefacts=True, secrets=True)
    found = restore(kept.path, home=tmp_path / "new" / "home")
    assert found.aside is None and found.files == len(kept.manifest.files)
    assert entries(found.home) == entries(home)
    wanted = {k: v for k, v in tree(home).items() if not k.endswith((".part", ".lock"))}
    assert tree(found.home) == wanted
    assert stat.S_IMODE((found.home / JOURNAL).stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o600
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["home"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["head.tar.gz", "new", "old"]


def test_nothing_that_opens_a_door_is_kept_unless_asked_for(tmp_path: Path) -> None:
    home = a_home(tmp_path / "old")
    kept = backup(tmp_path / "head.tar.gz", home=home)
    names = [file.path for file in kept.manifest.files]
    assert names == [
        JOURNAL,
        "measurements.jsonl",
        "head.json",
        "boards.json",
        "files/ab/model.bin",
    ]
    held = gzip.decompress(kept.path.read_bytes())
    token = read_head_file(home).ray_token.encode()
    assert token not in held and b"hf_abcdef" not in held
    found = restore(kept.path, home=tmp_path / "new")
    head, before = read_head_file(found.home), read_head_file(home)
    assert (head.cluster, head.api_port, head.host) == (before.cluster, 8640, "10.0.0.1")
    assert head.ray_token != before.ray_token and len(head.ray_token) == 64


def test_a_backup_of_a_running_head_holds_whole_entries_up_to_some_moment(tmp_path: Path) -> None:
    """While entries are written as fast as they can be, and stand in the WAL at first."""
    home = tmp_path / "home"
    store = Store(home / JOURNAL)
    store.append(CancelAsked(0.0, "0"))
    go_on = threading.Event()

    def write() -> None:
        mine = Store(home / JOURNAL)
        number = 1
        while not go_on.is_set():
            mine.append(*(CancelAsked(float(number + n), "x" * 200) for n in range(20)))
            number += 20
        mine.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = [backup(tmp_path / f"{n}.tar.gz", home=home) for n in range(5)]
    finally:
        go_on.set()
        writer.join()
    counts = []
    for n, kept in enumerate(found):
        restored = restore(kept.path, home=tmp_path / f"new-{n}")
        times = [entry.at_s for entry in entries(restored.home)]
        assert times == [float(k) for k in range(len(times))]
        assert len(times) == kept.manifest.entries
        counts.append(len(times))
    assert counts == sorted(counts) and counts[-1] > counts[0]
    store.close()


def test_a_scheduler_goes_on_from_a_restored_journal(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with LiveWorld(home) as world:
        world.submit(a_command("1", "true"))
        world.until_state("1", "done")
        kept = backup(tmp_path / "head.tar.gz", home=home)  # it runs
    found = restore(kept.path, home=tmp_path / "other")
    with LiveWorld(found.home) as world:
        assert world.look(lambda s: s.jobs["1"].state) == "done"
        world.submit(a_command("2", "true"))
        assert [outcome for _, outcome in world.until_state("2", "done", "failed")] == ["done"]


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_journal_of_an_older_version_is_restored_and_grows(tmp_path: Path, version: int) -> None:
    home, kill = tmp_path / "old", a_kill(a_job(), nx())
    Store(home / JOURNAL).close()
    old: list[dict[str, Any]] = [{"type": "CancelAsked", "at_s": 1.0, "job_id": "1"}]
    if version == 1:
        old.append({"type": "Learned", "at_s": 2.0, "measurement": to_json(kill)})
    else:
        old.append({"type": "Learned", "at_s": 2.0, "measurements": [to_json(kill)]})
    with sqlite3.connect(home / JOURNAL) as connection:
        connection.execute(f"PRAGMA user_version={version}")
        for entry in old:
            row = (entry["at_s"], entry["type"], json.dumps(entry))
            connection.execute("INSERT INTO entries (at_s, type, data) VALUES (?, ?, ?)", row)
    kept = backup(tmp_path / "old.tar.gz", home=home)
    assert kept.manifest.journal_version == version
    found = restore(kept.path, home=tmp_path / "new")
    store = Store(found.home / JOURNAL)
    store.append(CancelAsked(3.0, "1"))
    wanted = [CancelAsked(1.0, "1"), Learned(2.0, (kill,)), CancelAsked(3.0, "1")]
    assert list(store.entries()) == wanted
    store.close()
    with sqlite3.connect(found.home / JOURNAL) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)


# ------------------------------------------------------------------------------- what is in the way


def test_what_is_there_is_in_the_way_and_with_force_it_is_moved_aside_whole(tmp_path: Path) -> None:
    kept = backup(tmp_path / "head.tar.gz", home=a_home(tmp_path / "old"))
    home = tmp_path / "here"
    write_journal(home, count=3)
    before = entries(home)
    with pytest.raises(InputError, match=r"has something already: journal\.db") as refused:
        restore(kept.path, home=home)
    assert "--force" in refused.value.hint
    assert entries(home) == before
    found = restore(kept.path, home=home, force=True)
    assert found.aside is not None and found.aside.parent == home
    assert entries(found.aside) == before
    assert entries(home) == entries(tmp_path / "old")
    again = restore(kept.path, home=home, force=True)
    assert again.aside not in (None, found.aside)


def test_nothing_is_restored_under_a_scheduler_that_runs(tmp_path: Path) -> None:
    kept = backup(tmp_path / "head.tar.gz", home=a_home(tmp_path / "old"))
    home = tmp_path / "here"
    with alone(home / "logs", "?"), pytest.raises(InputError, match="a scheduler runs"):
        restore(kept.path, home=home, force=True)
    with alone(home, "?"), pytest.raises(InputError, match="`down` is at work"):
        restore(kept.path, home=home, force=True)
    assert not (home / JOURNAL).exists()
    assert restore(kept.path, home=home).files > 0


def test_a_restore_that_fails_halfway_puts_everything_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = backup(tmp_path / "head.tar.gz", home=a_home(tmp_path / "old"))
    home = tmp_path / "here"
    write_journal(home, count=3)
    (home / "measurements.jsonl").write_text("{}\n")
    before, was = entries(home), tree(home)
    rename, count = os.rename, 0

    def failing(source: Any, target: Any) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr("jetsched.cluster.restoring.os.rename", failing)
    with pytest.raises(OSError, match="No space"):
        restore(kept.path, home=home, force=True)
    assert (entries(home), tree(home)) == (before, was)


def test_a_backup_replaces_no_file_and_is_not_put_into_the_home(tmp_path: Path) -> None:
    home = a_home(tmp_path / "home")
    (tmp_path / "precious").write_text("x")
    for path, words in {
        tmp_path / "precious": "exists already",
        tmp_path / "absent" / "x": "no folder",
        home / "x.tar.gz": "in the data home itself",
    }.items():
        with pytest.raises(InputError, match=words):
            backup(path, home=home)
    with pytest.raises(InputError, match="nothing to keep"):
        backup(tmp_path / "y", home=tmp_path / "empty")
    assert (tmp_path / "precious").read_text() == "x"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["home", "precious"]


# ------------------------------------------------------------------------- archives from anywhere


def crafted(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], **said: Any) -> Path:
    """An archive with a manifest that says what is wanted of it."""
    files = [
        {"path": info.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for info, data in members
    ]
    manifest = {
        "format": "jetsched-backup",
        "version": 1,
        "jetsched": "0",
        "made_at": "2026-11-24T12:00:00+00:00",
        "journal_version": VERSION,
        "entries": 0,
        "last_s": None,
        "secrets": False,
        "artefacts": False,
        "files": files,
    }
    data = json.dumps(manifest | said).encode()
    first = tarfile.TarInfo(MANIFEST)
    first.size = len(data)
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(first, io.BytesIO(data))
        for info, content in members:
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))
    return path


def a_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def an_empty_journal(folder: Path) -> bytes:
    Store(folder / "made" / JOURNAL).close()
    return (folder / "made" / JOURNAL).read_bytes()


def refused(archive: Path, home: Path, words: str) -> None:
    with pytest.raises(InputError, match=words):
        restore(archive, home=home)
    assert not home.exists() or list(home.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["../out", "/etc/x", "files/../../out", "files//x", "./files/x", "cluster.json", "nodes/x",
     "files\\..\\x", "", ".", "journal.db/"],
)  # fmt: skip
def test_no_name_leads_anywhere_but_to_what_a_backup_holds(tmp_path: Path, name: str) -> None:
    journal = (a_member(JOURNAL), an_empty_journal(tmp_path))
    archive = crafted(tmp_path / "x.tar.gz", [journal, (a_member("files/x"), b"x")])
    bad = json.loads(gzip.decompress(archive.read_bytes())[512:].split(b"\0")[0])["files"]
    bad[1]["path"] = name
    crafted(archive, [journal, (a_member(name or "x"), b"x")], files=bad)
    refused(archive, tmp_path / "home", "no name of a file in a backup")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "member",
    [
        a_member("files/x", tarfile.SYMTYPE, "/etc/passwd"),
        a_member("files/x", tarfile.LNKTYPE, JOURNAL),
        a_member("files/x", tarfile.FIFOTYPE),
        a_member("files/x", tarfile.CHRTYPE),
        a_member("files/x", tarfile.DIRTYPE),
    ],
    ids=["symlink", "hard link", "fifo", "device", "folder"],
)
def test_only_plain_files_are_unpacked(tmp_path: Path, member: tarfile.TarInfo) -> None:
    journal = (a_member(JOURNAL), an_empty_journal(tmp_path))
    archive = crafted(tmp_path / "x.tar.gz", [journal, (member, b"")])
    refused(archive, tmp_path / "home", "is not as the manifest says")


def test_what_the_manifest_does_not_name_or_names_twice_or_misses_is_refused(
    tmp_path: Path,
) -> None:
    data = an_empty_journal(tmp_path)
    journal, extra = (a_member(JOURNAL), data), (a_member("files/x"), b"x")
    said = [{"path": JOURNAL, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}]
    home, archive = tmp_path / "home", tmp_path / "x.tar.gz"
    refused(crafted(archive, [journal, extra], files=said), home, "is not as the manifest says")
    refused(crafted(archive, [journal, journal], files=said), home, "is not as the manifest says")
    refused(crafted(archive, [journal, journal]), home, "manifest is not sound")
    refused(crafted(archive, [extra]), home, "manifest is not sound")
    more = [*said, {"path": "files/x", "bytes": 1, "sha256": "0" * 64}]
    refused(crafted(archive, [journal], files=more), home, "is cut off: files/x is missing")
    refused(crafted(archive, [journal, extra], files=more), home, "is damaged: its checksum")


def test_versions_that_are_too_new_and_other_archives_are_refused(tmp_path: Path) -> None:
    journal = (a_member(JOURNAL), an_empty_journal(tmp_path))
    home, archive = tmp_path / "home", tmp_path / "x.tar.gz"
    refused(crafted(archive, [journal], version=99), home, "is of version 99")
    newer = VERSION + 1
    refused(crafted(archive, [journal], journal_version=newer), home, "journal of version")
    refused(crafted(archive, [journal], format="other"), home, "is no backup of jetsched")
    refused(crafted(archive, [journal], entries=7), home, "not the one that the manifest is of")
    refused(crafted(archive, [(a_member(JOURNAL), b"no database" * 900)]), home, "is damaged")
    archive.write_bytes(b"not even gzip")
    refused(archive, home, "damaged, or no backup")
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(a_member("hello"))
    refused(archive, home, "does not begin with a manifest")
    refused(tmp_path / "absent", home, "there is no file")


def test_a_journal_whose_entries_cannot_be_read_is_refused(tmp_path: Path) -> None:
    Store(tmp_path / "made" / JOURNAL).close()
    with closing(sqlite3.connect(tmp_path / "made" / JOURNAL)) as connection:
        connection.execute("INSERT INTO entries (at_s, type, data) VALUES (1, 'Nonsense', '{}')")
        connection.commit()
    data = (tmp_path / "made" / JOURNAL).read_bytes()
    archive = crafted(tmp_path / "x.tar.gz", [(a_member(JOURNAL), data)], entries=1)
    refused(archive, tmp_path / "home", "entry 1")


@pytest.fixture(scope="module")
def an_archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("kept")
    home = a_home(folder / "home")
    return backup(folder / "x.tar.gz", home=home, artefacts=True).path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_to_an_archive_gets_through(
    an_archive: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A bit that is flipped, or an end that is missing: refused in words, or it changes nothing."""
    folder = tmp_path_factory.mktemp("damaged")
    at = data.draw(st.integers(0, len(an_archive) - 1))
    damage: Callable[[bytes], bytes] = data.draw(
        st.sampled_from(
            [
                lambda b: b[:at],
                lambda b: b[:at] + bytes([b[at] ^ (1 << at % 8)]) + b[at + 1 :],
                lambda b: b[:at] + b[at + 1 :],
            ]
        )
    )
    (folder / "sound").write_bytes(an_archive)
    (folder / "x").write_bytes(damage(an_archive))
    try:
        restore(folder / "x", home=folder / "home")
    except InputError:
        assert list((folder / "home").iterdir()) == []
    else:
        restore(folder / "sound", home=folder / "other")
        assert tree(folder / "home") == tree(folder / "other")
        assert entries(folder / "home") == entries(folder / "other")


# ---------------------------------------------------------------------------------------- the verbs


def test_the_verbs_say_what_is_kept_and_where_the_old_went(
    tmp_path: Path, jetsched: Jetsched
) -> None:
    a_home(tmp_path / "home")
    archive = str(tmp_path / "head.tar.gz")
    done = jetsched("backup", archive)
    assert done.code == 0 and "Not in it: tokens, secrets and Ray's token" in done.out
    again = jetsched("backup", archive)
    assert again.code == 2 and "exists already" in again.err
    refused = jetsched("restore", archive)
    assert refused.code == 2 and "--force" in refused.err
    forced = jetsched("restore", archive, "--force", "--json").json()
    assert Path(forced["aside"]).parent == tmp_path / "home"
    assert forced["manifest"]["entries"] == len(entries(Path(forced["aside"])))
    assert read_manifest(Path(archive)).files


def test_a_backup_needs_neither_ray_nor_a_scheduler(tmp_path: Path) -> None:
    a_home(tmp_path / "home")
    code = (
        "import sys; from pathlib import Path; from jetsched.cluster.backup import backup;"
        "backup(Path(sys.argv[2]), home=Path(sys.argv[1]));"
        "print([m for m in ('ray', 'torch', 'fastapi', 'sqlalchemy.engine') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "home"), str(tmp_path / "x.tar.gz")]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "ray" not in out and "torch" not in out and "fastapi" not in out


def test_what_is_kept_goes_by_the_names_that_the_others_write_it_under() -> None:
    wanted = {joining.BOARDS_FILE, shelf.FILES, secretstore.SECRETS, keptfiles.ARTEFACTS}
    wanted |= {keptfiles.CHECKPOINTS, scheduling.LOGS, HEAD_FILE, TOKENS_FILE, JOURNAL}
    wanted |= {MeasurementStore.name, CalibrationStore.name}
    assert set(NAMES) == wanted and len(NAMES) == len(wanted)
