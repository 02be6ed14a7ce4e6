"""Audit records for auditors: to read."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from hitl.models import AuditRecord
from hitl.reading import ReadOnlyAdmin, ShownValuesFilter


@admin.register(AuditRecord)
class AuditRecordAdmin(ReadOnlyAdmin):
    list_display = (
        "at",
        "event",
        "request_id",
        "actor",
        "actor_kind",
        "channel",
        "tenant_id",
        "source_address",
        "sequence",
    )
    list_filter = ("event", "actor_kind", "channel", ("tenant_id", ShownValuesFilter))
    search_fields = ("=request_id", "=session_id", "=actor")
    date_hierarchy = "at"
    fields = (
        "tenant_id",
        "sequence",
        "event",
        "request_id",
        "session_id",
        "actor",
        "actor_kind",
        "channel",
        "at",
        "source_address",
        "user_agent",
        "context_digest",
        "details",
        "previous_hash",
        "hash",
    )
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # The deployment's own chain belongs to no tenant: superusers see it.
        found = super().get_queryset(request)
        if request.user.is_superuser:
            found = found | AuditRecord.objects.filter(tenant_id="")
        return found
