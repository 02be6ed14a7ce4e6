"""What other processes find in Redis (docs/reference/wire.md, 5.1 and 5.2)."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from django.db import transaction

from dwp_project import clocks
from dwp_project.deployment import identity
from hitl import services
from hitl.delivery.wire import document
from hitl.models import ApprovalRequest, OutboxEntry
from tests import factories
from tests.integration.ears import Ear

pytestmark = pytest.mark.django_db(transaction=True)


def kept(client: redis.Redis, key: str) -> Any:
    text = client.get(key)
    assert isinstance(text, str)
    return json.loads(text)


@pytest.fixture
def request_(redis_client: redis.Redis) -> ApprovalRequest:
    return factories.opened()


@pytest.fixture
def ear(redis_client: redis.Redis, request_: ApprovalRequest) -> Any:
    ear = Ear(redis_client, request_.session_id)
    yield ear
    ear.close()


def test_opening_sets_the_requests_key(
    redis_client: redis.Redis, request_: ApprovalRequest
) -> None:
    key = f"hitl:request:{request_.request_id}"

    assert kept(redis_client, key) == document(request_) | {"dwpDeployment": identity.current()}
    assert 1790 < redis_client.ttl(key) <= 1800


def test_opening_sets_the_sessions_key(
    redis_client: redis.Redis, request_: ApprovalRequest
) -> None:
    key = f"hitl:session:{request_.session_id}"

    assert kept(redis_client, key) == {
        "sessionId": request_.session_id,
        "requestId": request_.request_id,
        "userId": "user123",
        "tenantId": "tenant1",
    }
    assert 3590 < redis_client.ttl(key) <= 3600


def test_opening_publishes_nothing(redis_client: redis.Redis) -> None:
    ear = Ear(redis_client, "session-a")

    factories.opened("session-a")

    assert ear.hears_nothing()
    ear.close()


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_decision_updates_the_requests_key(
    redis_client: redis.Redis, request_: ApprovalRequest, verb: str
) -> None:
    key = f"hitl:request:{request_.request_id}"
    redis_client.expire(key, 10)

    decided = getattr(services, verb)(request_.request_id, factories.actor())

    assert kept(redis_client, key) == document(decided) | {"dwpDeployment": identity.current()}
    assert kept(redis_client, key)["status"] == {"approve": "approved", "reject": "rejected"}[verb]
    assert 1790 < redis_client.ttl(key) <= 1800


def test_approval_is_signalled_with_exactly_these_members(
    redis_client: redis.Redis, request_: ApprovalRequest, ear: Ear
) -> None:
    decided = services.approve(request_.request_id, factories.actor())

    assert decided.decided_at is not None
    signal = ear.hear()
    assert signal is not None
    assert list(json.loads(signal).items()) == [
        ("type", "approval"),
        ("requestId", request_.request_id),
        ("status", "approved"),
        ("timestamp", int(decided.decided_at.timestamp())),
    ]
    key = f"hitl:signal:{request_.session_id}"
    assert redis_client.get(key) == signal
    assert 290 < redis_client.ttl(key) <= 300


def test_rejection_is_signalled_with_exactly_these_members(
    redis_client: redis.Redis, request_: ApprovalRequest, ear: Ear
) -> None:
    decided = services.reject(request_.request_id, factories.actor(), reason='"아직"\n🙂')

    assert decided.decided_at is not None
    signal = ear.hear()
    assert signal is not None
    assert list(json.loads(signal).items()) == [
        ("type", "rejection"),
        ("requestId", request_.request_id),
        ("status", "rejected"),
        ("reason", '"아직"\n🙂'),
        ("timestamp", int(decided.decided_at.timestamp())),
    ]
    assert redis_client.get(f"hitl:signal:{request_.session_id}") == signal


def test_signal_is_published_once(request_: ApprovalRequest, ear: Ear) -> None:
    services.approve(request_.request_id, factories.actor())

    assert ear.hear() is not None
    assert ear.hears_nothing()


def test_signal_is_published_only_after_the_commit(
    redis_client: redis.Redis, request_: ApprovalRequest, ear: Ear
) -> None:
    with transaction.atomic():
        services.approve(request_.request_id, factories.actor())
        assert ear.hears_nothing()
        assert redis_client.get(f"hitl:signal:{request_.session_id}") is None

    assert ear.hear() is not None


def test_decision_that_is_rolled_back_is_never_signalled(
    redis_client: redis.Redis, request_: ApprovalRequest, ear: Ear
) -> None:
    def fail_later() -> None:
        with transaction.atomic():
            services.approve(request_.request_id, factories.actor())
            raise LookupError

    with pytest.raises(LookupError):
        fail_later()

    assert ear.hears_nothing()
    assert kept(redis_client, f"hitl:request:{request_.request_id}")["status"] == "pending"
    request_.refresh_from_db()
    assert request_.status == "pending"


def test_signal_that_somebody_received_is_delivered(request_: ApprovalRequest, ear: Ear) -> None:
    services.approve(request_.request_id, factories.actor())

    entry = OutboxEntry.objects.get()
    assert (entry.outcome, entry.attempts, entry.receivers) == ("delivered", 1, 1)
    assert entry.attempted_at is not None
    assert entry.attempted_at <= clocks.now()


def test_signal_that_nobody_received_stays_pending(
    redis_client: redis.Redis, request_: ApprovalRequest
) -> None:
    services.approve(request_.request_id, factories.actor())

    entry = OutboxEntry.objects.get()
    assert (entry.outcome, entry.attempts, entry.receivers) == ("pending", 1, 0)
    assert entry.signal == redis_client.get(f"hitl:signal:{request_.session_id}")


@pytest.mark.parametrize("verb", ["expire", "cancel"])
def test_end_without_a_decision_signals_nothing(
    redis_client: redis.Redis, request_: ApprovalRequest, ear: Ear, verb: str
) -> None:
    if verb == "cancel":
        services.cancel(request_.request_id, factories.actor())
    else:
        services.expire_overdue(now=request_.expires_at)

    assert ear.hears_nothing()
    assert redis_client.get(f"hitl:signal:{request_.session_id}") is None
    assert not OutboxEntry.objects.exists()
