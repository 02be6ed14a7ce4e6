"""Text from outside as it is shown: what would not be seen has a mark, the rest stays."""

from __future__ import annotations

import html
import json
import re

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from hitl.text import sanitize


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
        ("\U0001d159\U00016fe4", "⟨U+1D159⟩⟨U+16FE4⟩"),
        ("a" + " " * 12 + "b", "a⟨12 spaces⟩b"),
        ("", ""),
    ],
)
def test_plain_marks_what_is_not_seen(text: str, shown: str) -> None:
    assert sanitize.plain(text) == shown


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


def test_marked_tells_of_line_breaks_that_push_text_out_of_sight() -> None:
    shown = sanitize.marked("a" + "\n" * 400 + "b", is_multiline=True)

    assert "⟨400 line breaks⟩" in shown
    assert shown.count("\n") == 3


def test_pretty_marks_texts_and_leaves_its_own_indentation() -> None:
    shown = sanitize.pretty({"a": {"b": [{"to\u202e": "x     y\nz"}]}})

    assert (
        "\n        &quot;to"
        '<span class="unseen">⟨U+202E⟩</span>&quot;: '
        '&quot;x<span class="unseen">⟨5 spaces⟩</span>y\\nz&quot;\n' in shown
    )


@given(st.text())
def test_plain_leaves_nothing_unseen(text: str) -> None:
    shown = sanitize.plain(text)

    assert shown.isprintable()
    assert not re.search(r" {3}", shown)


@given(st.dictionaries(st.text(), st.text()))
def test_pretty_is_the_value_but_for_its_marks(value: dict[str, str]) -> None:
    shown = re.sub("<span class=.unseen.>.*?</span>", "", sanitize.pretty(value))

    seen = [c for c in json.dumps(value, ensure_ascii=False) if c == sanitize.plain(c) != " "]
    lines = html.unescape(shown.removeprefix('<pre class="shown">').removesuffix("</pre>"))
    assert [c for c in lines if c not in " \n"] == seen
