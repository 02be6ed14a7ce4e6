"""Django under ASGI, on a bounded number of threads and with each request on one of them."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from corsheaders.middleware import CorsMiddleware
from csp.middleware import CSPMiddleware
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.security import SecurityMiddleware
from django.utils import translation
from structlog.stdlib import get_logger

from dwp_project import offload
from dwp_project.gateway.errors import Overloaded
from dwp_project.gateway.urls import HEALTH_PATHS
from dwp_project.gateway.views import unavailable

logger = get_logger(__name__)

# As long as a call waits for a connection to the database (`DATABASES`).
_IN_LINE_SECONDS = 5.0
_PROBES = frozenset(f"/{path}" for path in HEALTH_PATHS)


class Handler(ASGIHandler):
    """Django's own handler, but for the threads.

    Django's runs middleware in the event loop and sends every synchronous piece of it to a
    thread made for that request: a dozen changes of thread for each answer, and as many threads
    as there are requests. Here middleware and view run in one go on one of a few threads. Who
    finds none free stands in line, first come, first served; leaves it when the client does; and
    is told to come back after five seconds (wire.md, 2: E5003). Health asks nobody and has a
    thread of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        # Typed for both ways of calling it; behind a synchronous one it is synchronous.
        self._refuse: Any = SecurityMiddleware(CSPMiddleware(CorsMiddleware(_refuse)))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # Without the context for which Django makes a thread: what is left of it outside
        # `get_response_async`, signals and closing, has nothing to wait for.
        await self.handle(scope, receive, send)

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Return the answer; that of a client who leaves while it is made is made nevertheless."""
        # The file behind it is closed when the client leaves.
        with suppress(RequestDataTooBig):
            _ = request.body
        answer = partial(self.get_response, request)
        if request.path_info in _PROBES:
            return await offload.run_probe(answer)
        try:
            return await offload.run_request(answer, seconds=_IN_LINE_SECONDS)
        except offload.Overloaded:
            logger.warning("overloaded", path=request.path_info, waited=_IN_LINE_SECONDS)
            refusal: HttpResponseBase = self._refuse(request)
            return refusal


def _refuse(request: HttpRequest) -> HttpResponse:
    with translation.override(translation.get_language_from_request(request)):
        return unavailable(Overloaded(), request)
