"""No agent on Redis takes an approval for its own that is for another's question
(docs/reference/wire.md, 5.3): two agents may have one session id, and each takes what comes first.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from dwp_project import clocks
from dwp_project.offload import run_sync
from hitl import metrics, services
from hitl.adoption import adopt, scanner
from hitl.adoption.scanner import Scanner
from hitl.delivery import attempts, keys, lost_signals, outbox, publisher, relay, withholding
from hitl.models import ApprovalRequest, AuditChain, OutboxEntry, SessionOwner
from hitl.states import DeliveryOutcome
from tests import factories
from tests.integration import redis_agents
from tests.integration.calls import Api
from tests.integration.delivery.sending import make_due, relaying
from tests.integration.ears import Ear
from tests.integration.exchange import call
from tests.integration.outages import no_redis
from tests.people import APPROVER, OUTSIDER, REQUESTER

pytestmark = pytest.mark.django_db(transaction=True)

SESSION = "session_user123_1706152860"


@pytest.fixture
def time_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return what lets so many seconds pass, for everything but Redis."""
    passed = [0.0]

    def passes(seconds: float) -> None:
        passed[0] += seconds
        monkeypatch.setattr(clocks, "now", lambda: timezone.now() + timedelta(seconds=passed[0]))

    return passes


def relays() -> None:
    OutboxEntry.objects.pending().update(due_at=clocks.now() - timedelta(hours=1))
    relay.send_due()


def entry_of(request_id: str) -> OutboxEntry:
    return OutboxEntry.objects.get(request__request_id=request_id)


def named_in(messages: list[str]) -> list[str]:
    return [json.loads(message)["requestId"] for message in messages]


def two_ask(client: redis.Redis, *, ages: tuple[float, float] = (3.5, 3.0)) -> tuple[str, str]:
    """Have two agents ask in one session, one after the other, and both be adopted."""
    older = redis_agents.asks(client, SESSION, age=ages[0])
    newer = redis_agents.asked(client, SESSION, age=ages[1])
    return older, newer


# --- what is withheld ---------------------------------------------------------------------


def reject_it(request_id: str) -> None:
    services.reject(request_id, factories.actor())


def approve_it(request_id: str) -> None:
    services.approve(request_id, factories.actor())


def cancel_it(request_id: str) -> None:
    services.cancel(request_id, factories.actor())


@pytest.mark.parametrize("fate", [None, reject_it, approve_it, cancel_it])
def test_approval_does_not_reach_an_agent_that_waits_for_an_older_question(
    api: Api, redis_client: redis.Redis, fate: Callable[[str], None] | None
) -> None:
    older, newer = two_ask(redis_client)
    ears = [Ear(redis_client, SESSION) for _ in range(2)]
    if fate is not None:
        fate(older)

    answer = api.post(f"/aura/hitl/approve/{newer}", APPROVER)
    relays()

    assert (answer.status, answer.headers["x-dwp-signal"]) == (200, "withheld")
    assert [ear.arrived() for ear in ears] == [[], []]
    assert not redis_client.exists(f"hitl:signal:{SESSION}")
    assert json.loads(str(redis_client.get(f"hitl:request:{newer}")))["status"] == "approved"
    # Its own agent has stopped waiting when the other has.
    assert entry_of(newer).outcome == "withheld"
    for ear in ears:
        ear.close()


def test_older_question_that_a_policy_expired_early_is_unanswered(
    redis_client: redis.Redis, time_passes: Callable[[float], None]
) -> None:
    older, newer = two_ask(redis_client, ages=(120.0, 3.0))
    request = ApprovalRequest.objects.get(request_id=older)
    services.settle(request, now=request.expires_at)
    assert ApprovalRequest.objects.get(request_id=older).status == "expired"

    approve_it(newer)

    assert outbox.outcome_of(newer) == "withheld"


def test_rejection_is_never_withheld(redis_client: redis.Redis) -> None:
    _, newer = two_ask(redis_client)
    ear = Ear(redis_client, SESSION)

    reject_it(newer)

    assert named_in(ear.arrived()) == [newer]
    assert outbox.outcome_of(newer) == "delivered"
    ear.close()


