"""Liveness, which needs no other system, and readiness, which checks what work needs."""

from __future__ import annotations

from typing import Any

from cachetools import LRUCache
from django.conf import settings
from rest_framework import status as http
from rest_framework.request import Request
from rest_framework.response import Response

from dwp_project.asgi_types import ASGIApp, Message, Receive, Scope, Send
from dwp_project.gateway import health_schema as schema
from dwp_project.gateway import readiness
from dwp_project.gateway.views import PublicView

ALIASES = ("health", "aura/health", "aura/agents/health", "agents/health", "auth/health")
_PATHS = {f"/{alias}" for alias in ALIASES}
# The headers that change the answer. Whoever sends a cookie is answered by Django.
_VARY, _NOT_KEPT = (b"origin", b"accept-language"), b"cookie"
# Chosen: more than a deployment's probes and browsers need, in less than 1 MB.
_MAX_ANSWERS, _MAX_KEY_BYTES = 256, 1024


class KeptHealth:
    """ASGI middleware that repeats the answers of `/health` and its aliases, byte for byte.

    Through Django, and on another thread, a probe takes three times as much of a processor.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: LRUCache[tuple[str | bytes, ...], list[Message]] = LRUCache(_MAX_ANSWERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _key_of(scope)
        if key is None:
            return await self._app(scope, receive, send)
        if (kept := self._kept.get(key)) is not None:
            for message in kept:
                await send({**message})
            return None
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append({**message})
            await send(message)

        await self._app(scope, receive, keep)
        if sent and sent[0].get("status") == 200 and not sent[-1].get("more_body", False):
            self._kept[key] = sent
        return None


def _key_of(scope: Scope) -> tuple[str | bytes, ...] | None:
    """Return all that an answer of `/health` depends on; None if it is not kept."""
    if scope["path"] not in _PATHS or scope["method"] not in ("GET", "HEAD"):
        return None
    key: list[str | bytes] = [scope["path"], scope["method"], scope.get("scheme", "http")]
    for name, value in scope["headers"]:
        if name == _NOT_KEPT:
            return None
        if name in _VARY:
            key += name, value
    return tuple(key) if sum(map(len, key)) <= _MAX_KEY_BYTES else None


@schema.health
class HealthView(PublicView):
    """`/health` and its aliases: the process answers (wire.md, 2.1)."""

    def get(self, request: Request) -> Response:
        # No envelope: deployed probes expect exactly this.
        return Response({"status": "healthy", "environment": settings.ENVIRONMENT})


@schema.main_service
class MainServiceView(PublicView):
    """`/main/health`: the same in the envelope, which a deployed dashboard reads (wire.md, 2.1)."""

    def get(self, request: Request) -> Response:
        return self.success("Main Service is running", "OK")


@schema.ready
class ReadyView(PublicView):
    """`/ready`: 200 while requests can be decided, `degraded` if signals are late; else 503."""

    def get(self, request: Request) -> Response:
        down, late = readiness.check()
        body: dict[str, Any] = {"status": "ready"}
        if late:
            body |= {"status": "degraded", "late": [fault.name for fault in late]}
        if down:
            body |= {"status": "not ready", "down": [fault.name for fault in down]}
        if down or late:
            body["reason"] = " ".join(fault.reason for fault in [*down, *late])
        return Response(body, http.HTTP_503_SERVICE_UNAVAILABLE if down else http.HTTP_200_OK)
