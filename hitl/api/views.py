"""Open, read, list, approve, reject and cancel approval requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.db.models import prefetch_related_objects
from rest_framework import status as http
from rest_framework.request import Request
from rest_framework.response import Response

from dwp_project import wakeup
from dwp_project.gateway import envelope
from dwp_project.gateway.errors import UserMismatch
from dwp_project.gateway.identity import header, recorded
from dwp_project.gateway.views import ConsumerView, EnvelopeView
from dwp_project.jsontext import InvalidJSON, compact, parse
from hitl import errors, services
from hitl.actors import Actor
from hitl.api import schema
from hitl.api.callers import caller
from hitl.api.pagination import page_of
from hitl.api.serializers import ApprovalBody, DecisionBody, OpeningBody, RejectionBody
from hitl.approvals import permissions
from hitl.approvals.idempotency import Answer, answer_once
from hitl.audit import decision_record
from hitl.delivery import first_heard, outbox, redis_state, wire
from hitl.models import ApprovalRequest, is_id
from hitl.states import Origin, Status

Decide = Callable[[Actor], ApprovalRequest]


class RequestView(EnvelopeView):
    """Base of the views about requests: who calls, idempotency, and answers to decisions."""

    def actor(self, request: Request) -> Actor:
        return caller(request._request, self.identity(request))

    def decision(self, request: Request, body: dict[str, Any]) -> Actor:
        """Return the actor of a decision; `UserMismatch` in another's name (wire.md, 3.2)."""
        identity = self.identity(request)
        if body.get("userId") and body["userId"] != identity.user_id:
            raise UserMismatch
        return self.actor(request)

    def note_answer(
        self, request: Request, asked: ApprovalRequest, *, is_reading: bool = False
    ) -> None:
        """Note that the caller is answered with the request, and whether they asked for it."""
        identity = self.identity(request)
        first_heard.note(asked, identity.tenant_id, identity.user_id, is_reading=is_reading)

    def once(
        self, request: Request, endpoint: str, payload: Any, act: Callable[[], Answer]
    ) -> Response:
        """Answer with what `act` returns, or with its first answer under the Idempotency-Key.

        A request that is decided already is answered 409 with that decision (wire.md, 3.2).
        """
        key = header(request._request, "Idempotency-Key")
        try:
            status, body = answer_once(self.identity(request), endpoint, key, payload, act)
        except errors.AlreadyDecided as already:
            self.note_answer(request, already.request)
            return self.success(
                wire.decision(already.request),
                "Request was already processed (idempotent)",
                http.HTTP_409_CONFLICT,
            )
        return Response(body, status=status)

    def decided(
        self, request: Request, verb: str, message: str, body: dict[str, Any], decide: Decide
    ) -> Response:
        """Answer with the decision that `decide` makes in the caller's name (wire.md, 3.1, 3.6)."""
        actor = self.decision(request, body)
        answered: list[ApprovalRequest] = []

        def act() -> Answer:
            decided = decide(actor)
            answered.append(decided)
            if decided.status == Status.PENDING:
                votes = wire.partial_approval(decided)
                return http.HTTP_202_ACCEPTED, envelope.success(
                    votes, "Approval recorded, more are needed"
                )
            return 200, envelope.success(wire.decision(decided), message)

        request_id = self.kwargs["request_id"]
        response = self.once(request, verb, [request_id, body], act)
        for one in answered:
            self.note_answer(request, one)
        # The answer to a vote has no signal, even if it is replayed after the decision.
        is_vote = response.status_code == http.HTTP_202_ACCEPTED
        if is_vote or any(not one.is_decided for one in answered):
            return response
        sent = [one.sent_outcome for one in answered if one.sent_outcome]
        if outcome := sent[0] if sent else outbox.outcome_of(request_id):
            response["X-DWP-Signal"] = outcome
        return response


@schema.approve
class ApproveView(RequestView):
    def post(self, request: Request, request_id: str) -> Response:
        def decide(actor: Actor) -> ApprovalRequest:
            return services.approve(
                request_id,
                actor,
                digest=body.get("contextDigest"),
                request_digest=body.get("requestDigest"),
                comment=body.get("comment") or "",
            )

        body = self.body(request, ApprovalBody)
        return self.decided(request, "approve", "Request approved successfully", body, decide)


