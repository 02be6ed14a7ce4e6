"""A server with the environment of deploy/dwp.env.example, filled in as deploy.md says."""

from __future__ import annotations

import base64
import re
import secrets
from pathlib import Path

from dwp_project.datadir import redis_socket
from dwp_project.embedded_redis import RedisProcess
from tests.acceptance.server import CHECKOUT, RunningServer

EXAMPLE = CHECKOUT / "deploy/dwp.env.example"
HOST = "dwp.example.com"
# As deploy/nginx.conf sends them.
BY_NGINX = {
    "Host": HOST,
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": HOST,
}


def example() -> dict[str, str]:
    """Return the variables that the example sets, as it sets them."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", "\n".join(lines), re.MULTILINE))


def filled_in(folder: Path) -> dict[str, str]:
    """Return the example with what differs from machine to machine."""
    folder.mkdir(mode=0o700, exist_ok=True)
    key = folder / "audit.key"
    key.write_bytes(base64.b64encode(secrets.token_bytes(32)))
    key.chmod(0o600)
    own = {
        "DATA_DIR": str(folder / "data"),
        "DATABASE_URL": f"sqlite:///{folder}/dwp.sqlite3",
        "REDIS_URL": f"unix://{redis_socket(folder / 'data')}",
        "JWT_SECRET": secrets.token_urlsafe(48),
        "DJANGO_SECRET_KEY": secrets.token_urlsafe(48),
        "AUDIT_SIGNING_KEY_FILE": str(key),
        "AUDIT_CHECKPOINT_DIR": str(folder / "checkpoints"),
    }
    values = example()
    assert own.keys() <= values.keys()
    return values | own


class ShippedServer(RunningServer):
    """One `serve` with the shipped environment and a Redis beside it; called as nginx does."""

    def __init__(self, folder: Path) -> None:
        values = filled_in(folder)
        data_dir = Path(values.pop("DATA_DIR"))
        data_dir.mkdir(mode=0o700)
        super().__init__(data_dir, env=values)
        self._redis = RedisProcess(redis_socket(data_dir), folder / "redis")

    def start(self) -> RunningServer:
        """Start Redis and then the process."""
        self._redis.start()
        return super().start()

    def end(self) -> None:
        """End both, whatever state they are in."""
        super().end()
        self._redis.stop()

    def headers(
        self, user_id: str = "user123", tenant_id: str = "tenant1", role: str | None = "user"
    ) -> dict[str, str]:
        """Return the headers of this person's request after nginx."""
        return BY_NGINX | super().headers(user_id, tenant_id, role)
