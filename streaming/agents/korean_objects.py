"""Finds what a Korean verb is done to, in the words before it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from streaming.agents import english_words
from streaming.agents import korean_words as words
from streaming.agents.finding import REFERRED, Target
from streaming.agents.tokens import Kind, Token, whole

# An object that stands further before its verb than this many tokens is not its object.
_REACH = 60

_IMPLIED = {
    Kind.FILE: "file",
    Kind.BRANCH: "branch",
    Kind.REFERENCE: "",
    Kind.CODE: "",
    Kind.QUOTE: "",
    Kind.VERSION: "",
    Kind.URL: "",
    Kind.MONEY: "money",
}


_LONGEST_WORD = 40
_UNSPACED = re.compile(
    f"(?P<noun>[가-힣]+?)(?P<count>{'|'.join(sorted(words.COUNTS, key=len, reverse=True))})"
    f"(?:{'|'.join(words.COUNTERS)})(?P<particle>[가-힣]{{0,2}})"
)


class _Named(NamedTuple):
    """A noun before the verb: its object, its particle, how many of it."""

    name: str
    particle: str
    how_many: int | str | None
    is_all: bool
    is_noun: bool


def targets(tokens: Sequence[Token]) -> list[Target]:
    """Return what the verb after `tokens` is done to: several for `메일 3개와 파일 2개를`.

    An empty list says that the prompt names nothing.
    """
    named, loose_count, is_all = _named(tokens[-_REACH:])
    chosen = _chosen(named)
    if not chosen:
        return [Target("", loose_count, is_all)] if loose_count is not None or is_all else []
    found = [Target(one.name, one.how_many, one.is_all or is_all) for one in chosen]
    if len(found) == 1 and found[0].how_many is None and loose_count is not None:
        found = [found[0]._replace(how_many=loose_count)]
    return found


def without_exception(tokens: Sequence[Token]) -> tuple[Sequence[Token], Sequence[Token]]:
    """Split off what is left alone: `모두`, and `중요 메일을` before `제외하고`."""
    for index in range(len(tokens) - 1, 0, -1):
        if tokens[index].kind is Kind.HANGUL and tokens[index].text.startswith(words.EXCEPTIONS):
            start = index
            while start > 0 and tokens[start - 1].kind is not Kind.MARK:
                start -= 1
            return [*tokens[:start], *tokens[index + 1 :]], tokens[start:index]
    return tokens, ()


def _named(tokens: Sequence[Token]) -> tuple[list[_Named], int | str | None, bool]:
    """Return the nouns in order, a count that stands before its noun or alone, and `all`."""
    named: list[_Named] = []
    count: int | str | None = None
    is_all_before = is_all = False
    index = 0
    while index < len(tokens):
        token = tokens[index]
        counted = _count(tokens, index)
        if counted is not None:
            value, particle, index = counted
            if named and named[-1].particle == "" and named[-1].how_many is None:
                named[-1] = named[-1]._replace(how_many=value, particle=particle)
            else:
                count = value
            continue
        if named and named[-1].particle == "" and token.text in {",", *words.JOINERS}:
            named[-1] = named[-1]._replace(particle=words.JOINING_PARTICLES[0])
        elif token.kind is Kind.HANGUL and token.text in words.ALL_AFTER:
            is_all = True
        elif token.kind is Kind.HANGUL and token.text in words.ALL_BEFORE:
            is_all_before = True
        elif (one := _noun(tokens, index)) is not None:
            if one.how_many is None:
                one, count = one._replace(how_many=count), None
            named.append(one._replace(is_all=is_all_before))
            is_all_before = False
        index += 1
    return named, count, is_all or is_all_before


def _noun(tokens: Sequence[Token], index: int) -> _Named | None:
    token = tokens[index]
    particle = ""
    if index + 1 < len(tokens) and not tokens[index + 1].is_spaced:
        following = tokens[index + 1]
        particle = following.text if following.kind is Kind.HANGUL else ""
    if token.kind is Kind.WORD:
        following_word = tokens[index + 1].text if index + 1 < len(tokens) else ""
        name = english_words.NOUN_PAIRS.get((token.text, following_word)) or (
            english_words.NOUNS.get(token.text)
        )
        return _Named(name, particle, None, False, True) if name else None
    if token.kind is Kind.HANGUL:
        if token.text.startswith(words.PRONOUNS) and len(token.text) <= len("그것들을"):
            return _Named(REFERRED, "을", None, False, True)
        if index > 0 and not token.is_spaced:
            return None
        if (known := words.noun(token.text)) is not None:
            return _Named(*known, None, False, True)
        return _unspaced(token.text)
    if token.kind in _IMPLIED:
        return _Named(_IMPLIED[token.kind], particle, None, False, False)
    return None


def _unspaced(text: str) -> _Named | None:
    """Read a noun and its count from one word: 메일세개를."""
    match = _UNSPACED.fullmatch(text[:_LONGEST_WORD])
    known = words.noun(match["noun"]) if match is not None else None
    if match is None or known is None:
        return None
    return _Named(known[0], match["particle"], words.COUNTS[match["count"]], False, True)


def _count(tokens: Sequence[Token], index: int) -> tuple[int | str, str, int] | None:
    """Read `3개를`, `세 통의`, `두건`: the number, the particle, and where it ends."""
    token = tokens[index]
    following = tokens[index + 1] if index + 1 < len(tokens) else None
    if token.kind is Kind.NUMBER and (number := whole(token.text)) is not None:
        if following is not None and following.kind is Kind.HANGUL:
            return _counted(number, following.text, index + 2)
        return None
    if token.kind is not Kind.HANGUL:
        return None
    if token.text in words.COUNTS:
        if following is not None and following.kind is Kind.HANGUL:
            return _counted(words.COUNTS[token.text], following.text, index + 2)
        return None
    for length in (2, 1):
        if (value := words.COUNTS.get(token.text[:length])) is not None:
            return _counted(value, token.text[length:], index + 1)
    return None


def _counted(value: int | str, text: str, end: int) -> tuple[int | str, str, int] | None:
    for counter in words.COUNTERS:
        if text.startswith(counter) and (
            text[len(counter) :] in words.COUNTED_PARTICLES or text == counter
        ):
            return value, text[len(counter) :], end
    return None


def _chosen(named: Sequence[_Named]) -> list[_Named]:
    """Return the object and what is joined to it: the last that is marked, else the last bare."""
    for is_noun, particles in words.WAYS_TO_OBJECTS:
        for last in range(len(named) - 1, -1, -1):
            if named[last].is_noun is is_noun and named[last].particle in particles:
                first = last
                while first > 0 and named[first - 1].particle in words.JOINING_PARTICLES:
                    first -= 1
                joined = [one for one in named[first : last + 1] if one.is_noun]
                return joined or [named[last]]
    return []
