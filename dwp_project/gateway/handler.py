"""Django under ASGI, on a bounded number of threads and with each request on one of them."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from corsheaders.middleware import CorsMiddleware
from csp.middleware import CSPMiddleware
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.middleware.security import SecurityMiddleware
from django.urls import set_script_prefix
from django.utils import translation
from prometheus_client import Counter
from structlog.stdlib import get_logger

from dwp_project import offload
from dwp_project.gateway.errors import Overloaded
from dwp_project.gateway.urls import HEALTH_PATHS
from dwp_project.gateway.views import unavailable

logger = get_logger(__name__)
_refused = Counter("dwp_requests_refused", "Requests that found no thread in time.")

# Less than the 5 s that requests in flight have when the server ends; the measurements are in
# docs/explanation/architecture.md ("Threads, and a line before them").
_QUEUE_SECONDS = 4.0
# Chosen: in this time two threads hash about 80 passwords, at half a second each.
_LOGIN_SECONDS = 20.0
# Chosen longer than probes wait: one that is answered 503 may have the process restarted.
_PROBE_SECONDS = 30.0
# Paths with threads of their own.
_PROBE_PATHS = {f"/{path}" for path in (*HEALTH_PATHS, "metrics")}
_LOGIN_PATHS = {"/auth/login", "/admin/login/"}
_READY_PATH = "/ready"


class Handler(ASGIHandler):
    """Django's own handler, but for the threads.

    Django's runs middleware in the event loop and sends every synchronous piece of it to a
    thread made for that request: a dozen changes of thread for each answer, and as many threads
    as there are requests. Here middleware and view run in one go on one of a few threads. Who
    finds none free stands in line, first come, first served; leaves it when the client does; and
    is told to come back when it took too long (wire.md, 2: E5003). Probes and logins have threads
    of their own.
    """

    def __init__(self) -> None:
        super().__init__()
        # Typed for both ways of calling it; behind a synchronous one it is synchronous.
        self._refuse: Any = SecurityMiddleware(CSPMiddleware(CorsMiddleware(_refuse)))
        self._logged_at = -math.inf

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # Without the context for which Django makes a thread: signals and closing, all that is
        # left of it outside `get_response_async`, have nothing to wait for.
        await self.handle(scope, receive, send)

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Return the answer; that of a client who leaves while it is made is made nevertheless."""
        # The file behind it is closed when the client leaves. What is wrong with it, the view
        # finds once more.
        with suppress(RequestDataTooBig, OSError, ValueError):
            _ = request.body
        pool, seconds = _pool_for(request)
        try:
            return await offload.run_request(
                partial(self._respond, request), seconds=seconds, pool=pool
            )
        except offload.Overloaded:
            _refused.inc()
            if time.monotonic() - self._logged_at > 1:
                self._logged_at = time.monotonic()
                logger.warning("overloaded", path=request.path_info, waited=seconds)
            refusal: HttpResponseBase = self._refuse(request)
            return refusal

    def _respond(self, request: Any) -> HttpResponseBase:
        # The thread has not seen what Django has set in the loop.
        set_script_prefix(get_script_prefix(request.scope))
        response = self.get_response(request)
        if isinstance(response, StreamingHttpResponse) and not response.is_async:
            # A file: read here, or Django reads it on the one thread that all requests share.
            response.streaming_content = _single_chunk(b"".join(response))
        return response


def _pool_for(request: HttpRequest) -> tuple[ThreadPoolExecutor, float]:
    """Return the threads that answer this, and for how many seconds one may wait for them."""
    path = request.path_info
    if path in _PROBE_PATHS:
        return offload.probe_pool, _PROBE_SECONDS
    if path == _READY_PATH:
        return offload.readiness_pool, _PROBE_SECONDS
    if path in _LOGIN_PATHS and request.method == "POST":
        return offload.login_pool, _LOGIN_SECONDS
    return offload.request_pool, _QUEUE_SECONDS


async def _single_chunk(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _refuse(request: HttpRequest) -> HttpResponse:
    with translation.override(translation.get_language_from_request(request)):
        return unavailable(Overloaded(), request)
