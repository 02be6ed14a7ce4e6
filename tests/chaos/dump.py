"""Keeps a failed run's history, so that what happened to one request can be looked up."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from tests.chaos.run import Result


def write(result: Result, file: Path) -> None:
    """Write a line of JSON for each request: what each client and the database say of it.

    Times are in seconds since the run began.
    """
    stored, began = result.stored, result.history.began_at
    records: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(list))
    for history in (result.history, result.others_history):
        for question in history.questions.values():
            records[question.request_id]["question"] = question
        for attempt in history.attempts:
            records[attempt.request_id]["attempts"].append(attempt)
        for listening in history.listenings:
            records[listening.question.request_id]["listenings"].append(listening)
        for wait in history.waits:
            records[wait.question.request_id]["waits"].append(wait)
    for request in stored.requests.values():
        records[request.request_id]["stored"] = request
    with file.open("w", encoding="utf-8") as output:
        for request_id, all_ in sorted(records.items()):
            plain = _plain({"request": request_id, **all_}, began)
            output.write(json.dumps(plain, ensure_ascii=False) + "\n")


def _plain(value: Any, began: float) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {name: _plain(one, began) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one, began) for one in value]
    # Unix seconds of the run; durations and counts are far smaller.
    return round(value - began, 3) if isinstance(value, float) and value > 1e9 else value
