"""What logs must not say."""

from __future__ import annotations

import subprocess
import sys

import pytest

_FAILS = """
import sys
from dwp_project import logs
logs.configure({"level": "INFO", "format": sys.argv[1]})
from structlog.stdlib import get_logger

def answer(authorization):
    raise RuntimeError("nobody foresaw this")

try:
    answer("Bearer " + "top" + "secret")
except RuntimeError as exc:
    get_logger("test").error("unexpected_error", exc_info=exc)
"""


@pytest.mark.parametrize("form", ["console", "json"])
def test_traceback_is_logged_without_the_values_of_variables(form: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FAILS, form], capture_output=True, text=True, check=True
    )
    assert "nobody foresaw this" in done.stderr
    assert "topsecret" not in done.stderr


_REDIS_IS_AWAY = """
import logging
from redis.exceptions import ConnectionError
from dwp_project import logs
logs.configure({"level": "INFO", "format": "console"})
told = logging.getLogger("channels_redis.pubsub")
for error in [ConnectionError("Error 2 connecting"), ConnectionError("Error 2 connecting"),
              RuntimeError("nobody foresaw this")]:
    try:
        raise error
    except Exception:
        told.exception("Unexpected exception in receive task")
"""


def test_outage_of_redis_is_one_warning_of_the_channel_layer_and_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _REDIS_IS_AWAY], capture_output=True, text=True, check=True
    )
    outage, rest = done.stderr.split("\n", 1)
    assert "[warning" in outage
    assert "channel_layer_away: Error 2 connecting" in outage
    assert "Error 2 connecting" not in rest
    assert "nobody foresaw this" in rest
    assert rest.count("Traceback") == 1
