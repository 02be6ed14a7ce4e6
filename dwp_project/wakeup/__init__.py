"""Wake-up calls between processes: publish from anywhere, wait in async code.

A wake-up may be lost, doubled or late. Whoever waits reads the database after subscribing, and
the one reader of its process wakes it within seconds if the row has changed without a wake-up.
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
from dwp_project.wakeup.reader import READ_SECONDS, AwaitedTable, Reader, reader
from dwp_project.wakeup.subscription import Subscription

# How long a waiter lets Redis take to confirm a subscription before it reads the database. Chosen:
# a command fails after as long, and a stream whose Redis does not answer begins this much late.
CONFIRM_SECONDS = 1.0

__all__ = [
    "CONFIRM_SECONDS",
    "READ_SECONDS",
    "AwaitedTable",
    "Hub",
    "Message",
    "Pattern",
    "Reader",
    "Subscription",
    "hub",
    "is_paused",
    "messages",
    "publish",
    "publish_here",
    "publish_to_others",
    "reader",
    "redis_client",
    "redis_may_be_away",
]
