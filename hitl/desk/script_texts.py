"""The texts of the desk's scripts, in the reader's language."""

from __future__ import annotations

from django.utils.translation import gettext as _

from dwp_project.jsontext import compact


def as_json() -> str:
    """Return the texts as JSON for a `data-texts` attribute; `{}` in a text is a placeholder."""
    return compact(
        {
            "over": _("expired"),
            "days": _("{} d {} h"),
            "hours": _("{} h {} min"),
            "now": _("just now"),
            "minutes": _("{} min"),
            "newOne": _("New request: {}"),
            "newMany": _("{} new requests"),
            "waiting": _("{} waiting"),
            "joinOne": _("1 new request · Show"),
            "joinMany": _("{} new requests · Show"),
            "joinGone": _("{} ended · Remove"),
            "elsewhere": _("New on another page: {}."),
            "gone": _("no longer listed"),
            "changed": _("changed"),
            "live": _("live"),
            "connecting": _("connecting again …"),
            "silent": _("not up to date"),
            "stopped": _("No longer up to date: your access has changed. Reload the page."),
            "selected": _("{} selected"),
            "noTimeline": _("The agent of this session works outside this server."),
            "noEvents": _("Nothing has happened in this session yet."),
            "timelineStopped": _("The timeline has stopped. Reload the page."),
            "tooMany": _("At most {} at once."),
            "restored": _("What you typed before is here again. It has not been sent."),
            "selectedAgain": _("What you had selected is selected again where it still waits."),
            "hadTyped": _("You had typed: {}"),
        }
    )
