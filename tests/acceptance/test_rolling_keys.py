"""Both secrets change, process by process, and nobody is refused (docs/how-to/deploy.md)."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import jwt
import pytest

from dwp_project.embedded_redis import RedisProcess
from tests.acceptance.server import RunningServer
from tests.acceptance.wire import Response, Stream

LOGIN, INBOX = "/admin/login/", "/admin/hitl/approvalrequest/inbox/"
LIVE = "/admin/hitl/approvalrequest/live/"
OLD, NEW = ({key: secrets.token_urlsafe(48) for key in ("jwt", "django")} for _ in range(2))


def keys(current: dict[str, str], fallback: dict[str, str] | None = None) -> dict[str, str]:
    """Return the variables of a process that signs with `current`."""
    values = {"JWT_SECRET": current["jwt"], "DJANGO_SECRET_KEY": current["django"]}
    if fallback:
        values["JWT_SECRET_FALLBACKS"] = fallback["jwt"]
        values["DJANGO_SECRET_KEY_FALLBACKS"] = fallback["django"]
    return values


@pytest.fixture
def servers(
    tmp_path: Path, own_server: Callable[..., RunningServer]
) -> Iterator[list[RunningServer]]:
    """Return a process of each step, on one database and one Redis: with the old keys, those that
    accept the new ones, those that sign with them, and the new ones alone.

    All that a restart would keep is in the two, so a process that is restarted is the next one.
    """
    redis = RedisProcess(tmp_path / "redis.sock", tmp_path / "redis")
    redis.start()
    steps = (keys(OLD), keys(OLD, NEW), keys(NEW, OLD), keys(NEW))
    first = own_server()
    shared = {
        "DATABASE_URL": f"sqlite:///{first.data_dir}/dwp.sqlite3",
        "REDIS_URL": f"unix://{redis.socket}",
        "SECURE_COOKIES": "false",
    }
    # With the same DATA_DIR, and so the same key of the audit.
    made = [first, *(own_server(first.data_dir) for _ in steps[1:])]
    for number, (server, step) in enumerate(zip(made, steps, strict=True)):
        server.env |= shared | step
        # Its log is named after the folder.
        server._output = tmp_path / f"{number}.log"
    try:
        with ThreadPoolExecutor() as starting:
            yield list(starting.map(RunningServer.start, made))
    finally:
        for server in made:
            server.end()
        redis.stop()


class Operator:
    """An operator's browser: one cookie, sent to either process."""

    def __init__(self, server: RunningServer) -> None:
        self._cookies: dict[str, str] = {}
        form = self.get(server, LOGIN).body.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        assert token, form
        stored = json.loads((server.data_dir / "operator.json").read_text(encoding="utf-8"))
        fields = {
            "csrfmiddlewaretoken": token[1],
            "username": "operator",
            "password": stored["password"],
        }
        sent = self.headers | {"Content-Type": "application/x-www-form-urlencoded"}
        answer = server.request("POST", LOGIN, sent, urlencode(fields).encode())
        assert answer.status == 302, answer.body
        self._keep(answer)

    @property
    def headers(self) -> dict[str, str]:
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}

    def get(self, server: RunningServer, path: str = INBOX) -> Response:
        answer = server.get(path, self.headers)
        self._keep(answer)
        return answer

    def watch(self, server: RunningServer) -> Stream:
        return server.stream(LIVE, self.headers)

    def _keep(self, answer: Response) -> None:
        for name, value in answer.head.fields:
            if name.lower() == "set-cookie":
                cookie, _, content = value.partition(";")[0].partition("=")
                self._cookies[cookie] = content


def asked(server: RunningServer, secret: str) -> int:
    """Return the status that a token by `secret` gets."""
    now = int(time.time())
    claims = {"sub": "user123", "tenant_id": "tenant1", "iat": now, "exp": now + 60}
    token = jwt.encode(claims, secret, algorithm="HS256")
    headers = {"Authorization": f"Bearer {token}", "X-Tenant-ID": "tenant1"}
    return server.get("/api/auth/me", headers).status


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_both_secrets_change_without_a_refusal(servers: list[RunningServer]) -> None:
    old, accepting, signing, new = servers
    issuers = {OLD["jwt"]}
    early, fresh = Operator(old), [Operator(accepting)]

    def everybody_is_served_by(*side_by_side: RunningServer) -> None:
        for _ in range(2):
            for server in side_by_side:
                assert {asked(server, secret) for secret in issuers} == {200}
                for operator in (early, *fresh):
                    # As the tabs of one page: the live stream first, which sets no cookie.
                    with operator.watch(server) as stream:
                        assert stream.head.status == 200
                        assert operator.get(server).status == 200

    # 1. Process after process accepts the new keys.
    everybody_is_served_by(old, accepting)
    issuers.add(NEW["jwt"])
    # 2. They sign with them; whoever mints tokens follows in their own time.
    everybody_is_served_by(accepting, signing)
    fresh.append(Operator(signing))
    everybody_is_served_by(accepting, signing)
    # 3. Nothing that the old ones signed is valid any more.
    issuers.remove(OLD["jwt"])
    everybody_is_served_by(signing, new)
    assert [asked(new, OLD["jwt"]), asked(old, NEW["jwt"])] == [401, 401]
