"""Reads what an agent wrote to Redis as a request (docs/reference/wire.md, 5.3)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from dwp_project.gateway.tokens import is_identifier
from dwp_project.jsontext import InvalidJSON, digest, parse
from hitl.delivery.keys import MARK
from hitl.models import ApprovalRequest, is_id
from hitl.models.requests import MAX_WRITTEN_ACTION_LENGTH
from hitl.states import Status

# A larger value is refused: the size of a body that REST takes (wire.md, 2).
MOST_BYTES = 256 * 1024
# The limit of REST (wire.md, 3.5), because operators read both kinds of requests.
_MAX_MESSAGE = 10_000
# PostgreSQL refuses a row whose tenant and action do not fit into one entry of an index, of 2,704
# bytes; some are taken by the columns beside them.
_MAX_INDEXED_BYTES = 2_600
_ENDED = [str(status) for status in Status if status is not Status.PENDING]
# A session id in a text that is no JSON, as a JSON string.
_SESSION_ID = re.compile(r'"sessionId"\s*:\s*("(?:[^"\\]|\\.)*")')


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
    # Any JSON value.
    context: Any
    agent_id: str
    # If not, it was decided elsewhere, or by us and read back, or a deployment opened it: another,
    # or this one, which has lost it.
    is_pending: bool


def parse_request(request_id: str, text: bytes, *, most_bytes: int = MOST_BYTES) -> WrittenRequest:
    """Return the request that an agent wrote under this id; raises `Malformed`."""
    if not is_id(request_id):
        raise Malformed("its id is not one that a request has")
    if len(text) > most_bytes:
        raise Malformed(f"it is larger than {most_bytes // 1024} KiB")
    try:
        body = parse(text)
    except InvalidJSON as exc:
        raise Malformed(str(exc)) from exc
    if not isinstance(body, dict):
        raise Malformed("it is no JSON object")
    named = body.get("requestId")
    if named is not None and _text_of(named) != request_id:
        raise Malformed("its requestId is not that of its key")
    session_id = body.get("sessionId")
    if not (isinstance(session_id, str) and is_id(session_id)):
        raise Malformed("it has no usable sessionId")
    tenant_id, user_id = _text_of(body.get("tenantId")), _text_of(body.get("userId"))
    for member, text in (("tenantId", tenant_id), ("userId", user_id)):
        if not is_identifier(text):
            raise Malformed(f"it has no usable {member}")
    action = body.get("actionType")
    action = "" if action is None else action
    if not (
        isinstance(action, str)
        and len(action) <= MAX_WRITTEN_ACTION_LENGTH
        and "\0" not in action
        and len(f"{tenant_id}{action}".encode()) <= _MAX_INDEXED_BYTES
    ):
        raise Malformed("its actionType is unusable")
    message = body.get("message") or ""
    if not (isinstance(message, str) and len(message) <= _MAX_MESSAGE and "\0" not in message):
        raise Malformed("its message is unusable")
    agent_id = body.get("agentId")
    return WrittenRequest(
        request_id=request_id,
        session_id=session_id,
        tenant_id=tenant_id,
        user_id=user_id,
        action_type=action,
        message=message,
        context=body.get("context", {}),
        agent_id=str(agent_id) if is_identifier(agent_id) else "",
        is_pending=body.get("status", Status.PENDING) == Status.PENDING and MARK not in body,
    )


def waiting_sessions(text: bytes) -> set[str]:
    """Return the sessions in which the agent that wrote this value may be waiting, however little
    else of it can be read; none if the value says that its request has ended.

    In a text that is cut or broken, a session id that is nested cannot be told from the one that
    counts: all are returned.
    """
    readable = text.decode("utf-8", "replace")
    try:
        body = json.loads(readable, strict=False)
    except (ValueError, RecursionError):
        named = [json.loads(name, strict=False) for name in _SESSION_ID.findall(readable)]
    else:
        body = body if isinstance(body, dict) else {}
        named = [] if body.get("status") in _ENDED else [_text_of(body.get("sessionId"))]
    return {name for name in named if isinstance(name, str) and is_id(name)}


def _text_of(value: Any) -> Any:
    """Return an integer as text, because some agents write ids as numbers; else the value."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_integer else value


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
