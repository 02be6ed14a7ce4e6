"""Reads the parameters of an action from the part of the prompt that belongs to it.

They end up in `hitl.context` (docs/reference/wire.md 4.4) before a person's eyes, so every
list and text is bounded, and what was cut is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streaming.agents.amounts import Amount, amount
from streaming.agents.english_words import DETERMINERS, JOINERS, NOUNS, PREPOSITIONS
from streaming.agents.korean_words import COUNTERS, NOUNS as KOREAN_NOUNS
from streaming.agents.tokens import Kind, Token
from streaming.agents.vocabulary import ENVIRONMENTS

Parameters = dict[str, Any]

MAX_VALUES = 10
MAX_TEXT = 100
_MAX_RECIPIENT_WORDS = 4

# Verbs whose addresses are the people that get something.
_GIVING = frozenset(
    {"send", "share", "invite", "transfer", "refund", "pay", "grant", "assign", "add", "schedule"}
)
_SOURCES = frozenset({"from", "by", "of"})
_SOURCE_PARTICLES = ("에서", "의", "이", "가", "로부터", "으로부터", "한테서", "에게서")
_RECIPIENT_PARTICLES = ("에게", "께", "한테")
_PLACES = ("환경", "서버", "에", "으로", "로", "클러스터", "반영")
_AMBIGUOUS_PLACES = frozenset({"운영", "개발", "상용", "stage", "qa"})
_BRANCH_NAMES = frozenset({"main", "master", "develop", "trunk"})
_NUMBER_WORDS = frozenset({"number", "no", "num", "id"})
_TARGET_WORDS = frozenset({"into", "onto", "to"})


class _Collected:
    """Values by name, in order and without repeats; keeps few and counts all."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Any, Any]] = {}

    def add(self, name: str, value: Any) -> None:
        key = tuple(value.items()) if isinstance(value, dict) else value
        self._values.setdefault(name, {})[key] = value

    def get(self, name: str) -> list[Any]:
        return list(self._values.get(name, {}).values())


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
}


def shortened(text: str, limit: int = MAX_TEXT) -> str:
    """Return `text` on one line, at most `limit` characters, with `…` where it was cut."""
    line = " ".join(text[: limit * 4].split())
    is_cut = len(line) > limit or len(text) > limit * 4
    return f"{line[: limit - 1].rstrip()}…" if is_cut else line


def parameters(text: str, tokens: Sequence[Token], verb: str) -> Parameters:
    """Return what `tokens`, cut from `text`, say about an action with `verb`."""
    collected = _Collected()
    for index, token in enumerate(tokens):
        _READERS.get(token.kind, _nothing)(collected, text, tokens, index, verb)
    result: Parameters = {}
    for name, (single, several) in _NAMES.items():
        values = collected.get(name)
        if not values:
            continue
        result |= {several: values[:MAX_VALUES]}
        if single != several and len(values) == 1:
            result = {key: value for key, value in result.items() if key != several}
            result[single] = values[0]
        if len(values) > MAX_VALUES:
            result[f"{several}_total"] = len(values)
    return result | _money(collected.get("amount"))


def _money(amounts: list[Amount]) -> Parameters:
    if len(amounts) == 1:
        return dict(amounts[0])
    if not amounts:
        return {}
    total = {"amounts_total": len(amounts)} if len(amounts) > MAX_VALUES else {}
    return {"amounts": amounts[:MAX_VALUES], **total}


# --- one reader for each kind of token ------------------------------------------------------


def _nothing(
    collected: _Collected, text: str, tokens: Sequence[Token], index: int, verb: str
) -> None:
    return None


def _plain(name: str) -> Any:
    def read(
        collected: _Collected, text: str, tokens: Sequence[Token], index: int, verb: str
    ) -> None:
        collected.add(name, shortened(tokens[index].text))

    return read


def _read_money(
    collected: _Collected, text: str, tokens: Sequence[Token], index: int, verb: str
) -> None:
    collected.add("amount", amount(tokens[index].text))


def _read_reference(
    collected: _Collected, text: str, tokens: Sequence[Token], index: int, verb: str
) -> None:
    digits = "".join(filter(str.isdigit, tokens[index].text))
    collected.add("number", int(digits))


def _read_email(
    collected: _Collected, text: str, tokens: Sequence[Token], index: int, verb: str
) -> None:
    is_source = _word(tokens, index - 1) in _SOURCES or _particle(tokens, index).startswith(
        _SOURCE_PARTICLES
    )
    is_recipient = verb in _GIVING and not is_source
    collected.add("recipient" if is_recipient else "address", tokens[index].text)


