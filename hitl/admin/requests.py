"""Approval requests for operators: to read, and to decide."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.models import tenants_of
from hitl import deciding, services, showing
from hitl.actors import Actor
from hitl.models import ApprovalRequest
from hitl.reading import ReadOnlyAdmin, ShownValuesFilter
from hitl.states import Status


@admin.register(ApprovalRequest)
class ApprovalRequestAdmin(ReadOnlyAdmin):
    list_display = (
        "action_type",
        "user_id",
        "tenant_id",
        "status",
        "created_at",
        "expires_at",
        "decided_by",
        "request_id",
    )
    list_filter = (
        "status",
        ("tenant_id", ShownValuesFilter),
        ("action_type", ShownValuesFilter),
    )
    search_fields = ("request_id", "session_id", "action_type", "user_id")
    actions = ("approve_selected", "reject_selected")
    fields = (
        "request_id",
        "session_id",
        "tenant_id",
        "user_id",
        "action_type",
        "message",
        "context_pretty",
        "context_digest",
        "origin",
        "agent_id",
        "status",
        "created_at",
        "expires_at",
        "decided_at",
        "decided_by",
        "decided_channel",
        "reason",
        "history",
    )
    readonly_fields = ("context_pretty", "history")
    change_form_template = "hitl/request.html"
    show_full_result_count = False

    @admin.display(description=_("context"))
    def context_pretty(self, obj: ApprovalRequest) -> str:
        return showing.pretty(obj.context)

    @admin.display(description=_("audit records"))
    def history(self, obj: ApprovalRequest) -> str:
        url = reverse("admin:hitl_auditrecord_changelist")
        return format_html(
            '<a href="{}?q={}">{}</a>', url, obj.request_id, _("whole history of this request")
        )

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Offer the decisions to whoever may make them in some tenant."""
        return bool(tenants_of(request.user.get_username(), deciding=True))

    @admin.action(description=_("Approve selected requests"), permissions=["decide"])
    def approve_selected(self, request: HttpRequest, selected: QuerySet[ApprovalRequest]) -> None:
        deciding.decide_each(request, selected[:200], services.approve)

    @admin.action(description=_("Reject selected requests"), permissions=["decide"])
    def reject_selected(self, request: HttpRequest, selected: QuerySet[ApprovalRequest]) -> None:
        deciding.decide_each(request, selected[:200], services.reject)

    def get_urls(self) -> list[Any]:
        decide = self.admin_site.admin_view(self.decide)
        return [
            path("<int:pk>/decide/", decide, name="hitl_approvalrequest_decide"),
            *super().get_urls(),
        ]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        found = self.get_object(request, object_id)
        if found is not None:
            found = services.settle(found)
        may_decide = (
            found is not None
            and found.status == Status.PENDING
            and deciding.operator(request, found.tenant_id).may_decide_for(found.user_id)
        )
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), "may_decide": may_decide}
        )

    def decide(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take the decision that the request's page sends, and show it again."""
        found = self.get_queryset(request).filter(pk=pk).first()
        if found is None or request.method != "POST":
            return HttpResponseRedirect(reverse("admin:hitl_approvalrequest_changelist"))
        if "approve" in request.POST:
            deciding.decide_one(request, found, services.approve)
        elif "reject" in request.POST:
            reason = request.POST.get("reason", "").strip()[:10_000]

            def reject(request_id: str, actor: Actor) -> ApprovalRequest:
                return services.reject(request_id, actor, reason=reason)

            deciding.decide_one(request, found, reject)
        return HttpResponseRedirect(reverse("admin:hitl_approvalrequest_change", args=[pk]))
