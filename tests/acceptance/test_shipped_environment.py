"""Everything works with the shipped environment, too: deploy/dwp.env.example, filled in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.server import CHECKOUT
from tests.acceptance.shipped import BY_NGINX, ShippedServer, example, filled_in

# The main scenarios again, with this module's server; the bytes of frames do not depend on it.
from tests.acceptance.test_scenarios import (
    test_decision_reaches_a_subscribed_agent_as_exactly_the_signal,
    test_scenario_approval_resumes_the_agent,
    test_scenario_rejection_stops_the_agent,
)
from tests.acceptance.test_stream_bytes import (
    test_done_comes_once_last_and_the_answer_ends_cleanly,
    test_stream_answers_with_exactly_these_headers,
)

__all__ = [
    "test_decision_reaches_a_subscribed_agent_as_exactly_the_signal",
    "test_done_comes_once_last_and_the_answer_ends_cleanly",
    "test_scenario_approval_resumes_the_agent",
    "test_scenario_rejection_stops_the_agent",
    "test_stream_answers_with_exactly_these_headers",
]

LIST = "/api/aura/hitl/requests"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShippedServer]:
    """Return a server with the shipped environment."""
    running = ShippedServer(tmp_path_factory.mktemp("shipped") / "dwp")
    try:
        running.start()
        yield running
        assert running.stop() == 0, running.output
    finally:
        running.end()


def manage(environment: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    """Run a command with this environment."""
    return subprocess.run(
        [sys.executable, "manage.py", *args],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_demo_plays_every_path_a_client_uses(server: ShippedServer) -> None:
    played = manage(server.environment, "demo")

    assert played.returncode == 0, played.stdout + played.stderr
    assert "as docs/reference/wire.md says" in played.stdout


@pytest.mark.parametrize(
    "host",
    [
        "dwp.example.com",
        "127.0.0.1:9001",
        "api.internal:8080",
        "[::1]:9001",
        "evil.example",
        "",
        "a b",
        "-",
        "[::1",
        "dwp.example.com, evil.example",
        "x" * 300,
        "<script>",
        "한국.example".encode().decode("latin-1"),
    ],
    ids=lambda host: host.encode("unicode_escape").decode()[:20] or "empty",
)
def test_requests_are_listed_under_every_host_name(server: ShippedServer, host: str) -> None:
    opening = {"sessionId": "session-listed", "actionType": "delete_mail"}
    sent = {**server.headers(), "Host": host}

    opened = server.request("POST", LIST, sent, opening)
    listed = server.get(f"{LIST}?status=pending&sessionId=session-listed", sent)

    assert (opened.status, listed.status) == (201, 200), opened.body + listed.body
    ids = [item["requestId"] for item in listed.json()["data"]["items"]]
    assert opened.json()["data"]["requestId"] in ids


def test_every_page_of_a_long_list_is_reached(server: ShippedServer) -> None:
    opening = {"sessionId": "session-of-many", "actionType": "delete_mail"}
    for _ in range(51):
        assert server.request("POST", LIST, server.headers(), opening).status == 201

    query = f"{LIST}?sessionId=session-of-many"
    first = server.get(query, server.headers()).json()["data"]
    second = server.get(f"{query}&cursor={first['nextCursor']}", server.headers()).json()["data"]

    assert (len(first["items"]), len(second["items"]), "nextCursor" in second) == (50, 1, False)


def test_pages_say_that_their_host_is_reached_by_https_only(server: ShippedServer) -> None:
    page = server.get("/admin/login/", BY_NGINX)

    assert page.status == 200
    assert page.head["Strict-Transport-Security"] == f"max-age={example()['HSTS_SECONDS']}"
    assert "Secure" in page.head["Set-Cookie"]
    # A probe on the machine speaks HTTP, and is not sent elsewhere.
    probe = server.get("/health", {"Host": "127.0.0.1"})
    assert (probe.status, "Strict-Transport-Security" in probe.head) == (200, False)


def test_deployed_process_prints_no_secret(server: ShippedServer) -> None:
    credentials = json.loads((server.data_dir / "operator.json").read_text(encoding="utf-8"))
    secrets = [credentials["password"], server.env["JWT_SECRET"], server.env["DJANGO_SECRET_KEY"]]
    assert [secret in server.output for secret in secrets] == [False] * 3
    assert "Bearer" not in server.output


def test_check_for_deployment_has_nothing_to_say(tmp_path: Path) -> None:
    environment = filled_in(tmp_path / "dwp")
    checked = manage(environment, "check", "--deploy", "--fail-level", "WARNING")

    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.startswith("System check identified no issues")
    assert checked.stderr == ""
