"""Texts that look alike: how a text is folded before it is compared, and which characters imitate
others.

Which characters look alike says the `confusable-homoglyphs` library, whose data is that of
Unicode's TR39. It also merges ASCII characters, `1` with `l`; here those differ.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import NamedTuple

from hitl.text.sanitize import without_invisible

# On a letter that has a dot already, the combining dot above cannot be seen. `İ` folds to it.
_DOT_ABOVE = re.compile("(?<=[ijıȷіј])\u0307")
_SPACES = re.compile(" {2,}")
_WORD = re.compile(r"[^\W_]+")
# Scripts that writers of Chinese, Japanese and Korean mix with Latin letters in one word.
_MIXED_WITH_LATIN = frozenset({"HAN", "HIRAGANA", "KATAKANA", "BOPOMOFO", "HANGUL"})
_NO_SCRIPT = frozenset({"COMMON", "INHERITED"})


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
    shared = _characters_like(one) & _characters_like(other)
    if one.isascii() or other.isascii():
        return bool(shared)
    return any(not c.isascii() or _script(one) != _script(other) for c in shared)


def spellings(character: str) -> frozenset[str]:
    """Return the folded texts of several characters that a folded character looks like: `ae` of
    `æ`."""
    if character.isascii() or character not in _table():
        return frozenset()
    return frozenset(_table()[character].spellings)


def imitations(text: str) -> dict[str, str]:
    """Return the characters of `text` that imitate ASCII letters or digits, each with those that
    it looks like: `{"р": "p"}` of a `рay` with a Cyrillic letter.

    A word in another script imitates only if all of it could be ASCII, or if it mixes scripts, so
    ordinary words of other languages are left out.
    """
    if text.isascii():
        return {}
    return {
        character: like
        for word in _WORD.findall(text)
        for character in word
        if (like := _imitated(character)) and _may_deceive(character, word)
    }


def _fold_once(text: str) -> str:
    visible = without_invisible(unicodedata.normalize("NFKC", text))
    lower = unicodedata.normalize("NFKC", visible.casefold())
    return _SPACES.sub(" ", _DOT_ABOVE.sub("", lower))


def _may_deceive(character: str, word: str) -> bool:
    if _script(character) in ("LATIN", "COMMON"):
        return True
    if all(c.isascii() or _imitated(c) for c in word):
        return True
    scripts = {_script(c) for c in word} - _NO_SCRIPT
    return len(scripts) > 1 and not scripts - {"LATIN"} <= _MIXED_WITH_LATIN


@lru_cache(maxsize=4096)
def _imitated(character: str) -> str:
    """Return the ASCII letters and digits that a character imitates; none for an ASCII one."""
    if character.isascii():
        return ""
    compatible = unicodedata.normalize("NFKC", character)
    if compatible.isascii() and compatible.isalnum():
        return compatible
    folded = fold(character)
    like = _characters_like(folded) if len(folded) == 1 else ()
    return ", ".join(sorted((c for c in like if c.isascii() and c.isalnum()), reverse=True))


def _characters_like(character: str) -> set[str]:
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
    return table


def _add(entry: _Lookalikes, text: str) -> None:
    folded = fold(text)
    if len(folded) == 1:
        entry.characters.add(folded)
    elif folded:
        entry.spellings.add(folded)


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    from confusable_homoglyphs.categories import alias

    return str(alias(character))
