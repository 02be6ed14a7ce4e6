"""deploy/dwp.service, as systemd itself reads it."""

from __future__ import annotations

import ctypes.util
import getpass
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.programs import program
from tests.acceptance.prompts import decide, names, start
from tests.acceptance.server import CHECKOUT, RunningServer

# systemd's own scale, from 0 to 10. Above 2 it says "OK" and not "MEDIUM".
_MOST_EXPOSED = 2.0


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit with paths of this machine."""
    text = (CHECKOUT / "deploy/dwp.service").read_text(encoding="utf-8")
    for shipped, used in (
        ("/opt/dwp/.venv/bin/python", sys.executable),
        ("WorkingDirectory=/opt/dwp", f"WorkingDirectory={CHECKOUT}"),
        ("User=dwp", f"User={getpass.getuser()}"),
    ):
        assert shipped in text
        text = text.replace(shipped, used)
    path = tmp_path / "dwp@9001.service"
    path.write_text(text, encoding="utf-8")
    return path


def test_unit_has_nothing_that_systemd_does_not_know(unit: Path) -> None:
    command = [program("systemd-analyze"), "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if unit.name in line]
    assert said == []


def test_unit_leaves_a_process_little_to_attack(unit: Path) -> None:
    command = [program("systemd-analyze"), "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    exposure = re.search(r"exposure level for .*: ([\d.]+)", done.stdout)
    if exposure is None:
        pytest.skip("this systemd-analyze cannot judge a file")
    assert float(exposure[1]) <= _MOST_EXPOSED, done.stdout


def test_serve_works_with_the_system_calls_that_the_unit_leaves_it(
    own_server: Callable[..., RunningServer],
) -> None:
    program("systemd-analyze")
    if ctypes.util.find_library("seccomp") is None:
        pytest.skip("libseccomp is not installed")
    server = own_server()
    unit = str(CHECKOUT / "deploy/dwp.service")
    server.command = [sys.executable, "-m", "tests.acceptance.confined", unit, *server.command]
    server.start()
    status = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii")
    assert "Seccomp:\t2" in status
    assert server.get("/ready").json() == {"status": "ready"}
    assert server.get("/admin/login/").status == 200
    with start(server, "POST", "delete 3 mails") as stream:
        request_id = stream.until("hitl")[-1].json()["requestId"]
        assert decide(server, "approve", request_id).status == 200
        assert names(list(stream.events()))[-1] == "[DONE]"
    assert server.stop() == 0
    assert "Traceback" not in server.output
