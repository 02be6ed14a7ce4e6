"""The page of the outbox: each decision's signal, and how its delivery stands."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html
from django.utils.translation import gettext_lazy

from hitl.admin.base import ReadOnlyAdmin
from hitl.models import OutboxEntry
from hitl.states import DeliveryOutcome


@admin.register(OutboxEntry)
class OutboxEntryAdmin(ReadOnlyAdmin):
    tenant_field = "request__tenant_id"
    list_display = (
        "request",
        "outcome_marked",
        "attempts",
        "receivers",
        "created_at",
        "attempted_at",
        "due_at",
        "error",
    )
    fields = (*list_display, "published_at", "withheld_until", "signal")
    readonly_fields = ("outcome_marked",)
    list_filter = ("outcome",)
    list_select_related = ("request",)
    show_full_result_count = False

    @admin.display(description=gettext_lazy("outcome"), ordering="outcome")
    def outcome_marked(self, entry: OutboxEntry) -> str:
        """Return the outcome; one that somebody has to look into is red."""
        text = str(entry.reported_outcome.label)
        if entry.outcome != DeliveryOutcome.REFUSED:
            return text
        return format_html('<strong class="refused">{}</strong>', text)
