"""Reads the environment; a message names the variable and says what would be right.

It never quotes a value that may hold a secret or a password.
"""

from __future__ import annotations

import base64
import json
import logging
import math
import os
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import environ
import redis
from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo

from dwp_project import strength

DEVELOPMENT = "development"
_DATABASES = ("sqlite://", "postgres://", "postgresql://")
_TRUE, _FALSE = ("true", "on", "ok", "yes", "y", "1"), ("false", "off", "no", "n", "0")
_LABEL = r"[a-zA-Z0-9_](?:[a-zA-Z0-9_-]*[a-zA-Z0-9_])?"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_HOST_IN_URL = rf"(?:{_NAME}|\[[0-9a-fA-F:.]+\])"
_ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://{_HOST_IN_URL}(?::[0-9]{{1,5}})?")
_PATTERN_OF_ORIGINS = re.compile(rf"https?://(?:\*\.)?{_HOST_IN_URL}(?::[0-9]{{1,5}})?")
_HOST_PATTERN = re.compile(rf"\*|\.?{_NAME}|\[[0-9a-fA-F:.]+\]")
_DOTTED_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
# Beside those of libpq: Django's.
_POSTGRESQL_OPTIONS = {"assume_role", "isolation_level", "pool", "server_side_binding"}
_SQLITE_OPTIONS = {"cached_statements", "init_command", "timeout", "transaction_mode"}
# Chosen: a change of keys needs one.
_MOST_FALLBACKS = 4
_SEED_BYTES = 32
_MAKE_A_SECRET = "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"  # noqa: S105
# Chosen: more proxies in a row than anybody has.
_MOST_PROXIES = 16


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The proxies whose word for their client's address counts: the nearest `hops`, or those whose
    own address is in one of `networks`, or that connect to a Unix socket."""

    hops: int = 0
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    is_unix_trusted: bool = False


class Environment(environ.Env):  # type: ignore[misc, unused-ignore]
    """Typed readers; what means nothing is an `ImproperlyConfigured`.

    Outside development they also refuse what is only safe on a developer's machine.
    """

    def __init__(self) -> None:
        super().__init__()
        # A copy, so that a wrong value can be read as if it were not set.
        self.ENVIRON = dict(os.environ)
        self.is_development = self.ENVIRON.get("DWP_ENVIRONMENT", DEVELOPMENT) == DEVELOPMENT

    def get_value(
        self, var: str, cast: Any = None, default: Any = environ.Env.NOTSET, *args: Any, **kw: Any
    ) -> Any:
        """Return the value as it stands, or parsed by `cast`.

        django-environ's own takes `$X` for a reference to another variable, so that a secret can
        begin with no `$`, and any text for a boolean.
        """
        if var not in self.ENVIRON:
            if default is self.NOTSET:
                raise ImproperlyConfigured(f"{var} is missing.")
            return default
        text = self.ENVIRON[var]
        if not _is_utf8(text):
            raise ImproperlyConfigured(f"{var} is not UTF-8.")
        try:
            if isinstance(cast, list):
                return [_PARSERS[cast[0]](item) for item in _items(text)]
            parse: Any = _PARSERS.get(cast or str, cast)
            return parse(text)
        except json.JSONDecodeError as exc:
            raise ImproperlyConfigured(f"{var} is not JSON: {exc}.") from exc
        except (ValueError, TypeError) as exc:
            raise ImproperlyConfigured(
                f"{var} is set to something unusable ({exc}). "
                "docs/reference/settings.md says what it takes."
            ) from exc

    def filled(self, var: str, *, default: str) -> str:
        """Return a text that is not empty."""
        text: str = self.str(var, default=default)
        if not text.strip() or not text.isprintable():
            raise ImproperlyConfigured(f"{var} is empty or unprintable. Set it, or leave it out.")
        return text

    def whole(self, var: str, *, default: int, least: int = 0, most: int = 1_000_000) -> int:
        """Return a whole number from `least` to `most`."""
        value: int = self.int(var, default=default)
        if var in self.ENVIRON and not least <= value <= most:
            raise ImproperlyConfigured(
                f"{var} must be a whole number from {least} to {most}, not {value}."
            )
        return value

    def seconds(self, var: str, *, default: float, least: float, most: float) -> float:
        """Return a number of seconds from `least` to `most`, fractions allowed."""
        value: float = self.float(var, default=default)
        if not least <= value <= most:
            raise ImproperlyConfigured(f"{var} must be from {least} to {most}, not {value}.")
        return value

    def choice(self, var: str, choices: Collection[str], *, default: str) -> str:
        """Return one of `choices`."""
        value: str = self.str(var, default=default)
        if value not in choices:
            raise ImproperlyConfigured(f"{var} is {value!r}. Set it to {' or '.join(choices)}.")
        return value

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
            networks = tuple(ip_network(item) for item in items if item != "unix")
            if any(network.prefixlen == 0 for network in networks):
                raise ValueError("a network of all addresses would trust everybody")
        except ValueError as exc:
            raise ImproperlyConfigured(
                f"{var} is {text!r} ({exc}). Set it to how many proxies are in front, such as 1, "
                "or to their addresses: 10.0.0.0/8,192.168.1.5,unix"
            ) from exc
        return TrustedProxies(networks=networks, is_unix_trusted="unix" in items)

    def log_level(self, var: str, *, default: str) -> str:
        """Return the name of a level of Python's logging."""
        level: str = self.str(var, default=default)
        if level not in logging.getLevelNamesMapping():
            raise ImproperlyConfigured(
                f"{var} is {level!r}. Set it to DEBUG, INFO, WARNING, ERROR or CRITICAL."
            )
        return level

    def time_zone(self, var: str, *, default: str) -> str:
        """Return the name of a time zone that this machine knows."""
        name: str = self.str(var, default=default)
        if var in self.ENVIRON:
            try:
                ZoneInfo(name)
            except (KeyError, ValueError, OSError) as exc:
                raise ImproperlyConfigured(
                    f"{var} is {name!r}, which is no time zone here. Set it like Asia/Seoul or UTC."
                ) from exc
        return name

    def dotted_path(self, var: str, *, default: str) -> str:
        """Return the dotted path of a class."""
        path: str = self.str(var, default=default)
        if not _DOTTED_PATH.fullmatch(path):
            raise ImproperlyConfigured(f"{var} is {path!r}. Set it like package.module.Class.")
        return path

    def json_object(self, var: str, *, default: dict[str, Any]) -> dict[str, Any]:
        """Return a JSON object."""
        value = self.json(var, default=default)
        if not isinstance(value, dict):
            raise ImproperlyConfigured(f'{var} must be a JSON object, such as {{"pace": 1}}.')
        return value

    # --- where to listen, and under which names ------------------------------------------

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
            var, [o for o in origins if o != "null" and not _is_origin(o)],
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
            var, [origin for origin in origins if not _PATTERN_OF_ORIGINS.fullmatch(origin)],
            "https:// and a host, without a path, such as https://approvals.example.com",
        )  # fmt: skip
        return origins

    # --- what is kept elsewhere ------------------------------------------------------------

    def db_url(self, var: str = "DATABASE_URL", *, default: str) -> dict[str, Any]:
        """Return Django's description of a database."""
        text: str = self.str(var, default=default)
        if not text.startswith(_DATABASES):
            raise ImproperlyConfigured(
                f"{var} must begin with one of {', '.join(_DATABASES)}: "
                "postgres://user:password@host:5432/name"
            )
        database: dict[str, Any] = {}
        with suppress(ValueError):
            # A SQLite URL with two slashes names a host and no file.
            if not (text.startswith("sqlite:") and urlsplit(text).netloc):
                database = self.db_url_config(text)
        if database.get("NAME") in (None, "", ":memory:") and not _names_service(database):
            raise ImproperlyConfigured(
                f"{var} names no database. Set it like postgres://user:password@host:5432/name or "
                "sqlite:////absolute/path.sqlite3; in a password # is written %23, / %2F and @ %40."
            )
        if not _knows_options(database):
            raise ImproperlyConfigured(
                f"{var} has an option behind its question mark that this database does not know."
            )
        self._refuse_example_password(var, database.get("PASSWORD"))
        return database

    def redis_url(self, var: str, *, default: str) -> str:
        """Return the URL of a Redis; empty counts as missing."""
        text: str = self.str(var, default="")
        if not text:
            return default
        is_usable, password = False, None
        with suppress(ValueError, TypeError, redis.RedisError):
            url = urlsplit(text)
            password = url.password
            # redis-py reads its options only when it makes a connection; none is opened here.
            redis.Redis.from_url(text).connection_pool.make_connection()
            database = url.path.strip("/")
            is_usable = (
                bool(database) if url.scheme == "unix" else database.isdecimal() or not database
            )
        if not is_usable:
            raise ImproperlyConfigured(
                f"{var} is not usable. Set it like redis://127.0.0.1:6379/0 (the last part is a "
                "number) or unix:///path/redis.sock; in a password # is written %23, / %2F and "
                "@ %40."
            )
        self._refuse_example_password(var, password)
        return text

    # --- secrets ---------------------------------------------------------------------------

    def secret(
        self,
        var: str,
        *,
        default: str = "",
        least: int = strength.MIN_SECRET_BYTES,
        in_development: int = 1,
    ) -> str:
        """Return a secret of at least `least` bytes (`in_development` there); empty counts as
        missing."""
        value: str = self.str(var, default="")
        if value and (weakness := self._weakness_of(value, least, in_development)):
            raise ImproperlyConfigured(f"{var} {weakness}. {_MAKE_A_SECRET}")
        return value or default

    def fallback_secrets(
        self, var: str, *, default: list[str], in_development: int = 1
    ) -> list[str]:
        """Return the secrets that only verify; each has to be as strong as the one that signs."""
        values: list[str] = self.list(var, default=default)
        if len(values) > _MOST_FALLBACKS:
            raise ImproperlyConfigured(
                f"{var} has {len(values)} secrets, and {_MOST_FALLBACKS} are the most. Leave out "
                "those that signed nothing that is still valid."
            )
        for value in values:
            least = strength.MIN_SECRET_BYTES
            if weakness := self._weakness_of(value, least, in_development):
                raise ImproperlyConfigured(
                    f"{var} has a secret that {weakness}. Leave it out, and what it signed is "
                    "refused."
                )
        return values

    def signing_key(self, var: str, *, file_var: str) -> str:
        """Return the text of a signing key, or "" where `file_var` names its file."""
        text: str = self.str(var, default="", multiline=True)
        file: str = self.str(file_var, default="")
        if text and file:
            raise ImproperlyConfigured(f"{var} and {file_var} are both set. Set one.")
        name = file_var if file else var
        key = text
        if file:
            try:
                key = Path(file).read_text(encoding="ascii")
            except (OSError, ValueError) as exc:
                reason = exc.strerror if isinstance(exc, OSError) else "it is not text"
                raise ImproperlyConfigured(f"{file_var} {file} cannot be read: {reason}.") from exc
        # What is PEM, the system check of the audit's keys parses.
        if (text or file) and "-----BEGIN" not in key:
            seed = b""
            with suppress(ValueError):
                seed = base64.b64decode(key.strip(), validate=True)
            if len(seed) != _SEED_BYTES:
                raise ImproperlyConfigured(
                    f"{name} holds no Ed25519 key: neither an unencrypted PEM (PKCS 8) nor the "
                    "base64 of 32 bytes. Make one with: openssl genpkey -algorithm ed25519"
                )
            if not self.is_development and strength.weakness_of(seed.decode("latin-1"), least=1):
                raise ImproperlyConfigured(
                    f"{name} repeats a few bytes. Make one with: openssl genpkey -algorithm ed25519"
                )
        return text

    def _weakness_of(self, value: str, least: int, in_development: int) -> str | None:
        if self.is_development:
            return strength.too_short(value, in_development)
        return strength.weakness_of(value, least=least)

    def _refuse_example_password(self, var: str, password: str | None) -> None:
        if not self.is_development and strength.is_example_password(password):
            raise ImproperlyConfigured(
                f"{var} has the password of an example. Give the user one of its own."
            )


