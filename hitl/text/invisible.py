"""Characters that nobody sees."""

from __future__ import annotations

# `str.isprintable` calls these printable, but they are invisible: the rest of Unicode's
# Default_Ignorable_Code_Point, and what is blank by its name: the Braille pattern without dots,
# Egyptian blanks, the Khitan filler, the null notehead and what stands for an object not there.
INVISIBLE = frozenset(
    chr(code)
    for first, last in (
        (0x034F, 0x034F),
        (0x115F, 0x1160),
        (0x17B4, 0x17B5),
        (0x180B, 0x180F),
        (0x2800, 0x2800),
        (0x3164, 0x3164),
        (0xFE00, 0xFE0F),
        (0xFFA0, 0xFFA0),
        (0xFFFC, 0xFFFC),
        (0x13441, 0x13442),
        (0x16FE4, 0x16FE4),
        (0x1D159, 0x1D159),
        (0xE0100, 0xE01EF),
    )
    for code in range(first, last + 1)
)


def without_invisible(text: str) -> str:
    """Return `text` without its invisible characters."""
    return "".join(c for c in text if c.isprintable() and c not in INVISIBLE)
