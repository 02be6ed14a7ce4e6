"""The page of tenants: superusers make, name and remove them, a tenant's admins see their own.

Tokens need no tenant that was made. One that has appeared without is listed below the others.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import Case, Count, IntegerField, OuterRef, QuerySet, Subquery, When
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dwp_project.gateway.models import Membership, Tenant
from dwp_project.gateway.operators import Operator, operator_at
from hitl.admin.base import TenantAdmin, Tenants, audit_search
from hitl.models import ApprovalRequest, AuditChain, Policy, RejectionReason
from hitl.text import lookalikes, sanitize

# Chosen: more than anybody reads, of the tenants that were not made.
_MOST_SEEN = 200


_HELP = {
    "tenant_id": gettext_lazy(
        "As tokens name it: up to 255 printable characters. It cannot be changed later."
    ),
    "name": gettext_lazy("For people, shown where a tenant is chosen. May be empty."),
}


@admin.register(Tenant)
class TenantsAdmin(TenantAdmin):
    change_list_template = "hitl/tenants.html"
    list_display = ("tenant_id", "name", "members", "policies", "waiting", "created_at")
    search_fields = ("tenant_id", "name")
    fields = ("tenant_id", "name", "members", "created_at", "why_it_stays")
    readonly_fields = ("tenant_id", "members", "created_at", "why_it_stays")
    add_fields = ("tenant_id", "name")
    actions = None
    show_full_result_count = False

    @admin.display(description=gettext_lazy("members"))
    def members(self, obj: Any) -> str:
        """Show how many there are, with a link to them."""
        count = Membership.objects.filter(tenant_id=obj.tenant_id).count()
        page = reverse("admin:gateway_membership_changelist")
        address = f"{page}?{urlencode({'tenant_id': obj.tenant_id})}"
        return format_html('<a href="{}">{}</a>', address, _people(count))

    @admin.display(description=gettext_lazy("policies"))
    def policies(self, obj: Any) -> str:
        return "–" if obj.policy_count is None else str(obj.policy_count)

    @admin.display(description=gettext_lazy("waiting requests"))
    def waiting(self, obj: Any) -> str:
        return "–" if obj.waiting_count is None else str(obj.waiting_count)

    @admin.display(description=gettext_lazy("removing"))
    def why_it_stays(self, obj: Tenant) -> str:
        return (
            _("It has members, requests or policies, and so cannot be removed.")
            if _is_in_use(obj.tenant_id)
            else _("It has no members, requests or policies, and can be removed.")
        )

    # --- who may -----------------------------------------------------------------------

    def visible_tenants(self, operator: Operator) -> Tenants:
        return None if operator.is_superuser else operator.administers

    def writable_tenants(self, operator: Operator) -> Tenants:
        return None if operator.is_superuser else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may = super().has_delete_permission(request, obj)
        return may and (obj is None or not _is_in_use(obj.tenant_id))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # What a tenant's policies and requests are is its members' business alone.
        own = operator_at(request).tenants
        tenants: QuerySet[Any] = super().get_queryset(request)
        annotated: QuerySet[Any] = tenants.annotate(
            policy_count=_count(Policy.objects.current(), own),
            waiting_count=_count(ApprovalRequest.objects.pending(), own),
        )
        return annotated

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        return super().get_form(request, obj, change=change, **{"help_texts": _HELP, **kwargs})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change and (alike := _alike(obj.tenant_id)):
            text = _("It looks like %(tenants)s. If it was not meant, remove it.")
            names = ", ".join(map(sanitize.plain, alike))
            messages.warning(request, text % {"tenants": names})

    # --- the list ----------------------------------------------------------------------

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the tenants, and to superusers those that have appeared without being made."""
        is_superuser = operator_at(request).is_superuser
        seen = [
            {"tenant": sanitize.marked(tenant), "query": urlencode({"tenant_id": tenant})}
            for tenant in (_seen() if is_superuser else ())
        ]
        context = {"seen": seen[:_MOST_SEEN], "is_cut": len(seen) > _MOST_SEEN}
        return super().changelist_view(request, {**(extra_context or {}), **context})

    def audit_of(self, obj: Tenant) -> str:
        return audit_search("", event="tenant:added")


def _people(count: int) -> str:
    return ngettext("%(count)d person", "%(count)d people", count) % {"count": count}


def _count(rows: QuerySet[Any], tenants: list[str]) -> Case:
    """Return how many of the rows a tenant has, or NULL if it is none of `tenants`."""
    counted = rows.filter(tenant_id=OuterRef("tenant_id")).order_by().values("tenant_id")
    number = Coalesce(Subquery(counted.annotate(number=Count("pk")).values("number")), 0)
    return Case(When(tenant_id__in=tenants, then=number), output_field=IntegerField())


def _is_in_use(tenant_id: str) -> bool:
    tables: tuple[Any, ...] = (Membership, ApprovalRequest, Policy, RejectionReason)
    return any(table.objects.filter(tenant_id=tenant_id).exists() for table in tables)


def _alike(tenant_id: str) -> list[str]:
    """Return the other tenants that people take for this one."""
    others = {*Tenant.objects.values_list("tenant_id", flat=True), *_seen()} - {tenant_id}
    return sorted(each for each in others if lookalikes.are_texts_alike(each, tenant_id))


def _seen() -> list[str]:
    """Return the tenants that have members or audit records, as every request makes, and were not
    made here: at most one more than are listed."""
    made = Tenant.objects.values("tenant_id")
    chains = AuditChain.objects.exclude(tenant_id="").exclude(tenant_id__in=made)
    members = Membership.objects.exclude(tenant_id__in=made).order_by()
    found = chains.values_list("tenant_id", flat=True)
    return sorted(found.union(members.values_list("tenant_id", flat=True))[: _MOST_SEEN + 1])
