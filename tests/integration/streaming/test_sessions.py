"""Sessions: begun, found again by an event id, cancelled (wire.md, 4.1 and 4.5)."""

from __future__ import annotations

import io

import pytest
from django.core.management import call_command
from pytest_django import DjangoCaptureOnCommitCallbacks

from hitl import services
from hitl.errors import MayNotDecide, SessionNotFound
from hitl.models import ApprovalRequest, AuditRecord, SessionOwner
from hitl.states import Origin
from streaming import events, log, replay, sessions
from streaming.agents.base import AgentEvent
from streaming.models import Session, SessionStatus
from tests import factories
from tests.integration.calls import Api
from tests.people import APPROVER, OUTSIDER, REQUESTER, Person

pytestmark = pytest.mark.django_db

PROMPT = "메일 3개를 삭제해주세요"
COLLEAGUE = Person("colleague", REQUESTER.tenant_id, "user")


@pytest.fixture
def session() -> Session:
    """A session of user123 with three events."""
    begun = begin()
    new = [AgentEvent("content", {"content": text, "chunk": True}) for text in "abc"]
    log.append(begun.pk, new, after=0, lease=1)
    return begun


def begin(person: Person = REQUESTER, **members: str) -> Session:
    return sessions.begin(
        sessions.Prompt(PROMPT, **members),  # type: ignore[arg-type]
        tenant_id=person.tenant_id,
        user_id=person.user_id,
    )


def session_of(
    cursor: str | None, prompt: str = PROMPT, person: Person = REQUESTER
) -> tuple[Session, int] | None:
    return sessions.find_by_cursor(
        cursor, prompt, tenant_id=person.tenant_id, user_id=person.user_id
    )


def test_begin_keeps_what_the_client_said() -> None:
    session = begin(thread_id="thread-1", agent_id="agent-7", source="BATCH", caller_type="AGENT")

    session.refresh_from_db()
    assert session.session_id.startswith("session_")
    assert (session.prompt, session.thread_id, session.status) == (PROMPT, "thread-1", "running")
    assert (session.agent_id, session.source, session.caller_type) == ("agent-7", "BATCH", "AGENT")


def test_begin_makes_the_session_its_users() -> None:
    session = begin()

    owner = SessionOwner.objects.get(session_id=session.session_id)
    assert (owner.tenant_id, owner.user_id, owner.origin) == ("tenant1", "user123", Origin.AGENT)


@pytest.mark.parametrize("sequence", [0, 1, 3])
def test_event_id_leads_to_its_session(session: Session, sequence: int) -> None:
    assert session_of(str(events.event_id(session.event_key, sequence))) == (session, sequence)


def test_event_id_leads_to_an_ended_session(session: Session) -> None:
    end = AgentEvent("end", {"message": "", "status": "completed"})
    log.append(session.pk, [end], after=3, lease=1, ending=SessionStatus.COMPLETED)

    assert session_of(str(events.event_id(session.event_key, 4))) == (session, 4)


@pytest.mark.parametrize("cursor", [None, "", "3", "event_123", "-1", "9" * 300, "1e9", " 7"])
def test_id_that_is_none_of_ours_leads_nowhere(session: Session, cursor: str | None) -> None:
    assert session_of(cursor) is None


def test_id_of_an_event_that_was_never_sent_leads_nowhere(session: Session) -> None:
    assert session_of(str(events.event_id(session.event_key, 4))) is None
    assert session_of(str(events.event_id(session.event_key + 1, 1))) is None


def test_event_ids_have_a_random_key_that_is_no_other_sessions() -> None:
    begun = [begin() for _ in range(20)]

    keys = [session.event_key for session in begun]
    assert len(set(keys)) == 20
    assert all(2**32 <= key < 2**33 for key in keys)
    assert keys != sorted(keys)


