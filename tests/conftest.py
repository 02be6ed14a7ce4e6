"""Fixtures of all tests: three people, a clean Redis, a database that can be flushed."""

from __future__ import annotations

import gc
import logging
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import redis
from django.db import connections, transaction
from django.test import TransactionTestCase
from pytest_django import DjangoDbBlocker
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from dwp_project import clocks
from dwp_project.deployment import identity
from hitl.audit import triggers
from hitl.delivery import keys, redis_state
from tests import people
from tests.people import Person
from tests.services import services

# The deployment whose process the tests are: those without a database have channels too.
DEPLOYMENT = "00000000feedbeef"
identity._current = DEPLOYMENT


class Loggers(dict[str, logging.Logger | logging.PlaceHolder]):
    """The loggers there are; a thread may add one while others go through them.

    pytest 9.2 goes through them before each test, beside what threads of the last one import.
    """

    def values(self) -> Any:
        return list(super().values())


logging.root.manager.loggerDict = Loggers(logging.root.manager.loggerDict)
# What takes longest goes first, and the rest ends beside it.
LONGEST = (
    *("test_million", "test_foreign_tenant", "test_postgresql_roles", "test_wrong_question"),
    *("test_state_machine", "test_relay", "test_waiting", "test_recovery", "test_hub"),
    *(
        "test_export",
        "test_scanner",
        "test_lease_keeper",
        "test_runner",
        "test_consumers_reconnect",
    ),
    *("test_killed_and_cut", "test_two_deployments", "test_backup", "test_move_to_postgresql"),
    *("test_takeover", "test_frozen_end", "test_stream_ends", "test_server_overload", "test_serve"),
    *(
        "test_rolling_keys",
        "test_server_bodies",
        "test_server_end",
        "test_server_drain",
        "test_server_clients",
    ),
    *("test_nginx", "test_pgbouncer", "test_headers", "test_ready", "test_shipped_environment"),
    *("test_gallery", "test_all_day", "test_book", "test_looking", "test_phone", "test_tired"),
)


# Files whose tests share what is costly to make: one worker runs all of them.
TOGETHER = (
    *("test_million", "test_postgresql_roles"),
    *("test_reconnect", "test_stream_bytes", "test_stream_ends", "test_shipped_environment"),
    *("test_killed_and_cut", "test_two_deployments"),
    "test_gallery",
)


class OneByOne(LoadScopeScheduling):
    """Gives the next test to the worker that is free; a file of `TOGETHER` counts as one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if Path(file).stem in TOGETHER else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneByOne:
    """Share out tests, and not files: a few files take half of the time.

    With pytest 9.2, xdist 3.8 overlooks the marks of its own `--dist loadgroup`.
    """
    return OneByOne(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first, mixed so that those that wait run beside those that compute.

    `--no-loadscope-reorder` keeps to it.
    """

    def place(item: pytest.Item) -> int:
        name = item.path.stem
        if name not in LONGEST:
            return 2**32
        # Apart, tests of such a file would make what they share again and again.
        return crc32((name if name in TOGETHER else item.nodeid).encode())

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Keep what lives until the end of the run out of every collection of garbage."""
    gc.collect()
    gc.freeze()


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
        client.set(keys.last_run_key(), client.info("server")["run_id"])
        yield client


@pytest.fixture(autouse=True)
def _own_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next test be a process of the same deployment, whatever this one does."""
    monkeypatch.setattr(identity, "_current", DEPLOYMENT)


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


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Read the clocks once and for all, as a loop does in a process that serves: tests count the
    statements of what they call, and compare times with this host's, whose clock is the same.
    The best of many readings is wrong by less than the time from one statement to the next."""
    clocks.AGAIN_SECONDS = math.inf
    with django_db_blocker.unblock():
        for clock in filter(None, (redis_state.distant_redis, clocks.distant_database())):
            for _ in range(30):
                clock.measure()


@pytest.fixture(scope="session", autouse=True)
def _flush_in_spite_of_append_only() -> Iterator[None]:
    """Let a transactional test's clean-up empty the audit table, which refuses it otherwise."""
    original = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]

    def flush_without_triggers(case: TransactionTestCase) -> None:
        connection = connections["default"]
        triggers.remove(connection)
        try:
            original(case)
        finally:
            triggers.install(connection)

    TransactionTestCase._fixture_teardown = (  # type: ignore[attr-defined]
        _delete_all if services.database == "postgres" else flush_without_triggers
    )
    yield
    TransactionTestCase._fixture_teardown = original  # type: ignore[attr-defined]


def _delete_all(case: TransactionTestCase) -> None:
    """Empty every table; for the few rows of a test, TRUNCATE takes twenty times as long."""
    connection = connections["default"]
    tables = connection.introspection.django_table_names(only_existing=False)
    # As the superuser, who may pass over triggers and foreign keys.
    statements = ["SET LOCAL session_replication_role = replica"]
    statements += [f'DELETE FROM "{table}"' for table in tables]  # noqa: S608
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(";".join(statements))
