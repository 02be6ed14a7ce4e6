"""Finds what an English verb is done to, in the words that follow it."""

from __future__ import annotations

from collections.abc import Sequence

from streaming.agents import english_words as words
from streaming.agents.english_clauses import END, said
from streaming.agents.finding import REFERRED, Target
from streaming.agents.korean_words import COUNTERS
from streaming.agents.korean_words import noun as korean_noun
from streaming.agents.tokens import NEWLINE, Kind, Token, whole
from streaming.agents.vocabulary import word_set

# An object that begins later than this many tokens after its verb is not its object.
_REACH = 60

# What stands for an object that has no noun.
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
_RELATIVES = word_set("that which who where if unless when because until so but then")
_BEFORE_PASSIVES = frozenset((*words.WISHES, "that", "sure", NEWLINE, ","))
_AFTER_PHRASES = words.PREPOSITIONS | words.JOINERS | {END, "to"}
_JOINERS = frozenset(("and", "or", "plus"))
_SIGNS = frozenset(("'", '"', "`", "*", ":", "#", "-"))


class _Phrase:
    """The noun phrase that is being read."""

    def __init__(self) -> None:
        self.name = ""
        self.count: int | str | None = None
        self.is_all = False
        self.deed = ""
        self.has_words = False
        self.is_given = False  # a token stands for it: a file, a number
        self.is_implied = True  # no noun was read
        self.is_writing = False  # a word of text was read: `a summary of the mails`
        self.is_of = False  # what a deed is done to is being read

    @property
    def is_known(self) -> bool:
        return bool(self.name) or self.is_given

    @property
    def is_begun(self) -> bool:
        return self.is_known or self.has_words or self.count is not None or self.is_all

    def target(self) -> Target:
        return Target(self.name, self.count, self.is_all, self.deed)


def targets(tokens: Sequence[Token]) -> list[Target]:
    """Return what the verb before `tokens` is done to: several for `3 mails and 2 files`.

    An empty list says that the prompt names nothing.
    """
    found: list[Target] = []
    phrase = _Phrase()
    for index, token in enumerate(tokens[:_REACH]):
        if token.kind is Kind.MARK or (token.kind is Kind.WORD and token.text in _JOINERS):
            if token.text in _SIGNS or (token.text == NEWLINE and not phrase.has_words):
                continue
            if token.text not in {",", *_JOINERS} or not phrase.is_begun:
                break
            if not (phrase.is_known or phrase.has_words):
                continue  # `two or three mails`
            _close(found, phrase)
            phrase = _Phrase()
        elif token.kind is Kind.WORD:
            if not _read_word(phrase, tokens, index):
                break
        else:
            _read_other(phrase, tokens, index)
    _close(found, phrase)
    return found


def targets_before(tokens: Sequence[Token]) -> list[Target]:
    """Return what a verb after `tokens` is done to: `I want the 3 mails deleted`."""
    end = len(tokens)
    while end > 0 and not _is_named(tokens[end - 1]):
        end -= 1
    start = end
    while start > 0 and tokens[start - 1].text not in _BEFORE_PASSIVES:
        start -= 1
    return targets(tokens[start:end])


def _is_named(token: Token) -> bool:
    return token.kind in _IMPLIED or (token.kind is Kind.WORD and token.text in words.NOUNS)


def without_exception(tokens: Sequence[Token]) -> tuple[Sequence[Token], Sequence[Token]]:
    """Split off what is left alone: `all mails`, and `those from kim` after `except`."""
    for index, token in enumerate(tokens):
        if token.kind is Kind.WORD and token.text in words.EXCEPTIONS:
            end = index + 1
            while end < len(tokens) and tokens[end].kind is not Kind.MARK:
                end += 1
            return [*tokens[:index], *tokens[end:]], tokens[index + 1 : end]
    return tokens, ()


def _close(found: list[Target], phrase: _Phrase) -> None:
    """Add `phrase` unless it only goes on with the one before: `a.txt and b.txt`, `42 and 43`."""
    if (phrase.name and not phrase.is_implied) if found else phrase.is_begun:
        found.append(phrase.target())


def _read_word(phrase: _Phrase, tokens: Sequence[Token], index: int) -> bool:
    """Take a word into `phrase`; False when the phrase is over."""
    word = tokens[index].text
    following = tokens[index + 1] if index + 1 < len(tokens) else None
    pair = (word, following.text) if following is not None else (word, "")
    is_begun = phrase.is_known or phrase.has_words
    if pair in words.NOUN_PAIRS:
        phrase.name = words.NOUN_PAIRS[pair]
        phrase.is_implied = False
    elif word in _RELATIVES and is_begun:
        return False
    elif word in words.ALL:
        phrase.is_all = True
        phrase.is_given = phrase.is_given or word == "everything"
    elif word in words.NUMBERS:
        if not phrase.name and not _is_unit(following):
            phrase.count = words.NUMBERS[word]
    elif word in {*words.PREPOSITIONS, "to"}:
        # `send to kim the report`, `3 of the mails`, `the status of the issue`
        phrase.is_of = word == "of" and bool(phrase.deed)
        return (
            not is_begun
            or phrase.is_of
            or (word == "of" and not phrase.name and not phrase.is_writing)
        )
    elif word in words.NOUNS and not _is_half(tokens, index):
        phrase.name = words.NOUNS[word]
        phrase.is_implied = False
        if not (phrase.deed and phrase.is_of):
            phrase.deed = words.DEED_NOUNS.get(word, "")
    elif word in words.DEED_NOUNS:
        phrase.name, phrase.deed = "", words.DEED_NOUNS[word]
        phrase.is_given = True
    elif word in words.PRONOUNS and not phrase.name:
        if word not in {"me", "us", "him", "her", "anything", "something"}:
            phrase.name = REFERRED
    elif word not in words.DETERMINERS and word not in words.AFTER_PASSIVE:
        phrase.has_words = True
        phrase.is_writing = word in words.WRITINGS
    return True


def _is_half(tokens: Sequence[Token], index: int) -> bool:
    """Tell whether the noun at `index` was read with the one before it."""
    return index > 0 and (tokens[index - 1].text, tokens[index].text) in words.NOUN_PAIRS


def _read_other(phrase: _Phrase, tokens: Sequence[Token], index: int) -> None:
    token = tokens[index]
    following = tokens[index + 1] if index + 1 < len(tokens) else None
    if token.kind is Kind.NUMBER:
        is_counted = following is not None and following.text.startswith(COUNTERS)
        # `remove part 3 from it` counts nothing.
        is_name = phrase.has_words and said(following) in _AFTER_PHRASES
        is_before = not phrase.name and not is_name and not _is_unit(following)
        if is_before or is_counted:
            phrase.count = whole(token.text)
    elif token.kind is Kind.HANGUL:
        if (known := korean_noun(token.text)) is not None:
            phrase.name = known[0]
            phrase.is_implied = False
    elif token.kind in _IMPLIED:
        phrase.is_given = True
        phrase.name = phrase.name or _IMPLIED[token.kind]


def _is_unit(token: Token | None) -> bool:
    """Tell whether a number before `token` measures instead of counting: 30 days, 10MB, 3rd."""
    if token is None or token.kind is not Kind.WORD:
        return False
    return not token.is_spaced or token.text.startswith("-") or token.text in words.UNITS
