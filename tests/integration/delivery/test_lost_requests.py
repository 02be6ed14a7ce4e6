"""Requests that were opened here and that the database does not have any more, because it was
restored, while Redis kept their keys (docs/reference/wire.md, 5.1 and 5.3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from dwp_project import clocks
from dwp_project.deployment import identity
from hitl import services
from hitl.adoption.scanner import Scanner
from hitl.audit import triggers
from hitl.delivery import commands, relay
from hitl.delivery.keys import newest_key
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry, SessionOwner
from tests import factories
from tests.integration import redis_agents
from tests.integration.calls import Api
from tests.integration.ears import Ear
from tests.integration.outages import no_redis
from tests.people import APPROVER, OUTSIDER, REQUESTER, Person

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/aura/hitl/requests"
SESSION = "session-restored"


@pytest.fixture
def ear(redis_client: redis.Redis) -> Iterator[Ear]:
    ear = Ear(redis_client, SESSION)
    yield ear
    ear.close()


def restore() -> None:
    """Put a backup back that was made before anybody asked anything."""
    triggers.remove(connection)
    for rows in (OutboxEntry, AuditRecord, ApprovalRequest, SessionOwner):
        rows.objects.all().delete()
    triggers.install(connection)


def opens(
    api: Api, by: Person = REQUESTER, session_id: str = SESSION, **members: str
) -> tuple[int, str]:
    """Open a request over REST; return the status, and its id or the error's code."""
    answer = api.post(PATH, by, {"sessionId": session_id, "actionType": "delete_mail", **members})
    return answer.status, answer.data["requestId"] if answer.status < 400 else answer.refusal[1]


def stored(client: redis.Redis, key: str) -> dict[str, object]:
    body = json.loads(str(client.get(key)))
    assert isinstance(body, dict)
    return body


# --- the mark -----------------------------------------------------------------------------


def test_request_opened_here_bears_the_deployments_id_in_its_key_alone(
    api: Api, redis_client: redis.Redis, ear: Ear
) -> None:
    _, request_id = opens(api)
    assert stored(redis_client, f"hitl:request:{request_id}")["dwpDeployment"] == identity.current()
    assert set(stored(redis_client, f"hitl:session:{SESSION}")) == {
        *("sessionId", "requestId", "userId", "tenantId")
    }
    assert "dwpDeployment" not in json.loads(api.get(f"{PATH}/{request_id}", REQUESTER).data)

    api.post(f"/aura/hitl/approve/{request_id}", APPROVER)

    decided = stored(redis_client, f"hitl:request:{request_id}")
    assert (decided["status"], decided["dwpDeployment"]) == ("approved", identity.current())
    assert "dwpDeployment" not in str(ear.hear())


def test_what_an_agent_wrote_bears_no_mark_when_it_is_decided(
    api: Api, redis_client: redis.Redis
) -> None:
    request_id = redis_agents.asks(redis_client, SESSION)

    assert api.post(f"/aura/hitl/approve/{request_id}", APPROVER).status == 200

    decided = stored(redis_client, f"hitl:request:{request_id}")
    assert decided["status"] == "approved"
    assert "dwpDeployment" not in decided


@pytest.mark.parametrize("mark", ["another", "00000000feedbeef", "", None, 7])
def test_request_that_a_deployment_opened_is_not_adopted(
    api: Api, redis_client: redis.Redis, mark: object
) -> None:
    request_id = redis_agents.asks(redis_client, SESSION, dwpDeployment=mark)

    assert Scanner().scan() == 0
    assert Scanner().adopt_written([request_id]) == 0
    for verb in ("approve", "reject"):
        assert api.post(f"/aura/hitl/{verb}/{request_id}", APPROVER).refusal == (404, "E1004")
    assert api.get(f"{PATH}/{request_id}", REQUESTER).refusal == (404, "E1004")
    assert not ApprovalRequest.objects.exists()
    assert not SessionOwner.objects.exists()
    assert not AuditRecord.objects.exists()


def test_mark_of_another_deployment_is_no_contradiction(redis_client: redis.Redis) -> None:
    request_id = redis_agents.asks(redis_client, SESSION)
    services.find(request_id, REQUESTER.tenant_id)
    redis_agents.asks(redis_client, SESSION, request_id, message="theirs", dwpDeployment="another")

    services.find(request_id, REQUESTER.tenant_id)

    assert [row.event for row in AuditRecord.objects.all()] == ["request:adopted"]


def test_request_opened_by_the_version_before_is_no_agents(
    api: Api, redis_client: redis.Redis
) -> None:
    _, older = opens(api)
    api.post(f"/aura/hitl/approve/{older}", APPROVER)
    unmarked = stored(redis_client, f"hitl:request:{older}")
    del unmarked["dwpDeployment"]
    redis_client.set(f"hitl:request:{older}", json.dumps(unmarked))
    redis_client.delete(newest_key(SESSION))

    _, newer = opens(api)

    assert stored(redis_client, f"hitl:session:{SESSION}")["requestId"] == newer
    assert not redis_client.exists(f"hitl:signal:{SESSION}")


# --- the owner asks again -----------------------------------------------------------------


