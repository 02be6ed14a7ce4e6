"""Finding what agents write to Redis (docs/reference/wire.md, 5.3)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from dwp_project.offload import run_sync
from dwp_project.wakeup import hub
from hitl import metrics, services
from hitl.adoption import adopt, redis_requests
from hitl.adoption import scanner as scanner_module
from hitl.adoption.scanner import Scanner
from hitl.models import ApprovalRequest, AuditChain, AuditRecord
from tests import factories
from tests.integration import redis_agents
from tests.integration.outages import no_database, no_redis
from tests.integration.polling import until
from tests.people import OUTSIDER

pytestmark = pytest.mark.django_db(transaction=True)

# What is promised within 2 s.
FOUND = 6.0


@pytest.fixture
def silent_redis(redis_client: redis.Redis) -> Iterator[redis.Redis]:
    """Return a Redis that tells of nothing written."""
    flags = redis_client.config_get("notify-keyspace-events")["notify-keyspace-events"] or ""
    redis_client.config_set("notify-keyspace-events", "")
    yield redis_client
    redis_client.config_set("notify-keyspace-events", flags)


@asynccontextmanager
async def scanning() -> AsyncIterator[None]:
    """Run the scanner for as long as the block runs."""
    task = asyncio.create_task(scanner_module.run())
    try:
        yield
        assert not task.done(), "the scanner has ended"
    finally:
        task.cancel()
        await asyncio.wait([task])
        await hub().close()


def is_known(*ids: str) -> bool:
    return ApprovalRequest.objects.filter(request_id__in=ids).count() == len(ids)


async def test_request_is_adopted_when_redis_notifies_of_it(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans: list[int] = []
    scan = Scanner.scan

    def counted(self: Scanner, *args: int) -> int:
        scans.append(1)
        return scan(self, *args)

    monkeypatch.setattr(Scanner, "scan", counted)
    async with scanning():
        await until(lambda: bool(scans), within=5)
        await asyncio.sleep(0.2)
        ids = [redis_agents.asks(redis_client, f"s-{number}") for number in range(5)]

        await until(lambda: is_known(*ids), within=FOUND)

    # Told of, not met by one of the scans that come every second where Redis tells nothing.
    assert len(scans) == 1


async def test_request_is_adopted_without_notifications(silent_redis: redis.Redis) -> None:
    async with scanning():
        await asyncio.sleep(0.5)
        request_id = redis_agents.asks(silent_redis, "s1", bare=True)

        await until(lambda: is_known(request_id), within=FOUND)


async def test_request_is_adopted_if_redis_refuses_to_show_its_settings(
    silent_redis: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object) -> None:
        raise redis.ResponseError("unknown command 'CONFIG'")

    monkeypatch.setattr(redis.Redis, "config_get", refused)
    async with scanning():
        await asyncio.sleep(0.2)
        request_id = redis_agents.asks(silent_redis, "s1")

        await until(lambda: is_known(request_id), within=FOUND)


async def test_request_written_before_the_scanner_started_is_adopted(
    redis_client: redis.Redis,
) -> None:
    request_id = redis_agents.asks(redis_client, "s1")
    async with scanning():
        await until(lambda: is_known(request_id), within=FOUND)


async def test_request_written_while_the_link_was_cut_is_adopted(redis_client: redis.Redis) -> None:
    async with scanning():
        first = redis_agents.asks(redis_client, "s1")
        await until(lambda: is_known(first), within=FOUND)

        redis_client.client_kill_filter(_type="pubsub")
        second = redis_agents.asks(redis_client, "s2")

        await until(lambda: is_known(second), within=FOUND)


async def test_scanner_goes_on_after_redis_and_the_database_were_away(
    redis_client: redis.Redis, settings: Settings
) -> None:
    with no_redis(settings):
        task = asyncio.create_task(scanner_module.run())
        await asyncio.sleep(0.5)
        assert not task.done()
    with no_database():
        request_id = redis_agents.asks(redis_client, "s1")
        await asyncio.sleep(0.5)
        assert not task.done()
    try:
        await until(lambda: is_known(request_id), within=FOUND)
    finally:
        task.cancel()
        await asyncio.wait([task])
        await hub().close()


def test_request_among_thousands_of_other_keys_is_adopted(redis_client: redis.Redis) -> None:
    with redis_client.pipeline(transaction=False) as pipeline:
        for number in range(3000):
            pipeline.set(f"other:{number}", "x")
            if number % 2:
                pipeline.set(f"hitl:session:s{number}", "x")
        pipeline.execute()
    request_id = redis_agents.asks(redis_client, "s1")

    assert Scanner().scan() == 1
    assert is_known(request_id)


def test_scan_is_bounded_and_the_next_goes_on(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanner_module, "_KEYS_PER_CALL", 20)
    monkeypatch.setattr(scanner_module, "_CALLS_PER_SCAN", 2)
    ids = [redis_agents.asks(redis_client, f"s{number}") for number in range(60)]
    one = Scanner()

    counts = [one.scan() for _ in range(8)]

    assert counts[0] < 60
    assert sum(counts) == 60
    assert is_known(*ids)


def test_malformed_value_is_counted_once_and_does_not_hide_requests(
    redis_client: redis.Redis,
) -> None:
    before = metrics.malformed_requests._value.get()
    odd = {
        "req-text": b"nonsense",
        "req-bytes": b"\xff\0\xfe",
        "req-deep": b"[" * 5000,
        "req odd": b"{}",
        "req\0nul": b"{}",
        "x" * 5000: b"{}",
        "": b"{}",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"): b"{}",
    }
    for name, value in odd.items():
        redis_client.set(f"hitl:request:{name}", value)
    redis_client.set(b"hitl:request:\xff\xfe", "{}")
    redis_client.hset("hitl:request:req-hash", "a", "b")
    ids = [redis_agents.asks(redis_client, f"s{number}") for number in range(3)]
    one = Scanner()

    assert one.scan() == 3
    assert [one.scan() for _ in range(3)] == [0, 0, 0]

    assert is_known(*ids)
    assert ApprovalRequest.objects.count() == 3
    # A key whose name is no text cannot be asked for by name; the hash is no value at all.
    assert metrics.malformed_requests._value.get() - before == len(odd)


def test_malformed_value_is_read_again_when_it_is_written_again(
    redis_client: redis.Redis,
) -> None:
    redis_agents.writes(redis_client, "req-1", "nonsense")
    one = Scanner()
    assert one.adopt_written(["req-1"]) == 0

    redis_agents.asks(redis_client, "s1", "req-1")

    assert one.scan() == 0
    assert one.adopt_written(["req-1"]) == 1


def test_value_that_stays_malformed_is_compared_and_not_parsed_again(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scanner, "_AGAIN_SECONDS", 0.0)
    redis_agents.writes(redis_client, "req-1", "nonsense")
    redis_client.hset("hitl:request:req-hash", "a", "b")
    looked_at: list[str] = []
    look = redis_requests.read_values

    def noted(names: Sequence[str]) -> list[redis_requests.RedisValue | None]:
        looked_at.extend(names)
        return look(names)

    monkeypatch.setattr(redis_requests, "read_values", noted)
    one = Scanner()

    for _ in range(5):
        one.scan()

    # Once as it was met, and once with what it says remembered.
    assert sorted(looked_at) == ["req-1", "req-1", "req-hash", "req-hash"]
    redis_agents.asks(redis_client, "s1", "req-1")
    assert one.scan() == 1


@pytest.mark.parametrize("failure", [redis.TimeoutError("the link froze"), ValueError("a chain")])
def test_value_whose_adoption_failed_is_tried_again_unchanged(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(Scanner, "_AGAIN_SECONDS", 0.0)
    redis_agents.asks(redis_client, "s1", "req-1")
    one = Scanner()

    def fail(request_ids: Sequence[str]) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(adopt, "adopt_all", fail)
        for _ in range(3):
            with contextlib.suppress(redis.TimeoutError):
                one.scan()
            # Refused once before: from now on its text is compared.
            one._refused["req-1"] = 0.0
    assert one.scan() == 1


def test_request_that_redis_did_not_return_is_adopted_by_the_next_scan(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = redis_agents.asks(redis_client, "s1")
    one = Scanner()

    def fail(request_ids: Sequence[str]) -> None:
        raise redis.TimeoutError("the link froze")

    with monkeypatch.context() as patch:
        patch.setattr(redis_requests, "read_values", fail)
        with pytest.raises(redis.TimeoutError):
            one.scan()
    assert not is_known(request_id)

    one.scan()

    assert is_known(request_id)


def test_contradiction_that_redis_notifies_of_is_audited_at_once(
    redis_client: redis.Redis,
) -> None:
    one = Scanner()
    request_id = redis_agents.asks(redis_client, "s1")
    one.adopt_written([request_id])
    redis_agents.asks(redis_client, "s1", request_id, by=OUTSIDER)

    for _ in range(2):
        one.adopt_written([request_id])

    assert AuditRecord.objects.filter(event="request:contradicted").count() == 1
    assert ApprovalRequest.objects.get().tenant_id == "tenant1"


def test_our_own_requests_are_never_read_from_redis(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = factories.opened("s1")
    services.approve(request.request_id, factories.actor())

    def fail(request_ids: Sequence[str]) -> None:
        raise AssertionError("it is ours")

    monkeypatch.setattr(redis_requests, "read_values", fail)

    assert Scanner().scan() == 0
    assert Scanner().adopt_written([request.request_id]) == 0


def test_decided_requests_are_not_queried_by_every_scan(
    redis_client: redis.Redis,
) -> None:
    decided, waiting = (redis_agents.asks(redis_client, name) for name in ("s1", "s2"))
    one = Scanner()
    one.scan()
    services.approve(decided, factories.actor())
    one.scan()

    with CaptureQueriesContext(connection) as queries:
        one.scan()
        one.adopt_written([decided])

    statements = [query["sql"] for query in queries]
    assert waiting in statements[0]
    assert not [sql for sql in statements if decided in sql]


def test_every_refused_value_has_its_turn_to_be_read_again(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scanner, "_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(Scanner, "_AGAIN_AT_ONCE", 2)
    ids = [f"req-{number}" for number in range(10)]
    for name in ids:
        redis_agents.writes(redis_client, name, "nonsense")
    one = Scanner()
    one.scan()
    for name in reversed(ids):
        redis_agents.asks(redis_client, f"session-of-{name}", name)

        assert sum(one.scan() for _ in range(5)) == 1


async def test_scanner_meets_all_keys_again_when_notifications_begin(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanner_module, "_KEYS_PER_CALL", 20)
    monkeypatch.setattr(scanner_module, "_CALLS_PER_SCAN", 1)
    redis_client.mset({f"other:{number}": "x" for number in range(1000)})
    tells, is_told = [False], [False]
    cursors: dict[bool, list[int]] = {False: [], True: []}
    scan = Scanner.scan

    def notifies() -> bool:
        is_told[0] = tells[0]
        return is_told[0]

    def noted(self: Scanner, *args: int) -> int:
        cursors[is_told[0]].append(self._cursor)
        return scan(self, *args)

    monkeypatch.setattr(redis_requests, "is_notifying", notifies)
    monkeypatch.setattr(Scanner, "scan", noted)
    async with scanning():
        await until(lambda: len(cursors[False]) >= 2, within=10)
        assert cursors[False][1] != 0
        tells[0] = True
        await until(lambda: bool(cursors[True]), within=10)

    assert cursors[True][0] == 0


def test_memory_of_the_scanner_is_bounded(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scanner, "_REMEMBERED", 10)
    with redis_client.pipeline(transaction=False) as pipeline:
        for number in range(50):
            pipeline.set(f"hitl:request:req-{number}", "x")
        pipeline.execute()
    one = Scanner()
    one.scan()

    assert len(one._refused) == 10


async def test_operators_list_shows_adopted_requests(redis_client: redis.Redis) -> None:
    request_id = redis_agents.asks(redis_client, "s1")
    async with scanning():
        await until(lambda: is_known(request_id), within=FOUND)
    request = await run_sync(ApprovalRequest.objects.get)
    assert (request.status, json.loads(request.context_text)["count"]) == ("pending", 3)


async def test_value_that_has_become_a_request_is_adopted(
    silent_redis: redis.Redis,
) -> None:
    redis_agents.writes(silent_redis, "req-late", "{")
    async with scanning():
        await asyncio.sleep(1)
        redis_agents.asks(silent_redis, "s1", "req-late")

        await until(lambda: is_known("req-late"), within=FOUND)


async def test_burst_in_a_large_keyspace_is_adopted_even_if_the_queue_overflows(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanner_module, "_CALLS_PER_SCAN", 1)
    redis_client.mset({f"other:{number}": "x" for number in range(5000)})
    async with scanning():
        await asyncio.sleep(0.5)
        ids = [redis_agents.asks(redis_client, f"s-{number}") for number in range(300)]

        await until(lambda: is_known(*ids), within=60)


def test_chain_that_takes_no_record_does_not_stop_other_tenants_adoptions(
    redis_client: redis.Redis,
) -> None:
    factories.opened()
    AuditChain.objects.filter(tenant_id="tenant1").update(last_sequence=0)
    for number in range(3):
        redis_agents.asks(redis_client, f"session-{number}")
    theirs = redis_agents.asks(redis_client, "session-theirs", by=OUTSIDER)
    scanner = Scanner()

    assert scanner.scan() == 1
    assert scanner.is_round
    assert ApprovalRequest.objects.filter(request_id=theirs).exists()


def test_chain_that_takes_no_record_keeps_no_page_from_being_left(
    redis_client: redis.Redis,
) -> None:
    ids = [redis_agents.asks(redis_client, f"session-{number}") for number in range(3)]
    scanner = Scanner()
    scanner.scan()
    AuditChain.objects.filter(tenant_id="tenant1").update(last_sequence=0)
    for number, request_id in enumerate(ids):
        redis_agents.asks(redis_client, f"session-{number}", request_id, by=OUTSIDER)

    scanner.scan()

    assert scanner.is_round
    assert not AuditRecord.objects.filter(event="request:contradicted").exists()
