"""`manage.py renew_deployment`: what a restored or copied database has to forget."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command
from django.utils import timezone

from dwp_project.deployment import identity
from hitl import services
from hitl.audit import verify
from hitl.delivery import deployments, relay
from hitl.models import ApprovalRequest, AuditRecord
from hitl.states import Origin
from streaming import events, log, sessions
from streaming.agents.base import AgentEvent
from streaming.models import Session, SessionStatus
from tests import factories
from tests.people import REQUESTER

pytestmark = pytest.mark.django_db

END = AgentEvent("end", {"message": "", "status": "completed"})
PROMPT = "Delete 3 mails"


@pytest.fixture(autouse=True)
def same_deployment_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database forgets the new id with the test, and so has to the process."""
    monkeypatch.setattr(identity, "_current", identity._current)


def renew(**options: bool) -> str:
    output = io.StringIO()
    call_command("renew_deployment", stdout=output, **options)
    return output.getvalue()


def begin(*, is_old: bool = False, is_running: bool = False) -> Session:
    """Return a session with an event; its process is gone."""
    session = sessions.begin(
        sessions.Prompt(PROMPT), tenant_id=REQUESTER.tenant_id, user_id=REQUESTER.user_id
    )
    ending = None if is_running else SessionStatus.COMPLETED
    log.append(session.pk, [END], after=0, lease=1, ending=ending)
    gone = {"lease_expires_at": timezone.now() - timedelta(minutes=1)}
    Session.objects.filter(pk=session.pk).update(**gone, **({"key": None} if is_old else {}))
    session.refresh_from_db()
    return session


def session_of(session: Session) -> Session | None:
    """Return where the id of this session's event leads a client of its user."""
    found = sessions.find_by_cursor(
        str(events.event_id(session.event_key, 1)),
        PROMPT,
        tenant_id=REQUESTER.tenant_id,
        user_id=REQUESTER.user_id,
    )
    return found and found[0]


def decided_elsewhere(redis_client: redis.Redis, request_id: str, status: str) -> None:
    """Have Redis keep a decision that the database has lost."""
    key = f"hitl:request:{request_id}"
    redis_client.set(key, json.dumps({"requestId": request_id, "status": status}))


def text_of(redis_client: redis.Redis, key: str) -> str:
    value: Any = redis_client.get(key)
    return str(value, "utf-8") if isinstance(value, bytes) else str(value)


def test_event_ids_of_before_lead_nowhere_and_new_ones_to_their_sessions(
    redis_client: redis.Redis,
) -> None:
    before = [begin(), begin(is_running=True), begin(is_old=True), begin(is_old=True)]
    assert [session_of(session) for session in before] == before

    renew()

    assert [session_of(session) for session in before] == [None] * 4
    after = list(Session.objects.order_by("pk"))
    assert [session_of(session) for session in after] == before
    assert all(2**32 <= (session.key or 0) < 2**33 for session in after)
    assert len({session.key for session in after}) == 4


def test_deployment_has_a_new_id_and_the_audit_says_so(redis_client: redis.Redis) -> None:
    begin()
    before = identity.stored()

    said = renew()

    after = identity.stored()
    assert after != before
    assert before in said
    assert after in said
    record = AuditRecord.objects.get(tenant_id="", event="deployment:renewed")
    assert json.loads(record.details) == {
        "deployment": after,
        "deploymentBefore": before,
        "sessions": 1,
    }
    assert isinstance(verify.verify(""), verify.IntactChain)


def test_nothing_is_renewed_while_a_server_runs(redis_client: redis.Redis) -> None:
    sessions.begin(sessions.Prompt(PROMPT), tenant_id="tenant1", user_id="user123")
    before = identity.stored(), Session.objects.get().key

    with pytest.raises(CommandError, match="Stop every server"):
        renew()

    assert (identity.stored(), Session.objects.get().key) == before
    assert not AuditRecord.objects.filter(event="deployment:renewed").exists()
    assert "new keys" in renew(force=True)
    assert Session.objects.get().key != before[1]


