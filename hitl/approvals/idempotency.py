"""Replays the first answer to a request that is sent again under its Idempotency-Key
(docs/reference/wire.md, 3.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from dwp_project import clocks
from dwp_project.gateway.errors import DwpError, InvalidValue
from dwp_project.gateway.identity import Identity
from dwp_project.jsontext import compact, digest, parse
from hitl.audit import record_signatures
from hitl.errors import AlreadyDecided, IdempotencyKeyReused, RequestChanged
from hitl.models import KeptAnswer

# How long an answer is replayed, and what a key may be (wire.md, 3.2).
KEPT_FOR = timedelta(hours=24)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Answer = tuple[int, dict[str, Any]]


def answer_once(
    identity: Identity,
    endpoint: str,
    key: str | None,
    payload: Any,
    act: Callable[[], Answer],
    *,
    now: datetime | None = None,
) -> Answer:
    """Return the answer of `act`, or its first answer under this key: HTTP status and body.

    The answer is stored in the transaction in which `act` works, and only if it is a success:
    a refusal leaves the key unused. Of several calls at once, one acts and the others replay.
    A key belongs to the identity's tenant and user and to the endpoint. Raises `InvalidValue`
    for an unusable key, `IdempotencyKeyReused` for another payload, `RequestChanged` for an answer
    that somebody changed in the database, and what `act` raises.
    """
    if key is None:
        return act()
    if not _KEY.fullmatch(key):
        raise InvalidValue(_("Idempotency-Key is 1 to 255 visible ASCII characters."))
    now = now or clocks.now()
    refusal: Exception | None = None
    answer: Answer | None = None
    with transaction.atomic():
        stored = _lock_answer(identity, endpoint, key, digest(payload), now)
        if stored.status:
            if not record_signatures.is_signed_text(_signed_text(stored), stored.signature):
                raise RequestChanged
            return stored.status, parse(stored.body)
        try:
            answer = act()
        except (DwpError, AlreadyDecided) as exc:
            # Raised after the commit, so that the audit record of the refusal stays.
            refusal = exc
        if answer is not None and answer[0] < 300:
            stored.status, stored.body = answer[0], compact(answer[1])
            stored.signature = record_signatures.sign(_signed_text(stored))
            stored.save(update_fields=["status", "body", "signature"])
        else:
            stored.delete()
    if refusal is not None:
        raise refusal
    assert answer is not None
    return answer


def forget_old(*, now: datetime | None = None) -> int:
    """Delete answers older than `KEPT_FOR`; return how many."""
    expired = KeptAnswer.objects.filter(created_at__lt=(now or clocks.now()) - KEPT_FOR)
    return expired.delete()[0]


def _signed_text(answer: KeptAnswer) -> str:
    """Return the digest of a kept answer and of all that it is found by, which is signed."""
    scope = [answer.tenant_id, answer.user_id, answer.endpoint, answer.key]
    return digest(["kept answer", *scope, answer.payload_digest, answer.status, answer.body])


def _lock_answer(
    identity: Identity, endpoint: str, key: str, payload_digest: str, now: datetime
) -> KeptAnswer:
    """Return the key's row, locked until the transaction ends; a new one if there is none.

    Raises `IdempotencyKeyReused` if the row is of another payload.
    """
    scope = {
        "tenant_id": identity.tenant_id,
        "user_id": identity.user_id,
        "endpoint": endpoint,
        "key": key,
    }
    defaults = {"payload_digest": payload_digest, "created_at": now}
    KeptAnswer.objects.filter(**scope, created_at__lt=now - KEPT_FOR).delete()
    KeptAnswer.objects.get_or_create(**scope, defaults=defaults)
    # Another transaction may have deleted the row meanwhile, because its request was refused.
    stored = KeptAnswer.objects.select_for_update().filter(**scope).first()
    if stored is None:
        return _lock_answer(identity, endpoint, key, payload_digest, now)
    if stored.payload_digest != payload_digest:
        raise IdempotencyKeyReused
    return stored
