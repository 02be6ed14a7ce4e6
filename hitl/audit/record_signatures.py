"""Signs each record when it is written, and says which records carry no good signature.

A signature is `<key id>:<base64 Ed25519 signature over the ASCII of the record's hash>`. Whoever
can only write to the database can compute hashes that fit, but cannot sign.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property

from django.db.models import QuerySet

from dwp_project import clocks
from hitl.audit import signing
from hitl.audit.hashing import FIRST_SIGNED_FORM, hash_of
from hitl.audit.signing import Trust
from hitl.models import AuditCheckpoint, AuditRecord

# How long after the deployment's first signed record the processes of the version before, which do
# not sign, may still write. Chosen: a rolling update ends within a day.
UPDATE_TAKES = timedelta(hours=24)
# Chosen: how many of a chain's first signed records are read to find one of a trusted key.
_FIRST_RECORDS = 1000

# Chosen: a decision reads the records of its request, which this process has often just written; to
# verify a signature takes longer than to make one.
_REMEMBERED = 10_000
# The hashes that this process has signed, by signature.
_signed_here: dict[str, str] = {}
# The key of the deployment's first signed record, so that each process searches for it once.
_first_of_all: list[int] = []


def sign(record_hash: str) -> str:
    """Return the signature of a record that has this hash; raises `signing.KeyUnusable`."""
    key = signing.signing_key()
    signature = f"{key.key_id}:{key.sign(record_hash.encode('ascii'))}"
    _signed_here[signature] = record_hash
    with suppress(StopIteration, RuntimeError):  # another thread has just removed one as well
        if len(_signed_here) > _REMEMBERED:
            _signed_here.pop(next(iter(_signed_here)), None)
    return signature


def is_signed_text(text: str, signature: str, *, now: datetime | None = None) -> bool:
    """Say whether a trusted key signed this digest; one without a signature may be of the version
    before as long as the update is under way."""
    if not signature:
        return is_update_under_way(now or clocks.now())
    return _trust(text, signature, signing.trusted_keys()) is Trust.KNOWN


def trust_of(entry: AuditRecord, keys: dict[str, bytes]) -> Trust:
    """Say whether the record's signature can be trusted where `keys` are the trusted; a record
    without one is `FORGED`."""
    return _trust(entry.hash, entry.signature, keys)


def _trust(text: str, signature: str, keys: dict[str, bytes]) -> Trust:
    key_id, _colon, rest = signature.partition(":")
    if not rest:
        return Trust.FORGED
    if key_id in keys and _signed_here.get(signature) == text:
        return Trust.KNOWN
    return signing.signature_trust(key_id, text.encode(), rest, keys)


class ChainSignatures:
    """Looks at the records of one chain in their order, and says which lack a good signature."""

    def __init__(
        self,
        tenant_id: str,
        *,
        vouched: int,
        now: datetime | None = None,
        are_unknown_keys_accepted: bool = True,
    ) -> None:
        """`vouched` is the last record that a trusted checkpoint vouches for, 0 without any."""
        self._are_unknown_keys_accepted = are_unknown_keys_accepted
        self._tenant_id, self._vouched = tenant_id, vouched
        self._now = now or clocks.now()
        self._keys = signing.trusted_keys()
        # Records by a key that is not trusted are those of a key that was replaced since, but
        # only before the first that a trusted key vouches for.
        self._is_trusted_key_in_use = vouched > 0
        self.by_unknown_keys = 0

    def lacks_signature(self, entry: AuditRecord) -> bool:
        """Say whether the record should carry a good signature and does not."""
        if entry.sequence <= self._vouched:
            return False
        if entry.form < FIRST_SIGNED_FORM:
            return not self._may_be_unsigned(entry)
        match trust_of(entry, self._keys):
            case Trust.KNOWN:
                self._is_trusted_key_in_use = True
                return False
            case Trust.UNKNOWN if (
                self._are_unknown_keys_accepted and not self._is_trusted_key_in_use
            ):
                self.by_unknown_keys += 1
                return False
            case _:
                return True

    def _may_be_unsigned(self, entry: AuditRecord) -> bool:
        """Say whether a record of an older form may stand where it does: the version before wrote
        it, before the chain's first signed record or before its last checkpoint. One that no
        trusted checkpoint vouches for is still not vouched for."""
        if self._is_update_under_way:
            return True
        if self._first_signed is not None:
            return entry.sequence < self._first_signed.sequence
        # By whatever key that is: to vouch for it now takes somebody who accepts that.
        return self._are_unknown_keys_accepted and entry.sequence <= self._last_checkpoint

    @cached_property
    def _is_update_under_way(self) -> bool:
        return is_update_under_way(self._now)

    @cached_property
    def _first_signed(self) -> AuditRecord | None:
        of_chain = AuditRecord.objects.filter(tenant_id=self._tenant_id)
        return _first_signed(of_chain, "sequence", self._keys)

    @cached_property
    def _last_checkpoint(self) -> int:
        of_chain = AuditCheckpoint.objects.filter(tenant_id=self._tenant_id)
        newest = of_chain.order_by("-sequence").first()
        return newest.sequence if newest else 0


def _first_signed(
    records: QuerySet[AuditRecord], order: str, keys: dict[str, bytes]
) -> AuditRecord | None:
    """Return the first of the records that a trusted key signed, or else the first of this form."""
    signed = list(records.filter(form__gte=FIRST_SIGNED_FORM).order_by(order)[:_FIRST_RECORDS])
    return next((entry for entry in signed if _is_by(keys, entry)), signed[0] if signed else None)


def _is_by(keys: dict[str, bytes], entry: AuditRecord) -> bool:
    return entry.hash == hash_of(entry) and trust_of(entry, keys) is Trust.KNOWN


def is_update_under_way(now: datetime) -> bool:
    """Say whether a process of the version before may still write records, which it does not sign:
    there is no record of this version yet, or the first that a trusted key signed is younger than
    `UPDATE_TAKES`.

    After that a record without a signature counts only where a trusted checkpoint vouches for it.
    An unsigned record's own time proves nothing, because whoever inserts it chooses that. To insert
    some of this version only ends the update sooner.
    """
    signed = AuditRecord.objects.filter(form__gte=FIRST_SIGNED_FORM)
    if (known := signed.filter(pk__in=_first_of_all).first()) is not None:
        return now - known.at <= UPDATE_TAKES
    keys = signing.trusted_keys()
    first = _first_signed(signed, "pk", keys)
    if first is None or not _is_by(keys, first):
        return first is None
    _first_of_all[:] = [first.pk]
    return now - first.at <= UPDATE_TAKES
