"""A jetsched cluster on hosts of their own: a head that nobody runs jobs on, and emulated boards.

Everything is started as on real machines: `jetsched up --foreground` and `jetsched join` as units
that are started again after each boot. The scheduler is asked through its API over the network.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from multihost import DISK, ROOT, Host, Site

from jetsched.cluster.client import Client
from jetsched.cluster.state import STATE_FILE
from jetsched.cluster.store import JOURNAL, journal_entries
from jetsched.errors import JetschedError, UnreachableError
from jetsched.records import FINAL_STATES
from jetsched.scheduler.events import Entry

#: Against hanging only.
SOON_S = 180.0
#: The command, on every host, and a Xavier NX's interpreter where `make test-jetpack5` made it.
JETSCHED = [sys.executable, "-m", "jetsched"]
PYTHON38 = ROOT / ".venv-jetpack5/bin/python"
HOME = DISK / "home"
API_PORT = 8080
#: A few prompts, on the head.
PROMPTS = DISK / "prompts.jsonl"
SOME_PROMPTS = '{"prompt": "What is a board?"}\n' * 4
#: Enough for tiny models on both.
BOARDS = {"nx": "xavier-nx:0.2", "orin": "orin-nano:0.4"}
LIKE = {"kind": "infer", "model": "tiny-gpt2", "prompt_tokens": 8, "max_new_tokens": 4}


class AskedCluster:
    """A live cluster that answers sooner or later, whatever has just been done to it."""

    #: The names of its boards.
    names: tuple[str, ...] = ()
    #: A few prompts in a file of the head.
    prompts = PROMPTS

    def client(self, timeout_s: float = 10.0, *, as_owner: bool = False) -> Client:
        """The scheduler's API; the head's owner may name files of the head."""
        raise NotImplementedError

    @contextlib.contextmanager
    def patience(self) -> Iterator[None]:
        """Swallow that the head does not answer, or has just been given another owner's token."""
        try:
            yield
        except UnreachableError:
            pass
        except JetschedError as error:
            if "token" not in str(error):
                raise

    def asked(self, question: Callable[[Client], Any]) -> Any:
        """Ask until the scheduler answers, whatever has just happened to it."""

        def answer() -> Any:
            with self.patience(), self.client(as_owner=True) as client:
                return (question(client),)
            return None

        return until(answer)[0]

    def submit(self, run: str, **job: Any) -> str:
        """A command as a job; returns its id."""
        return self.submit_spec({"work": {"kind": "command", "run": run, "like": LIKE}, **job})

    def submit_spec(self, spec: dict[str, Any]) -> str:
        return str(self.asked(lambda client: client.submit_specs([spec]))[0]["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.asked(lambda client: client.job(job_id)))

    def wait(self, job_id: str, *states: str) -> dict[str, Any]:
        """Wait for a state of a job, or for its end if none is named."""
        wanted = states or tuple(FINAL_STATES)
        return dict(until(lambda: (job := self.job(job_id))["state"] in wanted and job))

    def attempts(self, job_id: str) -> list[tuple[str, str]]:
        """Wait for the job's end; returns (device, outcome) of its attempts."""
        return [(a["device"], a["outcome"]) for a in self.wait(job_id)["attempts"]]

    def states(self) -> dict[str, str]:
        """The boards' states."""
        return {d["id"]: d["state"] for d in self.asked(lambda client: client.devices())}

    def wait_ready(self) -> None:
        """Wait until every board takes jobs."""
        until(self.is_ready, self.evidence)

    def is_ready(self) -> bool:
        states = self.states()
        return all(states.get(name) in ("ready", "busy") for name in self.names)

    def evidence(self) -> str:
        """What may explain a failure."""
        return ""


class HostedCluster(AskedCluster):
    """A head and boards on hosts of a site. :meth:`start` boots them all and waits for them."""

    def __init__(
        self,
        site: Site,
        boards: Mapping[str, str] = BOARDS,
        *,
        lease_s: float = 15.0,
        health: str = "tight",
        pythons: Mapping[str, Path] | None = None,
        board_env: Mapping[str, str] | None = None,
        disk_mib: int = 2048,
    ) -> None:
        self.site = site
        self.head = site.host("head", disk_mib=disk_mib)
        self.boards = {
            name: site.host(name, disk_mib=disk_mib, cpu=number)
            for number, name in enumerate(boards)
        }
        self.lease_s, self._health = lease_s, health
        self._emulate, self._pythons = dict(boards), dict(pythons or {})
        self._board_env = dict(board_env or {})
        self.names = tuple(self.boards)
        self._token = ""

    @property
    def hosts(self) -> dict[str, Host]:
        return {"head": self.head, **self.boards}

    @property
    def url(self) -> str:
        return f"http://{self.head.address}:{API_PORT}"

    @property
    def home(self) -> Path:
        """The head's data home, as seen from here."""
        return self.head.disk / "home"

    @property
    def journal(self) -> Path:
        """The journal by its path in the site: SQLite wants one without links of /proc."""
        return Path("/mnt/head/home") / JOURNAL

    # ---------------------------------------------------------------------------------- starting

    def start(self) -> None:
        """Boot everything; returns when all boards are ready."""
        for host in self.hosts.values():
            host.power_on()
        (self.head.disk / PROMPTS.name).write_text(SOME_PROMPTS)
        env = {"JETSCHED_HOME": str(HOME)}
        self._token = self._make_token("tests", "admin")
        node_token = self._make_token("boards", "node")
        up = ["up", "--foreground", "--host", self.head.address, "--port", str(API_PORT)]
        up += ["--health", self._health, "--lease", f"{self.lease_s:g}s", "--allow-commands"]
        self.head.unit("head", [*JETSCHED, *up], env)
        for name, host in self.boards.items():
            (host.disk / "token").write_text(node_token)
            (host.disk / "token").chmod(0o600)
            join = ["join", self.url, "--token-file", str(DISK / "token"), "--name", name]
            join += ["--emulate", self._emulate[name]]
            if name in self._pythons:
                join += ["--workload-python", str(self._pythons[name])]
            host.unit("node", [*JETSCHED, *join], {**env, **self._board_env})
        self.wait_ready()

    def _make_token(self, name: str, role: str) -> str:
        words = [*JETSCHED, "token", "new", name, "--role", role]
        done = self.head.run(words, env={"JETSCHED_HOME": str(HOME)})
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[0].strip()

    # ------------------------------------------------------------------------------------ asking

    def client(self, timeout_s: float = 10.0, *, as_owner: bool = False) -> Client:
        """The scheduler's API, from this machine; the head's owner may name files of the head."""
        port, token = self.site.console(self.head.address, API_PORT), self._token
        if as_owner:
            with contextlib.suppress(OSError, ValueError):  # it is just coming up
                token = json.loads((self.home / STATE_FILE).read_bytes())["api_token"]
        return Client(f"http://127.0.0.1:{port}", token, timeout_s=timeout_s)

    def entries(self) -> list[Entry]:
        """What is in the journal now."""
        return self.site.opener.do(lambda: list(journal_entries(self.journal)))

    def evidence(self) -> str:
        """The ends of the logs of all hosts, for a failure that has to be explained."""
        parts = []
        for name, host in self.hosts.items():
            for log in [*host.disk.glob("*.log"), *host.disk.glob("home/logs/service.log")]:
                lines = log.read_text(errors="replace").splitlines()[-12:]
                parts.append("\n    ".join([f"--- {name}: {log.name}", *lines]))
        return "\n".join(parts)


def until(fact: Callable[[], Any], evidence: Callable[[], str] = lambda: "") -> Any:
    """Wait until something is true; returns it."""
    end = time.monotonic() + SOON_S
    while not (value := fact()):
        assert time.monotonic() < end, f"it did not become true\n{evidence()}"
        time.sleep(0.1)
    return value


@contextlib.contextmanager
def a_cluster(boards: Mapping[str, str] = BOARDS, **options: Any) -> Iterator[HostedCluster]:
    """A cluster on hosts that is ready. All of it is gone afterwards."""
    with Site() as site:
        cluster = HostedCluster(site, boards, **options)
        cluster.start()
        yield cluster
