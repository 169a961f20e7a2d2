"""The content of a Binary that was judged in its FHIR form, as it is served raw. Spec: FHIR R4 binary.html; semantics 5."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass

from smart_gateway.errors import UpstreamError
from smart_gateway.fhir.media import parse_media_type
from smart_gateway.fhir.members import members_of, text_of

_WHITE = re.compile(r"\s+")
_UNKNOWN = "application/octet-stream"
_LONGEST_TYPE = 255  # characters


@dataclass(frozen=True, slots=True)
class Content:
    """``data`` and its media type, which is safe to stand in a header."""

    media_type: str
    data: bytes


def content_of(binary: bytes) -> Content:
    """What ``binary``, the JSON of a Binary, holds. A ``contentType`` that is no media type is not repeated.

    Raises UpstreamError where the data are not base64.
    """
    members = members_of(binary)
    try:
        data = b64decode(_WHITE.sub("", text_of(members, "data") or ""), validate=True)
    except (binascii.Error, ValueError):
        raise UpstreamError("The content of the Binary cannot be read.") from None
    return Content(_header_safe(text_of(members, "contentType")), data)


def _header_safe(text: str | None) -> str:
    """``text`` where it is exactly one media type, which holds no control characters and nothing beyond ASCII."""
    if text is None or len(text) > _LONGEST_TYPE or parse_media_type(text) is None:
        return _UNKNOWN
    return text.strip(" \t")
