"""The views of an operator's inbox: filters that are kept under a name."""

from __future__ import annotations

import unicodedata

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import translation
from django.utils.translation import gettext as _

from dwp_project.gateway.errors import DwpError
from hitl.desk.filters import Filter
from hitl.models import InboxView
from hitl.models.inbox_views import MAX_VIEW_NAME_LENGTH, MAX_VIEW_QUERY_LENGTH

# Chosen: more than this nobody finds by their names.
MAX_VIEWS = 50


class TooManyViews(DwpError):
    """The operator keeps as many views as there may be."""

    def __init__(self) -> None:
        super().__init__(_("You keep %(most)d views: remove one first.") % {"most": MAX_VIEWS})


class NoViewName(DwpError):
    """A view cannot have this name, or its filter cannot be kept."""

    def __init__(self) -> None:
        text = _("A view has a name of at most %(most)d characters, and a filter.")
        super().__init__(text % {"most": MAX_VIEW_NAME_LENGTH})


class BuiltInViewName(DwpError):
    """The name is that of a tab that every inbox has."""

    def __init__(self, name: str) -> None:
        text = _("Every inbox has a tab “%(name)s” already: choose another name.")
        super().__init__(text % {"name": name})


def of(username: str) -> list[InboxView]:
    """Return the operator's views, the oldest first."""
    return list(InboxView.objects.filter(user__username=username))


@transaction.atomic
def save(username: str, name: str, chosen: Filter) -> None:
    """Keep a filter under a name: a view of that name gets the filter, and a view of that filter
    gets the name.

    Raises `NoViewName`, `BuiltInViewName` and `TooManyViews`.
    """
    name, query = name.strip(), chosen.query
    if not query or len(query) > MAX_VIEW_QUERY_LENGTH:
        raise NoViewName
    if not name or len(name) > MAX_VIEW_NAME_LENGTH:
        raise NoViewName
    if _folded(name) in _built_in():
        raise BuiltInViewName(name)
    # One after the other, so that two tabs do not keep more than there may be.
    user = get_user_model().objects.select_for_update().get(username=username)
    views = InboxView.objects.filter(user=user)
    named, kept = views.filter(name=name), views.filter(query=query)
    if named.exists():
        kept.exclude(name=name).delete()
        named.update(query=query)
    elif not kept.update(name=name):
        if views.count() >= MAX_VIEWS:
            raise TooManyViews
        InboxView.objects.create(user=user, name=name, query=query)


def _folded(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _built_in() -> set[str]:
    """Return what the other tabs and the menu are called, in each language."""
    names = set()
    for language, _name in settings.LANGUAGES:
        with translation.override(language):
            names |= {_("Mine to decide"), _("All"), _("Filtered"), _("Filter"), _("More views")}
    return {_folded(name) for name in names}


def remove(username: str, name: str) -> None:
    """Forget the view of this name, if there is one."""
    InboxView.objects.filter(user__username=username, name=name).delete()
