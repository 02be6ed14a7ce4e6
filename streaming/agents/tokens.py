"""Cuts a prompt into tokens: words, Hangul, numbers, addresses, quoted text and marks.

Every pattern is bounded or possessive, so the time is linear in the length of the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What a token is; the names are the groups of the pattern below."""

    QUOTE = "quote"
    URL = "url"
    EMAIL = "email"
    BRANCH = "branch"
    FILE = "file"
    MONEY = "money"
    TIME = "time"
    VERSION = "version"
    REFERENCE = "reference"
    CODE = "code"
    PERCENT = "percent"
    NUMBER = "number"
    WORD = "word"
    HANGUL = "hangul"
    OTHER = "other"
    MARK = "mark"


class Token(NamedTuple):
    """One token; `text` is folded to lower case for words, `start` and `end` are positions."""

    kind: Kind
    text: str
    start: int
    end: int
    is_spaced: bool


_FILE_ENDINGS = (
    "txt|pdf|docx?|xlsx?|pptx?|hwpx?|csv|tsv|json|ya?ml|toml|ini|cfg|conf|env|log|md|rst|html?|css"
    "|xml|sql|db|sqlite|py|js|tsx?|jsx|java|kt|go|rs|rb|php|c|h|cpp|sh|bat|exe|dll|zip|tar|gz|tgz"
    "|7z|rar|png|jpe?g|gif|svg|webp|bmp|mp[34]|mov|avi|wav|iso|img|bak|tmp|pem|key|crt"
)
_PATH = (
    r"(?:[\w.~-]{0,60}+/){0,8}+(?:[\w-]{1,80}+\.){1,4}+"
    rf"(?:{_FILE_ENDINGS})(?![A-Za-z0-9_])"
)
_FILE = re.compile(_PATH)
_ASCII_QUOTE = r'"[^"\n]{1,200}+"'
_QUOTES = r"""
    “[^”\n]{1,200}+” | 「[^」\n]{1,200}+」 | 『[^』\n]{1,200}+』 | `[^`\n]{1,200}+`
  | ‘[^’\n]{1,200}+’(?!\w) | (?<!\w)'[^'\n]{1,100}+'(?![A-Za-z0-9_])
"""
_WON = r"(?:원(?=[을를은이의에도만씩짜어으까입정권치]|[^가-힣]|\Z)|달러|유로|엔(?![가-힣]{2}))"
# A number is read whole or not at all: an approver must never see a part of an amount.
_SUM = r"(?:\d{1,30}+(?:,\d{3}(?!\d)){0,9}+(?:\.\d{1,20}+)?(?![\d]|[.,]\d))"
_MONEY = rf"""
    (?:US\$|[$€£¥₩])\s?{_SUM}
      (?:\s?(?:k|m|thousand|million)\b)?
  | (?<!\w)(?i:USD|EUR|GBP|JPY|KRW)\s?{_SUM}(?![\w.]\d)
  | (?<![\w.]){_SUM}(?:k\b)?\s?(?:(?:thousand|million)\s)?
      (?i:USD|EUR|GBP|JPY|KRW|dollars?|bucks|euros?|pounds?|won|yen)\b
  | (?<![\w.]){_SUM}\s?[십백천만억조]{{0,3}}+
      (?:\s?\d{{1,4}}\s?[십백천만억]{{1,3}}+){{0,3}}+\s?{_WON}
  | (?<![가-힣])[일이삼사오육칠팔구십백천만억]{{0,7}}[십백천만억]\s?{_WON}
"""
_TIME = r"""
    (?<![\w.])\d{4}[-./]\d{1,2}[-./]\d{1,2}(?!\d) | (?<!\w)\d{1,2}:\d{2}(?::\d{2})?(?!\d)
"""
_BRANCH = r"""
    (?<![\w/])(?:feature|feat|bugfix|hotfix|chore|(?:release|fix)(?=/[A-Za-z0-9]{0,40}[-._\d]))
    (?:/[A-Za-z0-9_]++(?:-[A-Za-z0-9_]++|\.\d++)*+){1,4}+
"""
# A label that goes on as a capitalised word is the next sentence without its space.
_LABEL = r"\.(?:[a-z0-9-]++(?![A-Z])|[A-Z0-9-]++(?![a-z]))"
# Most words stand between spaces and can be nothing else: they are tried first.
_GROUPS = rf"""
  (?P<plain>(?!(?i:USD|EUR|GBP|JPY|KRW)\s)[A-Za-z]++(?=[ ]|\Z))
| (?P<url>https?://[!-~]++)
| (?P<email>[A-Za-z0-9._%+-]{{1,64}}+@[A-Za-z0-9-]{{1,63}}+(?:{_LABEL}){{1,8}}+)
| (?P<branch>{_BRANCH})
| (?P<file>(?<![\w/]){_PATH})
| (?P<money>{_MONEY})
| (?P<time>{_TIME})
| (?P<version>(?<![\w.])(?:[vV]\d{{1,5}}+(?:\.\d{{1,5}}+){{0,4}}+|\d{{1,3}}+(?:\.\d{{1,5}}+){{2}})
    (?:-[a-z0-9]{{1,20}}+(?:\.\d{{1,5}}+)?)?(?![A-Za-z0-9_]|\.\d))
| (?P<reference>\#\d{{1,15}}+(?!\d)|(?<!\w)(?:PR|MR)[\#-]?\d{{1,12}}+(?![A-Za-z0-9_]))
| (?P<code>(?<!\w)[A-Z]{{2,10}}+(?:-\d{{1,12}}+){{1,4}}+(?![A-Za-z0-9_-])
    |(?<![\w-])\d{{2,8}}+(?:-\d{{2,12}}+){{1,4}}+(?![A-Za-z0-9_-]))
| (?P<percent>\d{{1,6}}+(?:\.\d{{1,4}}+)?\s?%)
| (?P<number>\d++(?:,\d{{3}}(?!\d))*+(?:\.\d++)?)
| (?P<word>[A-Za-z_À-ɏ][A-Za-z0-9_À-ɏ]*+(?:['’-][A-Za-z0-9_À-ɏ]++)*+)
| (?P<hangul>[가-힣]++)
| (?P<other>[^\W가-힣A-Za-z0-9_]++)
| (?P<mark>(?P<sign>[^\w\s])(?:\s?(?P=sign))*+)
"""
_WITH_ASCII_QUOTES = re.compile(rf"(?P<quote>{_ASCII_QUOTE}|{_QUOTES})|{_GROUPS}", re.VERBOSE)
_WITHOUT_ASCII_QUOTES = re.compile(rf"(?P<quote>{_QUOTES})|{_GROUPS}", re.VERBOSE)

