"""Which secrets can be guessed: those that examples show, and none that a generator makes."""

from __future__ import annotations

import base64
import string
from collections.abc import Callable
from random import Random
from uuid import UUID

import pytest

from dwp_project import strength

# What tutorials, templates and hasty people write for a JWT secret.
EXAMPLES = [
    "your_shared_secret_key_must_be_at_least_256_bits_long_for_HS256",
    "your-256-bit-secret-your-256-bit-secret",
    "your-super-secret-jwt-token-with-at-least-32-characters-long",
    "YOUR_SUPER_SECRET_KEY_MAKE_SURE_IT_IS_LONG_ENOUGH",
    "your_super_secret_jwt_key_change_this_in_production",
    "a-string-secret-at-least-256-bits-long",
    "test-secret-key-for-jwt-signing-must-be-long-enough-32",
    "my-super-secret-key-that-is-long-enough-for-hmac",
    "mySecretKeyForJWTTokenGenerationAndValidation2024",
    "mySecretKeyForAdminDashboardServiceJwtAuthenticationToken123456789",
    "thisIsAVerySecretKeyForJwtAuthentication12345678901234567890",
    "dev-only-jwt-key-do-not-use-in-production-0001",
    "dwp_production_jwt_key_2024_do_not_share",
    "dwp-backend-jwt-key-must-be-32-bytes-long",
    "hitl-approval-service-jwt-2026-01",
    "default_key_for_local_development_only_32",
    "jwt_key_jwt_key_jwt_key_jwt_key_1",
    "admin123admin123admin123admin12345",
    "bezKoderSecretKeyBezKoderSecretKey",
    "The-quick-brown-fox-jumps-over-the-lazy-dog",
    "MyVeryStrongSecretKeyWhichIsVeryLongForHS512AlgorithmToWorkProperly",
    "supersecretkeysupersecretkey1234",
    "qwertyuiopasdfghjklzxcvbnm123456",
    "01234567890123456789012345678901",
    "aAbBcCdDeEfFgGhHiIjJkKlLmMnNoOpP",
    "abcdabcdabcdabcdabcdabcdabcdabcdXYZ",
    # The same in base64 and in hexadecimal digits.
    "bXlTdXBlclNlY3JldEtleUZvckpXVFRva2Vu",
    b"your-256-bit-secret-in-hex".hex(),
    # Random once, and printed in tutorials since.
    "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
    "413F4428472B4B6250655368566D5970337336763979244226452948404D6351",
    "5367566B59703373367639792F423F4528482B4D6251655468576D5A71347437",
    "46294A404E635266556A586E327235753878214125442A472D4B615064536756",
    "244226452948404D6351655468576D5A7134743777217A25432A462D4A614E64",
    "4D6351655468576D5A7134743777217A25432A462D4A614E645267556A586E32",
    "@NcRfUjXn2r5u8x/A?D(G+KbPdSgVkYp",
    "3cfa76ef14937c1c0ea519f8fc057a80fcd04a7420f8e8bcd0a7567c272e007b",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
]


def urlsafe(random: Random, size: int) -> str:
    return base64.urlsafe_b64encode(random.randbytes(size)).rstrip(b"=").decode()


def uuid4(random: Random) -> UUID:
    return UUID(int=random.getrandbits(128), version=4)


def characters(random: Random, alphabet: str, count: int) -> str:
    return "".join(random.choices(alphabet, k=count))


def pronounceable(random: Random, count: int) -> str:
    """Return what pwgen makes: syllables, here and there a capital or a digit."""
    parts = [
        random.choice(["b", "ch", "d", "f", "g", "k", "l", "m", "n", "ng", "p", "qu", "r", "s"])
        + random.choice(["a", "ae", "ah", "e", "ee", "i", "ie", "o", "oo", "u"])
        for _ in range(count)
    ]
    mixed = [part.capitalize() if random.random() < 0.3 else part for part in parts]
    return "".join(f"{part}{random.choice(['', '', '', '7'])}" for part in mixed)[:count]


MAKERS: dict[str, Callable[[Random], str]] = {
    # secrets.token_urlsafe and token_hex, `openssl rand -hex` and `-base64`
    "urlsafe 24": lambda random: urlsafe(random, 24),
    "urlsafe 32": lambda random: urlsafe(random, 32),
    "urlsafe 48": lambda random: urlsafe(random, 48),
    "hex 16": lambda random: random.randbytes(16).hex(),
    "hex 32": lambda random: random.randbytes(32).hex().upper(),
    "base64 24": lambda random: base64.b64encode(random.randbytes(24)).decode(),
    "base64 32": lambda random: base64.b64encode(random.randbytes(32)).decode(),
    "base64 48": lambda random: base64.b64encode(random.randbytes(48)).decode(),
    # django.core.management.utils.get_random_secret_key
    "django": lambda random: characters(
        random, "abcdefghijklmnopqrstuvwxyz0123456789!@#$%^&*(-_=+)", 50
    ),
    "uuid4": lambda random: str(uuid4(random)),
    "two of uuid4": lambda random: f"{uuid4(random)}{uuid4(random)}",
    "hex of uuid4": lambda random: uuid4(random).hex,
    "pwgen": lambda random: pronounceable(random, 32),
    "pwgen -s": lambda random: characters(random, string.ascii_letters + string.digits, 32),
    "pwgen -sy": lambda random: characters(
        random, string.ascii_letters + string.digits + string.punctuation, 32
    ),
    "small letters": lambda random: characters(random, string.ascii_lowercase, 32),
    "digits": lambda random: characters(random, string.digits, 40),
    "base64 of a password": lambda random: base64.b64encode(
        characters(random, string.ascii_letters + string.digits, 24).encode()
    ).decode(),
    "prefix and urlsafe": lambda random: f"dwp-jwt-secret:{urlsafe(random, 24)}",
    "prefix and hex": lambda random: f"secret_key_for_production_{random.randbytes(16).hex()}",
}


@pytest.mark.parametrize("secret", EXAMPLES)
def test_example_is_weak(secret: str) -> None:
    assert strength.weakness_of(secret) is not None


@pytest.mark.parametrize("name", MAKERS)
def test_generated_secret_is_never_taken_for_weak(name: str) -> None:
    random = Random(name)
    made = [MAKERS[name](random) for _ in range(3000)]
    assert [secret for secret in made if strength.weakness_of(secret)] == []


@pytest.mark.parametrize("size", [8, 12, 16])
def test_generated_token_for_metrics_is_never_taken_for_weak(size: int) -> None:
    random = Random(size)
    made = [random.randbytes(size).hex() for _ in range(3000)]
    assert [secret for secret in made if strength.weakness_of(secret, least=16)] == []


@pytest.mark.parametrize(
    ("user", "password"),
    [
        *(("postgres", "postgres"), ("dwp", "dwp"), ("kim", "Kim"), ("default", "default")),
        *((None, word) for word in ("secret", "admin", "test", "root", "redis", "password")),
        *((None, word) for word in ("changeme", "change-me", "Example", "admin123", "123456")),
        *((None, word) for word in ("your-password", "supersecret", "<password>", "${PASSWORD}")),
    ],
)
def test_password_of_an_example_is_one(user: str | None, password: str) -> None:
    assert strength.is_example_password(password, user)


@pytest.mark.parametrize("password", [None, "", "hunter2", "dwp-x7Qm", "correct.mule"])
def test_password_of_nobody_else_is_none(password: str | None) -> None:
    assert not strength.is_example_password(password, "dwp")
