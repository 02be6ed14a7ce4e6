"""Headers of requests and answers in the API description (docs/reference/wire.md, 1)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiParameter

TENANT = "tenant1"


class BearerScheme(OpenApiAuthenticationExtension):
    """A token and its tenant, always together: drf-spectacular finds this by its target."""

    target_class = "dwp_project.gateway.identity.BearerAuthentication"
    name = ["bearerToken", "tenant"]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, Any]]:
        return [
            {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "HS256 JWT with the claims `sub`, `tenant_id`, `exp` and `iat` "
                "(and, if you like, `email` and `role`), at most 8 KB and, "
                "unless the deployment says otherwise, 24 hours long. `POST /auth/login` gives "
                "one; any issuer with the same secret may.",
            },
            {
                "type": "apiKey",
                "in": "header",
                "name": "X-Tenant-ID",
                "description": "The tenant you act in: the token's `tenant_id`.",
            },
        ]


def header(name: str, description: str, **schema: Any) -> OpenApiParameter:
    """Return an optional request header; `schema` is what its text must be."""
    return OpenApiParameter(
        name, {"type": "string", **schema}, OpenApiParameter.HEADER, description=description
    )


def answered(name: str, description: str, statuses: list[int], example: str) -> OpenApiParameter:
    """Return a header of the answers with these statuses."""
    return OpenApiParameter(
        name,
        {"type": "string", "example": example},
        OpenApiParameter.HEADER,
        description=description,
        response=statuses,
    )


# Who asks.
IDENTITY = [
    OpenApiParameter(
        "X-Tenant-ID",
        {"type": "string", "example": TENANT},
        OpenApiParameter.HEADER,
        required=True,
        description="The tenant you act in; must be the token's `tenant_id`.",
    ),
    header("X-User-ID", "Optional. If you send it, it must be the token's `sub`."),
]
# To recognise one's own request in an error and in the logs behind a gateway.
TRACING = [
    header("X-Trace-Id", "Optional. An error's body repeats it as `traceId`."),
    header("X-Gateway-Request-Id", "Optional. An error's body repeats it as `gatewayRequestId`."),
]
# Headers that are only recorded, with the session or in the audit.
RECORDED = [
    header("X-DWP-Source", "Optional, recorded: where the call comes from.", default="FRONTEND"),
    header("X-DWP-Caller-Type", "Optional, recorded: what kind of caller it is.", default="USER"),
]
AGENT_ID = header("X-Agent-ID", "Optional, recorded: the agent this is about.")

# What HTTP wants beside the status of an error.
ANSWERED = [
    answered("WWW-Authenticate", "How to authenticate.", [401], "Bearer"),
    answered("Allow", "The methods that this path has.", [405], "POST, OPTIONS"),
]
RETRY_AFTER = answered("Retry-After", "Seconds to wait before trying again.", [503], "1")
