"""An unusable REDIS_URL is named where a process starts, once for all that would use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MANAGE = (sys.executable, "manage.py")


@pytest.mark.parametrize(
    "command",
    [
        (*MANAGE, "serve"),
        (*MANAGE, "clock"),
        (*MANAGE, "relay"),
        (*MANAGE, "sessions"),
        (sys.executable, "-m", "daphne", "-p", "0", "dwp_project.asgi:application"),
    ],
    ids=["serve", "clock", "relay", "sessions", "daphne"],
)
def test_process_with_an_unusable_redis_url_says_so_and_ends(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "REDIS_URL": "bogus",
        "DATA_DIR": str(tmp_path),
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
    }

    ended = subprocess.run(
        command,
        cwd=Path(__file__).parents[3],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode != 0
    assert "REDIS_URL is not usable" in ended.stdout
    assert "Set it like redis://" in ended.stdout
    assert "Traceback" not in ended.stdout
