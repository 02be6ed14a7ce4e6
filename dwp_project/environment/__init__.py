"""Reads the environment; a message names the variable and says what would be right.

It never quotes a value that may hold a secret or a password.
"""

from dwp_project.environment.hosts import Hosts, TrustedProxies
from dwp_project.environment.secrets import Secrets
from dwp_project.environment.stores import Stores

__all__ = ["Environment", "TrustedProxies"]


class Environment(Hosts, Stores, Secrets):
    """Every typed reader; what means nothing is an `ImproperlyConfigured`.

    Outside development they also refuse what is only safe on a developer's machine.
    """
