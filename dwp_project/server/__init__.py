"""The daphne that `serve` starts: several ports, an orderly end, isolated failures."""

from dwp_project.server.limits import Limits
from dwp_project.server.ports import NoPort, OpenPort, TakenPort, bind, listen
from dwp_project.server.server import Server

__all__ = ["Limits", "NoPort", "OpenPort", "Server", "TakenPort", "bind", "listen"]
