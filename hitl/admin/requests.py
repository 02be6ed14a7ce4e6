"""The pages of approval requests: the inbox, one in full, many at once, and the archive."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.contrib import admin, messages
from django.contrib.auth.views import redirect_to_login
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dwp_project import clocks
from dwp_project.gateway.errors import DwpError
from dwp_project.gateway.operators import Operator, operator_at
from hitl import services
from hitl.admin import archive
from hitl.admin.base import ReadOnlyAdmin
from hitl.approvals import permissions
from hitl.desk import decisions, many, one, rows, script_texts, wording
from hitl.desk import inbox as inboxes
from hitl.models import ApprovalRequest
from hitl.policies import reasons
from hitl.text import sanitize

INBOX = "admin:hitl_approvalrequest_inbox"
REQUEST_PAGE = "admin:hitl_approvalrequest_change"


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

    def visible_tenants(self, operator: Operator) -> list[str]:
        return operator.tenants

    def get_urls(self) -> list[Any]:
        def wrap(view: Any) -> Any:
            return self.admin_site.admin_view(view)

        return [
            path("inbox/", wrap(self.inbox), name="hitl_approvalrequest_inbox"),
            path("many/", wrap(self.decide_many), name="hitl_approvalrequest_many"),
            path("<int:pk>/decide/", wrap(self.decide), name="hitl_approvalrequest_decide"),
            *super().get_urls(),
        ]

    # --- the inbox ---------------------------------------------------------------------

    def inbox(self, request: HttpRequest) -> HttpResponse:
        """Show the pending requests of the operator's tenants, the most urgent first."""
        operator = operator_at(request)
        inbox = inboxes.read(operator)
        title = _("Inbox")
        return TemplateResponse(
            request,
            "hitl/inbox.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "media": self.media,
                "title": title,
                "inbox": inbox,
                "now": f"{clocks.now().timestamp():.3f}",
                "rows": rows.render(inbox, operator),
                "operator": operator,
                "most": inboxes.MAX_ROWS,
                "texts": script_texts.as_json(),
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
        obj = self.get_object(request, object_id)
        context: dict[str, Any] = {}
        if obj is not None:
            context = one.page_context(services.settle(obj), operator_at(request))
            context["texts"] = script_texts.as_json()
            # Several are open in tabs: the title says which is which.
            context["title"] = sanitize.plain(obj.message.strip()[:80]) or wording.action(
                obj.action_type
            )
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **context}
        )

    def decide(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Make the decision that the request's page sends, and go on to the most urgent request."""
        obj = self.get_queryset(request).filter(pk=pk).first()
        if request.method == "POST" and obj is None:
            decisions.record_foreign(request, [pk], is_approval="approve" in request.POST)
        if obj is None:
            return HttpResponseRedirect(reverse(INBOX))
        if request.method != "POST":
            # The sign-in leads back here with a GET; the form that was sent before it is lost.
            messages.warning(request, _("You had been signed out. Nothing was decided."))
            return HttpResponseRedirect(reverse(REQUEST_PAGE, args=[pk]))
        digest = request.POST.get("digest", "")
        # A page that was open before the update sends none.
        request_digest = request.POST.get("request_digest")
        if "approve" in request.POST:
            decision = decisions.approval(digest, request_digest)
        elif "reject" in request.POST:
            reason = _posted_reason(request, {obj.tenant_id})
            decision = decisions.rejection(digest, reason, request_digest)
        else:
            return HttpResponseRedirect(reverse(REQUEST_PAGE, args=[pk]))
        if not decisions.decide_with_message(request, obj, decision).is_done:
            return HttpResponseRedirect(reverse(REQUEST_PAGE, args=[pk]))
        operator = operator_at(request)
        following = one.next_to_decide(operator, pk)
        if following is None:
            return HttpResponseRedirect(reverse(INBOX))
        return HttpResponseRedirect(reverse(REQUEST_PAGE, args=[following]))

    # --- many --------------------------------------------------------------------------

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Offer the actions to operators who may decide in some tenant."""
        return bool(permissions.decides_in(operator_at(request)))

    @admin.action(description=gettext_lazy("Approve selected requests"), permissions=["decide"])
    def approve_selected(
        self, request: HttpRequest, queryset: QuerySet[ApprovalRequest]
    ) -> HttpResponse:
        return self._ask_from_archive(request, queryset, is_approval=True)

    @admin.action(description=gettext_lazy("Reject selected requests"), permissions=["decide"])
    def reject_selected(
        self, request: HttpRequest, queryset: QuerySet[ApprovalRequest]
    ) -> HttpResponse:
        return self._ask_from_archive(request, queryset, is_approval=False)

    def decide_many(self, request: HttpRequest) -> HttpResponse:
        """Ask for confirmation before many requests are decided; decide them once it is given."""
        if request.method != "POST":
            messages.warning(request, _("You had been signed out. Nothing was decided."))
            return HttpResponseRedirect(reverse(INBOX))
        is_approval = request.POST.get("decision") == "approve"
        items, visible = request.POST.getlist("item"), self.get_queryset(request)
        try:
            if foreign := many.keys_out_of_sight(items, visible):
                decisions.record_foreign(request, foreign, is_approval=is_approval)
            selection = many.selection_from_form(items, visible)
        except DwpError as exc:
            messages.error(request, str(exc.message))
            return HttpResponseRedirect(reverse(INBOX))
        if "confirmed" not in request.POST:
            return self._ask_to_confirm(request, selection, is_approval=is_approval)
        if is_approval and request.POST.get("typed", "").strip() != many.number_to_type(selection):
            wrong = _("That is not the number. Nothing was changed.")
            return self._ask_to_confirm(request, selection, is_approval=True, wrong=wrong)
        tenants = {row.tenant_id for row in selection.requests}
        results = many.decide(
            request, selection, is_approval=is_approval, reason=_posted_reason(request, tenants)
        )
        return self._render(
            request,
            "hitl/results.html",
            {
                "title": many.summary(results),
                "results": [(result, rows.row_context(result.request)) for result in results],
            },
        )

    def _ask_from_archive(
        self, request: HttpRequest, queryset: QuerySet[ApprovalRequest], *, is_approval: bool
    ) -> HttpResponse:
        try:
            return self._ask_to_confirm(
                request, many.selection_from_archive(queryset), is_approval=is_approval
            )
        except DwpError as exc:
            messages.error(request, str(exc.message))
            return HttpResponseRedirect(request.get_full_path())

    def _ask_to_confirm(
        self,
        request: HttpRequest,
        selection: many.Selection,
        *,
        is_approval: bool,
        wrong: str = "",
    ) -> HttpResponse:
        tenants = {row.tenant_id for row in selection.requests}
        number = many.number_to_type(selection)
        return self._render(
            request,
            "hitl/many.html",
            {
                "title": many.question(selection, is_approval=is_approval),
                "rows": many.rows_to_confirm(selection, is_approval=is_approval),
                "is_approval": is_approval,
                "presets": reasons.offered(tenants),
                "to_type": _("Type %(number)s to approve them all.") % {"number": number},
                "wrong": wrong,
            },
        )

    def _render(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        shared = {"opts": self.opts, "media": self.media, "texts": script_texts.as_json()}
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
        tenants = self.visible_tenants(operator_at(request))
        keys = archive.search(tenants, text)
        if not keys and search_term != text:
            keys = archive.search(tenants, search_term)  # an id may begin or end with a space
        return queryset.filter(pk__in=keys), False


def address(request_id: str) -> str:
    """Return the path that leads to a request's page wherever its id is known.

    Not `reverse`, which escapes an id with `/` or `%` twice.
    """
    return f"{reverse('admin:index')}requests/{quote(request_id, safe='')}"


@never_cache
@require_safe
def request_by_id(request: HttpRequest, request_id: str) -> HttpResponse:
    """Lead to the page of the request of this id, through the sign-in if need be.

    An id that nobody has and one of another tenant get the same answer.
    """
    if not admin.site.has_permission(request):
        return redirect_to_login(address(request_id), reverse("admin:login"))
    visible = permissions.visible_to(operator_at(request)).filter(request_id=request_id)
    pk = visible.values_list("pk", flat=True).first()
    if pk is None:
        raise Http404
    return HttpResponseRedirect(reverse(REQUEST_PAGE, args=[pk]))


def _posted_reason(request: HttpRequest, tenants: set[str]) -> str:
    sent = request.POST
    return reasons.chosen(tenants, sent.get("preset", ""), sent.get("reason", "").strip())
