"""Text from outside as it is shown: what would not be seen has a mark, the rest stays."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from dwp_project.jsontext import compact
from hitl.text import sanitize
from tests.unit.text.pages import Page, seen


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("delete_mail", "delete_mail"),
        ("메일 3통을  삭제할까요? 👍", "메일 3통을  삭제할까요? 👍"),
        ("\u202eliam", "⟨U+202E⟩liam"),
        ("\u2066a\u2069", "⟨U+2066⟩a⟨U+2069⟩"),
        ("ad\u200bmin", "ad⟨U+200B⟩min"),
        ("a" + "\u200b" * 500, "a⟨U+200B ×500⟩"),
        ("\ufeff\x00\x1b\x7f", "⟨U+FEFF⟩⟨U+0000⟩⟨U+001B⟩⟨U+007F⟩"),
        ("a\tb\r\nc\u2028", "a⟨U+0009⟩b⟨U+000D⟩⟨U+000A⟩c⟨U+2028⟩"),
        ("a\u00a0b\u3000c", "a⟨U+00A0⟩b⟨U+3000⟩c"),
        ("\U000e0041\ud800", "⟨U+E0041⟩⟨U+D800⟩"),
        # `str.isprintable` calls these printable.
        ("\u3164\u115f\u2800\ufe0f\u034f", "⟨U+3164⟩⟨U+115F⟩⟨U+2800⟩⟨U+FE0F⟩⟨U+034F⟩"),
        ("a\ufffcb", "a⟨U+FFFC⟩b"),
        ("\U0001d159\U00016fe4", "⟨U+1D159⟩⟨U+16FE4⟩"),
        ("a" + " " * 12 + "b", "a⟨12 spaces⟩b"),
        # An emoji is one character to its reader.
        ("⚠️ 1️⃣ 👩\u200d💻", "⚠️ 1️⃣ 👩\u200d💻"),
        ("a\ufe0f\u200db", "a⟨U+FE0F⟩⟨U+200D⟩b"),
        ("", ""),
    ],
)
def test_plain_marks_what_is_not_seen(text: str, shown: str) -> None:
    assert sanitize.plain(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("safe" + "\u0301\u0302\u0303" * 20, "safe\u0301\u0302\u0303\u0301⟨56 combining marks⟩"),
        ("ก" + "\u0e47" * 120 + "x", "ก" + "\u0e47" * 6 + "⟨114 combining marks⟩x"),
        ("ก" + "\u0e33" * 8, "ก" + "\u0e33" * 6 + "⟨2 combining marks⟩"),
        ("\u1100" * 60, "\u1100" * 6 + "⟨54 joined characters⟩"),
        ("✔\u200d" * 70 + "✔", "✔\u200d" * 5 + "✔⟨U+200D⟩⟨129 joined characters⟩"),
        ("🆗\u200d" * 70 + "🆗", "🆗\u200d" * 5 + "🆗⟨U+200D⟩⟨129 joined characters⟩"),
        ("👍" + "\U0001f3fb" * 7, "👍" + "\U0001f3fb" * 6 + "⟨1 combining mark⟩"),
        ("क\u094d" * 20 + "क", "क\u094d" * 6 + "⟨29 joined characters⟩"),
        ("ཀ\u0f90" * 2, "ཀ\u0f90" * 2),
    ],
)
def test_one_cluster_shows_no_more_than_languages_need(text: str, shown: str) -> None:
    assert sanitize.plain(text) == shown
    assert Page(sanitize.marked(text)).all_text == shown


def test_exact_names_what_is_too_much_for_one_cluster() -> None:
    shown = sanitize.exact("o" + "\u033f" * 7 + "\u0301")

    assert '<span class="unseen">⟨U+033F ×3⟩⟨U+0301⟩</span></pre>' in shown


@pytest.mark.parametrize(
    "text",
    [
        "👩🏻\u200d❤️\u200d💋\u200d👨🏽",
        "👨\u200d👩\u200d👧\u200d👦 🇰🇷🇰🇷🇰🇷🇰🇷🇰🇷",
        "मैं कार्त्स्न्य और राष्ट्रीय",
        "ที่นี่ น้ำ เมื่อวันก่อน",
        "မြွှော် ကျွန်ုပ်တို့",
        "བསྒྲུབས་ ཧཱུྃ",
        "בְּרֵאשִׁ֖ית בָּרָ֣א",
        "مُحَمَّدٌ رَّسُولُ",
        unicodedata.normalize("NFD", "삭제할까요? Việt ᾧ đưỡng"),
    ],
)
def test_clusters_of_real_languages_are_whole(text: str) -> None:
    assert sanitize.plain(text) == text


def test_marks_are_in_the_readers_language() -> None:
    with translation.override("ko"):
        assert sanitize.plain("a" + " " * 3) == "a⟨공백 3개⟩"


def test_marked_is_escaped_and_tells_a_mark_from_text_that_spells_one() -> None:
    assert (
        sanitize.marked("<b>\u202e⟨U+202E⟩")
        == '<span class="shown">&lt;b&gt;<span class="unseen">⟨U+202E⟩</span>⟨U+202E⟩</span>'
    )


def test_marked_keeps_line_breaks_where_lines_are_expected() -> None:
    assert sanitize.marked("a\nb", is_multiline=True) == '<span class="shown">a\nb</span>'
    assert "⟨U+000A⟩" in sanitize.marked("a\nb")


def test_marked_keeps_spaces_tabs_and_lines_that_push_nothing_out_of_sight() -> None:
    text = "a" + " " * 40 + "b\n\n\n\n\nc\td"

    assert sanitize.marked(text, is_multiline=True) == f'<span class="shown">{text}</span>'


@pytest.mark.parametrize(
    ("gap", "mark"),
    [
        (" " * 41, "⟨41 spaces⟩"),
        ("\n" * 400, "⟨400 line breaks⟩"),
        ("\n \t\n" * 3 + "\n", "⟨7 line breaks⟩"),
        ("\t" * 11, "⟨11 spaces and tabs⟩"),
        (" \t" * 21, "⟨42 spaces and tabs⟩"),
    ],
)
def test_gap_that_may_push_text_out_of_sight_has_a_quiet_mark(gap: str, mark: str) -> None:
    shown = sanitize.marked(f"a{gap}b", is_multiline=True)

    assert f'<span class="gap">{mark}</span>' in shown
    assert "unseen" not in shown
    assert gap not in shown
    assert shown.count("\n") <= 2


def test_letters_of_another_script_in_a_word_are_marked_and_named() -> None:
    shown = sanitize.marked("Pay аdmin of раураl.com")

    letter = '<span class="unseen imitating" title="а (U+0430) looks like a">а</span>'
    assert f"Pay {letter}dmin of " in shown
    assert shown.count("imitating") == 6


def test_exact_keeps_every_space_and_marks_what_is_invisible() -> None:
    text = compact({"a": " " * 500 + "\u202e\n"})

    assert sanitize.exact(text) == (
        '<pre class="shown exact">{&quot;a&quot;:&quot;'
        + " " * 500
        + '<span class="unseen">⟨U+202E⟩</span>\\n&quot;}</pre>'
    )


def test_pretty_marks_texts_and_leaves_its_own_indentation() -> None:
    shown = sanitize.pretty({"a": {"b": [{"to\u202e": "x     y\nz"}]}})

    assert (
        "\n        &quot;to"
        '<span class="unseen">⟨U+202E⟩</span>&quot;: '
        "&quot;x     y\\nz&quot;\n" in shown
    )


@given(st.text())
def test_plain_leaves_nothing_unseen(text: str) -> None:
    # A joiner of two emojis stays.
    shown = sanitize.plain(text).replace("\u200d", "")

    assert shown.isprintable()
    assert not re.search(r" {3}", shown)


@given(st.text(), st.booleans())
def test_marked_is_the_text_but_for_its_marks(text: str, is_multiline: bool) -> None:
    assert seen(Page(sanitize.marked(text, is_multiline=is_multiline)).text) == seen(text)


@given(st.dictionaries(st.text(), st.text()))
def test_pretty_and_exact_are_the_value_but_for_their_marks(value: dict[str, str]) -> None:
    text = json.dumps(value, ensure_ascii=False)

    assert seen(Page(sanitize.pretty(value)).text) == seen(text)
    assert seen(Page(sanitize.exact(text)).text) == seen(text)
