"""daphne's server on sockets that are bound already, with an orderly end."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from functools import partial
from typing import Any
from weakref import WeakSet

import structlog
from daphne.server import Server as DaphneServer
from twisted.internet import defer
from twisted.internet import reactor as installed_reactor
from twisted.logger import LogLevel, globalLogPublisher

from dwp_project.asgi_types import ASGIApp
from dwp_project.gateway.body import TOO_LARGE
from dwp_project.server.factory import LOG_AGAIN_SECONDS, Factory
from dwp_project.server.limits import DEFAULT_LIMITS, REMEDY, Limits, allow_open_files
from dwp_project.server.ports import OpenPort
from dwp_project.server.request import Request
from dwp_project.server.shutdown import DrainCallback, DrainCallbacks, cancel_all, drain_connections
from dwp_project.sse.consumer import DRAIN, WRITE

logger = structlog.get_logger(__name__)
# `Any`: Twisted assembles these at run time, and no declared type has all their methods.
reactor: Any = installed_reactor
_twisted_log: Any = globalLogPublisher

_STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# One look a second at all connections instead of a timer for each (docs/adr/0020).
_SWEEP_SECONDS = 1.0
# Chosen: a loop that fails at once does not fill the log, and the promised delays of its work are
# not long exceeded.
_BACKGROUND_PAUSE_SECONDS = 5.0
# Chosen: clients wait in the backlog for so long when no file can be opened.
_ACCEPT_AGAIN_SECONDS = 1.0
# What Twisted logs when it cannot accept a connection.
_ACCEPTING, _NOT_ACCEPTED = "twisted.internet.tcp.Port", ("EMFILE enc", "Could not accept")


class Server(DaphneServer):
    """Serves `application` on listening `ports` until a signal.

    `background` runs beside it, `on_ready` is called when clients are answered, `on_drain` before
    open answers are asked to end. A failure of the application affects neither other requests nor
    the process, and no client can fill its memory or delay its end.
    """

    def __init__(
        self,
        application: ASGIApp,
        ports: Sequence[OpenPort],
        *,
        background: Callable[[], Coroutine[Any, Any, None]] | None = None,
        on_ready: Callable[[], None] | None = None,
        on_drain: DrainCallback | None = None,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(
            application,
            # daphne requires descriptions, but `_listen` uses the sockets.
            endpoints=[f"port {port.port}" for port in ports],
            signal_handlers=False,
            ready_callable=self._listen,
            server_name="",
        )
        self.connections: dict[Any, dict[str, Any]] = {}
        self._ports = list(ports)
        self._listeners: list[Any] = []
        self._background = background
        self._background_task: asyncio.Task[None] | None = None
        self._on_ready = on_ready
        self._on_drain = on_drain
        self._limits = limits
        self._drains = DrainCallbacks()
        self._is_stopping = self._is_cancelling = False
        self._exhausted_at = -math.inf
        # Requests whose application outlived them, so that each is logged once.
        self._outlived: WeakSet[Any] = WeakSet()

    def run(self) -> None:
        """Serve; return after SIGINT, SIGTERM or SIGHUP, when everything has ended.

        The signals are ignored from then on, because they must not interrupt the clean-up.
        """
        self._most_connections = allow_open_files()
        self.endpoints: list[str] = []
        before = {number: signal.signal(number, self._on_signal) for number in _STOPPING_SIGNALS}
        try:
            super().run()
        finally:
            for number, previous in before.items():
                signal.signal(number, signal.SIG_IGN if self._is_stopping else previous)

    def stop(self) -> None:
        """Begin the shutdown, once; safe to call from a signal handler."""
        if not self._is_stopping:
            self._is_stopping = True
            reactor.callFromThread(reactor.stop)

    # --- the start ---------------------------------------------------------------------

    def _listen(self) -> None:
        """Accept connections; daphne calls this when its factories exist, before its loop runs."""
        _twisted_log.addObserver(_log_failure)
        _twisted_log.addObserver(self._on_twisted_event)
        self.http_factory = Factory(self, self._limits, self._most_connections)
        for port in self._ports:
            self._listeners.append(
                reactor.adoptStreamPort(port.socket.fileno(), port.socket.family, self.http_factory)
            )
            # The listener has its own descriptor; this one would keep the port open.
            port.socket.close()
        reactor.callWhenRunning(self._on_running)

    def _on_running(self) -> None:
        if self._background is not None:
            self._background_task = asyncio.ensure_future(_keep_running(self._background))
        if self._on_ready is not None:
            self._on_ready()

    def _on_twisted_event(self, event: Any) -> None:
        """Stop accepting for a while when no file can be opened: the loop would do little else."""
        if event.get("log_namespace") != _ACCEPTING or event.get("log_level") is not LogLevel.info:
            return
        if not (event.get("log_format") or "").startswith(_NOT_ACCEPTED):
            return
        if time.monotonic() - self._exhausted_at >= LOG_AGAIN_SECONDS:
            self._exhausted_at = time.monotonic()
            logger.error("no_file_can_be_opened", remedy=REMEDY)
        if not self._is_stopping:
            for listener in self._listeners:
                listener.stopReading()
            reactor.callLater(_ACCEPT_AGAIN_SECONDS, self._accept_again)

    def _accept_again(self) -> None:
        if not self._is_stopping:
            for listener in self._listeners:
                listener.startReading()

    # --- one request -------------------------------------------------------------------

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        scope[TOO_LARGE] = protocol.is_too_large
        scope["headers"] = protocol.sent_headers
        scope["extensions"] = {
            DRAIN: partial(self._drains.add, protocol),
            WRITE: protocol.write_at_once,
        }
        # An empty context: the next request of a connection would inherit the context variables
        # of the one before, with executors of Django that are shut down.
        queue = Context().run(super().create_application, protocol, scope)
        running = self.connections.get(protocol, {}).get("application_instance")
        if running is not None:
            running.add_done_callback(partial(self._on_application_ended, protocol))
        return queue

    async def handle_reply(self, protocol: Any, message: Any) -> None:
        """Send a message of the application, then wait until the client has received enough."""
        await super().handle_reply(protocol, message)
        await protocol.wait_for_room()

    def _on_application_ended(self, protocol: Any, ended: asyncio.Future[None]) -> None:
        """End the client's answer at once.

        daphne looks once a second, and not at all after the first failure after the headers.
        """
        self._drains.forget(protocol)
        exception = None if ended.cancelled() else ended.exception()
        if exception is not None:
            logger.error("application_failed", exc_info=exception)
        is_connected = "disconnected" not in self.connections.get(protocol, {"disconnected": 0})
        if not is_connected or self._is_cancelling:
            return
        if exception is None and not isinstance(protocol, Request):
            return
        try:
            protocol.handle_exception(exception or RuntimeError("the application sent no answer"))
        except Exception:
            logger.exception("failure_not_answered")

    def protocol_disconnected(self, protocol: Any) -> None:
        if protocol in self.connections:
            super().protocol_disconnected(protocol)

    def application_checker(self) -> None:
        """Every second: end connections that exceed a limit, forget those that have ended, and
        cancel applications that run on too long without their connection."""
        self.http_factory.sweep()
        now = time.time()
        for protocol, connection in list(self.connections.items()):
            disconnected_at = connection.get("disconnected")
            if disconnected_at is None:
                continue
            running = connection.get("application_instance")
            if running is None or running.done():
                del self.connections[protocol]
            elif now - disconnected_at > self.application_close_timeout:
                if protocol not in self._outlived:
                    self._outlived.add(protocol)
                    logger.warning("application_outlived_its_client", protocol=repr(protocol))
                running.cancel()
        reactor.callLater(_SWEEP_SECONDS, self.application_checker)

    # --- the end -----------------------------------------------------------------------

    def _on_signal(self, *_: Any) -> None:
        self.stop()

    def kill_all_applications(self) -> Any:
        """Shut down in order; daphne calls this before its loop ends."""
        self._is_stopping = True
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._shut_down()))

    async def _shut_down(self) -> None:
        try:
            await drain_connections(
                self.http_factory, self._listeners, self._drains, self._on_drain
            )
        except Exception:
            logger.exception("end_not_in_order")
        self._is_cancelling = True
        # A request that is still being received has no application yet.
        running = [
            connection["application_instance"]
            for connection in self.connections.values()
            if "application_instance" in connection
        ]
        if self._background_task is not None:
            running.append(self._background_task)
        await cancel_all(running)


async def _keep_running(background: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `background` as long as the process serves; after a failure, log it and run it again."""
    while True:
        try:
            await background()
        except Exception:
            logger.exception("background_failed", again_in_seconds=_BACKGROUND_PAUSE_SECONDS)
        else:
            return
        await asyncio.sleep(_BACKGROUND_PAUSE_SECONDS)


def _log_failure(event: Any) -> None:
    """Log critical failures of Twisted, whose log daphne discards."""
    if event.get("log_level") is LogLevel.critical:
        failure = event.get("log_failure")
        logger.error("twisted_failure", exc_info=failure.value if failure else None)
