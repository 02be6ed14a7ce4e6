"""The audit pages: one chain at a time, to read, verify, sign and export."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from dwp_project.gateway.operators import Operator, operator_at
from hitl.admin.base import ReadOnlyAdmin
from hitl.approvals import permissions
from hitl.audit import (
    access,
    checkpoint_trust,
    checkpoints,
    compare_requests,
    decision_record,
    search,
    signing,
)
from hitl.audit.export_format import Format
from hitl.audit.search import SearchQuery
from hitl.desk import aftermath, urls
from hitl.models import AuditChain, AuditRecord
from hitl.states import AuditEvent
from hitl.text import dates, kinds, sanitize

_NUMBER = re.compile(r"[0-9]{1,18}")
# Characters of a field of a search: those of the longest id.
_MOST_SEARCHED = 512
# The fields of a search, as the form and the links name them.
_SEARCH_FIELDS = ("from", "to", "zone", "actor", "event", "action", "request")


@admin.register(AuditRecord)
class AuditRecordAdmin(ReadOnlyAdmin):
    fields = ("sequence",)
    change_form_template = "hitl/book/record.html"

    def visible_tenants(self, operator: Operator) -> list[str]:
        return access.readable_chains(operator)

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            # In the query: an id may have a slash or be `..`. Older links have it in the path.
            path("request/", view(self.request_view), name="hitl_book_request"),
            path("request/<str:request_id>/", view(self.request_view)),
            path("checkpoint/", view(self.checkpoint_view), name="hitl_book_checkpoint"),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show one chain's records, newest first, and the buttons to verify, sign and export it."""
        operator = operator_at(request)
        chains = self.visible_tenants(operator)
        named = request.GET.get("tenant")
        if named is not None and named not in chains:
            return self._refusal(request, tenant=named)
        tenant_id = named if named is not None else next(iter(chains), None)
        # A request has records in the chain of its own tenant, whichever the form names. But that
        # of the deployment names those that somebody tried to decide elsewhere.
        own = _tenant_of(operator, _sent(request)["request"]) if tenant_id else None
        is_elsewhere = own is not None and named not in (None, own)
        tenant_id = own or tenant_id
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            **(extra_context or {}),
            "title": _("Audit records"),
            "opts": self.opts,
            "chains": [(name, name or _("The deployment's own")) for name in chains],
            "tenant": tenant_id,
            "is_elsewhere": is_elsewhere,
        }
        if tenant_id is not None:
            context |= self._search_context(request, tenant_id) | _chain_context(
                operator, tenant_id
            )
        return TemplateResponse(request, "hitl/book/records.html", context)

    def _search_context(self, request: HttpRequest, tenant_id: str) -> dict[str, Any]:
        sent = _sent(request)
        before = request.GET.get("before", "")
        is_time_wrong = False
        try:
            zone = dates.zone_named(sent["zone"])
            since = dates.parse(sent["from"], zone=zone)
            until = dates.parse(sent["to"], is_end=True, zone=zone)
        except ValueError:
            since = until = None
            is_time_wrong = True
        page = search.search(
            SearchQuery(
                tenant_id,
                since=since,
                until=until,
                actor=sent["actor"],
                event=sent["event"],
                action=sent["action"],
                request_id=sent["request"],
                before=int(before) if _NUMBER.fullmatch(before) else None,
            )
        )
        link: dict[str, str] = {
            "tenant": tenant_id,
            **{name: text for name, text in sent.items() if text},
        }
        return {
            "sent": sent,
            "is_time_wrong": is_time_wrong,
            "events": [("membership", _("every event of memberships")), *AuditEvent.choices],
            "rows": [_row_context(record) for record in page.records],
            "count": page.count if page.is_counted else search.MOST_COUNTED,
            "is_counted": page.is_counted,
            "cut": _("looked through %(count)d, older ones follow")
            % {"count": search.MOST_LOOKED_THROUGH}
            if page.is_cut
            else "",
            "newest": urlencode(link) if before else "",
            "older": urlencode({**link, "before": str(page.next_before)})
            if page.next_before
            else "",
        }

    def page_context(self, request: HttpRequest, obj: AuditRecord) -> dict[str, Any]:
        """Return what one record says, and what vouches for it."""
        return _record_context(obj)

    def audit_of(self, obj: AuditRecord) -> str:
        return reverse("admin:hitl_auditrecord_change", args=[obj.pk])

    def request_view(self, request: HttpRequest, request_id: str = "") -> HttpResponse:
        """Show one request with its votes, its signal and its audit records."""
        named = request_id or request.GET.get("id", "")
        approval_request = (
            permissions.visible_to(operator_at(request))
            .filter(request_id=named)
            .select_related("policy", "outbox_entry")
            .prefetch_related("votes")
            .first()
        )
        if approval_request is None:
            return self._refusal(request, request_id=named)
        records, is_whole = search.records_of_request(
            approval_request.request_id, approval_request.tenant_id
        )
        context = {
            **self.admin_site.each_context(request),
            "title": _("History of a request"),
            "opts": self.opts,
            "approval_request": approval_request,
            "request_id": sanitize.marked(approval_request.request_id),
            "session_id": sanitize.marked(approval_request.session_id),
            "action": sanitize.marked(approval_request.action_type or "-"),
            "requester": sanitize.marked(approval_request.user_id),
            "votes": [
                (vote, sanitize.marked(vote.user_id)) for vote in approval_request.votes.all()
            ],
            "tenant": approval_request.tenant_id,
            "aftermath": aftermath.of(
                approval_request, getattr(approval_request, "outbox_entry", None)
            )
            if decision_record.is_recorded(approval_request)
            else None,
            "rows": [_row_context(record) for record in records],
            "is_whole": is_whole,
            "differences": [
                sanitize.marked(str(difference))
                for difference in compare_requests.compare_request(approval_request)
            ],
            "all": urlencode(
                {"tenant": approval_request.tenant_id, "request": approval_request.request_id}
            ),
        }
        return TemplateResponse(request, "hitl/book/request.html", context)

    def _refusal(
        self, request: HttpRequest, *, tenant: str | None = None, request_id: str = ""
    ) -> HttpResponse:
        """Say who may read what was asked for. Nobody learns whether there is such a tenant or
        request: the answer is the same for what nobody has."""
        context = {
            **self.admin_site.each_context(request),
            "title": _("Not for you to read, or not there"),
            "opts": self.opts,
            "named_tenant": None if tenant is None else sanitize.marked(tenant),
            "is_deployment": tenant == "",
            "request_id": sanitize.marked(request_id) if request_id else "",
            "tenants": [sanitize.marked(name) for name in operator_at(request).tenants],
        }
        return TemplateResponse(request, "hitl/book/refused.html", context, status=404)

    def checkpoint_view(self, request: HttpRequest) -> HttpResponse:
        """Sign the head of a chain now."""
        return _make_checkpoint(request)


