"""Static files as a deployment serves them: collected, hashed, compressed."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.server import CHECKOUT, RunningServer
from tests.acceptance.shipped import filled_in


def test_collected_files_are_hashed_compressed_and_kept_for_years(
    own_server: Callable[..., RunningServer], tmp_path: Path
) -> None:
    deployed = filled_in(tmp_path / "deployed")
    del deployed["DATA_DIR"]
    server = own_server(
        env=deployed
        | {
            "STATIC_ROOT": str(tmp_path / "static"),
            "REDIS_URL": os.environ["REDIS_URL"],
            "ALLOWED_HOSTS": "localhost",
        }
    )
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity", "0"],
        cwd=CHECKOUT,
        env=server.environment | {"DWP_ENVIRONMENT": "development"},
        check=True,
    )
    server.start()

    page = server.get("/admin/login/")
    assert page.status == 200
    linked = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.body.decode())
    assert linked
    for path in linked:
        assert re.search(r"\.[0-9a-f]{12}\.\w+$", path), path
        answer = server.get(path, {"Accept-Encoding": "gzip"})
        assert answer.status == 200
        assert re.search(r"max-age=\d{8,}, public, immutable", answer.head["Cache-Control"])
        if path.endswith(".css"):
            assert answer.head["Content-Encoding"] == "gzip"
            assert gzip.decompress(answer.body)
    # A page's script imports the others by their hashed names.
    [inbox] = (tmp_path / "static/hitl/desk").glob("inbox.*.js")
    script = server.get(f"/static/hitl/desk/{inbox.name}").body.decode()
    assert re.findall(r'from "\./stream\.[0-9a-f]{12}\.js"', script)
    assert "static_files_not_collected" not in server.output
