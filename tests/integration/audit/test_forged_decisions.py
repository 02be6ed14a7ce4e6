"""Longer ways to a decision that nobody made: by records, chains and races, with SQL alone.

`test_tampering_decisions` changes one row at a time; here several steps fit together.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import Settings

from dwp_project import clocks, wakeup
from dwp_project.jsontext import canonical
from dwp_project.offload import run_sync
from hitl import errors, services
from hitl.actors import system_actor
from hitl.approvals import opening
from hitl.audit import breaks, checkpoints, compare, record_signatures, record_trust, request_record
from hitl.audit.acknowledge import acknowledge
from hitl.audit.hashing import GENESIS, hash_of
from hitl.delivery import relay
from hitl.models import (
    ApprovalRequest,
    AuditChain,
    AuditRecord,
    KeptAnswer,
    OutboxEntry,
    SessionOwner,
)
from hitl.states import AuditEvent, Origin
from streaming.models import Event
from tests import factories
from tests.integration.audit.strays import head_of, stray
from tests.integration.audit.tamperings import no_triggers
from tests.integration.audit.test_tamperings import verified
from tests.integration.calls import Api
from tests.integration.chains import record
from tests.integration.delivery.sending import make_due
from tests.integration.ears import Ear
from tests.integration.running import ended, question
from tests.integration.small_agents import Asker, begun, configure
from tests.integration.takeovers import Resumer, dies, recovered
from tests.integration.threads import together
from tests.people import OUTSIDER, REQUESTER, TENANT, Person
from tests.ruling import ADMIN, ESCALATING, a_policy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("folder")]

SESSION = "session-forged"
# A signature by a key that nobody has.
UNKNOWN = "deadbeefdeadbeef:AAAA"


@pytest.fixture(autouse=True)
def _signed_long_ago(redis_client: redis.Redis, folder: Path) -> None:
    """The update to signed records was long ago."""
    record()


@pytest.fixture
def ear(redis_client: redis.Redis) -> Iterator[Ear]:
    ear = Ear(redis_client, SESSION)
    yield ear
    ear.close()


def flip(request: ApprovalRequest, **columns: object) -> None:
    """Have the row say that approver1 approved."""
    ApprovalRequest.objects.filter(pk=request.pk).update(
        status="approved",
        decided_at=timezone.now(),
        decided_by="approver1",
        decided_channel="rest",
        **columns,
    )
    request.refresh_from_db()


def approval_of(
    request: ApprovalRequest, *, form: int, signature: str = "", behind: int = 1
) -> AuditRecord:
    """Insert a record of the flipped row's decision at the end of its chain; every hash fits."""
    assert request.decided_at is not None
    chain, _ = AuditChain.objects.get_or_create(tenant_id=request.tenant_id)
    entry = AuditRecord(
        tenant_id=request.tenant_id,
        sequence=chain.last_sequence + behind,
        event=AuditEvent.REQUEST_APPROVED,
        request_id=request.request_id,
        session_id=request.session_id,
        context_digest=request.context_digest,
        action_type=request.action_type,
        actor=request.decided_by,
        actor_kind="user",
        channel=request.decided_channel,
        at=request.decided_at,
        form=form,
        signature=signature,
        previous_hash=chain.last_hash or GENESIS,
    )
    entry.hash = hash_of(entry)
    entry.save(force_insert=True)
    OutboxEntry.objects.create(
        request=request,
        record=entry,
        signal="{}",
        created_at=timezone.now(),
        due_at=clocks.now() + timedelta(hours=1),
    )
    return entry


def move_head(entry: AuditRecord) -> None:
    AuditChain.objects.filter(tenant_id=entry.tenant_id).update(
        last_sequence=entry.sequence, last_hash=entry.hash
    )


def hears_nothing(ear: Ear) -> bool:
    make_due()
    relay.send_due()
    return ear.hears_nothing()


def test_chore_signs_nothing_of_a_key_that_nobody_has(ear: Ear) -> None:
    request = factories.opened(SESSION)
    flip(request, tenant_id="ghost")
    entry = approval_of(request, form=3, signature=UNKNOWN)
    move_head(entry)

    checkpoints.sign_moved_heads()

    assert not record_trust.is_vouched_for(entry)
    assert hears_nothing(ear)
    assert verified()[0] == 1


