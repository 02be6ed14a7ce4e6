"""Waits for a decision over HTTP without a thread or a database connection (wire.md, 3.5)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.utils.translation import gettext as _

from dwp_project.gateway import envelope
from dwp_project.gateway.consumers import ApiConsumer
from dwp_project.gateway.errors import InvalidValue
from dwp_project.offload import run_sync, start_afterwards
from hitl import services, waiting
from hitl.approvals.decisions import check_recorded
from hitl.delivery import first_heard, wire
from hitl.models import ApprovalRequest, AuditRecord
from hitl.states import Status

# `timeout` in seconds: its default and its most (wire.md, 3.5).
DEFAULT_SECONDS, MOST_SECONDS = 30, 60


def _document(
    request: ApprovalRequest, records: Sequence[AuditRecord] | None = None
) -> tuple[ApprovalRequest, dict[str, Any]]:
    """Return the request, and what the client sees of it, read from the database; raises
    `RequestChanged` for an end that the audit does not have."""
    check_recorded(request, records)
    return request, wire.document(request)


class WaitConsumer(ApiConsumer):
    """`GET /aura/hitl/requests/{requestId}/wait` (docs/reference/wire.md, 3.5)."""

    def __init__(self) -> None:
        super().__init__()
        self._draining = asyncio.Event()

    async def drain(self) -> None:
        """Answer with the request as it is now: the client asks again, at another process."""
        self._draining.set()

    async def answer(self) -> None:
        identity = await self.identity()
        seconds = self._seconds()
        request_id = self.scope["url_route"]["kwargs"]["request_id"]
        await run_sync(services.find, request_id, identity.tenant_id)
        request, document = await self._until_ended(request_id, identity.tenant_id, seconds)
        is_pending = request.status == Status.PENDING
        await self.send_json(
            envelope.success(
                document,
                "Approval request pending" if is_pending else "Approval request ended",
            ),
            202 if is_pending else 200,
        )
        # Only now, and not here: the answer leaves with the event loop's next turn.
        start_afterwards(partial(first_heard.note, request, identity.tenant_id, identity.user_id))

    async def _until_ended(
        self, request_id: str, tenant_id: str, seconds: float
    ) -> tuple[ApprovalRequest, dict[str, Any]]:
        """Return the request and its document once it has ended, after `seconds`, or when the
        server ends."""
        ended = asyncio.create_task(waiting.result_of(_document, request_id, seconds=seconds))
        draining = asyncio.create_task(self._draining.wait())
        try:
            await asyncio.wait([ended, draining], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return ended.result()
        finally:
            ended.cancel()
            draining.cancel()
        return await run_sync(lambda: _document(services.find(request_id, tenant_id)))

    def _seconds(self) -> int:
        text = self.request.GET.get("timeout", str(DEFAULT_SECONDS))
        if not (re.fullmatch(r"[0-9]{1,2}", text) and 1 <= int(text) <= MOST_SECONDS):
            raise InvalidValue(_("timeout is a whole number of seconds from 1 to 60."))
        return int(text)
