"""Prints what a run found: counts, delays, violations, and how to have it again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from tests.chaos.cluster import Cluster
from tests.chaos.run import Result
from tests.chaos.verdict import Broken

# The promises, in the words of the table.
_PROMISES = (
    Broken.LOST,
    Broken.UNHEARD,
    Broken.DOUBLED,
    Broken.MISDELIVERED,
    Broken.SENT,
    Broken.WITHHELD,
    Broken.FOREIGN,
    Broken.SHAPE,
    Broken.GAP,
    Broken.REPEAT,
    Broken.STREAM,
    Broken.DISAGREE,
    Broken.CHAIN,
    Broken.NOT_ADOPTED,
    Broken.LATE,
    Broken.UNEXPECTED,
    Broken.TOO_FEW,
)
_SHOWN = 8


def text(result: Result) -> str:
    """Return the table of a run."""
    verdict, history = result.verdict, result.history
    seconds, missed = history.ended_at - history.began_at, history.outages.missed
    lines = ["", f"seed {result.options.seed}, {seconds:.0f} s, {missed:.0f} s without the machine"]
    lines += _table("faults", sorted(result.faults.done.items()))
    lines += _table("counts", sorted(verdict.counts.items()))
    lines += ["", f"  {'delays, in seconds':44}{'n':>7}{'p50':>8}{'p99':>8}{'worst':>8}"]
    delays = dict(verdict.delays) | {
        "drain to exit": result.faults.drain_seconds,
        "this process woken late": history.lags,
    }
    for name, values in sorted(delays.items()):
        if values:
            figures = "".join(f"{percentile(values, p):8.2f}" for p in (50, 99, 100))
            lines.append(f"  {name:44}{len(values):7d}{figures}")
    counts = Counter(violation.broken for violation in verdict.violations)
    lines += _table("violations", [(broken, counts[broken]) for broken in _PROMISES])
    return "\n".join([*lines, violations(result, _SHOWN)])


def violations(result: Result, most: int | None = None) -> str:
    """Return what is broken, a line each, at most so many of a kind."""
    lines = []
    for broken in _PROMISES:
        for violation in result.verdict.of(broken)[:most]:
            when = f" at {violation.at - result.history.began_at:.2f} s" if violation.at else ""
            lines.append(f"  {broken}{when}: {violation.what}")
    return "\n".join(lines)


def replay(result: Result) -> str:
    """Return the command that does this run again."""
    options = result.options
    return (
        f"make chaos SEED={options.seed} DECISIONS={options.decisions} "
        f"SECONDS={options.seconds:g} RATE={options.rate:g}"
    )


def outages(result: Result) -> str:
    """Return every outage of the run, in order, in seconds since it began."""
    began = result.history.began_at
    return "\n".join(
        f"{o.began - began:8.2f} to {(o.ended or 0) - began:8.2f}  {o.part} {o.target} {o.how}"
        for o in sorted(result.history.outages.all, key=lambda o: o.began)
    )


def complaints(cluster: Cluster) -> str:
    """Return how often the servers logged what; a run that passes may still have something."""
    counts: Counter[str] = Counter()
    for server in cluster.servers:
        for line in server.log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                counts[f"{entry.get('level', '?')} {str(entry.get('event', '?'))[:60]}"] += 1
            except (ValueError, AttributeError):
                continue
    return "\n".join(_table("server logs", counts.most_common(20)))


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _table(title: str, rows: Iterable[tuple[str, int]]) -> list[str]:
    return ["", f"  {title}", *(f"  {name:44}{value:7d}" for name, value in rows)]
