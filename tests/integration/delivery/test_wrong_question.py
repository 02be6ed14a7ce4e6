"""An answer is never taken for that to another question (docs/reference/wire.md, 5.3 and 3.5).

A deployed agent asks, then subscribes, and takes the first message it gets for the answer to
its newest question. So whatever two questions of one session, their decisions, repetitions and
mishaps do: no message may arrive that names another than the newest question.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import pytest
import redis
from django.db import connection
from redis.exceptions import TimeoutError as RedisTimeout

from dwp_project import clocks
from dwp_project.wakeup import redis_client as product_client
from hitl import services
from hitl.adoption import adopt, redis_requests
from hitl.adoption.scanner import Scanner
from hitl.delivery import commands, redis_state, relay
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry
from hitl.states import ActorKind, Origin
from tests import factories
from tests.integration import redis_agents
from tests.integration.calls import Api
from tests.integration.ears import Ear
from tests.integration.threads import together
from tests.people import APPROVER, OUTSIDER, REQUESTER, Person

pytestmark = pytest.mark.django_db(transaction=True)

Publish = Callable[..., commands.Publication]
guarded: Publish = commands.publish


def unguarded(
    request: ApprovalRequest, signal: str, *, seconds: int, **_: object
) -> commands.Publication:
    """Publish as would be obvious: set the key, send the message."""
    pipeline = product_client().pipeline(transaction=True)
    pipeline.set(f"hitl:signal:{request.session_id}", signal, ex=seconds)
    pipeline.publish(f"hitl:channel:{request.session_id}", signal)
    return commands.Published(int(pipeline.execute()[1]))


def ask(client: redis.Redis, kind: str, session_id: str, *, is_first: bool = True) -> str:
    """Ask in this kind of session and return the request's id."""
    if kind == "redis":
        # The first three seconds ago, and Redis was scanned since: an approval waits for that.
        is_bare, age = random.random() < 0.5, 3.0 if is_first else 0.0
        redis_state.note_scanned(time.time() - 1)
        return redis_agents.asks(client, session_id, bare=is_bare, age=age)
    origin, by = (
        (Origin.REST, factories.actor(REQUESTER))
        if kind == "rest"
        else (Origin.AGENT, factories.actor(REQUESTER, ActorKind.AGENT))
    )
    return services.open_request(factories.question(session_id), by, origin)[0].request_id


class Talk:
    """One agent's two questions, and what it has heard in answer."""

    def __init__(self, client: redis.Redis, kind: str, patch: pytest.MonkeyPatch) -> None:
        self.client, self.kind, self.patch = client, kind, patch
        self.session_id = factories.a_session_id()
        self.ids: list[str] = []
        self.ears: dict[int, Ear] = {}
        self.received: dict[int, list[str]] = {0: [], 1: []}
        self.wrong: list[str] = []
        self._held: list[Callable[[], object]] = []

    def do(self, event: str) -> None:
        """Let `ask1`, `subscribe1`, `decide1` or the like happen, and listen."""
        number = int(event[-1]) - 1
        if event.startswith("ask"):
            is_first = number == 0
            self.ids.append(ask(self.client, self.kind, self.session_id, is_first=is_first))
        elif event.startswith("subscribe"):
            self.ears[number] = Ear(self.client, self.session_id)
        else:
            decide = (services.approve, services.reject)[number]
            decide(self.ids[number], factories.actor())
        self.listen(event)

    def listen(self, after: str) -> None:
        for number, ear in self.ears.items():
            for message in ear.arrived():
                self.received[number].append(message)
                if json.loads(message)["requestId"] != self.ids[-1]:
                    self.wrong.append(f"after {after}: ear {number + 1} heard {message}")

    def relay(self) -> None:
        OutboxEntry.objects.pending().update(due_at=clocks.now())
        relay.send_due()
        self.listen("a relay's turn")

    def hold(self, publish: Publish) -> None:
        """Have the first publication held up on its way, as by a frozen link."""

        def hold_first(request: ApprovalRequest, *args: Any, **kwargs: Any) -> commands.Publication:
            if request.request_id != self.ids[0] or self._held:
                return publish(request, *args, **kwargs)
            self._held.append(lambda: publish(request, *args, **kwargs))
            raise RedisTimeout("the link froze")

        self.patch.setattr(commands, "publish", hold_first)

    def let_go(self) -> None:
        """Have what was held up carried out now."""
        for late in self._held:
            late()
        self._held = [lambda: None] if self._held else []
        self.listen("the late publication")

    def forget(self) -> None:
        """Restart Redis with an empty memory, whatever is on Redis alone having been found."""
        if self.kind == "redis":
            Scanner().scan()
        self.client.flushdb()
        redis_state.note_scanned(time.time() - 1)

    def end(self) -> None:
        for _ in range(3):
            if OutboxEntry.objects.pending().exists():
                self.relay()
        entries = OutboxEntry.objects.select_related("request")
        settled = {entry.request.request_id: entry.reported_outcome for entry in entries}
        for number, request_id in enumerate(self.ids):
            signal = OutboxEntry.objects.get(request__request_id=request_id).signal
            answers = [m for messages in self.received.values() for m in messages if m == signal]
            expected = "delivered" if answers else "superseded"
            if settled[request_id] != expected:
                self.wrong.append(f"question {number + 1} was heard {answers}: {settled}")
            if number == 1 and not answers:
                self.wrong.append(f"the newest question's answer was lost: {self.received}")
        for ear in self.ears.values():
            ear.close()
        OutboxEntry.objects.all().delete()


