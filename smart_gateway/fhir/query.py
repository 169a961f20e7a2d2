"""Query strings and forms: decoded once and strictly, written in one canonical way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote_to_bytes

from smart_gateway.errors import RequestError

_HEX = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Printable ASCII without space and "#"; a second "?" is refused by name.
_RAW = re.compile(rb"[!\"$->@-~]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Legal in a query as they are (RFC 3986 section 3.4) and free of meaning in a form.
_PLAIN = "/:,@*"
_HARMLESS = re.compile(r"[A-Za-z0-9_.\-~/:,@*]*")  # what ``quote`` leaves as it is


def decode_query(data: bytes, limit: int) -> list[tuple[str, str]]:
    """The pairs of a query string, in order, percent-decoded once as UTF-8; ``+`` is a space, ``name`` alone has the value ``""``.

    Raises RequestError for a second ``?``, raw bytes that are no URI characters, malformed percent-encoding, encoded control
    characters, bytes that are not UTF-8, an empty name, more than ``limit`` pairs. Spec: semantics 1.
    """
    if _RAW.fullmatch(data) is None:
        raise _raw_fault(data)
    return _pairs(data.decode("ascii"), limit)


def decode_form(data: bytes, limit: int) -> list[tuple[str, str]]:
    """The pairs of an ``application/x-www-form-urlencoded`` body, by the rules of ``decode_query``; ``?`` may stand in it."""
    if _RAW.fullmatch(data.replace(b"?", b"")) is None:
        raise _fault("The form holds characters that must be percent-encoded.", "malformed-form")
    return _pairs(data.decode("ascii"), limit)


def encode_query(pairs: Iterable[tuple[str, str]]) -> str:
    """``pairs`` as a query string or form body, every byte that could mean something percent-encoded, a space as ``%20``."""
    return "&".join([f"{_encode(name)}={_encode(value)}" for name, value in pairs])


def _encode(text: str) -> str:
    return text if _HARMLESS.fullmatch(text) is not None else quote(text, safe=_PLAIN)


def _pairs(text: str, limit: int) -> list[tuple[str, str]]:
    pieces = text.split("&") if text else []
    if len(pieces) > limit:
        raise _fault(f"The request has more than {limit} parameters.", "too-many-parameters")
    return [_pair(piece) for piece in pieces if piece]


def _pair(piece: str) -> tuple[str, str]:
    name, _, value = piece.partition("=")
    if not name:
        raise _fault("A parameter has no name.", "malformed-query")
    if "%" in piece or "+" in piece:
        decoded = _decode(name)
        return decoded, _decode(value, decoded)
    return name, value


def _decode(text: str, of: str | None = None) -> str:
    """``of``: the name of the parameter whose value this is."""
    text = text.replace("+", " ")
    if "%" not in text:
        return text
    if _HEX.search(text) is not None:
        raise _fault("A percent sign is not followed by two hexadecimal digits.", "malformed-encoding", of)
    try:
        decoded = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise _fault("A parameter is not percent-encoded UTF-8.", "malformed-encoding", of) from None
    if _CONTROL.search(decoded) is not None:
        raise _fault("A parameter holds control characters.", "control-character", of)
    return decoded


def _raw_fault(data: bytes) -> RequestError:
    if b"?" in data:
        return _fault("The request target has a second question mark.", "second-question-mark")
    if b"#" in data:
        return _fault("The request target has a fragment.", "fragment")
    return _fault("The query holds characters that must be percent-encoded.", "malformed-query")


def _fault(text: str, reason: str, parameter: str | None = None) -> RequestError:
    return RequestError(text, reason=reason, expression=f"http.{parameter}" if parameter is not None else None)
