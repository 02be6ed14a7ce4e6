"""A JSON value as HTML for people: members in order, long ones folded, secrets masked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from hitl.text import redact, sanitize

# Chosen: a longer text, or one of more lines, folds; so does a list or object of more members, or
# one that is nested deeper.
_MAX_CHARACTERS = 400
_MAX_LINES = 8
_MAX_MEMBERS = 40
_MAX_LEVELS = 5
# Chosen: what is seen of a folded text, about two lines.
_SUMMARY_CHARACTERS = 160


def html(value: Any) -> SafeString:
    """Return the whole value as HTML. A folded part is complete, and opens by a click or a key."""
    return _html(redact.masked(value), level=0)


def mask(masked: redact.Masked) -> SafeString:
    """Return the label in place of a secret, styled unlike any text."""
    return format_html('<span class="masked">{}</span>', masked.label)


def _html(value: Any, level: int) -> SafeString:
    match value:
        case redact.Masked():
            return mask(value)
        case str():
            return _text(value)
        case Mapping() | list() if not value:
            return _literal("{}" if isinstance(value, Mapping) else "[]")
        case Mapping():
            return _folded(_object(value, level), len(value), level)
        case list():
            return _folded(_array(value, level), len(value), level)
        case None | bool():
            return _literal({None: "null", True: "true", False: "false"}[value])
        case _:
            return _literal(str(value))


def _literal(text: str) -> SafeString:
    return format_html('<code class="literal">{}</code>', text)


def _object(value: Mapping[str, Any], level: int) -> SafeString:
    rows = ((sanitize.marked(name), _html(item, level + 1)) for name, item in value.items())
    return format_html(
        '<dl class="json">{}</dl>',
        format_html_join("", "<div><dt>{}</dt><dd>{}</dd></div>", rows),
    )


def _array(value: list[Any], level: int) -> SafeString:
    items = ((_html(item, level + 1),) for item in value)
    return format_html('<ol class="json">{}</ol>', format_html_join("", "<li>{}</li>", items))


def _folded(body: SafeString, members: int, level: int) -> SafeString:
    if level < _MAX_LEVELS and members <= _MAX_MEMBERS:
        return body
    count = ngettext("%(count)d member", "%(count)d members", members) % {"count": members}
    return format_html('<details class="fold"><summary>{}</summary>{}</details>', count, body)


def _text(text: str) -> SafeString:
    if not text:
        return format_html('<em class="quiet">{}</em>', _("empty text"))
    whole = sanitize.marked(text, is_multiline=True)
    if len(text) <= _MAX_CHARACTERS and text.count("\n") < _MAX_LINES:
        return whole
    return format_html(
        '<details class="fold"><summary>{}… <span class="quiet">{}</span></summary>{}</details>',
        # The summary is one line; the whole text keeps its line breaks.
        sanitize.marked(text[:_SUMMARY_CHARACTERS].replace("\n", " ")),
        _("%(count)d characters") % {"count": len(text)},
        whole,
    )
