"""Which action types a policy's pattern matches, and which of several patterns comes first."""

from __future__ import annotations

ANY = "*"


def matches(pattern: str, action_type: str) -> bool:
    """Say whether the pattern matches the action type; each `*` stands for any text or none.

    No other character is special, and case counts. Each piece between stars is searched for
    once, from the end of the last one, so no pattern makes this slow.
    """
    first, *more = pattern.split(ANY)
    if not more:
        return pattern == action_type
    *middle, last = more
    if len(action_type) < len(first) + len(last):
        return False
    if not (action_type.startswith(first) and action_type.endswith(last)):
        return False
    at, end = len(first), len(action_type) - len(last)
    for piece in middle:
        start = action_type.find(piece, at, end)
        if start < 0:
            return False
        at = start + len(piece)
    return True


def literals(pattern: str) -> int:
    """Return how many characters of the pattern stand for themselves."""
    return len(pattern) - stars(pattern)


def stars(pattern: str) -> int:
    """Return how many `*` the pattern has."""
    return pattern.count(ANY)


def rank(pattern: str) -> tuple[int, int, str]:
    """Return the sort key of a pattern: of those that match, the first one applies.

    Most literal characters, then fewest stars, then the order of their characters' numbers,
    which is the same on every database.
    """
    return -literals(pattern), stars(pattern), pattern
