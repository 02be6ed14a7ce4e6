"""Runs a Python file under another wall clock: `python -m tests.acceptance.shifted +20 manage.py
serve` is a host whose clock is 20 s ahead. Clocks that nobody can set are left alone."""

from __future__ import annotations

import runpy
import sys
import time
from datetime import timedelta

import time_machine


def main() -> None:
    seconds, file, *arguments = sys.argv[1:]
    sys.argv = [file, *arguments]
    with time_machine.travel(timedelta(seconds=float(seconds))):
        time.time()  # it ticks from the first look on
        runpy.run_path(file, run_name="__main__")


if __name__ == "__main__":
    main()
