"""The page of rejection reasons: members read them, a tenant's admins add, change and delete
them."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from dwp_project.gateway.errors import DwpError
from hitl.admin.base import ServiceAdmin, TenantForm, audit_search
from hitl.desk import decisions
from hitl.models import RejectionReason
from hitl.policies import reasons


class ReasonForm(TenantForm):
    """One rejection reason."""

    class Meta:
        model = RejectionReason
        fields: ClassVar[list[str]] = ["tenant_id", "text", "position"]


@admin.register(RejectionReason)
class RejectionReasonAdmin(ServiceAdmin):
    form = ReasonForm
    list_display = ("text", "tenant_id", "position")
    list_filter = ("tenant_id",)
    fields = add_fields = ("tenant_id", "text", "position")
    readonly_fields = ("tenant_id",)
    show_full_result_count = False

    def audit_of(self, obj: RejectionReason) -> str:
        return audit_search(obj.tenant_id, event="reasons:changed")

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
