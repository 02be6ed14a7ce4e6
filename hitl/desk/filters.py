"""Which pending requests an inbox lists: a filter that lives in the URL and applies alike in the
database and in memory."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import SuspiciousOperation
from django.db.models import OuterRef, Q, Subquery, TextChoices
from django.db.models.lookups import IsNull
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.operators import Operator
from dwp_project.jsontext import compact
from hitl.actors import operator_actor, person_key
from hitl.approvals import permissions
from hitl.models import ApprovalRequest, Vote
from hitl.models.policies import REQUIRED_ROLES
from hitl.models.requests import MAX_ID_BYTES
from hitl.policies.rules import rule_of
from hitl.states import Risk, Status
from hitl.text import redact

# The countdown changes its colour at the same moment: SOON in desk/clock.js.
SOON = timedelta(minutes=2)
# Chosen: longer than a sentence somebody pastes.
MAX_SEARCH_LENGTH = 200
# What every database compares as Python does, whichever case the letters have. Left out are
# letters outside ASCII; `i`, `k`, `;` and a backquote, which others turn into; and what JSON
# escapes.
_COMPARABLE = re.compile(r"[a-hjl-z0-9!#-:<-\[\]-_{-~]+")


class Sort(TextChoices):
    """The order in which an inbox lists requests."""

    TIME_LEFT = "time-left", _("time left")
    NEWEST = "newest", _("newest first")
    OLDEST = "oldest", _("oldest first")
    RISK = "risk", _("highest risk first")


@dataclass(frozen=True, slots=True)
class Filter:
    """What an operator wants to see of the pending requests of their tenants; by default, all."""

    # Words that must all occur in the id, message, action, asker or context, secrets excluded.
    search: str = ""
    tenant: str = ""
    action: str = ""
    asker: str = ""
    agent: str = ""
    risk: str = ""
    is_expiring_soon: bool = False
    is_mine: bool = False
    sort: str = Sort.TIME_LEFT.value
    # The names of the parameters in the URL that no filter can have.
    ignored: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_query(cls, query: QueryDict) -> Filter:
        """Return the filter of a URL's query; a value that no filter can have is ignored."""
        values: dict[str, Any] = {}
        ignored = []
        for parameter, (name, values_of) in _PARAMETERS.items():
            text = query.get(parameter, "")
            if not text.strip():
                continue
            if values_of(text):
                values[name] = True if name.startswith("is_") else text
            else:
                ignored.append(parameter)
        return cls(**values, ignored=tuple(ignored))

    @classmethod
    def from_view(cls, text: str) -> Filter:
        """Return the filter of a query that was kept or carried along; nothing of it is trusted."""
        try:
            return cls.from_query(QueryDict(text))
        except SuspiciousOperation:  # more parameters than Django reads
            return cls()

    @property
    def query(self) -> str:
        """Return the filter as the query of a URL; empty if it lists everything in the usual
        order."""
        default = Filter()
        return urlencode(
            [
                (parameter, "1" if value is True else value)
                for parameter, (name, _values) in _PARAMETERS.items()
                if (value := getattr(self, name)) != getattr(default, name)
            ]
        )

    @property
    def link_query(self) -> str:
        """Return the end of a link to the inbox with this filter: `?action=…`, or nothing."""
        return f"?{self.query}" if self.query else ""

    @property
    def view_query(self) -> str:
        """Return the end of a link to a request, by which its page leads on in this filter."""
        return f"?{urlencode({'view': self.query})}" if self.query else ""

    def q(self, operator: Operator, now: datetime) -> Q:
        """Return the condition for the database.

        It is exact if nothing is searched. If something is, `is_found` must confirm each row: a
        database can neither tell secrets apart nor compare letters outside ASCII.
        """
        tenants = [t for t in operator.tenants if self.tenant in ("", t)]
        condition = Q(status=Status.PENDING, expires_at__gt=now, tenant_id__in=tenants)
        equal = {"action_type": self.action, "user_id": self.asker, "agent_id": self.agent}
        condition &= Q(**{name: value for name, value in equal.items() if value})
        if self.risk:
            condition &= Q(policy__risk=self.risk)
        if self.is_expiring_soon:
            condition &= Q(expires_at__lte=now + SOON)
        if self.is_mine:
            condition &= mine(operator)
        for word in _words(self.search):
            condition &= _may_occur(word)
        return condition

    def matches(
        self, request: ApprovalRequest, operator: Operator, *, has_voted: bool, now: datetime
    ) -> bool:
        """Say whether a request, with its policy, is listed."""
        return (
            request.status == Status.PENDING
            and request.expires_at > now
            and request.tenant_id in operator.roles
            and self.tenant in ("", request.tenant_id)
            and self.action in ("", request.action_type)
            and self.asker in ("", request.user_id)
            and self.agent in ("", request.agent_id)
            and self.risk in ("", rule_of(request).risk)
            and (not self.is_expiring_soon or request.expires_at <= now + SOON)
            and (not self.is_mine or is_mine(request, operator, has_voted=has_voted))
            and self.is_found(request)
        )

    def is_found(self, request: ApprovalRequest) -> bool:
        """Say whether all words of the search occur in the request; True if nothing is searched."""
        words = _words(self.search)
        if not words:
            return True
        text = searchable_text(request)
        return all(word in text for word in words)


