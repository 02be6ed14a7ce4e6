"""Runs lines of Python on the data of a server, all of them in one process: Django takes a second
to start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

from tests.acceptance.server import CHECKOUT

_STEPS = """
import contextlib, io, json, sys, traceback
from django.db import connections
steps, answers = sys.stdin, sys.stdout
for line in steps:
    code, sent = json.loads(line)
    sys.stdin, output, error = io.StringIO(json.dumps(sent)), io.StringIO(), ""
    with contextlib.redirect_stdout(output):
        try:
            exec(code, {})
        except BaseException:
            error = traceback.format_exc()
    connections.close_all()
    print(json.dumps([output.getvalue(), error]), file=answers, flush=True)
"""


class Shell:
    """A `manage.py shell` in the environment of a server, which runs until it is closed."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "manage.py", "shell", "--no-imports", "-v0", "-c", _STEPS],
            cwd=CHECKOUT,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, sent: object) -> str:
        """Run lines that read `sent` from standard input as JSON; return what they print."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([code, sent]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"the shell has ended with {self._process.wait()}"
        output, error = json.loads(answer)
        assert not error, error
        return str(output)

    def close(self) -> None:
        """End the process, and wait until it has ended."""
        self._process.communicate()
