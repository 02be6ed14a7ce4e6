"""One agent's questions, with a crash possible at every step of opening, deciding and sending.

Hypothesis drives it: decisions, relays, subscriptions, an outage or a restart of Redis and time
come in any order, and a process may die between any two of its steps. Whatever happens, a
committed decision stands, is recorded once, and is heard by the agent that listens long
enough: the same bytes, and never another question's.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.db.models import F, Q
from django.utils import timezone
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dwp_project import clocks, wakeup
from dwp_project.gateway.errors import DwpError
from dwp_project.wakeup import client as wakeup_client
from hitl import services
from hitl.adoption import redis_requests
from hitl.adoption.scanner import Scanner
from hitl.approvals import opening
from hitl.audit import record as audit_record
from hitl.audit import verify
from hitl.delivery import attempts, commands, outbox, redis_state, relay, request_key, withholding
from hitl.errors import AlreadyDecided
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry
from hitl.states import Origin, Status
from tests import factories
from tests.integration import redis_agents
from tests.integration.ears import Ear
from tests.people import REQUESTER
from tests.services import services as started

pytestmark = pytest.mark.django_db(transaction=True)

# More of them are tried by hand: DELIVERY_EXAMPLES=1000 pytest …
EXAMPLES = int(os.environ.get("DELIVERY_EXAMPLES", "0"))
MOST_STEPS = 24

# Between each two of these a process may die; those of Redis fail while it is away.
OF_REDIS = [
    *((commands, name) for name in ("announce", "publish")),
    (request_key, "refresh"),
    *((redis_state, name) for name in ("look", "note_scanned")),
    *((redis_requests, name) for name in ("read_values", "waiting_requests")),
    *((redis_requests, name) for name in ("is_written", "waiting_request", "request_ids")),
    (commands, "forget_other_signals"),
]
OF_THE_REST = [
    (audit_record, "write_all"),
    (outbox, "enqueue"),
    (withholding, "read"),
    (attempts, "record_attempts"),
    (outbox, "take_due"),
    (wakeup, "publish"),
    (services, "_publish_signal"),
]

# No crash three times out of four: otherwise hardly anything is ever done to its end.
crashes = st.none() | st.none() | st.none() | st.integers(0, MOST_STEPS - 1)


class Crash(BaseException):
    """The process dies: nothing in it catches that."""


class Delivery(RuleBasedStateMachine):
    """The agent's questions, what it has heard, and what is done to the rest."""

    client: redis.Redis
    # Whether it ends with the newest answer, and no further question.
    is_brief = False

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self._steps_left: int | None = None
        self.is_away = self.has_died = False
        self.ids: list[str] = []
        self.ear: Ear | None = None
        self.received: Counter[str] = Counter()
        self.decisions: dict[str, tuple[str, str]] = {}
        for module, name in OF_REDIS + OF_THE_REST:
            step = self._step(getattr(module, name), fails=(module, name) in OF_REDIS)
            self._patch.setattr(module, name, step)
        # Nothing is on its way while one thing happens at a time; so nothing is waited for.
        clock = SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda seconds: None)
        self._patch.setattr(opening, "time", clock)

    def _step(self, function: Callable[..., Any], *, fails: bool) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            self._survive()
            if fails and self.is_away:
                raise redis.ConnectionError("Redis is away")
            result = function(*args, **kwargs)
            self._survive()
            return result

        return step

    def _survive(self) -> None:
        if self._steps_left is not None:
            if self._steps_left == 0:
                raise Crash
            self._steps_left -= 1

    def _process(self, work: Callable[[], object], crash: int | None) -> None:
        """Do `work` in a process that dies after `crash` steps, or lives."""
        self._steps_left = crash
        self.has_died = False
        try:
            work()
        except Crash:
            self.has_died = True
        finally:
            self._steps_left = None
        self._listen()

    def _listen(self) -> None:
        for message in self.ear.arrived() if self.ear else []:
            newest = OutboxEntry.objects.filter(request__request_id=self.ids[-1]).first()
            assert newest is not None, "heard before the newest question was decided"
            assert message == newest.signal
            self.received[self.ids[-1]] += 1

    # --- what happens ---------------------------------------------------------------------

    @initialize(on_redis=st.booleans(), crash=crashes)
    def begin(self, on_redis: bool, crash: int | None) -> None:
        self.client.flushdb()
        self.session_id = factories.a_session_id()
        self.is_on_redis = on_redis
        self._ask(crash)

    @precondition(lambda self: len(self.ids) < 3)
    @rule(crash=crashes)
    def ask_again(self, crash: int | None) -> None:
        self._ask(crash)

    def _ask(self, crash: int | None) -> None:
        request_id = f"{self.session_id}:{len(self.ids)}"
        self._listen()
        if self.is_on_redis:
            # Three seconds ago: approvals of newer questions wait.
            redis_agents.asks(self.client, self.session_id, request_id, age=3.0)
        else:
            question = factories.question(self.session_id, request_id=request_id)

            def work() -> object:
                return services.open_request(question, factories.actor(REQUESTER), Origin.REST)

            # Without an answer the client asks again.
            self._process(work, crash)
            if has_died := self.has_died:
                self._process(work, None)
                self.has_died = has_died
        self.ids.append(request_id)

    @rule()
    def subscribe(self) -> None:
        if self.ear is not None:
            self.ear.close()
        self.ear = Ear(self.client, self.session_id)

    @rule(which=st.integers(0, 3), is_yes=st.booleans(), crash=crashes)
    def decide(self, which: int, is_yes: bool, crash: int | None) -> None:
        request_id = self.ids[which % len(self.ids)]
        decide = services.approve if is_yes else services.reject

        def work() -> None:
            try:
                decide(request_id, factories.actor())
            except (DwpError, AlreadyDecided):
                # Decided already, or written to Redis alone while that is away.
                assert self.is_away or request_id in self.decisions

        self._process(work, crash)
        request = ApprovalRequest.objects.filter(request_id=request_id).first()
        if request is not None and request.is_decided and request_id not in self.decisions:
            entry = OutboxEntry.objects.get(request=request)
            self.decisions[request_id] = (request.status, entry.signal)

    @rule(crash=crashes)
    def relay(self, crash: int | None) -> None:
        OutboxEntry.objects.pending().update(due_at=clocks.now())
        self._process(relay.send_due, crash)

    @rule(crash=crashes)
    def find(self, crash: int | None) -> None:
        def work() -> None:
            try:
                Scanner().scan()
            except redis.RedisError:
                assert self.is_away

        self._process(work, crash)

    @precondition(lambda self: not self.is_away)
    @rule()
    def empty_redis(self) -> None:
        # What is on Redis alone and in no hurry is found within 2 s.
        self._process(Scanner().scan, None)
        self.client.flushdb()

    @rule(is_away=st.sampled_from([True, False, False]))
    def lose_or_regain_redis(self, is_away: bool) -> None:
        self.is_away = is_away
        # Nobody is spared the next call: what happens within a second of a failure is tried too.
        wakeup_client._paused_until = 0.0

    @rule(seconds=st.sampled_from([1, 30, 299, 301]))
    def time_passes(self, seconds: int) -> None:
        age = timedelta(seconds=seconds)
        OutboxEntry.objects.update(created_at=F("created_at") - age, due_at=F("due_at") - age)

    # --- what holds -----------------------------------------------------------------------

    @invariant()
    def a_decision_stands_and_is_recorded_once(self) -> None:
        for request_id, (status, signal) in self.decisions.items():
            assert ApprovalRequest.objects.get(request_id=request_id).status == status
            assert OutboxEntry.objects.get(request__request_id=request_id).signal == signal
            records = AuditRecord.objects.filter(request_id=request_id, event__in=_DECISIONS)
            assert [record.event for record in records] == [f"request:{status}"]

    @invariant()
    def nothing_else_is_recorded(self) -> None:
        decided = ApprovalRequest.objects.filter(session_id=self.session_id, status__in=_DECIDED)
        entries = OutboxEntry.objects.filter(request__session_id=self.session_id)
        assert set(decided.values_list("request_id", flat=True)) == set(self.decisions)
        assert entries.count() == len(self.decisions)

    @invariant()
    def the_outcome_tells_what_was_heard(self) -> None:
        for entry in OutboxEntry.objects.filter(request__session_id=self.session_id).select_related(
            "request"
        ):
            request_id = entry.request.request_id
            match entry.outcome:
                case "delivered":
                    assert self.received[request_id]
                case "superseded":
                    assert request_id != self.ids[-1]
                case "unheard":
                    assert timezone.now() - entry.created_at > timedelta(seconds=300)

    def teardown(self) -> None:
        try:
            if self.ids:
                self._listen_long_enough()
                assert isinstance(verify.verify(REQUESTER.tenant_id), verify.IntactChain)
        finally:
            self._patch.undo()
            if self.ear is not None:
                self.ear.close()
            OutboxEntry.objects.all().delete()

    def _listen_long_enough(self) -> None:
        """Hear the newest answer; then have two more questions, of which Redis is told the
        second late, and the first is decided when the agent listens for the second."""
        self.is_away = False
        self._hear_the_newest()
        if self.is_brief:
            return
        self._ask(None)
        self.is_away = True
        self._ask(None)
        self.is_away = False
        self.subscribe()
        for number in range(len(self.ids) - 1):
            self.decide(number, True, None)
        self.relay(None)
        self._hear_the_newest()

    def _hear_the_newest(self) -> None:
        if not self.received[self.ids[-1]]:
            self.subscribe()
        self.find(None)
        self.decide(len(self.ids) - 1, True, None)
        for _ in range(3):
            self.relay(None)
        entry = OutboxEntry.objects.get(request__request_id=self.ids[-1])
        outcomes = {"delivered", "unheard"}
        if self.is_on_redis and len(self.ids) > 1:
            outcomes.add("withheld")  # the agent has not heard the answer before
        assert entry.reported_outcome in outcomes
        self.the_outcome_tells_what_was_heard()
        self.a_decision_stands_and_is_recorded_once()


