"""Many questions that agents wrote to Redis, adopted together (docs/reference/wire.md, 5.3)."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import pytest
import redis
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hitl import services, sessions
from hitl.adoption import adopt, insert, redis_requests
from hitl.adoption.scanner import Scanner
from hitl.audit import record as audit_record
from hitl.audit import verify
from hitl.delivery.parser import parse_request
from hitl.models import ApprovalRequest, AuditChain, AuditRecord, SessionOwner
from hitl.states import AuditEvent, Origin
from tests import factories
from tests.integration import redis_agents
from tests.integration.threads import together
from tests.people import OUTSIDER, REQUESTER

SESSION = "session-on-redis"

pytestmark = pytest.mark.django_db(transaction=True)


def ask_many(client: redis.Redis, count: int, name: str = "s") -> list[str]:
    return [redis_agents.asks(client, f"session-{name}-{number}") for number in range(count)]


def test_adopting_many_takes_as_many_queries_as_adopting_one(redis_client: redis.Redis) -> None:
    Scanner().adopt_written(ask_many(redis_client, 1, "first"))
    one, many = ask_many(redis_client, 1, "one"), ask_many(redis_client, 20, "many")

    with CaptureQueriesContext(connection) as asked_for_one:
        Scanner().adopt_written(one)
    with CaptureQueriesContext(connection) as asked_for_many:
        Scanner().adopt_written(many)

    assert ApprovalRequest.objects.count() == 22
    assert len(asked_for_many) == len(asked_for_one)


def test_requests_adopted_together_end_up_as_if_adopted_alone(redis_client: redis.Redis) -> None:
    factories.opened("session-ours")
    known = redis_agents.asks(redis_client, "session-known")
    adopt.adopt_request(known)
    older, newer = (redis_agents.asks(redis_client, "session-twice") for _ in range(2))
    ids = {
        "known": known,
        "contradicts": redis_agents.asks(redis_client, "session-a"),
        "older": older,
        "newer": newer,
        "refused": redis_agents.asks(redis_client, "session-ours"),
        "theirs": redis_agents.asks(redis_client, "session-theirs", by=OUTSIDER),
        "ended": redis_agents.asks(redis_client, "session-ended", status="approved"),
        "malformed": redis_agents.asks(redis_client, "session-odd", actionType=[]),
        "a list": "req-list",
        "no id": "req odd\0",
        "missing": "req-missing",
    }
    adopt.adopt_request(ids["contradicts"])
    contradiction = redis_agents.body("session-a", ids["contradicts"], context={"count": 99})
    redis_agents.writes(redis_client, ids["contradicts"], contradiction)
    redis_client.rpush("hitl:request:req-list", "x")
    names = list(ids.values())
    random.Random(1).shuffle(names)

    requests = adopt.adopt_all(names)

    adopted = {"known", "contradicts", "older", "newer", "theirs"}
    assert requests.keys() == {ids[name] for name in adopted}
    assert {name: one.request_id for name, one in requests.items()} == {n: n for n in requests}
    stored = ApprovalRequest.objects.filter(origin=Origin.REDIS)
    assert {request.pk for request in requests.values()} == {request.pk for request in stored}
    assert requests[ids["theirs"]].tenant_id == OUTSIDER.tenant_id
    newest = ApprovalRequest.objects.filter(session_id="session-twice").newest_first().first()
    assert newest is not None
    assert newest.request_id == newer
    contradictions = AuditRecord.objects.filter(event="request:contradicted")
    assert [record.request_id for record in contradictions] == [ids["contradicts"]]
    assert AuditRecord.objects.get(event="session:refused").session_id == "session-ours"
    assert not ApprovalRequest.objects.filter(is_missed_by_redis=True).exists()
    assert adopt.adopt_all(names).keys() == requests.keys()


def test_more_than_are_read_together_are_all_adopted(redis_client: redis.Redis) -> None:
    ids = ask_many(redis_client, 2 * redis_requests.MOST_AT_ONCE + 5)

    assert Scanner().adopt_written(ids) == len(ids)
    adopted = ApprovalRequest.objects.filter(request_id__in=ids)
    # Redis has been told of each.
    assert adopted.filter(is_missed_by_redis=False).count() == len(ids)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_question_that_its_session_waits_for_is_the_newest_of_two_adopted_together(
    redis_client: redis.Redis, order: tuple[int, int]
) -> None:
    ids = [
        redis_agents.asks(redis_client, SESSION),
        redis_agents.asks(redis_client, SESSION, age=9),
    ]
    # Of unknown age, it is taken for new.
    redis_client.persist(f"hitl:request:{ids[0]}")

    adopt.adopt_all([ids[number] for number in order])

    in_order = ApprovalRequest.objects.order_by("created_at").values_list("request_id", flat=True)
    assert list(in_order) == ids


def test_answers_to_older_questions_of_many_sessions_are_removed(redis_client: redis.Redis) -> None:
    answered = ask_many(redis_client, 3)
    adopt.adopt_all(answered)
    for name in answered:
        services.approve(name, factories.actor())
    keys = [f"hitl:signal:session-s-{number}" for number in range(3)]
    assert redis_client.exists(*keys) == 3
    again = ask_many(redis_client, 2)

    adopt.adopt_all(again)

    assert [redis_client.exists(key) for key in keys] == [0, 0, 1]


def test_processes_that_meet_the_same_requests_adopt_each_once_without_a_deadlock(
    redis_client: redis.Redis,
) -> None:
    for turn in range(5):
        ids = ask_many(redis_client, 20, f"turn-{turn}")
        # Some sessions are known already.
        adopt.adopt_all(ids[::4])
        more = [
            redis_agents.asks(redis_client, f"session-turn-{turn}-{n}") for n in range(0, 20, 4)
        ]
        orders = [random.Random(turn * 10 + seed).sample(ids + more, 20) for seed in range(6)]

        answers = together([lambda names=names: adopt.adopt_all(names) for names in orders])  # type: ignore[misc]

        assert [one.keys() for one in answers] == [set(names) for names in orders]
    adopted = AuditRecord.objects.filter(event="request:adopted").values_list("request_id")
    assert len(adopted) == len(set(adopted)) == ApprovalRequest.objects.count()
    assert isinstance(verify.verify("tenant1"), verify.IntactChain)


def test_sessions_are_claimed_in_any_order_without_a_deadlock() -> None:
    names = [f"session-{number:02}" for number in range(12)]

    def claim(seed: int) -> Mapping[str, str]:
        mine = random.Random(seed).sample(names, 8)
        with transaction.atomic():
            owners = sessions.claim_sessions(
                dict.fromkeys(mine, f"user-{seed}"), "tenant1", Origin.REDIS
            )
        return {name: owner.user_id for name, owner in owners.items()}

    for _ in range(10):
        SessionOwner.objects.all().delete()
        owned = together([lambda seed=seed: claim(seed) for seed in range(8)])  # type: ignore[misc]

        stands = dict(SessionOwner.objects.values_list("session_id", "user_id"))
        assert all(stands[name] == user for one in owned for name, user in one.items())


@pytest.mark.parametrize("too_early", [2, 3])
def test_id_that_is_taken_in_another_session_meanwhile_does_not_stop_the_others(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, too_early: int
) -> None:
    """It is taken after the database was asked for the last time, once and again."""
    factories.opened("session-other", request_id="req-taken")
    ids = [redis_agents.asks(redis_client, "session", "req-taken"), *ask_many(redis_client, 2)]
    known, calls = insert.known_requests, []

    def known_by_then(names: Iterable[str]) -> dict[str, ApprovalRequest]:
        calls.append(names)
        return known(names) if len(calls) > too_early else {}

    monkeypatch.setattr(insert, "known_requests", known_by_then)

    requests = adopt.adopt_all(ids)

    assert requests.keys() == set(ids)
    assert requests[ids[0]].session_id == "session-other"
    assert AuditRecord.objects.filter(event="request:adopted").count() == 2


def as_read(name: str, session_id: str) -> insert.NewRequest:
    """Return what an agent asks in a session under a name, as Redis has just told it."""
    written = parse_request(name, json.dumps(redis_agents.body(session_id, name)).encode())
    return insert.NewRequest(written, redis_requests.RedisValue(b"{}", 0.0, timezone.now(), True))


def test_ids_in_different_sessions_are_adopted_without_a_deadlock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The keys are written over between two processes' looks at them."""
    if connection.vendor == "sqlite":
        pytest.skip("only one transaction writes at a time")
    complete = insert._complete

    def all_at_once(*args: Any) -> None:
        complete(*args)
        with suppress(threading.BrokenBarrierError):
            barrier.wait(2)

    monkeypatch.setattr(insert, "_complete", all_at_once)
    for turn in range(5):
        barrier = threading.Barrier(6)
        ids = [f"req-{turn}-{number}" for number in range(20)]

        def take(seed: int, ids: list[str] = ids) -> set[str]:
            mine = random.Random(seed).sample(ids, len(ids))
            return set(insert.adopt_new([as_read(name, f"s-{seed}-{name}") for name in mine]))

        assert together([lambda n=n: take(n) for n in range(6)]) == [set(ids)] * 6  # type: ignore[misc]
    assert ApprovalRequest.objects.count() == 100