@schema.reject
class RejectView(RequestView):
    def post(self, request: Request, request_id: str) -> Response:
        body = self.body(request, RejectionBody)

        def decide(actor: Actor) -> ApprovalRequest:
            return services.reject(
                request_id,
                actor,
                reason=body.get("reason") or "",
                digest=body.get("contextDigest"),
                request_digest=body.get("requestDigest"),
            )

        return self.decided(request, "reject", "Request rejected", body, decide)


@schema.cancel
class CancelView(RequestView):
    def post(self, request: Request, request_id: str) -> Response:
        def decide(actor: Actor) -> ApprovalRequest:
            return services.cancel(request_id, actor)

        body = self.body(request, DecisionBody)
        return self.decided(request, "cancel", "Request cancelled", body, decide)


@schema.requests
class RequestsView(RequestView):
    def get(self, request: Request) -> Response:
        tenant_id = self.identity(request).tenant_id
        requests, next_cursor = page_of(request, tenant_id)
        with_policy = [item for item in requests if item.policy_id is not None]
        prefetch_related_objects(with_policy, "policy", "votes")
        # Overdue requests expire by being read, and may then no longer be in the wanted state.
        settled = [services.settle(item) for item in requests]
        status = request.query_params.get("status") or None
        # Nobody is to act on an end that the audit does not have.
        unrecorded = decision_record.unrecorded(settled)
        listed = [i for i in settled if status in (None, i.status) and i.pk not in unrecorded]
        items = [wire.document(i) for i in listed]
        for each in listed:
            self.note_answer(request, each)
        page: dict[str, Any] = {"items": items}
        if next_cursor:
            page["nextCursor"] = next_cursor
        return self.success(page, "Approval requests retrieved")

    def post(self, request: Request) -> Response:
        body = self.body(request, OpeningBody)
        question = services.Question(
            session_id=body["sessionId"],
            action_type=body["actionType"],
            message=body.get("message") or "",
            context=body.get("context") or {},
            timeout_seconds=body.get("timeoutSeconds"),
            request_id=body.get("requestId"),
            agent_id=recorded(request._request, "X-Agent-ID"),
        )
        actor = self.actor(request)

        def act() -> Answer:
            opened, is_new = services.open_request(question, actor, Origin.REST)
            self.note_answer(request, opened, is_reading=True)
            message = "Approval request opened" if is_new else "Approval request already opened"
            status = http.HTTP_201_CREATED if is_new else http.HTTP_200_OK
            return status, envelope.success(wire.document(opened), message)

        return self.once(request, "open", body, act)


@schema.request
class OneRequestView(RequestView):
    def get(self, request: Request, request_id: str) -> Response:
        identity = self.identity(request)
        asked = services.read(request_id, identity.tenant_id)
        document = wire.document(asked)
        self.note_answer(request, asked, is_reading=True)
        # A JSON string, not an object: deployed clients JSON.parse it (wire.md, 3.3).
        return self.success(compact(document), "Approval request retrieved")


@schema.signal
class SignalView(RequestView):
    def get(self, request: Request, session_id: str) -> Response:
        if not is_id(session_id):
            raise errors.SessionNotFound
        tenant_id = self.identity(request).tenant_id
        # First of all: a foreign session with a signal must take no more work than an unknown one.
        if not permissions.visible_in(tenant_id).filter(session_id=session_id).exists():
            return self.success(None, "No signal found for session")
        signal = self._signal(session_id)
        decided = None if signal is None else _request_of(signal, tenant_id)
        if decided is not None and permissions.may_see_signal(self.actor(request), decided):
            self.note_answer(request, decided, is_reading=True)
            return self.success(signal, "Signal retrieved")
        return self.success(None, "No signal found for session")

    def _signal(self, session_id: str) -> str | None:
        if not wakeup.is_paused():
            with wakeup.redis_may_be_away("redis_away"):
                return redis_state.current_signal(session_id)
        # The database knows the signals of the last five minutes as well (wire.md, 3.4).
        return outbox.current_signal(session_id)


def _request_of(signal: str, tenant_id: str) -> ApprovalRequest | None:
    """Return the tenant's request that the signal names; None if the text names none."""
    try:
        request_id = parse(signal)["requestId"]
    except (InvalidJSON, KeyError, TypeError):
        return None
    if not (isinstance(request_id, str) and is_id(request_id)):
        return None
    return permissions.visible_in(tenant_id).filter(request_id=request_id).first()


@schema.wait
class WaitView(ConsumerView):
    """Served by `hitl.api.wait.WaitConsumer`."""

    methods: ClassVar[tuple[str, ...]] = ("GET",)
