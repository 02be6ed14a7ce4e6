"""What somebody writes into the database who decides nothing decides nothing, and is said to be.

Each tampering is what a hostile user of the application's database can do with SQL. Nothing that
was not decided reaches an agent: not on its channel, in a key of Redis, over REST or at the gate.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from hashlib import sha256

import pytest
import redis
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from dwp_project import clocks, wakeup
from dwp_project.gateway.errors import DwpError
from dwp_project.jsontext import canonical, digest, parse
from dwp_project.offload import run_sync
from hitl import errors, metrics, services
from hitl.audit import decision_record, triggers
from hitl.audit.hashing import hash_of
from hitl.audit.request_digest import request_digest
from hitl.delivery import outbox, relay
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry, Policy, Vote
from hitl.policies.rules import rule_as_of
from hitl.states import AuditEvent
from tests import factories
from tests.integration.audit.signed_chains import insert_record
from tests.integration.calls import Api, browser
from tests.integration.chains import record
from tests.integration.delivery.sending import decided_and_died, make_due
from tests.integration.ears import Ear
from tests.integration.exchange import call
from tests.integration.outages import no_redis
from tests.integration.running import ended, question
from tests.integration.small_agents import Asker, begun, configure
from tests.people import APPROVER, OUTSIDER, REQUESTER
from tests.ruling import ADMIN, ESCALATING, a_policy

pytestmark = pytest.mark.django_db(transaction=True)

SESSION = "session-tampered"
FORGED_SIGNAL = '{"type":"approval","requestId":"%s","status":"approved","timestamp":1}'


def _pending() -> ApprovalRequest:
    return factories.opened(SESSION)


def _approved() -> ApprovalRequest:
    """Return a request that was approved by a process that died before it sent the signal."""
    with pytest.MonkeyPatch.context() as patch:
        return decided_and_died(patch, SESSION).request


def _rejected() -> ApprovalRequest:
    request = factories.opened(SESSION)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "_publish_signal", lambda entry: None)
        return services.reject(request.request_id, factories.actor(), reason="no")


def _forge_entry(request: ApprovalRequest, record: AuditRecord | None = None) -> None:
    OutboxEntry.objects.create(
        request=request,
        record=record,
        signal=FORGED_SIGNAL % request.request_id,
        created_at=timezone.now(),
        due_at=clocks.now(),
    )


def _flip(request: ApprovalRequest) -> None:
    """Have the row say that approver1 approved."""
    ApprovalRequest.objects.filter(pk=request.pk).update(
        status="approved",
        decided_at=timezone.now(),
        decided_by="approver1",
        decided_channel="rest",
        reason="",
    )


def _flip_with_entry(request: ApprovalRequest) -> None:
    _flip(request)
    _forge_entry(request)


def _refer_to_another_decision(request: ApprovalRequest) -> None:
    another = factories.opened("session-another")
    services.approve(another.request_id, factories.actor())
    decision = AuditRecord.objects.get(request_id=another.request_id, event="request:approved")
    _flip(request)
    _forge_entry(request, decision)


def _forge_record(request: ApprovalRequest, *, form: int = 3, signature: str = "") -> None:
    """Flip the row, and append a record that says the same and whose hashes fit."""
    _flip(request)
    request.refresh_from_db()
    assert request.decided_at is not None
    entry = insert_record(
        request, AuditEvent.REQUEST_APPROVED, request.decided_at, form=form, signature=signature
    )
    _forge_entry(request, entry)


def _borrow_signature(request: ApprovalRequest) -> None:
    opened = AuditRecord.objects.get(request_id=request.request_id, event="request:opened")
    _forge_record(request, signature=opened.signature)


def _set(**columns: object) -> Callable[[ApprovalRequest], None]:
    """Return what sets columns of the request's row."""

    def tamper(request: ApprovalRequest) -> None:
        ApprovalRequest.objects.filter(pk=request.pk).update(**columns)

    return tamper


def _delay_decision(request: ApprovalRequest) -> None:
    assert request.decided_at is not None
    _set(decided_at=request.decided_at + timedelta(microseconds=1))(request)


def _set_back_to_pending(request: ApprovalRequest) -> None:
    _set(status="pending", decided_at=None, decided_by="", decided_channel="")(request)


def _flip_and_unlink(request: ApprovalRequest) -> None:
    _flip(request)
    OutboxEntry.objects.update(record=None)


