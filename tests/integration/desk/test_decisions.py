"""Deciding from the operators' pages: the same service, and the operator in the audit."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
import redis
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import Client, TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from dwp_project.gateway.models import Membership
from hitl import services
from hitl.adoption.scanner import Scanner
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry
from tests import factories, ruling
from tests.integration import redis_agents
from tests.integration.calls import browser
from tests.integration.outages import no_database, no_redis
from tests.people import OUTSIDER

pytestmark = pytest.mark.django_db

LIST = "/admin/hitl/approvalrequest/"
_FIELD = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


def signed_in(
    role: str | None = "approver", username: str = "desk", *, is_superuser: bool = False
) -> Client:
    return client_of(factories.user(username, role=role, is_staff=True, is_superuser=is_superuser))


def client_of(user: User) -> Client:
    return browser(user, headers={"user-agent": "browser/1"})


def page_of(request: ApprovalRequest) -> str:
    return f"{LIST}{request.pk}/change/"


def decide(client: Client, request: ApprovalRequest, **fields: str) -> str:
    """Send the page's form and return the page that follows."""
    shown = {"digest": request.context_digest, **fields}
    answer = client.post(f"{LIST}{request.pk}/decide/", shown, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def act(client: Client, action: str, *requests: ApprovalRequest) -> HttpResponse:
    """Take an action of the list and confirm it; return the page that follows."""
    keys = [str(request.pk) for request in requests]
    answer = client.post(LIST, {"action": action, "_selected_action": keys}, follow=True)
    fields = _FIELD.findall(answer.content.decode())
    if ("confirmed", "1") in fields:
        form: dict[str, list[str]] = {"typed": [str(len(requests))]}
        for name, value in fields:
            form.setdefault(name, []).append(value)
        answer = client.post(f"{LIST}many/", form, follow=True)
    assert isinstance(answer, HttpResponse)
    return answer


@pytest.mark.parametrize("role", ["approver", "admin"])
def test_page_approves_and_records_the_operator(role: str) -> None:
    request = factories.opened()
    client = signed_in(role)
    page = client.get(page_of(request)).content.decode()
    assert 'name="approve"' in page
    assert 'name="reject"' in page

    assert "is now approved" in decide(client, request, approve="1")

    request.refresh_from_db()
    assert (request.status, request.decided_by) == ("approved", "desk")
    assert request.decided_channel == "admin"
    record = AuditRecord.objects.get(event="request:approved")
    assert (record.actor, record.actor_kind, record.channel) == ("desk", "operator", "admin")
    assert (record.source_address, record.user_agent) == ("127.0.0.1", "browser/1")
    assert OutboxEntry.objects.get().request == request


@pytest.mark.django_db(transaction=True)
def test_page_says_that_the_signal_waits_for_redis(settings: Settings) -> None:
    request = factories.opened()
    client = signed_in("approver")

    with no_redis(settings):
        page = decide(client, request, approve="1")

    assert "is now approved" in page
    assert "Redis is away" in page


@pytest.mark.django_db(transaction=True)
def test_pages_say_that_the_database_is_away() -> None:
    client = signed_in("approver")
    client.raise_request_exception = False

    with no_database():
        answer = client.get(LIST)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert "The database is away. Try again" in answer.content.decode()


@pytest.mark.parametrize(
    ("typed", "reason"),
    [("아직 아님", "아직 아님"), ("  ", "User rejected"), ("x" * 11_000, "x" * 10_000)],
)
def test_page_rejects_with_a_reason(typed: str, reason: str) -> None:
    request = factories.opened()

    decide(signed_in(), request, reject="1", reason=typed)

    request.refresh_from_db()
    assert (request.status, request.reason) == ("rejected", reason)
    assert AuditRecord.objects.get(event="request:rejected").actor_kind == "operator"


@pytest.mark.parametrize(
    ("typed", "comment"),
    [("두 줄\r\nlines", "두 줄\nlines"), (" \r\n ", ""), ("x" * 11_000, "x" * 10_000)],
)
def test_page_approves_with_a_comment(typed: str, comment: str) -> None:
    request = factories.opened()
    client = signed_in()
    assert 'name="comment"' in client.get(page_of(request)).content.decode()

    decide(client, request, approve="1", comment=typed)

    request.refresh_from_db()
    assert (request.status, request.comment) == ("approved", comment)
    details = json.loads(AuditRecord.objects.get(event="request:approved").details)
    assert details.get("comment", "") == comment


@pytest.mark.parametrize("language", ["en", "ko"])
def test_page_leads_to_the_reason_that_the_policy_wants(language: str) -> None:
    ruling.a_policy("delete_*", reason_required=True)
    request = factories.opened()
    client = signed_in()

    spoken = {"accept-language": language}
    shown = {"digest": request.context_digest, "reject": "1"}
    answer = client.post(f"{LIST}{request.pk}/decide/", shown, headers=spoken)
    page = client.get(answer["Location"], headers=spoken).content.decode()

    assert answer["Location"].endswith("#id_reason")
    message = page.split('<ul class="messagelist">')[1].split("</ul>")[0]
    assert {"en": "wants a reason", "ko": "거절 사유가 필요합니다"}[language] in message
    assert "reason:" not in message


def test_page_votes_with_a_comment_that_the_next_to_vote_reads() -> None:
    ruling.a_policy("delete_*", min_approvals=2)
    request = factories.opened()

    decide(signed_in(), request, approve="1", comment="the customer agreed")

    details = json.loads(AuditRecord.objects.get(event="request:voted").details)
    assert details["comment"] == "the customer agreed"
    other = signed_in(username="other")
    assert "the customer agreed" in other.get(page_of(request)).content.decode()


@pytest.mark.parametrize(
    ("action", "status"), [("approve_selected", "approved"), ("reject_selected", "rejected")]
)
def test_action_decides_what_is_selected(action: str, status: str) -> None:
    first, second, other = (factories.opened() for _ in range(3))

    page = act(signed_in(), action, first, second).content.decode()

    assert "2 requests decided" in page
    states = dict(ApprovalRequest.objects.values_list("pk", "status"))
    assert states == {first.pk: status, second.pk: status, other.pk: "pending"}
    records = AuditRecord.objects.filter(event=f"request:{status}")
    assert {record.actor for record in records} == {"desk"}


def test_action_says_which_requests_it_could_not_decide() -> None:
    decided, pending = factories.opened(), factories.opened()
    services.reject(decided.request_id, factories.actor(), reason="no")

    page = act(signed_in(), "approve_selected", decided, pending).content.decode()

    assert "1 request decided" in page
    assert f"({decided.request_id}) was already rejected by approver1" in page
    decided.refresh_from_db()
    assert decided.status == "rejected"


def test_decision_that_comes_second_changes_nothing() -> None:
    request = factories.opened()
    services.reject(request.request_id, factories.actor(), reason="no")

    page = decide(signed_in(), request, approve="1")

    assert re.search(
        r"already rejected by approver1 at <time [^>]+>[0-9:]{8}</time>\. Nothing", page
    )
    request.refresh_from_db()
    assert (request.status, request.decided_by) == ("rejected", "approver1")
    assert OutboxEntry.objects.count() == 1


def test_page_of_an_expired_or_cancelled_request_offers_no_decision() -> None:
    expired = factories.opened(now=timezone.now() - timedelta(seconds=301))
    cancelled = factories.opened()
    services.cancel(cancelled.request_id, factories.actor())
    client = signed_in()

    for request in (expired, cancelled):
        assert 'name="approve"' not in client.get(page_of(request)).content.decode()
        decide(client, request, approve="1")
        request.refresh_from_db()
        assert request.status in ("expired", "cancelled")


def test_viewer_sees_requests_and_decides_none() -> None:
    request = factories.opened()
    client = signed_in("viewer")

    assert 'name="approve"' not in client.get(page_of(request)).content.decode()
    assert "approve_selected" not in client.get(LIST).content.decode()
    for _ in (decide(client, request, approve="1"), act(client, "approve_selected", request)):
        request.refresh_from_db()
        assert request.status == "pending"


def test_approver_of_one_tenant_decides_nothing_where_they_are_a_viewer() -> None:
    request = factories.opened(by=OUTSIDER)
    client = signed_in("approver")
    user = User.objects.get(username="desk")
    Membership.objects.create(user=user, tenant_id="tenant2", role="viewer")
    client.force_login(user)
    assert "approve_selected" in client.get(LIST).content.decode()
    assert 'name="approve"' not in client.get(page_of(request)).content.decode()

    act(client, "approve_selected", request)
    decide(client, request, reject="1")

    request.refresh_from_db()
    assert request.status == "pending"


def test_viewer_does_not_decide_their_own_request() -> None:
    request = factories.opened()  # by user123
    client = signed_in("viewer", username="user123")

    decide(client, request, approve="1")

    request.refresh_from_db()
    assert request.status == "pending"


@pytest.mark.parametrize("role", [None, "approver"])
def test_superuser_decides_in_no_tenant_they_do_not_belong_to(role: str | None) -> None:
    request = factories.opened(by=OUTSIDER)
    client = signed_in(role, is_superuser=True)
    if role is None:
        assert "approve_selected" not in client.get(LIST).content.decode()

    decide(client, request, approve="1")
    act(client, "approve_selected", request)

    request.refresh_from_db()
    assert request.status == "pending"


@pytest.mark.parametrize(("is_staff", "is_active"), [(False, True), (True, False)])
def test_decision_is_for_active_staff_only(is_staff: bool, is_active: bool) -> None:
    request = factories.opened()
    user = factories.user("desk", role="approver", is_staff=is_staff, is_active=is_active)
    client = client_of(user)

    assert client.post(f"{LIST}{request.pk}/decide/", {"approve": "1"}).status_code == 302

    request.refresh_from_db()
    assert request.status == "pending"


def test_decision_needs_the_forms_token() -> None:
    request = factories.opened()
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.user("desk", role="approver", is_staff=True))

    assert client.post(f"{LIST}{request.pk}/decide/", {"approve": "1"}).status_code == 403

    request.refresh_from_db()
    assert request.status == "pending"


