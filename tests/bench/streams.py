"""How long an event takes to its readers, one or hundreds, and how fast a long session replays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from psycopg import sql

from tests.bench.measure import Bench, show
from tests.chaos import wire
from tests.chaos.history import Frame

_READERS = 300
_REPLAYED = 5000
_PATH = "/aura/test/stream"
_PROMPT = {"prompt": "Summarize my mails"}
_QUESTION = {"prompt": "Delete 3 emails"}
# PostgreSQL's own time of an event's commit; server and reader share a clock.
_COMMITS = """
SELECT (s.key << 20) | e.sequence, extract(epoch FROM pg_xact_commit_timestamp(e.xmin))
FROM streaming_event e JOIN streaming_session s ON s.id = e.session_id WHERE s.key = %s
"""
_COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_name = 'streaming_event' AND column_name NOT IN ('id', 'sequence')
"""
_COPY = sql.SQL("""
INSERT INTO streaming_event (sequence, {columns})
SELECT %s + n, {columns} FROM streaming_event, generate_series(1, %s) n
WHERE session_id = (SELECT id FROM streaming_session WHERE key = %s) AND sequence = 2
""")


async def delivery(bench: Bench) -> None:
    """From an event's commit to its readers, who are on a server that does not run the session."""
    rows = []
    for readers in (1, _READERS):
        rows.append((f"{readers} readers", await _delays(bench, readers)))
    show("an event, from its commit to a reader", rows)


async def replay(bench: Bench) -> None:
    """A finished session with thousands of events, read from its first and from its middle."""
    frames, _ = await _read(bench, _PATH, bench.asker, _PROMPT)
    number, last = divmod(max(frame.id or 0 for frame in frames), 1 << 20)
    with bench.cluster.postgres.connect() as connection:
        names = [sql.Identifier(name) for (name,) in connection.execute(_COLUMNS)]
        copy = _COPY.format(columns=sql.SQL(", ").join(names))
        connection.execute(copy, [last, _REPLAYED, number])
        connection.execute(
            "UPDATE streaming_session SET last_sequence = %s WHERE key = %s",
            [last + _REPLAYED, number],
        )
    print("\nreplay of a finished session")
    for after in (last, last + _REPLAYED // 2):
        cursor = {**bench.asker, "Last-Event-ID": str((number << 20) + after)}
        frames, seconds = await _read(bench, _PATH, cursor, _PROMPT)
        events = sum(frame.id is not None for frame in frames)
        print(f"  {events} events in {seconds:.2f} s, {events / seconds:.0f} a second")


async def _delays(bench: Bench, readers: int) -> list[float]:
    """Return, in milliseconds, how late each reader got each event after an approval."""
    port = bench.cluster.server_ports[0]
    first = await wire.EventStream.open(port, _PATH, bench.asker, _QUESTION, 30.0)
    session_id = request_id = ""
    async for frame in first.frames(30.0):
        if frame.event == "hitl":
            question = wire.Answer(200, b'{"data":' + frame.data.encode() + b"}")
            session_id, request_id = (
                str(question.member("sessionId")),
                str(question.member("requestId")),
            )
            break
    else:
        raise RuntimeError("the session asked nothing")
    arrivals: list[tuple[int, float]] = []
    are_there = asyncio.Semaphore(0)

    async def reader() -> None:
        path = f"/aura/sessions/{session_id}/stream"
        other = bench.cluster.server_ports[1]
        stream = await wire.EventStream.open(other, path, bench.asker, None, 60.0, method="GET")
        async for frame in stream.frames(60.0):
            if frame.id is not None:
                arrivals.append((frame.id, time.time()))
            if frame.event == "hitl":
                are_there.release()
        stream.close()

    tasks = [asyncio.create_task(reader()) for _ in range(readers)]
    for _ in tasks:
        await are_there.acquire()
    arrivals.clear()
    await bench.approve(request_id)
    await asyncio.gather(*tasks)
    first.close()
    with bench.cluster.postgres.connect() as connection:
        rows = connection.execute(_COMMITS, [arrivals[0][0] >> 20]).fetchall()
    commits = {int(number): float(at) for number, at in rows}
    return [(at - commits[number]) * 1000 for number, at in arrivals]


async def _read(
    bench: Bench, path: str, headers: Mapping[str, str], body: object
) -> tuple[list[Frame], float]:
    """Read a stream to its end; return its frames and how many seconds it took."""
    began = time.perf_counter()
    stream = await wire.EventStream.open(bench.cluster.server_ports[0], path, headers, body, 30.0)
    frames = [frame async for frame in stream.frames(30.0)]
    stream.close()
    if not stream.is_clean:
        raise RuntimeError(f"the stream broke after {len(frames)} frames")
    return frames, time.perf_counter() - began
