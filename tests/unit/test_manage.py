"""manage.py itself: what every command pays for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_AT_THE_END = """
import gc

def note(phase, details):
    if phase == "stop":
        print(gc.get_stats()[0]["collections"], len(gc.get_objects()))

gc.callbacks.append(note)
"""


def test_command_collects_garbage_seldom_and_goes_through_little_when_it_ends(
    tmp_path: Path,
) -> None:
    printed = subprocess.run(
        [sys.executable, "manage.py", "shell", "-v0", "--no-imports", "-c", _AT_THE_END],
        cwd=ROOT,
        env=os.environ | {"DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    counted = [line.split() for line in printed.stdout.splitlines()]
    assert counted  # the interpreter collects garbage while it ends
    assert all(int(collections) < 100 for collections, _objects in counted)
    assert all(int(objects) < 10_000 for _collections, objects in counted)
