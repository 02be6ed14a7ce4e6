"""Which action types a policy's pattern matches, and which of several patterns comes first.

Both are compared folded, and look-alikes of other scripts match each other, so that no other
spelling of an action gets around its policy (wire.md, 3.6).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from hitl.text import lookalikes

ANY = "*"

# From where in the text and in the letters, and what was read on the way; None at the beginning.
_CameFrom = tuple[int, int, str] | None


class _Step(NamedTuple):
    """A character that can be read at a place, and where that leads: a whole character, or one of
    those in a row that it looks like."""

    character: str
    to: int
    whole: str
    is_last: bool
    can_part: bool = True


def matches(pattern: str, action_type: str) -> bool:
    """Say whether the pattern matches the action type; each `*` stands for any text or none.

    No other character is special, and a `＊` is no `*`.
    """
    return read_as(pattern, action_type) is not None


def read_as(pattern: str, action_type: str) -> str | None:
    """Return the action as the pattern reads it, or None if it does not match.

    That is the action itself if it matches as written, or else the folded one with the letters of
    the pattern in place of their look-alikes.
    """
    if matches_as_written(pattern, action_type):
        return action_type
    pieces = _folded(pattern)
    # Spaces around an action cannot be seen, and no pattern has any.
    text = lookalikes.fold(action_type).strip()
    if _are_ascii(*pieces, text):
        return text if _fits(pieces, text) else None
    return _read(pieces, text)


def matches_as_written(pattern: str, action_type: str) -> bool:
    """Say whether the pattern matches the action type character by character."""
    return _fits(pattern.split(ANY), action_type)


def are_alike(pattern: str, other: str) -> bool:
    """Say whether two patterns are the same once they are folded, look-alikes included."""
    pieces, others = _folded(pattern), _folded(other)
    if pieces == others or len(pieces) != len(others) or _are_ascii(*pieces, *others):
        return pieces == others
    return all(
        _read((piece,), another) is not None for piece, another in zip(pieces, others, strict=True)
    )


def literals(pattern: str) -> int:
    """Return how many characters of the pattern stand for themselves."""
    return len(pattern) - stars(pattern)


def stars(pattern: str) -> int:
    """Return how many `*` the pattern has."""
    return pattern.count(ANY)


def rank(pattern: str, action_type: str) -> tuple[int, bool, int, str]:
    """Return the sort key of a pattern that matches the action: the first one applies.

    Most literal characters as they are written, then a match as written, then fewest stars, then
    the order of their characters' numbers, which is the same on every database.
    """
    is_folded = not matches_as_written(pattern, action_type)
    return -literals(pattern), is_folded, stars(pattern), pattern


@lru_cache(maxsize=4096)
def _folded(pattern: str) -> tuple[str, ...]:
    """Return the folded pieces between the pattern's stars."""
    # Split first: of what is folded afterwards, nothing becomes a star.
    first, *more = (lookalikes.fold(piece) for piece in pattern.split(ANY))
    # Two stars with nothing between them but what is invisible are one.
    return (first, *filter(None, more[:-1]), *more[-1:])


def _are_ascii(*texts: str) -> bool:
    """Say whether nothing in these texts has a look-alike in them."""
    return all(map(str.isascii, texts))


def _fits(pieces: Sequence[str], text: str) -> bool:
    """Say whether the text consists of these pieces, with anything or nothing between them.

    Each piece is searched for once, from the end of the last one, so no pattern makes this slow.
    """
    first, *more = pieces
    if not more:
        return first == text
    *middle, last = more
    if len(text) < len(first) + len(last):
        return False
    if not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        start = text.find(piece, at, end)
        if start < 0:
            return False
        at = start + len(piece)
    return True


def _read(pieces: Sequence[str], text: str) -> str | None:
    """Return `text` with the letters of the pieces that it is read as, or None if it does not fit.

    As `_fits`, but with look-alikes: reads the text once, with all places in the letters that its
    beginning leads to, as a finite automaton does.
    """
    letters: list[list[_Step]] = []
    ends: list[int] = []
    for piece in pieces:
        letters += _steps(piece, len(letters))
        ends.append(len(letters))
    # The places before which a star stands, where a character of the text can be left out.
    loops = frozenset(ends[:-1])
    letters.append([])
    steps = _steps(text)
    reached: list[dict[int, _CameFrom]] = [{} for _ in range(len(steps) + 1)]
    reached[0][0] = None
    furthest = 0
    for at in range(len(steps)):
        if at > furthest:
            return None
        # Where a star was reached, it can stand for all that an earlier place would read.
        last_star = max(loops.intersection(reached[at]), default=0)
        for place in [place for place in reached[at] if place >= last_star]:
            for step, to, read in _moves(letters, loops, place, steps[at]):
                if step.can_part or to not in loops:
                    reached[step.to].setdefault(to, (at, place, read))
                    furthest = max(furthest, step.to)
    return _way(reached, len(steps), ends[-1]) if ends[-1] in reached[-1] else None


def _steps(text: str, start: int = 0) -> list[list[_Step]]:
    """Return the steps from each place of a text, whose places are counted from `start`.

    A character that looks like several in a row also leads through places of its own. A star can
    begin or end there, but not between a letter and its mark: `ơ` looks like `o'`.
    """
    steps: list[list[_Step]] = []
    for character in text:
        spellings = sorted(lookalikes.spellings(character))
        at = len(steps)
        end = at + 1 + sum(len(spelling) - 1 for spelling in spellings)
        steps += [[] for _ in range(at, end)]
        steps[at].append(_Step(character, start + end, character, True))
        between = at
        for spelling in spellings:
            place = at
            can_part = spelling.isascii() and "'" not in spelling
            for letter in spelling[:-1]:
                between += 1
                steps[place].append(_Step(letter, start + between, character, False, can_part))
                place = between
            steps[place].append(_Step(spelling[-1], start + end, character, True))
    return steps


def _moves(
    letters: list[list[_Step]], loops: frozenset[int], place: int, steps: list[_Step]
) -> Iterator[tuple[_Step, int, str]]:
    """Yield the steps in the text that can be read here, to which place in the letters, and as
    what."""
    for step in steps:
        if place in loops:
            yield step, place, step.character
        for letter in letters[place]:
            if _look_alike(letter, step):
                yield step, letter.to, letter.whole if letter.is_last else ""


def _look_alike(one: _Step, other: _Step) -> bool:
    if one.character == other.character:
        return True
    # Readers of a script tell its letters from a part of another: the `о` from that of `ю`.
    return lookalikes.are_alike(one.character, other.character) and (
        (one.character == one.whole and other.character == other.whole)
        or lookalikes.script(one.whole) != lookalikes.script(other.whole)
    )


def _way(reached: list[dict[int, _CameFrom]], at: int, place: int) -> str:
    """Return what was read on the way to a place."""
    pieces: list[str] = []
    while (origin := reached[at][place]) is not None:
        at, place, read = origin
        pieces.append(read)
    return "".join(reversed(pieces))
