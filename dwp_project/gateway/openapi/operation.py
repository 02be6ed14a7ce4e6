"""One method of one path in the API description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiRequest,
    OpenApiResponse,
    extend_schema,
)

from dwp_project.gateway.openapi.components import Schema
from dwp_project.gateway.openapi.failures import ANYWHERE, STORED, Failure, failures
from dwp_project.gateway.openapi.headers import ANSWERED, IDENTITY, RETRY_AFTER, TRACING

Tag = Literal["Approvals", "Stream", "Sessions", "Login", "Health", "Description"]


def operation(
    tag: Tag,
    summary: str,
    description: str,
    *,
    answers: Mapping[Any, OpenApiResponse],
    raised: Sequence[Failure],
    operation_id: str | None = None,
    parameters: Sequence[Any] = (),
    request: OpenApiRequest | None = None,
    is_public: bool = False,
) -> Any:
    """Return the `extend_schema` of one method, with what every operation shares.

    `answers` by status, or by status and media type; `raised` is what this operation can
    raise, to which come the errors of every path. A path that is served under several names
    leaves `operation_id` out.
    """
    identity: list[OpenApiParameter] = [] if is_public else IDENTITY
    retry = [RETRY_AFTER] if any(failure in STORED for failure in raised) else []
    answered = {**failures(*raised, *ANYWHERE), **answers}
    return extend_schema(
        operation_id=operation_id,
        tags=[tag],
        summary=summary,
        description=description,
        parameters=[*parameters, *identity, *TRACING, *ANSWERED, *retry],
        request=request,
        responses=dict(sorted(answered.items(), key=str)),
    )


def answer(
    description: str, schema: Schema, examples: Sequence[OpenApiExample] = ()
) -> OpenApiResponse:
    """Return one answer of an operation."""
    return OpenApiResponse(schema, description=description, examples=list(examples))


def body(serializer: Any, examples: Mapping[str, Any]) -> OpenApiRequest:
    """Return the body of an operation, with its examples by name."""
    return OpenApiRequest(
        serializer, examples=[OpenApiExample(name, value) for name, value in examples.items()]
    )
