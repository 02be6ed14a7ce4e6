"""What Redis missed, an opening, an adoption or an end, is made up for by a relay."""

from __future__ import annotations

from contextlib import suppress

import pytest
import redis
from django.utils import timezone
from pytest_django import Settings
from redis.exceptions import RedisError

from dwp_project.wakeup import client
from hitl import services
from hitl.adoption import adopt, insert
from hitl.delivery import after_commit, relay, resync
from hitl.models import ApprovalRequest
from tests import factories
from tests.integration import redis_agents
from tests.integration.delivery.sending import SESSION, make_due, stored
from tests.integration.outages import no_redis
from tests.ruling import a_policy

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("ended", ["pending", "expired", "approved"])
def test_opening_that_redis_missed_removes_the_answer_before_it(
    ended: str, redis_client: redis.Redis, settings: Settings
) -> None:
    before = factories.opened(SESSION)
    services.approve(before.request_id, factories.actor())
    assert redis_client.exists(f"hitl:signal:{SESSION}")
    with no_redis(settings):
        after = factories.opened(SESSION)
        if ended == "approved":
            services.approve(after.request_id, factories.actor())
        elif ended == "expired":
            services.settle(after, now=after.expires_at)

    make_due()
    relay.send_due()

    waiting = stored(redis_client, f"hitl:session:{SESSION}")
    assert waiting["requestId"] == after.request_id
    signal_now = redis_client.get(f"hitl:signal:{SESSION}")
    assert before.request_id not in (signal_now or "")
    copy = stored(redis_client, f"hitl:request:{after.request_id}")
    assert copy["status"] == ended
    assert not ApprovalRequest.objects.filter(is_missed_by_redis=True).exists()


def test_opening_that_redis_missed_is_announced_though_somebody_has_voted_since(
    redis_client: redis.Redis, settings: Settings
) -> None:
    a_policy(min_approvals=2)
    before = factories.opened(SESSION)
    services.reject(before.request_id, factories.actor())
    with no_redis(settings):
        after = factories.opened(SESSION)
    client._paused_until = 0.0
    services.approve(after.request_id, factories.actor())

    relay.send_due()

    assert stored(redis_client, f"hitl:session:{SESSION}")["requestId"] == after.request_id
    assert not redis_client.exists(f"hitl:signal:{SESSION}")
    assert not ApprovalRequest.objects.filter(is_missed_by_redis=True).exists()


@pytest.mark.parametrize("origin", ["rest", "redis"])
def test_end_that_redis_missed_is_sent_later(
    origin: str, redis_client: redis.Redis, settings: Settings
) -> None:
    if origin == "rest":
        request = factories.opened(SESSION)
    else:
        adopted = adopt.adopt_request(redis_agents.asks(redis_client, SESSION))
        assert adopted is not None
        request = adopted
    with no_redis(settings):
        services.settle(request, now=request.expires_at)
    written = redis_client.get(f"hitl:session:{SESSION}")

    relay.send_due()

    copy = stored(redis_client, f"hitl:request:{request.request_id}")
    assert copy["status"] == "expired"
    assert redis_client.get(f"hitl:session:{SESSION}") == written
    assert not ApprovalRequest.objects.filter(is_missed_by_redis=True).exists()


def test_missed_opening_with_an_odd_key_does_not_delay_others(
    redis_client: redis.Redis, settings: Settings
) -> None:
    with no_redis(settings):
        factories.opened("session-0")
        factories.opened("session-1")
    redis_client.hset("hitl:session:session-0", "a", "b")

    relay.send_due()

    assert redis_client.type("hitl:session:session-1") == "string"
    assert not ApprovalRequest.objects.filter(is_missed_by_redis=True).exists()


@pytest.mark.parametrize("ended", ["expired", "cancelled"])
def test_end_whose_process_died_before_it_reached_redis_is_sent(
    ended: str, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = factories.opened(SESSION)
    with monkeypatch.context() as died:
        died.setattr(after_commit, "_refresh", lambda request: None)
        if ended == "expired":
            services.settle(request, now=request.expires_at)
        else:
            services.cancel(request.request_id, factories.actor())
    assert stored(redis_client, f"hitl:request:{request.request_id}")["status"] == "pending"

    relay.send_due()

    assert stored(redis_client, f"hitl:request:{request.request_id}")["status"] == ended
    assert not ApprovalRequest.objects.filter(is_missed_by_redis=True).exists()


def test_end_during_the_resync_of_the_opening_stays_marked_as_missed(
    redis_client: redis.Redis,
) -> None:
    factories.opened(SESSION)
    ApprovalRequest.objects.update(is_missed_by_redis=True)
    as_opened = ApprovalRequest.objects.get()
    # Another process ends it now, and dies before it can tell.
    ApprovalRequest.objects.update(status="cancelled", decided_at=timezone.now())

    resync.clear_missed(as_opened)

    assert ApprovalRequest.objects.get().is_missed_by_redis


def test_adoption_whose_process_died_removes_the_answer_before_it(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = redis_agents.asked(redis_client, SESSION)
    services.approve(before, factories.actor())
    assert redis_client.exists(f"hitl:signal:{SESSION}")
    written = redis_agents.asks(redis_client, SESSION)
    text = redis_client.get(f"hitl:request:{written}")
    with monkeypatch.context() as died:
        died.setattr(insert, "_update_redis", lambda requests: None)
        assert adopt.adopt_request(written) is not None
    assert redis_client.exists(f"hitl:signal:{SESSION}")

    relay.send_due()

    assert not redis_client.exists(f"hitl:signal:{SESSION}")
    # The agent's own text stays its own.
    assert redis_client.get(f"hitl:request:{written}") == text
    assert not ApprovalRequest.objects.filter(is_missed_by_redis=True).exists()


def test_opening_that_redis_refuses_for_now_stays_marked_as_missed(
    redis_client: redis.Redis, settings: Settings
) -> None:
    before = factories.opened(SESSION)
    services.approve(before.request_id, factories.actor())
    with no_redis(settings):
        after = factories.opened(SESSION)
    redis_client.config_set("maxmemory", 1)
    try:
        with suppress(RedisError):
            relay.send_due()
    finally:
        redis_client.config_set("maxmemory", 0)
    assert ApprovalRequest.objects.get(is_missed_by_redis=True) == after

    relay.send_due()

    assert not redis_client.exists(f"hitl:signal:{SESSION}")
    assert stored(redis_client, f"hitl:session:{SESSION}")["requestId"] == after.request_id
