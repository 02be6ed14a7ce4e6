"""How login and the front end's start-up describe themselves (wire.md, 6)."""

from __future__ import annotations

from drf_spectacular.helpers import lazy_serializer
from drf_spectacular.utils import extend_schema_view

from dwp_project.gateway import errors
from dwp_project.gateway.login_shapes import (
    EXAMPLE_MENU,
    EXAMPLE_PERMISSION,
    MENU,
    PERMISSION,
    POLICY,
    SIGNED_IN,
    USER,
    USER_ID,
)
from dwp_project.gateway.openapi import (
    IDENTIFIED,
    STORED,
    TENANT,
    answer,
    body,
    enveloped,
    example,
    header,
    list_of,
    operation,
    record,
)

login = extend_schema_view(
    post=operation(
        "Login",
        "Log in",
        "Exchanges a user name and a password for a token of one tenant. There is nothing to "
        "refresh: when the token has expired, log in again. A wrong password and a tenant the "
        "user does not belong to get the same answer.",
        operation_id="log_in",
        request=body(
            lazy_serializer("dwp_project.gateway.login.LoginBody")(),
            {"a member": {"username": USER_ID, "password": "correct horse", "tenantId": TENANT}},
        ),
        answers={
            200: answer(
                "The token, and what the front end starts with.",
                enveloped(SIGNED_IN),
                [
                    example(
                        "logged in",
                        "Login successful",
                        {
                            "accessToken": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyMTIzIn0.c2lnbg",
                            "tokenType": "Bearer",
                            "expiresIn": 28800,
                            "userId": USER_ID,
                            "tenantId": TENANT,
                            "permissions": [EXAMPLE_PERMISSION],
                            "menus": [EXAMPLE_MENU],
                        },
                    )
                ],
            )
        },
        raised=[
            errors.ValidationFailed("password: This field is required."),
            errors.BodyTooLarge(),
            errors.WrongCredentials(),
            errors.TooManyAttempts(900),
            *STORED,
        ],
        is_public=True,
    )
)

policy = extend_schema_view(
    get=operation(
        "Login",
        "How one may log in",
        "The front end asks this before it shows its login form: with a password, and with "
        "nothing else.",
        operation_id="get_login_policy",
        parameters=[header("X-Tenant-ID", "Optional here; repeated as `tenantId`.")],
        answers={
            200: answer(
                "The policy.",
                enveloped(POLICY),
                [
                    example(
                        "passwords",
                        "Login policy retrieved",
                        {
                            "tenantId": TENANT,
                            "defaultLoginType": "LOCAL",
                            "allowedLoginTypes": ["LOCAL"],
                            "localLoginEnabled": True,
                            "ssoLoginEnabled": False,
                            "requireMfa": False,
                        },
                    )
                ],
            )
        },
        raised=(),
        is_public=True,
    )
)

idp = extend_schema_view(
    get=operation(
        "Login",
        "Identity providers",
        "Other places to log in at. There are none: the list is always empty.",
        operation_id="list_identity_providers",
        answers={
            200: answer(
                "No identity providers.",
                enveloped(list_of({"type": "object"})),
                [example("none", "Identity providers retrieved", [])],
            )
        },
        raised=(),
        is_public=True,
    )
)

me = extend_schema_view(
    get=operation(
        "Login",
        "Who I am",
        "The user the token speaks for, in the tenant it is for. A token of another issuer "
        "needs no account here; `displayName` is the user id then and `email` may be empty.",
        operation_id="get_me",
        answers={
            200: answer(
                "The user.",
                enveloped(USER),
                [
                    example(
                        "an approver",
                        "User retrieved",
                        {
                            "userId": USER_ID,
                            "displayName": "Kim Minji",
                            "email": "minji@example.com",
                            "tenantId": TENANT,
                            "tenantCode": TENANT,
                            "roles": ["approver"],
                        },
                    )
                ],
            )
        },
        raised=[*IDENTIFIED, *STORED],
    )
)

permissions = extend_schema_view(
    get=operation(
        "Login",
        "What I may see",
        "The parts of the front end that the user may open. Who may decide a request is "
        "another matter: see `POST /aura/hitl/approve/{requestId}`.",
        operation_id="list_permissions",
        answers={
            200: answer(
                "The permissions.",
                enveloped(list_of(PERMISSION)),
                [example("the workspace", "Permissions retrieved", [EXAMPLE_PERMISSION])],
            )
        },
        raised=IDENTIFIED,
    )
)

menus = extend_schema_view(
    get=operation(
        "Login",
        "My menus",
        "The front end's menu, as a tree.",
        operation_id="get_menu_tree",
        answers={
            200: answer(
                "The tree.",
                enveloped(record({"menus": list_of(MENU)})),
                [example("the workspace", "Menus retrieved", {"menus": [EXAMPLE_MENU]})],
            )
        },
        raised=IDENTIFIED,
    )
)
