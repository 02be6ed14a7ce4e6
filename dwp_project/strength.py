"""Whether a secret can be guessed."""

from __future__ import annotations

import base64
import re
import zlib
from contextlib import suppress
from functools import partial
from itertools import pairwise

# RFC 7518, 3.2: a key of HS256 is at least as long as its hash.
MIN_SECRET_BYTES = 32
# What documentation, templates and tests write where a secret belongs, without separators.
_WORDS = """
123 123456 12345678 access account acme admin algorithm and another any api app application approval
asdfghjkl auth authentication authorization backend base64 battery bit boot brown byte change
changeit changeme character chars company correct could default demo deploy dev development django
docker dog dont dummy dwp encoded encryption enough environment example fake for fox from frontend
gateway generate generated generation goes guess guest hello here hex hitl hmac horse hs256 hs384
hs512 insecure insert into ipsum json jsonwebtoken jumps jwt keep key know known lazy least length
letmein local localhost login long longer lorem make management minimum more must need never nobody
node not only over pass passphrase passwd password placeholder please portal postgres postgresql
private prod production project public quick qwerty qwertyuiop random real redis refresh replace
required root run safe sample secret secure security server service session sha256 share shared
should sign signature signing simple some spring staging staple store string strong super sure
system template temporary test testing than that thatis the this thisis token unsafe use used user
using validation value vault verification very web welcome which with work world write you your
zxcvbnm
"""
# Keys that many tutorials print, in small letters: what those of a well-known web page are made of,
# and one of Spring, of FastAPI, of Flask, and of RFC 7515.
_KNOWN_KEYS = """
@ncrfu jandrfu jandrgu jxn2r5u8x kxn2r5u8x kxp2s5v8y a?d(g+kb a%d*gka gvkyp hvmyp 3s6v9y
b?e(h+mb b&e)h@mc b&e(h+mb ethwmzq4t7 ftjwnzr4u7 z%c*f z$c&f)j
3cfa76ef14937c1c0ea519f8fc057a80fcd04a7420f8e8bcd0a7567c272e007b
09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7
192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf
aym1sysppbydfgzld3umj1qzkobwvmkoqqestjqlrt1qs0gzh75aktmn3yj0ips4hcguutwjazzr1z9caow
"""
_SEPARATORS = re.compile(r"[\s_.:-]")
_EXAMPLE = re.compile(
    "|".join(sorted(map(re.escape, (_WORDS + _KNOWN_KEYS).split()), key=len, reverse=True))
)
_PLACEHOLDER = re.compile(r"\$\{\w+\}|\$\(\w+\)|\{\{.+\}\}|<.+>")
# The prefix of the keys that Django generates for development.
_DJANGO_EXAMPLE = "django-insecure-"


def weakness_of(secret: str, *, least: int = MIN_SECRET_BYTES) -> str | None:
    """Return why `secret` can be guessed, as the end of a sentence that does not quote it.

    None if it cannot, as far as can be seen. `least` is in bytes.
    """
    if is_short := too_short(secret, least):
        return is_short
    if (
        secret.startswith(_DJANGO_EXAMPLE)
        or _PLACEHOLDER.fullmatch(secret)
        # Chosen: 32 random hexadecimal digits have 30, 40 decimal ones 19, and examples up to 15.
        or 2 * _size_of_the_unknown(secret) < least
    ):
        return "repeats itself or reads like an example"
    return None


def too_short(secret: str, least: int = MIN_SECRET_BYTES) -> str | None:
    """Return the end of a sentence if `secret` has fewer than `least` bytes, else None."""
    size = len(secret.encode())
    return f"has {size} bytes; at least {least} are needed" if size < least else None


def is_example_password(password: str | None, user: str | None) -> bool:
    """Say whether the password of a URL is the user's name, or one that documentation shows."""
    if not password:
        return False
    return (
        password.lower() == (user or "").lower()
        or _PLACEHOLDER.fullmatch(password) is not None
        or not _without_examples(password)
    )


def _size_of_the_unknown(secret: str) -> int:
    """Return the compressed size of what is left of `secret` without the words of examples.

    What repeats itself is compressed to little, and so are the steps of a row like `abcdef`.
    """
    rest = _without_examples(_decoded(secret)).encode()
    steps = bytes((after - before) % 256 for before, after in pairwise(rest))
    return min(len(zlib.compress(text, level=9, wbits=-15)) for text in (rest, steps))


def _without_examples(text: str) -> str:
    return _EXAMPLE.sub("", _SEPARATORS.sub("", text).lower())


def _decoded(secret: str) -> str:
    """Return the example that `secret` is in hexadecimal digits or base64, else `secret`."""
    for decode in (bytes.fromhex, partial(base64.b64decode, validate=True)):
        with suppress(ValueError):
            text = decode(secret).decode("ascii")
            if _EXAMPLE.search(text.lower()):
                return text
    return secret
