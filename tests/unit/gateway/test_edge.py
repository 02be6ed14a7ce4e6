"""The middlewares around the application: the path, and the cap on bodies."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Any
from urllib.parse import quote

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.urls.resolvers import RoutePattern
from hypothesis import given
from hypothesis import strategies as st

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


async def test_prefix_is_taken_off_however_it_is_encoded() -> None:
    assert await passed("/api/a b", b"/api/a%20b") == ("/a b", b"/a%20b")
    assert await passed("/api/x", b"/%61%70i/x") == ("/x", b"/x")
    assert (await passed("/api/x", b"/api%2Fx"))[0] == "/api%2Fx"


async def test_prefix_leaves_the_servers_own_scope_alone() -> None:
    scope = http("/api/x")
    await ReadPath(Recorder())(scope, receiving(piece(b"")), _send)

    assert scope["path"] == "/api/x"


# --- segments -----------------------------------------------------------------------------


def id_in(path: str) -> str | None:
    """Return the id that a route with one finds at the end of a path, or None."""
    pattern = RoutePattern("x/<segment:an_id>", is_endpoint=True)
    match = pattern.match(path.removeprefix("/"))
    return None if match is None else str(match[2]["an_id"])


@pytest.mark.parametrize(
    "an_id",
    [
        *("u/1", "/", "//", "../x", "%", "%2F", "%252F", "100%", "a%zz", "a b", "a+b@x.com"),
        *("홍길동", "DOMAIN\\kim", "a?b#c", "a;b", "\ufffd", "\u2028", "😀", "x" * 600),
    ],
)
async def test_id_in_a_path_is_the_text_that_was_encoded(an_id: str) -> None:
    for raw in (quote(an_id, safe=""), "".join(f"%{byte:02x}" for byte in an_id.encode())):
        path, _ = await passed("/whatever the server made of it", f"/api/x/{raw}".encode())

        assert id_in(path) == an_id


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_every_text_without_control_characters_is_an_id(an_id: str) -> None:
    path, _ = asyncio.run(passed("", f"/x/{quote(an_id, safe='')}".encode()))

    assert id_in(path) == an_id


@pytest.mark.parametrize(
    "raw",
    [
        *("%00", "a%00b", "%0A", "a%1Fb", "%7F", "%C2%85", "%C2%9F"),
        *("%FF", "a%80", "%ED%A0%80", "%C3", "%F0%9F%98", "%C0%AF", ""),
    ],
)
async def test_what_is_no_text_is_no_id(raw: str) -> None:
    path, _ = await passed("", f"/x/{raw}".encode())

    assert id_in(path) is None
    assert path.isprintable()


async def test_segments_are_split_before_they_are_decoded() -> None:
    assert (await passed("/a/b/c", b"/a%2fb/c"))[0] == "/a%2Fb/c"
    assert (await passed("", b"/x/%252F"))[0] == "/x/%252F"
    assert (await passed("", b"/%41//%7e/./.."))[0] == "/A//~/./.."


async def test_path_is_read_of_a_server_that_has_no_raw_path() -> None:
    app = Recorder()
    scope = http("/api/a b%c")
    del scope["raw_path"]
    await ReadPath(app)(scope, receiving(piece(b"")), _send)

    assert app.scope is not None
    assert app.scope["path"] == "/a b%25c"


# --- a target with a host -----------------------------------------------------------------


async def scope_of(target: bytes, scheme: str = "http") -> Scope:
    app = Recorder()
    headers = [(b"host", b"other"), (b"x-tenant-id", b"tenant1")]
    await ReadPath(app)(
        http("", target, scheme=scheme, headers=headers), receiving(piece(b"")), _send
    )
    assert app.scope is not None
    return app.scope


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        (b"http://example.com/api/health", "/health", b"example.com"),
        (b"http://example.com:8080/x%2Fy", "/x%2Fy", b"example.com:8080"),
        (b"HTTP://[::1]:80/x", "/x", b"[::1]:80"),
        (b"http://example.com", "/", b"example.com"),
        (b"http://example.com//x", "//x", b"example.com"),
    ],
)
async def test_target_with_a_host_is_its_path_and_its_host(
    target: bytes, path: str, host: bytes
) -> None:
    scope = await scope_of(target)

    assert scope["path"] == path
    assert scope["headers"] == [(b"host", host), (b"x-tenant-id", b"tenant1")]


@pytest.mark.parametrize(
    "target",
    [
        *(b"http://user@example.com/health", b"http:///health", b"http://", b"https://a/health"),
        *(b"ftp://a/health", b"*", b"example.com:443", b"health", b"http:/health"),
        *(b"http://a:b/health", b"http://a b@c/health", b"//http://a/health"),
    ],
)
async def test_other_target_names_no_path_and_leaves_the_host(target: bytes) -> None:
    scope = await scope_of(target)

    assert scope["path"] not in ("/health", "/")
    assert (b"host", b"other") in scope["headers"]


async def test_scheme_of_the_target_is_that_of_the_connection() -> None:
    assert (await scope_of(b"https://a/health", "https"))["path"] == "/health"
    assert (await scope_of(b"http://a/health", "https"))["path"] != "/health"


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
