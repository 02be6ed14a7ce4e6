"""Understands a prompt, English or Korean: what to do, in which order, with which parameters.

No model and no guess: the same prompt is always understood in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streaming.agents import english, korean, korean_words
from streaming.agents.finding import Finding
from streaming.agents.parameters import shortened
from streaming.agents.planning import Plan, Step
from streaming.agents.tokens import Kind, Token, clean, sentences

# A Korean syllable says as much as three letters.
_LETTERS_OF_A_SYLLABLE = 3


@dataclass(frozen=True, slots=True)
class Understanding:
    """What a prompt asks for.

    `is_cut` says that the prompt asks for more than is planned; `forborne` names the verbs that
    it forbids or only asks about; `opening` is its beginning.
    """

    is_korean: bool
    steps: tuple[Step, ...]
    is_cut: bool
    forborne: tuple[str, ...]
    opening: str

    @property
    def actions(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.is_action)


def understand(prompt: str) -> Understanding:
    """Return what `prompt` asks for; any text of any length, in linear time."""
    text = clean(prompt)
    plan = Plan(text)
    hangul = letters = 0
    is_korean = False
    for sentence in sentences(text):
        found = _findings(sentence)
        if not found and sentence[-1].text != "?":
            _add_quoted(plan, sentence)
        plan.add(sentence, found)
        is_korean = is_korean or any(finding.is_korean for finding in found)
        for token in sentence:
            if token.kind is Kind.HANGUL:
                hangul += len(token.text)
            elif token.kind is Kind.WORD:
                letters += len(token.text)
        if plan.is_full:
            break
    is_korean = is_korean or (hangul > 0 and hangul * _LETTERS_OF_A_SYLLABLE >= letters)
    return Understanding(
        is_korean, tuple(plan.steps), plan.is_cut, tuple(plan.forborne), shortened(text)
    )


def _add_quoted(plan: Plan, sentence: Sequence[Token]) -> None:
    """Plan what is quoted where nothing else is said: `"delete 3 mails"`.

    Elsewhere a quotation is what is searched for, sent or explained, not a wish.
    """
    for token in sentence:
        if token.kind is Kind.QUOTE and " " in token.text:
            quoted = Plan(token.text)
            for inner in sentences(token.text):
                quoted.add(inner, _findings(inner))
            plan.extend(quoted.steps)
            plan.is_cut = plan.is_cut or quoted.is_cut
        if plan.is_full:
            break


def _findings(sentence: Sequence[Token]) -> list[Finding]:
    kinds = {token.kind for token in sentence}
    in_korean = korean.findings(sentence) if Kind.HANGUL in kinds else []
    in_english = english.findings(sentence) if Kind.WORD in kinds else []
    if not in_korean:
        return in_english
    taken = {finding.start for finding in in_korean}
    ruled = _ruled_by_korean(sentence, in_korean)
    kept = [
        finding for finding in in_english if finding.start not in taken and finding.end not in ruled
    ]
    return sorted([*in_korean, *kept], key=lambda finding: finding.start)


def _ruled_by_korean(sentence: Sequence[Token], in_korean: Sequence[Finding]) -> set[int]:
    """Return where Hangul stands in a clause that a Korean verb ends.

    An English verb right before such a place is a noun: `delete 버튼 위치 알려줘`.
    """
    ruled: set[int] = set()
    for finding in in_korean:
        for index in range(finding.start, -1, -1):
            token = sentence[index]
            opens = token.kind is Kind.MARK or token.text in korean_words.CLAUSE_OPENERS
            if opens or index in ruled:
                break
            if token.kind is Kind.HANGUL:
                ruled.add(index)
    return ruled
