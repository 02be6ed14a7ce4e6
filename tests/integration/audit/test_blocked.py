"""A record in the place of the next one stops its tenant alone, with an error of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import structlog
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from hitl import metrics, services
from hitl.audit import accounts, blocked
from hitl.errors import ChainBlocked
from hitl.models import ApprovalRequest, AuditRecord, KeptAnswer, OutboxEntry
from hitl.states import Origin
from tests import factories
from tests.integration.audit.strays import fitting_stray, stray, stray_behind_head
from tests.integration.calls import Api
from tests.integration.chains import chain_of, record
from tests.integration.desk.test_decisions import decide, signed_in
from tests.people import APPROVER, OUTSIDER, REQUESTER

pytestmark = pytest.mark.django_db
APPROVE = "/aura/hitl/approve/{}"


@pytest.fixture(autouse=True)
def _nothing_logged_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    blocked._logged_at.clear()
    # A logger keeps the configuration of its first use, and the ASGI application that later tests
    # import configures logs again. So the loggers of the modules stay unused here.
    for module in (accounts, blocked):
        monkeypatch.setattr(module, "logger", structlog.stdlib.get_logger(module.__name__))


def refused_records() -> float:
    return float(metrics.blocked_records._value.get())


@pytest.mark.parametrize("end", [services.approve, services.reject, services.cancel])
def test_decision_on_a_blocked_chain_changes_nothing(end: Callable[..., object]) -> None:
    request = factories.opened()
    stray_behind_head()

    with pytest.raises(ChainBlocked):
        end(request.request_id, factories.actor())

    request.refresh_from_db()
    assert request.status == "pending"
    assert not OutboxEntry.objects.exists()


@pytest.mark.parametrize("insert", [stray_behind_head, fitting_stray])
def test_record_that_is_refused_says_so_whether_the_other_one_fits_or_not(
    insert: Callable[[], AuditRecord],
) -> None:
    chain_of(2)
    insert()

    with pytest.raises(ChainBlocked):
        record()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite gives the next free key")
def test_key_that_is_taken_is_reported_alike_and_used_up() -> None:
    request = factories.opened()
    last = AuditRecord.objects.latest("pk").pk
    entry = stray(-1)
    AuditRecord.objects.bulk_create(
        [
            AuditRecord(
                **{
                    field.attname: getattr(entry, field.attname)
                    for field in entry._meta.fields
                    if field.attname not in ("id", "sequence")
                },
                pk=last + 2,
                sequence=-2,
            )
        ]
    )
    before = refused_records()

    with pytest.raises(ChainBlocked):
        services.approve(request.request_id, factories.actor())

    assert refused_records() == before + 1
    assert services.approve(request.request_id, factories.actor()).status == "approved"


def test_request_is_not_opened_on_a_blocked_chain() -> None:
    chain_of(1)
    stray_behind_head()

    with pytest.raises(ChainBlocked):
        services.open_request(factories.question(), factories.actor(REQUESTER), Origin.REST)

    assert not ApprovalRequest.objects.exists()


def test_rest_answers_with_words_of_its_own_and_not_with_try_again(api: Api) -> None:
    request = factories.opened()
    stray_behind_head()

    answer = api.post(APPROVE.format(request.request_id), APPROVER)

    assert answer.refusal == (500, "E1000")
    assert answer.body["message"].startswith("The audit of this tenant is blocked")
    assert "retry-after" not in answer.headers


def test_idempotency_key_is_free_after_the_chain_was_blocked(api: Api) -> None:
    request = factories.opened()
    stray_behind_head()

    path, key = APPROVE.format(request.request_id), {"Idempotency-Key": "k1"}
    answer = api.post(path, APPROVER, headers=key)

    assert answer.refusal == (500, "E1000")
    assert not KeptAnswer.objects.exists()


def test_other_tenants_decide_while_one_is_blocked(api: Api) -> None:
    chain_of(1)
    stray_behind_head()
    foreign = factories.opened(by=OUTSIDER)

    assert api.post(APPROVE.format(foreign.request_id), OUTSIDER).status == 200


def test_desk_says_that_the_audit_is_blocked() -> None:
    request = factories.opened()
    stray_behind_head()
    # Its own sign-in is no record here: the browser is given its session.
    page = decide(signed_in(), request, approve="1")

    assert "was not decided: The audit of this tenant is blocked" in page


def test_failed_sign_in_is_refused_as_ever_while_its_chain_is_blocked(api: Api) -> None:
    factories.user("kim", role="viewer", password="right")
    record()
    stray_behind_head()
    body = {"username": "kim", "password": "wrong", "tenantId": "tenant1"}

    with structlog.testing.capture_logs() as logs:
        answer = api.post("/auth/login", body=body)

    assert answer.refusal == (401, "E2004")
    assert "audit_write_failed" in [entry["event"] for entry in logs]


@pytest.mark.django_db(transaction=True)
def test_account_saved_while_its_chain_is_blocked_is_logged_and_the_error_raised() -> None:
    record()
    user = User.objects.create_user("kim")
    stray_behind_head(tenant_id="")
    user.is_superuser = True

    with pytest.raises(ChainBlocked), structlog.testing.capture_logs() as logs:
        user.save()

    assert "audit_write_failed" in [entry["event"] for entry in logs]


def test_blocked_chain_is_counted_each_time_and_logged_once_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain_of(2)
    stray_behind_head()
    times = iter((1000.0, 1030.0, 1059.0, 1060.0))
    monkeypatch.setattr("hitl.audit.blocked.time.monotonic", lambda: next(times))
    before = refused_records()

    with structlog.testing.capture_logs() as logs:
        for _ in range(4):
            with pytest.raises(ChainBlocked):
                record()

    assert refused_records() - before == 4
    assert [entry for entry in logs if entry["event"] == "audit_chain_blocked"] == [
        {"event": "audit_chain_blocked", "log_level": "error", "tenant": "tenant1", "sequence": 3}
    ] * 2


def test_other_rules_of_the_table_are_not_taken_for_a_blocked_chain() -> None:
    chain_of(1)

    with pytest.raises(IntegrityError) as raised, transaction.atomic():
        AuditRecord(tenant_id="tenant1", sequence=9).save()  # has no time

    assert not blocked.is_number_taken(raised.value)
    with pytest.raises(IntegrityError) as raised, transaction.atomic():
        stray(1)
    assert blocked.is_number_taken(raised.value)
