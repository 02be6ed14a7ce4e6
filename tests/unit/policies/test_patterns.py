"""Which actions a pattern means, and which of several patterns decides."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hitl.policies import patterns as policy_patterns

# Few letters, so that pieces overlap; or what other pattern languages make special.
TEXT = st.text(alphabet="ab", max_size=6) | st.text(alphabet="ab*_.?[]\\^$+|(é한", max_size=12)
PATTERN = st.text(alphabet="ab*", min_size=1, max_size=6) | st.text(
    alphabet="ab*_.?[(é한", min_size=1, max_size=12
)


@settings(deadline=None)
@given(pattern=PATTERN, action=TEXT)
@example(pattern="a*a", action="a")
@example(pattern="ab*ba", action="aba")
@example(pattern="*a*a*", action="aa")
@example(pattern="*a*b*", action="ba")
@example(pattern="*ab*a", action="aba")
@example(pattern="b*ba*", action="ba")
@example(pattern="a*b*", action="a\nb")
@example(pattern="*", action="")
def test_only_the_star_is_special(pattern: str, action: str) -> None:
    meant = ".*".join(re.escape(piece) for piece in pattern.split("*"))

    assert policy_patterns.matches(pattern, action) is bool(re.fullmatch(meant, action, re.DOTALL))


@settings(deadline=None)
@given(action=st.text(min_size=1, max_size=20))
def test_every_action_matches_itself_and_the_star(action: str) -> None:
    assert policy_patterns.matches("*", action)
    assert policy_patterns.matches(action, action)


@pytest.mark.parametrize(
    ("pattern", "action", "is_meant"),
    [
        ("delete_*", "delete_mail", True),
        ("delete_*", "delete_", True),
        ("delete_*", "Delete_mail", False),
        ("delete_*", "undelete_mail", False),
        ("delete_mail", "delete_mails", False),
        ("*_mail", "delete_mail", True),
        ("d*_*l", "delete_mail", True),
    ],
)
def test_star_matches_any_text_or_none(pattern: str, action: str, is_meant: bool) -> None:
    assert policy_patterns.matches(pattern, action) is is_meant


def test_pattern_that_would_keep_a_regular_expression_busy_for_years() -> None:
    assert not policy_patterns.matches("*a" * 64 + "b", "a" * 100_000)


@settings(deadline=None)
@given(patterns=st.lists(PATTERN, min_size=1, unique=True))
def test_of_any_patterns_one_comes_first_in_whatever_order_they_come(patterns: list[str]) -> None:
    first = min(patterns, key=policy_patterns.rank)

    assert first == min(reversed(patterns), key=policy_patterns.rank)
    literals = [len(pattern.replace("*", "")) for pattern in patterns]
    assert len(first.replace("*", "")) == max(literals)


@pytest.mark.parametrize(
    "ordered",
    [
        ["delete_mail", "delete_mai*", "delete_*", "*_*", "*"],
        ["ab", "ab*", "a*b*"],
        ["a*", "b*"],
        ["*a", "a*"],  # the order of the characters' numbers
        ["B*", "a*"],
    ],
)
def test_most_literal_then_fewest_stars_then_by_order(ordered: list[str]) -> None:
    shuffled = [*ordered[1:], ordered[0]]

    assert sorted(shuffled, key=policy_patterns.rank) == ordered
