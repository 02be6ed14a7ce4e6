"""Finds what a Korean sentence wants done, and what it only mentions, negates or asks about.

Korean puts the verb last and the meaning into its ending, so a verb is judged by what
follows it. Doubts are decided as in `english`: what may be a wish is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from streaming.agents import korean_words as words
from streaming.agents.english_verbs import VERBS, Form
from streaming.agents.finding import Finding, Outcome
from streaming.agents.korean_endings import AUXILIARIES, END, mood
from streaming.agents.korean_words import STEMS, Stem, opened
from streaming.agents.tokens import NEWLINE, SENTENCE_ENDS, Kind, Token

ACT, HELD, DESCRIBED = Outcome.ACT, Outcome.HELD, Outcome.DESCRIBED

# How far a verb looks ahead: tokens, and characters of its own word.
_AHEAD = 5
_REST = 24
_JOINED_REACH = 8
# Even without spaces, no word holds more verbs than this.
_VERBS_IN_A_WORD = 50

_DO = re.compile(
    r"하(?!나|루|늘|반기|지만$|드|위|락)|해(?=$|줘|주|라|요|서|야|도|봐|보|놔|놓|버|달|두|둬|드)"
    r"|합(?=니|시)|한(?=$|다|후|뒤|지|가|데)|할(?=$|게|께|래|까|것|거|지|수)|했|함$|하$"
)
_LIGHT = re.compile("진행|실행|처리|수행|요청|희망|시작|완료|신청")
_ALWAYS_LIGHT = re.compile("부탁|바라|바랍|바람|요망|원해|원합|원함|드리|드려|드립")
_NO = re.compile(
    "(?:안|못)(?:$|[하해되돼됨됩함합할])|금지|없이|말고|말아|말것|마세요|마$|말$|불가|않"
)
_REQUEST = re.compile("줘|주세|주십|주시|주실|주겠|주길|부탁|달라|바랍|바라")
_PASSIVE_WISH = re.compile("도록|게|어야|야")


class _Judgement(NamedTuple):
    outcome: Outcome
    end: int  # the token after the last one that belongs to the verb


def findings(sentence: Sequence[Token]) -> list[Finding]:
    """Return the verbs of `sentence` in order, each with what it means for the agent."""
    return _Reading(sentence).run()


class _Candidate(NamedTuple):
    token: int
    at: int
    surface: str
    prefix: str
    stem: Stem


class _Reading:
    """One pass over one sentence, from its last verb to its first."""

    def __init__(self, sentence: Sequence[Token]) -> None:
        self.tokens = sentence
        # The nearest verb to the right: it rules nouns that are joined to it.
        self.next_outcome: Outcome | None = None
        self.next_token = len(sentence)

    def run(self) -> list[Finding]:
        candidates = self._candidates()
        if not candidates:
            return []
        asked = self._asked()
        found: list[Finding] = []
        for candidate in reversed(candidates):
            judgement = self._judge(candidate)
            if judgement is None or judgement.outcome is DESCRIBED:
                continue
            outcome = judgement.outcome
            # `삭제를 진행해줘` is one wish, although 진행 or 실행 could be a verb of its own.
            while found and found[-1].start < judgement.end and found[-1].start > candidate.token:
                found.pop()
            if outcome is ACT and asked[candidate.token] and not self._requests(candidate):
                outcome = HELD
            stem = candidate.stem
            if outcome is Outcome.READ and not stem.is_reading:
                continue  # `결제 및 환불 내역 조회`: nouns before a verb that reads
            if outcome is ACT and stem.is_reading:
                outcome = Outcome.READ
            self.next_outcome, self.next_token = outcome, candidate.token
            found.append(
                Finding(
                    outcome, stem.verb, candidate.token, judgement.end, stem.needs,
                    is_korean=True, prefix=candidate.prefix,
                )
            )  # fmt: skip
        return found[::-1]

    # --- what may be a verb -----------------------------------------------------------

    def _candidates(self) -> list[_Candidate]:
        candidates = []
        for index, token in enumerate(self.tokens):
            if token.kind is Kind.HANGUL:
                end = 0
                for at, surface in islice(words.stems_in(token.text), _VERBS_IN_A_WORD):
                    prefix = token.text[end:at]
                    candidates.append(_Candidate(index, at, surface, prefix, STEMS[surface]))
                    end = at + len(surface)
            elif token.kind is Kind.WORD and self._kind(index + 1) is Kind.HANGUL:
                for rest, entry in VERBS.get(token.text, ()):
                    if not rest and entry.form is Form.BASE:
                        stem = Stem(entry.verb, True, entry.is_reading, entry.needs)
                        candidates.append(_Candidate(index, 0, token.text, "", stem))
        return candidates

    def _asked(self) -> list[bool]:
        """Return for each token whether a question word rules it."""
        asked, flags = False, []
        for token in self.tokens:
            if token.kind is Kind.HANGUL:
                if token.text.startswith(words.QUESTION_WORDS) and not token.text.endswith(
                    ("든", "든지", "나", "이나")
                ):
                    asked = True
                elif token.text.endswith(words.QUESTION_ENDS):
                    asked = False
            elif token.kind is Kind.MARK:
                asked = False
            flags.append(asked)
        return flags

    def _requests(self, candidate: _Candidate) -> bool:
        rest = self.tokens[candidate.token].text[candidate.at :][:_REST]
        return _REQUEST.search(rest + self._following(candidate.token + 1, 2)) is not None

    # --- judging ----------------------------------------------------------------------

    def _kind(self, index: int) -> Kind | None:
        return self.tokens[index].kind if index < len(self.tokens) else None

    def _following(self, index: int, count: int = _AHEAD) -> str:
        """Return what follows, without spaces; the end of a line or sentence is `END`."""
        parts = []
        for token in self.tokens[index : index + count]:
            if token.kind is Kind.MARK and (token.text in SENTENCE_ENDS or token.text == NEWLINE):
                parts.append("?" if token.text == "?" else END)
                break
            parts.append(token.text[:_REST])
        else:
            if index + count >= len(self.tokens):
                parts.append(END)
        return "".join(parts)

    def _judge(self, candidate: _Candidate) -> _Judgement | None:
        index, stem = candidate.token, candidate.stem
        token = self.tokens[index]
        if token.kind is Kind.WORD:
            if self.tokens[index + 1].is_spaced:
                return self._bare(index + 1, is_strict=True)
            return self._noun("", self.tokens[index + 1].text[:_REST], index + 2)
        at, end = candidate.at, candidate.at + len(candidate.surface)
        rest = token.text[end : end + _REST]
        if stem.is_noun:
            return self._noun(candidate.prefix, rest, index + 1)
        if not self._may_follow(candidate.prefix) or token.text.startswith(words.NOT_VERBS, at):
            return None
        if not rest and stem.closing == "" and not words.is_open(candidate.surface[-1]):
            is_stem_alone = self._kind(index + 1) is Kind.HANGUL
            if is_stem_alone:  # `만들 파일`: the file to make
                return None
        judgement = self._ended(stem.closing + rest, index + 1)
        is_negated = index > 0 and self.tokens[index - 1].text in {"안", "못"}
        if is_negated and not self._requests(candidate):
            return judgement._replace(outcome=HELD)
        return judgement

    def _may_follow(self, prefix: str) -> bool:
        """Tell whether a verb may be written right after `prefix`: 메일보내줘, 3개지워줘."""
        return (
            prefix == ""
            or prefix in words.PREFIXES
            or words.noun(prefix) is not None
            or prefix.endswith(("을", "를", "에게", "로", "고", *words.COUNTERS, *words.ALL_AFTER))
        )

    def _ended(self, ending: str, index: int) -> _Judgement:
        """Judge a verb by its ending; `index` is the token after it."""
        if ending == "" and self._kind(index) is Kind.HANGUL:
            auxiliary = self.tokens[index].text
            if auxiliary.startswith(AUXILIARIES):
                outcome = mood(auxiliary[:_REST], self._following(index + 1))
                return _Judgement(outcome, index + 1)
        return _Judgement(mood(ending, self._following(index)), index)

    def _noun(self, prefix: str, rest: str, index: int) -> _Judgement | None:
        """Judge a verbal noun: `prefix` and `rest` are written onto it, `index` comes after."""
        if rest:
            syllable, closing = opened(rest[0])
            following, more = (opened(rest[1])[0], opened(rest[1])[1]) if rest[1:] else ("", "")
            if _DO.match(rest):
                return self._ended(closing + rest[1:], index)
            if syllable in {"되", "돼"}:
                is_wish = closing == "" and _PASSIVE_WISH.match(rest, 1) is not None
                return _Judgement(ACT, index) if is_wish else None
            if rest[0] == "시" and following in {"키", "켜"}:
                return self._ended(more + rest[2:], index)
        if not self._is_known_prefix(prefix):
            return None
        if not rest:
            return self._bare(index, is_strict=False)
        if _ALWAYS_LIGHT.match(rest) or rest in {"요", "좀"}:
            return _Judgement(ACT, index)
        if _NO.match(rest):
            return _Judgement(HELD, index)
        if rest in words.AFTERWARDS:
            return _Judgement(ACT, index)
        if rest == "및":
            return self._joined(index)
        if rest in {"을", "를", "은", "는", "도", "만", "이", "가", "까지"}:
            return self._bare(index, is_strict=True)
        return self._light(rest, index)

    def _is_known_prefix(self, prefix: str) -> bool:
        """Tell whether a bare verbal noun may stand after `prefix`: 메일삭제, but not 김수정."""
        return len(prefix) > 1 or self._may_follow(prefix)

    def _bare(self, index: int, *, is_strict: bool) -> _Judgement | None:
        """Judge a verbal noun by the token at `index`, which follows it.

        Strict is the noun that has a particle: only a verb makes it a wish.
        """
        while self._kind(index) is Kind.HANGUL and self.tokens[index].text in words.FILLERS:
            index += 1
        kind = self._kind(index)
        if kind is Kind.HANGUL:
            return self._before_hangul(index, is_strict=is_strict)
        if is_strict:
            return None
        if kind is None or self._is_end(index):
            return _Judgement(ACT, index)
        if kind is Kind.MARK or not self._is_ruled(index):
            return self._joined(index)
        return None  # `주문 1234 환불해줘`: the object of the next verb

    def _is_end(self, index: int) -> bool:
        token = self.tokens[index]
        return token.kind is Kind.MARK and token.text not in {",", "/", "&", "+", "|"}

    def _before_hangul(self, index: int, *, is_strict: bool) -> _Judgement | None:
        text = self.tokens[index].text
        if _NO.match(text):
            return _Judgement(HELD, index + 1)
        if _ALWAYS_LIGHT.match(text):
            return _Judgement(ACT, index + 1)
        if text.startswith("필요"):
            return self._needed(index)
        if _DO.match(text):
            judgement = self._ended(opened(text[0])[1] + text[1:_REST], index + 1)
            return judgement
        if (light := self._light(text[:_REST], index + 1)) is not None:
            return light
        if is_strict:
            return None
        if text in words.JOINERS:
            return self._joined(index + 1)
        if text in words.AFTERWARDS:
            return _Judgement(ACT, index)
        return None

    def _needed(self, index: int) -> _Judgement | None:
        rest = self.tokens[index].text[len("필요") :] + self._following(index + 1)
        if rest.startswith(("없", "는없", "가없", "치않", "하지않")):
            return _Judgement(HELD, index + 1)
        return _Judgement(ACT, index + 1) if rest.startswith((END, "해", "합", "하다")) else None

    def _light(self, text: str, index: int) -> _Judgement | None:
        """Judge `진행해줘`, `요청드립니다`: verbs that only carry the noun before them."""
        match = _LIGHT.match(text)
        if match is None:
            return None
        rest = text[match.end() :]
        if _DO.match(rest):
            return self._ended(opened(rest[0])[1] + rest[1:], index)
        if _ALWAYS_LIGHT.match(rest):
            return _Judgement(ACT, index)
        if rest in {"", "을", "를"}:
            following = self._following(index)
            if following.startswith((END, "?", "부탁", "바", "해", "드")):
                return _Judgement(ACT, index + (following[0] not in {END, "?"}))
        return None

    def _is_ruled(self, index: int) -> bool:
        return self.next_outcome is not None and self.next_token - index <= _JOINED_REACH

    def _joined(self, index: int) -> _Judgement | None:
        """Judge a noun that is joined to what follows: `삭제 및 발송해줘`, `결제, 환불 내역`."""
        if not self._is_ruled(index) or self.next_outcome is None:
            return _Judgement(ACT, index)
        return _Judgement(self.next_outcome, index)
