"""The middlewares around the application: the prefix, and the cap on bodies."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest

from dwp_project.asgi_types import Message, Receive, Scope, Send
from dwp_project.gateway.body import BodyCap, read_json
from dwp_project.gateway.errors import BodyTooLarge, ValidationFailed
from dwp_project.gateway.paths import ReadPath

CAP = 256 * 1024


class Recorder:
    """An application that records its scope and reads its body to the end."""

    def __init__(self) -> None:
        self.scope: Scope | None = None
        self.body = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        while scope["type"] == "http":
            message = await receive()
            self.body += message.get("body", b"")
            if not message.get("more_body", False):
                break


def http(path: str = "/", raw: bytes | None = None, **members: Any) -> Scope:
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode() if raw is None else raw,
        "query_string": b"",
        "headers": [],
        **members,
    }


async def _send(message: Message) -> None:
    raise AssertionError("the middleware answers nothing itself")


def receiving(*messages: Message) -> Receive:
    queue = list(messages)

    async def receive() -> Message:
        return queue.pop(0) if queue else {"type": "http.disconnect"}

    return receive


def piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def passed(path: str, raw: bytes | None = None) -> tuple[str, bytes]:
    app = Recorder()
    await ReadPath(app)(http(path, raw), receiving(piece(b"")), _send)
    assert app.scope is not None
    return app.scope["path"], app.scope["raw_path"]


@pytest.mark.parametrize(
    ("path", "stripped"),
    [
        ("/api/health", "/health"),
        ("/api/api/health", "/api/health"),
        ("/api/", "/"),
        ("/api//x", "//x"),
        ("/health", "/health"),
        ("/api", "/api"),
        ("/apis/x", "/apis/x"),
        ("/API/x", "/API/x"),
        ("/x/api/y", "/x/api/y"),
        ("", ""),
    ],
)
async def test_prefix_is_taken_off_once(path: str, stripped: str) -> None:
    assert await passed(path) == (stripped, stripped.encode())


async def test_prefix_is_taken_off_the_raw_path_where_it_is_spelled_so() -> None:
    assert await passed("/api/a b", b"/api/a%20b") == ("/a b", b"/a%20b")
    assert await passed("/api/x", b"/%61pi/x") == ("/x", b"/%61pi/x")


async def test_prefix_leaves_the_servers_own_scope_alone() -> None:
    scope = http("/api/x")
    await ReadPath(Recorder())(scope, receiving(piece(b"")), _send)

    assert scope["path"] == "/api/x"


# --- the cap ------------------------------------------------------------------------------


async def capped(*messages: Message, headers: Any = ()) -> Recorder:
    app = Recorder()
    await BodyCap(app)(http(headers=list(headers)), receiving(*messages), _send)
    return app


def is_too_large(app: Recorder) -> bool:
    """Say whether reading the body raises, as views find out."""
    assert app.scope is not None
    try:
        read_json(ASGIRequest(app.scope, BytesIO(app.body)))
    except BodyTooLarge:
        return True
    except ValidationFailed:
        pass  # small enough to be looked at
    return False


async def test_body_up_to_the_cap_is_handed_on_whole() -> None:
    app = await capped(piece(b"a" * (CAP - 1), more=True), piece(b"b"))

    assert app.body == b"a" * (CAP - 1) + b"b"
    assert not is_too_large(app)


@pytest.mark.parametrize(
    "pieces",
    [[b"a" * (CAP + 1)], [b"a" * CAP, b"b"], [b"a" * 1000] * 300],
    ids=["one", "two", "many"],
)
async def test_body_over_the_cap_is_dropped_and_marked(pieces: list[bytes]) -> None:
    app = await capped(*(piece(part, more=True) for part in pieces[:-1]), piece(pieces[-1]))

    assert app.body == b""
    assert is_too_large(app)


@pytest.mark.parametrize("declared", [str(CAP + 1), "9" * 11, "9" * 300])
async def test_declared_length_over_the_cap_is_enough(declared: str) -> None:
    app = await capped(piece(b"{}"), headers=[(b"content-length", declared.encode())])

    assert is_too_large(app)


@pytest.mark.parametrize("declared", ["2", "", "-1", "x", "²", "1.5"])
async def test_declared_length_that_is_odd_is_not_believed(declared: str) -> None:
    app = await capped(piece(b"{}"), headers=[(b"content-length", declared.encode())])

    assert app.body == b"{}"


async def test_client_that_leaves_half_way_reaches_no_view() -> None:
    app = await capped(piece(b"{", more=True))

    assert app.scope is None


async def test_other_protocols_pass() -> None:
    app = Recorder()
    await BodyCap(app)({"type": "lifespan"}, receiving(), _send)

    assert app.scope == {"type": "lifespan"}
