"""A Redis that is away or frozen never turns a committed change into an error."""

from __future__ import annotations

import pytest
import redis
from pytest_django import Settings

from dwp_project.wakeup import client
from hitl.adoption import adopt
from hitl.delivery import publisher, redis_state
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry
from hitl.states import Origin
from tests import factories
from tests.integration.calls import Api
from tests.integration.ears import Ear
from tests.integration.outages import no_redis
from tests.people import REQUESTER

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("trouble", "verb"),
    [("redis_away", "approve"), ("redis_away", "reject"), ("redis_frozen", "approve")],
)
def test_decision_without_redis_is_200_and_its_signal_pending(
    api: Api, request: pytest.FixtureRequest, trouble: str, verb: str
) -> None:
    request.getfixturevalue(trouble)
    body = {"sessionId": "s1", "actionType": "x", "requestId": "req-1"}
    assert api.post("/aura/hitl/requests", REQUESTER, body).status == 201

    answer = api.post(f"/aura/hitl/{verb}/req-1", REQUESTER)

    assert answer.status == 200
    entry = OutboxEntry.objects.get()
    assert (entry.outcome, entry.receivers) == ("pending", 0)
    assert answer.headers["x-dwp-signal"] == "pending"
    assert AuditRecord.objects.filter(event=f"request:{answer.data['status']}").count() == 1


def test_everything_else_works_without_redis(api: Api, redis_away: None) -> None:
    request = factories.opened("s1")

    assert api.get("/aura/hitl/requests", REQUESTER).status == 200
    assert api.get(f"/aura/hitl/requests/{request.request_id}", REQUESTER).status == 200
    assert api.get("/aura/hitl/signals/s1", REQUESTER).status == 200
    assert api.post(f"/aura/hitl/requests/{request.request_id}/cancel", REQUESTER).status == 200


def test_signal_kept_while_redis_was_away_can_be_sent_later(
    api: Api, settings: Settings, redis_client: redis.Redis
) -> None:
    opened = factories.opened("s1")
    with no_redis(settings):
        api.post(f"/aura/hitl/approve/{opened.request_id}", REQUESTER)
    ear = Ear(redis_client, "s1")

    publisher.send([OutboxEntry.objects.get()])

    assert ear.hear() is not None
    assert OutboxEntry.objects.get().outcome == "delivered"
    ear.close()


def test_key_of_another_kind_does_not_stop_a_decision(api: Api, redis_client: redis.Redis) -> None:
    opened = factories.opened("s1")
    redis_client.delete("hitl:session:s1")
    redis_client.hset("hitl:session:s1", "a", "b")

    assert api.post(f"/aura/hitl/approve/{opened.request_id}", REQUESTER).status == 200
    assert OutboxEntry.objects.get().outcome == "pending"


def test_redis_that_has_just_failed_is_not_asked_for_what_the_database_knows(
    api: Api, redis_away: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopted = factories.opened("s1")
    ApprovalRequest.objects.update(origin=Origin.REDIS)
    calls = []

    def away(*args: object) -> None:
        calls.append(args)
        raise redis.ConnectionError("frozen")

    monkeypatch.setattr(redis_state, "current_signal", away)
    monkeypatch.setattr(adopt, "adopt_or_raise", away)
    paths = ["/aura/hitl/signals/s1", f"/aura/hitl/requests/{adopted.request_id}"]

    for first in paths:
        client._paused_until = 0.0
        calls.clear()
        answers = [api.get(path, REQUESTER).status for path in (first, *paths)]
        assert (answers, len(calls)) == ([200] * 3, 1)
    # What only Redis may know is asked of it.
    assert api.get("/aura/hitl/requests/req-of-an-agent", REQUESTER).status == 404
    assert len(calls) == 2
