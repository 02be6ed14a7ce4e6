"""Text from outside made safe to show: what hides, reorders or imitates gets a mark, and no
character can move or hide the text around it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from django.utils.html import conditional_escape, format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dwp_project.jsontext import indented
from hitl.text import lookalikes
from hitl.text.invisible import INVISIBLE

# Chosen: as many spaces in a row are ordinary where a text is a title or an option, which a browser
# shows without its spaces.
_MAX_PLAIN_SPACES = 2
# Chosen: 41 spaces, 11 tabs or 6 line breaks in a row may push something out of sight. Blank lines
# count, whatever spaces they are made of.
_GAP = re.compile(r" {41,}")
_GAP_OF_LINES = re.compile(r"\t{11,}|[ \t]{41,}|\n(?:[ \t]*\n){5,}")
_NOT_ASCII = re.compile(r"[^ -~]+")
_NOT_ASCII_OF_LINES = re.compile(r"[^ -~\n\t]+")
_VARIATION_SELECTOR, _JOINER, _KEYCAP = "\ufe0f", "\u200d", "\u20e3"


def plain(text: str) -> str:
    """Return `text` in one line, with a mark such as ⟨U+202E⟩ for each invisible character."""
    return "".join(
        _spaces(count)
        if character == " " and count > _MAX_PLAIN_SPACES
        else mark or character * count
        for character, count, mark in _runs(text)
    )


def marked(text: str, *, is_multiline: bool = False) -> SafeString:
    """Return `text` as HTML that wraps, in which marks are styled unlike text.

    Line breaks and tabs are kept where `is_multiline`, and marked elsewhere.
    """
    return format_html('<span class="shown">{}</span>', html(text, is_multiline=is_multiline))


def html(text: str, *, is_multiline: bool = True) -> SafeString:
    """Return what `marked` returns without an element around it."""
    if is_multiline:
        text = text.replace("\r\n", "\n")
    pieces = []
    place = 0
    for gap in (_GAP_OF_LINES if is_multiline else _GAP).finditer(text):
        pieces += [
            _without_gaps(text[place : gap.start()], is_multiline=is_multiline),
            _gap(gap[0]),
        ]
        place = gap.end()
    pieces.append(_without_gaps(text[place:], is_multiline=is_multiline))
    return format_html_join("", "{}", ((piece,) for piece in pieces))


def filled(text: str, **values: str) -> SafeString:
    """Return a text of ours as HTML, with values in its `%(name)s`; those that are HTML stay so."""
    escaped = {name: conditional_escape(value) for name, value in values.items()}
    return SafeString(conditional_escape(text) % escaped)


def exact(text: str) -> SafeString:
    """Return a text of one line as HTML with every space in its place; only what is invisible and
    what imitates has a mark."""
    return format_html('<pre class="shown exact">{}</pre>', _without_gaps(text))


def pretty(value: Any) -> SafeString:
    """Return a JSON value as indented HTML, with the marks of `marked` in its texts."""
    lines = []
    # JSON escapes line breaks inside texts, so each line begins with its indentation.
    for line in indented(value).split("\n"):
        text = line.lstrip(" ")
        lines.append((" " * (len(line) - len(text)), html(text, is_multiline=False)))
    return format_html('<pre class="shown">{}</pre>', format_html_join("\n", "{}{}", lines))


def _without_gaps(text: str, *, is_multiline: bool = False) -> SafeString:
    """Return a text without gaps as HTML."""
    pieces: list[tuple[str]] = []
    place = 0
    for position, like in lookalikes.deceptive_letters(text):
        letter = text[position]
        label = _("%(letter)s (U+%(code)s) looks like %(like)s")
        title = label % {"letter": letter, "code": f"{ord(letter):04X}", "like": like}
        pieces += _pieces(text[place:position], is_multiline=is_multiline)
        pieces.append(
            (format_html('<span class="unseen imitating" title="{}">{}</span>', title, letter),)
        )
        place = position + 1
    pieces += _pieces(text[place:], is_multiline=is_multiline)
    return format_html_join("", "{}", pieces)


def _pieces(text: str, *, is_multiline: bool) -> Iterator[tuple[str]]:
    """Yield the pieces of a text, marks as HTML."""
    place = 0
    for run in (_NOT_ASCII_OF_LINES if is_multiline else _NOT_ASCII).finditer(text):
        yield (text[place : run.start()],)
        yield from _outside_ascii(run[0])
        place = run.end()
    yield (text[place:],)


def _outside_ascii(text: str) -> Iterator[tuple[str]]:
    marks: list[str] = []
    for character, count, mark in _runs(text):
        if mark:
            marks.append(mark)
            continue
        if marks:
            yield (format_html('<span class="unseen">{}</span>', "".join(marks)),)
            marks = []
        yield (character * count,)
    if marks:
        yield (format_html('<span class="unseen">{}</span>', "".join(marks)),)


def _runs(text: str) -> Iterator[tuple[str, int, str]]:
    """Yield each character, how often it stands in a row, and its mark if it is invisible."""
    place = 0
    for character, run in groupby(text):
        count = sum(1 for _same in run)
        before, after = text[place - 1 : place], text[place + count : place + count + 1]
        place += count
        is_seen = count == 1 and _is_of_emoji(character, before, after)
        yield character, count, "" if is_seen else _mark(character, count)


def _mark(character: str, count: int) -> str:
    """Return the mark of an invisible character, or an empty text for one that is seen."""
    if character.isprintable() and character not in INVISIBLE:
        return ""
    times = f" ×{count}" if count > 1 else ""
    return f"⟨U+{ord(character):04X}{times}⟩"


def _is_of_emoji(character: str, before: str, after: str) -> bool:
    """Say whether an invisible character only makes an emoji of the ones beside it, as in ⚠️."""
    if character == _VARIATION_SELECTOR:
        return _is_symbol(before) or after == _KEYCAP
    if character == _JOINER:
        return (_is_symbol(before) or before == _VARIATION_SELECTOR) and _is_symbol(after)
    return False


def _is_symbol(character: str) -> bool:
    if not character or character in INVISIBLE:
        return False
    # The modifiers of skin are `Sk`.
    return unicodedata.category(character) in ("So", "Sm", "Sk")


def _gap(text: str) -> SafeString:
    """Return the quiet mark of spaces or line breaks that may push text out of sight."""
    mark = '<span class="gap">{}</span>'
    lines = text.count("\n")
    if lines:
        label = _("⟨%(count)d line breaks⟩") % {"count": lines}
        return format_html(f"\n{mark}\n", label)
    if "\t" in text:
        return format_html(mark, _("⟨%(count)d spaces and tabs⟩") % {"count": len(text)})
    return format_html(mark, _spaces(len(text)))


def _spaces(count: int) -> str:
    return _("⟨%(count)d spaces⟩") % {"count": count}
