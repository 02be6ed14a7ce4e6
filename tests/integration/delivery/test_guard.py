"""No signal is ever taken for the answer to a newer request (docs/reference/wire.md, 5.3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from django.utils import timezone

from hitl import services
from hitl.delivery import commands, publisher
from hitl.models import ApprovalRequest, OutboxEntry
from tests import factories
from tests.integration.calls import Api
from tests.integration.ears import Ear
from tests.people import REQUESTER

pytestmark = pytest.mark.django_db(transaction=True)

SESSION = "session-guarded"


@pytest.fixture
def ear(redis_client: redis.Redis) -> Iterator[Ear]:
    ear = Ear(redis_client, SESSION)
    yield ear
    ear.close()


def outcome_of(request: ApprovalRequest) -> str:
    return OutboxEntry.objects.get(request=request).outcome


@pytest.mark.parametrize(
    "waiting",
    [
        '{"sessionId":"session-guarded","requestId":"req-newer","userId":"u","tenantId":"t"}',
        "req-newer",
        '"req-newer"',
        "12345",
        '{"requestId":null}',
        "{}",
        "[]",
        "",
        "true",
        '{"requestId":',
    ],
)
def test_signal_is_not_published_where_the_session_waits_for_another(
    api: Api, redis_client: redis.Redis, ear: Ear, waiting: str
) -> None:
    request = factories.opened(SESSION)
    redis_client.set(f"hitl:session:{SESSION}", waiting)

    answer = api.post(f"/aura/hitl/approve/{request.request_id}", REQUESTER)

    assert (answer.status, answer.data["status"]) == (200, "approved")
    assert ear.hears_nothing()
    assert redis_client.get(f"hitl:signal:{SESSION}") is None
    assert outcome_of(request) == "superseded"
    assert redis_client.get(f"hitl:session:{SESSION}") == waiting
    own = json.loads(str(redis_client.get(f"hitl:request:{request.request_id}")))
    assert own["status"] == "approved"


@pytest.mark.parametrize(
    "waiting",
    ['{"requestId":"req-1"}', "req-1", '"req-1"', '{"b":[1,{"c":null}],"requestId":"req-1"}'],
)
def test_signal_is_published_where_the_session_waits_for_this_very_request(
    redis_client: redis.Redis, ear: Ear, waiting: str
) -> None:
    request = factories.opened(SESSION, request_id="req-1")
    redis_client.set(f"hitl:session:{SESSION}", waiting)

    services.approve("req-1", factories.actor())

    assert ear.hear() is not None
    assert outcome_of(request) == "delivered"


def test_bare_numeric_id_is_recognised(redis_client: redis.Redis, ear: Ear) -> None:
    factories.opened(SESSION, request_id="12345")
    redis_client.set(f"hitl:session:{SESSION}", "12345")

    services.approve("12345", factories.actor())

    assert ear.hear() is not None


def test_signal_is_published_where_the_session_waits_for_nothing(
    redis_client: redis.Redis, ear: Ear
) -> None:
    request = factories.opened(SESSION)
    redis_client.delete(f"hitl:session:{SESSION}")

    services.approve(request.request_id, factories.actor())

    assert ear.hear() is not None


def test_decision_on_an_older_request_is_stored_and_not_signalled(
    api: Api, redis_client: redis.Redis, ear: Ear
) -> None:
    older, newer = factories.opened(SESSION), factories.opened(SESSION)

    answer = api.post(f"/aura/hitl/approve/{older.request_id}", REQUESTER)

    assert answer.status == 200
    assert ear.hears_nothing()
    assert outcome_of(older) == "superseded"
    services.reject(newer.request_id, factories.actor())
    message = ear.hear()
    assert message is not None
    assert json.loads(message)["requestId"] == newer.request_id


def test_older_request_is_not_signalled_even_if_redis_lost_the_newer(
    redis_client: redis.Redis, ear: Ear
) -> None:
    older, _ = factories.opened(SESSION), factories.opened(SESSION)
    redis_client.delete(f"hitl:session:{SESSION}")

    services.approve(older.request_id, factories.actor())

    assert ear.hears_nothing()
    assert outcome_of(older) == "superseded"


def test_opening_a_newer_request_removes_the_older_answer(redis_client: redis.Redis) -> None:
    older = factories.opened(SESSION)
    services.approve(older.request_id, factories.actor())
    assert redis_client.get(f"hitl:signal:{SESSION}") is not None

    factories.opened(SESSION)

    assert redis_client.get(f"hitl:signal:{SESSION}") is None


@pytest.mark.parametrize("odd", ["no json", "[]", "12", '{"requestId":null}', "{}"])
def test_opening_removes_an_odd_signal(redis_client: redis.Redis, odd: str) -> None:
    redis_client.set(f"hitl:signal:{SESSION}", odd)

    factories.opened(SESSION)

    assert redis_client.get(f"hitl:signal:{SESSION}") is None


def test_repeated_signal_is_the_same_bytes(redis_client: redis.Redis, ear: Ear) -> None:
    request = factories.opened(SESSION)
    services.approve(request.request_id, factories.actor())
    first = ear.hear()

    publisher.send([OutboxEntry.objects.get()])

    assert ear.hear() == first


def test_repeated_signal_is_never_sent_once_a_newer_request_exists(
    redis_client: redis.Redis, ear: Ear
) -> None:
    older = factories.opened(SESSION)
    services.approve(older.request_id, factories.actor())
    ear.hear()
    OutboxEntry.objects.update(outcome="pending", receivers=0)  # as if nobody had heard it
    factories.opened(SESSION)

    publisher.send([OutboxEntry.objects.get()])

    assert ear.hears_nothing()
    assert redis_client.get(f"hitl:signal:{SESSION}") is None
    assert outcome_of(older) == "superseded"


def test_repeated_signal_keeps_to_its_first_300_seconds(
    redis_client: redis.Redis, ear: Ear
) -> None:
    request = factories.opened(SESSION)
    services.approve(request.request_id, factories.actor())
    ear.hear()
    entry = OutboxEntry.objects.get()
    entry.created_at = timezone.now() - timedelta(seconds=290)

    publisher.send([entry])

    assert ear.hear() is not None
    assert 0 < redis_client.ttl(f"hitl:signal:{SESSION}") <= 10


def test_signal_is_not_sent_after_300_seconds(redis_client: redis.Redis, ear: Ear) -> None:
    request = factories.opened(SESSION)
    services.approve(request.request_id, factories.actor())
    ear.hear()
    redis_client.delete(f"hitl:signal:{SESSION}")
    OutboxEntry.objects.update(outcome="pending", receivers=0)
    entry = OutboxEntry.objects.get()
    entry.created_at = timezone.now() - timedelta(seconds=301)

    publisher.send([entry])

    assert ear.hears_nothing()
    assert redis_client.get(f"hitl:signal:{SESSION}") is None
    assert outcome_of(request) == "unheard"


def test_announcements_in_the_wrong_order_keep_the_newest(redis_client: redis.Redis) -> None:
    older, newer = factories.opened(SESSION), factories.opened(SESSION)
    redis_client.flushall()

    commands.announce(newer)
    commands.announce(older)

    waiting = json.loads(str(redis_client.get(f"hitl:session:{SESSION}")))
    assert waiting["requestId"] == newer.request_id
    assert redis_client.get(f"hitl:request:{older.request_id}") is not None


def test_late_announcement_does_not_remove_a_newer_answer(redis_client: redis.Redis) -> None:
    older, newer = factories.opened(SESSION), factories.opened(SESSION)
    services.approve(newer.request_id, factories.actor())
    signal = redis_client.get(f"hitl:signal:{SESSION}")

    commands.announce(older)

    assert redis_client.get(f"hitl:signal:{SESSION}") == signal


@pytest.mark.parametrize(
    "end",
    [
        '{"requestId":7,"status":"approved"}',
        '{"requestId":null,"status":"approved"}',
        '{"status":"approved"}',
    ],
)
def test_late_announcement_does_not_replace_an_end_without_a_textual_id(
    redis_client: redis.Redis, end: str
) -> None:
    request = factories.opened(SESSION, request_id="7")
    redis_client.set("hitl:request:7", end)

    commands.announce(request)

    assert redis_client.get("hitl:request:7") == end
