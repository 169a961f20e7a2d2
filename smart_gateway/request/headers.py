"""The headers that a request is judged by, each at most once, clean and as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from smart_gateway.errors import HeadersTooLarge, RequestError

Headers = Sequence[tuple[bytes, bytes]]

# Two of any of these and two readers may pick different ones (semantics 1; RFC 9110 section 5.3, RFC 9449 section 4.3).
_SINGLE = {
    b"host": "Host",
    b"content-type": "Content-Type",
    b"content-length": "Content-Length",
    b"content-encoding": "Content-Encoding",
    b"authorization": "Authorization",
    b"dpop": "DPoP",
    b"if-match": "If-Match",
    b"if-none-match": "If-None-Match",
    b"if-modified-since": "If-Modified-Since",
    b"if-none-exist": "If-None-Exist",
}
# Lists: several of them are one, joined by commas.
_LISTS = {b"accept": "Accept", b"prefer": "Prefer"}
_FRAMING = b"transfer-encoding"
_WANTED = frozenset({*_SINGLE, *_LISTS, _FRAMING})
# Checked by whoever reads it (tokens.bearer): long, and no text of ours.
_OPAQUE = b"authorization"
_DATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT")
_CONTROLS = bytes(byte for byte in range(0x20) if byte != 0x09) + b"\x7f"


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    """Header values by lower-case name: those of ``_SINGLE`` and ``_LISTS`` that the request has."""

    values: dict[bytes, bytes]

    def text(self, name: bytes) -> str | None:
        """The value of header ``name``, or None; raises RequestError where it is not ASCII."""
        value = self.values.get(name)
        if value is None:
            return None
        if not value.isascii():
            raise _fault(f"The header {_shown(name)} holds bytes that are not ASCII.", "malformed-header", name)
        return value.decode("ascii").strip(" \t")


def is_http_date(text: str) -> bool:
    """Whether ``text`` is written as a date of HTTP, in the one form that is still made. Spec: RFC 9110 section 5.6.7."""
    return _DATE.fullmatch(text) is not None


def read_headers(headers: Headers, limit: int) -> RequestHeaders:
    """The headers that count, of those that came; ``limit`` bounds the bytes of all names and values.

    Raises HeadersTooLarge, and RequestError for a doubled header, control characters (a folded line among them), a
    Content-Length that is no number or stands beside Transfer-Encoding. Spec: semantics 1, RFC 9112 section 6.1.
    """
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        lower = name.lower()
        if lower in _WANTED:
            _add(values, lower, value)
    _require_clean(headers, limit)
    _require_one_framing(values)
    return RequestHeaders(values)


def _add(values: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    held = values.get(name)
    if held is None:
        values[name] = value
    elif name in _SINGLE:
        raise _fault(f"The request has more than one {_shown(name)} header.", "duplicate-header", name)
    else:
        values[name] = held + b"," + value


def _require_clean(headers: Headers, limit: int) -> None:
    blob = b"".join([value for name, value in headers if name != _OPAQUE])
    if len(blob) != len(blob.translate(None, _CONTROLS)):
        name = next(name for name, value in headers if name != _OPAQUE and value != value.translate(None, _CONTROLS))
        place = f"http.{name.decode('latin-1').title()}"
        raise RequestError("A header holds control characters.", reason="malformed-header", expression=place)
    if sum([len(name) + len(value) for name, value in headers]) > limit:
        raise HeadersTooLarge("The headers are longer than this gateway accepts.")


def _require_one_framing(values: dict[bytes, bytes]) -> None:
    length = values.get(b"content-length")
    if length is None:
        return
    if not length.isdigit():
        raise _fault("Content-Length is not a number.", "malformed-header", b"content-length")
    if _FRAMING in values:
        raise _fault("The request has both Content-Length and Transfer-Encoding.", "ambiguous-framing", b"content-length")


def _shown(name: bytes) -> str:
    return _SINGLE.get(name) or _LISTS[name]


def _fault(text: str, reason: str, name: bytes) -> RequestError:
    return RequestError(text, reason=reason, expression=f"http.{_shown(name)}")
