"""Why devices that are there take no new jobs, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jetsched.records import Code, Device, Reason
from jetsched.scheduler.events import CLOSINGS

#: What is said of a closing, before the text of whoever closed the device.
_WORDS: Mapping[Code, str] = {
    "Draining": "it is being drained",
    "DeviceOffline": "its agent is silent",
    "TooHot": "it is too hot",
    "NoDisk": "there is too little disk",
    "WrongPowerMode": "it is in another power mode than it was profiled in",
    "EnvMissing": "its software for jobs is missing",
}
#: The most devices that a sentence names.
_MOST_NAMED = 3


def closed_reason(closings: Mapping[Code, str]) -> Reason | None:
    """All closings of a device in one sentence, under the first code; None if there are none."""
    codes = [code for code in CLOSINGS if code in closings]
    if not codes:
        return None
    return Reason(codes[0], "; ".join(_say(code, closings[code]) for code in codes))


def _say(code: Code, text: str) -> str:
    if not text:
        return _WORDS[code]
    return text if code == "DeviceOffline" else f"{_WORDS[code]}: {text}"


def all_closed_reason(closed: Iterable[tuple[Device, Mapping[Code, str]]]) -> Reason | None:
    """Why a job waits of which all suited devices are closed; None if there are none."""
    reasons = [(device.id, closed_reason(closings)) for device, closings in closed]
    told = [(device_id, reason) for device_id, reason in reasons if reason is not None]
    if not told:
        return None
    code = min((reason.code for _, reason in told), key=CLOSINGS.index)
    parts = [f"{device_id}: {reason.text}" for device_id, reason in told[:_MOST_NAMED]]
    if len(told) > _MOST_NAMED:
        parts.append(f"and {len(told) - _MOST_NAMED} more")
    return Reason(code, " · ".join(parts))