_DECIDED = [Status.APPROVED, Status.REJECTED]
_DECISIONS = [f"request:{status}" for status in _DECIDED]


def test_decisions_survive_a_crash_at_every_step(redis_client: redis.Redis) -> None:
    Delivery.client = redis_client
    run_state_machine_as_test(
        Delivery,
        settings=settings(
            max_examples=EXAMPLES or 15,
            stateful_step_count=12,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("on_redis", [False, True])
@pytest.mark.parametrize("what", ["ask", "ask again", "decide", "relay"])
def test_no_single_crash_loses_anything(
    redis_client: redis.Redis, on_redis: bool, what: str
) -> None:
    Delivery.client = redis_client
    for crash in range(100):
        delivery = Delivery()
        delivery.is_brief = True
        try:
            delivery.begin(on_redis, crash if what == "ask" else None)
            if what == "ask again":
                delivery.ask_again(crash)
            if what in ("decide", "relay"):
                delivery.decide(0, True, crash if what == "decide" else None)
            if what == "relay":
                delivery.subscribe()
                delivery.relay(crash)
            has_died = delivery.has_died
            delivery.a_decision_stands_and_is_recorded_once()
            delivery.nothing_else_is_recorded()
            delivery.the_outcome_tells_what_was_heard()
        finally:
            delivery.teardown()
        if not has_died:
            return
    raise AssertionError("it never lived through it")


# --- several agents of one session ---------------------------------------------------------


@dataclass
class Agent:
    """A deployed agent: it asks, subscribes a moment later, and takes the first message."""

    request_id: str
    asked_at: float
    ear: Ear | None = None
    is_waiting: bool = True
    # Rejected before it subscribed, while others were subscribed, who were counted.
    is_overheard: bool = False


class SharedSession(RuleBasedStateMachine):
    """Agents on Redis that have one session id: none ever takes a yes that is for another's
    question, and what nobody else may be waiting for arrives."""

    client: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self.client.flushdb()
        self.session_id = factories.a_session_id()
        self.agents: list[Agent] = []
        self.dead: list[Ear] = []
        self.passed = 0.0
        read_values, clock = redis_requests.read_values, redis_state.clock
        asked_at: dict[str, float] = {}
        self._asked_at = asked_at

        def read_later(ids: Sequence[str]) -> list[redis_requests.RedisValue | None]:
            """Read questions as Redis would date them, had the time passed for it too."""
            return [
                value
                and replace(
                    value,
                    age=value.age + self.passed - asked_at[name],
                    written_at=value.written_at + timedelta(seconds=asked_at[name]),
                )
                for name, value in zip(ids, read_values(ids), strict=True)
            ]

        def later() -> datetime:
            return timezone.now() + timedelta(seconds=self.passed)

        self._patch.setattr(redis_requests, "read_values", read_later)
        self._patch.setattr(redis_state, "clock", lambda: clock() + self.passed)
        self._patch.setattr(clocks, "now", later)

    def _listen(self) -> None:
        for agent in self.agents:
            messages = agent.ear.arrived() if agent.ear and agent.is_waiting else []
            if messages:
                signal = json.loads(messages[0])
                agent.is_waiting = False
                # What is not a rejection is a yes, whatever it names.
                is_own = signal["requestId"] == agent.request_id
                assert is_own or signal["type"] == "rejection", (agent, signal)

    def _subscribe(self, agent: Agent) -> None:
        if agent.ear is None:
            agent.ear = Ear(self.client, self.session_id)

    @initialize(has_dead=st.booleans(), subscribed=st.lists(st.booleans(), min_size=1, max_size=3))
    def begin(self, has_dead: bool, subscribed: list[bool]) -> None:
        """Have some ask at once; the process of an agent may have left a subscription behind."""
        self.dead = [Ear(self.client, self.session_id)] if has_dead else []
        for is_subscribed in subscribed:
            self.ask(bare=False, is_subscribed=is_subscribed)

    @precondition(lambda self: len(self.agents) < 5)
    @rule(bare=st.booleans(), is_subscribed=st.booleans())
    def ask(self, bare: bool, is_subscribed: bool) -> None:
        for agent in self.agents:
            if agent.is_overheard:
                # Nothing in Redis says who received its rejection.
                self._subscribe(agent)
                self.relay()
                agent.is_overheard = False
        request_id = f"{self.session_id}:{len(self.agents)}"
        self._asked_at[request_id] = self.passed
        redis_agents.asks(self.client, self.session_id, request_id, bare=bare)
        self.agents.append(Agent(request_id, self.passed))
        if is_subscribed:
            self._subscribe(self.agents[-1])

    @precondition(lambda self: self.agents)
    @rule(which=st.integers(0, 4))
    def subscribe(self, which: int) -> None:
        self._subscribe(self.agents[which % len(self.agents)])
        self._listen()

    @precondition(lambda self: self.agents)
    @rule(which=st.integers(0, 4), is_yes=st.sampled_from([True, True, False]))
    def decide(self, which: int, is_yes: bool) -> None:
        agent = self.agents[which % len(self.agents)]
        with suppress(DwpError, AlreadyDecided):
            (services.approve if is_yes else services.reject)(agent.request_id, factories.actor())
            agent.is_overheard = not is_yes and agent.ear is None
        self._listen()

    @rule()
    def relay(self) -> None:
        OutboxEntry.objects.pending().filter(
            Q(withheld_until=None) | Q(withheld_until__lte=clocks.now())
        ).update(due_at=clocks.now())
        relay.send_due()
        self._listen()

    @rule(what=st.sampled_from(["scan", "expire", "empty Redis"]))
    def happen(self, what: str) -> None:
        # What is on Redis alone and in no hurry is found within 2 s.
        Scanner().scan()
        if what == "expire":
            services.expire_overdue()
        if what == "empty Redis":
            self.client.flushdb()

    @rule(seconds=st.sampled_from([3, 11, 60, 295]), leaves_dead=st.booleans())
    def time_passes(self, seconds: int, leaves_dead: bool) -> None:
        """Let time pass, in which agents subscribe, and Redis is scanned."""
        for agent in self.agents:
            self._subscribe(agent)
        self.relay()
        Scanner().scan()
        self.passed += seconds
        Scanner().scan()
        for agent in self.agents:
            if self.passed - agent.asked_at > 301:
                agent.is_waiting = False
                if agent.ear is not None and not leaves_dead:
                    agent.ear.close()
                    agent.ear = None

    def teardown(self) -> None:
        try:
            self.time_passes(315, leaves_dead=True)
            # Nobody else waits: two more questions are answered one after the other, each at once.
            for _ in range(2):
                self.ask(bare=False, is_subscribed=True)
                agent = self.agents[-1]
                self.passed += 3
                Scanner().scan()
                services.approve(agent.request_id, factories.actor())
                self._listen()
                assert not agent.is_waiting
                assert outbox.outcome_of(agent.request_id) == "delivered"
        finally:
            self._patch.undo()
            for ear in [*self.dead, *(agent.ear for agent in self.agents if agent.ear)]:
                ear.close()
            OutboxEntry.objects.all().delete()


def run_shared_session() -> None:
    if not EXAMPLES:
        # Of these examples one fails if approvals are not withheld, as a test below shows; if it
        # shows it no more, choose another seed.
        seed(3)(SharedSession)
    run_state_machine_as_test(
        SharedSession,
        settings=settings(
            max_examples=EXAMPLES or 25,
            stateful_step_count=12,
            database=None,
            deadline=None,
            report_multiple_bugs=False,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_agent_takes_the_yes_of_another_agent_of_its_session(redis_client: redis.Redis) -> None:
    SharedSession.client = redis_client
    run_shared_session()


# That the machine can fail is shown by one database.
@pytest.mark.skipif(started.database == "postgres", reason="shown on SQLite")
def test_agent_would_take_the_yes_of_another_if_approvals_were_not_withheld(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = withholding.read

    def unguarded(pks: Collection[int], now: datetime) -> dict[int, withholding.Withholding]:
        return {pk: each._replace(until=None) for pk, each in read(pks, now).items()}

    monkeypatch.setattr(withholding, "read", unguarded)
    SharedSession.client = redis_client

    with pytest.raises(AssertionError):
        run_shared_session()
