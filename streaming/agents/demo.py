"""The demo agent: it knows a few verbs and nouns, and asks before each verb that changes something.

It needs no model and no network; its tools are simulated, and its results say so. What it yields
and asks depends on the prompt alone, so a session is resumed by running it again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from streaming.agents.base import Agent, AgentEvent, AgentTask, Gate

# By the name on the wire: English words, Korean words (the first is the label), and the noun that
# is meant where none is named. A verb without one only reads; every other changes something.
VERBS = {
    "delete": ("delete remove erase", "삭제 지우 지워 제거", "item"),
    "send": ("send forward", "발송 보내 전송", "mail"),
    "pay": ("pay", "결제 지불", "invoice"),
    "merge": ("merge", "병합", "pull_request"),
    "deploy": ("deploy", "배포", "service"),
    "create": ("create", "생성 만들", "item"),
    "cancel": ("cancel", "취소", "item"),
    "search": ("search find", "검색 찾아", ""),
    "summarize": ("summarize summarise", "요약", ""),
}
NOUNS = {
    "mail": ("mail email e-mail", "메일"),
    "report": ("report", "보고서"),
    "file": ("file", "파일"),
    "document": ("document", "문서"),
    "invoice": ("invoice bill", "청구서 송장"),
    "pull_request": ("pr", "풀리퀘스트"),
    "service": ("service app", "서비스"),
    "item": ("item", "항목"),
}
_TABLE: dict[str, tuple[str, ...]] = {**VERBS, **NOUNS}
_KOREAN_VERBS, _KOREAN_NOUNS = (
    "|".join(word for words in table.values() for word in words[1].split())
    for table in (VERBS, NOUNS)
)
# With one of these in its clause a verb is left alone: anywhere in Korean, in English before the
# verb or as the next word.
NEGATIONS = (
    r"(?<![a-z])(?:not|no|never|nothing|neither|nor|without|cannot|dont|[a-z]{1,8}n['’]t)(?![a-z])",
    r"지[는도]?\s?(?:말|마(?!지)|않|못)",
    rf"(?<![가-힣])(?:말(?=[고아])|마(?=[라세])|[안못]\s?(?=[되돼됩하해]|{_KOREAN_VERBS}))",
    "금지|없이",
)
# Every alternative is bounded or takes a whole word, so the time is linear in the prompt's length.
_TOKEN = re.compile(
    rf"""(?P<end>[.!?;:…](?=\s) | [\n。] | (?<![a-z])(?:and|but|then)(?![a-z]) | 고(?![가-힣])
        | (?<=[가-힣]),)
    | (?P<no>{"|".join(NEGATIONS)})
    | (?P<count>[0-9]{{1,9}}+(?=\s?(?:개(?!월)|건|통|명)))
    | (?P<number>(?<![\w.,:/$€£₩#-])[0-9]{{1,9}}+(?![\w%]|[.,:/-][0-9]))
    | (?P<word>pull[ ]requests?(?![a-z]) | [a-z_]++(?:(?:://|[-.@/'’])[a-z0-9_]++)*+)
    | (?P<noun>{_KOREAN_NOUNS}) | (?P<verb>(?:{_KOREAN_VERBS})(?![된될진개]))""",
    re.VERBOSE | re.IGNORECASE,
)
_KNOWN = {
    **{w: ("verb", name) for name, row in VERBS.items() for w in f"{row[0]} {row[1]}".split()},
    **{w: ("noun", name) for name, row in NOUNS.items() for w in f"{row[0]} {row[1]}".split()},
    **{f"{w}s": ("noun", name) for name, row in NOUNS.items() for w in row[0].split()},
    **{f"pull request{plural}": ("noun", "pull_request") for plural in ("", "s")},
}
_PIECE = re.compile(r"\s*+(?:\S++\s*+){1,3}")  # of content: up to three words
_MAX_STEPS, _MAX_DELAY, _REACH = 20, 60.0, 60  # chosen: steps, seconds, characters
# A group of the pattern, the word's name in the tables, and where it starts.
_Token = tuple[str, str, int]


class Step(NamedTuple):
    """One verb of the prompt with its noun; `tool` is also the type of the action."""

    tool: str
    title: str
    arguments: Mapping[str, Any]
    confidence: float
    question: str = ""  # empty where nothing is changed


class Reading:
    """What a prompt asks for, what of it is left alone, and the answer in its language."""

    def __init__(self, prompt: str) -> None:
        hangul, latin = (len(re.findall(chars, prompt)) for chars in ("[가-힣]", "[A-Za-z]"))
        self._is_korean = hangul > 0 and hangul * 3 >= latin
        self.prompt = prompt
        self.steps: list[Step] = []
        self.left_alone: dict[str, bool] = {}  # title, and whether it is negated
        clause: list[_Token] = []
        start = 0
        for match in _TOKEN.finditer(f"{prompt}\n"):
            kind, text = match.lastgroup or "", match[0].lower()
            if kind != "end":
                clause.append((*_KNOWN.get(text, (kind, text)), match.start()))
                if text != "없이":
                    continue
            self._add(clause, start, match.end() if text == "고" else match.start())
            clause, start = [], match.end()

    def _add(self, clause: Sequence[_Token], start: int, end: int) -> None:
        none = len(clause) + 1
        negation = next((i for i, (kind, _, _) in enumerate(clause) if kind == "no"), none)
        verbs = [i for i, (kind, _, _) in enumerate(clause) if kind == "verb"]
        for before, place, after in zip([-1, *verbs], verbs, [*verbs[1:], none], strict=False):
            _, verb, at = clause[place]
            is_korean = not self.prompt[at].isascii()
            about = clause[before + 1 : place] if is_korean else clause[place + 1 : after]
            excerpt = self.prompt[max(start, at - _REACH) : min(end, at + _REACH)]
            step = self._step(verb, about, is_korean, " ".join(excerpt.split()))
            is_forbidden = negation < (none if is_korean else place + 2)
            if is_forbidden or len(self.steps) == _MAX_STEPS:
                self.left_alone[step.title] = is_forbidden
            else:
                self.steps.append(step)

    def _step(self, verb: str, about: Sequence[_Token], is_korean: bool, excerpt: str) -> Step:
        """Return the step of a verb: a Korean one is about the last noun, an English the first."""
        nouns = [i for i, (kind, _, _) in enumerate(about) if kind == "noun"]
        place = nouns[-1 if is_korean else 0] if nouns else 0
        noun = about[place][1] if nouns else VERBS[verb][2]
        title = self.say(_english(verb, noun).capitalize(), _korean(noun, verb))
        if not VERBS[verb][2]:
            return Step(verb, title, {"target": noun} if noun else {}, 0.95)
        near = [value for kind, value, _ in about[max(place - 2, 0) : place] if kind == "number"]
        counts = [value for kind, value, _ in about if kind == "count"] or near
        arguments = {"count": int(counts[-1])} if counts else {}
        what = f"{title} ({self.say('count', '개수')}: {arguments['count']})" if counts else title
        question = self.say(
            f"Approve: {what}? From the prompt: “{excerpt}”",
            f"승인하시겠습니까? {what}. 요청 원문: “{excerpt}”",
        )
        return Step(f"{verb}_{noun}", title, arguments, 0.9 if nouns else 0.7, question)

    def say(self, english: str, korean: str) -> str:
        return korean if self._is_korean else english

    def answer(self) -> str:
        """Return the whole content, as it is once every question was answered with yes."""
        lines = [f"{order}. {step.title}" for order, step in enumerate(self.steps, start=1)]
        if lines:
            english = "Done, but only simulated: no real data was changed."
            lines.append(self.say(english, "모의로 처리했으며 실제 데이터는 바뀌지 않았습니다."))
        negated = self.say("Not done, because it is negated", "하지 말라고 해서 하지 않은 일")
        too_many = self.say("Not done, for the plan is full", "계획이 다 차서 하지 않은 일")
        for is_negated, why in ((True, negated), (False, too_many)):
            left = ", ".join(name for name, no in self.left_alone.items() if no is is_negated)
            lines += [f"{why}: {left}."] if left else []
        if lines:
            return "\n".join(lines)
        start = " ".join(self.prompt[:_REACH].split()) + "…" * (len(self.prompt) > _REACH)
        words = ", ".join(self.say(_english(name), _korean(name)) for name in _TABLE)
        return self.say(
            f"I am a demo and do not know what to do with “{start}”. I know these words: {words}. "
            "I ask before I change anything.",
            f"저는 데모라서 “{start}” 요청을 모릅니다. 아는 말: {words}. "
            "무엇이든 변경하기 전에 먼저 묻습니다.",
        )


class DemoAgent(Agent):
    """Pretends to do what a prompt says, and asks before every change.

    Options: `chunk_delay` and `step_delay`, the seconds (0 to 60) to wait before each piece of
    content and each step, so that a stream can be watched.
    """

    can_resume: ClassVar[bool] = True

    def __init__(
        self, *, chunk_delay: float = 0.03, step_delay: float = 0.05, **options: Any
    ) -> None:
        super().__init__(**options)
        for name, delay in (("chunk_delay", chunk_delay), ("step_delay", step_delay)):
            if isinstance(delay, bool) or not isinstance(delay, int | float):
                raise TypeError(f"{name} is a number of seconds, not {delay!r}")
            if not 0 <= delay <= _MAX_DELAY:
                raise ValueError(f"{name} must be 0 to {_MAX_DELAY:g} seconds, not {delay!r}")
        self._chunk_delay, self._step_delay = float(chunk_delay), float(step_delay)

    async def run(self, task: AgentTask, gate: Gate) -> AsyncIterator[AgentEvent]:
        # A long prompt takes a while to read; the event loop has other streams to serve.
        reading = await asyncio.to_thread(Reading, task.prompt)
        done = 0
        for entry in self._script(reading):
            if isinstance(entry, AgentEvent):
                yield entry
            elif isinstance(entry, dict):
                await gate.ask(**entry)
            elif done >= len(task.recorded):
                await asyncio.sleep(entry)
            done += not isinstance(entry, float)

    def _script(self, reading: Reading) -> Iterator[AgentEvent | dict[str, Any] | float]:
        """Yield the events, the questions as what `Gate.ask` takes, and the pauses between."""
        say = reading.say
        answering = Step("", say("Answer the prompt", "요청에 답하기"), {}, 0.95)
        plan = list(enumerate(reading.steps or [answering], start=1))
        titles = " → ".join(step.title for _, step in plan)
        thoughts = {
            "analysis": say("I look for the words that I know.", "아는 말을 찾습니다."),
            "planning": say(f"Plan: {titles}.", f"계획: {titles}."),
        }
        for kind, text in thoughts.items():
            sources = [{"type": "prompt", "name": "prompt"}]
            yield AgentEvent("thought", {"thoughtType": kind, "content": text, "sources": sources})
        for order, step in plan:
            fields = {"stepId": f"step_{order}", "title": step.title, "order": order}
            fields |= {"status": "pending", "confidence": step.confidence}
            fields["description"] = step.question or say("Changes nothing.", "변경이 없습니다.")
            yield AgentEvent("plan_step", fields)
        for order, step in plan:
            yield self._step_delay
            yield from self._take(f"step_{order}", step)
        for piece in _PIECE.findall(reading.answer()):
            yield self._chunk_delay
            yield AgentEvent("content", {"content": piece, "chunk": True})
        yield AgentEvent("content", {"content": "", "chunk": False})

    def _take(self, step_id: str, step: Step) -> Iterator[AgentEvent | dict[str, Any] | float]:
        for status, progress in (("in_progress", 0.0), ("completed", 1.0)):
            update = {"stepId": step_id, "status": status, "progress": progress}
            yield AgentEvent("plan_step_update", update)
            yield AgentEvent("timeline_step_update", {**update, "title": step.title})
            if status == "in_progress" and step.tool:
                yield from self._act(step_id, step)

    def _act(self, step_id: str, step: Step) -> Iterator[AgentEvent | dict[str, Any] | float]:
        arguments, confidence = dict(step.arguments), step.confidence
        if step.question:
            question = {"message": step.question, "confidence": confidence, "step_id": step_id}
            yield {"action_type": step.tool, "context": arguments, **question}
        tool: dict[str, Any] = {"toolName": step.tool, "toolArgs": arguments, "error": None}
        tool["requiresApproval"] = bool(step.question)
        yield AgentEvent("tool_execution", {**tool, "status": "running", "result": None})
        yield self._step_delay
        result = {"simulated": True, **arguments}
        yield AgentEvent("tool_execution", {**tool, "status": "success", "result": result})


def _english(*names: str) -> str:
    return " ".join(names).replace("_", " ").strip()


def _korean(*names: str) -> str:
    return " ".join(_TABLE[name][1].split()[0] for name in names if name)
