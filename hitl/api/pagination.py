"""Pages of the tenant's requests, newest first (wire.md, 3.5)."""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from django.conf import settings
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from rest_framework.request import Request

from dwp_project.gateway.errors import InvalidValue
from hitl.approvals import permissions
from hitl.models import ApprovalRequest, is_id
from hitl.states import Status

PAGE_SIZE = 50  # wire.md, 3.5
# What a cursor holds: the primary key of its page's last request, and a digest of the tenant.
_KEY_BYTES, _DIGEST_BYTES = 8, 8
# A cursor as version 0.1.0 gave it out, once base64 is removed.
_OLD_CURSOR = re.compile(rb"p=(-?[0-9]{1,40})")


def page_of(request: Request, tenant_id: str) -> tuple[list[ApprovalRequest], str | None]:
    """Return a page of the requests by `status`, `sessionId` and `cursor`, and the next cursor.

    The next cursor is None on the last page. Raises `InvalidValue` for an unknown status or
    cursor (wire.md, 3.5).
    """
    requests = permissions.visible_in(tenant_id)
    if status := request.query_params.get("status"):
        if status not in Status.values:
            raise InvalidValue(
                _("status is one of: %(names)s.") % {"names": ", ".join(Status.values)}
            )
        requests = requests.filter(status=status)
    if session_id := request.query_params.get("sessionId"):
        if not is_id(session_id):
            return [], None
        requests = requests.filter(session_id=session_id)
    if cursor := request.query_params.get("cursor"):
        last = _last_before(cursor, tenant_id)
        if last is None:
            return [], None
        requests = requests.filter(pk__lt=last)
    page = list(requests.order_by("-pk")[: PAGE_SIZE + 1])
    has_more = len(page) > PAGE_SIZE
    return page[:PAGE_SIZE], _cursor_after(page[PAGE_SIZE - 1]) if has_more else None


def _cursor_after(last: ApprovalRequest) -> str:
    """Return the cursor of the page that begins behind `last`.

    It is encrypted, because primary keys count the requests of all tenants, and as long for every
    position.
    """
    content = last.pk.to_bytes(_KEY_BYTES, "big") + _digest(last.tenant_id)
    encrypted = _ciphers()[0].encrypt(content, None)
    return urlsafe_b64encode(encrypted).decode().rstrip("=")


def _last_before(cursor: str, tenant_id: str) -> int | None:
    """Return the primary key behind which the cursor's page begins.

    None for a cursor that leads nowhere in this tenant, such as another tenant's. Raises
    `InvalidValue` for one that no list gave out.
    """
    content = _decrypted(cursor)
    if content is None:
        return _old_last_before(cursor, tenant_id)
    if content[_KEY_BYTES:] != _digest(tenant_id):
        return None
    return int.from_bytes(content[:_KEY_BYTES], "big")


def _decrypted(cursor: str) -> bytes | None:
    try:
        encrypted = urlsafe_b64decode(cursor.encode("ascii") + b"==")
    except ValueError:
        return None
    for cipher in _ciphers():
        try:
            return cipher.decrypt(encrypted, None)
        except (InvalidTag, ValueError):
            continue
    return None


def _old_last_before(cursor: str, tenant_id: str) -> int | None:
    """Do the same for a cursor of a list that was begun before an update.

    Only the key of one of the tenant's own requests leads anywhere: with any number, clients could
    find out the numbers of their requests. May go in the version after the next.
    """
    try:
        number = _OLD_CURSOR.fullmatch(b64decode(cursor, validate=True))
    except ValueError:
        number = None
    if number is None:
        raise InvalidValue(_("cursor is not one that this list gave out."))
    own = permissions.visible_in(tenant_id).filter(pk=int(number[1]))
    return own.values_list("pk", flat=True).first()


def _ciphers() -> list[AESSIV]:
    """Return the cipher of cursors, and those that only decrypt, while secrets are exchanged."""
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [
        AESSIV(salted_hmac(__name__, "cursor", secret=secret, algorithm="sha256").digest())
        for secret in secrets
    ]


def _digest(tenant_id: str) -> bytes:
    return sha256(tenant_id.encode()).digest()[:_DIGEST_BYTES]
