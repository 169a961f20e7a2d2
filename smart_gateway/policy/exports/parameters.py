"""The parameters of a Bulk Data kick-off, by GET or in a Parameters resource: each known by name and in form, or the export is refused.

Spec: Bulk Data Access IG 2.0, "Query Parameters"; semantics 8.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from smart_gateway.errors import RequestError
from smart_gateway.fhir.query import decode_form
from smart_gateway.fhir.references import Bases, parse_reference
from smart_gateway.policy.exports.jobs import Pairs
from smart_gateway.request.model import FhirRequest, QueryParameter
from smart_gateway.request.operations import Argument, read_arguments
from smart_gateway.request.parameters import are_elements, read_parameters

NDJSON = "application/fhir+ndjson"
_FORMATS = frozenset({NDJSON, "application/ndjson", "ndjson"})
_MOMENT = re.compile(r"\d{4}(-\d{2}(-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+\-]\d{2}:\d{2}))?)?)?", re.ASCII)
# A comma begins a further filter where a type and its question mark follow; any other belongs to a value.
_NEXT_FILTER = re.compile(r",(?=[A-Z][A-Za-z]+\?)")
_MOST = 1000  # parameters of one filter
_URI = "%!$&'()*+,/:;=?@[]|"  # what may stand in the filter as it is: it need not be encoded twice
_ONCE = frozenset({"_outputFormat", "_since", "_until"})
_MEMBERS = {"_since": "valueInstant", "_until": "valueInstant", "patient": "valueReference"}
# Named by the IG: what they add or order differently is not judged.
_REFUSED = frozenset({"includeAssociatedData", "organizeOutputBy", "allowPartialManifests"})

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class TypeFilter:
    """One search of ``_typeFilter``, as parsed."""

    type: str
    parameters: tuple[QueryParameter, ...]


@dataclass(frozen=True, slots=True)
class Kickoff:
    """What a kick-off asks for. ``types`` None: not said. ``pairs`` go upstream as they are; types and filters are still to be judged."""

    types: tuple[str, ...] | None
    filters: tuple[TypeFilter, ...]
    pairs: Pairs


def read_kickoff(request: FhirRequest, bases: Bases) -> Kickoff:
    """The parameters of query and body together. Raises RequestError for those that are unknown, doubled, malformed or not supported."""
    given = [_read(argument) for argument in read_arguments(request, None)]
    for name in _ONCE:
        if sum(other == name for other, _ in given) > 1:
            raise _malformed(name, f"{name} is given more than once.")
    types: list[str] | None = None
    filters: list[TypeFilter] = []
    pairs: list[tuple[str, str]] = []
    for name, value in given:
        if name == "_type":
            types = [*(types or ()), *value.split(",")]
        elif name == "_typeFilter":
            filters += [_filter(text) for text in _NEXT_FILTER.split(value)]
        elif name == "patient":
            pairs.append((name, _patient(value, request, bases)))
        else:
            pairs.append((name, _PLAIN[name](value)))
    return Kickoff(None if types is None else tuple(dict.fromkeys(types)), tuple(filters), tuple(pairs))


def posted(pairs: Pairs) -> bytes:
    """The Parameters resource of a kick-off by POST."""
    parameters = [{"name": name, **_value(name, text)} for name, text in pairs]
    return _encode({"resourceType": "Parameters", **({"parameter": parameters} if parameters else {})})


def _value(name: str, text: str) -> dict[str, Any]:
    member = _MEMBERS.get(name, "valueString")
    return {member: {"reference": text} if member == "valueReference" else text}


def _read(argument: Argument) -> tuple[str, str]:
    """Name and value; a value posted is of whatever primitive type, and a Reference for ``patient``."""
    name = argument.parameter.key
    if name in _REFUSED:
        raise RequestError(f"{name} is not supported in an export.", reason="parameter-not-supported", expression=argument.place)
    if name not in _KNOWN:
        raise RequestError("Not a parameter that is known for an export.", reason="unknown-parameter", expression=argument.place)
    if not argument.is_plain or (argument.member is not None and (argument.member == "valueReference") is not (name == "patient")):
        raise RequestError(f"{name} is given as another type of value.", reason="malformed-parameter", expression=argument.place)
    return name, argument.parameter.value


def _format(value: str) -> str:
    # A plus sign that was not encoded arrives as a space.
    if value.replace(" ", "+") not in _FORMATS:
        raise _malformed("_outputFormat", f"Exports are given as {NDJSON} alone.")
    return NDJSON


def _moment(name: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        value = value.replace(" ", "+")
        if _MOMENT.fullmatch(value) is None:
            raise _malformed(name, f"{name} is a FHIR instant.")
        return value

    return read


def _elements(value: str) -> str:
    if not are_elements(value):
        raise _malformed("_elements", "_elements is a comma-separated list of element names.")
    return value


def _patient(value: str, request: FhirRequest, bases: Bases) -> str:
    reference = parse_reference(value, bases)
    if request.method != "POST" or request.type is None:
        raise _malformed("patient", "patient is taken by POST, at the level of Patient or Group.")
    if reference is None or reference.type != "Patient" or reference.version is not None:
        raise _malformed("patient", "patient is a literal reference to a Patient of this server.")
    return str(reference)


def _filter(text: str) -> TypeFilter:
    type, _, query = text.partition("?")
    try:
        found = read_parameters(decode_form(quote(query, safe=_URI).encode("ascii"), _MOST))
    except RequestError:
        found = ()
    if not found:
        raise _malformed("_typeFilter", "_typeFilter is a search: Type?parameter=value, percent-encoded.")
    return TypeFilter(type, found)


_PLAIN: Mapping[str, Callable[[str], str]] = {
    "_outputFormat": _format,
    "_since": _moment("_since"),
    "_until": _moment("_until"),
    "_elements": _elements,
}
_KNOWN = frozenset({"_type", "_typeFilter", "patient", *_PLAIN})


def _malformed(name: str, text: str) -> RequestError:
    return RequestError(text, reason="malformed-parameter", expression=f"http.{name}")
