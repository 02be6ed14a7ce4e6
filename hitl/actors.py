"""Who acts on a request, and from where: what the audit keeps of them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from django.http import HttpRequest

from dwp_project.gateway.identity import recorded
from dwp_project.gateway.roles import Role
from hitl.states import ActorKind, Channel


def person_key(user_id: str) -> str:
    """Return whom a user id means, for rules about different people: `Kim` and `kim` are one.

    Ids are otherwise compared exactly. Where an issuer gives two people ids that differ in no
    more than this, only one of them can vote: better than one person with two votes.
    """
    return unicodedata.normalize("NFKC", user_id).casefold().strip()


@dataclass(frozen=True, slots=True)
class Actor:
    """A person or process within one tenant."""

    id: str
    tenant_id: str
    kind: ActorKind
    channel: Channel
    role: str = ""
    address: str = ""
    user_agent: str = ""
    # `X-DWP-Source` and `X-DWP-Caller-Type`, where the actor came over HTTP.
    source: str = ""
    caller_type: str = ""

    @property
    def recorded(self) -> dict[str, str]:
        """What the audit keeps of the caller besides its own columns."""
        members = {"source": self.source, "callerType": self.caller_type, "role": self.role}
        return {name: value for name, value in members.items() if value}


def operator_actor(
    username: str, tenant_id: str, role: str, request: HttpRequest | None = None
) -> Actor:
    """Return an operator of the admin's pages as actor in a tenant; with the `request` of a
    page, also what the audit keeps of where they sit."""
    here = {} if request is None else client_details(request)
    return Actor(
        id=username,
        tenant_id=tenant_id,
        kind=ActorKind.OPERATOR,
        channel=Channel.ADMIN,
        role=role,
        **here,
    )


def client_details(request: HttpRequest) -> dict[str, str]:
    """Return the address and the program that `request` comes from, as `Actor` takes them."""
    return {
        "address": str(request.META.get("REMOTE_ADDR") or "")[:64],
        "user_agent": recorded(request, "User-Agent"),
    }


def clock_actor(tenant_id: str) -> Actor:
    """Return the actor of what happens because time has passed."""
    return Actor(id="clock", tenant_id=tenant_id, kind=ActorKind.CLOCK, channel=Channel.CLOCK)


def recovery_actor(tenant_id: str) -> Actor:
    """Return the actor of what becomes of sessions whose process is gone."""
    return Actor(
        id="recovery",
        tenant_id=tenant_id,
        kind=ActorKind.CLOCK,
        channel=Channel.CLOCK,
        role=Role.ADMIN.value,
    )


def system_actor(tenant_id: str) -> Actor:
    """Return the actor of what is done on the machine itself, by whoever may run commands."""
    return Actor(id="system", tenant_id=tenant_id, kind=ActorKind.SYSTEM, channel=Channel.COMMAND)