def _boolean(text: str) -> bool:
    if text.strip().lower() in _TRUE:
        return True
    if text.strip().lower() in _FALSE:
        return False
    raise ValueError(f"{text!r} is neither true nor false")


def _integer(text: str) -> int:
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text):
        raise ValueError(f"{text[:40]!r} is no whole number")
    return int(text)


def _number(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text!r} is no number")
    return value


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


_PARSERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    bool: _boolean,
    int: _integer,
    float: _number,
    list: _items,
}


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_origin(text: str) -> bool:
    return text == text.lower() and _ORIGIN.fullmatch(text) is not None


def _knows_options(database: dict[str, Any]) -> bool:
    options: dict[str, Any] = database.get("OPTIONS", {})
    if database["ENGINE"].endswith("sqlite3"):
        return options.keys() <= _SQLITE_OPTIONS
    try:
        make_conninfo(**{name: options[name] for name in options.keys() - _POSTGRESQL_OPTIONS})
    except ProgrammingError:
        return False
    return True


def _names_service(database: dict[str, Any]) -> bool:
    return "service" in database.get("OPTIONS", {})


def _refuse_all(var: str, wrong: list[str], right: str) -> None:
    """Raise if anything is wrong; an item with `@` may hold a password, and is not quoted."""
    if wrong:
        quoted = [item if "@" not in item else "one with @" for item in wrong]
        raise ImproperlyConfigured(f"{var} has {', '.join(map(repr, quoted))}. An item is {right}.")
