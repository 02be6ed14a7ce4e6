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

from dwp_project.gateway.errors import DwpError
from dwp_project.gateway.middleware import checks_query
from dwp_project.gateway.operators import Operator, operator_at
from hitl import services
from hitl.admin import archive
from hitl.admin.base import ReadOnlyAdmin, audit_of_request
from hitl.approvals import permissions
from hitl.desk import (
    decisions,
    inbox_page,
    inbox_views,
    many,
    one,
    rows,
    script_texts,
    wording,
)
from hitl.desk.filters import Filter
from hitl.models import ApprovalRequest
from hitl.policies import reasons
from hitl.policies.rules import rule_of
from hitl.text import sanitize

INBOX = "admin:hitl_approvalrequest_inbox"
MANY = "hitl_approvalrequest_many"
REQUEST_PAGE = "admin:hitl_approvalrequest_change"
# Chosen: what fits in the tab of a browser, and in a line of breadcrumbs.
_MAX_TITLE_LENGTH = 80


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
            path("inbox/view/", wrap(self.keep_view), name="hitl_approvalrequest_view"),
            path("many/", wrap(self.decide_many), name=MANY),
            path("<int:pk>/decide/", wrap(self.decide), name="hitl_approvalrequest_decide"),
            *super().get_urls(),
        ]

    def audit_of(self, obj: ApprovalRequest) -> str:
        return audit_of_request(obj.request_id)

    # --- the inbox ---------------------------------------------------------------------

    @checks_query
    def inbox(self, request: HttpRequest) -> HttpResponse:
        """Show the pending requests of the operator's tenants that the query's filter lists."""
        chosen = Filter.from_query(request.GET)
        if "" in request.GET.values() and not chosen.ignored:
            # A form sends its empty fields as well; the address stays short.
            return HttpResponseRedirect(f"{reverse(INBOX)}{chosen.link_query}")
        page = inbox_page.context(operator_at(request), chosen, request.GET.get("after", ""))
        shared = {"opts": self.opts, "media": self.media, "title": _("Inbox")}
        return TemplateResponse(
            request, "hitl/inbox.html", {**self.admin_site.each_context(request), **shared, **page}
        )

    def keep_view(self, request: HttpRequest) -> HttpResponse:
        """Keep the filter that the inbox's page sends under a name, or remove the view."""
        chosen = Filter.from_view(request.POST.get("query", ""))
        username = request.user.get_username()
        if request.method == "POST" and "remove" in request.POST:
            inbox_views.remove(username, request.POST["remove"])
        elif request.method == "POST":
            try:
                inbox_views.save(username, request.POST.get("name", ""), chosen)
            except DwpError as exc:
                messages.error(request, str(exc.message))
        return HttpResponseRedirect(f"{reverse(INBOX)}{chosen.link_query}")

    # --- one ---------------------------------------------------------------------------

    def page_context(self, request: HttpRequest, obj: ApprovalRequest) -> dict[str, Any]:
        chosen = Filter.from_view(request.GET.get("view", ""))
        line = wording.message_line(obj, _MAX_TITLE_LENGTH)
        return {
            **one.page_context(services.settle(obj), operator_at(request), chosen),
            "texts": script_texts.as_json(),
            # Several are open in tabs: the title says which is which.
            "title": sanitize.plain(line) or wording.action(obj.action_type),
        }

    def decide(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Make the decision that the request's page sends, and go on to the first request that the
        filter of its address lists."""
        chosen = Filter.from_view(request.GET.get("view", ""))
        page = f"{reverse(REQUEST_PAGE, args=[pk])}{chosen.view_query}"
        obj = self.get_queryset(request).filter(pk=pk).first()
        if request.method == "POST" and obj is None:
            decisions.record_foreign(request, [pk], is_approval="approve" in request.POST)
        if obj is None:
            text = _("There is no such request in your tenants. Nothing was decided.")
            messages.error(request, text)
            return HttpResponseRedirect(f"{reverse(INBOX)}{chosen.link_query}")
        if request.method != "POST":
            # The sign-in leads back here with a GET; the form that was sent before it is lost.
            messages.warning(request, _("You had been signed out. Nothing was decided."))
            return HttpResponseRedirect(page)
        digest = request.POST.get("digest", "")
        # A page that was open before the update sends none.
        request_digest = request.POST.get("request_digest")
        if "approve" in request.POST and "reject" in request.POST:
            messages.error(request, _two_decisions())
            return HttpResponseRedirect(page)
        if "approve" in request.POST:
            comment = request.POST.get("comment", "")
            decision = decisions.approval(digest, request_digest, comment)
        elif "reject" in request.POST:
            reason = _posted_reason(request, {obj.tenant_id})
            decision = decisions.rejection(digest, reason, request_digest)
        else:
            messages.error(request, _no_decision())
            return HttpResponseRedirect(page)
        result = decisions.decide_with_message(request, obj, decision)
        if not result.is_done:
            return HttpResponseRedirect(f"{page}#id_reason" if result.is_reason_missing else page)
        operator = operator_at(request)
        following = one.next_to_decide(operator, pk, chosen)
        if following is None:
            return HttpResponseRedirect(f"{reverse(INBOX)}{chosen.link_query}")
        page = reverse(REQUEST_PAGE, args=[following])
        return HttpResponseRedirect(f"{page}{chosen.view_query}")

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

    @checks_query
    def decide_many(self, request: HttpRequest) -> HttpResponse:
        """Ask for confirmation before many requests are decided; decide them once it is given."""
        inbox = _inbox_as_filtered(request)
        if request.method != "POST":
            messages.warning(request, _("You had been signed out. Nothing was decided."))
            return HttpResponseRedirect(inbox)
        if len(set(request.POST.getlist("decision"))) > 1:
            messages.error(request, _two_decisions())
            return HttpResponseRedirect(inbox)
        if request.POST.get("decision") not in ("approve", "reject"):
            messages.error(request, _no_decision())
            return HttpResponseRedirect(inbox)
        is_approval = request.POST.get("decision") == "approve"
        items, visible = request.POST.getlist("item"), self.get_queryset(request)
        try:
            if foreign := many.keys_out_of_sight(items, visible):
                decisions.record_foreign(request, foreign, is_approval=is_approval)
            selection = many.selection_from_form(items, visible)
        except DwpError as exc:
            messages.error(request, str(exc.message))
            return HttpResponseRedirect(inbox)
        if "confirmed" not in request.POST:
            return self._ask_to_confirm(request, selection, is_approval=is_approval)
        if is_approval and request.POST.get("typed", "").strip() != many.number_to_type(selection):
            wrong = _("That is not the number. Nothing was changed.")
            return self._ask_to_confirm(request, selection, is_approval=True, wrong=wrong)
        tenants = {row.tenant_id for row in selection.requests}
        results = many.decide(
            request,
            selection,
            is_approval=is_approval,
            reason=_posted_reason(request, tenants),
            comment=request.POST.get("comment", ""),
        )
        groups = [
            (heading, [(result, rows.row_context(result.request)) for result in same])
            for heading, same in many.grouped(results)
        ]
        return self._render(
            request,
            "hitl/results.html",
            {"title": many.summary(results), "groups": groups, "inbox": inbox},
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
                "totals": many.totals(selection),
                "warnings": many.warnings(selection, is_approval=is_approval),
                "rows": many.rows_to_confirm(
                    selection, operator_at(request), is_approval=is_approval
                ),
                "alone": [rows.row_context(row) for row in selection.alone],
                "is_approval": is_approval,
                "presets": reasons.offered(tenants),
                "reason_required": any(rule_of(row).reason_required for row in selection.requests),
                "comment": request.POST.get("comment", ""),
                "inbox": _inbox_as_filtered(request),
                "query": _inbox_query(request),
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


def _no_decision() -> str:
    return _("The form said neither approve nor reject. Nothing was decided.")


def _two_decisions() -> str:
    return _("The form said both approve and reject. Nothing was decided.")


def _inbox_query(request: HttpRequest) -> str:
    """Return the query of the inbox from which a form for many requests was sent."""
    is_from_inbox = request.resolver_match and request.resolver_match.url_name == MANY
    return request.GET.urlencode() if is_from_inbox else ""


def _inbox_as_filtered(request: HttpRequest) -> str:
    query = _inbox_query(request)
    return f"{reverse(INBOX)}?{query}" if query else reverse(INBOX)


def _posted_reason(request: HttpRequest, tenants: set[str]) -> str:
    sent = request.POST
    return reasons.chosen(tenants, sent.get("preset", ""), sent.get("reason", "").strip())
