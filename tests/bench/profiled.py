"""`manage.py serve` with a profile: `python -m tests.bench.profiled FILE`.

Its first SIGUSR1 begins the profile of all threads, in their own processor time, and the second
writes it to FILE. The profile makes every call dearer: it shows where time goes, not how much.
"""

from __future__ import annotations

import cProfile
import pstats
import runpy
import signal
import sys
import threading
import time
from pathlib import Path


class _Profile(cProfile.Profile):
    """One thread's. It goes on while it is read: what would end it ends the reading thread's."""

    def create_stats(self) -> None:
        self.snapshot_stats()


class _Profiles:
    """One for each thread, as the interpreter has them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._all: list[_Profile] = []
        self._is_on = False

    def switch(self, *_: object) -> None:
        if self._is_on:
            self._write()
        else:
            self._is_on = True
            self.begin()

    def begin(self, *_: object) -> None:
        """Profile this thread, once it is wanted: a thread calls this until then."""
        if self._is_on:
            profile = _Profile(time.thread_time)
            self._all.append(profile)
            profile.enable()

    def _write(self) -> None:
        total = pstats.Stats()
        for profile in self._all:
            if profile.getstats():
                total.add(profile)
        part = self._path.with_suffix(".part")
        total.dump_stats(part)
        part.rename(self._path)


if __name__ == "__main__":
    profiles = _Profiles(Path(sys.argv[1]))
    signal.signal(signal.SIGUSR1, profiles.switch)
    threading.setprofile(profiles.begin)
    sys.argv = ["manage.py", "serve"]
    runpy.run_path("manage.py", run_name="__main__")
