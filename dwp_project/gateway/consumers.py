"""The bases of consumers that answer paths outside Django's views.

They apply the same rules as the views: identity, envelope, language, CORS and security headers.
All of them read the same request object that Django's middleware would.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, ParamSpec, TypeVar

from corsheaders.middleware import CorsMiddleware
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.middleware.security import SecurityMiddleware
from django.utils import translation

from dwp_project.gateway import envelope
from dwp_project.gateway.errors import NotFound
from dwp_project.gateway.identity import Identity, authenticate
from dwp_project.gateway.operators import Operator, signed_in
from dwp_project.offload import run_sync
from dwp_project.sse.consumer import HttpConsumer

P = ParamSpec("P")
T = TypeVar("T")


class ApiConsumer(HttpConsumer):
    """Answers one API request in the coroutine `answer`, which subclasses define."""

    request: HttpRequest

    async def respond(self, body: bytes) -> None:
        self.request = ASGIRequest(dict(self.scope), BytesIO(body))
        with translation.override(_language(self.request)):
            try:
                await self.answer()
            except Exception as exc:
                if self.is_started:
                    raise
                await self.send_response(
                    envelope.render_error(envelope.as_error(exc), self.request)
                )

    async def answer(self) -> None:
        """Answer `self.request`: send one response, or raise a `DwpError`."""
        raise NotImplementedError

    async def identity(self) -> Identity:
        """Return who sends the request; raise what `gateway.identity.authenticate` raises."""
        return await run_sync(authenticate, self.request)

    async def send_json(self, body: dict[str, Any], status: int = 200) -> None:
        """Send a complete JSON answer."""
        await self.send_response(envelope.render(body, status))

    async def send_response(self, response: HttpResponse) -> None:
        """Send a complete Django response, with the headers of `response_headers`."""
        response["Content-Length"] = str(len(response.content))
        await self.start(response.status_code, self.response_headers(response))
        await self.finish(response.content)

    def response_headers(self, response: HttpResponse) -> list[tuple[bytes, bytes]]:
        """Return the headers of `response` with those that Django's middleware would add."""
        cors = CorsMiddleware(lambda request: response)
        cors.add_response_headers(self.request, response)
        SecurityMiddleware(lambda request: response).process_response(self.request, response)
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]


class OperatorConsumer(ApiConsumer):
    """Answers a script or a download of the operators' pages, for a signed-in operator only.

    Anybody else gets 404. An answer that stays open checks from time to time who its operator is,
    because memberships and sign-in sessions end: `operator()` reads it for one answer, and
    `open_pages` for all pages together.
    """

    async def operator(self) -> Operator:
        """Return the signed-in operator, read from the database now; raise `NotFound`."""
        # A new request object, because each reads its sign-in session only once.
        operator = await run_sync(signed_in, ASGIRequest(dict(self.scope), BytesIO()))
        if operator is None:
            raise NotFound
        return operator

    async def run_in_language(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `function`, which renders text, in a thread and in the reader's language."""
        language = translation.get_language()

        # The active language belongs to a thread, so the other thread has to set it.
        def call() -> T:
            with translation.override(language):
                return function(*args, **kwargs)

        return await run_sync(call)


def _language(request: HttpRequest) -> str:
    return translation.get_language_from_request(request)
