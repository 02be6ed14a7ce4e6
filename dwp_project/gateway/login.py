"""Login, and the answers that the front end needs when it starts (docs/reference/wire.md, 6)."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.models import User
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from dwp_project.gateway import accounts, lockout, schema, signals, tokens
from dwp_project.gateway.errors import TooManyAttempts, WrongCredentials
from dwp_project.gateway.identity import Identity, header
from dwp_project.gateway.models import role_in
from dwp_project.gateway.views import EnvelopeView, PublicView

MENU: dict[str, Any] = {
    "menuKey": "menu.ai-workspace",
    "menuName": "AI Workspace",
    "path": "/ai-workspace",
    "icon": "sparkles",
    "group": "AI",
    "depth": 1,
    "sortOrder": 1,
    "children": [],
}
PERMISSIONS = [
    {
        "resourceType": "MENU",
        "resourceKey": MENU["menuKey"],
        "permissionCode": "VIEW",
        "effect": "ALLOW",
    }
]


class LoginBody(serializers.Serializer[Any]):
    username = serializers.CharField(max_length=150, trim_whitespace=False)
    password = serializers.CharField(max_length=4096, trim_whitespace=False)
    tenantId = serializers.CharField(max_length=255, trim_whitespace=False)  # noqa: N815 - the wire's name


@schema.login
class LoginView(PublicView):
    """`POST /auth/login`: a token for a member of the tenant."""

    def post(self, request: Request) -> Response:
        body = self.body(request, LoginBody)
        user_id, tenant_id = body["username"], body["tenantId"]
        # Always both look-ups, so that the time does not reveal which of them failed.
        user = authenticate(request._request, username=user_id, password=body["password"])
        if (seconds := lockout.seconds_locked(request._request)) is not None:
            raise TooManyAttempts(seconds)
        role = role_in(user_id, tenant_id)
        if user is None or role is None:
            if user is not None:
                lockout.count_failure(request._request, user_id)
            signals.login_refused.send(
                LoginView,
                request=request._request,
                username=user_id,
                tenant_id=tenant_id,
                is_member=role is not None,
            )
            raise WrongCredentials
        signals.logged_in.send(
            LoginView,
            request=request._request,
            username=user.get_username(),
            tenant_id=tenant_id,
            role=role,
        )
        lockout.forget_failures(request._request, user)
        lifetime = min(settings.JWT_LOGIN_LIFETIME, settings.JWT_MAX_LIFETIME)
        return self.success(
            {
                "accessToken": tokens.issue(
                    user.get_username(),
                    tenant_id,
                    role,
                    lifetime_seconds=lifetime,
                    account=accounts.claim_of(user),
                ),
                "tokenType": "Bearer",
                "expiresIn": lifetime,
                "userId": user.get_username(),
                "tenantId": tenant_id,
                "permissions": PERMISSIONS,
                "menus": [MENU],
            },
            "Login successful",
        )


@schema.policy
class PolicyView(PublicView):
    def get(self, request: Request) -> Response:
        return self.success(
            {
                "tenantId": header(request._request, "X-Tenant-ID") or "",
                "defaultLoginType": "LOCAL",
                "allowedLoginTypes": ["LOCAL"],
                "localLoginEnabled": True,
                "ssoLoginEnabled": False,
                "requireMfa": False,
            },
            "Login policy retrieved",
        )


@schema.idp
class IdentityProvidersView(PublicView):
    def get(self, request: Request) -> Response:
        return self.success([], "Identity providers retrieved")


@schema.me
class MeView(EnvelopeView):
    def get(self, request: Request) -> Response:
        identity = self.identity(request)
        user = get_user_model().objects.filter(username=identity.user_id).first()
        return self.success(
            {
                "userId": identity.user_id,
                "displayName": _display_name(identity, user),
                "email": identity.email or (user.email if user else ""),
                "tenantId": identity.tenant_id,
                "tenantCode": identity.tenant_id,
                "roles": [identity.role],
            },
            "User retrieved",
        )


@schema.permissions
class PermissionsView(EnvelopeView):
    def get(self, request: Request) -> Response:
        return self.success(PERMISSIONS, "Permissions retrieved")


@schema.menus
class MenusView(EnvelopeView):
    def get(self, request: Request) -> Response:
        return self.success({"menus": [MENU]}, "Menus retrieved")


def _display_name(identity: Identity, user: User | None) -> str:
    return (user.get_full_name() if user else "") or identity.user_id