def test_chain_by_an_unknown_key_is_not_vouched_for() -> None:
    checkpoints.sign_moved_heads()
    AuditChain.objects.create(tenant_id="ghost")
    move_head(stray(1, tenant_id="ghost", fits=True, signature=UNKNOWN))

    assert checkpoints.sign_moved_heads() == 0
    assert verified()[:2] == (3, {("unvouched", "ghost")})


def test_update_cannot_be_reopened_by_a_record_with_a_low_key(ear: Ear) -> None:
    request = factories.opened(SESSION)
    flip(request)
    entry = approval_of(request, form=2)
    forged = stray(-1, tenant_id="ghost", at=timezone.now() + timedelta(days=3650))
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(id) FROM hitl_auditrecord")
        lowest = cursor.fetchone()[0]
    AuditRecord(
        **{
            field.attname: getattr(forged, field.attname)
            for field in forged._meta.fields
            if field.attname not in ("id", "sequence")
        },
        pk=lowest - 5,
        sequence=-2,
    ).save(force_insert=True)
    record_signatures._first_of_all.clear()

    assert not record_trust.is_vouched_for(entry)
    assert hears_nothing(ear)


@pytest.mark.parametrize(("form", "signature"), [(2, ""), (3, UNKNOWN)])
def test_record_that_an_acknowledged_break_skips_is_never_believed(
    ear: Ear, form: int, signature: str
) -> None:
    request = factories.opened(SESSION)
    flip(request)
    entry = approval_of(request, form=form, signature=signature)
    acknowledge(system_actor("tenant1"), "ticket")
    checkpoints.sign_head("tenant1")

    assert not record_trust.is_vouched_for(entry)
    assert hears_nothing(ear)


def test_request_that_was_put_right_under_the_lock_is_not_decided_as_it_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = a_policy("delete_*", min_approvals=2)
    request = factories.opened(SESSION)
    rows = ApprovalRequest.objects.filter(pk=request.pk)
    rows.update(policy_id=None, message="Read one mail?")
    compared = request_record._differences

    def differences(row: ApprovalRequest, records: Any) -> list[str]:
        result = compared(row, records)
        rows.update(policy_id=policy.pk, message=request.message)
        return result

    monkeypatch.setattr(request_record, "_differences", differences)

    with pytest.raises(errors.RequestChanged):
        services.approve(request.request_id, factories.actor())
    assert rows.get().status == "pending"


def test_votes_that_are_added_between_check_and_vote_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a_policy("delete_*", min_approvals=2)
    request = factories.opened(SESSION)
    compared = request_record.differences

    def differences(row: ApprovalRequest, records: Any) -> list[str]:
        result = compared(row, records)
        ApprovalRequest.objects.filter(pk=row.pk).update(approvals=1)
        return result

    monkeypatch.setattr(request_record, "differences", differences)

    with pytest.raises(errors.RequestChanged):
        services.approve(request.request_id, factories.actor())
    request.refresh_from_db()
    assert (request.status, request.votes.count()) == ("pending", 0)
    assert AuditRecord.objects.get(event="decision:refused").request_id == request.request_id


def test_votes_of_several_people_at_once_are_all_counted() -> None:
    a_policy("delete_*", min_approvals=4)
    request = factories.opened(SESSION)
    voters = [factories.actor(Person(f"voter{n}", TENANT, "approver")) for n in range(4)]

    together([partial(services.approve, request.request_id, voter) for voter in voters])

    request.refresh_from_db()
    assert (request.status, request.approvals) == ("approved", 4)


def test_id_that_was_opened_again_in_another_tenant_is_not_decided(ear: Ear) -> None:
    request = factories.opened(SESSION, request_id="order-18")
    ApprovalRequest.objects.filter(pk=request.pk).delete()
    SessionOwner.objects.filter(session_id=SESSION).update(
        tenant_id=OUTSIDER.tenant_id, user_id=OUTSIDER.user_id
    )
    harmless = factories.question(SESSION, request_id="order-18", message="Read?")
    services.open_request(harmless, factories.actor(OUTSIDER), Origin.REST)

    with pytest.raises(errors.RequestChanged):
        services.approve("order-18", factories.actor(OUTSIDER))
    assert ear.hears_nothing()