def test_approval_of_what_was_opened_here_is_never_withheld(redis_client: redis.Redis) -> None:
    factories.opened(SESSION)
    newer = factories.opened(SESSION)
    ear = Ear(redis_client, SESSION)

    approve_it(newer.request_id)

    assert named_in(ear.arrived()) == [newer.request_id]
    ear.close()


def test_signal_is_sent_when_the_other_agent_has_stopped_waiting(
    redis_client: redis.Redis, time_passes: Callable[[float], None]
) -> None:
    older, newer = two_ask(redis_client, ages=(250.0, 3.0))
    ear = Ear(redis_client, SESSION)
    approve_it(newer)
    entry = entry_of(newer)
    assert (entry.outcome, entry.reported_outcome) == ("pending", "withheld")
    older_at = ApprovalRequest.objects.get(request_id=older).created_at
    assert entry.withheld_until == entry.due_at == older_at + timedelta(seconds=310)

    time_passes(55)
    relays()
    assert ear.arrived() == []
    time_passes(10)
    relays()

    assert named_in(ear.arrived()) == [newer]
    assert outbox.outcome_of(newer) == "delivered"
    ear.close()


def test_signal_that_nobody_could_send_in_time_ends_withheld(
    redis_client: redis.Redis, settings: Settings, time_passes: Callable[[float], None]
) -> None:
    _, newer = two_ask(redis_client, ages=(250.0, 3.0))
    ear = Ear(redis_client, SESSION)
    approve_it(newer)

    time_passes(299)
    relays()

    assert ear.arrived() == []
    assert entry_of(newer).outcome == "withheld"
    OutboxEntry.objects.update(outcome="pending")
    time_passes(10)
    make_due()
    with no_redis(settings):
        lost_signals.note_redis_away("away")
    assert entry_of(newer).outcome == "withheld"
    ear.close()


def test_newer_question_supersedes_a_withheld_approval(redis_client: redis.Redis) -> None:
    _, newer = two_ask(redis_client, ages=(250.0, 4.0))
    approve_it(newer)
    assert outbox.outcome_of(newer) == "withheld"

    redis_agents.asked(redis_client, SESSION)
    relays()

    assert outbox.outcome_of(newer) == "superseded"


def test_redis_that_lost_everything_does_not_free_a_withheld_approval(
    redis_client: redis.Redis,
) -> None:
    _, newer = two_ask(redis_client, ages=(250.0, 3.0))
    approve_it(newer)
    redis_client.flushall()
    ear = Ear(redis_client, SESSION)

    relays()
    Scanner().scan()
    relays()

    assert ear.arrived() == []
    assert not redis_client.exists(f"hitl:signal:{SESSION}")
    ear.close()


def test_api_does_not_reveal_a_withheld_signal_while_redis_is_away(
    api: Api, redis_client: redis.Redis, settings: Settings
) -> None:
    _, newer = two_ask(redis_client)

    with no_redis(settings):
        approve_it(newer)
        before_it_was_looked_at = api.get(f"/aura/hitl/signals/{SESSION}", REQUESTER)
    relays()
    with no_redis(settings):
        withheld = api.get(f"/aura/hitl/signals/{SESSION}", REQUESTER)

    for answer in (before_it_was_looked_at, withheld):
        assert (answer.status, "data" in answer.body) == (200, False)


def test_withheld_signals_are_counted(redis_client: redis.Redis) -> None:
    before = metrics.signals.labels("withheld")._value.get()
    _, newer = two_ask(redis_client)

    approve_it(newer)

    assert metrics.signals.labels("withheld")._value.get() == before + 1


# --- what counts as answered --------------------------------------------------------------


def test_older_question_whose_answer_was_received_withholds_nothing(
    redis_client: redis.Redis,
) -> None:
    older = redis_agents.asked(redis_client, SESSION)
    ear = Ear(redis_client, SESSION)
    reject_it(older)
    newer = redis_agents.asked(redis_client, SESSION, age=2.5)

    approve_it(newer)

    assert named_in(ear.arrived()) == [older, newer]
    ear.close()


