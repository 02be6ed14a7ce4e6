"""Waiting for a decision over HTTP without holding a thread or a connection."""

from __future__ import annotations

import re

from django.utils.translation import gettext as _

from dwp_project.gateway import envelope
from dwp_project.gateway.consumers import ApiConsumer
from dwp_project.gateway.errors import InvalidValue
from dwp_project.offload import run_sync
from hitl import representation, services, waiting
from hitl.states import Status

DEFAULT_SECONDS, MOST_SECONDS = 30, 60


class WaitConsumer(ApiConsumer):
    """`GET /aura/hitl/requests/{requestId}/wait` (docs/reference/wire.md, 3.5)."""

    async def answer(self) -> None:
        identity = self.identity()
        seconds = self._seconds()
        request_id = self.scope["url_route"]["kwargs"]["request_id"]
        await run_sync(services.find, request_id, identity.tenant_id)
        request = await waiting.until_ended(request_id, seconds=seconds)
        is_pending = request.status == Status.PENDING
        await self.send_json(
            envelope.success(
                representation.document(request),
                "Approval request pending" if is_pending else "Approval request ended",
            ),
            202 if is_pending else 200,
        )

    def _seconds(self) -> int:
        text = self.request.GET.get("timeout", str(DEFAULT_SECONDS))
        if not (re.fullmatch(r"[0-9]{1,2}", text) and 1 <= int(text) <= MOST_SECONDS):
            raise InvalidValue(_("timeout is a whole number of seconds from 1 to 60."))
        return int(text)
