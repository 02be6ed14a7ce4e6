"""The three scenarios: stream; approve and resume; reject and stop (wire.md, 4.4)."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.prompts import DELETE_THREE, decide, names, read_request, start
from tests.acceptance.server import RunningServer

FORMS = pytest.mark.parametrize("form", ["GET", "POST"])


@FORMS
def test_scenario_stream_runs_to_its_end_without_a_question(
    server: RunningServer, form: str
) -> None:
    with start(server, form, "test") as stream:
        frames = list(stream.events())
    event_names = names(frames)
    assert stream.ended == "clean"
    assert event_names[0] == "start"
    assert {"thought", "plan_step", "content"} <= set(event_names)
    assert "hitl" not in event_names
    assert event_names[-3:] == ["content", "end", "[DONE]"]
    assert frames[-2].json()["status"] == "completed"


@FORMS
def test_scenario_approval_resumes_the_agent(server: RunningServer, form: str) -> None:
    with start(server, form, DELETE_THREE) as stream:
        asked = stream.until("hitl")[-1].json()
        assert asked["actionType"] == "delete_mail"
        assert asked["context"]["count"] == 3
        answer = decide(server, "approve", asked["requestId"], {"userId": "user123"})
        after = list(stream.events())
    assert answer.status == 200
    assert answer.json()["message"] == "Request approved successfully"
    assert answer.json()["data"] == {
        "requestId": asked["requestId"],
        "sessionId": asked["sessionId"],
        "status": "approved",
    }
    event_names = names(after)
    assert stream.ended == "clean"
    assert "tool_execution" in event_names
    assert event_names.index("tool_execution") < event_names.index("content")
    assert event_names[-3:] == ["content", "end", "[DONE]"]
    request = read_request(server, asked["requestId"])
    assert (request["status"], request["approvedBy"]) == ("approved", "user123")


@FORMS
def test_scenario_rejection_stops_the_agent(server: RunningServer, form: str) -> None:
    with start(server, form, DELETE_THREE) as stream:
        asked = stream.until("hitl")[-1].json()
        body = {"userId": "user123", "reason": "중요한 메일입니다"}
        answer = decide(server, "reject", asked["requestId"], body)
        after = list(stream.events())
    assert answer.status == 200
    assert answer.json()["message"] == "Request rejected"
    assert answer.json()["data"] == {
        "requestId": asked["requestId"],
        "sessionId": asked["sessionId"],
        "status": "rejected",
        "reason": "중요한 메일입니다",
    }
    assert stream.ended == "clean"
    assert names(after) == ["error", "[DONE]"]
    error = after[0].json()
    assert (error["errorType"], error["error"]) == ("RejectionError", "중요한 메일입니다")
    assert read_request(server, asked["requestId"])["rejectedBy"] == "user123"


def test_two_actions_ask_twice(server: RunningServer) -> None:
    prompt = "delete 3 mails and send a report to kim@example.com"
    with start(server, "POST", prompt) as stream:
        asked = []
        for _ in range(2):
            asked.append(stream.until("hitl")[-1].json())
            assert decide(server, "approve", asked[-1]["requestId"]).status == 200
        event_names = names(list(stream.events()))
    assert asked[0]["actionType"] == "delete_mail"
    assert asked[1]["actionType"].startswith("send_")
    assert asked[0]["requestId"] != asked[1]["requestId"]
    assert event_names[-2:] == ["end", "[DONE]"]


def test_rejecting_the_second_action_keeps_the_first(server: RunningServer) -> None:
    with start(server, "POST", "delete 3 mails and send a report to kim@example.com") as stream:
        first = stream.until("hitl")[-1].json()["requestId"]
        decide(server, "approve", first)
        between = stream.until("hitl")
        second = between[-1].json()["requestId"]
        decide(server, "reject", second)
        event_names = names(list(stream.events()))
    assert "tool_execution" in names(between)
    assert event_names == ["error", "[DONE]"]
    assert read_request(server, first)["status"] == "approved"
    assert read_request(server, second)["status"] == "rejected"


def test_decision_reaches_a_subscribed_agent_as_exactly_the_signal(server: RunningServer) -> None:
    with start(server, "POST", DELETE_THREE) as stream:
        asked = stream.until("hitl")[-1].json()
        session_id, request_id = asked["sessionId"], asked["requestId"]
        with server.redis() as client, client.pubsub() as listener:
            listener.subscribe(f"hitl:channel:{session_id}")
            assert listener.get_message(timeout=5)["type"] == "subscribe"
            decide(server, "reject", request_id, {"reason": "no"}, user_id="kim", role="approver")
            message = listener.get_message(timeout=5)
            assert message is not None
            key = client.get(f"hitl:signal:{session_id}")
            assert 290 <= client.ttl(f"hitl:signal:{session_id}") <= 300
            assert listener.get_message(timeout=0.5) is None
        list(stream.events())
    assert message["data"] == key
    signal = json.loads(message["data"])
    assert list(signal) == ["type", "requestId", "status", "reason", "timestamp"]
    assert type(signal.pop("timestamp")) is int
    assert signal == {
        "type": "rejection",
        "requestId": request_id,
        "status": "rejected",
        "reason": "no",
    }
    envelope = server.get(f"/api/aura/hitl/signals/{session_id}", server.headers()).json()
    assert (envelope["message"], envelope["data"]) == ("Signal retrieved", key)
