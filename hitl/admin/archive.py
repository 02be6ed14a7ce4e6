"""The archive of requests, which is their list page: one tenant at a time, newest first.

Filters and searches go by an index or read a bounded number of rows, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.operators import operator_at
from hitl.desk import wording
from hitl.models import ApprovalRequest
from hitl.text import sanitize

# Chosen: rows that are counted, and so can be paged to. Older ones are reached by searching.
MAX_COUNT = 10_000
# Chosen: the newest rows that a requester or the beginning of an id is searched in, which have no
# index. The search help names this figure and the one above.
_NEWEST_SEARCHED = 10_000
# Chosen: more than anybody pages through.
_MAX_RESULTS = 500
# Chosen: the newest rows whose actions the filter offers.
_NEWEST_SAMPLED = 1_000


if TYPE_CHECKING:
    _Paginator = Paginator[Any]  # generic in its stubs only
else:
    _Paginator = Paginator


class BoundedPaginator(_Paginator):
    """Counts no further than `MAX_COUNT`, so that a long list costs no more than a short one."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by("-id")[:MAX_COUNT].count())


class NewestFirst(ChangeList):
    """Lists rows newest first, as the indexes have them, whatever order the address asks for."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        return ["-id"]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # Read one page of keys first, because an index alone has them. For whole rows a planner may
        # scan every younger row, or collect all matches where it cannot tell that they are few.
        keys = self.result_list[: self.list_per_page].values_list("pk", flat=True)
        self.result_list = self.root_queryset.filter(pk__in=list(keys)).order_by("-id")


class TenantFilter(admin.SimpleListFilter):
    """Filters by one of the tenants that the operator sees, by default the first."""

    title = _("tenant")
    parameter_name = "tenant_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        tenants = model_admin.visible_tenants(operator_at(request))
        return [(tenant, sanitize.plain(tenant)) for tenant in tenants]

    def has_output(self) -> bool:
        return len(self.lookup_choices) > 1

    def choices(self, changelist: Any) -> Iterator[Any]:
        selected = self._selected_tenant()
        for tenant, label in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: tenant})
            yield {"selected": tenant == selected, "query_string": query, "display": label}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None and request.GET.get("q"):
            return queryset  # a search returns few rows, of all the operator's tenants
        selected = self._selected_tenant()
        return queryset.none() if selected is None else queryset.filter(tenant_id=selected)

    def _selected_tenant(self) -> str | None:
        tenants = [str(tenant) for tenant, _label in self.lookup_choices]
        value = self.value()
        if value is not None:
            return value if value in tenants else None
        return tenants[0] if tenants else None


class ActionFilter(admin.SimpleListFilter):
    """Filters by the actions of the newest requests in the chosen tenant."""

    title = _("action")
    parameter_name = "action_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        tenants = model_admin.visible_tenants(operator_at(request))
        named = request.GET.get(TenantFilter.parameter_name)
        tenant = named if named in tenants else next(iter(tenants), None)
        newest = ApprovalRequest.objects.filter(tenant_id=tenant).order_by("-id")
        actions = newest.values_list("action_type", flat=True)[:_NEWEST_SAMPLED]
        return [
            (action, sanitize.plain(action) or wording.action(action))
            for action in sorted(set(actions))
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset if value is None else queryset.filter(action_type=value)


def search(tenants: list[str], text: str) -> list[int]:
    """Return the keys of the requests that `text` names: a request id, a session or an action,
    whole; the beginning of a request id or a whole requester among the newest of each tenant."""
    requests = ApprovalRequest.objects.filter(tenant_id__in=tenants)
    keys = {
        *_keys(requests.filter(request_id=text)),
        *_keys(requests.filter(session_id=text)),
    }
    for tenant in tenants:
        of_tenant = ApprovalRequest.objects.filter(tenant_id=tenant).order_by("-id")
        keys.update(_keys(of_tenant.filter(action_type=text)))
        # Compared in Python, because in SQL a planner may read the whole table for this.
        newest = of_tenant.values_list("pk", "user_id", "request_id")[
            : _NEWEST_SEARCHED // len(tenants)
        ]
        keys.update(
            pk for pk, user, request_id in newest if user == text or request_id.startswith(text)
        )
    return sorted(keys, reverse=True)[:_MAX_RESULTS]


def _keys(rows: QuerySet[ApprovalRequest]) -> list[int]:
    return list(rows.order_by("-id").values_list("pk", flat=True)[:_MAX_RESULTS])
