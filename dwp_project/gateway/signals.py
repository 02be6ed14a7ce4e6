"""Signals of the edge, sent inside the transaction of the change where there is one."""

from __future__ import annotations

from django.dispatch import Signal

# A login over REST. Arguments: request, username, tenant_id, role.
logged_in = Signal()
# A login over REST that was refused. Arguments: request, username, tenant_id, is_member: whether
# somebody of that name belongs to that tenant.
login_refused = Signal()
# A sign-in to the pages with a right password by somebody who is not of the staff. Arguments:
# request, username.
sign_in_refused = Signal()
# Too many sign-ins failed. Arguments: request, username, address, by: what is locked, "name and
# address" or "address"; failures: how many.
sign_in_locked = Signal()
# Failed sign-ins were removed, and locks with them. Arguments: username, address; empty ones stand
# for every name and every address.
sign_in_unlocked = Signal()
# Changes of memberships. Arguments: membership, a dict of username, tenant_id and role, as it is
# now or was before it was removed; a changed one has the dict `before` as well.
membership_added = Signal()
membership_changed = Signal()
membership_removed = Signal()
