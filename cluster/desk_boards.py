"""Boards at the desk: which there are, and how they do."""

from __future__ import annotations

from typing import Any

from jetsched.cluster.boards import Board
from jetsched.cluster.conditions import state_of, troubles_of, words_of
from jetsched.cluster.desk_doctor import DoctorDesk
from jetsched.cluster.recent import KEPT, Recent, Told, told_of
from jetsched.files import to_json


class BoardDesk(DoctorDesk):
    """Answers about boards. Methods may be called from any thread."""

    def devices(self) -> list[dict[str, Any]]:
        """Every board that this cluster has seen."""
        return self._cluster.ask(self._boards)

    def recent(self, after_s: float | None = None, most: int = KEPT) -> dict[str, Told]:
        """What boards have said in the last minutes, by device: see :class:`Recent`."""

        return told_of(self.readings(), after_s, most)

    def readings(self) -> dict[str, Recent]:
        """The same as it is kept, by device."""

        def answer(now_s: float) -> dict[str, Recent]:
            return {b.id: b.recent.copy() for _, b in sorted(self._cluster.boards.items())}

        return self._cluster.ask(answer)

    def reading(self, device_id: str) -> Recent:
        """The same of one board. Raises :class:`UnknownDeviceError`."""
        return self._cluster.ask(lambda now_s: self._board_named(device_id).recent.copy())

    def device(self, device_id: str) -> dict[str, Any]:
        """One board, as :meth:`devices` tells it. Raises :class:`UnknownDeviceError`."""
        return self._cluster.ask(lambda now_s: self._board(self._board_named(device_id), now_s))

    def device_names(self) -> list[str] | None:
        """What ``needs.device`` may name; None while there is no board at all.

        Read beside the loop, so that a submission asks the loop once only.
        """
        names: set[str] = set()
        for board in list(self._cluster.boards.values()):
            device = board.device
            if device is not None:
                names |= {device.model, board.id, *device.labels}
        return sorted(names) or None

    def _boards(self, now_s: float) -> list[dict[str, Any]]:
        return [self._board(b, now_s) for _, b in sorted(self._cluster.boards.items())]

    def _board(self, board: Board, now_s: float) -> dict[str, Any]:
        fleet, device, reading = self._scheduler.fleet, board.device, board.reading
        kind = device.device_class if device is not None else None
        closings = fleet.closings.get(board.id, {})
        drift = self._drift.drift(board.id, kind)
        identity = board.info.identity if board.info is not None else None
        profile = self._cluster.profiles.of(device, identity) if device is not None else None
        troubles = troubles_of(board, closings, drift, profile)
        job_id = fleet.job_on.get(board.id)
        record = self._scheduler.jobs[job_id] if job_id is not None else None
        current = record.current if record is not None else None
        progress = next((w.progress for w in board.attempts.values() if w.progress), None)
        finish_s = fleet.finish_s.get(board.id)
        return {
            "id": board.id,
            "state": state_of(board, closings, troubles, job_id is not None),
            "text": words_of(board, closings, troubles),
            "closings": [{"code": code, "text": text} for code, text in closings.items()],
            "troubles": troubles,
            "model": device.model if device is not None else None,
            "device_class": to_json(kind),
            "labels": list(device.labels) if device is not None else [],
            "emulated": kind.emulated if kind is not None else None,
            "scale": board.info.scale if board.info is not None else None,
            "cap": board.info.cap if board.info is not None else None,
            "slowdown": board.info.slowdown if board.info is not None else None,
            "has_mib": kind.memory_mib if kind is not None else None,
            "memory_mib": board.jobs_mib,
            "others_mib": reading and reading.others_mib,
            "memory_free_mib": reading and reading.memory_free_mib,
            "memory_total_mib": reading and reading.memory_total_mib,
            "gpu_util_pct": board.gpu_util_pct,
            "power_w": reading and reading.power_w,
            "temperature_c": reading and reading.temperature_c,
            "power_mode": _first(reading and reading.power_mode, kind and kind.power_mode),
            "throttled": reading and reading.throttled,
            "disk_free_mib": reading and reading.disk_free_mib,
            "drift": to_json(drift),
            "profile": to_json(profile),
            "examined_s": board.examined.at_s if board.examined is not None else None,
            "findings": to_json(board.examined.to_do) if board.examined is not None else None,
            "job_id": job_id,
            "job_name": record.job.name if record is not None else None,
            "progress": to_json(progress),
            "start_s": current.start_s if current is not None else None,
            "finish_s": finish_s,
            "overdue_s": None if finish_s is None else max(0.0, now_s - finish_s),
        }


def _first(*values: Any) -> Any:
    """The first that is known."""
    return next((value for value in values if value is not None and value != ""), None)
