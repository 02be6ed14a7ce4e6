"""Writes and reads what a checkpoint states about a chain: the text that is signed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from dwp_project.jsontext import canonical

_FORM = 1
_MEMBERS = {"form", "tenant", "sequence", "hash", "at", "keyId"}


@dataclass(frozen=True, slots=True)
class CheckpointStatement:
    """What a checkpoint says: at `at`, record `sequence` was the head and had this hash."""

    tenant_id: str
    sequence: int
    hash: str
    at: str
    key_id: str

    @property
    def text(self) -> str:
        """The exact text that is signed."""
        return canonical(
            {
                "form": _FORM,
                "tenant": self.tenant_id,
                "sequence": self.sequence,
                "hash": self.hash,
                "at": self.at,
                "keyId": self.key_id,
            }
        )


def read(text: str) -> CheckpointStatement | None:
    """Return what a text states, or None if it is not a statement."""
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or set(values) != _MEMBERS or values["form"] != _FORM:
        return None
    texts = [values[name] for name in ("tenant", "hash", "at", "keyId")]
    if type(values["sequence"]) is not int or not all(isinstance(each, str) for each in texts):
        return None
    statement = CheckpointStatement(
        values["tenant"], values["sequence"], values["hash"], values["at"], values["keyId"]
    )
    return statement if statement.text == text else None
