"""The scheduler's process: the loop, the journal and the API. ``up`` starts it, detached.

Its state is the journal: killed at any moment, the next one replays it and goes on. What ran goes
on meanwhile, and is adopted.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from jetsched.cluster.api_gate import Guard
from jetsched.cluster.api_server import Tls, http_server
from jetsched.cluster.boards import timing_for
from jetsched.cluster.calling import RayGone
from jetsched.cluster.courier import CourierOptions
from jetsched.cluster.fetching import Sizes
from jetsched.cluster.filecache import BUNDLES_FOLDER
from jetsched.cluster.joining import Joining
from jetsched.cluster.link import NAMESPACE, RayLink
from jetsched.cluster.raynodes import stay_on_loopback
from jetsched.cluster.restarting import RAY_GONE_CODE
from jetsched.cluster.rules import Rules
from jetsched.cluster.scheduling import LOGS, Service
from jetsched.cluster.shelf import FILES
from jetsched.cluster.state import ClusterState, alone, read_state
from jetsched.cluster.store import JOURNAL
from jetsched.cluster.tokens import TOKENS_FILE, Tokens
from jetsched.errors import InputError, JetschedError

log = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Serve the cluster that the state file describes, until SIGTERM."""
    parser = argparse.ArgumentParser(prog="jetsched.cluster.service")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--socket", type=int, required=True, help="descriptor of a bound socket")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    os.umask(0o077)  # the journal and the logs hold what jobs say, their environment included
    os.set_inheritable(options.socket, False)
    try:
        with only_one(options.home):
            serve(options.home, socket.socket(fileno=options.socket))
    except JetschedError as error:
        log.error("%s", error)
        return RAY_GONE_CODE if isinstance(error, RayGone) else error.exit_code
    return 0


def serve(home: Path, listener: socket.socket) -> None:
    """Connect to Ray, run the loop in this thread and the API in another."""
    state = read_state(home)
    if state is None:
        raise InputError(f"no cluster was started in {home}")
    stay_on_one_thread()
    connect_ray(state)
    from jetsched.profiler.costs import CostModel

    costs = CostModel()
    since_s = datetime.fromisoformat(state.started_at).timestamp()
    service = Service(
        home,
        state.policy,
        RayLink(),
        costs,
        timing=timing_for(state.options.health),
        since_s=since_s,
        ray_since_s=state.ray_since_s,
        aging_s=state.options.aging_s,
        calibrate=costs.calibrate,
        files=CourierOptions(
            Sizes() if state.options.checkpoints_to_head else Sizes(checkpoint_mib=0.0)
        ),
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # after Ray, which sets its own
        signal.signal(number, lambda *_: service.cluster.close())
    guard = Guard(state.api_token, Tokens(home / TOKENS_FILE))
    server = http_server(
        service.desk,
        guard,
        Rules(
            commands=state.options.allow_commands,
            roots=(home / FILES / BUNDLES_FOLDER,),
            secrets=service.secrets,
        ),
        tls=tls_of(state),
        joining=Joining(home, state, service.desk.devices),
        journal=home / JOURNAL,
        home=home,
    )
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="api", daemon=True
    )
    thread.start()
    try:
        service.run()
    finally:
        server.should_exit = True
        thread.join(5)
    log.info("stopped")


def tls_of(state: ClusterState) -> Tls | None:
    """What the API is encrypted with, None for nothing."""
    cert, key = state.options.tls_cert, state.options.tls_key
    return Tls(Path(cert), Path(key)) if cert else None


def stay_on_one_thread() -> None:
    """Have linear algebra use one thread, in this process and in what it starts: no jobs.

    Its matrices are small, and where jobs use the cores, threads that wait for each other spin.
    To be called before anything loads such a library, which asks for this only then.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"


def connect_ray(state: ClusterState) -> None:
    """Become a driver of the cluster's Ray."""
    # Where it is installed Ray loads it, 25 MB, for tables that nobody sends here.
    sys.modules.setdefault("pyarrow", None)  # type: ignore[arg-type]
    import ray

    stay_on_loopback()
    ray.init(
        address=state.ray_address,
        namespace=NAMESPACE,
        _node_ip_address=state.host,
        log_to_driver=False,
        configure_logging=False,
    )


def only_one(home: Path) -> AbstractContextManager[None]:
    """Hold the data home's journal. Raises :class:`InputError` where another service has it."""
    return alone(home / LOGS, f"another scheduler uses {home}")


if __name__ == "__main__":
    # Not `__main__`'s own copies: Ray pickles classes by the name of their module.
    from jetsched.cluster import service

    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(service.main())
