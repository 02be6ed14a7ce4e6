"""What deployed agents write is adopted, shown, decided and signalled (wire.md, 3.5 and 5.3)."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis
from django.utils import timezone

from dwp_project.offload import run_sync
from hitl import errors, services
from hitl.adoption.scanner import Scanner
from hitl.approvals import foreign
from hitl.audit import verify, verify_export
from hitl.audit.export_format import Format
from hitl.delivery import relay, resync
from hitl.models import ApprovalRequest, AuditRecord, OutboxEntry
from hitl.policies import rules
from tests import factories
from tests.integration import redis_agents
from tests.integration.audit.exports import exported, keys
from tests.integration.calls import Api, browser
from tests.integration.ears import Ear
from tests.integration.exchange import call
from tests.people import APPROVER, OUTSIDER, REQUESTER
from tests.ruling import a_policy

pytestmark = pytest.mark.django_db(transaction=True)

# Sessions as `session_{userId}_{seconds}` from any user's id, and other odd texts.
IDS = {
    "address": "session_a+b@x.com_1706152860",
    "korean": "session_홍길동_1706152860",
    "space": "session_kim chul_1706152860",
    "backslash": r"session_DOMAIN\kim_1706152860",
    "slash": "session_u/1_1706152860",
    "long": "session_" + "k" * 110 + "_1706152860",
    "512 bytes": "k" * 512,
    "512 bytes of emoji": "🙂" * 128,
    "percent": "session_%2F_100%",
    "hash and query": "s#1?a=b&c=d;e",
    "quotes": "s\"'<b>",
    "spaces around": " s ",
    "braces": "{1}",
    "star": "s*[a-z]?",
    "direction": "s\u202etxt",
    "line separator": "s\u2028t",
}
ids = pytest.mark.parametrize("name", IDS.values(), ids=IDS.keys())


def stored(client: redis.Redis, request_id: str) -> Any:
    return json.loads(str(client.get(f"hitl:request:{request_id}")))


def service_answers(request_id: str) -> str:
    """Return how the request stands, read as the services read it by its id."""
    return services.read(request_id, "tenant1").status


# --- ids --------------------------------------------------------------------------------------


@ids
@pytest.mark.parametrize("bare", [False, True])
def test_opaque_ids_are_adopted_decided_and_signalled(
    redis_client: redis.Redis, name: str, bare: bool
) -> None:
    request_id = f"r{name}"[:512] if name.isascii() else name
    redis_agents.asks(redis_client, name, request_id, bare=bare, age=12)
    ear = Ear(redis_client, name)

    assert Scanner().scan() == 1
    assert service_answers(request_id) == "pending"
    assert services.approve(request_id, factories.actor()).status == "approved"

    assert json.loads(ear.hear() or "{}")["requestId"] == request_id
    assert OutboxEntry.objects.get().outcome == "delivered"
    assert stored(redis_client, request_id)["status"] == "approved"
    records = AuditRecord.objects.filter(request_id=request_id, session_id=name)
    assert [record.event for record in records.order_by("id")] == [
        "request:adopted",
        "request:approved",
    ]
    assert isinstance(verify.verify("tenant1"), verify.IntactChain)
    ear.close()


@ids
def test_opaque_session_is_listed_and_its_signal_read(
    api: Api, redis_client: redis.Redis, name: str
) -> None:
    request_id = redis_agents.asks(redis_client, name)
    services.reject(request_id, factories.actor(), reason="no")
    session = quote(name, safe="")

    listed = api.get(f"/aura/hitl/requests?sessionId={session}", REQUESTER).data["items"]

    assert [item["requestId"] for item in listed] == [request_id]
    # The test client decodes paths as no server does.
    if not {"/", "%"} & {*name}:
        signal = json.loads(api.get(f"/aura/hitl/signals/{session}", REQUESTER).data)
        assert (signal["requestId"], signal["status"]) == (request_id, "rejected")


@pytest.mark.parametrize("kind", [kind for kind, name in IDS.items() if "/" not in name])
async def test_opaque_request_is_waited_for(
    redis_client: redis.Redis, fresh_hub: None, kind: str
) -> None:
    name = IDS[kind]
    redis_agents.asks(redis_client, name, name)
    path = f"/aura/hitl/requests/{quote(name, safe='')}/wait?timeout=30"
    waiting = asyncio.create_task(call("GET", path, REQUESTER))
    await asyncio.sleep(0.2)

    await run_sync(services.approve, name, factories.actor())

    answer = await waiting
    assert (answer.status, answer.data["requestId"]) == (200, name)
    assert answer.data["status"] == "approved"


def test_foreign_decision_on_an_opaque_request_is_audited(redis_client: redis.Redis) -> None:
    redis_agents.asks(redis_client, "session_u/1", "r 홍/1")
    Scanner().scan()

    with pytest.raises(errors.RequestNotFound):
        services.approve("r 홍/1", factories.actor(OUTSIDER))

    foreign.write_waiting()
    assert AuditRecord.objects.get(event="decision:refused").request_id == "r 홍/1"


@ids
def test_opaque_ids_are_shown_linked_and_searched(redis_client: redis.Redis, name: str) -> None:
    redis_agents.asks(redis_client, name, name)
    Scanner().scan()
    request = ApprovalRequest.objects.get()
    operator = browser(factories.user(role="admin", is_staff=True))
    page = f"/admin/hitl/approvalrequest/{request.pk}/change/"
    history = f"/admin/hitl/auditrecord/request/?id={quote(name, safe='')}"

    shown = operator.get(page).content.decode()
    linked = operator.get(f"/admin/hitl/auditrecord/?request={quote(name, safe='')}")
    searched = operator.get(f"/admin/hitl/approvalrequest/?q={quote(name, safe='')}")

    assert history in shown.replace("&amp;", "&")
    if name.strip() == name:
        assert history in linked.content.decode().replace("&amp;", "&")
    assert f"/admin/hitl/approvalrequest/{request.pk}/change/" in searched.content.decode()
    assert (
        f"/admin/hitl/approvalrequest/{request.pk}/change/"
        in operator.get(history).content.decode()
    )
    assert "\u202e" not in shown
    assert "⟨U+202E⟩" in shown or "\u202e" not in name


# --- members -----------------------------------------------------------------------------------

ODD: dict[str, dict[str, Any]] = {
    "tenant and user as numbers": {"tenantId": 1, "userId": 9007199254740993},
    "no action": {"actionType": ""},
    "null action": {"actionType": None},
    "long action": {"actionType": "🙂" * 512},
    "unprintable action": {"actionType": "delete\x1b[2J\n\u202email"},
    "blank action": {"actionType": "  "},
    "list": {"context": [1, {"password": "opensesame"}, []]},
    "text": {"context": "rm -rf /"},
    "empty text": {"context": ""},
    "number": {"context": 12},
    "true": {"context": True},
    "null": {"context": None},
    "requestId null": {"requestId": None},
}


@pytest.mark.parametrize("members", ODD.values(), ids=ODD.keys())
def test_odd_members_are_adopted_shown_and_decided(
    api: Api, redis_client: redis.Redis, members: dict[str, Any]
) -> None:
    session = "session-odd"
    by = REQUESTER
    request_id = redis_agents.asks(redis_client, session, by=by, age=12, **members)
    text = str(redis_client.get(f"hitl:request:{request_id}"))
    tenant = str(members.get("tenantId", by.tenant_id))
    actor = factories.actor(replace(APPROVER, tenant_id=tenant))
    ear = Ear(redis_client, session)

    assert Scanner().scan() == 1

    request = ApprovalRequest.objects.get()
    assert (request.tenant_id, request.user_id) == (
        tenant,
        str(members.get("userId", by.user_id)),
    )
    assert request.action_type == (members.get("actionType", "delete_mail") or "")
    assert request.context == members.get("context", {"folder": "받은편지함", "count": 3})
    operator = browser(factories.user(role="admin", tenant_id=tenant, is_staff=True))
    for path in (
        f"{request.pk}/change/",
        "inbox/",
        f"?tenant_id={tenant}&action_type={quote(request.action_type)}",
    ):
        shown = operator.get(f"/admin/hitl/approvalrequest/{path}")
        assert shown.status_code == 200
        # Only the hidden field of a filter has it as it is.
        assert "\x1b" not in shown.content.decode().replace('value="delete\x1b', "")
        assert "opensesame" not in shown.content.decode()
    assert api.get("/aura/hitl/requests", replace(APPROVER, tenant_id=tenant)).status == 200
    assert services.approve(request_id, actor).status == "approved"

    assert json.loads(ear.hear() or "{}")["requestId"] == request_id
    result = str(redis_client.get(f"hitl:request:{request_id}"))
    decided = {"approvedBy": APPROVER.user_id, "approvedAt": milliseconds()}
    assert result == (
        text.replace('"pending"', '"approved"')[:-1] + "," + compact_members(decided) + "}"
    )
    assert isinstance(verify.verify(tenant), verify.IntactChain)
    ear.close()


def milliseconds() -> int:
    """Return when the one request was decided."""
    decided_at = ApprovalRequest.objects.get().decided_at
    assert decided_at is not None
    return int(decided_at.timestamp() * 1000)


def compact_members(members: dict[str, Any]) -> str:
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False)[1:-1]


@pytest.mark.parametrize("form", [Format.JSONL, Format.CSV])
def test_export_has_odd_ids_and_actions_and_verifies(
    redis_client: redis.Redis, tmp_path: Path, form: Format
) -> None:
    for number, name in enumerate(IDS.values()):
        redis_agents.asks(redis_client, name, name, actionType=f"=a\r{number}\n\x1b\x85\u2028")
    assert Scanner().scan() == len(IDS)

    path = tmp_path / "export.zip"
    exported(path, form)

    export = verify_export.verify(path, keys())
    assert export.manifest["records"] >= len(IDS)


@pytest.mark.parametrize("missing", ["requestId", "actionType", "context", "status"])
def test_missing_member_is_no_fault(redis_client: redis.Redis, missing: str) -> None:
    body = redis_agents.body("session-less", "req-less")
    del body[missing]
    redis_agents.writes(redis_client, "req-less", body)
    redis_agents.waits_for(redis_client, "session-less", "req-less")

    assert services.reject("req-less", factories.actor()).status == "rejected"

    result = stored(redis_client, "req-less")
    assert result["status"] == "rejected"
    assert {name: result.get(name) for name in body if name != "status"} == {
        name: value for name, value in body.items() if name != "status"
    }
    assert (missing in result) == (missing == "status")


@pytest.mark.parametrize("number", ["7", "9007199254740993", "-1"])
def test_ids_that_are_numbers_are_recognised(redis_client: redis.Redis, number: str) -> None:
    session = "session-numbers"
    body = json.dumps(redis_agents.body(session, "?")).replace('"?"', number)
    redis_agents.writes(redis_client, number, body, age=12)
    waiting = f'{{"was":{{"requestId":5}},"requestId": {number},"sessionId":"{session}"}}'
    redis_client.set(f"hitl:session:{session}", waiting, ex=3600)
    Scanner().scan()
    ear = Ear(redis_client, session)

    services.approve(number, factories.actor())

    assert json.loads(ear.hear() or "{}")["requestId"] == number
    assert f'"requestId": {number},' in str(redis_client.get(f"hitl:request:{number}"))
    ear.close()


@pytest.mark.parametrize("action", ["", "delete\x1b_mail"])
def test_policies_match_odd_actions_as_text(redis_client: redis.Redis, action: str) -> None:
    a_policy("*", min_approvals=2)
    a_policy("delete*", min_approvals=3)
    request_id = redis_agents.asks(redis_client, "session-ruled", actionType=action)

    request = services.read(request_id, "tenant1")

    assert rules.rule_of(request).min_approvals == (3 if action else 2)


def test_tenant_and_action_as_long_as_an_index_takes_are_stored(
    redis_client: redis.Redis,
) -> None:
    """Four bytes for each character, and nothing that a database could compress."""
    characters = [chr(0x20000 + number * 79) for number in range(512)]
    action, tenant = "".join(characters), "".join(reversed(characters))[:138]
    assert len(f"{tenant}{action}".encode()) == 2600
    request_id = redis_agents.asks(
        redis_client, "session-index", tenantId=tenant, actionType=action
    )

    assert Scanner().scan() == 1

    services.approve(request_id, factories.actor(replace(APPROVER, tenant_id=tenant)))
    assert AuditRecord.objects.filter(tenant_id=tenant, action_type=action).count() == 2


# --- what an agent wrote stays ------------------------------------------------------------------

EXACT = (
    '{ "taskId" : [ ] ,"requestId":"req-exact","sessionId":"session-exact",'
    '"userId":"user123","tenantId":"tenant1", "actionType":"pay",\n"context":{"amount":1.10,'
    '"big":9007199254740993,"x":"\\uae40","none":[]},"status":"pending","reason" : null,'
    '"nested":{"status":"pending"},"createdAt":1E3 }'
)


def writes_exact(client: redis.Redis, text: str = EXACT) -> None:
    redis_agents.writes(client, "req-exact", text, age=12)
    redis_agents.waits_for(client, "session-exact", "req-exact")


def exact(client: redis.Redis) -> str:
    return str(client.get("hitl:request:req-exact"))


def with_status(text: str, status: str) -> str:
    return text.replace('"status":"pending","reason"', f'"status":"{status}","reason"')


def test_approval_sets_its_members_and_changes_no_other_byte(redis_client: redis.Redis) -> None:
    writes_exact(redis_client)

    services.approve("req-exact", factories.actor())

    members = f',"approvedBy":"{APPROVER.user_id}","approvedAt":{milliseconds()}'
    expected = with_status(EXACT, "approved").replace("1E3", f"1E3{members}")
    assert exact(redis_client) == expected
    assert 1790 < int(redis_client.ttl("hitl:request:req-exact")) <= 1800


def test_rejection_replaces_a_member_in_its_place(redis_client: redis.Redis) -> None:
    writes_exact(redis_client)

    services.reject("req-exact", factories.actor(), reason="아니요 \u2028")

    members = f',"rejectedBy":"{APPROVER.user_id}","rejectedAt":{milliseconds()}'
    expected = with_status(EXACT, "rejected").replace("1E3", f"1E3{members}")
    assert exact(redis_client) == expected.replace('"reason" : null', '"reason" : "아니요 \u2028"')


@pytest.mark.parametrize("end", ["cancelled", "expired"])
def test_end_without_a_decision_sets_the_status_alone(redis_client: redis.Redis, end: str) -> None:
    writes_exact(redis_client)
    request = services.read("req-exact", "tenant1")

    if end == "cancelled":
        services.cancel("req-exact", factories.actor())
    else:
        services.settle(request, now=request.expires_at)

    assert exact(redis_client) == with_status(EXACT, end)
    assert 1790 < int(redis_client.ttl("hitl:request:req-exact")) <= 1800


def test_end_that_redis_missed_is_merged_later(redis_client: redis.Redis) -> None:
    writes_exact(redis_client)
    services.cancel("req-exact", factories.actor())
    redis_agents.writes(redis_client, "req-exact", EXACT)
    ApprovalRequest.objects.update(is_missed_by_redis=True)

    resync.send_missed()

    assert exact(redis_client) == with_status(EXACT, "cancelled")


def test_votes_change_nothing_in_the_text(redis_client: redis.Redis) -> None:
    a_policy("pay", min_approvals=2)
    writes_exact(redis_client)

    assert services.approve("req-exact", factories.actor()).status == "pending"

    resync.send_missed()
    assert exact(redis_client) == EXACT


def test_repeated_signal_leaves_the_text_and_what_its_agent_adds(
    redis_client: redis.Redis,
) -> None:
    writes_exact(redis_client)
    Scanner().scan()
    services.approve("req-exact", factories.actor())
    added = exact(redis_client)[:-1] + ',"seen":true}'
    redis_agents.writes(redis_client, "req-exact", added)
    ear = Ear(redis_client, "session-exact")
    redis_client.delete("hitl:signal:session-exact")

    OutboxEntry.objects.update(due_at=ApprovalRequest.objects.get().created_at)
    relay.send_due()

    assert json.loads(ear.hear() or "{}")["requestId"] == "req-exact"
    assert exact(redis_client) == added
    ear.close()


def test_end_without_a_decision_is_not_written_over_the_decision_of_another(
    redis_client: redis.Redis,
) -> None:
    writes_exact(redis_client)
    Scanner().scan()
    elsewhere = with_status(EXACT, "approved")
    redis_agents.writes(redis_client, "req-exact", elsewhere)
    ApprovalRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    assert services.expire_overdue() == 1

    assert service_answers("req-exact") == "expired"
    assert exact(redis_client) == elsewhere


def test_end_without_a_decision_is_not_written_where_redis_lost_the_request(
    redis_client: redis.Redis,
) -> None:
    writes_exact(redis_client)
    Scanner().scan()
    redis_client.delete("hitl:request:req-exact")

    services.cancel("req-exact", factories.actor())

    assert service_answers("req-exact") == "cancelled"
    assert not redis_client.exists("hitl:request:req-exact")


def test_member_that_its_agent_adds_before_the_decision_stays(redis_client: redis.Redis) -> None:
    writes_exact(redis_client)
    services.read("req-exact", "tenant1")
    writes_exact(redis_client, EXACT[:-1] + ',"progress":0.50}')

    services.approve("req-exact", factories.actor())

    assert '"progress":0.50,"approvedBy"' in exact(redis_client)


@pytest.mark.parametrize(
    "members",
    [
        {"context": {"amount": 1}},
        {"actionType": "pay_all"},
        {"userId": 7},
        {"tenantId": "tenant2"},
        {"sessionId": "another"},
        {"message": "Delete nothing?"},
        {"requestId": "another"},
    ],
)
def test_yes_is_never_written_into_another_question(
    redis_client: redis.Redis, members: dict[str, Any]
) -> None:
    request_id = redis_agents.asks(redis_client, "session-other", message="Pay?")
    asked = services.read(request_id, "tenant1")
    other = redis_agents.body("session-other", request_id, message="Pay?") | members
    redis_agents.writes(redis_client, request_id, other)

    services.approve(request_id, factories.actor())

    result = stored(redis_client, request_id)
    assert result["status"] == "approved"
    assert (result["context"], result["actionType"], result["message"], result["userId"]) == (
        asked.context,
        asked.action_type,
        "Pay?",
        REQUESTER.user_id,
    )


@pytest.mark.parametrize("text", [None, "", "nonsense", b"\xff", "x" * 500_000, "{"])
def test_key_that_holds_no_question_any_more_gets_the_whole_document(
    redis_client: redis.Redis, text: bytes | str | None
) -> None:
    request_id = redis_agents.asks(redis_client, "session-wiped")
    services.read(request_id, "tenant1")
    redis_client.delete(f"hitl:request:{request_id}")
    if text is not None:
        redis_agents.writes(redis_client, request_id, text)

    services.approve(request_id, factories.actor())

    result = stored(redis_client, request_id)
    assert (result["status"], result["context"]) == (
        "approved",
        {"folder": "받은편지함", "count": 3},
    )
    assert OutboxEntry.objects.get().error == ""


def test_largest_request_is_merged_and_stays_readable(redis_client: redis.Redis) -> None:
    body = json.dumps(redis_agents.body("session-large", "req-large", fill=""))
    text = body.replace('"fill": ""', '"fill": "' + "x" * (256 * 1024 - len(body.encode())) + '"')
    assert len(text.encode()) == 256 * 1024
    redis_agents.writes(redis_client, "req-large", text)
    redis_agents.waits_for(redis_client, "session-large", "req-large")

    for _ in range(2):
        services_reject_or_repeat()

        result = stored(redis_client, "req-large")
        assert (result["status"], len(result["reason"])) == ("rejected", 10_000)
        assert result["fill"].startswith("xxx")


def services_reject_or_repeat() -> None:
    """Reject the large request; the second time, have a relay publish it once more."""
    if not OutboxEntry.objects.exists():
        services.reject("req-large", factories.actor(), reason="\x01" * 10_000)
        return
    OutboxEntry.objects.update(due_at=ApprovalRequest.objects.get().created_at, attempts=0)
    relay.send_due()


def test_agent_that_rewrites_its_request_during_decisions_loses_no_member(
    redis_client: redis.Redis,
) -> None:
    """A thread adds members all the time, as an agent does that reports its progress."""
    has_ended = threading.Event()
    written: dict[str, int] = {}

    def rewrite() -> None:
        """Add to the text as an agent does that reads, adds and writes in one step."""
        add = redis_client.register_script(
            "local text = redis.call('GET', KEYS[1])"
            " if text then redis.call('SET', KEYS[1],"
            " string.sub(text, 1, -2) .. ',\"n' .. ARGV[1] .. '\":' .. ARGV[1] .. '}',"
            " 'KEEPTTL') end"
        )
        number = 0
        while not has_ended.is_set():
            for request_id in written:
                add(keys=[f"hitl:request:{request_id}"], args=[number])
                written[request_id] = number
            number += 1

    for turn in range(20):
        written[redis_agents.asks(redis_client, f"session-{turn}")] = 0
    agent = threading.Thread(target=rewrite)
    agent.start()
    try:
        for turn, request_id in enumerate(list(written)):
            end = services.cancel if turn % 2 else services.approve
            end(request_id, factories.actor())
    finally:
        has_ended.set()
        agent.join(30)
    for _ in range(10):
        OutboxEntry.objects.exclude(error="").update(
            due_at=ApprovalRequest.objects.earliest("created_at").created_at
        )
        relay.send_due()

    for turn, (request_id, last) in enumerate(written.items()):
        result = stored(redis_client, request_id)
        assert result["status"] == ("cancelled" if turn % 2 else "approved")
        assert [number for number in range(last + 1) if f"n{number}" not in result] == []
