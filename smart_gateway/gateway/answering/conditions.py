"""Headers that steer the answer; conditional reads: passed on where nothing is checked, else compared here.

Spec: semantics 5; RFC 9110 section 13.
"""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import parsedate_to_datetime

from smart_gateway.fhir.interactions import Interaction
from smart_gateway.gateway.subrequest import Received
from smart_gateway.request.headers import is_http_date
from smart_gateway.request.model import FhirRequest

Headers = tuple[tuple[bytes, bytes], ...]

_ETAG = re.compile(r'(?:W/)?("[!#-~]*")')
_READS = frozenset({Interaction.READ, Interaction.VREAD})


def to_upstream(request: FhirRequest) -> Headers:
    """The conditions of a read, to be sent along."""
    if request.interaction not in _READS:
        return ()
    preferences = request.preferences
    given = ((b"if-none-match", preferences.if_none_match), (b"if-modified-since", preferences.if_modified_since))
    return tuple((name, value.encode("ascii")) for name, value in given if value is not None)


def wishes(request: FhirRequest) -> Headers:
    """``Prefer: handling``; ``return`` is the plan's."""
    handling = request.preferences.prefer_handling
    return () if handling is None else ((b"prefer", f"handling={handling}".encode("ascii")),)


def validators(received: Received) -> Headers:
    """ETag and Last-Modified of an answer, where they are well-formed."""
    etag, modified = received.text(b"etag"), received.text(b"last-modified")
    headers: Headers = ()
    if etag is not None and _ETAG.fullmatch(etag) is not None:
        headers = ((b"etag", etag.encode("ascii")),)
    if modified is not None and is_http_date(modified):
        headers = (*headers, (b"last-modified", modified.encode("ascii")))
    return headers


def is_unchanged(request: FhirRequest, received: Received) -> bool:
    """Whether the client has this version already. If-Modified-Since counts only without If-None-Match. Spec: RFC 9110 section 13.2.2."""
    preferences = request.preferences
    if preferences.if_none_match is not None:
        etag = _ETAG.fullmatch(received.text(b"etag") or "")
        return preferences.if_none_match == "*" or (etag is not None and etag[1] in _ETAG.findall(preferences.if_none_match))
    since, modified = _moment(preferences.if_modified_since), _moment(received.text(b"last-modified"))
    return since is not None and modified is not None and modified <= since


def _moment(text: str | None) -> datetime | None:
    """The moment of an HTTP date; None for what is no date, the thirtieth of February among them."""
    if text is None or not is_http_date(text):
        return None
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None
