"""Fixtures of all tests: three people, a clean Redis, a database that can be flushed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
import redis
from django.db import connections
from django.test import TransactionTestCase

from hitl.audit import triggers
from tests import people
from tests.people import Person
from tests.services import services

# What takes longest goes first: a file is one worker's, and the others end beside it.
LONGEST = (
    *("test_million", "test_foreign_tenant", "test_wrong_question", "test_state_machine"),
    *("test_postgresql_roles", "test_relay", "test_recovery", "test_waiting", "test_scanner"),
    *("test_takeover", "test_serve", "test_frozen_end", "test_server_bodies", "test_server_end"),
    *("test_all_day", "test_looking", "test_deciding", "test_book"),
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by file; `--no-loadscope-reorder` keeps to it."""
    items.sort(
        key=lambda item: (
            LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST)
        )
    )


@pytest.fixture
def requester() -> Person:
    """user123 of tenant1, in no role: may ask, and answer what they asked themselves."""
    return people.REQUESTER


@pytest.fixture
def approver() -> Person:
    """approver1 of tenant1, who may decide for others."""
    return people.APPROVER


@pytest.fixture
def outsider() -> Person:
    """outsider1, who may decide in tenant2 and must see nothing of tenant1."""
    return people.OUTSIDER


@pytest.fixture
def token() -> Callable[..., str]:
    """Return a maker of tokens: user_id, tenant_id, role, lifetime_seconds."""
    return people.make_token


@pytest.fixture
def redis_client() -> Iterator[redis.Redis]:
    """Return a client of the run's own Redis, emptied before the test."""
    with redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True) as client:
        client.flushall()
        # As a relay leaves it: a Redis without this has lost its memory.
        client.set("dwp:hitl:memory", client.info("server")["run_id"])
        yield client


@pytest.fixture
def anyio_backend() -> str:
    """Run coroutine tests on asyncio, as daphne does."""
    return "asyncio"


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Start the database and name the one to test in, before pytest-django makes it."""
    services.start_database()
    database = connections["default"].settings_dict
    database["TEST"]["NAME"] = services.test_database_name
    if services.database == "sqlite":
        # Nothing here has to survive a power cut, and syncing takes most of the time.
        database["OPTIONS"]["init_command"] += "PRAGMA synchronous=OFF;"


@pytest.fixture(scope="session", autouse=True)
def _flush_in_spite_of_append_only() -> Iterator[None]:
    """Let a transactional test's clean-up empty the audit table, which refuses it otherwise."""
    flush = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]

    def flush_without_triggers(case: TransactionTestCase) -> None:
        connection = connections["default"]
        triggers.remove(connection)
        try:
            flush(case)
        finally:
            triggers.install(connection)

    TransactionTestCase._fixture_teardown = flush_without_triggers  # type: ignore[attr-defined]
    yield
    TransactionTestCase._fixture_teardown = flush  # type: ignore[attr-defined]
