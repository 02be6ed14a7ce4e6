"""What the built-in agent says, in English and Korean: titles, questions, thoughts, the answer.

Every text is bounded, however long the prompt was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streaming.agents.parameters import MAX_VALUES, shortened
from streaming.agents.planning import MAX_ACTIONS, MAX_READINGS, Step
from streaming.agents.prompt import Understanding
from streaming.agents.vocabulary import OBJECT_LABELS, READS, VERBS

_MAX_VALUE = 200
_MAX_LINE = 400

_KOREAN_PARAMETERS = {
    "count": "개수",
    "all": "전체",
    "except": "제외",
    "number": "번호",
    "numbers": "번호",
    "reference": "참조",
    "references": "참조",
    "recipients": "받는 사람",
    "addresses": "주소",
    "environment": "환경",
    "environments": "환경",
    "version": "버전",
    "versions": "버전",
    "branch": "브랜치",
    "branches": "브랜치",
    "target_branch": "대상 브랜치",
    "target_branches": "대상 브랜치",
    "file": "파일",
    "files": "파일",
    "url": "URL",
    "urls": "URL",
    "name": "이름",
    "names": "이름",
    "time": "일시",
    "times": "일시",
    "amount": "금액",
    "amounts": "금액",
    "currency": "통화",
}


class Wording:
    """The texts about one understanding, in its language."""

    def __init__(self, understanding: Understanding) -> None:
        self._understanding = understanding
        self._is_korean = understanding.is_korean

    def _say(self, english: str, korean: str) -> str:
        return korean if self._is_korean else english

    # --- steps --------------------------------------------------------------------------

    def title(self, step: Step) -> str:
        """Return the name of a step: `Delete mail`, `메일 삭제`."""
        if step.is_action:
            english, korean = _infinitive(step.verb), VERBS[step.verb].korean
        else:
            english, korean = READS[step.verb]
        if not step.target:
            return self._say(english, korean)
        return self._say(
            f"{english} {_words(step.target)}",
            f"{OBJECT_LABELS.get(step.target, _words(step.target))} {korean}",
        )

    def description(self, step: Step) -> str:
        details = self._details(step.parameters)
        if not step.is_action:
            return self._say(
                "Changes nothing, so no approval is needed.", "변경이 없어 승인 없이 진행합니다."
            )
        waits = self._say("Waits for an approval.", "승인을 받은 뒤에 진행합니다.")
        return f"{details}. {waits}" if details else waits

    def question(self, step: Step) -> str:
        """Return what the approver reads: the action, its parameters, the words of the prompt."""
        details = self._details(step.parameters)
        what = f"{self.title(step)} ({details})" if details else self.title(step)
        return self._say(
            f"Approve: {what}? From the prompt: “{step.excerpt}”",
            f"승인하시겠습니까? {what}. 요청 원문: “{step.excerpt}”",
        )

    def _details(self, parameters: Mapping[str, Any]) -> str:
        parts = []
        for name, value in parameters.items():
            if name.endswith("_total"):
                continue
            label = self._say(_words(name), _KOREAN_PARAMETERS.get(name, _words(name)))
            total = parameters.get(f"{name}_total")
            parts.append(label if value is True else f"{label}: {_text(value)}{_more(total)}")
        return ", ".join(parts)

    # --- thoughts -----------------------------------------------------------------------

    def analysis(self, prompt: str) -> str:
        understood = self._understanding
        actions = len(understood.actions)
        readings = len(understood.steps) - actions
        length = len(prompt)
        counted = self._say(
            f"I read a prompt of {length} characters: {_counted(actions, 'action')} with side "
            f"effects, {_counted(readings, 'step')} that only read.",
            f"{length}자 요청을 읽었습니다. 변경이 있는 작업 {actions}건, 읽기만 하는 작업 "
            f"{readings}건입니다.",
        )
        if understood.forborne:
            english = ", ".join(_infinitive(verb).lower() for verb in understood.forborne)
            korean = ", ".join(VERBS[verb].korean for verb in understood.forborne)
            counted += self._say(
                f" Mentioned but not asked for: {english}.",
                f" 언급했지만 요청하지 않은 작업: {korean}.",
            )
        return counted

    def planning(self) -> str:
        understood = self._understanding
        titles = " → ".join(self.title(step) for step in understood.steps)
        if not understood.steps:
            plan = self._say("I will answer without using a tool.", "도구를 쓰지 않고 답합니다.")
        elif understood.actions:
            plan = self._say(
                f"Plan: {titles}. I ask before each action and act only after a yes.",
                f"계획: {titles}. 작업마다 먼저 묻고, 승인된 뒤에만 실행합니다.",
            )
        else:
            plan = self._say(
                f"Plan: {titles}. Nothing is changed, so I ask for no approval.",
                f"계획: {titles}. 변경이 없어 승인을 요청하지 않습니다.",
            )
        return plan + self._cut()

    def _cut(self) -> str:
        if not self._understanding.is_cut:
            return ""
        return self._say(
            f" I plan {MAX_ACTIONS} actions and {MAX_READINGS} readings at most: the prompt asks "
            "for more, and the rest is left undone.",
            f" 작업은 {MAX_ACTIONS}건, 읽기는 {MAX_READINGS}건까지만 계획합니다. 요청의 나머지는 "
            "하지 않습니다.",
        )

    def answering(self) -> tuple[str, str]:
        """Return title and description of the step of a prompt that asks for none."""
        return (
            self._say("Answer the prompt", "요청에 답하기"),
            self._say("Uses no tool and changes nothing.", "도구를 쓰지 않고, 변경도 없습니다."),
        )

    # --- the answer ---------------------------------------------------------------------

    def answer(self) -> str:
        """Return the whole content: what was done, once every question was answered with yes."""
        understood, opening = self._understanding, self._understanding.opening
        if not understood.steps:
            return self._say(
                f"I read your prompt “{opening}” and found nothing to do that needs a "
                "tool or an approval. Ask me to search or summarise something, or to delete, send, "
                "pay, merge or deploy something: I ask before anything that changes data.",
                f"“{opening}” 요청을 읽었습니다. 도구나 승인이 필요한 작업은 없습니다. 검색이나 "
                "요약, 또는 삭제, 발송, 결제, 병합, 배포를 요청해 보세요. 데이터를 바꾸는 작업은 "
                "먼저 승인을 요청합니다.",
            )
        lines = [self._say("Done:", "처리 결과입니다.")]
        lines += [
            f"{order}. {shortened(self._outcome(step), _MAX_LINE)}"
            for order, step in enumerate(understood.steps, start=1)
        ]
        lines.append(
            self._say(
                "The tools are simulated: no real data was changed.",
                "도구는 모의로 실행되었으며 실제 데이터는 바뀌지 않았습니다.",
            )
            if understood.actions
            else self._say(
                "The tools are simulated, and nothing was changed.",
                "도구는 모의로 실행되었으며 변경된 것은 없습니다.",
            )
        )
        return "\n".join(lines) + self._cut()

    def _outcome(self, step: Step) -> str:
        details = self._details(step.parameters)
        ending = f" ({details})" if details else ""
        if not step.is_action:
            return self._say(f"{self.title(step)}: done", f"{self.title(step)}: 완료")
        verb = VERBS[step.verb]
        label = OBJECT_LABELS.get(step.target, _words(step.target))
        return self._say(
            f"{_words(step.target).capitalize()} {verb.past} after approval{ending}",
            f"{label} {verb.korean}: 승인 후 완료{ending}",
        )


def _infinitive(verb: str) -> str:
    return _SPELLED.get(verb, verb).capitalize()


_SPELLED = {"rollback": "roll back", "backup": "back up"}


def _words(name: str) -> str:
    return name.replace("_", " ")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return shortened(", ".join(_text(item) for item in value), _MAX_VALUE)
    if isinstance(value, Mapping):
        return " ".join(_text(item) for item in value.values())
    return str(value)


def _more(total: int | None) -> str:
    return "" if total is None else f" (+{total - MAX_VALUES})"
