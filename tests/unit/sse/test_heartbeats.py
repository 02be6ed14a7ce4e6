"""Comments to silent streams, by one timer for all of them (docs/reference/wire.md, 4.3)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest
from pytest_django import Settings

from dwp_project.sse import frames
from dwp_project.sse.heartbeats import heartbeats

Pass = Callable[[float], Awaitable[None]]


@pytest.fixture
async def seconds_pass(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Pass:
    """Return what lets so many seconds pass, of an event loop with a clock of its own."""
    settings.SSE_HEARTBEAT_SECONDS = 10.0
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)

    async def passing(seconds: float) -> None:
        nonlocal now
        for _ in range(round(seconds * 20)):
            now += 0.05
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    return passing


async def test_silent_stream_gets_a_comment_every_ten_seconds(seconds_pass: Pass) -> None:
    sent: list[bytes] = []

    with heartbeats().after_silence(sent.append):
        await seconds_pass(9.5)
        assert sent == []
        for count in (1, 2, 3):
            await seconds_pass(10)
            assert sent == [frames.HEARTBEAT] * count


async def test_event_puts_the_comment_off(seconds_pass: Pass) -> None:
    sent: list[bytes] = []

    with heartbeats().after_silence(sent.append) as restart:
        for _ in range(5):
            await seconds_pass(9.5)
            restart()
        assert sent == []
        await seconds_pass(10.5)

    assert len(sent) == 1


async def test_each_stream_is_silent_for_itself(seconds_pass: Pass) -> None:
    sent: list[str] = []

    with heartbeats().after_silence(lambda _: sent.append("a")) as restart:
        await seconds_pass(4)
        with heartbeats().after_silence(lambda _: sent.append("b")):
            await seconds_pass(2)
            restart()
            await seconds_pass(9)

            assert sent == ["b"]
            await seconds_pass(2)

    assert sent == ["b", "a"]


async def test_stream_that_has_ended_gets_none(seconds_pass: Pass) -> None:
    ended: list[bytes] = []
    other: list[bytes] = []

    with heartbeats().after_silence(other.append):
        with heartbeats().after_silence(ended.append):
            pass
        await seconds_pass(21)

    assert (ended, len(other)) == ([], 2)


async def test_stream_after_the_last_one_has_ended_gets_comments(seconds_pass: Pass) -> None:
    sent: list[bytes] = []
    with heartbeats().after_silence(sent.append):
        pass
    await seconds_pass(30)

    with heartbeats().after_silence(sent.append):
        await seconds_pass(11)

    assert len(sent) == 1


async def test_stream_that_cannot_be_written_to_keeps_nobody_from_theirs(
    seconds_pass: Pass,
) -> None:
    sent: list[bytes] = []

    def fail(_: bytes) -> None:
        raise LookupError

    with heartbeats().after_silence(fail), heartbeats().after_silence(sent.append):
        await seconds_pass(21)

    assert len(sent) == 2


async def test_any_number_of_streams_has_one_timer(
    seconds_pass: Pass, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def counted(when: float, *args: object) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_at", counted)
    sent: list[bytes] = []
    with ExitStack() as stack:
        for _ in range(3):
            for _ in range(100):
                stack.enter_context(heartbeats().after_silence(sent.append))
            await seconds_pass(3)
        timers.clear()
        await seconds_pass(100)

    # In each interval one for those that are due together.
    assert (len(sent), len(timers)) == (3000, 30)
