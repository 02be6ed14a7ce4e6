"""Which actions a pattern means, and which of several patterns decides."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import product

import pytest
from confusable_homoglyphs.confusables import confusables_data
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hitl.policies import patterns as policy_patterns
from hitl.text import lookalikes

# Few letters, so that pieces overlap; or what other pattern languages make special.
TEXT = st.text(alphabet="ab", max_size=6) | st.text(alphabet="ab*_.?[]\\^$+|(é한", max_size=12)
PATTERN = st.text(alphabet="ab*", min_size=1, max_size=6) | st.text(
    alphabet="ab*_.?[(é한", min_size=1, max_size=12
)
# Characters that look like several in a row, and those letters.
LIGATURES = st.text(alphabet="ae*yæꜽꜳ", max_size=5)
# Letters that are folded, look like others, or compose with those beside them.
SPELLED = st.text(alphabet="aAlIi1oO*＊ аюӀіоıİßæﬁａ\u0301\u0307\u200b가\u1100\u1161é", max_size=8)


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
    is_meant = bool(re.fullmatch(meant, action, re.DOTALL))

    assert policy_patterns.matches_as_written(pattern, action) is is_meant
    # Nothing in these alphabets looks like anything else in them, or is folded.
    assert policy_patterns.matches(pattern, action) is is_meant


@settings(deadline=None)
@given(action=st.text(min_size=1, max_size=20))
def test_every_action_matches_itself_and_the_star(action: str) -> None:
    assert policy_patterns.matches("*", action)
    assert policy_patterns.matches(action, action)


@settings(deadline=None)
@given(pattern=SPELLED, action=SPELLED)
@example(pattern="e*", action="e\u0301")
@example(pattern="a * b", action="a  b")
def test_what_matches_as_written_matches(pattern: str, action: str) -> None:
    if policy_patterns.matches_as_written(pattern, action):
        assert policy_patterns.read_as(pattern, action) == action
    elif action:  # a pattern of nothing that can be seen reads the empty action, as it is
        assert policy_patterns.read_as(pattern, action) != action


def ways_to_spell(text: str) -> list[str]:
    ways = [(character, *lookalikes.spellings(character)) for character in text]
    return ["".join(letters) for letters in product(*ways)]


@settings(deadline=None)
@given(pattern=LIGATURES, action=LIGATURES)
@example(pattern="a*y", action="ꜽ")
@example(pattern="*a*y*", action="æꜽ")
def test_character_that_stands_for_several_matches_as_if_they_were_written(
    pattern: str, action: str
) -> None:
    action = action.replace("*", "")
    is_meant = any(
        policy_patterns.matches_as_written(spelled, text)
        for spelled in ways_to_spell(pattern)
        for text in ways_to_spell(action)
    )

    assert policy_patterns.matches(pattern, action) is is_meant


def ascii_lookalikes() -> set[tuple[str, str]]:
    """Return each character of TR39 with the ASCII texts that it looks like, or else those by way
    of another letter."""
    alike: dict[str, set[str]] = defaultdict(set)
    for text, homoglyphs in confusables_data.items():
        alike[lookalikes.fold(text)] |= {lookalikes.fold(each["c"]) for each in homoglyphs}

    pairs: set[tuple[str, str]] = set()
    for character in confusables_data:
        folded = lookalikes.fold(character)
        # Where a mark stands alone, as `ͺ` does, folding makes it a space and a mark.
        if len(character) == 1 and not character.isascii() and not folded.startswith(" "):
            first = {folded} if folded.isascii() else alike[folded]
            texts = {text for text in first if text.isascii() and text.isalnum()}
            if not texts and folded.isalpha():
                second = (alike[text] for text in first if text.isalpha())
                texts = {text for text in set().union(*second) if text.isascii() and text.isalpha()}
            pairs.update((character, text) for text in texts)
    return pairs


def test_pattern_in_ascii_matches_everything_that_looks_like_it() -> None:
    pairs = ascii_lookalikes()
    around = [
        (pattern, text, character)
        for character, text in pairs
        for pattern in (
            f"x{text}y",
            f"x{text}*",
            f"*{text}y",
            f"x{text[:1]}*y",
            f"x*{text[-1:]}y",
            *([f"x{text[:1]}*{text[-1:]}y"] if len(text) > 1 else []),
        )
    ]

    assert len(pairs) > 1000
    assert [
        (pattern, character)
        for pattern, text, character in around
        if policy_patterns.read_as(pattern, f"x{character}y") != f"x{text}y"
    ] == []


@settings(deadline=None)
@given(one=SPELLED, other=SPELLED)
@example(one="лю*", other="лlo*")
@example(one="pay_*", other="РАУ_*")
def test_patterns_are_alike_in_both_directions_and_like_themselves(one: str, other: str) -> None:
    assert policy_patterns.are_alike(one, one)
    assert policy_patterns.are_alike(one, other) is policy_patterns.are_alike(other, one)


@pytest.mark.parametrize(
    ("pattern", "action", "read_as"),
    [
        ("pay*", "PAY_invoice", "pay_invoice"),
        ("PAY*", "pay_invoice", "pay_invoice"),
        ("pay*", "ｐａｙ_invoice", "pay_invoice"),
        ("pay*", "рay_invoice", "pay_invoice"),
        ("рay*", "pay_invoice", "рay_invoice"),
        ("*_mail", "delete＿MAIL", "delete_mail"),
        ("pay_x", "pay\u200b_x", "pay_x"),
        ("pay_x", "p\ufe0fay\u202e_\u3164x", "pay_x"),
        ("pay_x", " pay_x\u00a0", "pay_x"),
        ("pay_x", "pay\x00_x\n", "pay_x"),
        ("send mail", "send  mail", "send mail"),
        # One letter that looks like several, and one that looks like two in a row.
        ("pay_l", "pay_Ӏ", "pay_l"),
        ("pay_1*", "pay_Ӏ", "pay_1"),
        ("pay_i", "pay_Ӏ", "pay_i"),
        ("pay_0", "pay_О", "pay_0"),
        ("laes*", "læs_post", "laes_post"),
        ("læs*", "laes_post", "læs_post"),
        ("*laes*", "ælæs", "ælaes"),
        # Stars that begin or end within what a character looks like.
        ("wa*", "wꜳ_x", "waa_x"),
        ("wa*", "wꜽ_transfer", "way_transfer"),
        ("pa*", "pꜽ_invoice", "pay_invoice"),
        ("*y_invoice", "pꜽ_invoice", "pay_invoice"),
        ("p*y_invoice", "pꜽ_invoice", "pay_invoice"),
        ("delete_a*", "delete_æmail", "delete_aemail"),
        ("fs/*", "fs⫽x", "fs//x"),
        ("*_d*", "x_ʣ", "x_dz"),
        ("l*o", "ю", "lo"),
        ("øl*", "o\u0338l_x", "øl_x"),
        # Letters that look like a letter of another script, and that like an ASCII one.
        ("transfer*", "ᴛransfer", "transfer"),
        ("тransfer*", "ᴛransfer", "тransfer"),
        ("pay*", "ᴘᴀʏ_x", "pay_x"),
        ("send*", "sᴇɴᴅ_x", "send_x"),
        ("pay*", "🅿🅰🆈_x", "pay_x"),
        ("pay*", "⒫🅐🇾_x", "pay_x"),
        ("send*", "se\U0001d159nd_x", "send_x"),
        # Case that makes two letters of one, and the Turkish i in both forms.
        ("straße", "STRASSE", "strasse"),
        ("pay_invoice", "PAY_İNVOICE", "pay_invoice"),
        ("pay_invoice", "pay_ınvoıce", "pay_invoice"),
        ("ﬁle*", "file_x", "file_x"),
        ("가*", "\u1100\u1161_1", "가_1"),
        ("café", "cafe\u0301", "café"),
    ],
)
def test_other_spelling_is_read_as_the_pattern(pattern: str, action: str, read_as: str) -> None:
    assert policy_patterns.matches(pattern, action)
    assert policy_patterns.read_as(pattern, action) == read_as


@pytest.mark.parametrize(
    ("pattern", "action"),
    [
        ("v1", "vl"),
        ("vl", "vI"),
        ("O", "0"),
        ("rn", "m"),
        ("pay＊", "pay_invoice"),
        ("pay*", "раб_счёт"),
        ("cafe", "café"),
        ("schon", "schön"),
        ("결제*", "결재_승인"),
        ("삭제", "삭재"),
        ("각", "가"),
        ("delete_mail", "delete mail"),
        ("o*", "øl"),
        ("o*", "ơn"),
        ("*d*", "đăng"),
        ("c*", "ça"),
        ("*о", "отменю"),
        ("*lo", "отменить"),
        ("κοσμος", "κσσμος"),
    ],
)
def test_what_people_tell_apart_does_not_match(pattern: str, action: str) -> None:
    assert not policy_patterns.matches(pattern, action)


def test_stars_with_nothing_visible_between_them_are_one_star() -> None:
    assert policy_patterns.are_alike("pay*\u3164*", "pay*")
    assert policy_patterns.matches("pay*\u3164*", "PAY_x")
    assert not policy_patterns.are_alike("*pay*", "pay*")


def test_full_width_star_is_a_letter() -> None:
    assert policy_patterns.matches("pay＊", "pay*")
    assert not policy_patterns.are_alike("pay＊", "pay*")


@pytest.mark.parametrize(
    ("pattern", "action", "is_meant"),
    [
        ("delete_*", "delete_mail", True),
        ("delete_*", "delete_", True),
        ("delete_*", "Delete_mail", True),
        ("delete_*", "undelete_mail", False),
        ("delete_mail", "delete_mails", False),
        ("*_mail", "delete_mail", True),
        ("d*_*l", "delete_mail", True),
    ],
)
def test_star_matches_any_text_or_none(pattern: str, action: str, is_meant: bool) -> None:
    assert policy_patterns.matches(pattern, action) is is_meant


def test_pattern_that_would_keep_a_regular_expression_busy_for_years() -> None:
    assert not policy_patterns.matches("*a" * 63 + "b", "a" * 10_000)


@pytest.mark.parametrize("pattern", ["*" + "a" * 127, "*a" * 63 + "*b", "*" + "aæ" * 63 + "b"])
@pytest.mark.parametrize("letter", ["а", "ꜳ"])  # Cyrillic; one that looks like two
def test_no_pattern_compares_more_than_each_letter_with_each(
    pattern: str, letter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    are_alike = lookalikes.are_alike

    def counted(one: str, other: str) -> bool:
        nonlocal count
        count += 1
        return are_alike(one, other)

    monkeypatch.setattr(lookalikes, "are_alike", counted)

    assert not policy_patterns.matches(pattern, letter * 511 + "c")
    assert 0 < count <= 128 * 512


@settings(deadline=None)
@given(patterns=st.lists(PATTERN, min_size=1, unique=True))
def test_of_any_patterns_one_comes_first_in_whatever_order_they_come(patterns: list[str]) -> None:
    def rank(pattern: str) -> tuple[int, bool, int, str]:
        return policy_patterns.rank(pattern, "ab")

    first = min(patterns, key=rank)

    assert first == min(reversed(patterns), key=rank)
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

    assert sorted(shuffled, key=lambda pattern: policy_patterns.rank(pattern, "x")) == ordered


@pytest.mark.parametrize(
    ("action", "first"),
    [("pay_x", "pay_*"), ("Pay_x", "Pay_*"), ("PAY_x", "Pay_*"), ("pay_", "pay_*")],
)
def test_at_a_tie_the_match_as_written_comes_first(action: str, first: str) -> None:
    patterns = ["pay_*", "Pay_*"]

    assert min(patterns, key=lambda pattern: policy_patterns.rank(pattern, action)) == first


def test_match_as_written_counts_more_than_few_stars_and_less_than_literals() -> None:
    def rank(pattern: str) -> tuple[int, bool, int, str]:
        return policy_patterns.rank(pattern, "PAY_x")

    assert sorted(["pay_*", "P*AY*_*", "pay_x"], key=rank) == ["pay_x", "P*AY*_*", "pay_*"]
