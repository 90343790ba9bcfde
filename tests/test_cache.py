"""Models and data go to the nodes once, whole, and never over what is in use."""

from __future__ import annotations

import json
import os
import shutil
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from courier_worlds import CourierWorld
from hypothesis import given
from hypothesis import strategies as st
from live_world import a_command

from jetsched.cluster.bundles import Bundle, FileEntry, below, bundle_of, safe_path
from jetsched.cluster.filecache import FileCache, NoDiskError
from jetsched.cluster.nodefiles import CHUNK_BYTES
from jetsched.cluster.protocol import Order
from jetsched.cluster.shelf import Named, Shelf
from jetsched.errors import InputError
from jetsched.jobfile import parse_job
from jetsched.records import Job

TINY = {"model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 1, "vocab_size": 99}


def a_model(folder: Path, size: int = 100) -> Path:
    """A folder that looks like a model's, with weights of so many random bytes."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(TINY))
    (folder / "model.safetensors").write_bytes(os.urandom(size))
    return folder


def a_job(world: CourierWorld, model: Path, id: str = "1", **work: Any) -> Job:
    """A job that trains the model of a folder, as it is after it was submitted."""
    text = json.dumps({"work": {"kind": "train", "model": str(model), **work}})
    spec = world.courier.shelf.registered(parse_job(text))
    return spec.to_job(id, 5.0)


def prepare(world: CourierWorld, job: Job, device_id: str = "nx-1", attempt: int = 1) -> Order:
    return world.courier.prepare(device_id, Order(job, attempt)).result(120)


# --- what may travel -----------------------------------------------------------------------------


@given(st.text(max_size=30))
def test_a_safe_path_never_leaves_its_folder(text: str) -> None:
    try:
        path = safe_path(text)
    except InputError:
        return
    assert not path.is_absolute() and ".." not in path.parts
    assert os.path.normpath(os.path.join("/base", str(path))).startswith("/base/")


@pytest.mark.parametrize("text", ["", ".", "..", "../x", "a/../b", "/etc", "a//b", "a\0", "a\\b"])
def test_a_path_that_could_lead_out_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a path"):
        safe_path(text)


def test_a_link_on_the_way_does_not_lead_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="leads out"):
        below(tmp_path / "in", "link/x")


def test_a_model_with_a_link_out_of_its_folder_or_with_pickles_is_refused(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "home")
    linked = a_model(tmp_path / "linked")
    (linked / "secret").symlink_to("/etc/passwd")
    pickled = a_model(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    for model, text in ((linked, "leads out"), (pickled, "pickle")):
        spec = parse_job(json.dumps({"work": {"kind": "train", "model": str(model)}}))
        with pytest.raises(InputError, match=text) as told:
            shelf.registered(spec)
        assert told.value.hint
    assert not list((tmp_path / "home" / "files").glob("bundles/*"))


def test_what_is_equal_has_one_name_whatever_it_is_called(tmp_path: Path) -> None:
    first, second = a_model(tmp_path / "a"), tmp_path / "b"
    shutil.copytree(first, second)
    assert bundle_of(first).digest == bundle_of(second).digest
    (second / "config.json").write_text("{}")
    assert bundle_of(first).digest != bundle_of(second).digest


# --- to a node -----------------------------------------------------------------------------------


def test_a_model_goes_to_a_node_once_and_serves_all_jobs(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        model = a_model(tmp_path / "model", 2 * CHUNK_BYTES + 5)
        (model / "README.md").write_text("for people")
        first = prepare(world, a_job(world, model))
        there = Path(first.files["model_path"])
        assert there.is_relative_to(tmp_path / "nodes/nx-1/cache")
        assert sorted(os.listdir(there)) == ["config.json", "model.safetensors"]
        weights = model / "model.safetensors"
        assert (there / "model.safetensors").read_bytes() == weights.read_bytes()
        sent = len(world.link.named("write"))
        assert prepare(world, a_job(world, model, "2")).files == first.files
        assert len(world.link.named("write")) == sent
        assert world.courier.missing(a_job(world, model).work, "nx-1").bytes == 0
        missing = world.courier.missing(a_job(world, model).work, "orin-1")
        assert missing.bytes == sum((model / n).stat().st_size for n in os.listdir(there))


def test_a_transfer_that_is_cut_goes_on_at_the_byte_where_it_was(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        job = a_job(world, a_model(tmp_path / "model", 3 * CHUNK_BYTES))
        cuts = iter(range(10))
        world.link.fails = lambda name, args: (
            name == "write" and args[1] == CHUNK_BYTES and next(cuts, 9) < 3
        )
        prepare(world, job)
        offsets = [args[1] for args in world.link.named("write") if len(args[2]) == CHUNK_BYTES]
        assert offsets == [0, *[CHUNK_BYTES] * 4, 2 * CHUNK_BYTES]


def test_an_agent_that_is_restarted_meanwhile_is_told_again_what_comes(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        job = a_job(world, a_model(tmp_path / "model", 3 * CHUNK_BYTES))
        todo = [True]

        def fails(name: str, args: tuple[Any, ...]) -> bool:
            if name == "write" and args[1] == 2 * CHUNK_BYTES and todo:
                todo.clear()
                world.link.restart("nx-1")
            return False

        world.link.fails = fails
        there = Path(prepare(world, job).files["model_path"])
        assert not todo and (there / "model.safetensors").stat().st_size == 3 * CHUNK_BYTES


def test_what_comes_damaged_is_sent_again(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        model = a_model(tmp_path / "model", 1000)
        job, todo = a_job(world, model), [True]
        inner = world.link.call

        def call(device_id: str, method: str, *args: Any) -> Any:
            if method == "files" and args[0] == "write" and len(args[3]) == 1000 and todo:
                todo.clear()
                args = (*args[:3], b"x" * 1000)
            return inner(device_id, method, *args)

        world.link.call = call  # type: ignore[method-assign]
        there = Path(prepare(world, job).files["model_path"])
        weights = model / "model.safetensors"
        assert not todo and (there / "model.safetensors").read_bytes() == weights.read_bytes()


def test_a_job_gets_what_was_submitted_though_the_folder_was_changed_since(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        model = a_model(tmp_path / "model")
        before = (model / "model.safetensors").read_bytes()
        job = a_job(world, model)
        (model / "model.safetensors").write_bytes(b"something else")
        there = Path(prepare(world, job).files["model_path"])
        assert (there / "model.safetensors").read_bytes() == before


def test_a_linked_file_that_was_changed_in_place_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetsched.cluster.shelf.COPY_BYTES", 10)
    with CourierWorld(tmp_path) as world:
        model = a_model(tmp_path / "model", 1000)
        job = a_job(world, model)
        with (model / "model.safetensors").open("r+b") as file:
            file.write(b"changed")
        with pytest.raises(InputError, match="changed since") as told:
            prepare(world, job)
        assert "submit it again" in told.value.hint


def test_a_node_on_the_heads_own_disk_gets_links_instead_of_copies(tmp_path: Path) -> None:
    with CourierWorld(tmp_path, link_here=True) as world:
        model = a_model(tmp_path / "model", 1000)
        there = Path(prepare(world, a_job(world, model)).files["model_path"])
        assert not world.link.named("write")
        digest = bundle_of(model).blobs
        kept = [world.courier.shelf.cache.blob(sha).stat().st_ino for sha in digest]
        assert (there / "model.safetensors").stat().st_ino in kept


def test_jobs_that_are_submitted_at_the_same_time_may_name_the_same_new_files(
    tmp_path: Path,
) -> None:
    model = a_model(tmp_path / "model", 3 * CHUNK_BYTES)
    shelf, meet = Shelf(tmp_path / "home"), threading.Barrier(6)
    named = Named("model_path", model)
    with ThreadPoolExecutor(6) as pool:

        def take(number: int) -> str:
            meet.wait(120)
            return shelf.take(named).digest

        assert len(set(pool.map(take, range(6)))) == 1


def test_a_data_set_and_prompts_go_along(tmp_path: Path) -> None:
    prompts = tmp_path / "mine.txt"
    prompts.write_text("one\ntwo\n")
    with CourierWorld(tmp_path) as world:
        text = json.dumps({"work": {"kind": "infer", "model": "gpt2", "prompts": str(prompts)}})
        job = world.courier.shelf.registered(parse_job(text)).to_job("1", 5.0)
        prompts.unlink()
        order = prepare(world, job)
        assert Path(order.files["prompts_path"]).read_text() == "one\ntwo\n"
        assert order.job == job


def test_what_needs_no_files_is_ready_at_once(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        ready = world.courier.prepare("nx-1", Order(a_command("1", "true"), 1))
        assert ready.done() and not world.link.file_calls


def test_a_transfer_that_is_not_wanted_any_more_ends_and_what_came_is_kept(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        job = a_job(world, a_model(tmp_path / "model", 4 * CHUNK_BYTES))
        world.link.fails = lambda name, args: name == "write" and args[1] == 2 * CHUNK_BYTES
        future = world.courier.prepare("nx-1", Order(job, 1))
        world.wait(lambda: any(a[1] == 2 * CHUNK_BYTES for a in world.link.named("write")))
        moving = world.courier.transfer(("1", 1))
        assert moving is not None and 2 * CHUNK_BYTES <= moving.done_bytes < moving.bytes
        future.cancel()
        with pytest.raises(CancelledError):
            future.result(120)
        world.wait(lambda: world.courier.transfer(("1", 1)) is None)
        world.link.fails = lambda name, args: False
        world.link.file_calls.clear()
        prepare(world, job)
        assert next(a[1] for a in world.link.named("write") if len(a[2]) == CHUNK_BYTES) == (
            2 * CHUNK_BYTES
        )


def test_a_hub_model_of_the_head_goes_to_nodes_that_lack_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = tmp_path / "hub"
    cached = hub / "models--openai-community--gpt2"
    snapshot = a_model(cached / "snapshots" / "abc", 1000)
    (cached / "blobs").mkdir()
    (snapshot / "model.safetensors").rename(cached / "blobs" / "w")
    (snapshot / "model.safetensors").symlink_to(cached / "blobs" / "w")
    (snapshot / "pytorch_model.bin").write_bytes(b"not wanted")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    text = json.dumps({"work": {"kind": "train", "model": "gpt2"}})
    with CourierWorld(tmp_path) as world:
        job = parse_job(text).to_job("1", 5.0)
        assert prepare(world, job).files == {}  # the same cache is the node's own
        has = "jetsched.cluster.nodefiles.NodeFiles.has_hub_model"
        monkeypatch.setattr(has, lambda *_: False)
        there = Path(prepare(world, job).files["model_path"])
        assert sorted(os.listdir(there)) == ["config.json", "model.safetensors"]


# --- room ----------------------------------------------------------------------------------------


def bundle(name: str, data: bytes) -> tuple[Bundle, bytes]:
    import hashlib

    entry = FileEntry(name, len(data), hashlib.sha256(data).hexdigest())
    return Bundle(name, (entry,)), data


def put(cache: FileCache, what: tuple[Bundle, bytes], at_s: float) -> str:
    found, data = what
    if not cache.begin(found).path:
        cache.write(found.files[0].sha256, 0, data)
        assert cache.commit(found).path
    os.utime(cache.places / f"{found.digest}.json", (at_s, at_s))
    cache._pins.clear()
    return found.digest


def test_what_was_used_longest_ago_makes_room_and_what_is_in_use_never(tmp_path: Path) -> None:
    used: set[str] = set()
    cache = FileCache(tmp_path / "cache", lambda: used, most_mib=3.0, reserve_mib=0.0)
    mib = [bundle(f"b{n}", bytes([n]) * (1 << 20)) for n in range(5)]
    digests = [put(cache, mib[n], 100.0 + n) for n in range(3)]
    used.add(digests[0])
    assert [row.in_use for row in cache.rows()] == [False, False, True]
    digests.append(put(cache, mib[3], 104.0))
    assert [row.name for row in cache.rows()] == ["b3", "b2", "b0"]
    assert len(list((tmp_path / "cache" / "blobs").iterdir())) == 3
    used |= set(digests)
    with pytest.raises(NoDiskError, match="do not fit"):
        cache.begin(mib[4][0])
    assert "do not fit" in cache.shortage()
    used.clear()
    assert cache.shortage() == ""
    put(cache, mib[4], 105.0)


def test_bundles_that_share_files_share_their_room_and_outlive_each_other(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache")
    one, data = bundle("a", b"shared")
    two = replace(one, files=(replace(one.files[0], path="other/name"),))
    put(cache, (one, data), 1.0)
    assert cache.begin(two).path  # nothing is to be sent
    assert len(list((tmp_path / "cache" / "blobs").iterdir())) == 1
    cache._pins.clear()
    assert [row.digest for row in cache.prune(older_s=1e6)] == [one.digest]
    assert (cache.places / two.digest / "other" / "name").read_bytes() == b"shared"


def test_nobody_can_send_more_of_a_file_than_room_was_made_for(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", reserve_mib=0.0)
    found, data = bundle("b", b"seven b")
    cache.begin(found)
    sha256 = found.files[0].sha256
    assert cache.write(sha256, 0, data[:3]) == 3
    with pytest.raises(InputError, match="7 bytes, no more"):
        cache.write(sha256, 3, b"x" * 5)
    assert cache.write(sha256, 3, data[3:]) == 7
    assert cache.commit(found).path


def test_pruning_by_age_and_size_takes_the_oldest_first(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache")
    for n in range(4):
        put(cache, bundle(f"b{n}", bytes([n]) * 1000), 1e9 + n)
    would = cache.prune(keep_bytes=2000, dry_run=True)
    assert [row.name for row in would] == ["b0", "b1"] and len(cache.rows()) == 4
    assert [row.name for row in cache.prune(keep_bytes=2000)] == ["b0", "b1"]
    assert [row.name for row in cache.prune(older_s=60.0)] == ["b2", "b3"]
    assert not cache.rows() and not list((tmp_path / "cache" / "blobs").iterdir())


def test_a_running_attempts_files_are_in_use(tmp_path: Path) -> None:
    with CourierWorld(tmp_path) as world:
        job = a_job(world, a_model(tmp_path / "model"))
        order = prepare(world, job)
        sleeps = a_command("7", "sleep 60")
        world.agent("nx-1", "start", Order(sleeps, 1, order.files))
        cache = world.link._agents["nx-1"]._files.cache
        cache._pins.clear()
        assert [row.in_use for row in cache.rows()] == [True]
        cache.drop(frozenset({cache.rows()[0].digest}))
        assert len(cache.rows()) == 1
        world.agent("nx-1", "stop", ("7", 1), "cancelled", 0.5)
        world.ended("nx-1", ("7", 1))
        assert [row.in_use for row in cache.rows()] == [False]
