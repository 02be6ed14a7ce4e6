"""Finds what an English sentence wants done, and what it only mentions, negates or asks about.

The rule for every doubt: a wish that may be one is one, because the gate only asks a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streaming.agents import english_words as words
from streaming.agents.english_words import Entry, Form
from streaming.agents.finding import Finding, Outcome
from streaming.agents.tokens import NEWLINE, Kind, Token

# How many words a negation reaches over: `don't want you to delete`.
_NEGATION_REACH = 6
_CONDITION_REACH = 1
_LIST_REACH = 12
# Stands for a number, a name or an address where only its presence matters.
_THING = "#"
_END = ""


@dataclass(slots=True)
class _Clause:
    """What has been read of the clause so far."""

    before: str = _END  # the last word that is no adverb
    before_that: str = _END
    reach: int = 0  # words that a negation still reaches
    is_asked: bool = False
    is_reading: bool = False
    is_condition: bool = False
    has_wish: bool = False
    is_joined: bool = False
    held_at: int = -1  # where the last negated verb ended

    def saw(self, word: str) -> None:
        if word not in words.ADVERBS and not (word.endswith("ly") and len(word) > 4):
            self.before_that, self.before = self.before, word
        self.reach = max(0, self.reach - 1)

    def negate(self) -> None:
        self.reach = 1 + (_CONDITION_REACH if self.is_condition else _NEGATION_REACH)


def findings(sentence: Sequence[Token]) -> list[Finding]:
    """Return the verbs of `sentence` in order, each with what it means for the agent."""
    return _Reading(sentence).run()


class _Reading:
    """One pass over one sentence, from left to right."""

    def __init__(self, sentence: Sequence[Token]) -> None:
        self.tokens = sentence
        self.is_question = bool(sentence) and sentence[-1].text == "?"
        self.clause = _Clause()
        self.was_reading = False
        self.joined_after = _END
        self.found: list[Finding] = []

    def run(self) -> list[Finding]:
        self._open_line(0)
        index = 0
        while index < len(self.tokens):
            token = self.tokens[index]
            if token.kind is Kind.MARK:
                self._mark(index)
            elif token.kind is not Kind.WORD:
                self.clause.saw(_THING)
            elif (end := self._verb(index)) is not None:
                index = end
                continue
            else:
                self._word(index)
            index += 1
        return self.found

    def _text(self, index: int) -> str:
        """Return the word at `index`; marks and the sentence's end are the empty string."""
        if not 0 <= index < len(self.tokens):
            return _END
        token = self.tokens[index]
        if token.kind is Kind.WORD:
            return token.text
        return _END if token.kind is Kind.MARK else _THING

    # --- clauses ---------------------------------------------------------------------

    def _open_line(self, index: int) -> None:
        """Begin a sentence or a line: is it a question, or one only in its form?"""
        self.clause = _Clause()
        self.was_reading = False
        first, second, third = (self._text(index + step) for step in range(3))
        if first in words.QUESTION_WORDS and not (
            second in {"about", "not"} or (second, third) == ("don't", "you")
        ):
            self.clause.is_asked = (
                second in words.HELPERS
                if first in words.CONDITIONAL_OPENERS
                else True
            )
        elif first in words.OPENING_HELPERS:
            offers = second in {"you", "we"} or (first, second) in {("would", "it"), ("shall", "we")}
            if first in words.NEVER_A_WISH:
                polite = (first, second, third) == ("are", "you", "able") or (
                    second == "it" and "for" in map(self._text, range(index, index + 6))
                )
                self.clause.is_asked = not polite and (
                    self.is_question or first in {"did", "does", "has", "was", "were"}
                )
            elif first in {"do", "have"}:
                self.clause.is_asked = self.is_question and (second, third) != ("you", "mind")
            else:
                self.clause.is_asked = self.is_question and not offers

    def _mark(self, index: int) -> None:
        mark = self.tokens[index].text
        if mark == NEWLINE:
            if self._text(index - 1) in {"not", "don't", "never"}:
                return  # the line was broken inside `do not / delete`
            return self._open_line(index + 1)
        if mark in {"'", '"', "`", "*", "_", "#"}:
            return
        clause = self.clause
        keeps_negation = clause.held_at == index and self._list_goes_on(index)
        self._next_clause(keeps_negation, clause.is_asked and self.is_question and mark == ",")
        self.clause.is_joined = mark in {",", "/", "|"}

    def _list_goes_on(self, index: int) -> bool:
        """Tell whether `don't delete, move or send` goes on after the comma at `index`."""
        for ahead in range(index + 1, min(index + _LIST_REACH, len(self.tokens))):
            word = self._text(ahead)
            if word in {"or", "nor"}:
                return True
            if word and word not in words.VERBS:
                return False
        return False

    def _join(self, index: int, joiner: str) -> None:
        clause = self.clause
        if joiner == "then" and clause.before == _END:
            return
        is_list = joiner in {"or", "nor"} or (joiner == "and" and clause.held_at == index)
        keeps_negation = is_list and (clause.reach > 0 or clause.held_at >= 0)
        self._next_clause(keeps_negation, clause.is_asked and (is_list or self.is_question))
        self.clause.is_joined = True
        if joiner == "then":
            self.clause.is_asked = False

    def _next_clause(self, keeps_negation: bool, keeps_question: bool) -> None:
        self.was_reading = self.was_reading or self.clause.is_reading
        self.joined_after = self.clause.before
        self.clause = _Clause(is_asked=keeps_question)
        if keeps_negation:
            self.clause.negate()

    # --- words that are no verbs -----------------------------------------------------

    def _word(self, index: int) -> None:
        word, clause = self._text(index), self.clause
        following = self._text(index + 1)
        if word in words.JOINERS:
            return self._join(index, word)
        if word in {"if", "unless", "because", "since", "while"}:
            clause.is_condition = True
            if word == "if" and clause.is_reading and clause.before in {*words.VERBS, "me", "out"}:
                clause.is_asked = True
        if word in words.LIFTS or (
            word in {"can", "could", "will", "would"} and following == "you"
        ):
            clause.is_asked = False
        if word in words.WISHES:
            clause.has_wish = True
        self._maybe_negation(index, word, following)
        if clause.before != _END and word in words.QUESTION_WORDS:
            follows = (
                words.HELPERS if word in words.CONDITIONAL_OPENERS else words.QUESTION_FOLLOWERS
            )
            if word in {"why", "whether"} or (word not in {"which", "who"} and following in follows):
                clause.is_asked = True
        clause.saw(word)

    def _maybe_negation(self, index: int, word: str, following: str) -> None:
        clause = self.clause
        if following in words.NO_NEGATION_BEFORE and not following == "stop":
            return
        if (
            word in words.NEGATORS
            or (word == "not" and (clause.before == _END or clause.before in words.AUXILIARIES))
            or (word in words.REFRAINING and following.endswith("ing"))
            or (word, following) in {("instead", "of"), ("rather", "than"), ("refrain", "from")}
            or (word == "no" and following in {"need", "reason", "longer"} and following == "need")
        ):
            clause.negate()

    # --- verbs -----------------------------------------------------------------------

    def _verb(self, index: int) -> int | None:
        """Judge the verb at `index` and return where it ends; None when there is none."""
        found = self._lookup(index)
        if found is None:
            return None
        entry, end = found
        word, clause = self._text(index), self.clause
        if word in words.REFRAINING and self._text(index + 1).endswith("ing"):
            return None
        if word in {"do", "does", "did"} and self._text(index + 1) in {"not", "you", "i", "we"}:
            return None
        outcome = self._outcome(entry, index, end)
        if word in words.WISHES:
            clause.has_wish = True
        if outcome is not Outcome.DESCRIBED:
            self.found.append(
                Finding(
                    outcome, entry.verb, index, end, entry.needs, entry.names, entry.is_light
                )
            )
            if outcome is Outcome.HELD:
                clause.held_at = end
            if outcome is Outcome.READ:
                clause.is_reading = True
        clause.saw(word)
        for step in range(index + 1, end):
            clause.saw(self._text(step))
        return end

    def _lookup(self, index: int) -> tuple[Entry, int] | None:
        for rest, entry in words.VERBS.get(self.tokens[index].text, ()):
            end = index + 1 + len(rest)
            if all(self._text(index + 1 + step) == word for step, word in enumerate(rest)):
                return entry, end
        return None

    def _outcome(self, entry: Entry, index: int, end: int) -> Outcome:
        if not self._is_wanted(entry, index, end):
            return Outcome.DESCRIBED
        if self.clause.reach > 0:
            return Outcome.HELD
        if entry.is_reading:
            return Outcome.READ
        return Outcome.HELD if self.clause.is_asked else Outcome.ACT

    def _is_wanted(self, entry: Entry, index: int, end: int) -> bool:
        match entry.form:
            case Form.BASE:
                return self._is_wanted_base(entry, index, end)
            case Form.THIRD:
                return self._is_wanted_third(entry, end)
            case Form.GERUND:
                return self._is_wanted_gerund(entry, end)
            case Form.PAST:
                return self._is_wanted_past(entry, end)

    def _starts_object(self, index: int) -> bool:
        if index >= len(self.tokens) or self.tokens[index].kind is Kind.MARK:
            return False
        word = self._text(index)
        return (
            word == _THING
            or word in words.DETERMINERS
            or word in words.PRONOUNS
            or word in words.NUMBERS
            or word in words.NOUNS
        )

    def _is_wanted_base(self, entry: Entry, index: int, end: int) -> bool:
        clause, following = self.clause, self._text(end)
        before = clause.before
        at_start = before == _END
        if before in words.DETERMINERS or (before in words.PREPOSITIONS and before != "without"):
            return False
        if before == "to" and clause.before_that in words.INSTRUCTIONS:
            return False
        leads = at_start or before in words.LEADS or before.endswith(("n't", "not"))
        if before == "me":
            leads = not clause.is_reading or clause.before_that in {"help", "let"}
        if not leads and following in words.COMPOUND_HEADS:
            return False
        if entry.is_reading:
            return leads or not entry.is_noun_too
        if not entry.is_noun_too:
            return leads or not clause.is_reading or self._starts_object(end)
        if not leads:
            # `PR 42 merge`: a telegram, not a noun.
            return before == _THING and not clause.is_reading and not self._text(end)
        return not self._is_noun_at_start(index, end, following)

    def _is_noun_at_start(self, index: int, end: int, following: str) -> bool:
        """Tell whether a word that may be a noun is one although a verb could stand here."""
        clause, word = self.clause, self._text(index)
        if (word, following) in words.NOUN_COMPOUNDS or following in {"of", "about"}:
            return True
        if clause.before == "to" and not self._starts_object(end):
            # `reply to email from kim` against `I want to refund it`.
            return clause.is_reading
        if clause.is_joined and clause.before == _END and self.was_reading:
            partner = self.joined_after
            return (
                following in words.COMPOUND_HEADS
                or following in {"for", "in", "of", "from", "by", "during", "per"}
                or (following == _END and (partner in words.NOUNS or partner in words.VERBS))
            )
        return False

    def _is_wanted_third(self, entry: Entry, end: int) -> bool:
        clause = self.clause
        if entry.is_reading:
            return clause.before == _END and not entry.is_noun_too
        if entry.is_noun_too:
            return (
                clause.before in words.SUBJECTS
                and not clause.is_reading
                and self._starts_object(end)
            )
        if clause.before in words.PREPOSITIONS or clause.before in words.DETERMINERS - {"that"}:
            return False
        return not clause.is_reading

    def _is_wanted_gerund(self, entry: Entry, end: int) -> bool:
        clause, before = self.clause, self.clause.before
        if before in {"was", "were", "been"}:
            return False
        if before in {"for", "of", "on", "about"} and clause.before_that in words.INSTRUCTIONS:
            return False
        if before in words.DETERMINERS:
            return False
        if clause.is_reading and not (before == _END or before in words.BEFORE_WANTED_GERUND):
            return False
        if entry.is_noun_too and not self._starts_object(end):
            return False
        return not entry.is_reading or before == _END

    def _is_wanted_past(self, entry: Entry, end: int) -> bool:
        """Tell whether a participle is a wish: `must be deleted`, `I want it deleted`."""
        clause, before = self.clause, self.clause.before
        if clause.is_reading or entry.is_reading:
            return False
        if before in {"be", "get"}:
            return True
        following = self._text(end)
        return (
            clause.has_wish
            and before not in {*words.DETERMINERS, "have", "has", "had", "i", "you", "we", "been"}
            and (following == _END or following in words.AFTER_PASSIVE)
        )
