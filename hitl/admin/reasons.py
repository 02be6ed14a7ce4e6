"""Rejection reasons of tenants: read by members, kept by the tenant's admins."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.errors import DwpError
from hitl.admin.base import MarkedValuesFilter
from hitl.admin.ownership import TenantAdmin, TenantForm
from hitl.desk import decisions
from hitl.models import RejectionReason
from hitl.policies import reasons
from hitl.text import sanitize


class ReasonForm(TenantForm):
    """One rejection reason."""

    class Meta:
        model = RejectionReason
        fields: ClassVar[list[str]] = ["tenant_id", "text", "position"]


@admin.register(RejectionReason)
class RejectionReasonAdmin(TenantAdmin):
    form = ReasonForm
    list_display = ("shown_text", "shown_tenant", "position")
    list_filter = (("tenant_id", MarkedValuesFilter),)
    show_full_result_count = False

    @admin.display(description=_("reason"), ordering="text")
    def shown_text(self, obj: RejectionReason) -> str:
        return sanitize.marked(obj.text)

    @admin.display(description=_("tenant"), ordering="tenant_id")
    def shown_tenant(self, obj: RejectionReason) -> str:
        return sanitize.marked(obj.tenant_id)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        tenant = "tenant_id" if obj is None else "shown_tenant"
        return [tenant, "text", "position"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [] if obj is None else ["shown_tenant"]

    def save_model(
        self, request: HttpRequest, obj: RejectionReason, form: Any, change: bool
    ) -> None:
        actor = decisions.operator_actor_at(request, obj.tenant_id)
        if change:
            reasons.change(actor, obj.pk, obj.text, obj.position)
        else:
            obj.pk = reasons.add(actor, obj.text, obj.position).pk

    def delete_model(self, request: HttpRequest, obj: RejectionReason) -> None:
        try:
            reasons.remove(decisions.operator_actor_at(request, obj.tenant_id), obj.pk)
        except DwpError as exc:
            messages.error(request, str(exc.message))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[RejectionReason]) -> None:
        for reason in queryset:
            self.delete_model(request, reason)