def test_id_that_was_opened_twice_is_not_decided_and_named() -> None:
    harmless = factories.question(SESSION, request_id="order-19", message="Read?")
    first, _ = services.open_request(harmless, factories.actor(REQUESTER), Origin.REST)
    columns: dict[str, Any] = {**ApprovalRequest.objects.filter(pk=first.pk).values().get()}
    ApprovalRequest.objects.filter(pk=first.pk).delete()
    second = factories.opened(SESSION, request_id="order-19")
    del columns["id"]
    ApprovalRequest.objects.filter(pk=second.pk).update(**columns)

    with pytest.raises(errors.RequestChanged):
        services.approve("order-19", factories.actor())
    assert "openings" in {each.what for each in compare.compare_tenant("tenant1").differences}


def test_approval_answers_no_other_question_of_its_id() -> None:
    factories.opened(SESSION, request_id="order-17")
    services.approve("order-17", factories.actor())
    other = factories.question(SESSION, request_id="order-17", message="Delete everything?")
    asker = factories.actor(REQUESTER)
    ApprovalRequest.objects.update(body_digest=opening._body_digest(other, asker))

    with pytest.raises(errors.RequestChanged):
        services.open_request(other, asker, Origin.REST)


def test_kept_answer_that_was_changed_is_not_given() -> None:
    api, body = Api(), {"sessionId": SESSION, "actionType": "delete_mail", "message": "Delete?"}
    key = {"Idempotency-Key": "k1"}
    first = api.send("POST", "/aura/hitl/requests", REQUESTER, body, headers=key)
    again = api.send("POST", "/aura/hitl/requests", REQUESTER, body, headers=key)
    kept = KeptAnswer.objects.get()
    KeptAnswer.objects.update(body=kept.body.replace("pending", "approved"))

    forged = api.send("POST", "/aura/hitl/requests", REQUESTER, body, headers=key)

    assert (first.status, again.content) == (201, first.content)
    assert forged.refusal == (422, "E3008")


def test_acknowledgement_by_an_unknown_key_skips_nothing() -> None:
    request = factories.opened(SESSION)
    services.reject(request.request_id, factories.actor(), reason="no")
    skipped = breaks.SkippedRecords()
    for each in AuditRecord.objects.filter(tenant_id="tenant1").order_by("sequence"):
        skipped.add(each)
    details: dict[str, Any] = {
        "kind": "inserted",
        "head": {"sequence": 1, "hash": ""},
        "after": 0,
        "reason": "",
    }
    details |= {"skipped": skipped.count, "skippedDigest": skipped.hexdigest()}
    entry = stray(
        head_of().last_sequence + 1,
        event=AuditEvent.BREAK_ACKNOWLEDGED,
        details=canonical(details | {"records": [], "outside": []}),
        fits=True,
        signature=UNKNOWN,
    )
    move_head(entry)

    assert ("chain", "tenant1") in {name[:2] for name in verified()[1]}


@pytest.mark.parametrize("event", [AuditEvent.BREAK_ACKNOWLEDGED, AuditEvent.POLICY_CREATED])
def test_record_that_cannot_be_read_keeps_no_other_chain_from_being_signed(
    event: AuditEvent,
) -> None:
    factories.opened(SESSION)
    AuditChain.objects.create(tenant_id="!")
    details = (
        '{"kind":"inserted","head":{"sequence":Infinity},"after":0,"skipped":0,'
        '"policy":{"pattern":"x","version":Infinity},"after":{}}'
    )
    move_head(stray(1, tenant_id="!", event=event, details=details, fits=True, signature=UNKNOWN))

    assert checkpoints.sign_moved_heads() == 1
    assert verified()[:2] == (3, {("unvouched", "!")})


def test_acknowledgement_keeps_what_this_deployment_signed() -> None:
    request = factories.opened(SESSION)
    services.approve(request.request_id, factories.actor())
    first = AuditRecord.objects.get(tenant_id="tenant1", sequence=1)
    move_head(first)

    acknowledge(system_actor("tenant1"), "ticket")

    checkpoints.sign_moved_heads()
    assert verified()[:2] == (0, set())


