"""Building blocks of the API description: what all endpoints share.

What an endpoint takes and answers is told beside its view, in a `schema` module, with the
names below. They are taken from the tables that the code itself answers from.
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