def test_get_of_the_decision_address_decides_nothing() -> None:
    request = factories.opened()
    client = signed_in()

    assert client.get(f"{LIST}{request.pk}/decide/?approve=1").status_code == 302
    assert client.post(f"{LIST}{request.pk}/decide/").status_code == 302
    assert client.post(f"{LIST}999999/decide/", {"approve": "1"}).status_code == 302

    request.refresh_from_db()
    assert request.status == "pending"


@pytest.mark.parametrize("fields", [{}, {"delete": "1"}, {"comment": "yes"}])
def test_form_without_a_decision_says_that_nothing_was_decided(fields: dict[str, str]) -> None:
    request = factories.opened()

    page = decide(signed_in(), request, **fields)

    assert "The form said neither approve nor reject. Nothing was decided." in page
    request.refresh_from_db()
    assert request.status == "pending"


def test_form_that_says_approve_and_reject_decides_nothing() -> None:
    request = factories.opened()

    page = decide(signed_in(), request, approve="1", reject="1")

    assert "The form said both approve and reject. Nothing was decided." in page
    request.refresh_from_db()
    assert request.status == "pending"


@pytest.mark.parametrize("method", ["get", "post"])
def test_decision_on_no_request_of_ours_says_that_nothing_was_decided(method: str) -> None:
    foreign = factories.opened(by=OUTSIDER)
    client = signed_in()

    pages = [
        getattr(client, method)(f"{LIST}{pk}/decide/", {"approve": "1"}, follow=True)
        for pk in (foreign.pk, 999_999)
    ]

    for page in pages:
        [message] = page.context["messages"]
        assert str(message) == "There is no such request in your tenants. Nothing was decided."
    foreign.refresh_from_db()
    assert foreign.status == "pending"


