"""The inbox's filter: a query of the URL, the same in the database and in memory."""

from __future__ import annotations

import itertools
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.http import QueryDict
from django.utils import timezone
from pytest_django import Settings

from dwp_project.gateway.operators import Operator
from dwp_project.jsontext import compact
from hitl.actors import person_key
from hitl.desk import filters
from hitl.desk.filters import Filter
from hitl.models import ApprovalRequest, Policy, Vote

NOW = timezone.now()
OPERATORS = [
    Operator("kim", False, {"tenant1": "approver"}),
    Operator("head", False, {"tenant1": "admin", "tenant2": "viewer"}),
    Operator("lee", False, {"tenant1": "viewer", "tenant2": "approver"}),
    Operator("both", False, {"tenant1": "approver", "tenant2": "admin"}),
    Operator("viewer", False, {"tenant1": "viewer"}),
    Operator("member", False, {"tenant1": "user"}),
    Operator("nobody", False, {}),
]
POLICIES: list[dict[str, Any] | None] = [
    None,
    {},
    {"required_role": "approver", "risk": "low"},
    {"required_role": "admin", "risk": "high"},
    {"forbid_requester": True, "risk": "critical"},
    {"forbid_requester": True, "required_role": "admin"},
    {"on_timeout": "escalate", "escalate_to_role": "admin", "escalate_seconds": 60},
    {
        "on_timeout": "escalate",
        "required_role": "admin",
        "escalate_to_role": "approver",
        "escalate_seconds": 60,
        "min_approvals": 2,
    },
]
ASKERS = ["user123", "kim", "Kim", "head", "both"]
CONTEXTS: list[Any] = [
    {"폴더": "받은편지함", "count": 3},
    {"quote": 'a "b"', "path": "C:\\dir\\new"},
    {"api_key": "sk-hidden", "nested": {"password": {"deep": "hidden"}, "seen": "Müller"}},
    {"text": "100% of_it", "list": ["one", {"two": "KELVIN \u212a; `x`"}], "null": None},
    {},
]
SEARCHES = [
    *("", "받은편지함", "받은", '"b"', 'a "b"', "C:\\dir", "c:\\DIR", "C:\\\\dir", "sk-hidden"),
    *("hidden", "api_key", "seen", "müller", "MÜLLER", "100%", "1%0", "of_it", "ofXit", "_"),
    *("kelvin k", "k;", "`x`", "delete mail", "mails delete", "delete nothing", "R-3", "USER123"),
    *('"count":3', "null", "\\", '"', "%"),
]


def variants(**values: list[Any]) -> Iterator[Filter]:
    for chosen in itertools.product(*values.values()):
        yield Filter(**dict(zip(values, chosen, strict=True)))


@pytest.fixture
def requests(db: None) -> list[ApprovalRequest]:
    """Make one request of each kind that a filter or a permission tells from another."""
    policies = [
        None
        if asked is None
        else Policy.objects.create(
            tenant_id="tenant1",
            pattern=f"delete_{number}*",
            version=1,
            created_at=NOW,
            created_by="admin1",
            **asked,
        )
        for number, asked in enumerate(POLICIES)
    ]
    kinds = itertools.product(("tenant1", "tenant2", "tenant3"), ASKERS, policies, (False, True))
    made = [
        ApprovalRequest(
            request_id=f"r-{number}",
            session_id=f"s-{number}",
            tenant_id=tenant,
            user_id=asker,
            policy=policy,
            escalated_at=NOW if has_escalated else None,
            origin="rest",
            agent_id="" if number % 3 else "agent-1",
            action_type="delete_mail" if number % 2 else "Send_Mail",
            message="" if number % 5 else "Delete 3 mails?",
            context_text=compact(CONTEXTS[number % len(CONTEXTS)]),
            context_digest="0" * 64,
            body_digest="0" * 64,
            created_at=NOW,
            expires_at=NOW + timedelta(seconds=(-1, 0, 60, 120, 121, 600)[number % 6]),
            **({"status": "approved", "decided_at": NOW} if number % 11 == 10 else {}),
        )
        for number, (tenant, asker, policy, has_escalated) in enumerate(kinds)
    ]
    ApprovalRequest.objects.bulk_create(made)
    rows = list(ApprovalRequest.objects.select_related("policy").order_by("pk"))
    Vote.objects.bulk_create(
        Vote(
            request=row,
            user_id=name,
            person=person_key(name),
            role="approver",
            channel="rest",
            voted_at=NOW,
        )
        for row in rows
        for name in [("KIM", "both", "somebody")[row.pk % 3]]
        if row.pk % 2
    )
    ApprovalRequest.objects.filter(votes__isnull=False).update(approvals=1)
    return rows


def in_memory(chosen: Filter, operator: Operator, rows: list[ApprovalRequest]) -> set[int]:
    person = person_key(operator.username)
    voted = set(Vote.objects.filter(person=person).values_list("request_id", flat=True))
    return {
        row.pk for row in rows if chosen.matches(row, operator, has_voted=row.pk in voted, now=NOW)
    }


def in_database(chosen: Filter, operator: Operator) -> list[int]:
    rows = ApprovalRequest.objects.filter(chosen.q(operator, NOW)).select_related("policy")
    return [row.pk for row in rows if chosen.is_found(row)]


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.username)
def test_database_and_memory_list_the_same_requests(
    requests: list[ApprovalRequest], operator: Operator
) -> None:
    chosen = [
        *variants(
            is_mine=[False, True],
            is_expiring_soon=[False, True],
            tenant=["", "tenant1", "tenant2", "tenant3"],
            risk=["", "low", "high", "critical"],
        ),
        *variants(action=["delete_mail", "Delete_mail"], agent=["", "agent-1"], asker=["", "Kim"]),
        *variants(search=SEARCHES, is_mine=[False, True]),
    ]
    for each in chosen:
        listed = in_database(each, operator)
        assert len(listed) == len(set(listed)), each
        assert set(listed) == in_memory(each, operator, requests), each


