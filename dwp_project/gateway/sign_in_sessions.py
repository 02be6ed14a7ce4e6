"""Sign-in sessions: how long they last, and that they end when what their person may do changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import SESSION_KEY, logout
from django.contrib.auth.signals import user_logged_in
from django.contrib.auth.views import redirect_to_login
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin
from django.utils.translation import gettext_lazy as _

from dwp_project.gateway.operators import ACCESS, NOBODY, Operator, operator_at, operator_of
from dwp_project.gateway.paths import full_path

_PAGES = "/admin/"


class EndChangedSessions(MiddlewareMixin):
    """Ends a sign-in session when a membership, a role, the account or its password has changed
    since the sign-in, and leads to the sign-in page with the reason."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Answer instead of the page if the session ends; None otherwise."""
        if not request.path_info.startswith(_PAGES) or SESSION_KEY not in request.session:
            return None
        # Django forgets the session itself if the password has changed.
        access = operator_at(request).access if request.user.is_authenticated else None
        if access is not None:
            if ACCESS not in request.session:
                # Of the version before, or signed in at one of its processes.
                _begin(request, operator_at(request))
            if request.session[ACCESS] == access:
                return None
        if request.path_info == reverse("admin:logout"):
            return None
        logout(request)
        messages.warning(
            request,
            _("Your access or your password has changed since you signed in. Sign in again."),
        )
        login = reverse("admin:login")
        if request.path_info == login:
            return None
        return redirect_to_login(full_path(request), login)


@receiver(user_logged_in, dispatch_uid="dwp.begin_sign_in_session")
def _begin_at_sign_in(request: HttpRequest, user: Any, **kwargs: Any) -> None:
    _begin(request, operator_of(user) or NOBODY)


def _begin(request: HttpRequest, operator: Operator) -> None:
    """Note what the person may do, and end the session so long from now, used or not."""
    request.session[ACCESS] = operator.access
    request.session.set_expiry(timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE))
