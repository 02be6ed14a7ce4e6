"""Approval requests for operators: the inbox, one in full, many at once, and the archive."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dwp_project.gateway.errors import DwpError
from dwp_project.gateway.operators import operator_at
from hitl import services
from hitl.admin import archive
from hitl.admin.base import ReadOnlyAdmin
from hitl.approvals import permissions
from hitl.desk import decisions, many, one, rows, script_texts
from hitl.desk import inbox as inboxes
from hitl.models import ApprovalRequest
from hitl.policies import reasons
from hitl.text import sanitize

INBOX = "admin:hitl_approvalrequest_inbox"
_PAGE = "admin:hitl_approvalrequest_change"


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
    list_filter = (archive.TenantFilter, "status", archive.ActionFilter)
    search_fields = ("request_id",)
    search_help_text = gettext_lazy(
        "A whole request id, session or action; of the newest 10,000 requests also a requester or "
        "the beginning of a request id. The list shows one tenant, newest first, and counts "
        "no further than 10,000."
    )
    sortable_by = ()
    paginator = archive.BoundedPaginator
    actions = ("approve_selected", "reject_selected")
    fields = ("request_id",)
    change_form_template = "hitl/request.html"
    change_list_template = "hitl/archive.html"
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER

    def get_urls(self) -> list[Any]:
        def served(view: Any) -> Any:
            return self.admin_site.admin_view(view)

        return [
            path("inbox/", served(self.inbox), name="hitl_approvalrequest_inbox"),
            path("many/", served(self.decide_many), name="hitl_approvalrequest_many"),
            path("<int:pk>/decide/", served(self.decide), name="hitl_approvalrequest_decide"),
            *super().get_urls(),
        ]

    # --- what waits --------------------------------------------------------------------

    def inbox(self, request: HttpRequest) -> HttpResponse:
        """Show what waits in the operator's tenants, the most urgent first."""
        operator = operator_at(request)
        found = inboxes.read(operator)
        title = _("Inbox")
        return TemplateResponse(
            request,
            "hitl/inbox.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "media": self.media,
                "title": title,
                "inbox": found,
                "rows": rows.rendered(found, operator),
                "operator": operator,
                "most": inboxes.MOST_ROWS,
                "texts": script_texts.for_scripts(),
                "may_decide": bool(permissions.decides_in(operator)),
            },
        )

    # --- one ---------------------------------------------------------------------------

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        found = self.get_object(request, object_id)
        shown: dict[str, Any] = {}
        if found is not None:
            shown = one.page(services.settle(found), operator_at(request))
            shown["texts"] = script_texts.for_scripts()
            # Several are open in tabs: each is told by what it asks.
            shown["title"] = sanitize.plain(found.message.strip()[:80] or found.action_type)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})

    def decide(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Take the decision that the request's page sends; then go to the next most urgent."""
        found = self.get_queryset(request).filter(pk=pk).first()
        if request.method == "POST" and found is None:
            decisions.record_foreign(request, [pk], is_approval="approve" in request.POST)
        if found is None:
            return HttpResponseRedirect(reverse(INBOX))
        if request.method != "POST":
            # Back from signing in: what was sent without a session has been forgotten.
            messages.warning(request, _("You had been signed out. Nothing was decided."))
            return HttpResponseRedirect(reverse(_PAGE, args=[pk]))
        digest = request.POST.get("digest", "")
        if "approve" in request.POST:
            decision = decisions.approving(digest)
        elif "reject" in request.POST:
            decision = decisions.rejecting(digest, _reason(request, {found.tenant_id}))
        else:
            return HttpResponseRedirect(reverse(_PAGE, args=[pk]))
        if not decisions.decide_one(request, found, decision).is_done:
            return HttpResponseRedirect(reverse(_PAGE, args=[pk]))
        operator = operator_at(request)
        following = one.next_for(operator, pk)
        if following is None:
            return HttpResponseRedirect(reverse(INBOX))
        return HttpResponseRedirect(reverse(_PAGE, args=[following]))

    # --- many --------------------------------------------------------------------------

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Offer the decisions to whoever may make them in some tenant."""
        return bool(permissions.decides_in(operator_at(request)))

    @admin.action(description=gettext_lazy("Approve selected requests"), permissions=["decide"])
    def approve_selected(
        self, request: HttpRequest, selected: QuerySet[ApprovalRequest]
    ) -> HttpResponse:
        return self._ask_archive(request, selected, is_approval=True)

    @admin.action(description=gettext_lazy("Reject selected requests"), permissions=["decide"])
    def reject_selected(
        self, request: HttpRequest, selected: QuerySet[ApprovalRequest]
    ) -> HttpResponse:
        return self._ask_archive(request, selected, is_approval=False)

    def decide_many(self, request: HttpRequest) -> HttpResponse:
        """Ask before many are decided, and decide them once that is answered."""
        if request.method != "POST":
            messages.warning(request, _("You had been signed out. Nothing was decided."))
            return HttpResponseRedirect(reverse(INBOX))
        is_approval = request.POST.get("decision") == "approve"
        items, seen = request.POST.getlist("item"), self.get_queryset(request)
        try:
            if foreign := many.unseen(items, seen):
                decisions.record_foreign(request, foreign, is_approval=is_approval)
            selection = many.selected(items, seen)
        except DwpError as exc:
            messages.error(request, str(exc.message))
            return HttpResponseRedirect(reverse(INBOX))
        if "confirmed" not in request.POST:
            return self._ask(request, selection, is_approval=is_approval)
        if is_approval and request.POST.get("typed", "").strip() != many.must_type(selection):
            wrong = _("That is not the number. Nothing was changed.")
            return self._ask(request, selection, is_approval=True, wrong=wrong)
        tenants = {found.tenant_id for found in selection.requests}
        results = many.decide(
            request, selection, is_approval=is_approval, reason=_reason(request, tenants)
        )
        return self._shown(
            request,
            "hitl/results.html",
            {
                "title": many.summary(results),
                "results": [(result, rows.described(result.request)) for result in results],
            },
        )

    def _ask_archive(
        self, request: HttpRequest, selected: QuerySet[ApprovalRequest], *, is_approval: bool
    ) -> HttpResponse:
        try:
            return self._ask(request, many.chosen(selected), is_approval=is_approval)
        except DwpError as exc:
            messages.error(request, str(exc.message))
            return HttpResponseRedirect(request.get_full_path())

    def _ask(
        self,
        request: HttpRequest,
        selection: many.Selection,
        *,
        is_approval: bool,
        wrong: str = "",
    ) -> HttpResponse:
        tenants = {found.tenant_id for found in selection.requests}
        number = many.must_type(selection)
        return self._shown(
            request,
            "hitl/many.html",
            {
                "title": many.question(selection, is_approval=is_approval),
                "listed": many.listed(selection),
                "is_approval": is_approval,
                "presets": reasons.offered(tenants),
                "to_type": _("Type %(number)s to approve them all.") % {"number": number},
                "wrong": wrong,
            },
        )

    def _shown(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        shared = {"opts": self.opts, "media": self.media, "texts": script_texts.for_scripts()}
        return TemplateResponse(
            request, template, {**self.admin_site.each_context(request), **shared, **context}
        )

    # --- the archive -------------------------------------------------------------------

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[archive.NewestFirst]:
        return archive.NewestFirst

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        text = search_term.strip()
        if not text:
            return queryset, False
        mine = operator_at(request).tenants
        return queryset.filter(pk__in=archive.search(mine, text)), False


def _reason(request: HttpRequest, tenants: set[str]) -> str:
    sent = request.POST
    return reasons.chosen(tenants, sent.get("preset", ""), sent.get("reason", "").strip())
