"""The address and the scheme that a client itself used, where trusted proxies are in between."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from structlog.stdlib import get_logger

from dwp_project.asgi_types import ASGIApp, Receive, Scope, Send
from dwp_project.environment import TrustedProxies

logger = get_logger(__name__)

_ADDRESSES, _SCHEMES = b"x-forwarded-for", b"x-forwarded-proto"
# Chosen: twice as many as a deployment may trust. What a client sends further left is not read.
_MOST_HOPS = 32
# Longer than any address with port, zone and quotes.
_MAX_ENTRY_LENGTH = 100

IPAddress = IPv4Address | IPv6Address


def client_address(request: HttpRequest) -> str:
    """Return the address of the nearest hop that is no trusted proxy, without port and zone.

    It is the text that `ipaddress` writes. An IPv4 address that is mapped into IPv6 is written as
    IPv4. Empty where there is none, as on a Unix socket.
    """
    # `ForwardedClient` has put the client in the place of the proxy.
    address = _parse_entry(str(request.META.get("REMOTE_ADDR") or ""))
    return "" if address is None else address.compressed


def parse(text: str) -> IPAddress | None:
    """Return the address that `text` is, without its zone and no longer mapped; None if none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class ForwardedClient:
    """ASGI middleware that gives a scope the client and scheme that trusted proxies report.

    Without `TRUSTED_PROXIES` their headers are ignored, because anybody can send them. `Forwarded`
    (RFC 7239) is never read.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._has_warned = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trusted: TrustedProxies = settings.TRUSTED_PROXIES
        if trusted == TrustedProxies() and not self._has_warned:
            self._warn_of_proxy(scope)
        await self.app({**scope, **_reported(scope, trusted)}, receive, send)

    def _warn_of_proxy(self, scope: Scope) -> None:
        """Warn once that a proxy may be in front, whose address all clients then have."""
        if any(key == _ADDRESSES for key, _ in scope["headers"]):
            self._has_warned = True
            logger.warning(
                "forwarded_for_is_not_read",
                peer=str((scope.get("client") or ["a Unix socket"])[0]),
                remedy="If a proxy is in front, set TRUSTED_PROXIES. Without it all clients have "
                "the proxy's address, and failed sign-ins of one lock out all.",
            )


def _reported(scope: Scope, trusted: TrustedProxies) -> dict[str, Any]:
    """Return the members of the scope that trusted proxies report otherwise."""
    peer = scope.get("client")
    address = _parse_entry(str(peer[0])) if peer else None
    if not _is_trusted(trusted, address, is_unix=not peer, hop=1):
        return {}
    hop = 1
    for entry in _entries(scope, _ADDRESSES):
        # What cannot be read ends the walk: whoever wrote it wrote what is left of it as well.
        if (reported := _parse_entry(entry)) is None:
            break
        address, hop = reported, hop + 1
        if not _is_trusted(trusted, address, is_unix=False, hop=hop):
            break
    members: dict[str, Any] = {}
    if hop > 1 and address is not None:
        members["client"] = [address.compressed, 0]
    # Each proxy appends the scheme of its own client, or the outermost one's is handed on alone.
    schemes = list(_entries(scope, _SCHEMES))[: max(1, hop - 1)]
    if schemes and schemes[-1].lower() in ("http", "https"):
        members["scheme"] = schemes[-1].lower()
    return members


def _is_trusted(
    trusted: TrustedProxies, address: IPAddress | None, *, is_unix: bool, hop: int
) -> bool:
    if hop <= trusted.hops or (is_unix and trusted.is_unix_trusted):
        return True
    return address is not None and any(address in network for network in trusted.networks)


def _entries(scope: Scope, name: bytes) -> Iterator[str]:
    """Yield the entries of a header that is a list, the last first: the nearest proxy wrote it."""
    lines = [value for key, value in scope["headers"] if key == name]
    entries = b",".join(lines).rsplit(b",", _MOST_HOPS)[-_MOST_HOPS:] if lines else []
    for entry in reversed(entries):
        yield entry.strip()[: _MAX_ENTRY_LENGTH + 1].decode("latin-1")


def _parse_entry(entry: str) -> IPAddress | None:
    """Return the address in `1.2.3.4`, `1.2.3.4:567`, `::1`, `[::1]`, `"[::1%eth0]:567"`; None if
    there is none."""
    text = entry.removeprefix('"').removesuffix('"')
    if len(text) > _MAX_ENTRY_LENGTH:
        return None
    if text.startswith("["):
        text, _, port = text[1:].partition("]")
        port = port.removeprefix(":") or "0"
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
    else:
        port = "0"
    if not (port.isascii() and port.isdigit()):
        return None
    return parse(text)
