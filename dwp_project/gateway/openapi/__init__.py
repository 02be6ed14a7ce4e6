"""Building blocks of the API description.

A `schema` module beside the views describes each endpoint with the names below. These derive from
the same tables from which the code answers.
"""

from dwp_project.gateway.openapi.components import (
    Schema,
    add_components,
    component,
    list_of,
    member,
    record,
)
from dwp_project.gateway.openapi.envelope import (
    ERROR_ENVELOPE,
    enveloped,
    error_example,
    example,
)
from dwp_project.gateway.openapi.failures import IDENTIFIED, STORED
from dwp_project.gateway.openapi.headers import AGENT_ID, RECORDED, TENANT, answered, header
from dwp_project.gateway.openapi.operation import answer, body, operation

__all__ = [
    "AGENT_ID",
    "ERROR_ENVELOPE",
    "IDENTIFIED",
    "RECORDED",
    "STORED",
    "TENANT",
    "Schema",
    "add_components",
    "answer",
    "answered",
    "body",
    "component",
    "enveloped",
    "error_example",
    "example",
    "header",
    "list_of",
    "member",
    "operation",
    "record",
]
