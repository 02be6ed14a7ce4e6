"""`manage.py verify_audit` as a night job starts it: a process that cannot even begin."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.server import CHECKOUT


@pytest.mark.parametrize(
    "environment",
    [
        {"AUDIT_SIGNING_KEY": "no key"},
        {"AUDIT_SIGNING_KEY_FILE": "/nonexistent/key"},
        {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"},
        {"DATABASE_URL": "sqlite:////dev/null/none"},
        {"DATABASE_URL": "nonsense"},
        {"LOG_LEVEL": "nonsense"},
    ],
    ids=lambda environment: "=".join(*environment.items()),
)
def test_process_that_could_not_verify_ends_with_2_and_no_traceback(
    environment: dict[str, str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "verify_audit"],
        cwd=CHECKOUT,
        env={
            "PATH": os.environ["PATH"],
            "DATA_DIR": str(tmp_path / "data"),
            "AUDIT_SIGNING_KEY": base64.b64encode(b"k" * 32).decode(),
            **({"AUDIT_SIGNING_KEY": ""} if "AUDIT_SIGNING_KEY_FILE" in environment else {}),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()
