"""``policy.operations``: operations beside the gateway's own list, each with what opens it and how its answer is checked."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from smart_gateway.policy.model import OpenedOperation, OperationAnswer
from smart_gateway.scopes.parsing import parse_scope
from smart_gateway.scopes.scope import PlainScope, ResourceScope
from smart_gateway.settings.sections.section import Section, Text, spelled

_NAME = re.compile(r"\$[A-Za-z0-9.\-]+")
_METHODS = {"GET": frozenset({"GET", "HEAD"}), "POST": frozenset({"POST"})}
_ANSWERS = {"stream": OperationAnswer.NONE}

Level = Literal["system", "type", "instance"]
Method = Literal["GET", "POST"]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


OperationName = Annotated[str, spelled(_NAME.fullmatch, "operation", "must be $ and the operation's name")]
Levels = Annotated[
    list[Level], Field(min_length=1), BeforeValidator(_listed, json_schema_input_type=Level | Annotated[list[Level], Field(min_length=1)])
]
Methods = Annotated[
    list[Method],
    Field(min_length=1),
    BeforeValidator(_listed, json_schema_input_type=Method | Annotated[list[Method], Field(min_length=1)]),
]


class OperationSettings(Section):
    """One operation that the policy opens."""

    level: Levels
    """Where it is called: `system`, `type`, `instance`, or a list of these."""
    types: Annotated[list[Text], Field(min_length=1)] | None = None
    """The types that it is called on. Absent: any."""
    method: Methods
    """`GET`, `POST`, or both."""
    scopes: Annotated[list[Text], Field(min_length=1)]
    """Any of these opens it: plain scopes (`__my-op`, a URI), or scopes for resources, of which the token must hold every permission."""
    parameters: dict[Text, Literal["inside", "any"]] = Field(default={})
    """All that it takes under a bounded token. `inside`: the resource that it names or holds must be one that the token may touch."""
    answer: Literal["filter", "refuse", "none", "stream"] = "filter"
    """How the answer is checked. `filter`: what the token may not read goes from a Bundle, and any other answer with such is refused;
    `refuse`: an answer with such is refused whole; `none` (or `stream`): not at all."""


def build_operations(operations: dict[str, OperationSettings] | None) -> tuple[OpenedOperation, ...]:
    """The operations as decisions know them."""
    return tuple(_build(name, operation) for name, operation in (operations or {}).items())


def _build(name: str, operation: OperationSettings) -> OpenedOperation:
    scopes = [parse_scope(text) for text in operation.scopes]
    return OpenedOperation(
        name=name,
        levels=frozenset[str](operation.level),
        methods=frozenset(method for chosen in operation.method for method in _METHODS[chosen]),
        types=None if operation.types is None else frozenset(operation.types),
        scopes=tuple(scope for scope in scopes if isinstance(scope, ResourceScope)),
        plain=frozenset(scope.text for scope in scopes if isinstance(scope, PlainScope)),
        parameters={name: kind == "inside" for name, kind in operation.parameters.items()},
        answer=_ANSWERS.get(operation.answer) or OperationAnswer(operation.answer),
        path=("operations", name),
    )


def plain_scopes(operations: dict[str, OperationSettings] | None) -> frozenset[str]:
    """The plain scopes that open an operation."""
    return frozenset(text for operation in build_operations(operations) for text in operation.plain)