@dataclass(frozen=True, slots=True)
class Tampering:
    """A request, and what is done to it."""

    begin: Callable[[], ApprovalRequest]
    tamper: Callable[[ApprovalRequest], None]


SENDING = {
    "a signal for a pending request": Tampering(_pending, _forge_entry),
    "a pending request flipped, with a signal": Tampering(_pending, _flip_with_entry),
    "a signal that refers to another request's decision": Tampering(
        _pending, _refer_to_another_decision
    ),
    "a decision's record that nobody signed": Tampering(_pending, _forge_record),
    "a decision's record with another's signature": Tampering(_pending, _borrow_signature),
    "a decision's record of an old form": Tampering(
        _pending, lambda request: _forge_record(request, form=2)
    ),
    "a rejection flipped": Tampering(_rejected, _flip),
    "a rejection flipped, its signal's record unlinked": Tampering(_rejected, _flip_and_unlink),
    "another reason": Tampering(_rejected, _set(reason="yes")),
    "another comment": Tampering(_approved, _set(comment="yes")),
    "another decider": Tampering(_approved, _set(decided_by="somebody")),
    "another channel": Tampering(_approved, _set(decided_channel="admin")),
    "another time": Tampering(_approved, _delay_decision),
    "another tenant": Tampering(_approved, _set(tenant_id="tenant2")),
    "a decision taken back": Tampering(_approved, _set_back_to_pending),
}


@pytest.fixture
def ear(redis_client: redis.Redis) -> Iterator[Ear]:
    ear = Ear(redis_client, SESSION)
    yield ear
    ear.close()


@pytest.fixture(autouse=True)
def _signed_long_ago() -> None:
    """The update to signed records was long ago: none of an old form is accepted any more."""
    record()


@pytest.mark.parametrize("name", SENDING)
def test_nothing_is_sent_that_was_not_decided(
    redis_client: redis.Redis, ear: Ear, name: str
) -> None:
    request = SENDING[name].begin()
    key = f"hitl:request:{request.request_id}"
    before = redis_client.get(key)
    counted = metrics.unvouched_signals._value.get()

    SENDING[name].tamper(request)
    make_due()
    relay.send_due()
    relay.send_due()

    entry = OutboxEntry.objects.get(request=request)
    assert ear.hears_nothing()
    assert (entry.outcome, entry.receivers) == ("refused", 0)
    assert redis_client.get(f"hitl:signal:{SESSION}") is None
    assert redis_client.get(key) == before
    assert metrics.unvouched_signals._value.get() == counted + 1


@pytest.mark.parametrize("name", SENDING)
def test_nothing_is_sent_again_that_was_not_decided(redis_client: redis.Redis, name: str) -> None:
    request = SENDING[name].begin()
    make_due()
    relay.send_due()  # the genuine signal, if there is one, to nobody
    SENDING[name].tamper(request)
    ear = Ear(redis_client, SESSION)

    make_due()
    relay.send_due()

    assert ear.hears_nothing()
    assert OutboxEntry.objects.get(request=request).outcome == "refused"
    ear.close()


def test_the_stored_text_of_a_signal_is_never_what_is_sent(
    redis_client: redis.Redis, ear: Ear
) -> None:
    request = _rejected()
    OutboxEntry.objects.update(signal=FORGED_SIGNAL % request.request_id)

    make_due()
    relay.send_due()

    heard = json.loads(ear.hear() or "")
    assert (heard["type"], heard["status"], heard["reason"]) == ("rejection", "rejected", "no")
    assert json.loads(str(redis_client.get(f"hitl:signal:{SESSION}"))) == heard


def test_a_forged_signal_does_not_stop_the_decision_of_its_request(
    redis_client: redis.Redis, ear: Ear
) -> None:
    request = _pending()
    _forge_entry(request)
    relay.send_due()

    services.reject(request.request_id, factories.actor(), reason="no")

    assert json.loads(ear.hear() or "")["status"] == "rejected"
    assert OutboxEntry.objects.get().outcome == "delivered"


def test_a_signal_of_the_version_before_is_sent_by_its_decisions_record(
    redis_client: redis.Redis, ear: Ear
) -> None:
    _approved()
    OutboxEntry.objects.update(record=None)

    make_due()
    relay.send_due()

    assert json.loads(ear.hear() or "")["status"] == "approved"


