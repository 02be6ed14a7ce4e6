"""Readers of where to listen, under which names, and who is in front."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from dwp_project.environment.values import Values

_LABEL = r"[a-zA-Z0-9_](?:[a-zA-Z0-9_-]*[a-zA-Z0-9_])?"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_HOST_IN_URL = rf"(?:{_NAME}|\[[0-9a-fA-F:.]+\])"
_ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://{_HOST_IN_URL}(?::[0-9]{{1,5}})?")
_PATTERN_OF_ORIGINS = re.compile(rf"https?://(?:\*\.)?{_HOST_IN_URL}(?::[0-9]{{1,5}})?")
_HOST_PATTERN = re.compile(rf"\*|\.?{_NAME}|\[[0-9a-fA-F:.]+\]")
# Chosen: more proxies in a row than anybody has.
_MOST_PROXIES = 16
# The largest private networks: 10.0.0.0/8 and fc00::/7.
_LEAST_BITS = {4: 8, 6: 7}
# Of ::ffff:0:0/96, where IPv4 is mapped into IPv6.
_MAPPED_BITS = 96


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The proxies whose word for their client's address counts: the nearest `hops`, or those whose
    own address is in one of `networks`, or that connect to a Unix socket."""

    hops: int = 0
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    is_unix_trusted: bool = False


class Hosts(Values):
    """Hosts, ports, origins and proxies."""

    def host(self, var: str, *, default: str) -> str:
        """Return a host name or an address to listen on."""
        host: str = self.str(var, default=default)
        if not re.fullmatch(_NAME, host) and not _is_address(host):
            raise ImproperlyConfigured(
                f"{var} is {host!r}. Set it to an address or a name of this machine: 127.0.0.1, "
                "or 0.0.0.0 for all of its addresses."
            )
        return host

    def ports(self, var: str, *, default: list[int]) -> list[int]:
        """Return the ports to listen on; 0 is any free port."""
        ports: list[int] = self.list(var, cast=int, default=default)
        if not ports or not all(0 <= port <= 65535 for port in ports):
            raise ImproperlyConfigured(
                f"{var} must be ports from 0 to 65535, such as PORTS=8080,8081."
            )
        return ports

    def host_patterns(self, var: str, *, default: list[str]) -> list[str]:
        """Return host names as of Django's `ALLOWED_HOSTS`."""
        hosts: list[str] = self.list(var, default=default)
        if var not in self.ENVIRON:
            return hosts
        if not hosts:
            raise ImproperlyConfigured(f"{var} is empty. Name a host, or leave it out.")
        _refuse_all(
            var, [host for host in hosts if not _HOST_PATTERN.fullmatch(host)],
            "a host name without scheme, port and path, such as approvals.example.com",
        )  # fmt: skip
        if "*" in hosts and not self.is_development:
            raise ImproperlyConfigured(
                f"{var} is *: anybody could have links made that lead to a host of their own. Name "
                "the hosts under which operators reach the pages."
            )
        return hosts

    def origins(self, var: str, *, default: list[str]) -> list[str]:
        """Return origins as a browser sends them; in development `null` is one."""
        origins: list[str] = self.list(var, default=default)
        _refuse_all(
            var, [origin for origin in origins if origin != "null" and not _is_origin(origin)],
            "a scheme and a host in small letters, without a path, such as https://app.example.com",
        )  # fmt: skip
        if "null" in origins and not self.is_development:
            raise ImproperlyConfigured(
                f"{var} has null, which any page can have for its origin. Name the front ends."
            )
        return origins

    def origin_patterns(self, var: str, *, default: list[str]) -> list[str]:
        """Return origins in which the first part of a host may be `*`."""
        origins: list[str] = self.list(var, default=default)
        _refuse_all(
            var, [origin for origin in origins if not _is_pattern_of_origins(origin)],
            "https:// and a host, without a path, such as https://approvals.example.com",
        )  # fmt: skip
        return origins

    def trusted_proxies(self, var: str, *, behind_proxy: bool | None) -> TrustedProxies:
        """Return the proxies to trust: a count, or addresses, networks and `unix`.

        `behind_proxy` is `BEHIND_PROXY`, which means one hop, or none; None if it is not set.
        """
        by_count = TrustedProxies(hops=int(bool(behind_proxy)))
        if var not in self.ENVIRON:
            return by_count
        text: str = self.str(var)
        trusted = self._parse_proxies(var, text)
        if behind_proxy is not None and trusted != by_count:
            raise ImproperlyConfigured(
                f"{var} is {text!r}, but BEHIND_PROXY={str(behind_proxy).lower()} means "
                f"{var}={by_count.hops}. Leave BEHIND_PROXY out."
            )
        return trusted

    @staticmethod
    def _parse_proxies(var: str, text: str) -> TrustedProxies:
        items = [item.strip() for item in text.split(",")]
        try:
            if text.isdecimal():
                if int(text[:5]) > _MOST_PROXIES:
                    raise ValueError(f"at most {_MOST_PROXIES} proxies in a row")
                return TrustedProxies(hops=int(text))
            networks = tuple(_network(item) for item in items if item != "unix")
        except ValueError as exc:
            raise ImproperlyConfigured(
                f"{var} is {text!r} ({exc}). Set it to how many proxies are in front, such as 1, "
                "or to their addresses: 10.0.0.0/8,192.168.1.5,unix"
            ) from exc
        return TrustedProxies(networks=networks, is_unix_trusted="unix" in items)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _network(text: str) -> IPv4Network | IPv6Network:
    network = ip_network(text)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped and network.prefixlen >= _MAPPED_BITS:
        # Addresses that are mapped into IPv6 are compared as IPv4.
        network = ip_network((mapped, network.prefixlen - _MAPPED_BITS))
    if network.prefixlen < _LEAST_BITS[network.version]:
        raise ValueError(f"{text} would trust too many to be a network of proxies")
    return network


def _is_origin(text: str) -> bool:
    return text == text.lower() and _ORIGIN.fullmatch(text) is not None and _has_usable_port(text)


def _is_pattern_of_origins(text: str) -> bool:
    return _PATTERN_OF_ORIGINS.fullmatch(text) is not None and _has_usable_port(text)


def _has_usable_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _refuse_all(var: str, wrong: list[str], right: str) -> None:
    """Raise if anything is wrong; an item with `@` may hold a password, and is not quoted."""
    if wrong:
        quoted = [item if "@" not in item else "one with @" for item in wrong]
        raise ImproperlyConfigured(f"{var} has {', '.join(map(repr, quoted))}. An item is {right}.")
