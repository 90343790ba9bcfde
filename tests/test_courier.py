"""What attempts leave comes to the head whole, whatever is cut on the way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from courier_worlds import SIZES, CourierWorld
from live_world import a_command

from jetsched.cluster.fetching import Sizes
from jetsched.cluster.nodefiles import CHUNK_BYTES

BIG = f"head -c {3 * CHUNK_BYTES + 17} /dev/urandom > $JETSCHED_OUT/big"


def test_what_a_command_leaves_comes_to_the_head_and_its_node_forgets_it(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        report, key = world.writing("mkdir $JETSCHED_OUT/a; echo hi > $JETSCHED_OUT/a/b; " + BIG)
        assert report.outputs
        sent = (tmp_path / "nodes/nx-1/1-1/out/big").read_bytes()
        assert world.courier.ended("nx-1", key, "done", report)
        world.wait(lambda: world.forgot)
        assert world.forgot == [("nx-1", key)]
        out = world.courier.keeping.out(key)
        assert (out / "a/b").read_text() == "hi\n" and (out / "big").read_bytes() == sent
        found = world.courier.artefacts(key)
        assert (found.state, found.files, found.bytes) == ("complete", 2, len(sent) + 3)
        world.agent("nx-1", "forget", key)
        assert not (tmp_path / "nodes/nx-1/1-1/out").exists()


def test_of_an_attempt_that_left_nothing_nothing_is_kept(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        report, key = world.writing("echo only a log")
        assert not report.outputs
        assert not world.courier.ended("nx-1", key, "done", report)
        assert world.courier.artefacts(key).state == "none"
        assert not (world.home / "artefacts").exists()


def test_a_fetch_that_is_cut_goes_on_at_the_byte_where_it_was(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        report, key = world.writing(BIG)
        cuts = iter(range(10))
        world.link.fails = lambda name, args: (
            name == "read" and args[2] == CHUNK_BYTES and next(cuts, 9) < 3
        )
        world.courier.ended("nx-1", key, "done", report)
        world.until_state(key, "complete")
        offsets = [args[2] for args in world.link.named("read")]
        assert offsets == [0, *[CHUNK_BYTES] * 4, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES]


def test_a_head_that_dies_while_it_fetches_goes_on_where_it_was(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        report, key = world.writing(BIG)
        sent = (tmp_path / "nodes/nx-1/1-1/out/big").read_bytes()
        world.link.fails = lambda name, args: name == "read" and args[2] >= 2 * CHUNK_BYTES
        world.courier.ended("nx-1", key, "done", report)
        world.wait(lambda: len(world.link.named("read")) > 3)
        world.courier.close()
        world.link.fails = lambda name, args: False
        world.link.file_calls.clear()
        world.new_courier()
        assert world.courier.artefacts(key).state == "fetching"
        world.courier.seen("nx-1")
        world.wait(lambda: world.forgot)
        assert [args[2] for args in world.link.named("read")] == [2 * CHUNK_BYTES, 3 * CHUNK_BYTES]
        assert (world.courier.keeping.out(key) / "big").read_bytes() == sent


def test_a_node_that_dies_while_it_is_fetched_from_is_fetched_from_when_it_is_back(
    tmp_path: Path,
) -> None:
    with CourierWorld(tmp_path) as world:
        report, key = world.writing(BIG)
        world.link.fails = lambda name, args: name == "read" and args[2] > 0
        world.courier.ended("nx-1", key, "done", report)
        world.wait(lambda: len(world.link.named("read")) > 2)
        world.link.unplug("nx-1")
        world.link.fails = lambda name, args: False
        world.link.plug("nx-1")
        world.courier.seen("nx-1")
        world.until_state(key, "complete")


def test_what_was_being_fetched_from_a_device_that_is_removed_is_lost(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        report, key = world.writing(BIG)
        world.link.fails = lambda name, args: name == "read"
        world.courier.ended("nx-1", key, "done", report)
        world.until_state(key, "fetching")
        world.link.unplug("nx-1")
        world.courier.removed("nx-1")
        world.until_state(key, "lost")
        assert "nx-1" in world.courier.artefacts(key).text


def test_a_file_that_comes_damaged_is_fetched_again(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        report, key = world.writing(BIG)
        sent = (tmp_path / "nodes/nx-1/1-1/out/big").read_bytes()
        todo = [True]

        def damage(name: str, answer: Any) -> Any:
            return b"x" * len(answer) if name == "read" and todo and todo.pop() else answer

        world.link.damage = damage
        world.courier.ended("nx-1", key, "done", report)
        world.until_state(key, "complete")
        assert (world.courier.keeping.out(key) / "big").read_bytes() == sent
        assert [args[2] for args in world.link.named("read")].count(0) == 2


def test_a_file_that_always_comes_damaged_is_never_taken_for_whole(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        report, key = world.writing(BIG)
        world.link.damage = lambda name, answer: b"x" * len(answer) if name == "read" else answer
        world.courier.ended("nx-1", key, "done", report)
        world.wait(lambda: "checksum" in world.courier.artefacts(key).text)
        assert world.courier.artefacts(key).state == "fetching" and not world.forgot
        world.link.damage = lambda name, answer: answer
        world.until_state(key, "complete")


def test_while_the_heads_disk_is_full_nothing_is_lost_and_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = [True]
    usage = shutil.disk_usage

    def told(path: Any) -> Any:
        found = usage(path)
        return found._replace(free=0) if full else found

    with CourierWorld(tmp_path) as world:
        report, key = world.writing(BIG)
        monkeypatch.setattr(shutil, "disk_usage", told)
        world.courier.ended("nx-1", key, "done", report)
        world.wait(lambda: "disk is full" in world.courier.artefacts(key).text)
        assert not world.forgot and (tmp_path / "nodes/nx-1/1-1/out/big").exists()
        full.clear()
        world.until_state(key, "complete")


def test_links_that_an_attempt_leaves_are_not_followed(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        run = "cd $JETSCHED_OUT; echo good > good; ln -s /etc/passwd bad; ln -s /etc folder"
        report, key = world.writing(run)
        world.courier.ended("nx-1", key, "done", report)
        world.until_state(key, "complete")
        assert os.listdir(world.courier.keeping.out(key)) == ["good"]
        assert "bad" in world.courier.artefacts(key).text
        for path in ("out/bad", "out/../order.json", "out/folder/passwd", "/etc/passwd", "log.txt"):
            with pytest.raises(Exception, match=r"leads out|below|symbolic"):
                world.agent("nx-1", "files", "read", key, path, 0, 10)


def test_more_than_the_head_takes_stays_on_the_node_and_that_is_told(tmp_path: Path) -> None:
    sizes = Sizes(artefacts_mib=1.0, reserve_mib=0.0)
    with CourierWorld(tmp_path, sizes=sizes) as world:
        report, key = world.writing(BIG)
        world.courier.ended("nx-1", key, "done", report)
        world.until_state(key, "lost")
        assert "left on nx-1" in world.courier.artefacts(key).text
        world.wait(lambda: not world.courier._fetching._going)
        assert not world.forgot  # else its node would remove it
        assert (tmp_path / "nodes/nx-1/1-1/out/big").exists()


def test_files_of_a_history_that_was_thrown_away_never_pass_for_those_of_a_new_job(
    tmp_path: Path,
) -> None:
    """After a restore: what the head has under the new attempt's name goes, and what another board
    still holds of the old one is not brought."""
    with CourierWorld(tmp_path) as world:
        report, key = world.writing("echo old > $JETSCHED_OUT/x")
        world.courier.ended("nx-1", key, "done", report)
        world.until_state(key, "complete")
        world.courier._is_ours = lambda key, submitted_s: submitted_s == 7.0
        job = a_command("1", "echo new > $JETSCHED_OUT/x", submitted_s=7.0)
        report = world.run("orin-1", job)
        world.until_state(key, "none")
        world.link.file_calls.clear()
        world.courier.seen("nx-1")
        world.wait(lambda: world.link.named("held"))
        assert world.courier.ended("orin-1", key, "done", report)
        world.until_state(key, "complete")
        assert (world.courier.keeping.out(key) / "x").read_text() == "new\n"
        assert world.link.named("outputs") == [(key,)]


def test_a_killed_attempts_files_are_fetched_too(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        report = world.run("nx-1", a_command("1", "echo half > $JETSCHED_OUT/x; exit 3"))
        assert world.courier.ended("nx-1", ("1", 1), "failed", report)
        world.until_state(("1", 1), "complete")
        assert SIZES.artefacts_mib > 0
