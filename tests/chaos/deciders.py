"""People who decide: two or three at once on purpose, some who only know the list."""

from __future__ import annotations

import asyncio
import json
import time
from random import Random
from urllib.parse import quote

from redis.exceptions import RedisError

from tests.chaos.history import Attempt, Fate, Origin, Question
from tests.chaos.listening import client
from tests.chaos.world import World

# For so long an id that nobody knows yet is tried again: agents on Redis are found by a scan.
_UNKNOWN_SECONDS = 30.0
_LIST_PAUSE = 1.0


async def crew(world: World, question: Question) -> None:
    """Do to one question what its fate says; the run's `on_question`."""
    world.turns[question.requester] += 1
    rng = world.random(f"crew {question.requester} {world.turns[question.requester]}")
    match question.fate:
        case Fate.DECIDE:
            await world.sleep(thought(world, rng))
            await race(world, question, rng)
        case Fate.RACE_EXPIRY:
            assert question.expires_at is not None
            await world.sleep(question.expires_at + rng.gauss(0.0, 0.05) - time.time())
            await race(world, question, rng)
        case Fate.CANCEL:
            await world.sleep(thought(world, rng))
            await _decide(world, question, "cancel", question.requester, "user", rng)
        case Fate.CANCEL_SESSION:
            await world.sleep(thought(world, rng))
            await _cancel_session(world, question, rng)
        case Fate.LISTED | Fate.EXPIRE | Fate.ORDERED:
            return


async def operator(world: World, tenant: str) -> None:
    """Decide, until the run is over, on the listed questions of a tenant, found by listing."""
    rng = world.random(f"operator {tenant}")
    headers = world.cluster.headers(f"operator-{tenant}", tenant, "approver")
    while not world.is_over.is_set():
        cursor = ""
        while True:
            path = f"/aura/hitl/requests?status=pending&cursor={quote(cursor)}"
            answer = await world.call("GET", path, headers)
            if answer is None or answer.status != 200:
                break
            questions = [world.history.questions.get(i["requestId"]) for i in answer.data["items"]]
            for question in questions:
                if question is not None and question.fate is Fate.LISTED:
                    await race(world, question, rng)
            cursor = answer.data.get("nextCursor", "")
            if not cursor:
                break
        await world.sleep(_LIST_PAUSE)


def thought(world: World, rng: Random) -> float:
    """Return how long people think: often not at all, sometimes as long as people do."""
    if rng.random() < 0.15:
        return rng.uniform(0.0, 0.03)
    return min(6 * world.patience, rng.expovariate(1 / world.patience))


async def race(world: World, question: Question, rng: Random) -> None:
    """Have one to three people decide, apart by milliseconds or less."""
    people = [(f"approver-{number}", "approver") for number in range(3)]
    if question.origin is not Origin.OUTSIDE or rng.random() < 0.5:
        people.append((question.requester, "user"))
    chosen = rng.sample(people, rng.choices((1, 2, 3), (3, 4, 3))[0])
    tasks = []
    for user, role in chosen:
        verb = "approve" if rng.random() < 0.75 else "reject"
        own = Random(rng.random())
        tasks.append(_decide(world, question, verb, user, role, own, own.choice((0, 0, 0.005))))
    await asyncio.gather(*tasks)


async def _decide(
    world: World,
    question: Question,
    verb: str,
    user: str,
    role: str,
    rng: Random,
    after: float = 0.0,
) -> None:
    """Send one decision until it is answered, as a client does whose connection breaks."""
    await asyncio.sleep(rng.uniform(0, after))
    key = f"{user}-{rng.getrandbits(64):x}" if rng.random() < 0.4 else None
    attempt = Attempt(question.request_id, user, verb, key, time.time())
    world.history.attempts.append(attempt)
    headers = dict(world.cluster.headers(user, question.tenant, role))
    if key is not None:
        headers["Idempotency-Key"] = key
    body = {"reason": "no, thank you"} if verb == "reject" else {"userId": user}
    path = f"/api/aura/hitl/{verb}/{question.request_id}"
    if verb == "cancel":
        path = f"/api/aura/hitl/requests/{question.request_id}/cancel"
    while not world.is_over.is_set():
        answer = await world.call("POST", path, headers, body)
        if answer is None:
            attempt.broken += 1
        elif answer.status != 404 or not _may_be_unknown(question, attempt, world):
            attempt.status, attempt.answered_at = answer.status, time.time()
            attempt.answered_status = answer.member("status")
            attempt.signal = answer.fields.get("x-dwp-signal")
            if answer.status == 200 and question.origin is Origin.OUTSIDE:
                await _read_keys(world, question, attempt)
            if answer.status == 200 and verb != "cancel":
                world.decisions += 1
            elif answer.status not in (200, 404, 409, 410):
                world.unexpected(f"{verb} {question.request_id}: {answer.status} {answer.body!r}")
            return
        await world.sleep(rng.uniform(0.1, 0.8))


async def _read_keys(world: World, question: Question, attempt: Attempt) -> None:
    """Note what Redis holds right after the answer; nothing if it does not answer at once."""
    redis = client(world)
    try:
        async with asyncio.timeout(2):
            names = (f"hitl:request:{question.request_id}", f"hitl:signal:{question.session_id}")
            request, signal = map(str, await redis.mget(names))
        attempt.key_signal = None if signal == "None" else signal
        attempt.key_status = None if request == "None" else json.loads(request)["status"]
    except (RedisError, OSError, TimeoutError):
        return
    finally:
        await redis.aclose()


def _may_be_unknown(question: Question, attempt: Attempt, world: World) -> bool:
    """Say whether a 404 is worth another try. Without an outage near, it is a violation."""
    now = time.time()
    if question.origin is not Origin.OUTSIDE or question.may_be_refused:
        return False
    if not world.history.outages.between(question.asked_at - 15, now):
        world.unexpected(f"{attempt.verb}: 404 for {question.request_id}, which is in Redis")
        return False
    return now - attempt.sent_at < _UNKNOWN_SECONDS


async def _cancel_session(world: World, question: Question, rng: Random) -> None:
    headers = world.cluster.headers(question.requester, question.tenant)
    path = f"/aura/sessions/{question.session_id}/cancel"
    answer = await world.call_until_answered("POST", path, headers, rng=rng)
    if answer is not None and answer.status != 200:
        world.unexpected(f"cancel of {question.session_id}: {answer.status} {answer.body!r}")
