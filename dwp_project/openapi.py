"""What drf-spectacular is to say about the API as a whole."""

from __future__ import annotations

from typing import Any

from dwp_project import __version__

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "DWP approvals and agent stream",
    "DESCRIPTION": (
        "An agent works for a person and stops before it does something that matters. A person "
        "approves or rejects; the agent goes on or stops.\n\n"
        "**Start here:** `POST /auth/login` gives a token. Send it with every call as "
        "`Authorization: Bearer <token>`, beside `X-Tenant-ID`; the button *Authorize* does "
        "that on this page. Open a stream, wait for its `hitl` event, approve the "
        "`requestId` it names, and watch the stream go on.\n\n"
        "Every JSON answer but health and this document is an `Envelope` or an "
        "`ErrorEnvelope`. Error messages are English, or Korean under `Accept-Language: ko`; "
        "the `errorCode` never changes. Every path answers with and without `/api` in front. "
        "Bodies may have 256 KiB."
    ),
    "VERSION": __version__,
    "TAGS": [
        {"name": "Approvals", "description": "Ask for a decision, and decide."},
        {"name": "Stream", "description": "An agent's work, event by event."},
        {"name": "Sessions", "description": "Come back to an agent's work, or stop it."},
        {"name": "Login", "description": "A token, and what the front end starts with."},
        {"name": "Health", "description": "Is the process alive, can it work."},
        {"name": "Description", "description": "What the API says about itself."},
    ],
    "SERVERS": [
        {"url": "/api", "description": "Through the gateway"},
        {"url": "/", "description": "The same, without the prefix"},
    ],
    # Path parameters as wire.md names them: requestId.
    "CAMELIZE_NAMES": True,
    # In the order of the URL table and of the code, which is the order to read them in.
    "SORT_OPERATIONS": False,
    "SORT_OPERATION_PARAMETERS": False,
    "POSTPROCESSING_HOOKS": ["dwp_project.gateway.openapi.add_components"],
    # The page works offline: assets from the sidecar, and no badge of an online validator.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
}
