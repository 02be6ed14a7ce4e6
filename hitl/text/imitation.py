"""Characters that imitate ASCII ones: in a name, and in running text.

`hitl.text.lookalikes` says which characters look alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from hitl.text.invisible import without_invisible
from hitl.text.lookalikes import DOT_ABOVE, ENCLOSED, characters_like, fold, script, spellings

_WORD = re.compile(rf"(?:[^\W_]|[{''.join(map(chr, ENCLOSED))}])+")
_TOKEN = re.compile(r"\S+")
_ASCII_LETTER = re.compile("[A-Za-z]")
# The beginnings of decompositions of characters that nobody takes for others.
_ORDINARY_FORMS = ("<super>", "<sub>", "<compat>", "<square>", "<fraction>")
# What stands before a unit, and looks like an ASCII letter in the other case alone.
_UNITS = "μ"
# The last letter of Latin-1 and Latin Extended-A, where the letters of European languages are.
_LAST_EUROPEAN = "ſ"
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


def in_name(text: str) -> dict[str, str]:
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


def in_text(text: str) -> Iterator[tuple[int, str]]:
    """Yield the place of each character of a running text that imitates an ASCII one, with what it
    looks like: 0 and `a` of an `аdmin` with a Cyrillic letter. An ASCII letter with marks for which
    Unicode has no letter is placed as well.

    Stricter than `in_name`, which is for names: such a letter is among letters of another
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
        composed = unicodedata.normalize("NFC", DOT_ABOVE.sub("", letter[0]))
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


def _may_deceive(character: str, word: str) -> bool:
    if script(character) in ("LATIN", "COMMON"):
        return True
    return all(c.isascii() or _imitated(c) for c in word) or _mixes_scripts(word)


@lru_cache(maxsize=4096)
def _imitated(character: str) -> str:
    """Return the ASCII letters and digits that a character imitates; none for an ASCII one."""
    if character.isascii():
        return ""
    compatible = unicodedata.normalize("NFKC", character.translate(ENCLOSED))
    if compatible.isascii() and compatible.isalnum():
        return compatible
    folded = fold(character)
    like = characters_like(folded) if len(folded) == 1 else ()
    return ", ".join(sorted((c for c in like if c.isascii() and c.isalnum()), reverse=True))


def _imitated_in_a_row(character: str) -> str:
    """Return the several ASCII letters that a character imitates, unless it is one of a European
    language: `ay` of `ꜽ`, and nothing of `æ`."""
    if script(character) == "LATIN" and character <= _LAST_EUROPEAN:
        return ""
    return ", ".join(sorted(s for s in spellings(fold(character)) if s.isascii() and s.isalnum()))


def _marked_letters(text: str) -> dict[str, str]:
    """Return the ASCII letters and digits with a mark that Unicode has no letter for."""
    composed = DOT_ABOVE.sub("", unicodedata.normalize("NFC", without_invisible(text)))
    return {
        character + mark: character
        for character, mark in pairwise(composed)
        if character.isascii() and character.isalnum() and unicodedata.category(mark) == "Mn"
    }
