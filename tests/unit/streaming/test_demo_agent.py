"""What the demo agent promises: it asks first, acts only after a yes, and can be resumed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import events
from streaming.agents.base import AgentTask, Decision, Rejected
from streaming.agents.demo import NOUNS, VERBS, DemoAgent

KIB = 1024
TWO_ACTIONS = "delete 3 mails and send a report to kim@example.com"
# Every prompt that the documentation, the banner, `make demo` and the tests of the wire use.
DOCUMENTED = {
    "test": [],
    "다른 일": [],
    "Summarize my mails": [],
    "Delete 3 mails": ["delete_mail 3"],
    "delete 3 mails": ["delete_mail 3"],
    "Delete 3 emails": ["delete_mail 3"],
    "Delete 3 mails from my inbox": ["delete_mail 3"],
    "메일 3개를 삭제해주세요": ["delete_mail 3"],
    "메일 4개를 삭제해주세요": ["delete_mail 4"],
    TWO_ACTIONS: ["delete_mail 3", "send_report"],
    "Delete 3 emails and send a mail to bob": ["delete_mail 3", "send_mail"],
    "메일 3개를 삭제하고 보고서를 전송해주세요": ["delete_mail 3", "send_report"],
}
# What is negated, and what is counted.
CLAUSES = {
    "don't delete the mails but send the report": ["send_report"],
    "pay the bill and deploy the app": ["pay_invoice", "deploy_service"],
    "메일을 삭제하지 말고 보고서를 보내주세요": ["send_report"],
    "메일 삭제 말고 보고서 발송": ["send_report"],
    "Delete the mails I have not read": ["delete_mail"],
    "안 읽은 메일을 삭제해줘": ["delete_mail"],
    "delete 12 old mails": ["delete_mail 12"],
    "광고 메일 3 통 지워줘": ["delete_mail 3"],
    "delete 1,200 mails": ["delete_mail"],
    "delete nothing": [],
    "neither delete nor send mails": [],
    "삭제 없이 메일을 보내줘": ["send_mail"],
    "메일은 삭제 말아줘": [],
    "메일 못 지우게 해줘": [],
    "지우개 파일": [],
    "메일 삭제 금지": [],
    "3개월 지난 메일 삭제": ["delete_mail"],
}
CHANGES = {name: row for name, row in VERBS.items() if row[2]}


class Journal:
    """A gate that says yes `yeses` times and then no; it keeps questions and events in order."""

    def __init__(self, yeses: int = 99) -> None:
        self.yeses = yeses
        self.entries: list[tuple[str, dict[str, Any]]] = []

    async def ask(self, action_type: str, **question: Any) -> Decision:
        self.entries.append(("ask", {"action_type": action_type, **question}))
        if len(self.of_type("ask")) > self.yeses:
            raise Rejected("not this one")
        return Decision(request_id="req_1", decided_by="user123")

    def of_type(self, name: str) -> list[dict[str, Any]]:
        return [fields for kind, fields in self.entries if kind == name]

    def order(self) -> list[str]:
        """Return the questions and the tools' states, in their order."""
        asked = {"ask": "ask {action_type}", "tool_execution": "{status} {toolName}"}
        return [asked[kind].format(**fields) for kind, fields in self.entries if kind in asked]

    def content(self) -> str:
        return "".join(fields["content"] for fields in self.of_type("content"))


async def _work(prompt: str, journal: Journal) -> None:
    task = AgentTask("session_1", "tenant1", "user123", prompt)
    async for event in DemoAgent(chunk_delay=0, step_delay=0).run(task, journal):
        journal.entries.append((event.type, dict(event.fields)))


def _run(prompt: str) -> Journal:
    journal = Journal()
    asyncio.run(_work(prompt, journal))
    return journal


def _asks(prompt: str) -> list[str]:
    asked = _run(prompt).of_type("ask")
    return [f"{a['action_type']} {a['context'].get('count', '')}".strip() for a in asked]


@pytest.mark.parametrize("prompt", DOCUMENTED)
def test_documented_prompt_asks_its_questions(prompt: str) -> None:
    assert _asks(prompt) == DOCUMENTED[prompt]


def test_question_shows_what_is_asked_in_the_prompts_language() -> None:
    [english] = _run("Delete 3 mails").of_type("ask")
    [korean] = _run("메일 3개를 삭제해주세요").of_type("ask")

    asked = "Approve: Delete mail (count: 3)? From the prompt: “Delete 3 mails”"
    asked_in_korean = "승인하시겠습니까? 메일 삭제 (개수: 3). 요청 원문: “메일 3개를 삭제해주세요”"
    assert (english["message"], korean["message"]) == (asked, asked_in_korean)
    assert (english["context"], english["step_id"]) == ({"count": 3}, "step_1")
    assert english["confidence"] > _run("delete").of_type("ask")[0]["confidence"]


