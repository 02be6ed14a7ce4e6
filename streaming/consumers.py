"""The stream of a session: start one or come back to one, replay, then follow (wire.md, 4)."""

from __future__ import annotations

import asyncio
import random
import time

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from structlog.stdlib import get_logger

from dwp_project import clocks
from dwp_project.gateway.body import read_json
from dwp_project.gateway.consumers import ApiConsumer
from dwp_project.gateway.errors import UserMismatch
from dwp_project.gateway.followed_accounts import followed_accounts
from dwp_project.gateway.identity import Identity, header, recorded
from dwp_project.offload import run_sync
from dwp_project.outages import DATABASE_AWAY
from dwp_project.sse import frames
from dwp_project.sse.heartbeats import heartbeats
from dwp_project.wakeup import CONFIRM_SECONDS, Subscription, hub, reader
from streaming import events, log, replay, runner, sessions
from streaming.models import Session
from streaming.serializers import MessageQuery, PromptBody

logger = get_logger(__name__)

# How soon to read again after a failed read: its wake-up may have announced what was not read.
# Chosen: a client hardly notices it, and a database that is away gets two queries a second.
_RETRY_SECONDS = 0.5
# When clients of a process that ends come back, in milliseconds: spread out, so that the other
# processes do not get all of them at once. Chosen: another process takes over in that time.
_RETRY_MILLISECONDS = (500, 5000)


class StreamConsumer(ApiConsumer):
    """Sends one session's events from a cursor on, to `[DONE]`."""

    async def stream(self, session: Session, after: int, identity: Identity) -> None:
        """Send the session's events after sequence `after`; cut when the token has run out or its
        account has ended, so that the client comes back with a new one. The session runs on
        (wire.md, 4.3)."""
        lifetime = asyncio.timeout(identity.claims.accepted_until - time.time())
        try:
            # Subscribe before the first read: what commits in between then causes a wake-up.
            async with lifetime, hub().subscribe(log.wake_topic(session.pk)) as subscription:
                with followed_accounts().follow(identity.claims, lifetime):
                    await self.begin()
                    await subscription.confirmed(CONFIRM_SECONDS)
                    await self._follow(session, after, subscription)
        except TimeoutError:
            if not lifetime.expired():
                raise
            if not self.is_started:
                await self.begin()
            return await self.cut()
        await self.finish(frames.DONE)

    async def begin(self) -> None:
        """Send the headers of wire.md 4.2 and the first comment."""
        response = HttpResponse(headers=dict(frames.HEADERS))
        await self.start(200, self.response_headers(response))
        await self.write(frames.CONNECTED)

    async def drain(self) -> None:
        """Tell the client when to reconnect, and cut; the session runs on (wire.md, 4.3)."""
        await self.interrupt()
        if not self.is_started:
            await self.begin()
        await self.write(frames.retry(random.randint(*_RETRY_MILLISECONDS)))  # noqa: S311
        await self.cut()

    async def _follow(self, session: Session, after: int, subscription: Subscription) -> None:
        """Send every event after sequence `after` once, in order, up to the session's last."""
        began_at = time.monotonic()
        page = await _read(session.pk, after)
        is_late = time.monotonic() - began_at >= settings.SSE_HEARTBEAT_SECONDS / 2
        if is_late and (page is None or not page.frames):
            # The first heartbeat comes a whole interval from now.
            await self.write(frames.HEARTBEAT)
        with heartbeats().after_silence(self.write_at_once) as restart:
            while True:
                if page is not None and page.frames:
                    await self.write(page.frames)
                    after = page.sequence
                    restart()
                if page is not None and page.is_last:
                    return
                if page is not None and page.is_partial:
                    page = await _read(session.pk, after)
                    continue
                if page is None:
                    message = await subscription.next(_RETRY_SECONDS)
                else:
                    with reader(log.AWAITED).awaiting(session.pk, after, subscription):
                        message = await subscription.next(None)
                page = replay.from_wakeup(message, session.event_key, after) if message else None
                if page is None:
                    page = await _read(session.pk, after)


class StartConsumer(StreamConsumer):
    """`GET` and `POST /aura/test/stream`, `/agent/chat-stream` (wire.md, 4.1)."""

    async def answer(self) -> None:
        try:
            identity = await self.identity()
        except UserMismatch as exc:
            return await self._refuse_user(exc)
        prompt = self._prompt()
        resumed = await run_sync(
            sessions.find_by_cursor,
            _last_event_id(self.request),
            prompt.text,
            tenant_id=identity.tenant_id,
            user_id=identity.user_id,
        )
        if resumed is not None:
            session, after = resumed
            return await self.stream(session, after, identity)
        # Shielded: if the client disconnects now, its session is still created and started.
        session = await asyncio.shield(_begin_session(prompt, identity))
        await self.stream(session, 0, identity)

    def _prompt(self) -> sessions.Prompt:
        """Return the prompt of the request; raise `ValidationFailed` or `BodyTooLarge`."""
        serializer: PromptBody | MessageQuery
        if self.request.method == "POST":
            serializer = PromptBody(data=read_json(self.request))
        else:
            serializer = MessageQuery(data=self.request.GET.dict())
        serializer.is_valid(raise_exception=True)
        fields = serializer.validated_data
        return sessions.Prompt(
            text=fields.get("prompt") or fields["message"],
            context=fields.get("context") or {},
            thread_id=fields.get("thread_id") or "",
            agent_id=recorded(self.request, "X-Agent-ID"),
            source=recorded(self.request, "X-DWP-Source", "FRONTEND"),
            caller_type=recorded(self.request, "X-DWP-Caller-Type", "USER"),
        )

    async def _refuse_user(self, exc: UserMismatch) -> None:
        """Answer a foreign `X-User-ID` with an error event in a stream (wire.md, 4.6)."""
        payload = events.payload(
            "error",
            {
                "error": "X-User-ID differs from the token's user.",
                "errorType": "ValidationError",
                "message": str(exc.message),
            },
            session_id="",
            timestamp=int(clocks.estimate().timestamp()),
        )
        await self.begin()
        await self.write(frames.event(0, "error", payload))
        await self.finish(frames.DONE)


class AttachConsumer(StreamConsumer):
    """`GET /aura/sessions/{sessionId}/stream`: follow one of the user's own sessions."""

    async def answer(self) -> None:
        identity = await self.identity()
        session = await run_sync(
            sessions.find,
            self.scope["url_route"]["kwargs"]["session_id"],
            tenant_id=identity.tenant_id,
            user_id=identity.user_id,
        )
        session_key, sequence = events.cursor_of(_last_event_id(self.request)) or (0, 0)
        is_of_session = session_key == session.event_key and sequence <= session.last_sequence
        await self.stream(session, sequence if is_of_session else 0, identity)


def _last_event_id(request: HttpRequest) -> str | None:
    """Return the id of the last event that the client has, as polyfills send it where they cannot
    send the header (wire.md, 4.5)."""
    return header(request, "Last-Event-ID") or request.GET.get("lastEventId")


async def _begin_session(prompt: sessions.Prompt, identity: Identity) -> Session:
    """Begin a session, start it here and return it."""
    session = await run_sync(
        sessions.begin, prompt, tenant_id=identity.tenant_id, user_id=identity.user_id
    )
    runner.start(session)
    return session


async def _read(session_pk: int, after: int) -> replay.ReplayPage | None:
    """Return the next page, or None if the database is away: the stream then reads again."""
    try:
        return await run_sync(replay.read, session_pk, after)
    except DATABASE_AWAY as exc:
        logger.warning("database_away", error=str(exc).strip())
        return None
