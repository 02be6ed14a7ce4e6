"""Users of the built-in agent: they start a stream and follow it to its end, as deployed
clients do. A broken connection is taken up again with the last id; a clean end is success."""

from __future__ import annotations

import json
import time
from random import Random

from tests.chaos import wire
from tests.chaos.history import Fate, Frame, Origin, Question, Stream
from tests.chaos.world import World

PATH = "/api/aura/test/stream"
_PROMPTS = (
    "메일 3개를 삭제해주세요",
    "Delete 3 emails",
    "Delete 3 emails and send a mail to bob",
    "메일 3개를 삭제하고 보고서를 전송해주세요",
    "Summarize my mails",
)
# Comments come every 10 s; a client that hears nothing for longer takes the link for dead.
_SILENCE = 20.0
_FATES = {
    Fate.DECIDE: 86,
    Fate.CANCEL: 4,
    Fate.CANCEL_SESSION: 4,
    Fate.RACE_EXPIRY: 3,
    Fate.EXPIRE: 3,
}


async def user(world: World, number: int) -> None:
    """Start one session and follow it until its end, or until the run is over."""
    rng = world.random(f"user {number}")
    name, tenant = f"user-{number}", world.tenant(number)
    stream = Stream(name, tenant, rng.choice(_PROMPTS))
    world.history.streams.append(stream)
    while stream.ended is None and not world.is_over.is_set():
        pause = await _follow(world, stream, rng)
        await world.sleep(rng.uniform(0.05, 0.5) if pause is None else min(pause, 5.0))


async def _follow(world: World, stream: Stream, rng: Random) -> float | None:
    """Follow the stream over one connection; return how long the server asked to stay away."""
    headers = dict(world.cluster.headers(stream.user, stream.tenant))
    last = next((f.id for f in reversed(stream.frames) if f.id is not None), None)
    if last is not None:
        headers["Last-Event-ID"] = str(last)
    body = {"prompt": stream.prompt, "context": {"try": stream.connections}}
    try:
        answer = await wire.EventStream.open(world.port, PATH, headers, body, timeout=15.0)
    except wire.ConnectionBroken:
        return None
    try:
        if answer.status != 200:
            if answer.status != 503:
                world.unexpected(f"stream of {stream.user}: {answer.status} {answer.body!r}")
            return None
        stream.connections += 1
        async for frame in answer.frames(_SILENCE):
            stream.frames.append(frame)
            if frame.event == "hitl":
                world.ask(_question(frame, stream, rng))
            if world.is_over.is_set():
                return None
        # After [DONE] a client has all it waits for, even if the connection then breaks.
        if answer.is_clean or (stream.frames and stream.frames[-1].id is None):
            stream.ended = "clean"
        return answer.retry
    finally:
        answer.close()


def _question(frame: Frame, stream: Stream, rng: Random) -> Question:
    payload = json.loads(frame.data)
    return Question(
        request_id=payload["requestId"],
        session_id=payload["sessionId"],
        tenant=stream.tenant,
        requester=stream.user,
        origin=Origin.USER,
        fate=rng.choices(list(_FATES), list(_FATES.values()))[0],
        asked_at=time.time(),
        expires_at=payload["expiresAt"] / 1000,
    )
