"""Routes about the boards, and about the scheduler itself."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from jetsched import policies
from jetsched.cluster.api_errors import ForbiddenError
from jetsched.cluster.api_gate import is_owner
from jetsched.cluster.desk import Desk
from jetsched.cluster.recent import KEPT, Told
from jetsched.policies.specs import Spec


class PolicyWish(BaseModel):
    """Another policy: a name, ``module:Class`` or the absolute path of a file, with options."""

    model_config = ConfigDict(extra="forbid")

    policy: str = Field(min_length=1, max_length=4096)


def add_board_routes(app: FastAPI, desk: Desk) -> None:
    """Put the routes into the application."""

    @app.get("/devices", tags=["boards"])
    def devices() -> list[dict[str, Any]]:
        """Every board that this cluster has seen."""
        return desk.devices()

    @app.get("/devices/recent", tags=["boards"])
    def recent(
        after_s: Annotated[float | None, Query()] = None,
        most: Annotated[int, Query(ge=1, le=KEPT)] = KEPT,
    ) -> dict[str, Told]:
        """What each board has said in the last minutes: lists of one length, oldest first.

        Of the newest `most` samples come those that are newer than `after_s`, a moment of `at_s`;
        null stands where nobody knows it. A board that has nothing to tell is left out.
        """
        return desk.recent(after_s, most)

    @app.post("/devices/{device_id}/doctor", tags=["boards"])
    def examine(device_id: str) -> dict[str, Any]:
        """Have the doctor look at a board now; answers with all that it finds, fine or not."""
        return desk.doctor(device_id)

    @app.get("/devices/{device_id}/doctor", tags=["boards"])
    def doctor(device_id: str) -> dict[str, Any]:
        """What the doctor found on a board; where it has not looked yet, it does so now."""
        return desk.last_doctor(device_id) or desk.doctor(device_id)

    @app.get("/status", tags=["scheduler"])
    def status() -> dict[str, Any]:
        """The policy, its mistakes, and how many jobs there are."""
        return desk.health()

    @app.post("/policy", tags=["scheduler"])
    def use_policy(wish: PolicyWish, request: Request) -> dict[str, Any]:
        """Have another policy decide, from now on and about everything that waits."""
        named = Spec.of(wish.policy).where
        if not is_owner(request.scope) and named not in {p.name for p in policies.describe()}:
            raise ForbiddenError(
                f"{named} is code that the head would load, and that only its owner may name",
                hint="policies of the head: jetsched policies; or on the head itself",
            )
        return desk.use_policy(wish.policy)
