"""Start everything that a bare machine needs, serve, and end it again."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, suppress
from typing import Any

from django.conf import settings
from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

# Importing `server` installs daphne's reactor; Django imports a command only to run it.
from dwp_project import __version__, background, offload, server
from dwp_project.deployment import identity
from dwp_project.embedded_redis import EmbeddedRedis, RedisNotStarted
from dwp_project.gateway import banner, first_run, shutdown

# How long a call's thread keeps the interpreter while the event loop waits for it. Measured: with
# Python's 5 ms an event goes out 3 ms later, and the slowest hundredth 24 ms.
_SWITCH_SECONDS = 0.0005


class Command(BaseCommand):
    help = "Serve on HOST and PORTS, with an embedded Redis unless REDIS_URL names one."

    def get_version(self) -> str:
        """Return the version of this project, not Django's."""
        return __version__

    def handle(self, *args: Any, **options: Any) -> None:
        # Until the server handles signals itself, SIGTERM ends what has been started, like Ctrl-C.
        _on_signals(signal.default_int_handler)
        try:
            with ExitStack() as started:
                self._serve(started, options["verbosity"])
                # A signal must not interrupt the clean-up.
                _on_signals(signal.SIG_IGN)
        except (server.NoPort, RedisNotStarted) as exc:
            raise CommandError(str(exc)) from exc
        except KeyboardInterrupt:
            self._say("Ended before it was ready.")
        else:
            self._say("Ended.")
        if getattr(self, "_called_from_command_line", False):
            shutdown.force_exit_soon()

    def _say(self, text: str) -> None:
        # Not a failure: Ctrl-C may have ended the reader too, for example `tee`.
        with suppress(OSError):
            self.stderr.write(text, str)

    def _serve(self, started: ExitStack, verbosity: int) -> None:
        sys.setswitchinterval(_SWITCH_SECONDS)
        bound, taken = server.bind(settings.HOST, settings.PORTS)
        for port in bound:
            started.callback(port.socket.close)
        for port_taken in taken:
            self.stderr.write(self.style.WARNING(f"Warning: {port_taken.reason}"))
        redis = self._start_redis(started)
        started.callback(self._end_calls)
        operator = self._prepare_database(verbosity)

        from dwp_project.asgi import application

        ports, lost = server.listen(settings.HOST, bound)

        def say_ready() -> None:
            self.stdout.write(
                banner.text(
                    [port.port for port in ports],
                    [f"{port.port} is not served. {port.reason}" for port in [*taken, *lost]],
                    operator,
                    redis,
                    encoding=getattr(self.stdout, "encoding", None) or "utf-8",
                )
            )
            self.stdout.flush()

        server.Server(
            application,
            ports,
            background=background.run,
            on_ready=say_ready,
            on_drain=background.drain,
        ).run()

    def _end_calls(self) -> None:
        """Wait for calls to database and Redis, then close the connections to the database."""
        if offload.close(shutdown.CALLS_SECONDS):
            _close_databases()

    def _start_redis(self, started: ExitStack) -> str:
        """Start a Redis unless REDIS_URL names one; return which it is, for the banner."""
        if os.environ.get("REDIS_URL"):
            return "the one REDIS_URL names"
        embedded = EmbeddedRedis(settings.DATA_DIR)
        started.callback(embedded.stop)
        # Also after a failure or Ctrl-C: a second signal would leave Redis running.
        started.callback(_on_signals, signal.SIG_IGN)
        embedded.start()
        return "embedded" if embedded.is_owner else "embedded, shared with another process"

    def _prepare_database(self, verbosity: int) -> first_run.Operator | None:
        try:
            first_run.migrate(settings.DATA_DIR, verbosity - 1)
            # All other checks have run before this.
            self.check(tags=[Tags.database], databases=["default"])
            identity.current()
            return first_run.ensure_operator(settings.DATA_DIR)
        except DatabaseError as exc:
            raise CommandError(
                f"The database cannot be prepared: {str(exc).strip()}\n"
                "Check DATABASE_URL and that its server runs; nothing was served."
            ) from exc


def _on_signals(action: Any) -> None:
    for number in shutdown.SIGNALS:
        signal.signal(number, action)


def _close_databases() -> None:
    for connection in connections.all(initialized_only=True):
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()
