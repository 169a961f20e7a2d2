"""Decoded name-value pairs as query parameters; what may stand nowhere is refused here, the rest is the policy's to judge."""

from __future__ import annotations

import re
from collections.abc import Iterable

from smart_gateway.errors import RequestError
from smart_gateway.request.model import QueryParameter

_KEY = re.compile(r"[!-~]+")
_PLAIN = re.compile(r"[A-Za-z0-9_\-]+")
_ELEMENT = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*)*(?:\[x\])?")
_TOKEN = "access_token"  # noqa: S105 - the parameter's name in RFC 6750 section 2.2 and 2.3
_FORMAT = "_format"


def read_parameters(pairs: Iterable[tuple[str, str]]) -> tuple[QueryParameter, ...]:
    """The parameters in order.

    Raises RequestError for an access token among them, for a doubled or modified ``_format``, for names that are malformed.
    Spec: semantics 1; FHIR R4 search.html 3.1.1.4.
    """
    parameters = tuple([read_parameter(key, value) for key, value in pairs])
    formats = [parameter.key for parameter in parameters if parameter.name == _FORMAT]
    if formats and formats != [_FORMAT]:
        raise _fault("The parameter _format stands more than once, or with a modifier.", "duplicate-parameter", _FORMAT)
    return parameters


def requested_format(parameters: Iterable[QueryParameter]) -> str | None:
    """The value of ``_format``, or None."""
    return next((parameter.value for parameter in parameters if parameter.name == _FORMAT), None)


def are_elements(text: str) -> bool:
    """Whether ``text``, a value of ``_elements``, is a comma-separated list of names of elements."""
    return all(_ELEMENT.fullmatch(name) is not None for name in text.split(","))


def read_parameter(key: str, value: str) -> QueryParameter:
    """``name[:modifier][.chain...]``, or ``_has:Type:reference:parameter``, as its parts."""
    if _PLAIN.fullmatch(key) is None:
        return _read_compound(key, value)
    if key.lower() == _TOKEN:
        raise _token_fault()
    return QueryParameter(key, key, value)


def _read_compound(key: str, value: str) -> QueryParameter:
    if _KEY.fullmatch(key) is None:
        raise _fault("A parameter's name holds characters that no name has.", "malformed-parameter")
    head, *chain = [key] if key.startswith("_has:") else key.split(".")
    name, colon, modifier = head.partition(":")
    if not name or (colon and not modifier) or "" in chain:
        raise _fault("A parameter's name has an empty part.", "malformed-parameter", key)
    if name.lower() == _TOKEN:
        raise _token_fault()
    return QueryParameter(key, name, value, modifier or None, tuple(chain))


def _token_fault() -> RequestError:
    return _fault("Access tokens are taken from the Authorization header only.", "token-in-parameters", "access_token")


def _fault(text: str, reason: str, name: str | None = None) -> RequestError:
    return RequestError(text, reason=reason, expression=None if name is None else f"http.{name}")
