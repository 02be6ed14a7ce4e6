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
# Changes of memberships. Arguments: membership, a dict of username, tenant_id and role, as it is
# now or was before it was removed; a changed one has the dict `before` as well.
membership_added = Signal()
membership_changed = Signal()
membership_removed = Signal()
