"""How health and readiness describe themselves (docs/reference/wire.md, 2.1)."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample, extend_schema_view

from dwp_project.gateway.openapi import answer, list_of, member, operation, record

health = extend_schema_view(
    get=operation(
        "Health",
        "Is the process alive",
        "For liveness probes. Asks neither database nor Redis, and is not in the envelope.",
        answers={
            200: answer(
                "It is.",
                record(
                    {
                        "status": {"type": "string", "enum": ["healthy"]},
                        "environment": member("string", "`DWP_ENVIRONMENT` of the deployment."),
                    }
                ),
                [OpenApiExample("alive", {"status": "healthy", "environment": "development"})],
            )
        },
        raised=(),
        is_public=True,
    )
)

_DOWN = list_of({"type": "string", "enum": ["database", "redis"]})
ready = extend_schema_view(
    get=operation(
        "Health",
        "Can the process work",
        "For readiness probes. Asks database and Redis, and is not in the envelope.",
        operation_id="get_readiness",
        answers={
            200: answer(
                "It can.",
                record({"status": {"type": "string", "enum": ["ready"]}}),
                [OpenApiExample("ready", {"status": "ready"})],
            ),
            503: answer(
                "It cannot: `down` names what is away.",
                record({"status": {"type": "string", "enum": ["not ready"]}, "down": _DOWN}),
                [OpenApiExample("Redis away", {"status": "not ready", "down": ["redis"]})],
            ),
        },
        raised=(),
        is_public=True,
    )
)
