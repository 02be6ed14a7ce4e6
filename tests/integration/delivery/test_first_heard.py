"""When an agent first had its decision: noted whatever way it took, and changing nothing else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial

import pytest
import redis
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from redis.exceptions import RedisError

from dwp_project import clocks, offload
from dwp_project.offload import run_sync
from hitl import services
from hitl.delivery import first_heard, held, relay
from hitl.models import ApprovalRequest, OutboxEntry
from tests import factories
from tests.integration import redis_agents
from tests.integration.calls import Api
from tests.integration.delivery.sending import SESSION, decided_and_died, make_due, turn
from tests.integration.ears import Ear
from tests.integration.exchange import call
from tests.integration.outages import no_database
from tests.people import APPROVER, OUTSIDER, REQUESTER, Person

pytestmark = pytest.mark.django_db(transaction=True)

REQUESTS = "/aura/hitl/requests"
# Every way in which who opened a request over REST reads the decision.
READINGS: dict[str, Callable[[Api, ApprovalRequest, Person], object]] = {
    "request": lambda api, asked, by: api.get(f"{REQUESTS}/{asked.request_id}", by),
    "signal": lambda api, asked, by: api.get(f"/aura/hitl/signals/{asked.session_id}", by),
    "list": lambda api, asked, by: api.get(REQUESTS, by),
    "list of a status": lambda api, asked, by: api.get(f"{REQUESTS}?status=approved", by),
    **{
        f"409 to {path}": partial(
            lambda path, api, asked, by: api.post(f"/aura/hitl/{path % asked.request_id}", by, {}),
            path,
        )
        for path in ("approve/%s", "reject/%s", "requests/%s/cancel")
    },
    "opening again": lambda api, asked, by: api.post(
        REQUESTS,
        by,
        {
            "requestId": asked.request_id,
            "sessionId": asked.session_id,
            "actionType": asked.action_type,
            "message": asked.message,
            "context": asked.context,
        },
    ),
}


def decided(session_id: str = SESSION, **kwargs: object) -> ApprovalRequest:
    request = factories.opened(session_id, **kwargs)  # type: ignore[arg-type]
    return services.approve(request.request_id, factories.actor())


def entry_of(request: ApprovalRequest) -> OutboxEntry:
    """Return the entry of the request's signal, once all that waits is written."""
    first_heard.write_waiting()
    return OutboxEntry.objects.get(request=request)


@pytest.mark.parametrize("way", READINGS)
def test_agent_that_opened_it_over_rest_is_noted_when_it_reads_the_decision(
    api: Api, way: str
) -> None:
    request = decided()
    assert entry_of(request).first_heard_at is None
    before = clocks.now()

    READINGS[way](api, request, REQUESTER)

    heard_at = entry_of(request).first_heard_at
    assert heard_at is not None
    assert before <= heard_at <= clocks.now()


def test_who_asked_and_decides_it_has_read_it(api: Api) -> None:
    request = factories.opened()

    assert api.post(f"/aura/hitl/approve/{request.request_id}", REQUESTER, {}).status == 200

    assert entry_of(request).first_heard_at is not None


async def test_agent_that_waits_over_rest_is_noted(
    redis_client: redis.Redis, fresh_hub: None
) -> None:
    request = await run_sync(decided)

    answer = await call("GET", f"{REQUESTS}/{request.request_id}/wait", APPROVER)
    assert (answer.status, (await run_sync(entry_of, request)).first_heard_at) == (200, None)
    answer = await call("GET", f"{REQUESTS}/{request.request_id}/wait", REQUESTER)

    assert (answer.status, answer.data["status"]) == (200, "approved")
    # It is noted on this thread, a moment after the answer.
    await asyncio.wrap_future(offload.start_afterwards(lambda: None))
    assert (await run_sync(entry_of, request)).first_heard_at is not None


@pytest.mark.parametrize("way", READINGS)
@pytest.mark.parametrize(
    "by", [APPROVER, OUTSIDER, Person("user123", "tenant2", "admin")], ids=lambda one: one.user_id
)
def test_nobody_else_is_its_agent(api: Api, by: Person, way: str) -> None:
    request = decided()

    READINGS[way](api, request, by)

    assert entry_of(request).first_heard_at is None


def test_person_who_reads_the_request_of_an_agent_on_redis_is_not_its_agent(
    api: Api, redis_client: redis.Redis
) -> None:
    request_id = redis_agents.asked(redis_client, SESSION)
    request = services.approve(request_id, factories.actor())
    assert request.user_id == REQUESTER.user_id

    api.get(f"{REQUESTS}/{request_id}", REQUESTER)
    api.get(f"/aura/hitl/signals/{SESSION}", REQUESTER)

    assert entry_of(request).first_heard_at is None