def test_a_flipped_request_is_not_written_to_its_key(redis_client: redis.Redis) -> None:
    request = _pending()
    _flip(request)
    ApprovalRequest.objects.update(is_missed_by_redis=True)

    relay.send_due()

    stored = json.loads(str(redis_client.get(f"hitl:request:{request.request_id}")))
    assert stored["status"] == "pending"


FLIPPED: dict[str, Callable[[ApprovalRequest], None]] = {
    "without a record": _flip,
    "with a record that nobody signed": _forge_record,
    "with a record of an old form": lambda request: _forge_record(request, form=2),
}


@pytest.mark.parametrize("how", FLIPPED)
def test_a_flipped_request_is_told_to_nobody(
    redis_client: redis.Redis, settings: Settings, api: Api, how: str
) -> None:
    request = _pending()
    question_again = factories.question(SESSION, request_id=request.request_id)
    FLIPPED[how](request)
    request.refresh_from_db()
    path = "/aura/hitl"

    read = api.get(f"{path}/requests/{request.request_id}", REQUESTER)
    waited = asyncio.run(call("GET", f"{path}/requests/{request.request_id}/wait", REQUESTER))
    again = api.post(f"{path}/approve/{request.request_id}", REQUESTER)
    opened = api.post(
        f"{path}/requests",
        REQUESTER,
        {
            "requestId": request.request_id,
            "sessionId": SESSION,
            "actionType": question_again.action_type,
            "message": question_again.message,
            "context": dict(question_again.context),
        },
    )
    listed = api.get(f"{path}/requests", REQUESTER)
    with no_redis(settings):
        signal = api.get(f"{path}/signals/{SESSION}", REQUESTER)

    assert [answer.refusal for answer in (read, waited, again, opened)] == [(422, "E3008")] * 4
    assert listed.data["items"] == []
    assert "data" not in signal.body
    assert outbox.current_signal(SESSION) is None
    refusal = AuditRecord.objects.get(event="decision:refused")
    assert json.loads(refusal.details)["why"] == "changed behind the book's back"


@pytest.mark.anyio
@pytest.mark.parametrize("how", FLIPPED)
@pytest.mark.usefixtures("fresh_hub", "redis_client", "agents_reset")
async def test_the_gate_lets_no_agent_act_on_a_flipped_request(
    settings: Settings, how: str
) -> None:
    configure(settings, Asker)
    session, task = await begun()
    asked = await question()

    await run_sync(FLIPPED[how], asked)
    await run_sync(wakeup.publish, services.wake_topic(asked.request_id))

    names = await ended(session, task)
    assert "error" in names
    assert "tool_execution" not in names


@pytest.mark.parametrize("how", FLIPPED)
def test_the_page_of_a_flipped_request_warns(redis_client: redis.Redis, how: str) -> None:
    request = _pending()
    FLIPPED[how](request)
    client = browser(factories.user("desk", role="viewer", is_staff=True))

    page = client.get(f"/admin/hitl/approvalrequest/{request.pk}/change/").content.decode()

    assert "The audit does not have this decision" in page


def test_the_pages_show_a_refused_signal_in_red(redis_client: redis.Redis) -> None:
    request = _pending()
    _forge_entry(request)
    relay.send_due()
    client = browser(factories.user("desk", role="viewer", is_staff=True))

    page = client.get(f"/admin/hitl/approvalrequest/{request.pk}/change/").content.decode()
    rows = client.get("/admin/hitl/outboxentry/").content.decode()

    assert "A signal for this request was refused" in page
    assert '<strong class="refused">▲ not sent: the audit lacks this decision</strong>' in rows


