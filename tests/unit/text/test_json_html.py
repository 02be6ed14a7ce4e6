"""A JSON value as HTML: long parts fold, and nothing of them is left out."""

from __future__ import annotations

import html
import re

from hitl.text import json_html


def test_long_texts_fold_and_are_whole() -> None:
    text = "word " * 500

    page = html.unescape(json_html.html({"note": text.strip()}))

    assert "<details" in page
    assert text.strip() in page


def test_lists_and_objects_fold_when_they_are_long_or_deep() -> None:
    deep: object = "leaf"
    for _ in range(6):
        deep = {"in": deep}

    assert "<details" not in json_html.html({"a": list(range(40))})
    assert "41 members" in json_html.html({"a": list(range(41))})
    assert json_html.html(deep).count("<details") == 1


def test_members_stay_in_order_and_literals_are_written_as_json() -> None:
    page = json_html.html({"z": None, "a": True, "m": 1.5, "e": {}, "l": [], "t": ""})

    assert re.findall(r"<dt>.*?>(\w)<", page) == ["z", "a", "m", "e", "l", "t"]
    assert re.findall(r'<code class="literal">(.*?)</code>', page) == [
        "null",
        "true",
        "1.5",
        "{}",
        "[]",
    ]
    assert "empty text" in page


def test_names_and_texts_are_escaped_and_marked() -> None:
    page = json_html.html({"<b>": "\u202e<i>"})

    assert "&lt;b&gt;" in page
    assert "⟨U+202E⟩" in page
    assert "<i>" not in page


def test_secret_is_shown_as_its_label() -> None:
    page = json_html.html({"password": {"deep": "hunter2"}})

    assert '<span class="masked">' in page
    assert "hunter2" not in page
