"""Approval requests and audit records for operators: to read, and to decide."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from dwp_project.gateway.admin import ModelAdmin
from dwp_project.gateway.errors import DwpError
from dwp_project.gateway.identity import recorded
from dwp_project.gateway.models import role_in, tenants_of
from hitl import errors, services
from hitl.actors import Actor
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry
from hitl.states import ActorKind, Channel, Status

Decide = Callable[[str, Actor], ApprovalRequest]


def operator(request: HttpRequest, tenant_id: str) -> Actor:
    """Return the signed-in operator as actor in a tenant; membership gives the role."""
    username = request.user.get_username()
    return Actor(
        id=username,
        tenant_id=tenant_id,
        kind=ActorKind.OPERATOR,
        channel=Channel.ADMIN,
        role=role_in(username, tenant_id) or "",
        address=str(request.META.get("REMOTE_ADDR") or "")[:64],
        user_agent=recorded(request, "User-Agent"),
    )


class ReadOnlyAdmin(ModelAdmin):
    """A table that nobody adds to, changes or removes from by hand, of one's own tenants."""

    tenant_field = "tenant_id"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return bool(request.user.is_staff)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_staff)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        mine = tenants_of(request.user.get_username())
        return super().get_queryset(request).filter(**{f"{self.tenant_field}__in": mine})


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
    list_filter = ("status", "tenant_id", "action_type")
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
        text = json.dumps(obj.context, ensure_ascii=False, indent=2)
        return format_html("<pre>{}</pre>", text)

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
        self._decide_each(request, selected, services.approve)

    @admin.action(description=_("Reject selected requests"), permissions=["decide"])
    def reject_selected(self, request: HttpRequest, selected: QuerySet[ApprovalRequest]) -> None:
        self._decide_each(request, selected, services.reject)

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
            and operator(request, found.tenant_id).may_decide_for(found.user_id)
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
            self._decide_one(request, found, services.approve)
        elif "reject" in request.POST:
            reason = request.POST.get("reason", "").strip()[:10_000]

            def reject(request_id: str, actor: Actor) -> ApprovalRequest:
                return services.reject(request_id, actor, reason=reason)

            self._decide_one(request, found, reject)
        return HttpResponseRedirect(reverse("admin:hitl_approvalrequest_change", args=[pk]))

    def _decide_each(
        self, request: HttpRequest, selected: QuerySet[ApprovalRequest], decide: Decide
    ) -> None:
        done = sum(
            self._decide_one(request, found, decide, is_quiet=True) for found in selected[:200]
        )
        if done:
            text = ngettext("%(count)d request decided.", "%(count)d requests decided.", done)
            messages.success(request, text % {"count": done})

    def _decide_one(
        self,
        request: HttpRequest,
        found: ApprovalRequest,
        decide: Decide,
        *,
        is_quiet: bool = False,
    ) -> bool:
        """Decide by the service that REST uses; say in a message what came of it."""
        name = found.request_id
        try:
            decided = decide(name, operator(request, found.tenant_id))
        except errors.AlreadyDecided as already:
            standing = already.request
            messages.warning(
                request,
                _("%(name)s was already %(status)s by %(who)s. Nothing was changed.")
                % {
                    "name": name,
                    "status": standing.get_status_display(),
                    "who": standing.decided_by,
                },
            )
            return False
        except DwpError as exc:
            messages.error(request, f"{name}: {exc.message}")
            return False
        if not is_quiet:
            messages.success(
                request,
                _("%(name)s is now %(status)s.")
                % {"name": name, "status": Status(decided.status).label},
            )
        return True


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
    list_filter = ("event", "actor_kind", "channel", "tenant_id")
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


@admin.register(OutboxEntry)
class OutboxEntryAdmin(ReadOnlyAdmin):
    tenant_field = "request__tenant_id"
    list_display = ("request", "outcome", "attempts", "receivers", "created_at", "attempted_at")
    list_filter = ("outcome",)
    list_select_related = ("request",)
    show_full_result_count = False
