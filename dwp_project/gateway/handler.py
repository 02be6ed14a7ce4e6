"""Django under ASGI, on a limited number of threads and with each request on one of them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import Any

from corsheaders.middleware import CorsMiddleware
from csp.middleware import CSPMiddleware
from django.core.exceptions import RequestDataTooBig
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.signals import request_started
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
# Paths with pools of their own.
_PROBE_PATHS = {f"/{path}" for path in (*HEALTH_PATHS, "metrics")}
_LOGIN_PATHS = {"/auth/login", "/admin/login/", "/admin/password_change/"}
_READY_PATH = "/ready"


class Handler(ASGIHandler):
    """Django's handler with other threads.

    Django runs middleware in the event loop and every synchronous part of it in a thread created
    for the request: a dozen thread changes for one answer, and as many threads as requests. Here
    middleware and view run together on one thread of a small pool. Requests wait for a free thread
    in order of arrival; a request whose client disconnects leaves the queue, and one that waits too
    long is answered E5003 (wire.md, 2). Probes and logins have pools of their own.
    """

    def __init__(self) -> None:
        super().__init__()
        # `Any`: django-stubs types middleware for sync and async use; here it is sync only.
        self._refuse: Any = SecurityMiddleware(CSPMiddleware(CorsMiddleware(_refuse)))
        self._logged_at = -math.inf

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        body = await _body(receive)
        if body is None:
            return
        # The one task of an answer: it waits for the client to leave.
        leaving = asyncio.ensure_future(receive())
        try:
            request, failure = self.create_request(scope, BytesIO(body))
            response: Any = failure if request is None else await self._answer(request, leaving)
        except offload.CallerLeft:
            return
        finally:
            leaving.cancel()
        await self.send_response(response, send)

    def load_middleware(self, is_async: bool = False) -> None:
        super().load_middleware(is_async=False)

    async def _answer(self, request: HttpRequest, leaving: asyncio.Future[Any]) -> HttpResponseBase:
        """Return the answer, computed on one thread; a call that has begun outlives its client."""
        pool, seconds = _pool_for(request)
        try:
            return await offload.run_request(
                partial(self._respond, request), seconds=seconds, pool=pool, leaving=leaving
            )
        except offload.NoThreadFree:
            _refused.inc()
            if time.monotonic() - self._logged_at > 1:
                self._logged_at = time.monotonic()
                logger.warning("overloaded", path=request.path_info, waited=seconds)
            refusal: HttpResponseBase = self._refuse(request)
            return refusal

    def _respond(self, request: Any) -> HttpResponseBase:
        # Django sends its signals from the event loop, and changes threads for each receiver.
        request_started.send(sender=type(self), scope=request.scope)
        set_script_prefix(get_script_prefix(request.scope))
        # Read whole, so that what reads a form leaves the body to others. If it cannot be read, the
        # view gets the same error again.
        with suppress(RequestDataTooBig, OSError, ValueError):
            _ = request.body
        response = self.get_response(request)
        # Django's own handlers set it, for what asks which handler has answered.
        response._handler_class = type(self)  # type: ignore[attr-defined]
        if isinstance(response, StreamingHttpResponse):
            # A file. Read here, because Django would read it on one thread for all requests.
            response.streaming_content = _single_chunk(b"".join(response))
        response.close()  # sends `request_finished`
        return response


async def _body(receive: Any) -> bytes | None:
    """Return the whole body, whose size is limited already; None if the client left meanwhile."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _pool_for(request: HttpRequest) -> tuple[ThreadPoolExecutor, float]:
    """Return the pool that answers this request, and how many seconds it may wait for a thread."""
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
