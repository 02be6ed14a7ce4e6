"""Texts that look alike: how a text is folded before it is compared, and which characters look like
others.

Which characters look alike says the `confusable-homoglyphs` library, whose data is that of
Unicode's TR39. It also merges ASCII characters, `1` with `l`; here those differ.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import NamedTuple

from hitl.text.invisible import without_invisible

# On a letter that has a dot already, the combining dot above cannot be seen. `İ` folds to it.
DOT_ABOVE = re.compile("(?<=[ijıȷіј])\u0307")
_SPACES = re.compile(" {2,}")
# Letters and numbers in circles, squares or parentheses, and the letters of flags, by their names:
# NFKC leaves `🅿` and `❶` as they are, and makes `(p)` of `⒫`. A `⑴` stays `(1)`.
_ENCLOSED_NAME = re.compile(r"(?:LETTER|CIRCLED|SQUARED) ([A-Z]+)$|CIRCLED .*(?:DIGIT|NUMBER) ")
ENCLOSED = {
    code: match[1] or str(int(unicodedata.numeric(chr(code))))
    for first, last in ((0x2460, 0x24FF), (0x2776, 0x2793), (0x1F100, 0x1F1FF))
    for code in range(first, last + 1)
    if (match := _ENCLOSED_NAME.search(unicodedata.name(chr(code), "")))
}
# The small capitals for which TR39 has no ASCII letter.
_SMALL_CAPITALS = {"ꜰ": "f", "ᴋ": "k", "ᴍ": "m", "ɴ": "n", "ꞯ": "q"}


class _Lookalikes(NamedTuple):
    """The folded characters that one folded character looks like, and the folded texts of several
    characters."""

    characters: set[str]
    spellings: set[str]


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """Return `text` as it is compared: without case, compatibility forms, invisible characters and
    repeated spaces.

    Look-alikes stay, because one may look like several characters: `are_alike` compares them.
    """
    while (folded := _fold_once(text)) != text:
        text = folded
    return text


def are_alike(one: str, other: str) -> bool:
    """Say whether two folded characters are the same or look alike.

    Two ASCII characters never do. Characters of one script that share nothing but an ASCII
    look-alike differ as well, because its readers tell them apart: Greek `σ` and `ο`.
    """
    if one == other:
        return True
    if one.isascii() and other.isascii():
        return False
    shared = characters_like(one) & characters_like(other)
    if one.isascii() or other.isascii():
        return bool(shared)
    return any(not c.isascii() or script(one) != script(other) for c in shared)


def are_texts_alike(one: str, other: str) -> bool:
    """Say whether two texts are compared as one, or look alike character by character."""
    folded, its = fold(one), fold(other)
    return len(folded) == len(its) and all(map(are_alike, folded, its))


def spellings(character: str) -> frozenset[str]:
    """Return the folded texts of several characters that a folded character looks like: `ae` of
    `æ`."""
    if character.isascii() or character not in _table():
        return frozenset()
    return frozenset(_table()[character].spellings)


@lru_cache(maxsize=4096)
def script(character: str) -> str:
    """Return the script of a character, such as LATIN, or COMMON for one of all scripts."""
    from confusable_homoglyphs.categories import alias

    return str(alias(character))


def _fold_once(text: str) -> str:
    visible = without_invisible(unicodedata.normalize("NFKC", text.translate(ENCLOSED)))
    lower = unicodedata.normalize("NFKC", visible.casefold())
    return _SPACES.sub(" ", DOT_ABOVE.sub("", lower))


def characters_like(character: str) -> set[str]:
    like = None if character.isascii() else _table().get(character)
    return {character} if like is None else like.characters


@cache
def _table() -> dict[str, _Lookalikes]:
    """Return the look-alikes of every character outside ASCII that has any."""
    # Read at the first comparison that needs it: the data is a megabyte.
    from confusable_homoglyphs.confusables import confusables_data

    table: dict[str, _Lookalikes] = {}
    for text, homoglyphs in confusables_data.items():
        character = fold(text)
        if len(character) != 1 or character.isascii():
            continue
        entry = table.setdefault(character, _Lookalikes({character}, set()))
        for homoglyph in homoglyphs:
            _add(entry, homoglyph["c"])
            if homoglyph["c"].isascii():
                # `І` looks like `l`, and so like `I` and `1`.
                for further in confusables_data.get(homoglyph["c"], ()):
                    if further["c"].isascii() and len(further["c"]) == 1:
                        _add(entry, further["c"])
    for character, letter in _SMALL_CAPITALS.items():
        table.setdefault(character, _Lookalikes({character}, set())).characters.add(letter)
    _add_second_step(table)
    return table


def _add_second_step(table: dict[str, _Lookalikes]) -> None:
    """Add the ASCII letters that letters look like by way of another: `ᴛ` looks like `т`, whose
    capital looks like `T`."""
    in_ascii = {
        character: {c for c in entry.characters if c.isascii()}
        for character, entry in table.items()
    }
    for character, entry in table.items():
        if character.isalpha() and not any(map(str.isalnum, in_ascii[character])):
            for letter in filter(str.isalpha, tuple(entry.characters)):
                entry.characters.update(filter(str.isalpha, in_ascii.get(letter, ())))


def _add(entry: _Lookalikes, text: str) -> None:
    folded = fold(text)
    if len(folded) == 1:
        entry.characters.add(folded)
    elif folded:
        entry.spellings.add(folded)
