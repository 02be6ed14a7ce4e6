"""An operator's decision on the admin's pages, and the message of what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dwp_project.gateway.errors import DwpError
from dwp_project.gateway.identity import recorded
from dwp_project.gateway.models import role_in
from hitl import errors, outbox, showing
from hitl.actors import Actor
from hitl.models import ApprovalRequest
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


def decide_each(request: HttpRequest, selected: Iterable[ApprovalRequest], decide: Decide) -> None:
    """Decide each by itself; say how many were, and of every other why it was not."""
    done = sum(_decided(request, found, decide) is not None for found in selected)
    if done:
        text = ngettext("%(count)d request decided.", "%(count)d requests decided.", done)
        messages.success(request, text % {"count": done})


def decide_one(request: HttpRequest, found: ApprovalRequest, decide: Decide) -> None:
    """Decide one; say what it is now, or why it was not decided."""
    decided = _decided(request, found, decide)
    if decided is not None:
        told = {"name": found.request_id, "status": Status(decided.status).label}
        messages.success(request, _("Request %(name)s is now %(status)s.") % told)
        if outbox.is_held_up(decided.request_id):
            text = _("Redis is away: an agent outside this server is told when it is back.")
            messages.warning(request, text)


def _decided(
    request: HttpRequest, found: ApprovalRequest, decide: Decide
) -> ApprovalRequest | None:
    """Decide by the service that REST uses; return None, with a message, if that refuses.

    No message begins with the id: the admin writes the first letter of every message large.
    """
    name = found.request_id
    try:
        return decide(name, operator(request, found.tenant_id))
    except errors.AlreadyDecided as already:
        told = {
            "name": name,
            "status": already.request.get_status_display(),
            "who": showing.plain(already.request.decided_by),
        }
        text = _("Request %(name)s was already %(status)s by %(who)s. Nothing was changed.")
        messages.warning(request, text % told)
    except DwpError as exc:
        text = _("Request %(name)s was not decided: %(why)s")
        messages.error(request, text % {"name": name, "why": exc.message})
    return None