def _sent(request: HttpRequest) -> dict[str, str]:
    """Return the fields of the search, each at most as long as the longest id."""
    sent = {name: request.GET.get(name, "").strip()[:_MOST_SEARCHED] for name in _SEARCH_FIELDS}
    # Older links name the request `q`.
    sent["request"] = sent["request"] or request.GET.get("q", "").strip()[:_MOST_SEARCHED]
    return sent


def _tenant_of(operator: Operator, request_id: str) -> str | None:
    """Return the tenant of a request that the operator sees; None for any other."""
    if not request_id:
        return None
    visible = permissions.visible_to(operator).filter(request_id=request_id)
    return visible.values_list("tenant_id", flat=True).first()


@require_POST
def _make_checkpoint(request: HttpRequest) -> HttpResponse:
    tenant_id = request.POST.get("tenant", "")
    if tenant_id not in access.signable_chains(operator_at(request)):
        raise Http404
    try:
        checkpoint = checkpoints.sign_head(tenant_id)
    except (checkpoints.ChainDiffers, signing.KeyUnusable) as exc:
        messages.error(request, str(exc))
    else:
        if checkpoint is None:
            messages.info(request, _("Nothing new to sign: the last checkpoint stands."))
        else:
            text = _("Record %(number)d is signed.") % {"number": checkpoint.sequence}
            messages.success(request, text)
    url = reverse("admin:hitl_auditrecord_changelist")
    return HttpResponseRedirect(f"{url}?{urlencode({'tenant': tenant_id})}")


def _chain_context(operator: Operator, tenant_id: str) -> dict[str, Any]:
    """Return the part of the page that is about the whole chain."""
    head = AuditChain.objects.filter(tenant_id=tenant_id).first() or AuditChain()
    signed, is_outside, is_file_lost = None, False, False
    # The page needs no key; `check` and the log name one that cannot be used.
    with suppress(signing.KeyUnusable):
        signed = checkpoint_trust.newest_row(tenant_id)
        is_outside = signed is None or checkpoints.is_in_file(tenant_id, signed.sequence)
        is_file_lost = checkpoints.is_file_lost(tenant_id)
    return {
        "head": head,
        "signed": signed,
        "is_outside": is_outside,
        "is_file_lost": is_file_lost,
        "may_sign": tenant_id in access.signable_chains(operator),
        "verify_url": f"/{urls.VERIFY_PATH}",
        "export_url": f"/{urls.EXPORT_PATH}",
        "formats": [(form.value, form.value.upper()) for form in Format],
    }


def _row_context(record: AuditRecord) -> dict[str, Any]:
    """Return what the table of records shows of one, its texts marked."""
    try:
        details = json.loads(record.details)
    except ValueError:
        details = {"": record.details}
    return {
        "record": record,
        "request_id": sanitize.marked(record.request_id) if record.request_id else "",
        "actor": sanitize.marked(record.actor or "-"),
        "action": sanitize.marked(record.action_type) if record.action_type else "",
        "address": sanitize.marked(record.source_address) if record.source_address else "",
        "agent": sanitize.marked(record.user_agent) if record.user_agent else "",
        "details": [
            (name, _detail(text if isinstance(text, str) else json.dumps(text)))
            for name, text in details.items()
        ],
    }


def _detail(text: str) -> SafeString:
    moment = kinds.moment_in(text)
    return dates.html(moment, text) if moment else sanitize.marked(text)


def _record_context(record: AuditRecord) -> dict[str, Any]:
    """Return what the page of one record shows, its texts marked."""
    row = _row_context(record)
    search_link = {"tenant": record.tenant_id}
    return {
        "title": _("Audit record %(number)d") % {"number": record.sequence},
        "row": row,
        "at": dates.html(record.at, form=dates.EXACT),
        "tenant": sanitize.marked(record.tenant_id or _("The deployment's own")),
        "session_id": sanitize.marked(record.session_id) if record.session_id else "",
        "chain": urlencode(search_link),
        "of_actor": urlencode({**search_link, "actor": record.actor}),
    }