def test_key_that_another_session_has_is_drawn_again(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter([session.event_key, session.event_key, 2**32 + 5])
    monkeypatch.setattr(events, "new_key", lambda: next(drawn))

    assert begin().event_key == 2**32 + 5
    assert Session.objects.count() == SessionOwner.objects.count() == 2


def test_session_of_a_version_before_keeps_its_ids(session: Session) -> None:
    with_key = events.event_id(session.event_key, 1)
    assert session_of(str(events.event_id(session.pk, 1))) is None

    Session.objects.update(key=None)
    session.refresh_from_db()

    assert session_of(str(events.event_id(session.pk, 1))) == (session, 1)
    assert session_of(str(with_key)) is None
    assert replay.read(session.pk, 0).frames.startswith(f"id: {session.pk << 20 | 1}\n".encode())


@pytest.mark.django_db(transaction=True)
def test_update_writes_no_row_of_a_session() -> None:
    sql = io.StringIO()
    call_command("sqlmigrate", "streaming", "0003", stdout=sql)

    statements = [line.split()[:2] for line in sql.getvalue().splitlines() if line.endswith(";")]
    assert statements == [["BEGIN;"], ["ALTER", "TABLE"], ["CREATE", "UNIQUE"], ["COMMIT;"]]


def test_event_id_leads_nobody_elses_client_anywhere(session: Session) -> None:
    cursor = str(events.event_id(session.event_key, 1))

    assert session_of(cursor, person=COLLEAGUE) is None
    assert session_of(cursor, person=APPROVER) is None
    assert session_of(cursor, person=Person(REQUESTER.user_id, "tenant2", "user")) is None


@pytest.mark.parametrize("prompt", ["", PROMPT + " ", "another"])
def test_event_id_with_another_prompt_leads_nowhere(session: Session, prompt: str) -> None:
    assert session_of(str(events.event_id(session.event_key, 1)), prompt) is None


# --- cancelling ---------------------------------------------------------------------------


def cancel_path(session: Session) -> str:
    return f"/aura/sessions/{session.session_id}/cancel"


def asked_in(session: Session) -> ApprovalRequest:
    question = factories.question(session.session_id)
    request, _ = services.open_request(question, factories.actor(REQUESTER), Origin.AGENT)
    return request


def test_cancel_withdraws_the_question_and_flags_the_session(api: Api, session: Session) -> None:
    request = asked_in(session)

    answer = api.post(cancel_path(session), REQUESTER)

    assert (answer.status, answer.body["message"]) == (200, "Session cancelled")
    assert answer.data == {"sessionId": session.session_id, "status": "cancelled"}
    session.refresh_from_db()
    request.refresh_from_db()
    assert session.cancel_requested_at is not None
    assert request.status == "cancelled"
    assert AuditRecord.objects.get(event="request:cancelled").actor == "user123"


def test_cancel_again_says_the_same(api: Api, session: Session) -> None:
    first = api.post(cancel_path(session), REQUESTER)

    assert api.post(cancel_path(session), REQUESTER).facts == first.facts


def test_cancel_leaves_a_decision_that_was_made(api: Api, session: Session) -> None:
    request = asked_in(session)
    services.approve(request.request_id, factories.actor())

    assert api.post(cancel_path(session), REQUESTER).status == 200

    request.refresh_from_db()
    assert request.status == "approved"


def test_cancel_of_an_ended_session_tells_how_it_ended(api: Api, session: Session) -> None:
    end = AgentEvent("end", {"message": "", "status": "completed"})
    log.append(session.pk, [end], after=3, lease=1, ending=SessionStatus.COMPLETED)

    answer = api.post(cancel_path(session), REQUESTER)

    assert (answer.status, answer.body["message"]) == (200, "Session had already ended")
    assert answer.data["status"] == "completed"


@pytest.mark.parametrize("person", [REQUESTER, APPROVER], ids=["owner", "approver"])
def test_cancel_is_for_the_owner_and_approvers(api: Api, session: Session, person: Person) -> None:
    assert api.post(cancel_path(session), person).status == 200


def test_cancel_is_for_nobody_else(api: Api, session: Session) -> None:
    assert api.post(cancel_path(session), COLLEAGUE).refusal == (403, "E2001")
    missing = api.post("/aura/sessions/session_none/cancel", OUTSIDER)
    assert missing.refusal == (404, "E1004")
    assert api.post(cancel_path(session), OUTSIDER).facts == missing.facts


def test_cancel_refuses_in_the_words_of_the_service(session: Session) -> None:
    with pytest.raises(MayNotDecide):
        sessions.cancel(session.session_id, factories.actor(COLLEAGUE))
    for odd in ("../x", "a\x00", "🙂", "x" * 300, ""):
        with pytest.raises(SessionNotFound):
            sessions.cancel(odd, factories.actor())


def test_cancel_tells_the_runner_after_the_commit(
    session: Session, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        sessions.cancel(session.session_id, factories.actor())

    assert len(callbacks) == 1
    session.refresh_from_db()
    assert session.cancel_requested_at is not None


def test_find_is_by_tenant_and_where_given_user(session: Session) -> None:
    name = session.session_id

    assert sessions.find(name, tenant_id="tenant1") == session
    assert sessions.find(name, tenant_id="tenant1", user_id="user123") == session
    for tenant_id, user_id in (("tenant2", None), ("tenant1", "colleague")):
        with pytest.raises(SessionNotFound):
            sessions.find(name, tenant_id=tenant_id, user_id=user_id)
