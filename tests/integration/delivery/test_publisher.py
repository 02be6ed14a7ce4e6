"""What becomes of a signal that is published, and that one session's trouble is no other's."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import redis
from django.utils import timezone
from pytest_django import Settings

from dwp_project.offload import run_sync
from dwp_project.wakeup import hub
from hitl import services, waiting
from hitl.delivery import commands, relay
from hitl.models import ApprovalRequest, OutboxEntry
from tests import factories
from tests.integration.delivery.sending import SESSION, decided_and_died, make_due, stored, turn
from tests.integration.ears import Ear
from tests.integration.outages import no_redis

pytestmark = pytest.mark.django_db(transaction=True)


def test_signal_is_sent_again_until_somebody_receives_it(
    redis_client: redis.Redis, unsent: OutboxEntry
) -> None:
    for attempts in range(1, 4):
        entry = turn()
        assert (entry.outcome, entry.attempts, entry.receivers) == ("pending", attempts, 0)
    ear = Ear(redis_client, SESSION)

    entry = turn()

    assert ear.hear() == unsent.signal
    assert (entry.outcome, entry.attempts, entry.receivers) == ("delivered", 4, 1)
    ear.close()


def test_signal_is_given_up_after_300_seconds_and_never_before(
    unsent: OutboxEntry, ear: Ear, redis_client: redis.Redis
) -> None:
    OutboxEntry.objects.update(created_at=timezone.now() - timedelta(seconds=301))

    entry = turn()

    assert (entry.outcome, entry.receivers) == ("unheard", 0)
    assert ear.hears_nothing()
    assert redis_client.get(f"hitl:signal:{SESSION}") is None
    OutboxEntry.objects.update(
        outcome="pending", created_at=timezone.now() - timedelta(seconds=290)
    )
    assert turn().outcome == "delivered"


def test_signal_of_an_entry_that_a_host_ahead_has_dated_is_kept_for_300_seconds(
    unsent: OutboxEntry, ear: Ear, redis_client: redis.Redis
) -> None:
    OutboxEntry.objects.update(created_at=timezone.now() + timedelta(minutes=10))

    assert turn().outcome == "delivered"

    assert 290 < redis_client.ttl(f"hitl:signal:{SESSION}") <= 300


def test_signal_that_was_received_once_does_not_end_unheard(
    redis_client: redis.Redis, unsent: OutboxEntry, ear: Ear
) -> None:
    turn()
    OutboxEntry.objects.update(
        outcome="pending", created_at=timezone.now() - timedelta(seconds=301)
    )

    assert turn().outcome == "delivered"


def test_signal_of_an_older_request_is_superseded(unsent: OutboxEntry, ear: Ear) -> None:
    factories.opened(SESSION)

    entry = turn()

    assert (entry.outcome, entry.attempts, entry.receivers) == ("superseded", 1, 0)
    assert ear.hears_nothing()


def test_signal_reaches_an_agent_whose_opening_redis_missed(
    redis_client: redis.Redis, settings: Settings
) -> None:
    services.cancel(factories.opened(SESSION).request_id, factories.actor())
    with no_redis(settings):
        request = factories.opened(SESSION)
        services.approve(request.request_id, factories.actor())
    ear = Ear(redis_client, SESSION)

    turn()
    turn()

    message = ear.hear()
    assert message is not None
    assert json.loads(message)["requestId"] == request.request_id
    ear.close()


async def test_our_own_waiters_are_never_counted_as_the_agent(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, fresh_hub: None
) -> None:
    request = await run_sync(factories.opened, SESSION)
    await run_sync(services.approve, request.request_id, factories.actor())
    async with hub().subscribe(services.wake_topic(request.request_id)) as waiter:
        assert await waiter.confirmed(5)
        assert (await waiting.until_ended(request.request_id)).status == "approved"

        entry = await run_sync(turn)

    assert (entry.outcome, entry.receivers) == ("pending", 0)


def test_odd_key_of_one_session_does_not_delay_others(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = ["\0", "x\0y", '"\\u0000"', "\ud800", "x" * 100_000]
    for number, named in enumerate(["hash", *odd]):
        decided_and_died(monkeypatch, f"session-{number}")
        redis_client.delete(f"hitl:session:session-{number}")
        redis_client.set(f"hitl:session:session-{number}", named.encode(errors="surrogatepass"))
    redis_client.delete("hitl:session:session-0")
    redis_client.hset("hitl:session:session-0", "a", "b")
    decided_and_died(monkeypatch)
    ear = Ear(redis_client, SESSION)

    make_due()
    relay.send_due()

    assert ear.hear() is not None
    entries = {entry.request.session_id: entry for entry in OutboxEntry.objects.all()}
    assert "WRONGTYPE" in entries.pop("session-0").error
    assert entries.pop(SESSION).outcome == "delivered"
    assert {entry.outcome for entry in entries.values()} == {"superseded"}
    ear.close()


@pytest.mark.parametrize("is_held", [True, False])
def test_request_that_was_damaged_by_hand_does_not_delay_others(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, is_held: bool
) -> None:
    damaged = decided_and_died(monkeypatch, "session-damaged")
    older = factories.opened("session-older")
    whole = decided_and_died(monkeypatch)
    superseded = decided_and_died(monkeypatch, "session-superseded")
    factories.opened("session-superseded", request_id="req-newer")
    if not is_held:
        # Redis has come back empty, and nobody listens: all are told in one go.
        OutboxEntry.objects.update(attempts=1)
        redis_client.delete(*redis_client.keys("hitl:*"))
    spoilt = [damaged.request.pk, older.pk, superseded.request.pk]
    ApprovalRequest.objects.filter(pk__in=spoilt).update(context_text="{")
    ApprovalRequest.objects.filter(pk=older.pk).update(is_missed_by_redis=True)

    make_due()
    relay.send_due()

    assert stored(redis_client, f"hitl:signal:{SESSION}")["requestId"] == whole.request.request_id
    damaged.refresh_from_db()
    superseded.refresh_from_db()
    assert damaged.outcome == superseded.outcome == "refused"
    assert damaged.error
    assert not ApprovalRequest.objects.filter(is_missed_by_redis=True).exists()


def test_many_lost_signals_are_restored_in_one_round_trip(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        decided_and_died(monkeypatch, f"session-{number}")
    make_due()
    relay.send_due()
    redis_client.flushall()
    redis_client.hset("hitl:session:session-7", "a", "b")
    alone: list[str] = []
    monkeypatch.setattr(commands, "publish", lambda request, *_, **__: alone.append(request))

    make_due()
    relay.send_due()

    assert alone == []
    restored = {
        number for number in range(20) if redis_client.exists(f"hitl:signal:session-{number}")
    }
    assert restored == set(range(20)) - {7}
    errors = OutboxEntry.objects.exclude(error="").values_list("request__session_id", flat=True)
    assert list(errors) == ["session-7"]
