"""The actor behind an HTTP request."""

from __future__ import annotations

from django.http import HttpRequest

from dwp_project.gateway.identity import Identity, recorded
from hitl.actors import Actor, client_details
from hitl.states import ActorKind, Channel


def caller(request: HttpRequest, identity: Identity, channel: Channel = Channel.REST) -> Actor:
    """Return the actor that sends `request`, with the headers that the audit records.

    Queries the database for the role when the token names none.
    """
    return Actor(
        id=identity.user_id,
        tenant_id=identity.tenant_id,
        kind=ActorKind.USER,
        channel=channel,
        role=identity.role,
        **client_details(request),
        source=recorded(request, "X-DWP-Source", "FRONTEND"),
        caller_type=recorded(request, "X-DWP-Caller-Type", "USER"),
    )
