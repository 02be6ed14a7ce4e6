"""What has been read of an English clause, and whether a verb in it is a wish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streaming.agents import english_words as words
from streaming.agents.english_verbs import VERBS, Entry, Form
from streaming.agents.tokens import Kind, Token

# Stands for a number, a name or an address where only its presence matters.
THING = "#"
END = ""

# How many words a negation reaches over: `don't want you to delete`.
_NEGATION_REACH = 6
_CONDITION_REACH = 1
_SHORTEST_ADVERB = len("only") + 1


@dataclass(slots=True)
class Clause:
    """What has been read of a clause so far, and what it goes on from."""

    before: str = END  # the last word that is no adverb
    before_that: str = END
    reach: int = 0  # words that a negation still reaches
    is_asked: bool = False
    is_reading: bool = False  # a verb that only reads came before
    is_condition: bool = False
    has_wish: bool = False  # `want`, `make sure`: a participle may be wanted
    has_action: bool = False
    has_none: bool = False  # `no mails`, `nothing`: what is deleted, too, is not
    held_at: int = -1  # where the last negated verb ended
    is_joined: bool = False  # after `and` or a comma
    joined_after: str = END  # the word before that
    was_reading: bool = False  # a clause of the sentence before reads

    def saw(self, word: str) -> None:
        """Go on after `word`."""
        is_adverb = word.endswith("ly") and len(word) >= _SHORTEST_ADVERB
        if word not in words.ADVERBS and not is_adverb:
            self.before_that, self.before = self.before, word
        self.reach = max(0, self.reach - 1)

    def negate(self) -> None:
        """Let a negation reach over the words that follow."""
        self.reach = 1 + (_CONDITION_REACH if self.is_condition else _NEGATION_REACH)


def said(token: Token | None) -> str:
    """Return the word of `token`; `END` for a mark and for none."""
    if token is None or token.kind is Kind.MARK:
        return END
    return token.text if token.kind is Kind.WORD else THING


def opens_question(opening: Sequence[str], is_question: bool) -> bool:
    """Tell whether a clause with these first words asks and does not wish.

    `is_question` says that the sentence ends with a question mark. `Can you delete it?` is a
    wish all the same, and so is `why don't you delete it?`.
    """
    first, second, third = opening[:3]
    if first == "before":
        # `before you delete it, show it`, but not `before Friday delete it`
        return second in {"i", "we", "you"} or second.endswith("ing")
    if first in words.QUESTION_WORDS:
        if second in {"about", "not"} or (second, third) == ("don't", "you"):
            return False
        return first not in words.CONDITIONAL_OPENERS or second in words.HELPERS
    if first in words.NEVER_A_WISH:
        is_polite = (second, third) == ("you", "able") or (second == "it" and "for" in opening)
        return not is_polite and (is_question or first in words.ALWAYS_ASKING)
    if first in {"do", "have"}:
        return is_question and (second, third) != ("you", "mind")
    if first in words.OPENING_HELPERS:
        is_offer = second in {"you", "we"} or (first, second) == ("would", "it")
        return is_question and not is_offer
    return False


def is_wanted(entry: Entry, word: str, clause: Clause, following: Token | None) -> bool:
    """Tell whether `word`, an inflected verb before `following`, is a wish in `clause`."""
    match entry.form:
        case Form.BASE:
            return _is_wanted_base(entry, word, clause, following)
        case Form.THIRD:
            return _is_wanted_third(entry, clause, following)
        case Form.GERUND:
            return _is_wanted_gerund(entry, clause, following)
        case Form.PAST:
            return _is_wanted_participle(entry, clause, following)


def _starts_object(token: Token | None) -> bool:
    return said(token) in words.OBJECT_STARTS


def _is_wanted_base(entry: Entry, word: str, clause: Clause, following: Token | None) -> bool:
    before, after = clause.before, said(following)
    if before in words.DETERMINERS or (before in words.PREPOSITIONS and before != "without"):
        return False
    if before == "to" and clause.before_that in words.INSTRUCTIONS:
        return False
    leads = (
        before == END
        or before in words.LEADS
        or clause.reach > 0
        or (before in words.PROGRAMS and clause.before_that == END)
    )
    if before == "me":
        leads = not clause.is_reading or clause.before_that in {"help", "let"}
    if not leads and after in words.COMPOUND_HEADS:
        return False
    if entry.is_reading:
        return leads or not entry.is_noun_too
    if not entry.is_noun_too:
        return leads or not clause.is_reading or _starts_object(following)
    if not leads:
        # `in production deploy v2.0`, not `refund order 42`; and the telegram `PR 42 merge`
        has_object = after in words.CERTAIN_OBJECTS and before not in VERBS
        is_telegram = before == THING and after == END
        return (has_object or is_telegram) and not clause.is_reading
    return not _is_noun_at_start(word, clause, following)


def _is_noun_at_start(word: str, clause: Clause, following: Token | None) -> bool:
    """Tell whether a word that may be a noun is one although a verb could stand here."""
    after = said(following)
    if (word, after) in words.NOUN_COMPOUNDS or after == "of":
        return True
    if word == "issue" and after == THING:
        return True  # `issue 42`
    if clause.before == "to" and (not _starts_object(following) or after == THING):
        # `reply to email from kim` against `I want to refund`.
        is_wish = clause.before_that in words.WISHES
        return not is_wish and (clause.is_reading or clause.has_action)
    if clause.is_joined and clause.before == END and clause.was_reading:
        partner = clause.joined_after
        return (
            after in words.COMPOUND_HEADS
            or after in words.AFTER_NOUNS
            or (after == END and (partner in words.NOUNS or partner in VERBS))
        )
    return False


def _is_wanted_third(entry: Entry, clause: Clause, following: Token | None) -> bool:
    before = clause.before
    if entry.is_reading:
        return before == END and not entry.is_noun_too
    if clause.is_reading or before in words.PREPOSITIONS | (words.DETERMINERS - {"that"}):
        return False
    return not entry.is_noun_too or (before in words.SUBJECTS and _starts_object(following))


def _is_wanted_gerund(entry: Entry, clause: Clause, following: Token | None) -> bool:
    before = clause.before
    if before in {"was", "were", "been"} or before in words.DETERMINERS:
        return False
    if before in {"for", "of", "on", "about"} and clause.before_that in words.INSTRUCTIONS:
        return False
    if before == "about" and clause.before_that not in {"how", "what"}:
        return False
    if clause.is_reading and not (before == END or before in words.BEFORE_WANTED_GERUND):
        return False
    if entry.is_noun_too and not _starts_object(following):
        return False
    return not entry.is_reading or before == END


def _is_wanted_participle(entry: Entry, clause: Clause, following: Token | None) -> bool:
    """Tell whether a participle is a wish: `must be deleted`, `I want it deleted`."""
    if clause.is_reading or entry.is_reading:
        return False
    if clause.before in {"be", "get"}:
        return True
    after = said(following)
    return (
        clause.has_wish
        and clause.before not in words.NOT_BEFORE_PASSIVES
        and (after == END or after in words.AFTER_PASSIVE)
    )
