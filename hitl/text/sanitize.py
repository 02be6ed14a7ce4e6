"""Text from outside made safe to show: what hides, reorders or imitates gets a mark, and no
character can move or hide the text around it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from html import escape
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from dwp_project.jsontext import indented
from hitl.text import imitation
from hitl.text.invisible import INVISIBLE

# Chosen: as many spaces in a row are ordinary where a text is a title or an option, which a browser
# shows without its spaces.
_MAX_PLAIN_SPACES = 2
# Chosen: 41 spaces, 11 tabs or 6 line breaks in a row may push something out of sight. Blank lines
# count, whatever spaces they are made of.
_GAP = re.compile(r" {41,}")
_GAP_OF_LINES = re.compile(r"\t{11,}|[ \t]{41,}|\n(?:[ \t]*\n){5,}")
# What most texts are, and what needs no look at its characters.
_ORDINARY = re.compile(r"[!-~]*+(?: {1,40}+[!-~]++)*+ {0,40}+")
_NOT_ASCII = re.compile(r"[^ -~]+")
_NOT_ASCII_OF_LINES = re.compile(r"[^ -~\n\t]+")
_VARIATION_SELECTOR, _JOINER, _KEYCAP = "\ufe0f", "\u200d", "\u20e3"
# Chosen: what one cluster shows, which browsers neither break nor keep within its line. Burmese has
# six marks on a letter, Greek three above each other, Sanskrit five letters joined, and an emoji
# four symbols.
_MAX_MARKS, _MAX_STACKED, _MAX_JOINED = 6, 4, 6
# The classes of marks that are drawn above or below the ones before, and of what joins letters.
_STACKED, _JOINS_LETTERS = (220, 230), 9
# What extends a cluster by Unicode's rules, though it is no combining mark by its category: Thai
# and Lao `am`, the voicing marks of half width, the modifiers of skin.
_FURTHER_MARKS = frozenset("\u0e33\u0eb3\uff9e\uff9f🏻🏼🏽🏾🏿")
# What makes one cluster with the same behind it: the first, middle and last letters of a Hangul
# syllable, and what stands before a letter of Indic scripts.
_JOINED_ALIKE = tuple(
    re.compile(f"[{characters}]")
    for characters in (
        "\u1100-\u115f\ua960-\ua97c",
        "\u1160-\u11a7\ud7b0-\ud7c6",
        "\u11a8-\u11ff\ud7cb-\ud7fb",
        "\u0d4e\U000111c2\U000111c3\U0001193f\U00011941\U00011a3a\U00011a84-\U00011a89\U00011d46",
    )
)


def plain(text: str) -> str:
    """Return `text` in one line, with a mark such as ⟨U+202E⟩ for each invisible character."""
    pieces = []
    place = 0
    for start, end in [*_surplus(text), (len(text), len(text))]:
        pieces += [
            _spaces(count)
            if character == " " and count > _MAX_PLAIN_SPACES
            else mark or character * count
            for character, count, mark in _runs(text[place:start])
        ]
        pieces.append(_surplus_label(text[start:end]))
        place = end
    return "".join(pieces)


def marked(text: str, *, is_multiline: bool = False) -> SafeString:
    """Return `text` as HTML that wraps, in which marks are styled unlike text.

    Line breaks and tabs are kept where `is_multiline`, and marked elsewhere.
    """
    return format_html('<span class="shown">{}</span>', html(text, is_multiline=is_multiline))


def html(text: str, *, is_multiline: bool = True) -> SafeString:
    """Return what `marked` returns without an element around it."""
    if is_multiline:
        text = text.replace("\r\n", "\n")
    if _ORDINARY.fullmatch(text):
        return _escaped(text)
    pieces: list[str] = []
    place = 0
    for gap in (_GAP_OF_LINES if is_multiline else _GAP).finditer(text):
        pieces += [
            _without_gaps(text[place : gap.start()], is_multiline=is_multiline),
            _gap(gap[0]),
        ]
        place = gap.end()
    pieces.append(_without_gaps(text[place:], is_multiline=is_multiline))
    return SafeString("".join(pieces))


def filled(text: str, **values: str) -> SafeString:
    """Return a text of ours as HTML, with values in its `%(name)s`; those that are HTML stay so."""
    escaped = {name: conditional_escape(value) for name, value in values.items()}
    return SafeString(conditional_escape(text) % escaped)


def exact(text: str) -> SafeString:
    """Return a text of one line as HTML with every space in its place; only what is invisible,
    what imitates and what is too much for one cluster has a mark, which names it."""
    return format_html('<pre class="shown exact">{}</pre>', _without_gaps(text, is_exact=True))


def pretty(value: Any) -> SafeString:
    """Return a JSON value as indented HTML, with the marks of `marked` in its texts."""
    lines = []
    # JSON escapes line breaks inside texts, so each line begins with its indentation.
    for line in indented(value).split("\n"):
        text = line.lstrip(" ")
        lines.append(" " * (len(line) - len(text)) + html(text, is_multiline=False))
    return format_html('<pre class="shown">{}</pre>', SafeString("\n".join(lines)))


def _without_gaps(text: str, *, is_multiline: bool = False, is_exact: bool = False) -> SafeString:
    """Return a text without gaps as HTML."""
    marks: list[tuple[int, int, SafeString]] = []
    kept, place = "", 0
    for start, end in _surplus(text):
        kept += text[place:start]
        surplus = text[start:end]
        label = "".join(_named(c, n) for c, n in _counted(surplus)) if is_exact else ""
        mark = format_html('<span class="unseen">{}</span>', label or _surplus_label(surplus))
        marks.append((len(kept), len(kept), mark))
        place = end
    kept += text[place:]
    for start, like in imitation.in_text(kept):
        end = start + 1
        while kept[start].isascii() and end < len(kept) and _in_cluster(kept[end])[0]:
            end += 1
        marks.append((start, end, _imitating(kept[start:end], like, get_language())))
    pieces: list[str] = []
    place = 0
    for start, end, mark in sorted(marks, key=itemgetter(0, 1)):
        pieces += [*_pieces(kept[place:start], is_multiline=is_multiline), mark]
        place = end
    pieces += _pieces(kept[place:], is_multiline=is_multiline)
    return SafeString("".join(pieces))


@lru_cache(maxsize=1024)
def _imitating(characters: str, like: str, _language: str | None) -> SafeString:
    """Return a letter as HTML with a mark that says, in the reader's language, what it imitates."""
    label = _("%(letter)s (U+%(code)s) looks like %(like)s")
    code = " U+".join(f"{ord(character):04X}" for character in characters)
    title = label % {"letter": characters, "code": code, "like": like}
    return format_html('<span class="unseen imitating" title="{}">{}</span>', title, characters)


