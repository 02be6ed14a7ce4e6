"""The three people of every test, and the tokens they carry."""

from __future__ import annotations

from dataclasses import dataclass

from dwp_project.gateway import tokens

TENANT = "tenant1"
OTHER_TENANT = "tenant2"


def make_token(
    user_id: str = "user123",
    tenant_id: str = TENANT,
    role: str | None = "user",
    lifetime_seconds: int = 3600,
) -> str:
    """Return a token that is valid for `lifetime_seconds`."""
    return tokens.issue(user_id, tenant_id, role, lifetime_seconds=lifetime_seconds)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a valid token; needs no row in the database."""

    user_id: str
    tenant_id: str
    role: str

    @property
    def token(self) -> str:
        return make_token(self.user_id, self.tenant_id, self.role)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request by this person, as clients spell them."""
        return {"Authorization": f"Bearer {self.token}", "X-Tenant-ID": self.tenant_id}


REQUESTER = Person("user123", TENANT, "user")
APPROVER = Person("approver1", TENANT, "approver")
OUTSIDER = Person("outsider1", OTHER_TENANT, "approver")
