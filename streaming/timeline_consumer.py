"""The live timeline of a session on the operators' pages."""

from __future__ import annotations

import asyncio

from django.http import HttpResponse
from structlog.stdlib import get_logger

from dwp_project.gateway.consumers import OperatorConsumer
from dwp_project.gateway.errors import NotFound
from dwp_project.gateway.identity import header
from dwp_project.gateway.open_pages import OpenPage, open_pages
from dwp_project.jsontext import compact
from dwp_project.offload import run_sync
from dwp_project.outages import DATABASE_AWAY
from dwp_project.sse import frames
from dwp_project.wakeup import CONFIRM_SECONDS, Subscription, hub, reader
from hitl.models import is_id
from streaming import log, timeline
from streaming.models import Session

logger = get_logger(__name__)

# When a page reconnects. Chosen: a restart of the server is over by then.
_RETRY_MILLISECONDS = 2000
# The shortest time between two reads, because an answer arrives in many small pieces. Chosen: a
# person sees it as immediate.
_BETWEEN_READS_SECONDS = 0.25


class TimelineConsumer(OperatorConsumer):
    """`GET /admin/streaming/session/<session_id>/timeline/?after=<sequence>`."""

    async def answer(self) -> None:
        if not is_id(self._session_id):
            raise NotFound  # PostgreSQL refuses a NUL
        async with open_pages().open(self.request) as page:
            tenants = page.operator.tenants if page.operator else []
            session = await run_sync(timeline.find, self._session_id, tenants)
            if session is None:
                if not await run_sync(timeline.is_elsewhere, self._session_id, tenants):
                    raise NotFound
                # 204 tells an EventSource not to reconnect: this session has no events here.
                await self.start(204, self.response_headers(HttpResponse()))
                return await self.finish()
            after = self._after()
            async with hub().subscribe(log.wake_topic(session.pk)) as subscription:
                response = HttpResponse(headers=dict(frames.HEADERS))
                await self.start(200, self.response_headers(response))
                await self.write(frames.CONNECTED + frames.retry(_RETRY_MILLISECONDS))
                await subscription.confirmed(CONFIRM_SECONDS)
                await self._follow(page, session, after, subscription)

    async def drain(self) -> None:
        """Cut the connection; the page reconnects, to another process, after its last event."""
        await self.interrupt()
        await self.cut()

    async def _follow(
        self, page: OpenPage, session: Session, after: int, subscription: Subscription
    ) -> None:
        is_quiet_sent, is_woken, is_partial = False, True, False
        while True:
            if page.operator is None or session.tenant_id not in page.operator.tenants:
                return await self.finish()  # the page reconnects, and gets 404
            if not page.is_current:
                # Nothing is shown until it is known who may see it.
                await asyncio.sleep(1.0)
                await self._ping(page, after)
                continue
            if is_woken:
                try:
                    events = await self.run_in_language(timeline.read, session.pk, after)
                except DATABASE_AWAY as exc:
                    logger.warning("database_away", error=str(exc).strip())
                    await asyncio.sleep(1.0)
                    await self._ping(page, after, is_current=False)
                    continue
                if events.items:
                    await self.write(b"".join(map(_frame, events.items)))
                elif events.sequence == 0 and not is_quiet_sent:
                    is_quiet_sent = True
                    await self.write(frames.event(0, "quiet", "{}"))
                after, is_partial = events.sequence, events.is_partial
                if events.is_last:
                    return await self.finish(frames.event(after, "over", "{}"))
            await self._ping(page, after)
            if is_partial:
                continue
            with reader(log.AWAITED).awaiting(session.pk, after, subscription):
                is_woken = await subscription.next(page.seconds_to_ping) is not None
            if is_woken:
                await asyncio.sleep(_BETWEEN_READS_SECONDS)

    async def _ping(self, page: OpenPage, after: int, *, is_current: bool = True) -> None:
        if frame := page.ping(after, is_current=is_current):
            await self.write(frame)

    @property
    def _session_id(self) -> str:
        return str(self.scope["url_route"]["kwargs"]["session_id"])

    def _after(self) -> int:
        """Return the sequence of the last event that the page has received."""
        text = header(self.request, "Last-Event-ID") or self.request.GET.get("after", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _frame(item: timeline.TimelineItem) -> bytes:
    data = {"kind": item.kind, "html": item.html, "piece": item.piece}
    return frames.event(item.sequence, "happened", compact(data))
