"""Finds what a Korean sentence wants done, and what it only mentions, negates or asks about.

Korean puts the verb last and the meaning into its ending, so a verb is judged by what
follows it. Doubts are decided as in `english`: what may be a wish is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from streaming.agents import korean_words as words
from streaming.agents.english_verbs import VERBS, Form
from streaming.agents.finding import Finding, Outcome
from streaming.agents.korean_judging import Candidate, Judge
from streaming.agents.korean_words import STEMS, Stem
from streaming.agents.tokens import Kind, Token

ACT, HELD, DESCRIBED = Outcome.ACT, Outcome.HELD, Outcome.DESCRIBED

# Even without spaces, no word holds more verbs than this.
_VERBS_IN_A_WORD = 50


def findings(sentence: Sequence[Token]) -> list[Finding]:
    """Return the verbs of `sentence` in order, each with what it means for the agent."""
    return _Reading(sentence).run()


class _Reading:
    """One pass over one sentence, from its last verb to its first."""

    def __init__(self, sentence: Sequence[Token]) -> None:
        self.tokens = sentence
        self.judge = Judge(sentence)

    def run(self) -> list[Finding]:
        candidates = self._candidates()
        if not candidates:
            return []
        asked = self._asked()
        found: list[Finding] = []
        for candidate in reversed(candidates):
            judgement = self.judge.judge(candidate)
            if judgement is None or judgement.outcome is DESCRIBED:
                continue
            outcome = judgement.outcome
            # `삭제를 진행해줘` is one wish, although 진행 or 실행 could be a verb of its own.
            while found and found[-1].start < judgement.end and found[-1].start > candidate.token:
                found.pop()
            if outcome is ACT and asked[candidate.token] and not self.judge.requests(candidate):
                outcome = HELD
            stem = candidate.stem
            if outcome is Outcome.READ and not stem.is_reading:
                continue  # `결제 및 환불 내역 조회`: nouns before a verb that reads
            if outcome is ACT and stem.is_reading:
                outcome = Outcome.READ
            self.judge.next_outcome, self.judge.next_token = outcome, candidate.token
            found.append(
                Finding(
                    outcome, stem.verb, candidate.token, judgement.end, stem.needs,
                    is_korean=True, prefix=candidate.prefix,
                )
            )  # fmt: skip
        return found[::-1]

    # --- what may be a verb -----------------------------------------------------------

    def _candidates(self) -> list[Candidate]:
        candidates = []
        for index, token in enumerate(self.tokens):
            if token.kind is Kind.HANGUL:
                end = 0
                for at, surface in islice(words.stems_in(token.text), _VERBS_IN_A_WORD):
                    prefix = token.text[end:at]
                    candidates.append(Candidate(index, at, surface, prefix, STEMS[surface]))
                    end = at + len(surface)
            elif token.kind is Kind.WORD and self._is_before_hangul(index):
                for rest, entry in VERBS.get(token.text, ()):
                    if not rest and entry.form is Form.BASE:
                        stem = Stem(entry.verb, True, entry.is_reading, entry.needs)
                        candidates.append(Candidate(index, 0, token.text, "", stem))
        return candidates

    def _asked(self) -> list[bool]:
        """Return for each token whether a question word rules it."""
        asked, flags = False, []
        is_question = self.tokens[-1].text == "?"
        asking = words.PLAIN_QUESTIONS + (words.QUESTION_WORDS if is_question else ())
        for token in self.tokens:
            if token.kind is Kind.HANGUL:
                if token.text.startswith(asking) and not token.text.endswith(
                    words.NO_QUESTION_ENDS
                ):
                    asked = True
                elif token.text.endswith(words.QUESTION_ENDS):
                    asked = False
            elif token.kind is Kind.MARK:
                asked = False
            flags.append(asked)
        return flags

    def _is_before_hangul(self, index: int) -> bool:
        return index + 1 < len(self.tokens) and self.tokens[index + 1].kind is Kind.HANGUL
