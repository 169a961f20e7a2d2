"""A Bundle posted to the base: every entry is a request of its own. Spec: FHIR R4 http.html 3.1.0.11; semantics 7."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import msgspec

from smart_gateway.errors import RequestError, UnsupportedMediaType
from smart_gateway.fhir.interactions import Interaction
from smart_gateway.fhir.json_patch import JsonPatch
from smart_gateway.fhir.media import FHIR_JSON, is_json_body
from smart_gateway.request.body import read_object
from smart_gateway.request.limits import Limits
from smart_gateway.request.model import Batch, BatchEntry, FhirRequest
from smart_gateway.request.parsing import RequestParser
from smart_gateway.request.patch import read_patch

Completed = Callable[[FhirRequest, bytes], FhirRequest]
"""Completes a request whose body says what it asks for: ``request.completing.complete``."""

_KINDS = {"batch": False, "transaction": True}
_VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_BODILESS = frozenset({"GET", "HEAD", "DELETE"})
_WITH_TARGET = frozenset({Interaction.UPDATE, Interaction.PATCH, Interaction.DELETE})
# Nothing else passes: what another member means to a server nobody here would have judged.
_ENTRY_MEMBERS = frozenset({"id", "link", "fullUrl", "resource", "request"})
_REQUEST_MEMBERS = frozenset({"id", "method", "url", "ifNoneMatch", "ifModifiedSince", "ifMatch", "ifNoneExist"})
_CONDITIONS = {"ifNoneMatch": b"if-none-match", "ifMatch": b"if-match", "ifNoneExist": b"if-none-exist"}
_UNSAID = frozenset({Interaction.SMART_CONFIGURATION, Interaction.PROTECTED_RESOURCE})
_FULL_URL = re.compile(r"(?:urn:(?:uuid|oid):|https?://)[!-\[\]-~]{1,1024}", re.IGNORECASE)
_JSON = (b"content-type", FHIR_JSON.encode())


class _RawEntry(msgspec.Struct, gc=False):
    resource: msgspec.Raw = msgspec.Raw(b"")


class _RawBundle(msgspec.Struct, gc=False):
    entry: list[_RawEntry] = []


_raw_bundle = msgspec.json.Decoder(_RawBundle)


def read_batch(request: FhirRequest, body: bytes, parser: RequestParser, limits: Limits, completed: Completed) -> FhirRequest:
    """``request`` with the entries of the Bundle that ``body`` holds; an entry that cannot be parsed holds its RequestError.

    Raises UnsupportedMediaType, and RequestError for what is no such Bundle, has too many entries, names one thing twice.
    """
    if not is_json_body(request.content_type):
        raise UnsupportedMediaType("A batch is a Bundle in FHIR JSON, in UTF-8: application/fhir+json.", expression="http.Content-Type")
    bundle = read_object(body, limits.depth)
    transaction = _KINDS.get(bundle["type"]) if isinstance(bundle.get("type"), str) else None
    if bundle.get("resourceType") != "Bundle" or transaction is None:
        text = "What is posted to the base is a Bundle of type batch or transaction; others are created by posting them to /Bundle."
        raise RequestError(text, reason="no-batch", expression="Bundle.type")
    found = _entries(bundle, limits.entries)
    # The text was read strictly above: here nothing in it can be doubled or broken.
    raws = _raw_bundle.decode(body).entry if found else []
    reader = _Reader(request, parser, completed)
    entries = tuple([reader.read(number, entry, bytes(raw.resource)) for number, (entry, raw) in enumerate(zip(found, raws, strict=True))])
    _require_once(((entry.full_url or "").casefold() for entry in entries), "duplicate-full-url", "Two entries have the same fullUrl.")
    if transaction:
        text = "Two entries of the transaction write the same resource."
        _require_once((written(entry.request) for entry in entries), "overlapping-entries", text)
    return replace(request, batch=Batch(entries, transaction), body_pending=False)


def written(request: FhirRequest | RequestError) -> str:
    """``Type/id`` that an entry writes, ``""`` where it names none."""
    if isinstance(request, RequestError) or request.interaction not in _WITH_TARGET or request.id is None:
        return ""
    return f"{request.type}/{request.id}"


def patch_document(resource: Mapping[str, Any]) -> tuple[str, bytes]:
    """The media type and the bytes of a patch that a Binary carries. Raises RequestError. Spec: FHIR R4 http.html 3.1.0.11.2."""
    type, data = resource.get("contentType"), resource.get("data")
    if not isinstance(type, str) or not isinstance(data, str) or not type.isascii() or not type.isprintable():
        raise RequestError("The Binary of a patch has contentType and data.", reason="malformed-patch")
    try:
        return type, base64.b64decode(re.sub(r"[ \t\r\n]", "", data).encode(), validate=True)
    except (binascii.Error, ValueError):
        raise RequestError("The data of a Binary is base64.", reason="malformed-patch") from None


def read_carried_patch(resource: Mapping[str, Any], content_type: str | None, limits: Limits) -> JsonPatch:
    """The JSON Patch in the Binary of an entry. Raises UnsupportedMediaType for what is none, RequestError for what is broken."""
    document = patch_document(resource)[1] if resource.get("resourceType") == "Binary" else b""
    return read_patch(document, content_type, limits)


def _entries(bundle: Mapping[str, Any], limit: int) -> list[Any]:
    entries = bundle.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RequestError("Bundle.entry is a list of objects.", reason="malformed-bundle", expression="Bundle.entry")
    if len(entries) > limit:
        raise RequestError(f"The Bundle has more than {limit} entries.", reason="too-many-entries", expression="Bundle.entry")
    return entries


def _require_once(names: Iterable[str], reason: str, text: str) -> None:
    names = list(names)
    counted = Counter(names)
    for number, name in enumerate(names):
        if name and counted[name] > 1:
            raise RequestError(text, reason=reason, expression=f"Bundle.entry[{number}]")


class _Reader:
    """Reads the entries of one Bundle, posted by ``outer``."""

    def __init__(self, outer: FhirRequest, parser: RequestParser, completed: Completed) -> None:
        self._parser = parser
        self._completed = completed
        wishes = (("return", outer.preferences.prefer_return), ("handling", outer.preferences.prefer_handling))
        prefer = ", ".join(f"{name}={value}" for name, value in wishes if value is not None)
        accept = (b"accept", FHIR_JSON.encode())
        self._headers = [accept, (b"prefer", prefer.encode())] if prefer else [accept]

    def read(self, number: int, entry: Mapping[str, Any], raw: bytes) -> BatchEntry:
        place = f"Bundle.entry[{number}]"
        asked, resource, full_url = entry.get("request"), entry.get("resource"), entry.get("fullUrl")
        if not isinstance(asked, dict):
            raise RequestError("Every entry of a batch has a request.", reason="malformed-bundle", expression=f"{place}.request")
        if full_url is not None and (not isinstance(full_url, str) or _FULL_URL.fullmatch(full_url) is None):
            text = "A fullUrl is an absolute URL, urn:uuid: or urn:oid:."
            raise RequestError(text, reason="malformed-full-url", expression=f"{place}.fullUrl")
        method, url = asked.get("method"), asked.get("url")
        try:
            request: FhirRequest | RequestError = self._request(entry, asked, raw)
        except RequestError as error:
            error.expression = _placed(error.expression, place)
            request = error
        held = resource if isinstance(resource, dict) else None
        return BatchEntry(request, method if isinstance(method, str) else "", url if isinstance(url, str) else "", full_url, held, raw)

    def _request(self, entry: Mapping[str, Any], asked: Mapping[str, Any], raw: bytes) -> FhirRequest:
        method, url = asked.get("method"), asked.get("url")
        if not isinstance(method, str) or method not in _VERBS:
            raise _fault("The method is one of GET, HEAD, POST, PUT, PATCH and DELETE.", "unknown-method", "request.method")
        if not isinstance(url, str) or not url:
            raise _fault("The request has a URL.", "malformed-bundle", "request.url")
        _refuse_members(entry, asked)
        resource = entry.get("resource")
        headers = [*self._headers, *_conditions(asked)]
        if resource is not None:
            headers.append(_type_of(resource, method))
        request = self._parser.parse_entry(method, url, headers)
        _require_fitting(request, resource)
        if request.form_pending:
            return replace(request, form_pending=False)  # its parameters are all in the URL
        return self._completed(request, raw) if request.body_pending else request


def _refuse_members(entry: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    for name in entry.keys() - _ENTRY_MEMBERS:
        raise _fault("An entry of a batch has link, fullUrl, resource and request.", "unknown-member", name)
    for name in asked.keys() - _REQUEST_MEMBERS:
        raise _fault("The request of an entry has no other members, extensions among them.", "unknown-member", f"request.{name}")


def _conditions(asked: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """The conditions of an entry as the headers that they stand for. Spec: FHIR R4 bundle.html, Bundle.entry.request."""
    headers = []
    for name, header in _CONDITIONS.items():
        value = asked.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise _fault("A condition of an entry is a string.", "malformed-bundle", f"request.{name}")
        headers.append((header, value.encode("utf-8", "replace")))
    if "ifModifiedSince" in asked:
        headers.append((b"if-modified-since", _http_date(asked["ifModifiedSince"])))
    return headers


def _http_date(value: Any) -> bytes:
    """An instant as HTTP writes a date."""
    fault = _fault("ifModifiedSince is an instant.", "malformed-bundle", "request.ifModifiedSince")
    try:
        moment = datetime.fromisoformat(value)
        said = format_datetime(moment.astimezone(UTC), usegmt=True).encode()
    except (TypeError, ValueError, OverflowError):
        raise fault from None
    if moment.tzinfo is None:
        raise fault
    return said


def _type_of(resource: Any, method: str) -> tuple[bytes, bytes]:
    if method == "PATCH" and isinstance(resource, dict) and resource.get("resourceType") == "Binary":
        return (b"content-type", patch_document(resource)[0].encode())
    return _JSON


def _require_fitting(request: FhirRequest, resource: Any) -> None:
    """Raises RequestError for what is no interaction of a batch, and for a resource that is missing, or too much."""
    if request.interaction is Interaction.BATCH:
        raise _fault("A batch holds no other one.", "nested-batch", "request.url")
    if request.interaction in _UNSAID:
        raise _fault("This is no interaction of a batch.", "nested-batch", "request.url")
    bodiless = request.method in _BODILESS or request.form_pending
    if bodiless and resource is not None:
        raise _fault("This request has no resource.", "unexpected-resource", "resource")
    if not bodiless and not request.body_pending and not isinstance(resource, dict):
        raise _fault("This request needs its resource.", "resource-missing", "resource")
    if isinstance(resource, dict) and resource.get("resourceType") == "Bundle":
        raise _fault("An entry of a batch holds no Bundle.", "nested-batch", "resource")
    if resource is not None and not isinstance(resource, dict):
        raise _fault("A resource is a JSON object.", "malformed-bundle", "resource")


def _placed(expression: str | None, place: str) -> str:
    """Where in the Bundle it is that the entry, or the request that it stands for, cannot be parsed."""
    if expression is None:
        return f"{place}.request.url"
    if expression.startswith("http."):
        header = expression.removeprefix("http.").lower().encode()
        return f"{place}.request.{next((name for name, known in _CONDITIONS.items() if known == header), 'url')}"
    return f"{place}.{expression}" if expression[:1].islower() else f"{place}.resource"  # an element of the resource that was posted


def _fault(text: str, reason: str, expression: str) -> RequestError:
    return RequestError(text, reason=reason, expression=expression)
