"""Audit records as the version before wrote them: of form 2, without a signature, and without what
new records say of an opening."""

from __future__ import annotations

import json
from collections.abc import Iterable

from django.db import connection

from dwp_project.jsontext import canonical
from hitl.audit import triggers
from hitl.audit.hashing import GENESIS, hash_of
from hitl.models import AuditChain, AuditRecord

_NEW = {
    *("userId", "agentId", "messageDigest", "createdAt", "expiresAtExact"),
    *("rule", "owner", "requestDigest"),
}


def wrote_everything() -> None:
    """Have the version before have written every record."""
    _rewrite(AuditRecord.objects.all())


def wrote(request_id: str) -> None:
    """Have the version before have written the records of one request."""
    _rewrite(AuditRecord.objects.filter(request_id=request_id))


def _rewrite(older: Iterable[AuditRecord]) -> None:
    keys = {entry.pk for entry in older}
    triggers.remove(connection)
    for chain in AuditChain.objects.all():
        chain.last_hash = GENESIS
        for entry in AuditRecord.objects.filter(tenant_id=chain.tenant_id).order_by("sequence"):
            if entry.pk in keys:
                entry.form, entry.signature = 2, ""
                entry.details = _without_new(json.loads(entry.details))
            entry.previous_hash = chain.last_hash
            entry.hash = chain.last_hash = hash_of(entry)
            entry.save()
        chain.save()
    triggers.install(connection)


def _without_new(details: dict[str, object]) -> str:
    is_new = {name for name in details if name in _NEW}
    if isinstance(details.get("expiresAt"), str):
        is_new.add("expiresAt")
    return canonical({name: value for name, value in details.items() if name not in is_new})
