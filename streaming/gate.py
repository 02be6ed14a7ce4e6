"""The gate of one session: opens the request, waits, and returns only for an approval."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from structlog.stdlib import get_logger

from dwp_project.jsontext import canonical, digest
from hitl import services, waiting
from hitl.actors import Actor
from hitl.audit import decision_record
from hitl.delivery import first_heard
from hitl.delivery.wire import milliseconds
from hitl.models import ApprovalRequest, AuditRecord
from hitl.states import ActorKind, Channel, Origin, Status
from streaming import events, log
from streaming.agents.base import (
    AgentEvent,
    Decision,
    GateClosed,
    Rejected,
    TimedOut,
    Withdrawn,
)
from streaming.models import Session
from streaming.writer import Diverged, Writer, retry_until_database_answers

logger = get_logger(__name__)

# After one of these the agent goes no further, whatever it catches.
_CLOSING_EXCEPTIONS = (GateClosed, Diverged, log.SessionEnded, log.SessionCancelled)

# How long after an approval it is noted that the agent has it. Chosen: by then its next event is
# out, and the signal is not repeated yet.
_NOTED_AFTER_SECONDS = 0.05


class SessionGate:
    """The `Gate` that the runner gives to an agent. Once closed it stays closed."""

    def __init__(self, session: Session, writer: Writer) -> None:
        self._session = session
        self._writer = writer
        self._closed: Exception | None = None
        self._notes: list[asyncio.Task[None]] = []

    def check(self) -> None:
        """Raise again what closed the gate: the agent may have caught and ignored it."""
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
        try:
            request_id = self._recorded_request_id(question)
            if request_id is None:
                request_id = await self._writer.write(self._open_request, question, extra)
            else:
                await retry_until_database_answers(services.announce_again, request_id)
            return await self._wait_for_approval(request_id, question)
        except _CLOSING_EXCEPTIONS as exc:
            self._closed = exc
            raise

    async def _wait_for_approval(self, request_id: str, question: services.Question) -> Decision:
        """Wait until the request ends; return the decision if it is an approval.

        Raises `GateClosed` for any other end and `LeaseLost` if another process has taken over.
        """
        ended, is_recorded = await waiting.result_of(self._confirmed, request_id)
        if ended.is_decided:
            pause = _NOTED_AFTER_SECONDS if ended.status == Status.APPROVED else 0.0
            self._notes.append(asyncio.create_task(_note_heard(ended, pause)))
        if ended.status != Status.APPROVED:
            await self.noted()
            raise _refusal(ended)
        if not is_recorded or not self._is_about(ended, question):
            logger.error("approval_not_vouched_for", request_id=ended.request_id)
            raise Withdrawn(
                "The approval is not in the audit: somebody changed the database.",
                request_id=ended.request_id,
            )
        return Decision(request_id=ended.request_id, decided_by=ended.decided_by)

    async def noted(self) -> None:
        """Return when it is written that the agent has heard: an approved agent goes on meanwhile,
        but the session does not end before."""
        while self._notes:
            await self._notes.pop()

    def _confirmed(
        self, request: ApprovalRequest, records: Sequence[AuditRecord] | None
    ) -> tuple[ApprovalRequest, bool]:
        """Return the request, and whether the audit has its end; raise `LeaseLost`."""
        # Only a decision decides: a status that somebody wrote into the row is nobody's yes.
        is_recorded = decision_record.is_recorded(request, records)
        # After everything else: while this process was frozen, another may have taken over, and
        # acts on the same approval.
        self._writer.confirm_lease()
        return request, is_recorded

    def _is_about(self, request: ApprovalRequest, question: services.Question) -> bool:
        """Say whether the request is this session's and asks this question: the id by which it was
        found may have been written by somebody else."""
        session = self._session
        of_row = (request.tenant_id, request.session_id, request.user_id)
        of_question = (question.action_type, question.message, digest(question.context))
        return (*of_row, request.action_type, request.message, request.context_digest) == (
            *(session.tenant_id, session.session_id, session.user_id),
            *of_question,
        )

    def _recorded_request_id(self, question: services.Question) -> str | None:
        """Return the id of the recorded request if an earlier run has asked the same already.

        Raises `Diverged` if it has asked something else.
        """
        recorded = self._writer.pop_recorded("hitl")
        if recorded is None:
            return None
        fields = events.fields_of("hitl", recorded.payload)
        before = [fields["actionType"], fields["message"], fields["context"]]
        if canonical(before) != canonical(
            [question.action_type, question.message, question.context]
        ):
            raise Diverged(recorded, f"another question, {question.action_type}")
        return str(fields["requestId"])

    def _open_request(
        self, after: int, lease: int, question: services.Question, extra: Mapping[str, Any]
    ) -> tuple[int, str]:
        """Open the request and append its event in one transaction, under the session's lease.

        Returns the new last sequence and the request's id.
        """
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
            question_event = AgentEvent("hitl", fields)
            last = log.append(self._session.pk, [question_event], after=after, lease=lease)
        return last, request.request_id


async def _note_heard(request: ApprovalRequest, pause: float) -> None:
    await asyncio.sleep(pause)
    await retry_until_database_answers(first_heard.mark_heard, request)


def _refusal(ended: ApprovalRequest) -> GateClosed:
    match ended.status:
        case Status.REJECTED:
            return Rejected(ended.reason, request_id=ended.request_id)
        case Status.EXPIRED:
            return TimedOut("Nobody decided in time.", request_id=ended.request_id)
        case _:
            return Withdrawn("The request was cancelled.", request_id=ended.request_id)
