"""Reads the parameters of an action from the part of the prompt that belongs to it.

They end up in `hitl.context` (docs/reference/wire.md 4.4) before a person's eyes, so every
list and text is bounded, and what was cut is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from streaming.agents import english_words, korean_words
from streaming.agents.amounts import amount
from streaming.agents.tokens import Kind, Token, whole
from streaming.agents.vocabulary import ENVIRONMENTS, word_set

Parameters = dict[str, Any]

MAX_VALUES = 10
MAX_TEXT = 100
_MAX_AUDIENCE_WORDS = 4
_WIDEST_GAP = 2

# How a parameter is called when there is one value, and when there are more. Names that are
# the same are always lists.
_NAMES = {
    "number": ("number", "numbers"),
    "reference": ("reference", "references"),
    "recipient": ("recipients", "recipients"),
    "address": ("addresses", "addresses"),
    "environment": ("environment", "environments"),
    "version": ("version", "versions"),
    "branch": ("branch", "branches"),
    "target_branch": ("target_branch", "target_branches"),
    "file": ("file", "files"),
    "url": ("url", "urls"),
    "name": ("name", "names"),
    "time": ("time", "times"),
}

# Verbs whose addresses are the people that get something.
_GIVING = word_set("send share invite transfer refund pay grant assign add schedule subscribe")
# Verbs whose `to` names people, also without an address.
_ADDRESSING = word_set("send share transfer refund pay")
_AFTER_AUDIENCE = english_words.JOINERS | english_words.PREPOSITIONS | english_words.AFTER_PASSIVE
_PEOPLE = word_set("account channel contact customer group inbox list member team user")
_SOURCES = word_set("from by of")
_SOURCE_PARTICLES = ("에서", "의", "이", "가", "로부터", "으로부터", "한테서", "에게서", "님이")
_RECIPIENT_PARTICLES = ("에게", "께", "한테")
_GOAL_PARTICLES = ("에", "으로", "로")
_PLACES = ("환경", "서버", "클러스터", "반영", *_GOAL_PARTICLES)
# Words that are an environment only where a place is spoken of: 운영팀 is a team.
_AMBIGUOUS_PLACES = word_set("운영 개발 상용 stage qa development")
_MAIN_BRANCHES = word_set("main master develop trunk")
_BEFORE_BRANCHES = word_set("branch from merge push delete the")
_GOALS = word_set("into onto to")
_NUMBERED = word_set("number no num id") | english_words.NOUNS.keys()


def shortened(text: str, limit: int = MAX_TEXT) -> str:
    """Return `text` on one line, at most `limit` characters, with `…` where it was cut."""
    line = " ".join(text[: limit * 4].split())
    is_cut = len(line) > limit or len(text) > limit * 4
    return f"{line[: limit - 1].rstrip()}…" if is_cut else line


def parameters(text: str, tokens: Sequence[Token], verb: str) -> Parameters:
    """Return what `tokens`, cut from `text`, say about an action with `verb`."""
    span = _Span(text, tokens, verb)
    for index, token in enumerate(tokens):
        if (read := _READERS.get(token.kind)) is not None:
            read(span, index)
    return span.parameters()


class _Span:
    """The tokens of one action and the values read from them, in order and without repeats."""

    def __init__(self, text: str, tokens: Sequence[Token], verb: str) -> None:
        self.text = text
        self.tokens = tokens
        self.is_giving = verb in _GIVING
        self.has_audience = verb in _ADDRESSING
        self.values: dict[str, dict[Any, Any]] = {}
        self.last_numbered = -1

    def parameters(self) -> Parameters:
        result: Parameters = {}
        for name, (single, several) in _NAMES.items():
            values = list(self.values.get(name, ()))
            if len(values) == 1 and single != several:
                result[single] = values[0]
            elif values:
                result[several] = values[:MAX_VALUES]
            if len(values) > MAX_VALUES:
                result[f"{several}_total"] = len(values)
        amounts = list(self.values.get("amount", {}).values())
        if len(amounts) == 1:
            result |= amounts[0]
        elif amounts:
            result["amounts"] = amounts[:MAX_VALUES]
            if len(amounts) > MAX_VALUES:
                result["amounts_total"] = len(amounts)
        return result

    def add(self, name: str, value: Any, *, key: Any = None) -> None:
        self.values.setdefault(name, {})[value if key is None else key] = value

    # --- neighbours ---------------------------------------------------------------------

    def word(self, index: int) -> str:
        return self._of_kind(index, Kind.WORD)

    def hangul(self, index: int) -> str:
        return self._of_kind(index, Kind.HANGUL)

    def _of_kind(self, index: int, kind: Kind) -> str:
        if 0 <= index < len(self.tokens) and self.tokens[index].kind is kind:
            return self.tokens[index].text
        return ""

    def particle(self, index: int) -> str:
        """Return the Hangul written onto the token at `index`."""
        if index + 1 < len(self.tokens) and not self.tokens[index + 1].is_spaced:
            return self.hangul(index + 1)
        return ""

    # --- one reader for each kind of token ----------------------------------------------

    def read_money(self, index: int) -> None:
        value = amount(self.tokens[index].text)
        self.add("amount", value, key=tuple(value.values()))

    def read_reference(self, index: int) -> None:
        digits = "".join(filter(str.isdigit, self.tokens[index].text))
        self.add("number", int(digits))
        self.last_numbered = index

    def read_email(self, index: int) -> None:
        is_source = self.word(index - 1) in _SOURCES or self.particle(index).startswith(
            _SOURCE_PARTICLES
        )
        name = "recipient" if self.is_giving and not is_source else "address"
        self.add(name, shortened(self.tokens[index].text))

    def read_number(self, index: int) -> None:
        """Read `issue 42`, `issues 42, 43 and 44`, `42번 이슈`; counts belong to the object."""
        number = whole(self.tokens[index].text)
        if number is not None and self._is_number_of(index, self.particle(index)):
            self.add("number", number)
            self.last_numbered = index

    def _is_number_of(self, index: int, particle: str) -> bool:
        if particle.startswith("번"):
            return not particle.startswith("번째")
        if particle.startswith(korean_words.COUNTERS):
            return False
        following = self.tokens[index + 1] if index + 1 < len(self.tokens) else None
        if (
            following is not None
            and following.kind is Kind.WORD
            and (not following.is_spaced or following.text in english_words.UNITS)
        ):
            return False  # `10MB`, `3rd`, `30 days`
        if self.last_numbered == index - 2 and index >= 2:
            return self.tokens[index - 1].text in {",", "and", "or", "&", "와", "과"}
        hangul = self.hangul(index - 1)
        is_after_noun = hangul and korean_words.noun(hangul) is not None
        return self.word(index - 1) in _NUMBERED or bool(is_after_noun)

    def read_word(self, index: int) -> None:
        word, before = self.tokens[index].text, self.word(index - 1)
        particle = self.particle(index)
        if word in ENVIRONMENTS:
            if word not in _AMBIGUOUS_PLACES or before in {*english_words.PREPOSITIONS, "to"}:
                self.add("environment", ENVIRONMENTS[word])
        elif word in _MAIN_BRANCHES:
            is_goal = before in _GOALS or particle.startswith(_GOAL_PARTICLES)
            if is_goal or particle or before in _BEFORE_BRANCHES or self._is_before_branch(index):
                self.add("target_branch" if is_goal else "branch", word)
        elif before == "branch":
            if word not in {*english_words.JOINERS, *english_words.PREPOSITIONS, "to"}:
                self.add("branch", shortened(word))
        elif word == "to" and self.has_audience:
            self._read_audience(index + 1)

    def _is_before_branch(self, index: int) -> bool:
        return self.word(index + 1) == "branch" or self.hangul(index + 1).startswith("브랜치")

    def _read_audience(self, index: int) -> None:
        """Read the people after `to` who have no address: `to all customers`, `to Kim`."""
        if index >= len(self.tokens):
            return
        if self.tokens[index].start - self.tokens[index - 1].end > _WIDEST_GAP:
            return  # the verb stands between: `I want to [send] the mail`
        end = index
        while end < index + _MAX_AUDIENCE_WORDS:
            word = self.word(end)
            if not word or word in _AFTER_AUDIENCE or word.endswith("ing"):
                break
            if word in ENVIRONMENTS:
                return
            end += 1
        while index < end and self.tokens[index].text in english_words.ARTICLES:
            index += 1
        last = self.word(end - 1)
        is_thing = last in _NUMBERED and english_words.NOUNS.get(last) not in _PEOPLE
        if index < end and not is_thing and last not in english_words.PRONOUNS:
            source = self.text[self.tokens[index].start : self.tokens[end - 1].end]
            self.add("recipient", shortened(source))

    def read_hangul(self, index: int) -> None:
        word = self.tokens[index].text
        for name, environment in ENVIRONMENTS.items():
            if word.startswith(name) and self._is_place(name, word[len(name) :], index):
                return self.add("environment", environment)
        if self.has_audience and word.endswith(_RECIPIENT_PARTICLES):
            self._read_named_recipient(index)

    def _is_place(self, name: str, rest: str, index: int) -> bool:
        if rest == "" and name in _AMBIGUOUS_PLACES:
            return self.hangul(index + 1).startswith(("환경", "서버"))
        return rest == "" or rest.startswith(_PLACES)

    def _read_named_recipient(self, index: int) -> None:
        """Read `김대리에게`, `모든 고객에게`; an address's particle is no name."""
        token = self.tokens[index]
        if token.text in _RECIPIENT_PARTICLES:
            return
        start = token.start
        if self.hangul(index - 1) in korean_words.ALL_BEFORE:
            start = self.tokens[index - 1].start
        name = self.text[start : token.end]
        for particle in _RECIPIENT_PARTICLES:
            name = name.removesuffix(particle)
        self.add("recipient", shortened(name))


def _plain(name: str) -> Callable[[_Span, int], None]:
    return lambda span, index: span.add(name, shortened(span.tokens[index].text))


_READERS: dict[Kind, Callable[[_Span, int], None]] = {
    Kind.BRANCH: _plain("branch"),
    Kind.CODE: _plain("reference"),
    Kind.EMAIL: _Span.read_email,
    Kind.FILE: _plain("file"),
    Kind.HANGUL: _Span.read_hangul,
    Kind.MONEY: _Span.read_money,
    Kind.NUMBER: _Span.read_number,
    Kind.QUOTE: _plain("name"),
    Kind.REFERENCE: _Span.read_reference,
    Kind.TIME: _plain("time"),
    Kind.URL: _plain("url"),
    Kind.VERSION: _plain("version"),
    Kind.WORD: _Span.read_word,
}