def test_older_question_whose_answer_nobody_received_withholds_for_10_seconds_more(
    redis_client: redis.Redis, time_passes: Callable[[float], None]
) -> None:
    older = redis_agents.asked(redis_client, SESSION, age=30.0)
    reject_it(older)
    time_passes(9)
    relays()
    newer = redis_agents.asked(redis_client, SESSION)

    approve_it(newer)

    assert outbox.outcome_of(newer) == "withheld"


def test_answer_that_was_repeated_for_10_seconds_counts(
    redis_client: redis.Redis, time_passes: Callable[[float], None]
) -> None:
    """Listeners by pattern and at a replica are never counted."""
    older = redis_agents.asked(redis_client, SESSION, age=30.0)
    reject_it(older)
    time_passes(10.1)
    relays()
    assert entry_of(older).answered_at is not None
    newer = redis_agents.asked(redis_client, SESSION, age=3.0)
    ear = Ear(redis_client, SESSION)

    approve_it(newer)

    assert named_in(ear.arrived()) == [newer]
    ear.close()


def test_older_question_of_more_than_310_seconds_ago_withholds_nothing(
    redis_client: redis.Redis,
) -> None:
    redis_agents.asks(redis_client, SESSION, age=290.0)
    Scanner().scan()
    older_at = ApprovalRequest.objects.get().created_at
    newer = redis_agents.asked(redis_client, SESSION)
    pk = ApprovalRequest.objects.get(request_id=newer).pk

    def until(seconds: float) -> Any:
        return withholding.read([pk], older_at + timedelta(seconds=seconds))[pk].until

    assert until(309.9) == older_at + timedelta(seconds=310)
    assert until(310.1) is None


# --- what Redis has and nobody has adopted ------------------------------------------------


def test_approval_waits_for_a_scan_that_would_have_found_an_older_question(
    redis_client: redis.Redis,
) -> None:
    """Both are asked before the newer is approved by its id, and nobody has scanned Redis."""
    older = redis_agents.asks(redis_client, SESSION, age=3.5)
    newer = redis_agents.asks(redis_client, SESSION, age=3.0)
    ear = Ear(redis_client, SESSION)

    approve_it(newer)
    assert not ApprovalRequest.objects.filter(request_id=older).exists()
    assert ear.arrived() == []
    assert outbox.outcome_of(newer) == "pending"
    Scanner().scan()
    relays()

    assert ear.arrived() == []
    assert outbox.outcome_of(newer) == "withheld"
    ear.close()


def test_scan_that_began_before_the_question_does_not_count(redis_client: redis.Redis) -> None:
    Scanner().scan()
    newer = redis_agents.asks(redis_client, SESSION)
    adopt.adopt_request(newer)
    ear = Ear(redis_client, SESSION)

    approve_it(newer)
    relays()
    assert ear.arrived() == []
    ear.close()


def test_approval_is_sent_once_its_question_is_2_seconds_old_and_scanned(
    redis_client: redis.Redis, time_passes: Callable[[float], None]
) -> None:
    newer = redis_agents.asked(redis_client, SESSION, age=1.5)
    ear = Ear(redis_client, SESSION)
    approve_it(newer)
    entry = entry_of(newer)
    assert (ear.arrived(), entry.outcome) == ([], "pending")
    assert entry.due_at - entry.request.created_at == timedelta(seconds=2)
    assert json.loads(str(redis_client.get(f"hitl:request:{newer}")))["status"] == "approved"

    time_passes(0.6)
    relays()

    assert named_in(ear.arrived()) == [newer]
    ear.close()


