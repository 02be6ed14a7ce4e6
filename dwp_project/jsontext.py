"""JSON as text: a compact form for the wire, a canonical form for digests."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from django.utils.translation import gettext as _

# A nested value deeper than this is refused before anything walks it recursively (wire.md, 2).
MAX_DEPTH = 64


class InvalidJSON(ValueError):
    """The text is not JSON that every client and database can carry; the message says why."""


def compact(value: Any) -> str:
    """Return `value` as JSON without spaces, members in their given order, non-ASCII as is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def canonical(value: Any) -> str:
    """Return the one JSON text of `value` that digests are taken of: sorted, compact, UTF-8."""
    return json.dumps(
        value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True
    )


def digest(value: Any) -> str:
    """Return the SHA-256 of `canonical(value)` as 64 hexadecimal digits."""
    return sha256(canonical(value).encode()).hexdigest()


def parse(text: bytes | str) -> Any:
    """Parse JSON; raise `InvalidJSON` for whatever cannot be stored and sent on unchanged.

    Refused besides malformed text: NaN and infinities, half surrogate pairs, members named
    twice, nesting deeper than `MAX_DEPTH`.
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
        value = json.loads(raw, object_pairs_hook=_unique)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as exc:
        raise InvalidJSON(_("it holds half of a surrogate pair")) from exc
    except InvalidJSON:
        raise
    except json.JSONDecodeError as exc:
        raise InvalidJSON(_("syntax error at character %(place)d") % {"place": exc.pos}) from exc
    except ValueError as exc:  # NaN, infinity, a number of more than 4,300 digits
        raise InvalidJSON(_("it holds a number that JSON cannot carry")) from exc
    return value


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
