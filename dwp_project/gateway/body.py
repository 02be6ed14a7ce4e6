"""Request bodies: capped before they are looked at, JSON whatever the content type says."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext as _

from dwp_project.asgi_types import ASGIApp, Message, Receive, Scope, Send
from dwp_project.gateway import errors
from dwp_project.jsontext import InvalidJSON, parse

# Set in the scope of a request whose body was over the cap; the body itself is dropped. Our
# server sets it before it has read the body, `BodyCap` behind any other.
# The answer is given where bodies are judged, after token and tenant: wire.md, 1.
TOO_LARGE = "dwp.body_too_large"


class BodyCap:
    """ASGI middleware that hands on bodies up to `MAX_BODY_BYTES` and drops larger ones."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body, gone = bytearray(), False
        too_large = scope.get(TOO_LARGE, False) or _declared_length(scope) > settings.MAX_BODY_BYTES
        while not gone:
            message = await receive()
            if message["type"] == "http.disconnect":
                gone = True
                break
            if not too_large:
                body += message.get("body", b"")
                too_large = len(body) > settings.MAX_BODY_BYTES
            if not message.get("more_body", False):
                break
        if gone:
            return None
        first: list[Message] = [
            {
                "type": "http.request",
                "body": b"" if too_large else bytes(body),
                "more_body": False,
            }
        ]

        async def replay() -> Message:
            return first.pop() if first else await receive()

        return await self.app({**scope, TOO_LARGE: too_large}, replay, send)


def read_json(request: HttpRequest) -> dict[str, Any]:
    """Return the body as a JSON object; an empty body is an empty object.

    Raises `BodyTooLarge`, or `ValidationFailed` with what is wrong and where.
    """
    if getattr(request, "scope", {}).get(TOO_LARGE) or len(request.body) > settings.MAX_BODY_BYTES:
        raise errors.BodyTooLarge
    if not request.body.strip():
        return {}
    try:
        value = parse(request.body)
    except InvalidJSON as exc:
        raise errors.ValidationFailed(
            _("The body is not usable JSON: %(why)s.") % {"why": exc}
        ) from exc
    if not isinstance(value, dict):
        raise errors.ValidationFailed(_("The body must be a JSON object."))
    return value


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:12])
    return 0