SHARED = "session_user123_1706152860"


@pytest.mark.parametrize(
    ("older_age", "before", "after"),
    [
        (3.5, "So if you approve, the agent is not told.", "The agent is not told: another agent"),
        (250.0, "So if you approve, the agent is told only then.", "The agent is told only at"),
    ],
)
def test_operator_is_warned_before_and_after_of_an_approval_that_is_withheld(
    redis_client: redis.Redis, older_age: float, before: str, after: str
) -> None:
    redis_agents.asks(redis_client, SHARED, age=older_age)
    redis_agents.asked(redis_client, SHARED)
    older, newer = ApprovalRequest.objects.order_by("created_at")
    until = timezone.localtime(older.created_at + timedelta(seconds=310)).strftime("%H:%M:%S")
    client = signed_in()

    page = client.get(page_of(newer)).content.decode()
    assert re.search(
        rf"an earlier question of this session, until <time [^>]+>{until}</time>\.", page
    )
    assert before in page
    many = client.post(
        f"{LIST}many/", {"decision": "approve", "item": [f"{newer.pk}:{newer.context_digest}"]}
    ).content.decode()
    assert before in many
    assert "another agent" not in client.get(page_of(older)).content.decode().lower()

    # A page is committed with its answer; the signal is looked at then.
    with TestCase.captureOnCommitCallbacks(execute=True):
        services.approve(newer.request_id, factories.actor())
    page = client.get(page_of(newer)).content.decode()
    assert after in page
    assert "withheld" in client.get("/admin/hitl/outboxentry/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_message_after_an_approval_says_that_the_agent_is_not_told(
    redis_client: redis.Redis,
) -> None:
    redis_agents.asks(redis_client, SHARED, age=3.5)
    redis_agents.asked(redis_client, SHARED)
    newer = ApprovalRequest.objects.latest("created_at")

    message = decide(signed_in(), newer, approve="1")

    assert "is now approved. The agent is not told: another agent of its session" in message


