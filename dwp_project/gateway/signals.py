"""What the edge tells others, within the transaction of what happened where there is one."""

from __future__ import annotations

from django.dispatch import Signal

# A login over REST. Arguments: request, username, tenant_id, role.
logged_in = Signal()
# A login over REST that was refused. Arguments: request, username, tenant_id, is_member: whether
# somebody of that name belongs to that tenant.
login_refused = Signal()
# A sign-in to the pages with a right password by somebody who may not. Arguments: request,
# username.
sign_in_refused = Signal()
# Memberships, each as a dict of username, tenant_id and role. Arguments: membership, as it is now
# or was before it was removed; of a changed one also before.
membership_added = Signal()
membership_changed = Signal()
membership_removed = Signal()