_KINDS = {kind.value: kind for kind in Kind} | {"plain": Kind.WORD}

NEWLINE = "\n"
_EXACT_DIGITS = 15
_LONGEST_NUMBER = 100
SENTENCE_ENDS = frozenset(".!?;")
_SAME_MARK = str.maketrans("。！？，、·…；：", ".!?,,,.;:")

_INVISIBLE = dict.fromkeys(
    code
    for first, end in (
        (0x00, 0x20),
        (0x7F, 0xA0),
        (0xAD, 0xAE),
        (0x200B, 0x2010),
        (0x2060, 0x2065),
        (0xFEFF, 0xFF00),
        (0xD800, 0xE000),
    )
    for code in range(first, end)
)
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_CLEAN: dict[int, int | None] = {
    **_INVISIBLE,
    **_FULL_WIDTH,
    0x09: 0x20,
    0x0A: 0x0A,
    0x0D: 0x0A,
    0x2028: 0x0A,
    0x2029: 0x0A,
}
_JAMO = re.compile("([\u1100-\u1112])([\u1161-\u1175])([\u11a8-\u11c2]?)")


def clean(text: str) -> str:
    """Return `text` without invisible characters, Hangul composed, full width made normal.

    What a person cannot see must not part a word: `de<zero width>lete` deletes as well.
    Hangul is composed here and not by Unicode normalisation, whose time can be quadratic.
    """
    return _JAMO.sub(_composed, text.translate(_CLEAN))


def whole(text: str) -> int | str | None:
    """Return the whole number that `text` is; as text where JSON readers would round it."""
    plain = text.replace(",", "")
    if not plain.isdigit():
        return None
    return int(plain) if len(plain) <= _EXACT_DIGITS else plain[:_LONGEST_NUMBER]


def _composed(match: re.Match[str]) -> str:
    lead, vowel, tail = match.groups()
    index = ((ord(lead) - 0x1100) * 21 + ord(vowel) - 0x1161) * 28
    return chr(0xAC00 + index + (ord(tail) - 0x11A7 if tail else 0))


def sentences(text: str) -> Iterator[list[Token]]:
    """Yield the sentences of cleaned `text`, each with its closing mark.

    A line's end is a mark inside the sentence: it may part two wishes or break one.
    """
    sentence: list[Token] = []
    for token in _tokens(text):
        sentence.append(token)
        if token.kind is Kind.MARK and token.text in SENTENCE_ENDS:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _tokens(text: str) -> Iterator[Token]:
    start = 0
    for line in text.split(NEWLINE):
        # An odd quotation mark is a slip, and a slip must not hide what follows it.
        pattern = _WITHOUT_ASCII_QUOTES if line.count('"') % 2 else _WITH_ASCII_QUOTES
        before = -1
        for match in pattern.finditer(line):
            kind = _KINDS[match.lastgroup or ""]
            value = match[0]
            if kind is Kind.WORD:
                value = value.lower().replace("’", "'")
            elif kind is Kind.MARK:
                value = match["sign"].translate(_SAME_MARK)
            elif kind is Kind.QUOTE:
                value = value[1:-1].strip()
                kind = Kind.FILE if _FILE.fullmatch(value) else kind
            spaced = match.start() != before
            before = match.end()
            yield Token(kind, value, start + match.start(), start + before, spaced)
        start += len(line) + 1
        yield Token(Kind.MARK, NEWLINE, start - 1, start, True)
