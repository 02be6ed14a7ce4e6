"""How health and readiness describe themselves (docs/reference/wire.md, 2.1)."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample, extend_schema_view

from dwp_project.gateway.openapi import (
    answer,
    enveloped,
    example,
    list_of,
    member,
    operation,
    record,
)

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

main_service = extend_schema_view(
    get=operation(
        "Health",
        "Is the Main Service alive",
        "The same as the other health paths, in the envelope: a dashboard reads its `status`.",
        operation_id="get_main_service_health",
        answers={
            200: answer(
                "It is.",
                enveloped({"type": "string", "enum": ["Main Service is running"]}),
                [example("alive", "OK", "Main Service is running")],
            )
        },
        raised=(),
        is_public=True,
    )
)

_DOWN = list_of({"type": "string", "enum": ["database", "database read-only", "database full"]})
_LATE = list_of(
    {
        "type": "string",
        "enum": [
            *("redis", "redis full", "redis read-only", "redis rights", "redis cluster"),
            *("redis shared", "deployment id", "clock"),
        ],
    }
)
_REASON = member("string", "What is wrong, for people.")
ready = extend_schema_view(
    get=operation(
        "Health",
        "Can the process work",
        "For readiness probes. Tries what work needs of database and Redis, each for at most "
        "1.5 s, and is not in the envelope. An answer is kept for a second.",
        operation_id="get_readiness",
        answers={
            200: answer(
                "It can. `degraded`: requests are decided, but agents on Redis hear of it late, "
                "because of what `late` names, or the host's `clock` is wrong.",
                record(
                    {
                        "status": {"type": "string", "enum": ["ready", "degraded"]},
                        "late": _LATE,
                        "reason": _REASON,
                    },
                    optional=("late", "reason"),
                ),
                [
                    OpenApiExample("ready", {"status": "ready"}),
                    OpenApiExample(
                        "Redis full",
                        {
                            "status": "degraded",
                            "late": ["redis full"],
                            "reason": "Redis is out of memory: signals wait.",
                        },
                    ),
                ],
            ),
            503: answer(
                "It cannot: `down` names what keeps it from deciding.",
                record(
                    {
                        "status": {"type": "string", "enum": ["not ready"]},
                        "down": _DOWN,
                        "late": _LATE,
                        "reason": _REASON,
                    },
                    optional=("late",),
                ),
                [
                    OpenApiExample(
                        "database away",
                        {
                            "status": "not ready",
                            "down": ["database"],
                            "reason": "The database does not answer in time.",
                        },
                    )
                ],
            ),
        },
        raised=(),
        is_public=True,
    )
)
