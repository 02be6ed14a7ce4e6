"""What the audit records, and how each record follows the one before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256

import pytest
import redis
from django.db import transaction
from django.utils import timezone

from hitl import services
from hitl.audit import compare_requests, diagnose, hashing
from hitl.audit import record as audit_record
from hitl.audit import verify as audit_verify
from hitl.audit.request_digest import request_digest
from hitl.models import AuditChain, AuditRecord
from hitl.states import AuditEvent, Origin
from tests import factories, ruling
from tests.integration.chains import NOON, chain_of, record
from tests.integration.threads import together
from tests.people import APPROVER, OUTSIDER, REQUESTER, TENANT, Person

pytestmark = pytest.mark.django_db


def test_record_is_hashed_over_all_it_says_as_canonical_json() -> None:
    entry = record(session_id="session-1")

    facts = {
        "form": 3,
        "tenant": "tenant1",
        "sequence": 1,
        "event": "session:refused",
        "request": "",
        "session": "session-1",
        "action": "",
        "actor": "user123",
        "actorKind": "user",
        "channel": "rest",
        "at": "2026-01-16T12:00:00.123456+00:00",
        "sourceAddress": "",
        "userAgent": "",
        "contextDigest": "",
        "details": '{"role":"user"}',
        "previousHash": "0" * 64,
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert entry.hash == sha256(text.encode()).hexdigest()


def test_record_of_a_request_names_its_action() -> None:
    factories.opened()

    assert AuditRecord.objects.get().action_type == "delete_mail"
    assert hashing.facts(AuditRecord.objects.get())["action"] == "delete_mail"


def test_record_follows_the_one_before_it() -> None:
    first, second, third = chain_of(3)

    assert [first.sequence, second.sequence, third.sequence] == [1, 2, 3]
    assert (second.previous_hash, third.previous_hash) == (first.hash, second.hash)
    head = AuditChain.objects.get(tenant_id="tenant1")
    assert (head.last_sequence, head.last_hash) == (3, third.hash)


def test_tenants_have_chains_of_their_own() -> None:
    chain_of(2)
    foreign = record(OUTSIDER)

    assert (foreign.sequence, foreign.previous_hash) == (1, audit_record.GENESIS)
    assert audit_record.tenants() == ["tenant1", "tenant2"]
    result = audit_verify.verify("tenant2")
    assert isinstance(result, audit_verify.IntactChain)
    assert (result.records, result.head) == (1, foreign.hash)


def test_record_without_a_tenant_goes_to_the_deployments_chain() -> None:
    entry = record(Person("root", "", "admin"))

    assert (entry.tenant_id, entry.sequence) == ("", 1)
    assert audit_record.tenants() == [""]


@pytest.mark.django_db(transaction=True)
def test_record_outside_a_transaction_is_refused() -> None:
    with pytest.raises(RuntimeError, match="in the transaction of its change"):
        audit_record.write(AuditEvent.SESSION_REFUSED, factories.actor(), NOON)

    assert not AuditRecord.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_record_is_rolled_back_with_its_change() -> None:
    def fail_later() -> None:
        with transaction.atomic():
            record()
            raise LookupError

    with pytest.raises(LookupError):
        fail_later()

    assert not AuditRecord.objects.exists()
    assert record().sequence == 1


@pytest.mark.parametrize(
    ("end", "event", "who"),
    [
        (services.approve, "request:approved", "approver1"),
        (services.reject, "request:rejected", "approver1"),
        (services.cancel, "request:cancelled", "approver1"),
    ],
)
def test_every_transition_is_recorded(end: Callable[..., object], event: str, who: str) -> None:
    opened_at = timezone.now()
    ended_at = opened_at + timedelta(seconds=5)
    request = factories.opened(now=opened_at)

    end(request.request_id, factories.actor(), now=ended_at)

    opening, ending = AuditRecord.objects.order_by("sequence")
    assert (opening.event, opening.actor, opening.at) == ("request:opened", "user123", opened_at)
    assert (ending.event, ending.actor, ending.at) == (event, who, ended_at)
    for entry in (opening, ending):
        assert entry.request_id == request.request_id
        assert entry.session_id == request.session_id
        assert entry.context_digest == request.context_digest


def test_reason_of_a_rejection_is_recorded() -> None:
    request = factories.opened()

    services.reject(request.request_id, factories.actor(), reason="아직 아님")

    details = json.loads(AuditRecord.objects.get(event="request:rejected").details)
    assert details == {
        "reason": "아직 아님",
        "requestDigest": request_digest(request),
        "role": "approver",
    }


def test_comments_of_all_votes_are_recorded_and_the_last_is_kept() -> None:
    ruling.a_policy("delete_*", min_approvals=2)
    request = factories.opened()

    services.approve(request.request_id, factories.actor(APPROVER), comment="first")
    assert services.find(request.request_id, TENANT).comment == ""
    second = Person("approver2", TENANT, "approver")
    services.approve(request.request_id, factories.actor(second), comment="second")

    records = AuditRecord.objects.filter(event__in=["request:voted", "request:approved"])
    said = [json.loads(entry.details)["comment"] for entry in records.order_by("sequence")]
    assert said == ["first", "second"]
    request = services.read(request.request_id, TENANT)
    assert request.comment == "second"
    assert compare_requests.compare_request(request) == []


def test_decision_takes_its_time_from_the_caller() -> None:
    request = factories.opened(now=NOON)

    decided = services.approve(request.request_id, factories.actor(), now=NOON)

    assert decided.decided_at == NOON


@pytest.mark.django_db(transaction=True)
def test_records_of_16_threads_make_one_unbroken_chain() -> None:
    def write(number: int) -> None:
        for turn in range(5):
            record(session_id=f"{number}-{turn}")

    together([lambda n=n: write(n) for n in range(16)])  # type: ignore[misc]

    holds = audit_verify.verify("tenant1")
    assert isinstance(holds, audit_verify.IntactChain)
    assert holds.records == 80


@pytest.mark.django_db(transaction=True)
def test_chain_verifies_while_it_is_written(redis_client: redis.Redis) -> None:
    def write() -> list[audit_verify.IntactChain | diagnose.ChainBreak]:
        for _ in range(10):
            services.open_request(factories.question(), factories.actor(REQUESTER), Origin.REST)
        return []

    def verify() -> list[audit_verify.IntactChain | diagnose.ChainBreak]:
        return [audit_verify.verify("tenant1") for _ in range(20)]

    results = together([write, write, verify, verify])

    assert [
        result for chains in results for result in chains if isinstance(result, diagnose.ChainBreak)
    ] == []
