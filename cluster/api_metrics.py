"""The route /metrics, for Prometheus. deploy/grafana.json draws what stands here by its names.

It wants a token, also on the loopback, which every user of the machine can reach: the role
*metrics* opens this and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from jetsched import __version__
from jetsched.cluster.desk import Desk
from jetsched.cluster.figures import RATIOS, Figures
from jetsched.cluster.pulse import Pulse

MIB = 1024 * 1024

#: Of a device's row: the metric, what it says, the row's key, and how many of its unit that is.
DEVICE_GAUGES: tuple[tuple[str, str, str, float], ...] = (
    ("gpu_ratio", "How busy the GPU is, 0 to 1.", "gpu_util_pct", 0.01),
    ("memory_bytes", "Memory for jobs.", "has_mib", MIB),
    ("memory_used_bytes", "Memory that the running job holds.", "memory_mib", MIB),
    ("memory_free_bytes", "Memory that is free on the board.", "memory_free_mib", MIB),
    ("power_watts", "What the board draws.", "power_w", 1.0),
    ("temperature_celsius", "Its hottest sensor.", "temperature_c", 1.0),
    ("disk_free_bytes", "Free on the disk where attempts live.", "disk_free_mib", MIB),
)


def add_metrics_route(app: FastAPI, desk: Desk, pulse: Pulse, journal: Path | None) -> None:
    """Put the route into the application; ``journal`` is the file whose size it tells."""
    registry = CollectorRegistry()
    registry.register(_Collector(desk, pulse, journal))
    ProcessCollector(registry=registry)

    @app.get("/metrics", tags=["scheduler"], response_class=Response)
    def metrics() -> Response:
        """Figures for Prometheus, in its text format. A token of role *metrics* is enough."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class _Collector:
    """Asks for all figures at each scrape."""

    def __init__(self, desk: Desk, pulse: Pulse, journal: Path | None) -> None:
        self._desk = desk
        self._pulse = pulse
        self._journal = journal

    def describe(self) -> list[Metric]:
        """Nothing: to register must not ask a loop that does not turn yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        figures = self._desk.figures()
        yield from _of_jobs(figures)
        yield from _of_devices(figures)
        yield from _of_attempts(figures)
        yield from self._of_service(figures)

    def _of_service(self, figures: Figures) -> Iterator[Metric]:
        build = GaugeMetricFamily(
            "jetsched_build_info", "The version and the policy.", labels=("version", "policy")
        )
        build.add_metric((__version__, figures.policy), 1)
        yield build
        yield CounterMetricFamily(
            "jetsched_events", "Events that the loop has handled.", value=figures.events
        )
        yield _gauge(
            "jetsched_loop_lag_seconds",
            "How long a question waited for the loop, the last time.",
            self._pulse.lag_s,
        )
        yield _gauge(
            "jetsched_loop_silent_seconds",
            "For how long the loop has not answered.",
            self._pulse.silent_s,
        )
        yield _gauge(
            "jetsched_policy_errors", "Mistakes of policies that are remembered.",
            figures.policy_errors,
        )  # fmt: skip
        if self._journal is not None:
            yield _gauge("jetsched_journal_bytes", "The journal's size.", _size(self._journal))


def _of_jobs(figures: Figures) -> Iterator[Metric]:
    states = GaugeMetricFamily("jetsched_jobs", "Jobs by state.", labels=("state",))
    for state, count in figures.states.items():
        states.add_metric((state,), count)
    yield states
    waiting = GaugeMetricFamily(
        "jetsched_waiting", "Jobs that wait or are held, by reason.", labels=("reason",)
    )
    for code, count in figures.waiting.items():
        waiting.add_metric((code,), count)
    yield waiting
    yield _gauge("jetsched_paused", "1 while the queue is paused.", figures.paused)


def _of_devices(figures: Figures) -> Iterator[Metric]:
    labels = ("device", "model")
    states = GaugeMetricFamily(
        "jetsched_device_state", "1 for the state that a device is in.", labels=(*labels, "state")
    )
    for row in figures.devices:
        states.add_metric((*_names(row), row["state"]), 1)
    yield states
    for name, text, key, unit in DEVICE_GAUGES:
        gauge = GaugeMetricFamily(f"jetsched_device_{name}", text, labels=labels)
        for row in figures.devices:
            if row.get(key) is not None:
                gauge.add_metric(_names(row), row[key] * unit)
        yield gauge


def _of_attempts(figures: Figures) -> Iterator[Metric]:
    ended = figures.ended
    outcomes = CounterMetricFamily(
        "jetsched_attempts", "Attempts that ended since the service began.", labels=("outcome",)
    )
    for outcome, count in ended.outcomes.items():
        outcomes.add_metric((outcome,), count)
    yield outcomes
    within = [(str(bound), count) for bound, count in zip(RATIOS, ended.within, strict=True)]
    yield HistogramMetricFamily(
        "jetsched_time_ratio",
        "Time that an attempt took over its estimate; 1 is right, more is longer.",
        buckets=[*within, ("+Inf", ended.done)],
        sum_value=ended.ratio_sum,
    )


def _names(row: dict[str, Any]) -> tuple[str, str]:
    return row["id"], row["model"] or ""


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _size(journal: Path) -> int:
    """With what SQLite has not moved into it yet."""
    total = 0
    for path in (journal, journal.with_name(journal.name + "-wal")):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
