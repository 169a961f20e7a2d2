"""FHIR's media types: what ``Content-Type``, ``Accept`` and ``_format`` mean. Spec: FHIR R4 http.html 3.1.0.1.11 (mime types)."""

from __future__ import annotations

import re
from dataclasses import dataclass

FHIR_JSON = "application/fhir+json"
FHIR_XML = "application/fhir+xml"
FHIR_TURTLE = "application/fhir+turtle"
FORM = "application/x-www-form-urlencoded"
JSON_PATCH = "application/json-patch+json"  # RFC 6902
XML_PATCH = "application/xml-patch+xml"  # RFC 7351

# By media: the type to ask the upstream for.
ACCEPT = {"json": FHIR_JSON, "xml": FHIR_XML, "turtle": FHIR_TURTLE, "csv": "text/csv", "ndjson": "application/fhir+ndjson"}

_MEDIA = {
    FHIR_JSON: "json",
    "application/json": "json",
    "application/json+fhir": "json",
    "text/json": "json",
    FHIR_XML: "xml",
    "application/xml": "xml",
    "application/xml+fhir": "xml",
    "text/xml": "xml",
    FHIR_TURTLE: "turtle",
    "text/turtle": "turtle",
}
# What some servers say of resources that is no resource itself.
_TABLES = {"text/csv": "csv", "application/fhir+ndjson": "ndjson", "application/ndjson": "ndjson"}
_CODES = {"json": "json", "xml": "xml", "turtle": "turtle", "ttl": "turtle"}
# What a resource may be sent as; text/json was never one of them.
_JSON_BODIES = frozenset({FHIR_JSON, "application/json", "application/json+fhir"})
_ANY = frozenset({"*/*", "*", "application/*"})

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = r'"(?:[\t !#-\[\]-~]|\\[\t -~])*"'
# A lone "*", and ".2" for "0.2" below: the JDK's own client sends both.
_TYPE = re.compile(rf"({_WORD}/{_WORD}|\*(?=[ \t;,]|$))[ \t]*")
_PARAMETER = re.compile(rf";[ \t]*(?:({_WORD})=({_WORD}|{_QUOTED})[ \t]*)?")
_COMMAS = re.compile(r"[ \t]*(?:,[ \t]*)*")
_SPACED_PLUS = re.compile(r"(?<=[a-z]) (?=[a-z])")
_QUALITY = re.compile(r"(?:0?\.[0-9]+|0\.?|1(?:\.0*)?)")


@dataclass(frozen=True, slots=True)
class MediaType:
    """``name`` and the names of ``parameters`` in lower case; values as written, unquoted."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """The first value of parameter ``name``."""
        return next((value for key, value in self.parameters if key == name), None)


def parse_media_type(text: str) -> MediaType | None:
    """One media type with its parameters; None where the text is not exactly that. Spec: RFC 9110 section 8.3.1."""
    found = _scan(text.strip(" \t"), 0)
    return found[0] if found is not None and found[1] == len(text.strip(" \t")) else None


def content_type(text: str, version: str) -> str | None:
    """The media type of a body as the gateway compares it: in lower case, without what goes without saying; None when malformed.

    A charset other than UTF-8, and a ``fhirVersion`` other than ``version`` (such as ``4.0.1``), stay in the text, so that it
    equals no type that can be read.
    """
    parsed = parse_media_type(text)
    if parsed is None:
        return None
    charset, release = parsed.get("charset"), parsed.get("fhirversion")
    strange = f";charset={charset.lower()}" if charset is not None and charset.lower() not in {"utf-8", "utf8"} else ""
    other = f";fhirversion={release}" if release is not None and not _same_release(release, version) else ""
    return parsed.name + strange + other


def is_fhir(content_type: str) -> bool:
    """Whether a server could read a body of this type as a resource, whatever its charset or version."""
    return content_type.partition(";")[0].strip().lower() in _MEDIA


def is_json_body(content_type: str | None) -> bool:
    """Whether a body of this type, as ``content_type`` gives it, is FHIR JSON in UTF-8 of our release."""
    return content_type in _JSON_BODIES


def media_of_format(value: str, version: str | None) -> str:
    """What the parameter ``_format`` asks for: ``json``, ``xml``, ``turtle``, ``csv``, ``ndjson`` or ``other``.

    A ``+`` that its sender did not encode has become a space. Spec: FHIR R4 http.html 3.1.0.1.11.
    """
    text = value.strip().lower()
    if text in _CODES:
        return _CODES[text]
    parsed = parse_media_type(_SPACED_PLUS.sub("+", text))
    return _media(parsed, version) or "other" if parsed is not None else "other"


def media_of_accept(value: str, version: str) -> str | None:
    """What the header ``Accept`` asks for: the same, or ``any``; None where it is malformed.

    JSON wins where the client takes it at all, for it is what the gateway can judge; RFC 9110 section 12.5.1 leaves the choice to
    the server.
    """
    ranges = _ranges(value)
    if ranges is None:
        return None
    offered: dict[str, bool] = {}
    for range_ in ranges:
        media = "any" if range_.name in _ANY else _media(range_, version) or "other"
        offered[media] = offered.get(media, False) or (range_.get("q") or "1").strip("0.") != ""
    if not offered:
        return "any"
    if offered.get("any") and offered.get("json") is not False:
        return "json" if offered.get("json") else "any"
    return next((media for media in ACCEPT if offered.get(media)), "other")


def _media(type: MediaType, version: str | None) -> str | None:
    release, charset = type.get("fhirversion"), type.get("charset")
    if release is not None and not _same_release(release, version):
        return None
    if charset is not None and charset.lower() not in {"utf-8", "utf8"}:
        return None
    return _MEDIA.get(type.name) or _TABLES.get(type.name)


def _same_release(asked: str, version: str | None) -> bool:
    """``4.0`` is what the parameter holds for 4.0.1; without a ``version`` to compare with, nothing fits.

    Spec: FHIR R4 http.html 3.1.0.1.17 (FHIR version parameter).
    """
    return version is not None and asked in {version, version.rpartition(".")[0]}


def _ranges(text: str) -> list[MediaType] | None:
    """The media ranges of an ``Accept`` value; None where it is malformed."""
    ranges: list[MediaType] = []
    position = _skip(text, 0)
    while position < len(text):
        found = _scan(text, position)
        if found is None or not _is_quality(found[0].get("q")):
            return None
        ranges.append(found[0])
        position = _skip(text, found[1])
        if position == found[1] and position < len(text):
            return None
    return ranges


def _skip(text: str, position: int) -> int:
    match = _COMMAS.match(text, position)
    return match.end() if match is not None else position


def _is_quality(text: str | None) -> bool:
    return text is None or _QUALITY.fullmatch(text) is not None


def _scan(text: str, position: int) -> tuple[MediaType, int] | None:
    """The media type at ``position`` and where it ends."""
    match = _TYPE.match(text, position)
    if match is None:
        return None
    name, position = match[1].lower(), match.end()
    parameters: list[tuple[str, str]] = []
    while (piece := _PARAMETER.match(text, position)) is not None:
        if piece[1] is not None:
            parameters.append((piece[1].lower(), _unquoted(piece[2])))
        position = piece.end()
    return MediaType(name, tuple(parameters)), position


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
