"""The command line: `python -m tests.chaos --seed 1 --decisions 10000`; exit 1 on a violation."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import time
from dataclasses import fields
from pathlib import Path

from tests.chaos import dump, report
from tests.chaos.cluster import Cluster
from tests.chaos.processes import CHECKOUT
from tests.chaos.run import Options, Result, run

_SERVERS = 3


def main() -> int:
    options, keep = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.default_int_handler)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f}] {text}", flush=True)

    # Both ways in which agents' requests are found have to hold.
    notifications = bool(options.seed % 2)
    # And so has a second deployment on the same number of the same Redis, or on another.
    other_number = options.seed // 2 % 2
    cluster = Cluster(
        _SERVERS,
        question_seconds=options.question_seconds,
        notifications=notifications,
        other_number=other_number,
    )
    say(f"seed {options.seed}, in {cluster.folder}")
    passed = False
    try:
        result = asyncio.run(_run(options, cluster, say))
        print(report.text(result))
        print(report.complaints(cluster))
        passed = not result.verdict.violations
        folder = None if passed and not keep else _keep(result, cluster)
        print(f"\n{'PASSED' if passed else 'FAILED'}; again: {report.replay(result)}")
        if folder is not None:
            print(f"Logs and outages are in {folder}")
    except KeyboardInterrupt:
        print("\nInterrupted; everything was ended.")
    finally:
        cluster.remove()
    return 0 if passed else 1


async def _run(options: Options, cluster: Cluster, say: object) -> Result:
    try:
        return await run(options, cluster, say)  # type: ignore[arg-type]
    finally:
        await cluster.stop()


def _options() -> tuple[Options, bool]:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    for field in fields(Options):
        name = f"--{field.name.replace('_', '-')}"
        if isinstance(field.default, bool):
            parser.add_argument(name, action="store_true")
        else:
            parser.add_argument(name, type=type(field.default), default=field.default)
    parser.add_argument("--keep", action="store_true", help="keep the logs of a run that passed")
    given = vars(parser.parse_args())
    keep = given.pop("keep")
    return Options(**given), keep


def _keep(result: Result, cluster: Cluster) -> Path:
    """Copy the logs to build/chaos-SEED, replacing those of an earlier run of that seed."""
    folder = CHECKOUT / "build" / f"chaos-{result.options.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for log in cluster.folder.glob("*.log"):
        shutil.copy(log, folder)
    dump.write(result, folder / "requests.jsonl")
    (folder / "outages.txt").write_text(report.outages(result), encoding="utf-8")
    (folder / "violations.txt").write_text(report.violations(result), encoding="utf-8")
    (folder / "report.txt").write_text(report.text(result), encoding="utf-8")
    return folder


if __name__ == "__main__":
    sys.exit(main())
