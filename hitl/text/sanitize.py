"""Text from outside made safe to show: invisible characters get a mark, and none of them can move
or hide the text around it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dwp_project.jsontext import indented
from hitl.text.invisible import INVISIBLE

# Chosen: as many in a row are ordinary text; more of them may push something out of sight.
_MAX_SPACES = 2
_MAX_LINE_BREAKS = 3


def plain(text: str) -> str:
    """Return `text` in one line, with a mark such as ⟨U+202E⟩ for each invisible character."""
    return "".join(piece for _marks, piece in _pieces(text))


def marked(text: str, *, is_multiline: bool = False) -> SafeString:
    """Return `text` as HTML that wraps, in which marks are styled unlike text.

    Line breaks are kept where `is_multiline`, and marked elsewhere.
    """
    return format_html('<span class="shown">{}</span>', _html(text, is_multiline=is_multiline))


def pretty(value: Any) -> SafeString:
    """Return a JSON value as indented HTML, with the marks of `marked` in its texts."""
    lines = []
    # JSON escapes line breaks inside texts, so each line begins with its indentation.
    for line in indented(value).split("\n"):
        text = line.lstrip(" ")
        lines.append((" " * (len(line) - len(text)), _html(text)))
    return format_html('<pre class="shown">{}</pre>', format_html_join("\n", "{}{}", lines))


def _html(text: str, *, is_multiline: bool = False) -> SafeString:
    stretches = groupby(_pieces(text, is_multiline=is_multiline), key=lambda piece: piece[0])
    return format_html_join(
        "",
        "{}",
        (
            (format_html('<span class="unseen">{}</span>', joined) if is_mark else joined,)
            for is_mark, pieces in stretches
            for joined in ["".join(piece for _is_mark, piece in pieces)]
        ),
    )


def _pieces(text: str, *, is_multiline: bool = False) -> Iterator[tuple[bool, str]]:
    """Yield the pieces of `text`, each with whether it is a mark."""
    for character, run in groupby(text):
        count = sum(1 for _same in run)
        if character == " " and count > _MAX_SPACES:
            yield True, _("⟨%(count)d spaces⟩") % {"count": count}
        elif character == "\n" and is_multiline:
            if count > _MAX_LINE_BREAKS:
                yield True, _("⟨%(count)d line breaks⟩") % {"count": count}
            yield False, "\n" * min(count, _MAX_LINE_BREAKS)
        elif character.isprintable() and character not in INVISIBLE:
            yield False, character * count
        else:
            times = f" ×{count}" if count > 1 else ""
            yield True, f"⟨U+{ord(character):04X}{times}⟩"
