"""Tokens that nobody with the secret made as they should be (docs/reference/wire.md, 1)."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from dwp_project.gateway import tokens
from dwp_project.gateway.errors import TokenExpired, TokenInvalid
from tests.services import JWT_SECRET
from tests.unit.gateway.forging import claims, refused, signed


def test_token_signed_with_another_key_is_refused() -> None:
    refused(signed(claims(), key="another-secret-of-32-bytes-or-more"))


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", "HS1", "hs256", None, 1, ["HS256"]], ids=repr
)
def test_token_that_names_another_algorithm_is_refused(algorithm: Any) -> None:
    refused(signed(claims(), header={"alg": algorithm, "typ": "JWT"}))


def test_token_without_a_signature_is_refused() -> None:
    head, body, _ = jwt.encode(claims(), "", "none").encode().split(b".")

    refused(b".".join([head, body, b""]))
    refused(head + b"." + body)


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_token_of_another_strength_is_refused(algorithm: str) -> None:
    refused(jwt.encode(claims(), JWT_SECRET * 2, algorithm).encode())


def test_token_of_a_key_pair_is_refused() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    refused(jwt.encode(claims(), key, "RS256").encode())
    refused(signed(claims(), key=public.decode()))


@pytest.mark.parametrize(
    "payload", [None, [], "text", 1, {}, [claims()]], ids=lambda payload: repr(payload)[:10]
)
def test_token_that_holds_no_claims_is_refused(payload: Any) -> None:
    refused(signed(payload))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_refused_and_nothing_else_happens(raw: bytes) -> None:
    refused(raw)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@given(
    st.sampled_from(["sub", "tenant_id", "exp", "iat", "role", "email", "jti", "nbf", "aud"]), _json
)
def test_any_claim_is_believed_or_refused(claim: str, value: Any) -> None:
    # Any other exception fails the test.
    with suppress(TokenInvalid, TokenExpired):
        tokens.verify(signed(claims(**{claim: value})))


def test_claim_nested_too_deep_is_refused_or_ignored() -> None:
    payload = json.dumps(claims(deep="?")).replace('"?"', "[" * 2500 + "]" * 2500).encode()

    refused(signed(payload))
