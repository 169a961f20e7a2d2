"""Requests as bytes: what the tests of the request room and its attackers need."""

from __future__ import annotations

from smart_gateway.errors import RequestError
from smart_gateway.fhir.releases import Release
from smart_gateway.fhir.vocabulary import load_vocabulary
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import FhirRequest
from smart_gateway.request.parsing import RequestParser

PARSER = RequestParser(load_vocabulary(Release.R4), "/fhir", Limits())
Pairs = list[tuple[bytes, bytes]]


def ask(method: str, target: str | bytes, headers: Pairs | None = None, *, parser: RequestParser = PARSER) -> FhirRequest:
    """``target`` is the whole request target, split at its first question mark as a server does it."""
    raw = target.encode("utf-8") if isinstance(target, str) else target
    path, _, query = raw.partition(b"?")
    return parser.parse(method, path, query, headers or [])


def fault(method: str, target: str | bytes, headers: Pairs | None = None, *, parser: RequestParser = PARSER) -> RequestError:
    """The refusal of a request that must be refused."""
    try:
        request = ask(method, target, headers, parser=parser)
    except RequestError as error:
        return error
    raise AssertionError(f"{method} {target!r} was taken for {request}")
