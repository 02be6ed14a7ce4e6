"""Request bodies: limited in size before anything reads them, JSON whatever their content type."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext as _

from dwp_project.asgi_types import ASGIApp, Message, Receive, Scope, Send
from dwp_project.gateway import errors
from dwp_project.jsontext import InvalidJSON, parse

# Set in the scope of a request whose body was too large; the body is dropped. Our server sets it
# before it reads the body; behind another server `BodyCap` does. `read_json` refuses the request,
# because token and tenant are checked first (wire.md, 1).
TOO_LARGE = "dwp.body_too_large"


class BodyCap:
    """ASGI middleware that passes on bodies up to `MAX_BODY_BYTES` and drops larger ones."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body = bytearray()
        too_large = scope.get(TOO_LARGE, False) or _declared_length(scope) > settings.MAX_BODY_BYTES
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            if not too_large:
                body += message.get("body", b"")
                too_large = len(body) > settings.MAX_BODY_BYTES
            if not message.get("more_body", False):
                break
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
