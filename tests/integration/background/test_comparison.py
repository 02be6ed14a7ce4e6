"""Once a day the tables are compared with the audit, and what differs is counted and logged."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog
from django.contrib.auth.models import User
from prometheus_client import REGISTRY

from dwp_project.gateway import first_run
from hitl.audit import baseline_state, compare
from hitl.background import comparison
from hitl.models import ApprovalRequest, AuditRecord
from hitl.states import AuditEvent
from tests import factories
from tests.integration.audit import version_before
from tests.people import OUTSIDER, TENANT

pytestmark = pytest.mark.django_db


def metric(kind: str) -> float | None:
    return REGISTRY.get_sample_value("hitl_audit_differences", {"kind": kind})


def compare_everything() -> None:
    for _ in comparison.steps():
        pass


def test_comparison_counts_what_differs_and_says_when_it_was_made() -> None:
    factories.opened(request_id="req-1")
    factories.opened(by=OUTSIDER, request_id="req-2")
    compare_everything()
    assert (metric("request"), metric("policy")) == (0.0, 0.0)

    ApprovalRequest.objects.update(message="Nothing to see here.")
    with structlog.testing.capture_logs() as logs:
        compare_everything()

    assert (metric("request"), metric("policy")) == (2.0, 0.0)
    made_at = REGISTRY.get_sample_value("hitl_audit_compared_timestamp_seconds")
    assert made_at is not None
    assert made_at > 0
    differing = {log["tenant"]: log for log in logs if log["event"] == "audit_differs"}
    assert differing.keys() == {"tenant1", "tenant2"}
    assert differing["tenant1"]["differences"][0].startswith("request req-1: message is ")


def test_comparison_writes_the_baseline_of_what_the_version_before_left() -> None:
    factories.opened(request_id="req-1")
    factories.user("desk", role="viewer")
    version_before.wrote_everything()

    compare_everything()

    assert baseline_state.is_complete(TENANT)
    assert baseline_state.is_complete("")
    assert compare.compare_tenant(TENANT).totals.not_comparable == {}
    assert metric("account") == 0.0


def test_new_deployment_has_records_of_everything_and_needs_no_baseline(tmp_path: Path) -> None:
    first_run.ensure_operator(tmp_path)
    factories.opened()

    compare_everything()

    assert User.objects.filter(is_superuser=True).count() == 1
    assert not AuditRecord.objects.filter(event=AuditEvent.BASELINE).exists()
    assert [compare.compare_tenant(tenant).differing for tenant in compare.tenants()] == [{}, {}]