def test_scan_in_parts_counts_from_its_beginning(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hitl.adoption.scanner._KEYS_PER_CALL", 10)
    monkeypatch.setattr("hitl.adoption.scanner._CALLS_PER_SCAN", 1)
    redis_client.mset({f"other:{number}": "x" for number in range(200)})
    scanner = Scanner()
    scanner.scan()
    began_at = scanner._began_at
    assert not redis_client.exists(keys.scanned_key())

    while not scanner.is_round:
        scanner.scan()

    assert float(str(redis_client.get(keys.scanned_key()))) == pytest.approx(began_at, abs=1e-5)


def test_scan_that_does_not_read_refused_values_again_counts_from_their_last_reading(
    redis_client: redis.Redis,
) -> None:
    redis_agents.writes(redis_client, "req-odd", "no json")
    scanner = Scanner()
    scanner.scan()
    # It was read half a second ago, and is not read again so soon.
    scanner._refused["req-odd"] = time.monotonic() - 0.5
    now = time.time()

    scanner.scan()

    assert float(str(redis_client.get(keys.scanned_key()))) < now - 0.49


async def test_approval_is_sent_after_one_scan_of_all_keys_that_it_asked_for(
    redis_client: redis.Redis, fresh_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without notifications, and with so many keys that the scans in between take a minute."""
    monkeypatch.setattr("hitl.adoption.scanner._KEYS_PER_CALL", 10)
    monkeypatch.setattr("hitl.adoption.scanner._KEYS_PER_CALL_IF_ASKED", 100)
    monkeypatch.setattr("hitl.adoption.scanner._CALLS_PER_SCAN", 1)
    monkeypatch.setattr("hitl.adoption.redis_requests.is_notifying", lambda: False)
    redis_client.mset({f"other:{number}": "x" for number in range(3000)})
    newer = redis_agents.asks(redis_client, SESSION, age=3.0)
    await run_sync(adopt.adopt_request, newer)
    ear = Ear(redis_client, SESSION)
    async with relaying():
        task = asyncio.create_task(scanner.run())

        await call("POST", f"/aura/hitl/approve/{newer}", APPROVER)

        assert named_in([str(await run_sync(ear.hear, 20))]) == [newer]
        task.cancel()
        await asyncio.wait([task])
    ear.close()


def test_scan_makes_due_what_waited_for_it_and_nothing_else(
    redis_client: redis.Redis,
) -> None:
    redis_agents.asks(redis_client, SESSION, age=250.0)
    withheld = redis_agents.asked(redis_client, SESSION)
    approve_it(withheld)
    redis_client.delete(keys.scanned_key())
    waiting, young = (
        redis_agents.asks(redis_client, f"session-{age}", age=age) for age in (3.0, 1.0)
    )
    for request_id in (waiting, young):
        adopt.adopt_request(request_id)
        approve_it(request_id)
    earlier = {name: entry_of(name).due_at for name in (withheld, waiting, young)}
    assert earlier[waiting] > clocks.now()

    withholding.resume_after_scan(clocks.now() - timedelta(seconds=10))
    assert entry_of(waiting).due_at == earlier[waiting]
    withholding.resume_after_scan(clocks.now())

    assert entry_of(waiting).due_at <= clocks.now()
    assert entry_of(withheld).due_at == earlier[withheld]
    assert entry_of(young).due_at == earlier[young]


def test_question_that_cannot_be_adopted_withholds_approvals_of_its_session_alone(
    redis_client: redis.Redis,
) -> None:
    """Another tenant's chain takes no record: its agent waits all the same."""
    factories.opened(by=OUTSIDER)
    AuditChain.objects.filter(tenant_id=OUTSIDER.tenant_id).update(last_sequence=0)
    mine = redis_agents.asks(redis_client, SESSION, age=3.0)
    adopt.adopt_request(mine)
    redis_agents.asks(redis_client, SESSION, age=3.5, by=OUTSIDER)
    redis_agents.waits_for(redis_client, SESSION, mine)
    other = redis_agents.asked(redis_client, "session-other")
    ears = [Ear(redis_client, SESSION), Ear(redis_client, "session-other")]

    approve_it(mine)
    approve_it(other)
    relays()

    assert [set(named_in(ear.arrived())) for ear in ears] == [set(), {other}]
    assert outbox.outcome_of(mine) == "withheld"
    for ear in ears:
        ear.close()


def test_question_that_was_refused_in_anothers_session_withholds_its_approvals(
    redis_client: redis.Redis,
) -> None:
    """Users of two tenants have the same id, and ask in the same second."""
    mine = redis_agents.asks(redis_client, SESSION, age=3.0)
    adopt.adopt_request(mine)
    redis_agents.asks(redis_client, SESSION, age=3.5, by=OUTSIDER)
    redis_agents.waits_for(redis_client, SESSION, mine)
    Scanner().scan()
    ear = Ear(redis_client, SESSION)

    approve_it(mine)
    relays()

    assert ear.arrived() == []
    assert outbox.outcome_of(mine) == "withheld"
    until = SessionOwner.objects.get(session_id=SESSION).disputed_until
    assert until is not None
    assert 300 < (until - timezone.now()).total_seconds() < 307
    ear.close()


# --- what nobody can adopt ----------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        {"tenantId": None},
        {"tenantId": 1.5},
        {"tenantId": True},
        {"userId": ["user123"]},
        {"requestId": "req-other"},
        {"actionType": 5},
        {"actionType": "x" * 600},
        {"message": {"text": "?"}},
        {"message": "x" * 10_001},
        {"context": {"n": float("nan")}},
        {"context": {"text": "x" * 300_000}},
        {"status": "PENDING"},
        {"status": "waiting"},
        {"status": None},
        {"status": {}},
        {keys.MARK: "0123456789abcdef"},
    ],
    ids=lambda members: f"{next(iter(members.items()))!s:.40}",
)
def test_question_that_is_refused_withholds_approvals_of_its_session_alone(
    api: Api, redis_client: redis.Redis, members: dict[str, Any]
) -> None:
    older = redis_agents.asks(redis_client, SESSION, age=3.5, **members)
    other = redis_agents.asks(redis_client, "session-other", age=3.0)
    newer = redis_agents.asked(redis_client, SESSION)

    approve_it(newer)
    approve_it(other)

    assert outbox.outcome_of(newer) == "withheld"
    assert outbox.outcome_of(other) == "pending"  # published, and nobody listens
    assert redis_client.exists("hitl:signal:session-other")
    assert api.post(f"/aura/hitl/approve/{older}", APPROVER).status == 404


