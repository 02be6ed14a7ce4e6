"""Says which chains an operator may read and sign, and names the operator as their actor."""

from __future__ import annotations

from django.http import HttpRequest

from dwp_project.gateway.operators import Operator
from hitl.actors import Actor, operator_actor


def readable_chains(operator: Operator) -> list[str]:
    """Return the tenants whose chain the operator may read, verify and export: every one they
    belong to, in whatever role. Superusers have the deployment's own ('') as well."""
    return [*operator.tenants, *([""] if operator.is_superuser else [])]


def signable_chains(operator: Operator) -> list[str]:
    """Return the tenants whose chain the operator may sign: those they administer. Superusers
    have the deployment's own ('') as well."""
    return [*operator.administers, *([""] if operator.is_superuser else [])]


def reader_actor(operator: Operator, tenant_id: str, request: HttpRequest) -> Actor:
    """Return the operator as actor in a tenant."""
    return operator_actor(operator.username, tenant_id, operator.roles.get(tenant_id, ""), request)
