"""Structured logs: one line per event, readable on a console, JSON when deployed."""

from __future__ import annotations

import logging.config
import time
from typing import Any

import structlog
from redis.exceptions import RedisError

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


# Reports that are further apart than this are of two outages. Chosen: many times the second
# between two reports of one.
_SAME_OUTAGE_SECONDS = 30.0


class OncePerOutage(logging.Filter):
    """Passes the first report of an outage of Redis only, as a warning without a traceback.

    The channel layer logs every failed receive, about one a second, until Redis is back.
    """

    def __init__(self) -> None:
        super().__init__()
        self._reported_at = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, (RedisError, OSError)):
            return True
        last, self._reported_at = self._reported_at, time.monotonic()
        if self._reported_at - last < _SAME_OUTAGE_SECONDS:
            return False
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args = "channel_layer_away: %s", (error,)
        record.exc_info = record.exc_text = None
        return True


def configure(settings: dict[str, Any]) -> None:
    """Send the project's, Django's and daphne's logs to standard error.

    `settings` has `level` (a logging level's name) and `format` (`console` or `json`).
    """
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if settings["format"] == "json"
        else structlog.dev.ConsoleRenderer(
            colors=False,
            # Not rich's formatter, which prints local variables, tokens among them.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "structured": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": _SHARED,
                    "processors": [
                        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                        structlog.processors.format_exc_info
                        if settings["format"] == "json"
                        else _unchanged,
                        renderer,
                    ],
                }
            },
            "filters": {"once": {"()": OncePerOutage}},
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
            "root": {"handlers": ["stderr"], "level": settings["level"]},
            "loggers": {
                # A 4xx is the client's mistake, and its answer says so.
                "django.request": {"level": "ERROR"},
                # Anybody can send such a request; its answer says what is wrong.
                "django.security": {"level": "CRITICAL"},
                "django.security.csrf": {"level": "WARNING"},
                "daphne": {"level": "WARNING"},
                "channels_redis.pubsub": {"filters": ["once"]},
            },
        }
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _unchanged(
    logger: Any, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return event
