"""JSON as text: a compact form for the wire, a canonical form for digests. No number is changed on
the way: one that no float has is kept as it was written."""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Any

from django.utils.translation import gettext as _

# A nested value deeper than this is refused before anything walks it recursively (wire.md, 2).
MAX_DEPTH = 64


class InvalidJSON(ValueError):
    """The text is not JSON that every client and database can carry; the message says why."""


@dataclass(frozen=True, slots=True)
class ExactNumber:
    """A number that `float` would change, such as `1e-400`, as the JSON text that it came as."""

    literal: str

    def __str__(self) -> str:
        return self.literal


# What `json` writes in place of an exact number until it is replaced by its literal. Nobody can
# guess it, and no other process writes it.
_STAND_IN = secrets.token_hex(16)
_STANDING_IN = re.compile(f'"{_STAND_IN}([^"]*)"')


def compact(value: Any) -> str:
    """Return `value` as JSON without spaces, members in their given order, non-ASCII as is."""
    return _dumps(value, separators=(",", ":"))


def canonical(value: Any) -> str:
    """Return the one JSON text of `value` that digests are taken of: sorted, compact, UTF-8."""
    return _dumps(value, separators=(",", ":"), sort_keys=True)


def indented(value: Any) -> str:
    """Return `value` as JSON for people, two spaces for each level."""
    return _dumps(value, indent=2)


def digest(value: Any) -> str:
    """Return the SHA-256 of `canonical(value)` as 64 hexadecimal digits."""
    return sha256(canonical(value).encode()).hexdigest()


def parse(text: bytes | str, *, is_as_written: bool = False) -> Any:
    """Parse JSON; raise `InvalidJSON` for whatever cannot be stored and sent on unchanged.

    Refused besides malformed text: NaN and infinities, half surrogate pairs, members named
    twice, nesting deeper than `MAX_DEPTH`. A number that no float has is an `ExactNumber`; if
    `is_as_written`, so is one that `compact` would write in another way, as `1E2`.
    """
    try:
        raw = text.decode("utf-8") if isinstance(text, bytes) else text
    except UnicodeDecodeError as exc:
        raise InvalidJSON(_("it is not UTF-8")) from exc
    if _depth(raw) > MAX_DEPTH:
        raise InvalidJSON(
            _("it is nested more than %(levels)d levels deep") % {"levels": MAX_DEPTH}
        )
    try:
        value = json.loads(
            raw,
            object_pairs_hook=_unique,
            parse_float=_as_written if is_as_written else _number,
            parse_int=_reader_of_integers(raw),
        )
        compact(value).encode()
    except UnicodeEncodeError as exc:
        raise InvalidJSON(_("it holds half of a surrogate pair")) from exc
    except InvalidJSON:
        raise
    except json.JSONDecodeError as exc:
        raise InvalidJSON(_("syntax error at character %(place)d") % {"place": exc.pos}) from exc
    except ValueError as exc:  # NaN, infinity, a number of more than 4,300 digits
        raise InvalidJSON(_("it holds a number that JSON cannot carry")) from exc
    return value


def loads(text: str) -> Any:
    """Parse JSON that was written here; unlike `parse`, refuse nothing of it."""
    return json.loads(text, parse_float=_number, parse_int=_reader_of_integers(text))


def _dumps(value: Any, **form: Any) -> str:
    has_exact = False

    def stand_in(other: Any) -> str:
        nonlocal has_exact
        if not isinstance(other, ExactNumber):
            raise TypeError(f"{type(other).__name__} is no JSON value")
        has_exact = True
        return _STAND_IN + other.literal

    # `default` is called for what `json` does not know: without such numbers it costs nothing.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=stand_in, **form)
    return _STANDING_IN.sub(r"\1", text) if has_exact else text


def _number(literal: str) -> float | ExactNumber:
    """Return a number with a fraction or an exponent: a float if it is written with the same value.

    Infinity for one that is too large, which `compact` refuses.
    """
    number = float(literal)
    if repr(number) == literal or math.isinf(number):
        return number
    try:
        is_same = Decimal(literal) == Decimal(repr(number))
    except InvalidOperation:  # an exponent of more than 18 digits
        is_same = False
    return number if is_same else ExactNumber(literal)


def _as_written(literal: str) -> float | ExactNumber:
    number = _number(literal)
    # Infinity is left for `compact` to refuse.
    is_same = repr(number) == literal or number in (math.inf, -math.inf)
    return number if is_same else ExactNumber(literal)


def _reader_of_integers(text: str) -> Callable[[str], int | ExactNumber] | None:
    """Return what reads the integers of a text: nothing of ours, which would take longer, unless it
    may have a negative zero."""
    return _integer if "-0" in text else None


def _integer(literal: str) -> int | ExactNumber:
    return ExactNumber(literal) if literal == "-0" else int(literal)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidJSON(_("an object names a member twice"))
    return members


def _depth(text: str) -> int:
    """Return the deepest nesting of brackets outside strings, without recursion."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                in_string = False
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest
