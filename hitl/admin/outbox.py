"""The page of the outbox: each decision's signal, and how its delivery stands."""

from __future__ import annotations

from django.contrib import admin

from hitl.admin.base import ReadOnlyAdmin
from hitl.models import OutboxEntry


@admin.register(OutboxEntry)
class OutboxEntryAdmin(ReadOnlyAdmin):
    tenant_field = "request__tenant_id"
    list_display = (
        "request",
        "outcome",
        "attempts",
        "receivers",
        "created_at",
        "attempted_at",
        "due_at",
        "error",
    )
    fields = (*list_display, "signal")
    list_filter = ("outcome",)
    list_select_related = ("request",)
    show_full_result_count = False
