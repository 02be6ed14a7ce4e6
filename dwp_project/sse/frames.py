"""Frames of a server-sent event stream, byte for byte (docs/reference/wire.md, 4.3)."""

from __future__ import annotations

CONNECTED = b": connected\n\n"
HEARTBEAT = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"

HEADERS = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-cache"),
    ("Connection", "keep-alive"),
    ("X-Accel-Buffering", "no"),
)
# JSON leaves these as they are, and common readers of streams split lines at them, as Python's
# `str.splitlines` does. Of what else it splits at, JSON escapes all.
_LINE_ENDS = str.maketrans({end: f"\\u{ord(end):04x}" for end in "\u0085\u2028\u2029"})


def event(event_id: int, name: str, data: str) -> bytes:
    """Return one event: its id, its name and its data in a single `data:` line.

    `data` is compact JSON, which holds no line feed. Other ends of lines are in its texts alone,
    and are escaped here, because stored events have them.
    """
    return f"id: {event_id}\nevent: {name}\ndata: {data.translate(_LINE_ENDS)}\n\n".encode()


def retry(milliseconds: int) -> bytes:
    """Return the frame that tells a client when to come back after the connection broke."""
    return b"retry: %d\n\n" % milliseconds
