"""The deployment's key, which signs records, checkpoints and exports, and the keys it trusts."""

from __future__ import annotations

import base64
import binascii
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from dwp_project.datadir import secret

GENERATED_NAME = "audit_signing_key"
# The length of an Ed25519 private key (RFC 8032, 5.1.5).
_SEED_BYTES = 32


class KeyUnusable(ImproperlyConfigured):
    """A configured key cannot be used; the message names the setting and never the key."""


class Trust(Enum):
    """Whether a signature can be trusted."""

    KNOWN = auto()  # by a trusted key
    UNKNOWN = auto()  # by a key that is not trusted here: anybody may have made it
    FORGED = auto()  # not by the trusted key that it names


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and the name of its public half."""

    private: Ed25519PrivateKey
    public: bytes
    key_id: str

    def sign(self, message: bytes) -> str:
        """Return the signature in base64."""
        return base64.b64encode(self.private.sign(message)).decode("ascii")


def key_id_of(public: bytes) -> str:
    """Return the name of a public key: 16 hexadecimal digits of its SHA-256."""
    return sha256(public).hexdigest()[:16]


def signing_key() -> SigningKey:
    """Return the key of AUDIT_SIGNING_KEY or AUDIT_SIGNING_KEY_FILE, or else the one under
    DATA_DIR, generated on first use. Raises `KeyUnusable`."""
    return _signing_key(
        settings.AUDIT_SIGNING_KEY, settings.AUDIT_SIGNING_KEY_FILE, str(settings.DATA_DIR)
    )


def trusted_keys() -> dict[str, bytes]:
    """Return the trusted public keys by id: those of AUDIT_TRUSTED_KEYS and the deployment's own.
    Raises `KeyUnusable`."""
    keys = {key_id_of(public): public for public in _configured_public_keys()}
    own = signing_key()
    return {**keys, own.key_id: own.public}


def signature_trust(key_id: str, message: bytes, signature: str, keys: dict[str, bytes]) -> Trust:
    """Say whether a signature by the key `key_id` can be trusted where `keys` are the trusted."""
    if key_id not in keys:
        return Trust.UNKNOWN
    return Trust.KNOWN if is_signed_by(keys[key_id], message, signature) else Trust.FORGED


# Chosen: the records of signals that are due again are verified at each attempt.
@lru_cache(maxsize=4096)
def is_signed_by(public: bytes, message: bytes, signature: str) -> bool:
    """Say whether the base64 `signature` of `message` was made with the key of `public`."""
    try:
        raw = base64.b64decode(signature, validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(raw, message)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def public_key_of(text: bytes, name: str) -> bytes:
    """Return the 32 bytes of a public key in PEM, or in base64; raises `KeyUnusable`."""
    try:
        if b"-----BEGIN" in text:
            key = serialization.load_pem_public_key(text)
            if isinstance(key, Ed25519PublicKey):
                return key.public_bytes_raw()
        else:
            raw = base64.b64decode(text.strip(), validate=True)
            return Ed25519PublicKey.from_public_bytes(raw).public_bytes_raw()
    except (ValueError, UnsupportedAlgorithm):
        pass
    raise KeyUnusable(f"{name} holds no Ed25519 public key, neither in PEM nor in base64.")


def public_pem(public: bytes) -> str:
    """Return a public key in PEM."""
    return (
        Ed25519PublicKey.from_public_bytes(public)
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode("ascii")
    )


def is_generated() -> bool:
    """Say whether no key is configured and the one under DATA_DIR is used."""
    return not (settings.AUDIT_SIGNING_KEY or settings.AUDIT_SIGNING_KEY_FILE)


def is_open_to_others() -> bool:
    """Say whether everybody on the machine may read the key's file."""
    file = settings.AUDIT_SIGNING_KEY_FILE
    try:
        return bool(file) and bool(Path(file).stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


@lru_cache(maxsize=8)
def _signing_key(text: str, file: str, data_dir: str) -> SigningKey:
    if text and file:
        raise KeyUnusable("AUDIT_SIGNING_KEY and AUDIT_SIGNING_KEY_FILE are both set. Set one.")
    if file:
        try:
            text = Path(file).read_text(encoding="ascii")
        except (OSError, ValueError) as exc:
            raise KeyUnusable(f"AUDIT_SIGNING_KEY_FILE {file} cannot be read: {exc}") from exc
    name = "AUDIT_SIGNING_KEY_FILE" if file else "AUDIT_SIGNING_KEY"
    if not text:
        name = GENERATED_NAME
        text = secret(Path(data_dir), GENERATED_NAME, _generate_pem)
    private = _parse_private_key(text.strip(), name)
    public = private.public_key().public_bytes_raw()
    return SigningKey(private, public, key_id_of(public))


def _parse_private_key(text: str, name: str) -> Ed25519PrivateKey:
    try:
        if "-----BEGIN" in text:
            # In an environment file the value is one line, with its line breaks written as \\n.
            pem = text.replace("\\n", "\n").encode()
            key = serialization.load_pem_private_key(pem, password=None)
            if isinstance(key, Ed25519PrivateKey):
                return key
        else:
            seed = base64.b64decode(text, validate=True)
            if len(seed) == _SEED_BYTES:
                return Ed25519PrivateKey.from_private_bytes(seed)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    # The message does not quote the text: it is a secret.
    raise KeyUnusable(
        f"{name} holds no Ed25519 key: neither an unencrypted PEM (PKCS 8) nor the base64 of "
        "32 bytes. Make one with: openssl genpkey -algorithm ed25519"
    ) from None


def _generate_pem() -> str:
    return (
        Ed25519PrivateKey.generate()
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode("ascii")
    )


def _configured_public_keys() -> Iterator[bytes]:
    for name in settings.AUDIT_TRUSTED_KEYS:
        path = Path(name)
        try:
            files = sorted(path.glob("*.pem")) if path.is_dir() else [path]
            texts = [(file, file.read_bytes()) for file in files]
        except OSError as exc:
            raise KeyUnusable(f"AUDIT_TRUSTED_KEYS names {path}, which cannot be read.") from exc
        for file, text in texts:
            yield public_key_of(text, str(file))
