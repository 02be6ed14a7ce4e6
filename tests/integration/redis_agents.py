"""What an agent does that skips the API: it writes Redis itself (docs/reference/wire.md, 5.3)."""

from __future__ import annotations

import json
import uuid
from typing import Any

import redis

from hitl.adoption.scanner import Scanner
from tests.people import REQUESTER, Person


def asks(
    client: redis.Redis,
    session_id: str,
    request_id: str | None = None,
    *,
    by: Person = REQUESTER,
    age: float = 0.0,
    bare: bool = False,
    **members: Any,
) -> str:
    """Write a question as the agent of `by` did `age` seconds ago; return the request's id."""
    request_id = request_id or f"req-{uuid.uuid4().hex[:12]}"
    writes(client, request_id, body(session_id, request_id, by=by, **members), age=age)
    waits_for(client, session_id, request_id, by=by, bare=bare)
    return request_id


def asked(
    client: redis.Redis, session_id: str, request_id: str | None = None, **kwargs: Any
) -> str:
    """Ask three seconds ago, unless `age` says otherwise, and have Redis scanned since: a relay
    waits for nothing before it sends an approval."""
    request_id = asks(client, session_id, request_id, **{"age": 3.0, **kwargs})
    Scanner().scan()
    return request_id


def body(
    session_id: str, request_id: str, *, by: Person = REQUESTER, **members: Any
) -> dict[str, Any]:
    """Return a question as the agent of `by` writes it, with other `members`."""
    return {
        "requestId": request_id,
        "sessionId": session_id,
        "userId": by.user_id,
        "tenantId": by.tenant_id,
        "actionType": "delete_mail",
        "context": {"folder": "받은편지함", "count": 3},
        "status": "pending",
        "createdAt": 1,
        **members,
    }


def writes(
    client: redis.Redis, request_id: str, value: bytes | str | dict[str, Any], *, age: float = 0.0
) -> None:
    """Write `value` under the request's key."""
    text = json.dumps(value) if isinstance(value, dict) else value
    client.set(f"hitl:request:{request_id}", text, px=int((1800 - age) * 1000))


def waits_for(
    client: redis.Redis,
    session_id: str,
    request_id: str,
    *,
    by: Person = REQUESTER,
    bare: bool = False,
) -> None:
    """Name the request that the session waits for, as JSON object or bare."""
    named = {
        "sessionId": session_id,
        "requestId": request_id,
        "userId": by.user_id,
        "tenantId": by.tenant_id,
    }
    client.set(f"hitl:session:{session_id}", request_id if bare else json.dumps(named), ex=3600)
