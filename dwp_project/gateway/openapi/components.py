"""Named schemas of the API description, and short ways to write a schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Schema = dict[str, Any]

_components: dict[str, Schema] = {}


def component(name: str, schema: Schema) -> Schema:
    """Add `schema` to the document's components and return a reference to it.

    Raises `ValueError` for a name that another schema has.
    """
    if _components.setdefault(name, schema) != schema:
        raise ValueError(f"there are two components named {name}")
    return {"$ref": f"#/components/schemas/{name}"}


def add_components(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Put what `component` collected into the document (`POSTPROCESSING_HOOKS`).

    Raises `ValueError` if a serializer has the name of a component.
    """
    schemas = result.setdefault("components", {}).setdefault("schemas", {})
    if both := set(schemas) & set(_components):
        raise ValueError(f"a serializer and a component are named {', '.join(sorted(both))}")
    schemas.update(_components)
    return result


def member(schema: Schema | str, description: str, **more: Any) -> Schema:
    """Return the schema of one member: a type's name or a schema, with a description."""
    base = {"type": schema} if isinstance(schema, str) else schema
    if "$ref" in base:  # OpenAPI 3.0 ignores whatever stands beside a reference
        base = {"allOf": [base]}
    return {**base, "description": description, **more}


def record(
    properties: Mapping[str, Schema], *, optional: Iterable[str] = (), **more: Any
) -> Schema:
    """Return the schema of an object whose members are required unless `optional`."""
    left_out = set(optional)
    required = [name for name in properties if name not in left_out]
    described: Schema = {"type": "object", **more, "properties": dict(properties)}
    return {**described, "required": required} if required else described


def list_of(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}
