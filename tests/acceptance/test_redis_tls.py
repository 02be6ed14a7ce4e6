"""A Redis with TLS, users and notifications, set up as deploy.md says."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.acceptance.certificates import Certificate, make_certificate
from tests.acceptance.programs import program, running, snippet
from tests.acceptance.prompts import decide
from tests.acceptance.server import RunningServer, free_ports

PASSWORD = "password"


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path, "redis.example.com")


@pytest.fixture
def tls_port(tmp_path: Path, certificate: Certificate) -> Iterator[int]:
    """Return the port of a redis-server with the settings and the user of deploy.md."""
    binary = program("redis-server")
    libraries = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
    if "libssl" not in libraries:
        pytest.skip("this redis-server has no TLS")
    port = free_ports(1)[0]
    text = snippet("port 0\n")
    for shipped, used in (
        ("6379", str(port)),
        ("/etc/redis/tls/redis.crt", str(certificate.chain)),
        ("/etc/redis/tls/redis.key", str(certificate.key)),
        ("/etc/redis/tls/ca.crt", str(certificate.authority)),
        ("/etc/redis/users.acl", str(tmp_path / "users.acl")),
    ):
        assert shipped in text
        text = text.replace(shipped, used)
    (tmp_path / "redis.conf").write_text(f"{text}dir {tmp_path}\n", encoding="utf-8")
    users = snippet("user default off")
    (tmp_path / "users.acl").write_text(f"{users}user watcher on nopass ~* &* +@all\n", "utf-8")
    with running([binary, str(tmp_path / "redis.conf")], tmp_path / "redis.log", port):
        yield port


def client(port: int, certificate: Certificate, user: str) -> redis.Redis:
    return redis.Redis(
        host="127.0.0.1",
        port=port,
        ssl=True,
        ssl_ca_certs=str(certificate.authority),
        username=user,
        password=PASSWORD,
        decode_responses=True,
    )


def test_everything_works_with_tls_and_only_the_rights_of_deploy_md(
    own_server: Callable[..., RunningServer], tls_port: int, certificate: Certificate
) -> None:
    [url] = re.findall(r"^REDIS_URL=(rediss:.*)$", snippet("REDIS_URL=rediss:"), re.M)
    url = url.replace("redis.example.com:6379", f"127.0.0.1:{tls_port}")
    url = url.replace("/etc/dwp/redis-ca.crt", str(certificate.authority))
    server = own_server(env={"REDIS_URL": url}).start()
    assert server.get("/ready").json() == {"status": "ready"}

    # An agent elsewhere asks, and hears of the decision.
    agent = client(tls_port, certificate, "dwp")
    watcher = client(tls_port, certificate, "watcher")
    request = {
        "requestId": "req-1",
        "sessionId": "session_1",
        "userId": "user123",
        "tenantId": "tenant1",
        "actionType": "delete_mail",
        "context": {},
        "status": "pending",
    }
    deadline = time.monotonic() + 20
    while not watcher.execute_command("PUBSUB NUMPAT"):
        assert time.monotonic() < deadline, "nobody listens for notifications"
        time.sleep(0.1)
    agent.set("hitl:session:session_1", json.dumps(request), ex=3600)
    agent.set("hitl:request:req-1", json.dumps(request), ex=1800)
    ear = agent.pubsub()
    ear.subscribe("hitl:channel:session_1")
    while (answer := decide(server, "approve", "req-1")).status != 200:
        assert time.monotonic() < deadline, answer.body
        time.sleep(0.1)
    while (message := ear.get_message(timeout=1)) is None or message["type"] != "message":
        assert time.monotonic() < deadline
    signal = json.loads(message["data"])
    ear.close()

    assert (signal["type"], signal["requestId"]) == ("approval", "req-1")
    assert server.stop() == 0
    # Whatever it was not allowed to do is listed here.
    assert watcher.execute_command("ACL LOG") == []
    assert "Traceback" not in server.output
    for each in (agent, watcher):
        each.close()
