"""The short form of `make chaos`: one of each fault, and every promise holds."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.chaos.processes import CHECKOUT, inherited

# Deadlines three times as long as promised: machines that run tests have other work, too.
_COMMAND = [
    # This seed's plan has one of each fault within 20 seconds.
    *(sys.executable, "-m", "tests.chaos", "--seed", "121", "--every", "2.2"),
    *("--decisions", "60", "--least-seconds", "23", "--seconds", "60", "--rate", "7"),
    *("--patience", "1.2", "--question-seconds", "8", "--slack", "3"),
]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_fault_loses_doubles_or_misdelivers_a_decision() -> None:
    process = subprocess.Popen(
        _COMMAND, cwd=CHECKOUT, env=inherited(), stdout=subprocess.PIPE, text=True
    )
    try:
        output, _ = process.communicate(timeout=270)
    finally:
        if process.poll() is None:
            # It ends its servers, its database and its Redis itself.
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert process.returncode == 0, output