@pytest.mark.parametrize(
    "text",
    [
        b'{"requestId":"req-cut","sessionId" : "%s","context":{"a":',
        b'\xef\xbb\xbf{"sessionId":"%s","tenantId":"tenant1","status":"pending"}',
        b'{"sessionId":"%s","message":"\xff"}',
        b'{"sessionId":"%s","context":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    ],
    ids=["cut", "byte order mark", "not UTF-8", "deep"],
)
def test_question_that_is_no_json_withholds_approvals_of_its_session(
    redis_client: redis.Redis, text: bytes
) -> None:
    redis_agents.writes(redis_client, "req-cut", text.replace(b"%s", SESSION.encode()), age=3.5)
    newer = redis_agents.asked(redis_client, SESSION)

    approve_it(newer)

    assert outbox.outcome_of(newer) == "withheld"


@pytest.mark.parametrize("status", ["approved", "rejected", "expired", "cancelled"])
def test_refused_value_whose_request_has_ended_withholds_nothing(
    redis_client: redis.Redis, status: str
) -> None:
    redis_agents.asks(redis_client, SESSION, age=3.5, tenantId=None, status=status)
    newer = redis_agents.asked(redis_client, SESSION)

    approve_it(newer)

    assert outbox.outcome_of(newer) == "pending"
    assert redis_client.exists(f"hitl:signal:{SESSION}")


def test_refused_question_of_more_than_310_seconds_ago_withholds_nothing(
    redis_client: redis.Redis,
) -> None:
    redis_agents.asks(redis_client, SESSION, age=311.0, tenantId=None)
    newer = redis_agents.asked(redis_client, SESSION)

    approve_it(newer)

    assert redis_client.exists(f"hitl:signal:{SESSION}")


def test_refused_question_does_not_shorten_the_waiting_for_a_later_one(
    redis_client: redis.Redis,
) -> None:
    redis_agents.asks(redis_client, SESSION, "req-later", age=10.0, tenantId=None)
    redis_agents.asks(redis_client, SESSION, "req-sooner", age=200.0, tenantId=None)
    for request_id in ("req-later", "req-sooner"):
        assert adopt.adopt_request(request_id) is None

    until = float(str(redis_client.get(keys.unadopted_key(SESSION))))

    assert 295 < until - time.time() < 301


def test_question_under_an_id_that_is_known_in_another_session_withholds_its_approvals(
    redis_client: redis.Redis,
) -> None:
    known = redis_agents.asked(redis_client, "session-other")
    redis_agents.asks(redis_client, SESSION, known, age=3.5)
    newer = redis_agents.asked(redis_client, SESSION)

    approve_it(newer)
    approve_it(known)

    assert outbox.outcome_of(newer) == "withheld"
    assert redis_client.exists("hitl:signal:session-other")


def test_question_under_a_decided_requests_id_withholds_approvals_of_its_session(
    redis_client: redis.Redis,
) -> None:
    one = Scanner()
    decided = redis_agents.asks(redis_client, "session-other", age=4.0)
    one.scan()
    approve_it(decided)
    one.adopt_written([decided])
    redis_agents.asks(redis_client, SESSION, decided, age=3.5)
    one.adopt_written([decided])
    newer = redis_agents.asked(redis_client, SESSION)

    approve_it(newer)

    assert outbox.outcome_of(newer) == "withheld"


def test_what_a_known_requests_own_key_says_withholds_nothing(redis_client: redis.Redis) -> None:
    known = redis_agents.asked(redis_client, SESSION)
    for members in ({"tenantId": None}, {"status": "waiting"}, {"message": "changed"}):
        value = redis_agents.body(SESSION, known, **members)
        redis_agents.writes(redis_client, known, value, age=3.0)
        Scanner().scan()

    approve_it(known)

    assert redis_client.exists(f"hitl:signal:{SESSION}")


# --- what is repeated ---------------------------------------------------------------------


@pytest.mark.parametrize("decide", [approve_it, reject_it])
def test_answer_that_a_dead_subscription_received_reaches_who_subscribes_later(
    redis_client: redis.Redis, decide: Callable[[str], None]
) -> None:
    dead = Ear(redis_client, SESSION)
    request_id = redis_agents.asked(redis_client, SESSION)
    decide(request_id)
    assert outbox.outcome_of(request_id) == "delivered"
    first = redis_client.get(f"hitl:signal:{SESSION}")
    late = Ear(redis_client, SESSION)

    relays()

    assert late.arrived() == [first]
    assert outbox.outcome_of(request_id) == "delivered"
    for ear in (dead, late):
        ear.close()


def test_answer_that_was_received_is_not_repeated_once_its_request_is_10_seconds_old(
    redis_client: redis.Redis, time_passes: Callable[[float], None]
) -> None:
    ear = Ear(redis_client, SESSION)
    request_id = redis_agents.asked(redis_client, SESSION)
    approve_it(request_id)
    assert len(ear.arrived()) == 1
    time_passes(3)
    relays()
    assert len(ear.arrived()) == 1

    time_passes(4.5)
    relays()

    assert ear.arrived() == []
    assert entry_of(request_id).outcome == "delivered"
    ear.close()


def test_answer_is_repeated_once_more_if_redis_was_not_reached_meanwhile(
    redis_client: redis.Redis, time_passes: Callable[[float], None]
) -> None:
    dead = Ear(redis_client, SESSION)
    request_id = redis_agents.asked(redis_client, SESSION)
    approve_it(request_id)
    late = Ear(redis_client, SESSION)

    time_passes(9)
    relays()
    relays()

    assert len(late.arrived()) == 1
    assert entry_of(request_id).outcome == "delivered"
    for ear in (dead, late):
        ear.close()


def test_answer_that_was_received_counts_whatever_another_relay_made_of_it(
    redis_client: redis.Redis,
) -> None:
    ear = Ear(redis_client, SESSION)
    request_id = redis_agents.asked(redis_client, SESSION)
    services.approve(request_id, factories.actor())
    OutboxEntry.objects.update(outcome="superseded", receivers=0, answered_at=None)

    received = attempts.AttemptResult(DeliveryOutcome.DELIVERED, 1, is_published=True)
    attempts.record_attempts([(entry_of(request_id), received)])

    entry = entry_of(request_id)
    assert (entry.outcome, entry.receivers) == ("delivered", 1)
    assert entry.answered_at is not None
    ear.close()


def test_answer_to_an_older_request_is_not_repeated_once_it_was_received(
    redis_client: redis.Redis,
) -> None:
    ear = Ear(redis_client, SESSION)
    request_id = redis_agents.asked(redis_client, SESSION, age=11.0)

    approve_it(request_id)

    assert entry_of(request_id).outcome == "delivered"
    ear.close()


def test_received_answer_is_not_repeated_to_a_question_that_redis_lost(
    redis_client: redis.Redis,
) -> None:
    ear = Ear(redis_client, SESSION)
    request_id = redis_agents.asked(redis_client, SESSION)
    approve_it(request_id)
    ear.arrived()
    # It asks anew, and Redis comes back empty before anybody here has seen that.
    redis_client.flushall()
    redis_client.set(keys.last_run_key(), redis_client.info("server")["run_id"])

    relays()

    assert ear.arrived() == []
    assert entry_of(request_id).outcome == "delivered"
    ear.close()


# --- the normal flow ----------------------------------------------------------------------


async def test_every_yes_reaches_an_agent_that_has_left_dead_subscriptions(
    redis_client: redis.Redis, fresh_hub: None
) -> None:
    """It asks ten times in one session, and each connection stays open and is not read."""
    signals, ears = [], [Ear(redis_client, SESSION)]
    async with relaying():
        task = asyncio.create_task(scanner.run())
        for _ in range(10):
            request_id = redis_agents.asks(redis_client, SESSION, age=2.5)
            ears.append(Ear(redis_client, SESSION))

            answer = await call("POST", f"/aura/hitl/approve/{request_id}", APPROVER)

            signals.append(answer.headers["x-dwp-signal"])
            assert named_in([str(await run_sync(ears[-1].hear, 10))]) == [request_id]
        assert not task.done()
        task.cancel()
        await asyncio.wait([task])

    assert "withheld" not in signals
    entries = await run_sync(list, OutboxEntry.objects.all())
    assert {entry.reported_outcome for entry in entries} == {"delivered"}
    for ear in ears:
        ear.close()


async def test_yes_within_2_seconds_arrives_without_further_questions(
    redis_client: redis.Redis, fresh_hub: None
) -> None:
    ear = Ear(redis_client, SESSION)
    async with relaying():
        task = asyncio.create_task(scanner.run())
        request_id = redis_agents.asks(redis_client, SESSION)

        await call("POST", f"/aura/hitl/approve/{request_id}", APPROVER)

        assert named_in([str(await run_sync(ear.hear, 10))]) == [request_id]
        request = await run_sync(ApprovalRequest.objects.get)
        entry = await run_sync(OutboxEntry.objects.get)
        assert entry.published_at is None or entry.published_at - request.created_at >= timedelta(
            seconds=2
        )
        task.cancel()
        await asyncio.wait([task])
    ear.close()


# --- what it costs ------------------------------------------------------------------------


def test_asking_who_else_waits_takes_no_statement_of_its_own(redis_client: redis.Redis) -> None:
    request_id = redis_agents.asked(redis_client, SESSION)
    approve_it(request_id)
    opened = factories.opened()
    approve_it(opened.request_id)
    statements = []
    for name in (request_id, opened.request_id):
        entry = OutboxEntry.objects.select_related("request__policy", "record").get(
            request__request_id=name
        )
        with CaptureQueriesContext(connection) as queries:
            publisher.send([entry])
        statements.append(len(queries))

    assert statements == [2, 2]
