"""/metrics, and the dashboard that draws it: the same names in both."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_world import LIKE, TOKEN, Served
from live_world import LiveWorld, allocating, table
from prometheus_client.parser import text_string_to_metric_families

from jetsched.cluster.desk import STATES
from jetsched.cluster.figures import RATIOS
from jetsched.cluster.store import JOURNAL
from jetsched.cluster.tokens import TOKENS_FILE, Tokens

DASHBOARD = Path(__file__).resolve().parent.parent / "deploy/grafana.json"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with LiveWorld(tmp_path, table(**{"tiny-gpt2": 1.0})) as world:
        world.until_devices("nx-1", "orin-1")
        tokens = Tokens(tmp_path / TOKENS_FILE)
        with Served(world, tokens, journal=tmp_path / JOURNAL) as served:
            yield served


def page(served: Served, token: str = TOKEN) -> str:
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.get(served.url + "/metrics", headers=headers, trust_env=False)
    assert answer.status_code == 200
    return answer.text


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """By name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str
) -> float:
    return found[name, tuple(sorted(labels.items()))]


def test_the_figures_are_those_of_the_scheduler(served: Served) -> None:
    def command(run: str) -> dict[str, object]:
        return {"work": {"kind": "command", "run": run, "like": LIKE}}

    served.client.submit_specs([command("true"), command(allocating(700, 0))])
    served.world.until_state("1", "done")
    served.world.until_state("2", "done", "killed")
    served.client.submit_specs([command("sleep 60")] * 3)
    found = samples(page(served))
    assert (
        value(found, "jetsched_jobs", state="running")
        + value(found, "jetsched_jobs", state="starting")
        == 2
    )
    assert value(found, "jetsched_jobs", state="waiting") == 1
    waiting = [v for (name, _), v in found.items() if name == "jetsched_waiting"]
    assert sum(waiting) == 1
    outcomes = {
        dict(labels)["outcome"]: v
        for (name, labels), v in found.items()
        if name == "jetsched_attempts_total"
    }
    attempts = [a for job in served.client.jobs() for a in job["attempts"] if a["outcome"]]
    assert sum(outcomes.values()) == len(attempts)
    assert outcomes["done"] == sum(a["outcome"] == "done" for a in attempts)
    assert value(found, "jetsched_time_ratio_count") == outcomes["done"]
    within = [value(found, "jetsched_time_ratio_bucket", le=str(bound)) for bound in RATIOS]
    assert within == sorted(within)
    assert value(found, "jetsched_device_memory_bytes", device="orin-1", model="orin-nano") == (
        2000 * 1024 * 1024
    )
    assert value(found, "jetsched_journal_bytes") > 0
    assert value(found, "jetsched_events_total") > 0
    assert value(found, "jetsched_loop_lag_seconds") >= 0
    for job in served.client.jobs(open_only=True):
        served.client.cancel(job["id"])


def test_every_state_is_there_also_without_a_job(served: Served) -> None:
    found = samples(page(served))
    assert {dict(labels)["state"] for name, labels in found if name == "jetsched_jobs"} == set(
        STATES
    )


def test_the_page_wants_a_token_and_one_for_metrics_opens_nothing_else(served: Served) -> None:
    token = Tokens(served.world.home / TOKENS_FILE).new("prometheus", "metrics")
    assert "jetsched_build_info" in page(served, token)
    with httpx.Client(base_url=served.url, trust_env=False) as http:
        assert http.get("/metrics").status_code == 401
        headers = {"Authorization": f"Bearer {token}"}
        for path in ("/jobs", "/devices", "/events", "/metrics/", "/status"):
            assert http.get(path, headers=headers).status_code == 403


def test_the_dashboard_uses_metrics_that_are_there_and_draws_all_of_ours(served: Served) -> None:
    text = page(served)
    there = {
        name
        for family in text_string_to_metric_families(text)
        for name in (
            [family.name + "_" + end for end in ("bucket", "sum", "count")]
            if family.type == "histogram"
            else [family.name + ("_total" if family.type == "counter" else "")]
        )
    }
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = " ".join(
        target["expr"] for panel in dashboard["panels"] for target in panel["targets"]
    ) + json.dumps(dashboard["templating"])
    used = set(re.findall(r"\b(?:jetsched|process)_[a-z_]+", expressions))
    assert used - there == set()
    assert {name for name in there if name.startswith("jetsched_")} - used == set()
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
