"""The approve and the reject scenario, and every other REST path that clients use, over real HTTP
and checked against wire.md as they run."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dwp_project.gateway import tokens

TENANT, USER = "tenant1", "user123"
# The API answers under every name (settings.md, ALLOWED_HOSTS), and this is nobody's.
_ANY_HOST = "a-name-of-nobody.invalid"
# What a front end reads without any body of its own, and the message that answers it.
_READ_AT_START = {
    "/auth/policy": "Login policy retrieved",
    "/auth/idp": "Identity providers retrieved",
    "/auth/me": "User retrieved",
    "/auth/permissions": "Permissions retrieved",
    "/auth/menus/tree": "Menus retrieved",
}
# Chosen: far longer than any step of a scenario takes.
TIMEOUT_SECONDS = 30

_STATUS_AFTER = {"approve": "approved", "reject": "rejected"}

Say = Callable[[str], None]


class NotAsPromised(Exception):
    """A step did not go as wire.md says."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One event of the stream; `[DONE]` has the name `[DONE]` and no payload."""

    name: str
    payload: dict[str, Any]


class Client:
    """Plays the browser and the operator over HTTP: streams, reads, decides."""

    def __init__(self, host: str, port: int, say: Say) -> None:
        self._host, self._port, self._say = host, port, say
        token = tokens.issue(USER, TENANT, lifetime_seconds=600)
        self._headers = {
            "Authorization": f"Bearer {token}",
            "X-Tenant-ID": TENANT,
            "X-User-ID": USER,
            "Content-Type": "application/json",
            "Host": _ANY_HOST,
        }

    def is_served(self) -> bool:
        """Say whether a server answers on this host and port."""
        try:
            status, _ = self.call("GET", "/api/health")
        except OSError:
            return False
        return status == 200

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """Send one request; return the status and the envelope."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, self._headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def stream(self, prompt: str) -> Iterator[Frame]:
        """Start a session and yield its frames as they arrive, `[DONE]` last."""
        return self._frames("POST", "/api/aura/test/stream", json.dumps({"prompt": prompt}))

    def replay(self, session_id: str) -> Iterator[Frame]:
        """Yield the frames of a session from its beginning, `[DONE]` last."""
        return self._frames("GET", f"/api/aura/sessions/{session_id}/stream", None)

    def _frames(self, method: str, path: str, body: str | None) -> Iterator[Frame]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, body, self._headers)
            response = connection.getresponse()
            expect(response.status == 200, f"the stream answered {response.status}")
            content_type = response.getheader("Content-Type")
            expect(content_type == "text/event-stream", f"its content type is {content_type}")
            name = ""
            while line := response.readline().decode().rstrip("\n"):
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line == "data: [DONE]":
                    yield Frame("[DONE]", {})
                    return
                elif line.startswith("data: "):
                    yield Frame(name, json.loads(line.removeprefix("data: ")))
                if line.startswith((":", "data: ")):
                    response.readline()  # the empty line that ends a frame
            raise NotAsPromised("the stream ended without [DONE]")
        finally:
            connection.close()


def play_front_end(client: Client, say: Say) -> None:
    """Read what a front end reads when it starts, and ask whether the server can work."""
    for path, message in _READ_AT_START.items():
        status, envelope = client.call("GET", f"/api{path}")
        expect((status, envelope.get("message")) == (200, message), f"{path}: {status} {envelope}")
    status, answer = client.call("GET", "/api/ready")
    expect(status == 200, f"/ready: {status} {answer}")
    say(f"→ GET {', '.join(_READ_AT_START)}, /ready: 200")


def play_withdrawal(client: Client, say: Say) -> str:
    """Open a request over REST, list, read, wait for and cancel it; return its id."""
    session_id = f"session-{secrets.token_hex(8)}"
    body = {"sessionId": session_id, "actionType": "delete_mail", "context": {"count": 3}}
    status, envelope = client.call("POST", "/api/aura/hitl/requests", body)
    expect(status == 201, f"opening: {status} {envelope}")
    request_id: str = envelope["data"]["requestId"]
    path = f"/api/aura/hitl/requests/{request_id}"
    for query in (f"?status=pending&sessionId={session_id}", "?status=pending", ""):
        status, envelope = client.call("GET", f"/api/aura/hitl/requests{query}")
        expect(status == 200, f"the list{query}: {status} {envelope}")
        listed = [item["requestId"] for item in envelope["data"]["items"]]
        expect(request_id in listed, f"the list{query} does not have the request")
    _expect_document(client, "GET", path, 200, "pending")
    _expect_document(client, "GET", f"{path}/wait?timeout=1", 202, "pending")
    _expect_document(client, "POST", f"{path}/cancel", 200, "cancelled", {"userId": USER})
    _expect_document(client, "GET", f"{path}/wait?timeout=1", 200, "cancelled")
    say(f"→ POST, GET, wait for and cancel {path}: as promised")
    return request_id


def play_cancellation(client: Client, say: Say) -> str:
    """Start a session, cancel it while it asks, and read it again; return its request's id."""
    request_id, session_id, frames = "", "", []
    for frame in client.stream("delete 3 mails"):
        frames.append(frame)
        if frame.name == "hitl":
            request_id, session_id = frame.payload["requestId"], frame.payload["sessionId"]
            path = f"/api/aura/sessions/{session_id}/cancel"
            status, envelope = client.call("POST", path, {})
            expect(status == 200, f"{path}: {status} {envelope}")
            say(f"→ POST {path}: 200 {envelope.get('message')}")
    names = [frame.name for frame in frames]
    expect(names[-4:] == ["hitl", "error", "end", "[DONE]"], f"it ended with {names[-4:]}")
    again = [frame.name for frame in client.replay(session_id)]
    expect(again == names, f"read again, the session is {again}")
    return request_id


