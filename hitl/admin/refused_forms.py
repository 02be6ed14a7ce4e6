"""The page for a form whose CSRF token was refused: what was not done, why, and where to go on."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import REASON_NO_CSRF_COOKIE
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from dwp_project.gateway import envelope
from dwp_project.gateway.errors import Forbidden
from dwp_project.gateway.views import PAGES
from hitl.desk.filters import Filter

_MODEL = "hitl_approvalrequest"
_DECISIONS = (f"{_MODEL}_decide", f"{_MODEL}_many")
# In Django's reasons for a form from an address that it does not trust.
_BAD_ADDRESS = "checking failed"
# These answer no GET.
_WITHOUT_PAGE = ("logout", "hitl_book_checkpoint")


def form_refused(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer 403 to a form without a valid token (`CSRF_FAILURE_VIEW`): in the envelope, or for
    people as a page."""
    if not request.path_info.startswith(PAGES):
        return envelope.render_error(Forbidden(), request)
    is_decision = _name_of(request) in _DECISIONS
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("Nothing was decided.") if is_decision else _("Nothing was changed."),
        "is_decision": is_decision,
        "why": _why(reason),
        "back": _way_back(request),
    }
    return TemplateResponse(request, "hitl/refused_form.html", context, status=403).render()


def _name_of(request: HttpRequest) -> str | None:
    """Return the name of the path, which some have none of."""
    return request.resolver_match.url_name if request.resolver_match else None


def _why(reason: str) -> str:
    if reason == REASON_NO_CSRF_COOKIE:
        return _(
            "Your browser sent no cookie along. Allow cookies for this site, then send the form "
            "again."
        )
    if _BAD_ADDRESS in reason:
        return _(
            "The form came from an address that this server does not take forms from. If that goes "
            "on, CSRF_TRUSTED_ORIGINS lacks the address at which you see this page: tell whoever "
            "runs this server."
        )
    return _(
        "The form is older than your sign-in: perhaps you have signed in again in another tab "
        "since. Go back, and send it again."
    )


def _way_back(request: HttpRequest) -> list[tuple[str, str]]:
    """Return links with their texts, the first to where the form can be sent again.

    Only the path says where that is, which is one of this site's: a `Referer` may be anybody's.
    """
    name = _name_of(request)
    if name == "login":
        return [(request.get_full_path(), _("Back to the sign-in"))]
    inbox = (reverse(f"admin:{_MODEL}_inbox"), _("Back to the inbox"))
    if name == f"{_MODEL}_decide" and request.resolver_match:
        page = reverse(
            f"admin:{_MODEL}_change", kwargs={"object_id": request.resolver_match.kwargs["pk"]}
        )
        chosen = Filter.from_view(request.GET.get("view", ""))
        return [
            (f"{page}{chosen.view_query}", _("Back to the request")),
            (f"{inbox[0]}{chosen.link_query}", inbox[1]),
        ]
    if name == f"{_MODEL}_many":
        query = request.GET.urlencode()
        return [(f"{inbox[0]}?{query}" if query else inbox[0], inbox[1])]
    if name in _WITHOUT_PAGE:
        return [inbox]
    # A page whose form was sent shows it again.
    return [(request.get_full_path(), _("Back to the form")), inbox]
