"""What somebody writes into the database who decides nothing decides nothing, and is said to be.

Each tampering is what a hostile user of the application's database can do with SQL. Nothing that
was not decided reaches an agent: not on its channel, in a key of Redis, over REST or at the gate.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
import redis
from django.utils import timezone
from pytest_django import Settings

from dwp_project.gateway.errors import DwpError
from dwp_project.offload import run_sync
from hitl import errors, metrics, services
from hitl.audit import decision_record
from hitl.delivery import outbox, relay
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry
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
from tests.people import REQUESTER

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
        due_at=timezone.now(),
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
    assert '<strong class="refused">refused</strong>' in rows


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
