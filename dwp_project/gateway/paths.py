"""Removes the gateway's prefix, so that every path answers with and without `/api`."""

from __future__ import annotations

from dwp_project.asgi_types import ASGIApp, Receive, Scope, Send

PREFIX = "/api"


class ReadPath:
    """ASGI middleware that removes one leading `/api` from the path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Always empty: daphne takes the root path from a header that any client can send.
        scope = {**scope, "root_path": ""}
        if scope["type"] == "http" and scope["path"].startswith(PREFIX + "/"):
            raw = scope.get("raw_path") or b""
            scope = {
                **scope,
                "path": scope["path"][len(PREFIX) :],
                "raw_path": raw[len(PREFIX) :] if raw.startswith(PREFIX.encode()) else raw,
            }
        await self.app(scope, receive, send)
