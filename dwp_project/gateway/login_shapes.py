"""Shapes of login and of the front end's start-up in the API description (wire.md, 6)."""

from __future__ import annotations

from typing import Any

from dwp_project.gateway.openapi import Schema, component, list_of, member, record

USER_ID = "user123"
EXAMPLE_MENU: dict[str, Any] = {
    "menuKey": "menu.ai-workspace",
    "menuName": "AI Workspace",
    "path": "/ai-workspace",
    "icon": "sparkles",
    "group": "AI",
    "depth": 1,
    "sortOrder": 1,
    "children": [],
}
EXAMPLE_PERMISSION = {
    "resourceType": "MENU",
    "resourceKey": "menu.ai-workspace",
    "permissionCode": "VIEW",
    "effect": "ALLOW",
}


def _texts(*names: str) -> dict[str, Schema]:
    return {name: {"type": "string"} for name in names}


MENU = component(
    "Menu",
    record(
        {
            **_texts("menuKey", "menuName", "path", "icon", "group"),
            "depth": {"type": "integer"},
            "sortOrder": {"type": "integer"},
            "children": list_of({"$ref": "#/components/schemas/Menu"}),
        },
        description="One entry of the front end's menu.",
    ),
)
PERMISSION = component(
    "Permission",
    record(
        _texts("resourceType", "resourceKey", "permissionCode", "effect"),
        description="What the user may do with one part of the front end.",
    ),
)
SIGNED_IN = component(
    "SignedIn",
    record(
        {
            "accessToken": member("string", "Send it as `Authorization: Bearer <accessToken>`."),
            "tokenType": {"type": "string", "enum": ["Bearer"]},
            "expiresIn": member("integer", "Seconds until the token ends; then log in again."),
            "userId": member("string", "The token's `sub`."),
            "tenantId": member("string", "The token's `tenant_id`, as the body gave it."),
            "permissions": list_of(PERMISSION),
            "menus": list_of(MENU),
        }
    ),
)
POLICY = component(
    "LoginPolicy",
    record(
        {
            "tenantId": member("string", "What `X-Tenant-ID` says; empty without it."),
            "defaultLoginType": {"type": "string", "enum": ["LOCAL"]},
            "allowedLoginTypes": list_of({"type": "string", "enum": ["LOCAL"]}),
            "localLoginEnabled": {"type": "boolean"},
            "ssoLoginEnabled": {"type": "boolean"},
            "requireMfa": {"type": "boolean"},
        }
    ),
)
USER = component(
    "User",
    record(
        {
            **_texts("userId", "displayName", "email", "tenantId", "tenantCode"),
            "roles": member(
                list_of({"type": "string"}),
                "The token's role; without one the membership's; without that, `user`.",
            ),
        }
    ),
)