def orders() -> list[tuple[str, ...]]:
    """Return every order in which it can happen: an agent subscribes after it has asked."""
    later = ("ask2", "subscribe1", "subscribe2", "decide1", "decide2")
    return [
        ("ask1", *order)
        for order in permutations(later)
        if order.index("ask2") < min(order.index("subscribe2"), order.index("decide2"))
    ]


def talks(
    client: redis.Redis, kind: str, mishap: str, publish: Publish
) -> Iterator[tuple[str, list[str]]]:
    """Have every order happen with `mishap`; yield each with what went wrong in it."""
    tried = orders()
    if mishap in HOLDING:
        # Only what the database says nothing against is published, and so can be held up.
        tried = [order for order in tried if order.index("decide1") < order.index("ask2")]
    # Streams open requests as REST does, and one thing happens at a time, as on SQLite, where
    # every order is tried: a sample of them is enough.
    if kind == "stream" or connection.vendor == "postgresql":
        tried = tried[::4]
    elif mishap in ("none", "Redis emptied"):
        tried = tried[::3]
    for turn, order in enumerate(tried):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(commands, "publish", publish)
            talk = Talk(client, kind, patch)
            if mishap in HOLDING:
                talk.hold(publish)
            for place, event in enumerate(order):
                if mishap == "opening missed" and event == "ask2":
                    _missing_the_opening(talk, patch)
                else:
                    talk.do(event)
                if event == max("decide1", "subscribe2", key=order.index):
                    talk.let_go()
                if mishap == "Redis emptied" and place == turn % len(order):
                    talk.forget()
                if mishap in ("repeated", "Redis emptied"):
                    talk.relay()
            patch.setattr(commands, "publish", publish)
            talk.end()
            yield " ".join(order), talk.wrong


def _missing_the_opening(talk: Talk, patch: pytest.MonkeyPatch) -> None:
    def missed(*args: object, **kwargs: object) -> None:
        raise RedisTimeout("the link froze")

    with patch.context() as frozen:
        frozen.setattr(commands, "announce", missed)
        # The pause is what keeps what was held up from being valid still.
        frozen.setattr(commands, "VALID_SECONDS", 0.2)
        talk.do("ask2")


HOLDING = ("publication held up", "opening missed")
MISHAPS = [
    *[("redis", m) for m in ("none", "repeated", "publication held up", "Redis emptied")],
    *[("rest", m) for m in ("repeated", "publication held up", "opening missed", "Redis emptied")],
    *[("stream", m) for m in ("repeated", "publication held up")],
]


def test_every_order_is_tried() -> None:
    assert len(set(orders())) == 40


@pytest.mark.parametrize(("kind", "mishap"), MISHAPS)
def test_no_order_of_events_gives_one_question_the_others_answer(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, kind: str, mishap: str
) -> None:
    if mishap == "opening missed":
        monkeypatch.setattr(commands, "VALID_SECONDS", 0.2)

    wrong_orders = {
        order: wrong for order, wrong in talks(redis_client, kind, mishap, guarded) if wrong
    }

    assert wrong_orders == {}


@pytest.mark.parametrize(
    ("kind", "mishap"),
    [
        ("redis", "none"),
        ("redis", "repeated"),
        ("rest", "publication held up"),
        ("rest", "opening missed"),
        ("stream", "publication held up"),
    ],
)
def test_unguarded_publication_would_give_one_question_the_others_answer(
    redis_client: redis.Redis, kind: str, mishap: str
) -> None:
    mistakes = (wrong for _, wrong in talks(redis_client, kind, mishap, unguarded))

    assert any("heard" in text for wrong in mistakes for text in wrong)


# --- really at once -----------------------------------------------------------------------


ROUNDS = 12