def test_operator_is_warned_of_a_question_that_is_not_adopted(
    redis_client: redis.Redis,
) -> None:
    redis_agents.asks(redis_client, SHARED, age=3.5, tenantId=None)
    redis_agents.asked(redis_client, SHARED)
    request = ApprovalRequest.objects.get()
    client = signed_in()
    before = "So if you approve, the agent is not told."
    form = {"decision": "approve", "item": [f"{request.pk}:{request.context_digest}"]}

    assert before in client.get(page_of(request)).content.decode()
    assert before in client.post(f"{LIST}many/", form).content.decode()


@pytest.mark.django_db(transaction=True)
def test_approval_that_is_withheld_for_good_is_reported_as_a_warning(
    redis_client: redis.Redis,
) -> None:
    for session_id, age in ((SHARED, 3.5), ("session-soon", 250.0)):
        redis_agents.asks(redis_client, session_id, age=age)
        redis_agents.asked(redis_client, session_id)
    client, levels = signed_in(), {}
    for session_id in (SHARED, "session-soon"):
        request = ApprovalRequest.objects.filter(session_id=session_id).latest("created_at")
        form = {"approve": "1", "digest": request.context_digest}
        answer = client.post(f"{LIST}{request.pk}/decide/", form, follow=True)
        [message] = answer.context["messages"]
        levels[session_id] = message.level_tag
        # It is decided all the same: the page goes on.
        assert page_of(request) not in [url for url, _ in answer.redirect_chain]

    assert levels == {SHARED: "warning", "session-soon": "success"}


def test_operator_is_not_warned_where_nobody_else_waits(redis_client: redis.Redis) -> None:
    redis_agents.asked(redis_client, SHARED)
    factories.opened("session-here")
    factories.opened("session-here")
    client = signed_in()

    for request in ApprovalRequest.objects.all():
        assert 'class="withheld"' not in client.get(page_of(request)).content.decode()


def test_confirming_many_asks_once_who_else_waits(redis_client: redis.Redis) -> None:
    for _ in range(3):
        redis_agents.asks(redis_client, SHARED, age=3.5)
        redis_agents.asks(redis_client, factories.a_session_id(), age=3.5)
    Scanner().scan()
    client, statements = signed_in(), []
    for count in (2, 6):
        requests = ApprovalRequest.objects.all()[:count]
        items = [f"{request.pk}:{request.context_digest}" for request in requests]
        with CaptureQueriesContext(connection) as queries:
            client.post(f"{LIST}many/", {"decision": "approve", "item": items})
        statements.append(len(queries))

    assert statements[0] == statements[1]
