"""One version, shown wherever somebody asks for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from dwp_project import __version__
from dwp_project.gateway.documentation import document

ROOT = Path(__file__).resolve().parents[2]


def test_api_description_names_the_version() -> None:
    assert document()["info"]["version"] == __version__


def test_serve_prints_the_version_and_starts_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "DATA_DIR": str(tmp_path), "PORTS": "0"}
    for name in ("DATABASE_URL", "REDIS_URL"):
        environment.pop(name, None)
    printed = subprocess.run(
        [sys.executable, "manage.py", "serve", "--version"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert printed.stdout == f"{__version__}\n"
    assert not (tmp_path / "redis").exists()
    assert not (tmp_path / "dwp.sqlite3").exists()


def test_changelog_describes_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    heading = rf"^## \[{re.escape(__version__)}\] - \d{{4}}-\d{{2}}-\d{{2}}$"
    assert re.search(heading, changelog, re.MULTILINE)
