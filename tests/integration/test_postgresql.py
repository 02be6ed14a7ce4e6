"""Connections of the pool: none is asked whether it works unless there is a reason to."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg_pool import ConnectionPool

from dwp_project.postgresql import base
from hitl.models import AuditChain
from tests.services import services

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(services.database != "postgres", reason="SQLite has no connections"),
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that grows with each question whether a connection works."""
    seen: list[object] = []
    check = ConnectionPool.check_connection

    def asking(conn: Any) -> None:
        seen.append(conn)
        check(conn)

    monkeypatch.setattr(ConnectionPool, "check_connection", asking)
    return seen


def use() -> int:
    """Ask the database something, with a connection from the pool."""
    connection.close()
    return AuditChain.objects.count()


def test_busy_connection_is_not_asked(asked: list[object]) -> None:
    # The pool hands out each of its connections in turn.
    for _ in range(20):
        use()
    asked.clear()

    for _ in range(20):
        use()

    assert asked == []


def test_idle_connection_is_asked(asked: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    use()
    monkeypatch.setattr(base, "_IDLE_SECONDS", 0.0)

    use()

    assert len(asked) == 1


def test_connection_that_the_server_has_ended_is_replaced() -> None:
    use()
    pid = connection.connection.info.backend_pid
    used = connection.settings_dict
    with psycopg.connect(
        dbname=used["NAME"],
        user=used["USER"],
        password=used["PASSWORD"],
        host=used["HOST"],
        port=used["PORT"],
        autocommit=True,
    ) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    assert use() == 0
    assert connection.connection.info.backend_pid != pid