def _read_number(
    collected: _Collected, text: str, tokens: Sequence[Token], index: int, verb: str
) -> None:
    """Read `issue 42`, `issues 42, 43 and 44`, `42번 이슈`; counts are read with the object."""
    token = tokens[index]
    if not token.text.isdigit():
        return
    following = _particle(tokens, index)
    if following.startswith(COUNTERS):
        return
    before = index - 1
    while before > 0 and (
        tokens[before].text in {",", "and", "와", "과"} and tokens[before - 1].kind is Kind.NUMBER
    ):
        if int(tokens[before - 1].text) in collected.get("number")[-1:]:
            return collected.add("number", int(token.text))
        break
    if following.startswith("번") and not following.startswith("번째"):
        return collected.add("number", int(token.text))
    if following == "" and index + 1 < len(tokens) and tokens[index + 1].kind is Kind.WORD:
        if not tokens[index + 1].is_spaced:
            return  # `10MB`, `3rd`
    previous = tokens[before] if before >= 0 else None
    if previous is not None and (
        (previous.kind is Kind.WORD and previous.text in {*NOUNS, *_NUMBER_WORDS})
        or (previous.kind is Kind.HANGUL and previous.text in KOREAN_NOUNS)
    ):
        collected.add("number", int(token.text))


def _read_word(
    collected: _Collected, text: str, tokens: Sequence[Token], index: int, verb: str
) -> None:
    word = tokens[index].text
    before, after = _word(tokens, index - 1), _word(tokens, index + 1)
    if word in ENVIRONMENTS and (word not in _AMBIGUOUS_PLACES or before in PREPOSITIONS | {"to"}):
        return collected.add("environment", ENVIRONMENTS[word])
    following = _particle(tokens, index)
    if word in _BRANCH_NAMES and (
        before in {*_TARGET_WORDS, "branch", "from", "merge", "push", "delete", "the"}
        or after == "branch"
        or following
        or _hangul(tokens, index + 1).startswith("브랜치")
    ):
        is_target = before in _TARGET_WORDS or following.startswith(("에", "으로", "로"))
        return collected.add("target_branch" if is_target else "branch", word)
    if before == "branch" and word not in {*JOINERS, *PREPOSITIONS, "to"}:
        return collected.add("branch", word)
    if word == "to" and verb in _GIVING:
        _read_audience(collected, text, tokens, index + 1)


def _read_audience(
    collected: _Collected, text: str, tokens: Sequence[Token], index: int
) -> None:
    """Read the people after `to` who have no address: `to all customers`, `to Kim`."""
    end = index
    while end < min(len(tokens), index + _MAX_RECIPIENT_WORDS):
        word = _word(tokens, end)
        if not word or word in JOINERS or word in PREPOSITIONS or word in ENVIRONMENTS:
            break
        end += 1
    while index < end and tokens[index].text in DETERMINERS - {"all", "every", "each"}:
        index += 1
    if index < end:
        collected.add("recipient", shortened(text[tokens[index].start : tokens[end - 1].end]))


def _read_hangul(
    collected: _Collected, text: str, tokens: Sequence[Token], index: int, verb: str
) -> None:
    word = tokens[index].text
    for name, environment in ENVIRONMENTS.items():
        if word.startswith(name):
            rest = word[len(name) :]
            is_place = rest.startswith(_PLACES) or (
                rest == ""
                and (
                    name not in _AMBIGUOUS_PLACES
                    or _hangul(tokens, index + 1).startswith(("환경", "서버"))
                )
            )
            if is_place:
                return collected.add("environment", environment)
    if verb in _GIVING and word.endswith(_RECIPIENT_PARTICLES) and index_is_name(tokens, index):
        particle = next(end for end in _RECIPIENT_PARTICLES if word.endswith(end))
        start = tokens[index].start
        if _hangul(tokens, index - 1) in {"모든", "전체"}:
            start = tokens[index - 1].start
        name = text[start : tokens[index].end].removesuffix(particle)
        collected.add("recipient", shortened(name))


def index_is_name(tokens: Sequence[Token], index: int) -> bool:
    """Tell whether the Hangul at `index` is a word of its own, not an address's particle."""
    return tokens[index].text not in _RECIPIENT_PARTICLES and (
        index == 0 or tokens[index].is_spaced or tokens[index - 1].kind is not Kind.EMAIL
    )


_READERS = {
    Kind.QUOTE: _plain("name"),
    Kind.URL: _plain("url"),
    Kind.EMAIL: _read_email,
    Kind.BRANCH: _plain("branch"),
    Kind.FILE: _plain("file"),
    Kind.MONEY: _read_money,
    Kind.VERSION: _plain("version"),
    Kind.REFERENCE: _read_reference,
    Kind.CODE: _plain("reference"),
    Kind.NUMBER: _read_number,
    Kind.WORD: _read_word,
    Kind.HANGUL: _read_hangul,
}


def _word(tokens: Sequence[Token], index: int) -> str:
    if 0 <= index < len(tokens) and tokens[index].kind is Kind.WORD:
        return tokens[index].text
    return ""


def _hangul(tokens: Sequence[Token], index: int) -> str:
    if 0 <= index < len(tokens) and tokens[index].kind is Kind.HANGUL:
        return tokens[index].text
    return ""


def _particle(tokens: Sequence[Token], index: int) -> str:
    """Return the Hangul written onto the token at `index`, with or without a space for 번."""
    if index + 1 < len(tokens) and not tokens[index + 1].is_spaced:
        return _hangul(tokens, index + 1)
    return ""
