"""Who acts on a request, and from where, as the audit records it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from django.http import HttpRequest

from dwp_project.gateway.addresses import client_address
from dwp_project.gateway.identity import recorded
from dwp_project.gateway.roles import Role
from hitl.states import ActorKind, Channel


def person_key(user_id: str) -> str:
    """Return the key by which rules about different people compare user ids: `Kim` is `kim`.

    Everything else compares ids exactly. If an issuer gives two people ids with the same key,
    only one of them can vote, which is better than one person with two votes (wire.md, 3.6).
    """
    return unicodedata.normalize("NFKC", user_id).casefold().strip()


@dataclass(frozen=True, slots=True)
class Actor:
    """A person or process that acts within one tenant, as the services are called with."""

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
        """The details of the caller that audit records have no columns for."""
        members = {"source": self.source, "callerType": self.caller_type, "role": self.role}
        return {name: value for name, value in members.items() if value}


def operator_actor(
    username: str, tenant_id: str, role: str, request: HttpRequest | None = None
) -> Actor:
    """Return an operator of the admin pages as actor in a tenant, with this role there.

    With the `request` of a page, the actor has its address and user agent as well.
    """
    client = {} if request is None else client_details(request)
    return Actor(
        id=username,
        tenant_id=tenant_id,
        kind=ActorKind.OPERATOR,
        channel=Channel.ADMIN,
        role=role,
        **client,
    )


def client_details(request: HttpRequest) -> dict[str, str]:
    """Return the address and user agent of `request` as arguments of `Actor`."""
    return {
        "address": client_address(request),
        "user_agent": recorded(request, "User-Agent"),
    }


def clock_actor(tenant_id: str) -> Actor:
    """Return the actor of expiry and escalation."""
    return Actor(id="clock", tenant_id=tenant_id, kind=ActorKind.CLOCK, channel=Channel.CLOCK)


def recovery_actor(tenant_id: str) -> Actor:
    """Return the actor that ends the requests of sessions whose process is gone."""
    return Actor(
        id="recovery",
        tenant_id=tenant_id,
        kind=ActorKind.CLOCK,
        channel=Channel.CLOCK,
        role=Role.ADMIN.value,
    )


def system_actor(tenant_id: str) -> Actor:
    """Return the actor of commands and shells on the machine itself."""
    return Actor(id="system", tenant_id=tenant_id, kind=ActorKind.SYSTEM, channel=Channel.COMMAND)
