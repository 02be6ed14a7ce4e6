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
