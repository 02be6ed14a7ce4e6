"""Masks secrets in JSON values that people read: which members, and by which pattern.

Only what is shown is masked. What is stored, digested and sent on stays as it is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from dwp_project.jsontext import compact
from hitl.text import kinds
from hitl.text.invisible import without_invisible

# Chosen: how many texts in each other are read as JSON. Each may nest as deep as JSON may, and
# Python calls no deeper than a thousand functions.
_MAX_TEXTS = 3


@dataclass(frozen=True, slots=True)
class Masked:
    """Takes the place of a secret, and contains nothing of it."""

    # The glob of HITL_REDACT that the member's name matches.
    pattern: str

    @property
    def label(self) -> str:
        """Return the text that is shown in place of the secret."""
        return _("masked by HITL_REDACT: %(pattern)s") % {"pattern": self.pattern}


def masked(value: Any) -> Any:
    """Return a JSON value with a `Masked` in place of every value whose member's name, at any
    depth, matches a glob of `HITL_REDACT`.

    So it is in a text that is JSON; there the labels are texts.
    """
    return _masked(value, _MAX_TEXTS)


def _masked(value: Any, texts: int) -> Any:
    if isinstance(value, Mapping):
        return {
            name: Masked(pattern) if (pattern := pattern_for(name)) else _masked(item, texts)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_masked(item, texts) for item in value]
    if isinstance(value, str) and texts and (inner := kinds.json_in(value)) is not None:
        hidden = _masked(inner, texts - 1)
        return value if hidden == inner else compact(spelled_out(hidden))
    return value


def spelled_out(value: Any) -> Any:
    """Return what `masked` returned as plain JSON, with the labels as texts."""
    if isinstance(value, Masked):
        return f"⟨{value.label}⟩"
    if isinstance(value, Mapping):
        return {name: spelled_out(item) for name, item in value.items()}
    if isinstance(value, list):
        return [spelled_out(item) for item in value]
    return value


def pattern_for(name: str) -> str | None:
    """Return the first glob of `HITL_REDACT` that the member's name matches.

    Upper and lower case, invisible characters, and `-`, `_` or space between words make no
    difference.
    """
    normalized = _normalized(name)
    patterns: list[str] = settings.HITL_REDACT
    return next((glob for glob in patterns if fnmatchcase(normalized, _normalized(glob))), None)


def _normalized(name: str) -> str:
    visible = without_invisible(unicodedata.normalize("NFKC", name))
    return visible.casefold().replace("-", "_").replace(" ", "_")
