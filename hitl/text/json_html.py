"""A JSON value as HTML for people: members in order, long ones folded, secrets masked."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dwp_project.jsontext import MAX_DEPTH, compact
from hitl.text import kinds, redact, sanitize, text_html

# Chosen: of more members these are seen at first; the rest folds, as does what is nested deeper.
_MAX_MEMBERS, _SEEN_MEMBERS = 40, 30
_LEVELS_OF_A_FOLD = 5
# Chosen: what is nested deeper is not indented further, so that it has room on a narrow screen.
_MAX_INDENTED_LEVEL = 8
# Chosen: a table's rows and columns, and the characters of one of its cells.
_LEAST_ROWS, _MAX_COLUMNS, _MAX_CELL = 3, 12, 120
# Chosen: as many short values are written one behind the other.
_LEAST_SHORT, _MAX_SHORT = 6, 24
# The digits before a point or an exponent, if they are read more easily in groups.
_LONG_NUMBER = re.compile(r"(-?)(\d{5,})(\D.*|)")
# Chosen: the characters of Markdown that are formatted on one page, which takes half a second.
_MAX_MARKDOWN = 40_000
# What a name stands beside, where there is room; other values stand below theirs.
_MAX_BESIDE = 200
# Chosen: the characters of a longer name that are seen at first.
_MAX_NAME, _SEEN_NAME = 120, 80
# Stands in a text for a mask until that is an element, so that no text can spell one. Nobody can
# guess it, and neither JSON nor HTML escapes it.
_STAND_IN = secrets.token_hex(16)
_STANDING_IN = re.compile(f"{_STAND_IN}([0-9a-f]*)-")

Item = TypeVar("Item")


def html(value: Any) -> SafeString:
    """Return the whole value as HTML. A folded part is complete, and opens by a click or a key."""
    return html_of_masked(redact.masked(value))


def html_of_masked(value: Any) -> SafeString:
    """Return what `html` returns of a value that is masked already."""
    return _Renderer().render(value)


def exact(masked: Any, stored: str) -> SafeString:
    """Return the stored text of a masked value in one line, or its JSON with its secrets masked if
    it has any."""
    text = compact(redact.spelled_out(masked, _stand_in))
    return _with_masks(sanitize.exact(text if _STAND_IN in text else stored))


def exact_text(text: str) -> SafeString:
    """Return a text in one line with every character in its place and its secrets masked; empty if
    `html` shows it as it is."""
    masked = redact.masked(text)
    is_shown_so = sanitize.plain(text.replace("\n", "")) == text.replace("\n", "")
    if is_shown_so and not isinstance(masked, redact.JSONText) and kinds.moment_in(text) is None:
        return SafeString("")
    return _with_masks(sanitize.exact(redact.spelled_out(masked, _stand_in)))


def pretty(masked: Any) -> SafeString:
    """Return the indented JSON of a masked value."""
    return _with_masks(sanitize.pretty(redact.spelled_out(masked, _stand_in)))


def _stand_in(masked: redact.Masked) -> str:
    return f"{_STAND_IN}{masked.pattern.encode().hex()}-"


def _with_masks(page: SafeString) -> SafeString:
    return SafeString(
        _STANDING_IN.sub(lambda sign: mask(redact.Masked(bytes.fromhex(sign[1]).decode())), page)
    )


def mask(masked: redact.Masked) -> SafeString:
    """Return the label in place of a secret, styled unlike any text."""
    return format_html('<span class="masked">{}</span>', masked.label)


def member_name(name: str) -> SafeString:
    """Return the name of a member as HTML: in quotes if nobody saw where it begins or ends, and
    folded behind its beginning if it is long."""
    quote = SafeString("")
    if name.strip(' "') != name or not name:
        quote = SafeString('<span class="quiet note">"</span>')
    if len(name) <= _MAX_NAME:
        return format_html("{}{}{}", quote, sanitize.marked(name), quote)
    return format_html("{}{}{}", quote, text_html.name(name, _SEEN_NAME), quote)


class _Renderer:
    """Renders one value, and limits how much Markdown is formatted in it."""

    def __init__(self) -> None:
        self._markdown_left = _MAX_MARKDOWN

    def render(self, value: Any, level: int = 0, name: str = "") -> SafeString:
        match value:
            case redact.Masked():
                return mask(value)
            case redact.JSONText() if level + _depth(value.value) <= MAX_DEPTH:
                note = _("a text, which is JSON:")
                inner = self.render(value.value, level, name)
                return format_html('<span class="quiet note">{}</span> {}', note, inner)
            case str():
                return self._text(value, name)
            case Mapping() | list() if not value:
                return _literal("{}" if isinstance(value, Mapping) else "[]")
            case Mapping():
                return _folded(self._object(value, level), len(value), level)
            case list():
                return _folded(self._array(value, level, name), len(value), level)
            case None | bool():
                return _literal({None: "null", True: "true", False: "false"}[value])
            case _:
                return _number(str(value))

    def _text(self, text: str, name: str) -> SafeString:
        return text_html.html(text, name, may_format=self._may_format(text, name))

    def _may_format(self, text: str, name: str) -> bool:
        is_markdown = kinds.is_markdown(text, kinds.kind_of(text, name))
        if not is_markdown or len(text) > self._markdown_left:
            return False
        self._markdown_left -= len(text)
        return True

    def _object(self, value: Mapping[str, Any], level: int) -> SafeString:
        members = list(value.items())
        return _folded_behind_first(members, lambda part, _first: self._members(part, level))

    def _members(self, members: Iterable[tuple[str, Any]], level: int) -> SafeString:
        rows = (
            (
                "beside" if len(name) <= _MAX_NAME and _is_beside(item) else "below",
                _level_mark(level),
                member_name(name),
                self.render(item, level + 1, name),
            )
            for name, item in members
        )
        return format_html(
            '<dl class="json{}">{}</dl>',
            _flat(level),
            format_html_join("", '<div class="{}"><dt{}>{}</dt><dd>{}</dd></div>', rows),
        )

    def _array(self, value: list[Any], level: int, name: str) -> SafeString:
        if all(map(_is_short, value)) and len(value) >= _LEAST_SHORT:
            return _folded_behind_first(value, lambda part, _first: self._short_list(part, level))
        columns = _columns(value)
        return _folded_behind_first(
            value, lambda part, first: self._rows(part, first, columns, level, name)
        )

    def _short_list(self, values: list[Any], level: int) -> SafeString:
        items = ((self.render(item, level + 1),) for item in values)
        return format_html(
            '<ul class="json short">{}</ul>', format_html_join("", "<li>{}</li>", items)
        )

    def _rows(
        self, rows: list[Any], first: int, columns: Sequence[str], level: int, name: str
    ) -> SafeString:
        if columns:
            return self._table(rows, first, columns, level)
        items = ((self.render(item, level + 1, name),) for item in rows)
        return format_html(
            '<ol class="json{}"{}>{}</ol>',
            _flat(level),
            format_html(' start="{}"', first) if first > 1 else "",
            format_html_join("", "<li>{}</li>", items),
        )

    def _table(self, rows: list[Any], first: int, columns: Sequence[str], level: int) -> SafeString:
        head = format_html_join(
            "", '<th scope="col">{}</th>', ((member_name(name),) for name in columns)
        )
        lines = (
            (
                number,
                format_html_join(
                    "",
                    "<td>{}</td>",
                    ((self.render(row[name], level + 2, name),) for name in columns),
                ),
            )
            for number, row in enumerate(rows, first)
        )
        return format_html(
            '<div class="table-scroll" tabindex="0" role="region" aria-label="{}">'
            '<table class="json"><thead><tr>'
            '<th scope="col"><span class="visually-hidden">{}</span></th>{}</tr>'
            "</thead><tbody>{}</tbody></table></div>",
            _("Table"),
            _("No."),
            head,
            format_html_join("", '<tr><th scope="row">{}</th>{}</tr>', lines),
        )


@lru_cache(maxsize=1024)
def _literal(text: str) -> SafeString:
    return format_html('<code class="literal">{}</code>', text)


@lru_cache(maxsize=1024)
def _number(digits: str) -> SafeString:
    """Return a number with its digits in groups. Styles alone set them apart, so that what is
    copied is the number."""
    if not (number := _LONG_NUMBER.fullmatch(digits)):
        return _literal(digits)
    sign, whole, rest = number.groups()
    first = len(whole) % 3 or 3
    groups = [whole[:first], *(whole[n : n + 3] for n in range(first, len(whole), 3))]
    return format_html(
        '<code class="literal number">{}{}{}</code>',
        sign,
        format_html_join("", '<span class="group">{}</span>', ((group,) for group in groups)),
        rest,
    )


def _depth(value: Any) -> int:
    if isinstance(value, redact.JSONText):
        return _depth(value.value)
    if isinstance(value, Mapping | list):
        items = value.values() if isinstance(value, Mapping) else value
        return 1 + max(map(_depth, items), default=0)
    return 0


def _is_beside(value: Any) -> bool:
    """Say whether a value is short enough to stand beside its name."""
    if isinstance(value, str):
        is_json = isinstance(value, redact.JSONText)
        return len(value) <= _MAX_BESIDE and "\n" not in value and not is_json
    return not isinstance(value, Mapping | list) or not value


def _flat(level: int) -> str:
    return " flat" if level > _MAX_INDENTED_LEVEL else ""


def _level_mark(level: int) -> SafeString | str:
    """Return the attribute by which styles write the level, from 1, of what is not indented
    further."""
    return format_html(' data-level="{}"', level + 1) if level > _MAX_INDENTED_LEVEL else ""


def _is_short(value: Any) -> bool:
    if isinstance(value, str):
        return 0 < len(value) <= _MAX_SHORT and "\n" not in value
    return not isinstance(value, Mapping | list)


def _columns(rows: list[Any]) -> list[str]:
    """Return the columns of a table of these rows; none if they are better read as a list."""
    if len(rows) < _LEAST_ROWS or not all(isinstance(row, Mapping) for row in rows):
        return []
    columns = list(rows[0])
    if not 1 <= len(columns) <= _MAX_COLUMNS:
        return []
    is_table = all(
        row.keys() == rows[0].keys() and all(map(_fits_a_cell, row.values())) for row in rows
    )
    return columns if is_table else []


def _fits_a_cell(value: Any) -> bool:
    if isinstance(value, str):
        return (
            len(value) <= _MAX_CELL and "\n" not in value and not isinstance(value, redact.JSONText)
        )
    return not isinstance(value, Mapping | list) or not value


def _folded(body: SafeString, members: int, level: int) -> SafeString:
    if not level or level % _LEVELS_OF_A_FOLD:
        return body
    count = ngettext("%(count)d member", "%(count)d members", members) % {"count": members}
    return format_html('<details class="fold"><summary>{}</summary>{}</details>', count, body)


def _folded_behind_first(
    items: list[Item], render: Callable[[list[Item], int], SafeString]
) -> SafeString:
    """Return items as HTML by a function of some of them and the number of their first; of many,
    those behind the first few are folded."""
    if len(items) <= _MAX_MEMBERS:
        return render(items, 1)
    return _with_rest(
        render(items[:_SEEN_MEMBERS], 1),
        render(items[_SEEN_MEMBERS:], _SEEN_MEMBERS + 1),
        len(items) - _SEEN_MEMBERS,
    )


def _with_rest(seen: SafeString, rest: SafeString, members: int) -> SafeString:
    text = ngettext("%(count)d more member", "%(count)d more members", members)
    return format_html(
        '{}<details class="fold rest"><summary>{}</summary>{}</details>',
        seen,
        text % {"count": members},
        rest,
    )
