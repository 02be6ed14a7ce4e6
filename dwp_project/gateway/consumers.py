"""The base of the consumers that answer API paths outside Django's views.

They hold the same rules as the views: identity, envelope, language, CORS and security
headers, all of it read from the one request object that Django's middleware would see.
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
    """One API request answered by a coroutine: `answer`, which subclasses write."""

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
        """Answer `self.request`: raise an error of the wire, or send one response."""
        raise NotImplementedError

    def identity(self) -> Identity:
        """Return who asks; raises what `gateway.identity.authenticate` raises."""
        return authenticate(self.request)

    async def send_json(self, body: dict[str, Any], status: int = 200) -> None:
        """Send a complete JSON answer."""
        await self.send_response(envelope.render(body, status))

    async def send_response(self, response: HttpResponse) -> None:
        """Send a complete Django response, with the headers of the edge."""
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
    """One answer for the pages' own scripts and downloads, to a signed-in operator.

    Whoever is not one hears that there is nothing here. Answers that stay open ask again with
    `operator()`: memberships and sessions end.
    """

    async def operator(self) -> Operator:
        """Return who asks, as the database knows them now; raises `NotFound`."""
        # A fresh request object: a session is read once for each.
        found = await run_sync(signed_in, ASGIRequest(dict(self.scope), BytesIO()))
        if found is None:
            raise NotFound
        return found

    async def run_in_language(
        self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run what renders text in a thread, in the reader's language: threads have their own."""
        language = translation.get_language()

        def call() -> T:
            with translation.override(language):
                return function(*args, **kwargs)

        return await run_sync(call)


def _language(request: HttpRequest) -> str:
    return translation.get_language_from_request(request)
