"""Whatever is started with a wrong environment ends at once and names everything that is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.server import CHECKOUT
from tests.acceptance.shipped import filled_in

STARTS = {
    "serve": ["manage.py", "serve"],
    "clock": ["manage.py", "clock"],
    "relay": ["manage.py", "relay"],
    "sessions": ["manage.py", "sessions"],
    "migrate": ["manage.py", "migrate"],
    "check": ["manage.py", "check"],
    "verify_audit": ["manage.py", "verify_audit"],
    "issue_token": ["manage.py", "issue_token", "--user", "u", "--tenant", "t"],
    "daphne": ["-m", "daphne", "-p", "0", "dwp_project.asgi:application"],
}
WRONG = {
    "DWP_ENVIRONMENT": "production",
    "DATABASE_URL": "postgres://dwp:hunter2@db:port/dwp",
    "JWT_SECRET": "changeme-hunter2-changeme-hunter2",
    "ALLOWED_HOSTS": "*",
    "CORS_ALLOWED_ORIGINS": "null",
    "BEHIND_PROXY": "maybe",
    "LOG_FORMAT": "xml",
    "JWT_MAX_LIFETIME": "-1",
    "SSE_HEARTBEAT_SECONDS": "60",
    "TIME_ZONE": "Mars/X",
}
MISSING = ["REDIS_URL", "DJANGO_SECRET_KEY", "AUDIT_SIGNING_KEY_FILE"]


def started(start: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Start it, and return what it said when it has ended."""
    return subprocess.run(
        [sys.executable, *STARTS[start]],
        cwd=CHECKOUT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("start", STARTS)
def test_every_start_names_all_that_is_wrong(start: str, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    done = started(start, {**WRONG, "DATA_DIR": str(data_dir)})

    assert done.returncode == (2 if start == "verify_audit" else 1), done.stderr
    named = [line for line in done.stderr.splitlines() if line.startswith("- ")]
    expected = [*(WRONG.keys() - {"DWP_ENVIRONMENT"}), *MISSING]
    assert len(named) == len(expected), done.stderr
    assert [name for name in expected if not any(name in line for line in named)] == []
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert list(data_dir.iterdir()) == []


@pytest.mark.parametrize("start", ["serve", "relay", "daphne"])
def test_every_start_names_what_only_the_system_checks_see(start: str, tmp_path: Path) -> None:
    environment = filled_in(tmp_path / "dwp") | {
        "DWP_AGENT": "nobody.home.Agent",
        "AUDIT_TRUSTED_KEYS": "/nonexistent/keys",
    }
    done = started(start, environment)

    assert done.returncode == 1, done.stderr
    assert "nobody" in done.stderr
    assert "/nonexistent/keys" in done.stderr
    assert "Traceback" not in done.stderr


def test_process_with_the_shipped_environment_as_it_is_does_not_start(tmp_path: Path) -> None:
    filled = filled_in(tmp_path / "dwp")
    blank = {"JWT_SECRET": "", "DJANGO_SECRET_KEY": ""}
    example = "postgres://dwp:password@127.0.0.1:5432/dwp"
    done = started("serve", {**filled, **blank, "DATABASE_URL": example})

    assert done.returncode == 1
    for name in ("DATABASE_URL has the password of an example", "JWT_SECRET is missing"):
        assert name in done.stderr
    assert "DJANGO_SECRET_KEY is missing" in done.stderr
