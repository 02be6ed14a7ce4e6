"""Texts that look alike: how a text is folded before it is compared, and which characters imitate
others.

Which characters look alike says the `confusable-homoglyphs` library, whose data is that of
Unicode's TR39. It also merges ASCII characters, `1` with `l`; here those differ.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple

from hitl.text.invisible import without_invisible

# On a letter that has a dot already, the combining dot above cannot be seen. `İ` folds to it.
_DOT_ABOVE = re.compile("(?<=[ijıȷіј])\u0307")
_SPACES = re.compile(" {2,}")
# Letters and numbers in circles, squares or parentheses, and the letters of flags, by their names:
# NFKC leaves `🅿` and `❶` as they are, and makes `(p)` of `⒫`. A `⑴` stays `(1)`.
_ENCLOSED_NAME = re.compile(r"(?:LETTER|CIRCLED|SQUARED) ([A-Z]+)$|CIRCLED .*(?:DIGIT|NUMBER) ")
_ENCLOSED = {
    code: match[1] or str(int(unicodedata.numeric(chr(code))))
    for first, last in ((0x2460, 0x24FF), (0x2776, 0x2793), (0x1F100, 0x1F1FF))
    for code in range(first, last + 1)
    if (match := _ENCLOSED_NAME.search(unicodedata.name(chr(code), "")))
}
_WORD = re.compile(rf"(?:[^\W_]|[{''.join(map(chr, _ENCLOSED))}])+")
_TOKEN = re.compile(r"\S+")
_ASCII_LETTER = re.compile("[A-Za-z]")
# The beginnings of decompositions of characters that nobody takes for others.
_ORDINARY_FORMS = ("<super>", "<sub>", "<compat>", "<square>", "<fraction>")
# What stands before a unit, and looks like an ASCII letter in the other case alone.
_UNITS = "μ"
# The last letter of Latin-1 and Latin Extended-A, where the letters of European languages are.
_LAST_EUROPEAN = "ſ"
# The small capitals for which TR39 has no ASCII letter.
_SMALL_CAPITALS = {"ꜰ": "f", "ᴋ": "k", "ᴍ": "m", "ɴ": "n", "ꞯ": "q"}
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


def imitations(text: str) -> dict[str, str]:
    """Return the characters of `text` that imitate ASCII letters or digits, each with those that
    it looks like: `{"р": "p"}` of a `рay` with a Cyrillic letter.

    A word in another script imitates only if all of it could be ASCII, or if it mixes scripts, so
    ordinary words of other languages are left out. For the same reason `æ` and `ạ` imitate
    nothing, but a `p` with a dot below does, which is no letter of its own.
    """
    if text.isascii():
        return {}
    return {
        character: like
        for word in _WORD.findall(text)
        for character in word
        if (like := _imitated(character) or _imitated_in_a_row(character))
        and _may_deceive(character, word)
    } | _marked_letters(text)


def deceptive_letters(text: str) -> Iterator[tuple[int, str]]:
    """Yield the place of each letter of a running text that imitates an ASCII one, with what it
    looks like: 0 and `a` of an `аdmin` with a Cyrillic letter.

    Stricter than `imitations`, which is for names: such a letter is among letters of another
    script, or all of its word could be ASCII and nothing around it says which script it is in.
    """
    if text.isascii():
        return
    evident = {script(c) for c in set(text) if c.isalpha() and not c.isascii() and not _imitated(c)}
    for token in _TOKEN.finditer(text):
        if token[0].isascii():
            continue
        is_amid_ascii = _ASCII_LETTER.search(token[0]) is not None
        for word in _WORD.finditer(token[0]):
            if not word[0].isascii():
                start = token.start() + word.start()
                for place, like in _deceptive(word[0], evident, is_amid_ascii=is_amid_ascii):
                    yield start + place, like


def _deceptive(word: str, evident: set[str], *, is_amid_ascii: bool) -> Iterator[tuple[int, str]]:
    is_mixed = _mixes_scripts(word)
    # `α` or `β1` alone are more often symbols.
    could_be_ascii = sum(map(str.isalpha, word)) > 1 and all(
        c.isascii() or _imitated(c) for c in word
    )
    has_ascii = _ASCII_LETTER.search(word) is not None
    for place, character in enumerate(word):
        like = _imitated(character) or _imitated_in_a_row(character)
        if not like or character in _UNITS:
            continue
        if script(character) in ("LATIN", "COMMON"):
            deceives = has_ascii and character > _LAST_EUROPEAN and not _is_ordinary_form(character)
        else:
            is_evident = script(character) in evident and not is_amid_ascii
            deceives = is_mixed or (could_be_ascii and not is_evident)
        if deceives:
            yield place, like


def _mixes_scripts(word: str) -> bool:
    scripts = {script(c) for c in word} - _NO_SCRIPT
    return len(scripts) > 1 and not scripts - {"LATIN"} <= _MIXED_WITH_LATIN


@lru_cache(maxsize=4096)
def _is_ordinary_form(character: str) -> bool:
    """Say whether a character is a raised, lowered or joined form that ordinary texts have: the
    digit of `m⁶`, the ligature of `conﬁrm`."""
    return unicodedata.decomposition(character).startswith(_ORDINARY_FORMS)


def _fold_once(text: str) -> str:
    visible = without_invisible(unicodedata.normalize("NFKC", text.translate(_ENCLOSED)))
    lower = unicodedata.normalize("NFKC", visible.casefold())
    return _SPACES.sub(" ", _DOT_ABOVE.sub("", lower))


def _may_deceive(character: str, word: str) -> bool:
    if script(character) in ("LATIN", "COMMON"):
        return True
    if all(c.isascii() or _imitated(c) for c in word):
        return True
    scripts = {script(c) for c in word} - _NO_SCRIPT
    return len(scripts) > 1 and not scripts - {"LATIN"} <= _MIXED_WITH_LATIN


@lru_cache(maxsize=4096)
def _imitated(character: str) -> str:
    """Return the ASCII letters and digits that a character imitates; none for an ASCII one."""
    if character.isascii():
        return ""
    compatible = unicodedata.normalize("NFKC", character.translate(_ENCLOSED))
    if compatible.isascii() and compatible.isalnum():
        return compatible
    folded = fold(character)
    like = _characters_like(folded) if len(folded) == 1 else ()
    return ", ".join(sorted((c for c in like if c.isascii() and c.isalnum()), reverse=True))


def _imitated_in_a_row(character: str) -> str:
    """Return the several ASCII letters that a character imitates, unless it is one of a European
    language: `ay` of `ꜽ`, and nothing of `æ`."""
    if script(character) == "LATIN" and character <= _LAST_EUROPEAN:
        return ""
    return ", ".join(sorted(s for s in spellings(fold(character)) if s.isascii() and s.isalnum()))


def _marked_letters(text: str) -> dict[str, str]:
    """Return the ASCII letters and digits with a mark that Unicode has no letter for."""
    composed = _DOT_ABOVE.sub("", unicodedata.normalize("NFC", without_invisible(text)))
    return {
        character + mark: character
        for character, mark in pairwise(composed)
        if character.isascii() and character.isalnum() and unicodedata.category(mark) == "Mn"
    }


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