@pytest.mark.parametrize("name", CHANGES)
def test_every_verb_that_changes_something_asks(name: str) -> None:
    english, korean, usual = CHANGES[name]
    for word in english.split():
        assert _asks(f"Please {word} 2 files.") == [f"{name}_file 2"]
        assert _asks(word) == [f"{name}_{usual}"]
    for word in korean.split():
        assert _asks(f"파일 2개를 {word}해주세요") == [f"{name}_file 2"]
        assert _asks(f"{word}해줘") == [f"{name}_{usual}"]


@pytest.mark.parametrize("name", VERBS)
def test_negated_verb_does_nothing_and_says_so(name: str) -> None:
    english, korean, _ = VERBS[name]
    prompts = [
        *(f"{no} {verb} the mails" for verb in english.split() for no in ("Do not", "don’t")),
        *(
            f"메일을 {verb}{no}"
            for verb in korean.split()
            for no in ("하지 마세요", "하면 안 돼요")
        ),
    ]
    for prompt in prompts:
        journal = _run(prompt)
        assert journal.order() == [], prompt
        assert "Not done" in journal.content() or "하지 않은 일: 메일" in journal.content(), prompt


@pytest.mark.parametrize("prompt", CLAUSES)
def test_negation_holds_for_its_clause_and_a_number_for_its_noun(prompt: str) -> None:
    assert _asks(prompt) == CLAUSES[prompt]


def test_unknown_prompt_is_answered_honestly_with_what_is_known() -> None:
    english, korean = _run("What time is it?"), _run("지금 몇 시인가요?")

    assert english.order() == korean.order() == []
    assert "I am a demo and do not know what to do with “What time is it?”" in english.content()
    assert "저는 데모라서 “지금 몇 시인가요?” 요청을 모릅니다" in korean.content()
    for name, row in {**VERBS, **NOUNS}.items():
        assert name.replace("_", " ") in english.content()
        assert row[1].split()[0] in korean.content()


def test_agent_acts_only_after_each_yes_and_stops_at_a_no() -> None:
    journal = Journal(yeses=1)
    with pytest.raises(Rejected):
        asyncio.run(_work(TWO_ACTIONS, journal))

    done = ["ask delete_mail", "running delete_mail", "success delete_mail"]
    assert journal.order() == [*done, "ask send_report"]
    assert journal.entries == _run(TWO_ACTIONS).entries[: len(journal.entries)]


def test_tools_say_that_they_are_simulated() -> None:
    journal = _run("delete 3 mails")
    assert journal.of_type("tool_execution")[-1]["result"] == {"simulated": True, "count": 3}
    assert "simulated: no real data was changed" in journal.content()


@given(st.one_of(st.sampled_from([*DOCUMENTED, *CLAUSES]), st.text(max_size=200)))
@settings(max_examples=50, deadline=None)
def test_any_prompt_is_worked_on_in_the_order_and_with_the_fields_of_the_wire(prompt: str) -> None:
    journal = _run(prompt)
    kinds = [kind for kind, _ in journal.entries]
    for kind, fields in journal.entries:
        assert kind == "ask" or events.payload(kind, fields, session_id="s", timestamp=0).encode()
    assert kinds[:3] == ["thought", "thought", "plan_step"]
    assert set(kinds[kinds.index("content") :]) == {"content"}
    chunks = [fields["chunk"] for fields in journal.of_type("content")]
    assert len(chunks) > 2
    assert chunks == [True] * (len(chunks) - 1) + [False]
    for step in journal.of_type("plan_step"):
        updates = [f for f in journal.of_type("plan_step_update") if f["stepId"] == step["stepId"]]
        assert [update["status"] for update in updates] == ["in_progress", "completed"]
    assert _run(prompt).entries == journal.entries


@pytest.mark.parametrize(
    "piece", ["x", "가", "delete ", "삭제 ", "not ", "delete mail. ", "1", "n't"]
)
def test_256_kib_end_in_a_short_answer_and_at_most_20_questions(piece: str) -> None:
    journal = _run(piece * (256 * KIB // len(piece.encode())))
    assert len(journal.of_type("ask")) == (20 if piece[:2] in {"de", "삭제"} else 0)
    assert len(str(journal.of_type("ask"))) < 10 * KIB
    assert len(journal.content()) < KIB


@pytest.mark.parametrize("delay", ["0", None, True, -1, 61, float("nan")])
def test_delay_that_is_no_number_of_0_to_60_is_refused(delay: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="step_delay"):
        DemoAgent(step_delay=delay)
