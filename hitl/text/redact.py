"""Masks secrets in JSON values that people read: which members, and by which pattern.

Only what is shown is masked. What is stored, digested and sent on stays as it is.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from dwp_project.jsontext import compact
from hitl.text import kinds
from hitl.text.invisible import without_invisible

# Chosen: how many texts in each other are read as JSON. Each may nest as deep as JSON may, and
# Python calls no deeper than a thousand functions.
_MAX_TEXTS = 3
# Chosen: longer names are looked at each time, so that few of them fill no memory.
_MAX_CACHED_NAME = 200
# Chosen: of a longer text that is JSON, only the beginning is masked where no more is shown.
_MAX_MASKED_WHOLE = 1_000


@dataclass(frozen=True, slots=True)
class Masked:
    """Takes the place of a secret, and contains nothing of it."""

    # The glob of HITL_REDACT that the member's name matches; none for a text that is JSON in more
    # texts than are read, where nobody looked for secrets.
    pattern: str = ""

    @property
    def label(self) -> str:
        """Return the text that is shown in place of the secret."""
        if not self.pattern:
            return _("masked by HITL_REDACT: too many texts in each other to look into")
        return _("masked by HITL_REDACT: %(pattern)s") % {"pattern": self.pattern}


class JSONText(str):
    """A text that is JSON, with labels in place of secrets, and the value that it is the JSON of,
    masked."""

    __slots__ = ("has_secrets", "value")

    value: Any
    has_secrets: bool


Spell = Callable[[Masked], str]


def masked(value: Any) -> Any:
    """Return a JSON value with a `Masked` in place of every value whose member's name, at any
    depth, matches a glob of `HITL_REDACT`.

    So it is in a text that is JSON, which becomes a `JSONText`. What is JSON in more than a few
    texts is masked as a whole.
    """
    return _masked(value, _MAX_TEXTS)


def _masked(value: Any, texts: int) -> Any:
    if isinstance(value, Mapping):
        return {
            name: Masked(pattern) if (pattern := pattern_for(name)) else _masked(item, texts)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_masked(item, texts) for item in value]
    if isinstance(value, str) and (inner := kinds.json_in(value)) is not None:
        return _json_text(value, _masked(inner, texts - 1), inner) if texts else Masked()
    return value


def _json_text(text: str, hidden: Any, value: Any) -> JSONText:
    has_secrets = hidden != value
    json_text = JSONText(compact(spelled_out(hidden)) if has_secrets else text)
    json_text.value, json_text.has_secrets = hidden, has_secrets
    return json_text


def spelled_out(value: Any, spell: Spell = lambda masked: f"⟨{masked.label}⟩") -> Any:
    """Return what `masked` returned as plain JSON, with a text in place of each `Masked`."""
    if isinstance(value, Masked):
        return spell(value)
    if isinstance(value, JSONText):
        return compact(spelled_out(value.value, spell)) if value.has_secrets else str(value)
    if isinstance(value, Mapping):
        return {name: spelled_out(item, spell) for name, item in value.items()}
    if isinstance(value, list):
        return [spelled_out(item, spell) for item in value]
    return value


def beginning(value: Any, length: int) -> str:
    """Return at least `length` of the first characters of a value, or all: of a text itself, else
    of its compact JSON, with labels in place of secrets. No more of the value is read than that
    takes; but a text that is JSON is parsed, and then spelled anew."""
    pieces = _spelled_text(value, length) if isinstance(value, str) else _spelled(value, length)
    text = ""
    for piece in pieces:
        text += piece
        if len(text) > length:
            break
    return text


def _spelled_text(text: str, length: int) -> Iterator[str]:
    if len(text) <= _MAX_MASKED_WHOLE:
        yield str(spelled_out(masked(text)))
    elif (inner := kinds.json_in(text)) is None:
        yield text[: length + 1]
    else:
        yield from _spelled(inner, length)


def _spelled(value: Any, length: int) -> Iterator[str]:
    """Yield the pieces of a value's compact JSON."""
    if isinstance(value, Masked):
        yield compact(spelled_out(value))
    elif isinstance(value, Mapping):
        sign = "{"
        for name, item in value.items():
            yield f"{sign}{compact(name[: length + 1])}:"
            pattern = pattern_for(name)
            yield from _spelled(Masked(pattern) if pattern else item, length)
            sign = ","
        yield "}" if value else "{}"
    elif isinstance(value, list | tuple):
        sign = "["
        for item in value:
            yield sign
            yield from _spelled(item, length)
            sign = ","
        yield "]" if value else "[]"
    elif isinstance(value, str):
        yield compact("".join(_spelled_text(value, length))[: length + 1])
    else:
        yield compact(value)


def pattern_for(name: str) -> str | None:
    """Return the first glob of `HITL_REDACT` that the member's name matches.

    Upper and lower case, invisible characters, and `-`, `_` or space between words make no
    difference.
    """
    patterns = tuple(settings.HITL_REDACT)
    if len(name) > _MAX_CACHED_NAME:
        return _first_match(name, patterns)
    return _cached_match(name, patterns)


def _first_match(name: str, patterns: tuple[str, ...]) -> str | None:
    normalized = _normalized(name)
    return next((glob for glob, match in _matchers(patterns) if match(normalized)), None)


_cached_match = lru_cache(maxsize=4096)(_first_match)


@lru_cache(maxsize=8)
def _matchers(patterns: tuple[str, ...]) -> list[tuple[str, Callable[[str], object]]]:
    return [(glob, re.compile(translate(_normalized(glob))).match) for glob in patterns]


def _normalized(name: str) -> str:
    visible = without_invisible(unicodedata.normalize("NFKC", name))
    return visible.casefold().replace("-", "_").replace(" ", "_")
