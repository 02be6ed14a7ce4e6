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
# The Cyrillic and Greek letters that look like an ASCII letter in their own case.
_TWINS = frozenset("аеорсухіјѕһԁԛԝӏАВЕЗІЈКМНОРСТУХЅҮԌԚԜӀοΑΒΕΖΗΙΚΜΝΟΡΤΥΧνρυϲϳϹͿ")
# Signs that look like ASCII ones.
_SIGNS = {
    "\u037e": ";",
    "\u2024": ".",
    "\u2215": "/",
    "\u2044": "/",
    "\u2236": ":",
    "\u01c3": "!",
    "\u01c0": "|",
    "\u2010": "-",
}
_SIGN = re.compile(f"[{''.join(_SIGNS)}]")
_LETTER_WITH_MARKS = re.compile(
    "[A-Za-z0-9][\u0300-\u034e\u0350-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20e2\u20e4-\u20ff]+"
)
# What stands right beside a host, and beside a word of code.
_BEFORE_IN_HOST, _BEHIND_IN_HOST = re.compile(r"//$|@$|[A-Za-z0-9]\.$"), re.compile(r"\.[A-Za-z]")
_BEFORE_IN_CODE = re.compile(r"[A-Za-z0-9][/:_=\\&?#$]$|[=$] ?$")
_BEFORE_UNIT = re.compile(r"-$|\d ?$")
_BEHIND_IN_CODE = re.compile(r"[/:_=\\&?#@(][A-Za-z0-9]| ?=")
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
    """Yield the place of each character of a running text that imitates an ASCII one, with what it
    looks like: 0 and `a` of an `аdmin` with a Cyrillic letter. An ASCII letter with marks for which
    Unicode has no letter is placed as well.

    Stricter than `imitations`, which is for names: such a letter is among letters of another
    script, or all of its word could be ASCII and nothing beside it says which script it is in.
    """
    if not text.isascii():
        yield from sorted([*_letters(text), *_signs(text), *_letters_with_marks(text)])


def _letters(text: str) -> Iterator[tuple[int, str]]:
    evident = {script(c) for c in set(text) if c.isalpha() and not c.isascii() and not _is_twin(c)}
    amid_ascii = _words_amid_ascii(text) if evident else frozenset()
    for token in _TOKEN.finditer(text):
        if token[0].isascii():
            continue
        has_ascii = _ASCII_LETTER.search(token[0]) is not None
        for word in _WORD.finditer(text, token.start(), token.end()):
            if word[0].isascii():
                continue
            if has_ascii and sum(map(str.isalpha, word[0])) > 1:
                could_be_ascii = all(c.isascii() or _imitated(c) for c in word[0])
            else:
                is_alone = not {script(c) for c in word[0]} & evident or word.start() in amid_ascii
                could_be_ascii = (
                    is_alone and all(map(_is_twin, word[0]))
                    if len(word[0]) > 1
                    else _is_deceptive_alone(word, is_alone=is_alone)
                )
            for place, like in _deceptive(word[0], could_be_ascii=could_be_ascii):
                yield word.start() + place, like


def _words_amid_ascii(text: str) -> frozenset[int]:
    """Return where the words begin that could be ASCII, behind a word that is, and before none that
    is in a script of its own."""
    places: set[int] = set()
    waiting: list[int] = []
    is_behind_ascii = False
    for word in _WORD.finditer(text):
        letters = [c for c in word[0] if c.isalpha()]
        if all(map(str.isascii, letters)) and letters:
            places.update(waiting)
            waiting, is_behind_ascii = [], True
        elif len(letters) > 1 and not all(map(_is_twin, letters)):
            waiting, is_behind_ascii = [], False
        elif len(letters) > 1 and is_behind_ascii:
            waiting.append(word.start())
    return frozenset(places.union(waiting))


def _is_deceptive_alone(word: re.Match[str], *, is_alone: bool) -> bool:
    """Say whether a word of one letter that looks like an ASCII one deceives. A Greek one is more
    often a symbol, and a Cyrillic one among Russian words is a word."""
    text, start, end = word.string, word.start(), word.end()
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if _BEFORE_IN_HOST.search(before) or _BEHIND_IN_HOST.match(after):
        return True
    if script(word[0]) != "CYRILLIC" or not _is_twin(word[0]):
        return False
    is_in_code = _BEFORE_IN_CODE.search(before) or _BEHIND_IN_CODE.match(after)
    # Behind a number or a hyphen it is a unit or an ending.
    is_beside = _BEFORE_UNIT.search(before)
    return bool(is_in_code) or (is_alone and not is_beside)


def _deceptive(word: str, *, could_be_ascii: bool) -> Iterator[tuple[int, str]]:
    is_mixed = _mixes_scripts(word)
    has_ascii = _ASCII_LETTER.search(word) is not None
    for place, character in enumerate(word):
        like = _imitated(character) or _imitated_in_a_row(character)
        if not like or character in _UNITS:
            continue
        if script(character) in ("LATIN", "COMMON"):
            deceives = character > _LAST_EUROPEAN and (
                (has_ascii and not _is_ordinary_form(character))
                # Formulas have single letters of these.
                or (_is_of_another_font(character) and (len(word) > 1 or character.isdigit()))
            )
        else:
            deceives = is_mixed or could_be_ascii or _is_among_digits(word, place)
        if deceives:
            yield place, like


def _is_among_digits(word: str, place: int) -> bool:
    """Say whether a letter that looks like a digit stands for one, as in `1О00`."""
    looks_like_zero = "0" in _imitated(word[place])
    before, after = word[place - 1] if place else "", word[place + 1 : place + 2]
    return looks_like_zero and _is_zero_or_digit(before) and (not after or _is_zero_or_digit(after))


def _is_zero_or_digit(character: str) -> bool:
    return character.isdigit() or (character != "" and "0" in _imitated(character))


def _signs(text: str) -> Iterator[tuple[int, str]]:
    """Yield the signs that imitate ASCII ones beside ASCII characters; between digits they are a
    fraction or a ratio."""
    for sign in _SIGN.finditer(text):
        before, after = text[sign.start() - 1 : sign.start()], text[sign.end() : sign.end() + 1]
        beside = f"{before}{after}"
        if beside.isascii() and beside.strip() and not (before.isdigit() and after.isdigit()):
            yield sign.start(), _SIGNS[sign[0]]


def _letters_with_marks(text: str) -> Iterator[tuple[int, str]]:
    """Yield the ASCII letters of words that have a mark for which Unicode has no letter."""
    for letter in _LETTER_WITH_MARKS.finditer(text):
        beside = text[letter.start() - 1 : letter.start()] + text[letter.end() : letter.end() + 1]
        composed = unicodedata.normalize("NFC", _DOT_ABOVE.sub("", letter[0]))
        # Formulas have single letters of these.
        if len(composed) > 1 and composed[0].isascii() and any(map(str.isalnum, beside)):
            yield letter.start(), letter[0][0]


@lru_cache(maxsize=4096)
def _is_twin(character: str) -> bool:
    """Say whether a letter looks like an ASCII one in its own case, or like any where it has none:
    Cyrillic `р`, and not `н`."""
    if script(character) in ("CYRILLIC", "GREEK"):
        return character in _TWINS
    return not character.isascii() and bool(_imitated(character))


@lru_cache(maxsize=4096)
def _is_of_another_font(character: str) -> bool:
    return unicodedata.decomposition(character).startswith("<font>")


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
    return all(c.isascii() or _imitated(c) for c in word) or _mixes_scripts(word)


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