def is_mine(request: ApprovalRequest, operator: Operator, *, has_voted: bool) -> bool:
    """Say whether a pending request is the operator's to decide: they may approve or reject it,
    and have not voted on it."""
    return not has_voted and may_decide(request, operator)


def may_decide(request: ApprovalRequest, operator: Operator) -> bool:
    """Say whether the operator may approve or reject a request, with its policy."""
    if request.tenant_id not in operator.roles:
        return False
    role = operator.roles[request.tenant_id]
    actor = operator_actor(operator.username, request.tenant_id, role)
    return (
        permissions.why_not_approve(actor, request) is None
        or permissions.why_not_reject(actor, request) is None
    )


def mine(operator: Operator) -> Q:
    """Return the condition for the database of what `is_mine` says."""
    # Who satisfies the role of a request may reject it, and who asked may reject it as well: a
    # policy that forbids the requester's approval changes neither.
    may_decide = Q(pk__in=[])
    for role in sorted(permissions.DECIDERS):
        tenants = [tenant for tenant in operator.tenants if operator.roles[tenant] == role]
        if tenants:
            satisfied = _satisfied_by(role) | Q(user_id=operator.username)
            may_decide |= Q(tenant_id__in=tenants) & satisfied
    # Looked up for each request that has votes: a person's votes are more with every year, and
    # for an `Exists` PostgreSQL would read them all.
    votes = Vote.objects.filter(request=OuterRef("pk"), person=person_key(operator.username))
    vote = Subquery(votes.order_by().values("pk")[:1])
    return may_decide & (Q(approvals=0) | Q(IsNull(vote, True)))


def searchable_text(request: ApprovalRequest) -> str:
    """Return what a search looks through, in small letters: id, message, action, asker and
    context, without the values that are masked on the page."""
    context = _without_secrets(request.context)
    return _folded(
        "\n".join(
            [
                request.request_id,
                _without_secrets(request.message),
                request.action_type,
                request.user_id,
                compact(context),
                # What JSON escapes, as it reads on the page.
                *(text for text in _texts(context) if '"' in text or "\\" in text),
            ]
        )
    )


def _satisfied_by(role: str) -> Q:
    """Return the condition that a decider of this role has the role that a request requires."""
    roles = ["", *(r for r, _label in REQUIRED_ROLES if role in permissions.roles_for(r))]
    return (
        Q(policy=None)
        | Q(escalated_at=None, policy__required_role__in=roles)
        | Q(escalated_at__isnull=False, policy__escalate_to_role__in=roles)
    )


# --- searching ----------------------------------------------------------------------------


def _words(search: str) -> list[str]:
    return _folded(search).split()


def _folded(text: str) -> str:
    """Return text in which upper and lower case, and composed and decomposed letters, are alike."""
    return unicodedata.normalize("NFC", text).lower().replace("ς", "σ")


def _may_occur(word: str) -> Q:
    """Return the condition that the part of the word that databases compare alike occurs."""
    part = max(_COMPARABLE.findall(word), key=len, default="")
    if not part:
        return Q()
    return (
        Q(request_id__icontains=part)
        | Q(message__icontains=part)
        | Q(action_type__icontains=part)
        | Q(user_id__icontains=part)
        | Q(context_text__icontains=part)
    )


def _without_secrets(value: Any) -> Any:
    """Return a JSON value with an empty text in place of each secret."""
    return redact.spelled_out(redact.masked(value), spell=lambda _masked: "")


def _texts(value: Any) -> Iterator[str]:
    """Yield the names and texts of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield name
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


# --- the URL ------------------------------------------------------------------------------


def _is_text(text: str) -> bool:
    return len(text) <= MAX_ID_BYTES and "\x00" not in text


def _is_search(text: str) -> bool:
    return len(text) <= MAX_SEARCH_LENGTH and "\x00" not in text


def _is_on(text: str) -> bool:
    return text == "1"


# A parameter's name in the URL, the field it fills, and what says whether its value can be that.
_PARAMETERS: dict[str, tuple[str, Any]] = {
    "q": ("search", _is_search),
    "tenant": ("tenant", _is_text),
    "action": ("action", _is_text),
    "asker": ("asker", _is_text),
    "agent": ("agent", _is_text),
    "risk": ("risk", Risk.values.__contains__),
    "soon": ("is_expiring_soon", _is_on),
    "mine": ("is_mine", _is_on),
    "sort": ("sort", Sort.values.__contains__),
}
