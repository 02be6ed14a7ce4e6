"""Requests that agents wrote to Redis themselves, taken over (docs/reference/wire.md, 5.3)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
import redis
import time_machine
from django.utils import timezone
from prometheus_client import Counter
from pytest_django import Settings

from dwp_project import clocks
from hitl import metrics, services
from hitl.adoption import adopt, insert, redis_requests
from hitl.adoption.scanner import Scanner
from hitl.delivery import commands, outbox, parser, redis_state, relay
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry, SessionOwner
from tests import factories
from tests.integration import redis_agents
from tests.integration.calls import Api
from tests.integration.ears import Ear
from tests.integration.exchange import call
from tests.integration.outages import no_redis
from tests.integration.threads import together
from tests.people import APPROVER, OUTSIDER, REQUESTER, Person

pytestmark = pytest.mark.django_db(transaction=True)

SESSION = "session-on-redis"


def counted(counter: Counter) -> float:
    return float(counter._value.get())


def events(request_id: str) -> list[str]:
    records = AuditRecord.objects.filter(request_id=request_id).order_by("sequence")
    return list(records.values_list("event", flat=True))


# --- taken over as it is met --------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "status", "bare"),
    [
        ("approve", "approved", False),
        ("reject", "rejected", True),
        ("cancel", "cancelled", False),
    ],
)
def test_agents_request_is_adopted_as_it_is_decided(
    api: Api, redis_client: redis.Redis, verb: str, status: str, bare: bool
) -> None:
    request_id = redis_agents.asks(redis_client, SESSION, bare=bare, age=3)
    redis_state.note_scanned(time.time())
    named = redis_client.get(f"hitl:session:{SESSION}")
    ear = Ear(redis_client, SESSION)
    path = f"/aura/hitl/requests/{request_id}/cancel" if verb == "cancel" else None

    answer = api.post(path or f"/aura/hitl/{verb}/{request_id}", APPROVER)

    assert answer.status == 200
    request = ApprovalRequest.objects.get()
    assert (request.status, request.origin) == (status, "redis")
    assert events(request_id) == ["request:adopted", f"request:{status}"]
    assert redis_client.get(f"hitl:session:{SESSION}") == named
    if verb == "cancel":
        assert ear.hears_nothing()
    else:
        message = ear.hear()
        assert message is not None
        assert json.loads(message)["requestId"] == request_id
        assert outbox.outcome_of(request_id) == "delivered"
    ear.close()


def test_agents_request_is_adopted_as_it_is_read(api: Api, redis_client: redis.Redis) -> None:
    before = counted(metrics.adopted_requests)
    request_id = redis_agents.asks(redis_client, SESSION, message="Delete?", agentId="agent-7")

    answer = api.get(f"/aura/hitl/requests/{request_id}", REQUESTER)

    document = json.loads(answer.data)
    assert document["context"] == {"folder": "받은편지함", "count": 3}
    assert (document["status"], document["message"]) == ("pending", "Delete?")
    assert counted(metrics.adopted_requests) == before + 1
    record = AuditRecord.objects.get()
    assert (record.actor, record.actor_kind, record.channel) == ("agent-7", "agent", "redis")
    listed = api.get("/aura/hitl/requests", REQUESTER).data["items"]
    assert [item["requestId"] for item in listed] == [request_id]


async def test_agents_request_is_adopted_as_it_is_waited_for(
    redis_client: redis.Redis, fresh_hub: None
) -> None:
    request_id = redis_agents.asks(redis_client, SESSION, age=299)

    answer = await call("GET", f"/aura/hitl/requests/{request_id}/wait?timeout=10", REQUESTER)

    # A second later it is 300 s old.
    assert (answer.status, answer.data["status"]) == (200, "expired")


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_agents_request_of_another_tenant_is_unknown(
    api: Api, redis_client: redis.Redis, verb: str
) -> None:
    request_id = redis_agents.asks(redis_client, SESSION)
    unknown = api.post(f"/aura/hitl/{verb}/req-none", OUTSIDER)

    answer = api.post(f"/aura/hitl/{verb}/{request_id}", OUTSIDER)

    assert answer.facts == unknown.facts
    assert ApprovalRequest.objects.get().status == "pending"


def test_decision_made_before_the_agent_subscribed_still_reaches_it(
    redis_client: redis.Redis,
) -> None:
    request_id = redis_agents.asked(redis_client, SESSION)
    services.approve(request_id, factories.actor())
    ear = Ear(redis_client, SESSION)

    OutboxEntry.objects.update(due_at=clocks.now())
    relay.send_due()

    message = ear.hear()
    assert message is not None
    assert json.loads(message)["requestId"] == request_id
    ear.close()


# --- its age ------------------------------------------------------------------------------


def test_age_is_the_keys_full_life_less_its_ttl(redis_client: redis.Redis) -> None:
    now = timezone.now()
    young = redis_agents.asks(redis_client, "s-young", age=100, createdAt=99_999_999_999_999)
    due = redis_agents.asks(redis_client, "s-due", age=301)
    redis_agents.asks(redis_client, "s-endless", "req-endless")
    redis_client.persist("hitl:request:req-endless")
    redis_agents.asks(redis_client, "s-long", "req-long", age=-500)

    assert services.find(young, "tenant1").status == "pending"
    assert services.find(due, "tenant1").status == "expired"
    for request_id, age in [(young, 100), (due, 301), ("req-endless", 0), ("req-long", 0)]:
        request = services.find(request_id, "tenant1")
        left = (request.expires_at - now).total_seconds()
        assert 300 - age - 1 < left < 300 - age + 5
    assert events(due) == ["request:adopted", "request:expired"]


@pytest.mark.parametrize("later", [0.0, 0.02])
def test_question_of_unknown_age_is_not_newer_than_the_one_its_session_waits_for(
    redis_client: redis.Redis, later: float
) -> None:
    ids = [redis_agents.asks(redis_client, SESSION) for _ in range(2)]
    for request_id in ids:
        redis_client.persist(f"hitl:request:{request_id}")

    adopt.adopt_or_raise(ids[1])
    time.sleep(later)
    adopt.adopt_or_raise(ids[0])

    in_order = ApprovalRequest.objects.order_by("created_at").values_list("request_id", flat=True)
    assert list(in_order) == ids


def test_deciding_keeps_the_requests_key_for_another_1800_seconds(
    redis_client: redis.Redis,
) -> None:
    request_id = redis_agents.asks(redis_client, SESSION, age=200)

    services.approve(request_id, factories.actor())

    assert redis_client.ttl(f"hitl:request:{request_id}") > 1790


# --- what cannot be read ------------------------------------------------------------------


def _body(**members: Any) -> str:
    return json.dumps(redis_agents.body(SESSION, "req-odd", **members))


def _without(member: str) -> str:
    return json.dumps({k: v for k, v in json.loads(_body()).items() if k != member})


MALFORMED: dict[str, bytes | str] = {
    "empty": "",
    "no JSON": "approve me",
    "cut off": _body()[:-1],
    "two values": _body() + _body(),
    "a list": "[]",
    "a string": '"req-odd"',
    "null": "null",
    "not UTF-8": _body().encode()[:-1] + b',"x":"\xff\xfe"}',
    "UTF-16": _body().encode("utf-16"),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + _body().encode(),
    "NUL bytes": b"\0" * 64,
    "half a surrogate pair": _body().replace('"delete_mail"', r'"\ud800"'),
    "half a surrogate pair in the context": _body(context={"x": "?"}).replace('"?"', r'"\udc00"'),
    "NaN": _body(context={"x": float("nan")}),
    "infinity": _body(context={"x": float("-inf")}),
    "a number past every limit": _body().replace("3}", "1" * 5000 + "}"),
    "a number that becomes infinite": _body().replace("3}", "1e999}"),
    "a member twice": _body()[:-1] + ',"tenantId":"tenant2"}',
    "a member of the context twice": _body().replace('"count": 3', '"count":3,"count":4'),
    "100,000 levels": "[" * 100_000,
    "65 levels in the context": _body().replace("3}", "[" * 65 + "]" * 65 + "}"),
    "1 MB": _body(message="x" * 1_000_000),
    "another requestId": _body(requestId="req-other"),
    "another requestId that is a number": _body(requestId=7),
    "a requestId that is true": _body(requestId=True),
    "no sessionId": _without("sessionId"),
    "an empty sessionId": _body(sessionId=""),
    "a sessionId with a line break": _body(sessionId="a\nb"),
    "a sessionId with NUL": _body(sessionId="a\0b"),
    "a sessionId with a C1 control character": _body(sessionId="a\x85b"),
    "a sessionId too long": _body(sessionId="s" * 513),
    "a sessionId of too many bytes": _body(sessionId="홍" * 171),
    "a sessionId that is a number": _body(sessionId=7),
    "no tenantId": _without("tenantId"),
    "an empty tenantId": _body(tenantId=""),
    "a tenantId with NUL": _body(tenantId="tenant1\0"),
    "a tenantId that is a fraction": _body(tenantId=1.5),
    "a tenantId that is true": _body(tenantId=True),
    "no userId": _without("userId"),
    "a userId too long": _body(userId="u" * 256),
    "a userId that is an object": _body(userId={}),
    "an actionType with NUL": _body(actionType="x\0"),
    "an actionType too long": _body(actionType="x" * 513),
    "an actionType that is a list": _body(actionType=["x"]),
    "an actionType that is an empty list": _body(actionType=[]),
    "more than an index takes": _body(tenantId="🏢" * 255, actionType="🙂" * 512),
    "a message with NUL": _body(message="a\0b"),
    "a message too long": _body(message="x" * 10_001),
    "a message that is a number": _body(message=5),
}


def test_malformed_value_is_treated_as_unknown(
    api: Api, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    unknown = api.get("/aura/hitl/requests/req-none", REQUESTER).facts
    for why, value in MALFORMED.items():
        redis_agents.writes(redis_client, "req-odd", value)
        caplog.clear()
        before = counted(metrics.malformed_requests)

        answer = api.get("/aura/hitl/requests/req-odd", REQUESTER)

        assert answer.facts == unknown, why
        assert counted(metrics.malformed_requests) == before + 1, why
        assert sum("malformed_request" in record.message for record in caplog.records) == 1, why
        assert redis_client.exists("hitl:request:req-odd"), why
    assert not ApprovalRequest.objects.exists()
    assert not SessionOwner.objects.exists()
    assert not AuditRecord.objects.exists()


def test_key_of_another_kind_is_treated_as_unknown(api: Api, redis_client: redis.Redis) -> None:
    redis_client.hset("hitl:request:req-hash", "a", "b")
    redis_client.rpush("hitl:request:req-list", "a")
    redis_client.xadd("hitl:request:req-stream", {"a": "b"})

    for kind in ("hash", "list", "stream"):
        assert api.post(f"/aura/hitl/approve/req-{kind}", REQUESTER).refusal == (404, "E1004")
    assert redis_client.type("hitl:request:req-hash") == "hash"


def test_session_key_of_another_kind_does_not_stop_an_adoption(
    api: Api, redis_client: redis.Redis
) -> None:
    request_id = redis_agents.asks(redis_client, SESSION)
    redis_client.delete(f"hitl:session:{SESSION}")
    redis_client.hset(f"hitl:session:{SESSION}", "a", "b")

    assert api.get(f"/aura/hitl/requests/{request_id}", REQUESTER).status == 200


def test_values_at_their_bounds_are_adopted(api: Api, redis_client: redis.Redis) -> None:
    at_the_bounds: dict[str, Any] = {
        "actionType": "x" * 512,
        "message": "x" * 10_000,
        "context": None,
        "agentId": "a" * 300,
        "unheard": {"of": [None, True, 1.5]},
    }
    redis_agents.asks(redis_client, "s" * 512, "r" * 512, **at_the_bounds)

    document = json.loads(api.get(f"/aura/hitl/requests/{'r' * 512}", REQUESTER).data)

    assert (document["context"], len(document["message"])) == (None, 10_000)
    assert (len(document["sessionId"]), len(document["actionType"])) == (512, 512)


def test_request_decided_elsewhere_is_no_question(api: Api, redis_client: redis.Redis) -> None:
    before = counted(metrics.malformed_requests)
    statuses: list[Any] = ["approved", "rejected", "expired", "cancelled", "", None, 5, []]
    for status in statuses:
        request_id = redis_agents.asks(redis_client, SESSION, status=status)

        assert api.get(f"/aura/hitl/requests/{request_id}", REQUESTER).status == 404
    assert counted(metrics.malformed_requests) == before
    assert not SessionOwner.objects.exists()


# --- what contradicts ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        {"tenantId": "tenant2"},
        {"userId": "outsider1"},
        {"sessionId": "session-other"},
        {"context": {"folder": "받은편지함", "count": 300}},
        {"actionType": "delete_everything"},
        {"message": "Delete nothing?"},
    ],
)
def test_contradiction_is_audited_once_and_changes_nothing(
    api: Api, redis_client: redis.Redis, members: dict[str, Any]
) -> None:
    before = counted(metrics.contradicted_requests)
    request_id = redis_agents.asks(redis_client, SESSION, message="Delete 3 mails?")
    first = api.get(f"/aura/hitl/requests/{request_id}", REQUESTER).data
    written = {"message": "Delete 3 mails?", **members}
    redis_agents.writes(
        redis_client, request_id, {**redis_agents.body(SESSION, request_id), **written}
    )

    for _ in range(3):
        assert api.get(f"/aura/hitl/requests/{request_id}", REQUESTER).data == first
    assert api.get(f"/aura/hitl/requests/{request_id}", OUTSIDER).status == 404

    told = ["request:adopted", "request:contradicted"]
    assert events(request_id) == told
    assert set(AuditRecord.objects.values_list("tenant_id", flat=True)) == {"tenant1"}
    assert counted(metrics.contradicted_requests) == before + 1
    assert services.approve(request_id, factories.actor()).status == "approved"


def test_contradiction_seen_by_many_at_once_is_audited_once(redis_client: redis.Redis) -> None:
    request_id = redis_agents.asks(redis_client, SESSION)
    adopt.adopt_request(request_id)
    odd = redis_agents.body(SESSION, request_id, context={})
    redis_agents.writes(redis_client, request_id, odd)

    together([lambda: adopt.adopt_request(request_id)] * 8)

    assert events(request_id) == ["request:adopted", "request:contradicted"]


def test_adopted_value_is_no_contradiction(redis_client: redis.Redis) -> None:
    request_id = redis_agents.asks(redis_client, SESSION)
    for _ in range(2):
        adopt.adopt_request(request_id)
    services.approve(request_id, factories.actor())
    adopt.adopt_request(request_id)

    assert events(request_id) == ["request:adopted", "request:approved"]


def test_malformed_value_over_an_adopted_request_changes_nothing(
    api: Api, redis_client: redis.Redis
) -> None:
    request_id = redis_agents.asks(redis_client, SESSION)
    adopt.adopt_request(request_id)
    redis_agents.writes(redis_client, request_id, "nonsense")

    assert api.post(f"/aura/hitl/approve/{request_id}", REQUESTER).status == 200


# --- whose session it is ------------------------------------------------------------------


@pytest.mark.parametrize("owner", [REQUESTER, OUTSIDER])
def test_request_in_a_session_of_ours_is_refused_and_audited_once(
    api: Api, redis_client: redis.Redis, owner: Person
) -> None:
    factories.opened(SESSION, by=owner)
    request_id = redis_agents.asks(redis_client, SESSION)

    for _ in range(3):
        assert api.post(f"/aura/hitl/approve/{request_id}", APPROVER).status == 404

    assert ApprovalRequest.objects.count() == 1
    refused = AuditRecord.objects.get(event="session:refused")
    assert (refused.tenant_id, refused.session_id) == ("tenant1", SESSION)
    assert json.loads(refused.details) == {"requestId": request_id}


def test_request_in_another_tenants_session_is_refused(redis_client: redis.Redis) -> None:
    adopt.adopt_request(redis_agents.asks(redis_client, SESSION))

    assert adopt.adopt_request(redis_agents.asks(redis_client, SESSION, by=OUTSIDER)) is None
    assert AuditRecord.objects.get(event="session:refused").tenant_id == "tenant2"


# --- several at once, several in one session ----------------------------------------------


def test_adoption_by_many_at_once_makes_one_request(redis_client: redis.Redis) -> None:
    before = counted(metrics.adopted_requests)
    ids = [redis_agents.asks(redis_client, SESSION) for _ in range(3)]

    requests = together([lambda n=n: adopt.adopt_request(ids[n % 3]) for n in range(12)])  # type: ignore[misc]

    assert {request.request_id for request in requests if request} == set(ids)
    assert ApprovalRequest.objects.count() == 3
    assert AuditRecord.objects.filter(event="request:adopted").count() == 3
    assert counted(metrics.adopted_requests) == before + 3


def test_one_of_many_decisions_on_a_request_nobody_knew_stands(redis_client: redis.Redis) -> None:
    request_id = redis_agents.asks(redis_client, SESSION)

    answers = together(
        [lambda: Api().post(f"/aura/hitl/approve/{request_id}", APPROVER).status] * 8
    )

    assert sorted(answers) == [200] + [409] * 7
    assert events(request_id) == ["request:adopted", "request:approved"]


def test_request_adopted_and_decided_between_two_reads_is_not_missing(
    api: Api, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second person's answer comes as the database has been asked and Redis has not, or the
    other way round."""
    request_id = redis_agents.asks(redis_client, SESSION)
    undecided = [request_id]

    def then_decided(look: Callable[[Sequence[str]], Any]) -> Callable[[Sequence[str]], Any]:
        def first(request_ids: Sequence[str]) -> Any:
            seen = look(request_ids)
            if undecided:
                services.approve(undecided.pop(), factories.actor())
            return seen

        return first

    monkeypatch.setattr(insert, "known_requests", then_decided(insert.known_requests))
    monkeypatch.setattr(redis_requests, "read_values", then_decided(redis_requests.read_values))

    assert api.post(f"/aura/hitl/approve/{request_id}", APPROVER).status == 409


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_question_asked_last_is_the_newest_in_any_order_of_adoption(
    redis_client: redis.Redis, order: tuple[int, int]
) -> None:
    for turn in range(20):
        session = f"session-{turn}"
        ids = [redis_agents.asks(redis_client, session) for _ in range(2)]
        for number in order:
            adopt.adopt_request(ids[number])

        newest = ApprovalRequest.objects.filter(session_id=session).newest_first().first()

        assert newest is not None
        assert newest.request_id == ids[1]


