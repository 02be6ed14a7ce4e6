"""The path of a request, read from the bytes of its target: split into segments, then decoded.

Ids are opaque texts and stand in paths percent-encoded (docs/reference/wire.md, "Paths"): `u%2F1`
is one segment. What servers call `path` is decoded as a whole, and has lost that.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from django.http import HttpRequest

from dwp_project.asgi_types import ASGIApp, Receive, Scope, Send

PREFIX = b"api"
# Stay percent-encoded in a decoded path: what would be read as a part of the path itself, and what
# is no text.
_KEPT = re.compile("[/%\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# `http://host:8080/path`, which servers have to accept (RFC 9112, 3.2.2); without user information.
_ABSOLUTE = re.compile(
    rb"(?P<scheme>https?)://(?P<authority>(?:\[[0-9a-f:.]+\]|[^]\[/:@]+)(?::[0-9]*)?)(?P<path>/.*)?",
    re.IGNORECASE | re.DOTALL,
)


class ReadPath:
    """ASGI middleware that gives a scope the path as this module reads it, without one leading
    `/api`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Always empty: daphne takes the root path from a header that any client can send.
        scope = {**scope, "root_path": ""}
        if scope["type"] == "http":
            scope |= _read(scope)
        await self.app(scope, receive, send)


class SegmentConverter:
    """`<segment:request_id>` in a route: one segment of the path, any text without control
    characters."""

    regex = "(?:[^/%\x00-\x1f\x7f-\x9f]|%2F|%25)+"

    def to_python(self, value: str) -> str:
        """Return the text of the segment."""
        return value.replace("%2F", "/").replace("%25", "%")

    def to_url(self, value: str) -> str:
        """Return the segment of a text, of which `reverse` escapes the rest; one with `/` or `%` it
        would escape twice."""
        return value


def full_path(request: HttpRequest) -> str:
    """Return the path and query that lead back to a page. `get_full_path` would escape a second
    time what stays encoded in a path."""
    path, mark, query = request.get_full_path().partition("?")
    return path.replace("%25", "%") + mark + query


def _read(scope: Scope) -> Scope:
    """Return the members of the scope that its target changes."""
    # Not every server has the bytes; then a `%2F` is lost before we see it.
    raw: bytes = scope.get("raw_path") or quote(scope["path"], errors="surrogateescape").encode()
    members: Scope = {}
    absolute = _ABSOLUTE.fullmatch(raw)
    # Any other target without a leading `/` leads nowhere, and so does another scheme than that of
    # the connection (RFC 9110, 7.4).
    if absolute and absolute["scheme"].lower().decode() == scope.get("scheme", "http"):
        raw = absolute["path"] or b"/"
        # What the target names is the host, whatever the header says (RFC 9112, 3.2.2).
        others = [header for header in scope["headers"] if header[0] != b"host"]
        members["headers"] = [(b"host", absolute["authority"]), *others]
    segments = raw.split(b"/")
    if len(segments) > 2 and not segments[0] and unquote_to_bytes(segments[1]) == PREFIX:
        del segments[1]
    members["path"] = "/".join(map(_decoded, segments))
    members["raw_path"] = b"/".join(segments)
    return members


def _decoded(segment: bytes) -> str:
    """Return the segment as text. `/` and `%` in it are `%2F` and `%25`; control characters and
    bytes that are not UTF-8 stay encoded too, so that no id is such a text."""
    text = unquote_to_bytes(segment).decode("utf-8", "surrogateescape")
    return _KEPT.sub(_encoded, text)


def _encoded(kept: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in kept[0].encode("utf-8", "surrogateescape"))
