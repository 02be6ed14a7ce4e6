"""Writes the end of a request into the text that its agent wrote to Redis
(docs/reference/wire.md, 5.3).

By text, because nothing else may change: Lua's JSON turns `[]` into `{}`, and every parser rounds
some numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from dwp_project.jsontext import compact
from hitl.delivery import wire
from hitl.delivery.parser import MOST_BYTES, Malformed, is_same, parse_request
from hitl.models import ApprovalRequest

# What a written request may grow to: a reason of 10,000 characters takes 60,000 bytes if each is
# escaped.
MOST_MERGED_BYTES = MOST_BYTES + 128 * 1024
_SPACE = re.compile(r"[ \t\r\n]*")
# Numbers are not converted, because only their ends are of interest.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


def merged(request: ApprovalRequest, text: bytes) -> bytes | None:
    """Return the agent's text with the members of the request's end set, or None if the text does
    not ask what the request asks."""
    try:
        written = parse_request(request.request_id, text, most_bytes=MOST_MERGED_BYTES)
    except Malformed:
        return None
    if not is_same(request, written):
        return None
    if not written.is_pending and not request.is_decided:
        # Another has decided it. An end without a decision, such as this one's term, says less.
        return text
    return with_members(text.decode(), wire.end_members(request)).encode()


def with_members(text: str, members: Mapping[str, Any]) -> str:
    """Return a JSON object's text with these members set: a member that it has gets another value
    in its place, others follow its last one. Every other character stays.

    `text` is an object that `jsontext.parse` accepts.
    """
    spans, end = _spans(text)
    pieces, at = [], 0
    for name, (start, stop) in spans.items():
        if name in members:
            pieces += [text[at:start], compact(members[name])]
            at = stop
    new = {name: value for name, value in members.items() if name not in spans}
    if new:
        comma = "," if spans else ""
        pieces += [text[at:end], comma, compact(new)[1:-1]]
        at = end
    return "".join([*pieces, text[at:]])


def _spans(text: str) -> tuple[dict[str, tuple[int, int]], int]:
    """Return where the value of each member of the object begins and ends, and where the last one
    ends."""
    spans: dict[str, tuple[int, int]] = {}
    end = _after_space(text, 0) + 1
    at = _after_space(text, end)
    while text[at] != "}":
        if spans:
            at = _after_space(text, at + 1)
        name, at = _DECODER.raw_decode(text, at)
        start = _after_space(text, _after_space(text, at) + 1)
        _, end = _DECODER.raw_decode(text, start)
        spans[name] = start, end
        at = _after_space(text, end)
    return spans, end


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    assert space is not None
    return space.end()
