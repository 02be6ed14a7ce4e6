"""Numbers that no float has go through as they came (docs/reference/wire.md, 2)."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from django.utils.html import strip_tags
from rest_framework.renderers import JSONRenderer

from dwp_project.gateway.negotiation import CompactRenderer
from dwp_project.gateway.operators import Operator
from dwp_project.jsontext import compact, loads
from dwp_project.offload import run_sync
from hitl import services
from hitl.delivery import keys
from hitl.desk import one
from hitl.models import ApprovalRequest
from streaming import events
from tests import factories
from tests.integration.calls import Api
from tests.integration.exchange import call
from tests.people import APPROVER, REQUESTER

pytestmark = pytest.mark.django_db

CONTEXT = (
    '{"amount":9007199254740993.5,"rate":1e-400,"pi":3.141592653589793238462643,'
    '"list":[0.10000000000000000555,{"deep":123e-9999}],"plain":0.1,"whole":9007199254740993}'
)
BODY = f'{{"requestId":"r1","sessionId":"s1","actionType":"pay","context":{CONTEXT}}}'.encode()


@pytest.mark.django_db(transaction=True)
def test_context_is_answered_as_it_was_sent(api: Api, redis_client: redis.Redis) -> None:
    opened = api.post("/aura/hitl/requests", REQUESTER, BODY)
    again = api.post("/aura/hitl/requests", REQUESTER, BODY)
    read = api.get("/aura/hitl/requests/r1", REQUESTER)
    listed = api.get("/aura/hitl/requests", REQUESTER)
    digest = {"contextDigest": opened.data["contextDigest"]}
    approved = api.post("/aura/hitl/approve/r1", APPROVER, digest)

    assert (opened.status, again.status, approved.status) == (201, 200, 200)
    for answer in (opened, again, listed):
        assert f'"context":{CONTEXT},' in answer.content.decode()
    assert f'"context":{CONTEXT},' in read.data
    assert f'"context":{CONTEXT},' in str(redis_client.get(keys.request_key("r1")))


def test_kept_answer_is_replayed_to_the_byte(api: Api) -> None:
    key = {"Idempotency-Key": "k"}
    first = api.post("/aura/hitl/requests", REQUESTER, BODY, headers=key)

    assert api.post("/aura/hitl/requests", REQUESTER, BODY, headers=key).content == first.content
    # Equal as floats, and another amount.
    other = BODY.replace(b"9007199254740993.5", b"9007199254740994.0")
    assert api.post("/aura/hitl/requests", REQUESTER, other, headers=key).refusal == (422, "E3007")
    assert api.post("/aura/hitl/requests", REQUESTER, other).refusal == (409, "E3006")


@pytest.mark.django_db(transaction=True)
async def test_waiting_client_gets_the_number_too(redis_client: redis.Redis) -> None:
    await call("POST", "/aura/hitl/requests", REQUESTER, BODY)
    await run_sync(services.approve, "r1", factories.actor())

    answer = await call("GET", "/aura/hitl/requests/r1/wait?timeout=1", REQUESTER)

    assert f'"context":{CONTEXT},' in answer.content.decode()


def test_number_of_an_agent_on_redis_is_kept(api: Api, redis_client: redis.Redis) -> None:
    members = {"sessionId": "s2", "actionType": "pay", "userId": "user123", "tenantId": "tenant1"}
    text = compact(members).removesuffix("}") + f',"context":{CONTEXT}}}'
    redis_client.set(keys.request_key("r2"), text, ex=1800)

    assert f'"context":{CONTEXT},' in api.get("/aura/hitl/requests/r2", REQUESTER).data


def test_desk_shows_the_number_that_is_decided_on(api: Api) -> None:
    api.post("/aura/hitl/requests", REQUESTER, BODY)
    request = ApprovalRequest.objects.get()

    page = one.page_context(request, Operator("kim", False, {"tenant1": "approver"}))

    # Digits stand in groups, which are no characters.
    for shown in (strip_tags(page["context"]), page["raw"], page["stored"]):
        for number in ("9007199254740993.5", "1e-400", "123e-9999", "3.141592653589793238462643"):
            assert number in shown
    assert page["shown_digest"] == request.context_digest


def test_events_carry_the_number_and_give_it_back() -> None:
    fields: dict[str, Any] = {
        "requestId": "r",
        "sessionId": "s",
        "actionType": "pay",
        "message": "",
        "context": loads(CONTEXT),
        "requiresApproval": True,
        "expiresAt": 1,
    }

    text = events.payload("hitl", fields, session_id="s", timestamp=1)

    assert text.count(f'"context":{CONTEXT},"params":{CONTEXT},') == 2
    assert events.fields_of("hitl", text) == fields
    assert events.is_payload_of(text, "hitl", fields)


@pytest.mark.parametrize(
    ("member", "literal"),
    [
        ("timeoutSeconds", "300.00000000000000000001"),
        ("timeoutSeconds", "1e-400"),
        ("timeoutSeconds", "300.5"),
        ("message", "1e-400"),
        ("actionType", "9007199254740993.5"),
        ("requestId", "1e-400"),
        ("context", "1e-400"),
    ],
)
def test_number_that_is_no_value_of_a_member_is_refused(
    api: Api, member: str, literal: str
) -> None:
    rest = {"sessionId": "s1", "actionType": "pay"}
    rest.pop(member, None)
    body = compact(rest).removesuffix("}") + f',"{member}":{literal}}}'

    answer = api.post("/aura/hitl/requests", REQUESTER, body.encode())

    assert answer.refusal == (400, "E4000")
    assert answer.body["message"].startswith(f"{member}: ")


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"a": '가\u2028\u2029\u0085\x7f\u0000"\\/</script>', "b": [1.5, -0.0, 1e23, None, True]},
        "text",
        json.loads(CONTEXT),
    ],
)
def test_other_answers_are_to_the_byte_what_they_were(data: Any) -> None:
    assert CompactRenderer().render(data) == JSONRenderer().render(data)
