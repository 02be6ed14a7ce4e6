"""The states of a request, and what each side shows of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hitl.actors import Actor, clock_actor
from hitl.audit import triggers
from hitl.delivery import wire
from hitl.models import ID_PATTERN, ApprovalRequest, Policy, is_id
from hitl.states import (
    DECIDED,
    DECIDED_ALONE,
    EVENT_OF,
    RISK_RANK,
    TRANSITIONS,
    ActorKind,
    AuditEvent,
    Channel,
    Status,
)

NOON = datetime(2026, 1, 16, 12, 0, 0, 123_900, tzinfo=UTC)


def test_every_end_starts_from_pending_and_is_final() -> None:
    assert TRANSITIONS.keys() == set(Status)
    assert TRANSITIONS[Status.PENDING] == set(Status) - {Status.PENDING}
    assert all(not TRANSITIONS[status] for status in Status if status != Status.PENDING)


def test_states_are_named_as_on_the_wire() -> None:
    assert Status.values == ["pending", "approved", "rejected", "expired", "cancelled"]
    assert {Status.APPROVED, Status.REJECTED} == DECIDED


def test_every_way_out_of_pending_has_an_audit_event() -> None:
    assert EVENT_OF.keys() == TRANSITIONS[Status.PENDING]
    assert {status: f"request:{status}" for status in EVENT_OF} == {
        status: str(event) for status, event in EVENT_OF.items()
    }
    assert all(":" in event for event in AuditEvent.values)


def test_risks_are_ordered_and_the_highest_are_decided_alone() -> None:
    ordered = sorted(["critical", "low", "", "high", "medium"], key=RISK_RANK.__getitem__)

    assert ordered == ["", "low", "medium", "high", "critical"]
    assert set(ordered[3:]) == DECIDED_ALONE


def test_actor_records_what_the_caller_said_and_no_empty_text() -> None:
    actor = Actor(
        "kim", "t", ActorKind.USER, Channel.REST, "user", source="BATCH", caller_type="AGENT"
    )

    assert actor.recorded == {"source": "BATCH", "callerType": "AGENT", "role": "user"}
    assert clock_actor("t").recorded == {}
    assert (clock_actor("t").id, clock_actor("t").kind) == ("clock", "clock")


@pytest.mark.parametrize("name", ["req_1", "a", "x" * 128, "A.b_c:d~e@f-9"])
def test_id_may_be(name: str) -> None:
    assert ID_PATTERN.fullmatch(name)


@pytest.mark.parametrize(
    "name", ["", "x" * 129, "../x", "a b", "a\n", "a\x00", "🙂", "가", "a/b", "²"]
)
def test_id_may_not_be(name: str) -> None:
    assert not ID_PATTERN.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    [
        *("req_1", "../x", "a b", " ", "🙂", "가", "a/b", "²", "a+b@x.com", "DOMAIN\\kim"),
        *("x" * 512, "🙂" * 128, "a\u2028b", "a\u202eb", "%2F", '"', "{}"),
    ],
)
def test_id_from_redis_may_be(name: str) -> None:
    assert is_id(name)


@pytest.mark.parametrize(
    "name",
    ["", "x" * 513, "🙂" * 129, "a\n", "\x00", "a\x1fb", "a\x7f", "a\x80", "a\x9fb", "\ud800"],
)
def test_id_from_redis_may_not_be(name: str) -> None:
    assert not is_id(name)


# --- representation (wire.md, 3.3 and 5.2) ------------------------------------------------


def request(status: Status, *, message: str = "?") -> ApprovalRequest:
    """Return a request that no database has seen."""
    return ApprovalRequest(
        request_id="req_1",
        session_id="session_1",
        tenant_id="tenant1",
        user_id="user123",
        action_type="delete_mail",
        message=message,
        context_text='{"b":1,"a":2}',
        context_digest="0" * 64,
        status=status,
        created_at=NOON,
        expires_at=NOON + timedelta(seconds=300),
        decided_at=None if status == Status.PENDING else NOON + timedelta(seconds=5),
        decided_by="" if status == Status.PENDING else "kim",
        reason="no" if status == Status.REJECTED else "",
    )


ALWAYS = {
    "requestId": "req_1",
    "sessionId": "session_1",
    "userId": "user123",
    "tenantId": "tenant1",
    "actionType": "delete_mail",
    "context": {"b": 1, "a": 2},
    "createdAt": 1768564800123,
    "message": "?",
    "expiresAt": 1768565100123,
    "contextDigest": "0" * 64,
    # Over the context as it is stored, which is another one than `context_digest` says.
    "requestDigest": "4ff23fb5945db0e4bcad8d0b5b77eb106073e2314cd5e495c72527e28d48843f",
}
DECISION = {
    Status.APPROVED: {"approvedBy": "kim", "approvedAt": 1768564805123},
    Status.REJECTED: {"rejectedBy": "kim", "rejectedAt": 1768564805123, "reason": "no"},
}


@pytest.mark.parametrize("status", Status)
def test_document_has_exactly_what_is_known(status: Status) -> None:
    found = wire.document(request(status))

    assert found == {**ALWAYS, "status": str(status), **DECISION.get(status, {})}
    assert list(found["context"]) == ["b", "a"]


def test_document_leaves_out_an_empty_message() -> None:
    assert "message" not in wire.document(request(Status.PENDING, message=""))


def test_document_has_the_risk_that_the_policy_gives() -> None:
    for risk in ("", "high"):
        asked = request(Status.PENDING)
        asked.policy = Policy(pattern="delete_*", version=1, risk=risk)

        document = wire.document(asked)

        assert document.get("risk", "") == risk
        assert ("risk" in document) == bool(risk)


def test_decision_is_what_clients_rely_on() -> None:
    approved = wire.decision(request(Status.APPROVED))
    rejected = wire.decision(request(Status.REJECTED))

    assert approved == {"requestId": "req_1", "sessionId": "session_1", "status": "approved"}
    assert rejected == {**approved, "status": "rejected", "reason": "no"}


def test_signal_has_exactly_these_members_in_this_order() -> None:
    approval = wire.signal(request(Status.APPROVED))
    rejection = wire.signal(request(Status.REJECTED))

    assert list(approval.items()) == [
        ("type", "approval"),
        ("requestId", "req_1"),
        ("status", "approved"),
        ("timestamp", 1768564805),
    ]
    assert list(rejection.items()) == [
        ("type", "rejection"),
        ("requestId", "req_1"),
        ("status", "rejected"),
        ("reason", "no"),
        ("timestamp", 1768564805),
    ]


def test_signal_of_what_is_pending_is_an_error() -> None:
    with pytest.raises(ValueError, match="not decided"):
        wire.signal(request(Status.PENDING))


@pytest.mark.parametrize("status", [Status.EXPIRED, Status.CANCELLED])
def test_signal_of_what_ended_without_a_decision_is_an_error(status: Status) -> None:
    # Nothing but the two shapes of a decision may ever reach an agent (wire.md, 5.2).
    with pytest.raises(ValueError, match="not decided"):
        wire.signal(request(status))


def test_triggers_are_about_the_table_of_the_model() -> None:
    from hitl.models import AuditRecord

    assert AuditRecord._meta.db_table == triggers.TABLE
