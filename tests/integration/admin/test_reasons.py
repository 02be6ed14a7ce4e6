"""Rejection reasons: a tenant's admins change them, and every change is in the audit.

Who else may open the page is tested with the page of policies.
"""

from __future__ import annotations

import pytest

from hitl.models import AuditRecord, RejectionReason
from tests.integration.admin.test_policies import (
    REASONS,
    a_reason,
    address,
    details_of,
    page,
    signed_in,
)
from tests.people import TENANT

pytestmark = pytest.mark.django_db


def test_admin_adds_changes_and_deletes_reasons_and_each_is_recorded() -> None:
    client = signed_in()

    page(client, f"{REASONS}add/", {"tenant_id": TENANT, "text": "no", "position": "1"})
    reason = RejectionReason.objects.get()
    assert details_of("reasons:changed")["after"] == {"text": "no", "position": 1}
    page(client, address(reason), {"text": "Not now", "position": "2"})
    reason.refresh_from_db()
    assert (reason.text, reason.position) == ("Not now", 2)
    assert details_of("reasons:changed")["before"] == {"text": "no", "position": 1}
    page(client, f"{REASONS}{reason.pk}/delete/", {"post": "yes"})

    assert not RejectionReason.objects.exists()
    records = AuditRecord.objects.filter(event="reasons:changed")
    assert [record.actor for record in records] == ["desk"] * 3
    assert details_of("reasons:changed") == {
        "before": {"text": "Not now", "position": 2},
        "after": None,
        "role": "admin",
    }


def test_same_reason_twice_is_refused() -> None:
    first, second = a_reason("a"), a_reason("b")
    client = signed_in()

    for path, form in (
        (f"{REASONS}add/", {"tenant_id": TENANT, "text": "a", "position": "0"}),
        (address(second), {"text": "a", "position": "0"}),
    ):
        page(client, path, form)

    assert list(RejectionReason.objects.values_list("text", flat=True)) == ["a", "b"]
    assert first.text == "a"
