"""A difference between a table and what the audit records say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

# Chosen: a message or a reason may be long, and its beginning says which one it is.
_MAX_SHOWN = 80


class ComparedKind(StrEnum):
    """What kind of row was compared."""

    REQUEST = "request"
    VOTE = "vote"
    OUTBOX = "outbox"
    SESSION = "session"
    POLICY = "policy"
    MEMBERSHIP = "membership"
    ACCOUNT = "account"


class Unexpected(StrEnum):
    """What is wrong with a row as a whole; any other `what` of a difference names a column."""

    INVENTED = "invented"
    DELETED = "deleted"


_KIND_WORDS = {
    ComparedKind.REQUEST: gettext_lazy("request"),
    ComparedKind.VOTE: gettext_lazy("votes on request"),
    ComparedKind.OUTBOX: gettext_lazy("signal of request"),
    ComparedKind.SESSION: gettext_lazy("owner of session"),
    ComparedKind.POLICY: gettext_lazy("policy"),
    ComparedKind.MEMBERSHIP: gettext_lazy("membership of"),
    ComparedKind.ACCOUNT: gettext_lazy("account"),
}
# As the pages call these columns; the others are called as they are.
_COLUMN_WORDS = {
    "status": gettext_lazy("status"),
    "decided_by": gettext_lazy("decided by"),
    "decided_at": gettext_lazy("decided at"),
    "decided_channel": gettext_lazy("decided in"),
    "reason": gettext_lazy("reason"),
    "comment": gettext_lazy("comment"),
    "user": gettext_lazy("requester"),
    "agent": gettext_lazy("agent"),
    "action": gettext_lazy("action"),
    "origin": gettext_lazy("origin"),
    "message": gettext_lazy("message"),
    "context": gettext_lazy("context"),
    "session": gettext_lazy("session"),
    "tenant": gettext_lazy("tenant"),
    "policy": gettext_lazy("policy"),
    "rule": gettext_lazy("rule"),
    "created_at": gettext_lazy("opened at"),
    "expires_at": gettext_lazy("expires at"),
    "escalated_at": gettext_lazy("escalated at"),
    "votes": gettext_lazy("votes"),
    "approvals": gettext_lazy("approvals"),
    "signal": gettext_lazy("signal"),
    "outcome": gettext_lazy("outcome"),
    "role": gettext_lazy("role"),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that a row says and the audit does not, or the other way round."""

    tenant_id: str
    kind: ComparedKind
    # The id of the request or session, the policy's pattern and version, or the user.
    name: str
    what: str
    recorded: str = ""
    stored: str = ""

    def __str__(self) -> str:
        values = {
            "kind": _KIND_WORDS[self.kind],
            "name": self.name,
            "what": _COLUMN_WORDS.get(self.what, self.what),
            "recorded": self.recorded,
            "stored": self.stored,
        }
        match self.what:
            case Unexpected.INVENTED:
                text = _("%(kind)s %(name)s: the audit has no record of it.")
            case Unexpected.DELETED:
                text = _("%(kind)s %(name)s: the audit has it, the table does not.")
            case _:
                text = _(
                    "%(kind)s %(name)s: %(what)s is “%(stored)s”, in the audit “%(recorded)s”."
                )
        return text % values

    @property
    def as_json(self) -> dict[str, str]:
        """The difference as commands and pages send it."""
        return {
            "tenant": self.tenant_id,
            "kind": self.kind.value,
            "name": self.name,
            "what": self.what,
            "recorded": self.recorded,
            "stored": self.stored,
            "text": str(self),
        }


@dataclass(slots=True)
class Comparison:
    """What came of comparing some rows: the differences, and how many facts of each kind the
    records say too little of."""

    differences: list[Difference] = field(default_factory=list)
    compared: Counter[ComparedKind] = field(default_factory=Counter)
    not_comparable: Counter[ComparedKind] = field(default_factory=Counter)

    def add(self, other: Comparison) -> None:
        """Add what came of other rows."""
        self.differences += other.differences
        self.compared += other.compared
        self.not_comparable += other.not_comparable

    def compare(
        self,
        tenant_id: str,
        kind: ComparedKind,
        name: str,
        values: Iterable[tuple[str, Any, Any]],
    ) -> None:
        """Compare what the audit and a row say: name, recorded and stored value of each column.
        Where the audit says nothing the recorded value is None, and None in the row is an
        empty text."""
        is_whole = True
        for what, recorded, stored in values:
            if recorded is None:
                is_whole = False
            elif recorded != stored:
                texts = (_shown(recorded, stored), _shown(stored, recorded))
                self.differences.append(Difference(tenant_id, kind, name, what, *texts))
        if not is_whole:
            self.not_comparable[kind] += 1

    def keep(self, confirmed: Collection[Difference]) -> None:
        """Drop the differences that a second look has not confirmed."""
        self.differences = [each for each in self.differences if each in confirmed]


def _shown(value: Any, other: Any) -> str:
    """Return a value as text; of two objects what the other has not or has otherwise."""
    if isinstance(value, dict) and isinstance(other, dict):
        missing = object()
        own = {name: each for name, each in value.items() if other.get(name, missing) != each}
        value = ", ".join(f"{name}: {own[name]}" for name in sorted(own))
    text = str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
