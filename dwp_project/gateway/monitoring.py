"""`/metrics`: the counters of this process, for monitors that send METRICS_TOKEN."""

from __future__ import annotations

import hmac

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from dwp_project.gateway import envelope, errors


@csrf_exempt
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer in Prometheus's text format; 404 unless METRICS_TOKEN is set, 401 without it.

    Not in the envelope, which monitors cannot parse.
    """
    if not settings.METRICS_TOKEN:
        return envelope.render_error(errors.NotFound(), request)
    if request.method not in {"GET", "HEAD"}:
        return envelope.render_error(errors.MethodNotAllowed(), request)
    sent = request.headers.get("Authorization", "").encode("utf-8", "replace")
    if not hmac.compare_digest(sent, f"Bearer {settings.METRICS_TOKEN}".encode()):
        return envelope.render_error(errors.AuthenticationRequired(), request)
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)