def play_approval(client: Client, say: Say) -> str:
    """Start a session, approve its request and check that the agent goes on; return the id."""
    request_id, names = "", []
    for frame in client.stream("메일 3개를 삭제해주세요"):
        names.append(frame.name)
        say(line(frame))
        if frame.name == "hitl":
            request_id = frame.payload["requestId"]
            _decide(client, say, "approve", request_id, "Request approved successfully")
            _expect_signal(client, frame.payload["sessionId"], "approval")
    question = names.index("hitl") if "hitl" in names else len(names)
    expect("tool_execution" in names[question:], "nothing was done after the approval")
    expect(names[0] == "start", "the stream did not begin with start")
    expect(names[-3:] == ["content", "end", "[DONE]"], f"it ended with {names[-3:]}")
    return request_id


def play_rejection(client: Client, say: Say) -> str:
    """Start a session, reject its request and check that the agent stops; return the id."""
    request_id, frames = "", []
    for frame in client.stream("delete 3 mails"):
        frames.append(frame)
        say(line(frame))
        if frame.name == "hitl":
            request_id = frame.payload["requestId"]
            _decide(client, say, "reject", request_id, "Request rejected")
            _expect_signal(client, frame.payload["sessionId"], "rejection")
    names = [frame.name for frame in frames]
    expect(names[-3:] == ["hitl", "error", "[DONE]"], f"it ended with {names[-3:]}")
    error = frames[-2].payload
    expect(error["errorType"] == "RejectionError", f"its error is {error['errorType']}")
    expect(error["error"] == "too many", "the stream does not give the reason")
    return request_id


def expect(is_so: bool, message: str) -> None:
    """Raise `NotAsPromised` with `message` unless `is_so`."""
    if not is_so:
        raise NotAsPromised(message)


def line(frame: Frame) -> str:
    """Return a frame as one line of text for people."""
    data = {k: v for k, v in frame.payload.get("data", {}).items() if v not in (None, [], {})}
    text = json.dumps(data, ensure_ascii=False) if data else ""
    return f"  {frame.name:<20} {text[:110]}{'…' if len(text) > 110 else ''}"


def _decide(client: Client, say: Say, verb: str, request_id: str, message: str) -> None:
    body = {"userId": USER} | ({"reason": "too many"} if verb == "reject" else {})
    path = f"/api/aura/hitl/{verb}/{request_id}"
    status, envelope = client.call("POST", path, body)
    expect((status, envelope.get("message")) == (200, message), f"{verb}: {status} {envelope}")
    say(f"→ POST {path}: 200 {message}")
    status, envelope = client.call("POST", path, body)
    expect(status == 409 and envelope["success"], f"{verb} again: {status} {envelope}")
    status, envelope = client.call("GET", f"/api/aura/hitl/requests/{request_id}")
    stored = json.loads(envelope["data"])["status"]
    expect(stored == _STATUS_AFTER[verb], f"the request is {stored}")


def _expect_document(
    client: Client, method: str, path: str, expected: int, state: str, body: Any = None
) -> None:
    """Check the status of an answer, and the state of the request in it."""
    status, envelope = client.call(method, path, body)
    data = envelope.get("data") or {}
    # Reading one request answers a JSON string (wire.md, 3.3).
    answered = (json.loads(data) if isinstance(data, str) else data).get("status")
    expect((status, answered) == (expected, state), f"{path}: {status} {envelope}")


def _expect_signal(client: Client, session_id: str, kind: str) -> None:
    status, envelope = client.call("GET", f"/api/aura/hitl/signals/{session_id}")
    sent = json.loads(envelope.get("data", "{}")).get("type")
    expect((status, sent) == (200, kind), f"the session's signal is {sent}, not {kind}")
