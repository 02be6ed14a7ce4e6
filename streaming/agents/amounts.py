"""Reads an amount of money, English or Korean, as a number and an ISO 4217 currency."""

from __future__ import annotations

import re

# The largest integer that every JSON reader keeps.
_LARGEST_EXACT = 2**53

Amount = dict[str, int | float | str]

_CURRENCIES = {
    "$": "USD", "us$": "USD", "usd": "USD", "dollar": "USD", "dollars": "USD", "bucks": "USD",
    "달러": "USD", "€": "EUR", "eur": "EUR", "euro": "EUR", "euros": "EUR", "유로": "EUR",
    "£": "GBP", "gbp": "GBP", "pound": "GBP", "pounds": "GBP", "¥": "JPY", "jpy": "JPY",
    "yen": "JPY", "엔": "JPY", "₩": "KRW", "krw": "KRW", "won": "KRW", "원": "KRW",
}  # fmt: skip
_FACTORS = {"k": 1_000, "thousand": 1_000, "m": 1_000_000, "million": 1_000_000}
_DIGITS = {digit: value for value, digit in enumerate("일이삼사오육칠팔구", start=1)}
_SMALL_UNITS = {"십": 10, "백": 100, "천": 1_000}
_LARGE_UNITS = {"만": 10_000, "억": 10**8, "조": 10**12}
_PIECES = re.compile(r"[\d,]*\d(?:\.\d+)?|[A-Za-z]+\$?|[$€£¥₩]|달러|유로|[가-힣]")


def amount(text: str) -> Amount:
    """Return `{"amount", "currency"}` of a money token such as `$1,200.50` or `3만 5천원`."""
    total: float = 0
    section: float = 0
    digits: float | None = None
    currency, factor = "", 1
    for piece in _PIECES.findall(text.lower()):
        if piece[0].isdigit():
            digits = _number(piece)
        elif piece in _CURRENCIES:
            currency = _CURRENCIES[piece]
        elif piece in _FACTORS:
            factor = _FACTORS[piece]
        elif piece in _DIGITS:
            digits = _DIGITS[piece]
        elif piece in _SMALL_UNITS:
            section += (1 if digits is None else digits) * _SMALL_UNITS[piece]
            digits = None
        elif piece in _LARGE_UNITS:
            section += digits or 0
            total += (section or 1) * _LARGE_UNITS[piece]
            section, digits = 0, None
    value = (total + section + (digits or 0)) * factor
    return {"amount": _plain(value), "currency": currency}


def _number(text: str) -> int | float:
    plain = text.replace(",", "")
    return float(plain) if "." in plain else int(plain)


def _plain(value: float) -> int | float | str:
    """Return whole amounts as integers, 1200 and not 1200.0; what JSON readers round, as text."""
    rounded = round(value, 6)
    plain = int(rounded) if rounded == int(rounded) else rounded
    return plain if plain <= _LARGEST_EXACT else str(plain)
