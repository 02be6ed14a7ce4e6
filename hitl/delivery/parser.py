"""Reads what an agent wrote to Redis as a request (docs/reference/wire.md, 5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dwp_project.gateway.tokens import is_identifier
from dwp_project.jsontext import InvalidJSON, digest, parse
from hitl.models import ID_PATTERN, ApprovalRequest
from hitl.states import Status

# A larger value is refused: the size of a body that REST takes (wire.md, 2).
MOST_BYTES = 256 * 1024
# The limits of REST (wire.md, 3.5), because operators read both kinds of requests.
_MAX_ACTION = 128
_MAX_MESSAGE = 10_000


class Malformed(Exception):
    """The value in Redis is not a valid request; it is treated as missing."""


@dataclass(frozen=True, slots=True)
class WrittenRequest:
    """A request as an agent wrote it."""

    request_id: str
    session_id: str
    tenant_id: str
    user_id: str
    action_type: str
    message: str
    context: Mapping[str, Any]
    agent_id: str


def parse_request(request_id: str, text: bytes) -> WrittenRequest | None:
    """Return the request that an agent wrote, or None if it has ended; raises `Malformed`."""
    if not ID_PATTERN.fullmatch(request_id):
        raise Malformed("its id has characters that no request id has")
    if len(text) > MOST_BYTES:
        raise Malformed("it is larger than 256 KiB")
    try:
        body = parse(text)
    except InvalidJSON as exc:
        raise Malformed(str(exc)) from exc
    if not isinstance(body, dict):
        raise Malformed("it is no JSON object")
    if body.get("requestId", request_id) != request_id:
        raise Malformed("its requestId is not that of its key")
    context = body.get("context")
    context = {} if context is None else context
    if not isinstance(context, dict):
        raise Malformed("its context is no JSON object")
    if body.get("status", Status.PENDING) != Status.PENDING:
        # Decided elsewhere, or by us and read back.
        return None
    session_id = body.get("sessionId")
    if not (isinstance(session_id, str) and ID_PATTERN.fullmatch(session_id)):
        raise Malformed("it has no usable sessionId")
    for member in ("tenantId", "userId"):
        if not is_identifier(body.get(member)):
            raise Malformed(f"it has no usable {member}")
    action = body.get("actionType")
    if not (isinstance(action, str) and 0 < len(action) <= _MAX_ACTION and action.isprintable()):
        raise Malformed("it has no usable actionType")
    message = body.get("message") or ""
    if not (isinstance(message, str) and len(message) <= _MAX_MESSAGE and "\0" not in message):
        raise Malformed("its message is unusable")
    agent_id = body.get("agentId")
    return WrittenRequest(
        request_id=request_id,
        session_id=session_id,
        tenant_id=body["tenantId"],
        user_id=body["userId"],
        action_type=action,
        message=message,
        context=context,
        agent_id=str(agent_id) if is_identifier(agent_id) else "",
    )


def is_same(known: ApprovalRequest, written: WrittenRequest) -> bool:
    """Say whether the database's request asks what the agent wrote."""
    return (
        known.session_id,
        known.tenant_id,
        known.user_id,
        known.action_type,
        known.message,
        known.context_digest,
    ) == (
        written.session_id,
        written.tenant_id,
        written.user_id,
        written.action_type,
        written.message,
        digest(written.context),
    )