def test_unsigned_record_in_front_of_an_acknowledged_break_is_named() -> None:
    factories.opened(SESSION)
    unsigned = stray(head_of().last_sequence + 1, previous_hash=head_of().last_hash, fits=True)
    move_head(unsigned)
    stray(unsigned.sequence + 1)
    acknowledge(system_actor("tenant1"), "ticket")

    assert ("chain", "tenant1", "unsigned") in verified()[1]


def test_signal_by_a_key_that_is_not_trusted_yet_waits(ear: Ear, settings: Settings) -> None:
    own = settings.AUDIT_SIGNING_KEY
    request = factories.opened(SESSION)
    settings.AUDIT_SIGNING_KEY = "bm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm4="
    flip(request)
    entry = approval_of(request, form=3)
    with_signature = record_signatures.sign(entry.hash)
    with no_triggers():
        AuditRecord.objects.filter(pk=entry.pk).update(signature=with_signature)
    settings.AUDIT_SIGNING_KEY = own

    assert hears_nothing(ear)
    assert OutboxEntry.objects.get().outcome == "pending"


@pytest.mark.parametrize("again", [False, True], ids=["early", "twice"])
def test_request_that_escalated_early_or_twice_is_not_decided(again: bool) -> None:
    a_policy("delete_*", **ESCALATING)
    opened_at = timezone.now() - timedelta(minutes=5 if again else 0)
    request = factories.opened(SESSION, timeout_seconds=60, now=opened_at)
    rows = ApprovalRequest.objects.filter(pk=request.pk)
    if again:
        services.expire_overdue(now=opened_at + timedelta(seconds=61))
        rows.update(escalated_at=None)
    else:
        rows.update(expires_at=timezone.now() - timedelta(seconds=1))
    services.expire_overdue()

    with pytest.raises(errors.RequestChanged):
        services.approve(request.request_id, factories.actor(ADMIN))


def test_second_end_and_an_early_one_are_named() -> None:
    taken_back = factories.opened(SESSION)
    services.reject(taken_back.request_id, factories.actor(), reason="no")
    rows = ApprovalRequest.objects.filter(pk=taken_back.pk)
    rows.update(status="pending", decided_at=None, decided_by="", decided_channel="", reason="")
    services.cancel(taken_back.request_id, factories.actor(REQUESTER))
    OutboxEntry.objects.all().delete()
    a_policy("pay_*", **ESCALATING)
    early = factories.opened("session-early", timeout_seconds=600)
    rows = ApprovalRequest.objects.filter(pk=early.pk)
    rows.update(expires_at=timezone.now() - timedelta(seconds=1))
    services.expire_overdue()
    rows.update(expires_at=early.expires_at)

    names = verified()[1]

    assert ("request", taken_back.request_id, "ends") in names
    assert ("request", early.request_id, "ended_early") in names


@pytest.mark.anyio
@pytest.mark.usefixtures("fresh_hub", "agents_reset")
async def test_gate_takes_no_other_requests_approval_for_its_own(settings: Settings) -> None:
    configure(settings, Resumer)
    session, task = await begun()
    asked = await question()
    await dies(session, task)
    other = await run_sync(lambda: factories.opened("session-other"))
    await run_sync(services.approve, other.request_id, factories.actor())

    def point_elsewhere() -> None:
        event = Event.objects.get(session=session, name="hitl")
        payload = event.payload.replace(asked.request_id, other.request_id)
        Event.objects.filter(pk=event.pk).update(payload=payload)

    await run_sync(point_elsewhere)
    names = await ended(session, await recovered(session))

    assert "tool_execution" not in names


@pytest.mark.anyio
@pytest.mark.usefixtures("fresh_hub", "agents_reset")
async def test_gate_takes_no_other_tenants_decision(settings: Settings) -> None:
    configure(settings, Asker)
    session, task = await begun()
    asked = await question()

    def decide_elsewhere() -> None:
        with transaction.atomic():
            rows = ApprovalRequest.objects.filter(pk=asked.pk)
            flip(rows.get(), tenant_id=OUTSIDER.tenant_id)
            move_head(approval_of(rows.get(), form=3, signature=UNKNOWN))
        checkpoints.sign_moved_heads()

    await run_sync(decide_elsewhere)
    await run_sync(lambda: wakeup.publish(services.wake_topic(asked.request_id)))
    names = await ended(session, task)

    assert "tool_execution" not in names