def test_what_is_mine_is_what_may_be_approved_or_rejected_and_has_no_vote_of_mine(
    requests: list[ApprovalRequest],
) -> None:
    kim = OPERATORS[0]
    mine = {row.pk for row in requests if row.pk in in_database(Filter(is_mine=True), kim)}
    voted = set(Vote.objects.filter(person="kim").values_list("request_id", flat=True))

    for row in requests:
        if row.status != "pending" or row.expires_at <= NOW or row.tenant_id != "tenant1":
            assert row.pk not in mine
            continue
        policy = row.policy
        role = "" if policy is None else policy.required_role
        if row.escalated_at is not None:
            role = "" if policy is None else policy.escalate_to_role
        # Who asked may always reject. A rule of four eyes takes the approval alone from them.
        may_decide = role != "admin" or row.user_id == "kim"
        assert (row.pk in mine) == (may_decide and row.pk not in voted), row.request_id


def found(search: str, requests: list[ApprovalRequest]) -> set[int]:
    """Return the places of the contexts in whose requests the words are found."""
    both = Operator("both", False, {"tenant1": "approver", "tenant2": "admin"})
    keys = set(in_database(Filter(search=search), both))
    return {n % len(CONTEXTS) for n, row in enumerate(requests) if row.pk in keys}


@pytest.mark.parametrize(
    ("search", "contexts"),
    [
        ("받은편지함", {0}),
        (unicodedata.normalize("NFD", "받은"), {0}),
        ('a "b"', {1}),
        ("C:\\dir", {1}),
        ("c:\\\\DIR", {1}),
        ("MÜLLER", {2}),
        ("100% of_it", {3}),
        ("1%0", set()),
        ("of?it", set()),
        ("kelvin k;", {3}),
        ("받은편지함 count", {0}),
        ("받은편지함 müller", set()),
    ],
)
def test_search_finds_requests_with_all_words_as_they_read(
    requests: list[ApprovalRequest], search: str, contexts: set[int]
) -> None:
    assert found(search, requests) == contexts


def test_search_does_not_find_what_is_masked(
    requests: list[ApprovalRequest], settings: Settings
) -> None:
    # Nobody guesses a secret letter by letter; its name is on the page.
    assert found("sk-hidden", requests) == found("deep", requests) == set()
    assert found("api_key", requests) == {2}

    settings.HITL_REDACT = []

    assert found("sk-hidden", requests) == found("deep", requests) == {2}


def test_part_that_the_database_looks_for_is_in_whatever_a_search_finds() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character) in ("Cs", "Cn"):
            continue
        folded = filters._folded(character)
        for part in filters._COMPARABLE.findall(folded):
            assert character.isascii(), f"U+{code:04X} is folded to {part}"
            assert part == character.lower()


def query(text: str) -> Filter:
    return Filter.from_query(QueryDict(text))


def test_filter_lives_in_the_url() -> None:
    for text in (
        "",
        "q=two+words&tenant=t&action=a%26b&asker=k&agent=g&risk=high&soon=1&mine=1&sort=risk",
        "q=%ED%95%9C%EA%B8%80",
    ):
        chosen = query(text)
        assert chosen.query == text
        assert query(chosen.query) == chosen
        assert chosen.ignored == ()
    assert query("sort=time-left&q=&tenant=").query == ""


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        ("q=a%00b", "q"),
        ("q=" + "x" * 201, "q"),
        ("tenant=%00", "tenant"),
        ("action=" + "x" * 513, "action"),
        ("risk=extreme", "risk"),
        ("sort=nonsense", "sort"),
        ("soon=yes", "soon"),
        ("mine=2", "mine"),
    ],
)
def test_value_that_no_filter_can_have_is_ignored_and_named(text: str, ignored: str) -> None:
    chosen = query(f"{text}&agent=g")

    assert chosen == Filter(agent="g")
    assert chosen.ignored == (ignored,)


def test_query_of_a_view_is_not_trusted() -> None:
    assert Filter.from_view("&".join("q=1" for _ in range(2000))) == Filter()
    assert Filter.from_view("%00&&=&q=%00&sort=%ff") == Filter()


def test_sum_of_all_filters_lists_only_own_tenants(requests: list[ApprovalRequest]) -> None:
    kim = OPERATORS[0]
    for chosen in (Filter(), Filter(tenant="tenant2"), Filter(search="r-"), Filter(is_mine=True)):
        keys = in_database(replace(chosen, sort="risk"), kim)
        tenants = {row.tenant_id for row in requests if row.pk in keys}
        assert tenants <= {"tenant1"}


def _soon(moment: datetime) -> bool:
    return Filter(is_expiring_soon=True).matches(
        ApprovalRequest(tenant_id="tenant1", expires_at=moment),
        OPERATORS[0],
        has_voted=False,
        now=NOW,
    )


def test_soon_is_the_time_at_which_the_countdown_changes_its_look() -> None:
    assert _soon(NOW + timedelta(seconds=120))
    assert not _soon(NOW + timedelta(seconds=120, microseconds=1))
    assert not _soon(NOW)
