"""Wake-up calls between processes: publish from anywhere, wait in async code.

A wake-up may be lost, doubled or late. Whoever waits reads the database after subscribing
and again at least every `REREAD_SECONDS`; the call only makes that sooner.
"""

from dwp_project.wakeup.client import is_paused, redis_client, redis_may_be_away
from dwp_project.wakeup.hub import Hub, Pattern, hub
from dwp_project.wakeup.publish import (
    Message,
    messages,
    publish,
    publish_here,
    publish_to_others,
)
from dwp_project.wakeup.subscription import Subscription

# No waiter sleeps longer than this without reading the database again: the promised 6 s of
# docs/explanation/delivery.md, less one for the reading.
REREAD_SECONDS = 5.0
# How long a waiter lets Redis take to confirm a subscription before it reads the database. Chosen:
# a command fails after as long, and a stream whose Redis does not answer begins this much late.
CONFIRM_SECONDS = 1.0

__all__ = [
    "CONFIRM_SECONDS",
    "REREAD_SECONDS",
    "Hub",
    "Message",
    "Pattern",
    "Subscription",
    "hub",
    "is_paused",
    "messages",
    "publish",
    "publish_here",
    "publish_to_others",
    "redis_client",
    "redis_may_be_away",
]