@pytest.mark.parametrize("is_renewed", [False, True], ids=["same-id", "new-deployment-id"])
@pytest.mark.parametrize("is_same_request", [False, True], ids=["another", "the-same"])
@pytest.mark.parametrize("lost", ["pending", "approved", "rejected"])
def test_owner_of_a_lost_request_asks_again_and_is_answered(
    api: Api,
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    is_renewed: bool,
    is_same_request: bool,
    lost: str,
) -> None:
    _, lost_id = opens(api, requestId="req-lost")
    if lost != "pending":
        verb = {"approved": "approve", "rejected": "reject"}[lost]
        assert api.post(f"/aura/hitl/{verb}/{lost_id}", APPROVER).status == 200
    restore()
    if is_renewed:
        monkeypatch.setattr(identity, "_current", "1111111111111111")
    assert Scanner().scan() == 0
    request_id = lost_id if is_same_request else "req-again"

    assert opens(api, requestId=request_id) == (201, request_id)

    # Nothing of the lost one answers the new one.
    assert stored(redis_client, f"hitl:session:{SESSION}")["requestId"] == request_id
    value = stored(redis_client, f"hitl:request:{request_id}")
    assert (value["status"], value["dwpDeployment"]) == ("pending", identity.current())
    assert not redis_client.exists(f"hitl:signal:{SESSION}")
    ear = Ear(redis_client, SESSION)
    assert api.post(f"/aura/hitl/approve/{request_id}", APPROVER).status == 200
    message = json.loads(str(ear.hear()))
    assert (message["requestId"], message["status"]) == (request_id, "approved")
    assert OutboxEntry.objects.get().outcome == "delivered"
    ear.close()


def test_owner_asks_again_when_the_lost_requests_key_has_expired(
    api: Api, redis_client: redis.Redis, ear: Ear
) -> None:
    _, lost_id = opens(api)
    restore()
    redis_client.delete(f"hitl:request:{lost_id}")
    assert opens(api, APPROVER) == (404, "E1004")

    status, request_id = opens(api)

    assert status == 201
    api.post(f"/aura/hitl/approve/{request_id}", APPROVER)
    assert json.loads(str(ear.hear()))["requestId"] == request_id


def test_owner_asks_again_with_a_clock_that_is_behind(api: Api, redis_client: redis.Redis) -> None:
    opens(api)
    restore()
    request = factories.opened(SESSION, now=timezone.now() - timedelta(minutes=1))
    ear = Ear(redis_client, SESSION)

    services.approve(request.request_id, factories.actor(), now=timezone.now())
    OutboxEntry.objects.update(due_at=clocks.now())
    relay.send_due()

    assert json.loads(str(ear.hear()))["requestId"] == request.request_id
    assert OutboxEntry.objects.get().outcome == "delivered"
    ear.close()


def test_owner_who_asked_again_while_redis_was_away_is_answered(
    api: Api, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, ear: Ear
) -> None:
    opens(api)
    restore()
    monkeypatch.setattr(identity, "_current", "1111111111111111")
    with monkeypatch.context() as patch:
        # The process dies between the commit and its writing to Redis.
        patch.setattr(commands, "announce", lambda request, **_: None)
        _, request_id = opens(api)

    api.post(f"/aura/hitl/approve/{request_id}", APPROVER)
    OutboxEntry.objects.update(due_at=clocks.now())
    relay.send_due()

    assert json.loads(str(ear.hear()))["requestId"] == request_id
    assert OutboxEntry.objects.get().outcome == "delivered"


@pytest.mark.parametrize(
    "stranger", [APPROVER, OUTSIDER, Person("user123", "tenant2", "user")], ids=str
)
@pytest.mark.parametrize("has_expired", [False, True])
def test_nobody_else_opens_in_the_session_of_a_lost_request(
    api: Api, redis_client: redis.Redis, stranger: Person, has_expired: bool
) -> None:
    _, lost_id = opens(api)
    restore()
    if has_expired:
        redis_client.delete(f"hitl:request:{lost_id}")

    assert opens(api, stranger) == (404, "E1004")

    assert not SessionOwner.objects.exists()
    assert opens(api)[0] == 201


def test_somebody_else_who_opened_while_redis_was_away_does_not_take_the_session_over(
    api: Api, redis_client: redis.Redis, settings: Settings
) -> None:
    _, lost_id = opens(api)
    restore()
    with no_redis(settings):
        request = factories.opened(SESSION, by=APPROVER)
        services.approve(request.request_id, factories.actor())
    ear = Ear(redis_client, SESSION)
    OutboxEntry.objects.update(due_at=clocks.now())

    relay.send_due()

    assert ear.hears_nothing()
    assert stored(redis_client, f"hitl:session:{SESSION}")["requestId"] == lost_id
    assert OutboxEntry.objects.get().outcome == "superseded"
    ear.close()


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("has_expired", [False, True])
@pytest.mark.parametrize("was_lost_here", [False, True])
def test_nobody_opens_in_a_session_that_an_agent_on_redis_uses(
    api: Api, redis_client: redis.Redis, bare: bool, has_expired: bool, was_lost_here: bool
) -> None:
    if was_lost_here:
        opens(api)
        restore()
    # The agent works for the same person, and writes the same as we do but for the mark.
    request_id = redis_agents.asks(redis_client, SESSION, bare=bare)
    if has_expired:
        redis_client.delete(f"hitl:request:{request_id}")

    assert opens(api) == (404, "E1004")

    assert not SessionOwner.objects.filter(origin="rest").exists()


def test_mark_of_another_session_opens_no_agents_session(
    api: Api, redis_client: redis.Redis
) -> None:
    _, request_id = opens(api, session_id="session-other")
    restore()
    # An agent's session names a request that was opened elsewhere.
    redis_agents.waits_for(redis_client, SESSION, request_id)

    assert opens(api) == (404, "E1004")


def test_lost_request_of_an_agent_is_adopted_as_before(api: Api, redis_client: redis.Redis) -> None:
    request_id = redis_agents.asks(redis_client, SESSION)
    services.find(request_id, REQUESTER.tenant_id)
    restore()

    assert Scanner().scan() == 1
    assert api.post(f"/aura/hitl/approve/{request_id}", APPROVER).status == 200
