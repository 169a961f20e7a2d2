"""The headers that steer the answer: ``Accept`` and ``_format``, ``Prefer``, the conditional ones."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from smart_gateway.errors import RequestError
from smart_gateway.fhir.media import ACCEPT, media_of_accept, media_of_format
from smart_gateway.request.headers import RequestHeaders, is_http_date
from smart_gateway.request.model import Preferences

_ETAG = r'(?:W/)?"[!#-~]*"'
_IF_MATCH = re.compile(rf"{_ETAG}|\*")
_IF_NONE_MATCH = re.compile(rf"{_ETAG}(?:[ \t]*,[ \t]*{_ETAG})*|\*")
# Spec: RFC 7240 section 2: token [= word], then parameters of its own, which none of ours has.
_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# INVARIANT: nothing can match a blank in two ways, for a header of blanks would take the square of its length.
_PREFERENCE = re.compile(rf'[ \t]*({_WORD})[ \t]*(?:=[ \t]*(?:("[^"\\]*"|{_WORD})[ \t]*)?)?(?:;.*)?')
_RETURN = frozenset({"minimal", "representation", "OperationOutcome"})
_HANDLING = frozenset({"strict", "lenient"})
_CONTENT = frozenset({"other", "csv", "ndjson"})  # what a Binary may hold, and is not itself
_CACHED_LENGTH = 512  # characters; longer ones are no habit of an honest client, and would fill the cache
_CONDITIONAL = frozenset({b"if-match", b"if-none-match", b"if-modified-since", b"if-none-exist"})


def read_preferences(headers: RequestHeaders, version: str, *, format: str | None = None, binary: bool = False) -> Preferences:
    """The preferences that ``headers`` and ``format``, the value of ``_format``, state for FHIR ``version`` (``4.0.1``).

    ``binary``: the path names Binary content, which may be asked for as it is. Raises RequestError where a header is malformed;
    an If-Modified-Since that is no date is left out, as RFC 9110 section 13.1.3 asks; so are unknown preferences (RFC 7240).
    """
    accept, prefer = headers.text(b"accept") or "", headers.text(b"prefer") or ""
    short = len(accept) + len(prefer) + len(format or "") <= _CACHED_LENGTH
    preferences = (_steady if short else _steady.__wrapped__)(accept, prefer, version, format, binary)
    if headers.values.keys().isdisjoint(_CONDITIONAL):
        return preferences
    since = headers.text(b"if-modified-since")
    return replace(
        preferences,
        if_match=_checked(headers, b"if-match", _IF_MATCH),
        if_none_match=_checked(headers, b"if-none-match", _IF_NONE_MATCH),
        if_modified_since=since if since is not None and is_http_date(since) else None,
        if_none_exist=_criteria(headers),
    )


def with_format(preferences: Preferences, format: str) -> Preferences:
    """``preferences`` overridden by a ``_format`` that came in a form, where none may name a FHIR version."""
    media = media_of_format(format, None)
    return replace(preferences, media=media, accept=ACCEPT.get(media))


@lru_cache(maxsize=512)
def _steady(accept: str, prefer: str, version: str, format: str | None, binary: bool) -> Preferences:
    """The part that is the same from request to request, and holds nothing of a patient."""
    media, wanted = _media(accept, version, format, binary)
    wishes = _preferences(prefer)
    returned, handling = wishes.get("return", ""), wishes.get("handling", "")
    return Preferences(
        media=media,
        accept=wanted,
        prefer_return=returned if returned in _RETURN else None,
        prefer_handling=handling if handling in _HANDLING else None,
        respond_async="respond-async" in wishes,
    )


def _media(accept: str, version: str, format: str | None, binary: bool) -> tuple[str, str | None]:
    """The media and the type to ask the upstream for; ``_format`` overrides ``Accept`` (FHIR R4 http.html 3.1.0.1.11)."""
    if format is not None:
        media = media_of_format(format, version)
        return media, ACCEPT.get(media)
    asked = media_of_accept(accept, version)
    if asked is None:
        raise RequestError("The header Accept is malformed.", reason="malformed-header", expression="http.Accept")
    if asked in _CONTENT and binary:
        return "raw", accept
    return asked, ACCEPT.get(asked)


def _preferences(text: str) -> dict[str, str]:
    """The preferences by lower-case name; of doubled ones the first counts. Spec: RFC 7240 section 2."""
    wishes: dict[str, str] = {}
    for piece in text.split(","):
        match = _PREFERENCE.fullmatch(piece)
        if match is not None:
            wishes.setdefault(match[1].lower(), (match[2] or "").strip('"'))
    return wishes


def _checked(headers: RequestHeaders, name: bytes, pattern: re.Pattern[str]) -> str | None:
    value = headers.text(name)
    if value is not None and pattern.fullmatch(value) is None:
        shown = "If-Match" if name == b"if-match" else "If-None-Match"
        raise RequestError(f'{shown} must be an entity tag such as W/"1".', reason="malformed-header", expression=f"http.{shown}")
    return value


def _criteria(headers: RequestHeaders) -> str | None:
    value = headers.text(b"if-none-exist")
    if value == "":
        raise RequestError("If-None-Exist has no criteria.", reason="malformed-header", expression="http.If-None-Exist")
    return value
