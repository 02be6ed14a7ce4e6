"""The gate of one session: asks the question, waits, and lets through only a yes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from dwp_project.offload import run_sync
from hitl import outbox, services, waiting
from hitl.actors import Actor
from hitl.models import ApprovalRequest
from hitl.representation import milliseconds
from hitl.states import ActorKind, Channel, Origin, Status
from streaming import log
from streaming.agents.base import (
    AgentEvent,
    Decision,
    GateClosed,
    Rejected,
    TimedOut,
    Withdrawn,
)
from streaming.models import Session
from streaming.writer import Writer


class SessionGate:
    """`Gate` for the built-in runner. Once closed it stays closed."""

    def __init__(self, session: Session, writer: Writer) -> None:
        self._session = session
        self._writer = writer
        self._closed: GateClosed | None = None

    def check(self) -> None:
        """Raise the refusal that closed the gate, if any: an agent may have swallowed it."""
        if self._closed is not None:
            raise self._closed

    async def ask(
        self,
        action_type: str,
        *,
        message: str,
        context: Mapping[str, Any] | None = None,
        confidence: float | None = None,
        step_id: str | None = None,
        timeout_seconds: int | None = None,
    ) -> Decision:
        self.check()
        question = services.Question(
            session_id=self._session.session_id,
            action_type=action_type,
            message=message,
            context=context or {},
            timeout_seconds=timeout_seconds,
            request_id=f"req_{uuid.uuid4().hex}",
            agent_id=self._session.agent_id or self._session.agent,
        )
        extra = {"confidence": confidence, "stepId": step_id}
        request = await self._writer.write(self._open, question, extra)
        ended = await waiting.until_ended(request.request_id)
        if ended.is_decided:
            await run_sync(outbox.heard, ended)
        if ended.status == Status.APPROVED:
            return Decision(request_id=ended.request_id, decided_by=ended.decided_by)
        self._closed = _refusal(ended)
        raise self._closed

    def _open(
        self, after: int, question: services.Question, extra: Mapping[str, Any]
    ) -> tuple[int, ApprovalRequest]:
        """Open the request and send its event in one transaction."""
        asker = Actor(
            id=self._session.user_id,
            tenant_id=self._session.tenant_id,
            kind=ActorKind.AGENT,
            channel=Channel.STREAM,
            source=self._session.source,
            caller_type=self._session.caller_type,
        )
        with transaction.atomic():
            request, _ = services.open_request(question, asker, Origin.AGENT)
            fields = {
                "requestId": request.request_id,
                "sessionId": request.session_id,
                "actionType": request.action_type,
                "message": request.message,
                "context": request.context,
                "requiresApproval": True,
                "expiresAt": milliseconds(request.expires_at),
            }
            fields |= {name: value for name, value in extra.items() if value is not None}
            last = log.append(self._session.pk, [AgentEvent("hitl", fields)], after=after)
        return last, request


def _refusal(ended: ApprovalRequest) -> GateClosed:
    match ended.status:
        case Status.REJECTED:
            return Rejected(ended.reason, request_id=ended.request_id)
        case Status.EXPIRED:
            return TimedOut("Nobody decided in time.", request_id=ended.request_id)
        case _:
            return Withdrawn("The request was cancelled.", request_id=ended.request_id)