def _escaped(text: str) -> SafeString:
    """Return a text as HTML; Django's own `escape` takes five times as long."""
    return SafeString(escape(text))


def _pieces(text: str, *, is_multiline: bool) -> Iterator[SafeString]:
    """Yield the pieces of a text as HTML."""
    place = 0
    for run in (_NOT_ASCII_OF_LINES if is_multiline else _NOT_ASCII).finditer(text):
        yield _escaped(text[place : run.start()])
        yield from _outside_ascii(run[0])
        place = run.end()
    yield _escaped(text[place:])


def _outside_ascii(text: str) -> Iterator[SafeString]:
    marks: list[str] = []
    for character, count, mark in _runs(text):
        if mark:
            marks.append(mark)
            continue
        if marks:
            yield format_html('<span class="unseen">{}</span>', "".join(marks))
            marks = []
        yield _escaped(character * count)
    if marks:
        yield format_html('<span class="unseen">{}</span>', "".join(marks))


def _runs(text: str) -> Iterator[tuple[str, int, str]]:
    """Yield each character, how often it stands in a row, and its mark if it is invisible."""
    place = 0
    for character, count in _counted(text):
        before, after = text[place - 1 : place], text[place + count : place + count + 1]
        place += count
        is_seen = count == 1 and _is_of_emoji(character, before, after)
        yield character, count, "" if is_seen else _mark(character, count)


def _counted(text: str) -> Iterator[tuple[str, int]]:
    """Yield each character, and how often it stands in a row."""
    return ((character, sum(1 for _same in run)) for character, run in groupby(text))


def _surplus(text: str) -> list[tuple[int, int]]:
    """Return where a text has more of one cluster than is shown, each with its end.

    A cluster grows by marks, by letters behind one that joins them, by emojis behind a joiner, and
    by letters of Hangul.
    """
    if text.isascii():
        return []
    places: list[tuple[int, int]] = []
    marks = stacked = joined = 0
    before = 0
    is_joined = False
    for place, character in enumerate(text):
        is_mark, combining, alike = _in_cluster(character)
        if character == _JOINER:
            is_joined = True
            is_surplus = joined > _MAX_JOINED
        elif is_mark:
            marks += 1
            stacked += combining in _STACKED
            is_joined = is_joined or combining == _JOINS_LETTERS
            is_surplus = joined > _MAX_JOINED or marks > _MAX_MARKS or stacked > _MAX_STACKED
        else:
            joined = joined + 1 if is_joined or (alike and alike == before) else 1
            is_surplus = joined > _MAX_JOINED
            marks = stacked = 0
            before, is_joined = alike, False
        if is_surplus and places and places[-1][1] == place:
            places[-1] = places[-1][0], place + 1
        elif is_surplus:
            places.append((place, place + 1))
    return places


@lru_cache(maxsize=4096)
def _in_cluster(character: str) -> tuple[bool, int, int]:
    """Return whether a character is a mark on the one before, its combining class, and the number
    of its kind in `_JOINED_ALIKE`, from 1."""
    is_mark = unicodedata.category(character)[0] == "M" or character in _FURTHER_MARKS
    kinds = (n for n, kind in enumerate(_JOINED_ALIKE, 1) if kind.match(character))
    return is_mark, unicodedata.combining(character), next(kinds, 0)


def _surplus_label(surplus: str) -> str:
    if not surplus:
        return ""
    if all(_in_cluster(character)[0] for character in surplus):
        text = ngettext("⟨%(count)d combining mark⟩", "⟨%(count)d combining marks⟩", len(surplus))
    else:
        text = ngettext(
            "⟨%(count)d joined character⟩", "⟨%(count)d joined characters⟩", len(surplus)
        )
    return text % {"count": len(surplus)}


def _mark(character: str, count: int) -> str:
    """Return the mark of an invisible character, or an empty text for one that is seen."""
    if character.isprintable() and character not in INVISIBLE:
        return ""
    return _named(character, count)


def _named(character: str, count: int) -> str:
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
