"""Readers of the URLs of the database and of Redis."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
import redis.asyncio
from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo

from dwp_project import strength
from dwp_project.environment.values import Values

_DATABASES = ("sqlite://", "postgres://", "postgresql://")
# Beside those of libpq: Django's, without those that have no effect in a URL.
_POSTGRESQL_OPTIONS = {"assume_role", "isolation_level"}
_SQLITE_OPTIONS = {"cached_statements", "init_command", "timeout", "transaction_mode"}
# redis-py has more, which change what it returns.
_REDIS_OPTION = re.compile(
    "db|username|password|client_name|protocol|health_check_interval|max_connections"
    "|retry_on_timeout|socket_(connect_timeout|keepalive|read_size|timeout)|ssl_[a-z_]+"
)


class Stores(Values):
    """The database and Redis."""

    def db_url(self, var: str = "DATABASE_URL", *, default: str) -> dict[str, Any]:
        """Return Django's description of a database."""
        text: str = self.str(var, default=default)
        if not text.startswith(_DATABASES):
            raise ImproperlyConfigured(
                f"{var} must begin with one of {', '.join(_DATABASES)}: "
                "postgres://user:password@host:5432/name"
            )
        database: dict[str, Any] = {}
        problem = "names no database"
        try:
            # A SQLite URL with two slashes names a host and no file.
            if not (text.startswith("sqlite:") and urlsplit(text).netloc):
                database = self.db_url_config(text)
        except ValueError:
            problem = "has a host or a port that is none"
        if database.get("NAME") in (None, "", ":memory:") and not _names_service(database):
            raise ImproperlyConfigured(
                f"{var} {problem}. Set it like postgres://user:password@host:5432/name or "
                "sqlite:////absolute/path.sqlite3; in a password # is written %23, / %2F and @ %40."
            )
        if not _knows_options(database):
            raise ImproperlyConfigured(
                f"{var} has an option behind its question mark that this database does not know."
            )
        options = database.get("OPTIONS", {})
        self._refuse_example_password(
            var,
            database.get("PASSWORD") or options.get("password"),
            database.get("USER") or options.get("user"),
        )
        return database

    def redis_url(self, var: str, *, default: str) -> str:
        """Return the URL of a Redis; empty counts as missing."""
        text: str = self.str(var, default="")
        if not text:
            return default
        is_usable = False
        known: dict[str, Any] = {}
        with suppress(ValueError, TypeError, OSError, redis.RedisError):
            url = urlsplit(text)
            if all(map(_REDIS_OPTION.fullmatch, parse_qs(url.query, keep_blank_values=True))):
                # redis-py reads options only when it makes a connection; none is opened here. What
                # its asyncio takes, its threads take, too.
                pool = redis.asyncio.ConnectionPool.from_url(text)
                connection, known = pool.make_connection(), pool.connection_kwargs
                if isinstance(connection, redis.asyncio.SSLConnection):
                    # Loads the files that the options name.
                    connection.ssl_context.get()
                database = url.path.strip("/")
                is_usable = (
                    bool(database) if url.scheme == "unix" else database.isdecimal() or not database
                )
        if not is_usable:
            raise ImproperlyConfigured(
                f"{var} is not usable. Set it like redis://127.0.0.1:6379/0 (the last part is a "
                "number) or unix:///path/redis.sock; in a password # is written %23, / %2F and "
                "@ %40. Files in its options have to exist, and options that change what Redis "
                "answers are not taken."
            )
        self._refuse_example_password(var, known.get("password"), known.get("username"))
        return text

    def _refuse_example_password(self, var: str, password: object, user: object) -> None:
        is_example = strength.is_example_password(str(password or ""), str(user or ""))
        if is_example and not self.is_development:
            raise ImproperlyConfigured(
                f"{var} has the password of an example, or the user's name for one. Give the user "
                "one of its own."
            )


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
