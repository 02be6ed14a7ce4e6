"""Frames of a stream, taken apart strictly by docs/reference/wire.md, 4.3."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.integration.exchange import Exchange, stream
from tests.people import REQUESTER, Person

_EVENT = re.compile(r"id: (\d+)\nevent: (\w+)\ndata: (\{.*\})")


@dataclass(frozen=True, slots=True)
class Frame:
    """One event."""

    id: int
    event: str
    data: dict[str, Any]


def frames_of(text: bytes) -> list[Frame]:
    """Return the events in `text`; whatever is neither event, comment nor `[DONE]` fails."""
    assert text.endswith(b"\n\n")
    frames: list[Frame] = []
    for block in text.decode().removesuffix("\n\n").split("\n\n"):
        if block.startswith(": ") or block == "data: [DONE]":
            continue
        parts = _EVENT.fullmatch(block)
        assert parts, block
        frames.append(Frame(int(parts[1]), parts[2], json.loads(parts[3])))
    return frames


async def take(sse: Exchange, *, until: str) -> list[Frame]:
    """Return the events up to and with the first named `until`."""
    frames: list[Frame] = []
    while not frames or frames[-1].event != until:
        frames += frames_of(await sse.piece())
        assert len(frames) < 1000
    return frames


async def whole(
    url: str, body: Any = None, cursor: int | str | None = None, by: Person = REQUESTER
) -> list[Frame]:
    """Stream to the end; return the frames, `[DONE]` left off after a check that it is last."""
    headers = {} if cursor is None else {"Last-Event-ID": str(cursor)}
    data = None if body is None else json.dumps(body).encode()
    async with stream(url, by, data, headers=headers) as sse:
        text = await sse.rest()
    assert text.startswith(b": connected\n\n")
    assert text.count(b"data: [DONE]\n\n") == 1
    assert text.endswith(b"data: [DONE]\n\n")
    return frames_of(text)
