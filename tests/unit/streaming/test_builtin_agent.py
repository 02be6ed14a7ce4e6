"""What the built-in agent promises: it asks first, acts only after a yes, and can be resumed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import events
from streaming.agents.base import (
    AgentEvent,
    AgentTask,
    Decision,
    GateClosed,
    Rejected,
    TimedOut,
    Withdrawn,
)
from streaming.agents.builtin import BuiltinAgent

KIB = 1024
TWO_ACTIONS = "delete 3 mails and send a report to kim@example.com"
TWO_ACTIONS_IN_KOREAN = "메일 3개를 삭제하고 보고서를 발송해줘"
# What a session's prompt may be, and what may change its course.
PROMPTS = [
    "test",
    "summarise the mails",
    "메일을 요약해줘",
    "do not delete anything",
    "delete 3 mails",
    "메일 3개를 삭제해주세요",
    TWO_ACTIONS,
    TWO_ACTIONS_IN_KOREAN,
    "search the invoices, pay $1,200.50 and tell kim@example.com about it",
    "delete the mail. " * 30,
    "",
]


class Journal:
    """A gate that answers from a list, and keeps questions and events in their order."""

    def __init__(self, *answers: GateClosed | None) -> None:
        self.answers = list(answers)
        self.entries: list[tuple[str, Any]] = []

    async def ask(
        self,
        action_type: str,
        *,
        message: str,
        context: Mapping[str, Any] | None = None,
        confidence: float | None = None,
        step_id: str | None = None,
        timeout_seconds: int | None = None,
    ) -> Decision:
        question = {
            "action_type": action_type,
            "message": message,
            "context": context,
            "confidence": confidence,
            "step_id": step_id,
        }
        self.entries.append(("ask", question))
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return Decision(request_id=f"req_{len(self.entries)}", decided_by="user123")

    @property
    def questions(self) -> list[dict[str, Any]]:
        return [entry for name, entry in self.entries if name == "ask"]

    @property
    def events(self) -> list[AgentEvent]:
        return [entry for name, entry in self.entries if name != "ask"]

    def of_type(self, name: str) -> list[Mapping[str, Any]]:
        return [event.fields for event in self.events if event.type == name]

    def order(self, *names: str) -> list[str]:
        """Return questions and tool executions by name, in their order."""
        told = []
        for name, entry in self.entries:
            if name == "ask":
                told.append(f"ask {entry['action_type']}")
            elif name == "tool_execution":
                told.append(f"{entry.fields['status']} {entry.fields['toolName']}")
            elif name in names:
                told.append(name)
        return told

    def text(self) -> str:
        return "".join(fields["content"] for fields in self.of_type("content"))


def _task(prompt: str) -> AgentTask:
    return AgentTask(session_id="session_1", tenant_id="tenant1", user_id="user123", prompt=prompt)


async def _work(prompt: str, journal: Journal) -> None:
    agent = BuiltinAgent(chunk_delay=0, step_delay=0)
    async for event in agent.run(_task(prompt), journal):
        journal.entries.append((event.type, event))


def _run(prompt: str, *answers: GateClosed | None) -> Journal:
    journal = Journal(*answers)
    asyncio.run(_work(prompt, journal))
    return journal


def _refused(prompt: str, *answers: GateClosed | None) -> tuple[Journal, GateClosed]:
    journal = Journal(*answers)
    with pytest.raises(GateClosed) as caught:
        asyncio.run(_work(prompt, journal))
    return journal, caught.value


# --- asking first -----------------------------------------------------------------------------


def test_builtin_agent_executes_only_after_the_yes() -> None:
    journal = _run("delete 3 mails")
    assert journal.order() == ["ask delete_mail", "running delete_mail", "success delete_mail"]


@pytest.mark.parametrize("prompt", [TWO_ACTIONS, TWO_ACTIONS_IN_KOREAN])
def test_builtin_agent_asks_for_two_actions_one_after_the_other(prompt: str) -> None:
    assert _run(prompt).order("content")[:6] == [
        "ask delete_mail",
        "running delete_mail",
        "success delete_mail",
        "ask send_report",
        "running send_report",
        "success send_report",
    ]


def test_builtin_agent_asks_with_parameters_confidence_and_step() -> None:
    first, second = _run(TWO_ACTIONS).questions
    assert first["context"] == {"count": 3}
    assert first["step_id"] == "step_1"
    assert "Delete mail (count: 3)" in first["message"]
    assert second["context"] == {"recipients": ["kim@example.com"]}
    assert second["step_id"] == "step_2"
    assert 0 < second["confidence"] <= 1


def test_builtin_agent_is_less_sure_where_no_object_is_named() -> None:
    (named,) = _run("delete the mails").questions
    (unnamed,) = _run("delete").questions
    assert unnamed["confidence"] < named["confidence"]


def test_builtin_agent_asks_in_the_prompts_language() -> None:
    (question,) = _run("메일 3개를 삭제해주세요").questions
    assert "메일 삭제 (개수: 3)" in question["message"]
    assert "메일 3개를 삭제해주세요" in question["message"]


@pytest.mark.parametrize(
    "prompt", ["test", "summarise the mails", "메일을 요약해줘", "do not delete anything"]
)
def test_builtin_agent_does_not_ask_where_nothing_changes(prompt: str) -> None:
    journal = _run(prompt)
    assert journal.questions == []
    assert {"thought", "plan_step", "content"} <= {event.type for event in journal.events}
    assert not any(fields["requiresApproval"] for fields in journal.of_type("tool_execution"))


# --- a gate that does not open ----------------------------------------------------------------


@pytest.mark.parametrize("refusal", [Rejected("too many"), TimedOut("late"), Withdrawn("gone")])
def test_builtin_agent_stops_where_the_gate_stays_closed(refusal: GateClosed) -> None:
    journal, raised = _refused(TWO_ACTIONS, refusal)
    assert raised is refusal
    assert journal.order("content") == ["ask delete_mail"]
    assert journal.entries[-1][0] == "ask"


def test_builtin_agent_stops_at_the_second_no_and_keeps_the_first_yes() -> None:
    refusal = Rejected("not to him")
    journal, raised = _refused(TWO_ACTIONS, None, refusal)
    assert raised is refusal
    assert journal.order("content") == [
        "ask delete_mail",
        "running delete_mail",
        "success delete_mail",
        "ask send_report",
    ]


# --- events -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", PROMPTS)
def test_builtin_agent_events_have_the_fields_of_the_wire(prompt: str) -> None:
    for event in _run(prompt).events:
        assert event.type in events.TYPES
        assert event.type not in {"start", "hitl", "error", "failed", "end", "stream_reset"}
        assert events.payload(event.type, event.fields, session_id="session_1", timestamp=0)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_builtin_agent_thinks_then_plans_then_works_then_answers(prompt: str) -> None:
    names = [event.type for event in _run(prompt).events]
    order = list(dict.fromkeys(names))
    assert order[:2] == ["thought", "plan_step"]
    assert order[-1] == "content"
    first_content = names.index("content")
    assert set(names[first_content:]) == {"content"}
    assert names.index("plan_step_update") > max(
        index for index, name in enumerate(names) if name == "plan_step"
    )


@pytest.mark.parametrize("prompt", PROMPTS)
def test_builtin_agent_takes_every_step_from_pending_to_completed(prompt: str) -> None:
    journal = _run(prompt)
    planned = journal.of_type("plan_step")
    assert [fields["stepId"] for fields in planned] == [
        f"step_{order}" for order in range(1, len(planned) + 1)
    ]
    assert [fields["order"] for fields in planned] == list(range(1, len(planned) + 1))
    assert {fields["status"] for fields in planned} == {"pending"}
    for name in ("plan_step_update", "timeline_step_update"):
        assert [(fields["stepId"], fields["status"]) for fields in journal.of_type(name)] == [
            (fields["stepId"], status)
            for fields in planned
            for status in ("in_progress", "completed")
        ]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_builtin_agent_content_is_pieces_of_which_the_last_says_so(prompt: str) -> None:
    journal = _run(prompt)
    pieces = journal.of_type("content")
    assert [fields["chunk"] for fields in pieces] == [True] * (len(pieces) - 1) + [False]
    assert len(pieces) > 3
    text = journal.text()
    assert text == text.strip()
    assert text.count(pieces[0]["content"] + pieces[1]["content"]) == 1


def test_builtin_agent_answer_tells_what_was_done_and_that_it_was_simulated() -> None:
    text = _run(TWO_ACTIONS).text()
    assert "1. Mail deleted after approval (count: 3)" in text
    assert "2. Report sent after approval (recipients: kim@example.com)" in text
    assert "simulated" in text


def test_builtin_agent_answers_a_korean_prompt_in_korean() -> None:
    journal = _run(TWO_ACTIONS_IN_KOREAN)
    assert "1. 메일 삭제: 승인 후 완료 (개수: 3)" in journal.text()
    assert "실제 데이터는 바뀌지 않았습니다" in journal.text()
    assert [fields["title"] for fields in journal.of_type("plan_step")] == [
        "메일 삭제",
        "보고서 발송",
    ]


def test_builtin_agent_tools_say_that_they_are_simulated() -> None:
    running, success = _run("delete 3 mails").of_type("tool_execution")
    assert running["result"] is None
    assert success["result"] == {"simulated": True, "count": 3}
    assert success["error"] is None
    assert running["toolArgs"] == success["toolArgs"] == {"count": 3}
    assert running["requiresApproval"] is success["requiresApproval"] is True


def test_builtin_agent_reading_needs_no_approval() -> None:
    running, success = _run("search the mails").of_type("tool_execution")
    assert running["toolName"] == success["toolName"] == "search"
    assert running["requiresApproval"] is False


def test_builtin_agent_says_what_it_was_told_not_to_do() -> None:
    thought = _run("archive the mails but do not delete anything").of_type("thought")[0]
    assert "delete" in thought["content"]


def test_builtin_agent_says_where_its_plan_is_cut() -> None:
    journal = _run("delete the mail. " * 30)
    assert len(journal.questions) == 20
    assert "20 actions" in journal.of_type("thought")[1]["content"]
    assert "left undone" in journal.text()


def test_builtin_agent_does_not_repeat_a_long_prompt() -> None:
    prompt = ("word " * (256 * KIB // 5))[: 256 * KIB - 32] + ". delete the mails"
    journal = _run(prompt)
    assert [question["action_type"] for question in journal.questions] == ["delete_mail"]
    for event in journal.events:
        assert len(str(event.fields)) < 2 * KIB
    assert len(str(journal.questions)) < 2 * KIB
    assert len(journal.text()) < 2 * KIB


# --- resuming ---------------------------------------------------------------------------------


def test_builtin_agent_can_resume() -> None:
    assert BuiltinAgent.can_resume


@pytest.mark.parametrize("prompt", PROMPTS)
def test_builtin_agent_run_again_says_the_same(prompt: str) -> None:
    assert _run(prompt).entries == _run(prompt).entries


def test_builtin_agent_refused_says_the_same_up_to_the_refusal() -> None:
    approved = _run(TWO_ACTIONS)
    refused, _ = _refused(TWO_ACTIONS, None, Rejected("no"))
    assert approved.entries[: len(refused.entries)] == refused.entries


def test_builtin_agent_serves_many_sessions_without_mixing_them() -> None:
    async def together() -> list[Journal]:
        agent = BuiltinAgent(chunk_delay=0, step_delay=0)
        journals = [Journal() for _ in PROMPTS]

        async def work(prompt: str, journal: Journal) -> None:
            async for event in agent.run(_task(prompt), journal):
                journal.entries.append((event.type, event))

        await asyncio.gather(*map(work, PROMPTS, journals))
        return journals

    for prompt, journal in zip(PROMPTS, asyncio.run(together()), strict=True):
        assert journal.entries == _run(prompt).entries


@given(st.text(max_size=200))
@settings(max_examples=50, deadline=None)
def test_builtin_agent_works_on_any_text(prompt: str) -> None:
    journal = _run(prompt)
    asked = [question["action_type"] for question in journal.questions]
    executed = [
        fields["toolName"]
        for fields in journal.of_type("tool_execution")
        if fields["requiresApproval"] and fields["status"] == "success"
    ]
    assert asked == executed
    for event in journal.events:
        events.payload(event.type, event.fields, session_id="s", timestamp=0).encode()


# --- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"model": "x"}, {"chunk_delay": "0"}, {"step_delay": None}, {"chunk_delay": True}],
)
def test_builtin_agent_refuses_options_it_does_not_know(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(options))):
        BuiltinAgent(**options)


@pytest.mark.parametrize("delay", [-1, 61, float("nan"), float("inf")])
def test_builtin_agent_refuses_delays_out_of_range(delay: float) -> None:
    with pytest.raises(ValueError, match="step_delay must be 0 to 60 seconds"):
        BuiltinAgent(step_delay=delay)


def test_builtin_agent_waits_its_delays_and_ends_a_test_within_two_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: Counter[float] = Counter()

    async def sleep(delay: float) -> None:
        waited[delay] += 1

    monkeypatch.setattr("streaming.agents.builtin.asyncio.sleep", sleep)

    async def work() -> int:
        events = [event async for event in BuiltinAgent().run(_task("test"), Journal())]
        return sum(event.type == "content" for event in events)

    pieces = asyncio.run(work())
    assert waited == {0.03: pieces - 1, 0.05: 1}
    assert sum(delay * times for delay, times in waited.items()) < 2
