"""What a reader sees of a piece of HTML."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser

from hitl.text import sanitize

_VOID = ("br", "hr", "img", "input")
# What the page says itself, besides the text from outside.
_LABELS = ("summary", "unseen", "gap", "note", "host", "formatted", "visually-hidden")


class Page(HTMLParser):
    """Reads HTML: its tags with their attributes, all text, and the text without the page's own
    labels and marks."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.all_text = ""
        self.text = ""
        self.marks: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == [], "every element is closed"

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag in _VOID:
            return
        names = [tag, *(attributes.get("class") or "").split()]
        # A letter that imitates is marked, and there.
        label = next((n for n in names if n in _LABELS and "imitating" not in names), "")
        self._open.append(label or (self._open[-1] if self._open else ""))

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self.all_text += data
        inside = self._open[-1] if self._open else ""
        if not inside:
            self.text += data
        elif inside in ("unseen", "gap"):
            self.marks.append(data)


def seen(text: str) -> str:
    """Return a text without what has a mark, without combining marks, of which one letter shows
    only a few, and without spaces and line breaks."""
    return "".join(
        c
        for c in text
        if c == sanitize.plain(c) and not c.isspace() and unicodedata.category(c)[0] != "M"
    )
