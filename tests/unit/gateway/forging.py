"""Tokens of other issuers, honest and forged."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest

from dwp_project.gateway import tokens
from dwp_project.gateway.errors import TokenInvalid
from tests.services import JWT_SECRET

HOUR, DAY = 3600, 24 * 3600


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a token of an hour, as another issuer mints it."""
    now = int(time.time())
    return {"sub": "user123", "tenant_id": "tenant1", "iat": now, "exp": now + HOUR, **changes}


def signed(payload: Any, key: str = JWT_SECRET, header: dict[str, Any] | None = None) -> bytes:
    """Sign any JSON, also what a library would refuse to mint; bytes are JSON already."""
    text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = json.dumps(header or {"alg": "HS256", "typ": "JWT"}).encode()
    parts = base64url(head) + b"." + base64url(text)
    algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    return parts + b"." + base64url(algorithm.sign(parts, key.encode()))


def base64url(text: bytes) -> bytes:
    """Return `text` as tokens spell it."""
    return base64.urlsafe_b64encode(text).rstrip(b"=")


def refused(raw: bytes) -> None:
    """Check that `raw` is no valid token, and never was one."""
    with pytest.raises(TokenInvalid):
        tokens.verify(raw)