def answers_to_the_second(client: redis.Redis, kind: str, publish: Publish) -> str:
    """Decide the first question while the agent asks the second and listens; return what it
    hears before anybody has decided that."""
    session_id = factories.a_session_id()
    first = ask(client, kind, session_id)

    def slowly(*args: Any, **kwargs: Any) -> commands.Publication:
        time.sleep(0.02)  # after the database was asked, before Redis is
        return publish(*args, **kwargs)

    def decide() -> Ear | None:
        time.sleep(random.uniform(0, 0.01))
        services.approve(first, factories.actor())
        return None

    def ask_again() -> Ear | None:
        time.sleep(random.uniform(0, 0.01))
        ask(client, kind, session_id, is_first=False)
        return Ear(client, session_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "publish", slowly)
        _, ear = together([decide, ask_again])
    assert ear is not None
    OutboxEntry.objects.pending().update(due_at=clocks.now())
    relay.send_due()
    messages = "".join(ear.arrived())
    ear.close()
    return messages


@pytest.mark.parametrize("kind", ["redis", "rest"])
def test_decision_that_races_the_next_question_never_answers_it(
    redis_client: redis.Redis, kind: str
) -> None:
    answers = [answers_to_the_second(redis_client, kind, guarded) for _ in range(ROUNDS)]

    assert answers == [""] * ROUNDS


def test_unguarded_decision_that_races_the_next_question_would_answer_it(
    redis_client: redis.Redis,
) -> None:
    assert any(answers_to_the_second(redis_client, "redis", unguarded) for _ in range(ROUNDS))


# --- nobody answers another's agent -------------------------------------------------------

COLLEAGUE = Person("colleague1", REQUESTER.tenant_id, "user")


def opens(session_id: str, by: Person) -> tuple[int, str]:
    body = {"sessionId": session_id, "actionType": "harmless"}
    answer = Api().post("/aura/hitl/requests", by, body)
    return answer.refusal if answer.status != 201 else (201, "")


@pytest.mark.parametrize("kind", ["redis, not adopted", "redis", "rest", "stream"])
def test_opening_in_anothers_session_is_refused_and_answers_nobody(
    redis_client: redis.Redis, kind: str
) -> None:
    session_id = factories.a_session_id()
    waiting = ask(redis_client, kind.split(",")[0], session_id)
    if kind == "redis":
        adopt.adopt_request(waiting)
    named = redis_client.get(f"hitl:session:{session_id}")
    ear = Ear(redis_client, session_id)
    # A REST session's own user may open in it; in an agent's not even whom it works for.
    others = [OUTSIDER, COLLEAGUE, APPROVER, *([] if kind == "rest" else [REQUESTER])]

    refused = {by: opens(session_id, by) for by in others}

    assert refused == dict.fromkeys(others, (404, "E1004"))
    records = AuditRecord.objects.filter(event="session:refused", session_id=session_id)
    assert sorted(record.actor for record in records) == sorted(by.user_id for by in others)
    assert redis_client.get(f"hitl:session:{session_id}") == named
    Scanner().scan()
    assert services.approve(waiting, factories.actor()).status == "approved"
    assert [json.loads(message)["requestId"] for message in ear.arrived()] == [waiting]
    ear.close()


def test_session_key_that_an_agent_writes_during_an_opening_is_not_overwritten(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent writes between the opening's commit and its announcement."""
    announce, written = commands.announce, []

    def late(request: ApprovalRequest, **kwargs: Any) -> None:
        written.append(redis_agents.asks(redis_client, "session-wanted"))
        announce(request, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(commands, "announce", late)
        opened = factories.opened("session-wanted", by=COLLEAGUE)
    ear = Ear(redis_client, "session-wanted")

    services.approve(opened.request_id, factories.actor(COLLEAGUE))
    OutboxEntry.objects.update(due_at=clocks.now())
    relay.send_due()

    assert ear.arrived() == []
    assert (
        json.loads(str(redis_client.get("hitl:session:session-wanted")))["requestId"] == written[0]
    )
    ear.close()


def test_opening_whose_process_died_is_announced_when_the_client_repeats_it(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(commands, "announce", lambda request, **_: None)
        factories.opened("session-died", request_id="req-died")
    assert not redis_client.exists("hitl:session:session-died")

    factories.opened("session-died", request_id="req-died")

    named = json.loads(str(redis_client.get("hitl:session:session-died")))
    assert named["requestId"] == "req-died"


def test_session_that_its_owner_has_just_opened_is_not_taken_for_an_agents(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two openings are the session's first: the other is told between this one's two looks."""
    look = redis_requests.waiting_request

    def meanwhile(session_id: str) -> str | None:
        monkeypatch.setattr(redis_requests, "waiting_request", look)
        factories.opened(session_id)
        return look(session_id)

    monkeypatch.setattr(redis_requests, "waiting_request", meanwhile)

    assert opens("session-of-mine", REQUESTER) == (201, "")


def test_same_session_opened_by_its_owner_many_times_at_once_is_never_refused(
    redis_client: redis.Redis,
) -> None:
    for _ in range(5):
        session_id = factories.a_session_id()

        answers = together([lambda s=session_id: opens(s, REQUESTER)] * 6)  # type: ignore[misc]

        assert answers == [(201, "")] * 6
