"""Boards at the desk: which there are, and how they do."""

from __future__ import annotations

from typing import Any

from jetsched.cluster.boards import Board
from jetsched.cluster.desk_base import DeskBase
from jetsched.files import to_json


class BoardDesk(DeskBase):
    """Answers about boards. Methods may be called from any thread."""

    def devices(self) -> list[dict[str, Any]]:
        """Every board that this cluster has seen."""
        return self._cluster.ask(
            lambda now_s: [self._board(b) for _, b in sorted(self._cluster.boards.items())]
        )

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

    def _board(self, board: Board) -> dict[str, Any]:
        fleet, device = self._scheduler.fleet, board.device
        job_id = fleet.job_on.get(board.id)
        state = "busy" if job_id is not None else "ready"
        progress = next(
            (w.progress for w in self._cluster.watched.values() if w.device_id == board.id), None
        )
        return {
            "id": board.id,
            "state": state if board.ready else "offline",
            "text": board.text,
            "model": device.model if device is not None else None,
            "device_class": to_json(device.device_class) if device is not None else None,
            "labels": list(device.labels) if device is not None else [],
            "emulated": device.device_class.emulated if device is not None else None,
            "scale": board.info.scale if board.info is not None else None,
            "cap": board.info.cap if board.info is not None else None,
            "slowdown": board.info.slowdown if board.info is not None else None,
            "has_mib": device.device_class.memory_mib if device is not None else None,
            "memory_mib": progress.memory_mib if progress is not None else None,
            "gpu_util_pct": progress.gpu_util_pct if progress is not None else None,
            "drift": to_json(
                self._drift.drift(board.id, device.device_class if device is not None else None)
            ),
            "job_id": job_id,
            "job_name": self._scheduler.jobs[job_id].job.name if job_id is not None else None,
            "finish_s": fleet.finish_s.get(board.id),
        }
