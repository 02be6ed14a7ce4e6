"""The banner that `serve` prints when it answers: addresses, sign-in, three things to try."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings

from dwp_project.gateway import tokens
from dwp_project.gateway.first_run import TENANT, Operator

# The user of the three scenarios. Any user may do this: they decide a request of their own.
_USER = "user123"
_PROMPT, _ENGLISH_PROMPT = "메일 3개를 삭제해주세요", "delete 3 mails"
# The ports that the four services of the original deployment had.
_SERVICES = {8080: "Gateway", 8081: "Main Service", 8001: "Auth Server", 9000: "Aura-Platform"}
_EVERYWHERE = {"", "0.0.0.0", "::"}  # noqa: S104 - named here to be replaced in the addresses


def text(
    ports: Sequence[int],
    warnings: Sequence[str],
    operator: Operator | None,
    redis: str,
    *,
    encoding: str = "utf-8",
) -> str:
    """Return the banner, for a terminal of this `encoding`. Outside development it contains neither
    password nor token, because others read the logs of a deployed process."""
    urls = [_url(port) for port in ports]
    parts = [_addresses(ports, urls), *(f"Warning: {warning}" for warning in warnings)]
    parts.append(_sign_in(urls[0], operator))
    if settings.IS_DEVELOPMENT:
        parts.append(_scenarios(urls[0], _prompt(encoding)))
    parts.append(f"Data: {settings.DATA_DIR} · Redis: {redis} · Ctrl-C ends everything.")
    return "\n\n".join(parts) + "\n"


def _url(port: int) -> str:
    host = "localhost" if settings.HOST in _EVERYWHERE else settings.HOST
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _addresses(ports: Sequence[int], urls: Sequence[str]) -> str:
    lines = [
        f"  {url}  {_SERVICES.get(port, '')}".rstrip()
        for port, url in zip(ports, urls, strict=True)
    ]
    return "\n".join(["Ready. Every port serves every path, with and without /api:", *lines])


def _sign_in(base: str, operator: Operator | None) -> str:
    lines = [f"Operators' pages: {base}/admin/"]
    if operator is None:
        lines.append("  log in as a superuser of yours")
    elif operator.password is None:
        lines.append(f"  user      {operator.username}")
        lines.append("  password  changed by you (manage.py changepassword sets another)")
    elif settings.IS_DEVELOPMENT:
        lines.append(f"  user      {operator.username}")
        lines.append(f"  password  {operator.password}")
    else:
        lines.append(f"  user      {operator.username}")
        lines.append(f"  password  in {operator.file}; change it")
    return "\n".join(lines)


def _prompt(encoding: str) -> str:
    """Return a prompt that can be copied from a terminal of this encoding."""
    is_shown = _PROMPT.encode(encoding, "replace").decode(encoding) == _PROMPT
    return _PROMPT if is_shown else _ENGLISH_PROMPT


def _scenarios(base: str, prompt: str) -> str:
    lifetime = min(settings.WORKING_DAY_SECONDS, settings.JWT_MAX_LIFETIME)
    token = tokens.issue(_USER, TENANT, "user", lifetime_seconds=lifetime)
    headers = f"-H 'Authorization: Bearer {token}' -H 'X-Tenant-ID: {TENANT}'"

    def stream(prompt: str) -> str:
        url = f"{base}/api/aura/test/stream"
        return f"  curl -sSN -G {headers} --data-urlencode 'message={prompt}' {url}"

    def decide(verb: str, body: str) -> str:
        url = f'"{base}/api/aura/hitl/{verb}/$ID"'
        json = f"-H 'Content-Type: application/json' -d '{body}'"
        return f"  read -r ID && curl -sS {headers} {json} {url}"

    approve = decide("approve", f'{{"userId":"{_USER}"}}')
    reject = decide("reject", f'{{"userId":"{_USER}","reason":"not these"}}')
    return "\n".join(
        [
            f"Three things to try; the token is {_USER}'s and lasts {lifetime // 3600} h.",
            "",
            "1. A plain stream:",
            stream("test"),
            "",
            f"2. Approve and resume. In one terminal (in English: {_ENGLISH_PROMPT}):",
            stream(prompt),
            "   It stops at the event `hitl`. In another terminal paste this, then the event's",
            "   requestId and Enter:",
            approve,
            "",
            "3. Reject and stop. The same stream again, then in the other terminal:",
            reject,
        ]
    )
