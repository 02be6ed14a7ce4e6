"""Judges one Korean verb by its ending and by what follows it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from streaming.agents import korean_words as words
from streaming.agents.finding import Outcome
from streaming.agents.korean_endings import AUXILIARIES, END, mood
from streaming.agents.korean_words import Stem, opened
from streaming.agents.tokens import NEWLINE, SENTENCE_ENDS, Kind, Token

ACT, HELD = Outcome.ACT, Outcome.HELD

# How far a verb looks ahead: tokens, and characters of its own word.
_AHEAD = 5
_REST = 24
_JOINED_REACH = 8

_DO = re.compile(
    r"하(?!나|루|늘|반기|지만$|드|위|락)|해(?=$|줘|주|라|요|서|야|도|봐|보|놔|놓|버|달|두|둬|드)"
    r"|합(?=니|시)|한(?=$|다|후|뒤|지|가|데)|할(?=$|게|께|래|까|것|거|지|수)|했|함$|하$"
)
_LIGHT = re.compile("진행|실행|처리|수행|요청|희망|시작|완료|신청")
_ALWAYS_LIGHT = re.compile("부탁|바라|바랍|바람|요망|원해|원합|원함|드리|드려|드립|도와")
_NO = re.compile(
    "(?:안|못)(?:$|[하해되돼됨됩함합할])|금지|없이|말고|말아|말것|마세요|마$|말$|불가|않"
)
_REQUEST = re.compile("줘|주세|주십|주시|주실|주겠|주길|부탁|달라|바랍|바라")
_PASSIVE_WISH = re.compile("도록|게|어야|야")


class Judgement(NamedTuple):
    """What a verb means, and where the words that say so end."""

    outcome: Outcome
    end: int  # the token after the last one that belongs to the verb


class Candidate(NamedTuple):
    """What may be a verb: where it begins in its token, and what is written before it there."""

    token: int
    at: int
    surface: str
    prefix: str
    stem: Stem


class Judge:
    """Judges the verbs of one sentence, which come from the last to the first."""

    def __init__(self, sentence: Sequence[Token]) -> None:
        self.tokens = sentence
        # The nearest verb to the right: it rules nouns that are joined to it.
        self.next_outcome: Outcome | None = None
        self.next_token = len(sentence)

    def requests(self, candidate: Candidate) -> bool:
        """Tell whether the verb is a request by its form: 해줘, 해 주세요."""
        rest = self.tokens[candidate.token].text[candidate.at :][:_REST]
        return _REQUEST.search(rest + self._following(candidate.token + 1, 2)) is not None

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

    def judge(self, candidate: Candidate) -> Judgement | None:
        """Return what `candidate` means, or None where it is a noun or a description."""
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
        if is_negated and not self.requests(candidate):
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

    def _ended(self, ending: str, index: int) -> Judgement:
        """Judge a verb by its ending; `index` is the token after it."""
        if ending == "" and self._kind(index) is Kind.HANGUL:
            auxiliary = self.tokens[index].text
            if auxiliary.startswith(AUXILIARIES):
                outcome = mood(auxiliary[:_REST], self._following(index + 1))
                return Judgement(outcome, index + 1)
        if ending.startswith("거나") and self.next_outcome is HELD:
            return Judgement(HELD, index)  # `삭제하거나 보내지 마세요`
        return Judgement(mood(ending, self._following(index)), index)

    def _noun(self, prefix: str, rest: str, index: int) -> Judgement | None:
        """Judge a verbal noun: `prefix` and `rest` are written onto it, `index` comes after."""
        if rest:
            syllable, closing = opened(rest[0])
            following, more = (opened(rest[1])[0], opened(rest[1])[1]) if rest[1:] else ("", "")
            if _DO.match(rest):
                return self._ended(closing + rest[1:], index)
            if syllable in {"되", "돼"}:
                is_wish = closing == "" and _PASSIVE_WISH.match(rest, 1) is not None
                return Judgement(ACT, index) if is_wish else None
            if rest[0] == "시" and following in {"키", "켜"}:
                return self._ended(more + rest[2:], index)
        if not self._is_known_prefix(prefix):
            return None
        if not rest:
            return self._bare(index, is_strict=False)
        if _ALWAYS_LIGHT.match(rest) or rest in {"요", "좀"}:
            return Judgement(ACT, index)
        if _NO.match(rest):
            return Judgement(HELD, index)
        if rest in words.AFTERWARDS:
            return Judgement(ACT, index)
        if rest == "및":
            return self._joined(index)
        if rest in {"을", "를", "은", "는", "도", "만", "이", "가", "까지"}:
            return self._bare(index, is_strict=True)
        return self._light(rest, index)

    def _is_known_prefix(self, prefix: str) -> bool:
        """Tell whether a bare verbal noun may stand after `prefix`: 메일삭제, but not 김수정."""
        return len(prefix) > 1 or self._may_follow(prefix)

    def _bare(self, index: int, *, is_strict: bool) -> Judgement | None:
        """Judge a verbal noun by the token at `index`, which follows it.

        Strict is the noun that has a particle: only a verb makes it a wish.
        """
        while self._kind(index) is Kind.HANGUL and self._is_filler(index):
            index += 1
        kind = self._kind(index)
        if kind is Kind.HANGUL:
            return self._before_hangul(index, is_strict=is_strict)
        if is_strict:
            return None
        if kind is None or self._is_end(index):
            return Judgement(ACT, index)
        if kind is Kind.MARK or not self._is_ruled(index):
            return self._joined(index)
        return None  # `주문 1234 환불해줘`: the object of the next verb

    def _is_filler(self, index: int) -> bool:
        text = self.tokens[index].text
        before = self.tokens[index - 1].text
        is_once = text == "한" and self._following(index + 1, 1).startswith("번")
        return text in words.FILLERS or is_once or (text == "번" and before == "한")

    def _is_end(self, index: int) -> bool:
        token = self.tokens[index]
        return token.kind is Kind.MARK and token.text not in {",", "/", "&", "+", "|"}

    def _before_hangul(self, index: int, *, is_strict: bool) -> Judgement | None:
        text = self.tokens[index].text
        if _NO.match(text):
            return Judgement(HELD, index + 1)
        if _ALWAYS_LIGHT.match(text):
            return Judgement(ACT, index + 1)
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
            return Judgement(ACT, index)
        return None

    def _needed(self, index: int) -> Judgement | None:
        rest = self.tokens[index].text[len("필요") :] + self._following(index + 1)
        if rest.startswith(("없", "는없", "가없", "치않", "하지않")):
            return Judgement(HELD, index + 1)
        return Judgement(ACT, index + 1) if rest.startswith((END, "해", "합", "하다")) else None

    def _light(self, text: str, index: int) -> Judgement | None:
        """Judge `진행해줘`, `요청드립니다`: verbs that only carry the noun before them."""
        match = _LIGHT.match(text)
        if match is None:
            return None
        rest = text[match.end() :]
        if _DO.match(rest):
            return self._ended(opened(rest[0])[1] + rest[1:], index)
        if _ALWAYS_LIGHT.match(rest):
            return Judgement(ACT, index)
        # 송금 완료 tells of the past.
        if rest in {"", "을", "를"} and match[0] != "완료":
            following = self._following(index)
            if following.startswith((END, "?", "부탁", "바", "해", "드")):
                return Judgement(ACT, index + (following[0] not in {END, "?"}))
        return None

    def _is_ruled(self, index: int) -> bool:
        return self.next_outcome is not None and self.next_token - index <= _JOINED_REACH

    def _joined(self, index: int) -> Judgement | None:
        """Judge a noun that is joined to what follows: `삭제 및 발송해줘`, `결제, 환불 내역`."""
        if not self._is_ruled(index) or self.next_outcome is None:
            return Judgement(ACT, index)
        return Judgement(self.next_outcome, index)
