"""The two shapes of a signal, spelt out once more, apart from the product."""

from __future__ import annotations

import json

_STATUS = {"approval": "approved", "rejection": "rejected"}
_MEMBERS = {
    "approval": {"type", "requestId", "status", "timestamp"},
    "rejection": {"type", "requestId", "status", "reason", "timestamp"},
}


def fault(text: str) -> str | None:
    """Return what keeps `text` from being a signal (wire.md, 5.2), or None."""
    try:
        told = json.loads(text)
    except ValueError:
        return "is no JSON"
    if not isinstance(told, dict) or told.get("type") not in _STATUS:
        return "has no known type"
    kind = told["type"]
    if set(told) != _MEMBERS[kind]:
        return f"has the members {sorted(told)}"
    if told["status"] != _STATUS[kind]:
        return f"is a {kind} that says {told['status']!r}"
    if type(told["timestamp"]) is not int:
        return f"has the timestamp {told['timestamp']!r}"
    if not isinstance(told["requestId"], str) or not isinstance(told.get("reason", ""), str):
        return "has a member that is no text"
    return None


def request_of(text: str) -> str:
    """Return the request that a well-formed signal names."""
    return str(json.loads(text)["requestId"])


def status_of(text: str) -> str:
    """Return the decision that a well-formed signal tells."""
    return str(json.loads(text)["status"])
