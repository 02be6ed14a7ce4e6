"""Whose address a request is recorded under, behind trusted proxies and without any."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest
from pytest_django import Settings
from structlog.testing import capture_logs

from dwp_project.environment import Environment, TrustedProxies
from dwp_project.gateway.addresses import ForwardedClient, client_address

Header = tuple[bytes, bytes]


def proxies(text: str, monkeypatch: pytest.MonkeyPatch) -> TrustedProxies:
    monkeypatch.setenv("TRUSTED_PROXIES", text)
    return Environment().trusted_proxies("TRUSTED_PROXIES", behind_proxy=None)


def seen(headers: list[Header], peer: str | None = "10.0.0.1", scheme: str = "http") -> HttpRequest:
    """Return the request that Django sees behind `ForwardedClient`."""
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "scheme": scheme,
        "headers": headers,
        "client": None if peer is None else [peer, 4711],
    }
    asyncio.run(ForwardedClient(app)(scope, None, None))  # type: ignore[arg-type]
    return ASGIRequest(scopes[0], BytesIO())


def address(*lines: bytes, peer: str | None = "10.0.0.1") -> str:
    return client_address(seen([(b"x-forwarded-for", line) for line in lines], peer))


@pytest.mark.parametrize("trusted", ["0", "192.168.0.0/16", "unix"])
def test_what_a_client_sends_counts_for_nothing_without_a_trusted_proxy(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, trusted: str
) -> None:
    settings.TRUSTED_PROXIES = proxies(trusted, monkeypatch)

    request = seen([(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-proto", b"https")])

    assert (client_address(request), request.is_secure()) == ("10.0.0.1", False)


@pytest.mark.parametrize(
    ("hops", "lines", "expected"),
    [
        ("1", [], "10.0.0.1"),
        ("1", [b"203.0.113.7"], "203.0.113.7"),
        ("1", [b"6.6.6.6, 203.0.113.7"], "203.0.113.7"),
        ("1", [b"6.6.6.6", b"203.0.113.7"], "203.0.113.7"),
        ("2", [b"6.6.6.6, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("2", [b"6.6.6.6", b"203.0.113.7", b"10.0.0.2"], "203.0.113.7"),
        ("2", [b"203.0.113.7"], "203.0.113.7"),
        ("2", [b"6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2"),
        ("1", [b"203.0.113.7, "], "10.0.0.1"),
    ],
)
def test_address_is_that_of_the_nearest_hop_that_is_not_counted(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    hops: str,
    lines: list[bytes],
    expected: str,
) -> None:
    settings.TRUSTED_PROXIES = proxies(hops, monkeypatch)

    assert address(*lines) == expected


@pytest.mark.parametrize(
    ("lines", "peer", "expected"),
    [
        ([b"6.6.6.6, 203.0.113.7, 10.0.0.2, 192.168.1.5"], "10.0.0.1", "203.0.113.7"),
        ([b"6.6.6.6, 203.0.113.7"], "198.51.100.1", "198.51.100.1"),
        ([b"10.0.0.3, 10.0.0.2"], "10.0.0.1", "10.0.0.3"),
        ([b"203.0.113.7"], None, "203.0.113.7"),
        ([b"203.0.113.7"], "::ffff:10.0.0.1", "203.0.113.7"),
        ([], None, ""),
        ([b"\xff"], None, ""),
    ],
)
def test_address_is_that_of_the_nearest_hop_outside_the_networks(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    lines: list[bytes],
    peer: str | None,
    expected: str,
) -> None:
    settings.TRUSTED_PROXIES = proxies("10.0.0.0/8,192.168.1.5,unix", monkeypatch)

    assert address(*lines, peer=peer) == expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (b"203.0.113.7:4711", "203.0.113.7"),
        (b'"203.0.113.7"', "203.0.113.7"),
        (b"2001:DB8::0:7", "2001:db8::7"),
        (b"[2001:db8::7]", "2001:db8::7"),
        (b"[2001:db8::7]:4711", "2001:db8::7"),
        (b'"[2001:db8::7]:4711"', "2001:db8::7"),
        (b"fe80::7%eth0", "fe80::7"),
        (b"::ffff:203.0.113.7", "203.0.113.7"),
    ],
)
def test_address_has_neither_port_nor_zone_nor_quotes(
    settings: Settings, entry: bytes, expected: str
) -> None:
    settings.TRUSTED_PROXIES = TrustedProxies(hops=1)

    assert address(b"6.6.6.6, " + entry) == expected


@pytest.mark.parametrize(
    "entry",
    [
        *(
            b"",
            b"unknown",
            b"_hidden",
            b"\xff\xfe",
            b"203.0.113",
            b"203.0.113.999",
            b"1",
            b"a" * 300,
        ),
        *(
            b"203.0.113.7:http",
            b"[203.0.113.7",
            b"203.0.113.7/8",
            b"\xb2.1.1.1",
            b"::1%" + b"x" * 300,
        ),
    ],
)
def test_what_is_no_address_ends_the_walk(settings: Settings, entry: bytes) -> None:
    settings.TRUSTED_PROXIES = TrustedProxies(hops=2)

    assert address(b"6.6.6.6, " + entry + b", 203.0.113.7") == "203.0.113.7"


def test_header_of_any_length_is_read_from_its_end(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = TrustedProxies(hops=1)

    assert address(b"6.6.6.6," * 30_000 + b"203.0.113.7") == "203.0.113.7"


@pytest.mark.parametrize(
    ("hops", "sent", "is_secure"),
    [
        (1, [b"https"], True),
        (1, [b"HTTPS"], True),
        (1, [b"https, http"], False),
        (1, [b"http, https"], True),
        (1, [b"http", b"https"], True),
        (2, [b"https, http"], True),
        (2, [b"https"], True),
        (1, [b"\xff"], False),
        (1, [b"wss"], False),
        (1, [b""], False),
        (0, [b"https"], False),
    ],
)
def test_scheme_is_that_of_the_same_hop(
    settings: Settings, hops: int, sent: list[bytes], is_secure: bool
) -> None:
    settings.TRUSTED_PROXIES = TrustedProxies(hops=hops)
    addresses = [(b"x-forwarded-for", b"203.0.113.7, 10.0.0.2")]

    request = seen([*addresses, *((b"x-forwarded-proto", value) for value in sent)])

    assert request.is_secure() is is_secure


def test_scheme_that_is_no_scheme_leaves_the_connections_own(settings: Settings) -> None:
    settings.TRUSTED_PROXIES = TrustedProxies(hops=1)

    assert seen([(b"x-forwarded-proto", b"\xff")], scheme="https").is_secure()


# --- a proxy that nobody trusts ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "header", "warnings"),
    [
        (TrustedProxies(), b"x-forwarded-for", 1),
        (TrustedProxies(), b"x-forwarded-proto", 0),
        (TrustedProxies(hops=1), b"x-forwarded-for", 0),
        (TrustedProxies(is_unix_trusted=True), b"x-forwarded-for", 0),
    ],
)
def test_proxy_in_front_that_is_not_set_is_warned_of_once(
    settings: Settings, trusted: TrustedProxies, header: bytes, warnings: int
) -> None:
    settings.TRUSTED_PROXIES = trusted

    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    async def ask_three_times() -> None:
        middleware = ForwardedClient(app)
        for _ in range(3):
            scope = {"type": "http", "headers": [(header, b"6.6.6.6")], "client": ["10.0.0.1", 1]}
            await middleware(scope, None, None)  # type: ignore[arg-type]

    with capture_logs() as logs:
        asyncio.run(ask_three_times())

    assert [entry["log_level"] for entry in logs] == ["warning"] * warnings
    assert all("TRUSTED_PROXIES" in entry["remedy"] for entry in logs)


# --- what is configured ----------------------------------------------------------------------


@pytest.mark.parametrize(("behind_proxy", "hops"), [(True, 1), (False, 0), (None, 0)])
def test_behind_proxy_goes_on_to_mean_one_hop(behind_proxy: bool | None, hops: int) -> None:
    trusted = Environment().trusted_proxies("TRUSTED_PROXIES", behind_proxy=behind_proxy)

    assert trusted == TrustedProxies(hops=hops)


@pytest.mark.parametrize(
    ("behind_proxy", "text"),
    [(True, "2"), (True, "0"), (True, "10.0.0.0/8"), (False, "1"), (False, "unix")],
)
def test_settings_that_contradict_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, behind_proxy: bool, text: str
) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", text)

    with pytest.raises(ImproperlyConfigured, match="BEHIND_PROXY"):
        Environment().trusted_proxies("TRUSTED_PROXIES", behind_proxy=behind_proxy)


@pytest.mark.parametrize(("behind_proxy", "text"), [(True, "1"), (False, "0")])
def test_settings_that_say_the_same_are_accepted(
    monkeypatch: pytest.MonkeyPatch, behind_proxy: bool, text: str
) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", text)

    trusted = Environment().trusted_proxies("TRUSTED_PROXIES", behind_proxy=behind_proxy)

    assert trusted == TrustedProxies(hops=int(text))


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ",", "true", "all", "*", "-1", "1.5", "17", "9" * 5000, "1,10.0.0.1", "nginx"),
        *("10.0.0.1/8", "10.0.0.0/33", "0.0.0.0/0", "::/0", "10.0.0.1,", "10.0.0.1:80", "UNIX"),
    ],
)
def test_nonsense_is_named_and_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="TRUSTED_PROXIES"):
        proxies(text, monkeypatch)