def test_reading_a_pending_or_expired_request_notes_nothing(api: Api) -> None:
    pending = factories.opened()
    expired = factories.opened(now=timezone.now() - timedelta(seconds=301))
    with CaptureQueriesContext(connection) as queries:
        for request in (pending, expired):
            api.get(f"{REQUESTS}/{request.request_id}", REQUESTER)
        before = len(queries)
        first_heard.write_waiting()

        assert len(queries) == before


def test_agent_that_reads_again_and_again_is_written_once(api: Api) -> None:
    request = decided()
    first_heard.write_waiting()
    counts, heard_at = [], set()

    for _ in range(3):
        with CaptureQueriesContext(connection) as answering:
            api.get(f"{REQUESTS}/{request.request_id}", REQUESTER)
        with CaptureQueriesContext(connection) as writing:
            first_heard.write_waiting()
        updates = [query for query in writing if query["sql"].startswith("UPDATE")]
        counts.append((len(answering), len(updates), len(writing) > 0))
        heard_at.add(OutboxEntry.objects.get().first_heard_at)

    # The first answer takes no statement more than the others.
    answer = counts[0][0]
    assert counts == [(answer, 1, True), (answer, 0, False), (answer, 0, False)]
    assert len(heard_at) == 1


def test_many_that_were_read_are_written_together(api: Api) -> None:
    requests = [decided(f"session-{number}") for number in range(4)]
    for request in requests:
        api.get(f"{REQUESTS}/{request.request_id}", REQUESTER)

    with CaptureQueriesContext(connection) as queries:
        first_heard.write_waiting()

    assert len([query for query in queries if query["sql"].startswith("UPDATE")]) == 1
    times = [entry_of(request).first_heard_at for request in requests]
    assert None not in times
    assert times == sorted(times, key=str)


def test_answer_is_given_while_the_note_cannot_be_written(api: Api) -> None:
    request = decided()
    assert api.get(f"{REQUESTS}/{request.request_id}", REQUESTER).status == 200

    with no_database():
        first_heard.write_waiting()

    assert entry_of(request).first_heard_at is not None


on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks no row")


@contextmanager
def locked_entries() -> Iterator[None]:
    """Have another session lock every entry, as a relay does that hangs in its transaction."""
    is_locked, is_over = threading.Event(), threading.Event()

    def lock() -> None:
        with transaction.atomic():
            list(OutboxEntry.objects.select_for_update())
            is_locked.set()
            is_over.wait(60)
        connection.close()

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        assert is_locked.wait(10)
        yield
    finally:
        is_over.set()
        thread.join()


@on_postgresql
def test_loops_of_the_process_run_on_while_entries_that_were_read_are_locked(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_heard, "_DELAY_SECONDS", 0.01)
    requests = [decided(f"session-{number}") for number in range(6)]
    with locked_entries():
        for request in requests:
            api.get(f"{REQUESTS}/{request.request_id}", REQUESTER)
            time.sleep(0.1)  # so that the next is noted after the timer has gone off
        loops = [offload.start_background(OutboxEntry.objects.count) for _ in range(4)]
        run = wait(loops, timeout=10).done

    assert len(run) == 4


@on_postgresql
def test_entry_that_another_has_locked_is_written_when_it_is_free(api: Api) -> None:
    locked, request = decided(), decided("session-2")
    with locked_entries():
        api.get(f"{REQUESTS}/{locked.request_id}", REQUESTER)
        first_heard.write_waiting()
    assert OutboxEntry.objects.filter(first_heard_at=None).count() == 2
    api.get(f"{REQUESTS}/{request.request_id}", REQUESTER)

    first_heard.write_waiting()

    assert not OutboxEntry.objects.filter(first_heard_at=None).exists()


@on_postgresql
def test_entry_that_stays_locked_is_given_up_until_it_is_read_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = decided()
    monkeypatch.setattr(first_heard, "_TRIED_FOR", timedelta(0))
    with locked_entries():
        api.get(f"{REQUESTS}/{request.request_id}", REQUESTER)
        first_heard.write_waiting()
    assert entry_of(request).first_heard_at is None

    api.get(f"{REQUESTS}/{request.request_id}", REQUESTER)

    assert entry_of(request).first_heard_at is not None


