"""Pages of the tenant's requests, newest first (wire.md, 3.5)."""

from __future__ import annotations

from base64 import b64decode
from urllib.parse import parse_qs, urlsplit

from django.http import HttpRequest
from django.utils.translation import gettext as _
from rest_framework.exceptions import NotFound
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

from dwp_project.gateway.errors import InvalidValue
from hitl.models import ID_PATTERN, ApprovalRequest, ApprovalRequestQuerySet
from hitl.states import Status


class NewestFirst(CursorPagination):
    page_size = 50  # wire.md, 3.5
    ordering = "-id"


def page_of(
    request: Request, requests: ApprovalRequestQuerySet, view: APIView
) -> tuple[list[ApprovalRequest], str | None]:
    """Return a page of the requests by `status`, `sessionId` and `cursor`, and the next cursor.

    The next cursor is None on the last page. Raises `InvalidValue` for an unknown status or
    cursor (wire.md, 3.5).
    """
    if status := request.query_params.get("status"):
        if status not in Status.values:
            raise InvalidValue(
                _("status is one of: %(names)s.") % {"names": ", ".join(Status.values)}
            )
        requests = requests.filter(status=status)
    if session_id := request.query_params.get("sessionId"):
        if not ID_PATTERN.fullmatch(session_id):
            return [], None
        requests = requests.filter(session_id=session_id)
    paginator = NewestFirst()
    try:
        # DRF ignores a cursor that is not base64.
        b64decode(request.query_params.get("cursor", ""), validate=True)
        rows = paginator.paginate_queryset(requests, _without_host(request), view)
    except (NotFound, ValueError) as exc:
        raise InvalidValue(_("cursor is not one that this list gave out.")) from exc
    link = paginator.get_next_link()
    cursor = parse_qs(urlsplit(link).query).get("cursor", [None])[0] if link else None
    return list(rows or []), cursor


def _without_host(request: Request) -> Request:
    """Return the request without its host.

    The paginator builds links. Only their cursor is used, but building a link fails for a host
    that is not in ALLOWED_HOSTS.
    """
    plain = HttpRequest()
    plain.GET = request._request.GET
    plain.META = {"SERVER_NAME": "localhost", "SERVER_PORT": "80"}
    return Request(plain)
