"""The tables are compared with what the audit says last, and what differs is named."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from io import StringIO

import pytest
import redis
from django.core.management import CommandError, call_command
from django.db import connection, transaction
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
from tests.integration.audit.tamperings import INVENTED, ROWS, Names, run, set_request
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


def names() -> Names:
    return {(each.kind.value, each.name, each.what) for each in differences()}


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

    # Two more pieces of requests with seven statements each: so 1,000 take 14.
    assert len(more) - len(few) == 2 * 7
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


def named_one_by_one(cases: dict[str, tuple[str, Names]]) -> dict[str, Names]:
    """Return what each statement alone, of those that change a row, has the comparison name."""
    named = {}
    for what, (statement, _) in cases.items():
        with transaction.atomic():
            run(statement)
            named[what] = names()
            transaction.set_rollback(True)
    return named


RECORDED_BEFORE = (
    *("status flipped", "decider", "reason", "context", "tenant", "requester", "action"),
    *("policy taken away", "vote invented", "votes counted that nobody gave"),
    *("signal rewritten", "signal of a request that is pending", "superuser"),
    *("role of a member", "membership deleted", "policy retired", "request deleted"),
)


def test_what_the_version_before_did_record_is_compared(redis_client: redis.Redis) -> None:
    everything.happens(redis_client)
    version_before.wrote_everything()
    cases = {what: ROWS[what] for what in RECORDED_BEFORE}

    named = named_one_by_one(cases)

    unless = {("request", "one-vote", "rule")}
    assert {what: each - unless for what, each in named.items()} == {
        what: expected - unless for what, (_, expected) in cases.items()
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


AFTER_THE_BASELINE: dict[str, tuple[str, Names]] = {
    **{
        what: ROWS[what] for what in ("term", "requester of an agent on Redis", "policy taken away")
    },
    "message": (
        set_request("pending", message="'Delete nothing?'"),
        {("request", "pending", "message")},
    ),
    "owner of a session without a question": (
        "UPDATE hitl_sessionowner SET user_id = 'kim' WHERE session_id = 'session-approved'",
        {("session", "session-approved", "user")},
    ),
    "request invented": ROWS["request invented"],
    "superuser without a record": (
        "UPDATE auth_user SET is_superuser = (1 = 1) WHERE username = 'unrecorded'",
        {("account", "unrecorded", "isSuperuser")},
    ),
    "member without a record": (
        "UPDATE gateway_membership SET role = 'admin' WHERE role = 'viewer' AND user_id IN "
        "(SELECT id FROM auth_user WHERE username = 'unrecorded')",
        {("membership", "unrecorded", "role")},
    ),
    "account invented": ROWS["account invented"],
    "membership invented": ROWS["membership invented"],
}


def test_change_after_the_baseline_is_named(redis_client: redis.Redis) -> None:
    everything.happens(redis_client)
    factories.user("unrecorded", role="viewer")
    version_before.wrote_everything()
    write_baselines()

    named = named_one_by_one(AFTER_THE_BASELINE)

    assert named == {what: expected for what, (_, expected) in AFTER_THE_BASELINE.items()}


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
