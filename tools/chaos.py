"""Breaks a live cluster in every way that it must survive, from a seed (`make chaos`).

    python tools/chaos.py --jobs 200 --seed 1            60 faults, 11 to 15 minutes
    python tools/chaos.py --jobs 20 --faults 8 --seed 3  as in `make test`

A head and two boards on hosts of their own (tests/multihost.py), real Ray, real children. Where no
namespaces can be had it all runs on the loopback, and processes are killed, nothing else. At the
end: every job ended by its own rules, nothing counted twice, no process is left; else exit code 1.
The figures go to --out as JSON, with the logs of all hosts beside it where something was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from chaos_faults import Fault, draw_faults
from chaos_inject import Cluster, Done, Injector, attempt_of, is_supervisor, is_workload, words_of
from chaos_jobs import BOARDS, ChaosJob, draw_jobs
from chaos_verdict import FINAL, Verdict, figures, judge_jobs, latencies, recoveries
from chaos_watch import JournalWatch
from hosted_cluster import PYTHON38, HostedCluster
from loopback_cluster import Here, LoopbackCluster
from multihost import Site, reason_against
from multihost_net import Elsewhere

from jetsched.cluster.replaying import replay
from jetsched.errors import InputError

LEASE_S = 12.0
#: A train or infer child that says nothing for so long is hung.
STALL_S = 20.0
#: Jobs that wait, so that there is always something to be hit.
QUEUE = 6
#: What an attempt that is over may still live: a lease, SIGTERM, ten seconds, SIGKILL.
ORPHAN_S = LEASE_S + 30.0
#: A run that has not ended so long after its last fault never will.
SETTLE_S = 420.0
#: What logs get to come to the head, all of them together.
LOG_S = 20.0


class Chaos:
    """One run."""

    def __init__(self, cluster: Cluster, jobs: list[ChaosJob], faults: list[Fault]) -> None:
        self.cluster, self.jobs, self.faults = cluster, jobs, faults
        follower: Elsewhere | Here = Here()
        self.there: Elsewhere | Here = Here()
        if isinstance(cluster, HostedCluster):
            follower, self.there = Elsewhere(cluster.site.pid), cluster.site.opener
        self.watch = JournalWatch(cluster.journal, follower)
        self.ids: dict[str, ChaosJob] = {}
        self.handed_in: dict[str, float] = {}
        self.cancelled: set[str] = set()  # ids of which the scheduler has taken the wish
        self.done: list[Done] = []
        self.orphans: dict[str, str] = {}
        self._over: dict[tuple[str, int], float] = {}
        self._stop = threading.Event()
        self.injector = Injector(cluster, self.watch, self._stop)
        self.errors: list[str] = []

    def run(self) -> Verdict:
        """Submit, hurt, wait for the end, judge."""
        threads = [
            threading.Thread(target=self._guarded, args=(work,), daemon=True)
            for work in (self._submit_all, self._cancel_some, self._look_for_orphans)
        ]
        for thread in threads:
            thread.start()
        try:
            self._hurt()
            self._settle()
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(60)
        return self._judge()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.errors.append(f"{work.__name__}: {type(error).__name__}: {error}")
            raise

    # ------------------------------------------------------------------------------------- jobs

    def _submit_all(self) -> None:
        """Hand in a job whenever few wait; each with a key, so that asking again is harmless."""
        for job in self.jobs:
            while not self._stop.is_set() and self._open() >= QUEUE:
                time.sleep(0.1)
            while not self._stop.is_set():
                with self.cluster.patience(), self.cluster.client(as_owner=True) as client:
                    row = client.submit_specs([job.spec], key=f"chaos-{job.number}", hold=True)[0]
                    self.handed_in[str(row["id"])] = time.monotonic()
                    self.ids[str(row["id"])] = job
                    break
                time.sleep(0.2)

    def _cancel_some(self) -> None:
        """Have those stopped that were drawn for it, each after its time."""
        todo = {job.number for job in self.jobs if job.cancel_s is not None}
        while todo and not self._stop.wait(0.1):
            for id, job in list(self.ids.items()):
                if job.number not in todo or job.cancel_s is None:
                    continue
                if time.monotonic() >= self.handed_in[id] + job.cancel_s:
                    with self.cluster.patience(), self.cluster.client(as_owner=True) as client:
                        with contextlib.suppress(InputError):  # it has ended, or we asked before
                            client.cancel(id)
                            self.cancelled.add(id)
                        todo.discard(job.number)

    def _open(self) -> int:
        with self.watch.news:
            ended = sum(job.state in FINAL for job in self.watch.ledger.jobs.values())
        return len(self.ids) - ended

    def _seconds_of(self, id: str) -> float:
        return self.ids[id].seconds if id in self.ids else 0.0

    # ----------------------------------------------------------------------------------- faults

    def _hurt(self) -> None:
        """All faults, spread over the life of the jobs: the k-th when its share has ended."""
        for fault in self.faults:
            share = (fault.number - 1) / len(self.faults) * len(self.jobs) * 0.9
            self.watch.wait_for(lambda share=share: self._ended() >= share, 60.0)  # type: ignore[misc]
            time.sleep(fault.pause_s)
            done = self.injector.inject(fault, self._seconds_of)
            self.done.append(done)
            say(
                f"{self._ended():4} of {len(self.jobs)} jobs ended  fault {fault.number:3}"
                f" {fault.kind:<15} {fault.host:<5} {done.text}"
            )

    def _ended(self) -> int:
        return sum(job.state in FINAL for job in self.watch.ledger.jobs.values())

    def _settle(self) -> None:
        """Wait until all jobs have ended and whatever may still live has had its time."""
        everything = len(self.jobs)
        self.watch.wait_for(lambda: self._ended() >= everything, SETTLE_S)
        say(f"{self._ended():4} of {everything} jobs ended")
        with contextlib.suppress(AssertionError):
            self.cluster.wait_ready()
        end = time.monotonic() + ORPHAN_S
        while time.monotonic() < end and any(self._workloads()):
            time.sleep(0.5)

    # ---------------------------------------------------------------------------------- orphans

    def _workloads(self) -> Iterator[tuple[str, int]]:
        for name, host in self.cluster.hosts.items():
            for pid in host.processes():
                if is_workload(pid) or is_supervisor(pid):
                    yield name, pid

    def _look_for_orphans(self) -> None:
        """Processes of attempts that have been over for too long."""
        while not self._stop.wait(2.0):
            now = time.monotonic()
            for name, pid in self._workloads():
                key = attempt_of(pid)
                with self.watch.news:
                    attempt = self.watch.ledger.attempt(key)
                    over = attempt is not None and attempt.outcome is not None
                    end = attempt.end if attempt is not None else None
                if over and end is not None and now - end > ORPHAN_S:
                    self.orphans[f"{name} {pid}"] = (
                        f"{name}: {' '.join(words_of(pid))[:80]}, of attempt {key[0]}-{key[1]},"
                        f" which ended {now - end:.0f} s before"
                    )

    # ----------------------------------------------------------------------------------- verdict

    def _judge(self) -> Verdict:
        told = {}
        with contextlib.suppress(AssertionError):
            told = {str(job["id"]): str(job["state"]) for job in self.cluster.asked(all_jobs)}
        time.sleep(1.0)
        self.watch.close()
        verdict = judge_jobs(self.ids, self.watch.ledger, told, self.injector.killed)
        if len(self.ids) < len(self.jobs):
            verdict.lost.append(f"only {len(self.ids)} of {len(self.jobs)} could be submitted")
        verdict.lost += self.errors
        verdict.lost += [
            f"job {id}: that it is to be stopped was taken, and is not in the journal"
            for id in sorted(self.cancelled)
            if (job := self.watch.ledger.jobs.get(id)) is None or not job.cancel_asked
        ]
        verdict.cut_logs = self._cut_logs()
        left = {f"{n} {p}": f"{n}: {' '.join(words_of(p))[:80]}" for n, p in self._workloads()}
        verdict.orphans = [*({**self.orphans, **left}).values()]
        verdict.figures = figures(self.ids, self.watch.ledger, self.done, homes(self.cluster))
        verdict.figures["boards_back_s"] = recoveries(
            self.done, self.watch.entries, self.cluster.names
        )
        self._replay(verdict)
        verdict.figures["after_faults"] = latencies(self.done, self.watch.entries)
        return verdict

    def _cut_logs(self) -> list[str]:
        """Those that are done and whose log does not end with their last word."""
        wrong, patience = [], time.monotonic() + LOG_S
        for id, drawn in self.ids.items():
            job = self.watch.ledger.jobs.get(id)
            if job is None or not drawn.last_word or len(job.commits) != 1:
                continue
            attempt = job.commits[0]
            while True:
                text = str(self.cluster.asked(partial(whole_log, job_id=id, attempt=attempt)))
                if text.split()[-1:] == [drawn.last_word] or time.monotonic() > patience:
                    break
                time.sleep(0.5)
            if text.split()[-1:] != [drawn.last_word]:
                end = text[-60:]
                wrong.append(f"job {id}, attempt {attempt}: its log ends with {end!r}")
        return wrong

    def _replay(self, verdict: Verdict) -> None:
        """Would the same scheduler decide the same again, from the journal alone?"""
        report = self.there.do(lambda: replay(self.cluster.journal, mode="exact"))
        verdict.figures["replay"] = {"entries": report.entries, "same": report.same}
        if report.followed is not None:
            verdict.figures["replay"]["decisions"] = report.followed.decisions
        verdict.decided_otherwise = [
            f"{difference}: {cause}"
            for difference, cause in zip(report.differences, report.causes, strict=True)
        ]


def whole_log(client: Any, job_id: str, attempt: int) -> str:
    text, offset = "", 0
    while True:
        part = client.log(job_id, attempt=attempt, offset=offset)
        text += str(part["text"])
        if part["offset"] == offset:
            return text
        offset = part["offset"]


def all_jobs(client: Any) -> list[dict[str, Any]]:
    return list(client.jobs())


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def homes(cluster: Cluster) -> list[Path]:
    """The data homes in which the folders of attempts are."""
    if isinstance(cluster, LoopbackCluster):
        return [cluster.home]
    return [host.disk / "home" for host in cluster.boards.values()]


def keep_evidence(cluster: Cluster, folder: Path) -> None:
    """The disks of all hosts, checkpoints and caches apart, for whoever has to find out why."""
    unwanted = shutil.ignore_patterns("*.safetensors", "*.so", "cache", "checkpoint", ".filling")
    if isinstance(cluster, LoopbackCluster):
        shutil.copytree(cluster.home, folder / "home", ignore=unwanted, dirs_exist_ok=True)
        return
    for name, host in cluster.hosts.items():
        with contextlib.suppress(shutil.Error, OSError):
            shutil.copytree(host.disk, folder / name, ignore=unwanted, dirs_exist_ok=True)
        for log in Path(f"/proc/{host.first}/root/tmp").glob("**/logs/*.err") if host.is_on else ():
            with contextlib.suppress(OSError):
                shutil.copy(log, folder / name / log.name)


@contextlib.contextmanager
def a_cluster(against: str) -> Iterator[Cluster]:
    """A cluster on hosts of its own; on the loopback where something speaks against them."""
    os.environ["JETSCHED_STALL_S"] = f"{STALL_S:g}"
    if against:
        with tempfile.TemporaryDirectory(prefix="jetsched-chaos-") as home:
            local = LoopbackCluster(Path(home), ",".join(BOARDS.values()))
            try:
                yield local
            finally:
                local.stop()
        return
    pythons = {"nx": PYTHON38} if PYTHON38.exists() else {}
    say(f"workloads of nx on {pythons.get('nx', 'this interpreter: no .venv-jetpack5 here')}")
    env = {"JETSCHED_STALL_S": f"{STALL_S:g}"}
    with Site() as site:
        yield HostedCluster(site, BOARDS, lease_s=LEASE_S, pythons=pythons, board_env=env)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--faults", type=int, help="three for ten jobs, unless said")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder for chaos.json and, on failure, evidence")
    parser.add_argument("--keep", action="store_true", help="keep the evidence in any case")
    parser.add_argument("--loopback", action="store_true", help="without hosts of their own")
    parser.add_argument("--list", action="store_true", help="only say which faults would be drawn")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    count = options.faults if options.faults is not None else round(options.jobs * 0.3)
    against = "it was asked for" if options.loopback else reason_against()
    boards = ("nx-1", "orin-1") if against else tuple(BOARDS)
    faults = draw_faults(count, options.seed, lease_s=LEASE_S, boards=boards, hosts=not against)
    if options.list:
        print(json.dumps([fault.to_json() for fault in faults], indent=2))
        return 0
    if against:
        say(f"on the loopback, processes are only killed or stopped: {against}")
    out = options.out or Path(tempfile.mkdtemp(prefix="jetsched-chaos-"))
    out.mkdir(parents=True, exist_ok=True)
    say(f"{options.jobs} jobs, {len(faults)} faults, seed {options.seed}; boards {BOARDS}")
    began = time.monotonic()
    with a_cluster(against) as cluster:
        try:
            cluster.start()
            say(f"the cluster is ready after {time.monotonic() - began:.0f} s")
            jobs = draw_jobs(options.jobs, options.seed, str(cluster.prompts))
            chaos = Chaos(cluster, jobs, faults)
            verdict = chaos.run()
        except BaseException:
            keep_evidence(cluster, out)
            print(f"evidence: {out}")
            raise
        verdict.figures |= {"seed": options.seed, "seconds": round(time.monotonic() - began)}
        verdict.figures |= {"hosts": not against, "left_out": against}
        verdict.figures["fault_list"] = [done.to_json() for done in chaos.done]
        (out / "chaos.json").write_text(json.dumps(verdict.to_json(), indent=2) + "\n")
        if options.keep or not verdict.is_good:
            keep_evidence(cluster, out)
    report(verdict, out)
    return 0 if verdict.is_good else 1


def report(verdict: Verdict, out: Path) -> None:
    """The figures, a line each, and what went wrong."""
    for name, value in verdict.figures.items():
        if name not in ("fault_list", "after_faults"):
            print(f"  {name:<26} {value}")
    for kind, found in verdict.figures["after_faults"].items():
        print(f"  after {kind:<20} noticed {found['notice_s']}, runs again {found['again_s']}")
    for name, found in verdict.wrong.items():
        print(f"  {name.replace('_', ' '):<26} {len(found)}")
        for text in found:
            print(f"    {text}")
    print(f"  {out / 'chaos.json'}")


if __name__ == "__main__":
    sys.exit(main())
