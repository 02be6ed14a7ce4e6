"""A JSON value as HTML: long parts fold, and nothing of them is left out."""

from __future__ import annotations

import html

from hitl.text import json_html


def test_long_texts_fold_and_are_whole() -> None:
    text = "word " * 500

    page = html.unescape(json_html.html({"note": text.strip()}))

    assert "<details" in page
    assert text.strip() in page
