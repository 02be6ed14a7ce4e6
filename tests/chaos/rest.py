"""Agents that ask over REST, and wait there or on their session's channel."""

from __future__ import annotations

import time
from random import Random

from tests.chaos.history import Fate, Listening, Origin, Question, Wait
from tests.chaos.listening import listen
from tests.chaos.world import World

_FATES = {Fate.DECIDE: 64, Fate.LISTED: 10, Fate.RACE_EXPIRY: 12, Fate.EXPIRE: 7, Fate.CANCEL: 7}
_OPEN_SECONDS = 60
# How long one call of `wait` lasts, and how much longer its answer may take.
_POLL_SECONDS, _POLL_SLACK = 10, 5.0


async def agent(world: World, number: int) -> None:
    """Ask, wait for the answer, and sometimes ask once more in the same session."""
    rng = world.random(f"rest {number}")
    session_id = f"rest-{world.label}-{number}"
    for turn in range(rng.choice((1, 1, 2))):
        question = await _open(world, number, session_id, turn, rng)
        if question is None:
            return
        seconds = (question.expires_at or time.time()) - time.time() + 20.0
        if rng.random() < 0.5:
            await _wait(world, question, seconds)
            continue
        await world.sleep(rng.choice((0.0, rng.uniform(0, 0.05), rng.uniform(0, 3))))
        listening = Listening(question)
        world.history.listenings.append(listening)
        is_answered = question.fate in (Fate.DECIDE, Fate.LISTED)
        await listen(world, listening, seconds if is_answered else min(seconds, 4 * world.patience))


async def _open(
    world: World, number: int, session_id: str, turn: int, rng: Random
) -> Question | None:
    """Open a request so that repeating it is safe: under its own id, or with a key."""
    tenant, user = world.tenant(number), f"asker-{number}"
    fate = rng.choices(list(_FATES), list(_FATES.values()))[0]
    is_short = fate in (Fate.EXPIRE, Fate.RACE_EXPIRY)
    body: dict[str, object] = {
        "sessionId": session_id,
        "actionType": "pay_invoice",
        "message": "May I pay?",
        "context": {"amount": rng.randrange(10_000), "turn": turn},
        "timeoutSeconds": rng.randrange(2, 6) if is_short else _OPEN_SECONDS,
    }
    headers = dict(world.cluster.headers(user, tenant))
    name = f"req-rest-{world.label}-{number}-{turn}"
    if rng.random() < 0.5:
        body["requestId"] = name
    if "requestId" not in body or rng.random() < 0.3:
        headers["Idempotency-Key"] = name
    path = "/api/aura/hitl/requests"
    asked_at = time.time()
    answer = await world.call_until_answered("POST", path, headers, body, rng=rng)
    if answer is None:
        return None
    if answer.status not in (200, 201):
        world.unexpected(f"opening {name}: {answer.status} {answer.body!r}")
        return None
    question = Question(
        request_id=answer.data["requestId"],
        session_id=session_id,
        tenant=tenant,
        requester=user,
        origin=Origin.REST,
        fate=fate,
        asked_at=asked_at,
        expires_at=answer.data["expiresAt"] / 1000,
    )
    world.ask(question)
    return question


async def _wait(world: World, question: Question, seconds: float) -> None:
    wait = Wait(question, time.time())
    world.history.waits.append(wait)
    headers = world.cluster.headers(question.requester, question.tenant)
    path = f"/aura/hitl/requests/{question.request_id}/wait?timeout={_POLL_SECONDS}"
    deadline = time.time() + seconds
    while time.time() < deadline and not world.is_over.is_set():
        timeout = _POLL_SECONDS + _POLL_SLACK
        answer = await world.call("GET", path, headers, timeout=timeout)
        if answer is None:
            await world.sleep(0.2)
        elif answer.status == 200:
            wait.ended_at, wait.status = time.time(), answer.member("status")
            return
        elif answer.status != 202:
            world.unexpected(f"wait for {question.request_id}: {answer.status} {answer.body!r}")
            return
    wait.abandoned_at = time.time()