def test_every_decision_that_was_made_is_recorded(redis_client: redis.Redis) -> None:
    requests = [_approved(), services.cancel(_pending().request_id, factories.actor())]
    requests.append(services.settle(_pending(), now=timezone.now() + timedelta(hours=1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(services, "_publish_signal", lambda entry: None)
        requests.append(services.reject(_pending().request_id, factories.actor()))
    stored = list(ApprovalRequest.objects.all())

    assert len(stored) == len(requests)
    assert decision_record.unrecorded(stored) == set()
    assert decision_record.recorded(stored) == {request.pk for request in stored}
    assert not decision_record.is_recorded(_pending())


def test_read_raises_for_a_flipped_request_whichever_way_it_ended(
    redis_client: redis.Redis,
) -> None:
    request = _pending()
    _set(status="expired", decided_at=timezone.now(), decided_by="clock")(request)

    with pytest.raises(DwpError) as refusal:
        services.read(request.request_id, request.tenant_id)

    assert isinstance(refusal.value, errors.RequestChanged)


# --- a request that was changed before it is decided ---------------------------------------------


def _change_context(request: ApprovalRequest) -> None:
    text = '{"folder":"everything"}'
    _set(context_text=text, context_digest=digest(parse(text)))(request)


def _weaken_policy(request: ApprovalRequest) -> None:
    assert request.policy is not None
    Policy.objects.filter(pk=request.policy.pk).update(min_approvals=1, forbid_requester=False)


def _extend_term(request: ApprovalRequest) -> None:
    _set(expires_at=request.expires_at + timedelta(days=1))(request)


def _escalate(request: ApprovalRequest) -> None:
    _set(escalated_at=timezone.now())(request)


def _add_vote(request: ApprovalRequest) -> None:
    """Vote in the name of somebody who has not."""
    _set(approvals=1)(request)
    Vote.objects.create(
        request=request,
        user_id="approver2",
        person="approver2",
        role="approver",
        channel="rest",
        voted_at=timezone.now(),
    )


def _add_vote_with_record(request: ApprovalRequest) -> None:
    _add_vote(request)
    insert_record(request, AuditEvent.REQUEST_VOTED)


def _rename_voter(request: ApprovalRequest) -> None:
    """Have the vote that approver1 gave be somebody else's, so that they can vote again."""
    services.approve(request.request_id, factories.actor())
    Vote.objects.update(user_id="approver2", person="approver2")


def _invent(request: ApprovalRequest) -> None:
    """Have an open request that nobody opened."""
    _set(request_id="req-invented")(request)


def _decide_and_reopen(request: ApprovalRequest) -> None:
    services.reject(request.request_id, factories.actor())
    _set_back_to_pending(request)


DECIDING: dict[str, tuple[Callable[[ApprovalRequest], None], list[str]]] = {
    "another message": (_set(message="Nothing to see"), ["request"]),
    "another action": (_set(action_type="read_mail"), ["request"]),
    "another requester": (_set(user_id="somebody"), ["request"]),
    "another agent": (_set(agent_id="somebody"), ["request"]),
    "another session": (_set(session_id="session-another"), ["request"]),
    "another origin": (_set(origin="redis"), ["request"]),
    "another time of opening": (_set(created_at=timezone.now()), ["request"]),
    "another context, with its digest": (_change_context, ["request"]),
    "no policy": (_set(policy=None), ["request"]),
    "a weaker policy": (_weaken_policy, ["request"]),
    "a longer term": (_extend_term, ["term"]),
    "an escalation": (_escalate, ["term"]),
    "a number of votes": (_set(approvals=1), ["votes"]),
    "a vote": (_add_vote, ["votes"]),
    "a vote with a record that nobody signed": (_add_vote_with_record, ["votes"]),
    "a vote in another's name": (_rename_voter, ["votes"]),
    "a request that nobody opened": (_invent, ["opening"]),
    "a decision that was taken back": (_decide_and_reopen, ["decision"]),
}


@pytest.mark.parametrize("verb", ["approve", "reject"])
@pytest.mark.parametrize("name", DECIDING)
def test_a_request_that_was_changed_is_not_decided(
    redis_client: redis.Redis, api: Api, name: str, verb: str
) -> None:
    a_policy(min_approvals=2, forbid_requester=True)
    request = _pending()
    tamper, differing = DECIDING[name]
    tamper(request)
    request.refresh_from_db()
    decisions = AuditRecord.objects.filter(event__in=["request:approved", "request:rejected"])
    before = decisions.count()
    shown = {"contextDigest": request.context_digest}

    answer = api.post(f"/aura/hitl/{verb}/{request.request_id}", ADMIN, shown)

    assert answer.refusal == (422, "E3008")
    after = ApprovalRequest.objects.get(pk=request.pk)
    assert (after.status, after.approvals) == ("pending", request.approvals)
    assert decisions.count() == before
    refusal = json.loads(AuditRecord.objects.get(event="decision:refused").details)
    assert (refusal["why"], refusal["tried"]) == ("changed behind the book's back", verb)
    assert refusal["differs"] == differing


def test_a_request_of_another_tenant_than_it_was_opened_in_is_not_decided(
    redis_client: redis.Redis, api: Api
) -> None:
    request = _pending()
    _set(tenant_id="tenant2")(request)

    answer = api.post(f"/aura/hitl/approve/{request.request_id}", OUTSIDER)

    assert answer.refusal == (422, "E3008")


def test_a_changed_request_can_still_be_withdrawn(redis_client: redis.Redis) -> None:
    request = _pending()
    _set(message="Nothing to see")(request)

    assert services.cancel(request.request_id, factories.actor()).status == "cancelled"


def test_a_request_that_the_version_before_opened_is_compared_with_what_its_record_says(
    redis_client: redis.Redis,
) -> None:
    requests = [_opened_by_the_version_before(number) for number in range(3)]
    _set(action_type="read_mail")(requests[1])
    _set(policy=a_policy("*"))(requests[2])

    assert services.approve(requests[0].request_id, factories.actor()).status == "approved"
    for request in requests[1:]:
        with pytest.raises(errors.RequestChanged):
            services.approve(request.request_id, factories.actor())


def _opened_by_the_version_before(number: int) -> ApprovalRequest:
    """Open a request, and have its record say what form 2 said, before any signed record."""
    request = factories.opened(f"session-old-{number}")
    entry = AuditRecord.objects.get(request_id=request.request_id)
    triggers.remove(connection)
    AuditRecord.objects.filter(pk=entry.pk - 1, form=3).delete()
    details = {"actionType": request.action_type, "origin": "rest"}
    entry.form, entry.details, entry.signature = 2, canonical(details), ""
    entry.hash = hash_of(entry)
    entry.save()
    triggers.install(connection)
    return request


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_a_decision_on_all_that_was_shown_is_made(
    redis_client: redis.Redis, api: Api, verb: str
) -> None:
    request = _pending()
    document = json.loads(api.get(f"/aura/hitl/requests/{request.request_id}", REQUESTER).data)
    path, shown = f"/aura/hitl/{verb}/{request.request_id}", document["requestDigest"]

    other = api.post(path, APPROVER, {"requestDigest": "0" * 64})
    short = api.post(path, APPROVER, {"requestDigest": "0"})
    same = api.post(path, APPROVER, {"requestDigest": shown})

    assert (other.refusal, short.refusal) == ((409, "E3006"), (400, "E4000"))
    assert same.status == 200
    decision = AuditRecord.objects.get(event__in=["request:approved", "request:rejected"])
    assert json.loads(decision.details)["requestDigest"] == shown


def test_what_the_opening_records_is_what_a_request_is_compared_with(
    redis_client: redis.Redis,
) -> None:
    policy = a_policy(min_approvals=2)
    request = _pending()

    details = json.loads(AuditRecord.objects.get(event="request:opened").details)

    rule = {
        name: value
        for name, value in asdict(rule_as_of(policy)).items()
        if name not in ("version", "risk")
    }
    assert details["rule"] == rule
    assert details["owner"] == {"tenantId": "tenant1", "userId": "user123", "origin": "rest"}
    assert details["expiresAt"] == request.expires_at.isoformat(timespec="microseconds")
    assert details["messageDigest"] == sha256(request.message.encode()).hexdigest()
    assert details["requestDigest"] == request_digest(request)


def test_votes_and_an_escalation_that_were_recorded_are_no_changes(
    redis_client: redis.Redis,
) -> None:
    a_policy(min_approvals=2, timeout_seconds=60, **ESCALATING)
    request = _pending()
    services.approve(request.request_id, factories.actor())
    escalated = services.settle(request, now=timezone.now() + timedelta(seconds=61))
    assert escalated.escalated_at is not None

    now = timezone.now() + timedelta(seconds=62)
    decided = services.approve(request.request_id, factories.actor(ADMIN), now=now)

    assert decided.status == "approved"


def test_the_desk_decides_nothing_else_than_its_page_showed(redis_client: redis.Redis) -> None:
    request = _pending()
    client = browser(factories.user("desk", role="approver", is_staff=True))
    address = f"/admin/hitl/approvalrequest/{request.pk}"
    page = client.get(f"{address}/change/").content.decode()
    form = {"approve": "1", "digest": request.context_digest}

    client.post(f"{address}/decide/", form | {"request_digest": "0" * 64})
    assert ApprovalRequest.objects.get(pk=request.pk).status == "pending"
    client.post(f"{address}/decide/", form | {"request_digest": request_digest(request)})

    assert f'name="request_digest" value="{request_digest(request)}"' in page
    assert ApprovalRequest.objects.get(pk=request.pk).status == "approved"
