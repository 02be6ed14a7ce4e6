"""The command line: `python -m tests.bench [--quick] [--profile PART | --page FILE]`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import pstats
import re
import resource
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import chart, rows
from tests.bench.measure import Bench
from tests.chaos.processes import CHECKOUT

_RESULTS = CHECKOUT / "build/bench"
_PAGE = CHECKOUT / "docs/performance.md"
_PICTURE = CHECKOUT / "docs/images/latency.png"
_SECTION = re.compile(r"(?<=<!-- bench -->\n).*(?=<!-- /bench -->)", re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, and no documentation")
    parser.add_argument("--profile", choices=rows.PARTS, help="say where one part's time goes")
    parser.add_argument("--page", type=Path, help="write this result into the documentation")
    options = parser.parse_args()
    if options.page:
        _document(json.loads(options.page.read_text(encoding="utf-8")))
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Inherited by the server and by the crowds.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _RESULTS.mkdir(parents=True, exist_ok=True)
    profile = _RESULTS / f"{options.profile}.prof" if options.profile else None
    bench = Bench(profile)
    sizes = rows.QUICK if options.quick else rows.Sizes()
    began_at = time.monotonic()
    try:
        table = asyncio.run(_run(bench, sizes, options.profile))
    except KeyboardInterrupt:
        print("\nInterrupted; everything was ended.")
        return 1
    finally:
        bench.stop()
    if profile:
        pstats.Stats(str(profile)).sort_stats("tottime").print_stats(40)
        print(f"python -m pstats {profile.relative_to(CHECKOUT)} has all of it")
        return 0
    result = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "is_quick": options.quick,
        "machine": f"{os.cpu_count()} cores, {_processor()}, Python {platform.python_version()}",
        "seconds": round(time.monotonic() - began_at),
        "rows": table.rows,
        "chart": table.chart,
    }
    path = _RESULTS / ("quick.json" if options.quick else "bench.json")
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\n{result['seconds']} s; {path.relative_to(CHECKOUT)}")
    if options.quick:
        chart.draw(table.chart, _RESULTS / "quick.png")
    else:
        _document(result)
    return 0


async def _run(bench: Bench, sizes: rows.Sizes, part: str | None) -> rows.Table:
    await bench.start()
    if part is None:
        return await rows.measure(bench, sizes)
    async with bench.profiling():
        return await rows.measure(bench, sizes, [part])


def _document(result: dict[str, Any]) -> None:
    """Write a run's table and picture into the documentation."""
    _PICTURE.parent.mkdir(exist_ok=True)
    chart.draw(result["chart"], _PICTURE)
    page = _PAGE.read_text(encoding="utf-8")
    _PAGE.write_text(_SECTION.sub(lambda _: _section(result), page), encoding="utf-8")


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = re.search(r"model name\s*: (.+)", text)
    return name[1] if name else platform.machine()


def _section(result: dict[str, Any]) -> str:
    """Return the table of a run as the page has it."""
    sizes = ", small numbers" if result["is_quick"] else ""
    lines = [f"{result['at']}, {result['machine']}, {result['seconds']} s{sizes}.", ""]
    lines += ["| | measured | reach | |", "| --- | --- | --- | --- |"]
    for name, figures in result["rows"].items():
        lines.append(f"| {name} | {_cell(figures)} | {_reach(name, figures)} |")
    if _PICTURE.exists():
        lines += ["", f"![Latency against open streams](images/{_PICTURE.name})"]
    return "\n".join(lines) + "\n"


def _reach(name: str, figures: dict[str, float]) -> str:
    """Return what a row is to reach, and whether it does, as two cells."""
    if name not in rows.REACH:
        return "|"
    reach = dict(rows.REACH[name])
    if "core" in reach:
        texts = [f"{reach.pop('core'):.0%}", *(f"{value:g}" for value in reach.values())]
    elif "milliseconds" in reach:
        texts = [f"{reach['milliseconds']:g} ms"]
    else:
        texts = [f"{value:g} ×" for value in reach.values()]
    sign = "≥" if "rate" in figures else "≤"
    is_there = "reached" if rows.is_reached(name, figures) else "not reached"
    return f"{sign} {' / '.join(texts)} | {is_there}"


def _cell(figures: dict[str, float]) -> str:
    """Return one row's figures in words."""
    if "p99" in figures and "p50_floor" not in figures:
        return f"{figures['p50']:.1f} / {figures['p99']:.1f} ms"
    if "p99" in figures:
        return (
            f"{figures['p50']:.1f} / {figures['p99']:.1f} ms "
            f"({figures['p50_floor']:.1f} × / {figures['p99_floor']:.1f} × floor)"
        )
    if "rate" in figures:
        return f"{figures['rate']:.0f} ({figures['times_plain']:.2f} × plain)"
    if "times_plain" in figures:
        return f"{figures['p50']:.1f} ms ({figures['times_plain']:.2f} × plain)"
    if "core" in figures:
        return (
            f"{figures['core']:.1%} of a core, {figures['transactions']:.0f} transactions a second"
        )
    return f"{figures['milliseconds']:.1f} ms"


if __name__ == "__main__":
    sys.exit(main())