def test_large_requests_are_adopted_a_few_at_a_time(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = {"text": "x" * 200_000}
    ids = [redis_agents.asks(redis_client, f"session-{n}", context=large) for n in range(12)]
    take, taken = insert.adopt_new, []

    def counted(questions: list[insert.NewRequest]) -> dict[str, ApprovalRequest]:
        taken.append(len(questions))
        return take(questions)

    monkeypatch.setattr(insert, "adopt_new", counted)

    assert adopt.adopt_all(ids).keys() == set(ids)
    assert taken == [5, 5, 2]


def test_questions_of_one_session_expire_as_they_were_written(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [redis_agents.asks(redis_client, SESSION) for _ in range(3)]
    claim = sessions.claim_sessions

    def slowly(*args: Any) -> dict[str, SessionOwner]:
        time.sleep(0.3)
        return claim(*args)

    monkeypatch.setattr(sessions, "claim_sessions", slowly)
    adopted = adopt.adopt_all(ids).values()

    terms = [(request.expires_at - request.created_at).total_seconds() for request in adopted]
    # As of one look into Redis: however slow the machine is, they do not differ by what it took.
    assert max(terms) - min(terms) < 0.2
    assert max(terms) > 299


def test_tenants_chain_is_not_locked_during_a_call_of_redis(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("only one transaction writes at a time")
    factories.opened("session-ours")
    waits = factories.opened("session-waits")
    ids = [redis_agents.asks(redis_client, name) for name in ("session-ours", "session-new")]
    ask = redis_requests.waiting_requests

    def meanwhile(session_ids: list[str]) -> list[str | None]:
        # A second process decides; it is not waited for by what it would wait for.
        together([lambda: services.approve(waits.request_id, factories.actor())])
        return ask(session_ids)

    monkeypatch.setattr(redis_requests, "waiting_requests", meanwhile)

    assert adopt.adopt_all(ids).keys() == {ids[1]}
    assert AuditRecord.objects.filter(event="session:refused").count() == 1


def test_values_that_keep_failing_are_adopted_apart_from_new_ones(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scanner, "_AGAIN_SECONDS", 0.0)
    factories.opened()
    AuditChain.objects.filter(tenant_id="tenant1").update(last_sequence=0)
    failing = ask_many(redis_client, 3)
    one = Scanner()
    one.scan()
    look, together_with = adopt.adopt_all, []

    def noted(names: list[str]) -> dict[str, ApprovalRequest]:
        together_with.append(set(names))
        return look(names)

    monkeypatch.setattr(adopt, "adopt_all", noted)
    theirs = redis_agents.asks(redis_client, "session-theirs", by=OUTSIDER)

    assert one.scan() == 1
    assert together_with[:2] == [{theirs}, set(failing)]


def test_record_of_another_tenants_actor_is_refused() -> None:
    actors = [factories.actor(REQUESTER), factories.actor(OUTSIDER)]
    facts = [
        audit_record.Fact(AuditEvent.SESSION_REFUSED, actor, timezone.now()) for actor in actors
    ]

    with pytest.raises(ValueError, match="its actor's tenant"), transaction.atomic():
        audit_record.write_all("tenant1", facts)

    assert not AuditRecord.objects.exists()
