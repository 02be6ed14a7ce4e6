"""The command line: `python -m tests.bench [decisions relay streams replay waits]`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable

from tests.bench import decisions, streams, waits
from tests.bench.measure import Bench
from tests.chaos.cluster import Cluster

BENCHES: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "decisions": decisions.with_and_without_redis,
    "relay": decisions.backlog,
    "streams": streams.delivery,
    "replay": streams.replay,
    "waits": waits.decision_among_waiters,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHES)}; all by default")
    names = parser.parse_args().names or list(BENCHES)
    if unknown := set(names) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cluster = Cluster(2, question_seconds=300, notifications=False)
    try:
        asyncio.run(_run(names, cluster))
    except KeyboardInterrupt:
        print("\nInterrupted; everything was ended.")
        return 1
    finally:
        cluster.remove()
    return 0


async def _run(names: list[str], cluster: Cluster) -> None:
    began = time.monotonic()
    try:
        await cluster.start()
        for name in names:
            await BENCHES[name](Bench(cluster))
    finally:
        await cluster.stop()
    print(f"\n{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
