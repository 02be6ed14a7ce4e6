"""What the analyses of a sentence, English and Korean, hand over."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """What a verb in a prompt means for the agent."""

    ACT = "act"  # wanted, and it changes something
    READ = "read"  # wanted, and it changes nothing
    HELD = "held"  # negated or only asked about
    DESCRIBED = "described"  # a noun, a past, a condition: nothing is wanted


class Needs(StrEnum):
    """What a verb must stand with to be an action: `run` alone may be anything."""

    NOTHING = ""
    TARGET = "target"  # anything to act on: a known noun, a name, a file, a pronoun
    NOUN = "noun"  # a noun of the vocabulary
    DEED = "deed"  # a noun that is a deed: `perform the deletion`


class Finding(NamedTuple):
    """A verb in a sentence: tokens `start` to `end` (exclusive), and what is known of it."""

    outcome: Outcome
    verb: str
    start: int
    end: int
    needs: Needs = Needs.NOTHING
    names: str = ""  # the object that the verb itself names: to `email` is to send a mail
    is_light: bool = False
    is_passive: bool = False  # its object stands before it: `I want the mails deleted`
    is_korean: bool = False
    prefix: str = ""  # what is written before a Korean verb in its token: 메일 in 메일삭제


class Target(NamedTuple):
    """What an action is done to: an object's name on the wire, how many, or all of them.

    `name` is empty when the prompt does not say, and `REFERRED` when it says `it`.
    """

    name: str = ""
    how_many: int | str | None = None
    is_all: bool = False
    deed: str = ""  # the verb, where the object is a deed: a refund is to refund


REFERRED = "it"
