"""Finds what an English sentence wants done, and what it only mentions, negates or asks about.

The rule for every doubt: a wish that may be one is one, because the gate only asks a person.
"""

from __future__ import annotations

from collections.abc import Sequence

from streaming.agents import english_words as words
from streaming.agents.english_clauses import END, THING, Clause, is_wanted, opens_question, said
from streaming.agents.english_verbs import VERBS, Entry, Form
from streaming.agents.finding import Finding, Outcome
from streaming.agents.tokens import NEWLINE, Kind, Token

_OPENING = 6
_LIST_REACH = 12
# Marks inside a clause, not between two.
_SIGNS = frozenset("'\"`*_#")


def findings(sentence: Sequence[Token]) -> list[Finding]:
    """Return the verbs of `sentence` in order, each with what it means for the agent."""
    if not any(token.kind is Kind.WORD and _may_be_verb(token.text) for token in sentence):
        return []
    return _Reading(sentence).run()


def _may_be_verb(word: str) -> bool:
    return word in VERBS or "-" in word


class _Reading:
    """One pass over one sentence, from left to right."""

    def __init__(self, sentence: Sequence[Token]) -> None:
        self.tokens = sentence
        self.is_question = bool(sentence) and sentence[-1].text == "?"
        self.clause = Clause()
        self.found: list[Finding] = []

    def run(self) -> list[Finding]:
        self._open_line(0)
        index = 0
        while index < len(self.tokens):
            token = self.tokens[index]
            if token.kind is Kind.MARK:
                self._mark(index)
            elif token.kind is not Kind.WORD:
                self.clause.saw(THING)
            elif (end := self._verb(index)) is not None:
                index = end
                continue
            else:
                self._word(index)
            index += 1
        return self.found

    def _token(self, index: int) -> Token | None:
        return self.tokens[index] if 0 <= index < len(self.tokens) else None

    def _said(self, index: int) -> str:
        return said(self._token(index))

    # --- clauses ---------------------------------------------------------------------

    def _open_line(self, index: int) -> None:
        self.clause = Clause(is_asked=self._opens_question(index))

    def _opens_question(self, index: int) -> bool:
        if self._said(index) not in words.QUESTION_OPENERS:
            return False
        opening = [self._said(index + step) for step in range(_OPENING)]
        return opens_question(opening, self.is_question)

    def _next_clause(
        self, index: int, *, keeps_negation: bool, keeps_question: bool, is_joined: bool
    ) -> None:
        """Begin the clause whose first token is at `index`, in the same sentence and line."""
        clause = self.clause
        self.clause = Clause(
            is_asked=keeps_question or self._opens_question(index),
            is_joined=is_joined,
            joined_after=clause.before,
            was_reading=clause.was_reading or clause.is_reading,
        )
        if keeps_negation:
            self.clause.negate()

    def _mark(self, index: int) -> None:
        mark, clause = self.tokens[index].text, self.clause
        if mark == NEWLINE:
            is_broken = self._said(index - 1) in words.BEFORE_BREAKS
            return None if is_broken else self._open_line(index + 1)
        if mark in _SIGNS:
            return None
        return self._next_clause(
            index + 1,
            keeps_negation=clause.held_at == index and self._list_goes_on(index),
            keeps_question=clause.is_asked and self.is_question and mark == ",",
            is_joined=mark in {",", "/", "|"},
        )

    def _list_goes_on(self, index: int) -> bool:
        """Tell whether `don't delete, move or send` goes on after the comma at `index`."""
        for ahead in range(index + 1, min(index + _LIST_REACH, len(self.tokens))):
            word = self._said(ahead)
            if word in {"or", "nor"}:
                return True
            if word and word not in VERBS:
                return False
        return False

    def _join(self, index: int, joiner: str) -> None:
        clause = self.clause
        if joiner == "then" and clause.before == END:
            return
        is_list = joiner in {"or", "nor"} or (joiner == "and" and clause.held_at == index)
        self._next_clause(
            index + 1,
            keeps_negation=is_list and (clause.reach > 0 or clause.held_at >= 0),
            keeps_question=clause.is_asked and (is_list or (joiner == "and" and self.is_question)),
            is_joined=True,
        )

    # --- words that are no verbs -----------------------------------------------------

    def _word(self, index: int) -> None:
        word, clause = self._said(index), self.clause
        following = self._said(index + 1)
        if word in words.JOINERS:
            return self._join(index, word)
        if word in words.CONDITIONS:
            clause.is_condition = True
            is_whether = clause.before in VERBS or clause.before in {"me", "out"}
            if word == "if" and clause.is_reading and is_whether:
                clause.is_asked = True  # `check if I should delete it`
        is_offer = word in words.OFFERS and following == "you" and clause.before == END
        if word in words.LIFTS or is_offer:
            clause.is_asked = False
        if word in words.WISHES:
            clause.has_wish = True
        if word in {"no", "none", "nothing"}:
            clause.has_none = True
        if self._negates(word, following):
            clause.negate()
        if clause.before != END and word in words.QUESTION_WORDS:
            clause.is_asked = clause.is_asked or self._asks(word, following)
        clause.saw(word)

    def _asks(self, word: str, following: str) -> bool:
        """Tell whether a question word inside a clause begins a question: `show how to …`."""
        if word in {"why", "whether"}:
            return True
        if word in words.CONDITIONAL_OPENERS:
            return following in words.HELPERS
        return word not in {"which", "who"} and following in words.QUESTION_FOLLOWERS

    def _negates(self, word: str, following: str) -> bool:
        before = self.clause.before
        if following in words.NO_NEGATION_BEFORE:
            return False  # `don't forget to delete it`
        if following == "you" and (before == "why" or word in words.NEGATED_OFFERS):
            return False  # `why don't you delete it?`, `can't you delete it?`
        if word == "not":
            # `do not`, but not `is not needed`
            return before == END or before in words.AUXILIARIES
        return (
            word in words.NEGATORS
            or (word in words.REFRAINING and following.endswith("ing"))
            or (word, following) in words.NEGATING_PAIRS
        )

    # --- verbs -----------------------------------------------------------------------

    def _verb(self, index: int) -> int | None:
        """Judge the verb at `index` and return where it ends; None when there is none."""
        found = self._lookup(index)
        if found is None:
            return None
        entry, end = found
        word, clause, following = self._said(index), self.clause, self._said(index + 1)
        if word in words.REFRAINING and following.endswith("ing"):
            return None
        if word in {"do", "does", "did"} and following in words.AFTER_HELPERS:
            return None
        if word in words.WISHES:
            clause.has_wish = True
        if is_wanted(entry, word, clause, self._token(end)):
            self._find(entry, index, end)
        for step in range(index, end):
            clause.saw(self._said(step))
        return end

    def _lookup(self, index: int) -> tuple[Entry, int] | None:
        word = self.tokens[index].text
        prefix, _, base = word.partition("-")
        if base and prefix in words.PREFIXES and word not in VERBS:
            word = base
        for rest, entry in VERBS.get(word, ()):
            if all(self._said(index + 1 + step) == part for step, part in enumerate(rest)):
                return entry, index + 1 + len(rest)
        return None

    def _find(self, entry: Entry, index: int, end: int) -> None:
        clause = self.clause
        outcome = self._outcome(entry, index, end)
        if outcome is Outcome.HELD:
            clause.held_at = end
        # `get` may as well introduce a wish: `get the mails deleted`
        if outcome is Outcome.READ and self._said(index) != "get":
            clause.is_reading = True
        clause.has_action = clause.has_action or not entry.is_reading
        self.found.append(
            Finding(
                outcome,
                entry.verb,
                index,
                end,
                entry.needs,
                entry.names,
                entry.is_light,
                is_passive=entry.form is Form.PAST,
            )
        )

    def _is_negated(self, entry: Entry, index: int) -> bool:
        clause = self.clause
        if entry.form is Form.PAST and clause.has_none:
            return True
        if clause.reach == 0 or entry.form is not Form.BASE:
            return clause.reach > 0
        # `don't want you to delete it`, but not `I don't need it delete it`
        before = clause.before
        return (
            before == END
            or before in words.AFTER_NEGATIONS
            or self._negates(before, self._said(index))
        )

    def _outcome(self, entry: Entry, index: int, end: int) -> Outcome:
        clause = self.clause
        if self._is_negated(entry, index) or self._said(end) in words.NOTHING:
            return Outcome.HELD
        if entry.is_reading:
            return Outcome.READ
        return Outcome.HELD if clause.is_asked else Outcome.ACT
