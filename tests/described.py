"""The API description as tests read it: its operations, examples and schemas."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from dwp_project.gateway.documentation import document

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    path: str
    method: str
    fields: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """Its parameters by name."""
        return {parameter["name"]: parameter for parameter in self.fields.get("parameters", [])}

    def content(self, status: int | str, media_type: str = JSON) -> dict[str, Any]:
        """Return the media type object of one answer: schema and examples."""
        found: dict[str, Any] = self.fields["responses"][str(status)]["content"][media_type]
        return found

    def examples(self, status: int | str, media_type: str = JSON) -> list[Any]:
        """Return the example answers with this status."""
        return [
            example["value"] for example in self.content(status, media_type)["examples"].values()
        ]

    def contents(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield status (or `request`), media type and media type object of all there is."""
        for media_type, content in self.fields.get("requestBody", {}).get("content", {}).items():
            yield "request", media_type, content
        for status, response in self.fields["responses"].items():
            for media_type, content in response.get("content", {}).items():
                yield status, media_type, content


def operations() -> list[Operation]:
    """Return every operation of the document."""
    return [
        Operation(path, method, fields)
        for path, item in document()["paths"].items()
        for method, fields in item.items()
        if method in METHODS
    ]


def operation(method: str, path: str) -> Operation:
    """Return one operation by its method and path."""
    return Operation(path, method, document()["paths"][path][method])


def check(value: Any, schema: dict[str, Any]) -> None:
    """Fail unless `value` is as the OpenAPI schema says."""
    components = _as_json_schema(document()["components"])
    try:
        jsonschema.validate(value, {**_as_json_schema(schema), "components": components})
    except jsonschema.ValidationError as exc:
        raise AssertionError(f"{exc.json_path}: {exc.message}") from exc


def component(name: str) -> dict[str, Any]:
    """Return a named schema of the document."""
    schema: dict[str, Any] = document()["components"]["schemas"][name]
    return schema


def _as_json_schema(schema: Any) -> Any:
    """Return the schema with OpenAPI 3.0's `nullable` said as JSON Schema says it."""
    if isinstance(schema, list):
        return [_as_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    said = {name: _as_json_schema(value) for name, value in schema.items() if name != "nullable"}
    if schema.get("nullable") is True:
        return {"anyOf": [said, {"type": "null"}]}
    return said