def test_answer_is_given_while_no_thread_can_be_started(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    request = decided()
    with monkeypatch.context() as without_threads:
        without_threads.setattr(threading.Timer, "start", start)
        assert api.get(f"{REQUESTS}/{request.request_id}", REQUESTER).status == 200
    monkeypatch.setattr(first_heard, "_DELAY_SECONDS", 0.01)

    api.get(f"{REQUESTS}/{request.request_id}", REQUESTER)

    end = time.monotonic() + 20
    while OutboxEntry.objects.get().first_heard_at is None and time.monotonic() < end:
        time.sleep(0.05)
    assert OutboxEntry.objects.get().first_heard_at is not None


def test_decision_that_is_read_after_its_300_seconds_is_noted_and_stays_unheard(api: Api) -> None:
    request = decided()
    OutboxEntry.objects.update(created_at=timezone.now() - timedelta(seconds=301))
    assert turn().outcome == "unheard"

    api.get(f"{REQUESTS}/{request.request_id}", REQUESTER)

    entry = entry_of(request)
    assert entry.first_heard_at is not None
    assert (entry.outcome, entry.receivers) == ("unheard", 0)


@pytest.mark.parametrize(
    ("way", "outcome"),
    [
        *((way, "delivered") for way in ("request", "signal", "opening again")),
        # Pages of people ask for these, before their agent may have subscribed.
        *((way, "pending") for way in READINGS if way.startswith(("list", "409"))),
    ],
)
def test_signal_is_settled_by_who_asks_for_the_request_and_not_by_who_lists_or_decides(
    api: Api, way: str, outcome: str
) -> None:
    relay.send_due()
    request = decided()

    READINGS[way](api, request, REQUESTER)

    assert entry_of(request).outcome == outcome


def test_signal_is_not_repeated_once_who_opened_it_over_rest_has_read_the_decision(
    api: Api, redis_client: redis.Redis
) -> None:
    relay.send_due()
    request = decided()
    assert len(held.entries) == 1
    api.get(f"{REQUESTS}/{request.request_id}", REQUESTER)

    entry = entry_of(request)

    assert (entry.outcome, entry.receivers, len(held.entries)) == ("delivered", 0, 0)
    assert entry.heard_at == entry.first_heard_at
    ear = Ear(redis_client, SESSION)
    turn()
    assert ear.hears_nothing()
    # Who listens late finds it under its key.
    assert redis_client.get(f"hitl:signal:{SESSION}") == entry.signal
    ear.close()


def test_signal_is_repeated_although_who_asked_and_decided_it_was_answered(
    api: Api, redis_client: redis.Redis
) -> None:
    """That a person has their own decision says nothing of their agent."""
    request = factories.opened(SESSION)
    api.post(f"/aura/hitl/approve/{request.request_id}", REQUESTER, {})
    api.get(f"{REQUESTS}/{request.request_id}", REQUESTER)
    entry = entry_of(request)
    assert (entry.outcome, entry.first_heard_at is not None) == ("pending", True)
    ear = Ear(redis_client, SESSION)

    assert turn().outcome == "delivered"

    assert ear.hear() is not None
    ear.close()


def test_signal_that_was_read_before_it_was_sent_is_sent_once(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = decided_and_died(monkeypatch)
    first_heard.note(entry.request, REQUESTER.tenant_id, REQUESTER.user_id)
    assert entry_of(entry.request).outcome == "pending"

    assert turn().outcome == "delivered"

    assert redis_client.get(f"hitl:signal:{SESSION}") == entry.signal


def test_subscriber_that_receives_it_is_noted_once(api: Api, redis_client: redis.Redis) -> None:
    ear = Ear(redis_client, SESSION)
    # So young that its signal is repeated although it was received.
    request_id = redis_agents.asked(redis_client, SESSION)
    request = services.approve(request_id, factories.actor())
    entry = entry_of(request)
    assert (entry.outcome, entry.receivers) == ("pending", 1)
    heard_at = entry.first_heard_at
    assert heard_at is not None

    make_due()
    with suppress(RedisError):
        relay.send_due()

    again = entry_of(request)
    assert (again.receivers, again.first_heard_at) == (2, heard_at)
    ear.close()


def test_built_in_agent_that_reads_it_late_is_noted(redis_client: redis.Redis) -> None:
    request = decided()
    OutboxEntry.objects.update(outcome="unheard", attempts=1)

    first_heard.mark_heard(request)

    entry = entry_of(request)
    assert entry.first_heard_at is not None
    assert entry.outcome == "unheard"
