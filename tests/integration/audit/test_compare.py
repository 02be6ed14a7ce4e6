"""The tables are compared with what the audit says last, and what differs is named."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from io import StringIO

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from hitl import services
from hitl.audit import baseline, compare, compare_requests, recorded_requests, verify, verify_job
from hitl.audit.compare import Position
from hitl.audit.difference import ComparedKind, Difference
from hitl.audit.hashing import hash_of
from hitl.models import ApprovalRequest, AuditRecord
from hitl.states import AuditEvent
from tests import factories
from tests.integration.audit import everything, version_before
from tests.integration.calls import browser
from tests.people import APPROVER, TENANT

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("folder")]


def differences() -> list[Difference]:
    """Return what differs in all tenants."""
    return [
        difference
        for tenant in compare.tenants()
        for difference in compare.compare_tenant(tenant).differences
    ]


def names() -> set[tuple[str, str, str]]:
    return {(each.kind.value, each.name, each.what) for each in differences()}


def run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_nothing_differs_where_everything_has_happened_as_it_should(
    redis_client: redis.Redis,
) -> None:
    everything.happens(redis_client)

    results = [compare.compare_tenant(tenant) for tenant in compare.tenants()]

    assert [str(each) for result in results for each in result.differences] == []
    assert [dict(result.totals.not_comparable) for result in results] == [{}, {}, {}]
    compared = {kind.value: n for kind, n in results[1].totals.compared.items()}
    assert compared == {
        "policy": 8,
        "membership": 2,
        "request": 16,
        "vote": 4,
        "outbox": 6,
        "session": 16,
    }


def set_request(name: str, **values: str) -> str:
    changes = ", ".join(f"{column} = {value}" for column, value in values.items())
    return f"UPDATE hitl_approvalrequest SET {changes} WHERE request_id = '{name}'"  # noqa: S608


def of_request(name: str) -> str:
    return f"(SELECT id FROM hitl_approvalrequest WHERE request_id = '{name}')"  # noqa: S608


COPIED = (
    "session_id, tenant_id, user_id, origin, agent_id, action_type, message, context_text, "
    "context_digest, body_digest, status, created_at, expires_at, decided_at, decided_by, "
    "decided_channel, reason, approvals, policy_id"
)
INVENTED = (
    f"INSERT INTO hitl_approvalrequest (request_id, {COPIED}) "  # noqa: S608
    f"SELECT 'invented', {COPIED} FROM hitl_approvalrequest WHERE request_id = 'approved'"
)
FORGED_SIGNAL = (
    "INSERT INTO hitl_outboxentry (request_id, signal, created_at, attempts, receivers, outcome, "
    'due_at, error) SELECT id, \'{"type":"approval","requestId":"pending",'
    '"status":"approved","timestamp":1}\', created_at, 0, 0, \'pending\', created_at, \'\' '
    "FROM hitl_approvalrequest WHERE request_id = 'pending'"
)
VOTE_COLUMNS = "user_id, person, role, channel, voted_at"
TAMPERINGS: dict[str, tuple[str, set[tuple[str, str, str]]]] = {
    "status flipped": (
        set_request("rejected", status="'approved'"),
        {("request", "rejected", "status")},
    ),
    "decided without a decision": (
        set_request(
            "pending", status="'approved'", decided_at="created_at", decided_by="'approver1'"
        ),
        {("request", "pending", column) for column in ("status", "decided_at", "decided_by")},
    ),
    "decision undone": (
        set_request("cancelled", status="'pending'", decided_at="NULL"),
        {("request", "cancelled", "status"), ("request", "cancelled", "decided_at")},
    ),
    "decider": (
        set_request("approved", decided_by="'kim'"),
        {("request", "approved", "decided_by")},
    ),
    "time of the decision": (
        set_request("approved", decided_at="created_at"),
        {("request", "approved", "decided_at")},
    ),
    "channel of the decision": (
        set_request("approved", decided_channel="'admin'"),
        {("request", "approved", "decided_channel")},
    ),
    "reason": (set_request("rejected", reason="'ok'"), {("request", "rejected", "reason")}),
    "context": (
        set_request("pending", context_text="'{\"count\":300}'"),
        {("request", "pending", "context")},
    ),
    "context that is no JSON": (
        set_request("pending", context_text="'{'"),
        {("request", "pending", "context")},
    ),
    "digest of the context": (
        set_request("approved", context_digest="'0'"),
        {("request", "approved", "context")},
    ),
    "message": (
        set_request("approved", message="'Delete nothing?'"),
        {("request", "approved", "message")},
    ),
    "tenant": (
        set_request("approved", tenant_id="'tenant2'"),
        {("request", "approved", "tenant")},
    ),
    "requester": (set_request("pending", user_id="'kim'"), {("request", "pending", "user")}),
    "requester of an agent on Redis": (
        set_request("adopted", user_id="'kim'"),
        {("request", "adopted", "user")},
    ),
    "agent": (set_request("adopted", agent_id="'agent-8'"), {("request", "adopted", "agent")}),
    "action": (
        set_request("pending", action_type="'pay_bill'"),
        {("request", "pending", "action")},
    ),
    "origin": (set_request("pending", origin="'redis'"), {("request", "pending", "origin")}),
    "session": (
        set_request("pending", session_id="'session-many'"),
        {("request", "pending", "session")},
    ),
    "time of the opening": (
        set_request("pending", created_at="expires_at"),
        {("request", "pending", "created_at")},
    ),
    "term": (
        set_request("pending", expires_at="'2999-01-01 00:00:00+00:00'"),
        {("request", "pending", "expires_at")},
    ),
    "term after an escalation": (
        set_request("escalated", expires_at="'2999-01-01 00:00:00+00:00'"),
        {("request", "escalated", "expires_at")},
    ),
    "escalated without an escalation": (
        set_request("pending", escalated_at="created_at"),
        {("request", "pending", "escalated_at")},
    ),
    "policy taken away": (
        set_request("one-vote", policy_id="NULL"),
        {("request", "one-vote", "policy"), ("request", "one-vote", "rule")},
    ),
    "another version of the policy": (
        set_request(
            "one-vote", policy_id="(SELECT id FROM hitl_policy WHERE pattern = 'merge_*' LIMIT 1)"
        ),
        {("request", "one-vote", "policy"), ("request", "one-vote", "rule")},
    ),
    "request invented": (INVENTED, {("request", "invented", "invented")}),
    "request renamed": (
        set_request("pending", request_id="'invented'"),
        {("request", "invented", "invented"), ("request", "pending", "deleted")},
    ),
    "request deleted": (
        "DELETE FROM hitl_approvalrequest WHERE request_id = 'pending'",
        {("request", "pending", "deleted")},
    ),
    "votes counted that nobody gave": (
        set_request("one-vote", approvals="2"),
        {("vote", "one-vote", "approvals")},
    ),
    "vote invented": (
        f"INSERT INTO hitl_vote (request_id, {VOTE_COLUMNS}) "  # noqa: S608
        f"SELECT {of_request('one-vote')}, 'kim', 'kim', 'approver', 'rest', voted_at "
        f"FROM hitl_vote WHERE request_id = {of_request('one-vote')}",
        {("vote", "one-vote", "votes")},
    ),
    "vote of somebody else": (
        "UPDATE hitl_vote SET user_id = 'kim', person = 'kim' "  # noqa: S608
        f"WHERE request_id = {of_request('one-vote')}",
        {("vote", "one-vote", "votes")},
    ),
    "person behind a vote, who could vote again": (
        "UPDATE hitl_vote SET person = 'kim' "  # noqa: S608
        f"WHERE request_id = {of_request('one-vote')}",
        {("vote", "one-vote", "votes")},
    ),
    "vote deleted": (
        f"DELETE FROM hitl_vote WHERE request_id = {of_request('two-votes')} "  # noqa: S608
        "AND user_id = 'approver2'",
        {("vote", "two-votes", "votes")},
    ),
    "signal of a request that is pending": (FORGED_SIGNAL, {("outbox", "pending", "invented")}),
    "signal rewritten": (
        "UPDATE hitl_outboxentry SET signal = replace(replace(signal, 'rejection', 'approval'), "  # noqa: S608
        f"'rejected', 'approved') WHERE request_id = {of_request('rejected')}",
        {("outbox", "rejected", "signal")},
    ),
    "signal never sent": (
        "UPDATE hitl_outboxentry SET outcome = 'delivered', attempts = 0 "  # noqa: S608
        f"WHERE request_id = {of_request('approved')}",
        {("outbox", "approved", "outcome")},
    ),
    "signal deleted": (
        f"DELETE FROM hitl_outboxentry WHERE request_id = {of_request('approved')}",  # noqa: S608
        {("outbox", "approved", "deleted")},
    ),
    "owner of a session": (
        "UPDATE hitl_sessionowner SET user_id = 'kim' WHERE session_id = 'session-pending'",
        {("session", "session-pending", "user")},
    ),
    "tenant of a session": (
        "UPDATE hitl_sessionowner SET tenant_id = 'tenant2' WHERE session_id = 'session-many'",
        {("session", "session-many", "tenant")},
    ),
    "session without an owner": (
        "DELETE FROM hitl_sessionowner WHERE session_id = 'session-pending'",
        {("session", "session-pending", "deleted")},
    ),
    "rule of a policy": (
        "UPDATE hitl_policy SET min_approvals = 1 WHERE pattern = 'delete_*' AND version = 2",
        {
            ("policy", "delete_* v2", "rule"),
            *(
                ("request", name, "rule")
                for name in ("one-vote", "two-votes", "vote-and-no", "adopted", "answered")
            ),
            *(("request", f"many-{number}", "rule") for number in range(2)),
        },
    ),
    "policy retired": (
        "UPDATE hitl_policy SET is_retired = (1 = 1) WHERE pattern = 'pay_*'",
        {("policy", "pay_* v1", "is_retired")},
    ),
    "policy revived": (
        "UPDATE hitl_policy SET is_retired = (1 = 0) WHERE pattern = 'merge_*' AND is_current",
        {("policy", "merge_* v2", "is_retired")},
    ),
    "policy switched off": (
        "UPDATE hitl_policy SET is_current = (1 = 0) WHERE pattern = 'pay_*'",
        {("policy", "pay_* v1", "is_current")},
    ),
    "policy invented": (
        "INSERT INTO hitl_policy (tenant_id, pattern, version, min_approvals, forbid_requester, "
        "required_role, on_timeout, escalate_to_role, reason_required, is_current, is_retired, "
        "created_at, created_by) SELECT tenant_id, '*', 1, 1, forbid_requester, '', 'expire', '', "
        "reason_required, is_current, is_retired, created_at, created_by FROM hitl_policy "
        "WHERE pattern = 'pay_*'",
        {("policy", "* v1", "invented")},
    ),
    "policy deleted": (
        "DELETE FROM hitl_policy WHERE pattern = 'merge_*' AND version = 2",
        {("policy", "merge_* v2", "deleted")},
    ),
    "role of a member": (
        "UPDATE gateway_membership SET role = 'admin' WHERE role = 'approver'",
        {("membership", "desk2", "role")},
    ),
    "membership invented": (
        "INSERT INTO gateway_membership (user_id, tenant_id, role, created_at) "
        "SELECT user_id, 'tenant2', 'admin', created_at FROM gateway_membership "
        "WHERE role = 'approver'",
        {("membership", "desk2", "invented")},
    ),
    "membership in a tenant that never was": (
        "UPDATE gateway_membership SET tenant_id = 'tenant9' WHERE role = 'approver'",
        {("membership", "desk2", "invented"), ("membership", "desk2", "deleted")},
    ),
    "membership deleted": (
        "DELETE FROM gateway_membership WHERE role = 'approver'",
        {("membership", "desk2", "deleted")},
    ),
    "superuser": (
        "UPDATE auth_user SET is_superuser = (1 = 1) WHERE username = 'leaver'",
        {("account", "leaver", "isSuperuser")},
    ),
    "account switched on": (
        "UPDATE auth_user SET is_active = (1 = 1) WHERE username = 'leaver'",
        {("account", "leaver", "isActive")},
    ),
    "account of the staff": (
        "UPDATE auth_user SET is_staff = (1 = 1) WHERE username = 'leaver'",
        {("account", "leaver", "isStaff")},
    ),
    "account renamed": (
        "UPDATE auth_user SET username = 'kim' WHERE username = 'root'",
        {("account", "kim", "invented"), ("account", "root", "deleted")},
    ),
    "account invented": (
        "INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name, "
        "last_name, email, date_joined) SELECT 'kim', password, is_superuser, is_staff, is_active, "
        "'', '', '', date_joined FROM auth_user WHERE username = 'root'",
        {("account", "kim", "invented")},
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_change_by_sql_is_named(redis_client: redis.Redis, what: str) -> None:
    everything.happens(redis_client)
    statement, expected = TAMPERINGS[what]

    run(statement)

    assert names() == expected


def test_row_that_differs_has_a_sentence_that_says_how(redis_client: redis.Redis) -> None:
    everything.happens(redis_client)
    run(set_request("rejected", status="'approved'"))
    run("DELETE FROM hitl_approvalrequest WHERE request_id = 'pending'")
    run(INVENTED)

    assert [str(difference) for difference in differences()] == [
        "request rejected: status is “approved”, in the audit “rejected”.",
        "request invented: the audit has no record of it.",
        "request pending: the audit has it, the table does not.",
    ]


# --- reads in pieces ------------------------------------------------------------------------


def many_requests(count: int) -> None:
    for number in range(count):
        factories.opened(f"session-{number % 7}", request_id=f"req-{number}")


def test_thousand_requests_take_a_bounded_number_of_statements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compare, "_REQUESTS", 50)
    monkeypatch.setattr(compare, "_RECORDS", 200)
    many_requests(100)
    with CaptureQueriesContext(connection) as few:
        compare.compare_tenant(TENANT)
    for number in range(100):
        factories.opened("session-more", request_id=f"more-{number}")
    with CaptureQueriesContext(connection) as more:
        compare.compare_tenant(TENANT)

    # Two more pieces of requests with six statements each: so 1,000 take 12.
    assert len(more) - len(few) == 2 * 6
    assert all("OFFSET" not in query["sql"] for query in more.captured_queries)


def test_comparison_goes_on_where_an_earlier_one_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "_REQUESTS", 2)
    monkeypatch.setattr(compare, "_RECORDS", 2)
    many_requests(5)
    run(set_request("req-0", message="'?'"))
    run(set_request("req-4", message="'?'"))
    pieces = list(compare.compare(TENANT))

    for number, piece in enumerate(pieces[:-1]):
        rest = list(compare.compare(TENANT, piece.following))
        assert [each.comparison.differences for each in rest] == [
            each.comparison.differences for each in pieces[number + 1 :]
        ]
    assert pieces[-1].following is None
    assert [piece.following for piece in pieces[:2]] == [
        Position(compare.Step.REQUESTS, 0),
        Position(compare.Step.REQUESTS, ApprovalRequest.objects.order_by("pk")[1].pk),
    ]


def test_decision_that_commits_while_its_row_is_compared_is_no_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = factories.opened(request_id="req-1")
    read = recorded_requests.vouched_records_of

    def decide_first(request_ids: Collection[str]) -> Iterable[AuditRecord]:
        if ApprovalRequest.objects.get().status == "pending":
            services.approve("req-1", factories.actor(APPROVER))
        return read(request_ids)

    monkeypatch.setattr(recorded_requests, "vouched_records_of", decide_first)

    assert compare_requests.compare_request(request) == []
    assert ApprovalRequest.objects.get().status == "approved"


def test_one_request_is_compared_without_reading_others(redis_client: redis.Redis) -> None:
    everything.happens(redis_client)
    run(set_request("rejected", status="'approved'"))
    run(set_request("pending", message="''"))
    rejected = ApprovalRequest.objects.get(request_id="rejected")

    with CaptureQueriesContext(connection) as queries:
        (difference,) = compare_requests.compare_request(rejected)

    assert (difference.name, difference.what) == ("rejected", "status")
    assert len(queries) == 2 * 5  # to compare, and to confirm


def test_record_that_nobody_vouches_for_does_not_make_a_request_agree() -> None:
    request = factories.opened(request_id="req-1")
    services.reject("req-1", factories.actor(APPROVER))
    rejected = AuditRecord.objects.get(event=AuditEvent.REQUEST_REJECTED)
    run("UPDATE hitl_approvalrequest SET status = 'approved', reason = ''")
    forged = AuditRecord.objects.get(pk=rejected.pk)
    forged.pk, forged.sequence, forged.event = None, 3, AuditEvent.REQUEST_APPROVED
    forged.details, forged.previous_hash = "{}", rejected.hash
    forged.hash = hash_of(forged)
    forged.save()

    assert {each.what for each in compare_requests.compare_request(request)} >= {"status"}


@pytest.mark.parametrize("page", ["desk", "history"])
def test_page_of_a_request_that_differs_warns(page: str) -> None:
    request = factories.opened(request_id="req-1")
    services.reject("req-1", factories.actor(APPROVER))
    client = browser(factories.user("desk", role="viewer", is_staff=True))
    url = {
        "desk": f"/admin/hitl/approvalrequest/{request.pk}/change/",
        "history": "/admin/hitl/auditrecord/request/req-1/",
    }[page]
    before = client.get(url).content.decode()
    run("UPDATE hitl_approvalrequest SET status = 'approved', decided_by = '<b>'")

    after = client.get(url).content.decode()

    assert "differs" not in before
    assert '<div class="errornote differs" role="alert">' in after
    assert "request req-1: status is “approved”, in the audit “rejected”." in after
    assert "decided by is “&lt;b&gt;”, in the audit “approver1”." in after


# --- the command and the page's verification ----------------------------------------------------


def verify_audit(*args: str) -> str:
    out = StringIO()
    call_command("verify_audit", *args, stdout=out)
    return out.getvalue()


def test_command_names_what_differs_and_fails() -> None:
    factories.opened(request_id="req-1")
    services.reject("req-1", factories.actor(APPROVER))
    assert "  tables of tenant1 and audit: agree (" in verify_audit()
    run("UPDATE hitl_approvalrequest SET status = 'approved'")

    says = "Rows that differ from the audit: 1. The first: request req-1: status is “approved”"
    with pytest.raises(CommandError, match=says) as failure:
        verify_audit()
    assert failure.value.returncode == 1
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("verify_audit", "--json", "--tenant", TENANT, stdout=out)
    result = json.loads(out.getvalue())
    assert (result["holds"], result["agrees"], result["differing"]) == (True, False, {"request": 1})
    assert result["differences"][0]["what"] == "status"


def test_command_looks_at_tenants_that_have_rows_and_no_chain() -> None:
    factories.opened(request_id="req-1")
    verify_audit()
    run("UPDATE hitl_approvalrequest SET tenant_id = 'nobody'")

    with pytest.raises(CommandError, match="request req-1: tenant is “nobody”"):
        verify_audit()


def test_verification_on_the_page_names_what_differs_and_records_how_much() -> None:
    factories.opened(request_id="req-1")
    run("UPDATE hitl_approvalrequest SET message = ''")

    job, _is_new = verify_job.begin(factories.actor())
    verify_job.run(job)

    assert job.result is not None
    assert (job.result["holds"], job.result["differing"]) == (True, 1)
    assert job.result["differences"][0].startswith("request req-1: message is ")
    recorded = AuditRecord.objects.get(event=AuditEvent.AUDIT_VERIFIED)
    assert json.loads(recorded.details)["differing"] == 1


# --- records of the version before ------------------------------------------------------------


def not_comparable() -> dict[str, int]:
    totals: dict[str, int] = {}
    for tenant in compare.tenants():
        for kind, count in compare.compare_tenant(tenant).totals.not_comparable.items():
            totals[kind.value] = totals.get(kind.value, 0) + count
    return totals


def test_what_the_version_before_did_not_record_is_not_comparable_and_never_differs(
    redis_client: redis.Redis,
) -> None:
    everything.happens(redis_client)
    factories.user("unrecorded", role="viewer", is_superuser=True)
    version_before.wrote_everything()
    run(set_request("pending", message="'?'"))
    run(INVENTED)

    assert names() == set()
    assert not_comparable() == {
        "request": 18,
        "session": 17,
        "membership": 1,
        "account": 1,
    }


@pytest.mark.parametrize(
    "what",
    [
        *("status flipped", "decider", "reason", "context", "tenant", "requester", "action"),
        *("policy taken away", "vote invented", "votes counted that nobody gave"),
        *("signal rewritten", "signal of a request that is pending", "superuser"),
        *("role of a member", "membership deleted", "policy retired", "request deleted"),
    ],
)
def test_what_the_version_before_did_record_is_compared(
    redis_client: redis.Redis, what: str
) -> None:
    everything.happens(redis_client)
    version_before.wrote_everything()
    statement, expected = TAMPERINGS[what]

    run(statement)

    assert names() - {("request", "one-vote", "rule")} == expected - {
        ("request", "one-vote", "rule")
    }


def write_baselines() -> int:
    return sum(baseline.write(tenant) for tenant in reversed(compare.tenants()))


def test_baseline_is_written_once_and_makes_comparable_what_stands(
    redis_client: redis.Redis,
) -> None:
    everything.happens(redis_client)
    factories.user("unrecorded", role="viewer", is_superuser=True)
    version_before.wrote_everything()

    assert write_baselines() > 0
    assert write_baselines() == 0

    assert names() == set()
    pending = ApprovalRequest.objects.pending().count()
    ended = ApprovalRequest.objects.count() - pending
    # What has ended is compared with what its records say; an owner is known from the list.
    assert not_comparable() == {"request": ended, "session": ended}
    assert all(isinstance(verify.verify(name), verify.IntactChain) for name in verify.tenants())


AFTER_THE_BASELINE = {
    **{
        what: TAMPERINGS[what]
        for what in ("message", "term", "requester of an agent on Redis", "policy taken away")
        if what != "message"
    },
    "message": (
        set_request("pending", message="'Delete nothing?'"),
        {("request", "pending", "message")},
    ),
    "owner of a session without a question": (
        "UPDATE hitl_sessionowner SET user_id = 'kim' WHERE session_id = 'session-approved'",
        {("session", "session-approved", "user")},
    ),
    "request invented": TAMPERINGS["request invented"],
    "superuser without a record": (
        "UPDATE auth_user SET is_superuser = (1 = 1) WHERE username = 'unrecorded'",
        {("account", "unrecorded", "isSuperuser")},
    ),
    "member without a record": (
        "UPDATE gateway_membership SET role = 'admin' WHERE role = 'viewer' AND user_id IN "
        "(SELECT id FROM auth_user WHERE username = 'unrecorded')",
        {("membership", "unrecorded", "role")},
    ),
    "account invented": TAMPERINGS["account invented"],
    "membership invented": TAMPERINGS["membership invented"],
}


@pytest.mark.parametrize("what", AFTER_THE_BASELINE)
def test_change_after_the_baseline_is_named(redis_client: redis.Redis, what: str) -> None:
    everything.happens(redis_client)
    factories.user("unrecorded", role="viewer")
    version_before.wrote_everything()
    write_baselines()
    statement, expected = AFTER_THE_BASELINE[what]

    run(statement)

    assert names() == expected


def test_baseline_that_was_interrupted_is_carried_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "_REQUESTS", 2)
    monkeypatch.setattr(baseline, "_OWNERS", 2)
    many_requests(5)
    version_before.wrote_everything()
    write, calls = baseline._write, 0

    def fail_sometimes(*args: object) -> int:
        nonlocal calls
        calls += 1
        if calls in (4, 12):  # among the requests, and among the owners
            raise InterruptedError
        return write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(baseline, "_write", fail_sometimes)
    for _ in range(2):
        with pytest.raises(InterruptedError):
            baseline.write(TENANT)
    baseline.write(TENANT)

    records = AuditRecord.objects.filter(event=AuditEvent.BASELINE)
    assert sorted(records.exclude(request_id="").values_list("request_id", flat=True)) == [
        f"req-{number}" for number in range(5)
    ]
    # Five owners in pieces of two, and the end.
    assert records.filter(request_id="").count() == 3 + 1
    assert not_comparable() == {}


def test_request_that_waits_across_the_update_is_compared_with_what_its_record_says() -> None:
    factories.opened("session-1", request_id="before")
    version_before.wrote_everything()
    write_baselines()
    # A process of the version before opens one behind the baseline; both are decided by new ones.
    factories.opened("session-2", request_id="during")
    version_before.wrote("during")
    for name in ("before", "during"):
        services.reject(name, factories.actor(APPROVER))

    assert names() == set()
    run(set_request("before", message="'?'"))
    run(set_request("during", message="'?'", action_type="'pay'", status="'approved'"))
    assert names() == {
        ("request", "before", "message"),
        ("request", "during", "action"),
        ("request", "during", "status"),
    }
    assert not_comparable()[ComparedKind.REQUEST.value] == 1
