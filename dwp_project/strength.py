"""Whether a secret can be guessed."""

from __future__ import annotations

import re
from itertools import pairwise

# RFC 7518, 3.2: a key of HS256 is at least as long as its hash.
MIN_SECRET_BYTES = 32
# Chosen: 32 random hexadecimal digits have fewer once in 25 million times.
_MIN_CHARACTERS = 8
# What examples, tests and templates write where a secret belongs.
_EXAMPLE = re.compile(
    r"change.?(?:me|this)|secret|passw(?:or)?d|example|placeholder|insecure"
    r"|replace.?(?:me|this|with)|your[-_.]|\btests?\b|dummy|sample|qwerty|letmein|<.+>|\$[{(]|\{\{",
    re.IGNORECASE,
)
# The prefix of the keys that Django generates for development.
_DJANGO_EXAMPLE = "django-insecure-"
# In a URL, what examples have for a password.
_EXAMPLE_PASSWORDS = {"password", "changeme", "change-me"}


def weakness_of(secret: str, *, least: int = MIN_SECRET_BYTES) -> str | None:
    """Return why `secret` can be guessed, as the end of a sentence that does not quote it.

    None if it cannot, as far as can be seen. `least` is in bytes.
    """
    if is_short := too_short(secret, least):
        return is_short
    if len(set(secret)) < _MIN_CHARACTERS or _has_period(secret, least) or _is_row(secret):
        return "repeats a few characters"
    if secret.startswith(_DJANGO_EXAMPLE) or _reads_like_an_example(secret, least):
        return "reads like an example"
    return None


def too_short(secret: str, least: int = MIN_SECRET_BYTES) -> str | None:
    """Return the end of a sentence if `secret` has fewer than `least` bytes, else None."""
    size = len(secret.encode())
    return f"has {size} bytes; at least {least} are needed" if size < least else None


def is_example_password(password: str | None) -> bool:
    """Say whether the password of a URL is one that documentation shows."""
    return (password or "").lower() in _EXAMPLE_PASSWORDS


def _has_period(secret: str, least: int) -> bool:
    """Say whether `secret` is something shorter than `least`, twice or more."""
    most = min(len(secret) // 2, least - 1)
    return any(secret.startswith(secret[period:]) for period in range(1, most + 1))


def _is_row(secret: str) -> bool:
    """Say whether three of four steps are to a neighbour, as in `abcdef` and `98765`."""
    steps = [abs(ord(a) - ord(b)) <= 1 for a, b in pairwise(secret)]
    return 4 * sum(steps) > 3 * len(steps)


def _reads_like_an_example(secret: str, least: int) -> bool:
    """Say whether `secret` has a word of an example, and too little beside it that looks random."""
    rest, words = _EXAMPLE.subn(" ", secret)
    return words > 0 and sum(map(len, filter(_is_mixed, re.findall(r"\w+", rest)))) < least


def _is_mixed(text: str) -> bool:
    has_digit = any(character.isdigit() for character in text)
    has_letter = any(character.isalpha() for character in text)
    return (has_digit and has_letter) or text not in (text.lower(), text.upper())
