"""Says since when the audit of a tenant has a record of everything that is compared with it.

Versions before wrote too little, and `hitl.audit.baseline` makes up for it once.
"""

from __future__ import annotations

from dwp_project.jsontext import canonical
from hitl.audit.hashing import FIRST_SIGNED_FORM
from hitl.models import AuditRecord
from hitl.states import AuditEvent

# The details of the last baseline record of a chain.
COMPLETE = {"kind": "complete"}


def is_complete(tenant_id: str) -> bool:
    """Say whether everything that stands in a tenant has a record that it can be compared with:
    its chain has a whole baseline, or began with records that hold enough."""
    records = AuditRecord.objects.filter(tenant_id=tenant_id)
    baseline = records.filter(event=AuditEvent.BASELINE, details=canonical(COMPLETE))
    if baseline.exists():
        return True
    form = records.filter(sequence=1).values_list("form", flat=True).first()
    if form is None:
        # Somebody has put rows into a tenant that never was; its baseline is written before
        # that of the deployment's own chain.
        return tenant_id != "" and is_complete("")
    return form >= FIRST_SIGNED_FORM