def asked(name: str, origin: Origin) -> ApprovalRequest:
    """Open a request in the session `s-` and its name."""
    question = factories.question(f"s-{name}", request_id=name)
    request, _ = services.open_request(question, factories.actor(), origin)
    return request


def beats(redis_client: redis.Redis, member: str, *, ago: float) -> None:
    seconds, microseconds = redis_client.time()
    redis_client.zadd("dwp:deployments", {member: seconds + microseconds / 1e6 - ago})


def test_nothing_is_renewed_while_an_idle_server_beats(redis_client: redis.Redis) -> None:
    before = identity.stored()
    beats(redis_client, f"an-old-id:{deployments.instance_of_database()}", ago=13)

    with pytest.raises(CommandError, match="Redis has a beat"):
        renew()

    assert identity.stored() == before
    renew(force=True)
    assert identity.stored() != before


def test_servers_of_other_databases_and_of_before_hold_nothing_up(
    redis_client: redis.Redis,
) -> None:
    before = identity.stored()
    beats(redis_client, f"{before}:another", ago=0)
    beats(redis_client, f"{before}:{deployments.instance_of_database()}", ago=16)

    renew()

    assert identity.stored() != before


@pytest.mark.parametrize("origin", [Origin.REST, Origin.AGENT])
def test_redis_forgets_an_end_that_the_database_has_lost(
    redis_client: redis.Redis, origin: Origin
) -> None:
    request = asked("lost", origin)
    decided_elsewhere(redis_client, "lost", "approved")
    signal = json.dumps({"type": "approval", "requestId": "lost"})
    redis_client.set("hitl:signal:s-lost", signal)

    renew()

    assert not redis_client.exists("hitl:signal:s-lost", "hitl:request:lost")
    request.refresh_from_db()
    assert request.is_missed_by_redis
    relay.send_due()
    assert json.loads(text_of(redis_client, "hitl:request:lost"))["status"] == "pending"
    assert json.loads(text_of(redis_client, "hitl:session:s-lost"))["requestId"] == "lost"


def test_agents_own_text_and_other_answers_stay(redis_client: redis.Redis) -> None:
    for name, origin in (("written", Origin.REDIS), ("newer", Origin.REST)):
        asked(name, origin)
        decided_elsewhere(redis_client, name, "approved")
    text = text_of(redis_client, "hitl:request:written")
    redis_client.set("hitl:signal:s-written", json.dumps({"requestId": "written"}))
    redis_client.set("hitl:signal:s-newer", json.dumps({"requestId": "of-another"}))

    renew()

    assert text_of(redis_client, "hitl:request:written") == text
    assert not redis_client.exists("hitl:signal:s-written")
    assert json.loads(text_of(redis_client, "hitl:signal:s-newer")) == {"requestId": "of-another"}
    assert not ApprovalRequest.objects.get(request_id="written").is_missed_by_redis


def test_requests_that_redis_has_as_decided_are_named(redis_client: redis.Redis) -> None:
    for number in range(25):
        factories.opened(request_id=f"lost-{number}")
        decided_elsewhere(redis_client, f"lost-{number}", "approved")
    factories.opened(request_id="waits")
    decided_elsewhere(redis_client, "waits", "pending")
    factories.opened(request_id="is-not-in-redis")
    redis_client.delete("hitl:request:is-not-in-redis")
    factories.opened(request_id="unreadable")
    redis_client.set("hitl:request:unreadable", "[")
    factories.opened(request_id="decided-here")
    services.approve("decided-here", factories.actor())

    said = renew()

    assert "25 of 28 pending requests were decided already" in said
    assert "lost-0: approved" in said
    assert "lost-19: approved" in said
    assert "lost-20" not in said
    assert "and 5 more" in said
    assert not any(name in said for name in ("waits", "is-not", "unreadable", "decided-here"))


def test_everything_is_renewed_while_redis_is_away(redis_away: None) -> None:
    session = begin()
    factories.opened(request_id="waits")

    said = renew()

    assert "Redis cannot be reached" in said
    assert "1 pending requests" in said
    assert "goes on saying so" in said
    assert session_of(session) is None
