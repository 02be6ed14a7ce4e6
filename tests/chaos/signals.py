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
        members = json.loads(text)
    except ValueError:
        return "is no JSON"
    if not isinstance(members, dict) or members.get("type") not in _STATUS:
        return "has no known type"
    kind = members["type"]
    if set(members) != _MEMBERS[kind]:
        return f"has the members {sorted(members)}"
    if members["status"] != _STATUS[kind]:
        return f"is a {kind} that says {members['status']!r}"
    if type(members["timestamp"]) is not int:
        return f"has the timestamp {members['timestamp']!r}"
    if not isinstance(members["requestId"], str) or not isinstance(members.get("reason", ""), str):
        return "has a member that is no text"
    return None


def request_of(text: str) -> str:
    """Return the request that a well-formed signal names."""
    return str(json.loads(text)["requestId"])


def status_of(text: str) -> str:
    """Return the decision that a well-formed signal tells."""
    return str(json.loads(text)["status"])
