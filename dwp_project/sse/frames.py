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


def event(event_id: int, name: str, data: str) -> bytes:
    """Return one event: its id, its name and its data in a single `data:` line.

    `data` is compact JSON, which holds no line feed.
    """
    return f"id: {event_id}\nevent: {name}\ndata: {data}\n\n".encode()


def retry(milliseconds: int) -> bytes:
    """Return the frame that tells a client when to come back after the connection broke."""
    return b"retry: %d\n\n" % milliseconds
