"""What the claims of a token must be (docs/reference/wire.md, 1)."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from pytest_django import Settings
from rest_framework_simplejwt.backends import TokenBackend

from dwp_project.gateway import tokens
from dwp_project.gateway.errors import TokenExpired, TokenInvalid
from tests.services import JWT_SECRET
from tests.unit.gateway.forging import DAY, HOUR, claims, refused, signed


def test_token_of_another_issuer_is_believed() -> None:
    sent = claims(role="approver", email="kim@example.com")

    verified = tokens.verify(jwt.encode(sent, JWT_SECRET, "HS256").encode())

    assert verified == tokens.Claims(
        user_id="user123",
        tenant_id="tenant1",
        role="approver",
        email="kim@example.com",
        issued_at=sent["iat"],
        expires_at=sent["exp"],
    )


def test_token_needs_neither_type_nor_id_role_nor_email() -> None:
    verified = tokens.verify(signed(claims()))

    assert (verified.role, verified.email) == (None, None)


@pytest.mark.parametrize("empty", [None, ""])
def test_optional_claim_that_is_empty_is_as_good_as_missing(empty: str | None) -> None:
    verified = tokens.verify(signed(claims(role=empty, email=empty)))

    assert (verified.role, verified.email) == (None, None)


def test_claims_that_nobody_asked_for_are_ignored() -> None:
    extra = {"is_staff": True, "is_superuser": True, "token_type": "refresh", "jti": "x", "nbf": 0}

    verified = tokens.verify(signed(claims(**extra)))

    assert verified.role is None
    assert not any(hasattr(verified, name) for name in extra)


ODD: list[Any] = [
    None,
    "",
    " ",
    " a",
    "a ",
    "a\n",
    "\x00",
    "a\x00b",
    1,
    1.5,
    True,
    [],
    ["a"],
    {},
    "x" * 256,
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:12])
@pytest.mark.parametrize("claim", ["sub", "tenant_id"])
def test_identifying_claim_that_is_odd_is_refused(claim: str, odd: Any) -> None:
    refused(signed(claims(**{claim: odd})))


@pytest.mark.parametrize("odd", [odd for odd in ODD if odd], ids=lambda odd: repr(odd)[:12])
@pytest.mark.parametrize("claim", ["role", "email"])
def test_optional_claim_that_is_odd_is_refused(claim: str, odd: Any) -> None:
    refused(signed(claims(**{claim: odd})))


@pytest.mark.parametrize("claim", ["sub", "tenant_id", "exp", "iat"])
def test_missing_claim_is_refused(claim: str) -> None:
    sent = claims()
    del sent[claim]

    refused(signed(sent))


@pytest.mark.parametrize(
    "odd",
    [None, "", "soon", True, [], {}, -1, 2**53, 10**30, 10**300],
    ids=lambda odd: f"{odd!r:.9} {len(repr(odd))}",
)
@pytest.mark.parametrize("claim", ["exp", "iat"])
def test_time_that_is_no_unix_time_is_refused(claim: str, odd: Any) -> None:
    with pytest.raises((TokenInvalid, TokenExpired)):
        tokens.verify(signed(claims(**{claim: odd})))


@pytest.mark.parametrize("claim", ["exp", "iat"])
def test_time_with_a_fraction_or_as_text_is_refused(claim: str) -> None:
    sent = claims()

    refused(signed({**sent, claim: sent[claim] + 0.5}))
    refused(signed({**sent, claim: float(sent[claim])}))
    refused(signed({**sent, claim: str(sent[claim])}))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400"])
@pytest.mark.parametrize("claim", ["exp", "iat"])
def test_time_that_is_no_number_is_refused(claim: str, text: str) -> None:
    payload = json.dumps(claims(**{claim: "?"})).replace('"?"', text).encode()

    with pytest.raises((TokenInvalid, TokenExpired)):
        tokens.verify(signed(payload))


@pytest.mark.parametrize("year", [9999, 10_000, 300_000])
def test_token_that_never_ends_is_refused(year: int) -> None:
    refused(signed(claims(exp=(year - 1970) * 365 * DAY)))


def test_lifetime_of_a_day_is_the_longest(settings: Settings) -> None:
    now = int(time.time())
    assert settings.JWT_MAX_LIFETIME == DAY

    assert tokens.verify(signed(claims(exp=now + DAY, iat=now))).expires_at == now + DAY
    refused(signed(claims(exp=now + DAY + 1, iat=now)))
    refused(signed(claims(exp=now + HOUR, iat=now + HOUR - DAY - 1)))


def test_longest_lifetime_is_a_setting(settings: Settings) -> None:
    settings.JWT_MAX_LIFETIME = 60

    refused(signed(claims()))


@pytest.mark.parametrize("late", [1, 25])
def test_clocks_may_differ_by_30_seconds(late: int) -> None:
    now = int(time.time())

    assert tokens.verify(signed(claims(iat=now - HOUR, exp=now - late))).user_id == "user123"
    assert tokens.verify(signed(claims(iat=now + late))).user_id == "user123"


def test_clocks_may_not_differ_by_more() -> None:
    now = int(time.time())

    with pytest.raises(TokenExpired):
        tokens.verify(signed(claims(iat=now - HOUR, exp=now - 35)))
    refused(signed(claims(iat=now + 60)))


def test_expired_token_is_told_from_an_invalid_one() -> None:
    now = int(time.time())

    with pytest.raises(TokenExpired):
        tokens.verify(signed(claims(iat=now - DAY, exp=now - HOUR)))
    refused(signed(claims(iat=now - DAY, exp=now - HOUR), key="another-secret-of-32-bytes-or-more"))


def test_token_over_8_kb_is_refused() -> None:
    fits = signed(claims(padding="x" * 5_900))
    too_large = signed(claims(padding="x" * 6_200))
    assert len(fits) <= 8 * 1024 < len(too_large)

    assert tokens.verify(fits).user_id == "user123"
    refused(too_large)


# --- tokens that come again ---------------------------------------------------------------


def test_signature_of_a_token_that_comes_again_is_verified_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw, decoded = signed(claims(jti="again")), []
    decode = TokenBackend.decode

    def counting(self: TokenBackend, *args: Any, **kwargs: Any) -> Any:
        decoded.append(self)
        return decode(self, *args, **kwargs)

    monkeypatch.setattr(TokenBackend, "decode", counting)

    assert tokens.verify(raw) == tokens.verify(raw)
    assert len(decoded) == 1


def test_token_that_was_believed_is_refused_once_it_has_expired() -> None:
    now = int(time.time())
    raw = signed(claims(iat=now - HOUR, exp=now - 28))
    assert tokens.verify(raw).user_id == "user123"

    time.sleep(3)

    with pytest.raises(TokenExpired):
        tokens.verify(raw)


def test_token_that_was_believed_is_refused_when_its_secret_or_its_lifetime_is_no_longer_allowed(
    settings: Settings,
) -> None:
    settings.JWT_SECRET_FALLBACKS = [EARLIER]
    by_earlier, long = signed(claims(), key=EARLIER), signed(claims())
    assert tokens.verify(by_earlier) == tokens.verify(long)

    settings.JWT_SECRET_FALLBACKS = []
    refused(by_earlier)
    settings.JWT_MAX_LIFETIME = 60
    refused(long)


# --- fallbacks ----------------------------------------------------------------------------

EARLIER = "the-secret-before-this-one-0123456789abcdef"
BEFORE_THAT = "the-secret-before-the-earlier-0123456789abc"


@pytest.fixture
def fallbacks(settings: Settings) -> None:
    settings.JWT_SECRET_FALLBACKS = [EARLIER, BEFORE_THAT]


@pytest.mark.usefixtures("fallbacks")
@pytest.mark.parametrize("key", [JWT_SECRET, EARLIER, BEFORE_THAT])
def test_token_of_every_secret_is_believed(key: str) -> None:
    assert tokens.verify(signed(claims(), key=key)).user_id == "user123"


@pytest.mark.usefixtures("fallbacks")
def test_fallback_never_signs() -> None:
    raw = tokens.issue("u", "t", lifetime_seconds=60)

    assert jwt.decode(raw, JWT_SECRET, ["HS256"])["sub"] == "u"


@pytest.mark.usefixtures("fallbacks")
@pytest.mark.parametrize("key", [JWT_SECRET, EARLIER, BEFORE_THAT])
def test_expired_token_of_every_secret_is_told_from_an_invalid_one(key: str) -> None:
    now = int(time.time())

    with pytest.raises(TokenExpired):
        tokens.verify(signed(claims(iat=now - DAY, exp=now - HOUR), key=key))


@pytest.mark.usefixtures("fallbacks")
def test_fallback_is_held_to_every_rule() -> None:
    odd: list[Any] = [
        claims(sub=""),
        claims(exp=int(time.time()) + 2 * DAY),
        claims(iat="x"),
        [],
        1,
    ]
    for sent in odd:
        refused(signed(sent, key=EARLIER))
    refused(jwt.encode(claims(), EARLIER * 2, "HS512").encode())
    refused(signed(claims(), key=EARLIER, header={"alg": "none", "typ": "JWT"}))
    refused(signed(claims(), key="another-secret-of-32-bytes-or-more"))


def test_secret_that_was_dropped_is_refused(settings: Settings) -> None:
    settings.JWT_SECRET_FALLBACKS = [EARLIER]
    assert tokens.verify(signed(claims(), key=EARLIER)).user_id == "user123"

    settings.JWT_SECRET_FALLBACKS = []
    refused(signed(claims(), key=EARLIER))


# --- accounts ------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [None, ""])
def test_token_without_an_account_follows_none(empty: str | None) -> None:
    assert tokens.verify(signed(claims())).account is None
    assert tokens.verify(signed(claims(acct=empty))).account is None


@pytest.mark.parametrize(
    "odd",
    [
        *[odd for odd in ODD if odd],
        "1",
        "1.",
        ".0123456789abcdef012345",
        "0.0123456789abcdef012345",
        "-1.0123456789abcdef012345",
        "1.0123456789abcdef01234",
        "1.0123456789abcdef0123456",
        "1.0123456789ABCDEF012345",
        "1.0123456789abcdef01234é",
        "1.0123456789abcdef012345\n",
        "١.0123456789abcdef012345",
        "9999999999999999999.0123456789abcdef012345",
    ],
    ids=lambda odd: repr(odd)[:30],
)
def test_account_that_is_odd_is_refused(odd: Any) -> None:
    refused(signed(claims(acct=odd)))


# --- minting ------------------------------------------------------------------------------


def test_token_minted_here_is_believed_and_says_no_more() -> None:
    raw = tokens.issue("user123", "tenant1", "admin", lifetime_seconds=60)

    payload = jwt.decode(raw, JWT_SECRET, ["HS256"])
    assert payload.keys() == {"sub", "tenant_id", "role", "iat", "exp"}
    assert payload["exp"] - payload["iat"] == 60
    assert tokens.verify(raw.encode()).role == "admin"


def test_token_minted_without_a_role_names_none() -> None:
    payload = jwt.decode(
        tokens.issue("u", "t", lifetime_seconds=60), JWT_SECRET, algorithms=["HS256"]
    )

    assert payload.keys() == {"sub", "tenant_id", "iat", "exp"}


def test_token_minted_for_an_account_names_it() -> None:
    raw = tokens.issue("u", "t", lifetime_seconds=60, account="7.0123456789abcdef012345")

    assert jwt.decode(raw, JWT_SECRET, ["HS256"])["acct"] == "7.0123456789abcdef012345"
    assert tokens.verify(raw.encode()).account == "7.0123456789abcdef012345"


def test_token_is_accepted_until_the_leeway_is_over() -> None:
    sent = claims()

    assert tokens.verify(signed(sent)).accepted_until == sent["exp"] + 30


def test_payload_is_ascii_for_korean_names() -> None:
    raw = tokens.issue("김철수", "테넌트", lifetime_seconds=60)

    # Clients decode it with atob, which knows no UTF-8.
    payload = base64.urlsafe_b64decode(raw.split(".")[1] + "==")
    assert payload.isascii()
    assert tokens.verify(raw.encode()).user_id == "김철수"


@pytest.mark.parametrize("seconds", [0, -1, DAY + 1])
def test_token_of_an_impossible_life_is_not_minted(seconds: int) -> None:
    with pytest.raises(ValueError, match="may live"):
        tokens.issue("u", "t", lifetime_seconds=seconds)
