"""The page of the outbox: each decision's signal, and how its delivery stands.

It lists the newest of one tenant. An older one is reached by its request's id.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy

from hitl.admin import archive
from hitl.admin.base import ReadOnlyAdmin, audit_of_request
from hitl.desk import aftermath
from hitl.models import ApprovalRequest, OutboxEntry
from hitl.states import DeliveryOutcome
from hitl.text import dates, sanitize

# Chosen: the newest requests of a tenant whose signals are listed and counted. The words at the top
# of the page name this figure.
_NEWEST_LISTED = 2_000

_WORDS = {
    DeliveryOutcome.PENDING: gettext_lazy("not received so far, it is sent again"),
    DeliveryOutcome.DELIVERED: gettext_lazy("received"),
    DeliveryOutcome.SUPERSEDED: gettext_lazy("not sent: the session asks something newer"),
    DeliveryOutcome.UNHEARD: gettext_lazy("nobody listened on Redis"),
    DeliveryOutcome.REFUSED: gettext_lazy("not sent: the audit lacks this decision"),
    DeliveryOutcome.WITHHELD: gettext_lazy("held back: another agent could take it"),
}


class OutboxTenantFilter(archive.TenantFilter):
    """Chooses one tenant, and of that the signals of the newest requests."""

    def has_output(self) -> bool:
        # Of one tenant as well: the admin leaves out a filter that shows nothing.
        return bool(self.lookup_choices)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None and request.GET.get("q"):
            return queryset  # a search names one request
        return queryset.filter(request_id__in=self.newest())

    def newest(self) -> list[int]:
        """Return the keys of the newest requests. They are named one by one, so that however large
        the tables are no more than these rows are read."""
        requests = ApprovalRequest.objects.filter(tenant_id=self._selected_tenant() or "")
        return list(requests.order_by("-id").values_list("pk", flat=True)[:_NEWEST_LISTED])


class OutcomeFilter(admin.SimpleListFilter):
    """Filters by what became of a signal, with how many of those listed there are."""

    title = gettext_lazy("what became of it")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = OutboxTenantFilter(
            request, dict(request.GET.lists()), OutboxEntry, model_admin
        ).newest()
        entries = OutboxEntry.objects.filter(request_id__in=newest).defer("signal", "error")
        self._outcomes = {entry.pk: aftermath.became(entry) for entry in entries}
        counts = Counter(self._outcomes.values())
        return [
            (outcome.value, f"{_WORDS[outcome]} ({counts[outcome]})")
            for outcome in DeliveryOutcome
            if counts[outcome] or self.value() == outcome
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(
            pk__in=[pk for pk, outcome in self._outcomes.items() if outcome == self.value()]
        )


@admin.register(OutboxEntry)
class OutboxEntryAdmin(ReadOnlyAdmin):
    tenant_field = "request__tenant_id"
    change_list_template = "hitl/outbox.html"
    change_form_template = "hitl/outbox_entry.html"
    list_display = (
        "of_request",
        "decision",
        "outcome_marked",
        "first_sent",
        "heard",
        "attempts",
        "next_attempt",
        "error",
    )
    list_display_links = ("outcome_marked",)
    fields = ("outcome_marked",)
    readonly_fields = ("outcome_marked",)
    list_filter = (OutboxTenantFilter, OutcomeFilter)
    list_select_related = ("request",)
    search_fields = ("request__request_id",)
    search_help_text = gettext_lazy("A whole request id, of any age.")
    sortable_by = ()
    ordering = ("-id",)
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def visible_tenants(self, operator: Any) -> list[str]:
        return list(operator.tenants)

    @admin.display(description=gettext_lazy("request"))
    def of_request(self, entry: OutboxEntry) -> str:
        address = reverse("admin:hitl_approvalrequest_change", args=[entry.request_id])
        name = sanitize.marked(entry.request.request_id)
        action = sanitize.marked(entry.request.action_type or "-")
        return format_html(
            '<a href="{}">{}</a> <span class="quiet">{}</span>', address, name, action
        )

    @admin.display(description=gettext_lazy("decision"))
    def decision(self, entry: OutboxEntry) -> str:
        return str(entry.request.get_status_display())

    @admin.display(description=gettext_lazy("what became of it"))
    def outcome_marked(self, entry: OutboxEntry) -> str:
        """Return the outcome; one that somebody has to look into is red."""
        outcome = aftermath.became(entry)
        text = _WORDS[outcome]
        if not aftermath.is_bad(outcome):
            return str(text)
        return format_html('<strong class="refused">▲ {}</strong>', text)

    @admin.display(description=gettext_lazy("first sent at"))
    def first_sent(self, entry: OutboxEntry) -> str:
        return dates.html(entry.first_sent_at)

    @admin.display(description=gettext_lazy("received at"))
    def heard(self, entry: OutboxEntry) -> str:
        return dates.html(entry.known_heard_at)

    @admin.display(description=gettext_lazy("next attempt at"))
    def next_attempt(self, entry: OutboxEntry) -> str:
        return dates.html(entry.next_attempt_at)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        text = search_term.strip()
        return (queryset.filter(request__request_id=text) if text else queryset), False

    def audit_of(self, obj: OutboxEntry) -> str:
        return audit_of_request(obj.request.request_id)

    def page_context(self, request: HttpRequest, entry: OutboxEntry) -> dict[str, Any]:
        """Return what one signal is about, how its delivery stands, and last what is sent."""
        asked = entry.request
        return {
            "entry": entry,
            "request_link": self.of_request(entry),
            "decision": self.decision(entry),
            "decided_by": sanitize.marked(asked.decided_by or "-"),
            "tenant": sanitize.marked(asked.tenant_id),
            "session": sanitize.marked(asked.session_id),
            "outcome": self.outcome_marked(entry),
            "aftermath": aftermath.of(asked, entry),
            "times": [
                (label, dates.html(moment))
                for label, moment in (
                    (gettext_lazy("decided at"), entry.created_at),
                    (gettext_lazy("first sent at"), entry.first_sent_at),
                    (gettext_lazy("received at"), entry.known_heard_at),
                    (gettext_lazy("last attempt at"), entry.attempted_at),
                    (gettext_lazy("next attempt at"), entry.next_attempt_at),
                    (gettext_lazy("withheld until"), entry.withheld_until),
                )
            ],
            "error": sanitize.marked(entry.error) if entry.error else "",
            "signal": sanitize.marked(entry.signal, is_multiline=True),
            "history": audit_of_request(asked.request_id),
        }