def test_question_asked_last_is_the_newest_however_slowly_redis_answers(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (redis_agents.asks(redis_client, SESSION) for _ in range(2))
    answered = redis_requests.read_values

    def slowly(request_ids: Sequence[str]) -> list[redis_requests.RedisValue | None]:
        time.sleep(0.1)
        return answered(request_ids)

    with monkeypatch.context() as patch:
        patch.setattr(redis_requests, "read_values", slowly)
        adopt.adopt_request(second)
    adopt.adopt_request(first)

    newest = ApprovalRequest.objects.newest_first().first()
    assert newest is not None
    assert newest.request_id == second


@pytest.mark.parametrize("wrong", [-0.05, 0.05])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_question_asked_last_is_the_newest_whatever_processes_know_of_the_time(
    redis_client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    order: tuple[int, int],
    wrong: float,
) -> None:
    """One process converts Redis's times with an error, and another with the opposite one."""
    ids = [redis_agents.asks(redis_client, SESSION) for _ in range(2)]
    exact = redis_state.distant_redis.offset()

    for number, error in zip(order, (wrong, -wrong), strict=True):
        reading = clocks.Reading(exact + error, 0.05, clocks.uptime())
        monkeypatch.setattr(redis_state.distant_redis, "_reading", reading)
        adopt.adopt_request(ids[number])

    newest = ApprovalRequest.objects.newest_first().first()
    assert newest is not None
    assert newest.request_id == ids[1]


def test_question_adopted_between_its_agents_two_writes_is_the_newest(
    redis_client: redis.Redis,
) -> None:
    ear = Ear(redis_client, SESSION)
    services.approve(redis_agents.asked(redis_client, SESSION, age=60), factories.actor())
    assert ear.hear() is not None
    newer = "req-newer"
    redis_agents.writes(redis_client, newer, redis_agents.body(SESSION, newer), age=3)
    Scanner().scan()
    redis_agents.waits_for(redis_client, SESSION, newer)

    services.approve(newer, factories.actor())

    assert json.loads(ear.hear() or "{}")["requestId"] == newer
    first, second = ApprovalRequest.objects.order_by("pk")
    assert 56 < (second.created_at - first.created_at).total_seconds() < 58
    ear.close()


def test_question_adopted_before_its_agent_has_named_it_stays_the_newest(
    redis_client: redis.Redis,
) -> None:
    for request_id, age in (("req-older", 3.3), ("req-newer", 3.0)):
        body = redis_agents.body(SESSION, request_id)
        redis_agents.writes(redis_client, request_id, body, age=age)
    redis_agents.waits_for(redis_client, SESSION, "req-older")

    adopt.adopt_request("req-newer")
    adopt.adopt_request("req-older")

    newest = ApprovalRequest.objects.newest_first().first()
    assert newest is not None
    assert newest.request_id == "req-newer"


def test_question_is_dated_by_the_databases_clock(redis_client: redis.Redis) -> None:
    with time_machine.travel(timedelta(minutes=10)):
        request = adopt.adopt_request(redis_agents.asks(redis_client, SESSION, age=10))
        present = clocks.now()

    assert request is not None
    assert timedelta(seconds=9) < present - request.created_at < timedelta(seconds=15)
    assert request.expires_at == request.created_at + timedelta(seconds=300)
    adopted = AuditRecord.objects.get(event="request:adopted")
    assert request.created_at < adopted.at <= present


def test_question_asked_while_the_one_before_is_adopted_is_the_newest(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = redis_agents.asks(redis_client, SESSION)
    answered = redis_requests.waiting_requests
    newer_ids: list[str] = []
    adopting: list[threading.Thread] = []

    def just_before(session_ids: Sequence[str]) -> list[str | None]:
        named = answered(session_ids)
        if not newer_ids:
            newer_ids.append(redis_agents.asks(redis_client, SESSION))
            adopting.append(threading.Thread(target=together, args=[[adopt_the_second]]))
            adopting[0].start()
            # Time enough to be done, unless it has to wait until the first is.
            adopting[0].join(0.5)
        return named

    def adopt_the_second() -> object:
        return adopt.adopt_request(newer_ids[0])

    monkeypatch.setattr(redis_requests, "waiting_requests", just_before)
    adopt.adopt_request(first)
    adopting[0].join(30)

    newest = ApprovalRequest.objects.newest_first().first()
    assert newest is not None
    assert newest.request_id == newer_ids[0]


def test_older_signal_is_removed_when_a_newer_request_is_adopted(
    api: Api, redis_client: redis.Redis
) -> None:
    key = f"hitl:signal:{SESSION}"
    services.approve(redis_agents.asked(redis_client, SESSION, age=5), factories.actor())
    assert redis_client.get(key) is not None
    second = redis_agents.asks(redis_client, SESSION)

    adopt.adopt_request(second)

    assert redis_client.get(key) is None
    assert api.get(f"/aura/hitl/signals/{SESSION}", REQUESTER).body.get("data") is None


def test_older_request_adopted_late_does_not_remove_a_newer_answer(
    redis_client: redis.Redis,
) -> None:
    older = redis_agents.asks(redis_client, SESSION, age=20)
    newer = redis_agents.asks(redis_client, SESSION, age=10)
    services.reject(newer, factories.actor())
    stored_signal = redis_client.get(f"hitl:signal:{SESSION}")
    assert stored_signal is not None

    adopt.adopt_request(older)

    assert redis_client.get(f"hitl:signal:{SESSION}") == stored_signal
    services.approve(older, factories.actor())
    assert redis_client.get(f"hitl:signal:{SESSION}") == stored_signal
    assert OutboxEntry.objects.get(request__request_id=older).outcome == "superseded"


def test_late_adoption_does_not_remove_the_newest_answer(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next question is asked and answered between an adoption and its last step."""
    forget = commands.forget_other_signals

    def late(requests: Sequence[ApprovalRequest]) -> None:
        monkeypatch.setattr(commands, "forget_other_signals", forget)
        services.reject(redis_agents.asks(redis_client, SESSION), factories.actor())
        forget(requests)

    monkeypatch.setattr(commands, "forget_other_signals", late)

    adopt.adopt_request(redis_agents.asks(redis_client, SESSION))

    assert redis_client.get(f"hitl:signal:{SESSION}") is not None


# --- without Redis ------------------------------------------------------------------------


def test_adopted_request_is_read_and_decided_without_redis(
    api: Api, redis_client: redis.Redis, settings: Settings
) -> None:
    request_id = redis_agents.asks(redis_client, SESSION)
    adopt.adopt_request(request_id)

    with no_redis(settings):
        assert api.get(f"/aura/hitl/requests/{request_id}", REQUESTER).status == 200
        assert api.get("/aura/hitl/requests/req-unknown", REQUESTER).status == 404
        assert api.post(f"/aura/hitl/approve/{request_id}", REQUESTER).status == 200
    assert OutboxEntry.objects.get().outcome == "pending"


def test_adopted_request_expires_300_seconds_after_it_was_written(
    redis_client: redis.Redis,
) -> None:
    request_id = redis_agents.asks(redis_client, SESSION, age=100)
    adopt.adopt_request(request_id)

    assert services.expire_overdue(now=timezone.now() + timedelta(seconds=197)) == 0
    assert services.expire_overdue(now=timezone.now() + timedelta(seconds=201)) == 1


def test_huge_value_is_refused_without_being_read(api: Api, redis_client: redis.Redis) -> None:
    redis_client.setrange("hitl:request:req-huge", 64 * 1024 * 1024, "x")

    assert api.get("/aura/hitl/requests/req-huge", REQUESTER).status == 404
    (written,) = redis_requests.read_values(["req-huge"])
    assert written is not None
    assert len(written.text) == parser.MOST_BYTES + 1


def test_id_that_an_agent_has_just_written_cannot_be_opened_by_somebody_else(
    api: Api, redis_client: redis.Redis
) -> None:
    request_id = redis_agents.asks(redis_client, SESSION)
    body = {"requestId": request_id, "sessionId": "another", "actionType": "x"}

    assert api.post("/aura/hitl/requests", OUTSIDER, body).refusal == (409, "E3006")

    assert api.get(f"/aura/hitl/requests/{request_id}", REQUESTER).status == 200
    assert json.loads(str(redis_client.get(f"hitl:request:{request_id}")))["sessionId"] == SESSION
